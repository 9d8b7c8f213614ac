/* Screening kernels as plain loops: the definition. */
#include <math.h>

#include "sae/screen_set.h"

enum { PANEL = 16, OFFSET = 128, POINTS = 64, LANES = 16 };

/* The transform of the 64 values at x[16 (j stride) ..], j < 4, in natural order of the values. */
static void hadamard(float *x, size_t stride)
{
	float v[POINTS];

	for (size_t i = 0; i < POINTS; i++)
		v[i] = x[i / LANES * stride + i % LANES];
	for (size_t h = 1; h < POINTS; h *= 2)
		for (size_t i = 0; i < POINTS; i++)
			if (!(i & h)) {
				float a = v[i], b = v[i + h];

				v[i] = a + b;
				v[i + h] = a - b;
			}
	for (size_t i = 0; i < POINTS; i++)
		x[i / LANES * stride + i % LANES] = v[i] * 0.125f;
}

static void turn(float *x, const float *signs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= signs[i];
	for (size_t i = 0; i < n; i += POINTS)
		hadamard(x + i, LANES);
	for (size_t i = 0; i < n / 4; i += LANES)
		hadamard(x + i, n / 4);
}

static float max_abs(const float *x, size_t n)
{
	float greatest = 0;

	for (size_t i = 0; i < n; i++)
		greatest = fabsf(x[i]) > greatest ? fabsf(x[i]) : greatest;
	return greatest;
}

static void code(int8_t *out, const float *x, size_t n, float scale)
{
	const float inverse = 1 / scale;

	for (size_t i = 0; i < n; i++) {
		float v = x[i] * inverse;

		v = v > -127 ? v : -127; /* NaN too */
		out[i] = (int8_t)lrintf(v < 127 ? v : 127);
	}
}

static float code_norm(const int8_t *c, size_t n)
{
	int32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += c[i] * c[i];
	return sqrtf((float)sum);
}

static float code_error(const int8_t *c, const float *x, size_t n, float scale)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		double lost = (double)x[i] - (double)scale * c[i];

		sum += lost * lost;
	}
	return (float)sqrt(sum);
}

static size_t starts(size_t d)
{
	(void)d;
	return 1;
}

static void start(int32_t *out, const int8_t *c, size_t d)
{
	int32_t sum = 0;

	for (size_t i = 0; i < d; i++)
		sum += c[i];
	*out = -OFFSET * sum;
}

static int32_t code_product(const screen_product *p, size_t t, size_t f)
{
	const uint8_t *w = p->weights + f / PANEL * PANEL * p->d + f % PANEL * 4;
	const int8_t *x = p->rows + t * p->d;
	int32_t sum = p->start[t];

	for (size_t i = 0; i < p->d; i += 4)
		for (size_t j = 0; j < 4; j++)
			sum += w[i * PANEL + j] * x[i + j];
	return sum;
}

static void product(const screen_product *p)
{
	for (size_t t = 0; t < p->n; t++)
		for (size_t f = 0; f < p->n_features; f++) {
			float bound =
			        p->norm[f] * p->row_lost[t] + (p->lost[f] * p->row_norm[t] + p->bias[f]);

			p->out[t * p->stride + f] =
			        (float)code_product(p, t, f) * p->scale[f] * p->row_scale[t] + bound;
		}
}

const screen_set screen_scalar = {
	.name = "scalar",
	.offset = OFFSET,
	.weight_max = 127,
	.turn = turn,
	.max_abs = max_abs,
	.code = code,
	.code_norm = code_norm,
	.code_error = code_error,
	.starts = starts,
	.start = start,
	.product = product,
};
