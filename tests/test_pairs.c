/* Runs on several dumps of the same tokens: planted features found by transcoders and crosscoders, what is saved of them, going
 * on from a checkpoint. */
#include "tests/support.h"
#include "tests/support_dump.h"
#include "tests/support_train.h"

#include <math.h>
#include <stdlib.h>

enum {
	CTX = 50,
	CONTEXTS = 200,
	ROWS = CTX * CONTEXTS,
	D = 16,
	D_Y = 10,
	PLANTED = 18,
	ACTIVE = 3,
	F = 36,
	STEPS = 500
};

/* ---- Planted rows ---------------------------------------------------------------------------------------------------- */

/* Directions of a feature: in x (D), in a second input (D), in a target (D_Y). Entries are about as large as they are long. */
static double direction(unsigned kind, uint32_t feature, uint32_t j)
{
	return support_uniform(100 + kind, feature * 64 + j);
}

/* The i-th of a row's features, of ACTIVE equal ranges, and its strength. */
static uint32_t feature_of(uint64_t row, uint32_t i)
{
	return i * (PLANTED / ACTIVE) + (uint32_t)(hash64_mix(row, 10 + i) % (PLANTED / ACTIVE));
}

static double strength(uint64_t row, uint32_t i)
{
	return 1 + hash64_unit(hash64_mix(row, 20 + i));
}

/* Features of the first range are in both inputs, of the second in the first alone, of the third in the second alone. */
static float sum_of(uint64_t row, unsigned kind, uint32_t j, bool in_range_1, bool in_range_2)
{
	double x = 0;

	for (uint32_t i = 0; i < ACTIVE; i++)
		if (i == 0 || (i == 1 ? in_range_1 : in_range_2))
			x += strength(row, i) * direction(kind, feature_of(row, i), j);
	return (float)x;
}

static float first_input(uint64_t row, uint32_t j)
{
	return sum_of(row, 0, j, true, false);
}

static float second_input(uint64_t row, uint32_t j)
{
	return 50 * sum_of(row, 1, j, false, true);
}

static float whole_input(uint64_t row, uint32_t j)
{
	return sum_of(row, 0, j, true, true);
}

static float target(uint64_t row, uint32_t j)
{
	return 7 * sum_of(row, 2, j, true, true) + 30;
}

/* What features make, and a linear map of the input that no few features could make. */
static float mapped_target(uint64_t row, uint32_t j)
{
	double y = target(row, j);

	for (uint32_t i = 0; i < D; i++)
		y += 6 * support_uniform(7, j * D + i) *
		     (support_uniform(8, row * D + i) + whole_input(row, i));
	return (float)y;
}

static float noisy_input(uint64_t row, uint32_t j)
{
	return whole_input(row, j) + (float)support_uniform(8, row * D + j);
}

static sae_dump *made(const char *name, uint32_t d, float (*value)(uint64_t, uint32_t))
{
	const made_dump m = { .contexts = CONTEXTS,
		              .ctx_len = CTX,
		              .d = d,
		              .shards = 1,
		              .dtype = SAE_F32,
		              .tokens = true,
		              .value = value };
	const char *dir = in_folder(name);

	ck_assert_int_eq(file_mkdir(dir, NULL), 0);
	made_dump_write(dir, &m);
	return made_dump_open(dir, NULL);
}

typedef struct input {
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} input;

static void input_open(input *in, float (*x)(uint64_t, uint32_t), uint32_t d,
                       float (*other)(uint64_t, uint32_t), bool is_target, unsigned threads)
{
	const sae_rows_opts usual = { .max_norm_ratio = 10 };
	char name[32];

	snprintf(name, sizeof(name), "x%u", threads); /* two may be open at a time */
	in->dump = made(name, D, x);
	snprintf(name, sizeof(name), "other%u", threads);
	ck_assert_int_eq(sae_dump_add(in->dump, made(name, d, other), is_target, NULL), 0);
	ck_assert_int_eq(pool_new(&in->pool, threads, NULL), 0);
	ck_assert_int_eq(sae_rows_scan(&in->rows, in->dump, &usual, false, in->pool, NULL, NULL), 0);
	ck_assert_int_eq(sae_rows_split(in->rows, in->dump, 0.125, SAE_SPLIT_DOCUMENT, 0, NULL), 0);
}

static void input_close(input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
}

static sae_train_opts opts_of(sae_arch arch)
{
	sae_train_opts o = sae_train_opts_default();

	o.arch = arch;
	o.d_sae = F;
	o.k = ACTIVE;
	o.batch = 256;
	o.steps = STEPS;
	o.lr = 5e-3;
	o.dead_tokens = 5000;
	return o;
}

/* An architecture, the coefficient of its penalty if it has one, and what is asked of it. */
typedef struct kind {
	sae_arch arch;
	double coef;
	bool free_decoder;
	double fvu;
	uint32_t found; /* planted features */
} kind;

static sae_train_opts opts_of_kind(const kind *k, uint64_t steps)
{
	sae_train_opts o = opts_of(k->arch);

	o.steps = steps;
	o.penalty.coef = k->coef;
	o.penalty.free_decoder = k->free_decoder;
	return o;
}

static sae_model *trained(const input *in, const sae_train_opts *o)
{
	sae_model *m;
	error err = { 0 };

	ck_assert_msg(sae_train(&m, NULL, in->dump, in->rows, o, in->pool, &err) == 0, "%s", err.msg);
	return m;
}

static double fvu_of(const sae_model *m, const input *in)
{
	sae_metrics metrics;
	error err = { 0 };
	double fvu;

	ck_assert_msg(sae_eval(&metrics, m, in->dump, NULL, in->rows, true, in->pool, NULL, &err) == 0, "%s",
	              err.msg);
	fvu = metrics.fvu;
	ck_assert_uint_eq(metrics.n_inputs, m->n_inputs > 1 ? m->n_inputs : 0);
	for (uint32_t i = 0; i < metrics.n_inputs; i++) /* the second one's rows are the largest by far */
		ck_assert(i == 0 ? metrics.input_fvu[i] < 0.05
		                 : fabs(metrics.input_fvu[i] - fvu) < 0.01 * fvu);
	sae_metrics_clear(&metrics);
	return fvu;
}

static void check_fvu(const sae_model *m, const input *in, const kind *k)
{
	double fvu = fvu_of(m, in);

	if (getenv("PAIRS_SHOW"))
		fprintf(stderr, "%s, decoder %s: fvu %g\n", sae_arch_name(k->arch),
		        k->free_decoder ? "free" : "unit", fvu);
	ck_assert_msg(fvu < k->fvu, "%s: fvu %g", sae_arch_name(k->arch), fvu);
}

/* ---- Crosscoder -------------------------------------------------------------------------------------------------------- */

/* |cos| of a decoder row with a planted feature's direction in the two inputs, each in the scale of training. */
static double likeness(const sae_model *m, uint32_t f, uint32_t planted)
{
	double dot = 0, row2 = 0, planted2 = 0;

	for (uint32_t j = 0; j < 2 * D; j++) {
		bool second = j >= D, there = planted / (PLANTED / ACTIVE) == 0 ||
		                              (planted / (PLANTED / ACTIVE) == 2) == second;
		double scale = m->scales[second];
		double w = scale * (double)m->W_dec[f * 2 * D + j];
		double u = there ? scale * (second ? 50 : 1) * direction(second, planted, j % D) : 0;

		dot += w * u;
		row2 += w * w;
		planted2 += u * u;
	}
	return fabs(dot) / sqrt(row2 * planted2 + 1e-30);
}

static void check_planted(const sae_model *m, uint32_t least)
{
	float shares[F * 2];
	unsigned found = 0;

	sae_crosscoder_shares(shares, m);
	for (uint32_t planted = 0; planted < PLANTED; planted++) {
		uint32_t best = 0, range = planted / (PLANTED / ACTIVE);

		for (uint32_t f = 1; f < F; f++)
			best = likeness(m, f, planted) > likeness(m, best, planted) ? f : best;
		if (likeness(m, best, planted) < 0.95)
			continue;
		found++;
		ck_assert_float_eq_tol(shares[2 * best] + shares[2 * best + 1], 1, 1e-5f);
		if (range == 0)
			ck_assert_msg(shares[2 * best] > 0.25f && shares[2 * best] < 0.75f,
			              "a shared feature has %g", (double)shares[2 * best]);
		else
			ck_assert_msg(shares[2 * best + range - 1] > 0.9f,
			              "a feature of input %u has %g of it there", range,
			              (double)shares[2 * best + range - 1]);
	}
	ck_assert_uint_ge(found, least);
}

START_TEST(crosscoders_tell_shared_features_from_exclusive_ones)
{
	static const kind kinds[] = {
		{ SAE_TOPK, 0, false, 0.05, PLANTED - 2 },
		{ SAE_BATCHTOPK, 0, false, 0.05, PLANTED - 2 },
		{ SAE_RELU, 0.2, true, 0.05, PLANTED - 4 },
		{ SAE_GATED, 0.2, true, 0.05, PLANTED - 4 },
		{ SAE_JUMPRELU, 0.5, false, 0.05, PLANTED - 2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		sae_train_opts o = opts_of_kind(&kinds[i], 2 * STEPS);
		sae_model *m;
		input in;

		input_open(&in, first_input, D, second_input, false, 2);
		m = trained(&in, &o);
		ck_assert_uint_eq(m->n_inputs, 2);
		ck_assert_uint_eq(m->d_in, 2 * D);
		ck_assert_double_gt(m->scales[0], 30 * m->scales[1]);
		check_fvu(m, &in, &kinds[i]);
		check_planted(m, kinds[i].found);
		sae_model_free(m);
		input_close(&in);
	}
	leave_folder();
}
END_TEST

/* ---- Transcoders ------------------------------------------------------------------------------------------------------- */

START_TEST(transcoders_find_the_target_of_planted_features)
{
	static const kind kinds[] = {
		{ SAE_TOPK, .fvu = 0.05 },
		{ SAE_BATCHTOPK, .fvu = 0.05 },
		{ SAE_RELU, .coef = 0.03, .fvu = 0.05 },
		{ SAE_PANNEAL, .coef = 0.1, .fvu = 0.05 },
		{ SAE_GATED, .coef = 0.1, .fvu = 0.05 },
		{ SAE_GATED, .coef = 0.1, .free_decoder = true, .fvu = 0.05 },
		{ SAE_JUMPRELU, .coef = 0.03, .fvu = 0.15 },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		sae_train_opts o = opts_of_kind(&kinds[i], STEPS);
		sae_model *m;
		input in;

		input_open(&in, whole_input, D_Y, target, true, 2);
		m = trained(&in, &o);
		ck_assert(m->transcodes && !m->centers && !m->W_skip);
		ck_assert_uint_eq(m->d_out, D_Y);
		check_fvu(m, &in, &kinds[i]);
		sae_model_free(m);
		input_close(&in);
	}
	leave_folder();
}
END_TEST

START_TEST(a_skip_takes_what_is_linear)
{
	static const kind kinds[] = { { SAE_TOPK, .fvu = 0.05 }, { SAE_GATED, .coef = 2, .fvu = 0.1 } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		sae_train_opts o = opts_of_kind(&kinds[i], STEPS);
		sae_model *plain, *skip;
		double fvu_plain, fvu_skip;
		input in;

		input_open(&in, noisy_input, D_Y, mapped_target, true, 2);
		plain = trained(&in, &o);
		o.skip = true;
		skip = trained(&in, &o);
		fvu_plain = fvu_of(plain, &in);
		fvu_skip = fvu_of(skip, &in);
		ck_assert_ptr_nonnull(skip->W_skip);
		ck_assert_msg(fvu_skip < kinds[i].fvu && fvu_plain > 3 * fvu_skip,
		              "%s: %g with a skip, %g without", sae_arch_name(o.arch), fvu_skip, fvu_plain);
		sae_model_free(plain);
		sae_model_free(skip);
		input_close(&in);
	}
	leave_folder();
}
END_TEST

/* ---- Files ------------------------------------------------------------------------------------------------------------- */

static void check_same(const sae_model *a, const sae_model *b)
{
	ck_assert_uint_eq(a->n_inputs > 1 ? a->n_inputs : 1, b->n_inputs > 1 ? b->n_inputs : 1);
	ck_assert(a->transcodes == b->transcodes && a->centers == b->centers && a->arch == b->arch);
	ck_assert_mem_eq(a->W_enc, b->W_enc, (size_t)a->d_sae * a->d_in * sizeof(float));
	ck_assert_mem_eq(a->W_dec, b->W_dec, (size_t)a->d_sae * a->d_out * sizeof(float));
	ck_assert_mem_eq(a->b_dec, b->b_dec, a->d_out * sizeof(float));
	ck_assert_int_eq(a->W_skip != NULL, b->W_skip != NULL);
	if (a->W_skip)
		ck_assert_mem_eq(a->W_skip, b->W_skip, (size_t)a->d_out * a->d_in * sizeof(float));
	ck_assert_double_eq(a->norm_limit, b->norm_limit);
	ck_assert_uint_eq(a->n_more_limits, b->n_more_limits);
	ck_assert_double_eq(a->more_limits[0], b->more_limits[0]);
	ck_assert_double_eq(a->scales[1], b->scales[1]);
}

/* What is saved is read back as it was; the tensors of a crosscoder have a dimension for its inputs. */
static void check_saved(const sae_model *m, const char *dir, bool crosses)
{
	sae_model_facts facts;
	sae_model *again;
	sae_file *f;
	error err = { 0 };

	ck_assert_msg(sae_model_save(m, dir, NULL, NULL, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_model_load(&again, dir, &err) == 0, "%s", err.msg);
	check_same(m, again);
	sae_model_free(again);
	ck_assert_int_eq(sae_model_look(&facts, dir, NULL), 0);
	ck_assert_uint_eq(facts.n_inputs, crosses ? 2 : 1);
	f = tensor_file_open(support_path(dir, "sae_weights.safetensors"));
	ck_assert_uint_eq(sae_file_tensor(f, "W_dec")->n_dims, crosses ? 3 : 2);
	ck_assert_uint_eq(sae_file_tensor(f, "W_enc")->dims[0], crosses ? 2 : D);
	sae_file_close(f);
}

/* OpenMOSS's crosscoders have inputs first, and a bias for each, which are added up. */
static void check_openmoss(const sae_model *m, const char *dir)
{
	static float dec[2 * F * D], bias[2 * F];
	error err = { 0 };
	sae_file *f;

	ck_assert_msg(sae_model_export(m, "openmoss", dir, false, &err) == 0, "%s", err.msg);
	f = tensor_file_open(support_path(dir, "sae_weights.safetensors"));
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor(f, "W_D"), 0, ARRAY_LEN(dec), dec, NULL), 0);
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor(f, "b_E"), 0, ARRAY_LEN(bias), bias, NULL), 0);
	for (size_t i = 0; i < F; i++) {
		double through = 0;

		for (size_t j = 0; j < 2 * D; j++)
			through += (double)m->W_enc[i * 2 * D + j] * (double)m->b_dec[j];
		ck_assert_mem_eq(dec + i * D, m->W_dec + i * 2 * D, D * sizeof(float));
		ck_assert_mem_eq(dec + (F + i) * D, m->W_dec + (2 * i + 1) * D, D * sizeof(float));
		ck_assert_double_le(fabs(m->b_enc[i] - through - bias[i]), 1e-4);
		ck_assert(bias[F + i] == 0);
	}
	ck_assert_uint_eq(sae_file_tensor(f, "W_E")->dims[0], 2);
	ck_assert_uint_eq(sae_file_tensor(f, "W_E")->dims[1], D);
	sae_file_close(f);
}

/* What was written for it is read back: the same weights, and b_enc for rows that b_dec is not taken off. */
static void check_read_back(const sae_model *m, const char *dir)
{
	sae_model *again = NULL;
	error err = { 0 };

	ck_assert_msg(sae_model_load(&again, dir, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(again->n_inputs, 2);
	ck_assert(again->arch == SAE_RELU && !again->centers && !again->transcodes);
	ck_assert_mem_eq(again->W_enc, m->W_enc, (size_t)F * 2 * D * sizeof(float));
	ck_assert_mem_eq(again->W_dec, m->W_dec, (size_t)F * 2 * D * sizeof(float));
	ck_assert_mem_eq(again->b_dec, m->b_dec, 2 * D * sizeof(float));
	for (size_t i = 0; i < F; i++) {
		double through = 0;

		for (size_t j = 0; j < 2 * D; j++)
			through += (double)m->W_enc[i * 2 * D + j] * (double)m->b_dec[j];
		ck_assert_double_le(fabs(m->b_enc[i] - through - again->b_enc[i]), 1e-4);
	}
	sae_model_free(again);
}

/* As the tool saves one in training: a scale for each input, a bias of each; by hand. */
START_TEST(scaled_crosscoders_are_read)
{
	static const float enc[2 * 1 * 3] = { 1, 2, 3, -1, 4, 5 }, dec[2 * 3 * 1] = { 7, 8, 9, 10, 11, 12 },
	                               b_dec[2] = { 0.5f, -3 }, b_enc[2 * 3] = { 1, 2, 3, 10, 20, 30 },
	                               mean[2] = { 2, 0.25f };
	const sae_tensor_out tensors[] = {
		{ "W_D", SAE_F32, 3, { 2, 3, 1 }, dec },
		{ "W_E", SAE_F32, 3, { 2, 1, 3 }, enc },
		{ "b_D", SAE_F32, 2, { 2, 1 }, b_dec },
		{ "b_E", SAE_F32, 2, { 2, 3 }, b_enc },
		{ "dataset_average_activation_norm.a", SAE_F32, 0, { 0 }, &mean[0] },
		{ "dataset_average_activation_norm.b", SAE_F32, 0, { 0 }, &mean[1] },
	};
	/* scales 1 / 2 and 4 */
	static const float want_enc[] = { 0.5f, -4, 1, 16, 1.5f, 20 },
	                   want_dec[] = { 14, 2.5f, 16, 2.75f, 18, 3 };
	static const char *const refused[][2] = {
		{ "\"act_fn\":\"jumprelu\",\"hook_points\":[\"a\",\"b\"]", "only relu" },
		{ "\"hook_points\":[\"a\"]", "no list of 2" },
		{ "\"hook_points\":[\"a\",3]", "no name" },
		{ "\"hook_points\":[\"a\",\"c\"]", "rows at 'c' is not known" },
		{ "\"norm_activation\":\"token-wise\",\"hook_points\":[\"a\",\"b\"]", "token-wise" },
		{ "\"norm_activation\":\"inference\",\"hook_points\":[\"a\",\"b\",\"c\"]", "W_D" },
	};
	char dir[FILE_PATH_MAX], config[256];
	sae_model *m = NULL;
	error err = { 0 };

	support_mkdir(dir);
	ck_assert_int_eq(sae_safetensors_write(support_path(dir, "sae_weights.safetensors"), tensors, 6, NULL,
	                                       0, &err),
	                 0);
	support_put_text(support_path(dir, "config.json"), "{\"sae_type\":\"crosscoder\",\"d_model\":1,\"act_"
	                                                   "fn\":\"relu\",\"hook_points\":[\"a\",\"b\"]}");
	ck_assert_msg(sae_model_load(&m, dir, &err) == 0, "%s", err.msg);
	ck_assert_mem_eq(m->W_enc, want_enc, sizeof(want_enc));
	ck_assert_mem_eq(m->W_dec, want_dec, sizeof(want_dec));
	ck_assert(m->b_enc[0] == 11 && m->b_enc[1] == 22 && m->b_enc[2] == 33);
	ck_assert(m->b_dec[0] == 1 && m->b_dec[1] == -0.75f);
	sae_model_free(m);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		snprintf(config, sizeof(config), "{\"sae_type\":\"crosscoder\",\"d_model\":1,%s}",
		         refused[i][0]);
		support_put_text(support_path(dir, "config.json"), config);
		ck_assert_int_eq(sae_model_load(&m, dir, &err), ERR_FORMAT);
		ck_assert_msg(strstr(err.msg, refused[i][1]) != NULL, "%s", err.msg);
	}
	support_rmdir(dir);
}
END_TEST

static void check_not_openmoss(const sae_model *m, const char *dir, const char *words)
{
	error err = { 0 };

	ck_assert_int_eq(sae_model_export(m, "openmoss", dir, false, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
}

START_TEST(crosscoders_of_relu_are_written_for_openmoss)
{
	sae_train_opts o = opts_of(SAE_RELU);
	char dir[FILE_PATH_MAX];
	sae_model *m;
	input in;

	support_mkdir(dir);
	o.steps = 5;
	input_open(&in, first_input, D, second_input, false, 1);
	m = trained(&in, &o);
	check_saved(m, support_path(dir, "cross"), true);
	check_openmoss(m, support_path(dir, "moss"));
	check_read_back(m, support_path(dir, "moss"));
	memset(m->W_dec + 7 * 2 * D, 0, D * sizeof(float));
	check_not_openmoss(m, support_path(dir, "no"), "one is 0");
	sae_model_free(m);
	o.arch = SAE_JUMPRELU;
	m = trained(&in, &o);
	check_saved(m, support_path(dir, "jump"), true);
	check_not_openmoss(m, support_path(dir, "no"), "only relu");
	sae_model_free(m);
	input_close(&in);
	support_rmdir(dir);
	leave_folder();
}
END_TEST

START_TEST(what_is_saved_is_read_back)
{
	sae_train_opts o = opts_of(SAE_BATCHTOPK);
	char dir[FILE_PATH_MAX];
	sae_model *m;
	error err = { 0 };
	input in;

	support_mkdir(dir);
	o.steps = 5;
	input_open(&in, first_input, D, second_input, false, 1);
	m = trained(&in, &o);
	check_saved(m, support_path(dir, "cross"), true);
	ck_assert_int_eq(sae_model_export(m, "saelens", support_path(dir, "no"), false, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "crosscoder"));
	sae_model_free(m);
	input_close(&in);
	input_open(&in, whole_input, D_Y, target, true, 1);
	o.skip = true;
	m = trained(&in, &o);
	check_saved(m, support_path(dir, "skip"), false);
	ck_assert_int_eq(sae_model_export(m, "saelens", support_path(dir, "lens"), false, &err), 0);
	sae_model_free(m);
	input_close(&in);
	support_rmdir(dir);
	leave_folder();
}
END_TEST

/* ---- Checkpoints ------------------------------------------------------------------------------------------------------- */

enum { SHORT = 12, STOP = 5, MEMBERS = 5 };

static sae_trainer *trainer_new(const input *in)
{
	sae_train_opts o[MEMBERS] = { opts_of(SAE_TOPK), opts_of(SAE_BATCHTOPK), opts_of(SAE_RELU),
		                      opts_of(SAE_GATED), opts_of(SAE_JUMPRELU) };
	sae_trainer *t;
	error err = { 0 };

	for (size_t i = 0; i < MEMBERS; i++) {
		o[i].steps = SHORT;
		o[i].skip = i != 1 && sae_dump_target(in->dump);
		o[i].penalty.free_decoder = i == 2;
		o[i].moments8 = i == 1;
	}
	ck_assert_msg(sae_trainer_new(&t, in->dump, in->rows, o, MEMBERS, in->pool, &err) == 0, "%s",
	              err.msg);
	return t;
}

static void go_on(sae_trainer *t, uint64_t steps)
{
	error err = { 0 };

	while (sae_trainer_steps(t) < steps)
		ck_assert_msg(sae_trainer_step(t, &err) == 0, "%s", err.msg);
}

static void check_resume(const input *in, const input *other, const char *dir)
{
	sae_trainer *whole = trainer_new(in), *cut = trainer_new(in), *again = trainer_new(other);
	sae_saved *saved;
	bool grown;
	error err = { 0 };

	ck_assert_int_eq(sae_trainer_start(whole, NULL), 0);
	go_on(whole, SHORT);
	ck_assert_int_eq(sae_trainer_start(cut, NULL), 0);
	go_on(cut, STOP);
	ck_assert_msg(sae_trainer_save(cut, dir, NULL, NULL, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_saved_open(&saved, dir, NULL), 0);
	ck_assert_uint_eq(sae_saved_get_info(saved)->n_more_limits, 1);
	ck_assert_int_eq(
	        sae_saved_check_dump(saved, other->dump, other->rows, false, &grown, other->pool, NULL), 0);
	ck_assert_msg(sae_trainer_restore(again, saved, false, false, &err) == 0, "%s", err.msg);
	go_on(again, SHORT);
	for (size_t i = 0; i < MEMBERS; i++) {
		sae_model *a, *b;

		ck_assert_int_eq(sae_trainer_model(&a, NULL, whole, i, NULL), 0);
		ck_assert_int_eq(sae_trainer_model(&b, NULL, again, i, NULL), 0);
		check_same(a, b);
		sae_model_free(a);
		sae_model_free(b);
	}
	sae_saved_close(saved);
	sae_trainer_free(whole);
	sae_trainer_free(cut);
	sae_trainer_free(again);
}

START_TEST(a_resumed_run_is_the_uninterrupted_one)
{
	char dir[FILE_PATH_MAX];
	input in, other;

	support_mkdir(dir);
	input_open(&in, noisy_input, D_Y, mapped_target, true, 1);
	input_open(&other, noisy_input, D_Y, mapped_target, true, 3);
	check_resume(&in, &other, support_path(dir, "t"));
	input_close(&in);
	input_close(&other);
	input_open(&in, first_input, D, second_input, false, 1);
	input_open(&other, first_input, D, second_input, false, 3);
	check_resume(&in, &other, support_path(dir, "c"));
	input_close(&in);
	input_close(&other);
	support_rmdir(dir);
	leave_folder();
}
END_TEST

START_TEST(another_target_is_not_gone_on_with)
{
	char dir[FILE_PATH_MAX];
	sae_trainer *t;
	sae_saved *saved;
	bool grown;
	error err = { 0 };
	input in, other;

	support_mkdir(dir);
	input_open(&in, whole_input, D_Y, target, true, 1);
	t = trainer_new(&in);
	ck_assert_int_eq(sae_trainer_start(t, NULL), 0);
	go_on(t, 1);
	ck_assert_int_eq(sae_trainer_save(t, dir, NULL, NULL, NULL), 0);
	sae_trainer_free(t);
	input_close(&in);
	input_open(&other, whole_input, D_Y, mapped_target, true, 1);
	ck_assert_int_eq(sae_saved_open(&saved, dir, NULL), 0);
	ck_assert_int_eq(sae_saved_check_dump(saved, other.dump, other.rows, false, &grown, other.pool, &err),
	                 ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "not that of the checkpoint"));
	sae_saved_close(saved);
	input_close(&other);
	support_rmdir(dir);
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "pairs", crosscoders_tell_shared_features_from_exclusive_ones,
	             transcoders_find_the_target_of_planted_features, a_skip_takes_what_is_linear,
	             what_is_saved_is_read_back, crosscoders_of_relu_are_written_for_openmoss,
	             scaled_crosscoders_are_read, a_resumed_run_is_the_uninterrupted_one,
	             another_target_is_not_gone_on_with);
}

SUPPORT_MAIN("pairs", cases)
