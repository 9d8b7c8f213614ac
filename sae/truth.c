/* The truth of a synthetic dump: truth.json, dictionary.safetensors and codes.npz of one folder. docs/formats.md describes them. */
#include <inttypes.h>
#include <stdlib.h>

#include "sae/synth_internal.h"

enum { TRUTH_JSON_MAX = 1 << 20 };

/* dir itself, or `truth` in it. ERR_NOTFOUND: neither holds a truth. */
static int find_folder(char out[FILE_PATH_MAX], const char *dir, error *err)
{
	char path[FILE_PATH_MAX];

	for (int i = 0; i < 2; i++) {
		int rc = file_join(out, dir, i ? TRUTH_FOLDER : ".", err);

		if (rc == 0)
			rc = file_join(path, out, TRUTH_JSON, err);
		if (rc < 0)
			return rc;
		if (file_exists(path))
			return 0;
	}
	return error_set(err, ERR_NOTFOUND, "no " TRUTH_JSON " in '%s' or its folder '" TRUTH_FOLDER "'",
	                 dir);
}

bool sae_truth_is_at(const char *dir)
{
	char path[FILE_PATH_MAX];

	return find_folder(path, dir, NULL) == 0;
}

static int read_json(sae_truth *t, const char *path, error *err)
{
	cJSON *json = NULL;
	const char *kind = NULL;
	uint64_t version = 0, features = 0, d = 0;
	int rc = json_read_file(&json, path, TRUTH_JSON_MAX, err);

	if (rc == 0 && !cJSON_IsObject(json))
		rc = error_set(err, ERR_FORMAT, "'%s' is not a JSON object", path);
	if (rc == 0)
		rc = json_get_u64(&version, json, "gloss_truth", path, err);
	if (rc == 0)
		rc = json_get_string(&kind, json, "kind", path, err);
	if (rc == 0)
		rc = json_get_u64(&features, json, "features", path, err);
	if (rc == 0)
		rc = json_get_u64(&d, json, "d", path, err);
	if (rc == 0)
		rc = json_get_u64(&t->n_rows, json, "rows", path, err);
	if (rc == 0 && version != TRUTH_VERSION)
		rc = error_set(err, ERR_FORMAT, "'%s': gloss_truth is %" PRIu64 ", this version reads %d",
		               path, version, TRUTH_VERSION);
	if (rc == 0 && (!kind || features < 1 || features > INT32_MAX || d < 1 || d > INT32_MAX))
		rc = error_set(err, ERR_FORMAT, "'%s': kind, features or d is missing or out of range", path);
	if (rc == 0) {
		snprintf(t->kind, sizeof(t->kind), "%s", kind);
		t->n_features = (uint32_t)features;
		t->d = (uint32_t)d;
	}
	cJSON_Delete(json);
	return rc;
}

/* The tensor, which must have this many values; *out NULL: there is none, where it need not be. */
static int find_tensor(const sae_tensor **out, const sae_file *f, const char *name, uint64_t count,
                       bool needed, error *err)
{
	*out = sae_file_tensor(f, name);
	if (!*out && needed)
		return error_set(err, ERR_FORMAT, "'%s' has no tensor '%s'", sae_file_path(f), name);
	if (*out && (*out)->count != count)
		return error_set(err, ERR_FORMAT, "'%s': '%s' has %" PRIu64 " values, %" PRIu64 " are wanted",
		                 sae_file_path(f), name, (*out)->count, count);
	return 0;
}

/* Integers of a feature each, into out (G); left as they are where there are none. */
static int read_numbers(int64_t *out, bool *found, const sae_file *f, const char *name, uint32_t n,
                        error *err)
{
	const sae_tensor *tensor;
	int rc = find_tensor(&tensor, f, name, n, false, err);

	*found = rc == 0 && tensor;
	return *found ? sae_file_read_i64(f, tensor, 0, n, out, err) : rc;
}

/* Parents come before their children, so that there is no circle. */
static int take_parents(sae_truth *t, const int64_t *numbers, const char *path, error *err)
{
	for (uint32_t g = 0; g < t->n_features; g++) {
		if (numbers[g] < -1 || numbers[g] >= (int64_t)g)
			return error_set(err, ERR_FORMAT,
			                 "'%s': the parent of feature %u is %" PRId64
			                 ": -1, or a feature before it",
			                 path, g, numbers[g]);
		t->parent[g] = numbers[g] < 0 ? SAE_TRUTH_ROOT : (uint32_t)numbers[g];
	}
	return 0;
}

static int take_inputs(sae_truth *t, const int64_t *numbers, const char *path, error *err)
{
	t->n_inputs = 1;
	for (uint32_t g = 0; g < t->n_features; g++) {
		if (numbers[g] < 0 || numbers[g] > SAE_PARTS_MAX)
			return error_set(err, ERR_FORMAT,
			                 "'%s': the input of feature %u is %" PRId64 ", not in 0..%d", path,
			                 g, numbers[g], SAE_PARTS_MAX);
		t->input[g] = (uint32_t)numbers[g];
		t->n_inputs = t->input[g] > t->n_inputs ? t->input[g] : t->n_inputs;
	}
	return 0;
}

static int read_dictionary(sae_truth *t, const char *path, error *err)
{
	uint64_t G = t->n_features;
	const sae_tensor *dictionary, *bias;
	sae_file *f = NULL;
	int64_t *numbers = NULL;
	bool found;
	int rc = sae_file_open(&f, path, err);

	if (rc < 0)
		return rc;
	rc = find_tensor(&dictionary, f, "dictionary", G * t->d, true, err);
	if (rc == 0)
		rc = find_tensor(&bias, f, "bias", t->d, true, err);
	if (rc < 0)
		goto out;
	t->dictionary = malloc(G * t->d * sizeof(*t->dictionary));
	t->bias = malloc(t->d * sizeof(*t->bias));
	t->present = malloc(G);
	t->parent = malloc(G * sizeof(*t->parent));
	t->input = calloc(G, sizeof(*t->input));
	numbers = malloc(G * sizeof(*numbers));
	rc = t->dictionary && t->bias && t->present && t->parent && t->input && numbers
	             ? 0
	             : error_nomem(err, "a truth");
	if (rc == 0)
		rc = sae_file_read_f32(f, dictionary, 0, G * t->d, t->dictionary, err);
	if (rc == 0)
		rc = sae_file_read_f32(f, bias, 0, t->d, t->bias, err);
	if (rc == 0)
		rc = read_numbers(numbers, &found, f, "present", t->n_features, err);
	for (uint64_t g = 0; g < G && rc == 0; g++)
		t->present[g] = !found || numbers[g] != 0;
	if (rc == 0)
		rc = read_numbers(numbers, &t->has_parents, f, "parent", t->n_features, err);
	for (uint64_t g = 0; g < G && rc == 0; g++)
		t->parent[g] = SAE_TRUTH_ROOT;
	if (rc == 0 && t->has_parents)
		rc = take_parents(t, numbers, path, err);
	t->n_inputs = 1;
	if (rc == 0)
		rc = read_numbers(numbers, &found, f, "input", t->n_features, err);
	if (rc == 0 && found)
		rc = take_inputs(t, numbers, path, err);
out:
	free(numbers);
	sae_file_close(f);
	return rc;
}

static int open_codes(sae_truth *t, error *err)
{
	const sae_codes_info *info;
	int rc = sae_codes_reader_open(&t->codes, t->codes_path, NULL, err);

	if (rc < 0)
		return rc;
	info = sae_codes_reader_get_info(t->codes);
	if (info->n_rows != t->n_rows || info->n_features != t->n_features)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is of %" PRIu64 " rows and %u features, " TRUTH_JSON " says %" PRIu64
		                 " and %u",
		                 t->codes_path, info->n_rows, info->n_features, t->n_rows, t->n_features);
	return 0;
}

int sae_truth_open(sae_truth **out, const char *dir, error *err)
{
	char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
	sae_truth *t = calloc(1, sizeof(*t));
	int rc = t ? find_folder(folder, dir, err) : error_nomem(err, "a truth");

	if (rc == 0)
		rc = file_join(path, folder, TRUTH_JSON, err);
	if (rc == 0)
		rc = read_json(t, path, err);
	if (rc == 0)
		rc = file_join(path, folder, TRUTH_DICTIONARY, err);
	if (rc == 0)
		rc = read_dictionary(t, path, err);
	if (rc == 0)
		rc = file_join(t->codes_path, folder, TRUTH_CODES, err);
	if (rc == 0)
		rc = open_codes(t, err);
	if (rc < 0) {
		sae_truth_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void sae_truth_close(sae_truth *t)
{
	if (!t)
		return;
	sae_codes_reader_close(t->codes);
	free(t->dictionary);
	free(t->bias);
	free(t->present);
	free(t->parent);
	free(t->input);
	free(t);
}
