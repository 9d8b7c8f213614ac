/* Labels and scores: rows of `explanation` and `score`. */
#include "store/store_internal.h"

#include <assert.h>

int store_explanation_add(store *s, store_explanation *e, error *err)
{
	sqlite3_stmt *st = NULL;
	char now[32];
	bool row = false;
	int rc;

	assert(e->text && e->method);
	clock_iso8601(now, clock_unix());
	/* RETURNING, since the full-text trigger may move last_insert_rowid */
	rc = store_prepare(
	        &st, s,
	        "INSERT INTO explanation(source_id, feature, text, short_text, rule, confidence, method,"
	        " model, prompt_sha256, task_id, created, schema_sha256, same_as, withdrawn)"
	        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, nullif(?10, 0), ?11, ?12, nullif(?13, -1),"
	        " iif(?14, ?11, NULL)"
	        " WHERE NOT EXISTS (SELECT 1 FROM explanation WHERE task_id = ?10 AND feature = ?2 AND text "
	        "= ?3 AND"
	        " short_text IS ?4 AND confidence IS ?6 AND (?14 OR id = (SELECT max(id) FROM explanation "
	        "WHERE task_id = ?10 AND"
	        " feature = ?2)))"
	        " RETURNING id",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "iitttdtttittii", e->source_id, (int64_t)e->feature, e->text,
		                e->short_text, e->rule, e->confidence, e->method, e->model, e->prompt_sha256,
		                e->task_id, e->created ? e->created : now, e->schema_sha256,
		                e->same_as ? (int64_t)*e->same_as : (int64_t)-1, (int64_t)e->rejected);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	e->id = 0;
	if (rc == 0 && row) {
		e->id = sqlite3_column_int64(st, 0);
		rc = store_run(s, st, err);
	}
	sqlite3_finalize(st);
	return rc;
}

static int read_explanation(store_explanation *out, sqlite3_stmt *st, arena *mem, error *err)
{
	const char **texts[] = { &out->text,   &out->short_text, &out->rule,
		                 &out->method, &out->model,      &out->prompt_sha256 };
	int rc = 0;

	out->id = sqlite3_column_int64(st, 0);
	out->source_id = sqlite3_column_int64(st, 1);
	out->feature = (uint32_t)sqlite3_column_int64(st, 2);
	out->confidence = store_column_number(st, 3);
	out->task_id = sqlite3_column_int64(st, 4);
	for (int i = 0; i < (int)ARRAY_LEN(texts) && rc == 0; i++)
		rc = store_column_text(texts[i], st, 5 + i, mem, err);
	return rc;
}

#define EXPLANATION_COLUMNS                                                                                  \
	"id, source_id, feature, confidence, task_id, text, short_text, rule, method, model, prompt_sha256"

int store_explanation_latest(store_explanation *out, store *s, int64_t source, uint32_t feature, arena *mem,
                             error *err)
{
	sqlite3_stmt *st = NULL;
	store_explanation found = { 0 };
	bool row = false;
	int rc;

	rc = store_prepare(&st, s,
	                   "SELECT " EXPLANATION_COLUMNS " FROM label WHERE source_id = ?1 AND feature = ?2",
	                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ii", source, (int64_t)feature);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "feature %u has no label yet", feature);
	if (rc == 0)
		rc = read_explanation(&found, st, mem, err);
	if (rc == 0)
		*out = found;
	sqlite3_finalize(st);
	return rc;
}

int store_explanation_get(store_explanation *out, store *s, int64_t id, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_explanation found = { 0 };
	bool row = false;
	int rc;

	rc = store_prepare(&st, s, "SELECT " EXPLANATION_COLUMNS " FROM explanation WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", id);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "there is no label %lld", (long long)id);
	if (rc == 0)
		rc = read_explanation(&found, st, mem, err);
	if (rc == 0)
		*out = found;
	sqlite3_finalize(st);
	return rc;
}

int store_score_add(store *s, const store_score *sc, error *err)
{
	sqlite3_stmt *st = NULL;
	char now[32];
	int rc;

	assert(sc->scorer && sc->judge);
	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &st, s,
	        "INSERT INTO score(explanation_id, scorer, judge, value, low, high, baseline, n_positive,"
	        " n_negative, n_failed, details, prompt_sha256, task_id, created, schema_sha256)"
	        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, nullif(?13, 0), ?14, ?15"
	        " WHERE NOT EXISTS (SELECT 1 FROM score WHERE task_id = ?13 AND explanation_id = ?1 AND "
	        "scorer = ?2"
	        " AND value IS ?4 AND details = ?11)",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ittddddiiittitt", sc->explanation_id, sc->scorer, sc->judge,
		                sc->value, sc->low, sc->high, sc->baseline, (int64_t)sc->n_positive,
		                (int64_t)sc->n_negative, (int64_t)sc->n_failed,
		                sc->details ? sc->details : "{}", sc->prompt_sha256, sc->task_id, now,
		                sc->schema_sha256);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

/* The first row's first column of a statement, which is ended; 0: there is no row, or it is NULL. */
static int first_number(int64_t *out, store *s, sqlite3_stmt *st, int rc, error *err)
{
	bool row = false;

	*out = 0;
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

int store_score_exists(bool *out, store *s, int64_t explanation, const char *scorer, const char *judge,
                       error *err)
{
	sqlite3_stmt *st = NULL;
	int64_t found;
	int rc = store_prepare(&st, s,
	                       "SELECT 1 FROM score WHERE explanation_id = ?1 AND scorer = ?2 AND judge = ?3 "
	                       "LIMIT 1",
	                       err);

	if (rc == 0)
		rc = store_bind(s, st, err, "itt", explanation, scorer, judge);
	rc = first_number(&found, s, st, rc, err);
	*out = found;
	return rc;
}

int store_unlabelled_get(int64_t *out, store *s, int64_t source, uint32_t feature, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s,
	                       "SELECT max(id) FROM explanation WHERE source_id = ?1 AND feature = ?2 AND "
	                       "method = '" STORE_UNLABELLED "'",
	                       err);

	if (rc == 0)
		rc = store_bind(s, st, err, "ii", source, (int64_t)feature);
	return first_number(out, s, st, rc, err);
}

int store_feature_scored(bool *out, store *s, int64_t source, uint32_t feature, const char *scorer,
                         const char *judge, error *err)
{
	sqlite3_stmt *st = NULL;
	int64_t found;
	int rc = store_prepare(
	        &st, s,
	        "SELECT 1 FROM explanation e JOIN score s ON s.explanation_id = e.id WHERE "
	        "e.source_id = ?1 AND e.feature = ?2 AND s.scorer = ?3 AND s.judge = ?4 LIMIT 1",
	        err);

	if (rc == 0)
		rc = store_bind(s, st, err, "iitt", source, (int64_t)feature, scorer, judge);
	rc = first_number(&found, s, st, rc, err);
	*out = found;
	return rc;
}
