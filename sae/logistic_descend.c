/* L-BFGS for logistic regression on many columns. The variables are u (p + 1): w_j = scale_j u_j, and an intercept at the columns' means,
 * so that b = scale_p u_p - mean . w; the objective's second derivatives along them are then between 0 and about 1. A pass over the
 * rows, in blocks that stay in cache, gives value and gradient. */
#include <math.h>
#include <string.h>

#include "sae/kernels.h"
#include "sae/logistic.h"

enum { ROWS = 64, MEMORY = 10, MAX_HALVINGS = 40 };

typedef struct descent {
	const logistic_data *data;
	double c;
	uint32_t p;
	double *mean, *scale;         /* (p), (p + 1) */
	double *u, *gradient;         /* (p + 1) */
	double *next, *next_gradient; /* (p + 1) */
	double *step;                 /* (p + 1) */
	double *w, *by_column;        /* (p) weights; sums of residual times column */
	double *moves, *turns;        /* (MEMORY, p + 1): what u and the gradient changed by */
	double curvature[MEMORY];     /* of each: 1 / (move . turn) */
	uint32_t n_moves;             /* so far, the last MEMORY are kept */
	const kernels *k;
	float *wf, *sum; /* (p), (p): dense only */
	double largest;  /* partial derivative by a weight or the intercept, at `next` */
	arena mem;
} descent;

static double dot(const double *a, const double *b, size_t n)
{
	double sum[4] = { 0 };
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		for (size_t j = 0; j < 4; j++)
			sum[j] += a[i + j] * b[i + j];
	for (; i < n; i++)
		sum[0] += a[i] * b[i];
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Loss of example i at its margin; *residual its derivative. */
static double loss_of(const descent *g, uint32_t i, double margin, double *residual)
{
	double c = g->c * g->data->weight[g->data->y[i]], e = exp(-fabs(margin));
	double rest = margin > 0 ? e / (1 + e) : 1 / (1 + e); /* 1 - p */

	*residual = c * (g->data->y[i] ? -rest : 1 - rest);
	return c * (log1p(e) + fmax(0, g->data->y[i] ? -margin : margin));
}

/* Loss of all rows at weights w and intercept b; by_column and *total: sums of residual times row, and of residuals. */
static double pass_dense(descent *g, double b, double *total)
{
	const logistic_data *data = g->data;
	double loss = 0;

	for (uint32_t j = 0; j < g->p; j++)
		g->wf[j] = (float)g->w[j];
	for (uint32_t first = 0; first < data->n; first += ROWS) {
		uint32_t n = data->n - first < ROWS ? data->n - first : ROWS;
		float margin[ROWS];

		for (uint32_t i = 0, m; i < n; i += m) {
			const float *rows[KERNELS_DOTS];

			for (m = 0; m < KERNELS_DOTS && i + m < n; m++)
				rows[m] = data->x + (size_t)data->rows[first + i + m] * g->p;
			g->k->dots(margin + i, g->wf, rows, m, g->p);
		}
		for (uint32_t i = 0; i < n; i++) {
			double residual;

			loss += loss_of(g, first + i, b + (double)margin[i], &residual);
			*total += residual;
			margin[i] = (float)residual;
		}
		g->k->combine(g->sum, data->x, g->p, data->rows + first, margin, n);
		for (uint32_t j = 0; j < g->p; j++)
			g->by_column[j] += (double)g->sum[j];
	}
	return loss;
}

static double pass_codes(descent *g, double b, double *total)
{
	const sae_codes *codes = g->data->codes;
	double loss = 0;

	for (uint32_t i = 0; i < g->data->n; i++) {
		size_t row = g->data->rows[i], first = codes->first[row], n = codes->first[row + 1] - first,
		       at = 0;
		const uint32_t *index = codes->index + first;
		const float *value = codes->value + first;
		double margin = b, odd = 0, residual; /* two sums: one would wait for itself */

		for (; at + 2 <= n; at += 2) {
			margin += (double)value[at] * g->w[index[at]];
			odd += (double)value[at + 1] * g->w[index[at + 1]];
		}
		if (at < n)
			margin += (double)value[at] * g->w[index[at]];
		loss += loss_of(g, i, margin + odd, &residual);
		*total += residual;
		for (at = 0; at < n; at++)
			g->by_column[index[at]] += residual * (double)value[at];
	}
	return loss;
}

/* The objective at u; its gradient along u, and `largest`. */
static double evaluate(descent *g, const double *u, double *gradient)
{
	double b = g->scale[g->p] * u[g->p], total = 0, value;

	for (uint32_t j = 0; j < g->p; j++) {
		g->w[j] = g->scale[j] * u[j];
		b -= g->mean[j] * g->w[j];
	}
	memset(g->by_column, 0, g->p * sizeof(double));
	value = g->data->x ? pass_dense(g, b, &total) : pass_codes(g, b, &total);
	g->largest = fabs(total);
	for (uint32_t j = 0; j < g->p; j++) {
		double by_weight = g->w[j] + g->by_column[j];

		g->largest = fmax(g->largest, fabs(by_weight));
		gradient[j] = g->scale[j] * (by_weight - g->mean[j] * total);
	}
	gradient[g->p] = g->scale[g->p] * total;
	return value + dot(g->w, g->w, g->p) / 2;
}

/* Means of columns, and 1 / root of the most the objective can curve along each: 1 + C / 4 times its sum of squares. */
static void make_scale(descent *g)
{
	const logistic_data *data = g->data;
	double n = 0;

	for (uint32_t i = 0; i < data->n; i++) {
		double v = data->weight[data->y[i]];
		size_t row = data->rows[i];

		n += v;
		for (uint32_t j = 0; data->x && j < g->p; j++) {
			double x = (double)data->x[row * g->p + j];

			g->mean[j] += v * x;
			g->scale[j] += v * x * x;
		}
		for (size_t at = data->x ? 0 : data->codes->first[row];
		     !data->x && at < data->codes->first[row + 1]; at++) {
			double x = (double)data->codes->value[at];

			g->mean[data->codes->index[at]] += v * x;
			g->scale[data->codes->index[at]] += v * x * x;
		}
	}
	for (uint32_t j = 0; j < g->p; j++) {
		g->mean[j] /= n;
		g->scale[j] = 1 / sqrt(1 + g->c / 4 * fmax(0, g->scale[j] - n * g->mean[j] * g->mean[j]));
	}
	g->scale[g->p] = 1 / sqrt(g->c / 4 * n);
}

/* step = -(the inverse Hessian that the last moves tell of) gradient. */
static void direct(descent *g)
{
	size_t m = (size_t)g->p + 1;
	uint32_t n = g->n_moves < MEMORY ? g->n_moves : MEMORY;
	double a[MEMORY];

	for (size_t j = 0; j < m; j++)
		g->step[j] = -g->gradient[j];
	for (uint32_t back = 1; back <= n; back++) {
		uint32_t i = (g->n_moves - back) % MEMORY;

		a[i] = g->curvature[i] * dot(g->moves + i * m, g->step, m);
		for (size_t j = 0; j < m; j++)
			g->step[j] -= a[i] * g->turns[i * m + j];
	}
	if (n) {
		uint32_t last = (g->n_moves - 1) % MEMORY;
		const double *turn = g->turns + last * m;
		double by = 1 / (g->curvature[last] * dot(turn, turn, m));

		for (size_t j = 0; j < m; j++)
			g->step[j] *= by;
	}
	for (uint32_t back = n; back >= 1; back--) {
		uint32_t i = (g->n_moves - back) % MEMORY;
		double b = g->curvature[i] * dot(g->turns + i * m, g->step, m);

		for (size_t j = 0; j < m; j++)
			g->step[j] += (a[i] - b) * g->moves[i * m + j];
	}
}

/* Remember the way from u to next, and go there. */
static void move(descent *g)
{
	size_t m = (size_t)g->p + 1;
	uint32_t i = g->n_moves % MEMORY;
	double along, *swap;

	for (size_t j = 0; j < m; j++) {
		g->moves[i * m + j] = g->next[j] - g->u[j];
		g->turns[i * m + j] = g->next_gradient[j] - g->gradient[j];
	}
	along = dot(g->moves + i * m, g->turns + i * m, m);
	if (along > 1e-12 * dot(g->turns + i * m, g->turns + i * m, m)) {
		g->curvature[i] = 1 / along;
		g->n_moves++;
	}
	swap = g->u, g->u = g->next, g->next = swap;
	swap = g->gradient, g->gradient = g->next_gradient, g->next_gradient = swap;
}

/* Along the step as far as it pays (Armijo). false: it does not, in FP32 products. */
static bool search(descent *g, double *value)
{
	size_t m = (size_t)g->p + 1;
	double slope = dot(g->gradient, g->step, m), t = 1;

	for (unsigned i = 0; i < MAX_HALVINGS && slope < 0; i++, t /= 2) {
		double next;

		for (size_t j = 0; j < m; j++)
			g->next[j] = g->u[j] + t * g->step[j];
		next = evaluate(g, g->next, g->next_gradient);
		if (!(next <= *value + 1e-4 * t * slope))
			continue;
		*value = next;
		move(g);
		return true;
	}
	return false;
}

static int alloc_descent(descent *g, error *err)
{
	size_t m = (size_t)g->p + 1;

	g->mean = arena_alloc(&g->mem, 9 * m, sizeof(double));
	g->moves = arena_alloc(&g->mem, 2 * MEMORY * m, sizeof(double));
	g->wf = arena_alloc(&g->mem, 2 * m, sizeof(float));
	if (!g->mean || !g->moves || !g->wf)
		return error_nomem(err, "logistic regression");
	g->scale = g->mean + m;
	g->u = g->mean + 2 * m;
	g->gradient = g->mean + 3 * m;
	g->next = g->mean + 4 * m;
	g->next_gradient = g->mean + 5 * m;
	g->step = g->mean + 6 * m;
	g->w = g->mean + 7 * m;
	g->by_column = g->mean + 8 * m;
	g->turns = g->moves + MEMORY * m;
	g->sum = g->wf + m;
	return 0;
}

int logistic_descend(logistic_fit *out, double *w, const logistic_data *data, double c, error *err)
{
	descent g = { .data = data, .c = c, .p = data->p, .k = kernels_get(NULL) };
	double limit = LOGISTIC_TOLERANCE * c * data->n;
	int rc = alloc_descent(&g, err);

	if (!rc) {
		make_scale(&g);
		g.u[g.p] = out->bias / g.scale[g.p];
		out->objective = evaluate(&g, g.u, g.gradient);
		while (out->steps < LOGISTIC_MAX_STEPS) {
			double promise; /* about what is left to gain */

			direct(&g);
			promise = -dot(g.gradient, g.step, (size_t)g.p + 1) / 2;
			if (g.largest <= limit && promise <= LOGISTIC_PROMISE * out->objective)
				break;
			if (!search(&g, &out->objective))
				break;
			out->steps++;
		}
		out->converged = g.largest <= limit;
		out->bias = g.scale[g.p] * g.u[g.p];
		for (uint32_t j = 0; j < g.p; j++) {
			w[j] = g.scale[j] * g.u[j];
			out->bias -= g.mean[j] * w[j];
		}
	}
	arena_clear(&g.mem);
	return rc;
}
