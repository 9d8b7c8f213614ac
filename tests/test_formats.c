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

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "saelens", rows_are_normalised_and_back, decoder_norms_are_folded);

	tcase_add_loop_test(t, saelens_architectures_are_computed, 0, (int)ARRAY_LEN(shapes));
	tcase_add_loop_test(t, saelens_transcoders_are_computed, 0, (int)ARRAY_LEN(shapes));
}
SUPPORT_MAIN("formats", cases)
