/* Scores as a report wants them: of labels that count, with their features, and what jobs took. */
#include "store/store_internal.h"

#include <stdlib.h>

#define COLUMNS                                                                                              \
	", f.feature, f.density, f.n_fires, coalesce(e.text, ''), coalesce(e.method, '" STORE_UNLABELLED     \
	"'), e.model, e.same_as, s.scorer AS scorer, s.judge AS judge, s.details, s.created, s.value, "      \
	"s.low, s.high, s.baseline, s.n_positive, s.n_negative, s.n_failed "

/* Of a source (?1): the latest score of each judge and scorer of each label that counts; and of those of the feature itself, made
 * when it had no label, where the label has none of that kind. */
static const char scored[] =
        "SELECT s.id, e.id" COLUMNS "FROM current_label c JOIN explanation e ON e.id = c.explanation_id "
        "JOIN feature f ON f.source_id = c.source_id AND f.feature = c.feature "
        "JOIN score s ON s.explanation_id = e.id "
        "WHERE c.source_id = ?1 AND s.id = (SELECT max(id) FROM score x WHERE x.explanation_id = e.id AND "
        "x.scorer = s.scorer AND x.judge = s.judge) AND s.scorer <> '" STORE_CHOSEN_BY "' "
        "UNION ALL SELECT s.id, coalesce(e.id, u.id)" COLUMNS
        "FROM explanation u JOIN feature f ON f.source_id = u.source_id AND f.feature = u.feature "
        "JOIN score s ON s.explanation_id = u.id "
        "LEFT JOIN current_label c ON c.source_id = u.source_id AND c.feature = u.feature "
        "LEFT JOIN explanation e ON e.id = c.explanation_id "
        "WHERE u.source_id = ?1 AND u.method = '" STORE_UNLABELLED "' AND s.id = (SELECT max(x.id) FROM "
        "explanation y JOIN score x ON x.explanation_id = y.id WHERE y.source_id = u.source_id AND "
        "y.feature = u.feature AND y.method = '" STORE_UNLABELLED "' AND "
        "x.scorer = s.scorer AND x.judge = s.judge AND NOT EXISTS (SELECT 1 FROM score z WHERE "
        "z.explanation_id = c.explanation_id AND z.scorer = s.scorer AND z.judge = s.judge)) "
        "ORDER BY 3, scorer, judge";

static const char counts[] =
        "SELECT (SELECT count(*) FROM current_label WHERE source_id = ?1), count(*), "
        "count(DISTINCT e.feature), count(DISTINCT iif(EXISTS (SELECT 1 FROM current_label c JOIN score x ON "
        "x.explanation_id = c.explanation_id WHERE c.source_id = ?1 AND c.feature = e.feature AND x.scorer "
        "<> "
        "'" STORE_CHOSEN_BY "'), NULL, "
        "e.feature)) "
        "FROM score s JOIN explanation e ON e.id = s.explanation_id WHERE e.source_id = ?1 AND e.method <> "
        "'" STORE_UNLABELLED "' AND s.scorer <> '" STORE_CHOSEN_BY "' AND NOT EXISTS "
        "(SELECT 1 FROM current_label c WHERE c.source_id = ?1 AND c.feature = e.feature AND "
        "c.explanation_id = e.id)";

static const char job_costs[] =
        "SELECT j.id, j.kind, json_extract(j.settings, '$.scorer'), coalesce(j.model, 'lexical'), j.state, "
        "sum(t.state = 'done'), sum(t.state IN ('failed', 'refused', 'filtered')), sum(t.state = 'skipped'), "
        "(SELECT count(*) FROM request r JOIN task u ON u.id = r.task_id WHERE u.job_id = j.id AND r.key <> "
        "'lexical'), sum(t.input_tokens), sum(t.cached_tokens), sum(t.output_tokens), sum(t.cost) "
        "FROM job j JOIN task t ON t.job_id = j.id WHERE j.source_id = ?1 GROUP BY j.id ORDER BY j.id";

static int read_scored(store_scored *out, sqlite3_stmt *st, arena *mem, error *err)
{
	const struct {
		const char **to;
		int column;
	} texts[] = { { &out->label, 5 },  { &out->method, 6 },   { &out->model, 7 },   { &out->scorer, 9 },
		      { &out->judge, 10 }, { &out->details, 11 }, { &out->created, 12 } };
	int rc = 0;

	out->id = sqlite3_column_int64(st, 0);
	out->explanation_id = sqlite3_column_int64(st, 1);
	out->feature = (uint32_t)sqlite3_column_int64(st, 2);
	out->density = store_column_number(st, 3);
	out->n_fires = (uint64_t)sqlite3_column_int64(st, 4);
	out->shared = sqlite3_column_type(st, 8) != SQLITE_NULL;
	out->value = store_column_number(st, 13);
	out->low = store_column_number(st, 14);
	out->high = store_column_number(st, 15);
	out->baseline = store_column_number(st, 16);
	out->n_positive = (uint32_t)sqlite3_column_int64(st, 17);
	out->n_negative = (uint32_t)sqlite3_column_int64(st, 18);
	out->n_failed = (uint32_t)sqlite3_column_int64(st, 19);
	for (size_t i = 0; i < ARRAY_LEN(texts) && rc == 0; i++)
		rc = store_column_text(texts[i].to, st, texts[i].column, mem, err);
	return rc;
}

int store_scored_list(store_scored **out, size_t *n, store *s, int64_t source, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_scored *rows = NULL;
	size_t count = 0, room = 0;
	int rc = store_prepare(&st, s, scored, err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	while (store_next(&rc, s, st, err)) {
		if (mem_grow(&rows, &room, count + 1, sizeof(*rows)) < 0)
			rc = error_nomem(err, "scores");
		else
			rc = read_scored(&rows[count++], st, mem, err);
	}
	sqlite3_finalize(st);
	if (rc < 0) {
		free(rows);
		return rc;
	}
	*out = rows;
	*n = count;
	return 0;
}

int store_scored_count(store_scored_counts *out, store *s, int64_t source, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, counts, err);

	*out = (store_scored_counts){ 0 };
	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	while (store_next(&rc, s, st, err)) {
		out->labelled = (uint64_t)sqlite3_column_int64(st, 0);
		out->replaced = (uint64_t)sqlite3_column_int64(st, 1);
		out->replaced_features = (uint64_t)sqlite3_column_int64(st, 2);
		out->unscored_since = (uint64_t)sqlite3_column_int64(st, 3);
	}
	sqlite3_finalize(st);
	return rc;
}

static int read_cost(store_job_cost *out, sqlite3_stmt *st, arena *mem, error *err)
{
	const char **texts[] = { &out->kind, &out->scorer, &out->model, &out->state };
	uint64_t *sums[] = { &out->done,         &out->failed,        &out->skipped,      &out->requests,
		             &out->input_tokens, &out->cached_tokens, &out->output_tokens };
	int rc = 0;

	out->job = sqlite3_column_int64(st, 0);
	for (int i = 0; i < (int)ARRAY_LEN(texts) && rc == 0; i++)
		rc = store_column_text(texts[i], st, 1 + i, mem, err);
	for (int i = 0; i < (int)ARRAY_LEN(sums); i++)
		*sums[i] = (uint64_t)sqlite3_column_int64(st, 5 + i);
	out->cost = store_column_number(st, 12);
	return rc;
}

int store_job_costs(store_job_cost **out, size_t *n, store *s, int64_t source, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_job_cost *rows = NULL;
	size_t count = 0, room = 0;
	int rc = store_prepare(&st, s, job_costs, err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	while (store_next(&rc, s, st, err)) {
		if (mem_grow(&rows, &room, count + 1, sizeof(*rows)) < 0)
			rc = error_nomem(err, "jobs");
		else
			rc = read_cost(&rows[count++], st, mem, err);
	}
	sqlite3_finalize(st);
	if (rc < 0) {
		free(rows);
		return rc;
	}
	*out = rows;
	*n = count;
	return 0;
}
