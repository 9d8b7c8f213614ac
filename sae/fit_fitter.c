/* The step with gradient buffers (fit.h) as a kind of member. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/fit_control.h"

typedef struct member {
	const sae_train_opts *o;
	fit *fit;
	fit_control control;
} member;

static fit_penalty penalty_of(const sae_train_opts *o)
{
	static const fit_penalty kinds[] = { [SAE_PENALTY_DEFAULT] = FIT_L1,
		                             [SAE_PENALTY_STEP] = FIT_STEP,
		                             [SAE_PENALTY_TANH] = FIT_TANH,
		                             [SAE_PENALTY_QUADRATIC] = FIT_QUADRATIC,
		                             [SAE_PENALTY_QUADRATIC_MEAN] = FIT_QUADRATIC_MEAN,
		                             [SAE_PENALTY_LP] = FIT_LP,
		                             [SAE_PENALTY_LP_ROOT] = FIT_LP_ROOT };

	return kinds[o->penalty.kind];
}

static fit_arch arch_of(const sae_train_opts *o)
{
	if (o->arch == SAE_GATED)
		return FIT_GATED;
	return o->arch == SAE_JUMPRELU ? FIT_JUMPRELU : FIT_RELU;
}

static void end(void *self)
{
	member *m = self;

	if (m)
		fit_free(m->fit);
	free(m);
}

static int make(void **self, const sae_train_opts *o, uint32_t d_in, uint32_t d_out, pool *p, error *err)
{
	const sae_penalty_opts *q = &o->penalty;
	const fit_config c = { .d_in = d_in,
		               .d_out = d_out,
		               .n_features = o->d_sae,
		               .batch = o->batch,
		               .arch = arch_of(o),
		               .penalty = penalty_of(o),
		               .n_inputs = o->n_inputs,
		               .skip = o->skip,
		               .centers = !o->transcodes && !q->raw_input,
		               .unit_decoder = !q->free_decoder,
		               .by_norm = q->free_decoder,
		               .relative = !q->plain_loss,
		               .detached = q->detach_gate,
		               .log_theta = q->log_threshold,
		               .ste_input = q->ste_input,
		               .at_value = q->ste_value,
		               .bandwidth = q->bandwidth,
		               .theta_lr = q->threshold_lr,
		               .tanh_scale = q->tanh_scale,
		               .target_l0 = q->target_l0,
		               .optim = optim_config_of(o),
		               .dead_tokens = o->dead_tokens,
		               .auxk_alpha = o->auxk_alpha,
		               .resamples = o->resample > 0,
		               .start_share = q->start_l0 > 0 ? q->start_l0 / o->d_sae : 0,
		               .start_theta = q->threshold,
		               .k_set = kernels_get(o->kernels) };
	member *m = calloc(1, sizeof(*m));
	int rc = m ? 0 : error_nomem(err, "a training step");

	if (rc == 0)
		rc = fit_new(&m->fit, &c, p, err);
	if (rc < 0) {
		end(m);
		return rc;
	}
	m->o = o;
	*self = m;
	return 0;
}

static size_t sample_rows(const sae_train_opts *o)
{
	size_t limits = o->penalty.start_l0 > 0 ? FIT_SAMPLE : 0;

	return o->bias == SAE_BIAS_MEDIAN && limits < FITTER_MEDIAN_ROWS ? FITTER_MEDIAN_ROWS : limits;
}

static int start(void *self, uint64_t seed, const fitter_sample *sample, error *err)
{
	member *m = self;

	fit_control_start(&m->control, m->o);
	return fit_start(m->fit, m->o, seed, sample, err);
}

/* ---- Steps ---------------------------------------------------------------------------------------------------------- */

static void run(void *self, float *x, float *y, size_t n, float input_scale, const fitter_now *now,
                step_result *r)
{
	member *m = self;
	const fit_now step = fit_control_now(&m->control, m->o, now);
	fit_result found;

	fit_run(m->fit, x, y, n, input_scale, &step, &found);
	*r = (step_result){ .fvu = found.fvu,
		            .squared_error = found.squared_error,
		            .auxk = found.auxk,
		            .l0 = found.l0,
		            .coef = step.coef,
		            .grad_norm = found.grad_norm,
		            .n_dead = found.n_dead,
		            .dense = found.dense };
	if (!isfinite(found.fvu))
		return;
	r->n_inputs = m->o->n_inputs > 1 ? m->o->n_inputs : 0;
	memcpy(r->input_fvu, found.input_fvu, sizeof(r->input_fvu));
	fit_control_learn(&m->control, m->o, now, &found);
	if (now->resample)
		r->n_resampled = fit_resample(m->fit, m->o->resample / 2 * m->o->batch,
		                              hash64_mix(m->o->seed, now->step));
}

static void state(void *self, fitter_arrays *list)
{
	member *m = self;

	m->fit->fresh = false; /* they may be about to change */
	optim_state(m->fit->optim, list);
	fitter_add(list, "silent", SAE_U64, m->fit->c.n_features, m->fit->silent);
	fitter_add(list, "entries", SAE_F64, 1, &m->fit->entries);
	fitter_add(list, "control", SAE_F64, FIT_CONTROL_DOUBLES, &m->control);
}

static void fires(const void *self, uint64_t *counts)
{
	const member *m = self;

	for (size_t f = 0; f < m->fit->c.n_features; f++)
		counts[f] += m->fit->fires[f];
}

/* ---- What comes out ------------------------------------------------------------------------------------------------- */

static void take(const fit *s, unsigned param, float *out)
{
	optim_weights(s->optim, s->param[param].slot, out);
}

/* [a + b_gate > 0] max(a r + b_mag, 0), r = exp(r_mag), is a JumpReLU of a r + b_mag. */
static int fold_gate(sae_model *m, const fit *s, error *err)
{
	size_t n = s->c.n_features;
	float *r_mag = mem_alloc_aligned(2 * n, sizeof(float)), *gate = r_mag + n;

	if (!r_mag)
		return error_nomem(err, "a model");
	take(s, FIT_R_MAG, r_mag);
	take(s, FIT_B_ENC, gate);
	take(s, FIT_B_MAG, m->b_enc);
	for (size_t f = 0; f < n; f++) {
		double r = exp(r_mag[f]);

		m->threshold[f] = (float)fmax(m->b_enc[f] - r * gate[f], 0);
		for (size_t i = 0; i < s->c.d_in; i++)
			m->W_enc[f * s->c.d_in + i] = (float)(m->W_enc[f * s->c.d_in + i] * r);
	}
	free(r_mag);
	return 0;
}

static int model(sae_model **out, const void *self, error *err)
{
	const member *own = self;
	const fit *s = own->fit;
	sae_model *m = NULL;
	int rc = sae_model_new_to(&m, own->o->arch, s->c.d_in, s->c.d_out, s->c.n_features,
	                          (uint32_t)lround(own->o->penalty.target_l0), s->c.skip, err);

	if (rc < 0)
		return rc;
	m->centers = s->c.centers;
	m->transcodes = own->o->transcodes;
	if (s->c.skip)
		take(s, FIT_W_SKIP, m->W_skip);
	take(s, FIT_W_ENC, m->W_enc);
	take(s, FIT_W_DEC, m->W_dec);
	take(s, FIT_B_DEC, m->b_dec);
	if (s->c.arch == FIT_GATED)
		rc = fold_gate(m, s, err);
	else
		take(s, FIT_B_ENC, m->b_enc);
	if (s->c.arch == FIT_JUMPRELU)
		take(s, FIT_THETA, m->threshold);
	for (size_t f = 0; f < s->c.n_features && s->c.arch == FIT_JUMPRELU && s->c.log_theta; f++)
		m->threshold[f] = expf(m->threshold[f]);
	if (rc < 0) {
		sae_model_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

static void bytes(const void *self, fitter_bytes *b)
{
	const member *m = self;
	uint64_t gradients = 0;

	for (size_t i = 0; i < FIT_PARAMS; i++)
		gradients += m->fit->param[i].rows * m->fit->param[i].columns * sizeof(float);
	*b = (fitter_bytes){ .optimiser = optim_bytes(m->fit->optim) + gradients,
		             .total = arena_bytes(&m->fit->mem) + optim_bytes(m->fit->optim) };
}

static uint64_t spare(void *self, bool forget)
{
	const fit *s = ((member *)self)->fit;
	const size_t chunk = s->chunk_tiles * FIT_TOKENS * s->c.n_features * sizeof(float);
	const size_t rows = s->c.batch * (size_t)s->c.d_out * sizeof(float);
	const fitter_part parts[] = {
		{ s->param[FIT_W_ENC].g, s->c.n_features * (size_t)s->c.d_in * sizeof(float) },
		{ s->param[FIT_W_DEC].g, s->c.n_features * (size_t)s->c.d_out * sizeof(float) },
		{ s->param[FIT_W_SKIP].g, s->c.d_out * (size_t)s->c.d_in * sizeof(float) },
		{ s->value, chunk },
		{ s->grad, chunk },
		{ s->gate_all, chunk },
		{ s->e, rows },
		{ s->e_gate, rows },
		{ s->e_aux, rows },
	};

	return optim_spare(s->optim, forget) + fitter_spare(parts, ARRAY_LEN(parts), forget);
}

const fitter_kind fitter_dense = { .name = "dense",
	                           .pairs = true,
	                           .make = make,
	                           .free = end,
	                           .sample_rows = sample_rows,
	                           .start = start,
	                           .run = run,
	                           .state = state,
	                           .model = model,
	                           .fires = fires,
	                           .bytes = bytes,
	                           .spare = spare };
