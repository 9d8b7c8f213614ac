/* A training run from open dump to saved SAEs: steps, log, held-out metrics, checkpoints, stopping. */
#ifndef GLOSS_CLI_TRAIN_RUN_H
#define GLOSS_CLI_TRAIN_RUN_H

#include "cli/train_log.h"
#include "cli/train_report.h"

/* One of the SAEs. */
typedef struct train_sae {
	train_opts o; /* with its own value of what is swept */
	sae_train_opts plan;
	const char *name; /* "" for the only one */
	char dir[FILE_PATH_MAX], log_path[FILE_PATH_MAX];
	bool made; /* the folder was not there before */
	train_log log;
	sae_train_step last;
	sae_member_state state;
	error cause;          /* why it is lost */
	double best;          /* held-out FVU so far; infinity: none */
	uint64_t since_best;  /* evaluations since */
	double sampled;       /* held-out FVU of the last evaluation on the way; NaN: none */
	sae_metrics held_out; /* of the end */
	bool has_held_out;
	const char *end;
	char screening[32]; /* what it really does */
	char weights_sha256[SHA256_HEX];
} train_sae;

typedef struct train_job {
	const command *self;
	cli_parsed *parsed;
	const train_opts *o;
	train_sae *saes;
	size_t n;
	dump_input in;
	sae_rows *sample; /* of the held-out rows, for evaluations on the way; NULL: none */
	cJSON *options;   /* as a checkpoint keeps them */
	sae_saved *saved; /* the checkpoint to go on from; NULL: none */
	uint64_t resumed_at;
	bool extended;
	bool made; /* the output folder was not there before */
	sae_trainer *trainer;
	progress progress;
	double began, time_limit; /* 0: none */
	double saved_at;          /* when the last checkpoint was made */
	uint64_t saved_step;      /* its step; UINT64_MAX: none */
	bool checkpoints;         /* whether any are made */
	sae_train_forecast memory;
	uint64_t memory_limit;
} train_job;

/* ---- The folder and its checkpoint (train_folder.c) ------------------------------------------------------------------- */

/* Make the folders, unless one of them holds a run that must not be written over (ERR_EXISTS), and lock the first; *lock is
 * the caller's to close. ERR_BUSY: another process trains there. */
int train_prepare_output(train_job *j, int *lock, error *err) MUST_USE;
/* Remove the folders that it made, where they are still empty: of a run that never began. */
void train_remove_empty(const train_job *j);
/* With --resume, open the checkpoint if there is one and compare its options: ERR_ARG names what differs. Warns of another
 * CPU, BLAS or version. */
int train_open_saved(train_job *j, error *err) MUST_USE;
/* The folder of the state that is kept from before the infinite schedule's anneal. */
int train_branch_folder(char path[FILE_PATH_MAX], const train_job *j, error *err) MUST_USE;
/* Delete the checkpoint, and that state. */
int train_remove_saved(const train_job *j, error *err) MUST_USE;
/* A run that is over, with nothing asked that it has not done. */
bool train_is_over(const train_job *j);
/* What such a run recorded, for --json: {"dir", "already": true, "saes": [...]}. NULL: no memory. */
cJSON *train_over_json(const train_job *j);
/* Steps in all of a run that goes on, and the phases of an infinite schedule, into the plans: the checkpoint's, or what --extend asks
 * for. An extended run that had begun to anneal goes on from before that. */
int train_extend_plan(train_job *j, bool grown, error *err) MUST_USE;

/* ---- The run (train_run.c) ---------------------------------------------------------------------------------------------- */

/* Train what is planned, from the start or the checkpoint, and save what comes of it. The dump is open, plans are made.
 * grown: the dump has rows that the checkpoint's has not.
 * ERR_STOPPED: saved, not finished. ERR_LIMIT: an SAE was lost. On any other failure too, what is trained is saved. */
int train_run(train_job *j, bool grown, error *err) MUST_USE;
void train_run_report(train_report *r, const train_job *j, const train_sae *s);

/* ---- The picture of a sweep (train_pareto.c) ---------------------------------------------------------------------------- */

/* DIR/pareto.svg: held-out FVU against L0, or that of the last batch where nothing was held out. ERR_NOTFOUND: every SAE
 * is lost. */
int train_pareto(char path[FILE_PATH_MAX], const train_job *j, error *err) MUST_USE;

#endif
