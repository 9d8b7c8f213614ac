/* Rows for the benchmarks: a dump's training rows in shuffled order, or synthetic ones; and medians. */
#ifndef GLOSS_BENCH_ROWS_H
#define GLOSS_BENCH_ROWS_H

#include "sae/shuffle.h"

typedef struct bench_rows {
	const char *dump_path; /* NULL: synthetic rows of width d */
	uint32_t d, batch;
	float scale; /* what makes the rows' mean norm the root of d; 1 for synthetic ones */
	sae_dump *dump;
	sae_rows *rows;
	loader *loader;
	float *made, *copy; /* (batch, d) */
} bench_rows;

/* dump_path, d and batch are the caller's; d becomes the dump's. */
int bench_rows_open(bench_rows *b, pool *p, error *err) MUST_USE;
void bench_rows_close(bench_rows *b);
/* The next rows (batch, d), which may be written to; synthetic ones are the same every time. */
int bench_rows_next(bench_rows *b, float **x, error *err) MUST_USE;

/* Of v[0], v[stride] .. n values. */
double bench_median(const double *v, size_t n, size_t stride);

#endif
