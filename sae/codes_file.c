/* Codes of a dump as one sparse matrix on disk. Each array is written to an unlinked file of its own while rows come, as
 * a whole .npy, and put together at the end, when its length is known. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zip.h>

#include "sae/file_internal.h"

enum { NPY_HEADER = 128, COPY_BYTES = 1 << 20 };
enum { INDPTR, DATA, INDICES, KEPT, N_SPOOLS }; /* the wider first: each is aligned in a .safetensors */

static const struct {
	const char *name, *npy_type;
	sae_dtype dtype;
} arrays[N_SPOOLS] = {
	[INDPTR] = { "indptr", "<i8", SAE_I64 },
	[DATA] = { "data", "<f4", SAE_F32 },
	[INDICES] = { "indices", "<i4", SAE_I32 },
	[KEPT] = { "kept", "|u1", SAE_U8 },
};

struct sae_codes_writer {
	char path[FILE_PATH_MAX];
	sae_codes_format format;
	uint32_t n_features;
	uint64_t n_rows, n_codes;
	FILE *spool[N_SPOOLS]; /* NPY_HEADER bytes of room, then the array */
	const char *const *metadata;
	size_t n_metadata;
};

static int spool_failed(const sae_codes_writer *w, error *err)
{
	return error_errno(err, errno, "cannot write the codes for '%s'", w->path);
}

/* An unlinked file beside the target: it is on the disk that has to hold the result. */
static int spool_open(FILE **out, const sae_codes_writer *w, error *err)
{
	static const char room[NPY_HEADER];
	char path[FILE_PATH_MAX + 8];
	int fd;

	snprintf(path, sizeof(path), "%s.XXXXXX", w->path);
	fd = mkstemp(path);
	if (fd < 0)
		return error_errno(err, errno, "cannot write '%s'", w->path);
	unlink(path);
	*out = fdopen(fd, "w+b");
	if (!*out) {
		close(fd);
		return error_nomem(err, "the codes");
	}
	return fwrite(room, sizeof(room), 1, *out) == 1 ? 0 : spool_failed(w, err);
}

static int spool_add(sae_codes_writer *w, int array, const void *p, size_t size, size_t n, error *err)
{
	return fwrite(p, size, n, w->spool[array]) == n ? 0 : spool_failed(w, err);
}

int sae_codes_writer_open(sae_codes_writer **out, const char *path, sae_codes_format format,
                          uint32_t n_features, const char *const *metadata, size_t n_metadata, error *err)
{
	sae_codes_writer *w;
	const int64_t zero = 0;
	int rc = 0;

	if (strlen(path) + 16 > FILE_PATH_MAX)
		return error_set(err, ERR_LIMIT, "the path of the codes is too long");
	if (n_features > INT32_MAX)
		return error_set(err, ERR_LIMIT, "'%s' holds feature numbers up to %d", path, INT32_MAX);
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_nomem(err, "the codes");
	memcpy(w->path, path, strlen(path) + 1);
	w->format = format;
	w->n_features = n_features;
	w->metadata = metadata;
	w->n_metadata = n_metadata;
	for (int i = 0; i < N_SPOOLS && rc == 0; i++)
		rc = spool_open(&w->spool[i], w, err);
	if (rc == 0)
		rc = spool_add(w, INDPTR, &zero, sizeof(zero), 1, err);
	if (rc < 0) {
		sae_codes_writer_abort(w);
		return rc;
	}
	*out = w;
	return 0;
}

int sae_codes_writer_add(sae_codes_writer *w, const sae_codes *c, const uint8_t *kept, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < c->n && rc == 0; i++) {
		size_t first = c->first[i], n = kept && !kept[i] ? 0 : c->first[i + 1] - first;
		const uint8_t counts = !kept || kept[i];
		int64_t end;

		w->n_codes += n;
		end = (int64_t)w->n_codes;
		rc = spool_add(w, DATA, c->value + first, sizeof(*c->value), n, err);
		if (rc == 0)
			rc = spool_add(w, INDICES, c->index + first, sizeof(*c->index), n, err);
		if (rc == 0)
			rc = spool_add(w, INDPTR, &end, sizeof(end), 1, err);
		if (rc == 0)
			rc = spool_add(w, KEPT, &counts, 1, 1, err);
	}
	w->n_rows += c->n;
	return rc;
}

static uint64_t array_length(const sae_codes_writer *w, int array)
{
	return array == INDPTR ? w->n_rows + 1 : array == KEPT ? w->n_rows : w->n_codes;
}

/* ---- .npz --------------------------------------------------------------------------------------------------------- */

/* A header of .npy version 1, padded with spaces and ended by a newline. */
static void npy_header(char out[NPY_HEADER], const char *type, const char *shape)
{
	static const char magic[] = "\x93NUMPY\x01\x00\x76\x00"; /* 0x76: what follows the 10 bytes */
	int n;

	memset(out, ' ', NPY_HEADER);
	memcpy(out, magic, 10);
	n = snprintf(out + 10, NPY_HEADER - 10, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
	             type, shape);
	out[10 + n] = ' ';
	out[NPY_HEADER - 1] = '\n';
}

/* The member takes `source` over, also when it cannot be added. */
static int add_member(zip_t *z, const char *name, zip_source_t *source)
{
	char file[32];
	zip_int64_t at;

	if (!source)
		return ERR_NOMEM;
	snprintf(file, sizeof(file), "%s.npy", name);
	at = zip_file_add(z, file, source, ZIP_FL_ENC_UTF_8);
	if (at < 0) {
		zip_source_free(source);
		return ERR_NOMEM;
	}
	/* Numbers hardly shrink, and NumPy reads what is stored several times as fast. */
	zip_set_file_compression(z, (zip_uint64_t)at, ZIP_CM_STORE, 0);
	zip_file_set_mtime(z, (zip_uint64_t)at, 315532800,
	                   0); /* 1980, zip's beginning: equal codes, equal files */
	return 0;
}

static int add_spool(zip_t *z, sae_codes_writer *w, int array, error *err)
{
	char header[NPY_HEADER], shape[32];
	FILE *f = w->spool[array];
	zip_source_t *source;

	snprintf(shape, sizeof(shape), "(%" PRIu64 ",)", array_length(w, array));
	npy_header(header, arrays[array].npy_type, shape);
	/* libzip reads from where the stream is. */
	if (fseek(f, 0, SEEK_SET) != 0 || fwrite(header, sizeof(header), 1, f) != 1 || fflush(f) != 0 ||
	    fseek(f, 0, SEEK_SET) != 0)
		return spool_failed(w, err);
	source = zip_source_filep(z, f, 0, -1);
	if (source)
		w->spool[array] = NULL; /* the source closes it */
	return add_member(z, arrays[array].name, source) < 0 ? error_nomem(err, "an .npz file") : 0;
}

/* What tells SciPy how to read the rest. `shape` and `format` must live until the file is closed. */
static int add_small(zip_t *z, const char *shape, size_t shape_size, const char *format, size_t format_size,
                     error *err)
{
	if (add_member(z, "shape", zip_source_buffer(z, shape, shape_size, 0)) < 0 ||
	    add_member(z, "format", zip_source_buffer(z, format, format_size, 0)) < 0)
		return error_nomem(err, "an .npz file");
	return 0;
}

static int write_npz(sae_codes_writer *w, error *err)
{
	char shape[NPY_HEADER + 16], format[NPY_HEADER + 3];
	const int64_t dims[2] = { (int64_t)w->n_rows, w->n_features };
	int code = 0, rc = 0;
	zip_t *z = zip_open(w->path, ZIP_CREATE | ZIP_TRUNCATE, &code);

	if (!z) {
		zip_error_t e;

		zip_error_init_with_code(&e, code);
		rc = error_set(err, ERR_IO, "cannot write '%s': %s", w->path, zip_error_strerror(&e));
		zip_error_fini(&e);
		return rc;
	}
	npy_header(shape, "<i8", "(2,)");
	memcpy(shape + NPY_HEADER, dims, sizeof(dims));
	npy_header(format, "|S3", "()");
	memcpy(format + NPY_HEADER, "csr", 3);
	for (int i = 0; i < N_SPOOLS && rc == 0; i++)
		rc = add_spool(z, w, i, err);
	if (rc == 0)
		rc = add_small(z, shape, sizeof(shape), format, sizeof(format), err);
	/* Closing writes a temporary file beside the target and renames it; on failure that is gone. */
	if (rc == 0 && zip_close(z) == 0)
		return 0;
	if (rc == 0)
		rc = error_set(err, ERR_IO, "cannot write '%s': %s", w->path, zip_strerror(z));
	zip_discard(z);
	return rc;
}

/* ---- .safetensors --------------------------------------------------------------------------------------------------- */

static int copy_spool(file_writer *out, sae_codes_writer *w, int array, unsigned char *buf, error *err)
{
	FILE *f = w->spool[array];
	uint64_t left = array_length(w, array) * sae_dtype_size(arrays[array].dtype);
	int rc = fseek(f, NPY_HEADER, SEEK_SET) == 0 ? 0 : spool_failed(w, err);

	while (left > 0 && rc == 0) {
		size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;

		if (fread(buf, n, 1, f) != 1)
			return error_errno(err, ferror(f) ? errno : EIO,
			                   "cannot read the codes for '%s' back", w->path);
		rc = file_writer_add(out, buf, n, err);
		left -= n;
	}
	return rc;
}

static int write_safetensors(sae_codes_writer *w, error *err)
{
	sae_tensor_out t[1 + N_SPOOLS];
	const int64_t dims[2] = { (int64_t)w->n_rows, w->n_features };
	unsigned char *buf = malloc(COPY_BYTES);
	file_writer out = { 0 };
	int rc = buf ? 0 : error_nomem(err, "the codes");

	t[0] = (sae_tensor_out){ "shape", SAE_I64, 1, { 2 }, dims };
	for (int i = 0; i < N_SPOOLS; i++)
		t[1 + i] =
		        (sae_tensor_out){ arrays[i].name, arrays[i].dtype, 1, { array_length(w, i) }, NULL };
	if (rc == 0)
		rc = safetensors_begin(&out, w->path, t, ARRAY_LEN(t), w->metadata, w->n_metadata, err);
	if (rc == 0)
		rc = file_writer_add(&out, dims, sizeof(dims), err);
	for (int i = 0; i < N_SPOOLS && rc == 0; i++)
		rc = copy_spool(&out, w, i, buf, err);
	if (rc == 0)
		rc = file_writer_commit(&out, err);
	file_writer_abort(&out);
	free(buf);
	return rc;
}

int sae_codes_writer_commit(sae_codes_writer *w, error *err)
{
	return w->format == SAE_CODES_NPZ ? write_npz(w, err) : write_safetensors(w, err);
}

void sae_codes_writer_abort(sae_codes_writer *w)
{
	if (!w)
		return;
	for (int i = 0; i < N_SPOOLS; i++)
		if (w->spool[i])
			fclose(w->spool[i]);
	free(w);
}
