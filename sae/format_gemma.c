/* Gemma Scope: params.npz, without a config. Gemma Scope 2: params.safetensors and config.json, also transcoders. */
#include <stdlib.h>
#include <string.h>

#include "sae/formats.h"
#include "sae/zip_write.h"

static const char config_name[] = "config.json", npz_name[] = "params.npz",
                  weights_name[] = "params.safetensors";

/* ---- Gemma Scope -------------------------------------------------------------------------------------------------- */

/* Some files have lower-case names. */
static int read_npz(layout *l, const char *dir, error *err)
{
	sae_file *f = NULL;
	int rc = sae_file_open(&f, l->weights, err);

	if (rc < 0)
		return rc;
	if (sae_file_tensor(f, "w_enc"))
		l->enc.name = "w_enc";
	if (sae_file_tensor(f, "w_dec"))
		l->dec.name = "w_dec";
	sae_file_close(f);
	l->arch = SAE_JUMPRELU;
	l->centers = false;
	l->threshold = "threshold";
	snprintf(l->architecture, sizeof(l->architecture), "jump_relu");
	if (strstr(dir, "embedding")) { /* as its authors trained it: on embeddings before they are scaled */
		l->matrix_root = true;
		layout_folds(l, "the embedding's scale, told by the folder's name");
	}
	return 0;
}

static const char *npz_cannot(const sae_model *m)
{
	if (m->arch != SAE_JUMPRELU && m->arch != SAE_RELU)
		return "it knows only jumprelu";
	if (m->norm != SAE_NORM_NONE)
		return "it cannot normalise rows";
	return m->transcodes || m->W_skip ? "it has no transcoders" : NULL;
}

/* Weights as both versions have them: W_enc (d, F), b_enc of an encoder that does not take b_dec off, thresholds. */
typedef struct copies {
	float *enc, *bias, *threshold;
} copies;

static int copy(copies *c, const sae_model *m, error *err)
{
	*c = (copies){ layout_turn(m->W_enc, m->d_sae, m->d_in), layout_bias(m, false),
		       layout_thresholds(m) };
	return c->enc && c->bias && c->threshold ? 0 : error_nomem(err, "a copy of the weights");
}

static void copies_free(copies *c)
{
	free(c->enc);
	free(c->bias);
	free(c->threshold);
}

static int write_npz(const sae_model *m, const char *dir, error *err)
{
	const uint64_t d = m->d_in, n = m->d_sae;
	char path[FILE_PATH_MAX];
	copies c;
	int rc = copy(&c, m, err);

	if (rc == 0)
		rc = file_join(path, dir, npz_name, err);
	if (rc == 0) {
		const sae_tensor_out tensors[] = {
			{ "W_dec", SAE_F32, 2, { n, d }, m->W_dec },
			{ "W_enc", SAE_F32, 2, { d, n }, c.enc },
			{ "b_dec", SAE_F32, 1, { d }, m->b_dec },
			{ "b_enc", SAE_F32, 1, { n }, c.bias },
			{ "threshold", SAE_F32, 1, { n }, c.threshold },
		};

		rc = npz_write(path, tensors, ARRAY_LEN(tensors), err);
	}
	copies_free(&c);
	return rc;
}

/* ---- Gemma Scope 2 ------------------------------------------------------------------------------------------------ */

static int read_config(layout *l, const char *dir, error *err)
{
	const char *architecture = NULL, *to = NULL;
	bool affine = false;
	int rc = json_get_string(&architecture, l->json, "architecture", l->config, err);

	(void)dir;
	if (rc == 0)
		rc = json_get_string(&l->model_name, l->json, "model_name", l->config, err);
	if (rc == 0)
		rc = json_get_string(&l->hook_name, l->json, "hf_hook_point_in", l->config, err);
	if (rc == 0)
		rc = json_get_string(&to, l->json, "hf_hook_point_out", l->config, err);
	if (rc == 0)
		rc = json_get_bool(&affine, l->json, "affine_connection", l->config, err);
	if (rc < 0)
		return rc;
	if (!architecture || strcmp(architecture, "jump_relu") != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': architecture '%.40s' is not supported, only 'jump_relu'", l->config,
		                 architecture ? architecture : "");
	l->arch = SAE_JUMPRELU;
	l->enc.name = "w_enc";
	l->dec.name = "w_dec";
	l->threshold = "threshold";
	l->centers = false;
	l->transcodes = affine || (to && l->hook_name && strcmp(to, l->hook_name) != 0);
	if (affine)
		l->skip = (layout_matrix){ "affine_skip_connection", true };
	snprintf(l->architecture, sizeof(l->architecture), "jump_relu%s%s", affine ? " skip" : "",
	         l->transcodes ? " transcoder" : "");
	return 0;
}

static const char *cannot(const sae_model *m)
{
	if (m->arch != SAE_JUMPRELU && m->arch != SAE_RELU)
		return "it knows only jumprelu";
	if (m->norm != SAE_NORM_NONE)
		return "it cannot normalise rows";
	return m->W_skip && !m->transcodes ? "only its transcoders have a skip" : NULL;
}

static cJSON *config_json(const sae_model *m)
{
	const char *hook = m->hook_name ? m->hook_name : "input";
	cJSON *o = cJSON_CreateObject();

	if (o && cJSON_AddStringToObject(o, "architecture", "jump_relu") &&
	    cJSON_AddStringToObject(o, "model_name", m->model_name ? m->model_name : "") &&
	    cJSON_AddStringToObject(o, "hf_hook_point_in", hook) &&
	    (!m->transcodes || cJSON_AddStringToObject(o, "hf_hook_point_out", "output")) &&
	    cJSON_AddBoolToObject(o, "affine_connection", m->W_skip != NULL))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int write(const sae_model *m, const char *dir, error *err)
{
	const uint64_t d = m->d_in, n = m->d_sae, out = m->d_out;
	float *skip = m->W_skip ? layout_turn(m->W_skip, out, d) : NULL;
	char path[FILE_PATH_MAX];
	copies c;
	int rc = copy(&c, m, err);

	if (rc == 0 && m->W_skip && !skip)
		rc = error_nomem(err, "a copy of the weights");
	if (rc == 0)
		rc = file_join(path, dir, weights_name, err);
	if (rc == 0) {
		const sae_tensor_out tensors[] = {
			{ "w_dec", SAE_F32, 2, { n, out }, m->W_dec },
			{ "w_enc", SAE_F32, 2, { d, n }, c.enc },
			{ "b_dec", SAE_F32, 1, { out }, m->b_dec },
			{ "b_enc", SAE_F32, 1, { n }, c.bias },
			{ "threshold", SAE_F32, 1, { n }, c.threshold },
			{ "affine_skip_connection", SAE_F32, 2, { d, out }, skip },
		};

		rc = sae_safetensors_write(path, tensors, ARRAY_LEN(tensors) - !skip, NULL, 0, err);
	}
	copies_free(&c);
	free(skip);
	return rc < 0 ? rc : layout_write_json(config_json(m), dir, config_name, err);
}

const format format_gemma_scope_2 = {
	.name = "gemma-scope-2",
	.config = config_name,
	.weights = weights_name,
	.read = read_config,
	.cannot = cannot,
	.write = write,
};

const format format_gemma_scope = {
	.name = "gemma-scope",
	.weights = npz_name,
	.read = read_npz,
	.cannot = npz_cannot,
	.write = write_npz,
};
