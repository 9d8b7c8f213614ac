/* The part of sae.h on training. Included by it. */
#ifndef GLOSS_SAE_TRAINING_H
#define GLOSS_SAE_TRAINING_H

#include "sae/sae.h"

/* ---- Training (train*.c, step.c, shuffle.c) --------------------------------------------------------------------------------------- */

/* How pre-activations are screened before exact values are computed (screen.h). */
typedef enum sae_screening {
	SAE_SCREENING_EXACT, /* 8-bit products with a proven bound, where that is faster; the same bits as OFF */
	SAE_SCREENING_STATISTICAL, /* a bound of six standard deviations: may lose a value, once in very many */
	SAE_SCREENING_OFF,         /* FP32 products */
} sae_screening;

typedef enum sae_schedule {                   /* of the learning rate: schedule.h */
	                    SAE_SCHEDULE_WSD, /* warm-up, stable, decay */
	                    SAE_SCHEDULE_CONSTANT,
	                    SAE_SCHEDULE_LINEAR,
	                    SAE_SCHEDULE_COSINE,
	                    SAE_SCHEDULE_INFINITE
} sae_schedule;
typedef enum sae_cooldown { SAE_COOLDOWN_COSINE, SAE_COOLDOWN_LINEAR, SAE_COOLDOWN_ROOT } sae_cooldown;
typedef enum sae_k_shape { SAE_K_LINEAR, SAE_K_EXPONENTIAL, SAE_K_POWER } sae_k_shape;
/* What is done to rows before all else. Folded into the model, but for LAYER and TOKEN, which become its sae_norm. */
typedef enum sae_normalize {
	SAE_NORMALIZE_NONE,
	SAE_NORMALIZE_MEAN_NORM,   /* scaled: their mean norm is sqrt(d), as SAELens */
	SAE_NORMALIZE_MEAN_SQUARE, /* scaled: their mean square is 1, as dictionary_learning */
	SAE_NORMALIZE_LAYER,       /* each by itself: SAE_NORM_LAYER */
	SAE_NORMALIZE_TOKEN,       /* each by itself: SAE_NORM_UNIT */
	SAE_NORMALIZE_WHITEN, /* less their mean, times the root of the inverse of their covariance + 1e-3 */
	SAE_NORMALIZE_CENTER  /* less their mean, then as MEAN_NORM */
} sae_normalize;
typedef enum sae_bias {
	SAE_BIAS_MEAN,
	SAE_BIAS_ZERO,
	SAE_BIAS_MEDIAN /* the geometric median of 32,768 rows */
} sae_bias;
typedef enum sae_optimizer { SAE_ADAM, SAE_ADAMW, SAE_SIGNUM, SAE_MUON } sae_optimizer; /* optim.h */

#define SAE_PREFIXES 32 /* of a Matryoshka SAE, at most */

typedef struct sae_train_step {
	uint64_t step, steps, tokens; /* 1-based; tokens seen */
	double fvu; /* of this batch: sum of squared error / sum of squared distance from the batch mean */
	double mse; /* mean over rows of squared error in raw units */
	double l0, auxk;      /* mean kept values a row; auxiliary loss */
	double lr, grad_norm; /* effective learning rate; NaN where not computed */
	double coef;          /* effective, of the sparsity penalty; NaN where there is none */
	double sparsity, k;   /* effective: share of the penalty's coefficient, k; NaN: they do not change */
	uint64_t n_dead, n_resampled; /* n_resampled: so far */
	/* SAE_MATRYOSHKA: FVU of the first so many features alone */
	uint32_t n_prefixes;
	uint32_t prefix_ends[SAE_PREFIXES];
	double prefix_fvu[SAE_PREFIXES];
	uint32_t n_inputs; /* of a crosscoder, else 0: the FVU of each */
	double input_fvu[SAE_PARTS_MAX];

	/* So far, of steps that went by dense tiles, before few enough features fired; NaN: the architecture has none, or they are not
	 * known */
	double dense_steps, dense_seconds;
	double seconds;      /* since the start, those before a resume counted */
	double step_seconds; /* of them in this SAE's own steps */
} sae_train_step;

typedef enum sae_penalty {
	SAE_PENALTY_DEFAULT, /* step for JumpReLU, lp for p-anneal; of the others there is one */
	SAE_PENALTY_STEP,
	SAE_PENALTY_TANH,
	SAE_PENALTY_QUADRATIC, /* of each row's L0 */
	SAE_PENALTY_QUADRATIC_MEAN,
	SAE_PENALTY_LP,
	SAE_PENALTY_LP_ROOT, /* each row's Lp norm */
} sae_penalty;

/* Of SAE_RELU, SAE_PANNEAL, SAE_GATED and SAE_JUMPRELU. fit.h has the losses, fit_control.h what changes them. */
typedef struct sae_penalty_opts {
	double coef; /* of the penalty; 0: adjusted to target_l0, from 2 row_unit on (JumpReLU: its square) */
	double target_l0; /* coef is where the search for it begins; 0: none, and 32 without a coef. The quadratic penalties' t */
	/* Biases (JumpReLU: thresholds) begin where so many features fire a row; under 0: at 0 (`threshold`); 0: the plan's, twice target_l0 unless `threshold` is given */
	double start_l0;
	sae_penalty kind;
	bool raw_input; /* b_dec is not taken off the rows that are encoded; of a transcoder it never is */
	bool free_decoder; /* its rows keep their norms, and the penalty counts them; else they are held at norm 1 */
	double decoder_norm; /* of decoder rows at the start, held at norm 1 from the second step on if not free; 0: 1 */
	bool plain_loss; /* gradients of the loss itself; else divided by the batch's mean squared error */
	/* JumpReLU */
	double bandwidth,
	        threshold; /* of the estimator; where thresholds begin. 0: the plan's, 0.5 and 0.1 row_unit */
	double threshold_lr; /* thresholds move by that times lr. 0: the plan's, 20 row_unit, of logarithms 20 */
	double tanh_scale; /* 0: the plan's, 4 / row_unit */
	double preact;     /* coefficient of the pre-activation loss; 0: none */
	bool ste_input, log_threshold;
	bool ste_value; /* L0's rectangle is taken at values, 0 where silent (dictionary_learning), not at pre-activations. false */
	bool detach_gate; /* Gated: the second reconstruction's decoder and b_dec are constants */
	/* p-anneal: p is 1 until that share of the steps, then falls after each of nine parts of the rest: at the end it would be p_end */
	double p_end, anneal_from; /* 0.2, 0.5 */
} sae_penalty_opts;

typedef struct sae_train_opts {
	sae_arch arch;  /* SAE_TOPK, _GROUPMAX (F a multiple of k), _BATCHTOPK, _MATRYOSHKA or _MULTITOPK */
	uint32_t d_sae; /* F */
	uint32_t k;
	uint32_t batch;  /* rows a step. 4096 */
	uint64_t steps;  /* 0: from tokens */
	uint64_t tokens; /* 0: one pass over the training rows */
	/* 0: 2e-4 / sqrt(F / 2^14), as sparsify and dictionary_learning; Signum 5e-3 / sqrt(F / 2^14), Muon 2e-3, as sparsify;
	 * SAE_CODEBOOK 3e-3 row_unit */
	double lr;
	double beta1, beta2, eps; /* Adam. 0.9, 0.999, 1e-8 */
	uint64_t warmup;          /* steps of linear warm-up; UINT64_MAX: min(1000, 5 % of the steps) */
	double decay; /* share of the steps, at the end, of wsd's decay or infinite's anneal. 0.2 */
	sae_schedule schedule;
	double warmup_from; /* the warm-up begins at this share of lr. 0 */
	bool warmup_late; /* dictionary_learning: warm-ups, also of the penalty, are a step later, 0 at the first. false */
	bool warmup_cosine; /* it rises as half a cosine, else in a line */
	double lr_floor;    /* share of lr where the schedule ends; under 0: 0, and 0.01 for infinite */
	double lr_constant; /* infinite: share of lr of its constant phase. 0.4 */
	uint64_t cooldown;  /* infinite: step where that begins; UINT64_MAX: 15 % of the steps */
	sae_cooldown cooldown_shape;
	uint64_t anneal_from; /* infinite: the last step of it; UINT64_MAX: by `decay` */
	uint64_t
	        sparsity_warmup; /* steps in which the penalty's coefficient rises in a line; UINT64_MAX: the architecture's */
	uint32_t k_start;  /* k of the first step; 0: k */
	uint64_t k_anneal; /* steps until it is k; UINT64_MAX: half of the steps */
	sae_k_shape k_shape;
	double k_power; /* of SAE_K_POWER. 2 */
	sae_optimizer optimizer;
	double weight_decay; /* AdamW, Muon; under 0: 0.01, 0.1 */
	double momentum;     /* Signum, Muon. 0.95 */
	double clip;         /* of the gradient's global norm; 0: none */
	double average;      /* decay of the running mean of the weights that becomes the model; 0: none */
	sae_penalty_opts penalty;
	double auxk_alpha; /* weight of AuxK; 0: none; under 0: 1/32, with a penalty none */
	/* a feature is dead after this many tokens without firing; 0: min(10 M, 10 % of the run) */
	uint64_t dead_tokens;
	/* SAE_MATRYOSHKA: the loss is the mean, or the sum, of the FVU of prefixes of the features, whose ends are the sums of groups:
	 * shares of the features, which add up to 1, or whole numbers of them, which add up to F. None: 1/16, 1/16, 1/8, 1/4, 1/2. */
	double groups[SAE_PREFIXES];
	uint32_t n_groups;
	/* Instead of groups: so many prefixes, drawn for each step, short ones more often; all features are one. 0: groups */
	uint32_t random_prefixes;
	bool prefix_sum;  /* the sum, not the mean */
	bool prefix_bias; /* with a prefix of no features: b_dec alone */
	/* Of as many groups as there are, over 0: the loss is the sum of each times its FVU. None: sum or mean. */
	double prefix_weights[SAE_PREFIXES];
	uint32_t n_prefix_weights;
	sae_normalize normalize;
	sae_bias bias;       /* where b_dec starts */
	double encoder_norm; /* of encoder rows at the start, in the directions of the decoder's; 0: 0.4 */
	bool normal_rows;    /* their values are drawn from the normal distribution, else uniformly */
	uint64_t
	        resample; /* every so many steps, features that did not fire in half of them begin anew; 0: never */
	uint64_t seed;       /* start of the weights */
	uint64_t order_seed; /* order of the rows */
	bool shuffle_rows;   /* permute single rows instead of blocks of 64 */
	bool skip;           /* a transcoder's output gains W_skip times its input */
	/* What the dump says, filled in by sae_trainer_new(), and by who checks or foretells without it: it has a target (a transcoder); it is so many inputs side by side (a
	 * crosscoder: the decoder row of a feature has a norm for each, the sum of which is 1, so that values compare). */
	bool transcodes;
	uint32_t n_inputs;
	double row_unit; /* mean norm of the rows that are encoded, normalised, over the root of their width: defaults are for 1 */
	const char *kernels; /* "scalar", "avx2", "avx512"; NULL: the best */
	sae_screening screening;
	bool moments8; /* hold Adam's moments of both matrices in 8 bits instead of 32 */
	/* SAE_CODEBOOK (codebook.h): k codes of each of the groups (1) that it has */
	sae_codebook codebook;
	bool code_norm, code_random,
	        code_moving;   /* layer norm first; no start by k-means; by moving means, not gradients */
	double code_decay;     /* what such a mean keeps of itself each step. 0.99 */
	uint64_t code_replace; /* steps; codes not used in them are replaced by rows. 0: never */
	double code_noise;     /* noise on them, of the row's norm. 1e-4 */
	/* SAE_PURSUIT (pursuit_step.h): k steps at most */
	double residual; /* a row is done where its residual's norm, scaled, is under it; 0: never. 0.01 */
	bool repeats;    /* a feature may be chosen again, else that ends the row */
	/* SAE_TOPK, SAE_BATCHTOPK, SAE_GROUPMAX: decoder rows are mixtures of so many points (step_archetypal.h); 0: free */
	uint32_t archetypal;
	double archetypal_delta; /* and as far from them, scaled. Under 0: the plan's, row_unit */
	/* For sae_train(): called every step from the caller's thread; non-zero stops (ERR_STOPPED), what is trained so far is
	 * returned. */
	int (*on_step)(void *payload, const sae_train_step *s);
	void *payload;
} sae_train_opts;

sae_train_opts sae_train_opts_default(void);
/* The kernels that run for the option `kernels` on this CPU; NULL: none of that name, or the CPU cannot. */
const char *sae_kernels_name(const char *kernels);
int sae_train_opts_check(const sae_train_opts *o, uint32_t d_in, uint64_t n_train_rows,
                         error *err) MUST_USE; /* names field, value, range */
/* Whether an architecture has a sparsity penalty, and this one (SAE_PENALTY_DEFAULT: any). */
bool sae_penalty_fits(sae_arch arch, sae_penalty kind);
/* What screening really does with such a plan: "exact (avx512-vnni)", "statistical (avx2)" or "off". */
void sae_train_screening(char *out, size_t size, const sae_train_opts *o, uint32_t d_in);
/* Where prefixes end, rising, the last at F. ERR_ARG names the option. random_prefixes: the first of them are yet to be drawn. */
int sae_train_prefixes(uint32_t ends[SAE_PREFIXES], uint32_t *n, const sae_train_opts *o,
                       error *err) MUST_USE;
/* What the dump says to the options: transcodes, n_inputs, row_unit. */
void sae_train_opts_see(sae_train_opts *o, const sae_dump *d, const sae_rows *rows);
/* Fill in what is left to the program (steps, lr, warmup, dead_tokens, groups, which become numbers of features), as sae_train() does for
 * itself; `tokens` becomes 0. */
void sae_train_plan(sae_train_opts *o, uint64_t n_train_rows);

/* Features that will not fire on `tokens` rows with weights as they begin, foretold from gamma (sae_rows_stats) alone: of random encoder rows
 * the pre-activation on the mean row is as a normal number with gamma times the deviation that one feature's have from row to row, and
 * those far under 0 never reach a row's k-th largest. Gamma counts as 0 where the mean is taken off. Says nothing of what training does
 * (AuxK and the bias wake features, a penalty kills some). o: planned; NaN: nothing is foretold of it. */
double sae_train_foretell_dead(const sae_train_opts *o, double gamma, uint64_t tokens);

/* Fit one SAE to the training rows. The same bits for the same dump, options and CPU kind, whatever the threads.
 *   out   set on success; after at least one step also when stopped (ERR_STOPPED), when the loss of a batch is not finite
 *         (ERR_LIMIT) and when rows cannot be read: the model as it was after the last good step
 *   freq  if not NULL: malloc'd (F), firing frequency over the last min(steps, 100) steps (up to 199 when stopped) */
int sae_train(sae_model **out, double **freq, const sae_dump *d, const sae_rows *rows,
              const sae_train_opts *o, pool *p, error *err) MUST_USE;

/* Several SAEs trained side by side, "members": rows are read and converted once for all, and each member ends with the
 * bits that it would have alone. They share batch, steps, row order, scale and kernels; a run of one is one member. */
typedef struct sae_trainer sae_trainer;

typedef enum sae_member_state {
	SAE_MEMBER_RUNS,
	SAE_MEMBER_ENDED, /* by sae_trainer_end_member() */
	SAE_MEMBER_LOST   /* the loss of a batch was not finite */
} sae_member_state;

/* Check and plan the options of the n members (as sae_train_plan()), and ask for all memory. ERR_ARG names an option out
 * of range or one that must be shared. Dump, rows and pool stay the caller's. */
int sae_trainer_new(sae_trainer **out, const sae_dump *d, const sae_rows *rows, const sae_train_opts *o,
                    size_t n, pool *p, error *err) MUST_USE;
void sae_trainer_free(sae_trainer *t);
/* Scale, b_dec and weights as at the start of a run. */
int sae_trainer_start(sae_trainer *t, error *err) MUST_USE;
/* One step of every member that runs; at least one must. A member whose loss is not finite is lost, its weights stay as
 * they were; when it was the last one, the step does not count. ERR_IO, ERR_FORMAT: rows cannot be read, or a shard has
 * gone or shrunk (looked at once a second); nothing was changed. */
int sae_trainer_step(sae_trainer *t, error *err) MUST_USE;
size_t sae_trainer_running(const sae_trainer *t); /* members that run */
uint64_t sae_trainer_steps(const sae_trainer *t); /* taken */
/* State and last step of a member, and why it is lost; last, cause: may be NULL. */
sae_member_state sae_trainer_member(const sae_trainer *t, size_t member, sae_train_step *last, error *cause);
void sae_trainer_end_member(sae_trainer *t, size_t member); /* takes no more steps */
/* The model of a member as it is now, on raw rows; freq as for sae_train(). ERR_LIMIT: its weights are not finite. */
int sae_trainer_model(sae_model **out, double **freq, const sae_trainer *t, size_t member,
                      error *err) MUST_USE;

/* ---- Checkpoints of a run (train_state.c, checkpoint.c) -------------------------------------------------------------------- */

/* Whether the file system of DIR has room for a checkpoint beside the last one: ERR_LIMIT names what it has and needs. */
int sae_trainer_check_space(const sae_trainer *t, const char *dir, error *err) MUST_USE;
/* All members, whole, in DIR/checkpoint; the checkpoint before stays until this one is on disk. `options` and `notes` are
 * the caller's: what the run was started with, and what it wants back. ERR_LIMIT also when weights are not finite. */
int sae_trainer_save(const sae_trainer *t, const char *dir, const cJSON *options, const cJSON *notes,
                     error *err) MUST_USE;

/* The configuration and the progress of the checkpoint in a run's folder, for a look; the caller frees both with
 * cJSON_Delete(). ERR_NOTFOUND: there is none; ERR_FORMAT: damaged, or written by a newer version. */
int sae_checkpoint_look(cJSON **config, cJSON **done, const char *dir, error *err) MUST_USE;

typedef struct sae_saved sae_saved; /* an open checkpoint of a run */
typedef struct sae_saved_info {
	uint64_t steps_taken, steps;
	size_t n_members, n_running, n_lost;
	uint64_t n_rows;                               /* of the dump */
	double norm_limit, more_limits[SAE_PARTS_MAX]; /* as in sae_rows_stats */
	size_t n_more_limits;
	uint64_t warmup, cooldown, anneal_from; /* of the infinite schedule; anneal_from 0: it has another */
} sae_saved_info;
bool sae_saved_exists(const char *dir);
int sae_saved_remove(const char *dir, error *err) MUST_USE; /* none there is fine */
int sae_saved_open(sae_saved **out, const char *dir, error *err) MUST_USE;
void sae_saved_close(sae_saved *s);
const sae_saved_info *sae_saved_get_info(const sae_saved *s);
const cJSON *sae_saved_notes(const sae_saved *s); /* NULL: none */
/* 0, or ERR_ARG naming what differs: in the caller's options but those in `ignore` (NULL-ended); in CPU, kernels, BLAS and
 * version. */
int sae_saved_compare(const sae_saved *s, const cJSON *options, const char *const *ignore,
                      error *err) MUST_USE;
int sae_saved_compare_machine(const sae_saved *s, const char *kernels, error *err) MUST_USE;
/* ERR_ARG: another dump, or other rows of it are left out or held out. may_grow: a dump whose first rows are the saved
 * one's will do (read again to see that); *grown tells. */
int sae_saved_check_dump(const sae_saved *s, const sae_dump *d, const sae_rows *rows, bool may_grow,
                         bool *grown, pool *p, error *err) MUST_USE;
/* Instead of sae_trainer_start(). The plan must be the saved one, unless it is extended: then members that had ended with
 * the run go on. grown: the pass over the old rows ends, the next pass is over all rows. On failure end the trainer. */
int sae_trainer_restore(sae_trainer *t, sae_saved *s, bool extend, bool grown, error *err) MUST_USE;

/* Memory of a run that no file backs, in bytes, at its highest point. Asked for between sae_trainer_new() and the start, when
 * it is there as address space only: nothing is lost by a run that is then refused. */
typedef struct sae_train_forecast {
	uint64_t now;       /* in use already: program, tables of rows */
	uint64_t weights;   /* of all members */
	uint64_t optimiser; /* moments */
	uint64_t batch;     /* what a step keeps of a batch, sums, a thread's own buffers */
	uint64_t loader;    /* rows read ahead */
	uint64_t
	        model; /* a copy of the weights to measure or to save, and what that takes, as far as it comes on top */
	uint64_t total;
} sae_train_forecast;
/* evaluates: whether models are measured by sae_eval() before the run has ended. */
int sae_trainer_forecast(sae_train_forecast *out, const sae_trainer *t, bool evaluates, error *err) MUST_USE;
/* ERR_LIMIT, with the numbers, when the run needs more than `limit` bytes. */
int sae_train_forecast_check(const sae_train_forecast *f, uint64_t limit, error *err) MUST_USE;
/* "612 MiB: now 5, weights 72, ..." into out. */
void sae_train_forecast_print(char *out, size_t size, const sae_train_forecast *f);
/* No member takes another step or is saved for resuming: what only steps need is given back, models can still be made.
 * sae_trainer_forecast() counts on it before the last models are saved. */
void sae_trainer_finish(sae_trainer *t);

#endif
