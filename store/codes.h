/* The blob of all codes of one context (`firing.codes`), token-major. Little-endian throughout:
 *
 *	u8  version    1
 *	u8  width      of a feature number: 2 (up to 65,536 features) or 4
 *	u8  count      width of a token's count: 1, 2 or 4, the smallest that holds the largest
 *	u8  zero
 *	i16 exponent   value = half * 2^exponent; chosen so that the largest half is in [2^14, 2^15]
 *	u16 zero
 *	u32 n_tokens
 *	u32 n_firings
 *	count   [n_tokens]    firings of each token
 *	feature [n_firings]   ascending within a token
 *	f16     [n_firings]   over 0: what would vanish is kept as the smallest half
 *
 * So 4 bytes a firing, 1 a token and 16 a context. Halves keep 11 bits of each value that is over 2^-28 of the context's
 * largest. */
#ifndef GLOSS_STORE_CODES_H
#define GLOSS_STORE_CODES_H

#include "base/base.h"

#define STORE_CODES_HEADER 16

/* Codes of a context. Reused from one decode to the next; start with {0}. */
typedef struct store_codes {
	uint32_t n_tokens, n_firings;
	uint32_t *start;   /* (n_tokens + 1): firings start[i] .. start[i + 1] - 1 are token i's */
	uint32_t *feature; /* (n_firings) */
	float *value;      /* (n_firings) */
	size_t start_cap, feature_cap, value_cap;
} store_codes;
void store_codes_free(store_codes *c);

/* Add the blob of n_tokens tokens' codes, as in store_context, to `out`. Values finite and over 0. */
int store_codes_encode(text *out, uint32_t n_features, uint32_t n_tokens, const uint32_t *start,
                       const uint32_t *feature, const float *value, error *err) MUST_USE;
/* ERR_FORMAT for anything that store_codes_encode() for this many features and tokens does not write. */
int store_codes_decode(store_codes *out, const void *blob, size_t size, uint32_t n_features,
                       uint32_t n_tokens, error *err) MUST_USE;

/* The same, but only firings of tokens whose bit in `tokens` is set (low bits first; NULL: of all) and of features whose
 * slot[] is not 0 (NULL: of all). What is not taken is not checked. */
int store_codes_pick(store_codes *out, const void *blob, size_t size, uint32_t n_features, uint32_t n_tokens,
                     const unsigned char *tokens, const uint32_t *slot, error *err) MUST_USE;

/* ---- The window of an example (`example.codes`) ----
 *
 * Its firings but for the qualifying token's, whose value is `example.activation`; nothing at all where there is no other.
 *
 *	i8 exponent   value = half * 2^exponent
 *	then for each token on which the feature fires, ascending:
 *	u8  offset    in the window; u16 where the source's windows may be longer than 256 tokens
 *	f16           over 0, rounded towards it: so that no value passes one that it is below */
#define STORE_WINDOW_MAX 65535 /* tokens */
/* The window of a token: `before` tokens in front of it and `after` behind it, as far as the context goes. */
void store_window_bounds(uint32_t *first, uint32_t *length, uint32_t before, uint32_t after,
                         uint32_t n_tokens, uint32_t position);
bool store_window_is_wide(uint32_t before, uint32_t after);
size_t store_window_size(uint32_t n_firings, bool wide); /* bytes, the qualifying one counted */
/* Write the codes of n firings at `position` (ascending, from `first` on), number `peak` of them the qualifying one; values
 * finite and over 0. */
void store_window_encode(unsigned char *out, const uint32_t *position, const float *value, uint32_t n,
                         uint32_t first, uint32_t peak, bool wide);
/* Set value[i] for the tokens that fire; the qualifying one is token `peak` of the window. ERR_FORMAT: not what
 * store_window_encode() writes. */
int store_window_decode(float *value /* (length), zeroed */, uint32_t length, uint32_t peak, float activation,
                        const void *codes, size_t size, bool wide, error *err) MUST_USE;

/* Half floats: to nearest, ties to even; what is over the largest half becomes it. */
uint16_t store_half_from_float(float value);
float store_half_to_float(uint16_t half);

#endif
