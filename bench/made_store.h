/* Stores of a wanted size for bench_store: distinct text and made-up codes, through the same index pass as real ones. */
#ifndef GLOSS_BENCH_MADE_STORE_H
#define GLOSS_BENCH_MADE_STORE_H

#include "base/base.h"

enum { MADE_L0 = 32, MADE_CTX = 256 };

typedef struct made_store {
	uint32_t features, d_in; /* d_in: width of the decoder rows */
	uint64_t tokens;         /* in contexts of MADE_CTX, none twice */
} made_store;

typedef struct made_times {
	double pass, all; /* seconds: making codes and adding them; that and writing */
} made_times;

/* Make the store at `path`, with one source. Its tokens follow the pairs of neighbouring tokens of a real dump, that in the folder
 * GLOSS_DATA or the demo's, with that folder's tokenizer.json. On each token MADE_L0 features fire: 18 chosen by the token, 8 by the one
 * before it, 6 at random; a few often, most rarely. Directions, neighbours and logits are random; every second feature has a label,
 * every fourth a score. ERR_EXISTS. */
int made_store_write(made_times *out, const char *path, const made_store *m, error *err) MUST_USE;

#endif
