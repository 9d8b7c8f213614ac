/* kappa: how two judges agree, item by item. */
#include <math.h>
#include <stdlib.h>

#include "explain/stats.h"

enum { CLASSES = 16 };

double stats_clustered(const double *term, const uint32_t *cluster, size_t n, size_t *clusters)
{
	double apart = 0, together = 0, sum = 0, g;

	*clusters = 0;
	for (size_t i = 0; i < n; i++) {
		apart += term[i] * term[i];
		sum += term[i];
		if (i + 1 == n || cluster[i + 1] != cluster[i]) {
			together += sum * sum;
			sum = 0;
			++*clusters;
		}
	}
	g = (double)*clusters;
	return sqrt(fmax(apart, *clusters > 1 ? together * g / (g - 1) : 0));
}

int stats_kappa_of(stats_kappa *out, const uint8_t *a, const uint8_t *b, const uint32_t *cluster, size_t n,
                   double level, error *err)
{
	double p[CLASSES] = { 0 }, q[CLASSES] = { 0 }, same = 0, by_chance = 0, chance, value, half, *term;

	*out = (stats_kappa){ { NAN, NAN, NAN }, NAN, NAN, n, 0 };
	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		p[a[i]]++;
		q[b[i]]++;
		same += a[i] == b[i];
	}
	for (int k = 0; k < CLASSES; k++)
		by_chance += p[k] * q[k];
	/* of counts, so that what agrees as chance has it is 0 to the bit */
	value = (same * (double)n - by_chance) / ((double)n * (double)n - by_chance);
	same /= (double)n;
	chance = by_chance / ((double)n * (double)n);
	for (int k = 0; k < CLASSES; k++) {
		p[k] /= (double)n;
		q[k] /= (double)n;
	}
	term = malloc(n * sizeof(*term));
	if (!term)
		return error_nomem(err, "answers");
	for (size_t i = 0; i < n; i++)
		term[i] = (((a[i] == b[i]) - same) / (1 - chance) -
		           (1 - same) * (q[a[i]] + p[b[i]] - 2 * chance) / ((1 - chance) * (1 - chance))) /
		          (double)n;
	half = stats_clustered(term, cluster, n, &out->clusters);
	free(term);
	out->observed = same;
	out->chance = chance;
	if (chance > 1 - 1e-9)
		return 0;
	out->kappa.value = value;
	if (out->clusters > 1) {
		half *= stats_t(level, out->clusters - 1);
		out->kappa.low = fmax(-1, value - half);
		out->kappa.high = fmin(1, value + half);
	}
	return 0;
}
