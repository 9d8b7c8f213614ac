/* A writer of HTML: markup as it is, text made safe. The first failure sticks; html_finish() tells it. */
#ifndef GLOSS_CLI_HTML_H
#define GLOSS_CLI_HTML_H

#include "cli/cli.h"

typedef struct html {
	text out;
	int rc;
} html;

void html_init(html *h);
void html_add(html *h, const char *markup);
void html_addf(html *h, const char *fmt, ...) PRINTF_LIKE(2, 3); /* markup, no text of others */
/* Text of whatever origin: what steers (controls, marks of direction) is made visible, what HTML takes for markup is escaped. */
void html_text(html *h, const char *utf8);
/* For the caller to free. ERR_NOMEM, ERR_LIMIT. Frees the rest in every case. */
int html_finish(html *h, char **out, error *err) MUST_USE;

/* Add UTF-8 as text of HTML or XML 1.0: & < > and quotes escaped, what may not be written there as U+FFFD. */
int markup_escape(text *out, const char *utf8) MUST_USE;
/* What XML 1.0 has no way at all to write: most control characters, U+FFFE, U+FFFF. */
bool markup_forbidden(uint32_t cp);

#endif
