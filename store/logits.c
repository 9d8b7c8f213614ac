/* The tokens whose logits a feature raises and lowers most, for explain/. */
#include "store/store_internal.h"

static int count_rows(size_t *n, store *s, int64_t source, uint32_t feature, const char *side, error *err)
{
	sqlite3_stmt *row = NULL;
	bool more = false;
	int rc = store_prepare(
	        &row, s,
	        "SELECT count(*) FROM feature_logit WHERE source_id = ?1 AND feature = ?2 AND side = ?3",
	        err);

	if (rc == 0)
		rc = store_bind(s, row, err, "iit", source, (int64_t)feature, side);
	if (rc == 0)
		rc = store_step(s, row, &more, err);
	if (rc == 0 && more)
		*n = (size_t)sqlite3_column_int64(row, 0);
	sqlite3_finalize(row);
	return rc;
}

static int read_rows(store_logit *out, size_t *n, size_t most, store *s, sqlite3_stmt *row, arena *mem,
                     error *err)
{
	bool more;
	int rc;

	while ((rc = store_step(s, row, &more, err)) == 0 && more && *n < most) {
		store_logit *l = &out[*n];

		l->token = (uint32_t)sqlite3_column_int64(row, 0);
		l->value = sqlite3_column_double(row, 2);
		rc = store_column_text(&l->text, row, 1, mem, err);
		if (rc < 0)
			return rc;
		if (!l->text)
			l->text = "";
		(*n)++;
	}
	return rc;
}

int store_logits(store_logit **out, size_t *n, store *s, int64_t source, uint32_t feature, bool top,
                 arena *mem, error *err)
{
	const char *side = top ? "top" : "bottom";
	sqlite3_stmt *row = NULL;
	store_logit *found;
	size_t most = 0, read = 0;
	int rc = count_rows(&most, s, source, feature, side, err);

	if (rc < 0)
		return rc;
	found = arena_alloc(mem, most + 1, sizeof(*found));
	rc = found ? store_prepare(&row, s,
	                           "SELECT token, text, logit FROM feature_logit WHERE source_id = ?1 AND "
	                           "feature = ?2 AND side = ?3 ORDER BY rank",
	                           err)
	           : error_nomem(err, "logits");
	if (rc == 0)
		rc = store_bind(s, row, err, "iit", source, (int64_t)feature, side);
	if (rc == 0)
		rc = read_rows(found, &read, most, s, row, mem, err);
	sqlite3_finalize(row);
	if (rc < 0)
		return rc;
	*out = found;
	*n = read;
	return 0;
}
