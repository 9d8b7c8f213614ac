/* The inputs of a crosscoder as parts of a row: see parts.h. */
#include <math.h>

#include "sae/fitter.h"
#include "sae/parts.h"

void parts_add(double *squares, const float *row, size_t d, uint32_t n, const kernels *k)
{
	for (uint32_t i = 0; i < n && n > 1; i++)
		squares[i] += k->sum_squares(row + i * (d / n), d / n);
}

void parts_join(parts_sums *all, const parts_sums *s, uint32_t n)
{
	for (uint32_t i = 0; i < n && n > 1; i++) {
		all->y[i] += s->y[i];
		all->e[i] += s->e[i];
	}
}

void parts_fvu(double *fvu, const parts_sums *s, const double *sum_y, size_t d, uint32_t n, size_t rows)
{
	for (uint32_t i = 0; i < n; i++) {
		double total = fitter_scatter(sum_y + i * (d / n), s->y[i], d / n, rows);

		fvu[i] = total > 0 ? s->e[i] / total : 0;
	}
}

double parts_norm(const float *row, size_t d, uint32_t n, const kernels *k)
{
	double sum = 0;

	n = n > 1 ? n : 1;
	for (uint32_t i = 0; i < n; i++)
		sum += sqrt(k->sum_squares(row + i * (d / n), d / n));
	return sum;
}

void parts_norm_gradient(float *grad, double factor, const float *row, size_t d, uint32_t n, const kernels *k)
{
	n = n > 1 ? n : 1;
	for (uint32_t i = 0; i < n; i++) {
		const float *part = row + i * (d / n);
		double norm = sqrt(k->sum_squares(part, d / n));

		if (norm > 0)
			k->axpy(grad + i * (d / n), (float)(factor / norm), part, d / n);
	}
}
