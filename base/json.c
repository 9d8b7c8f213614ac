/* json.c: parsing with limits, and members of objects. cJSON builds the tree; what is let through to it is decided in
 * json_valid.c. */
#include "base/base.h"
#include "base/json_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_DEPTH  64
#define EXACT_LIMIT 9007199254740992.0 /* 2^53 */

static int compare_keys(const void *a, const void *b)
{
	const cJSON *const *x = a, *const *y = b;

	return strcmp((*x)->string, (*y)->string);
}

int json_sort_members(const cJSON ***members, size_t *cap, size_t *n, const cJSON *obj)
{
	size_t count = 0;

	for (const cJSON *m = obj->child; m; m = m->next) {
		if (mem_grow(members, cap, count + 1, sizeof(**members)) < 0)
			return ERR_NOMEM;
		(*members)[count++] = m;
	}
	if (count > 1)
		qsort(*members, count, sizeof(**members), compare_keys);
	*n = count;
	return 0;
}

/* Looks for a key that an object has twice; recursion is as deep as the tree, at most JSON_MAX_DEPTH. */
static int find_duplicate(const cJSON *value, const cJSON ***members, size_t *cap, const char *what,
                          error *err)
{
	int rc = 0;

	if (cJSON_IsObject(value) && value->child && value->child->next) {
		size_t n = 0;

		if (json_sort_members(members, cap, &n, value) < 0)
			return error_nomem(err, what);
		for (size_t i = 1; i < n; i++)
			if (strcmp((*members)[i - 1]->string, (*members)[i]->string) == 0)
				return error_set(err, ERR_FORMAT,
				                 "'%s' has the key '%.100s' twice in one object", what,
				                 (*members)[i]->string);
	}
	for (const cJSON *child = value->child; child && rc == 0; child = child->next)
		if (child->child)
			rc = find_duplicate(child, members, cap, what, err);
	return rc;
}

int json_parse(cJSON **out, const char *data, size_t len, size_t max_bytes, unsigned max_depth,
               const char *what, error *err)
{
	const cJSON **members = NULL;
	cJSON *tree = NULL;
	size_t cap = 0;
	int rc;

	if (len > max_bytes)
		return error_set(err, ERR_LIMIT, "'%s' is %zu bytes long, over the limit of %zu", what, len,
		                 max_bytes);
	if (len == 0)
		return error_set(err, ERR_FORMAT, "'%s' is not valid JSON: it is empty", what);
	rc = json_validate(data, len, max_depth, what, err);
	if (rc < 0)
		return rc;
	tree = cJSON_ParseWithLengthOpts(data, len, NULL, 0);
	if (!tree) /* the text is known to be good */
		return error_nomem(err, what);
	rc = find_duplicate(tree, &members, &cap, what, err);
	if (rc < 0)
		goto out;
	*out = tree;
	tree = NULL;
out:
	free(members);
	cJSON_Delete(tree);
	return rc;
}

int json_read_file(cJSON **out, const char *path, size_t max_bytes, error *err)
{
	char *data = NULL;
	size_t len = 0, mark = 0;
	int rc = file_read(&data, &len, path, max_bytes, err);

	if (rc < 0)
		return rc;
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
		mark = 3; /* a byte order mark, which some editors leave and RFC 8259 lets us ignore */
	rc = json_parse(out, data + mark, len - mark, max_bytes, FILE_DEPTH, path, err);
	free(data);
	return rc;
}

/* The member, or NULL when it is absent or null. */
static const cJSON *find(const cJSON *obj, const char *key)
{
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(obj, key);

	return cJSON_IsNull(m) ? NULL : m;
}

static int wrong(const char *key, const char *what, const char *wanted, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s' in '%s' is not %s", key, what, wanted);
}

int json_get_string(const char **out, const cJSON *obj, const char *key, const char *what, error *err)
{
	const cJSON *m = find(obj, key);

	if (!m)
		return 0;
	if (!cJSON_IsString(m))
		return wrong(key, what, "a string", err);
	*out = m->valuestring;
	return 0;
}

int json_get_double(double *out, const cJSON *obj, const char *key, const char *what, error *err)
{
	const cJSON *m = find(obj, key);

	if (!m)
		return 0;
	if (!cJSON_IsNumber(m) || !isfinite(m->valuedouble))
		return wrong(key, what, "a finite number", err);
	*out = m->valuedouble;
	return 0;
}

int json_get_u64(uint64_t *out, const cJSON *obj, const char *key, const char *what, error *err)
{
	const cJSON *m = find(obj, key);
	double d;

	if (!m)
		return 0;
	if (!cJSON_IsNumber(m))
		return wrong(key, what, "a number", err);
	d = m->valuedouble;
	if (!(d >= 0 && d <= EXACT_LIMIT) || d != floor(d))
		return wrong(key, what, "a whole number in 0..2^53", err);
	*out = (uint64_t)d;
	return 0;
}

int json_get_bool(bool *out, const cJSON *obj, const char *key, const char *what, error *err)
{
	const cJSON *m = find(obj, key);

	if (!m)
		return 0;
	if (!cJSON_IsBool(m))
		return wrong(key, what, "true or false", err);
	*out = cJSON_IsTrue(m);
	return 0;
}
