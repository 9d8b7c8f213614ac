/* turn.h: the definition, and which kernel runs. */
#include "sae/turn.h"

#include <string.h>

static void scalar_turn(float *out, size_t out_pitch, const float *in, size_t in_pitch, size_t rows,
                        size_t columns)
{
	for (size_t j = 0; j < columns; j++)
		for (size_t i = 0; i < rows; i++)
			out[j * out_pitch + i] = in[i * in_pitch + j];
}

const turn_kernels turn_scalar = { "scalar", scalar_turn };

const turn_kernels *turn_kernels_get(const char *name)
{
	static const struct {
		const turn_kernels *k;
		unsigned needs;
	} tables[] = { /* best first */
		       { &turn_avx2, CPU_AVX2 },
		       { &turn_scalar, 0 }
	};

	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		if ((cpu_features() & tables[i].needs) == tables[i].needs &&
		    (!name || strcmp(name, tables[i].k->name) == 0))
			return tables[i].k;
	return NULL;
}

void turn_floats(float *out, size_t out_pitch, const float *in, size_t in_pitch, size_t rows, size_t columns)
{
	const turn_kernels *k = turn_kernels_get(NULL);

	for (size_t i = 0; i < rows; i += TURN_ROWS)
		k->turn(out + i, out_pitch, in + i * in_pitch, in_pitch,
		        rows - i < TURN_ROWS ? rows - i : TURN_ROWS, columns);
}
