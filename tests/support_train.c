/* support_train.h: what tests of training share. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>
#include <stdlib.h>

double support_uniform(uint64_t seed, uint64_t i)
{
	return 2 * hash64_unit(hash64_mix(seed, i)) - 1;
}

void support_fill(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)support_uniform(seed, i);
}

void support_fill_scaled(float *x, double *scaled, size_t n, float scale, uint64_t seed)
{
	support_fill(x, n, seed);
	for (size_t i = 0; i < n; i++)
		scaled[i] = scale * (double)x[i];
}

/* ---- References ------------------------------------------------------------------------------------------------------ */

double support_scatter(const double *x, size_t n, size_t d)
{
	double total = 0;

	for (size_t i = 0; i < d; i++) {
		double mean = 0;

		for (size_t t = 0; t < n; t++)
			mean += x[t * d + i] / (double)n;
		for (size_t t = 0; t < n; t++)
			total += (x[t * d + i] - mean) * (x[t * d + i] - mean);
	}
	return total;
}

void support_check_inputs(const double *found, const double *y, const double *e, size_t n, size_t d,
                          size_t n_inputs)
{
	size_t width = d / n_inputs;
	double *part = mem_alloc_aligned(n * width, sizeof(*part));

	for (size_t i = 0; i < n_inputs; i++) {
		double squares = 0;

		for (size_t t = 0; t < n; t++)
			for (size_t j = 0; j < width; j++) {
				double at = e[t * d + i * width + j];

				part[t * width + j] = y[t * d + i * width + j];
				squares += at * at;
			}
		ck_assert_double_le(fabs(found[i] - squares / support_scatter(part, n, width)),
		                    1e-5 * found[i]);
	}
	free(part);
}

void support_differences(double *grad, double *p, size_t n, double (*loss)(void *payload), void *payload)
{
	const double h = 1e-6;

	for (size_t i = 0; i < n; i++) {
		double at = p[i], up;

		p[i] = at + h;
		up = loss(payload);
		p[i] = at - h;
		grad[i] = (up - loss(payload)) / (2 * h);
		p[i] = at;
	}
}

void support_project(double *grad, const double *w, size_t n, size_t d)
{
	for (size_t f = 0; f < n; f++) {
		double along = 0, squares = 0;

		for (size_t i = f * d; i < (f + 1) * d; i++) {
			along += grad[i] * w[i];
			squares += w[i] * w[i];
		}
		for (size_t i = f * d; i < (f + 1) * d; i++)
			grad[i] -= along / squares * w[i];
	}
}

void support_adam(double *p, double *m, double *v, const double *grad, size_t n, const step_config *c,
                  unsigned t, double lr)
{
	for (size_t i = 0; i < n; i++) {
		m[i] = c->beta1 * m[i] + (1 - c->beta1) * grad[i];
		v[i] = c->beta2 * v[i] + (1 - c->beta2) * grad[i] * grad[i];
		p[i] -= lr * (m[i] / (1 - pow(c->beta1, t))) / (sqrt(v[i] / (1 - pow(c->beta2, t))) + c->eps);
	}
}

void support_compare(const char *what, const float *have, const double *want, size_t n, double factor,
                     double tolerance)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(fabs(have[i] * factor - want[i]) <= tolerance, "%s[%zu] is %g, not %g", what, i,
		              have[i] * factor, want[i]);
}

/* ---- Steps ----------------------------------------------------------------------------------------------------------- */

step_config support_small_step(uint32_t d, uint32_t n_features, uint32_t k, uint32_t batch)
{
	return (step_config){ .d = d,
		              .n_features = n_features,
		              .k = k,
		              .batch = batch,
		              .beta1 = 0.9,
		              .beta2 = 0.99,
		              .eps = 1e-4,
		              .dead_tokens = 2 * (uint64_t)batch,
		              .k_set = kernels_get(NULL) };
}

step_config support_large_step(uint32_t d, uint32_t n_features, uint32_t k, uint32_t batch)
{
	step_config c = support_small_step(d, n_features, k, batch);

	c.beta2 = 0.999;
	c.eps = 1e-8;
	c.auxk_alpha = 1.0 / 32;
	return c;
}

void support_weaken(step *s)
{
	for (size_t i = 0; i < (size_t)s->c.n_features / 4 * s->c.d; i++)
		s->W_enc.w[i] *= 1e-3f;
}

step *support_run_steps(const step_config *c, pool *p, unsigned steps)
{
	size_t n = (size_t)c->batch * c->d, n_y = (size_t)c->batch * c->d_out;
	float *x = mem_alloc_aligned(n, sizeof(float)), *y = mem_alloc_aligned(n_y + 1, sizeof(float));
	step_result r;
	step *s;

	ck_assert(x && y && steps);
	ck_assert_int_eq(step_new(&s, c, p, NULL), 0);
	step_init_weights(s, 7);
	support_weaken(s);
	for (unsigned t = 0; t < steps; t++) {
		support_fill(x, n, 20 + t);
		support_fill(y, n_y, 40 + t);
		for (size_t i = 0; i < n_y; i++)
			y[i] += x[i % n];
		step_run(s, x, n_y ? y : NULL, c->batch, 2, 1e-3, &r);
	}
	ck_assert_uint_gt(r.n_dead, 0);
	free(x);
	free(y);
	return s;
}

static void same_param(const step_param *a, const step_param *b, size_t n, size_t n_scales)
{
	ck_assert_int_eq(!a->w, !b->w);
	if (!a->w)
		return;
	ck_assert_mem_eq(a->w, b->w, n * sizeof(float));
	ck_assert((a->m && b->m) || (a->m8 && b->m8));
	if (a->m) {
		ck_assert_mem_eq(a->m, b->m, n * sizeof(float));
		ck_assert_mem_eq(a->v, b->v, n * sizeof(float));
	} else {
		ck_assert_mem_eq(a->m8, b->m8, n);
		ck_assert_mem_eq(a->v8, b->v8, n);
		ck_assert_mem_eq(a->scales, b->scales, n_scales * sizeof(float));
	}
}

void support_same_steps(const step *a, const step *b)
{
	size_t n = a->c.n_features, d = a->c.d, d_out = a->d_out;

	same_param(&a->W_enc, &b->W_enc, n * d, n * ADAM8_SCALES(d));
	same_param(&a->W_dec, &b->W_dec, n * d_out, n * ADAM8_SCALES(d_out));
	same_param(&a->b_enc, &b->b_enc, n, 0);
	same_param(&a->b_dec, &b->b_dec, d_out, 0);
	same_param(&a->W_skip, &b->W_skip, d_out * d, 0);
	ck_assert(a->threshold == b->threshold);
}

void support_same_at_any_threads(const step_config *c, step *(*run)(const step_config *c, pool *p))
{
	pool *pools[3];
	step *s[3];

	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(pool_new(&pools[i], i + 1, NULL), 0);
		s[i] = run(c, pools[i]);
		support_same_steps(s[0], s[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		step_free(s[i]);
		pool_free(pools[i]);
	}
}

void support_step_survives(const step_config *c)
{
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (long n = 0;; n++) {
		step *s = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = step_new(&s, c, p, NULL);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			step_free(s);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(s);
	}
	pool_free(p);
}

/* ---- Runs ------------------------------------------------------------------------------------------------------------ */

void support_train_survives(const sae_dump *dump, const sae_rows *rows, const sae_train_opts *o, pool *p)
{
	for (long n = 0;; n++) {
		sae_model *m = NULL;
		double *freq = NULL;
		error err = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_train(&m, &freq, dump, rows, o, p, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			sae_model_free(m);
			free(freq);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(m);
	}
}
