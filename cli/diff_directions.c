/* gloss diff, decoder directions: vectors from store/, matched in sae/. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/diff.h"

_Static_assert((int)STORE_DIRECTION_PARTS == (int)SAE_MATCH_NEAR, "parts go from sae/ to store/ as they are");

void diff_directions_clear(diff_directions *v)
{
	free(v->rows[0]);
	free(v->rows[1]);
	free(v->null);
	sae_match_free(&v->real);
	sae_match_free(&v->chance);
}

static int read_units(float **out, store *s, const char *name, uint32_t n, uint32_t d, error *err)
{
	float *rows = NULL;
	int rc = store_vectors(&rows, s, name, err);

	if (rc == 0 && rows) {
		*out = sae_unit_rows(rows, n, d);
		rc = *out ? 0 : error_nomem(err, "decoder vectors");
	}
	free(rows);
	return rc;
}

static int check_method(const diff_directions *v, const diff_opts *o, error *err)
{
	uint64_t bytes = sae_match_assign_bytes(v->n[0], v->n[1]);

	if (bytes <= DIFF_HUNGARIAN_MOST || !o->method || strcmp(o->method, "hungarian") != 0)
		return 0;
	return error_set(
	        err, ERR_LIMIT,
	        "--method hungarian holds all cosines, %.1f GB at most; %u times %u features take %.1f "
	        "GB: use --method nearest",
	        (double)DIFF_HUNGARIAN_MOST / 1e9, v->n[0], v->n[1], (double)bytes / 1e9);
}

static int read_directions(diff_directions *v, store *const s[2], const char *const names[2],
                           const diff_opts *o, error *err)
{
	uint32_t d[2] = { 0 };
	store_source source;
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++) {
		rc = store_source_get(&source, s[i], names[i], err);
		v->n[i] = source.n_features;
		d[i] = source.d_in;
	}
	if (rc == 0)
		rc = check_method(v, o, err);
	for (int i = 0; i < 2 && rc == 0; i++)
		rc = read_units(&v->rows[i], s[i], names[i], v->n[i], d[i], err);
	v->d = d[0];
	for (int i = 0; i < 2 && rc == 0 && !v->why[0]; i++)
		if (!v->rows[i])
			snprintf(v->why, sizeof(v->why), "'%.100s' has no decoder vectors", names[i]);
	if (rc == 0 && !v->why[0] && d[0] != d[1])
		snprintf(v->why, sizeof(v->why), "the sources are of different width, %u and %u", d[0], d[1]);
	return rc;
}

static const char *choose_method(const diff_directions *v, const diff_opts *o)
{
	uint32_t most = v->n[0] > v->n[1] ? v->n[0] : v->n[1];

	if (o->method)
		return o->method;
	return most <= DIFF_HUNGARIAN_DEFAULT && !(o->by && strcmp(o->by, "firing") == 0) ? "hungarian"
	                                                                                  : "nearest";
}

static store_directions view_of(const diff_directions *v, const sae_match *m, const float *b)
{
	return (store_directions){ .rows = { v->rows[0], b },
		                   .d = v->d,
		                   .match = m->of_a,
		                   .near = { m->near[0].ids, m->near[1].ids },
		                   .n_near = { m->near[0].n, m->near[1].n },
		                   .parts = { m->parts[0], m->parts[1] },
		                   .together = { m->together[0], m->together[1] } };
}

int diff_directions_find(diff_directions *v, store *const s[2], const char *const names[2],
                         const diff_opts *o, pool *p, error *err)
{
	bool assign;
	int rc = read_directions(v, s, names, o, err);

	if (rc == 0 && v->why[0] && o->by && strcmp(o->by, "cosine") == 0)
		rc = error_set(err, ERR_NOTFOUND, "--by cosine: %s", v->why);
	if (rc == 0 && v->why[0] && o->method)
		rc = error_set(err, ERR_NOTFOUND, "--method %s: %s", o->method, v->why);
	if (rc < 0 || v->why[0])
		return rc;
	v->method = choose_method(v, o);
	assign = strcmp(v->method, "hungarian") == 0;
	v->null = sae_null_rows(v->rows[1], v->n[1], v->d, o->seed);
	if (!v->null)
		return error_nomem(err, "decoder vectors");
	rc = sae_match_rows(&v->chance, v->rows[0], v->n[0], v->null, v->n[1], v->d, assign, p, err);
	if (rc == 0)
		rc = sae_match_rows(&v->real, v->rows[0], v->n[0], v->rows[1], v->n[1], v->d, assign, p, err);
	v->views[0] = view_of(v, &v->real, v->rows[1]);
	v->views[1] = view_of(v, &v->chance, v->null);
	return rc;
}

bool diff_directions_add(cJSON *page, const diff_directions *v)
{
	cJSON *c;
	bool good;

	if (v->why[0])
		return cJSON_AddNullToObject(page, "cosine") &&
		       cJSON_AddStringToObject(page, "cosine_absent", v->why);
	c = cJSON_AddObjectToObject(page, "cosine");
	good = c && cJSON_AddStringToObject(c, "method", v->method) &&
	       cJSON_AddNumberToObject(c, "mean_matched", v->real.mean_matched) &&
	       cJSON_AddNumberToObject(c, "chance_matched", v->chance.mean_matched);
	for (int s = 0; s < 2 && good; s++) {
		cJSON *side = cJSON_AddObjectToObject(c, s ? "b" : "a");

		good = side && cJSON_AddNumberToObject(side, "mean_best", v->real.mean_best[s]) &&
		       cJSON_AddNumberToObject(side, "chance_mean", v->chance.mean_best[s]) &&
		       cJSON_AddNumberToObject(side, "chance_99", v->chance.high_best[s]);
	}
	return good;
}
