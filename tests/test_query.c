/* store/query.c, show.c, sql.c on the hand-made store: known answers, and bad input. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

static store *s;
static error err;

static void setup(void)
{
	s = small_store_open(STORE_READ);
	err = (error){ 0 };
}

static void teardown(void)
{
	store_close(s);
}

/* ---- features -------------------------------------------------------------------------------------------------- */

static cJSON *features(const char *where, const char *sort, uint64_t limit, uint64_t offset)
{
	store_features_opts o = { .where = where, .sort = sort, .limit = limit, .offset = offset };
	cJSON *page = NULL;

	ck_assert_msg(store_features(&page, s, &o, &err) == 0, "%s", err.msg);
	return page;
}

START_TEST(features_lists_all)
{
	cJSON *page = features(NULL, NULL, 25, 0);
	const cJSON *first = json_item(page, "features", 0);

	ck_assert_str_eq(json_string(page, "source"), "small");
	ck_assert_double_eq(json_number(page, "total"), SMALL_FEATURES);
	ck_assert_int_eq(json_count(page, "features"), SMALL_FEATURES);
	ck_assert_double_eq(json_number(first, "feature"), SMALL_ON_CAT);
	ck_assert_double_eq(json_number(first, "n_fires"), small_tally(SMALL_ON_CAT, NULL));
	ck_assert_str_eq(json_string(first, "label"), "cats");
	ck_assert_str_eq(json_string(first, "label_method"), "llm");
	ck_assert_double_eq(json_number(first, "score"), 0.9);
	ck_assert_double_eq_tol(json_number(first, "score_low"), 0.8, 1e-12);
	ck_assert_str_eq(json_string(first, "scorer"), "detection");
	ck_assert_str_eq(json_string(first, "top_token_text"), " cat");
	ck_assert(cJSON_IsNull(json_member(first, "skewness")));
	ck_assert(cJSON_IsFalse(json_member(first, "dead")));
	ck_assert(cJSON_IsTrue(json_member(json_item(page, "features", SMALL_DEAD), "dead")));
	ck_assert(cJSON_IsNull(json_member(json_item(page, "features", SMALL_DENSE), "label")));
	cJSON_Delete(page);
}
END_TEST

/* Expressions, and the features they hold for in the order of the sort. */
static const struct {
	const char *where, *sort;
	uint64_t limit, offset;
	int total, n, ids[SMALL_FEATURES];
} listings[] = {
	{ "dead", NULL, 9, 0, 1, 1, { SMALL_DEAD } },
	{ "not dead and density > 0.9", NULL, 9, 0, 1, 1, { SMALL_DENSE } },
	{ "label LIKE '%CAT%'", NULL, 9, 0, 1, 1, { SMALL_ON_CAT } },
	{ "score >= 0.6 or feature in (3, 7)",
	  "-score",
	  9,
	  0,
	  4,
	  4,
	  { SMALL_ON_CAT, SMALL_ON_ESCAPE, SMALL_DEAD, SMALL_ON_PAREN } },
	{ "label IS NOT NULL", "score", 9, 0, 2, 2, { SMALL_ON_ESCAPE, SMALL_ON_CAT } },
	{ "top_token_text = ' cat'", NULL, 9, 0, 1, 1, { SMALL_ON_CAT } },
	{ "round(max_act) = 4 -(0)", NULL, 9, 0, 1, 1, { SMALL_ON_ESCAPE } },
	{ "label = 'it''s (' or feature = 2", NULL, 9, 0, 1, 1, { SMALL_DENSE } },
	{ "0", NULL, 9, 0, 0, 0, { 0 } },
	{ "", "-feature", 2, 1, SMALL_FEATURES, 2, { 6, 5 } },
	{ NULL, "-feature", 3, 100, SMALL_FEATURES, 0, { 0 } },
	{ NULL, "decoder_norm", 3, 0, SMALL_FEATURES, 3, { 0, 1, 2 } }, /* all equal: by feature */
	{ "dense", "feature", 9, 0, 3, 3, { SMALL_DENSE, SMALL_ON_ESCAPE, SMALL_ON_ANIMAL } },
	{ NULL,
	  "-score,-n_fires",
	  4,
	  0,
	  SMALL_FEATURES,
	  4,
	  { SMALL_ON_CAT, SMALL_ON_ESCAPE, SMALL_DENSE, SMALL_ON_ANIMAL } },
	{ NULL,
	  "label,-feature",
	  3,
	  0,
	  SMALL_FEATURES,
	  3,
	  { SMALL_ON_CAT, SMALL_ON_ESCAPE, SMALL_ON_PAREN } },
	{ NULL, "-label,feature", 3, 0, SMALL_FEATURES, 3, { SMALL_ON_ESCAPE, SMALL_ON_CAT, 1 } },
	{ NULL, "-Dead,MAX_ACT", 2, 0, SMALL_FEATURES, 2, { SMALL_DEAD, SMALL_DENSE } },
};

START_TEST(features_filters_sorts_and_pages)
{
	cJSON *page =
	        features(listings[_i].where, listings[_i].sort, listings[_i].limit, listings[_i].offset);

	ck_assert_double_eq(json_number(page, "total"), listings[_i].total);
	ck_assert_int_eq(json_count(page, "features"), listings[_i].n);
	for (int i = 0; i < listings[_i].n; i++)
		ck_assert_double_eq(json_number(json_item(page, "features", i), "feature"),
		                    listings[_i].ids[i]);
	cJSON_Delete(page);
}
END_TEST

/* Two of the seven that fire: by the seed alone, whatever the order and the page. */
START_TEST(features_draws)
{
	unsigned seen[SMALL_FEATURES] = { 0 };
	store_features_opts o = { .where = "not dead", .random = 2, .limit = 9 };

	for (o.seed = 0; o.seed < 200; o.seed++) {
		cJSON *page = NULL, *sorted = NULL;
		double a, b;

		o.sort = NULL;
		ck_assert_msg(store_features(&page, s, &o, &err) == 0, "%s", err.msg);
		ck_assert_double_eq(json_number(page, "total"), 2);
		ck_assert_double_eq(json_number(page, "matching"), 7);
		a = json_number(json_item(page, "features", 0), "feature");
		b = json_number(json_item(page, "features", 1), "feature");
		ck_assert_double_lt(a, b);
		seen[(int)a]++;
		seen[(int)b]++;
		o.sort = "-feature";
		ck_assert_msg(store_features(&sorted, s, &o, &err) == 0, "%s", err.msg);
		ck_assert_double_eq(json_number(json_item(sorted, "features", 0), "feature"), b);
		ck_assert_double_eq(json_number(json_item(sorted, "features", 1), "feature"), a);
		cJSON_Delete(sorted);
		cJSON_Delete(page);
	}
	ck_assert_uint_eq(seen[SMALL_DEAD], 0);
	for (int f = 0; f < SMALL_FEATURES; f++) /* 57 expected of 400, 6.4 the standard deviation */
		ck_assert(f == SMALL_DEAD || (seen[f] > 30 && seen[f] < 85));
}
END_TEST

#define A_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *where, *sort;
	int code;
	const char *message;
} bad_listings[] = {
	{ "densty > 1", NULL, ERR_ARG,
	  "where 'densty > 1': character 1: no such column: densty; did you mean 'density'?" },
	{ "\"densty\" > 1", NULL, ERR_ARG, "did you mean 'density'?" },
	{ "label = '\xc3\xa9' AND Densty", NULL, ERR_ARG,
	  "character 17: no such column: Densty; did you mean" },
	{ "lenght(label) > 1", NULL, ERR_ARG,
	  "character 1: no such function: lenght; did you mean 'length'?" },
	{ "1 + qwertyuiop(2)", NULL, ERR_ARG, "character 5: no such function: qwertyuiop" },
	{ "density > > 1", NULL, ERR_ARG, "character 11: near \">\": syntax error" },
	{ "density > ", NULL, ERR_ARG, "character 11: the expression ends too early" },
	{ "density BETWEEN 1", NULL, ERR_ARG, "character 18: the expression ends too early" },
	{ "1) OR (1", NULL, ERR_ARG, "character 2: no '(' goes with this ')'" },
	{ "(1", NULL, ERR_ARG, "character 1: this '(' is not closed" },
	{ "(1) + (2", NULL, ERR_ARG, "character 7: this '(' is not closed" },
	{ "label = 'x", NULL, ERR_ARG, "character 9: this quote is not closed" },
	{ "1; DROP TABLE feature", NULL, ERR_ARG, "character 2: an expression ends here" },
	{ "1 -- x", NULL, ERR_ARG, "character 3: an expression ends here" },
	{ "1 /* x", NULL, ERR_ARG, "character 3: an expression ends here" },
	{ "density > ?1", NULL, ERR_ARG, "character 11: an expression ends here" },
	{ "feature IN (SELECT token FROM vocab)", NULL, ERR_ARG,
	  "character 13: queries within the expression are not allowed" },
	{ "EXISTS (sElEcT 1)", NULL, ERR_ARG, "queries within" },
	{ "feature IN vocab", NULL, ERR_ARG, "where 'feature IN vocab':" },
	{ "feature IN (TABLE vocab)", NULL, ERR_ARG, "where 'feature IN (TABLE vocab)':" },
	{ "feature IN pragma_table_list", NULL, ERR_ARG, "where 'feature IN pragma_table_list':" },
	{ "1 + load_extension('x')", NULL, ERR_ARG,
	  "character 5: the function 'load_extension' is not allowed here" },
	{ "hex(zeroblob(1000000000)) = ''", NULL, ERR_ARG, "character 1: the function 'hex' is not allowed" },
	{ "randomblob(10) > 1", NULL, ERR_ARG, "not allowed here" },
	{ "count(*) > 1", NULL, ERR_ARG, "the function 'count' is not allowed here" },
	{ "max(1) OVER () > 1", NULL, ERR_ARG, "where" },
	{ "label MATCH 'x'", NULL, ERR_ARG, "where" },
	{ "abs(-9223372036854775807 - 1) = 0", NULL, ERR_ARG, "integer overflow" },
	{ "trim('a', 'b') = ''", NULL, ERR_ARG, "character 1: the function 'trim' is not allowed here" },
	{ "density + replace(replace(replace('aaaaaaaa', 'a', '" A_64 "'), 'a', '" A_64 "'), 'a', 'bb') > ''",
	  NULL, ERR_LIMIT, ": string or blob too big" },
	{ "label GLOB '" A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 "'", NULL, ERR_ARG, "pattern too complex" },
	{ "(WITH x AS (VALUES (1)) TABLE x)", NULL, ERR_ARG, "queries within" },
	{ NULL, "densty", ERR_ARG, "cannot sort by 'densty'; did you mean 'density'?" },
	{ NULL, "density,-scor", ERR_ARG, "cannot sort by 'scor'; did you mean 'score'?" },
	{ NULL, "density,", ERR_ARG, "cannot sort by ''" },
	{ NULL, "dead,dead,dead,dead,dead,dead,dead,dead,dead", ERR_ARG, "cannot sort by over 8 columns" },
	{ NULL, "feature; DROP TABLE feature", ERR_ARG, "cannot sort by" },
	{ NULL, "", ERR_ARG, "cannot sort by ''" },
	{ NULL, "--density", ERR_ARG, "cannot sort by '-density'" },
};

START_TEST(features_refuses)
{
	store_features_opts o = { .where = bad_listings[_i].where,
		                  .sort = bad_listings[_i].sort,
		                  .limit = 5 };
	cJSON *page = NULL;
	uint32_t *ids = NULL;
	size_t n = 0;

	ck_assert_int_eq(store_features(&page, s, &o, &err), bad_listings[_i].code);
	ck_assert_msg(strstr(err.msg, bad_listings[_i].message) != NULL, "%s", err.msg);
	ck_assert_ptr_null(page);
	if (o.where) {
		ck_assert_int_eq(store_feature_ids(&ids, &n, s, NULL, NULL, o.where, &err),
		                 bad_listings[_i].code);
		ck_assert_ptr_null(ids);
	}
	o = (store_features_opts){ .limit = 5 }; /* the store is as usable as before */
	ck_assert_int_eq(store_features(&page, s, &o, &err), 0);
	cJSON_Delete(page);
}
END_TEST

/* Joins of the table with itself are out, so slowness takes long patterns; the clock is what stops it. */
START_TEST(features_stops_in_time)
{
	time_limit limit;
	sqlite3_stmt *st = NULL;
	bool more;

	time_limit_start(&limit, s, 0.05, 1 << 20, 100);
	ck_assert_int_eq(store_prepare(&st, s,
	                               "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) "
	                               "SELECT max(i) FROM n",
	                               &err),
	                 0);
	ck_assert_int_eq(store_step(s, st, &more, &err), ERR_LIMIT);
	sqlite3_finalize(st);
	time_limit_end(&limit);
}
END_TEST

static const struct {
	const char *list, *where;
	size_t n;
	uint32_t ids[SMALL_FEATURES];
} id_lists[] = {
	{ "all", NULL, 8, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ NULL, NULL, 8, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ "5", NULL, 1, { 5 } },
	{ "6-7,1,1-2", NULL, 4, { 1, 2, 6, 7 } },
	{ "0-4", "not dead", 4, { 0, 1, 2, 4 } },
	{ "all", "score > 0.5", 2, { 0, 5 } },
	{ "1", "score > 0.5", 0, { 0 } },
};

START_TEST(ids_of_lists)
{
	uint32_t *ids = NULL;
	size_t n = 0;

	ck_assert_msg(store_feature_ids(&ids, &n, s, "small", id_lists[_i].list, id_lists[_i].where, &err) ==
	                      0,
	              "%s", err.msg);
	ck_assert_uint_eq(n, id_lists[_i].n);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(ids[i], id_lists[_i].ids[i]);
	free(ids);
}
END_TEST

static const struct {
	const char *list, *message;
} bad_lists[] = {
	{ "", "character 1: a number was expected" },
	{ "1,", "character 3: a number was expected" },
	{ "1-", "character 3: a number was expected" },
	{ "x", "character 1: a number was expected" },
	{ "1 2", "character 2: ',' was expected" },
	{ "-1", "character 1: a number was expected" },
	{ "5-2", "the range 5-2 runs backwards" },
	{ "8", "8 is out of range: the source has features 0-7" },
	{ "99999999999999999999999", "99999999999999999999 is out of range" },
};

START_TEST(ids_of_bad_lists)
{
	uint32_t *ids = NULL;
	size_t n = 0;

	ck_assert_int_eq(store_feature_ids(&ids, &n, s, NULL, bad_lists[_i].list, NULL, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, bad_lists[_i].message) != NULL, "%s", err.msg);
	ck_assert_ptr_null(ids);
}
END_TEST

/* ---- show ---------------------------------------------------------------------------------------------------------- */

/* An example's tokens against the context it names. */
static void check_example(const cJSON *example, uint32_t feature)
{
	uint32_t tokens[SMALL_TOKENS],
	        c = (uint32_t)(strtoll(json_string(example, "context"), NULL, 10) - small_context_id(0));
	int peak = (int)json_number(example, "peak");

	ck_assert_uint_lt(c, SMALL_CONTEXTS);
	small_context(tokens, c);
	ck_assert_int_eq(json_count(example, "tokens"), SMALL_TOKENS);
	ck_assert_int_eq((int)strtol(json_string(example, "document"), NULL, 10), (int)c + 1000);
	for (uint32_t i = 0; i < SMALL_TOKENS; i++) {
		const cJSON *token = json_item(example, "tokens", (int)i);

		ck_assert_double_eq(json_number(token, "value"), (double)small_value(feature, tokens, i));
		if (tokens[i] != SMALL_CHAR_HEAD && tokens[i] != SMALL_CHAR_TAIL)
			ck_assert_str_eq(json_string(token, "text"), small_token(tokens[i]));
	}
	ck_assert_double_eq(json_number(example, "activation"),
	                    json_number(json_item(example, "tokens", peak), "value"));
}

START_TEST(show_gives_the_page)
{
	cJSON *page = NULL;
	const cJSON *label;
	int top = 0;

	ck_assert_msg(store_show(&page, s, NULL, SMALL_ON_CAT, 3, STORE_INTERVALS_STORED, &err) == 0, "%s",
	              err.msg);
	ck_assert_double_eq(json_number(page, "feature"), SMALL_ON_CAT);
	ck_assert_double_eq(json_number(page, "n_fires"), small_tally(SMALL_ON_CAT, NULL));
	ck_assert_int_eq(json_count(json_member(page, "histogram"), "edges"), 5);
	ck_assert_str_eq(json_string(json_item(page, "top_logits", 0), "text"), " cat");
	ck_assert_double_eq(json_number(json_item(page, "bottom_logits", 0), "logit"), -1.5);
	ck_assert_double_eq(json_number(json_item(page, "neighbours", 0), "cosine"), 0.75);
	ck_assert_int_eq(json_count(page, "labels"), 2);
	label = json_item(page, "labels", 0);
	ck_assert_str_eq(json_string(label, "text"), "cats");
	ck_assert_double_eq(json_number(json_item(label, "scores", 0), "value"), 0.9);
	ck_assert(cJSON_IsObject(json_member(json_item(label, "scores", 0), "details")));
	ck_assert_str_eq(json_string(json_item(page, "labels", 1), "text"), "kittens");
	ck_assert_str_eq(json_string(json_item(page, "notes", 0), "text"), "look at this");
	ck_assert_int_eq(json_count(page, "examples"), 6);
	for (int i = 0; i < 6; i++) {
		check_example(json_item(page, "examples", i), SMALL_ON_CAT);
		top += strcmp(json_string(json_item(page, "examples", i), "kind"), "top") == 0;
	}
	ck_assert_int_eq(top, 3);
	cJSON_Delete(page);
}
END_TEST

/* Other intervals: the samples are the same, their weights those of the intervals. */
START_TEST(show_by_other_intervals)
{
	static const struct {
		store_intervals which;
		const char *words;
		int n;
	} kinds[] = { { STORE_INTERVALS_EQUAL_COUNT, "equal count", 10 },
		      { STORE_INTERVALS_EQUAL_WIDTH, "10 of equal width", 10 },
		      { STORE_INTERVALS_NEURONPEDIA, "Neuronpedia", 5 } };
	const cJSON *shown, *example;
	double contains = 0, kept = 0;
	cJSON *page = NULL;
	int n_samples = 0;

	ck_assert_msg(store_show(&page, s, NULL, SMALL_ON_CAT, 100, kinds[_i].which, &err) == 0, "%s",
	              err.msg);
	shown = json_member(page, "intervals");
	ck_assert_ptr_nonnull(strstr(json_string(shown, "definition"), kinds[_i].words));
	ck_assert_int_eq(json_count(shown, "edges"), kinds[_i].n + 1);
	for (int i = 0; i < kinds[_i].n; i++) {
		contains += json_item(shown, "contains", i)->valuedouble;
		kept += json_item(shown, "kept", i)->valuedouble;
	}
	ck_assert_double_le(fabs(contains - 1), 1e-12);
	if (kinds[_i].which == STORE_INTERVALS_NEURONPEDIA)
		ck_assert_double_gt(json_item(shown, "contains", 0)->valuedouble, 0.5);
	cJSON_ArrayForEach(example, json_member(page, "examples"))
	{
		int bin = (int)json_number(example, "bin");
		double value = json_number(example, "activation");

		if (bin < 0)
			continue;
		n_samples++;
		ck_assert_double_ge(value, json_item(shown, "edges", bin)->valuedouble);
		ck_assert_double_eq(json_number(example, "weight"),
		                    json_item(shown, "counts", bin)->valuedouble /
		                            json_item(shown, "kept", bin)->valuedouble);
	}
	ck_assert_int_eq(n_samples, (int)kept);
	ck_assert_int_gt(n_samples, 3);
	cJSON_Delete(page);
}
END_TEST

START_TEST(show_of_a_dead_feature)
{
	cJSON *page = NULL;

	ck_assert_int_eq(store_show(&page, s, NULL, SMALL_DEAD, 100, STORE_INTERVALS_STORED, &err), 0);
	ck_assert_int_eq(json_count(page, "examples"), 0);
	ck_assert_int_eq(json_count(page, "labels"), 0);
	ck_assert_double_eq(json_number(page, "max_act"), 0);
	cJSON_Delete(page);
}
END_TEST

START_TEST(show_refuses)
{
	cJSON *page = NULL;

	ck_assert_int_eq(store_show(&page, s, NULL, SMALL_FEATURES, 3, STORE_INTERVALS_STORED, &err),
	                 ERR_ARG);
	ck_assert_str_eq(err.msg, "feature 8 is out of range: source 'small' has features 0-7");
	ck_assert_int_eq(store_show(&page, s, "other", 0, 3, STORE_INTERVALS_STORED, &err), ERR_NOTFOUND);
	ck_assert_ptr_null(page);
}
END_TEST

static const struct {
	const char *sql, *message;
} lies[] = {
	{ "UPDATE feature_detail SET histogram = '{'",
	  "feature 0 is corrupt: 'histogram' is not valid JSON" },
	{ "UPDATE feature_detail SET top_logits = '[[1]]'",
	  "feature 0 is corrupt: top_logits is not a list of pairs" },
	{ "UPDATE feature_detail SET neighbours = '[[-1, 0.5]]'", "neighbours is not a list of pairs" },
	{ "UPDATE explanation SET rule = 'x'", "feature 0 is corrupt: 'rule'" },
	{ "UPDATE score SET details = '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[['",
	  "feature 0 is corrupt: 'details'" },
	{ "UPDATE example SET position = 99", "is not in context" },
	{ "UPDATE example SET codes = x'00ff0001'", "token 255 of 32" },
	{ "UPDATE feature_detail SET histogram = '{}'", "feature 0 is corrupt: its histogram" },
	{ "UPDATE feature_detail SET histogram = '{\"per_octave\":3,\"first\":0,\"counts\":[1]}'",
	  "feature 0 is corrupt: its histogram" },
	{ "UPDATE feature_detail SET histogram = '{\"per_octave\":64,\"first\":1406,\"counts\":[1,1,1]}'",
	  "feature 0 is corrupt: its histogram" },
	{ "UPDATE feature_detail SET intervals = '{\"grid\":[0.5]}'", "feature 0 is corrupt: its intervals" },
};

START_TEST(show_of_lying_stores)
{
	cJSON *page = NULL;

	store_close(s);
	s = small_store_open(STORE_WRITE);
	ck_assert_int_eq(store_exec(s, lies[_i].sql, &err), 0);
	ck_assert_int_eq(store_show(&page, s, NULL, 0, 10, STORE_INTERVALS_STORED, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, lies[_i].message) != NULL, "%s", err.msg);
	ck_assert_ptr_null(page);
}
END_TEST

/* ---- sql ------------------------------------------------------------------------------------------------------------------ */

START_TEST(sql_gives_values_of_every_type)
{
	cJSON *page = NULL;
	const cJSON *row;

	ck_assert_msg(store_sql(&page, s,
	                        "SELECT 1 AS a, 2.5, 'x', NULL, x'00ff', 9223372036854775807, '' ; -- done",
	                        10, 5, &err) == 0,
	              "%s", err.msg);
	ck_assert_str_eq(json_item(page, "columns", 0)->valuestring, "a");
	row = json_item(page, "rows", 0);
	ck_assert_double_eq(cJSON_GetArrayItem(row, 0)->valuedouble, 1);
	ck_assert_double_eq(cJSON_GetArrayItem(row, 1)->valuedouble, 2.5);
	ck_assert_str_eq(cJSON_GetArrayItem(row, 2)->valuestring, "x");
	ck_assert(cJSON_IsNull(cJSON_GetArrayItem(row, 3)));
	ck_assert_str_eq(json_string(cJSON_GetArrayItem(row, 4), "blob"), "00ff");
	ck_assert_str_eq(cJSON_GetArrayItem(row, 5)->valuestring, "9223372036854775807");
	ck_assert_str_eq(cJSON_GetArrayItem(row, 6)->valuestring, "");
	ck_assert(cJSON_IsFalse(json_member(page, "truncated")));
	cJSON_Delete(page);
}
END_TEST

/* What must work, and how many rows of 3 come. */
static const struct {
	const char *sql;
	int rows;
	bool truncated;
} good_sql[] = {
	{ "SELECT feature FROM feature", 3, true },
	{ "SELECT feature FROM feature LIMIT 3", 3, false },
	{ "SELECT rowid FROM context_fts WHERE context_fts MATCH 'cat' LIMIT 2", 2, false },
	{ "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", 3, true },
	{ "PRAGMA table_info(feature)", 3, true },
	{ "PRAGMA user_version", 1, false },
	{ "SELECT * FROM label WHERE source_id = 1", 2, false },
	{ "SELECT * FROM label_score", 3, false },
	{ "EXPLAIN QUERY PLAN SELECT * FROM feature", 1, false },
	{ "VALUES (1), (2)", 2, false },
	{ "SELECT 1 WHERE 0", 0, false },
	{ "SELECT json_extract(histogram, '$.counts[0]') FROM feature_detail LIMIT 1", 1, false },
	{ "SELECT name FROM pragma_table_info('feature') LIMIT 2", 2, false },
};

START_TEST(sql_reads)
{
	cJSON *page = NULL;

	ck_assert_msg(store_sql(&page, s, good_sql[_i].sql, 3, 5, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(json_count(page, "rows"), good_sql[_i].rows);
	ck_assert_int_eq(cJSON_IsTrue(json_member(page, "truncated")), good_sql[_i].truncated);
	cJSON_Delete(page);
}
END_TEST

static const struct {
	const char *sql;
	int code;
	const char *message;
} bad_sql[] = {
	{ "", ERR_ARG, "there is no statement" },
	{ "-- nothing", ERR_ARG, "there is no statement" },
	{ "SELEC 1", ERR_ARG, "character 1: near \"SELEC\": syntax error" },
	{ "SELECT nosuch FROM feature", ERR_ARG, "character 8: no such column: nosuch" },
	{ "SELECT 1; SELECT 2", ERR_ARG, "one statement at a time: another begins at character 10" },
	{ "SELECT 1; nonsense", ERR_ARG, "one statement at a time" },
	{ "DELETE FROM feature", ERR_ARG, "only reading is allowed here" },
	{ "INSERT INTO note VALUES (9, 1, 1, 'x', 'y')", ERR_ARG, "only reading" },
	{ "UPDATE note SET text = 'x'", ERR_ARG, "only reading" },
	{ "UPDATE sqlite_master SET sql = 'x'", ERR_ARG, "" },
	{ "INSERT INTO context_fts(context_fts) VALUES ('rebuild')", ERR_ARG, "only reading" },
	{ "CREATE TABLE t(x)", ERR_ARG, "only reading" },
	{ "CREATE TEMP TABLE t(x)", ERR_ARG, "only reading" },
	{ "DROP TABLE note", ERR_ARG, "only reading" },
	{ "ATTACH '/tmp/x.db' AS x", ERR_ARG, "only reading" },
	{ "DETACH main", ERR_ARG, "only reading" },
	{ "VACUUM INTO '/tmp/gloss-x.db'", ERR_ARG, "" },
	{ "VACUUM", ERR_ARG, "" },
	{ "REINDEX", ERR_ARG, "" },
	{ "ANALYZE", ERR_ARG, "" },
	{ "BEGIN", ERR_ARG, "only reading" },
	{ "SAVEPOINT x", ERR_ARG, "only reading" },
	{ "PRAGMA query_only = 0", ERR_ARG, "only reading" },
	{ "PRAGMA journal_mode = WAL", ERR_ARG, "only reading" },
	{ "PRAGMA user_version = 9", ERR_ARG, "only reading" },
	{ "PRAGMA writable_schema = 1", ERR_ARG, "only reading" },
	{ "PRAGMA temp_store_directory = '/tmp'", ERR_ARG, "only reading" },
	{ "SELECT load_extension('x')", ERR_ARG, "not authorized to use function: load_extension" },
	{ "SELECT writefile('/tmp/gloss-x', 'x')", ERR_ARG, "" },
	{ "SELECT readfile('/etc/passwd')", ERR_ARG, "" },
	{ "SELECT length(randomblob(1000000000))", ERR_LIMIT, "too big" },
	{ "SELECT abs(-9223372036854775807 - 1)", ERR_ARG, "integer overflow" },
	{ "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", ERR_LIMIT,
	  "stopped after 0.2 s" },
	{ "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0",
	  ERR_LIMIT, "stopped after 0.2 s" },
};

START_TEST(sql_refuses)
{
	cJSON *page = NULL;

	/* Even where the store is open to write. */
	store_close(s);
	s = small_store_open(STORE_WRITE);
	ck_assert_int_eq(store_sql(&page, s, bad_sql[_i].sql, 3, 0.2, &err), bad_sql[_i].code);
	ck_assert_msg(strstr(err.msg, bad_sql[_i].message) != NULL, "%s", err.msg);
	ck_assert_ptr_null(page);
	ck_assert_int_eq(store_sql(&page, s, "SELECT count(*) FROM note", 3, 5, &err), 0);
	ck_assert_double_eq(cJSON_GetArrayItem(json_item(page, "rows", 0), 0)->valuedouble, 1);
	cJSON_Delete(page);
}
END_TEST

/* ---- Sources, memory -------------------------------------------------------------------------------------------------------- */

START_TEST(two_sources_want_a_name)
{
	static const char *const names[] = { "layer3", "layer4", NULL };
	store_features_opts o = { .limit = 1 };
	char folder[FILE_PATH_MAX];
	cJSON *page = NULL;
	store *two = NULL;

	support_mkdir(folder);
	small_store_make(support_path(folder, "two.db"), names);
	ck_assert_int_eq(store_open(&two, support_path(folder, "two.db"), STORE_READ, &err), 0);
	ck_assert_int_eq(store_features(&page, two, &o, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, "'layer3', 'layer4'") != NULL, "%s", err.msg);
	ck_assert_int_eq(store_show(&page, two, "layer5", 0, 1, STORE_INTERVALS_STORED, &err), ERR_NOTFOUND);
	ck_assert_msg(strstr(err.msg, "'layer3', 'layer4'") != NULL, "%s", err.msg);
	o.sources = (store_sources){ .names = names + 1, .n = 1 };
	ck_assert_int_eq(store_features(&page, two, &o, &err), 0);
	ck_assert_str_eq(json_string(page, "source"), "layer4");
	cJSON_Delete(page);
	store_close(two);
	support_rmdir(folder);
}
END_TEST

static int ask(int what, cJSON **page)
{
	store_features_opts f = { .where = "score > 0", .sort = "-score", .limit = 5 };

	switch (what) {
	case 0:
		return store_features(page, s, &f, &err);
	case 1:
		return store_show(page, s, NULL, SMALL_ON_CAT, 2, STORE_INTERVALS_STORED, &err);
	default:
		return store_sql(page, s, "SELECT * FROM note", 5, 5, &err);
	}
}

/* Each allocation fails in turn: the query says so or does without, and nothing leaks. */
START_TEST(queries_survive_failing_allocations)
{
	for (long nth = 0;; nth++) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = ask(_i, &page);
		cJSON_Delete(page);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		if (rc != 0)
			ck_assert_msg(rc == ERR_NOMEM, "allocation %ld: %d %s", nth, rc, err.msg);
	}
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test(tc, test, 0, ARRAY_LEN(table))

static void cases(Suite *suite)
{
	TCase *tc = tcase_create("query");

	tcase_set_timeout(tc, 60);
	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, features_lists_all);
	tcase_add_test(tc, features_draws);
	LOOP(tc, features_filters_sorts_and_pages, listings);
	LOOP(tc, features_refuses, bad_listings);
	tcase_add_test(tc, features_stops_in_time);
	LOOP(tc, ids_of_lists, id_lists);
	LOOP(tc, ids_of_bad_lists, bad_lists);
	tcase_add_test(tc, show_gives_the_page);
	tcase_add_loop_test(tc, show_by_other_intervals, 0, 3);
	tcase_add_test(tc, show_of_a_dead_feature);
	tcase_add_test(tc, show_refuses);
	LOOP(tc, show_of_lying_stores, lies);
	tcase_add_test(tc, sql_gives_values_of_every_type);
	LOOP(tc, sql_reads, good_sql);
	LOOP(tc, sql_refuses, bad_sql);
	tcase_add_test(tc, two_sources_want_a_name);
	tcase_add_loop_test(tc, queries_survive_failing_allocations, 0, 3);
	suite_add_tcase(suite, tc);
}

SUPPORT_MAIN("query", cases)
