/* The request log as its files share it. */
#ifndef GLOSS_STORE_LOG_INTERNAL_H
#define GLOSS_STORE_LOG_INTERNAL_H

#include "store/store_internal.h"

struct store_log {
	sqlite3 *db;
	sqlite3_stmt *get, *put;
	char path[FILE_PATH_MAX];
	char holder[LEASE_MAX], machine[LEASE_MAX]; /* of this process: set with its first claim */
	long holder_pid;
	unsigned depth; /* of transactions within one */
	bool failed;    /* one of them: the whole is rolled back */
};

/* What SQLite says of it, as an error of ours. */
int log_error(store_log *l, const char *what, error *err);
int log_exec(store_log *l, const char *sql, error *err) MUST_USE;
int log_prepare_one(sqlite3_stmt **out, store_log *l, const char *sql, error *err) MUST_USE;
/* Step to the end, and finalize. rc: < 0: only finalize. */
int log_finish(store_log *l, sqlite3_stmt *st, int rc, error *err) MUST_USE;
/* They nest: the outermost commits, or rolls back if any failed. */
int log_begin(store_log *l, error *err) MUST_USE;
int log_end(store_log *l, int rc, error *err) MUST_USE;
/* Within a transaction: the claim is over; its stage has paid. usage NULL: nothing came back, and if `lost` perhaps it was paid. */
int log_settle(store_log *l, const char *key, const store_usage *usage, store_sent how, error *err) MUST_USE;

#endif
