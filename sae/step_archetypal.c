/* Archetypal decoder rows: see step_archetypal.h. */
#include <math.h>
#include <stdlib.h>

#include "sae/kmeans.h"
#include "sae/step.h"

int step_archetypal_init(step *s, error *err)
{
	size_t n = s->c.archetypal, f = s->c.n_features, d = s->c.d;
	step_archetypal *a = arena_alloc(&s->mem, 1, sizeof(*a));

	s->archetypal = a;
	if (!a)
		return error_nomem(err, "archetypes");
	a->n_points = n;
	a->delta = (float)(s->c.archetypal_delta / sqrt((double)d));
	a->points = arena_alloc(&s->mem, n, d * sizeof(float));
	a->mix = arena_alloc(&s->mem, f, n * sizeof(float));
	a->mix_m = arena_alloc(&s->mem, f, n * sizeof(float));
	a->mix_v = arena_alloc(&s->mem, f, n * sizeof(float));
	a->relax = arena_alloc(&s->mem, f, d * sizeof(float));
	a->scale = arena_alloc(&s->mem, 3, sizeof(float));
	a->grads = arena_alloc(&s->mem, pool_threads(s->pool), n * sizeof(float));
	a->slopes = arena_alloc(&s->mem, s->n_blocks, sizeof(double));
	return a->points && a->mix && a->mix_m && a->mix_v && a->relax && a->scale && a->grads && a->slopes
	               ? 0
	               : error_nomem(err, "archetypes");
}

/* Feature f's decoder row from its parameters. */
static void make_row(step *s, size_t f)
{
	const step_archetypal *a = s->archetypal;
	const kernels *k = s->c.k_set;
	size_t d = s->c.d;
	float *row = s->W_dec.w + f * d;

	memcpy(row, a->relax + f * d, d * sizeof(*row));
	for (size_t i = 0; i < a->n_points; i++)
		if (a->mix[f * a->n_points + i] > 0)
			k->axpy(row, a->mix[f * a->n_points + i], a->points + i * d, d);
	k->scale(row, expf(a->scale[0]), d);
}

void step_archetypal_start(step *s, const float *points, uint64_t seed)
{
	step_archetypal *a = s->archetypal;
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, n = a->n_points;

	memcpy(a->points, points, n * d * sizeof(*points));
	k->scale(a->points, (float)(1 / sqrt((double)d)), n * d);
	for (size_t f = 0; f < s->c.n_features; f++) {
		float *row = s->W_dec.w + f * d, *enc = s->W_enc.w + f * d, *mix = a->mix + f * n;
		double share = f < n ? 1 : hash64_unit(hash64_mix(seed, 2 * f)), norm;

		mix[f % n] += (float)share;
		mix[hash64_below(hash64_mix(seed, 2 * f + 1), n)] += (float)(1 - share);
		make_row(s, f);
		norm = sqrt(k->sum_squares(row, d));
		memcpy(enc, row, d * sizeof(*enc)); /* a shorter decoder row takes a larger value */
		if (norm > 1e-3)
			k->scale(enc, (float)(step_encoder_norm(s) / (norm * norm)), d);
	}
	s->fresh = false;
}

uint64_t step_archetypal_start_bytes(const step_config *c)
{
	return (kmeans_rows(c->archetypal) + c->archetypal) * (uint64_t)c->d * sizeof(float);
}

int step_archetypal_begin(step *s, const float *rows, size_t n, uint64_t seed, error *err)
{
	size_t d = s->c.d, n_points = s->archetypal->n_points;
	float *centred = mem_alloc_aligned(n, d * sizeof(float));
	float *points = mem_alloc_aligned(n_points, d * sizeof(float));
	int rc = centred && points ? 0 : error_nomem(err, "archetypes");

	for (size_t t = 0; t < n && rc == 0; t++)
		s->c.k_set->center(centred + t * d, rows + t * d, 1, s->b_dec.w, d);
	if (rc == 0)
		rc = kmeans_fit(points, n_points, centred, n, d, KMEANS_PASSES, seed, s->c.k_set, s->pool,
		                err);
	if (rc == 0)
		step_archetypal_start(s, points, seed);
	free(centred);
	free(points);
	return rc;
}

void step_archetypal_state(const step *s, fitter_arrays *list)
{
	const step_archetypal *a = s->archetypal;
	size_t n = s->c.n_features * a->n_points;

	fitter_add(list, "points", SAE_F32, a->n_points * s->c.d, a->points);
	fitter_add_weight(list, "mix", n, a->mix);
	fitter_add(list, "mix_m", SAE_F32, n, a->mix_m);
	fitter_add(list, "mix_v", SAE_F32, n, a->mix_v);
	fitter_add_weight(list, "relax", (size_t)s->c.n_features * s->c.d, a->relax);
	fitter_add_weight(list, "archetypal_scale", 3, a->scale);
}

void step_archetypal_row(step *s, unsigned worker, size_t block, size_t f, float *grad)
{
	step_archetypal *a = s->archetypal;
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, n = a->n_points;
	float *mix = a->mix + f * n, *relax = a->relax + f * d, *grads = a->grads + worker * n, sum = 0;
	double norm;

	a->slopes[block] += (double)k->dot(grad, s->W_dec.w + f * d, d);
	k->scale(grad, expf(a->scale[0]), d);
	for (size_t i = 0, m; i < n; i += m) {
		const float *points[KERNELS_DOTS];

		m = n - i < KERNELS_DOTS ? n - i : KERNELS_DOTS;
		for (size_t j = 0; j < m; j++)
			points[j] = a->points + (i + j) * d;
		k->dots(grads + i, grad, points, m, d);
	}
	k->adam(mix, a->mix_m + f * n, a->mix_v + f * n, grads, n, &s->adam);
	for (size_t i = 0; i < n; i++) {
		mix[i] = mix[i] > 0 ? mix[i] : 0;
		sum += mix[i];
	}
	if (sum > 0)
		k->scale(mix, 1 / sum, n);
	k->adam(relax, s->W_dec.m + f * d, s->W_dec.v + f * d, grad, d, &s->adam);
	norm = sqrt(k->sum_squares(relax, d));
	if (norm > (double)a->delta)
		k->scale(relax, (float)((double)a->delta / norm), d);
	make_row(s, f);
}

static void scale_task(void *payload, size_t f, unsigned worker)
{
	step *s = payload;

	(void)worker;
	s->c.k_set->scale(s->W_dec.w + f * s->c.d, s->archetypal->grads[0], s->c.d);
}

void step_archetypal_end(step *s)
{
	step_archetypal *a = s->archetypal;
	float was = a->scale[0], grad;
	double slope = 0;

	for (size_t i = 0; i < s->n_blocks; i++)
		slope += a->slopes[i];
	grad = (float)slope;
	s->c.k_set->adam(a->scale, a->scale + 1, a->scale + 2, &grad, 1, &s->adam);
	a->grads[0] = expf(a->scale[0] - was);
	pool_run(s->pool, s->c.n_features, scale_task, s);
}
