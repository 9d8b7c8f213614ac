/* The SAELens folder: cfg.json, sae_weights.safetensors, sparsity.safetensors. Also our own, which is the same with some architectures
 * that SAELens does not know. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/formats.h"

#define OURS "gloss_"

static const char config_name[] = "cfg.json", weights_name[] = "sae_weights.safetensors",
                  sparsity_name[] = "sparsity.safetensors", scaler_name[] = "activation_scaler.json";

/* What SAELens does not know has a name of our own, so that it says so. The first of an architecture is the one that is written. */
static const struct architecture {
	const char *name;
	sae_arch arch;
	bool transcodes, skip;
	enum {
		PLAIN,
		GATED,
		TRAINED_BY_BATCH,
		MIRRORED,
		CROSSCODER /* its tensors have a dimension for the hook points */
	} kind;            /* of what is computed as another architecture */
} architectures[] = {
	{ "standard", SAE_RELU, false, false, PLAIN },
	{ "topk", SAE_TOPK, false, false, PLAIN },
	{ "abstopk", SAE_TOPK, false, false, MIRRORED },
	{ "jumprelu", SAE_JUMPRELU, false, false, PLAIN },
	{ "gated", SAE_JUMPRELU, false, false, GATED },
	{ "batchtopk", SAE_JUMPRELU, false, false, TRAINED_BY_BATCH },
	{ "matryoshka_batchtopk", SAE_JUMPRELU, false, false, TRAINED_BY_BATCH },
	{ "matching_pursuit", SAE_PURSUIT, false, false, PLAIN },
	{ "transcoder", SAE_RELU, true, false, PLAIN },
	{ "skip_transcoder", SAE_RELU, true, true, PLAIN },
	{ "jumprelu_transcoder", SAE_JUMPRELU, true, false, PLAIN },
	{ "jumprelu_skip_transcoder", SAE_JUMPRELU, true, true, PLAIN },
	{ OURS "groupmax", SAE_GROUPMAX, false, false, PLAIN },
	{ OURS "codebook", SAE_CODEBOOK, false, false, PLAIN },
	{ OURS "topk_transcoder", SAE_TOPK, true, false, PLAIN },
	{ OURS "topk_skip_transcoder", SAE_TOPK, true, true, PLAIN },
	{ OURS "groupmax_transcoder", SAE_GROUPMAX, true, false, PLAIN },
	{ OURS "groupmax_skip_transcoder", SAE_GROUPMAX, true, true, PLAIN },
	{ OURS "crosscoder", SAE_RELU, false, false, CROSSCODER },
	{ OURS "topk_crosscoder", SAE_TOPK, false, false, CROSSCODER },
	{ OURS "jumprelu_crosscoder", SAE_JUMPRELU, false, false, CROSSCODER },
	{ OURS "groupmax_crosscoder", SAE_GROUPMAX, false, false, CROSSCODER },
};

static const struct {
	const char *name;
	sae_norm norm;
} norms[] = { { "none", SAE_NORM_NONE },
	      { "layer_norm", SAE_NORM_LAYER },
	      { "constant_norm_rescale", SAE_NORM_UNIT } };

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

/* Before version 6 all keys were in one flat object, and some had other names and meanings. */
static bool is_flat(const cJSON *json)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(json, "metadata");
	const char *version =
	        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "sae_lens_version"));

	if (!version)
		version =
		        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, "sae_lens_version"));
	return version ? strtol(version, NULL, 10) < 6 : !cJSON_IsObject(metadata);
}

/* A list of positive numbers of what training read side by side; null: none for that one. */
static int read_list(double *out, size_t *n, const layout *l, const cJSON *gloss, const char *key, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(gloss, key), *item;

	cJSON_ArrayForEach(item, list)
	{
		if (*n == SAE_PARTS_MAX ||
		    !(cJSON_IsNull(item) || (cJSON_IsNumber(item) && item->valuedouble > 0)))
			return error_set(err, ERR_FORMAT,
			                 "'%s': %s is not a list of up to %d positive numbers", l->config,
			                 key, SAE_PARTS_MAX);
		out[(*n)++] = cJSON_IsNull(item) ? (double)INFINITY : item->valuedouble;
	}
	return 0;
}

static int read_names(layout *l, error *err)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(l->json, "metadata"), *gloss;
	const cJSON *const from[] = { l->json, metadata };
	size_t n_scales = 0;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(from) && rc == 0; i++) {
		if (!cJSON_IsObject(from[i]))
			continue;
		rc = json_get_string(&l->model_name, from[i], "model_name", l->config, err);
		if (rc == 0 && i == 0)
			rc = json_get_string(&l->hook_name, from[i], "hook_point", l->config, err);
		if (rc == 0)
			rc = json_get_string(&l->hook_name, from[i], "hook_name", l->config, err);
	}
	gloss = cJSON_GetObjectItemCaseSensitive(metadata, "gloss");
	if (rc == 0 && cJSON_IsObject(gloss)) {
		rc = json_get_double(&l->norm_limit, gloss, "norm_limit", l->config, err);
		if (rc == 0)
			rc = read_list(l->more_limits, &l->n_more_limits, l, gloss, "more_norm_limits", err);
		if (rc == 0)
			rc = read_list(l->scales, &n_scales, l, gloss, "input_scales", err);
		if (rc == 0)
			rc = json_get_u64(&l->k, gloss, "k", l->config, err);
	}
	return rc;
}

static int unknown_architecture(const layout *l, const char *name, error *err)
{
	char known[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(architectures) && n + 32 < sizeof(known); i++)
		if (strncmp(architectures[i].name, OURS, sizeof(OURS) - 1) != 0)
			n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "",
			                      architectures[i].name);
	return error_set(err, ERR_FORMAT, "'%s': architecture '%.40s' is not supported; %s are", l->config,
	                 name, known);
}

/* The name of the architecture. A flat config may have none, and says TopK by the activation function. */
static int read_name(const char **name, const layout *l, error *err)
{
	const char *activation = "relu";
	int rc = json_get_string(name, l->json, "architecture", l->config, err);

	if (rc < 0)
		return rc;
	if (is_flat(l->json)) {
		rc = json_get_string(&activation, l->json, "activation_fn", l->config, err);
		if (rc == 0)
			rc = json_get_string(&activation, l->json, "activation_fn_str", l->config, err);
		if (!*name)
			*name = "standard";
		if (rc == 0 && strcmp(activation, "topk") == 0)
			*name = "topk";
		else if (rc == 0 && strcmp(activation, "relu") != 0)
			rc = error_set(err, ERR_FORMAT,
			               "'%s': activation_fn '%.40s' is not supported, only 'relu' and 'topk'",
			               l->config, activation);
	}
	if (rc == 0 && !*name)
		rc = error_set(err, ERR_FORMAT, "'%s' has no architecture", l->config);
	return rc;
}

static int read_k(layout *l, const struct architecture *a, error *err)
{
	const cJSON *more = cJSON_GetObjectItemCaseSensitive(l->json, "activation_fn_kwargs");
	double mean = 0;
	int rc = 0;

	if (a->arch == SAE_TOPK || a->arch == SAE_GROUPMAX || a->arch == SAE_CODEBOOK) {
		l->k = 0;
		if (cJSON_IsObject(more))
			rc = json_get_u64(&l->k, more, "k", l->config, err);
		return rc < 0 ? rc : json_get_u64(&l->k, l->json, "k", l->config, err);
	}
	if (a->kind != TRAINED_BY_BATCH)
		return 0;
	rc = json_get_double(&mean, l->json, "k", l->config, err); /* a mean, which need not be whole */
	if (rc == 0 && mean >= 1 && mean <= LAYOUT_MAX_WIDTH)
		l->k = (uint64_t)mean;
	return rc;
}

/* What the architecture's own keys and tensors are. */
static int read_architecture(layout *l, const struct architecture *a, error *err)
{
	const char *what = l->config;
	bool rescale = false;
	int rc = read_k(l, a, err);

	l->arch = a->arch;
	l->transcodes = a->transcodes;
	if (a->skip)
		l->skip.name = "W_skip";
	if (rc == 0 && a->kind == CROSSCODER)
		rc = json_get_u64(&l->n_inputs, l->json, "n_inputs", what, err);
	if (a->arch == SAE_JUMPRELU)
		l->threshold = a->kind == TRAINED_BY_BATCH ? "topk_threshold" : "threshold";
	if (a->kind == GATED) {
		l->threshold = NULL;
		l->b_enc = "b_mag";
		l->b_gate = "b_gate";
		l->r_mag = "r_mag";
		layout_folds(l, "the gate as a threshold");
	}
	if (a->kind == TRAINED_BY_BATCH)
		layout_folds(l, "one threshold for all features");
	if (a->kind == MIRRORED)
		layout_mirrors(l);
	if (a->arch == SAE_PURSUIT) {
		l->enc.name = l->b_enc = NULL;
		l->residual = 1e-2;
		if (rc == 0)
			rc = json_get_double(&l->residual, l->json, "residual_threshold", what, err);
		if (rc == 0)
			rc = json_get_u64(&l->steps, l->json, "max_iterations", what, err);
		if (rc == 0)
			rc = json_get_bool(&l->repeat_ends, l->json, "stop_on_duplicate_support", what, err);
	}
	if (rc == 0 && a->arch == SAE_CODEBOOK)
		rc = layout_read_codebook(l, err);
	if (rc == 0)
		rc = json_get_bool(&rescale, l->json, "rescale_acts_by_decoder_norm", what, err);
	if (rc < 0 || !rescale)
		return rc;
	if (a->arch != SAE_TOPK && a->arch != SAE_GROUPMAX && a->kind != TRAINED_BY_BATCH)
		return error_set(err, ERR_FORMAT,
		                 "'%s': rescale_acts_by_decoder_norm does not go with architecture '%s'",
		                 what, a->name);
	l->values_by_norm = true;
	layout_folds(l, "norms of decoder rows into the encoder");
	return 0;
}

/* The scale of the input that a run's checkpoint keeps beside the weights; a finished SAE has it in them. */
static int read_scale(layout *l, const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	cJSON *json = NULL;
	int rc = file_join(path, dir, scaler_name, err);

	if (rc == 0 && !file_exists(path))
		return error_set(err, ERR_FORMAT,
		                 "'%s': the scale of expected_average_only_in is not known: write "
		                 "{\"scaling_factor\": X} to '%s' beside it",
		                 l->config, scaler_name);
	if (rc == 0)
		rc = json_read_file(&json, path, 65536, err);
	l->scale = 0;
	if (rc == 0)
		rc = json_get_double(&l->scale, json, "scaling_factor", path, err);
	if (rc == 0 && (l->transcodes || l->arch == SAE_PURSUIT || l->arch == SAE_CODEBOOK))
		rc = error_set(err, ERR_FORMAT,
		               "'%s': a scale of the input does not go with architecture '%s'", path,
		               l->architecture);
	cJSON_Delete(json);
	layout_folds(l, "the scale of the input");
	return rc;
}

static int read_norm(layout *l, const char *dir, error *err)
{
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(l->json, "normalize_activations");
	const char *name =
	        cJSON_IsTrue(given) ? "expected_average_only_in" : "none"; /* flat ones have a bool */
	int rc = cJSON_IsBool(given)
	                 ? 0
	                 : json_get_string(&name, l->json, "normalize_activations", l->config, err);

	if (rc < 0)
		return rc;
	if (strcmp(name, "expected_average_only_in") == 0)
		return read_scale(l, dir, err);
	for (size_t i = 0; i < ARRAY_LEN(norms); i++) {
		if (strcmp(name, norms[i].name) == 0) {
			l->norm = norms[i].norm;
			return 0;
		}
	}
	return error_set(err, ERR_FORMAT, "'%s': normalize_activations '%.40s' is not supported", l->config,
	                 name);
}

static int read_rest(layout *l, const char *dir, error *err)
{
	const char *reshape = "none";
	bool scaled = false;
	int rc = json_get_string(&reshape, l->json, "reshape_activations", l->config, err);

	if (rc == 0 && strcmp(reshape, "hook_z") == 0)
		layout_folds(l, "heads side by side in a row");
	else if (rc == 0 && strcmp(reshape, "none") != 0)
		rc = error_set(err, ERR_FORMAT, "'%s': reshape_activations '%.40s' is not supported",
		               l->config, reshape);
	l->centers = !l->transcodes;
	if (rc == 0 && !l->transcodes)
		rc = json_get_bool(&l->centers, l->json, "apply_b_dec_to_input", l->config, err);
	if (rc == 0 && l->arch == SAE_PURSUIT && !l->centers)
		l->b_dec = NULL; /* it is neither taken off nor added */
	if (rc == 0)
		rc = json_get_bool(&scaled, l->json, "finetuning_scaling_factor", l->config, err);
	if (rc == 0 && scaled) {
		l->dec_scale = "finetuning_scaling_factor";
		layout_folds(l, "finetuning_scaling_factor into the decoder");
	}
	return rc < 0 ? rc : read_norm(l, dir, err);
}

/* Runs of older versions kept the logarithm. */
static int find_threshold(layout *l, error *err)
{
	sae_file *f = NULL;
	int rc = l->threshold ? sae_file_open(&f, l->weights, err) : 0;

	if (f && !sae_file_tensor(f, l->threshold) && sae_file_tensor(f, "log_threshold")) {
		l->threshold = "log_threshold";
		l->threshold_is_log = true;
		layout_folds(l, "logarithms of thresholds");
	}
	sae_file_close(f);
	return rc;
}

static int read_saelens(layout *l, const char *dir, error *err)
{
	const char *name = NULL;
	size_t i = 0;
	int rc = read_name(&name, l, err);

	if (rc < 0)
		return rc;
	while (i < ARRAY_LEN(architectures) && strcmp(name, architectures[i].name) != 0)
		i++;
	if (i == ARRAY_LEN(architectures))
		return unknown_architecture(l, name, err);
	snprintf(l->architecture, sizeof(l->architecture), "%s", name);
	rc = read_names(l, err);
	if (rc == 0)
		rc = json_get_u64(&l->d_in, l->json, "d_in", l->config, err);
	if (rc == 0)
		rc = json_get_u64(&l->d_sae, l->json, "d_sae", l->config, err);
	if (rc == 0)
		rc = json_get_u64(&l->d_out, l->json, "d_out", l->config, err);
	if (!architectures[i].transcodes)
		l->d_out = l->d_in;
	if (rc == 0)
		rc = read_architecture(l, &architectures[i], err);
	if (rc == 0)
		rc = read_rest(l, dir, err);
	return rc < 0 ? rc : find_threshold(l, err);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static int write_codes(const sae_model *m, const char *path, error *err)
{
	float *codes = layout_gather_codes(m);
	const sae_tensor_out tensors[] = {
		{ "codes", SAE_F32, 2, { m->d_sae, m->d_out / m->codebook.groups }, codes },
		{ "b_dec", SAE_F32, 1, { m->d_out }, m->b_dec },
	};
	int rc = codes ? sae_safetensors_write(path, tensors, ARRAY_LEN(tensors), NULL, 0, err)
	               : error_nomem(err, "codes");

	free(codes);
	return rc;
}

/* A JumpReLU is a gated SAE whose two paths share all but the bias: a value is over its threshold where the gate, which lies as far
 * below the value as the threshold is, is over 0. r_mag (F) behind b_gate (F); malloc'd. NULL: no memory. */
static float *gate_of(const sae_model *m)
{
	float *gate = mem_alloc_aligned(2 * (size_t)m->d_sae, sizeof(float));

	for (size_t f = 0; gate && f < m->d_sae; f++) {
		float g = m->b_enc[f] - m->threshold[f];

		gate[f] = g < -FLT_MAX ? -FLT_MAX : g; /* of a feature that never fires */
		gate[m->d_sae + f] = 0;
	}
	return gate;
}

static int write_gated(const sae_model *m, const char *dir, error *err)
{
	const size_t d = m->d_in, n = m->d_sae;
	float *turned = layout_turn(m->W_enc, n, d), *gate = gate_of(m);
	const sae_tensor_out tensors[] = {
		{ "W_dec", SAE_F32, 2, { n, d }, m->W_dec },
		{ "W_enc", SAE_F32, 2, { d, n }, turned },
		{ "b_dec", SAE_F32, 1, { d }, m->b_dec },
		{ "b_gate", SAE_F32, 1, { n }, gate },
		{ "b_mag", SAE_F32, 1, { n }, m->b_enc },
		{ "r_mag", SAE_F32, 1, { n }, gate ? gate + n : NULL },
	};
	char path[FILE_PATH_MAX];
	int rc = turned && gate ? file_join(path, dir, weights_name, err) : error_nomem(err, "a gate");

	if (rc == 0)
		rc = sae_safetensors_write(path, tensors, ARRAY_LEN(tensors), NULL, 0, err);
	free(gate);
	free(turned);
	return rc;
}

static int write_weights(const sae_model *m, const char *dir, error *err)
{
	const bool tied = m->arch == SAE_PURSUIT;
	size_t d = m->d_in, n_features = m->d_sae, n = 0;
	float *turned = NULL; /* (d, F) */
	sae_tensor_out tensors[6];
	char path[FILE_PATH_MAX];
	int rc = file_join(path, dir, weights_name, err);

	if (rc == 0 && m->arch == SAE_CODEBOOK)
		return write_codes(m, path, err);
	if (rc == 0 && !tied) {
		turned = layout_turn(m->W_enc, n_features, d);
		rc = turned ? 0 : error_nomem(err, "the encoder's weights");
	}
	if (rc < 0)
		return rc;
	tensors[n++] = (sae_tensor_out){ "W_dec", SAE_F32, 2, { n_features, m->d_out }, m->W_dec };
	if (!tied)
		tensors[n++] = (sae_tensor_out){ "W_enc", SAE_F32, 2, { d, n_features }, turned };
	if (m->W_skip)
		tensors[n++] = (sae_tensor_out){ "W_skip", SAE_F32, 2, { m->d_out, d }, m->W_skip };
	tensors[n++] = (sae_tensor_out){ "b_dec", SAE_F32, 1, { m->d_out }, m->b_dec };
	if (m->n_inputs > 1) { /* the same values */
		tensors[0] = (sae_tensor_out){
			"W_dec", SAE_F32, 3, { n_features, m->n_inputs, d / m->n_inputs }, m->W_dec
		};
		tensors[1] = (sae_tensor_out){
			"W_enc", SAE_F32, 3, { m->n_inputs, d / m->n_inputs, n_features }, turned
		};
		tensors[2] =
		        (sae_tensor_out){ "b_dec", SAE_F32, 2, { m->n_inputs, d / m->n_inputs }, m->b_dec };
	}
	if (!tied)
		tensors[n++] = (sae_tensor_out){ "b_enc", SAE_F32, 1, { n_features }, m->b_enc };
	if (m->threshold)
		tensors[n++] = (sae_tensor_out){ "threshold", SAE_F32, 1, { n_features }, m->threshold };
	rc = sae_safetensors_write(path, tensors, n, NULL, 0, err);
	free(turned);
	return rc;
}

static int write_sparsity(const sae_model *m, const char *dir, const double *freq, error *err)
{
	float *sparsity = mem_alloc_aligned(m->d_sae, sizeof(float));
	char path[FILE_PATH_MAX];
	int rc;

	if (!sparsity)
		return error_nomem(err, "the sparsity");
	for (size_t f = 0; f < m->d_sae; f++)
		sparsity[f] = (float)log10(freq[f] + 1e-10);
	const sae_tensor_out tensor = { "sparsity", SAE_F32, 1, { m->d_sae }, sparsity };
	rc = file_join(path, dir, sparsity_name, err);
	if (rc == 0)
		rc = sae_safetensors_write(path, &tensor, 1, NULL, 0, err);
	free(sparsity);
	return rc;
}

/* Infinity is written as null. */
static bool put_list(cJSON *gloss, const char *key, const double *x, size_t n)
{
	cJSON *list;
	bool good;

	cJSON_DeleteItemFromObjectCaseSensitive(gloss, key);
	if (!n)
		return true;
	list = cJSON_AddArrayToObject(gloss, key);
	good = list != NULL;
	for (size_t i = 0; i < n && good; i++)
		good = cJSON_AddItemToArray(list, cJSON_CreateNumber(x[i]));
	return good;
}

/* `metadata` completed with what the model itself knows. NULL: no memory. */
static cJSON *full_metadata(const sae_model *m, const cJSON *metadata)
{
	cJSON *full = metadata ? cJSON_Duplicate(metadata, true) : cJSON_CreateObject();
	cJSON *gloss = cJSON_GetObjectItemCaseSensitive(full, "gloss");
	bool good = full != NULL;

	if (good && !gloss)
		good = (gloss = cJSON_AddObjectToObject(full, "gloss")) != NULL;
	if (good &&
	    !cJSON_HasObjectItem(full, "sae_lens_version")) /* by which SAELens tells its layouts apart */
		good = cJSON_AddStringToObject(full, "sae_lens_version", "6.0.0") != NULL;
	if (good && m->model_name && !cJSON_HasObjectItem(full, "model_name"))
		good = cJSON_AddStringToObject(full, "model_name", m->model_name) != NULL;
	if (good && m->hook_name && !cJSON_HasObjectItem(full, "hook_name"))
		good = cJSON_AddStringToObject(full, "hook_name", m->hook_name) != NULL;
	if (good && isfinite(m->norm_limit)) {
		cJSON_DeleteItemFromObjectCaseSensitive(gloss, "norm_limit");
		good = cJSON_AddNumberToObject(gloss, "norm_limit", m->norm_limit) != NULL;
	}
	good = good && put_list(gloss, "more_norm_limits", m->more_limits, m->n_more_limits) &&
	       put_list(gloss, "input_scales", m->scales,
	                m->n_inputs > 1 && m->scales[0] > 0 ? m->n_inputs : 0);
	if (good && (m->arch == SAE_JUMPRELU || m->arch == SAE_RELU) && m->k) {
		cJSON_DeleteItemFromObjectCaseSensitive(gloss, "k");
		good = cJSON_AddNumberToObject(gloss, "k", m->k) != NULL;
	}
	if (good)
		return full;
	cJSON_Delete(full);
	return NULL;
}

static const struct architecture *architecture_of(const sae_model *m)
{
	size_t i = 0;

	while (i < ARRAY_LEN(architectures) &&
	       (architectures[i].arch != m->arch || architectures[i].transcodes != m->transcodes ||
	        architectures[i].skip != (m->W_skip != NULL) ||
	        (architectures[i].kind == CROSSCODER) != (m->n_inputs > 1)))
		i++;
	return i < ARRAY_LEN(architectures) ? &architectures[i] : NULL;
}

/* The keys that SAELens has for the architecture, and no others. */
static bool add_architecture(cJSON *json, const sae_model *m, const char *name)
{
	bool counts = m->arch == SAE_TOPK || m->arch == SAE_GROUPMAX || m->arch == SAE_CODEBOOK;
	const sae_codebook *book = &m->codebook;
	size_t norm = 0;

	while (norms[norm].norm != m->norm)
		norm++;
	return cJSON_AddStringToObject(json, "architecture", name) &&
	       cJSON_AddNumberToObject(json, "d_in", m->d_in) &&
	       cJSON_AddNumberToObject(json, "d_sae", m->d_sae) &&
	       (!counts || cJSON_AddNumberToObject(json, "k", m->k)) &&
	       (!m->transcodes || cJSON_AddNumberToObject(json, "d_out", m->d_out)) &&
	       (m->n_inputs < 2 || cJSON_AddNumberToObject(json, "n_inputs", m->n_inputs)) &&
	       (m->arch != SAE_PURSUIT ||
	        (cJSON_AddNumberToObject(json, "residual_threshold", m->pursuit.residual) &&
	         cJSON_AddNumberToObject(json, "max_iterations", m->pursuit.steps) &&
	         cJSON_AddBoolToObject(json, "stop_on_duplicate_support", m->pursuit.repeat_ends))) &&
	       (m->arch != SAE_CODEBOOK ||
	        (cJSON_AddNumberToObject(json, "groups", book->groups) &&
	         cJSON_AddStringToObject(json, "similarity", book->euclidean ? "euclidean" : "cosine") &&
	         cJSON_AddStringToObject(json, "combine", book->mean ? "mean" : "sum"))) &&
	       cJSON_AddStringToObject(json, "dtype", "float32") &&
	       cJSON_AddStringToObject(json, "device", "cpu") &&
	       cJSON_AddBoolToObject(json, "apply_b_dec_to_input", m->centers) &&
	       cJSON_AddStringToObject(json, "normalize_activations", norms[norm].name) &&
	       cJSON_AddStringToObject(json, "reshape_activations", "none") &&
	       (m->arch != SAE_TOPK || cJSON_AddFalseToObject(json, "rescale_acts_by_decoder_norm"));
}

static cJSON *config_json(const sae_model *m, const char *architecture, const cJSON *metadata)
{
	cJSON *json = cJSON_CreateObject(), *full = full_metadata(m, metadata);
	bool good = json && full && add_architecture(json, m, architecture) &&
	            cJSON_AddItemToObject(json, "metadata", full);

	if (good)
		return json;
	if (!json || !cJSON_HasObjectItem(json, "metadata"))
		cJSON_Delete(full);
	cJSON_Delete(json);
	return NULL;
}

int sae_model_save(const sae_model *m, const char *dir, const double *freq, const cJSON *metadata, error *err)
{
	int rc = architecture_of(m) ? file_mkdir(dir, err)
	                            : error_set(err, ERR_ARG, "the layout has no name for this architecture");

	if (rc == 0)
		rc = write_weights(m, dir, err);
	if (rc == 0 && freq)
		rc = write_sparsity(m, dir, freq, err);
	if (rc == 0)
		rc = layout_write_json(config_json(m, architecture_of(m)->name, metadata), dir, config_name,
		                       err);
	return rc;
}

static int write(const sae_model *m, const char *dir, error *err)
{
	return sae_model_save(m, dir, NULL, NULL, err);
}

static int write_as_gated(const sae_model *m, const char *dir, error *err)
{
	int rc = write_gated(m, dir, err);

	return rc < 0 ? rc : layout_write_json(config_json(m, "gated", NULL), dir, config_name, err);
}

static const char *gated_cannot(const sae_model *m)
{
	if (m->arch != SAE_JUMPRELU)
		return "it knows only jumprelu, which gated SAEs are in Gloss";
	return m->transcodes || m->W_skip ? "it has no transcoders" : NULL;
}

static const char *gloss_cannot(const sae_model *m)
{
	return architecture_of(m)
	               ? NULL
	               : "it has no such architecture with a skip, another output or several inputs";
}

static const char *saelens_cannot(const sae_model *m)
{
	const struct architecture *a = architecture_of(m);

	if (!a)
		return gloss_cannot(m);
	return strncmp(a->name, OURS, sizeof(OURS) - 1) == 0 ? "it has no such architecture" : NULL;
}

const format format_saelens = {
	.name = "saelens",
	.config = config_name,
	.weights = weights_name,
	.read = read_saelens,
	.cannot = saelens_cannot,
	.write = write,
};

const format format_saelens_gated = {
	.name = "saelens-gated",
	.config = config_name,
	.weights = weights_name,
	.cannot = gated_cannot,
	.write = write_as_gated,
};

const format format_gloss = {
	.name = "gloss",
	.config = config_name,
	.weights = weights_name,
	.cannot = gloss_cannot,
	.write = write,
	.crosscoders = true,
};
