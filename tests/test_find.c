/* store/find_regex.c, find_text.c on the hand-made store: the definition worked out again, and bad input. */
#include <float.h>
#include <math.h>

#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

static store *s;
static error err;

static void setup(void)
{
	s = small_store_open(STORE_READ);
	err = (error){ 0 };
}

static void teardown(void)
{
	store_close(s);
}

/* ---- find --regex ---------------------------------------------------------------------------------------------------- */

static cJSON *find_regex(const char *pattern, double min_precision, double min_recall)
{
	store_regex_opts o = {
		.pattern = pattern, .limit = 100, .min_precision = min_precision, .min_recall = min_recall
	};
	cJSON *page = NULL;

	ck_assert_msg(store_find_regex(&page, s, &o, &err) == 0, "%s", err.msg);
	return page;
}

static const cJSON *found_feature(const cJSON *page, int feature)
{
	const cJSON *it;

	cJSON_ArrayForEach(it, json_member(page, "features")) if (json_number(it, "feature") ==
	                                                          feature) return it;
	return NULL;
}

static bool on_cat(const uint32_t *tokens, uint32_t i)
{
	return tokens[i] == SMALL_CAT;
}

static bool on_after_the(const uint32_t *tokens, uint32_t i)
{
	return tokens[i - 1] == SMALL_THE && (tokens[i] == SMALL_CAT || tokens[i] == SMALL_DOG);
}

static bool on_character(const uint32_t *tokens, uint32_t i)
{
	return tokens[i] == SMALL_CHAR_HEAD;
}

static bool on_paren(const uint32_t *tokens, uint32_t i)
{
	return tokens[i] == SMALL_PAREN;
}

static bool on_japan(const uint32_t *tokens, uint32_t i)
{
	return tokens[i] == SMALL_JAPAN;
}

static bool on_escape(const uint32_t *tokens, uint32_t i)
{
	return tokens[i] == SMALL_ESCAPE;
}

static bool on_everything(const uint32_t *tokens, uint32_t i)
{
	return i > 0 && tokens[i] != SMALL_CHAR_TAIL; /* which is no text of its own */
}

/* Patterns, and the tokens that hold the first character of group 1. */
static const struct {
	const char *pattern;
	bool (*on)(const uint32_t *tokens, uint32_t i);
} patterns[] = {
	{ "cat", on_cat },
	{ " (c)at", on_cat }, /* the group, not the match */
	{ " the( cat| dog)", on_after_the },
	{ "(?: the)( cat| dog)", on_after_the },
	{ " the\\K (?:cat|dog)", on_after_the },
	{ "\xe7\x8c\xab", on_character }, /* a character over two tokens is where it begins */
	{ "\\(", on_paren },              /* a bracket is no group */
	{ "[(]", on_paren },
	{ "(\\()", on_paren },
	{ "\xe6\x9c\xac", on_japan }, /* not the first character of its token */
	{ "(?i)RED", on_escape },
	{ "x1b|\\x{1b}", on_escape },
	{ "()|(cat)", NULL }, /* group 1 is always empty */
	{ "x*", NULL },
	{ "", NULL },
	{ "nowhere", NULL },
	{ "(?s)(.)", on_everything },
	{ "(?:^|(?<=\\n))(?:)|(cat)", on_cat },
	{ "(?s)(?|\\A(?=.*( cat))|( cat))", on_cat }, /* the last one first */
};

START_TEST(regex_matches_the_definition)
{
	bool (*on)(const uint32_t *tokens, uint32_t i) = patterns[_i].on;
	cJSON *page = find_regex(patterns[_i].pattern, 0, 0);
	double matches = on ? small_tally(SMALL_FEATURES, on) : 0;

	ck_assert_double_eq(json_number(page, "contexts"), SMALL_CONTEXTS);
	ck_assert_double_eq(json_number(page, "tokens"), SMALL_CONTEXTS * (SMALL_TOKENS - 1));
	ck_assert_double_eq(json_number(page, "matches"), matches);
	for (int f = 0; f < SMALL_FEATURES; f++) {
		const cJSON *it = found_feature(page, f);
		double hits = on ? small_tally((uint32_t)f, on) : 0, fires = small_tally((uint32_t)f, NULL);

		ck_assert_int_eq(it != NULL, hits > 0);
		if (!it)
			continue;
		ck_assert_double_eq(json_number(it, "hits"), hits);
		ck_assert_double_eq(json_number(it, "fires"), fires);
		ck_assert_double_eq_tol(json_number(it, "precision"), hits / fires, DBL_EPSILON);
		ck_assert_double_eq_tol(json_number(it, "recall"), hits / matches, DBL_EPSILON);
		ck_assert_double_eq_tol(json_number(it, "f1"), 2 * hits / (fires + matches), DBL_EPSILON);
	}
	cJSON_Delete(page);
}
END_TEST

START_TEST(regex_sorts_and_filters)
{
	cJSON *page = find_regex("cat", 0, 0);

	ck_assert_double_eq(json_number(json_item(page, "features", 0), "feature"), SMALL_ON_CAT);
	ck_assert_double_eq(json_number(json_item(page, "features", 0), "f1"), 1);
	ck_assert_str_eq(json_string(json_item(page, "features", 0), "label"), "cats");
	ck_assert_double_eq(json_number(json_item(page, "features", 1), "feature"), SMALL_ON_ANIMAL);
	ck_assert(found_feature(page, SMALL_DENSE) != NULL);
	cJSON_Delete(page);
	page = find_regex("cat", 0.3, 0.99);
	ck_assert_int_eq(json_count(page, "features"), 2);
	ck_assert_double_eq(json_number(page, "total"), 2);
	cJSON_Delete(page);
}
END_TEST

/* Tokens that do not count are in no number: every context begins with one. */
START_TEST(regex_leaves_out_what_does_not_count)
{
	cJSON *page = find_regex("<bos>", 0, 0);

	ck_assert_double_eq(json_number(page, "matches"), 0);
	ck_assert_int_eq(json_count(page, "features"), 0);
	cJSON_Delete(page);
}
END_TEST

static const struct {
	const char *pattern;
	int code;
	const char *message;
} bad_patterns[] = {
	{ "(cat", ERR_ARG, "pattern '(cat': character 5: missing closing parenthesis" },
	{ "a**+b)", ERR_ARG, "pattern 'a**+b)': character" },
	{ "[z-a]", ERR_ARG, "range out of order" },
	{ "\\C", ERR_ARG, "pattern '\\C': character" },
	{ "\xff", ERR_ARG, "UTF-8" },
	{ "^(?:(?:.|\\n)+)+[\\x{1}\\x{2}]$", ERR_LIMIT, "takes too many steps on context 90000000000000000" },
	{ "(a+)+$", 0, NULL },
};

START_TEST(regex_refuses)
{
	store_regex_opts o = { .pattern = bad_patterns[_i].pattern, .limit = 5 };
	cJSON *page = NULL;
	int rc = store_find_regex(&page, s, &o, &err);

	ck_assert_msg(rc == bad_patterns[_i].code, "%d %s", rc, err.msg);
	if (rc < 0) {
		ck_assert_msg(strstr(err.msg, bad_patterns[_i].message) != NULL, "%s", err.msg);
		ck_assert_ptr_null(page);
	}
	cJSON_Delete(page);
}
END_TEST

/* (a+)+$ on a long run of letters behind which the end is not. */
START_TEST(regex_stops_backtracking)
{
	store_regex_opts o = { .pattern = "(a+)+$", .limit = 5 };
	cJSON *page = NULL;

	store_close(s);
	s = small_store_open(STORE_WRITE);
	ck_assert_int_eq(store_exec(s,
	                            "UPDATE context SET text = replace(hex(zeroblob(2000)), '0', 'a') || 'b'"
	                            " WHERE id = (SELECT min(id) FROM context)",
	                            &err),
	                 0);
	ck_assert_int_eq(store_find_regex(&page, s, &o, &err), ERR_LIMIT);
	ck_assert_str_eq(err.msg, "pattern '(a+)+$' takes too many steps on context 9000000000000000000: it "
	                          "backtracks without end");
	ck_assert_ptr_null(page);
}
END_TEST

/* ---- find --text ------------------------------------------------------------------------------------------------------- */

START_TEST(text_finds_contexts_and_labels)
{
	cJSON *page = NULL;
	const cJSON *context, *piece;
	int matches = 0;

	ck_assert_msg(store_find_text(&page, s, NULL, "cats OR cat", 100, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(json_count(page, "labels"), 1); /* "kittens" is not the latest; "cats" is */
	ck_assert_double_eq(json_number(json_item(page, "labels", 0), "feature"), SMALL_ON_CAT);
	ck_assert(cJSON_IsTrue(json_member(json_item(json_item(page, "labels", 0), "snippet", 0), "match")));
	ck_assert_int_gt(json_count(page, "contexts"), 10);
	context = json_item(page, "contexts", 0);
	cJSON_ArrayForEach(piece, json_member(context, "snippet")) if (cJSON_GetObjectItem(piece, "match"))
	{
		ck_assert_str_eq(json_string(piece, "text"), "cat");
		matches++;
	}
	ck_assert_int_gt(matches, 0);
	ck_assert_str_eq(json_string(context, "features_of"), "words");
	ck_assert_double_eq(json_number(json_item(context, "features", 0), "feature"), SMALL_ON_ANIMAL);
	ck_assert_double_eq(json_number(json_item(context, "features", 0), "value"), 3);
	ck_assert_double_eq(json_number(json_item(context, "features", 1), "feature"), SMALL_ON_CAT);
	cJSON_Delete(page);
}
END_TEST

/* Without stored firings the examples say what fires there. */
START_TEST(text_falls_back_on_examples)
{
	cJSON *page = NULL;

	store_close(s);
	s = small_store_open(STORE_WRITE);
	ck_assert_int_eq(store_exec(s, "DELETE FROM firing", &err), 0);
	ck_assert_int_eq(store_find_text(&page, s, NULL, "31mred", 3, &err), 0);
	ck_assert_int_eq(json_count(page, "contexts"), 3);
	ck_assert_str_eq(json_string(json_item(page, "contexts", 0), "features_of"), "context");
	ck_assert_double_eq(json_number(json_item(json_item(page, "contexts", 0), "features", 0), "feature"),
	                    SMALL_ON_ESCAPE);
	ck_assert_double_eq(json_number(json_item(json_item(page, "contexts", 0), "features", 0), "value"),
	                    4);
	cJSON_Delete(page);
}
END_TEST

static const struct {
	const char *words, *message;
} bad_words[] = {
	{ "", "there are no words to look for" },
	{ " \t", "there are no words to look for" },
	{ "cat AND", "words 'cat AND': character 8: the query ends where a word should be" },
	{ "cat OR  NOT dog",
	  "character 9: an operator where a word should be: in double quotes it is a word" },
	{ "\"cat", "words '\"cat': character 1: this double quote has no second one" },
	{ "nosuch:cat", "words 'nosuch:cat': character 1: there is one column, 'text', to ask" },
	{ "(", "words '(': character 2: the query ends where a word should be" },
	{ "(cat", "character 1: this bracket is not closed" },
	{ "cat)", "character 4: this bracket closes nothing" },
	{ "cat (dog)", "character 5: AND, OR or NOT should be before this bracket" },
	{ "(cat) dog", "character 7: AND, OR or NOT should be here" },
	{ "it's", "character 3: this sign is no part of a word: put the words in double quotes" },
	{ "\xe7\x8c\xab it-is",
	  "character 5: this sign is no part of a word: put the words in double quotes" },
	{ "NEAR(cat dog, x)", "character 15: a number should be here" },
	{ "cat \xff", "character 5: this is not UTF-8" },
	{ "^\xe7\x8c\xab", "character 1: NEAR, ^ and columns need words of three characters or more" },
};

START_TEST(text_refuses)
{
	cJSON *page = NULL;

	ck_assert_int_eq(store_find_text(&page, s, NULL, bad_words[_i].words, 5, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, bad_words[_i].message) != NULL, "%s", err.msg);
	ck_assert_ptr_null(page);
}
END_TEST

static int ask(int what, cJSON **page)
{
	store_regex_opts r = { .pattern = "cat", .limit = 5 };

	return what ? store_find_text(page, s, NULL, "cat OR cats", 2, &err)
	            : store_find_regex(page, s, &r, &err);
}

/* Each allocation fails in turn: the query says so or does without, and nothing leaks. */
START_TEST(find_survives_failing_allocations)
{
	for (long nth = 0;; nth++) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = ask(_i, &page);
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

/* Every pair of a marked and another token, and every threshold, in turn. Values are exact halves. Loop: the orders, with much
 * memory and little. */
START_TEST(scores_by_hand)
{
	static const char *const keys[] = { "f1", "precision", "recall", "best_f1", "auroc" };
	store_regex_opts o = { .pattern = "cat|dog",
		               .limit = 100,
		               .sort = (store_regex_sort)(_i % (int)ARRAY_LEN(keys)),
		               .memory = _i < (int)ARRAY_LEN(keys) ? 0 : 8 };
	enum { ALL = SMALL_CONTEXTS * (SMALL_TOKENS - 1) };
	static float value[ALL];
	static bool marked[ALL];
	cJSON *page = NULL;
	const cJSON *it;
	double last = 2;

	ck_assert_int_eq(store_find_regex(&page, s, &o, &err), 0);
	cJSON_ArrayForEach(it, json_member(page, "features"))
	{
		uint32_t tokens[SMALL_TOKENS], n = 0;
		double wins = 0, pairs = 0, best = 0, threshold = 0;

		for (uint32_t c = 0; c < SMALL_CONTEXTS; c++) {
			small_context(tokens, c);
			for (uint32_t i = 1; i < SMALL_TOKENS; i++, n++) {
				value[n] = small_value((uint32_t)json_number(it, "feature"), tokens, i);
				marked[n] = tokens[i] == SMALL_CAT || tokens[i] == SMALL_DOG;
			}
		}
		for (uint32_t i = 0; i < ALL; i++) {
			double hits = 0, over = 0, all = 0;

			for (uint32_t j = 0; j < ALL; j++) {
				if (marked[i] && !marked[j]) {
					wins += value[i] > value[j] ? 1 : value[i] == value[j] ? 0.5 : 0;
					pairs++;
				}
				hits += marked[j] && value[j] >= value[i];
				over += value[j] >= value[i];
				all += marked[j];
			}
			if (value[i] > 0 && 2 * hits / (over + all) > best + 1e-12) {
				best = 2 * hits / (over + all);
				threshold = (double)value[i];
			}
		}
		ck_assert_double_eq_tol(json_number(it, "auroc"), wins / pairs, 1e-12);
		ck_assert_double_eq_tol(json_number(it, "best_f1"), best, 1e-12);
		if (json_number(it, "feature") == SMALL_ON_ANIMAL)
			ck_assert_double_eq(json_number(it, "threshold"), threshold);
		ck_assert_double_ge(json_number(it, "best_f1"), json_number(it, "f1") - 1e-12);
		ck_assert_double_le(json_number(it, keys[o.sort]), last);
		last = json_number(it, keys[o.sort]);
	}
	ck_assert_int_gt(json_count(page, "features"), 2);
	cJSON_Delete(page);
}
END_TEST

/* Counts of a whole corpus are taken from the index; where firings say something else, the store is corrupt. */
START_TEST(scores_notice_wrong_counts)
{
	store_regex_opts o = { .pattern = "cat", .limit = 100 };
	cJSON *page = NULL;

	store_close(s);
	s = small_store_open(STORE_WRITE);
	ck_assert_int_eq(
	        store_exec(s, "UPDATE source SET corpus = 1, n_contexts = (SELECT count(*) FROM firing)",
	                   &err),
	        0);
	ck_assert_int_eq(store_find_regex(&page, s, &o, &err), 0);
	cJSON_Delete(page);
	page = NULL;
	ck_assert_int_eq(store_exec(s, "UPDATE feature SET n_fires = n_fires - 1 WHERE feature = 2", &err),
	                 0);
	ck_assert_int_eq(store_find_regex(&page, s, &o, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "is corrupt: feature 2 fires more often than it is said to"));
	ck_assert_ptr_null(page);
}
END_TEST

START_TEST(context_in_full)
{
	uint32_t tokens[SMALL_TOKENS];
	cJSON *page = NULL;
	const cJSON *token;
	uint32_t i = 0;

	small_context(tokens, 3);
	ck_assert_msg(store_show_context(&page, s, NULL, small_context_id(3), SMALL_FEATURES, 100, &err) == 0,
	              "%s", err.msg);
	cJSON_ArrayForEach(token, json_member(page, "tokens"))
	{
		const cJSON *f;
		float last = INFINITY;
		int n = 0;

		cJSON_ArrayForEach(f, json_member(token, "features"))
		{
			ck_assert_float_eq((float)json_number(f, "value"),
			                   small_value((uint32_t)json_number(f, "feature"), tokens, i));
			ck_assert_double_le(json_number(f, "value"), (double)last);
			last = (float)json_number(f, "value");
			n++;
		}
		for (uint32_t g = 0; g < SMALL_FEATURES && i > 0; g++)
			n -= small_value(g, tokens, i) > 0;
		ck_assert_int_eq(n, 0);
		ck_assert_int_eq(cJSON_IsTrue(json_member(token, "counts")), i > 0);
		i++;
	}
	ck_assert_uint_eq(i, SMALL_TOKENS);
	cJSON_Delete(page);
	page = NULL;
	ck_assert_int_eq(store_show_context(&page, s, NULL, 5, 1, 1, &err), ERR_NOTFOUND);
	ck_assert_ptr_null(page);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("find");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	LOOP(tc, regex_matches_the_definition, patterns);
	tcase_add_test(tc, regex_sorts_and_filters);
	tcase_add_loop_test(tc, scores_by_hand, 0, 10);
	tcase_add_test(tc, scores_notice_wrong_counts);
	tcase_add_test(tc, context_in_full);
	tcase_add_test(tc, regex_leaves_out_what_does_not_count);
	LOOP(tc, regex_refuses, bad_patterns);
	tcase_add_test(tc, regex_stops_backtracking);
	tcase_add_test(tc, text_finds_contexts_and_labels);
	tcase_add_test(tc, text_falls_back_on_examples);
	LOOP(tc, text_refuses, bad_words);
	tcase_add_loop_test(tc, find_survives_failing_allocations, 0, 2);
	suite_add_tcase(suite, tc);
}

SUPPORT_MAIN("find", cases)
