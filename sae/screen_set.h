/* The 8-bit kernels of screening (screen.h), once plainly and once for each instruction set. Sets differ in the codes they
 * use, so in what they screen out, never in what is kept in the end. */
#ifndef GLOSS_SAE_SCREEN_SET_H
#define GLOSS_SAE_SCREEN_SET_H

#include <stddef.h>
#include <stdint.h>

#define SCREEN_MAX_DIMS 32768 /* sums of products of codes fit in 32 bits up to there */

/* Upper bounds of a tile: out (n, stride) = scale row_scale <codes, codes> + bias + norm row_lost + lost row_norm. */
typedef struct screen_product {
	const uint8_t *weights;                       /* (n_features / 16, d / 4, 16, 4), the offset added */
	const float *scale, *bias, *norm, *lost;      /* (n_features) */
	size_t n_features, d;                         /* multiples of 64 */
	const int8_t *rows;                           /* (n, d) */
	const float *row_scale, *row_lost, *row_norm; /* (n) */
	const int32_t *start;                         /* (n, starts(d)) */
	size_t n;
	float *out;
	size_t stride;
} screen_product;

typedef struct screen_set {
	const char *name;
	int offset;     /* makes a weight's code unsigned */
	int weight_max; /* greatest code of a weight; of a row 127 */
	/* Where sums are held in 16 bits for 64 dims at a time: what the norms of a lane's share of a weight's and of a row's
	 * codes may be, so that no such sum overflows. 0 with lane_norm NULL: sums have 32 bits. */
	float weight_lane, row_lane;
	/* x (n) times signs, then 64-point Hadamard transforms of neighbours and of strided parts, each scaled to keep norms. */
	void (*turn)(float *x, const float *signs, size_t n);
	float (*max_abs)(const float *x, size_t n);
	void (*code)(int8_t *out, const float *x, size_t n, float scale); /* x / scale, rounded to even */
	float (*code_norm)(const int8_t *code, size_t n);
	float (*code_error)(const int8_t *code, const float *x, size_t n, float scale); /* |x - scale code| */
	float (*lane_norm)(const int8_t *code, size_t n);                               /* the greatest */
	size_t (*starts)(size_t d); /* words of start for a row */
	void (*start)(int32_t *out, const int8_t *code, size_t d);
	void (*product)(const screen_product *p);
} screen_set;

extern const screen_set screen_scalar, screen_avx2, screen_vnni;

#endif
