/* json_schema.c: the part of JSON Schema that our schemas use. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64 /* of a schema */

/* Where in the value we are: a list from the innermost to the root, on the stack. */
typedef struct place {
	const struct place *up;
	const char *key; /* NULL: index counts */
	int index;
} place;

/* The JSON Pointer (RFC 6901) of the place; what does not fit is left out. */
static void pointer(text *out, const place *at)
{
	int rc;

	if (!at->up)
		return;
	pointer(out, at->up);
	rc = at->key ? text_adds(out, "/") : text_addf(out, "/%d", at->index);
	for (const char *p = at->key; p && *p && rc == 0; p++)
		rc = *p == '~'   ? text_adds(out, "~0")
		     : *p == '/' ? text_adds(out, "~1")
		                 : text_add(out, p, 1);
}

static int fail(error *err, int code, const place *at, const char *fmt, ...) PRINTF_LIKE(4, 5);

static int fail(error *err, int code, const place *at, const char *fmt, ...)
{
	char wanted[200];
	va_list args;
	text where;

	text_init(&where, 200);
	pointer(&where, at);
	va_start(args, fmt);
	vsnprintf(wanted, sizeof(wanted), fmt, args);
	va_end(args);
	error_set(err, code, "%s at '%s' %s", code == ERR_ARG ? "the schema" : "the value",
	          where.data ? where.data : "", wanted);
	text_free(&where);
	return code;
}

/* ---- The schema itself ------------------------------------------------------------------------------------------ */

static bool type_known(const cJSON *name)
{
	static const char *const types[] = { "null",   "boolean", "integer", "number",
		                             "string", "array",   "object" };

	for (size_t i = 0; cJSON_IsString(name) && i < ARRAY_LEN(types); i++)
		if (strcmp(name->valuestring, types[i]) == 0)
			return true;
	return false;
}

static int check_types(const cJSON *type, const place *at, error *err)
{
	const cJSON *each;

	if (!cJSON_IsArray(type))
		return type_known(type) ? 0 : fail(err, ERR_ARG, at, "names no type");
	cJSON_ArrayForEach(each, type) if (!type_known(each)) return fail(err, ERR_ARG, at, "names no type");
	return 0;
}

static int check_strings(const cJSON *list, const place *at, error *err)
{
	const cJSON *each;

	if (!cJSON_IsArray(list))
		return fail(err, ERR_ARG, at, "must be a list");
	cJSON_ArrayForEach(each, list) if (!cJSON_IsString(each)) return fail(err, ERR_ARG, at,
	                                                                      "must be a list of strings");
	return 0;
}

static int check_schema(const cJSON *schema, const place *at, unsigned depth, error *err);

static int check_properties(const cJSON *properties, const place *at, unsigned depth, error *err)
{
	const cJSON *each;
	int rc = 0;

	if (!cJSON_IsObject(properties))
		return fail(err, ERR_ARG, at, "must be an object");
	for (each = properties->child; each && rc == 0; each = each->next) {
		place inner = { at, each->string, 0 };

		rc = check_schema(each, &inner, depth, err);
	}
	return rc;
}

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

static int check_keyword(const cJSON *k, const place *at, unsigned depth, error *err)
{
	static const char *const remarks[] = {
		"$schema", "$id", "title", "description", "default", "examples"
	};
	static const char *const sizes[] = { "minItems", "maxItems", "minLength", "maxLength" };
	static const char *const bounds[] = { "minimum", "maximum" };
	const char *name = k->string;

	if (is_one_of(name, remarks, ARRAY_LEN(remarks)) || strcmp(name, "const") == 0)
		return 0;
	if (is_one_of(name, sizes, ARRAY_LEN(sizes)))
		return cJSON_IsNumber(k) && k->valuedouble >= 0 ? 0
		                                                : fail(err, ERR_ARG, at, "must be a size");
	if (is_one_of(name, bounds, ARRAY_LEN(bounds)))
		return cJSON_IsNumber(k) ? 0 : fail(err, ERR_ARG, at, "must be a number");
	if (strcmp(name, "type") == 0)
		return check_types(k, at, err);
	if (strcmp(name, "enum") == 0)
		return cJSON_IsArray(k) ? 0 : fail(err, ERR_ARG, at, "must be a list");
	if (strcmp(name, "required") == 0)
		return check_strings(k, at, err);
	if (strcmp(name, "properties") == 0)
		return check_properties(k, at, depth, err);
	if (strcmp(name, "additionalProperties") == 0 && cJSON_IsBool(k))
		return 0;
	if (strcmp(name, "additionalProperties") == 0 || strcmp(name, "items") == 0)
		return check_schema(k, at, depth, err);
	return fail(err, ERR_ARG, at, "is a keyword outside the subset we check");
}

static int check_schema(const cJSON *schema, const place *at, unsigned depth, error *err)
{
	int rc = 0;

	if (!cJSON_IsObject(schema))
		return fail(err, ERR_ARG, at, "must be an object");
	if (depth == 0)
		return fail(err, ERR_ARG, at, "is nested too deep");
	for (const cJSON *k = schema->child; k && rc == 0; k = k->next) {
		place inner = { at, k->string, 0 };

		rc = check_keyword(k, &inner, depth - 1, err);
	}
	return rc;
}

/* ---- A value against it: the schema is known to be good ---------------------------------------------------------- */

static bool has_type(const cJSON *v, const char *type)
{
	switch (type[0]) {
	case 'n':
		return type[2] == 'l' ? cJSON_IsNull(v) : cJSON_IsNumber(v);
	case 'b':
		return cJSON_IsBool(v);
	case 'i':
		return cJSON_IsNumber(v) && v->valuedouble == floor(v->valuedouble);
	case 's':
		return cJSON_IsString(v);
	case 'a':
		return cJSON_IsArray(v);
	default:
		return cJSON_IsObject(v);
	}
}

static int match_type(const cJSON *type, const cJSON *v, const place *at, error *err)
{
	char wanted[160] = "";
	const cJSON *each = cJSON_IsArray(type) ? type->child : type;

	for (; each; each = cJSON_IsArray(type) ? each->next : NULL) {
		size_t used = strlen(wanted);

		if (has_type(v, each->valuestring))
			return 0;
		snprintf(wanted + used, sizeof(wanted) - used, "%s%s", used ? " or " : "", each->valuestring);
	}
	return fail(err, ERR_FORMAT, at, "is not of type %s", wanted);
}

static int match_enum(const cJSON *list, const cJSON *v, const place *at, error *err)
{
	const cJSON *each;
	char *wanted;

	cJSON_ArrayForEach(each, list) if (cJSON_Compare(each, v, true)) return 0;
	wanted = json_print(list);
	fail(err, ERR_FORMAT, at, "is not one of %s", wanted ? wanted : "those allowed");
	free(wanted);
	return ERR_FORMAT;
}

static int match_const(const cJSON *constant, const cJSON *v, const place *at, error *err)
{
	char *wanted;

	if (cJSON_Compare(constant, v, true))
		return 0;
	wanted = json_print(constant);
	fail(err, ERR_FORMAT, at, "is not %s", wanted ? wanted : "what it must be");
	free(wanted);
	return ERR_FORMAT;
}

static int match_range(const cJSON *schema, const char *low, const char *high, double x, const char *of,
                       const place *at, error *err)
{
	const cJSON *least = cJSON_GetObjectItemCaseSensitive(schema, low);
	const cJSON *most = cJSON_GetObjectItemCaseSensitive(schema, high);

	if (least && x < least->valuedouble)
		return fail(err, ERR_FORMAT, at, "has %s %.15g, under %.15g", of, x, least->valuedouble);
	if (most && x > most->valuedouble)
		return fail(err, ERR_FORMAT, at, "has %s %.15g, over %.15g", of, x, most->valuedouble);
	return 0;
}

static size_t count_characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static int match(const cJSON *schema, const cJSON *v, const place *at, error *err);

static int match_object(const cJSON *schema, const cJSON *v, const place *at, error *err)
{
	const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
	const cJSON *others = cJSON_GetObjectItemCaseSensitive(schema, "additionalProperties");
	const cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required");
	const cJSON *each;
	int rc = 0;

	cJSON_ArrayForEach(each, required) if (
	        !cJSON_GetObjectItemCaseSensitive(v, each->valuestring)) return fail(err, ERR_FORMAT, at,
	                                                                             "lacks the key '%.100s'",
	                                                                             each->valuestring);
	for (each = v->child; each && rc == 0; each = each->next) {
		const cJSON *rule = cJSON_GetObjectItemCaseSensitive(properties, each->string);
		place inner = { at, each->string, 0 };

		if (rule)
			rc = match(rule, each, &inner, err);
		else if (cJSON_IsFalse(others))
			rc = fail(err, ERR_FORMAT, at, "has the key '%.100s', which is not allowed",
			          each->string);
		else if (cJSON_IsObject(others))
			rc = match(others, each, &inner, err);
	}
	return rc;
}

static int match_array(const cJSON *schema, const cJSON *v, const place *at, error *err)
{
	const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
	int rc = match_range(schema, "minItems", "maxItems", cJSON_GetArraySize(v), "length", at, err);
	int index = 0;

	for (const cJSON *each = v->child; items && each && rc == 0; each = each->next) {
		place inner = { at, NULL, index++ };

		rc = match(items, each, &inner, err);
	}
	return rc;
}

static int match(const cJSON *schema, const cJSON *v, const place *at, error *err)
{
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(schema, "enum");
	const cJSON *constant = cJSON_GetObjectItemCaseSensitive(schema, "const");
	int rc = type ? match_type(type, v, at, err) : 0;

	if (rc == 0 && list)
		rc = match_enum(list, v, at, err);
	if (rc == 0 && constant)
		rc = match_const(constant, v, at, err);
	if (rc < 0)
		return rc;
	if (cJSON_IsObject(v))
		return match_object(schema, v, at, err);
	if (cJSON_IsArray(v))
		return match_array(schema, v, at, err);
	if (cJSON_IsNumber(v))
		return match_range(schema, "minimum", "maximum", v->valuedouble, "the value", at, err);
	if (cJSON_IsString(v))
		return match_range(schema, "minLength", "maxLength", (double)count_characters(v->valuestring),
		                   "length", at, err);
	return 0;
}

int json_schema_check(const cJSON *schema, const cJSON *value, error *err)
{
	const place root = { NULL, NULL, 0 };
	int rc = check_schema(schema, &root, MAX_DEPTH, err);

	return rc < 0 ? rc : match(schema, value, &root, err);
}
