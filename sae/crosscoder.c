/* Which inputs a crosscoder's features are of. */
#include <math.h>

#include "sae/sae.h"

void sae_crosscoder_shares(float *out, const sae_model *m)
{
	size_t n = m->n_inputs > 1 ? m->n_inputs : 1, d = m->d_out / n;

	for (size_t f = 0; f < m->d_sae; f++) {
		const float *row = m->W_dec + f * m->d_out;
		double sum = 0;

		for (size_t i = 0; i < n; i++) {
			double squares = 0, scale = m->scales[i] > 0 ? m->scales[i] : 1;

			for (size_t j = i * d; j < (i + 1) * d; j++)
				squares += (double)row[j] * (double)row[j];
			out[f * n + i] = (float)(scale * sqrt(squares));
			sum += (double)out[f * n + i];
		}
		for (size_t i = 0; i < n && sum > 0; i++)
			out[f * n + i] = (float)(out[f * n + i] / sum);
	}
}
