/* Tensor files: number formats, .safetensors, .npy, and every way their headers can lie. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sae/file_internal.h"
#include "sae/turn.h"

/* ---- Number formats ------------------------------------------------------------------------------------------------ */

static double half_value(unsigned h)
{
	double m = h & 0x3ff, sign = h & 0x8000 ? -1 : 1;
	int e = (int)(h >> 10 & 31);

	return sign * (e == 0 ? ldexp(m, -24) : ldexp(m + 1024, e - 25));
}

START_TEST(halves_have_their_values)
{
	for (unsigned h = 0; h < 65536; h++) {
		uint16_t in = (uint16_t)h, back;
		float x;
		convert_scalar.f16_to_f32(&x, &in, 1);
		if ((h >> 10 & 31) == 31) {
			ck_assert((h & 0x3ff) ? isnan(x) : isinf(x));
			ck_assert_int_eq(!!signbit(x), h >> 15);
		} else
			ck_assert_double_eq((double)x, half_value(h));
		convert_scalar.f32_to_f16(&back, &x, 1);
		if (!isnan(x))
			ck_assert_int_eq(back, h);
		else
			ck_assert((back & 0x7c00) == 0x7c00 && (back & 0x3ff));
	}
}
END_TEST

/* Between two neighbouring halves: below the middle, the middle (to even), above it. */
START_TEST(halves_round_to_nearest_even)
{
	for (unsigned h = 0; h < 0x7bff; h++) {
		float low = (float)half_value(h), high = (float)half_value(h + 1),
		      middle = low + (high - low) / 2;
		float x[3] = { nextafterf(middle, 0), middle, nextafterf(middle, INFINITY) };
		uint16_t got[3];
		convert_scalar.f32_to_f16(got, x, 3);
		ck_assert_uint_eq(got[0], h);
		ck_assert_uint_eq(got[1], h & 1 ? h + 1 : h);
		ck_assert_uint_eq(got[2], h + 1);
	}
}
END_TEST

START_TEST(avx2_has_the_same_bits)
{
	enum { N = 70000 };
	const convert_kernels *k = convert_kernels_get("avx2");
	uint16_t *half = malloc(N * sizeof(*half)), *got16 = malloc(N * sizeof(*half)),
	         *want16 = malloc(N * sizeof(*half));
	float *x = malloc(N * sizeof(*x)), *got = malloc(N * sizeof(*x)), *want = malloc(N * sizeof(*x));

	ck_assert(half && got16 && want16 && x && got && want);
	for (size_t i = 0; i < N; i++) {
		uint32_t bits = (uint32_t)hash64_mix(3, i);
		half[i] = (uint16_t)i;
		if (i % 2) /* exponents of halves and around */
			bits = (bits & 0x807fffff) | (96 + bits / 512 % 56) << 23;
		memcpy(&x[i], &bits, sizeof(bits));
	}
	for (size_t n = N; k && n > 0; n = n > N - 20 ? n - 1 : n > 20 ? 20 : n - 1) {
		k->f16_to_f32(got, half, n);
		convert_scalar.f16_to_f32(want, half, n);
		ck_assert_mem_eq(got, want, n * sizeof(*got));
		k->bf16_to_f32(got, half, n);
		convert_scalar.bf16_to_f32(want, half, n);
		ck_assert_mem_eq(got, want, n * sizeof(*got));
		k->f32_to_f16(got16, x, n);
		convert_scalar.f32_to_f16(want16, x, n);
		ck_assert_mem_eq(got16, want16, n * sizeof(*got16));
	}
	ck_assert_ptr_null(convert_kernels_get("none"));
	free(half);
	free(got16);
	free(want16);
	free(x);
	free(got);
	free(want);
}
END_TEST

/* Every size up to some tiles, aligned or not, from rows and to columns with something between them. */
START_TEST(avx2_turns_as_the_definition)
{
	enum { MOST = 40, PITCH = 48 };
	const turn_kernels *k = turn_kernels_get("avx2");
	float *in = mem_alloc_aligned(MOST * PITCH + 1, sizeof(float)),
	      *got = mem_alloc_aligned(MOST * PITCH + 1, sizeof(float)),
	      *want = mem_alloc_aligned(MOST * PITCH + 1, sizeof(float));

	ck_assert(in && got && want);
	for (size_t i = 0; i < MOST * PITCH + 1; i++)
		in[i] = (float)i;
	for (size_t shift = 0; shift < 2; shift++)
		for (size_t rows = 0; rows <= MOST; rows++)
			for (size_t columns = 0; columns <= MOST; columns++) {
				memset(got, 0, MOST * PITCH * sizeof(float));
				memset(want, 0, MOST * PITCH * sizeof(float));
				turn_scalar.turn(want + shift, PITCH - shift, in, PITCH - 1, rows, columns);
				turn_floats(got + shift, PITCH - shift, in, PITCH - 1, rows, columns);
				ck_assert_int_eq(memcmp(got, want, MOST * PITCH * sizeof(float)), 0);
				if (!k || rows > TURN_ROWS)
					continue;
				memset(got, 0, MOST * PITCH * sizeof(float));
				k->turn(got + shift, PITCH - shift, in, PITCH - 1, rows, columns);
				ck_assert_int_eq(memcmp(got, want, MOST * PITCH * sizeof(float)), 0);
			}
	turn_floats(got, 1, in, PITCH, 1, 3);
	ck_assert(got[0] == in[0] && got[1] == in[1] && got[2] == in[2]);
	ck_assert_ptr_null(turn_kernels_get("none"));
	free(in);
	free(got);
	free(want);
}
END_TEST

/* ---- Right files --------------------------------------------------------------------------------------------------- */

START_TEST(writes_and_reads_safetensors)
{
	static const float a[6] = { 1, -2, 3.5F, 0, 1e30F, -1e-30F };
	static const int64_t b[2] = { INT64_MIN, INT64_MAX };
	static const sae_tensor_out out[] = {
		{ .name = "a \"quoted\"", .dtype = SAE_F32, .n_dims = 2, .dims = { 2, 3 }, .data = a },
		{ .name = "none", .dtype = SAE_I32, .n_dims = 3, .dims = { 4, 0, UINT32_MAX }, .data = NULL },
		{ .name = "b", .dtype = SAE_I64, .n_dims = 1, .dims = { 2 }, .data = b },
		{ .name = "scalar", .dtype = SAE_F32, .n_dims = 0, .data = a },
	};
	static const char *const meta[] = { "format", "pt", "note", "two\nlines" };
	const char *path = in_folder("w.safetensors");
	error err = { 0 };
	const sae_tensor *t;
	sae_file *f;
	float x[4];
	int64_t n[2];

	ck_assert_msg(sae_safetensors_write(path, out, 4, meta, 2, &err) == 0, "%s", err.msg);
	f = tensor_file_open(path);
	ck_assert_uint_eq(sae_file_n_tensors(f), 4);
	ck_assert_str_eq(sae_file_metadata(f, "note"), "two\nlines");
	ck_assert_ptr_null(sae_file_metadata(f, "nothing"));
	ck_assert_ptr_null(sae_file_tensor(f, "c"));
	t = sae_file_tensor(f, "a \"quoted\"");
	ck_assert(t && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3 && t->count == 6 &&
	          t->offset % 8 == 0);
	ck_assert_int_eq(sae_file_read_f32(f, t, 2, 4, x, &err), 0);
	ck_assert_mem_eq(x, a + 2, sizeof(x));
	ck_assert_int_eq(sae_file_read_f32(f, t, 3, 4, x, &err), ERR_ARG);
	ck_assert_int_eq(sae_file_read_i64(f, t, 0, 1, n, &err), ERR_FORMAT);
	t = sae_file_tensor(f, "b");
	ck_assert_int_eq(sae_file_read_i64(f, t, 0, 2, n, &err), 0);
	ck_assert_mem_eq(n, b, sizeof(n));
	ck_assert_int_eq(sae_file_read_f32(f, t, 0, 1, x, &err), ERR_FORMAT);
	ck_assert_uint_eq(sae_file_tensor(f, "scalar")->count, 1);
	ck_assert_uint_eq(sae_file_tensor(f, "none")->count, 0);
	sae_file_close(f);
	leave_folder();
}
END_TEST

START_TEST(reads_every_float_dtype_from_both)
{
	static const sae_dtype dtypes[] = { SAE_F16, SAE_BF16, SAE_F32, SAE_F64 };
	enum { N = 40000 }; /* more than one block of the reader */
	float *want = malloc(N * sizeof(*want)), *got = malloc(N * sizeof(*got));
	error err = { 0 };

	ck_assert(want && got);
	for (uint32_t i = 0; i < N; i++)
		want[i] = made_value(i, 0);
	for (size_t i = 0; i < 2 * ARRAY_LEN(dtypes); i++) {
		sae_dtype t = dtypes[i / 2];
		bool npy = i % 2;
		const char *path = in_folder("t");
		void *data = made_encode(want, N, t);
		sae_tensor_out out = { .name = "t", .dtype = t, .n_dims = 1, .dims = { N }, .data = data };
		sae_file *f;
		if (npy && t == SAE_BF16) {
			free(data);
			continue;
		}
		if (npy)
			support_npy(
			        path, 2,
			        t == SAE_F16 ? "{'descr': '<f2', 'fortran_order': False, 'shape': (40000,), }"
			        : t == SAE_F32 ? "{'shape':(40000,),'descr':\"<f4\",'fortran_order':False}\n"
			                       : "{ 'descr' : '<f8', 'fortran_order' : False, 'shape' : ( "
			                         "40000 , ) }  \n",
			        data, N * sae_dtype_size(t));
		else
			ck_assert_int_eq(sae_safetensors_write(path, &out, 1, NULL, 0, &err), 0);
		f = tensor_file_open(path);
		ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor_at(f, 0), 1, N - 1, got, &err), 0);
		ck_assert_mem_eq(got, want + 1, (N - 1) * sizeof(*got));
		sae_file_close(f);
		free(data);
	}
	free(want);
	free(got);
	leave_folder();
}
END_TEST

START_TEST(reads_every_integer_dtype)
{
	static const struct {
		const char *descr;
		size_t size;
		int64_t lowest;
	} kinds[] = { { "|i1", 1, INT8_MIN },   { "<i2", 2, INT16_MIN }, { "<i4", 4, INT32_MIN },
		      { "<i8", 8, INT64_MIN },  { "|u1", 1, 0x80 },      { "<u2", 2, 0x8000 },
		      { "<u4", 4, 0x80000000 }, { "|b1", 1, 1 } };
	error err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const char *path = in_folder("i.npy");
		int64_t values[2] = { 1, kinds[i].lowest }, got[2];
		char dict[100], data[16];
		sae_file *f;
		memcpy(data, &values[0], kinds[i].size);
		memcpy(data + kinds[i].size, &values[1], kinds[i].size);
		snprintf(dict, sizeof(dict), "{'descr': '%s', 'fortran_order': False, 'shape': (2,)}",
		         kinds[i].descr);
		support_npy(path, 3, dict, data, 2 * kinds[i].size);
		f = tensor_file_open(path);
		ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor_at(f, 0), 0, 2, got, &err), 0);
		ck_assert_mem_eq(got, values, sizeof(got));
		sae_file_close(f);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_integers_past_63_bits)
{
	static const uint64_t values[2] = { INT64_MAX, UINT64_C(1) << 63 };
	const char *path = in_folder("u.npy");
	error err = { 0 };
	int64_t got[2];
	sae_file *f;

	support_npy(path, 1, "{'descr': '<u8', 'fortran_order': False, 'shape': (2,)}", values,
	            sizeof(values));
	f = tensor_file_open(path);
	ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor_at(f, 0), 0, 1, got, &err), 0);
	ck_assert_int_eq(sae_file_read_i64(f, sae_file_tensor_at(f, 0), 0, 2, got, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "element 1") != NULL, "%s", err.msg);
	sae_file_close(f);
	leave_folder();
}
END_TEST

/* ---- Wrong files --------------------------------------------------------------------------------------------------- */

#define ONE(dtype, shape, offsets)                                                                           \
	"{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

START_TEST(refuses_lying_safetensors)
{
	static const struct {
		const char *header; /* with 64 bytes behind it */
		const char *words;
	} bad[] = {
		{ ONE("\"F32\"", "[16]", "[0,60]"), "its shape and dtype F32 ask for 64" },
		{ ONE("\"F32\"", "[15]", "[0,60]"), "4 bytes behind the last tensor" },
		{ ONE("\"F32\"", "[15]", "[4,64]"), "invalid offset" },
		{ ONE("\"F32\"", "[17]", "[0,68]"), "past the end of the file" },
		{ ONE("\"F32\"", "[4294967296,4294967296]", "[0,64]"), "overflows" },
		{ ONE("\"F64\"", "[2305843009213693952]", "[0,64]"), "not a whole number" },
		{ ONE("\"F64\"", "[4503599627370496,1024]", "[0,64]"), "overflows" },
		{ ONE("\"F32\"", "[-1]", "[0,64]"), "not a whole number" },
		{ ONE("\"F32\"", "[1.5]", "[0,6]"), "not a whole number" },
		{ ONE("\"F32\"", "[\"16\"]", "[0,64]"), "not a whole number" },
		{ ONE("\"F32\"", "16", "[0,64]"), "no shape" },
		{ ONE("\"F32\"", "[1,1,1,1,1,1,1,1,16]", "[0,64]"), "more than 8 dimensions" },
		{ ONE("\"F8_E4M3\"", "[64]", "[0,64]"), "'F8_E4M3', which is not supported" },
		{ ONE("7", "[64]", "[0,64]"), "no dtype" },
		{ ONE("\"U8\"", "[64]", "[64,0]"), "no valid data_offsets" },
		{ ONE("\"U8\"", "[64]", "[0]"), "no valid data_offsets" },
		{ ONE("\"U8\"", "[64]", "{\"a\":0,\"b\":64}"), "no valid data_offsets" },
		{ ONE("\"U8\"", "[64]", "[0,1e300]"), "no valid data_offsets" },
		{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[40],\"data_offsets\":[0,40]},"
		  "\"b\":{\"dtype\":\"U8\",\"shape\":[40],\"data_offsets\":[24,64]}}",
		  "inside the one that ends at byte" },
		{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[20],\"data_offsets\":[0,20]},"
		  "\"b\":{\"dtype\":\"U8\",\"shape\":[40],\"data_offsets\":[24,64]}}",
		  "invalid offset" },
		{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[0,32]},"
		  "\"a\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[32,64]}}",
		  "twice" },
		{ "{\"__metadata__\":{\"a\":1},\"t\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[0,64]"
		  "}}",
		  "is not a string" },
		{ "{\"__metadata__\":[]}", "__metadata__ is not an object" },
		{ "{\"t\":[]}", "no dtype" },
		{ "{\"t\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[0,64]}", "not valid JSON" },
		{ "{\"t\":[[[[[[[[[[]]]]]]]]]]}", "deep" },
	};
	static const char data[64];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *path = in_folder("bad.safetensors");
		support_safetensors(path, bad[i].header, data, sizeof(data));
		tensor_file_refused(path, bad[i].words);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_lying_header_lengths)
{
	const char *path = in_folder("length.safetensors");
	char bytes[64] = "........{}";
	static const struct {
		uint64_t length;
		const char *words;
	} bad[] = { { UINT64_MAX, "at most 100000000" },
		    { 100000001, "at most 100000000" },
		    { 57, "the file has 64" },
		    { 100000000, "the file has 64" },
		    { 1, "not valid JSON" } };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memcpy(bytes, &bad[i].length, 8);
		support_put(path, bytes, sizeof(bytes));
		tensor_file_refused(path, bad[i].words);
	}
	support_put(path, bytes, 8);
	tensor_file_refused(path, "too short");
	support_put_text(path, "PK\3\5 something else entirely");
	tensor_file_refused(path, "is no safetensors");
	leave_folder();
}
END_TEST

START_TEST(refuses_headers_of_too_many_values)
{
	size_t n = (1 << 22) + 100;
	char *header = malloc(n + 1);
	const char *path = in_folder("many.safetensors");

	ck_assert_ptr_nonnull(header);
	memset(header, ',', n);
	header[0] = '{';
	header[n] = '\0';
	support_safetensors(path, header, NULL, 0);
	tensor_file_refused(path, "more than 4194304 values");
	free(header);
	leave_folder();
}
END_TEST

START_TEST(refuses_lying_npy)
{
	static const struct {
		const char *dict; /* with 64 bytes behind it */
		const char *words;
	} bad[] = {
		{ "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2, 4), }", "Fortran order" },
		{ "{'descr': '<U4', 'fortran_order': False, 'shape': (4,), }", "holds text, not numbers" },
		{ "{'descr': '>f4', 'fortran_order': False, 'shape': (16,), }", "big-endian" },
		{ "{'descr': '<f16', 'fortran_order': False, 'shape': (4,), }",
		  "'<f16', which is not supported" },
		{ "{'descr': '|O', 'fortran_order': False, 'shape': (8,), }",
		  "'|O', which is not supported" },
		{ "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (16,), }",
		  "not the name of one number type" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (17,), }", "ask for 68 bytes, 64 are" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (15,), }", "ask for 60 bytes, 64 are" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
		  "overflows" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
		  "overflows" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "whole numbers" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (4 4), }", "whole numbers" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }", "whole numbers" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': 16, }", "not a tuple" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,16), }",
		  "more than 8" },
		{ "{'descr': '<f4', 'fortran_order': 0, 'shape': (16,), }", "neither True nor False" },
		{ "{'descr': '<f4', 'shape': (16,), }", "lacks" },
		{ "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (16,), }", "twice" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (16,), 'x': 1}", "unknown key 'x'" },
		{ "{'descr': '<f4', 'fortran_order': False, 'shape': (16,), } + f()", "text behind" },
		{ "{'descr': '<f4' 'fortran_order': False, 'shape': (16,), }", "not a dict" },
		{ "{'descr': '<f4\\'', 'fortran_order': False, 'shape': (16,), }", "not the name" },
		{ "['descr']", "not a dict" },
		{ "{", "not a dict" },
		{ "{'descr", "not a dict" },
		{ "", "not a dict" },
	};
	static const char data[64];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *path = in_folder("bad.npy");
		support_npy(path, 1 + (int)i % 3, bad[i].dict, data, sizeof(data));
		tensor_file_refused(path, bad[i].words);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_lying_npy_preambles)
{
	const char *path = in_folder("short.npy");

	support_put(path, "\x93NUMPY\x04\x00\x10\x00{}", 12);
	tensor_file_refused(path, "version 4.0");
	support_put(path, "\x93NUMPY\x01\x00\xff\xff{}", 12);
	tensor_file_refused(path, "claims 65535 bytes");
	support_put(path, "\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14);
	tensor_file_refused(path, "at most 1048576");
	support_put(path, "\x93NUMPY\x02\x00\x01", 9);
	tensor_file_refused(path, "the file has 9");
	support_put(path, "\x93NUMPY\x01\x00\x02\x00{\0", 12);
	tensor_file_refused(path, "NUL");
	leave_folder();
}
END_TEST

START_TEST(notices_a_file_that_shrinks)
{
	static const float x[100];
	static const sae_tensor_out out = {
		.name = "t", .dtype = SAE_F32, .n_dims = 1, .dims = { 100 }, .data = x
	};
	const char *path = in_folder("shrinks.safetensors");
	error err = { 0 };
	float got[100];
	sae_file *f;

	ck_assert_int_eq(sae_safetensors_write(path, &out, 1, NULL, 0, &err), 0);
	f = tensor_file_open(path);
	ck_assert_int_eq(truncate(path, 200), 0);
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor_at(f, 0), 0, 100, got, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "200") && strstr(err.msg, "shrinks"), "%s", err.msg);
	sae_file_close(f);
	tensor_file_refused(path, "past the end of the file (200)");
	leave_folder();
}
END_TEST

/* ---- Faults -------------------------------------------------------------------------------------------------------- */

START_TEST(opening_survives_every_fault)
{
	static const char data[64];
	const char *npy = in_folder("ok.npy"), *st = in_folder("ok.safetensors");

	support_npy(npy, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (16,), }", data, sizeof(data));
	support_safetensors(st,
	                    "{\"__metadata__\":{\"a\":\"b\"},"
	                    "\"t\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[0,64]}}",
	                    data, sizeof(data));
	tensor_file_survive(npy, FAULT_ALLOC, ERR_NOMEM, NULL);
	tensor_file_survive(npy, FAULT_READ, ERR_IO, NULL);
	tensor_file_survive(st, FAULT_ALLOC, ERR_NOMEM, NULL);
	tensor_file_survive(st, FAULT_READ, ERR_IO, NULL);
	leave_folder();
}
END_TEST

START_TEST(writing_is_whole_or_nothing)
{
	static const float x[100];
	static const sae_tensor_out out = {
		.name = "t", .dtype = SAE_F32, .n_dims = 1, .dims = { 100 }, .data = x
	};
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_WRITE, FAULT_SYNC };
	const char *path = in_folder("whole.safetensors");

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			int rc;
			fault_arm(kinds[i], n);
			rc = sae_safetensors_write(path, &out, 1, NULL, 0, NULL);
			if (!fault_disarm(kinds[i])) {
				ck_assert_int_eq(rc, 0);
				ck_assert_int_eq(remove(path), 0);
				break;
			}
			ck_assert_int_eq(rc, kinds[i] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
			ck_assert(!file_exists(in_folder("whole.safetensors.part")));
			if (file_exists(path)) { /* only the folder's sync failed: the file is whole */
				sae_file_close(tensor_file_open(path));
				ck_assert_int_eq(remove(path), 0);
			}
		}
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "numbers", halves_have_their_values, halves_round_to_nearest_even,
	             avx2_has_the_same_bits, avx2_turns_as_the_definition);
	SUPPORT_CASE(s, "right files", writes_and_reads_safetensors, reads_every_float_dtype_from_both,
	             reads_every_integer_dtype, refuses_integers_past_63_bits);
	SUPPORT_CASE(s, "wrong files", refuses_lying_safetensors, refuses_lying_header_lengths,
	             refuses_headers_of_too_many_values, refuses_lying_npy, refuses_lying_npy_preambles,
	             notices_a_file_that_shrinks);
	SUPPORT_CASE(s, "faults", opening_survives_every_fault, writing_is_whole_or_nothing);
}

SUPPORT_MAIN("containers", cases)
