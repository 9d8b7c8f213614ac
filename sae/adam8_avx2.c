/* Adam with 8-bit moments for AVX2: adam8.c in vectors, the same operations in the same order, none fused. */
#include <math.h>

#include <immintrin.h>

#include "sae/adam8.h"

#define LANES 8

static __m256i random_bits(__m256i x)
{
	x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
	x = _mm256_mullo_epi32(x, _mm256_set1_epi32((int)0x85ebca6bU));
	x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 13));
	x = _mm256_mullo_epi32(x, _mm256_set1_epi32((int)0xc2b2ae35U));
	return _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
}

static __m256 absolute(__m256 x)
{
	return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x);
}

static __m256 load_m(const int8_t *q, __m256 top)
{
	__m256 a = _mm256_mul_ps(
	        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)q))),
	        _mm256_set1_ps(1 / 127.0F));

	return _mm256_mul_ps(top, _mm256_mul_ps(a, absolute(a)));
}

static __m256 load_root(const uint8_t *q, __m256 root)
{
	__m256 a = _mm256_mul_ps(
	        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)q))),
	        _mm256_set1_ps(1 / 255.0F));

	return _mm256_mul_ps(root, _mm256_mul_ps(a, a));
}

/* Eight numbers of -127..127 or 0..255. */
static void store_bytes(void *q, __m256i x)
{
	__m128i words = _mm_packus_epi16(
	        _mm_and_si128(_mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)),
	                      _mm_set1_epi16(0xff)),
	        _mm_setzero_si128());

	_mm_storel_epi64(q, words);
}

static void store_m(int8_t *q, __m256 m, __m256 inverse, __m256i bits)
{
	__m256 x = _mm256_mul_ps(absolute(m), inverse);
	__m256 y = _mm256_mul_ps(_mm256_set1_ps(127), _mm256_sqrt_ps(x));
	__m256i whole = _mm256_cvttps_epi32(_mm256_min_ps(y, _mm256_set1_ps(126)));
	__m256 floor_y = _mm256_cvtepi32_ps(whole);
	__m256 lo = _mm256_mul_ps(floor_y, _mm256_set1_ps(1 / 127.0F)),
	       hi = _mm256_mul_ps(_mm256_add_ps(floor_y, _mm256_set1_ps(1)), _mm256_set1_ps(1 / 127.0F));
	__m256 odds = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(bits, 16)),
	                            _mm256_set1_ps(0x1p-16F)),
	       up;

	lo = _mm256_mul_ps(lo, lo);
	hi = _mm256_mul_ps(hi, hi);
	up = _mm256_cmp_ps(_mm256_mul_ps(odds, _mm256_sub_ps(hi, lo)), _mm256_sub_ps(x, lo), _CMP_LT_OQ);
	whole = _mm256_sub_epi32(whole, _mm256_castps_si256(up)); /* a true lane is -1 */
	whole = _mm256_sign_epi32(whole, _mm256_castps_si256(m));
	store_bytes(q, whole);
}

/* root_v: sqrt(v). */
static void store_v(uint8_t *q, __m256 root_v, __m256 inverse, __m256i bits)
{
	__m256 x = _mm256_mul_ps(root_v, inverse);
	__m256 y = _mm256_mul_ps(_mm256_set1_ps(255), _mm256_sqrt_ps(x));
	__m256i whole = _mm256_cvttps_epi32(_mm256_min_ps(y, _mm256_set1_ps(254)));
	__m256 floor_y = _mm256_cvtepi32_ps(whole);
	__m256 lo = _mm256_mul_ps(floor_y, _mm256_set1_ps(1 / 255.0F)),
	       hi = _mm256_mul_ps(_mm256_add_ps(floor_y, _mm256_set1_ps(1)), _mm256_set1_ps(1 / 255.0F));
	__m256 odds = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_and_si256(bits, _mm256_set1_epi32(0xffff))),
	                            _mm256_set1_ps(0x1p-16F)),
	       up, some;

	lo = _mm256_mul_ps(lo, lo);
	lo = _mm256_mul_ps(lo, lo);
	hi = _mm256_mul_ps(hi, hi);
	hi = _mm256_mul_ps(hi, hi);
	up = _mm256_cmp_ps(_mm256_mul_ps(odds, _mm256_sub_ps(hi, lo)), _mm256_sub_ps(_mm256_mul_ps(x, x), lo),
	                   _CMP_LT_OQ);
	some = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ);
	whole = _mm256_sub_epi32(whole, _mm256_castps_si256(up)); /* a true lane is -1 */
	whole = _mm256_max_epi32(whole, _mm256_srli_epi32(_mm256_castps_si256(some), 31));
	store_bytes(q, whole);
}

static void step_values(float *w, __m256 *m, __m256 *roots, __m256 g, const adam8_coef *c)
{
	__m256 r = *roots;
	__m256 v = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(c->a.beta2), _mm256_mul_ps(r, r)),
	                         _mm256_mul_ps(_mm256_set1_ps(c->a.rest2), _mm256_mul_ps(g, g)));
	__m256 limit, under;

	*m = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(c->a.beta1), *m),
	                   _mm256_mul_ps(_mm256_set1_ps(c->a.rest1), g));
	*roots = _mm256_sqrt_ps(v);
	limit = _mm256_mul_ps(_mm256_set1_ps(c->most), *roots);
	*m = _mm256_min_ps(*m, limit);
	*m = _mm256_max_ps(*m, _mm256_sub_ps(_mm256_set1_ps(-0.0F), limit));
	under = _mm256_add_ps(_mm256_mul_ps(*roots, _mm256_set1_ps(c->a.root)), _mm256_set1_ps(c->a.eps));
	_mm256_storeu_ps(w,
	                 _mm256_sub_ps(_mm256_loadu_ps(w),
	                               _mm256_div_ps(_mm256_mul_ps(_mm256_set1_ps(c->a.step), *m), under)));
}

static float largest(__m256 x)
{
	float lanes[LANES], most = 0;

	_mm256_storeu_ps(lanes, x);
	for (int i = 0; i < LANES; i++)
		most = lanes[i] > most ? lanes[i] : most;
	return most;
}

static void block(float *w, int8_t *m8, uint8_t *v8, float scales[2], const float *g, const adam8_coef *c,
                  uint32_t seed)
{
	__m256 m[ADAM8_BLOCK / LANES], roots[ADAM8_BLOCK / LANES], top = _mm256_setzero_ps(),
	                                                           root = _mm256_setzero_ps();
	__m256i at =
	        _mm256_add_epi32(_mm256_set1_epi32((int)seed), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));

	for (int i = 0; i < ADAM8_BLOCK / LANES; i++) {
		m[i] = load_m(m8 + i * LANES, _mm256_set1_ps(scales[0]));
		roots[i] = load_root(v8 + i * LANES, _mm256_set1_ps(scales[1]));
		step_values(w + i * LANES, &m[i], &roots[i],
		            g ? _mm256_loadu_ps(g + i * LANES) : _mm256_setzero_ps(), c);
		top = _mm256_max_ps(absolute(m[i]), top);
		root = _mm256_max_ps(roots[i], root);
	}
	if (!g) { /* all moments shrank alike */
		scales[0] *= c->a.beta1;
		scales[1] *= sqrtf(c->a.beta2);
		return;
	}
	scales[0] = largest(top);
	scales[1] = largest(root);
	top = _mm256_set1_ps(adam8_inverse(scales[0]));
	root = _mm256_set1_ps(adam8_inverse(scales[1]));
	for (int i = 0; i < ADAM8_BLOCK / LANES; i++) {
		__m256i bits = random_bits(at);

		store_m(m8 + i * LANES, m[i], top, bits);
		store_v(v8 + i * LANES, roots[i], root, bits);
		at = _mm256_add_epi32(at, _mm256_set1_epi32(LANES));
	}
}

static void row(float *w, int8_t *m, uint8_t *v, float *scales, const float *g, size_t n, const adam8_coef *c,
                uint32_t seed)
{
	adam8_blocks(block, w, m, v, scales, g, n, c, seed);
}

const adam8_kernels adam8_avx2 = { "avx2", row };
