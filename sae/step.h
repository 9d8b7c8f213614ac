/* One training step of a sparse autoencoder: sparse but for the encoder's forward product, Adam inside the feature update.
 *
 * Loss, with x a scaled row, e = x - xhat, sums over the batch:
 *   L = FVU + alpha AuxK,   FVU = sum |e|^2 / V,   AuxK = sum |e - ehat|^2 / U,   V = sum |x - mean x|^2,  U = sum |e - mean e|^2
 * ehat = sum over the k_aux largest positive pre-activations of dead features times their decoder rows, without b_dec;
 * k_aux = max(d / 2, 1); e and U are constants in the second term, and a term over 0 is 0. That is the auxiliary loss of
 * OpenAI and dictionary_learning (not scaled by the number of dead features, as SAELens and sparsify do).
 * Multi-TopK (sparsify): L gains FVU4 / 8, the FVU of the 4 k largest positive values of a row instead of k.
 * Matryoshka (Bussmann and others 2025): in place of FVU, the sum, mean or weighted sum of FVU_m over prefixes of the features: the codes are
 * those of BatchTopK over all features, xhat_m has the part of them under m; optionally with the prefix of none, b_dec alone.
 * What Adam is given is the gradient of L divided by the batch's FVU (Matryoshka: by what is in its place): without AuxK the gradient of log FVU. Adam's steps do
 * not depend on a constant factor, but its mean square remembers the first batches, whose errors are several times the later
 * ones', and holds the steps back for a thousand batches; so it is relative errors that are to be alike. (Tools that clip the
 * gradient's norm to 1 at every step get some of that by it. docs/decisions.md has what was measured.) */
#ifndef GLOSS_SAE_STEP_H
#define GLOSS_SAE_STEP_H

#include "sae/adam8.h"
#include "sae/dead.h"
#include "sae/encode_over.h"
#include "sae/fitter.h"
#include "sae/optim.h"
#include "sae/parts.h"
#include "sae/sparse.h"
#include "sae/step_archetypal.h"

#define STEP_TOKENS                                                                                          \
	256 /* rows of a tile: sums over rows run over these in order, so part of the result's last bits */
#define STEP_FEATURES                                                                                        \
	64 /* rows of the weights updated as one task; sums over features run over these blocks in order */

#define STEP_MULTI_TIMES  4
#define STEP_MULTI_WEIGHT 0.125

/* Matryoshka: what is summed over. */
typedef struct step_prefixes {
	uint32_t n;                  /* 0: no Matryoshka */
	uint32_t ends[SAE_PREFIXES]; /* rising; the last is F */
	bool random; /* all but the last are drawn anew each step, from `seed` and the step's number */
	bool sum;    /* of the terms, not their mean */
	bool empty;  /* a term for b_dec alone */
	double weights
	        [SAE_PREFIXES]; /* of the terms, all over 0, in place of sum or mean, without `empty`; 0: none */
	uint64_t seed;
} step_prefixes;

typedef struct step_config {
	uint32_t d, n_features, k, batch;
	uint32_t d_out;  /* of target rows; 0: rows are their own target */
	bool skip;       /* with targets */
	uint32_t blocks; /* equal parts of a row, each with a norm of its own; 0, 1: it is one */
	uint32_t k_most; /* that step_set_k() will ask for; 0: k */
	double beta1, beta2, eps;
	double auxk_alpha;    /* 0: no auxiliary loss */
	uint64_t dead_tokens; /* a feature is dead after this many tokens without firing */
	encode_rule rule;
	step_prefixes prefixes; /* with ENCODE_BATCHTOPK */
	bool multi;             /* Multi-TopK; with ENCODE_TOPK */
	sae_screening screening;
	bool moments8; /* of the matrices in 8 bits; the biases' are FP32 */
	uint32_t
	        archetypal; /* points (step_archetypal.h), without targets, blocks, moments8; 0: decoder rows are free */
	double archetypal_delta;
	bool keeps_gradients; /* all gradients are made first, then `optim` moves the weights; not with archetypal */
	optim_config optim;
	uint64_t resample;   /* steps between step_resample()s; 0: there are none */
	uint64_t seed;       /* of resampling */
	sae_bias bias;       /* where step_fitter.c starts b_dec */
	double encoder_norm; /* of its rows at the start; 0: STEP_ENCODER_NORM */
	bool normal_rows;    /* fitter_random_row() */
	const kernels *k_set;
} step_config;

enum {
	STEP_CENTER,
	STEP_PRODUCT,
	STEP_SELECT,
	STEP_EXACT,
	STEP_DECODE,
	STEP_AUXK,
	STEP_TRANSPOSE,
	STEP_UPDATE,
	STEP_PARTS
};
extern const char *const step_part_names[STEP_PARTS];

/* A matrix or vector with its Adam moments: m and v, or what adam8.h has in their place; the others are NULL. */
typedef struct step_param {
	float *w, *m, *v;
	int8_t *m8;
	uint8_t *v8;
	float *scales; /* (F, ADAM8_SCALES(d)) */
} step_param;

typedef struct step_worker {
	encode_scratch scratch;
	dead_scratch aux_scratch;
	float *row, *grad_enc, *grad_dec; /* (d or d_out, the larger), (d), (d_out) */
	uint32_t *index;                  /* (4 k) Multi-TopK: a row's codes while k of them are chosen */
	float *value;
	double seconds[STEP_PARTS];
} step_worker;

/* Sums of one tile of rows. */
typedef struct step_tile {
	double *sum_x, *sum_e; /* (d_out): of the target and of its error */
	double squares_x, squares_e, squares_aux, squares_multi;
	parts_sums parts;
	double *sum_multi;  /* (d_out) Multi-TopK */
	double *sum_prefix; /* (d_out) Matryoshka: of the errors of all prefixes */
	double squares_prefix[SAE_PREFIXES];
	uint64_t fired;
	size_t over, ties, begin; /* BatchTopK: values kept, and where they go */
} step_tile;

/* Sums of one block of features. */
typedef struct step_block {
	double *b_dec; /* (d): sum over its features of bias gradient times old encoder row */
	double squares;
} step_block;

typedef struct step {
	step_config c;
	step_archetypal *archetypal; /* NULL: none */
	arena mem;
	pool *pool;
	size_t d_out;            /* what rows are decoded to: c.d without targets */
	step_param W_enc, W_dec; /* (F, d), (F, d_out) */
	step_param b_enc, b_dec; /* (F), (d_out) */
	step_param W_skip;       /* (d_out, d), or all NULL */
	uint64_t t;              /* steps taken: Adam's */
	uint64_t *silent;        /* (F) tokens since the feature last fired */
	uint32_t *dead;          /* (F) features dead when the step began, ascending */
	size_t n_dead, k_aux;
	sparse_batch codes, aux, multi;
	encode_aid aid;
	bool fresh;   /* whether the aid is that of the weights */
	float *reach; /* (batch): a row's least kept value over its norm */
	float guess;  /* encode_job's */
	encode_job job;
	/* BatchTopK */
	encode_found *found; /* (tiles) */
	uint32_t *counts;    /* (tiles, 2048) */
	float floor;         /* candidates are over it */
	float reach_all;     /* and may be that large */
	float least;         /* value kept in the last batch; 0: all that are positive */
	double threshold;    /* its running mean: what a feature must be over when there is no batch */
	float *x;            /* (batch, d) the caller's: rows, then rows less b_dec */
	float *y; /* (batch, d_out) target less b_dec and the skip's share: x itself, or the caller's */
	float *e, *e_aux; /* (batch, d_out) */
	float *e_multi;   /* (batch, d_out) or NULL */
	float *e_prefix; /* (prefixes - 1, batch, d_out): errors of each but the last, to which the longer ones' are added */
	uint32_t prefix_ends[SAE_PREFIXES]; /* of this step */
	float *grad_b_dec;                  /* (d_out) */
	double *through;                    /* (d): the share of it that comes through the encoder */
	float *grad_skip;                   /* (d_out, d), or NULL */
	double *skip_squares;               /* (blocks of its rows) */
	step_worker *workers;
	step_tile *tiles;
	step_block *blocks;
	size_t n, n_tiles, n_blocks; /* n: rows of this batch */
	size_t max_tiles;
	float input_scale;
	double factor, factor_aux, factor_multi; /* of the gradients: -2 / V, -2 alpha / U, -2 / (8 V) */
	adam_coef adam;
	const adam8_kernels *adam8; /* NULL: all moments are FP32 */
	adam8_coef coef8;
	double serial_seconds[STEP_PARTS];
	/* keeps_gradients; else NULL */
	double *loss, *mean; /* (2, batch), (d) resampling; else NULL */
	uint32_t *chosen;    /* (batch) */
	optim *optim;
	float *G_enc, *G_dec, *grad_b_enc; /* (F, d), (F, d_out), (F) */
} step;

/* step_optim.c */
int step_optim_init(step *s, error *err) MUST_USE;
void step_optim_keep(step *s, const step_worker *w, size_t f, double bias);
double step_optim_move(step *s, double lr); /* returns as optim_step() */
void step_optim_forget(step *s, size_t f);
void step_optim_model(const step *s, sae_model *m);

/* step_resample.c */
int step_resample_init(step *s, error *err) MUST_USE;
/* After a step: features that have not fired for over `silent` tokens begin anew at rows of that batch, drawn by the norm of their error,
 * as resample.h has it. Returns how many; none where all are dead. */
size_t step_resample(step *s, uint64_t silent, uint64_t seed);

#define STEP_THRESHOLD_RATE                                                                                  \
	0.1 /* SAELens has 0.01, from 0: too slow for runs of some hundred steps (docs/decisions.md) */

/* step_batch.c: codes of a batch by BatchTopK. Candidates are held apart from the arena, since there may be more of them than
 * ever before. */
int step_batch_init(step *s, size_t n_tiles, error *err) MUST_USE;
void step_batch_clear(step *s);
uint64_t step_batch_bytes(const step *s); /* of the candidates' room */
/* ERR_NOMEM: more candidates than ever, and no memory for them. */
int step_batch_encode(step *s) MUST_USE;
void step_batch_rows(step *s, size_t tile);
void step_batch_end(step *s);

/* Error rows first..end-1 and the gradients of their values: out = target - codes times decoder, which target may be. Returns
 * the squared error. sum: (d_out), or NULL. */
double step_decode_rows(step *s, step_worker *w, sparse_batch *codes, const float *target, float *out,
                        size_t first, size_t end, double *sum);

/* step_prefix.c: Matryoshka, where c.prefixes.n is not 0. */
int step_prefix_init(step *s, error *err) MUST_USE;
void step_prefix_draw(step *s); /* this step's prefixes */
void step_prefix_rows(step *s, step_worker *w, step_tile *tile, size_t first, size_t end);
/* From the tiles, fills in what *r says of prefixes. Returns what takes the place of FVU. */
double step_prefix_sum(step *s, double total, step_result *r);
double step_prefix_weight(const step *s); /* of a term in it; of weighted ones the last's */
const float *step_prefix_errors(const step *s,
                                size_t feature); /* (batch, d) that its gradients are made of */

/* step_multi.c: Multi-TopK, where c.multi is set. */
int step_multi_init(step *s, error *err) MUST_USE;
int step_multi_worker_init(step_worker *w, step *s, error *err) MUST_USE;
uint32_t
step_multi_width(const step_config *c); /* values of a row that are encoded: 4 k, F at most; without it k */
void step_multi_choose(step *s, step_worker *w, size_t first, size_t end); /* the k of s->codes */
void step_multi_rows(step *s, step_worker *w, step_tile *tile, size_t first, size_t end);

/* step_pair.c: targets and skip, and the decoder rows of a crosscoder. */
int step_pair_init(step *s, error *err) MUST_USE;
/* Scale a tile's rows, take b_dec and the skip's share off its targets, and sum these in `tile`. */
void step_pair_rows(step *s, step_tile *tile, size_t first, size_t end);
/* One Adam step of W_skip; returns the squares of its gradient. */
double step_pair_update(step *s);
/* Of a decoder row (d): the gradient without what would only change its length; the row at its length, and
 * what it was divided by. */
void step_blocks_project(const step *s, float *grad, const float *row);
double step_blocks_scale(const step *s, float *row);

/* Memory for all steps is asked for here; weights are zero. */
int step_new(step **out, const step_config *c, pool *p, error *err) MUST_USE;
void step_free(step *s);
/* What the moments of all parameters take, without `optim`. */
uint64_t step_moments_bytes(const step_config *c);
/* What `optim` takes, and the gradients that are kept for it. */
uint64_t step_optim_bytes(const step *s);
/* Features kept a row from now on, 1 to k_most; not with ENCODE_GROUPMAX. */
void step_set_k(step *s, uint32_t k);
/* Norm of the encoder rows at the start. nn.Linear's default, where sparsify starts, would be 0.577: docs/decisions.md. */
#define STEP_ENCODER_NORM 0.4
double step_encoder_norm(const step *s); /* in force */
/* Decoder rows in random directions with norm 1, encoder rows the same with norm encoder_norm, biases zero. With targets
 * the decoder is zero (as sparsify has it; docs/decisions.md has what was measured). */
void step_init_weights(step *s, uint64_t seed);
/* After that, with targets: the mean row, scaled, has pre-activations 0. */
void step_init_bias(step *s, const double *mean_x /* (d) */);
/* One step on rows x (n, d), n <= batch, which are multiplied by input_scale first, and their targets y (n, d_out), which
 * have their scale already; NULL: x. Both are overwritten. */
void step_run(step *s, float *x, float *y, size_t n, float input_scale, double lr, step_result *r);

#endif
