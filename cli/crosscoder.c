/* Shared and exclusive features of a crosscoder: see crosscoder.h. */
#include "cli/crosscoder.h"

#include <inttypes.h>
#include <stdlib.h>

int crosscoder_look(crosscoder_report *r, const sae_model *m, const sae_metrics *measured, error *err)
{
	const uint64_t *fires = measured ? measured->fires : NULL;

	*r = (crosscoder_report){ .n_inputs = m->n_inputs, .fvu = measured ? measured->input_fvu : NULL };
	r->shares = mem_alloc_aligned(m->d_sae, m->n_inputs * sizeof(*r->shares));
	if (!r->shares)
		return error_nomem(err, "the inputs of features");
	sae_crosscoder_shares(r->shares, m);
	for (size_t f = 0; f < m->d_sae; f++) {
		const float *share = r->shares + f * m->n_inputs;
		uint32_t most = 0;
		int bin = (int)(share[1] * CROSSCODER_BINS);

		if (fires && !fires[f])
			continue;
		for (uint32_t i = 1; i < m->n_inputs; i++)
			most = share[i] > share[most] ? i : most;
		r->n++;
		r->alone[most] += share[most] > CROSSCODER_ALONE;
		r->shared += !(share[most] > CROSSCODER_ALONE);
		r->bins[bin < CROSSCODER_BINS ? bin : CROSSCODER_BINS - 1]++;
	}
	return 0;
}

void crosscoder_clear(crosscoder_report *r)
{
	free(r->shares);
	*r = (crosscoder_report){ 0 };
}

void crosscoder_print(const crosscoder_report *r)
{
	for (uint32_t i = 0; i < r->n_inputs && r->fvu; i++)
		printf("%s%.5g%s", i ? ", " : "\nfvu of each input: ", r->fvu[i],
		       i + 1 < r->n_inputs ? "" : "\n");
	printf("\nof %" PRIu64
	       " features%s, by the share of their decoder norm (a feature is an input's alone with over "
	       "%g of it)\n",
	       r->n, r->fvu ? " that fire" : "", (double)CROSSCODER_ALONE);
	for (uint32_t i = 0; i < r->n_inputs; i++)
		printf("  input %" PRIu32 " alone  %" PRIu64 "\n", i + 1, r->alone[i]);
	printf("  shared         %" PRIu64 "\n", r->shared);
	if (r->n_inputs != 2)
		return;
	printf("  share of input 2, in tenths:");
	for (size_t i = 0; i < CROSSCODER_BINS; i++)
		printf(" %" PRIu64, r->bins[i]);
	printf("\n");
}

static bool add_counts(cJSON *to, const char *key, const uint64_t *counts, size_t n)
{
	cJSON *list = cJSON_AddArrayToObject(to, key);
	bool good = list != NULL;

	for (size_t i = 0; i < n && good; i++)
		good = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)counts[i]));
	return good;
}

static bool add_fvu(cJSON *to, const crosscoder_report *r)
{
	cJSON *list = cJSON_CreateDoubleArray(r->fvu, (int)r->n_inputs);

	if (cJSON_AddItemToObject(to, "fvu", list))
		return true;
	cJSON_Delete(list);
	return false;
}

static bool add_shares(cJSON *to, const crosscoder_report *r, uint32_t n)
{
	cJSON *list = cJSON_AddArrayToObject(to, "shares");
	bool good = list != NULL;

	for (size_t f = 0; f < n && good; f++) {
		cJSON *row = cJSON_CreateFloatArray(r->shares + f * r->n_inputs, (int)r->n_inputs);

		good = cJSON_AddItemToArray(list, row);
		if (!good)
			cJSON_Delete(row);
	}
	return good;
}

cJSON *crosscoder_json(const crosscoder_report *r, uint32_t n_shares)
{
	cJSON *o = cJSON_CreateObject();

	if (o && cJSON_AddNumberToObject(o, "n", r->n_inputs) && (!r->fvu || add_fvu(o, r)) &&
	    cJSON_AddNumberToObject(o, "features", (double)r->n) &&
	    add_counts(o, "alone", r->alone, r->n_inputs) &&
	    cJSON_AddNumberToObject(o, "shared", (double)r->shared) &&
	    (r->n_inputs != 2 || add_counts(o, "second_share_bins", r->bins, CROSSCODER_BINS)) &&
	    (!n_shares || add_shares(o, r, n_shares)))
		return o;
	cJSON_Delete(o);
	return NULL;
}
