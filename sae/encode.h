/* A tile of rows to its sparse codes. Pre-activations exist only for one tile and one block of features at a time.
 *
 * The value of a feature is kernels.dot(encoder row, input row) + bias in FP32, and what a rule keeps is decided by these
 * values alone. To compute few of them, all pre-activations are first bounded, from products of 8-bit codes (screen.h) or
 * from FP32 products of OpenBLAS, whose own rounding is then the error; both give the same codes, bit for bit. */
#ifndef GLOSS_SAE_ENCODE_H
#define GLOSS_SAE_ENCODE_H

#include "sae/kernels.h"
#include "sae/sae.h"
#include "sae/screen.h"

#define ENCODE_FEATURES 512 /* features of one FP32 product; those of an 8-bit one are ENCODE_SCREENED */
#define ENCODE_SCREENED 256

typedef enum encode_rule {
	ENCODE_TOPK,     /* the `width` largest positive values of a row; ties: the lower feature */
	ENCODE_GROUPMAX, /* the largest of each of `width` groups of consecutive features, if positive */
	ENCODE_BATCHTOPK, /* the width * n largest positive values of a batch of n rows: step_batch.c, not encode_tile() */
	ENCODE_JUMPRELU, /* each value over its feature's threshold: codes.c, not encode_tile() */
} encode_rule;

typedef struct encode_job {
	const kernels *k;
	encode_rule rule;
	const float *weights; /* (F, d) */
	const float *bias;    /* (F) */
	size_t n_features, d, width;
	const screen *screen;   /* NULL: bounds from FP32 products */
	const float *row_norms; /* (F) of the encoder; may be NULL with a screen */
	/* Where to begin: values over guess * |x| are looked for first. A row that has too few is done again from 0, so this
	 * is only a matter of speed. */
	float guess;
	float most_norm, most_lost, most_bias; /* encode_job_prepare() */
} encode_job;

/* What bounds need of the encoder besides its weights: 8-bit codes, or the norms of its rows. */
typedef struct encode_aid {
	screen *screen;   /* NULL: FP32 products */
	float *row_norms; /* (F); without a screen */
	float *turned;    /* (threads, d_pad) scratch */
} encode_aid;

/* All in `mem`; the screen only where it pays. encode_aid_set() then tells it each feature's row (d) and bias, from one of
 * `threads` workers. */
int encode_aid_init(encode_aid *a, arena *mem, const kernels *k, sae_screening how, size_t d,
                    size_t n_features, size_t width, unsigned threads, error *err) MUST_USE;
void encode_aid_set(const encode_aid *a, const kernels *k, size_t f, const float *w, size_t d, float bias,
                    unsigned worker);

/* Greatest norms and biases, once the weights are what they are. */
void encode_job_prepare(encode_job *j);

/* One worker's memory for tiles of up to `tokens` rows. */
typedef struct encode_scratch {
	size_t tokens, room; /* room: candidates a row */
	float *pre;          /* (tokens, ENCODE_FEATURES): upper bounds, or FP32 products */
	screen_rows rows;
	/* candidates, (tokens, room): value + up is an upper bound; of the first `settled` of a row it is exact */
	uint32_t *index;
	float *value;
	float *exact; /* (tokens, room) */
	size_t *count, *settled;
	float *above; /* (tokens): candidates must be over it */
	float *up, *norm;
	uint32_t *again;          /* (tokens): rows to do again */
	float *lower, *zeros;     /* (room) */
	uint32_t *pairs, *sorted; /* (tokens * room): candidates to be computed */
	size_t n_pairs;
	uint32_t *places;                                      /* (F) */
	double product_seconds, select_seconds, exact_seconds; /* spent so far, for the benchmark */
	uint64_t n_exact, n_again;                             /* values computed, rows done again */
} encode_scratch;

/* All in `mem`. by: the screen that jobs will bring, or NULL. */
int encode_scratch_init(encode_scratch *s, arena *mem, size_t tokens, size_t n_features, size_t width,
                        const screen *by, error *err) MUST_USE;

/* Codes of n <= s->tokens rows of x (n, d), b_dec already taken off, by the job's rule; row i holds count[i] pairs at
 * i * width, by feature ascending. */
void encode_tile(encode_scratch *s, const encode_job *j, const float *x, size_t n, uint32_t *count,
                 uint32_t *index, float *value);

/* Memory of a sae_encoder for models of that shape, whose weights are not looked at; without tiles of codes. ERR_NOMEM.
 * It is asked for as address space and given back, so it is what an encoder takes. */
int encoder_bytes(uint64_t *bytes, const sae_model *shape, pool *p, error *err) MUST_USE;

/* ---- Pieces, for encode_over.c -------------------------------------------------------------------------------------- */

/* Set up the rows of a tile. */
void encode_begin(encode_scratch *s, const encode_job *j, const float *x, size_t n);
/* s->pre (n, the stride returned): upper bounds, or FP32 products, of features first..first+n_block-1. */
size_t encode_products(encode_scratch *s, const encode_job *j, const float *x, size_t first, size_t n_block,
                       size_t n);
/* How far under its upper bound, or its FP32 product, a value of row t can be. */
float encode_greatest_error(const encode_scratch *s, const encode_job *j, size_t t);

/* Candidates whose values are wanted. */
typedef struct encode_pairs_list {
	size_t n;
	const uint32_t *pairs; /* (n): places in the next arrays */
	const uint32_t *index; /* feature of a place */
	const uint32_t *row;   /* its row of x; NULL: place / room */
	size_t room;
	uint32_t *places, *sorted; /* (F), (n): scratch */
	float *exact;
} encode_pairs_list;

/* In order of features, so that an encoder row is read from memory once a tile. */
void encode_pairs(const encode_job *j, const float *x, const encode_pairs_list *p);

/* Products are cut into tiles here, so OpenBLAS must not start threads of its own. Once for the process. */
void encode_blas_single_threaded(void);

#endif
