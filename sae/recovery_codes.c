/* Codes of an SAE against the codes that made the rows: each latent as a detector of its best feature, parents that fall silent where a
 * child is active, what is lost of the rows. One pass over the rows in order, sums in FP64. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "sae/sae.h"

enum { BATCH_ROWS = 4096 };

/* Features that every row of a latent's has had so far. */
typedef struct common {
	uint32_t *features, n;
} common;

typedef struct scoring {
	const sae_model *model;
	const sae_recovery *r;
	sae_truth *truth;
	const sae_rows *rows;
	const double *mean; /* (d) of the rows */
	sae_codes mine, theirs;
	float *x, *xhat;       /* (BATCH_ROWS, d) */
	uint32_t *in_batch;    /* (BATCH_ROWS) places of the rows that are taken */
	uint64_t *truth_fires; /* (G) */
	/* On the row at hand: */
	uint8_t *on, *active, *with_child;      /* (F), (G), (G) */
	common *common;                         /* (F) */
	double lost, spread, norms, mean_norms; /* sums over rows */
	uint64_t n_codes, n_truth_codes, n_norms, silent, silent_alone;
	sae_code_scores s;
} scoring;

/* ---- A row ---------------------------------------------------------------------------------------------------------------- */

static void narrow(common *c, const uint32_t *features, size_t n, const uint8_t *active)
{
	uint32_t kept = 0;

	if (!c->features) {
		c->features = malloc((n + 1) * sizeof(*c->features));
		if (!c->features)
			return; /* seen at the end of the batch */
		memcpy(c->features, features, n * sizeof(*features));
		c->n = (uint32_t)n;
		return;
	}
	for (uint32_t i = 0; i < c->n; i++)
		if (active[c->features[i]])
			c->features[kept++] = c->features[i];
	c->n = kept;
}

static void count_parents(scoring *g, const uint32_t *features, size_t n)
{
	const sae_recovery *r = g->r;

	for (size_t i = 0; i < n; i++) {
		uint32_t parent = g->truth->parent[features[i]];

		if (parent != SAE_TRUTH_ROOT && r->latent_of[parent] != SAE_MATCH_NONE) {
			g->s.n_child_rows++;
			g->silent += !g->on[r->latent_of[parent]];
			g->with_child[parent] = 1;
		}
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t f = features[i];

		if (g->with_child[f] == 2 && r->latent_of[f] != SAE_MATCH_NONE) {
			g->s.n_alone_rows++;
			g->silent_alone += !g->on[r->latent_of[f]];
		}
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t parent = g->truth->parent[features[i]];

		if (parent != SAE_TRUTH_ROOT)
			g->with_child[parent] = 2;
	}
}

/* i: of the rows taken; place: in the batch. */
static void score_row(scoring *g, size_t i, size_t place)
{
	const uint32_t *mine = g->mine.index + g->mine.first[i],
	               *theirs = g->theirs.index + g->theirs.first[place];
	size_t n = g->mine.first[i + 1] - g->mine.first[i],
	       m = g->theirs.first[place + 1] - g->theirs.first[place];

	for (size_t k = 0; k < m; k++) {
		g->active[theirs[k]] = 1;
		g->truth_fires[theirs[k]]++;
	}
	for (size_t k = 0; k < n; k++) {
		sae_latent_scores *l = &g->s.latents[mine[k]];

		g->on[mine[k]] = 1;
		l->fires++;
		l->both += g->active[g->r->best[mine[k]]];
		narrow(&g->common[mine[k]], theirs, m, g->active);
	}
	if (g->truth->has_parents)
		count_parents(g, theirs, m);
	for (size_t k = 0; k < m; k++)
		g->active[theirs[k]] = 0;
	for (size_t k = 0; k < n; k++)
		g->on[mine[k]] = 0;
	g->n_codes += n;
	g->n_truth_codes += m;
}

static void measure_row(scoring *g, const float *x, const float *xhat)
{
	double norm = 0, out = 0, mean = 0, lost = 0, spread = 0;

	for (uint32_t j = 0; j < g->truth->d; j++) {
		double e = (double)x[j] - (double)xhat[j], s = (double)x[j] - g->mean[j];

		norm += (double)x[j] * (double)x[j];
		out += (double)xhat[j] * (double)xhat[j];
		mean += g->mean[j] * g->mean[j];
		lost += e * e;
		spread += s * s;
	}
	g->lost += lost;
	g->spread += spread;
	if (norm > 0) {
		g->norms += sqrt(out / norm);
		g->mean_norms += sqrt(mean / norm);
		g->n_norms++;
	}
}

/* ---- All rows ---------------------------------------------------------------------------------------------------------------- */

/* Which rows of first .. first + n - 1 are taken: places in g->in_batch. *at: the next one that was not, of n_taken. */
static size_t choose_rows(scoring *g, uint64_t first, uint64_t n, uint64_t *at, uint64_t n_taken)
{
	size_t chosen = 0;

	while (*at < n_taken) {
		uint64_t row = sae_rows_at(g->rows, true, *at);

		if (row >= first + n)
			break;
		g->in_batch[chosen++] = (uint32_t)(row - first);
		++*at;
	}
	return chosen;
}

/* The codes of the chosen rows of `all`, a batch's, to g->mine. */
static int choose_codes(scoring *g, const sae_codes *all, size_t chosen, error *err)
{
	sae_codes *c = &g->mine;
	size_t n = 0;

	for (size_t i = 0; i < chosen; i++)
		n += all->first[g->in_batch[i] + 1] - all->first[g->in_batch[i]];
	if (mem_grow(&c->first, &c->first_room, chosen + 1, sizeof(*c->first)) < 0 ||
	    mem_grow(&c->index, &c->index_room, n + 1, sizeof(*c->index)) < 0 ||
	    mem_grow(&c->value, &c->value_room, n + 1, sizeof(*c->value)) < 0)
		return error_nomem(err, "sparse codes");
	c->n = chosen;
	c->first[0] = 0;
	for (size_t i = 0; i < chosen; i++) {
		size_t from = all->first[g->in_batch[i]], m = all->first[g->in_batch[i] + 1] - from;

		memcpy(c->index + c->first[i], all->index + from, m * sizeof(*c->index));
		memcpy(c->value + c->first[i], all->value + from, m * sizeof(*c->value));
		c->first[i + 1] = c->first[i] + m;
	}
	return 0;
}

static int score_batch(scoring *g, const sae_dump *d, uint64_t first, uint64_t n, size_t chosen,
                       sae_encoder *encoder, sae_codes_reader *codes, pool *p, error *err)
{
	size_t width = g->truth->d;
	sae_codes all = { 0 };
	int rc = sae_dump_read(d, first, n, g->x, err);

	if (rc == 0)
		rc = sae_codes_reader_read(g->truth->codes, first, n, &g->theirs, err);
	for (size_t i = 0; i < chosen && rc == 0; i++)
		if (g->in_batch[i] != i)
			memcpy(g->x + i * width, g->x + g->in_batch[i] * width, width * sizeof(*g->x));
	if (rc == 0 && codes)
		rc = sae_codes_reader_read(codes, first, n, &all, err);
	if (rc == 0)
		rc = codes ? choose_codes(g, &all, chosen, err)
		           : sae_encode(encoder, g->x, chosen, &g->mine, err);
	sae_codes_free(&all);
	if (rc < 0)
		return rc;
	sae_decode(g->model, g->x, &g->mine, g->xhat, p);
	for (size_t i = 0; i < chosen; i++) {
		score_row(g, i, g->in_batch[i]);
		measure_row(g, g->x + i * width, g->xhat + i * width);
	}
	for (uint32_t f = 0; f < g->model->d_sae; f++)
		if (g->s.latents[f].fires && !g->common[f].features)
			return error_nomem(err, "features in common");
	return 0;
}

static int score_all(scoring *g, const sae_dump *d, sae_codes_reader *codes, pool *p, progress *pr,
                     error *err)
{
	uint64_t n_rows = sae_dump_get_info(d)->n_rows, n_taken = sae_rows_n(g->rows, true), at = 0;
	sae_encoder *encoder = NULL;
	int rc = codes ? 0 : sae_encoder_new(&encoder, g->model, p, NULL, err);

	for (uint64_t first = 0, n; first < n_rows && at < n_taken && rc == 0; first += n) {
		size_t chosen;

		n = n_rows - first < BATCH_ROWS ? n_rows - first : BATCH_ROWS;
		chosen = choose_rows(g, first, n, &at, n_taken);
		if (chosen)
			rc = score_batch(g, d, first, n, chosen, encoder, codes, p, err);
		if (pr)
			progress_update(pr, first + n, NULL);
	}
	sae_encoder_free(encoder);
	return rc;
}

/* ---- What it comes to ------------------------------------------------------------------------------------------------------------ */

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static double harmonic(double p, double r)
{
	return ratio(2 * p * r, p + r);
}

/* One latent to the means over all F. */
static void add_latent(scoring *g, uint32_t f, double n_rows)
{
	sae_code_scores *s = &g->s;
	sae_latent_scores *l = &s->latents[f];
	double own, base, n = g->model->d_sae;

	l->truth_fires = g->truth_fires[g->r->best[f]];
	l->precision = ratio((double)l->both, (double)l->fires);
	l->recall = ratio((double)l->both, (double)l->truth_fires);
	l->f1 = harmonic(l->precision, l->recall);
	own = (double)l->fires / n_rows;
	base = (double)l->truth_fires / n_rows;
	s->n_dead += l->fires == 0;
	s->precision.value += l->precision / n;
	s->recall.value += l->recall / n;
	s->f1.value += l->f1 / n;
	if (l->fires == 0)
		return;
	s->precision.chance += base / n;
	s->recall.chance += l->truth_fires ? own / n : 0;
	s->f1.chance += harmonic(base, own) / n;
	s->purity.value += g->common[f].n > 0;
}

static void sum_up(scoring *g, uint64_t n)
{
	sae_code_scores *s = &g->s;
	double silent_by_chance = 0;

	s->n_rows = n;
	s->l0 = (double)g->n_codes / (double)n;
	s->truth_l0 = (double)g->n_truth_codes / (double)n;
	for (uint32_t f = 0; f < g->model->d_sae; f++)
		add_latent(g, f, (double)n);
	s->purity.value /= (double)(g->model->d_sae - s->n_dead); /* NaN: all dead */
	s->purity.chance = (double)NAN;
	s->explained = (sae_scored){ 1 - g->lost / g->spread, 0 };
	s->shrinkage = (sae_scored){ g->norms / (double)g->n_norms, g->mean_norms / (double)g->n_norms };
	s->absorption.value = (double)g->silent / (double)s->n_child_rows; /* NaN: no pairs */
	s->alone = (double)g->silent_alone / (double)s->n_alone_rows;
	for (uint32_t c = 0; c < g->truth->n_features; c++) {
		uint32_t parent = g->truth->parent[c];

		if (parent == SAE_TRUTH_ROOT || g->r->latent_of[parent] == SAE_MATCH_NONE)
			continue;
		s->n_pairs++;
		silent_by_chance += (double)g->truth_fires[c] *
		                    (1 - (double)s->latents[g->r->latent_of[parent]].fires / (double)n);
	}
	s->absorption.chance = silent_by_chance / (double)s->n_child_rows;
}

/* ---- Measuring -------------------------------------------------------------------------------------------------------------------- */

static int check_truth(const sae_model *m, const sae_codes_reader *codes, const sae_truth *t,
                       const sae_dump *d, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);

	if (t->n_rows != info->n_rows)
		return error_set(err, ERR_ARG, "the truth is of %" PRIu64 " rows, the dump has %" PRIu64,
		                 t->n_rows, info->n_rows);
	if (t->d != info->d_in || m->d_in != t->d || m->d_out != t->d)
		return error_set(err, ERR_ARG,
		                 "the truth is of rows of %u values, the dump's have %u, the SAE's %u", t->d,
		                 info->d_in, m->d_in);
	if (codes && sae_codes_reader_get_info(codes)->n_rows != info->n_rows)
		return error_set(err, ERR_ARG, "the codes are of %" PRIu64 " rows, the dump has %" PRIu64,
		                 sae_codes_reader_get_info(codes)->n_rows, info->n_rows);
	return 0;
}

static int scoring_alloc(scoring *g, arena *mem, error *err)
{
	uint32_t F = g->model->d_sae, G = g->truth->n_features, d = g->truth->d;

	g->x = arena_alloc(mem, (size_t)BATCH_ROWS * d, sizeof(*g->x));
	g->xhat = arena_alloc(mem, (size_t)BATCH_ROWS * d, sizeof(*g->xhat));
	g->in_batch = arena_alloc(mem, BATCH_ROWS, sizeof(*g->in_batch));
	g->truth_fires = arena_alloc(mem, G, sizeof(*g->truth_fires));
	g->on = arena_alloc(mem, F, 1);
	g->active = arena_alloc(mem, G, 1);
	g->with_child = arena_alloc(mem, G, 1);
	g->common = arena_alloc(mem, F, sizeof(*g->common));
	g->s.latents = calloc((size_t)F + 1, sizeof(*g->s.latents));
	if (!g->x || !g->xhat || !g->in_batch || !g->truth_fires || !g->on || !g->active || !g->with_child ||
	    !g->common || !g->s.latents)
		return error_nomem(err, "scores of codes");
	for (uint32_t c = 0; c < G; c++)
		if (g->truth->parent[c] != SAE_TRUTH_ROOT)
			g->with_child[g->truth->parent[c]] = 2; /* a parent, without a child on the row */
	return 0;
}

static void scoring_clear(scoring *g, arena *mem)
{
	for (uint32_t f = 0; g->common && f < g->model->d_sae; f++)
		free(g->common[f].features);
	sae_codes_free(&g->mine);
	sae_codes_free(&g->theirs);
	sae_code_scores_clear(&g->s);
	arena_clear(mem);
}

int sae_code_scores_measure(sae_code_scores *out, const sae_model *m, sae_codes_reader *codes,
                            const sae_recovery *r, sae_truth *t, const sae_dump *d, const sae_rows *rows,
                            uint64_t limit, pool *p, progress *pr, error *err)
{
	scoring g = { .model = m, .r = r, .truth = t, .rows = rows, .mean = sae_rows_mean(rows) };
	sae_rows *some = NULL;
	arena mem = ARENA_INIT;
	uint64_t n = sae_rows_n(rows, true);
	int rc = check_truth(m, codes, t, d, err);

	if (rc == 0 && n == 0)
		rc = error_set(err, ERR_FORMAT, "no held-out rows in '%s'", sae_dump_shard(d, 0, NULL));
	if (rc == 0 && limit && limit < n) {
		rc = sae_rows_sample(&some, rows, limit, err);
		g.rows = some;
		n = limit;
	}
	if (rc == 0)
		rc = scoring_alloc(&g, &mem, err);
	if (rc == 0)
		rc = score_all(&g, d, codes, p, pr, err);
	if (rc == 0) {
		sum_up(&g, n);
		*out = g.s;
		g.s = (sae_code_scores){ 0 };
	}
	scoring_clear(&g, &mem);
	sae_rows_free(some);
	return rc;
}

void sae_code_scores_clear(sae_code_scores *s)
{
	free(s->latents);
	*s = (sae_code_scores){ 0 };
}
