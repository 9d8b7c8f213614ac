/* Ragged dumps: lengths, masks and roles, how the rows of one text are the same in all of them, and what is refused. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/rows_internal.h"

enum { CONTEXTS = 6, CTX = 5, D = 4, ROWS = CONTEXTS * CTX };

static const int32_t lengths[CONTEXTS] = { 3, 5, 0, 1, 4, 2 };
enum { REAL = 15, LIVE = 5 }; /* rows and contexts of them */

typedef enum form { PACKED, PADDED_RIGHT, PADDED_LEFT } form;

typedef struct files {
	float x[ROWS * D];
	int32_t tokens[ROWS];
	uint8_t mask[ROWS];
	uint64_t n_rows;
} files;

/* Real row number r of the text has made_value(r, j) and made_token(r); padding is NaN and token 7. */
static void fill(files *f, form how)
{
	uint64_t real = 0;

	*f = (files){ .n_rows = how == PACKED ? REAL : ROWS };
	for (size_t i = 0; i < ROWS; i++) {
		f->tokens[i] = 7;
		for (size_t j = 0; j < D; j++)
			f->x[i * D + j] = NAN;
	}
	for (int c = 0; c < CONTEXTS; c++)
		for (int i = 0; i < lengths[c]; i++, real++) {
			uint64_t row = how == PACKED        ? real
			               : how == PADDED_LEFT ? (uint64_t)(c * CTX + CTX - lengths[c] + i)
			                                    : (uint64_t)(c * CTX + i);
			f->mask[row] = 1;
			f->tokens[row] = (int32_t)made_token(real);
			for (uint32_t j = 0; j < D; j++)
				f->x[row * D + j] = made_value(real, j);
		}
}

/* Tensors beside the activations and tokens of the form; `flat`: without contexts in their shapes. */
static void write_with(const char *path, const files *f, bool flat, const sae_tensor_out *more, size_t n)
{
	sae_tensor_out t[6] = { { .name = "activations",
		                  .dtype = SAE_F32,
		                  .n_dims = 2,
		                  .dims = { f->n_rows, D },
		                  .data = f->x },
		                { .name = "tokens",
		                  .dtype = SAE_I32,
		                  .n_dims = flat ? 1 : 2,
		                  .dims = { flat ? f->n_rows : f->n_rows / CTX, CTX },
		                  .data = f->tokens } };
	error err = { 0 };

	for (size_t i = 0; i < n; i++)
		t[2 + i] = more[i];
	ck_assert_msg(sae_safetensors_write(path, t, 2 + n, NULL, 0, &err) == 0, "%s", err.msg);
}

static sae_tensor_out as_lengths(const int32_t *v)
{
	return (sae_tensor_out){
		.name = "lengths", .dtype = SAE_I32, .n_dims = 1, .dims = { CONTEXTS }, .data = v
	};
}

static sae_tensor_out as_mask(const char *name, const uint8_t *v, bool flat)
{
	return (sae_tensor_out){ .name = name,
		                 .dtype = flat ? SAE_BOOL : SAE_U8,
		                 .n_dims = flat ? 1 : 2,
		                 .dims = { flat ? ROWS : CONTEXTS, CTX },
		                 .data = v };
}

/* The five contexts with their rows, whatever the form. */
static void is_the_text(const sae_dump *d)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	uint64_t real = 0, first, context;
	uint32_t ids[CTX], position;
	float x[D];

	ck_assert(info->ragged);
	ck_assert_uint_eq(info->n_contexts, LIVE);
	ck_assert_uint_eq(info->shortest, 1);
	ck_assert_uint_eq(info->longest, 5);
	ck_assert_uint_eq(info->n_rows - info->n_masked, REAL);
	for (uint64_t c = 0, at = 0; c < LIVE; c++, at++) {
		uint32_t n = sae_dump_context(d, c, &first);
		while (lengths[at] == 0)
			at++;
		ck_assert_int_eq((int)n, lengths[at]);
		ck_assert_int_eq(sae_dump_tokens(d, c, ids, NULL), 0);
		for (uint32_t i = 0; i < n; i++, real++) {
			ck_assert_uint_eq(ids[i], made_token(real));
			ck_assert_int_eq(sae_dump_read(d, first + i, 1, x, NULL), 0);
			ck_assert(x[0] == made_value(real, 0) && x[D - 1] == made_value(real, D - 1));
			ck_assert(sae_dump_where(d, first + i, &context, &position));
			ck_assert(context == c && position == i && !sae_dump_masked(d, first + i));
		}
	}
	ck_assert_uint_eq(real, REAL);
	for (uint64_t row = 0, other = 0; row < info->n_rows; row++) {
		other += sae_dump_masked(d, row);
		if (row + 1 == info->n_rows)
			ck_assert_uint_eq(other, info->n_masked);
	}
}

static sae_rows *scan(const sae_dump *d, const sae_rows_opts *o)
{
	pool *p = NULL;
	sae_rows *r = NULL;
	error err = { 0 };

	ck_assert_int_eq(pool_new(&p, 2, &err), 0);
	ck_assert_msg(sae_rows_scan(&r, d, o, true, p, NULL, &err) == 0, "%s", err.msg);
	pool_free(p);
	return r;
}

/* What counts of it, and how it is divided, is the same in all forms too. */
static void counts_the_same(const sae_dump *d)
{
	static const uint32_t second = 1;
	const sae_rows_opts o = {
		.max_norm_ratio = 0, .nan_fail = true, .exclude_positions = &second, .n_exclude_positions = 1
	};
	sae_rows *r = scan(d, &o);
	const sae_rows_stats *st = sae_rows_get_stats(r);
	uint64_t first, held = 0;

	ck_assert_uint_eq(st->n_kept, REAL - 4);
	ck_assert_uint_eq(st->n_position, 4);
	ck_assert_uint_eq(st->n_masked, sae_dump_get_info(d)->n_masked);
	ck_assert_uint_eq(st->n_nan, 0);
	ck_assert_uint_eq(st->n_duplicate, 0);
	ck_assert_int_eq(sae_rows_split(r, d, 0.4, SAE_SPLIT_DOCUMENT, 3, NULL), 0);
	for (uint64_t c = 0; c < LIVE; c++) {
		uint32_t n = sae_dump_context(d, c, &first);
		for (uint32_t i = 1; i < n; i++)
			ck_assert(i == 1 || rowset_has(&r->held, first) == rowset_has(&r->held, first + i));
		held = held * 2 + rowset_has(&r->held, first);
	}
	ck_assert_uint_eq(held, 22); /* found once: contexts 0, 2 and 3, in every form */
	sae_rows_free(r);
}

START_TEST(reads_the_same_text_in_every_form)
{
	const char *path = in_folder("a.safetensors");
	int32_t packed[LIVE] = { 3, 5, 1, 4, 2 };
	sae_tensor_out more[2] = { as_lengths(lengths) };
	sae_dump *d;
	files f;

	fill(&f, PADDED_RIGHT);
	for (int i = 0; i < 4; i++) { /* lengths, then masks of both shapes, then both */
		more[0] = i == 0 ? as_lengths(lengths) : as_mask("mask", f.mask, i == 1);
		more[1] = as_lengths(lengths);
		write_with(path, &f, false, more, i == 3 ? 2 : 1);
		d = made_dump_open(path, NULL);
		is_the_text(d);
		counts_the_same(d);
		sae_dump_close(d);
	}
	fill(&f, PADDED_LEFT);
	more[0] = as_mask("attention_mask", f.mask, false);
	write_with(path, &f, true, more, 1); /* the mask alone tells ctx_len */
	d = made_dump_open(path, NULL);
	is_the_text(d);
	counts_the_same(d);
	sae_dump_close(d);
	fill(&f, PACKED);
	more[0] = as_lengths(packed);
	more[0].dims[0] = LIVE;
	write_with(path, &f, true, more, 1);
	d = made_dump_open(path, NULL);
	ck_assert_uint_eq(sae_dump_get_info(d)->ctx_len, 5);
	ck_assert_uint_eq(sae_dump_get_info(d)->n_rows, REAL);
	is_the_text(d);
	counts_the_same(d);
	sae_dump_close(d);
	more[0] = as_lengths(lengths); /* an empty context among them */
	write_with(path, &f, true, more, 1);
	d = made_dump_open(path, &(sae_dump_opts){ .ctx_len = 9 });
	ck_assert_uint_eq(sae_dump_get_info(d)->ctx_len, 9);
	is_the_text(d);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(takes_masks_from_files_of_their_own)
{
	sae_dump_opts o = { .tokens = in_folder("tokens.npy"), .mask = in_folder("mask.npy") };
	sae_dump *d;
	files f;

	fill(&f, PADDED_LEFT);
	support_npy(in_folder("x.npy"), 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (30, 4), }",
	            f.x, sizeof(f.x));
	support_npy(o.tokens, 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (6, 5), }", f.tokens,
	            sizeof(f.tokens));
	support_npy(o.mask, 1, "{'descr': '|b1', 'fortran_order': False, 'shape': (6, 5), }", f.mask,
	            sizeof(f.mask));
	d = made_dump_open(in_folder("x.npy"), &o);
	is_the_text(d);
	sae_dump_close(d);
	fill(&f, PADDED_RIGHT);
	support_npy(in_folder("x.npy"), 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (30, 4), }",
	            f.x, sizeof(f.x));
	support_npy(o.tokens, 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (6, 5), }", f.tokens,
	            sizeof(f.tokens));
	o.mask = NULL;
	o.lengths = in_folder("lengths.npy");
	support_npy(o.lengths, 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }", lengths,
	            sizeof(lengths));
	d = made_dump_open(in_folder("x.npy"), &o);
	is_the_text(d);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* A masked row inside a context stays in its text; documents go with their contexts; a mask of ones changes nothing. */
START_TEST(keeps_what_is_masked_inside)
{
	const char *path = in_folder("a.safetensors");
	const sae_rows_opts o = { .max_norm_ratio = 0 };
	sae_tensor_out more[2];
	uint8_t ones[ROWS], inside[ROWS];
	uint32_t ids[CTX];
	uint64_t first;
	char digest[SHA256_HEX];
	sae_rows *r;
	sae_dump *d;
	files f;

	fill(&f, PADDED_RIGHT);
	memcpy(inside, f.mask, sizeof(inside));
	inside[1] = 0;   /* in the first context, of 3 */
	inside[CTX] = 0; /* the first of the second: with attention_mask no border */
	more[0] = as_mask("mask", inside, false);
	more[1] = as_mask("attention_mask", f.mask, false);
	write_with(path, &f, false, more, 2);
	support_put_text(in_folder("dump.json"), "{\"documents\":[4,5,6,7,8,9]}");
	d = made_dump_open(path, NULL);
	ck_assert_uint_eq(sae_dump_context(d, 0, &first), 3);
	ck_assert_uint_eq(sae_dump_context(d, 1, &first), 5);
	ck_assert_int_eq(sae_dump_tokens(d, 0, ids, NULL), 0);
	ck_assert_uint_eq(ids[1], made_token(1));
	ck_assert(sae_dump_masked(d, 1) && !sae_dump_masked(d, 2));
	ck_assert_uint_eq(sae_dump_document(d, 1), 5);
	ck_assert_uint_eq(sae_dump_document(d, 2), 7); /* the third context is empty */
	r = scan(d, &o);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_kept, REAL - 2);
	ck_assert(!sae_rows_kept(r, 1));
	sae_rows_free(r);
	sae_dump_close(d);
	memset(ones, 1, sizeof(ones));
	for (size_t i = 0; i < ROWS * D; i++)
		f.x[i] = (float)i;
	for (int i = 0; i < 2; i++) {
		more[0] = as_mask("mask", ones, false);
		write_with(path, &f, false, more, (size_t)i);
		d = made_dump_open(path, NULL);
		ck_assert(!sae_dump_get_info(d)->ragged);
		r = scan(d, &o);
		if (i)
			ck_assert_str_eq(sae_rows_get_stats(r)->sha256, digest);
		memcpy(digest, sae_rows_get_stats(r)->sha256, sizeof(digest));
		sae_rows_free(r);
		sae_dump_close(d);
	}
	leave_folder();
}
END_TEST

START_TEST(refuses_masks_and_lengths_that_lie)
{
	static const struct {
		int32_t lengths[CONTEXTS];
		const char *words;
	} bad[] = {
		{ { 3, 6, 0, 1, 4, 2 }, "a.safetensors': length 1 is 6, contexts have at most 5 rows" },
		{ { 3, 5, 0, -1, 4, 2 }, "length 3 is -1" },
		{ { 0, 0, 0, 0, 0, 0 }, "a.safetensors': mask or lengths leave none of the 30 rows" },
	};
	static const uint8_t none[ROWS];
	const char *path = in_folder("a.safetensors");
	sae_tensor_out more[2];
	error err = { 0 };
	sae_dump *d = NULL;
	uint8_t twos[ROWS] = { 1, 2 };
	files f;

	fill(&f, PADDED_RIGHT);
#define REFUSED(n_more, flat, o, code, words)                                                                \
	do {                                                                                                 \
		write_with(path, &f, flat, more, n_more);                                                    \
		ck_assert_int_eq(sae_dump_open(&d, &path, 1, o, &err), code);                                \
		ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);            \
		ck_assert_ptr_null(d);                                                                       \
	} while (0)
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		more[0] = as_lengths(bad[i].lengths);
		REFUSED(1, false, NULL, ERR_FORMAT, bad[i].words);
	}
	more[0] = as_lengths(lengths);
	REFUSED(1, true, NULL, ERR_FORMAT, "a.safetensors': 6 lengths add up to 15, the dump has 30 rows");
	more[0].dims[0] = 5;
	REFUSED(1, false, NULL, ERR_FORMAT, "5 lengths add up to 13, the dump has 30 rows");
	more[0] = as_mask("mask", f.mask, true);
	more[0].dims[0] = 29;
	REFUSED(1, false, NULL, ERR_FORMAT, "a.safetensors' has 30 rows, its tensor 'mask' has 29 values");
	more[0] = as_mask("mask", f.mask, false);
	more[0].dims[0] = 5;
	more[0].dims[1] = 6;
	REFUSED(1, false, NULL, ERR_FORMAT, "tensor 'mask' has contexts of 6 rows, the dump of 5");
	more[0] = as_mask("mask", none, false);
	REFUSED(1, false, NULL, ERR_FORMAT, "mask or lengths leave none of the 30 rows");
	more[0] = as_mask("mask", twos, false);
	REFUSED(1, false, NULL, ERR_FORMAT, "a.safetensors': value 1 of 'mask' is 2; 1 is a real token");
	more[0] = (sae_tensor_out){
		.name = "mask", .dtype = SAE_F32, .n_dims = 1, .dims = { ROWS }, .data = f.x
	};
	REFUSED(1, false, NULL, ERR_FORMAT,
	        "a.safetensors': tensor 'mask' is not a list of whole numbers, one a row");
	more[0] = as_mask("lengths", f.mask, false);
	REFUSED(1, false, NULL, ERR_FORMAT, "tensor 'lengths' is not a list of whole numbers, one a context");
	more[0] = as_mask("roles", twos, false);
	REFUSED(1, false, (&(sae_dump_opts){ .roles = (const char *const[]){ "user" }, .n_roles = 1 }),
	        ERR_ARG, "role 'user' is none of the manifest's: it names none; say numbers");
	twos[3] = 64;
	REFUSED(1, false, (&(sae_dump_opts){ .roles = (const char *const[]){ "0" }, .n_roles = 1 }),
	        ERR_FORMAT, "a.safetensors': value 3 of 'roles' is 64");
	REFUSED(0, false, (&(sae_dump_opts){ .roles = (const char *const[]){ "0" }, .n_roles = 1 }), ERR_ARG,
	        "roles are asked for, but '");
	leave_folder();
}
END_TEST

START_TEST(chooses_rows_by_role)
{
	const char *path = in_folder("a.safetensors");
	const sae_rows_opts all = { .max_norm_ratio = 0 };
	static const struct {
		const char *roles[2];
		size_t n, kept;
	} cases[] = { { { "user" }, 1, 10 },
		      { { "user,assistant" }, 1, 20 },
		      { { "2", "system" }, 2, 20 },
		      { { "3" }, 1, 0 } };
	sae_tensor_out more[1];
	uint8_t roles[ROWS];
	files f;

	fill(&f, PADDED_RIGHT);
	for (size_t i = 0; i < ROWS; i++) {
		roles[i] = (uint8_t)(i % 3);
		for (size_t j = 0; j < D; j++)
			f.x[i * D + j] = (float)(i + j + 1);
	}
	more[0] = as_mask("roles", roles, false);
	write_with(path, &f, false, more, 1);
	support_put_text(in_folder("dump.json"), "{\"roles\":[\"system\",\"user\",\"assistant\"]}");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		sae_dump_opts o = { .roles = cases[i].roles, .n_roles = cases[i].n };
		sae_dump *d = made_dump_open(path, &o);
		sae_rows *r = scan(d, &all);
		ck_assert_uint_eq(sae_rows_get_stats(r)->n_kept, cases[i].kept);
		ck_assert_uint_eq(sae_rows_get_stats(r)->n_role, ROWS - cases[i].kept);
		ck_assert(sae_rows_kept(r, 1) == (i < 2));
		sae_rows_free(r);
		sae_dump_close(d);
	}
	leave_folder();
}
END_TEST

START_TEST(survives_every_fault)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	const char *path = in_folder("a.safetensors");
	const sae_dump_opts o = { .roles = (const char *const[]){ "0" }, .n_roles = 1 };
	sae_tensor_out more[3];
	files f;

	fill(&f, PADDED_RIGHT);
	more[0] = as_mask("mask", f.mask, false);
	more[1] = as_mask("roles", f.mask, false);
	more[2] = as_lengths(lengths);
	write_with(path, &f, false, more, 3);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_dump *d = NULL;
			int rc;
			fault_arm(kinds[i], n);
			rc = sae_dump_open(&d, &path, 1, &o, NULL);
			if (!fault_disarm(kinds[i])) {
				ck_assert_int_eq(rc, 0);
				sae_dump_close(d);
				break;
			}
			ck_assert_int_eq(rc, kinds[i] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
			ck_assert_ptr_null(d);
		}
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "ragged", reads_the_same_text_in_every_form, takes_masks_from_files_of_their_own,
	             keeps_what_is_masked_inside, chooses_rows_by_role);
	SUPPORT_CASE(s, "wrong", refuses_masks_and_lengths_that_lie, survives_every_fault);
}

SUPPORT_MAIN("ragged", cases)
