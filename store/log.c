/* The request log: STORE.requests, an SQLite file of its own, so that a store can be shared without its prompts. Every put is one
 * transaction synced to the disk: a reply that was paid for outlives a power cut. */
#include "store/log_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_APPLICATION_ID = 0x476c5271, /* "GlRq" */ LOG_VERSION = 3, LOG_WAIT_MS = 10000 };

extern const char sql_log_001_requests[], sql_log_002_costs[], sql_log_003_limited[];

int log_error(store_log *l, const char *what, error *err)
{
	int rc = sqlite3_errcode(l->db);
	int code = ERR_IO;

	if (rc == SQLITE_NOMEM)
		code = ERR_NOMEM;
	else if (rc == SQLITE_BUSY)
		code = ERR_BUSY;
	else if (rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT)
		code = ERR_FORMAT;
	return error_set(err, code, "cannot %s the request log '%s': %s", what, l->path,
	                 sqlite3_errmsg(l->db));
}

static int log_pragma(store_log *l, const char *sql, sqlite3_int64 *value, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(l->db, sql, -1, &st, NULL) != SQLITE_OK)
		return log_error(l, "read", err);
	if (sqlite3_step(st) != SQLITE_ROW)
		rc = log_error(l, "read", err);
	else
		*value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

int log_exec(store_log *l, const char *sql, error *err)
{
	return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : log_error(l, "write", err);
}

/* Up to the present version. Under the write lock, since two processes may come at once. */
static int log_migrate(store_log *l, error *err)
{
	static const char *const steps[LOG_VERSION] = { sql_log_001_requests, sql_log_002_costs,
		                                        sql_log_003_limited };
	sqlite3_int64 version = 0;
	char set[96];
	int rc = log_begin(l, err);

	if (rc < 0)
		return rc;
	rc = log_pragma(l, "PRAGMA user_version", &version, err);
	for (int at = (int)version; rc == 0 && at < LOG_VERSION; at++)
		rc = log_exec(l, steps[at], err);
	snprintf(set, sizeof(set), "PRAGMA application_id = %d; PRAGMA user_version = %d", LOG_APPLICATION_ID,
	         LOG_VERSION);
	if (rc == 0 && version < LOG_VERSION)
		rc = log_exec(l, set, err);
	return log_end(l, rc, err);
}

/* Refuse what is not a request log of ours before anything is written to it. */
static int log_check(store_log *l, error *err)
{
	sqlite3_int64 id = 0, version = 0, tables = 0;
	int rc;

	/* The id comes last: another process that makes the log this moment writes all at once, so without an id there was nothing. */
	rc = log_pragma(l, "PRAGMA user_version", &version, err);
	if (rc == 0)
		rc = log_pragma(l, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (rc == 0)
		rc = log_pragma(l, "PRAGMA application_id", &id, err);
	if (rc < 0)
		return rc;
	if (id != LOG_APPLICATION_ID && (id != 0 || version != 0 || tables != 0))
		return error_set(err, ERR_FORMAT, "'%s' is not a Gloss request log", l->path);
	if (version > LOG_VERSION)
		return error_set(
		        err, ERR_FORMAT,
		        "the request log '%s' has version %lld, this program knows versions up to %d",
		        l->path, (long long)version, LOG_VERSION);
	return 0;
}

static int log_prepare(store_log *l, error *err)
{
	static const char get[] = "SELECT reply FROM reply WHERE key = ?1";
	static const char put[] =
	        "INSERT OR REPLACE INTO reply(key, endpoint, model, body, status, reply, seconds, "
	        "created, job, stage, input_tokens, cached_tokens, output_tokens, cost) VALUES (?1, ?2, ?3, "
	        "?4, "
	        "?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

	if (sqlite3_prepare_v2(l->db, get, -1, &l->get, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(l->db, put, -1, &l->put, NULL) != SQLITE_OK)
		return log_error(l, "read", err);
	return 0;
}

int store_log_open(store_log **out, const char *store_path, error *err)
{
	file_mount m;
	store_log *l;
	int rc, n;

	l = calloc(1, sizeof(*l));
	if (!l)
		return error_nomem(err, "the request log");
	n = snprintf(l->path, sizeof(l->path), "%s.requests", store_path);
	if (n < 0 || (size_t)n >= sizeof(l->path)) {
		rc = error_set(err, ERR_LIMIT, "the path of the request log is too long");
		goto out;
	}
	if (sqlite3_open_v2(l->path, &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) {
		rc = l->db ? log_error(l, "open", err) : error_nomem(err, "the request log");
		goto out;
	}
	sqlite3_busy_timeout(l->db, LOG_WAIT_MS);
	rc = log_check(l, err);
	file_mount_get(&m, l->path);
	if (rc == 0 && m.remote) /* there, WAL mode would need memory that machines do not share */
		rc = log_exec(l, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL", err);
	else if (rc == 0)
		rc = log_exec(l, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", err);
	if (rc == 0)
		rc = log_migrate(l, err);
	if (rc == 0)
		rc = log_prepare(l, err);
out:
	if (rc < 0)
		store_log_close(l);
	else
		*out = l;
	return rc;
}

void store_log_close(store_log *l)
{
	if (!l)
		return;
	sqlite3_finalize(l->get);
	sqlite3_finalize(l->put);
	sqlite3_close(l->db);
	free(l);
}

int store_log_get(store_log *l, const char *key, char **reply, error *err)
{
	const char *found;
	int step, rc = 0;

	*reply = NULL;
	sqlite3_bind_text(l->get, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(l->get);
	if (step == SQLITE_ROW) {
		found = (const char *)sqlite3_column_text(l->get, 0);
		*reply = found ? strdup(found) : NULL;
		if (!*reply)
			rc = error_nomem(err, "a reply");
	} else if (step != SQLITE_DONE) {
		rc = log_error(l, "read", err);
	}
	sqlite3_reset(l->get);
	sqlite3_clear_bindings(l->get);
	return rc;
}

static void bind_put(sqlite3_stmt *put, const char *key, const store_reply *r, const char *now)
{
	const store_usage *u = &r->usage;

	sqlite3_bind_text(put, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 2, r->endpoint, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 3, r->model, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 4, r->body, -1, SQLITE_STATIC);
	sqlite3_bind_int(put, 5, r->status);
	sqlite3_bind_text(put, 6, r->reply, -1, SQLITE_STATIC);
	sqlite3_bind_double(put, 7, r->seconds);
	sqlite3_bind_text(put, 8, now, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 9, r->job, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 10, r->stage, -1, SQLITE_STATIC);
	sqlite3_bind_int64(put, 11, (sqlite3_int64)u->input_tokens);
	sqlite3_bind_int64(put, 12, (sqlite3_int64)u->cached_tokens);
	sqlite3_bind_int64(put, 13, (sqlite3_int64)u->output_tokens);
	if (isnan(u->cost))
		sqlite3_bind_null(put, 14);
	else
		sqlite3_bind_double(put, 14, u->cost);
}

int store_log_put(store_log *l, const char *key, const store_reply *r, error *err)
{
	char now[32];
	int rc;

	if (fault_hit(FAULT_WRITE))
		return error_set(err, ERR_IO, "cannot write the request log '%s': fault injected", l->path);
	clock_iso8601(now, clock_unix());
	rc = log_begin(l, err);
	if (rc < 0)
		return rc;
	bind_put(l->put, key, r, now);
	if (sqlite3_step(l->put) != SQLITE_DONE)
		rc = log_error(l, "write", err);
	sqlite3_reset(l->put);
	sqlite3_clear_bindings(l->put);
	if (rc == 0)
		rc = log_settle(l, key, &r->usage, STORE_SENT_ERROR, err);
	return log_end(l, rc, err);
}
