/* Logistic regression against scikit-learn's answers, its own optimality in FP64, and one solver against the other. */
#include "sae/logistic.h"
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20, P = 3, MANY = 300, WIDE = 1500, N_ENDS = 7 };

static float noise(uint64_t seed, uint64_t i)
{
	return (float)(hash64_unit(hash64_mix(seed, i)) * 2 - 1);
}

/* What scikit-learn 1.9.1 answers:
 *	X = np.array([[((i * 7 + j * 3) % 11) - 5 for j in range(3)] for i in range(20)], dtype=float) / 4
 *	y = np.array([(i * 5) % 7 < 3 for i in range(20)])
 *	LogisticRegression(C=C, solver="newton-cholesky", tol=1e-14, max_iter=1000).fit(X, y) */
static const struct {
	double c, w[P], b;
} sklearn[] = {
	{ 1, { 0.768342887295, -0.562605597614, 0.466218427122 }, -0.382211414621 },
	{ 0.1, { 0.208372996332, -0.204080511143, 0.091460621815 }, -0.394240910141 },
	{ 50, { 1.321396727052, -0.615933194342, 0.967000663680 }, -0.381481444868 },
};

START_TEST(agrees_with_scikit_learn)
{
	float x[N * P];
	uint32_t rows[N];
	uint8_t y[N];
	logistic_data data = { .n = N, .p = P, .rows = rows, .x = x, .y = y, .weight = { 1, 1 } };
	logistic_fit fit;
	double w[P];
	error e = { 0 };

	for (uint32_t i = 0; i < N; i++) {
		rows[i] = i;
		y[i] = i * 5 % 7 < 3;
		for (uint32_t j = 0; j < P; j++)
			x[i * P + j] = (float)((int)((i * 7 + j * 3) % 11) - 5) / 4;
	}
	ck_assert_int_eq(logistic_solve(&fit, w, &data, sklearn[_i].c, &e), 0);
	ck_assert(fit.converged);
	for (uint32_t j = 0; j < P; j++)
		ck_assert_double_eq_tol(w[j], sklearn[_i].w[j], 1e-6);
	ck_assert_double_eq_tol(fit.bias, sklearn[_i].b, 1e-6);
}
END_TEST

/* n rows of p columns, a few of which tell y; as dense rows and as codes of the same values. */
typedef struct made {
	float *x;
	sae_codes codes;
	uint32_t *rows;
	uint8_t *y;
	logistic_data data;
} made;

static void make(made *m, uint32_t n, uint32_t p, bool separable)
{
	size_t at = 0;

	*m = (made){ .x = calloc((size_t)n * p, sizeof(float)),
		     .rows = calloc(n, sizeof(uint32_t)),
		     .y = calloc(n, 1) };
	m->codes = (sae_codes){ .n = n,
		                .first = calloc(n + 1, sizeof(size_t)),
		                .index = calloc((size_t)n * p, sizeof(uint32_t)),
		                .value = calloc((size_t)n * p, sizeof(float)) };
	for (uint32_t i = 0; i < n; i++) {
		m->rows[i] = i;
		m->y[i] = hash64_mix(3, i) % 3 == 0;
		for (uint32_t j = 0; j < p; j++) {
			float v = noise(5, (uint64_t)i * p + j) +
			          (j < 4 && m->y[i] ? (separable ? 9.0f : 0.8f) : 0);

			v = hash64_mix(6, (uint64_t)i * p + j) % 4 == 0 || j < 4 ? 3 * v : 0;
			m->x[(size_t)i * p + j] = v;
			if (v > 0 || v < 0) {
				m->codes.index[at] = j;
				m->codes.value[at++] = v;
			}
		}
		m->codes.first[i + 1] = at;
	}
	m->data = (logistic_data){
		.n = n, .p = p, .rows = m->rows, .codes = &m->codes, .y = m->y, .weight = { 1, 1 }
	};
}

static void unmake(made *m)
{
	free(m->x);
	free(m->rows);
	free(m->y);
	sae_codes_free(&m->codes);
}

/* The largest part of the gradient, from the formula, relative to that at w = 0. */
static double gradient_left(const made *m, const double *w, double b, double c)
{
	uint32_t p = m->data.p;
	double worst = 0, worst_zero = 0;

	for (uint32_t j = 0; j <= p; j++) {
		double g = j < p ? w[j] : 0, zero = 0;

		for (uint32_t i = 0; i < m->data.n; i++) {
			const float *x = m->x + (size_t)i * p;
			double z = b, xj = j < p ? (double)x[j] : 1;

			for (uint32_t k = 0; k < p; k++)
				z += (double)x[k] * w[k];
			g += c * xj * (1 / (1 + exp(-z)) - m->y[i]);
			zero += c * xj * (0.5 - m->y[i]);
		}
		worst = fmax(worst, fabs(g));
		worst_zero = fmax(worst_zero, fabs(zero));
	}
	return worst / worst_zero;
}

/* Over and under as many columns as rows, separable or not, penalised much or little. */
START_TEST(ends_where_the_gradient_vanishes)
{
	static const struct {
		uint32_t n, p;
		bool separable;
		double c;
	} shapes[] = { { 120, 30, false, 1 },
		       { 120, 30, true, 1 },
		       { 40, 90, false, 1 },
		       { 120, 30, false, 1e4 },
		       { 5, 1, false, 1 } };
	double *w = calloc(shapes[_i].p, sizeof(*w));
	logistic_fit fit;
	error e = { 0 };
	made m;

	for (int dense = 0; dense < 2; dense++) {
		make(&m, shapes[_i].n, shapes[_i].p, shapes[_i].separable);
		m.data.x = dense ? m.x : NULL;
		ck_assert_int_eq(logistic_solve(&fit, w, &m.data, shapes[_i].c, &e), 0);
		ck_assert(fit.converged);
		ck_assert_double_lt(gradient_left(&m, w, fit.bias, shapes[_i].c),
		                    dense && shapes[_i].p <= LOGISTIC_DIRECT ? 1e-3 : 5e-3);
		unmake(&m);
	}
	free(w);
}
END_TEST

/* Codes of all columns of x, for the second solver beside the first. */
static void fill_codes(made *m)
{
	for (uint32_t i = 0; i <= m->data.n; i++)
		m->codes.first[i] = (size_t)i * m->data.p;
	for (size_t i = 0; i < (size_t)m->data.n * m->data.p; i++) {
		m->codes.value[i] = m->x[i];
		m->codes.index[i] = (uint32_t)(i % m->data.p);
	}
}

/* Far apart (where the gradient is small long before the end), just apart, mixed; with a rare class, in one block, weights, other C:
 * the descent ends where Newton's method does, on the way of a sample and with rows at rest. */
START_TEST(descent_ends_at_the_minimum)
{
	static const struct {
		uint32_t n, every;
		float apart;
		double c, weight;
		bool block;
	} cases[] = { { 2000, 3, 8, 1, 1, false },     { 2000, 3, 1.2f, 1, 1, false },
		      { 2000, 40, 0.8f, 1, 1, false }, { 2000, 3, 0.3f, 1, 1, true },
		      { 2000, 40, 2, 1, 20, false },   { 2000, 3, 8, 1e-3, 1, false },
		      { 2000, 3, 1.2f, 100, 1, true } };
	uint32_t n = cases[_i].n;
	double w[60];
	logistic_fit newton, descent;
	error e = { 0 };
	made m;

	make(&m, n, 60, true);
	m.data.weight[1] = cases[_i].weight;
	for (uint32_t i = 0; i < n; i++)
		m.y[i] = (uint8_t)(cases[_i].block ? i < n / cases[_i].every
		                                   : hash64_mix(3, i) % cases[_i].every == 0);
	for (size_t i = 0; i < (size_t)n * 60; i++)
		m.x[i] = 10 * noise(8, i) + (m.y[i / 60] ? cases[_i].apart : 0);
	fill_codes(&m);
	m.data.x = m.x;
	ck_assert_int_eq(logistic_solve(&newton, w, &m.data, cases[_i].c, &e), 0);
	ck_assert(newton.converged);
	for (int dense = 0; dense < 2; dense++) {
		m.data.x = dense ? m.x : NULL;
		descent = (logistic_fit){ 0 };
		ck_assert_int_eq(logistic_descend(&descent, w, &m.data, cases[_i].c, &e), 0);
		ck_assert_msg(descent.converged, "after %u steps at %g", descent.steps, descent.objective);
		ck_assert_msg(descent.objective <= 1.01 * newton.objective &&
		                      descent.objective > (1 - 1e-5) * newton.objective,
		              "%g in %u steps, %g", descent.objective, descent.steps, newton.objective);
	}
	unmake(&m);
}
END_TEST

START_TEST(solvers_agree)
{
	double *w[2] = { calloc(WIDE, sizeof(double)), calloc(WIDE, sizeof(double)) };
	logistic_fit fit[2];
	error e = { 0 };
	made m;

	make(&m, MANY, 200, false);
	for (int dense = 0; dense < 2; dense++) {
		m.data.x = dense ? m.x : NULL;
		ck_assert_int_eq(logistic_solve(&fit[dense], w[dense], &m.data, 1, &e), 0);
		ck_assert(fit[dense].converged);
	}
	ck_assert_double_eq_tol(fit[0].objective, fit[1].objective, LOGISTIC_PROMISE * fit[1].objective);
	for (uint32_t j = 0; j < 200; j++)
		ck_assert_double_eq_tol(w[0][j], w[1][j], 0.03);
	unmake(&m);
	free(w[0]);
	free(w[1]);
}
END_TEST

START_TEST(columns_that_tell_nothing_are_no_trouble)
{
	float x[8] = { 0 };
	uint32_t rows[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	uint8_t y[8] = { 1, 0, 0, 0, 1, 0, 0, 0 };
	logistic_data data = { .n = 8, .p = 1, .rows = rows, .x = x, .y = y, .weight = { 1, 1 } };
	logistic_fit fit;
	double w[1] = { 9 };
	error e = { 0 };

	ck_assert_int_eq(logistic_solve(&fit, w, &data, 1, &e), 0);
	ck_assert(fit.converged);
	ck_assert_double_eq(w[0], 0);
	ck_assert_double_eq_tol(fit.bias, log(2.0 / 6), 1e-12);
}
END_TEST

START_TEST(no_memory_is_an_error)
{
	double *w = calloc(200, sizeof(*w));
	logistic_fit fit;
	error e = { 0 };
	made m;
	int rc;

	make(&m, 30, 200, false);
	for (long n = 0;; n++) {
		fault_arm(FAULT_ALLOC, n);
		rc = logistic_solve(&fit, w, &m.data, 1, &e);
		if (!fault_disarm(FAULT_ALLOC))
			break;
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	ck_assert_int_eq(rc, 0);
	unmake(&m);
	free(w);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "logistic", solvers_agree, columns_that_tell_nothing_are_no_trouble,
	                        no_memory_is_an_error);

	tcase_add_loop_test(t, agrees_with_scikit_learn, 0, 3);
	tcase_add_loop_test(t, ends_where_the_gradient_vanishes, 0, 5);
	tcase_add_loop_test(t, descent_ends_at_the_minimum, 0, N_ENDS);
}

SUPPORT_MAIN("logistic", cases)
