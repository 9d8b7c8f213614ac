/* Prepared statements, binding, transactions, and SQLite's failures as ours. */
#include "store/store_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static int code_of(int sqlite_code)
{
	switch (sqlite_code & 0xff) {
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
	case SQLITE_FORMAT:
		return ERR_FORMAT;
	case SQLITE_INTERRUPT:
	case SQLITE_TOOBIG:
		return ERR_LIMIT;
	case SQLITE_ERROR: /* SQL of the user's that does not parse or refers to what is not there */
	case SQLITE_AUTH:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
		return ERR_ARG;
	default:
		return ERR_IO;
	}
}

int store_db_error(sqlite3 *db, const char *path, int code, const char *what, error *err)
{
	int ours = code_of(code);

	if (ours == ERR_NOMEM)
		return error_nomem(err, what);
	if (ours == ERR_BUSY)
		return error_set(err, ours, "'%s' is locked by another process: cannot %s", path, what);
	/* FTS5 tells so of its tables when their parts are damaged */
	if (db && code_of(code) == ERR_ARG && strstr(sqlite3_errmsg(db), "vtable constructor failed"))
		code = SQLITE_CORRUPT_VTAB;
	if ((code & 0xff) == SQLITE_CORRUPT)
		return error_set(err, ERR_FORMAT, "'%s' is corrupt or cut off: %s", path,
		                 sqlite3_errstr(code));
	if (db && (code & 0xff) == SQLITE_IOERR &&
	    sqlite3_system_errno(db)) /* a full disk is not always told as one */
		return error_set(err, ours, "'%s': cannot %s: %s", path, what,
		                 strerror(sqlite3_system_errno(db)));
	/* a fault that a test put in is not SQLite's own */
	return error_set(err, ours, "'%s': cannot %s: %s", path, what,
	                 db && (sqlite3_errcode(db) & 0xff) == (code & 0xff) ? sqlite3_errmsg(db)
	                                                                     : sqlite3_errstr(code));
}

int store_error(store *s, int code, const char *what, error *err)
{
	return store_db_error(s->db, s->path, code, what, err);
}

int store_exec(store *s, const char *sql, error *err)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : store_error(s, rc, "run a statement", err);
}

int store_prepare(sqlite3_stmt **out, store *s, const char *sql, error *err)
{
	int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);

	return rc == SQLITE_OK ? 0 : store_error(s, rc, "prepare a statement", err);
}

static int bind_one(sqlite3_stmt *st, int i, char type, va_list *args)
{
	double number;
	const char *chars;
	const void *bytes;
	size_t size;

	switch (type) {
	case 'i':
		return sqlite3_bind_int64(st, i, va_arg(*args, int64_t));
	case 'd':
		number = va_arg(*args, double);
		return isnan(number) ? sqlite3_bind_null(st, i) : sqlite3_bind_double(st, i, number);
	case 't':
		chars = va_arg(*args, const char *);
		return sqlite3_bind_text(st, i, chars, -1, SQLITE_STATIC);
	case 'b':
		bytes = va_arg(*args, const void *);
		size = va_arg(*args, size_t);
		return size > 0 ? sqlite3_bind_blob64(st, i, bytes, size, SQLITE_STATIC)
		                : sqlite3_bind_zeroblob(st, i, 0);
	case 'n':
		return sqlite3_bind_null(st, i);
	default:
		assert(type == '-');
		return SQLITE_OK;
	}
}

int store_bind(store *s, sqlite3_stmt *st, error *err, const char *types, ...)
{
	va_list args;
	int rc = SQLITE_OK;

	va_start(args, types);
	for (int i = 0; types[i] && rc == SQLITE_OK; i++)
		rc = bind_one(st, i + 1, types[i], &args);
	va_end(args);
	return rc == SQLITE_OK ? 0 : store_error(s, rc, "bind a value", err);
}

int store_step(store *s, sqlite3_stmt *st, bool *row, error *err)
{
	int rc;

	*row = false;
	if (!sqlite3_stmt_readonly(st) && fault_hit(FAULT_WRITE)) {
		sqlite3_reset(st);
		return store_error(s, SQLITE_FULL, "write", err);
	}
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		*row = true;
		return 0;
	}
	if (rc == SQLITE_DONE) {
		sqlite3_reset(st);
		return 0;
	}
	store_error(s, rc, sqlite3_stmt_readonly(st) ? "read" : "write", err);
	sqlite3_reset(st);
	return code_of(rc);
}

bool store_next(int *rc, store *s, sqlite3_stmt *st, error *err)
{
	bool row = false;

	if (*rc == 0)
		*rc = store_step(s, st, &row, err);
	return *rc == 0 && row;
}

int store_run(store *s, sqlite3_stmt *st, error *err)
{
	int rc = 0;

	while (store_next(&rc, s, st, err))
		;
	return rc;
}

int store_int(int64_t *out, store *s, const char *sql, int64_t standard, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row;
	int rc = store_prepare(&st, s, sql, err);

	if (rc < 0)
		return rc;
	rc = store_step(s, st, &row, err);
	if (rc == 0)
		*out = row ? sqlite3_column_int64(st, 0) : standard;
	sqlite3_finalize(st);
	return rc;
}

int store_begin(store *s, error *err)
{
	int rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : store_error(s, rc, "begin to write", err);
}

int store_end(store *s, int rc, error *err)
{
	int committed;

	if (rc == 0) {
		committed = fault_hit(FAULT_SYNC) ? SQLITE_IOERR
		                                  : sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
		if (committed == SQLITE_OK)
			return 0;
		rc = store_error(s, committed, "commit", err);
	}
	if (!sqlite3_get_autocommit(s->db)) /* some failures have rolled back already */
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int asked(void *payload)
{
	const store *s = payload;

	return s->stop.asked(s->stop.payload);
}

void store_watch(store *s, const store_stop *stop)
{
	s->stop = *stop;
	sqlite3_progress_handler(s->db, 10000, stop->asked ? asked : NULL, s);
}

int store_stopped(int rc, const store_stop *stop, error *err)
{
	if (rc < 0 && stop->asked && stop->asked(stop->payload))
		return error_set(err, ERR_STOPPED, "stopped; everything is as it was before");
	return rc;
}

int store_read_begin(store *s, error *err)
{
	return store_exec(s, "SAVEPOINT reading", err);
}

void store_read_end(store *s)
{
	sqlite3_exec(s->db, "RELEASE reading", NULL, NULL, NULL);
}

double store_column_number(sqlite3_stmt *st, int column)
{
	double x = sqlite3_column_type(st, column) == SQLITE_NULL ? (double)NAN
	                                                          : sqlite3_column_double(st, column);

	return isfinite(x) ? x : (double)NAN;
}

int store_column_text(const char **out, sqlite3_stmt *st, int column, arena *mem, error *err)
{
	const char *chars = (const char *)sqlite3_column_text(st, column);

	*out = NULL;
	if (!chars && sqlite3_column_type(st, column) == SQLITE_NULL)
		return 0;
	if (chars)
		*out = arena_memdupz(mem, chars, (size_t)sqlite3_column_bytes(st, column));
	return *out ? 0 : error_nomem(err, "a text");
}
