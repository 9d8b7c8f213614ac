/* The strongest values of each row of a product, as they come block after block. */
#ifndef GLOSS_SAE_RANKED_H
#define GLOSS_SAE_RANKED_H

#include "sae/kernels.h"
#include "sae/sae.h"

/* Lists that fill: filled[row] entries of each are there. */
typedef struct ranked_lists {
	const kernels *k;
	sae_ranked r;
	uint32_t *filled; /* (rows) */
} ranked_lists;
/* filled in `mem`; r is the caller's to free. */
int ranked_lists_init(ranked_lists *l, arena *mem, uint32_t n_rows, uint32_t n, error *err) MUST_USE;

#define RANKED_NO_ID UINT32_MAX

/* Offer values (n) of ids first, first + 1, ... to the lists of a row: to `high` the largest, to `low` (NULL: none) the least. Blocks of
 * a row come by ascending id; of equal values the lower id stays. Id `self` is left out. NaN gets into no list. */
void ranked_offer(ranked_lists *high, ranked_lists *low, uint32_t row, uint32_t first, const float *values,
                  uint32_t n, uint32_t self);

#endif
