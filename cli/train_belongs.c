/* Which options of `gloss train` belong to which architectures, schedules and optimisers, and which need another option. */
#include <string.h>

#include "cli/train_args.h"

/* An option that is not here belongs to all. */
static const cli_belonging belongs[] = {
	{ "k", "--arch", "topk|batchtopk|groupmax|matryoshka|multitopk|pursuit|codebook" },
	{ "auxk-alpha", "--arch",
	  "topk|batchtopk|groupmax|matryoshka|multitopk|relu|panneal|gated|jumprelu" },
	{ "optimizer-state", "--arch", "topk|batchtopk|groupmax|matryoshka|multitopk" },
	{ "screening", "--arch", "topk|batchtopk|groupmax|matryoshka|multitopk|pursuit|codebook" },
	{ "groups", "--arch", "matryoshka" },
	{ "random-prefixes", "--arch", "matryoshka" },
	{ "prefix-loss", "--arch", "matryoshka" },
	{ "prefix-bias", "--arch", "matryoshka" },
	{ "prefix-weights", "--arch", "matryoshka" },
	{ "init-bias", "--arch", "topk|batchtopk|groupmax|matryoshka|multitopk|relu|panneal|gated|jumprelu" },
	{ "encoder-norm", "--arch",
	  "topk|batchtopk|groupmax|matryoshka|multitopk|relu|panneal|gated|jumprelu" },
	{ "init-rows", "--arch", "topk|batchtopk|groupmax|matryoshka|multitopk|relu|panneal|gated|jumprelu" },
	{ "resample", "--arch", "topk|batchtopk|groupmax|matryoshka|multitopk|relu|panneal|gated|jumprelu" },
	{ "k-start", "--arch", "topk|batchtopk|matryoshka|multitopk|codebook" },
	{ "k-anneal", "--arch", "topk|batchtopk|matryoshka|multitopk|codebook" },
	{ "k-shape", "--arch", "topk|batchtopk|matryoshka|multitopk|codebook" },
	{ "parts", "--arch", "codebook" },
	{ "similarity", "--arch", "codebook" },
	{ "combine", "--arch", "codebook" },
	{ "code-norm", "--arch", "codebook" },
	{ "code-start", "--arch", "codebook" },
	{ "code-update", "--arch", "codebook" },
	{ "code-decay", "--code-update", "ema" },
	{ "replace-every", "--arch", "codebook" },
	{ "replace-noise", "--arch", "codebook" },
	{ "residual", "--arch", "pursuit" },
	{ "repeats", "--arch", "pursuit" },
	{ "archetypal", "--arch", "topk|batchtopk|groupmax" },
	{ "archetypal-delta", "--arch", "topk|batchtopk|groupmax" },
	{ "k-power", "--k-shape", "power" },
	{ "sparsity-warmup", "--arch", "relu|panneal|gated|jumprelu" },
	{ "l1", "--arch", "relu|panneal|gated" },
	{ "l0", "--arch", "jumprelu" },
	{ "target-l0", "--arch", "relu|panneal|gated|jumprelu" },
	{ "start-l0", "--arch", "relu|panneal|gated|jumprelu" },
	{ "penalty", "--arch", "panneal|jumprelu" },
	{ "raw-input", "--arch", "relu|panneal|gated|jumprelu" },
	{ "decoder", "--arch", "relu|panneal|gated|jumprelu" },
	{ "decoder-norm", "--arch", "relu|panneal|gated|jumprelu" },
	{ "loss", "--arch", "relu|panneal|gated|jumprelu" },
	{ "bandwidth", "--arch", "jumprelu" },
	{ "threshold", "--arch", "jumprelu" },
	{ "threshold-lr", "--arch", "jumprelu" },
	{ "log-threshold", "--arch", "jumprelu" },
	{ "ste-input", "--arch", "jumprelu" },
	{ "ste-value", "--arch", "jumprelu" },
	{ "tanh-scale", "--penalty", "tanh" },
	{ "preact", "--arch", "jumprelu" },
	{ "detach-gate", "--arch", "gated" },
	{ "p-end", "--arch", "panneal" },
	{ "anneal-from", "--arch", "panneal" },
	{ "lr-constant", "--schedule", "infinite" },
	{ "cooldown", "--schedule", "infinite" },
	{ "cooldown-shape", "--schedule", "infinite" },
	{ "lr-floor", "--schedule", "wsd|linear|cosine|infinite" },
	{ "decay", "--schedule", "wsd|infinite" },
	{ "weight-decay", "--optimizer", "adamw|muon" },
	{ "momentum", "--optimizer", "signum|muon" },
};

static const cli_need needs[] = {
	{ "k-anneal", "k-start" },
	{ "k-shape", "k-start" },
	{ "replace-noise", "replace-every" },
	{ "archetypal-delta", "archetypal" },
};

/* Of a sweep, all of them: it may have several architectures, of the others there is one. */
static const char *archs_of(const train_opts *o)
{
	for (size_t i = 0; i < o->sweep.n; i++)
		if (strncmp(o->sweep.items[i], "arch=", strlen("arch=")) == 0)
			return o->sweep.items[i] + strlen("arch=");
	return o->arch;
}

int train_check_belongs(const command *self, const cli_parsed *p, const train_opts *o, error *err)
{
	const char *const in_force[][2] = { { "--arch", archs_of(o) },
		                            { "--schedule", o->schedule },
		                            { "--optimizer", o->optimizer },
		                            { "--code-update", o->code_update },
		                            { "--penalty", o->penalty.kind ? o->penalty.kind : "step" },
		                            { "--k-shape", o->k_shape } };

	for (size_t i = 0; i < ARRAY_LEN(in_force); i++) {
		int rc = cli_check_belongs(self, p, belongs, ARRAY_LEN(belongs), in_force[i][0],
		                           in_force[i][1], err);

		if (rc < 0)
			return rc;
	}
	if (cli_given_own(p, "prefix-loss") && cli_given_own(p, "prefix-weights"))
		return error_set(err, ERR_ARG,
		                 "--prefix-loss and --prefix-weights cannot both be given: the loss is by "
		                 "the weights");
	return cli_check_needs(p, needs, ARRAY_LEN(needs), err);
}
