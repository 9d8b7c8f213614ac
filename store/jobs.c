/* Jobs and their tasks. A task is leased to a process: "PID START BOOT SINCE", where START is the process's own start time, so that a
 * number given to another process later, or after a reboot, is not taken for the holder. */
#include "store/store_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEASE_MAX = 160, BOOT_MAX = 64 };

/* ---- Leases ---------------------------------------------------------------------------------------------------------- */

static void read_boot(char boot[BOOT_MAX])
{
	char *data = NULL;
	size_t len;

	snprintf(boot, BOOT_MAX, "-");
	if (file_read(&data, &len, "/proc/sys/kernel/random/boot_id", 4096, NULL) == 0 && len) {
		data[strcspn(data, " \n")] = '\0';
		if (data[0])
			snprintf(boot, BOOT_MAX, "%s", data);
	}
	free(data);
}

/* Field 22 of /proc/PID/stat: when the process began, in ticks since the boot; 0: not known. The name in field 2 may
 * hold spaces and brackets, so fields are counted from its last bracket. */
static unsigned long long read_start(long pid)
{
	char path[64], *data = NULL, *at;
	unsigned long long start = 0;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (file_read(&data, &len, path, 4096, NULL) == 0 && (at = strrchr(data, ')'))) {
		for (int field = 2; field < 22 && at; field++)
			at = strchr(at + 1, ' ');
		if (at)
			start = strtoull(at, NULL, 10);
	}
	free(data);
	return start;
}

static void make_lease(char lease[LEASE_MAX])
{
	char boot[BOOT_MAX];

	read_boot(boot);
	snprintf(lease, LEASE_MAX, "%ld %llu %s %lld", (long)getpid(), read_start((long)getpid()), boot,
	         (long long)clock_unix());
}

/* Whether the holder can no longer be at work. */
static bool holder_is_gone(const char *lease)
{
	char boot[BOOT_MAX], now[BOOT_MAX];
	unsigned long long start, start_now;
	long pid;

	if (!lease || sscanf(lease, "%ld %llu %63s", &pid, &start, boot) != 3 || pid <= 0)
		return true;
	read_boot(now);
	if (strcmp(boot, now) != 0)
		return true;
	if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		return true;
	start_now = read_start(pid);
	return start != 0 && start_now != 0 && start != start_now;
}

static int set_waiting(store *s, int64_t task, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = store_prepare(
	        &st, s, "UPDATE task SET state = 'waiting', lease = NULL WHERE id = ?1 AND state = 'running'",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", task);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

/* Give back the job's running tasks whose holder is gone. In a transaction of the caller's. */
static int free_abandoned(store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	int64_t *gone = NULL;
	size_t n = 0, cap = 0;
	bool row = true;
	int rc;

	rc = store_prepare(&st, s, "SELECT id, lease FROM task WHERE job_id = ?1 AND state = 'running'", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	while (rc == 0) {
		rc = store_step(s, st, &row, err);
		if (rc < 0 || !row)
			break;
		if (!holder_is_gone((const char *)sqlite3_column_text(st, 1)))
			continue;
		if (mem_grow(&gone, &cap, n + 1, sizeof(*gone)) < 0)
			rc = error_nomem(err, "a list of tasks");
		else
			gone[n++] = sqlite3_column_int64(st, 0);
	}
	sqlite3_finalize(st);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = set_waiting(s, gone[i], err);
	free(gone);
	return rc;
}

/* ---- Jobs ------------------------------------------------------------------------------------------------------------ */

static int find_unfinished(int64_t *job, store *s, const char *kind, int64_t source, const char *settings,
                           error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	*job = 0;
	rc = store_prepare(
	        &st, s,
	        "SELECT id FROM job WHERE kind = ?1 AND source_id = ?2 AND settings = ?3 AND state != 'done'"
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

/* Whoever starts a job again wants what failed to be tried again too. */
static int take_up(store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = free_abandoned(s, job, err);
	if (rc == 0)
		rc = store_prepare(&st, s,
		                   "UPDATE task SET state = 'waiting', error = NULL WHERE job_id = ?1 AND "
		                   "state = 'failed'",
		                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc < 0 ? rc : store_job_end(s, job, "running", NULL, err);
}

static int insert_job(int64_t *job, store *s, const char *kind, int64_t source, const char *settings,
                      const char *endpoint, const char *model, const char *now, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	rc = store_prepare(&st, s,
	                   "INSERT INTO job(kind, source_id, settings, endpoint, model, state, created)"
	                   " VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6)",
	                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "titttt", kind, source, settings, endpoint, model, now);
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
	                   "INSERT INTO task(job_id, feature, explanation_id, state, updated)"
	                   " VALUES (?1, ?2, nullif(?3, 0), 'waiting', ?4)",
	                   err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = store_bind(s, st, err, "iiit", job, (int64_t)tasks[i].feature, tasks[i].explanation_id,
		                now);
		if (rc == 0)
			rc = store_run(s, st, err);
	}
	sqlite3_finalize(st);
	return rc;
}

int store_job_start(int64_t *job, bool *resumed, store *s, const char *kind, int64_t source,
                    const char *settings, const char *endpoint, const char *model, const store_task *tasks,
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
	rc = find_unfinished(&id, s, kind, source, settings, err);
	found = id != 0;
	if (rc == 0 && found)
		rc = take_up(s, id, err);
	if (rc == 0 && !found)
		rc = insert_job(&id, s, kind, source, settings, endpoint, model, now, err);
	if (rc == 0 && !found)
		rc = insert_tasks(s, id, tasks, n, now, err);
	rc = store_end(s, rc, err);
	if (rc < 0)
		return rc;
	*job = id;
	*resumed = found;
	return 0;
}

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

int store_job_end(store *s, int64_t job, const char *state, const char *why, error *err)
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

int store_job_counts(cJSON **out, store *s, int64_t job, error *err)
{
	static const char *const names[] = { "waiting", "running",      "done",         "failed",
		                             "skipped", "input_tokens", "output_tokens" };
	sqlite3_stmt *st = NULL;
	cJSON *counts = NULL;
	bool row = false;
	int rc;

	rc = store_prepare(&st, s,
	                   "SELECT coalesce(sum(state = 'waiting'), 0), coalesce(sum(state = 'running'), 0),"
	                   " coalesce(sum(state = 'done'), 0), coalesce(sum(state = 'failed'), 0),"
	                   " coalesce(sum(state = 'skipped'), 0), coalesce(sum(input_tokens), 0),"
	                   " coalesce(sum(output_tokens), 0) FROM task WHERE job_id = ?1",
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

/* ---- Tasks ------------------------------------------------------------------------------------------------------------- */

static int next_waiting(store_task *out, store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	*out = (store_task){ 0 };
	rc = store_prepare(
	        &st, s,
	        "SELECT id, feature, coalesce(explanation_id, 0), attempts FROM task WHERE job_id = ?1 AND"
	        " state = 'waiting' AND coalesce(not_before, 0) <= ?2 ORDER BY id LIMIT 1",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ii", job, clock_unix());
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row) {
		out->id = sqlite3_column_int64(st, 0);
		out->job_id = job;
		out->feature = (uint32_t)sqlite3_column_int64(st, 1);
		out->explanation_id = sqlite3_column_int64(st, 2);
		out->attempts = (unsigned)sqlite3_column_int64(st, 3) + 1;
	}
	sqlite3_finalize(st);
	return rc;
}

/* A task begins without the requests of an attempt that did not end. */
static int lease_task(store *s, const store_task *t, error *err)
{
	sqlite3_stmt *take = NULL, *drop = NULL;
	char lease[LEASE_MAX], now[32];
	int rc;

	make_lease(lease);
	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &take, s,
	        "UPDATE task SET state = 'running', attempts = attempts + 1, lease = ?2, updated = ?3"
	        " WHERE id = ?1",
	        err);
	if (rc == 0)
		rc = store_prepare(&drop, s, "DELETE FROM request WHERE task_id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, take, err, "itt", t->id, lease, now);
	if (rc == 0)
		rc = store_run(s, take, err);
	if (rc == 0)
		rc = store_bind(s, drop, err, "i", t->id);
	if (rc == 0)
		rc = store_run(s, drop, err);
	sqlite3_finalize(take);
	sqlite3_finalize(drop);
	return rc;
}

int store_task_take(store_task *out, store *s, int64_t job, error *err)
{
	store_task t = { 0 };
	int rc;

	rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = next_waiting(&t, s, job, err);
	if (rc == 0 && t.id == 0) { /* perhaps another worker died over one */
		rc = free_abandoned(s, job, err);
		if (rc == 0)
			rc = next_waiting(&t, s, job, err);
	}
	if (rc == 0 && t.id)
		rc = lease_task(s, &t, err);
	rc = store_end(s, rc, err);
	if (rc == 0)
		*out = t;
	return rc;
}

static int update_task(store *s, const store_task *t, const char *state, const char *why,
                       uint64_t input_tokens, uint64_t output_tokens, error *err)
{
	sqlite3_stmt *st = NULL;
	char now[32];
	int rc;

	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &st, s,
	        "UPDATE task SET state = ?2, error = ?3, lease = NULL, input_tokens = ?4, output_tokens = ?5,"
	        " updated = ?6 WHERE id = ?1",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ittiit", t->id, state, why, (int64_t)input_tokens,
		                (int64_t)output_tokens, now);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_task_end(store *s, const store_task *t, store_task_state state, const char *why,
                   uint64_t input_tokens, uint64_t output_tokens, store_explanation *e,
                   const store_score *scores, size_t n_scores, error *err)
{
	static const char *const names[] = { [STORE_TASK_DONE] = "done",
		                             [STORE_TASK_FAILED] = "failed",
		                             [STORE_TASK_SKIPPED] = "skipped",
		                             [STORE_TASK_WAITING] = "waiting" };
	int rc;

	rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = update_task(s, t, names[state], why, input_tokens, output_tokens, err);
	if (rc == 0 && e) {
		e->task_id = t->id;
		rc = store_explanation_add(s, e, err);
	}
	for (size_t i = 0; i < n_scores && rc == 0; i++) {
		store_score mine = scores[i];

		mine.task_id = t->id;
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
