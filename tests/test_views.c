/* The views: what they say against the store's own functions, whether their text is text, and that a page of each is found
 * without reading all the rest. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

#include <math.h>

static error err;

static sqlite3_stmt *prepare(store *s, const char *sql)
{
	sqlite3_stmt *st = NULL;

	ck_assert_msg(store_prepare(&st, s, sql, &err) == 0, "%s", err.msg);
	return st;
}

static bool step(store *s, sqlite3_stmt *st)
{
	bool row;

	ck_assert_msg(store_step(s, st, &row, &err) == 0, "%s", err.msg);
	return row;
}

static int64_t number(store *s, const char *sql)
{
	int64_t n;

	ck_assert_msg(store_int(&n, s, sql, -1, &err) == 0, "%s", err.msg);
	return n;
}

static const char *column(sqlite3_stmt *st, int i)
{
	const char *chars = (const char *)sqlite3_column_text(st, i);

	return chars ? chars : "NULL";
}

/* ---- Examples --------------------------------------------------------------------------------------------------- */

/* A row a token: the rule of the store, and what the token is. */
START_TEST(tokens_have_their_values)
{
	store *s = small_store_open(STORE_READ);
	sqlite3_stmt *st = prepare(s, "SELECT feature, context_id, position, qualifying, token, text, value,"
	                              " kind, bin FROM example_token WHERE source_id = 1");
	uint32_t tokens[SMALL_TOKENS];
	int64_t n = 0, qualifying = 0;

	while (step(s, st)) {
		uint32_t feature = (uint32_t)sqlite3_column_int(st, 0),
		         at = (uint32_t)sqlite3_column_int(st, 2);

		small_context(tokens, (uint32_t)(sqlite3_column_int64(st, 1) - small_context_id(0)));
		ck_assert_uint_lt(at, SMALL_TOKENS);
		ck_assert_uint_eq((uint32_t)sqlite3_column_int(st, 4), tokens[at]);
		ck_assert_double_eq(sqlite3_column_double(st, 6), small_value(feature, tokens, at));
		if (tokens[at] == SMALL_CHAR_TAIL)
			ck_assert_str_eq(column(st, 5), "");
		else if (tokens[at] == SMALL_CHAR_HEAD)
			ck_assert_str_eq(column(st, 5), " \xe7\x8c\xab");
		else
			ck_assert_str_eq(column(st, 5), small_token(tokens[at]));
		qualifying += sqlite3_column_int(st, 3);
		n++;
	}
	sqlite3_finalize(st);
	ck_assert_int_eq(n, number(s, "SELECT sum(length) FROM example_window"));
	ck_assert_int_eq(qualifying, number(s, "SELECT count(*) FROM example"));
	ck_assert_int_gt(n, 1000);
	store_close(s);
}
END_TEST

/* The text of an example is its tokens' with the qualifying one marked; intervals hold its value. */
START_TEST(texts_are_of_their_tokens)
{
	store *s = small_store_open(STORE_READ);
	sqlite3_stmt *st = prepare(
	        s,
	        "SELECT e.text, (SELECT group_concat(iif(t.qualifying, '[[' || t.text || ']]', t.text), '')"
	        " FROM example_token t WHERE t.source_id = 1 AND t.feature = e.feature AND t.bin = e.bin"
	        " AND t.rank = e.rank), e.low, e.high, e.activation, e.bin, e.weight, e.token FROM"
	        " example_text e WHERE e.source_id = 1");
	char marked[64];
	int n = 0;

	while (step(s, st)) {
		ck_assert_str_eq(column(st, 0), column(st, 1));
		snprintf(marked, sizeof(marked), "[[%s]]", column(st, 7));
		ck_assert_ptr_nonnull(strstr(column(st, 0), marked));
		if (sqlite3_column_int(st, 5) < 0) {
			ck_assert_int_eq(sqlite3_column_type(st, 2), SQLITE_NULL);
			ck_assert_int_eq(sqlite3_column_type(st, 3), SQLITE_NULL);
			ck_assert_double_eq(sqlite3_column_double(st, 6), 1);
		} else { /* bin 2 of all features, whatever their values: from 2 to 4, 60 firings for 24 samples */
			ck_assert_double_eq(sqlite3_column_double(st, 2), 2);
			ck_assert_double_eq(sqlite3_column_double(st, 3), 4);
			ck_assert_double_eq(sqlite3_column_double(st, 6), 2.5);
		}
		n++;
	}
	ck_assert_int_eq(n, (int)number(s, "SELECT count(*) FROM example"));
	sqlite3_finalize(st);
	store_close(s);
}
END_TEST

/* One example of feature 0 in context 0 and nothing else, with windows of `before` and `after` tokens. */
static void put_codes(store *s, const unsigned char *codes, size_t size, float activation, uint32_t position,
                      uint32_t before, uint32_t after, uint32_t length)
{
	sqlite3_stmt *st;
	uint32_t bits;

	memcpy(&bits, &activation, sizeof(bits));
	ck_assert_int_eq(store_exec(s, "DELETE FROM example", &err), 0);
	st = prepare(s, "UPDATE source SET before = ?1, after = ?2");
	ck_assert_int_eq(store_bind(s, st, &err, "ii", (int64_t)before, (int64_t)after), 0);
	ck_assert_int_eq(store_run(s, st, &err), 0);
	sqlite3_finalize(st);
	st = prepare(s, "UPDATE context SET n_tokens = ?1");
	ck_assert_int_eq(store_bind(s, st, &err, "i", (int64_t)length), 0);
	ck_assert_int_eq(store_run(s, st, &err), 0);
	sqlite3_finalize(st);
	st = prepare(s, "INSERT INTO example VALUES (1, 0, -1, 0, ?1, ?2, ?3, ?4)");
	ck_assert_int_eq(store_bind(s, st, &err, "iiib", small_context_id(0), (int64_t)position,
	                            (int64_t)bits, (const void *)codes, size),
	                 0);
	ck_assert_int_eq(store_run(s, st, &err), 0);
	sqlite3_finalize(st);
}

/* Codes as SQL reads them are those that C reads, whatever the exponent, for both widths of an offset. */
START_TEST(values_are_exact)
{
	static const float scales[] = { 1, 3e38f, 1e30f, 7e5f, 1e-7f, 1e-30f, 1e-38f, 3e-42f };
	bool wide = _i & 1;
	uint32_t length = wide ? 700 : 90, after = wide ? 400 : 40;
	store *s = small_store_open(STORE_WRITE);

	for (size_t k = 0; k < ARRAY_LEN(scales); k++) {
		uint32_t position[700], n = 0, peak = 0, at = length - after;
		float value[700], got[700] = { 0 };
		unsigned char codes[1 + 4 * 700];
		sqlite3_stmt *st;
		size_t size;

		for (uint32_t i = 0; i < length; i++) {
			uint64_t h = hash64_mix((uint64_t)_i * 100 + k, i);

			if (i != at && h % 3)
				continue;
			peak = i == at ? n : peak;
			position[n] = i;
			value[n++] = scales[k] * (float)ldexp(hash64_unit(h) + 0.1, -(int)(h >> 20 & 31));
			value[n - 1] = value[n - 1] > 0 ? value[n - 1] : scales[k];
		}
		size = store_window_size(n, wide);
		store_window_encode(codes, position, value, n, 0, peak, wide);
		ck_assert_msg(store_window_decode(got, length, at, value[peak], codes, size, wide, &err) == 0,
		              "%s", err.msg);
		put_codes(s, codes, size, value[peak], at, length, after, length);
		st = prepare(s, "SELECT n.key, n.value FROM example_values v JOIN json_each(v.\"values\") n");
		for (uint32_t i = 0; i < length; i++) {
			ck_assert(step(s, st));
			ck_assert_int_eq(sqlite3_column_int(st, 0), (int)i);
			ck_assert_msg((float)sqlite3_column_double(st, 1) == got[i],
			              "scale %g token %u: %.17g, not %.9g", (double)scales[k], i,
			              sqlite3_column_double(st, 1), (double)got[i]);
		}
		ck_assert(!step(s, st));
		sqlite3_finalize(st);
	}
	store_close(s);
}
END_TEST

/* ---- Features ---------------------------------------------------------------------------------------------------- */

static const struct {
	const char *sql;
	int64_t want;
} counts[] = {
	{ "SELECT count(*) FROM feature_list", SMALL_FEATURES },
	{ "SELECT count(*) FROM feature_list WHERE label = 'cats' AND score = 0.9 AND feature = 0", 1 },
	{ "SELECT sum(dead) * 100 + sum(dense) FROM feature_list", 103 },
	{ "SELECT count(*) FROM feature_logit WHERE feature = 1", 3 },
	{ "SELECT count(*) FROM feature_logit WHERE side = 'bottom' AND text = ' ran' AND logit = -1.5 AND "
	  "rank = 0",
	  SMALL_FEATURES },
	{ "SELECT count(*) FROM feature_neighbour WHERE feature = 0 AND rank = 1 AND neighbour = 1 AND "
	  "cosine = 0.5",
	  1 },
	{ "SELECT count(*) FROM feature_neighbour WHERE neighbour = 6 AND label IS NULL", SMALL_FEATURES },
	{ "SELECT count(*) FROM feature_quantile WHERE percent = 50 AND value = 1 AND exact = 1",
	  SMALL_FEATURES - 1 },
	{ "SELECT count(*) FROM feature_cofiring", 2 },
	{ "SELECT other FROM feature_cofiring WHERE rank = 1 AND feature = 6 AND common = 7 AND cosine = "
	  "0.25",
	  2 },
	{ "SELECT count(*) FROM feature_logit_histogram WHERE feature = 4", 4 },
	{ "SELECT sum(count) FROM feature_logit_histogram WHERE low >= -0.5 AND high <= 1.5 AND high - low = "
	  "0.5",
	  10 },
	{ "SELECT count(*) FROM label", 2 },
	{ "SELECT count(*) FROM np_neuron WHERE \"modelId\" = 'tiny' AND layer = 'small' AND \"hookName\" = "
	  "'blocks.1'",
	  SMALL_FEATURES },
	{ "SELECT count(*) FROM np_neuron WHERE \"index\" = '0' AND pos_str = '[\" cat\",\" dog\"]'"
	  " AND pos_values = '[1.5,0.25]' AND neg_str = '[\" ran\"]' AND \"topkCosSimIndices\" = '[6,1]'"
	  " AND freq_hist_data_bar_heights = '[1,0,60,3]' AND freq_hist_data_bar_values = "
	  "'[0.75,1.5,3.0,6.0]'",
	  1 },
	{ "SELECT count(*) FROM np_activation a JOIN example_window w ON a.id ="
	  " w.source_id || '/' || w.feature || '/' || w.bin || '/' || w.rank"
	  " WHERE json_array_length(a.tokens) = w.length AND json_array_length(a.\"values\") = w.length AND"
	  " json_extract(a.\"values\", '$[' || a.\"qualifyingTokenIndex\" || ']') = w.activation AND"
	  " json_extract(a.\"values\", '$[' || a.\"maxValueTokenIndex\" || ']') = a.\"maxValue\" AND"
	  " a.\"maxValue\" >= w.activation AND a.\"minValue\" >= 0",
	  -1 },
	{ "SELECT count(*) FROM np_activation WHERE feature = 6 AND \"binMin\" = 2 AND \"binMax\" = 4 AND"
	  " abs(\"binContains\" - 60 / 744.0) < 1e-15",
	  SMALL_CONTEXTS },
	{ "SELECT count(*) FROM np_activation WHERE feature = 6 AND \"binMin\" = -1 AND \"binMax\" = 3",
	  SMALL_CONTEXTS },
	{ "SELECT count(*) FROM np_explanation WHERE json_extract(scores, '$[0].value') IS NOT NULL", 3 },
};

START_TEST(rows_are_what_is_stored)
{
	store *s = small_store_open(STORE_WRITE);
	int64_t want = counts[_i].want, got;

	ck_assert_msg(
	        store_exec(s,
	                   "UPDATE feature_detail SET cofiring = '[[4,9,0.5],[2,7,0.25]]' WHERE feature = 6;"
	                   "UPDATE feature_detail SET logit_histogram ="
	                   " '{\"low\":-0.5,\"high\":1.5,\"counts\":[1,2,3,4]}' WHERE feature = 4",
	                   &err) == 0,
	        "%s", err.msg);
	got = number(s, counts[_i].sql);
	ck_assert_msg(got == (want < 0 ? number(s, "SELECT count(*) FROM example") : want), "%lld: %s",
	              (long long)got, counts[_i].sql);
	store_close(s);
}
END_TEST

/* ---- All of them --------------------------------------------------------------------------------------------------- */

static bool is_utf8(const char *chars, size_t n)
{
	uint32_t cp;
	size_t one = 1;

	for (size_t at = 0; at < n && one > 0; at += one) {
		one = utf8_next(chars + at, n - at, &cp);
		one = cp == 0 ? 0 : one;
	}
	return one > 0;
}

/* Calls look() for each table and view that is not a part of full text. */
static void each_relation(store *s, const char *types, void (*look)(store *s, const char *name))
{
	sqlite3_stmt *st = prepare(
	        s, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%'"
	           " AND instr(?1, type) ORDER BY name");
	int n = 0;

	ck_assert_int_eq(store_bind(s, st, &err, "t", types), 0);
	for (; step(s, st); n++)
		look(s, column(st, 0));
	ck_assert_int_gt(n, 10);
	sqlite3_finalize(st);
}

static void look_for_blobs(store *s, const char *name)
{
	char sql[200];
	sqlite3_stmt *st;
	bool row;

	snprintf(sql, sizeof(sql), "SELECT * FROM %s LIMIT 1", name);
	st = prepare(s, sql);
	row = step(s, st);
	for (int i = 0; row && i < sqlite3_column_count(st); i++)
		ck_assert_msg(sqlite3_column_type(st, i) != SQLITE_BLOB, "%s.%s", name,
		              sqlite3_column_name(st, i));
	sqlite3_finalize(st);
}

START_TEST(views_have_no_blobs)
{
	store *s = small_store_open(STORE_READ);

	each_relation(s, "view", look_for_blobs);
	store_close(s);
}
END_TEST

static void look_at_text(store *s, const char *name)
{
	char sql[200];
	sqlite3_stmt *st;

	snprintf(sql, sizeof(sql), "SELECT * FROM %s", name);
	st = prepare(s, sql);
	while (step(s, st)) {
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			bool is_text = sqlite3_column_type(st, i) == SQLITE_TEXT;

			ck_assert_msg(!is_text || is_utf8(column(st, i), (size_t)sqlite3_column_bytes(st, i)),
			              "%s.%s", name, sqlite3_column_name(st, i));
		}
	}
	sqlite3_finalize(st);
}

START_TEST(text_is_utf8)
{
	store *s = small_store_open(STORE_READ);

	each_relation(s, "table view", look_at_text);
	store_close(s);
}
END_TEST

static void plan_is_short(store *s, const char *name, const char *where, const char *forbidden)
{
	char sql[300];
	sqlite3_stmt *st;

	snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN SELECT * FROM %s%s", name, where);
	st = prepare(s, sql);
	while (step(s, st)) {
		const char *detail = column(st, 3);

		ck_assert_msg(!strstr(detail, "USE TEMP B-TREE FOR GROUP") &&
		                      !strstr(detail, "FOR DISTINCT") && !strstr(detail, "AUTOMATIC"),
		              "%s: %s", name, detail);
		ck_assert_msg(!*forbidden || strncmp(detail, "SCAN ", 5) != 0 ||
		                      strstr(detail, "VIRTUAL TABLE") || strstr(detail, "SCAN CONSTANT") ||
		                      strstr(detail, "SCAN step") || strstr(detail, "SCAN (subquery"),
		              "%s%s: %s", name, where, detail);
	}
	sqlite3_finalize(st);
}

/* No index is made on the fly, and one feature's rows are found without reading the others'. */
static void look_at_plans(store *s, const char *name)
{
	char sql[200];

	if (strcmp(name, "newest_label") == 0)
		return; /* for the store's own use */
	plan_is_short(s, name, "", "");
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM pragma_table_info('%s') WHERE name = 'feature'",
	         name);
	if (number(s, sql) == 1 && strcmp(name, "label_score") != 0)
		plan_is_short(s, name, " WHERE source_id = 1 AND feature = 2", "SCAN");
}

START_TEST(pages_need_no_sorting)
{
	store *s = small_store_open(STORE_WRITE);

	each_relation(s, "view", look_at_plans);
	store_close(s);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = SUPPORT_CASE(suite, "views", tokens_have_their_values, texts_are_of_their_tokens,
	                         text_is_utf8, views_have_no_blobs, pages_need_no_sorting);

	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_loop_test(tc, values_are_exact, 0, 2);
	tcase_add_loop_test(tc, rows_are_what_is_stored, 0, ARRAY_LEN(counts));
}
SUPPORT_MAIN("views", cases)
