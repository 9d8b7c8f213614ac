/* The rule of a codebook (sae.h, SAE_CODEBOOK) as one encoder a group, which sees its part of a row: TopK, whose weights are the codes at
 * norm 1, or the codes themselves with the bias -|c|^2 / 2. Training (codebook.c) and encoding (codes.c) have it in common. */
#ifndef GLOSS_SAE_CODEBOOK_CODER_H
#define GLOSS_SAE_CODEBOOK_CODER_H

#include "sae/encode.h"

typedef struct codebook_coder {
	size_t groups, n, d; /* of a group: codes, values */
	bool euclidean;
	const kernels *k;
	float *weights;   /* (groups * n, d) */
	float *bias;      /* (groups * n) */
	encode_aid *aids; /* (groups) */
	encode_job *jobs; /* (groups) */
} codebook_coder;

/* All in `mem`. width: codes kept of a group, at most. d, n_codes: of all groups, multiples of their number. */
int codebook_coder_init(codebook_coder *c, arena *mem, const kernels *k, sae_screening how, uint32_t d,
                        uint32_t n_codes, uint32_t groups, uint32_t width, bool euclidean, unsigned threads,
                        error *err) MUST_USE;
/* Code f is now that (d of a group). From any worker; prepare when all are set. */
void codebook_coder_set(const codebook_coder *c, size_t f, const float *code, unsigned worker);
void codebook_coder_prepare(codebook_coder *c, uint32_t width);

#endif
