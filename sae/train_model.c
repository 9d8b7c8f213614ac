/* What comes out of a run: the model on raw rows, and how often its features fire. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/train_internal.h"

static int copy_name(char **out, const char *name, error *err)
{
	if (!name)
		return 0;
	*out = strdup(name);
	return *out ? 0 : error_nomem(err, "a name");
}

/* The input scale goes into the weights. */
static int make_model(sae_model **out, const sae_trainer *t, const train_member *member, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(t->dump);
	const step *s = member->step;
	size_t n = (size_t)s->c.n_features * t->d;
	sae_model *m = NULL;
	int rc = sae_model_new(&m, member->o.arch, t->d, s->c.n_features, s->c.k, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		m->W_enc[i] = (float)(s->W_enc.w[i] * t->scale);
		m->W_dec[i] = (float)(s->W_dec.w[i] / t->scale);
	}
	memcpy(m->b_enc, s->b_enc.w, s->c.n_features * sizeof(float));
	for (size_t i = 0; i < t->d; i++)
		m->b_dec[i] = (float)(s->b_dec.w[i] / t->scale);
	for (size_t f = 0; m->threshold && f < s->c.n_features; f++)
		m->threshold[f] = (float)s->threshold; /* pre-activations are the same numbers on raw rows */
	m->norm_limit = sae_rows_get_stats(t->rows)->norm_limit;
	rc = copy_name(&m->model_name, info->model, err);
	if (rc == 0)
		rc = copy_name(&m->hook_name, info->hook_point, err);
	if (rc < 0) {
		sae_model_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

static int make_freq(double **out, const train_member *m, error *err)
{
	double *freq = mem_alloc_aligned(m->o.d_sae, sizeof(*freq));
	bool finished = m->last.step == m->o.steps;
	uint64_t rows = m->rows + (finished ? 0 : m->rows_before);

	if (!freq)
		return error_nomem(err, "firing frequencies");
	for (size_t f = 0; f < m->o.d_sae; f++)
		freq[f] = (double)(m->fires[f] + (finished ? 0 : m->fires_before[f])) / (double)rows;
	*out = freq;
	return 0;
}

bool train_member_finite(const train_member *m)
{
	const step *s = m->step;
	size_t n = (size_t)s->c.n_features * s->c.d;
	float zero = 0; /* what finite numbers times 0 add up to; else NaN */

	for (size_t i = 0; i < n; i++)
		zero += 0 * s->W_enc.w[i] + 0 * s->W_dec.w[i];
	for (size_t i = 0; i < s->c.n_features; i++)
		zero += 0 * s->b_enc.w[i];
	for (size_t i = 0; i < s->c.d; i++)
		zero += 0 * s->b_dec.w[i];
	return isfinite(zero);
}

int sae_trainer_model(sae_model **out, double **freq, const sae_trainer *t, size_t member, error *err)
{
	const train_member *m = &t->members[member];
	sae_model *model = NULL;
	double *f = NULL;
	int rc;

	if (m->last.step == 0)
		return error_set(err, ERR_NOTFOUND, "no step was taken, there is nothing to save");
	if (!train_member_finite(m))
		return error_set(err, ERR_LIMIT,
		                 "the weights after step %llu are not finite and are not saved",
		                 (unsigned long long)m->last.step);
	rc = make_model(&model, t, m, err);
	if (rc == 0 && freq)
		rc = make_freq(&f, m, err);
	if (rc < 0) {
		sae_model_free(model);
		return rc;
	}
	*out = model;
	if (freq)
		*freq = f;
	return 0;
}
