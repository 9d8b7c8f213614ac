/* gloss inspect on the folder of an SAE: what it says of itself, without its weights. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/crosscoder.h"
#include "cli/inspect.h"

static const char *norm_name(sae_norm n)
{
	static const char *const names[] = { [SAE_NORM_NONE] = "none",
		                             [SAE_NORM_LAYER] = "layer norm of each row",
		                             [SAE_NORM_UNIT] = "each row scaled to the norm sqrt(d)" };

	return names[n];
}

static int print_fact(const char *label, const char *value, error *err)
{
	text visible;
	int rc = 0;

	if (!*value)
		return 0;
	text_init(&visible, 1 << 16);
	if (text_add_visible(&visible, value, strlen(value)) < 0)
		rc = error_nomem(err, "text");
	else
		printf("%-13s %s\n", label, visible.data);
	text_free(&visible);
	return rc;
}

static int print_facts(const sae_model_facts *m, error *err)
{
	char line[256], groups[48] = "";
	int rc;

	if (m->codebook.groups > 1)
		snprintf(groups, sizeof(groups), " in each of %u parts of a row", m->codebook.groups);
	snprintf(line, sizeof(line), "%s, architecture %s", m->format, m->architecture);
	rc = print_fact("SAE", line, err);
	if (m->n_inputs > 1)
		snprintf(line, sizeof(line), "rows of %u inputs of %u side by side to %u features",
		         m->n_inputs, m->d_in / m->n_inputs, m->d_sae);
	else if (m->transcodes)
		snprintf(line, sizeof(line),
		         "rows of %u to %u features to rows of %u at another hook point%s", m->d_in, m->d_sae,
		         m->d_out, m->skip ? ", with a skip" : "");
	else
		snprintf(line, sizeof(line), "rows of %u to %u features", m->d_in, m->d_sae);
	if (rc == 0)
		rc = print_fact("shape", line, err);
	snprintf(line, sizeof(line), "%s", sae_arch_name(m->arch));
	if (m->k)
		snprintf(line, sizeof(line), "%s, k %u", sae_arch_name(m->arch), m->k);
	if (m->arch == SAE_CODEBOOK)
		snprintf(line, sizeof(line), "%s, %s of the %u nearest codes by %s%s", sae_arch_name(m->arch),
		         m->codebook.mean ? "mean" : "sum", m->k,
		         m->codebook.euclidean ? "distance" : "cosine", groups);
	if (rc == 0)
		rc = print_fact("computed as", line, err);
	if (rc == 0)
		rc = print_fact("input", m->centers ? "b_dec is taken off" : "as it is", err);
	if (rc == 0 && m->norm != SAE_NORM_NONE)
		rc = print_fact("normalised",
		                m->codebook.groups > 1 ? "layer norm of each part" : norm_name(m->norm), err);
	snprintf(line, sizeof(line), "%s, %.1f MB", sae_dtype_name(m->dtype), (double)m->weight_bytes / 1e6);
	if (rc == 0)
		rc = print_fact("weights", line, err);
	if (rc == 0)
		rc = print_fact("model", m->model_name, err);
	if (rc == 0)
		rc = print_fact("hook point", m->hook_name, err);
	return rc == 0 ? print_fact("folded", m->folded, err) : rc;
}

static cJSON *facts_json(const sae_model_facts *m)
{
	cJSON *o = cJSON_CreateObject();

	if (o && cJSON_AddStringToObject(o, "format", m->format) &&
	    cJSON_AddStringToObject(o, "architecture", m->architecture) &&
	    cJSON_AddStringToObject(o, "computed_as", sae_arch_name(m->arch)) &&
	    cJSON_AddNumberToObject(o, "d_in", m->d_in) && cJSON_AddNumberToObject(o, "d_out", m->d_out) &&
	    cJSON_AddNumberToObject(o, "features", m->d_sae) && cJSON_AddNumberToObject(o, "k", m->k) &&
	    cJSON_AddBoolToObject(o, "subtracts_b_dec", m->centers) &&
	    cJSON_AddStringToObject(o, "normalised", norm_name(m->norm)) &&
	    cJSON_AddBoolToObject(o, "transcoder", m->transcodes) &&
	    cJSON_AddBoolToObject(o, "skip", m->skip) &&
	    cJSON_AddNumberToObject(o, "n_inputs", m->n_inputs) &&
	    cJSON_AddStringToObject(o, "dtype", sae_dtype_name(m->dtype)) &&
	    cJSON_AddNumberToObject(o, "bytes", (double)m->weight_bytes) &&
	    cJSON_AddStringToObject(o, "model", m->model_name) &&
	    cJSON_AddStringToObject(o, "hook_point", m->hook_name) &&
	    (m->arch != SAE_CODEBOOK ||
	     (cJSON_AddNumberToObject(o, "groups", m->codebook.groups) &&
	      cJSON_AddStringToObject(o, "similarity", m->codebook.euclidean ? "euclidean" : "cosine") &&
	      cJSON_AddStringToObject(o, "combine", m->codebook.mean ? "mean" : "sum"))) &&
	    cJSON_AddStringToObject(o, "folded", m->folded))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* The features of a crosscoder by input, for which its weights are read. */
static int look_at_inputs(crosscoder_report *r, const char *path, error *err)
{
	sae_model *m = NULL;
	int rc = sae_model_load(&m, path, err);

	if (rc == 0)
		rc = crosscoder_look(r, m, NULL, err);
	sae_model_free(m);
	return rc;
}

static cJSON *whole_json(const sae_model_facts *m, const crosscoder_report *r)
{
	cJSON *o = facts_json(m), *part = m->n_inputs > 1 ? crosscoder_json(r, m->d_sae) : NULL;

	if (m->n_inputs < 2 || cJSON_AddItemToObject(o, "inputs", part))
		return o;
	cJSON_Delete(part);
	cJSON_Delete(o);
	return NULL;
}

int inspect_sae(const command *self, const cli_parsed *p, const char *path)
{
	crosscoder_report r = { .n = 0 };
	sae_model_facts m;
	error err = { 0 };
	int rc = sae_model_look(&m, path, &err), code = EXIT_DONE;

	if (rc == 0 && m.n_inputs > 1)
		rc = look_at_inputs(&r, path, &err);
	if (rc == 0 && p->common.json)
		code = cli_print_json(self, whole_json(&m, &r));
	else if (rc == 0) {
		rc = print_facts(&m, &err);
		if (rc == 0 && m.n_inputs > 1)
			crosscoder_print(&r);
	}
	crosscoder_clear(&r);
	return rc == 0 ? code : cli_fail(self, &err);
}
