/* The store's file: opening, creating, and refusing what is not one. */
#include "tests/support.h"
#include "tests/support_store.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store_internal.h"

static char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];

static void setup(void)
{
	support_mkdir(folder);
	ck_assert_int_eq(file_join(path, folder, "a.db", NULL), 0);
}

static void make(void)
{
	store *s = NULL;
	error err = { 0 };

	ck_assert_msg(store_open(&s, path, STORE_CREATE, &err) == 0, "%s", err.msg);
	store_close(s);
}

/* Opening gives `code`, a message with `words` and the path, and no store. */
static void refused(unsigned flags, int code, const char *words)
{
	store *s = NULL;
	error err = { 0 };

	ck_assert_int_eq(store_open(&s, path, flags, &err), code);
	ck_assert_ptr_null(s);
	ck_assert_msg(strstr(err.msg, words) && strstr(err.msg, path), "%s", err.msg);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
}

START_TEST(makes_and_opens)
{
	store *s = NULL;
	error err = { 0 };
	int64_t n;

	setup();
	refused(STORE_READ, ERR_NOTFOUND, "there is no store");
	refused(STORE_WRITE, ERR_NOTFOUND, "there is no store");
	ck_assert(!file_exists(path));
	make();
	make(); /* again is fine */
	ck_assert_msg(store_open(&s, path, STORE_READ, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(store_path(s), path);
	ck_assert_int_eq(store_int(&n, s, "PRAGMA user_version", 0, &err), 0);
	ck_assert_int_eq(n, STORE_VERSION);
	ck_assert_int_eq(store_int(&n, s, "PRAGMA application_id", 0, &err), 0);
	ck_assert_int_eq(n, 0x474c5353);
	ck_assert_int_eq(store_int(&n, s, "PRAGMA foreign_keys", 0, &err), 0);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(store_int(&n, s, "PRAGMA page_size", 0, &err), 0);
	ck_assert_int_eq(n, 8192);
	ck_assert_int_lt(store_exec(s, "INSERT INTO meta VALUES ('a', 'b')", &err), 0);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(leaves_one_plain_file)
{
	store *s = NULL, *other = NULL;
	error err = { 0 };
	char wal[FILE_PATH_MAX + 8];
	int64_t n;

	setup();
	make();
	snprintf(wal, sizeof(wal), "%s-wal", path);
	ck_assert_int_eq(store_open(&s, path, STORE_WRITE, &err), 0);
	ck_assert_int_eq(store_exec(s, "INSERT INTO meta VALUES ('a', 'b')", &err), 0);
	ck_assert(file_exists(wal));
	ck_assert_int_eq(store_open(&other, path, STORE_READ, &err), 0); /* a reader beside a writer */
	ck_assert_int_eq(store_int(&n, other, "SELECT count(*) FROM meta", 0, &err), 0);
	ck_assert_int_eq(n, 1);
	store_close(s); /* it cannot leave WAL: the reader is in */
	ck_assert_int_eq(store_int(&n, other, "SELECT count(*) FROM meta", 0, &err), 0);
	store_close(other);
	make();
	ck_assert(!file_exists(wal));
	support_rmdir(folder);
}
END_TEST

START_TEST(full_text_follows_contexts)
{
	store *s = NULL;
	error err = { 0 };
	int64_t n;

	setup();
	ck_assert_int_eq(store_open(&s, path, STORE_CREATE, &err), 0);
	ck_assert_msg(store_exec(s,
	                         "INSERT INTO document VALUES (1, 5, 5, 'label');"
	                         "INSERT INTO context VALUES (9, 1, NULL, 1, x'00000000', 'a gloss', "
	                         "x'0000000007000000')",
	                         &err) == 0,
	              "%s", err.msg);
	ck_assert_int_eq(
	        store_int(&n, s, "SELECT rowid FROM context_fts WHERE context_fts MATCH 'gloss'", 0, &err),
	        0);
	ck_assert_int_eq(n, 9);
	ck_assert_int_eq(store_exec(s, "DELETE FROM document", &err), ERR_ARG); /* still referred to */
	ck_assert_int_eq(store_exec(s, "DELETE FROM context", &err), 0);
	ck_assert_int_eq(
	        store_int(&n, s, "SELECT count(*) FROM context_fts WHERE context_fts MATCH 'gloss'", 0, &err),
	        0);
	ck_assert_int_eq(n, 0);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(refuses_what_is_no_store)
{
	setup();
	support_put_text(path, "feature,label\n1,months\n2,days\nand so on, longer than the hundred bytes of "
	                       "a header of a database file\n");
	refused(STORE_READ, ERR_FORMAT, "is not a Gloss store");
	refused(STORE_CREATE, ERR_FORMAT, "is not a Gloss store");
	support_put_text(path, "");
	refused(STORE_READ, ERR_FORMAT, "it is empty");
	make(); /* an empty file may become one */
	ck_assert_int_eq(unlink(path), 0);
	support_run_sql(path, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
	refused(STORE_READ, ERR_FORMAT, "another program's");
	refused(STORE_CREATE, ERR_FORMAT, "another program's");
	support_run_sql(path, "PRAGMA user_version=1");
	refused(STORE_CREATE, ERR_FORMAT, "another program's");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0777), 0);
	refused(STORE_CREATE, ERR_IO, "it is a folder");
	ck_assert_int_eq(rmdir(path), 0);
	support_rmdir(folder);
	refused(STORE_CREATE, ERR_IO, "cannot open"); /* nor is there a folder to make it in */
}
END_TEST

START_TEST(refuses_a_newer_version)
{
	setup();
	make();
	support_run_sql(path, "PRAGMA user_version=8");
	refused(STORE_READ, ERR_FORMAT, "newer gloss: it has version 8, this one knows up to 7");
	refused(STORE_CREATE, ERR_FORMAT, "newer gloss");
	support_run_sql(path, "PRAGMA user_version=0");
	refused(STORE_READ, ERR_FORMAT, "no version");
	support_rmdir(folder);
}
END_TEST

START_TEST(refuses_a_damaged_file)
{
	char *data = NULL;
	size_t n;

	setup();
	make();
	ck_assert_int_eq(file_read(&data, &n, path, 1 << 24, NULL), 0);
	for (size_t i = 0; i < 16; i++) { /* the magic */
		data[i] ^= 1;
		support_put(path, data, n);
		refused(STORE_READ, ERR_FORMAT, "is not a Gloss store");
		data[i] ^= 1;
	}
	memset(data + 100, 0x5a, 3000); /* the page of the schema */
	support_put(path, data, n);
	refused(STORE_WRITE, ERR_FORMAT, "is corrupt or cut off");
	free(data);
	support_rmdir(folder);
}
END_TEST

START_TEST(reads_where_nothing_may_be_written)
{
	pid_t child;
	int status;

	setup();
	make();
	ck_assert_int_eq(chmod(path, 0444), 0);
	ck_assert_int_eq(chmod(folder, 0555), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) { /* root may write anywhere: be somebody else */
		store *s = NULL;
		error err = { 0 };
		int64_t n = 1;
		int bad = geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0);

		bad |= store_open(&s, path, STORE_READ, &err) < 0 ||
		       store_int(&n, s, "SELECT count(*) FROM source", 1, &err) < 0;
		store_close(s);
		bad |= (n != 0) << 1;
		bad |= (store_open(&s, path, STORE_WRITE, &err) != ERR_IO || !strstr(err.msg, path)) << 2;
		bad |= file_join(path, folder, "b.db", NULL) < 0;
		bad |= (store_open(&s, path, STORE_CREATE, &err) != ERR_IO || !strstr(err.msg, path)) << 3;
		_exit(bad);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	chmod(folder, 0755);
	support_rmdir(folder);
}
END_TEST

/* A program was killed while it wrote, in WAL mode or not, and now nothing may be written there: one line, whether to read or to
 * write; where it may be, the store is as it was before. */
START_TEST(tells_of_journals_where_nothing_may_be_written)
{
	static const char *const modes[] = { "PRAGMA journal_mode=WAL", "PRAGMA journal_mode=DELETE" };
	static const char *const left[] = { "a.db-wal", "a.db-journal" };
	error err = { 0 };
	store *s = NULL;
	int64_t n = 1;
	pid_t child;
	int status;

	setup();
	make();
	child = fork();
	if (child == 0) {
		sqlite3 *db = NULL;

		sqlite3_open(path, &db);
		sqlite3_exec(db, modes[_i], NULL, NULL, NULL);
		sqlite3_exec(db,
		             "PRAGMA cache_size=2; BEGIN; INSERT INTO meta WITH RECURSIVE n(i) AS (VALUES "
		             "(1) UNION ALL SELECT i + 1 "
		             "FROM n LIMIT 3000) SELECT i, hex(randomblob(40)) FROM n",
		             NULL, NULL, NULL);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert(file_exists(support_path(folder, left[_i])));
	unlink(support_path(folder, "a.db-shm"));
	ck_assert_int_eq(chmod(folder, 0555), 0);
	child = fork();
	if (child == 0) { /* root may write anywhere: be somebody else */
		bool bad = geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0);

		for (unsigned flags = STORE_READ; flags <= STORE_WRITE; flags++)
			bad |= store_open(&s, path, flags, &err) != ERR_IO || !strstr(err.msg, path) ||
			       !strstr(err.msg, left[_i]) ||
			       !strstr(err.msg, "a program that was killed left");
		_exit(bad);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	chmod(folder, 0755);
	ck_assert_msg(store_open(&s, path, STORE_READ, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_int(&n, s, "SELECT count(*) FROM meta", 1, &err), 0);
	ck_assert_int_eq(n, 0);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(faults_leave_no_file)
{
	setup();
	for (long n = 0;; n++) {
		store *s = NULL;
		error err = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = store_open(&s, path, STORE_CREATE, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			store_close(s);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(s);
		ck_assert(!file_exists(path));
	}
	support_rmdir(folder);
}
END_TEST

START_TEST(source_by_name)
{
	store *s = NULL;
	store_source src;
	error err = { 0 };
	static const char *const add =
	        "INSERT INTO source (name, architecture, d_in, n_features, k, weights_sha256, dump_sha256, "
	        "n_tokens, n_left_out,"
	        " n_contexts, n_firings, corpus, config, argv, version, created) VALUES"
	        " ('%s', 'topk', 4, 8, 2, 'w', 'd', 100, 3, 10, 200, 1, '{}', '[]', '0', 't')";
	char sql[600];

	setup();
	ck_assert_int_eq(store_open(&s, path, STORE_CREATE, &err), 0);
	ck_assert_int_eq(store_source_get(&src, s, NULL, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "no indexed SAE"));
	snprintf(sql, sizeof(sql), add, "one");
	ck_assert_int_eq(store_exec(s, sql, &err), 0);
	ck_assert_int_eq(store_source_get(&src, s, NULL, &err), 0);
	ck_assert_str_eq(src.name, "one");
	ck_assert_ptr_null(src.model);
	ck_assert_uint_eq(src.n_features, 8);
	ck_assert_uint_eq(src.n_left_out, 3);
	ck_assert_uint_eq(src.n_firings, 200);
	ck_assert(src.corpus);
	snprintf(sql, sizeof(sql), add, "two");
	ck_assert_int_eq(store_exec(s, sql, &err), 0);
	ck_assert_int_eq(store_source_get(&src, s, NULL, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "'one', 'two'"));
	ck_assert_int_eq(store_source_get(&src, s, "two", &err), 0);
	ck_assert_int_eq(src.id, 2);
	ck_assert_int_eq(store_source_get(&src, s, "three", &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "'three', but 'one', 'two'"));
	store_close(s);
	support_rmdir(folder);
}
END_TEST

static void cases(Suite *s)
{
	TCase *tc =
	        SUPPORT_CASE(s, "file", makes_and_opens, leaves_one_plain_file, full_text_follows_contexts,
	                     refuses_what_is_no_store, refuses_a_newer_version, refuses_a_damaged_file,
	                     reads_where_nothing_may_be_written, faults_leave_no_file, source_by_name);

	tcase_add_loop_test(tc, tells_of_journals_where_nothing_may_be_written, 0, 2);
}
SUPPORT_MAIN("store", cases)
