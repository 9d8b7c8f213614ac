/* Kernels for AVX2 and FMA. Tails are plain loops. */
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "sae/kernels.h"

#define LANES 8

static float sum_lanes(__m256 x)
{
	__m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	half = _mm_add_ps(half, _mm_movehl_ps(half, half));
	return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

static float dot(const float *a, const float *b, size_t n)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	size_t i = 0;
	float sum;

	for (; i + 4 * LANES <= n; i += 4 * LANES) {
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
		s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
		s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
		s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
	}
	sum = sum_lanes(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
	for (; i < n; i++)
		sum += a[i] * b[i];
	return sum;
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

static size_t filter(uint32_t *index, float *value, const float *pre, const float *bias, size_t n,
                     uint32_t first, float above)
{
	const __m256 limit = _mm256_set1_ps(above);
	size_t kept = 0, i = 0;

	for (; i + LANES <= n; i += LANES) {
		__m256 sum = _mm256_add_ps(_mm256_loadu_ps(pre + i), _mm256_loadu_ps(bias + i));
		unsigned over = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(sum, limit, _CMP_GT_OQ));

		if (over) {
			float sums[LANES];

			_mm256_storeu_ps(sums, sum);
			for (; over; over &= over - 1) {
				unsigned lane = (unsigned)__builtin_ctz(over);

				index[kept] = first + (uint32_t)i + lane;
				value[kept++] = sums[lane];
			}
		}
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

/* Compares as signed integers: right for the bits of positive floats. */
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

/* Without branches: written always, counted when kept. */
static size_t compact(uint32_t *index, float *value, size_t n, float least, size_t ties)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
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
	.sum_squares = sum_squares,
	.add_f64 = add_f64,
	.axpy = axpy,
	.scale = scale,
	.center = center,
	.combine = combine,
	.filter = filter,
	.greatest = greatest,
	.kth = kth,
	.compact = compact,
	.adam = adam,
};
