/* simulation: what its files share: simulate.c (items, questions in chats), simulate_echo.c (by log-probabilities of prompts),
 * simulate_measure.c (scores). Private to explain/. */
#ifndef GLOSS_EXPLAIN_SIMULATE_H
#define GLOSS_EXPLAIN_SIMULATE_H

#include "explain/scorer.h"

enum {
	SIMULATE_MOST = 10,
	SIMULATE_TOP = 15
}; /* the largest activation; alternatives of a token that are asked for */

/* A task's own. */
typedef struct simulation {
	float strongest; /* activation that counts as 10 */
	double *(*values)
	        [SCORE_LABELS]; /* (items) each (its tokens) or NULL: simulated activations, NaN: none yet */
	uint32_t n_again;       /* tokens asked about twice */
} simulation;

/* floor(10 * activation / strongest), 0 to 10. */
double simulate_truth(float activation, float strongest);
/* The simulated activations of an item, made where there are none yet; NULL: no memory. */
double *simulate_values(engine_task *t, const score_item *it, score_label of);
/* Whether each token has one. */
bool simulate_complete(const double *values, size_t n);

/* ---- Log-probabilities ----------------------------------------------------------------------------------------------- */

/* The expected activation at a token by its alternatives: those that are `skip` bytes of the token's and "0" to "10" behind
 * them. NaN: none of these is among them. */
double simulate_expected(const explain_token *t, size_t skip);
/* The expected activations of the last n of the places in an echoed prompt, n_places in all, where "unknown" stands behind a
 * tab. ERR_FORMAT: the reply has no log-probabilities, or others than of that prompt. */
int simulate_read_echo(double *out, size_t n, size_t n_places, const char *reply, error *err) MUST_USE;
/* What a request is about. */
typedef struct simulate_question {
	score_batch *batch;
	size_t n_places; /* in the prompt, where "unknown" stands behind a tab */
} simulate_question;
/* The body of a completion that echoes the job's template with a label and the n tokens of a text. */
int simulate_echo_body(char **body, size_t *n_places, const engine *j, const char *label,
                       const char *const *tokens, size_t n, error *err) MUST_USE;
/* engine_kind.open of the kinds that ask chats if they must, or nothing but completions. */
int simulate_open(engine *j, error *err) MUST_USE;
int simulate_open_echo(engine *j, error *err) MUST_USE;

/* ---- Scores (simulate_measure.c) ------------------------------------------------------------------------------------- */

/* Sums over tokens of the true activations x and the simulated ones y. */
typedef struct simulate_sums {
	double n, x, y, xx, yy, xy, square, distance; /* square, distance: of (x - y)^2, |x - y| */
} simulate_sums;
/* Add n tokens, those without a simulated activation left out. */
void simulate_add(simulate_sums *to, const double *x, const double *y, size_t n);
void simulate_join(simulate_sums *to, const simulate_sums *more);
/* Pearson's; NaN where one side does not vary. */
double simulate_correlation(const simulate_sums *s);
double simulate_explained(const simulate_sums *s);           /* 1 - sum (x - y)^2 / sum (x - mean x)^2 */
double simulate_explained_uncentred(const simulate_sums *s); /* 1 - sum (x - y)^2 / sum x^2 */
double simulate_absolute(const simulate_sums *s);            /* 1 - sum |x - y| / sum |x| */
int simulate_measure(store_score *sc, engine_task *t, double level, error *err) MUST_USE;

#endif
