/* Intervals and groupings behind the published scores. */
#ifndef GLOSS_EXPLAIN_STATS_H
#define GLOSS_EXPLAIN_STATS_H

#include <stddef.h>
#include <stdint.h>

typedef struct stats_rate {
	uint32_t hits, n;
	double value, low, high; /* NaN when n is 0 */
} stats_rate;

/* hits / n with the Wilson score interval, 95 % (Wilson 1927). */
stats_rate stats_wilson(uint32_t hits, uint32_t n);

typedef struct stats_balanced {
	stats_rate tpr, tnr;     /* of firing windows, of silent windows */
	double value, low, high; /* balanced accuracy; NaN when either kind is missing */
} stats_balanced;

/* Balanced accuracy (tpr + tnr) / 2. Its interval joins the two Wilson intervals by the squares of their one-sided widths
 * (MOVER: Newcombe 1998, method 10, for a sum of independent proportions). */
stats_balanced stats_balanced_accuracy(uint32_t true_positive, uint32_t n_positive, uint32_t true_negative,
                                       uint32_t n_negative);

/* Decile of item i of n items sorted from strongest (0) to weakest (n - 1): 0..9, equal counts up to rounding. */
unsigned stats_decile(size_t i, size_t n);

/* Indices of `want` items out of n spread evenly over the sorted order, ascending and distinct, all n when want >= n.
 * out (min(want, n)); returns how many. */
size_t stats_spread(size_t *out, size_t want, size_t n);

#endif
