/* Which kernels run: the best table the CPU can, or the one asked for. */
#include <string.h>

#include "base/base.h"
#include "sae/kernels.h"
#include "sae/sae.h"

static const struct {
	const kernels *k;
	unsigned needs; /* CPU_ bits */
} tables[] = {
	{ &kernels_avx512, CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL | CPU_FMA },
	{ &kernels_avx2, CPU_AVX2 | CPU_FMA },
	{ &kernels_scalar, 0 },
};

const char *const kernels_names[] = { "avx512", "avx2", "scalar", NULL };

const kernels *kernels_get(const char *name)
{
	unsigned have = cpu_features();

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		if (name && strcmp(name, tables[i].k->name) != 0)
			continue;
		if ((have & tables[i].needs) == tables[i].needs)
			return tables[i].k;
	}
	return NULL;
}

size_t kernels_keep_largest(const kernels *k, uint32_t *index, float *value, size_t n, size_t width,
                            float *least)
{
	size_t over = 0;

	if (n <= width)
		return n;
	*least = k->kth(value, n, width);
	for (size_t i = 0; i < n; i++)
		over += value[i] > *least;
	return k->compact(index, value, n, *least, width - over);
}

const screen_set *kernels_screen(const kernels *k)
{
	if (k == &kernels_scalar)
		return &screen_scalar;
	return k == &kernels_avx512 && cpu_features() & CPU_AVX512VNNI ? &screen_vnni : &screen_avx2;
}

const char *sae_kernels_name(const char *name)
{
	const kernels *k = kernels_get(name);

	return k ? k->name : NULL;
}
