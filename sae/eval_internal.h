/* What the files of the metrics share. */
#ifndef GLOSS_SAE_EVAL_INTERNAL_H
#define GLOSS_SAE_EVAL_INTERNAL_H

#include "sae/sae.h"

/* Fill in what follows from the firings (F) of out->n_rows rows, out->fires; `contexts` (F): how many contexts a feature fires in. */
void eval_firings(sae_metrics *out, const uint32_t *contexts);
/* Fill in quantiles of the number of features that fire on a row: rows_with[i] rows have i, 0..F. */
void eval_l0(sae_metrics *out, const uint64_t *rows_with);

#endif
