/* Dead features begun anew at rows that are explained badly, by dictionary_learning's rule. */
#ifndef GLOSS_SAE_RESAMPLE_H
#define GLOSS_SAE_RESAMPLE_H

#include "base/base.h"

#define RESAMPLE_SHARE 0.2 /* of the mean norm of living encoder rows */

/* `count` of n rows drawn without replacement, the probability of each draw proportional to weight (n), 0 or more: rows[i] in the order
 * drawn. Rows of weight 0 come last. count <= n. key: room (n). A function of weights and seed alone. */
void resample_choose(uint32_t *rows, size_t count, const double *weight, size_t n, uint64_t seed,
                     double *key);

#endif
