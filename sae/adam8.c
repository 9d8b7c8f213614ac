/* Adam with 8-bit moments: the definition, and what its versions share. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "sae/adam8.h"

adam8_coef adam8_coef_of(const adam_coef *c)
{
	double beta1 = c->beta1, beta2 = c->beta2, rest = 1 - beta1 * beta1 / beta2;
	double most = beta2 > 0 && rest > 0 ? (1 - beta1) / sqrt((1 - beta2) * rest) : 1e30;

	return (adam8_coef){ .a = *c, .most = (float)(1.001 * most) };
}

uint32_t adam8_seed(uint64_t t, uint64_t row)
{
	return (uint32_t)hash64_mix(t, row);
}

const adam8_kernels *adam8_get(const char *name)
{
	static const struct {
		const adam8_kernels *k;
		unsigned needs;
	} tables[] = { /* best first */
		       { &adam8_avx512, CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL },
		       { &adam8_avx2, CPU_AVX2 | CPU_FMA },
		       { &adam8_scalar, 0 }
	};

	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		if ((cpu_features() & tables[i].needs) == tables[i].needs &&
		    (!name || strcmp(name, tables[i].k->name) == 0))
			return tables[i].k;
	return NULL;
}

float adam8_inverse(float scale)
{
	return scale > 1e-30F ? 1 / scale : 0;
}

void adam8_blocks(adam8_block_step *block, float *w, int8_t *m, uint8_t *v, float *scales, const float *g,
                  size_t n, const adam8_coef *c, uint32_t seed)
{
	size_t i = 0, rest;
	float w_end[ADAM8_BLOCK] = { 0 }, g_end[ADAM8_BLOCK] = { 0 };
	int8_t m_end[ADAM8_BLOCK] = { 0 };
	uint8_t v_end[ADAM8_BLOCK] = { 0 };

	for (; i + ADAM8_BLOCK <= n; i += ADAM8_BLOCK, scales += 2)
		block(w + i, m + i, v + i, scales, g ? g + i : NULL, c, seed + (uint32_t)i);
	rest = n - i;
	if (rest == 0)
		return;
	memcpy(w_end, w + i, rest * sizeof(*w));
	memcpy(m_end, m + i, rest);
	memcpy(v_end, v + i, rest);
	if (g)
		memcpy(g_end, g + i, rest * sizeof(*g));
	block(w_end, m_end, v_end, scales, g ? g_end : NULL, c, seed + (uint32_t)i);
	memcpy(w + i, w_end, rest * sizeof(*w));
	memcpy(m + i, m_end, rest);
	memcpy(v + i, v_end, rest);
}

/* ---- The definition ------------------------------------------------------------------------------------------------- */

/* 32 random bits: the upper 16 round m, the lower 16 v. */
static uint32_t random_bits(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x85ebca6bU;
	x ^= x >> 13;
	x *= 0xc2b2ae35U;
	return x ^ x >> 16;
}

static float decode_m(int8_t q, float top)
{
	float a = (float)q * (1 / 127.0F);

	return top * (a * fabsf(a));
}

/* sqrt(v). */
static float decode_root(uint8_t q, float root)
{
	float a = (float)q * (1 / 255.0F);

	return root * (a * a);
}

static int8_t encode_m(float m, float inverse, uint32_t bits)
{
	float x = fabsf(m) * inverse, y = 127 * sqrtf(x), floor_y = y < 126 ? (float)(int)y : 126;
	float lo = floor_y * (1 / 127.0F), hi = (floor_y + 1) * (1 / 127.0F);
	float odds = (float)(bits >> 16) * 0x1p-16F;
	int q;

	lo *= lo;
	hi *= hi;
	q = (int)floor_y + (odds * (hi - lo) < x - lo);
	return (int8_t)(m < 0 ? -q : q);
}

/* root_v: sqrt(v). */
static uint8_t encode_v(float root_v, float inverse, uint32_t bits)
{
	float x = root_v * inverse, y = 255 * sqrtf(x), floor_y = y < 254 ? (float)(int)y : 254;
	float lo = floor_y * (1 / 255.0F), hi = (floor_y + 1) * (1 / 255.0F);
	float odds = (float)(bits & 0xffff) * 0x1p-16F;
	int q;

	lo = lo * lo * (lo * lo);
	hi = hi * hi * (hi * hi);
	q = (int)floor_y + (odds * (hi - lo) < x * x - lo);
	return (uint8_t)(x > 0 && q < 1 ? 1 : q);
}

static void scalar_block(float *w, int8_t *m8, uint8_t *v8, float scales[2], const float *g,
                         const adam8_coef *c, uint32_t seed)
{
	float m[ADAM8_BLOCK], roots[ADAM8_BLOCK], top = 0, root = 0, limit, inverse_top, inverse_root;

	for (size_t i = 0; i < ADAM8_BLOCK; i++) {
		float gradient = g ? g[i] : 0, r = decode_root(v8[i], scales[1]);
		float v = c->a.beta2 * (r * r) + c->a.rest2 * (gradient * gradient);

		m[i] = c->a.beta1 * decode_m(m8[i], scales[0]) + c->a.rest1 * gradient;
		roots[i] = sqrtf(v);
		limit = c->most * roots[i];
		m[i] = m[i] < limit ? m[i] : limit;
		m[i] = m[i] > -limit ? m[i] : -limit;
		w[i] -= c->a.step * m[i] / (roots[i] * c->a.root + c->a.eps);
		top = fabsf(m[i]) > top ? fabsf(m[i]) : top;
		root = roots[i] > root ? roots[i] : root;
	}
	if (!g) { /* all moments shrank alike */
		scales[0] *= c->a.beta1;
		scales[1] *= sqrtf(c->a.beta2);
		return;
	}
	scales[0] = top;
	scales[1] = root;
	inverse_top = adam8_inverse(top);
	inverse_root = adam8_inverse(root);
	for (uint32_t i = 0; i < ADAM8_BLOCK; i++) {
		uint32_t bits = random_bits(seed + i);

		m8[i] = encode_m(m[i], inverse_top, bits);
		v8[i] = encode_v(roots[i], inverse_root, bits);
	}
}

static void scalar_row(float *w, int8_t *m, uint8_t *v, float *scales, const float *g, size_t n,
                       const adam8_coef *c, uint32_t seed)
{
	adam8_blocks(scalar_block, w, m, v, scales, g, n, c, seed);
}

const adam8_kernels adam8_scalar = { "scalar", scalar_row };
