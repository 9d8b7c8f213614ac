/* The conversions of convert.c with AVX2 and F16C. Tails go through the scalar definition. */
#include "sae/file_internal.h"

#include <immintrin.h>

static void avx2_f16_to_f32(float *out, const uint16_t *in, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i,
		                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(in + i))));
	convert_scalar.f16_to_f32(out + i, in + i, n - i);
}

static void avx2_bf16_to_f32(float *out, const uint16_t *in, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		__m256i wide =
		        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(in + i)));
		_mm256_storeu_si256((__m256i *)(void *)(out + i), _mm256_slli_epi32(wide, 16));
	}
	convert_scalar.bf16_to_f32(out + i, in + i, n - i);
}

static void avx2_f32_to_f16(uint16_t *out, const float *in, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *)(void *)(out + i),
		                 _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
	convert_scalar.f32_to_f16(out + i, in + i, n - i);
}

const convert_kernels convert_avx2 = { "avx2", avx2_f16_to_f32, avx2_bf16_to_f32, avx2_f32_to_f16 };
