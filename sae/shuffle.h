/* The order of training rows, a pure function of (seed, position), and a thread that reads batches in that order. */
#ifndef GLOSS_SAE_SHUFFLE_H
#define GLOSS_SAE_SHUFFLE_H

#include "sae/sae.h"

/* Position p is row p % n of pass p / n. In each pass the blocks of consecutive rows are permuted; `group` blocks at a
 * time are brought to memory, in file order, and the rows of a group permuted. */
typedef struct shuffle {
	uint64_t n, block, group; /* rows; rows of a block; blocks of a group */
	uint64_t n_blocks, n_groups;
	uint64_t seed;
} shuffle;

/* n rows of d floats. single_rows: blocks of one row instead of 64. */
void shuffle_init(shuffle *s, uint64_t n, uint32_t d, bool single_rows, uint64_t seed);
uint64_t shuffle_group_rows(const shuffle *s); /* rows of a group at most */

/* One group of one pass. */
typedef struct shuffle_group {
	uint64_t pass, number;
	uint64_t first, n; /* rows: first in the pass, how many */
	uint64_t n_blocks;
	uint64_t key; /* of the permutation of its rows */
} shuffle_group;

/* The group that holds position p. O(n_blocks). */
void shuffle_group_of(shuffle_group *g, const shuffle *s, uint64_t p);
/* Its blocks, ascending, into blocks[s->group]. */
void shuffle_group_blocks(const shuffle_group *g, const shuffle *s, uint64_t *blocks);
/* Which of the group's rows, as they lie in memory, is at place i < g->n of its order. */
uint64_t shuffle_group_row(const shuffle_group *g, uint64_t i);

/* Batches of training rows, read ahead by a thread of its own, groups in shares, a share a batch. Memory: one group in the
 * dump's dtype, two batches, and a few MB. The shards stay open: one that is deleted is read to the end all the same; one
 * that shrinks is an error of the batch that meets it, with its rows and its file, and of all later ones. */
typedef struct loader loader;
/* scales: what the rows of each dump side by side are multiplied by, the target's last; NULL: 1. */
int loader_new(loader **out, const sae_dump *d, const sae_rows *rows, const shuffle *s, uint32_t batch,
               uint64_t position, const float *scales, error *err) MUST_USE;
void loader_free(loader *l);
/* Bytes that a loader of these takes. */
int loader_bytes(uint64_t *bytes, const sae_dump *d, const shuffle *s, uint32_t batch, error *err) MUST_USE;
/* The next batch (batch, d) as raw F32, and the target's rows (batch, its width), NULL where there is none; y may be NULL. The
 * caller may write to them, until the next call. */
int loader_next(loader *l, float **x, float **y, error *err) MUST_USE;

#endif
