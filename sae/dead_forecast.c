/* How many features are dead from the start, by the rows' gamma: Simon, Adams and Zou 2026 (arXiv 2605.31518) say why. */
#include <math.h>

#include "sae/fitter.h"

#define POINTS 2000 /* of the integral, over SPAN deviations either way */
#define SPAN   8.0

/* Of a standard normal number: how often it is over x, and what it is over that often. */
static double over(double x)
{
	return 0.5 * erfc(x / sqrt(2));
}

static double over_inverse(double share)
{
	double low = -40, high = 40;

	for (int i = 0; i < 100; i++) {
		double mid = (low + high) / 2;

		if (over(mid) > share)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* What is left of gamma where features begin: the mean is taken off the rows, or off what the encoder sees. */
static double gamma_at_start(const sae_train_opts *o, double gamma)
{
	bool centered = o->normalize == SAE_NORMALIZE_CENTER || o->normalize == SAE_NORMALIZE_WHITEN;

	return centered || o->transcodes || o->bias != SAE_BIAS_ZERO ? 0 : gamma;
}

/* Of a row's pre-activations, in deviations of one feature's: those over it fire. */
static bool limit_at_start(double *limit, const sae_train_opts *o, double gamma)
{
	double k = o->k_start ? o->k_start : o->k;

	switch (o->arch) {
	case SAE_TOPK:
	case SAE_BATCHTOPK:
	case SAE_GROUPMAX:
	case SAE_MATRYOSHKA:
	case SAE_MULTITOPK:
		*limit = sqrt(1 + gamma * gamma) * over_inverse(k / o->d_sae);
		*limit = *limit > 0 ? *limit : 0; /* the ReLU */
		return true;
	case SAE_RELU:
	case SAE_PANNEAL:
	case SAE_GATED:
		*limit = 0;
		return true;
	default: /* thresholds have no scale here; codes and pursuits no encoder of their own */
		return false;
	}
}

double sae_train_foretell_dead(const sae_train_opts *o, double gamma, uint64_t tokens)
{
	double mean = gamma_at_start(o, gamma), n = (double)tokens, limit, sum = 0, weights = 0;

	if (sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT) &&
	    o->penalty.start_l0 > 0) /* each on that share */
		return o->d_sae * exp(-n * o->penalty.start_l0 / o->d_sae);
	if (!limit_at_start(&limit, o, mean))
		return NAN;
	for (int i = 0; i <= POINTS; i++) {
		double z = SPAN * (2.0 * i / POINTS - 1), weight = exp(-z * z / 2);

		weights += weight;
		sum += weight * exp(-n * over(limit - mean * z));
	}
	return o->d_sae * sum / weights;
}
