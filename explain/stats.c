#include "explain/stats.h"

#include <math.h>

static const double z95 = 1.959963984540054; /* 97.5 % point of the normal distribution */

stats_rate stats_wilson(uint32_t hits, uint32_t n)
{
	stats_rate r = { hits, n, NAN, NAN, NAN };
	double p, z2, centre, half, scale;

	if (n == 0)
		return r;
	p = (double)hits / n;
	z2 = z95 * z95 / n;
	scale = 1 / (1 + z2);
	centre = (p + z2 / 2) * scale;
	half = z95 * sqrt(p * (1 - p) / n + z2 / (4.0 * n)) * scale;
	r.value = p;
	r.low = hits == 0 ? 0 : fmax(0, centre - half);
	r.high = hits == n ? 1 : fmin(1, centre + half);
	return r;
}

stats_balanced stats_balanced_accuracy(uint32_t true_positive, uint32_t n_positive, uint32_t true_negative,
                                       uint32_t n_negative)
{
	stats_balanced b = { stats_wilson(true_positive, n_positive), stats_wilson(true_negative, n_negative),
		             NAN, NAN, NAN };

	if (n_positive == 0 || n_negative == 0)
		return b;
	b.value = (b.tpr.value + b.tnr.value) / 2;
	b.low = b.value - hypot(b.tpr.value - b.tpr.low, b.tnr.value - b.tnr.low) / 2;
	b.high = b.value + hypot(b.tpr.high - b.tpr.value, b.tnr.high - b.tnr.value) / 2;
	return b;
}

unsigned stats_decile(size_t i, size_t n)
{
	return (unsigned)(i * 10 / n);
}

size_t stats_spread(size_t *out, size_t want, size_t n)
{
	if (want > n)
		want = n;
	for (size_t i = 0; i < want; i++)
		out[i] = want == 1 ? 0 : i * (n - 1) / (want - 1);
	return want;
}
