/* examples: which windows of a feature are shown: those in which it fires, by strength, and those in which it is silent.
 * Private to explain/. */
#ifndef GLOSS_EXPLAIN_EXAMPLES_H
#define GLOSS_EXPLAIN_EXAMPLES_H

#include "explain/engine.h"

enum { EXAMPLES_DECILES = 10, EXAMPLES_LEAST = 5 };

/* Windows of one part in which a feature fires, cut to the job's length with the peak where the job wants it, no two of the
 * same tokens, strongest first; in the task's arena. */
typedef struct example_set {
	store_window *w; /* (n) */
	uint8_t *decile; /* (n) 0..9, of the firing tokens they stand for: 0 is the strongest tenth */
	size_t n;
	float strongest; /* activation of the first; 0: there is none */
} example_set;
int examples_read(example_set *out, engine_task *t, store_part part, error *err) MUST_USE;
/* Why no label can be made from them, or judged by them: too few, or of one group of documents. NULL: it can. */
const char *examples_too_few(char buf[128], const example_set *e, store_part part);

const char *examples_part_name(store_part part); /* "label" */

/* Indices of at most `want` of them, ascending: *out (*n) in `mem`.
 *	TOP      the strongest
 *	DECILES  as many of each decile as there are, drawn by hash of `key`
 *	RANDOM   drawn so that each firing token has the same chance
 *	MIX      two fifths the strongest, the others of each decile of the rest */
int examples_choose(size_t **out, size_t *n, const example_set *e, explain_choice how, size_t want,
                    uint64_t key, arena *mem, error *err) MUST_USE;

/* Silent windows of the job's length: random ones, or hard ones by `by`, whose tokens are the peaks of `e`. */
int examples_silent(store_window **out, size_t *n, engine_task *t, store_part part, size_t want,
                    error *err) MUST_USE;
/* Windows of the job's length as they come, whether it fires in them or not, with its values. */
int examples_random(store_window **out, size_t *n, engine_task *t, store_part part, size_t want,
                    error *err) MUST_USE;
int examples_hard(store_window **out, size_t *n, engine_task *t, store_part part, store_hard by,
                  const example_set *e, size_t want, error *err) MUST_USE;

#endif
