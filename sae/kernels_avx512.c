/* Kernels for AVX-512 (F, BW, DQ, VL). Tails are masked lanes, so every length takes the same path. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "sae/kernels.h"
#include "sae/kernels_loss.h"

#define LANES 16

static __mmask16 mask_of(size_t n)
{
	return (__mmask16)(n >= LANES ? 0xffffu : (1u << n) - 1);
}

/* `count` products with a at once, a constant where it is called: a is loaded once for all. */
static inline __attribute__((always_inline)) void dots_part(float *out, const float *a, const float *const *b,
                                                            size_t n, const int count)
{
	__m512 sum[KERNELS_DOTS][4];
	size_t i = 0;

#pragma GCC unroll 4
	for (int c = 0; c < count; c++)
#pragma GCC unroll 4
		for (int r = 0; r < 4; r++)
			sum[c][r] = _mm512_setzero_ps();
	for (; i + 4 * LANES <= n; i += 4 * LANES) {
#pragma GCC unroll 4
		for (int r = 0; r < 4; r++) {
			__m512 factor = _mm512_loadu_ps(a + i + LANES * r);

#pragma GCC unroll 4
			for (int c = 0; c < count; c++)
				sum[c][r] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(b[c] + i + LANES * r),
				                            sum[c][r]);
		}
	}
	for (; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 factor = _mm512_maskz_loadu_ps(in, a + i);

#pragma GCC unroll 4
		for (int c = 0; c < count; c++)
			sum[c][0] = _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(in, b[c] + i), sum[c][0]);
	}
#pragma GCC unroll 4
	for (int c = 0; c < count; c++)
		out[c] = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[c][0], sum[c][1]),
		                                            _mm512_add_ps(sum[c][2], sum[c][3])));
}

static float dot(const float *a, const float *b, size_t n)
{
	float out;

	dots_part(&out, a, &b, n, 1);
	return out;
}

static void dots(float *out, const float *a, const float *const *b, size_t n_b, size_t n)
{
	if (n_b == 4) {
		dots_part(out, a, b, n, 4);
		return;
	}
	if (n_b & 2)
		dots_part(out, a, b, n, 2);
	if (n_b & 1)
		dots_part(out + n_b - 1, a, b + n_b - 1, n, 1);
}

static double sum_squares(const float *a, size_t n)
{
	__m512d s0 = _mm512_setzero_pd(), s1 = s0;

	for (size_t i = 0; i < n; i += LANES) {
		__m512 x = _mm512_maskz_loadu_ps(mask_of(n - i), a + i);
		__m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
		__m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));

		s0 = _mm512_fmadd_pd(low, low, s0);
		s1 = _mm512_fmadd_pd(high, high, s1);
	}
	return _mm512_reduce_add_pd(_mm512_add_pd(s0, s1));
}

static void add_f64(double *y, double a, const float *x, size_t n)
{
	__m512d factor = _mm512_set1_pd(a);
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		__m512d wide = _mm512_cvtps_pd(_mm256_loadu_ps(x + i));

		_mm512_storeu_pd(y + i, _mm512_fmadd_pd(factor, wide, _mm512_loadu_pd(y + i)));
	}
	if (i < n) {
		__mmask8 in = (__mmask8)((1u << (n - i)) - 1);
		__m512d wide = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(in, x + i));

		_mm512_mask_storeu_pd(y + i, in,
		                      _mm512_fmadd_pd(factor, wide, _mm512_maskz_loadu_pd(in, y + i)));
	}
}

static void axpy(float *y, float a, const float *x, size_t n)
{
	__m512 factor = _mm512_set1_ps(a);

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 sum = _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(in, x + i),
		                             _mm512_maskz_loadu_ps(in, y + i));

		_mm512_mask_storeu_ps(y + i, in, sum);
	}
}

static void scale(float *x, float a, size_t n)
{
	__m512 factor = _mm512_set1_ps(a);

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);

		_mm512_mask_storeu_ps(x + i, in, _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(in, x + i)));
	}
}

static void center(float *out, const float *x, float a, const float *b, size_t n)
{
	__m512 factor = _mm512_set1_ps(a);

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 moved = _mm512_fmsub_ps(factor, _mm512_maskz_loadu_ps(in, x + i),
		                               _mm512_maskz_loadu_ps(in, b + i));

		_mm512_mask_storeu_ps(out + i, in, moved);
	}
}

/* `width` registers of the sum at once, a constant where it is called. */
static inline __attribute__((always_inline)) void combine_part(float *out, const float *rows, size_t d,
                                                               const uint32_t *index, const float *coef,
                                                               size_t n, const int width)
{
	__m512 sum[16];

#pragma GCC unroll 16
	for (int r = 0; r < width; r++)
		sum[r] = _mm512_setzero_ps();
	for (size_t j = 0; j < n; j++) {
		const float *row = rows + index[j] * d;
		__m512 factor = _mm512_set1_ps(coef[j]);

#pragma GCC unroll 16
		for (int r = 0; r < width; r++)
			sum[r] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(row + LANES * r), sum[r]);
	}
#pragma GCC unroll 16
	for (int r = 0; r < width; r++)
		_mm512_storeu_ps(out + LANES * r, sum[r]);
}

static void combine(float *out, const float *rows, size_t d, const uint32_t *index, const float *coef,
                    size_t n)
{
	size_t c = 0;

	for (; c + 16 * LANES <= d; c += 16 * LANES)
		combine_part(out + c, rows + c, d, index, coef, n, 16);
	for (; c + 4 * LANES <= d; c += 4 * LANES)
		combine_part(out + c, rows + c, d, index, coef, n, 4);
	for (; c < d; c += LANES) {
		__mmask16 in = mask_of(d - c);
		__m512 sum = _mm512_setzero_ps();

		for (size_t j = 0; j < n; j++)
			sum = _mm512_fmadd_ps(_mm512_set1_ps(coef[j]),
			                      _mm512_maskz_loadu_ps(in, rows + index[j] * d + c), sum);
		_mm512_mask_storeu_ps(out + c, in, sum);
	}
}

/* Compressed in a register and stored whole: the compressing store is slow on Zen 4. */
static size_t filter(uint32_t *index, float *value, const float *pre, const float *bias, size_t n,
                     uint32_t first, float above)
{
	const __m512 limit = _mm512_set1_ps(above);
	const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	size_t kept = 0;

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(in, pre + i),
		                           _mm512_maskz_loadu_ps(in, bias + i));
		__mmask16 over = _mm512_mask_cmp_ps_mask(in, sum, limit, _CMP_GT_OQ);

		if (over) {
			__m512i id = _mm512_add_epi32(lane, _mm512_set1_epi32((int)(first + (uint32_t)i)));

			_mm512_storeu_ps(value + kept, _mm512_maskz_compress_ps(over, sum));
			_mm512_storeu_si512(index + kept, _mm512_maskz_compress_epi32(over, id));
			kept += (size_t)__builtin_popcount(over);
		}
	}
	return kept;
}

static float greatest(const float *pre, const float *bias, size_t n)
{
	__m512 best = _mm512_set1_ps(-INFINITY);

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(in, pre + i),
		                           _mm512_maskz_loadu_ps(in, bias + i));

		best = _mm512_mask_max_ps(best, in, sum, best); /* of NaN and best, best */
	}
	return _mm512_reduce_max_ps(best);
}

static inline __mmask16 mask_outside(__m512 v, __m512 low, __m512 high)
{
	return (__mmask16)(_mm512_cmp_ps_mask(v, low, _CMP_LT_OQ) | _mm512_cmp_ps_mask(v, high, _CMP_GT_OQ));
}

static size_t outside(const float *x, size_t n, float low, float high)
{
	const __m512 l = _mm512_set1_ps(low), h = _mm512_set1_ps(high);
	size_t i = 0;

	for (; i + 4 * LANES <= n; i += 4 * LANES) { /* four at a time, for the sake of memory */
		__m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + LANES),
		       c = _mm512_loadu_ps(x + i + 2 * LANES), d = _mm512_loadu_ps(x + i + 3 * LANES);

		if (mask_outside(a, l, h) | mask_outside(b, l, h) | mask_outside(c, l, h) |
		    mask_outside(d, l, h))
			break;
	}
	for (; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__mmask16 found = in & mask_outside(_mm512_maskz_loadu_ps(in, x + i), l, h);

		if (found)
			return i + (size_t)__builtin_ctz(found);
	}
	return n;
}

static __m512i bins_of(__m512 x, __m512 low, __m512 scale, __m512 last)
{
	__m512 at = _mm512_mul_ps(_mm512_sub_ps(x, low), scale);

	at = _mm512_max_ps(at, _mm512_setzero_ps()); /* of NaN and 0, 0 */
	return _mm512_cvttps_epi32(_mm512_min_ps(at, last));
}

static void pair_bins(uint32_t *out, const float *a, const float *b, size_t n, float low, float scale,
                      uint32_t last)
{
	const __m512 l = _mm512_set1_ps(low), s = _mm512_set1_ps(scale), most = _mm512_set1_ps((float)last);

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512i one = bins_of(_mm512_maskz_loadu_ps(in, a + i), l, s, most),
		        other = bins_of(_mm512_maskz_loadu_ps(in, b + i), l, s, most);

		_mm512_mask_storeu_epi32(out + i, in, _mm512_add_epi32(one, _mm512_slli_epi32(other, 6)));
	}
}

static size_t count_reaching(const float *value, size_t n, __m512i least)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512i bits = _mm512_maskz_loadu_epi32(in, value + i);

		count += (size_t)__builtin_popcount(
		        _mm512_mask_cmp_epi32_mask(in, bits, least, _MM_CMPINT_NLT));
	}
	return count;
}

/* The least of those of n positive values that reach `least`, which are some. */
static float least_reaching(const float *value, size_t n, __m512i least)
{
	__m512i best = _mm512_set1_epi32(0x7fffffff);
	int32_t bits;
	float result;

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512i v = _mm512_maskz_loadu_epi32(in, value + i);

		best = _mm512_mask_min_epi32(best, _mm512_mask_cmp_epi32_mask(in, v, least, _MM_CMPINT_NLT),
		                             best, v);
	}
	bits = _mm512_reduce_min_epi32(best);
	memcpy(&result, &bits, sizeof(result));
	return result;
}

/* Bit by bit from the top, until just k values reach what is found so far. */
static float kth(const float *value, size_t n, size_t k)
{
	uint32_t reach = 0;

	for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 1) {
		size_t count = count_reaching(value, n, _mm512_set1_epi32((int)(reach | bit)));

		if (count >= k)
			reach |= bit;
		if (count == k)
			break;
	}
	return least_reaching(value, n, _mm512_set1_epi32((int)reach));
}

/* The lanes of `equal` that the first `ties` ties stand in. */
static __mmask16 first_ties(__mmask16 equal, size_t *ties)
{
	unsigned left = equal, taken = 0;

	while (left && *ties) {
		unsigned lowest = left & (0u - left);

		taken |= lowest;
		left ^= lowest;
		(*ties)--;
	}
	return (__mmask16)taken;
}

static size_t compact(uint32_t *index, float *value, size_t n, float least, size_t ties)
{
	const __m512 limit = _mm512_set1_ps(least);
	size_t kept = 0;

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 v = _mm512_maskz_loadu_ps(in, value + i);
		__m512i id = _mm512_maskz_loadu_epi32(in, index + i);
		__mmask16 keep = _mm512_mask_cmp_ps_mask(in, v, limit, _CMP_GT_OQ);
		__mmask16 equal = _mm512_mask_cmp_ps_mask(in, v, limit, _CMP_EQ_OQ);

		if (equal)
			keep |= first_ties(equal, &ties);
		_mm512_storeu_ps(value + kept, _mm512_maskz_compress_ps(keep, v));
		_mm512_storeu_si512(index + kept, _mm512_maskz_compress_epi32(keep, id));
		kept += (size_t)__builtin_popcount(keep);
	}
	return kept;
}

static void adam(float *w, float *m, float *v, const float *g, size_t n, const adam_coef *c)
{
	const __m512 beta1 = _mm512_set1_ps(c->beta1), rest1 = _mm512_set1_ps(c->rest1);
	const __m512 beta2 = _mm512_set1_ps(c->beta2), rest2 = _mm512_set1_ps(c->rest2);
	const __m512 step = _mm512_set1_ps(c->step), root = _mm512_set1_ps(c->root),
	             eps = _mm512_set1_ps(c->eps);

	for (size_t i = 0; i < n; i += LANES) {
		__mmask16 in = mask_of(n - i);
		__m512 grad = _mm512_maskz_loadu_ps(in, g + i);
		__m512 mean = _mm512_mul_ps(beta1, _mm512_maskz_loadu_ps(in, m + i));
		__m512 square = _mm512_mul_ps(beta2, _mm512_maskz_loadu_ps(in, v + i));
		__m512 below;

		mean = _mm512_fmadd_ps(rest1, grad, mean);
		square = _mm512_fmadd_ps(_mm512_mul_ps(rest2, grad), grad, square);
		below = _mm512_fmadd_ps(_mm512_sqrt_ps(square), root, eps);
		_mm512_mask_storeu_ps(m + i, in, mean);
		_mm512_mask_storeu_ps(v + i, in, square);
		_mm512_mask_storeu_ps(w + i, in,
		                      _mm512_sub_ps(_mm512_maskz_loadu_ps(in, w + i),
		                                    _mm512_div_ps(_mm512_mul_ps(step, mean), below)));
	}
}

const kernels kernels_avx512 = {
	.name = "avx512",
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
