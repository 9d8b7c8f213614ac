/* The step where many features matter to a row: products of tiles of rows with blocks of features, some tiles at a time. */
#include <cblas.h>

#include "sae/fit.h"

#define GRADIENT_FEATURES 256 /* rows of a gradient that one product makes */

static size_t block_size(const fit *s, size_t f)
{
	size_t left = s->c.n_features - f;

	return left < FIT_BLOCK ? left : FIT_BLOCK;
}

/* out (n, n_block; stride) = rows (n, d) times those of the weights from feature f on. */
static void product(const float *rows, const float *weights, size_t d, size_t n, size_t f, size_t n_block,
                    float *out, size_t stride)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)n_block, (blasint)d, 1,
	            rows, (blasint)d, weights + f * d, (blasint)d, 0, out, (blasint)stride);
}

/* e (n, d_out) -= values (n, n_block; stride F) times the decoder's rows from feature f on. */
static void decode_block(const fit *s, const float *values, size_t f, size_t n_block, size_t n, float *e)
{
	const blasint d = (blasint)s->c.d_out;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, d, (blasint)n_block, -1, values,
	            (blasint)s->c.n_features, s->param[FIT_W_DEC].w + f * s->c.d_out, d, 1, e, d);
}

/* Products, values and, with `decode`, the errors of tile i; row 0 of the buffers is `base`. */
static void forward_tile(fit *s, size_t i, size_t base, bool decode)
{
	fit_tile *tile = &s->tiles[i];
	size_t first = i * FIT_TOKENS, n = fit_tile_end(s, i) - first, all = s->c.n_features;
	size_t at = (first - base) * all;
	float *a = s->grad + at, *value = s->value + at, *gate = s->gate_all ? s->gate_all + at : NULL;

	memset(tile->fires, 0, all * sizeof(*tile->fires));
	for (size_t t = 0; t < n; t++)
		s->rows[first + t] = (fit_row){ 0 };
	for (size_t f = 0; f < all; f += FIT_BLOCK) {
		size_t n_block = block_size(s, f);

		product(s->x + first * s->c.d_in, s->param[FIT_W_ENC].w, s->c.d_in, n, f, n_block, a + f,
		        all);
		for (size_t t = 0; t < n; t++)
			fit_forward(&s->rule, NULL, f, n_block, a + t * all + f, value + t * all + f,
			            gate ? gate + t * all + f : NULL, tile->fires, &s->rows[first + t]);
		if (!decode)
			continue;
		decode_block(s, value + f, f, n_block, n, s->e + first * s->c.d_out);
		if (gate)
			decode_block(s, gate + f, f, n_block, n, s->e_gate + first * s->c.d_out);
	}
	tile->fired = 0;
	for (size_t t = 0; t < n; t++)
		tile->fired += s->rows[first + t].l0;
}

/* Gradients by products, in their place. */
static void backward_tile(fit *s, fit_worker *w, size_t i, size_t base)
{
	fit_tile *tile = &s->tiles[i];
	size_t first = i * FIT_TOKENS, n = fit_tile_end(s, i) - first, all = s->c.n_features, d = s->c.d_out;
	size_t at = (first - base) * all;
	const float *dec = s->param[FIT_W_DEC].w;

	for (size_t f = 0; f < all; f += FIT_BLOCK) {
		size_t n_block = block_size(s, f);

		product(s->e + first * d, dec, d, n, f, n_block, w->block, n_block);
		if (s->e_gate)
			product(s->e_gate + first * d, dec, d, n, f, n_block, w->block_gate, n_block);
		for (size_t t = 0; t < n; t++) {
			float *a = s->grad + at + t * all + f;

			for (size_t j = 0; j < n_block; j++)
				tile->entries += fit_wanted(&s->rule, f + j, a[j]);
			fit_backward(&s->rule, &s->rows[first + t], NULL, f, n_block, a,
			             s->value + at + t * all + f, w->block + t * n_block,
			             w->block_gate + t * n_block, a, tile->sums, &tile->losses);
		}
	}
}

static void tile_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	size_t tile = s->first_tile + i, base = s->first_tile * FIT_TOKENS;

	if (!s->centered)
		fit_center(s, tile);
	s->tiles[tile].entries = 0;
	forward_tile(s, tile, base, true);
	fit_errors(s, tile);
	backward_tile(s, &s->workers[worker], tile, base);
}

/* For FIT_QUADRATIC_MEAN: only how many features fire. */
static void count_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	size_t tile = s->first_tile + i;

	(void)worker;
	if (!s->centered)
		fit_center(s, tile);
	forward_tile(s, tile, s->first_tile * FIT_TOKENS, false);
}

/* grad (features, d) of features f.. += factor times left (n, features; stride F), turned, times right (n, d). */
static void add_gradient(const fit *s, float *grad, size_t d, float factor, const float *left,
                         const float *right, size_t f, size_t n_block, size_t n, bool first)
{
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)n_block, (blasint)d, (blasint)n, factor,
	            left + f, (blasint)s->c.n_features, right, (blasint)d, first ? 0 : 1, grad + f * d,
	            (blasint)d);
}

static void gradient_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	size_t f = i * GRADIENT_FEATURES, left = s->c.n_features - f, base = s->first_tile * FIT_TOKENS;
	size_t n_block = left < GRADIENT_FEATURES ? left : GRADIENT_FEATURES, d = s->c.d_out;
	size_t end = base + s->chunk_tiles * FIT_TOKENS, n = (end < s->n ? end : s->n) - base;
	float *dec = s->param[FIT_W_DEC].g, factor = -2 / (float)s->n;
	bool first = s->first_tile == 0;

	(void)worker;
	add_gradient(s, s->param[FIT_W_ENC].g, s->c.d_in, 1, s->grad, s->x + base * s->c.d_in, f, n_block, n,
	             first);
	add_gradient(s, dec, d, factor, s->value, s->e + base * d, f, n_block, n, first);
	if (s->e_gate && !s->c.detached)
		add_gradient(s, dec, d, factor, s->gate_all, s->e_gate + base * d, f, n_block, n, false);
}

static size_t chunk_size(const fit *s)
{
	size_t left = s->n_tiles - s->first_tile;

	return left < s->chunk_tiles ? left : s->chunk_tiles;
}

void fit_dense(fit *s)
{
	size_t n_gradients = (s->c.n_features + GRADIENT_FEATURES - 1) / GRADIENT_FEATURES;

	if (s->c.penalty == FIT_QUADRATIC_MEAN) {
		for (s->first_tile = 0; s->first_tile < s->n_tiles; s->first_tile += s->chunk_tiles)
			pool_run(s->pool, chunk_size(s), count_task, s);
		s->centered = true;
		fit_mean_l0(s);
	}
	for (s->first_tile = 0; s->first_tile < s->n_tiles; s->first_tile += s->chunk_tiles) {
		pool_run(s->pool, chunk_size(s), tile_task, s);
		pool_run(s->pool, n_gradients, gradient_task, s);
	}
}
