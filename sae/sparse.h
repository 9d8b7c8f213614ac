/* The sparse codes of a batch with their gradients, row by row and feature by feature. */
#ifndef GLOSS_SAE_SPARSE_H
#define GLOSS_SAE_SPARSE_H

#include "sae/sae.h"

typedef struct sparse_batch {
	size_t n, width, n_features; /* n: rows at most */
	size_t tile, n_tiles;        /* rows of a tile */
	uint32_t *count;             /* (n) */
	size_t *begin;               /* (n): where a row's entries are; at first i * width */
	uint32_t *index;             /* (n * width), ascending in a row */
	float *value, *grad; /* (n * width); grad: of the loss by the value, short of a common factor */
	/* by feature, rows ascending: entries first[f]..first[f + 1]-1 */
	uint32_t *first;           /* (F + 1) */
	uint32_t *row;             /* (n * width) */
	float *by_value, *by_grad; /* (n * width) */
	uint32_t *
	        entry; /* (n * width), or NULL: where the entry is among those by row; whoever wants it, brings the room */
	uint32_t *block_entries; /* (blocks of features): how many, then where the first is */
	uint32_t *place;         /* (tiles, F): where a tile's next entry of a feature goes */
	size_t rows;             /* of the batch being transposed */
} sparse_batch;

/* All in `mem`. n * width must be under 2^32. */
int sparse_init(sparse_batch *s, arena *mem, size_t n, size_t width, size_t n_features, size_t tile,
                error *err) MUST_USE;
/* Fill the lists by feature from the first `rows` rows. The same at any thread count. */
void sparse_transpose(sparse_batch *s, size_t rows, pool *p);

#endif
