/* prompt: templates with fields, and windows as a model gets to see them. Private to explain/. */
#ifndef GLOSS_EXPLAIN_PROMPT_H
#define GLOSS_EXPLAIN_PROMPT_H

#include "explain/explain.h"

enum { PROMPT_MAX = 1 << 20 };

typedef struct prompt_field {
	const char *name, *value;
} prompt_field;

/* Fill a template: what is above its last line "=== user" goes to `system`, what is below to `user`; {{name}} stands for the
 * field's value, which is not searched again, {{name:TEXT}} for TEXT where that value is not empty. Both texts end without a line
 * break. ERR_FORMAT: no such line, a field that is not among the n given, or a "{{" without its end. */
int prompt_fill(text *system, text *user, const char *template, const prompt_field *fields, size_t n,
                error *err) MUST_USE;

/* What a template says before the question: instructions, then worked examples, each a turn behind a line "=== user" and one
 * behind a line "=== assistant". */
typedef struct prompt_turn {
	const char *role;
	const char *text; /* (len) in the string it was read from; may be empty */
	size_t len;
} prompt_turn;
/* The next turn of *rest, which is moved behind it; *rest begins as `system` of prompt_fill(). false: there is none. */
bool prompt_next_turn(prompt_turn *out, const char **rest);

/* The same checks without filling it: a user's own, which must have the field that the question is about ("texts", else the first). name: of
 * its file, in errors, with the line; NULL: ours. */
int prompt_check(const char *template, const char *const *fields, size_t n, const char *name,
                 error *err) MUST_USE;

/* Tokens before the peak in a window as the options have it. */
unsigned prompt_before(const explain_opts *o);
/* The window cut to at most `length` tokens, `before` of them before its peak where the text allows. Shares w's arrays. */
store_window prompt_cut(const store_window *w, unsigned length, unsigned before);

/* The window's text as it stands in the document, in the arena. */
int prompt_raw(const char **out, arena *mem, const store_window *w, error *err) MUST_USE;
/* The window's text on one line. */
int prompt_add_plain(text *t, const store_window *w, error *err) MUST_USE;
/* The same with << >> around tokens whose value is over 0.3 of the window's strongest (a literal << cannot be taken for one),
 * and a second line that lists these tokens with ceil(10 * value / strongest). */
int prompt_add_marked(text *t, const store_window *w, float strongest, error *err) MUST_USE;
/* Token i in quotes, as that second line has it. */
int prompt_add_token(text *t, const store_window *w, uint32_t i, error *err) MUST_USE;
/* The first line alone, around tokens of one's own: mark (length), 1: marked. */
int prompt_add_marks(text *t, const store_window *w, const uint8_t *mark, error *err) MUST_USE;
/* The same around those that prompt_add_marked() marks: none in a window that is silent. */
int prompt_add_windows_marks(text *t, const store_window *w, error *err) MUST_USE;
/* Those over the threshold; returns how many. mark (length). */
uint32_t prompt_mark(uint8_t *mark, const store_window *w);
/* Text of others on one line: a label in a prompt. */
int prompt_add_line(text *t, const char *s, error *err) MUST_USE;

#endif
