/* Matryoshka and Multi-TopK steps against their losses written out in FP64, and what AuxK must and must not reach. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>

enum { D = 6, F = 16, K = 3, N = 11, K_AUX = D / 2, W = F * D, PARAMS = 2 * W + F + D };

/* ---- The loss --------------------------------------------------------------------------------------------------------- */

/* All parameters in one array: W_enc (F, D), W_dec (F, D), b_enc (F), b_dec (D). */
typedef struct reference {
	const step_config *c;
	double p[PARAMS], grad[PARAMS], x[N * D], aux_target[N * D], aux_scale;
	bool dead[F];
	double main, aux, multi, prefix[SAE_PREFIXES];
	const uint32_t *ends;
	uint32_t n_ends;
} reference;

static void pre_activations(const reference *r, double *pre)
{
	const double *b_enc = r->p + 2 * W, *b_dec = b_enc + F;

	for (size_t t = 0; t < N; t++)
		for (size_t f = 0; f < F; f++) {
			double sum = b_enc[f];

			for (size_t i = 0; i < D; i++)
				sum += (r->x[t * D + i] - b_dec[i]) * r->p[f * D + i];
			pre[t * F + f] = sum;
		}
}

/* Whether value i of pre (n) is among the k largest. */
static bool is_among(const double *pre, size_t n, size_t k, size_t i)
{
	size_t rank = 0;

	for (size_t j = 0; j < n; j++)
		rank += pre[j] > pre[i];
	return rank < k && pre[i] > 0;
}

/* The k largest of a row, or k a row of the batch, of the features that are dead or of all. */
static void choose(const reference *r, const double *pre, size_t k, bool batch, bool dead, double *codes)
{
	double of[N * F];

	for (size_t i = 0; i < N * F; i++)
		of[i] = dead && !r->dead[i % F] ? -1 : pre[i];
	for (size_t i = 0; i < N * F; i++)
		codes[i] = (batch ? is_among(of, N * F, k * N, i) : is_among(of + i / F * F, F, k, i % F))
		                   ? of[i]
		                   : 0;
}

/* Squares of target - codes' first `end` features - bias; the rests into `left`. */
static double squares_of(const reference *r, const double *target, const double *codes, uint32_t end,
                         const double *bias, double *left)
{
	double squares = 0;

	for (size_t i = 0; i < N * D; i++) {
		left[i] = target[i] - (bias ? bias[i % D] : 0);
		for (uint32_t f = 0; f < end; f++)
			left[i] -= codes[i / D * F + f] * r->p[W + f * D + i % D];
		squares += left[i] * left[i];
	}
	return squares;
}

static double loss(reference *r, bool set_constants)
{
	const step_prefixes *prefixes = &r->c->prefixes;
	const double *b_dec = r->p + 2 * W + F;
	double pre[N * F], codes[N * F], e[N * D], total = support_scatter(r->x, N, D), weight;

	pre_activations(r, pre);
	choose(r, pre, K, r->c->rule == ENCODE_BATCHTOPK, false, codes);
	weight = prefixes->sum ? 1 : 1.0 / (r->n_ends + prefixes->empty);
	r->main = prefixes->empty ? weight * squares_of(r, r->x, codes, 0, b_dec, e) / total : 0;
	for (uint32_t i = 0; i < r->n_ends; i++) {
		r->prefix[i] = squares_of(r, r->x, codes, r->ends[i], b_dec, e) / total;
		r->main += (prefixes->weights[0] > 0 ? prefixes->weights[i] : weight) * r->prefix[i];
	}
	if (set_constants) {
		memcpy(r->aux_target, e, sizeof(e));
		r->aux_scale = support_scatter(e, N, D);
	}
	choose(r, pre, K_AUX, false, true, codes);
	r->aux = r->c->auxk_alpha > 0 ? squares_of(r, r->aux_target, codes, F, NULL, e) / r->aux_scale : 0;
	for (size_t f = 0, any = 0; f < F; f++)
		if ((any |= r->dead[f]) == 0 && f + 1 == F)
			r->aux = 0;
	choose(r, pre, 4 * K, false, false, codes);
	r->multi = r->c->multi ? squares_of(r, r->x, codes, F, b_dec, e) / total : 0;
	return r->main + r->c->auxk_alpha * r->aux + r->multi / 8;
}

static double loss_at(void *payload)
{
	return loss(payload, false);
}

/* Central differences over what is in FVU's place; decoder rows then lose the part along themselves. */
static void gradients(reference *r)
{
	double scale;

	loss(r, true);
	scale = r->main;
	support_differences(r->grad, r->p, PARAMS, loss_at, r);
	for (size_t i = 0; i < PARAMS; i++)
		r->grad[i] /= scale;
	loss(r, true);
	support_project(r->grad + W, r->p + W, F, D);
}

/* ---- Both on the same problem ------------------------------------------------------------------------------------------- */

static step_config small_config(encode_rule rule)
{
	step_config c = support_small_step(D, F, K, N);

	c.rule = rule;
	return c;
}

static void compare(const char *what, const float *m, const double *want, size_t n)
{
	support_compare(what, m, want, n, 10, 3e-6); /* first moments after a step of lr 0 */
}

static void set_problem(reference *r, step *s, bool dead, float *x)
{
	static const uint32_t all[] = { F };

	*r = (reference){ .c = &s->c, .ends = s->c.prefixes.n ? s->prefix_ends : all };
	r->n_ends = s->c.prefixes.n ? s->c.prefixes.n : 1;
	step_init_weights(s, 5);
	for (size_t i = 0; i < W; i++) {
		r->p[i] = s->W_enc.w[i] = (float)support_uniform(1, i);
		r->p[W + i] = s->W_dec.w[i];
	}
	for (size_t f = 0; f < F; f++)
		r->p[2 * W + f] = s->b_enc.w[f] = (float)(support_uniform(2, f) - (f % 2 ? 1.2 : 0.3));
	for (size_t i = 0; i < D; i++)
		r->p[2 * W + F + i] = s->b_dec.w[i] = (float)(0.3 * support_uniform(3, i));
	for (size_t f = 2; f < F && dead; f += 4) {
		r->dead[f] = true;
		s->silent[f] = s->c.dead_tokens;
	}
	support_fill_scaled(x, r->x, N * D, 1.5f, 4);
}

static void check_gradients(const step_config *c, bool dead)
{
	float x[N * D];
	step_result result;
	reference r;
	step *s;
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(step_new(&s, c, p, NULL), 0);
	set_problem(&r, s, dead, x);
	step_run(s, x, NULL, N, 1.5f, 0, &result); /* draws the prefixes, of which the reference then knows */
	gradients(&r);
	ck_assert_double_le(fabs(result.fvu - r.prefix[r.n_ends - 1]), 1e-6);
	ck_assert_double_le(fabs(result.auxk - r.aux), 1e-6);
	ck_assert((r.aux > 0) == (dead && c->auxk_alpha > 0));
	ck_assert_double_le(fabs(result.multi - r.multi), 1e-6);
	ck_assert_uint_eq(result.n_prefixes, c->prefixes.n);
	for (uint32_t i = 0; i < result.n_prefixes; i++) {
		ck_assert_uint_eq(result.prefix_ends[i], r.ends[i]);
		ck_assert_double_le(fabs(result.prefix_fvu[i] - r.prefix[i]), 1e-6);
	}
	compare("W_enc", s->W_enc.m, r.grad, W);
	compare("W_dec", s->W_dec.m, r.grad + W, W);
	compare("b_enc", s->b_enc.m, r.grad + 2 * W, F);
	compare("b_dec", s->b_dec.m, r.grad + 2 * W + F, D);
	step_free(s);
	pool_free(p);
}

START_TEST(matryoshka_gradients_equal_central_differences)
{
	static const step_prefixes prefixes[] = {
		{ .n = 1, .ends = { F } },
		{ .n = 3, .ends = { 1, 7, F } },
		{ .n = 5, .ends = { 1, 2, 4, 8, F }, .sum = true },
		{ .n = 2, .ends = { 8, F }, .empty = true },
		{ .n = 4, .ends = { 2, 3, 12, F }, .sum = true, .empty = true },
		{ .n = 6, .ends = { 1, 2, 3, 4, 5, F }, .random = true, .seed = 9 },
		{ .n = 3, .ends = { 2, 7, F }, .weights = { 0.5, 2, 0.25 } },
		{ .n = 2, .ends = { 4, F }, .weights = { 1e-3, 3 } },
	};

	for (size_t i = 0; kernels_names[i]; i++)
		for (size_t j = 0; kernels_get(kernels_names[i]) && j < ARRAY_LEN(prefixes); j++)
			for (int dead = 0; dead < 2; dead++) {
				step_config c = small_config(ENCODE_BATCHTOPK);

				c.k_set = kernels_get(kernels_names[i]);
				c.prefixes = prefixes[j];
				c.auxk_alpha = 0.25;
				check_gradients(&c, dead);
			}
}
END_TEST

START_TEST(multi_topk_gradients_equal_central_differences)
{
	for (size_t i = 0; kernels_names[i]; i++)
		for (int dead = 0; kernels_get(kernels_names[i]) && dead < 2; dead++) {
			step_config c = small_config(ENCODE_TOPK);

			c.k_set = kernels_get(kernels_names[i]);
			c.multi = true;
			c.auxk_alpha = 0.25;
			check_gradients(&c, dead);
			c.multi = false;
			check_gradients(&c, dead);
		}
}
END_TEST

/* ---- Larger problems ------------------------------------------------------------------------------------------------------ */

enum { DIMS = 40, FEATURES = 400, BATCH = 2 * STEP_TOKENS + 77, STEPS = 6 };

static step_config large_config(encode_rule rule)
{
	step_config c = support_large_step(DIMS, FEATURES, 4, BATCH);

	c.rule = rule;
	return c;
}

static step *run_large(const step_config *c, pool *p)
{
	return support_run_steps(c, p, STEPS);
}

START_TEST(one_prefix_is_batchtopk_bit_for_bit)
{
	step_config c = large_config(ENCODE_BATCHTOPK);
	step *plain, *one, *sum;
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	plain = run_large(&c, p);
	c.prefixes = (step_prefixes){ .n = 1, .ends = { FEATURES } };
	one = run_large(&c, p);
	c.prefixes.sum = c.prefixes.random = true;
	sum = run_large(&c, p);
	support_same_steps(plain, one);
	support_same_steps(plain, sum);
	step_free(plain);
	step_free(one);
	step_free(sum);
	pool_free(p);
}
END_TEST

START_TEST(threads_do_not_change_a_bit)
{
	step_config c = large_config(ENCODE_BATCHTOPK), m = large_config(ENCODE_TOPK);

	c.prefixes = (step_prefixes){ .n = 5, .ends = { 25, 50, 100, 200, FEATURES } };
	support_same_at_any_threads(&c, run_large);
	c.prefixes.random = c.prefixes.empty = true;
	support_same_at_any_threads(&c, run_large);
	m.multi = true;
	support_same_at_any_threads(&m, run_large);
}
END_TEST

START_TEST(random_prefixes_favour_short_ones)
{
	step_config c = large_config(ENCODE_BATCHTOPK);
	uint32_t before[SAE_PREFIXES] = { 0 };
	unsigned draws = 2000, low = 0, all = 0;
	step *s;
	pool *p;

	c.prefixes = (step_prefixes){ .n = 8, .ends = { [7] = FEATURES }, .random = true, .seed = 3 };
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	for (s->t = 0; s->t < draws; s->t++) {
		step_prefix_draw(s);
		ck_assert_mem_ne(before, s->prefix_ends, sizeof(before));
		memcpy(before, s->prefix_ends, sizeof(before));
		ck_assert_uint_eq(s->prefix_ends[7], FEATURES);
		for (unsigned i = 0; i < 7; i++) {
			ck_assert_uint_gt(s->prefix_ends[i], i ? s->prefix_ends[i - 1] : 0);
			low += s->prefix_ends[i] <= 100;
			all++;
		}
		ck_assert_uint_lt(s->prefix_ends[6], FEATURES);
		step_prefix_draw(s); /* the same step: the same prefixes */
		ck_assert_mem_eq(before, s->prefix_ends, sizeof(before));
	}
	/* sqrt(100 / 399) = 0.5006 of single draws; a little less as no end is drawn twice */
	ck_assert_double_le(fabs((double)low / all - 0.49), 0.02);
	step_free(s);
	pool_free(p);
}
END_TEST

/* Errors of longer prefixes are smaller once trained, and each prefix's much smaller than at the start. */
START_TEST(longer_prefixes_explain_more)
{
	enum { ROWS = 512 };
	step_config c = {
		.d = 16, .n_features = 32, .k = 3, .batch = ROWS, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8
	};
	static float x[ROWS * 16];
	double start[4];
	step_result r;
	step *s;
	pool *p;

	c.rule = ENCODE_BATCHTOPK;
	c.k_set = kernels_get(NULL);
	c.prefixes = (step_prefixes){ .n = 4, .ends = { 4, 8, 16, 32 } };
	c.dead_tokens = UINT64_MAX;
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	step_init_weights(s, 3);
	for (unsigned t = 0; t < 400; t++) {
		for (size_t i = 0; i < ROWS; i++) { /* three of 32 directions, the first ones often */
			memset(x + i * 16, 0, 16 * sizeof(*x));
			for (size_t j = 0; j < 3; j++) {
				double u = hash64_unit(hash64_mix(t, 3 * i + j));
				uint64_t of = (uint64_t)(32 * u * u);

				for (size_t l = 0; l < 16; l++)
					x[i * 16 + l] += (float)support_uniform(77, of * 16 + l);
			}
		}
		step_run(s, x, NULL, ROWS, 1, 3e-3, &r);
		if (t == 0)
			memcpy(start, r.prefix_fvu, sizeof(start));
	}
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_double_lt(r.prefix_fvu[i], 0.8 * start[i]);
		if (i)
			ck_assert_double_lt(r.prefix_fvu[i], r.prefix_fvu[i - 1]);
	}
	ck_assert(r.prefix_fvu[3] == r.fvu);
	step_free(s);
	pool_free(p);
}
END_TEST

/* ---- What gets gradients ---------------------------------------------------------------------------------------------------- */

/* Of first moments: whether feature f's are all exactly zero. */
static bool is_untouched(const step *s, size_t f)
{
	for (size_t i = 0; i < D; i++)
		if (s->W_enc.m[f * D + i] != 0 || s->W_dec.m[f * D + i] != 0)
			return false;
	return s->b_enc.m[f] == 0;
}

static bool reaches_encoder(const step *s, size_t f)
{
	for (size_t i = 0; i < D; i++)
		if (s->W_enc.m[f * D + i] == 0)
			return false;
	return s->b_enc.m[f] != 0;
}

/* Feature 0 is over 0 on every row, 1 too where dead features are asked for only; all others are under 0 on every row, so that rows
 * keep fewer than k values and AuxK fewer than it may. */
static void check_reach(step_config c)
{
	float x[N * D];
	step_result result;
	reference r;
	step *s;
	pool *p;

	c.auxk_alpha = 0.25;
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	set_problem(&r, s, false, x);
	for (size_t f = 0; f < F; f++)
		s->b_enc.w[f] = f < 2 ? 20.0f - 10.0f * (float)f : -50.0f;
	s->silent[1] = s->silent[2] = s->c.dead_tokens; /* feature 2 is dead too, and chosen by nobody */
	step_run(s, x, NULL, N, 1.5f, 0, &result);
	ck_assert_uint_eq(result.n_dead, 2);
	ck_assert(result.auxk > 0);
	ck_assert(reaches_encoder(s, 0) && reaches_encoder(s, 1));
	for (size_t f = 2; f < F; f++)
		ck_assert_msg(is_untouched(s, f), "feature %zu is never over 0 and moves", f);
	step_free(s);
	pool_free(p);
}

START_TEST(values_of_zero_get_no_gradient)
{
	step_config c = small_config(ENCODE_TOPK), b = small_config(ENCODE_BATCHTOPK);

	check_reach(c);
	c.multi = true;
	check_reach(c);
	check_reach(b);
	b.prefixes = (step_prefixes){ .n = 3, .ends = { 1, 8, F } };
	check_reach(b);
}
END_TEST

/* Multi-TopK: a feature that is never among the k but always among the 4 k learns, its encoder too. */
START_TEST(multi_topk_reaches_the_encoder)
{
	step_config c = small_config(ENCODE_TOPK);
	float x[N * D];
	step_result result;
	reference r;
	step *s;
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	for (int multi = 0; multi < 2; multi++) {
		c.multi = multi;
		ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
		set_problem(&r, s, false, x);
		for (size_t f = 0; f < F; f++)
			s->b_enc.w[f] = f < K ? 60.0f : f < 4 * K ? 20.0f : -60.0f;
		step_run(s, x, NULL, N, 1.5f, 0, &result);
		ck_assert_double_eq(result.l0, K);
		for (size_t f = 0; f < F; f++)
			ck_assert(f < K || (multi && f < 4 * K) ? reaches_encoder(s, f) : is_untouched(s, f));
		ck_assert_uint_eq(s->silent[0], 0);
		ck_assert_uint_eq(s->silent[K], N); /* the k alone count as firing */
		step_free(s);
	}
	pool_free(p);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	step_config c[2] = { small_config(ENCODE_BATCHTOPK), small_config(ENCODE_TOPK) };

	c[0].prefixes = (step_prefixes){ .n = 3, .ends = { 1, 7, F } };
	c[1].multi = true;
	for (size_t i = 0; i < ARRAY_LEN(c); i++)
		support_step_survives(&c[i]);
}
END_TEST

START_TEST(a_batch_that_is_not_finite_changes_nothing)
{
	step_config c = small_config(ENCODE_BATCHTOPK);
	float x[N * D], before[W];
	step_result result;
	reference r;
	step *s;
	pool *p;

	c.prefixes = (step_prefixes){ .n = 3, .ends = { 1, 7, F } };
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	set_problem(&r, s, false, x);
	memcpy(before, s->W_dec.w, sizeof(before));
	x[D] = INFINITY;
	step_run(s, x, NULL, N, 1, 0.1, &result);
	ck_assert(!isfinite(result.fvu));
	for (size_t i = 0; i < N * D; i++) /* squares of errors over what FP32 holds */
		x[i] = (float)(1e19 * support_uniform(4, i));
	step_run(s, x, NULL, N, 1, 0.1, &result);
	ck_assert(!isfinite(result.fvu));
	ck_assert_mem_eq(before, s->W_dec.w, sizeof(before));
	ck_assert_uint_eq(s->t, 0);
	step_free(s);
	pool_free(p);
}
END_TEST

/* ---- Options ------------------------------------------------------------------------------------------------------------ */

START_TEST(groups_are_shares_or_numbers_of_features)
{
	static const struct {
		sae_train_opts o;
		uint32_t n, ends[5];
	} good[] = {
		{ { .d_sae = 4608 }, 5, { 288, 576, 1152, 2304, 4608 } },
		{ { .d_sae = 20 }, 5, { 1, 3, 5, 10, 20 } },
		{ { .d_sae = 3 }, 3, { 1, 2, 3 } }, /* 1/16 of 3 is no feature */
		{ { .d_sae = 1 }, 1, { 1 } },
		{ { .d_sae = 100, .groups = { 0.1, 0.3, 0.6 }, .n_groups = 3 }, 3, { 10, 40, 100 } },
		{ { .d_sae = 100, .groups = { 10, 30, 60 }, .n_groups = 3 }, 3, { 10, 40, 100 } },
		{ { .d_sae = 3, .groups = { 1, 1, 1 }, .n_groups = 3 }, 3, { 1, 2, 3 } },
		{ { .d_sae = 100, .groups = { 1 }, .n_groups = 1 }, 1, { 100 } },
		{ { .d_sae = 100, .random_prefixes = 3 }, 3, { 0, 0, 100 } },
	};
	static const struct {
		sae_train_opts o;
		const char *message;
	} bad[] = {
		{ { .d_sae = 100, .groups = { 0.5, 0.4 }, .n_groups = 2 },
		  "option 'groups' adds up to 0.9, which is neither 1 nor features = 100" },
		{ { .d_sae = 4, .groups = { 1.5, 2.5 }, .n_groups = 2 },
		  "option 'groups' holds 1.5, which is no whole number of features" },
		{ { .d_sae = 4, .groups = { 5, -1 }, .n_groups = 2 },
		  "option 'groups' holds -1, which is not over 0" },
		{ { .d_sae = 4, .groups = { NAN, 1 }, .n_groups = 2 },
		  "option 'groups' holds nan, which is not over 0" },
		{ { .d_sae = 10, .groups = { 0.01, 0.99 }, .n_groups = 2 },
		  "option 'groups': 0.01 of 10 features is none of them" },
		{ { .d_sae = 100, .n_groups = 33 }, "option 'groups' has 33 groups, over 32" },
		{ { .d_sae = 100, .groups = { 1 }, .n_groups = 1, .random_prefixes = 2 },
		  "options 'groups' and 'random-prefixes' cannot both be given" },
		{ { .d_sae = 4, .random_prefixes = 5 }, "option 'random-prefixes' is 5, not in 1..4" },
	};
	uint32_t ends[SAE_PREFIXES], n;
	error err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ck_assert_msg(sae_train_prefixes(ends, &n, &good[i].o, &err) == 0, "%s", err.msg);
		ck_assert_uint_eq(n, good[i].n);
		ck_assert_mem_eq(ends, good[i].ends, n * sizeof(*ends));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		sae_train_opts o = sae_train_opts_default();

		ck_assert_int_eq(sae_train_prefixes(ends, &n, &bad[i].o, &err), ERR_ARG);
		ck_assert_str_eq(err.msg, bad[i].message);
		o.arch = SAE_MATRYOSHKA;
		o.k = 1;
		o.d_sae = bad[i].o.d_sae;
		o.n_groups = bad[i].o.n_groups;
		o.random_prefixes = bad[i].o.random_prefixes;
		memcpy(o.groups, bad[i].o.groups, sizeof(o.groups));
		ck_assert_int_eq(sae_train_opts_check(&o, 16, 1, &err), ERR_ARG);
		ck_assert_str_eq(err.msg, bad[i].message);
	}
}
END_TEST

START_TEST(a_plan_has_numbers_of_features)
{
	sae_train_opts o = sae_train_opts_default();

	o.d_sae = 512;
	sae_train_plan(&o, 100000);
	ck_assert_uint_eq(o.n_groups, 0); /* not of TopK */
	o.arch = SAE_MATRYOSHKA;
	sae_train_plan(&o, 100000);
	ck_assert_uint_eq(o.n_groups, 5);
	ck_assert(o.groups[0] == 32 && o.groups[1] == 32 && o.groups[4] == 256);
	ck_assert_int_eq(sae_train_opts_check(&o, 16, 1, NULL), 0);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "gradients", matryoshka_gradients_equal_central_differences,
	             multi_topk_gradients_equal_central_differences);
	SUPPORT_CASE(s, "prefixes", one_prefix_is_batchtopk_bit_for_bit, threads_do_not_change_a_bit,
	             random_prefixes_favour_short_ones, longer_prefixes_explain_more);
	SUPPORT_CASE(s, "reach", values_of_zero_get_no_gradient, multi_topk_reaches_the_encoder);
	SUPPORT_CASE(s, "options", groups_are_shares_or_numbers_of_features, a_plan_has_numbers_of_features);
	SUPPORT_CASE(s, "trouble", each_failing_allocation_is_reported,
	             a_batch_that_is_not_finite_changes_nothing);
}
SUPPORT_MAIN("matryoshka", cases)
