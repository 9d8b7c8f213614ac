/* Dead features begun anew at rows of a batch that are explained badly, by dictionary_learning's rule: encoder row the row (as the encoder takes it: less
 * b_dec, but for raw inputs) over the root mean square of the batch's, times RESAMPLE_SHARE times the mean norm of living encoder rows, decoder row its direction,
 * bias 0, no moments.
 * With targets, of which that rule knows nothing: the encoder row is the input less the batch's mean, since nothing has been taken off it,
 * and the bias takes that mean off; the decoder row is the direction of the error that the chosen row's target is left with, and has the
 * mean norm of the living. The target's own direction would add again what others explain already. */
#ifndef GLOSS_SAE_RESAMPLE_H
#define GLOSS_SAE_RESAMPLE_H

#include "base/base.h"
#include "sae/kernels.h"

#define RESAMPLE_SHARE 0.2 /* of the mean norm of living encoder rows */

/* `count` of n rows drawn without replacement, the probability of each draw proportional to weight (n), 0 or more: rows[i] in the order
 * drawn. Rows of weight 0 come last. count <= n. key: room (n). A function of weights and seed alone. */
void resample_choose(uint32_t *rows, size_t count, const double *weight, size_t n, uint64_t seed,
                     double *key);

/* Where features begin: a batch as a step leaves it. */
typedef struct resample_batch {
	const kernels *k;
	const float *x,
	        *e; /* (n, d) as the encoder takes them, (n, d_out) what their targets are left with */
	size_t n, d, d_out;
	bool pairs;   /* with targets */
	double *loss; /* (n) */
	double *mean; /* (d) */
} resample_batch;

/* Norms of errors into b->loss, with targets the mean input into b->mean, else 0. Returns the root mean square norm of inputs less it. */
double resample_measure(const resample_batch *b);
/* Encoder and decoder row of a feature that begins at a row of the batch: encoder_scale times it, and a direction with that norm; where
 * there is no direction, the old decoder row stays. Returns the bias. */
double resample_begin(float *enc, float *dec, const resample_batch *b, size_t row, double encoder_scale,
                      double decoder_norm);

#endif
