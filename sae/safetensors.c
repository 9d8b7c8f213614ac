/* The safetensors format: 8 bytes of header length (little-endian), a JSON object
 * {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {string: string}}, then the bytes.
 * As in the reference implementation, the tensors cover the bytes behind the header exactly: no hole, no overlap, no tail. */
#include "sae/file_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	HEADER_MAX = 100000000, /* the reference implementation's cap */
	HEADER_DEPTH = 8,       /* a right one has 3 */
	HEADER_VALUES = 1 << 22 /* values in the header: a JSON node takes far more memory than "0," */
};

/* A count or offset: a whole number that a double holds exactly. */
static bool whole_number(const cJSON *v, uint64_t *out)
{
	if (!cJSON_IsNumber(v) || v->valuedouble < 0 || v->valuedouble > 0x1p53)
		return false;
	*out = (uint64_t)v->valuedouble;
	return (double)*out == v->valuedouble;
}

static int parse_dtype(sae_dtype *out, const char *name)
{
	for (int t = SAE_F16; t <= SAE_BOOL; t++)
		if (strcmp(name, sae_dtype_name((sae_dtype)t)) == 0) {
			*out = (sae_dtype)t;
			return 0;
		}
	return -1;
}

static int parse_shape(sae_tensor *t, const cJSON *shape, const sae_file *f, error *err)
{
	const cJSON *dim;

	if (!cJSON_IsArray(shape))
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has no shape", f->path, t->name);
	cJSON_ArrayForEach(dim, shape)
	{
		if (t->n_dims == SAE_MAX_DIMS)
			return error_set(err, ERR_LIMIT, "'%s': tensor '%s' has more than %d dimensions",
			                 f->path, t->name, SAE_MAX_DIMS);
		if (!whole_number(dim, &t->dims[t->n_dims++]))
			return error_set(err, ERR_FORMAT,
			                 "'%s': tensor '%s': dimension %u is not a whole number", f->path,
			                 t->name, t->n_dims - 1);
	}
	return 0;
}

/* One member of the header. t->offset and *end become relative to the first byte behind the header. */
static int parse_tensor(sae_tensor *t, uint64_t *end, sae_file *f, const cJSON *item, error *err)
{
	const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
	const char *dtype = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "dtype"));
	char what[128];
	uint64_t bytes;
	int rc;

	t->name = arena_strdup(&f->mem, item->string);
	if (!t->name)
		return error_nomem(err, "a tensor's name");
	if (!cJSON_IsObject(item) || !dtype)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%.100s' has no dtype", f->path, t->name);
	if (parse_dtype(&t->dtype, dtype) < 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%.100s' has dtype '%.20s', which is not supported", f->path,
		                 t->name, dtype);
	rc = parse_shape(t, cJSON_GetObjectItemCaseSensitive(item, "shape"), f, err);
	if (rc < 0)
		return rc;
	if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
	    !whole_number(offsets->child, &t->offset) || !whole_number(offsets->child->next, end) ||
	    *end < t->offset)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%.100s' has no valid data_offsets", f->path,
		                 t->name);
	snprintf(what, sizeof(what), "tensor '%.100s'", t->name);
	rc = file_tensor_size(t, &bytes, f->path, what, err);
	if (rc < 0)
		return rc;
	if (bytes != *end - t->offset)
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%.100s' has %" PRIu64
		                 " bytes, its shape and dtype %s ask for %" PRIu64,
		                 f->path, t->name, *end - t->offset, dtype, bytes);
	return 0;
}

static int parse_metadata(sae_file *f, const cJSON *meta, error *err)
{
	const cJSON *item;

	if (!cJSON_IsObject(meta))
		return error_set(err, ERR_FORMAT, "'%s': __metadata__ is not an object", f->path);
	f->metadata = arena_alloc(&f->mem, 2 * (size_t)cJSON_GetArraySize(meta) + 1, sizeof(*f->metadata));
	if (!f->metadata)
		return error_nomem(err, "metadata");
	cJSON_ArrayForEach(item, meta)
	{
		if (!cJSON_IsString(item))
			return error_set(err, ERR_FORMAT, "'%s': __metadata__ '%.100s' is not a string",
			                 f->path, item->string);
		f->metadata[2 * f->n_metadata] = arena_strdup(&f->mem, item->string);
		f->metadata[2 * f->n_metadata + 1] = arena_strdup(&f->mem, item->valuestring);
		if (!f->metadata[2 * f->n_metadata] || !f->metadata[2 * f->n_metadata + 1])
			return error_nomem(err, "metadata");
		f->n_metadata++;
	}
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const sae_tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->count > y->count) - (x->count < y->count); /* empty tensors first */
}

/* Sorts the tensors by offset and checks that they cover the file's bytes from `start` on; makes the offsets absolute. */
static int check_offsets(sae_file *f, uint64_t start, error *err)
{
	uint64_t expected = 0, available = f->size - start;

	qsort(f->tensors, f->n_tensors, sizeof(*f->tensors), by_offset);
	for (size_t i = 0; i < f->n_tensors; i++) {
		sae_tensor *t = &f->tensors[i];
		uint64_t bytes = t->count * sae_dtype_size(t->dtype);
		if (t->offset != expected)
			return error_set(err, ERR_FORMAT,
			                 "'%s': invalid offset: tensor '%.100s' begins at byte %" PRIu64
			                 ", %s %" PRIu64,
			                 f->path, t->name, start + t->offset,
			                 t->offset < expected ? "inside the one that ends at byte"
			                                      : "the one before ends at byte",
			                 start + expected);
		expected += bytes; /* at most 2^54: both ends are below 2^53 */
		if (expected > available)
			return error_set(err, ERR_FORMAT,
			                 "'%s': tensor '%.100s' ends at byte %" PRIu64
			                 ", past the end of the file (%" PRIu64 ")",
			                 f->path, t->name, start + expected, f->size);
		t->offset += start;
	}
	if (expected != available)
		return error_set(err, ERR_FORMAT,
		                 "'%s': %" PRIu64 " bytes behind the last tensor belong to none", f->path,
		                 available - expected);
	return 0;
}

static int parse_header(sae_file *f, const cJSON *header, uint64_t start, error *err)
{
	const cJSON *item;
	uint64_t end;
	int rc = 0;

	if (!cJSON_IsObject(header))
		return error_set(err, ERR_FORMAT, "'%s': the header is not a JSON object", f->path);
	f->tensors = arena_alloc(&f->mem, (size_t)cJSON_GetArraySize(header) + 1, sizeof(*f->tensors));
	if (!f->tensors)
		return error_nomem(err, "a list of tensors");
	cJSON_ArrayForEach(item, header)
	{
		if (strcmp(item->string, "__metadata__") != 0)
			rc = parse_tensor(&f->tensors[f->n_tensors++], &end, f, item, err);
		else
			rc = parse_metadata(f, item, err);
		if (rc < 0)
			return rc;
	}
	return check_offsets(f, start,
	                     err); /* names are unique: json_parse() refuses an object with two equal ones */
}

int file_parse_safetensors(sae_file *f, error *err)
{
	uint64_t length;
	size_t values = 0;
	char *bytes = NULL;
	cJSON *header = NULL;
	int rc = file_pread(f->fd, &length, sizeof(length), 0, f->path, err);

	f->format = "safetensors";
	if (rc < 0)
		return rc;
	if (length > HEADER_MAX)
		return error_set(err, ERR_LIMIT,
		                 "'%s': the header claims %" PRIu64 " bytes, at most %d are read", f->path,
		                 length, HEADER_MAX);
	if (length > f->size - sizeof(length))
		return error_set(err, ERR_FORMAT,
		                 "'%s': the header claims %" PRIu64 " bytes, the file has %" PRIu64, f->path,
		                 length, f->size);
	bytes = malloc(length + 1);
	if (!bytes)
		return error_nomem(err, "a safetensors header");
	rc = file_pread(f->fd, bytes, length, sizeof(length), f->path, err);
	if (rc < 0)
		goto out;
	for (size_t i = 0; i < length; i++)
		values += bytes[i] == ',';
	if (values > HEADER_VALUES) {
		rc = error_set(err, ERR_LIMIT, "'%s': the header has more than %d values", f->path,
		               HEADER_VALUES);
		goto out;
	}
	rc = json_parse(&header, bytes, length, HEADER_MAX, HEADER_DEPTH, f->path, err);
	if (rc < 0)
		goto out;
	rc = parse_header(f, header, sizeof(length) + length, err);
out:
	cJSON_Delete(header);
	free(bytes);
	return rc;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static int add_tensor_header(text *h, const sae_tensor_out *t, uint64_t *offset, const char *path, error *err)
{
	sae_tensor shape = { .dtype = t->dtype, .n_dims = t->n_dims };
	uint64_t bytes;
	int rc;

	memcpy(shape.dims, t->dims, sizeof(shape.dims));
	rc = file_tensor_size(&shape, &bytes, path, t->name, err);
	if (rc < 0)
		return rc;
	rc = text_add_json(h, t->name, strlen(t->name));
	if (rc == 0)
		rc = text_addf(h, ":{\"dtype\":\"%s\",\"shape\":[", sae_dtype_name(t->dtype));
	for (unsigned i = 0; i < t->n_dims && rc == 0; i++)
		rc = text_addf(h, "%s%" PRIu64, i ? "," : "", t->dims[i]);
	if (rc == 0)
		rc = text_addf(h, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *offset, *offset + bytes);
	*offset += bytes;
	return rc < 0 ? error_set(err, rc, "cannot build the header of '%s'", path) : 0;
}

static int build_header(text *h, const char *path, const sae_tensor_out *t, size_t n,
                        const char *const *metadata, size_t n_meta, error *err)
{
	uint64_t offset = 0;
	int rc = text_adds(h, "{");

	for (size_t i = 0; i < n_meta && rc == 0; i++) {
		rc = text_adds(h, i ? "," : "\"__metadata__\":{");
		if (rc == 0)
			rc = text_add_json(h, metadata[2 * i], strlen(metadata[2 * i]));
		if (rc == 0)
			rc = text_adds(h, ":");
		if (rc == 0)
			rc = text_add_json(h, metadata[2 * i + 1], strlen(metadata[2 * i + 1]));
	}
	if (rc == 0 && n_meta)
		rc = text_adds(h, "}");
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (i || n_meta)
			rc = text_adds(h, ",");
		if (rc == 0 && (rc = add_tensor_header(h, &t[i], &offset, path, err)) < 0)
			return rc;
	}
	if (rc == 0)
		rc = text_adds(h, "}");
	while (rc == 0 && h->len % 8) /* so that the tensors begin aligned */
		rc = text_adds(h, " ");
	return rc < 0 ? error_set(err, rc, "cannot build the header of '%s'", path) : 0;
}

int safetensors_begin(file_writer *w, const char *path, const sae_tensor_out *t, size_t n,
                      const char *const *metadata, size_t n_meta, error *err)
{
	uint64_t length;
	text h;
	int rc;

	text_init(&h, HEADER_MAX);
	rc = build_header(&h, path, t, n, metadata, n_meta, err);
	if (rc == 0)
		rc = file_writer_open(w, path, err);
	length = h.len;
	if (rc == 0)
		rc = file_writer_add(w, &length, sizeof(length), err);
	if (rc == 0)
		rc = file_writer_add(w, h.data, h.len, err);
	text_free(&h);
	return rc;
}

int sae_safetensors_write(const char *path, const sae_tensor_out *t, size_t n, const char *const *metadata,
                          size_t n_meta, error *err)
{
	file_writer w = { 0 };
	int rc = safetensors_begin(&w, path, t, n, metadata, n_meta, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		uint64_t bytes = sae_dtype_size(t[i].dtype);
		for (unsigned j = 0; j < t[i].n_dims; j++)
			bytes *= t[i].dims[j];
		rc = file_writer_add(&w, t[i].data, bytes, err);
	}
	if (rc == 0)
		rc = file_writer_commit(&w, err);
	file_writer_abort(&w);
	return rc;
}
