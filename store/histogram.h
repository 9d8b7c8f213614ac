/* The histogram of a feature's values over firing tokens, and the intervals and quantiles that come of it. Counts are exact,
 * whatever the order; two of them add up. No SQLite here. */
#ifndef GLOSS_STORE_HISTOGRAM_H
#define GLOSS_STORE_HISTOGRAM_H

#include "base/base.h"

/* The grid: 64 edges an octave from 2^-10 to 2^22. Edge i is 2^(i / 64) rounded to a float, so that comparing a value with it
 * is exact and the same everywhere. */
enum { GRID_PER_OCTAVE = 64, GRID_FIRST = -640, GRID_END = 1408 };
double grid_edge(int i);  /* GRID_FIRST <= i <= GRID_END */
int grid_of(float value); /* i with edge(i) <= value < edge(i + 1); the first and last are open. value > 0 */

/* The stretch of the grid in which there are values. Start with {0}. */
typedef struct histogram {
	int16_t first; /* counts[i] is of bin first + i of the grid */
	uint16_t n;
	uint64_t *counts; /* (n) */
} histogram;
void histogram_clear(histogram *h);
/* Count a value > 0. ERR_NOMEM. */
int histogram_add(histogram *h, float value) MUST_USE;
int histogram_join(histogram *into, const histogram *from) MUST_USE;
/* The same without empty bins at its ends; counts belong to h. */
histogram histogram_trim(const histogram *h);
/* What follows takes a trimmed one. The value of the firing token of this rank, 1 the least, as if those of a bin lay evenly in it; at most `most`. */
double histogram_rank(const histogram *h, uint64_t rank, double most);
/* As `feature_detail.histogram`. */
int histogram_write(text *t, const histogram *h) MUST_USE;
/* From there. *step: grid bins in one of its bins, 1 but for stores of version 1; bin i is then from edge (first + i) * step
 * on. The caller ends it with histogram_clear(). ERR_FORMAT: it is none; ERR_NOMEM. */
int histogram_read(histogram *out, int *step, const cJSON *json) MUST_USE;

/* ---- Intervals ---- */

enum { INTERVALS_MAX = 64 };
typedef struct intervals {
	char definition[128];
	uint32_t n;
	int16_t grid[INTERVALS_MAX +
	             1]; /* interval j: values from edge grid[j] to edge grid[j + 1]; they may be empty */
	uint64_t counts[INTERVALS_MAX];
} intervals;
/* What follows takes a histogram whose bins are `step` bins of the grid. Ten intervals of equal count: edge j is the edge
 * below which the number of firing tokens is nearest to j tenths of all, of two the lower. */
void intervals_equal_count(intervals *out, const histogram *h, int step);
/* n intervals of equal width from 0 to `most`, their edges moved to the nearest of the histogram. */
void intervals_equal_width(intervals *out, const histogram *h, int step, uint32_t n, double most);
/* The interval of a value that the histogram has. */
uint32_t intervals_find(const intervals *v, float value);
/* As `feature_detail.intervals`; kept: samples in each. */
int intervals_write(text *t, const intervals *v, const uint32_t *kept) MUST_USE;
/* From there. ERR_FORMAT: it is none. */
int intervals_read(intervals *out, uint32_t kept[INTERVALS_MAX], const cJSON *json) MUST_USE;

#endif
