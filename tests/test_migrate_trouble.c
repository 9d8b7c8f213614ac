/* Stores of every earlier version, brought up: their schema is that of a new one, their rows are kept, and neither a kill nor a full
 * disk leaves anything but a whole store. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
static error err;

static void setup(void)
{
	err = (error){ 0 };
	support_mkdir(folder);
	ck_assert_int_eq(file_join(path, folder, "old.db", &err), 0);
}

static void teardown(void)
{
	support_rmdir(folder);
}

/* ---- Old stores ---- */

static void run_sql(const char *sql)
{
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(
	        sqlite3_exec(db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL, NULL, NULL),
	        SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* A file below the source folder; malloc'd. */
static char *source_text(const char *name)
{
	char *bytes = NULL, full[FILE_PATH_MAX];
	size_t n;

	ck_assert_int_eq(file_join(full, getenv("GLOSS_SOURCE"), name, &err), 0);
	ck_assert_msg(file_read(&bytes, &n, full, 1 << 20, &err) == 0, "%s", err.msg);
	return bytes;
}

/* The step that leads to a version, from its file; malloc'd. */
static char *step_text(int version)
{
	char pattern[FILE_PATH_MAX], *sql = NULL;
	glob_t found;
	size_t n;

	ck_assert_int_eq(file_join(pattern, getenv("GLOSS_SOURCE"), "schemas/sql/[0-9]*.sql", &err), 0);
	ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
	ck_assert_uint_eq(found.gl_pathc, STORE_VERSION);
	ck_assert_msg(file_read(&sql, &n, found.gl_pathv[version - 1], 1 << 20, &err) == 0, "%s", err.msg);
	globfree(&found);
	return sql;
}

/* A store of that version, with rows. */
static void make_version(int version)
{
	char set[80], *sql;

	unlink(path);
	for (int i = 1; i <= version; i++) {
		sql = step_text(i);
		run_sql(sql);
		free(sql);
	}
	sql = source_text(version == 1 ? "tests/store_v1.sql" : "tests/small_store.sql");
	run_sql(sql);
	free(sql);
	snprintf(set, sizeof(set), "PRAGMA application_id = 0x474c5353; PRAGMA user_version = %d", version);
	run_sql(set);
}

/* ---- What is in them ---- */

static int64_t number(store *s, const char *sql)
{
	int64_t n = -1;

	ck_assert_msg(store_int(&n, s, sql, -1, &err) == 0, "%s", err.msg);
	return n;
}

/* SQL without comments and white space. */
static void squeeze(text *out, const char *sql)
{
	bool quoted = false;

	for (const char *p = sql; *p; p++) {
		quoted ^= *p == '\'';
		if (!quoted && p[0] == '-' && p[1] == '-')
			p += strcspn(p, "\n") - 1;
		else if (quoted || (*p != ' ' && *p != '\t' && *p != '\n'))
			ck_assert_int_eq(text_add(out, p, 1), 0);
	}
}

/* The schema, one object after the other, without comments and white space, which a store that was brought up may have others of. */
static void schema_text(text *out, store *s)
{
	sqlite3_stmt *st = NULL;
	bool row;

	text_init(out, 1 << 18);
	ck_assert_int_eq(
	        store_prepare(&st, s,
	                      "SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema ORDER BY 1, 2",
	                      &err),
	        0);
	while (store_step(s, st, &row, &err) == 0 && row) {
		ck_assert_int_eq(text_addf(out, "\n%s %s %s ", sqlite3_column_text(st, 0),
		                           sqlite3_column_text(st, 1), sqlite3_column_text(st, 2)),
		                 0);
		squeeze(out, (const char *)sqlite3_column_text(st, 3));
	}
	sqlite3_finalize(st);
}

/* A hash of the rows of a statement. */
static void digest(char hex[SHA256_HEX], store *s, const char *sql)
{
	sqlite3_stmt *st = NULL;
	bool row;
	sha256 h;

	ck_assert_int_eq(sha256_init(&h, &err), 0);
	ck_assert_msg(store_prepare(&st, s, sql, &err) == 0, "%s", err.msg);
	while (store_step(s, st, &row, &err) == 0 && row) {
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			const void *bytes = sqlite3_column_blob(st, i);

			sha256_add(&h, bytes ? bytes : "NULL",
			           bytes ? (size_t)sqlite3_column_bytes(st, i) : 4);
			sha256_add(&h, "|", 1);
		}
	}
	sqlite3_finalize(st);
	sha256_end(&h, hex);
}

#define OWN_TABLES                                                                                           \
	"SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE "     \
	"'sqlite%' ORDER BY 1"

/* A hash of every row of every table. */
static void digest_all(char hex[SHA256_HEX], store *s)
{
	char one[SHA256_HEX], sql[200];
	sqlite3_stmt *st = NULL;
	bool row;
	sha256 h;

	ck_assert_int_eq(sha256_init(&h, &err), 0);
	ck_assert_int_eq(store_prepare(&st, s, OWN_TABLES, &err), 0);
	while (store_step(s, st, &row, &err) == 0 && row) {
		snprintf(sql, sizeof(sql), "SELECT * FROM \"%s\"", (const char *)sqlite3_column_text(st, 0));
		digest(one, s, sql);
		sha256_add(&h, sql, strlen(sql));
		sha256_add(&h, one, strlen(one));
	}
	sqlite3_finalize(st);
	sha256_end(&h, hex);
}

/* The file holds together, and so do its full-text tables with what they index. */
static void check_file(store *s)
{
	static const char *const indexes[] = { "context_fts", "explanation_fts", "context_trigram",
		                               "explanation_trigram" };
	char sql[120];

	ck_assert_int_eq(number(s, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	ck_assert_int_eq(number(s, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
	for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
		snprintf(sql, sizeof(sql), "INSERT INTO %s(%s) VALUES ('integrity-check')", indexes[i],
		         indexes[i]);
		ck_assert_msg(store_exec(s, sql, &err) == 0, "%s: %s", indexes[i], err.msg);
	}
}

/* A call that fills `out`. */
#define ANSWERED(call)                                                                                       \
	do {                                                                                                 \
		ck_assert_msg((call) == 0, "%s", err.msg);                                                   \
		ck_assert_ptr_nonnull(out);                                                                  \
		cJSON_Delete(out);                                                                           \
	} while (0)

/* Each query, and each view from its first row to its last. */
static void ask_everything(store *s)
{
	store_features_opts f = { .where = "density > 0.01 AND label = 'cats'",
		                  .sort = "-score",
		                  .limit = 20 };
	store_regex_opts r = { .pattern = "cat|dog", .limit = 5 };
	sqlite3_stmt *st = NULL;
	cJSON *out = NULL;
	char sql[120];
	int views = 0;
	bool row;

	ck_assert_msg(store_features(&out, s, &f, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(json_count(out, "features"), 1);
	cJSON_Delete(out);
	for (uint32_t i = 0; i < SMALL_FEATURES; i++)
		ANSWERED(store_show(&out, s, NULL, i, 20, STORE_INTERVALS_STORED, &err));
	ANSWERED(store_show_context(&out, s, NULL, small_context_id(1), 3, 9, &err));
	ANSWERED(store_find_regex(&out, s, &r, &err));
	ANSWERED(store_find_text(&out, s, NULL, "cat", 5, &err));
	ANSWERED(store_labels(&out, s, NULL, SMALL_ON_CAT, &err));
	ANSWERED(store_notes(&out, s, NULL, SMALL_ON_CAT, &err));
	ANSWERED(store_lists(&out, s, &err));
	ck_assert_int_eq(store_prepare(&st, s, "SELECT name FROM sqlite_schema WHERE type = 'view'", &err),
	                 0);
	while (store_step(s, st, &row, &err) == 0 && row) {
		snprintf(sql, sizeof(sql), "SELECT * FROM \"%s\"", (const char *)sqlite3_column_text(st, 0));
		ANSWERED(store_sql(&out, s, sql, 10000, 20, &err));
		views++;
	}
	sqlite3_finalize(st);
	ck_assert_int_gt(views, 10);
}

/* ---- From each version ---- */

static void open_at(store **out, const char *name, unsigned flags)
{
	*out = NULL;
	ck_assert_msg(store_open(out, support_path(folder, name), flags, &err) == 0, "%s", err.msg);
}

/* _i: the version it comes from. It becomes what would have been made anew. */
START_TEST(brought_up_is_as_made_anew)
{
	char of_a[SHA256_HEX], of_b[SHA256_HEX], set[60];
	store *fresh, *s = NULL;
	text a, b;

	make_version(_i);
	snprintf(set, sizeof(set), "has version %d of %d: open it once", _i, STORE_VERSION);
	ck_assert_int_eq(store_open(&s, path, STORE_READ, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, set) && strstr(err.msg, path), "%s", err.msg);
	ck_assert_ptr_null(s);
	open_at(&s, "old.db", STORE_WRITE);
	open_at(&fresh, "fresh.db", STORE_CREATE);
	ck_assert_int_eq(number(s, "PRAGMA user_version"), STORE_VERSION);
	schema_text(&a, s);
	schema_text(&b, fresh);
	ck_assert_str_eq(a.data, b.data);
	text_free(&a);
	text_free(&b);
	store_close(fresh);
	check_file(s);
	ask_everything(s);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM feature_list"), SMALL_FEATURES);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM note"), 1);
	digest_all(of_a, s);
	store_close(s);
	if (_i >
	    1) { /* rows that a new store takes as they are; what becomes of version 1 is in test_migrate.c */
		make_version(STORE_VERSION);
		open_at(&s, "old.db", STORE_READ);
		digest_all(of_b, s);
		ck_assert_str_eq(of_a, of_b);
		store_close(s);
	}
}
END_TEST

START_TEST(a_newer_version_is_refused)
{
	char before[SHA256_HEX], after[SHA256_HEX], set[60];
	store *s = NULL;

	make_version(STORE_VERSION);
	snprintf(set, sizeof(set), "PRAGMA user_version = %d", STORE_VERSION + 1);
	run_sql(set);
	ck_assert_int_eq(sha256_file(before, path, &err), 0);
	for (unsigned flags = 0; flags <= (STORE_WRITE | STORE_CREATE); flags++) {
		ck_assert_int_eq(store_open(&s, path, flags, &err), ERR_FORMAT);
		ck_assert_msg(strstr(err.msg, "was written by a newer gloss"), "%s", err.msg);
		ck_assert_ptr_null(s);
	}
	ck_assert_int_eq(sha256_file(after, path, &err), 0);
	ck_assert_str_eq(before, after);
}
END_TEST

/* ---- Kills and full disks ---- */

/* SQLite's own writes, of which the nth finds no room, or is where the process is killed. */
static long writes_left;
static bool dies;
static ssize_t (*real_pwrite)(int fd, const void *p, size_t n, off_t at);

static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (writes_left-- > 0)
		return real_pwrite(fd, p, n, at);
	if (dies)
		kill(getpid(), SIGKILL);
	errno = ENOSPC;
	return -1;
}

/* n: -1: all go well again. */
static void arm_writes(long n, bool to_die)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	const char *name = vfs->xGetSystemCall(vfs, "pwrite64") ? "pwrite64" : "pwrite";

	if (!real_pwrite)
		real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, name);
	writes_left = n;
	dies = to_die;
	ck_assert_int_eq(vfs->xSetSystemCall(vfs, name, n < 0 ? NULL : (sqlite3_syscall_ptr)bad_pwrite),
	                 SQLITE_OK);
}

/* The version of a store that something went wrong with; version 1 has all its rows. */
static int64_t version_left(const char *before)
{
	char now[SHA256_HEX];
	store s = { 0 };
	int64_t version;

	ck_assert_int_eq(sqlite3_open(path, &s.db), SQLITE_OK);
	version = number(&s, "PRAGMA user_version");
	ck_assert_int_eq(number(&s, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
	ck_assert_int_eq(number(&s, "SELECT count(*) FROM feature"), SMALL_FEATURES);
	digest_all(now, &s);
	if (version == 1)
		ck_assert_str_eq(now, before);
	sqlite3_close(s.db);
	return version;
}

/* Open it to write, with the nth write going wrong. Whether none did. */
static bool migrate_with(long n, bool to_die)
{
	store *s = NULL;
	int status, rc;
	pid_t child;

	if (!to_die) {
		arm_writes(n, false);
		rc = store_open(&s, path, STORE_WRITE, &err);
		arm_writes(-1, false);
		ck_assert_msg(rc == 0 || (rc == ERR_IO && strstr(err.msg, path) &&
		                          (strstr(err.msg, "full") || strstr(err.msg, "No space"))),
		              "%ld: %d %s", n, rc, err.msg);
		store_close(s);
		return rc == 0;
	}
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		arm_writes(n, true);
		_exit(store_open(&s, path, STORE_WRITE, &err) != 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFEXITED(status);
}

START_TEST(failing_writes_leave_a_whole_version)
{
	char before[SHA256_HEX], want[SHA256_HEX], got[SHA256_HEX], *bytes = NULL;
	int as_before = 0, between = 0;
	store *s, old = { 0 };
	bool done = false;
	size_t n_bytes;

	make_version(1);
	ck_assert_int_eq(file_read(&bytes, &n_bytes, path, 1 << 24, &err), 0);
	ck_assert_int_eq(sqlite3_open(path, &old.db), SQLITE_OK);
	digest_all(before, &old);
	sqlite3_close(old.db);
	open_at(&s, "old.db", STORE_WRITE);
	digest_all(want, s);
	store_close(s);
	for (long n = 0; !done; n += 1 + n / 5) {
		int64_t version;

		support_put(path, bytes, n_bytes);
		unlink(support_path(folder, "old.db-wal"));
		unlink(support_path(folder, "old.db-shm"));
		unlink(support_path(folder, "old.db-journal"));
		done = migrate_with(n, _i);
		version = version_left(before);
		as_before += version == 1;
		between += version > 1 && version < STORE_VERSION;
		open_at(&s, "old.db", STORE_WRITE); /* the next run brings it up */
		digest_all(got, s);
		ck_assert_msg(strcmp(want, got) == 0, "after write %ld", n);
		check_file(s);
		store_close(s);
	}
	free(bytes);
	ck_assert_int_gt(as_before, 5);
	ck_assert_int_gt(between, 0);
}
END_TEST

/* ---- Frozen ---- */

/* What led to earlier versions is out in the world and never changes, comments and white space apart: a change is a new step. */
static const char *const frozen[] = {
	"d44c830f55911fb3dbc14450e3fe344a655055d09fe12937a61276fd0d2ded2b",
	"d2f1d6248cf5dcc6be8bcccfc9c57927498818247df5514f8c0caae238b3d9a1",
	"0ece4b4fa5081c54939f8dcd67caa172791944d06cb3b6e16637e1ed7d041b32",
	"0cdf48eb1302e730b5449eaa484e7548cbc17a59c1a319c670e089c8295bd3d0",
	"0d061750c2834a97e6e6fb068d2775497ba50bcc8e9b961c92316ddf73bfb10d",
	"996660c628b7b27055412c9b7a83fb88b9a2270b0cd0b55953204c922473a36c",
};

START_TEST(earlier_steps_are_frozen)
{
	char *sql = step_text(_i + 1), hex[SHA256_HEX];
	text t;

	ck_assert_uint_eq(ARRAY_LEN(frozen), STORE_VERSION - 1);
	text_init(&t, 1 << 18);
	squeeze(&t, sql);
	ck_assert_int_eq(sha256_bytes(hex, t.data, t.len, &err), 0);
	ck_assert_str_eq(hex, frozen[_i]);
	text_free(&t);
	free(sql);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("migrate trouble");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, brought_up_is_as_made_anew, 1, STORE_VERSION);
	tcase_add_test(tc, a_newer_version_is_refused);
	tcase_add_loop_test(tc, failing_writes_leave_a_whole_version, 0, 2);
	tcase_add_loop_test(tc, earlier_steps_are_frozen, 0, ARRAY_LEN(frozen));
	suite_add_tcase(suite, tc);
}
SUPPORT_MAIN("migrate_trouble", cases)
