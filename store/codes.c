/* The blob of all codes of one context, that of an example's window, and half floats. The layouts are in codes.h. */
#include "store/codes.h"

#include <float.h>
#include <math.h>

enum { HALF_TOP_EXPONENT = 15 }; /* the largest value of a context is scaled into [2^14, 2^15) */

uint16_t store_half_from_float(float value)
{
	uint32_t bits, sign, mantissa, rest, half;
	int exponent, shift;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	exponent = (int)(bits >> 23 & 0xff) - 127;
	if (exponent == 128 && (bits & 0x7fffff))
		return (uint16_t)(sign | 0x7e00); /* NaN */
	if (exponent < -25)
		return (uint16_t)sign;
	if (exponent > 15)
		return (uint16_t)(sign | 0x7bff);
	mantissa = (bits & 0x7fffff) | 0x800000;
	shift = exponent < -14 ? -exponent - 1
	                       : 13; /* bits that fall off; more of them where the half is subnormal */
	half = mantissa >> shift;
	rest = mantissa & ((1u << shift) - 1);
	if (rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (half & 1)))
		half++;
	if (exponent >= -14) /* the hidden bit, and what rounding carried into the exponent, add up */
		half += (uint32_t)(exponent + 14) << 10;
	return (uint16_t)(sign | (half > 0x7bff ? 0x7bff : half));
}

float store_half_to_float(uint16_t half)
{
	uint32_t exponent = half >> 10 & 31, mantissa = half & 0x3ff;
	uint32_t bits = (uint32_t)(half & 0x8000) << 16;
	float value;

	if (exponent == 0) {
		value = ldexpf((float)mantissa, -24);
		return half & 0x8000 ? -value : value;
	}
	bits |= exponent == 31 ? 0x7f800000 : (exponent + 112) << 23;
	bits |= mantissa << 13;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

void store_codes_free(store_codes *c)
{
	free(c->start);
	free(c->feature);
	free(c->value);
	*c = (store_codes){ 0 };
}

static unsigned char *put(unsigned char *at, uint32_t value, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		*at++ = (unsigned char)(value >> 8 * i);
	return at;
}

static uint32_t get(const unsigned char *at, unsigned width)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value |= (uint32_t)at[i] << 8 * i;
	return value;
}

static unsigned feature_width(uint32_t n_features)
{
	return n_features <= 65536 ? 2 : 4;
}

static unsigned count_width(uint32_t largest)
{
	return largest <= 0xff ? 1 : largest <= 0xffff ? 2 : 4;
}

/* The power of two that the context's values are divided by. */
static int scale_exponent(const float *value, uint32_t n)
{
	float largest = 0;
	int exponent = 0;

	for (uint32_t i = 0; i < n; i++)
		largest = value[i] > largest ? value[i] : largest;
	if (largest > 0)
		frexpf(largest, &exponent);
	return n > 0 ? exponent - HALF_TOP_EXPONENT : 0;
}

int store_codes_encode(text *out, uint32_t n_features, uint32_t n_tokens, const uint32_t *start,
                       const uint32_t *feature, const float *value, error *err)
{
	uint32_t base = start[0], n = start[n_tokens] - base, most = 0;
	unsigned fw = feature_width(n_features), cw;
	unsigned char *block, *at;
	int exponent = scale_exponent(value + base, n), rc;
	double scale = ldexp(1, -exponent);
	size_t size;

	for (uint32_t i = 0; i < n_tokens; i++)
		most = start[i + 1] - start[i] > most ? start[i + 1] - start[i] : most;
	cw = count_width(most);
	size = STORE_CODES_HEADER + (size_t)n_tokens * cw + (size_t)n * (fw + 2);
	block = malloc(size);
	if (!block)
		return error_nomem(err, "the codes of a context");
	at = put(block, 1u | fw << 8 | cw << 16, 4);
	at = put(at, (uint16_t)exponent, 4);
	at = put(at, n_tokens, 4);
	at = put(at, n, 4);
	for (uint32_t i = 0; i < n_tokens; i++)
		at = put(at, start[i + 1] - start[i], cw);
	for (uint32_t i = 0; i < n; i++)
		at = put(at, feature[base + i], fw);
	for (uint32_t i = 0; i < n; i++) {
		uint16_t half = store_half_from_float((float)(value[base + i] * scale));

		at = put(at, half ? half : 1, 2);
	}
	rc = text_add(out, block, size);
	free(block);
	if (rc < 0)
		return error_set(err, rc, "cannot keep the codes of a context: %s",
		                 rc == ERR_NOMEM ? "out of memory" : "too many of them");
	return 0;
}

typedef struct header {
	unsigned feature_width, count_width;
	int exponent;
	uint32_t n_tokens, n_firings;
} header;

static int read_header(header *h, const unsigned char *blob, size_t size, uint32_t n_features,
                       uint32_t n_tokens, error *err)
{
	if (size < STORE_CODES_HEADER)
		return error_set(err, ERR_FORMAT, "codes of a context: %zu bytes are too few", size);
	h->feature_width = blob[1];
	h->count_width = blob[2];
	h->exponent = (int16_t)get(blob + 4, 2);
	h->n_tokens = get(blob + 8, 4);
	h->n_firings = get(blob + 12, 4);
	if (blob[0] != 1 || blob[3] != 0 || get(blob + 6, 2) != 0)
		return error_set(err, ERR_FORMAT, "codes of a context: unknown layout");
	if (h->feature_width != feature_width(n_features) ||
	    (h->count_width != 1 && h->count_width != 2 && h->count_width != 4))
		return error_set(err, ERR_FORMAT, "codes of a context: numbers of wrong width");
	if (h->n_tokens != n_tokens)
		return error_set(err, ERR_FORMAT, "codes of a context: of %u tokens, the context has %u",
		                 h->n_tokens, n_tokens);
	if (size != STORE_CODES_HEADER + (uint64_t)h->n_tokens * h->count_width +
	                    (uint64_t)h->n_firings * (h->feature_width + 2))
		return error_set(err, ERR_FORMAT,
		                 "codes of a context: %zu bytes do not fit %u tokens with %u firings", size,
		                 h->n_tokens, h->n_firings);
	return 0;
}

static int read_counts(store_codes *c, const header *h, const unsigned char *at, error *err)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < h->n_tokens; i++) {
		c->start[i] = (uint32_t)sum;
		sum += get(at + (size_t)i * h->count_width, h->count_width);
		if (sum > h->n_firings)
			break;
	}
	if (sum != h->n_firings)
		return error_set(err, ERR_FORMAT, "codes of a context: counts do not add up to %u firings",
		                 h->n_firings);
	c->start[h->n_tokens] = (uint32_t)sum;
	return 0;
}

static int read_features(store_codes *c, const header *h, const unsigned char *at, uint32_t n_features,
                         error *err)
{
	for (uint32_t j = 0; j < h->n_firings; j++) {
		uint32_t f = at[2 * (size_t)j] | (uint32_t)at[2 * (size_t)j + 1] << 8;

		c->feature[j] = h->feature_width == 2 ? f : get(at + 4 * (size_t)j, 4);
	}
	for (uint32_t i = 0; i < h->n_tokens; i++) {
		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++) {
			uint32_t f = c->feature[j];

			if (f >= n_features || (j > c->start[i] && f <= c->feature[j - 1]))
				return error_set(
				        err, ERR_FORMAT,
				        "codes of a context: token %u has feature %u out of order or range",
				        i, f);
		}
	}
	return 0;
}

/* The value of firing j; 0: none. */
static float read_value(const unsigned char *at, size_t j, double scale)
{
	uint32_t half = at[2 * j] | (uint32_t)at[2 * j + 1] << 8, bits = half << 13;
	float value;

	if (half == 0 || half >= 0x7c00)
		return 0;
	memcpy(&value, &bits, sizeof(value));
	value = (float)((double)value * 0x1p112 * scale); /* a half's exponent is 112 less */
	return value == 0 ? FLT_TRUE_MIN : value;         /* below what a float holds, but it fires */
}

static int no_value(error *err, uint32_t j)
{
	return error_set(err, ERR_FORMAT, "codes of a context: firing %u has no value over 0", j);
}

static int read_values(store_codes *c, const header *h, const unsigned char *at, error *err)
{
	double scale = ldexp(1, h->exponent);

	for (uint32_t j = 0; j < h->n_firings; j++) {
		c->value[j] = read_value(at, j, scale);
		if (c->value[j] == 0 || !isfinite(c->value[j]))
			return no_value(err, j);
	}
	return 0;
}

/* Room for all, and the header; *at is behind it. */
static int begin(store_codes *out, header *h, const unsigned char **at, const void *blob, size_t size,
                 uint32_t n_features, uint32_t n_tokens, error *err)
{
	int rc = read_header(h, blob, size, n_features, n_tokens, err);

	if (rc < 0)
		return rc;
	if (mem_grow(&out->start, &out->start_cap, (size_t)h->n_tokens + 1, sizeof(*out->start)) < 0 ||
	    mem_grow(&out->feature, &out->feature_cap, h->n_firings, sizeof(*out->feature)) < 0 ||
	    mem_grow(&out->value, &out->value_cap, h->n_firings, sizeof(*out->value)) < 0)
		return error_nomem(err, "the codes of a context");
	out->n_tokens = h->n_tokens;
	out->n_firings = h->n_firings;
	*at = (const unsigned char *)blob + STORE_CODES_HEADER;
	return read_counts(out, h, *at, err);
}

int store_codes_decode(store_codes *out, const void *blob, size_t size, uint32_t n_features,
                       uint32_t n_tokens, error *err)
{
	const unsigned char *at;
	header h = { 0 };
	int rc = begin(out, &h, &at, blob, size, n_features, n_tokens, err);

	if (rc < 0)
		return rc;
	at += (size_t)h.n_tokens * h.count_width;
	rc = read_features(out, &h, at, n_features, err);
	at += (size_t)h.n_firings * h.feature_width;
	return rc == 0 ? read_values(out, &h, at, err) : rc;
}

int store_codes_pick(store_codes *out, const void *blob, size_t size, uint32_t n_features, uint32_t n_tokens,
                     const unsigned char *tokens, const uint32_t *slot, error *err)
{
	const unsigned char *at, *values;
	uint32_t kept = 0;
	header h = { 0 };
	double scale;
	int rc = begin(out, &h, &at, blob, size, n_features, n_tokens, err);

	if (rc < 0)
		return rc;
	at += (size_t)h.n_tokens * h.count_width;
	values = at + (size_t)h.n_firings * h.feature_width;
	scale = ldexp(1, h.exponent);
	for (uint32_t i = 0, j = 0; i < h.n_tokens; i++) {
		uint32_t end = out->start[i + 1];

		out->start[i] = kept;
		if (tokens && !(tokens[i / 8] >> i % 8 & 1)) {
			j = end;
			continue;
		}
		for (; j < end; j++) {
			uint32_t f = h.feature_width == 2
			                     ? at[2 * (size_t)j] | (uint32_t)at[2 * (size_t)j + 1] << 8
			                     : get(at + 4 * (size_t)j, 4);

			if (f >= n_features)
				return error_set(err, ERR_FORMAT,
				                 "codes of a context: token %u has feature %u out of range",
				                 i, f);
			if (slot && !slot[f])
				continue;
			out->feature[kept] = f;
			out->value[kept] = read_value(values, j, scale);
			if (out->value[kept] == 0 || !isfinite(out->value[kept]))
				return no_value(err, j);
			kept++;
		}
	}
	out->start[h.n_tokens] = out->n_firings = kept;
	return 0;
}

/* ---- Windows ---- */

void store_window_bounds(uint32_t *first, uint32_t *length, uint32_t before, uint32_t after,
                         uint32_t n_tokens, uint32_t position)
{
	uint32_t rest = n_tokens - position - 1;

	*first = position > before ? position - before : 0;
	*length = position - *first + 1 + (rest > after ? after : rest);
}

bool store_window_is_wide(uint32_t before, uint32_t after)
{
	return (uint64_t)before + after + 1 > 256;
}

size_t store_window_size(uint32_t n_firings, bool wide)
{
	return n_firings > 1 ? 1 + (size_t)(n_firings - 1) * (wide ? 4 : 3) : 0;
}

/* The greatest half float that is not over x, which is in (0, 2^15); the least one over 0 where that is 0. */
static uint16_t half_below(float x)
{
	uint32_t bits, half;
	int exponent;

	memcpy(&bits, &x, sizeof(bits));
	exponent = (int)(bits >> 23) - 127;
	if (exponent >= -14)
		half = (uint32_t)(exponent + 15) << 10 | (bits & 0x7fffff) >> 13;
	else
		half = exponent < -24 ? 0 : ((bits & 0x7fffff) | 0x800000) >> (-exponent - 1);
	return half ? (uint16_t)half : 1;
}

void store_window_encode(unsigned char *out, const uint32_t *position, const float *value, uint32_t n,
                         uint32_t first, uint32_t peak, bool wide)
{
	float largest = 0;
	double scale;
	int exponent;

	if (n < 2)
		return;
	for (uint32_t i = 0; i < n; i++)
		largest = i != peak && value[i] > largest ? value[i] : largest;
	exponent = scale_exponent(&largest, 1);
	exponent = exponent < INT8_MIN ? INT8_MIN : exponent;
	scale = ldexp(1, -exponent);
	*out++ = (unsigned char)exponent;
	for (uint32_t i = 0; i < n; i++) {
		if (i == peak)
			continue;
		out = put(out, position[i] - first, wide ? 2 : 1);
		out = put(out, half_below((float)(value[i] * scale)), 2);
	}
}

int store_window_decode(float *value, uint32_t length, uint32_t peak, float activation, const void *codes,
                        size_t size, bool wide, error *err)
{
	const unsigned char *at = codes, *end = at + size;
	unsigned width = wide ? 2 : 1;
	int64_t last = -1;
	double scale;

	value[peak] = activation;
	if (size == 0)
		return 0;
	if (size == 1 || (size - 1) % (width + 2) != 0)
		return error_set(err, ERR_FORMAT, "codes of an example: %zu bytes", size);
	scale = ldexp(1, (int8_t)*at++);
	for (; at < end; at += width + 2) {
		uint32_t i = get(at, width), half = get(at + width, 2);

		if (i >= length || i <= last || i == peak)
			return error_set(err, ERR_FORMAT, "codes of an example: token %u of %u%s", i, length,
			                 i >= length ? ""
			                 : i == peak ? " twice"
			                             : " is out of order");
		value[i] = (float)(store_half_to_float((uint16_t)half) * scale);
		if (half == 0 || half >= 0x7c00 || !isfinite(value[i]))
			return error_set(err, ERR_FORMAT, "codes of an example: token %u has no value over 0",
			                 i);
		if (value[i] == 0)
			value[i] = FLT_TRUE_MIN; /* below what a float holds, but it fires */
		last = i;
	}
	return 0;
}
