/* The largest pre-activations of dead features. */
#include <assert.h>

#include <cblas.h>

#include "sae/dead.h"

#define SEGMENT 256 /* features filtered before the threshold of a row is looked at again */

int dead_scratch_init(dead_scratch *s, arena *mem, size_t tokens, size_t d, size_t width, error *err)
{
	*s = (dead_scratch){ .tokens = tokens, .room = 2 * width + SEGMENT + KERNELS_SLACK };
	s->pre = arena_alloc(mem, tokens * DEAD_FEATURES, sizeof(float));
	s->rows = arena_alloc(mem, DEAD_FEATURES * d, sizeof(float));
	s->bias = arena_alloc(mem, DEAD_FEATURES, sizeof(float));
	s->index = arena_alloc(mem, tokens * s->room, sizeof(uint32_t));
	s->value = arena_alloc(mem, tokens * s->room, sizeof(float));
	s->count = arena_alloc(mem, tokens, sizeof(size_t));
	s->above = arena_alloc(mem, tokens, sizeof(float));
	if (s->pre && s->rows && s->bias && s->index && s->value && s->count && s->above)
		return 0;
	return error_nomem(err, "a tile of dead features");
}

/* Keep the best `width` candidates of row t and raise its threshold to the last of them. */
static void cut(dead_scratch *s, const dead_job *j, size_t t)
{
	s->count[t] = kernels_keep_largest(j->k, s->index + t * s->room, s->value + t * s->room, s->count[t],
	                                   j->width, &s->above[t]);
}

static void select_block(dead_scratch *s, const dead_job *j, size_t first, size_t n_block, size_t n)
{
	for (size_t t = 0; t < n; t++) {
		const float *pre = s->pre + t * n_block;

		for (size_t f = 0; f < n_block; f += SEGMENT) {
			size_t len = n_block - f < SEGMENT ? n_block - f : SEGMENT;
			size_t at = t * s->room + s->count[t];

			s->count[t] += j->k->filter(s->index + at, s->value + at, pre + f, s->bias + f, len,
			                            (uint32_t)(first + f), s->above[t]);
			if (s->count[t] > 2 * j->width)
				cut(s, j, t);
		}
	}
}

static void bring_together(dead_scratch *s, const dead_job *j, size_t first, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t f = j->dead[first + i];

		memcpy(s->rows + i * j->d, j->weights + f * j->d, j->d * sizeof(float));
		s->bias[i] = j->bias[f];
	}
}

void dead_tile(dead_scratch *s, const dead_job *j, const float *x, size_t n, uint32_t *count, uint32_t *index,
               float *value)
{
	assert(n <= s->tokens && s->room >= 2 * j->width + SEGMENT + KERNELS_SLACK);
	for (size_t t = 0; t < n; t++) {
		s->count[t] = 0;
		s->above[t] = 0; /* the ReLU */
	}
	for (size_t first = 0; first < j->n_dead; first += DEAD_FEATURES) {
		size_t left = j->n_dead - first, n_block = left < DEAD_FEATURES ? left : DEAD_FEATURES;

		bring_together(s, j, first, n_block);
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)n_block,
		            (blasint)j->d, 1, x, (blasint)j->d, s->rows, (blasint)j->d, 0, s->pre,
		            (blasint)n_block);
		select_block(s, j, first, n_block, n);
	}
	for (size_t t = 0; t < n; t++) {
		const uint32_t *from = s->index + t * s->room;

		cut(s, j, t);
		count[t] = (uint32_t)s->count[t];
		memcpy(value + t * j->width, s->value + t * s->room, s->count[t] * sizeof(*value));
		for (size_t i = 0; i < s->count[t]; i++)
			index[t * j->width + i] = j->dead[from[i]];
	}
}
