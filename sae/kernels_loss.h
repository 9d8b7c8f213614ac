/* The kernel `logistic`: plain C that compilers turn into the vectors of the set it is included in, and the same bits in all. */
#ifndef GLOSS_SAE_KERNELS_LOSS_H
#define GLOSS_SAE_KERNELS_LOSS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LOSS_LANES = 16 };

/* e[i] = exp(-a[i]) for 0 <= a[i] <= 87, to 2 units in the last place: 2^k e^f with |f| <= log(2) / 2, a polynomial (Cephes) for e^f. */
static inline void loss_exp_of_minus(float *restrict e, const float *restrict a)
{
	int32_t bits[LOSS_LANES];
	float power[LOSS_LANES];

	for (size_t i = 0; i < LOSS_LANES; i++) {
		float k = (a[i] * -1.44269504f + 12582912.0f) - 12582912.0f; /* to whole numbers */
		float f = (-a[i] - k * 0.693359375f) + k * 2.12194440e-4f, y = 1.9875691500e-4f;

		y = y * f + 1.3981999507e-3f;
		y = y * f + 8.3334519073e-3f;
		y = y * f + 4.1665795894e-2f;
		y = y * f + 1.6666665459e-1f;
		y = y * f + 5.0000001201e-1f;
		e[i] = y * f * f + f + 1;
		bits[i] = ((int32_t)k + 127) * (1 << 23);
	}
	memcpy(power, bits, sizeof(power));
	for (size_t i = 0; i < LOSS_LANES; i++)
		e[i] *= power[i];
}

/* log(1 + e) for 0 <= e <= 1, to 2 units: twice the series of the inverse hyperbolic tangent. */
static inline float loss_log_of_one_and(float e)
{
	float z = e / (2 + e), zz = z * z, sum = 1.0f / 13;

	sum = sum * zz + 1.0f / 11;
	sum = sum * zz + 1.0f / 9;
	sum = sum * zz + 1.0f / 7;
	sum = sum * zz + 1.0f / 5;
	sum = sum * zz + 1.0f / 3;
	return 2 * (z + z * zz * sum);
}

/* Sixteen margins, which become derivatives; their losses are added to sums. */
static inline void loss_add(double *restrict sums, float *restrict x, const float *restrict v)
{
	float far[LOSS_LANES], e[LOSS_LANES], loss[LOSS_LANES];

	for (size_t i = 0; i < LOSS_LANES; i++)
		far[i] = fabsf(x[i]) < 87 ? fabsf(x[i]) : 87;
	loss_exp_of_minus(e, far);
	for (size_t i = 0; i < LOSS_LANES; i++) {
		float m = v[i] < 0 ? -x[i] : x[i], one = 1 / (1 + e[i]), rest = e[i] * one;
		float beyond = m < 0 ? -m : 0 * m; /* NaN for NaN and infinity */

		loss[i] = fabsf(v[i]) * (loss_log_of_one_and(e[i]) + beyond);
		x[i] = -v[i] * (m < 0 ? one : rest);
	}
	for (size_t i = 0; i < LOSS_LANES; i++)
		sums[i] += (double)loss[i];
}

static double logistic(float *x, const float *v, size_t n)
{
	double sums[LOSS_LANES] = { 0 }, sum = 0;
	float last[LOSS_LANES] = { 0 }, weight[LOSS_LANES] = { 0 }; /* what has no weight has no loss */
	size_t whole = n / LOSS_LANES * LOSS_LANES;

	for (size_t i = 0; i < whole; i += LOSS_LANES)
		loss_add(sums, x + i, v + i);
	memcpy(last, x + whole, (n - whole) * sizeof(*x));
	memcpy(weight, v + whole, (n - whole) * sizeof(*v));
	loss_add(sums, last, weight);
	memcpy(x + whole, last, (n - whole) * sizeof(*x));
	for (size_t i = 0; i < LOSS_LANES; i++)
		sum += sums[i];
	return sum;
}

#endif
