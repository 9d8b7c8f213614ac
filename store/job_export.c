/* A job as lines of JSON: its tasks with what they asked, what was answered, and what came of it. */
#include "store/json_row.h"
#include "store/store_internal.h"

typedef struct exporting {
	store *s;
	store_log *log;
	sqlite3_stmt *tasks, *labels, *scores, *requests;
	json_row row;
	arena mem;
	file_writer out;
} exporting;

static const char *column(sqlite3_stmt *st, int i)
{
	return (const char *)sqlite3_column_text(st, i);
}

static int put_labels(exporting *x, int64_t task, error *err)
{
	int rc = store_bind(x->s, x->labels, err, "i", task);

	json_row_open(&x->row, "labels");
	while (store_next(&rc, x->s, x->labels, err)) {
		json_row_open_object(&x->row, NULL);
		json_row_number(&x->row, "feature", sqlite3_column_double(x->labels, 0));
		json_row_text(&x->row, "text", column(x->labels, 1));
		json_row_text(&x->row, "short_text", column(x->labels, 2));
		json_row_number(&x->row, "confidence", store_column_number(x->labels, 3));
		json_row_text(&x->row, "prompt_sha256", column(x->labels, 4));
		json_row_text(&x->row, "schema_sha256", column(x->labels, 5));
		json_row_number(&x->row, "same_as", store_column_number(x->labels, 6));
		json_row_close_object(&x->row);
	}
	json_row_close(&x->row);
	return rc;
}

static int put_scores(exporting *x, int64_t task, error *err)
{
	int rc = store_bind(x->s, x->scores, err, "i", task);

	json_row_open(&x->row, "scores");
	while (store_next(&rc, x->s, x->scores, err)) {
		json_row_open_object(&x->row, NULL);
		json_row_text(&x->row, "scorer", column(x->scores, 0));
		json_row_number(&x->row, "value", store_column_number(x->scores, 1));
		json_row_number(&x->row, "low", store_column_number(x->scores, 2));
		json_row_number(&x->row, "high", store_column_number(x->scores, 3));
		json_row_number(&x->row, "baseline", store_column_number(x->scores, 4));
		json_row_close_object(&x->row);
	}
	json_row_close(&x->row);
	return rc;
}

static int put_requests(exporting *x, int64_t task, error *err)
{
	store_exchange e;
	int rc = store_bind(x->s, x->requests, err, "i", task);

	json_row_open(&x->row, "requests");
	while (store_next(&rc, x->s, x->requests, err)) {
		rc = store_log_exchange(&e, x->log, column(x->requests, 0), &x->mem, err);
		json_row_open_object(&x->row, NULL);
		json_row_text(&x->row, "key", column(x->requests, 0));
		json_row_text(&x->row, "windows", column(x->requests, 1));
		json_row_text(&x->row, "body", e.body);
		json_row_text(&x->row, "reply", e.reply);
		json_row_close_object(&x->row);
	}
	json_row_close(&x->row);
	return rc;
}

static int put_task(exporting *x, error *err)
{
	static const struct {
		const char *name;
		bool text;
	} members[] = { { "task", false },         { "feature", false },       { "same_for", true },
		        { "state", true },         { "attempts", false },      { "error", true },
		        { "input_tokens", false }, { "cached_tokens", false }, { "output_tokens", false },
		        { "cost", false } };
	int64_t task = sqlite3_column_int64(x->tasks, 0);
	int rc;

	json_row_begin(&x->row);
	for (int i = 0; i < (int)ARRAY_LEN(members); i++) {
		if (members[i].text)
			json_row_text(&x->row, members[i].name, column(x->tasks, i));
		else
			json_row_number(&x->row, members[i].name, store_column_number(x->tasks, i));
	}
	rc = put_labels(x, task, err);
	if (rc == 0)
		rc = put_scores(x, task, err);
	if (rc == 0)
		rc = put_requests(x, task, err);
	if (rc == 0)
		rc = json_row_end(&x->row, err);
	if (rc == 0)
		rc = file_writer_add(&x->out, x->row.line.data, x->row.line.len, err);
	arena_clear(&x->mem);
	return rc;
}

static int prepare(exporting *x, int64_t job, error *err)
{
	arena mem = ARENA_INIT;
	store_job j;
	int rc = store_job_get(&j, x->s, job, &mem, err);

	arena_clear(&mem);
	if (rc == 0)
		rc = store_prepare(
		        &x->tasks, x->s,
		        "SELECT id, feature, twins, state, attempts, error, input_tokens, cached_tokens, "
		        "output_tokens, cost FROM task WHERE job_id = ?1 ORDER BY id",
		        err);
	if (rc == 0)
		rc = store_prepare(
		        &x->labels, x->s,
		        "SELECT feature, text, short_text, confidence, prompt_sha256, schema_sha256, same_as "
		        "FROM explanation WHERE task_id = ?1 ORDER BY id",
		        err);
	if (rc == 0)
		rc = store_prepare(
		        &x->scores, x->s,
		        "SELECT scorer, value, low, high, baseline FROM score WHERE task_id = ?1 ORDER BY id",
		        err);
	if (rc == 0)
		rc = store_prepare(&x->requests, x->s,
		                   "SELECT key, example_ids FROM request WHERE task_id = ?1 ORDER BY seq",
		                   err);
	return rc == 0 ? store_bind(x->s, x->tasks, err, "i", job) : rc;
}

int store_job_export(uint64_t *tasks, store *s, store_log *l, int64_t job, const char *path, error *err)
{
	exporting x = { .s = s, .log = l, .mem = ARENA_INIT };
	uint64_t n = 0;
	int rc;

	json_row_init(&x.row);
	rc = prepare(&x, job, err);
	if (rc == 0)
		rc = file_writer_open(&x.out, path, err);
	while (store_next(&rc, s, x.tasks, err)) {
		rc = put_task(&x, err);
		n++;
	}
	if (rc == 0)
		rc = file_writer_commit(&x.out, err);
	file_writer_abort(&x.out);
	sqlite3_finalize(x.tasks);
	sqlite3_finalize(x.labels);
	sqlite3_finalize(x.scores);
	sqlite3_finalize(x.requests);
	json_row_free(&x.row);
	if (rc == 0)
		*tasks = n;
	return rc;
}
