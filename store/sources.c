/* The sources of a store: several at once, and what there is to say of each. */
#include "store/feature_query.h"

extern const char sql_sources[];

#define MAX_STORED_JSON ((size_t)16 << 20)

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
	int rc = store_int(&count, s, "SELECT count(*) FROM source", 0, err);

	if (rc < 0)
		return rc;
	names = arena_alloc(mem, (size_t)count + 1, sizeof(*names));
	if (!names)
		return error_nomem(err, "the sources");
	rc = store_prepare(&st, s, "SELECT name FROM source ORDER BY id", err);
	while (store_next(&rc, s, st, err) && i < (size_t)count) {
		rc = store_column_text(&names[i], st, 0, mem, err);
		if (rc == 0 && !names[i++])
			rc = error_set(err, ERR_FORMAT, "'%s' is corrupt: a source has no name",
			               store_path(s));
	}
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

/* ---- What there is to say ------------------------------------------------------------------------------------------------- */

/* Columns that are JSON, that are true or false, and counts that a source without such rows has not. */
static const char *const trees[] = { "dumps", "config", "argv" };
static const char *const truths[] = { "corpus", "vectors" };
static const char *const counts[] = { "dead", "dense", "labelled", "scored" };

static int put_tree(cJSON *item, store *s, sqlite3_stmt *row, int column, bool *failed, error *err)
{
	const char *chars = (const char *)sqlite3_column_text(row, column),
	           *name = sqlite3_column_name(row, column);
	error cause = { 0 };
	cJSON *tree = NULL;
	int rc = 0;

	if (chars)
		rc = json_parse(&tree, chars, (size_t)sqlite3_column_bytes(row, column), MAX_STORED_JSON, 64,
		                name, &cause);
	if (rc == ERR_NOMEM)
		return error_nomem(err, "the sources");
	if (rc < 0)
		return error_set(err, ERR_FORMAT, "'%s': source '%s' is corrupt: %s", store_path(s),
		                 (const char *)sqlite3_column_text(row, 0), cause.msg);
	json_put(item, name, tree ? tree : cJSON_CreateNull(), failed);
	return 0;
}

static int put_source(cJSON *item, store *s, sqlite3_stmt *row, bool *failed, error *err)
{
	int rc = 0;

	for (int i = 0; i < sqlite3_column_count(row) && rc == 0; i++) {
		const char *name = sqlite3_column_name(row, i);

		if (name_is_among(trees, ARRAY_LEN(trees), name))
			rc = put_tree(item, s, row, i, failed, err);
		else if (name_is_among(truths, ARRAY_LEN(truths), name))
			json_put_bool(item, name, sqlite3_column_int(row, i), failed);
		else if (name_is_among(counts, ARRAY_LEN(counts), name))
			json_put_number(item, name, sqlite3_column_double(row, i), failed);
		else
			json_put_column(item, name, row, i, failed);
	}
	return rc;
}

int store_source_list(cJSON **out, store *s, error *err)
{
	cJSON *page = cJSON_CreateObject(), *list;
	sqlite3_stmt *row = NULL;
	bool failed = false;
	int rc = store_prepare(&row, s, sql_sources, err);

	list = json_put_array(page, "sources", &failed);
	while (store_next(&rc, s, row, err))
		rc = put_source(json_put_object(list, NULL, &failed), s, row, &failed, err);
	sqlite3_finalize(row);
	return json_finish(out, page, rc, failed, err);
}
