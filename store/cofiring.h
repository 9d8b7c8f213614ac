/* What fires on the same tokens as a feature: `feature_detail.cofiring`, over the firings of the random contexts. */
#ifndef GLOSS_STORE_COFIRING_H
#define GLOSS_STORE_COFIRING_H

#include "store/store_internal.h"

enum { COFIRING_KEPT = 10, COFIRING_MEMORY = 96 << 20 };

typedef struct cofiring_partner {
	uint32_t feature, common; /* common: tokens on which both fire */
} cofiring_partner;

/* Partners of all features of a source: those of largest cosine = common / sqrt(tokens of the one * tokens of the other), of equal
 * ones the lower feature; exact, over all pairs of features. */
typedef struct cofiring {
	uint32_t n_features;    /* 0: not computed */
	uint32_t *fires;        /* (F) tokens of the random contexts on which it fires */
	uint8_t *n;             /* (F) partners found */
	cofiring_partner *best; /* (F, COFIRING_KEPT), the first n[f] of each, strongest first */
} cofiring;

/* Of the rows that `firing` has of the source's random contexts. Memory beyond *out: so many bytes, and 4 a token of these contexts
 * and 12 a feature; with less, more passes over the rows. Not computed where they have over 2^24 tokens or 2^27 firings (where a 16th of all features fires on a token: 2^32 of tokens times
 * features). */
int cofiring_find(cofiring *out, store *s, int64_t source, uint32_t n_features, size_t memory,
                  error *err) MUST_USE;
void cofiring_clear(cofiring *c);
/* The JSON of one feature added to `t`; ERR_NOMEM. */
int cofiring_write(text *t, const cofiring *c, uint32_t feature) MUST_USE;

#endif
