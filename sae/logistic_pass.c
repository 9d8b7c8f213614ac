/* See logistic_pass.h. */
#include "sae/logistic_pass.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64, CODE_ROWS = 4096, SAMPLE = 1024 };

static void dense_rows(float *out, const logistic_data *data, const float *w, const kernels *k)
{
	for (uint32_t i = 0, m; i < data->n; i += m) {
		const float *x[KERNELS_DOTS];

		for (m = 0; m < KERNELS_DOTS && i + m < data->n; m++)
			x[m] = data->x + (size_t)data->rows[i + m] * data->p;
		k->dots(out + i, w, x, m, data->p);
	}
}

static void code_rows(float *out, const logistic_data *data, const float *w)
{
	const size_t *first = data->codes->first;

	for (uint32_t i = 0; i < data->n; i++) {
		const size_t row = data->rows[i], n = first[row + 1] - first[row];
		const uint32_t *index = data->codes->index + first[row];
		const float *value = data->codes->value + first[row];
		float sum[4] = { 0 }; /* one would wait for itself */
		size_t at = 0;

		for (; at + 4 <= n; at += 4)
			for (size_t j = 0; j < 4; j++)
				sum[j] += value[at + j] * w[index[at + j]];
		for (; at < n; at++)
			sum[0] += value[at] * w[index[at]];
		out[i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
	}
}

void logistic_pass_rows(float *out, const logistic_data *data, const float *w, double b, const kernels *k)
{
	if (data->x)
		dense_rows(out, data, w, k);
	else
		code_rows(out, data, w);
	for (uint32_t i = 0; i < data->n; i++)
		out[i] = (float)(b + (double)out[i]);
}

/* Add by[i] x_i for all i < n; rows are theirs. */
static void code_columns(float *restrict out, const sae_codes *codes, const uint32_t *rows, const float *by,
                         uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const size_t first = codes->first[rows[i]], count = codes->first[rows[i] + 1] - first;
		const uint32_t *index = codes->index + first;
		const float *value = codes->value + first, factor = by[i];
		size_t at = 0;

		for (; at + 2 <= count; at += 2) { /* no row has a column twice */
			float one = out[index[at]] + factor * value[at];
			float two = out[index[at + 1]] + factor * value[at + 1];

			out[index[at]] = one;
			out[index[at + 1]] = two;
		}
		if (at < count)
			out[index[at]] += factor * value[at];
	}
}

void logistic_pass_columns(double *out, float *room, const logistic_data *data, const float *by,
                           const kernels *k)
{
	const uint32_t most = data->x ? ROWS : CODE_ROWS;

	memset(out, 0, data->p * sizeof(*out));
	for (uint32_t i = 0, n; i < data->n; i += n) {
		n = data->n - i < most ? data->n - i : most;
		if (data->x) {
			k->combine(room, data->x, data->p, data->rows + i, by + i, n);
		} else {
			memset(room, 0, data->p * sizeof(*room));
			code_columns(room, data->codes, data->rows + i, by + i, n);
		}
		k->add_f64(out, 1, room, data->p);
	}
}

/* Add weight x and weight x^2 to the pairs of sums. */
static void add_row(double (*restrict sums)[2], const logistic_data *data, size_t row, double weight)
{
	const sae_codes *codes = data->codes;
	size_t first = data->x ? 0 : codes->first[row], n = data->x ? data->p : codes->first[row + 1] - first;
	const float *x = data->x ? data->x + row * data->p : codes->value + first;

	for (size_t j = 0; j < n; j++) {
		double part = weight * (double)x[j], *to = sums[data->x ? j : codes->index[first + j]];

		to[0] += part;
		to[1] += part * (double)x[j];
	}
}

void logistic_pass_spread(double *mean, double *square, double (*room)[2], const logistic_data *data)
{
	uint32_t step = data->x ? data->n / SAMPLE | 1 : 1; /* odd: rows may repeat by twos */
	double all = 0, seen = 0;

	memset(room, 0, data->p * sizeof(*room));
	for (uint32_t i = 0; i < data->n; i++) {
		double weight = data->weight[data->y[i]];

		all += weight;
		if (i % step)
			continue;
		seen += weight;
		add_row(room, data, data->rows[i], weight);
	}
	for (uint32_t j = 0; j < data->p; j++) {
		mean[j] = room[j][0] / seen;
		square[j] = fmax(0, room[j][1] / seen - mean[j] * mean[j]) * all;
	}
}

void logistic_pass_squares(double *square, double (*room)[2], const logistic_data *data, const float *by,
                           const double *mean)
{
	double total = 0;

	memset(room, 0, data->p * sizeof(*room));
	for (uint32_t i = 0; i < data->n; i++) {
		total += (double)by[i];
		add_row(room, data, data->rows[i], (double)by[i]);
	}
	for (uint32_t j = 0; j < data->p; j++)
		square[j] = fmax(0, room[j][1] - mean[j] * (2 * room[j][0] - mean[j] * total));
}
