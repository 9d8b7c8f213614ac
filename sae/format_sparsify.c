/* EleutherAI's sparsify: cfg.json and sae.safetensors, the encoder as torch's nn.Linear keeps it, (F, d). */
#include <stdlib.h>
#include <string.h>

#include "sae/formats.h"

static const char config_name[] = "cfg.json", weights_name[] = "sae.safetensors";

static int read_sparsify(layout *l, const char *dir, error *err)
{
	const char *activation = "topk", *what = l->config;
	bool skip = false, is_signed = false;
	int rc = json_get_string(&activation, l->json, "activation", what, err);

	(void)dir;
	l->enc = (layout_matrix){ "encoder.weight", false };
	l->b_enc = "encoder.bias";
	if (rc == 0)
		rc = json_get_u64(&l->d_in, l->json, "d_in", what, err);
	if (rc == 0)
		rc = json_get_u64(&l->d_sae, l->json, "num_latents", what, err); /* 0: so many times d_in */
	if (rc == 0)
		rc = json_get_u64(&l->k, l->json, "k", what, err);
	if (rc == 0)
		rc = json_get_bool(&l->transcodes, l->json, "transcode", what, err);
	if (rc == 0)
		rc = json_get_bool(&skip, l->json, "skip_connection", what, err);
	if (rc == 0)
		rc = json_get_bool(&is_signed, l->json, "signed", what, err);
	if (rc < 0)
		return rc;
	l->d_out = l->d_in;
	l->centers = !l->transcodes;
	if (skip)
		l->skip.name = "W_skip";
	if (strcmp(activation, "topk") != 0 && strcmp(activation, "groupmax") != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': activation '%.40s' is not supported, only 'topk' and 'groupmax'",
		                 what, activation);
	l->arch = *activation == 't' ? SAE_TOPK : SAE_GROUPMAX;
	if (is_signed && l->arch == SAE_TOPK)
		layout_mirrors(l);
	snprintf(l->architecture, sizeof(l->architecture), "%s%s%s%s", is_signed ? "signed " : "", activation,
	         skip ? " skip" : "", l->transcodes ? " transcoder" : "");
	return 0;
}

static const char *cannot(const sae_model *m)
{
	if (m->arch != SAE_TOPK && m->arch != SAE_GROUPMAX)
		return "it knows only topk and groupmax";
	if (m->norm != SAE_NORM_NONE)
		return "it cannot normalise rows";
	return m->d_in != m->d_out ? "its output is as wide as its input" : NULL;
}

static cJSON *config_json(const sae_model *m)
{
	size_t expansion = m->d_sae / m->d_in; /* a whole number there */
	cJSON *o = cJSON_CreateObject();

	if (o && cJSON_AddStringToObject(o, "activation", sae_arch_name(m->arch)) &&
	    cJSON_AddNumberToObject(o, "expansion_factor", (double)expansion) &&
	    cJSON_AddFalseToObject(o, "normalize_decoder") &&
	    cJSON_AddNumberToObject(o, "num_latents", m->d_sae) && cJSON_AddNumberToObject(o, "k", m->k) &&
	    cJSON_AddFalseToObject(o, "multi_topk") &&
	    cJSON_AddBoolToObject(o, "skip_connection", m->W_skip != NULL) &&
	    cJSON_AddBoolToObject(o, "transcode", m->transcodes) &&
	    cJSON_AddNumberToObject(o, "d_in", m->d_in))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int write(const sae_model *m, const char *dir, error *err)
{
	float *bias = layout_bias(m, !m->transcodes);
	const sae_tensor_out tensors[] = {
		{ "W_dec", SAE_F32, 2, { m->d_sae, m->d_out }, m->W_dec },
		{ "b_dec", SAE_F32, 1, { m->d_out }, m->b_dec },
		{ "encoder.bias", SAE_F32, 1, { m->d_sae }, bias },
		{ "encoder.weight", SAE_F32, 2, { m->d_sae, m->d_in }, m->W_enc },
		{ "W_skip", SAE_F32, 2, { m->d_out, m->d_in }, m->W_skip },
	};
	char path[FILE_PATH_MAX];
	int rc = bias ? file_join(path, dir, weights_name, err) : error_nomem(err, "a bias");

	if (rc == 0)
		rc = sae_safetensors_write(path, tensors, ARRAY_LEN(tensors) - !m->W_skip, NULL, 0, err);
	free(bias);
	return rc < 0 ? rc : layout_write_json(config_json(m), dir, config_name, err);
}

const format format_sparsify = {
	.name = "sparsify",
	.config = config_name,
	.weights = weights_name,
	.read = read_sparsify,
	.cannot = cannot,
	.write = write,
};
