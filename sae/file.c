/* Open tensor files and read from them; the formats are in safetensors.c, npy.c, npz.c and torch.c. */
#include "sae/file_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BLOCK = 65536 }; /* bytes converted at a time: stays in the cache between read and conversion */

int file_tensor_size(sae_tensor *t, uint64_t *bytes, const char *path, const char *what, error *err)
{
	uint64_t count = 1;
	bool empty = false;

	for (unsigned i = 0; i < t->n_dims; i++)
		empty |= t->dims[i] == 0;
	for (unsigned i = 0; i < t->n_dims && !empty; i++)
		if (__builtin_mul_overflow(count, t->dims[i], &count))
			return error_set(err, ERR_FORMAT, "'%s': the shape of %s overflows", path, what);
	t->count = empty ? 0 : count;
	if (__builtin_mul_overflow(t->count, (uint64_t)sae_dtype_size(t->dtype), bytes))
		return error_set(err, ERR_FORMAT, "'%s': the shape of %s overflows", path, what);
	return 0;
}

int file_begin(sae_file **out, const char *path, error *err)
{
	sae_file *f = calloc(1, sizeof(*f));
	int rc;

	*out = NULL;
	if (!f)
		return error_nomem(err, "a tensor file");
	f->fd = -1;
	f->path = arena_strdup(&f->mem, path);
	rc = f->path ? file_open_read(&f->fd, &f->size, path, err) : error_nomem(err, "a path");
	if (rc == 0)
		*out = f;
	else
		sae_file_close(f);
	return rc;
}

int sae_file_open(sae_file **out, const char *path, error *err)
{
	static const char npy[6] = "\x93NUMPY";
	/* A pickle of protocol 2 of the number 0x1950a86a20f9469cfc6c, torch's until 1.5. */
	static const char legacy[9] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9";
	unsigned char start[9] = { 0 };
	sae_file *f;
	int rc = file_begin(&f, path, err);

	if (rc < 0)
		return rc;
	if (f->size < sizeof(start)) {
		rc = error_set(err, ERR_FORMAT, "'%s' has %" PRIu64 " bytes: too short for a tensor file",
		               path, f->size);
		goto out;
	}
	rc = file_pread(f->fd, start, sizeof(start), 0, path, err);
	if (rc < 0)
		goto out;
	if (memcmp(start, npy, sizeof(npy)) == 0)
		rc = file_parse_npy(f, err);
	else if (start[8] == '{')
		rc = file_parse_safetensors(f, err);
	else if (memcmp(start, "PK\3\4", 4) == 0 || memcmp(start, "PK\5\6", 4) == 0)
		rc = file_parse_zip(f, err);
	else if (memcmp(start, legacy, sizeof(legacy)) == 0)
		rc = error_set(
		        err, ERR_FORMAT,
		        "'%s' is in torch's old format, which is not a zip archive; torch.load() it and "
		        "torch.save() it again",
		        path);
	else
		rc = error_set(err, ERR_FORMAT,
		               "'%s' is no safetensors, .npy, .npz or .pt file (by its first bytes)", path);
	if (rc < 0)
		goto out;
	*out = f;
	f = NULL;
out:
	sae_file_close(f);
	return rc;
}

void sae_file_close(sae_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	archive_close(f->archive);
	arena_clear(&f->mem);
	free(f);
}

const char *sae_file_path(const sae_file *f)
{
	return f->path;
}

const char *sae_file_format(const sae_file *f)
{
	return f->format;
}

size_t sae_file_n_tensors(const sae_file *f)
{
	return f->n_tensors;
}

const sae_tensor *sae_file_tensor_at(const sae_file *f, size_t i)
{
	return i < f->n_tensors ? &f->tensors[i] : NULL;
}

const sae_tensor *sae_file_tensor(const sae_file *f, const char *name)
{
	for (size_t i = 0; i < f->n_tensors; i++)
		if (strcmp(f->tensors[i].name, name) == 0)
			return &f->tensors[i];
	return NULL;
}

const char *sae_file_metadata(const sae_file *f, const char *key)
{
	for (size_t i = 0; i < f->n_metadata; i++)
		if (strcmp(f->metadata[2 * i], key) == 0)
			return f->metadata[2 * i + 1];
	return NULL;
}

const char *sae_file_metadata_at(const sae_file *f, size_t i, const char **value)
{
	if (i >= f->n_metadata)
		return NULL;
	*value = f->metadata[2 * i + 1];
	return f->metadata[2 * i];
}

static int check_range(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, bool fits,
                       const char *wanted, error *err)
{
	if (!fits)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has dtype %s, %s are wanted", f->path,
		                 t->name, sae_dtype_name(t->dtype), wanted);
	if (first > t->count || n > t->count - first)
		return error_set(err, ERR_ARG,
		                 "'%s': elements %" PRIu64 " to %" PRIu64
		                 " of tensor '%s' were asked for, it has %" PRIu64,
		                 f->path, first, first + n, t->name, t->count);
	return 0;
}

bool file_is_plain(const sae_tensor *t)
{
	return !t->packed && t->run == 0 && !t->value;
}

int file_read_raw(const sae_file *f, const sae_tensor *t, uint64_t first, size_t n, void *out, error *err)
{
	const size_t size = sae_dtype_size(t->dtype);
	const uint64_t at = t->offset + first * size;
	const archive_member *m;

	if (t->value) {
		memcpy(out, (const unsigned char *)t->value + first * size, n * size);
		return 0;
	}
	if (!t->member)
		return file_pread(f->fd, out, n * size, at, f->path, err);
	m = &f->archive->members[t->member - 1];
	return archive_read(f->archive, m, t->packed ? at : at - m->offset, out, n * size, f->fd, f->path,
	                    err);
}

int sae_file_read_f32(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, float *out,
                      error *err)
{
	const size_t step = READ_BLOCK / sae_dtype_size(t->dtype);
	_Alignas(64) unsigned char raw[READ_BLOCK];
	int rc = check_range(f, t, first, n, convert_is_float(t->dtype), "floats", err);

	if (rc == 0 && t->run)
		return file_read_runs(f, t, first, n, out, NULL, err);
	if (rc == 0 && t->dtype == SAE_F32)
		return file_read_raw(f, t, first, n, out, err);
	for (uint64_t done = 0; rc == 0 && done < n; done += step) {
		size_t m = n - done < step ? (size_t)(n - done) : step;
		rc = file_read_raw(f, t, first + done, m, raw, err);
		if (rc == 0)
			convert_to_f32(out + done, raw, m, t->dtype);
	}
	return rc;
}

int file_to_i64(int64_t *out, const void *in, uint64_t first, size_t n, const sae_file *f,
                const sae_tensor *t, error *err)
{
	size_t bad = convert_to_i64(out, in, n, t->dtype);

	if (bad == n)
		return 0;
	return error_set(err, ERR_FORMAT, "'%s': element %" PRIu64 " of tensor '%s' does not fit 63 bits",
	                 f->path, first + bad, t->name);
}

int sae_file_read_i64(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, int64_t *out,
                      error *err)
{
	const size_t step = READ_BLOCK / sae_dtype_size(t->dtype);
	_Alignas(64) unsigned char raw[READ_BLOCK];
	int rc = check_range(f, t, first, n, !convert_is_float(t->dtype), "integers", err);

	if (rc == 0 && t->run)
		return file_read_runs(f, t, first, n, NULL, out, err);
	for (uint64_t done = 0; rc == 0 && done < n; done += step) {
		size_t m = n - done < step ? (size_t)(n - done) : step;
		rc = file_read_raw(f, t, first + done, m, raw, err);
		if (rc == 0)
			rc = file_to_i64(out + done, raw, first + done, m, f, t, err);
	}
	return rc;
}
