/* A query for words, in the syntax of FTS5, taken apart: where it is wrong, and what it asks of a text. */
#ifndef GLOSS_STORE_TEXT_QUERY_H
#define GLOSS_STORE_TEXT_QUERY_H

#include "store/query_internal.h"

typedef enum text_op { TEXT_TERM, TEXT_AND, TEXT_OR, TEXT_NOT } text_op;

typedef struct text_node {
	text_op op;
	uint32_t left, right;  /* places in `nodes`, of the operators */
	const char *term;      /* without quotes; several joined by + as one, apart by spaces */
	size_t characters, at; /* of the term; the character of the query where it begins, from 1 */
} text_node;

typedef struct text_query {
	const char *words;
	text_node *nodes; /* (n) */
	size_t n, cap;
	uint32_t root;
	size_t beyond; /* the character, from 1, of the first ^, NEAR or column, which only FTS5 understands; 0: none */
	arena mem;
} text_query;
/* ERR_ARG: "words '...': character N: ..."; ERR_LIMIT: too long, too deep. text_query_clear() also after a failure. */
int text_query_parse(text_query *q, const char *words, error *err) MUST_USE;
void text_query_clear(text_query *q); /* fine on a zeroed struct */
/* Fewest characters of a term. */
size_t text_query_shortest(const text_query *q);

#endif
