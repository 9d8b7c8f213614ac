/* What a person is told of jobs. */
#include "store/query_internal.h"

/* The columns of a job's line. */
#define JOB_COLUMNS                                                                                          \
	"SELECT j.id, j.kind, s.name AS source, coalesce(j.model, 'lexical') AS model, j.endpoint, "         \
	"j.state, "                                                                                          \
	"j.error, j.created, j.finished, coalesce(t.tasks, 0) AS tasks, coalesce(t.done, 0) AS done, "       \
	"coalesce(t.waiting, 0) AS waiting, coalesce(t.running, 0) AS running, coalesce(t.failed, 0) AS "    \
	"failed, coalesce(t.skipped, 0) AS skipped, coalesce(t.refused, 0) AS refused, "                     \
	"coalesce(t.filtered, "                                                                              \
	"0) AS filtered, coalesce(t.input_tokens, 0) AS input_tokens, coalesce(t.cached_tokens, 0) AS "      \
	"cached_tokens, coalesce(t.output_tokens, 0) AS output_tokens, t.cost AS cost"
#define JOB_SUMS                                                                                             \
	" FROM job j JOIN source s ON s.id = j.source_id LEFT JOIN (SELECT job_id, count(*) AS tasks, "      \
	"sum(state = 'done') AS done, sum(state = 'waiting') AS waiting, sum(state = 'running') AS "         \
	"running, "                                                                                          \
	"sum(state = 'failed') AS failed, sum(state = 'skipped') AS skipped, sum(state = 'refused') AS "     \
	"refused, sum(state = 'filtered') AS filtered, sum(input_tokens) AS input_tokens, "                  \
	"sum(cached_tokens) AS cached_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost FROM "  \
	"task GROUP BY job_id) t ON t.job_id = j.id"

static const char all_jobs[] = JOB_COLUMNS JOB_SUMS " ORDER BY j.id DESC";
static const char one_job[] =
        JOB_COLUMNS ", j.uid, j.settings, j.options, j.capabilities" JOB_SUMS " WHERE j.id = ?1";

static const char job_reasons[] = "SELECT state, error, count(*) AS tasks, min(feature) AS feature FROM task "
                                  "WHERE job_id = ?1 AND error IS NOT NULL GROUP BY state, error ORDER BY "
                                  "tasks DESC, state, error LIMIT 100";

static void put_columns(cJSON *to, sqlite3_stmt *st, int first, int end, bool *failed)
{
	for (int i = first; i < end; i++)
		json_put_column(to, sqlite3_column_name(st, i), st, i, failed);
}

/* Rows of a query of job ?1 (0: none asked for) into a list. */
static int put_rows(cJSON *list, store *s, const char *sql, int64_t job, bool *failed, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, sql, err);

	if (rc == 0 && job)
		rc = store_bind(s, st, err, "i", job);
	while (store_next(&rc, s, st, err))
		put_columns(json_put_object(list, NULL, failed), st, 0, sqlite3_column_count(st), failed);
	sqlite3_finalize(st);
	return rc;
}

int store_jobs_page(cJSON **out, store *s, error *err)
{
	cJSON *page = cJSON_CreateObject();
	bool failed = !page;
	int rc = put_rows(json_put_array(page, "jobs", &failed), s, all_jobs, 0, &failed, err);

	return json_finish(out, page, rc, failed, err);
}

/* JSON of ours that is kept as text. */
static int put_stored(cJSON *page, const char *name, sqlite3_stmt *st, int column, bool *failed, error *err)
{
	const char *stored = (const char *)sqlite3_column_text(st, column);
	cJSON *value = NULL;
	int rc = 0;

	if (stored)
		rc = json_parse(&value, stored, (size_t)sqlite3_column_bytes(st, column), 1 << 22, 32, name,
		                err);
	if (rc == 0)
		json_put(page, name, value ? value : cJSON_CreateObject(), failed);
	return rc;
}

/* Who works on it, and on how many tasks. */
static int put_workers(cJSON *list, store *s, int64_t job, bool *failed, error *err)
{
	static const char sql[] =
	        "SELECT w.lease, w.machine, w.since, w.heartbeat, (SELECT count(*) FROM task t "
	        "WHERE t.job_id = ?1 AND t.state = 'running' AND t.lease = w.lease) AS tasks "
	        "FROM worker w WHERE w.job_id = ?1 ORDER BY w.since, w.lease";
	sqlite3_stmt *st = NULL;
	char when[32];
	int rc = store_prepare(&st, s, sql, err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	while (store_next(&rc, s, st, err)) {
		const char *lease = (const char *)sqlite3_column_text(st, 0);
		cJSON *one = json_put_object(list, NULL, failed);

		json_put_number(one, "pid", strtod(lease, NULL), failed);
		json_put_column(one, "machine", st, 1, failed);
		clock_iso8601(when, sqlite3_column_int64(st, 2));
		json_put_text(one, "since", when, failed);
		clock_iso8601(when, sqlite3_column_int64(st, 3));
		json_put_text(one, "heartbeat", when, failed);
		json_put_column(one, "tasks", st, 4, failed);
		json_put_bool(one, "gone",
		              lease_is_gone(lease, (const char *)sqlite3_column_text(st, 1),
		                            sqlite3_column_int64(st, 3)),
		              failed);
	}
	sqlite3_finalize(st);
	return rc;
}

static int put_job(cJSON *page, store *s, int64_t job, bool *failed, error *err)
{
	static const char *const stored[] = { "settings", "options", "capabilities" };
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, s, one_job, err), n;

	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no job %lld", s->path, (long long)job);
	if (rc == 0) {
		n = sqlite3_column_count(st) - (int)ARRAY_LEN(stored);
		put_columns(page, st, 0, n, failed);
		for (int i = 0; i < (int)ARRAY_LEN(stored) && rc == 0; i++)
			rc = put_stored(page, stored[i], st, n + i, failed, err);
	}
	sqlite3_finalize(st);
	return rc;
}

int store_job_page(cJSON **out, store *s, int64_t job, error *err)
{
	cJSON *page = cJSON_CreateObject();
	bool failed = !page;
	int rc = put_job(page, s, job, &failed, err);

	if (rc == 0)
		rc = put_rows(json_put_array(page, "reasons", &failed), s, job_reasons, job, &failed, err);
	if (rc == 0)
		rc = put_workers(json_put_array(page, "at_work", &failed), s, job, &failed, err);
	return json_finish(out, page, rc, failed, err);
}

/* ---- Prompts ----------------------------------------------------------------------------------------------------------- */

int store_prompt_add(store *s, const char *template, error *err)
{
	sqlite3_stmt *st = NULL;
	char hex[SHA256_HEX];
	int rc = sha256_bytes(hex, template, strlen(template), err);

	if (rc == 0)
		rc = store_prepare(&st, s, "INSERT OR IGNORE INTO prompt(sha256, text) VALUES (?1, ?2)", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "tt", hex, template);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_prompt_get(const char **template, store *s, const char *hash, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, s, "SELECT text FROM prompt WHERE sha256 = ?1", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "t", hash);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "'%s' does not hold the template %.12s", s->path, hash);
	if (rc == 0)
		rc = store_column_text(template, st, 0, mem, err);
	sqlite3_finalize(st);
	return rc;
}
