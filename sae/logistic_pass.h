/* Passes over the rows of a logistic regression; sums over rows are FP32 within a block of them, FP64 over blocks. */
#ifndef GLOSS_SAE_LOGISTIC_PASS_H
#define GLOSS_SAE_LOGISTIC_PASS_H

#include "sae/kernels.h"
#include "sae/logistic.h"

/* out (n) = x_i . w + b, w (p). */
void logistic_pass_rows(float *out, const logistic_data *data, const float *w, double b, const kernels *k);
/* out (p) = the sum of by[i] x_i. room (p) is overwritten. */
void logistic_pass_columns(double *out, float *room, const logistic_data *data, const float *by,
                           const kernels *k);
/* Of the columns (p): mean, and square = the sum of (x - mean)^2, rows weighted as their classes are; of dense rows as some of them tell.
 * room (p, 2) is overwritten. */
void logistic_pass_spread(double *mean, double *square, double (*room)[2], const logistic_data *data);
/* square (p) = the sum of by[i] (x_i - mean)^2. room (p, 2) is overwritten. */
void logistic_pass_squares(double *square, double (*room)[2], const logistic_data *data, const float *by,
                           const double *mean);

#endif
