/* Codebooks as models: encoded and decoded as they were trained, saved and loaded, refused where they do not fit. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>

#include "sae/codebook.h"

enum { D = 24, CODES = 30, K = 2, N = 700 };

static pool *threads;
static error e;
static float x[N * D];

static void setup(void)
{
	ck_assert_int_eq(pool_new(&threads, 2, &e), 0);
	for (size_t i = 0; i < N * D; i++)
		x[i] = (float)(hash64_unit(hash64_mix(1, i)) - hash64_unit(hash64_mix(2, i)));
}

static void teardown(void)
{
	pool_free(threads);
}

/* groups 1 or 3; by bits: distance, mean. */
static codebook *make(int kind)
{
	const codebook_config c = { .d = D,
		                    .n_codes = CODES,
		                    .groups = kind & 4 ? 3 : 1,
		                    .k = K,
		                    .batch = N,
		                    .euclidean = kind & 1,
		                    .mean = kind & 2,
		                    .moving = true,
		                    .decay = 0.9,
		                    .dead_tokens = 1,
		                    .k_set = kernels_get(NULL) };
	codebook *b = NULL;

	ck_assert_int_eq(codebook_new(&b, &c, threads, &e), 0);
	ck_assert_int_eq(codebook_start_kmeans(b, x, N, &e), 0);
	return b;
}

static sae_model *model_of(const codebook *b)
{
	size_t part = D / b->c.groups, n = CODES / b->c.groups;
	sae_model *m = NULL;

	ck_assert_int_eq(sae_model_new(&m, SAE_CODEBOOK, D, CODES, K, &e), 0);
	m->codebook = (sae_codebook){ b->c.groups, b->c.euclidean, b->c.mean };
	m->centers = false;
	for (size_t f = 0; f < CODES; f++)
		memcpy(m->W_dec + f * D + f / n * part, b->codes + f * part, part * sizeof(float));
	sae_model_set_codes(m);
	return m;
}

static sae_codes encode(const sae_model *m)
{
	sae_codes codes = { 0 };
	sae_encoder *encoder = NULL;

	ck_assert_int_eq(sae_encoder_new(&encoder, m, threads, NULL, &e), 0);
	ck_assert_int_eq(sae_encode(encoder, x, N, &codes, &e), 0);
	sae_encoder_free(encoder);
	return codes;
}

START_TEST(encodes_as_it_trains)
{
	codebook *b = make(_i);
	sae_model *m = model_of(b);
	sae_codes codes = encode(m);
	static float out[N * D];
	size_t part = D / b->c.groups;
	step_result r;

	codebook_run(b, x, N, 1, 0, K, &r);
	sae_decode(m, x, &codes, out, threads);
	for (size_t t = 0; t < N; t++) {
		size_t n = codes.first[t + 1] - codes.first[t];

		ck_assert_uint_eq(n, b->list.count[t]);
		for (size_t j = 0; j < n; j++) {
			ck_assert_uint_eq(codes.index[codes.first[t] + j],
			                  b->list.index[b->list.begin[t] + j]);
			ck_assert_float_gt(codes.value[codes.first[t] + j], 0);
		}
		for (size_t i = 0; i < D; i++) {
			size_t at = (i / part * N + t) * part + i % part;

			ck_assert_float_eq_tol(out[t * D + i], b->x[at] - b->e[at], 1e-5f);
		}
	}
	sae_codes_free(&codes);
	sae_model_free(m);
	codebook_free(b);
}
END_TEST

START_TEST(is_saved_and_loaded)
{
	codebook *b = make(_i);
	sae_model *m = model_of(b), *again = NULL;
	sae_model_facts facts;
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	ck_assert_msg(sae_model_save(m, dir, NULL, NULL, &e) == 0, "%s", e.msg);
	ck_assert_msg(sae_model_load(&again, dir, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(again->arch, SAE_CODEBOOK);
	ck_assert_uint_eq(again->k, K);
	ck_assert_uint_eq(again->codebook.groups, b->c.groups);
	ck_assert_int_eq(again->codebook.euclidean, b->c.euclidean);
	ck_assert_int_eq(again->codebook.mean, b->c.mean);
	ck_assert_int_eq(memcmp(again->W_dec, m->W_dec, sizeof(float) * CODES * D), 0);
	ck_assert_int_eq(memcmp(again->W_enc, m->W_enc, sizeof(float) * CODES * D), 0);
	ck_assert_int_eq(memcmp(again->b_enc, m->b_enc, sizeof(float) * CODES), 0);
	ck_assert_int_eq(sae_model_look(&facts, dir, &e), 0);
	ck_assert_str_eq(facts.architecture, "gloss_codebook");
	ck_assert_uint_eq(facts.codebook.groups, b->c.groups);
	for (size_t i = 0; i < 8; i++) {
		static const char *const formats[] = { "saelens",     "saelens-gated", "sparsify",
			                               "gemma-scope", "gemma-scope-2", "dictionary-learning",
			                               "openmoss",    "gloss" };
		int rc = sae_model_export(m, formats[i], support_path(dir, "out"), true, &e);

		ck_assert_int_eq(rc, i < 7 ? ERR_ARG : 0);
		if (i < 7)
			ck_assert_ptr_nonnull(strstr(e.msg, "cannot hold this SAE (codebook)"));
	}
	sae_model_free(again);
	sae_model_free(m);
	codebook_free(b);
	support_rmdir(dir);
}
END_TEST

/* Layer norm of each part, undone behind the decoder. */
START_TEST(normalises_each_part)
{
	codebook *b = make(_i);
	sae_model *m = model_of(b);
	size_t part = D / b->c.groups;
	static float out[N * D];
	sae_codes codes;

	m->norm = SAE_NORM_LAYER;
	memset(m->W_dec, 0, sizeof(float) * CODES * D); /* so that means are what comes out */
	codes = encode(m);
	sae_decode(m, x, &codes, out, threads);
	for (size_t t = 0; t < N; t++)
		for (size_t i = 0; i < D; i++) {
			double mean = 0;

			for (size_t j = i / part * part; j < (i / part + 1) * part; j++)
				mean += (double)x[t * D + j] / (double)part;
			ck_assert_double_eq_tol((double)out[t * D + i], mean, 1e-6);
		}
	sae_codes_free(&codes);
	sae_model_free(m);
	codebook_free(b);
}
END_TEST

static const struct {
	const char *config, *cause;
} bad[] = {
	{ "\"k\":2,\"groups\":5,\"similarity\":\"cosine\",\"combine\":\"sum\"",
	  "d_in 24 and d_sae 30 are no multiples of groups = 5" },
	{ "\"k\":2,\"groups\":0,\"similarity\":\"cosine\",\"combine\":\"sum\"", "groups = 0" },
	{ "\"k\":11,\"groups\":3,\"similarity\":\"cosine\",\"combine\":\"sum\"",
	  "k 11 is not in 1..d_sae / groups = 10" },
	{ "\"k\":2,\"groups\":3,\"similarity\":\"dot\",\"combine\":\"sum\"",
	  "similarity 'dot' is not supported, only 'cosine' and 'euclidean'" },
	{ "\"k\":2,\"groups\":3,\"similarity\":\"cosine\"", "has no combine" },
	{ "\"k\":2,\"groups\":1,\"similarity\":\"cosine\",\"combine\":\"sum\"",
	  "tensor 'codes' has shape (30, 8), cfg.json says (30, 24)" },
};

START_TEST(refuses_what_does_not_fit)
{
	codebook *b = make(4);
	sae_model *m = model_of(b), *again = NULL;
	char dir[FILE_PATH_MAX], config[512];

	support_mkdir(dir);
	ck_assert_int_eq(sae_model_save(m, dir, NULL, NULL, &e), 0);
	snprintf(config, sizeof(config),
	         "{\"architecture\":\"gloss_codebook\",\"d_in\":24,\"d_sae\":30,%s,"
	         "\"normalize_activations\":\"none\",\"metadata\":{}}",
	         bad[_i].config);
	support_put_text(support_path(dir, "cfg.json"), config);
	ck_assert_int_eq(sae_model_load(&again, dir, &e), ERR_FORMAT);
	ck_assert_msg(strstr(e.msg, bad[_i].cause), "%s", e.msg);
	ck_assert_ptr_null(again);
	sae_model_free(m);
	codebook_free(b);
	support_rmdir(dir);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = tcase_create("model");

	tcase_add_loop_test(t, encodes_as_it_trains, 0, 8);
	tcase_add_loop_test(t, is_saved_and_loaded, 0, 8);
	tcase_add_loop_test(t, normalises_each_part, 0, 8);
	tcase_add_loop_test(t, refuses_what_does_not_fit, 0, (int)ARRAY_LEN(bad));
	tcase_add_checked_fixture(t, setup, teardown);
	suite_add_tcase(s, t);
}

SUPPORT_MAIN("codebook_model", cases)
