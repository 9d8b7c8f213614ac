/* Jobs: how they start, are taken up again, and end. Their tasks are in tasks.c, who works on them in leases.c. */
#include "store/store_internal.h"

#include <stdlib.h>
#include <string.h>

static int find_unfinished(int64_t *job, store *s, const char *kind, int64_t source, const char *settings,
                           error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	*job = 0;
	rc = store_prepare(&st, s,
	                   "SELECT id FROM job WHERE kind = ?1 AND source_id = ?2 AND settings = ?3 AND "
	                   "state IN ('running', 'stopped')"
	                   " ORDER BY id DESC LIMIT 1",
	                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "tit", kind, source, settings);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row)
		*job = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

static int set_state(store *s, int64_t job, const char *state, const char *why, error *err)
{
	bool over = strcmp(state, "running") != 0;
	sqlite3_stmt *st = NULL;
	char now[32];
	int rc;

	clock_iso8601(now, clock_unix());
	rc = store_prepare(&st, s, "UPDATE job SET state = ?2, error = ?3, finished = ?4 WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ittt", job, state, why, over ? now : NULL);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

/* Tasks of which this holds (SQL) wait again, from now on. */
static int wait_again(uint64_t *n, store *s, int64_t job, const char *which, error *err)
{
	sqlite3_stmt *st = NULL;
	char sql[256];
	int rc;

	snprintf(sql, sizeof(sql),
	         "UPDATE task SET state = 'waiting', error = NULL, not_before = NULL WHERE job_id = ?1 AND "
	         "(%s)",
	         which);
	rc = store_prepare(&st, s, sql, err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_run(s, st, err);
	if (rc == 0)
		*n += (uint64_t)sqlite3_changes64(s->db);
	sqlite3_finalize(st);
	return rc;
}

/* Whoever starts a job again wants what failed to be tried again too. */
static int take_up(store *s, int64_t job, bool failed_too, error *err)
{
	uint64_t n = 0;
	int rc = lease_free_abandoned(s, job, err);

	if (rc == 0 && failed_too)
		rc = wait_again(&n, s, job, "state = 'failed'", err);
	return rc < 0 ? rc : set_state(s, job, "running", NULL, err);
}

static int insert_job(int64_t *job, store *s, const store_job *j, const char *now, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = store_prepare(
	        &st, s,
	        "INSERT INTO job(uid, kind, source_id, settings, options, endpoint, model, state, "
	        "created) VALUES (lower(hex(randomblob(8))), ?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7)",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err,
		                "titttt"
		                "t",
		                j->kind, j->source_id, j->settings, j->options ? j->options : "{}",
		                j->endpoint, j->model, now);
	if (rc == 0)
		rc = store_run(s, st, err);
	if (rc == 0)
		*job = sqlite3_last_insert_rowid(s->db);
	sqlite3_finalize(st);
	return rc;
}

static int insert_tasks(store *s, int64_t job, const store_task *tasks, size_t n, const char *now, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = store_prepare(&st, s,
	                   "INSERT INTO task(job_id, feature, explanation_id, twins, state, updated)"
	                   " VALUES (?1, ?2, nullif(?3, 0), ?4, 'waiting', ?5)",
	                   err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = store_bind(s, st, err, "iiitt", job, (int64_t)tasks[i].feature, tasks[i].explanation_id,
		                tasks[i].twins, now);
		if (rc == 0)
			rc = store_run(s, st, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* The options of whoever takes it up hold from now on. */
static int set_options(store *s, int64_t job, const char *options, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	if (!options)
		return 0;
	rc = store_prepare(&st, s, "UPDATE job SET options = ?2 WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "it", job, options);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_job_start(int64_t *job, bool *resumed, store *s, const store_job *j, const store_task *tasks,
                    size_t n, error *err)
{
	int64_t id = 0;
	char now[32];
	bool found;
	int rc;

	clock_iso8601(now, clock_unix());
	rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = find_unfinished(&id, s, j->kind, j->source_id, j->settings, err);
	found = id != 0;
	if (rc == 0 && found)
		rc = take_up(s, id, true, err);
	if (rc == 0 && found)
		rc = set_options(s, id, j->options, err);
	if (rc == 0 && !found)
		rc = insert_job(&id, s, j, now, err);
	if (rc == 0 && !found)
		rc = insert_tasks(s, id, tasks, n, now, err);
	rc = store_end(s, rc, err);
	if (rc < 0)
		return rc;
	*job = id;
	*resumed = found;
	return 0;
}

/* ---- What a person does with them ------------------------------------------------------------------------------------- */

static int read_job(store_job *out, sqlite3_stmt *st, arena *mem, error *err)
{
	const char **texts[] = { &out->uid,   &out->kind,  &out->settings, &out->options, &out->endpoint,
		                 &out->model, &out->state, &out->error,    &out->source };
	int rc = 0;

	out->id = sqlite3_column_int64(st, 0);
	out->source_id = sqlite3_column_int64(st, 1);
	for (int i = 0; i < (int)ARRAY_LEN(texts) && rc == 0; i++)
		rc = store_column_text(texts[i], st, 2 + i, mem, err);
	return rc;
}

int store_job_get(store_job *out, store *s, int64_t job, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_job found = { 0 };
	bool row = false;
	int rc;

	rc = store_prepare(
	        &st, s,
	        "SELECT j.id, source_id, uid, j.kind, settings, options, endpoint, j.model, state, error, "
	        "s.name FROM job j JOIN source s ON s.id = source_id WHERE j.id = ?1",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no job %lld", s->path, (long long)job);
	if (rc == 0)
		rc = read_job(&found, st, mem, err);
	if (rc == 0)
		*out = found;
	sqlite3_finalize(st);
	return rc;
}

static int job_is_there(store *s, int64_t job, error *err)
{
	arena mem = ARENA_INIT;
	store_job j;
	int rc = store_job_get(&j, s, job, &mem, err);

	arena_clear(&mem);
	return rc;
}

int store_job_resume(store *s, int64_t job, const char *options, error *err)
{
	int rc = store_begin(s, err);

	if (rc < 0)
		return rc;
	rc = job_is_there(s, job, err);
	if (rc == 0)
		rc = take_up(s, job, false, err);
	if (rc == 0)
		rc = set_options(s, job, options, err);
	return store_end(s, rc, err);
}

int store_job_cancel(store *s, int64_t job, error *err)
{
	arena mem = ARENA_INIT;
	store_job j;
	int rc = store_begin(s, err);

	if (rc < 0)
		return rc;
	rc = store_job_get(&j, s, job, &mem, err);
	if (rc == 0 && strcmp(j.state, "done") == 0)
		rc = error_set(err, ERR_EXISTS, "job %lld is done: there is nothing to cancel",
		               (long long)job);
	if (rc == 0)
		rc = set_state(s, job, "cancelled", NULL, err);
	arena_clear(&mem);
	return store_end(s, rc, err);
}

int store_job_retry(uint64_t *n, store *s, int64_t job, store_retry which, error *err)
{
#define HELD " OR (state = 'waiting' AND not_before IS NOT NULL)"
	static const char *const tasks[] = { "state = 'failed'" HELD,
		                             "state IN ('failed', 'refused', 'filtered')" HELD,
		                             "state IN ('failed', 'refused', 'filtered', 'done')" HELD };
#undef HELD
	uint64_t count = 0;
	int rc = store_begin(s, err);

	if (rc < 0)
		return rc;
	rc = job_is_there(s, job, err);
	if (rc == 0)
		rc = lease_free_abandoned(s, job, err);
	if (rc == 0)
		rc = wait_again(&count, s, job, tasks[which], err);
	if (rc == 0 && count)
		rc = set_state(s, job, "stopped", NULL, err);
	rc = store_end(s, rc, err);
	if (rc == 0)
		*n = count;
	return rc;
}

/* ---- What a job knows -------------------------------------------------------------------------------------------------- */

int store_job_set_capabilities(store *s, int64_t job, const char *json, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = store_prepare(&st, s, "UPDATE job SET capabilities = ?2 WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "it", job, json);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_job_capabilities(const char **json, store *s, int64_t job, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	const char *found = NULL;
	bool row = false;
	int rc;

	rc = store_prepare(&st, s, "SELECT coalesce(capabilities, '{}') FROM job WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "there is no job %lld", (long long)job);
	if (rc == 0)
		rc = store_column_text(&found, st, 0, mem, err);
	if (rc == 0)
		*json = found;
	sqlite3_finalize(st);
	return rc;
}

/* A job that was cancelled meanwhile stays so. */
int store_job_end(store *s, int64_t job, const char *state, const char *why, error *err)
{
	arena mem = ARENA_INIT;
	store_job j;
	int rc = store_begin(s, err);

	if (rc < 0)
		return rc;
	rc = store_job_get(&j, s, job, &mem, err);
	if (rc == 0 && strcmp(j.state, "cancelled") != 0)
		rc = set_state(s, job, state, why, err);
	arena_clear(&mem);
	return store_end(s, rc, err);
}

int store_job_counts(cJSON **out, store *s, int64_t job, error *err)
{
	static const char *const names[] = { "waiting",       "running",       "done",     "failed",
		                             "skipped",       "refused",       "filtered", "input_tokens",
		                             "cached_tokens", "output_tokens", "cost" };
	sqlite3_stmt *st = NULL;
	cJSON *counts = NULL;
	bool row = false;
	int rc;

	rc = store_prepare(
	        &st, s,
	        "SELECT coalesce(sum(state = 'waiting'), 0), coalesce(sum(state = 'running'), 0),"
	        " coalesce(sum(state = 'done'), 0), coalesce(sum(state = 'failed'), 0),"
	        " coalesce(sum(state = 'skipped'), 0), coalesce(sum(state = 'refused'), 0),"
	        " coalesce(sum(state = 'filtered'), 0), coalesce(sum(input_tokens), 0),"
	        " coalesce(sum(cached_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost), 0)"
	        " FROM task WHERE job_id = ?1",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc < 0)
		goto out;
	counts = cJSON_CreateObject();
	if (!counts || !cJSON_AddNumberToObject(counts, "job", (double)job))
		rc = error_nomem(err, "a job's counts");
	for (int i = 0; i < (int)ARRAY_LEN(names) && rc == 0; i++)
		if (!cJSON_AddNumberToObject(counts, names[i], sqlite3_column_double(st, i)))
			rc = error_nomem(err, "a job's counts");
	if (rc == 0) {
		*out = counts;
		counts = NULL;
	}
out:
	cJSON_Delete(counts);
	sqlite3_finalize(st);
	return rc;
}
