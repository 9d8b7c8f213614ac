/* The step where few features matter to a row: entries in lists, by row and then by feature. */
#include <cblas.h>

#include "sae/fit.h"

/* ---- Entries -------------------------------------------------------------------------------------------------------- */

/* Entries of a block of features among the products in w->block, behind the n found so far. Returns how many there are then; `most`
 * or more: there is no room for all. */
static size_t find_entries(const fit *s, fit_worker *w, size_t first, size_t n_block, size_t n_rows, size_t n,
                           size_t most)
{
	for (size_t t = 0; t < n_rows; t++) {
		const float *a = w->block + t * n_block;
		size_t found = s->c.k_set->filter(w->index, w->value, a, s->low + first, n_block, 0, 0);

		for (size_t i = 0; i < found; i++) {
			size_t j = first + w->index[i];
			float product = a[w->index[i]];

			if (!fit_wanted(&s->rule, j, product))
				continue;
			if (n == most)
				return n;
			w->found_row[n] = (uint32_t)t;
			w->found_index[n] = (uint32_t)j;
			w->found[n++] = product;
		}
	}
	return n;
}

/* A stable counting sort by row: features stay ascending. */
static void sort_entries(fit *s, const fit_worker *w, size_t first, size_t n_rows, size_t n)
{
	uint32_t *count = s->codes.count + first;
	size_t *begin = s->codes.begin + first, at = first * s->width;

	memset(count, 0, n_rows * sizeof(*count));
	for (size_t i = 0; i < n; i++)
		count[w->found_row[i]]++;
	for (size_t t = 0; t < n_rows; t++) {
		begin[t] = at;
		at += count[t];
		count[t] = 0;
	}
	for (size_t i = 0; i < n; i++) {
		size_t t = w->found_row[i], place = begin[t] + count[t]++;

		s->codes.index[place] = w->found_index[i];
		s->a[place] = w->found[i];
	}
}

static void encode_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	fit_worker *w = &s->workers[worker];
	fit_tile *tile = &s->tiles[i];
	size_t first = i * FIT_TOKENS, end = fit_tile_end(s, i), n = 0, most = FIT_TOKENS * s->width;
	const blasint d = (blasint)s->c.d_in;

	for (size_t f = 0; f < s->c.n_features && n < most; f += FIT_BLOCK) {
		size_t left = s->c.n_features - f, n_block = left < FIT_BLOCK ? left : FIT_BLOCK;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)(end - first), (blasint)n_block,
		            d, 1, s->x + first * s->c.d_in, d, s->param[FIT_W_ENC].w + f * s->c.d_in, d, 0,
		            w->block, (blasint)n_block);
		n = find_entries(s, w, f, n_block, end - first, n, most);
	}
	tile->over = n == most;
	if (tile->over)
		return;
	tile->entries = n;
	sort_entries(s, w, first, end - first, n);
	for (size_t t = first; t < end; t++) {
		size_t at = s->codes.begin[t];

		fit_forward(&s->rule, s->codes.index + at, 0, s->codes.count[t], s->a + at,
		            s->codes.value + at, s->gate ? s->gate + at : NULL, tile->fires, &s->rows[t]);
		tile->fired += s->rows[t].l0;
	}
}

/* ---- Errors and the gradients of entries ---------------------------------------------------------------------------- */

/* combine() without the entries of 0: those in JumpReLU's band that do not fire, which only thresholds learn from. */
static void combine(const fit *s, fit_worker *w, float *out, const float *rows, size_t d,
                    const uint32_t *index, const float *coef, size_t n)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		w->found_index[m] = index[i];
		w->found[m] = coef[i];
		m += coef[i] != 0;
	}
	s->c.k_set->combine(out, rows, d, w->found_index, w->found, m);
}

/* e -= sum of value times decoder row, and each entry's product with what is left. */
static void decode_row(const fit *s, fit_worker *w, float *e, size_t at, size_t n, const float *value,
                       float *dot)
{
	const kernels *k = s->c.k_set;
	const float *dec = s->param[FIT_W_DEC].w, *rows[KERNELS_DOTS];
	size_t d = s->c.d_out;

	combine(s, w, w->row, dec, d, s->codes.index + at, value + at, n);
	k->center(e, e, 1, w->row, d);
	for (size_t i = 0, m; i < n; i += m) {
		for (m = 0; m < KERNELS_DOTS && i + m < n; m++)
			rows[m] = dec + s->codes.index[at + i + m] * d;
		k->dots(dot + at + i, e, rows, m, d);
	}
}

static void decode_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	fit_worker *w = &s->workers[worker];
	fit_tile *tile = &s->tiles[i];
	float *dot = s->codes.grad;

	for (size_t t = i * FIT_TOKENS; t < fit_tile_end(s, i); t++) {
		size_t at = s->codes.begin[t], n = s->codes.count[t];

		decode_row(s, w, s->e + t * s->c.d_out, at, n, s->codes.value, dot);
		if (s->e_gate)
			decode_row(s, w, s->e_gate + t * s->c.d_out, at, n, s->gate, s->dot_gate);
		fit_backward(&s->rule, &s->rows[t], s->codes.index + at, 0, n, s->a + at, s->codes.value + at,
		             dot + at, s->e_gate ? s->dot_gate + at : NULL, dot + at, tile->sums,
		             &tile->losses);
	}
	fit_errors(s, i);
}

/* ---- Gradients of the matrices -------------------------------------------------------------------------------------- */

static void gradient_task(void *payload, size_t f, unsigned worker)
{
	fit *s = payload;
	fit_worker *w = &s->workers[worker];
	const kernels *k = s->c.k_set;
	const sparse_batch *codes = &s->codes;
	size_t at = codes->first[f], n = codes->first[f + 1] - at, d = s->c.d_out;
	float *dec = s->param[FIT_W_DEC].g + f * d, factor = -2 / (float)s->n;

	combine(s, w, s->param[FIT_W_ENC].g + f * s->c.d_in, s->x, s->c.d_in, codes->row + at,
	        codes->by_grad + at, n);
	combine(s, w, dec, s->e, d, codes->row + at, codes->by_value + at, n);
	if (s->e_gate && !s->c.detached) {
		for (size_t i = 0; i < n; i++)
			w->gather[i] = s->gate[codes->entry[at + i]];
		k->combine(w->row, s->e_gate, d, codes->row + at, w->gather, n);
		k->axpy(dec, 1, w->row, d);
	}
	k->scale(dec, factor, d);
}

static void center_task(void *payload, size_t i, unsigned worker)
{
	(void)worker;
	fit_center(payload, i);
}

bool fit_sparse(fit *s)
{
	pool_run(s->pool, s->n_tiles, center_task, s);
	s->centered = true;
	pool_run(s->pool, s->n_tiles, encode_task, s);
	for (size_t i = 0; i < s->n_tiles; i++)
		if (s->tiles[i].over)
			return false;
	fit_mean_l0(s);
	pool_run(s->pool, s->n_tiles, decode_task, s);
	sparse_transpose(&s->codes, s->n, s->pool);
	pool_run(s->pool, s->c.n_features, gradient_task, s);
	return true;
}
