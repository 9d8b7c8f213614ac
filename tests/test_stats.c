/* The statistics behind the scores: closed forms, edge cases, and the coverage of the intervals by simulation. */
#include <math.h>
#include <stdlib.h>

#include "explain/stats.h"
#include "tests/support.h"

START_TEST(wilson_known_values)
{
	/* By hand from the closed form with z = 1.959964. */
	stats_rate r = stats_wilson(8, 10, 0.95);

	ck_assert_double_eq_tol(r.value, 0.8, 1e-15);
	ck_assert_double_eq_tol(r.low, 0.490162, 1e-6);
	ck_assert_double_eq_tol(r.high, 0.943318, 1e-6);
	r = stats_wilson(0, 10, 0.95);
	ck_assert_double_eq(r.low, 0);
	ck_assert_double_eq_tol(r.high, 0.277533, 1e-6);
	r = stats_wilson(10, 10, 0.95);
	ck_assert_double_eq(r.high, 1);
	ck_assert(isnan(stats_wilson(0, 0, 0.95).value));
}
END_TEST

START_TEST(balanced_accuracy_and_its_interval)
{
	stats_balanced b = stats_balanced_accuracy(45, 50, 40, 50, 0.95);

	ck_assert_double_eq_tol(b.value, 0.85, 1e-12);
	/* from the exact intervals of 45 and of 40 of 50, by R's binom.test: 0.7818640-0.9667246, 0.6628169-0.8996978 */
	ck_assert_double_eq_tol(b.low, 0.85 - hypot(0.9 - 0.7818640, 0.8 - 0.6628169) / 2, 1e-6);
	ck_assert_double_eq_tol(b.high, 0.85 + hypot(0.9667246 - 0.9, 0.8996978 - 0.8) / 2, 1e-6);
	ck_assert(b.low < 0.85 && b.high > 0.85 && b.high <= 1);
	ck_assert(isnan(stats_balanced_accuracy(0, 0, 5, 5, 0.95).value));
	ck_assert(isnan(stats_balanced_accuracy(5, 5, 0, 0, 0.95).low));
	b = stats_balanced_accuracy(50, 50, 50, 50, 0.95);
	ck_assert_double_eq(b.value, 1);
	ck_assert_double_eq(b.high, 1);
	ck_assert_double_gt(b.low, 0.9);
}
END_TEST

static uint32_t binomial(uint64_t *counter, uint32_t n, double p)
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < n; i++)
		hits += hash64_unit(hash64_mix(7, (*counter)++)) < p;
	return hits;
}

START_TEST(interval_covers)
{
	static const struct {
		double tpr, tnr;
		uint32_t np, nn;
	} cases[] = {
		{ 0.75, 0.75, 50, 50 }, { 0.95, 0.6, 50, 50 }, { 0.99, 0.97, 30, 50 }, { 0.5, 0.5, 10, 20 }
	};
	uint64_t counter = 0;

	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		double truth = (cases[c].tpr + cases[c].tnr) / 2;
		unsigned inside = 0, runs = 2000;

		for (unsigned r = 0; r < runs; r++) {
			stats_balanced b = stats_balanced_accuracy(
			        binomial(&counter, cases[c].np, cases[c].tpr), cases[c].np,
			        binomial(&counter, cases[c].nn, cases[c].tnr), cases[c].nn, 0.95);

			inside += b.low <= truth && truth <= b.high;
		}
		ck_assert_msg(inside >= runs * 0.93, "case %zu: %u of %u", c, inside, runs);
	}
}
END_TEST

START_TEST(area_under_the_curve)
{
	static const double p[] = { 0.9, 0.8, 0.4, 0.4 }, q[] = { 0.1, 0.4, 0.85 };
	stats_value v, again;
	error err;

	ck_assert_int_eq(stats_auroc(&v, p, 4, q, 3, 0.95, 1, &err), 0);
	/* over 0.1: all 4; over 0.4: 2 and two ties; over 0.85: 1 */
	ck_assert_double_eq_tol(v.value, (4 + 3 + 1) / 12.0, 1e-12);
	ck_assert_double_eq_tol(stats_area(p, 4, q, 3), v.value, 1e-12);
	ck_assert(isnan(stats_area(p, 0, q, 3)));
	ck_assert(v.low < v.value && v.value < v.high && v.low >= 0 && v.high <= 1);
	ck_assert_int_eq(stats_auroc(&again, p, 4, q, 3, 0.95, 1, &err), 0);
	ck_assert_double_eq(v.low, again.low);
	ck_assert_int_eq(stats_auroc(&v, p, 1, q, 1, 0.95, 1, &err), 0);
	ck_assert_double_eq(v.value, 1);
	ck_assert_double_eq(v.high, 1);
	ck_assert_double_lt(v.low, 0.5); /* one pair in order shows nothing */
	ck_assert_int_eq(stats_auroc(&v, p, 0, q, 1, 0.95, 1, &err), 0);
	ck_assert(isnan(v.value) && isnan(v.low));
}
END_TEST

static double normal(uint64_t *counter)
{
	double u = hash64_unit(hash64_mix(9, (*counter)++)), w = hash64_unit(hash64_mix(9, (*counter)++));

	return sqrt(-2 * log(u + 1e-300)) * cos(6.283185307179586 * w);
}

/* Grades of firing windows are d higher: the area is Phi(d / sqrt 2). */
START_TEST(area_interval_covers)
{
	static const struct {
		double d;
		uint32_t n, m;
	} runs_of[] = { { 0.5, 50, 50 }, { 1.5, 50, 25 }, { 3, 30, 30 } };
	uint64_t counter = 0;
	double p[50], q[50];
	stats_value v;
	error err;

	for (size_t c = 0; c < ARRAY_LEN(runs_of); c++) {
		double truth = 0.5 + erf(runs_of[c].d / 2) / 2;
		unsigned inside = 0, runs = 400;

		for (unsigned r = 0; r < runs; r++) {
			for (uint32_t i = 0; i < runs_of[c].n; i++)
				p[i] = normal(&counter) + runs_of[c].d;
			for (uint32_t i = 0; i < runs_of[c].m; i++)
				q[i] = normal(&counter);
			ck_assert_int_eq(stats_auroc(&v, p, runs_of[c].n, q, runs_of[c].m, 0.95, r, &err), 0);
			inside += v.low <= truth && truth <= v.high;
		}
		ck_assert_msg(inside >= runs * 0.928, "case %zu: %u of %u", c, inside, runs);
	}
}
END_TEST

/* Four looks at answers that come in, until the interval is within 0.1: whenever it stops, the truth is in it often enough. */
START_TEST(looks_hold_the_truth)
{
	static const struct {
		double tpr, tnr;
	} of[] = { { 0.85, 0.9 }, { 0.6, 0.55 }, { 0.97, 0.98 } };
	uint64_t counter = 1000000;

	for (size_t c = 0; c < ARRAY_LEN(of); c++) {
		double truth = (of[c].tpr + of[c].tnr) / 2;
		unsigned inside = 0, early = 0, runs = 2000;

		for (unsigned r = 0; r < runs; r++) {
			stats_balanced b = { 0 };
			uint32_t tp = 0, tn = 0, n = 0;

			for (int look = 0; look < 4; look++) {
				tp += binomial(&counter, 25, of[c].tpr);
				tn += binomial(&counter, 25, of[c].tnr);
				n += 25;
				b = stats_balanced_accuracy(tp, n, tn, n, 1 - 0.05 / 4);
				if (b.high - b.low <= 0.2)
					break;
			}
			early += n < 100;
			inside += b.low <= truth && truth <= b.high;
		}
		ck_assert_msg(inside >= runs * 0.95, "case %zu: %u of %u", c, inside, runs);
		ck_assert_msg(c == 1 || early > runs / 2, "case %zu: only %u stop early", c, early);
	}
}
END_TEST

START_TEST(normal_quantiles)
{
	ck_assert_double_eq_tol(stats_z(0.95), 1.959963984540054, 1e-9);
	ck_assert_double_eq_tol(stats_z(0.9875), 2.497705474412375, 1e-9);
}
END_TEST

/* Of 30 exponential values, whose mean is 1: of 200 intervals at 95 %, fewer than 178 hold it about once in 2,000 times. */
START_TEST(intervals_of_a_mean_hold_it)
{
	double x[30], same[] = { 2, 2, 2, 2, 2 };
	unsigned inside = 0;
	stats_value v;
	error err;

	for (uint64_t run = 0; run < 200; run++) {
		for (uint64_t i = 0; i < 30; i++)
			x[i] = -log(1 - hash64_unit(hash64_mix(run, i)));
		ck_assert_int_eq(stats_bootstrap_t(&v, x, 30, 0.95, run, &err), 0);
		ck_assert(v.low < v.value && v.value < v.high);
		inside += v.low <= 1 && 1 <= v.high;
	}
	ck_assert_uint_ge(inside, 178);
	ck_assert_int_eq(stats_bootstrap_t(&v, same, 5, 0.95, 1, &err), 0);
	ck_assert(v.value == 2 && v.low == 2 && v.high == 2);
	ck_assert_int_eq(stats_bootstrap_t(&v, same, 0, 0.95, 1, &err), 0);
	ck_assert(isnan(v.value) && isnan(v.low));
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "all", wilson_known_values, balanced_accuracy_and_its_interval, interval_covers,
	             area_under_the_curve, area_interval_covers, looks_hold_the_truth, normal_quantiles,
	             intervals_of_a_mean_hold_it);
}
SUPPORT_MAIN("stats", cases)
