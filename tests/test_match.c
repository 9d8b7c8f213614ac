/* Assignments by cosine: against all permutations, planted ones, rectangles, ties. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>

#include "sae/sae.h"

static float normal(uint64_t seed, uint64_t i)
{
	double u = hash64_unit(hash64_mix(seed, 2 * i)), v = hash64_unit(hash64_mix(seed, 2 * i + 1));

	return (float)(sqrt(-2 * log(1 - u)) * cos(2 * 3.14159265358979 * v));
}

/* Random unit rows (n, d). */
static float *random_rows(uint32_t n, uint32_t d, uint64_t seed)
{
	float *x = malloc((size_t)n * d * sizeof(*x)), *unit;

	for (size_t i = 0; i < (size_t)n * d; i++)
		x[i] = normal(seed, i);
	unit = sae_unit_rows(x, n, d);
	free(x);
	return unit;
}

static bool absolute; /* cosines count without their sign */

static double cosine(const float *a, const float *b, uint32_t d)
{
	double sum = 0;

	for (uint32_t i = 0; i < d; i++)
		sum += (double)a[i] * b[i];
	return absolute ? fabs(sum) : sum;
}

static double total(const uint32_t *b_of_a, const float *a, uint32_t n_a, const float *b, uint32_t d)
{
	double sum = 0;

	for (uint32_t i = 0; i < n_a; i++)
		if (b_of_a[i] != SAE_MATCH_NONE)
			sum += cosine(a + (size_t)i * d, b + (size_t)b_of_a[i] * d, d);
	return sum;
}

/* The best sum when rows i.. of a take free rows of b; each takes one, or where a has more, `spare` may go without. */
static double best_from(uint32_t i, unsigned used, uint32_t spare, const float *a, uint32_t n_a,
                        const float *b, uint32_t n_b, uint32_t d)
{
	double best = -INFINITY;

	if (i == n_a)
		return 0;
	if (spare > 0)
		best = best_from(i + 1, used, spare - 1, a, n_a, b, n_b, d);
	for (uint32_t j = 0; j < n_b; j++)
		if (!(used >> j & 1))
			best = fmax(best, cosine(a + i * d, b + j * d, d) +
			                          best_from(i + 1, used | 1u << j, spare, a, n_a, b, n_b, d));
	return best;
}

static void check_valid(const uint32_t *b_of_a, uint32_t n_a, uint32_t n_b)
{
	uint32_t matched = 0;
	char *taken = calloc(n_b, 1);

	for (uint32_t i = 0; i < n_a; i++) {
		if (b_of_a[i] == SAE_MATCH_NONE)
			continue;
		ck_assert_uint_lt(b_of_a[i], n_b);
		ck_assert(!taken[b_of_a[i]]);
		taken[b_of_a[i]] = 1;
		matched++;
	}
	ck_assert_uint_eq(matched, n_a < n_b ? n_a : n_b);
	free(taken);
}

START_TEST(agrees_with_all_permutations)
{
	pool *p = NULL;
	uint32_t b_of_a[7];

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (uint64_t seed = 0; seed < 196; seed++) {
		uint32_t n_a = 1 + (uint32_t)(seed % 7), n_b = 1 + (uint32_t)(seed / 7 % 7), d = 3;
		float *a = random_rows(n_a, d, seed), *b = random_rows(n_b, d, seed + 1000);

		if (seed % 4 == 0 && n_a > 1) /* a tie */
			memcpy(a + d, a, d * sizeof(*a));
		absolute = seed >= 98;
		ck_assert_int_eq((absolute ? sae_match_assign_unsigned : sae_match_assign)(b_of_a, a, n_a, b,
		                                                                           n_b, d, p, NULL),
		                 0);
		check_valid(b_of_a, n_a, n_b);
		ck_assert_double_eq_tol(total(b_of_a, a, n_a, b, d),
		                        best_from(0, 0, n_a > n_b ? n_a - n_b : 0, a, n_a, b, n_b, d), 1e-5);
		free(a);
		free(b);
	}
	pool_free(p);
}
END_TEST

/* b is a in another order with noise of norm `noise` added: facts methods.md (e). */
static double planted(uint32_t n, uint32_t d, double noise, uint32_t *right, pool *p)
{
	float *a = random_rows(n, d, 1), *e = random_rows(n, d, 2), *b = malloc((size_t)n * d * sizeof(*b)),
	      *unit;
	uint32_t *b_of_a = malloc(n * sizeof(*b_of_a));
	double mean;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < d; j++)
			b[(size_t)((i * 7 + 3) % n) * d + j] =
			        a[(size_t)i * d + j] + (float)noise * e[(size_t)i * d + j];
	unit = sae_unit_rows(b, n, d);
	ck_assert_int_eq(sae_match_assign(b_of_a, a, n, unit, n, d, p, NULL), 0);
	*right = 0;
	for (uint32_t i = 0; i < n; i++)
		*right += b_of_a[i] == (i * 7 + 3) % n;
	mean = total(b_of_a, a, n, unit, d) / n;
	free(a);
	free(b);
	free(e);
	free(unit);
	free(b_of_a);
	return mean;
}

START_TEST(finds_a_planted_permutation)
{
	static const double noise[] = { 0.3, 0.7, 1.0 }, want[] = { 0.958, 0.819, 0.707 };
	uint32_t right;
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_double_eq_tol(planted(512, 576, noise[i], &right, p), want[i], 0.005);
		ck_assert_uint_eq(right, 512);
	}
	pool_free(p);
}
END_TEST

START_TEST(ties_and_threads_do_not_matter)
{
	enum { N = 300, D = 8 };
	float *a = random_rows(N, D, 5), *b = random_rows(N + 40, D, 6);
	uint32_t one[N], three[N];
	pool *p = NULL;

	for (uint32_t i = 0; i < N; i++) /* groups of equal rows on both sides */
		memcpy(a + (size_t)i * D, a + (size_t)(i % 20) * D, D * sizeof(*a));
	for (uint32_t i = 0; i < N + 40; i++)
		memcpy(b + (size_t)i * D, b + (size_t)(i % 17) * D, D * sizeof(*b));
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_match_assign(one, a, N, b, N + 40, D, p, NULL), 0);
	pool_free(p);
	ck_assert_int_eq(pool_new(&p, 3, NULL), 0);
	ck_assert_int_eq(sae_match_assign(three, a, N, b, N + 40, D, p, NULL), 0);
	pool_free(p);
	check_valid(one, N, N + 40);
	ck_assert_mem_eq(one, three, sizeof(one));
	free(a);
	free(b);
}
END_TEST

START_TEST(nearest_of_another_set)
{
	enum { N = 200, M = 1500, D = 16, NEAREST = 5 };
	float *a = random_rows(N, D, 8), *b = random_rows(M, D, 9);
	sae_ranked r;
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_rank_cosines(&r, a, N, b, M, D, NEAREST, false, p, NULL), 0);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t over = 0;
		float last = r.values[i * NEAREST + NEAREST - 1];

		for (uint32_t j = 0; j < M; j++)
			over += cosine(a + i * D, b + j * D, D) > last + 1e-6;
		ck_assert_uint_le(over, NEAREST - 1);
		for (uint32_t k = 0; k < NEAREST; k++)
			ck_assert_double_eq_tol(r.values[i * NEAREST + k],
			                        cosine(a + i * D, b + (size_t)r.ids[i * NEAREST + k] * D, D),
			                        1e-5);
	}
	sae_ranked_free(&r);
	pool_free(p);
	free(a);
	free(b);
}
END_TEST

/* a: N - 2 rows of their own, a sum of two rows of b, one row of the next two of b's halves. b: the same rows in another
 * order, the parts. */
START_TEST(finds_sums_that_stand_for_one)
{
	enum { N = 40, D = 64 };
	float *own = random_rows(N, D, 11), *e = random_rows(4, D, 12), a[N * D], b[N * D], *ua, *ub;
	sae_match m;
	pool *p = NULL;

	memcpy(a, own, sizeof(a));
	for (uint32_t i = 0; i < N; i++)
		memcpy(b + (size_t)((i * 7 + 3) % N) * D, own + (size_t)i * D, D * sizeof(*b));
	for (uint32_t i = 0; i < D; i++) {
		a[0 * D + i] = e[i] + 0.8f * e[D + i]; /* in b: rows 3 and 10 */
		b[3 * D + i] = e[i];
		b[10 * D + i] = e[D + i];
		a[2 * D + i] = e[2 * D + i]; /* in b: row 17, of which row 24 is a copy */
		a[3 * D + i] = e[3 * D + i];
		b[17 * D + i] = e[2 * D + i] + 0.8f * e[3 * D + i];
	}
	ua = sae_unit_rows(a, N, D);
	ub = sae_unit_rows(b, N, D);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_match_rows(&m, ua, N, ub, N, D, false, p, NULL), 0);
	ck_assert_uint_eq(m.parts[0][0], 3);
	ck_assert_uint_eq(m.parts[0][1], 10);
	ck_assert_uint_eq(m.parts[0][2], SAE_MATCH_NONE);
	ck_assert_float_eq_tol(m.together[0][0], 1, 1e-5f);
	ck_assert_uint_eq(m.parts[1][17 * SAE_MATCH_NEAR], 2);
	ck_assert_uint_eq(m.parts[1][17 * SAE_MATCH_NEAR + 1], 3);
	ck_assert_float_eq_tol(m.together[1][17], 1, 1e-5f);
	for (uint32_t i = 4; i < N; i++) { /* a row that is there needs no sum */
		ck_assert_uint_eq(m.of_a[i], (i * 7 + 3) % N);
		ck_assert(isnan(m.together[0][i]));
		ck_assert_uint_eq(m.parts[0][i * SAE_MATCH_NEAR], SAE_MATCH_NONE);
	}
	sae_match_free(&m);
	pool_free(p);
	free(own);
	free(e);
	free(ua);
	free(ub);
}
END_TEST

/* The same rows, copies among them: all are matched with one that equals them, by either method. */
START_TEST(the_same_rows_match)
{
	enum { N = 60, D = 24 };
	float *a = random_rows(N, D, 21);
	sae_match m;
	pool *p = NULL;

	memcpy(a + 5 * D, a + 50 * D, D * sizeof(*a));
	memcpy(a + 6 * D, a + 50 * D, D * sizeof(*a));
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int assign = 0; assign < 2; assign++) {
		ck_assert_int_eq(sae_match_rows(&m, a, N, a, N, D, assign, p, NULL), 0);
		check_valid(m.of_a, N, N);
		for (uint32_t i = 0; i < N; i++)
			ck_assert_float_eq_tol(m.cosine[i], 1, 1e-5f);
		ck_assert_double_eq_tol(m.mean_matched, 1, 1e-5);
		ck_assert_double_eq_tol(m.mean_best[1], 1, 1e-5);
		sae_match_free(&m);
	}
	pool_free(p);
	free(a);
}
END_TEST

/* Rows with directions in common, as decoders have them. */
static float *leaning_rows(uint32_t n, uint32_t d, uint64_t seed)
{
	float *x = random_rows(n, d, seed), *unit;

	for (size_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < d; j++)
			x[i * d + j] *= j < 8 ? 4 : 1;
	unit = sae_unit_rows(x, n, d);
	free(x);
	return unit;
}

/* Rows that have nothing to do with each other are as like as chance says, and no more. */
START_TEST(chance_is_what_unrelated_rows_give)
{
	enum { N = 700, M = 1000, D = 96 };
	float *a = leaning_rows(N, D, 31), *b = leaning_rows(M, D, 32), *null = sae_null_rows(b, M, D, 0),
	      *again = sae_null_rows(b, M, D, 0), *other = sae_null_rows(b, M, D, 1);
	sae_match real, chance;
	pool *p = NULL;

	ck_assert_mem_eq(null, again, (size_t)M * D * sizeof(*null));
	ck_assert_mem_ne(null, other, (size_t)M * D * sizeof(*null));
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_match_rows(&real, a, N, b, M, D, true, p, NULL), 0);
	ck_assert_int_eq(sae_match_rows(&chance, a, N, null, M, D, true, p, NULL), 0);
	check_valid(real.of_a, N, M);
	ck_assert_double_eq_tol(real.mean_matched, chance.mean_matched, 0.01);
	for (int s = 0; s < 2; s++) {
		ck_assert_double_gt(real.mean_best[s], 0.5); /* much, for the directions in common */
		ck_assert_double_eq_tol(real.mean_best[s], chance.mean_best[s], 0.02);
		ck_assert_double_eq_tol(real.high_best[s], chance.high_best[s], 0.03);
	}
	sae_match_free(&real);
	sae_match_free(&chance);
	pool_free(p);
	free(a);
	free(b);
	free(null);
	free(again);
	free(other);
}
END_TEST

START_TEST(threads_do_not_matter)
{
	enum { N = 300, M = 210, D = 32 };
	float *a = random_rows(N, D, 41), *b = random_rows(M, D, 42);
	sae_match one, three;
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_match_rows(&one, a, N, b, M, D, false, p, NULL), 0);
	pool_free(p);
	ck_assert_int_eq(pool_new(&p, 3, NULL), 0);
	ck_assert_int_eq(sae_match_rows(&three, a, N, b, M, D, false, p, NULL), 0);
	pool_free(p);
	ck_assert_mem_eq(one.of_a, three.of_a, N * sizeof(*one.of_a));
	ck_assert_mem_eq(one.near[1].ids, three.near[1].ids, M * SAE_MATCH_NEAR * sizeof(uint32_t));
	ck_assert_mem_eq(one.parts[0], three.parts[0], N * SAE_MATCH_NEAR * sizeof(uint32_t));
	ck_assert_mem_eq(one.together[1], three.together[1], M * sizeof(float));
	for (uint32_t i = 0; i < N; i++) /* each other's nearest */
		if (one.of_a[i] != SAE_MATCH_NONE)
			ck_assert_uint_eq(one.near[1].ids[(size_t)one.of_a[i] * SAE_MATCH_NEAR], i);
	sae_match_free(&one);
	sae_match_free(&three);
	free(a);
	free(b);
}
END_TEST

/* Each allocation fails once: an error, and nothing is lost. */
START_TEST(out_of_memory)
{
	enum { N = 20, D = 8 };
	float *a = random_rows(N, D, 51), *b = random_rows(N, D, 52);
	pool *p = NULL;
	sae_match m;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (long n = 0;; n++) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_match_rows(&m, a, N, b, N, D, true, p, NULL);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	sae_match_free(&m);
	pool_free(p);
	free(a);
	free(b);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "match", agrees_with_all_permutations, finds_a_planted_permutation,
	             ties_and_threads_do_not_matter, nearest_of_another_set, finds_sums_that_stand_for_one,
	             the_same_rows_match, chance_is_what_unrelated_rows_give, threads_do_not_matter,
	             out_of_memory);
}

SUPPORT_MAIN("match", cases)
