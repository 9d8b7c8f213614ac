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

/* ---- Silent and random windows -------------------------------------------------------------------------------- */

/* A place where a window may be taken. */
struct candidate {
	uint64_t hash;
	uint32_t context, first, length;
	bool fires;
};

struct candidates {
	struct candidate *items;
	size_t n, cap;
	bool firing; /* also those in which the feature fires */
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

/* The windows of one context: side by side, from a start that the hash picks. A context shorter than the window
 * offers itself whole. */
static int add_candidates(struct candidates *all, const firing_context *c, uint32_t index,
                          const firing_place *places, size_t n_places, uint32_t length, uint64_t key,
                          error *err)
{
	uint32_t size = c->row.n_tokens < length ? c->row.n_tokens : length;
	uint64_t context_key = hash64_mix(key, (uint64_t)c->row.id);
	uint32_t first = (uint32_t)hash64_below(context_key, c->row.n_tokens % size + 1);

	for (; first + size <= c->row.n_tokens; first += size) {
		bool fires = window_fires_in(places, n_places, first, size);

		if ((fires && !all->firing) || !window_counts(c, first, size))
			continue;
		if (mem_grow(&all->items, &all->cap, all->n + 1, sizeof(*all->items)) < 0)
			return error_nomem(err, "silent windows");
		all->items[all->n++] =
		        (struct candidate){ hash64_mix(context_key, first), index, first, size, fires };
	}
	return 0;
}

/* The feature's values in a window of a context (the row's), out of the codes that `row` selects. */
static int read_values(store_window *w, float *values, const context_row *c, uint32_t feature,
                       const firing_cache *cache, store *s, sqlite3_stmt *row, arena *mem, error *err)
{
	unsigned char *wanted = arena_alloc(mem, c->n_tokens / 8 + 1, 1);
	store_codes codes = { 0 };
	bool found = false;
	error cause = { 0 };
	int rc = wanted ? store_bind(s, row, err, "ii", cache->source, c->id) : error_nomem(err, "windows");

	for (uint32_t i = w->first; wanted && i < w->first + w->length; i++)
		wanted[i / 8] |= (unsigned char)(1u << (i % 8));
	if (rc == 0)
		rc = store_step(s, row, &found, err);
	if (rc < 0)
		return rc;
	if (!found ||
	    store_codes_pick(&codes, sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0),
	                     cache->n_features, c->n_tokens, wanted, NULL, &cause) < 0)
		rc = error_set(err, ERR_FORMAT, "'%s': context %" PRId64 " is corrupt: %s", store_path(s),
		               c->id, found ? cause.msg : "its firings are gone");
	for (uint32_t i = 0; i < w->length && rc == 0; i++)
		for (uint32_t k = codes.start[w->first + i]; k < codes.start[w->first + i + 1]; k++)
			if (codes.feature[k] == feature)
				values[i] = codes.value[k];
	for (uint32_t i = 0; i < w->length; i++)
		if (values[i] > w->activation) {
			w->activation = values[i];
			w->peak = i;
		}
	sqlite3_reset(row);
	store_codes_free(&codes);
	return rc;
}

static int take_candidates(struct window_list *list, const struct candidates *all, const firing_cache *cache,
                           store *s, uint32_t feature, size_t want, arena *mem, error *err)
{
	sqlite3_stmt *row = NULL;
	store_window w;
	float *values;
	int rc = 0;

	if (all->firing)
		rc = store_prepare(&row, s,
		                   "SELECT codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	for (size_t i = 0; i < all->n && list->n < want && rc == 0; i++) {
		const struct candidate *at = &all->items[i];
		const context_row *c = &cache->contexts[at->context].row;

		rc = window_make(&w, &values, c, at->first, at->length, mem, err);
		if (rc == 0 && at->fires)
			rc = read_values(&w, values, c, feature, cache, s, row, mem, err);
		if (rc == 0 && !window_list_has_tokens(list, w.token, w.length))
			rc = window_list_add(list, &w, err);
	}
	sqlite3_finalize(row);
	return rc;
}

static int draw_windows(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                        store_part part, uint32_t length, size_t want, uint64_t seed, bool firing, arena *mem,
                        error *err)
{
	struct window_list list = { 0 };
	struct candidates all = { .firing = firing };
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
	rc = take_candidates(&list, &all, cache, s, feature, want, mem, err);
	if (rc == 0)
		rc = window_list_finish(out, n, &list, mem, err);
out:
	free(all.items);
	window_list_clear(&list);
	return rc;
}

int store_windows_silent(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, uint32_t length, size_t want, uint64_t seed, arena *mem, error *err)
{
	return draw_windows(out, n, s, source, feature, part, length, want, seed, false, mem, err);
}

int store_windows_random(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, uint32_t length, size_t want, uint64_t seed, arena *mem, error *err)
{
	return draw_windows(out, n, s, source, feature, part, length, want, seed, true, mem, err);
}
