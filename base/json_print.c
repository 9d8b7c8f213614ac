/* json_print.c: a cJSON tree as text. cJSON's own printer rounds some doubles and cannot sort keys. */
#include "base/base.h"
#include "base/json_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int print_number(text *t, double d, bool canonical)
{
	char digits[40];

	if (!isfinite(d))
		return text_adds(t, "null");
	if (d == 0 && canonical)
		d = 0; /* minus zero equals zero */
	if (fabs(d) <= 0x1p53 && d == floor(d))
		return text_addf(t, "%.0f", d);
	for (int precision = 15; precision <= 17; precision++) {
		snprintf(digits, sizeof(digits), "%.*g", precision, d);
		if (strtod(digits, NULL) == d)
			break;
	}
	for (char *p = digits; *p; p++)
		if (*p == ',') /* some locale's decimal point */
			*p = '.';
	return text_adds(t, digits);
}

static int print_value(text *t, const cJSON *v, bool canonical);

static int print_member(text *t, const cJSON *m, bool first, bool canonical)
{
	int rc = first ? 0 : text_add(t, ",", 1);

	if (rc == 0 && m->string) {
		rc = text_add_json(t, m->string, strlen(m->string));
		if (rc == 0)
			rc = text_add(t, ":", 1);
	}
	return rc < 0 ? rc : print_value(t, m, canonical);
}

static int print_sorted(text *t, const cJSON *obj)
{
	const cJSON **members = NULL;
	size_t cap = 0, n = 0;
	int rc = json_sort_members(&members, &cap, &n, obj);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = print_member(t, members[i], i == 0, true);
	free(members);
	return rc;
}

static int print_container(text *t, const cJSON *v, bool canonical)
{
	bool object = cJSON_IsObject(v);
	int rc = text_add(t, object ? "{" : "[", 1);

	if (rc == 0 && object && canonical) {
		rc = print_sorted(t, v);
	} else {
		for (const cJSON *m = v->child; m && rc == 0; m = m->next)
			rc = print_member(t, m, m == v->child, canonical);
	}
	return rc < 0 ? rc : text_add(t, object ? "}" : "]", 1);
}

static int print_value(text *t, const cJSON *v, bool canonical)
{
	if (cJSON_IsNumber(v))
		return print_number(t, v->valuedouble, canonical);
	if (cJSON_IsString(v))
		return text_add_json(t, v->valuestring, strlen(v->valuestring));
	if (cJSON_IsObject(v) || cJSON_IsArray(v))
		return print_container(t, v, canonical);
	if (cJSON_IsRaw(v))
		return text_adds(t, v->valuestring);
	return text_adds(t, cJSON_IsTrue(v) ? "true" : cJSON_IsFalse(v) ? "false" : "null");
}

static char *print(const cJSON *value, bool canonical)
{
	text t;

	text_init(&t, SIZE_MAX);
	if (print_value(&t, value, canonical) < 0) {
		text_free(&t);
		return NULL;
	}
	return t.data;
}

char *json_print(const cJSON *value)
{
	return print(value, false);
}

char *json_print_canonical(const cJSON *value)
{
	return print(value, true);
}
