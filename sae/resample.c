/* Weighted draws without replacement: the rows whose exponential clocks of that rate ring first (Efraimidis and Spirakis). */
#include "sae/resample.h"

#include <math.h>

/* The heap's root is the latest of the rows held. */
static void sink(uint32_t *heap, size_t n, size_t at, const double *key)
{
	for (;;) {
		size_t child = 2 * at + 1;
		uint32_t held = heap[at];

		if (child >= n)
			return;
		if (child + 1 < n && key[heap[child + 1]] > key[heap[child]])
			child++;
		if (key[heap[child]] <= key[held])
			return;
		heap[at] = heap[child];
		heap[child] = held;
		at = child;
	}
}

void resample_choose(uint32_t *rows, size_t count, const double *weight, size_t n, uint64_t seed, double *key)
{
	if (!count)
		return;
	for (size_t i = 0; i < n; i++)
		key[i] = weight[i] > 0 ? -log1p(-hash64_unit(hash64_mix(seed, i))) / weight[i] : INFINITY;
	for (size_t i = 0; i < count; i++)
		rows[i] = (uint32_t)i;
	for (size_t i = count / 2; i-- > 0;)
		sink(rows, count, i, key);
	for (size_t i = count; i < n; i++)
		if (key[i] < key[rows[0]]) {
			rows[0] = (uint32_t)i;
			sink(rows, count, 0, key);
		}
	for (size_t left = count; left > 1; left--) { /* in the order drawn */
		uint32_t last = rows[0];

		rows[0] = rows[left - 1];
		rows[left - 1] = last;
		sink(rows, left - 1, 0, key);
	}
}

double resample_measure(const resample_batch *b)
{
	double squares = 0, of_mean = 0;

	memset(b->mean, 0, b->d * sizeof(*b->mean));
	for (size_t t = 0; t < b->n; t++) {
		b->loss[t] = sqrt(b->k->sum_squares(b->e + t * b->d_out, b->d_out));
		squares += b->k->sum_squares(b->x + t * b->d, b->d);
		if (b->pairs)
			b->k->add_f64(b->mean, 1, b->x + t * b->d, b->d);
	}
	for (size_t i = 0; i < b->d; i++) {
		b->mean[i] /= (double)b->n;
		of_mean += b->mean[i] * b->mean[i];
	}
	return sqrt(fmax(squares / (double)b->n - of_mean, 0));
}

double resample_begin(float *enc, float *dec, const resample_batch *b, size_t row, double encoder_scale,
                      double decoder_norm)
{
	const float *x = b->x + row * b->d, *to = b->pairs ? b->e + row * b->d_out : x;
	double norm = sqrt(b->k->sum_squares(to, b->d_out)), bias = 0;

	for (size_t i = 0; i < b->d; i++) {
		enc[i] = (float)(encoder_scale * ((double)x[i] - b->mean[i]));
		bias -= b->mean[i] * (double)enc[i];
	}
	for (size_t i = 0; i < b->d_out && norm > 0; i++)
		dec[i] = (float)(decoder_norm / norm * (double)to[i]);
	return bias;
}
