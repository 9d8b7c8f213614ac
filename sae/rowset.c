/* Sets of rows with O(log rows) access by rank. */
#include "sae/rows_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { BLOCK_WORDS = ROWSET_BLOCK / 64 };

int rowset_init(rowset *s, uint64_t n_rows, error *err)
{
	s->n_rows = n_rows;
	s->n_blocks = n_rows / ROWSET_BLOCK + 1;
	s->bits = calloc(s->n_blocks * BLOCK_WORDS, sizeof(*s->bits));
	s->before = calloc(s->n_blocks + 1, sizeof(*s->before));
	return s->bits && s->before ? 0 : error_nomem(err, "a set of rows");
}

void rowset_clear(rowset *s)
{
	free(s->bits);
	free(s->before);
	*s = (rowset){ 0 };
}

bool rowset_has(const rowset *s, uint64_t row)
{
	return s->bits[row / 64] >> (row % 64) & 1;
}

void rowset_add(rowset *s, uint64_t row)
{
	s->bits[row / 64] |= UINT64_C(1) << (row % 64);
}

void rowset_remove(rowset *s, uint64_t row)
{
	s->bits[row / 64] &= ~(UINT64_C(1) << (row % 64));
}

void rowset_count(rowset *s)
{
	for (uint64_t b = 0; b < s->n_blocks; b++) {
		s->before[b + 1] = s->before[b];
		for (int w = 0; w < BLOCK_WORDS; w++)
			s->before[b + 1] += (uint64_t)__builtin_popcountll(s->bits[b * BLOCK_WORDS + w]);
	}
}

uint64_t rowset_size(const rowset *s)
{
	return s->before[s->n_blocks];
}

uint64_t rowset_select(const rowset *s, uint64_t i)
{
	uint64_t low = 0, high = s->n_blocks - 1, word;

	assert(i < rowset_size(s));
	while (low < high) { /* the last block with at most i members before it */
		uint64_t middle = low + (high - low + 1) / 2;
		if (s->before[middle] <= i)
			low = middle;
		else
			high = middle - 1;
	}
	i -= s->before[low];
	for (word = low * BLOCK_WORDS;; word++) {
		uint64_t members = (uint64_t)__builtin_popcountll(s->bits[word]);
		if (i < members)
			break;
		i -= members;
	}
	for (uint64_t bits = s->bits[word];; bits &= bits - 1)
		if (i-- == 0)
			return word * 64 + (uint64_t)__builtin_ctzll(bits);
}
