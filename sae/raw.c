/* Raw memory maps: files named .bin or .memmap that hold numbers and nothing else. What they are is said by the options, by a
 * side file {"dtype", "shape"} beside them (NAME.json, NAME.bin.json, NAME.meta), or by the metadata.json of saev's folders,
 * whose acts*.bin are (examples, layers, tokens, d). */
#include "sae/raw.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SIDE_MAX = 1 << 28, LAYERS_MAX = 4096 };

/* What a raw file holds, as far as something tells. */
typedef struct form {
	bool told; /* dtype and shape are known */
	sae_dtype dtype;
	unsigned n_dims;
	uint64_t dims[SAE_MAX_DIMS];
	uint32_t n_layers, layer;   /* as in sae_file */
	bool longer;                /* the file may go on behind its last example */
	char source[FILE_PATH_MAX]; /* the file that told, for messages */
} form;

bool raw_named(const char *path)
{
	static const char *const endings[] = { ".bin", ".memmap" };
	size_t n = strlen(path);

	for (size_t i = 0; i < ARRAY_LEN(endings); i++)
		if (n > strlen(endings[i]) && strcmp(path + n - strlen(endings[i]), endings[i]) == 0)
			return true;
	return false;
}

/* A number type by any of the names that numpy, torch and safetensors have for it, as "float16", "<f2", "torch.bfloat16"; -1: none. */
static int parse_dtype(sae_dtype *out, const char *name)
{
	static const struct {
		const char *names; /* apart by blanks */
		sae_dtype dtype;
	} kinds[] = {
		{ "f16 f2 float16 half", SAE_F16 },
		{ "bf16 bfloat16", SAE_BF16 },
		{ "f32 f4 float32 float", SAE_F32 },
		{ "f64 f8 float64 double", SAE_F64 },
		{ "i8 i1 int8", SAE_I8 },
		{ "i16 i2 int16", SAE_I16 },
		{ "i32 i4 int32", SAE_I32 },
		{ "i64 int64", SAE_I64 },
		{ "u8 u1 uint8", SAE_U8 },
		{ "u16 u2 uint16", SAE_U16 },
		{ "u32 u4 uint32", SAE_U32 },
		{ "u64 uint64", SAE_U64 },
		{ "bool b1", SAE_BOOL },
	};
	static const char *const prefixes[] = { "torch.", "numpy.", "np.", "<", "|", "=" };

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			name += strlen(prefixes[i]);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (const char *at = kinds[i].names; *at; at += strspn(at, " ")) {
			size_t n = strcspn(at, " ");
			if (strlen(name) == n && strncasecmp(name, at, n) == 0) {
				*out = kinds[i].dtype;
				return 0;
			}
			at += n;
		}
	return -1;
}

int raw_dtype_option(sae_dtype *out, const char *name)
{
	static const sae_dtype kinds[] = { SAE_F16, SAE_BF16, SAE_F32, SAE_F64 };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcasecmp(name, sae_dtype_name(kinds[i])) == 0) {
			*out = kinds[i];
			return 0;
		}
	return -1;
}

/* A count in JSON: a whole number that a double holds exactly. */
static bool whole_number(const cJSON *v, uint64_t *out)
{
	if (!cJSON_IsNumber(v) || v->valuedouble < 0 || v->valuedouble > 0x1p53)
		return false;
	*out = (uint64_t)v->valuedouble;
	return (double)*out == v->valuedouble;
}

/* ---- Side files ---------------------------------------------------------------------------------------------------- */

static int read_dtype(form *f, const cJSON *side, error *err)
{
	const char *name = "float32"; /* as saev and older caches mean it where they say nothing */
	int rc = json_get_string(&name, side, "dtype", f->source, err);

	if (rc == 0 && parse_dtype(&f->dtype, name) < 0)
		rc = error_set(err, ERR_FORMAT, "'%s': dtype '%.40s' is not known%s", f->source, name,
		               name[0] == '>' ? " (big-endian)" : "");
	return rc;
}

/* A side file that has no shape (a manifest of the same name) tells nothing. */
static int read_side(form *f, error *err)
{
	const cJSON *shape, *dim;
	cJSON *side = NULL;
	int rc = json_read_file(&side, f->source, SIDE_MAX, err);

	if (rc < 0)
		return rc;
	shape = cJSON_GetObjectItemCaseSensitive(side, "shape");
	if (!shape && !cJSON_GetObjectItemCaseSensitive(side, "dtype"))
		goto out;
	if (!cJSON_IsArray(shape) || !shape->child || cJSON_GetArraySize(shape) > SAE_MAX_DIMS) {
		rc = error_set(err, ERR_FORMAT, "'%s': shape is not a list of 1 to %d numbers", f->source,
		               SAE_MAX_DIMS);
		goto out;
	}
	cJSON_ArrayForEach(dim, shape)
	{
		if (!whole_number(dim, &f->dims[f->n_dims++])) {
			rc = error_set(err, ERR_FORMAT, "'%s': shape: dimension %u is not a whole number",
			               f->source, f->n_dims - 1);
			goto out;
		}
	}
	rc = read_dtype(f, side, err);
	f->told = rc == 0;
out:
	cJSON_Delete(side);
	return rc;
}

/* `path` with its ending replaced, or with more behind it. */
static bool side_name(char out[FILE_PATH_MAX], const char *path, size_t keep, const char *ending)
{
	int n = snprintf(out, FILE_PATH_MAX, "%.*s%s", (int)keep, path, ending);

	return n > 0 && n < FILE_PATH_MAX && file_exists(out) && !file_is_dir(out);
}

static int find_side(form *f, const char *path, error *err)
{
	size_t whole = strlen(path), stem = (size_t)(strrchr(path, '.') - path);
	int rc = 0;

	if (side_name(f->source, path, stem, ".json"))
		rc = read_side(f, err);
	if (rc == 0 && !f->told && side_name(f->source, path, whole, ".json"))
		rc = read_side(f, err);
	if (rc == 0 && !f->told && side_name(f->source, path, stem, ".meta"))
		rc = read_side(f, err);
	return rc;
}

/* ---- saev ---------------------------------------------------------------------------------------------------------- */

/* The first of the names that is there; the versions of saev's protocol call them differently. */
static bool get_count(uint64_t *out, const cJSON *o, const char *const names[3])
{
	for (int i = 0; i < 3; i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, names[i]);
		if (v)
			return whole_number(v, out);
	}
	return false;
}

/* Which of the layers is `key`; none given: the only one. */
static int choose_layer(form *f, const cJSON *layers, const char *key, error *err)
{
	const cJSON *item;
	text names;
	char *end = NULL;
	long wanted = key ? strtol(key, &end, 10) : 0;
	uint32_t i = 0;
	bool found = !key && f->n_layers == 1;
	int rc;

	cJSON_ArrayForEach(item, layers)
	{
		if (key && end != key && !*end && item->valuedouble == (double)wanted) {
			f->layer = i;
			found = true;
		}
		i++;
	}
	if (found)
		return 0;
	text_init(&names, 400);
	cJSON_ArrayForEach(item, layers) if (text_addf(&names, "%s%g", names.len ? ", " : "",
	                                               item->valuedouble) < 0) break;
	rc = error_set(err, key ? ERR_FORMAT : ERR_ARG, "'%s' has the layers %s%s%s%s", f->source,
	               names.len ? names.data : "", key ? ", not '" : "; say which one as key",
	               key ? key : "", key ? "'" : "");
	text_free(&names);
	return rc;
}

/* How many examples shards.json gives the file; 0: it does not tell. */
static int read_n_examples(uint64_t *n, const char *folder, const char *name, error *err)
{
	static const char *const counts[3] = { "n_examples", "n_ex", "n_imgs" };
	char path[FILE_PATH_MAX];
	const cJSON *item;
	cJSON *list = NULL;
	int rc = file_join(path, folder, "shards.json", err);

	*n = 0;
	if (rc < 0 || !file_exists(path))
		return rc;
	rc = json_read_file(&list, path, SIDE_MAX, err);
	cJSON_ArrayForEach(item, list)
	{
		const char *own = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
		if (rc == 0 && own && strcmp(own, name) == 0 && !get_count(n, item, counts))
			rc = error_set(err, ERR_FORMAT, "'%s' does not tell the examples of '%.100s'", path,
			               name);
	}
	cJSON_Delete(list);
	return rc;
}

static int read_saev(form *f, const cJSON *meta, const char *folder, const char *path, uint64_t size,
                     const char *key, error *err)
{
	static const char *const tokens[3] = { "content_tokens_per_example", "patches_per_ex",
		                               "n_patches_per_img" };
	static const char *const width[3] = { "d_model", "d_vit", "d_in" };
	const cJSON *layers = cJSON_GetObjectItemCaseSensitive(meta, "layers"), *item;
	bool cls = false;
	uint64_t n = 0, bytes;
	int rc = json_get_bool(&cls, meta, "cls_token", f->source, err);

	if (rc < 0)
		return rc;
	f->n_layers = (uint32_t)cJSON_GetArraySize(layers);
	cJSON_ArrayForEach(item, layers) if (!cJSON_IsNumber(item)) f->n_layers = 0;
	if (f->n_layers == 0 || f->n_layers > LAYERS_MAX || !get_count(&f->dims[2], meta, tokens) ||
	    !get_count(&f->dims[3], meta, width) || f->dims[2] > UINT32_MAX || f->dims[3] == 0 ||
	    f->dims[3] > UINT32_MAX)
		return error_set(err, ERR_FORMAT,
		                 "'%s' does not give layers, tokens and width as saev's does", f->source);
	f->n_dims = 4;
	f->dims[1] = f->n_layers;
	f->dims[2] += cls;
	rc = read_dtype(f, meta, err);
	if (rc == 0)
		rc = choose_layer(f, layers, key, err);
	if (rc == 0)
		rc = read_n_examples(&n, folder, file_base(path), err);
	if (rc < 0)
		return rc;
	if (__builtin_mul_overflow(f->dims[2] * f->dims[3], f->n_layers * sae_dtype_size(f->dtype), &bytes) ||
	    bytes == 0)
		return error_set(err, ERR_FORMAT, "'%s': the shape of an example overflows", f->source);
	f->longer = n > 0; /* saev makes its last file as long as the others */
	if (n == 0 && size % bytes)
		return error_set(err, ERR_FORMAT,
		                 "'%s' has %" PRIu64 " bytes, no multiple of the %" PRIu64
		                 " of an example by '%s'",
		                 path, size, bytes, f->source);
	f->dims[0] = n ? n : size / bytes;
	f->told = true;
	return 0;
}

static int find_saev(form *f, const char *path, uint64_t size, const char *key, error *err)
{
	size_t length = (size_t)(file_base(path) - path);
	char folder[FILE_PATH_MAX];
	cJSON *meta = NULL;
	int rc;

	if (strncmp(file_base(path), "acts", 4) != 0 || length + 2 > sizeof(folder))
		return 0;
	snprintf(folder, sizeof(folder), "%.*s", (int)length, length ? path : "./");
	rc = file_join(f->source, length ? folder : ".", "metadata.json", err);
	if (rc < 0 || !file_exists(f->source))
		return rc;
	rc = json_read_file(&meta, f->source, SIDE_MAX, err);
	if (rc == 0 && cJSON_GetObjectItemCaseSensitive(meta, "layers"))
		rc = read_saev(f, meta, length ? folder : ".", path, size, key, err);
	cJSON_Delete(meta);
	return rc;
}

/* ---- Options ------------------------------------------------------------------------------------------------------- */

static int take_options(form *f, const char *path, uint64_t size, const sae_dump_opts *o, error *err)
{
	uint64_t row;

	if (!o->d_in)
		return 0;
	if (!o->dtype || raw_dtype_option(&f->dtype, o->dtype) < 0)
		return error_set(err, ERR_ARG, "'%s' is raw: with d-in say its dtype too", path);
	row = (uint64_t)o->d_in * sae_dtype_size(f->dtype);
	if (size % row)
		return error_set(err, ERR_FORMAT,
		                 "'%s' has %" PRIu64 " bytes, no multiple of a row of %u %s values (%" PRIu64
		                 " bytes)",
		                 path, size, o->d_in, sae_dtype_name(f->dtype), row);
	f->n_dims = 2;
	f->dims[0] = size / row;
	f->dims[1] = o->d_in;
	snprintf(f->source, sizeof(f->source), "the options");
	f->told = true;
	return 0;
}

/* ---- Opening ------------------------------------------------------------------------------------------------------- */

/* Nothing tells what the file holds: it may still be a tensor file under another name. */
static int open_other(sae_file **out, const char *path, error *err)
{
	int rc = sae_file_open(out, path, err);

	if (rc != ERR_FORMAT)
		return rc;
	return error_set(err, ERR_NOTFOUND,
	                 "'%s' is raw and nothing tells its shape: say d-in and dtype, or put {\"dtype\", "
	                 "\"shape\"} in a .json file of its name",
	                 path);
}

static int set_tensor(sae_file *f, const form *m, error *err)
{
	sae_tensor *t;
	uint64_t bytes;
	int rc;

	f->tensors = t = arena_alloc(&f->mem, 1, sizeof(*f->tensors));
	if (!t)
		return error_nomem(err, "a raw file");
	f->n_tensors = 1;
	*t = (sae_tensor){ .name = "", .dtype = m->dtype, .n_dims = m->n_dims };
	memcpy(t->dims, m->dims, sizeof(t->dims));
	f->n_layers = m->n_layers;
	f->layer = m->layer;
	rc = file_tensor_size(t, &bytes, m->source, "the array", err);
	if (rc == 0 && (m->longer ? bytes > f->size : bytes != f->size))
		rc = error_set(err, ERR_FORMAT, "'%s' has %" PRIu64 " bytes, '%s' asks for %" PRIu64, f->path,
		               f->size, m->source, bytes);
	return rc;
}

int raw_open(sae_file **out, const char *path, const sae_dump_opts *o, error *err)
{
	form m = { 0 };
	sae_file *f;
	int rc = file_begin(&f, path, err);

	if (rc == 0)
		rc = find_side(&m, path, err);
	if (rc == 0 && !m.told)
		rc = find_saev(&m, path, f->size, o->key, err);
	if (rc == 0 && !m.told)
		rc = take_options(&m, path, f->size, o, err);
	if (rc == 0 && !m.told) {
		rc = open_other(out, path, err);
		goto out;
	}
	if (rc == 0)
		rc = set_tensor(f, &m, err);
	if (rc < 0)
		goto out;
	*out = f;
	f = NULL;
out:
	sae_file_close(f);
	return rc;
}
