/* Training by matching pursuit: gradients by central differences in FP64 with the choices held, the rule of inference, planted features. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>

#include "sae/pursuit_step.h"

static pool *threads;
static error e;

static double normal(uint64_t seed, uint64_t i)
{
	double u = hash64_unit(hash64_mix(seed, 2 * i)), v = hash64_unit(hash64_mix(seed, 2 * i + 1));

	return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * v);
}

static void fill(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)normal(seed, i);
}

static pursuit_step *make(uint32_t d, uint32_t n, uint32_t k, uint32_t batch, double residual, bool ends)
{
	const pursuit_config c = { .d = d,
		                   .n_features = n,
		                   .k = k,
		                   .batch = batch,
		                   .residual = residual,
		                   .repeat_ends = ends,
		                   .beta1 = 0.9,
		                   .beta2 = 0.999,
		                   .eps = 1e-8,
		                   .dead_tokens = UINT64_MAX,
		                   .k_set = kernels_get(NULL) };
	pursuit_step *s = NULL;

	ck_assert_msg(pursuit_step_new(&s, &c, threads, &e) == 0, "%s", e.msg);
	pursuit_step_init(s, 1);
	return s;
}

/* ---- Gradients ---------------------------------------------------------------------------------------------------------- */

enum { D = 6, F = 9, K = 4, N = 13 };

/* Logarithm of the FVU, rows taking the features given, each with the value that the residual then has. */
static double log_fvu(const double *w, const double *b, const float *x, const pursuit_step *s)
{
	double squares = 0, total = 0;

	for (size_t i = 0; i < D; i++) {
		double mean = 0;

		for (size_t t = 0; t < N; t++)
			mean += (double)x[t * D + i] / N;
		for (size_t t = 0; t < N; t++)
			total += ((double)x[t * D + i] - mean) * ((double)x[t * D + i] - mean);
	}
	for (size_t t = 0; t < N; t++) {
		double left[D];

		for (size_t i = 0; i < D; i++)
			left[i] = (double)x[t * D + i] - b[i];
		for (size_t i = 0; i < s->n_made[t]; i++) {
			const double *a = w + s->list.index[t * K + i] * D;
			double value = 0;

			for (size_t j = 0; j < D; j++)
				value += left[j] * a[j];
			for (size_t j = 0; j < D; j++)
				left[j] -= value * a[j];
		}
		for (size_t i = 0; i < D; i++)
			squares += left[i] * left[i];
	}
	return log(squares / total);
}

static double slope(double *at, const double *w, const double *b, const float *x, const pursuit_step *s)
{
	double was = *at, up, down;

	*at = was + 1e-5;
	up = log_fvu(w, b, x, s);
	*at = was - 1e-5;
	down = log_fvu(w, b, x, s);
	*at = was;
	return (up - down) / 2e-5;
}

/* Adam's mean after one step is a tenth of the gradient, which has lost what is along the feature. */
START_TEST(gradient_is_that_of_central_differences)
{
	pursuit_step *s = make(D, F, K, N, 0, _i);
	double w[F * D], b[D], grad[D];
	float x[N * D];
	step_result r;

	fill(x, N * D, 3);
	fill(s->b_dec.w, D, 4);
	for (size_t i = 0; i < F * D; i++)
		w[i] = (double)s->W.w[i];
	for (size_t i = 0; i < D; i++)
		b[i] = (double)s->b_dec.w[i];
	pursuit_step_run(s, x, N, 1, 1e-3, &r);
	ck_assert_double_eq_tol(log(r.fvu), log_fvu(w, b, x, s), 1e-6);
	for (size_t f = 0; f < F; f++) {
		double along = 0;

		for (size_t i = 0; i < D; i++) {
			grad[i] = slope(w + f * D + i, w, b, x, s);
			along += grad[i] * w[f * D + i];
		}
		for (size_t i = 0; i < D; i++)
			ck_assert_double_eq_tol((double)s->W.m[f * D + i] * 10,
			                        grad[i] - along * w[f * D + i], 5e-6);
	}
	for (size_t i = 0; i < D; i++)
		ck_assert_double_eq_tol((double)s->b_dec.m[i] * 10, slope(b + i, w, b, x, s), 5e-6);
	pursuit_step_free(s);
}
END_TEST

/* ---- The rule -------------------------------------------------------------------------------------------------------------- */

/* What a row is described by in a step is what the model's encoder says; by bits: a residual that ends it, repeats that do. */
START_TEST(takes_what_inference_takes)
{
	enum { D2 = 20, F2 = 60, K2 = 12, N2 = 600 };
	pursuit_step *s = make(D2, F2, K2, N2, _i & 1 ? 1.5 : 0, _i & 2);
	static float x[N2 * D2];
	sae_encoder *encoder = NULL;
	sae_codes codes = { 0 };
	sae_model *m = NULL;
	size_t repeats = 0, short_rows = 0;
	step_result r;

	fill(x, N2 * D2, 5);
	ck_assert_int_eq(sae_model_new(&m, SAE_PURSUIT, D2, F2, 0, &e), 0);
	memcpy(m->W_dec, s->W.w, sizeof(float) * F2 * D2);
	m->pursuit = (sae_pursuit){ s->c.residual, K2, s->c.repeat_ends };
	ck_assert_int_eq(sae_encoder_new(&encoder, m, threads, NULL, &e), 0);
	ck_assert_int_eq(sae_encode(encoder, x, N2, &codes, &e), 0);
	pursuit_step_run(s, x, N2, 1, 0, &r);
	ck_assert_uint_ge(s->wave, N2);
	for (size_t t = 0; t < N2; t++) {
		size_t n = 0;

		for (size_t i = 0; i < s->n_made[t]; i++)
			n += s->list.value[t * K2 + i] > 0;
		repeats += s->n_made[t] - n;
		short_rows += s->n_made[t] < K2;
		ck_assert_uint_eq(codes.first[t + 1] - codes.first[t], n);
		for (size_t j = codes.first[t]; j < codes.first[t + 1]; j++) {
			double value = 0;

			for (size_t i = 0; i < s->n_made[t]; i++)
				if (s->list.index[t * K2 + i] == codes.index[j])
					value += (double)s->value[t * K2 + i];
			ck_assert_double_eq_tol(value, (double)codes.value[j], 1e-5);
		}
	}
	ck_assert_uint_gt(repeats, 0);
	ck_assert_int_eq(short_rows > 0, _i > 0);
	ck_assert_double_eq_tol(r.l0, (double)codes.first[N2] / N2, 1e-12);
	sae_codes_free(&codes);
	sae_encoder_free(encoder);
	sae_model_free(m);
	pursuit_step_free(s);
}
END_TEST

/* ---- Runs -------------------------------------------------------------------------------------------------------------------- */

/* Rows of 3 of 48 directions in 32 dimensions with values 1 to 2. */
START_TEST(finds_planted_features)
{
	enum { D3 = 32, F3 = 48, N3 = 512 };
	pursuit_step *s = make(D3, F3, 3, N3, 1e-2, true);
	static float truth[F3 * D3], x[N3 * D3];
	size_t found = 0;
	step_result r;

	fill(truth, F3 * D3, 6);
	for (size_t f = 0; f < F3; f++)
		s->c.k_set->scale(truth + f * D3,
		                  (float)(1 / sqrt(s->c.k_set->sum_squares(truth + f * D3, D3))), D3);
	for (uint64_t turn = 0; turn < 400; turn++) {
		memset(x, 0, sizeof(x));
		for (size_t t = 0; t < N3; t++)
			for (uint64_t j = 0; j < 3; j++) {
				uint64_t word = hash64_mix(hash64_mix(7, turn), t * 3 + j);

				s->c.k_set->axpy(x + t * D3, (float)(1 + hash64_unit(hash64_mix(word, 1))),
				                 truth + hash64_below(word, F3) * D3, D3);
			}
		pursuit_step_run(s, x, N3, 1, turn < 300 ? 1e-2 : 2e-3, &r);
	}
	for (size_t f = 0; f < F3; f++) {
		float best = -1;

		for (size_t g = 0; g < F3; g++) {
			float c = s->c.k_set->dot(truth + f * D3, s->W.w + g * D3, D3);

			best = c > best ? c : best;
		}
		found += best > 0.9f;
	}
	ck_assert_uint_ge(found, 40);
	ck_assert_double_le(r.fvu, 0.1);
	pursuit_step_free(s);
}
END_TEST

/* Neither threads nor waves nor screening change a bit. */
START_TEST(threads_change_no_bit)
{
	enum { D4 = 24, F4 = 50, N4 = 900 };
	static float x[N4 * D4], last[3][F4 * D4];

	fill(x, N4 * D4, 8);
	for (int i = 0; i < 3; i++) {
		pursuit_step *s;
		step_result r;

		pool_free(threads);
		ck_assert_int_eq(pool_new(&threads, i == 1 ? 3 : 1, &e), 0);
		s = make(D4, F4, 5, N4, 0.1, true);
		if (i == 2)
			s->wave = 2 * STEP_TOKENS;
		for (int turn = 0; turn < 5; turn++)
			pursuit_step_run(s, x, N4, 1.5f, 0.01, &r);
		memcpy(last[i], s->W.w, sizeof(last[i]));
		pursuit_step_free(s);
	}
	ck_assert_int_eq(memcmp(last[0], last[1], sizeof(last[0])), 0);
	for (size_t i = 0; i < F4 * D4; i++) /* sums of waves are added, so only nearly */
		ck_assert_float_eq_tol(last[0][i], last[2][i], 1e-4f);
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

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "pursuit", finds_planted_features, threads_change_no_bit);

	tcase_add_loop_test(t, gradient_is_that_of_central_differences, 0, 2);
	tcase_add_loop_test(t, takes_what_inference_takes, 0, 4);
	tcase_add_checked_fixture(t, setup, teardown);
}

SUPPORT_MAIN("pursuit_step", cases)
