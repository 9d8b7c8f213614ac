/* Matching pursuit (pursuit_step.h) as a kind of member. */
#include <string.h>

#include "sae/fitter.h"
#include "sae/pursuit_step.h"

static int make(void **self, const sae_train_opts *o, uint32_t d_in, uint32_t d_out, pool *p, error *err)
{
	const pursuit_config c = { .d = d_in,
		                   .n_features = o->d_sae,
		                   .k = o->k,
		                   .batch = o->batch,
		                   .residual = o->residual,
		                   .repeat_ends = !o->repeats,
		                   .beta1 = o->beta1,
		                   .beta2 = o->beta2,
		                   .eps = o->eps,
		                   .dead_tokens = o->dead_tokens,
		                   .screening = o->screening,
		                   .k_set = kernels_get(o->kernels) };
	pursuit_step *s = NULL;
	int rc = pursuit_step_new(&s, &c, p, err);

	(void)d_out;
	*self = s;
	return rc;
}

static void end(void *self)
{
	pursuit_step_free(self);
}

static int start(void *self, uint64_t seed, const fitter_sample *sample, error *err)
{
	pursuit_step *s = self;

	(void)err;
	for (uint32_t i = 0; i < s->c.d; i++)
		s->b_dec.w[i] = (float)sample->mean_x[i];
	pursuit_step_init(s, seed);
	return 0;
}

static void run(void *self, float *x, float *y, size_t n, float input_scale, const fitter_now *now,
                step_result *r)
{
	(void)y;
	pursuit_step_run(self, x, n, input_scale, now->lr, r);
}

static void state(void *self, fitter_arrays *list)
{
	pursuit_step *s = self;
	size_t n = (size_t)s->c.n_features * s->c.d;

	fitter_add_weight(list, "W_dec", n, s->W.w);
	fitter_add(list, "W_dec_m", SAE_F32, n, s->W.m);
	fitter_add(list, "W_dec_v", SAE_F32, n, s->W.v);
	fitter_add_weight(list, "b_dec", s->c.d, s->b_dec.w);
	fitter_add(list, "b_dec_m", SAE_F32, s->c.d, s->b_dec.m);
	fitter_add(list, "b_dec_v", SAE_F32, s->c.d, s->b_dec.v);
	fitter_add(list, "silent", SAE_U64, s->c.n_features, s->silent);
	fitter_add(list, "adam_steps", SAE_U64, 1, &s->t);
}

static int model(sae_model **out, const void *self, error *err)
{
	const pursuit_step *s = self;
	sae_model *m = NULL;
	int rc = sae_model_new(&m, SAE_PURSUIT, s->c.d, s->c.n_features, 0, err);

	if (rc < 0)
		return rc;
	m->pursuit = (sae_pursuit){ s->c.residual, s->c.k, s->c.repeat_ends };
	memcpy(m->W_dec, s->W.w, (size_t)s->c.n_features * s->c.d * sizeof(float));
	memcpy(m->b_dec, s->b_dec.w, s->c.d * sizeof(float));
	*out = m;
	return 0;
}

static void fires(const void *self, uint64_t *counts)
{
	const pursuit_step *s = self;

	for (size_t f = 0; f < s->c.n_features; f++)
		counts[f] += s->fires[f];
}

static void bytes(const void *self, fitter_bytes *b)
{
	const pursuit_step *s = self;
	uint64_t matrix = (uint64_t)s->c.n_features * s->c.d * sizeof(float);

	b->optimiser = 3 * matrix + 2 * s->c.d * sizeof(float); /* moments and gradients */
	b->total = arena_bytes(&s->mem);
}

const fitter_kind fitter_pursuit = { .name = "pursuit",
	                             .make = make,
	                             .free = end,
	                             .start = start,
	                             .run = run,
	                             .state = state,
	                             .model = model,
	                             .fires = fires,
	                             .bytes = bytes };
