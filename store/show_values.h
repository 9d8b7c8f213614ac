/* The values of a feature on its page: histogram, quantiles, intervals, and examples by them. */
#ifndef GLOSS_STORE_SHOW_VALUES_H
#define GLOSS_STORE_SHOW_VALUES_H

#include "store/histogram.h"
#include "store/history.h"

/* The intervals that samples are shown by. */
typedef struct shown_intervals {
	bool stored; /* those of `example.bin`; else a sample is in the interval that its value is in */
	intervals parts;
	uint32_t kept[INTERVALS_MAX]; /* samples in each */
} shown_intervals;

/* "histogram", "quantiles" and "intervals". ERR_ARG: the source's samples do not go with `which`; ERR_FORMAT: corrupt. */
int values_put(shown_intervals *out, cJSON *page, const feature_place *p, const store_source *source,
               store_intervals which, bool *failed, error *err) MUST_USE;
/* "examples": at most n of a kind: the strongest; of the samples, the first of every interval before the second of any. */
int examples_put(cJSON *page, const feature_place *p, const store_source *source,
                 const shown_intervals *shown, unsigned n, bool *failed, error *err) MUST_USE;

#endif
