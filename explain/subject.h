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
/* Whether it is one beside the endpoint: what it is asked costs nothing. */
bool subject_is_beside(const explain_opts *o);

/* What decides the outcome; false: no memory. Whether what is asked of steering makes sense: ERR_ARG. */
bool subject_add_settings(cJSON *s, const explain_opts *o);
int subject_check(const explain_opts *o, error *err) MUST_USE;

/* Have the job's endpoint tell log-probabilities: a subject server all in one request, a server of completions one a request. The
 * asks' data are subject_questions with this `data`. */
int subject_ask_logprobs(engine_task *t, subject_item *items, size_t n, const char *example_ids,
                         unsigned sample, void *data, error *err) MUST_USE;
/* Read a reply to that into its question's items. What it cannot be read for stands in ask->err, and its items stay as they
 * were. */
void subject_take_logprobs(engine_ask *ask);

/* ---- Steering (steer.c): of a subject server, the endpoint or the one beside it ------------------------------------------------- */

/* scale * vector (width) is added to what block `layer` puts out, from the last token of a prompt on. */
typedef struct subject_steer {
	int64_t layer;
	const float *vector;
	uint32_t width;
	double scale;
} subject_steer;
/* KL of the next token's distribution behind each of n prompts, as it is and steered. */
int subject_ask_kl(engine_task *t, const char *const *prompts, size_t n, const subject_steer *by,
                   const char *example_ids, void *data, error *err) MUST_USE;
/* What follows each of n prompts, drawn at temperature 1, the i-th by seed + i, below 2^53; by: NULL: as it is. */
int subject_ask_texts(engine_task *t, const char *const *prompts, size_t n, const subject_steer *by,
                      unsigned tokens, uint64_t seed, const char *example_ids, void *data,
                      error *err) MUST_USE;
/* Of each of n prompts the `top` tokens whose probability of coming next is raised most. */
int subject_ask_raised(engine_task *t, const char *const *prompts, size_t n, const subject_steer *by,
                       unsigned top, const char *example_ids, void *data, error *err) MUST_USE;
/* Read replies to those: the mean, NaN where ask->err says why not; (n) texts into out, which live in the task's arena. */
double subject_take_kl(engine_ask *ask);
void subject_take_texts(const char **out, engine_ask *ask);
/* Reply to subject_ask_raised(): (n), one a prompt, tokens in the task's arena, those raised most first. ask->err says why not. */
typedef struct subject_token {
	const char *text;
	double before, after; /* probability as it is, and steered */
} subject_token;
typedef struct subject_raised {
	const subject_token *token; /* (n) */
	size_t n;
} subject_raised;
void subject_take_raised(subject_raised *out, engine_ask *ask);

/* ---- The strength (strength.c) ---------------------------------------------------------------------------------------------------- */

enum { STEER_STEPS = 12, STEER_TOKENS_LEAST = 4 };

/* For the strength at which the mean KL is the wanted one: by halves of the logarithm's range. */
typedef struct steer_search {
	const float *vector; /* (width) */
	double low, high;    /* log10 of the strength */
	double tried, best,
	        kl; /* best: the strength with the KL nearest to the wanted one so far, and that; NaN: none */
	unsigned steps;
	bool over, met; /* met: within the tolerance */
} steer_search;
void steer_search_init(steer_search *s, const float *vector);
double steer_search_next(steer_search *s); /* the strength to try; for one that is not over */
void steer_search_take(steer_search *s, double kl, double wanted);

/* The decoder row of a feature of the job's source, of the store or of o->rows; out->row malloc'd. Errors as
 * store_direction_get(), store_direction_block(). And that of the task's, in its arena; scale 1. */
int steer_row(store_direction *out, const engine *j, uint32_t feature, error *err) MUST_USE;
int steer_direction(subject_steer *out, engine_task *t, error *err) MUST_USE;
/* Tokens of the window up to the first on which the feature fires; 0: too few are before it. */
uint32_t steer_cut(const store_window *w);

/* ---- Before the job (subject.c, steer.c) ------------------------------------------------------------------------------------------ */

/* Make j->subject where the subject server is not the endpoint, and see that it steers by the directions of the job's source.
 * ERR_ARG: it does not. And the same, and subject_open(). */
int subject_open_steering(engine *j, error *err) MUST_USE;
int subject_open_intervention(engine *j, error *err) MUST_USE;
/* Whether the endpoint tells log-probabilities of what it is given. ERR_ARG: it does not. */
int subject_open(engine *j, error *err) MUST_USE;

/* ---- Shared by both files -------------------------------------------------------------------------------------------------------- */

/* Of what all requests to a subject server have; NULL: no memory. And its end: body is freed; fine: it is whole. */
cJSON *subject_body(const char *model, const char *what);
int subject_print(char **out, cJSON *body, bool fine, error *err) MUST_USE;
/* One request, waited for; body is freed. *reply: malloc'd. */
int subject_call(char **reply, explain_client *client, explain_api api, char *body, bool (*stop)(void),
                 error *err) MUST_USE;

#endif
