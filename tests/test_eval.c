/* sae_eval() against a plain two-pass implementation in long double, and its edge cases. */
#include "sae/sae.h"
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 24, F = 48, K = 4 };

static char folder[FILE_PATH_MAX];

static void setup(void)
{
	support_mkdir(folder);
}

static void teardown(void)
{
	support_rmdir(folder);
}

static float noise(uint64_t seed, uint64_t i)
{
	return (float)(hash64_unit(hash64_mix(seed, i)) * 2 - 1);
}

/* Rows with a large common offset, and every 50th one of massive norm, as real dumps have them. */
static float *make_rows(size_t n)
{
	float *x = malloc(n * D * sizeof(*x));

	ck_assert_ptr_nonnull(x);
	for (size_t i = 0; i < n * D; i++)
		x[i] = 300 + noise(1, i) * (i / D % 50 == 7 ? 20000.0f : 1.0f);
	return x;
}

static sae_model *make_model_of(sae_arch arch)
{
	sae_model *m = NULL;
	error e = { 0 };

	ck_assert_int_eq(sae_model_new(&m, arch, D, F, K, &e), 0);
	for (size_t i = 0; m->threshold && i < F; i++)
		m->threshold[i] = i % 4 ? 1 + noise(4, i) : 1e6f; /* every fourth is dead */
	m->norm_limit = INFINITY;
	for (size_t i = 0; i < (size_t)F * D; i++)
		m->W_enc[i] = m->W_dec[i] = noise(2, i) * 0.3f;
	for (size_t i = 0; i < F; i++)
		m->b_enc[i] = noise(3, i) * 0.1f;
	for (size_t i = 0; i < D; i++)
		m->b_dec[i] = 299;
	return m;
}

static sae_model *make_model(void)
{
	return make_model_of(SAE_TOPK);
}

/* Write the rows as a dump of contexts of one token, open it and hold all of it out. */
static void open_rows(sae_dump **d, sae_rows **r, const float *x, size_t n, double share, pool *p)
{
	sae_tensor_out t = { "activations", SAE_F32, 2, { n, D }, x };
	const sae_dump_opts dump_opts = { 0 };
	const sae_rows_opts rows_opts = { 0 };
	const char *path = support_path(folder, "rows.safetensors");
	error e = { 0 };

	ck_assert_msg(!sae_safetensors_write(path, &t, 1, NULL, 0, &e), "%s", e.msg);
	ck_assert_msg(!sae_dump_open(d, &path, 1, &dump_opts, &e), "%s", e.msg);
	ck_assert_msg(!sae_rows_scan(r, *d, &rows_opts, false, p, NULL, &e), "%s", e.msg);
	ck_assert_msg(!sae_rows_split(*r, *d, share, SAE_SPLIT_DOCUMENT, 0, &e), "%s", e.msg);
}

static int evaluate(sae_metrics *out, const sae_model *m, const float *x, size_t n, double share,
                    unsigned threads, error *err)
{
	sae_dump *d = NULL;
	sae_rows *r = NULL;
	pool *p = NULL;
	int rc;

	ck_assert_int_eq(pool_new(&p, threads, err), 0);
	open_rows(&d, &r, x, n, share, p);
	rc = sae_eval(out, m, d, NULL, r, true, p, NULL, err);
	sae_rows_free(r);
	sae_dump_close(d);
	pool_free(p);
	return rc;
}

static float *reconstruct(const sae_model *m, const float *x, size_t n, sae_codes *c)
{
	float *hat = malloc(n * D * sizeof(*hat));
	sae_encoder *encoder = NULL;
	pool *p = NULL;
	error e = { 0 };

	ck_assert_ptr_nonnull(hat);
	ck_assert_int_eq(pool_new(&p, 1, &e), 0);
	ck_assert_int_eq(sae_encoder_new(&encoder, m, p, NULL, &e), 0);
	ck_assert_int_eq(sae_encode(encoder, x, n, c, &e), 0);
	sae_decode(m, x, c, hat, p);
	sae_encoder_free(encoder);
	pool_free(p);
	return hat;
}

typedef struct plain {
	long double error2, distance2, x2, hat2, dot, cosine, l2_ratio, ev, ev2, l0, l1, var_error,
	        square_of_mean;
} plain;

static void plain_row(plain *s, const float *x, const float *hat, const long double *mean)
{
	long double error2 = 0, distance2 = 0, x2 = 0, hat2 = 0, dot = 0;

	for (size_t j = 0; j < D; j++) {
		long double a = x[j], b = hat[j];

		error2 += (a - b) * (a - b);
		distance2 += (a - mean[j]) * (a - mean[j]);
		x2 += a * a;
		hat2 += b * b;
		dot += a * b;
	}
	s->error2 += error2;
	s->distance2 += distance2;
	s->x2 += x2;
	s->hat2 += hat2;
	s->dot += dot;
	s->cosine += dot / sqrtl(x2 * hat2);
	s->l2_ratio += sqrtl(hat2) / sqrtl(x2);
	s->ev += 1 - error2 / distance2;
	s->ev2 += (1 - error2 / distance2) * (1 - error2 / distance2);
}

/* Every definition as its formula says, dimension by dimension, in long double. */
static plain plain_metrics(const sae_model *m, const float *x, size_t n, uint64_t *fires)
{
	long double mean[D] = { 0 };
	plain s = { 0 };
	sae_codes c = { 0 };
	float *hat = reconstruct(m, x, n, &c);

	for (size_t j = 0; j < D; j++) {
		long double mean_error = 0;

		for (size_t i = 0; i < n; i++) {
			mean[j] += (long double)x[i * D + j] / n;
			mean_error += ((long double)x[i * D + j] - hat[i * D + j]) / n;
		}
		for (size_t i = 0; i < n; i++) {
			long double e = (long double)x[i * D + j] - hat[i * D + j] - mean_error;

			s.var_error += e * e;
		}
		s.square_of_mean += mean[j] * mean[j];
	}
	for (size_t i = 0; i < n; i++) {
		plain_row(&s, x + i * D, hat + i * D, mean);
		s.l0 += c.first[i + 1] - c.first[i];
		for (size_t k = c.first[i]; k < c.first[i + 1]; k++) {
			s.l1 += c.value[k];
			fires[c.index[k]]++;
		}
	}
	sae_codes_free(&c);
	free(hat);
	return s;
}

static void assert_near(double got, long double want, const char *name)
{
	ck_assert_msg(fabsl(got - want) <= 1e-10L * (1 + fabsl(want)), "%s: %.17g, want %.17Lg", name, got,
	              want);
}

START_TEST(agrees_with_the_formulas)
{
	static const size_t sizes[] = { 2, 255, 600, 5000 }; /* less than a tile, tiles, more than a block */
	static const sae_arch arch[] = { SAE_TOPK, SAE_JUMPRELU, SAE_GROUPMAX };
	size_t n = sizes[_i % 4];
	uint64_t fires[F] = { 0 }, n_dead = 0;
	float *x = make_rows(n);
	sae_model *m = make_model_of(arch[_i / 4]);
	plain s = plain_metrics(m, x, n, fires);
	sae_metrics got = { 0 };
	error e = { 0 };
	long double rows = n;

	ck_assert_msg(!evaluate(&got, m, x, n, 1, 2, &e), "%s", e.msg);
	ck_assert_uint_eq(got.n_rows, n);
	assert_near(got.fvu, s.error2 / s.distance2, "fvu");
	assert_near(got.ev_ratio, 1 - s.error2 / s.distance2, "ev_ratio");
	assert_near(got.ev_per_token, s.ev / rows, "ev_per_token");
	assert_near(got.ev_per_token_std, sqrtl((s.ev2 - s.ev * s.ev / rows) / (rows - 1)),
	            "ev_per_token_std");
	assert_near(got.ev_centered, 1 - s.var_error / s.distance2, "ev_centered");
	assert_near(got.ev_uncentered, 1 - s.error2 / rows / (s.x2 / rows - s.square_of_mean),
	            "ev_uncentered");
	assert_near(got.mse, s.error2 / rows, "mse");
	assert_near(got.mse_per_dim, s.error2 / rows / D, "mse_per_dim");
	assert_near(got.cosine, s.cosine / rows, "cosine");
	assert_near(got.l2_ratio, s.l2_ratio / rows, "l2_ratio");
	assert_near(got.relative_bias, s.hat2 / s.dot, "relative_bias");
	assert_near(got.l0, s.l0 / rows, "l0");
	assert_near(got.l1, s.l1 / rows, "l1");
	ck_assert_int_eq(memcmp(got.fires, fires, sizeof(fires)), 0);
	for (size_t f = 0; f < F; f++)
		n_dead += fires[f] == 0;
	ck_assert_uint_eq(got.n_dead, n_dead);
	ck_assert(m->arch != SAE_JUMPRELU || n_dead >= F / 4);
	sae_metrics_clear(&got);
	sae_model_free(m);
	free(x);
}
END_TEST

START_TEST(same_bits_at_any_thread_count)
{
	float *x = make_rows(5000);
	sae_model *m = make_model();
	sae_metrics one = { 0 }, four = { 0 };
	error e = { 0 };

	ck_assert_int_eq(evaluate(&one, m, x, 5000, 1, 1, &e), 0);
	ck_assert_int_eq(evaluate(&four, m, x, 5000, 1, 4, &e), 0);
	ck_assert_int_eq(memcmp(one.fires, four.fires, F * sizeof(*one.fires)), 0);
	free(one.fires);
	free(four.fires);
	one.fires = four.fires = NULL;
	ck_assert_int_eq(memcmp(&one, &four, sizeof(one)), 0);
	sae_model_free(m);
	free(x);
}
END_TEST

/* A constant error costs fvu and leaves ev_centered at 1: the definitions differ where they should. */
START_TEST(constant_error_tells_the_definitions_apart)
{
	float *x = calloc(300 * D, sizeof(*x));
	sae_model *m = make_model();
	sae_metrics got = { 0 };
	error e = { 0 };

	memset(m->W_enc, 0, (size_t)F * D * sizeof(float));
	memset(m->b_enc, 0, F * sizeof(float));
	for (size_t i = 0; i < 300; i++)
		x[i * D] = i % 2 ? 1 : -1;
	for (size_t j = 0; j < F; j++)
		for (size_t i = 0; i < D; i++)
			m->W_dec[j * D + i] = 0;
	m->W_enc[0] = m->W_dec[0] = 2;      /* feature 0: fires where x0 > 0 */
	m->W_enc[D] = -2, m->W_dec[D] = -2; /* feature 1: where x0 < 0 */
	for (size_t i = 0; i < D; i++)
		m->b_dec[i] = i == 1 ? 1 : 0;
	m->W_dec[0] = 0.5f, m->W_dec[D] = -0.5f;
	ck_assert_int_eq(evaluate(&got, m, x, 300, 1, 1, &e), 0);
	assert_near(got.ev_centered, 1, "ev_centered");
	assert_near(got.fvu, 1, "fvu"); /* |e|^2 = 1, |x - mean|^2 = 1 */
	assert_near(got.l0, 1, "l0");
	assert_near(got.l1, 2, "l1");
	ck_assert_uint_eq(got.fires[0], 150);
	ck_assert_uint_eq(got.fires[1], 150);
	ck_assert_uint_eq(got.n_dead, F - 2);
	ck_assert_uint_eq(got.n_dense_10, 2);
	ck_assert_uint_eq(got.n_dense_1, 2);
	sae_metrics_clear(&got);
	sae_model_free(m);
	free(x);
}
END_TEST

START_TEST(dense_counts_have_strict_limits)
{
	float *x = calloc(1000 * D, sizeof(*x));
	sae_model *m = make_model();
	sae_metrics got = { 0 };
	error e = { 0 };

	/* Feature j fires where x_j > 0: on 100, 101, 10, 11 and 0 of 1000 rows. */
	static const size_t fires[] = { 100, 101, 10, 11, 0 };
	memset(m->W_enc, 0, (size_t)F * D * sizeof(float));
	memset(m->b_enc, 0, F * sizeof(float));
	memset(m->b_dec, 0, D * sizeof(float));
	for (size_t j = 0; j < ARRAY_LEN(fires); j++) {
		m->W_enc[j * D + j] = 1;
		for (size_t i = 0; i < fires[j]; i++)
			x[i * D + j] = 1;
	}
	ck_assert_int_eq(evaluate(&got, m, x, 1000, 1, 2, &e), 0);
	for (size_t j = 0; j < ARRAY_LEN(fires); j++)
		ck_assert_uint_eq(got.fires[j], fires[j]);
	ck_assert_uint_eq(got.n_dense_10, 1);
	ck_assert_uint_eq(got.n_dense_1, 3);
	ck_assert_uint_eq(got.n_dead, F - 4);
	sae_metrics_clear(&got);
	sae_model_free(m);
	free(x);
}
END_TEST

/* Nothing varies: no share of variance is defined. What needs no variance is. */
START_TEST(rows_without_variance_have_no_explained_variance)
{
	static const size_t sizes[] = { 1, 300 };
	size_t n = sizes[_i];
	float *x = malloc(n * D * sizeof(*x));
	sae_model *m = make_model();
	sae_metrics got = { 0 };
	error e = { 0 };

	for (size_t i = 0; i < n * D; i++)
		x[i] = 0.1f * (float)(i % D + 1);
	ck_assert_int_eq(evaluate(&got, m, x, n, 1, 1, &e), 0);
	ck_assert(isnan(got.fvu));
	ck_assert(isnan(got.ev_ratio));
	ck_assert(isnan(got.ev_per_token));
	ck_assert(isnan(got.ev_per_token_std));
	ck_assert(isnan(got.ev_centered));
	ck_assert(isnan(got.ev_uncentered));
	ck_assert(isfinite(got.mse) && got.mse > 0);
	ck_assert(isfinite(got.cosine) && isfinite(got.l2_ratio) && isfinite(got.relative_bias));
	sae_metrics_clear(&got);
	sae_model_free(m);
	free(x);
}
END_TEST

START_TEST(zero_rows_are_no_error)
{
	float *x = calloc(10 * D, sizeof(*x));
	sae_model *m = make_model();
	sae_metrics got = { 0 };
	error e = { 0 };

	ck_assert_int_eq(evaluate(&got, m, x, 10, 1, 1, &e), 0);
	ck_assert_double_eq(got.cosine, 0);
	ck_assert(isnan(got.l2_ratio));
	ck_assert(isnan(got.relative_bias));
	sae_metrics_clear(&got);
	sae_model_free(m);
	free(x);
}
END_TEST

START_TEST(says_what_does_not_fit)
{
	float *x = make_rows(4);
	sae_model *m = make_model(), *other = NULL;
	sae_metrics got = { 0 };
	error e = { 0 };

	ck_assert_int_eq(sae_model_new(&other, SAE_TOPK, D + 1, F, K, &e), 0);
	ck_assert_int_eq(evaluate(&got, other, x, 4, 1, 1, &e), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(e.msg, "the SAE takes rows of 25, '"));
	ck_assert_ptr_nonnull(strstr(e.msg, "has rows of 24"));
	ck_assert_int_eq(evaluate(&got, m, x, 4, 0, 1, &e), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(e.msg, "no held-out rows to evaluate"));
	ck_assert_ptr_null(got.fires);
	sae_model_free(m);
	sae_model_free(other);
	free(x);
}
END_TEST

static sae_dump *open_target(const float *y, size_t n, size_t width)
{
	sae_tensor_out t = { "activations", SAE_F32, 2, { n, width }, y };
	const sae_dump_opts opts = { 0 };
	const char *path = support_path(folder, "target.safetensors");
	sae_dump *d = NULL;

	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	ck_assert_int_eq(sae_dump_open(&d, &path, 1, &opts, NULL), 0);
	return d;
}

START_TEST(transcoder_is_compared_with_its_target)
{
	enum { ROWS = 700, OUT = 5 };
	float *x = make_rows(ROWS), *y = malloc(ROWS * OUT * sizeof(*y)),
	      *hat = malloc(ROWS * OUT * sizeof(*hat));
	const struct {
		size_t n, width;
		int rc;
		const char *message;
	} wrong[] = { { ROWS - 1, OUT, ERR_ARG, "they do not belong together" },
		      { ROWS / 2, OUT + 1, ERR_ARG, "the SAE gives rows of 5, '" } };
	double squares = 0, variance = 0;
	sae_model *m = NULL;
	sae_dump *d = NULL, *target;
	sae_rows *r = NULL;
	sae_encoder *e = NULL;
	sae_codes c = { 0 };
	sae_metrics got = { 0 };
	error err = { 0 };
	pool *p = NULL;

	ck_assert_int_eq(sae_model_new_to(&m, SAE_RELU, D, OUT, F, 0, true, &err), 0);
	m->centers = false;
	m->transcodes = true;
	for (size_t i = 0; i < (size_t)F * D; i++)
		m->W_enc[i] = noise(2, i) * 0.1f;
	for (size_t i = 0; i < (size_t)F * OUT; i++)
		m->W_dec[i] = noise(3, i);
	for (size_t i = 0; i < OUT * D; i++)
		m->W_skip[i] = noise(4, i) * 0.01f;
	for (size_t i = 0; i < ROWS * OUT; i++)
		y[i] = 10 * noise(5, i);
	ck_assert_int_eq(pool_new(&p, 2, &err), 0);
	open_rows(&d, &r, x, ROWS, 1, p);
	target = open_target(y, ROWS, OUT);
	ck_assert_msg(sae_eval(&got, m, d, target, r, true, p, NULL, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, &err), 0);
	ck_assert_int_eq(sae_encode(e, x, ROWS, &c, &err), 0);
	sae_decode(m, x, &c, hat, p);
	for (size_t j = 0; j < OUT; j++) {
		double mean = 0;

		for (size_t i = 0; i < ROWS; i++)
			mean += (double)y[i * OUT + j] / ROWS;
		for (size_t i = 0; i < ROWS; i++) {
			double miss = (double)y[i * OUT + j] - (double)hat[i * OUT + j],
			       from_mean = (double)y[i * OUT + j] - mean;

			squares += miss * miss;
			variance += from_mean * from_mean;
		}
	}
	ck_assert_double_le(fabs(got.mse - squares / ROWS), 1e-9 * squares / ROWS);
	ck_assert_double_le(fabs(got.fvu - squares / variance), 1e-9 * got.fvu);
	ck_assert_double_eq(got.l0, (double)c.first[ROWS] / ROWS);
	sae_metrics_clear(&got);
	ck_assert_int_eq(sae_eval(&got, m, d, NULL, r, true, p, NULL, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "another hook point"));
	sae_dump_close(target);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		target = open_target(y, wrong[i].n, wrong[i].width);
		ck_assert_int_eq(sae_eval(&got, m, d, target, r, true, p, NULL, &err), wrong[i].rc);
		ck_assert_msg(strstr(err.msg, wrong[i].message) != NULL, "%s", err.msg);
		sae_dump_close(target);
	}
	y[3 * OUT + 1] = NAN;
	target = open_target(y, ROWS, OUT);
	ck_assert_int_eq(sae_eval(&got, m, d, target, r, true, p, NULL, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "row 3 holds a NaN or infinity") != NULL, "%s", err.msg);
	sae_dump_close(target);
	sae_codes_free(&c);
	sae_encoder_free(e);
	sae_rows_free(r);
	sae_dump_close(d);
	pool_free(p);
	sae_model_free(m);
	free(hat);
	free(y);
	free(x);
}
END_TEST

/* Fail the 1st, 2nd, ... allocation or read until the call gets through. */
START_TEST(faults_are_errors)
{
	static const struct {
		fault_kind kind;
		int rc;
	} faults[] = { { FAULT_ALLOC, ERR_NOMEM }, { FAULT_READ, ERR_IO } };
	float *x = make_rows(600);
	sae_model *m = make_model();
	sae_dump *d = NULL;
	sae_rows *r = NULL;
	pool *p = NULL;
	error e = { 0 };

	ck_assert_int_eq(pool_new(&p, 1, &e), 0);
	open_rows(&d, &r, x, 600, 1, p);
	for (long n = 0;; n++) {
		sae_metrics got = { 0 };
		int rc;

		fault_arm(faults[_i].kind, n);
		rc = sae_eval(&got, m, d, NULL, r, true, p, NULL, &e);
		if (!fault_disarm(faults[_i].kind)) {
			ck_assert_int_eq(rc, 0);
			sae_metrics_clear(&got);
			ck_assert_int_gt(n, 0);
			break;
		}
		ck_assert_int_eq(rc, faults[_i].rc);
		ck_assert_ptr_null(got.fires);
	}
	sae_rows_free(r);
	sae_dump_close(d);
	pool_free(p);
	sae_model_free(m);
	free(x);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = tcase_create("eval");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, agrees_with_the_formulas, 0, 12);
	tcase_add_test(t, same_bits_at_any_thread_count);
	tcase_add_test(t, constant_error_tells_the_definitions_apart);
	tcase_add_test(t, dense_counts_have_strict_limits);
	tcase_add_loop_test(t, rows_without_variance_have_no_explained_variance, 0, 2);
	tcase_add_test(t, zero_rows_are_no_error);
	tcase_add_test(t, says_what_does_not_fit);
	tcase_add_test(t, transcoder_is_compared_with_its_target);
	tcase_add_loop_test(t, faults_are_errors, 0, 2);
	suite_add_tcase(s, t);
}

SUPPORT_MAIN("eval", cases)
