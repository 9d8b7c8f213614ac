/* Rows normalised before training: what is saved gives the trainer's own codes on rows as they are, in every mode. */
#include "tests/support.h"

#include <math.h>
#include <unistd.h>

#include "sae/step.h"
#include "sae/train_internal.h"

enum { D = 12, ROWS = 1920, F = 40, K = 3, CTX = 32 };

static const char *const mode_names[] = { "none",  "mean-norm", "mean-square", "layer",
	                                  "token", "whiten",    "center" };

typedef struct input {
	char dir[FILE_PATH_MAX];
	float *x;
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} input;

/* Sums of 3 of 20 directions far from the origin, correlated, on scales of their own. */
static void make_rows(float *x)
{
	for (size_t t = 0; t < ROWS; t++)
		for (size_t i = 0; i < D; i++) {
			double sum = 5 + (double)i + 0.1 * hash64_unit(hash64_mix(7, t * D + i));

			for (size_t j = 0; j < 3; j++) {
				uint64_t f = hash64_below(hash64_mix(8, t * 3 + j), 20);

				sum += 2 * hash64_unit(hash64_mix(100 + f, i)) - 1;
			}
			x[t * D + i] = (float)(sum * (1 + 0.3 * (double)i));
		}
}

static void input_open(input *in)
{
	const sae_tensor_out tensor = { "activations", SAE_F32, 3, { ROWS / CTX, CTX, D }, NULL };
	sae_tensor_out t = tensor;
	const sae_dump_opts open = { 0 };
	const sae_rows_opts keep = { .max_norm_ratio = 0 };
	const char *path;
	error err = { 0 };

	in->x = mem_alloc_aligned(ROWS, D * sizeof(float));
	make_rows(in->x);
	t.data = in->x;
	support_mkdir(in->dir);
	path = support_path(in->dir, "acts.safetensors");
	ck_assert_int_eq(sae_safetensors_write(path, &t, 1, NULL, 0, &err), 0);
	ck_assert_msg(sae_dump_open(&in->dump, &path, 1, &open, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(pool_new(&in->pool, 2, &err), 0);
	ck_assert_int_eq(sae_rows_scan(&in->rows, in->dump, &keep, false, in->pool, NULL, &err), 0);
	ck_assert_int_eq(sae_rows_split(in->rows, in->dump, 0.2, SAE_SPLIT_DOCUMENT, 0, &err), 0);
}

static void input_close(input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
	support_rmdir(in->dir);
	free(in->x);
}

static sae_train_opts plan(sae_normalize mode, sae_arch arch)
{
	sae_train_opts o = sae_train_opts_default();

	o.arch = arch;
	o.d_sae = F;
	o.k = K;
	o.batch = 96;
	o.steps = 40;
	o.lr = 5e-3;
	o.normalize = mode;
	return o;
}

static sae_trainer *trained(const input *in, const sae_train_opts *o)
{
	sae_trainer *t = NULL;
	error err = { 0 };

	ck_assert_msg(sae_trainer_new(&t, in->dump, in->rows, o, 1, in->pool, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_trainer_start(t, &err) == 0, "%s", err.msg);
	while (sae_trainer_steps(t) < o->steps)
		ck_assert_int_eq(sae_trainer_step(t, &err), 0);
	return t;
}

/* ---- The trainer's own codes, by hand --------------------------------------------------------------------------------- */

/* What a step sees of a row, less b_dec, in FP64: written from the definitions. */
static void seen(double *out, const sae_trainer *t, const float *x)
{
	const normalize *n = &t->norm;
	const step *s = t->members[0].self;
	double g[D], mean = 0, squares = 0;

	for (size_t i = 0; i < D; i++) {
		g[i] = (double)x[i] - (n->mean ? n->mean[i] : 0);
		mean += (double)x[i] / D;
	}
	for (size_t i = 0; i < D; i++)
		squares += n->kind == SAE_NORMALIZE_LAYER ? ((double)x[i] - mean) * ((double)x[i] - mean)
		                                          : (double)x[i] * (double)x[i];
	for (size_t i = 0; i < D; i++) {
		double v = g[i];

		if (n->kind == SAE_NORMALIZE_LAYER)
			v = (g[i] - mean) / (sqrt(squares / (D - 1)) + 1e-5);
		if (n->kind == SAE_NORMALIZE_TOKEN)
			v = g[i] * sqrt(D / squares);
		if (n->kind == SAE_NORMALIZE_WHITEN) {
			v = 0;
			for (size_t j = 0; j < D; j++)
				v += g[j] * n->whiten[j * D + i];
		}
		out[i] = n->scale * v - (double)s->b_dec.w[i];
	}
}

/* Pre-activations of all features by the weights as the trainer has them. */
static void pre_activations(double pre[F], const sae_trainer *t, const float *x)
{
	const step *s = t->members[0].self;
	double row[D];

	seen(row, t, x);
	for (size_t f = 0; f < F; f++) {
		pre[f] = (double)s->b_enc.w[f];
		for (size_t i = 0; i < D; i++)
			pre[f] += row[i] * (double)s->W_enc.w[f * D + i];
	}
}

/* The K largest, or those over the threshold; features so near the border that rounding may decide are passed over. */
static void check_row(const sae_trainer *t, const sae_codes *c, size_t row, const float *x)
{
	const step *s = t->members[0].self;
	double pre[F], border = s->threshold, got[F] = { 0 };

	pre_activations(pre, t, x);
	for (size_t j = c->first[row]; j < c->first[row + 1]; j++)
		got[c->index[j]] = (double)c->value[j];
	if (s->c.rule == ENCODE_TOPK) {
		border = 0;
		for (size_t f = 0; f < F; f++) {
			size_t over = 0;

			for (size_t g = 0; g < F; g++)
				over += pre[g] > pre[f];
			if (over == K)
				border = fmax(0, pre[f]);
		}
	}
	for (size_t f = 0; f < F; f++) {
		double want = pre[f] > border ? pre[f] : 0, near = 3e-4 * (1 + fabs(pre[f]));

		if (fabs(pre[f] - border) > near)
			ck_assert_msg(fabs(got[f] - want) <= near, "row %zu, feature %zu: %g, not %g", row, f,
			              got[f], want);
	}
}

static void check_saved(const input *in, sae_normalize mode, sae_arch arch)
{
	const sae_train_opts o = plan(mode, arch);
	sae_trainer *t = trained(in, &o);
	char dir[FILE_PATH_MAX];
	sae_model *made = NULL, *m = NULL;
	sae_encoder *e = NULL;
	sae_codes codes = { 0 };
	error err = { 0 };

	support_mkdir(dir);
	ck_assert_int_eq(sae_trainer_model(&made, NULL, t, 0, &err), 0);
	ck_assert_int_eq(sae_model_save(made, dir, NULL, NULL, &err), 0);
	ck_assert_msg(sae_model_load(&m, dir, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_encoder_new(&e, m, in->pool, NULL, &err), 0);
	ck_assert_int_eq(sae_encode(e, in->x, ROWS, &codes, &err), 0);
	ck_assert_uint_gt(codes.first[ROWS], ROWS); /* it fires */
	for (size_t i = 0; i < ROWS; i++)
		check_row(t, &codes, i, in->x + i * D);
	sae_codes_free(&codes);
	sae_encoder_free(e);
	sae_model_free(m);
	sae_model_free(made);
	sae_trainer_free(t);
	support_rmdir(dir);
}

START_TEST(what_is_saved_gives_the_trainers_codes)
{
	input in = { 0 };

	input_open(&in);
	for (int mode = SAE_NORMALIZE_NONE; mode <= SAE_NORMALIZE_CENTER; mode++) {
		check_saved(&in, (sae_normalize)mode, SAE_TOPK);
		check_saved(&in, (sae_normalize)mode, SAE_BATCHTOPK); /* with a threshold */
	}
	input_close(&in);
}
END_TEST

/* What rows' scale decides, of an option that is open and of one that is given. */
START_TEST(open_defaults_follow_the_scale_of_rows)
{
	input in = { 0 };
	double norm = 0;

	input_open(&in);
	for (size_t t = 0; t < ROWS; t++) {
		double squares = 0;

		for (size_t i = 0; i < D; i++)
			squares += (double)in.x[t * D + i] * (double)in.x[t * D + i];
		norm += sqrt(squares) / ROWS;
	}
	for (int mode = SAE_NORMALIZE_NONE; mode <= SAE_NORMALIZE_CENTER; mode++) {
		sae_train_opts o = plan((sae_normalize)mode, SAE_JUMPRELU), given = o, of = o;
		double unit = mode == SAE_NORMALIZE_NONE          ? norm / sqrt(D)
		              : mode == SAE_NORMALIZE_MEAN_SQUARE ? 1 / sqrt(D)
		                                                  : 1;

		sae_train_opts_see(&o, in.dump, in.rows);
		sae_train_plan(&o, ROWS);
		ck_assert_double_eq_tol(o.row_unit, unit, 1e-6 * unit);
		ck_assert_double_eq_tol(o.penalty.bandwidth, 0.5 * unit, 1e-6 * unit);
		ck_assert_double_eq_tol(o.penalty.threshold, 0.1 * unit, 1e-6 * unit);
		ck_assert_double_eq_tol(o.penalty.threshold_lr, 20 * unit, 1e-4 * unit);
		ck_assert_double_eq_tol(o.penalty.tanh_scale * unit, 4, 1e-5);
		ck_assert_double_eq_tol(o.penalty.coef, unit * unit, 1e-5 * unit * unit);
		ck_assert_double_eq_tol(o.archetypal_delta, unit, 1e-6 * unit);
		given.penalty = (sae_penalty_opts){
			.coef = 3, .bandwidth = 2, .threshold = 1, .threshold_lr = 5, .tanh_scale = 6
		};
		sae_train_opts_see(&given, in.dump, in.rows);
		sae_train_plan(&given, ROWS);
		ck_assert_double_eq(given.penalty.coef, 3);
		ck_assert_double_eq(given.penalty.bandwidth, 2);
		ck_assert_double_eq(given.penalty.threshold, 1);
		ck_assert_double_eq(given.penalty.threshold_lr, 5);
		ck_assert_double_eq(given.penalty.tanh_scale, 6);
		of.arch = SAE_GATED;
		sae_train_opts_see(&of, in.dump, in.rows);
		sae_train_plan(&of, ROWS);
		ck_assert_double_eq_tol(of.penalty.coef, 2 * unit, 1e-5 * unit);
		of = plan((sae_normalize)mode, SAE_CODEBOOK);
		of.lr = 0;
		sae_train_opts_see(&of, in.dump, in.rows);
		sae_train_plan(&of, ROWS);
		ck_assert_double_eq_tol(of.lr, 3e-3 * unit, 1e-8 * unit);
	}
	input_close(&in);
}
END_TEST

/* On the rows held out the saved model explains about what training ended with. */
START_TEST(eval_on_raw_rows_agrees)
{
	input in = { 0 };

	input_open(&in);
	for (int mode = SAE_NORMALIZE_NONE; mode <= SAE_NORMALIZE_CENTER; mode++) {
		sae_train_opts o = plan((sae_normalize)mode, SAE_TOPK);
		sae_trainer *t;
		sae_model *m = NULL;
		sae_metrics metrics = { 0 };
		error err = { 0 };

		o.steps = 400;
		t = trained(&in, &o);
		ck_assert_int_eq(sae_trainer_model(&m, NULL, t, 0, &err), 0);
		ck_assert_int_eq(sae_eval(&metrics, m, in.dump, NULL, in.rows, true, in.pool, NULL, &err), 0);
		ck_assert_msg(metrics.fvu < 0.3, "%s: fvu %g", mode_names[mode], metrics.fvu);
		sae_metrics_clear(&metrics);
		sae_model_free(m);
		sae_trainer_free(t);
	}
	input_close(&in);
}
END_TEST

/* ---- Whitening ---------------------------------------------------------------------------------------------------------- */

START_TEST(whitened_rows_have_the_identity_as_covariance)
{
	float *x = mem_alloc_aligned(ROWS, D * sizeof(float));
	double mean[D] = { 0 };
	normalize n;
	pool *p = NULL;

	make_rows(x);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(normalize_init(&n, SAE_NORMALIZE_WHITEN, D, 2, NULL), 0);
	ck_assert_int_eq(normalize_fit(&n, x, ROWS, p, NULL), 0);
	for (size_t t = 0; t < ROWS; t++)
		for (size_t i = 0; i < D; i++)
			mean[i] += (double)x[t * D + i] / ROWS;
	for (size_t i = 0; i < D; i++)
		for (size_t j = 0; j < D; j++) {
			double c = 0, product = 0;

			for (size_t t = 0; t < ROWS; t++)
				c += ((double)x[t * D + i] - mean[i]) * ((double)x[t * D + j] - mean[j]) /
				     ROWS;
			for (size_t l = 0; l < D; l++)
				product += n.whiten[i * D + l] * n.colour[l * D + j];
			ck_assert_double_le(fabs(c - (i == j)), 5e-3); /* variances are over 0.3 */
			ck_assert_double_le(fabs(product - (i == j)), 1e-10);
		}
	normalize_clear(&n);
	pool_free(p);
	free(x);
}
END_TEST

/* A column that never changes has no variance to divide by. */
START_TEST(a_constant_column_stays_finite)
{
	float *x = mem_alloc_aligned(ROWS, D * sizeof(float));
	normalize n;
	pool *p = NULL;

	make_rows(x);
	for (size_t t = 0; t < ROWS; t++)
		x[t * D + 5] = 7;
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(normalize_init(&n, SAE_NORMALIZE_WHITEN, D, 1, NULL), 0);
	ck_assert_int_eq(normalize_fit(&n, x, ROWS, p, NULL), 0);
	for (size_t i = 0; i < (size_t)ROWS * D; i++)
		ck_assert(isfinite(x[i]));
	normalize_clear(&n);
	pool_free(p);
	free(x);
}
END_TEST

START_TEST(a_resumed_run_normalises_as_before)
{
	input in = { 0 };

	input_open(&in);
	for (int mode = SAE_NORMALIZE_LAYER; mode <= SAE_NORMALIZE_CENTER; mode++) {
		sae_train_opts o = plan((sae_normalize)mode, SAE_TOPK);
		sae_trainer *whole = trained(&in, &o), *part, *again = NULL;
		sae_model *a = NULL, *b = NULL;
		sae_saved *saved = NULL;
		char dir[FILE_PATH_MAX];
		error err = { 0 };

		support_mkdir(dir);
		ck_assert_int_eq(sae_trainer_new(&part, in.dump, in.rows, &o, 1, in.pool, &err), 0);
		ck_assert_int_eq(sae_trainer_start(part, &err), 0);
		for (int s = 0; s < 9; s++)
			ck_assert_int_eq(sae_trainer_step(part, &err), 0);
		ck_assert_int_eq(sae_trainer_save(part, dir, NULL, NULL, &err), 0);
		ck_assert_int_eq(sae_trainer_new(&again, in.dump, in.rows, &o, 1, in.pool, &err), 0);
		ck_assert_int_eq(sae_saved_open(&saved, dir, &err), 0);
		ck_assert_msg(sae_trainer_restore(again, saved, false, false, &err) == 0, "%s", err.msg);
		while (sae_trainer_steps(again) < o.steps)
			ck_assert_int_eq(sae_trainer_step(again, &err), 0);
		ck_assert_int_eq(sae_trainer_model(&a, NULL, whole, 0, &err), 0);
		ck_assert_int_eq(sae_trainer_model(&b, NULL, again, 0, &err), 0);
		ck_assert_mem_eq(a->W_enc, b->W_enc, (size_t)F * D * sizeof(float));
		ck_assert_mem_eq(a->b_dec, b->b_dec, D * sizeof(float));
		sae_model_free(a);
		sae_model_free(b);
		sae_saved_close(saved);
		sae_trainer_free(whole);
		sae_trainer_free(part);
		sae_trainer_free(again);
		support_rmdir(dir);
	}
	input_close(&in);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	float *x = mem_alloc_aligned(ROWS, D * sizeof(float));
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	for (long at = 0;; at++) {
		normalize n;
		int rc;

		make_rows(x);
		fault_arm(FAULT_ALLOC, at);
		rc = normalize_init(&n, SAE_NORMALIZE_WHITEN, D, 1, NULL);
		if (rc == 0)
			rc = normalize_fit(&n, x, ROWS, p, NULL);
		normalize_clear(&n);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	pool_free(p);
	free(x);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "models", what_is_saved_gives_the_trainers_codes, eval_on_raw_rows_agrees,
	             a_resumed_run_normalises_as_before, open_defaults_follow_the_scale_of_rows);
	SUPPORT_CASE(s, "rows", whitened_rows_have_the_identity_as_covariance, a_constant_column_stays_finite,
	             each_failing_allocation_is_reported);
}
SUPPORT_MAIN("normalize", cases)
