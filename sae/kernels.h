/* Kernels: what BLAS lacks, once as a plain definition and once for each instruction set; chosen at run time.
 * Every function gives the same bits for the same numbers whatever the alignment; sets may differ in rounding. */
#ifndef GLOSS_SAE_KERNELS_H
#define GLOSS_SAE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "sae/screen_set.h"

/* One Adam step's constants: w -= step * m / (sqrt(v) * root + eps). */
typedef struct adam_coef {
	float beta1, beta2;
	float rest1, rest2; /* 1 - beta1, 1 - beta2 */
	float step;         /* lr / (1 - beta1^t) */
	float root;         /* 1 / sqrt(1 - beta2^t) */
	float eps;
} adam_coef;

#define KERNELS_DOTS  4
#define KERNELS_SLACK 16 /* elements that filter() and compact() may write behind what they return */

typedef struct kernels {
	const char *name;
	float (*dot)(const float *a, const float *b, size_t n);
	/* out[i] = dot(a, b[i], n) for i < n_b <= KERNELS_DOTS, the same bits. */
	void (*dots)(float *out, const float *a, const float *const *b, size_t n_b, size_t n);
	double (*sum_squares)(const float *a, size_t n);                /* in FP64 */
	void (*add_f64)(double *y, double a, const float *x, size_t n); /* y += a x in FP64 */
	void (*axpy)(float *y, float a, const float *x, size_t n);      /* y += a x */
	void (*scale)(float *x, float a, size_t n);                     /* x *= a */
	void (*center)(float *out, const float *x, float a, const float *b,
	               size_t n); /* out = a x - b; out may be x */
	/* out (d) = sum over j < n of coef[j] * rows[index[j]], rows (., d), added in the order of j. */
	void (*combine)(float *out, const float *rows, size_t d, const uint32_t *index, const float *coef,
	                size_t n);
	/* Append {first + i, pre[i] + bias[i]} for all i < n whose sum is over `above`, i ascending; returns how many.
	 * NaN is never over anything. */
	size_t (*filter)(uint32_t *index, float *value, const float *pre, const float *bias, size_t n,
	                 uint32_t first, float above);
	float (*greatest)(const float *pre, const float *bias,
	                  size_t n); /* of pre[i] + bias[i]; -inf for n = 0 */
	/* The first of n values that is under `low` or over `high`; n: none is. NaN never is. */
	size_t (*outside)(const float *x, size_t n, float low, float high);
	/* out[i] = bin(a[i]) + 64 bin(b[i]) for i < n, where bin(x) = floor((x - low) * scale), at most `last` < 64; 0 for NaN and under. */
	void (*pair_bins)(uint32_t *out, const float *a, const float *b, size_t n, float low, float scale,
	                  uint32_t last);
	/* The k-th largest of n positive values, 1 <= k <= n. */
	float (*kth)(const float *value, size_t n, size_t k);
	/* Keep, in place and in order, the pairs with value over `least` and the first `ties` that equal it; returns how many. */
	size_t (*compact)(uint32_t *index, float *value, size_t n, float least, size_t ties);
	void (*adam)(float *w, float *m, float *v, const float *g, size_t n, const adam_coef *c);
	/* The sum of |v[i]| log(1 + exp(-s x[i])), s the sign of v[i]; x[i] becomes its derivative. Not finite where an x[i]
	 * is not. */
	double (*logistic)(float *x, const float *v, size_t n);
} kernels;

/* The table called `name`, or for NULL the best this CPU runs; NULL when there is none or the CPU cannot run it. */
const kernels *kernels_get(const char *name);
/* Names of all tables, best first, NULL at the end. */
extern const char *const kernels_names[];

/* Keep the `width` largest of n pairs with positive values, in place and in order, of equal ones the first; returns how many
 * stay. *least becomes the smallest of them if any had to go, else it is left as it is. */
size_t kernels_keep_largest(const kernels *k, uint32_t *index, float *value, size_t n, size_t width,
                            float *least);
/* The 8-bit kernels that go with a table on this CPU. */
const screen_set *kernels_screen(const kernels *k);

extern const kernels kernels_scalar, kernels_avx2, kernels_avx512;

#endif
