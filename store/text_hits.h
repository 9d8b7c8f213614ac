/* What a search for words says of a text that it found: a snippet, and the features strongest on the words. */
#ifndef GLOSS_STORE_TEXT_HITS_H
#define GLOSS_STORE_TEXT_HITS_H

#include "store/query_internal.h"

/* What stands around the words found in a marked text. A text may hold these bytes itself: then a mark is off, nothing worse. */
#define TEXT_MARK_BEGIN '\x02'
#define TEXT_MARK_END   '\x03'

typedef struct text_hits {
	store *s;
	store_source source;
	sqlite3_stmt *firings, *examples;
	store_codes codes;
	label_lookup labels;
	bool *found; /* tokens of a context */
	size_t found_cap;
} text_hits;
int text_hits_init(text_hits *h, store *s, const store_source *source, error *err) MUST_USE;
void text_hits_clear(text_hits *h); /* fine on a zeroed struct */
/* "snippet": [{"text":...}, {"text":..., "match":true}, ...] from a text with marks. */
int text_hits_put_snippet(cJSON *object, const char *marked, bool *failed, error *err) MUST_USE;
/* An item with all that is said of a context. marked: its text with marks; snippet: a piece of that. */
int text_hits_put_context(cJSON *list, text_hits *h, const context_row *c, double rank, const char *marked,
                          const char *snippet, bool *failed, error *err) MUST_USE;

#endif
