/* Codes of a tile over the dead features alone, for AuxK. Their values are those of the FP32 products: exact sums in a
 * fixed order would cost k_aux more dot products a row, and nothing is to be compared with them. */
#ifndef GLOSS_SAE_DEAD_H
#define GLOSS_SAE_DEAD_H

#include "sae/kernels.h"
#include "sae/sae.h"

#define DEAD_FEATURES 1024 /* features of one product: part of the result's last bits */

typedef struct dead_scratch {
	size_t tokens, room;
	float *pre;         /* (tokens, DEAD_FEATURES) */
	float *rows, *bias; /* (DEAD_FEATURES, d) encoder rows brought together; (DEAD_FEATURES) */
	uint32_t *index;    /* (tokens, room) */
	float *value;
	size_t *count;
	float *above; /* (tokens): candidates must be over it */
} dead_scratch;

typedef struct dead_job {
	const kernels *k;
	const float *weights, *bias; /* (F, d), (F) */
	const uint32_t *dead;        /* (n_dead) ascending */
	size_t n_dead, d, width;
} dead_job;

int dead_scratch_init(dead_scratch *s, arena *mem, size_t tokens, size_t d, size_t width,
                      error *err) MUST_USE;
/* The `width` largest positive pre-activations among the dead features of each of n rows of x (n, d), as encode_tile(). */
void dead_tile(dead_scratch *s, const dead_job *j, const float *x, size_t n, uint32_t *count, uint32_t *index,
               float *value);

#endif
