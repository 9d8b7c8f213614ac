/* Labelled examples against sums made here, the split by groups, and probes' scores against definitions. */
#include "sae/probe_score.h"
#include "tests/support.h"
#include "tests/support_dump.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXTS = 60, LENGTH = 4, D = 6, F = 8, ROWS = CONTEXTS * LENGTH };

static float value(uint64_t row, uint32_t j)
{
	return (float)(hash64_mix(11, row * D + j) % 64) / 16 - 2 +
	       (row / LENGTH % 3 == 0 && j == 2 ? 3.0f : 0);
}

static uint32_t token(uint64_t row)
{
	return (uint32_t)(hash64_mix(12, row) % 30000);
}

static sae_model *make_model(void)
{
	sae_model *m = NULL;
	error e = { 0 };

	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, D, F, 2, &e), 0);
	m->norm_limit = INFINITY;
	for (uint32_t f = 0; f < F; f++)
		m->W_enc[f * D + f % D] = m->W_dec[f * D + f % D] = f < D ? 1 : -1;
	return m;
}

typedef struct bench {
	sae_dump *dump;
	sae_rows *rows;
	sae_model *model;
	pool *pool;
	uint32_t labels[ROWS];
	sae_examples_opts o;
	sae_examples e;
} bench;

static void setup_bench(bench *b)
{
	const made_dump made = { .contexts = CONTEXTS,
		                 .ctx_len = LENGTH,
		                 .d = D,
		                 .shards = 1,
		                 .dtype = SAE_F32,
		                 .three_dims = true,
		                 .tokens = true,
		                 .value = value,
		                 .token = token };
	const sae_dump_opts dump_opts = { 0 };
	const uint32_t first[] = { 0 };
	const sae_rows_opts rows_opts = { .exclude_positions = first, .n_exclude_positions = 1 };
	error e = { 0 };

	*b = (bench){ .model = make_model() };
	ck_assert_int_eq(file_mkdir(in_folder("probe"), &e), 0);
	made_dump_write(in_folder("probe"), &made);
	b->dump = made_dump_open(in_folder("probe"), &dump_opts);
	ck_assert_int_eq(pool_new(&b->pool, 2, &e), 0);
	ck_assert_int_eq(sae_rows_scan(&b->rows, b->dump, &rows_opts, false, b->pool, NULL, &e), 0);
	for (uint32_t i = 0; i < ROWS; i++)
		b->labels[i] = i % 3 == 0;
	b->o = (sae_examples_opts){ .unit = SAE_UNIT_CONTEXT,
		                    .labels = b->labels,
		                    .n_labels = CONTEXTS,
		                    .n_classes = 2,
		                    .test = 0.25 };
}

static void teardown_bench(bench *b)
{
	sae_examples_clear(&b->e);
	sae_model_free(b->model);
	sae_rows_free(b->rows);
	sae_dump_close(b->dump);
	pool_free(b->pool);
	leave_folder();
}

static int read_examples(bench *b, error *e)
{
	return sae_examples_read(&b->e, b->model, b->dump, b->rows, &b->o, b->pool, NULL, e);
}

/* Codes of a row as the model defines them: the two largest pre-activations over 0. */
static void codes_of(double out[F], uint64_t row)
{
	double pre[F];

	for (uint32_t f = 0; f < F; f++) {
		pre[f] = (f < D ? 1 : -1) * (double)value(row, f % D);
		out[f] = 0;
	}
	for (int k = 0; k < 2; k++) {
		uint32_t best = 0;

		for (uint32_t f = 1; f < F; f++)
			best = pre[f] > pre[best] ? f : best;
		out[best] = pre[best] > 0 ? pre[best] : 0;
		pre[best] = -1;
	}
}

START_TEST(pools_the_rows_that_count)
{
	bench b;
	error e = { 0 };

	setup_bench(&b);
	b.o.pool_max = _i;
	ck_assert_msg(!read_examples(&b, &e), "%s", e.msg);
	ck_assert_uint_eq(b.e.n, CONTEXTS);
	for (uint32_t i = 0; i < CONTEXTS; i++) {
		double x[D], f[F] = { 0 }, codes[F], got[F] = { 0 };

		for (uint32_t j = 0; j < D; j++)
			x[j] = _i ? -INFINITY : 0;
		for (uint64_t row = i * LENGTH + 1; row < (i + 1) * LENGTH;
		     row++) { /* position 0 is left out */
			codes_of(codes, row);
			for (uint32_t j = 0; j < D; j++)
				x[j] = _i ? fmax(x[j], (double)value(row, j))
				          : x[j] + (double)value(row, j) / (LENGTH - 1);
			for (uint32_t j = 0; j < F; j++)
				f[j] = _i ? fmax(f[j], codes[j]) : f[j] + codes[j] / (LENGTH - 1);
		}
		for (size_t at = b.e.codes.first[i]; at < b.e.codes.first[i + 1]; at++)
			got[b.e.codes.index[at]] = (double)b.e.codes.value[at];
		for (uint32_t j = 0; j < D; j++)
			ck_assert_double_eq_tol((double)b.e.x[i * D + j], x[j], 1e-5);
		for (uint32_t j = 0; j < F; j++)
			ck_assert_double_eq_tol(got[j], f[j], 1e-5);
		ck_assert_uint_eq(b.e.unit[i], i);
		ck_assert_uint_eq(b.e.label[i], b.labels[i]);
	}
	teardown_bench(&b);
}
END_TEST

START_TEST(rows_are_examples_too)
{
	bench b;
	error e = { 0 };

	setup_bench(&b);
	b.o.unit = SAE_UNIT_ROW;
	b.o.n_labels = ROWS;
	b.labels[5] = SAE_NO_CLASS;
	b.o.limit = 100;
	ck_assert_msg(!read_examples(&b, &e), "%s", e.msg);
	ck_assert_uint_eq(b.e.n, 100);
	ck_assert_uint_eq(b.e.n_unlabelled, 1);
	ck_assert_uint_eq(b.e.n_empty, CONTEXTS);
	ck_assert_uint_eq(b.e.n_beyond, ROWS - CONTEXTS - 1 - 100);
	for (uint32_t i = 0; i < b.e.n; i++) {
		ck_assert_uint_ne(b.e.unit[i], 5);
		ck_assert_uint_ne(b.e.unit[i] % LENGTH, 0);
		ck_assert_float_eq(b.e.x[i * D], value(b.e.unit[i], 0));
		for (uint32_t j = 0; j < i; j++) /* rows of a context are in one part */
			ck_assert(b.e.group[i] != b.e.group[j] || b.e.test[i] == b.e.test[j]);
	}
	teardown_bench(&b);
}
END_TEST

START_TEST(tests_on_a_share_of_each_class)
{
	uint32_t n[2][2] = { { 0 } };
	bench b;
	error e = { 0 };

	setup_bench(&b);
	ck_assert_msg(!read_examples(&b, &e), "%s", e.msg);
	for (uint32_t i = 0; i < b.e.n; i++)
		n[b.e.label[i]][b.e.test[i]]++;
	ck_assert_uint_eq(n[0][1], 10); /* a quarter of 40 and of 20 */
	ck_assert_uint_eq(n[1][1], 5);
	teardown_bench(&b);
}
END_TEST

/* Class 1 is column 2: the probe of one column finds it, and is right where the label is. */
START_TEST(finds_the_column_that_tells)
{
	const uint32_t k[] = { 1, 0 }, classes[] = { 1 };
	const sae_probe_opts o = { .c = 1, .k = k, .n_k = 2, .classes = classes, .n_probed = 1 };
	sae_probe p[4], again[4];
	pool *one = NULL;
	bench b;
	error e = { 0 };

	setup_bench(&b);
	ck_assert_int_eq(pool_new(&one, 1, &e), 0);
	ck_assert_msg(!read_examples(&b, &e), "%s", e.msg);
	ck_assert_msg(!sae_probe_fit(p, &b.e, &o, b.pool, &e), "%s", e.msg);
	ck_assert_msg(!sae_probe_fit(again, &b.e, &o, one, &e), "%s", e.msg);
	for (int i = 0; i < 4; i++) {
		ck_assert(p[i].converged && p[i].on_codes == (i > 1));
		ck_assert_uint_eq(p[i].p, i % 2 == 0 ? 1 : i == 1 ? D : F);
		ck_assert(p[i].k == 0 || p[i].columns[0] == 2);
		ck_assert_double_ge(p[i].auroc.value, 0.95);
		ck_assert_double_eq_tol(p[i].accuracy.chance, 10.0 / 15, 1e-12);
		ck_assert_double_eq(p[i].bias, again[i].bias);
		ck_assert_int_eq(memcmp(p[i].weights, again[i].weights, p[i].p * sizeof(double)), 0);
		ck_assert_int_eq(memcmp(&p[i].f1, &again[i].f1, sizeof(p[i].f1)), 0);
	}
	for (int i = 0; i < 4; i++) {
		sae_probe_clear(&p[i]);
		sae_probe_clear(&again[i]);
	}
	pool_free(one);
	teardown_bench(&b);
}
END_TEST

START_TEST(nothing_to_probe_is_an_error)
{
	bench b;
	error e = { 0 };

	setup_bench(&b);
	for (uint32_t i = 0; i < ROWS; i++)
		b.labels[i] = SAE_NO_CLASS;
	ck_assert_int_eq(read_examples(&b, &e), ERR_FORMAT);
	ck_assert_str_eq(e.msg, "no context with a label has a row that counts");
	teardown_bench(&b);
}
END_TEST

START_TEST(no_memory_is_an_error)
{
	const uint32_t k[] = { 1, 0 }, classes[] = { 1 };
	const sae_probe_opts o = { .c = 1, .k = k, .n_k = 2, .classes = classes, .n_probed = 1 };
	bench b;
	error e = { 0 };

	setup_bench(&b);
	for (long n = 0;; n += 1) {
		sae_probe p[4];
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = read_examples(&b, &e);
		if (!rc)
			rc = sae_probe_fit(p, &b.e, &o, b.pool, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			for (int i = 0; i < 4; i++)
				sae_probe_clear(&p[i]);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		sae_examples_clear(&b.e);
	}
	teardown_bench(&b);
}
END_TEST

/* Margins 2 1 1 -1 | 1 -1 -2 of the class and of the rest: by hand. */
START_TEST(scores_are_their_definitions)
{
	const double margin[] = { 2, 1, 1, -1, 1, -1, -2 };
	const uint8_t y[] = { 1, 1, 1, 1, 0, 0, 0 };
	const uint32_t group[] = { 9, 1, 2, 3, 4, 5, 6 };
	probe_score s;
	error e = { 0 };

	ck_assert_int_eq(probe_score_make(&s, margin, y, group, 7, 0.25, 1, &e), 0);
	ck_assert_double_eq_tol(s.accuracy.value, 5.0 / 7, 1e-12);
	ck_assert_double_eq_tol(s.balanced_accuracy.value, (3.0 / 4 + 2.0 / 3) / 2, 1e-12);
	ck_assert_double_eq_tol(s.f1.value, 6.0 / 8, 1e-12);
	ck_assert_double_eq_tol(s.auroc.value, (3 + 2.5 + 2.5 + 1.5) / 12, 1e-12);
	ck_assert_double_eq_tol(s.accuracy.chance, 3.0 / 7,
	                        1e-12); /* trained on mostly the rest: always no */
	ck_assert_double_eq_tol(s.f1.chance, 8.0 / 11, 1e-12);
	ck_assert(s.accuracy.low <= s.accuracy.value && s.accuracy.high >= s.accuracy.value);
	ck_assert(s.accuracy.low < s.accuracy.high);
}
END_TEST

/* All right: the interval is Wilson's for 6 of 6 groups. 200 coin flips, each its own group: near the binomial's. */
START_TEST(intervals_are_of_the_right_width)
{
	const double right[] = { 1, 1, 1, -1, -1, -1 };
	const uint8_t y[] = { 1, 1, 1, 0, 0, 0 };
	const uint32_t six[] = { 0, 1, 2, 3, 4, 5 };
	double margin[200], z2 = 1.96 * 1.96, half = 1.96 * sqrt(0.25 / 200);
	uint32_t group[200];
	uint8_t coin[200];
	probe_score s;
	error e = { 0 };

	ck_assert_int_eq(probe_score_make(&s, right, y, six, 6, 0.5, 1, &e), 0);
	ck_assert_double_eq_tol(s.accuracy.low, 6 / (6 + z2), 1e-4);
	ck_assert_double_eq_tol(s.accuracy.high, 1, 1e-12);
	for (uint32_t i = 0; i < 200; i++) {
		group[i] = i;
		coin[i] = i % 2;
		margin[i] = i % 4 < 2 ? 1 : -1;
	}
	ck_assert_int_eq(probe_score_make(&s, margin, coin, group, 200, 0.5, 1, &e), 0);
	ck_assert_double_eq_tol(s.accuracy.low, 0.5 - half, 0.02);
	ck_assert_double_eq_tol(s.accuracy.high, 0.5 + half, 0.02);
	for (uint32_t i = 0; i < 200; i++)
		group[i] = i / 20; /* ten groups, all alike: no width, so Wilson's for 10 */
	ck_assert_int_eq(probe_score_make(&s, margin, coin, group, 200, 0.5, 1, &e), 0);
	ck_assert_double_eq_tol(s.accuracy.high - s.accuracy.low,
	                        2 * 1.96 * sqrt(0.025 + z2 / 400) / (1 + z2 / 10), 1e-3);
}
END_TEST

/* Balanced accuracy of a probe on held-out examples whose activations have lost `out` of the features with the largest effects. */
static double accuracy_without(const bench *b, const sae_probe *probe, const double *effect, uint32_t out)
{
	double right[2] = { 0 }, all[2] = { 0 };

	for (uint32_t i = 0; i < b->e.n; i++) {
		double margin = probe->bias;
		bool is = b->e.label[i] == probe->label;

		for (uint32_t j = 0; j < D; j++) {
			double x = (double)b->e.x[i * D + j];

			for (size_t at = b->e.codes.first[i]; at < b->e.codes.first[i + 1]; at++) {
				uint32_t f = b->e.codes.index[at], before = 0;

				for (uint32_t g = 0; g < F; g++)
					before +=
					        effect[g] > effect[f] || (!(effect[g] < effect[f]) && g < f);
				if (before < out && effect[f] > 0)
					x -= (double)b->e.codes.value[at] *
					     (double)b->model->W_dec[f * D + j];
			}
			margin += x * probe->weights[j];
		}
		if (!b->e.test[i])
			continue;
		all[is]++;
		right[is] += (margin > 0) == is;
	}
	return (right[0] / all[0] + right[1] / all[1]) / 2;
}

START_TEST(perturbs_what_it_says)
{
	const uint32_t k[] = { 0 }, classes[] = { 0, 1 }, sizes[] = { 1, 3 };
	const sae_probe_opts o = {
		.c = 1, .k = k, .n_k = 1, .classes = classes, .n_probed = 2, .balance = true
	};
	sae_probe p[4];
	sae_tpp t[4];
	bench b;
	error e = { 0 };

	setup_bench(&b);
	ck_assert_msg(!read_examples(&b, &e), "%s", e.msg);
	ck_assert_int_eq(sae_probe_fit(p, &b.e, &o, b.pool, &e), 0);
	ck_assert_msg(!sae_tpp_measure(t, &b.e, b.model, &o, sizes, 2, b.pool, &e), "%s", e.msg);
	for (int i = 0; i < 4; i++) {
		const sae_probe *own = &p[i / 2 * 2], *other = &p[2 - i / 2 * 2];
		double effect[F], n[2] = { 0 }, mean[2][F] = { { 0 } }, lost[2];

		for (uint32_t r = 0; r < b.e.n; r++) {
			bool is = b.e.label[r] == own->label;

			n[is] += !b.e.test[r];
			for (size_t at = b.e.codes.first[r]; !b.e.test[r] && at < b.e.codes.first[r + 1];
			     at++)
				mean[is][b.e.codes.index[at]] += (double)b.e.codes.value[at];
		}
		for (uint32_t f = 0; f < F; f++) {
			double along = own->weights[f % D] * (double)b.model->W_dec[f * D + f % D];

			effect[f] = fmax(0, mean[1][f] / n[1] - mean[0][f] / n[0]) * along;
		}
		lost[0] = accuracy_without(&b, own, effect, 0) - accuracy_without(&b, own, effect, t[i].n);
		lost[1] =
		        accuracy_without(&b, other, effect, 0) - accuracy_without(&b, other, effect, t[i].n);
		ck_assert_uint_eq(t[i].n, sizes[i % 2]);
		ck_assert_double_eq_tol(t[i].intended, lost[0], 1e-9);
		ck_assert_double_eq_tol(t[i].unintended, lost[1], 1e-9);
		ck_assert_double_eq_tol(t[i].score, lost[0] - lost[1], 1e-9);
	}
	ck_assert_double_gt(t[2].intended, 0.2); /* of class 1 the one feature that tells */
	for (int i = 0; i < 4; i++)
		sae_probe_clear(&p[i]);
	teardown_bench(&b);
}
END_TEST

/* Column 2 tells the label, column 4 the spurious one; a biased probe leans on both and so is wrong
 * where they part; without column 4's feature it answers by column 2 alone. */
START_TEST(removes_a_spurious_correlation)
{
	enum { N = 400 };
	const uint32_t sizes[] = { 1 };
	const sae_probe_opts o = { .c = 1 };
	uint32_t spurious[N], label[N], group[N];
	uint64_t unit[N];
	uint8_t test[N];
	size_t first[N + 1];
	uint32_t index[2 * N];
	float x[N * D] = { 0 }, values[2 * N];
	sae_examples e = { .n = N,
		           .d = D,
		           .n_features = F,
		           .n_classes = 2,
		           .unit = unit,
		           .label = label,
		           .group = group,
		           .test = test,
		           .x = x,
		           .n_groups = N };
	sae_model *m = make_model();
	sae_scr s;
	error err = { 0 };

	for (uint32_t i = 0; i < N; i++) {
		label[i] = i & 1;
		spurious[i] = i >> 1 & 1;
		test[i] = i >= N / 2;
		unit[i] = group[i] = i;
		x[i * D + 2] = values[2 * i] =
		        (label[i] ? 1.4f : 0.6f) + (float)(hash64_unit(hash64_mix(1, i)) - 0.5);
		x[i * D + 4] = values[2 * i + 1] = spurious[i] ? 0.8f : 0.2f;
		index[2 * i] = 2;
		index[2 * i + 1] = 4;
		first[i] = 2 * i;
	}
	first[N] = 2 * N;
	e.codes = (sae_codes){ .n = N, .first = first, .index = index, .value = values };
	ck_assert_msg(!sae_scr_measure(&s, &e, spurious, m, &o, sizes, 1, &err), "%s", err.msg);
	ck_assert_double_gt(s.clean, 0.8);
	ck_assert_double_lt(s.original, s.clean - 0.01);
	ck_assert(s.changed < s.original || s.changed > s.original);
	ck_assert_double_eq_tol(s.score, (s.changed - s.original) / (s.clean - s.original), 1e-12);
	for (uint32_t i = 0; i < N; i++)
		spurious[i] = test[i] ? spurious[i] : label[i]; /* never apart in training */
	ck_assert_int_eq(sae_scr_measure(&s, &e, spurious, m, &o, sizes, 1, &err), ERR_FORMAT);
	ck_assert_str_eq(err.msg,
	                 "spurious correlation: no training example has label 1 and spurious label 0");
	m->arch = SAE_CODEBOOK;
	ck_assert_int_eq(sae_scr_measure(&s, &e, spurious, m, &o, sizes, 1, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "what they add does not depend on their values"));
	sae_model_free(m);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "probe", rows_are_examples_too, tests_on_a_share_of_each_class,
	                        finds_the_column_that_tells, nothing_to_probe_is_an_error,
	                        no_memory_is_an_error, scores_are_their_definitions, perturbs_what_it_says,
	                        removes_a_spurious_correlation, intervals_are_of_the_right_width);

	tcase_add_loop_test(t, pools_the_rows_that_count, 0, 2);
}

SUPPORT_MAIN("probe", cases)
