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
/* One scan for all `features` (n). n_marked, n_tokens: marked tokens, and all that count; only those may be marked. */
int find_score_features(find_score *out, const uint32_t *features, size_t n, const find_marks *marks,
                        uint64_t n_marked, uint64_t n_tokens, store *s, int64_t source, error *err) MUST_USE;

#endif
