/* What describes the tokens that one feature fires on: tokens and words there, and patterns made of them. Everything is
 * counted over the stored firings of its source, tokens that count only. */
#ifndef GLOSS_STORE_DESCRIBE_H
#define GLOSS_STORE_DESCRIBE_H

#include "store/find_scores.h"
#include "store/regex.h"

typedef enum describe_kind {
	DESCRIBE_TOKEN,    /* the token itself */
	DESCRIBE_PREVIOUS, /* the token before it */
	DESCRIBE_PAIR,     /* both */
	DESCRIBE_NEXT,     /* the token behind it */
	DESCRIBE_WORD,     /* the first word that it holds a part of, and where in that word it begins */
	DESCRIBE_PREFIX,   /* the first characters of a word that begins in it */
	DESCRIBE_SUFFIX,   /* the last characters of its word that begin in it */
	DESCRIBE_KINDS
} describe_kind;
const char *describe_kind_name(describe_kind kind); /* "token" */

/* What a token may be, with the tokens that are. A word is what \w+ matches. */
typedef struct describe_row {
	describe_kind kind;
	uint32_t token, before; /* ids, of kinds TOKEN to NEXT; before: the first of a PAIR */
	const char *text;       /* of the others (length bytes), not ended by NUL */
	uint32_t length, at;    /* at: the byte of a WORD that the token begins with */
	uint64_t hits, of;      /* tokens that are this: on which the feature fires; all */
} describe_row;

typedef struct describe {
	store *s;
	int64_t source;
	uint32_t feature;
	uint64_t fires, tokens, contexts; /* tokens on which it fires; tokens and contexts there are */
	find_marks marks;                 /* the tokens on which it fires */
	describe_row *rows; /* (n_rows) those with hits; after describe_count() by kind, the best F1 first */
	size_t n_rows, rows_cap;
	uint32_t *table; /* (table_size) places of rows by hash, plus 1 */
	size_t table_size;
	arena mem;       /* texts */
	regex words;     /* \w+ */
	uint32_t *spans; /* words of one context: begin and end, of each */
	size_t n_spans, spans_cap;
} describe;

/* Count everything: two scans of the source. describe_clear() also after a failure. */
int describe_count(describe *d, store *s, int64_t source, uint32_t feature, error *err) MUST_USE;
void describe_clear(describe *d); /* fine on a zeroed struct */
double describe_f1(const describe *d, uint64_t hits, uint64_t of);
/* The rows of a kind: first .. end - 1. */
void describe_kind_rows(size_t *first, size_t *end, const describe *d, describe_kind kind);

/* A pattern for `find --regex` with what that says of the feature. */
typedef struct describe_pattern {
	const char *source;
	regex re;
	size_t number; /* in the order in which they were made */
	uint64_t hits, of;
} describe_pattern;
typedef struct describe_patterns {
	describe_pattern *at; /* (n) the best F1 first; of those with the same numbers the first made */
	size_t n, cap;
	arena mem;
} describe_patterns;
/* Patterns from the best rows, and classes of characters: one more scan. */
int describe_find_patterns(describe_patterns *p, const describe *d, error *err) MUST_USE;
void describe_patterns_clear(describe_patterns *p); /* fine on a zeroed struct */

/* The text of a token as contexts have it, in `mem`; *valid: its bytes are UTF-8 by themselves, so that a text can hold
 * them. */
typedef struct token_texts {
	store *s;
	sqlite3_stmt *row;
	int64_t source;
} token_texts;
int token_texts_init(token_texts *t, store *s, int64_t source, error *err) MUST_USE;
int token_texts_get(const char **chars, bool *valid, token_texts *t, uint32_t token, arena *mem,
                    error *err) MUST_USE;
void token_texts_clear(token_texts *t); /* fine on a zeroed struct */

#endif
