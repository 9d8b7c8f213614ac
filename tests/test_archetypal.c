/* The archetypal decoder: gradients by central differences in FP64, its constraints kept, features in the cone of the points. */
#include "tests/support.h"

#include <math.h>

#include "sae/step.h"

enum { D = 8, F = 10, POINTS = 6, K = 3, N = 40 };

static pool *threads;
static error e;

static void fill(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

static step *make(double delta)
{
	const step_config c = { .d = D,
		                .n_features = F,
		                .k = K,
		                .batch = N,
		                .beta1 = 0.9,
		                .beta2 = 0.999,
		                .eps = 1e-8,
		                .dead_tokens = UINT64_MAX,
		                .archetypal = POINTS,
		                .archetypal_delta = delta,
		                .k_set = kernels_get(NULL) };
	float points[POINTS * D];
	step *s = NULL;

	ck_assert_msg(step_new(&s, &c, threads, &e) == 0, "%s", e.msg);
	fill(points, POINTS * D, 1);
	step_archetypal_start(s, points, 2);
	return s;
}

/* All parameters of the decoder in FP64: W, R, m. */
typedef struct parameters {
	double mix[F * POINTS], relax[F * D], m;
} parameters;

static double log_fvu(const parameters *p, const step *s, const float *x)
{
	double squares = 0, total = 0, dec[F * D];

	for (size_t f = 0; f < F; f++)
		for (size_t i = 0; i < D; i++) {
			double sum = p->relax[f * D + i];

			for (size_t j = 0; j < POINTS; j++)
				sum += p->mix[f * POINTS + j] * (double)s->archetypal->points[j * D + i];
			dec[f * D + i] = exp(p->m) * sum;
		}
	for (size_t i = 0; i < D; i++) {
		double mean = 0;

		for (size_t t = 0; t < N; t++)
			mean += (double)x[t * D + i] / N;
		for (size_t t = 0; t < N; t++) {
			double left = (double)x[t * D + i];

			total += (left - mean) * (left - mean);
			for (size_t j = s->codes.begin[t]; j < s->codes.begin[t] + s->codes.count[t]; j++)
				left -= (double)s->codes.value[j] * dec[s->codes.index[j] * D + i];
			squares += left * left;
		}
	}
	return log(squares / total);
}

static double slope(double *at, const parameters *p, const step *s, const float *x)
{
	double was = *at, up, down;

	*at = was + 1e-5;
	up = log_fvu(p, s, x);
	*at = was - 1e-5;
	down = log_fvu(p, s, x);
	*at = was;
	return (up - down) / 2e-5;
}

/* Adam's means after one step are a tenth of the gradients of W, R and m. */
START_TEST(gradient_is_that_of_central_differences)
{
	step *s = make(1);
	step_archetypal *a = s->archetypal;
	float x[N * D], copy[N * D];
	parameters p;
	step_result r;

	fill(x, N * D, 3);
	fill(a->relax, F * D, 4);
	a->scale[0] = 0.3f;
	for (size_t f = 0; f < F; f++) { /* rows follow R and m */
		for (size_t i = 0; i < D; i++) {
			float sum = a->relax[f * D + i];

			for (size_t j = 0; j < POINTS; j++)
				sum += a->mix[f * POINTS + j] * a->points[j * D + i];
			s->W_dec.w[f * D + i] = expf(0.3f) * sum;
		}
	}
	p.m = (double)a->scale[0];
	for (size_t i = 0; i < F * POINTS; i++)
		p.mix[i] = (double)a->mix[i];
	for (size_t i = 0; i < F * D; i++)
		p.relax[i] = (double)a->relax[i];
	memcpy(copy, x, sizeof(x));
	step_run(s, copy, NULL, N, 1, 1e-3, &r);
	ck_assert_double_gt(r.l0, 1);
	ck_assert_double_eq_tol(log(r.fvu), log_fvu(&p, s, x), 1e-6);
	for (size_t i = 0; i < F * POINTS; i++)
		ck_assert_double_eq_tol((double)a->mix_m[i] * 10, slope(&p.mix[i], &p, s, x), 5e-6);
	for (size_t i = 0; i < F * D; i++)
		ck_assert_double_eq_tol((double)s->W_dec.m[i] * 10, slope(&p.relax[i], &p, s, x), 5e-6);
	ck_assert_double_eq_tol((double)a->scale[1] * 10, slope(&p.m, &p, s, x), 5e-6);
	step_free(s);
}
END_TEST

/* After many steps W is row-stochastic, R short, and decoder rows are what these say. */
START_TEST(constraints_hold)
{
	double delta = _i ? 0.4 : 0;
	step *s = make(delta);
	step_archetypal *a = s->archetypal;
	float x[N * D], copy[N * D];
	double before = 0, longest = 0;
	step_result r;

	fill(x, N * D, 5);
	for (int i = 0; i < 300; i++) {
		memcpy(copy, x, sizeof(x));
		step_run(s, copy, NULL, N, 1, 3e-3, &r);
		before = i ? before : r.fvu;
	}
	ck_assert_double_lt(r.fvu, 0.8 * before);
	for (size_t f = 0; f < F; f++) {
		double sum = 0, norm = 0;

		for (size_t j = 0; j < POINTS; j++) {
			ck_assert_float_ge(a->mix[f * POINTS + j], 0);
			sum += (double)a->mix[f * POINTS + j];
		}
		ck_assert_double_eq_tol(sum, 1, 1e-5);
		for (size_t i = 0; i < D; i++) {
			double row = (double)a->relax[f * D + i];

			norm += row * row;
			for (size_t j = 0; j < POINTS; j++)
				row += (double)a->mix[f * POINTS + j] * (double)a->points[j * D + i];
			ck_assert_double_eq_tol((double)s->W_dec.w[f * D + i], exp((double)a->scale[0]) * row,
			                        1e-5);
		}
		longest = norm > longest ? norm : longest;
	}
	ck_assert_double_le(sqrt(longest), delta / sqrt(D) * 1.00001);
	ck_assert_int_eq(longest > 0, _i);
	step_free(s);
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
	TCase *t = SUPPORT_CASE(s, "archetypal", gradient_is_that_of_central_differences);

	tcase_add_loop_test(t, constraints_hold, 0, 2);
	tcase_add_checked_fixture(t, setup, teardown);
}

SUPPORT_MAIN("archetypal", cases)
