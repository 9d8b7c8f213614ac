/* Dumps side by side: rows of a crosscoder's inputs and of a transcoder's target, which of them count, what does not belong together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/shuffle.h"
#include "tests/support.h"
#include "tests/support_dump.h"

enum { CTX = 20, CONTEXTS = 40, ROWS = CTX * CONTEXTS, D_A = 7, D_B = 5, D_Y = 3, BATCH = 64 };

static float value_a(uint64_t row, uint32_t j)
{
	return row == 33 ? 16 : made_value(row, j);
}

static float value_b(uint64_t row, uint32_t j)
{
	return row == 77 ? 30000 : 8 * made_value(row + 1, j + 3);
}

static float value_y(uint64_t row, uint32_t j)
{
	return row == 99 ? 16000 : row == 123 && j == 2 ? NAN : 2 * made_value(row + 5, j) + 1;
}

static float value_other(uint64_t row, uint32_t j)
{
	return row == 500 && j == 0 ? 1 : value_y(row, j);
}

static uint32_t other_token(uint64_t row)
{
	return row == 413 ? 6 : made_token(row);
}

static sae_dump *made(const char *name, uint32_t d, sae_dtype dtype, float (*value)(uint64_t, uint32_t),
                      uint32_t (*token)(uint64_t), uint64_t contexts)
{
	const made_dump m = { .contexts = contexts,
		              .ctx_len = CTX,
		              .d = d,
		              .shards = 1,
		              .dtype = dtype,
		              .tokens = true,
		              .value = value,
		              .token = token };
	const char *dir = in_folder(name);

	ck_assert_int_eq(file_mkdir(dir, NULL), 0);
	made_dump_write(dir, &m);
	return made_dump_open(dir, NULL);
}

/* Three formats, so that rows of 7 x 2, 5 x 8 and 3 x 4 bytes lie side by side. */
static sae_dump *made_all(float (*y)(uint64_t, uint32_t))
{
	sae_dump *d = made("a", D_A, SAE_F16, value_a, NULL, CONTEXTS);
	error err = { 0 };

	ck_assert_msg(sae_dump_add(d, made("b", D_B, SAE_F64, value_b, NULL, CONTEXTS), false, &err) == 0,
	              "%s", err.msg);
	ck_assert_msg(sae_dump_add(d, made("y", D_Y, SAE_F32, y, NULL, CONTEXTS), true, &err) == 0, "%s",
	              err.msg);
	return d;
}

static void wanted_row(float x[D_A + D_B], float y[D_Y], uint64_t row)
{
	for (uint32_t j = 0; j < D_A; j++)
		x[j] = value_a(row, j);
	for (uint32_t j = 0; j < D_B; j++)
		x[D_A + j] = value_b(row, j);
	for (uint32_t j = 0; j < D_Y; j++)
		y[j] = value_y(row, j);
}

START_TEST(rows_are_read_side_by_side)
{
	static float x[ROWS * (D_A + D_B)], y[ROWS * D_Y];
	float want[D_A + D_B], want_y[D_Y];
	sae_dump *d = made_all(value_y);
	uint32_t widths[3];

	ck_assert_uint_eq(sae_dump_get_info(d)->d_in, D_A + D_B);
	ck_assert_uint_eq(sae_dump_n_inputs(d), 2);
	for (size_t i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(sae_dump_part(d, i, &widths[i]));
	ck_assert_ptr_null(sae_dump_part(d, 3, NULL));
	ck_assert(widths[0] == D_A && widths[1] == D_B && widths[2] == D_Y);
	ck_assert_int_eq(sae_dump_read(d, 0, ROWS, x, NULL), 0);
	ck_assert_int_eq(sae_dump_read(sae_dump_target(d), 0, ROWS, y, NULL), 0);
	for (uint64_t row = 0; row < ROWS; row++) {
		if (row == 123)
			continue; /* NaN */
		wanted_row(want, want_y, row);
		ck_assert_mem_eq(x + row * (D_A + D_B), want, sizeof(want));
		ck_assert_mem_eq(y + row * D_Y, want_y, sizeof(want_y));
	}
	ck_assert_int_eq(sae_dump_check(d, NULL), 0);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

static sae_rows *scan(const sae_dump *d, const sae_rows_opts *o)
{
	sae_rows *r;
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_rows_scan(&r, d, o, false, p, NULL, NULL), 0);
	pool_free(p);
	return r;
}

START_TEST(each_dump_leaves_rows_out_by_its_own_norms)
{
	const sae_rows_opts usual = { .max_norm_ratio = 10 };
	sae_dump *d = made_all(value_y);
	sae_rows *r = scan(d, &usual), *again;
	const sae_rows_stats *st = sae_rows_get_stats(r);
	const double no_b[] = { 1e9 };
	sae_rows_opts limits = { .max_norm_ratio = 10, .more_limits = no_b, .n_more_limits = 1 };

	ck_assert_uint_eq(st->n_kept, ROWS - 3);
	ck_assert_uint_eq(st->n_outlier, 2);
	ck_assert_uint_eq(st->n_nan, 1);
	ck_assert(!sae_rows_kept(r, 77) && !sae_rows_kept(r, 99) && !sae_rows_kept(r, 123));
	ck_assert(sae_rows_kept(r, 33));
	ck_assert_uint_eq(st->n_more_limits, 2);
	ck_assert_double_gt(st->more_limits[0], 3 * st->norm_limit);
	again = scan(d, &limits); /* the limit of b is told, that of y the median's */
	ck_assert(sae_rows_kept(again, 77) && !sae_rows_kept(again, 99));
	ck_assert_double_eq(sae_rows_get_stats(again)->more_limits[1], st->more_limits[1]);
	sae_rows_free(again);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(the_hash_is_of_all_of_them)
{
	const sae_rows_opts usual = { .max_norm_ratio = 10 };
	char one[SHA256_HEX];
	sae_dump *d = made_all(value_y);
	sae_rows *r = scan(d, &usual);

	memcpy(one, sae_rows_get_stats(r)->sha256, sizeof(one));
	sae_rows_free(r);
	sae_dump_close(d);
	d = made_all(value_other);
	r = scan(d, &usual);
	ck_assert_str_ne(one, sae_rows_get_stats(r)->sha256);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(batches_hold_both_and_are_scaled)
{
	static const float scales[] = { 1, 0.5f, 4 };
	const sae_rows_opts usual = { .max_norm_ratio = 10 };
	sae_dump *d = made_all(value_y);
	sae_rows *r = scan(d, &usual);
	float want[D_A + D_B], want_y[D_Y], *x, *y;
	shuffle order;
	loader *l;
	error err = { 0 };

	shuffle_init(&order, sae_rows_n(r, false), D_A + D_B, true, 3);
	ck_assert_int_eq(loader_new(&l, d, r, &order, BATCH, 0, scales, &err), 0);
	for (uint64_t p = 0; p < 2 * BATCH; p++) {
		shuffle_group g;
		uint64_t blocks[ROWS], row;

		if (p % BATCH == 0)
			ck_assert_msg(loader_next(l, &x, &y, &err) == 0, "%s", err.msg);
		shuffle_group_of(&g, &order, p);
		shuffle_group_blocks(&g, &order, blocks);
		row = sae_rows_at(r, false, blocks[shuffle_group_row(&g, p - g.first)]);
		wanted_row(want, want_y, row);
		for (size_t j = 0; j < D_B; j++)
			want[D_A + j] *= scales[1];
		for (size_t j = 0; j < D_Y; j++)
			want_y[j] *= scales[2];
		ck_assert_mem_eq(x + p % BATCH * (D_A + D_B), want, sizeof(want));
		ck_assert_mem_eq(y + p % BATCH * D_Y, want_y, sizeof(want_y));
	}
	loader_free(l);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

static void refused(sae_dump *d, sae_dump *other, bool target, int code, const char *words)
{
	error err = { 0 };

	ck_assert_int_eq(sae_dump_add(d, other, target, &err), code);
	ck_assert_ptr_nonnull(strstr(err.msg, words));
	ck_assert_ptr_nonnull(strstr(err.msg, "/a/"));
	ck_assert_ptr_null(strchr(err.msg, '\n'));
	ck_assert_ptr_null(sae_dump_target(d));
	sae_dump_close(other);
}

START_TEST(dumps_of_other_tokens_are_refused)
{
	sae_dump *d = made("a", D_A, SAE_F16, value_a, NULL, CONTEXTS);

	refused(d, made("short", D_Y, SAE_F32, value_y, NULL, CONTEXTS - 1), true, ERR_FORMAT,
	        "800 rows there, 780 here");
	refused(d, made("other", D_Y, SAE_F32, value_y, other_token, CONTEXTS), true, ERR_FORMAT,
	        "row 413 is of token ");
	refused(d, made_dump_open(in_folder("a"), NULL), false, ERR_ARG,
	        "its 'activations' is asked for twice");
	sae_dump_close(d);
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "dumps side by side", rows_are_read_side_by_side,
	             each_dump_leaves_rows_out_by_its_own_norms, the_hash_is_of_all_of_them,
	             batches_hold_both_and_are_scaled, dumps_of_other_tokens_are_refused);
}

SUPPORT_MAIN("beside", cases)
