/* Dead features begun anew, the draw of rows for them, and the geometric median. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>

#include "sae/fit.h"
#include "sae/median.h"
#include "sae/resample.h"
#include "sae/step.h"

/* ---- The draw ------------------------------------------------------------------------------------------------------- */

START_TEST(rows_are_drawn_by_weight)
{
	enum { N = 5, DRAWS = 20000 };
	const double weight[N] = { 1, 2, 0, 3, 4 };
	unsigned first[N] = { 0 }, second[N] = { 0 };
	double key[N];

	for (uint64_t seed = 0; seed < DRAWS; seed++) {
		uint32_t rows[2];

		resample_choose(rows, 2, weight, N, hash64_mix(9, seed), key);
		ck_assert_uint_ne(rows[0], rows[1]);
		first[rows[0]]++;
		second[rows[1]]++;
	}
	for (size_t i = 0; i < N; i++) {
		double p = weight[i] / 10, q = 0;

		for (size_t j = 0; j < N; j++) /* j went first */
			q += j == i ? 0 : weight[j] / 10 * weight[i] / (10 - weight[j]);
		ck_assert_double_le(fabs(first[i] - DRAWS * p), 4 * sqrt(DRAWS * p * (1 - p)));
		ck_assert_double_le(fabs(second[i] - DRAWS * q), 4 * sqrt(DRAWS * q * (1 - q)));
	}
}
END_TEST

START_TEST(all_rows_can_be_drawn)
{
	enum { N = 300 };
	double weight[N], key[N];
	uint32_t rows[N], few[20];
	bool seen[N] = { false };

	for (size_t i = 0; i < N; i++)
		weight[i] = i % 3 ? (double)i : 0;
	resample_choose(rows, N, weight, N, 1, key);
	resample_choose(few, 20, weight, N, 1, key);
	ck_assert_mem_eq(few, rows, sizeof(few));
	for (size_t i = 0; i < N; i++) {
		ck_assert(!seen[rows[i]]);
		seen[rows[i]] = true;
		ck_assert(i < 200 ? weight[rows[i]] > 0 : weight[rows[i]] == 0);
	}
	resample_choose(NULL, 0, weight, N, 1, key);
}
END_TEST

/* ---- The median ------------------------------------------------------------------------------------------------------- */

START_TEST(the_median_has_the_least_distances)
{
	enum { N = 1500, D = 7 };
	float *x = mem_alloc_aligned(N, D * sizeof(float));
	double at[D], other[D], pull[D] = { 0 };
	pool *p[2] = { NULL };

	for (size_t t = 0; t < N; t++)
		for (size_t i = 0; i < D; i++) /* one row in ten is far off */
			x[t * D + i] = (float)(hash64_unit(hash64_mix(t, i)) + (t % 10 ? 0 : 50));
	ck_assert_int_eq(pool_new(&p[0], 1, NULL), 0);
	ck_assert_int_eq(pool_new(&p[1], 3, NULL), 0);
	ck_assert_int_eq(geometric_median(at, x, N, D, p[0], NULL), 0);
	ck_assert_int_eq(geometric_median(other, x, N, D, p[1], NULL), 0);
	ck_assert_mem_eq(at, other, sizeof(at));
	for (size_t t = 0; t < N; t++) {
		double squares = 0;

		for (size_t i = 0; i < D; i++)
			squares += ((double)x[t * D + i] - at[i]) * ((double)x[t * D + i] - at[i]);
		for (size_t i = 0; i < D; i++)
			pull[i] += ((double)x[t * D + i] - at[i]) / sqrt(squares) / N;
	}
	for (size_t i = 0; i < D; i++) {
		ck_assert_double_le(fabs(pull[i]), 1e-4); /* unit vectors to all rows add up to none */
		ck_assert_double_lt(at[i], 0.7);          /* the mean is at 5.5 */
	}
	for (size_t i = 0; i < (size_t)N * D; i++)
		x[i] = 3;
	ck_assert_int_eq(geometric_median(at, x, N, D, p[0], NULL), 0);
	for (size_t i = 0; i < D; i++)
		ck_assert_double_eq(at[i], 3);
	pool_free(p[0]);
	pool_free(p[1]);
	free(x);
}
END_TEST

/* ---- Dead features ---------------------------------------------------------------------------------------------------- */

enum { D = 40, F = 48, TRUE_F = 40, K = 3, BATCH = 256 };

/* Sums of 3 of 40 directions. */
static void make_batch(float *x, unsigned number)
{
	for (size_t t = 0; t < BATCH; t++)
		for (size_t i = 0; i < D; i++) {
			double sum = 0;

			for (size_t j = 0; j < K; j++) {
				uint64_t f = hash64_below(hash64_mix(number, t * K + j), TRUE_F);

				sum += 2 * hash64_unit(hash64_mix(100 + f, i)) - 1;
			}
			x[t * D + i] = (float)sum;
		}
}

enum variant { PLAIN, EIGHT_BITS, WITH_OPTIM, VARIANTS };

static step *dying(enum variant v, pool *p)
{
	const step_config c = {
		.d = D,
		.n_features = F,
		.k = K,
		.batch = BATCH,
		.beta1 = 0.9,
		.beta2 = 0.999,
		.eps = 1e-8,
		.dead_tokens = 10 * BATCH,
		.moments8 = v == EIGHT_BITS,
		.keeps_gradients = v == WITH_OPTIM,
		.optim = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 10, .k = kernels_get(NULL) },
		.resample = 20,
		.k_set = kernels_get(NULL)
	};
	step *s = NULL;

	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	step_init_weights(s, 1);
	for (size_t f = 0; f < F / 2; f++)
		s->b_enc.w[f] = -1e3f; /* these will never fire */
	return s;
}

/* The FVU at the end. */
static double run(step *s, float *x, bool resamples, size_t *n)
{
	step_result r;

	*n = 0;
	for (unsigned t = 1; t <= 400; t++) {
		make_batch(x, t);
		step_run(s, x, NULL, BATCH, 1, 3e-3, &r);
		if (resamples && t % 20 == 0)
			*n += step_resample(s, 10 * BATCH, t);
	}
	return r.fvu;
}

START_TEST(planted_dead_features_live_again)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float));
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int v = PLAIN; v < VARIANTS; v++) {
		double fvu[2];

		for (int resamples = 0; resamples < 2; resamples++) {
			step *s = dying((enum variant)v, p);
			size_t n, silent = 0;

			fvu[resamples] = run(s, x, resamples, &n);
			for (size_t f = 0; f < F / 2; f++)
				silent += s->silent[f] >= 10 * BATCH;
			if (resamples) {
				ck_assert_uint_ge(n, F / 2);
				ck_assert_uint_le(silent, 4);
			} else {
				ck_assert_uint_eq(n, 0);
				ck_assert_uint_eq(silent, F / 2);
			}
			step_free(s);
		}
		ck_assert_msg(fvu[1] < 0.8 * fvu[0], "FVU %g, %g without", fvu[1], fvu[0]);
	}
	pool_free(p);
	free(x);
}
END_TEST

/* dictionary_learning's rule to the letter. */
START_TEST(they_begin_at_rows_of_the_batch)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float));
	double alive = 0, rms = 0;
	step_result r;
	pool *p = NULL;
	step *s;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	s = dying(PLAIN, p);
	for (unsigned t = 1; t <= 12; t++) {
		make_batch(x, t);
		step_run(s, x, NULL, BATCH, 1, 3e-3, &r);
	}
	for (size_t f = F / 2; f < F; f++) {
		if (s->silent[f] > 10 * BATCH)
			continue; /* dead by itself: not counted below */
		alive += sqrt(s->c.k_set->sum_squares(s->W_enc.w + f * D, D));
	}
	ck_assert_uint_eq(step_resample(s, 10 * BATCH, 5), F / 2);
	alive /= F / 2;
	for (size_t t = 0; t < BATCH; t++)
		rms += s->c.k_set->sum_squares(s->x + t * D, D) / BATCH;
	rms = sqrt(rms);
	for (size_t f = 0; f < F / 2; f++) {
		const float *dec = s->W_dec.w + f * D, *enc = s->W_enc.w + f * D;
		size_t found = 0;

		ck_assert(s->b_enc.w[f] == 0 && s->b_enc.m[f] == 0 && s->b_enc.v[f] == 0);
		ck_assert_uint_eq(s->silent[f], 0);
		for (size_t t = 0; t < BATCH; t++) {
			const float *row = s->x + t * D;
			double norm = sqrt(s->c.k_set->sum_squares(row, D)), worst = 0;

			for (size_t i = 0; i < D; i++) {
				worst = fmax(worst, fabs((double)dec[i] - (double)row[i] / norm));
				worst = fmax(worst,
				             fabs((double)enc[i] - 0.2 * alive / rms * (double)row[i]));
			}
			found += worst < 1e-6;
		}
		ck_assert_uint_ge(found, 1);
		for (size_t i = 0; i < D; i++)
			ck_assert(s->W_enc.m[f * D + i] == 0 && s->W_dec.v[f * D + i] == 0);
	}
	step_free(s);
	pool_free(p);
	free(x);
}
END_TEST

/* ---- The same with gradient buffers ---------------------------------------------------------------------------------- */

enum { D_OUT = 24 }; /* of targets */

/* Of so many the same directions in the targets, and inputs far off 0. */
static void make_targets(float *y, float *x, unsigned number)
{
	make_batch(x, number);
	for (size_t t = 0; t < BATCH; t++) {
		for (size_t i = 0; i < D_OUT; i++) {
			double sum = 0;

			for (size_t j = 0; j < K; j++) {
				uint64_t f = hash64_below(hash64_mix(number, t * K + j), TRUE_F);

				sum += 2 * hash64_unit(hash64_mix(500 + f, i)) - 1;
			}
			y[t * D_OUT + i] = (float)sum;
		}
		for (size_t i = 0; i < D; i++)
			x[t * D + i] += 2;
	}
}

static fit_config dying_config(fit_arch arch)
{
	return (fit_config){ .d_in = D,
		             .d_out = D,
		             .n_features = F,
		             .batch = BATCH,
		             .arch = arch,
		             .penalty = arch == FIT_JUMPRELU ? FIT_STEP : FIT_L1,
		             .bandwidth = 0.5,
		             .theta_lr = 20,
		             .relative = true,
		             .optim = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .k = kernels_get(NULL) },
		             .dead_tokens = 10 * BATCH,
		             .resamples = true,
		             .k_set = kernels_get(NULL) };
}

static fit *dying_fit(fit_arch arch, pool *p, double auxk_alpha, float bias)
{
	fit_config c = dying_config(arch);
	fit *s = NULL;

	c.centers = true;
	c.unit_decoder = true;
	c.auxk_alpha = auxk_alpha;
	c.start_share = 2. * K / F;
	ck_assert_int_eq(fit_new(&s, &c, p, NULL), 0);
	for (size_t i = 0; i < (size_t)F * D; i++)
		s->param[FIT_W_DEC].w[i] = (float)(2 * hash64_unit(hash64_mix(3, i)) - 1);
	for (size_t f = 0; f < F; f++) {
		float *dec = s->param[FIT_W_DEC].w + f * D;
		double norm = sqrt(s->c.k_set->sum_squares(dec, D));

		for (size_t i = 0; i < D; i++) {
			dec[i] = (float)(dec[i] / norm);
			s->param[FIT_W_ENC].w[f * D + i] = 0.4f * dec[i];
		}
		s->param[FIT_B_ENC].w[f] = f < F / 2 ? bias : 0;
		if (arch == FIT_JUMPRELU)
			s->param[FIT_THETA].w[f] = 0.1f;
	}
	return s;
}

static double run_fit(fit *s, float *x, bool resamples, size_t *n)
{
	const fit_now now = { .lr = 3e-3, .coef = 0.02, .p = 1 };
	fit_result r;

	*n = 0;
	for (unsigned t = 1; t <= 400; t++) {
		make_batch(x, t);
		fit_run(s, x, NULL, BATCH, 1, &now, &r);
		if (resamples && t % 20 == 0)
			*n += fit_resample(s, 10 * BATCH, t);
	}
	return r.fvu;
}

START_TEST(so_they_do_with_gradient_buffers)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float));
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int arch = FIT_RELU; arch <= FIT_JUMPRELU; arch++) {
		double fvu[2];

		for (int resamples = 0; resamples < 2; resamples++) {
			fit *s = dying_fit((fit_arch)arch, p, 0, -1e3f);
			size_t n, silent = 0;

			fvu[resamples] = run_fit(s, x, resamples, &n);
			for (size_t f = 0; f < F / 2; f++)
				silent += s->silent[f] >= 10 * BATCH;
			ck_assert_uint_eq(n >= F / 2, resamples);
			ck_assert_uint_le(silent, resamples ? 4 : F / 2);
			ck_assert_uint_ge(silent, resamples ? 0 : F / 2);
			fit_free(s);
		}
		ck_assert_msg(fvu[1] < 0.8 * fvu[0], "FVU %g, %g without", fvu[1], fvu[0]);
	}
	pool_free(p);
	free(x);
}
END_TEST

/* ---- Transcoders ------------------------------------------------------------------------------------------------------ */

/* Row f of weights begins at a row of the batch: enc (D) at the input less the mean, dec (D_OUT) at its error, so long. Returns the bias. */
static double check_pair(const float *enc, const float *dec, const float *x, const float *e, double scale,
                         double length)
{
	double mean[D] = { 0 }, bias = 0;
	size_t found = 0;

	for (size_t t = 0; t < BATCH; t++)
		for (size_t i = 0; i < D; i++)
			mean[i] += (double)x[t * D + i] / BATCH;
	for (size_t t = 0; t < BATCH; t++) {
		double norm = 0, worst = 0;

		for (size_t i = 0; i < D_OUT; i++)
			norm += (double)e[t * D_OUT + i] * (double)e[t * D_OUT + i];
		for (size_t i = 0; i < D_OUT; i++)
			worst = fmax(worst,
			             fabs((double)dec[i] - length * (double)e[t * D_OUT + i] / sqrt(norm)));
		for (size_t i = 0; i < D; i++)
			worst = fmax(worst, fabs((double)enc[i] - scale * ((double)x[t * D + i] - mean[i])));
		found += worst < 1e-6;
	}
	ck_assert_uint_ge(found, 1);
	for (size_t i = 0; i < D; i++)
		bias -= mean[i] * (double)enc[i];
	return bias;
}

/* RMS norm of rows (D) less their mean. */
static double spread(const float *x)
{
	double *wide = mem_alloc_aligned((size_t)BATCH * D, sizeof(double)), squares;

	for (size_t i = 0; i < (size_t)BATCH * D; i++)
		wide[i] = (double)x[i];
	squares = support_scatter(wide, BATCH, D);
	free(wide);
	return sqrt(squares / BATCH);
}

static double mean_norm(const float *w, size_t first, size_t end, size_t d)
{
	double sum = 0;

	for (size_t f = first; f < end; f++)
		sum += sqrt(kernels_get(NULL)->sum_squares(w + f * d, d));
	return sum / (double)(end - first);
}

/* A step on pairs, half of whose features will never fire. */
static step *dying_step(pool *p)
{
	const step_config c = { .d = D,
		                .d_out = D_OUT,
		                .n_features = F,
		                .k = K,
		                .batch = BATCH,
		                .beta1 = 0.9,
		                .beta2 = 0.999,
		                .eps = 1e-8,
		                .dead_tokens = 10 * BATCH,
		                .resample = 20,
		                .k_set = kernels_get(NULL) };
	double mean[D];
	step *s = NULL;

	for (size_t i = 0; i < D; i++)
		mean[i] = 2;
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	step_init_weights(s, 1);
	step_init_bias(s, mean);
	for (size_t f = 0; f < F / 2; f++)
		s->b_enc.w[f] = -1e3f;
	return s;
}

static void check_first_time(step *s)
{
	double enc = mean_norm(s->W_enc.w, F / 2, F, D), dec = mean_norm(s->W_dec.w, F / 2, F, D_OUT);

	ck_assert_uint_eq(step_resample(s, 10 * BATCH, 20), F / 2);
	for (size_t f = 0; f < F / 2; f++) {
		double bias = check_pair(s->W_enc.w + f * D, s->W_dec.w + f * D_OUT, s->x, s->e,
		                         0.2 * enc / spread(s->x), dec);

		ck_assert_double_le(fabs(bias - (double)s->b_enc.w[f]), 1e-4);
	}
}

START_TEST(pairs_begin_at_inputs_and_errors)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float)),
	      *y = mem_alloc_aligned(BATCH, D_OUT * sizeof(float));
	double fvu[2];
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int resamples = 0; resamples < 2; resamples++) {
		step *s = dying_step(p);
		size_t silent = 0;
		step_result r;

		for (unsigned t = 1; t <= 400; t++) {
			make_targets(y, x, t);
			step_run(s, x, y, BATCH, 1, 3e-3, &r);
			if (resamples && t == 20)
				check_first_time(s);
			else if (resamples && t % 20 == 0)
				(void)step_resample(s, 10 * BATCH, t);
		}
		for (size_t f = 0; f < F / 2; f++)
			silent += s->silent[f] >= 10 * BATCH;
		ck_assert_uint_le(silent, resamples ? 4 : F / 2);
		ck_assert_uint_ge(silent, resamples ? 0 : F / 2);
		fvu[resamples] = r.fvu;
		step_free(s);
	}
	ck_assert_msg(fvu[1] < 0.8 * fvu[0], "FVU %g, %g without", fvu[1], fvu[0]);
	pool_free(p);
	free(x);
	free(y);
}
END_TEST

static fit *dying_pair(fit_arch arch, pool *p)
{
	fit_config c = dying_config(arch);
	fit *s = NULL;

	c.d_out = D_OUT;
	c.skip = true;
	c.by_norm = true;
	c.start_theta = 0.25;
	c.log_theta = true;
	ck_assert_int_eq(fit_new(&s, &c, p, NULL), 0);
	support_fill(s->param[FIT_W_ENC].w, (size_t)F * D, 3);
	support_fill(s->param[FIT_W_DEC].w, (size_t)F * D_OUT, 4);
	for (size_t f = 0; f < F; f++) {
		s->param[FIT_B_ENC].w[f] = f < F / 2 ? -1e3f : 0;
		for (size_t i = 0; i < D && f >= F / 2; i++)
			s->param[FIT_B_ENC].w[f] -=
			        2 * s->param[FIT_W_ENC].w[f * D + i]; /* of the mean row */
		if (arch == FIT_GATED)
			s->param[FIT_B_MAG].w[f] = s->param[FIT_B_ENC].w[f];
		if (arch == FIT_JUMPRELU)
			s->param[FIT_THETA].w[f] = -2;
	}
	return s;
}

START_TEST(so_they_do_beside_a_penalty)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float)),
	      *y = mem_alloc_aligned(BATCH, D_OUT * sizeof(float));
	const fit_now now = { .lr = 3e-3, .coef = 0.02, .p = 1 };
	const fit_param *p;
	double enc, dec;
	pool *threads = NULL;
	fit_result r;
	fit *s;

	ck_assert_int_eq(pool_new(&threads, 1, NULL), 0);
	s = dying_pair((fit_arch)_i, threads);
	p = s->param;
	for (unsigned t = 1; t <= 12; t++) {
		make_targets(y, x, t);
		fit_run(s, x, y, BATCH, 1, &now, &r);
	}
	enc = mean_norm(p[FIT_W_ENC].w, F / 2, F, D);
	dec = mean_norm(p[FIT_W_DEC].w, F / 2, F, D_OUT);
	ck_assert_uint_eq(fit_resample(s, 10 * BATCH, 5), F / 2);
	for (size_t f = 0; f < F / 2; f++) {
		double bias = check_pair(p[FIT_W_ENC].w + f * D, p[FIT_W_DEC].w + f * D_OUT, s->x, s->e,
		                         0.2 * enc / spread(s->x), dec);

		ck_assert_double_le(fabs(bias - (double)p[FIT_B_ENC].w[f]), 1e-4);
		if (_i == FIT_GATED) {
			ck_assert(p[FIT_B_MAG].w[f] == p[FIT_B_ENC].w[f] && p[FIT_R_MAG].w[f] == 0);
		} else if (_i == FIT_JUMPRELU) {
			ck_assert_double_le(fabs(expf(p[FIT_THETA].w[f]) - 0.25), 1e-6);
		}
	}
	fit_free(s);
	pool_free(threads);
	free(x);
	free(y);
}
END_TEST

/* Thresholds begin where the share asked for fires, or at the one asked for. */
START_TEST(thresholds_begin_where_few_fire)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float));
	const fit_now now = { .lr = 3e-3, .coef = 0.02, .p = 1 };
	const size_t want = (size_t)ceil(2. * K / F * BATCH);
	pool *p = NULL;
	fit_result r;
	fit *s;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	s = dying_fit(FIT_JUMPRELU, p, 0, -1e3f);
	for (unsigned t = 1; t <= 12; t++) {
		make_batch(x, t);
		fit_run(s, x, NULL, BATCH, 1, &now, &r);
	}
	ck_assert_uint_eq(fit_resample(s, 10 * BATCH, 5), F / 2);
	for (size_t f = 0; f < F / 2; f++) {
		const float *enc = s->param[FIT_W_ENC].w + f * D, theta = s->param[FIT_THETA].w[f];
		size_t fires = 0;

		for (size_t t = 0; t < BATCH; t++)
			fires += s->c.k_set->dot(s->x + t * D, enc, D) > theta;
		ck_assert_uint_eq(fires + 1, want); /* the last of them is at it */
	}
	fit_free(s);
	pool_free(p);
	free(x);
}
END_TEST

/* ---- AuxK ------------------------------------------------------------------------------------------------------------- */

/* Features that no row makes fire come alive by AuxK, and only by it. */
START_TEST(auxk_wakes_them_too)
{
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float));
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int arch = FIT_RELU; arch <= FIT_JUMPRELU; arch++) {
		double fvu[2];

		for (int with = 0; with < 2; with++) {
			fit *s = dying_fit((fit_arch)arch, p, with ? 1.0 / 32 : 0, -4);
			size_t n, silent = 0;

			fvu[with] = run_fit(s, x, false, &n);
			for (size_t f = 0; f < F / 2; f++)
				silent += s->silent[f] >= 10 * BATCH;
			ck_assert_uint_le(silent, with ? F - TRUE_F : F / 2); /* there is nothing for more */
			ck_assert_uint_ge(silent, with ? 0 : F / 2);
			fit_free(s);
		}
		ck_assert_msg(fvu[1] < 0.95 * fvu[0], "FVU %g, %g without", fvu[1], fvu[0]);
	}
	pool_free(p);
	free(x);
}
END_TEST

static void cases(Suite *s)
{
	TCase *pairs = tcase_create("pairs");

	SUPPORT_CASE(s, "draw", rows_are_drawn_by_weight, all_rows_can_be_drawn);
	SUPPORT_CASE(s, "median", the_median_has_the_least_distances);
	SUPPORT_CASE(s, "step", planted_dead_features_live_again, they_begin_at_rows_of_the_batch,
	             so_they_do_with_gradient_buffers, auxk_wakes_them_too, thresholds_begin_where_few_fire,
	             pairs_begin_at_inputs_and_errors);
	tcase_add_loop_test(pairs, so_they_do_beside_a_penalty, 0, FIT_JUMPRELU + 1);
	suite_add_tcase(s, pairs);
}
SUPPORT_MAIN("resample", cases)
