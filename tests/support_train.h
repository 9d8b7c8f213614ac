/* What tests of training share: random rows, references in FP64 with gradients by central differences, steps and runs compared. */
#ifndef GLOSS_TESTS_SUPPORT_TRAIN_H
#define GLOSS_TESTS_SUPPORT_TRAIN_H

#include "sae/step.h"

/* Number i of a stream, in -1..1. */
double support_uniform(uint64_t seed, uint64_t i);
void support_fill(float *x, size_t n, uint64_t seed);
/* x as support_fill() has it, and scale times it in FP64. */
void support_fill_scaled(float *x, double *scaled, size_t n, float scale, uint64_t seed);

/* ---- References ------------------------------------------------------------------------------------------------------ */

/* Sum of the squares of rows (n, d) less their mean. */
double support_scatter(const double *x, size_t n, size_t d);
/* The FVU of each of n_inputs equal parts of rows y (n, d), of errors e, as found. */
void support_check_inputs(const double *found, const double *y, const double *e, size_t n, size_t d,
                          size_t n_inputs);
/* Central differences of a loss by its n parameters p, which it reads from where they are. */
void support_differences(double *grad, double *p, size_t n, double (*loss)(void *payload), void *payload);
/* Rows of gradients (n, d) lose the part along those of w. */
void support_project(double *grad, const double *w, size_t n, size_t d);
/* Adam's step number t, from 1. */
void support_adam(double *p, double *m, double *v, const double *grad, size_t n, const step_config *c,
                  unsigned t, double lr);
/* factor times have is as wanted. */
void support_compare(const char *what, const float *have, const double *want, size_t n, double factor,
                     double tolerance);

/* ---- Steps ----------------------------------------------------------------------------------------------------------- */

/* Adam 0.9, 0.99, eps 1e-4, dead after two batches: for a few steps against a reference. */
step_config support_small_step(uint32_t d, uint32_t n_features, uint32_t k, uint32_t batch);
/* Adam 0.9, 0.999, eps 1e-8, AuxK 1/32, dead after two batches. */
step_config support_large_step(uint32_t d, uint32_t n_features, uint32_t k, uint32_t batch);
/* The first quarter of the encoder's rows become so weak that their features will be dead. */
void support_weaken(step *s);
/* A step after some batches of random rows (their targets too), with dead features among its own. */
step *support_run_steps(const step_config *c, pool *p, unsigned steps);
/* All weights and moments are the same bits. */
void support_same_steps(const step *a, const step *b);
/* run() ends with the same bits on one, two and three threads. */
void support_same_at_any_threads(const step_config *c, step *(*run)(const step_config *c, pool *p));
/* Each allocation of step_new() that fails is reported. */
void support_step_survives(const step_config *c);

/* ---- Runs ------------------------------------------------------------------------------------------------------------ */

/* From the first to the last allocation of sae_train(): each that fails is reported, and no model comes out. */
void support_train_survives(const sae_dump *dump, const sae_rows *rows, const sae_train_opts *o, pool *p);

#endif
