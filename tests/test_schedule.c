/* Learning rate, sparsity and k from step to step, against values worked out elsewhere and formulas written out. */
#include "tests/support.h"

#include <math.h>

#include "sae/fit_control.h"
#include "sae/schedule.h"
#include "sae/train_internal.h"

static sae_train_opts plan(sae_schedule schedule, uint64_t steps)
{
	sae_train_opts o = sae_train_opts_default();

	o.schedule = schedule;
	o.steps = steps;
	o.lr = 1e-3;
	return o;
}

static void check_near(double got, double want)
{
	ck_assert_msg(fabs(got - want) <= 1e-5 * fabs(want), "%.9g, not %.9g", got, want);
}

static sae_train_opts infinite_plan(void)
{
	sae_train_opts o = plan(SAE_SCHEDULE_INFINITE, 1000);

	o.warmup = 100;
	o.cooldown = 400;
	o.anneal_from = 800;
	o.lr_constant = 0.4;
	o.lr_floor = 0.01;
	return o;
}

/* Values of shared facts (f), made by a simulation in NumPy. */
START_TEST(the_infinite_schedule_is_that_of_the_paper)
{
	static const struct {
		uint64_t step;
		double lr;
	} want[] = { { 50, 5e-4 },        { 100, 1e-3 },  { 175, 9.12132e-4 }, { 250, 7e-4 },
		     { 325, 4.87868e-4 }, { 400, 4e-4 },  { 500, 4e-4 },       { 600, 4e-4 },
		     { 700, 4e-4 },       { 800, 4e-4 },  { 850, 1.59054e-4 }, { 900, 6.32456e-5 },
		     { 950, 2.51487e-5 }, { 1000, 1e-5 }, { 1001, 1e-5 },      { 5000, 1e-5 } };
	sae_train_opts o = infinite_plan();

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		check_near(schedule_lr(&o, want[i].step), want[i].lr);
	ck_assert_double_eq(schedule_lr(&o, 0), 0);
	for (uint64_t s = 1; s < 1000; s++) { /* no jump, at its boundaries either */
		double change = fabs(schedule_lr(&o, s + 1) - schedule_lr(&o, s));

		ck_assert_double_le(change, 1.01e-5);
	}
}
END_TEST

START_TEST(its_cooldown_has_three_shapes)
{
	sae_train_opts o = infinite_plan();
	double t = 0.25, g = (1 / sqrt(1 + 10 * t) - 1) / (1 / sqrt(11.0) - 1);

	o.cooldown_shape = SAE_COOLDOWN_LINEAR;
	check_near(schedule_lr(&o, 175), 1e-3 - 6e-4 * t);
	check_near(schedule_lr(&o, 400), 4e-4);
	o.cooldown_shape = SAE_COOLDOWN_ROOT;
	check_near(schedule_lr(&o, 175), 1e-3 + (4e-4 - 1e-3) * g);
	check_near(schedule_lr(&o, 100), 1e-3);
	check_near(schedule_lr(&o, 400), 4e-4);
}
END_TEST

/* What training did before there were schedules, bit for bit. */
START_TEST(warm_up_stable_decay_is_what_it_was)
{
	sae_train_opts o = plan(SAE_SCHEDULE_WSD, 90);

	sae_train_plan(&o, 1);
	ck_assert_uint_eq(o.warmup, 4);
	for (uint64_t s = 1; s <= 90; s++) {
		double lr = o.lr;

		if (s < 4)
			lr *= (double)s / 4.0;
		if (90 - s < 18)
			lr *= (double)(90 - s + 1) / 18.0;
		ck_assert_double_eq(schedule_lr(&o, s), lr);
	}
	o.lr_floor = 1.0 / 32;
	check_near(schedule_lr(&o, 72), 1e-3);
	check_near(schedule_lr(&o, 82), 1e-3 * (1.0 / 32 + 31.0 / 32 * 0.5));
}
END_TEST

START_TEST(constant_linear_and_cosine_follow_their_formulas)
{
	sae_train_opts o = plan(SAE_SCHEDULE_CONSTANT, 110);

	o.warmup = 10;
	o.lr_floor = 0;
	for (uint64_t s = 10; s <= 110; s++)
		ck_assert_double_eq(schedule_lr(&o, s), 1e-3);
	check_near(schedule_lr(&o, 5), 5e-4);
	o.schedule = SAE_SCHEDULE_LINEAR;
	check_near(schedule_lr(&o, 5), 5e-4);
	check_near(schedule_lr(&o, 10), 1e-3);
	check_near(schedule_lr(&o, 11), 1e-3);
	check_near(schedule_lr(&o, 61), 5e-4);
	check_near(schedule_lr(&o, 110), 1e-5);
	o.lr_floor = 0.1;
	check_near(schedule_lr(&o, 61), 1e-3 * 0.55);
	o.schedule = SAE_SCHEDULE_COSINE;
	check_near(schedule_lr(&o, 11), 1e-3);
	check_near(schedule_lr(&o, 36), 1e-3 * (0.1 + 0.9 * 0.5 * (1 + sqrt(0.5))));
	check_near(schedule_lr(&o, 61), 1e-3 * 0.55);
	o.lr_floor = 0;
	check_near(schedule_lr(&o, 110), 1e-3 * 0.5 * (1 + cos(acos(-1) * 0.99)));
}
END_TEST

/* Gemma Scope's: half a cosine up from a tenth. */
START_TEST(the_warm_up_may_begin_higher_and_be_round)
{
	sae_train_opts o = plan(SAE_SCHEDULE_CONSTANT, 5000);

	o.warmup = 1000;
	o.warmup_from = 0.1;
	check_near(schedule_lr(&o, 500), 1e-3 * 0.55);
	o.warmup_cosine = true;
	check_near(schedule_lr(&o, 250), 1e-3 * (0.1 + 0.9 * 0.5 * (1 - sqrt(0.5))));
	check_near(schedule_lr(&o, 500), 1e-3 * 0.55);
	check_near(schedule_lr(&o, 1000), 1e-3);
}
END_TEST

/* step / steps of warm-up with steps from 0, as in get_lr_schedule() and get_sparsity_warmup_fn(). */
START_TEST(warm_ups_are_a_step_late_in_dictionary_learning)
{
	sae_train_opts o = plan(SAE_SCHEDULE_CONSTANT, 5000);

	o.warmup = 10;
	o.sparsity_warmup = 20;
	o.warmup_late = true;
	ck_assert_double_eq(schedule_lr(&o, 1), 0);
	check_near(schedule_lr(&o, 4), 3e-4);
	check_near(schedule_lr(&o, 10), 9e-4);
	ck_assert_double_eq(schedule_lr(&o, 11), 1e-3);
	ck_assert_double_eq(schedule_sparsity(&o, 1), 0);
	check_near(schedule_sparsity(&o, 20), 0.95);
	ck_assert_double_eq(schedule_sparsity(&o, 21), 1);
	o.resample = 100;
	ck_assert_double_eq(schedule_lr(&o, 101), 0);
	o.warmup = o.sparsity_warmup = 0;
	ck_assert_double_eq(schedule_lr(&o, 1), 1e-3);
	ck_assert_double_eq(schedule_sparsity(&o, 1), 1);
}
END_TEST

START_TEST(the_penalty_warms_up)
{
	sae_train_opts o = plan(SAE_SCHEDULE_WSD, 100);
	fitter_now now;

	o.sparsity_warmup = 20;
	check_near(schedule_sparsity(&o, 1), 0.05);
	check_near(schedule_sparsity(&o, 15), 0.75);
	ck_assert_double_eq(schedule_sparsity(&o, 20), 1);
	ck_assert_double_eq(schedule_sparsity(&o, 100), 1);
	o.sparsity_warmup = 0;
	ck_assert_double_eq(schedule_sparsity(&o, 1), 1);
	o.warmup = 0;
	schedule_at(&now, &o, 3);
	ck_assert_uint_eq(now.step, 3);
	ck_assert_double_eq(now.sparsity, 1);
	ck_assert_double_eq(now.lr, 1e-3);
	ck_assert_double_eq(now.k, 32);
}
END_TEST

START_TEST(k_falls_as_each_tool_has_it)
{
	sae_train_opts o = plan(SAE_SCHEDULE_WSD, 100);
	const double e = 1 - exp(-3);

	o.k_start = 640;
	o.k_anneal = 50;
	ck_assert_double_eq(schedule_k(&o, 1),
	                    640); /* sparsify: round(640 (1 - p) + 32 p), p = step / 50 from step 0 */
	ck_assert_double_eq(schedule_k(&o, 2), 628); /* 627.84 */
	ck_assert_double_eq(schedule_k(&o, 26), 336);
	ck_assert_double_eq(schedule_k(&o, 50), 44); /* 44.16 */
	ck_assert_double_eq(schedule_k(&o, 51), 32);
	o.k_shape = SAE_K_EXPONENTIAL; /* llamascopium: ceil */
	ck_assert_double_eq(schedule_k(&o, 1), 640);
	ck_assert_double_eq(schedule_k(&o, 26), ceil(640 - 608 * (1 - exp(-1.5)) / e));
	ck_assert_double_eq(schedule_k(&o, 51), 32);
	o.k_shape = SAE_K_POWER; /* codebook features: int(kmax - (kmax - kmin) (t / (T - 1))^(1/p)) */
	o.k_power = 2;
	ck_assert_double_eq(schedule_k(&o, 1), 640);
	ck_assert_double_eq(schedule_k(&o, 2), floor(640 - 608 * sqrt(1.0 / 50)));
	ck_assert_double_eq(schedule_k(&o, 14), floor(640 - 608 * sqrt(13.0 / 50)));
	o.k_power = 1;
	ck_assert_double_eq(schedule_k(&o, 2), 627);
	o.k_start = 0;
	ck_assert_double_eq(schedule_k(&o, 2), 32);
}
END_TEST

START_TEST(features_begin_anew_in_turns)
{
	sae_train_opts o = plan(SAE_SCHEDULE_CONSTANT, 60);
	fitter_now now;

	o.warmup = 5;
	o.resample = 20;
	for (uint64_t s = 1; s <= 60; s++) {
		uint64_t since = (s - 1) % 20 + 1;

		schedule_at(&now, &o, s);
		ck_assert(now.resample == (s == 20 || s == 40)); /* not at the end */
		check_near(now.lr, since < 5 ? 2e-4 * (double)since : 1e-3);
	}
}
END_TEST

START_TEST(the_plan_sets_the_phases)
{
	sae_train_opts o = plan(SAE_SCHEDULE_INFINITE, 1000);

	sae_train_plan(&o, 1);
	ck_assert_uint_eq(o.warmup, 50);
	ck_assert_uint_eq(o.cooldown, 150);
	ck_assert_uint_eq(o.anneal_from, 800);
	ck_assert_double_eq(o.lr_floor, 0.01);
	o = plan(SAE_SCHEDULE_WSD, 1000);
	o.optimizer = SAE_SIGNUM; /* schedule-free */
	o.lr = 0;
	o.d_sae = 16384;
	sae_train_plan(&o, 1);
	ck_assert_uint_eq(o.warmup, 0);
	ck_assert_double_eq(o.lr, 5e-3);
	ck_assert_double_eq(o.lr_floor, 0);
	ck_assert_uint_eq(o.anneal_from, 0);
}
END_TEST

static double sum(const double *v, size_t n)
{
	return n ? v[0] + sum(v + 1, n - 1) : 0;
}

/* PAnnealTrainer.loss() of dictionary_learning 0.1.0 written out: ten points from anneal_start to steps; at point i, after the batch,
 * p becomes the i-th of ten from 1 to p_end, and from the second on the coefficient is multiplied by the ratio of the penalties of the
 * last ten batches since the first point, with p then and the p that came next. */
static void check_anneal(uint64_t steps)
{
	sae_train_opts o = plan(SAE_SCHEDULE_CONSTANT, steps);
	double p = 1, coef = 0.1, with_p[1000], with_next[1000];
	size_t n = 0, at;
	fit_control c;
	int point = 0;

	o.arch = SAE_PANNEAL;
	o.d_sae = 64;
	o.penalty.coef = coef;
	o.penalty.p_end = 0.05;
	train_plan_penalty(&o);
	fit_control_start(&c, &o);
	for (uint64_t step = 0; step < o.steps; step++) {
		const fitter_now now = { .step = step + 1, .lr = 1e-3, .sparsity = 1 };
		const fit_now got = fit_control_now(&c, &o, &now);
		const fit_result found = { .l0 = 1,
			                   .penalty = 2 + sin((double)step),
			                   .next_penalty = 4 + (double)(step % 7) };

		check_near(got.p, p);
		check_near(got.coef, coef);
		fit_control_learn(&c, &o, &now, &found);
		if (point > 0) {
			with_p[n] = found.penalty;
			with_next[n++] = found.next_penalty;
		}
		if ((int)step != (int)((double)steps / 2 + point * (double)steps / 18))
			continue;
		if (point > 0) {
			at = n > 10 ? n - 10 : 0;
			coef *= sum(with_p + at, n - at) / sum(with_next + at, n - at);
		}
		p = 1 - 0.95 * point++ / 9;
	}
	ck_assert_int_eq(point, 9);
	check_near(p, 1 - 0.95 * 8 / 9);
}

START_TEST(p_falls_as_in_dictionary_learning)
{
	check_anneal(200); /* parts of 11 batches */
	check_anneal(70);  /* of 4 */
	check_anneal(1000);
}
END_TEST

/* By what the coefficient is multiplied at once where L0 is e times the target: e^ALONG in the end, of short runs of relu and gated less. */
static double lead_of(sae_arch arch, uint64_t steps)
{
	sae_train_opts o = plan(SAE_SCHEDULE_CONSTANT, steps);
	const fitter_now now = { .step = 1, .lr = 1e-3, .sparsity = 1 };
	fit_control c;

	o.arch = arch;
	o.d_sae = 64;
	o.penalty.target_l0 = 8;
	train_plan_penalty(&o);
	fit_control_start(&c, &o);
	c.smooth = 1;
	return log(fit_control_now(&c, &o, &now).coef) - c.log_coef;
}

START_TEST(short_runs_are_led_less)
{
	check_near(lead_of(SAE_RELU, 80), 0.08);
	check_near(lead_of(SAE_GATED, 500), 0.5);
	check_near(lead_of(SAE_JUMPRELU, 80), 1);
	check_near(lead_of(SAE_PANNEAL, 80), 1);
	check_near(lead_of(SAE_RELU, 1000), 1);
	check_near(lead_of(SAE_GATED, 100000), 1);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(
	        s, "learning rate", the_infinite_schedule_is_that_of_the_paper, its_cooldown_has_three_shapes,
	        warm_up_stable_decay_is_what_it_was, constant_linear_and_cosine_follow_their_formulas,
	        the_warm_up_may_begin_higher_and_be_round, warm_ups_are_a_step_late_in_dictionary_learning);
	SUPPORT_CASE(s, "the rest", the_penalty_warms_up, k_falls_as_each_tool_has_it,
	             features_begin_anew_in_turns, the_plan_sets_the_phases,
	             p_falls_as_in_dictionary_learning, short_runs_are_led_less);
}
SUPPORT_MAIN("schedule", cases)
