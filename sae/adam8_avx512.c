/* Adam with 8-bit moments for AVX-512: adam8.c in vectors, the same operations in the same order, none fused. */
#include <math.h>

#include <immintrin.h>

#include "sae/adam8.h"

#define LANES 16

static __m512i random_bits(__m512i x)
{
	x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
	x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x85ebca6bU));
	x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 13));
	x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0xc2b2ae35U));
	return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

static __m512 absolute(__m512 x)
{
	return _mm512_abs_ps(x);
}

static __m512 load_m(const int8_t *q, __m512 top)
{
	__m512 a = _mm512_mul_ps(
	        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)q))),
	        _mm512_set1_ps(1 / 127.0F));

	return _mm512_mul_ps(top, _mm512_mul_ps(a, absolute(a)));
}

static __m512 load_root(const uint8_t *q, __m512 root)
{
	__m512 a = _mm512_mul_ps(
	        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)q))),
	        _mm512_set1_ps(1 / 255.0F));

	return _mm512_mul_ps(root, _mm512_mul_ps(a, a));
}

static void store_m(int8_t *q, __m512 m, __m512 inverse, __m512i bits)
{
	__m512 x = _mm512_mul_ps(absolute(m), inverse);
	__m512 y = _mm512_mul_ps(_mm512_set1_ps(127), _mm512_sqrt_ps(x));
	__m512i whole = _mm512_cvttps_epi32(_mm512_min_ps(y, _mm512_set1_ps(126)));
	__m512 floor_y = _mm512_cvtepi32_ps(whole);
	__m512 lo = _mm512_mul_ps(floor_y, _mm512_set1_ps(1 / 127.0F)),
	       hi = _mm512_mul_ps(_mm512_add_ps(floor_y, _mm512_set1_ps(1)), _mm512_set1_ps(1 / 127.0F));
	__m512 odds =
	        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(bits, 16)), _mm512_set1_ps(0x1p-16F));
	__mmask16 up, negative;

	lo = _mm512_mul_ps(lo, lo);
	hi = _mm512_mul_ps(hi, hi);
	up = _mm512_cmp_ps_mask(_mm512_mul_ps(odds, _mm512_sub_ps(hi, lo)), _mm512_sub_ps(x, lo), _CMP_LT_OQ);
	negative = _mm512_cmp_ps_mask(m, _mm512_setzero_ps(), _CMP_LT_OQ);
	whole = _mm512_mask_add_epi32(whole, up, whole, _mm512_set1_epi32(1));
	whole = _mm512_mask_sub_epi32(whole, negative, _mm512_setzero_si512(), whole);
	_mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(whole));
}

/* root_v: sqrt(v). */
static void store_v(uint8_t *q, __m512 root_v, __m512 inverse, __m512i bits)
{
	__m512 x = _mm512_mul_ps(root_v, inverse);
	__m512 y = _mm512_mul_ps(_mm512_set1_ps(255), _mm512_sqrt_ps(x));
	__m512i whole = _mm512_cvttps_epi32(_mm512_min_ps(y, _mm512_set1_ps(254)));
	__m512 floor_y = _mm512_cvtepi32_ps(whole);
	__m512 lo = _mm512_mul_ps(floor_y, _mm512_set1_ps(1 / 255.0F)),
	       hi = _mm512_mul_ps(_mm512_add_ps(floor_y, _mm512_set1_ps(1)), _mm512_set1_ps(1 / 255.0F));
	__m512 odds = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_and_si512(bits, _mm512_set1_epi32(0xffff))),
	                            _mm512_set1_ps(0x1p-16F));
	__mmask16 up, some;

	lo = _mm512_mul_ps(lo, lo);
	lo = _mm512_mul_ps(lo, lo);
	hi = _mm512_mul_ps(hi, hi);
	hi = _mm512_mul_ps(hi, hi);
	up = _mm512_cmp_ps_mask(_mm512_mul_ps(odds, _mm512_sub_ps(hi, lo)),
	                        _mm512_sub_ps(_mm512_mul_ps(x, x), lo), _CMP_LT_OQ);
	some = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
	whole = _mm512_mask_add_epi32(whole, up, whole, _mm512_set1_epi32(1));
	whole = _mm512_mask_max_epi32(whole, some, whole, _mm512_set1_epi32(1));
	_mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(whole));
}

static void step_values(float *w, __m512 *m, __m512 *roots, __m512 g, const adam8_coef *c)
{
	__m512 r = *roots;
	__m512 v = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(c->a.beta2), _mm512_mul_ps(r, r)),
	                         _mm512_mul_ps(_mm512_set1_ps(c->a.rest2), _mm512_mul_ps(g, g)));
	__m512 limit, under;

	*m = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(c->a.beta1), *m),
	                   _mm512_mul_ps(_mm512_set1_ps(c->a.rest1), g));
	*roots = _mm512_sqrt_ps(v);
	limit = _mm512_mul_ps(_mm512_set1_ps(c->most), *roots);
	*m = _mm512_min_ps(*m, limit);
	*m = _mm512_max_ps(*m, _mm512_sub_ps(_mm512_set1_ps(-0.0F), limit));
	under = _mm512_add_ps(_mm512_mul_ps(*roots, _mm512_set1_ps(c->a.root)), _mm512_set1_ps(c->a.eps));
	_mm512_storeu_ps(w,
	                 _mm512_sub_ps(_mm512_loadu_ps(w),
	                               _mm512_div_ps(_mm512_mul_ps(_mm512_set1_ps(c->a.step), *m), under)));
}

static float largest(__m512 x)
{
	float lanes[LANES], most = 0;

	_mm512_storeu_ps(lanes, x);
	for (int i = 0; i < LANES; i++)
		most = lanes[i] > most ? lanes[i] : most;
	return most;
}

static void block(float *w, int8_t *m8, uint8_t *v8, float scales[2], const float *g, const adam8_coef *c,
                  uint32_t seed)
{
	__m512 m[ADAM8_BLOCK / LANES], roots[ADAM8_BLOCK / LANES], top = _mm512_setzero_ps(),
	                                                           root = _mm512_setzero_ps();
	__m512i at =
	        _mm512_add_epi32(_mm512_set1_epi32((int)seed),
	                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

	for (int i = 0; i < ADAM8_BLOCK / LANES; i++) {
		m[i] = load_m(m8 + i * LANES, _mm512_set1_ps(scales[0]));
		roots[i] = load_root(v8 + i * LANES, _mm512_set1_ps(scales[1]));
		step_values(w + i * LANES, &m[i], &roots[i],
		            g ? _mm512_loadu_ps(g + i * LANES) : _mm512_setzero_ps(), c);
		top = _mm512_max_ps(absolute(m[i]), top);
		root = _mm512_max_ps(roots[i], root);
	}
	if (!g) { /* all moments shrank alike */
		scales[0] *= c->a.beta1;
		scales[1] *= sqrtf(c->a.beta2);
		return;
	}
	scales[0] = largest(top);
	scales[1] = largest(root);
	top = _mm512_set1_ps(adam8_inverse(scales[0]));
	root = _mm512_set1_ps(adam8_inverse(scales[1]));
	for (int i = 0; i < ADAM8_BLOCK / LANES; i++) {
		__m512i bits = random_bits(at);

		store_m(m8 + i * LANES, m[i], top, bits);
		store_v(v8 + i * LANES, roots[i], root, bits);
		at = _mm512_add_epi32(at, _mm512_set1_epi32(LANES));
	}
}

static void row(float *w, int8_t *m, uint8_t *v, float *scales, const float *g, size_t n, const adam8_coef *c,
                uint32_t seed)
{
	adam8_blocks(block, w, m, v, scales, g, n, c, seed);
}

const adam8_kernels adam8_avx512 = { "avx512", row };
