/* What changes from step to step: learning rate, weight of the sparsity penalty, k. All of a plan (sae_train_plan()) and the step's
 * number alone, so a resumed run goes on as it was. */
#ifndef GLOSS_SAE_SCHEDULE_H
#define GLOSS_SAE_SCHEDULE_H

#include "sae/fitter.h"

/* Steps count from 1. */
void schedule_at(fitter_now *now, const sae_train_opts *o, uint64_t step);
/* Learning rate of a step. Warm-up: from warmup_from of it, up in a line (or half a cosine) to step `warmup`; with warmup_late a step
 * later, so that the first has warmup_from itself. Then
 *   wsd       constant; over the last `decay` of the steps down in a line that would reach lr_floor one step after the last
 *   constant  constant
 *   linear    from the warm-up's end on down as wsd's end
 *   cosine    the same as half a cosine
 *   infinite  Singh et al. 2025 (arXiv 2503.02844): down to lr_constant by step `cooldown`, as half a cosine, a line or 1 / root;
 *             constant to step `anneal_from`; exponentially down to lr_floor at the last step, and there ever after
 * lr_floor and lr_constant are shares of lr. With `resample` the warm-up (but infinite's) comes again after each resampling, as
 * dictionary_learning has it. */
double schedule_lr(const sae_train_opts *o, uint64_t step);
/* min(1, step / sparsity_warmup), with warmup_late (step - 1) / sparsity_warmup. */
double schedule_sparsity(const sae_train_opts *o, uint64_t step);
/* From k_start at step 1 to k after k_anneal steps, t = (step - 1) / k_anneal: in a line and rounded (sparsify), by
 * (1 - exp(-3 t)) / (1 - exp(-3)) and rounded up (llamascopium), by t^(1 / k_power) and rounded down (codebook features). */
double schedule_k(const sae_train_opts *o, uint64_t step);

#endif
