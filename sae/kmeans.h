/* Centres of rows: greedy k-means++ and Lloyd's steps, for starts of dictionaries. */
#ifndef GLOSS_SAE_KMEANS_H
#define GLOSS_SAE_KMEANS_H

#include "sae/kernels.h"
#include "sae/sae.h"

#define KMEANS_PASSES 5
/* How many rows of a sample to fit so many centres to: 4 each, 8,192 at least, 65,536 at most. */
size_t kmeans_rows(size_t n_centres);

/* centres (n_centres, d) of rows x (n, d), n >= 1, finite. First by k-means++ (Arthur and Vassilvitskii 2007): rows drawn in proportion to
 * their squared distance from the nearest centre so far, the best of several draws (as many as 2^33 products allow, 1 to 32). The first
 * centres are drawn one by one, later ones in rounds of an eighth of those that are there. Then `passes` of Lloyd's steps at most, fewer where no row
 * changes its centre. Centres that no row is nearest to stay where they are. Rows fewer than centres: some centres are the same row.
 * The same bits at any thread count. ERR_NOMEM. */
int kmeans_fit(float *centres, size_t n_centres, const float *x, size_t n, size_t d, unsigned passes,
               uint64_t seed, const kernels *k, pool *p, error *err) MUST_USE;

#endif
