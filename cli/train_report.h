/* What a training run tells: its log, what goes into cfg.json, its summary. */
#ifndef GLOSS_CLI_TRAIN_REPORT_H
#define GLOSS_CLI_TRAIN_REPORT_H

#include "cli/dump_args.h"

/* The metrics log: one JSON object a line. A log that cannot be written does not end the run. */
typedef struct train_log {
	const char *path;
	FILE *file;     /* opened at the first line */
	int cause;      /* errno of the first failure; 0: none */
	uint64_t every; /* steps a line */
} train_log;

/* A line for the step, if it is the first, the last or due. */
void train_log_step(train_log *l, const sae_train_step *s);
/* The same whether it is due or not: for the last step of a run that was stopped. */
void train_log_force(train_log *l, const sae_train_step *s);
void train_log_held_out(train_log *l, const sae_metrics *m);
void train_log_close(train_log *l);

typedef struct train_report {
	const command *self;
	const void *opts; /* of the command, for the record */
	const char *dir, *kernels;
	const dump_input *in;
	const sae_train_opts *plan;
	const dump_split_args *split;
	sae_train_step last;
	bool finished;
	const sae_metrics *held_out; /* NULL: none */
	char weights_sha256[SHA256_HEX];
} train_report;

/* cfg.json's metadata; NULL: no memory. */
cJSON *train_report_metadata(const train_report *r);
/* What --json prints; NULL: no memory. */
cJSON *train_report_json(const train_report *r);
void train_report_print(const train_report *r);

#endif
