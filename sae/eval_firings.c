/* Metrics that follow from how often each feature fires, and from how many fire on a row. */
#include <math.h>

#include "sae/eval_internal.h"

static uint64_t l0_at(const uint64_t *rows_with, uint64_t f, double rank)
{
	uint64_t l0 = 0;

	for (double seen = (double)rows_with[0]; seen < rank && l0 < f; seen += (double)rows_with[l0])
		l0++;
	return l0;
}

void eval_l0(sae_metrics *out, const uint64_t *rows_with)
{
	double n = (double)out->n_rows;

	out->l0_p5 = (double)l0_at(rows_with, out->n_features, ceil(0.05 * n));
	out->l0_median = (double)l0_at(rows_with, out->n_features, ceil(0.5 * n));
	out->l0_p95 = (double)l0_at(rows_with, out->n_features, ceil(0.95 * n));
	out->l0_max = (double)l0_at(rows_with, out->n_features, n);
}

static double share(double part, double all)
{
	return all > 0 ? part / all : (double)NAN;
}

static void count_density(sae_metrics *out, double density)
{
	double bin = floor((log10(density) - SAE_DENSITY_LOW) / SAE_DENSITY_WIDTH);

	bin = fmin(fmax(bin, 0), SAE_DENSITY_BINS - 1);
	out->density[(int)bin]++;
}

void eval_firings(sae_metrics *out, const uint32_t *contexts)
{
	double n = (double)out->n_rows, all = 0, over_1 = 0, over_10 = 0, entropy = 0, consistent = 0;
	double f = (double)out->n_features, alive;

	for (uint64_t i = 0; i < out->n_features; i++)
		all += (double)out->fires[i];
	for (uint64_t i = 0; i < out->n_features; i++) {
		double fires = (double)out->fires[i], p = fires / all;

		out->n_below_5 += fires < 1e-5 * n;
		out->n_below_6 += fires < 1e-6 * n;
		out->n_below_7 += fires < 1e-7 * n;
		if (out->fires[i] == 0) {
			out->n_dead++;
			continue;
		}
		out->n_dense_10 += fires > 0.1 * n;
		out->n_dense_1 += fires > 0.01 * n;
		over_10 += fires > 0.1 * n ? fires : 0;
		over_1 += fires > 0.01 * n ? fires : 0;
		entropy -= p * log(p);
		consistent += fires / contexts[i];
		count_density(out, fires / n);
	}
	alive = f - (double)out->n_dead;
	out->frac_alive = alive / f;
	out->freq_over_1_percent = (double)out->n_dense_1 / f;
	out->freq_over_10_percent = (double)out->n_dense_10 / f;
	out->normalized_freq_over_1_percent = share(over_1, all);
	out->normalized_freq_over_10_percent = share(over_10, all);
	out->firing_entropy = all > 0 ? share(entropy, log(f)) : (double)NAN;
	out->consistent_activation = share(consistent, alive);
	out->mean_activation = share(out->l1 * n, all);
}
