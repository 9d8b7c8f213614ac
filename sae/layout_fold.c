/* What is folded into the weights of an SAE when it is loaded: see layout.h. */
#include <math.h>
#include <stdlib.h>

#include "sae/layout_internal.h"

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
		rc = layout_read_vector(gate, l, f, l->b_gate, n, err);
	if (rc == 0)
		rc = layout_read_vector(mag, l, f, l->r_mag, n, err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		double e = exp((double)mag[i]);

		multiply(m->W_enc + i * m->d_in, e, m->d_in);
		m->threshold[i] = (float)(m->b_enc[i] - e * gate[i]);
	}
	if (rc == 0)
		rc = layout_check_finite(l, l->r_mag, m->threshold, n, err);
	free(gate);
	free(mag);
	return rc;
}

static int fold_dec_scale(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	float *scale = mem_alloc_aligned(m->d_sae, sizeof(float));
	int rc = scale ? layout_read_vector(scale, l, f, l->dec_scale, m->d_sae, err)
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

int layout_fold(sae_model *m, const layout *l, const sae_file *f, error *err)
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
