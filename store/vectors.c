/* Decoder rows of a source: all of them for the caller who compares, and one. */
#include "store/codes.h"
#include "store/query_internal.h"
#include "store/vectors.h"

#include <math.h>

static int unpack(float *row, const unsigned char *halves, uint32_t n)
{
	bool finite = true;

	for (uint32_t i = 0; i < n; i++) {
		row[i] = store_half_to_float((uint16_t)load_u16le(halves + 2 * (size_t)i));
		finite = finite && isfinite(row[i]);
	}
	return finite ? 0 : ERR_FORMAT;
}

/* Column `column` of the row at hand. */
static int read_row(float *row, store *s, const store_source *source, int64_t feature, sqlite3_stmt *st,
                    int column, error *err)
{
	const unsigned char *halves = sqlite3_column_blob(st, column);

	if (feature < 0 || feature >= source->n_features || !halves ||
	    (uint64_t)sqlite3_column_bytes(st, column) != 2 * (uint64_t)source->d_in)
		return error_set(err, ERR_FORMAT, "'%s': vector %lld of source '%s' is corrupt",
		                 store_path(s), (long long)feature, source->name);
	if (unpack(row, halves, source->d_in) < 0)
		return error_set(err, ERR_FORMAT, "'%s': vector %lld of source '%s' is not finite",
		                 store_path(s), (long long)feature, source->name);
	return 0;
}

static void axis(float *row, uint32_t d, uint32_t feature)
{
	memset(row, 0, d * sizeof(*row));
	row[feature % d] = feature < d ? 1 : -1;
}

static int read_rows(float *rows, uint64_t *n, store *s, const store_source *source, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, "SELECT feature, decoder FROM vector WHERE source_id = ?1", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", source->id);
	while (store_next(&rc, s, st, err)) {
		int64_t f = sqlite3_column_int64(st, 0);
		bool inside = f >= 0 && f < source->n_features;

		rc = read_row(inside ? rows + (size_t)f * source->d_in : NULL, s, source, f, st, 1, err);
		++*n;
	}
	sqlite3_finalize(st);
	return rc;
}

int store_vectors(float **out, store *s, const char *source, error *err)
{
	store_source src;
	float *rows;
	uint64_t n = 0;
	int rc = store_source_get(&src, s, source, err);

	*out = NULL;
	if (rc < 0 || src.d_in == 0)
		return rc;
	rows = mem_alloc_aligned((size_t)src.n_features * src.d_in, sizeof(*rows));
	if (!rows)
		return error_nomem(err, "decoder vectors");
	if (src.neurons) {
		for (; n < src.n_features; n++)
			axis(rows + n * src.d_in, src.d_in, (uint32_t)n);
	} else {
		rc = read_rows(rows, &n, s, &src, err);
	}
	if (rc == 0 && n > 0 && n < src.n_features)
		rc = error_set(err, ERR_FORMAT, "'%s': source '%s' has vectors of %llu of its %u features",
		               store_path(s), src.name, (unsigned long long)n, src.n_features);
	if (rc == 0 && n > 0) {
		*out = rows;
		return 0;
	}
	free(rows);
	return rc;
}

int vector_read(float **out, store *s, const store_source *source, uint32_t feature, error *err)
{
	sqlite3_stmt *st = NULL;
	float *v = malloc(((size_t)source->d_in + 1) * sizeof(*v));
	bool row = source->neurons;
	int rc = v ? 0 : error_nomem(err, "a vector");

	if (rc == 0 && source->neurons)
		axis(v, source->d_in, feature);
	if (rc == 0 && !source->neurons) {
		rc = store_prepare(&st, s, "SELECT decoder FROM vector WHERE source_id = ?1 AND feature = ?2",
		                   err);
		if (rc == 0)
			rc = store_bind(s, st, err, "ii", source->id, (int64_t)feature);
		if (rc == 0)
			rc = store_step(s, st, &row, err);
		if (rc == 0 && row)
			rc = read_row(v, s, source, feature, st, 0, err);
	}
	sqlite3_finalize(st);
	if (rc == 0 && row) {
		*out = v;
		return 0;
	}
	free(v);
	return rc;
}

int vector_block(int64_t *out, const store_record *of, int64_t given, error *err)
{
	const char *hook = of->hook_point ? of->hook_point : "";

	*out = given;
	if (given >= 0)
		return 0;
	if (of->layer < 0)
		return error_set(err, ERR_ARG, "source '%s' does not say of which layer it is: give --layer",
		                 of->name);
	if (strstr(hook, "hook_z") || strstr(hook, "attn") || strstr(hook, "mlp.hook") || strstr(hook, "ln2"))
		return error_set(err, ERR_ARG,
		                 "the rows of source '%s' are of '%.80s', not of the residual stream: "
		                 "give --layer if its directions are to be added there all the same",
		                 of->name, hook);
	*out = of->layer - (strstr(hook, "resid_pre") != NULL);
	return 0;
}

/* malloc'd */
static int source_name(char **out, store *s, int64_t source, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, s, "SELECT name FROM source WHERE id = ?1", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "'%s': no source %lld", store_path(s), (long long)source);
	if (rc == 0 && !(*out = strdup((const char *)sqlite3_column_text(st, 0))))
		rc = error_nomem(err, "a source");
	sqlite3_finalize(st);
	return rc;
}

int store_direction_get(store_direction *out, store *s, int64_t source, uint32_t feature, int64_t layer,
                        error *err)
{
	arena mem = ARENA_INIT;
	store_record record = { 0 };
	store_source src;
	char *name = NULL;
	int rc = source_name(&name, s, source, err);

	*out = (store_direction){ 0 };
	if (rc == 0)
		rc = store_source_get(&src, s, name, err);
	if (rc == 0)
		rc = store_record_get(&record, s, name, &mem, err);
	if (rc == 0)
		rc = vector_block(&out->layer, &record, layer, err);
	if (rc == 0)
		rc = vector_read(&out->row, s, &src, feature, err);
	if (rc == 0 && !out->row)
		rc = error_set(err, ERR_NOTFOUND,
		               "'%s' holds no decoder row of feature %u of source '%s' (made from codes, or "
		               "packed --without vectors): give its SAE with --sae",
		               store_path(s), feature, name);
	out->width = rc == 0 ? src.d_in : 0;
	free(name);
	arena_clear(&mem);
	return rc;
}

/* Codes may bear a hash of their own, which says nothing of the SAE's. */
static int check_sae(const store_record *of, const char *path, uint32_t n, uint32_t width,
                     const char *weights_sha256, error *err)
{
	bool codes = strcmp(of->kind, "codes") == 0;

	if (n != of->n_features || (of->d_in && width != of->d_in))
		return error_set(err, ERR_ARG,
		                 "the SAE '%.200s' has %u features of %u values, source '%s' has %u of %u",
		                 path, n, width, of->name, of->n_features, of->d_in ? of->d_in : width);
	if (!codes && (!of->weights_sha256 || strcmp(of->weights_sha256, weights_sha256) != 0))
		return error_set(err, ERR_ARG, "source '%s' was not made of the SAE '%.200s', by its hash",
		                 of->name, path);
	return 0;
}

int store_direction_block(int64_t *out, store *s, int64_t source, int64_t layer, const char *path, uint32_t n,
                          uint32_t width, const char *weights_sha256, error *err)
{
	arena mem = ARENA_INIT;
	store_record record = { 0 };
	char *name = NULL;
	int rc = source_name(&name, s, source, err);

	if (rc == 0)
		rc = store_record_get(&record, s, name, &mem, err);
	if (rc == 0)
		rc = check_sae(&record, path, n, width, weights_sha256, err);
	if (rc == 0)
		rc = vector_block(out, &record, layer, err);
	free(name);
	arena_clear(&mem);
	return rc;
}
