/* The options of `gloss train`, and the SAEs that they ask for. */
#ifndef GLOSS_CLI_TRAIN_ARGS_H
#define GLOSS_CLI_TRAIN_ARGS_H

#include "cli/dump_args.h"
#include "cli/train_penalty.h"

typedef struct train_opts {
	dump_args dump;
	dump_split_args split;
	const char *out, *preset, *arch, *normalize, *init_bias, *init_rows, *shuffle, *log, *kernels,
	        *screening, *moments, *time_limit;
	const char *schedule, *warmup_shape, *cooldown_shape, *k_shape, *optimizer;
	const char *groups, *prefix_loss, *prefix_weights;
	const char *similarity, *combine, *code_norm, *code_update, *code_start;
	uint32_t parts, archetypal;
	uint64_t replace_every;
	double code_decay, replace_noise, residual, archetypal_delta;
	bool repeats;
	option_list sweep; /* "KEY=V,V" each */
	uint32_t features, k, batch, k_start, random_prefixes;
	uint64_t resample, cooldown, sparsity_warmup, k_anneal;
	double encoder_norm, warmup_from, lr_floor, lr_constant, k_power, weight_decay, momentum, clip,
	        average;
	uint64_t steps, warmup, dead_tokens, seed, order_seed, log_every;
	uint64_t checkpoint_every, eval_every, patience, memory_limit;
	double lr, decay, auxk_alpha, beta1, beta2, eps, checkpoint_minutes;
	train_penalty_args penalty;
	bool skip, force, resume, extend, prefix_bias, warmup_late;
} train_opts;

#define TRAIN_SAES_MAX   256
#define TRAIN_NAME_MAX   128
#define TRAIN_SWEEP_KEYS 6

/* The options of each SAE of a sweep: the product of all lists, the first one changing slowest. */
typedef struct train_sweep {
	size_t n;
	train_opts *opts;               /* (n) */
	char *values[TRAIN_SWEEP_KEYS]; /* given; texts among the options point into them */
	char (*names)
	        [TRAIN_NAME_MAX]; /* (n) of the values that vary: "k16-seed1"; "" where nothing is swept */
} train_sweep;                    /* start with {0} */

/* From o->sweep, whose keys count as given from then on; without any, the one SAE of `o`. ERR_ARG: an unknown key, a value out of range (the option's own), a value
 * or key given twice, an option that is also given by itself, more than TRAIN_SAES_MAX SAEs, or only one. */
int train_sweep_make(train_sweep *s, const command *self, cli_parsed *p, const train_opts *o,
                     error *err) MUST_USE;
void train_sweep_clear(train_sweep *s);
/* In the options as JSON, null for what is swept. */
int train_sweep_hide(cJSON *options, const train_opts *o, error *err) MUST_USE;

/* ERR_ARG: an option was given that belongs to other architectures, schedules or optimisers than those of the SAEs, or needs
 * another option that was not given; names both.
 * The table of them is in train_belongs.c. */
int train_check_belongs(const command *self, const cli_parsed *p, const train_opts *o, error *err) MUST_USE;
/* The options as the trainer takes them, not yet planned; tokens: to train on, 0: not given. */
sae_train_opts train_plan_of(const train_opts *o, const cli_parsed *p, uint64_t tokens);

/* "256,256,512", shares of the features or weights, of this option; ERR_ARG: no such list, or over SAE_PREFIXES. Sums are checked elsewhere. */
int train_parse_groups(double out[SAE_PREFIXES], uint32_t *n, const char *name, const char *given,
                       error *err) MUST_USE;

/* "90s", "30m", "4h", "2d" or a plain number of seconds. ERR_ARG names --time-limit and the value. */
int train_parse_time(double *seconds, const char *given, error *err) MUST_USE;

#endif
