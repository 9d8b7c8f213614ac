/* What a dump's producer says about it: dump.json, or the safetensors metadata. docs/formats.md describes the members. */
#include "sae/dump_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MANIFEST_MAX = 1 << 28, MANIFEST_DEPTH = 16 };

/* The manifest's path when it is not given: dump.json beside the first shard. */
static int beside_shard(char out[FILE_PATH_MAX], const char *shard, error *err)
{
	size_t folder = (size_t)(file_base(shard) - shard);
	char dir[FILE_PATH_MAX];

	if (folder == 0)
		return file_join(out, ".", "dump.json", err);
	if (folder >= sizeof(dir))
		return error_set(err, ERR_LIMIT, "the path of '%s' is too long", file_base(shard));
	memcpy(dir, shard, folder);
	dir[folder > 1 ? folder - 1 : folder] = '\0'; /* without its slash, unless that is the root */
	return file_join(out, dir, "dump.json", err);
}

static bool is_list_or_none(const cJSON *list)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list) if (!cJSON_IsString(item)) return false;
	return !list || cJSON_IsNull(list) || cJSON_IsArray(list);
}

static int read_fields(sae_dump_info *info, const cJSON *m, const char *what, error *err)
{
	uint64_t ctx_len = 0, layer = UINT64_MAX;
	int rc;

	if (!cJSON_IsObject(m))
		return error_set(err, ERR_FORMAT, "'%s' is not a JSON object", what);
	rc = json_get_string(&info->model, m, "model", what, err);
	if (rc == 0)
		rc = json_get_string(&info->hook_point, m, "hook_point", what, err);
	if (rc == 0)
		rc = json_get_string(&info->tokenizer_sha256, m, "tokenizer_sha256", what, err);
	if (rc == 0)
		rc = json_get_u64(&ctx_len, m, "ctx_len", what, err);
	if (rc == 0)
		rc = json_get_u64(&layer, m, "layer", what, err);
	if (rc < 0)
		return rc;
	if (!is_list_or_none(cJSON_GetObjectItemCaseSensitive(m, "roles")))
		return error_set(err, ERR_FORMAT, "'roles' in '%s' is not a list of names", what);
	if (ctx_len > UINT32_MAX || (layer != UINT64_MAX && layer > INT_MAX))
		return error_set(err, ERR_FORMAT, "'%s': ctx_len or layer is out of range", what);
	info->ctx_len = (uint32_t)ctx_len;
	info->layer = layer == UINT64_MAX ? -1 : (int)layer;
	return 0;
}

/* Single metadata strings, as dumps without a manifest carry them. */
static int read_metadata(sae_dump_info *info, const sae_file *f, error *err)
{
	const char *ctx_len = sae_file_metadata(f, "ctx_len"), *layer = sae_file_metadata(f, "layer");
	unsigned long value;
	char *end;

	info->model = sae_file_metadata(f, "model");
	info->hook_point = sae_file_metadata(f, "hook_point");
	if (!info->hook_point)
		info->hook_point = sae_file_metadata(f, "hook");
	info->tokenizer_sha256 = sae_file_metadata(f, "tokenizer_sha256");
	if (layer) {
		value = strtoul(layer, &end, 10);
		if (end != layer && !*end && value <= INT_MAX)
			info->layer = (int)value;
	}
	if (!ctx_len)
		return 0;
	errno = 0;
	value = strtoul(ctx_len, &end, 10);
	if (errno || end == ctx_len || *end || value < 1 || value > UINT32_MAX)
		return error_set(err, ERR_FORMAT, "'%s': metadata ctx_len '%.40s' is not a number of tokens",
		                 sae_file_path(f), ctx_len);
	info->ctx_len = (uint32_t)value;
	return 0;
}

/* Where several hook points share the shards, "hook_points" has one member for each tensor. */
static int read_hook_point(sae_dump_info *info, const cJSON *m, const char *key, const char *what, error *err)
{
	const cJSON *points = cJSON_GetObjectItemCaseSensitive(m, "hook_points");
	const cJSON *own = key ? cJSON_GetObjectItemCaseSensitive(points, key) : NULL;
	uint64_t layer = UINT64_MAX;
	int rc;

	if (points && !cJSON_IsNull(points) && !cJSON_IsObject(points))
		return error_set(err, ERR_FORMAT, "'%s': hook_points is not an object", what);
	if (!own)
		return 0;
	info->hook_point = own->string;
	rc = json_get_u64(&layer, own, "layer", what, err);
	if (rc == 0 && layer != UINT64_MAX && layer > INT_MAX)
		rc = error_set(err, ERR_FORMAT, "'%s': the layer of '%.100s' is out of range", what, key);
	if (rc == 0 && layer != UINT64_MAX)
		info->layer = (int)layer;
	return rc;
}

int manifest_load(sae_dump *d, const char *path, const char *key, error *err)
{
	const sae_file *first = d->rows.items[0].file;
	const char *embedded = sae_file_metadata(first, "dump");
	char beside[FILE_PATH_MAX];
	int rc;

	d->info.layer = -1;
	if (!path) {
		rc = beside_shard(beside, sae_file_path(first), err);
		if (rc < 0)
			return rc;
		path = file_exists(beside) ? beside : NULL;
	}
	if (path)
		rc = json_read_file(&d->manifest, path, MANIFEST_MAX, err);
	else if (embedded)
		rc = json_parse(&d->manifest, embedded, strlen(embedded), MANIFEST_MAX, MANIFEST_DEPTH,
		                path = sae_file_path(first), err);
	else
		return read_metadata(&d->info, first, err);
	if (rc == 0 && !(d->manifest_path = strdup(path)))
		rc = error_nomem(err, "the manifest's path");
	if (rc == 0)
		rc = read_fields(&d->info, d->manifest, path, err);
	return rc < 0 ? rc : read_hook_point(&d->info, d->manifest, key, path, err);
}

int manifest_documents(sae_dump *d, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(d->manifest, "documents"), *item;
	uint64_t i = 0, n = d->info.n_contexts;

	if (!list || cJSON_IsNull(list))
		return 0;
	if (!cJSON_IsArray(list) || (uint64_t)cJSON_GetArraySize(list) != n)
		return error_set(err, ERR_FORMAT,
		                 "'%s': documents must be a list of one id a context: %" PRIu64 ", it has %d",
		                 d->manifest_path, n, cJSON_GetArraySize(list));
	d->documents = malloc(n * sizeof(*d->documents));
	if (!d->documents)
		return error_nomem(err, "document ids");
	cJSON_ArrayForEach(item, list)
	{
		if (cJSON_IsString(item))
			d->documents[i++] = hash64(item->valuestring, strlen(item->valuestring), 0);
		else if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 0x1p53 &&
		         (double)(uint64_t)item->valuedouble == item->valuedouble)
			d->documents[i++] = (uint64_t)item->valuedouble;
		else
			return error_set(err, ERR_FORMAT,
			                 "'%s': document of context %" PRIu64
			                 " is neither a whole number nor a string",
			                 d->manifest_path, i);
	}
	return 0;
}
