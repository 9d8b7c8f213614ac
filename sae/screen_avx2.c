/* Screening kernels for AVX2: pairs of byte products summed in 16 bits, 64 dims at a time.
 *
 * A weight's code is at most 63 (so with its offset of 64 at most 127), a row's 127: a pair of products is at most 32,258,
 * which vpmaddubsw does not cut. A lane sums 16 such pairs. The sum starts at minus the offset's share and counts modulo
 * 2^16, so only the final sum, without the offset, must fit: it is at most the norm of the weight's codes in the lane times
 * the norm of the row's, and those are held to 120 and 272, whose product is 32,640. */
#include <immintrin.h>
#include <string.h>

#include "sae/screen_set.h"

enum { LANES = 8, OFFSET = 64, WEIGHT_MAX = 63, ROWS = 6, SEGMENT = 64 };

#define STAGE(x, swapped, minus) _mm256_add_ps((swapped), _mm256_xor_ps((x), (minus)))

static inline __m256 hadamard_lanes(__m256 x)
{
	x = STAGE(x, _mm256_permute_ps(x, 0xb1), _mm256_setr_ps(0, -0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f));
	x = STAGE(x, _mm256_permute_ps(x, 0x4e), _mm256_setr_ps(0, 0, -0.0f, -0.0f, 0, 0, -0.0f, -0.0f));
	return STAGE(x, _mm256_permute2f128_ps(x, x, 1),
	             _mm256_setr_ps(0, 0, 0, 0, -0.0f, -0.0f, -0.0f, -0.0f));
}

/* Sums and differences of registers a and b. */
static inline void butterfly(__m256 *a, __m256 *b)
{
	__m256 sum = _mm256_add_ps(*a, *b);

	*b = _mm256_sub_ps(*a, *b);
	*a = sum;
}

static void hadamard(float *x, size_t stride)
{
	const __m256 eighth = _mm256_set1_ps(0.125f);
	__m256 v[8];

	for (size_t i = 0; i < 8; i++)
		v[i] = hadamard_lanes(_mm256_loadu_ps(x + i / 2 * stride + i % 2 * LANES));
	for (size_t h = 1; h < 8; h *= 2)
		for (size_t i = 0; i < 8; i++)
			if (!(i & h))
				butterfly(&v[i], &v[i + h]);
	for (size_t i = 0; i < 8; i++)
		_mm256_storeu_ps(x + i / 2 * stride + i % 2 * LANES, _mm256_mul_ps(eighth, v[i]));
}

static void turn(float *x, const float *signs, size_t n)
{
	for (size_t i = 0; i < n; i += LANES)
		_mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(signs + i)));
	for (size_t i = 0; i < n; i += 64)
		hadamard(x + i, 16);
	for (size_t i = 0; i < n / 4; i += 16)
		hadamard(x + i, n / 4);
}

static float max_abs(const float *x, size_t n)
{
	const __m256 sign = _mm256_set1_ps(-0.0f);
	__m256 greatest = _mm256_setzero_ps();
	__m128 half;

	for (size_t i = 0; i < n; i += LANES)
		greatest = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), greatest);
	half = _mm_max_ps(_mm256_castps256_ps128(greatest), _mm256_extractf128_ps(greatest, 1));
	half = _mm_max_ps(half, _mm_movehl_ps(half, half));
	return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

static inline __m256i code_eight(const float *x, __m256 inverse)
{
	return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

static void code(int8_t *out, const float *x, size_t n, float scale)
{
	const __m256 inverse = _mm256_set1_ps(1 / scale);
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

	for (size_t i = 0; i < n; i += 32) {
		__m256i low = _mm256_packs_epi32(code_eight(x + i, inverse), code_eight(x + i + 8, inverse));
		__m256i high =
		        _mm256_packs_epi32(code_eight(x + i + 16, inverse), code_eight(x + i + 24, inverse));
		__m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);

		_mm256_storeu_si256((__m256i *)(void *)(out + i), bytes);
	}
}

static inline __m256i sixteen(const int8_t *c)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)c));
}

static int32_t sum_lanes(__m256i x)
{
	__m128i half = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

static float code_norm(const int8_t *c, size_t n)
{
	__m256i sum = _mm256_setzero_si256();

	for (size_t i = 0; i < n; i += 16)
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(sixteen(c + i), sixteen(c + i)));
	return __builtin_sqrtf((float)sum_lanes(sum));
}

static float code_error(const int8_t *c, const float *x, size_t n, float scale)
{
	const __m256 factor = _mm256_set1_ps(scale);
	__m256 sum = _mm256_setzero_ps();
	float part[LANES];

	for (size_t i = 0; i < n; i += LANES) {
		__m256 whole = _mm256_cvtepi32_ps(
		        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(c + i))));
		__m256 lost = _mm256_fnmadd_ps(factor, whole, _mm256_loadu_ps(x + i));

		sum = _mm256_fmadd_ps(lost, lost, sum);
	}
	_mm256_storeu_ps(part, sum);
	return __builtin_sqrtf(((part[0] + part[4]) + (part[2] + part[6])) +
	                       ((part[1] + part[5]) + (part[3] + part[7])));
}

/* A lane of a sum holds dims 4q and 4q + 1, or 4q + 2 and 4q + 3, of 64 dims: squares of such pairs, added up. */
static float lane_norm(const int8_t *c, size_t n)
{
	__m256i greatest = _mm256_setzero_si256();
	int32_t lanes[LANES], most = 0;

	for (size_t i = 0; i < n; i += SEGMENT) {
		__m256i sum = _mm256_setzero_si256(); /* pairs of dims: first and second half of each four */

		for (size_t j = i; j < i + SEGMENT; j += 16)
			sum = _mm256_add_epi32(sum, _mm256_madd_epi16(sixteen(c + j), sixteen(c + j)));
		sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
		sum = _mm256_add_epi32(sum, _mm256_permute2x128_si256(sum, sum, 1));
		greatest = _mm256_max_epi32(greatest, sum);
	}
	_mm256_storeu_si256((__m256i *)(void *)lanes, greatest);
	for (size_t i = 0; i < LANES; i++)
		most = lanes[i] > most ? lanes[i] : most;
	return __builtin_sqrtf((float)most);
}

static size_t starts(size_t d)
{
	return d / SEGMENT;
}

static void start(int32_t *out, const int8_t *c, size_t d)
{
	const __m256i ones = _mm256_set1_epi16(1);

	for (size_t s = 0; s < d / SEGMENT; s++) {
		__m256i sum = _mm256_setzero_si256();
		__m128i half;
		uint32_t first, second;

		for (size_t j = 0; j < SEGMENT; j += 16)
			sum = _mm256_add_epi32(sum, _mm256_madd_epi16(sixteen(c + s * SEGMENT + j), ones));
		half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
		half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
		first = (uint32_t)(-OFFSET * _mm_cvtsi128_si32(half)) & 0xffffu;
		second = (uint32_t)(-OFFSET * _mm_extract_epi32(half, 1)) & 0xffffu;
		out[s] = (int32_t)(first | second << 16);
	}
}

/* gcc 12 copies the accumulators of the intrinsics to the stack and back. */
#define DOT_BYTES(sum, weights, row)                                                                         \
	do {                                                                                                 \
		__m256i pairs;                                                                               \
		__asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"                                         \
		        : "+x"(sum), "=&x"(pairs)                                                            \
		        : "x"(weights), "x"(row));                                                           \
	} while (0)

/* `rows` rows, a constant where it is called, with the 16 features of a panel. */
static inline __attribute__((always_inline)) void part(const screen_product *p, size_t f, size_t t,
                                                       const int rows)
{
	const size_t segments = p->d / SEGMENT;
	const uint8_t *w = p->weights + f * p->d;
	const int8_t *x = p->rows + t * p->d;
	__m256i sum[ROWS][2], wide[ROWS][2];

	memset(wide, 0, sizeof(wide));
	for (size_t s = 0; s < segments; s++) {
#pragma GCC unroll 6
		for (int i = 0; i < rows; i++)
			sum[i][0] = sum[i][1] = _mm256_set1_epi32(p->start[(t + (size_t)i) * segments + s]);
		for (size_t q = s * SEGMENT / 4; q < (s + 1) * SEGMENT / 4; q++) {
			__m256i w0 = _mm256_loadu_si256((const __m256i *)(const void *)(w + q * 64));
			__m256i w1 = _mm256_loadu_si256((const __m256i *)(const void *)(w + q * 64 + 32));

#pragma GCC unroll 6
			for (int i = 0; i < rows; i++) {
				__m256i four;
				int32_t bytes;

				memcpy(&bytes, x + (size_t)i * p->d + 4 * q, sizeof(bytes));
				four = _mm256_set1_epi32(bytes);
				DOT_BYTES(sum[i][0], w0, four);
				DOT_BYTES(sum[i][1], w1, four);
			}
		}
#pragma GCC unroll 6
		for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
			for (int j = 0; j < 2; j++)
				wide[i][j] = _mm256_add_epi32(
				        wide[i][j], _mm256_madd_epi16(sum[i][j], _mm256_set1_epi16(1)));
	}
#pragma GCC unroll 2
	for (int j = 0; j < 2; j++) {
		size_t at = f + LANES * (size_t)j;
		__m256 scale = _mm256_loadu_ps(p->scale + at), bias = _mm256_loadu_ps(p->bias + at);
		__m256 norm = _mm256_loadu_ps(p->norm + at), lost = _mm256_loadu_ps(p->lost + at);

#pragma GCC unroll 6
		for (int i = 0; i < rows; i++) {
			size_t row = t + (size_t)i;
			__m256 bound = _mm256_fmadd_ps(lost, _mm256_set1_ps(p->row_norm[row]), bias);

			bound = _mm256_fmadd_ps(norm, _mm256_set1_ps(p->row_lost[row]), bound);
			bound = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(wide[i][j]), scale),
			                        _mm256_set1_ps(p->row_scale[row]), bound);
			_mm256_storeu_ps(p->out + row * p->stride + at, bound);
		}
	}
}

static void product(const screen_product *p)
{
	for (size_t f = 0; f < p->n_features; f += 2 * LANES) {
		size_t t = 0;

		for (; t + ROWS <= p->n; t += ROWS)
			part(p, f, t, ROWS);
		for (; t + 2 <= p->n; t += 2)
			part(p, f, t, 2);
		if (t < p->n)
			part(p, f, t, 1);
	}
}

const screen_set screen_avx2 = {
	.name = "avx2",
	.offset = OFFSET,
	.weight_max = WEIGHT_MAX,
	.weight_lane = 120,
	.row_lane = 272,
	.turn = turn,
	.max_abs = max_abs,
	.code = code,
	.code_norm = code_norm,
	.code_error = code_error,
	.lane_norm = lane_norm,
	.starts = starts,
	.start = start,
	.product = product,
};
