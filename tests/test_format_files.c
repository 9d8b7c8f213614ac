/* The formats of the other tools, as test_formats.c has SAELens's, read and written. */
#include "tests/support.h"
#include "tests/support_formats.h"

#include <math.h>

#include "sae/sae.h"
#include "sae/zip_write.h"

/* ---- Other formats ------------------------------------------------------------------------------------------------ */

/* nn.Linear keeps (F, d); where d == F no shape could tell. */
static void write_sparsify(const char *dir, const made *m, sae_dtype t, const char *more)
{
	float turned[MADE_F * MADE_D];
	tensors all = { .dtype = t };
	char config[256];

	for (size_t f = 0; f < m->f; f++)
		for (size_t i = 0; i < m->d; i++)
			turned[f * m->d + i] = m->W_enc[i * m->f + f];
	tensors_add(&all, "encoder.weight", turned, m->f, m->d);
	tensors_add(&all, "encoder.bias", m->b_enc, m->f, 0);
	tensors_add(&all, "W_dec", m->W_dec, m->f, m->out);
	tensors_add(&all, "b_dec", m->b_dec, m->out, 0);
	if (made_is(m, "skip"))
		tensors_add(&all, "W_skip", m->W_skip, m->out, m->d);
	tensors_write(&all, support_path(dir, "sae.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"activation\":\"%s\",\"k\":%zu,\"d_in\":%zu,\"num_latents\":0,\"expansion_factor\":32,"
	         "\"normalize_decoder\":true,\"multi_topk\":false%s}",
	         made_is(m, "groupmax") ? "groupmax" : "topk", m->k, m->d, more);
	support_put_text(support_path(dir, "cfg.json"), config);
}

START_TEST(sparsify_is_read_and_written)
{
	static const struct {
		const char *name, *more;
	} kinds[] = { { "topk", "" },
		      { "groupmax", "" },
		      { "topk skip", ",\"skip_connection\":true" },
		      { "topk transcoder", ",\"transcode\":true" },
		      { "topk skip transcoder", ",\"transcode\":true,\"skip_connection\":true" } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char dir[FILE_PATH_MAX];
		made m;

		if (made_shapes[_i].f % made_shapes[_i].k && i == 1)
			continue;
		made_make(&m, kinds[i].name, made_shapes[_i].d, made_shapes[_i].d, made_shapes[_i].f,
		          made_shapes[_i].k, made_shapes[_i].t);
		m.centers = !made_is(&m, "transcoder");
		support_mkdir(dir);
		write_sparsify(dir, &m, made_shapes[_i].t, kinds[i].more);
		made_check_export(&m, dir, dir, "sparsify");
		support_rmdir(dir);
	}
}
END_TEST

static void write_gemma_scope_2(const char *dir, const made *m, sae_dtype t)
{
	float turned[MADE_D * MADE_D];
	tensors all = { .dtype = t };
	char config[256];

	for (size_t i = 0; i < m->out; i++)
		for (size_t j = 0; j < m->d; j++)
			turned[j * m->out + i] = m->W_skip[i * m->d + j];
	tensors_add(&all, "w_enc", m->W_enc, m->d, m->f);
	tensors_add(&all, "w_dec", m->W_dec, m->f, m->out);
	tensors_add(&all, "b_enc", m->b_enc, m->f, 0);
	tensors_add(&all, "b_dec", m->b_dec, m->out, 0);
	tensors_add(&all, "threshold", m->threshold, m->f, 0);
	if (made_is(m, "skip"))
		tensors_add(&all, "affine_skip_connection", turned, m->d, m->out);
	tensors_write(&all, support_path(dir, "params.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"architecture\":\"jump_relu\",\"hf_hook_point_in\":\"a\",\"hf_hook_point_out\":\"%s\","
	         "\"affine_connection\":%s}",
	         made_is(m, "transcoder") ? "b" : "a", made_is(m, "skip") ? "true" : "false");
	support_put_text(support_path(dir, "config.json"), config);
}

START_TEST(gemma_scope_2_is_read_and_written)
{
	const char *const names[] = { "jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t d = made_shapes[_i].d;
		char dir[FILE_PATH_MAX];
		made m;

		made_make(&m, names[i], d, i && d != 6 ? 7 : d, made_shapes[_i].f, 0, made_shapes[_i].t);
		m.centers = false;
		support_mkdir(dir);
		write_gemma_scope_2(dir, &m, made_shapes[_i].t);
		made_check_export(&m, dir, dir, "gemma-scope-2");
		support_rmdir(dir);
	}
}
END_TEST

START_TEST(gemma_scope_is_read_and_written)
{
	/* the second has lower-case names, the third is of embeddings */
	for (int kind = 0; kind < 3; kind++) {
		char dir[FILE_PATH_MAX], folder[FILE_PATH_MAX];
		float scaled[MADE_D * MADE_F], scaled_dec[MADE_F * MADE_D], root = 1;
		tensors all = { .dtype = SAE_F32 };
		error err = { 0 };
		made m;

		made_make(&m, "jumprelu", made_shapes[_i].d, made_shapes[_i].d, made_shapes[_i].f, 0,
		          SAE_F32);
		m.centers = false;
		if (kind == 2)
			root = sqrtf((float)m.d);
		for (size_t i = 0; i < m.d * m.f; i++) {
			scaled[i] = m.W_enc[i] * root;
			scaled_dec[i] = m.W_dec[i] / root;
		}
		tensors_add(&all, kind == 1 ? "w_enc" : "W_enc", scaled, m.d, m.f);
		tensors_add(&all, kind == 1 ? "w_dec" : "W_dec", scaled_dec, m.f, m.d);
		tensors_add(&all, "b_enc", m.b_enc, m.f, 0);
		tensors_add(&all, "b_dec", m.b_dec, m.d, 0);
		tensors_add(&all, "threshold", m.threshold, m.f, 0);
		support_mkdir(dir);
		ck_assert_int_eq(file_join(folder, dir, kind == 2 ? "embedding" : "layer_5", NULL), 0);
		ck_assert_int_eq(file_mkdir(folder, NULL), 0);
		ck_assert_msg(npz_write(support_path(folder, "params.npz"), all.t, all.n, &err) == 0, "%s",
		              err.msg);
		made_check_export(&m, folder, folder, kind == 2 ? "saelens" : "gemma-scope");
		support_rmdir(dir);
	}
}
END_TEST

/* A class without nn.Linear keeps its matrices the other way round. */
static void write_dictionary_learning(const char *dir, const made *m, const char *name, bool linear)
{
	static const int32_t k = 3;
	static const float batch_threshold = 0.25f;
	float enc[MADE_D * MADE_F], dec[MADE_D * MADE_F];
	bool gated = made_is(m, "gated"), plain = made_is(m, "standard");
	tensors all = { .dtype = SAE_F32 };
	char config[256];
	error err = { 0 };

	if (linear) {
		tensors_add(&all, "encoder.weight", made_turn(enc, m->W_enc, m->d, m->f), m->f, m->d);
		tensors_add(&all, "decoder.weight", made_turn(dec, m->W_dec, m->f, m->d), m->d, m->f);
	} else {
		tensors_add(&all, "W_enc", m->W_enc, m->d, m->f);
		tensors_add(&all, "W_dec", m->W_dec, m->f, m->d);
	}
	tensors_add(&all, gated ? "mag_bias" : linear ? "encoder.bias" : "b_enc", m->b_enc, m->f, 0);
	tensors_add(&all,
	            gated        ? "decoder_bias"
	            : !plain     ? "b_dec"
	            : m->centers ? "bias"
	                         : "decoder.bias",
	            m->b_dec, m->d, 0);
	tensors_add(&all, "gate_bias", m->b_gate, m->f, 0);
	tensors_add(&all, "r_mag", m->r_mag, m->f, 0);
	if (made_is(m, "jumprelu"))
		tensors_add(&all, "threshold", m->threshold, m->f, 0);
	else
		all.t[all.n++] = (sae_tensor_out){ "threshold", SAE_F32, 0, { 0 }, &batch_threshold };
	all.t[all.n++] = (sae_tensor_out){ "k", SAE_I32, 0, { 0 }, &k };
	ck_assert_msg(torch_write(support_path(dir, "ae.pt"), all.t, all.n, &err) == 0, "%s", err.msg);
	snprintf(config, sizeof(config),
	         "{\"trainer\":{\"dict_class\":\"%s\",\"activation_dim\":%zu,\"dict_size\":%zu,\"k\":%zu},"
	         "\"buffer\":{}}",
	         name, m->d, m->f, m->k);
	support_put_text(support_path(dir, "config.json"), config);
}

START_TEST(dictionary_learning_is_read_and_written)
{
	static const struct {
		const char *name, *as;
		bool linear, centers, rescales;
	} classes[] = { { "AutoEncoder", "standard", true, true, true },
		        { "AutoEncoderNew", "standard", true, false, false },
		        { "GatedAutoEncoder", "gated", true, true, false },
		        { "AutoEncoderTopK", "topk", true, true, false },
		        { "BatchTopKSAE", "batchtopk", true, true, false },
		        { "MatryoshkaBatchTopKSAE", "batchtopk", false, true, false },
		        { "JumpReluAutoEncoder", "jumprelu", false, false, false } };

	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		char dir[FILE_PATH_MAX];
		made m;

		made_make(&m, classes[i].as, made_shapes[_i].d, made_shapes[_i].d, made_shapes[_i].f,
		          made_shapes[_i].k, SAE_F32);
		m.centers = classes[i].centers;
		m.rescales = classes[i].rescales;
		support_mkdir(dir);
		write_dictionary_learning(dir, &m, classes[i].name, classes[i].linear);
		made_check_export(&m, dir, dir, "dictionary-learning");
		support_rmdir(dir);
	}
}
END_TEST

START_TEST(openai_is_read)
{
	const int64_t k = (int64_t)made_shapes[_i].k;
	float enc[MADE_D * MADE_F], dec[MADE_D * MADE_F];

	for (int kind = 0; kind < 3; kind++) { /* TopK, ReLU, ReLU with one matrix */
		tensors all = { .dtype = SAE_F32 };
		char dir[FILE_PATH_MAX], path[FILE_PATH_MAX];
		sae_model *model;
		error err = { 0 };
		made m;

		made_make(&m, kind ? "standard" : "topk", made_shapes[_i].d, made_shapes[_i].d,
		          made_shapes[_i].f, made_shapes[_i].k, SAE_F32);
		m.norm = kind ? SAE_NORM_NONE : SAE_NORM_LAYER;
		if (kind == 2)
			made_turn(m.W_dec, m.W_enc, m.d, m.f);
		tensors_add(&all, "encoder.weight", made_turn(enc, m.W_enc, m.d, m.f), m.f, m.d);
		if (kind < 2)
			tensors_add(&all, "decoder.weight", made_turn(dec, m.W_dec, m.f, m.d), m.d, m.f);
		tensors_add(&all, "latent_bias", m.b_enc, m.f, 0);
		tensors_add(&all, "pre_bias", m.b_dec, m.d, 0);
		if (kind == 0)
			all.t[all.n++] = (sae_tensor_out){ "activation_state_dict.k", SAE_I64, 0, { 0 }, &k };
		support_mkdir(dir);
		ck_assert_int_eq(file_join(path, dir, "5.pt", NULL), 0);
		ck_assert_msg(torch_write(path, all.t, all.n, &err) == 0, "%s", err.msg);
		made_compute(&m);
		model = made_load(path);
		made_check(&m, model);
		sae_model_free(model);
		ck_assert(!sae_model_is_at(dir)); /* any file may be there */
		support_rmdir(dir);
	}
}
END_TEST

/* Rows of mean norm `mean` are scaled to sqrt(d); mean 0: they are not. old: Llama Scope's files. pt: weights by torch.save. */
static void write_openmoss(const char *dir, const made *m, const char *act, float mean, bool by_norm,
                           bool old, bool pt)
{
	char names[8][64];
	error err = { 0 };
	float logs[MADE_F], enc[MADE_D * MADE_F], dec[MADE_D * MADE_F];
	tensors all = { .dtype = SAE_F32 };
	char config[512], old_norm[80] = "";

	for (size_t f = 0; f < m->f; f++)
		logs[f] = logf(m->threshold[f]);
	if (old) {
		tensors_add(&all, "encoder.weight", made_turn(enc, m->W_enc, m->d, m->f), m->f, m->d);
		tensors_add(&all, "decoder.weight", made_turn(dec, m->W_dec, m->f, m->d), m->d, m->f);
		snprintf(old_norm, sizeof(old_norm),
		         ",\"dataset_average_activation_norm\":{\"in\":%g,\"out\":%g}", (double)mean,
		         (double)mean);
	} else {
		tensors_add(&all, "W_E", m->W_enc, m->d, m->f);
		tensors_add(&all, "W_D", m->W_dec, m->f, m->d);
		tensors_add(&all, "activation_function.log_jumprelu_threshold", logs, m->f, 0);
		all.t[all.n++] =
		        (sae_tensor_out){ "dataset_average_activation_norm.h", SAE_F32, 0, { 0 }, &mean };
	}
	tensors_add(&all, old ? "encoder.bias" : "b_E", m->b_enc, m->f, 0);
	tensors_add(&all, old ? "decoder.bias" : "b_D", m->b_dec, m->d, 0);
	ck_assert_int_eq(file_mkdir(support_path(dir, "checkpoints"), NULL), 0);
	for (size_t i = 0; i < all.n && pt; i++) { /* a dict in the dict */
		snprintf(names[i], sizeof(names[i]), "sae.%s", all.t[i].name);
		all.t[i].name = names[i];
	}
	if (pt)
		ck_assert_msg(torch_write(support_path(dir, old ? "checkpoints/final.pt" : "sae_weights.pt"),
		                          all.t, all.n, &err) == 0,
		              "%s", err.msg);
	else
		tensors_write(&all, support_path(dir, old ? "checkpoints/final.safetensors"
		                                          : "sae_weights.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"act_fn\":\"%s\",\"d_model\":%zu,\"top_k\":%zu,\"norm_activation\":\"%s\","
	         "\"sparsity_include_decoder_norm\":%s,\"jump_relu_threshold\":0.25,"
	         "\"hook_point_in\":\"h\",\"hook_point_out\":\"h\"%s}",
	         act, m->d, m->k, mean > 0 ? "dataset-wise" : "inference", by_norm ? "true" : "false",
	         old_norm);
	support_put_text(support_path(dir, old ? "hyperparams.json" : "config.json"), config);
}

START_TEST(openmoss_is_read_and_written)
{
	static const struct {
		const char *as, *act;
		float mean;
		bool by_norm, old;
	} kinds[] = {
		{ "standard", "ReLU", 0, true, false },     { "topk", "topk", 3, false, false },
		{ "topk", "topk", 0, true, false },         { "jumprelu", "jumprelu", 3, false, false },
		{ "jumprelu", "jumprelu", 0, true, false }, { "jumprelu", "jumprelu", 3, false, true }
	};

	for (size_t at = 0; at < 2 * ARRAY_LEN(kinds); at++) {
		size_t i = at / 2;
		char dir[FILE_PATH_MAX];
		made m, disk;

		made_make(&m, kinds[i].as, made_shapes[_i].d, made_shapes[_i].d, made_shapes[_i].f,
		          made_shapes[_i].k, SAE_F32);
		m.centers = false;
		m.scale = kinds[i].mean > 0 ? sqrt((double)m.d) / (double)kinds[i].mean : 1;
		for (size_t f = 0; f < m.f; f++)
			m.threshold[f] =
			        kinds[i].old ? (float)(0.25 * m.scale) : 0.01f + fabsf(m.threshold[f]);
		m.rescales = kinds[i].by_norm && made_is(&m, "topk");
		disk = m; /* whose thresholds are of values times the norm of the decoder's row */
		for (size_t f = 0; kinds[i].by_norm && f < m.f; f++)
			disk.threshold[f] *= (float)made_norm(m.W_dec + f * m.d, m.d);
		support_mkdir(dir);
		write_openmoss(dir, &disk, kinds[i].act, kinds[i].mean, kinds[i].by_norm, kinds[i].old,
		               at % 2);
		made_check_export(&m, dir, dir, kinds[i].old ? "saelens" : "openmoss");
		support_rmdir(dir);
	}
}
END_TEST

/* ---- What is wrong ------------------------------------------------------------------------------------------------ */

static void expect(const char *dir, const char *config, const char *message)
{
	sae_model *m = NULL;
	sae_model_facts facts;
	error err = { 0 };

	support_put_text(support_path(dir, "cfg.json"), config);
	ck_assert_int_eq(sae_model_load(&m, dir, &err), ERR_FORMAT);
	ck_assert_ptr_null(m);
	ck_assert_msg(strstr(err.msg, message) != NULL, "'%s' lacks '%s'", err.msg, message);
	ck_assert_int_eq(sae_model_look(&facts, dir, &err), ERR_FORMAT); /* without reading a weight */
}

START_TEST(wrong_folders_are_refused)
{
	char dir[FILE_PATH_MAX];
	tensors all = { .dtype = SAE_F32 };
	made m;

	support_mkdir(dir);
	made_make(&m, "topk", 5, 5, 37, 3, SAE_F32);
	write_sparsify(dir, &m, SAE_F32, "");
	expect(dir, "{\"k\":0,\"d_in\":5}", "k 0 is not in 1..d_sae = 37");
	expect(dir, "{\"k\":38,\"d_in\":5}", "k 38 is not in 1..d_sae = 37");
	expect(dir, "{\"k\":3,\"d_in\":6}", "'W_dec' has shape (37, 5), the others say (37, 6)");
	expect(dir, "{\"k\":3,\"d_in\":5,\"num_latents\":36}", "cfg.json says (36, 5)");
	expect(dir, "{\"k\":3,\"d_in\":99999999999}", "d_in 99999999999 is not in 1..");
	expect(dir, "{\"k\":3,\"d_in\":-1}", "d_in");
	expect(dir, "{\"k\":3,\"activation\":\"groupmax\"}", "d_sae 37 is no multiple of k = 3 groups");
	expect(dir, "{\"k\":3,\"activation\":\"softmax\"}", "activation 'softmax' is not supported");
	expect(dir, "{\"k\":3,\"skip_connection\":true}", "has no tensor 'W_skip'");
	expect(dir, "[]", "is not a JSON object");
	/* the encoder the other way round */
	tensors_add(&all, "encoder.weight", m.W_enc, m.d, m.f);
	tensors_add(&all, "encoder.bias", m.b_enc, m.f, 0);
	tensors_add(&all, "W_dec", m.W_dec, m.f, m.d);
	tensors_add(&all, "b_dec", m.b_dec, m.d, 0);
	tensors_write(&all, support_path(dir, "sae.safetensors"));
	expect(dir, "{\"k\":3,\"d_in\":5}", "'W_dec' has shape (37, 5), the others say (5, 5)");
	expect(dir, "{\"k\":3,\"d_in\":5,\"num_latents\":37}",
	       "'encoder.weight' has shape (5, 37), cfg.json says (37, 5)");
	support_rmdir(dir);
}
END_TEST

START_TEST(distributed_checkpoints_are_refused_with_a_way)
{
	static const char *const at[] = { "sae_weights.dcp", "checkpoints/final.dcp" };
	char dir[FILE_PATH_MAX], dcp[FILE_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		for (int direct = 0; direct < 2; direct++) {
			error err = { 0 };
			sae_model *m = NULL;

			support_mkdir(dir);
			ck_assert_int_eq(file_mkdir(support_path(dir, "checkpoints"), NULL), 0);
			ck_assert_int_eq(file_join(dcp, dir, at[i], NULL), 0);
			ck_assert_int_eq(file_mkdir(dcp, NULL), 0);
			support_put_text(support_path(dcp, ".metadata"), "a pickle");
			support_put_text(support_path(dir, "config.json"), "{}");
			ck_assert(sae_model_is_at(direct ? dcp : dir));
			ck_assert_int_eq(sae_model_load(&m, direct ? dcp : dir, &err), ERR_FORMAT);
			ck_assert_msg(strstr(err.msg, ".dcp' is torch.distributed's; make ") &&
			                      strstr(err.msg, i && !direct ? "dcp_to_torch final.dcp final.pt"
			                                                   : "dcp_to_torch sae_weights.dcp"),
			              "'%s'", err.msg);
			support_rmdir(dir);
		}
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = tcase_create("formats");

	tcase_add_test(t, distributed_checkpoints_are_refused_with_a_way);

	tcase_add_loop_test(t, sparsify_is_read_and_written, 0, MADE_SHAPES);
	tcase_add_loop_test(t, gemma_scope_2_is_read_and_written, 0, MADE_SHAPES);
	tcase_add_loop_test(t, gemma_scope_is_read_and_written, 0, MADE_SHAPES);
	tcase_add_loop_test(t, dictionary_learning_is_read_and_written, 0, MADE_SHAPES);
	tcase_add_loop_test(t, openai_is_read, 0, MADE_SHAPES);
	tcase_add_loop_test(t, openmoss_is_read_and_written, 0, MADE_SHAPES);
	suite_add_tcase(s, t);
	SUPPORT_CASE(s, "wrong", wrong_folders_are_refused);
}
SUPPORT_MAIN("format_files", cases)
