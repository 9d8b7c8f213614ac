/* One context: its tokens, each with the features strongest there, and the features of the whole. */
#include "store/query_internal.h"

#include <inttypes.h>

typedef struct in_context { /* a feature over the whole context */
	uint32_t feature, position, fires;
	float max;
} in_context;

typedef struct view {
	store *s;
	store_source source;
	context_row context;
	const unsigned char *counted; /* NULL: firings are not stored */
	store_codes codes;
	label_lookup labels;
	const char *const *texts;
	arena mem;
	bool failed;
} view;

static int strongest_first(const void *a, const void *b)
{
	const in_context *x = a, *y = b;

	if (x->max != y->max)
		return x->max > y->max ? -1 : 1;
	return x->feature < y->feature ? -1 : x->feature > y->feature;
}

static int put_one(cJSON *list, view *v, const in_context *it, bool whole, error *err)
{
	cJSON *item = json_put_object(list, NULL, &v->failed);

	json_put_number(item, "feature", it->feature, &v->failed);
	json_put_number(item, whole ? "max" : "value", (double)it->max, &v->failed);
	if (whole)
		json_put_number(item, "position", it->position, &v->failed);
	if (whole && v->counted)
		json_put_number(item, "fires", it->fires, &v->failed);
	return label_lookup_put(&v->labels, item, it->feature, &v->failed, err);
}

static int put_list(cJSON *object, view *v, in_context *items, size_t n, size_t most, bool whole, error *err)
{
	cJSON *list = json_put_array(object, "features", &v->failed);
	int rc = 0;

	qsort(items, n, sizeof(*items), strongest_first);
	for (size_t i = 0; i < n && i < most && rc == 0; i++)
		rc = put_one(list, v, &items[i], whole, err);
	return rc;
}

static int put_tokens(cJSON *page, view *v, unsigned top, error *err)
{
	cJSON *list = json_put_array(page, "tokens", &v->failed);
	const store_codes *c = &v->codes;
	in_context *items = arena_alloc(&v->mem, (size_t)c->n_firings + 1, sizeof(*items));
	int rc = items ? 0 : error_nomem(err, "a context");

	for (uint32_t i = 0; i < v->context.n_tokens && rc == 0; i++) {
		cJSON *item = json_put_object(list, NULL, &v->failed);
		size_t n = 0;

		json_put_number(item, "position", i, &v->failed);
		json_put_text(item, "text", v->texts[i], &v->failed);
		json_put_number(item, "token", context_row_token(&v->context, i), &v->failed);
		if (!v->counted)
			continue;
		json_put_bool(item, "counts", bit_is_set(v->counted, i), &v->failed);
		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++)
			items[n++] = (in_context){ c->feature[j], i, 1, c->value[j] };
		json_put_number(item, "n_features", (double)n, &v->failed);
		rc = put_list(item, v, items, n, top, false, err);
	}
	return rc;
}

/* Each feature once, from all firings of the context. */
static int gather(in_context **out, size_t *n, view *v, error *err)
{
	const store_codes *c = &v->codes;
	uint32_t *slot = calloc((size_t)v->source.n_features + 1, sizeof(*slot));
	in_context *items = arena_alloc(&v->mem, (size_t)c->n_firings + 1, sizeof(*items));

	*n = 0;
	*out = items;
	if (!slot || !items) {
		free(slot);
		return error_nomem(err, "a context");
	}
	for (uint32_t i = 0; i < v->context.n_tokens; i++)
		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++) {
			uint32_t f = c->feature[j];
			in_context *it;

			if (!slot[f])
				items[(slot[f] = (uint32_t)++ * n) - 1] = (in_context){ .feature = f };
			it = &items[slot[f] - 1];
			it->fires++;
			if (c->value[j] > it->max) {
				it->max = c->value[j];
				it->position = i;
			}
		}
	free(slot);
	return 0;
}

/* Where firings are not stored: the features that have it among their strongest contexts. */
static int gather_examples(in_context **out, size_t *n, view *v, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, v->s,
	                       "SELECT feature, position, activation FROM example"
	                       " WHERE source_id = ?1 AND context_id = ?2 AND bin < 0",
	                       err);

	*n = 0;
	*out = arena_alloc(&v->mem, (size_t)v->source.n_features + 1, sizeof(**out));
	if (rc == 0 && !*out)
		rc = error_nomem(err, "a context");
	if (rc == 0)
		rc = store_bind(v->s, st, err, "ii", v->source.id, v->context.id);
	while (store_next(&rc, v->s, st, err) && *n < v->source.n_features)
		(*out)[(*n)++] = (in_context){ (uint32_t)sqlite3_column_int64(st, 0),
			                       (uint32_t)sqlite3_column_int64(st, 1), 1,
			                       (float)sqlite3_column_double(st, 2) };
	sqlite3_finalize(st);
	return rc;
}

static int read_firings(view *v, sqlite3_stmt *st, error *err)
{
	error cause = { 0 };
	bool row = false;
	int rc = store_bind(v->s, st, err, "ii", v->source.id, v->context.id);

	if (rc == 0)
		rc = store_step(v->s, st, &row, err);
	if (rc < 0 || !row)
		return rc;
	v->counted = sqlite3_column_blob(st, 0);
	if (!v->counted || (uint32_t)sqlite3_column_bytes(st, 0) != (v->context.n_tokens + 7) / 8)
		return error_set(err, ERR_FORMAT,
		                 "'%s': context %" PRId64 " is corrupt: its mask is of another length",
		                 store_path(v->s), v->context.id);
	if (store_codes_decode(&v->codes, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1),
	                       v->source.n_features, v->context.n_tokens, &cause) < 0)
		return error_set(err, cause.code, "'%s': context %" PRId64 " is corrupt: %s",
		                 store_path(v->s), v->context.id, cause.msg);
	return 0;
}

static int put_page(cJSON *page, view *v, unsigned top, unsigned limit, error *err)
{
	in_context *items = NULL;
	size_t n = 0;
	int rc;

	json_put_text(page, "source", v->source.name, &v->failed);
	json_put_id(page, "context", v->context.id, &v->failed);
	json_put_id(page, "document", v->context.document, &v->failed);
	json_put_text(page, "part", store_part_name(v->context.part), &v->failed);
	json_put_number(page, "n_tokens", v->context.n_tokens, &v->failed);
	json_put_bool(page, "firings", v->counted != NULL, &v->failed);
	rc = put_tokens(page, v, top, err);
	if (rc == 0)
		rc = v->counted ? gather(&items, &n, v, err) : gather_examples(&items, &n, v, err);
	json_put_number(page, "n_features", (double)n, &v->failed);
	return rc == 0 ? put_list(page, v, items, n, limit, true, err) : rc;
}

int store_show_context(cJSON **out, store *s, const char *source, int64_t context, unsigned top,
                       unsigned limit, error *err)
{
	view v = { .s = s };
	sqlite3_stmt *row = NULL, *firing = NULL;
	cJSON *page = NULL;
	bool found = false;
	int rc = store_source_get(&v.source, s, source, err);

	if (rc == 0)
		rc = store_prepare(&row, s,
		                   "SELECT " CONTEXT_COLUMNS " FROM " CONTEXT_TABLES " WHERE c.id = ?1", err);
	if (rc == 0)
		rc = store_prepare(
		        &firing, s,
		        "SELECT counted, codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	if (rc == 0)
		rc = store_bind(s, row, err, "i", context);
	if (rc == 0)
		rc = store_step(s, row, &found, err);
	if (rc == 0 && !found)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no context %" PRId64, store_path(s), context);
	if (rc == 0)
		rc = context_row_read(&v.context, row, 0, s, err);
	if (rc == 0)
		rc = read_firings(&v, firing, err);
	if (rc == 0)
		rc = label_lookup_init(&v.labels, s, v.source.id, err);
	if (rc == 0) {
		v.texts = context_row_texts(&v.context, 0, v.context.n_tokens, &v.mem);
		rc = v.texts ? 0 : error_nomem(err, "a context");
	}
	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = put_page(page, &v, top, limit, err);
	}
	label_lookup_clear(&v.labels);
	store_codes_free(&v.codes);
	sqlite3_finalize(row);
	sqlite3_finalize(firing);
	arena_clear(&v.mem);
	return json_finish(out, page, rc, v.failed, err);
}
