/* gloss merge: stores that cannot be joined, damaged stores, stops, faults, full disks. Then all is as it was. */
#include "store/beside.h"
#include "tests/support_merge.h"

#include <math.h>
#include <sys/mount.h>
#include <unistd.h>

static bool first_half(uint32_t i)
{
	return i < 33; /* 34 is a copy of 31 */
}

static store *open_merged(void)
{
	store *s = NULL;

	OK(store_open(&s, merge_out, STORE_READ, &corpus_err));
	return s;
}

/* ---- What cannot be joined ---- */

static void refused(int code, const char *words)
{
	const char *paths[] = { corpus_path, merge_b };
	char before[SHA256_HEX], after[SHA256_HEX];
	int n = merge_entries();

	OK(sha256_file(before, merge_b, &corpus_err));
	ck_assert_int_eq(merge_try(merge_out, paths, 2, NULL), code);
	ck_assert_msg(strstr(corpus_err.msg, words) != NULL, "'%s' is not in: %s", words, corpus_err.msg);
	ck_assert_ptr_null(strchr(corpus_err.msg, '\n'));
	ck_assert_int_eq(merge_entries(), n);
	OK(sha256_file(after, merge_b, &corpus_err));
	ck_assert_str_eq(before, after);
}

START_TEST(differences_are_named)
{
	static const struct {
		const char *sql, *words;
	} cases[] = {
		{ "UPDATE source SET weights_sha256 = 'x'", "weights_sha256 is weights in" },
		{ "UPDATE source SET kind = 'codes'", "kind is sae in" },
		{ "UPDATE source SET architecture = 'jumprelu'", "architecture is topk in" },
		{ "UPDATE tokenizer SET sha256 = 'x'", "tokenizer is tokenizer in" },
		{ "UPDATE source SET before = 7", "before is 6 in" },
		{ "UPDATE source SET after = 4", "after is 3 in" },
		{ "UPDATE source SET n_top = 24", "n_top is 2 in" },
		{ "UPDATE source SET n_samples = 0", "n_samples is 3 in" },
		{ "UPDATE source SET n_random = 8", "n_random is 4 in" },
		{ "UPDATE source SET corpus = 1", "corpus is 0 in" },
		{ "UPDATE source SET norm_limit = 12.5", "index both with the same --norm-limit" },
		{ "UPDATE source SET config = '{\"exclude-tokens\":[\"3\"]}'", "exclude-tokens is [] in" },
		{ "UPDATE source SET dumps = '[\"three\",\"one\"]'", "both hold the dump one" },
		{ "UPDATE source SET dump_sha256 = 'one'", "both hold the dump one" },
		{ "UPDATE source SET n_features = 41", "n_features is 40 in" },
	};
	store_index_opts a = merge_options("a", "one", false), b = merge_options("a", "two", false);

	merge_setup();
	merge_make(corpus_path, &a, merge_even);
	merge_make(merge_b, &b, merge_odd);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *kept = NULL;
		size_t n = 0;

		OK(file_read(&kept, &n, merge_b, 1 << 24, &corpus_err));
		merge_run(merge_b, cases[i].sql);
		refused(ERR_ARG, cases[i].words);
		support_put(merge_b, kept, n);
		free(kept);
	}
	merge_run(corpus_path, "UPDATE source SET n_samples = 0");
	merge_run(merge_b, "UPDATE source SET n_samples = 0");
	refused(ERR_ARG, "version 1");
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(refusals)
{
	store_index_opts a = merge_options("a", "one", false), b = merge_options("a", "two", false);
	const char *same[] = { corpus_path, merge_b, corpus_path }, *part[] = { corpus_path, NULL };
	char part_name[FILE_PATH_MAX + 8];
	store *s;
	int fd = -1;

	merge_setup();
	merge_make(corpus_path, &a, merge_even);
	snprintf(part_name, sizeof(part_name), "%s.part", merge_out);
	part[1] = part_name;
	support_put_text(merge_b, "a text");
	refused(ERR_FORMAT, "is not a Gloss store");
	ck_assert_int_eq(unlink(merge_b), 0);
	OK(store_open(&s, merge_b, STORE_CREATE, &corpus_err));
	store_close(s);
	refused(ERR_NOTFOUND, "holds no indexed SAE");
	merge_make(merge_b, &b, merge_odd);
	ck_assert_int_eq(merge_try(merge_out, same, 3, NULL), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "is given twice"));
	ck_assert_int_eq(merge_try(merge_out, same, 1, NULL), ERR_ARG);
	ck_assert_int_eq(merge_try(merge_b, same, 2, NULL), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "cannot be the output too"));
	merge_make(part_name, &b, merge_odd);
	ck_assert_int_eq(merge_try(merge_out, part, 2, NULL), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "while it is made"));
	ck_assert_int_eq(unlink(part_name), 0);
	support_put_text(merge_out, "something");
	refused(ERR_EXISTS, "exists");
	ck_assert_int_eq(unlink(merge_out), 0);
	OK(beside_lock(&fd, part_name, merge_out, &corpus_err));
	refused(ERR_BUSY, "another run");
	ck_assert_int_eq(unlink(part_name), 0);
	close(fd);
	merge_run(merge_b, "PRAGMA user_version = 99");
	refused(ERR_FORMAT, "newer gloss");
	support_rmdir(corpus_folder);
}
END_TEST

/* Stores that contradict themselves. */
START_TEST(damage_is_told)
{
	static const struct {
		const char *sql, *words;
	} cases[] = {
		{ "DELETE FROM context WHERE id IN (SELECT context_id FROM firing)", "damaged" },
		{ "UPDATE feature SET n_fires = 1 WHERE feature = 0", "counts of feature 0" },
		{ "UPDATE feature_detail SET histogram = 'x' WHERE feature = 4", "counts of feature 4" },
		{ "DELETE FROM feature WHERE feature = 39", "rows of feature 39" },
		{ "UPDATE example SET position = 4000 WHERE feature = 5", "an example of feature 5" },
		{ "UPDATE example SET activation_bits = 0 WHERE feature = 5", "an example of feature 5" },
		{ "UPDATE example SET codes = zeroblob(60000) WHERE feature = 5",
		  "codes of an example of feature 5" },
		{ "UPDATE context SET tokens = CAST(x'ffff' || substr(tokens, 3) AS BLOB)",
		  "text of an example" },
		{ "DELETE FROM vocab WHERE token = 5", "vocabulary" },
		{ "INSERT INTO note VALUES (1, 8, 1, 'x', 'now')", "note.source_id names 8" },
		{ "UPDATE source SET config = 'x', dumps = '{'", "no list of dumps" },
	};
	store_index_opts a = merge_options("a", "one", false), b = merge_options("a", "two", false);

	merge_setup();
	merge_make(corpus_path, &b, merge_odd);
	merge_make(merge_b, &a, merge_even);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *kept = NULL;
		size_t n = 0;
		store *s = NULL;
		const char *paths[] = { merge_b, corpus_path };

		OK(file_read(&kept, &n, merge_b, 1 << 24, &corpus_err));
		OK(store_open(&s, merge_b, STORE_WRITE, &corpus_err));
		OK(store_exec(s, "PRAGMA foreign_keys=OFF", &corpus_err));
		OK(store_exec(s, cases[i].sql, &corpus_err));
		store_close(s);
		ck_assert_msg(merge_try(merge_out, paths, 2, NULL) == ERR_FORMAT, "'%s' got by",
		              cases[i].sql);
		ck_assert_msg(strstr(corpus_err.msg, cases[i].words) != NULL, "%s", corpus_err.msg);
		ck_assert_int_eq(merge_entries(), 2);
		support_put(merge_b, kept, n);
		free(kept);
	}
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- What goes wrong on the way ---- */

static bool stop_at(void *payload)
{
	long *left = payload;

	return (*left)-- <= 0;
}

static void setup_pair(void)
{
	store_index_opts a = merge_options("a", "one", false), b = merge_options("a", "two", false),
	                 c = merge_options("c", "x", false);

	merge_setup();
	merge_make(corpus_path, &a, merge_even);
	merge_make(corpus_path, &c, first_half);
	merge_make(merge_b, &b, merge_odd);
	merge_run(corpus_path, merge_said_here);
}

START_TEST(stops_when_asked)
{
	const char *paths[] = { corpus_path, merge_b };
	char before[SHA256_HEX], after[SHA256_HEX];
	long times = 0, left;
	store_merge_opts o = { .stop = { stop_at, &left } };
	int rc;

	setup_pair();
	OK(sha256_file(before, corpus_path, &corpus_err));
	for (;; times++) {
		left = times * times;
		rc = merge_try(merge_out, paths, 2, &o);
		if (rc == 0)
			break;
		ck_assert_int_eq(rc, ERR_STOPPED);
		ck_assert_int_eq(merge_entries(), 2);
	}
	ck_assert_int_gt(times, 3);
	OK(sha256_file(after, corpus_path, &corpus_err));
	ck_assert_str_eq(before, after);
	support_rmdir(corpus_folder);
}
END_TEST

/* The nth write, sync, read or allocation fails. */
START_TEST(faults_leave_nothing)
{
	static const struct {
		fault_kind kind;
		long step;
	} faults[] = { { FAULT_WRITE, 500 }, { FAULT_SYNC, 0 }, { FAULT_READ, 0 }, { FAULT_ALLOC, 400 } };
	const char *paths[] = { corpus_path, merge_b };
	store_merge_opts o = { .argv = "[]" };

	setup_pair();
	for (long nth = 0;; nth += 1 + nth * faults[_i].step / 1000) {
		cJSON *page = NULL;
		int rc;

		fault_arm(faults[_i].kind, nth);
		rc = store_merge(&page, merge_out, paths, 2, &o, &corpus_err);
		if (!fault_disarm(faults[_i].kind)) {
			OK(rc);
			cJSON_Delete(page);
			break;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert_ptr_null(page);
		ck_assert_msg(merge_entries() == (file_exists(merge_out) ? 3 : 2), "%s", corpus_err.msg);
		unlink(merge_out); /* a folder that was not synced after the rename */
	}
	support_rmdir(corpus_folder);
}
END_TEST

/* File systems that are full, or may not be written to: only root may mount them. */
START_TEST(other_disks)
{
	const char *paths[] = { corpus_path, merge_b };
	char dir[FILE_PATH_MAX], to[FILE_PATH_MAX];

	setup_pair();
	support_mkdir(dir);
	OK(file_join(to, dir, "a.db", &corpus_err));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") == 0) {
		ck_assert_int_eq(merge_try(to, paths, 2, NULL), ERR_LIMIT);
		ck_assert_msg(strstr(corpus_err.msg, "no room for") != NULL, "%s", corpus_err.msg);
		ck_assert(!file_exists(to) && !file_exists(support_path(dir, "a.db.part")));
		ck_assert_int_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
		ck_assert_int_eq(merge_try(to, paths, 2, NULL), ERR_IO);
		ck_assert_msg(strstr(corpus_err.msg, "Read-only") != NULL, "%s", corpus_err.msg);
		ck_assert_int_eq(umount(dir), 0);
	}
	support_rmdir(dir);
	support_rmdir(corpus_folder);
}
END_TEST

static pid_t merge_in_child(const char *const *paths)
{
	pid_t child = fork();

	if (child == 0)
		_exit(merge_try(merge_out, paths, 2, NULL) != 0);
	return child;
}

/* Killed anywhere: the new store is not there, or whole, and the next run goes through what was left. */
START_TEST(kills_leave_nothing_half)
{
	enum { KILLS = 30 };
	const char *paths[] = { corpus_path, merge_b };
	char before[SHA256_HEX], after[SHA256_HEX], want[SHA256_HEX], got[SHA256_HEX];
	store_merge_opts force = { .force = true };
	uint64_t seed = (uint64_t)(clock_now() * 1e9);
	double span;
	int killed = 0;
	bool hit;
	store *s;

	setup_pair();
	OK(sha256_file(before, corpus_path, &corpus_err));
	span = clock_now();
	ck_assert(!support_kill(merge_in_child(paths), HUGE_VAL));
	span = clock_now() - span;
	s = open_merged();
	corpus_digest(want, s);
	store_close(s);
	for (uint64_t i = 0; killed < KILLS; i++) {
		unlink(merge_out);
		hit = support_kill(merge_in_child(paths), span * hash64_unit(hash64_mix(seed, i)));
		killed += hit;
		span *= hit ? 1.02 : 0.9; /* a busy machine is not as fast twice */
		ck_assert_int_lt(i, 4 * KILLS);
		if (!file_exists(merge_out))
			continue;
		s = open_merged();
		corpus_digest(got, s);
		corpus_check(s);
		store_close(s);
		ck_assert_msg(strcmp(want, got) == 0, "seed %llu, kill %llu", (unsigned long long)seed,
		              (unsigned long long)i);
	}
	OK(merge_try(merge_out, paths, 2, &force));
	ck_assert_int_eq(merge_entries(), 3);
	OK(sha256_file(after, corpus_path, &corpus_err));
	ck_assert_str_eq(before, after);
	support_rmdir(corpus_folder);
}
END_TEST

/* A writer in one of the stores, with what is not yet in its file; and leftovers of a run that was killed. */
START_TEST(stores_in_use)
{
	const char *paths[] = { corpus_path, merge_b };
	store *writer = NULL, *s;

	setup_pair();
	OK(store_open(&writer, merge_b, STORE_WRITE, &corpus_err));
	OK(store_exec(writer, "INSERT INTO note VALUES (2, 1, 2, 'late', '2026')", &corpus_err));
	support_put_text(support_path(corpus_folder, "merged.db.part"), "half");
	support_put_text(support_path(corpus_folder, "merged.db.part.part"), "half");
	OK(merge_try(merge_out, paths, 2, NULL));
	store_close(writer);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM note WHERE text = 'late'"), 1);
	store_close(s);
	ck_assert_int_eq(merge_entries(), 3);
	support_rmdir(corpus_folder);
}
END_TEST

static void cases(Suite *s)
{
	TCase *faults = tcase_create("faults");

	SUPPORT_CASE(s, "refusals", differences_are_named, refusals, damage_is_told);
	SUPPORT_CASE(s, "trouble", stops_when_asked, kills_leave_nothing_half, other_disks, stores_in_use);
	tcase_set_timeout(faults, 60);
	tcase_add_loop_test(faults, faults_leave_nothing, 0, 4);
	suite_add_tcase(s, faults);
}
SUPPORT_MAIN("merge_trouble", cases)
