/* support_dump.h: tensor files and dumps made by the tests. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static char folder[FILE_PATH_MAX];

const char *in_folder(const char *name)
{
	static char paths[32][FILE_PATH_MAX];
	static unsigned turn;
	char *path = paths[turn++ % ARRAY_LEN(paths)];

	if (!*folder)
		support_mkdir(folder);
	ck_assert_int_eq(file_join(path, folder, name, NULL), 0);
	return path;
}

void leave_folder(void)
{
	support_rmdir(folder);
	*folder = '\0';
}

void support_safetensors(const char *path, const char *header, const void *data, size_t n)
{
	uint64_t length = strlen(header);
	size_t size = sizeof(length) + length + n;
	char *bytes = malloc(size);

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, &length, sizeof(length));
	memcpy(bytes + sizeof(length), header, length);
	if (n)
		memcpy(bytes + sizeof(length) + length, data, n);
	support_put(path, bytes, size);
	free(bytes);
}

void support_npy(const char *path, int version, const char *dict, const void *data, size_t n)
{
	size_t length = strlen(dict), start = version == 1 ? 10 : 12;
	unsigned char *bytes = malloc(start + length + n);

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, "\x93NUMPY", 6);
	bytes[6] = (unsigned char)version;
	bytes[7] = 0;
	for (size_t i = 8; i < start; i++)
		bytes[i] = (unsigned char)(length >> 8 * (i - 8));
	memcpy(bytes + start, dict, length);
	if (n)
		memcpy(bytes + start + length, data, n);
	support_put(path, bytes, start + length + n);
	free(bytes);
}

float made_value(uint64_t row, uint32_t j)
{
	return (float)((row * 31 + j * 7) % 251) / 8 - 15;
}

uint32_t made_token(uint64_t row)
{
	return (uint32_t)(hash64_mix(7, row) % 1000);
}

void *made_encode(const float *x, size_t n, sae_dtype dtype)
{
	void *out = malloc(n * sae_dtype_size(dtype) + 1);
	uint16_t *half = out;
	double *wide = out;

	ck_assert_ptr_nonnull(out);
	if (dtype == SAE_F32)
		memcpy(out, x, n * sizeof(*x));
	else if (dtype == SAE_F16)
		sae_f32_to_f16(half, x, n);
	for (size_t i = 0; i < n && dtype == SAE_F64; i++)
		wide[i] = (double)x[i];
	for (size_t i = 0; i < n && dtype == SAE_BF16; i++) {
		uint32_t bits;
		memcpy(&bits, &x[i], sizeof(bits));
		half[i] = (uint16_t)(bits >> 16);
	}
	return out;
}

static void write_npy(const char *path, const made_dump *m, const void *data)
{
	static const char *const descr[] = {
		[SAE_F16] = "<f2", [SAE_BF16] = "<V2", [SAE_F32] = "<f4", [SAE_F64] = "<f8"
	};
	uint64_t rows = m->contexts * m->ctx_len;
	char dict[256];

	if (m->three_dims)
		snprintf(dict, sizeof(dict),
		         "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %u, %u), }\n",
		         descr[m->dtype], m->contexts, m->ctx_len, m->d);
	else
		snprintf(dict, sizeof(dict),
		         "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %u), }\n",
		         descr[m->dtype], rows, m->d);
	support_npy(path, 1, dict, data, rows * m->d * sae_dtype_size(m->dtype));
}

static void write_safetensors(const char *path, const made_dump *m, const void *data, const int32_t *tokens)
{
	sae_tensor_out t[2] = { { .name = "tokens",
		                  .dtype = SAE_I32,
		                  .n_dims = 2,
		                  .dims = { m->contexts, m->ctx_len },
		                  .data = tokens },
		                { .name = "activations",
		                  .dtype = m->dtype,
		                  .n_dims = 2,
		                  .dims = { m->contexts * m->ctx_len, m->d },
		                  .data = data } };
	error err = { 0 };

	if (m->three_dims) {
		t[1].n_dims = 3;
		t[1].dims[0] = m->contexts;
		t[1].dims[1] = m->ctx_len;
		t[1].dims[2] = m->d;
	}
	ck_assert_msg(sae_safetensors_write(path, m->tokens ? t : t + 1, m->tokens ? 2 : 1, NULL, 0, &err) ==
	                      0,
	              "%s", err.msg);
}

void made_dump_write(const char *dir, const made_dump *m)
{
	uint64_t rows = m->contexts * m->ctx_len;
	float *x = malloc((rows * m->d + 1) * sizeof(*x));
	int32_t *tokens = malloc((rows + 1) * sizeof(*tokens));

	ck_assert(x && tokens);
	for (unsigned s = 0; s < m->shards; s++) {
		char name[64], path[FILE_PATH_MAX];
		void *data;
		for (uint64_t i = 0; i < rows; i++) {
			uint64_t row = s * rows + i;
			for (uint32_t j = 0; j < m->d; j++)
				x[i * m->d + j] = m->value ? m->value(row, j) : made_value(row, j);
			tokens[i] = (int32_t)(m->token ? m->token(row) : made_token(row));
		}
		data = made_encode(x, rows * m->d, m->dtype);
		snprintf(name, sizeof(name), "shard-%03u.%s", s, m->npy ? "npy" : "safetensors");
		ck_assert_int_eq(file_join(path, dir, name, NULL), 0);
		if (m->npy)
			write_npy(path, m, data);
		else
			write_safetensors(path, m, data, tokens);
		free(data);
	}
	free(x);
	free(tokens);
}

sae_dump *made_dump_open(const char *dir, const sae_dump_opts *o)
{
	sae_dump *d = NULL;
	error err = { 0 };

	ck_assert_msg(sae_dump_open(&d, &dir, 1, o, &err) == 0, "%s", err.msg);
	return d;
}

const char *dump_folder(void)
{
	const char *path = in_folder("dump");

	if (!file_is_dir(path))
		ck_assert_int_eq(file_mkdir(path, NULL), 0);
	return path;
}

void dump_refused(const char *path, const sae_dump_opts *o, int code, const char *words)
{
	sae_dump *d = NULL;
	error err = { 0 };
	char part[256];
	int rc = sae_dump_open(&d, &path, 1, o, &err);

	ck_assert_msg(rc == code, "%d '%s' for '%s'", rc, err.msg, words);
	ck_assert_ptr_null(d);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
	for (const char *w = words; *w; w += strspn(w, "|")) {
		size_t n = strcspn(w, "|");

		snprintf(part, sizeof(part), "%.*s", (int)n, w);
		ck_assert_msg(strstr(err.msg, part) != NULL, "'%s' lacks '%s'", err.msg, part);
		w += n;
	}
}

/* ---- Tensor files --------------------------------------------------------------------------------------------------- */

sae_file *tensor_file_open(const char *path)
{
	sae_file *f = NULL;
	error err = { 0 };

	ck_assert_msg(sae_file_open(&f, path, &err) == 0, "%s", err.msg);
	return f;
}

void tensor_file_said(const error *err, const char *path, const char *words)
{
	ck_assert_msg(strstr(err->msg, words) && strstr(err->msg, file_base(path)), "'%s' lacks '%s'",
	              err->msg, words);
	ck_assert_ptr_null(strchr(err->msg, '\n'));
}

void tensor_file_refused(const char *path, const char *words)
{
	sae_file *f = NULL;
	error err = { 0 };
	int rc = sae_file_open(&f, path, &err);

	ck_assert_msg(rc == ERR_FORMAT || rc == ERR_LIMIT, "%d for '%s'", rc, words);
	ck_assert_ptr_null(f);
	tensor_file_said(&err, path, words);
}

/* Opens the file and reads its tensor; no assertion of check's, which allocates, on the way. */
static int open_and_read(sae_file **out, const char *path, const char *name, error *err)
{
	static float x[1 << 15];
	const sae_tensor *t;
	int rc = sae_file_open(out, path, err);

	if (rc < 0 || !name)
		return rc;
	t = sae_file_tensor(*out, name);
	return sae_file_read_f32(*out, t, 0, t->count < ARRAY_LEN(x) ? t->count : ARRAY_LEN(x), x, err);
}

void tensor_file_survive(const char *path, fault_kind kind, int code, const char *name)
{
	for (long n = 0;; n++) {
		sae_file *f = NULL;
		error err = { 0 };
		int rc;

		fault_arm(kind, n);
		rc = open_and_read(&f, path, name, &err);
		if (!fault_disarm(kind)) {
			ck_assert_int_eq(rc, 0);
			sae_file_close(f);
			return;
		}
		ck_assert_int_eq(rc, code);
		ck_assert_int_ne(err.msg[0], 0);
		ck_assert(name || !f);
		sae_file_close(f);
	}
}
