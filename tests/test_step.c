/* The training step against a reference in FP64: its loss written out, its gradients by central differences. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>

/* ---- The reference ------------------------------------------------------------------------------------------------- */

enum { D = 6, F = 15, K = 3, N = 11, K_AUX = D / 2, W = F * D, PARAMS = 2 * W + F + D };

/* All parameters in one array: W_enc (F, D), W_dec (F, D), b_enc (F), b_dec (D). */
typedef struct reference {
	double p[PARAMS], m[PARAMS], v[PARAMS], grad[PARAMS];
	double x[N * D]; /* scaled */
	encode_rule rule;
	bool dead[F];
	unsigned silent[F];
	double alpha;
	double e[N * D], u; /* the auxiliary loss's constants */
	bool fired[F];
	double least; /* of the batch */
} reference;

/* Features that beat f, among all or those of its group. */
static size_t rank_of(const double *pre, size_t f, bool of_group)
{
	size_t first = of_group ? f / (F / K) * (F / K) : 0, end = of_group ? first + F / K : F, rank = 0;

	for (size_t g = first; g < end; g++)
		rank += pre[g] > pre[f] || (pre[g] == pre[f] && g < f);
	return rank;
}

static void pre_activations(const reference *r, const double *x, double *pre)
{
	const double *enc = r->p, *b_enc = r->p + 2 * W, *b_dec = b_enc + F;

	for (size_t f = 0; f < F; f++) {
		pre[f] = b_enc[f];
		for (size_t i = 0; i < D; i++)
			pre[f] += (x[i] - b_dec[i]) * enc[f * D + i];
	}
}

/* The least of the K N largest values of the batch. */
static double batch_least(const reference *r)
{
	double pre[N * F];

	for (size_t t = 0; t < N; t++)
		pre_activations(r, r->x + t * D, pre + t * F);
	for (size_t i = 0; i < N * F; i++) {
		size_t rank = 0;

		for (size_t j = 0; j < N * F; j++)
			rank += pre[j] > pre[i];
		if (rank == K * N - 1)
			return pre[i];
	}
	ck_abort_msg("equal values");
}

/* xhat - bias of one row: what the rule keeps, or the `k` largest positive values among the dead features. */
static void decode_row(const reference *r, const double *x, bool dead_only, size_t k, double *out,
                       bool *fired)
{
	const double *dec = r->p + W;
	bool groups = r->rule == ENCODE_GROUPMAX && !dead_only,
	     batch = r->rule == ENCODE_BATCHTOPK && !dead_only;
	double pre[F];

	pre_activations(r, x, pre);
	for (size_t f = 0; f < F; f++)
		if (dead_only && !r->dead[f])
			pre[f] = -1;
	memset(out, 0, D * sizeof(*out));
	for (size_t f = 0; f < F; f++) {
		bool kept = batch ? pre[f] >= r->least : rank_of(pre, f, groups) < (groups ? 1 : k);

		if (!kept || pre[f] <= 0)
			continue;
		if (fired)
			fired[f] = true;
		for (size_t i = 0; i < D; i++)
			out[i] += pre[f] * dec[f * D + i];
	}
}

static double loss(reference *r, bool set_constants, double *fvu, double *auxk)
{
	const double *b_dec = r->p + 2 * W + F;
	double squares = 0, aux = 0, e[N * D], hat[D];
	bool any_dead = false;

	for (size_t f = 0; f < F; f++)
		any_dead |= r->dead[f];
	if (r->rule == ENCODE_BATCHTOPK)
		r->least = batch_least(r);
	for (size_t t = 0; t < N; t++) {
		decode_row(r, r->x + t * D, false, K, hat, set_constants ? r->fired : NULL);
		for (size_t i = 0; i < D; i++) {
			e[t * D + i] = r->x[t * D + i] - hat[i] - b_dec[i];
			squares += e[t * D + i] * e[t * D + i];
		}
	}
	if (set_constants) {
		memcpy(r->e, e, sizeof(e));
		r->u = support_scatter(e, N, D);
	}
	for (size_t t = 0; t < N && any_dead; t++) {
		decode_row(r, r->x + t * D, true, K_AUX, hat, NULL);
		for (size_t i = 0; i < D; i++)
			aux += (r->e[t * D + i] - hat[i]) * (r->e[t * D + i] - hat[i]);
	}
	*fvu = squares / support_scatter(r->x, N, D);
	*auxk = any_dead && r->alpha > 0 ? aux / r->u : 0;
	return *fvu + r->alpha * *auxk;
}

static double loss_at(void *payload)
{
	double fvu, auxk;

	return loss(payload, false, &fvu, &auxk);
}

/* Central differences of the loss, over the batch's FVU; decoder rows then lose the part along themselves. */
static void gradients(reference *r, double *fvu, double *auxk)
{
	memset(r->fired, 0, sizeof(r->fired));
	loss(r, true, fvu, auxk);
	support_differences(r->grad, r->p, PARAMS, loss_at, r);
	for (size_t i = 0; i < PARAMS; i++)
		r->grad[i] /= *fvu;
	support_project(r->grad + W, r->p + W, F, D);
}

static void reference_step(reference *r, const step_config *c, unsigned t, double lr)
{
	support_adam(r->p, r->m, r->v, r->grad, PARAMS, c, t, lr);
	for (size_t f = 0; f < F; f++) {
		double *w = r->p + W + f * D, norm = 0;

		for (size_t i = 0; i < D; i++)
			norm += w[i] * w[i];
		for (size_t i = 0; i < D; i++)
			w[i] /= sqrt(norm);
		r->silent[f] = r->fired[f] ? 0 : r->silent[f] + N;
		r->dead[f] = r->silent[f] >= c->dead_tokens;
	}
}

/* ---- Both on the same problem -------------------------------------------------------------------------------------- */

static step_config small_config(const char *set, double alpha)
{
	step_config c = support_small_step(D, F, K, N);

	c.auxk_alpha = alpha;
	c.k_set = kernels_get(set);
	return c;
}

static void random_problem(reference *r, step *s, double alpha)
{
	*r = (reference){ .alpha = alpha, .rule = s->c.rule };
	step_init_weights(s, 5);
	for (size_t i = 0; i < W; i++) {
		r->p[i] = s->W_enc.w[i] = (float)support_uniform(1, i);
		r->p[W + i] = s->W_dec.w[i];
	}
	for (size_t f = 0; f < F; f++) /* low enough that some rows keep fewer than k values */
		r->p[2 * W + f] = s->b_enc.w[f] = (float)(support_uniform(2, f) - (f % 2 ? 1.2 : 0.3));
	for (size_t i = 0; i < D; i++)
		r->p[2 * W + F + i] = s->b_dec.w[i] = (float)(0.3 * support_uniform(3, i));
}

/* With lr 0 the first moments after one step are (1 - beta1) times the gradients. */
static void check_gradients(const char *set, encode_rule rule, double alpha, const uint32_t *dead,
                            size_t n_dead)
{
	step_config c = small_config(set, alpha);
	double fvu, auxk, norm = 0;
	float x[N * D];
	step_result result;
	reference r;
	step *s;
	pool *p;

	if (!c.k_set)
		return;
	c.rule = rule;
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	random_problem(&r, s, alpha);
	for (size_t i = 0; i < n_dead; i++) {
		r.dead[dead[i]] = true;
		s->silent[dead[i]] = c.dead_tokens;
	}
	support_fill_scaled(x, r.x, N * D, 1.5f, 4);
	gradients(&r, &fvu, &auxk);
	step_run(s, x, NULL, N, 1.5f, 0, &result);
	for (size_t i = 0; i < PARAMS; i++)
		norm += r.grad[i] * r.grad[i];
	ck_assert_double_le(fabs(result.fvu - fvu), 1e-6);
	ck_assert_double_le(fabs(result.auxk - auxk), 1e-6);
	ck_assert_uint_eq(result.n_dead, n_dead);
	ck_assert((auxk > 0) == (n_dead > 0 && alpha > 0));
	support_compare("W_enc", s->W_enc.m, r.grad, W, 10, 2e-6);
	support_compare("W_dec", s->W_dec.m, r.grad + W, W, 10, 2e-6);
	support_compare("b_enc", s->b_enc.m, r.grad + 2 * W, F, 10, 2e-6);
	support_compare("b_dec", s->b_dec.m, r.grad + 2 * W + F, D, 10, 2e-6);
	ck_assert_double_le(fabs(result.grad_norm - sqrt(norm)), 1e-5);
	step_free(s);
	pool_free(p);
}

static void check_gradients_of(const char *set, encode_rule rule)
{
	const uint32_t few[] = { 2, 7 }, many[] = { 0, 3, 4, 8, 9, 12, 13 };

	check_gradients(set, rule, 0, NULL, 0);
	check_gradients(set, rule, 0.25, NULL, 0);
	check_gradients(set, rule, 0, few, 2);
	check_gradients(set, rule, 0.25, few, 2);
	check_gradients(set, rule, 0.25, many, 7);
}

START_TEST(gradients_equal_central_differences)
{
	for (size_t i = 0; kernels_names[i]; i++) {
		check_gradients_of(kernels_names[i], ENCODE_TOPK);
		check_gradients_of(kernels_names[i], ENCODE_GROUPMAX);
		check_gradients_of(kernels_names[i], ENCODE_BATCHTOPK);
	}
}
END_TEST

static void check_steps(encode_rule rule)
{
	step_config c = small_config(NULL, 0.25);
	double fvu, auxk;
	unsigned aux_steps = 0;
	float x[N * D];
	step_result result;
	reference r;
	step *s;
	pool *p;

	c.rule = rule;
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	random_problem(&r, s, 0.25);
	for (unsigned t = 1; t <= 8; t++) {
		double lr = 0.01 / t;

		support_fill_scaled(x, r.x, N * D, 0.8f, 100 + t);
		gradients(&r, &fvu, &auxk);
		reference_step(&r, &c, t, lr);
		step_run(s, x, NULL, N, 0.8f, lr, &result);
		ck_assert_double_le(fabs(result.fvu - fvu), 1e-5);
		ck_assert_double_le(fabs(result.auxk - auxk), 1e-5);
		aux_steps += auxk > 0;
	}
	ck_assert_uint_gt(aux_steps, 0); /* the problem does hold dead features */
	support_compare("W_enc", s->W_enc.w, r.p, W, 1, 1e-5);
	support_compare("W_dec", s->W_dec.w, r.p + W, W, 1, 1e-5);
	support_compare("b_enc", s->b_enc.w, r.p + 2 * W, F, 1, 1e-5);
	support_compare("b_dec", s->b_dec.w, r.p + 2 * W + F, D, 1, 1e-5);
	step_free(s);
	pool_free(p);
}

START_TEST(steps_follow_the_reference)
{
	check_steps(ENCODE_TOPK);
	check_steps(ENCODE_BATCHTOPK);
	check_steps(ENCODE_GROUPMAX);
}
END_TEST

/* ---- Larger problems ------------------------------------------------------------------------------------------------ */

static step_config large_config(void)
{
	step_config c = support_large_step(24, 300, 4, 2 * STEP_TOKENS + 77);

	c.dead_tokens = c.batch;
	return c;
}

static step *run_large(const step_config *c, pool *p)
{
	return support_run_steps(c, p, 4);
}

START_TEST(threads_do_not_change_a_bit)
{
	const step_config c = large_config();

	support_same_at_any_threads(&c, run_large);
}
END_TEST

/* A problem of 20 steps with dead features, screened or not. */
static step *run_screened(const char *set, encode_rule rule, sae_screening how, pool *p)
{
	step_config c = support_large_step(70, 520, 8, 300);
	step *s;

	c.rule = rule;
	c.screening = how;
	c.k_set = kernels_get(set);
	s = support_run_steps(&c, p, 20);
	ck_assert((s->aid.screen != NULL) == (how != SAE_SCREENING_OFF && c.k_set != &kernels_scalar));
	return s;
}

START_TEST(screening_does_not_change_a_bit)
{
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (size_t i = 0; kernels_names[i]; i++) {
		for (int rule = ENCODE_TOPK; kernels_get(kernels_names[i]) && rule <= ENCODE_BATCHTOPK;
		     rule++) {
			step *on = run_screened(kernels_names[i], rule, SAE_SCREENING_EXACT, p);
			step *off = run_screened(kernels_names[i], rule, SAE_SCREENING_OFF, p);

			support_same_steps(on, off);
			step_free(on);
			step_free(off);
		}
	}
	pool_free(p);
}
END_TEST

/* BatchTopK with a floor too high, none, and no room for the candidates at first. */
START_TEST(where_the_batch_is_searched_does_not_matter)
{
	enum { DIMS = 70, FEATURES = 520, BATCH = 600 };
	step_config c = support_large_step(DIMS, FEATURES, 8, BATCH);
	const float floors[] = { 0, 1e9f, 0.3f, 0 };
	float *x = mem_alloc_aligned(BATCH, DIMS * sizeof(float));
	step *s[4];
	pool *p;

	c.rule = ENCODE_BATCHTOPK;
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(floors); i++) {
		step_result r;

		ck_assert_int_eq(step_new(&s[i], &c, p, NULL), 0);
		step_init_weights(s[i], 7);
		s[i]->floor = floors[i];
		for (size_t tile = 0; i == 3 && tile < s[i]->max_tiles; tile++)
			s[i]->found[tile].room = 1000;
		support_fill(x, BATCH * DIMS, 20);
		step_run(s[i], x, NULL, BATCH, 2, 1e-3, &r);
		ck_assert_double_eq(r.l0, c.k);
		ck_assert_double_gt(s[i]->threshold, 0);
		ck_assert_mem_eq(s[i]->W_enc.w, s[0]->W_enc.w, FEATURES * DIMS * sizeof(float));
		ck_assert_mem_eq(s[i]->codes.value, s[0]->codes.value, BATCH * 8 * sizeof(float));
	}
	for (size_t i = 0; i < ARRAY_LEN(floors); i++)
		step_free(s[i]);
	pool_free(p);
	free(x);
}
END_TEST

START_TEST(no_step_allocates)
{
	const step_config c = large_config();
	float *x = mem_alloc_aligned(c.batch, c.d * sizeof(float));
	step_result r;
	step *s;
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	step_init_weights(s, 7);
	fault_arm(FAULT_ALLOC, 0);
	for (unsigned t = 0; t < 3; t++) {
		support_fill(x, (size_t)c.batch * c.d, t);
		step_run(s, x, NULL, c.batch, 1, 1e-3, &r);
	}
	ck_assert(!fault_disarm(FAULT_ALLOC));
	step_free(s);
	pool_free(p);
	free(x);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	step_config c = small_config(NULL, 0.25);

	support_step_survives(&c);
}
END_TEST

START_TEST(a_batch_that_is_not_finite_changes_nothing)
{
	step_config c = small_config(NULL, 0.25);
	float x[N * D], before[W];
	step_result result;
	reference r;
	step *s;
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	random_problem(&r, s, 0.25);
	support_fill_scaled(x, r.x, N * D, 1, 4);
	x[D] = INFINITY;
	memcpy(before, s->W_dec.w, sizeof(before));
	step_run(s, x, NULL, N, 1, 0.1, &result);
	ck_assert(!isfinite(result.fvu));
	ck_assert_mem_eq(before, s->W_dec.w, sizeof(before));
	ck_assert_uint_eq(s->t, 0);
	for (size_t i = 0; i < N * D; i++) /* rows all equal to b_dec: no variance, no error */
		x[i] = s->b_dec.w[i % D];
	step_run(s, x, NULL, N, 1, 0, &result);
	ck_assert(isfinite(result.grad_norm));
	step_free(s);
	pool_free(p);
}
END_TEST

/* Features that start far too weak to be chosen come alive by the auxiliary loss, and only by it. */
static uint64_t dead_at_end(double alpha)
{
	enum { DIM = 16, FEATURES = 48, WEAK = 24, BATCH = 256, STEPS = 300 };
	step_config c = support_large_step(DIM, FEATURES, 2, BATCH);
	static float x[BATCH * DIM];
	step_result r;
	step *s;
	pool *p;

	c.auxk_alpha = alpha;
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
	step_init_weights(s, 3);
	for (size_t i = 0; i < WEAK * DIM; i++)
		s->W_enc.w[i] *= 1e-3f;
	for (unsigned t = 0; t < STEPS; t++) {
		support_fill(x, BATCH * DIM, t);
		step_run(s, x, NULL, BATCH, 1, 2e-3, &r);
	}
	step_free(s);
	pool_free(p);
	return r.n_dead;
}

START_TEST(dead_features_revive)
{
	uint64_t without = dead_at_end(0), with = dead_at_end(1.0 / 32);

	ck_assert_msg(without >= 20, "%u dead without the auxiliary loss", (unsigned)without);
	ck_assert_msg(with <= 4, "%u dead with it", (unsigned)with);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "gradients", gradients_equal_central_differences, steps_follow_the_reference);
	SUPPORT_CASE(s, "step", threads_do_not_change_a_bit, screening_does_not_change_a_bit,
	             where_the_batch_is_searched_does_not_matter, no_step_allocates,
	             each_failing_allocation_is_reported, a_batch_that_is_not_finite_changes_nothing,
	             dead_features_revive);
}
SUPPORT_MAIN("step", cases)
