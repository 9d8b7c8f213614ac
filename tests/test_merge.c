/* gloss merge: halves joined are the whole, row by row; sources side by side are what they were; nothing said is lost. */
#include "store/beside.h"
#include "tests/support_index.h"

#include <dirent.h>
#include <math.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N = 60 };

static char other[FILE_PATH_MAX], third[FILE_PATH_MAX], merged[FILE_PATH_MAX];

static bool first_half(uint32_t i)
{
	return i < 33; /* 34 is a copy of 31 */
}

static bool second_half(uint32_t i)
{
	return i >= 33;
}

static bool even(uint32_t i)
{
	return i % 2 == 0;
}

static bool odd(uint32_t i)
{
	return i % 2 == 1;
}

static bool third_0(uint32_t i)
{
	return i % 3 == 0;
}

static bool third_1(uint32_t i)
{
	return i % 3 == 1;
}

static bool third_2(uint32_t i)
{
	return i % 3 == 2;
}

/* So few examples that some contexts are not needed. */
static store_index_opts options(const char *name, const char *dump, bool corpus)
{
	store_index_opts o = corpus_options(name);

	o.dump_sha256 = dump;
	o.n_top = 2;
	o.n_samples = 3;
	o.n_random = 4;
	o.corpus = corpus;
	o.config = "{\"top\":2}";
	return o;
}

static void make(const char *path, const store_index_opts *o, bool (*take)(uint32_t i))
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_CREATE, &corpus_err));
	OK(corpus_index_some(s, o, N, take));
	store_close(s);
}

static void setup(void)
{
	corpus_setup();
	OK(file_join(other, corpus_folder, "b.db", &corpus_err));
	OK(file_join(third, corpus_folder, "c.db", &corpus_err));
	OK(file_join(merged, corpus_folder, "merged.db", &corpus_err));
}

static void run_sql(const char *path, const char *sql)
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_WRITE, &corpus_err));
	OK(store_exec(s, sql, &corpus_err));
	store_close(s);
}

static int try_merge(const char *to, const char *const *paths, size_t n, const store_merge_opts *given)
{
	store_merge_opts o = given ? *given : (store_merge_opts){ 0 };
	cJSON *page = NULL;
	int rc;

	o.argv = "[\"gloss\",\"merge\"]";
	rc = store_merge(&page, to, paths, n, &o, &corpus_err);
	ck_assert((rc == 0) == (page != NULL));
	cJSON_Delete(page);
	return rc;
}

static void merge_two(const char *to, const char *a, const char *b)
{
	const char *paths[] = { a, b };

	OK(try_merge(to, paths, 2, NULL));
}

static store *open_merged(void)
{
	store *s = NULL;

	OK(store_open(&s, merged, STORE_READ, &corpus_err));
	return s;
}

static void digest(char hex[SHA256_HEX], const char *path)
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_READ, &corpus_err));
	corpus_digest(hex, s);
	corpus_check(s);
	store_close(s);
}

static int entries(void)
{
	DIR *d = opendir(corpus_folder);
	int n = -2;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- Joined ---- */

static void same_sums(const char *one, const char *two)
{
	static const char *const query =
	        "SELECT sum1, sum2, sum3, sum4, mean_act, density FROM feature ORDER BY feature";
	sqlite3_stmt *a = NULL, *b = NULL;
	store *s = NULL, *t = NULL;
	double worst = 0;

	OK(store_open(&s, one, STORE_READ, &corpus_err));
	OK(store_open(&t, two, STORE_READ, &corpus_err));
	OK(store_prepare(&a, s, query, &corpus_err));
	OK(store_prepare(&b, t, query, &corpus_err));
	while (sqlite3_step(a) == SQLITE_ROW && sqlite3_step(b) == SQLITE_ROW) {
		for (int i = 0; i < 6; i++) {
			double x = sqlite3_column_double(a, i), y = sqlite3_column_double(b, i);

			worst = fmax(worst, x == y ? 0 : fabs(x - y) / fmax(fabs(x), fabs(y)));
		}
	}
	ck_assert_double_le(worst, 1e-12);
	sqlite3_finalize(a);
	sqlite3_finalize(b);
	store_close(s);
	store_close(t);
}

START_TEST(halves_make_the_whole)
{
	static bool (*const ways[][2])(uint32_t i) = { { first_half, second_half }, { even, odd } };
	store_index_opts a = options("a", "one", _i & 1), b = options("a", "two", _i & 1);
	char want[SHA256_HEX], got[SHA256_HEX];
	const char *back[] = { other, corpus_path };
	store_merge_opts force = { .force = true };
	store *s;

	setup();
	a.n_left_out = 3;
	b.n_left_out = 4;
	make(corpus_path, &a, ways[_i / 2][0]);
	make(other, &b, ways[_i / 2][1]);
	a.n_left_out = 7;
	make(third, &a, NULL);
	digest(want, third);
	merge_two(merged, corpus_path, other);
	digest(got, merged);
	ck_assert_str_eq(want, got);
	same_sums(merged, third);
	OK(try_merge(merged, back, 2, &force));
	digest(got, merged);
	ck_assert_str_eq(want, got);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT n_left_out FROM source"), 7);
	ck_assert_int_eq(
	        corpus_number(s, "SELECT dumps = '[\"one\",\"two\"]' AND argv = '[\"gloss\",\"merge\"]' AND "
	                         "config ->> '$.top' = 2 AND config ->> '$.merged[1].dump_sha256' = 'one' "
	                         "AND length(dump_sha256) = 64 FROM source"),
	        1);
	store_close(s);
	ck_assert_int_eq(entries(), 4);
	support_rmdir(corpus_folder);
}
END_TEST

/* Joined in two steps, in any order, it is the same, with the hash of the same dumps. */
START_TEST(thirds_make_the_whole)
{
	store_index_opts a = options("a", "one", false), b = options("a", "two", false);
	store_index_opts c = options("a", "three", false), whole = options("a", "all", false);
	char want[SHA256_HEX], got[SHA256_HEX], between[FILE_PATH_MAX], all[FILE_PATH_MAX];
	const char *three[] = { third, corpus_path, other };
	store_merge_opts force = { .force = true };
	store *s;

	setup();
	OK(file_join(between, corpus_folder, "between.db", &corpus_err));
	OK(file_join(all, corpus_folder, "all.db", &corpus_err));
	make(corpus_path, &a, third_0);
	make(other, &b, third_1);
	make(third, &c, third_2);
	make(all, &whole, NULL);
	digest(want, all);
	merge_two(between, corpus_path, other);
	merge_two(merged, between, third);
	digest(got, merged);
	ck_assert_str_eq(want, got);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT json_array_length(config, '$.merged') FROM source"), 3);
	ck_assert_int_eq(corpus_number(s, "SELECT dumps = '[\"one\",\"three\",\"two\"]' FROM source"), 1);
	store_close(s);
	OK(try_merge(merged, three, 3, &force));
	digest(got, merged);
	ck_assert_str_eq(want, got);
	support_rmdir(corpus_folder);
}
END_TEST

/* Vectors and logits of the first store that has them. */
START_TEST(what_one_store_lacks)
{
	store_index_opts a = options("a", "one", false), b = options("a", "two", false);
	store *s;

	setup();
	make(corpus_path, &a, even);
	make(other, &b, odd);
	run_sql(corpus_path,
	        "DELETE FROM vector; UPDATE feature_detail SET neighbours = NULL WHERE feature = 3");
	run_sql(other, "UPDATE feature_detail SET top_logits = '[[1,2]]', neighbours = '[[7,0.5]]', "
	               "logit_histogram = "
	               "'{}'");
	merge_two(merged, corpus_path, other);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM vector"), FEATURES);
	ck_assert_int_eq(corpus_number(s,
	                               "SELECT count(*) FROM feature_detail WHERE top_logits = '[[1,2]]' AND "
	                               "logit_histogram = '{}'"),
	                 FEATURES);
	ck_assert_int_eq(
	        corpus_number(s, "SELECT feature FROM feature_detail WHERE neighbours = '[[7,0.5]]'"), 3);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- Side by side ---- */

/* Rows of a source without its id. */
static void source_digest(char hex[SHA256_HEX], const char *path, const char *name)
{
	static const char *const queries[] = {
		"SELECT name, kind, d_in, weights_sha256, dump_sha256, argv, config, created, n_tokens FROM "
		"source WHERE "
		"name = ?1",
		"SELECT f.feature, n_fires, sum1, sum4, kurtosis, token_entropy FROM feature f, source s "
		"WHERE s.id = "
		"source_id AND name = ?1",
		"SELECT feature, histogram, intervals, neighbours FROM feature_detail, source WHERE "
		"source.id = source_id "
		"AND name = ?1 ORDER BY 1",
		"SELECT feature, bin, rank, context_id, activation, e.codes FROM example e, source s WHERE "
		"s.id = "
		"source_id AND name = ?1 ORDER BY 1, 2, 3",
		"SELECT context_id, sampled, counted, codes FROM firing, source s WHERE s.id = source_id AND "
		"name = ?1 "
		"ORDER BY 1",
		"SELECT c.id, c.tokens, c.text, d.key FROM source_context x, source s, context c, document d "
		"WHERE s.id = "
		"source_id AND c.id = context_id AND d.id = document_id AND name = ?1 ORDER BY 1",
		"SELECT feature, decoder FROM vector, source s WHERE s.id = source_id AND name = ?1 ORDER BY "
		"1",
		"SELECT v.* FROM source s, vocab v WHERE v.tokenizer_id = s.tokenizer_id AND name = ?1 ORDER "
		"BY v.token",
	};
	store *s = NULL;
	sha256 h;

	OK(store_open(&s, path, STORE_READ, &corpus_err));
	OK(sha256_init(&h, &corpus_err));
	for (size_t q = 0; q < ARRAY_LEN(queries); q++) {
		sqlite3_stmt *st = NULL;
		int n = 0;

		OK(store_prepare(&st, s, queries[q], &corpus_err));
		OK(store_bind(s, st, &corpus_err, "t", name));
		for (; sqlite3_step(st) == SQLITE_ROW; n++) {
			for (int i = 0; i < sqlite3_column_count(st); i++) {
				sha256_add(&h, sqlite3_column_blob(st, i),
				           (size_t)sqlite3_column_bytes(st, i));
				sha256_add(&h, "|", 1);
			}
		}
		ck_assert_int_gt(n, 0);
		sqlite3_finalize(st);
	}
	sha256_end(&h, hex);
	store_close(s);
}

START_TEST(sources_side_by_side)
{
	store_index_opts a = options("a", "one", true), b = options("b", "one", false),
	                 c = options("c", "two", false);
	char want[SHA256_HEX], got[SHA256_HEX];
	store *s;

	setup();
	make(corpus_path, &c, odd); /* an id that b's has elsewhere */
	make(corpus_path, &a, first_half);
	make(other, &b, NULL);
	run_sql(other,
	        "UPDATE source SET kind = 'codes', n_samples = 0 WHERE name = 'b'"); /* of version 1 even */
	merge_two(merged, corpus_path, other);
	for (int i = 0; i < 3; i++) {
		const char *name = i == 0 ? "a" : i == 1 ? "b" : "c";

		source_digest(want, i == 1 ? other : corpus_path, name);
		source_digest(got, merged, name);
		ck_assert_str_eq(want, got);
	}
	s = open_merged();
	corpus_check(s);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM tokenizer"), 1);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM context"),
	                 corpus_number(s, "SELECT count(DISTINCT context_id) FROM source_context"));
	ck_assert_int_gt(corpus_number(s, "SELECT count(*) FROM source_context"),
	                 corpus_number(s, "SELECT count(*) FROM context")); /* some are shared */
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM context_fts_docsize"),
	                 corpus_number(s, "SELECT count(*) FROM context"));
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* One store has two sources, one of which is joined with the other store's under a given name. */
START_TEST(named_sources)
{
	store_index_opts a = options("left", "one", false), b = options("right", "two", false),
	                 c = options("c", "one", false);
	store_merge_opts o = { .source = "whole" };
	const char *paths[] = { corpus_path, other };
	char want[SHA256_HEX], got[SHA256_HEX];
	store *s;

	setup();
	make(corpus_path, &a, even);
	make(other, &b, odd);
	OK(try_merge(merged, paths, 2, &o));
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT name = 'whole' AND n_contexts = 60 FROM source"), 1);
	store_close(s);
	ck_assert_int_eq(unlink(merged), 0);
	make(other, &c, odd);
	ck_assert_int_eq(try_merge(merged, paths, 2, &o), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "none of them is 'whole'"));
	o.source = "right";
	OK(try_merge(merged, paths, 2, &o));
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM source"), 2);
	ck_assert_int_eq(corpus_number(s, "SELECT n_contexts FROM source WHERE name = 'right'"), 60);
	store_close(s);
	source_digest(want, other, "c");
	source_digest(got, merged, "c");
	ck_assert_str_eq(want, got);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- Documents ---- */

/* A document that both have, in groups of each. */
START_TEST(groups_are_joined)
{
	store_index_opts a = options("a", "one", true), b = options("b", "two", true);
	const char *paths[] = { corpus_path, other };
	store_merge_opts o = { .argv = "[]" };
	cJSON *page = NULL;
	const cJSON *one;
	double changed = 0;
	store *s;

	setup();
	make(corpus_path, &a, NULL);
	make(other, &b, NULL);
	/* in the other store 1001 is with 1005 instead of with 1000 */
	run_sql(other, "UPDATE document SET group_key = 52 WHERE key = 1001");
	OK(store_merge(&page, merged, paths, 2, &o, &corpus_err));
	s = open_merged();
	ck_assert_int_eq(
	        corpus_number(s, "SELECT count(DISTINCT group_key) FROM document WHERE key IN (1000, 1001, "
	                         "1004, 1005)"),
	        1);
	ck_assert_int_eq(corpus_number(s, "SELECT group_key FROM document WHERE key = 1005"), 50);
	ck_assert_int_eq(corpus_number(s, "SELECT group_key FROM document WHERE key = 1002"), 51);
	ck_assert_int_eq(corpus_number(s, "SELECT count(DISTINCT part) FROM document WHERE group_key = 50"),
	                 1);
	ck_assert(cJSON_GetObjectItem(page, "groups_joined")->valuedouble == 1);
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(page, "parts_changed")) changed +=
	        cJSON_GetObjectItem(one, "documents")->valuedouble;
	/* 50 and 52 are of other parts; 1004 and 1005 are in both stores, 1001 is in the other's 52 */
	ck_assert_int_ne(store_part_of(50), store_part_of(52));
	ck_assert(changed == 5);
	cJSON_Delete(page);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

static uint32_t shared_from; /* contexts from here on hold the same 24 tokens */

static void index_shared(const char *path, const char *dump, uint32_t first, uint32_t n)
{
	store_index_opts o = options("a", dump, true);
	store_index *ix = NULL;
	store *s = NULL;

	o.n_features = FEATURES;
	OK(store_open(&s, path, STORE_CREATE, &corpus_err));
	OK(store_index_begin(&ix, s, &o, &corpus_err));
	OK(corpus_give_rest(ix));
	for (uint32_t i = first; i < first + n; i++) {
		uint32_t tokens[MAX_TOKENS], start[MAX_TOKENS + 1] = { 0 };
		store_context c = { .tokens = tokens,
			            .n_tokens = 30 + i % 3,
			            .document = 100 + i,
			            .group = 100 + i,
			            .start = start };

		for (uint32_t t = 0; t < c.n_tokens; t++)
			tokens[t] = (uint32_t)(hash64_mix(i, t) % VOCAB);
		for (uint32_t t = 0; t < 24 && i >= shared_from; t++)
			tokens[i % 6 + t] = (uint32_t)(hash64_mix(99, t) % VOCAB);
		OK(store_index_context(ix, &c, &corpus_err));
	}
	OK(store_index_finish(ix, NULL, NULL, &corpus_err));
	store_close(s);
}

START_TEST(common_text_is_together)
{
	store *s;

	setup();
	shared_from = 4; /* 4, 5 in the first store; 6 .. 9 in the second, each a document of its own */
	index_shared(corpus_path, "one", 0, 6);
	index_shared(other, "two", 6, 4);
	merge_two(merged, corpus_path, other);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM document WHERE group_key = 104"), 6);
	ck_assert_int_eq(corpus_number(s, "SELECT count(DISTINCT group_key) FROM document"), 5);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- What was said ---- */

#define SAID(time, text)                                                                                     \
	"INSERT INTO explanation (source_id, feature, text, method, created) VALUES (1, 2, '" text           \
	"', 'person', '2026-01-01T00:00:" time "Z');"

static const char *const said_here =
        "INSERT INTO job VALUES (7, 'explain', 1, '{\"n\":1}', 'http://a', 'm', '{}', 'running', NULL, "
        "'2026-01-01T00:00:05Z', NULL);"
        "INSERT INTO task (id, job_id, feature, state, lease, updated) VALUES (3, 7, 2, 'running', '1 2 3', "
        "'then');"
        "INSERT INTO task (id, job_id, feature, state, updated) VALUES (4, 7, 5, 'done', 'then');"
        "INSERT INTO request VALUES (3, 0, 'key a', '[]');" SAID("01", "first") SAID("20", "third")
                SAID("19",
                     "fourth") "UPDATE explanation SET task_id = 4 WHERE text = 'third';"
                               "INSERT INTO score (explanation_id, scorer, judge, value, n_positive, "
                               "n_negative, n_failed, details, task_id, "
                               "created) SELECT id, 'detection', 'here', 0.5, 1, 1, 0, '{}', 4, "
                               "'2026-01-01T00:00:21Z' FROM explanation WHERE "
                               "text = 'third';"
                               "INSERT INTO list VALUES (5, 'both', '2026-01-02'), (6, 'here', '2026-01-02');"
                               "INSERT INTO list_item VALUES (5, 1, 2), (5, 1, 3), (6, 1, 9);"
                               "INSERT INTO note VALUES (2, 1, 2, 'note of here', '2026-01-03'); INSERT INTO "
                               "meta VALUES ('k', 'here')";
static const char *const said_there =
        "INSERT INTO job VALUES (7, 'score', 1, '{}', NULL, NULL, NULL, 'done', NULL, "
        "'2026-01-01T00:00:02Z', "
        "'2026-01-01T00:00:03Z');" SAID("10", "second")
                SAID("30",
                     "fifth") "INSERT INTO task (id, job_id, feature, explanation_id, state, updated) VALUES "
                              "(3, 7, 2, 1, 'done', 'now');"
                              "INSERT INTO score (explanation_id, scorer, judge, value, n_positive, "
                              "n_negative, n_failed, details, task_id, "
                              "created) SELECT id, 'detection', 'there', 0.75, 1, 1, 0, '{}', 3, "
                              "'2026-01-01T00:00:11Z' FROM explanation WHERE "
                              "text = 'second';"
                              "UPDATE explanation SET withdrawn = 'soon' WHERE text = 'fifth';"
                              "INSERT INTO list VALUES (1, 'there', '2026-01-01'), (2, 'both', '2026-01-01');"
                              "INSERT INTO list_item VALUES (2, 1, 3), (2, 1, 4), (1, 1, 8);"
                              "INSERT INTO note VALUES (2, 1, 2, 'note of there', '2026-01-01'); INSERT INTO "
                              "meta VALUES ('k', 'there')";

static void same_answer(store *s, const char *sql, const char *want)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(&st, s, sql, &corpus_err));
	OK(store_step(s, st, &row, &corpus_err));
	ck_assert_msg(row && sqlite3_column_text(st, 0), "nothing from %s", sql);
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), want);
	sqlite3_finalize(st);
}

/* _i: of one source joined, or of two. */
START_TEST(what_was_said_comes_along)
{
	store_index_opts a = options("a", "one", false), b = options(_i ? "b" : "a", "two", false);
	store *s;

	setup();
	make(corpus_path, &a, even);
	make(other, &b, odd);
	run_sql(corpus_path, said_here);
	run_sql(other, said_there);
	merge_two(merged, corpus_path, other);
	s = open_merged();
	corpus_check(s);
	same_answer(s, "SELECT group_concat(text) FROM (SELECT text FROM explanation ORDER BY id)",
	            "first,second,third,fourth,fifth");
	same_answer(s,
	            "SELECT group_concat(judge || ' ' || text) FROM (SELECT judge, text FROM score JOIN "
	            "explanation e "
	            "ON e.id = explanation_id ORDER BY score.id)",
	            "there second,here third");
	same_answer(s,
	            "SELECT group_concat(kind || ' ' || feature || ' ' || task.state) FROM (SELECT * FROM "
	            "job ORDER BY "
	            "id) job JOIN task ON job_id = job.id",
	            "score 2 done,explain 2 waiting,explain 5 done");
	same_answer(s, "SELECT group_concat(state) FROM (SELECT state FROM job ORDER BY id)", "done,stopped");
	same_answer(s, "SELECT text || ' ' || task.feature FROM explanation JOIN task ON task.id = task_id",
	            "third 5");
	same_answer(s, "SELECT key || ' ' || feature FROM request JOIN task ON id = task_id", "key a 2");
	same_answer(s, "SELECT text FROM task JOIN explanation e ON e.id = explanation_id", "second");
	same_answer(s,
	            "SELECT group_concat(name || ' ' || created || ' ' || n, ';') FROM (SELECT name, "
	            "created, (SELECT "
	            "count(*) FROM list_item WHERE list_id = id) AS n FROM list ORDER BY name)",
	            _i ? "both 2026-01-01 4;here 2026-01-02 1;there 2026-01-01 1"
	               : "both 2026-01-01 3;here 2026-01-02 1;there 2026-01-01 1");
	same_answer(s, "SELECT group_concat(text) FROM (SELECT text FROM note ORDER BY id)",
	            "note of there,note of here");
	same_answer(s, "SELECT group_concat(text) FROM (SELECT text FROM label ORDER BY source_id)",
	            _i ? "fourth,second" : "fourth");
	ck_assert_int_eq(
	        corpus_number(s, "SELECT count(*) FROM (SELECT * FROM current_label EXCEPT SELECT * FROM "
	                         "newest_label)"),
	        0);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM current_label"), _i ? 2 : 1);
	same_answer(s, "SELECT value FROM meta", "here");
	same_answer(s, "SELECT text FROM explanation_fts WHERE explanation_fts MATCH 'second'", "second");
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* A table that is new in the schema must be thought of here. */
START_TEST(every_table_is_known)
{
	store *s;

	corpus_setup();
	s = corpus_open();
	same_answer(s,
	            "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = 'table' AND "
	            "name NOT LIKE "
	            "'%\\_fts%' ESCAPE '\\' AND name NOT LIKE 'sqlite_%' ORDER BY name)",
	            "context,current_label,document,example,explanation,feature,feature_detail,firing,grid,"
	            "job,list,"
	            "list_item,meta,note,request,score,source,source_context,task,tokenizer,vector,vocab");
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- What cannot be joined ---- */

static void refused(int code, const char *words)
{
	const char *paths[] = { corpus_path, other };
	char before[SHA256_HEX], after[SHA256_HEX];
	int n = entries();

	OK(sha256_file(before, other, &corpus_err));
	ck_assert_int_eq(try_merge(merged, paths, 2, NULL), code);
	ck_assert_msg(strstr(corpus_err.msg, words) != NULL, "'%s' is not in: %s", words, corpus_err.msg);
	ck_assert_ptr_null(strchr(corpus_err.msg, '\n'));
	ck_assert_int_eq(entries(), n);
	OK(sha256_file(after, other, &corpus_err));
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
	store_index_opts a = options("a", "one", false), b = options("a", "two", false);

	setup();
	make(corpus_path, &a, even);
	make(other, &b, odd);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *kept = NULL;
		size_t n = 0;

		OK(file_read(&kept, &n, other, 1 << 24, &corpus_err));
		run_sql(other, cases[i].sql);
		refused(ERR_ARG, cases[i].words);
		support_put(other, kept, n);
		free(kept);
	}
	run_sql(corpus_path, "UPDATE source SET n_samples = 0");
	run_sql(other, "UPDATE source SET n_samples = 0");
	refused(ERR_ARG, "version 1");
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(refusals)
{
	store_index_opts a = options("a", "one", false), b = options("a", "two", false);
	const char *same[] = { corpus_path, other, corpus_path }, *part[] = { corpus_path, NULL };
	char part_name[FILE_PATH_MAX + 8];
	store *s;
	int fd = -1;

	setup();
	make(corpus_path, &a, even);
	snprintf(part_name, sizeof(part_name), "%s.part", merged);
	part[1] = part_name;
	support_put_text(other, "a text");
	refused(ERR_FORMAT, "is not a Gloss store");
	ck_assert_int_eq(unlink(other), 0);
	OK(store_open(&s, other, STORE_CREATE, &corpus_err));
	store_close(s);
	refused(ERR_NOTFOUND, "holds no indexed SAE");
	make(other, &b, odd);
	ck_assert_int_eq(try_merge(merged, same, 3, NULL), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "is given twice"));
	ck_assert_int_eq(try_merge(merged, same, 1, NULL), ERR_ARG);
	ck_assert_int_eq(try_merge(other, same, 2, NULL), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "cannot be the output too"));
	make(part_name, &b, odd);
	ck_assert_int_eq(try_merge(merged, part, 2, NULL), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "while it is made"));
	ck_assert_int_eq(unlink(part_name), 0);
	support_put_text(merged, "something");
	refused(ERR_EXISTS, "exists");
	ck_assert_int_eq(unlink(merged), 0);
	OK(beside_lock(&fd, part_name, merged, &corpus_err));
	refused(ERR_BUSY, "another run");
	ck_assert_int_eq(unlink(part_name), 0);
	close(fd);
	run_sql(other, "PRAGMA user_version = 99");
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
	store_index_opts a = options("a", "one", false), b = options("a", "two", false);

	setup();
	make(corpus_path, &b, odd);
	make(other, &a, even);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *kept = NULL;
		size_t n = 0;
		store *s = NULL;
		const char *paths[] = { other, corpus_path };

		OK(file_read(&kept, &n, other, 1 << 24, &corpus_err));
		OK(store_open(&s, other, STORE_WRITE, &corpus_err));
		OK(store_exec(s, "PRAGMA foreign_keys=OFF", &corpus_err));
		OK(store_exec(s, cases[i].sql, &corpus_err));
		store_close(s);
		ck_assert_msg(try_merge(merged, paths, 2, NULL) == ERR_FORMAT, "'%s' got by", cases[i].sql);
		ck_assert_msg(strstr(corpus_err.msg, cases[i].words) != NULL, "%s", corpus_err.msg);
		ck_assert_int_eq(entries(), 2);
		support_put(other, kept, n);
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
	store_index_opts a = options("a", "one", false), b = options("a", "two", false),
	                 c = options("c", "x", false);

	setup();
	make(corpus_path, &a, even);
	make(corpus_path, &c, first_half);
	make(other, &b, odd);
	run_sql(corpus_path, said_here);
}

START_TEST(stops_when_asked)
{
	const char *paths[] = { corpus_path, other };
	char before[SHA256_HEX], after[SHA256_HEX];
	long times = 0, left;
	store_merge_opts o = { .stop = { stop_at, &left } };
	int rc;

	setup_pair();
	OK(sha256_file(before, corpus_path, &corpus_err));
	for (;; times++) {
		left = times * times;
		rc = try_merge(merged, paths, 2, &o);
		if (rc == 0)
			break;
		ck_assert_int_eq(rc, ERR_STOPPED);
		ck_assert_int_eq(entries(), 2);
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
	const char *paths[] = { corpus_path, other };
	store_merge_opts o = { .argv = "[]" };

	setup_pair();
	for (long nth = 0;; nth += 1 + nth * faults[_i].step / 1000) {
		cJSON *page = NULL;
		int rc;

		fault_arm(faults[_i].kind, nth);
		rc = store_merge(&page, merged, paths, 2, &o, &corpus_err);
		if (!fault_disarm(faults[_i].kind)) {
			OK(rc);
			cJSON_Delete(page);
			break;
		}
		ck_assert_int_lt(rc, 0);
		ck_assert_ptr_null(page);
		ck_assert_msg(entries() == (file_exists(merged) ? 3 : 2), "%s", corpus_err.msg);
		unlink(merged); /* a folder that was not synced after the rename */
	}
	support_rmdir(corpus_folder);
}
END_TEST

/* File systems that are full, or may not be written to: only root may mount them. */
START_TEST(other_disks)
{
	const char *paths[] = { corpus_path, other };
	char dir[FILE_PATH_MAX], to[FILE_PATH_MAX];

	setup_pair();
	support_mkdir(dir);
	OK(file_join(to, dir, "a.db", &corpus_err));
	if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") == 0) {
		ck_assert_int_eq(try_merge(to, paths, 2, NULL), ERR_LIMIT);
		ck_assert_msg(strstr(corpus_err.msg, "no room for") != NULL, "%s", corpus_err.msg);
		ck_assert(!file_exists(to) && !file_exists(support_path(dir, "a.db.part")));
		ck_assert_int_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
		ck_assert_int_eq(try_merge(to, paths, 2, NULL), ERR_IO);
		ck_assert_msg(strstr(corpus_err.msg, "Read-only") != NULL, "%s", corpus_err.msg);
		ck_assert_int_eq(umount(dir), 0);
	}
	support_rmdir(dir);
	support_rmdir(corpus_folder);
}
END_TEST

/* A writer in one of the stores, with what is not yet in its file; and leftovers of a run that was killed. */
START_TEST(stores_in_use)
{
	const char *paths[] = { corpus_path, other };
	store *writer = NULL, *s;

	setup_pair();
	OK(store_open(&writer, other, STORE_WRITE, &corpus_err));
	OK(store_exec(writer, "INSERT INTO note VALUES (2, 1, 2, 'late', '2026')", &corpus_err));
	support_put_text(support_path(corpus_folder, "merged.db.part"), "half");
	support_put_text(support_path(corpus_folder, "merged.db.part.part"), "half");
	OK(try_merge(merged, paths, 2, NULL));
	store_close(writer);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM note WHERE text = 'late'"), 1);
	store_close(s);
	ck_assert_int_eq(entries(), 3);
	support_rmdir(corpus_folder);
}
END_TEST

static void cases(Suite *s)
{
	TCase *loops = tcase_create("loops");

	SUPPORT_CASE(s, "joined", thirds_make_the_whole, what_one_store_lacks);
	SUPPORT_CASE(s, "beside", sources_side_by_side, named_sources, every_table_is_known);
	SUPPORT_CASE(s, "documents", groups_are_joined, common_text_is_together);
	SUPPORT_CASE(s, "refusals", differences_are_named, refusals, damage_is_told);
	SUPPORT_CASE(s, "trouble", stops_when_asked, other_disks, stores_in_use);
	tcase_set_timeout(loops, 60);
	tcase_add_loop_test(loops, halves_make_the_whole, 0, 4);
	tcase_add_loop_test(loops, what_was_said_comes_along, 0, 2);
	tcase_add_loop_test(loops, faults_leave_nothing, 0, 4);
	suite_add_tcase(s, loops);
}
SUPPORT_MAIN("merge", cases)
