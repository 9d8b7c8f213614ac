/* test_base.c: errors, memory, text, hashes, clock, progress and CPU. */
#include "tests/support.h"

START_TEST(error_formats)
{
	error e = { 0 };

	ck_assert_int_eq(error_set(&e, ERR_ARG, "bad %d", 7), ERR_ARG);
	ck_assert_str_eq(e.msg, "bad 7");
	ck_assert_int_eq(error_errno(&e, 2, "cannot open '%s'", "x"), ERR_IO);
	ck_assert_str_eq(e.msg, "cannot open 'x': No such file or directory");
	ck_assert_int_eq(error_errno(NULL, 12, "x"), ERR_NOMEM);
}
END_TEST

START_TEST(smoke)
{
	cJSON *v = NULL;
	error e = { 0 };
	char *s;
	static const char json[] = "{\"b\": [1, 2.5, -0, 1e300, {}, []], \"a\": \"x\\u00e9\\ud83d\\ude00\", "
	                           "\"c\": {\"d\": null}}";

	ck_assert_msg(json_parse(&v, json, sizeof(json) - 1, 1000, 4, "t", &e) == 0, "%s", e.msg);
	s = json_print_canonical(v);
	ck_assert_str_eq(
	        s, "{\"a\":\"x\xc3\xa9\xf0\x9f\x98\x80\",\"b\":[1,2.5,0,1e+300,{},[]],\"c\":{\"d\":null}}");
	free(s);
	cJSON_Delete(v);
	for (uint64_t n = 1; n < 70; n++) {
		uint64_t sum = 0;

		for (uint64_t i = 0; i < n; i++)
			sum += hash64_permute(i, n, 5);
		ck_assert_uint_eq(sum, n * (n - 1) / 2);
	}
	ck_assert_uint_ge(cpu_count(), 1);
}
END_TEST

static void add_index(void *payload, size_t i, unsigned worker)
{
	uint64_t *sums = payload;

	sums[worker * 8] += i;
}

START_TEST(pool_smoke)
{
	pool *p = NULL;
	uint64_t sums[32] = { 0 };

	ck_assert_int_eq(pool_new(&p, 4, NULL), 0);
	for (int r = 0; r < 100; r++)
		pool_run(p, 1000, add_index, sums);
	pool_free(p);
	ck_assert_uint_eq(sums[0] + sums[8] + sums[16] + sums[24], 100 * 499500);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "error", error_formats);
	SUPPORT_CASE(s, "smoke", smoke, pool_smoke);
}
SUPPORT_MAIN("base", cases)
