/* Order of the training rows. */
#include <assert.h>
#include <stdlib.h>

#include "sae/shuffle.h"

#define BLOCK_ROWS     64
#define GROUP_BYTES    (UINT64_C(128) << 20) /* of a group in F32 */
#define GROUP_ROWS_MIN 8192                  /* where rows are long, mixing needs more than that many bytes */
#define GROUP_ROWS_MAX (UINT64_C(1) << 20)   /* where they are short, more mix nothing better */

void shuffle_init(shuffle *s, uint64_t n, uint32_t d, bool single_rows, uint64_t seed)
{
	uint64_t rows = GROUP_BYTES / (d * sizeof(float));

	assert(n > 0);
	if (rows < GROUP_ROWS_MIN)
		rows = GROUP_ROWS_MIN;
	if (rows > GROUP_ROWS_MAX)
		rows = GROUP_ROWS_MAX;
	*s = (shuffle){ .n = n, .block = single_rows ? 1 : BLOCK_ROWS, .seed = seed };
	s->group = (rows + s->block - 1) / s->block;
	s->n_blocks = (n + s->block - 1) / s->block;
	if (s->group > s->n_blocks)
		s->group = s->n_blocks;
	s->n_groups = (s->n_blocks + s->group - 1) / s->group;
}

uint64_t shuffle_group_rows(const shuffle *s)
{
	uint64_t rows = s->group * s->block;

	return rows < s->n ? rows : s->n;
}

static uint64_t block_at(const shuffle *s, uint64_t pass, uint64_t place)
{
	return hash64_permute(place, s->n_blocks, hash64_mix(s->seed, pass));
}

/* The place of the last block, which may be short, in the order of a pass. */
static uint64_t place_of_last(const shuffle *s, uint64_t pass)
{
	uint64_t place = 0;

	while (block_at(s, pass, place) != s->n_blocks - 1)
		place++;
	return place;
}

void shuffle_group_of(shuffle_group *g, const shuffle *s, uint64_t p)
{
	uint64_t i = p % s->n, whole = s->group * s->block, missing = s->n_blocks * s->block - s->n, last,
	         blocks_end, end;

	g->pass = p / s->n;
	last = missing ? place_of_last(s, g->pass) : s->n_blocks;
	g->number = i / whole;
	for (;; g->number++) { /* a short block before it may put i one group on */
		uint64_t at = g->number * s->group;

		blocks_end = at + s->group < s->n_blocks ? at + s->group : s->n_blocks;
		g->first = at * s->block - (last < at ? missing : 0);
		end = blocks_end * s->block - (last < blocks_end ? missing : 0);
		if (i < end)
			break;
	}
	g->n = end - g->first;
	g->n_blocks = blocks_end - g->number * s->group;
	g->key = hash64_mix(hash64_mix(s->seed, g->pass), ~g->number);
}

static int compare_blocks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void shuffle_group_blocks(const shuffle_group *g, const shuffle *s, uint64_t *blocks)
{
	for (uint64_t b = 0; b < g->n_blocks; b++)
		blocks[b] = block_at(s, g->pass, g->number * s->group + b);
	qsort(blocks, g->n_blocks, sizeof(*blocks), compare_blocks);
}

uint64_t shuffle_group_row(const shuffle_group *g, uint64_t i)
{
	return hash64_permute(i, g->n, g->key);
}
