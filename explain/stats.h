/* Intervals and groupings behind the published scores. */
#ifndef GLOSS_EXPLAIN_STATS_H
#define GLOSS_EXPLAIN_STATS_H

#include "base/base.h"

typedef struct stats_rate {
	uint32_t hits, n;
	double value, low, high; /* NaN when n is 0 */
} stats_rate;

/* Of the normal distribution: what |z| stays below with this probability, 0 < level < 1. 1.96 for 0.95. */
double stats_z(double level);

/* hits / n with the Wilson score interval (Wilson 1927) of that level. */
stats_rate stats_wilson(uint32_t hits, uint32_t n, double level);

typedef struct stats_balanced {
	stats_rate tpr, tnr;     /* of firing windows, of silent windows */
	double value, low, high; /* balanced accuracy; NaN when either kind is missing */
} stats_balanced;

/* Balanced accuracy (tpr + tnr) / 2. Its interval joins the exact ones of both rates (Clopper and Pearson 1934) by the squares of
 * their one-sided widths (MOVER: Newcombe 1998, method 10, for a sum of independent proportions). */
stats_balanced stats_balanced_accuracy(uint32_t true_positive, uint32_t n_positive, uint32_t true_negative,
                                       uint32_t n_negative, double level);

/* Of how often a positive's grade is over a negative's, ties counting half: the area under the ROC curve. */
typedef struct stats_value {
	double value, low, high; /* NaN when there are none of a kind */
} stats_value;
double stats_area(const double *positive, size_t n, const double *negative, size_t m); /* the value alone */
/* grades: positive (n), negative (m). The interval is that of a bootstrap by strata (positives and negatives apart), from
 * percentiles, seeded; where all or nearly all pairs are in order, which no resample can show to be chance, it is at least as
 * wide as Newcombe's (2006, method 5). ERR_NOMEM. */
int stats_auroc(stats_value *out, const double *positive, size_t n, const double *negative, size_t m,
                double level, uint64_t seed, error *err) MUST_USE;

/* ---- Of several features (relate.c) ------------------------------------------------------------------------------------- */

/* The mean of (n) values with Student's interval; low and high NaN where n < 2. */
typedef struct stats_mean {
	size_t n;
	double value, low, high, deviation; /* deviation: of one value, divided by n - 1 */
} stats_mean;
stats_mean stats_mean_of(const double *x, size_t n, double level);
/* What |t| stays below with this probability, with v >= 1 degrees of freedom. */
double stats_t(double level, size_t v);
/* The value that a share of (n) values sorted ascending is at or below, by interpolation; NaN: there are none. */
double stats_quantile(const double *sorted, size_t n, double share);
void stats_sort(double *x, size_t n); /* ascending */

/* How (n) pairs go together: Pearson's correlation, and Spearman's, of ranks, equal values sharing one. Intervals by Fisher's
 * transformation (Spearman's with the variance of Fieller, Hartley and Pearson 1957); NaN for fewer than 4 pairs, or where a side does not
 * vary; no interval for one of -1 or 1. ERR_NOMEM. */
int stats_relate(stats_value *pearson, stats_value *spearman, const double *x, const double *y, size_t n,
                 double level, error *err) MUST_USE;

/* Mean of x (n). The interval is that of a bootstrap of the mean by its own standard error (bootstrap-t), which holds with few
 * and skewed ones where percentiles are too narrow; seeded. Where all are equal, or there is one, it has no width. ERR_NOMEM. */
int stats_bootstrap_t(stats_value *out, const double *x, size_t n, double level, uint64_t seed,
                      error *err) MUST_USE;

/* Cohen's kappa (1960) of (n) items put into classes below 16 by two judges, with the interval of its linearised sum (Fleiss, Cohen and Everitt
 * 1969) between clusters (items of one feature hang together), or between items where that is wider; Student's, by clusters. NaN: both put all
 * into one class; no interval for a single cluster. ERR_NOMEM. */
typedef struct stats_kappa {
	stats_value kappa;
	double observed, chance; /* share of items on which they agree; and would by chance */
	size_t n, clusters;
} stats_kappa;
int stats_kappa_of(stats_kappa *out, const uint8_t *a, const uint8_t *b,
                   const uint32_t *cluster /* ascending */, size_t n, double level, error *err) MUST_USE;
/* The standard error of the sum of (n) terms whose mean is 0, by the rule above. */
double stats_clustered(const double *term, const uint32_t *cluster, size_t n, size_t *clusters);

/* ---- Against a truth (calibrate.c) ---------------------------------------------------------------------------------------- */

/* The share of hits (n, 0 or 1) with Wilson's interval for as many items as would tell as much if those of a cluster did not hang
 * together. */
int stats_wilson_clustered(stats_rate *out, const uint8_t *hit, const uint32_t *cluster /* ascending */,
                           size_t n, double level, error *err) MUST_USE;

/* How well probabilities (n), 0 to 1 each, say how often the truth (0 or 1) is 1. */
typedef struct stats_calibration {
	size_t n;
	double brier; /* mean squared difference */
	double ece; /* expected calibration error: over 10 bins of equal width, |mean probability - share of 1|, by items */
	/* Platt (1999): 1 / (1 + exp(-(slope * log-odds + intercept))) fits best; NaN: one class alone, fewer than 10, or all alike. */
	double slope, intercept, brier_after; /* brier_after: of the fitted ones, on the same items */
} stats_calibration;
stats_calibration stats_calibrate(const double *p, const uint8_t *truth, size_t n);

#endif
