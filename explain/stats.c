#include "explain/stats.h"

#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 2000 };

double stats_z(double level)
{
	double low = 0, high = 40;

	for (int i = 0; i < 80; i++) {
		double mid = (low + high) / 2;

		if (erf(mid / sqrt(2)) < level)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* deviates: standard deviations that the interval reaches; as_many: items that tell so much, n or fewer. */
static stats_rate wilson(uint32_t hits, uint32_t n, double as_many, double deviates)
{
	stats_rate r = { hits, n, NAN, NAN, NAN };
	double p, z2, centre, half, scale;

	if (n == 0)
		return r;
	p = (double)hits / n;
	z2 = deviates * deviates / as_many;
	scale = 1 / (1 + z2);
	centre = (p + z2 / 2) * scale;
	half = deviates * sqrt(p * (1 - p) / as_many + z2 / (4.0 * as_many)) * scale;
	r.value = p;
	r.low = hits == 0 ? 0 : fmax(0, centre - half);
	r.high = hits == n ? 1 : fmin(1, centre + half);
	return r;
}

stats_rate stats_wilson(uint32_t hits, uint32_t n, double level)
{
	return wilson(hits, n, n, stats_z(level));
}

int stats_wilson_clustered(stats_rate *out, const uint8_t *hit, const uint32_t *cluster, size_t n,
                           double level, error *err)
{
	double *term = calloc(n + 1, sizeof(*term)), p, alone, spread;
	size_t clusters;
	uint32_t hits = 0;

	if (!term)
		return error_nomem(err, "answers");
	for (size_t i = 0; i < n; i++)
		hits += hit[i];
	p = n ? (double)hits / (double)n : 0;
	for (size_t i = 0; i < n; i++)
		term[i] = (hit[i] - p) / (double)n;
	spread = stats_clustered(term, cluster, n, &clusters);
	alone = n ? sqrt(p * (1 - p) / (double)n) : 0;
	free(term);
	*out = wilson(hits, (uint32_t)n,
	              spread > alone && alone > 0 ? (double)n * pow(alone / spread, 2) : (double)n,
	              clusters > 1 ? stats_t(level, clusters - 1) : stats_z(level));
	return 0;
}

/* P(at most k of n) where each is with probability p, 0 < p < 1. */
static double at_most(uint32_t k, uint32_t n, double p)
{
	double sum = 0, all = lgamma(n + 1.0), a = log(p), b = log1p(-p);

	for (uint32_t i = 0; i <= k; i++)
		sum += exp(all - lgamma(i + 1.0) - lgamma(n - i + 1.0) + i * a + (n - i) * b);
	return fmin(sum, 1);
}

/* The rate at which so few hits as these, or fewer, come with probability `tail`. */
static double exact_high(uint32_t hits, uint32_t n, double tail)
{
	double low = (double)hits / n, high = 1;

	for (int i = 0; i < 50 && hits < n; i++) {
		double mid = (low + high) / 2;

		if (at_most(hits, n, mid) > tail)
			low = mid;
		else
			high = mid;
	}
	return high;
}

stats_balanced stats_balanced_accuracy(uint32_t true_positive, uint32_t n_positive, uint32_t true_negative,
                                       uint32_t n_negative, double level)
{
	stats_balanced b = { stats_wilson(true_positive, n_positive, level),
		             stats_wilson(true_negative, n_negative, level), NAN, NAN, NAN };
	double tail = (1 - level) / 2, up[2], down[2];

	if (n_positive == 0 || n_negative == 0)
		return b;
	up[0] = exact_high(true_positive, n_positive, tail) - b.tpr.value;
	up[1] = exact_high(true_negative, n_negative, tail) - b.tnr.value;
	down[0] = exact_high(n_positive - true_positive, n_positive, tail) - (1 - b.tpr.value);
	down[1] = exact_high(n_negative - true_negative, n_negative, tail) - (1 - b.tnr.value);
	b.value = (b.tpr.value + b.tnr.value) / 2;
	b.low = b.value - hypot(down[0], down[1]) / 2;
	b.high = b.value + hypot(up[0], up[1]) / 2;
	return b;
}

/* ---- Area under the ROC curve ------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void stats_sort(double *x, size_t n)
{
	if (n)
		qsort(x, n, sizeof(*x), by_value);
}

double stats_area(const double *positive, size_t n, const double *negative, size_t m)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < m; j++)
			sum += positive[i] > negative[j] ? 1 : positive[i] == negative[j] ? 0.5 : 0;
	return n && m ? sum / ((double)n * (double)m) : (double)NAN;
}

/* Grades of both kinds by rank, equal ones sharing one: rank[i] of the i-th. *n_ranks of them. */
static int rank_all(uint32_t **rank, size_t *n_ranks, const double *positive, size_t n,
                    const double *negative, size_t m, error *err)
{
	double *sorted = malloc((n + m) * sizeof(*sorted));
	uint32_t *r = malloc((n + m) * sizeof(*r));
	size_t distinct = 0;

	if (!sorted || !r) {
		free(sorted);
		free(r);
		return error_nomem(err, "grades");
	}
	memcpy(sorted, positive, n * sizeof(*sorted));
	memcpy(sorted + n, negative, m * sizeof(*sorted));
	stats_sort(sorted, n + m);
	for (size_t i = 0; i < n + m; i++)
		if (i == 0 || sorted[i] > sorted[distinct - 1])
			sorted[distinct++] = sorted[i];
	for (size_t i = 0; i < n + m; i++) {
		double x = i < n ? positive[i] : negative[i - n];
		const double *at = bsearch(&x, sorted, distinct, sizeof(*sorted), by_value);

		r[i] = (uint32_t)(at - sorted);
	}
	free(sorted);
	*rank = r;
	*n_ranks = distinct;
	return 0;
}

/* From how many of each kind have each rank. */
static double area(const uint32_t *positive, const uint32_t *negative, size_t n_ranks, size_t n, size_t m)
{
	double below = 0, sum = 0;

	for (size_t r = 0; r < n_ranks; r++) {
		sum += positive[r] * (below + negative[r] / 2.0);
		below += negative[r];
	}
	return sum / ((double)n * (double)m);
}

static void resample(uint32_t *count, size_t n_ranks, const uint32_t *rank, size_t n, uint64_t key)
{
	memset(count, 0, n_ranks * sizeof(*count));
	for (size_t i = 0; i < n; i++)
		count[rank[hash64_below(hash64_mix(key, i), n)]]++;
}

/* Where the true area may be, by its variance there: Newcombe's method 5 after Hanley and McNeil. */
static double newcombe(double value, size_t n, size_t m, double z, bool high)
{
	double half = ((double)n + (double)m) / 2 - 1, from = high ? value : 0, to = high ? 1 : value;

	for (int i = 0; i < 60; i++) {
		double a = (from + to) / 2;
		double v = a * (1 - a) * (1 + half * (1 - a) / (2 - a) + half * a / (1 + a)) /
		           ((double)n * (double)m);
		bool far = fabs(value - a) > z * sqrt(v);

		if (far == high)
			to = a;
		else
			from = a;
	}
	return (from + to) / 2;
}

static void percentiles(stats_value *out, double *area_of, double level)
{
	double tail = (1 - level) / 2;
	size_t skip = (size_t)(tail * RESAMPLES);

	stats_sort(area_of, RESAMPLES);
	out->low = area_of[skip];
	out->high = area_of[RESAMPLES - 1 - skip];
}

int stats_auroc(stats_value *out, const double *positive, size_t n, const double *negative, size_t m,
                double level, uint64_t seed, error *err)
{
	uint32_t *rank = NULL, *p = NULL, *q = NULL;
	double *areas = NULL, z = stats_z(level);
	size_t n_ranks = 0;
	int rc;

	*out = (stats_value){ NAN, NAN, NAN };
	if (n == 0 || m == 0)
		return 0;
	rc = rank_all(&rank, &n_ranks, positive, n, negative, m, err);
	if (rc < 0)
		return rc;
	p = calloc(n_ranks, sizeof(*p));
	q = calloc(n_ranks, sizeof(*q));
	areas = malloc(RESAMPLES * sizeof(*areas));
	if (!p || !q || !areas) {
		rc = error_nomem(err, "grades");
		goto out;
	}
	for (size_t i = 0; i < n + m; i++)
		(i < n ? p : q)[rank[i]]++;
	out->value = area(p, q, n_ranks, n, m);
	for (size_t b = 0; b < RESAMPLES; b++) {
		resample(p, n_ranks, rank, n, hash64_mix(seed, 2 * b));
		resample(q, n_ranks, rank + n, m, hash64_mix(seed, 2 * b + 1));
		areas[b] = area(p, q, n_ranks, n, m);
	}
	percentiles(out, areas, level);
	out->low = fmin(out->low, newcombe(out->value, n, m, z, false));
	out->high = fmax(out->high, newcombe(out->value, n, m, z, true));
out:
	free(rank);
	free(p);
	free(q);
	free(areas);
	return rc;
}

/* ---- Means -------------------------------------------------------------------------------------------------------------- */

/* Of n values: all, or resampled with this key; *se: of the mean. */
static double mean_of(double *se, const double *x, size_t n, bool resampled, uint64_t key)
{
	double sum = 0, squares = 0, mean, v;

	for (size_t i = 0; i < n; i++)
		sum += x[resampled ? hash64_below(hash64_mix(key, i), n) : i];
	mean = sum / (double)n;
	for (size_t i = 0; i < n; i++) {
		v = x[resampled ? hash64_below(hash64_mix(key, i), n) : i] - mean;
		squares += v * v;
	}
	*se = n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0;
	return mean;
}

int stats_bootstrap_t(stats_value *out, const double *x, size_t n, double level, uint64_t seed, error *err)
{
	double *t, se, mean, resampled, tail = (1 - level) / 2;
	size_t kept = 0, skip;

	*out = (stats_value){ NAN, NAN, NAN };
	if (n == 0)
		return 0;
	mean = mean_of(&se, x, n, false, 0);
	*out = (stats_value){ mean, mean, mean };
	if (!(se > 0))
		return 0;
	t = malloc(RESAMPLES * sizeof(*t));
	if (!t)
		return error_nomem(err, "a mean");
	for (size_t b = 0; b < RESAMPLES; b++) {
		double spread;

		resampled = mean_of(&spread, x, n, true, hash64_mix(seed, b));
		if (spread > 0) /* the others drew one value n times */
			t[kept++] = (resampled - mean) / spread;
	}
	stats_sort(t, kept);
	skip = (size_t)(tail * (double)kept);
	if (kept) {
		out->low = mean - t[kept - 1 - skip] * se;
		out->high = mean - t[skip] * se;
	}
	free(t);
	return 0;
}
