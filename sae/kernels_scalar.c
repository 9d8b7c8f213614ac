/* The definition of every kernel: plain loops. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "sae/kernels.h"
#include "sae/kernels_loss.h"

static float dot(const float *a, const float *b, size_t n)
{
	float sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static void dots(float *out, const float *a, const float *const *b, size_t n_b, size_t n)
{
	for (size_t i = 0; i < n_b; i++)
		out[i] = dot(a, b[i], n);
}

static double sum_squares(const float *a, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * a[i];
	return sum;
}

static void add_f64(double *y, double a, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

static void axpy(float *y, float a, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

static void scale(float *x, float a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= a;
}

static void center(float *out, const float *x, float a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = a * x[i] - b[i];
}

static void combine(float *out, const float *rows, size_t d, const uint32_t *index, const float *coef,
                    size_t n)
{
	memset(out, 0, d * sizeof(*out));
	for (size_t j = 0; j < n; j++)
		axpy(out, coef[j], rows + index[j] * d, d);
}

static size_t filter(uint32_t *index, float *value, const float *pre, const float *bias, size_t n,
                     uint32_t first, float above)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		float sum = pre[i] + bias[i];

		if (sum > above) {
			index[kept] = first + (uint32_t)i;
			value[kept++] = sum;
		}
	}
	return kept;
}

static float greatest(const float *pre, const float *bias, size_t n)
{
	float best = -INFINITY;

	for (size_t i = 0; i < n; i++)
		best = pre[i] + bias[i] > best ? pre[i] + bias[i] : best;
	return best;
}

static size_t outside(const float *x, size_t n, float low, float high)
{
	size_t i = 0;

	while (i < n && !(x[i] < low || x[i] > high))
		i++;
	return i;
}

static uint32_t bin_of(float x, float low, float scale, float last)
{
	float at = (x - low) * scale;

	at = at > 0 ? at : 0;
	return (uint32_t)(at < last ? at : last);
}

static void pair_bins(uint32_t *out, const float *a, const float *b, size_t n, float low, float scale,
                      uint32_t last)
{
	for (size_t i = 0; i < n; i++)
		out[i] = bin_of(a[i], low, scale, (float)last) + 64 * bin_of(b[i], low, scale, (float)last);
}

/* Positive floats order as their bits do: find the highest bits that k values reach, bit by bit. */
static float kth(const float *value, size_t n, size_t k)
{
	uint32_t reach = 0;
	float result;

	for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 1) {
		size_t count = 0;

		for (size_t i = 0; i < n; i++) {
			uint32_t bits;

			memcpy(&bits, &value[i], sizeof(bits));
			count += bits >= (reach | bit);
		}
		if (count >= k)
			reach |= bit;
	}
	memcpy(&result, &reach, sizeof(result));
	return result;
}

static size_t compact(uint32_t *index, float *value, size_t n, float least, size_t ties)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		bool tie = value[i] == least && ties > 0;

		if (value[i] > least || tie) {
			index[kept] = index[i];
			value[kept++] = value[i];
			ties -= tie;
		}
	}
	return kept;
}

static void adam(float *w, float *m, float *v, const float *g, size_t n, const adam_coef *c)
{
	for (size_t i = 0; i < n; i++) {
		m[i] = c->beta1 * m[i] + c->rest1 * g[i];
		v[i] = c->beta2 * v[i] + c->rest2 * g[i] * g[i];
		w[i] -= c->step * m[i] / (sqrtf(v[i]) * c->root + c->eps);
	}
}

const kernels kernels_scalar = {
	.name = "scalar",
	.dot = dot,
	.dots = dots,
	.sum_squares = sum_squares,
	.add_f64 = add_f64,
	.axpy = axpy,
	.scale = scale,
	.center = center,
	.combine = combine,
	.filter = filter,
	.greatest = greatest,
	.outside = outside,
	.pair_bins = pair_bins,
	.kth = kth,
	.compact = compact,
	.adam = adam,
	.logistic = logistic,
};
