/* store/find_of.c, describe.c, describe_patterns.c: what describes a feature, worked out again token by token. */
#include <ctype.h>

#include "store/query_internal.h"
#include "tests/support_index.h"
#include "tests/support_json.h"

enum { CONTEXTS = 30 };

static store *s;
static const char *const modes[] = { "random", "corpus" };

/* Two sources over the same contexts: one with the firings of some, one with all. */
static void setup(void)
{
	corpus_setup();
	s = corpus_open();
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		store_index_opts o = corpus_options(modes[i]);

		o.corpus = i == 1;
		OK(corpus_index(s, &o, CONTEXTS, 0));
	}
}

static void teardown(void)
{
	store_close(s);
	support_rmdir(corpus_folder);
}

static cJSON *find_of(int mode, uint32_t id, uint64_t limit)
{
	cJSON *page = NULL;

	OK(store_find_of(&page, s, modes[mode], id, limit, &corpus_err));
	return page;
}

/* ---- The definition ------------------------------------------------------------------------------------------------------ */

/* One row of the answer. */
struct subject {
	const char *kind, *text;
	uint32_t token, before, at;
};

/* The byte is of a letter or a digit; the vocabulary makes but two that are not ASCII: U+2080 and U+2098. */
static bool is_word(const context_row *c, uint32_t at)
{
	for (uint32_t i = at < 2 ? 0 : at - 2; i <= at && i + 3 <= c->text_len; i++)
		if (memcmp(c->text + i, "\xe2\x82\x80", 3) == 0 ||
		    memcmp(c->text + i, "\xe2\x82\x98", 3) == 0)
			return true;
	return isalnum((unsigned char)c->text[at]);
}

/* The first word that holds a byte of from .. to - 1. */
static bool find_word(uint32_t *begin, uint32_t *end, const context_row *c, uint32_t from, uint32_t to)
{
	while (from < to && !is_word(c, from))
		from++;
	if (from >= to)
		return false;
	*begin = *end = from;
	while (*begin > 0 && is_word(c, *begin - 1))
		--*begin;
	while (*end < c->text_len && is_word(c, *end))
		++*end;
	return true;
}

static bool is_subject(const struct subject *it, const context_row *c, uint32_t i)
{
	uint32_t token = context_row_token(c, i), from = context_row_offset(c, i),
	         to = context_row_offset(c, i + 1), begin, end, n = it->text ? (uint32_t)strlen(it->text) : 0;

	if (strcmp(it->kind, "token") == 0)
		return token == it->token;
	if (strcmp(it->kind, "previous") == 0)
		return i > 0 && context_row_token(c, i - 1) == it->token;
	if (strcmp(it->kind, "pair") == 0)
		return i > 0 && context_row_token(c, i - 1) == it->before && token == it->token;
	if (strcmp(it->kind, "next") == 0)
		return i + 1 < c->n_tokens && context_row_token(c, i + 1) == it->token;
	if (!find_word(&begin, &end, c, from, to) || end - begin < n)
		return false;
	if (strcmp(it->kind, "word") == 0)
		return end - begin == n && memcmp(c->text + begin, it->text, n) == 0 &&
		       it->at == (from > begin ? from - begin : 0);
	if (strcmp(it->kind, "prefix") == 0)
		return begin >= from && memcmp(c->text + begin, it->text, n) == 0;
	return memcmp(c->text + end - n, it->text, n) == 0 && end - n >= from && end - n < to;
}

static void tally(double *hits, double *of, int mode, uint32_t id, const struct subject *it)
{
	store_source source;
	firing_scan scan;
	bool more;

	OK(store_source_get(&source, s, modes[mode], &corpus_err));
	OK(firing_scan_begin(&scan, s, source.id, &corpus_err));
	*hits = *of = 0;
	for (;;) {
		OK(firing_scan_next(&scan, &more, &corpus_err));
		if (!more)
			break;
		for (uint32_t i = 0; i < scan.context.n_tokens; i++) {
			bool is = bit_is_set(scan.counted, i) && (!it || is_subject(it, &scan.context, i));

			*of += is;
			for (uint32_t j = scan.codes.start[i]; is && j < scan.codes.start[i + 1]; j++)
				*hits += scan.codes.feature[j] == id;
		}
	}
	firing_scan_end(&scan);
}

static void check_numbers(const cJSON *row, const cJSON *page, double hits, double of)
{
	double precision = hits / json_number(page, "fires"), recall = hits / of;

	ck_assert_double_eq(json_number(row, "hits"), hits);
	ck_assert_double_eq(json_number(row, "of"), of);
	ck_assert_double_eq_tol(json_number(row, "precision"), precision, 1e-15);
	ck_assert_double_eq_tol(json_number(row, "recall"), recall, 1e-15);
	ck_assert_double_eq_tol(json_number(row, "f1"), 2 * precision * recall / (precision + recall), 1e-14);
	ck_assert_double_eq_tol(json_number(row, "lift"), precision / (of / json_number(page, "tokens")),
	                        1e-12);
}

/* Rows of a list: their numbers, their order, and that none with hits is missing. */
static void check_list(const cJSON *page, int mode, uint32_t id, const char *kind)
{
	const cJSON *row;
	double last = 2, sum = 0, hits, of;

	cJSON_ArrayForEach(row, json_member(page, kind))
	{
		struct subject it = { .kind = kind };

		it.text = strcmp(kind, "word") == 0 || strstr(kind, "fix") ? json_string(row, "text") : NULL;
		it.token = it.text ? 0 : (uint32_t)json_number(row, "token");
		it.before = strcmp(kind, "pair") == 0 ? (uint32_t)json_number(row, "before") : 0;
		it.at = strcmp(kind, "word") == 0 ? (uint32_t)json_number(row, "at") : 0;
		tally(&hits, &of, mode, id, &it);
		check_numbers(row, page, hits, of);
		ck_assert_double_gt(hits, 0);
		ck_assert_double_le(json_number(row, "f1"), last);
		last = json_number(row, "f1");
		sum += hits;
	}
	if (strcmp(kind, "token") == 0)
		ck_assert_double_eq(sum, json_number(page, "fires"));
}

START_TEST(of_counts_what_the_tokens_are)
{
	static const char *const kinds[] = {
		"token", "previous", "pair", "next", "word", "prefix", "suffix"
	};
	static const uint32_t ids[] = { 0, 2, 3, 7, 12 };

	for (size_t f = 0; f < ARRAY_LEN(ids); f++) {
		cJSON *page = find_of(_i, ids[f], 1000000);
		double hits, of;

		tally(&hits, &of, _i, ids[f], NULL);
		ck_assert_double_eq(json_number(page, "fires"), hits);
		ck_assert_double_eq(json_number(page, "tokens"), of);
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			check_list(page, _i, ids[f], kinds[k]);
		cJSON_Delete(page);
	}
}
END_TEST

/* ---- Patterns ------------------------------------------------------------------------------------------------------------ */

/* What is printed, given to find --regex, says the same of the feature. */
static void paste(const cJSON *row, int mode, uint32_t id)
{
	store_regex_opts o = { .source = modes[mode], .pattern = json_string(row, "pattern"), .limit = 1000 };
	const cJSON *it, *same = NULL;
	cJSON *found = NULL;

	ck_assert_ptr_null(strchr(o.pattern, '\''));
	OK(store_find_regex(&found, s, &o, &corpus_err));
	cJSON_ArrayForEach(it, json_member(found, "features")) if (json_number(it, "feature") == id) same =
	        it;
	ck_assert_msg(same != NULL, "'%s' does not find feature %u", o.pattern, id);
	ck_assert_double_eq(json_number(row, "hits"), json_number(same, "hits"));
	ck_assert_double_eq(json_number(row, "of"), json_number(found, "matches"));
	ck_assert_double_eq(json_number(row, "precision"), json_number(same, "precision"));
	ck_assert_double_eq(json_number(row, "recall"), json_number(same, "recall"));
	cJSON_Delete(found);
}

START_TEST(patterns_say_the_same_in_find_regex)
{
	int patterns = 0;

	for (uint32_t id = 0; id < FEATURES; id += id < 4 ? 1 : 6) {
		cJSON *page = find_of(_i, id, 100);
		const cJSON *row;
		double last = 2;

		cJSON_ArrayForEach(row, json_member(page, "patterns"))
		{
			paste(row, _i, id);
			ck_assert_double_le(json_number(row, "f1"), last);
			last = json_number(row, "f1");
			patterns++;
		}
		cJSON_Delete(page);
	}
	ck_assert_int_gt(patterns, 60);
}
END_TEST

/* Feature 2 is the token " dog". */
START_TEST(the_best_pattern_is_the_token)
{
	cJSON *page = find_of(1, 2, 3);

	ck_assert_str_eq(json_string(json_item(page, "token", 0), "text"), " dog");
	ck_assert_double_eq(json_number(json_item(page, "token", 0), "f1"), 1);
	ck_assert_str_eq(json_string(json_item(page, "patterns", 0), "pattern"), " dog");
	ck_assert_double_eq(json_number(json_item(page, "patterns", 0), "f1"), 1);
	ck_assert_int_le(json_count(page, "next"), 3);
	cJSON_Delete(page);
}
END_TEST

START_TEST(of_a_dead_feature_says_nothing)
{
	cJSON *page = find_of(1, 1, 3);

	ck_assert_double_eq(json_number(page, "fires"), 0);
	ck_assert_int_eq(json_count(page, "token"), 0);
	ck_assert_int_eq(json_count(page, "patterns"), 0);
	cJSON_Delete(page);
}
END_TEST

START_TEST(of_refuses)
{
	cJSON *page = NULL;

	ck_assert_int_eq(store_find_of(&page, s, "corpus", FEATURES, 5, &corpus_err), ERR_ARG);
	ck_assert_str_eq(corpus_err.msg, "feature 40 is not in 'corpus': it has features 0 to 39");
	ck_assert_int_eq(store_find_of(&page, s, NULL, 1, 5, &corpus_err), ERR_ARG); /* two sources */
	ck_assert_ptr_null(page);
}
END_TEST

/* Each allocation fails in turn: the query says so or does without, and nothing leaks. */
START_TEST(of_survives_failing_allocations)
{
	for (long nth = 0;; nth += nth < 200 ? 1 : 7) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = store_find_of(&page, s, "random", 3, 2, &corpus_err);
		cJSON_Delete(page);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		if (rc != 0)
			ck_assert_msg(rc == ERR_NOMEM, "allocation %ld: %d %s", nth, rc, corpus_err.msg);
	}
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("find_of");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, of_counts_what_the_tokens_are, 0, 2);
	tcase_add_loop_test(tc, patterns_say_the_same_in_find_regex, 0, 2);
	tcase_add_test(tc, the_best_pattern_is_the_token);
	tcase_add_test(tc, of_a_dead_feature_says_nothing);
	tcase_add_test(tc, of_refuses);
	tcase_add_test(tc, of_survives_failing_allocations);
	suite_add_tcase(suite, tc);
}

SUPPORT_MAIN("find_of", cases)
