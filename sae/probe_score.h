/* How well margins tell the positive examples of a probe's held-out part, with intervals. */
#ifndef GLOSS_SAE_PROBE_SCORE_H
#define GLOSS_SAE_PROBE_SCORE_H

#include "sae/sae.h"

typedef struct probe_score {
	sae_estimate accuracy, balanced_accuracy, f1, auroc;
} probe_score;

/* margin, y, group (n): of the tested examples; yes is a margin over 0. train_positive: share of positives among the training
 * examples. Both classes are there. ERR_NOMEM. */
int probe_score_make(probe_score *out, const double *margin, const uint8_t *y, const uint32_t *group,
                     uint32_t n, double train_positive, uint64_t seed, error *err) MUST_USE;

#endif
