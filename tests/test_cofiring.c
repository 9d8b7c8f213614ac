/* store/cofiring.c: against counting every pair by hand, sparse and dense, in one slice and in many. */
#include "tests/support.h"

#include <math.h>

#include "store/cofiring.h"
#include "tests/support_json.h"

enum { F = 60, CONTEXTS = 20, TOKENS = 30 };

static char folder[FILE_PATH_MAX];
static error err;
#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

/* Whether a feature fires: 0 always, 1 never, 2 and 3 on the same tokens, others on so many of a hundred tokens. */
static bool fires(uint32_t context, uint32_t token, uint32_t f, uint32_t percent)
{
	if (f < 2)
		return f == 0;
	f = f == 3 ? 2 : f;
	return hash64_mix(hash64_mix(context, token), f) % 100 < percent;
}

/* The first token of each context does not count. Context 1 comes twice. */
static void index_contexts(store *s, const char *name, uint32_t percent, uint32_t n_random, bool corpus)
{
	store_index_opts o = store_index_opts_default();
	store_index *ix = NULL;

	o.source = name;
	o.architecture = "topk";
	o.d_in = 1;
	o.n_features = F;
	o.weights_sha256 = o.dump_sha256 = name;
	o.n_random = n_random;
	o.corpus = corpus;
	OK(store_index_begin(&ix, s, &o, &err));
	for (uint32_t i = 0; i <= CONTEXTS; i++) {
		uint32_t tokens[TOKENS], start[TOKENS + 1], feature[TOKENS * F], n = 0,
		                                                                 c = i == CONTEXTS ? 1 : i;
		float value[TOKENS * F];
		uint8_t counted[TOKENS];

		for (uint32_t t = 0; t < TOKENS; t++) {
			tokens[t] = 100 * c + t;
			counted[t] = t > 0;
			start[t] = n;
			for (uint32_t f = 0; f < F && t > 0; f++)
				if (fires(c, t, f, percent)) {
					feature[n] = f;
					value[n++] = 1 + (float)f;
				}
		}
		start[TOKENS] = n;
		OK(store_index_context(
		        ix, &(store_context){ tokens, TOKENS, c, c, counted, start, feature, value }, &err));
	}
	OK(store_index_finish(ix, NULL, NULL, &err));
}

typedef struct pairs {
	uint32_t both[F][F]; /* both[f][f]: tokens on which f fires */
} pairs;

static void count_by_hand(pairs *p, uint32_t percent)
{
	memset(p, 0, sizeof(*p));
	for (uint32_t c = 0; c < CONTEXTS; c++)
		for (uint32_t t = 1; t < TOKENS; t++)
			for (uint32_t i = 0; i < F; i++)
				for (uint32_t j = 0; j < F; j++)
					p->both[i][j] += fires(c, t, i, percent) && fires(c, t, j, percent);
}

/* Whether a stands before b in feature f's list, in whole numbers. */
static bool is_before(const pairs *p, uint32_t f, uint32_t a, uint32_t b)
{
	uint64_t x = (uint64_t)p->both[f][a] * p->both[f][a] * p->both[b][b],
	         y = (uint64_t)p->both[f][b] * p->both[f][b] * p->both[a][a];

	return x != y ? x > y : a < b;
}

static void check_all(const cofiring *found, const pairs *p)
{
	ck_assert_uint_eq(found->n_features, F);
	for (uint32_t f = 0; f < F; f++) {
		const cofiring_partner *best = found->best + (size_t)f * COFIRING_KEPT;
		uint32_t n = 0, others = 0;

		ck_assert_uint_eq(found->fires[f], p->both[f][f]);
		for (uint32_t i = 0; i < F; i++) {
			uint32_t place = 0;

			if (i == f || !p->both[f][i])
				continue;
			others++;
			for (uint32_t j = 0; j < F; j++)
				place += j != f && p->both[f][j] && is_before(p, f, j, i);
			if (place >= COFIRING_KEPT)
				continue;
			ck_assert_uint_eq(best[place].feature, i);
			ck_assert_uint_eq(best[place].common, p->both[f][i]);
			n++;
		}
		ck_assert_uint_eq(found->n[f], n);
		ck_assert_uint_eq(n, others < COFIRING_KEPT ? others : COFIRING_KEPT);
	}
}

static void check_text(store *s, const pairs *p, uint32_t f)
{
	cJSON *page = NULL;
	const cJSON *item, *last = NULL;

	OK(store_show(&page, s, NULL, f, 0, STORE_INTERVALS_STORED, &err));
	cJSON_ArrayForEach(item, cJSON_GetObjectItem(page, "cofiring"))
	{
		uint32_t other = (uint32_t)json_number(item, "feature");

		ck_assert_double_eq(json_number(item, "common"), p->both[f][other]);
		ck_assert_double_eq_tol(
		        json_number(item, "cosine"),
		        p->both[f][other] / sqrt((double)p->both[f][f] * p->both[other][other]), 1e-5);
		last = item;
	}
	ck_assert(f == 1 ? cJSON_IsArray(cJSON_GetObjectItem(page, "cofiring")) && !last : last != NULL);
	cJSON_Delete(page);
}

/* 2 % of features a token is sparse, 30 % dense. */
START_TEST(all_pairs_as_by_hand)
{
	static pairs p;
	const uint32_t percent = _i ? 30 : 2;
	store *s = NULL;
	cofiring found;

	OK(store_open(&s, support_path(folder, "a.db"), STORE_CREATE, &err));
	index_contexts(s, "a", percent, 100, false);
	count_by_hand(&p, percent);
	for (size_t memory = 600; memory <= COFIRING_MEMORY; memory *= 30) {
		OK(cofiring_find(&found, s, 1, F, memory, &err));
		check_all(&found, &p);
		cofiring_clear(&found);
	}
	for (uint32_t f = 0; f < 6; f++)
		check_text(s, &p, f);
	store_close(s);
}
END_TEST

/* With the whole corpus stored, still only the random contexts are looked at. */
START_TEST(corpus_changes_nothing)
{
	sqlite3_stmt *st = NULL;
	store *s = NULL;
	bool row = true;
	uint32_t n = 0;

	OK(store_open(&s, support_path(folder, "b.db"), STORE_CREATE, &err));
	index_contexts(s, "random", 10, 7, false);
	index_contexts(s, "corpus", 10, 7, true);
	OK(store_prepare(&st, s,
	                 "SELECT a.cofiring, b.cofiring FROM feature_detail a JOIN feature_detail b"
	                 " ON b.feature = a.feature AND b.source_id = 2 WHERE a.source_id = 1",
	                 &err));
	for (OK(store_step(s, st, &row, &err)); row; n++) {
		ck_assert_str_eq((const char *)sqlite3_column_text(st, 0),
		                 (const char *)sqlite3_column_text(st, 1));
		OK(store_step(s, st, &row, &err));
	}
	ck_assert_uint_eq(n, F);
	sqlite3_finalize(st);
	store_close(s);
}
END_TEST

/* feature.behaviour: the same for features that fire on the same tokens, in every source of the dump; NULL where one fires on none. */
START_TEST(behaviours_are_where_they_fire)
{
	pairs p;
	store *s = NULL;
	int64_t n, same = 0;

	count_by_hand(&p, 30);
	OK(store_open(&s, support_path(folder, "a.db"), STORE_CREATE, &err));
	index_contexts(s, "a", 30, CONTEXTS, false);
	index_contexts(s, "b", 30, CONTEXTS, true);
	for (uint32_t i = 0; i < F; i++)
		for (uint32_t j = 0; j < F; j++)
			same += p.both[i][i] > 0 && p.both[i][i] == p.both[i][j] &&
			        p.both[i][j] == p.both[j][j];
	ck_assert_int_gt(same, F - 1);
	OK(store_int(&n, s,
	             "SELECT count(*) FROM feature x JOIN feature y ON x.behaviour = y.behaviour WHERE "
	             "x.source_id = 1 AND y.source_id = 1",
	             -1, &err));
	ck_assert_int_eq(n, same);
	OK(store_int(&n, s,
	             "SELECT count(*) FROM feature x JOIN feature y ON x.behaviour = y.behaviour WHERE "
	             "x.source_id = 1 AND y.source_id = 2",
	             -1, &err));
	ck_assert_int_eq(n, same);
	OK(store_int(&n, s, "SELECT count(*) FROM feature WHERE behaviour IS NULL AND feature = 1", -1,
	             &err));
	ck_assert_int_eq(n, 2);
	OK(store_int(&n, s, "SELECT count(*) FROM feature WHERE (behaviour IS NULL) <> (n_fires = 0)", -1,
	             &err));
	ck_assert_int_eq(n, 0);
	store_close(s);
}
END_TEST

START_TEST(nothing_stored_nothing_fires_together)
{
	store *s = NULL;
	cofiring found;

	OK(store_open(&s, support_path(folder, "c.db"), STORE_CREATE, &err));
	index_contexts(s, "none", 10, 0, false);
	OK(cofiring_find(&found, s, 1, F, COFIRING_MEMORY, &err));
	for (uint32_t f = 0; f < F; f++)
		ck_assert_uint_eq(found.n[f], 0);
	cofiring_clear(&found);
	store_close(s);
}
END_TEST

START_TEST(no_memory_no_result)
{
	store *s = NULL;
	long n = 0;

	OK(store_open(&s, support_path(folder, "d.db"), STORE_CREATE, &err));
	index_contexts(s, "d", 10, 100, false);
	for (;; n++) {
		cofiring found;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = cofiring_find(&found, s, 1, F, COFIRING_MEMORY, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			cofiring_clear(&found);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_uint_eq(found.n_features, 0);
		ck_assert_ptr_null(found.best);
	}
	ck_assert_int_gt(n, 8);
	store_close(s);
}
END_TEST

static void setup(void)
{
	support_mkdir(folder);
}

static void teardown(void)
{
	support_rmdir(folder);
}

static void cases(Suite *s)
{
	TCase *c = SUPPORT_CASE(s, "cofiring", corpus_changes_nothing, behaviours_are_where_they_fire,
	                        nothing_stored_nothing_fires_together, no_memory_no_result),
	      *pairs_case = tcase_create("pairs");

	tcase_add_loop_test(pairs_case, all_pairs_as_by_hand, 0, 2);
	suite_add_tcase(s, pairs_case);
	tcase_add_checked_fixture(pairs_case, setup, teardown);
	tcase_add_checked_fixture(c, setup, teardown);
}
SUPPORT_MAIN("cofiring", cases)
