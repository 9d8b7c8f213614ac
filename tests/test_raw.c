/* Raw memory maps, what is said of them, and dumps whose rows lie apart in the files: one layer of several, one head of a row. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <stdlib.h>
#include <string.h>

#include "sae/dump_internal.h"

enum { ROWS = 12, D = 6 };

/* `n` values made_value(first + i / d, i % d) of the dtype. */
static void put_raw(const char *path, sae_dtype dtype, uint64_t first, uint64_t n, uint32_t d)
{
	float *x = malloc(n * sizeof(*x));
	void *bytes;

	ck_assert_ptr_nonnull(x);
	for (uint64_t i = 0; i < n; i++)
		x[i] = made_value(first + i / d, (uint32_t)(i % d));
	bytes = made_encode(x, n, dtype);
	support_put(path, bytes, n * sae_dtype_size(dtype));
	free(bytes);
	free(x);
}

/* The dump at path is made_value() over rows and columns, read in both ways, at every row. */
static void holds(const char *path, const sae_dump_opts *o, sae_dtype dtype, uint64_t n_rows, uint32_t d)
{
	sae_dump *dump = made_dump_open(path, o);
	const sae_dump_info *info = sae_dump_get_info(dump);
	float *x = malloc(n_rows * d * sizeof(*x)), *y = malloc(n_rows * d * sizeof(*y));
	void *raw = malloc(n_rows * d * sizeof(double));
	error err = { 0 };

	ck_assert(x && y && raw);
	ck_assert_uint_eq(info->n_rows, n_rows);
	ck_assert_uint_eq(info->d_in, d);
	ck_assert_int_eq(info->dtype, dtype);
	for (uint64_t first = 0; first < n_rows; first++) {
		ck_assert_msg(sae_dump_read(dump, first, n_rows - first, x, &err) == 0, "%s", err.msg);
		ck_assert_msg(dump_read_raw(dump, first, n_rows - first, raw, &err) == 0, "%s", err.msg);
		convert_to_f32(y, raw, (n_rows - first) * d, dtype);
		for (uint64_t i = 0; i < (n_rows - first) * d; i++) {
			ck_assert(x[i] == made_value(first + i / d, (uint32_t)(i % d)));
			ck_assert(y[i] == x[i]);
		}
	}
	dump_advise(dump, 0, n_rows, 0);
	ck_assert_int_eq(sae_dump_read(dump, n_rows, 1, x, &err), ERR_ARG);
	free(raw);
	free(x);
	free(y);
	sae_dump_close(dump);
}

/* ---- Raw files ----------------------------------------------------------------------------------------------------- */

START_TEST(reads_what_options_say)
{
	static const struct {
		const char *name;
		sae_dtype dtype;
	} kinds[] = { { "f16", SAE_F16 }, { "bf16", SAE_BF16 }, { "f32", SAE_F32 }, { "f64", SAE_F64 } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		sae_dump_opts o = { .dtype = kinds[i].name, .d_in = D };
		put_raw(in_folder("a.bin"), kinds[i].dtype, 0, ROWS * D, D);
		holds(in_folder("a.bin"), &o, kinds[i].dtype, ROWS, D);
	}
	leave_folder();
}
END_TEST

START_TEST(reads_what_a_side_file_says)
{
	static const struct {
		const char *file, *side, *json;
		sae_dtype dtype;
	} cases[] = {
		{ "a.bin", "a.json", "{\"dtype\":\"float16\",\"shape\":[12,6]}", SAE_F16 },
		{ "a.bin", "a.bin.json", "{\"shape\":[3,4,6],\"dtype\":\"<f8\"}", SAE_F64 },
		{ "a.memmap", "a.meta", "{\"dtype\":\"torch.bfloat16\",\"shape\":[12,6]}", SAE_BF16 },
		{ "a.memmap", "a.meta", "{\"shape\":[12,6]}", SAE_F32 },
		{ "a.bin", "a.json", "{\"dtype\":\"F32\",\"shape\":[12,6],\"more\":1}", SAE_F32 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_raw(in_folder(cases[i].file), cases[i].dtype, 0, ROWS * D, D);
		support_put_text(in_folder(cases[i].side), cases[i].json);
		holds(in_folder(cases[i].file), NULL, cases[i].dtype, ROWS, D);
		leave_folder();
	}
	put_raw(in_folder("a.bin"), SAE_BF16, 0, ROWS * D, D); /* as numpy keeps it */
	support_put_text(in_folder("a.json"), "{\"dtype\":\"int16\",\"shape\":[12,6]}");
	holds(in_folder("a.bin"), &(sae_dump_opts){ .dtype = "bf16" }, SAE_BF16, ROWS, D);
	support_put_text(in_folder("a.json"), "{\"ctx_len\":4}"); /* a manifest, no side file */
	holds(in_folder("a.bin"), &(sae_dump_opts){ .dtype = "bf16", .d_in = D }, SAE_BF16, ROWS, D);
	leave_folder();
}
END_TEST

START_TEST(takes_folders_in_the_order_of_numbers)
{
	sae_dump_opts o = { .dtype = "f32", .d_in = D };
	static const uint16_t ids[ROWS] = { 5, 4, 3 };
	uint32_t id;
	sae_dump *d;

	dump_folder();
	put_raw(in_folder("dump/x_2.bin"), SAE_F32, 0, 2 * D, D);
	put_raw(in_folder("dump/x_010.bin"), SAE_F32, 2, 7 * D, D);
	put_raw(in_folder("dump/x_11.bin"), SAE_F32, 9, 3 * D, D);
	support_npy(in_folder("dump/ids.npy"), 1,
	            "{'descr': '<u2', 'fortran_order': False, 'shape': (12,), }", ids, sizeof(ids));
	o.tokens = in_folder("dump/ids.npy");
	holds(dump_folder(), &o, SAE_F32, ROWS, D);
	holds(in_folder("dump/x_*.bin"), &o, SAE_F32, ROWS, D);
	support_put(in_folder("ids.bin"), ids, sizeof(ids)); /* token ids may be raw too */
	support_put_text(in_folder("ids.json"), "{\"dtype\":\"uint16\",\"shape\":[12]}");
	o.tokens = in_folder("ids.bin");
	d = made_dump_open(dump_folder(), &o);
	ck_assert_int_eq(sae_dump_tokens(d, 1, &id, NULL), 0);
	ck_assert_uint_eq(id, 4);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(refuses_raw_files_that_lie)
{
	static const struct {
		const char *json, *words;
	} bad[] = {
		{ "{\"dtype\":\"float32\",\"shape\":[12,7]}", "a.bin' has 288 bytes|a.json' asks for 336" },
		{ "{\"dtype\":\"float16\",\"shape\":[12,6]}", "a.bin' has 288 bytes|asks for 144" },
		{ "{\"dtype\":\"float31\",\"shape\":[12,6]}", "a.json'|dtype 'float31' is not known" },
		{ "{\"dtype\":\">f4\",\"shape\":[12,6]}", "a.json'|'>f4' is not known (big-endian)" },
		{ "{\"dtype\":4,\"shape\":[12,6]}", "a.json'|dtype" },
		{ "{\"dtype\":\"float32\"}", "a.json': shape is not a list" },
		{ "{\"dtype\":\"float32\",\"shape\":[]}", "a.json': shape is not a list" },
		{ "{\"dtype\":\"float32\",\"shape\":[1,1,1,1,1,1,1,1,1]}", "a.json': shape is not a list" },
		{ "{\"dtype\":\"float32\",\"shape\":[12,-6]}", "a.json': shape: dimension 1 is not a whole" },
		{ "{\"dtype\":\"float32\",\"shape\":[4294967296,4294967296,2]}", "a.json'|overflows" },
		{ "{\"dtype\":\"float32\",\"shape\":[9007199254740992,2]}", "a.bin' has 288 bytes|asks for" },
		{ "{\"dtype\":\"float32\",\"shape\":[72]}", "a.bin'|1 dimensions" },
		{ "{\"dtype\":\"int32\",\"shape\":[12,6]}", "a.bin'|dtype I32; activations are" },
		{ "{\"dtype\":\"int16\",\"shape\":[12,12]}", "a.bin'|dtype I16|say dtype bf16" },
		{ "[", "a.json" },
	};
	const char *path = in_folder("a.bin");

	put_raw(path, SAE_F32, 0, ROWS * D, D);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		support_put_text(in_folder("a.json"), bad[i].json);
		dump_refused(path, NULL, ERR_FORMAT, bad[i].words);
	}
	support_put_text(in_folder("a.json"), "{\"dtype\":\"float32\",\"shape\":[12,6]}");
	dump_refused(path, &(sae_dump_opts){ .d_in = 7 }, ERR_FORMAT,
	             "a.bin' has rows of 6 values, d-in says 7");
	dump_refused(path, &(sae_dump_opts){ .dtype = "f64" }, ERR_FORMAT,
	             "a.bin'|has dtype F32, the options say f64");
	ck_assert_int_eq(remove(in_folder("a.json")), 0);
	dump_refused(path, NULL, ERR_NOTFOUND,
	             "a.bin' is raw and nothing tells its shape: say d-in and dtype");
	dump_refused(path, &(sae_dump_opts){ .d_in = 6 }, ERR_ARG, "a.bin' is raw: with d-in say its dtype");
	dump_refused(path, &(sae_dump_opts){ .d_in = 7, .dtype = "f32" }, ERR_FORMAT,
	             "a.bin' has 288 bytes, no multiple of a row of 7 F32 values (28 bytes)");
	support_put_text(path, "");
	dump_refused(path, &(sae_dump_opts){ .d_in = 7, .dtype = "f32" }, ERR_FORMAT,
	             "no rows|a.bin' is empty");
	dump_folder();
	put_raw(in_folder("dump/b.bin"), SAE_F32, 0, D, D);
	dump_refused(in_folder("dump"), NULL, ERR_NOTFOUND, "dump/b.bin' is raw and nothing tells its shape");
	leave_folder();
}
END_TEST

START_TEST(reads_tensor_files_of_raw_names)
{
	made_dump m = { .contexts = 3, .ctx_len = 4, .d = D, .shards = 1, .dtype = SAE_F32, .npy = true };

	made_dump_write(dump_folder(), &m);
	ck_assert_int_eq(rename(in_folder("dump/shard-000.npy"), in_folder("dump/a.bin")), 0);
	holds(dump_folder(), NULL, SAE_F32, ROWS, D);
	leave_folder();
}
END_TEST

/* ---- Layers -------------------------------------------------------------------------------------------------------- */

/* saev's folder: 5 examples of 3 tokens at layers 3 and -1, of which the second file has room for one more. */
static void put_saev(const char *meta, const char *shards)
{
	float *x = calloc(6 * 2 * 3 * D, sizeof(*x));

	ck_assert_ptr_nonnull(x);
	for (uint32_t e = 0; e < 5; e++)
		for (uint32_t t = 0; t < 3; t++)
			for (uint32_t j = 0; j < D; j++)
				x[((e * 2 + 1) * 3 + t) * D + j] = made_value(e * 3 + t, j);
	dump_folder();
	support_put(in_folder("dump/acts000000.bin"), x, 3 * 2 * 3 * D * sizeof(*x));
	support_put(in_folder("dump/acts000001.bin"), x + 3 * 2 * 3 * D, 3 * 2 * 3 * D * sizeof(*x));
	support_put_text(in_folder("dump/labels.bin"), "labels");
	support_put_text(in_folder("dump/metadata.json"), meta);
	if (shards)
		support_put_text(in_folder("dump/shards.json"), shards);
	free(x);
}

#define SAEV   "{\"layers\":[3,-1],\"patches_per_ex\":2,\"cls_token\":true,\"d_model\":6,\"dtype\":\"float32\"}"
#define SHARDS "[{\"name\":\"acts000000.bin\",\"n_ex\":3},{\"name\":\"acts000001.bin\",\"n_ex\":2}]"

START_TEST(reads_one_layer_of_saevs)
{
	sae_dump_opts o = { .key = "-1" };
	sae_dump *d;
	float x[D];

	put_saev(SAEV, SHARDS);
	holds(dump_folder(), &o, SAE_F32, 15, D);
	d = made_dump_open(dump_folder(), &o);
	ck_assert_uint_eq(sae_dump_get_info(d)->ctx_len, 3);
	sae_dump_close(d);
	o.key = "3";
	d = made_dump_open(dump_folder(), &o);
	ck_assert_int_eq(sae_dump_read(d, 4, 1, x, NULL), 0);
	ck_assert(x[0] == 0 && x[D - 1] == 0);
	sae_dump_close(d);
	leave_folder();
	put_saev("{\"layers\":[9],\"content_tokens_per_example\":3,\"d_model\":6}", NULL); /* as one layer */
	d = made_dump_open(dump_folder(), NULL);
	ck_assert_uint_eq(sae_dump_get_info(d)->n_contexts, 12);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(refuses_wrong_saevs)
{
	static const struct {
		const char *meta, *shards, *key, *words;
		int code;
	} bad[] = {
		{ SAEV, SHARDS, NULL, "metadata.json' has the layers 3, -1; say which one as key", ERR_ARG },
		{ SAEV, SHARDS, "4", "metadata.json' has the layers 3, -1, not '4'", ERR_FORMAT },
		{ SAEV, "[{\"name\":\"acts000001.bin\",\"n_ex\":4}]", "3",
		  "acts000001.bin' has 432 bytes|metadata.json' asks for 576", ERR_FORMAT },
		{ SAEV, "[{\"name\":\"acts000001.bin\"}]", "3", "shards.json' does not tell the examples",
		  ERR_FORMAT },
		{ SAEV, "[", "3", "shards.json", ERR_FORMAT },
		{ "{\"layers\":[3,\"x\"],\"patches_per_ex\":2,\"d_model\":6}", NULL, "3",
		  "metadata.json' does not give layers, tokens and width", ERR_FORMAT },
		{ "{\"layers\":[3],\"patches_per_ex\":2,\"d_model\":0}", NULL, "3",
		  "metadata.json' does not give layers, tokens and width", ERR_FORMAT },
		{ "{\"layers\":[3],\"patches_per_ex\":4000000000,\"d_model\":4000000000}", NULL, "3",
		  "metadata.json'|overflows", ERR_FORMAT },
		{ "{\"layers\":[3,4],\"patches_per_ex\":2,\"d_model\":7}", NULL, "3",
		  "acts000000.bin' has 432 bytes, no multiple of the 112 of an example", ERR_FORMAT },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		put_saev(bad[i].meta, bad[i].shards);
		dump_refused(dump_folder(), &(sae_dump_opts){ .key = bad[i].key }, bad[i].code, bad[i].words);
		leave_folder();
	}
}
END_TEST

/* ---- Heads --------------------------------------------------------------------------------------------------------- */

/* Rows of `heads` heads side by side, of which head 1 is made_value() and the others are zeros. */
static void put_heads(const char *path, uint64_t n_rows, uint32_t heads, uint32_t d, unsigned n_dims,
                      const uint64_t dims[4])
{
	float *x = calloc(n_rows * heads * d, sizeof(*x));
	sae_tensor_out t = { .name = "z", .dtype = SAE_F32, .n_dims = n_dims, .data = x };

	ck_assert_ptr_nonnull(x);
	memcpy(t.dims, dims, 4 * sizeof(*dims));
	for (uint64_t i = 0; i < n_rows * d; i++)
		x[(i / d * heads + 1) * d + i % d] = made_value(i / d, (uint32_t)(i % d));
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	free(x);
}

START_TEST(reads_one_head_or_all)
{
	static const struct {
		uint32_t heads, d;
	} sizes[] = { { 3, 5 }, { 2, 9000 }, { 3, 20000 } }; /* many rows a block, one, none */
	const char *path = in_folder("a.safetensors");
	sae_dump_opts o = { .head = "1" };
	sae_dump *d;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint32_t heads = sizes[i].heads, width = sizes[i].d;
		o.head = "1";
		put_heads(path, 6, heads, width, 4, (uint64_t[]){ 3, 2, heads, width });
		holds(path, &o, SAE_F32, 6, width);
		d = made_dump_open(path, &o);
		ck_assert_uint_eq(sae_dump_get_info(d)->n_heads, heads);
		ck_assert_int_eq(sae_dump_get_info(d)->head, 1);
		ck_assert_uint_eq(sae_dump_get_info(d)->ctx_len, 2);
		sae_dump_close(d);
		d = made_dump_open(path, NULL);
		ck_assert_uint_eq(sae_dump_get_info(d)->d_in, heads * width);
		ck_assert_int_eq(sae_dump_get_info(d)->head, -1);
		sae_dump_close(d);
		o.head = heads == 3 ? "1/3" : "1/2";
		put_heads(path, 6, heads, width, 2, (uint64_t[4]){ 6, heads * width });
		holds(path, &o, SAE_F32, 6, width);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_heads_that_are_not_there)
{
	static const struct {
		const char *head, *words;
	} bad[] = {
		{ "3", "a.safetensors': tensor 'z' has 3 heads, 0 to 2; 3 is none" },
		{ "1/4", "tensor 'z' has 3 heads, not 4" },
		{ "x", "head 'x' is neither" },
		{ "1/0", "head '1/0' is neither" },
		{ "1/", "head '1/' is neither" },
		{ "-1", "head '-1' is neither" },
		{ "99999999999999999999", "is neither" },
	};
	const char *path = in_folder("a.safetensors");

	put_heads(path, 6, 3, 5, 4, (uint64_t[]){ 3, 2, 3, 5 });
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		dump_refused(path, &(sae_dump_opts){ .head = bad[i].head }, ERR_ARG, bad[i].words);
	put_heads(path, 6, 3, 5, 2, (uint64_t[4]){ 6, 15 });
	dump_refused(path, &(sae_dump_opts){ .head = "1" }, ERR_ARG,
	             "say how many heads a row has, as head 1/12");
	dump_refused(path, &(sae_dump_opts){ .head = "1/4" }, ERR_ARG, "15 values cannot hold 4 equal heads");
	leave_folder();
}
END_TEST

START_TEST(survives_every_fault)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	const sae_dump_opts o = { .key = "3" };
	const char *path = in_folder("dump");

	put_saev(SAEV, SHARDS);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_dump *d = NULL;
			error err = { 0 };
			int rc;
			fault_arm(kinds[i], n);
			rc = sae_dump_open(&d, &path, 1, &o, &err);
			if (!fault_disarm(kinds[i])) {
				ck_assert_msg(rc == 0, "%s", err.msg);
				sae_dump_close(d);
				break;
			}
			ck_assert_msg(rc == (kinds[i] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO), "%d %s", rc,
			              err.msg);
			ck_assert_ptr_null(d);
		}
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "raw files", reads_what_options_say, reads_what_a_side_file_says,
	             takes_folders_in_the_order_of_numbers, refuses_raw_files_that_lie,
	             reads_tensor_files_of_raw_names);
	SUPPORT_CASE(s, "layers", reads_one_layer_of_saevs, refuses_wrong_saevs);
	SUPPORT_CASE(s, "heads", reads_one_head_or_all, refuses_heads_that_are_not_there);
	SUPPORT_CASE(s, "faults", survives_every_fault);
}

SUPPORT_MAIN("raw", cases)
