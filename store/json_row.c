/* See json_row.h. */
#include "store/json_row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE ((size_t)64 << 20)

void json_row_init(json_row *r)
{
	*r = (json_row){ .first = true };
	text_init(&r->line, MAX_LINE);
}

void json_row_free(json_row *r)
{
	text_free(&r->line);
}

static void keep(json_row *r, int rc)
{
	if (r->rc == 0)
		r->rc = rc;
}

static void add(json_row *r, const char *s)
{
	keep(r, text_adds(&r->line, s));
}

/* A comma where one is due, and the name of a member. */
static void lead(json_row *r, const char *name)
{
	if (!r->first)
		add(r, ",");
	r->first = false;
	if (name) {
		keep(r, text_add_json(&r->line, name, strlen(name)));
		add(r, ":");
	}
}

static void begin(json_row *r, const char *name, const char *bracket)
{
	lead(r, name);
	add(r, bracket);
	r->first = true;
}

static void end(json_row *r, const char *bracket)
{
	add(r, bracket);
	r->first = false;
}

void json_row_begin(json_row *r)
{
	text_clear(&r->line);
	r->first = true;
	r->rc = 0;
	begin(r, NULL, "{");
}

int json_row_end(json_row *r, error *err)
{
	add(r, "}\n");
	if (r->rc == ERR_LIMIT)
		return error_set(err, ERR_LIMIT, "a row is over %zu bytes", MAX_LINE);
	return r->rc < 0 ? error_nomem(err, "a row") : 0;
}

void json_row_text(json_row *r, const char *name, const char *value)
{
	lead(r, name);
	if (value)
		keep(r, text_add_json(&r->line, value, strlen(value)));
	else
		add(r, "null");
}

/* With as few digits as give the same number again. */
static void put_number(json_row *r, double value, int fewest, int most, bool narrow)
{
	char digits[40];

	if (!isfinite(value)) {
		add(r, "null");
		return;
	}
	if (fabs(value) <= 0x1p53 && value == floor(value)) {
		keep(r, text_addf(&r->line, "%.0f", value + 0.0));
		return;
	}
	for (int n = fewest; n <= most; n++) {
		snprintf(digits, sizeof(digits), "%.*g", n, value);
		if (narrow ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value)
			break;
	}
	add(r, digits);
}

void json_row_number(json_row *r, const char *name, double value)
{
	lead(r, name);
	put_number(r, value, 15, 17, false);
}

void json_row_float(json_row *r, const char *name, float value)
{
	lead(r, name);
	put_number(r, (double)value, 6, 9, true);
}

void json_row_bool(json_row *r, const char *name, bool value)
{
	lead(r, name);
	add(r, value ? "true" : "false");
}

void json_row_null(json_row *r, const char *name)
{
	json_row_text(r, name, NULL);
}

void json_row_empty(json_row *r, const char *name)
{
	lead(r, name);
	add(r, "[]");
}

void json_row_open(json_row *r, const char *name)
{
	begin(r, name, "[");
}

void json_row_add_text(json_row *r, const char *bytes, size_t n)
{
	lead(r, NULL);
	keep(r, text_add_json(&r->line, bytes, n));
}

void json_row_add_number(json_row *r, double value)
{
	json_row_number(r, NULL, value);
}

void json_row_add_float(json_row *r, float value)
{
	json_row_float(r, NULL, value);
}

void json_row_close(json_row *r)
{
	end(r, "]");
}

void json_row_open_object(json_row *r, const char *name)
{
	begin(r, name, "{");
}

void json_row_close_object(json_row *r)
{
	end(r, "}");
}
