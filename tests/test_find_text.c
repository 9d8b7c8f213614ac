/* store/text_query.c, text_scan.c and what find_text.c does with scripts that have no spaces between words. */
#include "store/text_query.h"
#include "store/text_scan.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

static store *s;
static error err;

static void setup(void)
{
	s = small_store_open(STORE_WRITE);
	err = (error){ 0 };
}

static void teardown(void)
{
	store_close(s);
}

/* ---- The syntax ------------------------------------------------------------------------------------------------------------ */

/* Whether FTS5 takes the query. */
static bool fts5_takes(sqlite3_stmt *st, const char *words)
{
	bool takes;

	ck_assert_int_eq(sqlite3_bind_text(st, 1, words, -1, SQLITE_STATIC), SQLITE_OK);
	takes = sqlite3_step(st) != SQLITE_ERROR;
	sqlite3_reset(st);
	return takes;
}

/* Ours takes what FTS5 takes, and nothing else. */
START_TEST(queries_are_those_of_fts5)
{
	static const char *const pieces[] = { "cat", "dog",     " ",    " ",     "(",
		                              ")",   " AND ",   " OR ", " NOT ", "*",
		                              "+",   "\"a b\"", "NEAR", "^",     ",",
		                              "3",   "text:",   "-",    "\"\"",  "\xe7\x8c\xab",
		                              ":",   "{text}",  "\"",   "'" };
	sqlite3_stmt *st = NULL;
	int taken = 0, n = 40000;

	ck_assert_int_eq(store_prepare(&st, s, "SELECT 1 FROM context_fts WHERE context_fts MATCH ?1", &err),
	                 0);
	for (int i = 0; i < n; i++) {
		char words[128] = "x";
		text_query q;
		int rc, length = 1 + (int)(hash64_mix(1, (uint64_t)i) % 7);

		for (int k = 0; k < length; k++)
			strncat(words,
			        pieces[hash64_below(hash64_mix((uint64_t)i, (uint64_t)k), ARRAY_LEN(pieces))],
			        20);
		rc = text_query_parse(&q, words + (i % 2), &err);
		ck_assert_msg((rc == 0) == fts5_takes(st, words + (i % 2)), "'%s': %s", words + (i % 2),
		              rc ? err.msg : "taken");
		text_query_clear(&q);
		taken += rc == 0;
	}
	sqlite3_finalize(st);
	ck_assert_int_gt(taken, n / 10);
}
END_TEST

START_TEST(deep_queries_are_refused)
{
	char words[4100];
	text_query q;

	memset(words, '(', sizeof(words));
	words[100] = '\0';
	ck_assert_int_eq(text_query_parse(&q, words, &err), ERR_LIMIT);
	text_query_clear(&q);
	memset(words, 'a', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	ck_assert_int_eq(text_query_parse(&q, words, &err), ERR_LIMIT);
	text_query_clear(&q);
	for (size_t i = 1; i < 4000; i += 2)
		words[i] = ' ';
	words[4000] = '\0';
	ck_assert_int_eq(text_query_parse(&q, words, &err), ERR_LIMIT);
	text_query_clear(&q);
}
END_TEST

/* ---- Scripts without spaces ----------------------------------------------------------------------------------------------- */

static const char *const texts[] = {
	"\xe6\xb0\x97\xe5\x80\x99\xe5\xa4\x89\xe5\x8b\x95\xe3\x81\xae\xe8\xa9\xb1 and "
	"Climate",                                          /* 気候変動の話 */
	"\xe6\xb0\x97\xe5\x80\x99\xe3\x81\xae\xe8\xa9\xb1", /* 気候の話 */
	"\xe0\xb8\xa0\xe0\xb8\xb2\xe0\xb8\xa9\xe0\xb8\xb2\xe0\xb9\x84\xe0\xb8\x97\xe0\xb8"
	"\xa2", /* ภาษาไทย */
	"climate is not weather",
	"\xea\xb8\xb0\xed\x9b\x84 \xeb\xb3\x80\xed\x99\x94", /* Hangul, which has spaces */
};

/* Labels of features 0 to 4, and the contexts of the same numbers. */
static void put_texts(void)
{
	char sql[512];

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		snprintf(sql, sizeof(sql),
		         "INSERT INTO explanation (source_id, feature, text, method, created) VALUES (1, "
		         "%zu, '%s', 'llm', "
		         "'2026')",
		         i, texts[i]);
		ck_assert_msg(store_exec(s, sql, &err) == 0, "%s", err.msg);
	}
}

static const struct {
	const char *words, *by, *found; /* found: features, in order */
} searches[] = {
	{ "climate", NULL, "03" },
	{ "\xe6\xb0\x97\xe5\x80\x99\xe5\xa4\x89", "trigrams", "0" }, /* 気候変 */
	{ "\xe6\xb0\x97\xe5\x80\x99", "reading", "01" },             /* 気候 */
	{ "\xe6\xb0\x97", "reading", "01" },                         /* 気 */
	{ "\xe6\xb0\x97* climate", "reading", "0" },
	{ "\xe6\xb0\x97\xe5\x80\x99 NOT \xe5\x8b\x95", "reading", "1" }, /* 気候 NOT 動 */
	{ "\xe6\xb0\x97 OR weather", "reading", "013" },
	{ "\xe6\xb0\x97\xe5\x80\x99\xe5\xa4\x89 OR weather", "trigrams", "03" },
	{ "weather NOT \xe6\xb0\x97\xe5\x80\x99\xe5\xa4\x89", "trigrams", "3" },
	{ "CLIMATE AND (\xe6\xb0\x97 OR \xe5\x80\x99)", "reading", "0" },
	{ "\xe0\xb9\x84\xe0\xb8\x97\xe0\xb8\xa2", "trigrams", "2" }, /* ไทย */
	{ "\xe0\xb9\x84\xe0\xb8\x97", "reading", "2" },
	{ "\xea\xb8\xb0\xed\x9b\x84", NULL, "4" },
	{ "\"\xe6\xb0\x97\"\"\"", "reading", "" },
	{ "\"\" OR \xe6\xb0\x97", "reading", "01" },
};

START_TEST(unspaced_scripts_are_found)
{
	cJSON *page = NULL;
	const cJSON *it;
	char found[16] = "";

	put_texts();
	ck_assert_msg(store_find_text(&page, s, NULL, searches[_i].words, 10, &err) == 0, "%s", err.msg);
	cJSON_ArrayForEach(it, json_member(page, "labels"))
	{
		size_t n = strlen(found);
		bool match = false;
		const cJSON *piece;

		snprintf(found + n, sizeof(found) - n, "%.0f", json_number(it, "feature"));
		cJSON_ArrayForEach(piece, json_member(it, "snippet")) match |=
		        cJSON_HasObjectItem(piece, "match");
		ck_assert(match);
	}
	ck_assert_str_eq(found, searches[_i].found);
	if (searches[_i].by)
		ck_assert_str_eq(json_string(page, "unspaced_by"), searches[_i].by);
	else
		ck_assert(cJSON_IsNull(json_member(page, "unspaced_by")));
	ck_assert(cJSON_IsTrue(json_member(page, "complete")));
	cJSON_Delete(page);
}
END_TEST

/* Contexts, with the features strongest on the characters found: one that two tokens make up is with the first. */
START_TEST(unspaced_contexts_are_found)
{
	cJSON *page = NULL;
	const cJSON *it;
	uint32_t tokens[SMALL_TOKENS];
	int with = 0;
	double last = 1000;

	for (uint32_t c = 0; c < SMALL_CONTEXTS; c++) {
		bool holds = false;

		small_context(tokens, c);
		for (uint32_t i = 0; i < SMALL_TOKENS; i++)
			holds |= tokens[i] == SMALL_CHAR_HEAD;
		with += holds;
	}
	ck_assert_int_eq(store_find_text(&page, s, NULL, "\xe7\x8c\xab", 100, &err), 0);
	ck_assert_int_eq(json_count(page, "contexts"), with);
	cJSON_ArrayForEach(it, json_member(page, "contexts"))
	{
		ck_assert_double_le(-json_number(it, "rank"), last);
		last = -json_number(it, "rank");
		ck_assert_str_eq(json_string(it, "features_of"), "words");
		ck_assert_int_gt(json_count(it, "features"), 0);
	}
	cJSON_Delete(page);
}
END_TEST

/* A label withdrawn, a context gone: the trigrams go too. */
START_TEST(trigrams_follow_deletions)
{
	int64_t n;

	put_texts();
	ck_assert_int_eq(store_int(&n, s, "SELECT count(*) FROM explanation_trigram_docsize", 0, &err), 0);
	ck_assert_int_eq(n, 3);
	ck_assert_int_eq(store_exec(s, "DELETE FROM explanation WHERE feature = 2", &err), 0);
	ck_assert_int_eq(store_int(&n, s, "SELECT count(*) FROM explanation_trigram_docsize", 0, &err), 0);
	ck_assert_int_eq(n, 2);
	ck_assert_int_eq(
	        store_exec(s,
	                   "INSERT INTO explanation_trigram(explanation_trigram) VALUES ('integrity-check')",
	                   &err),
	        0);
}
END_TEST

/* ---- Snippets -------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *marked, *snippet;
	size_t most;
} snippets[] = {
	{ "a <b> c", "a <b> c", 20 },
	{ "0123456789<ab>0123456789",
	  "\xe2\x80\xa6"
	  "789<ab>01\xe2\x80\xa6",
	  9 },
	{ "\xe7\x8c\xab\xe7\x8c\xab<\xe7\x8c\xab\xe7\x8c\xab\xe7\x8c\xab>xy",
	  "\xe2\x80\xa6\xe7\x8c\xab<\xe7\x8c\xab\xe7\x8c\xab\xe7\x8c\xab>\xe2\x80\xa6", 3 },
	{ "nothing marked",
	  "\xe2\x80\xa6"
	  "ked",
	  9 },
};

START_TEST(snippets_are_around_the_first_mark)
{
	text out;

	text_init(&out, 1000);
	ck_assert_int_eq(text_scan_snippet(&out, snippets[_i].marked, '<', '>', snippets[_i].most, &err), 0);
	ck_assert_str_eq(out.data, snippets[_i].snippet);
	text_free(&out);
}
END_TEST

/* Each allocation fails in turn: the query says so or does without, and nothing leaks. */
START_TEST(reading_survives_failing_allocations)
{
	put_texts();
	for (long nth = 0;; nth++) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = store_find_text(&page, s, NULL, "\xe6\xb0\x97 OR (weather NOT \xe5\x8b\x95)", 2, &err);
		cJSON_Delete(page);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		if (rc != 0)
			ck_assert_msg(rc == ERR_NOMEM, "allocation %ld: %d %s", nth, rc, err.msg);
	}
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test(tc, test, 0, ARRAY_LEN(table))

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("find_text");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, queries_are_those_of_fts5);
	tcase_add_test(tc, deep_queries_are_refused);
	LOOP(tc, unspaced_scripts_are_found, searches);
	tcase_add_test(tc, unspaced_contexts_are_found);
	tcase_add_test(tc, trigrams_follow_deletions);
	LOOP(tc, snippets_are_around_the_first_mark, snippets);
	tcase_add_test(tc, reading_survives_failing_allocations);
	suite_add_tcase(suite, tc);
}

SUPPORT_MAIN("find_text", cases)
