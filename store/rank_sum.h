/* Whether a number tells two sets apart: AUROC, its interval, and the Mann-Whitney test behind it. No SQLite. */
#ifndef GLOSS_STORE_RANK_SUM_H
#define GLOSS_STORE_RANK_SUM_H

#include "base/base.h"

typedef struct rank_sum {
	double auroc; /* chance that one of the first set is higher than one of the second, ties half */
	/* 95 % interval, normal approximation with DeLong's variance (1988). Where the sets do not overlap that is 0, and the interval goes
	 * to 0.025^(1 / min(m, n)) of the other end: it holds, and is wide. NaN: a set of fewer than two, or all values are equal. */
	double low, high;
	/* Two-sided, of no difference: normal approximation, ties counted, but no less than 1 in the number of ways to choose the
	 * first set, which no test of so few could fall below; 1 where all are equal. */
	double p;
} rank_sum;
/* Values over 0 of m in the first set, and (as minus the value) of n in the second; all others, m + n - n_values, are 0. Sorts
 * them. m, n >= 1. */
rank_sum rank_sum_of(float *values, size_t n_values, double m, double n);
/* Replace p values by the share of false ones expected among all at most as large (Benjamini and Hochberg 1995). order (n):
 * scratch. */
void rank_sum_adjust(double *p, size_t *order, size_t n);

#endif
