/* Probes: the columns that differ most between a class and the rest, and logistic regression on them. Each probe is one task of the
 * pool and runs in one thread. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/logistic.h"
#include "sae/probe_score.h"

typedef struct fitting {
	sae_probe *out;
	const sae_examples *e;
	const sae_probe_opts *o;
	uint32_t *train, *all; /* examples to train on; every example */
	uint32_t n_train;
	double *differences; /* (n_probed, d + F): mean of the class minus mean of the rest, of the training examples */
	int *rc;
	error *errors; /* a probe */
} fitting;

static uint32_t n_columns(const sae_examples *e, bool on_codes)
{
	return on_codes ? e->n_features : e->d;
}

static bool positive(const sae_examples *e, uint32_t example, uint32_t label)
{
	return e->label[example] == label;
}

static void difference_task(void *payload, size_t i, unsigned worker)
{
	fitting *f = payload;
	const sae_examples *e = f->e;
	double *x = f->differences + i * ((size_t)e->d + e->n_features), *codes = x + e->d;
	uint32_t n_positive = 0;

	(void)worker;
	for (uint32_t j = 0; j < f->n_train; j++)
		n_positive += positive(e, f->train[j], f->o->classes[i]);
	for (uint32_t j = 0; j < f->n_train; j++) {
		uint32_t row = f->train[j];
		double by = positive(e, row, f->o->classes[i]) ? 1.0 / n_positive
		                                               : -1.0 / (f->n_train - n_positive);

		for (uint32_t c = 0; c < e->d; c++)
			x[c] += by * (double)e->x[(size_t)row * e->d + c];
		for (size_t at = e->codes.first[row]; at < e->codes.first[row + 1]; at++)
			codes[e->codes.index[at]] += by * (double)e->codes.value[at];
	}
}

/* The k columns of largest absolute difference; of equal ones the first. */
static void choose(uint32_t *columns, uint32_t k, const double *difference, uint32_t n)
{
	uint32_t found = 0;

	for (uint32_t c = 0; c < n; c++) {
		uint32_t at = found < k ? found++ : k;

		while (at > 0 && fabs(difference[c]) > fabs(difference[columns[at - 1]])) {
			if (at < k)
				columns[at] = columns[at - 1];
			at--;
		}
		if (at < k)
			columns[at] = c;
	}
}

/* The chosen columns of every example: (n, p). */
static float *take_columns(const sae_examples *e, const sae_probe *p)
{
	float *x = calloc((size_t)e->n * p->p + 1, sizeof(*x));
	uint32_t *place = malloc(((size_t)e->n_features + 1) * sizeof(*place));

	if (!x || !place) {
		free(x);
		free(place);
		return NULL;
	}
	memset(place, 0xff, (size_t)e->n_features * sizeof(*place));
	for (uint32_t j = 0; p->on_codes && j < p->p; j++)
		place[p->columns[j]] = j;
	for (uint32_t i = 0; i < e->n; i++) {
		float *to = x + (size_t)i * p->p;

		for (uint32_t j = 0; !p->on_codes && j < p->p; j++)
			to[j] = e->x[(size_t)i * e->d + p->columns[j]];
		for (size_t at = e->codes.first[i]; p->on_codes && at < e->codes.first[i + 1]; at++)
			if (place[e->codes.index[at]] != UINT32_MAX)
				to[place[e->codes.index[at]]] = e->codes.value[at];
	}
	free(place);
	return x;
}

/* Margins of all examples, and the score of those held out. */
static int measure(fitting *f, sae_probe *p, logistic_data *data, error *err)
{
	const sae_examples *e = f->e;
	uint32_t n = 0, n_train_positive = 0;
	probe_score score;
	double *margin = malloc(e->n * sizeof(*margin));
	uint32_t *group = malloc(e->n * sizeof(*group));
	uint8_t *y = malloc(e->n);
	int rc = 0;

	if (!margin || !group || !y)
		rc = error_nomem(err, "a probe's score");
	data->n = e->n;
	data->rows = f->all;
	if (!rc)
		logistic_margins(p->margin, data, p->weights, p->bias);
	for (uint32_t i = 0; i < e->n && !rc; i++) {
		n_train_positive += !e->test[i] && positive(e, i, p->label);
		if (!e->test[i])
			continue;
		margin[n] = p->margin[i];
		group[n] = e->group[i];
		y[n++] = positive(e, i, p->label);
	}
	if (!rc)
		rc = probe_score_make(&score, margin, y, group, n, n_train_positive / (double)f->n_train,
		                      f->o->seed, err);
	if (!rc) {
		p->accuracy = score.accuracy;
		p->balanced_accuracy = score.balanced_accuracy;
		p->f1 = score.f1;
		p->auroc = score.auroc;
	}
	free(margin);
	free(group);
	free(y);
	return rc;
}

static int fit(fitting *f, size_t i, error *err)
{
	const sae_examples *e = f->e;
	sae_probe *p = &f->out[i];
	const double *difference = f->differences + i / (2 * f->o->n_k) * ((size_t)e->d + e->n_features);
	logistic_data data = { .n = f->n_train, .p = p->p, .rows = f->train, .weight = { 1, 1 } };
	logistic_fit found = { 0 };
	uint8_t *y = malloc(f->n_train);
	float *x = NULL;
	uint32_t n_positive = 0;
	int rc = 0;

	if (p->columns) {
		choose(p->columns, p->p, difference + (p->on_codes ? e->d : 0), n_columns(e, p->on_codes));
		x = take_columns(e, p);
	}
	if (!y || (p->columns && !x))
		rc = error_nomem(err, "a probe");
	for (uint32_t j = 0; j < f->n_train && !rc; j++)
		n_positive += y[j] = positive(e, f->train[j], p->label);
	if (f->o->balance) {
		data.weight[0] = f->n_train / 2.0 / (f->n_train - n_positive);
		data.weight[1] = f->n_train / 2.0 / n_positive;
	}
	data.y = y;
	data.x = p->columns ? x : p->on_codes ? NULL : e->x;
	data.codes = &e->codes;
	p->seconds = clock_now();
	if (!rc)
		rc = logistic_solve(&found, p->weights, &data, f->o->c, err);
	p->seconds = clock_now() - p->seconds;
	p->bias = found.bias;
	p->objective = found.objective;
	p->steps = found.steps;
	p->converged = found.converged;
	if (!rc)
		rc = measure(f, p, &data, err);
	free(y);
	free(x);
	return rc;
}

static void fit_task(void *payload, size_t i, unsigned worker)
{
	fitting *f = payload;
	/* the large ones first */
	size_t n = f->o->n_probed * 2 * f->o->n_k, at = n - 1 - i;

	(void)worker;
	f->rc[at] = fit(f, at, &f->errors[at]);
}

/* What each probe is of, and its arrays. */
static int prepare(fitting *f, error *err)
{
	const sae_examples *e = f->e;
	size_t n_k = f->o->n_k;

	for (size_t i = 0; i < f->o->n_probed * 2 * n_k; i++) {
		sae_probe *p = &f->out[i];
		uint32_t n;

		p->label = f->o->classes[i / (2 * n_k)];
		p->on_codes = i / n_k % 2;
		p->k = f->o->k[i % n_k];
		n = n_columns(e, p->on_codes);
		if (p->k >= n)
			p->k = 0;
		p->p = p->k ? p->k : n;
		p->columns = p->k ? calloc(p->k, sizeof(*p->columns)) : NULL;
		p->weights = calloc(p->p, sizeof(*p->weights));
		p->margin = calloc(e->n, sizeof(*p->margin));
		if ((p->k && !p->columns) || !p->weights || !p->margin)
			return error_nomem(err, "the probes");
	}
	f->train = malloc(e->n * sizeof(*f->train));
	f->all = malloc(e->n * sizeof(*f->all));
	f->differences = calloc(f->o->n_probed * ((size_t)e->d + e->n_features), sizeof(*f->differences));
	f->rc = calloc(f->o->n_probed * 2 * n_k, sizeof(*f->rc));
	f->errors = calloc(f->o->n_probed * 2 * n_k, sizeof(*f->errors));
	if (!f->train || !f->all || !f->differences || !f->rc || !f->errors)
		return error_nomem(err, "the probes");
	for (uint32_t i = 0; i < e->n; i++) {
		f->all[i] = i;
		if (!e->test[i])
			f->train[f->n_train++] = i;
	}
	return 0;
}

int sae_probe_fit(sae_probe *out, const sae_examples *e, const sae_probe_opts *o, pool *p, error *err)
{
	size_t n = o->n_probed * 2 * o->n_k;
	fitting f = { .out = out, .e = e, .o = o };
	int rc;

	memset(out, 0, n * sizeof(*out));
	rc = prepare(&f, err);
	if (!rc) {
		pool_run(p, o->n_probed, difference_task, &f);
		pool_run(p, n, fit_task, &f);
	}
	for (size_t i = 0; i < n && !rc; i++) {
		rc = f.rc[i];
		if (rc && err)
			*err = f.errors[i];
	}
	free(f.train);
	free(f.all);
	free(f.differences);
	free(f.rc);
	free(f.errors);
	for (size_t i = 0; i < n && rc; i++)
		sae_probe_clear(&out[i]);
	return rc;
}

void sae_probe_clear(sae_probe *p)
{
	free(p->columns);
	free(p->weights);
	free(p->margin);
	*p = (sae_probe){ 0 };
}
