/* See html.h. */
#include "cli/html.h"

#include <string.h>

#define HTML_MAX ((size_t)512 << 20)

void html_init(html *h)
{
	h->rc = 0;
	text_init(&h->out, HTML_MAX);
}

void html_add(html *h, const char *markup)
{
	if (h->rc == 0)
		h->rc = text_adds(&h->out, markup);
}

void html_addf(html *h, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (h->rc == 0)
		h->rc = text_addv(&h->out, fmt, args);
	va_end(args);
}

void html_text(html *h, const char *utf8)
{
	text visible;

	text_init(&visible, HTML_MAX);
	if (h->rc == 0)
		h->rc = text_add_visible(&visible, utf8, strlen(utf8));
	if (h->rc == 0 && visible.len)
		h->rc = markup_escape(&h->out, visible.data);
	text_free(&visible);
}

int html_finish(html *h, char **out, error *err)
{
	if (h->rc < 0) {
		text_free(&h->out);
		return h->rc == ERR_NOMEM ? error_nomem(err, "a page")
		                          : error_set(err, h->rc, "the page is too large");
	}
	*out = h->out.data;
	return 0;
}

bool markup_forbidden(uint32_t cp)
{
	return cp < 0x20 || cp == 0x7f || cp == 0xfffe || cp == 0xffff;
}

static const char *escape_of(uint32_t cp)
{
	switch (cp) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	default:
		return NULL;
	}
}

int markup_escape(text *out, const char *utf8)
{
	size_t left = strlen(utf8), n;
	int rc = 0;

	for (; left && rc == 0; utf8 += n, left -= n) {
		uint32_t cp = 0;
		const char *as;

		n = utf8_next(utf8, left, &cp);
		as = n == 0 || markup_forbidden(cp) ? "\xEF\xBF\xBD" /* U+FFFD */ : escape_of(cp);
		n = n ? n : 1;
		rc = as ? text_adds(out, as) : text_add(out, utf8, n);
	}
	return rc;
}
