/* Codes of a dump on disk: what is written reads back, in both formats, and failures leave nothing. */
#include "tests/support.h"

#include <stdlib.h>

#include <zip.h>

#include "tests/support_dump.h"

enum { FEATURES = 9 };

static size_t first[] = { 0, 2, 2, 5, 6 };
static uint32_t indices[] = { 0, 8, 1, 2, 7, 4 };
static float values[] = { 1, 2.5f, 3, 1e-30f, 7, 8 };
static const uint8_t kept[] = { 1, 1, 0, 1 }; /* the third row's codes are dropped */
static const sae_codes codes = { .n = 4, .first = first, .index = indices, .value = values };

static const int64_t want_indptr[] = { 0, 2, 2, 5, 6, 8, 8, 8, 9 };
static const float want_data[] = { 1, 2.5f, 3, 1e-30f, 7, 8, 1, 2.5f, 8 };
static const int32_t want_indices[] = { 0, 8, 1, 2, 7, 4, 0, 8, 4 };
static const uint8_t want_kept[] = { 1, 1, 1, 1, 1, 1, 0, 1 };

/* The four rows, and again with one left out. */
static int write_codes(const char *path, sae_codes_format format, error *err)
{
	const char *const metadata[] = { "sae", "a \"name\"" };
	sae_codes_writer *w = NULL;
	int rc = sae_codes_writer_open(&w, path, format, FEATURES, metadata, 1, err);

	if (rc == 0)
		rc = sae_codes_writer_add(w, &codes, NULL, err);
	if (rc == 0)
		rc = sae_codes_writer_add(w, &codes, kept, err);
	if (rc == 0)
		rc = sae_codes_writer_commit(w, err);
	sae_codes_writer_abort(w);
	return rc;
}

/* `file` holds the tensor `name` with these bytes. */
static void check_tensor(const sae_file *file, const char *name, sae_dtype dtype, uint64_t n,
                         const void *want)
{
	const sae_tensor *t = sae_file_tensor(file, name);

	ck_assert_ptr_nonnull(t);
	ck_assert_int_eq(t->dtype, dtype);
	ck_assert_uint_eq(t->n_dims, 1);
	ck_assert_uint_eq(t->dims[0], n);
	if (dtype == SAE_F32) {
		float *x = malloc(n * sizeof(*x));

		ck_assert_int_eq(sae_file_read_f32(file, t, 0, n, x, NULL), 0);
		ck_assert_mem_eq(x, want, n * sizeof(*x));
		free(x);
		return;
	}
	int64_t *x = malloc(n * sizeof(*x));
	ck_assert_int_eq(sae_file_read_i64(file, t, 0, n, x, NULL), 0);
	for (uint64_t i = 0; i < n; i++)
		ck_assert_int_eq(x[i], dtype == SAE_I64   ? ((const int64_t *)want)[i]
		                       : dtype == SAE_I32 ? ((const int32_t *)want)[i]
		                                          : ((const uint8_t *)want)[i]);
	free(x);
}

static const struct {
	const char *name;
	sae_dtype dtype;
	uint64_t n;
	const void *want;
} arrays[] = {
	{ "indptr", SAE_I64, 9, want_indptr },
	{ "data", SAE_F32, 9, want_data },
	{ "indices", SAE_I32, 9, want_indices },
	{ "kept", SAE_U8, 8, want_kept },
	{ "shape", SAE_I64, 2, (const int64_t[]){ 8, FEATURES } },
};

START_TEST(safetensors_read_back)
{
	sae_file *file = NULL;

	ck_assert_int_eq(write_codes(in_folder("c.safetensors"), SAE_CODES_SAFETENSORS, NULL), 0);
	ck_assert_int_eq(sae_file_open(&file, in_folder("c.safetensors"), NULL), 0);
	ck_assert_uint_eq(sae_file_n_tensors(file), ARRAY_LEN(arrays));
	for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
		check_tensor(file, arrays[i].name, arrays[i].dtype, arrays[i].n, arrays[i].want);
	ck_assert_str_eq(sae_file_metadata(file, "sae"), "a \"name\"");
	sae_file_close(file);
	leave_folder();
}
END_TEST

/* A member of the archive; *n bytes, malloc'd. */
static void *member(zip_t *z, const char *name, size_t *n)
{
	zip_file_t *f;
	zip_stat_t st;
	void *data;

	ck_assert_int_eq(zip_stat(z, name, 0, &st), 0);
	ck_assert_int_eq(st.comp_method, ZIP_CM_STORE);
	data = malloc(st.size);
	f = zip_fopen(z, name, 0);
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(zip_fread(f, data, st.size), (zip_int64_t)st.size);
	zip_fclose(f);
	*n = st.size;
	return data;
}

START_TEST(npz_reads_back)
{
	zip_t *z;
	size_t n;
	char name[32];
	void *data;
	int code;

	ck_assert_int_eq(write_codes(in_folder("c.npz"), SAE_CODES_NPZ, NULL), 0);
	z = zip_open(in_folder("c.npz"), ZIP_RDONLY, &code);
	ck_assert_ptr_nonnull(z);
	ck_assert_int_eq(zip_get_num_entries(z, 0), ARRAY_LEN(arrays) + 1);
	for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
		sae_file *file = NULL;

		snprintf(name, sizeof(name), "%s.npy", arrays[i].name);
		data = member(z, name, &n);
		support_put(in_folder("member.npy"), data, n);
		ck_assert_int_eq(sae_file_open(&file, in_folder("member.npy"), NULL), 0);
		check_tensor(file, sae_file_tensor_at(file, 0)->name, arrays[i].dtype, arrays[i].n,
		             arrays[i].want);
		sae_file_close(file);
		free(data);
	}
	data = member(z, "format.npy", &n);
	ck_assert_uint_eq(n, 131);
	ck_assert_mem_eq((const char *)data + 128, "csr", 3);
	free(data);
	zip_discard(z);
	leave_folder();
}
END_TEST

START_TEST(no_memory_leaves_nothing)
{
	sae_codes_format format = _i ? SAE_CODES_SAFETENSORS : SAE_CODES_NPZ;
	char path[FILE_PATH_MAX];

	snprintf(path, sizeof(path), "%s", in_folder("c"));
	for (long n = 0;; n++) {
		bool hit;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = write_codes(path, format, NULL);
		hit = fault_disarm(FAULT_ALLOC);
		if (!hit) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert(!file_exists(path));
	}
	leave_folder();
}
END_TEST

START_TEST(says_where_it_cannot_write)
{
	error err = { 0 };

	ck_assert_int_eq(write_codes("/no/such/folder/c.npz", SAE_CODES_NPZ, &err), ERR_IO);
	ck_assert_str_eq(err.msg, "cannot write '/no/such/folder/c.npz': No such file or directory");
}
END_TEST

static void cases(Suite *s)
{
	TCase *faults;

	SUPPORT_CASE(s, "files", safetensors_read_back, npz_reads_back, says_where_it_cannot_write);
	faults = tcase_create("faults");
	tcase_add_loop_test(faults, no_memory_leaves_nothing, 0, 2);
	suite_add_tcase(s, faults);
}

SUPPORT_MAIN("codes_file", cases)
