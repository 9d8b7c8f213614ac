/* Labels, scores, jobs and the log of requests: the part of store.h, which includes it, that explain/ writes through. */
#ifndef GLOSS_STORE_WORK_H
#define GLOSS_STORE_WORK_H

#include "store/store.h"

/* ---- Labels, scores, jobs (labels.c, scored.c, golden.c, jobs.c, tasks.c, leases.c, job_pages.c, log.c) ----------------------------------------------------------------------------------------- */

typedef struct store_explanation {
	int64_t id;
	int64_t source_id;
	uint32_t feature;
	const char *text, *short_text, *rule, *method, *model,
	        *prompt_sha256;    /* NULL where not given; text, method required */
	double confidence;         /* NaN: none */
	int64_t task_id;           /* 0: none */
	const char *created;       /* when added: ISO 8601, UTC; NULL: now */
	const char *schema_sha256; /* of the answer's JSON Schema; NULL: none */
	const uint32_t
	        *same_as; /* the feature it was made for, which fires on the same tokens; NULL: this one */
	bool rejected;    /* its task chose another: kept as withdrawn from the start */
} store_explanation;
/* e->id is set, to 0 where its task made the same label before (its replies were read again): that one stays. */
int store_explanation_add(store *s, store_explanation *e, error *err) MUST_USE;
/* The latest label of a feature, and a label by its id. ERR_NOTFOUND. Strings in `mem`. */
int store_explanation_latest(store_explanation *out, store *s, int64_t source, uint32_t feature, arena *mem,
                             error *err) MUST_USE;
int store_explanation_get(store_explanation *out, store *s, int64_t id, arena *mem, error *err) MUST_USE;

typedef struct store_score {
	int64_t explanation_id;
	const char *scorer, *judge, *details, *prompt_sha256, *schema_sha256;
	double value, low, high, baseline; /* NaN: none */
	uint32_t n_positive, n_negative, n_failed;
	int64_t task_id;
	const store_explanation
	        *of; /* in store_task_end(): one of the outcome's, in place of explanation_id; NULL: none */
} store_score;
/* The scorer of what a label was chosen by among several: no score of the label, and apart from these in lists, pages and reports. */
#define STORE_CHOSEN_BY "select"
int store_score_add(store *s, const store_score *sc, error *err) MUST_USE;
/* Whether a label has a score of this scorer by this judge. */
int store_score_exists(bool *out, store *s, int64_t explanation, const char *scorer, const char *judge,
                       error *err) MUST_USE;

/* Scores of the feature itself, whatever its label. Where it has no label, they hang on a row of method "none", withdrawn from the
 * start, so that it never counts as a label. */
#define STORE_UNLABELLED "none"
/* The id of that row; 0: there is none yet. */
int store_unlabelled_get(int64_t *out, store *s, int64_t source, uint32_t feature, error *err) MUST_USE;
/* Whether any label of the feature, or that row, has a score of this scorer by this judge. */
int store_feature_scored(bool *out, store *s, int64_t source, uint32_t feature, const char *scorer,
                         const char *judge, error *err) MUST_USE;

/* A score of a label that counts, with its feature; of each judge and scorer of the label the latest (scored.c). */
typedef struct store_scored {
	int64_t id, explanation_id;
	uint32_t feature;
	double density;
	uint64_t n_fires;
	const char *label, *method, *model; /* model NULL: none; of a feature without a label "" and "none" */
	bool shared; /* the label was made for another feature that fires on the same tokens */
	const char *scorer, *judge, *details, *created;
	double value, low, high, baseline; /* NaN: none */
	uint32_t n_positive, n_negative, n_failed;
} store_scored;
/* Of a source, by feature, scorer, judge: *out (n) malloc'd, strings in `mem`. */
int store_scored_list(store_scored **out, size_t *n, store *s, int64_t source, arena *mem,
                      error *err) MUST_USE;
typedef struct store_scored_counts {
	uint64_t labelled; /* features with a label that counts */
	uint64_t replaced,
	        replaced_features; /* scores of labels that count no more, and features that these are of */
	uint64_t unscored_since;   /* of those features: those that have no other score */
} store_scored_counts;
int store_scored_count(store_scored_counts *out, store *s, int64_t source, error *err) MUST_USE;
/* What a person said of a window of a label (golden.c). */
typedef struct store_golden {
	int64_t explanation_id;
	uint32_t feature; /* its; not needed to put one */
	uint32_t key;     /* of the window */
	const char *scorer, *kind, *windows;
	bool answer; /* the label fits */
} store_golden;
/* In place of what was said of it before. */
int store_golden_put(store *s, const store_golden *g, error *err) MUST_USE;
/* Of labels of a source that count, by feature, scorer, key: *out (n) malloc'd, strings in `mem`. */
int store_golden_list(store_golden **out, size_t *n, store *s, int64_t source, arena *mem,
                      error *err) MUST_USE;
/* What the jobs of a source took, by job: *out (n) malloc'd, strings in `mem`. */
typedef struct store_job_cost {
	int64_t job;
	const char *kind, *scorer, *model, *state;                     /* scorer NULL: it labels */
	uint64_t done, failed, skipped;                                /* tasks, which are features */
	uint64_t requests, input_tokens, cached_tokens, output_tokens; /* of its answers, whoever paid */
	double cost;                                                   /* NaN: no price */
} store_job_cost;
int store_job_costs(store_job_cost **out, size_t *n, store *s, int64_t source, arena *mem,
                    error *err) MUST_USE;

/* Features of a source by "all", a list "1,5,10-20,@NAME" (@: a list of the user's, else a file of numbers and ranges), and/or a where expression: ids ascending,
 * malloc'd. */
int store_feature_ids(uint32_t **out, size_t *n, store *s, const char *source, const char *list,
                      const char *where, error *err) MUST_USE;

/* same (n_features): for each the lowest feature that fires on the same tokens of the random contexts and as often in all, mostly
 * itself. */
int store_feature_twins(uint32_t *same, store *s, int64_t source, uint32_t n_features, error *err) MUST_USE;

typedef struct store_task {
	int64_t id, job_id, explanation_id; /* explanation_id 0: none */
	uint32_t feature;
	unsigned attempts;
	const char *twins; /* JSON list of features that share its label; NULL: none */
} store_task;
typedef struct store_job {
	int64_t id, source_id;
	const char *uid, *kind, *settings, *options, *endpoint, *model; /* endpoint, model NULL: lexical */
	const char *state, *error, *source;                             /* what is not told when one starts */
} store_job;
/* A job with one waiting task for each of n, in one transaction. The same kind, source and settings as an unfinished job that was
 * not cancelled: that one is taken up again instead (*resumed): its failed tasks are waiting again, and so are its running ones
 * whose holder is gone (dead, of another boot, or on another machine and without a heartbeat for two minutes). */
int store_job_start(int64_t *job, bool *resumed, store *s, const store_job *j, const store_task *tasks,
                    size_t n, error *err) MUST_USE;
/* Strings in `mem`. ERR_NOTFOUND, as in all below. */
int store_job_get(store_job *out, store *s, int64_t job, arena *mem, error *err) MUST_USE;
/* Take it up again: what waits, and what those that are gone left; failed tasks stay so. options: NULL: as they are. */
int store_job_resume(store *s, int64_t job, const char *options, error *err) MUST_USE;
/* Its workers stop at the next task they ask for. ERR_EXISTS: it is done. */
int store_job_cancel(store *s, int64_t job, error *err) MUST_USE;
/* What waits waits for no time any more. Failed tasks wait again, and if asked for those that the model refused or a filter stopped, or all but the skipped. *n: how
 * many. */
typedef enum store_retry { STORE_RETRY_FAILED, STORE_RETRY_REFUSED, STORE_RETRY_ALL } store_retry;
int store_job_retry(uint64_t *n, store *s, int64_t job, store_retry which, error *err) MUST_USE;
int store_job_set_capabilities(store *s, int64_t job, const char *json, error *err) MUST_USE;
/* "{}" before they were set; in `mem`. */
int store_job_capabilities(const char **json, store *s, int64_t job, arena *mem, error *err) MUST_USE;

/* This process works on the job, and lives: to be called again every 30 seconds or so. */
int store_worker_beat(store *s, int64_t job, error *err) MUST_USE;
int store_worker_end(store *s, error *err) MUST_USE;

/* Lease at most `most` waiting tasks by id; 0 with *n == 0 when none is left to take now. ERR_STOPPED: the job was cancelled.
 * Strings in `mem`. */
int store_task_take(store_task *out, size_t *n, size_t most, store *s, int64_t job, arena *mem,
                    error *err) MUST_USE;
typedef struct store_left {
	uint64_t waiting, running;
	int64_t not_before; /* of the first that waits: unix seconds; 0: at once */
	int64_t held; /* the latest of all, those that others run too: until then the endpoint wants to be left alone; 0: none */
} store_left;
int store_task_left(store_left *out, store *s, int64_t job, error *err) MUST_USE;
/* The tasks that this process runs are not to be taken up before, by whoever finds them if it dies. */
int store_task_hold(store *s, int64_t job, int64_t not_before, error *err) MUST_USE;
/* All of a job, by id; *out malloc'd. */
int store_task_list(store_task **out, size_t *n, store *s, int64_t job, arena *mem, error *err) MUST_USE;

typedef enum store_task_state {
	STORE_TASK_DONE,
	STORE_TASK_FAILED,
	STORE_TASK_SKIPPED,
	STORE_TASK_WAITING,
	STORE_TASK_REFUSED, /* by the model */
	STORE_TASK_FILTERED /* by the provider's content filter */
} store_task_state;
const char *store_task_state_name(store_task_state state);
/* What came of a task. */
typedef struct store_task_requests {
	unsigned seq;
	const char *key, *example_ids;
} store_task_requests;
typedef struct store_outcome {
	store_task_state state;
	const char *why;
	uint64_t input_tokens, cached_tokens, output_tokens;
	double cost;        /* NaN: not known */
	int64_t not_before; /* of one that waits: unix seconds; 0: at once */
	bool again; /* whatever its state, and whoever runs it: an outcome in place of an earlier one */
	const store_task_requests *requests;
	size_t n_requests;
	store_explanation *explanations; /* their ids are set */
	size_t n_explanations;
	const store_score *scores;
	size_t n_scores;
} store_outcome;
/* Record it, with what the task produced, in one transaction. ERR_BUSY: this process does not run the task any more; nothing
 * is recorded. */
int store_task_end(store *s, const store_task *t, const store_outcome *o, error *err) MUST_USE;
int store_task_request(store *s, int64_t task, unsigned seq, const char *key, const char *example_ids,
                       error *err) MUST_USE;
int store_job_end(store *s, int64_t job, const char *state, const char *why, error *err) MUST_USE;
/* {"job":..,"waiting":n,"running":n,"done":n,"failed":n,"skipped":n,"refused":n,"filtered":n,"input_tokens":..,
 * "cached_tokens":..,"output_tokens":..,"cost":..} */
int store_job_counts(cJSON **out, store *s, int64_t job, error *err) MUST_USE;

/* A template or schema, kept under its hash. */
int store_prompt_add(store *s, const char *text, error *err) MUST_USE;
/* ERR_NOTFOUND. In `mem`. */
int store_prompt_get(const char **text, store *s, const char *sha256, arena *mem, error *err) MUST_USE;

/* {"jobs":[{"id","kind","source","method","model","endpoint","state","error","created","finished","tasks","done","waiting",
 * "running","failed","skipped","refused","filtered","input_tokens","output_tokens","cost","workers"}]}, the newest first. */
int store_jobs_page(cJSON **out, store *s, error *err) MUST_USE;
/* One of them with "settings","options","capabilities","reasons":[{"state","error","tasks","feature"}] (the feature is one
 * of them),"at_work":[{"pid","since","heartbeat","tasks"}]. */
int store_job_page(cJSON **out, store *s, int64_t job, error *err) MUST_USE;

/* The request log: STORE.requests beside the store, an SQLite file of its own. */
typedef struct store_log store_log;
int store_log_open(store_log **out, const char *store_path, error *err) MUST_USE;
void store_log_close(store_log *l);
/* *reply malloc'd, or NULL when the key is not there. */
int store_log_get(store_log *l, const char *key, char **reply, error *err) MUST_USE;
typedef struct store_usage {
	uint64_t input_tokens, cached_tokens, output_tokens; /* cached: of the input */
	double cost;                                         /* NaN: no price */
} store_usage;
typedef struct store_reply {
	const char *endpoint, *model, *body, *reply;
	int status;
	double seconds;
	const char *job,
	        *stage; /* who asked: store_job.uid and the kind of question; NULL: nobody in particular */
	store_usage usage;
} store_reply;
/* Keep a reply, synced to the disk; its claim, where there is one, is over and paid. */
int store_log_put(store_log *l, const char *key, const store_reply *r, error *err) MUST_USE;

/* Before a request is sent it is claimed: by one process at a time, and with the most that it can cost, which counts as spent until
 * its reply is in. */
typedef struct store_budget {
	double max_cost; /* 0: no limit, as below */
	uint64_t max_requests, max_tokens;
} store_budget;
typedef struct store_reserve {
	const char *job, *stage;
	uint64_t tokens;   /* input and reply, at most */
	double cost;       /* at most */
	double seconds;    /* until it is answered or given up */
	const char *batch; /* "batch ID": a provider holds it, not this process; NULL: this process */
	const store_budget *budget; /* of the job; NULL: none */
} store_reserve;
typedef enum store_claim {
	STORE_CLAIMED,
	STORE_CLAIM_HELD,     /* by another, or the budget is: ask again soon */
	STORE_CLAIM_ANSWERED, /* the log has the reply by now */
	STORE_CLAIM_OVER /* a limit of the budget would be passed: *err says which (ERR_STOPPED), 0 is returned */
} store_claim;
int store_log_claim(store_claim *out, store_log *l, const char *key, const store_reserve *r,
                    error *err) MUST_USE;
/* It was sent, and no reply is kept. */
typedef enum store_sent {
	STORE_SENT_ERROR,   /* answered with an error, or never there */
	STORE_SENT_LIMITED, /* answered 429 */
	STORE_SENT_LOST     /* perhaps paid all the same: a time-out, a broken connection */
} store_sent;
int store_log_release(store_log *l, const char *key, store_sent how, error *err) MUST_USE;

/* What is put, claimed and released between these two is written by one transaction: all or nothing. quick: it need not be synced
 * (claims); replies must be. */
int store_log_group(store_log *l, bool quick, error *err) MUST_USE;
int store_log_group_end(store_log *l, bool quick, error *err) MUST_USE;

/* Batches that a provider works on. Before it is told, a batch has a name of ours ("new-..."); its requests are claimed with
 * store_reserve.batch. Items stay until it is finished, which lets go of claims that no reply came to. */
int store_log_batch_begin(store_log *l, const char *id, const char *endpoint, const char *job,
                          const char *stage, error *err) MUST_USE;
int store_log_batch_item(store_log *l, const char *id, const char *key, error *err) MUST_USE;
int store_log_batch_rename(store_log *l, const char *id, const char *to, error *err) MUST_USE;
/* Unfinished ones of a job; in `mem`. */
int store_log_batch_open(char ***ids, size_t *n, store_log *l, const char *endpoint, const char *job,
                         arena *mem, error *err) MUST_USE;
/* Whether the request is in an unfinished one. */
int store_log_batch_holds(bool *holds, store_log *l, const char *key, error *err) MUST_USE;
/* lost: what it did not answer was perhaps paid all the same. */
int store_log_batch_finish(store_log *l, const char *id, bool lost, error *err) MUST_USE;

/* {"stages":[{"stage","requests","replies","input_tokens","cached_tokens","output_tokens","cost","lost_requests",
 * "lost_tokens","lost_cost","in_flight","reserved_cost","limited_requests"}],"cost":all that counts as spent} */
int store_log_cost(cJSON **out, store_log *l, const char *job, error *err) MUST_USE;
typedef struct store_exchange {
	const char *body, *reply, *created; /* body NULL: not there */
	double seconds;
} store_exchange;
/* Strings in `mem`. */
int store_log_exchange(store_exchange *out, store_log *l, const char *key, arena *mem, error *err) MUST_USE;
/* A line of JSON a task into a new file: {"task","feature","same_for","state","attempts","error","input_tokens","cached_tokens",
 * "output_tokens","cost","labels":[...],"scores":[...],"requests":[{"key","windows","body","reply"}]}; what the log lacks
 * is null. */
int store_job_export(uint64_t *tasks, store *s, store_log *l, int64_t job, const char *path,
                     error *err) MUST_USE;
typedef struct store_gc {
	uint64_t dropped, bytes, kept; /* replies */
} store_gc;
/* Drop replies that no task of the store names and that are older than so many seconds; those that tell what a server accepts
 * stay. */
int store_log_gc(store_gc *out, store_log *l, store *s, int64_t older_than, bool dry_run,
                 error *err) MUST_USE;

#endif
