/* L-BFGS for logistic regression on many columns. The variables are u (p + 1): w_j = scale_j u_j, and an intercept at the columns' means,
 * so that b = scale_p u_p - mean . w; the objective's second derivatives along them are then between 0 and about 1.
 *
 * Margins change in proportion along a step. So a step is one product with the rows, a search along it that passes over the margins only,
 * and one product with the columns for the gradient at its end. It begins with the problem of a sample of rows. Where classes come apart
 * most losses are next to nothing after a while: then their rows rest. Their loss is taken to change as the gradient there tells, steps
 * pass over the other rows only, and all are looked at again before the end.
 */
#include <math.h>
#include <string.h>

#include "sae/logistic_pass.h"

enum { MEMORY = 10, MAX_TRIALS = 30, REFINE_EVERY = 10, POWERS = 256 };
enum {
	SAMPLE = 800,
	SAMPLE_CLASS = 16,
	SAMPLE_STEPS = 100
}; /* rows, about; of a class, at least; steps, at most */

#define LEVEL          0.1  /* of the slope at a step's start may be left at its end */
#define REST           3e-3 /* of the objective may rest, */
#define CALM           0.15 /* when a step gains less than this of it, */
#define GAINED         0.4  /* until so much of it is gained */
#define SAMPLE_PROMISE 5e-3 /* of the objective: near enough to the end of the approach */

typedef struct part { /* some of the examples */
	logistic_data data;
	uint32_t *rows; /* (n) those of the data */
	float *v;       /* (n) C times the weight of its class, negative for class 0 */
	double *margin; /* (n) at u */
} part;

typedef struct descent {
	part all, awake, *on; /* on: those that steps pass over */
	double c;
	uint32_t p;
	const kernels *k;
	float *moved;            /* (n) what the step changes margins by */
	float *residual;         /* (n) derivative of each loss by its margin */
	float *rest;             /* (p + 1) gradient of the losses at rest */
	double rest_value;       /* what they are taken to be at u */
	double *before, began;   /* (p + 1) u when they went to rest; the objective then */
	bool restless;           /* none may */
	double *mean, *scale;    /* (p), (p + 1) */
	double *u;               /* (p + 1) */
	float *gradient, *next;  /* (p + 1) at u; after the step */
	double value, gain;      /* the objective at u; what the last step gained */
	double *columns;         /* (p) */
	double (*room)[2];       /* (p, 2) */
	float *w, *d;            /* (p + 1) weights at u; what the step changes them by */
	float *meanf, *scalef;   /* (p + 1) mean and scale */
	float *step, *inverse;   /* (p + 1) the way; 1 / second derivatives that L-BFGS begins with */
	bool refined;            /* they are not all 1 */
	float *moves, *turns;    /* (MEMORY, p + 1): what u and the gradient changed by */
	float curvature[MEMORY]; /* of each: 1 / (move . turn) */
	uint32_t n_moves;        /* so far, the last MEMORY are kept */
	arena mem;
} descent;

static bool resting(const descent *g)
{
	return g->on != &g->all;
}

static double sum_of(const float *x, uint32_t n)
{
	double sum[4] = { 0 };
	uint32_t i = 0;

	for (; i + 4 <= n; i += 4)
		for (uint32_t j = 0; j < 4; j++)
			sum[j] += (double)x[i + j];
	for (; i < n; i++)
		sum[0] += (double)x[i];
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The gradient along u; w and residuals are those at u. */
static void derive(descent *g, float *gradient)
{
	double total = sum_of(g->residual, g->on->data.n);

	logistic_pass_columns(g->columns, g->d, &g->on->data, g->residual, g->k);
	for (uint32_t j = 0; j < g->p; j++)
		gradient[j] = (float)(g->scale[j] * ((double)g->w[j] + g->columns[j] - g->mean[j] * total));
	gradient[g->p] = (float)(g->scale[g->p] * total);
	if (resting(g))
		g->k->axpy(gradient, 1, g->rest, (size_t)g->p + 1);
}

/* Margins, objective and gradient of all rows at u. */
static void look(descent *g)
{
	double b = g->scale[g->p] * g->u[g->p];

	g->on = &g->all;
	g->rest_value = 0;
	for (uint32_t j = 0; j < g->p; j++)
		g->w[j] = (float)(g->scale[j] * g->u[j]);
	b -= (double)g->k->dot(g->meanf, g->w, g->p);
	logistic_pass_rows(g->residual, &g->all.data, g->w, b, g->k);
	for (uint32_t i = 0; i < g->all.data.n; i++)
		g->all.margin[i] = (double)g->residual[i];
	g->value = g->k->logistic(g->residual, g->all.v, g->all.data.n) + g->k->sum_squares(g->w, g->p) / 2;
	derive(g, g->gradient);
}

/* ---- Scales -------------------------------------------------------------------------------------------------------- */

/* Means of columns, and 1 / root of the most the objective can curve along each: 1 + C / 4 times its sum of squares. */
static void make_scale(descent *g)
{
	const logistic_data *data = &g->all.data;
	double n = 0;

	logistic_pass_spread(g->mean, g->scale, g->room, data);
	for (uint32_t i = 0; i < data->n; i++)
		n += data->weight[data->y[i]];
	for (uint32_t j = 0; j < g->p; j++)
		g->scale[j] = 1 / sqrt(1 + g->c / 4 * g->scale[j]);
	g->scale[g->p] = 1 / sqrt(g->c / 4 * n);
	for (uint32_t j = 0; j <= g->p; j++) {
		g->meanf[j] = (float)g->mean[j];
		g->scalef[j] = (float)g->scale[j];
	}
}

/* What the objective curves at u along each variable. */
static void refine(descent *g)
{
	double total, *square = g->columns;

	for (uint32_t i = 0; i < g->on->data.n; i++) {
		float r = fabsf(g->residual[i]);

		g->moved[i] = r * (1 - r / fabsf(g->on->v[i]));
	}
	total = sum_of(g->moved, g->on->data.n);
	logistic_pass_squares(square, g->room, &g->on->data, g->moved, g->mean);
	for (uint32_t j = 0; j < g->p; j++)
		g->inverse[j] = (float)(1 / (g->scale[j] * g->scale[j] * (1 + square[j])));
	g->inverse[g->p] = (float)(1 / (g->scale[g->p] * g->scale[g->p] * fmax(total, 1e-9)));
	g->refined = true;
}

/* ---- L-BFGS -------------------------------------------------------------------------------------------------------- */

/* step *= the inverse Hessian that L-BFGS begins with, times what the last move tells of its size. */
static void begin_direction(descent *g, size_t m)
{
	uint32_t last = g->n_moves ? (g->n_moves - 1) % MEMORY : 0;
	const float *turn = g->turns + last * m;

	for (size_t j = 0; g->refined && j < m; j++) {
		g->d[j] = turn[j] * g->inverse[j];
		g->step[j] *= g->inverse[j];
	}
	if (g->n_moves)
		g->k->scale(g->step, 1 / (g->curvature[last] * g->k->dot(turn, g->refined ? g->d : turn, m)),
		            m);
}

/* step = -(the inverse Hessian that the last moves tell of) gradient. Returns the objective's slope along it. */
static double direct(descent *g)
{
	size_t m = (size_t)g->p + 1;
	uint32_t n = g->n_moves < MEMORY ? g->n_moves : MEMORY;
	float a[MEMORY];

	memset(g->step, 0, m * sizeof(float));
	g->k->axpy(g->step, -1, g->gradient, m);
	for (uint32_t back = 1; back <= n; back++) {
		uint32_t i = (g->n_moves - back) % MEMORY;

		a[i] = g->curvature[i] * g->k->dot(g->moves + i * m, g->step, m);
		g->k->axpy(g->step, -a[i], g->turns + i * m, m);
	}
	begin_direction(g, m);
	for (uint32_t back = n; back >= 1; back--) {
		uint32_t i = (g->n_moves - back) % MEMORY;
		float b = g->curvature[i] * g->k->dot(g->turns + i * m, g->step, m);

		g->k->axpy(g->step, a[i] - b, g->moves + i * m, m);
	}
	return (double)g->k->dot(g->gradient, g->step, m);
}

/* ---- Along the step ------------------------------------------------------------------------------------------------- */

/* The objective at u + t step is that of the losses there + (ww + 2 t wd + t^2 dd) / 2. */
typedef struct line {
	double ww, wd, dd, rest; /* rest: what the losses at rest change by */
	double t, value, rise;   /* how far; the objective there, its derivative */
} line;

/* What the step changes weights and margins by. */
static void begin_line(line *l, descent *g)
{
	double b = g->scale[g->p] * (double)g->step[g->p];

	for (uint32_t j = 0; j < g->p; j++)
		g->d[j] = g->scalef[j] * g->step[j];
	b -= (double)g->k->dot(g->meanf, g->d, g->p);
	*l = (line){ .ww = g->k->sum_squares(g->w, g->p),
		     .wd = (double)g->k->dot(g->w, g->d, g->p),
		     .dd = g->k->sum_squares(g->d, g->p),
		     .rest = resting(g) ? (double)g->k->dot(g->rest, g->step, (size_t)g->p + 1) : 0 };
	logistic_pass_rows(g->moved, &g->on->data, g->d, b, g->k);
}

static void try(line *l, descent *g, double t)
{
	const part *on = g->on;
	double loss;

	for (uint32_t i = 0; i < on->data.n; i++)
		g->residual[i] = (float)(on->margin[i] + t * (double)g->moved[i]);
	loss = g->k->logistic(g->residual, on->v, on->data.n);
	l->t = t;
	l->value = loss + g->rest_value + t * l->rest + (l->ww + 2 * t * l->wd + t * t * l->dd) / 2;
	l->rise = l->wd + t * l->dd + l->rest + (double)g->k->dot(g->residual, g->moved, on->data.n);
}

/* Secants, and halves, towards the least along the step, between what is known of where it lies. false: no step pays, in FP32. */
static bool search(line *l, descent *g, double slope)
{
	double low = 0, high = INFINITY, t = 1, before = 0, rise = slope;

	for (unsigned i = 0; i < MAX_TRIALS && slope < 0; i++) {
		double next;

		try(l, g, t);
		if (l->value < g->value && fabs(l->rise) <= LEVEL * -slope)
			return true;
		*(l->rise <= 0 ? &low : &high) = t; /* NaN is too far */
		next = t - l->rise * (t - before) / (l->rise - rise);
		before = t;
		rise = l->rise;
		if (high < INFINITY && (i % 3 == 2 || !(next > low && next < high)))
			next = (low + high) / 2;
		else if (!(next > low && next < high))
			next = 2 * t;
		t = next;
	}
	return slope < 0 && l->value < g->value;
}

/* Go along the step, remember it and what the gradient turned by. */
static void move(descent *g, const line *l)
{
	size_t m = (size_t)g->p + 1;
	uint32_t at = g->n_moves % MEMORY;
	float *moved = g->moves + at * m, *turned = g->turns + at * m, *swap, along;

	for (uint32_t i = 0; i < g->on->data.n; i++)
		g->on->margin[i] += l->t * (double)g->moved[i];
	for (size_t j = 0; j < m; j++) {
		moved[j] = (float)l->t * g->step[j];
		g->u[j] += (double)moved[j];
		g->w[j] = (float)(g->scale[j] * g->u[j]);
	}
	g->rest_value += l->t * l->rest;
	g->gain = g->value - l->value;
	g->value = l->value;
	derive(g, g->next);
	g->k->center(turned, g->next, 1, g->gradient, m);
	along = g->k->dot(moved, turned, m);
	if (along > 1e-7f * g->k->dot(turned, turned, m)) {
		g->curvature[at] = 1 / along;
		g->n_moves++;
	}
	swap = g->gradient, g->gradient = g->next, g->next = swap;
}

/* ---- Rows at rest -------------------------------------------------------------------------------------------------- */

/* The power of two under which losses make up no more than REST of the objective; a small loss is about its derivative. */
static float limit_of_rest(const descent *g)
{
	double sums[POWERS] = { 0 }, sum = 0;
	int power = 0;

	for (uint32_t i = 0; i < g->all.data.n; i++) {
		float r = fabsf(g->residual[i]);
		uint32_t bits;

		memcpy(&bits, &r, sizeof(bits));
		sums[bits >> 23] += (double)r;
	}
	while (power < POWERS / 2 && sum + sums[power] <= REST * g->value)
		sum += sums[power++];
	return ldexpf(1, power - 127);
}

/* Let the rows of little loss rest, if they are half of all, until wake(). */
static void let_rest(descent *g)
{
	float limit = limit_of_rest(g);
	part *all = &g->all, *awake = &g->awake;
	uint32_t n = 0;

	for (uint32_t i = 0; i < all->data.n; i++)
		n += fabsf(g->residual[i]) >= limit;
	if (n > all->data.n / 2)
		return;
	awake->data.n = 0;
	for (uint32_t i = 0; i < all->data.n; i++) {
		double m = all->v[i] < 0 ? -all->margin[i] : all->margin[i];

		if (fabsf(g->residual[i]) < limit) {
			g->rest_value += fabs((double)all->v[i]) * logistic_loss(m);
			continue;
		}
		awake->rows[awake->data.n] = all->rows[i];
		awake->v[awake->data.n] = all->v[i];
		awake->margin[awake->data.n] = all->margin[i];
		g->residual[awake->data.n++] = g->residual[i];
	}
	memset(g->rest, 0, ((size_t)g->p + 1) * sizeof(*g->rest));
	g->on = awake;
	derive(g, g->next);
	g->k->center(g->rest, g->gradient, 1, g->next, (size_t)g->p + 1);
	memcpy(g->before, g->u, ((size_t)g->p + 1) * sizeof(double));
	g->began = g->value;
}

/* If the losses at rest grew to more than was gained, all was in vain. */
static void wake(descent *g)
{
	look(g);
	if (g->value < g->began)
		return;
	memcpy(g->u, g->before, ((size_t)g->p + 1) * sizeof(double));
	g->n_moves = 0;
	g->restless = true;
	look(g);
	g->gain = g->value;
}

/* ---- All of it ----------------------------------------------------------------------------------------------------- */

static int alloc_descent(descent *g, error *err)
{
	size_t m = (size_t)g->p + 1, n = g->all.data.n;
	const struct {
		void *to; /* the pointer */
		size_t count, size;
	} parts[] = {
		{ &g->all.rows, n, sizeof(uint32_t) },
		{ &g->all.v, n, sizeof(float) },
		{ &g->all.margin, n, sizeof(double) },
		{ &g->awake.rows, n, sizeof(uint32_t) },
		{ &g->awake.v, n, sizeof(float) },
		{ &g->awake.margin, n, sizeof(double) },
		{ &g->moved, n, sizeof(float) },
		{ &g->residual, n, sizeof(float) },
		{ &g->rest, m, sizeof(float) },
		{ &g->before, m, sizeof(double) },
		{ &g->mean, m, sizeof(double) },
		{ &g->scale, m, sizeof(double) },
		{ &g->u, m, sizeof(double) },
		{ &g->gradient, m, sizeof(float) },
		{ &g->next, m, sizeof(float) },
		{ &g->columns, m, sizeof(double) },
		{ &g->room, m, sizeof(*g->room) },
		{ &g->w, m, sizeof(float) },
		{ &g->d, m, sizeof(float) },
		{ &g->meanf, m, sizeof(float) },
		{ &g->scalef, m, sizeof(float) },
		{ &g->step, m, sizeof(float) },
		{ &g->inverse, m, sizeof(float) },
		{ &g->moves, m, MEMORY * sizeof(float) },
		{ &g->turns, m, MEMORY * sizeof(float) },
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		void *p = arena_alloc(&g->mem, parts[i].count, parts[i].size);

		if (!p)
			return error_nomem(err, "logistic regression");
		memcpy(parts[i].to, &p, sizeof(p));
	}
	return 0;
}

/* At w = 0 and this intercept. */
static void begin(descent *g, double bias)
{
	part *all = &g->all;

	for (uint32_t i = 0; i < all->data.n; i++) {
		double v = g->c * all->data.weight[all->data.y[i]];

		all->v[i] = (float)(all->data.y[i] ? v : -v);
		all->rows[i] = all->data.rows[i];
	}
	g->awake.data = all->data;
	g->awake.data.rows = g->awake.rows;
	make_scale(g);
	g->u[g->p] = bias / g->scale[g->p];
}

/* From u to the end. */
static void descend(descent *g, logistic_fit *out, double promised, uint32_t most)
{
	line l;

	look(g);
	g->gain = g->value;
	while (out->steps < most) {
		double slope = direct(g), enough = promised * g->value;
		bool near = -slope / 2 <= enough && g->gain <= enough;

		out->converged = near && !resting(g);
		if (out->converged)
			break;
		if (resting(g) && (near || g->value < (1 - GAINED) * g->began)) {
			wake(g);
			continue;
		}
		if (!resting(g) && !g->restless && g->gain < CALM * g->value)
			let_rest(g);
		begin_line(&l, g);
		if (search(&l, g, slope)) {
			move(g, &l);
			if (++out->steps % REFINE_EVERY == 0 && !g->all.data.x)
				refine(g);
		} else if (resting(g)) {
			g->restless = true;
			wake(g);
		} else {
			break;
		}
	}
}

/* About SAMPLE rows, with weights to match, to g->awake. false: too few of a class, or no fewer rows than all. */
static bool take_sample(descent *g)
{
	uint32_t n = 0, n_positive = 0, step = g->all.data.n / SAMPLE | 1; /* odd: rows may repeat by twos */

	for (uint32_t i = 0; i < g->all.data.n; i += step, n++) {
		g->awake.rows[n] = g->all.rows[i];
		g->awake.v[n] = (float)step * g->all.v[i];
		n_positive += g->all.v[i] > 0;
	}
	g->awake.data.n = n;
	return step > 1 && n_positive >= SAMPLE_CLASS && n - n_positive >= SAMPLE_CLASS;
}

/* Towards the end by way of the sample's, where steps cost little. */
static void approach(descent *g)
{
	part all = g->all;

	if (!take_sample(g))
		return;
	g->all = g->awake;
	g->restless = true;
	descend(g, &(logistic_fit){ 0 }, SAMPLE_PROMISE, SAMPLE_STEPS);
	g->restless = false;
	g->n_moves = 0;
	g->all = all;
}

int logistic_descend(logistic_fit *out, double *w, const logistic_data *data, double c, error *err)
{
	descent g = { .all.data = *data, .c = c, .p = data->p, .k = kernels_get(NULL) };
	int rc = alloc_descent(&g, err);

	if (!rc) {
		begin(&g, out->bias);
		approach(&g);
		descend(&g, out, LOGISTIC_PROMISE, LOGISTIC_MAX_STEPS);
		out->objective = g.value;
		out->bias = g.scale[g.p] * g.u[g.p];
		for (uint32_t j = 0; j < g.p; j++) {
			w[j] = g.scale[j] * g.u[j];
			out->bias -= g.mean[j] * w[j];
		}
	}
	arena_clear(&g.mem);
	return rc;
}
