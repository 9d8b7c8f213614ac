/* Every kernel of every set against the plain definition or FP64, at every tail length. */
#include "tests/support.h"

#include <math.h>

#include "sae/kernels.h"

enum { MAX = 300 };

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

static void fill(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = uniform(seed, i);
}

/* Run `test` on each set this CPU has. */
static void each_set(void (*test)(const kernels *k))
{
	for (size_t i = 0; kernels_names[i]; i++) {
		const kernels *k = kernels_get(kernels_names[i]);

		if (k)
			test(k);
	}
}

static void check_sums(const kernels *k)
{
	float a[MAX], b[MAX];

	fill(a, MAX, 1);
	fill(b, MAX, 2);
	for (size_t n = 0; n <= 150; n++) {
		double want = 0, size = 0, squares = 0;

		for (size_t i = 0; i < n; i++) {
			want += (double)a[i] * b[i];
			size += fabs((double)a[i] * b[i]);
			squares += (double)a[i] * a[i];
		}
		ck_assert_double_le(fabs(k->dot(a, b, n) - want), 1e-6 * size);
		ck_assert_double_le(fabs(k->sum_squares(a, n) - squares), 1e-13 * squares);
		for (size_t count = 0; count <= KERNELS_DOTS; count++) {
			const float *rows[KERNELS_DOTS] = { b, a, b + 1, a + 2 };
			float out[KERNELS_DOTS] = { 0 };

			k->dots(out, a, rows, count, n);
			for (size_t i = 0; i < count; i++)
				ck_assert_float_eq(out[i], k->dot(a, rows[i], n)); /* the same bits */
		}
	}
}

START_TEST(sums_agree_with_double)
{
	each_set(check_sums);
}
END_TEST

static void check_rows(const kernels *k)
{
	float x[MAX], y[MAX], out[MAX];
	double wide[MAX];

	for (size_t n = 0; n <= 150; n++) {
		fill(x, MAX, 3);
		fill(y, MAX, 4);
		fill(out, MAX, 5);
		for (size_t i = 0; i < MAX; i++)
			wide[i] = uniform(6, i);
		k->axpy(y, 0.7f, x, n);
		k->add_f64(wide, 0.3, x, n);
		k->center(out, x, 1.5f, y, n);
		k->scale(x, 0.25f, n);
		for (size_t i = 0; i < MAX; i++) {
			double xi = uniform(3, i), yi = uniform(4, i), wi = uniform(6, i);
			bool in = i < n;

			ck_assert_double_le(fabs(y[i] - (in ? yi + (double)0.7f * xi : yi)), 2e-7);
			ck_assert_double_le(fabs(wide[i] - (in ? wi + 0.3 * xi : wi)), 1e-15);
			ck_assert_double_le(fabs(out[i] - (in ? 1.5 * xi - y[i] : uniform(5, i))), 4e-7);
			ck_assert_double_le(fabs(x[i] - (in ? 0.25 * xi : xi)), 0);
		}
	}
}

START_TEST(row_operations_touch_n_elements)
{
	each_set(check_rows);
}
END_TEST

static void check_combine(const kernels *k)
{
	static float rows[9 * MAX];
	const uint32_t index[] = { 8, 0, 3, 3, 5 };
	float coef[5], out[MAX];

	fill(rows, ARRAY_LEN(rows), 7);
	fill(coef, 5, 8);
	for (size_t d = 1; d <= MAX - 1; d++)
		for (size_t n = 0; n <= 5; n += 5) {
			out[d] = 42;
			k->combine(out, rows, d, index, coef, n);
			for (size_t c = 0; c < d; c++) {
				double want = 0;

				for (size_t j = 0; j < n; j++)
					want += (double)coef[j] * rows[index[j] * d + c];
				ck_assert_double_le(fabs(out[c] - want), 1e-6);
			}
			ck_assert(out[d] == 42);
		}
}

START_TEST(combine_agrees_with_double)
{
	each_set(check_combine);
}
END_TEST

/* Values on a coarse grid, so that equal ones and values exactly at the limit occur; and some NaN. */
static void check_filter(const kernels *k)
{
	float pre[MAX], bias[MAX], value[MAX + KERNELS_SLACK], want_value[MAX];
	uint32_t index[MAX + KERNELS_SLACK], want_index[MAX];

	for (size_t i = 0; i < MAX; i++) {
		pre[i] = i % 37 == 5 ? NAN : roundf(8 * uniform(9, i)) / 8;
		bias[i] = roundf(8 * uniform(10, i)) / 8;
	}
	for (size_t n = 0; n <= 80; n++)
		for (int limit = -1; limit <= 4; limit++) {
			float above = limit < 0 ? -4.0f : (float)limit / 4;
			size_t want =
			        kernels_scalar.filter(want_index, want_value, pre, bias, n, 1000, above);

			ck_assert_uint_eq(k->filter(index, value, pre, bias, n, 1000, above), want);
			ck_assert_mem_eq(index, want_index, want * sizeof(*index));
			ck_assert_mem_eq(value, want_value, want * sizeof(*value));
			ck_assert_float_eq(k->greatest(pre, bias, n), kernels_scalar.greatest(pre, bias, n));
		}
	ck_assert_uint_eq(kernels_scalar.filter(want_index, want_value, pre, bias, 0, 0, 0), 0);
}

START_TEST(filter_equals_its_definition)
{
	each_set(check_filter);
}
END_TEST

static void check_histogram_kernels(const kernels *k)
{
	float x[2 * MAX];
	uint32_t out[MAX], want[MAX];

	for (size_t i = 0; i < ARRAY_LEN(x); i++)
		x[i] = (float)(hash64_unit(hash64_mix(5, i)) * 8 - 4);
	x[3] = NAN;
	x[MAX + 9] = INFINITY;
	x[MAX + 11] = -INFINITY;
	x[20] = 1e30f;
	for (size_t n = 0; n <= 70; n++) {
		for (float edge = 0; edge < 5; edge += 0.25f)
			ck_assert_uint_eq(k->outside(x + n % 5, n, -edge, edge + 1),
			                  kernels_scalar.outside(x + n % 5, n, -edge, edge + 1));
		k->pair_bins(out, x, x + MAX, n, -2, 12.5f, 49);
		kernels_scalar.pair_bins(want, x, x + MAX, n, -2, 12.5f, 49);
		ck_assert_mem_eq(out, want, n * sizeof(*out));
		for (size_t i = 0; i < n; i++)
			ck_assert(out[i] % 64 < 50 && out[i] / 64 < 50);
	}
	ck_assert_uint_eq(want[3] % 64, 0);
	ck_assert_uint_eq(want[9] / 64, 49);
	ck_assert_uint_eq(want[11] / 64, 0);
}

START_TEST(places_and_bins_equal_their_definition)
{
	each_set(check_histogram_kernels);
}
END_TEST

static void check_losses(const kernels *k)
{
	float x[MAX], v[MAX], out[MAX], bad[2] = { NAN, -INFINITY }, weight[2] = { 1, 1 };

	for (size_t i = 0; i < MAX; i++) {
		x[i] = i < 40 ? (float)i - 20 : (i % 2 ? 1 : 110) * uniform(12, i);
		v[i] = (i % 3 ? 1 : -1) * (float)(1 + i % 4);
	}
	for (size_t n = 0; n <= MAX; n++) {
		double want = 0, sum, same;

		memcpy(out, x, sizeof(out));
		same = kernels_scalar.logistic(out, v, n);
		memcpy(out, x, sizeof(out));
		sum = k->logistic(out, v, n);
		for (size_t i = 0; i < n; i++) {
			double m = v[i] < 0 ? -(double)x[i] : (double)x[i];
			double derivative = -(double)v[i] * exp(-m) / (1 + exp(-m));

			want += fabs((double)v[i]) * log1p(exp(-m));
			ck_assert_double_le(fabs(out[i] - derivative), 4e-7 * fabs(derivative) + 1e-37);
		}
		ck_assert_double_le(fabs(sum - want), 3e-7 * want);
		ck_assert_double_eq(sum, same); /* bits, as kernels_loss.h says */
		ck_assert_mem_eq(out + n, x + n, (MAX - n) * sizeof(*x));
	}
	ck_assert_double_nan(k->logistic(bad, weight, 1));
	ck_assert(!isfinite(k->logistic(bad + 1, weight + 1, 1)));
}

START_TEST(losses_agree_with_double)
{
	each_set(check_losses);
}
END_TEST

static int descending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x < y) - (x > y);
}

static void check_select(const kernels *k)
{
	float value[MAX + KERNELS_SLACK], sorted[MAX];
	uint32_t index[MAX + KERNELS_SLACK];

	for (size_t n = 1; n <= 70; n++)
		for (size_t rank = 1; rank <= n; rank += 1 + n / 8) {
			size_t over = 0, kept;
			float least;

			for (size_t i = 0; i < n; i++) {
				value[i] = sorted[i] = (float)(1 + hash64_below(hash64_mix(n, i), 9)) / 16;
				index[i] = (uint32_t)i;
			}
			qsort(sorted, n, sizeof(*sorted), descending);
			least = k->kth(value, n, rank);
			ck_assert(least == sorted[rank - 1]);
			for (size_t i = 0; i < n; i++)
				over += value[i] > least;
			kept = k->compact(index, value, n, least, rank - over);
			ck_assert_uint_eq(kept, rank);
			for (size_t i = 0; i < kept; i++) {
				ck_assert(value[i] ==
				          (float)(1 + hash64_below(hash64_mix(n, index[i]), 9)) / 16);
				ck_assert(i == 0 || index[i] > index[i - 1]);
			}
			qsort(value, kept, sizeof(*value), descending);
			ck_assert_mem_eq(value, sorted, kept * sizeof(*value));
		}
}

START_TEST(kth_and_compact_keep_the_best_and_the_first_of_equals)
{
	each_set(check_select);
}
END_TEST

static void check_adam(const kernels *k)
{
	const adam_coef c = { 0.9f, 0.999f, 0.1f, 0.001f, 0.01f, 31.6f, 1e-8f };
	float w[MAX], m[MAX], v[MAX], g[MAX];

	for (size_t n = 0; n <= 70; n++) {
		fill(w, MAX, 11);
		fill(m, MAX, 12);
		fill(g, MAX, 13);
		for (size_t i = 0; i < MAX; i++)
			v[i] = fabsf(uniform(14, i));
		k->adam(w, m, v, g, n, &c);
		for (size_t i = 0; i < MAX; i++) {
			double gi = i < n ? uniform(13, i) : 0, m0 = uniform(12, i),
			       v0 = fabsf(uniform(14, i));
			double m1 = i < n ? 0.9 * m0 + 0.1 * gi : m0,
			       v1 = i < n ? 0.999 * v0 + 0.001 * gi * gi : v0;
			double w1 = uniform(11, i) - (i < n ? 0.01 * m1 / (sqrt(v1) * 31.6 + 1e-8) : 0);

			ck_assert_double_le(fabs(m[i] - m1), 2e-7);
			ck_assert_double_le(fabs(v[i] - v1), 2e-7);
			ck_assert_double_le(fabs(w[i] - w1), 1e-6);
		}
	}
}

START_TEST(adam_agrees_with_double)
{
	each_set(check_adam);
}
END_TEST

START_TEST(unknown_set_is_refused)
{
	ck_assert_ptr_null(kernels_get("avx1024"));
	ck_assert_ptr_eq(kernels_get("scalar"), &kernels_scalar);
	ck_assert_ptr_nonnull(kernels_get(NULL));
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "kernels", sums_agree_with_double, row_operations_touch_n_elements,
	             combine_agrees_with_double, filter_equals_its_definition,
	             places_and_bins_equal_their_definition, losses_agree_with_double,
	             kth_and_compact_keep_the_best_and_the_first_of_equals, adam_agrees_with_double,
	             unknown_set_is_refused);
}
SUPPORT_MAIN("kernels", cases)
