/* Number formats: sizes, names, and conversion to what the program computes in. The scalar loops here are the
 * definition; convert_avx2.c must give the same bits. */
#include "sae/file_internal.h"

#include <assert.h>
#include <string.h>

static const struct {
	const char *name;
	size_t size;
} dtypes[] = {
	[SAE_F16] = { "F16", 2 },   [SAE_BF16] = { "BF16", 2 }, [SAE_F32] = { "F32", 4 },
	[SAE_F64] = { "F64", 8 },   [SAE_I8] = { "I8", 1 },     [SAE_I16] = { "I16", 2 },
	[SAE_I32] = { "I32", 4 },   [SAE_I64] = { "I64", 8 },   [SAE_U8] = { "U8", 1 },
	[SAE_U16] = { "U16", 2 },   [SAE_U32] = { "U32", 4 },   [SAE_U64] = { "U64", 8 },
	[SAE_BOOL] = { "BOOL", 1 },
};

size_t sae_dtype_size(sae_dtype t)
{
	assert((size_t)t < ARRAY_LEN(dtypes));
	return dtypes[t].size;
}

const char *sae_dtype_name(sae_dtype t)
{
	assert((size_t)t < ARRAY_LEN(dtypes));
	return dtypes[t].name;
}

bool convert_is_float(sae_dtype t)
{
	return t <= SAE_F64;
}

bool convert_is_integer(sae_dtype t)
{
	return t >= SAE_I8 && t <= SAE_U64;
}

static float float_of_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint32_t bits_of_float(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

/* Signalling NaNs come out quiet, as VCVTPH2PS makes them. */
static float f16_value(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;

	if (exponent == 31)
		return float_of_bits(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
	if (exponent == 0) { /* zero or subnormal: mantissa * 2^-24 */
		float f = (float)mantissa * 0x1p-24f;
		return sign ? -f : f;
	}
	return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static uint16_t f16_bits(float f)
{
	uint32_t bits = bits_of_float(f), magnitude = bits & 0x7fffffff;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	uint32_t mantissa, shift, rounded;

	if (magnitude > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
	if (magnitude >= 0x477ff000) /* 65520 and more round to infinity */
		return (uint16_t)(sign | 0x7c00);
	if (magnitude < 0x33000000) /* less than half the smallest subnormal */
		return sign;
	if (magnitude >=
	    0x38800000) { /* normal: rebias, then round to nearest even; a carry is a right exponent */
		rounded = magnitude - 0x38000000;
		shift = 13;
	} else {
		mantissa = (magnitude & 0x7fffff) | 0x800000;
		shift = 126 - (magnitude >> 23);
		rounded = mantissa;
	}
	rounded += (1U << (shift - 1)) - 1 + (rounded >> shift & 1);
	return (uint16_t)(sign | rounded >> shift);
}

static void scalar_f16_to_f32(float *out, const uint16_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f16_value(in[i]);
}

static void scalar_bf16_to_f32(float *out, const uint16_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = float_of_bits((uint32_t)in[i] << 16);
}

static void scalar_f32_to_f16(uint16_t *out, const float *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f16_bits(in[i]);
}

const convert_kernels convert_scalar = { "scalar", scalar_f16_to_f32, scalar_bf16_to_f32, scalar_f32_to_f16 };

const convert_kernels *convert_kernels_get(const char *name)
{
	static const struct {
		const convert_kernels *k;
		unsigned needs;
	} tables[] = { /* best first */
		       { &convert_avx2, CPU_AVX2 | CPU_F16C },
		       { &convert_scalar, 0 }
	};

	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		if ((cpu_features() & tables[i].needs) == tables[i].needs &&
		    (!name || strcmp(name, tables[i].k->name) == 0))
			return tables[i].k;
	return NULL;
}

void sae_f16_to_f32(float *out, const uint16_t *in, size_t n)
{
	convert_kernels_get(NULL)->f16_to_f32(out, in, n);
}

void sae_bf16_to_f32(float *out, const uint16_t *in, size_t n)
{
	convert_kernels_get(NULL)->bf16_to_f32(out, in, n);
}

void sae_f32_to_f16(uint16_t *out, const float *in, size_t n)
{
	convert_kernels_get(NULL)->f32_to_f16(out, in, n);
}

void convert_to_f32(float *out, const void *in, size_t n, sae_dtype t)
{
	const unsigned char *wide = in;
	double value;

	assert(convert_is_float(t));
	switch (t) {
	case SAE_F16:
		sae_f16_to_f32(out, in, n);
		break;
	case SAE_BF16:
		sae_bf16_to_f32(out, in, n);
		break;
	case SAE_F32:
		memcpy(out, in, n * sizeof(float));
		break;
	default:
		for (size_t i = 0; i < n; i++) { /* rows side by side need not be aligned */
			memcpy(&value, wide + i * sizeof(value), sizeof(value));
			out[i] = (float)value;
		}
	}
}

#define COPY_INTEGERS(type)                                                                                  \
	do {                                                                                                 \
		for (size_t i = 0; i < n; i++)                                                               \
			out[i] = (int64_t)((const type *)in)[i];                                             \
	} while (0)

size_t convert_to_i64(int64_t *out, const void *in, size_t n, sae_dtype t)
{
	assert(!convert_is_float(t));
	switch (t) {
	case SAE_I8:
		COPY_INTEGERS(int8_t);
		break;
	case SAE_I16:
		COPY_INTEGERS(int16_t);
		break;
	case SAE_I32:
		COPY_INTEGERS(int32_t);
		break;
	case SAE_U16:
		COPY_INTEGERS(uint16_t);
		break;
	case SAE_U32:
		COPY_INTEGERS(uint32_t);
		break;
	case SAE_I64:
		memcpy(out, in, n * sizeof(*out));
		break;
	case SAE_U64:
		memcpy(out, in, n * sizeof(*out));
		for (size_t i = 0; i < n; i++)
			if (out[i] < 0)
				return i;
		break;
	default: /* U8, BOOL */
		COPY_INTEGERS(uint8_t);
	}
	return n;
}
