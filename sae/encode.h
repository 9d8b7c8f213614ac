/* A tile of tokens to its sparse codes. Pre-activations exist only for one tile and one block of features at a time. */
#ifndef GLOSS_SAE_ENCODE_H
#define GLOSS_SAE_ENCODE_H

#include "sae/kernels.h"
#include "sae/sae.h"

/* The products' shapes decide the last bits of a pre-activation: constants, never derived from caches or threads. */
#define ENCODE_FEATURES 1024 /* features of one product */

typedef struct encode_job {
	const kernels *k;
	const float *weights;   /* (F, d) */
	const float *bias;      /* (F) */
	const uint32_t *subset; /* features that take part, ascending; NULL: all */
	size_t n_features;      /* of the subset, or F */
	size_t d, width;        /* width: features kept a token */
} encode_job;

/* One worker's memory for tiles of up to `tokens` rows. */
typedef struct encode_scratch {
	size_t tokens, room; /* room: candidates a token */
	float *pre;          /* (tokens, ENCODE_FEATURES) */
	float *gathered;     /* (ENCODE_FEATURES, d) and bias of a subset; NULL: not asked for */
	float *gathered_bias;
	uint32_t *index; /* (tokens, room) */
	float *value;
	size_t *count;                          /* (tokens) */
	float *above;                           /* (tokens): candidates must be over it */
	double product_seconds, select_seconds; /* spent so far, for the benchmark */
} encode_scratch;

/* All in `mem`. subset: whether jobs with a subset will come. */
int encode_scratch_init(encode_scratch *s, arena *mem, size_t tokens, size_t d, size_t width, bool subset,
                        error *err) MUST_USE;

/* The `width` largest positive pre-activations of each of n <= s->tokens rows of x (n, d), b_dec already taken off;
 * row i holds count[i] pairs at i * width, by feature ascending. Ties at the last rank: the lower feature. */
void encode_tile(encode_scratch *s, const encode_job *j, const float *x, size_t n, uint32_t *count,
                 uint32_t *index, float *value);

/* Products are cut into tiles here, so OpenBLAS must not start threads of its own. Once for the process. */
void encode_blas_single_threaded(void);

#endif
