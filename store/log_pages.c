/* What the request log tells of jobs: what they paid by stage, their exchanges, and what nobody needs any more. */
#include "store/log_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/query_internal.h"

static const char by_stage[] =
        "SELECT stage, requests, replies, input_tokens, cached_tokens, output_tokens, cost, lost_requests, "
        "lost_tokens, lost_cost, (SELECT count(*) FROM claim c WHERE c.job = s.job AND c.stage = s.stage) AS "
        "in_flight, (SELECT coalesce(sum(cost), 0) FROM claim c WHERE c.job = s.job AND c.stage = s.stage) "
        "AS "
        "reserved_cost, limited_requests FROM spent s WHERE job = ?1 ORDER BY stage";

int store_log_cost(cJSON **out, store_log *l, const char *job, error *err)
{
	cJSON *page = cJSON_CreateObject(), *stages;
	sqlite3_stmt *st = NULL;
	bool failed = !page;
	double total = 0;
	int rc, step = SQLITE_DONE;

	stages = json_put_array(page, "stages", &failed);
	rc = log_prepare_one(&st, l, by_stage, err);
	if (rc == 0)
		sqlite3_bind_text(st, 1, job, -1, SQLITE_STATIC);
	while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		cJSON *one = json_put_object(stages, NULL, &failed);

		for (int i = 0; i < sqlite3_column_count(st); i++)
			json_put_column(one, sqlite3_column_name(st, i), st, i, &failed);
		total += sqlite3_column_double(st, 6) + sqlite3_column_double(st, 9) +
		         sqlite3_column_double(st, 11);
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	json_put_number(page, "cost", total, &failed);
	return json_finish(out, page, rc, failed, err);
}

int store_log_exchange(store_exchange *out, store_log *l, const char *key, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, "SELECT body, reply, seconds, created FROM reply WHERE key = ?1",
	                         err),
	    step;

	*out = (store_exchange){ 0 };
	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	if (step == SQLITE_ROW) {
		out->seconds = sqlite3_column_double(st, 2);
		rc = store_column_text(&out->body, st, 0, mem, err);
		if (rc == 0)
			rc = store_column_text(&out->reply, st, 1, mem, err);
		if (rc == 0)
			rc = store_column_text(&out->created, st, 3, mem, err);
	} else if (step != SQLITE_DONE) {
		rc = log_error(l, "read", err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* ---- What nobody needs ---------------------------------------------------------------------------------------------------- */

/* The keys that tasks of the store name. */
static int read_needed(store_log *l, store *s, error *err)
{
	sqlite3_stmt *read = NULL, *add = NULL;
	int rc = log_exec(l, "CREATE TEMP TABLE needed(key TEXT PRIMARY KEY) WITHOUT ROWID", err);

	if (rc == 0)
		rc = log_prepare_one(&add, l, "INSERT OR IGNORE INTO needed VALUES (?1)", err);
	if (rc == 0)
		rc = store_prepare(&read, s, "SELECT DISTINCT key FROM request", err);
	while (store_next(&rc, s, read, err)) {
		sqlite3_bind_text(add, 1, (const char *)sqlite3_column_text(read, 0), -1, SQLITE_STATIC);
		if (sqlite3_step(add) != SQLITE_DONE)
			rc = log_error(l, "read", err);
		sqlite3_reset(add);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(add);
	return rc;
}

#define UNNEEDED                                                                                             \
	" FROM reply WHERE coalesce(stage, 'probe') != 'probe' AND created < ?1 AND key NOT IN (SELECT key " \
	"FROM "                                                                                              \
	"needed) AND key NOT IN (SELECT key FROM batch_item)"

static int count_unneeded(store_gc *out, store_log *l, const char *before, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(
	        &st, l,
	        "SELECT count(*), coalesce(sum(length(body) + length(reply)), 0), (SELECT count(*) "
	        "FROM reply)" UNNEEDED,
	        err);

	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, before, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*out = (store_gc){ .dropped = (uint64_t)sqlite3_column_int64(st, 0),
			           .bytes = (uint64_t)sqlite3_column_int64(st, 1),
			           .kept = (uint64_t)(sqlite3_column_int64(st, 2) -
			                              sqlite3_column_int64(st, 0)) };
	else
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	return rc;
}

int store_log_gc(store_gc *out, store_log *l, store *s, int64_t older_than, bool dry_run, error *err)
{
	sqlite3_stmt *st = NULL;
	char before[32];
	int rc = read_needed(l, s, err);

	clock_iso8601(before, clock_unix() - older_than);
	if (rc == 0)
		rc = count_unneeded(out, l, before, err);
	if (rc == 0 && !dry_run && out->dropped) {
		rc = log_prepare_one(&st, l, "DELETE" UNNEEDED, err);
		if (rc == 0)
			sqlite3_bind_text(st, 1, before, -1, SQLITE_STATIC);
		rc = log_finish(l, st, rc, err);
		if (rc == 0)
			rc = log_exec(l, "VACUUM", err);
	}
	sqlite3_exec(l->db, "DROP TABLE IF EXISTS temp.needed", NULL, NULL, NULL);
	return rc;
}
