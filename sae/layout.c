/* A model from any folder: see layout.h. */
#include "sae/layout.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES (16u << 20)

void layout_init(layout *l, const char *format)
{
	*l = (layout){ .format = format,
		       .centers = true,
		       .repeat_ends = true,
		       .norm_limit = INFINITY,
		       .enc = { "W_enc", true },
		       .dec = { "W_dec", false },
		       .b_enc = "b_enc",
		       .b_dec = "b_dec",
		       .scale = 1 };
}

void layout_clear(layout *l)
{
	cJSON_Delete(l->json);
	l->json = NULL;
}

int layout_config(layout *l, const char *dir, const char *name, error *err)
{
	int rc = file_join(l->config, dir, name, err);

	if (rc == 0)
		rc = json_read_file(&l->json, l->config, CONFIG_MAX_BYTES, err);
	if (rc == 0 && !cJSON_IsObject(l->json))
		rc = error_set(err, ERR_FORMAT, "'%s' is not a JSON object", l->config);
	return rc;
}

void layout_folds(layout *l, const char *what)
{
	size_t n = strlen(l->folded);

	snprintf(l->folded + n, sizeof(l->folded) - n, "%s%s", n ? ", " : "", what);
}

/* ---- Checks ------------------------------------------------------------------------------------------------------- */

static int find_floats(const sae_tensor **out, const sae_file *f, const char *name, error *err)
{
	const sae_tensor *t = sae_file_tensor(f, name);

	if (!t)
		return error_set(err, ERR_FORMAT, "'%s' has no tensor '%s'", sae_file_path(f), name);
	if (t->dtype > SAE_F64)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' is %s, not a float", sae_file_path(f),
		                 name, sae_dtype_name(t->dtype));
	*out = t;
	return 0;
}

static int refuse_shape(const layout *l, const sae_tensor *t, uint64_t rows, uint64_t columns, error *err)
{
	char have[96] = "", want[64];
	size_t n = 0;

	for (unsigned i = 0; i < t->n_dims && n < sizeof(have) - 24; i++)
		n += (size_t)snprintf(have + n, sizeof(have) - n, "%s%" PRIu64, i ? ", " : "", t->dims[i]);
	snprintf(want, sizeof(want), columns ? "(%" PRIu64 ", %" PRIu64 ")" : "(%" PRIu64 ")", rows, columns);
	return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has shape (%s), %s %s %s", l->weights, t->name,
	                 have, l->deduced ? "the others" : file_base(l->config), l->deduced ? "say" : "says",
	                 want);
}

/* The tensor `name` of exactly this shape; columns 0: one dimension. */
static int find_tensor(const sae_tensor **out, const layout *l, const sae_file *f, const char *name,
                       uint64_t rows, uint64_t columns, error *err)
{
	int rc = find_floats(out, f, name, err);
	const sae_tensor *t = *out;

	if (rc == 0 &&
	    (t->n_dims != (columns ? 2 : 1) || t->dims[0] != rows || (columns && t->dims[1] != columns)))
		rc = refuse_shape(l, t, rows, columns, err);
	return rc;
}

static int find_matrix(const sae_tensor **out, const layout *l, const sae_file *f, const layout_matrix *m,
                       uint64_t rows, uint64_t columns, error *err)
{
	return m->turned ? find_tensor(out, l, f, m->name, columns, rows, err)
	                 : find_tensor(out, l, f, m->name, rows, columns, err);
}

/* Sizes that the config does not tell. */
static int take_sizes(layout *l, const sae_file *f, const layout_matrix *m, uint64_t *d, error *err)
{
	const sae_tensor *t;
	int rc = *d && l->d_sae ? 0 : find_floats(&t, f, m->name, err);

	if (rc < 0 || (*d && l->d_sae))
		return rc;
	if (t->n_dims != 2)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has %u dimensions, not 2", l->weights,
		                 m->name, t->n_dims);
	l->deduced = true;
	if (!*d)
		*d = t->dims[m->turned ? 0 : 1];
	if (!l->d_sae)
		l->d_sae = t->dims[m->turned ? 1 : 0];
	return 0;
}

static int check_width(const layout *l, const char *name, uint64_t value, error *err)
{
	if (value < 1 || value > LAYOUT_MAX_WIDTH)
		return error_set(err, ERR_FORMAT, "'%s': %s %" PRIu64 " is not in 1..%u",
		                 *l->config ? l->config : l->weights, name, value, LAYOUT_MAX_WIDTH);
	return 0;
}

static int check_rule(layout *l, error *err)
{
	const char *where = *l->config ? l->config : l->weights;
	bool counts = l->arch == SAE_TOPK || l->arch == SAE_GROUPMAX;

	if (counts && (l->k < 1 || l->k > l->d_sae))
		return error_set(err, ERR_FORMAT, "'%s': k %" PRIu64 " is not in 1..d_sae = %" PRIu64, where,
		                 l->k, l->d_sae);
	if (!counts && l->k > l->d_sae)
		return error_set(err, ERR_FORMAT, "'%s': k %" PRIu64 " is over d_sae = %" PRIu64, where, l->k,
		                 l->d_sae);
	if (l->arch == SAE_GROUPMAX && l->d_sae % l->k != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': d_sae %" PRIu64 " is no multiple of k = %" PRIu64 " groups", where,
		                 l->d_sae, l->k);
	if (l->centers && l->d_in != l->d_out)
		return error_set(err, ERR_FORMAT,
		                 "'%s': b_dec cannot be taken off the input: d_in is %" PRIu64
		                 ", d_out %" PRIu64,
		                 where, l->d_in, l->d_out);
	if (!(l->scale > 0 && isfinite(l->scale)))
		return error_set(err, ERR_FORMAT, "'%s': the input scale %g is not positive", where,
		                 l->scale);
	if (!(l->scale_out >= 0 && isfinite(l->scale_out)))
		return error_set(err, ERR_FORMAT, "'%s': the output scale %g is negative", where,
		                 l->scale_out);
	if (!(l->norm_limit > 0))
		return error_set(err, ERR_FORMAT, "'%s': norm_limit %g is not positive", where,
		                 l->norm_limit);
	if (!l->steps)
		l->steps = l->d_in;
	return 0;
}

static int check_vector(const layout *l, const sae_file *f, const char *name, uint64_t n, error *err)
{
	const sae_tensor *t;

	return name ? find_tensor(&t, l, f, name, n, 0, err) : 0;
}

static bool is_scalar(const sae_tensor *t)
{
	return t->count == 1 && t->n_dims <= 1;
}

static int check_threshold(const layout *l, const sae_file *f, error *err)
{
	const sae_tensor *t;
	int rc = l->threshold ? find_floats(&t, f, l->threshold, err) : 0;

	if (rc < 0 || !l->threshold || is_scalar(t))
		return rc;
	return check_vector(l, f, l->threshold, l->d_sae, err);
}

static int check_shapes(const layout *l, const sae_file *f, error *err)
{
	const sae_tensor *t;
	int rc = find_matrix(&t, l, f, &l->dec, l->d_sae, l->d_out, err);

	if (rc == 0 && l->enc.name)
		rc = find_matrix(&t, l, f, &l->enc, l->d_sae, l->d_in, err);
	if (rc == 0 && l->skip.name)
		rc = find_matrix(&t, l, f, &l->skip, l->d_out, l->d_in, err);
	if (rc == 0)
		rc = check_vector(l, f, l->b_enc, l->d_sae, err);
	if (rc == 0)
		rc = check_vector(l, f, l->b_dec, l->d_out, err);
	if (rc == 0)
		rc = check_vector(l, f, l->r_mag, l->d_sae, err);
	if (rc == 0)
		rc = check_vector(l, f, l->b_gate, l->d_sae, err);
	if (rc == 0)
		rc = check_vector(l, f, l->dec_scale, l->d_sae, err);
	return rc < 0 ? rc : check_threshold(l, f, err);
}

int layout_open(sae_file **out, layout *l, error *err)
{
	sae_file *f = NULL;
	int rc = sae_file_open(&f, l->weights, err);

	if (rc < 0)
		return rc;
	if (l->enc.name)
		rc = take_sizes(l, f, &l->enc, &l->d_in, err);
	if (rc == 0 && !l->d_out && !l->transcodes)
		l->d_out = l->d_in;
	if (rc == 0)
		rc = take_sizes(l, f, &l->dec, &l->d_out, err);
	if (rc == 0 && !l->d_in) /* matching pursuit has no encoder */
		l->d_in = l->d_out;
	if (rc == 0)
		rc = check_width(l, "d_in", l->d_in, err);
	if (rc == 0)
		rc = check_width(l, "d_out", l->d_out, err);
	if (rc == 0)
		rc = check_width(l, "d_sae", l->d_sae, err);
	if (rc == 0)
		rc = check_rule(l, err);
	if (rc == 0)
		rc = check_shapes(l, f, err);
	if (rc < 0) {
		sae_file_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

/* Our out (rows, columns) from a file that holds (columns, rows), some of its rows at a time. */
static int read_turned(float *out, const sae_file *f, const sae_tensor *t, size_t rows, size_t columns,
                       error *err)
{
	float *block = mem_alloc_aligned(LAYOUT_TURN_ROWS, rows * sizeof(float));
	int rc = block ? 0 : error_nomem(err, "rows of a matrix");

	for (size_t first = 0; first < columns && rc == 0; first += LAYOUT_TURN_ROWS) {
		size_t n = columns - first < LAYOUT_TURN_ROWS ? columns - first : LAYOUT_TURN_ROWS;

		rc = sae_file_read_f32(f, t, first * rows, n * rows, block, err);
		for (size_t j = 0; j < rows && rc == 0; j++)
			for (size_t i = 0; i < n; i++)
				out[j * columns + first + i] = block[i * rows + j];
	}
	free(block);
	return rc;
}

static bool all_finite(const float *x, size_t n)
{
	const uint32_t exponent = 0x7f800000u;
	uint32_t bad = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, x + i, sizeof(bits));
		bad |= (bits & exponent) == exponent;
	}
	return !bad;
}

static int check_finite(const layout *l, const char *name, const float *x, size_t n, error *err)
{
	if (all_finite(x, n))
		return 0;
	return error_set(err, ERR_FORMAT, "'%s': %s holds a NaN or infinity", l->weights, name);
}

static int read_matrix(float *out, const layout *l, const sae_file *f, const layout_matrix *m, size_t rows,
                       size_t columns, error *err)
{
	const sae_tensor *t;
	int rc = find_matrix(&t, l, f, m, rows, columns, err);

	if (rc == 0)
		rc = m->turned ? read_turned(out, f, t, rows, columns, err)
		               : sae_file_read_f32(f, t, 0, t->count, out, err);
	return rc < 0 ? rc : check_finite(l, m->name, out, rows * columns, err);
}

/* NULL leaves zeros. */
static int read_vector(float *out, const layout *l, const sae_file *f, const char *name, size_t n, error *err)
{
	const sae_tensor *t;
	int rc = name ? find_tensor(&t, l, f, name, n, 0, err) : 0;

	if (rc < 0 || !name)
		return rc;
	rc = sae_file_read_f32(f, t, 0, n, out, err);
	return rc < 0 ? rc : check_finite(l, name, out, n, err);
}

static int read_threshold(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	const sae_tensor *t = l->threshold ? sae_file_tensor(f, l->threshold) : NULL;
	float all = (float)l->threshold_for_all;
	int rc = 0;

	if (t && !is_scalar(t))
		rc = read_vector(m->threshold, l, f, l->threshold, m->d_sae, err);
	else if (t)
		rc = sae_file_read_f32(f, t, 0, 1, &all, err);
	if (rc == 0 && (!t || is_scalar(t)))
		for (size_t i = 0; i < m->d_sae; i++)
			m->threshold[i] = all;
	for (size_t i = 0; l->threshold_is_log && i < m->d_sae; i++)
		m->threshold[i] = expf(m->threshold[i]);
	return rc < 0 ? rc : check_finite(l, "the threshold", m->threshold, m->d_sae, err);
}

/* ---- Folding ------------------------------------------------------------------------------------------------------ */

static double dot_f64(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

static void multiply(float *x, double by, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(x[i] * by);
}

/* A gated SAE whose two paths share their weights but for a factor is a JumpReLU: with p = x W_enc^T and e = exp(r_mag), a feature
 * counts where p + b_gate > 0 and has the value e p + b_mag, so it counts where that value is over b_mag - e b_gate (and 0). */
static int fold_gate(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	size_t n = m->d_sae;
	float *gate = mem_alloc_aligned(n, sizeof(float)), *mag = mem_alloc_aligned(n, sizeof(float));
	int rc = gate && mag ? 0 : error_nomem(err, "a gate");

	if (rc == 0)
		rc = read_vector(gate, l, f, l->b_gate, n, err);
	if (rc == 0)
		rc = read_vector(mag, l, f, l->r_mag, n, err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		double e = exp((double)mag[i]);

		multiply(m->W_enc + i * m->d_in, e, m->d_in);
		m->threshold[i] = (float)(m->b_enc[i] - e * gate[i]);
	}
	if (rc == 0)
		rc = check_finite(l, l->r_mag, m->threshold, n, err);
	free(gate);
	free(mag);
	return rc;
}

static int fold_dec_scale(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	float *scale = mem_alloc_aligned(m->d_sae, sizeof(float));
	int rc = scale ? read_vector(scale, l, f, l->dec_scale, m->d_sae, err)
	               : error_nomem(err, "a scale of the decoder");

	for (size_t i = 0; i < m->d_sae && rc == 0; i++)
		multiply(m->W_dec + i * m->d_out, scale[i], m->d_out);
	free(scale);
	return rc;
}

/* Values that are meant times the norm of their decoder row carry it, and the rows have norm 1. */
static void fold_norms(sae_model *m)
{
	size_t d = m->d_in, out = m->d_out;

	for (size_t f = 0; f < m->d_sae; f++) {
		float *dec = m->W_dec + f * out;
		double norm = sqrt(dot_f64(dec, dec, out));

		m->b_enc[f] = (float)(m->b_enc[f] * norm);
		multiply(m->W_enc + f * d, norm, d);
		for (size_t i = 0; i < out; i++)
			dec[i] = norm > 0 ? (float)(dec[i] / norm) : 0;
	}
}

static void fold_threshold_norms(sae_model *m)
{
	for (size_t f = 0; f < m->d_sae; f++) {
		const float *dec = m->W_dec + f * m->d_out;
		double norm = sqrt(dot_f64(dec, dec, m->d_out));

		m->threshold[f] = norm > 0 ? (float)(m->threshold[f] / norm) : INFINITY;
	}
}

static void fold_scale(sae_model *m, const layout *l)
{
	double root = l->matrix_root ? sqrt((double)m->d_in) : 1;
	double out = l->scale_out > 0 ? l->scale_out : l->scale;

	multiply(m->W_enc, l->scale / root, (size_t)m->d_sae * m->d_in);
	multiply(m->W_dec, root / out, (size_t)m->d_sae * m->d_out);
	multiply(m->b_dec, 1 / out, m->d_out);
	if (l->values_by_norm && m->threshold) /* the norms have just been divided */
		multiply(m->threshold, root / out, m->d_sae);
}

static int fold(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	int rc = 0;

	if (l->b_gate)
		rc = fold_gate(m, l, f, err);
	if (rc == 0 && l->dec_scale)
		rc = fold_dec_scale(m, l, f, err);
	if (rc < 0)
		return rc;
	if (l->threshold_by_norm && m->threshold)
		fold_threshold_norms(m);
	if (l->matrix_root || l->scale_out > 0 || l->scale < 1 || l->scale > 1)
		fold_scale(m, l);
	if (l->values_by_norm)
		fold_norms(m);
	for (size_t i = 0; m->threshold && i < m->d_sae; i++)
		if (m->threshold[i] < 0)
			m->threshold[i] = 0; /* values under 0 do not count anyway */
	return 0;
}

/* ---- All of it ---------------------------------------------------------------------------------------------------- */

static int copy_name(char **out, const char *name, error *err)
{
	if (!name)
		return 0;
	*out = strdup(name);
	return *out ? 0 : error_nomem(err, "a name");
}

static int read_weights(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	int rc = read_matrix(m->W_dec, l, f, &l->dec, m->d_sae, m->d_out, err);

	if (rc == 0 && l->enc.name)
		rc = read_matrix(m->W_enc, l, f, &l->enc, m->d_sae, m->d_in, err);
	if (rc == 0 && l->skip.name)
		rc = read_matrix(m->W_skip, l, f, &l->skip, m->d_out, m->d_in, err);
	if (rc == 0)
		rc = read_vector(m->b_enc, l, f, l->b_enc, m->d_sae, err);
	if (rc == 0)
		rc = read_vector(m->b_dec, l, f, l->b_dec, m->d_out, err);
	if (rc == 0 && m->threshold && !l->b_gate)
		rc = read_threshold(m, l, f, err);
	return rc < 0 ? rc : fold(m, l, f, err);
}

int layout_load(sae_model **out, layout *l, error *err)
{
	sae_model *m = NULL;
	sae_file *f = NULL;
	int rc = layout_open(&f, l, err);

	if (rc < 0)
		return rc;
	rc = sae_model_new_to(&m, l->arch, (uint32_t)l->d_in, (uint32_t)l->d_out, (uint32_t)l->d_sae,
	                      (uint32_t)l->k, l->skip.name != NULL, err);
	if (rc < 0)
		goto out;
	m->norm = l->norm;
	m->centers = l->centers;
	m->transcodes = l->transcodes;
	m->pursuit = (sae_pursuit){ l->residual, (uint32_t)(l->steps < UINT32_MAX ? l->steps : UINT32_MAX),
		                    l->repeat_ends };
	m->norm_limit = l->norm_limit;
	rc = copy_name(&m->model_name, l->model_name, err);
	if (rc == 0)
		rc = copy_name(&m->hook_name, l->hook_name, err);
	if (rc == 0)
		rc = read_weights(m, l, f, err);
	if (rc == 0)
		rc = sha256_file(m->weights_sha256, l->weights, err);
	if (rc < 0)
		goto out;
	*out = m;
	m = NULL;
out:
	sae_model_free(m);
	sae_file_close(f);
	return rc;
}

void layout_facts(sae_model_facts *out, const layout *l, const sae_file *f)
{
	*out = (sae_model_facts){ .format = l->format,
		                  .arch = l->arch,
		                  .d_in = (uint32_t)l->d_in,
		                  .d_out = (uint32_t)l->d_out,
		                  .d_sae = (uint32_t)l->d_sae,
		                  .k = (uint32_t)l->k,
		                  .dtype = sae_file_tensor(f, l->dec.name)->dtype,
		                  .norm = l->norm,
		                  .centers = l->centers,
		                  .transcodes = l->transcodes,
		                  .skip = l->skip.name != NULL };
	memcpy(out->architecture, l->architecture, sizeof(out->architecture));
	memcpy(out->folded, l->folded, sizeof(out->folded));
	snprintf(out->model_name, sizeof(out->model_name), "%s", l->model_name ? l->model_name : "");
	snprintf(out->hook_name, sizeof(out->hook_name), "%s", l->hook_name ? l->hook_name : "");
	for (size_t i = 0; i < sae_file_n_tensors(f); i++)
		out->weight_bytes +=
		        sae_file_tensor_at(f, i)->count * sae_dtype_size(sae_file_tensor_at(f, i)->dtype);
}
