/* See joint_scan.h. */
#include "store/joint_scan.h"

#include <inttypes.h>

static int count_contexts(int64_t *out, const joint_part *p, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, p->s, "SELECT count(*) FROM firing WHERE source_id = ?1", err);

	if (rc == 0)
		rc = store_bind(p->s, st, err, "i", p->source);
	if (rc == 0)
		rc = store_step(p->s, st, &row, err);
	*out = rc == 0 && row ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_finalize(st);
	return rc;
}

/* The one with the fewest goes through its contexts; the others are asked for each. */
static int prepare_parts(joint_scan *scan, error *err)
{
	int64_t least = INT64_MAX, n;
	int rc = 0;

	for (size_t i = 0; i < scan->n && rc == 0; i++) {
		rc = count_contexts(&n, &scan->parts[i], err);
		if (rc == 0 && n < least) {
			least = n;
			scan->lead = i;
		}
	}
	for (size_t i = 0; i < scan->n && rc == 0; i++)
		rc = store_prepare(
		        &scan->parts[i].row, scan->parts[i].s,
		        i == scan->lead ? "SELECT f.counted, f.codes, f.context_id, c.n_tokens FROM firing f"
		                          " JOIN context c ON c.id = f.context_id"
		                          " WHERE f.source_id = ?1 ORDER BY f.context_id"
		                        : "SELECT counted, codes FROM firing"
		                          " WHERE source_id = ?1 AND context_id = ?2",
		        err);
	return rc < 0 ? rc : joint_scan_again(scan, err);
}

int joint_scan_begin(joint_scan *scan, store *const *stores, const store_source *sources, size_t n,
                     error *err)
{
	int rc;

	*scan = (joint_scan){ .n = n };
	scan->parts = calloc(n, sizeof(*scan->parts));
	if (!scan->parts)
		return error_nomem(err, "stored firings");
	for (size_t i = 0; i < n; i++) {
		scan->parts[i].s = stores[i];
		scan->parts[i].source = sources[i].id;
		scan->parts[i].n_features = sources[i].n_features;
	}
	rc = prepare_parts(scan, err);
	if (rc < 0)
		joint_scan_end(scan);
	return rc;
}

int joint_scan_again(joint_scan *scan, error *err)
{
	joint_part *lead = &scan->parts[scan->lead];

	sqlite3_reset(lead->row);
	return store_bind(lead->s, lead->row, err, "i", lead->source);
}

/* Take the firings of a part from its row. */
static int read_part(joint_scan *scan, joint_part *p, error *err)
{
	const unsigned char *counted = sqlite3_column_blob(p->row, 0);
	uint32_t n_bytes = (scan->n_tokens + 7) / 8;
	error cause = { 0 };

	if (!counted || (uint32_t)sqlite3_column_bytes(p->row, 0) != n_bytes)
		return error_set(err, ERR_FORMAT,
		                 "'%s': context %" PRId64 " is corrupt: its mask is not of %u tokens",
		                 store_path(p->s), scan->context, scan->n_tokens);
	for (uint32_t i = 0; i < n_bytes; i++)
		scan->counted[i] &= counted[i];
	if (store_codes_decode(&p->codes, sqlite3_column_blob(p->row, 1),
	                       (size_t)sqlite3_column_bytes(p->row, 1), p->n_features, scan->n_tokens,
	                       &cause) < 0)
		return error_set(err, cause.code, "'%s': context %" PRId64 " is corrupt: %s",
		                 store_path(p->s), scan->context, cause.msg);
	return 0;
}

/* *all: whether every source has the lead's context. */
static int read_parts(joint_scan *scan, bool *all, error *err)
{
	int rc = 0;

	*all = true;
	for (size_t i = 0; i < scan->n && *all && rc == 0; i++) {
		joint_part *p = &scan->parts[i];

		if (i != scan->lead) {
			sqlite3_reset(p->row);
			rc = store_bind(p->s, p->row, err, "ii", p->source, scan->context);
			if (rc == 0)
				rc = store_step(p->s, p->row, all, err);
		}
		if (rc == 0 && *all)
			rc = read_part(scan, p, err);
	}
	return rc;
}

int joint_scan_next(joint_scan *scan, bool *more, error *err)
{
	joint_part *lead = &scan->parts[scan->lead];
	bool all = false;
	int64_t n;
	int rc;

	do {
		rc = store_step(lead->s, lead->row, more, err);
		if (rc < 0 || !*more)
			return rc;
		scan->context = sqlite3_column_int64(lead->row, 2);
		n = sqlite3_column_int64(lead->row, 3);
		if (n < 0 || n > UINT32_MAX - 7)
			return error_set(err, ERR_FORMAT,
			                 "'%s': context %" PRId64 " is corrupt: %" PRId64 " tokens",
			                 store_path(lead->s), scan->context, n);
		scan->n_tokens = (uint32_t)n;
		if (mem_grow(&scan->counted, &scan->counted_cap, (size_t)n / 8 + 1, 1) < 0)
			return error_nomem(err, "stored firings");
		memset(scan->counted, 0xff, (size_t)n / 8 + 1);
		rc = read_parts(scan, &all, err);
	} while (rc == 0 && !all);
	return rc;
}

void joint_scan_end(joint_scan *scan)
{
	for (size_t i = 0; i < scan->n && scan->parts; i++) {
		sqlite3_finalize(scan->parts[i].row);
		store_codes_free(&scan->parts[i].codes);
	}
	free(scan->parts);
	free(scan->counted);
	*scan = (joint_scan){ 0 };
}
