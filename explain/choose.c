/* choose: which features a job is about, and which of them share a label. */
#include "explain/engine.h"

#include <stdlib.h>
#include <string.h>

/* ---- Which ------------------------------------------------------------------------------------------------------------- */

typedef struct drawn {
	uint64_t hash;
	uint32_t feature;
} drawn;

static int by_hash(const void *a, const void *b)
{
	const drawn *x = a, *y = b;

	return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash)
	                          : (x->feature > y->feature) - (x->feature < y->feature);
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* `want` of them at random, by the seed alone. */
static int draw(uint32_t *features, size_t *n, uint32_t want, uint64_t seed, error *err)
{
	drawn *all;

	if (*n <= want)
		return 0;
	all = calloc(*n, sizeof(*all));
	if (!all)
		return error_nomem(err, "features");
	for (size_t i = 0; i < *n; i++)
		all[i] = (drawn){ hash64_mix(seed + 2, features[i]), features[i] };
	qsort(all, *n, sizeof(*all), by_hash);
	for (size_t i = 0; i < want; i++)
		features[i] = all[i].feature;
	qsort(features, want, sizeof(*features), by_number);
	free(all);
	*n = want;
	return 0;
}

/* Only those that lack what the kind makes. */
static int drop_others(uint32_t *features, size_t *n, store *s, const store_source *source,
                       const engine_kind *k, const explain_opts *o, error *err)
{
	size_t kept = 0;
	bool lacks = true;
	int rc = 0;

	for (size_t i = 0; i < *n && rc == 0; i++) {
		rc = k->lacks(&lacks, s, source->id, o, features[i], err);
		if (lacks)
			features[kept++] = features[i];
	}
	*n = kept;
	return rc;
}

int engine_choose(uint32_t **features, size_t *n, store *s, const store_source *source, const engine_kind *k,
                  const explain_opts *o, error *err)
{
	const char *where = o->where;
	text both;
	int rc = 0;

	text_init(&both, 1 << 20);
	if (o->only_new && k->none_yet) {
		rc = where ? text_addf(&both, "(%s) AND %s", where, k->none_yet)
		           : text_adds(&both, k->none_yet);
		where = both.data;
	}
	if (rc < 0)
		rc = error_nomem(err, "features");
	else
		rc = store_feature_ids(features, n, s, o->source, o->features, where, err);
	text_free(&both);
	if (rc == 0 && o->only_new && k->lacks)
		rc = drop_others(*features, n, s, source, k, o, err);
	if (rc == 0 && o->n_random)
		rc = draw(*features, n, o->n_random, o->seed, err);
	return rc;
}

/* ---- Twins --------------------------------------------------------------------------------------------------------------- */

/* Task `of` gets the feature as a twin, at the end of its list. */
static int add_twin(store_task *of, uint32_t feature, error *err)
{
	char *longer;

	if (of->twins) {
		if (asprintf(&longer, "%.*s,%u]", (int)strlen(of->twins) - 1, of->twins, feature) < 0)
			return error_nomem(err, "tasks");
	} else if (asprintf(&longer, "[%u]", feature) < 0) {
		return error_nomem(err, "tasks");
	}
	free((char *)of->twins);
	of->twins = longer;
	return 0;
}

int engine_share(store_task *tasks, size_t *n, store *s, const store_source *source, error *err)
{
	uint32_t *same = calloc((size_t)source->n_features + 1, sizeof(*same));
	uint32_t *at = calloc((size_t)source->n_features + 1,
	                      sizeof(*at)); /* 1 + the task of the first of its kind */
	size_t kept = 0;
	int rc = same && at ? store_feature_twins(same, s, source->id, source->n_features, err)
	                    : error_nomem(err, "tasks");

	for (size_t i = 0; i < *n && rc == 0; i++) {
		uint32_t *first = &at[same[tasks[i].feature]];

		if (*first) {
			rc = add_twin(&tasks[*first - 1], tasks[i].feature, err);
			continue;
		}
		tasks[kept] = tasks[i];
		*first = (uint32_t)++kept;
	}
	if (rc == 0)
		*n = kept;
	free(same);
	free(at);
	return rc;
}

void engine_free_tasks(store_task *tasks, size_t n)
{
	for (size_t i = 0; i < n && tasks; i++)
		free((char *)tasks[i].twins);
	free(tasks);
}
