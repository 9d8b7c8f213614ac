/* Matrices turned: their rows become columns. */
#ifndef GLOSS_SAE_TURN_H
#define GLOSS_SAE_TURN_H

#include "base/base.h"

#define TURN_ROWS 32 /* at a time: two lines of the cache in each row of what comes out */

/* out[j * out_pitch + i] = in[i * in_pitch + j] for i < rows, j < columns. What comes out is best written to, not read, next: on its way to
 * memory it passes the cache by where out and out_pitch are aligned to 32 bytes. */
void turn_floats(float *out, size_t out_pitch, const float *in, size_t in_pitch, size_t rows, size_t columns);

/* The same with rows <= TURN_ROWS, by its scalar definition and with AVX2. */
typedef struct turn_kernels {
	const char *name;
	void (*turn)(float *out, size_t out_pitch, const float *in, size_t in_pitch, size_t rows,
	             size_t columns);
} turn_kernels;
extern const turn_kernels turn_scalar, turn_avx2;
/* The table called `name`, or for NULL the best this CPU runs; NULL when it cannot run it. */
const turn_kernels *turn_kernels_get(const char *name);

#endif
