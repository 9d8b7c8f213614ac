/* Sparse codes of rows, and the encoder of a model. */
#include "sae/encode.h"

int sae_codes_new(sae_codes *c, size_t n, uint32_t width, error *err)
{
	*c = (sae_codes){ .width = width };
	c->count = mem_alloc_aligned(n, sizeof(*c->count));
	c->index = mem_alloc_aligned(n, (size_t)width * sizeof(*c->index));
	c->value = mem_alloc_aligned(n, (size_t)width * sizeof(*c->value));
	if (c->count && c->index && c->value)
		return 0;
	sae_codes_free(c);
	return error_nomem(err, "sparse codes");
}

void sae_codes_free(sae_codes *c)
{
	free(c->count);
	free(c->index);
	free(c->value);
	*c = (sae_codes){ 0 };
}

typedef struct worker {
	encode_scratch scratch;
	float *x; /* (SAE_ENCODE_TILE, d): rows less b_dec */
} worker;

struct sae_encoder {
	arena mem;
	const sae_model *model;
	pool *pool;
	encode_job job;
	worker *workers; /* (threads) */
	/* the call in progress */
	const float *rows;
	size_t n;
	sae_codes *out;
};

int sae_encoder_new(sae_encoder **out, const sae_model *m, pool *p, const char *kernels_name, error *err)
{
	const kernels *k = kernels_get(kernels_name);
	sae_encoder *e = NULL;
	int rc;

	if (!k)
		return error_set(err, ERR_ARG, "kernels '%s' are not known or this CPU cannot run them",
		                 kernels_name);
	encode_blas_single_threaded();
	e = calloc(1, sizeof(*e));
	if (!e)
		return error_nomem(err, "an encoder");
	e->model = m;
	e->pool = p;
	e->job = (encode_job){ .k = k,
		               .weights = m->W_enc,
		               .bias = m->b_enc,
		               .n_features = m->d_sae,
		               .d = m->d_in,
		               .width = m->k };
	e->workers = arena_alloc(&e->mem, pool_threads(p), sizeof(*e->workers));
	if (!e->workers) {
		rc = error_nomem(err, "an encoder");
		goto out;
	}
	for (unsigned i = 0; i < pool_threads(p); i++) {
		worker *w = &e->workers[i];

		rc = encode_scratch_init(&w->scratch, &e->mem, SAE_ENCODE_TILE, m->d_in, m->k, false, err);
		if (rc < 0)
			goto out;
		w->x = arena_alloc(&e->mem, (size_t)SAE_ENCODE_TILE * m->d_in, sizeof(float));
		if (!w->x) {
			rc = error_nomem(err, "an encoder tile");
			goto out;
		}
	}
	rc = 0;
	*out = e;
	e = NULL;
out:
	sae_encoder_free(e);
	return rc;
}

void sae_encoder_free(sae_encoder *e)
{
	if (!e)
		return;
	arena_clear(&e->mem);
	free(e);
}

static void encode_task(void *payload, size_t i, unsigned worker_id)
{
	sae_encoder *e = payload;
	worker *w = &e->workers[worker_id];
	size_t d = e->model->d_in, width = e->out->width, first = i * SAE_ENCODE_TILE;
	size_t n = e->n - first < SAE_ENCODE_TILE ? e->n - first : SAE_ENCODE_TILE;

	for (size_t t = 0; t < n; t++)
		e->job.k->center(w->x + t * d, e->rows + (first + t) * d, 1, e->model->b_dec, d);
	encode_tile(&w->scratch, &e->job, w->x, n, e->out->count + first, e->out->index + first * width,
	            e->out->value + first * width);
}

int sae_encode(sae_encoder *e, const float *x, size_t n, sae_codes *out, error *err)
{
	if (out->width != e->model->k)
		return error_set(err, ERR_ARG, "codes are %u wide, the model keeps %u features a row",
		                 out->width, e->model->k);
	e->rows = x;
	e->n = n;
	e->out = out;
	pool_run(e->pool, (n + SAE_ENCODE_TILE - 1) / SAE_ENCODE_TILE, encode_task, e);
	return 0;
}

typedef struct decode_call {
	const sae_model *model;
	const sae_codes *codes;
	const kernels *k;
	size_t n;
	float *out;
} decode_call;

static void decode_task(void *payload, size_t i, unsigned worker_id)
{
	decode_call *c = payload;
	size_t d = c->model->d_in, width = c->codes->width, first = i * SAE_ENCODE_TILE;
	size_t end = first + SAE_ENCODE_TILE < c->n ? first + SAE_ENCODE_TILE : c->n;

	(void)worker_id;
	for (size_t t = first; t < end; t++) {
		float *row = c->out + t * d;

		c->k->combine(row, c->model->W_dec, d, c->codes->index + t * width,
		              c->codes->value + t * width, c->codes->count[t]);
		c->k->axpy(row, 1, c->model->b_dec, d);
	}
}

void sae_decode(const sae_model *m, const sae_codes *c, size_t n, float *out, pool *p)
{
	decode_call call = { .model = m, .codes = c, .k = kernels_get(NULL), .n = n, .out = out };

	pool_run(p, (n + SAE_ENCODE_TILE - 1) / SAE_ENCODE_TILE, decode_task, &call);
}
