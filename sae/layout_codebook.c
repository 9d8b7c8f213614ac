/* A codebook on disk: `codes` (F, d / groups), each the part of the row that it stands for, and what its rule is. See layout.h. */
#include <stdlib.h>
#include <string.h>

#include "sae/layout_internal.h"

static int read_choice(bool *second, const layout *l, const char *key, const char *first_name,
                       const char *second_name, error *err)
{
	const char *name = NULL;
	int rc = json_get_string(&name, l->json, key, l->config, err);

	if (rc < 0)
		return rc;
	if (!name)
		return error_set(err, ERR_FORMAT, "'%s' has no %s", l->config, key);
	*second = strcmp(name, second_name) == 0;
	if (!*second && strcmp(name, first_name) != 0)
		return error_set(err, ERR_FORMAT, "'%s': %s '%.40s' is not supported, only '%s' and '%s'",
		                 l->config, key, name, first_name, second_name);
	return 0;
}

int layout_read_codebook(layout *l, error *err)
{
	uint64_t groups = 1;
	int rc = json_get_u64(&groups, l->json, "groups", l->config, err);

	if (rc == 0)
		rc = read_choice(&l->codebook.euclidean, l, "similarity", "cosine", "euclidean", err);
	if (rc == 0)
		rc = read_choice(&l->codebook.mean, l, "combine", "sum", "mean", err);
	if (rc < 0)
		return rc;
	l->codebook.groups = groups < LAYOUT_MAX_WIDTH ? (uint32_t)groups : LAYOUT_MAX_WIDTH;
	l->enc.name = l->b_enc = NULL;
	l->dec.name = "codes";
	return 0;
}

int layout_check_codebook(const layout *l, error *err)
{
	uint64_t groups = l->codebook.groups;

	if (groups < 1 || l->d_in % groups != 0 || l->d_sae % groups != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': d_in %llu and d_sae %llu are no multiples of groups = %llu",
		                 l->config, (unsigned long long)l->d_in, (unsigned long long)l->d_sae,
		                 (unsigned long long)groups);
	if (l->k < 1 || l->k > l->d_sae / groups)
		return error_set(err, ERR_FORMAT, "'%s': k %llu is not in 1..d_sae / groups = %llu",
		                 l->config, (unsigned long long)l->k,
		                 (unsigned long long)(l->d_sae / groups));
	return 0;
}

/* Codes that lie close together at the beginning of W_dec go to their parts of its rows, from the last one on. */
void layout_spread_codes(sae_model *m)
{
	size_t d = m->d_out, part = d / m->codebook.groups, n = m->d_sae / m->codebook.groups;

	for (size_t f = m->d_sae; f-- > 0 && part < d;) {
		float *row = m->W_dec + f * d, *to = row + f / n * part;

		memmove(to, m->W_dec + f * part, part * sizeof(*to));
		memset(row, 0, (size_t)(to - row) * sizeof(*to));
		memset(to + part, 0, (size_t)(row + d - to - part) * sizeof(*to));
	}
	sae_model_set_codes(m);
}

float *layout_gather_codes(const sae_model *m)
{
	size_t d = m->d_out, part = d / m->codebook.groups, n = m->d_sae / m->codebook.groups;
	float *codes = mem_alloc_aligned(m->d_sae, part * sizeof(*codes));

	for (size_t f = 0; codes && f < m->d_sae; f++)
		memcpy(codes + f * part, m->W_dec + f * d + f / n * part, part * sizeof(*codes));
	return codes;
}
