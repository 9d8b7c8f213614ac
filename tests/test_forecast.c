/* The forecast of a run's memory against what the run takes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"
#include "tests/support.h"
#include "tests/support_dump.h"

enum { D = 256, CTX = 64, CONTEXTS = 512, SHARDS = 2 };

/* The sanitizers take memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

typedef struct input {
	char dir[FILE_PATH_MAX];
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} input;

/* Over several groups of rows, so that memory for one is less than the dump. */
static float noise(uint64_t row, uint32_t j)
{
	return (float)hash64_unit(hash64_mix(row, j)) - 0.5F;
}

static void input_open(input *in, unsigned threads)
{
	const made_dump m = { .contexts = CONTEXTS,
		              .ctx_len = CTX,
		              .d = D,
		              .shards = SHARDS,
		              .dtype = SAE_F16,
		              .three_dims = true,
		              .value = noise };
	const sae_rows_opts keep = { .max_norm_ratio = 0 };
	error err = { 0 };

	support_mkdir(in->dir);
	made_dump_write(in->dir, &m);
	in->dump = made_dump_open(in->dir, NULL);
	ck_assert_int_eq(pool_new(&in->pool, threads, &err), 0);
	ck_assert_int_eq(sae_rows_scan(&in->rows, in->dump, &keep, false, in->pool, NULL, &err), 0);
	ck_assert_int_eq(sae_rows_split(in->rows, in->dump, 0.1, SAE_SPLIT_TAIL, 0, &err), 0);
}

static void input_close(input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
	support_rmdir(in->dir);
}

static void note_memory(uint64_t *peak)
{
	uint64_t now = cpu_memory_anonymous();

	if (now > *peak)
		*peak = now;
}

static sae_train_opts some_opts(uint32_t features, uint32_t batch)
{
	sae_train_opts o = sae_train_opts_default();

	o.d_sae = features;
	o.k = 16;
	o.batch = batch;
	o.steps = 4;
	o.dead_tokens = 2 * batch; /* so that the auxiliary loss has its memory too */
	return o;
}

/* Train, measure during the run where asked, save and measure at the end, as `gloss train` does: the most memory seen. */
static uint64_t run(const input *in, sae_trainer *t, bool evaluates)
{
	uint64_t peak = 0;
	error err = { 0 };

	ck_assert_msg(sae_trainer_start(t, &err) == 0, "%s", err.msg);
	for (int i = 0; i <= 4; i++) {
		sae_model *m = NULL;
		sae_metrics metrics = { 0 };

		if (i < 4)
			ck_assert_msg(sae_trainer_step(t, &err) == 0, "%s", err.msg);
		else
			sae_trainer_finish(t);
		note_memory(&peak);
		if (i < 4 && !(evaluates && i == 2))
			continue;
		ck_assert_msg(sae_trainer_model(&m, NULL, t, 0, &err) == 0, "%s", err.msg);
		ck_assert_int_eq(sae_eval(&metrics, m, in->dump, NULL, in->rows, true, in->pool, NULL, &err),
		                 0);
		note_memory(&peak); /* what measuring took may have gone, but malloc keeps small memory */
		if (i == 4)
			ck_assert_int_eq(sae_model_save(m, in->dir, NULL, NULL, &err), 0);
		sae_metrics_clear(&metrics);
		sae_model_free(m);
	}
	return peak;
}

/* What is taken at any moment looked at is at most 3 % and 4 MiB over the forecast. It may be a quarter and 8 MiB under it: rooms
 * for candidates and for the codes of dead features are filled only as far as there are any, and parts that are large for a
 * moment fall between two looks. */
static void check_forecast(uint32_t features, uint32_t batch, unsigned threads, size_t members,
                           bool evaluates, bool moments8)
{
	sae_train_opts o[3] = { some_opts(features, batch), some_opts(features / 2, batch),
		                some_opts(features, batch) };
	sae_train_forecast f;
	sae_trainer *t;
	error err = { 0 };
	uint64_t peak;
	char parts[256];
	input in;

	o[0].moments8 = moments8;
	input_open(&in, threads);
	ck_assert_msg(sae_trainer_new(&t, in.dump, in.rows, o, members, in.pool, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_trainer_forecast(&f, t, evaluates, &err), 0);
	ck_assert_uint_le(cpu_memory_anonymous(), f.now + (4 << 20)); /* nothing was taken yet */
	sae_train_forecast_print(parts, sizeof(parts), &f);
	peak = run(&in, t, evaluates);
	if (getenv("FORECAST_SHOW"))
		fprintf(stderr, "took %llu MiB of %s\n", (unsigned long long)peak >> 20, parts);
	ck_assert_msg((double)peak <= 1.03 * (double)f.total + (4 << 20), "took %llu of forecast %s",
	              (unsigned long long)peak >> 20, parts);
	ck_assert_msg((double)f.total <= 1.25 * (double)peak + (8 << 20), "took only %llu of forecast %s",
	              (unsigned long long)peak >> 20, parts);
	sae_trainer_free(t);
	input_close(&in);
}

START_TEST(the_forecast_is_true)
{
	if (SANITIZED)
		return;
	check_forecast(8192, 2048, 2, 1, false, false);
	check_forecast(8192, 1024, 3, 1, true, false);
	check_forecast(8192, 1024, 3, 1, true, true);
	check_forecast(4096, 512, 1, 3, false, true);
}
END_TEST

START_TEST(too_small_a_limit_is_refused_with_the_numbers)
{
	const sae_train_forecast f = { .now = 5 << 20,
		                       .weights = 72 << 20,
		                       .optimiser = 144 << 20,
		                       .batch = 73 << 20,
		                       .loader = 85 << 20,
		                       .total = 379 << 20 };
	error err = { 0 };

	ck_assert_int_eq(sae_train_forecast_check(&f, f.total, &err), 0);
	ck_assert_int_eq(sae_train_forecast_check(&f, f.total - 1, &err), ERR_LIMIT);
	ck_assert_str_eq(err.msg,
	                 "the run needs 379 MiB: weights 72, optimiser 144, batch 73, rows read ahead 85, "
	                 "model to measure or save 0, program and tables 5; the limit is 378 MiB");
}
END_TEST

/* ---- Dead features ---------------------------------------------------------------------------------------------------- */

static double normal(uint64_t seed, uint64_t i)
{
	double u = hash64_unit(hash64_mix(seed, 2 * i)), v = hash64_unit(hash64_mix(seed, 2 * i + 1));

	return sqrt(-2 * log(1 - u)) * cos(2 * 3.14159265358979 * v);
}

enum { WIDTH = 32, FEATURES = 256, ROWS = 2000 };

/* How many of random features are among the k largest positive of no row; k 0: are positive on none. */
static unsigned simulated(double gamma, size_t k)
{
	double w[FEATURES][WIDTH], a[FEATURES], x[WIDTH];
	bool fired[FEATURES] = { false };
	unsigned dead = 0;

	for (size_t f = 0; f < FEATURES; f++)
		for (size_t i = 0; i < WIDTH; i++)
			w[f][i] = normal(1, f * WIDTH + i) / sqrt(WIDTH);
	for (size_t t = 0; t < ROWS; t++) {
		for (size_t i = 0; i < WIDTH; i++)
			x[i] = normal(2, t * WIDTH + i) + (i % 2 ? gamma : -gamma);
		for (size_t f = 0; f < FEATURES; f++) {
			a[f] = 0;
			for (size_t i = 0; i < WIDTH; i++)
				a[f] += w[f][i] * x[i];
		}
		for (size_t f = 0; f < FEATURES; f++) {
			size_t over = 0;

			for (size_t g = 0; g < FEATURES && k; g++)
				over += a[g] > a[f];
			fired[f] |= a[f] > 0 && (!k || over < k);
		}
	}
	for (size_t f = 0; f < FEATURES; f++)
		dead += !fired[f];
	return dead;
}

static double foretold(sae_arch arch, double gamma, uint32_t k, sae_bias bias)
{
	sae_train_opts o = sae_train_opts_default();

	o.arch = arch;
	o.d_sae = FEATURES;
	o.k = k;
	o.bias = bias;
	o.penalty.start_l0 = -1;
	return sae_train_foretell_dead(&o, gamma, ROWS);
}

START_TEST(dead_features_are_foretold)
{
	static const double gammas[] = { 0.5, 1, 4, 15 };
	sae_train_opts o = sae_train_opts_default();

	for (size_t i = 0; i < ARRAY_LEN(gammas); i++) {
		double top = foretold(SAE_TOPK, gammas[i], 4, SAE_BIAS_ZERO);
		double relu = foretold(SAE_RELU, gammas[i], 4, SAE_BIAS_ZERO);
		unsigned top_is = simulated(gammas[i], 4), relu_is = simulated(gammas[i], 0);

		ck_assert_msg(fabs(top - top_is) <= 8 + 0.1 * top_is, "gamma %g, k 4: %g foretold, %u are",
		              gammas[i], top, top_is);
		ck_assert_msg(fabs(relu - relu_is) <= 8 + 0.1 * relu_is, "gamma %g: %g foretold, %u are",
		              gammas[i], relu, relu_is);
		ck_assert_double_lt(foretold(SAE_TOPK, gammas[i], 4, SAE_BIAS_MEAN), 1);
	}
	ck_assert_double_gt(foretold(SAE_TOPK, 4, 4, SAE_BIAS_ZERO), FEATURES / 2);
	ck_assert(isnan(foretold(SAE_JUMPRELU, 4, 4, SAE_BIAS_ZERO)));
	o.bias = SAE_BIAS_ZERO;
	o.normalize = SAE_NORMALIZE_CENTER;
	ck_assert_double_lt(sae_train_foretell_dead(&o, 15, 100000), 1);
	o.arch = SAE_JUMPRELU;
	o.penalty.start_l0 = 64; /* exp(-1000 * 64 / 4608) of 4608 */
	ck_assert_double_lt(fabs(sae_train_foretell_dead(&o, 15, 1000) - 0.00430), 1e-4);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "dead", dead_features_are_foretold);
	SUPPORT_CASE(s, "memory", the_forecast_is_true, too_small_a_limit_is_refused_with_the_numbers);
}
SUPPORT_MAIN("forecast", cases)
