/* tries: labels that a task tries, each judged by detection on the select documents, which neither labels are made from nor
 * published scores. Private to explain/. */
#ifndef GLOSS_EXPLAIN_TRIES_H
#define GLOSS_EXPLAIN_TRIES_H

#include "explain/scorer.h"

typedef struct label_try {
	store_explanation label; /* .text NULL: the model has given none */
	unsigned asked;          /* how often it was asked for it */
	score_task *judged;      /* NULL: not judged */
	bool measured;
	store_score
	        score; /* on the select documents, once measured; value NaN: the judge gave no answer to a kind of them */
} label_try;

/* The items that labels are judged by: o->n_select firing windows and as many silent ones, half of these hard where there are so
 * many. *why: why there are none, or NULL. */
int tries_items(const char **why, char buf[128], score_task **out, engine_task *t, error *err) MUST_USE;
/* Have a label judged by copies of these items; again: ask once more about what has no answer. The questions are of form `form`
 * of the kind. */
int tries_judge(label_try *l, const score_task *items, bool again, unsigned form, engine_task *t,
                error *err) MUST_USE;
/* Read the judge's reply into the try that it is about. */
int tries_take(engine_ask *ask, label_try *tries, size_t n, error *err) MUST_USE;
int tries_measure(label_try *l, engine_task *t, error *err) MUST_USE;

/* At most `most` of the judge's mistakes, a line each: firing windows, marked, that it passed over, or silent ones that it took;
 * "(none)" where it made none. *n of them, whose windows are added to w. */
int tries_mistakes(text *out, const store_window **w, size_t *n, size_t most, const label_try *l, bool missed,
                   error *err) MUST_USE;

#endif
