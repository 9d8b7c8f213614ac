/* Training by matching pursuit: see pursuit_step.h. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "sae/pursuit_step.h"

#define WAVE_BYTES (UINT64_C(128) << 20)

/* ---- Making ------------------------------------------------------------------------------------------------------- */

static size_t wave_rows(const pursuit_config *c)
{
	size_t tile = STEP_TOKENS * (size_t)c->k * c->d * sizeof(float), most = WAVE_BYTES / tile;
	size_t all = (c->batch + STEP_TOKENS - 1) / STEP_TOKENS;

	most = most ? most : 1;
	return STEP_TOKENS * (most < all ? most : all);
}

static int param_init(step_param *p, arena *mem, size_t rows, size_t columns, error *err)
{
	p->w = arena_alloc(mem, rows, columns * sizeof(float));
	p->m = arena_alloc(mem, rows, columns * sizeof(float));
	p->v = arena_alloc(mem, rows, columns * sizeof(float));
	return p->w && p->m && p->v ? 0 : error_nomem(err, "weights and moments");
}

static int weights_init(pursuit_step *s, error *err)
{
	const pursuit_config *c = &s->c;
	int rc = param_init(&s->W, &s->mem, c->n_features, c->d, err);

	if (rc == 0)
		rc = param_init(&s->b_dec, &s->mem, c->d, 1, err);
	if (rc < 0)
		return rc;
	s->grad = arena_alloc(&s->mem, c->n_features, c->d * sizeof(float));
	s->silent = arena_alloc(&s->mem, c->n_features, sizeof(*s->silent));
	s->fires = arena_alloc(&s->mem, c->n_features, sizeof(*s->fires));
	s->job.bias = arena_alloc(&s->mem, c->n_features, sizeof(float)); /* zeros */
	s->grad_b_dec = arena_alloc(&s->mem, c->d, sizeof(float));
	s->squares = arena_alloc(&s->mem, s->n_blocks, sizeof(double));
	if (!s->grad || !s->silent || !s->fires || !s->job.bias || !s->grad_b_dec || !s->squares)
		return error_nomem(err, "gradients");
	return encode_aid_init(&s->aid, &s->mem, c->k_set, c->screening, c->d, c->n_features, 1,
	                       pool_threads(s->pool), err);
}

static int wave_init(pursuit_step *s, error *err)
{
	const pursuit_config *c = &s->c;
	size_t n_tiles = (c->batch + STEP_TOKENS - 1) / STEP_TOKENS;
	int rc;

	s->wave = wave_rows(c);
	if ((uint64_t)s->wave * c->k > UINT32_MAX)
		return error_set(err, ERR_LIMIT, "k = %u is too many for matching pursuit", c->k);
	s->n_made = arena_alloc(&s->mem, s->wave, sizeof(*s->n_made));
	s->value = arena_alloc(&s->mem, s->wave, c->k * sizeof(float));
	s->picks = arena_alloc(&s->mem, s->wave * c->k, c->d * sizeof(float));
	s->tiles = arena_alloc(&s->mem, n_tiles, sizeof(*s->tiles));
	if (!s->n_made || !s->value || !s->picks || !s->tiles)
		return error_nomem(err, "the steps of rows");
	for (size_t i = 0; i < n_tiles; i++) {
		s->tiles[i].sum_x = arena_alloc(&s->mem, c->d, sizeof(double));
		s->tiles[i].b_dec = arena_alloc(&s->mem, c->d, sizeof(double));
		if (!s->tiles[i].sum_x || !s->tiles[i].b_dec)
			return error_nomem(err, "sums of tiles");
	}
	rc = sparse_init(&s->list, &s->mem, s->wave * c->k, 1, c->n_features, STEP_TOKENS * (size_t)c->k,
	                 err);
	for (size_t i = 0; rc == 0 && i < s->wave * c->k; i++)
		s->list.grad[i] = 1;
	return rc;
}

static int worker_init(pursuit_worker *w, pursuit_step *s, error *err)
{
	size_t d = s->c.d;
	int rc = encode_scratch_init(&w->scratch, &s->mem, STEP_TOKENS, s->c.n_features, 1, s->aid.screen,
	                             err);

	w->left = arena_alloc(&s->mem, STEP_TOKENS, d * sizeof(float));
	w->row = arena_alloc(&s->mem, STEP_TOKENS, sizeof(*w->row));
	w->count = arena_alloc(&s->mem, STEP_TOKENS, sizeof(*w->count));
	w->index = arena_alloc(&s->mem, STEP_TOKENS, sizeof(*w->index));
	w->value = arena_alloc(&s->mem, STEP_TOKENS, sizeof(*w->value));
	w->back = arena_alloc(&s->mem, d, sizeof(float));
	w->before = arena_alloc(&s->mem, d, sizeof(float));
	w->grad = arena_alloc(&s->mem, d, sizeof(float));
	if (rc == 0 && (!w->left || !w->row || !w->count || !w->index || !w->value || !w->back ||
	                !w->before || !w->grad))
		rc = error_nomem(err, "a worker");
	return rc;
}

int pursuit_step_new(pursuit_step **out, const pursuit_config *c, pool *p, error *err)
{
	pursuit_step *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_nomem(err, "a training step");
	encode_blas_single_threaded();
	s->c = *c;
	s->pool = p;
	s->n_blocks = (c->n_features + STEP_FEATURES - 1) / STEP_FEATURES;
	rc = weights_init(s, err);
	if (rc == 0)
		rc = wave_init(s, err);
	if (rc == 0) {
		s->workers = arena_alloc(&s->mem, pool_threads(p), sizeof(*s->workers));
		rc = s->workers ? 0 : error_nomem(err, "workers");
	}
	for (unsigned i = 0; i < pool_threads(p) && rc == 0; i++)
		rc = worker_init(&s->workers[i], s, err);
	if (rc < 0) {
		pursuit_step_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void pursuit_step_free(pursuit_step *s)
{
	if (!s)
		return;
	arena_clear(&s->mem);
	free(s);
}

void pursuit_step_init(pursuit_step *s, uint64_t seed)
{
	size_t d = s->c.d;

	seed = hash64_mix(seed, 0x77656967687473); /* "weights": a stream of its own */
	for (size_t f = 0; f < s->c.n_features; f++)
		fitter_random_row(s->W.w + f * d, d, 1, false, seed, f);
	s->fresh = false;
}

/* ---- Forward: a tile of rows ------------------------------------------------------------------------------------------- */

/* Take what was chosen for the i-th row at work off its residual; whether it was the last step. */
static bool take(pursuit_step *s, pursuit_worker *w, pursuit_tile *tile, size_t i, size_t tile_first)
{
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, row = tile_first + w->row[i], at = row * s->c.k, n = s->n_made[row];
	float *left = w->left + i * d;
	bool again = false;

	if (!w->count[i])
		return true; /* where nothing is over 0, nothing ever will be */
	for (size_t j = 0; j < n; j++)
		again |= s->list.index[at + j] == w->index[i];
	s->list.index[at + n] = w->index[i];
	s->list.value[at + n] = !again;
	s->list.count[at + n] = 1;
	s->value[at + n] = w->value[i];
	s->n_made[row]++;
	tile->fired += !again;
	k->axpy(left, -w->value[i], s->W.w + w->index[i] * d, d);
	return (again && s->c.repeat_ends) ||
	       (s->c.residual > 0 && sqrt(k->sum_squares(left, d)) < s->c.residual);
}

/* Going back over a row's steps, from what is left of it. */
static void go_back(pursuit_step *s, pursuit_worker *w, pursuit_tile *tile, size_t row, const float *left)
{
	const kernels *k = s->c.k_set;
	size_t d = s->c.d;

	tile->squares_e += k->sum_squares(left, d);
	memcpy(w->before, left, d * sizeof(float));
	memcpy(w->back, left, d * sizeof(float));
	k->scale(w->back, 2, d);
	for (size_t i = s->n_made[row]; i-- > 0;) {
		size_t at = row * s->c.k + i;
		const float *a = s->W.w + s->list.index[at] * d;
		float *grad = s->picks + at * d, b = k->dot(w->back, a, d);

		k->axpy(w->before, s->value[at], a, d);
		memset(grad, 0, d * sizeof(float));
		k->axpy(grad, -s->value[at], w->back, d);
		k->axpy(grad, -b, w->before, d);
		k->axpy(w->back, -b, a, d);
	}
	k->add_f64(tile->b_dec, -1, w->back, d);
}

/* Rows first .. first + n - 1 of the wave. */
static void begin_rows(pursuit_step *s, pursuit_worker *w, pursuit_tile *tile, size_t first, size_t n)
{
	const kernels *k = s->c.k_set;
	size_t d = s->c.d;

	memset(tile->sum_x, 0, d * sizeof(double));
	memset(tile->b_dec, 0, d * sizeof(double));
	tile->squares_x = tile->squares_e = 0;
	tile->fired = 0;
	memset(s->list.count + first * s->c.k, 0, n * s->c.k * sizeof(*s->list.count));
	for (size_t t = 0; t < n; t++) {
		float *left = w->left + t * d;

		k->center(left, s->x + (s->first + first + t) * d, s->input_scale, s->b_dec.w, d);
		k->add_f64(tile->sum_x, 1, left, d);
		tile->squares_x += k->sum_squares(left, d);
		s->n_made[first + t] = 0;
		w->row[t] = (uint32_t)t;
	}
}

static void tile_task(void *payload, size_t i, unsigned worker)
{
	pursuit_step *s = payload;
	pursuit_worker *w = &s->workers[worker];
	size_t d = s->c.d, first = i * STEP_TOKENS;
	size_t n = s->n - first < STEP_TOKENS ? s->n - first : STEP_TOKENS, active = n;
	pursuit_tile *tile = &s->tiles[s->first / STEP_TOKENS + i];

	begin_rows(s, w, tile, first, n);
	for (uint32_t made = 0; made < s->c.k && active; made++) {
		size_t left = 0;

		encode_tile(&w->scratch, &s->job, w->left, active, w->count, w->index, w->value);
		for (size_t t = 0; t < active; t++) {
			if (take(s, w, tile, t, first)) {
				go_back(s, w, tile, first + w->row[t], w->left + t * d);
				continue;
			}
			if (left < t) {
				memcpy(w->left + left * d, w->left + t * d, d * sizeof(float));
				w->row[left] = w->row[t];
			}
			left++;
		}
		active = left;
	}
	for (size_t t = 0; t < active; t++)
		go_back(s, w, tile, first + w->row[t], w->left + t * d);
}

/* ---- Back: features ------------------------------------------------------------------------------------------------------ */

/* The wave's picks of each feature, added up in the order of rows and steps. */
static void add_task(void *payload, size_t block, unsigned worker)
{
	pursuit_step *s = payload;
	pursuit_worker *w = &s->workers[worker];
	const sparse_batch *list = &s->list;
	size_t d = s->c.d, end = (block + 1) * STEP_FEATURES;

	for (size_t f = block * STEP_FEATURES; f < end && f < s->c.n_features; f++) {
		size_t at = list->first[f], n = list->first[f + 1] - at;

		if (!n)
			continue;
		s->c.k_set->combine(w->grad, s->picks, d, list->row + at, list->by_grad + at, n);
		s->c.k_set->axpy(s->grad + f * d, 1, w->grad, d);
		for (size_t j = at; j < at + n; j++)
			s->fires[f] += list->by_value[j] > 0;
	}
}

static void forward(pursuit_step *s)
{
	memset(s->grad, 0, (size_t)s->c.n_features * s->c.d * sizeof(float));
	memset(s->fires, 0, s->c.n_features * sizeof(*s->fires));
	for (s->first = 0; s->first < s->rows_n; s->first += s->n) {
		s->n = s->rows_n - s->first < s->wave ? s->rows_n - s->first : s->wave;
		pool_run(s->pool, (s->n + STEP_TOKENS - 1) / STEP_TOKENS, tile_task, s);
		sparse_transpose(&s->list, s->n * s->c.k, s->pool);
		pool_run(s->pool, s->n_blocks, add_task, s);
	}
}

static void sum_up(pursuit_step *s, step_result *r)
{
	pursuit_tile *all = &s->tiles[0];
	double total;

	for (size_t i = 1; i < (s->rows_n + STEP_TOKENS - 1) / STEP_TOKENS; i++) {
		for (size_t j = 0; j < s->c.d; j++) {
			all->sum_x[j] += s->tiles[i].sum_x[j];
			all->b_dec[j] += s->tiles[i].b_dec[j];
		}
		all->squares_x += s->tiles[i].squares_x;
		all->squares_e += s->tiles[i].squares_e;
		all->fired += s->tiles[i].fired;
	}
	total = fitter_scatter(all->sum_x, all->squares_x, s->c.d, s->rows_n);
	r->fvu = total > 0 ? all->squares_e / total : 0;
	if (!(all->squares_x < FLT_MAX && all->squares_e < FLT_MAX))
		r->fvu = INFINITY; /* gradients in FP32 would not be finite */
	r->squared_error = all->squares_e / (double)s->rows_n;
	r->l0 = (double)all->fired / (double)s->rows_n;
	for (size_t f = 0; f < s->c.n_features; f++)
		r->n_dead += s->silent[f] >= s->c.dead_tokens;
	s->factor = total > 0 ? 1 / (total * (r->fvu > FITTER_LEAST_FVU ? r->fvu : FITTER_LEAST_FVU)) : 0;
}

static void refresh_task(void *payload, size_t f, unsigned worker)
{
	pursuit_step *s = payload;

	encode_aid_set(&s->aid, s->c.k_set, f, s->W.w + f * s->c.d, s->c.d, 0, worker);
}

static void update_task(void *payload, size_t block, unsigned worker)
{
	pursuit_step *s = payload;
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, end = (block + 1) * STEP_FEATURES;

	s->squares[block] = 0;
	for (size_t f = block * STEP_FEATURES; f < end && f < s->c.n_features; f++) {
		float *row = s->W.w + f * d, *grad = s->grad + f * d;
		double norm;

		k->scale(grad, (float)s->factor, d);
		k->axpy(grad, -k->dot(grad, row, d), row, d); /* the row has norm 1 */
		s->squares[block] += k->sum_squares(grad, d);
		k->adam(row, s->W.m + f * d, s->W.v + f * d, grad, d, &s->adam);
		norm = sqrt(k->sum_squares(row, d));
		if (norm > 0)
			k->scale(row, (float)(1 / norm), d);
		s->silent[f] = s->fires[f] ? 0 : s->silent[f] + s->rows_n;
		refresh_task(s, f, worker);
	}
}

static adam_coef adam_at(const pursuit_config *c, double lr, uint64_t t)
{
	return (adam_coef){ .beta1 = (float)c->beta1,
		            .beta2 = (float)c->beta2,
		            .rest1 = (float)(1 - c->beta1),
		            .rest2 = (float)(1 - c->beta2),
		            .step = (float)(lr / (1 - pow(c->beta1, (double)t))),
		            .root = (float)(1 / sqrt(1 - pow(c->beta2, (double)t))),
		            .eps = (float)c->eps };
}

static double update_b_dec(pursuit_step *s)
{
	double squares = 0;

	for (size_t j = 0; j < s->c.d; j++) {
		double grad = s->factor * s->tiles[0].b_dec[j];

		squares += grad * grad;
		s->grad_b_dec[j] = (float)grad;
	}
	s->c.k_set->adam(s->b_dec.w, s->b_dec.m, s->b_dec.v, s->grad_b_dec, s->c.d, &s->adam);
	return squares;
}

void pursuit_step_run(pursuit_step *s, const float *x, size_t n, float input_scale, double lr, step_result *r)
{
	const float *bias = s->job.bias;
	double squares;

	*r = (step_result){ 0 };
	s->x = x;
	s->rows_n = n;
	s->input_scale = input_scale;
	if (!s->fresh)
		pool_run(s->pool, s->c.n_features, refresh_task, s);
	s->fresh = true;
	s->job = (encode_job){ .k = s->c.k_set,
		               .rule = ENCODE_TOPK,
		               .weights = s->W.w,
		               .bias = bias,
		               .n_features = s->c.n_features,
		               .d = s->c.d,
		               .width = 1,
		               .screen = s->aid.screen,
		               .row_norms = s->aid.row_norms };
	encode_job_prepare(&s->job);
	forward(s);
	sum_up(s, r);
	if (!isfinite(r->fvu))
		return;
	s->adam = adam_at(&s->c, lr, ++s->t);
	pool_run(s->pool, s->n_blocks, update_task, s);
	squares = update_b_dec(s);
	for (size_t b = 0; b < s->n_blocks; b++)
		squares += s->squares[b];
	r->grad_norm = sqrt(squares);
}
