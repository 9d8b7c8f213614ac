/* The list of features: filter, draw, sort, page, over one source or several. */
#include "store/feature_query.h"
#include "store/top_rows.h"

#include <limits.h>
#include <strings.h>

/* A listing in the making. */
struct listing {
	store *s;
	const store_features_opts *o;
	store_source *sources; /* (n), in `mem` */
	size_t n;
	feature_query *queries; /* (n) */
	arena mem;
	text keys; /* ", column" of what is sorted by */
	top_rows top;
	uint64_t matching;
};

/* ---- What is sorted by ------------------------------------------------------------------------------------------------ */

static int bad_column(error *err, const char *typed, size_t len)
{
	char name[64];
	const char *near;

	snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1), typed);
	near = name_nearest(feature_columns, feature_n_names, name);
	if (near)
		return error_set(err, ERR_ARG, "cannot sort by '%s'; did you mean '%s'?", name, near);
	return error_set(err, ERR_ARG,
	                 "cannot sort by '%s': there are feature, n_fires, density, max_act, mean_act, "
	                 "score, label and others (see gloss features --help)",
	                 name);
}

static const char *find_column(const char *name, size_t len)
{
	for (size_t i = 0; i < feature_n_names; i++)
		if (strlen(feature_columns[i]) == len && strncasecmp(feature_columns[i], name, len) == 0)
			return feature_columns[i];
	return NULL;
}

/* "-score,density" */
static int read_sort(struct listing *l, error *err)
{
	const char *at = l->o->sort, *column;
	size_t len;
	int rc = 0;

	while (at && rc == 0) {
		if (l->top.n_keys == TOP_ROWS_MAX_KEYS)
			return error_set(err, ERR_ARG, "cannot sort by over %d columns", TOP_ROWS_MAX_KEYS);
		l->top.descending[l->top.n_keys++] = *at == '-';
		at += *at == '-';
		len = strcspn(at, ",");
		column = find_column(at, len);
		if (!column)
			return bad_column(err, at, len);
		rc = text_addf(&l->keys, ", %s", column);
		at = at[len] ? at + len + 1 : NULL;
	}
	return rc < 0 ? error_set(err, rc, "cannot build the query") : 0;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------------- */

/* Those of the user's list, or NULL for all; malloc'd. */
static int read_wanted(bool **out, const struct listing *l, const store_source *source, error *err)
{
	bool *wanted;
	int rc;

	if (!l->o->list)
		return 0;
	wanted = calloc((size_t)source->n_features + 1, sizeof(*wanted));
	if (!wanted)
		return error_nomem(err, "a list of features");
	rc = list_mark(wanted, l->s, source, l->o->list, err);
	if (rc < 0)
		free(wanted);
	else
		*out = wanted;
	return rc;
}

/* Offer the rows of source i. Sorting here rather than in SQL counts and merges sources in the same pass, and copies the
 * keys of the first rows only. */
static int offer_rows(struct listing *l, uint32_t i, error *err)
{
	const feature_query *q = &l->queries[i];
	uint64_t seed = hash64(q->source.name, strlen(q->source.name), l->o->seed);
	sqlite3_stmt *st = NULL;
	bool *wanted = NULL, more;
	char behind[80];
	text what;
	int rc;

	text_init(&what, 4096);
	rc = text_addf(&what, "feature%s", l->keys.len ? l->keys.data : "");
	rc = rc < 0 ? error_set(err, rc, "cannot build the query") : read_wanted(&wanted, l, &q->source, err);
	snprintf(behind, sizeof(behind), "%s%s%s%s%s", q->where ? "" : "WHERE 1",
	         l->o->dead ? " AND dead" : "", l->o->firing ? " AND NOT dead" : "",
	         l->o->dense ? " AND dense" : "", l->o->single_token ? " AND single_token" : "");
	if (rc == 0)
		rc = feature_query_prepare(&st, q, what.data, behind, err);
	while (rc == 0 && (rc = feature_query_step(q, st, &more, err)) == 0 && more) {
		top_row row = { .source = i, .feature = (uint32_t)sqlite3_column_int64(st, 0) };

		if (wanted && (row.feature >= q->source.n_features || !wanted[row.feature]))
			continue;
		row.hash = hash64_mix(seed, row.feature);
		l->matching++;
		rc = top_rows_offer(&l->top, &row, st, 1, err);
	}
	sqlite3_finalize(st);
	text_free(&what);
	free(wanted);
	return rc;
}

/* ---- The page ---------------------------------------------------------------------------------------------------------- */

/* All columns of the rows offset ... of the listing. */
static int put_rows(cJSON *list, struct listing *l, bool *failed, error *err)
{
	sqlite3_stmt **rows = arena_alloc(&l->mem, l->n, sizeof(*rows));
	uint64_t end = l->o->limit > UINT64_MAX - l->o->offset ? UINT64_MAX : l->o->offset + l->o->limit;
	cJSON *item;
	bool found;
	int rc = rows ? 0 : error_nomem(err, "the rows of a list");

	for (uint64_t at = l->o->offset; at < end && at < l->top.n && rc == 0; at++) {
		const top_row *row = &l->top.rows[at];
		sqlite3_stmt **st = &rows[row->source];

		if (!*st)
			rc = feature_row_prepare(st, &l->queries[row->source], err);
		if (rc == 0)
			rc = store_bind(l->s, *st, err, "--i", (int64_t)row->feature);
		if (rc == 0)
			rc = store_step(l->s, *st, &found, err);
		if (rc < 0 || !found)
			break;
		item = json_put_object(list, NULL, failed);
		if (l->n > 1)
			json_put_text(item, "source", l->sources[row->source].name, failed);
		feature_row_put(item, *st, failed);
		sqlite3_reset(*st);
	}
	for (size_t i = 0; rows && i < l->n; i++)
		sqlite3_finalize(rows[i]);
	return rc;
}

static int put_page(cJSON *page, struct listing *l, bool *failed, error *err)
{
	cJSON *names = NULL;

	if (l->n == 1)
		json_put_text(page, "source", l->sources[0].name, failed);
	else
		names = json_put_array(page, "sources", failed);
	for (size_t i = 0; i < l->n && l->n > 1; i++)
		json_put_text(names, NULL, l->sources[i].name, failed);
	json_put_number(page, "total", (double)(l->o->random ? l->top.n : l->matching), failed);
	if (l->o->random)
		json_put_number(page, "matching", (double)l->matching, failed);
	json_put_number(page, "offset", (double)l->o->offset, failed);
	return put_rows(json_put_array(page, "features", failed), l, failed, err);
}

static int begin(struct listing *l, error *err)
{
	const store_features_opts *o = l->o;
	int rc = sources_find(&l->sources, &l->n, l->s, &o->sources, &l->mem, err);

	if (rc < 0)
		return rc;
	l->queries = arena_alloc(&l->mem, l->n, sizeof(*l->queries));
	if (!l->queries)
		return error_nomem(err, "a list of features");
	for (size_t i = 0; i < l->n && rc == 0; i++)
		rc = feature_query_init(&l->queries[i], l->s, &l->sources[i], o->where, err);
	l->top.by_hash = o->random > 0;
	l->top.want = o->random;
	if (!o->random)
		l->top.want = o->limit > UINT64_MAX - o->offset ? UINT64_MAX : o->offset + o->limit;
	return rc < 0 ? rc : read_sort(l, err);
}

int store_features(cJSON **out, store *s, const store_features_opts *o, error *err)
{
	struct listing l = { .s = s, .o = o, .mem = ARENA_INIT };
	cJSON *page = NULL;
	time_limit limit;
	bool failed = false;
	int rc;

	text_init(&l.keys, 4096);
	rc = begin(&l, err);
	time_limit_start(&limit, s, WHERE_SECONDS, o->where ? WHERE_MAX_LENGTH : INT_MAX, WHERE_MAX_PATTERN);
	for (uint32_t i = 0; i < l.n && rc == 0; i++)
		rc = offer_rows(&l, i, err);
	time_limit_end(&limit);
	top_rows_sort(&l.top);
	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = put_page(page, &l, &failed, err);
	}
	top_rows_clear(&l.top);
	text_free(&l.keys);
	arena_clear(&l.mem);
	return json_finish(out, page, rc, failed, err);
}
