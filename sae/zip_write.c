/* Zip archives by libzip, and .npz as such: see zip_write.h. */
#include "sae/zip_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zip.h>

enum { NPY_HEADER = 128, NAME_BYTES = 128 };

static int failed(error *err, const char *path, zip_t *z)
{
	int rc = error_set(err, ERR_IO, "cannot write '%s': %s", path, zip_strerror(z));

	zip_discard(z);
	return rc;
}

/* The archive takes the source over, also when it cannot be added. */
static bool add_member(zip_t *z, const char *name, const zip_part *p)
{
	zip_buffer_fragment_t all[2] = { { (zip_uint8_t *)p->head, p->head_bytes },
		                         { (zip_uint8_t *)p->data, p->data_bytes } };
	zip_source_t *source = zip_source_buffer_fragment(z, all, 1 + (p->data_bytes > 0), 0);
	zip_int64_t at = source ? zip_file_add(z, name, source, ZIP_FL_ENC_UTF_8) : -1;

	if (at < 0) {
		zip_source_free(source);
		return false;
	}
	/* 1980, zip's beginning: equal members, equal files */
	return zip_set_file_compression(z, (zip_uint64_t)at, ZIP_CM_STORE, 0) == 0 &&
	       zip_file_set_mtime(z, (zip_uint64_t)at, 315532800, 0) == 0;
}

int zip_write(const char *path, const char *const *names, const zip_part *parts, size_t n, error *err)
{
	int code = 0;
	zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);

	if (!z) {
		zip_error_t e;
		int rc;

		zip_error_init_with_code(&e, code);
		rc = error_set(err, ERR_IO, "cannot write '%s': %s", path, zip_error_strerror(&e));
		zip_error_fini(&e);
		return rc;
	}
	for (size_t i = 0; i < n; i++)
		if (!add_member(z, names[i], &parts[i]))
			return failed(err, path, z);
	/* Closing writes a temporary file beside the target and renames it; on failure that is gone. */
	return zip_close(z) == 0 ? 0 : failed(err, path, z);
}

/* ---- .npz --------------------------------------------------------------------------------------------------------- */

typedef struct npz_name {
	char name[NAME_BYTES], header[NPY_HEADER];
} npz_name;

static const char *npy_type(sae_dtype t)
{
	return t == SAE_F32 ? "<f4" : t == SAE_I32 ? "<i4" : "<i8";
}

/* A header of .npy version 1, padded with spaces and ended by a newline. */
static void npy_header(char out[NPY_HEADER], const sae_tensor_out *t)
{
	static const char magic[] = "\x93NUMPY\x01\x00\x76\x00"; /* 0x76: what follows the 10 bytes */
	char shape[64] = "";
	size_t n = 0;
	int length;

	for (unsigned i = 0; i < t->n_dims; i++)
		n += (size_t)snprintf(shape + n, sizeof(shape) - n, "%" PRIu64 "%s", t->dims[i],
		                      t->n_dims == 1      ? ","
		                      : i + 1 < t->n_dims ? ", "
		                                          : "");
	memset(out, ' ', NPY_HEADER);
	memcpy(out, magic, 10);
	length = snprintf(out + 10, NPY_HEADER - 10,
	                  "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", npy_type(t->dtype),
	                  shape);
	out[10 + length] = ' ';
	out[NPY_HEADER - 1] = '\n';
}

static uint64_t bytes_of(const sae_tensor_out *t)
{
	uint64_t n = sae_dtype_size(t->dtype);

	for (unsigned i = 0; i < t->n_dims; i++)
		n *= t->dims[i];
	return n;
}

int npz_write(const char *path, const sae_tensor_out *t, size_t n, error *err)
{
	npz_name *texts = calloc(n, sizeof(*texts));
	zip_part *parts = calloc(n, sizeof(*parts));
	const char **names = calloc(n, sizeof(*names));
	int rc = texts && parts && names ? 0 : error_nomem(err, "an .npz file");

	for (size_t i = 0; i < n && rc == 0; i++) {
		snprintf(texts[i].name, NAME_BYTES, "%s.npy", t[i].name);
		npy_header(texts[i].header, &t[i]);
		names[i] = texts[i].name;
		parts[i] = (zip_part){ texts[i].header, NPY_HEADER, t[i].data, bytes_of(&t[i]) };
	}
	if (rc == 0)
		rc = zip_write(path, names, parts, n, err);
	free(texts);
	free(parts);
	free(names);
	return rc;
}
