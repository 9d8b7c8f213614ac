/* Codebooks, matching pursuit and archetypal decoders as members of a run: the same bits at any number of threads and after a resume, models on raw
 * rows, options that do not fit. */
#include "tests/support.h"
#include "tests/support_dump.h"
#include "tests/support_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 16, CTX = 32, CONTEXTS = 40, STEPS = 12, F = 48 };

typedef struct input {
	char dir[FILE_PATH_MAX];
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} input;

static bool all_alike; /* the rows of the next input */

static float value(uint64_t row, uint32_t j)
{
	if (all_alike)
		return 0.1F * (float)(j + 1);
	uint64_t f = hash64_below(hash64_mix(3, row), 12);

	return (float)(7 * hash64_unit(hash64_mix(f, j)) + 0.7 * hash64_unit(hash64_mix(99, row * D + j)));
}

static uint32_t token(uint64_t row)
{
	return (uint32_t)hash64_below(hash64_mix(4, row), 1000);
}

static void input_open(input *in, unsigned threads)
{
	const made_dump made = { .contexts = CONTEXTS,
		                 .ctx_len = CTX,
		                 .d = D,
		                 .shards = 2,
		                 .dtype = SAE_F32,
		                 .three_dims = true,
		                 .tokens = true,
		                 .value = value,
		                 .token = token };
	const sae_dump_opts open = { 0 };
	const sae_rows_opts keep = { .max_norm_ratio = 10 };
	error err = { 0 };

	support_mkdir(in->dir);
	made_dump_write(in->dir, &made);
	in->dump = made_dump_open(in->dir, &open);
	ck_assert_int_eq(pool_new(&in->pool, threads, &err), 0);
	ck_assert_int_eq(sae_rows_scan(&in->rows, in->dump, &keep, false, in->pool, NULL, &err), 0);
	ck_assert_int_eq(sae_rows_split(in->rows, in->dump, 0.2, SAE_SPLIT_DOCUMENT, 0, &err), 0);
}

static void input_close(input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
	support_rmdir(in->dir);
}

enum { KINDS = 9 };

static sae_train_opts plan(int kind)
{
	sae_train_opts o = sae_train_opts_default();

	o.arch = kind < 5 ? SAE_CODEBOOK : kind < 7 ? SAE_PURSUIT : kind == 7 ? SAE_TOPK : SAE_BATCHTOPK;
	o.d_sae = F;
	o.k = 3;
	o.batch = 96;
	o.steps = STEPS;
	o.lr = 3e-3;
	o.warmup = 4;
	o.dead_tokens = 300;
	o.code_moving = kind == 1;
	o.codebook = (sae_codebook){ kind == 2 ? 4 : 1, kind == 3, kind == 2 };
	o.code_replace = kind == 1 || kind == 2 ? 5 : 0;
	o.code_norm = kind == 3;
	o.code_random = kind == 4;
	if (kind == 4) {
		o.k_start = 9;
		o.k_shape = SAE_K_POWER;
	}
	o.repeats = kind == 6;
	o.residual = kind == 6 ? 0 : 1;
	o.archetypal = kind >= 7 ? 20 : 0;
	return o;
}

static sae_trainer *trainer_of(const input *in, int kind, uint64_t start_to)
{
	const sae_train_opts o = plan(kind);
	sae_trainer *t = NULL;
	error err = { 0 };

	ck_assert_msg(sae_trainer_new(&t, in->dump, in->rows, &o, 1, in->pool, &err) == 0, "%s", err.msg);
	if (start_to)
		ck_assert_msg(sae_trainer_start(t, &err) == 0, "%s", err.msg);
	while (sae_trainer_steps(t) < start_to)
		ck_assert_msg(sae_trainer_step(t, &err) == 0, "%s", err.msg);
	return t;
}

static void check_equal(const sae_model *m, const sae_model *n)
{
	ck_assert_mem_eq(m->W_enc, n->W_enc, F * D * sizeof(float));
	ck_assert_mem_eq(m->W_dec, n->W_dec, F * D * sizeof(float));
	ck_assert_mem_eq(m->b_enc, n->b_enc, F * sizeof(float));
	ck_assert_mem_eq(m->b_dec, n->b_dec, D * sizeof(float));
}

/* One thread and no stop; three threads, and a stop in between. */
START_TEST(a_resumed_run_ends_with_the_same_bits)
{
	sae_model *models[2];
	double *freqs[2];
	error err = { 0 };

	for (int i = 0; i < 2; i++) {
		input in;
		sae_trainer *t;

		input_open(&in, i ? 3 : 1);
		t = trainer_of(&in, _i, i ? 7 : STEPS);
		if (i) {
			sae_saved *s;
			cJSON *nothing = cJSON_CreateObject();

			ck_assert_msg(sae_trainer_save(t, in.dir, nothing, nothing, &err) == 0, "%s",
			              err.msg);
			sae_trainer_free(t);
			t = trainer_of(&in, _i, 0);
			ck_assert_msg(sae_saved_open(&s, in.dir, &err) == 0, "%s", err.msg);
			ck_assert_msg(sae_trainer_restore(t, s, false, false, &err) == 0, "%s", err.msg);
			sae_saved_close(s);
			cJSON_Delete(nothing);
		}
		while (sae_trainer_steps(t) < STEPS)
			ck_assert_int_eq(sae_trainer_step(t, &err), 0);
		ck_assert_int_eq(sae_trainer_model(&models[i], &freqs[i], t, 0, &err), 0);
		sae_trainer_free(t);
		input_close(&in);
	}
	check_equal(models[0], models[1]);
	ck_assert_mem_eq(freqs[0], freqs[1], F * sizeof(double));
	for (int i = 0; i < 2; i++) {
		sae_model_free(models[i]);
		free(freqs[i]);
	}
}
END_TEST

/* The model on raw rows explains them as well as the last batches were. Layer norm has its own FVU, of normalised rows. */
START_TEST(the_model_is_of_raw_rows)
{
	input in;
	sae_trainer *t;
	sae_train_step last;
	sae_model *m = NULL;
	sae_metrics metrics = { 0 };
	error err = { 0 };

	input_open(&in, 2);
	t = trainer_of(&in, _i, STEPS);
	ck_assert_int_eq(sae_trainer_member(t, 0, &last, NULL), SAE_MEMBER_RUNS);
	ck_assert_int_eq(sae_trainer_model(&m, NULL, t, 0, &err), 0);
	ck_assert_int_eq(sae_eval(&metrics, m, in.dump, NULL, in.rows, false, in.pool, NULL, &err), 0);
	if (_i != 4) /* it started from random numbers */
		ck_assert_double_lt(metrics.fvu, 1);
	if (_i != 3 && _i != 8) /* BatchTopK's threshold lags in so short a run */
		ck_assert_double_eq_tol(metrics.fvu / last.fvu, 1, 0.3);
	ck_assert_int_eq(m->arch, _i < 5    ? SAE_CODEBOOK
	                          : _i < 7  ? SAE_PURSUIT
	                          : _i == 7 ? SAE_TOPK
	                                    : SAE_JUMPRELU);
	sae_metrics_clear(&metrics);
	sae_model_free(m);
	sae_trainer_free(t);
	input_close(&in);
}
END_TEST

/* Rounding leaves a scatter of either sign, of which nothing is a share. */
START_TEST(rows_that_are_all_alike_have_nothing_to_explain)
{
	static const sae_arch archs[] = { SAE_TOPK, SAE_MATRYOSHKA, SAE_PURSUIT, SAE_CODEBOOK,
		                          SAE_RELU, SAE_GATED,      SAE_JUMPRELU };
	sae_train_opts o = sae_train_opts_default();
	sae_trainer *t = NULL;
	sae_train_step last;
	error err = { 0 };
	input in;

	o.arch = archs[_i];
	o.d_sae = F;
	o.k = 3;
	o.batch = 96;
	o.steps = 3;
	all_alike = true;
	input_open(&in, 1);
	ck_assert_msg(sae_trainer_new(&t, in.dump, in.rows, &o, 1, in.pool, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_trainer_start(t, &err) == 0, "%s", err.msg);
	while (sae_trainer_steps(t) < o.steps)
		ck_assert_msg(sae_trainer_step(t, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_trainer_member(t, 0, &last, NULL), SAE_MEMBER_RUNS);
	ck_assert_double_eq(last.fvu, 0);
	for (uint32_t i = 0; i < last.n_prefixes; i++)
		ck_assert_double_eq(last.prefix_fvu[i], 0);
	sae_trainer_free(t);
	input_close(&in);
	all_alike = false;
}
END_TEST

static void bad_groups(sae_train_opts *o)
{
	o->codebook.groups = 5;
}

static void bad_width(sae_train_opts *o)
{
	o->codebook.groups = 3;
}

static void bad_k(sae_train_opts *o)
{
	o->codebook.groups = 16;
	o->k = 4;
}

static void bad_k_start(sae_train_opts *o)
{
	o->codebook.groups = 16;
	o->k_start = 4;
}

static void bad_decay(sae_train_opts *o)
{
	o->code_decay = 1;
}

static void bad_noise(sae_train_opts *o)
{
	o->code_noise = (double)NAN;
}

static void bad_optimizer(sae_train_opts *o)
{
	o->optimizer = SAE_MUON;
}

static void bad_archetypal(sae_train_opts *o)
{
	o->arch = SAE_TOPK;
	o->archetypal = 9;
	o->moments8 = true;
}

static void bad_arch(sae_train_opts *o)
{
	o->archetypal = 9;
}

static const struct {
	void (*twist)(sae_train_opts *o);
	const char *message;
} bad[] = {
	{ bad_groups, "option 'features' is 48, which is no multiple of parts = 5" },
	{ bad_width, "option 'parts' is 3, which does not divide rows of 16 values" },
	{ bad_k, "option 'k' is 4, not in 1..3" },
	{ bad_k_start, "option 'k' is 4, not in 1..3" },
	{ bad_decay, "option 'code-decay' is 1, not in 0..1" },
	{ bad_noise, "option 'replace-noise' is nan, not in 0..1" },
	{ bad_optimizer, "arch codebook goes with plain Adam only" },
	{ bad_arch, "option 'archetypal' is 9, which arch codebook does not have" },
	{ bad_archetypal, "option 'archetypal' is 9, which goes with plain Adam only" },
};

START_TEST(options_that_do_not_fit_are_named)
{
	sae_train_opts o = plan(0);
	sae_trainer *t = NULL;
	error err = { 0 };
	input in;

	input_open(&in, 1);
	bad[_i].twist(&o);
	ck_assert_int_eq(sae_trainer_new(&t, in.dump, in.rows, &o, 1, in.pool, &err), ERR_ARG);
	ck_assert_msg(strncmp(err.msg, bad[_i].message, strlen(bad[_i].message)) == 0, "%s", err.msg);
	input_close(&in);
}
END_TEST

/* From the first to the last allocation of a run. */
START_TEST(each_failing_allocation_is_reported)
{
	sae_train_opts o = plan(_i);
	input in;

	o.steps = 6; /* codes are replaced in them */
	input_open(&in, 1);
	support_train_survives(in.dump, in.rows, &o, in.pool);
	input_close(&in);
}
END_TEST

static sae_train_step last_step(const sae_trainer *t)
{
	sae_train_step s;
	error cause;

	ck_assert_int_eq(sae_trainer_member(t, 0, &s, &cause), SAE_MEMBER_RUNS);
	return s;
}

/* The first step goes by dense tiles, and each after a batch where more than F / 12 features fired a row. */
START_TEST(dense_steps_are_those_after_many_firings)
{
	sae_train_opts o = sae_train_opts_default();
	sae_trainer *t = NULL;
	error err = { 0 };
	const unsigned most = F / 12;
	unsigned dense = 0;
	double seconds = 0;
	bool next = true;
	input in;

	input_open(&in, 1);
	o.arch = _i ? SAE_GATED : SAE_RELU;
	o.d_sae = F;
	o.batch = 96;
	o.steps = 30;
	o.lr = 1e-2;
	o.sparsity_warmup = 0;
	o.penalty.coef = 20;
	o.penalty.start_l0 = 24;
	ck_assert_msg(sae_trainer_new(&t, in.dump, in.rows, &o, 1, in.pool, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_trainer_start(t, &err) == 0, "%s", err.msg);
	for (unsigned i = 1; i < o.steps; i++) {
		sae_train_step s;

		ck_assert_msg(sae_trainer_step(t, &err) == 0, "%s", err.msg);
		s = last_step(t);
		dense += next;
		ck_assert_double_eq(s.dense_steps, dense);
		ck_assert(next ? s.dense_seconds > seconds : s.dense_seconds == seconds);
		ck_assert(s.dense_seconds <= s.step_seconds);
		seconds = s.dense_seconds;
		next = s.l0 > most;
	}
	ck_assert_uint_gt(dense, 2);
	ck_assert_uint_lt(dense, 20);
	sae_trainer_free(t);
	t = trainer_of(&in, 7, 3); /* TopK has no such phases */
	ck_assert(isnan(last_step(t).dense_steps) && isnan(last_step(t).dense_seconds));
	sae_trainer_free(t);
	input_close(&in);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = tcase_create("kinds");

	tcase_add_loop_test(t, a_resumed_run_ends_with_the_same_bits, 0, KINDS);
	tcase_add_loop_test(t, the_model_is_of_raw_rows, 0, KINDS);
	tcase_add_loop_test(t, rows_that_are_all_alike_have_nothing_to_explain, 0, 7);
	tcase_add_loop_test(t, dense_steps_are_those_after_many_firings, 0, 2);
	tcase_add_loop_test(t, each_failing_allocation_is_reported, 0, KINDS);
	tcase_add_loop_test(t, options_that_do_not_fit_are_named, 0, (int)ARRAY_LEN(bad));
	suite_add_tcase(s, t);
}

SUPPORT_MAIN("train_kinds", cases)
