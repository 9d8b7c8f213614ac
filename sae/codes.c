/* Sparse codes of rows, and the encoder of a model. */
#include <math.h>

#include <cblas.h>

#include "sae/codebook_coder.h"
#include "sae/encode_over.h"
#include "sae/pursuit.h"
#include "sae/row_norm.h"

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

static void tile_clear(tile *t)
{
	t->n = 0;
	t->failed = false;
}

static void tile_free(tile *t)
{
	free(t->index);
	free(t->value);
}

/* Of a worker's guess (encode.h): below the lowest value met, which is forgotten by and by. */
#define GUESS_MARGIN   0.95f
#define GUESS_RECOVERS 0.1f

typedef struct worker {
	float *x; /* (SAE_ENCODE_TILE, d): prepared rows */
	encode_scratch scratch;
	uint32_t *count; /* (SAE_ENCODE_TILE) */
	/* TopK and GroupMax: up to k features a row */
	uint32_t *index; /* (SAE_ENCODE_TILE, k) */
	float *value;
	/* JumpReLU and ReLU */
	encode_found found;
	size_t *begin; /* (SAE_ENCODE_TILE) */
	float low; /* how low the least kept values of rows go, as a share of the row's norm. 0: not known */
	pursuit pursuit;
	/* a codebook of several groups */
	float *part;         /* (SAE_ENCODE_TILE, d of a group) */
	uint32_t *of_row;    /* (SAE_ENCODE_TILE): of all groups so far */
	uint32_t *all_index; /* (SAE_ENCODE_TILE, groups k) */
	float *all_value;
} worker;

struct sae_encoder {
	arena mem;
	const sae_model *model;
	pool *pool;
	encode_job job;
	encode_aid aid;
	codebook_coder coder; /* a codebook of several groups, in place of the aid */
	float least;          /* threshold; JumpReLU. 0: ReLU */
	worker *workers;      /* (threads) */
	tile *tiles;
	size_t tiles_room, n_tiles; /* n_tiles: those that have ever held something */
	/* the call in progress */
	const float *rows;
	sae_codes *out;
};

static bool has_groups(const sae_model *m)
{
	return m->arch == SAE_CODEBOOK && m->codebook.groups > 1;
}

static int groups_init(worker *w, sae_encoder *e, error *err)
{
	size_t width = e->coder.groups * e->model->k;

	w->part = arena_alloc(&e->mem, SAE_ENCODE_TILE, e->coder.d * sizeof(*w->part));
	w->of_row = arena_alloc(&e->mem, SAE_ENCODE_TILE, sizeof(*w->of_row));
	w->all_index = arena_alloc(&e->mem, SAE_ENCODE_TILE, width * sizeof(*w->all_index));
	w->all_value = arena_alloc(&e->mem, SAE_ENCODE_TILE, width * sizeof(*w->all_value));
	if (!w->part || !w->of_row || !w->all_index || !w->all_value)
		return error_nomem(err, "an encoder tile");
	return encode_scratch_init(&w->scratch, &e->mem, SAE_ENCODE_TILE, e->coder.n, e->model->k,
	                           e->coder.aids[0].screen, err);
}

static int worker_init(worker *w, sae_encoder *e, error *err)
{
	const sae_model *m = e->model;
	arena *mem = &e->mem;

	w->x = arena_alloc(mem, SAE_ENCODE_TILE, m->d_in * sizeof(float));
	w->count = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*w->count));
	if (e->job.rule == ENCODE_JUMPRELU) {
		w->begin = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*w->begin));
	} else {
		w->index = arena_alloc(mem, SAE_ENCODE_TILE, e->job.width * sizeof(*w->index));
		w->value = arena_alloc(mem, SAE_ENCODE_TILE, e->job.width * sizeof(*w->value));
	}
	if (!w->x || !w->count || !(w->begin || (w->index && w->value)))
		return error_nomem(err, "an encoder tile");
	if (m->arch == SAE_PURSUIT && pursuit_init(&w->pursuit, mem, err) < 0)
		return ERR_NOMEM;
	if (has_groups(m))
		return groups_init(w, e, err);
	return encode_scratch_init(&w->scratch, mem, SAE_ENCODE_TILE, m->d_sae, e->job.width, e->job.screen,
	                           err);
}

static float least_threshold(const sae_model *m)
{
	float least = m->threshold[0];

	for (size_t f = 1; f < m->d_sae; f++)
		least = m->threshold[f] < least ? m->threshold[f] : least;
	return least;
}

static void aid_task(void *payload, size_t f, unsigned worker_id)
{
	sae_encoder *e = payload;
	const sae_model *m = e->model;

	if (has_groups(m)) {
		codebook_coder_set(&e->coder, f, m->W_dec + f * m->d_in + f / e->coder.n * e->coder.d,
		                   worker_id);
		return;
	}
	encode_aid_set(&e->aid, e->job.k, f, m->W_enc + f * m->d_in, m->d_in, m->b_enc[f], worker_id);
}

/* All memory of an encoder; the model's weights are not looked at. */
static int encoder_room(sae_encoder *e, const sae_model *m, pool *p, const kernels *k, error *err)
{
	static const encode_rule rules[] = {
		[SAE_TOPK] = ENCODE_TOPK,         [SAE_GROUPMAX] = ENCODE_GROUPMAX,
		[SAE_JUMPRELU] = ENCODE_JUMPRELU, [SAE_RELU] = ENCODE_JUMPRELU,
		[SAE_PURSUIT] = ENCODE_TOPK, /* a step chooses one */
		[SAE_CODEBOOK] = ENCODE_TOPK,
	};
	int rc;

	*e = (sae_encoder){ .model = m, .pool = p };
	e->job = (encode_job){ .k = k,
		               .rule = rules[m->arch],
		               .weights = m->W_enc,
		               .bias = m->b_enc,
		               .n_features = m->d_sae,
		               .d = m->d_in,
		               .width = rules[m->arch] == ENCODE_JUMPRELU ? 0
		                        : m->arch == SAE_PURSUIT          ? 1
		                                                          : m->k };
	e->workers = arena_alloc(&e->mem, pool_threads(p), sizeof(*e->workers));
	if (!e->workers)
		return error_nomem(err, "an encoder");
	if (has_groups(m))
		rc = codebook_coder_init(&e->coder, &e->mem, k, SAE_SCREENING_EXACT, m->d_in, m->d_sae,
		                         m->codebook.groups, m->k, m->codebook.euclidean, pool_threads(p),
		                         err);
	else
		rc = encode_aid_init(&e->aid, &e->mem, k, SAE_SCREENING_EXACT, m->d_in, m->d_sae,
		                     e->job.width, pool_threads(p), err);
	e->job.screen = e->aid.screen;
	e->job.row_norms = e->aid.row_norms;
	for (unsigned i = 0; i < pool_threads(p) && rc == 0; i++)
		rc = worker_init(&e->workers[i], e, err);
	return rc;
}

int encoder_bytes(uint64_t *bytes, const sae_model *shape, pool *p, error *err)
{
	sae_encoder e;
	int rc = encoder_room(&e, shape, p, kernels_get(NULL), err);

	*bytes = arena_bytes(&e.mem);
	arena_clear(&e.mem);
	return rc;
}

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
	rc = encoder_room(e, m, p, k, err);
	if (rc < 0)
		goto out;
	if (m->threshold)
		e->least = least_threshold(m);
	pool_run(p, m->d_sae, aid_task, e);
	if (has_groups(m))
		codebook_coder_prepare(&e->coder, m->k);
	else
		encode_job_prepare(&e->job);
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
	for (size_t i = 0; i < e->n_tiles; i++)
		tile_free(&e->tiles[i]);
	for (unsigned i = 0; e->workers && i < pool_threads(e->pool); i++) {
		encode_found_clear(&e->workers[i].found);
		pursuit_clear(&e->workers[i].pursuit);
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

/* All that may be over the least threshold. */
static bool find_candidates(const sae_encoder *e, worker *w, size_t n)
{
	encode_found *f = &w->found;

	for (;;) {
		size_t all;

		encode_over(&w->scratch, &e->job, w->x, n, e->least, f);
		if (!f->missed)
			return true;
		all = f->n + f->missed;
		if (encode_found_reserve(f, all + all / 2) < 0) /* more than now: tiles differ */
			return false;
	}
}

/* Drop those whose value, or bound, is not over their own threshold (NULL: 0). */
static void drop_silent(encode_found *f, const float *threshold)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n; i++) {
		f->row[kept] = f->row[i];
		f->index[kept] = f->index[i];
		f->value[kept] = f->value[i];
		kept += f->value[i] > (threshold ? threshold[f->index[i]] : 0);
	}
	f->n = kept;
}

static void encode_jumprelu(const sae_encoder *e, worker *w, size_t n, tile *t, size_t *count)
{
	encode_found *f = &w->found;

	if (!find_candidates(e, w, n)) {
		t->failed = true;
		return;
	}
	drop_silent(f, e->model->threshold); /* by their bounds: thresholds may differ much */
	encode_exact(&w->scratch, &e->job, w->x, e->least, f);
	drop_silent(f, e->model->threshold);
	if (!tile_reserve(t, f->n))
		return;
	t->n = encode_found_rows(f, n, e->least, 0, 0, w->begin, w->count, t->index, t->value);
	for (size_t i = 0; i < n; i++)
		count[i] = w->count[i];
}

/* Learn from n rows' codes where to begin with the next ones. */
static void note_reach(worker *w, const encode_job *j, size_t n)
{
	float low = INFINITY;

	for (size_t i = 0; i < n; i++) {
		const float *value = w->value + i * j->width;
		float least = w->count[i] == j->width ? value[0] : 0, norm = w->scratch.norm[i];

		for (size_t k = 1; k < w->count[i]; k++)
			least = value[k] < least ? value[k] : least;
		if (norm > 0 && least / norm < low)
			low = least / norm;
	}
	if (low < w->low || !(w->low > 0))
		w->low = low < INFINITY ? low : 0;
	else if (low < INFINITY)
		w->low += (low - w->low) * GUESS_RECOVERS;
}

static void encode_largest(worker *w, const encode_job *j, size_t n, tile *t, size_t *count)
{
	encode_job begun = *j;
	size_t total = 0;

	begun.guess = GUESS_MARGIN * w->low;
	encode_tile(&w->scratch, &begun, w->x, n, w->count, w->index, w->value);
	if (j->rule == ENCODE_TOPK)
		note_reach(w, j, n);
	for (size_t i = 0; i < n; i++)
		total += count[i] = w->count[i];
	if (!tile_reserve(t, total))
		return;
	for (size_t i = 0; i < n; i++)
		tile_append(t, w->index + i * j->width, w->value + i * j->width, count[i]);
}

static void encode_pursuit(const sae_encoder *e, worker *w, size_t n, tile *t, size_t *count)
{
	pursuit *p = &w->pursuit;

	if (pursuit_run(p, &w->scratch, &e->job, e->model, w->x, n) < 0 || !tile_reserve(t, p->n)) {
		t->failed = true;
		return;
	}
	t->n = pursuit_codes(p, n, count, t->index, t->value);
}

static void encode_groups(const sae_encoder *e, worker *w, size_t n, tile *t, size_t *count)
{
	const codebook_coder *c = &e->coder;
	size_t d = e->model->d_in, k = e->model->k, width = c->groups * k, total = 0;

	memset(w->of_row, 0, n * sizeof(*w->of_row));
	for (size_t g = 0; g < c->groups; g++) {
		for (size_t i = 0; i < n; i++)
			memcpy(w->part + i * c->d, w->x + i * d + g * c->d, c->d * sizeof(*w->part));
		encode_tile(&w->scratch, &c->jobs[g], w->part, n, w->count, w->index, w->value);
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < w->count[i]; j++) {
				size_t at = i * width + w->of_row[i]++;

				w->all_index[at] = (uint32_t)(g * c->n) + w->index[i * k + j];
				w->all_value[at] = w->value[i * k + j];
			}
	}
	for (size_t i = 0; i < n; i++)
		total += count[i] = w->of_row[i];
	if (!tile_reserve(t, total))
		return;
	for (size_t i = 0; i < n; i++)
		tile_append(t, w->all_index + i * width, w->all_value + i * width, count[i]);
}

/* Codes of the n rows in w->x by the model's rule into the empty tile `t`; count[i] of row i. */
static void encode_rows(sae_encoder *e, worker *w, size_t n, tile *t, size_t *count)
{
	if (e->job.rule == ENCODE_JUMPRELU)
		encode_jumprelu(e, w, n, t, count);
	else if (e->model->arch == SAE_PURSUIT)
		encode_pursuit(e, w, n, t, count);
	else if (has_groups(e->model))
		encode_groups(e, w, n, t, count);
	else
		encode_largest(w, &e->job, n, t, count);
}

/* Rows of tile i. */
static size_t tile_rows(size_t n, size_t i)
{
	return n - i * SAE_ENCODE_TILE < SAE_ENCODE_TILE ? n - i * SAE_ENCODE_TILE : SAE_ENCODE_TILE;
}

/* A row as the encoder's weights take it. */
static void prepare(const sae_encoder *e, float *out, const float *x)
{
	const sae_model *m = e->model;

	if (m->norm == SAE_NORM_NONE && m->centers) {
		e->job.k->center(out, x, 1, m->b_dec, m->d_in);
		return;
	}
	const size_t part = m->d_in / m->codebook.groups;

	for (size_t first = 0; first < m->d_in; first += part) {
		const row_norm r = row_norm_of(m->norm, x + first, part);

		for (size_t i = first; i < first + part; i++)
			out[i] = (x[i] - r.shift) * r.scale - (m->centers ? m->b_dec[i] : 0);
	}
}

/* Until the tiles are joined, out->first[i + 1] is the number of row i's features. */
static void encode_task(void *payload, size_t i, unsigned worker_id)
{
	sae_encoder *e = payload;
	worker *w = &e->workers[worker_id];
	size_t d = e->model->d_in, first = i * SAE_ENCODE_TILE, n = tile_rows(e->out->n, i);

	tile_clear(&e->tiles[i]);
	for (size_t t = 0; t < n; t++)
		prepare(e, w->x + t * d, e->rows + (first + t) * d);
	encode_rows(e, w, n, &e->tiles[i], e->out->first + first + 1);
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
	const float *x;
	const sae_codes *codes;
	const kernels *k;
	float *out;
} decode_call;

/* Codes are added up as they are. */
static void add_codes(const decode_call *c, float *row, size_t t)
{
	const sae_model *m = c->model;
	size_t d = m->d_out / m->codebook.groups, n = m->d_sae / m->codebook.groups;
	float share = m->codebook.mean ? 1 / (float)m->k : 1;

	memset(row, 0, m->d_out * sizeof(*row));
	for (size_t at = c->codes->first[t]; at < c->codes->first[t + 1]; at++) {
		size_t f = c->codes->index[at], first = f / n * d;

		c->k->axpy(row + first, share, m->W_dec + f * m->d_out + first, d);
	}
}

static void undo_norm(const decode_call *c, float *row, size_t t)
{
	const sae_model *m = c->model;
	size_t part = m->d_out / m->codebook.groups;

	for (size_t first = 0; first < m->d_out; first += part) {
		const row_norm r = row_norm_of(m->norm, c->x + t * m->d_in + first, part);

		for (size_t j = first; j < first + part; j++)
			row[j] = row[j] * r.back + r.shift;
	}
}

static void decode_task(void *payload, size_t i, unsigned worker_id)
{
	decode_call *c = payload;
	const sae_model *m = c->model;
	const sae_codes *codes = c->codes;
	size_t d = m->d_out, first = i * SAE_ENCODE_TILE, n = tile_rows(codes->n, i), end = first + n;

	(void)worker_id;
	for (size_t t = first; t < end; t++) {
		float *row = c->out + t * d;

		if (m->arch == SAE_CODEBOOK)
			add_codes(c, row, t);
		else
			c->k->combine(row, m->W_dec, d, codes->index + codes->first[t],
			              codes->value + codes->first[t], codes->first[t + 1] - codes->first[t]);
		c->k->axpy(row, 1, m->b_dec, d);
		if (m->norm != SAE_NORM_NONE && !m->transcodes)
			undo_norm(c, row, t);
	}
	if (m->W_skip)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)d, (blasint)m->d_in,
		            1, c->x + first * m->d_in, (blasint)m->d_in, m->W_skip, (blasint)m->d_in, 1,
		            c->out + first * d, (blasint)d);
}

void sae_decode(const sae_model *m, const float *x, const sae_codes *c, float *out, pool *p)
{
	decode_call call = { .model = m, .x = x, .codes = c, .k = kernels_get(NULL), .out = out };

	encode_blas_single_threaded();
	pool_run(p, (c->n + SAE_ENCODE_TILE - 1) / SAE_ENCODE_TILE, decode_task, &call);
}
