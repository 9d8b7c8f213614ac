/* Batches handed to a provider: their rows say which requests are there, so that a process that was killed finds them again. */
#include "store/log_internal.h"

#include <stdlib.h>
#include <string.h>

static int run_with(store_log *l, const char *sql, const char *const *values, int n, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, sql, err);

	for (int i = 0; i < n && rc == 0; i++)
		sqlite3_bind_text(st, i + 1, values[i], -1, SQLITE_STATIC);
	return log_finish(l, st, rc, err);
}

int store_log_batch_begin(store_log *l, const char *id, const char *endpoint, const char *job,
                          const char *stage, error *err)
{
	char now[32];

	clock_iso8601(now, clock_unix());
	return run_with(l, "INSERT INTO batch(id, endpoint, job, stage, created) VALUES (?1, ?2, ?3, ?4, ?5)",
	                (const char *const[]){ id, endpoint, job, stage, now }, 5, err);
}

int store_log_batch_item(store_log *l, const char *id, const char *key, error *err)
{
	return run_with(l, "INSERT OR IGNORE INTO batch_item(batch_id, key) VALUES (?1, ?2)",
	                (const char *const[]){ id, key }, 2, err);
}

int store_log_batch_rename(store_log *l, const char *id, const char *to, error *err)
{
	static const char *const sql[] = {
		"UPDATE batch SET id = ?2 WHERE id = ?1",
		"UPDATE batch_item SET batch_id = ?2 WHERE batch_id = ?1",
		"UPDATE claim SET holder = 'batch ' || ?2 WHERE holder = 'batch ' || ?1"
	};
	const char *const values[] = { id, to };
	int rc = log_begin(l, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(sql) && rc == 0; i++)
		rc = run_with(l, sql[i], values, 2, err);
	return log_end(l, rc, err);
}

int store_log_batch_open(char ***ids, size_t *n, store_log *l, const char *endpoint, const char *job,
                         arena *mem, error *err)
{
	enum { MOST = 1000 };
	sqlite3_stmt *st = NULL;
	char **list = arena_alloc(mem, MOST, sizeof(*list));
	int rc = list ? log_prepare_one(
	                        &st, l,
	                        "SELECT id FROM batch WHERE endpoint = ?1 AND job = ?2 AND finished IS NULL "
	                        "ORDER BY created, id",
	                        err)
	              : error_nomem(err, "batches"),
	    step = SQLITE_DONE;
	size_t count = 0;

	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, endpoint, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, job, -1, SQLITE_STATIC);
	while (rc == 0 && count < MOST && (step = sqlite3_step(st)) == SQLITE_ROW) {
		list[count] = arena_strdup(mem, (const char *)sqlite3_column_text(st, 0));
		if (!list[count++])
			rc = error_nomem(err, "batches");
	}
	if (rc == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	*ids = list;
	*n = count;
	return rc;
}

int store_log_batch_holds(bool *holds, store_log *l, const char *key, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(
	            &st, l,
	            "SELECT 1 FROM batch_item i JOIN batch b ON b.id = i.batch_id WHERE i.key = ?1 AND "
	            "b.finished IS NULL",
	            err),
	    step;

	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	*holds = step == SQLITE_ROW;
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	return rc;
}

/* Its claims are spent, as far as one can know. */
static int lose_claims(store_log *l, const char *id, error *err)
{
	char(*keys)[SHA256_HEX] = NULL;
	sqlite3_stmt *st = NULL;
	size_t n = 0, cap = 0;
	int rc = log_prepare_one(&st, l, "SELECT key FROM claim WHERE holder = 'batch ' || ?1", err),
	    step = SQLITE_DONE;

	if (rc == 0)
		sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
	while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		if (mem_grow(&keys, &cap, n + 1, sizeof(*keys)) < 0)
			rc = error_nomem(err, "a batch");
		else
			snprintf(keys[n++], SHA256_HEX, "%s", (const char *)sqlite3_column_text(st, 0));
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = log_settle(l, keys[i], NULL, STORE_SENT_LOST, err);
	free(keys);
	return rc;
}

int store_log_batch_finish(store_log *l, const char *id, bool lost, error *err)
{
	char now[32];
	int rc = log_begin(l, err);

	if (rc < 0)
		return rc;
	clock_iso8601(now, clock_unix());
	rc = lost ? lose_claims(l, id, err) : 0;
	if (rc == 0)
		rc = run_with(l, "DELETE FROM claim WHERE holder = 'batch ' || ?1",
		              (const char *const[]){ id }, 1, err);
	if (rc == 0)
		rc = run_with(l, "DELETE FROM batch_item WHERE batch_id = ?1", (const char *const[]){ id }, 1,
		              err);
	if (rc == 0)
		rc = run_with(l, "UPDATE batch SET finished = ?2 WHERE id = ?1",
		              (const char *const[]){ id, now }, 2, err);
	return log_end(l, rc, err);
}
