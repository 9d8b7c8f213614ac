/* Kernels for AVX2 and FMA. Tails are plain loops. */
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "sae/kernels.h"
#include "sae/kernels_loss.h"

#define LANES 8

static float sum_lanes(__m256 x)
{
	__m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	half = _mm_add_ps(half, _mm_movehl_ps(half, half));
	return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/* `count` products with a at once, a constant where it is called: a is loaded once for all. */
static inline __attribute__((always_inline)) void dots_part(float *out, const float *a, const float *const *b,
                                                            size_t n, const int count)
{
	__m256 sum[2][4];
	size_t whole = n / (4 * LANES) * (4 * LANES);

#pragma GCC unroll 2
	for (int c = 0; c < count; c++)
#pragma GCC unroll 4
		for (int r = 0; r < 4; r++)
			sum[c][r] = _mm256_setzero_ps();
	for (size_t i = 0; i < whole; i += 4 * LANES) {
#pragma GCC unroll 4
		for (int r = 0; r < 4; r++) {
			__m256 factor = _mm256_loadu_ps(a + i + LANES * r);

#pragma GCC unroll 2
			for (int c = 0; c < count; c++)
				sum[c][r] = _mm256_fmadd_ps(factor, _mm256_loadu_ps(b[c] + i + LANES * r),
				                            sum[c][r]);
		}
	}
#pragma GCC unroll 2
	for (int c = 0; c < count; c++) {
		out[c] = sum_lanes(_mm256_add_ps(_mm256_add_ps(sum[c][0], sum[c][1]),
		                                 _mm256_add_ps(sum[c][2], sum[c][3])));
		for (size_t i = whole; i < n; i++)
			out[c] += a[i] * b[c][i];
	}
}

static float dot(const float *a, const float *b, size_t n)
{
	float out;

	dots_part(&out, a, &b, n, 1);
	return out;
}

static void dots(float *out, const float *a, const float *const *b, size_t n_b, size_t n)
{
	size_t i = 0;

	for (; i + 2 <= n_b; i += 2)
		dots_part(out + i, a, b + i, n, 2);
	if (i < n_b)
		dots_part(out + i, a, b + i, n, 1);
}

static double sum_squares(const float *a, size_t n)
{
	__m256d s0 = _mm256_setzero_pd(), s1 = s0;
	double part[4], sum;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256d low = _mm256_cvtps_pd(_mm_loadu_ps(a + i));
		__m256d high = _mm256_cvtps_pd(_mm_loadu_ps(a + i + 4));

		s0 = _mm256_fmadd_pd(low, low, s0);
		s1 = _mm256_fmadd_pd(high, high, s1);
	}
	_mm256_storeu_pd(part, _mm256_add_pd(s0, s1));
	sum = (part[0] + part[2]) + (part[1] + part[3]);
	for (; i < n; i++)
		sum += (double)a[i] * a[i];
	return sum;
}

static void add_f64(double *y, double a, const float *x, size_t n)
{
	const __m256d factor = _mm256_set1_pd(a);
	size_t i = 0;

	for (; i + 4 <= n; i += 4) {
		__m256d wide = _mm256_cvtps_pd(_mm_loadu_ps(x + i));

		_mm256_storeu_pd(y + i, _mm256_fmadd_pd(factor, wide, _mm256_loadu_pd(y + i)));
	}
	for (; i < n; i++)
		y[i] += a * x[i];
}

static void axpy(float *y, float a, const float *x, size_t n)
{
	const __m256 factor = _mm256_set1_ps(a);
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		_mm256_storeu_ps(y + i,
		                 _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
	for (; i < n; i++)
		y[i] += a * x[i];
}

static void scale(float *x, float a, size_t n)
{
	const __m256 factor = _mm256_set1_ps(a);
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		_mm256_storeu_ps(x + i, _mm256_mul_ps(factor, _mm256_loadu_ps(x + i)));
	for (; i < n; i++)
		x[i] *= a;
}

static void center(float *out, const float *x, float a, const float *b, size_t n)
{
	const __m256 factor = _mm256_set1_ps(a);
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		_mm256_storeu_ps(out + i,
		                 _mm256_fmsub_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(b + i)));
	for (; i < n; i++)
		out[i] = a * x[i] - b[i];
}

/* `width` registers of the sum at once, a constant where it is called. */
static inline __attribute__((always_inline)) void combine_part(float *out, const float *rows, size_t d,
                                                               const uint32_t *index, const float *coef,
                                                               size_t n, const int width)
{
	__m256 sum[12];

#pragma GCC unroll 12
	for (int r = 0; r < width; r++)
		sum[r] = _mm256_setzero_ps();
	for (size_t j = 0; j < n; j++) {
		const float *row = rows + index[j] * d;
		__m256 factor = _mm256_set1_ps(coef[j]);

#pragma GCC unroll 12
		for (int r = 0; r < width; r++)
			sum[r] = _mm256_fmadd_ps(factor, _mm256_loadu_ps(row + LANES * r), sum[r]);
	}
#pragma GCC unroll 12
	for (int r = 0; r < width; r++)
		_mm256_storeu_ps(out + LANES * r, sum[r]);
}

static void combine(float *out, const float *rows, size_t d, const uint32_t *index, const float *coef,
                    size_t n)
{
	size_t c = 0;

	for (; c + 12 * LANES <= d; c += 12 * LANES)
		combine_part(out + c, rows + c, d, index, coef, n, 12);
	for (; c + LANES <= d; c += LANES)
		combine_part(out + c, rows + c, d, index, coef, n, 1);
	for (; c < d; c++) {
		float sum = 0;

		for (size_t j = 0; j < n; j++)
			sum += coef[j] * rows[index[j] * d + c];
		out[c] = sum;
	}
}

/* For each set of four lanes, those in it first. */
static const int32_t first_lanes[16][4] = {
	{ 0, 0, 0, 0 }, { 0, 0, 0, 0 }, { 1, 0, 0, 0 }, { 0, 1, 0, 0 }, { 2, 0, 0, 0 }, { 0, 2, 0, 0 },
	{ 1, 2, 0, 0 }, { 0, 1, 2, 0 }, { 3, 0, 0, 0 }, { 0, 3, 0, 0 }, { 1, 3, 0, 0 }, { 0, 1, 3, 0 },
	{ 2, 3, 0, 0 }, { 0, 2, 3, 0 }, { 1, 2, 3, 0 }, { 0, 1, 2, 3 },
};

/* Write the lanes of `keep`, in order, and return how many; up to four more are written behind. */
static inline size_t put_lanes(uint32_t *index, float *value, __m256i ids, __m256 values, unsigned keep)
{
	const unsigned low = keep & 15, high = keep >> 4;
	const __m128i low_lanes = _mm_loadu_si128((const __m128i *)(const void *)first_lanes[low]);
	const __m128i high_lanes = _mm_loadu_si128((const __m128i *)(const void *)first_lanes[high]);
	const __m256 id_bits = _mm256_castsi256_ps(ids);
	size_t n = (size_t)__builtin_popcount(low);

	_mm_storeu_ps(value, _mm_permutevar_ps(_mm256_castps256_ps128(values), low_lanes));
	_mm_storeu_ps((float *)(void *)index, _mm_permutevar_ps(_mm256_castps256_ps128(id_bits), low_lanes));
	_mm_storeu_ps(value + n, _mm_permutevar_ps(_mm256_extractf128_ps(values, 1), high_lanes));
	_mm_storeu_ps((float *)(void *)(index + n),
	              _mm_permutevar_ps(_mm256_extractf128_ps(id_bits, 1), high_lanes));
	return n + (size_t)__builtin_popcount(high);
}

static size_t filter(uint32_t *index, float *value, const float *pre, const float *bias, size_t n,
                     uint32_t first, float above)
{
	const __m256 limit = _mm256_set1_ps(above);
	const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	size_t kept = 0, i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256 sum = _mm256_add_ps(_mm256_loadu_ps(pre + i), _mm256_loadu_ps(bias + i));
		unsigned over = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(sum, limit, _CMP_GT_OQ));

		kept += put_lanes(index + kept, value + kept,
		                  _mm256_add_epi32(lane, _mm256_set1_epi32((int)(first + (uint32_t)i))), sum,
		                  over);
	}
	for (; i < n; i++) {
		float sum = pre[i] + bias[i];

		if (sum > above) {
			index[kept] = first + (uint32_t)i;
			value[kept++] = sum;
		}
	}
	return kept;
}

static size_t count_reaching(const float *value, size_t n, uint32_t least)
{
	const __m256i below = _mm256_set1_epi32((int)least - 1);
	size_t count = 0, i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256i bits = _mm256_castps_si256(_mm256_loadu_ps(value + i));
		int reach = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(bits, below)));

		count += (size_t)__builtin_popcount((unsigned)reach);
	}
	for (; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &value[i], sizeof(bits));
		count += bits >= least;
	}
	return count;
}

static float greatest(const float *pre, const float *bias, size_t n)
{
	__m256 best = _mm256_set1_ps(-INFINITY);
	float part[LANES], most = -INFINITY;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) /* of NaN and best, best */
		best = _mm256_max_ps(_mm256_add_ps(_mm256_loadu_ps(pre + i), _mm256_loadu_ps(bias + i)),
		                     best);
	_mm256_storeu_ps(part, best);
	for (size_t l = 0; l < LANES; l++)
		most = part[l] > most ? part[l] : most;
	for (; i < n; i++)
		most = pre[i] + bias[i] > most ? pre[i] + bias[i] : most;
	return most;
}

static inline __m256 mask_outside(const float *x, __m256 low, __m256 high)
{
	__m256 v = _mm256_loadu_ps(x);

	return _mm256_or_ps(_mm256_cmp_ps(v, low, _CMP_LT_OQ), _mm256_cmp_ps(v, high, _CMP_GT_OQ));
}

static size_t outside(const float *x, size_t n, float low, float high)
{
	const __m256 l = _mm256_set1_ps(low), h = _mm256_set1_ps(high);
	size_t i = 0;

	for (; i + 4 * LANES <= n; i += 4 * LANES) { /* four at a time, for the sake of memory */
		__m256 one = _mm256_or_ps(mask_outside(x + i, l, h), mask_outside(x + i + LANES, l, h)),
		       two = _mm256_or_ps(mask_outside(x + i + 2 * LANES, l, h),
		                          mask_outside(x + i + 3 * LANES, l, h));

		if (_mm256_movemask_ps(_mm256_or_ps(one, two)))
			break;
	}
	while (i < n && !(x[i] < low || x[i] > high))
		i++;
	return i;
}

static __m256i bins_of(const float *x, __m256 low, __m256 scale, __m256 last)
{
	__m256 at = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x), low), scale);

	at = _mm256_max_ps(at, _mm256_setzero_ps()); /* of NaN and 0, 0 */
	return _mm256_cvttps_epi32(_mm256_min_ps(at, last));
}

static void pair_bins(uint32_t *out, const float *a, const float *b, size_t n, float low, float scale,
                      uint32_t last)
{
	const __m256 l = _mm256_set1_ps(low), s = _mm256_set1_ps(scale), most = _mm256_set1_ps((float)last);
	float ab[2 * LANES] = { 0 };
	uint32_t part[LANES];
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256i pair = _mm256_add_epi32(bins_of(a + i, l, s, most),
		                                _mm256_slli_epi32(bins_of(b + i, l, s, most), 6));

		_mm256_storeu_si256((__m256i *)(void *)(out + i), pair);
	}
	if (i == n)
		return;
	memcpy(ab, a + i, (n - i) * sizeof(*a));
	memcpy(ab + LANES, b + i, (n - i) * sizeof(*b));
	_mm256_storeu_si256((__m256i *)(void *)part,
	                    _mm256_add_epi32(bins_of(ab, l, s, most),
	                                     _mm256_slli_epi32(bins_of(ab + LANES, l, s, most), 6)));
	memcpy(out + i, part, (n - i) * sizeof(*out));
}

/* The least of those of n positive values that reach `least`, which are some. */
static float least_reaching(const float *value, size_t n, uint32_t least)
{
	const __m256i below = _mm256_set1_epi32((int)least - 1), top = _mm256_set1_epi32(0x7fffffff);
	__m256i best = top;
	uint32_t part[LANES], most = 0x7fffffff;
	size_t i = 0;
	float result;

	for (; i + LANES <= n; i += LANES) {
		__m256i bits = _mm256_castps_si256(_mm256_loadu_ps(value + i));

		best = _mm256_min_epi32(best, _mm256_blendv_epi8(top, bits, _mm256_cmpgt_epi32(bits, below)));
	}
	_mm256_storeu_si256((__m256i *)(void *)part, best);
	for (size_t l = 0; l < LANES; l++)
		most = part[l] < most ? part[l] : most;
	for (; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &value[i], sizeof(bits));
		most = bits >= least && bits < most ? bits : most;
	}
	memcpy(&result, &most, sizeof(result));
	return result;
}

/* Bit by bit from the top, until just k values reach what is found so far. */
static float kth(const float *value, size_t n, size_t k)
{
	uint32_t reach = 0;

	for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 1) {
		size_t count = count_reaching(value, n, reach | bit);

		if (count >= k)
			reach |= bit;
		if (count == k)
			break;
	}
	return least_reaching(value, n, reach);
}

/* The lanes of `equal` that the first `ties` ties stand in. */
static unsigned first_ties(unsigned equal, size_t *ties)
{
	unsigned taken = 0;

	while (equal && *ties) {
		unsigned lowest = equal & (0u - equal);

		taken |= lowest;
		equal ^= lowest;
		(*ties)--;
	}
	return taken;
}

static size_t compact(uint32_t *index, float *value, size_t n, float least, size_t ties)
{
	const __m256 limit = _mm256_set1_ps(least);
	size_t kept = 0, i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256 v = _mm256_loadu_ps(value + i);
		__m256i id = _mm256_loadu_si256((const __m256i *)(const void *)(index + i));
		unsigned keep = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(v, limit, _CMP_GT_OQ));
		unsigned equal = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(v, limit, _CMP_EQ_OQ));

		if (equal)
			keep |= first_ties(equal, &ties);
		kept += put_lanes(index + kept, value + kept, id, v, keep);
	}
	for (; i < n; i++) {
		float v = value[i];
		bool tie = (v == least) & (ties > 0);

		index[kept] = index[i];
		value[kept] = v;
		kept += (v > least) | tie;
		ties -= tie;
	}
	return kept;
}

static void adam(float *w, float *m, float *v, const float *g, size_t n, const adam_coef *c)
{
	const __m256 beta1 = _mm256_set1_ps(c->beta1), rest1 = _mm256_set1_ps(c->rest1);
	const __m256 beta2 = _mm256_set1_ps(c->beta2), rest2 = _mm256_set1_ps(c->rest2);
	const __m256 step = _mm256_set1_ps(c->step), root = _mm256_set1_ps(c->root),
	             eps = _mm256_set1_ps(c->eps);
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256 grad = _mm256_loadu_ps(g + i), mean, square, below;

		mean = _mm256_fmadd_ps(rest1, grad, _mm256_mul_ps(beta1, _mm256_loadu_ps(m + i)));
		square = _mm256_fmadd_ps(_mm256_mul_ps(rest2, grad), grad,
		                         _mm256_mul_ps(beta2, _mm256_loadu_ps(v + i)));
		below = _mm256_fmadd_ps(_mm256_sqrt_ps(square), root, eps);
		_mm256_storeu_ps(m + i, mean);
		_mm256_storeu_ps(v + i, square);
		_mm256_storeu_ps(w + i, _mm256_sub_ps(_mm256_loadu_ps(w + i),
		                                      _mm256_div_ps(_mm256_mul_ps(step, mean), below)));
	}
	for (; i < n; i++) {
		m[i] = c->beta1 * m[i] + c->rest1 * g[i];
		v[i] = c->beta2 * v[i] + c->rest2 * g[i] * g[i];
		w[i] -= c->step * m[i] / (sqrtf(v[i]) * c->root + c->eps);
	}
}

const kernels kernels_avx2 = {
	.name = "avx2",
	.dot = dot,
	.dots = dots,
	.sum_squares = sum_squares,
	.add_f64 = add_f64,
	.axpy = axpy,
	.scale = scale,
	.center = center,
	.combine = combine,
	.filter = filter,
	.greatest = greatest,
	.outside = outside,
	.pair_bins = pair_bins,
	.kth = kth,
	.compact = compact,
	.adam = adam,
	.logistic = logistic,
};
