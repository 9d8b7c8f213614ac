/* See support_formats.h. */
#include "tests/support_formats.h"

#include <math.h>

#include "tests/support.h"

const made_shape made_shapes[MADE_SHAPES] = {
	{ 5, 37, 3, SAE_F32 }, { 5, 37, 1, SAE_F16 }, { 6, 6, 2, SAE_BF16 }, { 9, 4, 1, SAE_F32 }
};

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

float made_rows[MADE_ROWS * MADE_D];

bool made_is(const made *m, const char *part)
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

void made_make(made *m, const char *architecture, size_t d, size_t out, size_t f, size_t k, sae_dtype t)
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
	fill(made_rows, MADE_ROWS * d, 10, 2, SAE_F32);
}

/* ---- Its definition ----------------------------------------------------------------------------------------------- */

static double relu(double x)
{
	return x > 0 ? x : 0;
}

double made_norm(const float *row, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)row[i] * (double)row[i];
	return sqrt(sum);
}

static void keep_top(double *value, size_t n, size_t k)
{
	double pre[MADE_F];

	memcpy(pre, value, n * sizeof(*pre));
	for (size_t f = 0; f < n; f++) {
		size_t rank = 0;

		for (size_t g = 0; g < n; g++)
			rank += pre[g] > pre[f];
		value[f] = rank < k ? relu(pre[f]) : 0;
	}
}

/* The k of the greatest size, with their signs. */
static void keep_signed(double *value, size_t n, size_t k)
{
	double pre[MADE_F];

	memcpy(pre, value, n * sizeof(*pre));
	for (size_t f = 0; f < n; f++) {
		size_t rank = 0;

		for (size_t g = 0; g < n; g++)
			rank += fabs(pre[g]) > fabs(pre[f]);
		value[f] = rank < k ? pre[f] : 0;
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
		double p = 0, norm = made_norm(m->W_dec + f * m->out, m->out);

		for (size_t i = 0; i < m->d; i++)
			p += x[i] * m->W_enc[i * m->f + f];
		value[f] = p + m->b_enc[f];
		if (m->rescales)
			value[f] *= norm;
		if (made_is(m, "standard") || strcmp(m->architecture, "transcoder") == 0 ||
		    made_is(m, "skip_transcoder"))
			value[f] = relu(value[f]);
		if (made_is(m, "jumprelu"))
			value[f] = value[f] > m->threshold[f] ? relu(value[f]) : 0;
		if (made_is(m, "batchtopk"))
			value[f] = value[f] > 0.25 ? value[f] : 0;
		if (made_is(m, "gated"))
			value[f] = p + m->b_gate[f] > 0 ? relu(exp(m->r_mag[f]) * p + m->b_enc[f]) : 0;
	}
	for (size_t f = 0; made_is(m, "groupmax") && f < m->f; f += m->f / m->k)
		keep_top(value + f, m->f / m->k, 1);
	if (made_is(m, "abstopk"))
		keep_signed(value, m->f, m->k);
	else if (made_is(m, "topk") && !made_is(m, "batch"))
		keep_top(value, m->f, m->k);
}

static void compute_row(made *m, const float *row, double *value, double *hat)
{
	double x[MADE_D], sum = 0, squares = 0, shift = 0, back = 1, residual[MADE_D];

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
	if (made_is(m, "pursuit"))
		pursue(m, residual, value);
	else
		values_of(m, x, value);
	for (size_t i = 0; i < m->out; i++) {
		hat[i] = m->b_dec[i];
		for (size_t f = 0; f < m->f; f++)
			hat[i] += value[f] * m->W_dec[f * m->out + i] /
			          (m->rescales ? made_norm(m->W_dec + f * m->out, m->out) : 1);
		if (!made_is(m, "transcoder"))
			hat[i] = (hat[i] * back + shift) / m->scale;
		for (size_t j = 0; made_is(m, "skip") && j < m->d; j++)
			hat[i] += m->W_skip[i * m->d + j] * (double)row[j];
	}
}

void made_compute(made *m)
{
	for (size_t r = 0; r < MADE_ROWS; r++)
		compute_row(m, made_rows + r * m->d, m->values[r], m->hat[r]);
}

/* ---- What Gloss makes of it --------------------------------------------------------------------------------------- */

void made_check(const made *m, const sae_model *model)
{
	static float hat[MADE_ROWS * MADE_D];
	sae_encoder *e = NULL;
	sae_codes c = { 0 };
	size_t n_codes = 0;
	error err = { 0 };
	pool *p;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_msg(sae_encoder_new(&e, model, p, NULL, &err) == 0, "%s", err.msg);
	ck_assert_msg(sae_encode(e, made_rows, MADE_ROWS, &c, &err) == 0, "%s", err.msg);
	sae_decode(model, made_rows, &c, hat, p);
	for (size_t r = 0; r < MADE_ROWS; r++) {
		double have[MADE_F] = { 0 }, most = 0;

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
	ck_assert_uint_gt(n_codes, MADE_ROWS / 2); /* or nothing was compared */
	sae_encoder_free(e);
	sae_codes_free(&c);
	pool_free(p);
}

sae_model *made_load(const char *path)
{
	sae_model *m = NULL;
	error err = { 0 };

	ck_assert_msg(sae_model_load(&m, path, &err) == 0, "%s", err.msg);
	return m;
}

const float *made_turn(float *out, const float *x, size_t n_rows, size_t columns)
{
	for (size_t i = 0; i < n_rows; i++)
		for (size_t j = 0; j < columns; j++)
			out[j * n_rows + i] = x[i * columns + j];
	return out;
}

/* ---- Tensors on disk ---------------------------------------------------------------------------------------------- */

void tensors_add(tensors *all, const char *name, const float *x, size_t n_rows, size_t columns)
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

void tensors_write(const tensors *all, const char *path)
{
	error err = { 0 };

	ck_assert_msg(sae_safetensors_write(path, all->t, all->n, NULL, 0, &err) == 0, "%s", err.msg);
}

void made_write_saelens(const char *dir, const made *m, sae_dtype t, const char *more)
{
	static const double batch_threshold = 0.25;
	tensors all = { .dtype = t };
	char config[512];

	tensors_add(&all, "W_dec", m->W_dec, m->f, m->out);
	tensors_add(&all, "b_dec", m->b_dec, m->out, 0);
	if (!made_is(m, "pursuit"))
		tensors_add(&all, "W_enc", m->W_enc, m->d, m->f);
	if (made_is(m, "gated")) {
		tensors_add(&all, "b_mag", m->b_enc, m->f, 0);
		tensors_add(&all, "b_gate", m->b_gate, m->f, 0);
		tensors_add(&all, "r_mag", m->r_mag, m->f, 0);
	} else if (!made_is(m, "pursuit")) {
		tensors_add(&all, "b_enc", m->b_enc, m->f, 0);
	}
	if (made_is(m, "jumprelu"))
		tensors_add(&all, "threshold", m->threshold, m->f, 0);
	if (made_is(m, "skip"))
		tensors_add(&all, "W_skip", m->W_skip, m->out, m->d);
	if (made_is(m, "batchtopk"))
		all.t[all.n++] = (sae_tensor_out){ "topk_threshold", SAE_F64, 0, { 0 }, &batch_threshold };
	tensors_write(&all, support_path(dir, "sae_weights.safetensors"));
	snprintf(config, sizeof(config),
	         "{\"architecture\":\"%s\",\"d_in\":%zu,\"d_sae\":%zu,\"d_out\":%zu,\"apply_b_dec_to_input\":"
	         "%s,"
	         "\"metadata\":{\"sae_lens_version\":\"6.54.12\",\"hook_name\":\"blocks.3\"}%s}",
	         m->architecture, m->d, m->f, m->out, m->centers ? "true" : "false", more);
	support_put_text(support_path(dir, "cfg.json"), config);
}

void made_check_export(made *m, const char *path, const char *dir, const char *to)
{
	sae_model *model, *back;
	sae_model_facts facts;
	error err = { 0 };

	made_compute(m);
	model = made_load(path);
	made_check(m, model);
	ck_assert_msg(sae_model_export(model, to, support_path(dir, "out"), false, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sae_model_export(model, to, support_path(dir, "out"), false, &err), ERR_EXISTS);
	back = made_load(support_path(dir, "out"));
	made_check(m, back);
	ck_assert_mem_eq(back->W_enc, model->W_enc, m->f * m->d * sizeof(float));
	ck_assert_mem_eq(back->W_dec, model->W_dec, m->f * m->out * sizeof(float));
	ck_assert_int_eq(sae_model_look(&facts, support_path(dir, "out"), &err), 0);
	ck_assert_str_eq(facts.format, strcmp(to, "gloss") == 0 ? "saelens" : to);
	ck_assert(facts.d_in == m->d && facts.d_out == m->out && facts.d_sae == m->f);
	sae_model_free(back);
	sae_model_free(model);
}
