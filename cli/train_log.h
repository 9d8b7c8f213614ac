/* The metrics log of one SAE in training: one JSON object a line. A log that cannot be written does not end the run. */
#ifndef GLOSS_CLI_TRAIN_LOG_H
#define GLOSS_CLI_TRAIN_LOG_H

#include "cli/cli.h"
#include "sae/sae.h"

typedef struct train_log {
	const char *path;
	FILE *file;     /* opened at the first line */
	bool append;    /* go on with what is there */
	int cause;      /* errno of the first failure; 0: none */
	uint64_t every; /* steps a line */
} train_log;

/* Take away what a resumed run will write again: lines of steps after `step`, how it ended, and a last line that was cut
 * off. No log there is fine. */
int train_log_cut(const char *path, uint64_t step, error *err) MUST_USE;

/* The first line: what the run is started with. Takes options, plan and train_dead_json(), which may be NULL where there is no memory. */
void train_log_begin(train_log *l, const char *kernels, const char *screening, cJSON *options, cJSON *plan,
                     cJSON *dead);
/* A line for the step, if it is the first, the last or due. */
void train_log_step(train_log *l, const sae_train_step *s);
/* The same where it is not due: for the last step of a run that was stopped. A resumed run drops the line. */
void train_log_stopped_at(train_log *l, const sae_train_step *s);
/* An evaluation on the way. */
void train_log_held_out(train_log *l, uint64_t step, const sae_metrics *m);
void train_log_warning(train_log *l, uint64_t step, const char *message);
/* The last line: "finished", "saved", "stopped early" or why it was lost; and the metrics of all rows held out, or NULL. */
void train_log_end(train_log *l, uint64_t step, const char *how, const sae_metrics *held_out);
void train_log_close(train_log *l);

/* {"step": ...}, {"rows": ...}: also part of what --json prints. NULL: no memory. */
cJSON *train_step_json(const sae_train_step *s);
cJSON *train_held_out_json(const sae_metrics *m);

#endif
