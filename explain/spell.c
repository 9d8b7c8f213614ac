/* See spell.h. From the end of the prompt towards its beginning: what a token spells may be known but for some bytes of a character, so
 * all places are kept at which it may begin. */
#include "explain/spell.h"

#include <stdlib.h>
#include <string.h>

static const char replaced[] = "\xEF\xBF\xBD"; /* U+FFFD: what does not begin, or does not end, a character */

typedef struct places {
	const char *prompt;
	size_t from, len;
	uint8_t *now,
	        *next; /* (len + 1) flags: all that was read may begin here; now: low to high, next: 0 but in next_low to next_high */
	size_t low, high, next_low, next_high;
} places;

static void add(places *p, size_t at)
{
	p->next[at] = 1;
	p->next_low = at < p->next_low ? at : p->next_low;
	p->next_high = at > p->next_high ? at : p->next_high;
}

static size_t character_length(char first)
{
	unsigned char c = (unsigned char)first;

	return c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
}

/* A part of the character that has the byte before `end`: its beginning up to there, or that byte alone; any: whichever of its
 * bytes. */
static void add_parts(places *p, size_t end, bool any)
{
	size_t first = end;

	while (first > 0 && ((unsigned char)p->prompt[first - 1] & 0xC0) == 0x80)
		first--;
	if (first-- == 0 || character_length(p->prompt[first]) == 1)
		return;
	if (any || end - first < character_length(p->prompt[first]))
		add(p, first);
	for (size_t at = any ? first + 1 : end - 1; at > first && at < end; at++)
		add(p, at);
}

/* Over n bytes; parts: or a part of a character. False: they stand nowhere. */
static bool step(places *p, const char *s, size_t n, bool parts)
{
	uint8_t *swap = p->now;

	p->next_low = p->len + 1;
	p->next_high = 0;
	for (size_t end = p->low; end <= p->high; end++) {
		if (!p->now[end])
			continue;
		p->now[end] = 0;
		if (n <= end && memcmp(p->prompt + end - n, s, n) == 0)
			add(p, end - n);
		if (parts)
			add_parts(p, end, n == 0);
	}
	p->now = p->next;
	p->next = swap;
	p->low = p->next_low;
	p->high = p->next_high;
	return p->low <= p->high;
}

static bool step_token(places *p, const explain_token *t)
{
	const size_t width = sizeof(replaced) - 1;
	size_t end = t->len, known;

	if (end == 0 && !step(p, "", 0, true))
		return false;
	if (end == 0) /* it may be of two characters: the end of one, the beginning of the next */
		return step(p, "", 0, true);
	while (end > 0) {
		if (end >= width && memcmp(t->text + end - width, replaced, width) == 0) {
			if (!step(p, replaced, width, true))
				return false;
			end -= width;
			continue;
		}
		for (known = 1; known < end && (end - known < width ||
		                                memcmp(t->text + end - known - width, replaced, width) != 0);)
			known++;
		if (!step(p, t->text + end - known, known, false))
			return false;
		end -= known;
	}
	return true;
}

/* What was read lies in the text: places before it are none. */
static void keep_in_text(places *p)
{
	for (; p->low < p->from; p->low++)
		p->now[p->low] = 0;
}

/* Whether all of the text is read, and the token before is none of it: one that spells nothing may be of its first character, if that
 * is one of several bytes. */
static bool is_over(const places *p, const explain_token *before)
{
	return p->high == p->from && (before->len > 0 || (unsigned char)p->prompt[p->from] < 0x80);
}

int spell_count(size_t *n, const explain_tokens *tokens, const char *prompt, size_t from, error *err)
{
	places p = { .prompt = prompt, .from = from, .len = strlen(prompt) };
	uint8_t *flags = calloc(2, p.len + 1);
	bool spelt = true;

	if (!flags)
		return error_nomem(err, "tokens");
	p.now = flags;
	p.next = flags + p.len + 1;
	p.low = p.high = p.len;
	p.now[p.len] = 1;
	for (*n = 0; *n < tokens->n; ++*n) {
		const explain_token *t = &tokens->token[tokens->n - 1 - *n];

		if (is_over(&p, t))
			break;
		spelt = step_token(&p, t);
		if (!spelt || p.high < from)
			break;
		keep_in_text(&p);
	}
	spelt = spelt && *n > 0 && (p.high < from || p.now[from]);
	free(flags);
	return spelt ? 0
	             : error_set(err, ERR_FORMAT,
	                         "the tokens with log-probabilities do not spell the prompt");
}
