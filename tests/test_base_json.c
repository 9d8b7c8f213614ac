/* test_base_json.c: parsing, members, printing and schemas. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Parses from an exact-size copy, so that AddressSanitizer sees a read past the end. */
static int parse(cJSON **out, const char *s, size_t len, unsigned depth, error *err)
{
	char *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, s, len);
	rc = json_parse(out, copy, len, 1 << 20, depth, "in.json", err);
	free(copy);
	return rc;
}

static cJSON *must_parse(const char *s)
{
	cJSON *v = NULL;
	error e = { 0 };

	ck_assert_msg(parse(&v, s, strlen(s), 16, &e) == 0, "%s", e.msg);
	return v;
}

START_TEST(takes_what_is_json)
{
	/* each prints as the text behind it, or as itself */
	static const char *const good[][2] = {
		{ "null", NULL },
		{ "true", NULL },
		{ "false", NULL },
		{ "\"\"", NULL },
		{ " \t\r\n[ ] \n", "[]" },
		{ "{ }", "{}" },
		{ "[[[[[[[[]]]]]]]]", NULL },
		{ "{\"a\":{\"b\":[{\"c\":[]},{}]},\"d\":\"e\"}", NULL },
		{ "[1,2 , 3]", "[1,2,3]" },
		{ "[0,-0,0.5,-1e5,1E+2,1e-2]", "[0,-0,0.5,-100000,100,0.01]" },
		{ "{\"\":0}", NULL },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
		{ "\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"", "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\"\xf0\x9f\x98\x80\x7f\"", NULL },
		{ "[1e-400]", "[0]" },
		{ "{\"a\":1,\"A\":2}", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cJSON *v = must_parse(good[i][0]);
		char *s = json_print(v);

		ck_assert_str_eq(s, good[i][1] ? good[i][1] : good[i][0]);
		free(s);
		cJSON_Delete(v);
	}
}
END_TEST

START_TEST(refuses_what_is_not)
{
	static const struct {
		const char *s, *problem;
		int at;
	} bad[] = {
		{ " ", "the input ends too early", 1 },
		{ "[", "the input ends too early", 1 },
		{ "[1", "the input ends too early", 2 },
		{ "[1,", "the input ends too early", 3 },
		{ "{\"a\"", "the input ends too early", 4 },
		{ "{\"a\":", "the input ends too early", 5 },
		{ "\"abc", "the input ends too early", 4 },
		{ "\"\\", "the input ends too early", 2 },
		{ "\"\\u12", "the input ends too early", 5 },
		{ "tru", "the input ends too early", 3 },
		{ "-", "the input ends too early", 1 },
		{ "1.", "the input ends too early", 2 },
		{ "1e", "the input ends too early", 2 },
		{ "[1,]", "a value was expected", 3 },
		{ "[,1]", "a value was expected", 1 },
		{ "[1 2]", "',' or ']' was expected", 3 },
		{ "[1}", "',' or ']' was expected", 2 },
		{ "{\"a\":1]", "',' or '}' was expected", 6 },
		{ "{\"a\":1,}", "a key in quotes was expected", 7 },
		{ "{a:1}", "a key in quotes was expected", 1 },
		{ "{'a':1}", "a key in quotes was expected", 1 },
		{ "{1:1}", "a key in quotes was expected", 1 },
		{ "{\"a\" 1}", "':' was expected", 5 },
		{ "{\"a\":}", "a value was expected", 5 },
		{ "01", "a number starts with 0", 1 },
		{ "-01", "a number starts with 0", 2 },
		{ "+1", "a value was expected", 0 },
		{ ".5", "a value was expected", 0 },
		{ "1.e3", "a digit was expected", 2 },
		{ "-x", "a digit was expected", 1 },
		{ "1e+x", "a digit was expected", 3 },
		{ "0x10", "something follows the value", 1 },
		{ "1 2", "something follows the value", 2 },
		{ "{}}", "something follows the value", 2 },
		{ "NaN", "a value was expected", 0 },
		{ "Infinity", "a value was expected", 0 },
		{ "-Infinity", "a digit was expected", 1 },
		{ "True", "a value was expected", 0 },
		{ "truE", "a value was expected", 3 },
		{ "nullx", "something follows the value", 4 },
		{ "// c\n1", "a value was expected", 0 },
		{ "\"\t\"", "a control character in a string", 1 },
		{ "\"a\nb\"", "a control character in a string", 2 },
		{ "\"\\x\"", "an escape that JSON does not have", 2 },
		{ "\"\\u12g4\"", "\\u needs four hex digits", 5 },
		{ "\"\\u0000\"", "a NUL in a string", 7 },
		{ "\"\\ud800\"", "an unpaired surrogate", 7 },
		{ "\"\\udc00\\ud800\"", "an unpaired surrogate", 7 },
		{ "\"\\ud800\\u0041\"", "an unpaired surrogate", 13 },
		{ "\"\xff\"", "ill-formed UTF-8", 1 },
		{ "\"\xed\xa0\x80\"", "ill-formed UTF-8", 1 },
		{ "\"\xe2\x82\"", "ill-formed UTF-8", 1 },
		{ "\xef\xbb\xbf"
		  "1",
		  "a value was expected", 0 },
		{ "[\xc2\xa0"
		  "1]",
		  "a value was expected", 1 },
		{ "1\f", "something follows the value", 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cJSON *v = NULL;
		error e = { 0 };
		char want[200];

		snprintf(want, sizeof(want), "'in.json' is not valid JSON: %s, at byte %d", bad[i].problem,
		         bad[i].at);
		ck_assert_int_eq(parse(&v, bad[i].s, strlen(bad[i].s), 16, &e), ERR_FORMAT);
		ck_assert_ptr_null(v);
		ck_assert_str_eq(e.msg, want);
	}
}
END_TEST

START_TEST(refuses_nul_and_nothing)
{
	cJSON *v = NULL;
	error e = { 0 };

	ck_assert_int_eq(parse(&v, "1\0", 2, 16, &e), ERR_FORMAT);
	ck_assert_int_eq(parse(&v, "\"a\0b\"", 5, 16, &e), ERR_FORMAT);
	ck_assert_int_eq(parse(&v, "", 0, 16, &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "'in.json' is not valid JSON: it is empty");
	ck_assert_ptr_null(v);
}
END_TEST

START_TEST(keeps_its_limits)
{
	static const char long_number[] = "0.1234567890123456789012345678901234567890123456789012345678901";
	char longer[80], deep[4000];
	cJSON *v = NULL;
	error e = { 0 };

	ck_assert_int_eq(json_parse(&v, "[1,2]", 5, 4, 4, "x", &e), ERR_LIMIT);
	ck_assert_str_eq(e.msg, "'x' is 5 bytes long, over the limit of 4");
	ck_assert_int_eq(parse(&v, "[[{}]]", 6, 2, &e), ERR_LIMIT);
	ck_assert_str_eq(e.msg, "'in.json': it is nested too deep, at byte 2");
	ck_assert_int_eq(parse(&v, "1", 1, 0, &e), 0);
	cJSON_Delete(v);
	v = NULL;
	ck_assert_int_eq(parse(&v, "[]", 2, 0, &e), ERR_LIMIT);

	memset(deep, '[', 2000); /* cJSON's own limit holds whatever was asked for */
	memset(deep + 2000, ']', 2000);
	ck_assert_int_eq(parse(&v, deep, 4000, UINT32_MAX, &e), ERR_LIMIT);
	ck_assert_int_eq(parse(&v, deep + 1000, 2000, UINT32_MAX, &e), 0);
	cJSON_Delete(v);
	v = NULL;

	ck_assert_uint_eq(strlen(long_number), 63);
	ck_assert_int_eq(parse(&v, long_number, 63, 1, &e), 0);
	cJSON_Delete(v);
	v = NULL;
	snprintf(longer, sizeof(longer), "%s2", long_number);
	ck_assert_int_eq(parse(&v, longer, 64, 1, &e), ERR_LIMIT);
	ck_assert_str_eq(e.msg, "'in.json': a number is over 63 bytes long, at byte 64");
	ck_assert_int_eq(parse(&v, "-1e309", 6, 1, &e), ERR_LIMIT);
	ck_assert_str_eq(e.msg, "'in.json': a number is beyond the range of a double, at byte 6");
	ck_assert_ptr_null(v);
}
END_TEST

START_TEST(refuses_duplicate_keys)
{
	static const char *const bad[] = { "{\"a\":1,\"b\":2,\"a\":3}", "[0,{\"x\":{\"a\":1,\"a\":1}}]",
		                           "{\"\\u0061\":1,\"a\":2}", "{\"c\":[],\"\":1,\"d\":{},\"\":1}" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cJSON *v = NULL;
		error e = { 0 };

		ck_assert_int_eq(parse(&v, bad[i], strlen(bad[i]), 16, &e), ERR_FORMAT);
		ck_assert_ptr_nonnull(strstr(e.msg, "twice in one object"));
		ck_assert_ptr_null(v);
	}
	cJSON_Delete(must_parse("[{\"a\":{\"a\":1}},{\"a\":2}]"));
}
END_TEST

/* A vocabulary's worth of members: quadratic work would take minutes. */
START_TEST(takes_large_objects)
{
	enum { N = 250000 };
	double started = clock_now();
	cJSON *v = NULL;
	char *s;
	text t;

	text_init(&t, SIZE_MAX);
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(text_addf(&t, "%s\"w%d\":%d", i ? "," : "{", (i * 7919) % N, i), 0);
	ck_assert_int_eq(text_adds(&t, "}"), 0);
	ck_assert_int_eq(json_parse(&v, t.data, t.len, SIZE_MAX, 2, "vocab", NULL), 0);
	s = json_print_canonical(v);
	ck_assert_uint_eq(strlen(s), t.len);
	ck_assert_double_lt(clock_now() - started, 30);
	free(s);
	cJSON_Delete(v);
	text_free(&t);
}
END_TEST

/* What the check lets through, cJSON builds: damaged inputs never look like a lack of memory. */
START_TEST(check_and_builder_agree)
{
	static const char seed[] = "{\"a\": [1, -2.5e3, \"x\\u00e9\\ud83d\\ude00\\n\", true, null], \"b\": "
	                           "{\"c\": {}, \"d\": []}}";
	static const char bytes[] = "{}[]\",:\\u0dD8e-+.1 tn\n\xc3\xa9\x01";
	int good = 0;

	for (uint64_t trial = 0; trial < 30000; trial++) {
		char s[sizeof(seed)];
		size_t len = sizeof(seed) - 1;
		cJSON *v = NULL;
		int rc;

		memcpy(s, seed, sizeof(seed));
		for (uint64_t hit = 0; hit < 1 + trial % 3; hit++) {
			uint64_t h = hash64_mix(trial, hit);

			s[h % len] = bytes[(h >> 32) % (sizeof(bytes) - 1)];
		}
		if (trial % 5 == 0)
			len = 1 + hash64_mix(trial, 9) % len;
		rc = parse(&v, s, len, 8, NULL);
		ck_assert_msg(rc == 0 || rc == ERR_FORMAT || rc == ERR_LIMIT, "%d for %s", rc, s);
		good += rc == 0;
		cJSON_Delete(v);
	}
	ck_assert_int_gt(good, 1000);
}
END_TEST

START_TEST(survives_no_memory)
{
	static const char s[] = "{\"b\":1,\"a\":[{\"x\":1,\"y\":2}]}";
	cJSON *v = NULL;

	for (long nth = 0;; nth++) {
		error e = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = json_parse(&v, s, strlen(s), 100, 8, "x", &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(v);
	}
	for (int canonical = 0; canonical < 2; canonical++) {
		for (long nth = 0;; nth++) {
			char *out;

			fault_arm(FAULT_ALLOC, nth);
			out = canonical ? json_print_canonical(v) : json_print(v);
			if (!fault_disarm(FAULT_ALLOC)) {
				ck_assert_ptr_nonnull(out);
				free(out);
				break;
			}
			ck_assert_ptr_null(out);
		}
	}
	cJSON_Delete(v);
}
END_TEST

START_TEST(reads_files)
{
	char dir[FILE_PATH_MAX];
	const char *path;
	cJSON *v = NULL;
	error e = { 0 };

	support_mkdir(dir);
	path = support_path(dir, "cfg.json");
	ck_assert_int_eq(json_read_file(&v, path, 100, &e), ERR_IO);
	ck_assert_ptr_nonnull(strstr(e.msg, "No such file"));
	support_put_text(path, "\xef\xbb\xbf{\"a\":1}\n"); /* with a byte order mark */
	ck_assert_int_eq(json_read_file(&v, path, 100, &e), 0);
	cJSON_Delete(v);
	v = NULL;
	ck_assert_int_eq(json_read_file(&v, path, 5, &e), ERR_LIMIT);
	support_put_text(path, "{");
	ck_assert_int_eq(json_read_file(&v, path, 5, &e), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(e.msg, path));
	support_put_text(path, "");
	ck_assert_int_eq(json_read_file(&v, path, 5, &e), ERR_FORMAT);
	ck_assert_int_eq(json_read_file(&v, dir, 5, &e), ERR_IO);
	ck_assert_ptr_null(v);
	support_rmdir(dir);
}
END_TEST

START_TEST(gets_members)
{
	cJSON *v = must_parse(
	        "{\"s\":\"x\",\"d\":2.5,\"u\":9007199254740992,\"t\":true,\"f\":false,\"n\":null}");
	const char *s = "default";
	double d = 7;
	uint64_t u = 7;
	bool b = true;

	ck_assert_int_eq(json_get_string(&s, v, "none", "w", NULL), 0);
	ck_assert_int_eq(json_get_string(&s, v, "n", "w", NULL), 0);
	ck_assert_str_eq(s, "default");
	ck_assert_int_eq(json_get_double(&d, v, "none", "w", NULL), 0);
	ck_assert_double_eq(d, 7);
	ck_assert_int_eq(json_get_u64(&u, v, "n", "w", NULL), 0);
	ck_assert_uint_eq(u, 7);
	ck_assert_int_eq(json_get_bool(&b, v, "none", "w", NULL), 0);
	ck_assert(b);

	ck_assert_int_eq(json_get_string(&s, v, "s", "w", NULL), 0);
	ck_assert_str_eq(s, "x");
	ck_assert_int_eq(json_get_double(&d, v, "d", "w", NULL), 0);
	ck_assert_double_eq(d, 2.5);
	ck_assert_int_eq(json_get_u64(&u, v, "u", "w", NULL), 0);
	ck_assert_uint_eq(u, (uint64_t)1 << 53);
	ck_assert_int_eq(json_get_bool(&b, v, "f", "w", NULL), 0);
	ck_assert(!b);
	ck_assert_int_eq(json_get_bool(&b, v, "t", "w", NULL), 0);
	ck_assert(b);
	ck_assert_int_eq(json_get_bool(&b, v, "T", "w", NULL), 0); /* another key */
	cJSON_Delete(v);
}
END_TEST

START_TEST(refuses_members_of_another_type)
{
	cJSON *v = must_parse("{\"s\":\"1\",\"d\":2.5,\"neg\":-1,\"big\":9007199254740994,\"t\":true}");
	const char *s = "kept";
	double d = 7;
	uint64_t u = 7;
	bool b = true;
	error e = { 0 };

	ck_assert_int_eq(json_get_string(&s, v, "d", "cfg.json", &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "'d' in 'cfg.json' is not a string");
	ck_assert_int_eq(json_get_double(&d, v, "s", "cfg.json", &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "'s' in 'cfg.json' is not a finite number");
	ck_assert_int_eq(json_get_bool(&b, v, "d", "cfg.json", &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "'d' in 'cfg.json' is not true or false");
	ck_assert_int_eq(json_get_u64(&u, v, "t", "cfg.json", &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "'t' in 'cfg.json' is not a number");
	ck_assert_int_eq(json_get_u64(&u, v, "d", "cfg.json", &e), ERR_FORMAT);
	ck_assert_int_eq(json_get_u64(&u, v, "neg", "cfg.json", &e), ERR_FORMAT);
	ck_assert_int_eq(json_get_u64(&u, v, "big", "cfg.json", &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "'big' in 'cfg.json' is not a whole number in 0..2^53");
	ck_assert(strcmp(s, "kept") == 0 && d == 7 && u == 7 && b);
	cJSON_Delete(v);
}
END_TEST

static void check_printed(double d, const char *want)
{
	cJSON *v = cJSON_CreateNumber(d);
	char *s = json_print(v);

	ck_assert_str_eq(s, want);
	free(s);
	cJSON_Delete(v);
}

START_TEST(prints_numbers_that_read_back)
{
	check_printed(0, "0");
	check_printed(-0.0, "-0");
	check_printed(0.1, "0.1");
	check_printed(1.0 / 3, "0.3333333333333333");
	check_printed(0.1 + 0.2, "0.30000000000000004");
	check_printed(9007199254740991, "9007199254740991");
	check_printed(-9007199254740992, "-9007199254740992");
	check_printed(1e22, "1e+22");
	check_printed(5e-324, "4.94065645841247e-324");
	check_printed(1.7976931348623157e308, "1.7976931348623157e+308");
	check_printed(NAN, "null");
	check_printed(-INFINITY, "null");
	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t bits = hash64_mix(1, i);
		cJSON *v;
		char *s;
		double d;

		memcpy(&d, &bits, sizeof(d));
		v = cJSON_CreateNumber(d);
		s = json_print(v);
		if (isfinite(d))
			ck_assert(strtod(s, NULL) == d);
		free(s);
		cJSON_Delete(v);
	}
}
END_TEST

START_TEST(canonical_form_is_one)
{
	cJSON *a = must_parse(
	        "{ \"b\" : [ -0, 1.0, {\"y\":1,\"x\":2} ], \"a\" : \"\\u00e9\", \"aa\":1e0, \"A\":null }");
	cJSON *b = must_parse("{\"A\":null,\"aa\":1,\"a\":\"\xc3\xa9\",\"b\":[0,1,{\"x\":2,\"y\":1.0}]}");
	char *x = json_print_canonical(a), *y = json_print_canonical(b);

	ck_assert_str_eq(x, "{\"A\":null,\"a\":\"\xc3\xa9\",\"aa\":1,\"b\":[0,1,{\"x\":2,\"y\":1}]}");
	ck_assert_str_eq(x, y);
	free(x);
	free(y);
	cJSON_Delete(a);
	cJSON_Delete(b);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "parse", takes_what_is_json, refuses_what_is_not, refuses_nul_and_nothing,
	             keeps_its_limits, refuses_duplicate_keys, takes_large_objects, check_and_builder_agree,
	             survives_no_memory, reads_files);
	SUPPORT_CASE(s, "members", gets_members, refuses_members_of_another_type);
	SUPPORT_CASE(s, "print", prints_numbers_that_read_back, canonical_form_is_one);
}
SUPPORT_MAIN("base_json", cases)
