/* gloss train: fit one SAE to a dump, or a sweep of them. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/train_presets.h"
#include "cli/train_run.h"

static const option options[] = {
	OPTION(train_opts, out, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder for the SAE, in SAELens's layout"),
	OPTION(train_opts, preset, "preset", 0, OPTION_ENUM, TRAIN_PRESETS, NULL, 0, 0,
	       "the recipe of another tool or paper: what these options are where they are not given; what "
	       "departs from the original is said at the start"),
	OPTION(train_opts, arch, "arch", 0, OPTION_ENUM,
	       "topk|batchtopk|groupmax|matryoshka|multitopk|pursuit|codebook|"
	       "relu|panneal|gated|jumprelu",
	       "topk", 0, 0,
	       "which features are kept: the k largest of a token; k a token on average over a batch (saved "
	       "as "
	       "jumprelu); the largest of each of k groups; as batchtopk, with a loss for each prefix of the "
	       "features; as topk, with an eighth of the loss of 4 k features; what matching pursuit chooses "
	       "in k "
	       "steps; the k nearest codes of a codebook; or all over 0, or over a gate or threshold that is "
	       "learnt, kept "
	       "few by a penalty: L1, Lp whose p falls, L1 of the gates (saved as jumprelu), L0"),
	OPTION(train_opts, features, "features", 'F', OPTION_U32, "N", "4608", 1, 67108864,
	       "features of the dictionary; codes of a codebook"),
	OPTION(train_opts, k, "k", 'k', OPTION_U32, "N", "32", 1, 67108864,
	       "features kept a token; steps of matching pursuit at most; codes of each part of a codebook"),
	OPTION(train_opts, groups, "groups", 0, OPTION_STRING, "N,N", NULL, 0, 0,
	       "matryoshka: features of the groups whose sums are the prefixes, as numbers that add up to "
	       "all "
	       "features or shares that add up to 1; if not given, 1/16, 1/16, 1/8, 1/4, 1/2"),
	OPTION(train_opts, random_prefixes, "random-prefixes", 0, OPTION_U32, "N", "0", 0, SAE_PREFIXES,
	       "matryoshka: instead of groups, N prefixes drawn for each step, short ones more often, all "
	       "features always among them; 0: groups"),
	OPTION(train_opts, prefix_loss, "prefix-loss", 0, OPTION_ENUM, "mean|sum", "mean", 0, 0,
	       "matryoshka: the mean or the sum of the prefixes' losses, beside the auxiliary loss"),
	OPTION(train_opts, prefix_bias, "prefix-bias", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "matryoshka: a loss for b_dec alone too, the prefix of no features"),
	OPTION(train_opts, prefix_weights, "prefix-weights", 0, OPTION_STRING, "W,W", NULL, 0, 0,
	       "matryoshka: a weight for the loss of each group's prefix, in place of their mean or sum "
	       "(dictionary_learning's group_weights)"),
	TRAIN_PENALTY_OPTIONS(train_opts, penalty),
	OPTION(train_opts, batch, "batch", 0, OPTION_U32, "N", "4096", 1, 1048576, "tokens a step"),
	OPTION(train_opts, steps, "steps", 0, OPTION_U64, "N", NULL, 1, 9e15,
	       "steps; if neither these nor tokens are given, one pass over the training rows"),
	DUMP_ARGS_OPTIONS_TOKENS(
	        train_opts, dump, "N|PATH",
	        "a number: train on so many tokens; else where the token ids are, if not in the shards"),
	OPTION(train_opts, dump.target, "target", 0, OPTION_STRING, "DUMP", NULL, 0, 0,
	       "fit a transcoder: to the rows of this dump, in the order of the dump's own"),
	OPTION(train_opts, dump.target_key, "target-key", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "tensor that holds them, if not the one of --key; without --target, of the dump's own files"),
	OPTION(train_opts, skip, "skip", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "a transcoder's output gains a matrix times its input"),
	DUMP_SPLIT_OPTIONS(train_opts, split),
	OPTION(train_opts, lr, "lr", 0, OPTION_DOUBLE, "X", NULL, 1e-30, 1000,
	       "Adam's step size; if not given, 2e-4 / sqrt(features / 16384), codebook 3e-3"),
	OPTION(train_opts, warmup, "warmup", 0, OPTION_U64, "N", NULL, 0, 0,
	       "steps of linear warm-up; if not given, 5 % of the steps, at most 1000"),
	OPTION(train_opts, decay, "decay", 0, OPTION_DOUBLE, "SHARE", "0.2", 0, 1,
	       "share of the steps, at the end, in which the step size falls (--schedule wsd) or is annealed "
	       "(infinite)"),
	OPTION(train_opts, schedule, "schedule", 0, OPTION_ENUM, "wsd|constant|linear|cosine|infinite", "wsd",
	       0, 0,
	       "of the step size after the warm-up: constant, then falling over the last --decay of the "
	       "steps; "
	       "constant; falling in a line; falling as half a cosine; infinite: down to --lr-constant, "
	       "constant, and an anneal over the last --decay of the steps, before which a checkpoint is "
	       "kept"),
	OPTION(train_opts, warmup_from, "warmup-from", 0, OPTION_DOUBLE, "SHARE", "0", 0, 1,
	       "share of the step size where the warm-up begins"),
	OPTION(train_opts, warmup_late, "warmup-late", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "the first step has that share, and the penalty's weight 0: warm-ups a step later "
	       "(dictionary_learning); refused where there is none"),
	OPTION(train_opts, warmup_shape, "warmup-shape", 0, OPTION_ENUM, "linear|cosine", "linear", 0, 0,
	       "how it rises"),
	OPTION(train_opts, lr_floor, "lr-floor", 0, OPTION_DOUBLE, "SHARE", NULL, 0, 1,
	       "share of the step size to which it falls; if not given, 0, and 0.01 with --schedule "
	       "infinite"),
	OPTION(train_opts, lr_constant, "lr-constant", 0, OPTION_DOUBLE, "SHARE", "0.4", 1e-30, 1,
	       "share of the step size in the constant phase of --schedule infinite"),
	OPTION(train_opts, cooldown, "cooldown", 0, OPTION_U64, "N", NULL, 0, 0,
	       "step at which that phase begins; if not given, 15 % of the steps"),
	OPTION(train_opts, cooldown_shape, "cooldown-shape", 0, OPTION_ENUM, "cosine|linear|root", "cosine",
	       0, 0, "how the step size falls until then"),
	OPTION(train_opts, sparsity_warmup, "sparsity-warmup", 0, OPTION_U64, "N", NULL, 0, 0,
	       "steps in which the weight of the sparsity penalty rises from 0"),
	OPTION(train_opts, k_start, "k-start", 0, OPTION_U32, "N", NULL, 1, 67108864,
	       "features kept a token at the first step; falls to k; if not given, it is k"),
	OPTION(train_opts, k_anneal, "k-anneal", 0, OPTION_U64, "N", NULL, 1, 9e15,
	       "steps until k is reached; if not given, half of them"),
	OPTION(train_opts, k_shape, "k-shape", 0, OPTION_ENUM, "linear|exponential|power", "linear", 0, 0,
	       "how k falls, t from 0 to 1: by t (sparsify), by (1 - exp(-3 t)) / (1 - exp(-3)) "
	       "(llamascopium), by t^(1/P) (codebook features)"),
	OPTION(train_opts, k_power, "k-power", 0, OPTION_DOUBLE, "P", "2", 0.01, 100, "that P"),
	OPTION(train_opts, optimizer, "optimizer", 0, OPTION_ENUM, "adam|adamw|signum|muon", "adam", 0, 0,
	       "signum: the gradient's sign, schedule-free, with a step size of 5e-3 / sqrt(features / "
	       "16384) "
	       "and no warm-up; muon: orthogonalised gradients of the matrices, 2e-3, Adam for the rest. All "
	       "but adam, and clipping and averaging, keep whole gradients: 4 bytes more a weight"),
	OPTION(train_opts, weight_decay, "weight-decay", 0, OPTION_DOUBLE, "X", NULL, 0, 1000,
	       "of adamw and muon: weights shrink by X times the step size; if not given, 0.01 and 0.1"),
	OPTION(train_opts, momentum, "momentum", 0, OPTION_DOUBLE, "X", "0.95", 0, 0.999999,
	       "of signum and muon"),
	OPTION(train_opts, clip, "clip", 0, OPTION_DOUBLE, "X", "0", 0, 1e30,
	       "cut the norm of the gradient of all weights to X; 0: do not"),
	OPTION(train_opts, average, "average", 0, OPTION_DOUBLE, "X", "0", 0, 0.9999999,
	       "what is measured and saved is the running mean of the weights, which keeps X of itself each "
	       "step, as 0.999; 0: the weights"),
	OPTION(train_opts, auxk_alpha, "auxk-alpha", 0, OPTION_DOUBLE, "X", NULL, 0, 1000,
	       "weight of the auxiliary loss that revives dead features; 0: none; if not given, 0.03125, of "
	       "relu, panneal, gated and jumprelu none"),
	OPTION(train_opts, dead_tokens, "dead-tokens", 0, OPTION_U64, "N", NULL, 1, 9e15,
	       "a feature is dead after N tokens without firing; if not given, 10 % of the run, at most 10M"),
	OPTION(train_opts, beta1, "beta1", 0, OPTION_DOUBLE, "X", "0.9", 0, 0.999999,
	       "Adam's decay of the mean gradient"),
	OPTION(train_opts, beta2, "beta2", 0, OPTION_DOUBLE, "X", "0.999", 0, 0.9999999,
	       "Adam's decay of its square"),
	OPTION(train_opts, eps, "eps", 0, OPTION_DOUBLE, "X", "1e-8", 1e-30, 1, "Adam's epsilon"),
	OPTION(train_opts, normalize, "normalize", 0, OPTION_ENUM,
	       "none|mean-norm|mean-square|layer|token|whiten|center", "mean-norm", 0, 0,
	       "rows before training: as they are; scaled to a mean norm of the root of their width, or to a "
	       "mean square of 1; each to mean 0 and deviation 1, or to the norm of that root; whitened; "
	       "less their mean and scaled. The SAE that is saved takes rows as they are"),
	OPTION(train_opts, init_bias, "init-bias", 0, OPTION_ENUM, "mean|zero|median", "mean", 0, 0,
	       "where b_dec starts: the rows' mean, 0, or their geometric median (OpenAI, "
	       "dictionary_learning)"),
	OPTION(train_opts, encoder_norm, "encoder-norm", 0, OPTION_DOUBLE, "X", NULL, 1e-6, 1e6,
	       "norm of encoder rows at the start, in the directions of the decoder's; if not given, 0.4"),
	OPTION(train_opts, init_rows, "init-rows", 0, OPTION_ENUM, "uniform|normal", "uniform", 0, 0,
	       "what the values of their random directions are drawn from"),
	OPTION(train_opts, resample, "resample", 0, OPTION_U64, "N", NULL, 2, 4e12,
	       "every N steps, features that did not fire in the last N / 2 begin anew at rows with large "
	       "errors, "
	       "and the warm-up of the step size comes again (dictionary_learning)"),
	OPTION(train_opts, seed, "seed", 's', OPTION_U64, "N", "0", 0, 0, "start of the weights"),
	OPTION(train_opts, order_seed, "order-seed", 0, OPTION_U64, "N", "0", 0, 0, "order of the rows"),
	OPTION(train_opts, shuffle, "shuffle", 0, OPTION_ENUM, "blocks|rows", "blocks", 0, 0,
	       "read rows in blocks of 64 and mix them in memory, or each row alone (fast disks)"),
	OPTION(train_opts, log, "log", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "metrics log; if not given, DIR/train.jsonl"),
	OPTION(train_opts, log_every, "log-every", 0, OPTION_U64, "N", "10", 1, 9e15,
	       "steps a line of the log"),
	OPTION(train_opts, kernels, "kernels", 0, OPTION_ENUM, "avx512|avx2|scalar", NULL, 0, 0,
	       "instruction set; if not given, the best of this CPU"),
	OPTION(train_opts, moments, "optimizer-state", 0, OPTION_ENUM, "32|8", "32", 0, 0,
	       "bits of a value of Adam's moments: with 8, they take 2.1 bytes a weight instead of 8"),
	OPTION(train_opts, screening, "screening", 0, OPTION_ENUM, "exact|statistical|off", "exact", 0, 0,
	       "rule features out by 8-bit products where that is faster: with a proven bound (the same bits "
	       "as "
	       "off), or with one of six standard deviations, which may lose a value once in very many"),
	OPTION(train_opts, parts, "parts", 0, OPTION_U32, "N", "1", 1, 67108864,
	       "cut rows in N equal parts with codes of their own, features / N each; of --arch codebook"),
	OPTION(train_opts, similarity, "similarity", 0, OPTION_ENUM, "cosine|euclidean", "cosine", 0, 0,
	       "which codes are nearest to a row"),
	OPTION(train_opts, combine, "combine", 0, OPTION_ENUM, "sum|mean", "sum", 0, 0,
	       "what comes out: the sum of the k codes, or that divided by k"),
	OPTION(train_opts, code_norm, "code-norm", 0, OPTION_ENUM, "none|layer", "none", 0, 0,
	       "layer: rows (each group's part) are brought to mean 0 and deviation 1 first"),
	OPTION(train_opts, code_start, "code-start", 0, OPTION_ENUM, "kmeans|random", "kmeans", 0, 0,
	       "codes at the start: centroids of a sample, or N(0, 1)"),
	OPTION(train_opts, code_update, "code-update", 0, OPTION_ENUM, "gradient|ema", "gradient", 0, 0,
	       "codes follow the gradient by Adam, or are moving means of what their rows want"),
	OPTION(train_opts, code_decay, "code-decay", 0, OPTION_DOUBLE, "X", "0.99", 0, 0.9999999,
	       "what such a mean keeps of itself each step"),
	OPTION(train_opts, replace_every, "replace-every", 0, OPTION_U64, "N", "0", 0, 9e15,
	       "every N steps, codes that no token used in them become tokens of the batch; 0: never"),
	OPTION(train_opts, replace_noise, "replace-noise", 0, OPTION_DOUBLE, "X", "1e-4", 0, 1,
	       "noise on those, X times the token's norm"),
	OPTION(train_opts, residual, "residual", 0, OPTION_DOUBLE, "X", "0.01", 0, 1e30,
	       "matching pursuit ends where what is left of the (scaled) row is shorter than X; 0: it does "
	       "not"),
	OPTION(train_opts, repeats, "repeats", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "matching pursuit may choose a feature again, which ends it otherwise"),
	OPTION(train_opts, archetypal, "archetypal", 0, OPTION_U32, "N", NULL, 1, 1048576,
	       "decoder rows are mixtures of N centroids of the rows (of topk, batchtopk, groupmax)"),
	OPTION(train_opts, archetypal_delta, "archetypal-delta", 0, OPTION_DOUBLE, "X", "1", 0, 1e30,
	       "and may be as far from such a mixture as X; if not given, 1 for rows with a mean norm of the "
	       "root of "
	       "their width, and scaled with rows"),
	OPTION(train_opts, sweep, "sweep", 0, OPTION_LIST, "KEY=V,V", NULL, 0, 0,
	       "train one SAE for each value, on the same rows in one pass; KEY is arch, k, features, seed, "
	       "lr or auxk-alpha; may be given once for each, for all combinations"),
	OPTION(train_opts, eval_every, "eval-every", 0, OPTION_U64, "N", "0", 0, 9e15,
	       "measure held-out rows (8192 of them at most) every N steps; 0: at the end only"),
	OPTION(train_opts, patience, "patience", 0, OPTION_U64, "N", "0", 0, 9e15,
	       "stop early after N such measurements in a row without a better FVU; 0: never"),
	OPTION(train_opts, checkpoint_every, "checkpoint-every", 0, OPTION_U64, "N", "0", 0, 9e15,
	       "save a checkpoint every N steps; 0: by time only"),
	OPTION(train_opts, checkpoint_minutes, "checkpoint-minutes", 0, OPTION_DOUBLE, "X", "10", 0, 1e6,
	       "save a checkpoint every X minutes; 0, and 0 steps: none at all, also not at the end"),
	OPTION(train_opts, time_limit, "time-limit", 0, OPTION_STRING, "TIME", NULL, 0, 0,
	       "save and stop after so long, as 90s, 30m or 4h, reading the dump included"),
	OPTION(train_opts, memory_limit, "memory-limit", 0, OPTION_U64, "BYTES", NULL, 1, 9e15,
	       "refuse a run that needs more memory (which no file backs), as 4G or 512Mi; if not given, the "
	       "machine's memory or its cgroup's limit"),
	OPTION(train_opts, resume, "resume", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "go on from the folder's checkpoint; where there is none, start afresh"),
	OPTION(train_opts, extend, "extend", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "with --resume: also when the dump has grown, or more steps or tokens are asked for than "
	       "before"),
	OPTION(train_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "write into a folder that holds a run, and delete its checkpoint"),
};

/* ---- Before the dump is read ------------------------------------------------------------------------------------------ */

/* "4M" as 4000000; 0: not a number of tokens. */
static uint64_t parse_budget(const char *s)
{
	static const struct {
		const char *suffix;
		double factor;
	} units[] = { { "", 1 },    { "k", 1e3 },     { "K", 1e3 },        { "M", 1e6 },
		      { "G", 1e9 }, { "Ki", 1024.0 }, { "Mi", 1048576.0 }, { "Gi", 1073741824.0 } };
	char *end;
	double value;

	if (!isdigit((unsigned char)*s))
		return 0;
	value = strtod(s, &end);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(end, units[i].suffix) == 0 && value * units[i].factor < 9e15)
			return (uint64_t)(value * units[i].factor);
	return 0;
}

/* What can be wrong without a look at the dump. */
static int check_options(const train_job *j, const train_opts *o, error *err)
{
	if (!o->out)
		return error_set(err, ERR_ARG, "no output folder: give -o DIR");
	if (o->extend && !o->resume)
		return error_set(err, ERR_ARG, "--extend needs --resume");
	if (o->force && o->resume)
		return error_set(err, ERR_ARG, "--force and --resume cannot both be given");
	if (o->patience && !o->eval_every)
		return error_set(err, ERR_ARG, "--patience needs --eval-every");
	if (o->eval_every && !(o->split.holdout > 0))
		return error_set(err, ERR_ARG, "--eval-every needs rows held out, --holdout is 0");
	if (o->skip && !o->dump.target && !o->dump.target_key)
		return error_set(err, ERR_ARG, "--skip is a transcoder's: give --target or --target-key");
	if ((o->dump.target || o->dump.target_key) && (o->dump.cross.n || o->dump.cross_key.n))
		return error_set(
		        err, ERR_ARG,
		        "--target is a transcoder's, --cross a crosscoder's: they cannot both be given");
	if (o->log && j->n > 1)
		return error_set(err, ERR_ARG,
		                 "--log and --sweep cannot both be given: each SAE has a log in its folder");
	return 0;
}

/* The SAEs that are asked for. What needs no dump is checked, the rest when it is open. */
static int make_saes(train_job *j, const train_opts *o, const train_sweep *sweep, uint64_t tokens, error *err)
{
	int rc = 0;

	j->n = sweep->n;
	j->saes = calloc(j->n, sizeof(*j->saes));
	if (!j->saes)
		return error_nomem(err, "the SAEs of a run");
	for (size_t i = 0; i < j->n && rc == 0; i++) {
		train_sae *s = &j->saes[i];
		error why = { 0 };

		s->o = sweep->opts[i];
		s->name = sweep->names[i];
		s->plan = train_plan_of(&s->o, j->parsed, tokens);
		s->best = INFINITY;
		s->sampled = (double)NAN;
		s->end = "";
		if (s->o.groups)
			rc = train_parse_groups(s->plan.groups, &s->plan.n_groups, "groups", s->o.groups,
			                        &why);
		if (rc == 0 && s->o.prefix_weights)
			rc = train_parse_groups(s->plan.prefix_weights, &s->plan.n_prefix_weights,
			                        "prefix-weights", s->o.prefix_weights, &why);
		if (rc == 0)
			rc = sae_train_opts_check(&s->plan, 1, 1, &why);
		if (rc < 0)
			rc = error_set(err, rc, "%s%s%s", s->name, *s->name ? ": " : "", why.msg);
		if (rc == 0 && *s->name)
			rc = file_join(s->dir, o->out, s->name, err);
		else if (rc == 0 && snprintf(s->dir, sizeof(s->dir), "%s", o->out) >= (int)sizeof(s->dir))
			rc = error_set(err, ERR_LIMIT, "the name of the output folder is too long");
	}
	return rc;
}

/* Takes the value; false: no memory. */
static bool replace(cJSON *object, const char *key, cJSON *value)
{
	if (value && cJSON_ReplaceItemInObjectCaseSensitive(object, key, value))
		return true;
	cJSON_Delete(value);
	return false;
}

/* As a checkpoint keeps them: null where nothing was given, and of --tokens only a number to train on. Screening with and
 * without a proven bound are one: exact and off end with the same bits. */
static int make_options(train_job *j, const train_opts *o, uint64_t tokens, error *err)
{
	bool good;

	j->options = cli_options_json(j->self, o);
	good = j->options != NULL;
	for (size_t i = 0; i < j->self->n_options && good; i++) {
		const option *of = &j->self->options[i];

		if ((!of->standard && of->type != OPTION_BOOL && !cli_given(j->parsed, of->name)) ||
		    (strcmp(of->name, "screening") == 0 && strcmp(o->screening, "statistical") != 0))
			good = replace(j->options, of->name, cJSON_CreateNull());
	}
	good = good && replace(j->options, "tokens",
	                       tokens ? cJSON_CreateNumber((double)tokens) : cJSON_CreateNull());
	return good ? train_sweep_hide(j->options, o, err) : error_nomem(err, "the options");
}

static int take_options(train_job *j, train_opts *o, train_sweep *sweep, error *err)
{
	uint64_t tokens = o->dump.tokens ? parse_budget(o->dump.tokens) : 0;
	int rc = 0;

	if (tokens)
		o->dump.tokens = NULL;
	if (tokens && o->steps)
		return error_set(err, ERR_ARG, "--steps and --tokens cannot both be given");
	if (o->time_limit)
		rc = train_parse_time(&j->time_limit, o->time_limit, err);
	if (rc == 0)
		rc = train_sweep_make(sweep, j->self, j->parsed, o, err);
	if (rc == 0)
		rc = train_check_belongs(j->self, j->parsed, o, err);
	if (rc == 0)
		rc = make_saes(j, o, sweep, tokens, err);
	if (rc == 0)
		rc = check_options(j, o, err);
	if (rc < 0)
		return rc;
	j->checkpoints = o->checkpoint_every || o->checkpoint_minutes > 0;
	j->saved_step = UINT64_MAX;
	return make_options(j, o, tokens, err);
}

/* ---- The run -------------------------------------------------------------------------------------------------------------- */

/* But for rounding. */
static bool is_constant(const sae_rows *rows)
{
	const sae_rows_stats *s = sae_rows_get_stats(rows);

	return s->n_kept > 0 && s->total_variance <= 1e-12 * s->rms_norm * s->rms_norm;
}

static int open_dump(train_job *j, bool *grown, error *err)
{
	const cli_parsed *p = j->parsed;
	double limit = j->saved ? sae_saved_get_info(j->saved)->norm_limit : 0;
	dump_args dump = j->o->dump;
	int rc;

	if (j->saved) {
		dump.more_limits = sae_saved_get_info(j->saved)->more_limits;
		dump.n_more_limits = sae_saved_get_info(j->saved)->n_more_limits;
	}
	rc = dump_input_open(&j->in, p, p->args, p->n_args, &dump, limit, false, err);
	if (rc == 0 && is_constant(j->in.rows))
		rc = error_set(err, ERR_FORMAT, "'%s': all rows are the same, there is nothing to learn",
		               p->args[0]);
	if (rc == 0)
		rc = dump_input_split(&j->in, &j->o->split, err);
	if (rc == 0 && j->o->eval_every && sae_rows_n(j->in.rows, true) == 0)
		rc = error_set(err, ERR_ARG, "--eval-every needs rows held out, --holdout %g leaves none",
		               j->o->split.holdout);
	if (rc == 0 && j->saved)
		rc = sae_saved_check_dump(j->saved, j->in.dump, j->in.rows, j->o->extend, grown, j->in.pool,
		                          err);
	return rc;
}

static void prepare_sae(train_sae *s, const dump_input *in)
{
	sae_train_opts_see(&s->plan, in->dump, in->rows);
	sae_train_plan(&s->plan, sae_rows_n(in->rows, false));
	sae_train_screening(s->screening, sizeof(s->screening), &s->plan, sae_dump_get_info(in->dump)->d_in);
}

/* Presets have --warmup-late whatever the warm-ups become. */
static int check_late(const train_job *j, error *err)
{
	bool rises = !j->o->warmup_late || !cli_given_own(j->parsed, "warmup-late");

	for (size_t i = 0; i < j->n && !rises; i++)
		rises = j->saes[i].plan.warmup || j->saes[i].plan.sparsity_warmup;
	if (rises)
		return 0;
	return error_set(err, ERR_ARG,
	                 "--warmup-late does nothing: there is no warm-up in this run of %" PRIu64 " steps",
	                 j->saes[0].plan.steps);
}

static int open_and_train(train_job *j, error *err)
{
	bool grown = false;
	int rc = open_dump(j, &grown, err);

	if (rc == 0 && j->saved)
		rc = train_extend_plan(j, grown, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < j->n; i++)
		prepare_sae(&j->saes[i], &j->in);
	rc = check_late(j, err);
	if (rc == 0 && j->o->force)
		rc = train_remove_saved(j, err);
	return rc == 0 ? train_run(j, grown, err) : rc;
}

static int say_over(const train_job *j)
{
	const sae_saved_info *info = sae_saved_get_info(j->saved);
	error err = { 0 };
	int code = EXIT_DONE;

	if (j->parsed->common.json)
		code = cli_print_json(j->self, train_over_json(j));
	else {
		cli_put(j->o->out);
		printf(": finished already, %" PRIu64 " of %" PRIu64 " steps\n", info->steps_taken,
		       info->steps);
	}
	if (!info->n_lost)
		return code;
	(void)error_set(&err, ERR_LIMIT, "%zu of %zu SAEs are lost: their loss was not finite", info->n_lost,
	                info->n_members);
	return cli_fail(j->self, &err);
}

/* The path of a sweep's picture, or "" after a warning: the SAEs are what counts. */
static void draw_pareto(char path[FILE_PATH_MAX], const train_job *j)
{
	error why = { 0 };

	if (train_pareto(path, j, &why) == 0)
		return;
	cli_warn(j->self, "no picture of the sweep: %s", why.msg);
	path[0] = '\0';
}

/* Results on stdout: JSON also of a run that was stopped; a sweep's table also when some are lost. */
static int print_results(const train_job *j, int rc, error *err)
{
	train_report *r;
	char picture[FILE_PATH_MAX] = "";
	int code = EXIT_DONE;

	if (!j->trainer || sae_trainer_steps(j->trainer) == 0 ||
	    !(rc == 0 || (rc == ERR_STOPPED && j->parsed->common.json) || (rc == ERR_LIMIT && j->n > 1)))
		return EXIT_DONE;
	r = calloc(j->n, sizeof(*r));
	if (!r)
		return cli_print_json(j->self, NULL);
	for (size_t i = 0; i < j->n; i++)
		train_run_report(&r[i], j, &j->saes[i]);
	if (j->n > 1)
		draw_pareto(picture, j);
	if (j->parsed->common.json)
		code = cli_print_json(j->self, j->n > 1 ? train_reports_json(r, j->n, j->o->out, picture)
		                                        : train_report_json(r));
	else if (j->n == 1)
		train_report_print(r);
	else if (train_reports_print(r, j->n, picture, err) < 0)
		code = cli_fail(j->self, err);
	free(r);
	return code;
}

static void job_clear(train_job *j)
{
	for (size_t i = 0; j->saes && i < j->n; i++) {
		train_sae *s = &j->saes[i];

		train_log_close(&s->log);
		if (s->log.cause)
			cli_warn(j->self, "the log '%s' is not whole: %s", s->log_path,
			         strerror(s->log.cause));
		sae_metrics_clear(&s->held_out);
	}
	free(j->saes);
	sae_trainer_free(j->trainer);
	sae_saved_close(j->saved);
	sae_rows_free(j->sample);
	cJSON_Delete(j->options);
	dump_input_close(&j->in);
}

static int run(const command *self, int argc, char **argv)
{
	train_opts o = { 0 };
	train_sweep sweep = { 0 };
	cli_parsed p;
	train_job j = { .self = self, .parsed = &p, .o = &o, .began = clock_now() };
	error err = { 0 };
	int rc, code = EXIT_DONE, lock = -1;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	rc = take_options(&j, &o, &sweep, &err);
	if (rc == 0)
		rc = train_prepare_output(&j, &lock, &err);
	if (rc == 0)
		rc = train_open_saved(&j, &err);
	if (rc == 0 && train_is_over(&j)) {
		code = say_over(&j);
		goto out;
	}
	if (rc == 0)
		rc = open_and_train(&j, &err);
	if (rc < 0) {
		train_remove_empty(&j);
		code = cli_fail(self, &err);
	}
	rc = print_results(&j, rc, &err);
	if (code == EXIT_DONE)
		code = rc;
out:
	job_clear(&j);
	train_sweep_clear(&sweep);
	cli_parsed_clear(&p);
	if (lock >= 0)
		close(lock);
	return code;
}

const command cmd_train_command = {
	.name = "train",
	.run = run,
	.help = "fit a sparse autoencoder to a dump, or a sweep of them",
	.usage = "DUMP... -o DIR",
	.about =
	        "Fits one SAE to the rows of the dump that count and are not held out, writes it as a "
	        "folder that SAELens 6 "
	        "reads, and measures it on the rows held out. The same dump, options and CPU kind give the "
	        "same weights, "
	        "bit for bit, at any number of threads.\n"
	        "\n"
	        "With --target it fits a transcoder, from the dump's rows to those of another hook point; "
	        "with "
	        "--cross a crosscoder, to the rows of several dumps side by side. All must be of the same "
	        "tokens, "
	        "row by row; rows that one of them leaves out are left out of all.\n"
	        "\n"
	        "With --sweep, one SAE for each combination of the values is trained on the same rows, in "
	        "one pass, "
	        "each in a folder of its own (DIR/k16-seed0) and equal to its lone run bit for bit. At the "
	        "end, a table lists them and "
	        "DIR/pareto.svg shows L0 against FVU on the rows held out.\n"
	        "\n"
	        "A checkpoint of the whole run is kept in DIR/checkpoint. SIGINT (Ctrl-C), SIGTERM, SIGUSR1 "
	        "and "
	        "--time-limit stop after the step in progress: checkpoint and SAE are saved and the exit "
	        "status is 3. "
	        "--resume goes on; the end is bit for bit that of a run that was never stopped or killed, "
	        "also with other "
	        "--threads. It refuses other options or another dump, naming what differs; --threads, "
	        "--kernels (with a warning), --screening exact or off "
	        "and the options of log, checkpoints, time and evaluation may change. The log is cut back "
	        "to the checkpoint. "
	        "A run that is finished says so. Where there is no checkpoint, --resume starts afresh, so a "
	        "batch queue can "
	        "always give it.\n"
	        "\n"
	        "--extend goes on with more --steps or --tokens (totals, counted from the first step), or "
	        "with a dump "
	        "that has grown: its old rows must be unchanged, the new ones come after them. Then the "
	        "pass over "
	        "the old rows ends where it is and the next one is over all rows; without --steps and "
	        "--tokens it is the last. "
	        "The step size follows the plan of the new number of steps from where the run is.\n"
	        "\n"
	        "With --schedule infinite the run's state as the constant phase ends is kept in "
	        "DIR/checkpoint/constant. --resume "
	        "--extend with more --steps or --tokens, or a dump that has grown, goes on from there, as if "
	        "there had been no anneal, and "
	        "anneals at its own end. That folder is a run's folder itself: a copy of it can be extended "
	        "elsewhere.\n"
	        "\n"
	        "A folder that holds an SAE or a checkpoint is refused unless --resume or --force is given.",
	.examples = "gloss train dump/ -o sae/\n"
	            "gloss train dump/ -o sae/ --features 16384 --k 64 --tokens 100M --seed 1\n"
	            "gloss train dump/ -o sweep/ --sweep k=16,32,64 --sweep seed=0,1\n"
	            "gloss train mlp_in/ --target mlp_out/ --skip -o transcoder/\n"
	            "gloss train model_a/ --cross model_b/ -o crosscoder/\n"
	            "gloss train dump/ -o sae/ --tokens 1G --resume --time-limit 4h",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = UINT32_MAX,
	.preset = train_preset,
};
