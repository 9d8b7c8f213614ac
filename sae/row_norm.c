/* Rows normalised: see row_norm.h. */
#include "sae/row_norm.h"

#include <math.h>

row_norm row_norm_of(sae_norm norm, const float *x, size_t d)
{
	double sum = 0, squares = 0, mean, deviation, length;

	if (norm == SAE_NORM_NONE)
		return (row_norm){ 0, 1, 1 };
	if (norm == SAE_NORM_UNIT) {
		for (size_t i = 0; i < d; i++)
			squares += (double)x[i] * (double)x[i];
		length = sqrt(squares / (double)d);
		return (row_norm){ 0, length > 0 ? (float)(1 / length) : 0, (float)length };
	}
	for (size_t i = 0; i < d; i++)
		sum += (double)x[i];
	mean = sum / (double)d;
	for (size_t i = 0; i < d; i++)
		squares += ((double)x[i] - mean) * ((double)x[i] - mean);
	deviation = d > 1 ? sqrt(squares / (double)(d - 1)) : 0;
	return (row_norm){ (float)mean, (float)(1 / (deviation + 1e-5)), (float)deviation };
}
