/* gloss pack: a copy that is whole or not there, of all of a store or a part. */
#include "store/beside.h"
#include "tests/support_index.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char packed[FILE_PATH_MAX];

/* So few examples that they do not need all contexts. */
static store_index_opts options(const char *name, bool corpus)
{
	store_index_opts o = corpus_options(name);

	o.n_top = 1;
	o.n_samples = 1;
	o.n_random = 3;
	o.corpus = corpus;
	return o;
}

static void setup(void)
{
	store_index_opts o = options("a", true);
	store *s;

	corpus_setup();
	OK(file_join(packed, corpus_folder, "packed.db", &corpus_err));
	s = corpus_open();
	OK(corpus_index(s, &o, 60, 0));
	o = options("b", false);
	OK(corpus_index(s, &o, 30, 0));
	store_close(s);
}

static void digest(char hex[SHA256_HEX], const char *path)
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_READ, &corpus_err));
	corpus_digest(hex, s);
	store_close(s);
}

START_TEST(the_whole)
{
	char before[SHA256_HEX], after[SHA256_HEX];
	store_pack_opts o = { 0 };
	store_pack_result r = { 0 }, second = { 0 };
	unsigned char header[100];
	struct stat st;
	store *writer = NULL, *s = NULL;
	int fd;

	setup();
	OK(store_pack(&r, corpus_path, packed, &o, &corpus_err));
	digest(before, corpus_path);
	digest(after, packed);
	ck_assert_str_eq(before, after);
	OK(sha256_file(after, packed, &corpus_err));
	ck_assert_str_eq(after, r.sha256);
	ck_assert_int_eq(stat(packed, &st), 0);
	ck_assert_uint_eq(r.bytes, (uint64_t)st.st_size);
	ck_assert_uint_ge(r.bytes_before, r.bytes);
	ck_assert_uint_eq(r.n_contexts + r.n_firings + r.n_vectors, 0);
	fd = open(packed, O_RDONLY);
	ck_assert_int_eq(read(fd, header, 100), 100);
	close(fd);
	ck_assert(header[18] == 1 && header[19] == 1); /* not WAL */
	OK(store_open(&s, packed, STORE_WRITE, &corpus_err));
	corpus_check(s);
	store_close(s);

	/* while another process has the store open to write; over a file that is there, which stays private */
	ck_assert_int_eq(store_pack(&second, corpus_path, packed, &o, &corpus_err), ERR_EXISTS);
	ck_assert_int_eq(chmod(packed, 0600), 0);
	OK(store_open(&writer, corpus_path, STORE_WRITE, &corpus_err));
	OK(store_exec(writer, "INSERT INTO meta VALUES ('a', 'b')", &corpus_err));
	OK(store_exec(writer, "DELETE FROM meta", &corpus_err));
	o.force = true;
	OK(store_pack(&second, corpus_path, packed, &o, &corpus_err));
	ck_assert_str_eq(r.sha256, second.sha256);
	store_close(writer);
	ck_assert_int_eq(stat(packed, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(support_entries(corpus_folder), 2);
	support_rmdir(corpus_folder);
}
END_TEST

/* Without the corpus it is what an index without it is. */
START_TEST(parts)
{
	/* In the indexes of words. */
	static const char *const words =
	        "SELECT count(*) FROM context_fts_data WHERE instr(block, CAST('zyzx' AS BLOB))";
	static const char *const trigrams =
	        "SELECT count(*) FROM context_trigram_data WHERE instr(block, CAST('zyz' AS "
	        "BLOB))";
	char want[SHA256_HEX], got[SHA256_HEX];
	store_pack_opts o = { .without_corpus = true };
	store_pack_result r = { 0 };
	store_index_opts plain = options("a", false);
	store *s;

	setup();
	s = corpus_open();
	OK(store_exec(s,
	              "CREATE TEMP TABLE gone AS SELECT context_id AS id FROM firing WHERE NOT sampled AND "
	              "context_id NOT IN (SELECT context_id FROM example UNION SELECT context_id FROM "
	              "source_context WHERE source_id = 2) LIMIT 1;"
	              "INSERT INTO context_fts(rowid, text) SELECT id, 'zzyzx' FROM gone;"
	              "INSERT INTO context_trigram(rowid, text) SELECT id, 'zzyzx' FROM gone",
	              &corpus_err));
	ck_assert_int_gt(corpus_number(s, words), 0);
	ck_assert_int_gt(corpus_number(s, trigrams), 0);
	store_close(s);
	OK(store_pack(&r, corpus_path, packed, &o, &corpus_err));
	digest(got, packed);
	ck_assert_uint_gt(r.n_firings, 0);
	ck_assert_uint_gt(r.n_contexts, 0);
	ck_assert_uint_eq(r.n_vectors, 0);
	OK(store_open(&s, packed, STORE_WRITE, &corpus_err));
	corpus_check(s);
	ck_assert_int_eq(corpus_number(s, words), 0);
	ck_assert_int_eq(corpus_number(s, trigrams), 0);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM context_fts_docsize"),
	                 corpus_number(s, "SELECT count(*) FROM context"));
	ck_assert_int_eq(
	        corpus_number(s, "SELECT count(*) FROM context_trigram_docsize"),
	        corpus_number(s,
	                      "SELECT count(*) FROM context WHERE text GLOB (SELECT pattern FROM unspaced)"));
	store_close(s);
	ck_assert_int_eq(unlink(corpus_path), 0);
	s = corpus_open();
	OK(corpus_index(s, &plain, 60, 0));
	plain.source = "b";
	OK(corpus_index(s, &plain, 30, 0));
	corpus_digest(want, s);
	store_close(s);
	ck_assert_str_eq(want, got);

	ck_assert_int_eq(unlink(packed), 0);
	o = (store_pack_opts){ .without_vectors = true };
	OK(store_pack(&r, corpus_path, packed, &o, &corpus_err));
	ck_assert_uint_eq(r.n_vectors, 2 * FEATURES);
	OK(store_open(&s, packed, STORE_READ, &corpus_err));
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM vector"), 0);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM feature"), 2 * FEATURES);
	store_close(s);
	ck_assert_int_eq(support_entries(corpus_folder), 2);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- What goes wrong ---- */

static void refused(const char *from, const char *to, bool force, int code, const char *words)
{
	store_pack_opts o = { .force = force };
	store_pack_result r = { 0 };
	int n = support_entries(corpus_folder);

	ck_assert_int_eq(store_pack(&r, from, to, &o, &corpus_err), code);
	ck_assert_msg(strstr(corpus_err.msg, words) != NULL, "%s", corpus_err.msg);
	ck_assert_int_eq(support_entries(corpus_folder), n);
}

START_TEST(refusals)
{
	char part[FILE_PATH_MAX + 8], link_name[FILE_PATH_MAX];
	int fd = -1;

	setup();
	OK(file_join(link_name, corpus_folder, "link.db", &corpus_err));
	snprintf(part, sizeof(part), "%s.part", packed);
	refused(support_path(corpus_folder, "none.db"), packed, false, ERR_NOTFOUND, "there is no store");
	refused(corpus_path, corpus_path, true, ERR_ARG, "cannot be the output too");
	ck_assert_int_eq(symlink(corpus_path, link_name), 0);
	refused(link_name, corpus_path, true, ERR_ARG, "cannot be the output too");
	ck_assert_int_eq(link(corpus_path, part), 0);
	refused(part, packed, false, ERR_ARG, "while it is made");
	ck_assert_int_eq(unlink(part), 0);
	refused(corpus_path, support_path(corpus_folder, "no/folder.db"), false, ERR_IO, "cannot write");
	refused(corpus_path, corpus_folder, true, ERR_IO, "not a regular file");
	support_put_text(packed, "old");
	support_put_text(support_path(corpus_folder, "packed.db-wal"), "");
	refused(corpus_path, packed, true, ERR_BUSY, "is in use");
	ck_assert_int_eq(unlink(support_path(corpus_folder, "packed.db-wal")), 0);
	OK(beside_lock(&fd, part, packed, &corpus_err));
	refused(corpus_path, packed, true, ERR_BUSY, "another run");
	close(fd);
	support_rmdir(corpus_folder);
}
END_TEST

/* File systems that are full, or may not be written to: only root may mount them. */
START_TEST(other_disks)
{
	char dir[FILE_PATH_MAX], to[FILE_PATH_MAX];
	store_pack_opts o = { 0 };
	store_pack_result r = { 0 };

	setup();
	support_mkdir(dir);
	OK(file_join(to, dir, "a.db", &corpus_err));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") == 0) {
		ck_assert_int_eq(store_pack(&r, corpus_path, to, &o, &corpus_err), ERR_LIMIT);
		ck_assert_msg(strstr(corpus_err.msg, "no room for") != NULL, "%s", corpus_err.msg);
		ck_assert(!file_exists(to) && !file_exists(support_path(dir, "a.db.part")));
		ck_assert_int_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
		ck_assert_int_eq(store_pack(&r, corpus_path, to, &o, &corpus_err), ERR_IO);
		ck_assert_msg(strstr(corpus_err.msg, "Read-only") != NULL, "%s", corpus_err.msg);
		ck_assert_int_eq(umount(dir), 0);
	}
	support_rmdir(dir);
	support_rmdir(corpus_folder);
}
END_TEST

/* The nth write or sync fails, for all n: then nothing is there, nor what was there is another. */
START_TEST(faults_leave_nothing)
{
	static const fault_kind kinds[] = { FAULT_WRITE, FAULT_SYNC, FAULT_READ };
	store_pack_opts o = { .without_corpus = _i & 1, .force = true };
	store_pack_result r = { 0 };
	char *old = NULL;
	size_t n = 0;

	setup();
	support_put_text(packed, "old");
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (long nth = 0;; nth++) {
			int rc;

			fault_arm(kinds[k], nth);
			rc = store_pack(&r, corpus_path, packed, &o, &corpus_err);
			if (!fault_disarm(kinds[k])) {
				OK(rc);
				break;
			}
			ck_assert_int_lt(rc, 0);
			ck_assert_int_eq(support_entries(corpus_folder), 2);
		}
		support_put_text(packed, "old");
	}
	OK(file_read(&old, &n, packed, 100, &corpus_err));
	ck_assert_str_eq(old, "old");
	free(old);
	support_rmdir(corpus_folder);
}
END_TEST

static pid_t pack_in_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		store_pack_opts o = { .without_corpus = true, .force = true };
		store_pack_result r = { 0 };

		_exit(store_pack(&r, corpus_path, packed, &o, &corpus_err) != 0);
	}
	return child;
}

/* Killed anywhere: the file that was there is there, or the new one is, whole; and the next run goes through what was left. */
START_TEST(kills_leave_nothing_half)
{
	enum { KILLS = 30 };
	char before[SHA256_HEX], after[SHA256_HEX], old[SHA256_HEX], new[SHA256_HEX], got[SHA256_HEX];
	uint64_t seed = (uint64_t)(clock_now() * 1e9);
	store_pack_opts o = { .force = true };
	store_pack_result r = { 0 };
	double span;
	int killed = 0;
	bool hit;

	setup();
	OK(sha256_file(before, corpus_path, &corpus_err));
	span = clock_now();
	ck_assert(!support_kill(pack_in_child(), HUGE_VAL));
	span = clock_now() - span;
	OK(sha256_file(new, packed, &corpus_err));
	OK(store_pack(&r, corpus_path, packed, &o, &corpus_err));
	OK(sha256_file(old, packed, &corpus_err));
	ck_assert_str_ne(old, new);
	for (uint64_t i = 0; killed < KILLS; i++) {
		OK(store_pack(&r, corpus_path, packed, &o, &corpus_err));
		hit = support_kill(pack_in_child(), span * hash64_unit(hash64_mix(seed, i)));
		killed += hit;
		span *= hit ? 1.02 : 0.9; /* a busy machine is not as fast twice */
		OK(sha256_file(got, packed, &corpus_err));
		ck_assert_msg(strcmp(got, old) == 0 || strcmp(got, new) == 0, "seed %llu, kill %llu",
		              (unsigned long long)seed, (unsigned long long)i);
		ck_assert_int_lt(i, 4 * KILLS);
	}
	OK(store_pack(&r, corpus_path, packed, &o, &corpus_err));
	ck_assert_int_eq(support_entries(corpus_folder), 2);
	OK(sha256_file(after, corpus_path, &corpus_err));
	ck_assert_str_eq(before, after);
	support_rmdir(corpus_folder);
}
END_TEST

static bool stop_at(void *payload)
{
	long *left = payload;

	return (*left)-- <= 0;
}

START_TEST(stops_when_asked)
{
	store_pack_result r = { 0 };
	long left = 0, times = 0;
	store_pack_opts o = { .without_corpus = true, .stop = { stop_at, &left } };
	int rc;

	setup();
	for (;; times++) {
		left = times;
		rc = store_pack(&r, corpus_path, packed, &o, &corpus_err);
		if (rc == 0)
			break;
		ck_assert_int_eq(rc, ERR_STOPPED);
		ck_assert_int_eq(support_entries(corpus_folder), 1);
	}
	ck_assert_int_gt(times, 3);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(damage_is_told)
{
	store_pack_opts o = { 0 };
	store_pack_result r = { 0 };
	sqlite3 *db = NULL;

	setup();
	ck_assert_int_eq(sqlite3_open(corpus_path, &db), SQLITE_OK); /* a store's own connection refuses */
	ck_assert_int_eq(
	        sqlite3_exec(db,
	                     "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET rootpage = (SELECT "
	                     "rootpage FROM sqlite_schema WHERE name = 'source_context') WHERE name = "
	                     "'source_context_by_context'",
	                     NULL, NULL, NULL),
	        SQLITE_OK);
	sqlite3_close(db);
	ck_assert_int_eq(store_pack(&r, corpus_path, packed, &o, &corpus_err), ERR_FORMAT);
	ck_assert_msg(strstr(corpus_err.msg, corpus_path) != NULL, "%s", corpus_err.msg);
	ck_assert_int_eq(support_entries(corpus_folder), 1);
	support_rmdir(corpus_folder);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "copies", the_whole, parts);
	SUPPORT_CASE(s, "refusals", refusals, other_disks, kills_leave_nothing_half, stops_when_asked,
	             damage_is_told);
	TCase *faults = tcase_create("faults");

	tcase_set_timeout(faults, 60);
	tcase_add_loop_test(faults, faults_leave_nothing, 0, 2);
	suite_add_tcase(s, faults);
}
SUPPORT_MAIN("pack", cases)
