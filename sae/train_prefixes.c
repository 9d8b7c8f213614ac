/* Prefixes of a Matryoshka SAE: from groups of features to where they end. */
#include <assert.h>
#include <math.h>

#include "sae/train_internal.h"

static_assert(SAE_PREFIXES >= 5, "room for the groups when none are given");

static const double default_groups[] = { 1.0 / 16, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0 / 2 };

static int check_drawn(const sae_train_opts *o, error *err)
{
	uint32_t most = o->d_sae < SAE_PREFIXES ? o->d_sae : SAE_PREFIXES;

	if (o->n_groups)
		return error_set(err, ERR_ARG, "options 'groups' and 'random-prefixes' cannot both be given");
	if (o->random_prefixes > most)
		return error_set(err, ERR_ARG, "option 'random-prefixes' is %u, not in 1..%u",
		                 o->random_prefixes, most);
	return 0;
}

/* Shares of the features: each end is rounded to the nearest number of them. */
static int ends_of_shares(uint32_t *ends, uint32_t *n, const double *groups, uint32_t n_groups, bool given,
                          uint32_t d_sae, error *err)
{
	uint32_t last = 0;
	double sum = 0;

	*n = 0;
	for (uint32_t i = 0; i < n_groups; i++) {
		uint32_t end;

		sum += groups[i];
		end = i + 1 == n_groups ? d_sae : (uint32_t)(sum * d_sae + 0.5);
		if (end > last && end <= d_sae)
			last = ends[(*n)++] = end;
		else if (given)
			return error_set(err, ERR_ARG, "option 'groups': %g of %u features is none of them",
			                 groups[i], d_sae);
	}
	return 0;
}

static int ends_of_widths(uint32_t *ends, uint32_t *n, const double *groups, uint32_t n_groups, error *err)
{
	double sum = 0;

	for (*n = 0; *n < n_groups; (*n)++) {
		sum += groups[*n];
		if (floor(groups[*n]) < groups[*n])
			return error_set(err, ERR_ARG,
			                 "option 'groups' holds %g, which is no whole number of features",
			                 groups[*n]);
		ends[*n] = (uint32_t)sum;
	}
	return 0;
}

static int check_weights(const sae_train_opts *o, uint32_t n, error *err)
{
	if (!o->n_prefix_weights)
		return 0;
	if (o->random_prefixes || o->prefix_bias || o->prefix_sum)
		return error_set(err, ERR_ARG,
		                 "option 'prefix-weights' goes without random-prefixes, prefix-bias and "
		                 "prefix-loss");
	if (o->n_prefix_weights != n)
		return error_set(err, ERR_ARG, "option 'prefix-weights' has %u weights for %u groups",
		                 o->n_prefix_weights, n);
	for (uint32_t i = 0; i < n; i++)
		if (!(o->prefix_weights[i] > 0 && o->prefix_weights[i] <= 1e6))
			return error_set(
			        err, ERR_ARG,
			        "option 'prefix-weights' holds %g, which is not over 0 and at most 1e6",
			        o->prefix_weights[i]);
	return 0;
}

static int prefixes_of(uint32_t ends[SAE_PREFIXES], uint32_t *n, const sae_train_opts *o, error *err)
{
	double sum = 0;

	memset(ends, 0, SAE_PREFIXES * sizeof(*ends));
	if (o->random_prefixes) {
		int rc = check_drawn(o, err);

		*n = rc == 0 ? o->random_prefixes : 0;
		if (rc == 0)
			ends[*n - 1] = o->d_sae;
		return rc;
	}
	if (!o->n_groups)
		return ends_of_shares(ends, n, default_groups, ARRAY_LEN(default_groups), false, o->d_sae,
		                      err);
	if (o->n_groups > SAE_PREFIXES)
		return error_set(err, ERR_ARG, "option 'groups' has %u groups, over %d", o->n_groups,
		                 SAE_PREFIXES);
	for (uint32_t i = 0; i < o->n_groups; i++) {
		if (!(o->groups[i] > 0))
			return error_set(err, ERR_ARG, "option 'groups' holds %g, which is not over 0",
			                 o->groups[i]);
		sum += o->groups[i];
	}
	if (fabs(sum - o->d_sae) < 1e-6)
		return ends_of_widths(ends, n, o->groups, o->n_groups, err);
	if (fabs(sum - 1) < 1e-6)
		return ends_of_shares(ends, n, o->groups, o->n_groups, true, o->d_sae, err);
	return error_set(err, ERR_ARG, "option 'groups' adds up to %g, which is neither 1 nor features = %u",
	                 sum, o->d_sae);
}

int sae_train_prefixes(uint32_t ends[SAE_PREFIXES], uint32_t *n, const sae_train_opts *o, error *err)
{
	int rc = prefixes_of(ends, n, o, err);

	return rc == 0 ? check_weights(o, *n, err) : rc;
}

void train_plan_groups(sae_train_opts *o)
{
	uint32_t ends[SAE_PREFIXES], n;
	error unused;

	if (sae_train_prefixes(ends, &n, o, &unused) < 0)
		return; /* checked before */
	o->n_groups = n;
	for (uint32_t i = 0; i < n; i++)
		o->groups[i] = ends[i] - (i ? ends[i - 1] : 0);
}
