/* Codes of a dump as delphi's cache of latents. How many codes a file gets is known at the end only, so they are written as one matrix
 * first, which is read once and again for each file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sae/file_internal.h"

enum { WALK_ROWS = 4096 };

struct sae_cache_writer {
	sae_cache_opts o;
	uint32_t n_features;
	uint64_t n_rows;
	uint64_t *count; /* (n_splits) codes of each file */
	const char *const *metadata;
	size_t n_metadata;
	folder_writer folder;
	char matrix[FILE_PATH_MAX + 8]; /* in the folder until the end */
	sae_codes_writer *codes;
};

/* The first feature of a file; of the one behind the last: their number. */
static uint32_t split_first(const sae_cache_writer *w, uint32_t split)
{
	return (uint32_t)((uint64_t)split * w->n_features / w->o.n_splits);
}

int sae_cache_writer_open(sae_cache_writer **out, const char *dir, uint32_t n_features,
                          const sae_cache_opts *o, const char *const *metadata, size_t n_metadata, error *err)
{
	sae_cache_writer *w;
	int rc;

	if (o->n_splits < 1 || o->n_splits > n_features)
		return error_set(err, ERR_ARG, "%u features are cut into %u files; 1 to %u are possible",
		                 n_features, o->n_splits, n_features);
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_nomem(err, "a cache of latents");
	*w = (sae_cache_writer){
		.o = *o, .n_features = n_features, .metadata = metadata, .n_metadata = n_metadata
	};
	w->count = calloc(o->n_splits, sizeof(*w->count));
	rc = w->count ? folder_writer_open(&w->folder, dir, NULL, false, err)
	              : error_nomem(err, "a cache of latents");
	snprintf(w->matrix, sizeof(w->matrix), "%s/matrix", w->folder.tmp);
	if (rc == 0)
		rc = sae_codes_writer_open(&w->codes, w->matrix, SAE_CODES_SAFETENSORS, n_features, NULL, 0,
		                           err);
	if (rc < 0)
		sae_cache_writer_abort(w);
	else
		*out = w;
	return rc;
}

int sae_cache_writer_add(sae_cache_writer *w, const sae_codes *c, const uint8_t *kept, error *err)
{
	for (size_t i = 0; i < c->n; i++) {
		uint32_t split = 0;

		for (size_t j = c->first[i]; j < c->first[i + 1] && (!kept || kept[i]); j++) {
			while (c->index[j] >= split_first(w, split + 1))
				split++;
			w->count[split]++;
		}
	}
	w->n_rows += c->n;
	return sae_codes_writer_add(w->codes, c, kept, err);
}

/* ---- The files ---- */

typedef struct walk {
	sae_cache_writer *w;
	sae_codes_reader *r;
	uint32_t first, end; /* features */
	bool wide;           /* places in 4 bytes, else 2 */
	file_writer out;
} walk;

static int put_value(walk *k, uint64_t row, uint32_t feature, float value, error *err)
{
	(void)row;
	(void)feature;
	return file_writer_add(&k->out, &value, sizeof(value), err);
}

static int put_place(walk *k, uint64_t row, uint32_t feature, float value, error *err)
{
	uint32_t ctx_len = k->w->o.ctx_len;
	uint32_t wide[3] = { (uint32_t)(row / ctx_len), (uint32_t)(row % ctx_len), feature - k->first };
	uint16_t narrow[3] = { (uint16_t)wide[0], (uint16_t)wide[1], (uint16_t)wide[2] };

	(void)value;
	return k->wide ? file_writer_add(&k->out, wide, sizeof(wide), err)
	               : file_writer_add(&k->out, narrow, sizeof(narrow), err);
}

/* Each code of the file's features, row by row. */
static int each_code(walk *k, int (*put)(walk *k, uint64_t row, uint32_t feature, float value, error *err),
                     error *err)
{
	uint64_t n = k->w->n_rows;
	sae_codes c = { 0 };
	int rc = 0;

	for (uint64_t first = 0; first < n && rc == 0; first += WALK_ROWS) {
		uint64_t rows = n - first < WALK_ROWS ? n - first : WALK_ROWS;

		rc = sae_codes_reader_read(k->r, first, rows, &c, err);
		for (size_t i = 0; i < rows && rc == 0; i++)
			for (size_t j = c.first[i]; j < c.first[i + 1] && rc == 0; j++)
				if (c.index[j] >= k->first && c.index[j] < k->end)
					rc = put(k, first + i, c.index[j], c.value[j], err);
	}
	sae_codes_free(&c);
	return rc;
}

static int put_tokens(walk *k, error *err)
{
	const sae_cache_opts *o = &k->w->o;
	uint32_t *ids = malloc(o->ctx_len * sizeof(*ids));
	int rc = ids ? 0 : error_nomem(err, "tokens");

	for (uint64_t c = 0; c < k->w->n_rows / o->ctx_len && rc == 0; c++) {
		rc = o->tokens(o->payload, c, ids, err);
		for (uint32_t i = 0; i < o->ctx_len && rc == 0; i++) {
			int64_t id = ids[i];

			rc = file_writer_add(&k->out, &id, sizeof(id), err);
		}
	}
	free(ids);
	return rc;
}

static int put_kept(walk *k, error *err)
{
	uint8_t kept[WALK_ROWS];
	uint64_t n = k->w->n_rows;
	int rc = 0;

	for (uint64_t first = 0; first < n && rc == 0; first += WALK_ROWS) {
		uint64_t rows = n - first < WALK_ROWS ? n - first : WALK_ROWS;

		rc = sae_codes_reader_kept(k->r, first, rows, kept, err);
		if (rc == 0)
			rc = file_writer_add(&k->out, kept, rows, err);
	}
	return rc;
}

/* Places are as wide as delphi's: 2 bytes where context, position and feature fit. */
static int write_split(sae_cache_writer *w, sae_codes_reader *r, uint32_t split, error *err)
{
	walk k = { .w = w, .r = r, .first = split_first(w, split), .end = split_first(w, split + 1) };
	uint64_t contexts = w->n_rows / w->o.ctx_len;
	char path[FILE_PATH_MAX + 64];
	int rc;

	k.wide = contexts > 65536 || k.end - k.first > 65536 || w->o.ctx_len > 65536;
	const sae_tensor_out t[] = {
		{ "tokens", SAE_I64, 2, { contexts, w->o.ctx_len }, NULL },
		{ "activations", SAE_F32, 1, { w->count[split] }, NULL },
		{ "locations", k.wide ? SAE_U32 : SAE_U16, 2, { w->count[split], 3 }, NULL },
		{ "kept", SAE_U8, 2, { contexts, w->o.ctx_len }, NULL }, /* in the first file only */
	};
	snprintf(path, sizeof(path), "%s/%u_%u.safetensors", w->folder.tmp, k.first, k.end - 1);
	rc = safetensors_begin(&k.out, path, t, split == 0 ? 4 : 3, w->metadata, w->n_metadata, err);
	if (rc == 0)
		rc = put_tokens(&k, err);
	if (rc == 0)
		rc = each_code(&k, put_value, err);
	if (rc == 0)
		rc = each_code(&k, put_place, err);
	if (rc == 0 && split == 0)
		rc = put_kept(&k, err);
	if (rc == 0)
		rc = file_writer_commit(&k.out, err);
	file_writer_abort(&k.out);
	return rc;
}

/* What delphi's reader and we want of its CacheConfig, and what wrote it. */
static int write_config(const sae_cache_writer *w, error *err)
{
	cJSON *config = cJSON_CreateObject();
	char path[FILE_PATH_MAX + 16], *json = NULL;
	int rc;

	if (config && cJSON_AddNumberToObject(config, "cache_ctx_len", w->o.ctx_len) &&
	    cJSON_AddNumberToObject(config, "n_tokens", (double)w->n_rows) &&
	    cJSON_AddNumberToObject(config, "n_splits", w->o.n_splits) &&
	    (w->o.model ? cJSON_AddStringToObject(config, "model_name", w->o.model)
	                : cJSON_AddNullToObject(config, "model_name")) &&
	    cJSON_AddStringToObject(config, "written_by", "gloss " GLOSS_VERSION))
		json = json_print(config);
	snprintf(path, sizeof(path), "%s/config.json", w->folder.tmp);
	rc = json ? file_write(path, json, strlen(json), err) : error_nomem(err, "a cache of latents");
	free(json);
	cJSON_Delete(config);
	return rc;
}

int sae_cache_writer_commit(sae_cache_writer *w, error *err)
{
	sae_codes_reader *r = NULL;
	int rc = sae_codes_writer_commit(w->codes, err);

	if (rc == 0)
		rc = sae_codes_reader_open(&r, w->matrix, NULL, err);
	for (uint32_t i = 0; i < w->o.n_splits && rc == 0; i++)
		rc = write_split(w, r, i, err);
	sae_codes_reader_close(r);
	unlink(w->matrix);
	if (rc == 0)
		rc = write_config(w, err);
	return rc < 0 ? rc : folder_writer_commit(&w->folder, err);
}

void sae_cache_writer_abort(sae_cache_writer *w)
{
	if (!w)
		return;
	sae_codes_writer_abort(w->codes);
	folder_writer_abort(&w->folder);
	free(w->count);
	free(w);
}
