/* The sparse step with another optimiser than its own Adam, clipping or averaging: blocks of features leave their gradients in
 * whole matrices, which the optimiser takes when all are there. */
#include <math.h>

#include "sae/step.h"

enum { W_ENC, W_DEC, B_ENC, B_DEC, W_SKIP, PARAMS };

int step_optim_init(step *s, error *err)
{
	size_t features = s->c.n_features, d = s->c.d, d_out = s->d_out;

	s->G_enc = arena_alloc(&s->mem, features, d * sizeof(float));
	s->G_dec = arena_alloc(&s->mem, features, d_out * sizeof(float));
	s->grad_b_enc = arena_alloc(&s->mem, features, sizeof(float));
	if (!s->G_enc || !s->G_dec || !s->grad_b_enc)
		return error_nomem(err, "gradients");
	{
		const optim_param params[PARAMS] = {
			[W_ENC] = { "W_enc", s->W_enc.w, s->G_enc, features, d, .matrix = true },
			[W_DEC] = { "W_dec", s->W_dec.w, s->G_dec, features, d_out, .matrix = true,
			            .unit_rows = s->c.blocks < 2 && !s->c.d_out },
			[B_ENC] = { "b_enc", s->b_enc.w, s->grad_b_enc, features, 1, .matrix = false },
			[B_DEC] = { "b_dec", s->b_dec.w, s->grad_b_dec, d_out, 1, .matrix = false },
			[W_SKIP] = { "W_skip", s->W_skip.w, s->grad_skip, d_out, d, .matrix = true },
		};

		return optim_new(&s->optim, &s->c.optim, params, s->c.skip ? PARAMS : W_SKIP, s->pool, err);
	}
}

static void blocks_task(void *payload, size_t f, unsigned worker)
{
	step *s = payload;

	(void)worker;
	(void)step_blocks_scale(s, s->W_dec.w + f * s->d_out);
}

double step_optim_move(step *s, double lr)
{
	double norm = optim_step(s->optim, lr);

	if (isfinite(norm) && s->c.blocks > 1)
		pool_run(s->pool, s->c.n_features, blocks_task, s);
	s->fresh = false;
	return norm;
}

void step_optim_keep(step *s, const step_worker *w, size_t f, double bias)
{
	size_t d = s->c.d;

	memcpy(s->G_enc + f * d, w->grad_enc, d * sizeof(float));
	memcpy(s->G_dec + f * s->d_out, w->grad_dec, s->d_out * sizeof(float));
	s->grad_b_enc[f] = (float)bias;
}

void step_optim_forget(step *s, size_t f)
{
	optim_forget(s->optim, W_ENC, f);
	optim_forget(s->optim, W_DEC, f);
	optim_forget(s->optim, B_ENC, f);
}

void step_optim_model(const step *s, sae_model *m)
{
	optim_weights(s->optim, W_ENC, m->W_enc);
	optim_weights(s->optim, W_DEC, m->W_dec);
	optim_weights(s->optim, B_ENC, m->b_enc);
	optim_weights(s->optim, B_DEC, m->b_dec);
	if (s->c.skip)
		optim_weights(s->optim, W_SKIP, m->W_skip);
}

uint64_t step_optim_bytes(const step *s)
{
	uint64_t features = s->c.n_features;

	return optim_bytes(s->optim) + features * ((uint64_t)s->c.d + s->d_out + 1) * sizeof(float);
}
