/* What every command that reads a dump shares: the options, and opening the dump by them.
 *
 *	typedef struct eval_opts {
 *		dump_args dump;
 *		dump_split_args split;   (only where rows are held out)
 *	} eval_opts;
 *	static const option options[] = {
 *		DUMP_ARGS_OPTIONS(eval_opts, dump),
 *		DUMP_SPLIT_OPTIONS(eval_opts, split),
 *	};
 *	...
 *	rc = dump_input_open(&in, &p, p.args, p.n_args, &o.dump, norm_limit_of_the_sae_or_0, false, &err);
 *	if (rc == 0)
 *		rc = dump_input_split(&in, &o.split, &err);
 *	... in.dump, in.rows, in.pool ...
 *	dump_input_close(&in);
 *
 * The macros give --key --tokens --dtype --d-in --head --manifest --ctx-len --mask --lengths --roles --cross --cross-key --max-norm-ratio --exclude-tokens --exclude-positions --nan
 * --threads, and --holdout --split --split-seed. The split has a seed of its own so that SAEs of other seeds are compared
 * on the same held-out rows; train and eval agree by default. */
#ifndef GLOSS_CLI_DUMP_ARGS_H
#define GLOSS_CLI_DUMP_ARGS_H

#include "cli/cli.h"
#include "sae/sae.h"

typedef struct dump_args {
	const char *key, *tokens, *dtype, *head, *manifest, *mask, *lengths; /* NULL: not given */
	uint32_t ctx_len, d_in;                                              /* 0: not given */
	double max_norm_ratio;
	option_list roles;                             /* "user,assistant" each */
	option_list exclude_tokens, exclude_positions; /* "1,2,3" each */
	const char *nan;                               /* "skip" or "fail" */
	option_list cross,
	        cross_key; /* further dumps, put beside the first (sae_dump_add()), and their tensors */
	/* The command's to set: a target dump and its tensor (NULL: none), and sae_rows_opts.more_limits. */
	const char *target, *target_key;
	const double *more_limits;
	size_t n_more_limits;
	uint32_t threads; /* 0: all CPUs */
} dump_args;

#define DUMP_ARGS_OPTIONS(st, dump)                                                                          \
	DUMP_ARGS_OPTIONS_TOKENS(st, dump, "PATH",                                                           \
	                         "file, folder or pattern with the token ids, where the shards have none")
/* The same where --tokens says more than that. */
#define DUMP_ARGS_OPTIONS_TOKENS(st, dump, tokens_value, tokens_help)                                        \
	OPTION(st, dump.key, "key", 0, OPTION_STRING, "NAME", NULL, 0, 0,                                    \
	       "tensor with the activations, if not 'activations'"),                                         \
	        OPTION(st, dump.tokens, "tokens", 0, OPTION_STRING, tokens_value, NULL, 0, 0, tokens_help),  \
	        OPTION(st, dump.dtype, "dtype", 0, OPTION_ENUM, "bf16|f16|f32|f64", NULL, 0, 0,              \
	               "of the numbers in raw files; bf16 also where BF16 is kept as 2-byte integers"),      \
	        OPTION(st, dump.d_in, "d-in", 0, OPTION_U32, "N", NULL, 1, 2147483647.0,                     \
	               "values in a row of raw files (.bin, .memmap) without a side file"),                  \
	        OPTION(st, dump.head, "head", 0, OPTION_STRING, "H", NULL, 0, 0,                             \
	               "only attention head H, from 0; H/N where rows hold N heads side by side"),           \
	        OPTION(st, dump.manifest, "manifest", 0, OPTION_STRING, "FILE", NULL, 0, 0,                  \
	               "the dump's manifest, if not dump.json beside the first shard"),                      \
	        OPTION(st, dump.ctx_len, "ctx-len", 0, OPTION_U32, "N", NULL, 1, 4294967295.0,               \
	               "tokens in a context, where the files do not tell"),                                  \
	        OPTION(st, dump.mask, "mask", 0, OPTION_STRING, "PATH", NULL, 0, 0,                          \
	               "files with 1 for a real token and 0 for padding, where the shards have no mask"),    \
	        OPTION(st, dump.lengths, "lengths", 0, OPTION_STRING, "PATH", NULL, 0, 0,                    \
	               "files with the tokens of each context, where they differ and the shards do not "     \
	               "say"),                                                                               \
	        OPTION(st, dump.roles, "roles", 0, OPTION_LIST, "ROLES", NULL, 0, 0,                         \
	               "leave out the rows of other roles than these, as user,assistant"),                   \
	        OPTION(st, dump.cross, "cross", 0, OPTION_LIST, "DUMP", NULL, 0, 0,                          \
	               "another dump of the same tokens, whose rows are put behind the dump's, for a "       \
	               "crosscoder; may be repeated"),                                                       \
	        OPTION(st, dump.cross_key, "cross-key", 0, OPTION_LIST, "NAME", NULL, 0, 0,                  \
	               "tensor of that dump, if not the one of --key; without --cross, another tensor of "   \
	               "the dump's own files"),                                                              \
	        OPTION(st, dump.max_norm_ratio, "max-norm-ratio", 0, OPTION_DOUBLE, "X", "10", 0, 1e30,      \
	               "leave out rows with a norm over X times the median; 0 keeps all"),                   \
	        OPTION(st, dump.exclude_tokens, "exclude-tokens", 0, OPTION_LIST, "IDS", NULL, 0, 0,         \
	               "leave out the rows of these token ids, as 0,2,7"),                                   \
	        OPTION(st, dump.exclude_positions, "exclude-positions", 0, OPTION_LIST, "LIST", NULL, 0, 0,  \
	               "leave out the rows at these positions of their context, as 0,1"),                    \
	        OPTION(st, dump.nan, "nan", 0, OPTION_ENUM, "skip|fail", "skip", 0, 0,                       \
	               "leave out rows with NaN or infinity, or stop at the first"),                         \
	        OPTION(st, dump.threads, "threads", 't', OPTION_U32, "N", NULL, 1, 4096,                     \
	               "threads; if not given, the CPUs this process may use")

typedef struct dump_split_args {
	double holdout;
	const char *by; /* "document" or "tail" */
	uint64_t seed;
} dump_split_args;

#define DUMP_SPLIT_OPTIONS(st, split)                                                                        \
	OPTION(st, split.holdout, "holdout", 0, OPTION_DOUBLE, "SHARE", "0.125", 0, 1,                       \
	       "share of the rows that is held out of training"),                                            \
	        OPTION(st, split.by, "split", 0, OPTION_ENUM, "document|tail", "document", 0, 0,             \
	               "hold out whole documents, or the last rows in file order"),                          \
	        OPTION(st, split.seed, "split-seed", 0, OPTION_U64, "N", "0", 0, 0,                          \
	               "which documents are held out")

typedef struct dump_input {
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} dump_input; /* start with {0} */

/* Open the dump at the paths and scan its rows, with a progress line as the common options of `p` want it.
 *   norm_limit  over 0: rows with norm over this are left out (sae_model.norm_limit), whatever --max-norm-ratio says;
 *               infinity keeps all
 *   duplicates  count equal rows
 * The caller ends with dump_input_close() also after a failure. */
int dump_input_open(dump_input *in, const cli_parsed *p, const char *const *paths, size_t n_paths,
                    const dump_args *a, double norm_limit, bool duplicates, error *err) MUST_USE;
/* The norm_limit for dump_input_open() by which rows that the SAE's training left out stay out, unless --max-norm-ratio is given; an
 * SAE that tells none gets the usual one. Those of further dumps go to a->more_limits, which point into the model. */
double dump_limit_of_sae(dump_args *a, const cli_parsed *p, const sae_model *m);
int dump_input_split(dump_input *in, const dump_split_args *a, error *err) MUST_USE;
void dump_input_close(dump_input *in);
/* "1,2" and "3" as {1, 2, 3}: what --exclude-tokens takes. *out: malloc'd. ERR_ARG names the option and the bad part. */
int dump_parse_numbers(uint32_t **out, size_t *n, const option_list *list, const char *name,
                       error *err) MUST_USE;

#endif
