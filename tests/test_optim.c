/* Optimisers against references in FP64, written from the papers and tools' sources and not from the code. */
#include "tests/support.h"

#include <math.h>

#include "sae/optim.h"

enum { ROWS = 70, COLUMNS = 9, VECTOR = 70, STEPS = 12, N = ROWS * COLUMNS };

/* Two parameters: a matrix with unit rows and a vector; a loss of each element's distance from a target. */
typedef struct toy {
	float w[N], g[N], b[VECTOR], gb[VECTOR];
	optim_param params[2];
} toy;

static double noise(uint64_t stream, size_t i)
{
	return 2 * hash64_unit(hash64_mix(stream, i)) - 1;
}

/* Unit rows begin with other norms, as dictionary_learning's decoder does. */
static void toy_init(toy *t, bool unit_rows)
{
	*t = (toy){ .params = { { .name = "W",
		                  .rows = ROWS,
		                  .columns = COLUMNS,
		                  .matrix = true,
		                  .unit_rows = unit_rows },
		                { .name = "b", .rows = VECTOR, .columns = 1, .lr_factor = 0.1 } } };
	for (size_t i = 0; i < N; i++)
		t->w[i] = (float)noise(1, i);
	for (size_t r = 0; r < ROWS && unit_rows; r++) {
		double squares = 0, norm = r % 2 ? 1 : 0.4;

		for (size_t j = 0; j < COLUMNS; j++)
			squares += (double)t->w[r * COLUMNS + j] * t->w[r * COLUMNS + j];
		for (size_t j = 0; j < COLUMNS; j++)
			t->w[r * COLUMNS + j] = (float)(t->w[r * COLUMNS + j] * norm / sqrt(squares));
	}
	for (size_t i = 0; i < VECTOR; i++)
		t->b[i] = (float)noise(2, i);
	t->params[0].w = t->w;
	t->params[0].grad = t->g;
	t->params[1].w = t->b;
	t->params[1].grad = t->gb;
}

/* The gradient of step s: noise and a pull, some of it exactly 0. */
static double gradient(unsigned s, size_t i, double w)
{
	return i % 17 == 0 ? 0 : 0.3 * noise(100 + s, i) + w - noise(3, i);
}

static void toy_gradients(toy *t, unsigned s)
{
	for (size_t i = 0; i < N; i++)
		t->g[i] = (float)gradient(s, i, (double)t->w[i]);
	for (size_t i = 0; i < VECTOR; i++)
		t->gb[i] = (float)gradient(s, N + i, (double)t->b[i]);
}

/* ---- The reference ---------------------------------------------------------------------------------------------------- */

typedef struct reference {
	double w[N + VECTOR], g[N + VECTOR], m[N + VECTOR], v[N + VECTOR], z[N + VECTOR], mean[N + VECTOR];
	double lr_max, weight_sum;
	unsigned t;
} reference;

static double dot(const double *a, const double *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

/* Newton-Schulz of a (rows, columns) matrix with rows over columns, as a loop over its transpose's powers. */
static void newton_schulz(double *x)
{
	double norm = sqrt(dot(x, x, N)) + 1e-7;
	static double next[N];

	for (size_t i = 0; i < N; i++)
		x[i] /= norm;
	for (int step = 0; step < 5; step++) {
		double a[COLUMNS][COLUMNS] = { { 0 } }, b[COLUMNS][COLUMNS] = { { 0 } };

		for (size_t i = 0; i < COLUMNS; i++)
			for (size_t j = 0; j < COLUMNS; j++)
				for (size_t r = 0; r < ROWS; r++)
					a[i][j] += x[r * COLUMNS + i] * x[r * COLUMNS + j];
		for (size_t i = 0; i < COLUMNS; i++)
			for (size_t j = 0; j < COLUMNS; j++) {
				for (size_t l = 0; l < COLUMNS; l++)
					b[i][j] += 2.0315 * a[i][l] * a[l][j];
				b[i][j] += -4.7750 * a[i][j];
			}
		for (size_t r = 0; r < ROWS; r++)
			for (size_t j = 0; j < COLUMNS; j++) {
				double sum = 3.4445 * x[r * COLUMNS + j];

				for (size_t l = 0; l < COLUMNS; l++)
					sum += b[j][l] * x[r * COLUMNS + l];
				next[r * COLUMNS + j] = sum;
			}
		memcpy(x, next, sizeof(next));
	}
}

static void adam_element(reference *r, const optim_config *c, size_t i, double lr)
{
	double t = r->t;

	if (c->kind == SAE_ADAMW)
		r->w[i] *= 1 - lr * c->weight_decay;
	r->m[i] = c->beta1 * r->m[i] + (1 - c->beta1) * r->g[i];
	r->v[i] = c->beta2 * r->v[i] + (1 - c->beta2) * r->g[i] * r->g[i];
	r->w[i] -=
	        lr * (r->m[i] / (1 - pow(c->beta1, t))) / (sqrt(r->v[i] / (1 - pow(c->beta2, t))) + c->eps);
}

/* ScheduleFreeWrapper(SignSGD): y kept, x and z from it. */
static void signum_element(reference *r, const optim_config *c, size_t i, double lr, double share)
{
	double beta = c->momentum, x;

	if (r->t == 1)
		r->z[i] = r->w[i];
	x = (r->w[i] - (1 - beta) * r->z[i]) / beta;
	r->z[i] -= lr * ((r->g[i] > 0) - (r->g[i] < 0));
	x = (1 - share) * x + share * r->z[i];
	r->w[i] = beta * x + (1 - beta) * r->z[i];
}

static void muon_matrix(reference *r, const optim_config *c, double lr)
{
	static double update[N];

	for (size_t i = 0; i < N; i++) {
		r->w[i] *= 1 - lr * c->weight_decay;
		r->m[i] = c->momentum * r->m[i] + (1 - c->momentum) * r->g[i];
		update[i] = (1 - c->momentum) * r->g[i] + c->momentum * r->m[i];
	}
	newton_schulz(update);
	for (size_t i = 0; i < N; i++)
		r->w[i] -= lr * 0.2 * sqrt(ROWS) * update[i];
}

static void unit_rows(reference *r, bool of_gradient)
{
	for (size_t i = 0; i < N; i += COLUMNS) {
		double along = dot(r->g + i, r->w + i, COLUMNS),
		       norm = sqrt(dot(r->w + i, r->w + i, COLUMNS));

		for (size_t j = i; j < i + COLUMNS; j++) {
			if (of_gradient)
				r->g[j] -= along / (norm * norm) * r->w[j];
			else
				r->w[j] /= norm;
		}
	}
}

static double reference_step(reference *r, const optim_config *c, bool unit, double lr)
{
	double norm, share;

	for (size_t i = 0; i < N + VECTOR; i++)
		r->g[i] = gradient(r->t, i, r->w[i]);
	if (unit)
		unit_rows(r, true);
	norm = sqrt(dot(r->g, r->g, N + VECTOR));
	for (size_t i = 0; i < N + VECTOR && c->clip > 0 && norm > c->clip; i++)
		r->g[i] *= c->clip / (norm + 1e-6);
	if (r->t == 0)
		memcpy(r->mean, r->w, sizeof(r->w));
	r->t++;
	r->lr_max = fmax(r->lr_max, lr);
	r->weight_sum += r->lr_max * r->lr_max;
	share = r->lr_max * r->lr_max / r->weight_sum;
	if (c->kind == SAE_MUON)
		muon_matrix(r, c, lr);
	for (size_t i = c->kind == SAE_MUON ? N : 0; i < N + VECTOR; i++) {
		double step = i < N ? lr : 0.1 * lr;

		if (c->kind == SAE_SIGNUM)
			signum_element(r, c, i, step, share);
		else
			adam_element(r, c, i, step);
	}
	if (unit && c->kind != SAE_SIGNUM)
		unit_rows(r, false);
	for (size_t i = 0; i < N + VECTOR; i++)
		r->mean[i] = c->kind == SAE_SIGNUM ? (r->w[i] - (1 - c->momentum) * r->z[i]) / c->momentum
		                                   : c->average * r->mean[i] + (1 - c->average) * r->w[i];
	if (unit && c->kind == SAE_SIGNUM) /* the mean is the one before y's rows are cut */
		unit_rows(r, false);
	return norm;
}

/* ---- Against it --------------------------------------------------------------------------------------------------------- */

static optim_config config(sae_optimizer kind)
{
	sae_train_opts o = sae_train_opts_default();

	o.optimizer = kind;
	o.steps = 1;
	sae_train_plan(&o, 1);
	return optim_config_of(&o);
}

static void check_near(const float *got, const double *want, size_t n, double within)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(fabs((double)got[i] - want[i]) <= within, "%zu: %.9g, not %.9g", i,
		              (double)got[i], want[i]);
}

static void follow(const optim_config *c, bool unit)
{
	static reference r;
	static toy t;
	float mean[N + VECTOR];
	optim *o = NULL;
	pool *p = NULL;

	r = (reference){ 0 };
	toy_init(&t, unit);
	for (size_t i = 0; i < N + VECTOR; i++)
		r.w[i] = (double)(i < N ? t.w[i] : t.b[i - N]);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(optim_new(&o, c, t.params, 2, p, NULL), 0);
	for (unsigned s = 0; s < STEPS; s++) {
		double lr = 1e-2 * (s < 4 ? s + 1 : 12 - s) / 4, want;

		toy_gradients(&t, s);
		want = reference_step(&r, c, unit, lr);
		ck_assert_double_le(fabs(optim_step(o, lr) - want), 1e-4 * want);
	}
	check_near(t.w, r.w, N, 2e-5);
	check_near(t.b, r.w + N, VECTOR, 2e-5);
	optim_weights(o, 0, mean);
	optim_weights(o, 1, mean + N);
	check_near(mean, c->kind == SAE_SIGNUM || c->average > 0 ? r.mean : r.w, N + VECTOR, 4e-5);
	optim_free(o);
	pool_free(p);
}

START_TEST(each_follows_its_reference)
{
	for (int kind = SAE_ADAM; kind <= SAE_MUON; kind++)
		for (int unit = 0; unit < 2; unit++) {
			optim_config c = config((sae_optimizer)kind);

			follow(&c, unit);
			c.clip = 1;
			if (kind != SAE_SIGNUM)
				c.average = 0.9;
			follow(&c, unit);
		}
}
END_TEST

/* The sum of squared singular values is that of s ones, about; columns that were nearly parallel are apart. */
START_TEST(newton_and_schulz_make_a_matrix_nearly_orthogonal)
{
	static const size_t shapes[][2] = { { 70, 9 }, { 9, 70 }, { 130, 130 }, { 1, 5 }, { 5, 1 } };
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		size_t rows = shapes[i][0], columns = shapes[i][1], s = rows < columns ? rows : columns;
		float *x = mem_alloc_aligned(rows * columns, sizeof(float));
		float *other = mem_alloc_aligned(rows * columns, sizeof(float));
		float *gram = mem_alloc_aligned(3 * s * s, sizeof(float)), *y;
		double squares = 0;

		for (size_t j = 0; j < rows * columns; j++)
			x[j] = (float)(noise(7, j) + 0.5);
		y = optim_orthogonalise(x, other, gram, rows, columns, p);
		for (size_t j = 0; j < rows * columns; j++)
			squares += (double)y[j] * (double)y[j];
		ck_assert_double_gt(squares, 0.4 * (double)s);
		ck_assert_double_lt(squares, 1.5 * (double)s);
		free(x);
		free(other);
		free(gram);
	}
	pool_free(p);
}
END_TEST

static void run_some(toy *t, const optim_config *c, unsigned threads)
{
	optim *o = NULL;
	pool *p = NULL;

	toy_init(t, true);
	ck_assert_int_eq(pool_new(&p, threads, NULL), 0);
	ck_assert_int_eq(optim_new(&o, c, t->params, 2, p, NULL), 0);
	for (unsigned s = 0; s < 3; s++) {
		toy_gradients(t, s);
		optim_step(o, 1e-2);
	}
	optim_free(o);
	pool_free(p);
}

START_TEST(threads_do_not_change_a_bit)
{
	static toy a, b;

	for (int kind = SAE_ADAM; kind <= SAE_MUON; kind++) {
		optim_config c = config((sae_optimizer)kind);

		c.clip = 1;
		run_some(&a, &c, 1);
		run_some(&b, &c, 3);
		ck_assert_mem_eq(a.w, b.w, sizeof(a.w));
		ck_assert_mem_eq(a.b, b.b, sizeof(a.b));
	}
}
END_TEST

/* What a checkpoint holds is enough to go on. */
START_TEST(its_state_is_all_of_it)
{
	static toy a, b;

	for (int kind = SAE_ADAM; kind <= SAE_MUON; kind++) {
		optim_config c = config((sae_optimizer)kind);
		optim *from = NULL, *to = NULL;
		fitter_arrays x = { .n = 0 }, y = { .n = 0 };
		pool *p = NULL;

		c.average = kind == SAE_SIGNUM ? 0 : 0.9;
		toy_init(&a, true);
		toy_init(&b, true);
		ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
		ck_assert_int_eq(optim_new(&from, &c, a.params, 2, p, NULL), 0);
		ck_assert_int_eq(optim_new(&to, &c, b.params, 2, p, NULL), 0);
		for (unsigned s = 0; s < 5; s++) {
			toy_gradients(&a, s);
			optim_step(from, 1e-2);
		}
		optim_state(from, &x);
		optim_state(to, &y);
		ck_assert_uint_eq(x.n, y.n);
		for (size_t i = 0; i < x.n; i++) {
			ck_assert_str_eq(x.items[i].a.name, y.items[i].a.name);
			memcpy(y.items[i].a.data, x.items[i].a.data,
			       x.items[i].a.n * sae_dtype_size(x.items[i].a.dtype));
		}
		toy_gradients(&a, 5);
		toy_gradients(&b, 5);
		optim_step(from, 1e-2);
		optim_step(to, 1e-2);
		ck_assert_mem_eq(a.w, b.w, sizeof(a.w));
		ck_assert_mem_eq(a.b, b.b, sizeof(a.b));
		optim_weights(from, 0, a.g);
		optim_weights(to, 0, b.g);
		ck_assert_mem_eq(a.g, b.g, sizeof(a.g));
		optim_free(from);
		optim_free(to);
		pool_free(p);
	}
}
END_TEST

START_TEST(a_gradient_that_is_not_finite_moves_nothing)
{
	static toy t, before;
	optim_config c = config(SAE_ADAM);
	optim *o = NULL;
	pool *p = NULL;

	toy_init(&t, false);
	before = t;
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(optim_new(&o, &c, t.params, 2, p, NULL), 0);
	toy_gradients(&t, 0);
	t.gb[3] = INFINITY;
	ck_assert(!isfinite(optim_step(o, 1e-2)));
	ck_assert_mem_eq(t.w, before.w, sizeof(t.w));
	ck_assert_mem_eq(t.b, before.b, sizeof(t.b));
	optim_free(o);
	pool_free(p);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	static toy t;
	pool *p;

	toy_init(&t, false);
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	for (int kind = SAE_ADAM; kind <= SAE_MUON; kind++) {
		const optim_config c = config((sae_optimizer)kind);

		for (long n = 0;; n++) {
			optim *o = NULL;
			int rc;

			fault_arm(FAULT_ALLOC, n);
			rc = optim_new(&o, &c, t.params, 2, p, NULL);
			if (!fault_disarm(FAULT_ALLOC)) {
				ck_assert_int_eq(rc, 0);
				optim_free(o);
				break;
			}
			ck_assert_int_eq(rc, ERR_NOMEM);
			ck_assert_ptr_null(o);
		}
	}
	pool_free(p);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "optim", each_follows_its_reference,
	             newton_and_schulz_make_a_matrix_nearly_orthogonal, threads_do_not_change_a_bit,
	             its_state_is_all_of_it, a_gradient_that_is_not_finite_moves_nothing,
	             each_failing_allocation_is_reported);
}
SUPPORT_MAIN("optim", cases)
