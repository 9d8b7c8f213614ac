/* See probe_perturb.h. */
#include "cli/probe_perturb.h"

#include <inttypes.h>
#include <stdlib.h>

/* Numbers of features to take away: --ablate, or SAEBench's as far as there are so many. */
static int choose_sizes(uint32_t **out, size_t *n, const sae_model *m, const probe_opts *o, error *err)
{
	static const uint32_t usual[] = { 2, 5, 10, 20, 50, 100, 500 };
	int rc = dump_parse_numbers(out, n, &o->ablate, "ablate", err);

	for (size_t i = 0; i < *n && !rc; i++)
		if ((*out)[i] < 1 || (*out)[i] > m->d_sae)
			rc = error_set(err, ERR_ARG, "--ablate %u: there are 1 to %u features", (*out)[i],
			               m->d_sae);
	if (rc || *n)
		return rc;
	free(*out);
	*out = calloc(ARRAY_LEN(usual), sizeof(**out));
	if (!*out)
		return error_nomem(err, "features to take away");
	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		if (usual[i] <= m->d_sae)
			(*out)[(*n)++] = usual[i];
	return *n ? 0 : error_set(err, ERR_ARG, "--ablate says how many features to take away");
}

static bool add_tpp(cJSON *rows, const char *class, const sae_tpp *t)
{
	cJSON *to = cJSON_CreateObject();

	return cJSON_AddItemToArray(rows, to) && (!class || cJSON_AddStringToObject(to, "class", class)) &&
	       cJSON_AddNumberToObject(to, "n", t->n) &&
	       cJSON_AddNumberToObject(to, "intended", t->intended) &&
	       cJSON_AddNumberToObject(to, "unintended", t->unintended) &&
	       cJSON_AddNumberToObject(to, "score", t->score);
}

static cJSON *tpp_rows(const sae_tpp *t, size_t n_classes, size_t n_sizes, const probe_labels *labels)
{
	cJSON *rows = cJSON_CreateArray();
	bool good = rows;

	for (size_t i = 0; i < n_classes * n_sizes && good; i++)
		good = add_tpp(rows, labels->names[t[i].label], &t[i]);
	for (size_t k = 0; k < n_sizes && good; k++) {
		sae_tpp mean = { .n = t[k].n };

		for (size_t c = 0; c < n_classes; c++) {
			mean.intended += t[c * n_sizes + k].intended / (double)n_classes;
			mean.unintended += t[c * n_sizes + k].unintended / (double)n_classes;
			mean.score += t[c * n_sizes + k].score / (double)n_classes;
		}
		good = add_tpp(rows, NULL, &mean);
	}
	if (good)
		return rows;
	cJSON_Delete(rows);
	return NULL;
}

int probe_tpp(cJSON **rows, const sae_examples *e, const sae_model *m, const uint32_t *classes,
              size_t n_classes, const probe_labels *labels, const probe_opts *o, pool *p, error *err)
{
	const sae_probe_opts opts = { .c = o->c, .classes = classes, .n_probed = n_classes, .seed = o->seed };
	uint32_t *sizes = NULL;
	size_t n_sizes = 0;
	sae_tpp *t = NULL;
	int rc = choose_sizes(&sizes, &n_sizes, m, o, err);

	if (!rc) {
		t = calloc(n_classes * n_sizes, sizeof(*t));
		rc = t ? sae_tpp_measure(t, e, m, &opts, sizes, n_sizes, p, err)
		       : error_nomem(err, "the answer");
	}
	if (!rc) {
		*rows = tpp_rows(t, n_classes, n_sizes, labels);
		rc = *rows ? 0 : error_nomem(err, "the answer");
	}
	free(t);
	free(sizes);
	return rc;
}

/* The spurious class of each example; *out: malloc'd. */
static int read_spurious(uint32_t **out, const sae_examples *e, const probe_labels *labels,
                         const probe_opts *o, error *err)
{
	probe_labels s = { .mem = ARENA_INIT };
	int rc = probe_labels_read(&s, o->spurious, o->spurious_column, err);

	if (!rc && s.n != labels->n)
		rc = error_set(err, ERR_ARG, "'%s' has %" PRIu64 " labels, '%s' %" PRIu64, o->spurious, s.n,
		               o->labels, labels->n);
	if (!rc && s.n_classes != 2)
		rc = error_set(err, ERR_ARG, "--spurious: '%s' has %u classes, not two", o->spurious,
		               s.n_classes);
	if (!rc) {
		*out = malloc(e->n * sizeof(**out));
		if (!*out)
			rc = error_nomem(err, "spurious labels");
	}
	for (uint32_t i = 0; i < e->n && !rc; i++)
		(*out)[i] = s.of[e->unit[i]];
	probe_labels_clear(&s);
	return rc;
}

static cJSON *scr_rows(const sae_scr *s, size_t n)
{
	cJSON *rows = cJSON_CreateArray();
	bool good = rows;

	for (size_t i = 0; i < n && good; i++) {
		cJSON *to = cJSON_CreateObject();

		good = cJSON_AddItemToArray(rows, to) && cJSON_AddNumberToObject(to, "n", s[i].n) &&
		       cJSON_AddNumberToObject(to, "clean", s[i].clean) &&
		       cJSON_AddNumberToObject(to, "original", s[i].original) &&
		       cJSON_AddNumberToObject(to, "changed", s[i].changed) &&
		       cJSON_AddNumberToObject(to, "score", s[i].score);
	}
	if (good)
		return rows;
	cJSON_Delete(rows);
	return NULL;
}

int probe_scr(cJSON **rows, const sae_examples *e, const sae_model *m, const probe_labels *labels,
              const probe_opts *o, error *err)
{
	const sae_probe_opts opts = { .c = o->c, .seed = o->seed };
	uint32_t *sizes = NULL, *spurious = NULL;
	size_t n_sizes = 0;
	sae_scr *s = NULL;
	int rc = choose_sizes(&sizes, &n_sizes, m, o, err);

	if (!rc)
		rc = read_spurious(&spurious, e, labels, o, err);
	if (!rc) {
		s = calloc(n_sizes, sizeof(*s));
		rc = s ? sae_scr_measure(s, e, spurious, m, &opts, sizes, n_sizes, err)
		       : error_nomem(err, "the answer");
	}
	if (!rc) {
		*rows = scr_rows(s, n_sizes);
		rc = *rows ? 0 : error_nomem(err, "the answer");
	}
	free(s);
	free(spurious);
	free(sizes);
	return rc;
}
