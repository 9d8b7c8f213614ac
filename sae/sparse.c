/* Sparse rows to lists by feature: a counting sort over tiles of rows. */
#include <assert.h>

#include "sae/sparse.h"

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
	s->place = arena_alloc(mem, n_tiles * n_features, sizeof(*s->place));
	for (size_t i = 0; i < n && s->begin; i++)
		s->begin[i] = i * width;
	if (s->count && s->begin && s->index && s->value && s->grad && s->first && s->row && s->by_value &&
	    s->by_grad && s->place)
		return 0;
	return error_nomem(err, "the codes of a batch");
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
		}
	}
}

void sparse_transpose(sparse_batch *s, size_t rows, pool *p)
{
	size_t n_tiles = (rows + s->tile - 1) / s->tile;
	uint32_t at = 0;

	s->rows = rows;
	pool_run(p, n_tiles, count_task, s);
	for (size_t f = 0; f < s->n_features; f++) {
		s->first[f] = at;
		for (size_t i = 0; i < n_tiles; i++) {
			uint32_t n = s->place[i * s->n_features + f];

			s->place[i * s->n_features + f] = at;
			at += n;
		}
	}
	s->first[s->n_features] = at;
	pool_run(p, n_tiles, fill_task, s);
}
