/* A store with planted features, of any size: feature f fires on its own word and on nothing else. For tests and bench/. */
#ifndef GLOSS_TESTS_SUPPORT_PLANTED_H
#define GLOSS_TESTS_SUPPORT_PLANTED_H

#include "store/store.h"

enum { PLANTED_WORD = 16 };

typedef struct planted {
	uint32_t features; /* words of the vocabulary; half as many more fire nothing */
	uint32_t twins;    /* so many more features, of which number i fires exactly as feature i does */
	uint32_t
	        random; /* and so many more that fire at random, each on one token in `features`, whatever it is */
	uint32_t times;  /* how often each word comes, about */
	uint32_t tokens; /* of a context */
	bool decoder; /* with decoder rows: that of feature f is (f + 1, 0, 0, 1), of rows that are the output of block 1 */
} planted;
void planted_word(char out[PLANTED_WORD], uint32_t feature); /* " w12" */
/* Make a store at `path` and index it as source "planted"; *out is the caller's to close, NULL where that fails. */
int planted_open(store **out, const char *path, const planted *p, error *err) MUST_USE;
/* Label each feature with its word: feature i, those that are no word's own too, with that of word i % features. */
int planted_label(store *s, const planted *p, error *err) MUST_USE;
/* The first column of a query's first row; NaN where there is none, or it is NULL or fails. */
double planted_number(store *s, const char *query);
/* The same as text, until the next call; "" where there is none. */
const char *planted_text(store *s, const char *query);

#endif
