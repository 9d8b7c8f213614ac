/* Whether a text is what a query for words asks, found out by reading it: for words too short for an index of trigrams. A
 * word is anywhere in the text, in capitals or small letters. */
#ifndef GLOSS_STORE_TEXT_SCAN_H
#define GLOSS_STORE_TEXT_SCAN_H

#include "store/regex.h"
#include "store/text_query.h"

typedef struct text_scan {
	const text_query *q;
	regex *terms;     /* (q->n) of the nodes that are terms */
	bool *wanted;     /* (q->n) not what NOT excludes */
	uint64_t *counts; /* (q->n) of one text */
} text_scan;
/* ERR_ARG: the query asks what only FTS5 understands. text_scan_end() also after a failure. */
int text_scan_begin(text_scan *t, const text_query *q, error *err) MUST_USE;
/* *hits: how often wanted terms are in the text of row `id`; 0: it is not what the query asks. */
int text_scan_count(uint64_t *hits, text_scan *t, int64_t id, const char *chars, size_t len,
                    error *err) MUST_USE;
/* Replace `out` by the text with `begin` before and `end` behind what wanted terms match. */
int text_scan_mark(text *out, text_scan *t, int64_t id, const char *chars, size_t len, char begin, char end,
                   error *err) MUST_USE;
void text_scan_end(text_scan *t); /* fine on a zeroed struct */

/* Replace `out` by what is around the first mark in a marked text, `most` characters and the rest of the last mark. */
int text_scan_snippet(text *out, const char *marked, char begin, char end, size_t most, error *err) MUST_USE;

#endif
