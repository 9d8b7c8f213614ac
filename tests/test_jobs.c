/* Jobs, tasks, leases, labels and scores in the store: what is recorded, and what a process that died leaves behind. */
#include "store/store_internal.h"
#include "tests/support.h"
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

	ck_assert_msg(store_job_start(&job, resumed, s, "explain", 1, settings, "http://x/v1", "m", tasks, 3,
	                              &err) == 0,
	              "%s", err.msg);
	return job;
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
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_uint_eq(t.feature, 0);
	ck_assert_uint_eq(t.attempts, 1);
	ck_assert_int_eq(store_task_request(s, t.id, 0, "key", "[[1,2,3]]", &err), 0);
	ck_assert_int_eq(store_task_end(s, &t, STORE_TASK_DONE, NULL, 100, 20, &e, NULL, 0, &err), 0);
	ck_assert_int_ne(e.id, 0);
	ck_assert_int_eq(e.task_id, t.id);
	ck_assert_int_eq(store_explanation_latest(&back, s, 1, 0, &mem, &err), 0);
	ck_assert_int_eq(back.id, e.id);
	ck_assert_str_eq(back.text, "cats");
	ck_assert_str_eq(back.short_text, "cat");
	ck_assert_ptr_null(back.rule);
	ck_assert_double_eq(back.confidence, 0.5);
	ck_assert_int_eq(back.task_id, t.id);

	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_uint_eq(t.feature, 1);
	ck_assert_int_eq(store_task_end(s, &t, STORE_TASK_SKIPPED, "too rare", 0, 0, NULL, NULL, 0, &err), 0);
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_uint_eq(t.feature, 5);
	ck_assert_int_eq(store_task_end(s, &t, STORE_TASK_FAILED, "no answer", 1, 2, NULL, NULL, 0, &err), 0);
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
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

	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_int_eq(store_task_end(s, &t, STORE_TASK_FAILED, "500", 0, 0, NULL, NULL, 0, &err), 0);
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

	ck_assert_int_eq(store_task_take(&mine, s, job, &err), 0);
	child = fork();
	if (child == 0) {
		store *theirs = NULL;

		if (store_open(&theirs, store_path(s), STORE_WRITE, &err) < 0 ||
		    store_task_take(&t, theirs, job, &err) < 0 || t.feature != 1)
			_exit(1);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert_double_eq(count_of(job, "running"), 2);
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_uint_eq(t.feature, 5);
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_uint_eq(t.feature, 1);
	ck_assert_uint_eq(t.attempts, 2);
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
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

	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
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
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_uint_eq(t.feature, 5);
	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
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

	ck_assert_int_eq(store_task_take(&t, s, job, &err), 0);
	ck_assert_int_eq(store_int(&before, s, labels, 0, &err), 0);
	for (long n = 0;; n++) {
		fault_arm(FAULT_WRITE, n);
		int rc = store_task_end(s, &t, STORE_TASK_DONE, NULL, 1, 1, &e, &sc, 1, &err);

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
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("jobs", cases)
