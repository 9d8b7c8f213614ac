/* The explainers: what each shows to the model, byte for byte where it matters; the rule that asks nobody; reasons before the
 * label; what none of them can label, and answers that are of no use. */
#include "explain/explainer.h"
#include "tests/fixture_planted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Features 0.. fire on their word alone, those from VARIED on at random. */
enum { FEATURES = 24, RANDOM = 8, VARIED = FEATURES, WINDOW = 16 };

static const char *says; /* what the model answers */

static const char label_reply[] =
        "{\"analysis\":\"they share a word\",\"label\":\"the word\",\"short_label\":\"word\",\"sure\":"
        "0.5}";
extern const char schema_label[], schema_label_cot[];
static const char plain_reply[] = "{\"label\":\"the word\",\"short_label\":\"word\",\"sure\":0.5}";

static llm_reply answer(const llm_seen *request, void *payload)
{
	llm_reply r = { 0 };

	(void)payload;
	if (strstr(request->body, "{\\\"ok\\\": true}"))
		r.own = llm_chat("{\"ok\": true}");
	else if (says[0] == '!') /* the whole body */
		r.body = says + 1;
	else
		r.own = llm_chat(says);
	return r;
}

static void setup(void)
{
	planted p = { .features = FEATURES, .random = RANDOM, .times = 300, .tokens = 64 };

	says = plain_reply;
	fixture_begin(&p, false, answer, NULL, "tiny");
	client.concurrency = 1;
}

static explain_opts options(const char *how, const char *features)
{
	explain_opts o = explain_opts_default();

	o.client = &client;
	o.explainer = how;
	o.features = features;
	o.window = WINDOW;
	return o;
}

static size_t count_of(const char *in, const char *what)
{
	size_t n = 0;

	while ((in = strstr(in, what))) {
		in += strlen(what);
		n++;
	}
	return n;
}

static void add_logits(void)
{
	OK(store_exec(s,
	              "UPDATE feature_detail SET top_logits = '[[1,2.5],[30,1.25]]', bottom_logits = "
	              "json_array(json_array(2, feature - 27))",
	              &err));
}

/* ---- What is shown ------------------------------------------------------------------------------------------------------ */

static const struct shown {
	const char *explainer;
	const char *holds[4]; /* of the question */
	unsigned windows;     /* that it was about */
} shown[] = {
	{ "marked", { "Sample 1: ", "Sample 20: ", ">>", "\nactive: \"" }, 20 },
	{ "table",
	  { "Sample 1:\n w", "\t10\n", "\t0\n", "\nThe same without the zeros:\nSample 1:\n w" },
	  20 },
	{ "contrastive",
	  { "Sample 15: ", "\n\nCounterexamples:\nCounterexample 1: ", "\nCounterexample 5: ", "active: " },
	  20 },
	{ "output",
	  { "Raised most: \" w1\" +2.50, \" w30\" +1.25\nLowered most: \" w2\" -3.00\n",
	    "\nTurned up while the model reads: not tried\n", "", "" },
	  0 },
	{ "single-token", { "Sample 1: ", "Sample 20: ", ">>", "\nactive: \"" }, 20 },
};

START_TEST(each_shows_what_it_goes_by)
{
	const struct shown *x = &shown[_i];
	explain_opts o = options(x->explainer, "24,25");
	char *user, *system, *other;

	add_logits();
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_uint_eq(llm_count(server), 3);
	user = llm_content(llm_get(server, 1), "user");
	for (size_t i = 0; i < ARRAY_LEN(x->holds); i++)
		ck_assert_msg(strstr(user, x->holds[i]), "%s lacks %s", user, x->holds[i]);
	ck_assert_ptr_null(strstr(user, "Sample 21"));
	/* the fixed part comes first, and is the same for all */
	system = llm_content(llm_get(server, 1), "system");
	other = llm_content(llm_get(server, 2), "system");
	ck_assert_str_eq(system, other);
	ck_assert_uint_gt(strlen(system), 800);
	ck_assert_ptr_null(strstr(system, "{{"));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM explanation WHERE method = 'llm' AND text = 'the word'"), 2);
	ck_assert_double_eq(sql("SELECT json_array_length(example_ids) FROM request WHERE task_id = 1"),
	                    x->windows);
	ck_assert_double_eq(sql("SELECT count(*) FROM job WHERE settings ->> 'explainer' IS NOT NULL"), 1);
	free(user);
	free(system);
	free(other);
}
END_TEST

/* A table's values are floor(10 a / strongest): the strongest of all is a 10, and what is not 0 stands in both lists. */
START_TEST(table_has_every_token)
{
	explain_opts o = options("table", "24");
	char *user, *again;
	size_t lines, above = 0;

	OK(explain_run(NULL, s, &o, &err));
	user = llm_content(llm_get(server, 1), "user");
	again = strstr(user, "\nThe same without");
	ck_assert_ptr_nonnull(again);
	*again++ = '\0';
	lines = count_of(user, "\t");
	ck_assert_double_eq(sql("SELECT sum(w.value ->> 2) FROM request, json_each(example_ids) w"),
	                    (double)lines);
	for (char tab[] = "\t1"; tab[1] <= '9'; tab[1]++)
		above += count_of(user, tab);
	ck_assert_uint_gt(above, 19);
	ck_assert_uint_lt(above, lines / 5);
	ck_assert_uint_eq(count_of(again, "\t"), above);
	ck_assert_uint_eq(count_of(again, "\t0"), 0);
	free(user);
}
END_TEST

/* Texts with tabs, line breaks and markers of their own. */
START_TEST(text_cannot_be_taken_for_the_format)
{
	static const char *const names[] = { "marked", "table", "contrastive" };
	explain_opts o = options(names[_i], "24");
	char *user;
	size_t open, close;

	/* two of the words become "<tab><<<line break>" and ">> x" */
	OK(store_exec(s,
	              "UPDATE context SET text = replace(replace(text, ' w30', char(9) || '<<' || char(10)), "
	              "' w31', '>> x')",
	              &err));
	OK(explain_run(NULL, s, &o, &err));
	user = llm_content(llm_get(server, 1), "user");
	open = count_of(user, "<<");
	close = count_of(user, ">>");
	if (_i == 1) {
		ck_assert_uint_gt(open, 0);
		ck_assert_ptr_nonnull(strstr(user, "\n\u21e5<<\u21b5\t"));
	} else {
		ck_assert_ptr_nonnull(strstr(user, "\u21e5\u2039\u2039\u21b5"));
		ck_assert_ptr_nonnull(strstr(user, "\u203a\u203a x"));
		ck_assert_uint_eq(open, close);
		ck_assert_ptr_null(strstr(user, "\t"));
		for (char *at = user; (at = strstr(at, "<<")); at += 2)
			ck_assert(at[2] != '<' && (at == user || at[-1] != '<'));
	}
	free(user);
}
END_TEST

/* Counterexamples are silent, of the label documents, and some hold a token that the feature peaks on. */
START_TEST(counterexamples_are_silent)
{
	explain_opts o = options("contrastive", "0,24");
	static const char windows[] =
	        "CREATE TEMP VIEW shown AS SELECT r.task_id, w.key AS i, w.value ->> 0 AS context, w.value "
	        "->> "
	        "1 AS first, w.value ->> 2 AS length, d.part FROM request r, json_each(r.example_ids) w"
	        " JOIN context c ON c.id = w.value ->> 0 JOIN document d ON d.id = c.document_id";
	char *user, *whole;

	OK(explain_run(NULL, s, &o, &err));
	whole = llm_content(llm_get(server, 1), "user");
	user = strstr(whole, "Counterexamples:");
	ck_assert_ptr_nonnull(user);
	ck_assert_ptr_null(strstr(user, " w0 "));
	ck_assert_ptr_null(strstr(user, "<<"));
	free(whole);
	OK(store_exec(s, windows, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM shown"), 40);
	ck_assert_double_eq(sql("SELECT count(*) FROM shown WHERE part != 'label'"), 0);
	ck_assert_double_eq(
	        sql("SELECT count(DISTINCT context || ' ' || first) FROM shown WHERE task_id = 1"), 20);
	/* none of their tokens is an example's token of the feature */
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM shown x JOIN task t ON t.id = x.task_id JOIN example e ON "
	            "e.source_id = 1 AND e.feature = t.feature AND e.context_id = x.context"
	            " WHERE x.i >= 15 AND e.position BETWEEN x.first AND x.first + x.length - 1"),
	        0);
}
END_TEST

/* ---- Without a model ------------------------------------------------------------------------------------------------------ */

START_TEST(one_token_asks_nobody)
{
	explain_opts o = options("single-token", "0,1,24");
	const char *why;

	if (_i)
		o.client = NULL;
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_uint_eq(llm_count(server), _i ? 0 : 2); /* what the server takes, and the third feature */
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM explanation WHERE method = 'lexical' AND confidence = 1 AND "
	            "text = 'the token \"w' || feature || '\"' AND short_text = '\"w' || feature || '\"' "
	            "AND rule ->> '$.any[0].kind' = 'token' AND rule ->> '$.any[0].text' = ' w' || "
	            "feature AND model IS NULL"),
	        2);
	why = sql_text("SELECT state || coalesce(': ' || error, '') FROM task WHERE feature = 24");
	ck_assert_str_eq(why,
	                 _i ? "skipped: it fires on several tokens: a model has to look at it (--base-url)"
	                    : "done");
	ck_assert_double_eq(sql("SELECT count(*) FROM request WHERE key = 'lexical'"), 2);
	o.client = NULL; /* it is a rule that the embedded judge can apply */
	o.features = "0,1";
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE value = 1"), 2);
}
END_TEST

/* Nine of ten peaks are enough, spelt in several ways, and eight are not. */
START_TEST(one_token_by_its_share_of_peaks)
{
	explain_opts o = options("single-token", "0");
	const char *label;

	o.client = NULL;
	OK(store_exec(s,
	              _i ? "UPDATE context SET text = replace(text, ' w0 ', ' W0 ') WHERE id % 3 = 0"
	                 : "UPDATE context SET text = replace(text, ' w0 ', ' q0 ') WHERE id % 5 = 0",
	              &err));
	OK(explain_run(NULL, s, &o, &err));
	label = sql_text("SELECT text || ' ' || json_array_length(rule, '$.any') FROM explanation");
	ck_assert_str_eq(label, _i ? "the token \"w0\" 2" : "");
}
END_TEST

/* ---- Reasons first ---------------------------------------------------------------------------------------------------------- */

START_TEST(reasons_come_before_the_label)
{
	explain_opts o = options(NULL, "24");
	const char *body, *analysis, *label;
	char *system;

	o.cot = true;
	says = label_reply;
	OK(explain_run(NULL, s, &o, &err));
	body = strstr(llm_get(server, 1)->body, "\"properties\":{");
	ck_assert_ptr_nonnull(body);
	analysis = strstr(body, "\"analysis\"");
	label = strstr(body, "\"label\"");
	ck_assert(analysis && label && analysis < label && analysis < strstr(body, "\"sure\""));
	ck_assert_ptr_nonnull(strstr(llm_get(server, 1)->body, "\"max_tokens\":600"));
	system = llm_content(llm_get(server, 1), "system");
	ck_assert_ptr_nonnull(strstr(system, "{\"analysis\": "));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM explanation WHERE text = 'the word' AND short_text = 'word'"), 1);
	/* an answer without them is of another shape, and asked for again */
	o.features = "25";
	says = plain_reply;
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM task WHERE state = 'failed' AND error LIKE '%analysis%'"), 1);
	free(system);
}
END_TEST

START_TEST(answers_give_the_label_before_how_sure_it_is)
{
	cJSON *schema = cJSON_Parse(_i ? schema_label_cot : schema_label), *keys, *sure;

	ck_assert_ptr_nonnull(schema);
	keys = cJSON_GetObjectItem(schema, "properties");
	sure = cJSON_GetObjectItem(keys, "sure");
	ck_assert_ptr_nonnull(sure);
	for (const cJSON *x = keys->child; x; x = x->next)
		ck_assert_msg(x == sure || strcmp(x->string, "sure") < 0, "'%s' comes after it", x->string);
	cJSON_Delete(schema);
}
END_TEST

START_TEST(resumed_as_it_was_begun)
{
	explain_opts o = options("table", "24,25"), plain = explain_opts_default();

	o.cot = true;
	says = "!{\"error\":1}";
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM task WHERE state = 'failed'"), 2);
	says = label_reply;
	plain.client = &client;
	OK(store_exec(s, "UPDATE task SET state = 'waiting'", &err));
	OK(explain_resume(NULL, s, 1, &plain, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 2);
	ck_assert_double_eq(sql("SELECT count(*) FROM job"), 1);
	ck_assert_ptr_nonnull(strstr(llm_get(server, llm_count(server) - 1)->body, "token, a tab"));
	ck_assert_ptr_nonnull(strstr(llm_get(server, llm_count(server) - 1)->body, "\"analysis\""));
}
END_TEST

/* A job of a gloss whose labels had "confidence" in place of "sure" goes on by that, and its log is read. */
START_TEST(resumed_by_the_schema_before)
{
	static const char *const replies[] = {
		"{\"confidence\":0.25,\"label\":\"the word\",\"short_label\":\"word\"}",
		"{\"analysis\":\"r\",\"confidence\":0.25,\"label\":\"the word\",\"short_label\":\"word\"}"
	};
	explain_opts o = options("marked", "24"), plain = explain_opts_default();
	char hash[SHA256_HEX], query[256], *before;
	arena mem = ARENA_INIT;
	size_t asked;

	o.cot = _i;
	o.prompt = "Answer with {{answer}}\n=== user\n{{examples}}\n"; /* worked examples came later */
	before = label_schema_before(_i ? schema_label_cot : schema_label, &mem);
	ck_assert_ptr_nonnull(before);
	says = "!{\"error\":1}";
	OK(explain_run(NULL, s, &o, &err));
	OK(sha256_bytes(hash, before, strlen(before), &err));
	snprintf(query, sizeof(query),
	         "UPDATE job SET settings = json_set(settings, '$.schema_sha256', '%s'), state = 'stopped';"
	         "UPDATE task SET state = 'waiting'",
	         hash);
	OK(store_exec(s, query, &err));
	says = replies[_i];
	plain.client = &client;
	OK(explain_resume(NULL, s, 1, &plain, &err));
	asked = llm_count(server);
	ck_assert_ptr_nonnull(strstr(llm_get(server, asked - 1)->body, "\"confidence\":{"));
	ck_assert_ptr_nonnull(strstr(llm_get(server, asked - 1)->body, "\\\"confidence\\\": a number"));
	ck_assert_ptr_null(strstr(llm_get(server, asked - 1)->body, "sure\\\""));
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation WHERE confidence = 0.25"), 1);

	OK(store_exec(s, "DELETE FROM explanation; UPDATE task SET state = 'waiting', explanation_id = NULL",
	              &err));
	plain.replay = true;
	OK(explain_resume(NULL, s, 1, &plain, &err));
	ck_assert_uint_eq(llm_count(server), asked);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation WHERE confidence = 0.25"), 1);
	arena_clear(&mem);
}
END_TEST

/* ---- Trouble -------------------------------------------------------------------------------------------------------------- */

static const struct none {
	const char *explainer, *features, *before; /* SQL */
	const char *why;
} nones[] = {
	{ "output", "24", NULL, "the store has no logits of the feature: index with --unembed" },
	{ "contrastive", "24", "DELETE FROM firing",
	  "no silent windows in the label documents to set against the firing ones" },
	{ "contrastive", "0", "DELETE FROM example WHERE rank > 1 OR bin >= 0",
	  "fires in 0 stored contexts of the label documents, 5 are needed" },
	{ "table", "0", "UPDATE document SET group_key = 7",
	  "fires in one group of label documents only, two are needed" },
	{ "single-token", "0", "UPDATE document SET part = 'report'",
	  "fires in 0 stored contexts of the label documents, 5 are needed" },
};

START_TEST(what_cannot_be_shown_is_skipped)
{
	const struct none *x = &nones[_i];
	explain_opts o = options(x->explainer, x->features);
	const char *why;

	if (x->before)
		OK(store_exec(s, x->before, &err));
	OK(explain_run(NULL, s, &o, &err));
	why = sql_text("SELECT error FROM task WHERE state = 'skipped'");
	ck_assert_str_eq(why, x->why);
	ck_assert_uint_le(llm_count(server), 1);
}
END_TEST

static const struct useless {
	const char *says, *state, *why;
	size_t asked;
} useless[] = {
	{ "I would say it is about words.", "failed", "no JSON object", 2 },
	{ "{\"label\":\" \\n\",\"short_label\":\"x\",\"sure\":1}", "failed", "the model's label is empty",
	  2 },
	{ "{\"label\":\"x\"}", "failed", "lacks the key", 2 },
	{ "!{\"choices\":[{\"message\":{\"refusal\":\"I cannot help\",\"content\":null},\"finish_reason\":"
	  "\"stop\"}]}",
	  "refused", "refus", 1 },
};

START_TEST(useless_answers_end_in_one_line)
{
	const struct useless *x = &useless[_i];
	explain_opts o = options(_i % 2 ? "table" : "contrastive", "24");
	const char *line;

	says = x->says;
	OK(explain_run(NULL, s, &o, &err));
	line = sql_text("SELECT state || ' ' || error FROM task");
	ck_assert_msg(strncmp(line, x->state, strlen(x->state)) == 0 && strstr(line, x->why), "%s", line);
	ck_assert_ptr_null(strchr(line, '\n'));
	ck_assert_uint_eq(llm_count(server), x->asked + 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 0);
}
END_TEST

START_TEST(what_does_not_go_together_is_refused)
{
	explain_opts o = options("lexical", "0");

	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the explainer 'lexical' asks no model: leave out --base-url");
	o.explainer = "table";
	o.client = NULL;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the explainer 'table' needs a model (--base-url)");
	o.explainer = "none";
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "unknown explainer 'none'");
	o.explainer = NULL;
	o.cot = true;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_uint_eq(llm_count(server), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM job"), 0);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("explainers");

	tcase_add_checked_fixture(t, setup, fixture_end);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, each_shows_what_it_goes_by, 0, ARRAY_LEN(shown));
	tcase_add_test(t, table_has_every_token);
	tcase_add_loop_test(t, text_cannot_be_taken_for_the_format, 0, 3);
	tcase_add_test(t, counterexamples_are_silent);
	tcase_add_loop_test(t, one_token_asks_nobody, 0, 2);
	tcase_add_loop_test(t, one_token_by_its_share_of_peaks, 0, 2);
	tcase_add_test(t, reasons_come_before_the_label);
	tcase_add_loop_test(t, answers_give_the_label_before_how_sure_it_is, 0, 2);
	tcase_add_test(t, resumed_as_it_was_begun);
	tcase_add_loop_test(t, resumed_by_the_schema_before, 0, 2);
	tcase_add_loop_test(t, what_cannot_be_shown_is_skipped, 0, ARRAY_LEN(nones));
	tcase_add_loop_test(t, useless_answers_end_in_one_line, 0, ARRAY_LEN(useless));
	tcase_add_test(t, what_does_not_go_together_is_refused);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("explainers", cases)
