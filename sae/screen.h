/* Screening: which features can be among those a row keeps, from products of 8-bit codes and a bound on their error.
 *
 * Encoder rows w and input rows x are turned by the same orthogonal transform (signs, then two rounds of 64-point Hadamard
 * transforms), which spreads large coordinates, and written as w = w' + r, x = x' + s, where w' and x' are 8-bit codes times
 * one factor a row. Then
 *     |<w, x> - <w', x'>| = |<w', s> + <r, x>| <= |w'| |s| + |r| |x|                              (Cauchy and Schwarz)
 * and the product of codes is exact in integers. What the bound cannot rule out is computed in FP32 (encode.c), so the set
 * kept is that of the plain FP32 dot products, whatever was screened out. The bound includes a term for the rounding of
 * FP32 sums, (d + 64) 2^-24 |w| |x|. With `statistical` the two terms are cut to 6 / sqrt(d) of themselves: after the turn
 * the errors behave like random directions, whose products have a standard deviation of |a| |b| / sqrt(d). */
#ifndef GLOSS_SAE_SCREEN_H
#define GLOSS_SAE_SCREEN_H

#include "base/base.h"
#include "sae/sae.h"
#include "sae/screen_set.h"

#define SCREEN_PANEL 16 /* features whose codes lie together */
#define SCREEN_ALIGN 64 /* dims and features are padded to a multiple of it */

/* Codes and bounds of all encoder rows. */
typedef struct screen {
	const screen_set *set;
	size_t d, d_pad, n_features, n_pad;
	float spread;    /* share of the bound that is used: 1, or 6 / sqrt(d) */
	float *signs;    /* (d_pad) */
	uint8_t *packed; /* (n_pad / 16, d_pad / 4, 16, 4): codes plus the set's offset */
	float *scale;    /* (n_pad) of the codes */
	float *bias;     /* (n_pad) */
	float *norm;     /* (n_pad) |w'|, times spread */
	float *lost;     /* (n_pad) |r|, times spread, with the share of rounding */
} screen;

/* Whether screening with so many features and values kept is faster than FP32 products. */
bool screen_pays(sae_screening how, const screen_set *set, size_t d, size_t n_features, size_t k);
/* All in `mem`; every feature is to be set with screen_weight() before use. ERR_NOMEM. */
int screen_init(screen *s, arena *mem, const screen_set *set, size_t d, size_t n_features, bool statistical,
                error *err) MUST_USE;
/* Feature f's encoder row (d) and bias. Features may be set by several threads at once. scratch: (d_pad). */
void screen_weight(screen *s, size_t f, const float *w, float bias, float *scratch);

/* Codes and bounds of the input rows of one tile. */
typedef struct screen_rows {
	size_t d_pad;
	int8_t *code;   /* (n, d_pad) */
	float *scale;   /* (n) of the codes */
	float *lost;    /* (n) |s| */
	float *norm;    /* (n) |x| */
	int32_t *start; /* (n, set->starts): takes the weights' offset off the sums */
	float *turned;  /* (d_pad) scratch */
} screen_rows;

int screen_rows_init(screen_rows *r, arena *mem, const screen *s, size_t n, error *err) MUST_USE;
/* Row t of the tile. */
void screen_row(screen_rows *r, const screen *s, size_t t, const float *x);
/* Row t becomes row `from`. */
void screen_row_copy(screen_rows *r, const screen *s, size_t t, size_t from);
/* Upper bounds of the pre-activations of features first..first+n_features-1 (first a multiple of 64) for rows 0..n-1:
 * out (n, stride), of which n_features rounded up to 64 are written. */
void screen_bounds(const screen *s, const screen_rows *r, size_t first, size_t n_features, size_t n,
                   float *out, size_t stride);

#define SCREEN_ROUNDING 2.4e-7f /* of a bias, when it is added in FP32 */

#endif
