/* The sparse step (step.h) as a kind of member. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/fitter.h"
#include "sae/kmeans.h"
#include "sae/step.h"

static encode_rule rule_of(sae_arch arch)
{
	if (arch == SAE_GROUPMAX)
		return ENCODE_GROUPMAX;
	return arch == SAE_BATCHTOPK || arch == SAE_MATRYOSHKA ? ENCODE_BATCHTOPK : ENCODE_TOPK;
}

/* Groups are checked. */
static step_prefixes prefixes_of(const sae_train_opts *o)
{
	step_prefixes p = { .random = o->random_prefixes > 0,
		            .sum = o->prefix_sum,
		            .empty = o->prefix_bias,
		            .seed = o->seed };
	error unused;

	memcpy(p.weights, o->prefix_weights, sizeof(p.weights));
	if (o->arch != SAE_MATRYOSHKA || sae_train_prefixes(p.ends, &p.n, o, &unused) < 0)
		p.n = 0;
	return p;
}

static int make(void **self, const sae_train_opts *o, uint32_t d_in, uint32_t d_out, pool *p, error *err)
{
	const step_config c = { .d = d_in,
		                .d_out = o->transcodes ? d_out : 0,
		                .skip = o->skip,
		                .blocks = o->n_inputs,
		                .n_features = o->d_sae,
		                .k = o->k,
		                .batch = o->batch,
		                .beta1 = o->beta1,
		                .beta2 = o->beta2,
		                .eps = o->eps,
		                .auxk_alpha = o->auxk_alpha,
		                .dead_tokens = o->dead_tokens,
		                .rule = rule_of(o->arch),
		                .prefixes = prefixes_of(o),
		                .multi = o->arch == SAE_MULTITOPK,
		                .screening = o->screening,
		                .moments8 = o->moments8,
		                .k_most = o->k_start,
		                .keeps_gradients = train_keeps_gradients(o),
		                .optim = optim_config_of(o),
		                .archetypal = o->archetypal,
		                .archetypal_delta = o->archetypal_delta,
		                .resample = o->resample,
		                .seed = o->seed,
		                .bias = o->bias,
		                .encoder_norm = o->encoder_norm,
		                .normal_rows = o->normal_rows,
		                .k_set = kernels_get(o->kernels) };
	step *s = NULL;
	int rc = step_new(&s, &c, p, err);

	*self = s;
	return rc;
}

static void end(void *self)
{
	step_free(self);
}

static size_t sample_rows(const sae_train_opts *o)
{
	size_t points = o->archetypal ? kmeans_rows(o->archetypal) : 0;

	return o->bias == SAE_BIAS_MEDIAN && points < FITTER_MEDIAN_ROWS ? FITTER_MEDIAN_ROWS : points;
}

static int start(void *self, uint64_t seed, const fitter_sample *sample, error *err)
{
	step *s = self;
	int rc = fitter_start_bias(s->b_dec.w, s->c.bias, sample, s->d_out, s->pool, err);

	step_init_weights(s, seed);
	if (s->c.d_out)
		step_init_bias(s, sample->mean_x);
	return rc == 0 && s->archetypal ? step_archetypal_begin(s, sample->x, sample->n, seed, err) : rc;
}

static void run(void *self, float *x, float *y, size_t n, float input_scale, const fitter_now *now,
                step_result *r)
{
	step *s = self;

	step_set_k(s, (uint32_t)now->k);
	step_run(s, x, y, n, input_scale, now->lr, r);
	if (now->resample && isfinite(r->fvu))
		r->n_resampled =
		        step_resample(s, s->c.resample / 2 * s->c.batch, hash64_mix(s->c.seed, now->step));
}

static void add_param(fitter_arrays *list, const char *const names[3], const step_param *p, size_t n)
{
	fitter_add_weight(list, names[0], n, p->w);
	fitter_add(list, names[1], SAE_F32, n, p->m);
	fitter_add(list, names[2], SAE_F32, n, p->v);
}

static void add_matrix(fitter_arrays *list, const char *const names[6], const step_param *p, const step *of,
                       size_t d)
{
	size_t rows = of->c.n_features, n = rows * d;

	if (!of->adam8) {
		add_param(list, names, p, n);
		return;
	}
	fitter_add_weight(list, names[0], n, p->w);
	fitter_add(list, names[3], SAE_I8, n, p->m8);
	fitter_add(list, names[4], SAE_U8, n, p->v8);
	fitter_add(list, names[5], SAE_F32, rows * ADAM8_SCALES(d), p->scales);
}

static void state(void *self, fitter_arrays *list)
{
	static const char *const enc[] = { "W_enc",    "W_enc_m",  "W_enc_v",
		                           "W_enc_m8", "W_enc_v8", "W_enc_scales" };
	static const char *const dec[] = { "W_dec",    "W_dec_m",  "W_dec_v",
		                           "W_dec_m8", "W_dec_v8", "W_dec_scales" };
	static const char *const bias[] = { "b_enc", "b_enc_m", "b_enc_v" };
	static const char *const center[] = { "b_dec", "b_dec_m", "b_dec_v" };
	static const char *const skip[] = { "W_skip", "W_skip_m", "W_skip_v" };
	step *s = self;

	if (s->optim)
		optim_state(s->optim, list);
	else {
		add_matrix(list, enc, &s->W_enc, s, s->c.d);
		add_matrix(list, dec, &s->W_dec, s, s->d_out);
		add_param(list, bias, &s->b_enc, s->c.n_features);
		add_param(list, center, &s->b_dec, s->d_out);
	}
	if (s->archetypal)
		step_archetypal_state(s, list);
	if (s->c.skip && !s->optim)
		add_param(list, skip, &s->W_skip, s->d_out * s->c.d);
	fitter_add(list, "silent", SAE_U64, s->c.n_features, s->silent);
	fitter_add(list, "adam_steps", SAE_U64, 1, &s->t);
	fitter_add(list, "guess", SAE_F32, 1, &s->guess);
	fitter_add(list, "floor", SAE_F32, 1, &s->floor);
	fitter_add(list, "threshold", SAE_F64, 1, &s->threshold);
}

static sae_arch arch_of(encode_rule rule)
{
	if (rule == ENCODE_GROUPMAX)
		return SAE_GROUPMAX;
	return rule == ENCODE_BATCHTOPK ? SAE_BATCHTOPK : SAE_TOPK;
}

static int model(sae_model **out, const void *self, error *err)
{
	const step *s = self;
	size_t n = s->c.n_features;
	sae_model *m = NULL;
	int rc = sae_model_new_to(&m, arch_of(s->c.rule), s->c.d, (uint32_t)s->d_out, s->c.n_features, s->c.k,
	                          s->c.skip, err);

	if (rc < 0)
		return rc;
	m->transcodes = s->c.d_out > 0;
	m->centers = !m->transcodes;
	if (s->optim)
		step_optim_model(s, m);
	else {
		memcpy(m->W_enc, s->W_enc.w, n * s->c.d * sizeof(float));
		memcpy(m->W_dec, s->W_dec.w, n * s->d_out * sizeof(float));
		memcpy(m->b_enc, s->b_enc.w, n * sizeof(float));
		memcpy(m->b_dec, s->b_dec.w, s->d_out * sizeof(float));
	}
	if (s->c.skip && !s->optim)
		memcpy(m->W_skip, s->W_skip.w, s->d_out * s->c.d * sizeof(float));
	for (size_t f = 0; m->threshold && f < s->c.n_features; f++)
		m->threshold[f] = (float)s->threshold;
	*out = m;
	return 0;
}

static void fires(const void *self, uint64_t *counts)
{
	const step *s = self;
	const uint32_t *first = s->codes.first;

	for (size_t f = 0; f < s->c.n_features; f++)
		counts[f] += first[f + 1] - first[f];
}

static void bytes(const void *self, fitter_bytes *b)
{
	const step *s = self;

	*b = (fitter_bytes){ .optimiser = s->optim ? step_optim_bytes(s) : step_moments_bytes(&s->c),
		             .total = arena_bytes(&s->mem) + step_batch_bytes(s) +
		                      (s->optim ? optim_bytes(s->optim) : 0) };
	if (s->archetypal) {
		b->optimiser += 2 * (uint64_t)s->c.n_features * s->c.archetypal * sizeof(float);
		b->total += step_archetypal_start_bytes(&s->c);
	}
}

static uint64_t spare(void *self, bool forget)
{
	const step *s = self;
	const step_config *c = &s->c;
	size_t enc = (size_t)c->n_features * c->d, dec = c->n_features * s->d_out;
	size_t rows = c->batch * s->d_out * sizeof(float),
	       skip = c->skip ? s->d_out * c->d * sizeof(float) : 0;
	const fitter_part parts[] = {
		{ s->W_enc.m, enc * sizeof(float) },
		{ s->W_enc.v, enc * sizeof(float) },
		{ s->W_dec.m, dec * sizeof(float) },
		{ s->W_dec.v, dec * sizeof(float) },
		{ s->W_enc.m8, enc },
		{ s->W_enc.v8, enc },
		{ s->W_enc.scales, c->n_features * ADAM8_SCALES(c->d) * sizeof(float) },
		{ s->W_dec.m8, dec },
		{ s->W_dec.v8, dec },
		{ s->W_dec.scales, c->n_features * ADAM8_SCALES(s->d_out) * sizeof(float) },
		{ s->W_skip.m, skip },
		{ s->W_skip.v, skip },
		{ s->grad_skip, skip },
		{ s->G_enc, enc * sizeof(float) },
		{ s->G_dec, dec * sizeof(float) },
		{ s->e, rows },
		{ s->e_aux, rows },
		{ s->e_multi, rows },
		{ s->c.prefixes.n > 1 ? s->e_prefix : NULL, (s->c.prefixes.n - 1) * rows },
		{ s->aid.screen ? s->aid.screen->packed : NULL,
		  s->aid.screen ? s->aid.screen->n_pad * s->aid.screen->d_pad : 0 },
	};

	return (s->optim ? optim_spare(s->optim, forget) : 0) + fitter_spare(parts, ARRAY_LEN(parts), forget);
}

const fitter_kind fitter_sparse = { .name = "sparse",
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
