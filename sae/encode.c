/* A tile of tokens to its sparse codes. */
#include <assert.h>
#include <pthread.h>

#include <cblas.h>

#include "sae/encode.h"

#define SEGMENT 256 /* features filtered before the threshold of a token is looked at again */

static void set_one_thread(void)
{
	openblas_set_num_threads(1);
}

void encode_blas_single_threaded(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_one_thread);
}

int encode_scratch_init(encode_scratch *s, arena *mem, size_t tokens, size_t d, size_t width, bool subset,
                        error *err)
{
	*s = (encode_scratch){ .tokens = tokens, .room = 2 * width + SEGMENT + KERNELS_SLACK };
	s->pre = arena_alloc(mem, tokens * ENCODE_FEATURES, sizeof(float));
	s->index = arena_alloc(mem, tokens * s->room, sizeof(uint32_t));
	s->value = arena_alloc(mem, tokens * s->room, sizeof(float));
	s->count = arena_alloc(mem, tokens, sizeof(size_t));
	s->above = arena_alloc(mem, tokens, sizeof(float));
	if (!s->pre || !s->index || !s->value || !s->count || !s->above)
		return error_nomem(err, "an encoder tile");
	if (!subset)
		return 0;
	s->gathered = arena_alloc(mem, ENCODE_FEATURES * d, sizeof(float));
	s->gathered_bias = arena_alloc(mem, ENCODE_FEATURES, sizeof(float));
	if (!s->gathered || !s->gathered_bias)
		return error_nomem(err, "an encoder tile");
	return 0;
}

/* Keep the best `width` candidates of token t and raise its threshold to the last of them. */
static void cut(encode_scratch *s, const encode_job *j, size_t t)
{
	uint32_t *index = s->index + t * s->room;
	float *value = s->value + t * s->room;
	size_t n = s->count[t], over = 0;
	float least;

	if (n <= j->width)
		return;
	least = j->k->kth(value, n, j->width);
	for (size_t i = 0; i < n; i++)
		over += value[i] > least;
	s->count[t] = j->k->compact(index, value, n, least, j->width - over);
	s->above[t] = least;
}

static void select_block(encode_scratch *s, const encode_job *j, const float *bias, size_t first,
                         size_t n_block, size_t n)
{
	for (size_t t = 0; t < n; t++) {
		const float *pre = s->pre + t * n_block;

		for (size_t f = 0; f < n_block; f += SEGMENT) {
			size_t len = n_block - f < SEGMENT ? n_block - f : SEGMENT;
			size_t at = t * s->room + s->count[t];

			s->count[t] += j->k->filter(s->index + at, s->value + at, pre + f, bias + f, len,
			                            (uint32_t)(first + f), s->above[t]);
			if (s->count[t] > 2 * j->width)
				cut(s, j, t);
		}
	}
}

/* Weights and biases of features first..first+n-1 of the job; rows of a subset are brought together. */
static const float *block_weights(encode_scratch *s, const encode_job *j, size_t first, size_t n,
                                  const float **bias)
{
	if (!j->subset) {
		*bias = j->bias + first;
		return j->weights + first * j->d;
	}
	for (size_t i = 0; i < n; i++) {
		size_t f = j->subset[first + i];

		memcpy(s->gathered + i * j->d, j->weights + f * j->d, j->d * sizeof(float));
		s->gathered_bias[i] = j->bias[f];
	}
	*bias = s->gathered_bias;
	return s->gathered;
}

static void hand_out(encode_scratch *s, const encode_job *j, size_t t, uint32_t *count, uint32_t *index,
                     float *value)
{
	const uint32_t *from = s->index + t * s->room;
	size_t n;

	cut(s, j, t);
	n = s->count[t];
	count[t] = (uint32_t)n;
	memcpy(value + t * j->width, s->value + t * s->room, n * sizeof(*value));
	for (size_t i = 0; i < n; i++)
		index[t * j->width + i] = j->subset ? j->subset[from[i]] : from[i];
}

void encode_tile(encode_scratch *s, const encode_job *j, const float *x, size_t n, uint32_t *count,
                 uint32_t *index, float *value)
{
	double start, product_end;

	assert(n <= s->tokens && s->room >= 2 * j->width + SEGMENT + KERNELS_SLACK);
	for (size_t t = 0; t < n; t++) {
		s->count[t] = 0;
		s->above[t] = 0; /* the ReLU */
	}
	for (size_t first = 0; first < j->n_features; first += ENCODE_FEATURES) {
		size_t left = j->n_features - first,
		       n_block = left < ENCODE_FEATURES ? left : ENCODE_FEATURES;
		const float *bias, *weights;

		start = clock_now();
		weights = block_weights(s, j, first, n_block, &bias);
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)n_block,
		            (blasint)j->d, 1, x, (blasint)j->d, weights, (blasint)j->d, 0, s->pre,
		            (blasint)n_block);
		product_end = clock_now();
		select_block(s, j, bias, first, n_block, n);
		s->product_seconds += product_end - start;
		s->select_seconds += clock_now() - product_end;
	}
	start = clock_now();
	for (size_t t = 0; t < n; t++)
		hand_out(s, j, t, count, index, value);
	s->select_seconds += clock_now() - start;
}
