/* subject: what scorers ask of a language model besides chats: log-probabilities of text, and, of a subject server
 * (docs/subject.md), what steering does to it. Private to explain/. */
#ifndef GLOSS_EXPLAIN_SUBJECT_H
#define GLOSS_EXPLAIN_SUBJECT_H

#include "explain/engine.h"

/* A text whose log-probability behind `prefix` is wanted. */
typedef struct subject_item {
	const char *prefix, *text;
	double logprob;    /* of all its tokens, natural logarithm; NaN: none yet */
	uint32_t n_tokens; /* of the text */
} subject_item;

/* Of n items; in the task's arena, as is all they point to. */
typedef struct subject_question {
	subject_item *items; /* (n) */
	size_t n;
	void *data; /* the asker's */
} subject_question;

/* Whether the job's endpoint is a subject server; else it is one of completions. */
bool subject_is_endpoint(const explain_opts *o);

/* Have the job's endpoint tell log-probabilities: a subject server all in one request, a server of completions one a request. The
 * asks' data are subject_questions with this `data`. */
int subject_ask_logprobs(engine_task *t, subject_item *items, size_t n, const char *example_ids,
                         unsigned sample, void *data, error *err) MUST_USE;
/* Read a reply to that into its question's items. What it cannot be read for stands in ask->err, and its items stay as they
 * were. */
void subject_take_logprobs(engine_ask *ask);

/* Before anything else is spent: whether the endpoint tells log-probabilities of what it is given. ERR_ARG: it does not. */
int subject_open(engine *j, error *err) MUST_USE;

#endif
