/* What each preset is. Sources: the trainers as released in sae-lens 6.54, eai-sparsify 1.3.3, dictionary-learning 0.1.0, OpenAI's
 * sparse_autoencoder, llamascopium 2.0; the papers of Gemma Scope and Anthropic's updates of April 2024 and January 2025. Coefficients
 * are the tool's own where rows are normalised as there: they count for its scale of rows. */
#include "cli/train_presets.h"

#include <string.h>

#include "base/base.h"

enum { MAX_DEPARTS = 6 };

#define LOSS_TOPK                                                                                            \
	"gradients are those of log FVU, not of the squared error: Adam does not see the scale, clipping "   \
	"does"
#define AUXK_K "AuxK takes at most d / 2 dead features and counts the share of the error they explain"
#define UNIT_DECODER                                                                                         \
	"decoder rows are held at norm 1; there they start at 0.1, are free, and their norms weigh the "     \
	"choice"
#define DL_THRESHOLD                                                                                         \
	"the threshold follows batches at a rate of 0.1 from the first step on, not 0.001 from step 1000"
#define DL_STOP "no resampling (--resample) and no decay of the step size (--schedule) unless asked for"

static const struct {
	const char *name, *options;
	const char *departs[MAX_DEPARTS];
} presets[] = {
	{ "saelens-topk",
	  "{\"arch\":\"topk\",\"k\":100,\"batch\":4096,\"lr\":3e-4,\"schedule\":\"constant\",\"warmup\":0,"
	  "\"clip\":1,\"normalize\":\"none\",\"init-bias\":\"zero\",\"encoder-norm\":0.01,"
	  "\"dead-tokens\":4096000}",
	  { UNIT_DECODER, LOSS_TOPK,
	    "AuxK is weighted 1/32 of the error's own variance, there 1 times the share of dead features" } },
	{ "saelens-jumprelu",
	  "{\"arch\":\"jumprelu\",\"batch\":4096,\"lr\":3e-4,\"schedule\":\"constant\",\"warmup\":0,\"clip\":"
	  "1,"
	  "\"normalize\":\"none\",\"init-bias\":\"zero\",\"encoder-norm\":0.1,\"decoder-norm\":0.1,\"l0\":1,"
	  "\"penalty\":\"step\",\"bandwidth\":0.05,\"threshold\":0.01,"
	  "\"threshold-lr\":1,\"decoder\":\"free\",\"loss\":\"plain\",\"sparsity-warmup\":0,"
	  "\"dead-tokens\":4096000}",
	  { NULL } },
	{ "sparsify",
	  "{\"arch\":\"topk\",\"k\":32,\"batch\":65536,\"optimizer\":\"signum\",\"schedule\":\"constant\","
	  "\"normalize\":\"none\","
	  "\"init-bias\":\"mean\",\"encoder-norm\":0.577,\"auxk-alpha\":0,\"dead-tokens\":10000000}",
	  { "encoder and decoder start in random directions of one norm, there as nn.Linear does" } },
	{ "dictionary-learning-topk",
	  "{\"arch\":\"topk\",\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":true,\"clip\":1,"
	  "\"normalize\":\"mean-square\",\"init-bias\":\"median\",\"encoder-norm\":1,\"auxk-alpha\":0.03125,"
	  "\"dead-tokens\":10000000}",
	  { LOSS_TOPK, DL_STOP } },
	{ "dictionary-learning-batchtopk",
	  "{\"arch\":\"batchtopk\",\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":true,\"clip\":1,"
	  "\"normalize\":\"mean-square\",\"init-bias\":\"median\",\"encoder-norm\":1,\"auxk-alpha\":0.03125,"
	  "\"dead-tokens\":10000000}",
	  { LOSS_TOPK, DL_THRESHOLD, DL_STOP } },
	{ "dictionary-learning-matryoshka",
	  "{\"arch\":\"matryoshka\",\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":true,\"clip\":"
	  "1,"
	  "\"normalize\":\"mean-square\",\"init-bias\":\"median\",\"encoder-norm\":1,\"auxk-alpha\":0.03125,"
	  "\"dead-tokens\":10000000,\"prefix-loss\":\"mean\"}",
	  { LOSS_TOPK, DL_THRESHOLD, "groups are 1/16, 1/16, 1/8, 1/4, 1/2 unless given: there they must be",
	    DL_STOP } },
	{ "dictionary-learning-relu",
	  "{\"arch\":\"relu\",\"lr\":1e-3,\"l1\":0.1,\"decoder\":\"unit\",\"loss\":\"plain\","
	  "\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":true,\"sparsity-warmup\":2000,\"init-"
	  "bias\":\"zero\",\"init-"
	  "rows\":\"normal\","
	  "\"encoder-norm\":0.1,\"decoder-norm\":0.1,\"normalize\":\"mean-square\"}",
	  { DL_STOP } },
	{ "dictionary-learning-april",
	  "{\"arch\":\"relu\",\"lr\":1e-3,\"l1\":0.1,\"decoder\":\"free\",\"loss\":\"plain\",\"clip\":1,"
	  "\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":true,\"sparsity-warmup\":2000,\"init-"
	  "bias\":\"zero\",\"init-"
	  "rows\":\"normal\","
	  "\"encoder-norm\":0.1,\"decoder-norm\":0.1,\"normalize\":\"mean-square\"}",
	  { DL_STOP } },
	{ "dictionary-learning-gated",
	  "{\"arch\":\"gated\",\"lr\":5e-5,\"beta1\":0,\"l1\":0.1,\"decoder\":\"unit\",\"loss\":\"plain\","
	  "\"detach-gate\":true,\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":true,\"sparsity-"
	  "warmup\":2000,"
	  "\"init-bias\":\"zero\",\"init-rows\":\"normal\",\"encoder-norm\":1,\"normalize\":\"mean-square\"}",
	  { DL_STOP } },
	{ "dictionary-learning-jumprelu",
	  "{\"arch\":\"jumprelu\",\"lr\":7e-5,\"beta1\":0,\"l0\":1,\"target-l0\":20,"
	  "\"raw-input\":true,\"ste-value\":true,\"penalty\":\"quadratic-mean\",\"bandwidth\":0.001,"
	  "\"threshold\":0.001,"
	  "\"threshold-lr\":1,"
	  "\"decoder\":\"unit\",\"loss\":\"plain\",\"clip\":1,\"schedule\":\"constant\",\"warmup\":1000,"
	  "\"warmup-late\":true,"
	  "\"sparsity-warmup\":2000,\"init-bias\":\"zero\",\"encoder-norm\":1,\"normalize\":\"mean-square\"}",
	  { DL_STOP } },
	{ "dictionary-learning-panneal",
	  "{\"arch\":\"panneal\",\"lr\":1e-3,\"l1\":0.1,\"decoder\":\"unit\",\"loss\":\"plain\","
	  "\"penalty\":\"lp-root\",\"p-end\":0.05,\"schedule\":\"constant\",\"warmup\":1000,\"warmup-late\":"
	  "true,\"sparsity-"
	  "warmup\":2000,"
	  "\"init-bias\":\"zero\",\"init-rows\":\"normal\",\"encoder-norm\":0.1,\"decoder-norm\":0.1,"
	  "\"normalize\":\"mean-"
	  "square\"}",
	  { "p falls from half of the steps on to 0.05, there from step 15,000 on to 0", DL_STOP } },
	{ "gemma-scope",
	  "{\"arch\":\"jumprelu\",\"batch\":4096,\"lr\":7e-5,\"beta1\":0,\"schedule\":\"constant\","
	  "\"warmup\":1000,\"warmup-from\":0.1,\"warmup-shape\":\"cosine\",\"penalty\":\"step\","
	  "\"bandwidth\":0.001,\"threshold\":0.001,\"threshold-lr\":1,\"decoder\":\"unit\",\"loss\":"
	  "\"plain\","
	  "\"sparsity-warmup\":10000,\"init-bias\":\"zero\",\"encoder-norm\":1,\"normalize\":\"mean-"
	  "square\"}",
	  { "the coefficient is sought for the target L0 (32, or --target-l0); theirs are not published one "
	    "by one" } },
	{ "anthropic-2024-04",
	  "{\"arch\":\"relu\",\"lr\":5e-5,\"l1\":5,\"decoder\":\"free\",\"loss\":\"plain\",\"clip\":1,"
	  "\"schedule\":\"wsd\",\"decay\":0.2,\"warmup\":0,\"init-bias\":\"zero\",\"init-rows\":\"normal\","
	  "\"raw-input\":true,\"encoder-norm\":0.1,"
	  "\"decoder-norm\":0.1,\"normalize\":\"mean-norm\"}",
	  { "the penalty is there from the first step on unless --sparsity-warmup says how many are 5 %" } },
	{ "anthropic-2025-01",
	  "{\"arch\":\"jumprelu\",\"raw-input\":true,\"penalty\":\"tanh\",\"tanh-scale\":4,\"bandwidth\":2,"
	  "\"threshold\":0.1,"
	  "\"threshold-lr\":1,\"log-threshold\":true,\"ste-input\":true,\"preact\":3e-6,\"decoder\":\"free\","
	  "\"loss\":\"plain\",\"clip\":1,\"schedule\":\"wsd\",\"decay\":0.2,\"warmup\":0,"
	  "\"init-bias\":\"zero\",\"encoder-norm\":0.577,\"decoder-norm\":0.577,\"normalize\":\"mean-norm\"}",
	  { "the coefficient is sought for the target L0 unless --l0 is given; there it rises over the whole "
	    "run",
	    "biases start at 0, there where each feature fires 10,000 / F of the tokens" } },
	{ "openai",
	  "{\"arch\":\"topk\",\"k\":32,\"batch\":131072,\"lr\":1e-4,\"eps\":6.25e-10,\"schedule\":"
	  "\"constant\","
	  "\"warmup\":0,\"normalize\":\"layer\",\"init-bias\":\"median\",\"auxk-alpha\":0.03125,"
	  "\"dead-tokens\":10000000}",
	  { AUXK_K, "encoder rows start at norm 0.4, there at what rebuilds random unit vectors best",
	    "a feature fired if its value is over 0, there over 1e-3" } },
	{ "openmoss",
	  "{\"arch\":\"jumprelu\",\"raw-input\":true,\"penalty\":\"tanh\",\"l0\":0.3,\"tanh-scale\":4,"
	  "\"bandwidth\":4,"
	  "\"threshold\":0.1,\"threshold-lr\":0.1,\"log-threshold\":true,\"decoder\":\"free\","
	  "\"loss\":\"plain\",\"lr\":5e-5,\"warmup\":5000,\"decay\":0.2,\"lr-floor\":0.03125,"
	  "\"init-bias\":\"zero\",\"encoder-norm\":1,\"normalize\":\"mean-norm\"}",
	  { "the tanh penalty has no quadratic frequency term",
	    "rows start at norm 1, there at the best of a search over norms",
	    "the penalty is there from the first step on unless --sparsity-warmup says how many are 10 %" } },
};

const char *train_preset(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(presets); i++)
		if (strcmp(presets[i].name, name) == 0)
			return presets[i].options;
	return NULL;
}

const char *const *train_preset_departs(const char *name)
{
	static const char *const none[] = { NULL };

	for (size_t i = 0; i < ARRAY_LEN(presets); i++)
		if (strcmp(presets[i].name, name) == 0)
			return presets[i].departs;
	return none;
}
