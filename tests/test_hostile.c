/* Files that are not what they seem: corrupt in any place, with a schema that means harm, on a network file system. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
static error err;

static char shared[FILE_PATH_MAX];
static char *whole; /* the bytes of a small store */
static size_t whole_size;

static void prepare(void)
{
	static const char *const names[] = { "small", NULL };

	support_mkdir(shared);
	small_store_make(support_path(shared, "whole.db"), names);
	ck_assert_int_eq(file_read(&whole, &whole_size, support_path(shared, "whole.db"), 1 << 24, &err), 0);
}

static void finish(void)
{
	free(whole);
	support_rmdir(shared);
}

/* A copy of it that this test may spoil. */
static void setup(void)
{
	err = (error){ 0 };
	support_mkdir(folder);
	ck_assert_int_eq(file_join(path, folder, "a.db", &err), 0);
	support_put(path, whole, whole_size);
}

static void teardown(void)
{
	unsetenv("GLOSS_MOUNTINFO");
	support_rmdir(folder);
}

/* ---- Corrupt --------------------------------------------------------------------------------------------------- */

/* An answer or one line of error that names the file. */
static void either(int rc, cJSON *answer)
{
	if (rc < 0) {
		ck_assert_ptr_null(answer);
		ck_assert_msg(rc != ERR_NOMEM, "%s", err.msg);
		ck_assert_msg(err.msg[0] && (strstr(err.msg, path) || rc == ERR_ARG || rc == ERR_NOTFOUND ||
		                             rc == ERR_LIMIT),
		              "%d %s", rc, err.msg);
	}
	cJSON_Delete(answer);
	err = (error){ 0 };
}

#define EITHER(call)                                                                                         \
	do {                                                                                                 \
		cJSON *out_ = NULL;                                                                          \
		cJSON **out = &out_;                                                                         \
		int rc_ = (call);                                                                            \
		either(rc_, out_);                                                                           \
	} while (0)

static void ask_everything(store *s)
{
	static const char *const views[] = { "feature_list",  "feature_histogram", "feature_interval",
		                             "feature_logit", "example_text",      "example_token",
		                             "np_neuron",     "np_activation",     "label_score" };
	store_features_opts f = { .where = "density > 0.01", .sort = "-score", .limit = 20 };
	store_regex_opts r = { .pattern = "cat|dog", .limit = 5 };
	char sql[100];

	EITHER(store_features(out, s, &f, &err));
	EITHER(store_show(out, s, NULL, SMALL_ON_CAT, 20, (store_intervals)0, &err));
	EITHER(store_show_context(out, s, NULL, small_context_id(1), 3, 9, &err));
	EITHER(store_find_regex(out, s, &r, &err));
	EITHER(store_find_text(out, s, NULL, "cat", 5, &err));
	EITHER(store_labels(out, s, NULL, SMALL_ON_CAT, &err));
	EITHER(store_notes(out, s, NULL, SMALL_ON_CAT, &err));
	EITHER(store_lists(out, s, &err));
	for (size_t i = 0; i < ARRAY_LEN(views); i++) {
		snprintf(sql, sizeof(sql), "SELECT * FROM %s", views[i]);
		EITHER(store_sql(out, s, sql, 100, 5, &err));
	}
}

static void write_something(store *s)
{
	uint64_t n;
	int rc = store_note_add(s, NULL, SMALL_ON_CAT, "a note", &err);

	either(rc, NULL);
	rc = store_list_add(&n, s, "mine", NULL, (const uint32_t[]){ 1, 2 }, 2, &err);
	either(rc, NULL);
}

/* What is done to the bytes of a file. */
static size_t spoil(unsigned char *bytes, size_t n, uint64_t seed)
{
	uint64_t h = hash64_mix(77, seed);
	size_t page = 4096, at = (size_t)hash64_below(hash64_mix(h, 1), n / page) * page;

	switch (seed % 4) {
	case 0: /* a page of noise */
		for (size_t i = at; i < at + page; i++)
			bytes[i] = (unsigned char)hash64_mix(h, i);
		return n;
	case 1: /* a page of zeros */
		memset(bytes + at, 0, page);
		return n;
	case 2: /* some bytes anywhere behind the header */
		for (uint64_t i = 0; i < 40; i++)
			bytes[100 + hash64_below(hash64_mix(h, 2 * i), n - 100)] =
			        (unsigned char)hash64_mix(h, 2 * i + 1);
		return n;
	default: /* cut off */
		return 100 + (size_t)hash64_below(h, n - 100);
	}
}

enum { SEEDS = 8 };

START_TEST(spoilt_files_are_errors)
{
	int opened = 0, refused = 0;

	for (uint64_t seed = (uint64_t)_i * SEEDS; seed < (uint64_t)(_i + 1) * SEEDS; seed++) {
		unsigned char *bytes = malloc(whole_size);
		store *s = NULL;
		int rc;

		memcpy(bytes, whole, whole_size);
		support_put(path, bytes, spoil(bytes, whole_size, seed));
		free(bytes);
		rc = store_open(&s, path, STORE_READ, &err);
		if (rc == 0)
			ask_everything(s);
		else
			either(rc, NULL);
		opened += rc == 0;
		refused += rc < 0;
		store_close(s);
		s = NULL;
		rc = store_open(&s, path, STORE_WRITE, &err);
		if (rc == 0)
			write_something(s);
		else
			either(rc, NULL);
		store_close(s);
	}
	ck_assert_int_gt(opened, 0);
	ck_assert_int_gt(refused, 0);
}
END_TEST

/* ---- Schema ---------------------------------------------------------------------------------------------------- */

START_TEST(schema_of_a_store_is_known)
{
	store *s = NULL;

	ck_assert_msg(store_open(&s, path, STORE_WRITE, &err) == 0, "%s", err.msg);
	store_close(s);
	support_run_sql(path,
	                "CREATE VIEW mine AS SELECT 1; CREATE TABLE other(x); CREATE INDEX i ON other(x)");
	ck_assert_msg(store_open(&s, path, STORE_WRITE, &err) == 0, "%s", err.msg);
	store_close(s);
}
END_TEST

START_TEST(a_view_in_place_of_a_table_is_refused)
{
	store *s = NULL;

	support_run_sql(
	        path,
	        "ALTER TABLE meta RENAME TO meta_2; CREATE VIEW meta AS"
	        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS key, i AS "
	        "value FROM n");
	ck_assert_int_eq(store_open(&s, path, STORE_READ, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "'meta' is a view"));
	ck_assert_int_eq(store_open(&s, path, STORE_WRITE, &err), ERR_FORMAT);
	ck_assert_ptr_null(s);
}
END_TEST

START_TEST(a_strange_trigger_does_not_run)
{
	store *s = NULL;

	support_run_sql(path, "CREATE TRIGGER bad AFTER INSERT ON note BEGIN DELETE FROM explanation; END");
	ck_assert_int_eq(store_open(&s, path, STORE_WRITE, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "trigger 'bad'"));
	ck_assert_msg(store_open(&s, path, STORE_READ, &err) == 0, "%s", err.msg);
	store_close(s);
	s = NULL;
	support_run_sql(
	        path,
	        "DROP TRIGGER bad; DROP TRIGGER current_label_score; CREATE TRIGGER current_label_score "
	        "AFTER INSERT ON"
	        " score BEGIN DELETE FROM explanation; END");
	ck_assert_int_eq(store_open(&s, path, STORE_WRITE, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "trigger 'current_label_score'"));
}
END_TEST

/* Views of a stranger's call no function that is more than arithmetic; those that are ours are not trusted beside them. */
static const char *const calls[] = { "fts5_source_id()", "load_extension('x')", "fts3_tokenizer('simple')",
	                             "readfile('/etc/passwd')" };

START_TEST(strange_views_call_nothing)
{
	char sql[300];
	cJSON *out = NULL;
	store *s = NULL;
	int rc;

	snprintf(sql, sizeof(sql), "DROP VIEW label_score; CREATE VIEW label_score AS SELECT %s AS x",
	         _i == 3 ? "1" : calls[_i]);
	support_run_sql(path, sql);
	ck_assert_msg(store_open(&s, path, STORE_READ, &err) == 0, "%s", err.msg);
	rc = store_sql(&out, s, _i == 3 ? "SELECT readfile('/etc/passwd')" : "SELECT * FROM label_score", 1,
	               1, &err);
	ck_assert_int_lt(rc, 0);
	ck_assert_ptr_null(out);
	store_close(s);
}
END_TEST

/* ---- SQL of the user's ------------------------------------------------------------------------------------------ */

static const char *const forbidden[] = {
	"INSERT INTO note VALUES (9, 1, 1, 'x', 'x')",
	"WITH x AS (SELECT 1) INSERT INTO note SELECT 9, 1, 1, 'x', 'x'",
	"REPLACE INTO meta VALUES ('a', 'b')",
	"UPDATE feature SET density = 1",
	"DELETE FROM explanation RETURNING id",
	"INSERT INTO context_fts(context_fts) VALUES ('delete-all')",
	"UPDATE sqlite_master SET sql = '' WHERE name = 'feature'",
	"INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 0, '')",
	"DELETE FROM context_fts_data",
	"CREATE TEMP TABLE t(x)",
	"CREATE VIEW v AS SELECT 1",
	"CREATE VIRTUAL TABLE temp.t USING fts5(x)",
	"DROP TABLE feature",
	"ALTER TABLE feature ADD COLUMN x",
	"ATTACH '/tmp/gloss-escape.db' AS x",
	"ATTACH ':memory:' AS x",
	"DETACH main",
	"VACUUM",
	"VACUUM INTO '/tmp/gloss-escape.db'",
	"REINDEX",
	"ANALYZE",
	"BEGIN",
	"SAVEPOINT x",
	"PRAGMA writable_schema = ON",
	"PRAGMA journal_mode = DELETE",
	"PRAGMA journal_mode",
	"PRAGMA trusted_schema = ON",
	"PRAGMA temp_store_directory = '/tmp'",
	"PRAGMA data_store_directory",
	"PRAGMA foreign_keys = OFF",
	"PRAGMA user_version = 1",
	"PRAGMA application_id(1)",
	"PRAGMA wal_checkpoint",
	"PRAGMA optimize",
	"PRAGMA incremental_vacuum",
	"PRAGMA hexkey = 'a'",
	"PRAGMA query_only = OFF",
	"PRAGMA mmap_size = 1",
	"SELECT load_extension('x')",
	"SELECT fts3_tokenizer('simple')",
	"SELECT fts3_tokenizer('x', x'00')",
	"SELECT readfile('/etc/passwd')",
	"SELECT writefile('/tmp/gloss-escape', 'x')",
	"SELECT edit('x')",
	"SELECT * FROM pragma_journal_mode",
	"SELECT * FROM fsdir('/')",
	"EXPLAIN DELETE FROM feature",
};

START_TEST(sql_only_reads)
{
	store *s = NULL;
	char before[SHA256_HEX], after[SHA256_HEX];

	ck_assert_int_eq(sha256_file(before, path, &err), 0);
	for (unsigned flags = STORE_READ; flags <= STORE_WRITE; flags++) {
		ck_assert_msg(store_open(&s, path, flags, &err) == 0, "%s", err.msg);
		for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
			cJSON *out = NULL;
			int rc = store_sql(&out, s, forbidden[i], 10, 5, &err);

			ck_assert_msg(rc < 0, "%s", forbidden[i]);
			ck_assert_ptr_null(out);
			ck_assert(err.msg[0]);
		}
		store_close(s);
		if (flags == STORE_READ) {
			ck_assert_int_eq(sha256_file(after, path, &err), 0);
			ck_assert_str_eq(before, after);
		}
	}
	ck_assert(!file_exists("/tmp/gloss-escape.db") && !file_exists("/tmp/gloss-escape"));
	ck_assert_int_eq(store_open(&s, path, STORE_READ, &err), 0);
	ask_everything(s);
	store_close(s);
}
END_TEST

/* Whatever it computes, SQL ends soon after its limit, and no value grows past 64 MB. */
static const char *const runaway[] = {
	"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
	"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY -i",
	"WITH RECURSIVE n(i) AS (VALUES ('x') UNION ALL SELECT i || i FROM n) SELECT max(length(i)) FROM n",
	"SELECT zeroblob(2000000000)",
	"SELECT randomblob(1000000000)",
	"SELECT hex(zeroblob(60000000))",
	"SELECT replace(hex(zeroblob(30000000)), '0', 'xxxxxxxxxxxxxxxxx')",
	"SELECT group_concat(hex(zeroblob(1000000))) FROM example_token",
	"SELECT json_group_array(text) FROM context a, context b, context c, context d, context e, context f",
	"SELECT count(*) FROM example_token a, example_token b, example_token c",
	"SELECT quote(zeroblob(40000000))",
	"SELECT x || x FROM (SELECT hex(zeroblob(20000000)) AS x)",
	"SELECT 'a' LIKE hex(zeroblob(2000))",
	"SELECT 'a' GLOB hex(zeroblob(2000))",
	"SELECT sum(length(hex(zeroblob(1000000)))) FROM example_token a, example_token b",
	"WITH RECURSIVE n(i) AS (VALUES (1) UNION SELECT i + 1 FROM n) SELECT count(DISTINCT i) FROM n",
	"SELECT json_group_object(a.text || b.text, c.text) FROM vocab a, vocab b, vocab c, vocab d, vocab "
	"e, vocab f, vocab g",
	"SELECT zeroblob(60000000) || 1, zeroblob(60000000) || 2, zeroblob(60000000) || 3, "
	"zeroblob(60000000) || 4, "
	"zeroblob(60000000) || 5, zeroblob(60000000) || 6, zeroblob(60000000) || 7, zeroblob(60000000) || 8, "
	"zeroblob(60000000) || 9, zeroblob(60000000) || 10, zeroblob(60000000) || 11, zeroblob(60000000) || "
	"12, "
	"zeroblob(60000000) || 13, zeroblob(60000000) || 14, zeroblob(60000000) || 15, zeroblob(60000000) || "
	"16, "
	"zeroblob(60000000) || 17, zeroblob(60000000) || 18, zeroblob(60000000) || 19",
};

START_TEST(runaway_sql_stops)
{
	cJSON *out = NULL;
	store *s = NULL;
	double start = clock_now();
	int rc;

	ck_assert_int_eq(store_open(&s, path, STORE_READ, &err), 0);
	rc = store_sql(&out, s, runaway[_i], 10, 0.1, &err);
	ck_assert_msg(rc == ERR_LIMIT || rc == ERR_ARG || rc == ERR_NOMEM, "%d %s: %s", rc, err.msg,
	              runaway[_i]);
	ck_assert_double_lt(clock_now() - start, 5);
	store_close(s);
}
END_TEST

/* ---- Network file systems ---------------------------------------------------------------------------------------- */

static void mount_as(const char *type, const char *options)
{
	char line[200];

	snprintf(line, sizeof(line), "1 0 0:1 / / rw,relatime shared:1 - %s server:/x rw,%s\n", type,
	         options);
	support_put_text(support_path(folder, "mounts"), line);
	setenv("GLOSS_MOUNTINFO", support_path(folder, "mounts"), 1);
}

static const struct {
	const char *mounts, *path;
	file_mount want;
} mounts[] = {
	{ "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n", "/", { "ext4", false, true } },
	{ "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /proc rw - nfs4 host:/ rw,vers=4.2\n",
	  "/proc/self",
	  { "nfs4", true, true } },
	{ "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /pro rw - nfs4 host:/ rw\n",
	  "/proc/self",
	  { "ext4", false, true } },
	{ "2 1 0:5 / / rw - nfs host:/ rw,nolock,vers=3\n", "/proc", { "nfs", true, false } },
	{ "2 1 0:5 / / rw master:1 - nfs host:/ rw,local_lock=posix\n", "/proc", { "nfs", true, false } },
	{ "2 1 0:5 / / rw - nfs host:/ rw,local_lock=none\n", "/proc", { "nfs", true, true } },
	{ "2 1 0:5 / / rw - cifs //host/x rw,nobrl\n", "/proc", { "cifs", true, false } },
	{ "2 1 0:5 / / rw - fuse.sshfs host: rw\n", "/proc", { "fuse.sshfs", true, false } },
	{ "2 1 0:5 / / rw - fuse.glusterfs host: rw\n", "/proc", { "fuse.glusterfs", true, true } },
	{ "2 1 0:5 / / rw - fuseblk /dev/sda1 rw\n", "/proc", { "fuseblk", false, true } },
	{ "2 1 0:5 / / rw - 9p host: rw\n", "/proc/nothing", { "9p", true, true } },
	{ "2 1 0:5 / / rw - nfs4 a rw\n3 1 8:2 / / rw - tmpfs b rw\n", "/proc", { "tmpfs", false, true } },
	{ "1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /p\\162oc rw - smb3 host: rw\n",
	  "/proc",
	  { "smb3", true, true } },
	{ "1 0 8:1\nbanana\n - \n2 1 0:5 / / rw -\n", "/proc", { "", false, true } },
	{ "", "/proc", { "", false, true } },
};

START_TEST(mounts_are_told_apart)
{
	file_mount m;

	support_put_text(support_path(folder, "mounts"), mounts[_i].mounts);
	setenv("GLOSS_MOUNTINFO", support_path(folder, "mounts"), 1);
	file_mount_get(&m, mounts[_i].path);
	ck_assert_str_eq(m.type, mounts[_i].want.type);
	ck_assert_int_eq(m.remote, mounts[_i].want.remote);
	ck_assert_int_eq(m.locks, mounts[_i].want.locks);
}
END_TEST

static const char *journal_mode(store *s)
{
	static char mode[20];
	sqlite3_stmt *st = NULL;
	bool row;

	ck_assert_int_eq(store_prepare(&st, s, "PRAGMA journal_mode", &err), 0);
	ck_assert_int_eq(store_step(s, st, &row, &err), 0);
	snprintf(mode, sizeof(mode), "%s", (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return mode;
}

START_TEST(no_shared_memory_on_a_network)
{
	store *s = NULL, *other = NULL;
	char journal[FILE_PATH_MAX + 8];

	mount_as("nfs4", "vers=4.2");
	ck_assert_msg(store_open(&s, path, STORE_WRITE, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(journal_mode(s), "delete");
	ck_assert_msg(store_note_add(s, NULL, 1, "from here", &err) == 0, "%s", err.msg);
	ck_assert_msg(store_open(&other, path, STORE_READ, &err) == 0, "%s", err.msg);
	store_close(other);
	other = NULL;
	snprintf(journal, sizeof(journal), "%s-shm", path);
	ck_assert(!file_exists(journal));
	store_close(s);
	/* where nobody's locks are seen, only reading */
	s = NULL;
	mount_as("nfs", "nolock");
	ck_assert_int_eq(store_open(&s, path, STORE_WRITE, &err), ERR_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "network file system (nfs)"));
	ck_assert_msg(store_open(&s, path, STORE_READ, &err) == 0, "%s", err.msg);
	store_close(s);
	s = NULL;
	ck_assert_int_eq(store_open(&s, support_path(folder, "new.db"), STORE_CREATE, &err), ERR_IO);
	ck_assert(!file_exists(support_path(folder, "new.db")));
}
END_TEST

/* What another program left in WAL mode is not read there, until a writer has turned it back alone. */
START_TEST(wal_mode_ends_on_a_network)
{
	store *s = NULL;
	char shm[FILE_PATH_MAX + 8];

	support_run_sql(path, "PRAGMA journal_mode = WAL; INSERT INTO note VALUES (77, 1, 1, 'kept', '')");
	snprintf(shm, sizeof(shm), "%s-shm", path);
	mount_as("nfs4", "vers=4.2");
	ck_assert_int_eq(store_open(&s, path, STORE_READ, &err), ERR_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "WAL mode"));
	ck_assert_ptr_null(s);
	ck_assert_msg(store_open(&s, path, STORE_WRITE, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(journal_mode(s), "delete");
	ck_assert(!file_exists(shm));
	store_close(s);
	s = NULL;
	ck_assert_msg(store_open(&s, path, STORE_READ, &err) == 0, "%s", err.msg);
	store_close(s);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = SUPPORT_CASE(suite, "hostile", schema_of_a_store_is_known,
	                         a_view_in_place_of_a_table_is_refused, a_strange_trigger_does_not_run,
	                         sql_only_reads, no_shared_memory_on_a_network, wal_mode_ends_on_a_network);

	tcase_add_unchecked_fixture(tc, prepare, finish);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, spoilt_files_are_errors, 0, 4);
	tcase_add_loop_test(tc, strange_views_call_nothing, 0, ARRAY_LEN(calls));
	tcase_add_loop_test(tc, runaway_sql_stops, 0, ARRAY_LEN(runaway));
	tcase_add_loop_test(tc, mounts_are_told_apart, 0, ARRAY_LEN(mounts));
}
SUPPORT_MAIN("hostile", cases)
