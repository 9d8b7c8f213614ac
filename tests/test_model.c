/* SAELens folders: round trip, what is folded, what is refused, faults. */
#include "tests/support.h"

#include <math.h>

#include "sae/sae.h"

enum { D = 5, F = 37, K = 3 };

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

static sae_model *random_model_of(sae_arch arch, uint32_t k)
{
	sae_model *m;

	ck_assert_int_eq(sae_model_new(&m, arch, D, F, k, NULL), 0);
	for (size_t f = 0; m->threshold && f < F; f++)
		m->threshold[f] = f ? 1 + uniform(5, f) : 0;
	for (size_t i = 0; i < F * D; i++) {
		m->W_enc[i] = uniform(1, i);
		m->W_dec[i] = uniform(2, i);
	}
	for (size_t f = 0; f < F; f++)
		m->b_enc[f] = uniform(3, f);
	for (size_t i = 0; i < D; i++)
		m->b_dec[i] = uniform(4, i);
	m->model_name = strdup("a/model");
	m->norm_limit = 123.5;
	return m;
}

static sae_model *random_model(void)
{
	return random_model_of(SAE_TOPK, K);
}

/* A folder with these cfg.json members (JSON) behind the sizes, and the tensors of `m` in SAELens's shapes,
 * the threshold as if it had n_threshold members. */
static void write_folder_of(const char *dir, const sae_model *m, uint64_t n_threshold, const char *config)
{
	float turned[D * F];
	const sae_tensor_out tensors[] = { { "W_enc", SAE_F32, 2, { D, F }, turned },
		                           { "W_dec", SAE_F32, 2, { F, D }, m->W_dec },
		                           { "b_enc", SAE_F32, 1, { F }, m->b_enc },
		                           { "b_dec", SAE_F32, 1, { D }, m->b_dec },
		                           { "threshold", SAE_F32, 1, { n_threshold }, m->threshold } };
	char config_text[512];
	error err = { 0 };

	for (size_t f = 0; f < F; f++)
		for (size_t i = 0; i < D; i++)
			turned[i * F + f] = m->W_enc[f * D + i];
	ck_assert_int_eq(sae_safetensors_write(support_path(dir, "sae_weights.safetensors"), tensors,
	                                       n_threshold ? 5 : 4, NULL, 0, &err),
	                 0);
	snprintf(config_text, sizeof(config_text), "{\"d_in\":%d,\"d_sae\":%d,\"k\":%d%s}", D, F, K, config);
	support_put_text(support_path(dir, "cfg.json"), config_text);
}

static void write_folder(const char *dir, const sae_model *m, const char *config)
{
	write_folder_of(dir, m, 0, config);
}

static void expect_refusal(const char *dir, int code, const char *part)
{
	sae_model *m = NULL;
	error err = { 0 };

	ck_assert_int_eq(sae_model_load(&m, dir, &err), code);
	ck_assert_msg(strstr(err.msg, part) != NULL, "'%s' lacks '%s'", err.msg, part);
	ck_assert_ptr_null(m);
}

START_TEST(saved_is_loaded)
{
	sae_model *m = random_model(), *back = NULL;
	double freq[F] = { 0.5 };
	char dir[FILE_PATH_MAX];
	const sae_tensor *t;
	sae_file *file;
	float sparsity[F];
	cJSON *metadata = cJSON_Parse("{\"context_size\":256,\"gloss\":{\"version\":\"x\"}}"), *json;
	error err = { 0 };

	support_mkdir(dir);
	ck_assert_msg(sae_model_save(m, support_path(dir, "new/sae"), freq, metadata, &err) == 0, "%s",
	              err.msg);
	ck_assert_msg(sae_model_load_hashed(&back, support_path(dir, "new/sae"), &err) == 0, "%s", err.msg);
	ck_assert_mem_eq(back->W_enc, m->W_enc, F * D * sizeof(float));
	ck_assert_mem_eq(back->W_dec, m->W_dec, F * D * sizeof(float));
	ck_assert_mem_eq(back->b_enc, m->b_enc, F * sizeof(float));
	ck_assert_mem_eq(back->b_dec, m->b_dec, D * sizeof(float));
	ck_assert_uint_eq(back->k, K);
	ck_assert_double_eq(back->norm_limit, 123.5);
	ck_assert_str_eq(back->model_name, "a/model");
	ck_assert_ptr_null(back->hook_name);
	ck_assert_uint_eq(strlen(back->weights_sha256), 64);
	ck_assert_int_eq(json_read_file(&json, support_path(dir, "new/sae/cfg.json"), 10000, &err), 0);
	ck_assert_str_eq(cJSON_GetObjectItem(json, "architecture")->valuestring, "topk");
	ck_assert_int_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "metadata"), "context_size")->valueint,
	                 256);
	cJSON_Delete(json);
	ck_assert_int_eq(sae_file_open(&file, support_path(dir, "new/sae/sparsity.safetensors"), &err), 0);
	t = sae_file_tensor(file, "sparsity");
	ck_assert_int_eq(sae_file_read_f32(file, t, 0, F, sparsity, &err), 0);
	ck_assert_double_le(fabs(sparsity[0] - log10(0.5)), 1e-6);
	ck_assert_double_le(fabs(sparsity[1] + 10), 1e-6);
	sae_file_close(file);
	cJSON_Delete(metadata);
	sae_model_free(back);
	sae_model_free(m);
	support_rmdir(dir);
}
END_TEST

/* Matrices that several threads read, in pieces of which the last are smaller, and a bad number in the last. */
START_TEST(pieces_make_the_whole)
{
	enum { WIDE = 40003, DEEP = 77 };
	const size_t n = (size_t)WIDE * DEEP;
	sae_model *m, *back = NULL;
	char dir[FILE_PATH_MAX], hash[SHA256_HEX];
	error err = { 0 };

	support_mkdir(dir);
	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, DEEP, WIDE, 1, &err), 0);
	for (size_t i = 0; i < n; i++) {
		m->W_enc[i] = uniform(1, i);
		m->W_dec[i] = uniform(2, i);
	}
	ck_assert_int_eq(sae_model_save(m, dir, NULL, NULL, &err), 0);
	ck_assert_int_eq(sae_model_load(&back, dir, &err), 0);
	ck_assert_str_eq(back->weights_sha256, "");
	ck_assert_int_eq(memcmp(back->W_enc, m->W_enc, n * sizeof(float)), 0);
	ck_assert_int_eq(memcmp(back->W_dec, m->W_dec, n * sizeof(float)), 0);
	sae_model_free(back);
	ck_assert_int_eq(sae_model_load_hashed(&back, dir, &err), 0);
	ck_assert_int_eq(sha256_file(hash, support_path(dir, "sae_weights.safetensors"), &err), 0);
	ck_assert_str_eq(back->weights_sha256, hash);
	ck_assert_int_eq(memcmp(back->W_enc, m->W_enc, n * sizeof(float)), 0);
	sae_model_free(back);
	m->W_enc[n - 1] = NAN;
	ck_assert_int_eq(sae_model_save(m, dir, NULL, NULL, &err), 0);
	expect_refusal(dir, ERR_FORMAT, "W_enc holds a NaN");
	m->W_enc[n - 1] = 0;
	m->W_dec[n - 1] = -INFINITY;
	ck_assert_int_eq(sae_model_save(m, dir, NULL, NULL, &err), 0);
	expect_refusal(dir, ERR_FORMAT, "W_dec holds a NaN or infinity");
	sae_model_free(m);
	support_rmdir(dir);
}
END_TEST

static sae_model *save_and_load(const char *dir, const sae_model *m, const char *metadata, cJSON **config)
{
	sae_model *back = NULL;
	cJSON *json = cJSON_Parse(metadata);
	error err = { 0 };

	ck_assert_msg(sae_model_save(m, dir, NULL, json, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_model_load(&back, dir, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(json_read_file(config, support_path(dir, "cfg.json"), 10000, &err), 0);
	ck_assert_int_eq(back->arch, m->arch);
	ck_assert_uint_eq(back->k, m->k);
	ck_assert_mem_eq(back->W_enc, m->W_enc, F * D * sizeof(float));
	ck_assert_mem_eq(back->b_enc, m->b_enc, F * sizeof(float));
	cJSON_Delete(json);
	return back;
}

/* What BatchTopK trained is a JumpReLU on disk, with the keys that SAELens has for one. */
START_TEST(jumprelu_is_saved_and_loaded)
{
	sae_model *m = random_model_of(SAE_BATCHTOPK, K), *back;
	char dir[FILE_PATH_MAX];
	cJSON *json, *metadata;

	support_mkdir(dir);
	ck_assert_int_eq(m->arch, SAE_JUMPRELU);
	back = save_and_load(dir, m, "{\"training_architecture\":\"batchtopk\",\"gloss\":{\"k\":99}}", &json);
	ck_assert_mem_eq(back->threshold, m->threshold, F * sizeof(float));
	ck_assert_str_eq(cJSON_GetObjectItem(json, "architecture")->valuestring, "jumprelu");
	ck_assert(!cJSON_HasObjectItem(json, "k"));
	ck_assert(!cJSON_HasObjectItem(json, "rescale_acts_by_decoder_norm"));
	ck_assert(cJSON_IsTrue(cJSON_GetObjectItem(json, "apply_b_dec_to_input")));
	metadata = cJSON_GetObjectItem(json, "metadata");
	ck_assert_str_eq(cJSON_GetObjectItem(metadata, "training_architecture")->valuestring, "batchtopk");
	ck_assert_int_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(metadata, "gloss"), "k")->valueint, K);
	cJSON_Delete(json);
	sae_model_free(back);

	m->k = 0; /* not known */
	back = save_and_load(dir, m, "{}", &json);
	cJSON_Delete(json);
	sae_model_free(back);
	sae_model_free(m);
	support_rmdir(dir);
}
END_TEST

START_TEST(groupmax_is_saved_and_loaded)
{
	sae_model *m = random_model_of(SAE_GROUPMAX, F), *back;
	char dir[FILE_PATH_MAX];
	error err = { 0 };
	cJSON *json;

	support_mkdir(dir);
	back = save_and_load(dir, m, "{}", &json);
	ck_assert_ptr_null(back->threshold);
	ck_assert_str_eq(cJSON_GetObjectItem(json, "architecture")->valuestring, "gloss_groupmax");
	ck_assert_int_eq(cJSON_GetObjectItem(json, "k")->valueint, F);
	cJSON_Delete(json);
	sae_model_free(back);
	sae_model_free(m);

	m = NULL;
	ck_assert_int_eq(sae_model_new(&m, SAE_GROUPMAX, D, F, K, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "groupmax: 37 features are no multiple of k = 3 groups");
	ck_assert_int_eq(sae_model_new(&m, SAE_GROUPMAX, D, F, 0, &err), ERR_ARG);
	ck_assert_ptr_null(m);
	support_rmdir(dir);
}
END_TEST

START_TEST(bad_thresholds_and_groups_are_refused)
{
	const char *const jumprelu = ",\"architecture\":\"jumprelu\"";
	sae_model *m = random_model_of(SAE_JUMPRELU, 0);
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	write_folder(dir, m, jumprelu);
	expect_refusal(dir, ERR_FORMAT, "has no tensor 'threshold'");
	write_folder_of(dir, m, F - 1, jumprelu);
	expect_refusal(dir, ERR_FORMAT, "tensor 'threshold' has shape (36), cfg.json says (37)");
	m->threshold[5] = NAN;
	write_folder_of(dir, m, F, jumprelu);
	expect_refusal(dir, ERR_FORMAT, "threshold holds a NaN");
	m->threshold[5] = INFINITY;
	write_folder_of(dir, m, F, jumprelu);
	expect_refusal(dir, ERR_FORMAT, "threshold holds a NaN or infinity");
	m->threshold[5] = 0;
	write_folder_of(dir, m, F, ",\"architecture\":\"jumprelu\",\"rescale_acts_by_decoder_norm\":true");
	expect_refusal(dir, ERR_FORMAT,
	               "rescale_acts_by_decoder_norm does not go with architecture 'jumprelu'");
	write_folder_of(dir, m, F, ",\"architecture\":\"jumprelu\",\"metadata\":{\"gloss\":{\"k\":38}}");
	expect_refusal(dir, ERR_FORMAT, "k 38 is over d_sae = 37");
	write_folder(dir, m, ",\"architecture\":\"gloss_groupmax\"");
	expect_refusal(dir, ERR_FORMAT, "d_sae 37 is no multiple of k = 3 groups");
	support_rmdir(dir);
	sae_model_free(m);
}
END_TEST

START_TEST(decoder_norms_and_input_bias_are_folded)
{
	sae_model *m = random_model(), *back = NULL;
	char dir[FILE_PATH_MAX];
	error err = { 0 };

	support_mkdir(dir);
	write_folder(dir, m,
	             ",\"architecture\":\"topk\",\"rescale_acts_by_decoder_norm\":true,\"apply_b_dec_to_"
	             "input\":false");
	ck_assert_msg(sae_model_load(&back, dir, &err) == 0, "%s", err.msg);
	ck_assert(isinf(back->norm_limit) && !back->centers);
	for (size_t f = 0; f < F; f++) {
		double norm = 0, through = 0, pre = 0, want = 0;

		for (size_t i = 0; i < D; i++)
			norm += (double)m->W_dec[f * D + i] * m->W_dec[f * D + i];
		norm = sqrt(norm);
		for (size_t i = 0; i < D; i++) {
			double x = uniform(9, i);

			want += x * m->W_enc[f * D + i];
			pre += x * back->W_enc[f * D + i];
			through += (double)back->W_dec[f * D + i] * back->W_dec[f * D + i];
		}
		ck_assert_double_le(fabs((want + m->b_enc[f]) * norm - (pre + back->b_enc[f])), 1e-5);
		ck_assert_double_le(fabs(through - 1), 1e-5);
	}
	sae_model_free(back);
	sae_model_free(m);
	support_rmdir(dir);
}
END_TEST

START_TEST(what_cannot_be_computed_is_refused)
{
	sae_model *m = random_model();
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	expect_refusal(dir, ERR_FORMAT,
	               "holds no SAE: none of sae_weights.safetensors, sae.safetensors, params.npz");
	expect_refusal(support_path(dir, "nowhere"), ERR_IO, "nowhere': No such file");
	write_folder(dir, m, ",\"metadata\":{}");
	expect_refusal(dir, ERR_FORMAT, "has no architecture");
	write_folder(dir, m, ",\"architecture\":\"temporal\"");
	expect_refusal(dir, ERR_FORMAT,
	               "/cfg.json': architecture 'temporal' is not supported; standard, topk, abstopk, "
	               "jumprelu, gated, ");
	write_folder(dir, m, ",\"activation_fn_str\":\"tanh-relu\"");
	expect_refusal(dir, ERR_FORMAT, "activation_fn 'tanh-relu' is not supported");
	write_folder(dir, m, ",\"architecture\":\"topk\",\"normalize_activations\":\"covariance_whitening\"");
	expect_refusal(dir, ERR_FORMAT, "'covariance_whitening'");
	write_folder(dir, m,
	             ",\"architecture\":\"topk\",\"normalize_activations\":\"expected_average_only_in\"");
	expect_refusal(dir, ERR_FORMAT, "to 'activation_scaler.json'");
	write_folder(dir, m, ",\"architecture\":\"topk\",\"reshape_activations\":\"hook_q\"");
	expect_refusal(dir, ERR_FORMAT, "'hook_q'");
	write_folder(dir, m, ",\"architecture\":7");
	expect_refusal(dir, ERR_FORMAT, "architecture");
	write_folder(dir, m, ",\"architecture\":\"topk\",\"metadata\":{\"gloss\":{\"norm_limit\":-1}}");
	expect_refusal(dir, ERR_FORMAT, "norm_limit");
	support_put_text(support_path(dir, "cfg.json"),
	                 "{\"architecture\":\"topk\",\"d_in\":5,\"d_sae\":37,\"k\":38}");
	expect_refusal(dir, ERR_FORMAT, "k 38 is not in 1..d_sae = 37");
	support_put_text(support_path(dir, "cfg.json"),
	                 "{\"architecture\":\"topk\",\"d_in\":37,\"d_sae\":5,\"k\":3}");
	expect_refusal(dir, ERR_FORMAT, "'W_dec' has shape (37, 5), cfg.json says (5, 37)");
	support_put_text(support_path(dir, "cfg.json"),
	                 "{\"architecture\":\"topk\",\"d_in\":60000000,\"d_sae\":60000000,\"k\":3}");
	expect_refusal(dir, ERR_FORMAT, "W_dec"); /* before that much memory is asked for */
	support_put_text(support_path(dir, "cfg.json"), "{\"architecture\":");
	expect_refusal(dir, ERR_FORMAT, "cfg.json");
	support_rmdir(dir);
	sae_model_free(m);
}
END_TEST

START_TEST(weights_that_are_not_finite_or_not_there_are_refused)
{
	sae_model *m = random_model();
	float b = 1;
	const sae_tensor_out only = { "W_dec", SAE_F32, 1, { 1 }, &b };
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	m->W_enc[7] = NAN;
	write_folder(dir, m, ",\"architecture\":\"topk\"");
	expect_refusal(dir, ERR_FORMAT, "W_enc holds a NaN");
	ck_assert_int_eq(
	        sae_safetensors_write(support_path(dir, "sae_weights.safetensors"), &only, 1, NULL, 0, NULL),
	        0);
	expect_refusal(dir, ERR_FORMAT, "'W_dec' has shape (1)");
	support_put_text(support_path(dir, "sae_weights.safetensors"), "not a tensor file");
	expect_refusal(dir, ERR_FORMAT, "sae_weights.safetensors");
	support_rmdir(dir);
	sae_model_free(m);
}
END_TEST

static void each_fault_of_loading(fault_kind kind, const char *dir)
{
	for (long n = 0;; n++) {
		sae_model *m = NULL;
		error err = { 0 };
		int rc;

		fault_arm(kind, n);
		rc = sae_model_load(&m, dir, &err);
		if (!fault_disarm(kind)) {
			ck_assert_int_eq(rc, 0);
			sae_model_free(m);
			return;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert_ptr_null(m);
		ck_assert_str_ne(err.msg, "");
	}
}

START_TEST(each_fault_of_loading_is_reported)
{
	sae_model *m = random_model_of(SAE_JUMPRELU, K);
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	ck_assert_int_eq(sae_model_save(m, dir, NULL, NULL, NULL), 0);
	each_fault_of_loading(FAULT_ALLOC, dir);
	each_fault_of_loading(FAULT_READ, dir);
	support_rmdir(dir);
	sae_model_free(m);
}
END_TEST

/* Whatever fails while saving, a folder that held a model still loads, with the old weights or the new. */
START_TEST(each_fault_of_saving_keeps_a_whole_model)
{
	const fault_kind kinds[] = { FAULT_ALLOC, FAULT_WRITE, FAULT_SYNC };
	sae_model *m = random_model_of(SAE_JUMPRELU, K);
	double freq[F] = { 0 };
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	ck_assert_int_eq(sae_model_save(m, dir, freq, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_model *back = NULL;
			error err = { 0 };
			int rc;
			bool struck;

			fault_arm(kinds[i], n);
			rc = sae_model_save(m, dir, freq, NULL, &err);
			struck = fault_disarm(kinds[i]);
			ck_assert_int_eq(sae_model_load(&back, dir, &err), 0);
			sae_model_free(back);
			if (!struck) {
				ck_assert_int_eq(rc, 0);
				break;
			}
			ck_assert_int_lt(rc, 0);
		}
	support_rmdir(dir);
	sae_model_free(m);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "folder", saved_is_loaded, pieces_make_the_whole, jumprelu_is_saved_and_loaded,
	             groupmax_is_saved_and_loaded, bad_thresholds_and_groups_are_refused,
	             decoder_norms_and_input_bias_are_folded, what_cannot_be_computed_is_refused,
	             weights_that_are_not_finite_or_not_there_are_refused);
	SUPPORT_CASE(s, "faults", each_fault_of_loading_is_reported,
	             each_fault_of_saving_keeps_a_whole_model);
}
SUPPORT_MAIN("model", cases)
