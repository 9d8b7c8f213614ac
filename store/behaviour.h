/* What each feature does on the contexts of a joint scan, hashed: for duplicates.c. */
#ifndef GLOSS_STORE_BEHAVIOUR_H
#define GLOSS_STORE_BEHAVIOUR_H

#include "store/joint_scan.h"

typedef struct behaviour {
	uint32_t source, feature; /* source: index of the scan's part */
	uint32_t fires;
	float max;
	double squares;   /* sum of */
	uint64_t where;   /* hash of the tokens on which it fires */
	uint64_t simhash; /* signs of 64 random projections of its activations */
	uint64_t
	        key; /* hash of tokens and activations in sixteenths of the largest; by behaviour_compare() */
} behaviour;

/* Two behaviours that may be one. */
typedef struct behaviour_pair {
	uint32_t a, b;    /* a < b */
	uint8_t distance; /* bits in which their simhashes differ */
	bool same_where;
	float apart; /* largest difference of activations as shares of the largest, where both fire; by behaviour_compare() */
	double dot; /* of the activations; by behaviour_compare() */
} behaviour_pair;

/* Places and tokens that count. */
typedef struct behaviour_places {
	uint32_t contexts;
	uint64_t tokens;
} behaviour_places;

/* Of every feature that fires on min_fires tokens or more, by source and feature; *out (n) malloc'd. Runs through the scan. */
int behaviour_read(behaviour **out, size_t *n, behaviour_places *places, joint_scan *scan, uint32_t min_fires,
                   error *err) MUST_USE;
/* Fill in what pairs (n_pairs, by a) and their behaviours (n, as behaviour_read() gave them) lack. Runs through the scan
 * again. */
int behaviour_compare(behaviour_pair *pairs, size_t n_pairs, behaviour *list, size_t n, joint_scan *scan,
                      error *err) MUST_USE;

#endif
