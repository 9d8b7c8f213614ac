/* Metrics of an SAE's weights alone. Cosines of all pairs are made in blocks of rows, so that memory stays small; each row's largest
 * is that of one task: the same bits at any thread count. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "sae/sae.h"

enum { PAIR_ROWS = 64, PAIR_COLUMNS = 1024 };

typedef struct pairs {
	const float *unit; /* (n, d) */
	uint32_t n, d;
	float *largest, *largest_abs; /* (n): of the cosines with others, of their absolute values */
	float *scratch;               /* (threads, PAIR_ROWS, PAIR_COLUMNS) */
} pairs;

static void pair_task(void *payload, size_t task, unsigned worker)
{
	pairs *p = payload;
	float *block = p->scratch + (size_t)worker * PAIR_ROWS * PAIR_COLUMNS;
	uint32_t first = (uint32_t)task * PAIR_ROWS, n = p->n - first < PAIR_ROWS ? p->n - first : PAIR_ROWS;

	for (uint32_t i = first; i < first + n; i++) {
		p->largest[i] = -INFINITY;
		p->largest_abs[i] = 0;
	}
	for (uint32_t from = 0; from < p->n; from += PAIR_COLUMNS) {
		uint32_t m = p->n - from < PAIR_COLUMNS ? p->n - from : PAIR_COLUMNS;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)m, (int)p->d, 1,
		            p->unit + (size_t)first * p->d, (int)p->d, p->unit + (size_t)from * p->d,
		            (int)p->d, 0, block, PAIR_COLUMNS);
		for (uint32_t i = 0; i < n; i++)
			for (uint32_t j = 0; j < m; j++) {
				float c = block[(size_t)i * PAIR_COLUMNS + j];

				if (from + j == first + i)
					continue;
				p->largest[first + i] = fmaxf(p->largest[first + i], c);
				p->largest_abs[first + i] = fmaxf(p->largest_abs[first + i], fabsf(c));
			}
	}
}

/* The mean over rows of the largest cosine with another row, and the largest absolute one of all. NaN: one row. */
static int measure_pairs(double *mean, double *coherence, const float *rows, uint32_t n, uint32_t d, pool *p,
                         error *err)
{
	pairs s = { .n = n, .d = d };
	float *unit = sae_unit_rows(rows, n, d);
	int rc = 0;

	s.unit = unit;
	s.largest = malloc(n * sizeof(*s.largest));
	s.largest_abs = malloc(n * sizeof(*s.largest_abs));
	s.scratch = mem_alloc_aligned((size_t)pool_threads(p) * PAIR_ROWS * PAIR_COLUMNS, sizeof(*s.scratch));
	*mean = *coherence = (double)NAN;
	if (!unit || !s.largest || !s.largest_abs || !s.scratch)
		rc = error_nomem(err, "cosines of features");
	if (!rc && n > 1) {
		openblas_set_num_threads(1);
		pool_run(p, (n + PAIR_ROWS - 1) / PAIR_ROWS, pair_task, &s);
		*mean = *coherence = 0;
		for (uint32_t i = 0; i < n; i++) {
			*mean += (double)s.largest[i] / n;
			*coherence = fmax(*coherence, (double)s.largest_abs[i]);
		}
	}
	free(unit);
	free(s.largest);
	free(s.largest_abs);
	free(s.scratch);
	return rc;
}

static double dot(const float *a, const float *b, uint32_t d)
{
	double sum = 0;

	for (uint32_t j = 0; j < d; j++)
		sum += (double)a[j] * (double)b[j];
	return sum;
}

int sae_eval_dictionary(sae_metrics *out, const sae_model *m, pool *p, error *err)
{
	double unused, bias = 0, norm[2] = { 0 }, cosine = 0;
	int rc;

	for (uint32_t f = 0; f < m->d_sae; f++) {
		const float *enc = m->W_enc + (size_t)f * m->d_in, *dec = m->W_dec + (size_t)f * m->d_out;
		double enc2 = dot(enc, enc, m->d_in), dec2 = dot(dec, dec, m->d_out);

		bias += (double)m->b_enc[f];
		norm[0] += sqrt(enc2);
		norm[1] += sqrt(dec2);
		if (m->transcodes || m->d_in != m->d_out)
			cosine = (double)NAN;
		else if (enc2 > 0 && dec2 > 0) /* else 0 */
			cosine += dot(enc, dec, m->d_in) / sqrt(enc2 * dec2);
	}
	out->encoder_bias = bias / m->d_sae;
	out->encoder_norm = norm[0] / m->d_sae;
	out->decoder_norm = norm[1] / m->d_sae;
	out->encoder_decoder_cosine = cosine / m->d_sae;
	rc = measure_pairs(&out->max_encoder_cosine, &unused, m->W_enc, m->d_sae, m->d_in, p, err);
	if (!rc)
		rc = measure_pairs(&out->max_decoder_cosine, &out->decoder_coherence, m->W_dec, m->d_sae,
		                   m->d_out, p, err);
	return rc;
}
