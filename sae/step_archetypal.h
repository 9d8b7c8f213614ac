/* Archetypal decoder (Fel et al. 2025, arXiv 2502.12892; overcomplete's RelaxedArchetypalDictionary) in place of free decoder rows:
 *   D = exp(m) (W C + R),   W (F, N) row-stochastic, C (N, d) points of the data, fixed, |R_f| <= delta, one m for all.
 * W, R and m take Adam's steps by the chain rule from the gradient g of a decoder row: dL/dW_f = exp(m) C g, dL/dR_f = exp(m) g,
 * dL/dm = sum of <g, D_f>. Then, as there, W is cut at 0 and its rows are divided by their sums, and R is brought to its limit.
 * Decoder rows have no norm of their own, and no part of their gradients is removed.
 * Points and delta are given for scaled rows and divided by sqrt(d), so that decoder rows are of norms about 1, as elsewhere; a constant factor of D, which
 * the values take up. W starts with one point a feature, features past the N-th with two. */
#ifndef GLOSS_SAE_STEP_ARCHETYPAL_H
#define GLOSS_SAE_STEP_ARCHETYPAL_H

#include "base/base.h"

typedef struct step_archetypal {
	size_t n_points;
	float delta;
	float *points;              /* (N, d) */
	float *mix, *mix_m, *mix_v; /* (F, N) W and its moments */
	float *relax;               /* (F, d) R; its moments are those of W_dec */
	float *scale;               /* (3): m and its moments */
	float *grads;               /* (threads, N) */
	double *slopes;             /* (blocks): gradients of m */
} step_archetypal;

struct step;
struct step_config;
struct fitter_arrays;
/* For s->c.archetypal points; all zero. */
int step_archetypal_init(struct step *s, error *err) MUST_USE;
/* Points (N, d) of scaled rows, from which b_dec is taken off. W, the decoder and the encoder's directions follow. */
void step_archetypal_start(struct step *s, const float *points, uint64_t seed);
uint64_t step_archetypal_start_bytes(const struct step_config *c); /* what the next takes beside the rows */
/* The same with the centroids of sample rows (n, d). ERR_NOMEM. */
int step_archetypal_begin(struct step *s, const float *rows, size_t n, uint64_t seed, error *err) MUST_USE;
void step_archetypal_state(const struct step *s, struct fitter_arrays *list);
/* One step of feature f's decoder row with the gradient grad (d), which is overwritten. */
void step_archetypal_row(struct step *s, unsigned worker, size_t block, size_t f, float *grad);
/* The step of m, behind all rows. */
void step_archetypal_end(struct step *s);

#endif
