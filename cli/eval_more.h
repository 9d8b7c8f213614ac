/* What `gloss eval` measures only when asked. */
#ifndef GLOSS_CLI_EVAL_MORE_H
#define GLOSS_CLI_EVAL_MORE_H

#include "cli/dump_args.h"

enum { EVAL_PREFIXES = 64, EVAL_MDL_SIZES = 4 };

typedef struct eval_more {
	bool mdl;
	sae_mdl of_bins[EVAL_MDL_SIZES];
	size_t n_prefixes;
	uint32_t ends[EVAL_PREFIXES];
	double fvu[EVAL_PREFIXES];
} eval_more; /* start with { 0 } */

/* prefixes: "256,512", or NULL. ERR_ARG: no such list, or not numbers of up to n_features. */
int eval_more_parse(eval_more *m, bool mdl, const char *prefixes, uint32_t n_features, error *err) MUST_USE;
/* Nothing where nothing was asked for. */
int eval_more_measure(eval_more *m, const sae_model *model, const dump_input *in, error *err) MUST_USE;
bool eval_more_add(cJSON *to, const eval_more *m); /* false: no memory */
void eval_more_print(const eval_more *m);

#endif
