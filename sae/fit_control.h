/* What changes from step to step in the penalty of a dense step, besides its warm-up: the coefficient that seeks a target L0, and p. */
#ifndef GLOSS_SAE_FIT_CONTROL_H
#define GLOSS_SAE_FIT_CONTROL_H

#include "sae/fit.h"

#define FIT_CONTROL_QUEUE 10

/* Doubles only: it is saved as an array of them. */
typedef struct fit_control {
	double log_coef;    /* the integral part of the search */
	double last, slope; /* log(L0 / target) of the last batch, and the running mean of its changes */
	double smooth;      /* running mean of how far off it is */
	double scale;       /* p-anneal: what changes of p have made of the coefficient */
	double updates;     /* of p */
	double n_queue, queue[2][FIT_CONTROL_QUEUE]; /* the last penalties, with p and the next p */
} fit_control;
#define FIT_CONTROL_DOUBLES (sizeof(fit_control) / sizeof(double))

#define FIT_SAMPLE 4096 /* rows that limits are taken from */
/* Weights at the beginning, from the seed and a sample. ERR_NOMEM. (fit_start.c) */
int fit_start(fit *s, const sae_train_opts *o, uint64_t seed, const fitter_sample *sample,
              error *err) MUST_USE;

/* o: planned. */
void fit_control_start(fit_control *c, const sae_train_opts *o);
/* What the step is told. */
fit_now fit_control_now(const fit_control *c, const sae_train_opts *o, const fitter_now *now);
/* What it found. */
void fit_control_learn(fit_control *c, const sae_train_opts *o, const fitter_now *now, const fit_result *r);

#endif
