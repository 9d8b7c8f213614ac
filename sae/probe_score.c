/* See probe_score.h. The examples are sorted by margin once; each resample counts how often each group was drawn, and one walk over
 * the sorted examples with these weights gives all four figures. */
#include "sae/probe_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIGURES = 4, LOW = 24, HIGH = 974 }; /* of 1,000 sorted resamples: 2.5 % on each side */

typedef struct ranked_example {
	double margin;
	uint32_t group; /* 0..n_groups-1 */
	uint8_t y;
} ranked_example;

static int by_margin(const void *a, const void *b)
{
	const ranked_example *x = a, *y = b;

	if (x->margin < y->margin || x->margin > y->margin)
		return x->margin < y->margin ? -1 : 1;
	return x->group != y->group ? (x->group < y->group ? -1 : 1) : (x->y > y->y) - (x->y < y->y);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double ratio(double over, double under)
{
	return under > 0 ? over / under : (double)NAN;
}

/* out: accuracy, balanced accuracy, F1, AUROC by mid-ranks, each example counted weight[group] times. NaN: not defined. */
static void figures(double out[FIGURES], const ranked_example *e, uint32_t n, const uint32_t *weight)
{
	double hits = 0, negatives = 0, positives = 0, said = 0, denied = 0, pairs = 0;

	for (uint32_t i = 0, end; i < n; i = end) {
		double plus = 0, minus = 0;

		for (end = i; end < n && !(e[end].margin > e[i].margin); end++)
			*(e[end].y ? &plus : &minus) += weight[e[end].group];
		pairs += plus * (negatives + minus / 2);
		positives += plus;
		negatives += minus;
		if (e[i].margin > 0) {
			hits += plus;
			said += plus + minus;
		} else {
			denied += minus;
		}
	}
	out[0] = ratio(hits + denied, positives + negatives);
	out[1] = (ratio(hits, positives) + ratio(denied, negatives)) / 2;
	out[2] = ratio(2 * hits, said + positives);
	out[3] = ratio(pairs, positives * negatives);
}

/* Wilson's 95 % interval for the share `value` of n. */
static void wilson(sae_estimate *e, double n)
{
	double z2 = 1.959963984540054 * 1.959963984540054, middle = (e->value + z2 / (2 * n)) / (1 + z2 / n);
	double half = sqrt(z2 * (e->value * (1 - e->value) / n + z2 / (4 * n * n))) / (1 + z2 / n);

	e->low = fmax(0, middle - half);
	e->high = fmin(1, middle + half);
}

/* From sorted resamples, those that are not defined left out. */
static void interval(sae_estimate *e, double *values, uint32_t n_groups)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SAE_PROBE_RESAMPLES; i++)
		if (!isnan(values[i]))
			values[n++] = values[i];
	e->low = e->high = (double)NAN;
	if (n < SAE_PROBE_RESAMPLES / 2 || isnan(e->value))
		return;
	qsort(values, n, sizeof(*values), by_value);
	e->low = values[n * (uint64_t)LOW / SAE_PROBE_RESAMPLES];
	e->high = values[n * (uint64_t)HIGH / SAE_PROBE_RESAMPLES];
	if (!(e->high > e->low))
		wilson(e, n_groups);
}

/* Number the groups of e anew from 0. */
static uint32_t number_groups(ranked_example *e, uint32_t n, uint32_t *number, uint32_t largest)
{
	uint32_t n_groups = 0;

	memset(number, 0xff, ((size_t)largest + 1) * sizeof(*number));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t *of = &number[e[i].group];

		*of = *of == UINT32_MAX ? n_groups++ : *of;
		e[i].group = *of;
	}
	return n_groups;
}

static void resample(double *values, const ranked_example *e, uint32_t n, uint32_t *weight, uint32_t n_groups,
                     uint64_t seed)
{
	for (uint32_t r = 0; r < SAE_PROBE_RESAMPLES; r++) {
		double of[FIGURES];

		memset(weight, 0, n_groups * sizeof(*weight));
		for (uint32_t i = 0; i < n_groups; i++)
			weight[hash64_below(hash64_mix(seed, (uint64_t)r << 32 | i), n_groups)]++;
		figures(of, e, n, weight);
		for (int j = 0; j < FIGURES; j++)
			values[j * SAE_PROBE_RESAMPLES + r] = of[j];
	}
}

int probe_score_make(probe_score *out, const double *margin, const uint8_t *y, const uint32_t *group,
                     uint32_t n, double train_positive, uint64_t seed, error *err)
{
	sae_estimate *const of[FIGURES] = { &out->accuracy, &out->balanced_accuracy, &out->f1, &out->auroc };
	arena mem = ARENA_INIT;
	ranked_example *e = arena_alloc(&mem, n, sizeof(*e));
	double *values = arena_alloc(&mem, FIGURES, SAE_PROBE_RESAMPLES * sizeof(*values)), now[FIGURES];
	uint32_t *weight, n_groups, largest = 0, positive = 0;

	for (uint32_t i = 0; i < n; i++)
		largest = group[i] > largest ? group[i] : largest;
	weight = arena_alloc(&mem, (size_t)largest + 1, sizeof(*weight));
	if (!e || !values || !weight) {
		arena_clear(&mem);
		return error_nomem(err, "a probe's score");
	}
	for (uint32_t i = 0; i < n; i++) {
		e[i] = (ranked_example){ margin[i], group[i], y[i] };
		positive += y[i];
	}
	n_groups = number_groups(e, n, weight, largest);
	qsort(e, n, sizeof(*e), by_margin);
	for (uint32_t i = 0; i < n_groups; i++)
		weight[i] = 1;
	figures(now, e, n, weight);
	resample(values, e, n, weight, n_groups, seed);
	for (int j = 0; j < FIGURES; j++) {
		of[j]->value = now[j];
		interval(of[j], values + j * SAE_PROBE_RESAMPLES, n_groups);
	}
	out->accuracy.chance = (train_positive > 0.5 ? positive : n - positive) / (double)n;
	out->balanced_accuracy.chance = out->auroc.chance = 0.5;
	out->f1.chance = 2.0 * positive / ((double)n + positive);
	arena_clear(&mem);
	return 0;
}
