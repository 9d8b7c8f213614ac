/* The geometric median of rows, where some tools start b_dec. */
#ifndef GLOSS_SAE_MEDIAN_H
#define GLOSS_SAE_MEDIAN_H

#include "base/base.h"

/* out (d): the point with the least sum of distances from rows x (n, d), n 1 or more. Weiszfeld's iteration from the mean, at most 100
 * times or until it moves by less than 1e-5, as dictionary_learning has it; FP64, the same bits at any thread count. ERR_NOMEM. */
int geometric_median(double *out, const float *x, size_t n, size_t d, pool *p, error *err) MUST_USE;

#endif
