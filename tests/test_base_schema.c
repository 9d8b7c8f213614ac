/* test_base_schema.c: the part of JSON Schema that base checks. */
#include "tests/support.h"

#include <string.h>

static cJSON *parse(const char *s)
{
	cJSON *v = NULL;
	error e = { 0 };

	ck_assert_msg(json_parse(&v, s, strlen(s), 1 << 20, 500, s, &e) == 0, "%s", e.msg);
	return v;
}

static int check(const char *schema, const char *value, error *e)
{
	cJSON *s = parse(schema), *v = parse(value);
	int rc = json_schema_check(s, v, e);

	cJSON_Delete(s);
	cJSON_Delete(v);
	return rc;
}

START_TEST(each_keyword_accepts_and_refuses)
{
	static const struct {
		const char *schema, *good, *bad, *message;
	} known[] = {
		{ "{\"type\":\"null\"}", "null", "0", "the value at '' is not of type null" },
		{ "{\"type\":\"boolean\"}", "false", "0", "the value at '' is not of type boolean" },
		{ "{\"type\":\"integer\"}", "-3.0", "1.5", "the value at '' is not of type integer" },
		{ "{\"type\":\"integer\"}", "0", "\"0\"", "the value at '' is not of type integer" },
		{ "{\"type\":\"number\"}", "1.5", "\"1.5\"", "the value at '' is not of type number" },
		{ "{\"type\":\"string\"}", "\"\"", "[]", "the value at '' is not of type string" },
		{ "{\"type\":\"array\"}", "[]", "{}", "the value at '' is not of type array" },
		{ "{\"type\":\"object\"}", "{}", "[]", "the value at '' is not of type object" },
		{ "{\"type\":[\"string\",\"null\"]}", "null", "1",
		  "the value at '' is not of type string or null" },
		{ "{\"minimum\":0}", "0", "-0.5", "the value at '' has the value -0.5, under 0" },
		{ "{\"maximum\":1}", "1", "1.5", "the value at '' has the value 1.5, over 1" },
		{ "{\"minLength\":2}", "\"\xc3\xa9\xc3\xa9\"", "\"\xc3\xa9\"",
		  "the value at '' has length 1, under 2" },
		{ "{\"maxLength\":2}", "\"\xc3\xa9\xc3\xa9\"", "\"abc\"",
		  "the value at '' has length 3, over 2" },
		{ "{\"minItems\":1}", "[0]", "[]", "the value at '' has length 0, under 1" },
		{ "{\"maxItems\":1}", "[0]", "[0,0]", "the value at '' has length 2, over 1" },
		{ "{\"minimum\":5,\"minLength\":5,\"minItems\":5,\"required\":[\"a\"]}", "true", "[]",
		  "the value at '' has length 0, under 5" }, /* each only for its own type */
		{ "{\"enum\":[\"a\",1,null]}", "1", "\"b\"", "the value at '' is not one of [\"a\",1,null]" },
		{ "{\"const\":{\"a\":[1]}}", "{\"a\":[1]}", "{\"a\":[2]}",
		  "the value at '' is not {\"a\":[1]}" },
		{ "{\"required\":[\"a\"]}", "{\"a\":null}", "{\"A\":0}",
		  "the value at '' lacks the key 'a'" },
		{ "{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"b\":0}", "{\"a\":0}",
		  "the value at '/a' is not of type string" },
		{ "{\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"a\":0}",
		  "{\"a\":0,\"b\":0}", "the value at '' has the key 'b', which is not allowed" },
		{ "{\"additionalProperties\":{\"maximum\":1}}", "{\"a\":0,\"b\":1}", "{\"a\":0,\"b\":2}",
		  "the value at '/b' has the value 2, over 1" },
		{ "{\"items\":{\"type\":\"integer\"}}", "[1,2]", "[1,2.5]",
		  "the value at '/1' is not of type integer" },
		{ "{\"properties\":{\"a/b~\":{\"items\":{\"required\":[\"x\"]}}}}", "{\"a/b~\":[{\"x\":1}]}",
		  "{\"a/b~\":[{\"x\":1},{}]}", "the value at '/a~1b~0/1' lacks the key 'x'" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		error e = { 0 };

		ck_assert_msg(check(known[i].schema, known[i].good, &e) == 0, "%s: %s", known[i].schema,
		              e.msg);
		ck_assert_int_eq(check(known[i].schema, known[i].bad, &e), ERR_FORMAT);
		ck_assert_str_eq(e.msg, known[i].message);
	}
}
END_TEST

START_TEST(remarks_are_ignored)
{
	ck_assert_int_eq(
	        check("{\"$schema\":\"x\",\"$id\":\"x\",\"title\":\"x\",\"description\":\"x\",\"default\":5,"
	              "\"examples\":[1],\"additionalProperties\":true}",
	              "{\"a\":1}", NULL),
	        0);
}
END_TEST

/* A schema of ours with a keyword that we do not check must not pass in silence, wherever it stands. */
START_TEST(unknown_keywords_are_refused)
{
	static const char *const bad[][2] = {
		{ "{\"pattern\":\"a\"}",
		  "the schema at '/pattern' is a keyword outside the subset we check" },
		{ "{\"items\":{\"properties\":{\"a\":{\"oneOf\":[]}}}}",
		  "the schema at '/items/properties/a/oneOf' is a keyword outside the subset we check" },
		{ "{\"exclusiveMinimum\":0}", NULL },
		{ "{\"$ref\":\"#\"}", NULL },
		{ "{\"Type\":\"string\"}", NULL },
		{ "{\"additionalProperties\":{\"x\":1}}", NULL },
		{ "{\"type\":\"text\"}", "the schema at '/type' names no type" },
		{ "{\"type\":[\"string\",5]}", "the schema at '/type' names no type" },
		{ "{\"required\":\"a\"}", "the schema at '/required' must be a list" },
		{ "{\"required\":[1]}", "the schema at '/required' must be a list of strings" },
		{ "{\"properties\":[]}", "the schema at '/properties' must be an object" },
		{ "{\"properties\":{\"a\":true}}", "the schema at '/properties/a' must be an object" },
		{ "{\"items\":[{}]}", "the schema at '/items' must be an object" },
		{ "{\"enum\":1}", "the schema at '/enum' must be a list" },
		{ "{\"minItems\":-1}", "the schema at '/minItems' must be a size" },
		{ "{\"maxLength\":\"1\"}", "the schema at '/maxLength' must be a size" },
		{ "{\"maximum\":\"1\"}", "the schema at '/maximum' must be a number" },
		{ "true", "the schema at '' must be an object" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		error e = { 0 };

		ck_assert_int_eq(check(bad[i][0], "null", &e), ERR_ARG);
		if (bad[i][1])
			ck_assert_str_eq(e.msg, bad[i][1]);
	}
}
END_TEST

START_TEST(deep_schemas_are_refused)
{
	char deep[2000];
	size_t n = 0;
	error e = { 0 };

	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(deep + n, sizeof(deep) - n, "{\"items\":");
	n += (size_t)snprintf(deep + n, sizeof(deep) - n, "{}");
	memset(deep + n, '}', 100);
	deep[n + 100] = '\0';
	ck_assert_int_eq(check(deep, "[]", &e), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(e.msg, "is nested too deep"));
}
END_TEST

START_TEST(messages_are_cut_not_overrun)
{
	char value[2000], key[900];
	error e = { 0 };

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	snprintf(value, sizeof(value), "{\"%s\":{\"%s\":1}}", key, key);
	ck_assert_int_eq(check("{\"additionalProperties\":{\"additionalProperties\":{\"type\":\"string\"}}}",
	                       value, &e),
	                 ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(e.msg, "is not of type string"));
	ck_assert_int_eq(check("{\"additionalProperties\":false}", value, &e), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(e.msg, "which is not allowed"));
}
END_TEST

START_TEST(survives_no_memory)
{
	cJSON *s = parse("{\"items\":{\"enum\":[1]}}"), *v = parse("[2]");

	for (long nth = 0;; nth++) {
		error e = { 0 };
		bool struck;
		int rc;

		fault_arm(FAULT_ALLOC, nth); /* only the message needs memory, and does without */
		rc = json_schema_check(s, v, &e);
		struck = fault_disarm(FAULT_ALLOC);
		ck_assert_int_eq(rc, ERR_FORMAT);
		ck_assert_int_eq(e.code, ERR_FORMAT);
		ck_assert_ptr_nonnull(strstr(e.msg, "is not one of"));
		if (!struck)
			break;
	}
	cJSON_Delete(s);
	cJSON_Delete(v);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "schema", each_keyword_accepts_and_refuses, remarks_are_ignored,
	             unknown_keywords_are_refused, deep_schemas_are_refused, messages_are_cut_not_overrun,
	             survives_no_memory);
}
SUPPORT_MAIN("base_schema", cases)
