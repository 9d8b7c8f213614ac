/* Crosscoders whose decoder and biases lie input by input, as OpenMOSS has them: (n, F, d / n) and (n, F), biases to be added up. */
#include <stdlib.h>

#include "sae/layout_internal.h"

uint64_t layout_decoder_rows(const layout *l)
{
	return l->split ? l->d_sae * l->n_inputs : l->d_sae;
}

uint64_t layout_decoder_width(const layout *l)
{
	return l->d_out / (l->split ? l->n_inputs : l->codebook.groups);
}

int layout_read_split_bias(float *out, const layout *l, const sae_file *f, error *err)
{
	const size_t n = l->d_sae;
	float *biases = mem_alloc_aligned(n, l->n_inputs * sizeof(*biases));
	int rc = biases ? layout_read_vector(biases, l, f, l->b_enc, n * l->n_inputs, err)
	                : error_nomem(err, "biases");

	for (size_t i = 0; i < n && rc == 0; i++) {
		double sum = 0;

		for (size_t j = 0; j < l->n_inputs; j++)
			sum += (double)biases[j * n + i];
		out[i] = (float)sum;
	}
	free(biases);
	return rc;
}

static void multiply(float *x, double by, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)((double)x[i] * by);
}

/* The weights are for inputs times their scales. */
static void fold_scales(sae_model *m, const layout *l)
{
	const size_t n = l->n_inputs, d = m->d_in / n;

	for (size_t i = 0; i < n && l->scales[0] > 0; i++) {
		for (size_t f = 0; f < m->d_sae; f++) {
			multiply(m->W_enc + (f * n + i) * d, l->scales[i], d);
			multiply(m->W_dec + (f * n + i) * d, 1 / l->scales[i], d);
		}
		multiply(m->b_dec + i * d, 1 / l->scales[i], d);
	}
}

int layout_join_inputs(sae_model *m, const layout *l, error *err)
{
	const size_t n = l->n_inputs, d = m->d_in / n, features = m->d_sae;
	float *split = mem_alloc_aligned(features, m->d_in * sizeof(*split));

	if (!split)
		return error_nomem(err, "a decoder");
	memcpy(split, m->W_dec, features * m->d_in * sizeof(*split));
	for (size_t i = 0; i < n; i++)
		for (size_t f = 0; f < features; f++)
			memcpy(m->W_dec + (f * n + i) * d, split + (i * features + f) * d,
			       d * sizeof(*split));
	free(split);
	fold_scales(m, l);
	return 0;
}
