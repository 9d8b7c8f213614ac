/* The store's file: open, create, migrate, close; and the list of its sources. */
#include "store/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *store_path(const store *s)
{
	return s->path;
}

/* The path must name a regular file, or with `create` nothing at all. */
static int check_path(bool *exists, const char *path, bool create, error *err)
{
	struct stat st;

	*exists = false;
	if (strcmp(path, ":memory:") == 0)
		return 0;
	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return error_errno(err, errno, "cannot open '%s'", path);
		return create ? 0 : error_set(err, ERR_NOTFOUND, "there is no store '%s'", path);
	}
	*exists = true;
	if (S_ISDIR(st.st_mode))
		return error_set(err, ERR_IO, "cannot open '%s': it is a folder, a store is a file", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_IO, "cannot open '%s': it is not a regular file", path);
	return 0;
}

/* Up to three numbers of the header; reading the first also makes SQLite look at the file at all. */
static int read_versions(store *s, int64_t *application, int64_t *version, int64_t *tables, error *err)
{
	int rc = store_int(tables, s, "SELECT count(*) FROM sqlite_schema", 0, err);

	if (rc == 0)
		rc = store_int(application, s, "PRAGMA application_id", 0, err);
	if (rc == 0)
		rc = store_int(version, s, "PRAGMA user_version", 0, err);
	if (rc == ERR_BUSY)
		return error_set(err, rc, "'%s' is locked by another process: cannot open it", s->path);
	if (rc == ERR_FORMAT && (sqlite3_errcode(s->db) & 0xff) == SQLITE_NOTADB)
		return error_set(err, ERR_FORMAT, "'%s' is not a Gloss store: it is no SQLite database",
		                 s->path);
	return rc;
}

static int check_versions(const store *s, int64_t application, int64_t version, int64_t tables, bool create,
                          error *err)
{
	if (application == 0 && version == 0 && tables == 0) {
		if (create)
			return 0; /* an empty file, or a new one */
		return error_set(err, ERR_FORMAT, "'%s' is not a Gloss store: it is empty", s->path);
	}
	if (application != STORE_APPLICATION_ID)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is not a Gloss store: it is another program's SQLite database",
		                 s->path);
	if (version > STORE_VERSION)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' was written by a newer gloss: it has version %lld, this one knows up to %d",
		        s->path, (long long)version, STORE_VERSION);
	if (version < 1)
		return error_set(err, ERR_FORMAT, "'%s' is not a Gloss store: it has no version", s->path);
	if (version < STORE_VERSION && !s->writable)
		return error_set(err, ERR_FORMAT,
		                 "'%s' has version %lld of %d: open it once with a command that writes, to "
		                 "bring it up",
		                 s->path, (long long)version, STORE_VERSION);
	return 0;
}

/* A process that was killed may have left a journal, which only a connection that writes can roll back. Whether that was
 * done. */
static bool roll_back(const char *path)
{
	sqlite3 *db = NULL;
	bool done = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK;

	if (done) {
		sqlite3_busy_timeout(db, STORE_BUSY_MS);
		done = sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) == SQLITE_OK;
	}
	sqlite3_close(db);
	return done;
}

/* Where SQLite may not even take in what a killed program left, it says little. rc: what was told so far. */
static int tell_of_journal(const store *s, int rc, error *err)
{
	static const char *const journals[] = { "-wal", "-journal" };
	int code = sqlite3_errcode(s->db) & 0xff;
	char path[FILE_PATH_MAX + 16];

	if (code != SQLITE_CANTOPEN && code != SQLITE_READONLY)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(journals); i++) {
		snprintf(path, sizeof(path), "%s%s", s->path, journals[i]);
		if (file_exists(path))
			return error_set(err, rc,
			                 "cannot open '%s': a program that was killed left '%s', which can "
			                 "only be taken in "
			                 "where files may be written",
			                 s->path, path);
	}
	return rc;
}

/* Of a file that is made now; others keep theirs. Rows of `vector` and `feature_detail` are 1 to 2 KB: pages of 4 KB leave a sixth
 * to a third of themselves empty. */
#define NEW_PAGES "PRAGMA page_size=8192; "

/* Turn to WAL mode, in which readers go on while one writes. SQLite does not wait for every lock that this takes, and whoever
 * closes the store at this moment takes it back to one plain file: so try for as long as writers are waited for. */
static int begin_wal(store *s, error *err)
{
	double end = clock_now() + STORE_BUSY_MS / 1000.0;
	int code;

	for (;;) {
		code = sqlite3_exec(s->db, NEW_PAGES "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
		                    NULL, NULL, NULL);
		if ((code & 0xff) != SQLITE_BUSY || clock_now() >= end)
			break;
		sqlite3_sleep(10);
	}
	if (code == SQLITE_OK)
		return 0;
	if ((code & 0xff) == SQLITE_READONLY)
		return error_set(err, ERR_IO, "cannot write '%s': nothing may be written in its folder",
		                 s->path);
	return store_error(s, code, "open it to write", err);
}

/* Where other machines may write too there is no memory to share, as WAL mode needs: a plain journal and the file's locks. */
static int begin_shared(store *s, error *err)
{
	return store_exec(s,
	                  NEW_PAGES
	                  "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; PRAGMA locking_mode=NORMAL;"
	                  "SELECT count(*) FROM sqlite_schema",
	                  err);
}

static int open_checked(store *s, bool create, bool scratch, error *err)
{
	int64_t application, version, tables;
	guard_lies lies = { 0 };
	int flags = s->writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	int rc = sqlite3_open_v2(s->path, &s->db,
	                         flags | (create ? SQLITE_OPEN_CREATE : 0) | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK && s->db && sqlite3_system_errno(s->db))
		return error_errno(err, sqlite3_system_errno(s->db), "cannot open '%s'", s->path);
	if (rc != SQLITE_OK)
		return store_error(s, rc, "open it", err);
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
	rc = scratch ? 0 : guard_place(&lies, s->path, s->writable, err);
	if (rc == 0 && lies.in_wal) /* nobody else may be in it while it is turned back */
		rc = store_exec(s, "PRAGMA locking_mode=EXCLUSIVE", err);
	if (rc < 0)
		return rc;
	rc = read_versions(s, &application, &version, &tables, err);
	if (rc < 0 && (sqlite3_errcode(s->db) & 0xff) == SQLITE_READONLY && roll_back(s->path))
		rc = read_versions(s, &application, &version, &tables, err);
	if (rc < 0 && rc != ERR_NOMEM)
		rc = tell_of_journal(s, rc, err);
	if (rc == 0 && s->writable && sqlite3_db_readonly(s->db, "main") == 1)
		rc = error_set(err, ERR_IO, "cannot write '%s': it is read-only", s->path);
	if (rc == 0)
		rc = check_versions(s, application, version, tables, create, err);
	if (rc < 0)
		return rc;
	rc = store_exec(
	        s, "PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; PRAGMA cache_size=" STORE_CACHE, err);
	if (rc == 0)
		rc = guard_schema(s, err);
	if (rc == 0 && s->writable)
		rc = scratch       ? store_exec(s, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;", err)
		     : lies.shared ? begin_shared(s, err)
		                   : begin_wal(s, err);
	while (rc == 0 && version < STORE_VERSION) {
		rc = store_migrate_step(s, err);
		version++;
	}
	return rc;
}

int store_open(store **out, const char *path, unsigned flags, error *err)
{
	bool create = flags & (STORE_CREATE | STORE_SCRATCH), exists;
	store *s = NULL;
	struct stat st;
	int rc = check_path(&exists, path, create, err);

	if (rc < 0)
		return rc;
	if (strlen(path) + sizeof(".requests") > FILE_PATH_MAX)
		return error_set(err, ERR_LIMIT, "the path of the store is too long");
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_nomem(err, "a store");
	memcpy(s->path, path, strlen(path) + 1);
	s->writable = flags & (STORE_WRITE | STORE_CREATE | STORE_SCRATCH);
	rc = open_checked(s, create, flags & STORE_SCRATCH, err);
	if (rc < 0)
		goto out;
	*out = s;
	s = NULL;
out:
	store_close(s);
	if (rc < 0 && create && !exists && stat(path, &st) == 0 && st.st_size == 0)
		unlink(path); /* what SQLite made before it failed */
	return rc;
}

void store_close(store *s)
{
	if (!s)
		return;
	if (s->db && s->writable) {
		/* Leave one plain file that can be read where nothing may be written. Refused, without harm, while others are in. */
		sqlite3_busy_timeout(s->db, 0);
		sqlite3_exec(s->db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
	}
	sqlite3_close(s->db);
	arena_clear(&s->source_mem);
	firing_cache_drop(s);
	free(s);
}

/* "a", "b" and so on, of the sources there are. */
static int list_names(text *names, store *s, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, "SELECT name FROM source ORDER BY id", err);

	while (store_next(&rc, s, st, err)) {
		if (text_addf(names, "%s'%s'", names->len ? ", " : "",
		              (const char *)sqlite3_column_text(st, 0)) < 0)
			break; /* enough of them named */
	}
	sqlite3_finalize(st);
	return rc;
}

static int source_not_there(store *s, const char *name, int64_t n, error *err)
{
	text names;
	int rc;

	text_init(&names, 300);
	rc = list_names(&names, s, err);
	if (rc == 0 && n == 0)
		rc = error_set(err, ERR_NOTFOUND, "'%s' holds no indexed SAE yet: run gloss index", s->path);
	else if (rc == 0 && name)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no source '%s', but %s", s->path, name,
		               names.data);
	else if (rc == 0)
		rc = error_set(err, ERR_ARG, "'%s' holds %lld sources, name one: %s", s->path, (long long)n,
		               names.data);
	text_free(&names);
	return rc;
}

static int read_source(store_source *out, store *s, sqlite3_stmt *st, error *err)
{
	int rc = 0;
	const char **texts[] = { &out->name, &out->architecture, &out->model, &out->hook_point };

	out->id = sqlite3_column_int64(st, 0);
	for (int i = 0; i < 4 && rc == 0; i++)
		rc = store_column_text(texts[i], st, i + 1, &s->source_mem, err);
	if (rc == 0 && (!out->name || !out->architecture))
		return error_set(err, ERR_FORMAT, "'%s' is corrupt: a source has no name or no architecture",
		                 s->path);
	out->d_in = (uint32_t)sqlite3_column_int64(st, 5);
	out->n_features = (uint32_t)sqlite3_column_int64(st, 6);
	out->k = (uint32_t)sqlite3_column_int64(st, 7);
	out->n_tokens = (uint64_t)sqlite3_column_int64(st, 8);
	out->n_left_out = (uint64_t)sqlite3_column_int64(st, 9);
	out->n_contexts = (uint64_t)sqlite3_column_int64(st, 10);
	out->n_firings = (uint64_t)sqlite3_column_int64(st, 11);
	out->before = (uint32_t)sqlite3_column_int64(st, 12);
	out->after = (uint32_t)sqlite3_column_int64(st, 13);
	out->n_samples = (uint32_t)sqlite3_column_int64(st, 14);
	out->corpus = sqlite3_column_int(st, 15);
	out->neurons = sqlite3_column_int(st, 16);
	return rc;
}

int store_source_get(store_source *out, store *s, const char *name, error *err)
{
	sqlite3_stmt *st = NULL;
	store_source found = { 0 };
	int64_t n;
	bool row = false;
	int rc = store_int(&n, s, "SELECT count(*) FROM source", 0, err);

	if (rc < 0)
		return rc;
	if (n == 0 || (!name && n > 1))
		return source_not_there(s, name, n, err);
	rc = store_prepare(
	        &st, s,
	        "SELECT id, name, architecture, model, hook_point, d_in, n_features, k, n_tokens, n_left_out,"
	        " n_contexts, n_firings, before, after, n_samples, corpus, kind = 'neurons' FROM source"
	        " WHERE ?1 IS NULL OR name = ?1",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "t", name);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row) {
		arena_clear(&s->source_mem);
		rc = read_source(&found, s, st, err);
	}
	sqlite3_finalize(st);
	if (rc == 0 && !row)
		return source_not_there(s, name, n, err);
	if (rc == 0)
		*out = found;
	return rc;
}
