/* Codebooks (codebook.h) as a kind of member. */
#include <math.h>
#include <string.h>

#include "sae/codebook.h"
#include "sae/fitter.h"
#include "sae/kmeans.h"

static int make(void **self, const sae_train_opts *o, uint32_t d_in, uint32_t d_out, pool *p, error *err)
{
	const codebook_config c = { .d = d_in,
		                    .n_codes = o->d_sae,
		                    .groups = o->codebook.groups,
		                    .k = o->k_start > o->k ? o->k_start : o->k,
		                    .k_last = o->k,
		                    .batch = o->batch,
		                    .euclidean = o->codebook.euclidean,
		                    .mean = o->codebook.mean,
		                    .layer_norm = o->code_norm,
		                    .moving = o->code_moving,
		                    .decay = o->code_decay,
		                    .replace_every = o->code_replace,
		                    .replace_noise = o->code_noise,
		                    .random_start = o->code_random,
		                    .beta1 = o->beta1,
		                    .beta2 = o->beta2,
		                    .eps = o->eps,
		                    .dead_tokens = o->dead_tokens,
		                    .seed = o->seed,
		                    .screening = o->screening,
		                    .k_set = kernels_get(o->kernels) };
	codebook *b = NULL;
	int rc = 0;

	(void)d_out;
	if (d_in % c.groups != 0)
		rc = error_set(err, ERR_ARG, "option 'parts' is %u, which does not divide rows of %u values",
		               c.groups, d_in);
	if (rc == 0)
		rc = codebook_new(&b, &c, p, err);
	*self = b;
	return rc;
}

static void end(void *self)
{
	codebook_free(self);
}

static size_t sample_rows(const sae_train_opts *o)
{
	return o->code_random ? 0 : kmeans_rows(o->d_sae / o->codebook.groups);
}

static int start(void *self, uint64_t seed, const fitter_sample *s, error *err)
{
	codebook *b = self;

	b->c.seed = seed;
	if (!b->c.random_start)
		return codebook_start_kmeans(b, s->x, s->n, err);
	codebook_start_random(b);
	return 0;
}

static void run(void *self, float *x, float *y, size_t n, float input_scale, const fitter_now *now,
                step_result *r)
{
	codebook *b = self;

	(void)y;
	codebook_run(b, x, n, input_scale, now->lr, (uint32_t)now->k, r);
	if (b->c.layer_norm) /* rows have no scale but their own */
		r->squared_error *= (double)input_scale * (double)input_scale;
}

static void state(void *self, fitter_arrays *list)
{
	codebook *b = self;
	size_t n = b->c.n_codes, values = n * b->coder.d;

	fitter_add_weight(list, "codes", values, b->codes);
	if (b->c.moving) {
		fitter_add(list, "codes_weight", SAE_F64, n, b->weight);
	} else {
		fitter_add(list, "codes_m", SAE_F32, values, b->m);
		fitter_add(list, "codes_v", SAE_F32, values, b->v);
	}
	fitter_add(list, "silent", SAE_U64, n, b->silent);
	fitter_add(list, "used", SAE_U8, n, b->used);
	fitter_add(list, "adam_steps", SAE_U64, 1, &b->t);
	fitter_add(list, "guess", SAE_F32, b->c.groups, b->guess);
}

static int model(sae_model **out, const void *self, error *err)
{
	const codebook *b = self;
	size_t d = b->c.d, part = b->coder.d;
	sae_model *m = NULL;
	int rc = sae_model_new(&m, SAE_CODEBOOK, b->c.d, b->c.n_codes, b->c.k_last, err);

	if (rc < 0)
		return rc;
	m->codebook = (sae_codebook){ b->c.groups, b->c.euclidean, b->c.mean };
	m->centers = false;
	m->norm = b->c.layer_norm ? SAE_NORM_LAYER : SAE_NORM_NONE;
	for (size_t f = 0; f < b->c.n_codes; f++)
		memcpy(m->W_dec + f * d + f / b->coder.n * part, b->codes + f * part, part * sizeof(float));
	sae_model_set_codes(m);
	*out = m;
	return 0;
}

static void fires(const void *self, uint64_t *counts)
{
	const codebook *b = self;

	for (size_t f = 0; f < b->c.n_codes; f++)
		counts[f] += b->list.first[f + 1] - b->list.first[f];
}

static void bytes(const void *self, fitter_bytes *b)
{
	const codebook *book = self;
	uint64_t values = (uint64_t)book->c.n_codes * book->coder.d;

	b->optimiser = book->c.moving ? book->c.n_codes * sizeof(double) : 2 * values * sizeof(float);
	b->total = arena_bytes(&book->mem);
	if (!book->c.random_start)
		b->total += codebook_start_bytes(&book->c, kmeans_rows(book->coder.n));
}

const fitter_kind fitter_codebook = { .name = "codebook",
	                              .make = make,
	                              .free = end,
	                              .sample_rows = sample_rows,
	                              .start = start,
	                              .run = run,
	                              .state = state,
	                              .model = model,
	                              .fires = fires,
	                              .bytes = bytes };
