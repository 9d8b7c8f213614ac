/* Order of rows, reading ahead, whole runs on a small dump. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>
#include <unistd.h>

#include "sae/shuffle.h"

/* ---- Order ---------------------------------------------------------------------------------------------------------- */

/* The training row at a position, found the slow way. */
static uint64_t row_at(const shuffle *s, uint64_t p)
{
	uint64_t *blocks = mem_alloc_aligned(s->group, sizeof(*blocks)), row;
	shuffle_group g;

	shuffle_group_of(&g, s, p);
	ck_assert(p % s->n >= g.first && p % s->n < g.first + g.n);
	shuffle_group_blocks(&g, s, blocks);
	row = shuffle_group_row(&g, p % s->n - g.first);
	row = blocks[row / s->block] * s->block + row % s->block;
	free(blocks);
	return row;
}

static void check_pass(shuffle s, uint64_t group, uint64_t pass)
{
	uint8_t *seen = calloc(s.n, 1);

	s.group = group;
	s.n_groups = (s.n_blocks + group - 1) / group;
	for (uint64_t i = 0; i < s.n; i++) {
		uint64_t row = row_at(&s, pass * s.n + i);

		ck_assert_uint_lt(row, s.n);
		ck_assert_uint_eq(seen[row]++, 0);
	}
	free(seen);
}

START_TEST(each_pass_holds_each_row_once)
{
	const uint64_t sizes[] = { 1, 2, 63, 64, 65, 300, 640, 1000 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		for (uint64_t pass = 0; pass < 3; pass++)
			for (int single = 0; single < 2; single++) {
				shuffle s;

				shuffle_init(&s, sizes[i], 8, single, 42);
				check_pass(s, 3, pass);
				check_pass(s, 1, pass);
				check_pass(s, s.group, pass);
			}
}
END_TEST

START_TEST(order_depends_on_seed_and_pass)
{
	shuffle a, b;
	unsigned same_seed = 0, same_pass = 0;

	shuffle_init(&a, 1000, 8, false, 1);
	shuffle_init(&b, 1000, 8, false, 2);
	for (uint64_t i = 0; i < 1000; i++) {
		same_seed += row_at(&a, i) == row_at(&b, i);
		same_pass += row_at(&a, i) == row_at(&a, 1000 + i);
		ck_assert_uint_eq(row_at(&a, i), row_at(&a, i));
	}
	ck_assert_uint_lt(same_seed, 12); /* 1 by chance */
	ck_assert_uint_lt(same_pass, 12);
}
END_TEST

/* Pairs of a batch from one context of 256 rows, against chance, when the dump is `groups` groups large. */
static double same_context_ratio(uint64_t n, uint64_t groups)
{
	enum { BATCH = 512, CONTEXT = 256 };
	uint64_t pairs = 0, same = 0, *blocks, context[BATCH];
	shuffle s;

	shuffle_init(&s, n, 8, false, 5);
	s.group = (s.n_blocks + groups - 1) / groups;
	s.n_groups = groups;
	blocks = mem_alloc_aligned(s.group, sizeof(*blocks));
	for (uint64_t b = 0; b < 8; b++) {
		shuffle_group g;

		shuffle_group_of(&g, &s, b * BATCH);
		shuffle_group_blocks(&g, &s, blocks);
		for (uint64_t i = 0; i < BATCH; i++) {
			uint64_t row = shuffle_group_row(&g, b * BATCH + i - g.first);

			context[i] = (blocks[row / s.block] * s.block + row % s.block) / CONTEXT;
			for (uint64_t j = 0; j < i; j++) {
				pairs++;
				same += context[j] == context[i];
			}
		}
	}
	free(blocks);
	return (double)same / (double)pairs / (CONTEXT / (double)n);
}

START_TEST(batches_mix_contexts)
{
	ck_assert_double_le(fabs(same_context_ratio(1 << 16, 1) - 1), 0.1);
	/* A quarter of the blocks at a time: a context is seen in parts of 64 rows that share a group by chance, so pairs of
	 * one part are four times as likely as chance, others just as likely. */
	ck_assert_double_le(fabs(same_context_ratio(1 << 16, 4) - (0.25 * 4 + 0.75)), 0.25);
}
END_TEST

/* ---- Dumps ---------------------------------------------------------------------------------------------------------- */

enum { D = 12, CTX = 32, CONTEXTS = 60, ROWS = CTX * CONTEXTS };

typedef struct fixture {
	char dir[FILE_PATH_MAX];
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} fixture;

/* Sparse sums of 20 directions; with the row's number in the last column; or near the largest float. */
enum rows_kind { PLAIN_ROWS, NUMBERED_ROWS, HUGE_ROWS };

static void make_rows(float *x, enum rows_kind kind)
{
	for (size_t t = 0; t < ROWS; t++) {
		for (size_t i = 0; i < D; i++)
			x[t * D + i] = (float)(0.1 * hash64_unit(hash64_mix(7, t * D + i))) + 1;
		for (size_t j = 0; j < 3; j++) {
			uint64_t f = hash64_below(hash64_mix(8, t * 3 + j), 20);

			for (size_t i = 0; i < D; i++)
				x[t * D + i] += (float)(2 * hash64_unit(hash64_mix(100 + f, i)) - 1);
		}
		if (kind == NUMBERED_ROWS)
			x[t * D + D - 1] = (float)t;
		for (size_t i = 0; i < D && kind == HUGE_ROWS; i++)
			x[t * D + i] = hash64_mix(9, t * D + i) & 1 ? 3e38f : -3e38f;
	}
}

static void fixture_open(fixture *f, enum rows_kind kind, unsigned threads)
{
	float *x = mem_alloc_aligned(ROWS, D * sizeof(float));
	const sae_tensor_out tensor = { "activations", SAE_F32, 3, { CONTEXTS, CTX, D }, x };
	const sae_dump_opts open = { 0 };
	const sae_rows_opts keep = { .max_norm_ratio = 0 };
	const char *path;
	error err = { 0 };

	make_rows(x, kind);
	support_mkdir(f->dir);
	path = support_path(f->dir, "acts.safetensors");
	ck_assert_int_eq(sae_safetensors_write(path, &tensor, 1, NULL, 0, &err), 0);
	ck_assert_msg(sae_dump_open(&f->dump, &path, 1, &open, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(pool_new(&f->pool, threads, &err), 0);
	ck_assert_msg(sae_rows_scan(&f->rows, f->dump, &keep, false, f->pool, NULL, &err) == 0, "%s",
	              err.msg);
	ck_assert_int_eq(sae_rows_split(f->rows, f->dump, 0.2, SAE_SPLIT_DOCUMENT, 0, &err), 0);
	free(x);
}

static void fixture_close(fixture *f)
{
	sae_rows_free(f->rows);
	sae_dump_close(f->dump);
	pool_free(f->pool);
	support_rmdir(f->dir);
}

/* Batches of any size and start hold the rows that the order names, over groups and passes. */
static void check_loader(const fixture *f, uint64_t group, uint32_t batch, uint64_t start)
{
	shuffle s;
	loader *l;
	error err = { 0 };

	shuffle_init(&s, sae_rows_n(f->rows, false), D, false, 3);
	s.group = group;
	s.n_groups = (s.n_blocks + group - 1) / group;
	ck_assert_int_eq(loader_new(&l, f->dump, f->rows, &s, batch, start, NULL, &err), 0);
	for (uint64_t p = start, n = 0; n < 3; n++) {
		float *x;

		ck_assert_int_eq(loader_next(l, &x, NULL, &err), 0);
		for (uint32_t i = 0; i < batch; i++, p++) {
			uint64_t row = sae_rows_at(f->rows, false, row_at(&s, p));

			ck_assert_msg(x[i * D + D - 1] == (float)row, "position %u holds row %g, not %u",
			              (unsigned)p, x[i * D + D - 1], (unsigned)row);
		}
		memset(x, 0, batch * D * sizeof(float)); /* the batch is the caller's */
	}
	loader_free(l);
}

START_TEST(batches_follow_the_order)
{
	fixture f;

	fixture_open(&f, NUMBERED_ROWS, 1);
	check_loader(&f, 5, 100, 0);
	check_loader(&f, 5, 1000, 1234);
	check_loader(&f, 2, 4000, 17);
	check_loader(&f, 1000, 700, 1);
	fixture_close(&f);
}
END_TEST

/* ---- Runs ----------------------------------------------------------------------------------------------------------- */

typedef struct record {
	sae_train_step first, last;
	uint64_t calls, stop_at;
} record;

static int note(void *payload, const sae_train_step *s)
{
	record *r = payload;

	if (r->calls++ == 0)
		r->first = *s;
	r->last = *s;
	return s->step == r->stop_at;
}

static sae_train_opts small_run(record *r)
{
	sae_train_opts o = sae_train_opts_default();

	o.d_sae = 40;
	o.k = 4;
	o.batch = 256;
	o.steps = 120;
	o.lr = 3e-3;
	o.seed = 11;
	o.on_step = note;
	o.payload = r;
	return o;
}

START_TEST(a_run_lowers_the_loss_and_repeats_at_any_thread_count)
{
	sae_model *first = NULL;

	for (unsigned threads = 1; threads <= 3; threads++) {
		record r = { 0 };
		sae_train_opts o = small_run(&r);
		sae_model *m = NULL;
		double *freq = NULL, sum = 0;
		error err = { 0 };
		fixture f;

		fixture_open(&f, PLAIN_ROWS, threads);
		ck_assert_msg(sae_train(&m, &freq, f.dump, f.rows, &o, f.pool, &err) == 0, "%s", err.msg);
		ck_assert_uint_eq(r.calls, 120);
		ck_assert_uint_eq(r.last.tokens, 120 * 256);
		ck_assert_double_lt(r.last.fvu, 0.5 * r.first.fvu);
		ck_assert_double_lt(r.last.lr, 0.1 * o.lr);
		for (size_t i = 0; i < o.d_sae; i++)
			sum += freq[i];
		ck_assert_double_le(sum, 4);
		ck_assert_double_ge(sum, 1);
		if (!first) {
			sae_metrics held_out;

			ck_assert_int_eq(
			        sae_eval(&held_out, m, f.dump, NULL, f.rows, true, f.pool, NULL, &err), 0);
			ck_assert_double_lt(held_out.fvu, 1.5 * r.last.fvu); /* the scale is folded right */
			sae_metrics_clear(&held_out);
			first = m;
		} else {
			ck_assert_mem_eq(m->W_enc, first->W_enc, o.d_sae * D * sizeof(float));
			ck_assert_mem_eq(m->W_dec, first->W_dec, o.d_sae * D * sizeof(float));
			ck_assert_mem_eq(m->b_enc, first->b_enc, o.d_sae * sizeof(float));
			ck_assert_mem_eq(m->b_dec, first->b_dec, D * sizeof(float));
			sae_model_free(m);
		}
		free(freq);
		fixture_close(&f);
	}
	sae_model_free(first);
}
END_TEST

static void check_equal(const sae_model *a, const sae_model *b)
{
	size_t n = (size_t)a->d_sae * a->d_in;

	ck_assert_uint_eq(a->d_sae, b->d_sae);
	ck_assert_mem_eq(a->W_enc, b->W_enc, n * sizeof(float));
	ck_assert_mem_eq(a->W_dec, b->W_dec, n * sizeof(float));
	ck_assert_mem_eq(a->b_enc, b->b_enc, a->d_sae * sizeof(float));
	ck_assert_mem_eq(a->b_dec, b->b_dec, a->d_in * sizeof(float));
}

/* Members of other k, width, seed and rate, one of them ended on the way: each as if it were alone. */
START_TEST(members_equal_their_lone_runs)
{
	sae_train_opts o[4];
	sae_trainer *t;
	error err = { 0 };
	fixture f;

	fixture_open(&f, PLAIN_ROWS, 2);
	for (size_t i = 0; i < ARRAY_LEN(o); i++) {
		o[i] = small_run(NULL);
		o[i].on_step = NULL;
		o[i].steps = 30;
	}
	o[1].k = 2;
	o[1].seed = 5;
	o[2].d_sae = 70;
	o[2].auxk_alpha = 0;
	o[3].lr = 1e-3;
	ck_assert_msg(sae_trainer_new(&t, f.dump, f.rows, o, ARRAY_LEN(o), f.pool, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_trainer_start(t, &err), 0);
	for (unsigned s = 1; s <= 30; s++) {
		ck_assert_int_eq(sae_trainer_step(t, &err), 0);
		if (s == 7)
			sae_trainer_end_member(t, 3);
	}
	for (size_t i = 0; i < 3; i++) {
		sae_model *m, *alone;
		double *freq, *freq_alone;

		ck_assert_int_eq(sae_trainer_member(t, i, NULL, NULL), SAE_MEMBER_RUNS);
		ck_assert_int_eq(sae_trainer_model(&m, &freq, t, i, &err), 0);
		ck_assert_int_eq(sae_train(&alone, &freq_alone, f.dump, f.rows, &o[i], f.pool, &err), 0);
		check_equal(m, alone);
		ck_assert_mem_eq(freq, freq_alone, o[i].d_sae * sizeof(*freq));
		free(freq);
		free(freq_alone);
		sae_model_free(m);
		sae_model_free(alone);
	}
	sae_trainer_free(t);
	o[2].batch = 255;
	ck_assert_int_eq(sae_trainer_new(&t, f.dump, f.rows, o, 3, f.pool, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "members 0 and 2 of a run differ in 'batch', which they share");
	fixture_close(&f);
}
END_TEST

/* The last member that runs: its step does not count, and the row is named. */
START_TEST(a_lost_member_names_the_row)
{
	sae_train_opts o[2] = { small_run(NULL), small_run(NULL) };
	sae_train_step last;
	sae_trainer *t;
	error err = { 0 }, cause;
	fixture f;

	fixture_open(&f, HUGE_ROWS, 1);
	o[0].normalize = o[1].normalize = SAE_NORMALIZE_NONE;
	ck_assert_int_eq(sae_trainer_new(&t, f.dump, f.rows, o, 2, f.pool, &err), 0);
	ck_assert_int_eq(sae_trainer_start(t, &err), 0);
	sae_trainer_end_member(t, 0);
	ck_assert_int_eq(sae_trainer_step(t, &err), 0);
	ck_assert_uint_eq(sae_trainer_running(t), 0);
	ck_assert_uint_eq(sae_trainer_steps(t), 0);
	ck_assert_int_eq(sae_trainer_member(t, 1, &last, &cause), SAE_MEMBER_LOST);
	ck_assert_uint_eq(last.step, 0);
	ck_assert_ptr_nonnull(strstr(cause.msg, "rows 0 to 255 of the order); row "));
	ck_assert_ptr_nonnull(strstr(cause.msg, "acts.safetensors' has the norm 1.04e+39"));
	sae_trainer_free(t);
	fixture_close(&f);
}
END_TEST

START_TEST(a_shard_that_changes_is_named)
{
	error err = { 0 };
	const char *path, *aside;
	fixture f;

	fixture_open(&f, PLAIN_ROWS, 1);
	path = support_path(f.dir, "acts.safetensors");
	aside = support_path(f.dir, "aside");
	ck_assert_int_eq(sae_dump_check(f.dump, &err), 0);
	ck_assert_int_eq(rename(path, aside), 0);
	ck_assert_int_eq(sae_dump_check(f.dump, &err), ERR_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "is gone: No such file"));
	support_put_text(path, "other");
	ck_assert_int_eq(sae_dump_check(f.dump, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "was replaced by another file"));
	ck_assert_int_eq(rename(aside, path), 0);
	ck_assert_int_eq(truncate(path, 1000), 0);
	ck_assert_int_eq(sae_dump_check(f.dump, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, " to 1000 bytes"));
	fixture_close(&f);
}
END_TEST

START_TEST(a_stopped_run_keeps_its_model)
{
	record r = { .stop_at = 7 };
	sae_train_opts o = small_run(&r);
	sae_model *m = NULL;
	double *freq = NULL;
	error err = { 0 };
	fixture f;

	fixture_open(&f, PLAIN_ROWS, 1);
	ck_assert_int_eq(sae_train(&m, &freq, f.dump, f.rows, &o, f.pool, &err), ERR_STOPPED);
	ck_assert_str_eq(err.msg, "stopped after step 7 of 120");
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(r.calls, 7);
	sae_model_free(m);
	free(freq);
	fixture_close(&f);
}
END_TEST

START_TEST(a_loss_that_is_not_finite_stops)
{
	record r = { 0 };
	sae_train_opts o = small_run(&r);
	sae_model *m = NULL;
	error err = { 0 };
	fixture f;

	o.normalize = SAE_NORMALIZE_NONE;
	fixture_open(&f, HUGE_ROWS, 1);
	ck_assert_int_eq(sae_train(&m, NULL, f.dump, f.rows, &o, f.pool, &err), ERR_LIMIT);
	ck_assert_ptr_nonnull(strstr(err.msg, "the loss of step 1 is not finite"));
	ck_assert_ptr_null(m); /* no step was taken */
	fixture_close(&f);
}
END_TEST

START_TEST(options_out_of_range_are_named)
{
	const sae_train_opts good = sae_train_opts_default();
	const struct {
		sae_train_opts o;
		const char *message;
	} bad[] = {
		{ { .d_sae = 0 }, "option 'features' is 0, not in 1..67108864" },
		{ { .d_sae = 10, .k = 11 }, "option 'k' is 11, not in 1..10" },
		{ { .arch = (sae_arch)99, .d_sae = 10, .k = 1 }, "option 'arch' is 99, which is none" },
		{ { .arch = SAE_GROUPMAX, .d_sae = 10, .k = 3 },
		  "option 'features' is 10, which is no multiple of k = 3" },
		{ { .d_sae = 10, .k = 1, .screening = 3 }, "option 'screening' is 3, not in 0..2" },
		{ { .d_sae = 10, .k = 1, .batch = 0 }, "option 'batch' is 0, not in 1..1048576" },
		{ { .d_sae = 10, .k = 1, .batch = 1, .lr = NAN }, "option 'lr' is nan, not in 0..1000" },
		{ { .d_sae = 10, .k = 1, .batch = 1, .beta1 = 1 }, "option 'beta1' is 1" },
		{ { .d_sae = 10, .k = 1, .batch = 1, .eps = 0 }, "option 'eps' is 0" },
		{ { .d_sae = 10, .k = 1, .batch = 1, .eps = 1, .decay = 2 },
		  "option 'decay' is 2, not in 0..1" },
		{ { .d_sae = 10, .k = 1, .batch = 1, .eps = 1, .kernels = "mmx" },
		  "option 'kernels' is 'mmx'" },
	};
	error err = { 0 };

	ck_assert_int_eq(sae_train_opts_check(&good, 576, 1, &err), 0);
	ck_assert_int_eq(sae_train_opts_check(&good, 576, 0, &err), ERR_FORMAT);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(sae_train_opts_check(&bad[i].o, 576, 1, &err), ERR_ARG);
		ck_assert_msg(strncmp(err.msg, bad[i].message, strlen(bad[i].message)) == 0, "%s", err.msg);
	}
}
END_TEST

START_TEST(the_plan_fills_what_is_open)
{
	sae_train_opts o = sae_train_opts_default();

	sae_train_plan(&o, 100 * 4096 + 5);
	ck_assert_uint_eq(o.steps, 100);
	ck_assert_uint_eq(o.warmup, 5);
	ck_assert_uint_eq(o.dead_tokens, 10 * 4096);
	ck_assert_double_le(fabs(o.lr - 3.7712e-4), 1e-7);
	o = sae_train_opts_default();
	o.tokens = 4097;
	sae_train_plan(&o, 10);
	ck_assert_uint_eq(o.steps, 2);
	o = sae_train_opts_default();
	sae_train_plan(&o, 10);
	ck_assert_uint_eq(o.steps, 1);
}
END_TEST

/* The nth read fails, in the caller's thread or in the loader's: an error, and the model of the steps before it. */
START_TEST(a_read_that_fails_ends_the_run)
{
	record r = { 0 };
	sae_train_opts o = small_run(&r);
	fixture f;
	unsigned failures = 0;

	o.steps = 20;
	fixture_open(&f, PLAIN_ROWS, 1);
	for (long n = 0; n < 400; n += 1 + n / 4) {
		sae_model *m = NULL;
		error err = { 0 };
		int rc;

		r.calls = 0;
		fault_arm(FAULT_READ, n);
		rc = sae_train(&m, NULL, f.dump, f.rows, &o, f.pool, &err);
		if (fault_disarm(FAULT_READ)) {
			failures++;
			ck_assert_int_eq(rc, ERR_IO);
			ck_assert((m != NULL) == (r.calls > 0));
		} else {
			ck_assert_int_eq(rc, 0);
		}
		sae_model_free(m);
	}
	ck_assert_uint_ge(failures, 2); /* of each of the two loaders, at least */
	fixture_close(&f);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	record r = { 0 };
	sae_train_opts o = small_run(&r);
	fixture f;

	o.steps = 2;
	fixture_open(&f, PLAIN_ROWS, 1);
	support_train_survives(f.dump, f.rows, &o, f.pool);
	fixture_close(&f);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "order", each_pass_holds_each_row_once, order_depends_on_seed_and_pass,
	             batches_mix_contexts, batches_follow_the_order);
	SUPPORT_CASE(s, "run", a_run_lowers_the_loss_and_repeats_at_any_thread_count,
	             members_equal_their_lone_runs, a_lost_member_names_the_row,
	             a_shard_that_changes_is_named, a_stopped_run_keeps_its_model,
	             a_loss_that_is_not_finite_stops, options_out_of_range_are_named,
	             the_plan_fills_what_is_open, a_read_that_fails_ends_the_run,
	             each_failing_allocation_is_reported);
}
SUPPORT_MAIN("train", cases)
