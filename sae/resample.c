/* Weighted draws without replacement: the rows whose exponential clocks of that rate ring first (Efraimidis and Spirakis). */
#include "sae/resample.h"

#include <math.h>

/* The heap's root is the latest of the rows held. */
static void sink(uint32_t *heap, size_t n, size_t at, const double *key)
{
	for (;;) {
		size_t child = 2 * at + 1;
		uint32_t held = heap[at];

		if (child >= n)
			return;
		if (child + 1 < n && key[heap[child + 1]] > key[heap[child]])
			child++;
		if (key[heap[child]] <= key[held])
			return;
		heap[at] = heap[child];
		heap[child] = held;
		at = child;
	}
}

void resample_choose(uint32_t *rows, size_t count, const double *weight, size_t n, uint64_t seed, double *key)
{
	if (!count)
		return;
	for (size_t i = 0; i < n; i++)
		key[i] = weight[i] > 0 ? -log1p(-hash64_unit(hash64_mix(seed, i))) / weight[i] : INFINITY;
	for (size_t i = 0; i < count; i++)
		rows[i] = (uint32_t)i;
	for (size_t i = count / 2; i-- > 0;)
		sink(rows, count, i, key);
	for (size_t i = count; i < n; i++)
		if (key[i] < key[rows[0]]) {
			rows[0] = (uint32_t)i;
			sink(rows, count, 0, key);
		}
	for (size_t left = count; left > 1; left--) { /* in the order drawn */
		uint32_t last = rows[0];

		rows[0] = rows[left - 1];
		rows[left - 1] = last;
		sink(rows, left - 1, 0, key);
	}
}
