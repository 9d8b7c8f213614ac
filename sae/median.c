/* Weiszfeld's iteration: see median.h. */
#include "sae/median.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEDIAN_BLOCK = 512, MEDIAN_ROUNDS = 100 }; /* rows whose sums are one task's */
#define MEDIAN_ENOUGH 1e-5

typedef struct weiszfeld {
	const float *x;
	size_t n, d;
	const double *at; /* (d); NULL: all rows weigh the same */
	double *sums;     /* (blocks, d + 1): weighted rows, weights */
} weiszfeld;

static void block_task(void *payload, size_t block, unsigned worker)
{
	const weiszfeld *w = payload;
	size_t first = block * MEDIAN_BLOCK, d = w->d;
	size_t end = first + MEDIAN_BLOCK < w->n ? first + MEDIAN_BLOCK : w->n;
	double *sum = w->sums + block * (d + 1);

	(void)worker;
	memset(sum, 0, (d + 1) * sizeof(*sum));
	for (size_t t = first; t < end; t++) {
		const float *x = w->x + t * d;
		double squares = 0, weight;

		for (size_t i = 0; i < d && w->at; i++)
			squares += ((double)x[i] - w->at[i]) * ((double)x[i] - w->at[i]);
		weight = !w->at        ? 1
		         : squares > 0 ? 1 / sqrt(squares)
		                       : 0; /* a row that is there pulls nowhere */
		for (size_t i = 0; i < d; i++)
			sum[i] += weight * (double)x[i];
		sum[d] += weight;
	}
}

/* The weighted mean into out; how far it is from w->at. */
static double next(double *out, weiszfeld *w, size_t n_blocks, pool *p)
{
	double *total = w->sums, moved = 0;

	pool_run(p, n_blocks, block_task, w);
	for (size_t b = 1; b < n_blocks; b++)
		for (size_t i = 0; i <= w->d; i++)
			total[i] += w->sums[b * (w->d + 1) + i];
	if (!(total[w->d] > 0)) /* all rows are the median */
		return 0;
	for (size_t i = 0; i < w->d; i++) {
		double value = total[i] / total[w->d], step = w->at ? value - w->at[i] : 0;

		moved += step * step;
		out[i] = value;
	}
	return sqrt(moved);
}

int geometric_median(double *out, const float *x, size_t n, size_t d, pool *p, error *err)
{
	size_t n_blocks = (n + MEDIAN_BLOCK - 1) / MEDIAN_BLOCK;
	weiszfeld w = { .x = x, .n = n, .d = d };

	w.sums = mem_alloc_aligned(n_blocks, (d + 1) * sizeof(double));
	if (!w.sums)
		return error_nomem(err, "the geometric median");
	(void)next(out, &w, n_blocks, p);
	w.at = out;
	for (int round = 0; round < MEDIAN_ROUNDS; round++)
		if (next(out, &w, n_blocks, p) < MEDIAN_ENOUGH)
			break;
	free(w.sums);
	return 0;
}
