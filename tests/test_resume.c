/* A run that is saved, ended and gone on with; what is refused; faults on the way. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <math.h>
#include <unistd.h>

enum { D = 16, CTX = 32, CONTEXTS = 40, STEPS = 24 };

typedef struct input {
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} input;

static float value(uint64_t row, uint32_t j)
{
	uint64_t f = hash64_below(hash64_mix(3, row), 12);

	return (float)(hash64_unit(hash64_mix(f, j)) + 0.1 * hash64_unit(hash64_mix(99, row * D + j)));
}

static uint32_t token(uint64_t row)
{
	return (uint32_t)hash64_below(hash64_mix(4, row), 1000);
}

static void write_dump(const char *dir, unsigned shards)
{
	const made_dump made = { .contexts = CONTEXTS,
		                 .ctx_len = CTX,
		                 .d = D,
		                 .shards = shards,
		                 .dtype = SAE_F32,
		                 .three_dims = true,
		                 .tokens = true,
		                 .value = value,
		                 .token = token };

	made_dump_write(dir, &made);
}

static void input_open(input *in, const char *dir, unsigned threads, double norm_limit)
{
	const sae_dump_opts open = { 0 };
	const sae_rows_opts keep = { .max_norm_ratio = 10, .norm_limit = norm_limit };
	error err = { 0 };

	in->dump = made_dump_open(dir, &open);
	ck_assert_int_eq(pool_new(&in->pool, threads, &err), 0);
	ck_assert_int_eq(sae_rows_scan(&in->rows, in->dump, &keep, false, in->pool, NULL, &err), 0);
	ck_assert_int_eq(sae_rows_split(in->rows, in->dump, 0.2, SAE_SPLIT_DOCUMENT, 0, &err), 0);
}

static void input_close(input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
}

enum { MEMBERS = 2 };

/* What the members of a test have beside the usual; NULL: nothing. */
static void (*twist)(sae_train_opts *o, size_t member);

static void plan(sae_train_opts o[MEMBERS], uint64_t steps)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		o[i] = sae_train_opts_default();
		o[i].d_sae = 40 + 8 * (uint32_t)i;
		o[i].k = 3;
		o[i].batch = 96;
		o[i].steps = steps;
		o[i].lr = 3e-3;
		o[i].warmup = 4;
		o[i].dead_tokens = 500; /* so that the auxiliary loss has something to do */
		o[i].seed = i;
		o[i].moments8 = i == 1;
		if (twist)
			twist(&o[i], i);
	}
}

static sae_trainer *trainer_at(const input *in, uint64_t steps, uint64_t start_to)
{
	sae_train_opts o[MEMBERS];
	sae_trainer *t;
	error err = { 0 };

	plan(o, steps);
	ck_assert_msg(sae_trainer_new(&t, in->dump, in->rows, o, MEMBERS, in->pool, &err) == 0, "%s",
	              err.msg);
	if (start_to)
		ck_assert_int_eq(sae_trainer_start(t, &err), 0);
	while (sae_trainer_steps(t) < start_to)
		ck_assert_int_eq(sae_trainer_step(t, &err), 0);
	return t;
}

static void check_equal(const sae_trainer *a, const sae_trainer *b)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		sae_model *m, *n;
		double *f, *g;
		error err = { 0 };

		ck_assert_int_eq(sae_trainer_model(&m, &f, a, i, &err), 0);
		ck_assert_int_eq(sae_trainer_model(&n, &g, b, i, &err), 0);
		ck_assert_mem_eq(m->W_enc, n->W_enc, (size_t)m->d_sae * D * sizeof(float));
		ck_assert_mem_eq(m->W_dec, n->W_dec, (size_t)m->d_sae * D * sizeof(float));
		ck_assert_mem_eq(m->b_enc, n->b_enc, m->d_sae * sizeof(float));
		ck_assert_mem_eq(m->b_dec, n->b_dec, D * sizeof(float));
		ck_assert_mem_eq(f, g, m->d_sae * sizeof(double));
		sae_model_free(m);
		sae_model_free(n);
		free(f);
		free(g);
	}
}

static sae_trainer *restored(const input *in, const char *dir, uint64_t steps, bool extend, bool grown)
{
	sae_trainer *t = trainer_at(in, steps, 0);
	sae_saved *s;
	error err = { 0 };

	ck_assert_msg(sae_saved_open(&s, dir, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_trainer_restore(t, s, extend, grown, &err) == 0, "%s", err.msg);
	sae_saved_close(s);
	return t;
}

static void go_on(sae_trainer *t, uint64_t steps)
{
	error err = { 0 };

	while (sae_trainer_steps(t) < steps)
		ck_assert_msg(sae_trainer_step(t, &err) == 0, "%s", err.msg);
}

/* Saved after any step, also within a pass and across passes, and gone on with on other threads. */
START_TEST(a_resumed_run_is_the_uninterrupted_one)
{
	char dump[FILE_PATH_MAX], dir[FILE_PATH_MAX];
	sae_trainer *whole;
	input in, other;

	support_mkdir(dump);
	support_mkdir(dir);
	write_dump(dump, 1);
	input_open(&in, dump, 1, 0);
	input_open(&other, dump, 3, 0);
	whole = trainer_at(&in, STEPS, STEPS);
	for (uint64_t at = 1; at <= STEPS; at += 5) {
		sae_trainer *t = trainer_at(&in, STEPS, at), *again;
		sae_train_step before, after;
		error err = { 0 };

		ck_assert_msg(sae_trainer_save(t, dir, NULL, NULL, &err) == 0, "%s", err.msg);
		again = restored(&other, dir, STEPS, false, false);
		ck_assert_uint_eq(sae_trainer_steps(again), at);
		sae_trainer_member(t, 1, &before, NULL);
		sae_trainer_member(again, 1, &after, NULL);
		ck_assert_uint_eq(after.step, before.step);
		ck_assert(after.fvu == before.fvu && after.l0 == before.l0);
		go_on(again, STEPS);
		check_equal(again, whole);
		sae_trainer_free(t);
		sae_trainer_free(again);
	}
	sae_trainer_free(whole);
	input_close(&in);
	input_close(&other);
	support_rmdir(dump);
	support_rmdir(dir);
}
END_TEST

static void twist_adamw_muon(sae_train_opts *o, size_t member)
{
	o->moments8 = false;
	o->optimizer = member ? SAE_MUON : SAE_ADAMW;
	o->clip = 1;
	o->average = 0.9;
}

static void twist_signum_infinite(sae_train_opts *o, size_t member)
{
	o->moments8 = false;
	o->optimizer = member ? SAE_SIGNUM : SAE_ADAM;
	o->schedule = SAE_SCHEDULE_INFINITE;
	o->k_start = 12;
	o->k_shape = SAE_K_EXPONENTIAL;
}

static void twist_batch_k(sae_train_opts *o, size_t member)
{
	o->arch = SAE_BATCHTOPK;
	o->moments8 = member;
	o->schedule = SAE_SCHEDULE_COSINE;
	o->k_start = 12;
	o->k_anneal = 9;
	o->resample = 4;
	o->auxk_alpha = 0;
	o->bias = member ? SAE_BIAS_MEDIAN : SAE_BIAS_ZERO;
}

static void twist_prefixes(sae_train_opts *o, size_t member)
{
	o->arch = member ? SAE_MULTITOPK : SAE_MATRYOSHKA;
	o->random_prefixes = 4; /* drawn by the step's number */
	o->prefix_bias = true;
}

static void twist_prefixes_k(sae_train_opts *o, size_t member)
{
	o->arch = member ? SAE_MATRYOSHKA : SAE_MULTITOPK;
	o->moments8 = false;
	o->optimizer = SAE_ADAMW;
	o->k_start = 9;
}

static void twist_relu_jumprelu(sae_train_opts *o, size_t member)
{
	o->moments8 = false;
	o->arch = member ? SAE_JUMPRELU : SAE_RELU;
	o->penalty.target_l0 = 5;
	o->penalty.preact = 0.1;
	o->clip = member ? 1 : 0;
}

static void twist_panneal_gated(sae_train_opts *o, size_t member)
{
	o->moments8 = false;
	o->arch = member ? SAE_GATED : SAE_PANNEAL;
	o->penalty.coef = member ? 1 : 0; /* a constant one, and one that seeks 32 */
	o->penalty.free_decoder = member;
}

/* AuxK and resampling beside a penalty, with features that hardly fire at the start. */
static void twist_auxk(sae_train_opts *o, size_t member)
{
	o->moments8 = false;
	o->arch = member ? SAE_JUMPRELU : SAE_RELU;
	o->penalty.start_l0 = 0.1;
	o->resample = 10;
	o->auxk_alpha = 1.0 / 32;
	o->dead_tokens = o->batch;
}

static void twist_auxk_gated(sae_train_opts *o, size_t member)
{
	twist_auxk(o, member);
	o->arch = member ? SAE_GATED : SAE_PANNEAL;
	o->optimizer = SAE_MUON;
}

static void check_auxk(const sae_trainer *t)
{
	for (size_t i = 0; i < MEMBERS; i++) {
		sae_train_step last;

		(void)sae_trainer_member(t, i, &last, NULL);
		ck_assert_msg(last.n_dead > 0 && last.auxk > 0, "%u dead of member %zu",
		              (unsigned)last.n_dead, i);
	}
}

START_TEST(so_is_one_of_every_optimiser_and_schedule)
{
	static void (*const twists[])(sae_train_opts * o, size_t member) = {
		twist_adamw_muon,    twist_signum_infinite, twist_batch_k, twist_prefixes,  twist_prefixes_k,
		twist_relu_jumprelu, twist_panneal_gated,   twist_auxk,    twist_auxk_gated
	};
	char dump[FILE_PATH_MAX], dir[FILE_PATH_MAX];
	input in, other;

	support_mkdir(dump);
	support_mkdir(dir);
	write_dump(dump, 1);
	input_open(&in, dump, 1, 0);
	input_open(&other, dump, 3, 0);
	for (size_t i = 0; i < ARRAY_LEN(twists); i++) {
		sae_trainer *whole, *again;
		error err = { 0 };

		twist = twists[i];
		whole = trainer_at(&in, STEPS, 7);
		if (twist == twist_auxk || twist == twist_auxk_gated)
			check_auxk(whole);
		ck_assert_msg(sae_trainer_save(whole, dir, NULL, NULL, &err) == 0, "%s", err.msg);
		again = restored(&other, dir, STEPS, false, false);
		go_on(whole, STEPS);
		go_on(again, STEPS);
		check_equal(again, whole);
		sae_trainer_free(again);
		sae_trainer_free(whole);
	}
	twist = NULL;
	input_close(&in);
	input_close(&other);
	support_rmdir(dump);
	support_rmdir(dir);
}
END_TEST

static void check_refused(const input *in, const char *dir, const sae_train_opts *o, const char *message)
{
	sae_trainer *t;
	sae_saved *s;
	error err = { 0 };

	ck_assert_int_eq(sae_trainer_new(&t, in->dump, in->rows, o, MEMBERS, in->pool, &err), 0);
	ck_assert_int_eq(sae_saved_open(&s, dir, &err), 0);
	ck_assert_int_eq(sae_trainer_restore(t, s, false, false, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, message) != NULL, "%s", err.msg);
	sae_saved_close(s);
	sae_trainer_free(t);
}

/* Screening may go from exact to off, whose bits are the same; nothing else may change. */
START_TEST(another_plan_is_refused)
{
	char dump[FILE_PATH_MAX], dir[FILE_PATH_MAX];
	sae_train_opts o[MEMBERS];
	sae_trainer *t, *again;
	sae_saved *s;
	error err = { 0 };
	input in;

	support_mkdir(dump);
	support_mkdir(dir);
	write_dump(dump, 1);
	input_open(&in, dump, 1, 0);
	t = trainer_at(&in, STEPS, 3);
	ck_assert_int_eq(sae_trainer_save(t, dir, NULL, NULL, &err), 0);
	plan(o, STEPS);
	o[1].moments8 = false;
	check_refused(&in, dir, o, "option '1.optimizer_state' is 8 in the checkpoint, 32 now");
	plan(o, STEPS);
	o[0].arch = SAE_GROUPMAX;
	o[0].k = 4;
	check_refused(&in, dir, o, "option '0.arch' is 0 in the checkpoint, 2 now");
	plan(o, STEPS);
	o[0].screening = SAE_SCREENING_STATISTICAL;
	check_refused(&in, dir, o, "option '0.screening_statistical' is false in the checkpoint, true now");
	o[0].screening = SAE_SCREENING_OFF;
	ck_assert_int_eq(sae_trainer_new(&again, in.dump, in.rows, o, MEMBERS, in.pool, &err), 0);
	ck_assert_int_eq(sae_saved_open(&s, dir, &err), 0);
	ck_assert_msg(sae_trainer_restore(again, s, false, false, &err) == 0, "%s", err.msg);
	sae_saved_close(s);
	go_on(t, STEPS);
	go_on(again, STEPS);
	check_equal(t, again);
	sae_trainer_free(t);
	sae_trainer_free(again);
	input_close(&in);
	support_rmdir(dump);
	support_rmdir(dir);
}
END_TEST

/* Where warm-up and dead window are given, a run saved before its decay and extended is the longer run. */
START_TEST(an_extended_run_is_the_longer_one)
{
	char dump[FILE_PATH_MAX], dir[FILE_PATH_MAX];
	sae_trainer *longer, *t;
	sae_saved *s;
	error err = { 0 };
	input in;

	support_mkdir(dump);
	support_mkdir(dir);
	write_dump(dump, 1);
	input_open(&in, dump, 2, 0);
	longer = trainer_at(&in, 40, 40);
	t = trainer_at(&in, STEPS, 18); /* the decay begins at step 20 */
	ck_assert_int_eq(sae_trainer_save(t, dir, NULL, NULL, &err), 0);
	sae_trainer_free(t);
	t = restored(&in, dir, 40, true, false);
	go_on(t, 40);
	check_equal(t, longer);
	sae_trainer_free(t);
	t = trainer_at(&in, 40, 0);
	ck_assert_int_eq(sae_saved_open(&s, dir, &err), 0);
	ck_assert_int_eq(sae_trainer_restore(t, s, false, false, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "option 'steps' is 24 in the checkpoint, 40 now"));
	sae_saved_close(s);
	sae_trainer_free(t);
	sae_trainer_free(longer);
	input_close(&in);
	support_rmdir(dump);
	support_rmdir(dir);
}
END_TEST

static void check_dump(const sae_saved *s, const input *in, bool may_grow, int want, const char *message)
{
	bool grown = false;
	error err = { 0 };
	int rc = sae_saved_check_dump(s, in->dump, in->rows, may_grow, &grown, in->pool, &err);

	ck_assert_msg(rc == want, "%d: %s", rc, err.msg);
	if (want)
		ck_assert_msg(strstr(err.msg, message) != NULL, "%s", err.msg);
	else
		ck_assert_str_eq(message, grown ? "grown" : "the same");
}

START_TEST(a_dump_that_has_grown_is_told_from_another)
{
	char one[FILE_PATH_MAX], two[FILE_PATH_MAX], dir[FILE_PATH_MAX];
	sae_trainer *t;
	sae_saved *s;
	error err = { 0 };
	input small, large;

	support_mkdir(one);
	support_mkdir(two);
	support_mkdir(dir);
	write_dump(one, 1);
	write_dump(two, 3);
	input_open(&small, one, 2, 0);
	t = trainer_at(&small, STEPS, 5);
	ck_assert_int_eq(sae_trainer_save(t, dir, NULL, NULL, &err), 0);
	ck_assert_int_eq(sae_saved_open(&s, dir, &err), 0);
	input_open(&large, two, 2, sae_saved_get_info(s)->norm_limit);
	check_dump(s, &small, false, 0, "the same");
	check_dump(s, &small, true, 0, "the same");
	check_dump(s, &large, false, ERR_ARG, "(--extend goes on with a dump that has grown)");
	check_dump(s, &large, true, 0, "grown");
	ck_assert_int_eq(sae_rows_split(small.rows, small.dump, 0.3, SAE_SPLIT_DOCUMENT, 0, &err), 0);
	check_dump(s, &small, true, ERR_ARG, "other rows are left out or held out");
	sae_saved_close(s);
	sae_trainer_free(t);

	/* the rows of the grown dump are read from the next pass on */
	t = restored(&large, dir, 2 * STEPS, true, true);
	go_on(t, 2 * STEPS);
	ck_assert_int_eq(sae_trainer_save(t, dir, NULL, NULL, &err), 0);
	ck_assert_int_eq(sae_saved_open(&s, dir, &err), 0);
	check_dump(s, &large, false, 0, "the same");
	check_dump(s, &small, true, ERR_ARG, "has not grown: 3840 rows there, 1280 now");
	sae_saved_close(s);
	sae_trainer_free(t);
	input_close(&small);
	input_close(&large);
	support_rmdir(one);
	support_rmdir(two);
	support_rmdir(dir);
}
END_TEST

/* The nth write, sync or allocation of a save fails: the checkpoint before is whole. Of a restore: an error. */
START_TEST(a_failed_save_keeps_the_last_one)
{
	static const fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC, FAULT_ALLOC };
	char dump[FILE_PATH_MAX], dir[FILE_PATH_MAX];
	sae_trainer *t;
	sae_saved *s = NULL;
	error err = { 0 };
	input in;

	support_mkdir(dump);
	support_mkdir(dir);
	write_dump(dump, 1);
	input_open(&in, dump, 1, 0);
	t = trainer_at(&in, STEPS, 3);
	ck_assert_int_eq(sae_trainer_save(t, dir, NULL, NULL, &err), 0);
	go_on(t, 4);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		for (long n = 0;; n++) {
			int rc;

			fault_arm(kinds[i], n);
			rc = sae_trainer_save(t, dir, NULL, NULL, &err);
			if (!fault_disarm(kinds[i])) {
				ck_assert_int_eq(rc, 0);
				break;
			}
			if (rc == 0) /* the folder's sync, or a temporary file that stays */
				continue;
			ck_assert_int_eq(sae_saved_open(&s, dir, &err), 0);
			ck_assert_uint_ge(sae_saved_get_info(s)->steps_taken, 3);
			sae_saved_close(s);
		}
	}
	sae_trainer_free(t);
	for (long n = 0;; n++) {
		int rc;

		t = trainer_at(&in, STEPS, 0);
		s = NULL;
		fault_arm(FAULT_ALLOC, n);
		rc = sae_saved_open(&s, dir, &err);
		if (rc == 0)
			rc = sae_trainer_restore(t, s, false, false, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		sae_saved_close(s);
		sae_trainer_free(t);
	}
	sae_saved_close(s);
	sae_trainer_free(t);
	input_close(&in);
	support_rmdir(dump);
	support_rmdir(dir);
}
END_TEST

START_TEST(a_sample_of_held_out_rows_is_spread)
{
	char dump[FILE_PATH_MAX];
	sae_rows *some;
	error err = { 0 };
	uint64_t held;
	input in;

	support_mkdir(dump);
	write_dump(dump, 1);
	input_open(&in, dump, 1, 0);
	held = sae_rows_n(in.rows, true);
	ck_assert_int_eq(sae_rows_sample(&some, in.rows, 10, &err), 0);
	ck_assert_uint_eq(sae_rows_n(some, false), 0);
	ck_assert_uint_eq(sae_rows_n(some, true), 10);
	for (uint64_t i = 0; i < 10; i++) {
		uint64_t row = sae_rows_at(some, true, i), at = 0;

		while (sae_rows_at(in.rows, true, at) != row)
			at++;
		ck_assert_uint_ge(at, held / 10 * i);
		ck_assert_uint_lt(at, held * (i + 1) / 10 + 1);
	}
	sae_rows_free(some);
	ck_assert_int_eq(sae_rows_sample(&some, in.rows, held + 1, &err), 0);
	ck_assert_uint_eq(sae_rows_n(some, true), held);
	sae_rows_free(some);
	input_close(&in);
	support_rmdir(dump);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "resume", a_resumed_run_is_the_uninterrupted_one,
	             so_is_one_of_every_optimiser_and_schedule, another_plan_is_refused,
	             an_extended_run_is_the_longer_one, a_dump_that_has_grown_is_told_from_another,
	             a_failed_save_keeps_the_last_one, a_sample_of_held_out_rows_is_spread);
}
SUPPORT_MAIN("resume", cases)
