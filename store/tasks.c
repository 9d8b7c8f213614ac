/* Tasks: leased a number at a time to whoever asks, and recorded with what came of them. */
#include "store/store_internal.h"

#include <math.h>
#include <stdlib.h>

/* ---- Taking ------------------------------------------------------------------------------------------------------------ */

static int read_task(store_task *out, int64_t job, sqlite3_stmt *st, arena *mem, error *err)
{
	out->id = sqlite3_column_int64(st, 0);
	out->job_id = job;
	out->feature = (uint32_t)sqlite3_column_int64(st, 1);
	out->explanation_id = sqlite3_column_int64(st, 2);
	out->attempts = (unsigned)sqlite3_column_int64(st, 3);
	return store_column_text(&out->twins, st, 4, mem, err);
}

#define TASK_COLUMNS "id, feature, coalesce(explanation_id, 0), attempts, twins"

static int find_waiting(store_task *out, size_t *n, size_t most, store *s, int64_t job, arena *mem,
                        error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	*n = 0;
	rc = store_prepare(&st, s,
	                   "SELECT " TASK_COLUMNS " FROM task WHERE job_id = ?1 AND state = 'waiting' AND"
	                   " coalesce(not_before, 0) <= ?2 ORDER BY id LIMIT ?3",
	                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "iii", job, clock_unix(), (int64_t)most);
	while (store_next(&rc, s, st, err)) {
		rc = read_task(&out[*n], job, st, mem, err);
		out[(*n)++].attempts++;
	}
	sqlite3_finalize(st);
	return rc;
}

/* A task begins without the requests of an attempt that did not end. */
static int lease_tasks(store *s, const store_task *t, size_t n, error *err)
{
	sqlite3_stmt *take = NULL, *drop = NULL;
	char now[32];
	int rc;

	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &take, s,
	        "UPDATE task SET state = 'running', attempts = attempts + 1, lease = ?2, not_before = NULL,"
	        " updated = ?3 WHERE id = ?1",
	        err);
	if (rc == 0)
		rc = store_prepare(&drop, s, "DELETE FROM request WHERE task_id = ?1", err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = store_bind(s, take, err, "itt", t[i].id, lease_own(s), now);
		if (rc == 0)
			rc = store_run(s, take, err);
		if (rc == 0)
			rc = store_bind(s, drop, err, "i", t[i].id);
		if (rc == 0)
			rc = store_run(s, drop, err);
	}
	sqlite3_finalize(take);
	sqlite3_finalize(drop);
	return rc;
}

static int check_running(store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, s, "SELECT 1 FROM job WHERE id = ?1 AND state = 'cancelled'", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	sqlite3_finalize(st);
	return rc == 0 && row ? error_set(err, ERR_STOPPED, "job %lld was cancelled", (long long)job) : rc;
}

int store_task_take(store_task *out, size_t *n, size_t most, store *s, int64_t job, arena *mem, error *err)
{
	size_t found = 0;
	int rc;

	*n = 0;
	rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = check_running(s, job, err);
	if (rc == 0)
		rc = find_waiting(out, &found, most, s, job, mem, err);
	if (rc == 0 && found == 0) { /* perhaps another worker died over one */
		rc = lease_free_abandoned(s, job, err);
		if (rc == 0)
			rc = find_waiting(out, &found, most, s, job, mem, err);
	}
	if (rc == 0)
		rc = lease_tasks(s, out, found, err);
	rc = store_end(s, rc, err);
	if (rc == 0)
		*n = found;
	return rc;
}

int store_task_left(store_left *out, store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	rc = store_prepare(&st, s,
	                   "SELECT coalesce(sum(state = 'waiting'), 0), coalesce(sum(state = 'running'), 0),"
	                   " coalesce(min(CASE state WHEN 'waiting' THEN coalesce(not_before, 0) END), 0),"
	                   " coalesce(max(not_before), 0)"
	                   " FROM task WHERE job_id = ?1 AND state IN ('waiting', 'running')",
	                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row)
		*out = (store_left){ .waiting = (uint64_t)sqlite3_column_int64(st, 0),
			             .running = (uint64_t)sqlite3_column_int64(st, 1),
			             .not_before = sqlite3_column_int64(st, 2),
			             .held = sqlite3_column_int64(st, 3) };
	sqlite3_finalize(st);
	return rc;
}

int store_task_hold(store *s, int64_t job, int64_t not_before, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s,
	                       "UPDATE task SET not_before = ?2 WHERE job_id = ?1 AND state = 'running' AND "
	                       "lease = ?3",
	                       err);

	if (rc == 0)
		rc = store_bind(s, st, err, "iit", job, not_before, lease_own(s));
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_task_list(store_task **out, size_t *n, store *s, int64_t job, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_task *tasks = NULL;
	size_t cap = 0, count = 0;
	int rc =
	        store_prepare(&st, s, "SELECT " TASK_COLUMNS " FROM task WHERE job_id = ?1 ORDER BY id", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	while (store_next(&rc, s, st, err)) {
		if (mem_grow(&tasks, &cap, count + 1, sizeof(*tasks)) < 0)
			rc = error_nomem(err, "tasks");
		else
			rc = read_task(&tasks[count++], job, st, mem, err);
	}
	sqlite3_finalize(st);
	if (rc < 0) {
		free(tasks);
		return rc;
	}
	*out = tasks;
	*n = count;
	return 0;
}

/* ---- What came of them ---------------------------------------------------------------------------------------------------- */

const char *store_task_state_name(store_task_state state)
{
	static const char *const names[] = {
		[STORE_TASK_DONE] = "done",       [STORE_TASK_FAILED] = "failed",
		[STORE_TASK_SKIPPED] = "skipped", [STORE_TASK_WAITING] = "waiting",
		[STORE_TASK_REFUSED] = "refused", [STORE_TASK_FILTERED] = "filtered"
	};

	return names[state];
}

static int update_task(store *s, const store_task *t, const store_outcome *o, error *err)
{
	sqlite3_stmt *st = NULL;
	char now[32];
	int rc;

	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &st, s,
	        "UPDATE task SET state = ?2, error = ?3, lease = NULL, input_tokens = ?4, cached_tokens "
	        "= ?5, output_tokens = ?6, cost = ?7, not_before = nullif(?8, 0), updated = ?9 WHERE id = "
	        "?1 AND (?11 OR (state = 'running' AND lease = ?10))",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ittiiiditti", t->id, store_task_state_name(o->state), o->why,
		                (int64_t)o->input_tokens, (int64_t)o->cached_tokens,
		                (int64_t)o->output_tokens, o->cost, o->not_before, now, lease_own(s),
		                (int64_t)o->again);
	if (rc == 0)
		rc = store_run(s, st, err);
	if (rc == 0 && sqlite3_changes(s->db) == 0)
		rc = error_set(err, ERR_BUSY, "task %lld is another worker's by now", (long long)t->id);
	sqlite3_finalize(st);
	return rc;
}

int store_task_end(store *s, const store_task *t, const store_outcome *o, error *err)
{
	int rc;

	rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < o->n_requests && rc == 0; i++)
		rc = store_task_request(s, t->id, o->requests[i].seq, o->requests[i].key,
		                        o->requests[i].example_ids, err);
	if (rc == 0)
		rc = update_task(s, t, o, err);
	for (size_t i = 0; i < o->n_explanations && rc == 0; i++) {
		o->explanations[i].task_id = t->id;
		rc = store_explanation_add(s, &o->explanations[i], err);
	}
	for (size_t i = 0; i < o->n_scores && rc == 0; i++) {
		store_score mine = o->scores[i];

		mine.task_id = t->id;
		if (mine.of)
			mine.explanation_id = mine.of->id;
		if (mine.explanation_id) /* 0: a label that is there from before, with its score */
			rc = store_score_add(s, &mine, err);
	}
	return store_end(s, rc, err);
}

int store_task_request(store *s, int64_t task, unsigned seq, const char *key, const char *example_ids,
                       error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = store_prepare(
	        &st, s,
	        "INSERT OR REPLACE INTO request(task_id, seq, key, example_ids) VALUES (?1, ?2, ?3, ?4)",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "iitt", task, (int64_t)seq, key, example_ids);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}
