/* gloss export: what the files say is what the store says, and a failure leaves nothing. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_store.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[FILE_PATH_MAX], to[FILE_PATH_MAX];
static error err;

static void setup(void)
{
	err = (error){ 0 };
	support_mkdir(folder);
	ck_assert_int_eq(file_join(to, folder, "csv", &err), 0);
}

static void teardown(void)
{
	support_rmdir(folder);
}

/* ---- A reader of RFC 4180 ---- */

typedef struct field {
	char *chars;
	size_t n;
	bool quoted, last; /* last of its record */
} field;

static const char *read_field(field *f, const char *p)
{
	f->n = 0;
	f->quoted = *p == '"';
	if (f->quoted) {
		for (p++; *p != '"' || p[1] == '"'; p++) {
			ck_assert_int_ne(*p, '\0');
			p += *p == '"';
			f->chars[f->n++] = *p;
		}
		p++;
	}
	while (!f->quoted && *p != ',' && *p != '\r') {
		ck_assert_msg(*p != '\0' && *p != '"' && *p != '\n', "a bare %d", *p);
		f->chars[f->n++] = *p++;
	}
	f->chars[f->n] = '\0';
	f->last = *p == '\r';
	ck_assert(*p == ',' || (p[0] == '\r' && p[1] == '\n'));
	return p + 1 + f->last;
}

static void check_value(const field *f, sqlite3_stmt *row, int i)
{
	char *end;

	switch (sqlite3_column_type(row, i)) {
	case SQLITE_NULL:
		ck_assert(f->n == 0 && !f->quoted);
		return;
	case SQLITE_INTEGER:
		ck_assert_int_eq(strtoll(f->chars, &end, 10), sqlite3_column_int64(row, i));
		ck_assert(!*end && end > f->chars);
		return;
	case SQLITE_FLOAT:
		ck_assert_double_eq(strtod(f->chars, &end), sqlite3_column_double(row, i));
		ck_assert(!*end && end > f->chars);
		return;
	case SQLITE_BLOB:
		ck_assert_uint_eq(f->n, 2 * (size_t)sqlite3_column_bytes(row, i));
		for (size_t b = 0; b < f->n / 2; b++) {
			char digits[3] = { f->chars[2 * b], f->chars[2 * b + 1], '\0' };

			ck_assert_uint_eq(strtoul(digits, &end, 16),
			                  ((const unsigned char *)sqlite3_column_blob(row, i))[b]);
			ck_assert(end == digits + 2);
		}
		return;
	default:
		ck_assert_str_eq(f->chars, (const char *)sqlite3_column_text(row, i));
		ck_assert(f->n > 0 || f->quoted);
	}
}

static uint64_t check_file(store *s, const char *name)
{
	char file[200], sql[200], *data = NULL;
	const char *p;
	sqlite3_stmt *row = NULL;
	bool more = true;
	uint64_t n = 0;
	field f;
	size_t len;

	snprintf(file, sizeof(file), "%s.csv", name);
	snprintf(sql, sizeof(sql), "SELECT * FROM %s", name);
	ck_assert_msg(file_read(&data, &len, support_path(to, file), 1 << 24, &err) == 0, "%s", err.msg);
	f.chars = malloc(len + 1);
	p = data;
	ck_assert_msg(store_prepare(&row, s, sql, &err) == 0, "%s", err.msg);
	for (bool header = true; more; header = false) {
		if (!header)
			ck_assert_int_eq(store_step(s, row, &more, &err), 0);
		for (int i = 0; more && i < sqlite3_column_count(row); i++) {
			p = read_field(&f, p);
			ck_assert(f.last == (i + 1 == sqlite3_column_count(row)));
			if (header)
				ck_assert_str_eq(f.chars, sqlite3_column_name(row, i));
			else
				check_value(&f, row, i);
		}
		n += more && !header;
	}
	ck_assert_uint_eq((size_t)(p - data), len);
	sqlite3_finalize(row);
	free(f.chars);
	free(data);
	return n;
}

START_TEST(files_say_what_the_store_says)
{
	store *s = small_store_open(STORE_WRITE);
	store_csv_opts o = { 0 };
	store_export_result r;
	sqlite3_stmt *st = NULL;
	uint64_t rows = 0, files = 0, few_files;
	bool more;

	ck_assert_int_eq(store_exec(s,
	                            "INSERT INTO note(source_id, feature, text, created) VALUES"
	                            " (1, 1, 'a, \"b\"' || char(13, 10) || '=c', ''), (1, 1, '\"', 'x')",
	                            &err),
	                 0);
	ck_assert_int_eq(
	        store_exec(s, "UPDATE source SET norm_limit = 9e999, n_firings = -9223372036854775808", &err),
	        0);
	ck_assert_msg(store_export_csv(&r, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(r.left_out, "example_text, example_token, example_values, np_activation");
	ck_assert_uint_gt(r.n_files, 30);
	few_files = r.n_files;
	o.all = o.force = true;
	ck_assert_msg(store_export_csv(&r, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	ck_assert_ptr_null(r.left_out);
	ck_assert_uint_eq(r.n_files, few_files + 4);
	ck_assert_int_eq(store_prepare(&st, s,
	                               "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN "
	                               "('table', 'view') AND name NOT LIKE 'sqlite%'",
	                               &err),
	                 0);
	while (store_step(s, st, &more, &err) == 0 && more) {
		rows += check_file(s, (const char *)sqlite3_column_text(st, 0));
		files++;
	}
	sqlite3_finalize(st);
	ck_assert_uint_eq(r.n_rows, rows);
	ck_assert_uint_eq(r.n_files, files);
	ck_assert_int_eq(support_entries(to), (int)files);
	ck_assert_uint_gt(files, 30);
	store_close(s);
}
END_TEST

static const char *const few[] = { "feature", "label" };

/* A full disk, a disk that fails, no memory: one error, and neither the folder nor a part of it. */
START_TEST(failures_leave_nothing)
{
	static const int codes[] = {
		[FAULT_ALLOC] = ERR_NOMEM, [FAULT_WRITE] = ERR_IO, [FAULT_SYNC] = ERR_IO
	};
	store *s = small_store_open(STORE_READ);
	store_csv_opts o = { .tables = few, .n_tables = 2 };
	long n = 0;

	for (;; n++) {
		int rc;

		fault_arm((fault_kind)_i, n);
		rc = store_export_csv(NULL, s, to, &o, NULL, &err);
		if (!fault_disarm((fault_kind)_i)) {
			ck_assert_msg(rc == 0, "%s", err.msg);
			break;
		}
		if (rc ==
		    0) { /* SQLite does without some of its caches; the folder of a file may be past syncing */
			support_rmdir(to);
			continue;
		}
		ck_assert_msg(rc == codes[_i], "%ld: %d %s", n, rc, err.msg);
		ck_assert_int_eq(support_entries(folder), 0);
	}
	ck_assert_int_gt(n, 1);
	ck_assert_int_eq(support_entries(to), 2);
	store_close(s);
}
END_TEST

/* What is there stays, unless it is an export and force is given. */
START_TEST(replaces_only_exports)
{
	store *s = small_store_open(STORE_READ);
	store_csv_opts o = { .tables = few, .n_tables = 2 };
	struct stat st;

	ck_assert_int_eq(mkdir(to, 0700), 0);
	ck_assert_msg(store_export_csv(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg); /* an empty one */
	ck_assert_int_eq(store_export_csv(NULL, s, to, &o, NULL, &err), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(err.msg, "--force"));
	o.force = true;
	o.n_tables = 1;
	ck_assert_msg(store_export_csv(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(support_entries(to), 1);
	o.stop.asked = support_stop;
	o.tables = NULL;
	o.n_tables = 0;
	ck_assert_int_eq(store_export_csv(NULL, s, to, &o, NULL, &err), ERR_STOPPED);
	o.stop.asked = NULL;
	ck_assert_int_eq(support_entries(to), 1);
	support_put_text(support_path(to, "letter.txt"), "dear");
	ck_assert_int_eq(store_export_csv(NULL, s, to, &o, NULL, &err), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(err.msg, "letter.txt"));
	ck_assert_int_eq(stat(support_path(to, "letter.txt"), &st), 0);
	ck_assert_int_eq(support_entries(folder), 1);
	ck_assert_int_eq(store_export_csv(NULL, s, support_path(to, "letter.txt"), &o, NULL, &err),
	                 ERR_EXISTS);
	store_close(s);
}
END_TEST

/* A stranger's file: a view that writes is none, and a name that leads elsewhere makes no file there. */
START_TEST(strangers_names_stay_inside)
{
	store *s = small_store_open(STORE_WRITE);
	store_csv_opts o = { 0 };

	ck_assert_int_eq(store_exec(s, "CREATE TABLE \"../escape\"(x)", &err), 0);
	ck_assert_int_eq(store_export_csv(NULL, s, to, &o, NULL, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "../escape"));
	ck_assert_int_eq(support_entries(folder), 0);
	store_close(s);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = SUPPORT_CASE(suite, "export", files_say_what_the_store_says, replaces_only_exports,
	                         strangers_names_stay_inside);

	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, failures_leave_nothing, FAULT_ALLOC, FAULT_ALLOC + 1);
	tcase_add_loop_test(tc, failures_leave_nothing, FAULT_WRITE, FAULT_SYNC + 1);
}
SUPPORT_MAIN("export", cases)
