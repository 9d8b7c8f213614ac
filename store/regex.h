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
	uint32_t group; /* whose first character counts: 1, or 0 in a pattern without groups */
} regex;
/* ERR_ARG: it does not compile (says at which character); ERR_LIMIT: too long. regex_clear() also after a failure. */
int regex_init(regex *re, const char *pattern, error *err) MUST_USE;
void regex_clear(regex *re); /* fine on a zeroed struct */
/* Set matched[i] for the tokens of the context where group 1 begins; empty ones are skipped. ERR_LIMIT: too many steps. */
int regex_mark(bool *matched, const regex *re, const context_row *c, error *err) MUST_USE;

#endif
