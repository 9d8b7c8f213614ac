/* OpenMOSS (Language-Model-SAEs): config.json and sae_weights.safetensors, or .pt; Llama Scope, its older form: hyperparams.json and
 * checkpoints/final.safetensors, or .pt. Its SAEs, transcoders, and crosscoders of relu. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/formats.h"

static const char config_name[] = "config.json", weights_name[] = "sae_weights.safetensors",
                  old_config_name[] = "hyperparams.json",
                  old_weights_name[] = "checkpoints/final.safetensors",
                  new_threshold_name[] = "activation_function.log_jumprelu_threshold";

/* Names of tensors, which changed over time; a .pt has them in a dict `sae`. */
#define NAMES(in)                                                                                            \
	{                                                                                                    \
		in "W_E", in "W_D", in "b_E", in "b_D", in "encoder.weight", in "decoder.weight",            \
		        in "encoder.bias", in "decoder.bias", in "log_jumprelu_threshold",                   \
		        in "activation_function.log_jumprelu_threshold",                                     \
		        in "dataset_average_activation_norm."                                                \
	}
typedef struct names {
	const char *enc, *dec, *b_enc, *b_dec, *old_enc, *old_dec, *old_b_enc, *old_b_dec, *old_threshold,
	        *threshold, *norm;
} names;
static const names plain = NAMES(""), inside = NAMES("sae.");

static const struct {
	const char *name;
	sae_arch arch;
} activations[] = { { "relu", SAE_RELU }, { "topk", SAE_TOPK }, { "jumprelu", SAE_JUMPRELU } };

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

static int refuse(const layout *l, const char *key, const char *value, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s': %s '%.40s' is not supported", l->config, key, value);
}

static int read_activation(layout *l, bool by_norm, error *err)
{
	const char *name = "relu";
	size_t i = 0;
	int rc = json_get_string(&name, l->json, "act_fn", l->config, err);

	if (rc < 0)
		return rc;
	while (i < ARRAY_LEN(activations) && strcasecmp(name, activations[i].name) != 0)
		i++;
	if (i == ARRAY_LEN(activations))
		return refuse(l, "act_fn", name, err);
	l->arch = activations[i].arch;
	snprintf(l->architecture, sizeof(l->architecture), "%s%s", activations[i].name,
	         l->transcodes ? " transcoder" : "");
	if (by_norm && l->arch == SAE_TOPK) {
		l->values_by_norm = true;
		layout_folds(l, "norms of decoder rows into the values");
	} else if (by_norm && l->arch == SAE_JUMPRELU) {
		l->threshold_by_norm = true;
		layout_folds(l, "norms of decoder rows out of the thresholds");
	}
	rc = json_get_double(&l->threshold_for_all, l->json, "jump_relu_threshold", l->config, err);
	return rc < 0 || l->arch != SAE_TOPK ? rc : json_get_u64(&l->k, l->json, "top_k", l->config, err);
}

static const names *names_of(const sae_file *f)
{
	return sae_file_tensor(f, inside.enc) || sae_file_tensor(f, inside.old_enc) ? &inside : &plain;
}

static void read_tensors(layout *l, const sae_file *f)
{
	const names *n = names_of(f);

	if (sae_file_tensor(f, n->enc)) {
		l->enc = (layout_matrix){ n->enc, true };
		l->dec = (layout_matrix){ n->dec, false };
		l->b_enc = n->b_enc;
		l->b_dec = l->b_dec ? n->b_dec : NULL;
	} else {
		l->enc = (layout_matrix){ n->old_enc, false };
		l->dec = (layout_matrix){ n->old_dec, true };
		l->b_enc = n->old_b_enc;
		l->b_dec = l->b_dec ? n->old_b_dec : NULL;
	}
	if (l->arch != SAE_JUMPRELU)
		return;
	if (sae_file_tensor(f, n->old_threshold))
		l->threshold = n->old_threshold;
	else if (sae_file_tensor(f, n->threshold) || !(l->threshold_for_all > 0))
		l->threshold = n->threshold;
	l->threshold_is_log = l->threshold != NULL;
}

/* The mean norm of rows at a hook point: a tensor, or in the config. */
static int read_mean_norm(double *out, const layout *l, const sae_file *f, const char *hook, const char *key,
                          error *err)
{
	const cJSON *old = cJSON_GetObjectItemCaseSensitive(l->json, "dataset_average_activation_norm");
	const sae_tensor *t;
	char name[320];
	float value = 0;
	int rc = 0;

	*out = 0;
	snprintf(name, sizeof(name), "%s%.256s", names_of(f)->norm, hook ? hook : "");
	t = sae_file_tensor(f, name);
	if (t && t->count == 1) {
		rc = sae_file_read_f32(f, t, 0, 1, &value, err);
		*out = (double)value;
	} else if (cJSON_IsObject(old)) {
		rc = json_get_double(out, old, key, l->config, err);
	}
	if (rc == 0 && !(*out > 0 && isfinite(*out)))
		rc = error_set(err, ERR_FORMAT, "'%s': the mean norm of rows at '%.100s' is not known",
		               l->weights, hook ? hook : key);
	return rc;
}

static int read_norm(layout *l, const sae_file *f, const char *out_hook, error *err)
{
	const char *name = "dataset-wise";
	double in = 0, out = 0, root = sqrt((double)l->d_in);
	int rc = json_get_string(&name, l->json, "norm_activation", l->config, err);

	if (rc < 0 || strcmp(name, "inference") == 0) /* in the weights already */
		return rc;
	if (strcmp(name, "token-wise") == 0) {
		l->norm = SAE_NORM_UNIT;
		return 0;
	}
	if (strcmp(name, "dataset-wise") != 0)
		return refuse(l, "norm_activation", name, err);
	rc = read_mean_norm(&in, l, f, l->hook_name, "in", err);
	if (rc == 0)
		rc = read_mean_norm(&out, l, f, out_hook, "out", err);
	l->scale = root / in;
	l->scale_out = root / out;
	if (!l->threshold) /* Llama Scope's was found when the scales were in the weights: of values as the output has them */
		l->threshold_for_all *= l->scale_out;
	layout_folds(l, "the scale of input and output");
	return rc;
}

/* One scale an input. */
static int read_cross_norm(layout *l, const sae_file *f, const cJSON *hooks, error *err)
{
	const char *name = "dataset-wise";
	int rc = json_get_string(&name, l->json, "norm_activation", l->config, err);

	if (rc < 0 || strcmp(name, "inference") == 0)
		return rc;
	if (strcmp(name, "dataset-wise") != 0)
		return refuse(l, "a crosscoder's norm_activation", name, err);
	for (uint64_t i = 0; i < l->n_inputs && rc == 0; i++) {
		const uint64_t width = l->d_in / l->n_inputs;
		double mean;

		rc = read_mean_norm(&mean, l, f, cJSON_GetArrayItem(hooks, (int)i)->valuestring, "in", err);
		l->scales[i] = sqrt((double)width) / mean;
	}
	layout_folds(l, "the scales of the inputs");
	return rc;
}

/* How many inputs there are, or an error. */
static int check_cross(const layout *l, const cJSON *hooks, error *err)
{
	const char *act = "relu";
	const cJSON *hook;
	int n = cJSON_GetArraySize(hooks), rc = json_get_string(&act, l->json, "act_fn", l->config, err);

	if (rc < 0)
		return rc;
	if (!cJSON_IsArray(hooks) || n < 2 || n > SAE_PARTS_MAX)
		return error_set(err, ERR_FORMAT, "'%s': hook_points is no list of 2 to %d", l->config,
		                 SAE_PARTS_MAX);
	cJSON_ArrayForEach(hook, hooks)
	{
		if (!cJSON_IsString(hook))
			return error_set(err, ERR_FORMAT, "'%s': hook_points holds what is no name",
			                 l->config);
	}
	if (l->d_in < 1 || l->d_in > LAYOUT_MAX_WIDTH)
		return error_set(err, ERR_FORMAT, "'%s': d_model %" PRIu64 " is not in 1..%u", l->config,
		                 l->d_in, LAYOUT_MAX_WIDTH);
	if (strcasecmp(act, "relu") != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': act_fn '%.40s' of a crosscoder is not supported, only relu: by it a "
		                 "feature may fire in some inputs and not in others",
		                 l->config, act);
	return n;
}

/* Inputs side by side. What is relu in each of them, of one sum of pre-activations, is one value for all. */
static int read_cross(layout *l, error *err)
{
	const cJSON *hooks = cJSON_GetObjectItemCaseSensitive(l->json, "hook_points");
	const sae_tensor *t;
	sae_file *f = NULL;
	int rc = check_cross(l, hooks, err);

	if (rc < 0)
		return rc;
	snprintf(l->architecture, sizeof(l->architecture), "relu crosscoder");
	l->arch = SAE_RELU;
	l->n_inputs = (uint64_t)rc;
	l->d_in *= l->n_inputs;
	l->d_out = l->d_in;
	l->split = true;
	rc = sae_file_open(&f, l->weights, err);
	if (rc < 0)
		return rc;
	l->enc = (layout_matrix){ names_of(f)->enc, true };
	l->dec = (layout_matrix){ names_of(f)->dec, false };
	l->b_enc = names_of(f)->b_enc;
	l->b_dec = names_of(f)->b_dec;
	t = sae_file_tensor(f, l->dec.name);
	if (!t || t->n_dims != 3)
		rc = error_set(err, ERR_FORMAT, "'%s' has no tensor '%s' of 3 dimensions", l->weights,
		               l->dec.name);
	else
		l->d_sae = t->dims[1];
	if (rc == 0)
		rc = read_cross_norm(l, f, hooks, err);
	sae_file_close(f);
	return rc;
}

static int read_config(layout *l, const char *dir, error *err)
{
	const char *kind = "sae", *out_hook = NULL, *what = l->config;
	bool bias = true, by_norm = true, glu = false;
	sae_file *f = NULL;
	int rc = json_get_string(&kind, l->json, "sae_type", what, err);

	(void)dir;
	l->centers = false;
	if (rc == 0)
		rc = json_get_u64(&l->d_in, l->json, "d_model", what, err);
	if (rc == 0)
		rc = json_get_bool(&bias, l->json, "use_decoder_bias", what, err);
	if (rc == 0)
		rc = json_get_bool(&by_norm, l->json, "sparsity_include_decoder_norm", what, err);
	if (rc == 0)
		rc = json_get_bool(&glu, l->json, "use_glu_encoder", what, err);
	if (rc == 0)
		rc = json_get_bool(&l->centers, l->json, "apply_decoder_bias_to_pre_encoder", what, err);
	if (rc == 0)
		rc = json_get_string(&l->hook_name, l->json, "hook_point_in", what, err);
	if (rc == 0)
		rc = json_get_string(&out_hook, l->json, "hook_point_out", what, err);
	if (rc == 0 && strcmp(kind, "crosscoder") == 0)
		return glu || l->centers
		               ? refuse(l, "a crosscoder's encoder", glu ? "use_glu_encoder" : "b_dec", err)
		               : read_cross(l, err);
	if (rc == 0 && strcmp(kind, "sae") != 0)
		rc = refuse(l, "sae_type", kind, err);
	if (rc == 0 && glu)
		rc = refuse(l, "use_glu_encoder", "true", err);
	l->d_out = l->d_in;
	l->transcodes = l->hook_name && out_hook && strcmp(l->hook_name, out_hook) != 0;
	if (!bias)
		l->b_dec = NULL;
	if (rc == 0)
		rc = read_activation(l, by_norm, err);
	if (rc == 0)
		rc = sae_file_open(&f, l->weights, err);
	if (rc < 0)
		return rc;
	read_tensors(l, f);
	rc = read_norm(l, f, out_hook, err);
	sae_file_close(f);
	return rc;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

/* A crosscoder's activation function is applied in each input, to the sum of its pre-activations times the norm of the decoder row there:
 * of relu alone that is one value for all. */
static const char *cannot_cross(const sae_model *m)
{
	float *shares;
	bool zeros = false;

	if (m->arch != SAE_RELU)
		return "its crosscoders choose by the decoder norm in each input, which only relu does not "
		       "see";
	shares = mem_alloc_aligned(m->d_sae, m->n_inputs * sizeof(*shares));
	if (!shares)
		return "there is no memory to look at it";
	sae_crosscoder_shares(shares, m);
	for (size_t i = 0; i < (size_t)m->d_sae * m->n_inputs; i++)
		zeros |= !(shares[i] > 0);
	free(shares);
	return zeros ? "it divides by the norm of a decoder row in each input, and one is 0" : NULL;
}

static const char *cannot(const sae_model *m)
{
	if (m->n_inputs > 1)
		return cannot_cross(m);
	if (m->arch != SAE_RELU && m->arch != SAE_TOPK && m->arch != SAE_JUMPRELU)
		return "it knows only relu, topk and jumprelu";
	if (m->norm == SAE_NORM_LAYER)
		return "it cannot normalise rows so";
	if (m->norm != SAE_NORM_NONE && m->centers)
		return "it cannot take b_dec off a normalised row";
	if (m->W_skip)
		return "its transcoders have no skip";
	return m->d_in != m->d_out ? "its output is as wide as its input" : NULL;
}

/* The tool takes the whole part of d times this for F. */
static double expansion(const sae_model *m)
{
	double x = (double)m->d_sae / m->d_in;

	while ((uint64_t)(x * m->d_in) < m->d_sae)
		x = nextafter(x, INFINITY);
	return x;
}

static cJSON *config_json(const sae_model *m)
{
	const char *hook = m->hook_name ? m->hook_name : "input";
	cJSON *o = cJSON_CreateObject();

	if (o && cJSON_AddStringToObject(o, "sae_type", "sae") &&
	    cJSON_AddNumberToObject(o, "d_model", m->d_in) &&
	    cJSON_AddNumberToObject(o, "expansion_factor", expansion(m)) &&
	    cJSON_AddTrueToObject(o, "use_decoder_bias") &&
	    cJSON_AddStringToObject(o, "act_fn", sae_arch_name(m->arch)) &&
	    (m->arch != SAE_TOPK || cJSON_AddNumberToObject(o, "top_k", m->k)) &&
	    cJSON_AddStringToObject(o, "norm_activation",
	                            m->norm == SAE_NORM_UNIT ? "token-wise" : "inference") &&
	    cJSON_AddFalseToObject(o, "sparsity_include_decoder_norm") &&
	    cJSON_AddFalseToObject(o, "use_glu_encoder") &&
	    cJSON_AddStringToObject(o, "hook_point_in", hook) &&
	    cJSON_AddStringToObject(o, "hook_point_out", m->transcodes ? "output" : hook))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *cross_json(const sae_model *m)
{
	const uint32_t d = m->d_in / m->n_inputs;
	const sae_model one = { .d_in = d, .d_sae = m->d_sae };
	cJSON *o = cJSON_CreateObject(), *hooks = cJSON_AddArrayToObject(o, "hook_points");
	bool good = hooks != NULL;
	char name[32];

	for (uint32_t i = 0; i < m->n_inputs && good; i++) {
		snprintf(name, sizeof(name), "input.%" PRIu32, i + 1);
		good = cJSON_AddItemToArray(hooks, cJSON_CreateString(name));
	}
	if (good && cJSON_AddStringToObject(o, "sae_type", "crosscoder") &&
	    cJSON_AddNumberToObject(o, "d_model", d) &&
	    cJSON_AddNumberToObject(o, "expansion_factor", expansion(&one)) &&
	    cJSON_AddTrueToObject(o, "use_decoder_bias") && cJSON_AddStringToObject(o, "act_fn", "relu") &&
	    cJSON_AddStringToObject(o, "norm_activation", "inference") &&
	    cJSON_AddTrueToObject(o, "sparsity_include_decoder_norm"))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Decoder rows (F, n, d) as (n, F, d); malloc'd. NULL: no memory. */
static float *split_decoder(const sae_model *m)
{
	const size_t d = m->d_in / m->n_inputs, n = m->n_inputs;
	float *out = mem_alloc_aligned(m->d_sae, m->d_in * sizeof(*out));

	for (size_t i = 0; i < n && out; i++)
		for (size_t f = 0; f < m->d_sae; f++)
			memcpy(out + (i * m->d_sae + f) * d, m->W_dec + (f * n + i) * d, d * sizeof(*out));
	return out;
}

/* Biases are per input there, and added up: all of ours is the first one's. */
static int write_cross(const sae_model *m, const char *dir, error *err)
{
	const uint64_t n = m->n_inputs, d = m->d_in / n, features = m->d_sae;
	float *enc = layout_turn(m->W_enc, features, m->d_in), *dec = split_decoder(m);
	float *bias = layout_bias(m, false), *biases = mem_alloc_aligned(features, n * sizeof(*biases));
	const sae_tensor_out tensors[] = {
		{ "W_D", SAE_F32, 3, { n, features, d }, dec },
		{ "W_E", SAE_F32, 3, { n, d, features }, enc },
		{ "b_D", SAE_F32, 2, { n, d }, m->b_dec },
		{ "b_E", SAE_F32, 2, { n, features }, biases },
	};
	char path[FILE_PATH_MAX];
	int rc = enc && dec && bias && biases ? file_join(path, dir, weights_name, err)
	                                      : error_nomem(err, "a copy of the weights");

	if (rc == 0) {
		memset(biases, 0, features * n * sizeof(*biases));
		memcpy(biases, bias, features * sizeof(*biases));
		rc = sae_safetensors_write(path, tensors, ARRAY_LEN(tensors), NULL, 0, err);
	}
	free(enc);
	free(dec);
	free(bias);
	free(biases);
	return rc < 0 ? rc : layout_write_json(cross_json(m), dir, config_name, err);
}

static int write_plain(const sae_model *m, const char *dir, error *err)
{
	const uint64_t d = m->d_in, n = m->d_sae;
	float *enc = layout_turn(m->W_enc, n, d), *bias = layout_bias(m, false), *log = layout_thresholds(m);
	const sae_tensor_out tensors[] = {
		{ "W_D", SAE_F32, 2, { n, m->d_out }, m->W_dec }, { "W_E", SAE_F32, 2, { d, n }, enc },
		{ "b_D", SAE_F32, 1, { m->d_out }, m->b_dec },    { "b_E", SAE_F32, 1, { n }, bias },
		{ new_threshold_name, SAE_F32, 1, { n }, log },
	};
	char path[FILE_PATH_MAX];
	int rc = enc && bias && log ? file_join(path, dir, weights_name, err)
	                            : error_nomem(err, "a copy of the weights");

	for (size_t f = 0; log && f < n; f++)
		log[f] = logf(log[f] > FLT_MIN ? log[f] : FLT_MIN);
	if (rc == 0)
		rc = sae_safetensors_write(path, tensors, m->arch == SAE_JUMPRELU ? 5 : 4, NULL, 0, err);
	free(enc);
	free(bias);
	free(log);
	return rc < 0 ? rc : layout_write_json(config_json(m), dir, config_name, err);
}

static int write(const sae_model *m, const char *dir, error *err)
{
	return m->n_inputs > 1 ? write_cross(m, dir, err) : write_plain(m, dir, err);
}

const format format_openmoss = {
	.name = "openmoss",
	.config = config_name,
	.weights = weights_name,
	.read = read_config,
	.cannot = cannot,
	.write = write,
	.crosscoders = true,
};

const format format_openmoss_pt = {
	.name = "openmoss",
	.config = config_name,
	.weights = "sae_weights.pt",
	.read = read_config,
};

const format format_llama_scope = {
	.name = "llama-scope",
	.config = old_config_name,
	.weights = old_weights_name,
	.read = read_config,
};

const format format_llama_scope_pt = {
	.name = "llama-scope",
	.config = old_config_name,
	.weights = "checkpoints/final.pt",
	.read = read_config,
};
