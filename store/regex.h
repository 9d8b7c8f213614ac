/* A pattern, and the tokens it marks (PCRE2 with UTF and UCP, compiled to machine code where that is possible). */
#ifndef GLOSS_STORE_REGEX_H
#define GLOSS_STORE_REGEX_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "store/query_internal.h"

typedef struct regex {
	const char *source; /* of the pattern, for messages; the caller's */
	pcre2_code *code;
	pcre2_match_context *limits;
	pcre2_match_data *match;
	pcre2_jit_stack *stack;
	uint32_t group; /* whose first character counts: 1, or 0 in a pattern without groups */
	double end;     /* by clock_now(), when matching stops */
} regex;
/* ERR_ARG: it does not compile (says at which character); ERR_LIMIT: too long. regex_clear() also after a failure. The
 * time that matching may take begins here. */
int regex_init(regex *re, const char *pattern, error *err) MUST_USE;
/* The same of a text that stands for itself, in capitals and small letters alike. */
int regex_init_text(regex *re, const char *chars, error *err) MUST_USE;
void regex_clear(regex *re); /* fine on a zeroed struct */

/* The matches in the text of a context, one after the other. */
typedef struct regex_walk {
	const regex *re;
	const context_row *c;
	size_t at;
	uint32_t options, n;
} regex_walk;
/* checked: the text is known to be UTF-8. ERR_LIMIT: time is over. */
int regex_walk_begin(regex_walk *w, const regex *re, const context_row *c, bool checked, error *err) MUST_USE;
/* *more: group 1 of the next match where it is not empty is bytes *begin .. *end - 1 of the text. ERR_LIMIT: too many steps,
 * or time is over. */
int regex_walk_next(bool *more, size_t *begin, size_t *end, regex_walk *w, error *err) MUST_USE;
/* Set matched[i] for the tokens of the context where group 1 begins. */
int regex_mark(bool *matched, const regex *re, const context_row *c, bool checked, error *err) MUST_USE;

#endif
