/* relate: means over features, and how two scores of the same features go together. */
#include <math.h>
#include <stdlib.h>

#include "explain/stats.h"

double stats_quantile(const double *sorted, size_t n, double share)
{
	double at = share * ((double)n - 1);
	size_t i = n ? (size_t)at : 0;

	if (n == 0)
		return NAN;
	return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

/* P(|t| < x) by the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4. */
static double t_within(double x, size_t v)
{
	const double pi = 3.14159265358979323846;
	double angle = atan(x / sqrt((double)v)), c = cos(angle), term = v % 2 ? c : 1, sum = 0;

	for (size_t i = v % 2 ? 3 : 2; i <= v; i += 2) {
		sum += term;
		term *= c * c * (double)(i - 1) / (double)i;
	}
	return v % 2 ? 2 / pi * (angle + sin(angle) * sum) : sin(angle) * sum;
}

double stats_t(double level, size_t v)
{
	double low = 0, high = 1e6;

	if (v > 2000)
		return stats_z(level);
	for (int i = 0; i < 100; i++) {
		double mid = (low + high) / 2;

		if (t_within(mid, v) < level)
			low = mid;
		else
			high = mid;
	}
	return low;
}

stats_mean stats_mean_of(const double *x, size_t n, double level)
{
	stats_mean m = { n, NAN, NAN, NAN, NAN };
	double sum = 0, squares = 0, half;

	if (n == 0)
		return m;
	for (size_t i = 0; i < n; i++)
		sum += x[i];
	m.value = sum / (double)n;
	if (n < 2)
		return m;
	for (size_t i = 0; i < n; i++)
		squares += (x[i] - m.value) * (x[i] - m.value);
	m.deviation = sqrt(squares / (double)(n - 1));
	half = stats_t(level, n - 1) * m.deviation / sqrt((double)n);
	m.low = m.value - half;
	m.high = m.value + half;
	return m;
}

static double correlation(const double *x, const double *y, size_t n)
{
	double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;

	for (size_t i = 0; i < n; i++) {
		mx += x[i] / (double)n;
		my += y[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		yy += (y[i] - my) * (y[i] - my);
		xy += (x[i] - mx) * (y[i] - my);
	}
	return xx > 1e-12 * (double)n && yy > 1e-12 * (double)n ? fmax(-1, fmin(1, xy / sqrt(xx * yy)))
	                                                        : (double)NAN;
}

/* rank[i]: of x[i] from 1, the mean one of equal values. sorted: room for n. */
static void rank_of(double *rank, double *sorted, const double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sorted[i] = x[i];
	stats_sort(sorted, n);
	for (size_t i = 0; i < n; i++) {
		size_t low = 0, high = n, first;

		while (low < high) { /* the first that is not below */
			size_t mid = (low + high) / 2;

			if (sorted[mid] < x[i])
				low = mid + 1;
			else
				high = mid;
		}
		first = low;
		for (high = n; low < high;) { /* the first above */
			size_t mid = (low + high) / 2;

			if (sorted[mid] <= x[i])
				low = mid + 1;
			else
				high = mid;
		}
		rank[i] = ((double)first + (double)low + 1) / 2;
	}
}

static stats_value fisher(double r, size_t n, double variance, double level)
{
	stats_value v = { r, NAN, NAN };
	double half = stats_z(level) * sqrt(variance / ((double)n - 3));

	if (n < 4 || !(fabs(r) < 1))
		return v;
	v.low = tanh(atanh(r) - half);
	v.high = tanh(atanh(r) + half);
	return v;
}

int stats_relate(stats_value *pearson, stats_value *spearman, const double *x, const double *y, size_t n,
                 double level, error *err)
{
	double *room;

	*pearson = *spearman = (stats_value){ NAN, NAN, NAN };
	if (n < 4)
		return 0;
	room = malloc(3 * n * sizeof(*room));
	if (!room)
		return error_nomem(err, "ranks");
	*pearson = fisher(correlation(x, y, n), n, 1, level);
	rank_of(room, room + 2 * n, x, n);
	rank_of(room + n, room + 2 * n, y, n);
	*spearman = fisher(correlation(room, room + n, n), n, 1.06, level);
	free(room);
	return 0;
}
