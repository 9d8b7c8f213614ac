/* See history.h. */
#include "store/history.h"

#define MAX_STORED_JSON ((size_t)4 << 20) /* bytes of a JSON column */

int place_prepare(sqlite3_stmt **out, const feature_place *p, const char *sql, error *err)
{
	int rc = store_prepare(out, p->s, sql, err);

	return rc < 0 ? rc : store_bind(p->s, *out, err, "ii", p->source, (int64_t)p->feature);
}

int place_read_json(cJSON **out, const feature_place *p, sqlite3_stmt *row, int column, error *err)
{
	const char *chars = (const char *)sqlite3_column_text(row, column);
	error cause = { 0 };
	int rc;

	if (!chars)
		return 0;
	rc = json_parse(out, chars, (size_t)sqlite3_column_bytes(row, column), MAX_STORED_JSON, 32,
	                sqlite3_column_name(row, column), &cause);
	if (rc == ERR_NOMEM)
		return error_nomem(err, "a page");
	if (rc < 0)
		return error_set(err, ERR_FORMAT, "'%s': feature %u is corrupt: %s", store_path(p->s),
		                 p->feature, cause.msg);
	return 0;
}

int place_put_json(cJSON *object, const feature_place *p, sqlite3_stmt *row, int column, bool *failed,
                   error *err)
{
	cJSON *value = NULL;
	int rc = place_read_json(&value, p, row, column, err);

	if (rc == 0)
		json_put(object, sqlite3_column_name(row, column), value ? value : cJSON_CreateNull(),
		         failed);
	return rc;
}

/* Columns `first` ... of a row into an object, by their names. */
static void put_named(cJSON *object, sqlite3_stmt *row, int first, bool *failed)
{
	for (int i = first; i < sqlite3_column_count(row); i++)
		json_put_column(object, sqlite3_column_name(row, i), row, i, failed);
}

/* scores: of a label, the latest first. */
static int put_scores(cJSON *label, const feature_place *p, sqlite3_stmt *scores, int64_t explanation,
                      bool *failed, error *err)
{
	cJSON *list = json_put_array(label, "scores", failed), *item;
	int rc = store_bind(p->s, scores, err, "i", explanation);

	while (store_next(&rc, p->s, scores, err)) {
		const char *scorer = (const char *)sqlite3_column_text(scores, 1);
		bool chosen = scorer && strcmp(scorer, STORE_CHOSEN_BY) == 0;

		if (chosen && cJSON_GetObjectItem(label, "chosen_by")) /* the latest is there */
			continue;
		item = json_put_object(chosen ? label : list, chosen ? "chosen_by" : NULL, failed);
		put_named(item, scores, 1, failed);
		rc = place_put_json(item, p, scores, 0, failed, err);
	}
	return rc;
}

int labels_put(cJSON *object, const feature_place *p, bool *failed, error *err)
{
	cJSON *list = json_put_array(object, "labels", failed), *item;
	sqlite3_stmt *row = NULL, *scores = NULL;
	int rc;

	rc = place_prepare(&row, p,
	                   "SELECT rule, id, text, short_text, confidence, method, model, created, withdrawn"
	                   " FROM explanation WHERE source_id = ?1 AND feature = ?2 ORDER BY id DESC",
	                   err);
	if (rc == 0)
		rc = store_prepare(&scores, p->s,
		                   "SELECT details, scorer, judge, value, low, high, baseline, n_positive,"
		                   " n_negative, n_failed, created FROM score WHERE explanation_id = ?1"
		                   " ORDER BY id DESC",
		                   err);
	while (store_next(&rc, p->s, row, err)) {
		item = json_put_object(list, NULL, failed);
		put_named(item, row, 1, failed);
		rc = place_put_json(item, p, row, 0, failed, err);
		if (rc == 0)
			rc = put_scores(item, p, scores, sqlite3_column_int64(row, 1), failed, err);
	}
	sqlite3_finalize(scores);
	sqlite3_finalize(row);
	return rc;
}

int notes_put(cJSON *object, const feature_place *p, bool *failed, error *err)
{
	cJSON *list = json_put_array(object, "notes", failed);
	sqlite3_stmt *row = NULL;
	int rc = place_prepare(
	        &row, p,
	        "SELECT id, text, created FROM note WHERE source_id = ?1 AND feature = ?2 ORDER BY id", err);

	while (store_next(&rc, p->s, row, err))
		put_named(json_put_object(list, NULL, failed), row, 0, failed);
	sqlite3_finalize(row);
	return rc;
}

int lists_put(cJSON *object, const feature_place *p, bool *failed, error *err)
{
	cJSON *list = json_put_array(object, "lists", failed);
	sqlite3_stmt *row = NULL;
	int rc = place_prepare(&row, p,
	                       "SELECT l.name FROM list l JOIN list_item i ON i.list_id = l.id"
	                       " WHERE i.source_id = ?1 AND i.feature = ?2 ORDER BY l.name",
	                       err);

	while (store_next(&rc, p->s, row, err))
		json_put_column(list, NULL, row, 0, failed);
	sqlite3_finalize(row);
	return rc;
}
