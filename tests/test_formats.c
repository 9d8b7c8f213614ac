/* Every architecture of every format against its definition in FP64, as its own tool computes it, from tensors as that tool lays them
 * out on disk: d != F, d == F, F no multiple of 8, k = 1, 16-bit weights. */
#include "tests/support.h"

#include <math.h>

#include "sae/sae.h"

enum { MAX_D = 9, MAX_F = 40, ROWS = 60 };

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

/* ---- An SAE as a tool holds it ------------------------------------------------------------------------------------ */

typedef struct made {
	const char *architecture; /* SAELens's name of it */
	size_t d, out, f, k;
	bool centers, rescales;
	sae_norm norm;
	double scale; /* of the input; 1 */
	/* W_enc (d, F), W_dec (F, out), W_skip (out, d) */
	float W_enc[MAX_D * MAX_F], W_dec[MAX_F * MAX_D], W_skip[MAX_D * MAX_D];
	float b_enc[MAX_F], b_dec[MAX_D], threshold[MAX_F], b_gate[MAX_F], r_mag[MAX_F], dec_scale[MAX_F];
	double values[ROWS][MAX_F], hat[ROWS][MAX_D]; /* what it makes of the rows */
} made;

static float rows[ROWS * MAX_D];

static bool is(const made *m, const char *part)
{
	return strstr(m->architecture, part) != NULL;
}

/* A value that 16 bits of that kind hold. */
static float rounded(float x, sae_dtype t)
{
	uint16_t half;
	uint32_t bits;

	if (t == SAE_F16) {
		sae_f32_to_f16(&half, &x, 1);
		sae_f16_to_f32(&x, &half, 1);
	} else if (t == SAE_BF16) {
		memcpy(&bits, &x, 4);
		bits &= 0xffff0000u;
		memcpy(&x, &bits, 4);
	}
	return x;
}

static void fill(float *x, size_t n, uint64_t seed, float size, sae_dtype t)
{
	for (size_t i = 0; i < n; i++)
		x[i] = rounded(size * uniform(seed, i), t);
}

static void make(made *m, const char *architecture, size_t d, size_t out, size_t f, size_t k, sae_dtype t)
{
	*m = (made){
		.architecture = architecture, .d = d, .out = out, .f = f, .k = k, .centers = true, .scale = 1
	};
	fill(m->W_enc, d * f, 1, 1, t);
	fill(m->W_dec, f * out, 2, 0.5f, t);
	fill(m->W_skip, out * d, 3, 0.5f, t);
	fill(m->b_enc, f, 4, 0.5f, t);
	fill(m->b_dec, out, 5, 0.5f, t);
	fill(m->threshold, f, 6, 0.5f, t); /* half of them under 0 */
	fill(m->b_gate, f, 7, 0.5f, t);
	fill(m->r_mag, f, 8, 0.5f, t);
	fill(m->dec_scale, f, 9, 2, t);
	fill(rows, ROWS * d, 10, 2, SAE_F32);
}

/* ---- Its definition ----------------------------------------------------------------------------------------------- */

static double relu(double x)
{
	return x > 0 ? x : 0;
}

static double norm_of_row(const float *row, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)row[i] * (double)row[i];
	return sqrt(sum);
}

static void keep_top(double *value, size_t n, size_t k)
{
	double pre[MAX_F];

	memcpy(pre, value, n * sizeof(*pre));
	for (size_t f = 0; f < n; f++) {
		size_t rank = 0;

		for (size_t g = 0; g < n; g++)
			rank += pre[g] > pre[f];
		value[f] = rank < k ? relu(pre[f]) : 0;
	}
}

static void pursue(const made *m, double *residual, double *value)
{
	for (size_t step = 0; step < m->d; step++) {
		size_t best = 0;
		double most = 0, left = 0;
		bool again;

		for (size_t f = 0; f < m->f; f++) {
			double dot = 0;

			for (size_t i = 0; i < m->d; i++)
				dot += residual[i] * m->W_dec[f * m->d + i];
			if (dot > most) {
				most = dot;
				best = f;
			}
		}
		again = value[best] > 0 || !(most > 0);
		value[best] += most;
		for (size_t i = 0; i < m->d; i++) {
			residual[i] -= most * m->W_dec[best * m->d + i];
			left += residual[i] * residual[i];
		}
		if (again || sqrt(left) < 0.05)
			return;
	}
}

static void values_of(const made *m, const double *x, double *value)
{
	for (size_t f = 0; f < m->f; f++) {
		double p = 0, norm = norm_of_row(m->W_dec + f * m->out, m->out);

		for (size_t i = 0; i < m->d; i++)
			p += x[i] * m->W_enc[i * m->f + f];
		value[f] = p + m->b_enc[f];
		if (m->rescales)
			value[f] *= norm;
		if (is(m, "standard") || strcmp(m->architecture, "transcoder") == 0 ||
		    is(m, "skip_transcoder"))
			value[f] = relu(value[f]);
		if (is(m, "jumprelu"))
			value[f] = value[f] > m->threshold[f] ? relu(value[f]) : 0;
		if (is(m, "batchtopk"))
			value[f] = value[f] > 0.25 ? value[f] : 0;
		if (is(m, "gated"))
			value[f] = p + m->b_gate[f] > 0 ? relu(exp(m->r_mag[f]) * p + m->b_enc[f]) : 0;
	}
	for (size_t f = 0; is(m, "groupmax") && f < m->f; f += m->f / m->k)
		keep_top(value + f, m->f / m->k, 1);
	if (is(m, "topk") && !is(m, "batch"))
		keep_top(value, m->f, m->k);
}

static void compute_row(made *m, const float *row, double *value, double *hat)
{
	double x[MAX_D], sum = 0, squares = 0, shift = 0, back = 1, residual[MAX_D];

	for (size_t i = 0; i < m->d; i++)
		sum += row[i];
	if (m->norm == SAE_NORM_LAYER)
		shift = sum / (double)m->d;
	for (size_t i = 0; i < m->d; i++)
		squares += (row[i] - shift) * (row[i] - shift);
	if (m->norm == SAE_NORM_LAYER)
		back = sqrt(squares / (double)(m->d - 1));
	else if (m->norm == SAE_NORM_UNIT)
		back = sqrt(squares / (double)m->d);
	for (size_t i = 0; i < m->d; i++)
		x[i] = m->scale * (row[i] - shift) / (back + (m->norm == SAE_NORM_LAYER ? 1e-5 : 0)) -
		       (m->centers ? m->b_dec[i] : 0);
	memset(value, 0, m->f * sizeof(*value));
	memcpy(residual, x, sizeof(x));
	if (is(m, "pursuit"))
		pursue(m, residual, value);
	else
		values_of(m, x, value);
	for (size_t i = 0; i < m->out; i++) {
		hat[i] = m->b_dec[i];
		for (size_t f = 0; f < m->f; f++)
			hat[i] += value[f] * m->W_dec[f * m->out + i] /
			          (m->rescales ? norm_of_row(m->W_dec + f * m->out, m->out) : 1);
		if (!is(m, "transcoder"))
			hat[i] = (hat[i] * back + shift) / m->scale;
		for (size_t j = 0; is(m, "skip") && j < m->d; j++)
			hat[i] += m->W_skip[i * m->d + j] * (double)row[j];
	}
}

static void compute(made *m)
{
	for (size_t r = 0; r < ROWS; r++)
		compute_row(m, rows + r * m->d, m->values[r], m->hat[r]);
}

/* ---- What Gloss makes of it --------------------------------------------------------------------------------------- */

static void check(const made *m, const sae_model *model)
{
	static float hat[ROWS * MAX_D];
	sae_encoder *e = NULL;
	sae_codes c = { 0 };
	size_t n_codes = 0;
	error err = { 0 };
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_msg(sae_encoder_new(&e, model, p, NULL, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_encode(e, rows, ROWS, &c, &err) == 0, "%s", err.msg);
	sae_decode(model, rows, &c, hat, p);
	for (size_t r = 0; r < ROWS; r++) {
		double have[MAX_F] = { 0 }, most = 0;

		for (size_t i = c.first[r]; i < c.first[r + 1]; i++) {
			ck_assert(c.value[i] > 0 && (i == c.first[r] || c.index[i] > c.index[i - 1]));
			have[c.index[i]] = c.value[i];
			n_codes++;
		}
		for (size_t f = 0; f < m->f; f++)
			most = fmax(most, m->values[r][f]);
		for (size_t f = 0; f < m->f; f++)
			ck_assert_msg(fabs(have[f] - m->values[r][f]) <= 1e-5 * (most + 1),
			              "%s row %zu feature %zu: %g, not %g", m->architecture, r, f, have[f],
			              m->values[r][f]);
		for (size_t i = 0; i < m->out; i++)
			ck_assert_msg(fabs((double)hat[r * m->out + i] - m->hat[r][i]) <= 2e-5 * (most + 1),
			              "%s row %zu output %zu: %g, not %g", m->architecture, r, i,
			              (double)hat[r * m->out + i], m->hat[r][i]);
	}
	ck_assert_uint_gt(n_codes, ROWS / 2); /* or nothing was compared */
	sae_encoder_free(e);
	sae_codes_free(&c);
	pool_free(p);
}

static sae_model *load(const char *path)
{
	sae_model *m = NULL;
	error err = { 0 };

	ck_assert_msg(sae_model_load(&m, path, &err) == 0, "%s", err.msg);
	return m;
}

/* ---- Tensors on disk ---------------------------------------------------------------------------------------------- */

typedef struct tensors {
	size_t n;
	sae_tensor_out t[10];
	sae_dtype dtype;
	uint16_t half[2000];
	size_t used;
} tensors;

/* columns 0: one dimension. */
static void add(tensors *all, const char *name, const float *x, size_t n_rows, size_t columns)
{
	size_t n = n_rows * (columns ? columns : 1);
	uint16_t *half = all->half + all->used;

	ck_assert_uint_lt(all->n, ARRAY_LEN(all->t));
	if (all->dtype != SAE_F32) {
		ck_assert_uint_le(all->used += n, ARRAY_LEN(all->half));
		for (size_t i = 0; i < n; i++)
			memcpy(half + i, (const char *)(x + i) + 2, 2);
		if (all->dtype == SAE_F16)
			sae_f32_to_f16(half, x, n);
	}
	all->t[all->n++] = (sae_tensor_out){ name,
		                             all->dtype,
		                             columns ? 2 : 1,
		                             { n_rows, columns },
		                             all->dtype == SAE_F32 ? (const void *)x : half };
}

static void write_tensors(const tensors *all, const char *path)
{
	error err = { 0 };

	ck_assert_msg(sae_safetensors_write(path, all->t, all->n, NULL, 0, &err) == 0, "%s", err.msg);
}

/* ---- SAELens ------------------------------------------------------------------------------------------------------ */

/* A folder as SAELens writes it; `more`: members of the config. */
static void write_saelens(const char *dir, const made *m, sae_dtype t, const char *more)
{
	static const double batch_threshold = 0.25;
	tensors all = { .dtype = t };
	char config[512];

	add(&all, "W_dec", m->W_dec, m->f, m->out);
	add(&all, "b_dec", m->b_dec, m->out, 0);
	if (!is(m, "pursuit"))
		add(&all, "W_enc", m->W_enc, m->d, m->f);
	if (is(m, "gated")) {
		add(&all, "b_mag", m->b_enc, m->f, 0);
		add(&all, "b_gate", m->b_gate, m->f, 0);
		add(&all, "r_mag", m->r_mag, m->f, 0);
	} else if (!is(m, "pursuit")) {
		add(&all, "b_enc", m->b_enc, m->f, 0);
	}
	if (is(m, "jumprelu"))
		add(&all, "threshold", m->threshold, m->f, 0);
	if (is(m, "skip"))
		add(&all, "W_skip", m->W_skip, m->out, m->d);
	if (is(m, "batchtopk"))
		all.t[all.n++] = (sae_tensor_out){ "topk_threshold", SAE_F64, 0, { 0 }, &batch_threshold };
	write_tensors(&all, support_path(dir, "sae_weights.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"architecture\":\"%s\",\"d_in\":%zu,\"d_sae\":%zu,\"d_out\":%zu,\"apply_b_dec_to_input\":"
	         "%s,"
	         "\"metadata\":{\"sae_lens_version\":\"6.54.12\",\"hook_name\":\"blocks.3\"}%s}",
	         m->architecture, m->d, m->f, m->out, m->centers ? "true" : "false", more);
	support_put_text(support_path(dir, "cfg.json"), config);
}

/* Loaded and as its own copy, which is loaded again: the same codes, and the same tensors. */
static void check_saelens(made *m, sae_dtype t, const char *more)
{
	sae_model *model, *back;
	char dir[FILE_PATH_MAX];
	error err = { 0 };

	support_mkdir(dir);
	write_saelens(dir, m, t, more);
	compute(m);
	model = load(dir);
	ck_assert_str_eq(model->hook_name, "blocks.3");
	check(m, model);
	ck_assert_msg(sae_model_save(model, support_path(dir, "copy"), NULL, NULL, &err) == 0, "%s", err.msg);
	back = load(support_path(dir, "copy/sae_weights.safetensors"));
	check(m, back);
	ck_assert_int_eq(back->arch, model->arch);
	ck_assert_mem_eq(back->W_enc, model->W_enc, m->f * m->d * sizeof(float));
	ck_assert_mem_eq(back->W_dec, model->W_dec, m->f * m->out * sizeof(float));
	sae_model_free(back);
	sae_model_free(model);
	support_rmdir(dir);
}

static const struct {
	size_t d, f, k;
	sae_dtype t;
} shapes[] = { { 5, 37, 3, SAE_F32 }, { 5, 37, 1, SAE_F16 }, { 6, 6, 2, SAE_BF16 }, { 9, 4, 1, SAE_F32 } };

START_TEST(saelens_architectures_are_computed)
{
	const char *const names[] = { "standard",        "topk",      "jumprelu",
		                      "gated",           "batchtopk", "matryoshka_batchtopk",
		                      "matching_pursuit" };
	char more[64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		made m;

		make(&m, names[i], shapes[_i].d, shapes[_i].d, shapes[_i].f, shapes[_i].k, shapes[_i].t);
		snprintf(more, sizeof(more), ",\"k\":%zu,\"residual_threshold\":0.05", m.k);
		check_saelens(&m, shapes[_i].t, more);
		if (i == 6)
			continue; /* whose b_dec is all or nothing */
		m.centers = false;
		check_saelens(&m, shapes[_i].t, more);
	}
}
END_TEST

START_TEST(saelens_transcoders_are_computed)
{
	const char *const names[] = { "transcoder", "skip_transcoder", "jumprelu_transcoder",
		                      "jumprelu_skip_transcoder" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		made m;

		make(&m, names[i], shapes[_i].d, shapes[_i].d == 6 ? 6 : 7, shapes[_i].f, 0, shapes[_i].t);
		m.centers = false;
		check_saelens(&m, shapes[_i].t, "");
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

			make(&m, names[i], 5, 5, 37, 3, SAE_F32);
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

		make(&m, names[i], 5, 5, 37, 3, SAE_F32);
		m.rescales = true;
		check_saelens(&m, SAE_F32, ",\"k\":3,\"rescale_acts_by_decoder_norm\":true");
	}
}
END_TEST

/* ---- Other formats ------------------------------------------------------------------------------------------------ */

/* The SAE in `dir`, and what becomes of it in the format `to`. */
static void check_and_export(made *m, const char *dir, const char *to)
{
	sae_model *model, *back;
	sae_model_facts facts;
	error err = { 0 };

	compute(m);
	model = load(dir);
	check(m, model);
	ck_assert_msg(sae_model_export(model, to, support_path(dir, "out"), false, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_model_export(model, to, support_path(dir, "out"), false, &err), ERR_EXISTS);
	back = load(support_path(dir, "out"));
	check(m, back);
	ck_assert_mem_eq(back->W_enc, model->W_enc, m->f * m->d * sizeof(float));
	ck_assert_mem_eq(back->W_dec, model->W_dec, m->f * m->out * sizeof(float));
	ck_assert_int_eq(sae_model_look(&facts, support_path(dir, "out"), &err), 0);
	ck_assert_str_eq(facts.format, strcmp(to, "gloss") == 0 ? "saelens" : to);
	ck_assert(facts.d_in == m->d && facts.d_out == m->out && facts.d_sae == m->f);
	ck_assert_int_eq(sae_model_export(model, to, support_path(dir, "out"), true, &err), 0);
	sae_model_free(back);
	sae_model_free(model);
}

/* nn.Linear keeps (F, d); where d == F no shape could tell. */
static void write_sparsify(const char *dir, const made *m, sae_dtype t, const char *more)
{
	float turned[MAX_F * MAX_D];
	tensors all = { .dtype = t };
	char config[256];

	for (size_t f = 0; f < m->f; f++)
		for (size_t i = 0; i < m->d; i++)
			turned[f * m->d + i] = m->W_enc[i * m->f + f];
	add(&all, "encoder.weight", turned, m->f, m->d);
	add(&all, "encoder.bias", m->b_enc, m->f, 0);
	add(&all, "W_dec", m->W_dec, m->f, m->out);
	add(&all, "b_dec", m->b_dec, m->out, 0);
	if (is(m, "skip"))
		add(&all, "W_skip", m->W_skip, m->out, m->d);
	write_tensors(&all, support_path(dir, "sae.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"activation\":\"%s\",\"k\":%zu,\"d_in\":%zu,\"num_latents\":0,\"expansion_factor\":32,"
	         "\"normalize_decoder\":true,\"multi_topk\":false%s}",
	         is(m, "groupmax") ? "groupmax" : "topk", m->k, m->d, more);
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

		if (shapes[_i].f % shapes[_i].k && i == 1)
			continue;
		make(&m, kinds[i].name, shapes[_i].d, shapes[_i].d, shapes[_i].f, shapes[_i].k, shapes[_i].t);
		m.centers = !is(&m, "transcoder");
		support_mkdir(dir);
		write_sparsify(dir, &m, shapes[_i].t, kinds[i].more);
		check_and_export(&m, dir, "sparsify");
		support_rmdir(dir);
	}
}
END_TEST

static void write_gemma_scope_2(const char *dir, const made *m, sae_dtype t)
{
	float turned[MAX_D * MAX_D];
	tensors all = { .dtype = t };
	char config[256];

	for (size_t i = 0; i < m->out; i++)
		for (size_t j = 0; j < m->d; j++)
			turned[j * m->out + i] = m->W_skip[i * m->d + j];
	add(&all, "w_enc", m->W_enc, m->d, m->f);
	add(&all, "w_dec", m->W_dec, m->f, m->out);
	add(&all, "b_enc", m->b_enc, m->f, 0);
	add(&all, "b_dec", m->b_dec, m->out, 0);
	add(&all, "threshold", m->threshold, m->f, 0);
	if (is(m, "skip"))
		add(&all, "affine_skip_connection", turned, m->d, m->out);
	write_tensors(&all, support_path(dir, "params.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"architecture\":\"jump_relu\",\"hf_hook_point_in\":\"a\",\"hf_hook_point_out\":\"%s\","
	         "\"affine_connection\":%s}",
	         is(m, "transcoder") ? "b" : "a", is(m, "skip") ? "true" : "false");
	support_put_text(support_path(dir, "config.json"), config);
}

START_TEST(gemma_scope_2_is_read_and_written)
{
	const char *const names[] = { "jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t d = shapes[_i].d;
		char dir[FILE_PATH_MAX];
		made m;

		make(&m, names[i], d, i && d != 6 ? 7 : d, shapes[_i].f, 0, shapes[_i].t);
		m.centers = false;
		support_mkdir(dir);
		write_gemma_scope_2(dir, &m, shapes[_i].t);
		check_and_export(&m, dir, "gemma-scope-2");
		support_rmdir(dir);
	}
}
END_TEST

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

		make(&m, ways[i].from, 5, 5, 37, 3, SAE_F32);
		m.centers = ways[i].centers;
		support_mkdir(dir);
		write_saelens(dir, &m, SAE_F32, ",\"k\":3");
		compute(&m);
		model = load(dir);
		ck_assert_msg(sae_model_export(model, ways[i].to, support_path(dir, "out"), false, &err) == 0,
		              "%s", err.msg);
		back = load(support_path(dir, "out"));
		check(&m, back);
		sae_model_free(back);
		sae_model_free(model);
		support_rmdir(dir);
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
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		char dir[FILE_PATH_MAX];
		sae_model *model;
		error err = { 0 };
		made m;

		make(&m, ways[i].from, 5, 5, 37, 3, SAE_F32);
		support_mkdir(dir);
		write_saelens(dir, &m, SAE_F32, ways[i].more);
		model = load(dir);
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
	make(&m, "topk", 5, 5, 37, 3, SAE_F32);
	write_sparsify(dir, &m, SAE_F32, "");
	expect(dir, "{\"k\":0,\"d_in\":5}", "k 0 is not in 1..d_sae = 37");
	expect(dir, "{\"k\":38,\"d_in\":5}", "k 38 is not in 1..d_sae = 37");
	expect(dir, "{\"k\":3,\"d_in\":6}", "'W_dec' has shape (37, 5), the others say (37, 6)");
	expect(dir, "{\"k\":3,\"d_in\":5,\"num_latents\":36}", "cfg.json says (36, 5)");
	expect(dir, "{\"k\":3,\"d_in\":99999999999}", "d_in 99999999999 is not in 1..");
	expect(dir, "{\"k\":3,\"d_in\":-1}", "d_in");
	expect(dir, "{\"k\":3,\"activation\":\"groupmax\"}", "d_sae 37 is no multiple of k = 3 groups");
	expect(dir, "{\"k\":3,\"activation\":\"softmax\"}", "activation 'softmax' is not supported");
	expect(dir, "{\"k\":3,\"signed\":true}", "signed activations");
	expect(dir, "{\"k\":3,\"skip_connection\":true}", "has no tensor 'W_skip'");
	expect(dir, "[]", "is not a JSON object");
	/* the encoder the other way round */
	add(&all, "encoder.weight", m.W_enc, m.d, m.f);
	add(&all, "encoder.bias", m.b_enc, m.f, 0);
	add(&all, "W_dec", m.W_dec, m.f, m.d);
	add(&all, "b_dec", m.b_dec, m.d, 0);
	write_tensors(&all, support_path(dir, "sae.safetensors"));
	expect(dir, "{\"k\":3,\"d_in\":5}", "'W_dec' has shape (37, 5), the others say (5, 5)");
	expect(dir, "{\"k\":3,\"d_in\":5,\"num_latents\":37}",
	       "'encoder.weight' has shape (5, 37), cfg.json says (37, 5)");
	support_rmdir(dir);
}
END_TEST

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
			return;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert_str_ne(err.msg, "");
	}
}

START_TEST(each_fault_is_reported)
{
	static const struct {
		const char *from, *to;
	} ways[] = { { "gated", "gemma-scope-2" },
		     { "matching_pursuit", "saelens" },
		     { "topk", "sparsify" } };
	const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ, FAULT_WRITE, FAULT_SYNC };

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		char dir[FILE_PATH_MAX], out[FILE_PATH_MAX];
		made m;

		make(&m, ways[i].from, 5, 5, 37, 3, SAE_F32);
		support_mkdir(dir);
		ck_assert_int_eq(file_join(out, dir, "out", NULL), 0);
		write_saelens(dir, &m, SAE_F32, ",\"k\":3");
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			each_fault(kinds[k], dir, out, ways[i].to);
		support_rmdir(dir);
	}
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "saelens", rows_are_normalised_and_back, decoder_norms_are_folded);

	tcase_add_loop_test(t, saelens_architectures_are_computed, 0, (int)ARRAY_LEN(shapes));
	tcase_add_loop_test(t, saelens_transcoders_are_computed, 0, (int)ARRAY_LEN(shapes));
	t = SUPPORT_CASE(s, "others", exports_fold_what_is_exact, exports_refuse_what_they_cannot_say);
	tcase_add_loop_test(t, sparsify_is_read_and_written, 0, (int)ARRAY_LEN(shapes));
	tcase_add_loop_test(t, gemma_scope_2_is_read_and_written, 0, (int)ARRAY_LEN(shapes));
	SUPPORT_CASE(s, "wrong", wrong_folders_are_refused, each_fault_is_reported);
}
SUPPORT_MAIN("formats", cases)
