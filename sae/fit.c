/* The step with gradient buffers: memory, and the order of its parts. */
#include <float.h>
#include <math.h>

#include "sae/encode.h"
#include "sae/fit.h"

#define SPARSE_SHARE 12  /* entries a row up to F over this: lists, which are faster than tiles still */
#define MOST_ENTRIES 512 /* and up to this */
#define QUIET_COST   4   /* entries that do not fire cost a product each, others as much as so many */
#define CHUNK_FLOATS (UINT64_C(1) << 24)

const char *const fit_param_names[FIT_PARAMS] = { "W_enc", "W_dec", "b_enc", "b_dec",
	                                          "theta", "r_mag", "b_mag", "W_skip" };

/* ---- Making ------------------------------------------------------------------------------------------------------- */

/* Ends with err where the memory ran out; the room of all is in s->mem. */
#define ROOM(s, p, n, size)                                                                                  \
	do {                                                                                                 \
		(p) = arena_alloc(&(s)->mem, (n), (size));                                                   \
		if (!(p))                                                                                    \
			return error_nomem(err, "a training step");                                          \
	} while (0)

static int params_init(fit *s, error *err)
{
	const size_t features = s->c.n_features;
	const size_t shapes[FIT_PARAMS][2] = { { features, s->c.d_in }, { features, s->c.d_out },
		                               { features, 1 },         { 1, s->c.d_out },
		                               { features, 1 },         { features, 1 },
		                               { features, 1 },         { s->c.d_out, s->c.d_in } };

	for (size_t i = 0; i < FIT_PARAMS; i++) {
		fit_param *p = &s->param[i];

		if ((i == FIT_THETA && s->c.arch != FIT_JUMPRELU) ||
		    ((i == FIT_R_MAG || i == FIT_B_MAG) && s->c.arch != FIT_GATED) ||
		    (i == FIT_W_SKIP && !s->c.skip))
			continue;
		p->rows = shapes[i][0];
		p->columns = shapes[i][1];
		ROOM(s, p->w, p->rows, p->columns * sizeof(float));
		ROOM(s, p->g, p->rows, p->columns * sizeof(float));
	}
	return 0;
}

static int features_init(fit *s, error *err)
{
	size_t n = s->c.n_features;

	ROOM(s, s->silent, n, sizeof(*s->silent));
	ROOM(s, s->fires, n, sizeof(*s->fires));
	ROOM(s, s->norm, n, sizeof(float));
	ROOM(s, s->theta, n, sizeof(float));
	ROOM(s, s->scale, n, sizeof(float));
	ROOM(s, s->ones, n, sizeof(float));
	ROOM(s, s->low, n, sizeof(float));
	ROOM(s, s->dead, n, sizeof(*s->dead));
	ROOM(s, s->dead_list, n, sizeof(*s->dead_list));
	ROOM(s, s->through, s->c.d_in, sizeof(double));
	for (size_t f = 0; f < n; f++)
		s->ones[f] = 1;
	return 0;
}

static int tiles_init(fit *s, error *err)
{
	size_t d = s->c.d_out * sizeof(double), n = s->c.n_features;

	ROOM(s, s->tiles, s->max_tiles, sizeof(*s->tiles));
	for (size_t i = 0; i < s->max_tiles; i++) {
		fit_tile *t = &s->tiles[i];

		ROOM(s, t->sum_y, 1, d);
		ROOM(s, t->sum_e, 1, d);
		ROOM(s, t->sum_gate, 1, d);
		ROOM(s, t->sums, FIT_SUMS * n, sizeof(float));
		ROOM(s, t->fires, n, sizeof(*t->fires));
	}
	ROOM(s, s->blocks, s->n_blocks, sizeof(*s->blocks));
	for (size_t i = 0; i < s->n_blocks; i++)
		ROOM(s, s->blocks[i].b_dec, s->c.d_in, sizeof(double));
	return 0;
}

static int workers_init(fit *s, error *err)
{
	size_t d = s->c.d_in > s->c.d_out ? s->c.d_in : s->c.d_out, found = FIT_TOKENS * s->width;

	found = found > s->c.batch ? found : s->c.batch;
	ROOM(s, s->workers, pool_threads(s->pool), sizeof(*s->workers));
	for (size_t i = 0; i < pool_threads(s->pool); i++) {
		fit_worker *w = &s->workers[i];

		ROOM(s, w->block, FIT_TOKENS * FIT_BLOCK, sizeof(float));
		ROOM(s, w->block_gate, FIT_TOKENS * FIT_BLOCK, sizeof(float));
		ROOM(s, w->row, d, sizeof(float));
		ROOM(s, w->index, FIT_BLOCK + KERNELS_SLACK, sizeof(*w->index));
		ROOM(s, w->value, FIT_BLOCK + KERNELS_SLACK, sizeof(*w->value));
		ROOM(s, w->found_row, found, sizeof(*w->found_row));
		ROOM(s, w->found_index, found, sizeof(*w->found_index));
		ROOM(s, w->found, found, sizeof(*w->found));
		ROOM(s, w->gather, s->c.batch, sizeof(*w->gather));
	}
	return 0;
}

static int batch_init(fit *s, error *err)
{
	size_t entries = s->max_tiles * FIT_TOKENS * s->width, n = s->c.n_features;
	size_t chunk = s->chunk_tiles * FIT_TOKENS, floats = s->c.d_out * sizeof(float);
	bool gated = s->c.arch == FIT_GATED;
	int rc = sparse_init(&s->codes, &s->mem, s->max_tiles * FIT_TOKENS, s->width, n, FIT_TOKENS, err);

	if (rc < 0)
		return rc;
	ROOM(s, s->a, entries, sizeof(float));
	ROOM(s, s->rows, s->c.batch, sizeof(*s->rows));
	ROOM(s, s->e, s->c.batch, floats);
	ROOM(s, s->value, chunk, n * sizeof(float));
	ROOM(s, s->grad, chunk, n * sizeof(float));
	if (!gated)
		return 0;
	ROOM(s, s->codes.entry, entries, sizeof(*s->codes.entry));
	ROOM(s, s->gate, entries, sizeof(float));
	ROOM(s, s->dot_gate, entries, sizeof(float));
	ROOM(s, s->e_gate, s->c.batch, floats);
	ROOM(s, s->gate_all, chunk, n * sizeof(float));
	return 0;
}

/* Whether entries that do not fire are to be expected: JumpReLU's in the rectangle, which only thresholds learn from. */
static bool has_quiet(const fit *s)
{
	return s->c.arch == FIT_JUMPRELU && !s->c.ste_input;
}

static void sizes_init(fit *s)
{
	size_t n = s->c.n_features;
	uint64_t chunk = CHUNK_FLOATS / FIT_TOKENS / n;

	s->n_blocks = (n + FIT_FEATURES - 1) / FIT_FEATURES;
	s->max_tiles = (s->c.batch + FIT_TOKENS - 1) / FIT_TOKENS;
	s->most = n / SPARSE_SHARE < MOST_ENTRIES ? n / SPARSE_SHARE : MOST_ENTRIES;
	s->width = (has_quiet(s) ? 4 : 2) * s->most + 1;
	s->chunk_tiles = chunk < 2 ? 2 : (size_t)chunk;
	if (s->chunk_tiles > s->max_tiles)
		s->chunk_tiles = s->max_tiles;
	s->entries = (double)n; /* begin dense */
}

int fit_new(fit **out, const fit_config *c, pool *p, error *err)
{
	fit *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_nomem(err, "a training step");
	encode_blas_single_threaded();
	s->c = *c;
	s->pool = p;
	sizes_init(s);
	rc = params_init(s, err);
	if (rc == 0)
		rc = features_init(s, err);
	if (rc == 0)
		rc = tiles_init(s, err);
	if (rc == 0)
		rc = workers_init(s, err);
	if (rc == 0)
		rc = batch_init(s, err);
	if (rc == 0)
		rc = fit_optim_init(s, err);
	if (rc == 0 && c->auxk_alpha > 0)
		rc = fit_aux_init(s, err);
	if (rc == 0 && c->resamples)
		rc = fit_resample_init(s, err);
	if (rc < 0) {
		fit_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void fit_free(fit *s)
{
	if (!s)
		return;
	optim_free(s->optim);
	arena_clear(&s->mem);
	free(s);
}

/* ---- Pieces of a tile ----------------------------------------------------------------------------------------------- */

size_t fit_tile_end(const fit *s, size_t i)
{
	return s->n - i * FIT_TOKENS < FIT_TOKENS ? s->n : (i + 1) * FIT_TOKENS;
}

static void clear_tile(fit *s, fit_tile *t)
{
	size_t d = s->c.d_out * sizeof(double), n = s->c.n_features;

	memset(t->sum_y, 0, d);
	memset(t->sum_e, 0, d);
	memset(t->sum_gate, 0, d);
	memset(t->sums, 0, FIT_SUMS * n * sizeof(float));
	memset(t->fires, 0, n * sizeof(*t->fires));
	t->squares_y = t->squares_e = t->squares_gate = 0;
	t->parts = (parts_sums){ 0 };
	t->losses = (fit_losses){ 0 };
	t->fired = t->entries = 0;
	t->over = false;
}

void fit_center(fit *s, size_t i)
{
	const kernels *k = s->c.k_set;
	fit_tile *tile = &s->tiles[i];
	const size_t first = i * FIT_TOKENS;
	const float *b_dec = s->param[FIT_B_DEC].w, scale_y = s->y ? 1 : s->input_scale;

	clear_tile(s, tile);
	for (size_t t = first; t < fit_tile_end(s, i); t++) {
		float *x = s->x + t * s->c.d_in, *e = s->e + t * s->c.d_out;
		const float *y = s->y ? s->y + t * s->c.d_out : x;

		k->center(e, y, scale_y, b_dec, s->c.d_out);
		k->add_f64(tile->sum_y, 1, e, s->c.d_out);
		tile->squares_y += k->sum_squares(e, s->c.d_out);
		parts_add(tile->parts.y, e, s->c.d_out, s->c.n_inputs, k);
		if (s->c.centers)
			k->center(x, x, s->input_scale, b_dec, s->c.d_in);
		else
			k->scale(x, s->input_scale, s->c.d_in);
		s->rows[t] = (fit_row){ 0 };
	}
	if (s->c.skip)
		fit_skip_rows(s, i);
	if (s->e_gate)
		memcpy(s->e_gate + first * s->c.d_out, s->e + first * s->c.d_out,
		       (fit_tile_end(s, i) - first) * s->c.d_out * sizeof(float));
}

void fit_errors(fit *s, size_t i)
{
	const kernels *k = s->c.k_set;
	fit_tile *tile = &s->tiles[i];
	size_t d = s->c.d_out;

	for (size_t t = i * FIT_TOKENS; t < fit_tile_end(s, i); t++) {
		tile->squares_e += k->sum_squares(s->e + t * d, d);
		k->add_f64(tile->sum_e, 1, s->e + t * d, d);
		parts_add(tile->parts.e, s->e + t * d, d, s->c.n_inputs, k);
		if (!s->e_gate)
			continue;
		tile->squares_gate += k->sum_squares(s->e_gate + t * d, d);
		k->add_f64(tile->sum_gate, 1, s->e_gate + t * d, d);
	}
}

void fit_mean_l0(fit *s)
{
	uint64_t fired = 0;

	for (size_t i = 0; i < s->n_tiles; i++)
		fired += s->tiles[i].fired;
	s->rule.mean_l0 = (double)fired / (double)s->n;
}

/* ---- The batch as a whole ------------------------------------------------------------------------------------------- */

/* Add up the tiles in order, into the first one's sums. */
static void sum_tiles(fit *s)
{
	fit_tile *all = &s->tiles[0];

	for (size_t i = 1; i < s->n_tiles; i++) {
		const fit_tile *t = &s->tiles[i];

		for (size_t j = 0; j < s->c.d_out; j++) {
			all->sum_y[j] += t->sum_y[j];
			all->sum_e[j] += t->sum_e[j];
			all->sum_gate[j] += t->sum_gate[j];
		}
		all->squares_y += t->squares_y;
		all->squares_e += t->squares_e;
		all->squares_gate += t->squares_gate;
		parts_join(&all->parts, &t->parts, s->c.n_inputs);
		all->losses.penalty += t->losses.penalty;
		all->losses.preact += t->losses.preact;
		all->entries += t->entries;
		all->fired += t->fired;
	}
}

/* Mean over rows of the sum of powers, or its root. */
static double powers_of(const fit *s, bool next)
{
	double sum = 0, p = next ? s->rule.next_p : s->rule.p;

	for (size_t i = 0; i < s->n; i++) {
		double of_row = next ? s->rows[i].next : s->rows[i].sum;

		sum += s->c.penalty == FIT_LP ? of_row : pow(of_row, 1 / p);
	}
	return sum / (double)s->n;
}

/* Mean over rows of P. */
static double penalty_of(const fit *s, double l0)
{
	double sum = 0, t = s->c.target_l0, n = (double)s->n;

	switch (s->c.penalty) {
	case FIT_STEP:
		return l0;
	case FIT_QUADRATIC_MEAN:
		return (l0 / t - 1) * (l0 / t - 1);
	case FIT_QUADRATIC:
		for (size_t i = 0; i < s->n; i++)
			sum += (s->rows[i].l0 / t - 1) * (s->rows[i].l0 / t - 1);
		return sum / n;
	case FIT_LP:
	case FIT_LP_ROOT:
		return powers_of(s, false);
	default:
		return s->tiles[0].losses.penalty / n;
	}
}

/* Fills *r; returns what gradients are multiplied by, but for clipping. *scatter: of the targets. */
static double results(fit *s, fit_result *r, double *scatter)
{
	const fit_tile *all = &s->tiles[0];
	double n = (double)s->n, total = fitter_scatter(all->sum_y, all->squares_y, s->c.d_out, s->n);

	*scatter = total;
	r->fvu = total == 0 ? 0 : all->squares_e / total;
	if (!(all->squares_y < FLT_MAX && all->squares_e < FLT_MAX))
		r->fvu = INFINITY; /* gradients in FP32 would not be finite */
	r->squared_error = all->squares_e / n;
	r->l0 = (double)all->fired / n;
	r->penalty = penalty_of(s, r->l0);
	r->next_penalty = s->rule.next_p > 0 ? powers_of(s, true) : 0;
	r->preact = all->losses.preact / n;
	r->gate = all->squares_gate / n;
	if (s->c.n_inputs > 1)
		parts_fvu(r->input_fvu, &all->parts, all->sum_y, s->c.d_out, s->c.n_inputs, s->n);
	if (!s->c.relative || !(total > 0))
		return 1;
	return n / (r->fvu > FITTER_LEAST_FVU ? all->squares_e : total * FITTER_LEAST_FVU);
}

static void rule_init(fit *s, const fit_now *now)
{
	double n = (double)s->n;

	s->rule = (fit_rule){ .c = &s->c,
		              .bias = s->param[FIT_B_ENC].w,
		              .mag = s->param[FIT_B_MAG].w,
		              .scale = s->scale,
		              .theta = s->theta,
		              .norm = s->c.by_norm ? s->norm : s->ones,
		              .low = s->low,
		              .two = (float)(2 / n),
		              .coef = (float)(now->coef / n),
		              .preact = (float)(now->preact / n),
		              .p = (float)now->p,
		              .next_p = (float)now->next_p,
		              .n_features = s->c.n_features };
}

/* Marks the dead. */
static uint64_t list_dead(fit *s, bool reach_them)
{
	s->n_dead = 0;
	for (uint32_t f = 0; f < s->c.n_features; f++) {
		s->dead[f] = s->silent[f] >= s->c.dead_tokens;
		if (s->dead[f])
			s->dead_list[s->n_dead++] = f;
	}
	s->rule.dead = reach_them && s->n_dead ? s->dead : NULL;
	return s->n_dead;
}

static void count_silence(fit *s)
{
	for (size_t f = 0; f < s->c.n_features; f++)
		s->silent[f] = s->fires[f] ? 0 : s->silent[f] + s->n;
}

/* They are not under 0. */
static void keep_thresholds(fit *s)
{
	float *theta = s->param[FIT_THETA].w;

	for (size_t f = 0; f < s->c.n_features && theta && !s->c.log_theta; f++)
		theta[f] = theta[f] > 0 ? theta[f] : 0;
}

bool fit_gradients(fit *s, float *x, float *y, size_t n, float input_scale, const fit_now *now, fit_result *r)
{
	double scatter;

	*r = (fit_result){ 0 };
	s->x = x;
	s->y = y;
	s->n = n;
	s->n_tiles = (n + FIT_TOKENS - 1) / FIT_TOKENS;
	s->input_scale = input_scale;
	s->centered = false;
	rule_init(s, now);
	r->n_dead = list_dead(s, now->preact > 0);
	fit_refresh(s);
	r->dense = s->entries > (double)s->most || !fit_sparse(s);
	if (r->dense)
		fit_dense(s);
	sum_tiles(s);
	s->rate = results(s, r, &scatter);
	if (!isfinite(r->fvu))
		return false;
	r->auxk = s->k_aux && s->n_dead ? fit_aux(s, scatter) : 0;
	s->entries = (double)s->tiles[0].entries;
	if (has_quiet(s))
		s->entries -= (s->entries - (double)s->tiles[0].fired) * (1 - 1. / QUIET_COST);
	s->entries /= (double)n;
	fit_finish(s, -2 / (double)n);
	return true;
}

void fit_run(fit *s, float *x, float *y, size_t n, float input_scale, const fit_now *now, fit_result *r)
{
	if (!fit_gradients(s, x, y, n, input_scale, now, r))
		return;
	r->grad_norm = optim_step(s->optim, now->lr);
	if (!isfinite(r->grad_norm)) {
		r->fvu = NAN;
		return;
	}
	s->fresh = false;
	keep_thresholds(s);
	count_silence(s);
}
