/* The inputs of a crosscoder: equal parts of a row, each with errors and a norm of its own. */
#ifndef GLOSS_SAE_PARTS_H
#define GLOSS_SAE_PARTS_H

#include "sae/kernels.h"
#include "sae/sae.h"

/* Sums over rows of the squares of each part: of what is to be explained, and of the errors. */
typedef struct parts_sums {
	double y[SAE_PARTS_MAX], e[SAE_PARTS_MAX];
} parts_sums;

/* squares[i] += those of part i of a row (d); n under 2: nothing. */
void parts_add(double *squares, const float *row, size_t d, uint32_t n, const kernels *k);
/* FVU of each part; sum_y (d): sums over the rows. A part that does not vary has 0. */
void parts_fvu(double *fvu, const parts_sums *s, const double *sum_y, size_t d, uint32_t n, size_t rows);
void parts_join(parts_sums *all, const parts_sums *s, uint32_t n);
/* Sum of the norms of a row's parts; n under 2: its norm. */
double parts_norm(const float *row, size_t d, uint32_t n, const kernels *k);
/* Add factor times the gradient of that to grad (d). A part of zeros has none. */
void parts_norm_gradient(float *grad, double factor, const float *row, size_t d, uint32_t n,
                         const kernels *k);

#endif
