/* Screening kernels for AVX-512 with VNNI: products of bytes summed in 32 bits. */
#include <immintrin.h>
#include <string.h>

#include "sae/screen_set.h"

enum { LANES = 16, OFFSET = 128, ROWS = 6, PANELS = 4 };

/* One stage of Hadamard transforms inside a register: sums where `minus` is clear, differences where it is set. */
#define STAGE(x, swapped, minus)                                                                             \
	_mm512_add_ps((swapped), _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(x), (minus))))

static inline __m512i minus_where(unsigned mask)
{
	return _mm512_maskz_set1_epi32((__mmask16)mask, (int)0x80000000u);
}

static inline __m512 hadamard_lanes(__m512 x)
{
	x = STAGE(x, _mm512_permute_ps(x, 0xb1), minus_where(0xaaaa));
	x = STAGE(x, _mm512_permute_ps(x, 0x4e), minus_where(0xcccc));
	x = STAGE(x, _mm512_shuffle_f32x4(x, x, 0xb1), minus_where(0xf0f0));
	return STAGE(x, _mm512_shuffle_f32x4(x, x, 0x4e), minus_where(0xff00));
}

static void hadamard(float *x, size_t stride)
{
	const __m512 eighth = _mm512_set1_ps(0.125f);
	__m512 a = hadamard_lanes(_mm512_loadu_ps(x)), b = hadamard_lanes(_mm512_loadu_ps(x + stride));
	__m512 c = hadamard_lanes(_mm512_loadu_ps(x + 2 * stride)),
	       d = hadamard_lanes(_mm512_loadu_ps(x + 3 * stride));
	__m512 e = _mm512_add_ps(a, b), f = _mm512_sub_ps(a, b);
	__m512 g = _mm512_add_ps(c, d), h = _mm512_sub_ps(c, d);

	_mm512_storeu_ps(x, _mm512_mul_ps(eighth, _mm512_add_ps(e, g)));
	_mm512_storeu_ps(x + stride, _mm512_mul_ps(eighth, _mm512_add_ps(f, h)));
	_mm512_storeu_ps(x + 2 * stride, _mm512_mul_ps(eighth, _mm512_sub_ps(e, g)));
	_mm512_storeu_ps(x + 3 * stride, _mm512_mul_ps(eighth, _mm512_sub_ps(f, h)));
}

static void turn(float *x, const float *signs, size_t n)
{
	for (size_t i = 0; i < n; i += LANES)
		_mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(signs + i)));
	for (size_t i = 0; i < n; i += 4 * LANES)
		hadamard(x + i, LANES);
	for (size_t i = 0; i < n / 4; i += LANES)
		hadamard(x + i, n / 4);
}

static float max_abs(const float *x, size_t n)
{
	__m512 greatest = _mm512_setzero_ps();

	for (size_t i = 0; i < n; i += LANES)
		greatest = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i)), greatest);
	return _mm512_reduce_max_ps(greatest);
}

static void code(int8_t *out, const float *x, size_t n, float scale)
{
	const __m512 inverse = _mm512_set1_ps(1 / scale);

	for (size_t i = 0; i < n; i += LANES) {
		__m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse));

		_mm_storeu_si128((__m128i *)(void *)(out + i), _mm512_cvtsepi32_epi8(c));
	}
}

static float code_norm(const int8_t *c, size_t n)
{
	__m512i sum = _mm512_setzero_si512();

	for (size_t i = 0; i < n; i += 32) {
		__m512i wide =
		        _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(c + i)));

		sum = _mm512_add_epi32(sum, _mm512_madd_epi16(wide, wide));
	}
	return __builtin_sqrtf((float)_mm512_reduce_add_epi32(sum));
}

static float code_error(const int8_t *c, const float *x, size_t n, float scale)
{
	const __m512 factor = _mm512_set1_ps(scale);
	__m512 sum = _mm512_setzero_ps();

	for (size_t i = 0; i < n; i += LANES) {
		__m512 whole = _mm512_cvtepi32_ps(
		        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(c + i))));
		__m512 lost = _mm512_fnmadd_ps(factor, whole, _mm512_loadu_ps(x + i));

		sum = _mm512_fmadd_ps(lost, lost, sum);
	}
	return __builtin_sqrtf(_mm512_reduce_add_ps(sum));
}

static size_t starts(size_t d)
{
	(void)d;
	return 1;
}

static void start(int32_t *out, const int8_t *c, size_t d)
{
	__m512i sum = _mm512_setzero_si512();

	for (size_t i = 0; i < d; i += LANES)
		sum = _mm512_add_epi32(
		        sum, _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(c + i))));
	*out = -OFFSET * _mm512_reduce_add_epi32(sum);
}

/* gcc 12 copies the accumulators of the intrinsic to the stack and back, at half the speed. */
#define DOT_BYTES(sum, weights, row) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(row))

/* `rows` rows, a constant where it is called, with 64 features. */
static inline __attribute__((always_inline)) void part(const screen_product *p, size_t f, size_t t,
                                                       const int rows)
{
	const size_t quads = p->d / 4;
	const uint8_t *w = p->weights + f * p->d;
	const int8_t *x = p->rows + t * p->d;
	__m512i sum[ROWS][PANELS];

#pragma GCC unroll 6
	for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (int j = 0; j < PANELS; j++)
			sum[i][j] = _mm512_set1_epi32(p->start[t + (size_t)i]);
	for (size_t q = 0; q < quads; q++) {
		__m512i w0 = _mm512_loadu_si512(w + q * 64), w1 = _mm512_loadu_si512(w + (quads + q) * 64);
		__m512i w2 = _mm512_loadu_si512(w + (2 * quads + q) * 64),
		        w3 = _mm512_loadu_si512(w + (3 * quads + q) * 64);

#pragma GCC unroll 6
		for (int i = 0; i < rows; i++) {
			__m512i four;
			int32_t bytes;

			memcpy(&bytes, x + (size_t)i * p->d + 4 * q, sizeof(bytes));
			four = _mm512_set1_epi32(bytes);
			DOT_BYTES(sum[i][0], w0, four);
			DOT_BYTES(sum[i][1], w1, four);
			DOT_BYTES(sum[i][2], w2, four);
			DOT_BYTES(sum[i][3], w3, four);
		}
	}
#pragma GCC unroll 4
	for (int j = 0; j < PANELS; j++) {
		size_t at = f + LANES * (size_t)j;
		__m512 scale = _mm512_loadu_ps(p->scale + at), bias = _mm512_loadu_ps(p->bias + at);
		__m512 norm = _mm512_loadu_ps(p->norm + at), lost = _mm512_loadu_ps(p->lost + at);

#pragma GCC unroll 6
		for (int i = 0; i < rows; i++) {
			size_t row = t + (size_t)i;
			__m512 bound = _mm512_fmadd_ps(lost, _mm512_set1_ps(p->row_norm[row]), bias);

			bound = _mm512_fmadd_ps(norm, _mm512_set1_ps(p->row_lost[row]), bound);
			bound = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[i][j]), scale),
			                        _mm512_set1_ps(p->row_scale[row]), bound);
			_mm512_storeu_ps(p->out + row * p->stride + at, bound);
		}
	}
}

static void product(const screen_product *p)
{
	for (size_t f = 0; f < p->n_features; f += LANES * PANELS) {
		size_t t = 0;

		for (; t + ROWS <= p->n; t += ROWS)
			part(p, f, t, ROWS);
		for (; t + 2 <= p->n; t += 2)
			part(p, f, t, 2);
		if (t < p->n)
			part(p, f, t, 1);
	}
}

const screen_set screen_vnni = {
	.name = "avx512-vnni",
	.offset = OFFSET,
	.weight_max = 127,
	.turn = turn,
	.max_abs = max_abs,
	.code = code,
	.code_norm = code_norm,
	.code_error = code_error,
	.starts = starts,
	.start = start,
	.product = product,
};
