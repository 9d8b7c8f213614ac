/* Patterns over the text of contexts. */
#include "store/regex.h"

#include <inttypes.h>

/* What a pattern may cost: on one context, and on all. */
#define MAX_STEPS   2000000    /* of PCRE2's matcher, a match */
#define MAX_DEPTH   20000      /* nested backtracking points */
#define MAX_HEAP    (64 << 10) /* KiB */
#define MAX_PATTERN 4096
#define MAX_STACK   (1 << 20) /* bytes, of compiled patterns */
#define MAX_SECONDS 60.0

void regex_clear(regex *re)
{
	pcre2_match_data_free(re->match);
	pcre2_jit_stack_free(re->stack);
	pcre2_match_context_free(re->limits);
	pcre2_code_free(re->code);
}

static int bad_pattern(error *err, const regex *re, int code, size_t at)
{
	PCRE2_UCHAR why[256] = "?";
	size_t character = 1;

	pcre2_get_error_message(code, why, sizeof(why));
	for (size_t i = 1; i <= at; i++)
		character += ((unsigned char)re->source[i] & 0xc0) != 0x80;
	return error_set(err, ERR_ARG, "pattern '%.200s': character %zu: %s", re->source, character,
	                 (const char *)why);
}

static int init(regex *re, const char *pattern, uint32_t options, error *err)
{
	uint32_t groups = 0;
	PCRE2_SIZE at = 0;
	int code = 0;

	*re = (regex){ .source = pattern, .end = clock_now() + MAX_SECONDS };
	if (strlen(pattern) > MAX_PATTERN)
		return error_set(err, ERR_LIMIT, "the pattern is over %d characters", MAX_PATTERN);
	re->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | options, &code, &at,
	                         NULL);
	if (!re->code && code == PCRE2_ERROR_HEAP_FAILED)
		return error_nomem(err, "a pattern");
	if (!re->code)
		return bad_pattern(err, re, code, at);
	pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* where there is none, the interpreter does it */
	pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	re->group = groups ? 1 : 0;
	re->match = pcre2_match_data_create_from_pattern(re->code, NULL);
	re->limits = pcre2_match_context_create(NULL);
	re->stack = pcre2_jit_stack_create(32 << 10, MAX_STACK, NULL); /* NULL: those of 32 KiB have to do */
	if (!re->match || !re->limits)
		return error_nomem(err, "a pattern");
	pcre2_jit_stack_assign(re->limits, NULL, re->stack);
	pcre2_set_match_limit(re->limits, MAX_STEPS);
	pcre2_set_depth_limit(re->limits, MAX_DEPTH);
	pcre2_set_heap_limit(re->limits, MAX_HEAP);
	return 0;
}

int regex_init(regex *re, const char *pattern, error *err)
{
	return init(re, pattern, PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, err);
}

int regex_init_text(regex *re, const char *chars, error *err)
{
	return init(re, chars, PCRE2_LITERAL | PCRE2_CASELESS, err);
}

static int match_failed(error *err, const regex *re, int code, int64_t context)
{
	PCRE2_UCHAR why[256] = "?";

	if (code == PCRE2_ERROR_MATCHLIMIT || code == PCRE2_ERROR_DEPTHLIMIT ||
	    code == PCRE2_ERROR_HEAPLIMIT || code == PCRE2_ERROR_JIT_STACKLIMIT)
		return error_set(err, ERR_LIMIT,
		                 "pattern '%.200s' takes too many steps on context %" PRId64
		                 ": it backtracks without end",
		                 re->source, context);
	if (code == PCRE2_ERROR_NOMEMORY)
		return error_nomem(err, "matching a pattern");
	pcre2_get_error_message(code, why, sizeof(why));
	return error_set(err, ERR_FORMAT, "pattern '%.200s': context %" PRId64 ": %s", re->source, context,
	                 (const char *)why);
}

static size_t next_character(const context_row *c, size_t at)
{
	do
		at++;
	while (at < c->text_len && ((unsigned char)c->text[at] & 0xc0) == 0x80);
	return at;
}

/* Whether the pattern may go on. */
static int check_time(const regex *re, error *err)
{
	return clock_now() < re->end ? 0
	                             : error_set(err, ERR_LIMIT, "pattern '%.200s': stopped after %.0f s",
	                                         re->source, MAX_SECONDS);
}

int regex_walk_begin(regex_walk *w, const regex *re, const context_row *c, bool checked, error *err)
{
	/* the first match checks that the text is UTF-8; later ones need not */
	*w = (regex_walk){ .re = re, .c = c, .options = checked ? PCRE2_NO_UTF_CHECK : 0 };
	return check_time(re, err);
}

/* One match from w->at on, which moves behind it. Returns how many groups it has, 0: none is left. */
static int match(regex_walk *w, error *err)
{
	const context_row *c = w->c;
	const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->re->match);
	int n;

	while (w->at <= c->text_len) {
		n = pcre2_match(w->re->code, (PCRE2_SPTR)c->text, c->text_len, w->at, w->options,
		                w->re->match, w->re->limits);
		if (n == PCRE2_ERROR_NOMATCH && !(w->options & PCRE2_NOTEMPTY_ATSTART))
			return 0;
		if (n < 0 && n != PCRE2_ERROR_NOMATCH)
			return match_failed(err, w->re, n, c->id);
		w->options = PCRE2_NO_UTF_CHECK;
		if (n == PCRE2_ERROR_NOMATCH) { /* nothing but the empty match already seen begins here */
			w->at = next_character(c, w->at);
			continue;
		}
		if (span[1] == span[0])
			w->options |= PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED;
		w->at = span[1] > w->at || span[1] == span[0] ? span[1] : next_character(c, w->at);
		return n;
	}
	return 0;
}

int regex_walk_next(bool *more, size_t *begin, size_t *end, regex_walk *w, error *err)
{
	const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->re->match);
	uint32_t group = w->re->group;
	int n;

	*more = false;
	for (;;) {
		n = ++w->n % 256 == 0 ? check_time(w->re, err) : 0;
		if (n == 0)
			n = match(w, err);
		if (n <= 0)
			return n;
		*begin = span[2 * group];
		*end = span[2 * group + 1];
		*more = (uint32_t)n > group && *begin != PCRE2_UNSET && *end > *begin;
		if (*more)
			return 0;
	}
}

int regex_mark(bool *matched, const regex *re, const context_row *c, bool checked, error *err)
{
	uint32_t token = 0;
	size_t begin, end;
	regex_walk w;
	bool more;
	int rc = regex_walk_begin(&w, re, c, checked, err);

	while (rc == 0 && (rc = regex_walk_next(&more, &begin, &end, &w, err)) == 0 && more) {
		if (begin < context_row_offset(c, token)) /* a group may look back */
			token = context_row_token_at(c, (uint32_t)begin);
		while (token < c->n_tokens && context_row_offset(c, token + 1) <= begin)
			token++;
		if (token < c->n_tokens)
			matched[token] = true;
	}
	return rc;
}
