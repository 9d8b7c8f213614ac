/* The small files of a synthetic dump: dump.json, tokenizer.json, truth.json, dictionary.safetensors. */
#include <inttypes.h>
#include <stdlib.h>

#include "sae/synth_internal.h"

/* Frees it. */
static int write_json(const char *dir, const char *name, cJSON *json, error *err)
{
	char path[FILE_PATH_MAX];
	char *bytes = json ? json_print(json) : NULL;
	int rc = bytes ? file_join(path, dir, name, err) : error_nomem(err, "a JSON file");

	cJSON_Delete(json);
	if (rc == 0)
		rc = file_write(path, bytes, strlen(bytes), err);
	free(bytes);
	return rc;
}

/* A byte-level BPE whose tokens are the digits and <bos>. */
static cJSON *tokenizer_json(const synth *s)
{
	cJSON *top = cJSON_CreateObject(), *model, *vocab, *added, *bos, *decoder;
	bool good;

	added = cJSON_AddArrayToObject(top, "added_tokens");
	bos = cJSON_CreateObject();
	good = cJSON_AddItemToArray(added, bos) && cJSON_AddNumberToObject(bos, "id", s->vocabulary - 1) &&
	       cJSON_AddStringToObject(bos, "content", "<bos>") && cJSON_AddTrueToObject(bos, "special");
	decoder = cJSON_AddObjectToObject(top, "decoder");
	model = cJSON_AddObjectToObject(top, "model");
	good = good && cJSON_AddStringToObject(decoder, "type", "ByteLevel") &&
	       cJSON_AddStringToObject(model, "type", "BPE") && cJSON_AddArrayToObject(model, "merges");
	vocab = cJSON_AddObjectToObject(model, "vocab");
	for (uint32_t i = 0; i + 1 < s->vocabulary && good; i++) {
		const char digit[] = { (char)('0' + i), '\0' };

		good = cJSON_AddNumberToObject(vocab, digit, i) != NULL;
	}
	if (good)
		return top;
	cJSON_Delete(top);
	return NULL;
}

static cJSON *dump_json(const synth *s, const char *tokenizer_sha256)
{
	cJSON *top = cJSON_CreateObject();
	char model[64];
	bool good;

	snprintf(model, sizeof(model), "gloss synth %s", sae_synth_kind_name(s->kind));
	good = cJSON_AddStringToObject(top, "model", model) &&
	       cJSON_AddStringToObject(top, "hook_point", "synthetic") &&
	       cJSON_AddStringToObject(top, "truth", TRUTH_FOLDER);
	if (s->tokens)
		good = good && cJSON_AddNumberToObject(top, "ctx_len", s->o.ctx_len) &&
		       cJSON_AddStringToObject(top, "bos", "<bos>") &&
		       cJSON_AddStringToObject(top, "tokenizer_sha256", tokenizer_sha256);
	if (good)
		return top;
	cJSON_Delete(top);
	return NULL;
}

static bool add_options(cJSON *to, const synth *s)
{
	bool good = to != NULL;

	for (size_t i = 0; i < sae_synth_n_fields && good; i++) {
		const sae_synth_field *f = &sae_synth_fields[i];
		const void *at = (const char *)&s->o + f->offset;
		double value = 0;

		if (!(f->kinds >> s->kind & 1))
			continue;
		switch (f->type) {
		case SAE_SYNTH_U64:
			value = (double)*(const uint64_t *)at;
			break;
		case SAE_SYNTH_U32:
			value = *(const uint32_t *)at;
			break;
		case SAE_SYNTH_DOUBLE:
			value = *(const double *)at;
			break;
		case SAE_SYNTH_BOOL:
			value = *(const bool *)at;
			break;
		}
		good = f->type == SAE_SYNTH_BOOL ? cJSON_AddBoolToObject(to, f->name, value > 0) != NULL
		                                 : cJSON_AddNumberToObject(to, f->name, value) != NULL;
	}
	return good;
}

/* Largest |cosine| of two features that are in the rows. */
static int max_cosine(double *out, const synth *s, pool *p, error *err)
{
	uint32_t n = 0, d = s->o.d;
	float *some = mem_alloc_aligned((size_t)s->n_features * d, sizeof(*some)), *unit = NULL;
	int rc;

	for (uint32_t g = 0; some && g < s->n_features; g++)
		if (!s->present || s->present[g])
			memcpy(some + (size_t)n++ * d, s->dictionary + (size_t)g * d, d * sizeof(*some));
	*out = 0;
	if (some && n > 0)
		unit = sae_unit_rows(some, n, d);
	rc = some && (unit || n == 0) ? 0 : error_nomem(err, "directions");
	if (rc == 0 && n > 0)
		rc = synth_max_cosine(out, unit, n, d, p, err);
	free(some);
	free(unit);
	return rc;
}

static cJSON *truth_json(const synth *s, uint64_t n_codes, double cosine)
{
	uint64_t counted = 0;
	cJSON *top = cJSON_CreateObject(),
	      *notes = s->notes ? cJSON_Duplicate(s->notes, true) : cJSON_CreateObject();
	bool good;

	for (uint64_t row = 0; row < s->n_rows; row++)
		counted += !s->mask || s->mask[row];
	good = cJSON_AddNumberToObject(top, "gloss_truth", TRUTH_VERSION) &&
	       cJSON_AddStringToObject(top, "kind", sae_synth_kind_name(s->kind)) &&
	       cJSON_AddStringToObject(top, "gloss_version", GLOSS_VERSION) &&
	       cJSON_AddNumberToObject(top, "rows", (double)s->n_rows) &&
	       cJSON_AddNumberToObject(top, "d", s->o.d) &&
	       cJSON_AddNumberToObject(top, "features", s->n_features) &&
	       cJSON_AddNumberToObject(top, "l0", (double)n_codes / (double)counted) &&
	       cJSON_AddNumberToObject(top, "max_cosine", cosine) &&
	       add_options(cJSON_AddObjectToObject(top, "options"), s);
	if (!notes || !cJSON_AddItemToObject(top, "notes", notes)) {
		cJSON_Delete(notes);
		good = false;
	}
	if (good)
		return top;
	cJSON_Delete(top);
	return NULL;
}

static int write_dictionary(const synth *s, const char *path, const uint64_t *fires, error *err)
{
	const uint64_t G = s->n_features;
	const sae_tensor_out all[] = { /* the wider first: each is aligned */
		                       { "fires", SAE_I64, 1, { G }, fires },
		                       { "probability", SAE_F64, 1, { G }, s->probability },
		                       { "dictionary", SAE_F32, 2, { G, s->o.d }, s->dictionary },
		                       { "bias", SAE_F32, 1, { s->o.d }, s->bias },
		                       { "parent", SAE_I32, 1, { G }, s->parent },
		                       { "input", SAE_I32, 1, { G }, s->input },
		                       { "present", SAE_U8, 1, { G }, s->present }
	};
	sae_tensor_out some[ARRAY_LEN(all)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].data)
			some[n++] = all[i];
	return sae_safetensors_write(path, some, n, NULL, 0, err);
}

int synth_write_small(const synth *s, const char *dir, const char *truth_dir, const uint64_t *fires,
                      uint64_t n_codes, pool *p, error *err)
{
	char path[FILE_PATH_MAX], hash[SHA256_HEX] = "";
	double cosine = 0;
	int rc = 0;

	if (s->tokens)
		rc = write_json(dir, "tokenizer.json", tokenizer_json(s), err);
	if (rc == 0 && s->tokens)
		rc = file_join(path, dir, "tokenizer.json", err);
	if (rc == 0 && s->tokens)
		rc = sha256_file(hash, path, err);
	if (rc == 0)
		rc = write_json(dir, "dump.json", dump_json(s, hash), err);
	if (rc == 0)
		rc = max_cosine(&cosine, s, p, err);
	if (rc == 0)
		rc = write_json(truth_dir, TRUTH_JSON, truth_json(s, n_codes, cosine), err);
	if (rc == 0)
		rc = file_join(path, truth_dir, TRUTH_DICTIONARY, err);
	return rc ? rc : write_dictionary(s, path, fires, err);
}
