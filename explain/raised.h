/* raised: what steering by a feature makes a model say next, for the explainer `output`. Private to explain/. */
#ifndef GLOSS_EXPLAIN_RAISED_H
#define GLOSS_EXPLAIN_RAISED_H

#include "explain/examples.h"

typedef struct raised raised; /* in the task's arena */

/* Up to o->n_prompts texts of the label documents: windows cut behind the first token on which the feature fires, of all tenths by
 * strength; silent ones where there are too few of these. *why: why there is nothing to steer on, or NULL. */
int raised_new(raised **out, const char **why, engine_task *t, error *err) MUST_USE;
/* Ask what comes next: for the strength with the wanted KL, then for the tokens. *over: there is nothing more to ask. In a dry run
 * all at once. */
int raised_step(bool *over, raised *r, engine_task *t, error *err) MUST_USE;
/* Read a reply to that; what it cannot be read for stands in ask->err. */
void raised_take(raised *r, engine_ask *ask);

/* Once over: the texts with the tokens, for the prompt; the windows they are of; strength and KL, for the summary. */
int raised_add(text *out, const raised *r, error *err) MUST_USE;
const store_window **raised_windows(const raised *r, size_t *n);
bool raised_report(cJSON *about, const raised *r); /* false: no memory */

#endif
