/* One training step of codebook features (Tamkin, Taufeeque and Goodman 2023, arXiv 2310.17230): a row is described by k codes, and what
 * comes out is their sum, or their mean.
 *
 * Which codes: those of the k largest similarities <x, c> / |c| (the cosine's order), or of the k least |x - c|. Only codes whose
 * similarity is over 0 are taken, or which are nearer to the row than 0 is, so that each has a value over 0; the paper's layer always takes
 * k. A mean is divided by k, however many there are.
 * Loss ("fullaeloss" on stored rows, nothing flows to the rows): L = mean over rows of |x - out|^2, to the codes that were taken. What Adam is given is the gradient of the
 * logarithm of the batch's FVU (of each group's), as in step.h, for the same reason. Or, with `moving`, by a mean that moves: with n rows of a batch taking code c,
 *   N <- decay N + (1 - decay) n,   c <- c + (1 - decay) / N * sum of (x - c)    where the output is a mean, or
 *                                   c <- c + (1 - decay) / N / k * sum of (x - out)  where it is a sum: all k codes of a row move at once.
 * With k = 1 both are the moving averages of VQ-VAE, c = sum x / N.
 * Groups: the row is cut in equal parts, each with its own codes, all taken alike; they share nothing. */
#ifndef GLOSS_SAE_CODEBOOK_H
#define GLOSS_SAE_CODEBOOK_H

#include "sae/codebook_coder.h"
#include "sae/sparse.h"
#include "sae/step.h"

typedef struct codebook_config {
	uint32_t d, n_codes, groups; /* of all groups, multiples of their number */
	uint32_t k, k_last;          /* codes a group and row: at most; of the model that comes out */
	uint32_t batch;
	bool euclidean, mean; /* else cosine, sum */
	bool layer_norm;      /* of each row's part, before all else; the loss is that of such rows */
	bool moving;          /* else by gradient */
	double decay;
	uint64_t replace_every; /* steps; codes that no row took in them become rows of the batch. 0: never */
	double replace_noise;   /* times the row's norm times N(0, 1) is added */
	bool random_start;      /* for who starts it */
	double beta1, beta2, eps;
	uint64_t dead_tokens; /* a code counts as dead after so many tokens without being taken */
	uint64_t seed;        /* of start and replacements */
	sae_screening screening;
	const kernels *k_set;
} codebook_config;

typedef struct codebook_worker {
	encode_scratch scratch;
	float *row;              /* (d of a group): what comes out, a gradient */
	uint32_t *count, *index; /* (tile), (tile, k) of a group */
	float *value;
} codebook_worker;

typedef struct codebook_tile {
	double *sum_x;                 /* (d) */
	double *squares_x, *squares_e; /* (groups) */
	uint64_t fired;
} codebook_tile;

typedef struct codebook {
	codebook_config c;
	arena mem;
	pool *pool;
	codebook_coder coder;
	float *codes, *m, *v; /* (n_codes, d of a group); moments: NULL where `moving` */
	double *weight;       /* (n_codes) N above; NULL where not */
	uint64_t *silent;     /* (n_codes) tokens since it was last taken */
	uint8_t *used;        /* (n_codes) since the last replacement */
	uint64_t t;           /* steps taken */
	bool fresh;           /* the coder is that of the codes */
	float *guess;         /* (groups): encode_job's */
	float *reach;         /* (groups, batch) */
	sparse_batch list;
	float *x, *e; /* (groups, batch, d of a group): rows, and what is left of them */
	codebook_tile *tiles;
	double *squares; /* (blocks) of gradients */
	double *errors;  /* (batch): squared, of a group, for replacements */
	codebook_worker *workers;
	/* the step in progress */
	const float *rows;
	size_t rows_n, n_tiles, n_blocks;
	float input_scale, share; /* share: of a code in what comes out: 1 or 1 / k */
	double *factor;           /* (groups) of the gradient */
	adam_coef adam;
	uint32_t k;
} codebook;

/* All memory; codes are zero. */
int codebook_new(codebook **out, const codebook_config *c, pool *p, error *err) MUST_USE;
void codebook_free(codebook *b);
/* Codes from N(0, 1). */
void codebook_start_random(codebook *b);
uint64_t codebook_start_bytes(const codebook_config *c,
                              size_t n); /* what the next takes beside the rows, but for little */
/* Codes by k-means of sample rows (n, d), scaled already; with a sum divided by k, so that k of them have a row's size. */
int codebook_start_kmeans(codebook *b, const float *rows, size_t n, error *err) MUST_USE;
/* One step on rows (n, d), n <= batch, times input_scale; k <= the config's, the same for all groups. r->auxk is 0. */
void codebook_run(codebook *b, const float *rows, size_t n, float input_scale, double lr, uint32_t k,
                  step_result *r);

#endif
