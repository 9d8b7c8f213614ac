/* The stored firings of a source, context by context. */
#include "store/query_internal.h"

#include <inttypes.h>

bool bit_is_set(const unsigned char *bits, uint32_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static int begin_lot(firing_scan *scan, bool sampled, error *err)
{
	scan->sampled = sampled;
	return store_bind(scan->s, scan->row, err, "ii", scan->source, (int64_t)sampled);
}

static int count_features(firing_scan *scan, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, scan->s, "SELECT n_features FROM source WHERE id = ?1", err);

	if (rc == 0)
		rc = store_bind(scan->s, st, err, "i", scan->source);
	if (rc == 0)
		rc = store_step(scan->s, st, &row, err);
	if (rc == 0 && !row)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no source %" PRId64, store_path(scan->s),
		               scan->source);
	if (rc == 0)
		scan->n_features = (uint32_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

int firing_scan_begin(firing_scan *scan, store *s, int64_t source, error *err)
{
	int rc;

	*scan = (firing_scan){ .s = s, .source = source };
	/* Every page is read once: a few that stay in the processor's cache are faster than many. */
	rc = store_exec(s, "PRAGMA cache_size=-1024", err);
	if (rc == 0)
		rc = count_features(scan, err);
	if (rc == 0)
		rc = store_prepare(&scan->row, s,
		                   "SELECT f.counted, f.codes, " CONTEXT_COLUMNS
		                   " FROM firing f JOIN context c ON c.id = f.context_id"
		                   " JOIN document d ON d.id = c.document_id"
		                   " WHERE f.source_id = ?1 AND f.sampled = ?2 ORDER BY f.context_id",
		                   err);
	if (rc == 0)
		rc = begin_lot(scan, true, err);
	if (rc < 0)
		firing_scan_end(scan);
	return rc;
}

static int read_mask(firing_scan *scan, error *err)
{
	uint32_t n = scan->context.n_tokens;

	scan->counted = sqlite3_column_blob(scan->row, 0);
	if (!scan->counted || (uint32_t)sqlite3_column_bytes(scan->row, 0) != (n + 7) / 8)
		return error_set(err, ERR_FORMAT,
		                 "'%s': context %" PRId64 " is corrupt: its mask is not of %u tokens",
		                 store_path(scan->s), scan->context.id, n);
	return 0;
}

static int bad_codes(const firing_scan *scan, const error *cause, error *err)
{
	return error_set(err, cause->code, "'%s': context %" PRId64 " is corrupt: %s", store_path(scan->s),
	                 scan->context.id, cause->msg);
}

/* Read the codes of the context that `scan` holds. */
static int read_codes(firing_scan *scan, error *err)
{
	error cause = { 0 };

	if (store_codes_decode(&scan->codes, sqlite3_column_blob(scan->row, 1),
	                       (size_t)sqlite3_column_bytes(scan->row, 1), scan->n_features,
	                       scan->context.n_tokens, &cause) < 0)
		return bad_codes(scan, &cause, err);
	return 0;
}

int firing_scan_pick(firing_scan *scan, const unsigned char *tokens, const uint32_t *slot, error *err)
{
	error cause = { 0 };

	if (store_codes_pick(&scan->codes, sqlite3_column_blob(scan->row, 1),
	                     (size_t)sqlite3_column_bytes(scan->row, 1), scan->n_features,
	                     scan->context.n_tokens, tokens, slot, &cause) < 0)
		return bad_codes(scan, &cause, err);
	return 0;
}

int firing_scan_next(firing_scan *scan, bool *more, error *err)
{
	int rc = store_step(scan->s, scan->row, more, err);

	if (rc == 0 && !*more && scan->sampled) {
		rc = begin_lot(scan, false, err);
		if (rc == 0)
			rc = store_step(scan->s, scan->row, more, err);
	}
	if (rc < 0 || !*more)
		return rc;
	rc = context_row_read(&scan->context, scan->row, 2, scan->s, err);
	if (rc == 0)
		rc = read_mask(scan, err);
	return rc < 0 || scan->lazy ? rc : read_codes(scan, err);
}

void firing_scan_end(firing_scan *scan)
{
	sqlite3_finalize(scan->row);
	if (scan->s)
		sqlite3_exec(scan->s->db, "PRAGMA cache_size=" STORE_CACHE, NULL, NULL, NULL);
	store_codes_free(&scan->codes);
	*scan = (firing_scan){ 0 };
}
