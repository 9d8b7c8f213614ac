/* What gloss inspect finds in a dump (cmd_inspect.c) and prints (inspect_print.c); in the folder of an SAE (inspect_sae.c); in tensor files
 * (inspect_tensors.c). */
#ifndef GLOSS_CLI_INSPECT_H
#define GLOSS_CLI_INSPECT_H

#include "cli/dump_args.h"

enum {
	INSPECT_LOOK_MAX = 65536 /* left-out rows that are read again */,
	INSPECT_FIRST = 40 /* tokens shown */,
	INSPECT_TOP = 3
};

typedef struct inspect_opts {
	dump_args dump;
	dump_split_args split;
	const char *tokenizer;
	uint32_t features, k, batch;
	bool tensors;
} inspect_opts;

typedef struct inspect_place {
	uint32_t position, rows;
} inspect_place;

typedef struct inspect_report {
	dump_input in;
	sae_tokenizer *tokenizer; /* NULL: not given */
	/* Of the first n_looked_at rows that were left out. */
	uint64_t n_looked_at;
	uint64_t first_nan;                     /* row; UINT64_MAX: none */
	inspect_place top[INSPECT_TOP];         /* the positions with most outliers, most first */
	uint32_t n_top, n_positions;            /* those listed; positions with outliers in all */
	uint32_t max_id;                        /* highest token id */
	uint32_t first[INSPECT_FIRST], n_first; /* the first context's first tokens */
	text sample;                            /* the same as bytes */
	uint64_t joined_contexts, joined_groups, largest_group;
	/* Forecast of a training run. */
	uint32_t features, k, batch;
	double weight_bytes, optimiser_bytes, batch_bytes;
	uint64_t steps; /* in one pass over the training rows */
} inspect_report;

int inspect_print(const inspect_report *r, error *err) MUST_USE; /* as text on stdout */
cJSON *inspect_json(const inspect_report *r) MUST_USE;           /* NULL: no memory */

/* Print what the SAE at `path` is; returns EXIT_. */
int inspect_sae(const command *self, const cli_parsed *p, const char *path);

/* Print the tensors of the files that are the arguments, with the values of small ones; returns EXIT_. */
int inspect_tensors(const command *self, const cli_parsed *p);
/* A .npz or .pt that holds no tensor 'activations' and no lone one: a dump only where --key says so. */
bool inspect_is_archive(const char *path);

#endif
