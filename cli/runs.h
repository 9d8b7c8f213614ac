/* Training runs on disk: where they are and what their files say of them. */
#ifndef GLOSS_CLI_RUNS_H
#define GLOSS_CLI_RUNS_H

#include "cli/cli.h"

typedef enum run_state {
	RUN_FINISHED,
	RUN_EARLY,   /* stopped early, by --patience: nothing left to do either */
	RUN_SAVED,   /* stopped with its state saved: --resume goes on */
	RUN_RUNNING, /* its log was written to lately */
	RUN_CUT_OFF, /* neither finished nor saved, and silent */
	RUN_LOST,    /* given up: `why`, from its log */
	RUN_FOREIGN, /* an SAE without a record of how it was trained */
	RUN_BROKEN   /* a file that cannot be read: `why` */
} run_state;

/* Numbers are NaN and strings NULL where nothing tells them. */
typedef struct run_info {
	char *dir, *log; /* log: its path, NULL without one */
	const char *arch;
	double features, k, seed, lr;
	double step, steps; /* done, planned */
	double tokens, fvu, l0, n_dead, tokens_per_s;
	double held_out_fvu, held_out_l0;
	double saved_step;
	bool is_sweep; /* nothing but the checkpoint of the runs in its subfolders */
	run_state state;
	char why[512];
} run_info;

typedef struct run_list {
	run_info *runs; /* (n), by name, numbers in names by their value */
	size_t n, cap;
	arena mem; /* holds the strings */
} run_list;

/* Find the folders that hold a run (cfg.json, train.jsonl or a checkpoint) in `dirs` and up to RUNS_DEPTH levels below,
 * and read what they say; hidden folders and links below `dirs` are passed over. A broken run is in the list too.
 * ERR_NOTFOUND: no such folder, or none of them holds a run. */
enum { RUNS_DEPTH = 4, RUNS_MOST = 100000 };
int run_list_read(run_list *l, const char *const *dirs, size_t n, error *err) MUST_USE;
void run_list_clear(run_list *l);

/* What the folder's own files say; strings are put in `mem`. A file that cannot be read makes it RUN_BROKEN, not an error.
 * ERR_NOTFOUND: it holds no run. */
int run_read(run_info *r, const char *dir, arena *mem, error *err) MUST_USE;

/* "finished", "saved at step 40", "broken: ..." */
void run_state_text(char *out, size_t size, const run_info *r);
const char *run_state_name(run_state s);
/* The log of a folder: DIR/train.jsonl, or what cfg.json names; false: there is none. */
bool run_log_path(char out[FILE_PATH_MAX], const char *dir, const cJSON *config);

#endif
