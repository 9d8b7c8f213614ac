/* Two sources whose features stand in known relations: the same, split, merged, on their own. */
#include "tests/support.h"

#include <math.h>

#include "store/store.h"

enum { N_CONTEXTS = 30, N_TOKENS = 40, FEATURES = 6, CLASSES = 8 };

static char folder[FILE_PATH_MAX];
static error err;
#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

static uint32_t class_of(uint32_t context, uint32_t token)
{
	return (uint32_t)(hash64_mix(context, token) % CLASSES);
}

/* Source a: 0 on class 0, 1 on 1, 2 on 2 and 3, 3 on 4, 4 never, 5 on 5 where the token is even.
 * Source b: 0 on class 1, 1 on 0, 2 on 2, 3 on 3, 4 on 6, 5 never. */
static float value_of(char source, uint32_t feature, uint32_t context, uint32_t token)
{
	uint32_t c = class_of(context, token);
	bool on;

	if (source == 'a')
		on = feature == 2 ? c == 2 || c == 3
		                  : (feature < 2 && c == feature) || (feature == 3 && c == 4) ||
		                            (feature == 5 && c == 5 && token % 2 == 0);
	else
		on = (feature < 2 && c == 1 - feature) || (feature == 2 && c == 2) ||
		     (feature == 3 && c == 3) || (feature == 4 && c == 6);
	return on ? 1 + 0.125f * (float)(token % 8) : 0;
}

static void index_source(store *s, char source, uint32_t first_context, bool decoder)
{
	static const float rows[FEATURES * 2] = { 1, 0, 0, 1, 3, 4, 1, 1, 0, -2, 5, 0 };
	const char name[] = { source, 0 };
	store_index_opts o = store_index_opts_default();
	store_index *ix = NULL;

	o.source = name;
	o.architecture = "topk";
	o.d_in = 2;
	o.n_features = FEATURES;
	o.weights_sha256 = o.dump_sha256 = name;
	OK(store_index_begin(&ix, s, &o, &err));
	for (uint32_t i = first_context; i < first_context + N_CONTEXTS; i++) {
		uint32_t tokens[N_TOKENS], start[N_TOKENS + 1], feature[N_TOKENS * FEATURES], n = 0;
		float value[N_TOKENS * FEATURES];
		uint8_t counted[N_TOKENS];

		for (uint32_t t = 0; t < N_TOKENS; t++) {
			tokens[t] = 100 * i + t;
			counted[t] = t > 0;
			start[t] = n;
			for (uint32_t f = 0; f < FEATURES && t > 0; f++)
				if (value_of(source, f, i, t) > 0) {
					feature[n] = f;
					value[n++] = value_of(source, f, i, t);
				}
		}
		start[N_TOKENS] = n;
		OK(store_index_context(
		        ix, &(store_context){ tokens, N_TOKENS, i, i, counted, start, feature, value },
		        &err));
	}
	if (decoder)
		OK(store_index_decoder(ix, rows, &err));
	OK(store_index_finish(ix, NULL, NULL, &err));
}

static store *make(const char *name, const char *sources, uint32_t first_context, bool decoder)
{
	store *s = NULL;

	OK(store_open(&s, support_path(folder, name), STORE_CREATE, &err));
	for (; *sources; sources++)
		index_source(s, *sources, first_context, decoder);
	return s;
}

static void setup(void)
{
	support_mkdir(folder);
}

static void teardown(void)
{
	support_rmdir(folder);
}

static const cJSON *feature_of(const cJSON *page, const char *side, int number)
{
	const cJSON *f;

	cJSON_ArrayForEach(f, cJSON_GetObjectItem(page, "features"))
	{
		if (strcmp(cJSON_GetObjectItem(f, "side")->valuestring, side) == 0 &&
		    cJSON_GetObjectItem(f, "feature")->valueint == number)
			return f;
	}
	ck_abort_msg("no feature %s %d", side, number);
}

static double number(const cJSON *f, const char *name)
{
	const cJSON *n = cJSON_GetObjectItem(f, name);

	return cJSON_IsNumber(n) ? n->valuedouble : (double)NAN;
}

static void check_verdicts(const cJSON *page, const char *side, const char *const want[FEATURES])
{
	for (int f = 0; f < FEATURES; f++)
		ck_assert_str_eq(cJSON_GetObjectItem(feature_of(page, side, f), "verdict")->valuestring,
		                 want[f]);
}

START_TEST(finds_planted_relations_by_firing)
{
	store *s = make("s.db", "ab", 0, false);
	store_compare_opts o = { .a = s,
		                 .b = s,
		                 .source_a = "a",
		                 .source_b = "b",
		                 .min_cosine = 0.8,
		                 .min_overlap = 0.5,
		                 .min_common = 5 };
	cJSON *page = NULL;
	const cJSON *f;

	OK(store_compare(&page, &o, &err));
	check_verdicts(
	        page, "a",
	        (const char *const[]){ "same", "same", "split", "unmatched", "unmatched", "unmatched" });
	check_verdicts(page, "b",
	               (const char *const[]){ "same", "same", "merged", "merged", "unmatched", "unmatched" });
	ck_assert_double_eq(number(cJSON_GetObjectItem(page, "common"), "tokens"),
	                    N_CONTEXTS * (N_TOKENS - 1));
	f = feature_of(page, "a", 0);
	ck_assert_double_eq(number(f, "match"), 1);
	ck_assert_double_eq(number(f, "jaccard"), 1);
	ck_assert_double_eq_tol(number(f, "correlation"), 1, 1e-12);
	f = cJSON_GetObjectItem(feature_of(page, "a", 2), "parts");
	ck_assert_int_eq(cJSON_GetArraySize(f), 2);
	ck_assert_int_eq(cJSON_GetArrayItem(f, 0)->valueint + cJSON_GetArrayItem(f, 1)->valueint, 5);
	f = cJSON_GetObjectItem(feature_of(page, "b", 3), "part_of");
	ck_assert_int_eq(cJSON_GetArrayItem(f, 0)->valueint, 2);
	ck_assert_double_lt(number(cJSON_GetObjectItem(page, "a"), "chance_mean"), 0.3);
	ck_assert_double_gt(number(cJSON_GetObjectItem(page, "a"), "mean_best_firing_cosine"), 0.5);
	cJSON_Delete(page);
	store_close(s);
}
END_TEST

START_TEST(directions_decide_where_given)
{
	const uint32_t match[FEATURES] = { 1, 0, 2, 3, 4, UINT32_MAX };
	const float cosine[FEATURES] = { 0.9f, 0.69f, 0.5f, 0.7f, 0.2f, 0 };
	store *s = make("s.db", "a", 0, true), *other = make("t.db", "b", 0, true);
	store_compare_opts o = { .a = s,
		                 .b = other,
		                 .match = match,
		                 .cosine = cosine,
		                 .min_cosine = 0.7f,
		                 .min_overlap = 0.5,
		                 .min_common = 5 };
	cJSON *page = NULL;

	OK(store_compare(&page, &o, &err));
	check_verdicts(
	        page, "a",
	        (const char *const[]){ "same", "unmatched", "split", "same", "unmatched", "unmatched" });
	ck_assert_double_eq_tol(number(feature_of(page, "b", 0), "cosine"), 0.69, 1e-6);
	ck_assert_double_eq(number(feature_of(page, "a", 1), "jaccard"), 1);
	ck_assert(isnan(number(feature_of(page, "a", 5), "match")));
	cJSON_Delete(page);
	store_close(s);
	store_close(other);
}
END_TEST

START_TEST(nothing_in_common)
{
	const uint32_t match[FEATURES] = { 0, 1, 2, 3, 4, 5 };
	const float cosine[FEATURES] = { 1, 1, 1, 0, 0, 0 };
	store *s = make("s.db", "a", 0, true), *other = make("t.db", "b", 5000, false);
	store_compare_opts o = { .a = s, .b = other, .min_cosine = 0.7, .min_overlap = 0.5, .min_common = 5 };
	cJSON *page = NULL;

	ck_assert_int_eq(store_compare(&page, &o, &err), ERR_ARG);
	ck_assert_ptr_null(page);
	ck_assert_str_eq(err.msg,
	                 "'a' and 'b' cannot be compared: there are no decoder directions of one width, "
	                 "and no context has stored firings of both");
	o.match = match;
	o.cosine = cosine;
	OK(store_compare(&page, &o, &err));
	check_verdicts(
	        page, "a",
	        (const char *const[]){ "same", "same", "same", "unmatched", "unmatched", "unmatched" });
	ck_assert(isnan(number(feature_of(page, "a", 0), "firing_cosine")));
	cJSON_Delete(page);
	store_close(s);
	store_close(other);
}
END_TEST

START_TEST(vectors_as_stored)
{
	store *s = make("s.db", "a", 0, true), *none = make("t.db", "b", 0, false);
	float *rows = NULL;

	OK(store_vectors(&rows, s, NULL, &err));
	ck_assert_ptr_nonnull(rows);
	ck_assert_float_eq(rows[4], 3);
	ck_assert_float_eq(rows[9], -2);
	free(rows);
	OK(store_vectors(&rows, none, "b", &err));
	ck_assert_ptr_null(rows);
	store_close(s);
	store_close(none);
}
END_TEST

static void cases(Suite *s)
{
	TCase *c = SUPPORT_CASE(s, "compare", finds_planted_relations_by_firing,
	                        directions_decide_where_given, nothing_in_common, vectors_as_stored);

	tcase_add_checked_fixture(c, setup, teardown);
}

SUPPORT_MAIN("compare", cases)
