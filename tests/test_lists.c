/* store/lists.c, notes.c, person_labels.c: a person's own, and which label counts. */
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

static store *s;
static error err;

#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

static void setup(void)
{
	s = small_store_open(STORE_WRITE);
	err = (error){ 0 };
}

static void teardown(void)
{
	store_close(s);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------------- */

static void add(const char *name, const uint32_t *features, size_t n, uint64_t want)
{
	uint64_t added = 99;

	OK(store_list_add(&added, s, name, NULL, features, n, &err));
	ck_assert_uint_eq(added, want);
}

START_TEST(lists_are_kept)
{
	cJSON *page = NULL;
	uint64_t removed = 0;

	add(" animals ", (const uint32_t[]){ SMALL_ON_ANIMAL, SMALL_ON_CAT, SMALL_ON_CAT }, 3, 2);
	add("animals", (const uint32_t[]){ SMALL_ON_CAT, SMALL_DEAD }, 2, 1);
	add("none", NULL, 0, 0);
	OK(store_lists(&page, s, &err));
	ck_assert_int_eq(json_count(page, "lists"), 2);
	ck_assert_str_eq(json_string(json_item(page, "lists", 0), "name"), "animals");
	ck_assert_double_eq(json_number(json_item(page, "lists", 0), "features"), 3);
	ck_assert_double_eq(json_number(json_item(page, "lists", 1), "features"), 0);
	cJSON_Delete(page);
	OK(store_list_remove(&removed, s, "animals", NULL, (const uint32_t[]){ SMALL_DEAD, SMALL_DENSE }, 2,
	                     &err));
	ck_assert_uint_eq(removed, 1);
	OK(store_list_rename(s, "animals", "pets", &err));
	page = NULL;
	OK(store_list_get(&page, s, "pets", &err));
	ck_assert_int_eq(json_count(page, "features"), 2);
	ck_assert_double_eq(json_number(json_item(page, "features", 0), "feature"), SMALL_ON_CAT);
	ck_assert_str_eq(json_string(json_item(page, "features", 0), "label"), "cats");
	ck_assert_str_eq(json_string(json_item(page, "features", 1), "source"), "small");
	cJSON_Delete(page);
	OK(store_list_delete(s, "pets", &err));
	page = NULL;
	ck_assert_int_eq(store_list_get(&page, s, "pets", &err), ERR_NOTFOUND);
	ck_assert_msg(strstr(err.msg, "has no list 'pets', but 'none'") != NULL, "%s", err.msg);
	ck_assert_ptr_null(page);
}
END_TEST

/* "@NAME" where features are named, and the list of features of several sources. */
START_TEST(lists_stand_for_their_features)
{
	static const char *const names[] = { "layer3", "layer4", NULL };
	store_features_opts o = { .sources.all = true, .list = "a", .sort = "-feature", .limit = 9 };
	char folder[FILE_PATH_MAX];
	cJSON *page = NULL;
	uint32_t *ids = NULL;
	size_t n = 0;

	store_close(s);
	support_mkdir(folder);
	small_store_make(support_path(folder, "two.db"), names);
	OK(store_open(&s, support_path(folder, "two.db"), STORE_WRITE, &err));
	OK(store_list_add(NULL, s, "a", "layer3", (const uint32_t[]){ 1, 4 }, 2, &err));
	OK(store_list_add(NULL, s, "a", "layer4", (const uint32_t[]){ 6 }, 1, &err));
	OK(store_list_add(NULL, s, "b", "layer4", (const uint32_t[]){ 2 }, 1, &err));
	OK(store_feature_ids(&ids, &n, s, "layer3", "@a,3,@b", "not dead", &err));
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(ids[0], 1);
	ck_assert_uint_eq(ids[1], 4);
	free(ids);
	OK(store_features(&page, s, &o, &err));
	ck_assert_double_eq(json_number(page, "total"), 3);
	ck_assert_str_eq(json_string(json_item(page, "features", 0), "source"), "layer4");
	ck_assert_double_eq(json_number(json_item(page, "features", 0), "feature"), 6);
	ck_assert_str_eq(json_string(json_item(page, "features", 1), "source"), "layer3");
	ck_assert_double_eq(json_number(json_item(page, "features", 1), "feature"), 4);
	cJSON_Delete(page);
	page = NULL;
	o.sources = (store_sources){ .names = (const char *const[]){ "layer4", "layer4" }, .n = 2 };
	ck_assert_int_eq(store_features(&page, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "source 'layer4' is given twice");
	ck_assert_ptr_null(page);
	support_rmdir(folder);
}
END_TEST

static const struct {
	const char *name, *message;
	int code;
} bad_names[] = {
	{ "", "is empty", ERR_ARG },
	{ " \t\n", "is empty", ERR_ARG },
	{ "a,b", "no comma", ERR_ARG },
	{ "@a", "begin with '@'", ERR_ARG },
	{ "a\nb", "U+000A, as character 2", ERR_ARG },
	{ "\xc3\xa9\xc2\x85", "U+0085, as character 2", ERR_ARG },
	{ "\xed\xa0\x80", "not valid UTF-8: byte 0xed behind character 0", ERR_ARG },
};

START_TEST(lists_refuse_names)
{
	cJSON *page = NULL;

	ck_assert_int_eq(store_list_add(NULL, s, bad_names[_i].name, NULL, (const uint32_t[]){ 1 }, 1, &err),
	                 bad_names[_i].code);
	ck_assert_msg(strstr(err.msg, bad_names[_i].message) != NULL, "%s", err.msg);
	OK(store_list_add(NULL, s, "good", NULL, (const uint32_t[]){ 1 }, 1, &err));
	ck_assert_int_eq(store_list_rename(s, "good", bad_names[_i].name, &err), bad_names[_i].code);
	ck_assert_int_eq(store_list_rename(s, "good", "good", &err), ERR_EXISTS);
	ck_assert_int_eq(
	        store_list_add(NULL, s, "new", NULL, (const uint32_t[]){ 1, SMALL_FEATURES }, 2, &err),
	        ERR_ARG);
	OK(store_lists(&page, s, &err));
	ck_assert_int_eq(json_count(page, "lists"), 1);
	cJSON_Delete(page);
}
END_TEST

/* ---- Notes ------------------------------------------------------------------------------------------------------------- */

START_TEST(notes_are_kept)
{
	static char longest[65538];
	cJSON *page = NULL;
	double id;

	memset(longest, 'x', sizeof(longest) - 1);
	ck_assert_int_eq(store_note_add(s, NULL, SMALL_DEAD, longest, &err), ERR_LIMIT);
	longest[65536] = '\0';
	OK(store_note_add(s, NULL, SMALL_DEAD, longest, &err));
	OK(store_note_add(s, NULL, SMALL_DEAD, "two\n\tlines", &err));
	ck_assert_int_eq(store_note_add(s, NULL, SMALL_DEAD, "\x7f", &err), ERR_ARG);
	ck_assert_int_eq(store_note_add(s, NULL, SMALL_FEATURES, "x", &err), ERR_ARG);
	OK(store_notes(&page, s, NULL, SMALL_DEAD, &err));
	ck_assert_int_eq(json_count(page, "notes"), 2);
	ck_assert_uint_eq(strlen(json_string(json_item(page, "notes", 0), "text")), 65536);
	ck_assert_str_eq(json_string(json_item(page, "notes", 1), "text"), "two\n\tlines");
	id = json_number(json_item(page, "notes", 0), "id");
	cJSON_Delete(page);
	ck_assert_int_eq(store_note_delete(s, NULL, SMALL_ON_CAT, (int64_t)id, &err), ERR_NOTFOUND);
	OK(store_note_delete(s, NULL, SMALL_DEAD, (int64_t)id, &err));
	page = NULL;
	OK(store_notes(&page, s, NULL, SMALL_DEAD, &err));
	ck_assert_int_eq(json_count(page, "notes"), 1);
	cJSON_Delete(page);
}
END_TEST

/* ---- Labels ------------------------------------------------------------------------------------------------------------ */

static int add_label(uint32_t feature, const char *words)
{
	store_label label = { feature, words };
	size_t bad;

	return store_labels_add(&bad, s, NULL, &label, 1, &err);
}

/* What current_label says is what the explanations say. */
static void check_current(void)
{
	int64_t n = -1;

	OK(store_int(
	        &n, s,
	        "SELECT count(*) FROM (SELECT * FROM (SELECT * FROM current_label EXCEPT SELECT * FROM "
	        "newest_label)"
	        " UNION ALL SELECT * FROM (SELECT * FROM newest_label EXCEPT SELECT * FROM current_label))",
	        -1, &err));
	ck_assert_int_eq(n, 0);
}

/* The label that counts for a feature, into `out`; "" for none. */
static void current(char out[64], uint32_t feature)
{
	store_explanation e;
	arena mem = ARENA_INIT;
	int rc = store_explanation_latest(&e, s, 1, feature, &mem, &err);

	ck_assert(rc == 0 || rc == ERR_NOTFOUND);
	snprintf(out, 64, "%s", rc == 0 ? e.text : "");
	arena_clear(&mem);
}

START_TEST(labels_are_withdrawn_and_kept)
{
	cJSON *page = NULL;
	char label[64];

	OK(add_label(SMALL_ON_CAT, " felines "));
	current(label, SMALL_ON_CAT);
	ck_assert_str_eq(label, "felines");
	OK(add_label(SMALL_ON_CAT, "pets"));
	OK(store_label_withdraw(s, NULL, SMALL_ON_CAT, &err));
	current(label, SMALL_ON_CAT);
	ck_assert_str_eq(label, "felines");
	OK(store_label_withdraw(s, NULL, SMALL_ON_CAT, &err));
	current(label, SMALL_ON_CAT);
	ck_assert_str_eq(label, "cats"); /* a model's, and it stays */
	ck_assert_int_eq(store_label_withdraw(s, NULL, SMALL_ON_CAT, &err), ERR_NOTFOUND);
	OK(store_labels(&page, s, NULL, SMALL_ON_CAT, &err));
	ck_assert_int_eq(json_count(page, "labels"), 4);
	ck_assert_str_eq(json_string(json_item(page, "labels", 0), "text"), "pets");
	ck_assert_ptr_nonnull(json_string(json_item(page, "labels", 0), "withdrawn"));
	ck_assert(cJSON_IsNull(json_member(json_item(page, "labels", 2), "withdrawn")));
	ck_assert_double_eq(json_number(json_item(json_item(page, "labels", 2), "scores", 0), "value"), 0.9);
	cJSON_Delete(page);
	check_current();
}
END_TEST

START_TEST(many_labels_or_none)
{
	static const store_label good[] = { { 1, "one" }, { 2, "two" }, { 1, "one again" } },
	                         bad[] = { { 3, "three" }, { SMALL_FEATURES, "x" }, { 4, "four" } },
	                         empty[] = { { 3, "three" }, { 4, "four" }, { 5, "\n" } };
	char label[64];
	size_t at = 0;

	OK(store_labels_add(&at, s, NULL, good, ARRAY_LEN(good), &err));
	ck_assert_uint_eq(at, SIZE_MAX);
	current(label, 1);
	ck_assert_str_eq(label, "one again");
	ck_assert_int_eq(store_labels_add(&at, s, NULL, bad, ARRAY_LEN(bad), &err), ERR_ARG);
	ck_assert_uint_eq(at, 1);
	ck_assert_int_eq(store_labels_add(&at, s, NULL, empty, ARRAY_LEN(empty), &err), ERR_ARG);
	ck_assert_uint_eq(at, 2);
	current(label, 3);
	ck_assert_str_eq(label, "");
	check_current();
}
END_TEST

/* Whatever is added, scored, withdrawn and deleted in whatever order: the table that queries read says the same as the
 * history. */
START_TEST(current_labels_follow_every_change)
{
	static const char *const changes[] = {
		"INSERT INTO explanation(source_id, feature, text, method, created) SELECT 1, %u, 'x', "
		"iif(%u %% 2, 'person', 'llm'), 't'",
		"INSERT INTO explanation(source_id, feature, text, method, created, withdrawn) SELECT 1, %u, "
		"'x', "
		"'person', 't', iif(%u %% 2, 't', NULL)",
		"INSERT OR IGNORE INTO explanation(id, source_id, feature, text, method, created) SELECT %u "
		"%% 50 + 1, "
		"1, %u %% 8, 'x', 'llm', 't'",
		"UPDATE explanation SET withdrawn = iif(withdrawn IS NULL, 't', NULL) WHERE feature = %u AND "
		"id %% 3 = "
		"%u %% 3",
		"DELETE FROM score WHERE explanation_id IN (SELECT id FROM explanation WHERE feature = %u "
		"AND id %% 4 "
		"= %u %% 4)",
		"DELETE FROM explanation WHERE feature = %u AND id %% 5 = %u %% 5 AND id NOT IN (SELECT "
		"explanation_id "
		"FROM score)",
		"INSERT INTO score(explanation_id, scorer, judge, value, n_positive, n_negative, n_failed, "
		"details, "
		"created) SELECT id, 'd', 'j', %u / 8.0, 1, 1, 0, '{}', 't' FROM explanation WHERE id %% 7 = "
		"%u %% 7",
	};

	for (uint32_t i = 0; i < 200; i++) {
		uint64_t h = hash64_mix(_i, i);
		char sql[400];

		snprintf(sql, sizeof(sql), changes[h % ARRAY_LEN(changes)], (unsigned)(h >> 8 & 7),
		         (unsigned)(h >> 16 & 255));
		OK(store_exec(s, sql, &err));
		check_current();
	}
}
END_TEST

/* ---- The store is in use, or open to read --------------------------------------------------------------------------------- */

/* Several processes that each open the store, add their labels one by one and close it: none is turned away, none is lost. */
START_TEST(writers_take_turns)
{
	enum { WRITERS = 3, EACH = 4 };
	char path[FILE_PATH_MAX];
	int status, failed = 0;
	int64_t n = 0;

	snprintf(path, sizeof(path), "%s", store_path(s));
	store_close(s);
	for (int w = 0; w < WRITERS; w++) {
		if (fork() != 0)
			continue;
		for (int i = 0; i < EACH; i++) {
			s = NULL;
			if (store_open(&s, path, STORE_WRITE, &err) < 0 || add_label((uint32_t)w, "mine") < 0)
				_exit(1);
			store_close(s);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		failed += status != 0;
	ck_assert_int_eq(failed, 0);
	OK(store_open(&s, path, STORE_WRITE, &err));
	OK(store_int(&n, s, "SELECT count(*) FROM explanation WHERE method = 'person'", 0, &err));
	ck_assert_int_eq(n, WRITERS * EACH);
}
END_TEST

/* One that holds the file while it is a plain one: SQLite itself does not wait then. */
START_TEST(opening_waits_for_a_writer)
{
	char path[FILE_PATH_MAX], told;
	int held[2], status;
	pid_t child;

	snprintf(path, sizeof(path), "%s", store_path(s));
	store_close(s);
	ck_assert_int_eq(pipe(held), 0);
	child = fork();
	if (child == 0) {
		sqlite3 *db = NULL;
		bool bad = sqlite3_open(path, &db) != SQLITE_OK ||
		           sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK;

		bad |= write(held[1], "x", 1) != 1;
		usleep(200000);
		_exit(bad);
	}
	ck_assert_int_eq(read(held[0], &told, 1), 1);
	OK(store_open(&s, path, STORE_WRITE, &err));
	OK(add_label(1, "mine"));
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* Neither the file nor, where it may be written, its folder may be written to. */
START_TEST(read_only_files_are_told)
{
	static const char *const why[] = { "it is read-only", "nothing may be written in its folder" };
	char path[FILE_PATH_MAX], parent[FILE_PATH_MAX];
	pid_t child;
	int status;

	snprintf(path, sizeof(path), "%s", store_path(s));
	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
	store_close(s);
	ck_assert_int_eq(chmod(path, _i ? 0666 : 0444), 0);
	ck_assert_int_eq(chmod(parent, 0555), 0);
	child = fork();
	if (child == 0) { /* root may write anywhere: be somebody else */
		bool bad = geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0);

		s = NULL;
		bad |= store_open(&s, path, STORE_WRITE, &err) != ERR_IO || !strstr(err.msg, why[_i]) ||
		       !strstr(err.msg, path) || s;
		_exit(bad);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	chmod(parent, 0755);
	ck_assert_int_eq(status, 0);
	OK(store_open(&s, path, STORE_READ, &err));
}
END_TEST

static int change(int which)
{
	switch (which) {
	case 0:
		return store_list_add(NULL, s, "a", NULL, (const uint32_t[]){ 1 }, 1, &err);
	case 1:
		return store_list_remove(NULL, s, "kept", NULL, (const uint32_t[]){ 1 }, 1, &err);
	case 2:
		return store_list_delete(s, "kept", &err);
	case 3:
		return store_list_rename(s, "kept", "b", &err);
	case 4:
		return store_note_add(s, NULL, SMALL_ON_CAT, "x", &err);
	case 5:
		return store_note_delete(s, NULL, SMALL_ON_CAT, 1, &err);
	case 6:
		return add_label(SMALL_ON_CAT, "x");
	default:
		return store_label_withdraw(s, NULL, SMALL_ON_CAT, &err);
	}
}
enum { CHANGES = 8 };

static void prepare_for_change(void)
{
	OK(store_list_add(NULL, s, "kept", NULL, (const uint32_t[]){ 1 }, 1, &err));
	OK(add_label(SMALL_ON_CAT, "mine"));
}

START_TEST(a_writer_is_waited_for)
{
	store *other = NULL;
	cJSON *page = NULL;

	prepare_for_change();
	OK(store_open(&other, store_path(s), STORE_WRITE, &err));
	sqlite3_busy_timeout(s->db, 20); /* instead of 10 s */
	OK(store_begin(other, &err));
	ck_assert_int_eq(change(_i), ERR_BUSY);
	ck_assert_msg(strstr(err.msg, "is locked by another process: cannot begin to write") != NULL, "%s",
	              err.msg);
	OK(store_labels(&page, s, NULL, SMALL_ON_CAT, &err)); /* reading goes on meanwhile */
	cJSON_Delete(page);
	OK(store_end(other, 0, &err));
	OK(change(_i));
	store_close(other);
}
END_TEST

START_TEST(readers_do_not_stop_a_writer)
{
	sqlite3_stmt *st = NULL;
	store *reader = NULL;
	bool row;

	prepare_for_change();
	OK(store_open(&reader, store_path(s), STORE_READ, &err));
	OK(store_prepare(&st, reader, "SELECT * FROM feature", &err));
	OK(store_step(reader, st, &row, &err)); /* in the middle of reading */
	OK(change(_i));
	OK(store_step(reader, st, &row, &err));
	sqlite3_finalize(st);
	store_close(reader);
}
END_TEST

START_TEST(a_store_open_to_read_is_not_changed)
{
	prepare_for_change();
	store_close(s);
	s = small_store_open(STORE_READ);
	ck_assert_int_eq(change(_i), ERR_ARG);
	ck_assert_msg(strstr(err.msg, "is open to read only") != NULL, "%s", err.msg);
}
END_TEST

/* Each write in turn fails: nothing has changed then. */
START_TEST(writes_that_fail_change_nothing)
{
	int64_t before = 0, after = 0;
	static const char count[] =
	        "SELECT (SELECT count(*) FROM list) + 10 * (SELECT count(*) FROM list_item)"
	        " + 100 * (SELECT count(*) FROM note) + 1000 * (SELECT count(*) FROM explanation)"
	        " + 100000 * (SELECT count(*) FROM explanation WHERE withdrawn IS NOT NULL)"
	        " + 1000000 * (SELECT sum(length(name)) FROM list)";

	prepare_for_change();
	OK(store_int(&before, s, count, 0, &err));
	for (long n = 0;; n++) {
		int rc;

		fault_arm(_i < CHANGES ? FAULT_WRITE : FAULT_SYNC, n);
		rc = change(_i % CHANGES);
		if (!fault_disarm(_i < CHANGES ? FAULT_WRITE : FAULT_SYNC)) {
			ck_assert_msg(rc == 0, "%s", err.msg);
			ck_assert_int_gt(n, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_IO);
		OK(store_int(&after, s, count, 0, &err));
		ck_assert_int_eq(before, after);
	}
	check_current();
}
END_TEST

static int ask(int which, cJSON **page)
{
	switch (which) {
	case 0:
		return store_lists(page, s, &err);
	case 1:
		return store_list_get(page, s, "kept", &err);
	case 2:
		return store_notes(page, s, NULL, SMALL_ON_CAT, &err);
	case 3:
		return store_labels(page, s, NULL, SMALL_ON_CAT, &err);
	default:
		return store_features(page, s,
		                      &(store_features_opts){ .sources.all = true,
		                                              .list = "kept",
		                                              .sort = "label,-score",
		                                              .random = 3,
		                                              .limit = 3 },
		                      &err);
	}
}

START_TEST(memory_that_lacks_is_said)
{
	prepare_for_change();
	for (long n = 0;; n++) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = ask(_i, &page);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_msg(rc == 0, "%s", err.msg);
			cJSON_Delete(page);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(page);
	}
}
END_TEST

static void cases(Suite *suite)
{
	TCase *c = SUPPORT_CASE(suite, "own", lists_are_kept, lists_stand_for_their_features, notes_are_kept,
	                        labels_are_withdrawn_and_kept, many_labels_or_none, writers_take_turns,
	                        opening_waits_for_a_writer);

	tcase_add_loop_test(c, lists_refuse_names, 0, ARRAY_LEN(bad_names));
	tcase_add_loop_test(c, current_labels_follow_every_change, 0, 5);
	tcase_add_loop_test(c, read_only_files_are_told, 0, 2);
	tcase_add_loop_test(c, a_writer_is_waited_for, 0, CHANGES);
	tcase_add_loop_test(c, readers_do_not_stop_a_writer, 0, CHANGES);
	tcase_add_loop_test(c, a_store_open_to_read_is_not_changed, 0, CHANGES);
	tcase_add_loop_test(c, writes_that_fail_change_nothing, 0, 2 * CHANGES);
	tcase_add_loop_test(c, memory_that_lacks_is_said, 0, 5);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_unchecked_fixture(c, small_store_prepare, small_store_remove);
}
SUPPORT_MAIN("lists", cases)
