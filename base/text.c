/* text.c: bytes that grow up to a maximum, and UTF-8. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void text_init(text *t, size_t max)
{
	*t = (text){ .max = max };
}

void text_clear(text *t)
{
	t->len = 0;
	if (t->data)
		t->data[0] = '\0';
}

void text_free(text *t)
{
	free(t->data);
	t->data = NULL;
	t->len = t->cap = 0;
}

/* Makes room for n more bytes and the NUL. */
static int reserve(text *t, size_t n)
{
	size_t larger;
	char *p;

	if (n > t->max - t->len)
		return ERR_LIMIT;
	if (t->len + n < t->cap)
		return 0;
	if (t->max == SIZE_MAX && n == SIZE_MAX - t->len)
		return ERR_NOMEM;
	larger = t->cap > SIZE_MAX / 2 ? SIZE_MAX : t->cap * 2;
	if (larger > t->max)
		larger = t->max == SIZE_MAX ? SIZE_MAX : t->max + 1;
	if (larger < t->len + n + 1)
		larger = t->len + n + 1;
	if (larger < 64)
		larger = 64;
	p = realloc(t->data, larger);
	if (!p)
		return ERR_NOMEM;
	t->data = p;
	t->cap = larger;
	return 0;
}

/* Back to the length before an addition that failed half-way. */
static int undo(text *t, size_t len, int rc)
{
	t->len = len;
	if (t->data)
		t->data[len] = '\0';
	return rc;
}

int text_add(text *t, const void *bytes, size_t n)
{
	int rc = reserve(t, n);

	if (rc < 0)
		return rc;
	if (n)
		memcpy(t->data + t->len, bytes, n);
	t->len += n;
	t->data[t->len] = '\0';
	return 0;
}

int text_adds(text *t, const char *s)
{
	return text_add(t, s, strlen(s));
}

int text_addv(text *t, const char *fmt, va_list args)
{
	va_list again;
	int rc, n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return ERR_LIMIT; /* longer than an int can say */
	rc = reserve(t, (size_t)n);
	if (rc < 0)
		return rc;
	vsnprintf(t->data + t->len, (size_t)n + 1, fmt, args);
	t->len += (size_t)n;
	return 0;
}

int text_addf(text *t, const char *fmt, ...)
{
	va_list args;
	int rc;

	va_start(args, fmt);
	rc = text_addv(t, fmt, args);
	va_end(args);
	return rc;
}

/* Well-formed second bytes (Unicode 15, table 3-7): shorter, surrogate and too large forms differ only there. */
static size_t lead_byte(unsigned char lead, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef) {
		if (lead == 0xe0)
			*low = 0xa0;
		if (lead == 0xed)
			*high = 0x9f;
		return 3;
	}
	if (lead >= 0xf0 && lead <= 0xf4) {
		if (lead == 0xf0)
			*low = 0x90;
		if (lead == 0xf4)
			*high = 0x8f;
		return 4;
	}
	return 0;
}

/* Bytes at p that belong to one sequence: *whole says whether it is complete. Of an ill-formed one, the longest start
 * of a well-formed one, at least 1 (what Unicode and Python replace by one U+FFFD). n is at least 1. */
static size_t sequence(const unsigned char *p, size_t n, bool *whole)
{
	unsigned char low, high;
	size_t len = lead_byte(p[0], &low, &high);
	size_t have = 1;

	while (have < len && have < n && p[have] >= low && p[have] <= high) {
		low = 0x80;
		high = 0xbf;
		have++;
	}
	*whole = have == len;
	return have;
}

size_t utf8_next(const char *p, size_t n, uint32_t *cp)
{
	static const unsigned char masks[5] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	const unsigned char *u = (const unsigned char *)p;
	bool whole;
	size_t len;
	uint32_t c;

	if (n == 0)
		return 0;
	len = sequence(u, n, &whole);
	if (!whole)
		return 0;
	c = u[0] & masks[len];
	for (size_t i = 1; i < len; i++)
		c = c << 6 | (u[i] & 0x3fu);
	*cp = c;
	return len;
}

bool utf8_is_valid(const char *p, size_t n)
{
	uint32_t cp;

	for (size_t length = 1; n > 0 && length > 0; p += length, n -= length)
		length = utf8_next(p, n, &cp);
	return n == 0;
}

/* How one code point is written; `raw` are its `len` bytes. */
typedef int (*writer)(text *t, uint32_t cp, const char *raw, size_t len);

/* Adds each code point by `write`, with U+FFFD for NUL and for what is ill-formed; all or nothing. */
static int add_each(text *t, const char *p, size_t n, writer write)
{
	size_t before = t->len;
	int rc = reserve(t, 0); /* an empty addition also leaves a string */

	if (rc == 0)
		t->data[t->len] = '\0';
	while (n && rc == 0) {
		uint32_t cp = 0;
		size_t len = utf8_next(p, n, &cp);

		if (len && cp) {
			rc = write(t, cp, p, len);
		} else {
			bool whole;

			len = sequence((const unsigned char *)p, n, &whole);
			rc = text_add(t, REPLACEMENT, 3);
		}
		p += len;
		n -= len;
	}
	return rc < 0 ? undo(t, before, rc) : 0;
}

static int write_plain(text *t, uint32_t cp, const char *raw, size_t len)
{
	(void)cp;
	return text_add(t, raw, len);
}

int text_add_utf8(text *t, const void *bytes, size_t n)
{
	return add_each(t, bytes, n, write_plain);
}

static bool is_hidden(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x061c || cp == 0x200e || cp == 0x200f ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

static int write_visible(text *t, uint32_t cp, const char *raw, size_t len)
{
	if (cp == '\n')
		return text_add(t, "\xe2\x86\xb5", 3); /* U+21B5 */
	if (cp == '\t')
		return text_add(t, "\xe2\x87\xa5", 3); /* U+21E5 */
	if (is_hidden(cp))
		return text_addf(t, "<U+%04X>", (unsigned)cp);
	return text_add(t, raw, len);
}

int text_add_visible(text *t, const void *bytes, size_t n)
{
	return add_each(t, bytes, n, write_visible);
}

static int write_json(text *t, uint32_t cp, const char *raw, size_t len)
{
	static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* the byte, then its letter */

	for (const char *s = short_forms; *s; s += 2) {
		char escape[2] = { '\\', s[1] };

		if (cp == (unsigned char)*s)
			return text_add(t, escape, 2);
	}
	if (cp < 0x20)
		return text_addf(t, "\\u%04x", (unsigned)cp);
	return text_add(t, raw, len);
}

int text_add_json(text *t, const void *utf8, size_t n)
{
	size_t before = t->len;
	int rc = text_add(t, "\"", 1);

	if (rc == 0)
		rc = add_each(t, utf8, n, write_json);
	if (rc == 0)
		rc = text_add(t, "\"", 1);
	return rc < 0 ? undo(t, before, rc) : 0;
}
