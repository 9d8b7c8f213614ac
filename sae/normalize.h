/* What is done to rows before the steps, and undone in the model that comes of them.
 * Steps get s g(x): s a number, their input_scale; g the row as it is, less the mean, whitened, or normalised by itself. */
#ifndef GLOSS_SAE_NORMALIZE_H
#define GLOSS_SAE_NORMALIZE_H

#include "sae/checkpoint.h"

#define NORMALIZE_EPS 1e-3 /* added to the variances that whitening divides by (SAELens) */

typedef struct normalize {
	sae_normalize kind;
	uint32_t d;
	double scale; /* s, a float's value; 0 before normalize_fit() */
	double *mean; /* (d) SAE_NORMALIZE_CENTER, _WHITEN; else NULL */
	double *whiten; /* (d, d) C^(-1/2), symmetric: g(x) = whiten (x - mean); SAE_NORMALIZE_WHITEN, else NULL */
	double *colour; /* (d, d) its inverse */
	float *product; /* (d, d) whiten in FP32 */
	float *room;    /* (threads, NORMALIZE_TILE, d) */
} normalize;
enum { NORMALIZE_TILE = 64 };

/* Room for all of it; 0 is asked for where rows are only scaled. */
int normalize_init(normalize *n, sae_normalize kind, uint32_t d, unsigned threads, error *err) MUST_USE;
void normalize_clear(normalize *n);
uint64_t normalize_bytes(const normalize *n);
/* Rows of the sample that normalize_fit() wants; 0: sums over them do. */
size_t normalize_sample_rows(sae_normalize kind);
/* Mean, whitening and scale from a sample (n_rows, d), which becomes g of it; FP64, sums in the rows' order. ERR_NOMEM; ERR_FORMAT: its
 * covariance has no eigenvalues. */
int normalize_fit(normalize *n, float *rows, size_t n_rows, pool *p, error *err) MUST_USE;
/* From the sums of n_rows rows' norms and squares, where rows are only scaled. */
void normalize_fit_sums(normalize *n, double norms, double squares, uint64_t n_rows);
/* x (n_rows, d) becomes g of it, not yet scaled. The same bits at any thread count. */
void normalize_rows(normalize *n, float *x, size_t n_rows, pool *p);
/* A model on s g(x) becomes one on x: folded into the weights, thresholds and pre-activations stay; what cannot be folded becomes its
 * `norm`. ERR_NOMEM. */
int normalize_fold(const normalize *n, sae_model *m, error *err) MUST_USE;
/* Arrays that a checkpoint needs, at most NORMALIZE_ARRAYS; returns how many. */
enum { NORMALIZE_ARRAYS = 3 };
size_t normalize_state(const normalize *n, checkpoint_array out[NORMALIZE_ARRAYS]);
/* After they are read: what follows from them. */
void normalize_restored(normalize *n);

#endif
