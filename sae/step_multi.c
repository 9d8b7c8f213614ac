/* Multi-TopK: a second reconstruction, from four times as many values of a row, whose error counts an eighth (sparsify's
 * multi_topk). One search finds both sets of values: the k largest are among the 4 k. */
#include "sae/step.h"

uint32_t step_multi_width(const step_config *c)
{
	uint32_t width = c->multi && c->k < UINT32_MAX / STEP_MULTI_TIMES ? STEP_MULTI_TIMES * c->k : c->k;

	return width < c->n_features ? width : c->n_features;
}

int step_multi_init(step *s, error *err)
{
	const step_config *c = &s->c;
	int rc = sparse_init(&s->multi, &s->mem, c->batch, step_multi_width(c), c->n_features, STEP_TOKENS,
	                     err);

	if (rc < 0)
		return rc;
	s->e_multi = arena_alloc(&s->mem, c->batch, s->d_out * sizeof(float));
	if (!s->e_multi)
		return error_nomem(err, "a batch");
	for (size_t i = 0; i < s->max_tiles; i++) {
		s->tiles[i].sum_multi = arena_alloc(&s->mem, s->d_out, sizeof(double));
		if (!s->tiles[i].sum_multi)
			return error_nomem(err, "sums of tiles");
	}
	return 0;
}

int step_multi_worker_init(step_worker *w, step *s, error *err)
{
	size_t room = step_multi_width(&s->c) + KERNELS_SLACK;

	w->index = arena_alloc(&s->mem, room, sizeof(*w->index));
	w->value = arena_alloc(&s->mem, room, sizeof(*w->value));
	return w->index && w->value ? 0 : error_nomem(err, "a worker");
}

void step_multi_choose(step *s, step_worker *w, size_t first, size_t end)
{
	size_t k = s->c.k;

	for (size_t t = first; t < end; t++) {
		size_t n = s->multi.count[t], from = s->multi.begin[t], to = s->codes.begin[t];
		float least = 0;

		memcpy(w->index, s->multi.index + from, n * sizeof(*w->index));
		memcpy(w->value, s->multi.value + from, n * sizeof(*w->value));
		n = kernels_keep_largest(s->c.k_set, w->index, w->value, n, k, &least);
		memcpy(s->codes.index + to, w->index, n * sizeof(*w->index));
		memcpy(s->codes.value + to, w->value, n * sizeof(*w->value));
		s->codes.count[t] = (uint32_t)n;
	}
}

void step_multi_rows(step *s, step_worker *w, step_tile *tile, size_t first, size_t end)
{
	memset(tile->sum_multi, 0, s->d_out * sizeof(double));
	tile->squares_multi =
	        step_decode_rows(s, w, &s->multi, s->y, s->e_multi, first, end, tile->sum_multi);
}
