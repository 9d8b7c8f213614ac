/* Training steps with Adam's moments in 8 bits: any thread count, what is learnt, what they take. */
#include "tests/support.h"
#include "tests/support_train.h"

#include <math.h>

enum { D = 72, TRUE_F = 96, BATCH = 512, STEPS = 300, LATE = 50, STARTS = 3 }; /* blocks of 64 and 8 */

static void normalise(float *row)
{
	double squares = 0;

	for (size_t i = 0; i < D; i++)
		squares += (double)row[i] * row[i];
	for (size_t i = 0; i < D; i++)
		row[i] = (float)(row[i] / sqrt(squares));
}

static float planted[TRUE_F][D];

static void plant(void)
{
	for (uint32_t f = 0; f < TRUE_F; f++) {
		support_fill(planted[f], D, 1000 + f);
		normalise(planted[f]);
	}
}

/* Three planted features each, and noise. */
static void planted_rows(float *x, uint64_t seed)
{
	for (uint64_t t = 0; t < BATCH; t++) {
		float *row = x + t * D;

		for (uint64_t i = 0; i < D; i++)
			row[i] = 0.02F * (float)support_uniform(hash64_mix(seed, t), i);
		for (uint64_t j = 0; j < 3; j++) {
			uint64_t h = hash64_mix(hash64_mix(seed, t), 100 + j);
			const float *direction = planted[hash64_below(h, TRUE_F)];
			float value = (float)(0.5 + hash64_unit(hash64_mix(h, 1)));

			for (size_t i = 0; i < D; i++)
				row[i] += value * direction[i];
		}
	}
}

static step_config config(bool moments8)
{
	step_config c = support_large_step(D, TRUE_F, 3, BATCH);

	c.dead_tokens = 20 * BATCH;
	c.moments8 = moments8;
	return c;
}

/* Half way from noise to what is planted: from noise alone, the local minimum that is found is a matter of luck. */
static void start(step *s, uint64_t seed)
{
	step_init_weights(s, seed);
	for (uint32_t f = 0; f < TRUE_F; f++) {
		float *dec = s->W_dec.w + (size_t)f * D;

		for (size_t i = 0; i < D; i++)
			dec[i] += planted[f][i];
		normalise(dec);
		memcpy(s->W_enc.w + (size_t)f * D, dec, D * sizeof(*dec));
	}
}

/* Mean FVU of the last steps. */
static double train(step *s, float *x, uint64_t seed)
{
	double late = 0;
	step_result r;

	start(s, seed);
	for (unsigned t = 0; t < STEPS; t++) {
		planted_rows(x, seed * STEPS + t);
		step_run(s, x, NULL, BATCH, 1, 3e-3 * (STEPS - t) / STEPS, &r);
		if (t >= STEPS - LATE)
			late += r.fvu / LATE;
	}
	return late;
}

START_TEST(a_planted_dictionary_is_learnt_as_well)
{
	double fvu[2] = { 0 };
	float *x = mem_alloc_aligned(BATCH, D * sizeof(float));
	pool *p;

	plant();
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (unsigned i = 0; i < 2 * STARTS; i++) {
		const step_config c = config(i % 2);
		step *s;

		ck_assert_int_eq(step_new(&s, &c, p, NULL), 0);
		fvu[i % 2] += train(s, x, 1 + i / 2) / STARTS;
		step_free(s);
	}
	if (getenv("MOMENTS_SHOW"))
		fprintf(stderr, "FVU %g with 8 bits, %g with 32\n", fvu[1], fvu[0]);
	ck_assert_double_lt(fvu[0], 0.05); /* it learnt */
	ck_assert_msg(fvu[1] < 1.01 * fvu[0], "FVU %g with 8 bits, %g with 32", fvu[1], fvu[0]);
	pool_free(p);
	free(x);
}
END_TEST

static step *run_some(const step_config *c, pool *p)
{
	step *s = support_run_steps(c, p, 6);

	ck_assert_ptr_null(s->W_enc.m);
	ck_assert_ptr_null(s->W_dec.v);
	return s;
}

START_TEST(threads_do_not_change_a_bit)
{
	step_config c = config(true);

	c.dead_tokens = 2 * BATCH;
	support_same_at_any_threads(&c, run_some);
}
END_TEST

START_TEST(they_take_a_quarter_and_a_bit)
{
	step_config c[2] = { config(false), config(true) };
	uint64_t taken[2];
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		step *s;

		c[i].d = 576;
		c[i].n_features = 4096;
		ck_assert_int_eq(step_new(&s, &c[i], p, NULL), 0);
		taken[i] = arena_bytes(&s->mem);
		step_free(s);
	}
	ck_assert_uint_eq(step_moments_bytes(&c[0]), 2 * 4 * (2 * 576 * 4096 + 4096 + 576));
	ck_assert_uint_eq(step_moments_bytes(&c[1]),
	                  (uint64_t)2 * 576 * 4096 * 17 / 8 + 2 * 4 * (4096 + 576));
	/* arenas round up to pages */
	ck_assert_double_le(fabs((double)(taken[0] - taken[1]) -
	                         (double)(step_moments_bytes(&c[0]) - step_moments_bytes(&c[1]))),
	                    1 << 17);
	pool_free(p);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	const step_config c = config(true);

	support_step_survives(&c);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "moments", a_planted_dictionary_is_learnt_as_well, threads_do_not_change_a_bit,
	             they_take_a_quarter_and_a_bit, each_failing_allocation_is_reported);
}
SUPPORT_MAIN("moments", cases)
