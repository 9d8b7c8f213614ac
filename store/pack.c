/* gloss pack: a store as one plain file, whole or without some of its parts. */
#include "store/beside.h"
#include "store/store_internal.h"

#include <unistd.h>

extern const char sql_pack_corpus[], sql_pack_words[], sql_index_orphans[];

static int file_bytes(uint64_t *bytes, store *s, error *err)
{
	int64_t pages, size;
	int rc = store_int(&pages, s, "PRAGMA page_count", 0, err);

	if (rc == 0)
		rc = store_int(&size, s, "PRAGMA page_size", 0, err);
	if (rc == 0)
		*bytes = (uint64_t)pages * (uint64_t)size;
	return rc;
}

/* `to` is empty or absent. What goes wrong is told of the file that the user knows. */
static int copy(store *s, const char *to, const beside *b, error *err)
{
	sqlite3_stmt *st = NULL;
	char what[FILE_PATH_MAX + 32];
	int rc = store_prepare(&st, s, "VACUUM INTO ?1", err), code;

	if (rc == 0)
		rc = store_bind(s, st, err, "t", to);
	if (rc == 0) {
		code = fault_hit(FAULT_WRITE) ? SQLITE_FULL : sqlite3_step(st);
		snprintf(what, sizeof(what), "copy it to '%s'", b->path);
		if (code != SQLITE_DONE)
			rc = store_error(s, code, what, err);
	}
	sqlite3_finalize(st);
	return rc;
}

static int count(uint64_t *out, store *s, const char *sql, error *err)
{
	int64_t n = 0;
	int rc = store_int(&n, s, sql, 0, err);

	*out = (uint64_t)n;
	return rc;
}

/* Contexts have no index by which SQLite could see that nothing refers to them, so it is not asked to look. */
static int leave_out(store_pack_result *out, store *s, const store_pack_opts *o, error *err)
{
	uint64_t before = 0, after = 0;
	int rc = store_exec(s, "PRAGMA foreign_keys=OFF; BEGIN", err);

	if (rc == 0 && o->without_vectors) {
		rc = count(&out->n_vectors, s, "SELECT count(*) FROM vector", err);
		if (rc == 0)
			rc = store_exec(s, "DELETE FROM vector", err);
	}
	if (rc == 0 && o->without_corpus) {
		rc = count(&out->n_firings, s, "SELECT count(*) FROM firing WHERE sampled = 0", err);
		if (rc == 0)
			rc = count(&before, s, "SELECT count(*) FROM context", err);
		if (rc == 0)
			rc = store_exec(s, sql_pack_corpus, err);
		if (rc == 0)
			rc = store_exec(s, sql_index_orphans, err);
		if (rc == 0)
			rc = store_exec(s, sql_pack_words, err);
		if (rc == 0)
			rc = count(&after, s, "SELECT count(*) FROM context", err);
		out->n_contexts = before - after;
	}
	return rc == 0 ? store_exec(s, "COMMIT", err) : rc;
}

/* By way of a whole copy, which lies beside the part. */
static int copy_parts(store_pack_result *out, store *s, const beside *b, const store_pack_opts *o, error *err)
{
	char whole[FILE_PATH_MAX + 16];
	store *w = NULL;
	int rc;

	snprintf(whole, sizeof(whole), "%s-whole", b->part);
	rc = copy(s, whole, b, err);
	if (rc == 0)
		rc = store_open(&w, whole, STORE_SCRATCH, err);
	if (rc == 0) {
		store_watch(w, &o->stop);
		rc = leave_out(out, w, o, err);
	}
	if (rc == 0)
		rc = copy(w, b->part, b, err);
	store_close(w);
	unlink(whole);
	return rc;
}

static int check(const char *part, const char *path, const store_pack_opts *o, error *err)
{
	sqlite3_stmt *st = NULL;
	store *s = NULL;
	bool row = false;
	int rc = store_open(&s, part, STORE_READ, err);

	if (rc == 0) {
		store_watch(s, &o->stop);
		rc = store_prepare(&st, s, "PRAGMA integrity_check(1)", err);
	}
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && (!row || strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0))
		rc = error_set(err, ERR_FORMAT, "'%s' is damaged: %s", path,
		               row ? (const char *)sqlite3_column_text(st, 0) : "it cannot be checked");
	sqlite3_finalize(st);
	store_close(s);
	return rc;
}

static int pack(store_pack_result *out, store *s, const beside *b, const store_pack_opts *o, error *err)
{
	bool parts = o->without_corpus || o->without_vectors;
	int rc = file_bytes(&out->bytes_before, s, err);

	if (rc == 0)
		rc = beside_check_space(b, out->bytes_before * (parts ? 2 : 1), err);
	if (rc == 0)
		rc = parts ? copy_parts(out, s, b, o, err) : copy(s, b->part, b, err);
	if (rc == 0)
		rc = check(b->part, store_path(s), o, err);
	if (rc == 0)
		rc = sha256_file(out->sha256, b->part, err);
	return rc;
}

int store_pack(store_pack_result *out, const char *path, const char *to, const store_pack_opts *o, error *err)
{
	store_pack_result r = { 0 };
	beside b = { .lock = -1 };
	store *s = NULL;
	int rc = store_open(&s, path, STORE_READ, err);

	if (rc == 0)
		rc = beside_open(&b, to, o->force, &path, 1, err);
	if (rc == 0) {
		store_watch(s, &o->stop);
		rc = pack(&r, s, &b, o, err);
		if (rc == 0 && lseek(b.lock, 0, SEEK_END) >= 0)
			r.bytes = (uint64_t)lseek(b.lock, 0, SEEK_END);
		rc = store_stopped(rc, &o->stop, err);
	}
	if (rc == 0)
		rc = beside_commit(&b, err);
	if (rc == 0)
		*out = r;
	beside_abort(&b);
	store_close(s);
	return rc;
}
