/* price: what tokens cost, from a file of the user's. */
#include "explain/explain.h"

#include <math.h>
#include <string.h>

enum { PRICE_FILE_MAX = 1 << 20 };

static int read_number(double *out, const cJSON *model, const char *name, const char *path, const char *of,
                       bool must, error *err)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(model, name);

	if (!n && !must)
		return 0;
	if (!cJSON_IsNumber(n) || !(n->valuedouble >= 0) || n->valuedouble > 1e9)
		return error_set(err, ERR_FORMAT,
		                 "'%s': \"%.60s\": \"%s\" is not a price: a number from 0 on is wanted", path,
		                 of, name);
	*out = n->valuedouble;
	return 0;
}

static int check_members(const cJSON *model, const char *path, error *err)
{
	static const char *const known[] = { "input", "cached_input", "output", "batch" };
	const cJSON *member;
	size_t i;

	if (!cJSON_IsObject(model))
		return error_set(err, ERR_FORMAT, "'%s': \"%.60s\" is not an object", path, model->string);
	cJSON_ArrayForEach(member, model)
	{
		for (i = 0; i < ARRAY_LEN(known); i++)
			if (strcmp(member->string, known[i]) == 0)
				break;
		if (i == ARRAY_LEN(known))
			return error_set(
			        err, ERR_FORMAT,
			        "'%s': \"%.60s\": unknown member \"%.60s\": there are input, cached_input, "
			        "output and batch",
			        path, model->string, member->string);
	}
	return 0;
}

int explain_price_read(explain_price *out, const char *path, const char *model, error *err)
{
	explain_price p = { .batch = 0.5, .cached_input = (double)NAN };
	const cJSON *of = NULL, *one;
	cJSON *file = NULL;
	int rc = json_read_file(&file, path, PRICE_FILE_MAX, err);

	if (rc < 0)
		return rc;
	if (!cJSON_IsObject(file))
		rc = error_set(err, ERR_FORMAT, "'%s' is not a JSON object", path);
	cJSON_ArrayForEach(one, file)
	{
		if (rc == 0)
			rc = check_members(one, path, err);
	}
	if (rc == 0) {
		of = cJSON_GetObjectItemCaseSensitive(file, model);
		if (!of)
			of = cJSON_GetObjectItemCaseSensitive(file, "*");
		if (!of)
			rc = error_set(err, ERR_NOTFOUND, "'%s' has no price of '%s', nor of \"*\"", path,
			               model);
	}
	if (rc == 0)
		rc = read_number(&p.input, of, "input", path, of->string, true, err);
	if (rc == 0)
		rc = read_number(&p.output, of, "output", path, of->string, true, err);
	if (rc == 0)
		rc = read_number(&p.cached_input, of, "cached_input", path, of->string, false, err);
	if (rc == 0)
		rc = read_number(&p.batch, of, "batch", path, of->string, false, err);
	if (isnan(p.cached_input))
		p.cached_input = p.input;
	p.known = true;
	if (rc == 0)
		*out = p;
	cJSON_Delete(file);
	return rc;
}

double explain_price_of(const explain_price *p, uint64_t input, uint64_t cached, uint64_t output)
{
	if (!p->known)
		return (double)NAN;
	cached = cached < input ? cached : input;
	return ((double)(input - cached) * p->input + (double)cached * p->cached_input +
	        (double)output * p->output) /
	       1e6;
}
