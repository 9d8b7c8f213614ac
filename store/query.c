/* The list of features: filter, sort, page. The filter is the user's SQL expression, run where it can read nothing but the
 * columns of schemas/sql/features.sql. */
#include "store/query_internal.h"

#include <ctype.h>
#include <strings.h>

extern const char sql_features[];

#define WHERE_SECONDS 10.0
#define WHERE_MAX     8192 /* bytes of an expression */

/* In the order of the answer. */
static const char *const columns[] = {
	"feature",   "n_fires",        "n_contexts",      "density",        "max_act",
	"mean_act",  "median_act",     "std_act",         "skewness",       "kurtosis",
	"top_token", "top_token_text", "top_token_share", "token_entropy",  "decoder_norm",
	"dead",      "label",          "label_method",    "label_model",    "label_confidence",
	"score",     "score_low",      "score_high",      "score_baseline", "scorer",
	"judge",
};

/* ---- The user's expression ------------------------------------------------------------------------------------- */

/* Functions without effect that cannot make large values. */
static const char *const functions[] = {
	"abs",    "acos",      "asin",  "atan",    "ceil",  "ceiling", "char",    "coalesce", "cos",
	"exp",    "floor",     "glob",  "ifnull",  "iif",   "instr",   "length",  "like",     "ln",
	"log",    "log10",     "log2",  "lower",   "ltrim", "max",     "min",     "mod",      "nullif",
	"pi",     "pow",       "power", "replace", "round", "rtrim",   "sign",    "sin",      "sqrt",
	"substr", "substring", "tan",   "trim",    "trunc", "typeof",  "unicode", "upper",
};

bool name_is_among(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

/* What the statement with the expression may do. Reads of tables come from features.sql alone: there SQLite names the
 * common table expression they are in. */
static int authorize_where(void *payload, int action, const char *first, const char *second,
                           const char *database, const char *inside)
{
	(void)payload;
	(void)database;
	if (action == SQLITE_SELECT)
		return SQLITE_OK;
	if (action == SQLITE_READ)
		return inside || !second || !*second ? SQLITE_OK : SQLITE_DENY;
	if (action == SQLITE_FUNCTION && second)
		return inside || strcasecmp(second, "count") == 0 ||
		                       name_is_among(functions, ARRAY_LEN(functions), second)
		               ? SQLITE_OK
		               : SQLITE_DENY;
	(void)first;
	return SQLITE_DENY;
}

/* Where a quoted piece that begins at `at` ends (behind its quote), or the end of the text when it does not. */
static size_t skip_quoted(const char *where, size_t at)
{
	char close = where[at] == '[' ? ']' : where[at];

	for (at++; where[at] && where[at] != close; at++)
		;
	return where[at] ? at + 1 : at;
}

static size_t skip_word(const char *where, size_t at)
{
	while (isalnum((unsigned char)where[at]) || where[at] == '_' || (unsigned char)where[at] > 127)
		at++;
	return at;
}

static bool word_is(const char *where, size_t at, size_t end, const char *word)
{
	return end - at == strlen(word) && strncasecmp(where + at, word, end - at) == 0;
}

static int bad_where(error *err, const char *where, size_t at, const char *why)
{
	return error_set(err, ERR_ARG, "where '%.200s': character %zu: %s", where, at + 1, why);
}

/* The expression must be one: balanced, without statements behind it, comments or queries of its own. What it reads and
 * calls is the authorizer's matter. */
static int check_where(const char *where, error *err)
{
	size_t depth = 0, at = 0, end;
	char close;

	if (strlen(where) > WHERE_MAX)
		return error_set(err, ERR_LIMIT, "where: over %d characters", WHERE_MAX);
	while (where[at]) {
		end = at + 1;
		if (strchr("'\"`[", where[at])) {
			close = where[at] == '[' ? ']' : where[at];
			end = skip_quoted(where, at);
			if (end - at < 2 || where[end - 1] != close)
				return bad_where(err, where, at, "this quote is not closed");
		} else if (where[at] == '(') {
			depth++;
		} else if (where[at] == ')' && depth-- == 0) {
			return bad_where(err, where, at, "no '(' goes with this ')'");
		} else if (strchr(";?@$:", where[at]) || strncmp(where + at, "--", 2) == 0 ||
		           strncmp(where + at, "/*", 2) == 0) {
			return bad_where(err, where, at, "an expression ends here");
		} else if (skip_word(where, at) > at) {
			end = skip_word(where, at);
			if (word_is(where, at, end, "select") || word_is(where, at, end, "with") ||
			    word_is(where, at, end, "values"))
				return bad_where(err, where, at,
				                 "queries within the expression are not allowed");
		}
		at = end;
	}
	return depth ? bad_where(err, where, at, "a '(' is not closed") : 0;
}

/* Prepare `sql`, in which the expression begins at byte `at`. */
static int prepare_where(sqlite3_stmt **out, store *s, const char *sql, const char *where, size_t at,
                         error *err)
{
	int code, offset;

	if (!where)
		return store_prepare(out, s, sql, err);
	sqlite3_set_authorizer(s->db, authorize_where, NULL);
	code = sqlite3_prepare_v2(s->db, sql, -1, out, NULL);
	offset = sqlite3_error_offset(s->db);
	sqlite3_set_authorizer(s->db, NULL, NULL);
	if (code == SQLITE_OK)
		return 0;
	if (code == SQLITE_NOMEM)
		return error_nomem(err, "a query");
	if (offset >= 0 && (size_t)offset >= at && (size_t)offset - at <= strlen(where))
		return bad_where(err, where, (size_t)offset - at, sqlite3_errmsg(s->db));
	return error_set(err, ERR_ARG, "where '%.200s': %s", where, sqlite3_errmsg(s->db));
}

/* ---- Statements over features.sql -------------------------------------------------------------------------------- */

/* A query over the features of a source, with its expression. */
struct feature_query {
	store *s;
	store_source source;
	int64_t tokenizer; /* 0: none */
	const char *where; /* NULL: all */
};

static int query_init(struct feature_query *q, store *s, const char *source, const char *where, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	*q = (struct feature_query){ .s = s, .where = where && *where ? where : NULL };
	rc = store_source_get(&q->source, s, source, err);
	if (rc == 0 && q->where)
		rc = check_where(q->where, err);
	if (rc == 0)
		rc = store_prepare(&st, s, "SELECT tokenizer_id FROM source WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", q->source.id);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row)
		q->tokenizer = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

/* WITH ... SELECT `what` FROM features [WHERE (expression)] `behind`; source and tokenizer bound. */
static int query_prepare(sqlite3_stmt **out, const struct feature_query *q, const char *what,
                         const char *behind, error *err)
{
	sqlite3_stmt *st = NULL;
	size_t at = 0;
	text sql;
	int rc;

	text_init(&sql, 1 << 16);
	rc = text_addf(&sql, "%s SELECT %s FROM features", sql_features, what);
	if (rc == 0 && q->where) {
		rc = text_adds(&sql, " WHERE (");
		at = sql.len;
		if (rc == 0)
			rc = text_addf(&sql, "%s\n)", q->where);
	}
	if (rc == 0)
		rc = text_addf(&sql, " %s", behind);
	if (rc < 0)
		rc = error_set(err, rc, "cannot build the query");
	if (rc == 0)
		rc = prepare_where(&st, q->s, sql.data, q->where, at, err);
	text_free(&sql);
	if (rc == 0)
		rc = store_bind(q->s, st, err, "ii", q->source.id, q->tokenizer);
	if (rc < 0) {
		sqlite3_finalize(st);
		return rc;
	}
	*out = st;
	return 0;
}

/* store_step() for a statement that holds the user's expression. */
static int query_step(const struct feature_query *q, sqlite3_stmt *st, bool *more, error *err)
{
	error cause = { 0 };
	int rc = store_step(q->s, st, more, &cause);

	if (rc == ERR_LIMIT && q->where)
		return error_set(err, rc, "where '%.200s': stopped after %.0f s", q->where, WHERE_SECONDS);
	if (rc == ERR_ARG && q->where)
		return error_set(err, rc, "where '%.200s': %s", q->where, sqlite3_errmsg(q->s->db));
	if (rc < 0)
		return error_set(err, rc, "%s", cause.msg);
	return rc;
}

/* "-score": ORDER BY score IS NULL, score DESC, feature */
static int order_by(text *out, const char *sort, error *err)
{
	const char *name = sort ? sort : "feature";
	bool descending = *name == '-';
	int rc;

	name += descending;
	if (!name_is_among(columns, ARRAY_LEN(columns), name)) {
		rc = error_set(err, ERR_ARG,
		               "cannot sort by '%s': there are feature, n_fires, density, max_act, "
		               "mean_act, score, label and others (see gloss features --help)",
		               name);
		return rc;
	}
	/* The order of the table itself needs no sorting. */
	rc = strcasecmp(name, "feature") == 0
	             ? text_addf(out, "ORDER BY feature%s", descending ? " DESC" : "")
	             : text_addf(out, "ORDER BY %s IS NULL, %s%s, feature", name, name,
	                         descending ? " DESC" : "");
	return rc < 0 ? error_set(err, rc, "cannot build the query") : 0;
}

static void put_columns(cJSON *feature, sqlite3_stmt *row, bool *failed)
{
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		if (strcmp(columns[i], "dead") == 0)
			json_put_bool(feature, "dead", sqlite3_column_int(row, (int)i), failed);
		else
			json_put_column(feature, columns[i], row, (int)i, failed);
	}
}

static void put_feature(cJSON *list, sqlite3_stmt *row, bool *failed)
{
	put_columns(json_put_object(list, NULL, failed), row, failed);
}

static int all_columns(text *out, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(columns) && rc == 0; i++)
		rc = text_addf(out, "%s%s", i ? ", " : "", columns[i]);
	return rc < 0 ? error_set(err, rc, "cannot build the query") : 0;
}

/* One pass gives the ids in order, all of them counted; the other columns, with what they look up, are read for the page
 * only. */
static int put_page(cJSON *list, uint64_t *total, const struct feature_query *q, const store_features_opts *o,
                    bool *failed, error *err)
{
	struct feature_query all = *q;
	sqlite3_stmt *ids = NULL, *row = NULL;
	text what, behind;
	bool more, found;
	int rc;

	all.where = NULL;
	text_init(&what, 4096);
	text_init(&behind, 4096);
	rc = all_columns(&what, err);
	if (rc == 0)
		rc = order_by(&behind, o->sort, err);
	if (rc == 0)
		rc = query_prepare(&ids, q, "feature", behind.data, err);
	if (rc == 0)
		rc = query_prepare(&row, &all, what.data, "WHERE feature = ?3", err);
	while (rc == 0 && (rc = query_step(q, ids, &more, err)) == 0 && more) {
		uint64_t at = (*total)++;

		if (at < o->offset || at - o->offset >= o->limit)
			continue;
		sqlite3_reset(row);
		rc = store_bind(q->s, row, err, "--i", sqlite3_column_int64(ids, 0));
		if (rc == 0)
			rc = query_step(&all, row, &found, err);
		if (rc == 0 && found)
			put_feature(list, row, failed);
	}
	sqlite3_finalize(row);
	sqlite3_finalize(ids);
	text_free(&behind);
	text_free(&what);
	return rc;
}

int store_features(cJSON **out, store *s, const store_features_opts *o, error *err)
{
	cJSON *page = NULL, *list, *total_item;
	struct feature_query q;
	time_limit limit;
	uint64_t total = 0;
	bool failed = false;
	int rc;

	rc = query_init(&q, s, o->source, o->where, err);
	if (rc < 0)
		return rc;
	time_limit_start(&limit, s, WHERE_SECONDS);
	page = cJSON_CreateObject();
	json_put_text(page, "source", q.source.name, &failed);
	total_item = cJSON_CreateNumber(0);
	json_put(page, "total", total_item, &failed);
	json_put_number(page, "offset", (double)o->offset, &failed);
	list = json_put_array(page, "features", &failed);
	rc = put_page(list, &total, &q, o, &failed, err);
	if (!failed)
		cJSON_SetNumberValue(total_item, (double)total);
	time_limit_end(&limit);
	return json_finish(out, page, rc, failed, err);
}

int feature_row_put(cJSON *object, store *s, const char *source, uint32_t feature, bool *failed, error *err)
{
	struct feature_query q;
	sqlite3_stmt *st = NULL;
	char behind[64];
	bool more = false;
	text what;
	int rc;

	text_init(&what, 4096);
	snprintf(behind, sizeof(behind), "WHERE feature = %u", feature);
	rc = query_init(&q, s, source, NULL, err);
	if (rc == 0)
		rc = all_columns(&what, err);
	if (rc == 0)
		rc = query_prepare(&st, &q, what.data, behind, err);
	if (rc == 0)
		rc = query_step(&q, st, &more, err);
	if (rc == 0 && !more)
		rc = error_set(err, ERR_ARG, "feature %u is out of range: source '%s' has features 0-%u",
		               feature, q.source.name, q.source.n_features - 1);
	if (rc == 0)
		put_columns(object, st, failed);
	sqlite3_finalize(st);
	text_free(&what);
	return rc;
}

/* ---- Lists of ids -------------------------------------------------------------------------------------------------- */

/* A number of the list at *at, which is moved behind it. */
static int list_number(uint32_t *out, const char *list, const char **at, uint32_t n_features, error *err)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)**at))
		return error_set(err, ERR_ARG, "feature list '%.100s': character %zu: a number was expected",
		                 list, (size_t)(*at - list) + 1);
	value = strtoull(*at, &end, 10);
	if (value >= n_features)
		return error_set(err, ERR_ARG,
		                 "feature list '%.100s': %.20s is out of range: the source has features 0-%u",
		                 list, *at, n_features - 1);
	*at = end;
	*out = (uint32_t)value;
	return 0;
}

/* "all", or numbers and ranges "1,5,10-20" into wanted[n_features]. */
static int read_list(bool *wanted, const char *list, uint32_t n_features, error *err)
{
	const char *at = list;
	uint32_t first, last;
	int rc;

	if (!list || strcmp(list, "all") == 0) {
		memset(wanted, true, n_features);
		return 0;
	}
	for (;;) {
		rc = list_number(&first, list, &at, n_features, err);
		last = first;
		if (rc == 0 && *at == '-') {
			at++;
			rc = list_number(&last, list, &at, n_features, err);
		}
		if (rc < 0)
			return rc;
		if (last < first)
			return error_set(err, ERR_ARG,
			                 "feature list '%.100s': the range %u-%u runs backwards", list, first,
			                 last);
		memset(wanted + first, true, last - first + 1);
		if (*at == '\0')
			return 0;
		if (*at++ != ',')
			return error_set(err, ERR_ARG,
			                 "feature list '%.100s': character %zu: ',' was expected", list,
			                 (size_t)(at - list));
	}
}

/* Keep the wanted ones that the expression holds for. */
static int filter_list(bool *wanted, const struct feature_query *q, error *err)
{
	sqlite3_stmt *st = NULL;
	time_limit limit;
	bool more;
	int64_t feature, next = 0, n = q->source.n_features;
	int rc;

	time_limit_start(&limit, q->s, WHERE_SECONDS);
	rc = query_prepare(&st, q, "feature", "ORDER BY feature", err);
	while (rc == 0 && (rc = query_step(q, st, &more, err)) == 0 && more) {
		feature = sqlite3_column_int64(st, 0);
		if (feature < next || feature >= n)
			break; /* rows that no source of this width has */
		memset(wanted + next, false, (size_t)(feature - next));
		next = feature + 1;
	}
	memset(wanted + next, false, (size_t)(n - next));
	sqlite3_finalize(st);
	time_limit_end(&limit);
	return rc;
}

int store_feature_ids(uint32_t **out, size_t *n, store *s, const char *source, const char *list,
                      const char *where, error *err)
{
	struct feature_query q;
	uint32_t *ids = NULL, n_features;
	bool *wanted = NULL;
	size_t count = 0;
	int rc;

	rc = query_init(&q, s, source, where, err);
	if (rc < 0)
		return rc;
	n_features = q.source.n_features;
	wanted = calloc((size_t)n_features + 1, sizeof(*wanted));
	ids = malloc(((size_t)n_features + 1) * sizeof(*ids));
	if (!wanted || !ids) {
		rc = error_nomem(err, "a list of features");
		goto out;
	}
	rc = read_list(wanted, list, n_features, err);
	if (rc == 0 && q.where)
		rc = filter_list(wanted, &q, err);
	if (rc < 0)
		goto out;
	for (uint32_t i = 0; i < n_features; i++)
		if (wanted[i])
			ids[count++] = i;
	*out = ids;
	*n = count;
	ids = NULL;
out:
	free(wanted);
	free(ids);
	return rc;
}
