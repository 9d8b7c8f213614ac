/* Codes computed elsewhere: what is written reads back in any stretch; wrong files are refused with file, row and cause. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support_dump.h"

enum { CONTEXTS = 6, CTX_LEN = 4, ROWS = CONTEXTS * CTX_LEN, FEATURES = 11 };

static bool is_kept(uint64_t row)
{
	return row % 7 != 3;
}

static float code(uint64_t row, uint32_t feature) /* 0: none */
{
	return hash64_mix(row, feature) % 3 == 0 ? (float)(1 + row) / (float)(2 + feature) : 0;
}

static int token_ids(void *payload, uint64_t context, uint32_t *out, error *err)
{
	(void)payload;
	(void)err;
	for (uint32_t i = 0; i < CTX_LEN; i++)
		out[i] = (uint32_t)(100 * context + i);
	return 0;
}

typedef struct all_codes {
	sae_codes c;
	size_t first[ROWS + 1];
	uint32_t index[ROWS * FEATURES];
	float value[ROWS * FEATURES];
	uint8_t kept[ROWS];
} all_codes;

static void make_codes(all_codes *a)
{
	size_t n = 0;

	a->first[0] = 0;
	for (uint64_t row = 0; row < ROWS; row++) {
		a->kept[row] = is_kept(row);
		for (uint32_t f = 0; f < FEATURES; f++) {
			if (code(row, f) > 0) {
				a->index[n] = f;
				a->value[n++] = code(row, f);
			}
		}
		a->first[row + 1] = n;
	}
	a->c = (sae_codes){ .n = ROWS, .first = a->first, .index = a->index, .value = a->value };
}

static const char *const noted[] = { "weights_sha256",
	                             "00000000000000000000000000000000000000000000000000000000000000aa",
	                             "dump_sha256", "not a hash" };

static int write_matrix(const char *path, sae_codes_format format, error *err)
{
	sae_codes_writer *w = NULL;
	all_codes a;
	int rc = sae_codes_writer_open(&w, path, format, FEATURES, noted, 2, err);

	make_codes(&a);
	if (rc == 0)
		rc = sae_codes_writer_add(w, &a.c, a.kept, err);
	if (rc == 0)
		rc = sae_codes_writer_commit(w, err);
	sae_codes_writer_abort(w);
	return rc;
}

static int write_cache(const char *path, uint32_t n_splits, error *err)
{
	const sae_cache_opts o = {
		.n_splits = n_splits, .ctx_len = CTX_LEN, .tokens = token_ids, .model = "some/model"
	};
	sae_cache_writer *w = NULL;
	all_codes a;
	int rc = sae_cache_writer_open(&w, path, FEATURES, &o, noted, 2, err);

	make_codes(&a);
	if (rc == 0)
		rc = sae_cache_writer_add(w, &a.c, a.kept, err);
	if (rc == 0)
		rc = sae_cache_writer_commit(w, err);
	sae_cache_writer_abort(w);
	return rc;
}

static void check_stretch(sae_codes_reader *r, uint64_t first, uint64_t n)
{
	sae_codes c = { 0 };
	size_t at = 0;
	error err = { 0 };

	ck_assert_msg(sae_codes_reader_read(r, first, n, &c, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(c.n, n);
	for (uint64_t i = 0; i < n; i++) {
		ck_assert_uint_eq(c.first[i], at);
		for (uint32_t f = 0; f < FEATURES; f++) {
			if (!is_kept(first + i) || code(first + i, f) == 0)
				continue;
			ck_assert_uint_eq(c.index[at], f);
			ck_assert_float_eq(c.value[at++], code(first + i, f));
		}
	}
	ck_assert_uint_eq(c.first[n], at);
	sae_codes_free(&c);
}

/* Everything, in order, then forwards and backwards with gaps. */
static void check_reader(const char *path, const char *tokens)
{
	static const uint64_t stretches[][2] = { { 0, 2 }, { 2, 3 }, { 5, 1 }, { 1, 2 }, { 4, 2 }, { 0, 6 } };
	sae_codes_reader *r = NULL;
	const sae_codes_info *info;
	uint8_t kept[ROWS];
	error err = { 0 };

	ck_assert_msg(sae_codes_reader_open(&r, path, tokens, &err) == 0, "%s", err.msg);
	info = sae_codes_reader_get_info(r);
	ck_assert_uint_eq(info->n_rows, ROWS);
	ck_assert_uint_eq(info->n_features, FEATURES);
	ck_assert(info->has_kept);
	ck_assert_str_eq(info->dump_sha256, "");
	ck_assert_uint_eq(strlen(info->sha256), 64);
	for (size_t i = 0; i < ARRAY_LEN(stretches); i++)
		check_stretch(r, CTX_LEN * stretches[i][0], CTX_LEN * stretches[i][1]);
	ck_assert_int_eq(sae_codes_reader_kept(r, 0, ROWS, kept, NULL), 0);
	for (uint64_t i = 0; i < ROWS; i++)
		ck_assert_uint_eq(kept[i], is_kept(i));
	if (info->has_tokens) {
		uint32_t ids[CTX_LEN], want[CTX_LEN];

		ck_assert_uint_eq(info->ctx_len, CTX_LEN);
		token_ids(NULL, 3, want, NULL);
		ck_assert_int_eq(sae_codes_reader_tokens(r, 3 * CTX_LEN, CTX_LEN, ids, NULL), 0);
		ck_assert_mem_eq(ids, want, sizeof(ids));
	}
	ck_assert_uint_eq(info->n_dropped, 0);
	sae_codes_reader_close(r);
}

static const char *tokens_file(void)
{
	uint32_t ids[CONTEXTS][CTX_LEN];
	const char *path = in_folder("tokens.npy");

	for (uint64_t c = 0; c < CONTEXTS; c++)
		token_ids(NULL, c, ids[c], NULL);
	support_npy(path, 1, "{'descr': '<u4', 'fortran_order': False, 'shape': (6, 4), }", ids, sizeof(ids));
	return path;
}

START_TEST(reads_what_was_written)
{
	const char *tokens = tokens_file();
	sae_codes_reader *r = NULL;

	ck_assert_int_eq(write_matrix(in_folder("a.npz"), SAE_CODES_NPZ, NULL), 0);
	check_reader(in_folder("a.npz"), NULL);
	check_reader(in_folder("a.npz"), tokens);
	ck_assert_int_eq(write_matrix(in_folder("a.safetensors"), SAE_CODES_SAFETENSORS, NULL), 0);
	check_reader(in_folder("a.safetensors"), tokens);
	for (uint32_t splits = 1; splits <= FEATURES; splits += 5) {
		char name[32];

		snprintf(name, sizeof(name), "cache%u", splits);
		ck_assert_int_eq(write_cache(in_folder(name), splits, NULL), 0);
		check_reader(in_folder(name), NULL);
		check_reader(in_folder(name), tokens);
	}
	ck_assert_int_eq(sae_codes_reader_open(&r, in_folder("cache6"), NULL, NULL), 0);
	ck_assert_str_eq(sae_codes_reader_get_info(r)->model, "some/model");
	ck_assert_str_eq(sae_codes_reader_get_info(r)->weights_sha256, noted[1]);
	sae_codes_reader_close(r);
	leave_folder();
}
END_TEST

/* ---- Wrong files ---- */

/* The reader fails, at once or with some row, and says so. */
static void refused(const char *path, const char *tokens, const char *part)
{
	sae_codes_reader *r = NULL;
	sae_codes c = { 0 };
	error err = { 0 };
	int rc = sae_codes_reader_open(&r, path, tokens, &err);

	if (rc == 0)
		rc = sae_codes_reader_read(r, 0, sae_codes_reader_get_info(r)->n_rows, &c, &err);
	ck_assert_msg(rc < 0, "%s was read, without '%s'", path, part);
	ck_assert_msg(strstr(err.msg, part) != NULL, "'%s' lacks '%s'", err.msg, part);
	ck_assert_ptr_nonnull(strstr(err.msg, strrchr(path, '/') + 1));
	sae_codes_free(&c);
	sae_codes_reader_close(r);
}

/* A matrix of 2 rows by 4 features with 3 codes, with something put right or wrong. */
typedef struct matrix {
	int64_t shape[2], indptr[3];
	int32_t indices[3];
	float data[3];
} matrix;
static const matrix right = { { 2, 4 }, { 0, 2, 3 }, { 0, 3, 1 }, { 1, 2, 3 } };
static const char matrix_header[] = "{\"shape\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                                    "\"indptr\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[16,40]},"
                                    "\"indices\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[40,52]},"
                                    "\"data\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[52,64]}}";

static void refused_matrix(const matrix *m, const char *part)
{
	const char *path = in_folder("m.safetensors");

	support_safetensors(path, matrix_header, m, sizeof(*m));
	refused(path, NULL, part);
}

START_TEST(refuses_wrong_matrices)
{
	sae_codes_reader *r = NULL;
	sae_codes c = { 0 };
	matrix m = right;

	support_safetensors(in_folder("m.safetensors"), matrix_header, &m, sizeof(m));
	ck_assert_int_eq(sae_codes_reader_open(&r, in_folder("m.safetensors"), NULL, NULL), 0);
	ck_assert_int_eq(sae_codes_reader_read(r, 0, 2, &c, NULL), 0);
	ck_assert_uint_eq(c.first[2], 3);
	sae_codes_free(&c);
	sae_codes_reader_close(r);

	m.indices[1] = 4;
	refused_matrix(&m, "row 0 has feature 4, there are 4");
	m.indices[1] = 0;
	refused_matrix(&m, "row 0 has feature 0 behind 0");
	m = right;
	m.indices[2] = -1;
	refused_matrix(&m, "row 1 has feature -1");
	m = right;
	m.data[2] = NAN;
	refused_matrix(&m, "row 1 has the value nan for feature 1");
	m.data[2] = INFINITY;
	refused_matrix(&m, "row 1 has the value inf");
	m = right;
	m.indptr[1] = 4;
	refused_matrix(&m, "'indptr' is 4 at 1");
	m.indptr[1] = -1;
	refused_matrix(&m, "'indptr' is -1 at 1");
	m = right;
	m.indptr[2] = 2;
	refused_matrix(&m, "'indptr' goes from 0 to 2, there are 3 values");
	m = right;
	m.shape[0] = 3;
	refused_matrix(&m, "'indptr' has 3 numbers, 3 rows want 4");
	m.shape[0] = -1;
	refused_matrix(&m, "a shape of -1 by 4");
	m = right;
	m.shape[1] = (int64_t)1 << 40;
	refused_matrix(&m, "a shape of 2 by");
	support_safetensors(in_folder("n.safetensors"),
	                    "{\"data\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", right.data,
	                    4);
	refused(in_folder("n.safetensors"), NULL, "has no tensor 'shape'");
	support_safetensors(in_folder("t.safetensors"), matrix_header, &right, sizeof(right) - 8);
	refused(in_folder("t.safetensors"), NULL, "t.safetensors");
	refused(in_folder("missing.npz"), NULL, "missing.npz");
	leave_folder();
}
END_TEST

START_TEST(drops_what_does_not_fire)
{
	sae_codes_reader *r = NULL;
	sae_codes c = { 0 };
	matrix m = right;

	m.data[0] = -1;
	m.data[2] = 0;
	support_safetensors(in_folder("m.safetensors"), matrix_header, &m, sizeof(m));
	ck_assert_int_eq(sae_codes_reader_open(&r, in_folder("m.safetensors"), NULL, NULL), 0);
	ck_assert_int_eq(sae_codes_reader_read(r, 0, 2, &c, NULL), 0);
	ck_assert_uint_eq(c.first[1], 1);
	ck_assert_uint_eq(c.first[2], 1);
	ck_assert_uint_eq(c.index[0], 3);
	ck_assert_uint_eq(sae_codes_reader_get_info(r)->n_dropped, 2);
	sae_codes_free(&c);
	sae_codes_reader_close(r);
	leave_folder();
}
END_TEST

/* A file of a cache of 2 contexts of 3 tokens, two latents and 3 codes. */
typedef struct part {
	float activations[3];
	uint16_t locations[3][3];
	uint16_t room;
	int32_t tokens[2][3];
} part;
static const part right_part = {
	{ 1, 2, 3 }, { { 0, 0, 1 }, { 0, 2, 0 }, { 1, 1, 1 } }, 0, { { 5, 6, 7 }, { 8, 9, 10 } }
};
static const char part_header[] =
        "{\"activations\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
        "\"locations\":{\"dtype\":\"U16\",\"shape\":[3,3],\"data_offsets\":[12,30]},"
        "\"room\":{\"dtype\":\"U16\",\"shape\":[1],\"data_offsets\":[30,32]},"
        "\"tokens\":{\"dtype\":\"I32\",\"shape\":[2,3],\"data_offsets\":[32,56]}}";

static void put_part(const char *name, const part *p)
{
	char path[64];

	snprintf(path, sizeof(path), "c/%s", name);
	support_safetensors(in_folder(path), part_header, p, sizeof(*p));
}

static void refused_part(const part *p, const char *cause)
{
	const char *path;

	put_part("0_1.safetensors", p);
	path = in_folder("c");
	sae_codes_reader *r = NULL;
	sae_codes c = { 0 };
	error err = { 0 };
	int rc = sae_codes_reader_open(&r, path, NULL, &err);

	if (rc == 0)
		rc = sae_codes_reader_read(r, 0, 3, &c, &err);
	if (rc == 0)
		rc = sae_codes_reader_read(r, 3, 3, &c, &err);
	ck_assert_msg(rc < 0, "was read, without '%s'", cause);
	ck_assert_msg(strstr(err.msg, cause) && strstr(err.msg, "0_1.safetensors"), "'%s' lacks '%s'",
	              err.msg, cause);
	sae_codes_free(&c);
	sae_codes_reader_close(r);
}

START_TEST(refuses_wrong_rows_of_a_cache)
{
	part p = right_part;

	ck_assert_int_eq(file_mkdir(in_folder("c"), NULL), 0);
	p.locations[1][0] = 1; /* now behind the third */
	refused_part(&p, "row 2 of 'locations' is not behind the one before it");
	p = right_part;
	memcpy(p.locations[1], p.locations[0], sizeof(p.locations[0]));
	refused_part(&p, "row 1 of 'locations' is not behind the one before it");
	p = right_part;
	p.locations[2][0] = 2;
	refused_part(&p, "row 2 of 'locations' is of context 2, there are 2");
	p = right_part;
	p.locations[1][1] = 3;
	refused_part(&p, "row 1 of 'locations' is of position 3, there are 3");
	p = right_part;
	p.locations[0][2] = 2;
	refused_part(&p, "row 0 of 'locations' is of latent 2, there are 2");
	p = right_part;
	p.activations[2] = NAN;
	refused_part(&p, "row 2 of 'activations' is nan");
	leave_folder();
}
END_TEST

START_TEST(refuses_wrong_caches)
{
	const char *folder, *file;
	part p = right_part;

	ck_assert_int_eq(file_mkdir(in_folder("c"), NULL), 0);
	folder = in_folder("c");
	refused(folder, NULL, "no file of latents");
	put_part("2_3.safetensors", &p);
	refused(folder, NULL, "has no file for latents 0 to 1");
	put_part("0_2.safetensors", &p);
	refused(folder, NULL, "latent 2 is in two files");
	unlink(in_folder("c/0_2.safetensors"));
	p.tokens[1][1] = 99;
	put_part("0_1.safetensors", &p);
	file = in_folder("c/2_3.safetensors");
	sae_codes_reader *r = NULL;
	error err = { 0 };

	ck_assert_int_eq(sae_codes_reader_open(&r, folder, NULL, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "'tokens' differs"));
	ck_assert_ptr_nonnull(strstr(err.msg, file));
	support_put_text(in_folder("c/2_3.safetensors"), "short");
	ck_assert_int_lt(sae_codes_reader_open(&r, folder, NULL, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, file));
	unlink(file);
	ck_assert_int_eq(sae_codes_reader_open(&r, folder, tokens_file(), &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "'tokens' has another shape"));
	leave_folder();
}
END_TEST

START_TEST(fails_whole)
{
	ck_assert_int_eq(write_matrix(in_folder("a.npz"), SAE_CODES_NPZ, NULL), 0);
	ck_assert_int_eq(write_cache(in_folder("cache"), 2, NULL), 0);
	for (int kind = 0; kind < 2; kind++) {
		const char *path = in_folder(kind ? "cache" : "a.npz");

		for (long nth = 0;; nth++) {
			sae_codes_reader *r = NULL;
			sae_codes c = { 0 };
			error err = { 0 };
			int rc;

			fault_arm(FAULT_ALLOC, nth);
			rc = sae_codes_reader_open(&r, path, NULL, &err);
			if (rc == 0)
				rc = sae_codes_reader_read(r, 0, ROWS, &c, &err);
			bool struck = fault_disarm(FAULT_ALLOC);
			sae_codes_free(&c);
			sae_codes_reader_close(r);
			ck_assert_int_eq(rc, struck ? ERR_NOMEM : 0);
			if (!struck)
				break;
		}
	}
	for (long nth = 0;; nth++) {
		fault_arm(FAULT_WRITE, nth);
		int rc = write_cache(in_folder("new"), 2, NULL);
		if (!fault_disarm(FAULT_WRITE)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert(!file_exists(in_folder("new")));
	}
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "reading", reads_what_was_written, drops_what_does_not_fire);
	SUPPORT_CASE(s, "trouble", refuses_wrong_matrices, refuses_wrong_rows_of_a_cache,
	             refuses_wrong_caches, fails_whole);
}

SUPPORT_MAIN("codes_read", cases)
