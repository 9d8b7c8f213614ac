/* The toy model of superposition (Elhage et al. 2022): x of n features, each uniform in [0, 1) with a probability, else 0; h = x W of d < n
 * values; ReLU(h W^T + b) is to be x again, errors weighed by importance. It is trained here, by Adam on drawn batches, and its
 * h are the rows. */
#include <math.h>
#include <stdlib.h>

#include "sae/synth_internal.h"

enum { STEPS = 5000, BATCH = 256, MOST_FEATURES = 4096 };
static const double rate = 0.01;         /* falls to 0 as a cosine */
static const double least_present = 0.5; /* norm of a row of W from which its feature counts as in the rows */

typedef struct toy {
	uint32_t n, d;
	double *w, *b;              /* (n, d), (n) */
	double *dw, *db, *m, *v;    /* gradients; moments (n d + n) */
	double *x, *h, *slope, *dh; /* (n), (d), (n), (d) of a row */
	uint32_t *on, n_on;
	double loss;
} toy;

static void draw_x(const synth *s, uint64_t seed, uint32_t *on, uint32_t *n_on, double *x)
{
	*n_on = 0;
	for (uint32_t i = 0; i < s->n_features; i++) {
		double u = synth_unit(seed, i);

		if (u >= s->o.probability)
			continue;
		u = synth_unit(seed, (uint64_t)s->n_features + i);
		if ((float)u > 0) {
			on[*n_on] = i;
			x[(*n_on)++] = u;
		}
	}
}

static void draw_toy(const synth *s, uint64_t row, synth_row *out)
{
	draw_x(s, hash64_mix(hash64_mix(s->o.seed, STREAM_ROWS), row), out->index, &out->n, out->scratch);
	for (uint32_t i = 0; i < out->n; i++)
		out->value[i] = (float)out->scratch[i];
}

/* ---- Training ------------------------------------------------------------------------------------------------------------------------ */

/* Adds the gradient of one row's loss. */
static void add_row(const synth *s, toy *t, uint64_t seed)
{
	double weight = 1;
	uint32_t next = 0;

	draw_x(s, seed, t->on, &t->n_on, t->x);
	memset(t->h, 0, t->d * sizeof(*t->h));
	memset(t->dh, 0, t->d * sizeof(*t->dh));
	for (uint32_t k = 0; k < t->n_on; k++)
		for (uint32_t j = 0; j < t->d; j++)
			t->h[j] += t->x[k] * t->w[(size_t)t->on[k] * t->d + j];
	for (uint32_t i = 0; i < t->n; i++, weight *= s->o.importance) {
		const double *w = t->w + (size_t)i * t->d;
		double x = next < t->n_on && t->on[next] == i ? t->x[next++] : 0, y = t->b[i], e, slope;

		for (uint32_t j = 0; j < t->d; j++)
			y += w[j] * t->h[j];
		e = fmax(y, 0) - x;
		t->loss += weight * e * e / BATCH;
		slope = y > 0 ? 2 * weight * e / BATCH : 0;
		t->db[i] += slope;
		for (uint32_t j = 0; j < t->d; j++) {
			t->dw[(size_t)i * t->d + j] += slope * t->h[j];
			t->dh[j] += slope * w[j];
		}
	}
	for (uint32_t k = 0; k < t->n_on; k++)
		for (uint32_t j = 0; j < t->d; j++)
			t->dw[(size_t)t->on[k] * t->d + j] += t->x[k] * t->dh[j];
}

/* Weights and biases lie one behind the other, so do their gradients. */
static void adam(toy *t, uint32_t step)
{
	size_t n = (size_t)t->n * t->d + t->n;
	double lr = rate * 0.5 * (1 + cos(3.14159265358979 * step / STEPS));
	double b1 = 1 - pow(0.9, step), b2 = 1 - pow(0.999, step);

	for (size_t i = 0; i < n; i++) {
		t->m[i] = 0.9 * t->m[i] + 0.1 * t->dw[i];
		t->v[i] = 0.999 * t->v[i] + 0.001 * t->dw[i] * t->dw[i];
		t->w[i] -= lr * (t->m[i] / b1) / (sqrt(t->v[i] / b2) + 1e-8);
	}
}

static int toy_alloc(toy *t, arena *mem, error *err)
{
	size_t n = (size_t)t->n * t->d + t->n;

	t->w = arena_alloc(mem, n, sizeof(double));
	t->dw = arena_alloc(mem, n, sizeof(double));
	t->m = arena_alloc(mem, n, sizeof(double));
	t->v = arena_alloc(mem, n, sizeof(double));
	t->x = arena_alloc(mem, t->n, sizeof(double));
	t->h = arena_alloc(mem, t->d, sizeof(double));
	t->dh = arena_alloc(mem, t->d, sizeof(double));
	t->on = arena_alloc(mem, t->n, sizeof(*t->on));
	if (!t->w || !t->dw || !t->m || !t->v || !t->x || !t->h || !t->dh || !t->on)
		return error_nomem(err, "a toy model");
	t->b = t->w + (size_t)t->n * t->d;
	t->db = t->dw + (size_t)t->n * t->d;
	return 0;
}

static void train(const synth *s, toy *t)
{
	uint64_t seed = hash64_mix(s->o.seed, STREAM_TOY);

	for (size_t i = 0; i < (size_t)t->n * t->d; i++)
		t->w[i] = synth_normal(hash64_mix(seed, UINT64_MAX), i) * sqrt(2.0 / (t->n + t->d));
	for (uint32_t step = 1; step <= STEPS; step++) {
		t->loss = 0;
		memset(t->dw, 0, ((size_t)t->n * t->d + t->n) * sizeof(*t->dw));
		for (uint32_t r = 0; r < BATCH; r++)
			add_row(s, t, hash64_mix(seed, (uint64_t)step * BATCH + r));
		adam(t, step);
	}
}

/* D_i = |W_i|^2 / sum_j (W_i / |W_i| . W_j)^2: the share of a dimension that a feature has for itself. */
static bool add_dimensions(cJSON *to, const toy *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const double *a = t->w + (size_t)i * t->d;
		double squares = 0, sum = 0;

		for (uint32_t k = 0; k < t->d; k++)
			squares += a[k] * a[k];
		for (uint32_t j = 0; j < t->n; j++) {
			double product = 0;

			for (uint32_t k = 0; k < t->d; k++)
				product += a[k] * t->w[(size_t)j * t->d + k];
			sum += squares > 0 ? product * product / squares : 0;
		}
		if (!cJSON_AddItemToArray(to, cJSON_CreateNumber(sum > 0 ? squares / sum : 0)))
			return false;
	}
	return true;
}

static int take_model(synth *s, const toy *t, error *err)
{
	s->dictionary = mem_alloc_aligned((size_t)t->n * t->d, sizeof(*s->dictionary));
	s->bias = arena_alloc(&s->mem, t->d, sizeof(*s->bias));
	s->present = arena_alloc(&s->mem, t->n, 1);
	s->probability = arena_alloc(&s->mem, t->n, sizeof(*s->probability));
	s->notes = cJSON_CreateObject();
	if (!s->dictionary || !s->bias || !s->present || !s->probability ||
	    !cJSON_AddNumberToObject(s->notes, "loss", t->loss) ||
	    !add_dimensions(cJSON_AddArrayToObject(s->notes, "dimensionality"), t))
		return error_nomem(err, "a toy model");
	for (uint32_t i = 0; i < t->n; i++) {
		double squares = 0;

		for (uint32_t j = 0; j < t->d; j++) {
			double w = t->w[(size_t)i * t->d + j];

			s->dictionary[(size_t)i * t->d + j] = (float)w;
			squares += w * w;
		}
		s->present[i] = sqrt(squares) > least_present;
		s->probability[i] = s->o.probability;
	}
	return 0;
}

int synth_toy_init(synth *s, pool *p, error *err)
{
	toy t = { .n = s->o.features, .d = s->o.d };
	arena mem = ARENA_INIT;
	int rc;

	(void)p;
	if (t.n > MOST_FEATURES)
		return error_set(err, ERR_ARG, "features %u are over the %d of a toy model", t.n,
		                 MOST_FEATURES);
	if (!(s->o.probability > 0) || !(s->o.probability <= 1) || !(s->o.importance > 0) ||
	    !(s->o.importance <= 1))
		return error_set(err, ERR_ARG, "probability %g or importance %g is not over 0 and up to 1",
		                 s->o.probability, s->o.importance);
	s->n_features = t.n;
	s->draw = draw_toy;
	rc = toy_alloc(&t, &mem, err);
	if (rc == 0) {
		train(s, &t);
		rc = take_model(s, &t, err);
	}
	arena_clear(&mem);
	return rc;
}
