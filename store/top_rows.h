/* The first rows of an order, kept while rows come in any order. */
#ifndef GLOSS_STORE_TOP_ROWS_H
#define GLOSS_STORE_TOP_ROWS_H

#include "store/store_internal.h"

enum { TOP_ROWS_MAX_KEYS = 8 };

/* What is sorted by: numbers go before text, and what is not known goes last either way. */
typedef struct top_value {
	enum { TOP_NUMBER, TOP_TEXT, TOP_NULL } kind;
	double number;
	char *chars;
	size_t len;
} top_value;

typedef struct top_row {
	uint32_t source, feature; /* equal keys: by these */
	uint64_t hash;            /* of a draw */
	top_value *keys;          /* (n_keys), malloc'd, or NULL */
} top_row;

typedef struct top_rows {
	size_t n_keys;
	bool descending[TOP_ROWS_MAX_KEYS];
	bool by_hash; /* first by hash, keys are only kept: a draw */
	uint64_t want;
	top_row *rows; /* (n): a heap, its last row of the order on top */
	size_t n, cap;
} top_rows;

/* Keep the row, with keys from columns first ... of `st`, if it is among the first `want`. ERR_NOMEM. */
int top_rows_offer(top_rows *t, const top_row *row, sqlite3_stmt *st, int first, error *err) MUST_USE;
/* Bring them into the order of the keys. */
void top_rows_sort(top_rows *t);
void top_rows_clear(top_rows *t);

#endif
