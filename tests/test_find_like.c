/* store/find_like.c, context_set.c and rank_sum.c against their definitions, pair by pair. */
#include <math.h>

#include "store/find_scores.h"
#include "store/rank_sum.h"
#include "tests/support_index.h"
#include "tests/support_json.h"

/* ---- Ranks ----------------------------------------------------------------------------------------------------------------- */

/* Chance that one of x is higher than one of y, and its interval by DeLong, over all pairs. */
static rank_sum rank_pairs(const float *x, size_t m, const float *y, size_t n)
{
	double mean = 0, first = 0, second = 0, half;

	for (size_t i = 0; i < m; i++)
		for (size_t j = 0; j < n; j++)
			mean += (x[i] > y[j] ? 1 : x[i] == y[j] ? 0.5 : 0) / (double)(m * n);
	for (size_t i = 0; i < m; i++) {
		double wins = 0;

		for (size_t j = 0; j < n; j++)
			wins += (x[i] > y[j] ? 1 : x[i] == y[j] ? 0.5 : 0) / (double)n;
		first += (wins - mean) * (wins - mean) / ((double)m - 1);
	}
	for (size_t j = 0; j < n; j++) {
		double wins = 0;

		for (size_t i = 0; i < m; i++)
			wins += (x[i] > y[j] ? 1 : x[i] == y[j] ? 0.5 : 0) / (double)m;
		second += (wins - mean) * (wins - mean) / ((double)n - 1);
	}
	half = 1.959963984540054 * sqrt(first / (double)m + second / (double)n);
	if (mean == 0 || mean > 1 - 1e-12) {
		double far = pow(0.025, 1 / (double)(m < n ? m : n));

		return (rank_sum){ mean, mean > 0 ? far : 0, mean > 0 ? 1 : 1 - far, NAN };
	}
	return (rank_sum){ mean, fmax(0, mean - half), fmin(1, mean + half), NAN };
}

static rank_sum rank_values(const float *x, size_t m, const float *y, size_t n)
{
	float values[64];
	size_t k = 0;

	for (size_t i = 0; i < m; i++)
		if (x[i] > 0)
			values[k++] = x[i];
	for (size_t j = 0; j < n; j++)
		if (y[j] > 0)
			values[k++] = -y[j];
	return rank_sum_of(values, k, (double)m, (double)n);
}

START_TEST(ranks_are_those_of_all_pairs)
{
	for (uint64_t round = 0; round < 500; round++) {
		float x[20], y[30];
		size_t m = 2 + hash64_mix(1, round) % 18, n = 2 + hash64_mix(2, round) % 28;
		rank_sum got, want;

		for (size_t i = 0; i < m; i++)
			x[i] = (float)(hash64_mix(round, i) % 6) / 2;
		for (size_t j = 0; j < n; j++)
			y[j] = (float)(hash64_mix(round, 100 + j) % (3 + round % 4)) / 2;
		got = rank_values(x, m, y, n);
		want = rank_pairs(x, m, y, n);
		ck_assert_double_eq_tol(got.auroc, want.auroc, 1e-12);
		ck_assert_double_eq_tol(got.low, want.low, 1e-9);
		ck_assert_double_eq_tol(got.high, want.high, 1e-9);
	}
}
END_TEST

/* scipy.stats.mannwhitneyu(x, y, method='asymptotic', use_continuity=False) */
START_TEST(p_is_that_of_scipy)
{
	const float x[] = { 0, 0, 1, 2, 2, 3.5f }, y[] = { 0, 0, 0, 1, 1, 2, 0.5f };
	const float a[] = { 0, 1, 2, 3, 4 }, b[] = { 5, 6, 7, 8.5f, 9, 0 }, zeros[4] = { 0 };
	rank_sum r = rank_values(x, 6, y, 7);

	ck_assert_double_eq_tol(r.auroc, 28.0 / 42, 1e-15);
	ck_assert_double_eq_tol(r.p, 0.2979530616081678, 1e-14);
	r = rank_values(a, 5, b, 6);
	ck_assert_double_eq_tol(r.auroc, 4.5 / 30, 1e-15);
	ck_assert_double_eq_tol(r.p, 0.05468120473251771, 1e-14);
	r = rank_values(zeros, 4, zeros, 3);
	ck_assert_double_eq(r.auroc, 0.5);
	ck_assert_double_eq(r.p, 1);
	r = rank_values(a + 4, 1, b, 6);
	ck_assert(isnan(r.low) && isnan(r.high) && r.p < 1);
}
END_TEST

/* One of thirty that alone is over 0: the approximation says 7e-8, but one in thirty choices would do it. */
START_TEST(p_of_few_is_no_less_than_their_choice)
{
	const float one[] = { 1 }, three[] = { 3, 1, 2 }, zeros[29] = { 0 };

	ck_assert_double_eq_tol(rank_values(one, 1, zeros, 29).p, 1.0 / 30, 1e-14);
	ck_assert_double_eq_tol(rank_values(zeros, 29, one, 1).p, 1.0 / 30, 1e-14);
	ck_assert_double_eq_tol(rank_values(three, 3, zeros, 27).p, 1.0 / 4060, 1e-14);
}
END_TEST

/* Sets that do not overlap: not "AUROC 1, from 1 to 1", however few there are. */
START_TEST(intervals_of_what_does_not_overlap_are_wide)
{
	const float high[] = { 3, 4, 5, 6 }, low[8] = { 0, 0, 1, 1, 1, 2, 2, 0 };
	rank_sum r = rank_values(high, 2, low, 8);

	ck_assert_double_eq(r.auroc, 1);
	ck_assert_double_eq(r.high, 1);
	ck_assert_double_eq_tol(r.low * r.low, 0.025, 1e-15);
	r = rank_values(high, 4, low, 8);
	ck_assert_double_eq_tol(pow(r.low, 4), 0.025, 1e-15);
	r = rank_values(low, 8, high, 4);
	ck_assert_double_eq(r.low, 0);
	ck_assert_double_eq_tol(pow(1 - r.high, 4), 0.025, 1e-15);
	r = rank_values(low + 2, 3, low + 2, 2);
	ck_assert(r.auroc == 0.5 && isnan(r.low) && isnan(r.high));
}
END_TEST

/* R: p.adjust(p, "BH") */
START_TEST(q_is_that_of_r)
{
	double p[] = { 0.01, 0.04, 0.03, 0.005, 0.5 };
	const double q[] = { 0.025, 0.05, 0.05, 0.025, 0.5 };
	size_t order[5];

	rank_sum_adjust(p, order, 5);
	for (size_t i = 0; i < 5; i++)
		ck_assert_double_eq_tol(p[i], q[i], 1e-15);
}
END_TEST

/* More values than are sorted by comparing: AUROC as by ranks, and the best of all thresholds. */
START_TEST(scores_agree_with_ranks)
{
	enum { N = 9000, LEVELS = 700, MARKED = 5000, TOKENS = 12000 };
	float *values = calloc(N, sizeof(*values)), *sorted = calloc(N, sizeof(*sorted));
	find_level *levels = calloc(N, sizeof(*levels));
	double best = 0, at = 0;
	find_score score;

	ck_assert(values && sorted && levels);
	for (size_t i = 0; i < N; i++) {
		uint64_t bits = hash64_mix(7, i);
		float value = (float)(1 + bits % LEVELS + (i < N / 2 ? bits % 90 : 0)) / 64;

		values[i] = i < N / 2 ? value : -value;
	}
	for (int l = 1; l <= LEVELS + 90; l++) {
		double hits = 0, fires = 0, f1;

		for (size_t i = 0; i < N; i++) {
			fires += fabsf(values[i]) * 64 >= (float)l;
			hits += values[i] * 64 >= (float)l;
		}
		f1 = 2 * hits / (fires + MARKED);
		best = f1 >= best ? f1 : best;
		at = f1 >= best ? l : at;
	}
	memcpy(sorted, values, N * sizeof(*values));
	score = find_score_of(values, N, MARKED, TOKENS, levels);
	ck_assert_double_eq_tol(score.f1, best, 1e-15);
	ck_assert_double_eq(score.threshold * 64, at);
	ck_assert_double_eq_tol(score.auroc, rank_sum_of(sorted, N, MARKED, TOKENS - MARKED).auroc, 1e-12);
	free(values);
	free(sorted);
	free(levels);
}
END_TEST

/* ---- find --like --------------------------------------------------------------------------------------------------------- */

enum { CONTEXTS = 30, MOST = 64 };

static store *s;
static store_source all;

static void setup(void)
{
	store_index_opts o = corpus_options("random");

	corpus_setup();
	s = corpus_open();
	o.n_random = 16;
	OK(corpus_index(s, &o, CONTEXTS, 0));
	o = corpus_options("corpus");
	o.corpus = true;
	OK(corpus_index(s, &o, CONTEXTS, 0));
	OK(store_source_get(&all, s, "corpus", &corpus_err));
}

static void teardown(void)
{
	store_close(s);
	support_rmdir(corpus_folder);
}

/* Maximum and mean of each feature in each context. */
struct values {
	int64_t id[MOST];
	float max[MOST][FEATURES];
	double mean[MOST][FEATURES];
	size_t n;
};

static void read_values(struct values *v)
{
	firing_scan scan;
	bool more;

	*v = (struct values){ 0 };
	OK(firing_scan_begin(&scan, s, all.id, &corpus_err));
	for (;; v->n++) {
		uint32_t counted = 0;

		OK(firing_scan_next(&scan, &more, &corpus_err));
		if (!more)
			break;
		v->id[v->n] = scan.context.id;
		for (uint32_t i = 0; i < scan.context.n_tokens; i++) {
			counted += bit_is_set(scan.counted, i);
			for (uint32_t j = scan.codes.start[i]; j < scan.codes.start[i + 1]; j++) {
				v->max[v->n][scan.codes.feature[j]] =
				        fmaxf(v->max[v->n][scan.codes.feature[j]], scan.codes.value[j]);
				v->mean[v->n][scan.codes.feature[j]] += (double)scan.codes.value[j];
			}
		}
		for (uint32_t f = 0; f < FEATURES; f++)
			v->mean[v->n][f] /= counted;
	}
	firing_scan_end(&scan);
}

/* Lines with the numbers of contexts that are `first` modulo 3. */
static void number_lines(const struct values *v, size_t first, char text_of[MOST][24],
                         const char *lines[MOST], size_t *n)
{
	*n = 0;
	for (size_t i = first; i < v->n; i += 3) {
		snprintf(text_of[*n], 24, " %lld ", (long long)v->id[i]);
		lines[*n] = text_of[*n];
		++*n;
	}
}

static void check_side(const cJSON *got, const struct values *v, uint32_t f, size_t first, size_t step)
{
	double share = 0, max = 0, mean_max = 0, mean = 0, n = 0;

	for (size_t i = 0; i < v->n; i++) {
		if (step == 3 ? i % 3 != first : i % 3 == first)
			continue;
		n++;
		share += v->max[i][f] > 0;
		max = fmax(max, (double)v->max[i][f]);
		mean_max += (double)v->max[i][f];
		mean += v->mean[i][f];
	}
	ck_assert_double_eq_tol(json_number(got, "share"), share / n, 1e-12);
	ck_assert_double_eq(json_number(got, "max"), max);
	ck_assert_double_eq_tol(json_number(got, "mean_max"), mean_max / n, 1e-12);
	ck_assert_double_eq_tol(json_number(got, "mean"), mean / n, 1e-12);
}

static rank_sum rank_contexts(const struct values *v, uint32_t f, bool rest)
{
	float x[MOST], y[MOST];
	size_t m = 0, n = 0;

	for (size_t i = 0; i < v->n; i++) {
		if (i % 3 == 0)
			x[m++] = v->max[i][f];
		else if (i % 3 == 1 || rest)
			y[n++] = v->max[i][f];
	}
	return rank_values(x, m, y, n);
}

/* Loop: bit 0: against the rest; bit 1: little memory; bit 2: by AUROC. */
START_TEST(like_is_its_definition)
{
	static struct values v;
	char first[MOST][24], second[MOST][24];
	const char *like[MOST], *unlike[MOST];
	store_like_opts o = { .source = "corpus", .like = like, .limit = 1000, .memory = _i & 2 ? 100 : 0 };
	bool rest = _i & 1;
	cJSON *page = NULL;
	const cJSON *it;
	double last = 2;
	int tests = 0;

	read_values(&v);
	number_lines(&v, 0, first, like, &o.n_like);
	number_lines(&v, 1, second, unlike, &o.n_unlike);
	o.unlike = rest ? NULL : unlike;
	o.sort = _i & 4 ? STORE_LIKE_AUROC : STORE_LIKE_SEPARATION;
	OK(store_find_like(&page, s, &o, &corpus_err));
	ck_assert_double_eq(json_number(json_member(page, "like"), "contexts"), (double)o.n_like);
	ck_assert_double_eq(json_number(json_member(page, "unlike"), "contexts"),
	                    (double)(rest ? v.n - o.n_like : o.n_unlike));
	cJSON_ArrayForEach(it, json_member(page, "features"))
	{
		uint32_t f = (uint32_t)json_number(it, "feature");
		rank_sum want = rank_contexts(&v, f, rest);
		double key = _i & 4 ? want.auroc : fabs(want.auroc - 0.5);

		ck_assert_double_eq_tol(json_number(it, "auroc"), want.auroc, 1e-14);
		ck_assert_double_eq_tol(json_number(it, "auroc_low"), want.low, 1e-14);
		ck_assert_double_eq_tol(json_number(it, "auroc_high"), want.high, 1e-14);
		ck_assert_double_eq_tol(json_number(it, "p"), want.p, 1e-14);
		ck_assert_double_ge(json_number(it, "q"), want.p);
		ck_assert_double_le(key, last + 1e-14);
		last = key;
		check_side(json_member(it, "like"), &v, f, 0, 3);
		check_side(json_member(it, "unlike"), &v, f, rest ? 0 : 1, rest ? 1 : 3);
		tests++;
	}
	ck_assert_double_eq(json_number(page, "tests"), tests);
	ck_assert_int_ge(tests, FEATURES - 3);
	cJSON_Delete(page);
}
END_TEST

/* Words select contexts; what both sides select is left out, and so is what has no stored firings. */
START_TEST(words_select_contexts)
{
	const char *like[] = { "cat", "", "nowhere" }, *unlike[] = { "dog NOT ran" };
	store_like_opts o = {
		.source = "random", .like = like, .n_like = 3, .unlike = unlike, .n_unlike = 1
	};
	cJSON *page = NULL;
	int64_t first = corpus_number(s, "SELECT count(*) FROM context_fts WHERE context_fts MATCH 'cat'"),
	        second = corpus_number(
	                s, "SELECT count(*) FROM context_fts WHERE context_fts MATCH 'dog NOT ran'"),
	        both = corpus_number(
	                s,
	                "SELECT count(*) FROM context_fts WHERE context_fts MATCH 'cat AND (dog NOT ran)'");
	double in_both, stored;

	OK(store_find_like(&page, s, &o, &corpus_err));
	in_both = json_number(page, "in_both");
	ck_assert_double_le(in_both, (double)both);
	ck_assert_double_eq(json_number(json_member(page, "like"), "empty_lines"), 1);
	stored = json_number(json_member(page, "like"), "contexts") + in_both;
	ck_assert_double_eq(stored + json_number(json_member(page, "like"), "left_out"), (double)first);
	stored = json_number(json_member(page, "unlike"), "contexts") + in_both;
	ck_assert_double_eq(stored + json_number(json_member(page, "unlike"), "left_out"), (double)second);
	cJSON_Delete(page);
}
END_TEST

static const struct {
	const char *like, *unlike, *message;
	int code;
} refused[] = {
	{ "cat AND", NULL,
	  "like, line 2: words 'cat AND': character 8: the query ends where a word should be", ERR_FORMAT },
	{ "cat AND", "dog", "like, line 2: words", ERR_FORMAT },
	{ "cat", "dog AND", "there, line 2: words 'dog AND': character 8", ERR_FORMAT },
	{ "12", NULL, "like, line 2: 'corpus' has no context 12", ERR_NOTFOUND },
	{ "99999999999999999999", NULL, "like, line 2: 99999999999999999999 is not the number of a context",
	  ERR_FORMAT },
	{ "nowhere", NULL, "no context is like that", ERR_NOTFOUND },
	{ "the OR s OR cat OR dog OR ran OR is OR it OR a*  OR b* OR c* OR d* OR e* OR f* OR g* OR h* OR "
	  "\"(\"",
	  NULL, "every context with stored firings is like that", ERR_NOTFOUND },
	{ "cat", "nowhere", "no context is in the second set", ERR_NOTFOUND },
	{ "cat OR dog OR ran OR is OR the", "cat",
	  "no context of the second set alone has stored firings (0 have none,", ERR_NOTFOUND },
};

START_TEST(like_refuses)
{
	const char *like[] = { "", refused[_i].like }, *unlike[] = { " ", refused[_i].unlike };
	store_like_opts o = {
		.source = "corpus", .like = like, .n_like = 2, .n_unlike = 2, .unlike_name = "there"
	};
	cJSON *page = NULL;

	o.unlike = refused[_i].unlike ? unlike : NULL;
	ck_assert_int_eq(store_find_like(&page, s, &o, &corpus_err), refused[_i].code);
	ck_assert_msg(strncmp(corpus_err.msg, refused[_i].message, strlen(refused[_i].message)) == 0, "%s",
	              corpus_err.msg);
	ck_assert_ptr_null(page);
}
END_TEST

/* Each allocation fails in turn: the query says so or does without, and nothing leaks. */
START_TEST(like_survives_failing_allocations)
{
	const char *like[] = { "cat" };
	store_like_opts o = { .source = "random", .like = like, .n_like = 1, .limit = 3 };

	for (long nth = 0;; nth++) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = store_find_like(&page, s, &o, &corpus_err);
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
	TCase *tc = tcase_create("find_like");

	SUPPORT_CASE(suite, "rank_sum", ranks_are_those_of_all_pairs, p_is_that_of_scipy,
	             p_of_few_is_no_less_than_their_choice, intervals_of_what_does_not_overlap_are_wide,
	             q_is_that_of_r, scores_agree_with_ranks);
	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, like_is_its_definition, 0, 8);
	tcase_add_test(tc, words_select_contexts);
	tcase_add_loop_test(tc, like_refuses, 0, ARRAY_LEN(refused));
	tcase_add_test(tc, like_survives_failing_allocations);
	suite_add_tcase(suite, tc);
}

SUPPORT_MAIN("find_like", cases)
