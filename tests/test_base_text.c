/* test_base_text.c: growing text, UTF-8 and its columns. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#define FFFD "\xef\xbf\xbd"

START_TEST(grows_to_its_maximum)
{
	text t;

	text_init(&t, 10);
	ck_assert_ptr_null(t.data);
	ck_assert_int_eq(text_adds(&t, "01234"), 0);
	ck_assert_int_eq(text_addf(&t, "%d", 567), 0);
	ck_assert_int_eq(text_adds(&t, "abc"), ERR_LIMIT);
	ck_assert_int_eq(text_addf(&t, "%s", "abc"), ERR_LIMIT);
	ck_assert_str_eq(t.data, "01234567");
	ck_assert_int_eq(text_add(&t, "ab", 2), 0);
	ck_assert_int_eq(text_add(&t, "c", 1), ERR_LIMIT);
	ck_assert_int_eq(text_add(&t, NULL, 0), 0);
	ck_assert_str_eq(t.data, "01234567ab");
	ck_assert_uint_eq(t.len, 10);
	text_clear(&t);
	ck_assert_str_eq(t.data, "");
	ck_assert_uint_eq(t.max, 10);
	text_free(&t);
	ck_assert_ptr_null(t.data);
	text_free(&t);
	text_clear(&t);
}
END_TEST

START_TEST(grows_far)
{
	text t;

	text_init(&t, SIZE_MAX);
	for (int i = 0; i < 100000; i++)
		ck_assert_int_eq(text_addf(&t, "%d,", i % 10), 0);
	ck_assert_uint_eq(t.len, 200000);
	ck_assert_uint_eq(strlen(t.data), 200000);
	ck_assert_str_eq(t.data + 199994, "7,8,9,");
	ck_assert_int_eq(text_add(&t, "x", SIZE_MAX - t.len), ERR_NOMEM);
	text_free(&t);
}
END_TEST

START_TEST(an_empty_addition_is_a_string)
{
	static int (*const adders[])(text *, const void *, size_t) = { text_add, text_add_utf8,
		                                                       text_add_visible };

	for (size_t i = 0; i < ARRAY_LEN(adders); i++) {
		text t;

		text_init(&t, 0);
		ck_assert_int_eq(adders[i](&t, "", 0), 0);
		ck_assert_str_eq(t.data, "");
		text_free(&t);
	}
}
END_TEST

START_TEST(survives_no_memory)
{
	char more[200] = { 0 };
	text t;

	text_init(&t, 1000);
	ck_assert_int_eq(text_adds(&t, "kept"), 0);
	memset(more, 'x', sizeof(more) - 1);
	fault_arm(FAULT_ALLOC, 0);
	ck_assert_int_eq(text_adds(&t, more), ERR_NOMEM);
	ck_assert(fault_disarm(FAULT_ALLOC));
	fault_arm(FAULT_ALLOC, 0);
	ck_assert_int_eq(text_addf(&t, "%s", more), ERR_NOMEM);
	ck_assert(fault_disarm(FAULT_ALLOC));
	fault_arm(FAULT_ALLOC, 0);
	ck_assert_int_eq(text_add_json(&t, more, sizeof(more) - 1), ERR_NOMEM); /* after a part was added */
	ck_assert(fault_disarm(FAULT_ALLOC));
	ck_assert_str_eq(t.data, "kept");
	ck_assert_uint_eq(t.len, 4);
	text_free(&t);
}
END_TEST

typedef int (*adder)(text *t, const void *bytes, size_t n);

static void check_added(adder add, const char *bytes, size_t n, const char *want)
{
	size_t len = strlen(want);
	text t;

	/* any maximum under the whole changes nothing */
	for (size_t max = 2; max <= len + 3; max++) {
		int rc;

		text_init(&t, max);
		ck_assert_int_eq(text_adds(&t, ">>"), 0);
		rc = add(&t, bytes, n);
		ck_assert_int_eq(rc, max < len + 2 ? ERR_LIMIT : 0);
		ck_assert_uint_eq(t.len, rc < 0 ? 2 : len + 2);
		ck_assert_str_eq(t.data + 2, rc < 0 ? "" : want);
		text_free(&t);
	}
}

/* Expected values are Python's bytes.decode("utf-8", "replace"). */
START_TEST(repairs_utf8)
{
	static const struct {
		const char *bytes, *want;
	} known[] = {
		{ "plain", "plain" },
		{ "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xff\xfe", FFFD FFFD },
		{ "\x80x", FFFD "x" },
		{ "\xc3", FFFD },
		{ "\xc3(", FFFD "(" },
		{ "\xe2\x82", FFFD },
		{ "\xe2\x82z", FFFD "z" },
		{ "\xf0\x9f\x98", FFFD },
		{ "\xf0\x9f\x98\xf0\x9f\x98\x80", FFFD "\xf0\x9f\x98\x80" },
		{ "\xc0\xaf", FFFD FFFD },                   /* a slash, overlong */
		{ "\xe0\x80\xaf", FFFD FFFD FFFD },          /* the same */
		{ "\xed\xa0\x80", FFFD FFFD FFFD },          /* a surrogate */
		{ "\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD }, /* over U+10FFFF */
		{ "\xf5\x80", FFFD FFFD },
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
		{ "\xee\x80\x80", "\xee\x80\x80" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		check_added(text_add_utf8, known[i].bytes, strlen(known[i].bytes), known[i].want);
	check_added(text_add_utf8, "a\0b", 3, "a" FFFD "b");
}
END_TEST

START_TEST(makes_controls_visible)
{
	static const struct {
		const char *bytes, *want;
	} known[] = {
		{ "a\nb\tc", "a\xe2\x86\xb5"
		             "b\xe2\x87\xa5"
		             "c" },
		{ "\x1b[31m\r\x7f", "<U+001B>[31m<U+000D><U+007F>" },
		{ "\xc2\x85\xc2\x9b\xc2\xa0", "<U+0085><U+009B>\xc2\xa0" },
		{ "\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c", "<U+202E><U+2066><U+200F><U+061C>" },
		{ "\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaf", "<U+2028><U+2029>\xe2\x80\xaf" },
		{ "\xff", FFFD },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		check_added(text_add_visible, known[i].bytes, strlen(known[i].bytes), known[i].want);
	check_added(text_add_visible, "\0", 1, FFFD);
}
END_TEST

START_TEST(quotes_for_json)
{
	static const struct {
		const char *bytes, *want;
	} known[] = {
		{ "", "\"\"" },
		{ "say \"hi\\\"/", "\"say \\\"hi\\\\\\\"/\"" },
		{ "\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"" },
		{ "\xc3\xa9\xff", "\"\xc3\xa9" FFFD "\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		check_added(text_add_json, known[i].bytes, strlen(known[i].bytes), known[i].want);
	check_added(text_add_json, "\0", 1, "\"" FFFD "\"");
}
END_TEST

/* Every sequence of one to four bytes from the classes that matter is well-formed for us just when it re-encodes to
 * itself. */
static size_t encode(char out[4], uint32_t cp)
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 63));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 63));
		out[2] = (char)(0x80 | (cp & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 63));
	out[2] = (char)(0x80 | (cp >> 6 & 63));
	out[3] = (char)(0x80 | (cp & 63));
	return 4;
}

START_TEST(reads_every_code_point)
{
	uint32_t found = 0;
	char bytes[4];

	for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
		size_t len = encode(bytes, cp);
		uint32_t got = UINT32_MAX;

		if (cp >= 0xd800 && cp <= 0xdfff) {
			ck_assert_uint_eq(utf8_next(bytes, len, &got), 0);
			continue;
		}
		if (utf8_next(bytes, len, &got) == len && got == cp && utf8_next(bytes, len - 1, &got) == 0)
			found++;
	}
	ck_assert_uint_eq(found, 0x110000 - 2048);
	ck_assert_uint_eq(utf8_next("", 0, &found), 0);
}
END_TEST

START_TEST(refuses_every_other_sequence)
{
	static const unsigned char classes[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
		                                 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
		                                 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
	size_t n = ARRAY_LEN(classes);

	for (size_t i = 0; i < n * n * n * n; i++) {
		char bytes[4] = { (char)classes[i % n], (char)classes[i / n % n],
			          (char)classes[i / n / n % n], (char)classes[i / n / n / n] };
		char again[4];
		uint32_t cp = 0;
		size_t len = utf8_next(bytes, 4, &cp);

		if (len == 0)
			continue;
		if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff) || encode(again, cp) != len ||
		    memcmp(bytes, again, len) != 0)
			ck_abort_msg("%02x %02x %02x %02x", bytes[0], bytes[1], bytes[2], bytes[3]);
	}
}
END_TEST

START_TEST(counts_columns)
{
	static const struct {
		const char *bytes;
		size_t columns;
	} known[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "h\xc3\xa9", 2 },
		{ "e\xcc\x81", 1 },                                        /* combining acute */
		{ "\xe6\x97\xa5\xe6\x9c\xac", 4 },                         /* CJK */
		{ "\xed\x95\x9c", 2 },                                     /* Hangul syllable */
		{ "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 2 },             /* the same from its parts */
		{ "\xef\xbc\xa1", 2 },                                     /* fullwidth A */
		{ "\xef\xbd\xb1", 1 },                                     /* halfwidth katakana */
		{ "\xf0\x9f\x98\x80", 2 },                                 /* emoji */
		{ "\xe2\x80\x8b\xe2\x80\x8d\xef\xb8\x8f\xef\xbb\xbf", 0 }, /* zero-width */
		{ "\xe2\x86\xb5\xe2\x87\xa5", 2 },
		{ "a\nb\x7f", 2 },
		{ "\xff\xfe", 2 },
		{ "\xf0\xa0\x80\x80", 2 }, /* CJK extension B */
		{ "\xe1\x88\x80", 1 },     /* Ethiopic */
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		ck_assert_msg(text_columns(known[i].bytes, strlen(known[i].bytes)) == known[i].columns, "%s",
		              known[i].bytes);
}
END_TEST

START_TEST(tells_utf8_from_other_bytes)
{
	ck_assert(utf8_is_valid("", 0) && utf8_is_valid("a\xc3\xa9\xe2\x82\xac", 6));
	ck_assert(!utf8_is_valid("a\xc3\xa9\xe2\x82", 5) && !utf8_is_valid("\xff", 1) &&
	          !utf8_is_valid("a\xa9z", 3));
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "growing", grows_to_its_maximum, grows_far, an_empty_addition_is_a_string,
	             survives_no_memory);
	SUPPORT_CASE(s, "utf8", repairs_utf8, makes_controls_visible, quotes_for_json, reads_every_code_point,
	             refuses_every_other_sequence, counts_columns, tells_utf8_from_other_bytes);
}
SUPPORT_MAIN("base_text", cases)
