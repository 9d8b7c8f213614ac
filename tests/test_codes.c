/* The blobs of a context's codes and of a window: there and back, their size, and blobs from a stranger. */
#include "tests/support.h"

#include <float.h>
#include <math.h>

#include "store/codes.h"

enum { MAX_TOKENS = 300, MAX_FIRINGS = 12000 };

typedef struct codes {
	uint32_t n_tokens, start[MAX_TOKENS + 1], feature[MAX_FIRINGS];
	float value[MAX_FIRINGS];
} codes;

/* About `mean` firings a token among n_features, values over `span` powers of two around `middle`. */
static void fill(codes *c, uint32_t n_tokens, uint32_t n_features, uint32_t mean, int middle, int span,
                 uint64_t seed)
{
	uint32_t n = 0;

	c->n_tokens = n_tokens;
	for (uint32_t i = 0; i < n_tokens; i++) {
		uint32_t count = mean ? (uint32_t)hash64_below(hash64_mix(seed, 3 * i), 2 * mean + 1) : 0;
		uint32_t step = n_features / (2 * mean + 1), f = 0;

		c->start[i] = n;
		for (uint32_t j = 0; j < count && step > 0; j++, n++) {
			uint64_t h = hash64_mix(seed ^ 77, n);

			ck_assert_uint_lt(n, MAX_FIRINGS);
			c->feature[n] = f + (uint32_t)hash64_below(h, step);
			f += step;
			c->value[n] = ldexpf((float)(1 + hash64_unit(h)),
			                     middle + (int)hash64_below(h >> 7, 1 + span));
		}
	}
	c->start[n_tokens] = n;
}

static void round_trip(const codes *c, uint32_t n_features, size_t *size)
{
	store_codes back = { 0 };
	error err = { 0 };
	float largest = 0;
	text t;

	text_init(&t, SIZE_MAX);
	ck_assert_int_eq(
	        store_codes_encode(&t, n_features, c->n_tokens, c->start, c->feature, c->value, &err), 0);
	*size = t.len;
	ck_assert_msg(store_codes_decode(&back, t.data, t.len, n_features, c->n_tokens, &err) == 0, "%s",
	              err.msg);
	ck_assert_uint_eq(back.n_tokens, c->n_tokens);
	ck_assert_uint_eq(back.n_firings, c->start[c->n_tokens]);
	ck_assert_mem_eq(back.start, c->start, (c->n_tokens + 1) * sizeof(*c->start));
	for (uint32_t i = 0; i < back.n_firings; i++)
		largest = fmaxf(largest, c->value[i]);
	for (uint32_t i = 0; i < back.n_firings; i++) {
		double allowed = fmax(ldexp(c->value[i], -11), ldexp(largest, -38));

		ck_assert_uint_eq(back.feature[i], c->feature[i]);
		ck_assert(back.value[i] > 0);
		ck_assert_double_le(fabs((double)back.value[i] - c->value[i]), allowed);
	}
	store_codes_free(&back);
	text_free(&t);
}

START_TEST(comes_back)
{
	static codes c;
	size_t size;

	for (uint64_t seed = 0; seed < 20; seed++) {
		fill(&c, 1 + (uint32_t)seed * 13, 4608, (uint32_t)seed, (int)seed - 10, (int)seed, seed);
		round_trip(&c, 4608, &size);
	}
	fill(&c, 10, 70000, 20, 0, 3, 1); /* wide feature numbers */
	round_trip(&c, 70000, &size);
	ck_assert_uint_eq(size, 16 + 10 + (size_t)c.start[10] * 6);
	fill(&c, 3, 65536, 900, 0, 3, 1); /* wide counts */
	round_trip(&c, 65536, &size);
	ck_assert_uint_eq(size, 16 + 3 * 2 + (size_t)c.start[3] * 4);
	fill(&c, 7, 16, 0, 0, 0, 1); /* nothing fires */
	round_trip(&c, 16, &size);
	fill(&c, 50, 4608, 8, 127, 0, 1); /* as large as floats get */
	round_trip(&c, 4608, &size);
	fill(&c, 50, 4608, 8, -149, 3, 1); /* as small */
	round_trip(&c, 4608, &size);
}
END_TEST

START_TEST(is_small)
{
	static codes c;
	size_t size;

	for (uint32_t k = 3; k <= 32; k++) {
		fill(&c, 256, 65536, k, 0, 5, k);
		round_trip(&c, 65536, &size);
		ck_assert_double_le((double)size, 4.4 * c.start[256]);
		fill(&c, 256, 65537, k, 0, 5, k);
		round_trip(&c, 65537, &size);
		ck_assert_double_le((double)size, 6.5 * c.start[256]);
	}
}
END_TEST

/* ---- Windows of examples ---- */

START_TEST(windows_come_back)
{
	enum { LENGTH = 300 };
	uint32_t bad = 0;

	for (uint64_t seed = 0; seed < 60; seed++) {
		bool wide = seed % 2;
		uint32_t length = wide ? LENGTH : 1 + (uint32_t)seed, position[LENGTH], n = 0, peak;
		float value[LENGTH], back[LENGTH] = { 0 }, largest = 0;
		int middle = seed % 10 == 9 ? -140 : seed % 10 == 8 ? 126 : (int)(seed % 30) - 15;
		unsigned char blob[1 + 4 * LENGTH];
		error err = { 0 };

		for (uint32_t i = 0; i < length; i++) {
			uint64_t h = hash64_mix(seed, i);

			position[n] = 1000 + i;
			value[n] = ldexpf((float)(1 + hash64_unit(h)), middle - (int)(h % 9));
			n += i == 0 || h % 3 == 0;
		}
		peak = (uint32_t)hash64_below(hash64_mix(seed, 999), n);
		for (uint32_t i = 0; i < n; i++)
			largest = i != peak && value[i] > largest ? value[i] : largest;
		store_window_encode(blob, position, value, n, 1000, peak, wide);
		ck_assert_msg(store_window_decode(back, length, position[peak] - 1000, value[peak], blob,
		                                  store_window_size(n, wide), wide, &err) == 0,
		              "%s", err.msg);
		ck_assert_float_eq(back[position[peak] - 1000], value[peak]);
		for (uint32_t i = 0, j = 0; i < length; i++) {
			float want = j < n && position[j] == 1000 + i ? value[j] : 0;

			j += want > 0;
			bad += (back[i] > 0) != (want > 0) || back[i] > fmax(want, ldexp(largest, -38)) ||
			       back[i] < want * (1 - 0x1p-10) - FLT_TRUE_MIN;
		}
		ck_assert_uint_eq(bad, 0);
	}
}
END_TEST

START_TEST(windows_refuse_strangers)
{
	const uint32_t position[] = { 3, 5, 9 };
	const float value[] = { 1, 2, 4 };
	uint32_t bad = 0;
	unsigned char blob[9];
	float back[10];
	error err = { 0 };

	ck_assert_uint_eq(store_window_size(1, true), 0);
	ck_assert_uint_eq(store_window_size(3, false), 7);
	store_window_encode(blob, position, value, 3, 0, 1, false);
	for (size_t size = 0; size <= 7; size++) {
		int rc = store_window_decode(back, 10, 5, 2, blob, size, false, &err);

		ck_assert_int_eq(rc, size == 0 || size == 4 || size == 7 ? 0 : ERR_FORMAT);
	}
	ck_assert_int_eq(store_window_decode(back, 9, 5, 2, blob, 7, false, &err),
	                 ERR_FORMAT); /* too short */
	ck_assert_int_eq(store_window_decode(back, 10, 3, 2, blob, 7, false, &err), ERR_FORMAT); /* twice */
	for (uint64_t i = 0; i < 20000; i++) { /* whatever comes, it writes nothing beyond */
		unsigned char *copy = malloc(7);
		float *values = calloc(10, sizeof(*values));

		memcpy(copy, blob, 7);
		for (int k = 0; k < 2; k++)
			copy[hash64_below(hash64_mix(i, 2 * k), 7)] = (unsigned char)hash64_mix(i, 2 * k + 1);
		if (store_window_decode(values, 10, 5, 2, copy, 7, false, NULL) == 0)
			for (int t = 0; t < 10; t++)
				bad += !(values[t] >= 0 && isfinite(values[t]));
		free(copy);
		free(values);
	}
	ck_assert_uint_eq(bad, 0);
}
END_TEST

START_TEST(halves_agree_with_definition)
{
	for (uint32_t h = 0; h < 0x7c00;
	     h++) { /* every half there is, and what lies just beside the middle of two */
		double value = store_half_to_float((uint16_t)h),
		       next = h + 1 < 0x7c00 ? store_half_to_float((uint16_t)(h + 1)) : 65536;
		double want = h < 0x400 ? ldexp(h, -24) : ldexp((h & 0x3ff) + 1024, (int)(h >> 10) - 25);
		float middle = (float)((value + next) / 2);

		ck_assert_double_eq(value, want);
		ck_assert_uint_eq(store_half_from_float((float)value), h);
		if (h == 0x7bff)
			break;
		ck_assert_uint_eq(store_half_from_float(middle), h + (h & 1));
		ck_assert_uint_eq(store_half_from_float(nextafterf(middle, 0)), h);
		ck_assert_uint_eq(store_half_from_float(nextafterf(middle, FLT_MAX)), h + 1);
	}
	ck_assert_uint_eq(store_half_from_float(1e9f), 0x7bff);
	ck_assert_uint_eq(store_half_from_float(-1), 0xbc00);
	ck_assert_double_eq(store_half_to_float(0xbc00), -1);
	ck_assert_uint_eq(store_half_from_float(1e-30f), 0);
}
END_TEST

static void refused(const unsigned char *blob, size_t size, uint32_t n_features, uint32_t n_tokens)
{
	store_codes back = { 0 };
	error err = { 0 };
	unsigned char *copy =
	        malloc(size + 1); /* of exactly this size, so that the sanitizer sees a read behind it */

	memcpy(copy, blob, size);
	ck_assert_int_eq(store_codes_decode(&back, copy, size, n_features, n_tokens, &err), ERR_FORMAT);
	ck_assert_int_ne(err.msg[0], 0);
	free(copy);
	store_codes_free(&back);
}

START_TEST(refuses_hostile_blobs)
{
	static const struct {
		size_t at;
		unsigned char value;
	} changes[] = { { 0, 2 },    { 1, 4 },     { 1, 0 },    { 2, 3 },    { 2, 2 },  { 3, 1 },
		        { 5, 0x7f }, { 6, 1 },     { 8, 3 },    { 11, 255 }, { 12, 4 }, { 12, 6 },
		        { 15, 255 }, { 16, 3 },    { 16, 1 },   { 17, 255 }, { 18, 9 }, { 19, 1 },
		        { 20, 100 }, { 29, 0x7c }, { 29, 0xbc } };
	/* Two tokens of 2 and 3 firings among 100 features. */
	const uint32_t start[] = { 0, 2, 5 }, feature[] = { 3, 7, 0, 1, 99 };
	const float value[] = { 1, 2, 0.5f, 4, 1 };
	store_codes back = { 0 };
	error err = { 0 };
	text t;

	text_init(&t, SIZE_MAX);
	ck_assert_int_eq(store_codes_encode(&t, 100, 2, start, feature, value, &err), 0);
	ck_assert_uint_eq(t.len, 16 + 2 + 5 * 4);
	for (size_t size = 0; size < t.len; size++)
		refused((unsigned char *)t.data, size, 100, 2);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		char before = t.data[changes[i].at];

		t.data[changes[i].at] = (char)changes[i].value;
		refused((unsigned char *)t.data, t.len, 100, 2);
		t.data[changes[i].at] = before;
	}
	refused((unsigned char *)t.data, t.len, 99, 2); /* feature 99 of 99 */
	refused((unsigned char *)t.data, t.len, 100, 3);
	refused((unsigned char *)t.data, t.len, 70000, 2);
	for (uint64_t i = 0; i < 20000; i++) { /* whatever comes, it reads nothing that is not there */
		unsigned char *copy = malloc(t.len);

		memcpy(copy, t.data, t.len);
		for (int k = 0; k < 3; k++)
			copy[hash64_below(hash64_mix(i, 2 * k), t.len)] =
			        (unsigned char)hash64_mix(i, 2 * k + 1);
		if (store_codes_decode(&back, copy, t.len, 100, 2, NULL) < 0)
			store_codes_free(&back);
		if (store_codes_pick(&back, copy, t.len, 100, 2, NULL, NULL, NULL) < 0)
			store_codes_free(&back);
		free(copy);
	}
	store_codes_free(&back);
	text_free(&t);
}
END_TEST

/* What pick leaves is what decode gives, less what was not asked for; both widths of feature numbers. */
START_TEST(picks_tokens_and_features)
{
	static codes c;
	uint32_t n_features = _i ? 100000 : 300;
	uint32_t *slot = calloc(n_features, sizeof(*slot));
	unsigned char tokens[(MAX_TOKENS + 7) / 8];
	store_codes all = { 0 }, some = { 0 };
	error err = { 0 };
	text t;

	text_init(&t, SIZE_MAX);
	fill(&c, 70, n_features, 9, 0, 6, 21);
	for (uint32_t f = 0; f < n_features; f++)
		slot[f] = hash64_mix(4, f) % 3 == 0;
	for (size_t i = 0; i < sizeof(tokens); i++)
		tokens[i] = (unsigned char)hash64_mix(5, i);
	ck_assert_int_eq(store_codes_encode(&t, n_features, c.n_tokens, c.start, c.feature, c.value, &err),
	                 0);
	ck_assert_int_eq(store_codes_decode(&all, t.data, t.len, n_features, c.n_tokens, &err), 0);
	for (int what = 0; what < 4; what++) {
		const unsigned char *of = what & 1 ? tokens : NULL;
		const uint32_t *only = what & 2 ? slot : NULL;
		uint32_t n = 0;

		ck_assert_int_eq(
		        store_codes_pick(&some, t.data, t.len, n_features, c.n_tokens, of, only, &err), 0);
		for (uint32_t i = 0; i < c.n_tokens; i++) {
			ck_assert_uint_eq(some.start[i], n);
			for (uint32_t j = all.start[i]; j < all.start[i + 1]; j++) {
				if ((of && !(of[i / 8] >> i % 8 & 1)) || (only && !only[all.feature[j]]))
					continue;
				ck_assert_uint_eq(some.feature[n], all.feature[j]);
				ck_assert_float_eq(some.value[n], all.value[j]);
				n++;
			}
		}
		ck_assert_uint_eq(some.start[c.n_tokens], n);
		ck_assert_uint_eq(some.n_firings, n);
	}
	store_codes_free(&all);
	store_codes_free(&some);
	text_free(&t);
	free(slot);
}
END_TEST

static void cases(Suite *s)
{
	TCase *widths = tcase_create("pick");

	SUPPORT_CASE(s, "codes", comes_back, is_small, windows_come_back, windows_refuse_strangers,
	             halves_agree_with_definition, refuses_hostile_blobs);
	tcase_add_loop_test(widths, picks_tokens_and_features, 0, 2);
	suite_add_tcase(s, widths);
}
SUPPORT_MAIN("codes", cases)
