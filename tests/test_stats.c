/* The statistics behind the scores: closed forms, edge cases, and the coverage of the intervals by simulation. */
#include <math.h>
#include <stdlib.h>

#include "explain/stats.h"
#include "tests/support.h"

START_TEST(wilson_known_values)
{
	/* By hand from the closed form with z = 1.959964. */
	stats_rate r = stats_wilson(8, 10);

	ck_assert_double_eq_tol(r.value, 0.8, 1e-15);
	ck_assert_double_eq_tol(r.low, 0.490162, 1e-6);
	ck_assert_double_eq_tol(r.high, 0.943318, 1e-6);
	r = stats_wilson(0, 10);
	ck_assert_double_eq(r.low, 0);
	ck_assert_double_eq_tol(r.high, 0.277533, 1e-6);
	r = stats_wilson(10, 10);
	ck_assert_double_eq(r.high, 1);
	ck_assert(isnan(stats_wilson(0, 0).value));
}
END_TEST

START_TEST(balanced_accuracy_and_its_interval)
{
	stats_balanced b = stats_balanced_accuracy(45, 50, 40, 50);

	ck_assert_double_eq_tol(b.value, 0.85, 1e-12);
	ck_assert_double_eq_tol(b.low, 0.85 - hypot(0.9 - b.tpr.low, 0.8 - b.tnr.low) / 2, 1e-12);
	ck_assert(b.low < 0.85 && b.high > 0.85 && b.high <= 1);
	ck_assert(isnan(stats_balanced_accuracy(0, 0, 5, 5).value));
	ck_assert(isnan(stats_balanced_accuracy(5, 5, 0, 0).low));
	b = stats_balanced_accuracy(50, 50, 50, 50);
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
			        binomial(&counter, cases[c].nn, cases[c].tnr), cases[c].nn);

			inside += b.low <= truth && truth <= b.high;
		}
		ck_assert_msg(inside >= runs * 0.93, "case %zu: %u of %u", c, inside, runs);
	}
}
END_TEST

START_TEST(deciles_and_spread)
{
	size_t at[10], n;
	unsigned of[10] = { 0 };

	for (size_t i = 0; i < 57; i++)
		of[stats_decile(i, 57)]++;
	for (unsigned d = 0; d < 10; d++)
		ck_assert(of[d] == 5 || of[d] == 6);
	n = stats_spread(at, 5, 9);
	ck_assert_uint_eq(n, 5);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(at[i], 2 * i);
	ck_assert_uint_eq(stats_spread(at, 10, 3), 3);
	ck_assert_uint_eq(at[2], 2);
	ck_assert_uint_eq(stats_spread(at, 1, 9), 1);
	ck_assert_uint_eq(stats_spread(at, 4, 0), 0);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "all", wilson_known_values, balanced_accuracy_and_its_interval, interval_covers,
	             deciles_and_spread);
}
SUPPORT_MAIN("stats", cases)
