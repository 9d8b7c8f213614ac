/* A small store made by hand, whose every answer a test can work out again. */
#ifndef GLOSS_SUPPORT_STORE_H
#define GLOSS_SUPPORT_STORE_H

#include "store/store.h"

/* Tokens of the vocabulary. Every context is SMALL_TOKENS long, begins with BOS (which does not count), and holds the
 * others at random. */
enum {
	SMALL_BOS,
	SMALL_THE,
	SMALL_CAT,
	SMALL_DOG,
	SMALL_RAN,
	SMALL_NEWLINE,
	SMALL_ESCAPE,
	SMALL_JAPAN,
	SMALL_CHAR_HEAD,
	SMALL_CHAR_TAIL,
	SMALL_PAREN,
	SMALL_VOCAB
};
enum { SMALL_TOKENS = 32, SMALL_CONTEXTS = 24, SMALL_FEATURES = 8 };

/* What the features are. */
enum {
	SMALL_ON_CAT,    /* on each cat, stronger the later */
	SMALL_AFTER_THE, /* on what follows "the" */
	SMALL_DENSE,     /* on every token */
	SMALL_DEAD,
	SMALL_ON_CHAR_TAIL, /* on the second token of the character that two tokens make up */
	SMALL_ON_ESCAPE,    /* on the token that holds a terminal's escape sequence */
	SMALL_ON_ANIMAL,    /* on cat and dog */
	SMALL_ON_PAREN
};

const char *small_token(uint32_t token); /* its bytes */
/* Tokens of context number c. */
void small_context(uint32_t tokens[SMALL_TOKENS], uint32_t c);
store_part small_part(uint32_t c);
int64_t small_context_id(uint32_t c);
/* The value of a feature on token i; 0: silent. */
float small_value(uint32_t feature, const uint32_t tokens[SMALL_TOKENS], uint32_t i);

/* How often feature f fires on tokens for which `on` holds; f >= SMALL_FEATURES: how many there are. */
double small_tally(uint32_t f, bool (*on)(const uint32_t *tokens, uint32_t i));

/* Makes the store at `path` with sources of the given names (each the same), NULL at the end, and two labels with scores:
 * SMALL_ON_CAT "cats", 0.9; SMALL_ON_ESCAPE a label with control characters, 0.6. */
void small_store_make(const char *path, const char *const *sources);
/* Make one with the source "small", and remove it: the unchecked fixture of a case. */
void small_store_prepare(void);
void small_store_remove(void);
/* Open it; to write, a copy of it. Ends the test on failure. */
store *small_store_open(unsigned flags);

/* Run SQL on the file at `path`, whatever is in it, past store/. */
void support_run_sql(const char *path, const char *sql);

#endif
