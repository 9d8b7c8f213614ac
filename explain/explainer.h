/* explainer: what an explainer is. It looks at a feature and either says what makes it fire by a rule of its own, or shows a model
 * what it saw; asking, asking again, choosing among several labels are the same for all (label.c). Private to explain/. */
#ifndef GLOSS_EXPLAIN_EXPLAINER_H
#define GLOSS_EXPLAIN_EXPLAINER_H

#include "explain/examples.h"

typedef struct explain_view {
	example_set all; /* of the label documents; none where the explainer reads no windows */
	const store_window **
	        shown; /* (n_shown) firing and silent ones that the question shows, or the rule was made of */
	size_t n_shown;
} explain_view;

typedef struct explainer {
	const char *name;
	const char *about; /* what it goes by, for people */
	bool windows;      /* it needs windows in which the feature fires */
	bool steers;       /* it shows what steering does where there is a subject server (raised.h) */
	/* Settle the task by a label that no model has to be asked for, or leave it; NULL: it has none. */
	int (*rule)(engine_task *t, explain_view *v, error *err);
	/* What {{examples}} stands for, and v->shown; *why: why there is nothing to show, or NULL. NULL: it asks no model. */
	int (*show)(const char **why, text *out, engine_task *t, explain_view *v, error *err);
} explainer;
extern const explainer explainer_marked, explainer_table, explainer_contrastive, explainer_output,
        explainer_single_token, explainer_lexical;

/* Forms of the questions of a task (engine_form): for a label; for what a label is judged by, and again for what had no
 * answer; for a better label. */
enum { FORM_LABEL, FORM_JUDGE, FORM_JUDGE_AGAIN, FORM_REFINE };

/* A task that labels a feature, as engine_kind has it (label.c). */
int label_begin(engine_task *t, error *err) MUST_USE;
int label_finish(engine_task *t, error *err) MUST_USE;
/* Before the first task, of an explainer that steers. */
int label_open(engine *j, error *err) MUST_USE;
bool label_report_steering(const engine_task *t, cJSON *about); /* false: no memory */
/* The schema of labels as it was before a label came first in the answer (in mem), of jobs that were begun so. NULL: no memory. */
char *label_schema_before(const char *schema, arena *mem);
/* Several labels, or revised ones, are chosen between by a judge. */
bool label_has_choice(const explain_opts *o);

/* Settle the task by a label (in t->mem). */
int explainer_settle(engine_task *t, store_explanation *e, error *err) MUST_USE;

#endif
