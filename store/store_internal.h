/* store's own header: the open file and a thin layer over SQLite that the other files of the folder share. */
#ifndef GLOSS_STORE_INTERNAL_H
#define GLOSS_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/store.h"

#define STORE_APPLICATION_ID 0x474c5353 /* 'GLSS' */
#define STORE_VERSION        7          /* of the schema: one for each file NNN_*.sql of schemas/sql */
#define STORE_CACHE          "-32768"   /* of pages, as PRAGMA cache_size takes it: KiB */
#define STORE_BUSY_MS        10000

enum { LEASE_MAX = 128 };

struct store {
	sqlite3 *db;
	char path[FILE_PATH_MAX];
	bool writable;
	arena source_mem;                  /* strings of the last store_source_get() */
	store_stop stop;                   /* of store_watch() */
	struct firing_cache *firing_cache; /* of the last source that silent windows were asked of, or NULL */
	char lease[LEASE_MAX];             /* of this process; "": not asked for yet (leases.c) */
	long lease_pid;
};

/* A flag more of store_open(): make one in an empty or absent file that only this process uses and nobody needs before it is
 * whole: no journal, no syncs, and after a failure nothing to go on with. */
enum { STORE_SCRATCH = 4 };

/* Forget the stored firings that are in memory: the index has changed or the store closes (firing_cache.c). */
void firing_cache_drop(store *s);

/* The name of this process as a holder of tasks: "PID START BOOT" (leases.c). */
const char *lease_own(store *s);
void lease_make(char out[LEASE_MAX]); /* the same, for who has no store */
/* Whether the holder that `lease` names can no longer be at work. machine, heartbeat: of its row in `worker`; NULL and 0: there is
 * none. */
bool lease_is_gone(const char *lease, const char *machine, int64_t heartbeat);
bool lease_process_is_gone(const char *lease); /* where it is of this machine */
/* What this machine is called in `worker`. */
void lease_machine(char out[LEASE_MAX]);
/* Let tasks of the job go whose holder is gone. In a transaction of the caller's. */
int lease_free_abandoned(store *s, int64_t job, error *err) MUST_USE;

/* One version up, in one transaction; nothing where another process was faster (migrate.c). */
int store_migrate_step(store *s, error *err) MUST_USE;
/* Whether this is word for word part of the schema. */
bool store_migrate_has(const char *sql);

/* ---- Statements (statement.c) ---- */

/* Turn the failure `code` of SQLite on `db` into an ERR_ and "'path': cannot WHAT: reason". */
int store_db_error(sqlite3 *db, const char *path, int code, const char *what, error *err);
int store_error(store *s, int code, const char *what, error *err);

/* Run SQL without results: one statement or several. */
int store_exec(store *s, const char *sql, error *err) MUST_USE;
/* One statement; end it with sqlite3_finalize(), which takes NULL. */
int store_prepare(sqlite3_stmt **out, store *s, const char *sql, error *err) MUST_USE;
/* Bind ?1, ?2, ... by `types`, a letter each: i int64_t, d double (NaN: NULL), t const char * (NULL: NULL),
 * b const void * and size_t (never NULL: nothing is an empty blob), n nothing: NULL, - nothing: leave as it is.
 * Text and blobs are not copied: they must live until the statement is reset or bound anew. Integers must be cast to
 * int64_t. */
int store_bind(store *s, sqlite3_stmt *st, error *err, const char *types, ...) MUST_USE;
/* *row: whether there is one. At the end the statement is reset, ready to be bound again. */
int store_step(store *s, sqlite3_stmt *st, bool *row, error *err) MUST_USE;
/* For loops over rows: whether all is well (*rc 0) and there is one more; a failure is in *rc. */
bool store_next(int *rc, store *s, sqlite3_stmt *st, error *err);
/* Step through to the end: for statements without results. */
int store_run(store *s, sqlite3_stmt *st, error *err) MUST_USE;
/* The first column of the first row of a query without parameters; `standard` where there is none. */
int store_int(int64_t *out, store *s, const char *sql, int64_t standard, error *err) MUST_USE;

/* One write transaction: begin, and end with what happened (rc < 0: roll back). Returns rc, or the failure to commit. */
int store_begin(store *s, error *err) MUST_USE;
int store_end(store *s, int rc, error *err) MUST_USE;

/* From now on statements on this store end when `stop` asks for it; store_stopped() then makes ERR_STOPPED of the rc that
 * came of it. */
void store_watch(store *s, const store_stop *stop);
int store_stopped(int rc, const store_stop *stop, error *err) MUST_USE;

/* Until store_read_end() all statements see the store as it is at the first of them. They nest. */
int store_read_begin(store *s, error *err) MUST_USE;
void store_read_end(store *s);

/* Where the file lies (guard.c). ERR_IO: it cannot be read or written there. */
typedef struct guard_lies {
	bool shared; /* other machines may write there too, and see our locks */
	bool in_wal; /* all the same it is in WAL mode */
} guard_lies;
int guard_place(guard_lies *out, const char *path, bool write, error *err) MUST_USE;
/* Whether views and triggers are ours; then as much trust as they need. ERR_FORMAT: not to be used with these. */
int guard_schema(store *s, error *err) MUST_USE;

/* Statements prepared from now on may only read (sql.c). */
void store_only_reads(store *s, bool on);

double store_column_number(sqlite3_stmt *st, int column); /* NaN: it is NULL, or not finite */
/* Column text copied to `mem`, NULL for NULL. */
int store_column_text(const char **out, sqlite3_stmt *st, int column, arena *mem, error *err) MUST_USE;

#endif
