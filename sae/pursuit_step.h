/* One training step of a matching pursuit SAE: tied weights, rows a_f (F, d) of norm 1, b_dec.
 *
 * Forward as at inference (pursuit.h): r_0 = x - b_dec; step i takes the feature f of the largest <r_i, a_f> over 0, v_i = <r_i, a_f>,
 * r_{i+1} = r_i - v_i a_f; until k steps were made, |r| is under `residual`, or (repeat_ends) a step took a feature again. e is the last r.
 * Loss: L = sum |e|^2 over the batch. As in SAELens, the choice of features and of the number of steps has no gradient, and all else has: the values and the
 * residuals they are read from, so what a step takes away also counts in all later ones. With l_n = 2 e and going back over the steps,
 *   b_i = <l_{i+1}, a_f>,   dL/da_f += -(v_i l_{i+1} + b_i r_i),   l_i = l_{i+1} - b_i a_f,   dL/db_dec = -sum of l_0.
 * What Adam is given is the gradient of log FVU, as in step.h. Ours, where SAELens has it free: the part of a feature's gradient along it is
 * removed, and it is brought to norm 1 after the step, as the rule needs it (a_f longer than sqrt(2) would make the residual grow).
 *
 * Memory: gradients are kept whole, and those of single picks (k d floats a row) for a wave of rows at a time: as many tiles as 128 MB hold. */
#ifndef GLOSS_SAE_PURSUIT_STEP_H
#define GLOSS_SAE_PURSUIT_STEP_H

#include "sae/sparse.h"
#include "sae/step.h"

typedef struct pursuit_config {
	uint32_t d, n_features, k, batch; /* k: steps at most */
	double residual;                  /* of scaled rows; 0: never ends for it */
	bool repeat_ends;
	double beta1, beta2, eps;
	uint64_t dead_tokens;
	sae_screening screening;
	const kernels *k_set;
} pursuit_config;

typedef struct pursuit_worker {
	encode_scratch scratch;
	float *left;             /* (tile, d): residuals of the rows still at work */
	uint32_t *row;           /* (tile): which they are */
	uint32_t *count, *index; /* (tile): what a step chose */
	float *value;
	float *back, *before, *grad; /* (d): l, r, a feature's gradient */
} pursuit_worker;

typedef struct pursuit_tile {
	double *sum_x, *b_dec; /* (d) */
	double squares_x, squares_e;
	uint64_t fired;
} pursuit_tile;

typedef struct pursuit_step {
	pursuit_config c;
	arena mem;
	pool *pool;
	step_param W, b_dec; /* (F, d), (d) */
	float *grad;         /* (F, d): dL/da of the batch */
	uint64_t *silent;    /* (F) */
	uint32_t *fires;     /* (F): rows of the last batch that took it */
	uint64_t t;
	encode_aid aid;
	bool fresh;
	encode_job job;
	/* a wave of rows */
	size_t wave;      /* rows of one, whole tiles */
	uint32_t *n_made; /* (wave): steps of a row */
	float *value;     /* (wave, k) */
	float *picks;     /* (wave, k, d): a pick's share of its feature's gradient */
	sparse_batch
	        list; /* of picks: rows are places in `picks`, value 1 where the row's first of that feature */
	size_t first, n; /* rows of the batch that it has */
	pursuit_worker *workers;
	pursuit_tile *tiles; /* (of a batch) */
	double *squares;     /* (blocks) */
	float *grad_b_dec;   /* (d) */
	const float *x;      /* the batch */
	size_t rows_n, n_blocks;
	float input_scale;
	double factor;
	adam_coef adam;
} pursuit_step;

int pursuit_step_new(pursuit_step **out, const pursuit_config *c, pool *p, error *err) MUST_USE;
void pursuit_step_free(pursuit_step *s);
/* Random directions. */
void pursuit_step_init(pursuit_step *s, uint64_t seed);
/* One step on rows (n, d), n <= batch, times input_scale. */
void pursuit_step_run(pursuit_step *s, const float *x, size_t n, float input_scale, double lr,
                      step_result *r);

#endif
