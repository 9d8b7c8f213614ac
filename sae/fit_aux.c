/* AuxK of the step with gradient buffers: dead features are to explain what the living leave. fit.h has the loss. */
#include <math.h>

#include <cblas.h>

#include "sae/fit.h"

static size_t room(const fit *s)
{
	return 2 * s->k_aux + FIT_BLOCK;
}

int fit_aux_init(fit *s, error *err)
{
	size_t d = s->c.d_out, n = s->c.n_features;
	bool good = true;
	int rc;

	s->k_aux = d / 2 ? d / 2 : 1;
	s->k_aux = s->k_aux < n ? s->k_aux : n;
	rc = sparse_init(&s->aux, &s->mem, s->c.batch, s->k_aux, n, FIT_TOKENS, err);
	if (rc < 0)
		return rc;
	s->e_aux = arena_alloc(&s->mem, s->c.batch, d * sizeof(float));
	for (size_t i = 0; i < pool_threads(s->pool) && good; i++) {
		fit_worker *w = &s->workers[i];

		w->dead_rows = arena_alloc(&s->mem, FIT_BLOCK, s->c.d_in * sizeof(float));
		w->dead_index = arena_alloc(&s->mem, FIT_TOKENS * room(s), sizeof(*w->dead_index));
		w->dead_value = arena_alloc(&s->mem, FIT_TOKENS * room(s), sizeof(*w->dead_value));
		w->dead_count = arena_alloc(&s->mem, FIT_TOKENS, sizeof(*w->dead_count));
		w->dead_order = arena_alloc(&s->mem, room(s), sizeof(*w->dead_order));
		good = w->dead_rows && w->dead_index && w->dead_value && w->dead_count && w->dead_order;
	}
	return s->e_aux && good ? 0 : error_nomem(err, "AuxK");
}

/* ---- Which features ------------------------------------------------------------------------------------------------- */

/* The k-th largest of n values of any sign, 1 <= k <= n, which are put in another order (Hoare). */
static float kth_largest(float *v, size_t n, size_t k)
{
	size_t low = 0, high = n - 1, want = k - 1;

	while (low < high) {
		float pivot = v[low + (high - low) / 2];
		size_t i = low, j = high;

		for (;;) {
			float held;

			while (v[i] > pivot)
				i++;
			while (v[j] < pivot)
				j--;
			if (i >= j)
				break;
			held = v[i];
			v[i++] = v[j];
			v[j--] = held;
		}
		if (want <= j)
			high = j;
		else
			low = j + 1;
	}
	return v[want];
}

/* The largest k_aux of a row's candidates, in order; of equal ones the first. */
static void cut(const fit *s, fit_worker *w, size_t t)
{
	size_t at = t * room(s), n = w->dead_count[t], over = 0;
	float least;

	if (n <= s->k_aux)
		return;
	memcpy(w->dead_order, w->dead_value + at, n * sizeof(float));
	least = kth_largest(w->dead_order, n, s->k_aux);
	for (size_t i = 0; i < n; i++)
		over += w->dead_value[at + i] > least;
	w->dead_count[t] =
	        s->c.k_set->compact(w->dead_index + at, w->dead_value + at, n, least, s->k_aux - over);
}

/* v of a product. */
static float value_of(const fit *s, size_t f, float a)
{
	float gate = a + s->rule.bias[f];

	return s->c.arch == FIT_GATED ? fminf(gate, a * s->rule.scale[f] + s->rule.mag[f]) : gate;
}

/* Rows from `first` on, so many of the dead from `dead` on: their v to the candidates. */
static void take_block(const fit *s, fit_worker *w, size_t first, size_t n_rows, size_t dead, size_t n_block)
{
	const size_t d = s->c.d_in;

	for (size_t i = 0; i < n_block; i++)
		memcpy(w->dead_rows + i * d, s->param[FIT_W_ENC].w + s->dead_list[dead + i] * d,
		       d * sizeof(float));
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n_rows, (blasint)n_block, (blasint)d, 1,
	            s->x + first * d, (blasint)d, w->dead_rows, (blasint)d, 0, w->block, (blasint)n_block);
	for (size_t t = 0; t < n_rows; t++) {
		size_t at = t * room(s) + w->dead_count[t];

		for (size_t i = 0; i < n_block; i++) {
			uint32_t f = s->dead_list[dead + i];

			w->dead_index[at + i] = f;
			w->dead_value[at + i] = value_of(s, f, w->block[t * n_block + i]);
		}
		w->dead_count[t] += n_block;
		if (w->dead_count[t] > 2 * s->k_aux)
			cut(s, w, t);
	}
}

/* ---- Gradients ------------------------------------------------------------------------------------------------------ */

static void add(const fit *s, fit_tile *tile, unsigned which, size_t f, float v)
{
	tile->sums[which * s->c.n_features + f] += v;
}

/* The gradient by the product, from that by v. */
static float through_value(const fit *s, fit_tile *tile, size_t f, float v, float grad)
{
	const fit_rule *r = &s->rule;

	if (s->c.arch != FIT_GATED) {
		add(s, tile, FIT_BY_PRE, f, grad);
		return grad;
	}
	if ((v - r->bias[f]) * r->scale[f] + r->mag[f] >= v) { /* it is the gate's */
		add(s, tile, FIT_BY_GATE, f, grad);
	} else {
		add(s, tile, FIT_BY_OTHER, f, grad);
		add(s, tile, FIT_BY_SCALE, f, grad * (v - r->mag[f]));
		grad *= r->scale[f];
	}
	add(s, tile, FIT_BY_PRE, f, grad);
	return grad;
}

static void explain_row(fit *s, fit_worker *w, fit_tile *tile, size_t t)
{
	const kernels *k = s->c.k_set;
	const float *dec = s->param[FIT_W_DEC].w;
	size_t at = s->aux.begin[t], n = s->aux.count[t], d = s->c.d_out;
	float *e = s->e_aux + t * d;

	k->combine(w->row, dec, d, s->aux.index + at, s->aux.value + at, n);
	k->center(e, s->e + t * d, 1, w->row, d);
	tile->squares_aux += k->sum_squares(e, d);
	for (size_t i = at; i < at + n; i++) {
		size_t f = s->aux.index[i];
		float grad = (float)(-2 * s->aux_factor) * k->dot(e, dec + f * d, d);

		s->aux.grad[i] = through_value(s, tile, f, s->aux.value[i], grad);
	}
}

static void tile_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	fit_worker *w = &s->workers[worker];
	size_t first = i * FIT_TOKENS, n_rows = fit_tile_end(s, i) - first;

	memset(w->dead_count, 0, FIT_TOKENS * sizeof(*w->dead_count));
	for (size_t dead = 0; dead < s->n_dead; dead += FIT_BLOCK) {
		size_t left = s->n_dead - dead;

		take_block(s, w, first, n_rows, dead, left < FIT_BLOCK ? left : FIT_BLOCK);
	}
	s->tiles[i].squares_aux = 0;
	for (size_t t = 0; t < n_rows; t++) {
		size_t to = s->aux.begin[first + t], from = t * room(s);

		cut(s, w, t);
		s->aux.count[first + t] = (uint32_t)w->dead_count[t];
		memcpy(s->aux.index + to, w->dead_index + from, w->dead_count[t] * sizeof(uint32_t));
		memcpy(s->aux.value + to, w->dead_value + from, w->dead_count[t] * sizeof(float));
		explain_row(s, w, &s->tiles[i], first + t);
	}
}

static void gradient_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	fit_worker *w = &s->workers[worker];
	const kernels *k = s->c.k_set;
	size_t f = s->dead_list[i], d_in = s->c.d_in, d = s->c.d_out;
	size_t at = s->aux.first[f], n = s->aux.first[f + 1] - at;

	if (!n)
		return;
	k->combine(w->row, s->x, d_in, s->aux.row + at, s->aux.by_grad + at, n);
	k->axpy(s->param[FIT_W_ENC].g + f * d_in, 1, w->row, d_in);
	k->combine(w->row, s->e_aux, d, s->aux.row + at, s->aux.by_value + at, n);
	k->axpy(s->param[FIT_W_DEC].g + f * d, (float)(-2 * s->aux_factor), w->row, d);
}

double fit_aux(fit *s, double total)
{
	const fit_tile *all = &s->tiles[0];
	double rest = fitter_scatter(all->sum_e, all->squares_e, s->c.d_out, s->n), squares = 0;

	if (!(rest > 0))
		return 0;
	s->aux_factor = s->c.auxk_alpha * total / rest / (double)s->n;
	pool_run(s->pool, s->n_tiles, tile_task, s);
	for (size_t i = 0; i < s->n_tiles; i++)
		squares += s->tiles[i].squares_aux;
	sparse_transpose(&s->aux, s->n, s->pool);
	pool_run(s->pool, s->n_dead, gradient_task, s);
	return squares / rest;
}
