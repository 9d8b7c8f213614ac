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

/* Columns first..first + width - 1 of x (n, d). */
static void multiply(float *x, size_t n, size_t d, size_t first, size_t width, double factor)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = first; j < first + width; j++)
			x[i * d + j] = (float)(x[i * d + j] * factor);
}

static void divide(float *x, size_t n, size_t d, size_t first, size_t width, double divisor)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = first; j < first + width; j++)
			x[i * d + j] = (float)(x[i * d + j] / divisor);
}

/* Scales of several dumps go into the weights: pre-activations, and so thresholds, are the same numbers on raw rows. */
static void unscale(sae_model *m, const sae_trainer *t)
{
	for (size_t p = 0, first = 0; p < train_parts(t); p++) {
		const bool target = t->target && p + 1 == train_parts(t);
		const double scale = train_part_scale(t, p);
		uint32_t width;

		(void)sae_dump_part(t->dump, p, &width);
		if (!target)
			multiply(m->W_enc, m->d_sae, m->d_in, first, width, scale);
		if (m->W_skip && !target)
			multiply(m->W_skip, m->d_out, m->d_in, first, width, scale / train_scale_out(t));
		if (target || !t->target) {
			divide(m->W_dec, m->d_sae, m->d_out, target ? 0 : first, width, scale);
			divide(m->b_dec, 1, m->d_out, target ? 0 : first, width, scale);
		}
		first += width;
	}
}

static int make_model(sae_model **out, const sae_trainer *t, const train_member *member, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(t->dump);
	const sae_rows_stats *st = sae_rows_get_stats(t->rows);
	sae_model *m = NULL;
	int rc = member->kind->model(&m, member->self, err);

	if (rc < 0)
		return rc;
	if (train_parts(t) > 1)
		unscale(m, t);
	else
		rc = normalize_fold(&t->norm, m, err);
	if (rc == 0 && m->arch == SAE_CODEBOOK)
		sae_model_set_codes(m);
	m->n_inputs = member->o.n_inputs;
	for (uint32_t i = 0; i < m->n_inputs && m->n_inputs > 1; i++)
		m->scales[i] = train_part_scale(t, i);
	m->norm_limit = st->norm_limit;
	memcpy(m->more_limits, st->more_limits, sizeof(m->more_limits));
	m->n_more_limits = st->n_more_limits;
	if (rc == 0)
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
	fitter_arrays list = { .n = 0 };
	float zero = 0; /* what finite numbers times 0 add up to; else NaN */

	m->kind->state(m->self, &list);
	for (size_t i = 0; i < list.n; i++) {
		const float *w = list.items[i].a.data;

		for (size_t j = 0; list.items[i].weight && j < list.items[i].a.n; j++)
			zero += 0 * w[j];
	}
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
