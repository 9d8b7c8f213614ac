/* Codebook features: exact ids and outputs, gradients by central differences in FP64, planted codes found again. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>

#include "sae/codebook.h"

static pool *threads;
static error e;

static double normal(uint64_t seed, uint64_t i)
{
	double u = hash64_unit(hash64_mix(seed, 2 * i)), v = hash64_unit(hash64_mix(seed, 2 * i + 1));

	return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * v);
}

static codebook *make(const codebook_config *c)
{
	codebook *b = NULL;

	ck_assert_msg(codebook_new(&b, c, threads, &e) == 0, "%s", e.msg);
	return b;
}

static codebook_config config(uint32_t d, uint32_t n, uint32_t k, uint32_t batch)
{
	return (codebook_config){ .d = d,
		                  .n_codes = n,
		                  .groups = 1,
		                  .k = k,
		                  .batch = batch,
		                  .decay = 0.99,
		                  .replace_noise = 1e-4,
		                  .beta1 = 0.9,
		                  .beta2 = 0.999,
		                  .eps = 1e-8,
		                  .dead_tokens = UINT64_MAX,
		                  .k_set = kernels_get(NULL) };
}

/* ---- What is taken, and what comes out -------------------------------------------------------------------------------- */

static void check_row(codebook *b, const float *x, const uint32_t *ids, const float *out)
{
	step_result r;

	codebook_run(b, x, 1, 1, 0, b->c.k, &r);
	ck_assert_uint_eq(b->list.count[0], b->c.k);
	for (size_t i = 0; i < b->c.k; i++)
		ck_assert_uint_eq(b->list.index[i], ids[i]);
	for (size_t i = 0; i < b->c.d; i++)
		ck_assert_float_eq(x[i] - b->e[i], out[i]);
}

START_TEST(takes_the_nearest_codes)
{
	static const float x[4] = { 3, 2, 1, 0 }, sum[4] = { 1, 1 }, mean[4] = { 0.5f, 0.5f };
	static const float longer[4] = { 1, 10 };
	static const uint32_t ids[] = { 0, 1 };
	codebook_config c = config(4, 4, 2, 1);

	for (int i = 0; i < 4; i++) {
		codebook *b;

		c.mean = i == 1;
		c.euclidean = i == 3;
		b = make(&c);
		for (size_t f = 0; f < 4; f++)
			b->codes[f * 4 + f] = f == 1 && i == 2 ? 10 : 1; /* a code's norm changes nothing */
		check_row(b, x, ids, i == 1 ? mean : i == 2 ? longer : sum);
		codebook_free(b);
	}
}
END_TEST

/* Of codes in one direction the euclidean one takes that of the row's length, the cosine the first. */
START_TEST(distance_tells_lengths_apart)
{
	static const float x[2] = { 2, 0 }, one[2] = { 1, 0 }, two[2] = { 2, 0 };
	static const uint32_t first = 0, second = 1;
	codebook_config c = config(2, 2, 1, 1);

	for (int i = 0; i < 2; i++) {
		codebook *b;

		c.euclidean = i == 1;
		b = make(&c);
		b->codes[0] = 1;
		b->codes[2] = 2;
		check_row(b, x, i ? &second : &first, i ? two : one);
		codebook_free(b);
	}
}
END_TEST

static void fill(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)normal(seed, i);
}

enum { GROUP_N = 300, GROUP_D = 10, GROUP_CODES = 20 };

/* Half `g` of the columns. */
static void take_half(float *out, const float *x, size_t n, int g)
{
	for (size_t i = 0; i < n * GROUP_D; i++)
		out[i] = x[(i / GROUP_D * 2 + (size_t)g) * GROUP_D + i % GROUP_D];
}

/* Two groups are two codebooks, bit for bit, over several steps; in all ways of learning. */
START_TEST(groups_are_codebooks_of_their_own)
{
	codebook_config c = config(2 * GROUP_D, 2 * GROUP_CODES, 3, GROUP_N);
	static float x[GROUP_N * 2 * GROUP_D], part[GROUP_N * GROUP_D], codes[2 * GROUP_CODES * GROUP_D];
	step_result r;

	c.mean = _i & 1;
	c.moving = _i & 2;
	c.euclidean = _i & 4;
	fill(codes, 2 * GROUP_CODES * GROUP_D, 1);
	fill(x, GROUP_N * 2 * GROUP_D, 2);
	c.groups = 2;
	codebook *both = make(&c);
	memcpy(both->codes, codes, sizeof(codes));
	for (int s = 0; s < 5; s++)
		codebook_run(both, x, GROUP_N, 1.5f, 0.01, 3, &r);
	c.groups = 1;
	c.d = GROUP_D;
	c.n_codes = GROUP_CODES;
	for (int g = 0; g < 2; g++) {
		size_t n = GROUP_CODES * GROUP_D;
		codebook *alone = make(&c);

		take_half(part, x, GROUP_N, g);
		memcpy(alone->codes, codes + (size_t)g * n, n * sizeof(float));
		for (int s = 0; s < 5; s++)
			codebook_run(alone, part, GROUP_N, 1.5f, 0.01, 3, &r);
		ck_assert_int_eq(memcmp(alone->codes, both->codes + (size_t)g * n, n * sizeof(float)), 0);
		ck_assert_int_ne(memcmp(alone->codes, codes + (size_t)g * n, n * sizeof(float)), 0);
		codebook_free(alone);
	}
	codebook_free(both);
}
END_TEST

/* ---- Gradients ------------------------------------------------------------------------------------------------------------ */

enum { D = 6, CODES = 9, K = 2, N = 13 };

/* Logarithm of the batch's FVU, with the codes that each row takes given. */
static double log_fvu(const double *codes, const float *x, const sparse_batch *taken, double share)
{
	double squares = 0, total = 0;

	for (size_t i = 0; i < D; i++) {
		double mean = 0;

		for (size_t t = 0; t < N; t++)
			mean += (double)x[t * D + i] / N;
		for (size_t t = 0; t < N; t++) {
			double left = (double)x[t * D + i];

			total += (left - mean) * (left - mean);
			for (size_t j = 0; j < taken->count[t]; j++)
				left -= share * codes[taken->index[t * K + j] * D + i];
			squares += left * left;
		}
	}
	return log(squares / total);
}

/* Adam's mean after one step is a share of the gradient. Codes that no row took get none. */
START_TEST(gradient_is_that_of_central_differences)
{
	codebook_config c = config(D, CODES, K, N);
	float x[N * D];
	double codes[CODES * D];
	codebook *b;
	step_result r;

	c.mean = _i & 1;
	c.euclidean = _i & 2;
	b = make(&c);
	fill(x, N * D, 3);
	fill(b->codes, CODES * D, 4);
	if (_i & 4)
		memset(b->codes, 0, D * sizeof(float)); /* one that none takes */
	for (size_t i = 0; i < CODES * D; i++)
		codes[i] = (double)b->codes[i];
	codebook_run(b, x, N, 1, 1e-3, K, &r);
	ck_assert_double_eq_tol(log(r.fvu), log_fvu(codes, x, &b->list, c.mean ? 1.0 / K : 1), 1e-6);
	for (size_t i = 0; i < CODES * D; i++) {
		double was = codes[i], up, down, share = c.mean ? 1.0 / K : 1;

		codes[i] = was + 1e-5;
		up = log_fvu(codes, x, &b->list, share);
		codes[i] = was - 1e-5;
		down = log_fvu(codes, x, &b->list, share);
		codes[i] = was;
		ck_assert_double_eq_tol((double)b->m[i] * 10, (up - down) / 2e-5, 2e-6);
		if (_i & 4 && i < D)
			ck_assert_float_eq(b->m[i], 0);
	}
	codebook_free(b);
}
END_TEST

static void setup(void)
{
	ck_assert_int_eq(pool_new(&threads, 2, &e), 0);
}

static void teardown(void)
{
	pool_free(threads);
}

/* ---- Planted codes ---------------------------------------------------------------------------------------------------------- */

static void unit_rows(float *x, size_t n, size_t d, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		double squares = 0;

		for (size_t j = 0; j < d; j++) {
			x[i * d + j] = (float)normal(seed, i * d + j);
			squares += (double)x[i * d + j] * (double)x[i * d + j];
		}
		for (size_t j = 0; j < d; j++)
			x[i * d + j] /= (float)sqrt(squares);
	}
}

static double cosine(const float *a, const float *b, size_t d)
{
	double ab = 0, aa = 0, bb = 0;

	for (size_t i = 0; i < d; i++) {
		ab += (double)a[i] * (double)b[i];
		aa += (double)a[i] * (double)a[i];
		bb += (double)b[i] * (double)b[i];
	}
	return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Share of the true codes that one has a cosine over `least` with. */
static double recovered(const codebook *b, const float *truth, size_t n, double least)
{
	size_t d = b->c.d, found = 0;

	for (size_t i = 0; i < n; i++) {
		double best = -1, c;

		for (size_t f = 0; f < b->c.n_codes; f++)
			best = (c = cosine(b->codes + f * d, truth + i * d, d)) > best ? c : best;
		found += best > least;
	}
	return (double)found / (double)n;
}

enum { ROWS = 50000, BATCH = 512, MOST_D = 64, MOST_CODES = 128 };

typedef struct planted {
	uint32_t n, d, k; /* codes, values, codes of a row: 1 or 2 */
	float truth[MOST_CODES * MOST_D], *x;
	uint32_t *id; /* (ROWS) the first one */
} planted;

static void plant(planted *p, uint32_t n, uint32_t d, uint32_t k, double noise, uint64_t seed)
{
	*p = (planted){ .n = n, .d = d, .k = k };
	p->x = mem_alloc_aligned(ROWS, d * sizeof(float));
	p->id = mem_alloc_aligned(ROWS, sizeof(uint32_t));
	ck_assert(p->x && p->id);
	unit_rows(p->truth, n, d, seed);
	for (uint32_t t = 0; t < ROWS; t++) {
		uint32_t a = (uint32_t)hash64_below(hash64_mix(seed + 1, t), n);
		uint32_t b = (a + 1 + (uint32_t)hash64_below(hash64_mix(seed + 2, t), n - 1)) % n;

		p->id[t] = a;
		for (uint32_t i = 0; i < d; i++)
			p->x[t * d + i] = p->truth[a * d + i] + (k > 1 ? p->truth[b * d + i] : 0) +
			                  (float)(noise * normal(seed + 3, (uint64_t)t * d + i));
	}
}

static void clear(planted *p)
{
	free(p->x);
	free(p->id);
}

/* Steps over the rows, again and again, in another order each time; *at goes on. */
static void train(codebook *b, const planted *p, unsigned steps, double lr, uint64_t *at, step_result *r)
{
	static float rows[BATCH * MOST_D];

	for (unsigned s = 0; s < steps; s++) {
		for (size_t t = 0; t < BATCH; t++, ++*at)
			memcpy(rows + t * p->d, p->x + hash64_permute(*at % ROWS, ROWS, *at / ROWS) * p->d,
			       p->d * sizeof(float));
		codebook_run(b, rows, BATCH, 1, lr, p->k, r);
	}
}

/* Share of the first BATCH rows that are taken by the code nearest to theirs, which is no other's. */
static double purity(codebook *b, const planted *p)
{
	uint32_t of[MOST_CODES];
	size_t good = 0;
	step_result r;

	codebook_run(b, p->x, BATCH, 1, 0, p->k, &r);
	for (size_t i = 0; i < p->n; i++) {
		double best = -1, c;

		of[i] = UINT32_MAX;
		for (uint32_t f = 0; f < b->c.n_codes; f++)
			if ((c = cosine(b->codes + f * p->d, p->truth + i * p->d, p->d)) > best) {
				best = c;
				of[i] = f;
			}
		for (size_t j = 0; j < i; j++)
			ck_assert_uint_ne(of[i], of[j]);
	}
	for (size_t t = 0; t < BATCH; t++)
		good += b->list.index[t] == of[p->id[t]];
	return (double)good / BATCH;
}

/* 64 unit centroids in 32 dimensions, noise 0.05, by gradient and by moving means. */
START_TEST(kmeans_start_finds_all_centroids)
{
	codebook_config c = config(32, 64, 1, BATCH);
	uint64_t at = 0;
	planted p;
	step_result r;
	codebook *b;

	c.moving = _i & 1;
	c.euclidean = _i & 2;
	plant(&p, 64, 32, 1, 0.05, 10);
	b = make(&c);
	ck_assert_int_eq(codebook_start_kmeans(b, p.x, 10000, &e), 0);
	train(b, &p, 98, 1e-3, &at, &r);
	ck_assert_double_eq(recovered(b, p.truth, 64, 0.99), 1);
	ck_assert_double_ge(purity(b, &p), 0.99);
	codebook_free(b);
	clear(&p);
}
END_TEST

/* From N(0, 1) some codes are never taken; replaced by rows they are, and more centroids are found. */
START_TEST(dead_codes_are_replaced)
{
	double found[2];
	uint64_t n_dead[2];
	planted p;

	plant(&p, 64, 32, 1, 0.05, 10);
	for (int i = 0; i < 2; i++) {
		codebook_config c = config(32, 64, 1, BATCH);
		uint64_t at = 0;
		step_result r;
		codebook *b;

		c.replace_every = i ? 100 : 0;
		c.dead_tokens = 20000;
		b = make(&c);
		codebook_start_random(b);
		train(b, &p, 1000, 3e-3, &at, &r);
		found[i] = recovered(b, p.truth, 64, 0.99);
		n_dead[i] = r.n_dead;
		codebook_free(b);
	}
	ck_assert_uint_gt(n_dead[0], 5);
	ck_assert_uint_eq(n_dead[1], 0);
	ck_assert_double_ge(found[1], found[0] + 0.15);
	ck_assert_double_ge(found[1], 0.8);
	clear(&p);
}
END_TEST

/* Rows are sums of two of 128 codes in 64 dimensions. */
START_TEST(sums_of_two_codes_are_taken_apart)
{
	codebook_config c = config(64, 128, 2, BATCH);
	uint64_t at = 0;
	planted p;
	step_result r;
	codebook *b;

	c.replace_every = 100;
	plant(&p, 128, 64, 2, 0.01, 20);
	b = make(&c);
	if (_i)
		ck_assert_int_eq(codebook_start_kmeans(b, p.x, 10000, &e), 0);
	else
		codebook_start_random(b);
	train(b, &p, 600, 1e-2, &at, &r);
	ck_assert_double_ge(recovered(b, p.truth, 128, 0.9), 0.99);
	ck_assert_double_eq(r.l0, 2);
	codebook_free(b);
	clear(&p);
}
END_TEST

/* A replaced code is a row, with a little noise; of rows that are explained there is none. */
START_TEST(replaced_codes_are_rows)
{
	enum { D2 = 8, N2 = 16 };
	codebook_config c = config(D2, 6, 1, N2);
	float x[N2 * D2], before[6 * D2];
	codebook *b;
	step_result r;

	c.replace_every = 3;
	c.moving = true;
	b = make(&c);
	fill(x, N2 * D2, 5);
	fill(b->codes, 6 * D2, 6);
	for (size_t i = 4 * D2; i < 6 * D2;
	     i++) /* two that none takes: the first one with the sign of one that is taken */
		b->codes[i] = 0;
	memcpy(before, b->codes, sizeof(before));
	for (int s = 0; s < 2; s++)
		codebook_run(b, x, N2, 1, 0, 1, &r);
	ck_assert_int_eq(memcmp(b->codes + 4 * D2, before + 4 * D2, 2 * D2 * sizeof(float)), 0);
	codebook_run(b, x, N2, 1, 0, 1, &r);
	for (size_t f = 4; f < 6; f++) {
		double best = -1, at;

		for (size_t t = 0; t < N2; t++)
			best = (at = cosine(b->codes + f * D2, x + t * D2, D2)) > best ? at : best;
		ck_assert_double_gt(best, 0.99999);
		ck_assert_double_lt(best, 1);
		ck_assert_double_eq(b->weight[f], 0);
	}
	ck_assert_int_ne(memcmp(b->codes + 4 * D2, b->codes + 5 * D2, D2 * sizeof(float)), 0);
	codebook_free(b);
}
END_TEST

/* Threads and kernels of screening change no bit. */
START_TEST(threads_change_no_bit)
{
	float last[2][40 * 12];
	static float x[1000 * 24];

	fill(x, 1000 * 24, 7);
	for (unsigned i = 0; i < 2; i++) {
		codebook_config c = config(24, 40, 2, 1000);
		step_result r;
		codebook *b;

		pool_free(threads);
		ck_assert_int_eq(pool_new(&threads, i ? 3 : 1, &e), 0);
		c.groups = 2;
		c.replace_every = 2;
		c.moving = _i;
		c.screening = i ? SAE_SCREENING_OFF : SAE_SCREENING_EXACT;
		b = make(&c);
		ck_assert_int_eq(codebook_start_kmeans(b, x, 1000, &e), 0);
		for (int s = 0; s < 6; s++)
			codebook_run(b, x, 1000, 1, 0.01, 2, &r);
		memcpy(last[i], b->codes, sizeof(last[i]));
		codebook_free(b);
	}
	ck_assert_int_eq(memcmp(last[0], last[1], sizeof(last[0])), 0);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "rule", takes_the_nearest_codes, distance_tells_lengths_apart);

	tcase_add_loop_test(t, groups_are_codebooks_of_their_own, 0, 8);
	tcase_add_checked_fixture(t, setup, teardown);
	t = SUPPORT_CASE(s, "step", replaced_codes_are_rows);
	tcase_add_loop_test(t, gradient_is_that_of_central_differences, 0, 8);
	tcase_add_loop_test(t, threads_change_no_bit, 0, 2);
	tcase_add_checked_fixture(t, setup, teardown);
	t = SUPPORT_CASE(s, "planted", dead_codes_are_replaced);
	tcase_add_loop_test(t, kmeans_start_finds_all_centroids, 0, 4);
	tcase_add_loop_test(t, sums_of_two_codes_are_taken_apart, 0, 2);
	tcase_add_checked_fixture(t, setup, teardown);
}

SUPPORT_MAIN("codebook", cases)
