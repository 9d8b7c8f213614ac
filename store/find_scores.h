/* How well a feature's activation tells marked tokens from the others, over all stored firings of a source. */
#ifndef GLOSS_STORE_FIND_SCORES_H
#define GLOSS_STORE_FIND_SCORES_H

#include "store/query_internal.h"

/* A bit a token, context after context in the order of a firing_scan. */
typedef struct find_marks {
	unsigned char *bits;
	size_t n, cap; /* bytes */
} find_marks;
int find_marks_add(find_marks *m, const bool *marked, uint32_t n_tokens, error *err) MUST_USE;
void find_marks_clear(find_marks *m);

/* "activation >= threshold" has the best F1 of all thresholds (of equal ones the highest), with its precision and recall.
 * auroc: the chance that the activation is higher on a marked token than on another one, ties half; silent is 0. NaN: not
 * defined. */
typedef struct find_score {
	double threshold, precision, recall, f1, auroc;
} find_score;
/* Of one value that marked tokens have, a level. */
typedef struct find_level {
	uint32_t marked, equal,
	        above; /* marked tokens; others of this value; others between it and the next higher level */
} find_level;
/* From the values over 0 of one feature: as they are on marked tokens, as minus them on others; their order is lost. marked,
 * tokens: marked tokens, and all. scratch (n). */
find_score find_score_of(float *values, size_t n, double marked, double tokens, find_level *scratch);

typedef struct find_feature {
	uint32_t feature;
	uint64_t fires; /* on tokens that count */
	find_score score;
} find_feature;
/* Fill in the scores of `features` (n): one scan for as many as have max_values firings together. ERR_FORMAT: one has more firings
 * than it says. */
int find_score_features(find_feature *features, size_t n, const find_marks *marks, uint64_t n_marked,
                        uint64_t n_tokens, uint64_t max_values, store *s, int64_t source,
                        error *err) MUST_USE;

#endif
