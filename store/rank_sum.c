/* AUROC and the Mann-Whitney test. See rank_sum.h. */
#include "store/rank_sum.h"

#include <math.h>

static int smallest_first(const void *a, const void *b)
{
	float x = fabsf(*(const float *)a), y = fabsf(*(const float *)b);

	return x < y ? -1 : x > y;
}

/* Sums over the groups of equal values, from the lowest on. */
struct sums {
	double first, second; /* seen so far */
	double wins, first_squares, second_squares, ties;
};

/* `first` values of the first set and `second` of the second, all equal, and higher than those before. */
static void add_group(struct sums *s, double first, double second, double m, double n)
{
	double beats = s->second + second / 2, is_beaten = m - s->first - first / 2;

	s->wins += first * beats;
	s->first_squares += first * (beats / n) * (beats / n);
	s->second_squares += second * (is_beaten / m) * (is_beaten / m);
	s->ties += pow(first + second, 3) - (first + second);
	s->first += first;
	s->second += second;
}

static double variance(double squares, double mean, double n)
{
	return fmax(0, squares / n - mean * mean) * n / (n - 1);
}

/* Ways to choose m of m + n, as far as they matter. */
static double choices(double m, double n)
{
	double ways = 1;

	for (double i = 1; i <= fmin(m, n) && ways < 1e300; i++)
		ways *= (m + n + 1 - i) / i;
	return ways;
}

rank_sum rank_sum_of(float *values, size_t n_values, double m, double n)
{
	struct sums s = { 0 };
	double first = m, second = n, all = m + n, spread, half;
	rank_sum out = { 0 };

	qsort(values, n_values, sizeof(*values), smallest_first);
	for (size_t i = 0; i < n_values; i++) {
		first -= values[i] > 0;
		second -= values[i] < 0;
	}
	add_group(&s, first, second, m, n);
	for (size_t i = 0, j; i < n_values; i = j) {
		first = second = 0;
		for (j = i; j < n_values && fabsf(values[j]) == fabsf(values[i]); j++) {
			first += values[j] > 0;
			second += values[j] < 0;
		}
		add_group(&s, first, second, m, n);
	}
	out.auroc = s.wins / (m * n);
	spread = sqrt(m * n / 12 * (all + 1 - s.ties / (all * (all - 1))));
	out.p = spread > 0 ? erfc(fabs(s.wins - m * n / 2) / spread / sqrt(2)) : 1;
	out.p = fmax(out.p, 1 / choices(m, n));
	half = 1.959963984540054 * sqrt(variance(s.first_squares, out.auroc, m) / m +
	                                variance(s.second_squares, out.auroc, n) / n);
	out.low = fmax(0, out.auroc - half);
	out.high = fmin(1, out.auroc + half);
	if (out.auroc >=
	    1) /* then all of min(m, n) pairs apart from each other are in order: of a chance A, A^min(m, n) */
		out.low = pow(0.025, 1 / fmin(m, n));
	else if (out.auroc <= 0)
		out.high = 1 - pow(0.025, 1 / fmin(m, n));
	if (m <= 1 || n <= 1 || spread <= 0)
		out.low = out.high = NAN;
	return out;
}

static int by_p(const void *a, const void *b, void *payload)
{
	const double *p = payload, x = p[*(const size_t *)a], y = p[*(const size_t *)b];

	return x < y ? -1 : x > y;
}

void rank_sum_adjust(double *p, size_t *order, size_t n)
{
	double least = 1;

	for (size_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof(*order), by_p, p);
	for (size_t i = n; i-- > 0;) {
		least = fmin(least, p[order[i]] * (double)n / (double)(i + 1));
		p[order[i]] = least;
	}
}
