/* Adam with 8-bit moments: the same bits from all kernels, near to Adam with FP32 ones, and as good in training. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sae/adam8.h"
#include "tests/support.h"

enum { MAX = 200 };

typedef struct state {
	float w[MAX], scales[ADAM8_SCALES(MAX)];
	int8_t m[MAX];
	uint8_t v[MAX];
} state;

static const char *const names[] = { "scalar", "avx2", "avx512" };

static adam_coef coef_at(double lr, uint64_t t)
{
	const double beta1 = 0.9, beta2 = 0.999;

	return (adam_coef){ .beta1 = (float)beta1,
		            .beta2 = (float)beta2,
		            .rest1 = (float)(1 - beta1),
		            .rest2 = (float)(1 - beta2),
		            .step = (float)(lr / (1 - pow(beta1, (double)t))),
		            .root = (float)(1 / sqrt(1 - pow(beta2, (double)t))),
		            .eps = 1e-8F };
}

/* Noise whose size differs by up to 10^decades between the places of a row, and which is all zero now and then. */
static void gradient(float *g, size_t n, uint64_t t, double decades)
{
	for (size_t i = 0; i < n; i++) {
		double size = pow(10, -decades * hash64_unit(hash64_mix(77, i)));

		g[i] = (float)(size * (2 * hash64_unit(hash64_mix(t, i)) - 0.7));
		if (t % 7 == 3)
			g[i] = 0;
	}
}

START_TEST(all_kernels_give_the_same_bits)
{
	for (size_t n = 0; n <= MAX; n = n < 70 ? n + 1 : n + 13) {
		state a = { 0 }, b;
		float g[MAX];

		for (size_t i = 0; i < n; i++)
			a.w[i] = (float)i;
		for (size_t k = 1; k < ARRAY_LEN(names); k++) {
			const adam8_kernels *set = adam8_get(names[k]);

			b = a;
			for (uint64_t t = 1; t <= 40 && set; t++) {
				adam_coef c = coef_at(1e-2, t);
				adam8_coef c8 = adam8_coef_of(&c);
				const float *given = t % 5 ? g : NULL;
				state s = b;

				gradient(g, n, t, 3);
				adam8_scalar.row(s.w, s.m, s.v, s.scales, given, n, &c8, adam8_seed(t, n));
				set->row(b.w, b.m, b.v, b.scales, given, n, &c8, adam8_seed(t, n));
				ck_assert_msg(memcmp(&s, &b, sizeof(s)) == 0, "%s differs at n %zu, step %u",
				              names[k], n, (unsigned)t);
			}
		}
	}
}
END_TEST

START_TEST(what_lies_behind_a_row_is_left_alone)
{
	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		const adam8_kernels *set = adam8_get(names[k]);
		adam_coef c = coef_at(1e-2, 1);
		adam8_coef c8 = adam8_coef_of(&c);

		for (size_t n = 0; n < 130 && set; n++) {
			state s;
			float g[MAX];

			memset(&s, 0, sizeof(s));
			gradient(g, n, 1, 3);
			memset(s.m + n, 0x55, MAX - n);
			memset(s.v + n, 0x55, MAX - n);
			s.w[n] = 42;
			s.scales[ADAM8_SCALES(n)] = 42;
			set->row(s.w, s.m, s.v, s.scales, g, n, &c8, 1);
			ck_assert(s.w[n] == 42 && s.m[n] == 0x55 && s.v[n] == 0x55);
			ck_assert(s.scales[ADAM8_SCALES(n)] == 42);
		}
	}
}
END_TEST

/* 300 steps of noisy gradients: how far from FP32 Adam's weights a row ends, as a share of their way, and a single weight, as a
 * share of its own way or of 0.5, which is what noise does to it. */
static void apart(size_t n, double decades, double *worst_row, double *worst)
{
	const adam8_kernels *set = adam8_get(NULL);
	const kernels *exact = kernels_get("scalar");
	state s = { 0 };
	float w[MAX] = { 0 }, m[MAX] = { 0 }, v[MAX] = { 0 }, g[MAX];
	double squares = 0, way = 0;

	for (uint64_t t = 1; t <= 300; t++) {
		adam_coef c = coef_at(1e-2, t);
		adam8_coef c8 = adam8_coef_of(&c);

		gradient(g, n, t, decades);
		set->row(s.w, s.m, s.v, s.scales, g, n, &c8, adam8_seed(t, 0));
		exact->adam(w, m, v, g, n, &c);
	}
	for (size_t i = 0; i < n; i++) {
		double d = fabs((double)s.w[i] - w[i]), whole = fabs((double)w[i]);

		squares += d * d;
		way += whole * whole;
		*worst = fmax(*worst, d / fmax(whole, 0.5));
	}
	*worst_row = fmax(*worst_row, sqrt(squares / way));
}

/* At every length of a row. The bounds are 1.4 times what was measured. */
START_TEST(rows_of_every_length_follow_adam)
{
	static const struct {
		double decades, row, single;
	} cases[] = { { 0, 0.022, 0.06 }, { 1, 0.045, 0.15 }, { 3, 0.2, 0.82 } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		double row = 0, single = 0;

		for (size_t n = 1; n <= 130; n++)
			apart(n, cases[i].decades, &row, &single);
		if (getenv("ADAM8_SHOW"))
			fprintf(stderr, "sizes over %g decades: rows %g, single weights %g\n",
			        cases[i].decades, row, single);
		ck_assert_msg(row < cases[i].row && single < cases[i].single,
		              "sizes over %g decades: rows %g, single weights %g", cases[i].decades, row,
		              single);
	}
}
END_TEST

/* Gradients of a constant size: v comes to g^2 and stays there, also where it is 1e-4 and 1e-6 of the block's largest and every
 * step would change it by less than half the distance of two stored values. */
START_TEST(rounding_is_right_on_average)
{
	const adam8_kernels *set = adam8_get(NULL);
	const float sizes[] = { 1, 1e-1F, 1e-2F, 1e-3F };
	double sum[4] = { 0 };
	state s = { 0 };
	float g[64];

	for (uint64_t t = 1; t <= 12000; t++) {
		adam_coef c = coef_at(1e-6, t);
		adam8_coef c8 = adam8_coef_of(&c);

		for (size_t i = 0; i < 64; i++)
			g[i] = (hash64_mix(t, i) & 1 ? 1.0F : -1.0F) * sizes[i % 4];
		set->row(s.w, s.m, s.v, s.scales, g, 64, &c8, adam8_seed(t, 0));
		for (size_t i = 0; i < 64 && t > 8000; i++) {
			double a = s.v[i] / 255.0, root = (double)s.scales[1] * a * a;

			sum[i % 4] += root * root / 4000 / 16;
		}
	}
	for (size_t k = 0; k < 4; k++) {
		double ratio = sum[k] / ((double)sizes[k] * sizes[k]);

		ck_assert_msg(fabs(ratio - 1) < (k < 3 ? 0.03 : 0.2), "size %g: v is %g of what it should be",
		              (double)sizes[k], ratio);
	}
}
END_TEST

START_TEST(no_step_is_larger_than_adam_could_make_it)
{
	const adam8_kernels *set = adam8_get(NULL);
	state s = { 0 };
	float g[64] = { 0 }, before[64];

	for (uint64_t t = 1; t <= 3000; t++) {
		adam_coef c = coef_at(1, t);
		adam8_coef c8 = adam8_coef_of(&c);

		/* one place drowns the others, then all go quiet for long */
		for (size_t i = 0; i < 64; i++)
			g[i] = t % 500 > 5 ? 0
			                   : (float)((i == 5 ? 1e6 : 1e-3) *
			                             (hash64_unit(hash64_mix(t, i)) - 0.4));
		memcpy(before, s.w, sizeof(before));
		set->row(s.w, s.m, s.v, s.scales, g, 64, &c8, adam8_seed(t, 0));
		for (size_t i = 0; i < 64; i++) {
			double most = c.step * 7.4 / c.root * 1.01 + 1e-5 * fabs((double)before[i]);

			ck_assert(isfinite(s.w[i]));
			ck_assert_double_le(fabs((double)s.w[i] - before[i]), most);
			ck_assert(t > 1 || s.v[i] > 0);
		}
	}
}
END_TEST

/* ---- Training ------------------------------------------------------------------------------------------------------- */

enum { D = 80, F = 128, K = 4, TRUE_F = 96, BATCH = 256, STEPS = 1000, STARTS = 1 };

/* A small TopK autoencoder without biases, that starts with its features half way to the planted ones (else which local minimum
 * a run falls into decides, and that hangs on the last bits), whose optimiser holds its moments in FP32 or in 8 bits. */
typedef struct sae {
	float enc[F][D], dec[F][D], m[2][F][D], v[2][F][D];
	int8_t m8[2][F][D];
	uint8_t v8[2][F][D];
	float scales[2][F][ADAM8_SCALES(D)];
	float grad[2][F][D];
	float truth[TRUE_F][D];
} sae;

static void planted_row(float *x, float truth[TRUE_F][D], uint64_t number)
{
	for (uint64_t i = 0; i < D; i++)
		x[i] = (float)(0.2 * (hash64_unit(hash64_mix(number + 2, i)) - 0.5));
	for (uint64_t j = 0; j < K; j++) {
		uint64_t at = hash64_mix(number, j), f = at % TRUE_F;
		double value = 0.5 + hash64_unit(hash64_mix(number + 1, j + 100));

		for (uint64_t i = 0; i < D; i++)
			x[i] += (float)value * truth[f][i];
	}
}

/* Codes of a row: the K largest products, over 0. */
static size_t encode(const sae *s, const kernels *k, const float *x, size_t index[K], float value[K])
{
	size_t n = 0;

	for (size_t f = 0; f < F; f++) {
		float sum = k->dot(s->enc[f], x, D);
		size_t at;

		if (sum <= 0 || (n == K && sum <= value[K - 1]))
			continue;
		for (at = n < K ? n++ : K - 1; at > 0 && value[at - 1] < sum; at--) {
			value[at] = value[at - 1];
			index[at] = index[at - 1];
		}
		value[at] = sum;
		index[at] = f;
	}
	return n;
}

/* Squared error of a row, its square in *total; gradients are added up. */
static double row_step(sae *s, const kernels *k, const float *x, double *total)
{
	size_t index[K], n;
	float value[K], e[D];
	double squares = 0;

	n = encode(s, k, x, index, value);
	memcpy(e, x, sizeof(e));
	for (size_t j = 0; j < n; j++)
		k->axpy(e, -value[j], s->dec[index[j]], D);
	for (size_t i = 0; i < D; i++) {
		squares += (double)e[i] * e[i];
		*total += (double)x[i] * x[i];
	}
	for (size_t j = 0; j < n; j++) {
		float into = k->dot(e, s->dec[index[j]], D);

		k->axpy(s->grad[0][index[j]], -into / BATCH, x, D);
		k->axpy(s->grad[1][index[j]], -value[j] / BATCH, e, D);
	}
	return squares;
}

static double train(bool small, uint64_t start)
{
	sae *s = calloc(1, sizeof(*s));
	double late_error = 0, late_total = 0;
	const adam8_kernels *k8 = adam8_get(NULL);
	const kernels *k = kernels_get(NULL);

	for (uint64_t f = 0; f < TRUE_F; f++)
		for (uint64_t i = 0; i < D; i++)
			s->truth[f][i] =
			        (float)((2 * hash64_unit(hash64_mix(1000 + f, i)) - 1) * sqrt(3.0 / D));
	for (uint64_t f = 0; f < F; f++)
		for (uint64_t i = 0; i < D; i++) {
			float direction = f < TRUE_F ? s->truth[f][i] : 0;

			s->dec[f][i] =
			        direction + (float)((2 * hash64_unit(hash64_mix(5000 * start + f, i)) - 1) *
			                            sqrt(3.0 / D));
			s->enc[f][i] = s->dec[f][i] / 2;
		}
	for (uint64_t t = 1; t <= STEPS; t++) {
		adam_coef c = coef_at(2e-3 * (t > STEPS / 2 ? 2 - 2.0 * (double)t / STEPS : 1) + 1e-9, t);
		adam8_coef c8 = adam8_coef_of(&c);
		double squares = 0, total = 0;

		memset(s->grad, 0, sizeof(s->grad));
		for (uint64_t r = 0; r < BATCH; r++) {
			float x[D];

			planted_row(x, s->truth, (1 << 20) + t * BATCH + r);
			squares += row_step(s, k, x, &total);
		}
		for (size_t f = 0; f < F; f++)
			for (size_t p = 0; p < 2; p++) {
				float *w = p ? s->dec[f] : s->enc[f];

				if (small)
					k8->row(w, s->m8[p][f], s->v8[p][f], s->scales[p][f], s->grad[p][f],
					        D, &c8, adam8_seed(t, 2 * f + p));
				else
					k->adam(w, s->m[p][f], s->v[p][f], s->grad[p][f], D, &c);
			}
		if (t > STEPS - 100) {
			late_error += squares;
			late_total += total;
		}
	}
	free(s);
	return late_error / late_total;
}

START_TEST(training_is_as_good_as_with_fp32_moments)
{
	double exact = 0, small = 0;

	for (uint64_t start = 1; start <= STARTS; start++) {
		double e = train(false, start), m = train(true, start);

		if (getenv("ADAM8_SHOW"))
			fprintf(stderr, "FVU %g with 8 bits, %g with FP32\n", m, e);
		exact += e / STARTS;
		small += m / STARTS;
	}
	ck_assert_double_lt(exact, 0.08); /* it learnt */
	ck_assert_msg(small < 1.01 * exact, "FVU %g with 8 bits, %g with FP32", small, exact);
}
END_TEST

static void suite(Suite *s)
{
	SUPPORT_CASE(s, "rows", all_kernels_give_the_same_bits, what_lies_behind_a_row_is_left_alone,
	             rows_of_every_length_follow_adam, rounding_is_right_on_average,
	             no_step_is_larger_than_adam_could_make_it);
	SUPPORT_CASE(s, "training", training_is_as_good_as_with_fp32_moments);
}
SUPPORT_MAIN("adam8", suite)
