/* Batches read ahead: the right rows from every dtype, over groups, passes and left-out rows; and shards that change. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sae/shuffle.h"
#include "tests/support.h"
#include "tests/support_dump.h"

enum { D = 24, CTX = 40, CONTEXTS = 50, SHARDS = 3, ROWS = CTX * CONTEXTS * SHARDS, BATCH = 100 };

typedef struct input {
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
	shuffle order;
	char dir[FILE_PATH_MAX];
} input;

/* Position 0 of every context is left out, as a rule of real dumps, and a quarter of the contexts held out. */
static void input_open(input *in, sae_dtype dtype, bool single_rows)
{
	static const uint32_t left_out[] = { 0 };
	const made_dump m = { .contexts = CONTEXTS,
		              .ctx_len = CTX,
		              .d = D,
		              .shards = SHARDS,
		              .dtype = dtype,
		              .three_dims = true };
	const sae_rows_opts keep = { .exclude_positions = left_out, .n_exclude_positions = 1 };
	error err = { 0 };

	support_mkdir(in->dir);
	made_dump_write(in->dir, &m);
	in->dump = made_dump_open(in->dir, NULL);
	ck_assert_int_eq(pool_new(&in->pool, 1, &err), 0);
	ck_assert_int_eq(sae_rows_scan(&in->rows, in->dump, &keep, false, in->pool, NULL, &err), 0);
	ck_assert_int_eq(sae_rows_split(in->rows, in->dump, 0.25, SAE_SPLIT_DOCUMENT, 0, &err), 0);
	shuffle_init(&in->order, sae_rows_n(in->rows, false), D, single_rows, 1);
	in->order.group = single_rows ? 500 : 9;
	in->order.n_groups = (in->order.n_blocks + in->order.group - 1) / in->order.group;
}

static void input_close(input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
	support_rmdir(in->dir);
}

static uint64_t row_at(const input *in, uint64_t p)
{
	const shuffle *s = &in->order;
	uint64_t *blocks = malloc(s->group * sizeof(*blocks)), i, row;
	shuffle_group g;

	shuffle_group_of(&g, s, p);
	shuffle_group_blocks(&g, s, blocks);
	i = shuffle_group_row(&g, p % s->n - g.first);
	for (row = 0; row < g.n_blocks; row++) { /* only the last block may be short */
		uint64_t n =
		        s->n - blocks[row] * s->block < s->block ? s->n - blocks[row] * s->block : s->block;
		if (i < n)
			break;
		i -= n;
	}
	row = blocks[row] * s->block + i;
	free(blocks);
	return sae_rows_at(in->rows, false, row);
}

/* n batches from `start` hold the rows of the order. */
static void check_batches(const input *in, uint64_t start, unsigned n)
{
	float want[D], *x;
	error err = { 0 };
	loader *l;

	ck_assert_int_eq(loader_new(&l, in->dump, in->rows, &in->order, BATCH, start, NULL, &err), 0);
	for (uint64_t p = start; n > 0; n--) {
		ck_assert_msg(loader_next(l, &x, NULL, &err) == 0, "%s", err.msg);
		for (size_t i = 0; i < BATCH; i++, p++) {
			ck_assert_int_eq(sae_dump_read(in->dump, row_at(in, p), 1, want, &err), 0);
			ck_assert_int_eq(memcmp(x + i * D, want, sizeof(want)), 0);
		}
	}
	loader_free(l);
}

START_TEST(every_dtype_gives_the_rows_of_the_order)
{
	static const sae_dtype dtypes[] = { SAE_F16, SAE_BF16, SAE_F32, SAE_F64 };

	for (size_t i = 0; i < ARRAY_LEN(dtypes); i++) {
		input in;

		input_open(&in, dtypes[i], false);
		check_batches(&in, 0, 120); /* over two passes */
		check_batches(&in, in.order.n - 7, 3);
		check_batches(&in, 3 * in.order.n + 333, 20);
		input_close(&in);
	}
}
END_TEST

START_TEST(single_rows_follow_the_order_too)
{
	input in;

	input_open(&in, SAE_F16, true);
	check_batches(&in, 0, 100);
	check_batches(&in, 777, 30);
	input_close(&in);
}
END_TEST

/* Batches until one fails; that error stays. */
static void read_until_error(loader *l, error *err)
{
	error again = { 0 };
	float *x;
	int rc = 0;

	for (int i = 0; i < 200 && rc == 0; i++)
		rc = loader_next(l, &x, NULL, err);
	ck_assert_int_eq(rc, ERR_FORMAT);
	ck_assert_int_eq(loader_next(l, &x, NULL, &again), ERR_FORMAT);
	ck_assert_str_eq(again.msg, err->msg);
}

START_TEST(a_shard_that_shrinks_is_named_with_its_rows)
{
	input in;
	error err = { 0 };
	float *x;
	loader *l;

	input_open(&in, SAE_F16, false);
	ck_assert_int_eq(loader_new(&l, in.dump, in.rows, &in.order, BATCH, 0, NULL, &err), 0);
	ck_assert_int_eq(loader_next(l, &x, NULL, &err), 0);
	ck_assert_int_eq(truncate(support_path(in.dir, "shard-001.safetensors"), 30000), 0);
	read_until_error(l, &err);
	ck_assert_msg(strstr(err.msg, "cannot read rows ") != NULL, "%s", err.msg);
	ck_assert_msg(strstr(err.msg, "shard-001.safetensors' ended at byte ") != NULL, "%s", err.msg);
	loader_free(l);
	input_close(&in);
}
END_TEST

START_TEST(a_deleted_shard_is_read_to_the_end)
{
	input in;
	error err = { 0 };
	float *x;
	loader *l;

	input_open(&in, SAE_BF16, false);
	ck_assert_int_eq(loader_new(&l, in.dump, in.rows, &in.order, BATCH, 0, NULL, &err), 0);
	ck_assert_int_eq(unlink(support_path(in.dir, "shard-001.safetensors")), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_msg(loader_next(l, &x, NULL, &err) == 0, "%s", err.msg);
	loader_free(l);
	input_close(&in);
}
END_TEST

START_TEST(each_failing_read_is_an_error_of_its_batch)
{
	input in;
	unsigned struck = 0;

	input_open(&in, SAE_F16, false);
	for (long nth = 0; nth < 60; nth++) {
		error err = { 0 };
		float *x;
		loader *l;
		int rc = 0;

		fault_arm(FAULT_READ, nth);
		ck_assert_int_eq(loader_new(&l, in.dump, in.rows, &in.order, BATCH, 0, NULL, &err), 0);
		for (int i = 0; i < 20 && rc == 0; i++)
			rc = loader_next(l, &x, NULL, &err);
		loader_free(l); /* reads no more, so that the fault is this loader's */
		if (fault_disarm(FAULT_READ)) {
			struck++;
			/* the batch read ahead behind the last may be the one that failed */
			ck_assert(rc == ERR_IO || rc == 0);
		} else {
			ck_assert_int_eq(rc, 0);
		}
	}
	ck_assert_uint_gt(struck, 5);
	input_close(&in);
}
END_TEST

START_TEST(memory_is_told_and_each_failing_allocation_reported)
{
	uint64_t bytes = 0;
	input in;

	input_open(&in, SAE_F16, false);
	for (long nth = 0;; nth++) {
		error err = { 0 };
		loader *l = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = loader_new(&l, in.dump, in.rows, &in.order, BATCH, 0, NULL, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			loader_free(l);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(l);
	}
	ck_assert_int_eq(loader_bytes(&bytes, in.dump, &in.order, BATCH, NULL), 0);
	ck_assert_uint_gt(bytes, 2 * BATCH * D * sizeof(float) + 9 * 64 * D * 2);
	input_close(&in);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "batches", every_dtype_gives_the_rows_of_the_order, single_rows_follow_the_order_too,
	             a_shard_that_shrinks_is_named_with_its_rows, a_deleted_shard_is_read_to_the_end,
	             each_failing_read_is_an_error_of_its_batch,
	             memory_is_told_and_each_failing_allocation_reported);
}
SUPPORT_MAIN("loader", cases)
