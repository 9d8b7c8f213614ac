/* Rows and medians of the benchmarks. */
#include "bench/rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int open_dump(bench_rows *b, pool *p, error *err)
{
	const sae_rows_opts keep = { .max_norm_ratio = 10 };
	shuffle order;
	int rc = sae_dump_open(&b->dump, &b->dump_path, 1, NULL, err);

	if (rc == 0)
		rc = sae_rows_scan(&b->rows, b->dump, &keep, false, p, NULL, err);
	if (rc == 0)
		rc = sae_rows_split(b->rows, b->dump, 0, SAE_SPLIT_TAIL, 0, err);
	if (rc < 0)
		return rc;
	b->d = sae_dump_get_info(b->dump)->d_in;
	b->scale = (float)(sqrt(b->d) / sae_rows_get_stats(b->rows)->mean_norm);
	shuffle_init(&order, sae_rows_n(b->rows, false), b->d, false, 0);
	return loader_new(&b->loader, b->dump, b->rows, &order, b->batch, 0, NULL, err);
}

/* Sparse sums of random directions: pre-activations with a long tail, as real ones have. */
static void make_rows(bench_rows *b)
{
	for (size_t t = 0; t < b->batch; t++)
		for (size_t i = 0; i < b->d; i++) {
			double sum = 0;

			for (uint64_t j = 0; j < 8; j++) {
				uint64_t f = hash64_below(hash64_mix(0, t * 8 + j), 2000);

				sum += hash64_unit(hash64_mix(f + 1, i)) - 0.5;
			}
			b->made[t * b->d + i] = (float)sum;
		}
}

int bench_rows_open(bench_rows *b, pool *p, error *err)
{
	b->scale = 1;
	if (b->dump_path)
		return open_dump(b, p, err);
	b->made = mem_alloc_aligned(b->batch, b->d * sizeof(float));
	b->copy = mem_alloc_aligned(b->batch, b->d * sizeof(float));
	if (!b->made || !b->copy)
		return error_nomem(err, "rows");
	make_rows(b);
	return 0;
}

void bench_rows_close(bench_rows *b)
{
	loader_free(b->loader);
	sae_rows_free(b->rows);
	sae_dump_close(b->dump);
	free(b->made);
	free(b->copy);
}

int bench_rows_next(bench_rows *b, float **x, error *err)
{
	if (b->loader)
		return loader_next(b->loader, x, NULL, err);
	memcpy(b->copy, b->made, (size_t)b->batch * b->d * sizeof(float));
	*x = b->copy;
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(const double *v, size_t n, size_t stride)
{
	double *sorted = malloc(n * sizeof(*sorted)), result;

	if (!sorted)
		return NAN;
	for (size_t i = 0; i < n; i++)
		sorted[i] = v[i * stride];
	qsort(sorted, n, sizeof(*sorted), compare);
	result = sorted[n / 2];
	free(sorted);
	return result;
}
