/* The request log: claims of several processes, budgets that nothing passes, what the dead leave, what is dropped. */
#include "store/log_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

extern const char sql_log_001_requests[];

static error err;
static store *s;
static store_log *l;

static void setup(void)
{
	s = small_store_open(STORE_WRITE);
	ck_assert_msg(store_log_open(&l, store_path(s), &err) == 0, "%s", err.msg);
}

static void teardown(void)
{
	char path[FILE_PATH_MAX + 16];

	store_log_close(l);
	snprintf(path, sizeof(path), "%s.requests", store_path(s));
	unlink(path);
	store_close(s);
}

static store_claim claim(const char *key, const store_budget *b, double cost)
{
	store_reserve r = {
		.job = "j", .stage = "explain", .tokens = 100, .cost = cost, .seconds = 10, .budget = b
	};
	store_claim state;

	ck_assert_msg(store_log_claim(&state, l, key, &r, &err) == 0, "%s", err.msg);
	return state;
}

static void put(const char *key, uint64_t input, double cost)
{
	store_reply r = {
		.endpoint = "http://x",
		.model = "m",
		.body = "{}",
		.reply = "{}",
		.status = 200,
		.job = "j",
		.stage = "explain",
		.usage = { .input_tokens = input, .cached_tokens = 2, .output_tokens = 3, .cost = cost }
	};

	ck_assert_msg(store_log_put(l, key, &r, &err) == 0, "%s", err.msg);
}

/* A number of the only stage that the job has. */
static double spent(const char *name)
{
	cJSON *page = NULL;
	double n;

	ck_assert_msg(store_log_cost(&page, l, "j", &err) == 0, "%s", err.msg);
	ck_assert_int_eq(json_count(page, "stages"), 1);
	n = json_number(json_item(page, "stages", 0), name);
	cJSON_Delete(page);
	return n;
}

START_TEST(one_asks_and_the_others_wait)
{
	ck_assert_int_eq(claim("a", NULL, 1), STORE_CLAIMED);
	ck_assert_int_eq(claim("a", NULL, 1), STORE_CLAIM_HELD);
	ck_assert_int_eq(claim("b", NULL, 1), STORE_CLAIMED);
	put("a", 10, 0.25);
	ck_assert_int_eq(claim("a", NULL, 1), STORE_CLAIM_ANSWERED);
	ck_assert_double_eq(spent("replies"), 1);
	ck_assert_double_eq(spent("input_tokens"), 10);
	ck_assert_double_eq(spent("cached_tokens"), 2);
	ck_assert_double_eq(spent("cost"), 0.25);
	ck_assert_double_eq(spent("in_flight"), 1);
	ck_assert_double_eq(spent("reserved_cost"), 1);
	ck_assert_int_eq(store_log_release(l, "b", STORE_SENT_LIMITED, &err), 0); /* costs nothing */
	ck_assert_int_eq(claim("b", NULL, 1), STORE_CLAIMED);
	ck_assert_int_eq(store_log_release(l, "b", STORE_SENT_LOST, &err), 0); /* may */
	ck_assert_double_eq(spent("requests"), 3);
	ck_assert_double_eq(spent("lost_requests"), 1);
	ck_assert_double_eq(spent("lost_cost"), 1);
	ck_assert_double_eq(spent("in_flight"), 0);
}
END_TEST

/* What is under way may come back cheaper, so others wait; what is left at the end is not enough. */
START_TEST(a_budget_counts_what_is_under_way)
{
	static const store_budget b = { .max_cost = 2.5 };

	ck_assert_int_eq(claim("a", &b, 1), STORE_CLAIMED);
	ck_assert_int_eq(claim("b", &b, 1), STORE_CLAIMED);
	ck_assert_int_eq(claim("c", &b, 1), STORE_CLAIM_HELD);
	put("a", 10, 0.25);
	ck_assert_int_eq(claim("c", &b, 1), STORE_CLAIMED);
	put("b", 10, 1);
	put("c", 10, 1);
	ck_assert_int_eq(claim("d", &b, 1), STORE_CLAIM_OVER);
	ck_assert_ptr_nonnull(strstr(err.msg, "--max-cost 2.5 is reached: 2.25 is spent"));
	ck_assert_int_eq(claim("d", &b, 0.125), STORE_CLAIMED);
}
END_TEST

static const struct {
	store_budget b;
	const char *says;
} limits[] = { { { .max_requests = 2 }, "--max-requests 2" }, { { .max_tokens = 250 }, "--max-tokens 250" } };

START_TEST(requests_and_tokens_have_limits_too)
{
	ck_assert_int_eq(claim("a", &limits[_i].b, 0), STORE_CLAIMED);
	ck_assert_int_eq(claim("b", &limits[_i].b, 0), STORE_CLAIMED);
	ck_assert_int_eq(claim("c", &limits[_i].b, 0), STORE_CLAIM_HELD);
	put("a", 100, (double)NAN);
	put("b", 100, (double)NAN);
	ck_assert_int_eq(claim("c", &limits[_i].b, 0), STORE_CLAIM_OVER);
	ck_assert_ptr_nonnull(strstr(err.msg, limits[_i].says));
	ck_assert_int_eq(err.code, ERR_STOPPED);
}
END_TEST

/* Whoever dies over a request has perhaps paid for it: it counts, and another may ask again. */
START_TEST(claims_of_the_dead_are_lost_money)
{
	static const store_budget b = { .max_cost = 2.5 };
	pid_t child = fork();
	int status;

	if (child == 0) {
		store_log *theirs = NULL;
		store_reserve r = { .job = "j", .stage = "explain", .tokens = 100, .cost = 1, .seconds = 10 };
		store_claim state;

		if (store_log_open(&theirs, store_path(s), &err) < 0 ||
		    store_log_claim(&state, theirs, "a", &r, &err) < 0 || state != STORE_CLAIMED)
			_exit(1);
		raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(claim("b", &b, 2), STORE_CLAIM_OVER);
	ck_assert_int_eq(claim("a", &b, 1), STORE_CLAIMED);
	ck_assert_double_eq(spent("lost_cost"), 1);
	ck_assert_double_eq(spent("lost_requests"), 1);
}
END_TEST

START_TEST(claims_of_other_machines_end_with_their_time)
{
	sqlite3_exec(
	        l->db,
	        "INSERT INTO claim VALUES ('a', '1 1 far', 'far', unixepoch() + 50, 'k', 'explain', 1, 1),"
	        " ('b', '1 1 far', 'far', unixepoch() - 50, 'k', 'explain', 1, 1)",
	        NULL, NULL, NULL);
	ck_assert_int_eq(claim("a", NULL, 1), STORE_CLAIM_HELD);
	ck_assert_int_eq(claim("b", NULL, 1), STORE_CLAIMED);
}
END_TEST

START_TEST(what_no_task_names_is_dropped)
{
	store_gc gc;
	char *reply = NULL;

	put("needed", 1, 0);
	put("not", 1, 0);
	ck_assert_int_eq(
	        store_exec(
	                s,
	                "INSERT INTO job(id, uid, kind, source_id, settings, options, state, created) VALUES "
	                "(9, 'j', 'explain', 1, '{}', '{}', 'done', 'then');"
	                "INSERT INTO task(id, job_id, feature, state, updated) VALUES (9, 9, 0, 'done', 'x');"
	                "INSERT INTO request VALUES (9, 0, 'needed', '[]')",
	                &err),
	        0);
	ck_assert_msg(store_log_gc(&gc, l, s, 86400, false, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(gc.dropped, 0); /* too new */
	ck_assert_msg(store_log_gc(&gc, l, s, -10, true, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(gc.dropped, 1);
	ck_assert_uint_eq(gc.kept, 1);
	ck_assert_int_eq(store_log_get(l, "not", &reply, &err), 0);
	ck_assert_ptr_nonnull(reply);
	free(reply);
	ck_assert_msg(store_log_gc(&gc, l, s, -10, false, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_log_get(l, "not", &reply, &err), 0);
	ck_assert_ptr_null(reply);
	ck_assert_int_eq(store_log_get(l, "needed", &reply, &err), 0);
	ck_assert_ptr_nonnull(reply);
	free(reply);
}
END_TEST

/* A log of version 1 keeps its replies. */
START_TEST(an_old_log_is_brought_up)
{
	char path[FILE_PATH_MAX], file[FILE_PATH_MAX + 16], folder[FILE_PATH_MAX];
	store_log *old = NULL;
	sqlite3 *db = NULL;
	char *reply = NULL;

	support_mkdir(folder);
	ck_assert_int_eq(file_join(path, folder, "old.db", &err), 0);
	snprintf(file, sizeof(file), "%s.requests", path);
	ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql_log_001_requests, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
	                              "INSERT INTO reply VALUES ('k', 'e', 'm', 'b', 200, 'r', 1, 'then');"
	                              "PRAGMA application_id = 0x476c5271; PRAGMA user_version = 1",
	                              NULL, NULL, NULL),
	                 SQLITE_OK);
	sqlite3_close(db);
	ck_assert_msg(store_log_open(&old, path, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_log_get(old, "k", &reply, &err), 0);
	ck_assert_str_eq(reply, "r");
	free(reply);
	store_log_close(old);
	support_rmdir(folder);
}
END_TEST

/* Whatever write fails, reply and payment come together or not at all. */
START_TEST(a_reply_is_kept_and_paid_or_neither)
{
	store_reply r = { .endpoint = "e",
		          .model = "m",
		          .body = "b",
		          .reply = "r",
		          .status = 200,
		          .usage = { .cost = 1 } };
	char *reply = NULL;

	ck_assert_int_eq(claim("a", NULL, 1), STORE_CLAIMED);
	fault_arm(FAULT_WRITE, 0);
	ck_assert_int_eq(store_log_put(l, "a", &r, &err), ERR_IO);
	ck_assert(fault_disarm(FAULT_WRITE));
	ck_assert_int_eq(store_log_get(l, "a", &reply, &err), 0);
	ck_assert_ptr_null(reply);
	ck_assert_int_eq(claim("a", NULL, 1), STORE_CLAIM_HELD);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("request log");

	tcase_add_unchecked_fixture(t, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, one_asks_and_the_others_wait);
	tcase_add_test(t, a_budget_counts_what_is_under_way);
	tcase_add_loop_test(t, requests_and_tokens_have_limits_too, 0, ARRAY_LEN(limits));
	tcase_add_test(t, claims_of_the_dead_are_lost_money);
	tcase_add_test(t, claims_of_other_machines_end_with_their_time);
	tcase_add_test(t, what_no_task_names_is_dropped);
	tcase_add_test(t, an_old_log_is_brought_up);
	tcase_add_test(t, a_reply_is_kept_and_paid_or_neither);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("request log", cases)
