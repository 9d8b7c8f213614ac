/* Kinds of members of a run: what the loop (train*.c) asks of a step, whatever it fits. fitter.c has the table of kinds by architecture.
 * A kind's weights are those of scaled rows (input_scale x); scale and unscaling are the loop's. F features, d_in and d_out the widths
 * of a row and of its target, which is the row itself but for transcoders. */
#ifndef GLOSS_SAE_FITTER_H
#define GLOSS_SAE_FITTER_H

#include "sae/checkpoint.h"

/* What changes from step to step by the schedules. */
typedef struct fitter_now {
	uint64_t step; /* from 1 */
	double lr;
	double sparsity; /* of the penalty's coefficient, 0..1 */
	double k;        /* features kept a row */
	bool resample;   /* dead features begin anew after the step */
} fitter_now;

typedef struct step_result {
	double fvu,
	        auxk; /* of the batch; auxk without its coefficient. A NaN or infinite fvu: nothing was updated */
	double multi;        /* Multi-TopK: FVU of 4 k values */
	uint32_t n_prefixes; /* Matryoshka: */
	uint32_t prefix_ends[SAE_PREFIXES];
	double prefix_fvu[SAE_PREFIXES];
	uint32_t n_inputs; /* of a crosscoder, else 0: */
	double input_fvu[SAE_PARTS_MAX];
	double squared_error; /* mean over rows of |e|^2, scaled units */
	double coef;          /* of the sparsity penalty, as it was in force, if there is one */
	double l0, grad_norm; /* grad_norm: of what the optimiser is given; NaN: not computed */
	uint64_t n_dead, n_resampled;
	bool dense;     /* of a kind that has both: the step went by dense tiles, not by lists */
	bool no_memory; /* there were too many candidates or codes: fvu is NaN, nothing was updated */
} step_result;

/* Rows at the beginning of the order, scaled: a random sample of those to train on. */
typedef struct fitter_sample {
	const double *mean_x, *mean_y; /* (d_in), (d_out): over 65,536 rows, or all */
	const float *x,
	        *y; /* (n, d_in), (n, d_out): the first of them; y is x where rows are their own targets */
	size_t n;   /* as many as the kind's sample_rows() asked for, or all there are */
} fitter_sample;

/* All that changes in a step and is large: for checkpoints both ways, for finding numbers that are not finite, and for the forecast. */
typedef struct fitter_array {
	checkpoint_array a; /* a.name: literal, under FITTER_NAME bytes, unique in its member */
	bool weight;        /* a parameter (F32), else moments, counters, what is guessed */
} fitter_array;
enum { FITTER_ARRAYS = 64, FITTER_NAME = 32 };
typedef struct fitter_arrays {
	fitter_array items[FITTER_ARRAYS];
	size_t n;
} fitter_arrays;
void fitter_add(fitter_arrays *list, const char *name, sae_dtype dtype, size_t n, void *data);
void fitter_add_weight(fitter_arrays *list, const char *name, size_t n, float *data);

/* Memory that only steps need: for a kind's spare(), which adds it up and gives its pages back if asked (mem_forget()). */
typedef struct fitter_part {
	void *data; /* may be NULL */
	size_t bytes;
} fitter_part;
uint64_t fitter_spare(const fitter_part *parts, size_t n, bool forget);

/* Where b_dec (d_out) starts: at the mean of the target rows, 0, or the geometric median of a sample's first FITTER_MEDIAN_ROWS. */
int fitter_start_bias(float *b_dec, sae_bias bias, const fitter_sample *s, size_t d_out, pool *p,
                      error *err) MUST_USE;
#define FITTER_MEDIAN_ROWS 32768 /* OpenAI's */

/* Sum over `rows` rows (d) of the squared distance from their mean, of their sum (d) and their squares: what an FVU is of. 0 where they are
 * the same but for rounding. */
double fitter_scatter(const double *sum, double squares, size_t d, size_t rows);
#define FITTER_LEAST_FVU 1e-9 /* a batch explained better than that is taken as explained so well */

/* Row f (d) of weights at the beginning: a direction by the seed, with this norm. Its values are drawn from [-1, 1) or, `normal`, the
 * normal distribution: the same directions on average, but where a few values of rows are far larger than others, as in residual
 * streams, the features that look along them start otherwise (docs/training.md). */
void fitter_random_row(float *row, size_t d, double length, bool normal, uint64_t seed, size_t f);

typedef struct fitter_bytes {
	uint64_t optimiser; /* moments, and gradients where they are kept */
	uint64_t total;     /* all that the member takes, weights too */
} fitter_bytes;

typedef struct fitter_kind {
	const char *name;
	bool pairs; /* o->transcodes, skip and n_inputs are known to it */
	/* All memory for all steps, weights zero. `o` is checked and planned, and outlives it. */
	int (*make)(void **self, const sae_train_opts *o, uint32_t d_in, uint32_t d_out, pool *p, error *err);
	void (*free)(void *self); /* NULL is fine */
	/* Rows that start() wants to see of the sample beside the means; NULL or 0: none. They are in the forecast. */
	size_t (*sample_rows)(const sae_train_opts *o);
	/* Weights at the beginning, from the seed and a sample. ERR_NOMEM. */
	int (*start)(void *self, uint64_t seed, const fitter_sample *s, error *err);
	/* One step on rows x (n, d_in), n <= batch, multiplied by input_scale first; y (n, d_out), which has its scale already, or NULL: x itself.
	 * Both are overwritten. */
	void (*run)(void *self, float *x, float *y, size_t n, float input_scale, const fitter_now *now,
	            step_result *r);
	void (*state)(void *self,
	              fitter_arrays *list); /* all weights and all else that the next step depends on */
	int (*model)(sae_model **out, const void *self, error *err); /* on scaled rows, its names not set */
	void (*fires)(const void *self, uint64_t *counts); /* (F): adds the firings of the last batch */
	void (*bytes)(const void *self, fitter_bytes *b);
	/* Bytes of what only steps need; forget: and give their pages back (mem_forget()). NULL: none. */
	uint64_t (*spare)(void *self, bool forget);
} fitter_kind;

extern const fitter_kind fitter_sparse; /* step_fitter.c: TopK, BatchTopK, GroupMax, Matryoshka, Multi-TopK */
extern const fitter_kind fitter_codebook, fitter_pursuit; /* codebook_fitter.c, pursuit_fitter.c */

extern const fitter_kind fitter_dense; /* fit_fitter.c: ReLU, p-anneal, Gated, JumpReLU */

/* Whether the options ask for what needs whole gradients (optim.h): another optimiser than Adam, clipping, averaging. */
bool train_keeps_gradients(const sae_train_opts *o);
/* NULL: the architecture is not trained. */
const fitter_kind *fitter_kind_of(const sae_train_opts *o);

#endif
