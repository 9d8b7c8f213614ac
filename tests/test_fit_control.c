/* The search for a target L0: on a made-up L0 that limits and coefficient move, and how limits are raised. */
#include "sae/fit_control.h"
#include "sae/train_internal.h"
#include "tests/support.h"

#include <math.h>

enum { D = 12, F = 20, ROWS = 64, STEPS = 1000 };

static sae_train_opts options(sae_arch arch)
{
	sae_train_opts o = sae_train_opts_default();

	o.arch = arch;
	o.d_sae = F;
	o.steps = STEPS;
	o.batch = ROWS;
	o.lr = 1e-3;
	o.penalty.target_l0 = 4;
	train_plan_penalty(&o);
	return o;
}

/* log L0 that rises by itself as long as the coefficient is under 6, and falls above; `answers`: what a raised limit takes off it, as a
 * share of what the search expects. Every step from `from` on is within a tenth of the target. */
static void seek(double start, double answers, unsigned from)
{
	const sae_train_opts o = options(SAE_RELU);
	double log_l0 = log(start), late = 0;
	fit_control c;

	fit_control_start(&c, &o);
	for (unsigned step = 1; step <= STEPS; step++) {
		const fitter_now now = { .step = step, .lr = 1e-3, .sparsity = step < 10 ? step / 10. : 1 };
		const fit_result r = { .l0 = exp(log_l0), .over = 0.3 };
		fit_now told = fit_control_now(&c, &o, &now);

		ck_assert_msg(step < from || fabs(r.l0 / 4 - 1) < 0.1, "L0 %g at step %u", r.l0, step);
		late += 0.1 * (0.05 * (1 - log(told.coef) / log(6)) - late); /* as Adam's mean gradient */
		log_l0 += late - answers * fit_control_learn(&c, &o, &now, &r) / r.over;
	}
	ck_assert_double_eq_tol(exp(c.log_coef), 6, 0.5);
	ck_assert_double_eq_tol(c.by, 0, 5e-3); /* the coefficient has taken over */
}

START_TEST(target_is_reached_and_held)
{
	seek(8, 1, 10);
	seek(0.5, 1, 15);
	seek(8, 0.4, 30);
	seek(8, 1.5, 30);
	seek(19, 1, 15);
}
END_TEST

START_TEST(limits_come_down_where_nothing_fires)
{
	const sae_train_opts o = options(SAE_JUMPRELU);
	fitter_now now = { .step = 1, .sparsity = 1 };
	fit_result r = { .l0 = 4, .over = 0.2 };
	fit_control c;

	fit_control_start(&c, &o);
	ck_assert_double_eq_tol(fit_control_learn(&c, &o, &now, &r), 0, 1e-12);
	r = (fit_result){ 0 };
	for (now.step = 2; now.step < 50; now.step++) {
		double raise = fit_control_learn(&c, &o, &now, &r);

		ck_assert(raise < 0 && raise >= -0.1);
	}
	ck_assert(isfinite(c.log_coef));
}
END_TEST

START_TEST(a_given_coefficient_stays)
{
	sae_train_opts o = sae_train_opts_default();
	const fitter_now now = { .step = 3, .sparsity = 1 };
	const fit_result r = { .l0 = 9, .over = 1 };
	fit_control c;

	o.arch = SAE_GATED;
	o.d_sae = F;
	o.penalty.coef = 3;
	train_plan_penalty(&o);
	fit_control_start(&c, &o);
	ck_assert_double_eq(fit_control_learn(&c, &o, &now, &r), 0);
	ck_assert_double_eq_tol(fit_control_now(&c, &o, &now).coef, 3, 1e-12);
}
END_TEST

static void random_rows(float *x)
{
	for (size_t i = 0; i < (size_t)ROWS * D; i++)
		x[i] = (float)(2 * hash64_unit(hash64_mix(5, i)) - 1);
}

/* The weights of the model, and those of the step, move by `by` or, where it is a logarithm, to the logarithm of the moved one. */
static void check_raised(const fit_config *c, unsigned param, double by)
{
	float x[ROWS * D], before[F], after[F];
	const fit_now now = { .lr = 1e-3, .coef = 1, .p = 1 };
	error err = { 0 };
	fit_result r;
	pool *p;
	fit *s;

	ck_assert_int_eq(pool_new(&p, 1, &err), 0);
	ck_assert_msg(fit_new(&s, c, p, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < (size_t)F * D; i++)
		s->param[FIT_W_ENC].w[i] = s->param[FIT_W_DEC].w[i] =
		        (float)hash64_unit(hash64_mix(9, i)) - 0.5F;
	for (size_t f = 0; f < F; f++)
		s->param[param].w[f] = c->log_theta ? -1 : 0.2F;
	random_rows(x);
	fit_run(s, x, NULL, ROWS, 1, &now, &r);
	ck_assert(r.l0 > 0 && r.over > 0);
	optim_weights(s->optim, s->param[param].slot, before);
	fit_raise(s, by);
	optim_weights(s->optim, s->param[param].slot, after);
	for (size_t f = 0; f < F; f++) {
		double to = c->arch == FIT_JUMPRELU ? before[f] + by : before[f] - by;

		if (c->log_theta)
			to = log(exp(before[f]) + by);
		ck_assert_double_eq_tol(after[f], to, 1e-5);
	}
	fit_free(s);
	pool_free(p);
}

START_TEST(limits_are_raised)
{
	fit_config c = { .d_in = D,
		         .d_out = D,
		         .n_features = F,
		         .batch = ROWS,
		         .arch = FIT_RELU,
		         .centers = true,
		         .unit_decoder = true,
		         .bandwidth = 0.5,
		         .theta_lr = 1,
		         .dead_tokens = 1000,
		         .k_set = kernels_get(NULL) };

	c.optim = (optim_config){ .kind = SAE_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .k = c.k_set };
	check_raised(&c, FIT_B_ENC, 0.05);
	c.optim.average = 0.9;
	c.arch = FIT_GATED;
	check_raised(&c, FIT_B_ENC, -0.05);
	c.arch = FIT_JUMPRELU;
	c.penalty = FIT_STEP;
	check_raised(&c, FIT_THETA, 0.05);
	c.optim = (optim_config){ .kind = SAE_SIGNUM, .momentum = 0.95, .k = c.k_set };
	check_raised(&c, FIT_THETA, -0.05);
	c.log_theta = true;
	check_raised(&c, FIT_THETA, 0.05);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "target L0", target_is_reached_and_held, limits_come_down_where_nothing_fires,
	             a_given_coefficient_stays, limits_are_raised);
}
SUPPORT_MAIN("fit_control", cases)
