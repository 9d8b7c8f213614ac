/* Sparse rows to lists by feature: a counting sort over tiles of rows. */
#include <assert.h>

#include "sae/sparse.h"

#define BLOCK 512 /* features whose places one task finds */

int sparse_init(sparse_batch *s, arena *mem, size_t n, size_t width, size_t n_features, size_t tile,
                error *err)
{
	size_t n_tiles = (n + tile - 1) / tile;

	assert(n * width <= UINT32_MAX);
	*s = (sparse_batch){
		.n = n, .width = width, .n_features = n_features, .tile = tile, .n_tiles = n_tiles
	};
	s->count = arena_alloc(mem, n, sizeof(*s->count));
	s->begin = arena_alloc(mem, n, sizeof(*s->begin));
	s->index = arena_alloc(mem, n * width, sizeof(*s->index));
	s->value = arena_alloc(mem, n * width, sizeof(*s->value));
	s->grad = arena_alloc(mem, n * width, sizeof(*s->grad));
	s->first = arena_alloc(mem, n_features + 1, sizeof(*s->first));
	s->row = arena_alloc(mem, n * width, sizeof(*s->row));
	s->by_value = arena_alloc(mem, n * width, sizeof(*s->by_value));
	s->by_grad = arena_alloc(mem, n * width, sizeof(*s->by_grad));
	s->block_entries = arena_alloc(mem, (n_features + BLOCK - 1) / BLOCK, sizeof(*s->block_entries));
	s->place = arena_alloc(mem, n_tiles * n_features, sizeof(*s->place));
	for (size_t i = 0; i < n && s->begin; i++)
		s->begin[i] = i * width;
	if (s->count && s->begin && s->index && s->value && s->grad && s->first && s->row && s->by_value &&
	    s->by_grad && s->place)
		return 0;
	return error_nomem(err, "the codes of a batch");
}

/* Of the rows being transposed. */
static size_t n_tiles_now(const sparse_batch *s)
{
	return (s->rows + s->tile - 1) / s->tile;
}

static size_t tile_end(const sparse_batch *s, size_t i)
{
	size_t end = (i + 1) * s->tile;

	return end < s->rows ? end : s->rows;
}

static void count_task(void *payload, size_t i, unsigned worker)
{
	sparse_batch *s = payload;
	uint32_t *place = s->place + i * s->n_features;

	(void)worker;
	memset(place, 0, s->n_features * sizeof(*place));
	for (size_t t = i * s->tile; t < tile_end(s, i); t++)
		for (size_t j = 0; j < s->count[t]; j++)
			place[s->index[s->begin[t] + j]]++;
}

/* Counts of a block of features to places, counted from the block's first entry. */
static void place_task(void *payload, size_t b, unsigned worker)
{
	sparse_batch *s = payload;
	size_t begin = b * BLOCK, end = begin + BLOCK < s->n_features ? begin + BLOCK : s->n_features;
	uint32_t at = 0;

	(void)worker;
	memset(s->first + begin, 0, (end - begin) * sizeof(*s->first));
	for (size_t i = 0; i < n_tiles_now(s); i++) {
		uint32_t *place = s->place + i * s->n_features;

		for (size_t f = begin; f < end; f++) {
			uint32_t n = place[f];

			place[f] = s->first[f];
			s->first[f] += n;
		}
	}
	for (size_t f = begin; f < end; f++) {
		uint32_t n = s->first[f];

		s->first[f] = at;
		at += n;
	}
	s->block_entries[b] = at;
}

/* From the block's first entry to the first of all: block_entries has become where blocks begin. */
static void shift_task(void *payload, size_t b, unsigned worker)
{
	sparse_batch *s = payload;
	size_t begin = b * BLOCK, end = begin + BLOCK < s->n_features ? begin + BLOCK : s->n_features;

	(void)worker;
	for (size_t f = begin; f < end; f++)
		s->first[f] += s->block_entries[b];
	for (size_t i = 0; i < n_tiles_now(s); i++) {
		uint32_t *place = s->place + i * s->n_features;

		for (size_t f = begin; f < end; f++)
			place[f] += s->first[f];
	}
}

static void fill_task(void *payload, size_t i, unsigned worker)
{
	sparse_batch *s = payload;
	uint32_t *place = s->place + i * s->n_features;

	(void)worker;
	for (size_t t = i * s->tile; t < tile_end(s, i); t++) {
		const size_t base = s->begin[t];

		for (size_t j = base; j < base + s->count[t]; j++) {
			uint32_t at = place[s->index[j]]++;

			s->row[at] = (uint32_t)t;
			s->by_value[at] = s->value[j];
			s->by_grad[at] = s->grad[j];
			if (s->entry)
				s->entry[at] = (uint32_t)j;
		}
	}
}

void sparse_transpose(sparse_batch *s, size_t rows, pool *p)
{
	size_t n_blocks = (s->n_features + BLOCK - 1) / BLOCK;
	uint32_t at = 0;

	s->rows = rows;
	pool_run(p, n_tiles_now(s), count_task, s);
	pool_run(p, n_blocks, place_task, s);
	for (size_t b = 0; b < n_blocks; b++) {
		uint32_t n = s->block_entries[b];

		s->block_entries[b] = at;
		at += n;
	}
	s->first[s->n_features] = at;
	pool_run(p, n_blocks, shift_task, s);
	pool_run(p, n_tiles_now(s), fill_task, s);
}
