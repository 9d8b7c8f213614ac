/* Screening: its bounds hold for any numbers, its kernels agree with plain loops, and codes are the same with and without. */
#include "tests/support.h"

#include <math.h>

#include "sae/encode.h"
#include "sae/screen.h"

enum { F = 130, N = 15, MAX_D = 200 };

static const size_t dims[] = { 1, 63, 64, 65, 200 };

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

/* Kinds of rows: plain ones; all mass in one coordinate; equal sizes with signs that add up in a lane; tiny; with a zero row. */
enum { PLAIN, SPIKE, SIGNS, TINY, ZERO, KINDS };

static void fill(float *x, size_t rows, size_t d, int kind, uint64_t seed)
{
	for (size_t t = 0; t < rows; t++)
		for (size_t i = 0; i < d; i++) {
			float *v = x + t * d + i;

			*v = uniform(seed, t * d + i);
			if (kind == SPIKE)
				*v = i == t % d ? 50 : 1e-3f * *v;
			else if (kind == SIGNS)
				*v = (t * 7 + i) % (t + 2) ? 1.0f : -1.0f;
			else if (kind == TINY)
				*v *= 1e-20f;
			else if (kind == ZERO && t % 4 == 0)
				*v = 0;
		}
}

typedef struct problem {
	size_t d;
	float w[F * MAX_D], b[F], x[N * MAX_D];
	double pre[N][F];
} problem;

static problem p;

static void make_problem(size_t d, int weights, int rows)
{
	p.d = d;
	fill(p.w, F, d, weights, 1);
	fill(p.x, N, d, rows, 2);
	for (size_t f = 0; f < F; f++)
		p.b[f] = f % 3 ? uniform(3, f) : 0;
	for (size_t t = 0; t < N; t++)
		for (size_t f = 0; f < F; f++) {
			p.pre[t][f] = p.b[f];
			for (size_t i = 0; i < d; i++)
				p.pre[t][f] += (double)p.w[f * d + i] * p.x[t * d + i];
		}
}

/* Half the distance between the upper and the lower bound of <w_f, x_t> + b_f. */
static float screen_margin(const screen *s, const screen_rows *r, size_t t, size_t f)
{
	float bias = s->bias[f] < 0 ? -s->bias[f] : s->bias[f];

	return s->norm[f] * r->lost[t] + s->lost[f] * r->norm[t] + SCREEN_ROUNDING * bias;
}

static void check_bounds(const kernels *k, double *widest)
{
	arena mem = ARENA_INIT;
	float *scratch, out[N * 192];
	screen_rows rows;
	screen s;

	ck_assert_int_eq(screen_init(&s, &mem, kernels_screen(k), p.d, F, false, NULL), 0);
	ck_assert_int_eq(screen_rows_init(&rows, &mem, &s, N, NULL), 0);
	scratch = arena_alloc(&mem, s.d_pad, sizeof(float));
	for (size_t f = 0; f < F; f++)
		screen_weight(&s, f, p.w + f * p.d, p.b[f], scratch);
	for (size_t t = 0; t < N; t++)
		screen_row(&rows, &s, t, p.x + t * p.d);
	for (size_t n = 1; n <= N; n += n < 8 ? 1 : 7) { /* the kernels take six, two or one row at a time */
		screen_bounds(&s, &rows, 0, F, n, out, 192);
		for (size_t t = 0; t < n; t++)
			for (size_t f = 0; f < F; f++) {
				double upper = out[t * 192 + f], margin = screen_margin(&s, &rows, t, f);
				double exact = (double)k->dot(p.w + f * p.d, p.x + t * p.d, p.d) + p.b[f];

				ck_assert_msg(exact <= upper && exact >= upper - 2 * margin,
				              "%s d %zu row %zu feature %zu: %g not in %g..%g", k->name, p.d,
				              t, f, exact, upper - 2 * margin, upper);
				ck_assert_msg(p.pre[t][f] <= upper + 1e-37 &&
				                      p.pre[t][f] >= upper - 2 * margin - 1e-37,
				              "%s d %zu row %zu feature %zu: %.9g not in %.9g..%.9g", k->name,
				              p.d, t, f, p.pre[t][f], upper - 2 * margin, upper);
				*widest = fmax(*widest, margin / (sqrt(k->sum_squares(p.w + f * p.d, p.d)) *
				                                          rows.norm[t] +
				                                  fabs(p.b[f]) + 1e-30));
			}
		for (size_t t = 0; t < n; t++)
			for (size_t f = F; f < 192; f++)
				ck_assert(!(out[t * 192 + f] > 0)); /* what is only there to fill up */
	}
	arena_clear(&mem);
}

START_TEST(bounds_hold)
{
	for (size_t i = 0; kernels_names[i]; i++) {
		const kernels *k = kernels_get(kernels_names[i]);
		double widest = 0, unused = 0; /* of numbers near nothing only their size is known */

		for (size_t d = 0; k && d < ARRAY_LEN(dims); d++)
			for (int kinds = 0; kinds < KINDS * KINDS; kinds++) {
				make_problem(dims[d], kinds % KINDS, kinds / KINDS);
				check_bounds(k, kinds % KINDS == TINY || kinds / KINDS == TINY ? &unused
				                                                               : &widest);
			}
		ck_assert_double_le(widest, 0.1); /* bounds that say something */
	}
}
END_TEST

/* 16-bit sums at their worst: all coordinates that a lane sums equal, so that products have the same sign. */
START_TEST(sums_of_pairs_do_not_overflow)
{
	enum { D = 64 };
	const kernels *k = kernels_get("avx2");
	float ones[D], x[D], turned[D], out[64];
	arena mem = ARENA_INIT;
	screen_rows rows;
	screen s;

	if (!k)
		return;
	ck_assert_int_eq(screen_init(&s, &mem, &screen_avx2, D, 64, false, NULL), 0);
	ck_assert_int_eq(screen_rows_init(&rows, &mem, &s, 1, NULL), 0);
	for (size_t i = 0; i < D; i++)
		ones[i] = 1;
	for (size_t share = 1; share <= D / 2; share++) { /* so many of a lane's coordinates after the turn */
		for (size_t i = 0; i < D; i++)
			turned[i] = i / 2 % 2 == 0 && i / 4 * 2 + i % 2 < share ? 1 : 0;
		memcpy(x, turned, sizeof(x));
		for (size_t i = 0; i < 5; i++) /* two turns make the two rounds of transforms four: none */
			screen_avx2.turn(x, ones, D);
		screen_avx2.turn(x, ones, D);
		for (size_t i = 0; i < D; i++)
			ck_assert_double_le(fabs(x[i] - turned[i]), 1e-5);
		screen_avx2.turn(x, ones, D);
		for (size_t i = 0; i < D; i++)
			x[i] *= s.signs[i];
		for (size_t f = 0; f < 64; f++)
			screen_weight(&s, f, x, 0, turned);
		screen_row(&rows, &s, 0, x);
		ck_assert_double_le(screen_avx2.lane_norm(rows.code, D), screen_avx2.row_lane);
		screen_bounds(&s, &rows, 0, 64, 1, out, 64);
		for (size_t f = 0; f < 64; f++) {
			ck_assert_double_le((double)k->dot(x, x, D), out[f]);
			ck_assert_double_ge((double)k->dot(x, x, D),
			                    out[f] - 2 * screen_margin(&s, &rows, 0, f));
		}
	}
	arena_clear(&mem);
}
END_TEST

/* ---- Codes with and without screening ---------------------------------------------------------------------------------- */

typedef struct coder {
	arena mem;
	screen s;
	float *norms;
	encode_job job;
	encode_scratch scratch;
	uint32_t *count, *index;
	float *value;
} coder;

static void coder_open(coder *c, const kernels *k, encode_rule rule, const float *w, const float *b, size_t d,
                       size_t n_features, size_t width, bool screened)
{
	float *turned;

	*c = (coder){ .job = { .k = k,
		               .rule = rule,
		               .weights = w,
		               .bias = b,
		               .n_features = n_features,
		               .d = d,
		               .width = width } };
	ck_assert_int_eq(screen_init(&c->s, &c->mem, kernels_screen(k), d, n_features, false, NULL), 0);
	c->norms = arena_alloc(&c->mem, n_features, sizeof(float));
	turned = arena_alloc(&c->mem, c->s.d_pad, sizeof(float));
	for (size_t f = 0; f < n_features; f++) {
		screen_weight(&c->s, f, w + f * d, b[f], turned);
		c->norms[f] = (float)sqrt(k->sum_squares(w + f * d, d)) * 1.000001f;
	}
	c->job.screen = screened ? &c->s : NULL;
	c->job.row_norms = c->norms;
	encode_job_prepare(&c->job);
	ck_assert_int_eq(
	        encode_scratch_init(&c->scratch, &c->mem, 300, n_features, width, c->job.screen, NULL), 0);
	c->count = arena_alloc(&c->mem, 300, sizeof(uint32_t));
	c->index = arena_alloc(&c->mem, 300 * width, sizeof(uint32_t));
	c->value = arena_alloc(&c->mem, 300 * width, sizeof(float));
}

/* By plain loops: the values of the rule, each by the kernels' dot product. */
static size_t plain_codes(const encode_job *j, const float *x, uint32_t *index, float *value)
{
	static float pre[3000];
	size_t n = 0, group = j->n_features / j->width;

	for (size_t f = 0; f < j->n_features; f++)
		pre[f] = j->k->dot(j->weights + f * j->d, x, j->d) + j->bias[f];
	for (size_t f = 0; f < j->n_features; f++) {
		size_t first = j->rule == ENCODE_GROUPMAX ? f / group * group : 0, rank = 0;
		size_t end = j->rule == ENCODE_GROUPMAX ? first + group : j->n_features;

		for (size_t g = first; g < end; g++)
			rank += pre[g] > pre[f] || (pre[g] == pre[f] && g < f);
		if (pre[f] > 0 && rank < (j->rule == ENCODE_GROUPMAX ? 1 : j->width)) {
			index[n] = (uint32_t)f;
			value[n++] = pre[f];
		}
	}
	return n;
}

static void check_codes(const kernels *k, encode_rule rule, size_t d, size_t n_features, size_t width,
                        size_t n, float bias, bool equal)
{
	float *w = mem_alloc_aligned(n_features, d * sizeof(float)),
	      *x = mem_alloc_aligned(n, d * sizeof(float));
	float *b = mem_alloc_aligned(n_features, sizeof(float)), value[64];
	const float guesses[] = { 0, 0.01f, 0.3f, 5 };
	uint32_t index[64];

	fill(w, n_features, d, PLAIN, 11);
	fill(x, n, d, PLAIN, 12);
	for (size_t f = 0; f < n_features; f++) {
		b[f] = bias + 0.1f * uniform(13, f);
		if (equal) {
			memcpy(w + f * d, w, d * sizeof(float));
			b[f] = bias;
		}
	}
	for (int screened = 0; screened < 2; screened++) {
		coder c;

		coder_open(&c, k, rule, w, b, d, n_features, width, screened);
		for (size_t g = 0; g < ARRAY_LEN(guesses); g++) {
			c.job.guess = guesses[g];
			encode_tile(&c.scratch, &c.job, x, n, c.count, c.index, c.value);
			for (size_t t = 0; t < n; t += 1 + n / 5) {
				size_t want = plain_codes(&c.job, x + t * d, index, value);

				ck_assert_uint_eq(c.count[t], want);
				ck_assert_mem_eq(c.index + t * width, index, want * sizeof(*index));
				ck_assert_mem_eq(c.value + t * width, value, want * sizeof(*value));
			}
		}
		arena_clear(&c.mem);
	}
	free(w);
	free(x);
	free(b);
}

START_TEST(codes_are_those_of_the_dot_products)
{
	for (size_t i = 0; kernels_names[i]; i++) {
		const kernels *k = kernels_get(kernels_names[i]);

		for (int rule = ENCODE_TOPK; k && rule <= ENCODE_GROUPMAX; rule++) {
			check_codes(k, rule, 7, 52, 4, 30, 0, false);
			check_codes(k, rule, 64, 1100, 11, 61, -1,
			            false); /* two blocks; fewer than width at times */
			check_codes(k, rule, 100, 2600, 26, 300, 0, false); /* groups across blocks */
			check_codes(k, rule, 24, 1500, 3, 20, 0.5f, true);  /* nothing but ties */
			check_codes(k, rule, 24, 1500, 3, 20, -9, false);   /* nothing over 0 */
			check_codes(k, rule, 5, 60, 60, 9, 0, false);       /* k = F */
		}
	}
}
END_TEST

/* Infinities and numbers near the largest: no bound holds, so all is computed. */
START_TEST(numbers_without_bounds_are_computed)
{
	enum { D = 20, WIDTH = 3, ROWS = 3 };
	float w[F * D], b[F] = { 0 }, x[ROWS * D], value[WIDTH];
	uint32_t index[WIDTH];
	coder c;

	fill(w, F, D, PLAIN, 21);
	fill(x, ROWS, D, PLAIN, 22);
	for (size_t i = 0; i < D; i++)
		x[i] *= 1e37f;
	x[D] = NAN;
	w[3 * D] = 3e38f;
	coder_open(&c, kernels_get(NULL), ENCODE_TOPK, w, b, D, F, WIDTH, true);
	encode_tile(&c.scratch, &c.job, x, ROWS, c.count, c.index, c.value);
	ck_assert_uint_eq(c.count[1], 0);
	for (size_t t = 0; t < ROWS; t += 2) {
		size_t want = plain_codes(&c.job, x + t * D, index, value);

		ck_assert_uint_eq(c.count[t], want);
		ck_assert_mem_eq(c.index + t * WIDTH, index, want * sizeof(*index));
		ck_assert_mem_eq(c.value + t * WIDTH, value, want * sizeof(*value));
	}
	arena_clear(&c.mem);
}
END_TEST

/* Six standard deviations: the same sets on rows of a thousand features. */
START_TEST(the_statistical_bound_is_narrower_and_holds_here)
{
	enum { D = 128, FEATURES = 1024, ROWS = 20 };
	static float w[FEATURES * D], x[ROWS * D], out[ROWS * FEATURES], scratch[D];
	const kernels *k = kernels_get(NULL);
	arena mem = ARENA_INIT;
	screen_rows rows;
	screen s;

	fill(w, FEATURES, D, PLAIN, 31);
	fill(x, ROWS, D, PLAIN, 32);
	ck_assert_int_eq(screen_init(&s, &mem, kernels_screen(k), D, FEATURES, true, NULL), 0);
	ck_assert_int_eq(screen_rows_init(&rows, &mem, &s, ROWS, NULL), 0);
	ck_assert_double_le(s.spread, 0.54);
	for (size_t f = 0; f < FEATURES; f++)
		screen_weight(&s, f, w + f * D, 0, scratch);
	for (size_t t = 0; t < ROWS; t++)
		screen_row(&rows, &s, t, x + t * D);
	screen_bounds(&s, &rows, 0, FEATURES, ROWS, out, FEATURES);
	for (size_t t = 0; t < ROWS; t++)
		for (size_t f = 0; f < FEATURES; f++) {
			float exact = k->dot(w + f * D, x + t * D, D), upper = out[t * FEATURES + f];

			ck_assert(exact <= upper && exact >= upper - 2 * screen_margin(&s, &rows, t, f));
		}
	arena_clear(&mem);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "bounds", bounds_hold, sums_of_pairs_do_not_overflow,
	             the_statistical_bound_is_narrower_and_holds_here);
	SUPPORT_CASE(s, "codes", codes_are_those_of_the_dot_products, numbers_without_bounds_are_computed);
}
SUPPORT_MAIN("screen", cases)
