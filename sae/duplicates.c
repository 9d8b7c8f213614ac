/* How many rows equal an earlier one, by 64-bit hash, in bounded memory: exact up to `max` distinct rows, beyond that an
 * estimate from an ever thinner sample that the hash itself chooses, in which equal rows stay together. */
#include "sae/rows_internal.h"

#include <stdlib.h>

static int by_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool in_sample(const duplicate_count *s, uint64_t hash)
{
	return (hash & ((UINT64_C(1) << s->thin) - 1)) == 0;
}

/* Leaves one of each hash; the others are counted, each for the rows its sample stands for. */
static void fold(duplicate_count *s)
{
	size_t kept = 0;

	if (s->n)
		qsort(s->hashes, s->n, sizeof(*s->hashes), by_u64);
	for (size_t i = 0; i < s->n; i++)
		if (i == 0 || s->hashes[i] != s->hashes[i - 1])
			s->hashes[kept++] = s->hashes[i];
	s->found += (uint64_t)(s->n - kept) << s->thin;
	s->n = kept;
}

/* Halves the sample. */
static void thin_out(duplicate_count *s)
{
	size_t kept = 0;

	s->thin++;
	for (size_t i = 0; i < s->n; i++)
		if (in_sample(s, s->hashes[i]))
			s->hashes[kept++] = s->hashes[i];
	s->n = kept;
}

int duplicates_add(duplicate_count *s, uint64_t hash, error *err)
{
	if (s->n == s->max) {
		fold(s);
		while (s->n > s->max / 2)
			thin_out(s);
	}
	if (!in_sample(s, hash))
		return 0;
	if (mem_grow(&s->hashes, &s->cap, s->n + 1, sizeof(*s->hashes)) < 0)
		return error_nomem(err, "row hashes");
	s->hashes[s->n++] = hash;
	return 0;
}

uint64_t duplicates_found(duplicate_count *s)
{
	fold(s);
	return s->found;
}

void duplicates_clear(duplicate_count *s)
{
	free(s->hashes);
	*s = (duplicate_count){ 0 };
}
