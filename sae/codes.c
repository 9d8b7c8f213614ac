/* Sparse codes of rows, and the encoder of a model. */
#include "sae/encode.h"

void sae_codes_free(sae_codes *c)
{
	free(c->first);
	free(c->index);
	free(c->value);
	*c = (sae_codes){ 0 };
}

/* Codes of a tile, before all tiles are joined. */
typedef struct tile {
	size_t n;
	uint32_t *index;
	float *value;
	size_t index_room, value_room;
	bool failed; /* no memory */
} tile;

typedef struct worker {
	encode_scratch scratch;
	float *x; /* (SAE_ENCODE_TILE, d): rows less b_dec */
	/* of a rule that keeps up to k features a row */
	uint32_t *count; /* (SAE_ENCODE_TILE) */
	uint32_t *index; /* (SAE_ENCODE_TILE, k) */
	float *value;
} worker;

struct sae_encoder {
	arena mem;
	const sae_model *model;
	pool *pool;
	encode_job job;
	worker *workers; /* (threads) */
	tile *tiles;
	size_t tiles_room, n_tiles; /* n_tiles: those that have ever held something */
	/* the call in progress */
	const float *rows;
	sae_codes *out;
};

static int worker_init(worker *w, sae_encoder *e, error *err)
{
	const sae_model *m = e->model;
	int rc = encode_scratch_init(&w->scratch, &e->mem, SAE_ENCODE_TILE, m->d_in, m->k, false, err);

	if (rc < 0)
		return rc;
	w->x = arena_alloc(&e->mem, SAE_ENCODE_TILE, m->d_in * sizeof(float));
	w->count = arena_alloc(&e->mem, SAE_ENCODE_TILE, sizeof(*w->count));
	w->index = arena_alloc(&e->mem, SAE_ENCODE_TILE, m->k * sizeof(*w->index));
	w->value = arena_alloc(&e->mem, SAE_ENCODE_TILE, m->k * sizeof(*w->value));
	return w->x && w->count && w->index && w->value ? 0 : error_nomem(err, "an encoder tile");
}

int sae_encoder_new(sae_encoder **out, const sae_model *m, pool *p, const char *kernels_name, error *err)
{
	const kernels *k = kernels_get(kernels_name);
	sae_encoder *e = NULL;
	int rc = 0;

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
	if (!e->workers)
		rc = error_nomem(err, "an encoder");
	for (unsigned i = 0; i < pool_threads(p) && rc == 0; i++)
		rc = worker_init(&e->workers[i], e, err);
	if (rc < 0)
		goto out;
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
	for (size_t i = 0; i < e->n_tiles; i++) {
		free(e->tiles[i].index);
		free(e->tiles[i].value);
	}
	free(e->tiles);
	arena_clear(&e->mem);
	free(e);
}

/* One more than needed, so that no array is NULL. */
static int reserve(uint32_t **index, size_t *index_room, float **value, size_t *value_room, size_t n)
{
	int rc = mem_grow(index, index_room, n + 1, sizeof(**index));

	return rc < 0 ? rc : mem_grow(value, value_room, n + 1, sizeof(**value));
}

static bool tile_reserve(tile *t, size_t more)
{
	t->failed |= reserve(&t->index, &t->index_room, &t->value, &t->value_room, t->n + more) < 0;
	return !t->failed;
}

static void tile_append(tile *t, const uint32_t *index, const float *value, size_t n)
{
	memcpy(t->index + t->n, index, n * sizeof(*index));
	memcpy(t->value + t->n, value, n * sizeof(*value));
	t->n += n;
}

/* Codes of the n rows in w->x by the model's rule into the empty tile `t`; count[i] of row i. */
static void encode_rows(worker *w, const encode_job *j, size_t n, tile *t, size_t *count)
{
	size_t total = 0;

	encode_tile(&w->scratch, j, w->x, n, w->count, w->index, w->value);
	for (size_t i = 0; i < n; i++)
		total += count[i] = w->count[i];
	if (!tile_reserve(t, total))
		return;
	for (size_t i = 0; i < n; i++)
		tile_append(t, w->index + i * j->width, w->value + i * j->width, count[i]);
}

/* Rows of tile i. */
static size_t tile_rows(size_t n, size_t i)
{
	return n - i * SAE_ENCODE_TILE < SAE_ENCODE_TILE ? n - i * SAE_ENCODE_TILE : SAE_ENCODE_TILE;
}

/* Until the tiles are joined, out->first[i + 1] is the number of row i's features. */
static void encode_task(void *payload, size_t i, unsigned worker_id)
{
	sae_encoder *e = payload;
	worker *w = &e->workers[worker_id];
	size_t d = e->model->d_in, first = i * SAE_ENCODE_TILE, n = tile_rows(e->out->n, i);

	e->tiles[i].n = 0;
	e->tiles[i].failed = false;
	for (size_t t = 0; t < n; t++)
		e->job.k->center(w->x + t * d, e->rows + (first + t) * d, 1, e->model->b_dec, d);
	encode_rows(w, &e->job, n, &e->tiles[i], e->out->first + first + 1);
}

static void join_task(void *payload, size_t i, unsigned worker_id)
{
	sae_encoder *e = payload;
	const tile *t = &e->tiles[i];
	size_t at = e->out->first[i * SAE_ENCODE_TILE];

	(void)worker_id;
	if (!t->n)
		return; /* its arrays may not be there */
	memcpy(e->out->index + at, t->index, t->n * sizeof(*t->index));
	memcpy(e->out->value + at, t->value, t->n * sizeof(*t->value));
}

/* All tiles, one after the other, as one. */
static int join(sae_encoder *e, size_t n_tiles)
{
	sae_codes *c = e->out;

	for (size_t i = 0; i < n_tiles; i++)
		if (e->tiles[i].failed)
			return ERR_NOMEM;
	for (size_t i = 0; i < c->n; i++)
		c->first[i + 1] += c->first[i];
	if (reserve(&c->index, &c->index_room, &c->value, &c->value_room, c->first[c->n]) < 0)
		return ERR_NOMEM;
	pool_run(e->pool, n_tiles, join_task, e);
	return 0;
}

int sae_encode(sae_encoder *e, const float *x, size_t n, sae_codes *out, error *err)
{
	size_t n_tiles = (n + SAE_ENCODE_TILE - 1) / SAE_ENCODE_TILE;

	out->n = 0;
	if (mem_grow(&out->first, &out->first_room, n + 1, sizeof(*out->first)) < 0 ||
	    mem_grow(&e->tiles, &e->tiles_room, n_tiles, sizeof(*e->tiles)) < 0)
		return error_nomem(err, "sparse codes");
	for (; e->n_tiles < n_tiles; e->n_tiles++)
		e->tiles[e->n_tiles] = (tile){ 0 };
	e->rows = x;
	e->out = out;
	out->n = n;
	out->first[0] = 0;
	pool_run(e->pool, n_tiles, encode_task, e);
	if (join(e, n_tiles) < 0) {
		out->n = 0;
		return error_nomem(err, "sparse codes");
	}
	return 0;
}

typedef struct decode_call {
	const sae_model *model;
	const sae_codes *codes;
	const kernels *k;
	float *out;
} decode_call;

static void decode_task(void *payload, size_t i, unsigned worker_id)
{
	decode_call *c = payload;
	const sae_codes *codes = c->codes;
	size_t d = c->model->d_in, first = i * SAE_ENCODE_TILE, end = first + tile_rows(codes->n, i);

	(void)worker_id;
	for (size_t t = first; t < end; t++) {
		float *row = c->out + t * d;

		c->k->combine(row, c->model->W_dec, d, codes->index + codes->first[t],
		              codes->value + codes->first[t], codes->first[t + 1] - codes->first[t]);
		c->k->axpy(row, 1, c->model->b_dec, d);
	}
}

void sae_decode(const sae_model *m, const sae_codes *c, float *out, pool *p)
{
	decode_call call = { .model = m, .codes = c, .k = kernels_get(NULL), .out = out };

	pool_run(p, (c->n + SAE_ENCODE_TILE - 1) / SAE_ENCODE_TILE, decode_task, &call);
}
