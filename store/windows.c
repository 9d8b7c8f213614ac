/* Windows of tokens for explain/: where a feature fires, and where it is verified not to. */
#include "store/window_list.h"

#include <inttypes.h>
#include <math.h>

/* ---- Firing windows ------------------------------------------------------------------------------------------- */

enum {
	EXAMPLE_WEIGHT,
	EXAMPLE_BEFORE,
	EXAMPLE_AFTER,
	EXAMPLE_POSITION,
	EXAMPLE_ACTIVATION,
	EXAMPLE_CODES,
	EXAMPLE_CONTEXT
};

static int read_example(struct window_list *list, sqlite3_stmt *row, store *s, store_part part, arena *mem,
                        error *err)
{
	uint32_t before = (uint32_t)sqlite3_column_int64(row, EXAMPLE_BEFORE),
	         after = (uint32_t)sqlite3_column_int64(row, EXAMPLE_AFTER);
	example_span span;
	context_row c;
	store_window w;
	float *values;
	int rc;

	rc = context_row_read(&c, row, EXAMPLE_CONTEXT, s, err);
	if (rc < 0)
		return rc;
	if ((part != STORE_ANY && c.part != part) || window_list_has_context(list, c.id))
		return 0;
	rc = example_span_find(&span, sqlite3_column_int64(row, EXAMPLE_POSITION), before, after, &c, s, err);
	if (rc == 0)
		rc = window_make(&w, &values, &c, span.first, span.length, mem, err);
	if (rc < 0)
		return rc;
	rc = example_codes_read(values, w.length, span.peak,
	                        (float)sqlite3_column_double(row, EXAMPLE_ACTIVATION), row, EXAMPLE_CODES,
	                        store_window_is_wide(before, after), s, err);
	if (rc < 0 || window_list_has_tokens(list, w.token, w.length))
		return rc;
	for (uint32_t i = 0; i < w.length; i++)
		if (values[i] > w.activation) {
			w.activation = values[i];
			w.peak = i;
		}
	w.weight = sqlite3_column_double(row, EXAMPLE_WEIGHT);
	return window_list_add(list, &w, err);
}

static int strongest_first(const void *a, const void *b)
{
	const store_window *x = a, *y = b;

	if (x->activation != y->activation)
		return x->activation > y->activation ? -1 : 1;
	if (x->context != y->context)
		return x->context < y->context ? -1 : 1;
	return 0;
}

int store_windows_firing(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, arena *mem, error *err)
{
	struct window_list list = { 0 };
	sqlite3_stmt *row = NULL;
	int rc;

	rc = store_prepare(
	        &row, s,
	        "SELECT w.weight, s.before, s.after, e.position, e.activation, e.codes, " CONTEXT_COLUMNS
	        " FROM example e JOIN example_window w ON w.source_id = e.source_id AND w.feature = e.feature"
	        " AND w.bin = e.bin AND w.rank = e.rank JOIN source s ON s.id = e.source_id"
	        " JOIN context c ON c.id = e.context_id JOIN document d ON d.id = c.document_id"
	        " WHERE e.source_id = ?1 AND e.feature = ?2"
	        " ORDER BY e.activation DESC, e.context_id, e.position, e.kind DESC",
	        err);
	if (rc == 0)
		rc = store_bind(s, row, err, "ii", source, (int64_t)feature);
	while (store_next(&rc, s, row, err))
		rc = read_example(&list, row, s, part, mem, err);
	if (rc < 0)
		goto out;
	if (list.n)
		qsort(list.items, list.n, sizeof(*list.items), strongest_first);
	rc = window_list_finish(out, n, &list, mem, err);
out:
	sqlite3_finalize(row);
	window_list_clear(&list);
	return rc;
}

/* ---- Silent windows ------------------------------------------------------------------------------------------- */

/* A place where a silent window may be taken. */
struct candidate {
	uint64_t hash;
	uint32_t context, first, length;
};

struct candidates {
	struct candidate *items;
	size_t n, cap;
};

static int by_hash(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->context != y->context)
		return x->context < y->context ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* The silent windows of one context: side by side, from a start that the hash picks. A context shorter than the window
 * offers itself whole. */
static int add_candidates(struct candidates *all, const firing_context *c, uint32_t index,
                          const firing_place *places, size_t n_places, uint32_t length, uint64_t key,
                          error *err)
{
	uint32_t size = c->row.n_tokens < length ? c->row.n_tokens : length;
	uint64_t context_key = hash64_mix(key, (uint64_t)c->row.id);
	uint32_t first = (uint32_t)hash64_below(context_key, c->row.n_tokens % size + 1);

	for (; first + size <= c->row.n_tokens; first += size) {
		if (window_fires_in(places, n_places, first, size) || !window_counts(c, first, size))
			continue;
		if (mem_grow(&all->items, &all->cap, all->n + 1, sizeof(*all->items)) < 0)
			return error_nomem(err, "silent windows");
		all->items[all->n++] =
		        (struct candidate){ hash64_mix(context_key, first), index, first, size };
	}
	return 0;
}

static int take_candidates(struct window_list *list, const struct candidates *all, const firing_cache *cache,
                           size_t want, arena *mem, error *err)
{
	store_window w;
	float *values;
	int rc;

	for (size_t i = 0; i < all->n && list->n < want; i++) {
		const struct candidate *at = &all->items[i];

		rc = window_make(&w, &values, &cache->contexts[at->context].row, at->first, at->length, mem,
		                 err);
		if (rc == 0 && !window_list_has_tokens(list, w.token, w.length))
			rc = window_list_add(list, &w, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int store_windows_silent(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, uint32_t length, size_t want, uint64_t seed, arena *mem, error *err)
{
	struct window_list list = { 0 };
	struct candidates all = { 0 };
	const firing_cache *cache;
	size_t place, end;
	int rc;

	if (length == 0)
		return error_set(err, ERR_ARG, "a window of 0 tokens");
	rc = firing_cache_get(&cache, s, source, err);
	if (rc < 0)
		return rc;
	if (feature >= cache->n_features)
		return error_set(err, ERR_ARG, "feature %u is out of range: the source has features 0-%u",
		                 feature, cache->n_features - 1);
	place = cache->start[feature];
	end = cache->start[feature + 1];
	for (uint32_t i = 0; i < cache->n_contexts; i++) {
		const firing_context *c = &cache->contexts[i];
		size_t begin = place;

		while (place < end && cache->places[place].context == i)
			place++;
		if (part != STORE_ANY && c->row.part != part)
			continue;
		rc = add_candidates(&all, c, i, cache->places + begin, place - begin, length,
		                    hash64_mix(seed, feature), err);
		if (rc < 0)
			goto out;
	}
	if (all.n)
		qsort(all.items, all.n, sizeof(*all.items), by_hash);
	rc = take_candidates(&list, &all, cache, want, mem, err);
	if (rc == 0)
		rc = window_list_finish(out, n, &list, mem, err);
out:
	free(all.items);
	window_list_clear(&list);
	return rc;
}
