/* Windows for a person to judge, blind, and judges measured by that: part of explain.h, which includes it. */
#ifndef GLOSS_EXPLAIN_GOLDEN_H
#define GLOSS_EXPLAIN_GOLDEN_H

#include "explain/explain.h"

typedef struct explain_golden explain_golden;
typedef struct explain_golden_question {
	uint32_t feature;
	size_t feature_at, n_features; /* from 0, in the order in which they are asked about */
	size_t at, n;                  /* of the feature's questions */
	const char *label;
	const char *text; /* the window as the judge gets it */
} explain_golden_question;

/* Windows as the scorer o->scorer (detection or fuzz) would judge them by the same options, up to n a feature, in random order and
 * features too (by the seed); those that the store has an answer to are left out. ERR_ARG: another scorer, or n is 0. Errors else as
 * explain_score(). o must live on. */
int explain_golden_open(explain_golden **out, store *s, const explain_opts *o, unsigned n,
                        error *err) MUST_USE;
void explain_golden_close(explain_golden *g); /* NULL is fine */
/* The i-th question; *more: there is one. Pointers live until the close. */
int explain_golden_get(explain_golden_question *out, bool *more, explain_golden *g, size_t i,
                       error *err) MUST_USE;
/* It is in the store when this returns; an answer given before is replaced. */
int explain_golden_answer(explain_golden *g, size_t i, bool fits, error *err) MUST_USE;
size_t explain_golden_answered(
        const explain_golden *g); /* questions so far, each once however often it was answered */

#endif
