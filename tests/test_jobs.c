/* Jobs, tasks, leases, labels and scores in the store: what is recorded, and what a process that died leaves behind. */
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static error err;

static store *s;

static void setup(void)
{
	s = small_store_open(STORE_WRITE);
}

static void teardown(void)
{
	store_close(s);
}

static int64_t start_job(bool *resumed, const char *settings)
{
	store_task tasks[3] = { { .feature = 0 }, { .feature = 1 }, { .feature = 5 } };
	int64_t job = 0;

	store_job j = { .kind = "explain",
		        .source_id = 1,
		        .settings = settings,
		        .options = "{}",
		        .endpoint = "http://x/v1",
		        .model = "m" };

	ck_assert_msg(store_job_start(&job, resumed, s, &j, tasks, 3, &err) == 0, "%s", err.msg);
	return job;
}

/* One task; id 0: none is left to take now. */
static int take_one(store_task *t, store *from, int64_t job)
{
	arena mem = ARENA_INIT;
	size_t n = 0;
	int rc = store_task_take(t, &n, 1, from, job, &mem, &err);

	arena_clear(&mem);
	if (n == 0)
		*t = (store_task){ 0 };
	t->twins = NULL;
	return rc;
}

static int end_task(const store_task *t, store_task_state state, const char *why, uint64_t input,
                    uint64_t output, store_explanation *e)
{
	store_outcome o = { .state = state,
		            .why = why,
		            .input_tokens = input,
		            .output_tokens = output,
		            .cost = (double)NAN,
		            .explanations = e,
		            .n_explanations = e != NULL };

	return store_task_end(s, t, &o, &err);
}

static double count_of(int64_t job, const char *name)
{
	cJSON *counts = NULL;
	double n;

	ck_assert_int_eq(store_job_counts(&counts, s, job, &err), 0);
	n = cJSON_GetObjectItemCaseSensitive(counts, name)->valuedouble;
	cJSON_Delete(counts);
	return n;
}

START_TEST(tasks_are_taken_by_id_and_ended_with_what_they_made)
{
	store_explanation e = { .source_id = 1,
		                .text = "cats",
		                .short_text = "cat",
		                .method = "llm",
		                .model = "m",
		                .confidence = 0.5,
		                .prompt_sha256 = "ab" };
	store_explanation back;
	arena mem = ARENA_INIT;
	store_task t;
	bool resumed;
	int64_t job = start_job(&resumed, "{}");

	ck_assert(!resumed);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 0);
	ck_assert_uint_eq(t.attempts, 1);
	ck_assert_int_eq(store_task_request(s, t.id, 0, "key", "[[1,2,3]]", &err), 0);
	ck_assert_int_eq(end_task(&t, STORE_TASK_DONE, NULL, 100, 20, &e), 0);
	ck_assert_int_ne(e.id, 0);
	ck_assert_int_eq(e.task_id, t.id);
	ck_assert_int_eq(store_explanation_latest(&back, s, 1, 0, &mem, &err), 0);
	ck_assert_int_eq(back.id, e.id);
	ck_assert_str_eq(back.text, "cats");
	ck_assert_str_eq(back.short_text, "cat");
	ck_assert_ptr_null(back.rule);
	ck_assert_double_eq(back.confidence, 0.5);
	ck_assert_int_eq(back.task_id, t.id);

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 1);
	ck_assert_int_eq(end_task(&t, STORE_TASK_SKIPPED, "too rare", 0, 0, NULL), 0);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 5);
	ck_assert_int_eq(end_task(&t, STORE_TASK_FAILED, "no answer", 1, 2, NULL), 0);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(t.id, 0);
	ck_assert_double_eq(count_of(job, "done"), 1);
	ck_assert_double_eq(count_of(job, "skipped"), 1);
	ck_assert_double_eq(count_of(job, "failed"), 1);
	ck_assert_double_eq(count_of(job, "input_tokens"), 101);
	ck_assert_double_eq(count_of(job, "output_tokens"), 22);
	arena_clear(&mem);
}
END_TEST

START_TEST(scores_are_kept_with_their_label)
{
	store_explanation e = { .source_id = 1,
		                .feature = 5,
		                .text = "x",
		                .method = "lexical",
		                .rule = "{}",
		                .confidence = (double)NAN };
	store_score sc = { .scorer = "detection",
		           .judge = "lexical",
		           .value = 0.75,
		           .low = 0.6,
		           .high = 0.9,
		           .baseline = (double)NAN,
		           .n_positive = 10,
		           .n_negative = 12,
		           .n_failed = 1 };
	int64_t n;

	ck_assert_int_eq(store_explanation_add(s, &e, &err), 0);
	sc.explanation_id = e.id;
	ck_assert_int_eq(store_score_add(s, &sc, &err), 0);
	ck_assert_int_eq(
	        store_int(
	                &n, s,
	                "SELECT count(*) FROM label_score WHERE feature = 5 AND value = 0.75 AND baseline IS "
	                "NULL AND n_failed = 1 AND details = '{}' AND task_id IS NULL",
	                0, &err),
	        0);
	ck_assert_int_eq(n, 1);
}
END_TEST

START_TEST(labels_that_are_not_there)
{
	store_explanation e = { .text = "untouched" };
	arena mem = ARENA_INIT;

	ck_assert_int_eq(store_explanation_latest(&e, s, 1, SMALL_DEAD, &mem, &err), ERR_NOTFOUND);
	ck_assert_int_eq(store_explanation_get(&e, s, 4711, &mem, &err), ERR_NOTFOUND);
	ck_assert_str_eq(e.text, "untouched");
	arena_clear(&mem);
}
END_TEST

START_TEST(unfinished_job_is_taken_up_again)
{
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{\"a\":1}"), other;

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(end_task(&t, STORE_TASK_FAILED, "500", 0, 0, NULL), 0);
	ck_assert_int_eq(store_job_end(s, job, "stopped", "because", &err), 0);
	other = start_job(&resumed, "{\"a\":2}");
	ck_assert(!resumed);
	ck_assert_int_ne(other, job);
	ck_assert_int_eq(start_job(&resumed, "{\"a\":1}"), job);
	ck_assert(resumed);
	ck_assert_double_eq(count_of(job, "waiting"), 3); /* the failed one too */
	ck_assert_int_eq(store_job_end(s, job, "done", NULL, &err), 0);
	ck_assert_int_ne(start_job(&resumed, "{\"a\":1}"), job);
	ck_assert(!resumed);
}
END_TEST

START_TEST(capabilities_are_kept)
{
	arena mem = ARENA_INIT;
	const char *json;
	bool resumed;
	int64_t job = start_job(&resumed, "{}");

	ck_assert_int_eq(store_job_capabilities(&json, s, job, &mem, &err), 0);
	ck_assert_str_eq(json, "{}");
	ck_assert_int_eq(store_job_set_capabilities(s, job, "{\"x\":1}", &err), 0);
	ck_assert_int_eq(store_job_capabilities(&json, s, job, &mem, &err), 0);
	ck_assert_str_eq(json, "{\"x\":1}");
	ck_assert_int_eq(store_job_capabilities(&json, s, 4711, &mem, &err), ERR_NOTFOUND);
	arena_clear(&mem);
}
END_TEST

/* A process takes a task and dies. Its task goes to the next who asks; one held by the living does not. */
START_TEST(task_of_the_dead_is_free_again)
{
	bool resumed;
	store_task mine, t;
	int64_t job = start_job(&resumed, "{}");
	pid_t child;
	int status;

	ck_assert_int_eq(take_one(&mine, s, job), 0);
	child = fork();
	if (child == 0) {
		store *theirs = NULL;

		if (store_open(&theirs, store_path(s), STORE_WRITE, &err) < 0 ||
		    take_one(&t, theirs, job) < 0 || t.feature != 1)
			_exit(1);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert_double_eq(count_of(job, "running"), 2);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 5);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 1);
	ck_assert_uint_eq(t.attempts, 2);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(t.id, 0);
}
END_TEST

static const struct lease {
	const char *sql;
	bool gone;
} leases[] = {
	{ "UPDATE task SET lease = replace(lease, substr(lease, instr(lease, '-') - 8, 36), '0') WHERE state "
	  "= 'running'",
	  true }, /* of another boot */
	{ "UPDATE task SET lease = '999999999 0 x 1' WHERE state = 'running'", true },
	{ "UPDATE task SET lease = 'nonsense' WHERE state = 'running'", true },
	{ "UPDATE task SET lease = NULL WHERE state = 'running'", true },
	{ "UPDATE task SET lease = '1' || substr(lease, instr(lease, ' ')) WHERE state = 'running'",
	  true }, /* process 1 lives, but began at another time */
	{ "SELECT 1", false },
};

START_TEST(lease_names_its_holder_exactly)
{
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{}");

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(store_exec(s, leases[_i].sql, &err), 0);
	ck_assert_int_eq(start_job(&resumed, "{}"), job);
	ck_assert(resumed);
	ck_assert_double_eq(count_of(job, "running"), leases[_i].gone ? 0 : 1);
}
END_TEST

START_TEST(not_before_is_waited_for)
{
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{}");

	ck_assert_int_eq(
	        store_exec(s, "UPDATE task SET not_before = unixepoch() + 1000 WHERE feature < 5", &err), 0);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 5);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(t.id, 0);
}
END_TEST

/* Whatever fails, a task and what it made come together or not at all. */
START_TEST(end_of_a_task_is_whole_or_nothing)
{
	store_explanation e = { .source_id = 1, .feature = 0, .text = "x", .method = "llm", .confidence = 1 };
	store_score sc = { .explanation_id = 1, .scorer = "detection", .judge = "m" };
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{}"), before = 0, after = 0;
	static const char labels[] = "SELECT count(*) FROM explanation";

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(store_int(&before, s, labels, 0, &err), 0);
	for (long n = 0;; n++) {
		fault_arm(FAULT_WRITE, n);
		store_outcome o = { .state = STORE_TASK_DONE,
			            .cost = 0.5,
			            .explanations = &e,
			            .n_explanations = 1,
			            .scores = &sc,
			            .n_scores = 1 };
		int rc = store_task_end(s, &t, &o, &err);

		if (!fault_disarm(FAULT_WRITE)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_IO);
		ck_assert_int_eq(store_int(&after, s, labels, 0, &err), 0);
		ck_assert_int_eq(after, before);
		ck_assert_double_eq(count_of(job, "running"), 1);
	}
	ck_assert_int_eq(store_int(&after, s, labels, 0, &err), 0);
	ck_assert_int_eq(after, before + 1);
}
END_TEST

/* What another has taken since is not ours to end. */
START_TEST(a_task_that_was_lost_is_not_recorded)
{
	store_explanation e = { .source_id = 1, .text = "x", .method = "llm", .confidence = 1 };
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{}"), before, after;

	ck_assert_int_eq(store_int(&before, s, "SELECT count(*) FROM explanation", 0, &err), 0);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(store_exec(s, "UPDATE task SET lease = '1 1 x' WHERE state = 'running'", &err), 0);
	ck_assert_int_eq(end_task(&t, STORE_TASK_DONE, NULL, 0, 0, &e), ERR_BUSY);
	ck_assert_int_eq(store_int(&after, s, "SELECT count(*) FROM explanation", 0, &err), 0);
	ck_assert_int_eq(after, before);
}
END_TEST

START_TEST(several_tasks_are_taken_at_once)
{
	store_task t[4];
	arena mem = ARENA_INIT;
	bool resumed;
	size_t n;
	int64_t job = start_job(&resumed, "{}");

	ck_assert_int_eq(store_task_take(t, &n, 2, s, job, &mem, &err), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(t[1].feature, 1);
	ck_assert_int_eq(store_task_take(t, &n, 4, s, job, &mem, &err), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(t[0].feature, 5);
	arena_clear(&mem);
}
END_TEST

/* What a person does: a cancelled job gives no more tasks and is not found by who starts the same; resume takes it up. */
START_TEST(jobs_are_cancelled_and_resumed)
{
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{}"), other;

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(store_job_cancel(s, job, &err), 0);
	ck_assert_int_eq(end_task(&t, STORE_TASK_DONE, NULL, 1, 1, NULL), 0); /* what is under way is kept */
	ck_assert_int_eq(take_one(&t, s, job), ERR_STOPPED);
	ck_assert_ptr_nonnull(strstr(err.msg, "was cancelled"));
	ck_assert_int_eq(store_job_end(s, job, "stopped", "x", &err), 0);
	other = start_job(&resumed, "{}");
	ck_assert_int_ne(other, job);
	ck_assert_int_eq(store_job_resume(s, job, NULL, &err), 0);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_uint_eq(t.feature, 1);
	ck_assert_int_eq(end_task(&t, STORE_TASK_DONE, NULL, 1, 1, NULL), 0);
	ck_assert_int_eq(store_job_end(s, job, "done", NULL, &err), 0);
	ck_assert_int_eq(store_job_cancel(s, job, &err), ERR_EXISTS);
	ck_assert_int_eq(store_job_cancel(s, 4711, &err), ERR_NOTFOUND);
	ck_assert_int_eq(store_job_resume(s, 4711, NULL, &err), ERR_NOTFOUND);
}
END_TEST

START_TEST(failed_tasks_are_retried_when_asked)
{
	static const store_task_state states[] = { STORE_TASK_FAILED, STORE_TASK_REFUSED,
		                                   STORE_TASK_FILTERED };
	bool resumed;
	store_task t;
	uint64_t n = 0;
	int64_t job = start_job(&resumed, "{}");

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(take_one(&t, s, job), 0);
		ck_assert_int_eq(end_task(&t, states[i], "why", 0, 0, NULL), 0);
	}
	ck_assert_int_eq(store_job_resume(s, job, NULL, &err), 0);
	ck_assert_double_eq(count_of(job, "failed"), 1); /* resume leaves it */
	ck_assert_int_eq(store_job_retry(&n, s, job, STORE_RETRY_FAILED, &err), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_double_eq(count_of(job, "refused"), 1);
	ck_assert_int_eq(store_job_retry(&n, s, job, STORE_RETRY_REFUSED, &err), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_double_eq(count_of(job, "waiting"), 3);
}
END_TEST

/* A process of another machine shows that it lives by its heartbeat alone. */
START_TEST(workers_of_other_machines_live_by_their_heartbeat)
{
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{}");

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(
	        store_exec(s,
	                   "UPDATE task SET lease = '1 1 far' WHERE state = 'running';"
	                   "INSERT INTO worker VALUES ('1 1 far', 'far', 1, unixepoch(), unixepoch() - 20)",
	                   &err),
	        0);
	ck_assert_int_eq(store_job_resume(s, job, NULL, &err), 0);
	ck_assert_double_eq(count_of(job, "running"), 1);
	ck_assert_int_eq(store_exec(s, "UPDATE worker SET heartbeat = heartbeat - 300", &err), 0);
	ck_assert_int_eq(store_job_resume(s, job, NULL, &err), 0);
	ck_assert_double_eq(count_of(job, "running"), 0);
	ck_assert_int_eq(store_worker_beat(s, job, &err), 0); /* which clears out the gone */
	ck_assert_int_eq(store_exec(s, "INSERT INTO worker SELECT 'x', machine, 1, 1, 1 FROM worker", &err),
	                 0);
	ck_assert_int_eq(store_worker_end(s, &err), 0);
}
END_TEST

START_TEST(pages_tell_of_jobs)
{
	const cJSON *jobs, *reason;
	cJSON *page = NULL;
	bool resumed;
	store_task t;
	int64_t job = start_job(&resumed, "{\"a\":1}");

	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_int_eq(end_task(&t, STORE_TASK_FAILED, "no answer", 10, 2, NULL), 0);
	ck_assert_int_eq(store_worker_beat(s, job, &err), 0);
	ck_assert_int_eq(take_one(&t, s, job), 0);
	ck_assert_msg(store_jobs_page(&page, s, &err) == 0, "%s", err.msg);
	jobs = cJSON_GetObjectItem(page, "jobs");
	ck_assert_int_eq(cJSON_GetArraySize(jobs), 1);
	ck_assert_double_eq(json_number(cJSON_GetArrayItem(jobs, 0), "failed"), 1);
	ck_assert_double_eq(json_number(cJSON_GetArrayItem(jobs, 0), "input_tokens"), 10);
	cJSON_Delete(page);
	page = NULL;
	ck_assert_msg(store_job_page(&page, s, job, &err) == 0, "%s", err.msg);
	ck_assert_double_eq(json_number(cJSON_GetObjectItem(page, "settings"), "a"), 1);
	reason = json_item(page, "reasons", 0);
	ck_assert_str_eq(json_string(reason, "error"), "no answer");
	ck_assert_double_eq(json_number(json_item(page, "at_work", 0), "pid"), getpid());
	ck_assert_double_eq(json_number(json_item(page, "at_work", 0), "tasks"), 1);
	cJSON_Delete(page);
	page = NULL;
	ck_assert_int_eq(store_job_page(&page, s, 4711, &err), ERR_NOTFOUND);
	ck_assert_ptr_null(page);
}
END_TEST

START_TEST(templates_are_kept_by_hash)
{
	char hex[SHA256_HEX];
	const char *text_ = NULL;
	arena mem = ARENA_INIT;

	ck_assert_int_eq(sha256_bytes(hex, "abc", 3, &err), 0);
	ck_assert_int_eq(store_prompt_get(&text_, s, hex, &mem, &err), ERR_NOTFOUND);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(store_prompt_add(s, "abc", &err), 0);
	ck_assert_int_eq(store_prompt_get(&text_, s, hex, &mem, &err), 0);
	ck_assert_str_eq(text_, "abc");
	arena_clear(&mem);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("jobs");

	tcase_add_unchecked_fixture(t, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, tasks_are_taken_by_id_and_ended_with_what_they_made);
	tcase_add_test(t, scores_are_kept_with_their_label);
	tcase_add_test(t, labels_that_are_not_there);
	tcase_add_test(t, unfinished_job_is_taken_up_again);
	tcase_add_test(t, capabilities_are_kept);
	tcase_add_test(t, task_of_the_dead_is_free_again);
	tcase_add_loop_test(t, lease_names_its_holder_exactly, 0, ARRAY_LEN(leases));
	tcase_add_test(t, not_before_is_waited_for);
	tcase_add_test(t, end_of_a_task_is_whole_or_nothing);
	tcase_add_test(t, a_task_that_was_lost_is_not_recorded);
	tcase_add_test(t, several_tasks_are_taken_at_once);
	tcase_add_test(t, jobs_are_cancelled_and_resumed);
	tcase_add_test(t, failed_tasks_are_retried_when_asked);
	tcase_add_test(t, workers_of_other_machines_live_by_their_heartbeat);
	tcase_add_test(t, pages_tell_of_jobs);
	tcase_add_test(t, templates_are_kept_by_hash);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("jobs", cases)
