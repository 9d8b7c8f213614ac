/* Zip archives and .npz files: what they hold, and every way they can lie. */
#include "tests/support.h"
#include "tests/support_dump.h"
#include "tests/support_zip.h"

#include <stdlib.h>
#include <string.h>

#include "sae/file_internal.h"

#define NPY(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

/* Reading all of the tensor fails likewise. */
static void unreadable(const char *path, const char *name, const char *words)
{
	sae_file *f = tensor_file_open(path);
	const sae_tensor *t = sae_file_tensor(f, name);
	error err = { 0 };
	float *x;

	ck_assert_ptr_nonnull(t);
	x = malloc((t->count + 1) * sizeof(*x));
	ck_assert_int_eq(sae_file_read_f32(f, t, 0, t->count, x, &err), ERR_FORMAT);
	tensor_file_said(&err, path, words);
	free(x);
	sae_file_close(f);
}

/* ---- Right files --------------------------------------------------------------------------------------------------- */

enum { ROWS = 700, COLUMNS = 30 }; /* more than a buffer of the reader */

/* W (ROWS, COLUMNS) F32 with made_value(i, j), the same as T in Fortran order, ids, a number, nothing, and text. */
static void write_npz(const char *path, bool deflate, bool zip64)
{
	static float x[ROWS * COLUMNS], turned[ROWS * COLUMNS];
	static const int64_t ids[3] = { 7, -1, INT64_MAX };
	static const double half = 0.5;
	static const char *const dicts[] = {
		NPY("<f4", "False", "(700, 30)"), NPY("<f4", "True", "(700, 30)"), NPY("<i8", "True", "(3,)"),
		NPY("<f8", "False", "()"),        NPY("<f2", "False", "(0, 5)"),   NPY("|S3", "False", "()"),
		NPY("<U4", "False", "(2,)")
	};
	static const char *const names[] = { "W.npy",       "T.npy",      "ids.npy", "layer.0/half.npy",
		                             "nothing.npy", "format.npy", "text.npy" };
	const void *data[] = {
		x, turned, ids, &half, "", "csr", "a\0\0\0b\0\0\0c\0\0\0d\0\0\0e\0\0\0f\0\0\0g\0\0\0h\0\0\0"
	};
	const size_t sizes[] = { sizeof(x), sizeof(x), sizeof(ids), sizeof(half), 0, 3, 32 };
	made_member m[ARRAY_LEN(names)];
	made_zip z;

	for (uint32_t i = 0; i < ROWS; i++)
		for (uint32_t j = 0; j < COLUMNS; j++)
			x[i * COLUMNS + j] = turned[j * ROWS + i] = made_value(i, j);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		m[i] = (made_member){ names[i], NULL, 0, deflate };
		m[i].data = npy_make(&m[i].n, dicts[i], data[i], sizes[i]);
	}
	z = zip_make(m, ARRAY_LEN(names), zip64);
	support_put(path, z.bytes, z.n);
	zip_free(&z);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		free((void *)(uintptr_t)m[i].data);
}

static void check_elements(const sae_file *f, const char *name, uint64_t first, uint64_t n)
{
	static float x[ROWS * COLUMNS];
	error err = { 0 };

	ck_assert_msg(sae_file_read_f32(f, sae_file_tensor(f, name), first, n, x, &err) == 0, "%s", err.msg);
	for (uint64_t i = 0; i < n; i++)
		ck_assert_float_eq(x[i],
		                   made_value((first + i) / COLUMNS, (uint32_t)((first + i) % COLUMNS)));
}

START_TEST(reads_npz)
{
	const bool deflate = _i & 1, zip64 = _i & 2;
	const char *path = in_folder("w.npz");
	int64_t ids[3];
	error err = { 0 };
	float half;
	sae_file *f;

	write_npz(path, deflate, zip64);
	f = tensor_file_open(path);
	ck_assert_uint_eq(sae_file_n_tensors(f), 5);
	ck_assert_ptr_null(sae_file_tensor(f, "format"));
	for (size_t i = 0; i < 2; i++) {
		const char *name = i ? "T" : "W";
		const sae_tensor *t = sae_file_tensor(f, name);

		ck_assert(t && t->n_dims == 2 && t->dims[0] == ROWS && t->dims[1] == COLUMNS &&
		          t->dtype == SAE_F32);
		ck_assert_int_eq(file_is_plain(t), i == 0 && !deflate);
		check_elements(f, name, 0, ROWS * COLUMNS);
		check_elements(f, name, 100, 250); /* on from there, back, at the ends */
		check_elements(f, name, 350, 1);
		check_elements(f, name, 17, 40);
		check_elements(f, name, 60, 60);
		check_elements(f, name, 0, 0);
		check_elements(f, name, ROWS * COLUMNS - 31, 31);
		check_elements(f, name, ROWS * COLUMNS, 0);
		ck_assert_int_eq(sae_file_read_f32(f, t, ROWS * COLUMNS, 1, &half, &err), ERR_ARG);
	}
	ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor(f, "ids"), 0, 3, ids, &err), 0);
	ck_assert(ids[0] == 7 && ids[1] == -1 && ids[2] == INT64_MAX);
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor(f, "layer.0/half"), 0, 1, &half, &err), 0);
	ck_assert_float_eq(half, 0.5F);
	ck_assert_uint_eq(sae_file_tensor(f, "nothing")->count, 0);
	sae_file_close(f);
	leave_folder();
}
END_TEST

/* Integers in Fortran order, those out of range named by their place. */
START_TEST(reads_columns_of_integers)
{
	static const uint64_t x[6] = { 1, 2, 3, 4, UINT64_MAX, 6 }; /* columns (1, 2), (3, 4), (-, 6) */
	const char *path = in_folder("columns.npy");
	error err = { 0 };
	int64_t got[6];
	sae_file *f;

	support_npy(path, 1, NPY("<u8", "True", "(2, 3)"), x, sizeof(x));
	f = tensor_file_open(path);
	ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor_at(f, 0), 3, 3, got, &err), 0);
	ck_assert(got[0] == 2 && got[1] == 4 && got[2] == 6);
	ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor_at(f, 0), 1, 1, got, &err), 0);
	ck_assert_int_eq(got[0], 3);
	ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor_at(f, 0), 0, 6, got, &err), ERR_FORMAT);
	tensor_file_said(&err, path, "does not fit 63 bits");
	sae_file_close(f);
	leave_folder();
}
END_TEST

/* Threads that read one deflated member from everywhere share its cursor. */
static void read_task(void *payload, size_t i, unsigned worker)
{
	float x[64];
	const sae_file *f = payload;
	uint64_t first = hash64_mix(5, i) % (ROWS * COLUMNS - 64);

	(void)worker;
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor(f, i % 2 ? "W" : "T"), first, 64, x, NULL), 0);
	for (uint64_t j = 0; j < 64; j++)
		ck_assert_float_eq(x[j],
		                   made_value((first + j) / COLUMNS, (uint32_t)((first + j) % COLUMNS)));
}

START_TEST(reads_by_several_threads)
{
	const char *path = in_folder("t.npz");
	pool *p = NULL;
	sae_file *f;

	write_npz(path, true, false);
	f = tensor_file_open(path);
	ck_assert_int_eq(pool_new(&p, 3, NULL), 0);
	pool_run(p, 200, read_task, f);
	pool_free(p);
	sae_file_close(f);
	leave_folder();
}
END_TEST

/* ---- Wrong archives ------------------------------------------------------------------------------------------------- */

/* a.npy stored, b.npy deflated: 16 floats each, (4, 4). */
static made_zip two_members(bool zip64)
{
	static const float x[16] = { 1, 2, 3, 4, 5 };
	made_member m[2] = { { "a.npy", NULL, 0, false }, { "b.npy", NULL, 0, true } };
	made_zip z;

	m[0].data = npy_make(&m[0].n, NPY("<f4", "False", "(4, 4)"), x, sizeof(x));
	m[1].data = m[0].data;
	m[1].n = m[0].n;
	z = zip_make(m, 2, zip64);
	free((void *)(uintptr_t)m[0].data);
	return z;
}

enum { LOCAL, DATA, ENTRY, END64, END }; /* where a lie is told */

START_TEST(refuses_lying_archives)
{
	static const struct {
		bool zip64;
		int where, member;
		size_t at, size;
		uint64_t value;
		const char *words;
	} bad[] = {
		{ false, END, 0, 8, 2, 3, "several parts" },
		{ false, END, 0, 8, 4, 0x30003, "claims 3 members in 102 bytes" },
		{ false, END, 0, 8, 4, 0x10001, "more than the 1 members" },
		{ false, END, 0, 8, 4, UINT32_MAX, "claims 65535 members" },
		{ false, END, 0, 4, 2, 1, "several parts" },
		{ false, END, 0, 12, 4, 200, "zip directory is said to have 200 bytes" },
		{ false, END, 0, 16, 4, UINT32_MAX, "zip directory is said to" },
		{ false, END, 0, 20, 2, 1, "cut off" },
		{ false, END, 0, 0, 1, 0, "cut off" },
		{ true, END64, 0, 0, 1, 0, "no zip64 record" },
		{ true, END64, 0, 24, 8, UINT64_MAX, "several parts" },
		{ true, END64, 0, 32, 8, UINT64_MAX, "several parts" },
		{ true, END64, 0, 40, 8, UINT64_MAX, "zip directory is said to" },
		{ true, END64, 0, 48, 8, UINT64_MAX, "zip directory is said to" },
		{ true, END64, 0, 56 + 8, 8, UINT64_MAX, "zip64 record is said to be" },
		{ true, END64, 0, 56 + 8, 8, 0, "no zip64 record at byte 0" },
		{ false, ENTRY, 0, 0, 1, 0, "damaged" },
		{ false, ENTRY, 1, 28, 2, 65535, "damaged" },
		{ false, ENTRY, 0, 28, 2, 0, "no name" },
		{ false, ENTRY, 0, 8, 2, 1, "encrypted" },
		{ false, ENTRY, 0, 10, 2, 93, "method 93" },
		{ false, ENTRY, 0, 10, 2, 8, "contradict" },
		{ false, ENTRY, 0, 24, 4, 5000, "stored, but of 5000 bytes in" },
		{ false, ENTRY, 1, 24, 4, 1 << 30, "more than deflate can hold" },
		{ false, ENTRY, 1, 24, 4, 5000, "contradict" },
		{ false, ENTRY, 1, 16, 4, 0, "contradict" },
		{ false, ENTRY, 1, 20, 4, 1 << 30, "past byte" },
		{ false, ENTRY, 1, 20, 4, 5000, "past byte" },
		{ false, ENTRY, 1, 42, 4, 1 << 30, "past byte" },
		{ false, ENTRY, 1, 42, 4, 1, "no header for member 'b.npy'" },
		{ false, ENTRY, 1, 42, 4, 0, "no header for member 'b.npy'" },
		{ false, ENTRY, 1, 42, 4, UINT32_MAX, "lacks its 64-bit sizes" },
		{ true, ENTRY, 1, 51 + 2, 2, 23, "lacks its 64-bit sizes" },
		{ true, ENTRY, 1, 51, 2, 2, "lacks its 64-bit sizes" },
		{ true, ENTRY, 1, 51 + 4, 8, UINT64_MAX, "more than deflate can hold" },
		{ true, ENTRY, 0, 51 + 4, 8, UINT64_MAX, "stored, but of" },
		{ true, ENTRY, 1, 51 + 12, 8, UINT64_MAX, "past byte" },
		{ true, ENTRY, 1, 51 + 20, 8, UINT64_MAX, "past byte" },
		{ false, LOCAL, 0, 0, 4, 0, "is no safetensors" },
		{ false, LOCAL, 1, 0, 4, 0, "no header for member 'b.npy'" },
		{ false, LOCAL, 1, 30, 1, 'c', "no header for member 'b.npy'" },
		{ false, LOCAL, 1, 28, 2, 65535, "ends past byte" },
		{ false, LOCAL, 0, 28, 2, 40, "overlap" },
		{ false, LOCAL, 0, 6, 2, 1, "contradict" },
		{ false, LOCAL, 0, 22, 4, 5000, "contradict" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *path = in_folder("bad.npz");
		made_zip z = two_members(bad[i].zip64);
		const size_t where[] = { z.local[bad[i].member], z.data[bad[i].member],
			                 z.entry[bad[i].member], z.end64, z.end };

		zip_patch(&z, where[bad[i].where] + bad[i].at, bad[i].value, bad[i].size);
		support_put(path, z.bytes, z.n);
		tensor_file_refused(path, bad[i].words);
		zip_free(&z);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_names_that_leave_the_folder)
{
	static const char *const bad[] = { "../x.npy", "/x.npy",   "a/../b.npy", "a/..",    "..",
		                           "a\\b.npy", "a\nb.npy", "a\x7f.npy",  "\x1b[2J", "a\xff.npy" };
	static const char *const good[] = { "..x.npy", "a/b.npy", "a..npy", "./x.npy" };
	const char *path = in_folder("names.npz");
	size_t n;
	unsigned char *npy = npy_make(&n, NPY("<f4", "False", "(0,)"), "", 0);

	for (size_t i = 0; i < ARRAY_LEN(bad) + ARRAY_LEN(good); i++) {
		const made_member m = { i < ARRAY_LEN(bad) ? bad[i] : good[i - ARRAY_LEN(bad)], npy, n,
			                false };
		made_zip z = zip_make(&m, 1, false);

		support_put(path, z.bytes, z.n);
		if (i < ARRAY_LEN(bad))
			tensor_file_refused(path, "is no name for a member");
		else
			sae_file_close(tensor_file_open(path));
		zip_free(&z);
	}
	free(npy);
	leave_folder();
}
END_TEST

/* Two members of one name, and one member's bytes as two members. */
START_TEST(refuses_members_twice)
{
	const char *path = in_folder("twice.npz");
	made_zip z = two_members(false);

	zip_patch(&z, z.local[1] + 30, 'a', 1);
	zip_patch(&z, z.entry[1] + 46, 'a', 1);
	support_put(path, z.bytes, z.n);
	tensor_file_refused(path, "has the member 'a.npy' twice");
	memcpy(z.bytes + z.entry[1], z.bytes + z.entry[0], z.entry[1] - z.entry[0]);
	support_put(path, z.bytes, z.n);
	tensor_file_refused(path, "overlap");
	zip_free(&z);
	leave_folder();
}
END_TEST

START_TEST(refuses_every_cut)
{
	const char *path = in_folder("cut.npz");
	made_zip z = two_members(true);

	for (size_t n = 0; n < z.n; n++) {
		error err = { 0 };
		sae_file *f = NULL;

		support_put(path, z.bytes, n);
		ck_assert_int_eq(sae_file_open(&f, path, &err), ERR_FORMAT);
		tensor_file_said(&err, path, n < 9 ? "too short" : "cut off");
	}
	zip_free(&z);
	leave_folder();
}
END_TEST

/* Elements of a (16) in pieces that meet, in this order: the last one finds the damage. */
static void damage_is_found_in_pieces(const char *path)
{
	static const unsigned char from[] = { 3, 12, 0, 9, 5, 1 }, to[] = { 5, 16, 3, 12, 6, 3 };
	sae_file *f = tensor_file_open(path);
	error err = { 0 };
	float x[16];

	for (size_t i = 0; i < ARRAY_LEN(from); i++)
		ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor(f, "a"), from[i],
		                                   (uint64_t)to[i] - from[i], x, &err),
		                 0);
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor(f, "a"), 6, 3, x, &err), ERR_FORMAT);
	tensor_file_said(&err, path, "damaged: its CRC is");
	sae_file_close(f);
}

START_TEST(refuses_damaged_members)
{
	const char *path = in_folder("damaged.npz");
	made_zip z = two_members(false);
	size_t last = z.local[1] - 1; /* of a.npy */

	z.bytes[last] ^= 1;
	support_put(path, z.bytes, z.n);
	unreadable(path, "a", "damaged: its CRC is");
	damage_is_found_in_pieces(path);
	z.bytes[last] ^= 1;
	zip_patch(&z, z.local[1] + 14, 1, 4);
	zip_patch(&z, z.entry[1] + 16, 1, 4);
	support_put(path, z.bytes, z.n);
	unreadable(path, "b", "damaged: its CRC is");
	memset(z.bytes + z.data[1], 0xff, 4);
	support_put(path, z.bytes, z.n);
	tensor_file_refused(path, "damaged: invalid block type");
	zip_free(&z);
	leave_folder();
}
END_TEST

/* A member whose claim goes with its header, but not with what deflate makes of it. */
START_TEST(refuses_what_inflates_to_another_size)
{
	static const float x[64];
	const char *path = in_folder("size.npz");
	made_member m = { "b.npy", NULL, 0, true };

	for (int i = 0; i < 2; i++) {
		size_t right;
		made_zip z;

		m.data = npy_make(&m.n, i ? NPY("<f4", "False", "(68,)") : NPY("<f4", "False", "(60,)"), x,
		                  sizeof(x));
		z = zip_make(&m, 1, false);
		right = i ? m.n + 16 : m.n - 16;
		zip_patch(&z, z.local[0] + 22, right, 4);
		zip_patch(&z, z.entry[0] + 24, right, 4);
		support_put(path, z.bytes, z.n);
		unreadable(path, "b", i ? "it claims" : "holds more than the");
		zip_free(&z);
		free((void *)(uintptr_t)m.data);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_lying_members)
{
	static const struct {
		const char *name, *dict; /* with 64 bytes behind it */
		const char *words;
	} bad[] = {
		{ "x.npy", NPY("<f4", "False", "(17,)"),
		  "member x.npy': shape and descr ask for 68 bytes, 64 are" },
		{ "x.npy", NPY("<f4", "False", "(1099511627776,)"), "ask for 4398046511104 bytes, 64 are" },
		{ "x.npy", NPY("<f4", "False", "(4294967296, 4294967296)"), "overflows" },
		{ "x.npy", NPY("<f4", "True", "(2, 2, 4)"), "Fortran order" },
		{ "x.npy", NPY("|O", "False", "(8,)"), "'|O', which is not supported" },
		{ "x.npy", "{", "not a dict" },
		{ "x.txt", "{}", "its member 'x.txt' is no .npy file" },
	};
	static const char data[64];

	for (size_t i = 0; i < 2 * ARRAY_LEN(bad); i++) {
		const char *path = in_folder("member.npz");
		made_member m = { bad[i / 2].name, NULL, 0, i % 2 };
		made_zip z;

		m.data = npy_make(&m.n, bad[i / 2].dict, data, sizeof(data));
		z = zip_make(&m, 1, false);
		support_put(path, z.bytes, z.n);
		tensor_file_refused(path, bad[i / 2].words);
		zip_free(&z);
		free((void *)(uintptr_t)m.data);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_members_that_are_no_npy)
{
	const char *path = in_folder("no.npz");
	const made_member m[] = { { "x.npy", "PK", 2, false }, { "y.npy", "", 0, true } };

	for (size_t i = 0; i < ARRAY_LEN(m); i++) {
		made_zip z = zip_make(&m[i], 1, false);

		support_put(path, z.bytes, z.n);
		tensor_file_refused(path, "is no .npy file (by its first bytes)");
		zip_free(&z);
	}
	leave_folder();
}
END_TEST

/* ---- As dumps ------------------------------------------------------------------------------------------------------- */

START_TEST(dumps_are_plain)
{
	const char *path = in_folder("d.npz");
	const sae_dump_opts turned = { .key = "T" }, plain = { .key = "W" };
	sae_dump *d = NULL;
	error err = { 0 };
	float x[COLUMNS];

	write_npz(path, false, true);
	ck_assert_msg(sae_dump_open(&d, &path, 1, &plain, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(sae_dump_get_info(d)->n_rows, ROWS);
	ck_assert_int_eq(sae_dump_read(d, ROWS - 1, 1, x, &err), 0);
	for (uint32_t j = 0; j < COLUMNS; j++)
		ck_assert_float_eq(x[j], made_value(ROWS - 1, j));
	sae_dump_close(d);
	d = NULL;
	ck_assert_int_eq(sae_dump_open(&d, &path, 1, &turned, &err), ERR_FORMAT);
	tensor_file_said(&err, path, "'T' is in Fortran order");
	write_npz(path, true, false);
	ck_assert_int_eq(sae_dump_open(&d, &path, 1, &plain, &err), ERR_FORMAT);
	tensor_file_said(&err, path, "'W' is compressed; save it uncompressed");
	leave_folder();
}
END_TEST

/* A folder of .npz files, where it has none of the other kinds. */
START_TEST(dumps_are_folders_of_archives)
{
	static int32_t ids[2 * ROWS];
	const char *second = in_folder("b.npz"), *tokens = in_folder("tokens.zip");
	const sae_dump_opts key = { .key = "W", .tokens = tokens };
	made_member m = { "ids.npy", NULL, 0, true }; /* compressed: they are read in order */
	made_zip z;
	char folder[FILE_PATH_MAX];
	const char *path = folder;
	sae_dump *d = NULL;
	error err = { 0 };
	float x[2 * COLUMNS];
	uint32_t token;

	write_npz(in_folder("a.npz"), false, true);
	write_npz(second, false, false);
	for (int32_t i = 0; i < 2 * ROWS; i++)
		ids[i] = 3 * i;
	m.data = npy_make(&m.n, NPY("<i4", "False", "(1400,)"), ids, sizeof(ids));
	z = zip_make(&m, 1, false);
	support_put(tokens, z.bytes, z.n);
	zip_free(&z);
	free((void *)(uintptr_t)m.data);
	snprintf(folder, sizeof(folder), "%.*s", (int)(file_base(second) - second - 1), second);
	ck_assert_msg(sae_dump_open(&d, &path, 1, &key, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(sae_dump_get_info(d)->n_rows, 2 * ROWS);
	ck_assert_int_eq(sae_dump_read(d, ROWS - 1, 2, x, &err), 0);
	ck_assert_float_eq(x[COLUMNS - 1], made_value(ROWS - 1, COLUMNS - 1));
	ck_assert_float_eq(x[COLUMNS + 1], made_value(0, 1));
	ck_assert_int_eq(sae_dump_tokens(d, 1000, &token, &err), 0);
	ck_assert_uint_eq(token, 3000);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* ---- Faults --------------------------------------------------------------------------------------------------------- */

START_TEST(survives_every_fault)
{
	const char *path = in_folder("fault.npz");

	write_npz(path, _i, false);
	tensor_file_survive(path, FAULT_ALLOC, ERR_NOMEM, "T");
	tensor_file_survive(path, FAULT_READ, ERR_IO, "T");
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	TCase *reading =
	        SUPPORT_CASE(s, "right archives", reads_columns_of_integers, reads_by_several_threads,
	                     dumps_are_plain, dumps_are_folders_of_archives);
	TCase *faults = tcase_create("faults");

	tcase_add_loop_test(reading, reads_npz, 0, 4);
	SUPPORT_CASE(s, "wrong archives", refuses_lying_archives, refuses_names_that_leave_the_folder,
	             refuses_members_twice, refuses_every_cut, refuses_damaged_members,
	             refuses_what_inflates_to_another_size, refuses_lying_members,
	             refuses_members_that_are_no_npy);
	tcase_add_loop_test(faults, survives_every_fault, 0, 2);
	suite_add_tcase(s, faults);
}

SUPPORT_MAIN("archives", cases)
