/* Options of the sparsity penalty as the trainer takes them. */
#include <string.h>

#include "cli/train_penalty.h"

static sae_penalty kind_of(const char *name)
{
	static const char *const names[] = { [SAE_PENALTY_STEP] = "step",
		                             [SAE_PENALTY_TANH] = "tanh",
		                             [SAE_PENALTY_QUADRATIC] = "quadratic",
		                             [SAE_PENALTY_QUADRATIC_MEAN] = "quadratic-mean",
		                             [SAE_PENALTY_LP] = "lp",
		                             [SAE_PENALTY_LP_ROOT] = "lp-root" };

	for (size_t i = SAE_PENALTY_STEP; name && i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (sae_penalty)i;
	return SAE_PENALTY_DEFAULT;
}

sae_penalty_opts train_penalty_of(const train_penalty_args *a, sae_arch arch, bool free_decoder)
{
	return (sae_penalty_opts){ .coef = arch == SAE_JUMPRELU ? a->l0 : a->l1,
		                   .target_l0 = a->target_l0,
		                   .start_l0 = a->start_l0,
		                   .kind = kind_of(a->kind),
		                   .raw_input = a->raw_input,
		                   .free_decoder =
		                           a->decoder ? strcmp(a->decoder, "free") == 0 : free_decoder,
		                   .decoder_norm = a->decoder_norm,
		                   .plain_loss = strcmp(a->loss, "plain") == 0,
		                   .bandwidth = a->bandwidth,
		                   .threshold = a->threshold,
		                   .preact = a->preact,
		                   .ste_input = a->ste_input,
		                   .ste_value = a->ste_value,
		                   .log_threshold = a->log_threshold,
		                   .detach_gate = a->detach_gate,
		                   .p_end = a->p_end,
		                   .anneal_from = a->anneal_from };
}
