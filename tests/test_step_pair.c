/* Steps of transcoders, skip transcoders and crosscoders against a reference in FP64: the loss written out, its gradients by
 * central differences. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>

enum { D = 6, MOST_OUT = 6, F = 15, K = 3, N = 13, W = F * D, MOST = 2 * W + F + MOST_OUT + MOST_OUT * D };

typedef struct shape {
	uint32_t d_out; /* 0: a crosscoder */
	bool skip;
	uint32_t blocks;
	encode_rule rule;
	bool multi;      /* Multi-TopK */
	uint32_t prefix; /* Matryoshka: of so many features, and of all; 0: none */
} shape;

static const shape shapes[] = {
	{ 4, false, 1, ENCODE_TOPK, false, 0 },      { 4, true, 1, ENCODE_TOPK, false, 0 },
	{ 6, true, 1, ENCODE_BATCHTOPK, false, 0 },  { 4, false, 1, ENCODE_BATCHTOPK, false, 0 },
	{ 0, false, 2, ENCODE_TOPK, false, 0 },      { 0, false, 3, ENCODE_TOPK, false, 0 },
	{ 0, false, 2, ENCODE_BATCHTOPK, false, 0 }, { 5, true, 1, ENCODE_GROUPMAX, false, 0 },
	{ 5, true, 1, ENCODE_TOPK, true, 0 },        { 4, true, 1, ENCODE_BATCHTOPK, false, 7 },
	{ 0, false, 2, ENCODE_BATCHTOPK, false, 7 },
};

/* W_enc (F, D), W_dec (F, d_out), b_enc (F), b_dec (d_out), W_skip (d_out, D) in one array. */
typedef struct reference {
	shape s;
	size_t d_out, dec, b_enc, b_dec, skip, n;
	double p[MOST], m[MOST], v[MOST], grad[MOST];
	double x[N * D], y[N * MOST_OUT]; /* scaled */
	bool dead[F];
	double alpha, e[N * MOST_OUT], u;
} reference;

static void reference_init(reference *r, const shape *s, double alpha)
{
	*r = (reference){ .s = *s, .d_out = s->d_out ? s->d_out : D, .alpha = alpha, .dec = W };
	r->b_enc = W + F * r->d_out;
	r->b_dec = r->b_enc + F;
	r->skip = r->b_dec + r->d_out;
	r->n = r->skip + (s->skip ? r->d_out * D : 0);
}

static void pre_activations(const reference *r, double *pre)
{
	for (size_t t = 0; t < N; t++)
		for (size_t f = 0; f < F; f++) {
			pre[t * F + f] = r->p[r->b_enc + f];
			for (size_t i = 0; i < D; i++)
				pre[t * F + f] += (r->x[t * D + i] - (r->s.d_out ? 0 : r->p[r->b_dec + i])) *
				                  r->p[f * D + i];
		}
}

static size_t rank_in(const double *pre, size_t first, size_t end, size_t at)
{
	size_t rank = 0;

	for (size_t i = first; i < end; i++)
		rank += pre[i] > pre[at];
	return rank;
}

/* Whether the rule keeps place `at` of pre (N, F), with `k` values a row. */
static bool is_kept(const reference *r, const double *pre, size_t at, size_t k)
{
	size_t row = at / F * F, group = row + at % F / (F / K) * (F / K);

	if (pre[at] <= 0)
		return false;
	if (r->s.rule == ENCODE_BATCHTOPK)
		return rank_in(pre, 0, N * F, at) < k * N;
	return r->s.rule == ENCODE_TOPK ? rank_in(pre, row, row + F, at) < k
	                                : rank_in(pre, group, group + F / K, at) < 1;
}

/* e = y - b_dec - codes W_dec - W_skip x of row t, with the codes of features under `end`. */
static void error_row(const reference *r, const double *pre, size_t t, size_t k, size_t end, double *e)
{
	const double *y = r->s.d_out ? r->y : r->x;

	for (size_t j = 0; j < r->d_out; j++) {
		e[j] = y[t * r->d_out + j] - r->p[r->b_dec + j];
		for (size_t i = 0; i < D && r->s.skip; i++)
			e[j] -= r->p[r->skip + j * D + i] * r->x[t * D + i];
	}
	for (size_t f = 0; f < end; f++)
		for (size_t j = 0; j < r->d_out && is_kept(r, pre, t * F + f, k); j++)
			e[j] -= pre[t * F + f] * r->p[r->dec + f * r->d_out + j];
}

/* |e - ehat|^2 of row t, ehat by the k_aux largest of the dead. */
static double aux_row(const reference *r, const double *pre, size_t t)
{
	double of_dead[F], squares = 0, left[MOST_OUT];

	memcpy(left, r->e + t * r->d_out, r->d_out * sizeof(*left));
	for (size_t f = 0; f < F; f++)
		of_dead[f] = r->dead[f] ? pre[t * F + f] : -1;
	for (size_t f = 0; f < F; f++)
		for (size_t j = 0; j < r->d_out && of_dead[f] > 0 && rank_in(of_dead, 0, F, f) < r->d_out / 2;
		     j++)
			left[j] -= of_dead[f] * r->p[r->dec + f * r->d_out + j];
	for (size_t j = 0; j < r->d_out; j++)
		squares += left[j] * left[j];
	return squares;
}

/* FVU of codes of `k` values a row and features under `end`; e: their errors. */
static double fvu_with(const reference *r, const double *pre, size_t k, size_t end, double *e)
{
	double squares = 0;

	for (size_t t = 0; t < N; t++)
		error_row(r, pre, t, k, end, e + t * r->d_out);
	for (size_t i = 0; i < N * r->d_out; i++)
		squares += e[i] * e[i];
	return squares / support_scatter(r->s.d_out ? r->y : r->x, N, r->d_out);
}

/* *main: what gradients are divided by. */
static double loss(reference *r, bool set_constants, double *fvu, double *main)
{
	double pre[N * F], e[N * MOST_OUT], e_part[N * MOST_OUT], aux = 0, multi = 0;

	pre_activations(r, pre);
	*main = *fvu = fvu_with(r, pre, K, F, e);
	if (r->s.prefix)
		*main = (*fvu + fvu_with(r, pre, K, r->s.prefix, e_part)) / 2;
	if (r->s.multi)
		multi = fvu_with(r, pre, 4 * K, F, e_part) / 8;
	if (set_constants) {
		memcpy(r->e, e, sizeof(e));
		r->u = support_scatter(e, N, r->d_out);
	}
	for (size_t t = 0; t < N && r->alpha > 0; t++)
		aux += aux_row(r, pre, t);
	return *main + multi + r->alpha * aux / r->u;
}

static double loss_at(void *payload)
{
	double fvu, main;

	return loss(payload, false, &fvu, &main);
}

/* Over the batch's FVU; a crosscoder's decoder rows then lose the part along themselves. */
static void gradients(reference *r, double *fvu)
{
	double main;

	loss(r, true, fvu, &main);
	support_differences(r->grad, r->p, r->n, loss_at, r);
	for (size_t i = 0; i < r->n; i++)
		r->grad[i] /= main;
	if (!r->s.d_out)
		support_project(r->grad + r->dec, r->p + r->dec, F, r->d_out);
}

/* Sum of the norms of a decoder row's parts. */
static double length_of(const reference *r, size_t f)
{
	size_t width = r->d_out / r->s.blocks;
	double norms = 0;

	for (size_t b = 0; b < r->s.blocks; b++) {
		double squares = 0;

		for (size_t j = b * width; j < (b + 1) * width; j++)
			squares += r->p[r->dec + f * r->d_out + j] * r->p[r->dec + f * r->d_out + j];
		norms += sqrt(squares);
	}
	return norms;
}

static void reference_step(reference *r, const step_config *c, unsigned t, double lr)
{
	support_adam(r->p, r->m, r->v, r->grad, r->n, c, t, lr);
	for (size_t f = 0; f < F && !r->s.d_out; f++) {
		double norms = length_of(r, f);

		for (size_t j = 0; j < r->d_out; j++)
			r->p[r->dec + f * r->d_out + j] /= norms;
	}
}

/* ---- Both on the same problem -------------------------------------------------------------------------------------- */

static void copy(double *to, float *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = from[i];
}

static step *begin(reference *r, const shape *s, double alpha, step_config *c, pool *p)
{
	step *at;

	reference_init(r, s, alpha);
	*c = support_small_step(D, F, K, N);
	c->d_out = s->d_out;
	c->skip = s->skip;
	c->blocks = s->blocks;
	c->auxk_alpha = alpha;
	c->dead_tokens = 1000000;
	c->rule = s->rule;
	c->multi = s->multi;
	if (s->prefix)
		c->prefixes = (step_prefixes){ .n = 2, .ends = { s->prefix, F } };
	ck_assert_int_eq(step_new(&at, c, p, NULL), 0);
	step_init_weights(at, 5);
	for (size_t i = 0; i < W; i++)
		at->W_enc.w[i] = (float)support_uniform(1, i);
	for (size_t f = 0; f < F; f++)
		at->b_enc.w[f] = (float)(support_uniform(2, f) - (f % 2 ? 1.2 : 0.3));
	for (size_t i = 0; i < F * r->d_out && s->d_out; i++)
		at->W_dec.w[i] = (float)support_uniform(6, i);
	for (size_t i = 0; i < r->d_out; i++)
		at->b_dec.w[i] = (float)(0.3 * support_uniform(3, i));
	for (size_t i = 0; i < r->d_out * D && s->skip; i++)
		at->W_skip.w[i] = (float)(0.2 * support_uniform(4, i));
	copy(r->p, at->W_enc.w, F * D);
	copy(r->p + r->dec, at->W_dec.w, F * r->d_out);
	copy(r->p + r->b_enc, at->b_enc.w, F);
	copy(r->p + r->b_dec, at->b_dec.w, r->d_out);
	if (s->skip)
		copy(r->p + r->skip, at->W_skip.w, r->d_out * D);
	return at;
}

static void fill(reference *r, float *x, float *y, float scale, uint64_t seed)
{
	support_fill_scaled(x, r->x, N * D, scale, seed);
	for (size_t i = 0; i < N * r->d_out; i++)
		r->y[i] = y[i] = (float)(support_uniform(seed + 1, i) + 0.5 * x[i % (N * D)]);
}

static void compare_all(const reference *r, const step *s, bool moments, const double *want, double factor,
                        double tolerance)
{
	support_compare("W_enc", moments ? s->W_enc.m : s->W_enc.w, want, F * D, factor, tolerance);
	support_compare("W_dec", moments ? s->W_dec.m : s->W_dec.w, want + r->dec, F * r->d_out, factor,
	                tolerance);
	support_compare("b_enc", moments ? s->b_enc.m : s->b_enc.w, want + r->b_enc, F, factor, tolerance);
	support_compare("b_dec", moments ? s->b_dec.m : s->b_dec.w, want + r->b_dec, r->d_out, factor,
	                tolerance);
	if (r->s.skip)
		support_compare("W_skip", moments ? s->W_skip.m : s->W_skip.w, want + r->skip, r->d_out * D,
		                factor, tolerance);
}

/* With lr 0 the first moments after one step are (1 - beta1) times the gradients. */
static void check_gradients(const shape *of, bool with_dead)
{
	float x[N * D], y[N * MOST_OUT];
	double fvu, norm = 0;
	step_result result;
	step_config c;
	reference r;
	pool *p;
	step *s;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	s = begin(&r, of, with_dead ? 0.25 : 0, &c, p);
	for (size_t f = 0; f < 5 && with_dead; f++) {
		r.dead[2 * f] = true;
		s->silent[2 * f] = c.dead_tokens;
	}
	fill(&r, x, y, 1.5f, 7);
	gradients(&r, &fvu);
	for (size_t i = 0; i < r.n; i++)
		norm += r.grad[i] * r.grad[i];
	step_run(s, x, of->d_out ? y : NULL, N, 1.5f, 0, &result);
	ck_assert_double_le(fabs(result.fvu - fvu), 2e-6);
	ck_assert_uint_eq(result.n_inputs, of->blocks > 1 ? of->blocks : 0);
	if (result.n_inputs)
		support_check_inputs(result.input_fvu, r.x, r.e, N, D, result.n_inputs);
	ck_assert_double_le(fabs(result.grad_norm - sqrt(norm)), 2e-5);
	compare_all(&r, s, true, r.grad, 10, 4e-6);
	step_free(s);
	pool_free(p);
}

START_TEST(gradients_equal_central_differences)
{
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		check_gradients(&shapes[i], false);
		check_gradients(&shapes[i], true);
	}
}
END_TEST

START_TEST(steps_follow_the_reference)
{
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		float x[N * D], y[N * MOST_OUT];
		step_result result;
		step_config c;
		reference r;
		double fvu;
		pool *p;
		step *s;

		ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
		s = begin(&r, &shapes[i], 0, &c, p);
		for (unsigned t = 1; t <= 6; t++) {
			fill(&r, x, y, 0.8f, 100 + 2 * t);
			gradients(&r, &fvu);
			reference_step(&r, &c, t, 0.01 / t);
			step_run(s, x, shapes[i].d_out ? y : NULL, N, 0.8f, 0.01 / t, &result);
			ck_assert_double_le(fabs(result.fvu - fvu), 2e-5);
		}
		compare_all(&r, s, false, r.p, 1, 2e-5);
		for (size_t f = 0; f < F && !shapes[i].d_out; f++)
			ck_assert_double_le(fabs(length_of(&r, f) - 1), 1e-9);
		step_free(s);
		pool_free(p);
	}
}
END_TEST

START_TEST(the_mean_row_starts_at_zero)
{
	const double mean[D] = { 1, -2, 0.5, 3, 0, -1 };
	const step_config c = { .d = D,
		                .d_out = 4,
		                .n_features = F,
		                .k = K,
		                .batch = N,
		                .dead_tokens = 1,
		                .k_set = kernels_get(NULL) };
	pool *p;
	step *s;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	step_init_weights(s, 5);
	step_init_bias(s, mean);
	for (size_t f = 0; f < F; f++) {
		double pre = s->b_enc.w[f], enc = 0;

		for (size_t i = 0; i < D; i++) {
			pre += mean[i] * (double)s->W_enc.w[f * D + i];
			enc += (double)s->W_enc.w[f * D + i] * (double)s->W_enc.w[f * D + i];
		}
		for (size_t i = 0; i < 4; i++)
			ck_assert_float_eq(s->W_dec.w[f * 4 + i], 0);
		ck_assert_double_le(fabs(pre), 1e-6);
		ck_assert_double_le(fabs(sqrt(enc) - STEP_ENCODER_NORM), 1e-6);
	}
	step_free(s);
	pool_free(p);
}
END_TEST

static step *run_large(const step_config *c, pool *p)
{
	return support_run_steps(c, p, 3);
}

START_TEST(threads_do_not_change_a_bit)
{
	step_config c = support_large_step(40, 200, 4, 600);

	c.d_out = 70;
	c.skip = true;
	c.dead_tokens = c.batch;
	support_same_at_any_threads(&c, run_large);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "steps of several hook points", gradients_equal_central_differences,
	             steps_follow_the_reference, the_mean_row_starts_at_zero, threads_do_not_change_a_bit);
}

SUPPORT_MAIN("step_pair", cases)
