/* One feature in full. */
#include "store/feature_query.h"
#include "store/histogram.h"
#include "store/history.h"

#include <inttypes.h>

/* What a page is built from. */
struct page {
	feature_place place;
	store_source source;
	cJSON *json;
	bool failed;
	error *err;
};

static int page_prepare(sqlite3_stmt **out, struct page *p, const char *sql)
{
	return place_prepare(out, &p->place, sql, p->err);
}

static int read_json(cJSON **out, struct page *p, sqlite3_stmt *row, int column)
{
	return place_read_json(out, &p->place, row, column, p->err);
}

/* All columns of the list of features. */
static int put_row(struct page *p)
{
	sqlite3_stmt *st = NULL;
	feature_query q;
	bool more = false;
	int rc = feature_query_init(&q, p->place.s, &p->source, NULL, p->err);

	if (rc == 0)
		rc = feature_row_prepare(&st, &q, p->err);
	if (rc == 0)
		rc = store_bind(p->place.s, st, p->err, "--i", (int64_t)p->place.feature);
	if (rc == 0)
		rc = store_step(p->place.s, st, &more, p->err);
	if (rc == 0 && !more)
		rc = error_set(p->err, ERR_FORMAT, "'%s' is corrupt: feature %u has no row",
		               store_path(p->place.s), p->place.feature);
	if (rc == 0)
		feature_row_put(p->json, st, &p->failed);
	sqlite3_finalize(st);
	return rc;
}

/* ---- Histogram ------------------------------------------------------------------------------------------------- */

static int corrupt(struct page *p, const char *what)
{
	return error_set(p->err, ERR_FORMAT, "'%s': feature %u is corrupt: its %s is not one",
	                 store_path(p->place.s), p->place.feature, what);
}

/* A whole number in [low, high], or low - 1. */
static int whole(const cJSON *item, int low, int high)
{
	double v = cJSON_IsNumber(item) ? item->valuedouble : low - 1.0;

	return v >= low && v <= high && v == (int)v ? (int)v : low - 1;
}

/* "histogram": {"edges":[n + 1],"counts":[n]} by half octaves, or as fine as it is stored where that is coarser. */
static int put_histogram(struct page *p, sqlite3_stmt *row)
{
	cJSON *stored = NULL, *out, *edges, *counts;
	const cJSON *count;
	int rc = read_json(&stored, p, row, 0), step, first, n, at, shown;
	double sum = 0;

	if (rc < 0)
		return rc;
	n = cJSON_GetArraySize(cJSON_GetObjectItem(stored, "counts"));
	step = whole(cJSON_GetObjectItem(stored, "per_octave"), 1, GRID_PER_OCTAVE);
	first = whole(cJSON_GetObjectItem(stored, "first"), GRID_FIRST, GRID_END);
	step = step > 0 && GRID_PER_OCTAVE % step == 0 ? GRID_PER_OCTAVE / step : 0;
	at = first * step;
	if (step == 0 || at < GRID_FIRST || n < 0 || n > (GRID_END - at) / step ||
	    !cJSON_IsArray(cJSON_GetObjectItem(stored, "counts"))) {
		cJSON_Delete(stored);
		return corrupt(p, "histogram");
	}
	out = json_put_object(p->json, "histogram", &p->failed);
	edges = json_put_array(out, "edges", &p->failed);
	counts = json_put_array(out, "counts", &p->failed);
	shown = step > GRID_PER_OCTAVE / 2 ? step : GRID_PER_OCTAVE / 2;
	if (n > 0)
		json_put_number(edges, NULL, grid_edge(at - ((at - GRID_FIRST) % shown)), &p->failed);
	cJSON_ArrayForEach(count, cJSON_GetObjectItem(stored, "counts"))
	{
		sum += cJSON_IsNumber(count) ? count->valuedouble : 0;
		at += step;
		if ((at - GRID_FIRST) % shown != 0 && count->next)
			continue;
		json_put_number(counts, NULL, sum, &p->failed);
		json_put_number(edges, NULL, grid_edge(at + (shown - (at - GRID_FIRST) % shown) % shown),
		                &p->failed);
		sum = 0;
	}
	cJSON_Delete(stored);
	return 0;
}

/* "intervals": {"definition","edges":[n + 1],"counts":[n],"kept":[n]}: what "bin" of an example counts. */
static int put_intervals(struct page *p, sqlite3_stmt *row)
{
	cJSON *stored = NULL, *out, *edges;
	const cJSON *grid;
	int rc = read_json(&stored, p, row, 4);

	if (rc < 0)
		return rc;
	out = json_put_object(p->json, "intervals", &p->failed);
	json_put_text(out, "definition", cJSON_GetStringValue(cJSON_GetObjectItem(stored, "definition")),
	              &p->failed);
	edges = json_put_array(out, "edges", &p->failed);
	cJSON_ArrayForEach(grid, cJSON_GetObjectItem(stored, "grid"))
	{
		int i = whole(grid, GRID_FIRST, GRID_END);

		if (i < GRID_FIRST) {
			rc = corrupt(p, "intervals");
			break;
		}
		json_put_number(edges, NULL, grid_edge(i), &p->failed);
	}
	json_put(out, "counts", cJSON_DetachItemFromObject(stored, "counts"), &p->failed);
	json_put(out, "kept", cJSON_DetachItemFromObject(stored, "kept"), &p->failed);
	cJSON_Delete(stored);
	return rc;
}

/* ---- Logits, neighbours --------------------------------------------------------------------------------------- */

/* A stored list [[id, value], ...] as a list of objects; `give` adds what the id stands for. NULL stays null. */
static int put_ranked(struct page *p, sqlite3_stmt *row, int column, const char *id, const char *value,
                      int (*give)(struct page *p, cJSON *item, int64_t id, void *payload), void *payload)
{
	const char *name = sqlite3_column_name(row, column);
	cJSON *stored = NULL, *list, *pair, *item;
	int rc = read_json(&stored, p, row, column);

	if (rc == 0 && !stored)
		json_put_text(p->json, name, NULL, &p->failed);
	if (rc < 0 || !stored)
		return rc;
	list = json_put_array(p->json, name, &p->failed);
	cJSON_ArrayForEach(pair, stored)
	{
		const cJSON *first = cJSON_GetArrayItem(pair, 0), *second = cJSON_GetArrayItem(pair, 1);

		if (!cJSON_IsNumber(first) || !cJSON_IsNumber(second) || first->valuedouble < 0 ||
		    first->valuedouble > UINT32_MAX) {
			rc = error_set(p->err, ERR_FORMAT,
			               "'%s': feature %u is corrupt: %s is not a list of pairs",
			               store_path(p->place.s), p->place.feature, name);
			break;
		}
		item = json_put_object(list, NULL, &p->failed);
		json_put_number(item, id, first->valuedouble, &p->failed);
		json_put_number(item, value, second->valuedouble, &p->failed);
		rc = give(p, item, (int64_t)first->valuedouble, payload);
		if (rc < 0)
			break;
	}
	cJSON_Delete(stored);
	return rc;
}

static int give_token_text(struct page *p, cJSON *item, int64_t token, void *payload)
{
	sqlite3_stmt *row = payload;
	bool more = false;
	int rc;

	sqlite3_reset(row);
	rc = store_bind(p->place.s, row, p->err, "ii", p->source.id, token);
	if (rc == 0)
		rc = store_step(p->place.s, row, &more, p->err);
	if (rc == 0 && more)
		json_put_column(item, "text", row, 0, &p->failed);
	else if (rc == 0)
		json_put_text(item, "text", NULL, &p->failed);
	return rc;
}

static int give_label(struct page *p, cJSON *item, int64_t feature, void *payload)
{
	return label_lookup_put(payload, item, (uint32_t)feature, &p->failed, p->err);
}

static int put_detail(struct page *p)
{
	sqlite3_stmt *row = NULL, *tokens = NULL;
	label_lookup labels = { 0 };
	bool more = false;
	int rc;

	rc = page_prepare(&row, p,
	                  "SELECT histogram, top_logits, bottom_logits, neighbours, intervals, quantiles"
	                  " FROM feature_detail"
	                  " WHERE source_id = ?1 AND feature = ?2");
	if (rc == 0)
		rc = store_prepare(
		        &tokens, p->place.s,
		        "SELECT v.text FROM vocab v JOIN source s ON s.tokenizer_id = v.tokenizer_id"
		        " WHERE s.id = ?1 AND v.token = ?2",
		        p->err);
	if (rc == 0)
		rc = label_lookup_init(&labels, p->place.s, p->source.id, p->err);
	if (rc == 0)
		rc = store_step(p->place.s, row, &more, p->err);
	if (rc < 0 || !more)
		goto out;
	rc = put_histogram(p, row);
	if (rc == 0)
		rc = put_intervals(p, row);
	if (rc == 0)
		rc = place_put_json(p->json, &p->place, row, 5, &p->failed, p->err);
	if (rc == 0)
		rc = put_ranked(p, row, 1, "token", "logit", give_token_text, tokens);
	if (rc == 0)
		rc = put_ranked(p, row, 2, "token", "logit", give_token_text, tokens);
	if (rc == 0)
		rc = put_ranked(p, row, 3, "feature", "cosine", give_label, &labels);
out:
	label_lookup_clear(&labels);
	sqlite3_finalize(tokens);
	sqlite3_finalize(row);
	return rc;
}

/* ---- Examples ------------------------------------------------------------------------------------------------------------ */

enum {
	EXAMPLE_KIND,
	EXAMPLE_BIN,
	EXAMPLE_POSITION,
	EXAMPLE_ACTIVATION,
	EXAMPLE_WEIGHT,
	EXAMPLE_FIRST,
	EXAMPLE_LENGTH,
	EXAMPLE_CODES,
	EXAMPLE_CONTEXT
};

/* "tokens": text and value of each token of the window; "peak": the qualifying one in it. */
static int put_tokens(struct page *p, cJSON *item, sqlite3_stmt *row, const context_row *c, arena *mem)
{
	int64_t first = sqlite3_column_int64(row, EXAMPLE_FIRST),
	        length = sqlite3_column_int64(row, EXAMPLE_LENGTH);
	int64_t peak = sqlite3_column_int64(row, EXAMPLE_POSITION) - first;
	cJSON *list = json_put_array(item, "tokens", &p->failed), *token;
	const char *const *texts;
	float *values;
	int rc;

	if (first < 0 || length < 1 || length > c->n_tokens || first > c->n_tokens - length || peak < 0 ||
	    peak >= length)
		return error_set(p->err, ERR_FORMAT,
		                 "'%s': an example is corrupt: its window is not in context %" PRId64,
		                 store_path(p->place.s), c->id);
	texts = context_row_texts(c, (uint32_t)first, (uint32_t)length, mem);
	values = arena_alloc(mem, (size_t)length, sizeof(*values));
	if (!texts || !values)
		return error_nomem(p->err, "an example");
	rc = example_codes_read(values, (uint32_t)length, (uint32_t)peak,
	                        (float)sqlite3_column_double(row, EXAMPLE_ACTIVATION), row, EXAMPLE_CODES,
	                        store_window_is_wide(p->source.before, p->source.after), p->place.s, p->err);
	if (rc < 0)
		return rc;
	json_put_number(item, "first", (double)first, &p->failed);
	json_put_number(item, "peak", (double)peak, &p->failed);
	for (int64_t i = 0; i < length; i++) {
		token = json_put_object(list, NULL, &p->failed);
		json_put_text(token, "text", texts[i], &p->failed);
		json_put_number(token, "value", (double)values[i], &p->failed);
	}
	return 0;
}

static int put_example(struct page *p, cJSON *list, sqlite3_stmt *row, arena *mem)
{
	cJSON *item = json_put_object(list, NULL, &p->failed);
	context_row c;
	int rc;

	rc = context_row_read(&c, row, EXAMPLE_CONTEXT, p->place.s, p->err);
	if (rc < 0)
		return rc;
	json_put_column(item, "kind", row, EXAMPLE_KIND, &p->failed);
	json_put_column(item, "bin", row, EXAMPLE_BIN, &p->failed);
	json_put_id(item, "context", c.id, &p->failed);
	json_put_id(item, "document", c.document, &p->failed);
	json_put_text(item, "part", store_part_name(c.part), &p->failed);
	json_put_column(item, "position", row, EXAMPLE_POSITION, &p->failed);
	json_put_column(item, "activation", row, EXAMPLE_ACTIVATION, &p->failed);
	json_put_column(item, "weight", row, EXAMPLE_WEIGHT, &p->failed);
	return put_tokens(p, item, row, &c, mem);
}

/* At most n of a kind: the strongest; of the samples of bins, the first of every bin before the second of any. */
static int put_examples(struct page *p, unsigned n)
{
	sqlite3_stmt *row = NULL;
	cJSON *list = json_put_array(p->json, "examples", &p->failed);
	arena mem = ARENA_INIT;
	bool more;
	int rc;

	rc = store_prepare(&row, p->place.s,
	                   "SELECT e.kind, e.bin, e.position, e.activation, e.weight, e.first, e.length, "
	                   "e.codes, " CONTEXT_COLUMNS
	                   " FROM (SELECT bin, rank, row_number() OVER (PARTITION BY "
	                   "bin < 0 ORDER BY rank, bin DESC) AS place FROM example"
	                   "  WHERE source_id = ?1 AND feature = ?2) x"
	                   " JOIN example_window e ON e.source_id = ?1 AND e.feature = ?2 AND e.bin = x.bin "
	                   "AND e.rank = x.rank"
	                   " JOIN context c ON c.id = e.context_id JOIN document d ON d.id = c.document_id"
	                   " WHERE x.place <= ?3 ORDER BY e.kind DESC, e.bin DESC, e.rank",
	                   p->err);
	if (rc == 0)
		rc = store_bind(p->place.s, row, p->err, "iii", p->source.id, (int64_t)p->place.feature,
		                (int64_t)n);
	while (rc == 0 && (rc = store_step(p->place.s, row, &more, p->err)) == 0 && more) {
		rc = put_example(p, list, row, &mem);
		arena_clear(&mem);
	}
	arena_clear(&mem);
	sqlite3_finalize(row);
	return rc;
}

int store_show(cJSON **out, store *s, const char *source, uint32_t feature, unsigned n_examples, error *err)
{
	struct page p = { .err = err };
	int rc;

	rc = store_source_get(&p.source, s, source, err);
	if (rc < 0)
		return rc;
	if (feature >= p.source.n_features)
		return error_set(err, ERR_ARG, "feature %u is out of range: source '%s' has features 0-%u",
		                 feature, p.source.name, p.source.n_features - 1);
	p.place = (feature_place){ s, p.source.id, feature };
	p.json = cJSON_CreateObject();
	json_put_text(p.json, "source", p.source.name, &p.failed);
	json_put_number(p.json, "n_tokens", (double)p.source.n_tokens, &p.failed);
	json_put_number(p.json, "n_features", p.source.n_features, &p.failed);
	rc = put_row(&p);
	if (rc == 0)
		rc = put_detail(&p);
	if (rc == 0)
		rc = labels_put(p.json, &p.place, &p.failed, err);
	if (rc == 0)
		rc = notes_put(p.json, &p.place, &p.failed, err);
	if (rc == 0)
		rc = lists_put(p.json, &p.place, &p.failed, err);
	if (rc == 0)
		rc = put_examples(&p, n_examples);
	return json_finish(out, p.json, rc, p.failed, err);
}
