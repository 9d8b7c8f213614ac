/* gloss merge: halves joined are the whole, row by row; sources side by side are what they were; nothing said is lost. */
#include "tests/support_merge.h"

#include <math.h>
#include <unistd.h>

static bool first_half(uint32_t i)
{
	return i < 33; /* 34 is a copy of 31 */
}

static bool second_half(uint32_t i)
{
	return i >= 33;
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

static void merge_two(const char *to, const char *a, const char *b)
{
	const char *paths[] = { a, b };

	OK(merge_try(to, paths, 2, NULL));
}

static store *open_merged(void)
{
	store *s = NULL;

	OK(store_open(&s, merge_out, STORE_READ, &corpus_err));
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
	static bool (*const ways[][2])(uint32_t i) = { { first_half, second_half },
		                                       { merge_even, merge_odd } };
	store_index_opts a = merge_options("a", "one", _i & 1), b = merge_options("a", "two", _i & 1);
	char want[SHA256_HEX], got[SHA256_HEX];
	const char *back[] = { merge_b, corpus_path };
	store_merge_opts force = { .force = true };
	store *s;

	merge_setup();
	a.n_left_out = 3;
	b.n_left_out = 4;
	merge_make(corpus_path, &a, ways[_i / 2][0]);
	merge_make(merge_b, &b, ways[_i / 2][1]);
	a.n_left_out = 7;
	merge_make(merge_c, &a, NULL);
	digest(want, merge_c);
	merge_two(merge_out, corpus_path, merge_b);
	digest(got, merge_out);
	ck_assert_str_eq(want, got);
	same_sums(merge_out, merge_c);
	OK(merge_try(merge_out, back, 2, &force));
	digest(got, merge_out);
	ck_assert_str_eq(want, got);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT n_left_out FROM source"), 7);
	ck_assert_int_eq(
	        corpus_number(s, "SELECT dumps = '[\"one\",\"two\"]' AND argv = '[\"gloss\",\"merge\"]' AND "
	                         "config ->> '$.top' = 2 AND config ->> '$.merged[1].dump_sha256' = 'one' "
	                         "AND length(dump_sha256) = 64 FROM source"),
	        1);
	store_close(s);
	ck_assert_int_eq(merge_entries(), 4);
	support_rmdir(corpus_folder);
}
END_TEST

/* Joined in two steps, in any order, it is the same, with the hash of the same dumps. */
START_TEST(thirds_make_the_whole)
{
	store_index_opts a = merge_options("a", "one", false), b = merge_options("a", "two", false);
	store_index_opts c = merge_options("a", "three", false), whole = merge_options("a", "all", false);
	char want[SHA256_HEX], got[SHA256_HEX], between[FILE_PATH_MAX], all[FILE_PATH_MAX];
	const char *three[] = { merge_c, corpus_path, merge_b };
	store_merge_opts force = { .force = true };
	store *s;

	merge_setup();
	OK(file_join(between, corpus_folder, "between.db", &corpus_err));
	OK(file_join(all, corpus_folder, "all.db", &corpus_err));
	merge_make(corpus_path, &a, third_0);
	merge_make(merge_b, &b, third_1);
	merge_make(merge_c, &c, third_2);
	merge_make(all, &whole, NULL);
	digest(want, all);
	merge_two(between, corpus_path, merge_b);
	merge_two(merge_out, between, merge_c);
	digest(got, merge_out);
	ck_assert_str_eq(want, got);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT json_array_length(config, '$.merged') FROM source"), 3);
	ck_assert_int_eq(corpus_number(s, "SELECT dumps = '[\"one\",\"three\",\"two\"]' FROM source"), 1);
	store_close(s);
	OK(merge_try(merge_out, three, 3, &force));
	digest(got, merge_out);
	ck_assert_str_eq(want, got);
	support_rmdir(corpus_folder);
}
END_TEST

/* Vectors and logits of the first store that has them. */
START_TEST(what_one_store_lacks)
{
	store_index_opts a = merge_options("a", "one", false), b = merge_options("a", "two", false);
	store *s;

	merge_setup();
	merge_make(corpus_path, &a, merge_even);
	merge_make(merge_b, &b, merge_odd);
	merge_run(corpus_path,
	          "DELETE FROM vector; UPDATE feature_detail SET neighbours = NULL WHERE feature = 3");
	merge_run(merge_b, "UPDATE feature_detail SET top_logits = '[[1,2]]', neighbours = '[[7,0.5]]', "
	                   "logit_histogram = "
	                   "'{}'");
	merge_two(merge_out, corpus_path, merge_b);
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
	store_index_opts a = merge_options("a", "one", true), b = merge_options("b", "one", false),
	                 c = merge_options("c", "two", false);
	char want[SHA256_HEX], got[SHA256_HEX];
	store *s;

	merge_setup();
	merge_make(corpus_path, &c, merge_odd); /* an id that b's has elsewhere */
	merge_make(corpus_path, &a, first_half);
	merge_make(merge_b, &b, NULL);
	merge_run(merge_b,
	          "UPDATE source SET kind = 'codes', n_samples = 0 WHERE name = 'b'"); /* of version 1 even */
	merge_two(merge_out, corpus_path, merge_b);
	for (int i = 0; i < 3; i++) {
		const char *name = i == 0 ? "a" : i == 1 ? "b" : "c";

		source_digest(want, i == 1 ? merge_b : corpus_path, name);
		source_digest(got, merge_out, name);
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
	store_index_opts a = merge_options("left", "one", false), b = merge_options("right", "two", false),
	                 c = merge_options("c", "one", false);
	store_merge_opts o = { .source = "whole" };
	const char *paths[] = { corpus_path, merge_b };
	char want[SHA256_HEX], got[SHA256_HEX];
	store *s;

	merge_setup();
	merge_make(corpus_path, &a, merge_even);
	merge_make(merge_b, &b, merge_odd);
	OK(merge_try(merge_out, paths, 2, &o));
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT name = 'whole' AND n_contexts = 60 FROM source"), 1);
	store_close(s);
	ck_assert_int_eq(unlink(merge_out), 0);
	merge_make(merge_b, &c, merge_odd);
	ck_assert_int_eq(merge_try(merge_out, paths, 2, &o), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "none of them is 'whole'"));
	o.source = "right";
	OK(merge_try(merge_out, paths, 2, &o));
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM source"), 2);
	ck_assert_int_eq(corpus_number(s, "SELECT n_contexts FROM source WHERE name = 'right'"), 60);
	store_close(s);
	source_digest(want, merge_b, "c");
	source_digest(got, merge_out, "c");
	ck_assert_str_eq(want, got);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- Documents ---- */

/* A document that both have, in groups of each. */
START_TEST(groups_are_joined)
{
	store_index_opts a = merge_options("a", "one", true), b = merge_options("b", "two", true);
	const char *paths[] = { corpus_path, merge_b };
	store_merge_opts o = { .argv = "[]" };
	cJSON *page = NULL;
	const cJSON *one;
	double changed = 0;
	store *s;

	merge_setup();
	merge_make(corpus_path, &a, NULL);
	merge_make(merge_b, &b, NULL);
	/* in the other store 1001 is with 1005 instead of with 1000 */
	merge_run(merge_b, "UPDATE document SET group_key = 52 WHERE key = 1001");
	OK(store_merge(&page, merge_out, paths, 2, &o, &corpus_err));
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
	store_index_opts o = merge_options("a", dump, true);
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

	merge_setup();
	shared_from = 4; /* 4, 5 in the first store; 6 .. 9 in the second, each a document of its own */
	index_shared(corpus_path, "one", 0, 6);
	index_shared(merge_b, "two", 6, 4);
	merge_two(merge_out, corpus_path, merge_b);
	s = open_merged();
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM document WHERE group_key = 104"), 6);
	ck_assert_int_eq(corpus_number(s, "SELECT count(DISTINCT group_key) FROM document"), 5);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- What was said ---- */

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
	store_index_opts a = merge_options("a", "one", false),
	                 b = merge_options(_i ? "b" : "a", "two", false);
	store *s;

	merge_setup();
	merge_make(corpus_path, &a, merge_even);
	merge_make(merge_b, &b, merge_odd);
	merge_run(corpus_path, merge_said_here);
	merge_run(merge_b, merge_said_there);
	merge_two(merge_out, corpus_path, merge_b);
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
	same_answer(s, "SELECT text || key FROM golden JOIN explanation e ON e.id = explanation_id",
	            "second77");
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
	            "'%\\_fts%' ESCAPE '\\' AND name NOT LIKE '%\\_trigram%' ESCAPE '\\' AND name NOT LIKE "
	            "'sqlite_%' ORDER BY name)",
	            "context,current_label,document,example,explanation,feature,feature_detail,firing,golden,"
	            "grid,"
	            "job,list,"
	            "list_item,meta,note,prompt,request,score,source,source_context,task,tokenizer,vector,"
	            "vocab,worker");
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

static void cases(Suite *s)
{
	TCase *loops = tcase_create("loops");

	SUPPORT_CASE(s, "joined", thirds_make_the_whole, what_one_store_lacks);
	SUPPORT_CASE(s, "beside", sources_side_by_side, named_sources, every_table_is_known);
	SUPPORT_CASE(s, "documents", groups_are_joined, common_text_is_together);
	tcase_set_timeout(loops, 60);
	tcase_add_loop_test(loops, halves_make_the_whole, 0, 4);
	tcase_add_loop_test(loops, what_was_said_comes_along, 0, 2);
	suite_add_tcase(s, loops);
}
SUPPORT_MAIN("merge", cases)
