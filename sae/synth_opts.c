/* Options of synthetic dumps: which kind has which, what they are when not given, what they may be. */
#include <math.h>

#include "sae/synth_internal.h"

static const char *const names[SAE_SYNTH_KINDS] = {
	[SAE_SYNTH_PLANTED] = "planted",
	[SAE_SYNTH_CODEBOOK] = "codebook",
	[SAE_SYNTH_HIERARCHY] = "hierarchy",
	[SAE_SYNTH_TREE] = "tree",
	[SAE_SYNTH_TOY] = "toy",
	[SAE_SYNTH_TOKFSM] = "tokfsm",
};

const char *sae_synth_kind_name(sae_synth_kind k)
{
	return names[k];
}

enum {
	PLANTED = 1 << SAE_SYNTH_PLANTED,
	CODEBOOK = 1 << SAE_SYNTH_CODEBOOK,
	HIERARCHY = 1 << SAE_SYNTH_HIERARCHY,
	TREE = 1 << SAE_SYNTH_TREE,
	TOY = 1 << SAE_SYNTH_TOY,
	TOKFSM = 1 << SAE_SYNTH_TOKFSM,
	ALL = (1 << SAE_SYNTH_KINDS) - 1
};

/* clang-format off */
#define FIELD(member, name, type, kinds) \
	{ name, kinds, type, offsetof(sae_synth_opts, member), sizeof(((sae_synth_opts *)0)->member) }
const sae_synth_field sae_synth_fields[] = {
	FIELD(rows, "rows", SAE_SYNTH_U64, ALL),
	FIELD(seed, "seed", SAE_SYNTH_U64, ALL),
	FIELD(shard_rows, "shard-rows", SAE_SYNTH_U64, ALL),
	FIELD(d, "d", SAE_SYNTH_U32, ALL),
	FIELD(noise, "noise", SAE_SYNTH_DOUBLE, ALL),
	FIELD(features, "features", SAE_SYNTH_U32, PLANTED | CODEBOOK | HIERARCHY | TOY),
	FIELD(k, "k", SAE_SYNTH_U32, PLANTED | CODEBOOK),
	FIELD(mean, "mean", SAE_SYNTH_DOUBLE, PLANTED | HIERARCHY),
	FIELD(mean_last, "mean-last", SAE_SYNTH_DOUBLE, PLANTED | HIERARCHY),
	FIELD(std, "std", SAE_SYNTH_DOUBLE, PLANTED | HIERARCHY),
	FIELD(std_spread, "std-spread", SAE_SYNTH_DOUBLE, PLANTED | HIERARCHY),
	FIELD(bias, "bias", SAE_SYNTH_DOUBLE, PLANTED | HIERARCHY),
	FIELD(orthogonal_steps, "orthogonal-steps", SAE_SYNTH_U32, PLANTED | CODEBOOK | HIERARCHY),
	FIELD(orthogonal_lr, "orthogonal-lr", SAE_SYNTH_DOUBLE, PLANTED | CODEBOOK | HIERARCHY),
	FIELD(inputs, "inputs", SAE_SYNTH_U32, PLANTED),
	FIELD(exclusive, "exclusive", SAE_SYNTH_DOUBLE, PLANTED),
	FIELD(groups, "groups", SAE_SYNTH_U32, CODEBOOK),
	FIELD(p_max, "p-max", SAE_SYNTH_DOUBLE, HIERARCHY),
	FIELD(p_min, "p-min", SAE_SYNTH_DOUBLE, HIERARCHY),
	FIELD(zipf, "zipf", SAE_SYNTH_DOUBLE, HIERARCHY),
	FIELD(rank, "rank", SAE_SYNTH_U32, HIERARCHY),
	FIELD(correlation, "correlation", SAE_SYNTH_DOUBLE, HIERARCHY),
	FIELD(roots, "roots", SAE_SYNTH_U32, HIERARCHY),
	FIELD(branching, "branching", SAE_SYNTH_U32, HIERARCHY),
	FIELD(depth, "depth", SAE_SYNTH_U32, HIERARCHY),
	FIELD(probability, "probability", SAE_SYNTH_DOUBLE, TOY),
	FIELD(importance, "importance", SAE_SYNTH_DOUBLE, TOY),
	FIELD(states, "states", SAE_SYNTH_U32, TOKFSM),
	FIELD(successors, "successors", SAE_SYNTH_U32, TOKFSM),
	FIELD(ctx_len, "ctx-len", SAE_SYNTH_U32, TOKFSM),
	FIELD(trigrams, "trigrams", SAE_SYNTH_BOOL, TOKFSM),
};
/* clang-format on */
const size_t sae_synth_n_fields = ARRAY_LEN(sae_synth_fields);

sae_synth_opts sae_synth_opts_default(sae_synth_kind kind)
{
	switch (kind) {
	case SAE_SYNTH_PLANTED:
		return (sae_synth_opts){ .rows = 100000,
			                 .d = 64,
			                 .features = 128,
			                 .k = 4,
			                 .mean = 1,
			                 .mean_last = 1,
			                 .std = 0.25,
			                 .inputs = 1,
			                 .exclusive = 0.5,
			                 .orthogonal_lr = 0.01 };
	case SAE_SYNTH_CODEBOOK:
		return (sae_synth_opts){ .rows = 100000,
			                 .d = 64,
			                 .features = 128,
			                 .k = 2,
			                 .groups = 1,
			                 .noise = 0.05,
			                 .orthogonal_steps = 200,
			                 .orthogonal_lr = 0.01 };
	case SAE_SYNTH_HIERARCHY:
		return (sae_synth_opts){ .rows = 100000,
			                 .d = 768,
			                 .features = 16384,
			                 .mean = 5,
			                 .mean_last = 4,
			                 .std = 0.5,
			                 .std_spread = 0.5,
			                 .bias = 0.5,
			                 .orthogonal_steps = 100,
			                 .orthogonal_lr = 3e-4,
			                 .p_max = 0.4,
			                 .p_min = 5e-4,
			                 .zipf = 0.5,
			                 .rank = 25,
			                 .correlation = 0.1,
			                 .roots = 128,
			                 .branching = 4,
			                 .depth = 3 };
	case SAE_SYNTH_TREE:
		return (sae_synth_opts){ .rows = 100000, .d = 20 };
	case SAE_SYNTH_TOY:
		return (sae_synth_opts){
			.rows = 100000, .d = 5, .features = 20, .probability = 0.1, .importance = 0.9
		};
	default:
		return (sae_synth_opts){ .rows = 100000,
			                 .d = 128,
			                 .noise = 0.05,
			                 .states = 100,
			                 .successors = 10,
			                 .ctx_len = 128 };
	}
}

enum { MOST = 1 << 24 };

int synth_check(const sae_synth_opts *o, sae_synth_kind kind, error *err)
{
	const struct {
		const char *name;
		double value, least, most;
		bool has;
	} limits[] = {
		{ "rows", (double)o->rows, 1, 0x1p40, true },
		{ "d", o->d, 1, MOST, true },
		{ "noise", o->noise, 0, 1e6, true },
		{ "features", o->features, 1, MOST, kind != SAE_SYNTH_TREE && kind != SAE_SYNTH_TOKFSM },
		{ "k", o->k, 1, MOST, kind == SAE_SYNTH_PLANTED || kind == SAE_SYNTH_CODEBOOK },
		{ "inputs", o->inputs, 1, SAE_PARTS_MAX, kind == SAE_SYNTH_PLANTED },
		{ "exclusive", o->exclusive, 0, 1, kind == SAE_SYNTH_PLANTED },
		{ "mean", o->mean, -1e6, 1e6, true },
		{ "mean-last", o->mean_last, -1e6, 1e6, true },
		{ "std", o->std, 0, 1e6, true },
		{ "std-spread", o->std_spread, 0, 1e6, true },
		{ "bias", o->bias, 0, 1e6, true },
		{ "orthogonal-lr", o->orthogonal_lr, 0, 1, true },
		{ "zipf", o->zipf, 0x1p-20, 16, kind == SAE_SYNTH_HIERARCHY },
		{ "rank", o->rank, 0, 4096, true },
		{ "correlation", o->correlation, 0, 1e6, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		if (limits[i].has &&
		    !(limits[i].value >= limits[i].least && limits[i].value <= limits[i].most))
			return error_set(err, ERR_ARG, "%s %g is not from %g to %g", limits[i].name,
			                 limits[i].value, limits[i].least, limits[i].most);
	return 0;
}
