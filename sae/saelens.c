/* The SAELens 6 folder: cfg.json, sae_weights.safetensors, sparsity.safetensors. */
#include <math.h>

#include "sae/sae.h"

#define CONFIG_MAX_BYTES (16u << 20)
#define TRANSPOSE_ROWS   16 /* rows of (d, F) turned at a time */
#define MAX_WIDTH        (1u << 26)

static const char config_name[] = "cfg.json", weights_name[] = "sae_weights.safetensors",
                  sparsity_name[] = "sparsity.safetensors";

/* SAELens does not know GroupMax: a name of our own, so that it says so. */
static const struct {
	const char *name;
	sae_arch arch;
} architectures[] = { { "topk", SAE_TOPK },
	              { "jumprelu", SAE_JUMPRELU },
	              { "gloss_groupmax", SAE_GROUPMAX } };

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

typedef struct config {
	const char *architecture, *normalize, *reshape; /* in the tree */
	sae_arch arch;
	uint64_t d_in, d_sae, k;
	uint64_t aim; /* what training aimed at in place of k */
	bool apply_b_dec, rescale;
	const char *model_name, *hook_name;
	double norm_limit;
} config;

static int config_refuse(const char *path, const char *key, const char *value, const char *can, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s': %s '%s' is not supported, only '%s'", path, key, value, can);
}

static int config_metadata(config *c, const cJSON *json, const char *path, error *err)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(json, "metadata"), *gloss;
	int rc;

	if (!cJSON_IsObject(metadata))
		return 0;
	rc = json_get_string(&c->model_name, metadata, "model_name", path, err);
	if (rc == 0)
		rc = json_get_string(&c->hook_name, metadata, "hook_name", path, err);
	gloss = cJSON_GetObjectItemCaseSensitive(metadata, "gloss");
	if (rc == 0 && cJSON_IsObject(gloss)) {
		rc = json_get_double(&c->norm_limit, gloss, "norm_limit", path, err);
		if (rc == 0)
			rc = json_get_u64(&c->aim, gloss, "k", path, err);
	}
	if (rc == 0 && !(c->norm_limit > 0))
		rc = error_set(err, ERR_FORMAT, "'%s': norm_limit %g is not positive", path, c->norm_limit);
	return rc;
}

static int config_arch(config *c, const char *path, error *err)
{
	size_t i = 0;

	if (!c->architecture)
		return error_set(err, ERR_FORMAT, "'%s' has no architecture", path);
	while (i < ARRAY_LEN(architectures) && strcmp(c->architecture, architectures[i].name) != 0)
		i++;
	if (i == ARRAY_LEN(architectures))
		return config_refuse(path, "architecture", c->architecture,
		                     "topk', 'jumprelu', 'gloss_groupmax", err);
	c->arch = architectures[i].arch;
	return 0;
}

static int config_k(config *c, const char *path, error *err)
{
	if (c->arch == SAE_JUMPRELU) {
		c->k = c->aim;
		if (c->k > c->d_sae)
			return error_set(err, ERR_FORMAT, "'%s': metadata.gloss.k %llu is over d_sae = %llu",
			                 path, (unsigned long long)c->k, (unsigned long long)c->d_sae);
		if (c->rescale)
			return error_set(
			        err, ERR_FORMAT,
			        "'%s': rescale_acts_by_decoder_norm does not go with architecture '%s'", path,
			        c->architecture);
		return 0;
	}
	if (c->k < 1 || c->k > c->d_sae)
		return error_set(err, ERR_FORMAT, "'%s': k %llu is not in 1..d_sae = %llu", path,
		                 (unsigned long long)c->k, (unsigned long long)c->d_sae);
	if (c->arch == SAE_GROUPMAX && c->d_sae % c->k != 0)
		return error_set(err, ERR_FORMAT, "'%s': d_sae %llu is no multiple of k = %llu groups", path,
		                 (unsigned long long)c->d_sae, (unsigned long long)c->k);
	return 0;
}

static int config_check(config *c, const char *path, error *err)
{
	int rc = config_arch(c, path, err);

	if (rc < 0)
		return rc;
	if (strcmp(c->normalize, "none") != 0)
		return config_refuse(path, "normalize_activations", c->normalize, "none", err);
	if (strcmp(c->reshape, "none") != 0)
		return config_refuse(path, "reshape_activations", c->reshape, "none", err);
	if (c->d_in < 1 || c->d_in > MAX_WIDTH)
		return error_set(err, ERR_FORMAT, "'%s': d_in %llu is not in 1..%u", path,
		                 (unsigned long long)c->d_in, MAX_WIDTH);
	if (c->d_sae < 1 || c->d_sae > MAX_WIDTH)
		return error_set(err, ERR_FORMAT, "'%s': d_sae %llu is not in 1..%u", path,
		                 (unsigned long long)c->d_sae, MAX_WIDTH);
	return config_k(c, path, err);
}

static int config_read(config *c, const cJSON *json, const char *path, error *err)
{
	int rc = 0;

	*c = (config){ .normalize = "none", .reshape = "none", .apply_b_dec = true, .norm_limit = INFINITY };
	if (!cJSON_IsObject(json))
		return error_set(err, ERR_FORMAT, "'%s' is not a JSON object", path);
	rc = json_get_string(&c->architecture, json, "architecture", path, err);
	if (rc == 0)
		rc = json_get_string(&c->normalize, json, "normalize_activations", path, err);
	if (rc == 0)
		rc = json_get_string(&c->reshape, json, "reshape_activations", path, err);
	if (rc == 0)
		rc = json_get_u64(&c->d_in, json, "d_in", path, err);
	if (rc == 0)
		rc = json_get_u64(&c->d_sae, json, "d_sae", path, err);
	if (rc == 0)
		rc = json_get_u64(&c->k, json, "k", path, err);
	if (rc == 0)
		rc = json_get_bool(&c->apply_b_dec, json, "apply_b_dec_to_input", path, err);
	if (rc == 0)
		rc = json_get_bool(&c->rescale, json, "rescale_acts_by_decoder_norm", path, err);
	if (rc == 0)
		rc = config_metadata(c, json, path, err);
	return rc < 0 ? rc : config_check(c, path, err);
}

/* The tensor `name` of exactly this shape; columns 0: one dimension. */
static int find_tensor(const sae_tensor **out, const sae_file *f, const char *name, uint64_t rows,
                       uint64_t columns, error *err)
{
	const sae_tensor *t = sae_file_tensor(f, name);
	unsigned n_dims = columns ? 2 : 1;

	if (!t)
		return error_set(err, ERR_FORMAT, "'%s' has no tensor '%s'", sae_file_path(f), name);
	if (t->dtype > SAE_F64)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' is %s, not a float", sae_file_path(f),
		                 name, sae_dtype_name(t->dtype));
	if (t->n_dims != n_dims || t->dims[0] != rows || (columns && t->dims[1] != columns)) {
		char want[64];

		snprintf(want, sizeof(want), columns ? "(%llu, %llu)" : "(%llu)", (unsigned long long)rows,
		         (unsigned long long)columns);
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%s' has shape (%llu%s%.0llu), cfg.json says %s",
		                 sae_file_path(f), name, (unsigned long long)(t->n_dims ? t->dims[0] : 0),
		                 t->n_dims > 1 ? ", " : "",
		                 (unsigned long long)(t->n_dims > 1 ? t->dims[1] : 0), want);
	}
	*out = t;
	return 0;
}

static int read_tensor(float *out, const sae_file *f, const char *name, uint64_t rows, uint64_t columns,
                       error *err)
{
	const sae_tensor *t;
	int rc = find_tensor(&t, f, name, rows, columns, err);

	return rc < 0 ? rc : sae_file_read_f32(f, t, 0, t->count, out, err);
}

/* (d, F) on disk to (F, d) in memory, some rows at a time. */
static int read_encoder(sae_model *m, const sae_file *f, error *err)
{
	size_t d = m->d_in, n_features = m->d_sae;
	const sae_tensor *t;
	float *rows = NULL;
	int rc = find_tensor(&t, f, "W_enc", d, n_features, err);

	if (rc < 0)
		return rc;
	rows = mem_alloc_aligned(TRANSPOSE_ROWS, n_features * sizeof(float));
	if (!rows)
		return error_nomem(err, "the encoder's rows");
	for (size_t first = 0; first < d && rc == 0; first += TRANSPOSE_ROWS) {
		size_t n = d - first < TRANSPOSE_ROWS ? d - first : TRANSPOSE_ROWS;

		rc = sae_file_read_f32(f, t, first * n_features, n * n_features, rows, err);
		for (size_t j = 0; j < n_features && rc == 0; j++)
			for (size_t i = 0; i < n; i++)
				m->W_enc[j * d + first + i] = rows[i * n_features + j];
	}
	free(rows);
	return rc;
}

static double dot_f64(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* What SAELens computes with rescale_acts_by_decoder_norm, without it: values carry the norm of their decoder row. */
static void fold_decoder_norm(sae_model *m)
{
	size_t d = m->d_in;

	for (size_t f = 0; f < m->d_sae; f++) {
		float *enc = m->W_enc + f * d, *dec = m->W_dec + f * d;
		double norm = sqrt(dot_f64(dec, dec, d));

		m->b_enc[f] = (float)(m->b_enc[f] * norm);
		for (size_t i = 0; i < d; i++) {
			enc[i] = (float)(enc[i] * norm);
			dec[i] = norm > 0 ? (float)(dec[i] / norm) : 0;
		}
	}
}

/* An encoder that does not take b_dec off its input is one that does, with the difference in its bias. */
static void fold_b_dec(sae_model *m)
{
	for (size_t f = 0; f < m->d_sae; f++)
		m->b_enc[f] = (float)(m->b_enc[f] + dot_f64(m->W_enc + f * m->d_in, m->b_dec, m->d_in));
}

static int check_finite(const sae_model *m, const char *path, error *err)
{
	const struct {
		const char *name;
		const float *data;
		size_t n;
	} all[] = { { "W_enc", m->W_enc, (size_t)m->d_sae * m->d_in },
		    { "W_dec", m->W_dec, (size_t)m->d_sae * m->d_in },
		    { "b_enc", m->b_enc, m->d_sae },
		    { "b_dec", m->b_dec, m->d_in },
		    { "threshold", m->threshold, m->threshold ? m->d_sae : 0 } };

	for (size_t t = 0; t < ARRAY_LEN(all); t++)
		for (size_t i = 0; i < all[t].n; i++)
			if (!isfinite(all[t].data[i]))
				return error_set(err, ERR_FORMAT, "'%s': %s holds a NaN or infinity", path,
				                 all[t].name);
	return 0;
}

/* A value under 0 has no meaning: what is kept would have to be over 0 none the less. */
static int check_threshold(const sae_model *m, const char *path, error *err)
{
	for (size_t f = 0; m->threshold && f < m->d_sae; f++)
		if (m->threshold[f] < 0)
			return error_set(err, ERR_FORMAT, "'%s': the threshold of feature %zu is %g, under 0",
			                 path, f, (double)m->threshold[f]);
	return 0;
}

static int read_weights(sae_model *m, const config *c, const char *path, error *err)
{
	sae_file *f = NULL;
	int rc = sae_file_open(&f, path, err);

	if (rc < 0)
		return rc;
	rc = read_tensor(m->b_dec, f, "b_dec", c->d_in, 0, err);
	if (rc == 0)
		rc = read_tensor(m->b_enc, f, "b_enc", c->d_sae, 0, err);
	if (rc == 0)
		rc = read_tensor(m->W_dec, f, "W_dec", c->d_sae, c->d_in, err);
	if (rc == 0)
		rc = read_encoder(m, f, err);
	if (rc == 0 && m->threshold)
		rc = read_tensor(m->threshold, f, "threshold", c->d_sae, 0, err);
	if (rc == 0)
		rc = check_finite(m, path, err);
	if (rc == 0)
		rc = check_threshold(m, path, err);
	sae_file_close(f);
	if (rc < 0)
		return rc;
	if (c->rescale)
		fold_decoder_norm(m);
	if (!c->apply_b_dec)
		fold_b_dec(m);
	return sha256_file(m->weights_sha256, path, err);
}

/* Shapes are checked against the file before memory of that size is asked for. */
static int check_shapes(const config *c, const char *path, error *err)
{
	const sae_tensor *t;
	sae_file *f = NULL;
	int rc = sae_file_open(&f, path, err);

	if (rc < 0)
		return rc;
	rc = find_tensor(&t, f, "W_dec", c->d_sae, c->d_in, err);
	sae_file_close(f);
	return rc;
}

static int copy_name(char **out, const char *name, error *err)
{
	if (!name)
		return 0;
	*out = strdup(name);
	return *out ? 0 : error_nomem(err, "a name");
}

int sae_model_load(sae_model **out, const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	cJSON *json = NULL;
	sae_model *m = NULL;
	config c;
	int rc;

	rc = file_join(path, dir, config_name, err);
	if (rc == 0)
		rc = json_read_file(&json, path, CONFIG_MAX_BYTES, err);
	if (rc == 0)
		rc = config_read(&c, json, path, err);
	if (rc == 0)
		rc = file_join(path, dir, weights_name, err);
	if (rc == 0)
		rc = check_shapes(&c, path, err);
	if (rc == 0)
		rc = sae_model_new(&m, c.arch, (uint32_t)c.d_in, (uint32_t)c.d_sae, (uint32_t)c.k, err);
	if (rc < 0)
		goto out;
	m->norm_limit = c.norm_limit;
	rc = copy_name(&m->model_name, c.model_name, err);
	if (rc == 0)
		rc = copy_name(&m->hook_name, c.hook_name, err);
	if (rc == 0)
		rc = read_weights(m, &c, path, err);
	if (rc < 0)
		goto out;
	*out = m;
	m = NULL;
out:
	sae_model_free(m);
	cJSON_Delete(json);
	return rc;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static int write_weights(const sae_model *m, const char *dir, error *err)
{
	size_t d = m->d_in, n_features = m->d_sae;
	float *turned = mem_alloc_aligned(d, n_features * sizeof(float)); /* (d, F) */
	char path[FILE_PATH_MAX];
	int rc;

	if (!turned)
		return error_nomem(err, "the encoder's weights");
	for (size_t first = 0; first < d; first += TRANSPOSE_ROWS)
		for (size_t f = 0; f < n_features; f++)
			for (size_t i = first; i < d && i < first + TRANSPOSE_ROWS; i++)
				turned[i * n_features + f] = m->W_enc[f * d + i];
	const sae_tensor_out tensors[] = {
		{ "W_dec", SAE_F32, 2, { n_features, d }, m->W_dec },
		{ "W_enc", SAE_F32, 2, { d, n_features }, turned },
		{ "b_dec", SAE_F32, 1, { d }, m->b_dec },
		{ "b_enc", SAE_F32, 1, { n_features }, m->b_enc },
		{ "threshold", SAE_F32, 1, { n_features }, m->threshold },
	};
	rc = file_join(path, dir, weights_name, err);
	if (rc == 0)
		rc = sae_safetensors_write(path, tensors, ARRAY_LEN(tensors) - !m->threshold, NULL, 0, err);
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

/* `metadata` completed with what the model itself knows. NULL: no memory. */
static cJSON *full_metadata(const sae_model *m, const cJSON *metadata)
{
	cJSON *full = metadata ? cJSON_Duplicate(metadata, true) : cJSON_CreateObject();
	cJSON *gloss = cJSON_GetObjectItemCaseSensitive(full, "gloss");
	bool good = full != NULL;

	if (good && !gloss)
		good = (gloss = cJSON_AddObjectToObject(full, "gloss")) != NULL;
	if (good && m->model_name && !cJSON_HasObjectItem(full, "model_name"))
		good = cJSON_AddStringToObject(full, "model_name", m->model_name) != NULL;
	if (good && m->hook_name && !cJSON_HasObjectItem(full, "hook_name"))
		good = cJSON_AddStringToObject(full, "hook_name", m->hook_name) != NULL;
	if (good && isfinite(m->norm_limit)) {
		cJSON_DeleteItemFromObjectCaseSensitive(gloss, "norm_limit");
		good = cJSON_AddNumberToObject(gloss, "norm_limit", m->norm_limit) != NULL;
	}
	if (good && m->arch == SAE_JUMPRELU && m->k) {
		cJSON_DeleteItemFromObjectCaseSensitive(gloss, "k");
		good = cJSON_AddNumberToObject(gloss, "k", m->k) != NULL;
	}
	if (good)
		return full;
	cJSON_Delete(full);
	return NULL;
}

/* The keys that SAELens has for the architecture, and no others. */
static bool add_architecture(cJSON *json, const sae_model *m)
{
	size_t i = 0;

	while (architectures[i].arch != m->arch)
		i++;
	return cJSON_AddStringToObject(json, "architecture", architectures[i].name) &&
	       cJSON_AddNumberToObject(json, "d_in", m->d_in) &&
	       cJSON_AddNumberToObject(json, "d_sae", m->d_sae) &&
	       (m->arch == SAE_JUMPRELU || cJSON_AddNumberToObject(json, "k", m->k));
}

static cJSON *config_json(const sae_model *m, const cJSON *metadata)
{
	cJSON *json = cJSON_CreateObject(), *full = full_metadata(m, metadata);
	bool good = json && full && add_architecture(json, m) &&
	            cJSON_AddStringToObject(json, "dtype", "float32") &&
	            cJSON_AddStringToObject(json, "device", "cpu") &&
	            cJSON_AddTrueToObject(json, "apply_b_dec_to_input") &&
	            cJSON_AddStringToObject(json, "normalize_activations", "none") &&
	            cJSON_AddStringToObject(json, "reshape_activations", "none") &&
	            (m->arch != SAE_TOPK || cJSON_AddFalseToObject(json, "rescale_acts_by_decoder_norm")) &&
	            cJSON_AddItemToObject(json, "metadata", full);

	if (good)
		return json;
	if (!json || !cJSON_HasObjectItem(json, "metadata"))
		cJSON_Delete(full);
	cJSON_Delete(json);
	return NULL;
}

static int write_config(const sae_model *m, const char *dir, const cJSON *metadata, error *err)
{
	cJSON *json = config_json(m, metadata);
	char *data = json ? json_print(json) : NULL;
	char path[FILE_PATH_MAX];
	int rc;

	if (!data)
		rc = error_nomem(err, "cfg.json");
	else
		rc = file_join(path, dir, config_name, err);
	if (rc == 0)
		rc = file_write(path, data, strlen(data), err);
	free(data);
	cJSON_Delete(json);
	return rc;
}

int sae_model_save(const sae_model *m, const char *dir, const double *freq, const cJSON *metadata, error *err)
{
	int rc = file_mkdir(dir, err);

	if (rc == 0)
		rc = write_weights(m, dir, err);
	if (rc == 0 && freq)
		rc = write_sparsity(m, dir, freq, err);
	if (rc == 0)
		rc = write_config(m, dir, metadata, err);
	return rc;
}
