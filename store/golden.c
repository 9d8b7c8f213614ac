/* What a person said of windows: rows of `golden`. */
#include "store/store_internal.h"

#include <stdlib.h>

int store_golden_put(store *s, const store_golden *g, error *err)
{
	sqlite3_stmt *st = NULL;
	char now[32];
	int rc = store_prepare(
	        &st, s,
	        "INSERT OR REPLACE INTO golden(explanation_id, scorer, key, kind, windows, answer, "
	        "created) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	        err);

	clock_iso8601(now, clock_unix());
	if (rc == 0)
		rc = store_bind(s, st, err, "itittit", g->explanation_id, g->scorer, (int64_t)g->key, g->kind,
		                g->windows, (int64_t)g->answer, now);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_golden_list(store_golden **out, size_t *n, store *s, int64_t source, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_golden *rows = NULL;
	size_t count = 0, room = 0;
	int rc = store_prepare(
	        &st, s,
	        "SELECT g.explanation_id, g.key, g.answer, c.feature, g.scorer, g.kind, g.windows "
	        "FROM current_label c JOIN golden g ON g.explanation_id = c.explanation_id "
	        "WHERE c.source_id = ?1 ORDER BY c.feature, g.scorer, g.key",
	        err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	while (store_next(&rc, s, st, err)) {
		store_golden *g;

		if (mem_grow(&rows, &room, count + 1, sizeof(*rows)) < 0) {
			rc = error_nomem(err, "answers");
			break;
		}
		g = &rows[count++];
		*g = (store_golden){ .explanation_id = sqlite3_column_int64(st, 0),
			             .key = (uint32_t)sqlite3_column_int64(st, 1),
			             .answer = sqlite3_column_int64(st, 2) != 0,
			             .feature = (uint32_t)sqlite3_column_int64(st, 3) };
		rc = store_column_text(&g->scorer, st, 4, mem, err);
		if (rc == 0)
			rc = store_column_text(&g->kind, st, 5, mem, err);
		if (rc == 0)
			rc = store_column_text(&g->windows, st, 6, mem, err);
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
