/* Random numbers and directions of synthetic dumps, each a function of a seed and a counter. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "sae/encode.h"
#include "sae/synth_internal.h"

static const double two_pi = 6.283185307179586;

double synth_unit(uint64_t seed, uint64_t counter)
{
	return hash64_unit(hash64_mix(seed, counter));
}

double synth_normal(uint64_t seed, uint64_t counter)
{
	double u = synth_unit(seed, 2 * counter), v = synth_unit(seed, 2 * counter + 1);

	return sqrt(-2 * log(1 - u)) * cos(two_pi * v);
}

double synth_normal_above(double x)
{
	return 0.5 * erfc(x * sqrt(0.5));
}

double synth_normal_bound(double p)
{
	double low = -40, high = 40;

	for (int i = 0; i < 100; i++) { /* far more halvings than a double has bits between the two */
		double middle = (low + high) / 2;

		if (synth_normal_above(middle) > p)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

float *synth_unit_rows(uint32_t n, uint32_t d, uint64_t seed)
{
	float *x = mem_alloc_aligned((size_t)n * d, sizeof(*x)), *unit;

	for (size_t i = 0; x && i < (size_t)n * d; i++)
		x[i] = (float)synth_normal(seed, i);
	unit = x ? sae_unit_rows(x, n, d) : NULL;
	free(x);
	return unit;
}

/* ---- Directions pushed apart --------------------------------------------------------------------------------------------------- */

enum { SPREAD_ROWS = 256, SPREAD_COLUMNS = 64 }; /* of a GEMM: recorded constants, results depend on them */

/* The sum over all pairs of (e_i . e_j)^2 has the gradient 4 (E M - |e_i|^2 e_i) with M = E^T E, so cosines of pairs are never made. */
typedef struct spreading {
	float *rows, *gram, *gradient, *m, *v; /* (n, d), (d, d), (n, d) three times */
	uint32_t n, d, step;
	double lr;
} spreading;

static void gram_task(void *payload, size_t i, unsigned worker)
{
	spreading *s = payload;
	uint32_t from = (uint32_t)i * SPREAD_COLUMNS,
	         n = s->d - from < SPREAD_COLUMNS ? s->d - from : SPREAD_COLUMNS;

	(void)worker;
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)s->d, (blasint)n, (blasint)s->n, 1,
	            s->rows, (blasint)s->d, s->rows + from, (blasint)s->d, 0, s->gram + from, (blasint)s->d);
}

static void move_row(spreading *s, uint32_t row)
{
	float *x = s->rows + (size_t)row * s->d, *g = s->gradient + (size_t)row * s->d;
	float *m = s->m + (size_t)row * s->d, *v = s->v + (size_t)row * s->d;
	double squares = 0, b1 = 1 - pow(0.9, s->step), b2 = 1 - pow(0.999, s->step);

	for (uint32_t j = 0; j < s->d; j++)
		squares += (double)x[j] * (double)x[j];
	for (uint32_t j = 0; j < s->d; j++) {
		double slope = 4 * ((double)g[j] - squares * (double)x[j]) +
		               4 * (double)s->n * (squares - 1) * (double)x[j];

		m[j] = (float)(0.9 * (double)m[j] + 0.1 * slope);
		v[j] = (float)(0.999 * (double)v[j] + 0.001 * slope * slope);
		x[j] = (float)((double)x[j] - s->lr * ((double)m[j] / b1) / (sqrt((double)v[j] / b2) + 1e-8));
	}
}

static void move_task(void *payload, size_t i, unsigned worker)
{
	spreading *s = payload;
	uint32_t from = (uint32_t)i * SPREAD_ROWS, n = s->n - from < SPREAD_ROWS ? s->n - from : SPREAD_ROWS;

	(void)worker;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)s->d, (blasint)s->d, 1,
	            s->rows + (size_t)from * s->d, (blasint)s->d, s->gram, (blasint)s->d, 0,
	            s->gradient + (size_t)from * s->d, (blasint)s->d);
	for (uint32_t row = from; row < from + n; row++)
		move_row(s, row);
}

int synth_orthogonalise(float *rows, uint32_t n, uint32_t d, uint32_t steps, double lr, pool *p, error *err)
{
	spreading s = { .rows = rows, .n = n, .d = d, .lr = lr };
	arena mem = ARENA_INIT;
	float *unit;
	int rc = 0;

	s.gram = arena_alloc(&mem, (size_t)d * d, sizeof(float));
	s.gradient = arena_alloc(&mem, (size_t)n * d, sizeof(float));
	s.m = arena_alloc(&mem, (size_t)n * d, sizeof(float));
	s.v = arena_alloc(&mem, (size_t)n * d, sizeof(float));
	if (!s.gram || !s.gradient || !s.m || !s.v)
		rc = error_nomem(err, "directions");
	encode_blas_single_threaded();
	for (s.step = 1; s.step <= steps && rc == 0; s.step++) {
		pool_run(p, (d + SPREAD_COLUMNS - 1) / SPREAD_COLUMNS, gram_task, &s);
		pool_run(p, (n + SPREAD_ROWS - 1) / SPREAD_ROWS, move_task, &s);
	}
	arena_clear(&mem);
	if (rc < 0)
		return rc;
	unit = sae_unit_rows(rows, n, d);
	if (!unit)
		return error_nomem(err, "directions");
	memcpy(rows, unit, (size_t)n * d * sizeof(*rows));
	free(unit);
	return 0;
}

int synth_max_cosine(double *out, const float *unit, uint32_t n, uint32_t d, pool *p, error *err)
{
	float *minus = mem_alloc_aligned((size_t)n * d, sizeof(*minus));
	sae_ranked near = { 0 }, far = { 0 };
	int rc = minus ? 0 : error_nomem(err, "directions");

	for (size_t i = 0; i < (size_t)n * d && rc == 0; i++)
		minus[i] = -unit[i];
	if (rc == 0)
		rc = sae_rank_cosines(&near, unit, n, unit, n, d, 1, true, p, err);
	if (rc == 0)
		rc = sae_rank_cosines(&far, minus, n, unit, n, d, 1, false, p, err);
	*out = 0;
	for (uint32_t i = 0; i < n && rc == 0 && near.n; i++)
		*out = fmax(*out, fmax((double)near.values[i], (double)far.values[i]));
	sae_ranked_free(&near);
	sae_ranked_free(&far);
	free(minus);
	return rc;
}

/* ---- What most kinds begin with -------------------------------------------------------------------------------------------------- */

float synth_value(const synth *s, uint32_t feature, uint64_t seed)
{
	double x = s->mean ? (double)s->mean[feature] : 1;

	if (s->std && s->std[feature] > 0)
		x += (double)s->std[feature] * synth_normal(hash64_mix(seed, feature), 0);
	return x > 0 ? (float)x : 0;
}

int synth_make_dictionary(synth *s, pool *p, error *err)
{
	uint64_t seed = hash64_mix(s->o.seed, STREAM_DICTIONARY);
	float *bias;
	int rc = 0;

	s->dictionary = synth_unit_rows(s->n_features, s->o.d, seed);
	s->bias = arena_alloc(&s->mem, s->o.d, sizeof(*s->bias));
	bias = synth_unit_rows(1, s->o.d, hash64_mix(s->o.seed, STREAM_BIAS));
	if (!s->dictionary || !s->bias || !bias)
		rc = error_nomem(err, "directions");
	for (uint32_t j = 0; j < s->o.d && rc == 0; j++)
		s->bias[j] = (float)(s->o.bias * (double)bias[j]);
	free(bias);
	if (rc == 0 && s->o.orthogonal_steps && s->n_features > 1)
		rc = synth_orthogonalise(s->dictionary, s->n_features, s->o.d, s->o.orthogonal_steps,
		                         s->o.orthogonal_lr, p, err);
	return rc;
}

int synth_make_values(synth *s, error *err)
{
	uint64_t seed = hash64_mix(s->o.seed, STREAM_STD);
	uint32_t n = s->n_features;

	s->mean = arena_alloc(&s->mem, n, sizeof(*s->mean));
	s->std = arena_alloc(&s->mem, n, sizeof(*s->std));
	if (!s->mean || !s->std)
		return error_nomem(err, "values of features");
	for (uint32_t i = 0; i < n; i++) {
		double at = n > 1 ? (double)i / (n - 1) : 0;

		s->mean[i] = (float)(s->o.mean + (s->o.mean_last - s->o.mean) * at);
		s->std[i] = (float)fabs(s->o.std + s->o.std_spread * synth_normal(seed, i));
	}
	return 0;
}
