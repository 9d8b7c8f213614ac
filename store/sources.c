/* The sources of a store: several at once, and what there is to say of each. */
#include "store/feature_query.h"

static int copy_source(store_source *out, const store_source *found, arena *mem, error *err)
{
	const char **texts[] = { &out->name, &out->architecture, &out->model, &out->hook_point };

	*out = *found;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!*texts[i])
			continue;
		*texts[i] = arena_strdup(mem, *texts[i]);
		if (!*texts[i])
			return error_nomem(err, "a source");
	}
	return 0;
}

/* Names of all sources, in the order they were indexed. */
static int all_names(const char ***out, size_t *n, store *s, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	const char **names = NULL;
	int64_t count;
	size_t i = 0;
	bool more;
	int rc = store_int(&count, s, "SELECT count(*) FROM source", 0, err);

	if (rc < 0)
		return rc;
	names = arena_alloc(mem, (size_t)count + 1, sizeof(*names));
	if (!names)
		return error_nomem(err, "the sources");
	rc = store_prepare(&st, s, "SELECT name FROM source ORDER BY id", err);
	while (rc == 0 && (rc = store_step(s, st, &more, err)) == 0 && more && i < (size_t)count)
		rc = store_column_text(&names[i++], st, 0, mem, err);
	sqlite3_finalize(st);
	*out = names;
	*n = i;
	return rc;
}

int sources_find(store_source **out, size_t *n, store *s, const store_sources *which, arena *mem, error *err)
{
	const char *only = NULL, *const *names = which->names;
	size_t n_names = which->n;
	store_source found, *list;
	const char **every = NULL;
	int rc = 0;

	if (which->all) {
		rc = all_names(&every, &n_names, s, mem, err);
		names = every;
	}
	if (rc == 0 && n_names == 0) { /* the only one; where there is none, that is said */
		names = &only;
		n_names = 1;
	}
	list = rc < 0 ? NULL : arena_alloc(mem, n_names, sizeof(*list));
	if (!list)
		return rc < 0 ? rc : error_nomem(err, "the sources");
	for (size_t i = 0; i < n_names; i++) {
		for (size_t j = 0; j < i; j++)
			if (strcmp(names[i], names[j]) == 0)
				return error_set(err, ERR_ARG, "source '%.100s' is given twice", names[i]);
		rc = store_source_get(&found, s, names[i], err);
		if (rc == 0)
			rc = copy_source(&list[i], &found, mem, err);
		if (rc < 0)
			return rc;
	}
	*out = list;
	*n = n_names;
	return 0;
}
