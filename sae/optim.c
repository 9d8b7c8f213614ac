/* Optimisers over whole gradients: see optim.h. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/encode.h"
#include "sae/optim.h"
#include "sae/parts.h"

#define BLOCK_FLOATS 16384 /* of a task: sums over the gradient run over blocks in order */

typedef struct optim_block {
	size_t param, first, end; /* rows */
	double squares;
} optim_block;

typedef struct optim_slot {
	optim_param p;
	float *m, *v, *z, *average; /* (rows, columns) or NULL */
	float *norm;         /* (rows) schedule-free: of w's rows when they were last cut to 1; else NULL */
	const float *update; /* Muon's, of this step */
	char names[5][FITTER_NAME];
} optim_slot;

struct optim {
	optim_config c;
	pool *pool;
	arena mem;
	optim_slot *slots;
	size_t n, n_blocks;
	optim_block *blocks;
	uint64_t t;                /* steps taken */
	double weight_sum, lr_max; /* schedule-free */
	float *other, *gram;       /* Muon */
	/* of this step */
	double lr, shrink, blend;
	float clip;
	adam_coef adam;
};

/* ---- Making ------------------------------------------------------------------------------------------------------- */

optim_config optim_config_of(const sae_train_opts *o)
{
	return (optim_config){ .kind = o->optimizer,
		               .beta1 = o->beta1,
		               .beta2 = o->beta2,
		               .eps = o->eps,
		               .weight_decay = o->weight_decay,
		               .momentum = o->momentum,
		               .clip = o->clip,
		               .average = o->average,
		               .k = kernels_get(o->kernels) };
}

static bool by_adam(const optim *o, const optim_param *p)
{
	return o->c.kind == SAE_ADAM || o->c.kind == SAE_ADAMW || (o->c.kind == SAE_MUON && !p->matrix);
}

static bool by_muon(const optim *o, const optim_param *p)
{
	return o->c.kind == SAE_MUON && p->matrix;
}

static int slot_init(optim *o, optim_slot *s, error *err)
{
	static const char *const suffixes[] = { "m", "v", "z", "avg", "norm" };
	const optim_param *p = &s->p;
	const bool wanted[] = { o->c.kind != SAE_SIGNUM, by_adam(o, p), o->c.kind == SAE_SIGNUM,
		                o->c.average > 0, o->c.kind == SAE_SIGNUM && p->unit_rows };
	float **const arrays[] = { &s->m, &s->v, &s->z, &s->average, &s->norm };

	assert(strlen(p->name) < 20);
	if (!(s->p.lr_factor > 0))
		s->p.lr_factor = 1;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		snprintf(s->names[i], FITTER_NAME, "%s_%s", p->name, suffixes[i]);
		if (!wanted[i])
			continue;
		*arrays[i] = arena_alloc(&o->mem, p->rows,
		                         (arrays[i] == &s->norm ? 1 : p->columns) * sizeof(float));
		if (!*arrays[i])
			return error_nomem(err, "an optimiser's moments");
	}
	return 0;
}

static int muon_init(optim *o, error *err)
{
	size_t most = 0, side = 0;

	for (size_t i = 0; i < o->n; i++) {
		const optim_param *p = &o->slots[i].p;
		size_t shorter = p->rows < p->columns ? p->rows : p->columns;

		if (!by_muon(o, p))
			continue;
		most = p->rows * p->columns > most ? p->rows * p->columns : most;
		side = shorter > side ? shorter : side;
	}
	if (!most)
		return 0;
	o->other = arena_alloc(&o->mem, most, sizeof(float));
	o->gram = arena_alloc(&o->mem, 3 * side, side * sizeof(float));
	return o->other && o->gram ? 0 : error_nomem(err, "Muon's matrices");
}

static size_t block_rows(const optim_param *p)
{
	return p->columns < BLOCK_FLOATS ? BLOCK_FLOATS / p->columns : 1;
}

static int blocks_init(optim *o, error *err)
{
	size_t at = 0;

	for (size_t i = 0; i < o->n; i++)
		o->n_blocks +=
		        (o->slots[i].p.rows + block_rows(&o->slots[i].p) - 1) / block_rows(&o->slots[i].p);
	o->blocks = arena_alloc(&o->mem, o->n_blocks, sizeof(*o->blocks));
	if (!o->blocks)
		return error_nomem(err, "an optimiser's blocks");
	for (size_t i = 0; i < o->n; i++) {
		size_t rows = o->slots[i].p.rows, by = block_rows(&o->slots[i].p);

		for (size_t first = 0; first < rows; first += by)
			o->blocks[at++] = (optim_block){ .param = i,
				                         .first = first,
				                         .end = first + by < rows ? first + by : rows };
	}
	return 0;
}

int optim_new(optim **out, const optim_config *c, const optim_param *params, size_t n, pool *p, error *err)
{
	optim *o = calloc(1, sizeof(*o));
	int rc = 0;

	if (!o)
		return error_nomem(err, "an optimiser");
	encode_blas_single_threaded();
	o->c = *c;
	o->pool = p;
	o->n = n;
	o->slots = arena_alloc(&o->mem, n, sizeof(*o->slots));
	if (!o->slots)
		rc = error_nomem(err, "an optimiser's parameters");
	for (size_t i = 0; i < n && rc == 0; i++) {
		o->slots[i].p = params[i];
		rc = slot_init(o, &o->slots[i], err);
	}
	if (rc == 0)
		rc = muon_init(o, err);
	if (rc == 0)
		rc = blocks_init(o, err);
	if (rc < 0) {
		optim_free(o);
		return rc;
	}
	*out = o;
	return 0;
}

void optim_free(optim *o)
{
	if (!o)
		return;
	arena_clear(&o->mem);
	free(o);
}

/* ---- Moving ---------------------------------------------------------------------------------------------------------- */

/* The part of a gradient along a row that is not of norm 1. */
static void take_length(const kernels *k, float *g, const float *w, size_t n)
{
	double squares = k->sum_squares(w, n);

	if (squares > 0)
		k->axpy(g, (float)(-(double)k->dot(g, w, n) / squares), w, n);
}

static void measure_task(void *payload, size_t i, unsigned worker)
{
	optim *o = payload;
	optim_block *b = &o->blocks[i];
	const optim_param *p = &o->slots[b->param].p;
	const kernels *k = o->c.k;

	(void)worker;
	for (size_t r = b->first; r < b->end && p->unit_rows; r++) {
		float *w = p->w + r * p->columns, *g = p->grad + r * p->columns;
		double squares = p->parts < 2 ? k->sum_squares(w, p->columns) : 0;

		if (squares > 0) /* 1, but for a start of another norm */
			k->axpy(g, (float)(-k->dot(g, w, p->columns) / squares), w, p->columns);
		else if (p->parts >= 2)
			take_length(k, g, w, p->columns);
	}
	b->squares = k->sum_squares(p->grad + b->first * p->columns, (b->end - b->first) * p->columns);
}

static void signum(const optim *o, const optim_slot *s, size_t at, size_t n, float lr)
{
	const float beta = (float)o->c.momentum, back = 1 - 1 / beta, blend = (float)o->blend;
	float *y = s->p.w + at, *z = s->z + at;
	const float *g = s->p.grad + at;

	for (size_t i = 0; i < n; i++) {
		float x = y[i] + back * (z[i] - y[i]);

		z[i] -= lr * (float)((g[i] > 0) - (g[i] < 0));
		x += blend * (z[i] - x);
		y[i] = x + (1 - beta) * (z[i] - x);
	}
}

static void move(const optim *o, const optim_slot *s, size_t at, size_t n)
{
	const kernels *k = o->c.k;
	float *w = s->p.w + at, *g = s->p.grad + at;
	double lr = o->lr * s->p.lr_factor;
	adam_coef adam = o->adam;

	if (o->shrink > 0 && (o->c.kind == SAE_ADAMW || by_muon(o, &s->p)))
		k->scale(w, (float)(1 - lr * o->shrink), n);
	if (by_muon(o, &s->p)) {
		double side = fmax((double)s->p.rows, (double)s->p.columns);

		k->axpy(w, (float)(-lr * 0.2 * sqrt(side)), s->update + at, n);
		return;
	}
	if (o->clip < 1)
		k->scale(g, o->clip, n);
	if (o->c.kind == SAE_SIGNUM) {
		signum(o, s, at, n, (float)lr);
		return;
	}
	adam.step = (float)(adam.step * s->p.lr_factor);
	k->adam(w, s->m + at, s->v + at, g, n, &adam);
}

static void move_task(void *payload, size_t i, unsigned worker)
{
	optim *o = payload;
	const optim_block *b = &o->blocks[i];
	const optim_slot *s = &o->slots[b->param];
	const kernels *k = o->c.k;
	size_t columns = s->p.columns, at = b->first * columns, n = (b->end - b->first) * columns;
	float keep = (float)o->c.average;

	(void)worker;
	if (o->t == 1 && s->z)
		memcpy(s->z + at, s->p.w + at, n * sizeof(float));
	if (o->t == 1 && s->average)
		memcpy(s->average + at, s->p.w + at, n * sizeof(float));
	move(o, s, at, n);
	for (size_t r = b->first; r < b->end && s->p.unit_rows; r++) {
		float *w = s->p.w + r * columns;
		double norm = parts_norm(w, columns, s->p.parts, k);

		if (norm > 0)
			k->scale(w, (float)(1 / norm), columns);
		if (s->norm)
			s->norm[r] = (float)norm;
	}
	for (size_t j = at; j < at + n && s->average; j++)
		s->average[j] = keep * s->average[j] + (1 - keep) * s->p.w[j];
}

/* Nesterov's mean gradient, in place of the gradient. */
static void mean_task(void *payload, size_t i, unsigned worker)
{
	optim *o = payload;
	const optim_block *b = &o->blocks[i];
	const optim_slot *s = &o->slots[b->param];
	const float keep = (float)o->c.momentum;
	size_t at = b->first * s->p.columns, end = b->end * s->p.columns;
	float *g = s->p.grad, *m = s->m;

	(void)worker;
	if (!by_muon(o, &s->p))
		return;
	for (size_t j = at; j < end; j++) {
		float clipped = o->clip < 1 ? g[j] * o->clip : g[j];

		m[j] += (1 - keep) * (clipped - m[j]);
		g[j] = clipped + keep * (m[j] - clipped);
	}
}

static void orthogonalise(optim *o)
{
	pool_run(o->pool, o->n_blocks, mean_task, o);
	for (size_t i = 0; i < o->n; i++) {
		optim_slot *s = &o->slots[i];

		if (!by_muon(o, &s->p))
			continue;
		s->update =
		        optim_orthogonalise(s->p.grad, o->other, o->gram, s->p.rows, s->p.columns, o->pool);
		if (s->update == o->other) /* the next matrix needs the room */
			s->update = memcpy(s->p.grad, o->other, s->p.rows * s->p.columns * sizeof(float));
	}
}

/* This step's constants. */
static void prepare(optim *o, double lr, double norm)
{
	const optim_config *c = &o->c;
	double t = (double)++o->t, weight;

	o->lr = lr;
	o->shrink = c->weight_decay;
	o->clip = c->clip > 0 ? (float)fmin(1, c->clip / (norm + 1e-6)) : 1;
	o->adam = (adam_coef){ .beta1 = (float)c->beta1,
		               .beta2 = (float)c->beta2,
		               .rest1 = (float)(1 - c->beta1),
		               .rest2 = (float)(1 - c->beta2),
		               .step = (float)(lr / (1 - pow(c->beta1, t))),
		               .root = (float)(1 / sqrt(1 - pow(c->beta2, t))),
		               .eps = (float)c->eps };
	o->lr_max = fmax(o->lr_max, lr);
	weight = o->lr_max * o->lr_max;
	o->weight_sum += weight;
	o->blend = o->weight_sum > 0 ? weight / o->weight_sum : 0;
}

double optim_step(optim *o, double lr)
{
	double squares = 0;

	pool_run(o->pool, o->n_blocks, measure_task, o);
	for (size_t i = 0; i < o->n_blocks; i++)
		squares += o->blocks[i].squares;
	if (!isfinite(squares))
		return squares;
	prepare(o, lr, sqrt(squares));
	if (o->c.kind == SAE_MUON)
		orthogonalise(o);
	pool_run(o->pool, o->n_blocks, move_task, o);
	return sqrt(squares);
}

void optim_forget(optim *o, size_t param, size_t row)
{
	const optim_slot *s = &o->slots[param];
	size_t n = s->p.columns, at = row * n;

	if (s->m)
		memset(s->m + at, 0, n * sizeof(float));
	if (s->v)
		memset(s->v + at, 0, n * sizeof(float));
	if (s->z)
		memcpy(s->z + at, s->p.w + at, n * sizeof(float));
	if (s->norm)
		s->norm[row] = 1;
	if (s->average)
		memcpy(s->average + at, s->p.w + at, n * sizeof(float));
}

/* ---- Looking at it ---------------------------------------------------------------------------------------------------- */

void optim_weights(const optim *o, size_t param, float *out)
{
	const optim_slot *s = &o->slots[param];
	size_t n = s->p.rows * s->p.columns;
	const float back = 1 - 1 / (float)o->c.momentum;

	memcpy(out, o->t && s->average ? s->average : s->p.w, n * sizeof(float));
	for (size_t i = 0; i < n && o->t && s->norm; i++)
		out[i] *= s->norm[i / s->p.columns];
	for (size_t i = 0; i < n && o->t && s->z; i++)
		out[i] += back * (s->z[i] - out[i]);
}

void optim_state(optim *o, fitter_arrays *list)
{
	for (size_t i = 0; i < o->n; i++) {
		optim_slot *s = &o->slots[i];
		float *const arrays[] = { s->m, s->v, s->z, s->average, s->norm };
		size_t n = s->p.rows * s->p.columns;

		fitter_add_weight(list, s->p.name, n, s->p.w);
		for (size_t j = 0; j < ARRAY_LEN(arrays); j++)
			if (arrays[j])
				fitter_add(list, s->names[j], SAE_F32, arrays[j] == s->norm ? s->p.rows : n,
				           arrays[j]);
	}
	fitter_add(list, "optim_steps", SAE_U64, 1, &o->t);
	fitter_add(list, "weight_sum", SAE_F64, 1, &o->weight_sum);
	fitter_add(list, "lr_max", SAE_F64, 1, &o->lr_max);
}

uint64_t optim_bytes(const optim *o)
{
	return arena_bytes(&o->mem);
}

static uint64_t give_back(float *data, size_t n, bool forget)
{
	if (!data)
		return 0;
	if (forget)
		mem_forget(data, n * sizeof(float));
	return n * sizeof(float);
}

uint64_t optim_spare(const optim *o, bool forget)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < o->n; i++) {
		const optim_slot *s = &o->slots[i];
		size_t n = s->p.rows * s->p.columns;

		bytes += give_back(s->m, n, forget) + give_back(s->v, n, forget);
	}
	return bytes;
}
