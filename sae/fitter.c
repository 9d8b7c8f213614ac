/* Which kind of step fits which architecture, and lists of arrays. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "sae/fitter.h"
#include "sae/median.h"

/* clang-format off */
static const struct {
	sae_arch arch;
	const fitter_kind *kind;
} kinds[] = {
	{ SAE_TOPK, &fitter_sparse },
	{ SAE_BATCHTOPK, &fitter_sparse },
	{ SAE_GROUPMAX, &fitter_sparse },
	{ SAE_MATRYOSHKA, &fitter_sparse },
	{ SAE_MULTITOPK, &fitter_sparse },
	{ SAE_CODEBOOK, &fitter_codebook },
	{ SAE_PURSUIT, &fitter_pursuit },
	{ SAE_RELU, &fitter_dense },
	{ SAE_PANNEAL, &fitter_dense },
	{ SAE_GATED, &fitter_dense },
	{ SAE_JUMPRELU, &fitter_dense },
};
/* clang-format on */

const fitter_kind *fitter_kind_of(const sae_train_opts *o)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].arch == o->arch)
			return kinds[i].kind;
	return NULL;
}

static void add(fitter_arrays *list, const checkpoint_array *a, bool weight)
{
	assert(list->n < FITTER_ARRAYS && strlen(a->name) < FITTER_NAME);
	list->items[list->n++] = (fitter_array){ *a, weight };
}

void fitter_add(fitter_arrays *list, const char *name, sae_dtype dtype, size_t n, void *data)
{
	add(list, &(checkpoint_array){ name, dtype, n, data }, false);
}

void fitter_add_weight(fitter_arrays *list, const char *name, size_t n, float *data)
{
	add(list, &(checkpoint_array){ name, SAE_F32, n, data }, true);
}

uint64_t fitter_spare(const fitter_part *parts, size_t n, bool forget)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		bytes += parts[i].data ? parts[i].bytes : 0;
		if (forget && parts[i].data)
			mem_forget(parts[i].data, parts[i].bytes);
	}
	return bytes;
}

int fitter_start_bias(float *b_dec, sae_bias bias, const fitter_sample *s, size_t d_out, pool *p, error *err)
{
	double *median = NULL;
	const double *at = s->mean_y;
	int rc = 0;

	if (bias == SAE_BIAS_MEDIAN) {
		at = median = mem_alloc_aligned(d_out, sizeof(*median));
		rc = median ? geometric_median(median, s->y,
		                               s->n < FITTER_MEDIAN_ROWS ? s->n : FITTER_MEDIAN_ROWS, d_out,
		                               p, err)
		            : error_nomem(err, "the median of the rows");
	}
	for (size_t i = 0; i < d_out && rc == 0; i++)
		b_dec[i] = bias == SAE_BIAS_ZERO ? 0 : (float)at[i];
	free(median);
	return rc;
}

double fitter_scatter(const double *sum, double squares, size_t d, size_t rows)
{
	const double least = 1e-12; /* of the squares: rows that differ by more do so in single precision */
	double mean_part = 0;

	for (size_t i = 0; i < d; i++)
		mean_part += sum[i] * sum[i];
	mean_part /= (double)rows;
	return squares - mean_part > least * squares ? squares - mean_part : 0;
}

void fitter_random_row(float *row, size_t d, double length, bool normal, uint64_t seed, size_t f)
{
	double squares = 0, norm;

	for (size_t i = 0; i < d; i++) {
		uint64_t hash = hash64_mix(seed, f * d + i);
		double unit = hash64_unit(hash);

		if (normal) /* Box and Muller */
			row[i] = (float)(sqrt(-2 * log(1 - unit)) *
			                 cos(2 * acos(-1) * hash64_unit(hash64_mix(hash, 1))));
		else
			row[i] = (float)(2 * unit - 1);
		squares += (double)row[i] * row[i];
	}
	norm = squares > 0 ? sqrt(squares) : 1;
	for (size_t i = 0; i < d; i++)
		row[i] = (float)(row[i] / norm * length);
}
