/* Adam with moments of 8 bits, for weights whose state would not fit: 2.125 bytes a weight where FP32 takes 8.
 *
 * A row's moments are held in blocks of ADAM8_BLOCK values, the last one short, with two float scales a block: `top`, the
 * largest |m| of the block, and `root`, the largest sqrt(v). A stored value q stands for
 *	m = top * sign(q) (q / 127)^2        q in -127..127
 *	v = (root (q / 255)^2)^2             q in 0..255
 * so steps are fine where values are small: sqrt(v), which divides, is told down to 1/65025 of the block's largest. Blocks
 * lie inside a row because a row's values share their history of firings; across rows they differ by orders.
 *
 * Each step: moments are decoded, moved by the gradient, used for the step as FP32, and encoded. Encoding rounds up or down at
 * random with the odds that make it right on average: rounding to nearest would hold v still for ever where a step moves it
 * by 0.1 %. The random numbers are a hash of (seed, place in the row), so the same call gives the same bits, on any thread
 * and with any kernels. Two guards: v over 0 is never stored as 0, and |m| counts as no more than ADAM's own bound times
 * sqrt(v), (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2)) (7.3 for 0.9 and 0.999), which exact moments cannot pass.
 *
 * A training step (step.c) holds a matrix (F, d) as int8_t (F, d), uint8_t (F, d) and float (F, ADAM8_SCALES(d)), all zero at the
 * start; biases stay FP32. A feature without a gradient passes g = NULL for zeros: the scales alone move, nothing is rounded. */
#ifndef GLOSS_SAE_ADAM8_H
#define GLOSS_SAE_ADAM8_H

#include "sae/kernels.h"

#define ADAM8_BLOCK     64
#define ADAM8_SCALES(n) (2 * (((n) + ADAM8_BLOCK - 1) / ADAM8_BLOCK))

typedef struct adam8_coef {
	adam_coef a;
	float most; /* |m| / sqrt(v) at most */
} adam8_coef;

adam8_coef adam8_coef_of(const adam_coef *c);
/* Of step t (from 1) and a number that no other row has. */
uint32_t adam8_seed(uint64_t t, uint64_t row);

typedef struct adam8_kernels {
	const char *name;
	/* One step of n weights. scales: {top, root} of each block. All sets give the same bits. */
	void (*row)(float *w, int8_t *m, uint8_t *v, float *scales, const float *g, size_t n,
	            const adam8_coef *c, uint32_t seed);
} adam8_kernels;
extern const adam8_kernels adam8_scalar, adam8_avx2, adam8_avx512;
/* The table called `name`, or for NULL the best this CPU runs; NULL when it cannot run it. */
const adam8_kernels *adam8_get(const char *name);

/* For the sets: one block of ADAM8_BLOCK values; shorter ones are filled up with zeros by adam8_blocks(). g may be NULL. */
typedef void adam8_block_step(float *w, int8_t *m, uint8_t *v, float scales[2], const float *g,
                              const adam8_coef *c, uint32_t seed);
void adam8_blocks(adam8_block_step *block, float *w, int8_t *m, uint8_t *v, float *scales, const float *g,
                  size_t n, const adam8_coef *c, uint32_t seed);
/* 1 / scale; 0 for scales too small to divide by, whose block is then stored as zeros. */
float adam8_inverse(float scale);

#endif
