/* For `probe`: targeted probe perturbation and spurious correlation removal, as JSON rows. */
#ifndef GLOSS_CLI_PROBE_PERTURB_H
#define GLOSS_CLI_PROBE_PERTURB_H

#include "cli/probe.h"
#include "cli/probe_labels.h"

/* *rows: {class, n, intended, unintended, score}, the means over classes last (no class); the caller's. */
int probe_tpp(cJSON **rows, const sae_examples *e, const sae_model *m, const uint32_t *classes,
              size_t n_classes, const probe_labels *labels, const probe_opts *o, pool *p,
              error *err) MUST_USE;
/* *rows: {n, clean, original, changed, score}. Reads --spurious. */
int probe_scr(cJSON **rows, const sae_examples *e, const sae_model *m, const probe_labels *labels,
              const probe_opts *o, error *err) MUST_USE;

#endif
