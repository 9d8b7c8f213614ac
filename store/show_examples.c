/* Examples of a feature's page. */
#include "store/show_values.h"

#include <inttypes.h>

/* An example of the feature, and where it is shown. */
typedef struct place {
	int64_t bin, rank; /* as stored */
	int64_t interval;  /* -1: one of the strongest */
	uint64_t order;    /* in its interval */
} place;

typedef struct places {
	place *items;
	size_t n, cap;
} places;

/* ---- Which ---- */

static int read_places(places *out, const feature_place *p, const shown_intervals *shown, error *err)
{
	sqlite3_stmt *row = NULL;
	int rc = place_prepare(&row, p,
	                       "SELECT bin, rank, context_id, position, activation FROM example"
	                       " WHERE source_id = ?1 AND feature = ?2",
	                       err);

	while (store_next(&rc, p->s, row, err)) {
		place at = { .bin = sqlite3_column_int64(row, 0), .rank = sqlite3_column_int64(row, 1) };

		at.interval = at.bin;
		at.order = (uint64_t)at.rank;
		if (at.bin >= 0 && !shown->stored) {
			uint64_t where = hash64_mix((uint64_t)sqlite3_column_int64(row, 2),
			                            (uint64_t)sqlite3_column_int64(row, 3));

			at.interval = intervals_find(&shown->parts, (float)sqlite3_column_double(row, 4));
			at.order = hash64_mix(where, p->feature);
		}
		if (at.interval >= shown->parts.n)
			rc = error_set(err, ERR_FORMAT,
			               "'%s': feature %u is corrupt: an example is of interval %" PRId64,
			               store_path(p->s), p->feature, at.interval);
		else if (mem_grow(&out->items, &out->cap, out->n + 1, sizeof(*out->items)) < 0)
			rc = error_nomem(err, "examples");
		else
			out->items[out->n++] = at;
	}
	sqlite3_finalize(row);
	return rc;
}

/* The strongest, then the highest interval. */
static int as_shown(const void *a, const void *b)
{
	const place *x = a, *y = b;
	int64_t i = x->interval < 0 ? INT64_MAX : x->interval, j = y->interval < 0 ? INT64_MAX : y->interval;

	if (i != j)
		return i > j ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* At most n of a kind, of the samples the first of every interval before the second of any, from places as_shown(). */
static void choose(places *all, unsigned n)
{
	size_t kept = 0, deepest = 0, room = n, same;
	uint32_t height[INTERVALS_MAX] = { 0 }; /* samples in each interval */

	for (size_t i = 0; i < all->n; i++) {
		if (all->items[i].interval >= 0)
			height[all->items[i].interval]++;
	}
	for (;; deepest++) { /* layers that fit whole */
		same = 0;
		for (size_t j = 0; j < INTERVALS_MAX; j++)
			same += height[j] > deepest;
		if (same == 0 || same > room)
			break;
		room -= same;
	}
	for (size_t i = 0; i < all->n;) {
		int64_t interval = all->items[i].interval;
		size_t take = interval < 0 ? n : deepest, from = i;

		for (; i < all->n && all->items[i].interval == interval; i++) {
			if (i - from < take)
				all->items[kept++] = all->items[i];
			else if (interval >= 0 && i - from == take &&
			         room > 0) { /* of the layer that does not fit */
				all->items[kept++] = all->items[i];
				room--;
			}
		}
	}
	all->n = kept;
}

/* ---- Each ---- */

enum { EXAMPLE_POSITION, EXAMPLE_ACTIVATION, EXAMPLE_CODES, EXAMPLE_CONTEXT };

/* "tokens": text and value of each token of the window; "peak": the qualifying one in it. */
static int put_tokens(cJSON *item, const feature_place *p, const store_source *source, sqlite3_stmt *row,
                      const context_row *c, arena *mem, bool *failed, error *err)
{
	cJSON *list = json_put_array(item, "tokens", failed), *token;
	const char *const *texts;
	example_span span;
	float *values;
	int rc = example_span_find(&span, sqlite3_column_int64(row, EXAMPLE_POSITION), source->before,
	                           source->after, c, p->s, err);

	if (rc < 0)
		return rc;
	texts = context_row_texts(c, span.first, span.length, mem);
	values = arena_alloc(mem, span.length, sizeof(*values));
	if (!texts || !values)
		return error_nomem(err, "an example");
	rc = example_codes_read(values, span.length, span.peak,
	                        (float)sqlite3_column_double(row, EXAMPLE_ACTIVATION), row, EXAMPLE_CODES,
	                        store_window_is_wide(source->before, source->after), p->s, err);
	if (rc < 0)
		return rc;
	json_put_number(item, "first", span.first, failed);
	json_put_number(item, "peak", span.peak, failed);
	for (uint32_t i = 0; i < span.length; i++) {
		token = json_put_object(list, NULL, failed);
		json_put_text(token, "text", texts[i], failed);
		json_put_number(token, "value", (double)values[i], failed);
	}
	return 0;
}

static int put_example(cJSON *list, const feature_place *p, const store_source *source, sqlite3_stmt *row,
                       const place *at, const shown_intervals *shown, bool *failed, error *err)
{
	cJSON *item = json_put_object(list, NULL, failed);
	double weight = 1;
	arena mem = ARENA_INIT;
	context_row c;
	int rc = context_row_read(&c, row, EXAMPLE_CONTEXT, p->s, err);

	if (rc < 0)
		return rc;
	if (at->interval >= 0 && shown->kept[at->interval] > 0)
		weight = (double)shown->parts.counts[at->interval] / shown->kept[at->interval];
	json_put_text(item, "kind", at->interval < 0 ? "top" : "bin", failed);
	json_put_number(item, "bin", (double)at->interval, failed);
	json_put_id(item, "context", c.id, failed);
	json_put_id(item, "document", c.document, failed);
	json_put_text(item, "part", store_part_name(c.part), failed);
	json_put_column(item, "position", row, EXAMPLE_POSITION, failed);
	json_put_column(item, "activation", row, EXAMPLE_ACTIVATION, failed);
	json_put_number(item, "weight", weight, failed);
	rc = put_tokens(item, p, source, row, &c, &mem, failed, err);
	arena_clear(&mem);
	return rc;
}

int examples_put(cJSON *page, const feature_place *p, const store_source *source,
                 const shown_intervals *shown, unsigned n, bool *failed, error *err)
{
	cJSON *list = json_put_array(page, "examples", failed);
	sqlite3_stmt *row = NULL;
	places all = { 0 };
	bool more = false;
	int rc = read_places(&all, p, shown, err);

	if (rc == 0 && all.n > 0) {
		qsort(all.items, all.n, sizeof(*all.items), as_shown);
		choose(&all, n);
	}
	if (rc == 0)
		rc = place_prepare(
		        &row, p,
		        "SELECT e.position, e.activation, e.codes, " CONTEXT_COLUMNS
		        " FROM example e JOIN context c ON c.id = e.context_id"
		        " JOIN document d ON d.id = c.document_id"
		        " WHERE e.source_id = ?1 AND e.feature = ?2 AND e.bin = ?3 AND e.rank = ?4",
		        err);
	for (size_t i = 0; i < all.n && rc == 0; i++) {
		rc = store_bind(p->s, row, err, "--ii", all.items[i].bin, all.items[i].rank);
		if (rc == 0)
			rc = store_step(p->s, row, &more, err);
		if (rc == 0 && !more)
			rc = error_set(err, ERR_FORMAT,
			               "'%s' is corrupt: an example of feature %u has no context",
			               store_path(p->s), p->feature);
		if (rc == 0)
			rc = put_example(list, p, source, row, &all.items[i], shown, failed, err);
		sqlite3_reset(row);
	}
	sqlite3_finalize(row);
	free(all.items);
	return rc;
}
