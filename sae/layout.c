/* What a folder says of its SAE, checked against its tensors: see layout.h. */
#include "sae/layout_internal.h"

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
		       .codebook = { .groups = 1 },
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

void layout_mirrors(layout *l)
{
	l->mirrored = true;
	layout_folds(l, "values under 0 as features F to 2 F - 1");
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

/* Whether the tensor has this shape; of a crosscoder, rows or columns may be (inputs, width). */
static bool has_shape(const sae_tensor *t, uint64_t rows, uint64_t columns, uint64_t n_inputs)
{
	const uint64_t *d = t->dims;

	if (t->n_dims == (columns ? 2 : 1))
		return d[0] == rows && (!columns || d[1] == columns);
	if (n_inputs < 2 || t->n_dims != (columns ? 3 : 2))
		return false;
	if (d[0] == n_inputs && d[1] == rows / n_inputs && rows % n_inputs == 0)
		return !columns || d[2] == columns;
	return columns && d[0] == rows && d[1] == n_inputs && d[2] == columns / n_inputs;
}

int layout_find(const sae_tensor **out, const layout *l, const sae_file *f, const char *name, uint64_t rows,
                uint64_t columns, error *err)
{
	int rc = find_floats(out, f, name, err);
	const sae_tensor *t = *out;

	if (rc == 0 && !has_shape(t, rows, columns, l->n_inputs))
		rc = refuse_shape(l, t, rows, columns, err);
	return rc;
}

int layout_find_matrix(const sae_tensor **out, const layout *l, const sae_file *f, const layout_matrix *m,
                       uint64_t rows, uint64_t columns, error *err)
{
	return m->turned ? layout_find(out, l, f, m->name, columns, rows, err)
	                 : layout_find(out, l, f, m->name, rows, columns, err);
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
	if (l->n_inputs > 1 && (l->n_inputs > SAE_PARTS_MAX || l->d_in % l->n_inputs != 0))
		return error_set(err, ERR_FORMAT,
		                 "'%s': n_inputs %" PRIu64 " does not divide d_in = %" PRIu64
		                 ", or is over %d",
		                 where, l->n_inputs, l->d_in, SAE_PARTS_MAX);
	if (!l->steps)
		l->steps = l->d_in;
	return l->arch == SAE_CODEBOOK ? layout_check_codebook(l, err) : 0;
}

static int check_vector(const layout *l, const sae_file *f, const char *name, uint64_t n, error *err)
{
	const sae_tensor *t;

	return name ? layout_find(&t, l, f, name, n, 0, err) : 0;
}

bool layout_is_scalar(const sae_tensor *t)
{
	return t->count == 1 && t->n_dims <= 1;
}

static int check_threshold(const layout *l, const sae_file *f, error *err)
{
	const sae_tensor *t;
	int rc = l->threshold ? find_floats(&t, f, l->threshold, err) : 0;

	if (rc < 0 || !l->threshold || layout_is_scalar(t))
		return rc;
	return check_vector(l, f, l->threshold, l->d_sae, err);
}

static int check_shapes(const layout *l, const sae_file *f, error *err)
{
	const sae_tensor *t;
	int rc = layout_find_matrix(&t, l, f, &l->dec, layout_decoder_rows(l), layout_decoder_width(l), err);

	if (rc == 0 && l->enc.name)
		rc = layout_find_matrix(&t, l, f, &l->enc, l->d_sae, l->d_in, err);
	if (rc == 0 && l->skip.name)
		rc = layout_find_matrix(&t, l, f, &l->skip, l->d_out, l->d_in, err);
	if (rc == 0)
		rc = check_vector(l, f, l->b_enc, l->split ? l->d_sae * l->n_inputs : l->d_sae, err);
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

/* ---- Facts -------------------------------------------------------------------------------------------------------- */

void layout_facts(sae_model_facts *out, const layout *l, const sae_file *f)
{
	*out = (sae_model_facts){ .format = l->format,
		                  .arch = l->arch,
		                  .d_in = (uint32_t)l->d_in,
		                  .d_out = (uint32_t)l->d_out,
		                  .d_sae = (uint32_t)l->d_sae << l->mirrored,
		                  .k = (uint32_t)l->k,
		                  .codebook = l->codebook,
		                  .dtype = sae_file_tensor(f, l->dec.name)->dtype,
		                  .norm = l->norm,
		                  .centers = l->centers,
		                  .transcodes = l->transcodes,
		                  .skip = l->skip.name != NULL,
		                  .n_inputs = l->n_inputs > 1 ? (uint32_t)l->n_inputs : 1 };
	memcpy(out->architecture, l->architecture, sizeof(out->architecture));
	memcpy(out->folded, l->folded, sizeof(out->folded));
	snprintf(out->model_name, sizeof(out->model_name), "%s", l->model_name ? l->model_name : "");
	snprintf(out->hook_name, sizeof(out->hook_name), "%s", l->hook_name ? l->hook_name : "");
	for (size_t i = 0; i < sae_file_n_tensors(f); i++)
		out->weight_bytes +=
		        sae_file_tensor_at(f, i)->count * sae_dtype_size(sae_file_tensor_at(f, i)->dtype);
}
