/* L2 logistic regression in FP64. Over weights w (p) and an intercept b that is not penalised, the minimum of
 *	|w|^2 / 2 + C sum_i log(1 + exp(-s_i (x_i . w + b))),    s_i = 1 where y_i, else -1:
 * what scikit-learn's LogisticRegression(C=C) minimises. It is strictly convex, so there is one; both solvers are Newton's method
 * with a line search from w = 0, b = log odds, and stop behind the step that promises to lower the objective by no more than
 * LOGISTIC_TOLERANCE of itself:
 * up to LOGISTIC_DIRECT columns the system is solved by Cholesky, over that by preconditioned conjugate gradients, which only
 * multiply by the matrix. One thread; the same bits always. */
#ifndef GLOSS_SAE_LOGISTIC_H
#define GLOSS_SAE_LOGISTIC_H

#include "sae/sae.h"

#define LOGISTIC_TOLERANCE 1e-6
enum { LOGISTIC_DIRECT = 1024, LOGISTIC_MAX_STEPS = 200 };

/* (n, p): row i is row rows[i] of x, or of codes where x is NULL. */
typedef struct logistic_data {
	uint32_t n, p;
	const uint32_t *rows;
	const float *x;
	const sae_codes *codes;
	const uint8_t *y; /* (n) */
} logistic_data;

typedef struct logistic_fit {
	double bias, objective;
	uint32_t steps; /* of Newton's method */
	bool converged; /* else LOGISTIC_MAX_STEPS were not enough, or no step lowers the objective in FP64 */
} logistic_fit;

/* w (p). Both classes must be there. ERR_NOMEM. */
int logistic_solve(logistic_fit *out, double *w, const logistic_data *data, double c, error *err) MUST_USE;
/* out (n) = x_i . w + b. */
void logistic_margins(double *out, const logistic_data *data, const double *w, double b);

#endif
