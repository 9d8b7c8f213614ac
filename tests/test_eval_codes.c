/* Metrics of firings, of codes and of weights against plain computations in long double. */
#include "sae/sae.h"
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 12, F = 40, K = 3, LENGTH = 5, CONTEXTS = 300, ROWS = LENGTH * CONTEXTS };

static float noise(uint64_t seed, uint64_t i)
{
	return (float)(hash64_unit(hash64_mix(seed, i)) * 2 - 1);
}

/* JumpReLU with thresholds that rise: some features are dense, some rare, some dead. */
static sae_model *make_model(void)
{
	sae_model *m = NULL;
	error e = { 0 };

	ck_assert_int_eq(sae_model_new(&m, SAE_JUMPRELU, D, F, K, &e), 0);
	m->norm_limit = INFINITY;
	for (size_t i = 0; i < (size_t)F * D; i++) {
		m->W_enc[i] = noise(2, i) * 0.3f;
		m->W_dec[i] = noise(3, i);
	}
	for (size_t i = 0; i < F; i++) {
		m->b_enc[i] = noise(4, i) * 0.1f;
		m->threshold[i] = 0.05f * (float)i;
	}
	memcpy(m->W_dec + D, m->W_dec, D * sizeof(float)); /* features 0 and 1 alike, 2 the opposite of 3 */
	for (size_t i = 0; i < D; i++)
		m->W_dec[2 * D + i] = -1.5f * m->W_dec[3 * D + i];
	return m;
}

typedef struct setting {
	char folder[FILE_PATH_MAX];
	float *x;
	sae_dump *dump;
	sae_rows *rows;
	sae_model *model;
	pool *pool;
	sae_codes codes;
} setting;

static void begin(setting *s)
{
	sae_tensor_out t = { "activations", SAE_F32, 3, { CONTEXTS, LENGTH, D }, NULL };
	const sae_dump_opts dump_opts = { 0 };
	const sae_rows_opts rows_opts = { 0 };
	const char *path;
	sae_encoder *encoder = NULL;
	error e = { 0 };

	*s = (setting){ .x = malloc((size_t)ROWS * D * sizeof(float)), .model = make_model() };
	support_mkdir(s->folder);
	path = support_path(s->folder, "rows.safetensors");
	for (size_t i = 0; i < (size_t)ROWS * D; i++)
		s->x[i] = noise(1, i) * (i / D < 40 ? 0.0f : 1.0f); /* on rows of zeros few features fire */
	t.data = s->x;
	ck_assert_int_eq(pool_new(&s->pool, 2, &e), 0);
	ck_assert_msg(!sae_safetensors_write(path, &t, 1, NULL, 0, &e), "%s", e.msg);
	ck_assert_msg(!sae_dump_open(&s->dump, &path, 1, &dump_opts, &e), "%s", e.msg);
	ck_assert_msg(!sae_rows_scan(&s->rows, s->dump, &rows_opts, false, s->pool, NULL, &e), "%s", e.msg);
	ck_assert_msg(!sae_rows_split(s->rows, s->dump, 1, SAE_SPLIT_DOCUMENT, 0, &e), "%s", e.msg);
	ck_assert_int_eq(sae_encoder_new(&encoder, s->model, s->pool, NULL, &e), 0);
	ck_assert_int_eq(sae_encode(encoder, s->x, ROWS, &s->codes, &e), 0);
	sae_encoder_free(encoder);
}

static void end(setting *s)
{
	sae_codes_free(&s->codes);
	sae_rows_free(s->rows);
	sae_dump_close(s->dump);
	sae_model_free(s->model);
	pool_free(s->pool);
	support_rmdir(s->folder);
	free(s->x);
}

static void assert_near(double got, long double want, const char *name)
{
	ck_assert_msg(fabsl(got - want) <= 1e-6L * (1 + fabsl(want)), "%s: %.17g, want %.17Lg", name, got,
	              want);
}

/* One feature's firings: how many rows, and contexts. */
static uint64_t firings_of(const setting *s, uint32_t f, uint64_t *contexts)
{
	uint64_t fires = 0, last = UINT64_MAX;

	*contexts = 0;
	for (uint64_t r = 0; r < ROWS; r++)
		for (size_t i = s->codes.first[r]; i < s->codes.first[r + 1]; i++)
			if (s->codes.index[i] == f) {
				fires++;
				*contexts += last != r / LENGTH;
				last = r / LENGTH;
			}
	return fires;
}

START_TEST(firings_are_counted_by_their_formulas)
{
	long double all = 0, over_1 = 0, over_10 = 0, entropy = 0, consistent = 0, alive = 0, n_1 = 0,
	            n_10 = 0;
	uint64_t contexts, density[SAE_DENSITY_BINS] = { 0 };
	sae_metrics got = { 0 };
	setting s;
	error e = { 0 };

	begin(&s);
	ck_assert_msg(!sae_eval(&got, s.model, s.dump, NULL, s.rows, true, s.pool, NULL, &e), "%s", e.msg);
	for (uint32_t f = 0; f < F; f++)
		all += firings_of(&s, f, &contexts);
	for (uint32_t f = 0; f < F; f++) {
		long double fires = firings_of(&s, f, &contexts);

		ck_assert_uint_eq(got.fires[f], (uint64_t)fires);
		if (!(fires > 0))
			continue;
		alive++;
		over_1 += fires > ROWS * 0.01L ? fires : 0;
		over_10 += fires > ROWS * 0.1L ? fires : 0;
		n_1 += fires > ROWS * 0.01L;
		n_10 += fires > ROWS * 0.1L;
		entropy -= fires / all * logl(fires / all);
		consistent += fires / contexts;
		density[(size_t)fminl(floorl((log10l(fires / ROWS) + 8) * 2), SAE_DENSITY_BINS - 1)]++;
	}
	ck_assert(alive < F && n_10 < n_1 && n_1 < alive); /* the case has all kinds */
	assert_near(got.frac_alive, alive / F, "frac_alive");
	assert_near(got.freq_over_1_percent, n_1 / F, "freq_over_1_percent");
	assert_near(got.freq_over_10_percent, n_10 / F, "freq_over_10_percent");
	assert_near(got.normalized_freq_over_1_percent, over_1 / all, "normalized_freq_over_1_percent");
	assert_near(got.normalized_freq_over_10_percent, over_10 / all, "normalized_freq_over_10_percent");
	assert_near(got.firing_entropy, entropy / logl(F), "firing_entropy");
	assert_near(got.consistent_activation, consistent / alive, "consistent_activation");
	ck_assert_uint_eq(got.n_below_5, got.n_dead); /* one row in 1,500 is more */
	ck_assert_uint_eq(got.n_below_7, got.n_dead);
	ck_assert_int_eq(memcmp(got.density, density, sizeof(density)), 0);
	sae_metrics_clear(&got);
	end(&s);
}
END_TEST

static int by_number(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

START_TEST(codes_are_measured_by_their_formulas)
{
	long double l1 = 0, hoyer = 0, n = 0;
	size_t l0[ROWS];
	sae_metrics got = { 0 };
	setting s;
	error e = { 0 };

	begin(&s);
	ck_assert_msg(!sae_eval(&got, s.model, s.dump, NULL, s.rows, true, s.pool, NULL, &e), "%s", e.msg);
	for (uint64_t r = 0; r < ROWS; r++) {
		long double sum = 0, squares = 0;

		for (size_t i = s.codes.first[r]; i < s.codes.first[r + 1]; i++) {
			sum += s.codes.value[i];
			squares += (long double)s.codes.value[i] * s.codes.value[i];
		}
		l1 += sum;
		if (squares > 0) {
			hoyer += (sqrtl(F) - sum / sqrtl(squares)) / (sqrtl(F) - 1);
			n++;
		}
		l0[r] = s.codes.first[r + 1] - s.codes.first[r];
	}
	qsort(l0, ROWS, sizeof(*l0), by_number);
	ck_assert_uint_lt(l0[74], l0[749]);
	ck_assert_uint_lt(l0[749], l0[1424]);
	ck_assert_double_eq(got.l0_p5, (double)l0[74]); /* the 75th of 1,500 */
	ck_assert_double_eq(got.l0_median, (double)l0[749]);
	ck_assert_double_eq(got.l0_p95, (double)l0[1424]);
	ck_assert_double_eq(got.l0_max, (double)l0[ROWS - 1]);
	assert_near(got.hoyer, hoyer / n, "hoyer");
	assert_near(got.mean_activation, l1 / s.codes.first[ROWS], "mean_activation");
	ck_assert(isnan(got.max_decoder_cosine) && isnan(got.encoder_norm)); /* sae_eval_dictionary()'s */
	sae_metrics_clear(&got);
	end(&s);
}
END_TEST

static long double product(const float *a, const float *b)
{
	long double sum = 0;

	for (size_t j = 0; j < D; j++)
		sum += (long double)a[j] * b[j];
	return sum;
}

static long double cosine(const float *a, const float *b)
{
	return product(a, b) / sqrtl(product(a, a) * product(b, b));
}

START_TEST(weights_are_measured_by_their_formulas)
{
	long double bias = 0, norm[2] = { 0 }, own = 0, best[2] = { 0 }, coherence = 0;
	sae_model *m = make_model();
	sae_metrics got = { 0 };
	pool *p = NULL;
	error e = { 0 };

	ck_assert_int_eq(pool_new(&p, 2, &e), 0);
	for (size_t f = 0; f < F; f++) {
		const float *enc = m->W_enc + f * D, *dec = m->W_dec + f * D;
		long double largest[2] = { -1, -1 };

		bias += m->b_enc[f];
		norm[0] += sqrtl(product(enc, enc));
		norm[1] += sqrtl(product(dec, dec));
		own += cosine(enc, dec);
		for (size_t g = 0; g < F; g++) {
			if (g == f)
				continue;
			largest[0] = fmaxl(largest[0], cosine(enc, m->W_enc + g * D));
			largest[1] = fmaxl(largest[1], cosine(dec, m->W_dec + g * D));
			if (f != 0 && f != 1) /* that pair has cosine 1 */
				coherence = fmaxl(coherence, fabsl(cosine(dec, m->W_dec + g * D)));
		}
		best[0] += largest[0];
		best[1] += largest[1];
	}
	ck_assert_msg(!sae_eval_dictionary(&got, m, p, &e), "%s", e.msg);
	assert_near(got.encoder_bias, bias / F, "encoder_bias");
	assert_near(got.encoder_norm, norm[0] / F, "encoder_norm");
	assert_near(got.decoder_norm, norm[1] / F, "decoder_norm");
	assert_near(got.encoder_decoder_cosine, own / F, "encoder_decoder_cosine");
	assert_near(got.max_encoder_cosine, best[0] / F, "max_encoder_cosine");
	assert_near(got.max_decoder_cosine, best[1] / F, "max_decoder_cosine");
	assert_near(got.decoder_coherence, 1, "decoder_coherence");
	m->W_dec[D] += 50; /* 0 and 1 differ now: opposites 2 and 3 remain */
	ck_assert_int_eq(sae_eval_dictionary(&got, m, p, &e), 0);
	assert_near(got.decoder_coherence, coherence, "decoder_coherence");
	assert_near((double)coherence, 1, "of opposites");
	pool_free(p);
	sae_model_free(m);
}
END_TEST

START_TEST(one_feature_has_no_other)
{
	sae_model *m = NULL;
	sae_metrics got = { 0 };
	pool *p = NULL;
	error e = { 0 };

	ck_assert_int_eq(pool_new(&p, 1, &e), 0);
	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, 2, 1, 1, &e), 0);
	ck_assert_int_eq(sae_eval_dictionary(&got, m, p, &e), 0);
	ck_assert(isnan(got.max_decoder_cosine) && isnan(got.decoder_coherence));
	ck_assert_double_eq(got.encoder_decoder_cosine, 0); /* zeros have no direction */
	for (long n = 0;; n++) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_eval_dictionary(&got, m, p, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	pool_free(p);
	sae_model_free(m);
}
END_TEST

static long double entropy(long double p)
{
	return p > 0 ? -p * log2l(p) : 0;
}

START_TEST(description_length_is_by_its_formula)
{
	enum { BINS = 4 };
	long double positions = 0, values = 0, error2 = 0, distance2 = 0, mean[D] = { 0 };
	float largest[F] = { 0 };
	size_t counts[F][BINS] = { { 0 } };
	sae_mdl got[2] = { { .bins = BINS }, { .bins = SAE_MDL_MAX_BINS } };
	sae_metrics plain = { 0 };
	setting s;
	error e = { 0 };

	begin(&s);
	ck_assert_msg(!sae_mdl_measure(got, 2, s.model, s.dump, s.rows, s.pool, &e), "%s", e.msg);
	ck_assert_int_eq(sae_eval(&plain, s.model, s.dump, NULL, s.rows, true, s.pool, NULL, &e), 0);
	for (size_t i = 0; i < s.codes.first[ROWS]; i++)
		largest[s.codes.index[i]] = fmaxf(largest[s.codes.index[i]], s.codes.value[i]);
	for (size_t i = 0; i < (size_t)ROWS * D; i++)
		mean[i % D] += (long double)s.x[i] / ROWS;
	for (uint64_t r = 0; r < ROWS; r++) {
		long double hat[D];

		for (size_t j = 0; j < D; j++)
			hat[j] = s.model->b_dec[j];
		for (size_t i = s.codes.first[r]; i < s.codes.first[r + 1]; i++) {
			uint32_t f = s.codes.index[i];
			size_t bin = (size_t)(s.codes.value[i] / largest[f] * BINS);

			bin = bin < BINS ? bin : BINS - 1;
			counts[f][bin]++;
			for (size_t j = 0; j < D; j++)
				hat[j] += ((long double)bin + 0.5L) / BINS * largest[f] *
				          s.model->W_dec[f * D + j];
		}
		for (size_t j = 0; j < D; j++) {
			error2 += (s.x[r * D + j] - hat[j]) * (s.x[r * D + j] - hat[j]);
			distance2 += (s.x[r * D + j] - mean[j]) * (s.x[r * D + j] - mean[j]);
		}
	}
	for (uint32_t f = 0; f < F; f++) {
		uint64_t unused;
		long double fires = firings_of(&s, f, &unused), p = fires / ROWS;

		positions += entropy(p) + entropy(1 - p);
		for (size_t b = 0; b < BINS && fires > 0; b++)
			values += p * entropy(counts[f][b] / fires);
	}
	assert_near(got[0].position_bits, positions, "position_bits");
	assert_near(got[0].value_bits, values, "value_bits");
	assert_near(got[0].bits, positions + values, "bits");
	ck_assert_double_eq_tol(got[0].fvu, (double)(error2 / distance2), 1e-4);
	ck_assert_double_eq_tol(got[1].fvu, plain.fvu, 1e-3); /* so many bins cut nothing off */
	ck_assert_double_gt(got[1].bits, got[0].bits);
	got[0].bins = 0;
	ck_assert_int_eq(sae_mdl_measure(got, 1, s.model, s.dump, s.rows, s.pool, &e), ERR_ARG);
	sae_metrics_clear(&plain);
	end(&s);
}
END_TEST

START_TEST(prefixes_leave_the_other_features_out)
{
	const uint32_t ends[] = { F, F / 2, 1 };
	double got[3];
	sae_metrics plain = { 0 };
	setting s;
	error e = { 0 };

	begin(&s);
	ck_assert_msg(!sae_eval_prefixes(got, ends, 3, s.model, s.dump, s.rows, s.pool, &e), "%s", e.msg);
	for (size_t i = 0; i < 3; i++) { /* the same features fire, the rest of them on nothing */
		if (ends[i] < F)
			memset(s.model->W_dec + ends[i] * D, 0, (F - ends[i]) * D * sizeof(float));
		ck_assert_int_eq(sae_eval(&plain, s.model, s.dump, NULL, s.rows, true, s.pool, NULL, &e), 0);
		ck_assert_double_eq_tol(got[i], plain.fvu, 1e-6 * plain.fvu);
		ck_assert(i == 0 || fabs(got[i] - got[i - 1]) > 1e-3);
		sae_metrics_clear(&plain);
	}
	s.model->transcodes = true;
	ck_assert_int_eq(sae_eval_prefixes(got, ends, 3, s.model, s.dump, s.rows, s.pool, &e), ERR_ARG);
	ck_assert_str_eq(e.msg, "prefixes are of an SAE's features, not of a transcoder's");
	s.model->transcodes = false;
	for (long n = 0;; n++) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_eval_prefixes(got, ends, 3, s.model, s.dump, s.rows, s.pool, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	end(&s);
}
END_TEST

static void cases(Suite *suite)
{
	SUPPORT_CASE(suite, "eval codes", firings_are_counted_by_their_formulas,
	             codes_are_measured_by_their_formulas, weights_are_measured_by_their_formulas,
	             one_feature_has_no_other, description_length_is_by_its_formula,
	             prefixes_leave_the_other_features_out);
}

SUPPORT_MAIN("eval codes", cases)
