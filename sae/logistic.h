/* L2 logistic regression. Over weights w (p) and an intercept b that is not penalised, the minimum of
 *	|w|^2 / 2 + C sum_i v_i log(1 + exp(-s_i (x_i . w + b))),    s_i = 1 where y_i, else -1; v_i the weight of its class:
 * what scikit-learn's LogisticRegression(C=C) minimises. It is strictly convex, so there is one.
 * Up to LOGISTIC_DIRECT columns it is found by Newton's method in FP64, to the last digits that count. Over that by L-BFGS on columns
 * that are centred and scaled by the curvature they have at most, which changes the way but not the end, until the next step promises and
 * the last one gained no more than LOGISTIC_PROMISE of the objective. (scikit-learn ends where partial derivatives are small, which they
 * are long before the end where the classes can be told apart.) Products are FP32 there, sums over blocks of rows FP64.
 * One thread; the same bits always on one kind of CPU. */
#ifndef GLOSS_SAE_LOGISTIC_H
#define GLOSS_SAE_LOGISTIC_H

#include "sae/sae.h"

#define LOGISTIC_PROMISE 2e-3
enum { LOGISTIC_DIRECT = 64, LOGISTIC_MAX_STEPS = 2000, LOGISTIC_SAMPLE = 1024 };

/* (n, p): row i is row rows[i] of x, or of codes where x is NULL. */
typedef struct logistic_data {
	uint32_t n, p;
	const uint32_t *rows;
	const float *x;
	const sae_codes *codes;
	const uint8_t *y; /* (n) */
	double weight[2]; /* of the examples of each class; 1, 1 is plain */
} logistic_data;

typedef struct logistic_fit {
	double bias, objective;
	uint32_t steps;
	bool converged; /* else LOGISTIC_MAX_STEPS were not enough, or no step lowers the objective in FP64 */
} logistic_fit;

/* w (p). Both classes must be there. ERR_NOMEM. */
int logistic_solve(logistic_fit *out, double *w, const logistic_data *data, double c, error *err) MUST_USE;
/* out (n) = x_i . w + b. */
void logistic_margins(double *out, const logistic_data *data, const double *w, double b);

/* The second way, from the intercept out->bias on (logistic_descend.c). */
int logistic_descend(logistic_fit *out, double *w, const logistic_data *data, double c, error *err) MUST_USE;
double logistic_loss(double m); /* log(1 + exp(-m)), without overflow */

#endif
