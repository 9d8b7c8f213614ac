/* Co-firing of two sources: their firings on common contexts, in memory (compare_firings.c), for compare.c. */
#ifndef GLOSS_STORE_COMPARE_H
#define GLOSS_STORE_COMPARE_H

#include "store/query_internal.h"

#define NONE            UINT32_MAX
#define COMPARE_NEAREST 16
#define COMPARE_PARTS   8

/* For each feature the features of the other side with the largest firing cosine, best first; equal ones by number. */
typedef struct compare_nearest {
	uint32_t *ids;    /* (F, COMPARE_NEAREST); NONE behind the last */
	uint32_t *common; /* tokens on which both fire */
	float *cosine;    /* common / sqrt(fires * fires) */
} compare_nearest;

/* Firings over the common tokens, by token and by feature. */
typedef struct compare_side {
	store *s;
	const char *name;
	store_source source;
	uint32_t n_features;
	size_t *by_token;  /* (tokens + 1) */
	uint32_t *feature; /* of each firing, by token; ascending within one */
	float *value;
	size_t *by_feature; /* (F + 1) */
	uint32_t *token;    /* of each firing, by feature; ascending */
	float *token_value;
	size_t n_firings, token_cap, feature_cap, value_cap;
	compare_nearest nearest;
} compare_side;
uint32_t compare_fires(const compare_side *side, uint32_t f);
void compare_side_clear(compare_side *side);

typedef struct compare_places {
	uint32_t n_contexts, n_tokens;
	uint32_t *begin; /* (n_contexts + 1): tokens of each context */
	size_t begin_cap;
	bool all_used; /* not: there were more common contexts than fit */
} compare_places;
void compare_places_clear(compare_places *p);
/* The tokens that count for both, of contexts with stored firings of both. */
int compare_places_read(compare_places *p, compare_side side[2], error *err) MUST_USE;
/* shifted: the other side's firings at a token are those at the same place of the next context, as by chance. */
int compare_nearest_find(compare_nearest *n, const compare_places *p, const compare_side side[2], int s,
                         bool shifted, error *err) MUST_USE;

typedef struct compare_pair {
	double cosine, jaccard; /* of the sets of tokens on which they fire; NaN where one never does */
	double correlation; /* Pearson's, of activations over all common tokens; NaN where one is constant */
} compare_pair;
void compare_measure(compare_pair *out, const compare_places *p, const compare_side side[2], uint32_t a,
                     uint32_t b);
/* Tokens of feature f on which some of the other side's `parts` fire. */
uint32_t compare_covered(const compare_side *side, const compare_side *other, uint32_t f,
                         const uint32_t *parts, uint32_t n);

#endif
