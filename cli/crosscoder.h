/* What `gloss eval` and `gloss inspect` tell of a crosscoder: which inputs its features are of. */
#ifndef GLOSS_CLI_CROSSCODER_H
#define GLOSS_CLI_CROSSCODER_H

#include "cli/cli.h"
#include "sae/sae.h"

#define CROSSCODER_ALONE                                                                                     \
	0.9f /* a feature with over so much of its decoder norm in one input is that input's alone */
enum { CROSSCODER_BINS = 10 };

typedef struct crosscoder_report {
	uint32_t n_inputs;
	uint64_t n; /* features looked at */
	uint64_t alone[SAE_PARTS_MAX], shared;
	uint64_t bins[CROSSCODER_BINS]; /* of two inputs: features by the share of the second */
	float *shares;                  /* (F, n_inputs) of all features */
	const double *fvu;              /* (n_inputs) of each, or NULL */
} crosscoder_report;

/* measured: only features that fire count, and it has the FVU; NULL: all do. End with crosscoder_clear(). ERR_NOMEM. */
int crosscoder_look(crosscoder_report *r, const sae_model *m, const sae_metrics *measured,
                    error *err) MUST_USE;
void crosscoder_clear(crosscoder_report *r);
void crosscoder_print(const crosscoder_report *r);
/* {"n", "fvu" where it was measured, "features", "alone": [...], "shared", "second_share_bins": [...]}, with the shares of each feature where asked for; NULL:
 * no memory. */
cJSON *crosscoder_json(const crosscoder_report *r, uint32_t n_shares);

#endif
