/* The training step: tiles of rows forward, blocks of features back. */
#include <float.h>
#include <math.h>

#include "sae/step.h"

const char *const step_part_names[STEP_PARTS] = { "center", "product", "select",    "exact",
	                                          "decode", "auxk",    "transpose", "update" };

/* ---- Making ------------------------------------------------------------------------------------------------------- */

static int param_init(step_param *p, step *s, size_t rows, size_t columns, error *err)
{
	p->w = arena_alloc(&s->mem, rows, columns * sizeof(float));
	if (p->w && s->c.keeps_gradients) /* the optimiser has its own moments */
		return 0;
	p->m = arena_alloc(&s->mem, rows, columns * sizeof(float));
	p->v = arena_alloc(&s->mem, rows, columns * sizeof(float));
	return p->w && p->m && p->v ? 0 : error_nomem(err, "weights and moments");
}

static int matrix8_init(step_param *p, step *s, size_t d, error *err)
{
	size_t rows = s->c.n_features;

	p->w = arena_alloc(&s->mem, rows, d * sizeof(float));
	p->m8 = arena_alloc(&s->mem, rows, d);
	p->v8 = arena_alloc(&s->mem, rows, d);
	p->scales = arena_alloc(&s->mem, rows, ADAM8_SCALES(d) * sizeof(float));
	return p->w && p->m8 && p->v8 && p->scales ? 0 : error_nomem(err, "weights and 8-bit moments");
}

static int matrix_init(step_param *p, step *s, size_t d, error *err)
{
	return s->c.moments8 ? matrix8_init(p, s, d, err) : param_init(p, s, s->c.n_features, d, err);
}

static uint64_t row_moments(const step_config *c, uint64_t d)
{
	return c->moments8 ? 2 * d + ADAM8_SCALES(d) * sizeof(float) : 2 * d * sizeof(float);
}

uint64_t step_moments_bytes(const step_config *c)
{
	uint64_t d_out = c->d_out ? c->d_out : c->d, skip = c->skip ? d_out * c->d : 0;

	return c->n_features * (row_moments(c, c->d) + row_moments(c, d_out)) +
	       2 * ((uint64_t)c->n_features + d_out + skip) * sizeof(float);
}

static void set_width(sparse_batch *b, size_t width)
{
	b->width = width;
	for (size_t i = 0; i < b->n; i++)
		b->begin[i] = i * width;
}

void step_set_k(step *s, uint32_t k)
{
	if (k == s->c.k)
		return;
	s->c.k = k;
	set_width(&s->codes, k);
	if (s->c.multi)
		set_width(&s->multi, step_multi_width(&s->c));
}

static int worker_init(step_worker *w, step *s, error *err)
{
	size_t d = s->c.d, widest = d > s->d_out ? d : s->d_out;
	int rc = encode_scratch_init(&w->scratch, &s->mem, STEP_TOKENS, s->c.n_features,
	                             step_multi_width(&s->c), s->aid.screen, err);

	if (rc == 0 && s->k_aux)
		rc = dead_scratch_init(&w->aux_scratch, &s->mem, STEP_TOKENS, d, s->k_aux, err);
	if (rc == 0 && s->c.multi)
		rc = step_multi_worker_init(w, s, err);
	if (rc < 0)
		return rc;
	w->row = arena_alloc(&s->mem, widest, sizeof(float));
	w->grad_enc = arena_alloc(&s->mem, d, sizeof(float));
	w->grad_dec = arena_alloc(&s->mem, s->d_out, sizeof(float));
	return w->row && w->grad_enc && w->grad_dec ? 0 : error_nomem(err, "a worker");
}

static int sums_init(step *s, error *err)
{
	size_t d = s->c.d, n_tiles = (s->c.batch + STEP_TOKENS - 1) / STEP_TOKENS;

	s->tiles = arena_alloc(&s->mem, n_tiles, sizeof(*s->tiles));
	s->max_tiles = n_tiles;
	if (s->c.rule == ENCODE_BATCHTOPK) {
		int rc = step_batch_init(s, n_tiles, err);

		if (rc < 0)
			return rc;
	}
	s->blocks = arena_alloc(&s->mem, s->n_blocks, sizeof(*s->blocks));
	if (!s->tiles || !s->blocks)
		return error_nomem(err, "sums of tiles");
	for (size_t i = 0; i < n_tiles; i++) {
		s->tiles[i].sum_x = arena_alloc(&s->mem, s->d_out, sizeof(double));
		s->tiles[i].sum_e = arena_alloc(&s->mem, s->d_out, sizeof(double));
		if (!s->tiles[i].sum_x || !s->tiles[i].sum_e)
			return error_nomem(err, "sums of tiles");
	}
	for (size_t i = 0; i < s->n_blocks; i++) {
		s->blocks[i].b_dec = arena_alloc(&s->mem, d, sizeof(double));
		if (!s->blocks[i].b_dec)
			return error_nomem(err, "sums of blocks");
	}
	return 0;
}

static int batch_init(step *s, error *err)
{
	const step_config *c = &s->c;
	size_t floats = s->d_out * sizeof(float);
	int rc = sparse_init(&s->codes, &s->mem, c->batch, c->k, c->n_features, STEP_TOKENS, err);

	if (rc == 0 && s->k_aux)
		rc = sparse_init(&s->aux, &s->mem, c->batch, s->k_aux, c->n_features, STEP_TOKENS, err);
	if (rc < 0)
		return rc;
	s->e = arena_alloc(&s->mem, c->batch, floats);
	s->e_aux = s->k_aux ? arena_alloc(&s->mem, c->batch, floats) : NULL;
	s->grad_b_dec = arena_alloc(&s->mem, s->d_out, sizeof(float));
	s->through = arena_alloc(&s->mem, c->d, sizeof(double));
	s->reach = arena_alloc(&s->mem, c->batch, sizeof(float));
	s->silent = arena_alloc(&s->mem, c->n_features, sizeof(*s->silent));
	s->dead = arena_alloc(&s->mem, c->n_features, sizeof(*s->dead));
	if (!s->e || (s->k_aux && !s->e_aux) || !s->grad_b_dec || !s->through || !s->reach || !s->silent ||
	    !s->dead)
		return error_nomem(err, "a batch");
	return 0;
}

static int parts_init(step *s, error *err)
{
	const step_config *c = &s->c;
	int rc = matrix_init(&s->W_enc, s, c->d, err);

	if (rc == 0)
		rc = matrix_init(&s->W_dec, s, s->d_out, err);
	if (rc == 0)
		rc = param_init(&s->b_enc, s, c->n_features, 1, err);
	if (rc == 0)
		rc = param_init(&s->b_dec, s, s->d_out, 1, err);
	if (rc == 0 && c->skip)
		rc = param_init(&s->W_skip, s, s->d_out, c->d, err);
	if (rc == 0)
		rc = batch_init(s, err);
	if (rc == 0 && c->archetypal)
		rc = step_archetypal_init(s, err);
	if (rc == 0 && c->skip)
		rc = step_pair_init(s, err);
	if (rc == 0)
		rc = encode_aid_init(&s->aid, &s->mem, c->k_set, c->screening, c->d, c->n_features,
		                     step_multi_width(c), pool_threads(s->pool), err);
	if (rc == 0)
		rc = sums_init(s, err);
	if (rc == 0 && c->prefixes.n)
		rc = step_prefix_init(s, err);
	if (rc == 0 && c->multi)
		rc = step_multi_init(s, err);
	if (rc == 0 && c->keeps_gradients)
		rc = step_optim_init(s, err);
	if (rc == 0 && c->resample)
		rc = step_resample_init(s, err);
	if (rc < 0)
		return rc;
	s->workers = arena_alloc(&s->mem, pool_threads(s->pool), sizeof(*s->workers));
	if (!s->workers)
		return error_nomem(err, "workers");
	for (unsigned i = 0; i < pool_threads(s->pool) && rc == 0; i++)
		rc = worker_init(&s->workers[i], s, err);
	return rc;
}

int step_new(step **out, const step_config *c, pool *p, error *err)
{
	step *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_nomem(err, "a training step");
	encode_blas_single_threaded();
	s->c = *c;
	s->c.k = c->k_most > c->k ? c->k_most : c->k; /* room */
	s->pool = p;
	s->d_out = c->d_out ? c->d_out : c->d;
	s->adam8 = c->moments8 ? adam8_get(c->k_set->name) : NULL;
	s->n_blocks = (c->n_features + STEP_FEATURES - 1) / STEP_FEATURES;
	if (c->auxk_alpha > 0) {
		s->k_aux = s->d_out / 2 ? s->d_out / 2 : 1;
		if (s->k_aux > c->n_features)
			s->k_aux = c->n_features;
	}
	rc = parts_init(s, err);
	if (rc < 0) {
		step_free(s);
		return rc;
	}
	step_set_k(s, c->k);
	*out = s;
	return 0;
}

void step_free(step *s)
{
	if (!s)
		return;
	step_batch_clear(s);
	optim_free(s->optim);
	arena_clear(&s->mem);
	free(s);
}

typedef struct init_call {
	step *s;
	uint64_t seed;
} init_call;

double step_encoder_norm(const step *s)
{
	return s->c.encoder_norm > 0 ? s->c.encoder_norm : STEP_ENCODER_NORM;
}

static void init_task(void *payload, size_t f, unsigned worker)
{
	const init_call *call = payload;
	step *s = call->s;
	size_t d = s->c.d;
	float *enc = s->W_enc.w + f * d, *dec = s->W_dec.w + f * s->d_out;

	(void)worker;
	fitter_random_row(enc, d, step_encoder_norm(s), s->c.normal_rows, call->seed, f);
	if (s->c.d_out)
		memset(dec, 0, s->d_out * sizeof(*dec));
	else
		fitter_random_row(dec, d, 1, s->c.normal_rows, call->seed, f);
	if (s->c.blocks > 1) /* a shorter decoder row takes a larger value */
		s->c.k_set->scale(enc, (float)step_blocks_scale(s, dec), d);
}

void step_init_weights(step *s, uint64_t seed)
{
	init_call call = { s, hash64_mix(seed, 0x77656967687473) }; /* "weights": a stream of its own */

	pool_run(s->pool, s->c.n_features, init_task, &call);
	s->fresh = false;
}

static void refresh_task(void *payload, size_t f, unsigned worker)
{
	step *s = payload;

	encode_aid_set(&s->aid, s->c.k_set, f, s->W_enc.w + f * s->c.d, s->c.d, s->b_enc.w[f], worker);
}

/* ---- Forward: a tile of rows --------------------------------------------------------------------------------------- */

double step_decode_rows(step *s, step_worker *w, sparse_batch *codes, const float *target, float *out,
                        size_t first, size_t end, double *sum)
{
	const kernels *k = s->c.k_set;
	size_t d = s->d_out;
	double squares = 0;

	for (size_t t = first; t < end; t++) {
		size_t base = codes->begin[t], n = codes->count[t];
		float *e = out + t * d;

		k->combine(w->row, s->W_dec.w, d, codes->index + base, codes->value + base, n);
		k->center(e, target + t * d, 1, w->row, d);
		for (size_t j = base; j < base + n; j++)
			codes->grad[j] = k->dot(e, s->W_dec.w + codes->index[j] * d, d);
		squares += k->sum_squares(e, d);
		if (sum)
			k->add_f64(sum, 1, e, d);
	}
	return squares;
}

static void center_rows(step *s, step_tile *tile, size_t first, size_t end)
{
	const kernels *k = s->c.k_set;
	size_t d = s->c.d;

	memset(tile->sum_x, 0, d * sizeof(double));
	tile->squares_x = 0;
	tile->parts = (parts_sums){ 0 };
	for (size_t t = first; t < end; t++) {
		float *x = s->x + t * d;

		k->center(x, x, s->input_scale, s->b_dec.w, d);
		k->add_f64(tile->sum_x, 1, x, d);
		tile->squares_x += k->sum_squares(x, d);
		parts_add(tile->parts.y, x, d, s->c.blocks, k);
	}
}

static void aux_rows(step *s, step_worker *w, step_tile *tile, size_t first, size_t end)
{
	const dead_job job = { .k = s->c.k_set,
		               .weights = s->W_enc.w,
		               .bias = s->b_enc.w,
		               .dead = s->dead,
		               .n_dead = s->n_dead,
		               .d = s->c.d,
		               .width = s->k_aux };

	dead_tile(&w->aux_scratch, &job, s->x + first * s->c.d, end - first, s->aux.count + first,
	          s->aux.index + first * s->k_aux, s->aux.value + first * s->k_aux);
	tile->squares_aux = step_decode_rows(s, w, &s->aux, s->e, s->e_aux, first, end, NULL);
}

/* How low a row's least kept value is, for the next batch's guess. */
static void note_reach(step *s, const step_worker *w, const sparse_batch *kept, size_t first, size_t end)
{
	for (size_t t = first; t < end; t++) {
		const float *value = kept->value + t * kept->width;
		size_t n = kept->count[t];
		float least = n == kept->width ? value[0] : 0, norm = w->scratch.norm[t - first];

		for (size_t j = 1; j < n; j++)
			least = value[j] < least ? value[j] : least;
		s->reach[t] = norm > 0 ? least / norm : 0;
	}
}

static void decode_tile(step *s, step_worker *w, step_tile *tile, size_t first, size_t end)
{
	double start = clock_now(), now;

	memset(tile->sum_e, 0, s->d_out * sizeof(double));
	if (s->c.prefixes.n)
		step_prefix_rows(s, w, tile, first, end);
	else
		tile->squares_e = step_decode_rows(s, w, &s->codes, s->y, s->e, first, end, tile->sum_e);
	if (s->c.multi)
		step_multi_rows(s, w, tile, first, end);
	tile->fired = 0;
	for (size_t t = first; t < end; t++) {
		tile->fired += s->codes.count[t];
		parts_add(tile->parts.e, s->e + t * s->d_out, s->d_out, s->c.blocks, s->c.k_set);
	}
	w->seconds[STEP_DECODE] += (now = clock_now()) - start;
	tile->squares_aux = 0;
	if (s->n_dead && s->k_aux) {
		aux_rows(s, w, tile, first, end);
		w->seconds[STEP_AUXK] += clock_now() - now;
	}
}

static size_t tile_end(const step *s, size_t i)
{
	return s->n - i * STEP_TOKENS < STEP_TOKENS ? s->n : (i + 1) * STEP_TOKENS;
}

static void center_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	double start = clock_now();

	if (s->c.d_out)
		step_pair_rows(s, &s->tiles[i], i * STEP_TOKENS, tile_end(s, i));
	else
		center_rows(s, &s->tiles[i], i * STEP_TOKENS, tile_end(s, i));
	s->workers[worker].seconds[STEP_CENTER] += clock_now() - start;
}

static void tile_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	step_worker *w = &s->workers[worker];
	sparse_batch *kept = s->c.multi ? &s->multi : &s->codes;
	size_t first = i * STEP_TOKENS, end = tile_end(s, i), at = first * kept->width;

	center_task(s, i, worker);
	encode_tile(&w->scratch, &s->job, s->x + first * s->c.d, end - first, kept->count + first,
	            kept->index + at, kept->value + at);
	note_reach(s, w, kept, first, end);
	if (s->c.multi)
		step_multi_choose(s, w, first, end);
	decode_tile(s, w, &s->tiles[i], first, end);
}

static void batch_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;

	step_batch_rows(s, i);
	decode_tile(s, &s->workers[worker], &s->tiles[i], i * STEP_TOKENS, tile_end(s, i));
}

static bool forward(step *s)
{
	if (s->c.rule != ENCODE_BATCHTOPK) {
		pool_run(s->pool, s->n_tiles, tile_task, s);
		return true;
	}
	pool_run(s->pool, s->n_tiles, center_task, s);
	if (step_batch_encode(s) < 0)
		return false;
	pool_run(s->pool, s->n_tiles, batch_task, s);
	return true;
}

/* ---- The batch as a whole -------------------------------------------------------------------------------------------- */

/* Add up the tiles in order (into the first tile's sums) and fill *r. */
static void sum_tiles(step *s, step_result *r)
{
	step_tile *all = &s->tiles[0];
	double total, rest, scale, main;

	for (size_t i = 1; i < s->n_tiles; i++) {
		for (size_t j = 0; j < s->d_out; j++) {
			all->sum_x[j] += s->tiles[i].sum_x[j];
			all->sum_e[j] += s->tiles[i].sum_e[j];
		}
		all->squares_x += s->tiles[i].squares_x;
		all->squares_e += s->tiles[i].squares_e;
		all->squares_aux += s->tiles[i].squares_aux;
		parts_join(&all->parts, &s->tiles[i].parts, s->c.blocks);
		for (size_t j = 0; s->c.multi && j < s->d_out; j++)
			all->sum_multi[j] += s->tiles[i].sum_multi[j];
		all->squares_multi += s->tiles[i].squares_multi;
		all->fired += s->tiles[i].fired;
	}
	total = fitter_scatter(all->sum_x, all->squares_x, s->d_out, s->n);
	rest = s->n_dead && s->k_aux ? fitter_scatter(all->sum_e, all->squares_e, s->d_out, s->n) : 0;
	r->fvu = total == 0 ? 0 : all->squares_e / total;
	main = s->c.prefixes.n ? step_prefix_sum(s, total, r) : r->fvu;
	r->multi = s->c.multi && total > 0 ? all->squares_multi / total : 0;
	if (!(all->squares_x < FLT_MAX && all->squares_e < FLT_MAX && isfinite(main) && isfinite(r->multi)))
		r->fvu = INFINITY; /* gradients in FP32 would not be finite */
	r->auxk = rest > 0 ? all->squares_aux / rest : 0;
	r->squared_error = all->squares_e / (double)s->n;
	r->l0 = (double)all->fired / (double)s->n;
	r->n_inputs = s->c.blocks > 1 ? s->c.blocks : 0;
	parts_fvu(r->input_fvu, &all->parts, all->sum_x, s->d_out, r->n_inputs, s->n);
	r->n_dead = s->n_dead;
	scale = main > FITTER_LEAST_FVU ? 1 / main : 1 / FITTER_LEAST_FVU;
	s->factor = total > 0 ? -2 * scale / total : 0;
	s->factor_multi = STEP_MULTI_WEIGHT * s->factor;
	if (s->c.prefixes.n)
		s->factor *= step_prefix_weight(s);
	s->factor_aux = rest > 0 ? -2 * scale * s->c.auxk_alpha / rest : 0;
}

static void list_dead(step *s)
{
	s->n_dead = 0;
	for (uint32_t f = 0; f < s->c.n_features; f++)
		if (s->silent[f] >= s->c.dead_tokens)
			s->dead[s->n_dead++] = f;
}

static void count_silence(step *s)
{
	for (uint32_t f = 0; f < s->c.n_features; f++)
		s->silent[f] = s->codes.first[f + 1] > s->codes.first[f] ? 0 : s->silent[f] + s->n;
}

static adam_coef adam_at(const step_config *c, double lr, uint64_t t)
{
	return (adam_coef){ .beta1 = (float)c->beta1,
		            .beta2 = (float)c->beta2,
		            .rest1 = (float)(1 - c->beta1),
		            .rest2 = (float)(1 - c->beta2),
		            .step = (float)(lr / (1 - pow(c->beta1, (double)t))),
		            .root = (float)(1 / sqrt(1 - pow(c->beta2, (double)t))),
		            .eps = (float)c->eps };
}

/* ---- Back: a block of features --------------------------------------------------------------------------------------- */

static double sum_f64(const float *a, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += a[i];
	return sum;
}

/* Add one list's share of a feature's gradients: grad += factor * sum over its rows. Returns that of the bias. */
static double add_list(step *s, step_worker *w, const sparse_batch *list, const float *errors, double factor,
                       size_t f)
{
	const kernels *k = s->c.k_set;
	size_t at = list->first[f], n = list->first[f + 1] - at, d = s->c.d;

	if (n == 0)
		return 0;
	k->combine(w->row, errors, s->d_out, list->row + at, list->by_value + at, n);
	k->axpy(w->grad_dec, (float)factor, w->row, s->d_out);
	k->combine(w->row, s->x, d, list->row + at, list->by_grad + at, n);
	k->axpy(w->grad_enc, (float)factor, w->row, d);
	return factor * sum_f64(list->by_grad + at, n);
}

/* One Adam step of a row; grad NULL: it is zero. matrix: 0 encoder, 1 decoder. */
static void move_row(step *s, const step_param *p, unsigned matrix, size_t f, const float *grad)
{
	size_t d = matrix ? s->d_out : s->c.d, at = f * d;

	if (s->adam8)
		s->adam8->row(p->w + at, p->m8 + at, p->v8 + at, p->scales + f * ADAM8_SCALES(d), grad, d,
		              &s->coef8, adam8_seed(s->t, 2 * f + matrix));
	else
		s->c.k_set->adam(p->w + at, p->m + at, p->v + at, grad, d, &s->adam);
}

static bool has_rows(const sparse_batch *list, size_t f)
{
	return list->first[f + 1] > list->first[f];
}

static void unit_row(const kernels *k, float *row, size_t d)
{
	double norm = sqrt(k->sum_squares(row, d));

	if (norm > 0)
		k->scale(row, (float)(1 / norm), d);
}

/* The decoder's. A transcoder's rows have the norm that they take. */
static bool has_unit_rows(const step *s)
{
	return !s->c.d_out && !s->archetypal;
}

static void update_feature(step *s, unsigned worker, step_block *block, size_t f)
{
	step_worker *w = &s->workers[worker];
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, d_out = s->d_out;
	float *dec = s->W_dec.w + f * d_out, *enc = s->W_enc.w + f * d, bias_grad;
	bool touched = !s->adam8 || has_rows(&s->codes, f); /* FP32 moments are moved in any case */
	double bias;

	memset(w->grad_dec, 0, d_out * sizeof(float));
	memset(w->grad_enc, 0, d * sizeof(float));
	bias = add_list(s, w, &s->codes, s->c.prefixes.n ? step_prefix_errors(s, f) : s->e, s->factor, f);
	if (s->c.multi) {
		touched |= has_rows(&s->multi, f);
		bias += add_list(s, w, &s->multi, s->e_multi, s->factor_multi, f);
	}
	if (s->n_dead && s->k_aux) {
		touched |= has_rows(&s->aux, f);
		bias += add_list(s, w, &s->aux, s->e_aux, s->factor_aux, f);
	}
	if (bias != 0 && !s->c.d_out)
		k->add_f64(block->b_dec, bias, enc, d);
	if (s->c.blocks > 1)
		step_blocks_project(s, w->grad_dec, dec);
	else if (has_unit_rows(s))
		k->axpy(w->grad_dec, -k->dot(w->grad_dec, dec, d_out), dec, d_out); /* the row has norm 1 */
	if (s->optim) {
		step_optim_keep(s, w, f, bias);
		return;
	}
	block->squares += k->sum_squares(w->grad_dec, d_out) + k->sum_squares(w->grad_enc, d) + bias * bias;
	if (s->archetypal)
		step_archetypal_row(s, worker, (size_t)(block - s->blocks), f, w->grad_dec);
	else
		move_row(s, &s->W_dec, 1, f, touched ? w->grad_dec : NULL);
	if (s->c.blocks > 1)
		(void)step_blocks_scale(s, dec);
	else if (has_unit_rows(s))
		unit_row(k, dec, d_out);
	move_row(s, &s->W_enc, 0, f, touched ? w->grad_enc : NULL);
	bias_grad = (float)bias;
	k->adam(s->b_enc.w + f, s->b_enc.m + f, s->b_enc.v + f, &bias_grad, 1, &s->adam);
	refresh_task(s, f, worker);
}

static void update_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	step_block *block = &s->blocks[i];
	size_t first = i * STEP_FEATURES, end = first + STEP_FEATURES;
	double start = clock_now();

	memset(block->b_dec, 0, s->c.d * sizeof(double));
	block->squares = 0;
	if (s->archetypal)
		s->archetypal->slopes[i] = 0;
	for (size_t f = first; f < end && f < s->c.n_features; f++)
		update_feature(s, worker, block, f);
	s->workers[worker].seconds[STEP_UPDATE] += clock_now() - start;
}

/* b_dec gets the error directly and, where it is taken off what is encoded, through the encoder minus each bias gradient times its old encoder row. */
static double update_b_dec(step *s)
{
	const step_tile *all = &s->tiles[0];
	const double *sum_e = s->c.prefixes.n ? all->sum_prefix : all->sum_e;
	double *through = s->through, squares = 0;

	memset(through, 0, s->c.d * sizeof(*through));
	for (size_t b = 0; b < s->n_blocks && !s->c.d_out; b++)
		for (size_t i = 0; i < s->c.d; i++)
			through[i] += s->blocks[b].b_dec[i];
	for (size_t i = 0; i < s->d_out; i++) {
		double grad = s->factor * sum_e[i] - (s->c.d_out ? 0 : through[i]);

		if (s->c.multi)
			grad += s->factor_multi * all->sum_multi[i];
		squares += grad * grad;
		s->grad_b_dec[i] = (float)grad;
	}
	if (!s->optim)
		s->c.k_set->adam(s->b_dec.w, s->b_dec.m, s->b_dec.v, s->grad_b_dec, s->d_out, &s->adam);
	return squares;
}

static void prepare_job(step *s)
{
	s->job = (encode_job){ .k = s->c.k_set,
		               .rule = s->c.rule,
		               .weights = s->W_enc.w,
		               .bias = s->b_enc.w,
		               .n_features = s->c.n_features,
		               .d = s->c.d,
		               .width = step_multi_width(&s->c),
		               .screen = s->aid.screen,
		               .row_norms = s->aid.row_norms,
		               .guess = s->guess };
	encode_job_prepare(&s->job);
}

#define GUESS_MARGIN 0.95f
#define GUESS_SHARE  1000 /* one row in so many may be below the guess */

/* Rows of the next batch will rarely reach lower than this batch's lowest. */
static float next_guess(step *s)
{
	size_t rank = s->n - s->n / GUESS_SHARE;

	return GUESS_MARGIN * s->c.k_set->kth(s->reach, s->n, rank);
}

void step_run(step *s, float *x, float *y, size_t n, float input_scale, double lr, step_result *r)
{
	double start, squares;

	*r = (step_result){ 0 };
	s->x = x;
	s->y = y ? y : x;
	s->n = n;
	s->n_tiles = (n + STEP_TOKENS - 1) / STEP_TOKENS;
	s->input_scale = input_scale;
	if (!s->fresh)
		pool_run(s->pool, s->c.n_features, refresh_task, s);
	prepare_job(s);
	list_dead(s);
	if (s->c.prefixes.n)
		step_prefix_draw(s);
	if (!forward(s)) {
		r->no_memory = true;
		r->fvu = NAN;
		return;
	}
	sum_tiles(s, r);
	if (!isfinite(r->fvu))
		return;
	start = clock_now();
	sparse_transpose(&s->codes, n, s->pool);
	if (s->n_dead && s->k_aux)
		sparse_transpose(&s->aux, n, s->pool);
	if (s->c.multi)
		sparse_transpose(&s->multi, n, s->pool);
	s->serial_seconds[STEP_TRANSPOSE] += clock_now() - start;
	if (s->c.rule == ENCODE_BATCHTOPK)
		step_batch_end(s);
	else
		s->guess = next_guess(s);
	s->adam = adam_at(&s->c, lr, ++s->t);
	s->coef8 = adam8_coef_of(&s->adam);
	pool_run(s->pool, s->n_blocks, update_task, s);
	if (s->archetypal)
		step_archetypal_end(s);
	s->fresh = true;
	squares = update_b_dec(s);
	if (s->c.skip)
		squares += step_pair_update(s);
	for (size_t b = 0; b < s->n_blocks; b++)
		squares += s->blocks[b].squares;
	r->grad_norm = sqrt(squares);
	if (s->optim) {
		r->grad_norm = step_optim_move(s, lr);
		if (!isfinite(r->grad_norm))
			r->fvu = INFINITY; /* nothing was moved */
	}
	count_silence(s);
}
