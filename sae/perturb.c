/* Targeted probe perturbation and spurious correlation removal. See sae.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/logistic.h"

/* out (F) = w . W_dec[f]. */
static void along_decoder(double *out, const sae_model *m, const double *w)
{
	for (uint32_t f = 0; f < m->d_sae; f++) {
		const float *row = m->W_dec + (size_t)f * m->d_out;

		out[f] = 0;
		for (uint32_t j = 0; j < m->d_out; j++)
			out[f] += w[j] * (double)row[j];
	}
}

/* out (F): mean code of the examples with side 1 less that of those with side 0; 2: neither. */
static void mean_differences(double *out, const sae_examples *e, const uint8_t *side)
{
	double n[2] = { 0 };

	for (uint32_t i = 0; i < e->n; i++)
		if (side[i] < 2)
			n[side[i]]++;
	memset(out, 0, e->n_features * sizeof(*out));
	for (uint32_t i = 0; i < e->n; i++) {
		double by = side[i] == 1 ? 1 / n[1] : -1 / n[0];

		for (size_t at = e->codes.first[i]; side[i] < 2 && at < e->codes.first[i + 1]; at++)
			out[e->codes.index[at]] += by * (double)e->codes.value[at];
	}
}

typedef struct effect {
	double value;
	uint32_t feature;
} effect;

static int by_effect(const void *a, const void *b)
{
	const effect *x = a, *y = b;

	if (x->value > y->value || x->value < y->value)
		return x->value > y->value ? -1 : 1;
	return (x->feature > y->feature) - (x->feature < y->feature);
}

/* rank (F): the place of each feature by its effect; UINT32_MAX where it has none. */
static void rank_effects(uint32_t *rank, effect *effects, uint32_t n)
{
	qsort(effects, n, sizeof(*effects), by_effect);
	for (uint32_t i = 0; i < n; i++) {
		bool any = effects[i].value < 0 || effects[i].value > 0;

		rank[effects[i].feature] = any ? i : UINT32_MAX;
	}
}

/* What taking the first n features away does to the margin of example i, by the probe whose weights are `along` the decoder. */
static double moved(const sae_examples *e, uint32_t i, const double *along, const uint32_t *rank, uint32_t n)
{
	double sum = 0;

	for (size_t at = e->codes.first[i]; at < e->codes.first[i + 1]; at++)
		if (rank[e->codes.index[at]] < n)
			sum -= (double)e->codes.value[at] * along[e->codes.index[at]];
	return sum;
}

/* Mean of the shares right in the cells: cell[i] of example i, UINT8_MAX for none; its lowest bit is the answer. NaN: one is empty. */
static double accuracy(const sae_examples *e, const double *margin, const double *along, const uint32_t *rank,
                       uint32_t n, const uint8_t *cell, int n_cells)
{
	double right[4] = { 0 }, all[4] = { 0 }, mean = 0;

	for (uint32_t i = 0; i < e->n; i++) {
		double at;

		if (cell[i] == UINT8_MAX)
			continue;
		at = margin[i] + (n ? moved(e, i, along, rank, n) : 0);
		right[cell[i]] += (at > 0) == (cell[i] & 1);
		all[cell[i]]++;
	}
	for (int c = 0; c < n_cells; c++)
		mean += right[c] / all[c] / n_cells;
	return mean;
}

/* ---- Targeted probe perturbation ------------------------------------------------------------------------------------- */

typedef struct tpp {
	sae_tpp *out;
	const sae_examples *e;
	const sae_probe_opts *o;
	const uint32_t *sizes;
	size_t n_sizes;
	sae_probe *probes; /* (n_probed, 2): of all activations; of all codes */
	double *along;     /* (n_probed, F) */
	double *change; /* (n_probed, n_sizes, n_probed): accuracy lost by each probe when a class's features go */
	bool no_memory;
} tpp;

static void tested_cells(uint8_t *cell, const sae_examples *e, uint32_t label)
{
	for (uint32_t i = 0; i < e->n; i++)
		cell[i] = e->test[i] ? e->label[i] == label : UINT8_MAX;
}

static void tpp_task(void *payload, size_t c, unsigned worker)
{
	tpp *t = payload;
	const sae_examples *e = t->e;
	size_t f = e->n_features;
	double *difference = malloc(f * sizeof(*difference));
	effect *effects = malloc(f * sizeof(*effects));
	uint32_t *rank = malloc(f * sizeof(*rank));
	uint8_t *side = malloc(e->n);

	(void)worker;
	if (!difference || !effects || !rank || !side) {
		t->no_memory = true;
		goto out;
	}
	for (uint32_t i = 0; i < e->n; i++)
		side[i] = e->test[i] ? 2 : e->label[i] == t->o->classes[c];
	mean_differences(difference, e, side);
	for (uint32_t i = 0; i < f; i++)
		effects[i] = (effect){ fmax(0, difference[i]) * t->along[c * f + i], i };
	rank_effects(rank, effects, (uint32_t)f);
	for (size_t other = 0; other < t->o->n_probed; other++) {
		const double *margin = t->probes[2 * other].margin, *along = t->along + other * f;
		double before;

		tested_cells(side, e, t->o->classes[other]);
		before = accuracy(e, margin, along, rank, 0, side, 2);
		for (size_t k = 0; k < t->n_sizes; k++)
			t->change[(c * t->n_sizes + k) * t->o->n_probed + other] =
			        before - accuracy(e, margin, along, rank, t->sizes[k], side, 2);
	}
out:
	free(difference);
	free(effects);
	free(rank);
	free(side);
}

static void tpp_fill(tpp *t)
{
	size_t n = t->o->n_probed;

	for (size_t i = 0; i < n * t->n_sizes; i++) {
		const double *change = t->change + i * n;
		sae_tpp *to = &t->out[i];

		*to = (sae_tpp){ .label = t->o->classes[i / t->n_sizes], .n = t->sizes[i % t->n_sizes] };
		for (size_t other = 0; other < n; other++) {
			if (other == i / t->n_sizes)
				to->intended = change[other];
			else
				to->unintended += change[other] / (double)(n - 1);
		}
		to->score = to->intended - to->unintended;
	}
}

/* Whether a feature's value times its decoder row is what it adds to the rows. */
static int check_model(const sae_examples *e, const sae_model *m, error *err)
{
	if (m->transcodes || m->d_out != e->d)
		return error_set(err, ERR_ARG,
		                 "a transcoder's features are no part of the activations they are read from");
	if (m->arch == SAE_CODEBOOK)
		return error_set(err, ERR_ARG,
		                 "taking codes of a codebook away is not measured: what they add does not "
		                 "depend on their values");
	return 0;
}

int sae_tpp_measure(sae_tpp *out, const sae_examples *e, const sae_model *m, const sae_probe_opts *o,
                    const uint32_t *sizes, size_t n_sizes, pool *p, error *err)
{
	const uint32_t all[] = { 0 };
	sae_probe_opts dense = *o;
	tpp t = { .out = out, .e = e, .o = o, .sizes = sizes, .n_sizes = n_sizes };
	int rc = 0;

	rc = check_model(e, m, err);
	if (rc < 0)
		return rc;
	if (o->n_probed < 2)
		return error_set(err, ERR_ARG,
		                 "targeted probe perturbation needs two classes or more to probe");
	dense.k = all;
	dense.n_k = 1;
	dense.balance = true;
	t.probes = calloc(2 * o->n_probed, sizeof(*t.probes));
	t.along = calloc(o->n_probed * (size_t)e->n_features, sizeof(*t.along));
	t.change = calloc(o->n_probed * n_sizes * o->n_probed, sizeof(*t.change));
	if (!t.probes || !t.along || !t.change)
		rc = error_nomem(err, "the probes");
	if (!rc)
		rc = sae_probe_fit(t.probes, e, &dense, p, err);
	if (!rc) {
		for (size_t c = 0; c < o->n_probed; c++)
			along_decoder(t.along + c * e->n_features, m, t.probes[2 * c].weights);
		pool_run(p, o->n_probed, tpp_task, &t);
		if (t.no_memory)
			rc = error_nomem(err, "effects of features");
	}
	if (!rc)
		tpp_fill(&t);
	for (size_t i = 0; t.probes && i < 2 * o->n_probed; i++)
		sae_probe_clear(&t.probes[i]);
	free(t.probes);
	free(t.along);
	free(t.change);
	return rc;
}

/* ---- Spurious correlation removal ------------------------------------------------------------------------------------- */

typedef struct scr {
	const sae_examples *e;
	const sae_probe_opts *o;
	uint8_t *train, *test, *y; /* (n): cell 2 spurious + label, UINT8_MAX for none */
	uint32_t *rows, *rank;
	double *w[3], *margin, *along, *difference; /* w: clean, spurious, original */
	effect *effects;
	double bias[3];
	arena mem;
} scr;

static int alloc_scr(scr *s, error *err)
{
	size_t n = s->e->n, f = s->e->n_features, d = s->e->d;

	s->train = arena_alloc(&s->mem, 3 * n, 1);
	s->rows = arena_alloc(&s->mem, n, sizeof(*s->rows));
	s->rank = arena_alloc(&s->mem, f, sizeof(*s->rank));
	s->w[0] = arena_alloc(&s->mem, 3 * d, sizeof(double));
	s->margin = arena_alloc(&s->mem, n, sizeof(double));
	s->along = arena_alloc(&s->mem, 2 * f, sizeof(double));
	s->effects = arena_alloc(&s->mem, f, sizeof(*s->effects));
	if (!s->train || !s->rows || !s->rank || !s->w[0] || !s->margin || !s->along || !s->effects)
		return error_nomem(err, "the probes");
	s->test = s->train + n;
	s->y = s->train + 2 * n;
	s->w[1] = s->w[0] + d;
	s->w[2] = s->w[0] + 2 * d;
	s->difference = s->along + f;
	return 0;
}

typedef struct keyed {
	uint64_t key;
	uint32_t example;
} keyed;

static int by_key(const void *a, const void *b)
{
	const keyed *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* The cells of training examples, cut to the smallest one's number in the order of hashes; and of the held-out ones. */
static int fill_cells(scr *s, const uint32_t *spurious, error *err)
{
	const sae_examples *e = s->e;
	uint32_t n[2][4] = { { 0 } }, least = UINT32_MAX, taken[4] = { 0 };
	keyed *order = arena_alloc(&s->mem, e->n, sizeof(*order));

	if (!order)
		return error_nomem(err, "the probes");
	for (uint32_t i = 0; i < e->n; i++) {
		uint8_t cell = spurious[i] > 1 ? UINT8_MAX : (uint8_t)(2 * spurious[i] + (e->label[i] == 1));

		s->train[i] = e->test[i] ? UINT8_MAX : cell;
		s->test[i] = e->test[i] ? cell : UINT8_MAX;
		if (cell < 4)
			n[e->test[i]][cell]++;
		order[i] = (keyed){ hash64_mix(s->o->seed, e->unit[i]), i };
	}
	for (int c = 0; c < 8; c++)
		if (n[c / 4][c % 4] == 0)
			return error_set(
			        err, ERR_FORMAT,
			        "spurious correlation: no %s example has label %d and spurious label %d",
			        c / 4 ? "held-out" : "training", c & 1, c % 4 / 2);
	for (int c = 0; c < 4; c++)
		least = n[0][c] < least ? n[0][c] : least;
	qsort(order, e->n, sizeof(*order), by_key);
	for (uint32_t i = 0; i < e->n; i++) {
		uint8_t *cell = &s->train[order[i].example];

		if (*cell < 4 && taken[*cell]++ >= least)
			*cell = UINT8_MAX;
	}
	return 0;
}

/* Fit probe `which` on the training cells: bit `answer` of the cell; `biased`: only cells 0 and 3, where both labels agree. */
static int fit_cells(scr *s, int which, int answer, bool biased, error *err)
{
	logistic_data data = { .p = s->e->d, .rows = s->rows, .x = s->e->x, .y = s->y, .weight = { 1, 1 } };
	logistic_fit fit;
	int rc;

	for (uint32_t i = 0; i < s->e->n; i++) {
		uint8_t cell = s->train[i];

		if (cell > 3 || (biased && cell % 3))
			continue;
		s->y[data.n] = cell >> answer & 1;
		s->rows[data.n++] = i;
	}
	rc = logistic_solve(&fit, s->w[which], &data, s->o->c, err);
	s->bias[which] = fit.bias;
	return rc;
}

static void all_margins(scr *s, int which)
{
	logistic_data data = { .n = s->e->n, .p = s->e->d, .rows = s->rows, .x = s->e->x };

	for (uint32_t i = 0; i < s->e->n; i++)
		s->rows[i] = i;
	logistic_margins(s->margin, &data, s->w[which], s->bias[which]);
}

static void measure_scr(sae_scr *out, scr *s, const sae_model *m, const uint32_t *sizes, size_t n_sizes)
{
	double clean, original;

	for (uint32_t i = 0; i < s->e->n; i++)
		s->y[i] = s->train[i] > 3 ? 2 : s->train[i] >> 1;
	mean_differences(s->difference, s->e, s->y);
	along_decoder(s->along, m, s->w[1]);
	for (uint32_t f = 0; f < m->d_sae; f++)
		s->effects[f] = (effect){ fabs(s->difference[f] * s->along[f]), f };
	rank_effects(s->rank, s->effects, m->d_sae);
	all_margins(s, 0);
	clean = accuracy(s->e, s->margin, NULL, NULL, 0, s->test, 4);
	all_margins(s, 2);
	along_decoder(s->along, m, s->w[2]);
	original = accuracy(s->e, s->margin, NULL, NULL, 0, s->test, 4);
	for (size_t k = 0; k < n_sizes; k++) {
		double changed = accuracy(s->e, s->margin, s->along, s->rank, sizes[k], s->test, 4);

		out[k] = (sae_scr){ sizes[k], clean, original, changed, (double)NAN };
		if (clean - original >= 0.001) /* SAEBench: else there is nothing to remove */
			out[k].score = (changed - original) / (clean - original);
	}
}

int sae_scr_measure(sae_scr *out, const sae_examples *e, const uint32_t *spurious, const sae_model *m,
                    const sae_probe_opts *o, const uint32_t *sizes, size_t n_sizes, error *err)
{
	scr s = { .e = e, .o = o };
	int rc;

	rc = check_model(e, m, err);
	if (rc < 0)
		return rc;
	if (e->n_classes != 2)
		return error_set(err, ERR_ARG,
		                 "spurious correlation removal needs labels of two classes, not %u",
		                 e->n_classes);
	rc = alloc_scr(&s, err);
	if (!rc)
		rc = fill_cells(&s, spurious, err);
	if (!rc)
		rc = fit_cells(&s, 0, 0, false, err);
	if (!rc)
		rc = fit_cells(&s, 1, 1, false, err);
	if (!rc)
		rc = fit_cells(&s, 2, 0, true, err);
	if (!rc)
		measure_scr(out, &s, m, sizes, n_sizes);
	arena_clear(&s.mem);
	return rc;
}
