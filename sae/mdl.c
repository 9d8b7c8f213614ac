/* How many bits codes take: see sae.h. Two passes over the rows: the largest value of each feature and the rows' mean; then counts of
 * bins, and the error of reconstructions from bins' middles. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

enum { BLOCK = 8 * SAE_ENCODE_TILE };

typedef struct mdl {
	sae_mdl *out;
	size_t n;
	const sae_model *model;
	const sae_dump *dump;
	const sae_rows *rows;
	sae_encoder *encoder;
	pool *pool;
	sae_codes codes, cut;  /* of a block; their values cut */
	float *x, *hat;        /* (BLOCK, d) */
	float *largest;        /* (F) */
	double *mean, *error2; /* (d); (n) */
	double distance2;
	uint64_t *fires;   /* (F) */
	uint32_t **counts; /* (n) of (F, bins) */
	arena mem;
} mdl;

static int read_block(mdl *m, uint64_t first, size_t n, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++)
		rc = sae_dump_read(m->dump, sae_rows_at(m->rows, true, first + i), 1,
		                   m->x + i * m->model->d_in, err);
	return rc ? rc : sae_encode(m->encoder, m->x, n, &m->codes, err);
}

static void learn(mdl *m, size_t n, uint64_t n_rows)
{
	uint32_t d = m->model->d_in;

	for (size_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < d; j++)
			m->mean[j] += (double)m->x[i * d + j] / (double)n_rows;
	for (size_t at = 0; at < m->codes.first[n]; at++) {
		uint32_t f = m->codes.index[at];

		m->fires[f]++;
		m->largest[f] = fmaxf(m->largest[f], m->codes.value[at]);
	}
}

/* Count the bins of the k-th size; cut gets their middles. */
static void cut(mdl *m, size_t k, size_t n)
{
	float bins = (float)m->out[k].bins;

	for (size_t at = 0; at < m->codes.first[n]; at++) {
		uint32_t f = m->codes.index[at];
		float bin = fminf(floorf(m->codes.value[at] / m->largest[f] * bins), bins - 1);

		m->counts[k][(size_t)f * m->out[k].bins + (size_t)bin]++;
		m->cut.value[at] = (bin + 0.5f) / bins * m->largest[f];
	}
}

static int measure_block(mdl *m, size_t n, error *err)
{
	uint32_t d = m->model->d_in;
	size_t n_codes = m->codes.first[n];

	if (mem_grow(&m->cut.value, &m->cut.value_room, n_codes + 1, sizeof(*m->cut.value)) < 0)
		return error_nomem(err, "codes");
	m->cut.n = n;
	m->cut.first = m->codes.first;
	m->cut.index = m->codes.index;
	for (size_t i = 0; i < n * d; i++) {
		double distance = (double)m->x[i] - m->mean[i % d];

		m->distance2 += distance * distance;
	}
	for (size_t k = 0; k < m->n; k++) {
		cut(m, k, n);
		sae_decode(m->model, m->x, &m->cut, m->hat, m->pool);
		for (size_t i = 0; i < n * d; i++) {
			double e = (double)m->x[i] - (double)m->hat[i];

			m->error2[k] += e * e;
		}
	}
	return 0;
}

static double bits(double p)
{
	return p > 0 ? -p * log2(p) : 0;
}

static void fill(mdl *m, uint64_t n_rows)
{
	for (size_t k = 0; k < m->n; k++) {
		sae_mdl *to = &m->out[k];

		to->position_bits = to->value_bits = 0;
		for (uint32_t f = 0; f < m->model->d_sae; f++) {
			const uint32_t *counts = m->counts[k] + (size_t)f * to->bins;
			double p = (double)m->fires[f] / (double)n_rows, h = 0;

			if (m->model->arch == SAE_CODEBOOK)
				counts = NULL; /* its values are not needed */
			for (uint32_t b = 0; counts && m->fires[f] && b < to->bins; b++)
				h += bits(counts[b] / (double)m->fires[f]);
			to->position_bits += bits(p) + bits(1 - p);
			to->value_bits += p * h;
		}
		to->bits = to->position_bits + to->value_bits;
		to->fvu = m->distance2 > 0 ? m->error2[k] / m->distance2 : (double)NAN;
	}
}

static int alloc_mdl(mdl *m, error *err)
{
	size_t d = m->model->d_in, f = m->model->d_sae;
	bool good;

	m->x = arena_alloc(&m->mem, 2 * BLOCK, d * sizeof(*m->x));
	m->largest = arena_alloc(&m->mem, f, sizeof(*m->largest));
	m->mean = arena_alloc(&m->mem, d, sizeof(*m->mean));
	m->error2 = arena_alloc(&m->mem, m->n, sizeof(*m->error2));
	m->fires = arena_alloc(&m->mem, f, sizeof(*m->fires));
	m->counts = arena_alloc(&m->mem, m->n, sizeof(*m->counts));
	good = m->x && m->largest && m->mean && m->error2 && m->fires && m->counts;
	for (size_t k = 0; k < m->n && good; k++) {
		m->counts[k] = arena_alloc(&m->mem, f, m->out[k].bins * sizeof(**m->counts));
		good = m->counts[k];
	}
	if (!good)
		return error_nomem(err, "the bins of features");
	m->hat = m->x + BLOCK * d;
	return 0;
}

static int check(const sae_mdl *out, size_t n, const sae_model *model, const sae_dump *d,
                 const sae_rows *rows, error *err)
{
	if (model->transcodes || model->d_in != model->d_out)
		return error_set(err, ERR_ARG,
		                 "the description length is of an SAE's codes, not of a transcoder's");
	if (sae_dump_get_info(d)->d_in != model->d_in)
		return error_set(err, ERR_ARG, "the SAE takes rows of %u, '%s' has rows of %u", model->d_in,
		                 sae_dump_shard(d, 0, NULL), sae_dump_get_info(d)->d_in);
	for (size_t k = 0; k < n; k++)
		if (out[k].bins < 1 || out[k].bins > SAE_MDL_MAX_BINS)
			return error_set(err, ERR_ARG, "%u bins are not 1 to %d", out[k].bins,
			                 SAE_MDL_MAX_BINS);
	return sae_rows_n(rows, true) ? 0 : error_set(err, ERR_FORMAT, "no held-out rows to describe");
}

int sae_mdl_measure(sae_mdl *out, size_t n, const sae_model *model, const sae_dump *d, const sae_rows *rows,
                    pool *p, error *err)
{
	mdl m = { .out = out, .n = n, .model = model, .dump = d, .rows = rows, .pool = p };
	uint64_t n_rows = sae_rows_n(rows, true);
	int rc = check(out, n, model, d, rows, err);

	if (!rc)
		rc = alloc_mdl(&m, err);
	if (!rc)
		rc = sae_encoder_new(&m.encoder, model, p, NULL, err);
	for (int pass = 0; pass < 2; pass++)
		for (uint64_t first = 0; first < n_rows && !rc; first += BLOCK) {
			size_t size = n_rows - first < BLOCK ? (size_t)(n_rows - first) : BLOCK;

			rc = read_block(&m, first, size, err);
			if (!rc && pass == 0)
				learn(&m, size, n_rows);
			else if (!rc)
				rc = measure_block(&m, size, err);
		}
	if (!rc)
		fill(&m, n_rows);
	sae_encoder_free(m.encoder);
	free(m.cut.value);
	sae_codes_free(&m.codes);
	arena_clear(&m.mem);
	return rc;
}
