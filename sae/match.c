/* Which rows of two matrices belong together by cosine: the nearest of each, one-to-one matches, sums of rows that stand for
 * one, and what of this is chance. */
#include <math.h>

#include "sae/sae.h"

enum { NEAR = SAE_MATCH_NEAR };

float *sae_unit_rows(const float *x, uint32_t n, uint32_t d)
{
	float *rows = mem_alloc_aligned((size_t)n * d, sizeof(*rows));

	for (uint32_t f = 0; f < n && rows; f++) {
		const float *from = x + (size_t)f * d;
		double squares = 0;

		for (uint32_t i = 0; i < d; i++)
			squares += (double)from[i] * from[i];
		for (uint32_t i = 0; i < d; i++)
			rows[(size_t)f * d + i] = squares > 0 ? (float)(from[i] / sqrt(squares)) : 0;
	}
	return rows;
}

static double dot(const float *a, const float *b, uint32_t d)
{
	double sum = 0;

	for (uint32_t i = 0; i < d; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* ---- One to one --------------------------------------------------------------------------------------------------------- */

/* Rows that are each other's nearest. Of equal ones each takes one that is free, lower numbers first. */
static int match_mutually(sae_match *m, error *err)
{
	const sae_ranked *a = &m->near[0], *b = &m->near[1];
	uint8_t *taken = calloc((size_t)m->n[1] + 1, 1);

	if (!taken)
		return error_nomem(err, "matched rows");
	for (uint32_t i = 0; i < m->n[0]; i++) {
		const float *values = a->values + (size_t)i * a->n;

		m->of_a[i] = SAE_MATCH_NONE;
		for (uint32_t k = 0; k < a->n && values[k] >= values[0] - SAE_MATCH_TIE; k++) {
			uint32_t j = a->ids[(size_t)i * a->n + k];

			if (taken[j] || values[k] < b->values[(size_t)j * b->n] - SAE_MATCH_TIE)
				continue;
			taken[j] = 1;
			m->of_a[i] = j;
			break;
		}
	}
	free(taken);
	return 0;
}

static void measure_matches(sae_match *m, const float *a, const float *b)
{
	double sum = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n[0]; i++) {
		uint32_t j = m->of_a[i];

		m->cosine[i] = NAN;
		if (j == SAE_MATCH_NONE)
			continue;
		m->cosine[i] = (float)dot(a + (size_t)i * m->d, b + (size_t)j * m->d, m->d);
		sum += (double)m->cosine[i];
		n++;
	}
	m->mean_matched = n ? sum / n : (double)NAN;
}

/* ---- Sums that stand for one ------------------------------------------------------------------------------------------------ */

#define LEAST_SHARE 0.2 /* of a part in the square of the sum */

/* The weights >= 0 of n unit rows whose sum is nearest to a row, by descent along one after the other: gram holds their
 * products, c those with the row. Returns the square of the sum's norm, which is its cosine's too. */
static double fit(double *weight, double gram[NEAR][NEAR], const double *c, uint32_t n)
{
	double squares = 0, change = 1;

	memset(weight, 0, n * sizeof(*weight));
	for (int sweep = 0; sweep < 200 && change > 1e-6; sweep++) {
		change = 0;
		for (uint32_t i = 0; i < n; i++) {
			double w = c[i];

			for (uint32_t j = 0; j < n; j++)
				w -= j == i ? 0 : gram[i][j] * weight[j];
			w = fmax(w, 0);
			change = fmax(change, fabs(w - weight[i]));
			weight[i] = w;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		squares += weight[i] * c[i];
	return squares;
}

typedef struct blending {
	sae_match *m;
	const float *rows[2];
	int side;
} blending;

/* The parts of row f: of the rows nearest to it those that make up LEAST_SHARE of their best sum. */
static void blend_row(const blending *s, uint32_t f)
{
	sae_match *m = s->m;
	const sae_ranked *near = &m->near[s->side];
	const float *row = s->rows[s->side] + (size_t)f * m->d, *other[NEAR];
	const uint32_t *ids = near->ids + (size_t)f * near->n;
	uint32_t *parts = m->parts[s->side] + (size_t)f * NEAR, kept[NEAR], n = 0;
	double gram[NEAR][NEAR], c[NEAR] = { 0 }, weight[NEAR], part_gram[NEAR][NEAR], part_c[NEAR], squares;

	for (uint32_t i = 0; i < near->n; i++) {
		other[i] = s->rows[!s->side] + (size_t)ids[i] * m->d;
		c[i] = dot(row, other[i], m->d);
		for (uint32_t j = 0; j <= i; j++)
			gram[i][j] = gram[j][i] = dot(other[i], other[j], m->d);
	}
	squares = fit(weight, gram, c, near->n);
	for (uint32_t i = 0; i < near->n; i++)
		if (weight[i] > 0 && weight[i] * c[i] >= LEAST_SHARE * squares)
			kept[n++] = i;
	n = n > 1 ? n : 0;
	for (uint32_t i = 0; i < n; i++) {
		part_c[i] = c[kept[i]];
		for (uint32_t j = 0; j < n; j++)
			part_gram[i][j] = gram[kept[i]][kept[j]];
	}
	m->together[s->side][f] = n ? (float)sqrt(fit(weight, part_gram, part_c, n)) : NAN;
	for (uint32_t i = 0; i < NEAR; i++)
		parts[i] = i < n ? ids[kept[i]] : SAE_MATCH_NONE;
}

enum { BLEND_ROWS = 64 };

static void blend_rows(void *payload, size_t i, unsigned worker)
{
	const blending *s = payload;
	uint32_t first = (uint32_t)i * BLEND_ROWS, n = s->m->n[s->side];

	(void)worker;
	for (uint32_t f = first; f < n && f < first + BLEND_ROWS; f++)
		blend_row(s, f);
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

/* Of the best cosines of a side's rows the mean, and what one in a hundred is over. */
static int summarise(sae_match *m, int side, error *err)
{
	const sae_ranked *near = &m->near[side];
	uint32_t n = near->n ? m->n[side] : 0;
	float *best = malloc(((size_t)n + 1) * sizeof(*best));
	double sum = 0;

	if (!best)
		return error_nomem(err, "matched rows");
	for (uint32_t f = 0; f < n; f++)
		sum += (double)(best[f] = near->values[(size_t)f * near->n]);
	qsort(best, n, sizeof(*best), by_value);
	m->mean_best[side] = n ? sum / n : (double)NAN;
	m->high_best[side] = n ? (double)best[(size_t)(0.99 * (n - 1))] : (double)NAN;
	free(best);
	return 0;
}

static int match_side(sae_match *m, int side, const float *const rows[2], pool *p, error *err)
{
	blending s = { m, { rows[0], rows[1] }, side };
	size_t n = m->n[side];
	int rc = sae_rank_cosines(&m->near[side], rows[side], m->n[side], rows[!side], m->n[!side], m->d,
	                          NEAR, false, p, err);

	m->parts[side] = malloc((n * NEAR + 1) * sizeof(*m->parts[side]));
	m->together[side] = malloc((n + 1) * sizeof(*m->together[side]));
	if (rc == 0 && (!m->parts[side] || !m->together[side]))
		rc = error_nomem(err, "matched rows");
	if (rc == 0)
		pool_run(p, (n + BLEND_ROWS - 1) / BLEND_ROWS, blend_rows, &s);
	return rc ? rc : summarise(m, side, err);
}

int sae_match_rows(sae_match *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                   bool assign, pool *p, error *err)
{
	const float *const rows[2] = { a, b };
	sae_match m = { .n = { n_a, n_b }, .d = d };
	int rc = match_side(&m, 0, rows, p, err);

	if (rc == 0)
		rc = match_side(&m, 1, rows, p, err);
	m.of_a = malloc(((size_t)n_a + 1) * sizeof(*m.of_a));
	m.cosine = malloc(((size_t)n_a + 1) * sizeof(*m.cosine));
	if (rc == 0 && (!m.of_a || !m.cosine))
		rc = error_nomem(err, "matched rows");
	if (rc == 0)
		rc = assign ? sae_match_assign(m.of_a, a, n_a, b, n_b, d, p, err) : match_mutually(&m, err);
	if (rc < 0) {
		sae_match_free(&m);
		return rc;
	}
	measure_matches(&m, a, b);
	*out = m;
	return 0;
}

void sae_match_free(sae_match *m)
{
	for (int side = 0; side < 2; side++) {
		sae_ranked_free(&m->near[side]);
		free(m->parts[side]);
		free(m->together[side]);
	}
	free(m->of_a);
	free(m->cosine);
	*m = (sae_match){ 0 };
}

/* ---- Chance ----------------------------------------------------------------------------------------------------------- */

enum { NULL_TERMS = 64 };

float *sae_null_rows(const float *unit, uint32_t n, uint32_t d, uint64_t seed)
{
	float *rows = mem_alloc_aligned((size_t)n * d, sizeof(*rows)), *null;

	for (uint32_t f = 0; f < n && rows; f++) {
		float *row = rows + (size_t)f * d;

		memset(row, 0, d * sizeof(*row));
		for (uint32_t t = 0; t < NULL_TERMS; t++) {
			uint64_t h = hash64_mix(hash64_mix(seed, f), t);
			const float *from = unit + (size_t)hash64_below(h, n) * d;
			float sign = hash64_mix(h, 1) & 1 ? 1.0f : -1.0f;

			for (uint32_t i = 0; i < d; i++)
				row[i] += sign * from[i];
		}
	}
	null = rows ? sae_unit_rows(rows, n, d) : NULL;
	free(rows);
	return null;
}
