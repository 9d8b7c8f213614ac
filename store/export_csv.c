/* gloss export --to csv: tables and views as RFC 4180 files, a folder of them. */
#include "store/query_internal.h"

#include <math.h>
#include <stdlib.h>

enum { STOP_EVERY = 4096 }; /* rows */

typedef struct csv {
	store *s;
	const store_csv_opts *o;
	store_export_result *result;
	progress *pr;
	folder_writer folder;
	file_writer file;
	text field;
	error *err;
} csv;

static int put(csv *c, const char *bytes, size_t n)
{
	return file_writer_add(&c->file, bytes, n, c->err);
}

/* Text: quoted where RFC 4180 wants it, and where it is empty, so that NULL (nothing at all) is another thing. */
static int put_text(csv *c, const char *chars, size_t n)
{
	bool quoted = n == 0;
	size_t start = 0;
	int rc;

	text_clear(&c->field);
	rc = text_add_utf8(&c->field, chars, n);
	if (rc < 0)
		return error_set(c->err, rc, "a text is over %zu bytes", c->field.max);
	chars = c->field.data;
	n = c->field.len;
	for (size_t i = 0; i < n && !quoted; i++)
		quoted = strchr(",\"\r\n", chars[i]) != NULL;
	if (!quoted)
		return put(c, chars, n);
	rc = put(c, "\"", 1);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (chars[i] != '"')
			continue;
		rc = put(c, chars + start, i + 1 - start); /* the quote, and once more with what follows */
		start = i;
	}
	if (rc == 0)
		rc = put(c, chars + start, n - start);
	return rc == 0 ? put(c, "\"", 1) : rc;
}

static int put_blob(csv *c, const unsigned char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = put(c, (char[]){ digits[bytes[i] >> 4], digits[bytes[i] & 15] }, 2);
	return n == 0 ? put(c, "\"\"", 2) : rc;
}

static int put_real(csv *c, double value)
{
	char digits[40];
	int n = snprintf(digits, sizeof(digits), "%.15g", value);

	if (strtod(digits, NULL) != value && !isnan(value))
		n = snprintf(digits, sizeof(digits), "%.17g", value);
	return put(c, digits, (size_t)n);
}

static int put_value(csv *c, sqlite3_stmt *row, int i)
{
	char digits[24];
	const void *bytes;

	switch (sqlite3_column_type(row, i)) {
	case SQLITE_NULL:
		return 0;
	case SQLITE_INTEGER:
		return put(c, digits,
		           (size_t)snprintf(digits, sizeof(digits), "%lld",
		                            (long long)sqlite3_column_int64(row, i)));
	case SQLITE_FLOAT:
		return put_real(c, sqlite3_column_double(row, i));
	case SQLITE_BLOB:
		bytes = sqlite3_column_blob(row, i);
		return put_blob(c, bytes, (size_t)sqlite3_column_bytes(row, i));
	default:
		bytes = sqlite3_column_text(row, i);
		if (!bytes)
			return error_nomem(c->err, "a text");
		return put_text(c, bytes, (size_t)sqlite3_column_bytes(row, i));
	}
}

static int put_row(csv *c, sqlite3_stmt *row, bool header)
{
	int n = sqlite3_column_count(row), rc = 0;

	for (int i = 0; i < n && rc == 0; i++) {
		const char *name = header ? sqlite3_column_name(row, i) : NULL;

		if (i > 0)
			rc = put(c, ",", 1);
		if (rc == 0 && header)
			rc = name ? put_text(c, name, strlen(name)) : error_nomem(c->err, "a name");
		else if (rc == 0)
			rc = put_value(c, row, i);
	}
	return rc == 0 ? put(c, "\r\n", 2) : rc;
}

static int put_rows(csv *c, sqlite3_stmt *row, uint64_t *n)
{
	bool more = false;
	int rc = put_row(c, row, true);

	for (*n = 0; rc == 0; ++*n) {
		rc = store_step(c->s, row, &more, c->err);
		if (rc < 0 || !more)
			break;
		rc = put_row(c, row, false);
		if (rc == 0 && *n % STOP_EVERY == 0 && c->pr)
			progress_update(c->pr, c->result->n_rows + *n, NULL);
	}
	return rc;
}

/* The statement is made under the rule that it only reads: a view may be a stranger's. */
static int prepare_reading(sqlite3_stmt **out, csv *c, const char *name)
{
	char *sql = sqlite3_mprintf("SELECT * FROM main.\"%w\"", name);
	int rc = sql ? 0 : error_nomem(c->err, "a statement");

	store_only_reads(c->s, true);
	if (rc == 0)
		rc = store_prepare(out, c->s, sql, c->err);
	store_only_reads(c->s, false);
	sqlite3_free(sql);
	return rc;
}

static int export_one(csv *c, const char *name)
{
	char path[FILE_PATH_MAX], file[256];
	sqlite3_stmt *row = NULL;
	uint64_t n = 0;
	int rc;

	for (const char *p = name; *p; p++) {
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		      *p == '_') ||
		    p - name > 200)
			return error_set(
			        c->err, ERR_FORMAT,
			        "'%s': the table '%.100s' has a name that is none of a file; name those "
			        "you want with --table",
			        store_path(c->s), name);
	}
	snprintf(file, sizeof(file), "%s.csv", name);
	rc = file_join(path, c->folder.tmp, file, c->err);
	if (rc == 0)
		rc = prepare_reading(&row, c, name);
	if (rc == 0)
		rc = file_writer_open(&c->file, path, c->err);
	if (rc == 0)
		rc = put_rows(c, row, &n);
	if (rc == 0) {
		c->result->n_files++;
		c->result->n_rows += n;
		c->result->n_bytes += c->file.written;
		rc = file_writer_commit(&c->file, c->err);
	}
	file_writer_abort(&c->file);
	sqlite3_finalize(row);
	return rc;
}

/* Views that work out the text or the values of every example's window: minutes and gigabytes of a store of a hundred MB. */
#define SPELLED_OUT "example_text, example_token, example_values, np_activation"

/* What there is to export: tables and views, but not the indexes of full text and their parts; ?2: names of views passed over. */
#define RELATIONS                                                                                            \
	"SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'view')"             \
	" AND name NOT LIKE 'sqlite^_%' ESCAPE '^' AND (?1 IS NULL OR name = ?1)"                            \
	" AND (?2 IS NULL OR type <> 'view' OR instr(', ' || ?2 || ',', ', ' || name || ',') = 0)"           \
	" ORDER BY type, name"

/* All of that name; NULL: all but what result->left_out names. *n: how many. */
static int export_named(csv *c, const char *name, size_t *n)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, c->s, RELATIONS, c->err);

	*n = 0;
	if (rc == 0)
		rc = store_bind(c->s, st, c->err, "tt", name, name ? NULL : c->result->left_out);
	while (store_next(&rc, c->s, st, c->err)) {
		rc = export_one(c, (const char *)sqlite3_column_text(st, 0));
		++*n;
	}
	sqlite3_finalize(st);
	return rc;
}

static int export_all(csv *c)
{
	size_t n = 0;
	int rc = store_read_begin(c->s, c->err);

	if (rc < 0)
		return rc;
	if (c->o->n_tables == 0) {
		c->result->left_out = c->o->all ? NULL : SPELLED_OUT;
		rc = export_named(c, NULL, &n);
	}
	for (size_t i = 0; i < c->o->n_tables && rc == 0; i++) {
		rc = export_named(c, c->o->tables[i], &n);
		if (rc == 0 && n == 0)
			rc = error_set(c->err, ERR_NOTFOUND, "'%s' has no table or view '%.100s'",
			               store_path(c->s), c->o->tables[i]);
	}
	store_read_end(c->s);
	return rc;
}

int store_export_csv(store_export_result *out, store *s, const char *folder, const store_csv_opts *o,
                     progress *pr, error *err)
{
	store_export_result result = { 0 };
	csv c = { .s = s, .o = o, .result = &result, .pr = pr, .file = { .fd = -1 }, .err = err };
	int rc;

	if (o->all && o->n_tables)
		return error_set(err, ERR_ARG, "name tables with --table or take --all of them: not both");
	for (size_t i = 0; i < o->n_tables; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(o->tables[i], o->tables[j]) == 0)
				return error_set(err, ERR_ARG, "the table '%.100s' is named twice",
				                 o->tables[i]);
		}
	}
	rc = folder_writer_open(&c.folder, folder, ".csv", o->force ? FOLDER_FORCE : 0, err);
	if (rc < 0)
		return rc;
	text_init(&c.field, (size_t)1 << 30);
	store_watch(s, &o->stop);
	rc = store_stopped(export_all(&c), &o->stop, err);
	store_watch(s, &(store_stop){ 0 });
	text_free(&c.field);
	if (rc == 0)
		rc = folder_writer_commit(&c.folder, err);
	folder_writer_abort(&c.folder);
	if (rc == 0 && out)
		*out = result;
	return rc;
}
