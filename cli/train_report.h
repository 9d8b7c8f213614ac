/* What is told of an SAE that was trained: what goes into its cfg.json, JSON and text on stdout. */
#ifndef GLOSS_CLI_TRAIN_REPORT_H
#define GLOSS_CLI_TRAIN_REPORT_H

#include "cli/train_args.h"

typedef struct train_report {
	const command *self;
	const train_opts *opts;
	const char *name, *dir, *kernels; /* name: "" for the only SAE of a run */
	const dump_input *in;
	const sae_train_opts *plan;
	const char *screening; /* what it really does */
	sae_train_step last;
	const char *end; /* "finished", "stopped early", "saved", or why it was lost */
	const sae_train_forecast *memory;
	uint64_t memory_limit;       /* bytes */
	uint64_t resumed_at;         /* step of the checkpoint that it went on from; 0: none */
	const sae_metrics *held_out; /* of all rows held out; NULL: none */
	const char *weights_sha256;  /* "": not saved */
} train_report;

/* What the program chose where the options leave it to it. NULL: no memory. */
cJSON *train_plan_json(const sae_train_opts *t);
/* {"gamma", "tokens", "dead"}: how many features are dead at the start, foretold for so many tokens; dead is null where nothing is. NULL:
 * no memory. */
cJSON *train_dead_json(const sae_train_opts *t, const sae_rows *rows);
/* cfg.json's metadata; NULL: no memory. */
cJSON *train_report_metadata(const train_report *r);
/* What --json prints, of one SAE or of a sweep into `dir`; NULL: no memory. picture: its path, "": none. */
cJSON *train_report_json(const train_report *r);
cJSON *train_reports_json(const train_report *r, size_t n, const char *dir, const char *picture);
void train_report_print(const train_report *r);
/* A line an SAE; ERR_NOMEM. */
int train_reports_print(const train_report *r, size_t n, const char *picture, error *err) MUST_USE;

#endif
