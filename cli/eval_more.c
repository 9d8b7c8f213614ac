/* What `gloss eval` measures only when asked: --mdl, --prefixes. On a sample of the rows. */
#include "cli/eval_more.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 16384 };

int eval_more_parse(eval_more *m, bool mdl, const char *prefixes, uint32_t n_features, error *err)
{
	m->mdl = mdl;
	for (const char *at = prefixes; at;) {
		char *end = NULL;
		double value = strtod(at, &end);

		if (end == at || (*end && *end != ',') || floor(value) < value)
			return error_set(err, ERR_ARG, "--prefixes '%s' is no list like 256,512,1024",
			                 prefixes);
		if (!(value >= 1 && value <= n_features))
			return error_set(err, ERR_ARG, "--prefixes %.6g: the SAE has %u features", value,
			                 n_features);
		if (m->n_prefixes == EVAL_PREFIXES)
			return error_set(err, ERR_ARG, "--prefixes '%s' has over %d", prefixes,
			                 EVAL_PREFIXES);
		m->ends[m->n_prefixes++] = (uint32_t)value;
		at = *end ? end + 1 : NULL;
	}
	return 0;
}

int eval_more_measure(eval_more *m, const sae_model *model, const dump_input *in, error *err)
{
	sae_rows *sample = NULL;
	int rc = m->mdl || m->n_prefixes ? sae_rows_sample(&sample, in->rows, ROWS, err) : 0;

	for (size_t i = 0; i < EVAL_MDL_SIZES; i++)
		m->of_bins[i] = (sae_mdl){ .bins = 8u << i };
	if (!rc && m->mdl)
		rc = sae_mdl_measure(m->of_bins, EVAL_MDL_SIZES, model, in->dump, sample, in->pool, err);
	if (!rc && m->n_prefixes)
		rc = sae_eval_prefixes(m->fvu, m->ends, m->n_prefixes, model, in->dump, sample, in->pool,
		                       err);
	sae_rows_free(sample);
	return rc;
}

static bool add_mdl(cJSON *to, const eval_more *m)
{
	cJSON *list = cJSON_AddArrayToObject(to, "mdl");
	bool good = list;

	for (size_t i = 0; i < EVAL_MDL_SIZES && good; i++) {
		const sae_mdl *mdl = &m->of_bins[i];
		cJSON *row = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, row) && cJSON_AddNumberToObject(row, "bins", mdl->bins) &&
		       cJSON_AddNumberToObject(row, "bits", mdl->bits) &&
		       cJSON_AddNumberToObject(row, "position_bits", mdl->position_bits) &&
		       cJSON_AddNumberToObject(row, "value_bits", mdl->value_bits) &&
		       cJSON_AddNumberToObject(row, "fvu", mdl->fvu);
	}
	return good;
}

static bool add_prefixes(cJSON *to, const eval_more *m)
{
	cJSON *list = cJSON_AddArrayToObject(to, "prefixes");
	bool good = list;

	for (size_t i = 0; i < m->n_prefixes && good; i++) {
		cJSON *row = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, row) &&
		       cJSON_AddNumberToObject(row, "features", m->ends[i]) &&
		       cJSON_AddNumberToObject(row, "fvu", m->fvu[i]);
	}
	return good;
}

bool eval_more_add(cJSON *to, const eval_more *m)
{
	return (!m->mdl || add_mdl(to, m)) && (!m->n_prefixes || add_prefixes(to, m));
}

void eval_more_print(const eval_more *m)
{
	if (m->mdl)
		printf("\nbits a row (which features + their values), and fvu of the codes so cut\n");
	for (size_t i = 0; m->mdl && i < EVAL_MDL_SIZES; i++)
		printf("%2u bins  %.1f (%.1f + %.1f)  %.5f\n", m->of_bins[i].bins, m->of_bins[i].bits,
		       m->of_bins[i].position_bits, m->of_bins[i].value_bits, m->of_bins[i].fvu);
	if (m->n_prefixes)
		printf("\nfvu of the first features alone\n");
	for (size_t i = 0; i < m->n_prefixes; i++)
		printf("%8u  %.5f\n", m->ends[i], m->fvu[i]);
}
