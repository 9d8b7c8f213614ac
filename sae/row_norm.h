/* How a row, or a part of one, is normalised: (x - shift) * scale; the way back is x * back + shift. */
#ifndef GLOSS_SAE_ROW_NORM_H
#define GLOSS_SAE_ROW_NORM_H

#include "sae/sae.h"

typedef struct row_norm {
	float shift, scale, back;
} row_norm;

row_norm row_norm_of(sae_norm norm, const float *x, size_t d);

#endif
