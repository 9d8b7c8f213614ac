/* Dumps: shards, shapes, dtypes, token ids, manifests, and dumps that are wrong. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sae/dump_internal.h"

static const made_dump plain = {
	.contexts = 3, .ctx_len = 5, .d = 7, .shards = 2, .dtype = SAE_F32, .tokens = true
};

static void check_values(const sae_dump *d, const made_dump *m)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	uint64_t rows = m->contexts * m->ctx_len * m->shards;
	float *x = malloc(rows * m->d * sizeof(*x));
	uint32_t ids[64];
	error err = { 0 };

	ck_assert_ptr_nonnull(x);
	ck_assert_uint_eq(info->n_rows, rows);
	ck_assert_uint_eq(info->d_in, m->d);
	ck_assert_uint_eq(info->n_shards, m->shards);
	ck_assert_int_eq(info->dtype, m->dtype);
	for (uint64_t first = 0; first < rows; first += 4) { /* across the seams of shards */
		uint64_t n = rows - first < 9 ? rows - first : 9;
		ck_assert_msg(sae_dump_read(d, first, n, x, &err) == 0, "%s", err.msg);
		for (uint64_t i = 0; i < n * m->d; i++)
			ck_assert(x[i] == made_value(first + i / m->d, (uint32_t)(i % m->d)));
	}
	ck_assert_int_eq(sae_dump_read(d, 0, rows, x, &err), 0);
	ck_assert_int_eq(sae_dump_read(d, rows, 0, x, &err), 0);
	ck_assert_int_eq(sae_dump_read(d, rows - 1, 2, x, &err), ERR_ARG);
	for (uint64_t c = 0; info->has_tokens && c < info->n_contexts; c++) {
		ck_assert_msg(sae_dump_tokens(d, c, ids, &err) == 0, "%s", err.msg);
		for (uint32_t i = 0; i < info->ctx_len; i++)
			ck_assert_uint_eq(ids[i], made_token(c * info->ctx_len + i));
	}
	free(x);
}

START_TEST(reads_all_formats)
{
	static const sae_dtype dtypes[] = { SAE_F16, SAE_BF16, SAE_F32, SAE_F64 };

	for (int i = 0; i < 32; i++) {
		made_dump m = { .contexts = 3,
			        .ctx_len = 5,
			        .d = 7,
			        .dtype = dtypes[i / 8],
			        .shards = i & 1 ? 3 : 1,
			        .three_dims = i & 2,
			        .npy = i & 4 };
		sae_dump_opts o = { .dtype = m.npy && m.dtype == SAE_BF16 ? "bf16" : NULL };
		sae_dump *d;
		m.tokens = !m.npy;
		made_dump_write(dump_folder(), &m);
		d = made_dump_open(dump_folder(), &o);
		check_values(d, &m);
		ck_assert_int_eq(sae_dump_get_info(d)->has_tokens, m.tokens);
		ck_assert_uint_eq(sae_dump_get_info(d)->ctx_len, m.tokens || m.three_dims ? 5 : 1);
		sae_dump_close(d);
		leave_folder();
	}
}
END_TEST

/* ---- Token ids ----------------------------------------------------------------------------------------------------- */

/* Token ids of rows first..first+n-1 as a .npy of the given shape and bytes an id. */
static void put_tokens(const char *path, const char *descr, size_t size, const char *shape, uint64_t first,
                       size_t n)
{
	unsigned char *bytes = malloc(n * size + 1);
	char dict[128];

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < n; i++) {
		uint64_t id = made_token(first + i);
		memcpy(bytes + i * size, &id, size);
	}
	snprintf(dict, sizeof(dict), "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr,
	         shape);
	support_npy(path, 1, dict, bytes, n * size);
	free(bytes);
}

START_TEST(reads_tokens_of_every_kind)
{
	static const struct {
		const char *descr;
		size_t size;
	} kinds[] = { { "<i2", 2 }, { "<i4", 4 }, { "<i8", 8 }, { "<u2", 2 }, { "<u4", 4 }, { "<u8", 8 } };
	made_dump m = plain;

	m.tokens = false;
	made_dump_write(dump_folder(), &m);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		sae_dump_opts o = { .tokens = in_folder("ids.npy") };
		sae_dump *d;
		put_tokens(o.tokens, kinds[i].descr, kinds[i].size, "6, 5", 0, 30);
		d = made_dump_open(dump_folder(), &o);
		ck_assert_uint_eq(sae_dump_get_info(d)->ctx_len, 5);
		check_values(d, &m);
		sae_dump_close(d);
	}
	leave_folder();
}
END_TEST

START_TEST(reads_tokens_in_any_division)
{
	made_dump m = plain;
	sae_dump_opts o = { .ctx_len = 5 };
	sae_dump *d;

	m.tokens = false;
	m.npy = true;
	made_dump_write(dump_folder(), &m);
	o.tokens = in_folder("ids.npy"); /* one list */
	put_tokens(o.tokens, "<u4", 4, "30,", 0, 30);
	d = made_dump_open(dump_folder(), &o);
	check_values(d, &m);
	sae_dump_close(d);
	ck_assert_int_eq(remove(in_folder("ids.npy")), 0);
	put_tokens(in_folder("ids-0.npy"), "<u4", 4, "13,", 0, 13); /* several, cut inside a context */
	put_tokens(in_folder("ids-1.npy"), "<u2", 2, "17,", 13, 17);
	o.tokens = in_folder("ids-*.npy");
	d = made_dump_open(dump_folder(), &o);
	check_values(d, &m);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(refuses_wrong_tokens)
{
	static const int64_t negative[30] = { 0, 0, 0, 0, 0, 0, 0, -1 };
	made_dump m = plain;
	sae_dump_opts o = { .tokens = in_folder("ids.npy") };
	uint32_t ids[5];
	error err = { 0 };
	sae_dump *d;

	m.tokens = false;
	made_dump_write(dump_folder(), &m);
	put_tokens(o.tokens, "<u4", 4, "5, 5", 0, 25);
	dump_refused(dump_folder(), &o, ERR_FORMAT, "'|ids.npy' ends at token 25, the dump has 30 rows");
	put_tokens(o.tokens, "<f4", 4, "6, 5", 0, 30);
	dump_refused(dump_folder(), &o, ERR_FORMAT, "ids.npy'|not a (contexts, ctx_len) list of integer");
	o.ctx_len = 6;
	put_tokens(o.tokens, "<u4", 4, "6, 5", 0, 30);
	dump_refused(dump_folder(), &o, ERR_FORMAT, "ids.npy' says contexts of 5 tokens|6");
	o.ctx_len = 7;
	put_tokens(o.tokens, "<u4", 4, "30,", 0, 30);
	dump_refused(dump_folder(), &o, ERR_FORMAT,
	             "shard-000.safetensors|30 rows are not a whole number of contexts of 7");
	o.ctx_len = 5;
	support_npy(o.tokens, 1, "{'descr': '<i8', 'fortran_order': False, 'shape': (6, 5), }", negative,
	            sizeof(negative));
	d = made_dump_open(dump_folder(), &o);
	ck_assert_int_eq(sae_dump_tokens(d, 0, ids, &err), 0);
	ck_assert_int_eq(sae_dump_tokens(d, 1, ids, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "token 7") && strstr(err.msg, "-1"), "%s", err.msg);
	ck_assert_int_eq(sae_dump_tokens(d, 6, ids, &err), ERR_ARG);
	sae_dump_close(d);
	d = made_dump_open(dump_folder(), NULL);
	ck_assert_int_eq(sae_dump_tokens(d, 0, ids, &err), ERR_NOTFOUND);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* ---- Which files --------------------------------------------------------------------------------------------------- */

START_TEST(passes_over_other_files)
{
	static const float w[12];
	static const sae_tensor_out unembed = {
		.name = "lm_head.weight", .dtype = SAE_F32, .n_dims = 2, .dims = { 4, 3 }, .data = w
	};
	const char *path = in_folder("dump/*.safetensors");
	error err = { 0 };
	sae_dump *d;

	made_dump_write(dump_folder(), &plain);
	ck_assert_int_eq(sae_safetensors_write(in_folder("dump/a.safetensors"), &unembed, 1, NULL, 0, &err),
	                 0);
	support_put_text(in_folder("dump/shard-000.safetensors.part"), "half");
	support_put_text(in_folder("dump/.hidden.safetensors"), "half");
	support_put_text(in_folder("dump/notes.npy"), "not looked at beside safetensors");
	d = made_dump_open(dump_folder(), NULL);
	check_values(d, &plain);
	ck_assert_str_eq(file_base(sae_dump_shard(d, 1, NULL)), "shard-001.safetensors");
	ck_assert_ptr_null(sae_dump_shard(d, 2, NULL));
	sae_dump_close(d);
	ck_assert_msg(sae_dump_open(&d, &path, 1, NULL, &err) == 0, "%s", err.msg);
	check_values(d, &plain);
	sae_dump_close(d);
	dump_refused(in_folder("dump/a.safetensors"), &(sae_dump_opts){ .key = "x" }, ERR_FORMAT,
	             "a.safetensors' has no tensor 'x'; it holds 'lm_head.weight'");
	support_put_text(in_folder("dump/b.safetensors"), "broken, so not passed over");
	dump_refused(dump_folder(), NULL, ERR_FORMAT, "b.safetensors");
	leave_folder();
}
END_TEST

START_TEST(takes_the_tensor_named_or_the_only_one)
{
	static const float x[6] = { 1, 2, 3, 4, 5, 6 };
	sae_tensor_out two[] = {
		{ .name = "mlp", .dtype = SAE_F32, .n_dims = 2, .dims = { 3, 1 }, .data = x },
		{ .name = "attn", .dtype = SAE_F32, .n_dims = 2, .dims = { 3, 1 }, .data = x + 3 }
	};
	const char *path = in_folder("two.safetensors");
	sae_dump_opts o = { .key = "attn" };
	error err = { 0 };
	sae_dump *d;
	float got[3];

	ck_assert_int_eq(sae_safetensors_write(path, two, 2, NULL, 0, &err), 0);
	dump_refused(path, NULL, ERR_FORMAT,
	             "two.safetensors' has no tensor 'activations'; it holds 'mlp', 'attn'");
	support_put_text(in_folder("dump.json"),
	                 "{\"hook_points\":{\"mlp\":{\"layer\":2},\"attn\":{\"layer\":7}}}");
	dump_refused(in_folder("."), NULL, ERR_FORMAT,
	             "two.safetensors' has no tensor 'activations'; it holds 'mlp', 'attn'");
	d = made_dump_open(path, &o);
	ck_assert_int_eq(sae_dump_read(d, 0, 3, got, &err), 0);
	ck_assert_mem_eq(got, x + 3, sizeof(got));
	ck_assert_str_eq(sae_dump_get_info(d)->hook_point, "attn");
	ck_assert_int_eq(sae_dump_get_info(d)->layer, 7);
	sae_dump_close(d);
	support_put_text(in_folder("dump.json"), "{\"hook_points\":[\"attn\"]}");
	dump_refused(path, &o, ERR_FORMAT, "dump.json': hook_points is not an object");
	support_put_text(in_folder("dump.json"), "{\"hook_points\":{\"attn\":{\"layer\":4000000000}}}");
	dump_refused(path, &o, ERR_FORMAT, "dump.json': the layer of 'attn' is out of range");
	ck_assert_int_eq(remove(in_folder("dump.json")), 0);
	ck_assert_int_eq(sae_safetensors_write(path, two, 1, NULL, 0, &err), 0);
	d = made_dump_open(path, NULL);
	ck_assert_uint_eq(sae_dump_get_info(d)->n_rows, 3);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(opens_more_shards_than_the_soft_limit)
{
	made_dump m = {
		.contexts = 1, .ctx_len = 2, .d = 3, .shards = 150, .dtype = SAE_F16, .tokens = true
	};
	struct rlimit limit;
	sae_dump *d;

	made_dump_write(dump_folder(), &m);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 100;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	d = made_dump_open(dump_folder(), NULL);
	check_values(d, &m);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* ---- Manifests ------------------------------------------------------------------------------------------------------ */

START_TEST(reads_manifests)
{
	static const char manifest[] =
	        "{\"model\":\"m\",\"hook_point\":\"blocks.3.hook_resid_post\",\"layer\":3,\"ctx_len\":5,"
	        "\"tokenizer_sha256\":\"ab\",\"bos\":\"none\",\"documents\":[4,4,\"x\",\"y\",\"x\",9]}";
	static const float x[2];
	const char *meta[] = { "dump", "{\"model\":\"inside\",\"layer\":1}" };
	const char *single[] = { "model", "alone", "hook", "h", "ctx_len", "2", "layer", "7" };
	sae_tensor_out t = {
		.name = "activations", .dtype = SAE_F32, .n_dims = 2, .dims = { 2, 1 }, .data = x
	};
	made_dump m = plain;
	const sae_dump_info *info;
	error err = { 0 };
	sae_dump *d;

	m.tokens = false;
	made_dump_write(dump_folder(), &m);
	support_put_text(in_folder("dump/dump.json"), manifest);
	d = made_dump_open(dump_folder(), NULL);
	info = sae_dump_get_info(d);
	ck_assert_str_eq(info->model, "m");
	ck_assert_str_eq(info->hook_point, "blocks.3.hook_resid_post");
	ck_assert_str_eq(info->tokenizer_sha256, "ab");
	ck_assert_int_eq(info->layer, 3);
	ck_assert_uint_eq(info->ctx_len, 5);
	ck_assert_uint_eq(sae_dump_document(d, 1), 4);
	ck_assert_uint_eq(sae_dump_document(d, 5), 9);
	ck_assert(sae_dump_document(d, 2) == sae_dump_document(d, 4));
	ck_assert(sae_dump_document(d, 2) != sae_dump_document(d, 3));
	ck_assert_ptr_nonnull(cJSON_GetObjectItem(sae_dump_manifest(d), "bos"));
	sae_dump_close(d);
	ck_assert_int_eq(sae_safetensors_write(in_folder("in.safetensors"), &t, 1, meta, 1, &err), 0);
	d = made_dump_open(in_folder("in.safetensors"), NULL);
	ck_assert_str_eq(sae_dump_get_info(d)->model, "inside");
	ck_assert_int_eq(sae_dump_get_info(d)->layer, 1);
	sae_dump_close(d);
	ck_assert_int_eq(sae_safetensors_write(in_folder("in.safetensors"), &t, 1, single, 4, &err), 0);
	d = made_dump_open(in_folder("in.safetensors"), NULL);
	info = sae_dump_get_info(d);
	ck_assert(strcmp(info->model, "alone") == 0 && strcmp(info->hook_point, "h") == 0);
	ck_assert(info->ctx_len == 2 && info->layer == 7 && sae_dump_manifest(d) == NULL);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(refuses_wrong_manifests)
{
	static const struct {
		const char *json, *words;
	} bad[] = {
		{ "{\"model\":", "dump.json" },
		{ "[]", "dump.json' is not a JSON object" },
		{ "{\"model\":3}", "model|dump.json" },
		{ "{\"ctx_len\":3}", "says contexts of 5 tokens|3" },
		{ "{\"ctx_len\":5000000000}", "out of range" },
		{ "{\"documents\":[1,2,3]}", "dump.json': documents|one id a context: 6, it has 3" },
		{ "{\"documents\":[1,2,3,4,5,-6]}", "dump.json': document of context 5" },
		{ "{\"documents\":[1,2,3,4,{},6]}", "document of context 4" },
		{ "{\"documents\":\"all\"}", "one id a context" },
		{ "{\"roles\":5}", "'roles' in|dump.json' is not a list of names" },
		{ "{\"roles\":[\"user\",1]}", "'roles' in|dump.json' is not a list of names" },
	};

	made_dump_write(dump_folder(), &plain);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		support_put_text(in_folder("dump/dump.json"), bad[i].json);
		dump_refused(dump_folder(), NULL, ERR_FORMAT, bad[i].words);
	}
	dump_refused(dump_folder(), &(sae_dump_opts){ .manifest = in_folder("none.json") }, ERR_IO,
	             "none.json");
	leave_folder();
}
END_TEST

/* ---- Wrong dumps ---------------------------------------------------------------------------------------------------- */

START_TEST(refuses_shards_that_differ)
{
	static const float x[24];
	sae_tensor_out t[] = {
		{ .name = "activations", .dtype = SAE_F32, .n_dims = 2, .dims = { 2, 7 }, .data = x },
		{ .name = "tokens", .dtype = SAE_I32, .n_dims = 2, .dims = { 1, 2 }, .data = x }
	};
	const char *last = in_folder("dump/x.safetensors");

	made_dump_write(dump_folder(), &plain);
	t[0].dims[1] = 8;
	ck_assert_int_eq(sae_safetensors_write(last, t, 2, NULL, 0, NULL), 0);
	dump_refused(dump_folder(), NULL, ERR_FORMAT,
	             "x.safetensors' has rows of 8 values|shard-000.safetensors' of 7");
	t[0].dims[1] = 7;
	t[0].dtype = SAE_F16;
	ck_assert_int_eq(sae_safetensors_write(last, t, 2, NULL, 0, NULL), 0);
	dump_refused(dump_folder(), NULL, ERR_FORMAT,
	             "x.safetensors' has dtype F16|shard-000.safetensors' F32");
	t[0].dtype = SAE_F32;
	ck_assert_int_eq(sae_safetensors_write(last, t, 1, NULL, 0, NULL), 0);
	dump_refused(dump_folder(), NULL, ERR_FORMAT, "x.safetensors' has no tensor 'tokens'");
	ck_assert_int_eq(sae_safetensors_write(last, t, 2, NULL, 0, NULL), 0);
	dump_refused(dump_folder(), NULL, ERR_FORMAT, "x.safetensors' says contexts of 2 tokens|5");
	t[1].dims[1] = 3;
	ck_assert_int_eq(sae_safetensors_write(last, t, 2, NULL, 0, NULL), 0);
	dump_refused(dump_folder(), NULL, ERR_FORMAT, "x.safetensors' has 2 rows but 3 tokens");
	t[0] = (sae_tensor_out){
		.name = "activations", .dtype = SAE_F32, .n_dims = 3, .dims = { 1, 2, 7 }, .data = x
	};
	ck_assert_int_eq(sae_safetensors_write(last, t, 1, NULL, 0, NULL), 0);
	dump_refused(dump_folder(), NULL, ERR_FORMAT,
	             "x.safetensors' has contexts of another shape than|shard-000");
	leave_folder();
}
END_TEST

START_TEST(refuses_dumps_that_cannot_be)
{
	static const float x[24];
	const char *path = in_folder("one.safetensors"), *empty = in_folder("empty");
	sae_tensor_out t = {
		.name = "activations", .dtype = SAE_F32, .n_dims = 2, .dims = { 0, 7 }, .data = x
	};
	sae_tensor_out masked[2] = {
		t, { .name = "mask", .dtype = SAE_U8, .n_dims = 1, .dims = { 2 }, .data = x }
	};

	dump_refused(in_folder("nothing"), NULL, ERR_IO, "nothing");
	dump_refused(in_folder("no*thing"), NULL, ERR_NOTFOUND, "no file matches|no*thing");
	ck_assert_int_eq(file_mkdir(empty, NULL), 0);
	dump_refused(empty, NULL, ERR_NOTFOUND,
	             "empty' holds no .safetensors, .npy, .bin, .memmap, .npz or .pt file");
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	dump_refused(path, NULL, ERR_FORMAT, "no rows|one.safetensors");
	t.dims[0] = 7;
	t.dims[1] = 0;
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	dump_refused(path, NULL, ERR_FORMAT, "one.safetensors|rows of 0 values");
	t = (sae_tensor_out){
		.name = "activations", .dtype = SAE_F32, .n_dims = 5, .dims = { 1, 2, 3, 4, 1 }, .data = x
	};
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	dump_refused(path, NULL, ERR_FORMAT, "one.safetensors|5 dimensions");
	t = (sae_tensor_out){
		.name = "activations", .dtype = SAE_I32, .n_dims = 2, .dims = { 2, 3 }, .data = x
	};
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	dump_refused(path, NULL, ERR_FORMAT, "one.safetensors|dtype I32");
	t.dtype = SAE_U16;
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	dump_refused(path, NULL, ERR_FORMAT, "one.safetensors|say dtype bf16");
	dump_refused(path, &(sae_dump_opts){ .dtype = "f8" }, ERR_ARG, "dtype 'f8'");
	masked[0].dims[0] = 2;
	ck_assert_int_eq(sae_safetensors_write(path, masked, 2, NULL, 0, NULL), 0);
	dump_refused(path, NULL, ERR_FORMAT, "one.safetensors|mask");
	leave_folder();
}
END_TEST

START_TEST(survives_every_fault)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	const char *folder = dump_folder();

	made_dump_write(folder, &plain);
	support_put_text(in_folder("dump/dump.json"), "{\"model\":\"m\",\"documents\":[0,0,1,1,2,2]}");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_dump *d = NULL;
			error err = { 0 };
			int rc;
			fault_arm(kinds[i], n);
			rc = sae_dump_open(&d, &folder, 1, NULL, &err);
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
	SUPPORT_CASE(s, "reading", reads_all_formats, reads_tokens_of_every_kind,
	             reads_tokens_in_any_division);
	SUPPORT_CASE(s, "files", passes_over_other_files, takes_the_tensor_named_or_the_only_one,
	             opens_more_shards_than_the_soft_limit);
	SUPPORT_CASE(s, "manifests", reads_manifests, refuses_wrong_manifests);
	SUPPORT_CASE(s, "wrong dumps", refuses_wrong_tokens, refuses_shards_that_differ,
	             refuses_dumps_that_cannot_be, survives_every_fault);
}

SUPPORT_MAIN("dump", cases)
