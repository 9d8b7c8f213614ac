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

static int make_model(sae_model **out, const sae_trainer *t, const train_member *member, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(t->dump);
	sae_model *m = NULL;
	int rc = member->kind->model(&m, member->self, err);

	if (rc < 0)
		return rc;
	if (rc == 0 && m->arch == SAE_CODEBOOK)
		sae_model_set_codes(m);
	m->norm_limit = sae_rows_get_stats(t->rows)->norm_limit;
	rc = normalize_fold(&t->norm, m, err);
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
