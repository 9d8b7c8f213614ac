/* Every architecture that SAELens has against its definition in FP64, from tensors as SAELens lays them out: d != F, d == F, F no multiple
 * of 8, k = 1, 16-bit weights. What is exported. */
#include "tests/support.h"
#include "tests/support_formats.h"

#include <math.h>

#include "sae/sae.h"

/* ---- SAELens ------------------------------------------------------------------------------------------------------ */

/* Loaded and as its own copy, which is loaded again: the same codes, and the same tensors. */
static void check_saelens(made *m, sae_dtype t, const char *more)
{
	sae_model *model, *back;
	char dir[FILE_PATH_MAX];
	error err = { 0 };

	support_mkdir(dir);
	made_write_saelens(dir, m, t, more);
	made_compute(m);
	model = made_load(dir);
	ck_assert_str_eq(model->hook_name, "blocks.3");
	made_check(m, model);
	ck_assert_msg(sae_model_save(model, support_path(dir, "copy"), NULL, NULL, &err) == 0, "%s", err.msg);
	back = made_load(support_path(dir, "copy/sae_weights.safetensors"));
	made_check(m, back);
	ck_assert_int_eq(back->arch, model->arch);
	ck_assert_mem_eq(back->W_enc, model->W_enc, m->f * m->d * sizeof(float));
	ck_assert_mem_eq(back->W_dec, model->W_dec, m->f * m->out * sizeof(float));
	sae_model_free(back);
	sae_model_free(model);
	support_rmdir(dir);
}

START_TEST(saelens_architectures_are_computed)
{
	const char *const names[] = { "standard",        "topk",      "jumprelu",
		                      "gated",           "batchtopk", "matryoshka_batchtopk",
		                      "matching_pursuit" };
	char more[64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		made m;

		made_make(&m, names[i], made_shapes[_i].d, made_shapes[_i].d, made_shapes[_i].f,
		          made_shapes[_i].k, made_shapes[_i].t);
		snprintf(more, sizeof(more), ",\"k\":%zu,\"residual_threshold\":0.05", m.k);
		check_saelens(&m, made_shapes[_i].t, more);
		if (i == 6)
			continue; /* whose b_dec is all or nothing */
		m.centers = false;
		check_saelens(&m, made_shapes[_i].t, more);
	}
}
END_TEST

/* Values under 0 are those of features that the file does not have. */
START_TEST(abstopk_is_a_topk_of_both_signs)
{
	static double values[MADE_ROWS][MADE_F];
	size_t n = made_shapes[_i].f;
	char dir[FILE_PATH_MAX];
	sae_encoder *e = NULL;
	sae_codes c = { 0 };
	sae_model *model;
	sae_model_facts facts;
	pool *p;
	made m;

	made_make(&m, "abstopk", made_shapes[_i].d, made_shapes[_i].d, n, made_shapes[_i].k,
	          made_shapes[_i].t);
	support_mkdir(dir);
	made_write_saelens(dir, &m, made_shapes[_i].t, made_shapes[_i].k == 3 ? ",\"k\":3" : ",\"k\":1");
	m.k = made_shapes[_i].k == 3 ? 3 : 1;
	model = made_load(dir);
	ck_assert_int_eq(sae_model_look(&facts, dir, NULL), 0);
	ck_assert(facts.d_sae == 2 * n && model->d_sae == 2 * n);
	made_compute(&m);
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_encoder_new(&e, model, p, NULL, NULL), 0);
	ck_assert_int_eq(sae_encode(e, made_rows, MADE_ROWS, &c, NULL), 0);
	for (size_t r = 0; r < MADE_ROWS; r++) {
		float hat[MADE_D];
		size_t row[] = { 0, c.first[r + 1] - c.first[r] };
		const sae_codes one = {
			.n = 1, .first = row, .index = c.index + c.first[r], .value = c.value + c.first[r]
		};

		for (size_t i = c.first[r]; i < c.first[r + 1]; i++)
			values[r][c.index[i] % n] = c.index[i] < n ? c.value[i] : -c.value[i];
		for (size_t f = 0; f < n; f++)
			ck_assert_double_le(fabs(values[r][f] - m.values[r][f]), 1e-5);
		sae_decode(model, NULL, &one, hat, p);
		for (size_t i = 0; i < m.out; i++)
			ck_assert_double_le(fabs((double)hat[i] - m.hat[r][i]), 1e-4);
	}
	sae_encoder_free(e);
	sae_codes_free(&c);
	sae_model_free(model);
	pool_free(p);
	support_rmdir(dir);
}
END_TEST

START_TEST(saelens_transcoders_are_computed)
{
	const char *const names[] = { "transcoder", "skip_transcoder", "jumprelu_transcoder",
		                      "jumprelu_skip_transcoder" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		made m;

		made_make(&m, names[i], made_shapes[_i].d, made_shapes[_i].d == 6 ? 6 : 7, made_shapes[_i].f,
		          0, made_shapes[_i].t);
		m.centers = false;
		check_saelens(&m, made_shapes[_i].t, "");
	}
}
END_TEST

START_TEST(rows_are_normalised_and_back)
{
	const char *const names[] = { "standard", "topk", "gated" }, *const norms[] = {
		[SAE_NORM_LAYER] = ",\"k\":3,\"normalize_activations\":\"layer_norm\"",
		[SAE_NORM_UNIT] = ",\"k\":3,\"normalize_activations\":\"constant_norm_rescale\""
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (sae_norm norm = SAE_NORM_LAYER; norm <= SAE_NORM_UNIT; norm++) {
			made m;

			made_make(&m, names[i], 5, 5, 37, 3, SAE_F32);
			m.norm = norm;
			check_saelens(&m, SAE_F32, norms[norm]);
		}
}
END_TEST

START_TEST(decoder_norms_are_folded)
{
	const char *const names[] = { "topk", "batchtopk" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		made m;

		made_make(&m, names[i], 5, 5, 37, 3, SAE_F32);
		m.rescales = true;
		check_saelens(&m, SAE_F32, ",\"k\":3,\"rescale_acts_by_decoder_norm\":true");
	}
}
END_TEST

/* ---- From one to another ----------------------------------------------------------------------------------------- */

/* What one format has and another has not, where it can be said otherwise. */
START_TEST(exports_fold_what_is_exact)
{
	static const struct {
		const char *from, *to;
		bool centers;
	} ways[] = { { "topk", "sparsify", false },
		     { "jumprelu", "gemma-scope-2", true },
		     { "standard", "gemma-scope-2", true },
		     { "gated", "gemma-scope-2", true },
		     { "gated", "saelens", false } };

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		sae_model *model, *back;
		char dir[FILE_PATH_MAX];
		error err = { 0 };
		made m;

		made_make(&m, ways[i].from, 5, 5, 37, 3, SAE_F32);
		m.centers = ways[i].centers;
		support_mkdir(dir);
		made_write_saelens(dir, &m, SAE_F32, ",\"k\":3");
		made_compute(&m);
		model = made_load(dir);
		ck_assert_msg(sae_model_export(model, ways[i].to, support_path(dir, "out"), false, &err) == 0,
		              "%s", err.msg);
		back = made_load(support_path(dir, "out"));
		made_check(&m, back);
		sae_model_free(back);
		sae_model_free(model);
		support_rmdir(dir);
	}
}
END_TEST

static void take(float *out, const sae_file *f, const char *name, size_t n)
{
	const sae_tensor *t = sae_file_tensor(f, name);
	error err;

	ck_assert_msg(t != NULL, "no '%s'", name);
	ck_assert_uint_eq(t->count, n);
	ck_assert_int_eq(sae_file_read_f32(f, t, 0, n, out, &err), 0);
}

/* What a folder of SAELens's gated makes of the rows by that definition, of its own tensors. */
static void compute_gated(made *g, const char *dir, const made *from)
{
	sae_model_facts facts;
	sae_file *f = NULL;

	made_make(g, "gated", from->d, from->d, from->f, 0, SAE_F32);
	g->centers = from->centers;
	g->norm = from->norm;
	ck_assert_int_eq(sae_model_look(&facts, dir, NULL), 0);
	ck_assert_str_eq(facts.architecture, "gated");
	ck_assert_int_eq(sae_file_open(&f, support_path(dir, "sae_weights.safetensors"), NULL), 0);
	ck_assert_ptr_null(sae_file_tensor(f, "b_enc"));
	ck_assert_ptr_null(sae_file_tensor(f, "threshold"));
	take(g->W_enc, f, "W_enc", g->d * g->f);
	take(g->W_dec, f, "W_dec", g->d * g->f);
	take(g->b_dec, f, "b_dec", g->d);
	take(g->b_enc, f, "b_mag", g->f);
	take(g->b_gate, f, "b_gate", g->f);
	take(g->r_mag, f, "r_mag", g->f);
	sae_file_close(f);
	made_compute(g);
}

static void check_gated(made *m, const char *more)
{
	sae_model *model, *back;
	char dir[FILE_PATH_MAX], out[FILE_PATH_MAX];
	error err = { 0 };
	made g;

	support_mkdir(dir);
	ck_assert_int_eq(file_join(out, dir, "out", NULL), 0);
	made_write_saelens(dir, m, SAE_F32, more);
	support_put_text(support_path(dir, "activation_scaler.json"), "{\"scaling_factor\":2.5}");
	made_compute(m);
	model = made_load(dir);
	made_check(m, model);
	ck_assert_msg(sae_model_export(model, "saelens-gated", out, false, &err) == 0, "%s", err.msg);
	back = made_load(out);
	made_check(m, back);
	ck_assert_mem_eq(back->W_enc, model->W_enc, m->f * m->d * sizeof(float));
	ck_assert_mem_eq(back->W_dec, model->W_dec, m->f * m->d * sizeof(float));
	ck_assert_mem_eq(back->b_enc, model->b_enc, m->f * sizeof(float));
	for (size_t f = 0; f < m->f; f++)
		ck_assert_double_le(fabs((double)back->threshold[f] - (double)model->threshold[f]), 1e-6);
	compute_gated(&g, out, m);
	made_check(&g, model);
	sae_model_free(back);
	/* a feature that never fires */
	model->threshold[1] = INFINITY;
	ck_assert_msg(sae_model_export(model, "saelens-gated", out, true, &err) == 0, "%s", err.msg);
	back = made_load(out);
	ck_assert_float_gt(back->threshold[1], 1e38f);
	sae_model_free(back);
	sae_model_free(model);
	support_rmdir(dir);
}

/* Gated as any other JumpReLU, what was folded into weights and thresholds included: r_mag, a scale of the input, of norms the decoder's. */
START_TEST(jumprelus_are_written_as_gated)
{
	static const char *const from[] = { "gated", "jumprelu", "matryoshka_batchtopk" };
	static const struct {
		sae_norm norm;
		double scale;
		const char *name;
	} norms[] = { { SAE_NORM_NONE, 1, "none" },
		      { SAE_NORM_NONE, 2.5, "expected_average_only_in" },
		      { SAE_NORM_LAYER, 1, "layer_norm" },
		      { SAE_NORM_UNIT, 1, "constant_norm_rescale" } };

	for (size_t i = 0; i < 2 * ARRAY_LEN(norms); i++) {
		char more[128];
		made m;

		made_make(&m, from[_i], 5, 5, 37, 3, SAE_F32);
		m.centers = i % 2;
		m.norm = norms[i / 2].norm;
		m.scale = norms[i / 2].scale;
		m.rescales = made_is(&m, "batchtopk") && m.scale <= 1; /* values of both are other ones */
		snprintf(more, sizeof(more),
		         ",\"k\":3,\"normalize_activations\":\"%s\",\"rescale_acts_by_decoder_norm\":%s",
		         norms[i / 2].name, m.rescales ? "true" : "false");
		check_gated(&m, more);
	}
}
END_TEST

START_TEST(exports_refuse_what_they_cannot_say)
{
	static const struct {
		const char *from, *more, *to, *message;
	} ways[] = {
		{ "jumprelu", "", "sparsify",
		  "sparsify cannot hold this SAE (jumprelu): it knows only topk" },
		{ "topk", ",\"k\":3", "gemma-scope-2", "(topk): it knows only jumprelu" },
		{ "topk", ",\"k\":3,\"normalize_activations\":\"layer_norm\"", "sparsify",
		  "it cannot normalise rows" },
		{ "gloss_groupmax", ",\"k\":1", "saelens", "(groupmax): it has no such architecture" },
		{ "topk", ",\"k\":3", "gguf", "'gguf' is no format that SAEs are written in" },
		{ "matching_pursuit", "", "sparsify", "(matching_pursuit)" },
		{ "standard", "", "saelens-gated",
		  "saelens-gated cannot hold this SAE (relu): it knows only jumprelu, which gated SAEs are "
		  "in Gloss" },
		{ "jumprelu_transcoder", "", "saelens-gated", "it has no transcoders" },
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		char dir[FILE_PATH_MAX];
		sae_model *model;
		error err = { 0 };
		made m;

		made_make(&m, ways[i].from, 5, 5, 37, 3, SAE_F32);
		support_mkdir(dir);
		made_write_saelens(dir, &m, SAE_F32, ways[i].more);
		model = made_load(dir);
		ck_assert_int_eq(sae_model_export(model, ways[i].to, support_path(dir, "out"), false, &err),
		                 ERR_ARG);
		ck_assert_msg(strstr(err.msg, ways[i].message) != NULL, "'%s' lacks '%s'", err.msg,
		              ways[i].message);
		ck_assert(!file_exists(support_path(dir, "out")));
		sae_model_free(model);
		support_rmdir(dir);
	}
}
END_TEST

/* ---- What is wrong ------------------------------------------------------------------------------------------------ */

static void each_fault(fault_kind kind, const char *dir, const char *out, const char *to)
{
	for (long n = 0;; n++) {
		sae_model *m = NULL;
		error err = { 0 };
		int rc;

		fault_arm(kind, n);
		rc = sae_model_load(&m, dir, &err);
		if (rc == 0)
			rc = sae_model_export(m, to, out, true, &err);
		sae_model_free(m);
		if (!fault_disarm(kind)) {
			ck_assert_int_eq(rc, 0);
			folder_remove(out);
			return;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert_str_ne(err.msg, "");
		ck_assert(!file_exists(out)); /* neither the folder nor a part of it */
	}
}

START_TEST(each_fault_is_reported)
{
	static const struct {
		const char *from, *to;
	} ways[] = { { "gated", "gemma-scope-2" },
		     { "gated", "saelens-gated" },
		     { "matching_pursuit", "saelens" },
		     { "topk", "sparsify" } };
	const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ, FAULT_WRITE, FAULT_SYNC };

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		char dir[FILE_PATH_MAX], out[FILE_PATH_MAX];
		made m;

		made_make(&m, ways[i].from, 5, 5, 37, 3, SAE_F32);
		support_mkdir(dir);
		ck_assert_int_eq(file_join(out, dir, "out", NULL), 0);
		made_write_saelens(dir, &m, SAE_F32, ",\"k\":3");
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			each_fault(kinds[k], dir, out, ways[i].to);
		support_rmdir(dir);
	}
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "saelens", rows_are_normalised_and_back, decoder_norms_are_folded);

	tcase_add_loop_test(t, saelens_architectures_are_computed, 0, MADE_SHAPES);
	tcase_add_loop_test(t, saelens_transcoders_are_computed, 0, MADE_SHAPES);
	tcase_add_loop_test(t, abstopk_is_a_topk_of_both_signs, 0, MADE_SHAPES);
	t = SUPPORT_CASE(s, "others", exports_fold_what_is_exact, exports_refuse_what_they_cannot_say);
	tcase_add_loop_test(t, jumprelus_are_written_as_gated, 0, 3);
	SUPPORT_CASE(s, "wrong", each_fault_is_reported);
}
SUPPORT_MAIN("formats", cases)
