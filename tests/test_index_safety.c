/* An index run is all or nothing: names, bad input, faults, kills. */
#include "tests/support_index.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Names, sources ---- */

START_TEST(a_name_is_taken_once)
{
	char before[SHA256_HEX], after[SHA256_HEX];
	store_index_opts o = corpus_options("a");
	store *s;

	corpus_setup();
	s = corpus_open();
	OK(corpus_index(s, &o, 20, 0));
	corpus_digest(before, s);
	ck_assert_int_eq(corpus_index(s, &o, 20, 0), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "--force"));
	o.source = "b";
	OK(corpus_index(s, &o, 60, 0));
	o.source = "a";
	o.force = true;
	OK(corpus_index(s, &o, 30, 0));
	corpus_check(s);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM source"), 2);
	OK(store_exec(s,
	              "INSERT INTO explanation (id, source_id, feature, text, method, created) VALUES (1, 1, "
	              "2, 'dogs',"
	              " 'person', 'now')",
	              &corpus_err));
	OK(corpus_index(s, &o, 20, 3)); /* the same weights: what was said of its features stays */
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM explanation WHERE source_id = 1"), 1);
	o.weights_sha256 = "others";
	OK(corpus_index(s, &o, 20, 4));
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM explanation"), 0);
	corpus_check(s);
	o.source = "b"; /* what only the first b referred to goes */
	OK(corpus_index(s, &o, 20, 5));
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM context"),
	                 corpus_number(s, "SELECT count(*) FROM (SELECT context_id FROM example UNION SELECT "
	                                  "context_id FROM firing)"));
	corpus_check(s);
	store_close(s);
	ck_assert_int_eq(unlink(corpus_path), 0);
	s = corpus_open();
	o = corpus_options("a");
	OK(corpus_index(s, &o, 20, 0));
	corpus_digest(after, s);
	ck_assert_str_eq(before, after);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(groups_stay_together_over_sources)
{
	document_context c;
	store_index_opts o = corpus_options("a");
	store_index *ix = NULL;
	store_context v;
	store *s;

	corpus_setup();
	s = corpus_open();
	o.corpus = true;
	OK(corpus_index(s, &o, 6, 0)); /* documents 1000, 1001 in group 50 */
	o.source = "b";
	OK(store_index_begin(&ix, s, &o, &corpus_err));
	OK(corpus_give_rest(ix));
	corpus_context(&c, 5); /* of document 1001; another run knows its group as 7, with document 2000 */
	c.group = 7;
	v = corpus_view(&c);
	OK(store_index_context(ix, &v, &corpus_err));
	corpus_context(&c, 40);
	c.document = 2000;
	c.group = 7;
	v = corpus_view(&c);
	OK(store_index_context(ix, &v, &corpus_err));
	OK(store_index_finish(ix, NULL, NULL, &corpus_err));
	ck_assert_int_eq(corpus_number(s, "SELECT group_key FROM document WHERE key = 2000"), 50);
	ck_assert_int_eq(
	        corpus_number(s, "SELECT count(DISTINCT part) FROM document WHERE key IN (1000, 1001, 2000)"),
	        1);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- Bad input, faults, kills ---- */

static int index_changed(store *s, void (*change)(document_context *))
{
	store_index_opts o = corpus_options("x");
	store_index *ix = NULL;
	document_context c;
	store_context v;
	int rc;

	OK(store_index_begin(&ix, s, &o, &corpus_err));
	OK(corpus_give_rest(ix));
	corpus_context(&c, 0);
	v = corpus_view(&c);
	OK(store_index_context(ix, &v, &corpus_err));
	change(&c);
	rc = store_index_context(ix, &v, &corpus_err);
	ck_assert_int_lt(rc, 0);
	error first = corpus_err;
	ck_assert_int_lt(store_index_finish(ix, NULL, NULL, &corpus_err),
	                 0); /* not with half a context in it */
	corpus_err = first;
	return rc;
}

static void unknown_token(document_context *c)
{
	c->tokens[3] = VOCAB;
}
static void unknown_feature(document_context *c)
{
	c->feature[c->start[5] - 1] = FEATURES;
}
static void features_swapped(document_context *c)
{
	uint32_t at = c->start[2];

	ck_assert_uint_ge(c->start[3], at + 2);
	c->feature[at + 1] = c->feature[at];
}
static void value_nan(document_context *c)
{
	c->value[7] = NAN;
}
static void value_zero(document_context *c)
{
	c->value[7] = 0;
}

START_TEST(bad_contexts_are_refused)
{
	char part[FILE_PATH_MAX + 8];
	store_index_opts o = corpus_options("x");
	store_index *ix = NULL;
	store *s;

	corpus_setup();
	s = corpus_open();
	ck_assert_int_eq(index_changed(s, unknown_token), ERR_FORMAT);
	ck_assert_ptr_nonnull(
	        strstr(corpus_err.msg, "context 1, position 3: token 24 is beyond the vocabulary of 24"));
	ck_assert_int_eq(index_changed(s, unknown_feature), ERR_FORMAT);
	ck_assert_int_eq(index_changed(s, features_swapped), ERR_FORMAT);
	ck_assert_int_eq(index_changed(s, value_nan), ERR_FORMAT);
	ck_assert_int_eq(index_changed(s, value_zero), ERR_FORMAT);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM source"), 0);
	snprintf(part, sizeof(part), "%s.part", corpus_path);
	ck_assert(!file_exists(part));
	o.before = 70000;
	ck_assert_int_eq(store_index_begin(&ix, s, &o, &corpus_err), ERR_ARG);
	o = corpus_options("");
	ck_assert_int_eq(store_index_begin(&ix, s, &o, &corpus_err), ERR_ARG);
	ck_assert_ptr_null(ix);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(one_run_at_a_time)
{
	store_index_opts o = corpus_options("x");
	store_index *ix = NULL, *other = NULL;
	store *s, *t;

	corpus_setup();
	s = corpus_open();
	t = corpus_open();
	OK(store_index_begin(&ix, s, &o, &corpus_err));
	o.source = "y";
	ck_assert_int_eq(store_index_begin(&other, t, &o, &corpus_err), ERR_BUSY);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "another run"));
	store_index_abort(ix);
	OK(corpus_index(t, &o, 5, 0));
	store_close(s);
	store_close(t);
	support_rmdir(corpus_folder);
}
END_TEST

static void faults(fault_kind kind, int code)
{
	char before[SHA256_HEX], after[SHA256_HEX], part[FILE_PATH_MAX + 8];
	store_index_opts o = corpus_options("a");
	store *s;

	corpus_setup();
	snprintf(part, sizeof(part), "%s.part", corpus_path);
	s = corpus_open();
	OK(corpus_index(s, &o, 5, 0));
	corpus_digest(before, s);
	o.source = "b";
	for (long n = 0;; n += 1 + n / 40) {
		int rc;

		fault_arm(kind, n);
		rc = corpus_index(s, &o, 9, 0);
		if (!fault_disarm(kind)) {
			OK(rc);
			break;
		}
		ck_assert_msg(rc == code, "fault %ld: %d %s", n, rc, corpus_err.msg);
		corpus_digest(after, s);
		ck_assert_str_eq(before, after);
		ck_assert(!file_exists(part));
	}
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM source"), 2);
	corpus_check(s);
	store_close(s);
	support_rmdir(corpus_folder);
}

START_TEST(allocation_faults_leave_the_store)
{
	faults(FAULT_ALLOC, ERR_NOMEM);
}
END_TEST

START_TEST(write_faults_leave_the_store)
{
	faults(FAULT_WRITE, ERR_IO);
}
END_TEST

START_TEST(commit_faults_leave_the_store)
{
	faults(FAULT_SYNC, ERR_IO);
}
END_TEST

/* In a child of its own: index 400 contexts as "b" and end. */
static pid_t index_in_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		store_index_opts o = corpus_options("b");
		store *s = NULL;

		o.corpus = true;
		if (store_open(&s, corpus_path, STORE_CREATE, &corpus_err) < 0 ||
		    corpus_index(s, &o, 400, 0) < 0)
			_exit(1);
		store_close(s);
		_exit(0);
	}
	return child;
}

/* Seconds that a run takes which nobody kills. */
static double whole_run(void)
{
	double before = clock_now();

	ck_assert(!support_kill(index_in_child(), HUGE_VAL));
	return clock_now() - before;
}

/* Killed anywhere in a run, the last moments included, where it writes to the store: as often as it is through. */
START_TEST(a_kill_leaves_the_store)
{
	enum { KILLS = 30 };
	char before[SHA256_HEX], after[SHA256_HEX];
	uint64_t seed = (uint64_t)(clock_now() * 1e9);
	store_index_opts o = corpus_options("a");
	int killed = 0, whole = 0;
	bool hit;
	char *bytes;
	double span;
	size_t n;
	store *s;

	corpus_setup();
	s = corpus_open();
	OK(corpus_index(s, &o, 20, 0));
	corpus_digest(before, s);
	store_close(s);
	OK(file_read(&bytes, &n, corpus_path, 1 << 24, &corpus_err));
	span = whole_run();
	for (uint64_t i = 0; killed < KILLS; i++) {
		OK(file_write(corpus_path, bytes, n, &corpus_err)); /* store_open() made it one plain file */
		hit = support_kill(index_in_child(), span * hash64_unit(hash64_mix(seed, i)));
		killed += hit;
		span *= hit ? 1.02 : 0.9; /* a busy machine is not as fast twice */
		s = corpus_open();
		corpus_check(s);
		if (corpus_number(s, "SELECT count(*) FROM source") == 1) {
			corpus_digest(after, s);
			ck_assert_msg(strcmp(before, after) == 0, "seed %llu, kill %llu",
			              (unsigned long long)seed, (unsigned long long)i);
		} else { /* it was through */
			ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM feature WHERE source_id = 2"),
			                 FEATURES);
			whole++;
		}
		store_close(s);
		ck_assert_int_le(whole, 3 * KILLS);
	}
	s = corpus_open();
	o.source = "c"; /* what the killed left behind is in nobody's way */
	OK(corpus_index(s, &o, 20, 0));
	store_close(s);
	ck_assert_int_eq(unlink(corpus_path), 0);
	ck_assert_int_eq(rmdir(corpus_folder), 0); /* there was nothing else */
	ck_assert_int_eq(mkdir(corpus_folder, 0700), 0);
	free(bytes);
	support_rmdir(corpus_folder);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "index_safety", a_name_is_taken_once, groups_stay_together_over_sources,
	             bad_contexts_are_refused, one_run_at_a_time, allocation_faults_leave_the_store,
	             write_faults_leave_the_store, commit_faults_leave_the_store, a_kill_leaves_the_store);
}
SUPPORT_MAIN("index_safety", cases)
