/* See logistic.h. */
#include "sae/logistic.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HESSIAN_ROWS = 128, MAX_HALVINGS = 60, MAX_STEPS = 200 };
#define PROMISE 1e-9 /* of the objective: so little left, and the end is reached */

/* Vectors of p + 1 hold the intercept's part last. */
typedef struct solver {
	const logistic_data *data;
	double c;
	uint32_t p;
	double *w, *gradient, *step, *trial; /* (p + 1) */
	double *margin, *moved;              /* (n) at w, and X step */
	double *chance;                      /* (n) of y at the objective's last margins */
	double *curvature;                   /* (n) C times the second derivative of the loss of each row */
	double *hessian, *scaled;            /* (p + 1, p + 1), (HESSIAN_ROWS, p + 1) */
	arena mem;
} solver;

static double dot(const double *a, const double *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static double dense_dot(const float *x, const double *w, size_t n)
{
	double sum[8] = { 0 };
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		for (size_t j = 0; j < 8; j++)
			sum[j] += (double)x[i + j] * w[i + j];
	for (; i < n; i++)
		sum[0] += (double)x[i] * w[i];
	return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

void logistic_margins(double *out, const logistic_data *data, const double *w, double b)
{
	for (uint32_t i = 0; i < data->n; i++) {
		size_t row = data->rows[i];

		if (data->x) {
			out[i] = b + dense_dot(data->x + row * data->p, w, data->p);
			continue;
		}
		out[i] = b;
		for (size_t at = data->codes->first[row]; at < data->codes->first[row + 1]; at++)
			out[i] += (double)data->codes->value[at] * w[data->codes->index[at]];
	}
}

/* out (p + 1) += the sum of rows times `by` (n). */
static void add_transposed(double *out, const logistic_data *data, const double *by)
{
	for (uint32_t i = 0; i < data->n; i++) {
		size_t row = data->rows[i];

		out[data->p] += by[i];
		if (data->x) {
			const float *x = data->x + row * data->p;

			for (uint32_t j = 0; j < data->p; j++)
				out[j] += by[i] * (double)x[j];
			continue;
		}
		for (size_t at = data->codes->first[row]; at < data->codes->first[row + 1]; at++)
			out[data->codes->index[at]] += by[i] * (double)data->codes->value[at];
	}
}

double logistic_loss(double m)
{
	return m > 0 ? log1p(exp(-m)) : log1p(exp(m)) - m;
}

/* The objective at weights w whose margins are margin + t moved; chance there. A product of 1 + e needs one logarithm for many rows. */
static double objective(solver *s, const double *w, double t)
{
	double beyond[2] = { 0 }, logs[2] = { 0 }, product[2] = { 1, 1 };

	for (uint32_t i = 0; i < s->data->n; i++) {
		uint8_t y = s->data->y[i];
		double m = s->margin[i] + t * s->moved[i], e = exp(-fabs(m)), p = 1 / (1 + e);

		s->chance[i] = m > 0 ? p : 1 - p;
		beyond[y] += fmax(0, y ? -m : m);
		product[y] *= 1 + e;
		if (product[y] > 1e300) {
			logs[y] += log(product[y]);
			product[y] = 1;
		}
	}
	for (int y = 0; y < 2; y++)
		logs[y] += log(product[y]) + beyond[y];
	return dot(w, w, s->p) / 2 + s->c * (s->data->weight[0] * logs[0] + s->data->weight[1] * logs[1]);
}

/* Gradient and curvature at w from the chances; `moved` is used for the derivatives of the loss. */
static void derive(solver *s)
{
	for (uint32_t i = 0; i < s->data->n; i++) {
		double p = s->chance[i], c = s->c * s->data->weight[s->data->y[i]];

		s->moved[i] = c * (p - s->data->y[i]);
		s->curvature[i] = c * p * (1 - p);
	}
	memcpy(s->gradient, s->w, s->p * sizeof(double));
	s->gradient[s->p] = 0;
	add_transposed(s->gradient, s->data, s->moved);
}

/* ---- The system by Cholesky ---------------------------------------------------------------------------------------- */

/* The lower triangle of I (0 for the intercept) + X' diag(curvature) X. */
static void make_hessian(solver *s)
{
	uint32_t m = s->p + 1;

	memset(s->hessian, 0, (size_t)m * m * sizeof(double));
	for (uint32_t j = 0; j < s->p; j++)
		s->hessian[(size_t)j * m + j] = 1;
	for (uint32_t first = 0; first < s->data->n; first += HESSIAN_ROWS) {
		uint32_t n = s->data->n - first < HESSIAN_ROWS ? s->data->n - first : HESSIAN_ROWS;

		for (uint32_t i = 0; i < n; i++) {
			const float *x = s->data->x + (size_t)s->data->rows[first + i] * s->p;
			double *to = s->scaled + (size_t)i * m, by = sqrt(s->curvature[first + i]);

			for (uint32_t j = 0; j < s->p; j++)
				to[j] = by * (double)x[j];
			to[s->p] = by;
		}
		cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (int)m, (int)n, 1, s->scaled, (int)m, 1,
		            s->hessian, (int)m);
	}
}

/* The lower triangle becomes its Cholesky factor. false: not positive in FP64. */
static bool factor(double *a, uint32_t m)
{
	for (uint32_t j = 0; j < m; j++) {
		double *row = a + (size_t)j * m;

		for (uint32_t k = 0; k < j; k++)
			row[k] = (row[k] - dot(row, a + (size_t)k * m, k)) / a[(size_t)k * m + k];
		row[j] -= dot(row, row, j);
		if (!(row[j] > 0))
			return false;
		row[j] = sqrt(row[j]);
	}
	return true;
}

/* step = -H^-1 gradient. */
static bool solve_direct(solver *s)
{
	int m = (int)s->p + 1;

	make_hessian(s);
	if (!factor(s->hessian, s->p + 1))
		return false;
	for (uint32_t j = 0; j <= s->p; j++)
		s->step[j] = -s->gradient[j];
	cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, m, s->hessian, m, s->step, 1);
	cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, m, s->hessian, m, s->step, 1);
	return true;
}

/* ---- Newton's method ------------------------------------------------------------------------------------------------- */

static int alloc_solver(solver *s, error *err)
{
	size_t m = (size_t)s->p + 1, n = s->data->n;

	s->w = arena_alloc(&s->mem, 4 * m, sizeof(double));
	s->margin = arena_alloc(&s->mem, 4 * n, sizeof(double));
	s->hessian = arena_alloc(&s->mem, m, m * sizeof(double));
	s->scaled = arena_alloc(&s->mem, m, HESSIAN_ROWS * sizeof(double));
	if (!s->w || !s->margin || !s->hessian || !s->scaled)
		return error_nomem(err, "logistic regression");
	s->gradient = s->w + m;
	s->step = s->w + 2 * m;
	s->trial = s->w + 3 * m;
	s->moved = s->margin + n;
	s->curvature = s->margin + 2 * n;
	s->chance = s->margin + 3 * n;
	return 0;
}

/* Move along the step as far as it pays (Armijo), `value` the objective before and after, in `most` trials. false: it does not. */
static bool search(solver *s, double *value, unsigned most)
{
	size_t m = (size_t)s->p + 1;
	double slope = dot(s->gradient, s->step, m), t = 1;

	logistic_margins(s->moved, s->data, s->step, s->step[s->p]);
	for (unsigned i = 0; i < most; i++, t /= 2) {
		double next;

		for (size_t j = 0; j < m; j++)
			s->trial[j] = s->w[j] + t * s->step[j];
		next = objective(s, s->trial, t);
		if (!(next <= *value + 1e-4 * t * slope) || !(next < *value))
			continue;
		*value = next;
		memcpy(s->w, s->trial, m * sizeof(double));
		for (uint32_t j = 0; j < s->data->n; j++)
			s->margin[j] += t * s->moved[j];
		return true;
	}
	return false;
}

static void iterate(solver *s, logistic_fit *out)
{
	size_t m = (size_t)s->p + 1;

	memset(s->moved, 0, s->data->n * sizeof(double));
	out->objective = objective(s, s->w, 0);
	while (!out->converged && out->steps < MAX_STEPS) {
		derive(s);
		if (!solve_direct(s))
			break;
		out->converged = -dot(s->gradient, s->step, m) / 2 <= PROMISE * out->objective;
		if (!search(s, &out->objective, out->converged ? 1 : MAX_HALVINGS))
			break;
		out->steps++;
	}
}

int logistic_solve(logistic_fit *out, double *w, const logistic_data *data, double c, error *err)
{
	solver s = { .data = data, .c = c, .p = data->p };
	double n[2] = { 0 };
	int rc;

	*out = (logistic_fit){ 0 };
	for (uint32_t i = 0; i < data->n; i++)
		n[data->y[i]] += data->weight[data->y[i]];
	out->bias = log(n[1] / n[0]);
	if (!data->x || data->p > LOGISTIC_DIRECT)
		return logistic_descend(out, w, data, c, err);
	openblas_set_num_threads(1);
	rc = alloc_solver(&s, err);
	if (!rc) {
		s.w[s.p] = out->bias;
		for (uint32_t i = 0; i < data->n; i++)
			s.margin[i] = s.w[s.p];
		iterate(&s, out);
		memcpy(w, s.w, s.p * sizeof(double));
		out->bias = s.w[s.p];
	}
	arena_clear(&s.mem);
	return rc;
}
