/* SQL of the user's: one statement that reads. */
#include "store/query_internal.h"
#include "store/where.h"

#include <strings.h>

#define MAX_ANSWER  ((size_t)256 << 20) /* bytes of all values; the rows behind are cut off */
#define MAX_LENGTH  (64 << 20)          /* bytes of a value */
#define MAX_PATTERN 1000                /* of LIKE and GLOB */

/* Pragmas that tell something, and nothing else when no value is given. */
static const char *const pragmas[] = {
	"application_id",   "collation_list",  "compile_options", "database_list", "encoding",
	"foreign_key_list", "freelist_count",  "function_list",   "index_info",    "index_list",
	"index_xinfo",      "integrity_check", "module_list",     "page_count",    "page_size",
	"pragma_list",      "quick_check",     "table_info",      "table_list",    "table_xinfo",
	"user_version",     "data_version",
};
/* Those of them whose argument names a thing rather than sets a value. */
static const char *const pragmas_of_a_thing[] = {
	"foreign_key_list", "index_info", "index_list", "index_xinfo", "integrity_check",
	"quick_check",      "table_info", "table_list", "table_xinfo",
};
/* Of the shell and of extensions, should a build of SQLite have them. */
static const char *const forbidden_functions[] = { "edit", "fts3_tokenizer", "load_extension", "readfile",
	                                           "writefile" };

static int authorize_reading(void *payload, int action, const char *first, const char *second,
                             const char *database, const char *inside)
{
	(void)payload;
	(void)database;
	(void)inside;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_UPDATE: /* FTS5 declares its table; a real update of it is refused for other reasons */
		return first && strcmp(first, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
	case SQLITE_FUNCTION:
		return second && name_is_among(forbidden_functions, ARRAY_LEN(forbidden_functions), second)
		               ? SQLITE_DENY
		               : SQLITE_OK;
	case SQLITE_PRAGMA:
		if (!first || !name_is_among(pragmas, ARRAY_LEN(pragmas), first))
			return SQLITE_DENY;
		return !second || name_is_among(pragmas_of_a_thing, ARRAY_LEN(pragmas_of_a_thing), first)
		               ? SQLITE_OK
		               : SQLITE_DENY;
	default:
		return SQLITE_DENY;
	}
}

void store_only_reads(store *s, bool on)
{
	sqlite3_set_authorizer(s->db, on ? authorize_reading : NULL, NULL);
}

/* "near character N: ...", with the piece of SQL that SQLite points to. */
static int bad_sql(store *s, const char *sql, int code, int offset, error *err)
{
	const char *why = sqlite3_errmsg(s->db);

	if (code != SQLITE_ERROR && code != SQLITE_AUTH && code != SQLITE_RANGE && code != SQLITE_TOOBIG)
		return store_error(s, code, "prepare a statement", err);
	if (code == SQLITE_AUTH)
		return error_set(err, ERR_ARG, "only reading is allowed here: %s", why);
	if (offset >= 0 && (size_t)offset <= strlen(sql))
		return error_set(err, ERR_ARG, "character %d: %s", offset + 1, why);
	return error_set(err, ERR_ARG, "%s", why);
}

/* Whether a statement begins in what is left behind the first one. */
static bool has_statement(store *s, const char *tail)
{
	sqlite3_stmt *st = NULL;
	const char *next = tail;
	int code = SQLITE_OK;

	while (*tail && code == SQLITE_OK && !st) {
		code = sqlite3_prepare_v2(s->db, tail, -1, &st, &next);
		if (next == tail)
			break;
		tail = next;
	}
	sqlite3_finalize(st);
	return st || code != SQLITE_OK;
}

static int prepare_sql(sqlite3_stmt **out, store *s, const char *sql, error *err)
{
	sqlite3_stmt *st = NULL;
	const char *tail = sql;
	int code, rc = 0;

	store_only_reads(s, true);
	code = sqlite3_prepare_v2(s->db, sql, -1, &st, &tail);
	if (code != SQLITE_OK)
		rc = bad_sql(s, sql, code, sqlite3_error_offset(s->db), err);
	else if (!st)
		rc = error_set(err, ERR_ARG, "there is no statement");
	else if (has_statement(s, tail))
		rc = error_set(err, ERR_ARG, "one statement at a time: another begins at character %zu",
		               (size_t)(tail - sql) + 1);
	else if (!sqlite3_stmt_readonly(st))
		rc = error_set(err, ERR_ARG, "only reading is allowed here");
	if (rc == 0)
		*out = st;
	else
		sqlite3_finalize(st);
	return rc;
}

/* One row into `rows`; *size grows by its bytes. */
static void put_row(cJSON *rows, sqlite3_stmt *st, size_t *size, bool *failed)
{
	cJSON *row = json_put_array(rows, NULL, failed);

	for (int i = 0; i < sqlite3_column_count(st); i++) {
		int type = sqlite3_column_type(st, i);

		if (type == SQLITE_TEXT || type == SQLITE_BLOB)
			*size += (size_t)sqlite3_column_bytes(st, i);
		*size += 64; /* of cJSON's node */
		json_put_column(row, NULL, st, i, failed);
	}
}

static int put_rows(cJSON *rows, bool *truncated, store *s, sqlite3_stmt *st, uint64_t max_rows,
                    double seconds, bool *failed, error *err)
{
	error cause = { 0 };
	uint64_t n = 0;
	size_t size = 0;
	bool more;
	int rc;

	while ((rc = store_step(s, st, &more, &cause)) == 0 && more && !*failed) {
		*truncated = n++ >= max_rows || size > MAX_ANSWER;
		if (*truncated)
			return 0;
		put_row(rows, st, &size, failed);
	}
	if (rc == ERR_LIMIT && strstr(cause.msg, "interrupt"))
		return error_set(err, rc, "stopped after %g s, the time limit", seconds);
	if (rc == ERR_ARG || rc == ERR_LIMIT)
		return error_set(err, rc, "%s", sqlite3_errmsg(s->db));
	if (rc < 0)
		return error_set(err, rc, "%s", cause.msg);
	return 0;
}

int store_sql(cJSON **out, store *s, const char *sql, uint64_t max_rows, double seconds, error *err)
{
	cJSON *page = NULL, *names, *rows;
	bool failed = false, truncated = false;
	sqlite3_stmt *st = NULL;
	time_limit limit;
	int rc;

	time_limit_start(&limit, s, seconds, MAX_LENGTH, MAX_PATTERN);
	rc = prepare_sql(&st, s, sql, err);
	if (rc < 0)
		goto out;
	page = cJSON_CreateObject();
	names = json_put_array(page, "columns", &failed);
	for (int i = 0; i < sqlite3_column_count(st); i++)
		json_put_text(names, NULL, sqlite3_column_name(st, i), &failed);
	rows = json_put_array(page, "rows", &failed);
	rc = put_rows(rows, &truncated, s, st, max_rows, seconds, &failed, err);
	json_put_bool(page, "truncated", truncated, &failed);
out:
	sqlite3_finalize(st);
	store_only_reads(s, false);
	time_limit_end(&limit);
	return json_finish(out, page, rc, failed, err);
}
