/* Two sources whose features stand in known relations: the same, split, merged, on their own. */
#include "tests/support.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>

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

static void index_contexts(store *s, char source, uint32_t first_context, uint32_t n_contexts, bool decoder)
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
	for (uint32_t i = first_context; i < first_context + n_contexts; i++) {
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
		index_contexts(s, *sources, first_context, N_CONTEXTS, decoder);
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

static store_compare_opts options(store *a, store *b)
{
	return (store_compare_opts){ .a = a,
		                     .b = b,
		                     .source_a = a == b ? "a" : NULL,
		                     .source_b = a == b ? "b" : NULL,
		                     .min_cosine = 0.7,
		                     .min_correlation = 0.7,
		                     .min_overlap = 0.5,
		                     .min_gain = 0.1,
		                     .min_together = 0.7,
		                     .min_common = 5 };
}

static double verdicts(const cJSON *page, const char *side, const char *which, const char *verdict)
{
	return number(cJSON_GetObjectItem(cJSON_GetObjectItem(page, side), which), verdict);
}

static void check_numbers(const cJSON *f, const char *name, size_t n, const double *want)
{
	const cJSON *array = cJSON_GetObjectItem(f, name);

	ck_assert_int_eq(cJSON_GetArraySize(array), (int)n);
	for (size_t i = 0; i < n; i++)
		ck_assert_double_eq(cJSON_GetArrayItem(array, (int)i)->valuedouble, want[i]);
}

START_TEST(finds_planted_relations_by_firing)
{
	store *s = make("s.db", "ab", 0, false);
	store_compare_opts o = options(s, s);
	cJSON *page = NULL, *again = NULL;
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
	ck_assert_double_eq(number(f, "cofiring"), 1);
	ck_assert_double_eq(number(f, "jaccard"), 1);
	ck_assert_double_eq(number(f, "common"), number(f, "fires"));
	ck_assert_double_eq_tol(number(f, "correlation"), 1, 1e-12);
	f = feature_of(page, "a", 2);
	ck_assert_str_eq(cJSON_GetObjectItem(f, "by")->valuestring, "firing");
	ck_assert_double_eq(number(f, "covered"), 1);
	f = cJSON_GetObjectItem(f, "parts");
	ck_assert_int_eq(cJSON_GetArraySize(f), 2);
	ck_assert_int_eq(cJSON_GetArrayItem(f, 0)->valueint + cJSON_GetArrayItem(f, 1)->valueint, 5);
	check_numbers(feature_of(page, "b", 3), "part_of", 1, (const double[]){ 2 });
	ck_assert_double_eq(verdicts(page, "a", "verdicts", "same"), 2);
	ck_assert_double_eq(verdicts(page, "b", "verdicts", "merged"), 2);
	ck_assert_double_eq(verdicts(page, "a", "chance_verdicts", "unmatched"), FEATURES);
	f = cJSON_GetObjectItem(cJSON_GetObjectItem(page, "correlation"), "a");
	ck_assert_double_lt(number(f, "chance_99"), 0.3);
	ck_assert_double_gt(number(f, "mean_best"), 0.5);
	o.pool = NULL;
	OK(pool_new(&o.pool, 3, &err));
	OK(store_compare(&again, &o, &err)); /* nor do threads matter */
	ck_assert(cJSON_Compare(page, again, true));
	pool_free(o.pool);
	cJSON_Delete(page);
	cJSON_Delete(again);
	store_close(s);
}
END_TEST

/* The other way round what was split is merged. */
START_TEST(turned_round)
{
	store *s = make("s.db", "ab", 0, false);
	store_compare_opts o = options(s, s);
	cJSON *page = NULL;

	o.source_a = "b";
	o.source_b = "a";
	OK(store_compare(&page, &o, &err));
	check_verdicts(page, "a",
	               (const char *const[]){ "same", "same", "merged", "merged", "unmatched", "unmatched" });
	check_verdicts(
	        page, "b",
	        (const char *const[]){ "same", "same", "split", "unmatched", "unmatched", "unmatched" });
	cJSON_Delete(page);
	store_close(s);
}
END_TEST

/* What part of the whole, and of each part, has to be shared. */
START_TEST(thresholds_of_a_split)
{
	store *s = make("s.db", "ab", 0, false);
	store_compare_opts o = options(s, s);
	cJSON *page = NULL;

	o.min_gain = 0.6; /* neither part covers so much */
	OK(store_compare(&page, &o, &err));
	ck_assert_double_eq(verdicts(page, "a", "verdicts", "split"), 0);
	ck_assert_double_eq(verdicts(page, "b", "verdicts", "merged"), 0);
	cJSON_Delete(page);
	o.min_gain = 0.1;
	o.min_common = 100000;
	OK(store_compare(&page, &o, &err));
	ck_assert_double_eq(verdicts(page, "a", "verdicts", "split"), 0);
	cJSON_Delete(page);
	o.min_common = 5;
	o.min_correlation = 0.5; /* one of the parts is like the whole already */
	OK(store_compare(&page, &o, &err));
	ck_assert_double_eq(verdicts(page, "a", "verdicts", "split"), 0);
	cJSON_Delete(page);
	store_close(s);
}
END_TEST

START_TEST(a_source_and_its_copy)
{
	store *s = make("s.db", "a", 0, false), *copy = make("t.db", "a", 0, false);
	store_compare_opts o = options(s, copy);
	cJSON *page = NULL;
	const cJSON *f;

	OK(store_compare(&page, &o, &err));
	for (int i = 0; i < FEATURES; i++) {
		f = feature_of(page, "b", i);
		ck_assert_str_eq(cJSON_GetObjectItem(f, "verdict")->valuestring,
		                 i == 4 ? "unmatched" : "same"); /* 4 never fires */
		if (i != 4)
			ck_assert_double_eq(number(f, "match"), i);
	}
	cJSON_Delete(page);
	store_close(s);
	store_close(copy);
}
END_TEST

/* A single context: chance moves its tokens within it. */
START_TEST(one_context)
{
	store *s = NULL;
	store_compare_opts o;
	cJSON *page = NULL;

	OK(store_open(&s, support_path(folder, "s.db"), STORE_CREATE, &err));
	index_contexts(s, 'a', 0, 1, false);
	index_contexts(s, 'b', 0, 1, false);
	o = options(s, s);
	o.min_common = 1;
	OK(store_compare(&page, &o, &err));
	ck_assert_double_eq(number(cJSON_GetObjectItem(page, "common"), "contexts"), 1);
	ck_assert_double_ge(verdicts(page, "a", "verdicts", "same"), 1);
	ck_assert_double_eq(verdicts(page, "a", "chance_verdicts", "same"), 0);
	cJSON_Delete(page);
	store_close(s);
}
END_TEST

/* ---- With directions ---------------------------------------------------------------------------------------------------- */

enum { D = 12 };
typedef struct planted {
	float rows[2][FEATURES * D];
	uint32_t match[FEATURES], near[2][FEATURES], parts[2][FEATURES * STORE_DIRECTION_PARTS];
	float together[2][FEATURES];
	store_directions view;
} planted;

/* A's feature f looks along axis f; B's along match[f] with this cosine, else along an axis of its own. */
static void plant(planted *p, const uint32_t match[FEATURES], const double cosine[FEATURES])
{
	memset(p, 0, sizeof(*p));
	memset(p->parts, 0xff, sizeof(p->parts));
	for (uint32_t f = 0; f < FEATURES; f++) {
		p->rows[0][f * D + f] = p->rows[1][f * D + FEATURES + f] = 1;
		p->together[0][f] = p->together[1][f] = NAN;
		p->match[f] = match[f];
	}
	for (uint32_t f = 0; f < FEATURES; f++) {
		float *row = p->rows[1] + (size_t)match[f] * D;

		if (match[f] == UINT32_MAX)
			continue;
		row[f] = (float)cosine[f];
		row[FEATURES + match[f]] = (float)sqrt(1 - cosine[f] * cosine[f]);
		p->near[0][f] = match[f];
		p->near[1][match[f]] = f;
	}
	p->view = (store_directions){ .rows = { p->rows[0], p->rows[1] },
		                      .d = D,
		                      .match = p->match,
		                      .near = { p->near[0], p->near[1] },
		                      .n_near = { 1, 1 },
		                      .parts = { p->parts[0], p->parts[1] },
		                      .together = { p->together[0], p->together[1] } };
}

START_TEST(directions_decide_where_given)
{
	const uint32_t match[FEATURES] = { 1, 0, 2, 3, 4, UINT32_MAX };
	const double cosine[FEATURES] = { 0.9, 0.69, 0.5, 0.71, 0.2, 0 };
	store *s = make("s.db", "a", 0, true), *other = make("t.db", "b", 0, true);
	store_compare_opts o = options(s, other);
	planted real, chance;
	cJSON *page = NULL;

	plant(&real, match, cosine);
	plant(&chance, match, (const double[FEATURES]){ 0.2, 0.2, 0.2, 0.2, 0.2, 0 });
	o.directions = &real.view;
	o.chance = &chance.view;
	o.chance_cosine = -1;
	real.rows[0][2 * D + 3] = 0.1f; /* so that part 3 of feature 2 looks its way a little too */
	OK(store_compare(&page, &o, &err));
	check_verdicts(
	        page, "a",
	        (const char *const[]){ "same", "unmatched", "split", "same", "unmatched", "unmatched" });
	ck_assert_double_eq_tol(number(feature_of(page, "b", 0), "cosine"), 0.69, 1e-6);
	ck_assert_double_eq(number(feature_of(page, "a", 1), "jaccard"), 1);
	ck_assert(isnan(number(feature_of(page, "a", 5), "match")));
	ck_assert_double_eq(number(cJSON_GetObjectItem(page, "matched"), "over"), 2);
	ck_assert_double_eq(verdicts(page, "a", "chance_verdicts", "same"), 0);
	ck_assert_double_eq(number(feature_of(page, "a", 5), "nearest_cosine"), 0);
	cJSON_Delete(page);
	o.chance_cosine = 0.3; /* now part 3 looks elsewhere, and one part alone is none */
	OK(store_compare(&page, &o, &err));
	ck_assert_double_eq(verdicts(page, "a", "verdicts", "split"), 0);
	cJSON_Delete(page);
	o.by_firing = true;
	OK(store_compare(&page, &o, &err));
	check_verdicts(
	        page, "a",
	        (const char *const[]){ "same", "same", "split", "unmatched", "unmatched", "unmatched" });
	ck_assert_double_eq_tol(number(feature_of(page, "a", 1), "cosine"), 0.69, 1e-6);
	cJSON_Delete(page);
	store_close(s);
	store_close(other);
}
END_TEST

/* Matched, and near enough, but another feature is nearer to one of the two: not the same. */
START_TEST(same_is_mutual)
{
	const uint32_t match[FEATURES] = { 0, 1, 2, 3, 4, 5 };
	const double cosine[FEATURES] = { 0.8, 0.8, 0.8, 0.8, 0.8, 0.8 };
	store *s = make("s.db", "a", 0, true), *other = make("t.db", "b", 5000, true);
	store_compare_opts o = options(s, other);
	planted real;
	cJSON *page = NULL;

	plant(&real, match, cosine);
	memset(&real.rows[0][1 * D], 0, D * sizeof(float));
	real.rows[0][1 * D + 0] = 0.9f; /* A's 1 turns towards B's 0 */
	real.rows[0][1 * D + FEATURES + 0] = 0.43589f;
	real.rows[1][1 * D + 0] = 0.75f; /* and B's 1 towards both of A's */
	real.rows[1][1 * D + 1] = 0;
	real.near[0][1] = 0;
	real.near[1][0] = 1;
	real.near[1][1] = 0;
	o.directions = o.chance = &real.view;
	OK(store_compare(&page, &o, &err));
	check_verdicts(page, "a",
	               (const char *const[]){ "unmatched", "unmatched", "same", "same", "same", "same" });
	ck_assert_double_eq(number(cJSON_GetObjectItem(page, "matched"), "over"), 5);
	cJSON_Delete(page);
	store_close(s);
	store_close(other);
}
END_TEST

/* No contexts in common: directions alone, also for splits. */
START_TEST(nothing_in_common)
{
	const uint32_t match[FEATURES] = { 0, 1, 2, 3, 4, 5 };
	const double cosine[FEATURES] = { 1, 1, 1, 0.5, 0, 0 };
	store *s = make("s.db", "a", 0, true), *other = make("t.db", "b", 5000, false);
	store_compare_opts o = options(s, other);
	planted real;
	cJSON *page = NULL;
	const cJSON *f;

	ck_assert_int_eq(store_compare(&page, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_null(page);
	ck_assert_str_eq(err.msg,
	                 "'a' and 'b' cannot be compared: there are no decoder directions of one width, "
	                 "and no context has stored firings of both");
	plant(&real, match, cosine);
	real.parts[0][3 * STORE_DIRECTION_PARTS] = 3;
	real.parts[0][3 * STORE_DIRECTION_PARTS + 1] = 5;
	real.together[0][3] = 0.75f;
	real.parts[0][4 * STORE_DIRECTION_PARTS] = 4;
	real.parts[0][4 * STORE_DIRECTION_PARTS + 1] = 5;
	real.together[0][4] = 0.65f; /* too little */
	o.directions = o.chance = &real.view;
	OK(store_compare(&page, &o, &err));
	check_verdicts(page, "a",
	               (const char *const[]){ "same", "same", "same", "split", "unmatched", "unmatched" });
	check_verdicts(page, "b",
	               (const char *const[]){ "same", "same", "same", "merged", "unmatched", "merged" });
	f = feature_of(page, "a", 3);
	ck_assert_str_eq(cJSON_GetObjectItem(f, "by")->valuestring, "direction");
	check_numbers(f, "parts", 2, (const double[]){ 3, 5 });
	ck_assert_double_eq_tol(number(f, "together"), 0.75, 1e-6);
	ck_assert(isnan(number(feature_of(page, "a", 0), "firing_cosine")));
	ck_assert(cJSON_IsNull(cJSON_GetObjectItem(page, "correlation")));
	cJSON_Delete(page);
	o.by_firing = true;
	ck_assert_int_eq(store_compare(&page, &o, &err), ERR_NOTFOUND);
	ck_assert_str_eq(err.msg, "'a' and 'b' cannot be compared by firing: no context has stored firings "
	                          "of both");
	store_close(s);
	store_close(other);
}
END_TEST

START_TEST(pairs_that_were_looked_at)
{
	const uint32_t match[FEATURES] = { 1, 0, 2, 3, 4, UINT32_MAX };
	const double cosine[FEATURES] = { 0.9, 0.69, 0.5, 0.71, 0.2, 0 };
	store *s = make("s.db", "ab", 0, false);
	store_compare_opts o = options(s, s);
	planted real;
	cJSON *page = NULL;
	const cJSON *pair;
	double last = -1;
	int seen = 0;

	plant(&real, match, cosine);
	o.directions = o.chance = &real.view;
	o.pairs = true;
	OK(store_compare(&page, &o, &err));
	cJSON_ArrayForEach(pair, cJSON_GetObjectItem(page, "pairs"))
	{
		double key = number(pair, "a") * FEATURES + number(pair, "b");

		ck_assert_double_gt(key, last); /* in order, none twice */
		last = key;
		if (number(pair, "a") == 0 && number(pair, "b") == 1) { /* a match */
			ck_assert_double_eq_tol(number(pair, "cosine"), 0.9, 1e-6);
			ck_assert_double_eq(number(pair, "jaccard"), 1);
			seen++;
		}
		if (number(pair, "a") == 2 && number(pair, "b") == 3) { /* near by firing only */
			ck_assert_double_eq(number(pair, "cosine"), 0);
			ck_assert_double_gt(number(pair, "correlation"), 0.5);
			seen++;
		}
	}
	ck_assert_int_eq(seen, 2);
	cJSON_Delete(page);
	store_close(s);
}
END_TEST

/* ---- Vectors, and what goes wrong --------------------------------------------------------------------------------------- */

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

START_TEST(bad_vectors)
{
	static const char *const damage[] = {
		"UPDATE vector SET decoder = x'0000007c' WHERE feature = 1",
		"vector 1 of source 'a' is not finite",
		"UPDATE vector SET decoder = x'00' WHERE feature = 2",
		"vector 2 of source 'a' is corrupt",
		"DELETE FROM vector WHERE feature > 1",
		"source 'a' has vectors of 2 of its 6 features",
	};
	float *rows = NULL;

	for (size_t i = 0; i < ARRAY_LEN(damage); i += 2) {
		char name[] = { 's', (char)('0' + i), '.', 'd', 'b', 0 };
		store *s = make(name, "a", 0, true);
		sqlite3 *db = NULL;

		store_close(s);
		ck_assert_int_eq(sqlite3_open(support_path(folder, name), &db), SQLITE_OK);
		ck_assert_int_eq(sqlite3_exec(db, damage[i], NULL, NULL, NULL), SQLITE_OK);
		sqlite3_close(db);
		OK(store_open(&s, support_path(folder, name), STORE_READ, &err));
		ck_assert_int_eq(store_vectors(&rows, s, NULL, &err), ERR_FORMAT);
		ck_assert_ptr_null(rows);
		ck_assert_msg(strstr(err.msg, damage[i + 1]) != NULL, "%s", err.msg);
		store_close(s);
	}
}
END_TEST

/* Each allocation fails once: an error, and nothing is lost. */
START_TEST(out_of_memory)
{
	store *s = make("s.db", "ab", 0, false);
	store_compare_opts o = options(s, s);
	cJSON *page = NULL;

	o.pairs = true;
	for (long n = 0;; n += 1 + n / 50) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = store_compare(&page, &o, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(page);
	}
	cJSON_Delete(page);
	store_close(s);
}
END_TEST

static void cases(Suite *s)
{
	TCase *c = SUPPORT_CASE(s, "compare", finds_planted_relations_by_firing, turned_round,
	                        thresholds_of_a_split, a_source_and_its_copy, one_context,
	                        directions_decide_where_given, same_is_mutual, nothing_in_common,
	                        pairs_that_were_looked_at, vectors_as_stored, bad_vectors, out_of_memory);

	tcase_add_checked_fixture(c, setup, teardown);
}

SUPPORT_MAIN("compare", cases)
