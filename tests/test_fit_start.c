/* Where dense kinds begin: norms of rows, b_dec, thresholds. */
#include "sae/fit_control.h"
#include "sae/train_internal.h"
#include "tests/support.h"

#include <math.h>
#include <string.h>

enum { D = 12, F = 20, ROWS = 50 };

static float sample_x[ROWS * D];
static double sample_mean[D];

static void make_sample(void)
{
	memset(sample_mean, 0, sizeof(sample_mean));
	for (size_t i = 0; i < ROWS * D; i++) {
		sample_x[i] = (float)hash64_unit(hash64_mix(7, i)) + (i % D == 3 ? 2 : 0) + (i < D ? 90 : 0);
		sample_mean[i % D] += (double)sample_x[i] / ROWS;
	}
}

/* A model with the weights of the beginning. */
static sae_model *started(sae_train_opts *o)
{
	const fitter_sample s = { sample_mean, sample_mean, sample_x, sample_x, ROWS };
	error err = { 0 };
	pool *p;
	void *self;
	sae_model *m;

	make_sample();
	o->d_sae = F;
	o->batch = 16;
	o->steps = 10;
	o->lr = 1e-3;
	o->penalty.coef = 1;
	train_plan_penalty(o);
	ck_assert_int_eq(pool_new(&p, 1, &err), 0);
	ck_assert_int_eq(fitter_dense.make(&self, o, D, D, p, &err), 0);
	ck_assert_int_eq(fitter_dense.start(self, 1, &s, &err), 0);
	ck_assert_int_eq(fitter_dense.model(&m, self, &err), 0);
	fitter_dense.free(self);
	pool_free(p);
	return m;
}

static void check_norms(const float *w, double norm)
{
	for (size_t f = 0; f < F; f++) {
		double squares = 0;

		for (size_t i = 0; i < D; i++)
			squares += (double)w[f * D + i] * (double)w[f * D + i];
		ck_assert_double_eq_tol(sqrt(squares), norm, 1e-6 * norm);
	}
}

START_TEST(rows_have_the_norms_that_are_asked_for)
{
	sae_train_opts o = sae_train_opts_default();
	sae_model *m;

	o.arch = SAE_RELU;
	o.penalty.free_decoder = true;
	o.penalty.decoder_norm = 0.1;
	o.encoder_norm = 0.3;
	m = started(&o);
	check_norms(m->W_dec, 0.1);
	check_norms(m->W_enc, 0.3);
	for (size_t i = 0; i < F * D; i++) /* in one direction */
		ck_assert_float_eq_tol(m->W_enc[i], 3 * m->W_dec[i], 1e-6F);
	for (size_t i = 0; i < D; i++)
		ck_assert_float_eq_tol(m->b_dec[i], (float)sample_mean[i], 1e-6F);
	sae_model_free(m);
}
END_TEST

START_TEST(b_dec_begins_at_zero_or_the_median)
{
	sae_train_opts o = sae_train_opts_default();
	sae_model *m;

	o.arch = SAE_RELU;
	o.bias = SAE_BIAS_ZERO;
	m = started(&o);
	for (size_t i = 0; i < D; i++)
		ck_assert_float_eq(m->b_dec[i], 0);
	sae_model_free(m);
	o.bias = SAE_BIAS_MEDIAN;
	m = started(&o);
	for (size_t i = 0; i < D;
	     i++) { /* the row that lies far out moves the mean by 1.8, the median hardly */
		float inner = i == 3 ? 2.5F : 0.5F;

		ck_assert_float_eq_tol(m->b_dec[i], inner, 0.25F);
		ck_assert_double_gt(sample_mean[i], inner + 1);
	}
	sae_model_free(m);
}
END_TEST

START_TEST(a_given_threshold_is_where_thresholds_begin)
{
	sae_train_opts o = sae_train_opts_default();
	sae_model *m;

	o.arch = SAE_JUMPRELU;
	o.penalty.target_l0 = 4;
	o.penalty.threshold = 0.001;
	m = started(&o);
	for (size_t f = 0; f < F; f++)
		ck_assert_float_eq_tol(m->threshold[f], 0.001F, 1e-9F);
	sae_model_free(m);
	o.penalty = sae_train_opts_default().penalty;
	o.penalty.target_l0 = 4;
	o.bias = SAE_BIAS_MEDIAN;
	m = started(&o);
	for (size_t f = 0; f < F; f++) /* where it fires on 8 / F of the rows */
		ck_assert(m->threshold[f] > 0.001F && m->threshold[f] != 0.1F);
	sae_model_free(m);
}
END_TEST

/* Kurtosis of all values times the root of D: 1.8 of a uniform row, 3 of a normal one, a little less on rows of norm 1. */
static double kurtosis(const float *w)
{
	double squares = 0, fourths = 0;

	for (size_t i = 0; i < F * D; i++) {
		double square = (double)w[i] * (double)w[i];

		squares += square / (F * D);
		fourths += square * square / (F * D);
	}
	return fourths / (squares * squares);
}

START_TEST(rows_are_uniform_or_normal)
{
	sae_train_opts o = sae_train_opts_default();
	sae_model *m;

	o.arch = SAE_RELU;
	m = started(&o);
	ck_assert_double_lt(kurtosis(m->W_dec), 2);
	sae_model_free(m);
	o.normal_rows = true;
	o.encoder_norm = 0.3;
	m = started(&o);
	ck_assert_double_gt(kurtosis(m->W_dec), 2.3);
	check_norms(m->W_dec, 1);
	check_norms(m->W_enc, 0.3);
	sae_model_free(m);
}
END_TEST

START_TEST(a_raw_input_is_not_centred_nor_a_transcoder)
{
	sae_train_opts o = sae_train_opts_default();
	sae_model *m;

	o.arch = SAE_JUMPRELU;
	o.penalty.raw_input = true;
	m = started(&o);
	ck_assert(!m->centers && !m->transcodes);
	for (size_t f = 0; f < F;
	     f++) { /* thresholds begin where 2 target_l0 = 64 of 20 features cannot: at 0.1 */
		ck_assert_float_eq(m->b_enc[f], 0);
		ck_assert_float_gt(m->threshold[f], 0);
	}
	sae_model_free(m);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "starts", rows_have_the_norms_that_are_asked_for, b_dec_begins_at_zero_or_the_median,
	             a_given_threshold_is_where_thresholds_begin, rows_are_uniform_or_normal,
	             a_raw_input_is_not_centred_nor_a_transcoder);
}
SUPPORT_MAIN("fit_start", cases)
