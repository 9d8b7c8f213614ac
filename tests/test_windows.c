/* store/windows.c: what explain/ is shown, against the rule that made the store. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_store.h"

static store *s;
static arena mem;
static error err;

static void setup(void)
{
	s = small_store_open(STORE_READ);
	err = (error){ 0 };
}

static void teardown(void)
{
	arena_clear(&mem);
	store_close(s);
}

static uint32_t number_of(const store_window *w)
{
	return (uint32_t)(w->context - small_context_id(0));
}

/* Tokens, texts and values are those of the context at `first`. */
static void check_window(const store_window *w, uint32_t feature)
{
	uint32_t tokens[SMALL_TOKENS];

	ck_assert_uint_lt(number_of(w), SMALL_CONTEXTS);
	ck_assert_uint_le(w->first + w->length, SMALL_TOKENS);
	ck_assert_int_eq(w->part, small_part(number_of(w)));
	ck_assert_uint_eq(w->group, number_of(w) / 2);
	small_context(tokens, number_of(w));
	for (uint32_t i = 0; i < w->length; i++) {
		uint32_t token = tokens[w->first + i];

		ck_assert_uint_eq(w->token[i], token);
		ck_assert_float_eq(w->value[i], small_value(feature, tokens, w->first + i));
		if (token == SMALL_CHAR_HEAD)
			ck_assert_str_eq(w->text[i], " \xe7\x8c\xab");
		else if (token == SMALL_CHAR_TAIL)
			ck_assert_str_eq(w->text[i], "");
		else
			ck_assert_str_eq(w->text[i], small_token(token));
	}
}

START_TEST(firing_windows_are_the_feature)
{
	store_window *w = NULL;
	size_t n = 0;

	ck_assert_int_eq(store_windows_firing(&w, &n, s, 1, SMALL_ON_CAT, (store_part)_i, &mem, &err), 0);
	ck_assert_uint_gt(n, 2);
	for (size_t i = 0; i < n; i++) {
		check_window(&w[i], SMALL_ON_CAT);
		if (_i != STORE_ANY)
			ck_assert_int_eq(w[i].part, _i);
		ck_assert_uint_eq(w[i].token[w[i].peak], SMALL_CAT);
		ck_assert_float_eq(w[i].activation, w[i].value[w[i].peak]);
		for (uint32_t j = 0; j < w[i].length; j++)
			ck_assert_float_le(w[i].value[j], w[i].activation);
		for (size_t j = 0; j < i; j++)
			ck_assert_int_ne(w[i].context, w[j].context);
		if (i)
			ck_assert_float_le(w[i].activation, w[i - 1].activation);
	}
}
END_TEST

START_TEST(firing_windows_of_a_dead_feature_are_none)
{
	store_window *w = NULL;
	size_t n = 7;

	ck_assert_int_eq(store_windows_firing(&w, &n, s, 1, SMALL_DEAD, STORE_ANY, &mem, &err), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(store_windows_silent(&w, &n, s, 1, SMALL_DENSE, STORE_ANY, 8, 10, 1, &mem, &err), 0);
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(silent_windows_are_silent)
{
	store_window *w = NULL;
	size_t n = 0;

	ck_assert_int_eq(
	        store_windows_silent(&w, &n, s, 1, SMALL_ON_CAT, (store_part)_i, 5, 12, 3, &mem, &err), 0);
	ck_assert_uint_eq(n, 12);
	for (size_t i = 0; i < n; i++) {
		check_window(&w[i], SMALL_ON_CAT);
		ck_assert_uint_eq(w[i].length, 5);
		ck_assert_uint_eq(w[i].peak, 2);
		ck_assert_float_eq(w[i].activation, 0);
		if (_i != STORE_ANY)
			ck_assert_int_eq(w[i].part, _i);
		for (uint32_t j = 0; j < w[i].length; j++)
			ck_assert_float_eq(w[i].value[j], 0);
		for (size_t j = 0; j < i; j++) {
			ck_assert(w[i].context != w[j].context || w[i].first >= w[j].first + 5 ||
			          w[j].first >= w[i].first + 5);
			ck_assert(memcmp(w[i].token, w[j].token, 5 * sizeof(uint32_t)) != 0);
		}
	}
}
END_TEST

START_TEST(silent_windows_depend_on_seed_alone)
{
	store_window *a = NULL, *b = NULL, *c = NULL, *other = NULL;
	size_t n = 0, differ = 0;

	ck_assert_int_eq(store_windows_silent(&a, &n, s, 1, SMALL_ON_CAT, STORE_ANY, 4, 10, 3, &mem, &err),
	                 0);
	ck_assert_uint_eq(n, 10);
	ck_assert_int_eq(
	        store_windows_silent(&other, &n, s, 1, SMALL_ON_PAREN, STORE_ANY, 4, 10, 3, &mem, &err), 0);
	ck_assert_int_eq(store_windows_silent(&b, &n, s, 1, SMALL_ON_CAT, STORE_ANY, 4, 10, 3, &mem, &err),
	                 0);
	ck_assert_int_eq(store_windows_silent(&c, &n, s, 1, SMALL_ON_CAT, STORE_ANY, 4, 10, 4, &mem, &err),
	                 0);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(a[i].context, b[i].context);
		ck_assert_uint_eq(a[i].first, b[i].first);
		differ += a[i].context != c[i].context || a[i].first != c[i].first;
	}
	ck_assert_uint_gt(differ, 0);
}
END_TEST

/* A context shorter than the window is taken whole. */
START_TEST(silent_windows_may_be_whole_contexts)
{
	store_window *w = NULL;
	size_t n = 0;

	ck_assert_int_eq(store_windows_silent(&w, &n, s, 1, SMALL_DEAD, STORE_ANY, 100, 5, 3, &mem, &err), 0);
	ck_assert_uint_eq(n, 5);
	ck_assert_uint_eq(w[0].length, SMALL_TOKENS);
}
END_TEST

START_TEST(silent_windows_check_their_arguments)
{
	store_window *w = NULL;
	size_t n = 0;

	ck_assert_int_eq(store_windows_silent(&w, &n, s, 1, SMALL_FEATURES, STORE_ANY, 4, 5, 3, &mem, &err),
	                 ERR_ARG);
	ck_assert_str_eq(err.msg, "feature 8 is out of range: the source has features 0-7");
	ck_assert_int_eq(store_windows_silent(&w, &n, s, 9, 0, STORE_ANY, 4, 5, 3, &mem, &err), ERR_NOTFOUND);
	ck_assert_int_eq(store_windows_silent(&w, &n, s, 1, 0, STORE_ANY, 0, 5, 3, &mem, &err), ERR_ARG);
	ck_assert_ptr_null(w);
}
END_TEST

/* A store whose blobs lie is an error, never a wild read. */
static const struct {
	const char *sql, *message;
} lies[] = {
	{ "UPDATE context SET tokens = x'00'", "its arrays are not of 32 tokens" },
	{ "UPDATE context SET n_tokens = -1", "its arrays are not of -1 tokens" },
	{ "UPDATE context SET offsets = CAST(x'ffffffff' || substr(offsets, 5) AS BLOB)",
	  "token offsets do not fit its text" },
	{ "UPDATE context SET text = 'short'", "token offsets do not fit its text" },
	{ "UPDATE firing SET counted = x'ff'", "its mask is not of 32 tokens" },
	{ "UPDATE firing SET codes = x'0102'", "codes of a context" },
	{ "UPDATE example SET codes = x'00ff0001'", "token 255 of 32" },
	{ "UPDATE example SET codes = x'00000001000001'", "token 0 of 32 is out of order" },
	{ "UPDATE example SET codes = x'00000000'", "token 0 has no value over 0" },
	{ "UPDATE example SET codes = x'0000007c'", "token 0 has no value over 0" },
	{ "UPDATE example SET codes = CAST(x'00' || char(position) || x'0101' AS BLOB)", "twice" },
	{ "UPDATE example SET codes = x'00'", "1 bytes" },
	{ "UPDATE example SET codes = x'0001'", "2 bytes" },
	{ "UPDATE example SET position = 32", "is not in context" },
	{ "UPDATE example SET position = -1", "is not in context" },
};

START_TEST(lying_stores_are_errors)
{
	store_window *w = NULL;
	size_t n = 0;
	int rc;

	store_close(s);
	s = small_store_open(STORE_WRITE);
	ck_assert_msg(store_exec(s, lies[_i].sql, &err) == 0, "%s", err.msg);
	rc = store_windows_firing(&w, &n, s, 1, SMALL_ON_CAT, STORE_ANY, &mem, &err);
	if (rc == 0)
		rc = store_windows_silent(&w, &n, s, 1, SMALL_ON_CAT, STORE_ANY, 4, 5, 3, &mem, &err);
	ck_assert_int_eq(rc, ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, lies[_i].message) != NULL, "%s", err.msg);
}
END_TEST

/* As lying_stores_are_errors, with each allocation failing in turn. */
START_TEST(windows_survive_failing_allocations)
{
	static const uint32_t cat = SMALL_CAT;
	const store_hard_opts hard = { .source = 1,
		                       .feature = SMALL_AFTER_THE,
		                       .part = STORE_ANY,
		                       .by = STORE_HARD_TOKEN,
		                       .length = 6,
		                       .want = 3,
		                       .tokens = &cat,
		                       .n_tokens = 1 };

	for (long nth = 0;; nth++) {
		store_window *w = NULL;
		size_t n = 0;
		int rc;

		firing_cache_drop(s);
		fault_arm(FAULT_ALLOC, nth);
		rc = store_windows_firing(&w, &n, s, 1, SMALL_ON_CAT, STORE_ANY, &mem, &err);
		if (rc == 0)
			rc = store_windows_silent(&w, &n, s, 1, SMALL_ON_CAT, STORE_ANY, 4, 5, 3, &mem, &err);
		if (rc == 0)
			rc = store_windows_hard(&w, &n, s, &hard, &mem, &err);
		arena_clear(&mem);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		if (rc != 0) /* SQLite does without some of its caches */
			ck_assert_int_eq(rc, ERR_NOMEM);
	}
}
END_TEST

/* What makes each kind hard, in a store whose neighbours are written by hand: SMALL_ON_ANIMAL fires on dogs, where
 * SMALL_ON_CAT is silent; SMALL_AFTER_THE follows "the". */
static const struct {
	store_hard by;
	uint32_t feature, rival;
} hard_kinds[] = {
	{ STORE_HARD_DECODER, SMALL_ON_CAT, SMALL_ON_ANIMAL },
	{ STORE_HARD_COFIRING, SMALL_ON_CAT, SMALL_ON_ANIMAL },
	{ STORE_HARD_TOKEN, SMALL_AFTER_THE, SMALL_CAT },
};

static store_hard_opts hard_opts(int kind, store_part part)
{
	static const uint32_t cat = SMALL_CAT;

	return (store_hard_opts){ .source = 1,
		                  .feature = hard_kinds[kind].feature,
		                  .part = part,
		                  .by = hard_kinds[kind].by,
		                  .length = 6,
		                  .before = 4,
		                  .want = 8,
		                  .seed = 3,
		                  .tokens = &cat,
		                  .n_tokens = 1 };
}

static void write_neighbours(void)
{
	char sql[256];

	store_close(s);
	s = small_store_open(STORE_WRITE);
	snprintf(sql, sizeof(sql),
	         "UPDATE feature_detail SET neighbours = '[[%d,0.9]]', cofiring = '[[%d,3,0.4]]' WHERE "
	         "feature = %d",
	         SMALL_ON_ANIMAL, SMALL_ON_ANIMAL, SMALL_ON_CAT);
	ck_assert_msg(store_exec(s, sql, &err) == 0, "%s", err.msg);
}

START_TEST(hard_windows_are_silent_where_a_rival_fires)
{
	store_window *w = NULL;
	uint32_t tokens[SMALL_TOKENS];
	size_t n = 0;
	store_hard_opts o = hard_opts(_i, STORE_ANY);

	write_neighbours();
	ck_assert_msg(store_windows_hard(&w, &n, s, &o, &mem, &err) == 0, "%s", err.msg);
	ck_assert_uint_gt(n, 3);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(w[i].length, 6);
		ck_assert(w[i].peak == 4 || w[i].first == 0 || w[i].first + 6 == SMALL_TOKENS);
		ck_assert_float_eq(w[i].value[w[i].peak], 1);
		small_context(tokens, number_of(&w[i]));
		for (uint32_t j = 0; j < w[i].length; j++) {
			uint32_t at = w[i].first + j;
			bool rival = o.by == STORE_HARD_TOKEN
			                     ? tokens[at] == hard_kinds[_i].rival
			                     : small_value(hard_kinds[_i].rival, tokens, at) > 0;

			ck_assert_float_eq(small_value(o.feature, tokens, at), 0);
			ck_assert_uint_eq(w[i].token[j], tokens[at]);
			ck_assert_float_eq(w[i].value[j], rival);
		}
		for (size_t j = 0; j < i; j++)
			ck_assert_int_ne(w[i].context, w[j].context);
	}
	o.part = STORE_REPORT;
	ck_assert_int_eq(store_windows_hard(&w, &n, s, &o, &mem, &err), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(w[i].part, STORE_REPORT);
}
END_TEST

START_TEST(hard_windows_may_be_none)
{
	store_window *w = NULL;
	size_t n = 7;
	store_hard_opts o = hard_opts(_i, STORE_ANY);

	write_neighbours();
	o.feature = SMALL_DENSE; /* never silent, and without neighbours */
	ck_assert_msg(store_windows_hard(&w, &n, s, &o, &mem, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(n, 0);
	o.feature = SMALL_FEATURES;
	ck_assert_int_eq(store_windows_hard(&w, &n, s, &o, &mem, &err), ERR_ARG);
	o = hard_opts(_i, STORE_ANY);
	o.length = 0;
	ck_assert_int_eq(store_windows_hard(&w, &n, s, &o, &mem, &err), ERR_ARG);
}
END_TEST

START_TEST(lying_neighbours_are_errors)
{
	static const struct {
		const char *json;
		int rc;
	} all[] = { { "[[", ERR_FORMAT }, { "[[-1,1],[8,1],[1e99,1],[\"a\"],7,[]]", 0 } };
	store_hard_opts o = hard_opts(0, STORE_ANY);
	store_window *w = NULL;
	char sql[256];
	size_t n = 7;

	write_neighbours();
	snprintf(sql, sizeof(sql), "UPDATE feature_detail SET neighbours = '%s'", all[_i].json);
	ck_assert_msg(store_exec(s, sql, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_windows_hard(&w, &n, s, &o, &mem, &err), all[_i].rc);
	if (all[_i].rc < 0)
		ck_assert_msg(strstr(err.msg, "the neighbours of feature 0 are corrupt"), "%s", err.msg);
	else
		ck_assert_uint_eq(n, 0);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("windows");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, firing_windows_are_the_feature, STORE_LABEL, STORE_ANY + 1);
	tcase_add_test(tc, firing_windows_of_a_dead_feature_are_none);
	tcase_add_loop_test(tc, silent_windows_are_silent, STORE_LABEL, STORE_ANY + 1);
	tcase_add_test(tc, silent_windows_depend_on_seed_alone);
	tcase_add_test(tc, silent_windows_may_be_whole_contexts);
	tcase_add_test(tc, silent_windows_check_their_arguments);
	tcase_add_loop_test(tc, lying_stores_are_errors, 0, ARRAY_LEN(lies));
	tcase_add_test(tc, windows_survive_failing_allocations);
	tcase_add_loop_test(tc, hard_windows_are_silent_where_a_rival_fires, 0, ARRAY_LEN(hard_kinds));
	tcase_add_loop_test(tc, hard_windows_may_be_none, 0, ARRAY_LEN(hard_kinds));
	tcase_add_loop_test(tc, lying_neighbours_are_errors, 0, 2);
	suite_add_tcase(suite, tc);
}

SUPPORT_MAIN("windows", cases)
