/* Stores of earlier versions, brought up: everything they said is still there. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

extern const char sql_001_schema[];

enum { OLD_CONTEXTS = 4, OLD_WEIGHT = 5 }; /* tests/store_v1.sql */

static char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
static error err;

/* A store of version 1 with the rows of tests/store_v1.sql. */
static void setup(void)
{
	char rows[FILE_PATH_MAX], *sql = NULL;
	size_t n;

	err = (error){ 0 };
	support_mkdir(folder);
	ck_assert_int_eq(file_join(path, folder, "old.db", &err), 0);
	ck_assert_int_eq(file_join(rows, getenv("GLOSS_SOURCE"), "tests/store_v1.sql", &err), 0);
	ck_assert_msg(file_read(&sql, &n, rows, 1 << 20, &err) == 0, "%s", err.msg);
	support_run_sql(path, sql_001_schema);
	support_run_sql(path, sql);
	support_run_sql(path, "PRAGMA application_id = 0x474c5353; PRAGMA user_version = 1");
	free(sql);
}

static void teardown(void)
{
	support_rmdir(folder);
}

static store *open_store(unsigned flags)
{
	store *s = NULL;

	ck_assert_msg(store_open(&s, path, flags, &err) == 0, "%s", err.msg);
	return s;
}

static int64_t number(store *s, const char *sql)
{
	int64_t n;

	ck_assert_msg(store_int(&n, s, sql, -1, &err) == 0, "%s", err.msg);
	return n;
}

START_TEST(readers_refuse_version_1)
{
	store *s = NULL;

	ck_assert_int_eq(store_open(&s, path, STORE_READ, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "has version 1 of 7: open it once with a command that writes"));
	ck_assert_ptr_null(s);
}
END_TEST

/* Every window says what the rule of the store says, to the bit: its values have few digits. */
START_TEST(windows_are_the_same)
{
	store *s = open_store(STORE_WRITE);
	arena mem = ARENA_INIT;
	size_t n = 0, all = 0;

	ck_assert_int_eq(number(s, "PRAGMA user_version"), STORE_VERSION);
	for (uint32_t f = 0; f < SMALL_FEATURES; f++) {
		store_window *w = NULL;

		ck_assert_msg(store_windows_firing(&w, &n, s, 1, f, STORE_ANY, &mem, &err) == 0, "%s",
		              err.msg);
		ck_assert_uint_eq(n, f == SMALL_DEAD ? 0 : OLD_CONTEXTS);
		for (size_t i = 0; i < n; i++) {
			uint32_t tokens[SMALL_TOKENS];

			small_context(tokens, (uint32_t)(w[i].context - small_context_id(0)));
			ck_assert_uint_eq(w[i].first, 0);
			ck_assert_uint_eq(w[i].length, SMALL_TOKENS);
			for (uint32_t t = 0; t < SMALL_TOKENS; t++) {
				ck_assert_uint_eq(w[i].token[t], tokens[t]);
				ck_assert_float_eq(w[i].value[t], small_value(f, tokens, t));
			}
			ck_assert_double_eq(w[i].weight,
			                    f == SMALL_ON_CAT || f == SMALL_AFTER_THE ? 1 : w[i].weight);
		}
		all += n;
	}
	ck_assert_uint_eq(all, OLD_CONTEXTS * (SMALL_FEATURES - 1));
	arena_clear(&mem);
	store_close(s);
}
END_TEST

START_TEST(pages_are_the_same)
{
	static const double edges[] = { 0.5, 1, 2, 4, 8 }, counts[] = { 1, 0, 20, 3 };
	store *s = open_store(STORE_WRITE);
	const cJSON *histogram, *example;
	cJSON *page = NULL;
	int samples = 0;

	ck_assert_msg(store_show(&page, s, NULL, SMALL_ON_CAT, 100, STORE_INTERVALS_STORED, &err) == 0, "%s",
	              err.msg);
	histogram = json_member(page, "histogram");
	ck_assert_int_eq(json_count(histogram, "edges"), ARRAY_LEN(edges));
	ck_assert_int_eq(json_count(histogram, "counts"), ARRAY_LEN(counts));
	for (int i = 0; i < (int)ARRAY_LEN(counts); i++) {
		ck_assert_double_eq(json_item(histogram, "edges", i)->valuedouble, edges[i]);
		ck_assert_double_eq(json_item(histogram, "counts", i)->valuedouble, counts[i]);
	}
	ck_assert_str_eq(json_string(json_member(page, "intervals"), "definition"), "half octaves");
	ck_assert_double_eq(json_number(page, "mean_act"), 2.4833047945205479756);
	ck_assert_str_eq(json_string(page, "label"), "cats");
	ck_assert_double_eq(json_number(page, "score"), 0.9);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM current_label"), 2);
	cJSON_ArrayForEach(example, json_member(page, "examples"))
	{
		bool top = strcmp(json_string(example, "kind"), "top") == 0;

		ck_assert_double_eq(json_number(example, "weight"), top ? 1 : OLD_WEIGHT);
		ck_assert_double_eq(json_number(example, "bin"), top ? -1 : 2);
		samples += !top;
	}
	ck_assert_int_eq(samples, OLD_CONTEXTS);
	ck_assert_int_eq(json_count(page, "examples"), 2 * OLD_CONTEXTS);
	ck_assert_str_eq(json_string(json_item(page, "notes", 0), "text"), "look at this");
	cJSON_Delete(page);
	page = NULL;
	ck_assert_int_eq(store_show(&page, s, NULL, SMALL_ON_CAT, 100, STORE_INTERVALS_EQUAL_COUNT, &err),
	                 ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "drawn by half octaves, in version 1: index it anew"));
	ck_assert_ptr_null(page);
	store_close(s);
}
END_TEST

START_TEST(searches_are_the_same)
{
	store_regex_opts o = { .pattern = "cat", .limit = 3 };
	store *s = open_store(STORE_WRITE);
	cJSON *found = NULL;

	ck_assert_msg(store_find_text(&found, s, NULL, "cat", 10, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(json_count(found, "contexts"), OLD_CONTEXTS);
	cJSON_Delete(found);
	ck_assert_msg(store_find_regex(&found, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_double_eq(json_number(json_item(found, "features", 0), "feature"), SMALL_ON_CAT);
	ck_assert_double_eq(json_number(json_item(found, "features", 0), "f1"), 1);
	cJSON_Delete(found);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM source_context"), OLD_CONTEXTS);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM label"), 2);
	store_close(s);
}
END_TEST

/* Rows that cannot be carried over: one error, and the file stays what it was. */
static const struct {
	const char *sql, *message;
} lies[] = {
	{ "UPDATE example SET codes = x'00' WHERE feature = 1 AND rank = 2 AND kind = 'top'",
	  "codes of an example are corrupt" },
	{ "UPDATE example SET codes = x'0000000080bf'", "codes of an example are corrupt" },
	{ "UPDATE example SET codes = x'05000000803f05000000803f'", "codes of an example are corrupt" },
	{ "UPDATE feature_detail SET histogram = '{' WHERE feature = 3",
	  "histogram of a feature is corrupt" },
	{ "UPDATE feature_detail SET histogram = '{\"edges\":[1,2,5],\"counts\":[1,1]}'",
	  "histogram of a feature is corrupt" },
	{ "UPDATE feature_detail SET histogram = '{\"edges\":[1,2],\"counts\":[1,1]}'",
	  "histogram of a feature is corrupt" },
	{ "UPDATE feature_detail SET histogram = '{\"edges\":[1,1.1],\"counts\":[1]}'",
	  "histogram of a feature is corrupt" },
};

START_TEST(corrupt_rows_are_errors)
{
	store *s = NULL;

	support_run_sql(path, lies[_i].sql);
	ck_assert_int_lt(store_open(&s, path, STORE_WRITE, &err), 0);
	ck_assert_ptr_null(s);
	ck_assert_msg(strstr(err.msg, lies[_i].message) && strstr(err.msg, path), "%s", err.msg);
	support_run_sql(path, "SELECT kind, first, length, weight FROM example");
	ck_assert_int_lt(store_open(&s, path, STORE_READ, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "version 1"));
}
END_TEST

START_TEST(failing_allocations_leave_version_1)
{
	store *s = NULL;

	for (long n = 0;; n += 1 + n / 20) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = store_open(&s, path, STORE_WRITE, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		if (rc == 0) { /* SQLite does without some of its caches */
			store_close(s);
			s = NULL;
			teardown();
			setup();
			continue;
		}
		ck_assert_msg(rc == ERR_NOMEM, "%ld: %d %s", n, rc, err.msg);
		ck_assert_ptr_null(s);
	}
	ck_assert_int_eq(number(s, "SELECT count(*) FROM example"), 8 * (SMALL_FEATURES - 1));
	store_close(s);
}
END_TEST

/* Trigrams of the texts that have unspaced script, in a store of version 1 and in one of version 3. */
START_TEST(texts_get_trigrams)
{
	const char *counts[] = { "SELECT count(*) FROM context_trigram_docsize",
		                 "SELECT count(*) FROM context WHERE text LIKE '%\xe6\x97\xa5\xe6\x9c\xac%'"
		                 " OR text LIKE '%\xe7\x8c\xab%'" };
	store *s = open_store(STORE_WRITE);
	int64_t n = number(s, counts[0]);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(n, number(s, counts[1]));
	store_close(s);
	support_run_sql(
	        path,
	        "DROP TABLE context_trigram; DROP TABLE explanation_trigram; DROP TRIGGER "
	        "context_trigram_insert;"
	        " DROP TRIGGER context_trigram_delete; DROP TRIGGER explanation_trigram_insert;"
	        " DROP TRIGGER explanation_trigram_delete; DROP VIEW unspaced;"
	        " DROP INDEX explanation_by_task; DROP INDEX score_by_task; DROP TABLE worker; DROP TABLE "
	        "prompt; ALTER TABLE explanation DROP COLUMN schema_sha256;"
	        " ALTER TABLE explanation DROP COLUMN same_as; ALTER TABLE score DROP COLUMN schema_sha256;"
	        " DROP TABLE golden; PRAGMA user_version = 3");
	s = open_store(STORE_WRITE);
	ck_assert_int_eq(number(s, counts[0]), n);
	store_close(s);
}
END_TEST

/* Version 6 took what a label was chosen by for its score. */
START_TEST(the_choice_is_no_score_any_more)
{
	store *s = open_store(STORE_WRITE);

	ck_assert_int_gt(number(s, "SELECT count(*) FROM current_label"), 0);
	store_close(s);
	support_run_sql(
	        path,
	        "INSERT INTO score(explanation_id, scorer, judge, value, n_positive, n_negative, n_failed, "
	        "details, created) SELECT min(explanation_id), 'select', 'j', 0.75, 1, 1, 0, '{}', '' FROM "
	        "current_label; UPDATE current_label SET score_id = (SELECT max(id) FROM score), score = "
	        "0.75 WHERE explanation_id = (SELECT explanation_id FROM score WHERE scorer = 'select'); "
	        "PRAGMA user_version = 6");
	s = open_store(STORE_WRITE);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM score WHERE scorer = 'select'"), 1);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM current_label WHERE score = 0.75"), 0);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM (SELECT * FROM current_label EXCEPT SELECT * FROM "
	                           "newest_label)"),
	                 0);
	store_close(s);
}
END_TEST

/* Jobs of version 4 with all that refers to them; a job that "failed" there has stopped. */
START_TEST(jobs_are_carried_over)
{
	store *s;

	support_run_sql(
	        path,
	        "INSERT INTO job VALUES (3, 'explain', 1, '{}', 'http://x', 'm', '{}', 'failed', 'why', "
	        "'then', NULL);"
	        "INSERT INTO task VALUES (7, 3, 0, NULL, 'done', 2, NULL, NULL, NULL, 10, 3, 'then'),"
	        " (8, 3, 1, NULL, 'waiting', 1, NULL, 5, 'slow', 0, 0, 'then');"
	        "INSERT INTO request VALUES (7, 0, 'key', '[]');"
	        "UPDATE explanation SET task_id = 7 WHERE id = 1; UPDATE score SET task_id = 7");
	s = open_store(STORE_WRITE);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	ck_assert_int_eq(
	        number(s, "SELECT id FROM job WHERE state = 'stopped' AND error = 'why' AND options = '{}'"
	                  " AND uid != ''"),
	        3);
	ck_assert_int_eq(
	        number(s,
	               "SELECT count(*) FROM task WHERE (id = 7 AND attempts = 2 AND input_tokens = 10 AND "
	               "cost IS NULL) OR (id = 8 AND not_before = 5 AND error = 'slow')"),
	        2);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM request JOIN task ON task.id = task_id"), 1);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation JOIN task ON task.id = task_id"), 1);
	ck_assert_int_eq(number(s, "PRAGMA foreign_keys"), 1);
	store_close(s);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("migrate");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_choice_is_no_score_any_more);
	tcase_add_test(tc, readers_refuse_version_1);
	tcase_add_test(tc, windows_are_the_same);
	tcase_add_test(tc, pages_are_the_same);
	tcase_add_test(tc, searches_are_the_same);
	tcase_add_test(tc, texts_get_trigrams);
	tcase_add_test(tc, jobs_are_carried_over);
	tcase_add_loop_test(tc, corrupt_rows_are_errors, 0, ARRAY_LEN(lies));
	tcase_add_test(tc, failing_allocations_leave_version_1);
	suite_add_tcase(suite, tc);
}
SUPPORT_MAIN("migrate", cases)
