/* A training step that may begin dense: gradients whole, in buffers, then clipped, then the optimiser.
 *
 * With x and y scaled rows, xc = x - b_dec (x itself where it is not centred), a_j = <xc, W_enc_j>, yhat = sum f_j W_dec_j + b_dec
 * (+ W_skip x), e = y - yhat, n_j = |W_dec_j| (of a crosscoder the sum over its inputs of the norms of their parts) or 1, all means
 * over the rows of the batch:
 *   L = mean |e|^2 + c mean P + auxiliary terms
 *   relu      f = max(a + b_enc, 0)                      P = sum f n
 *   p-anneal  the same                                   P = sum (f n)^p, or its 1/p-th power (a row's Lp norm)
 *   gated     g = max(a + b_enc, 0), f = [g > 0] max(a exp(r_mag) + b_mag, 0)
 *             P = sum g n,   + mean |y - (sum g_j W_dec_j + b_dec)|^2, its decoder and b_dec (and W_skip) constants if `detached`
 *   jumprelu  h = a + b_enc, f = h [h > theta]           P = L0 (step), sum tanh(s f n), (L0 / t - 1)^2 of each row, or of the mean L0
 *             + pre-activation loss: c_pre mean sum over dead j of max(theta - h, 0) n
 * Each may have AuxK: + alpha (V / rows) sum |e - ehat|^2 / U, ehat = sum over the k_aux dead features of a row with the largest v of
 * v_j W_dec_j, k_aux = max(d_out / 2, 1), V = sum |y - mean y|^2, U = sum |e - mean e|^2; e, U and V are constants in it, a term over 0
 * is 0: beside |e|^2 it weighs what the sparse step's (step.h) does. v has no ReLU, since a dead feature of these would be 0 there and
 * learn nothing: v = a + b_enc, of gated min(a + b_enc, a exp(r_mag) + b_mag), whichever keeps the feature silent.
 * theta has no gradient of its own; the estimators are those of a rectangle of width w around it:
 *   d f / d theta = -(theta / w) [|h - theta| < w / 2],   d [h > theta] / d theta = -(1 / w) [the same]
 * and with ste_input minus that is added to the derivatives by h. The second is taken at the pre-activation h; with at_value at f,
 * as dictionary_learning has it (its issue 55): of silent entries at 0, so they count where theta is below w / 2.
 * (f n)^(p - 1) is taken at no less than f n = FIT_LEAST.
 *
 * Two ways to the same gradients, chosen by the entries of the batch before (entry: f != 0, or theta's rectangle, or a loss reaches it):
 * sparse lists where they are at most F / 12 a row, else dense products of tiles of rows and blocks of features. Entries that only
 * thresholds learn from cost a product each, not four, and count as a quarter. */
#ifndef GLOSS_SAE_FIT_H
#define GLOSS_SAE_FIT_H

#include "sae/fitter.h"
#include "sae/kernels.h"
#include "sae/optim.h"
#include "sae/parts.h"
#include "sae/sparse.h"

#define FIT_TOKENS   256 /* rows of a tile, and ... */
#define FIT_BLOCK    512 /* ... features of a product: part of the result's last bits */
#define FIT_FEATURES 64  /* features updated as one task */
#define FIT_LEAST    1e-6f

typedef enum fit_arch { FIT_RELU, FIT_GATED, FIT_JUMPRELU } fit_arch;
typedef enum fit_penalty {
	FIT_L1,
	FIT_LP,      /* sum f^p */
	FIT_LP_ROOT, /* its 1/p-th power, a row */
	FIT_STEP,
	FIT_TANH,
	FIT_QUADRATIC,      /* of each row's L0 */
	FIT_QUADRATIC_MEAN, /* of the batch's */
} fit_penalty;

typedef struct fit_config {
	uint32_t d_in, d_out, n_features, batch;
	fit_arch arch;
	fit_penalty penalty;
	uint32_t n_inputs; /* of a crosscoder, equal parts of a row; 0, 1: it is none */
	bool skip;         /* with targets */
	bool centers;      /* b_dec is taken off the input; never with targets */
	bool unit_decoder; /* n of its rows is held at 1 */
	bool by_norm;      /* n is as above, else 1 */
	bool relative;     /* all gradients are divided by the batch's mean |e|^2 */
	bool detached, log_theta, ste_input, at_value;
	double bandwidth, tanh_scale, target_l0;
	double theta_lr; /* thresholds move by that times the learning rate */
	optim_config optim;
	uint64_t dead_tokens;
	double auxk_alpha; /* 0: no AuxK */
	bool resamples;    /* there will be fit_resample()s */
	/* JumpReLU: thresholds of those begin where that share of a batch fires; 0: at start_theta */
	double start_share, start_theta;
	const kernels *k_set;
} fit_config;

/* What a step is told. */
typedef struct fit_now {
	double lr;
	double coef, preact; /* of P and of the pre-activation loss */
	double p, next_p;    /* FIT_LP; next_p: a second power that is added up too, 0: none */
} fit_now;

typedef struct fit_result {
	double fvu;             /* NaN or infinite: nothing was updated */
	double squared_error;   /* mean over rows of |e|^2, scaled units */
	double gate;            /* of gated's second error, likewise */
	double penalty, preact; /* means over rows, without coefficients */
	double next_penalty;    /* with next_p */
	double auxk;            /* sum |e - ehat|^2 / U */
	double l0, grad_norm;   /* grad_norm: before clipping */
	uint64_t n_dead;
	bool dense;                      /* by dense tiles, else by lists */
	double input_fvu[SAE_PARTS_MAX]; /* of a crosscoder */
} fit_result;

enum { FIT_W_ENC, FIT_W_DEC, FIT_B_ENC, FIT_B_DEC, FIT_THETA, FIT_R_MAG, FIT_B_MAG, FIT_W_SKIP, FIT_PARAMS };
extern const char *const fit_param_names[FIT_PARAMS];
typedef struct fit_param {
	float *w, *g; /* NULL: the architecture has none */
	size_t slot;  /* the optimiser's number of it */
	size_t rows, columns;
} fit_param;

/* Sums over rows that are kept for every feature: of the gradients by a, by n, by b_enc where that is not the one by a, by theta or
 * b_mag, by r_mag. */
enum { FIT_BY_PRE, FIT_BY_NORM, FIT_BY_GATE, FIT_BY_OTHER, FIT_BY_SCALE, FIT_SUMS };

typedef struct fit_row {
	uint32_t l0;
	float sum, next; /* of (f n)^p, with p and next_p */
} fit_row;

/* ---- The rules (fit_rule.c) ----------------------------------------------------------------------------------------- */

typedef struct fit_rule {
	const fit_config *c;
	const float *bias, *mag, *scale, *theta, *norm; /* (F) */
	const uint8_t *dead;                            /* (F); NULL: no pre-activation loss */
	float *low;                                     /* (F): a + low > 0 for all that are wanted */
	float two, coef, preact;                        /* over the rows of the batch */
	float p, next_p;
	double mean_l0;
	size_t n_features;
} fit_rule;

typedef struct fit_losses {
	double penalty, preact; /* sums over rows, without coefficients */
} fit_losses;

/* Values f, and for gated g, of n products a of one row: of features index[i], or first + i where index is NULL. */
void fit_forward(const fit_rule *r, const uint32_t *index, size_t first, size_t n, const float *a, float *f,
                 float *gate, uint32_t *fires, fit_row *row);
/* Gradients by a, into g, which may be a: dot is <e, W_dec_j>, dot_gate the same of gated's second error. Adds to sums (FIT_SUMS, F). */
void fit_backward(const fit_rule *r, const fit_row *row, const uint32_t *index, size_t first, size_t n,
                  const float *a, const float *f, const float *dot, const float *dot_gate, float *g,
                  float *sums, fit_losses *losses);
/* Whether product a of feature j is an entry. */
bool fit_wanted(const fit_rule *r, size_t j, float a);
float fit_low(const fit_rule *r, size_t j);

/* ---- The step ------------------------------------------------------------------------------------------------------- */

typedef struct fit_worker {
	float *block, *block_gate; /* (FIT_TOKENS, FIT_BLOCK) */
	float *row;                /* (d_in or d_out) */
	uint32_t *index;           /* (FIT_BLOCK) of one row */
	float *value;
	uint32_t *found_row,
	        *found_index; /* (FIT_TOKENS * width, or batch) of a tile, by block of features; then of what is combined */
	float *found;
	float *gather; /* (batch) */
	/* AuxK */
	float *dead_rows;     /* (FIT_BLOCK, d_in) encoder rows brought together */
	uint32_t *dead_index; /* (FIT_TOKENS, 2 k_aux + FIT_BLOCK) what may be among a row's largest */
	float *dead_value;
	size_t *dead_count; /* (FIT_TOKENS) */
	float *dead_order;  /* (2 k_aux + FIT_BLOCK) */
} fit_worker;

/* Sums of one tile of rows. */
typedef struct fit_tile {
	double *sum_y, *sum_e, *sum_gate; /* (d_out) */
	double squares_y, squares_e, squares_gate, squares_aux;
	parts_sums parts;
	fit_losses losses;
	uint64_t fired, entries;
	bool over;       /* more entries than there is room for */
	float *sums;     /* (FIT_SUMS, F) */
	uint32_t *fires; /* (F) */
} fit_tile;

typedef struct fit_block {
	double *b_dec; /* (d_in): sum over its features of the gradient by a times the encoder row */
} fit_block;

typedef struct fit {
	fit_config c;
	arena mem;
	pool *pool;
	fit_param param[FIT_PARAMS];
	optim *optim;
	uint64_t *silent; /* (F) tokens since the feature last fired */
	double entries;   /* a row, of the last batch; those that cost less count less */
	uint32_t *fires;  /* (F) of the last batch */
	/* of the weights; filled anew when `fresh` is false */
	bool fresh;
	float *norm, *theta, *scale, *ones, *low; /* (F) */
	uint8_t *dead;
	uint32_t *dead_list; /* (F) ascending */
	size_t n_dead;
	fit_rule rule;
	/* the batch */
	float *x, *y; /* the caller's */
	size_t n, n_tiles, n_blocks, max_tiles;
	float input_scale;
	bool centered;     /* x and e are those of this batch */
	float *e, *e_gate; /* (batch, d_out) */
	fit_row *rows;     /* (batch) */
	fit_tile *tiles;
	fit_block *blocks;
	fit_worker *workers;
	/* sparse */
	size_t most;  /* entries up to which lists are used */
	size_t width; /* entries a row that there is room for, in the mean of a tile */
	sparse_batch codes;
	float *a, *gate, *dot_gate; /* (batch * width) of the codes by row */
	/* dense */
	size_t chunk_tiles;             /* that are held at once */
	float *value, *grad, *gate_all; /* (chunk_tiles * FIT_TOKENS, F) */
	size_t first_tile;              /* of the chunk */
	double *through;                /* (d_in) */
	double rate;                    /* what all gradients are multiplied by */
	/* AuxK; k_aux 0: none */
	size_t k_aux;
	sparse_batch aux;
	float *e_aux;                /* (batch, d_out) */
	double aux_factor;           /* of its gradients by v, which are -2 <e - ehat, W_dec_j> times it */
	double *loss, *mean;         /* (2, batch), (d_in) resampling; else NULL */
	uint32_t *chosen, *silenced; /* (batch), (F) */
} fit;

/* Memory for all steps is asked for here; weights are zero. */
int fit_new(fit **out, const fit_config *c, pool *p, error *err) MUST_USE;
void fit_free(fit *s);
/* Gradients of one batch into param[].g: all of a step before the optimiser. False: the error is not finite, r->fvu says so. */
bool fit_gradients(fit *s, float *x, float *y, size_t n, float input_scale, const fit_now *now,
                   fit_result *r);
/* One step on rows x (n, d_in), n <= batch, times input_scale, and their targets y (n, d_out), which have their scale already, or NULL:
 * x. x is overwritten. */
void fit_run(fit *s, float *x, float *y, size_t n, float input_scale, const fit_now *now, fit_result *r);

/* fit_sparse.c: false: there are more entries than there is room for, nothing was done. fit_dense.c: always. */
bool fit_sparse(fit *s);
void fit_dense(fit *s);
/* fit_update.c */
void fit_refresh(fit *s);
void fit_finish(fit *s, double factor);
int fit_optim_init(fit *s, error *err) MUST_USE;
/* fit_pair.c: take the skip's share off tile i's errors; W_skip's gradient, when all errors are known. */
void fit_skip_rows(fit *s, size_t i);
void fit_skip_gradient(fit *s);
/* fit_aux.c */
int fit_aux_init(fit *s, error *err) MUST_USE;
/* AuxK's share of the gradients, when errors are known; total: V. Returns AuxK. */
double fit_aux(fit *s, double total);
/* fit_resample.c */
int fit_resample_init(fit *s, error *err) MUST_USE;
/* After a step, as step_resample(): all decoder rows get the mean norm of the living ones. */
size_t fit_resample(fit *s, uint64_t silent, uint64_t seed);
/* fit.c, of tile i: where it ends; e = y - b_dec, x centred, its sums zero; e's own sums. */
size_t fit_tile_end(const fit *s, size_t i);
void fit_center(fit *s, size_t i);
void fit_errors(fit *s, size_t i);
/* What the batch's L0 says to FIT_QUADRATIC_MEAN. */
void fit_mean_l0(fit *s);

#endif
