/* See feature_query.h. */
#include "store/feature_query.h"

extern const char sql_features[];

/* In the order of the answer. */
const char *const feature_columns[] = {
	"feature",         "n_fires",
	"n_contexts",      "density",
	"max_act",         "mean_act",
	"median_act",      "std_act",
	"skewness",        "kurtosis",
	"top_token",       "top_token_text",
	"top_token_share", "token_entropy",
	"decoder_norm",    "dead",
	"dense",           "single_token",
	"label",           "label_method",
	"label_model",     "label_confidence",
	"score",           "score_low",
	"score_high",      "score_baseline",
	"scorer",          "judge",
	"source",          "kind", /* of the source; not in the answer */
};
const size_t feature_n_names = ARRAY_LEN(feature_columns), feature_n_columns = ARRAY_LEN(feature_columns) - 2;

/* Those that are true or false in JSON. */
static const char *const truths[] = { "dead", "dense", "single_token" };

int feature_query_init(feature_query *q, store *s, const store_source *source, const char *where, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = 0;

	*q = (feature_query){ .s = s, .source = *source, .where = where && *where ? where : NULL };
	if (q->where)
		rc = where_check(q->where, err);
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

int feature_query_prepare(sqlite3_stmt **out, const feature_query *q, const char *what, const char *behind,
                          error *err)
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
		rc = where_prepare(&st, q->s, sql.data, q->where, at, err);
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

int feature_query_step(const feature_query *q, sqlite3_stmt *st, bool *more, error *err)
{
	error cause = { 0 };
	int rc = store_step(q->s, st, more, &cause);

	if (rc == ERR_LIMIT && q->where && strstr(cause.msg, "interrupt"))
		return error_set(err, rc, "where '%.200s': stopped after %.0f s", q->where, WHERE_SECONDS);
	if ((rc == ERR_ARG || rc == ERR_LIMIT) && q->where)
		return error_set(err, rc, "where '%.200s': %s", q->where, sqlite3_errmsg(q->s->db));
	if (rc < 0)
		return error_set(err, rc, "%s", cause.msg);
	return rc;
}

int feature_row_prepare(sqlite3_stmt **out, const feature_query *q, error *err)
{
	feature_query all = *q;
	text what;
	int rc = 0;

	all.where = NULL;
	text_init(&what, 4096);
	for (size_t i = 0; i < feature_n_columns && rc == 0; i++)
		rc = text_addf(&what, "%s%s", i ? ", " : "", feature_columns[i]);
	if (rc < 0)
		rc = error_set(err, rc, "cannot build the query");
	if (rc == 0)
		rc = feature_query_prepare(out, &all, what.data, "WHERE feature = ?3", err);
	text_free(&what);
	return rc;
}

void feature_row_put(cJSON *object, sqlite3_stmt *row, bool *failed)
{
	for (size_t i = 0; i < feature_n_columns; i++) {
		if (name_is_among(truths, ARRAY_LEN(truths), feature_columns[i]))
			json_put_bool(object, feature_columns[i], sqlite3_column_int(row, (int)i), failed);
		else
			json_put_column(object, feature_columns[i], row, (int)i, failed);
	}
}
