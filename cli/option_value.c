/* One option's value: from text or JSON into its field, with its range. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"

static void *option_field(void *fields, const option *o)
{
	return (char *)fields + o->offset;
}

static double limit_low(const option *o)
{
	if (o->min < o->max)
		return o->min;
	return o->type == OPTION_DOUBLE ? -INFINITY : 0;
}

static double limit_high(const option *o)
{
	double most = o->type == OPTION_U32 ? (double)UINT32_MAX : (double)INFINITY;

	return o->min < o->max && o->max < most ? o->max : most;
}

void cli_option_range(char out[CLI_RANGE_MAX], const option *o)
{
	double low = limit_low(o), high = limit_high(o);
	const double endless = 1e19; /* beyond any count: the upper end says nothing */

	out[0] = '\0';
	if (o->type == OPTION_DOUBLE) {
		if (low > -endless && high < endless)
			snprintf(out, CLI_RANGE_MAX, "%.10g to %.10g", low, high);
		else if (low > -endless)
			snprintf(out, CLI_RANGE_MAX, "at least %.10g", low);
		else if (high < endless)
			snprintf(out, CLI_RANGE_MAX, "at most %.10g", high);
	} else if (o->type == OPTION_U32 || o->type == OPTION_U64) {
		if (high < endless)
			snprintf(out, CLI_RANGE_MAX, "%.0f to %.0f", low, high);
		else
			snprintf(out, CLI_RANGE_MAX, "at least %.0f", low);
	}
}

void cli_option_describe(char out[CLI_DESCRIPTION_MAX], const option *o)
{
	char range[CLI_RANGE_MAX];
	const char *standard = o->standard;

	cli_option_range(range, o);
	if (o->min >= o->max)
		range[0] = '\0'; /* what the type holds anyway */
	if (o->type == OPTION_BOOL)
		standard = standard && !strcmp(standard, "true") ? "on" : NULL;
	if (standard)
		snprintf(out, CLI_DESCRIPTION_MAX, "%s (default: %s%s%s)", o->help, standard,
		         range[0] ? "; " : "", range);
	else if (o->type == OPTION_LIST)
		snprintf(out, CLI_DESCRIPTION_MAX, "%s (may be repeated)", o->help);
	else if (range[0])
		snprintf(out, CLI_DESCRIPTION_MAX, "%s (%s)", o->help, range);
	else
		snprintf(out, CLI_DESCRIPTION_MAX, "%s", o->help);
}

static int out_of_range(const option *o, const char *value, const char *shown, error *err)
{
	char range[CLI_RANGE_MAX];

	cli_option_range(range, o);
	if (!range[0])
		return error_set(err, ERR_ARG, "%s %s is out of range", shown, value);
	return error_set(err, ERR_ARG, "%s %s is out of range: %s", shown, value, range);
}

static int not_a(const char *kind, const option *o, const char *value, const char *shown, error *err)
{
	char range[CLI_RANGE_MAX];

	cli_option_range(range, o);
	return error_set(err, ERR_ARG, "%s '%s' is not a %s%s%s", shown, value, kind, range[0] ? ": " : "",
	                 range);
}

/* The factor of a size's ending; 0: not one. */
static uint64_t suffix_factor(const char *s)
{
	static const struct {
		const char *text;
		uint64_t factor;
	} known[] = {
		{ "", 1 },
		{ "k", 1000 },
		{ "K", 1000 },
		{ "M", 1000000 },
		{ "G", 1000000000 },
		{ "Ki", UINT64_C(1) << 10 },
		{ "Mi", UINT64_C(1) << 20 },
		{ "Gi", UINT64_C(1) << 30 },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(s, known[i].text))
			return known[i].factor;
	return 0;
}

static int set_whole(void *field, const option *o, const char *value, const char *shown, error *err)
{
	uint64_t number, factor;
	char *end;

	if (value[0] == '-' && value[1] >= '0' && value[1] <= '9')
		return out_of_range(o, value, shown, err);
	if (value[0] < '0' || value[0] > '9')
		return not_a("whole number", o, value, shown, err);
	errno = 0;
	number = strtoull(value, &end, 10);
	factor = o->type == OPTION_U64 ? suffix_factor(end) : *end == '\0';
	if (!factor)
		return not_a("whole number", o, value, shown, err);
	if (errno == ERANGE || number > UINT64_MAX / factor)
		return out_of_range(o, value, shown, err);
	number *= factor;
	if ((double)number < limit_low(o) || (double)number > limit_high(o))
		return out_of_range(o, value, shown, err);
	if (o->type == OPTION_U64)
		*(uint64_t *)field = number;
	else
		*(uint32_t *)field = (uint32_t)number;
	return 0;
}

static int set_double(double *field, const option *o, const char *value, const char *shown, error *err)
{
	double number;
	char *end;

	/* strtod would take "inf", "nan", hexadecimal and leading blanks too */
	if (!*value || value[strspn(value, "0123456789+-.eE")])
		return not_a("number", o, value, shown, err);
	number = strtod(value, &end);
	if (*end || end == value)
		return not_a("number", o, value, shown, err);
	if (!isfinite(number) || number < limit_low(o) || number > limit_high(o))
		return out_of_range(o, value, shown, err);
	*field = number;
	return 0;
}

static int set_choice(const char **field, const option *o, const char *value, const char *shown, error *err)
{
	size_t len = strlen(value);
	const char *p = o->value, *near = NULL;
	size_t near_len = 0;
	unsigned best = UINT32_MAX;
	char name[64];

	for (;;) {
		size_t n = strcspn(p, "|");

		if (n == len && !memcmp(p, value, n)) {
			*field = value;
			return 0;
		}
		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		if (text_likeness(value, name) < best) {
			best = text_likeness(value, name);
			near = p;
			near_len = n;
		}
		if (!p[n])
			break;
		p += n + 1;
	}
	if (near)
		return error_set(err, ERR_ARG, "%s '%s' is not one of %s; did you mean %.*s?", shown, value,
		                 o->value, (int)near_len, near);
	return error_set(err, ERR_ARG, "%s '%s' is not one of %s", shown, value, o->value);
}

/* Lists have room for the next power of two, so they need no stored capacity. */
static int list_add(option_list *list, const char *value, arena *mem, error *err)
{
	if ((list->n & (list->n - 1)) == 0) {
		const char **grown = arena_alloc(mem, list->n ? 2 * list->n : 1, sizeof(*grown));

		if (!grown)
			return error_nomem(err, "options");
		if (list->n)
			memcpy(grown, list->items, list->n * sizeof(*grown));
		list->items = grown;
	}
	list->items[list->n++] = value;
	return 0;
}

int cli_option_set(void *fields, const option *o, const char *value, bool first, arena *mem,
                   const char *shown, error *err)
{
	void *field = option_field(fields, o);

	switch (o->type) {
	case OPTION_BOOL:
		*(bool *)field = !strcmp(value, "true");
		return 0;
	case OPTION_U32:
	case OPTION_U64:
		return set_whole(field, o, value, shown, err);
	case OPTION_DOUBLE:
		return set_double(field, o, value, shown, err);
	case OPTION_STRING:
		*(const char **)field = value;
		return 0;
	case OPTION_LIST:
		if (first)
			*(option_list *)field = (option_list){ NULL, 0 };
		return list_add(field, value, mem, err);
	case OPTION_ENUM:
		return set_choice(field, o, value, shown, err);
	}
	return error_set(err, ERR_ARG, "%s has no type", shown);
}

static int set_json_number(void *fields, const option *o, const cJSON *value, arena *mem, const char *shown,
                           error *err)
{
	double number = cJSON_GetNumberValue(value);
	const double exact =
	        9007199254740992.0; /* 2^53: beyond it a JSON number may not be what was written */
	char number_text[32];

	if (o->type == OPTION_DOUBLE) {
		snprintf(number_text, sizeof(number_text), "%.17g", number);
	} else if (isfinite(number) && number == floor(number) && fabs(number) <= exact) {
		snprintf(number_text, sizeof(number_text), "%.0f", number);
	} else if (isfinite(number) && fabs(number) > exact && o->type == OPTION_U64) {
		return error_set(err, ERR_ARG, "%s is beyond 2^53: write it as a string", shown);
	} else {
		snprintf(number_text, sizeof(number_text), "%.15g", number);
	}
	return cli_option_set(fields, o, number_text, true, mem, shown, err);
}

static int set_json_text(void *fields, const option *o, const cJSON *value, bool first, arena *mem,
                         const char *shown, error *err)
{
	char *copy;

	if (!cJSON_IsString(value))
		return error_set(err, ERR_ARG, "%s must be %s", shown,
		                 o->type == OPTION_LIST ? "a string or a list of strings" : "a string");
	copy = arena_strdup(mem, value->valuestring);
	if (!copy)
		return error_nomem(err, "options");
	return cli_option_set(fields, o, copy, first, mem, shown, err);
}

int cli_option_set_json(void *fields, const option *o, const cJSON *value, arena *mem, const char *shown,
                        error *err)
{
	const cJSON *item;
	int rc;

	switch (o->type) {
	case OPTION_BOOL:
		if (!cJSON_IsBool(value))
			return error_set(err, ERR_ARG, "%s must be true or false", shown);
		return cli_option_set(fields, o, cJSON_IsTrue(value) ? "true" : "false", true, mem, shown,
		                      err);
	case OPTION_U64:
		if (cJSON_IsString(value))
			return set_json_text(fields, o, value, true, mem, shown, err);
		/* fall through */
	case OPTION_U32:
	case OPTION_DOUBLE:
		if (!cJSON_IsNumber(value))
			return error_set(err, ERR_ARG, "%s must be a number", shown);
		return set_json_number(fields, o, value, mem, shown, err);
	case OPTION_LIST:
		if (!cJSON_IsArray(value))
			return set_json_text(fields, o, value, true, mem, shown, err);
		*(option_list *)option_field(fields, o) = (option_list){ NULL, 0 };
		cJSON_ArrayForEach(item, value)
		{
			rc = set_json_text(fields, o, item, false, mem, shown, err);
			if (rc < 0)
				return rc;
		}
		return 0;
	case OPTION_STRING:
	case OPTION_ENUM:
		return set_json_text(fields, o, value, true, mem, shown, err);
	}
	return error_set(err, ERR_ARG, "%s has no type", shown);
}
