/* json_valid.c: what is JSON and what is not, decided before a tree is built. cJSON alone is lenient (numbers such as
 * "01", raw control characters in strings) and says little about where it stopped. */
#include "base/base.h"
#include "base/json_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct scanner {
	const char *start, *p, *end;
	const char *problem;                       /* set by the check that failed; p is at the place */
	int code;                                  /* of the problem */
	unsigned depth, max_depth;                 /* open objects and arrays */
	uint64_t objects[JSON_MAX_DEPTH / 64 + 1]; /* one bit a level: it is an object */
} scanner;

static bool fail(scanner *s, int code, const char *problem)
{
	s->code = code;
	s->problem = problem;
	return false;
}

static bool bad(scanner *s, const char *problem)
{
	return fail(s, ERR_FORMAT, s->p == s->end ? "the input ends too early" : problem);
}

static void skip_space(scanner *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool is_digit(const scanner *s)
{
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool digits(scanner *s)
{
	if (!is_digit(s))
		return bad(s, "a digit was expected");
	while (is_digit(s))
		s->p++;
	return true;
}

/* The number from `first` to p must be one that cJSON reads and a double holds. */
static bool in_range(scanner *s, const char *first)
{
	char copy[JSON_NUMBER_BYTES + 1];
	size_t len = (size_t)(s->p - first);

	if (len > JSON_NUMBER_BYTES)
		return fail(s, ERR_LIMIT, "a number is over 63 bytes long");
	memcpy(copy, first, len);
	copy[len] = '\0';
	if (!isfinite(strtod(copy, NULL)))
		return fail(s, ERR_LIMIT, "a number is beyond the range of a double");
	return true;
}

static bool number(scanner *s)
{
	const char *first = s->p;

	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0') {
		s->p++;
		if (is_digit(s))
			return bad(s, "a number starts with 0");
	} else if (!digits(s)) {
		return false;
	}
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!digits(s))
			return false;
	}
	return in_range(s, first);
}

/* Four hex digits; p is put behind them. */
static bool hex4(scanner *s, unsigned *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, s->p++) {
		char c = s->p < s->end ? *s->p : 'x';

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (unsigned)(c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			*out = *out << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return bad(s, "\\u needs four hex digits");
	}
	return true;
}

/* p is behind the backslash. */
static bool escape(scanner *s)
{
	unsigned unit, low = 0;

	if (s->p == s->end || !memchr("\"\\/bfnrtu", *s->p, 9))
		return bad(s, "an escape that JSON does not have");
	if (*s->p++ != 'u')
		return true;
	if (!hex4(s, &unit))
		return false;
	if (unit == 0)
		return fail(s, ERR_FORMAT, "a NUL in a string");
	if (unit < 0xd800 || unit > 0xdfff)
		return true;
	if (unit < 0xdc00 && s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u') {
		s->p += 2;
		if (!hex4(s, &low))
			return false;
	}
	if (low < 0xdc00 || low > 0xdfff)
		return fail(s, ERR_FORMAT, "an unpaired surrogate");
	return true;
}

/* p is at the opening quote. */
static bool string(scanner *s)
{
	s->p++;
	while (s->p < s->end && *s->p != '"') {
		unsigned char c = (unsigned char)*s->p;
		uint32_t cp;
		size_t len;

		if (c == '\\') {
			s->p++;
			if (!escape(s))
				return false;
			continue;
		}
		if (c < 0x20)
			return bad(s, "a control character in a string");
		len = c < 0x80 ? 1 : utf8_next(s->p, (size_t)(s->end - s->p), &cp);
		if (len == 0)
			return bad(s, "ill-formed UTF-8");
		s->p += len;
	}
	if (s->p == s->end)
		return bad(s, "");
	s->p++;
	return true;
}

static bool word(scanner *s, const char *w)
{
	for (; *w; w++, s->p++)
		if (s->p == s->end || *s->p != *w)
			return bad(s, "a value was expected");
	return true;
}

static bool in_object(const scanner *s)
{
	unsigned level = s->depth - 1;

	return s->objects[level / 64] >> (level % 64) & 1;
}

/* p is at the bracket. */
static bool open_level(scanner *s)
{
	uint64_t bit = (uint64_t)1 << (s->depth % 64);
	uint64_t *bits = &s->objects[s->depth / 64];

	if (s->depth == s->max_depth)
		return fail(s, ERR_LIMIT, "it is nested too deep");
	*bits = *s->p == '{' ? *bits | bit : *bits & ~bit;
	s->depth++;
	s->p++;
	return true;
}

/* A member's key and colon. */
static bool key(scanner *s)
{
	if (s->p == s->end || *s->p != '"')
		return bad(s, "a key in quotes was expected");
	if (!string(s))
		return false;
	skip_space(s);
	if (s->p == s->end || *s->p != ':')
		return bad(s, "':' was expected");
	s->p++;
	skip_space(s);
	return true;
}

/* A value that is not a container, or the start of one: *opened. */
static bool value(scanner *s, bool *opened)
{
	char c = s->p < s->end ? *s->p : '\0';

	*opened = c == '{' || c == '[';
	if (*opened)
		return open_level(s);
	if (c == '"')
		return string(s);
	if (c == '-' || (c >= '0' && c <= '9'))
		return number(s);
	return word(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
}

/* Behind a value: closing brackets, and in what is still open the comma. */
static bool after_value(scanner *s)
{
	for (;;) {
		skip_space(s);
		if (s->depth == 0)
			return true;
		if (s->p < s->end && *s->p == ',') {
			s->p++;
			skip_space(s);
			return !in_object(s) || key(s);
		}
		if (s->p == s->end || *s->p != (in_object(s) ? '}' : ']'))
			return bad(s, in_object(s) ? "',' or '}' was expected" : "',' or ']' was expected");
		s->p++;
		s->depth--;
	}
}

static bool document(scanner *s)
{
	skip_space(s);
	do {
		bool opened;

		if (!value(s, &opened))
			return false;
		if (opened) {
			char close = in_object(s) ? '}' : ']';

			skip_space(s);
			if (s->p == s->end || *s->p != close) {
				if (in_object(s) && !key(s))
					return false;
				continue; /* to the first value inside */
			}
			s->p++;
			s->depth--;
		}
		if (!after_value(s))
			return false;
	} while (s->depth);
	if (s->p != s->end)
		return bad(s, "something follows the value");
	return true;
}

int json_validate(const char *data, size_t len, unsigned max_depth, const char *what, error *err)
{
	scanner s = { .start = data, .p = data, .end = data + len, .max_depth = max_depth };

	if (s.max_depth > JSON_MAX_DEPTH)
		s.max_depth = JSON_MAX_DEPTH;
	if (document(&s))
		return 0;
	return error_set(err, s.code,
	                 s.code == ERR_LIMIT ? "'%s': %s, at byte %zu"
	                                     : "'%s' is not valid JSON: %s, at byte %zu",
	                 what, s.problem, (size_t)(s.p - s.start));
}
