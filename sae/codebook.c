/* Codebook features: see codebook.h. Tiles of rows forward, blocks of codes back; groups lie one behind the other. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "sae/codebook.h"
#include "sae/kmeans.h"
#include "sae/row_norm.h"

#define GUESS_MARGIN 0.95f
#define GUESS_SHARE  1000 /* one row in so many may be below the guess */

/* ---- Making ------------------------------------------------------------------------------------------------------- */

static int codes_init(codebook *b, error *err)
{
	size_t n = b->c.n_codes, d = b->c.d / b->c.groups;

	b->codes = arena_alloc(&b->mem, n, d * sizeof(float));
	b->silent = arena_alloc(&b->mem, n, sizeof(*b->silent));
	b->used = arena_alloc(&b->mem, n, sizeof(*b->used));
	if (b->c.moving) {
		b->weight = arena_alloc(&b->mem, n, sizeof(*b->weight));
	} else {
		b->m = arena_alloc(&b->mem, n, d * sizeof(float));
		b->v = arena_alloc(&b->mem, n, d * sizeof(float));
	}
	if (!b->codes || !b->silent || !b->used || !(b->weight || (b->m && b->v)))
		return error_nomem(err, "codes");
	return codebook_coder_init(&b->coder, &b->mem, b->c.k_set, b->c.screening, b->c.d, b->c.n_codes,
	                           b->c.groups, b->c.k, b->c.euclidean, pool_threads(b->pool), err);
}

static int batch_init(codebook *b, error *err)
{
	const codebook_config *c = &b->c;
	size_t n_tiles = (c->batch + STEP_TOKENS - 1) / STEP_TOKENS;
	int rc = sparse_init(&b->list, &b->mem, c->batch, (size_t)c->groups * c->k, c->n_codes, STEP_TOKENS,
	                     err);

	if (rc < 0)
		return rc;
	b->x = arena_alloc(&b->mem, c->batch, c->d * sizeof(float));
	b->e = arena_alloc(&b->mem, c->batch, c->d * sizeof(float));
	b->reach = arena_alloc(&b->mem, c->batch, c->groups * sizeof(float));
	b->guess = arena_alloc(&b->mem, c->groups, sizeof(float));
	b->errors = arena_alloc(&b->mem, c->batch, sizeof(double));
	b->squares = arena_alloc(&b->mem, b->n_blocks, sizeof(double));
	b->factor = arena_alloc(&b->mem, c->groups, sizeof(double));
	b->tiles = arena_alloc(&b->mem, n_tiles, sizeof(*b->tiles));
	if (!b->errors || !b->factor || !b->x || !b->e || !b->reach || !b->guess || !b->squares || !b->tiles)
		return error_nomem(err, "a batch");
	for (size_t i = 0; i < n_tiles; i++) {
		b->tiles[i].sum_x = arena_alloc(&b->mem, c->d, sizeof(double));
		b->tiles[i].squares_x = arena_alloc(&b->mem, c->groups, sizeof(double));
		b->tiles[i].squares_e = arena_alloc(&b->mem, c->groups, sizeof(double));
		if (!b->tiles[i].sum_x || !b->tiles[i].squares_x || !b->tiles[i].squares_e)
			return error_nomem(err, "sums of tiles");
	}
	return 0;
}

static int workers_init(codebook *b, error *err)
{
	const codebook_coder *coder = &b->coder;
	int rc = 0;

	b->workers = arena_alloc(&b->mem, pool_threads(b->pool), sizeof(*b->workers));
	if (!b->workers)
		return error_nomem(err, "workers");
	for (unsigned i = 0; i < pool_threads(b->pool) && rc == 0; i++) {
		codebook_worker *w = &b->workers[i];

		rc = encode_scratch_init(&w->scratch, &b->mem, STEP_TOKENS, coder->n, b->c.k,
		                         coder->aids[0].screen, err);
		w->row = arena_alloc(&b->mem, coder->d, sizeof(float));
		w->count = arena_alloc(&b->mem, STEP_TOKENS, sizeof(*w->count));
		w->index = arena_alloc(&b->mem, STEP_TOKENS, b->c.k * sizeof(*w->index));
		w->value = arena_alloc(&b->mem, STEP_TOKENS, b->c.k * sizeof(*w->value));
		if (rc == 0 && (!w->row || !w->count || !w->index || !w->value))
			rc = error_nomem(err, "a worker");
	}
	return rc;
}

int codebook_new(codebook **out, const codebook_config *c, pool *p, error *err)
{
	codebook *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return error_nomem(err, "a codebook");
	encode_blas_single_threaded();
	b->c = *c;
	b->pool = p;
	b->n_blocks = (c->n_codes + STEP_FEATURES - 1) / STEP_FEATURES;
	rc = codes_init(b, err);
	if (rc == 0)
		rc = batch_init(b, err);
	if (rc == 0)
		rc = workers_init(b, err);
	if (rc < 0) {
		codebook_free(b);
		return rc;
	}
	*out = b;
	return 0;
}

void codebook_free(codebook *b)
{
	if (!b)
		return;
	arena_clear(&b->mem);
	free(b);
}

/* A group's part of a row, as codes describe it. */
static void take_part(const codebook *b, float *out, const float *x, float scale)
{
	size_t d = b->coder.d;

	memcpy(out, x, d * sizeof(*out));
	if (b->c.layer_norm) {
		const row_norm r = row_norm_of(SAE_NORM_LAYER, x, d);

		for (size_t i = 0; i < d; i++)
			out[i] = (x[i] - r.shift) * r.scale;
	} else {
		b->c.k_set->scale(out, scale, d);
	}
}

/* ---- Starting ------------------------------------------------------------------------------------------------------- */

static double normal(uint64_t seed, uint64_t i)
{
	double u = hash64_unit(hash64_mix(seed, 2 * i)), v = hash64_unit(hash64_mix(seed, 2 * i + 1));

	return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * v); /* Box and Muller */
}

static void random_task(void *payload, size_t f, unsigned worker)
{
	codebook *b = payload;
	uint64_t seed = hash64_mix(b->c.seed, 0x636f646573); /* "codes": a stream of its own */
	size_t d = b->coder.d;

	(void)worker;
	for (size_t i = 0; i < d; i++)
		b->codes[f * d + i] = (float)normal(seed, f * d + i);
}

void codebook_start_random(codebook *b)
{
	pool_run(b->pool, b->c.n_codes, random_task, b);
	b->fresh = false;
}

/* Of a code in what comes out where k are kept. */
static float share_of(const codebook_config *c, uint32_t k)
{
	return c->mean ? 1 / (float)k : 1;
}

/* Whether the parts of sample rows that k-means sees are other than the rows. */
static bool copies_parts(const codebook_config *c)
{
	return c->groups > 1 || c->layer_norm;
}

uint64_t codebook_start_bytes(const codebook_config *c, size_t n)
{
	return copies_parts(c) ? (uint64_t)n * (c->d / c->groups) * sizeof(float) : 0;
}

int codebook_start_kmeans(codebook *b, const float *rows, size_t n, error *err)
{
	const codebook_coder *c = &b->coder;
	bool copies = copies_parts(&b->c);
	float *part = copies ? mem_alloc_aligned(n, c->d * sizeof(*part)) : NULL;
	int rc = part || !copies ? 0 : error_nomem(err, "sample rows of a codebook");

	for (size_t g = 0; g < c->groups && rc == 0; g++) {
		float *codes = b->codes + g * c->n * c->d;

		for (size_t t = 0; t < n && copies; t++)
			take_part(b, part + t * c->d, rows + t * b->c.d + g * c->d, 1);
		rc = kmeans_fit(codes, c->n, copies ? part : rows, n, c->d, KMEANS_PASSES,
		                hash64_mix(b->c.seed, g), b->c.k_set, b->pool, err);
		if (rc == 0 && !b->c.mean && b->c.k > 1)
			b->c.k_set->scale(codes, 1 / (float)b->c.k, c->n * c->d);
	}
	free(part);
	b->fresh = false;
	return rc;
}

/* ---- Forward: a tile of rows ------------------------------------------------------------------------------------------- */

static size_t tile_end(const codebook *b, size_t i)
{
	return b->rows_n - i * STEP_TOKENS < STEP_TOKENS ? b->rows_n : (i + 1) * STEP_TOKENS;
}

/* How low the least similarities of a group's rows go, for the next batch's guess. */
static void note_reach(codebook *b, const codebook_worker *w, size_t g, size_t first, size_t n)
{
	for (size_t t = 0; t < n; t++) {
		const float *value = w->value + t * b->k;
		float least = w->count[t] == b->k ? value[0] : 0, norm = w->scratch.norm[t];

		for (size_t j = 1; j < w->count[t]; j++)
			least = value[j] < least ? value[j] : least;
		b->reach[g * b->c.batch + first + t] = norm > 0 ? least / norm : 0;
	}
}

/* What group g's codes leave of the rows, and their codes into the list. */
static void group_rows(codebook *b, codebook_worker *w, codebook_tile *tile, size_t g, size_t first,
                       size_t end)
{
	const kernels *k = b->c.k_set;
	size_t d = b->coder.d, n_codes = b->coder.n;
	float *x = b->x + (g * b->c.batch + first) * d, *e = b->e + (g * b->c.batch + first) * d;

	for (size_t t = first; t < end; t++) {
		float *row = x + (t - first) * d;

		take_part(b, row, b->rows + t * b->c.d + g * d, b->input_scale);
		k->add_f64(tile->sum_x + g * d, 1, row, d);
		tile->squares_x[g] += k->sum_squares(row, d);
	}
	encode_tile(&w->scratch, &b->coder.jobs[g], x, end - first, w->count, w->index, w->value);
	note_reach(b, w, g, first, end - first);
	for (size_t t = first; t < end; t++) {
		size_t at = b->list.begin[t] + b->list.count[t], n = w->count[t - first];

		for (size_t j = 0; j < n; j++) {
			b->list.index[at + j] = (uint32_t)(g * n_codes) + w->index[(t - first) * b->k + j];
			b->list.value[at + j] = b->share;
		}
		b->list.count[t] += (uint32_t)n;
		tile->fired += n;
		k->combine(w->row, b->codes, d, b->list.index + at, b->list.value + at, n);
		k->center(e + (t - first) * d, x + (t - first) * d, 1, w->row, d);
		tile->squares_e[g] += k->sum_squares(e + (t - first) * d, d);
	}
}

static void tile_task(void *payload, size_t i, unsigned worker)
{
	codebook *b = payload;
	codebook_tile *tile = &b->tiles[i];
	size_t first = i * STEP_TOKENS, end = tile_end(b, i);

	memset(tile->sum_x, 0, b->c.d * sizeof(double));
	memset(tile->squares_x, 0, b->c.groups * sizeof(double));
	memset(tile->squares_e, 0, b->c.groups * sizeof(double));
	tile->fired = 0;
	memset(b->list.count + first, 0, (end - first) * sizeof(*b->list.count));
	for (size_t g = 0; g < b->c.groups; g++)
		group_rows(b, &b->workers[worker], tile, g, first, end);
}

/* Add up the tiles in order, into the first tile's sums. */
static void add_tiles(codebook *b)
{
	codebook_tile *all = &b->tiles[0];

	for (size_t i = 1; i < b->n_tiles; i++) {
		for (size_t j = 0; j < b->c.d; j++)
			all->sum_x[j] += b->tiles[i].sum_x[j];
		for (size_t g = 0; g < b->c.groups; g++) {
			all->squares_x[g] += b->tiles[i].squares_x[g];
			all->squares_e[g] += b->tiles[i].squares_e[g];
		}
		all->fired += b->tiles[i].fired;
	}
}

/* Fill *r, and each group's factor of its gradients. */
static void sum_up(codebook *b, step_result *r)
{
	const codebook_tile *all = &b->tiles[0];
	double squares_x = 0, squares_e = 0, total = 0;
	size_t d = b->coder.d;

	for (size_t g = 0; g < b->c.groups; g++) {
		double scatter = fitter_scatter(all->sum_x + g * d, all->squares_x[g], d, b->rows_n), fvu;

		fvu = scatter > 0 ? all->squares_e[g] / scatter : 0;
		b->factor[g] =
		        scatter > 0 ? -2 / (scatter * (fvu > FITTER_LEAST_FVU ? fvu : FITTER_LEAST_FVU)) : 0;
		squares_x += all->squares_x[g];
		squares_e += all->squares_e[g];
		total += scatter;
	}
	r->fvu = total > 0 ? squares_e / total : 0;
	if (!(squares_x < FLT_MAX && squares_e < FLT_MAX))
		r->fvu = INFINITY; /* gradients in FP32 would not be finite */
	r->squared_error = squares_e / (double)b->rows_n;
	r->l0 = (double)all->fired / (double)b->rows_n;
	for (size_t f = 0; f < b->c.n_codes; f++)
		r->n_dead += b->silent[f] >= b->c.dead_tokens;
}

/* ---- Back: a block of codes ---------------------------------------------------------------------------------------------- */

/* By the gradient; returns its squared norm. */
static double descend(codebook *b, codebook_worker *w, size_t f)
{
	const kernels *k = b->c.k_set;
	size_t d = b->coder.d, at = b->list.first[f], n = b->list.first[f + 1] - at;
	const float *e = b->e + f / b->coder.n * b->c.batch * d;

	k->combine(w->row, e, d, b->list.row + at, b->list.by_value + at, n);
	k->scale(w->row, (float)b->factor[f / b->coder.n], d);
	k->adam(b->codes + f * d, b->m + f * d, b->v + f * d, w->row, d, &b->adam);
	return k->sum_squares(w->row, d);
}

/* By a moving mean of what its rows want of it. */
static void move(codebook *b, codebook_worker *w, size_t f)
{
	const kernels *k = b->c.k_set;
	size_t d = b->coder.d, at = b->list.first[f], n = b->list.first[f + 1] - at;
	size_t group = f / b->coder.n * b->c.batch * d;
	float *code = b->codes + f * d;

	b->weight[f] = b->c.decay * b->weight[f] + (1 - b->c.decay) * (double)n;
	if (!n)
		return;
	k->combine(w->row, (b->c.mean ? b->x : b->e) + group, d, b->list.row + at, b->list.by_value + at, n);
	if (b->c.mean) { /* by_value is 1 / k */
		k->scale(w->row, 1 / b->share, d);
		k->axpy(w->row, -(float)n, code, d);
	} else { /* all k codes of a row move at once */
		k->scale(w->row, 1 / (float)b->k, d);
	}
	k->axpy(code, (float)((1 - b->c.decay) / b->weight[f]), w->row, d);
}

static void update_task(void *payload, size_t i, unsigned worker)
{
	codebook *b = payload;
	size_t end = (i + 1) * STEP_FEATURES;

	b->squares[i] = 0;
	for (size_t f = i * STEP_FEATURES; f < end && f < b->c.n_codes; f++) {
		bool taken = b->list.first[f + 1] > b->list.first[f];

		if (b->c.moving)
			move(b, &b->workers[worker], f);
		else
			b->squares[i] += descend(b, &b->workers[worker], f);
		b->silent[f] = taken ? 0 : b->silent[f] + b->rows_n;
		b->used[f] |= taken;
		codebook_coder_set(&b->coder, f, b->codes + f * b->coder.d, worker);
	}
}

/* ---- Codes that nothing takes --------------------------------------------------------------------------------------------- */

static void replace(codebook *b, size_t f, size_t row, uint64_t seed)
{
	const kernels *k = b->c.k_set;
	size_t d = b->coder.d;
	const float *x = b->x + (f / b->coder.n * b->c.batch + row) * d;
	float *code = b->codes + f * d, noise = (float)(b->c.replace_noise * sqrt(k->sum_squares(x, d)));

	for (size_t i = 0; i < d; i++)
		code[i] = x[i] + noise * (float)normal(seed, f * d + i);
	if (!b->c.mean)
		k->scale(code, 1 / (float)b->k, d);
	if (b->c.moving) {
		b->weight[f] = 0;
	} else {
		memset(b->m + f * d, 0, d * sizeof(float));
		memset(b->v + f * d, 0, d * sizeof(float));
	}
	codebook_coder_set(&b->coder, f, code, 0);
}

/* A row in proportion to the squared error that group g leaves of it; none twice, while there are others. */
static size_t draw_row(codebook *b, double *all, uint64_t word)
{
	double at = hash64_unit(word) * *all;
	size_t t = 0;

	while (t + 1 < b->rows_n && at >= b->errors[t])
		at -= b->errors[t++];
	*all -= b->errors[t];
	b->errors[t] = 0;
	return t;
}

static void replace_of_group(codebook *b, size_t g, uint64_t seed)
{
	size_t d = b->coder.d, n = 0;
	double all = 0;

	for (size_t t = 0; t < b->rows_n; t++)
		all += b->errors[t] = b->c.k_set->sum_squares(b->e + (g * b->c.batch + t) * d, d);
	for (size_t f = g * b->coder.n; f < (g + 1) * b->coder.n; f++)
		if (!b->used[f])
			replace(b, f, draw_row(b, &all, hash64_mix(hash64_mix(seed, g), n++)), seed);
}

static void replace_unused(codebook *b)
{
	uint64_t seed = hash64_mix(hash64_mix(b->c.seed, 0x7265706c616365), b->t); /* "replace" */

	for (size_t g = 0; g < b->c.groups; g++)
		replace_of_group(b, g, seed);
	memset(b->used, 0, b->c.n_codes * sizeof(*b->used));
}

/* ---- The step --------------------------------------------------------------------------------------------------------------- */

static void refresh_task(void *payload, size_t f, unsigned worker)
{
	codebook *b = payload;

	codebook_coder_set(&b->coder, f, b->codes + f * b->coder.d, worker);
}

static adam_coef adam_at(const codebook_config *c, double lr, uint64_t t)
{
	return (adam_coef){ .beta1 = (float)c->beta1,
		            .beta2 = (float)c->beta2,
		            .rest1 = (float)(1 - c->beta1),
		            .rest2 = (float)(1 - c->beta2),
		            .step = (float)(lr / (1 - pow(c->beta1, (double)t))),
		            .root = (float)(1 / sqrt(1 - pow(c->beta2, (double)t))),
		            .eps = (float)c->eps };
}

static void prepare(codebook *b, const float *rows, size_t n, float input_scale, uint32_t k)
{
	b->rows = rows;
	b->rows_n = n;
	b->n_tiles = (n + STEP_TOKENS - 1) / STEP_TOKENS;
	b->input_scale = input_scale;
	b->k = k;
	b->share = share_of(&b->c, k);
	if (!b->fresh)
		pool_run(b->pool, b->c.n_codes, refresh_task, b);
	b->fresh = true;
	codebook_coder_prepare(&b->coder, k);
	for (size_t g = 0; g < b->c.groups; g++)
		b->coder.jobs[g].guess = b->guess[g];
}

void codebook_run(codebook *b, const float *rows, size_t n, float input_scale, double lr, uint32_t k,
                  step_result *r)
{
	double squares = 0;

	*r = (step_result){ 0 };
	prepare(b, rows, n, input_scale, k);
	pool_run(b->pool, b->n_tiles, tile_task, b);
	add_tiles(b);
	sum_up(b, r);
	if (!isfinite(r->fvu))
		return;
	sparse_transpose(&b->list, n, b->pool);
	for (size_t g = 0; g < b->c.groups; g++)
		b->guess[g] =
		        GUESS_MARGIN * b->c.k_set->kth(b->reach + g * b->c.batch, n, n - n / GUESS_SHARE);
	b->adam = adam_at(&b->c, lr, ++b->t);
	pool_run(b->pool, b->n_blocks, update_task, b);
	for (size_t i = 0; i < b->n_blocks; i++)
		squares += b->squares[i];
	r->grad_norm = b->c.moving ? (double)NAN : sqrt(squares);
	if (b->c.replace_every && b->t % b->c.replace_every == 0)
		replace_unused(b);
}
