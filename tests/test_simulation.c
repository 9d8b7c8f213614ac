/* The simulation scorer: its formulas against numbers that another program made (tests/data/make_simulation.py); windows drawn at
 * random; the whole scorer against a judge that knows the rule, by JSON and by log-probabilities; replies that are not as
 * they should be. */
#include "explain/simulate.h"
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_oracle.h"
#include "tests/support_planted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, SOME = 3, MOST = 64 };

static char folder[FILE_PATH_MAX];
static store *s;
static error err;
static llm_server *server;
static oracle judge;
static explain_client_opts client;

#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 300, .tokens = 64 };

	support_mkdir(folder);
	OK(planted_open(&s, support_path(folder, "s.db"), &p, &err));
	OK(planted_label(s, &p, &err));
	judge = (oracle){ .seed = 5 };
	server = llm_start_answering(oracle_answer, &judge);
	client = llm_client(llm_url(server));
	client.model = "oracle";
}

static void teardown(void)
{
	llm_stop(server);
	store_close(s);
	support_rmdir(folder);
}

static explain_opts options(const char *features)
{
	explain_opts o = explain_opts_default();

	o.client = &client;
	o.scorer = "simulation";
	o.features = features;
	o.window = 16;
	o.n_positive = o.n_negative = 20;
	o.n_baseline = 5;
	return o;
}

static double sql(const char *query)
{
	return planted_number(s, query);
}

static const char *text_of(const char *query)
{
	return planted_text(s, query);
}

/* ---- Formulas --------------------------------------------------------------------------------------------------------- */

static double number(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name)->valuedouble;
}

static double at(const cJSON *o, const char *name, size_t i)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(o, name), (int)i)->valuedouble;
}

START_TEST(formulas_are_those_of_an_independent_program)
{
	double truth[MOST], expected[MOST];
	simulate_sums sums = { 0 }, all = { 0 };
	size_t seen = 0, n_windows;
	const cJSON *acts;
	char path[FILE_PATH_MAX];
	cJSON *o = NULL;

	OK(file_join(path, getenv("GLOSS_SOURCE"), "tests/data/simulation.json", &err));
	OK(json_read_file(&o, path, 1 << 20, &err));
	acts = cJSON_GetObjectItemCaseSensitive(o, "activations");
	n_windows = (size_t)cJSON_GetArraySize(acts);
	for (size_t w = 0; w < n_windows; w++) {
		const cJSON *list = cJSON_GetArrayItem(acts, (int)w);
		char *reply = cJSON_PrintUnformatted(
		        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(o, "replies"), (int)w));
		size_t n = (size_t)cJSON_GetArraySize(list);

		OK(simulate_read_echo(expected, n, (size_t)at(o, "n_places", w), reply, &err));
		for (size_t i = 0; i < n; i++, seen++) {
			truth[i] = simulate_truth((float)cJSON_GetArrayItem(list, (int)i)->valuedouble,
			                          (float)number(o, "strongest"));
			ck_assert_double_eq(truth[i], at(o, "true", seen));
			ck_assert_double_eq_tol(expected[i], at(o, "expected", seen), 1e-6);
		}
		sums = (simulate_sums){ 0 };
		simulate_add(&sums, truth, expected, n);
		simulate_join(&all, &sums);
		free(reply);
	}
	ck_assert_double_eq(all.n, 67);
	ck_assert_double_gt(number(o, "correlation"), 0.5);
	ck_assert_double_eq_tol(simulate_correlation(&all), number(o, "correlation"), 1e-6);
	ck_assert_double_eq_tol(simulate_explained(&all), number(o, "explained_variance_centred"), 1e-6);
	ck_assert_double_eq_tol(simulate_explained_uncentred(&all), number(o, "explained_variance_uncentred"),
	                        1e-6);
	ck_assert_double_eq_tol(simulate_absolute(&all), number(o, "absolute_deviation"), 1e-6);
	cJSON_Delete(o);
}
END_TEST

START_TEST(what_does_not_vary_has_no_correlation)
{
	const double x[] = { 0, 3, 10, 0 }, zero[] = { 0, 0, 0, 0 },
	             third[] = { 1 / 3.0, 1 / 3.0, 1 / 3.0, NAN };
	simulate_sums sums = { 0 };

	simulate_add(&sums, x, zero, 4);
	ck_assert(isnan(simulate_correlation(&sums)));
	ck_assert_double_eq(simulate_explained_uncentred(&sums), 0);
	ck_assert_double_eq(simulate_absolute(&sums), 0);
	sums = (simulate_sums){ 0 };
	simulate_add(&sums, x, third, 4);
	ck_assert_double_eq(sums.n, 3);
	ck_assert(isnan(simulate_correlation(&sums)));
	sums = (simulate_sums){ 0 };
	simulate_add(&sums, zero, x, 4);
	ck_assert(isnan(simulate_correlation(&sums)) && isnan(simulate_explained(&sums)) &&
	          isnan(simulate_absolute(&sums)));
	sums = (simulate_sums){ 0 };
	ck_assert(isnan(simulate_correlation(&sums)));
	simulate_add(&sums, x, x, 4);
	ck_assert_double_eq(simulate_correlation(&sums), 1);
	ck_assert_double_eq(simulate_explained(&sums), 1);
}
END_TEST

/* Every value of the windows is that of the store's own page of the context, and they are no choice of firing ones. */
START_TEST(random_windows_have_the_values_of_their_tokens)
{
	store_window *w, *silent;
	size_t n, n_silent, firing = 0;
	arena mem = ARENA_INIT;
	double tokens = 0, fires = 0;

	OK(store_windows_random(&w, &n, s, 1, 3, STORE_REPORT, 16, 400, 9, &mem, &err));
	ck_assert_uint_ge(n, 100);
	for (size_t i = 0; i < n; i++) {
		bool any = false;

		for (uint32_t k = 0; k < w[i].length; k++) {
			uint32_t position = w[i].first + k;

			tokens++;
			fires += w[i].value[k] > 0;
			any |= w[i].value[k] > 0;
			/* as planted: on its own word, by the place in the context */
			ck_assert_double_eq(w[i].value[k],
			                    strcmp(w[i].text[k], " w3") == 0 ? 1 + (float)(position % 7) : 0);
			ck_assert(w[i].value[k] <= w[i].activation);
		}
		ck_assert(!any || w[i].value[w[i].peak] == w[i].activation);
		ck_assert(any == (w[i].activation > 0));
		firing += any;
	}
	ck_assert_double_eq_tol(fires / tokens, 1 / 36.0, 0.01); /* one word of 36 */
	ck_assert_uint_gt(firing, n / 4);
	OK(store_windows_silent(&silent, &n_silent, s, 1, 3, STORE_REPORT, 16, 400, 9, &mem, &err));
	ck_assert_uint_eq(n_silent, n - firing);
	arena_clear(&mem);
}
END_TEST

/* ---- Scores ----------------------------------------------------------------------------------------------------------- */

/* Who says 10 wherever the feature fires is not right about how strongly: the correlation is under 1 all the same. */
START_TEST(who_knows_the_rule_is_as_good_as_the_rule)
{
	explain_opts o = options("0-2");
	cJSON *sum = NULL;

	judge.echo = _i == 1;
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_str_eq(cJSON_GetObjectItemCaseSensitive(sum, "measure")->valuestring, "correlation");
	ck_assert_double_eq(number(sum, "chance"), 0);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE value > 0.75 AND low > 0.7 AND low < value AND value < "
	            "high AND high < 1 AND n_failed = 0 AND n_positive = 20 AND n_negative = 20"),
	        SOME);
	/* the rule that the lexical explainer finds says the same on the same tokens, 10 and 0, which is 9 and 1 but for scale */
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE abs(details ->> '$.lexical.value' - value) < 1e-9"),
	        SOME);
	ck_assert_str_eq(text_of("SELECT group_concat(DISTINCT details ->> 'by') FROM score"),
	                 _i ? "logprobs" : "json");
	ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score")), 0.1);
	/* without a label it says the same everywhere: no correlation, and no more than that is said of it */
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE details -> '$.empty_label.value' = 'null' "
	                        "AND details ->> "
	                        "'$.empty_label.tokens' > 140"),
	                    SOME);
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE details -> '$.always_zero.value' = 'null' "
	                        "AND details ->> "
	                        "'$.always_zero.explained_variance_uncentred' = 0 AND details ->> "
	                        "'$.always_zero.absolute_deviation' = 0"),
	                    SOME);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE details ->> 'tokens' > 600 AND details ->> "
	            "'$.random_only.tokens' = 320 AND details ->> '$.random_only.value' > 0.5 AND "
	            "json_array_length(details -> 'correlation_by_decile') = 10 AND NOT details ->> "
	            "'undefined'"),
	        SOME);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE details ->> 'explained_variance_centred' < details ->> "
	            "'explained_variance_uncentred' AND details ->> 'absolute_deviation' IS NOT NULL AND "
	            "details "
	            "->> 'strongest' = 7"),
	        SOME);
	cJSON_Delete(sum);
}
END_TEST

/* bench/bench_oracle.c says how the value is worked out, for 24 features and 36 words here. Of 12 intervals at 95 % fewer than 9 hold
 * it about once in 4,000 times. */
START_TEST(intervals_hold_the_truth)
{
	explain_opts o = options("0-11");

	o.n_baseline = 0;
	judge.miss = 0.15;
	judge.false_alarm = 0.01;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - 0.7205), 0.06);
	ck_assert_double_ge(sql("SELECT count(*) FROM score WHERE low <= 0.7205 AND 0.7205 <= high"), 9);
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE baseline IS NULL"), 12);
}
END_TEST

/* No endpoint: the rules of lexical labels, 10 on the tokens that they mean. */
START_TEST(rules_simulate_too)
{
	explain_opts o = options("0-2");

	o.client = NULL;
	OK(explain_run(NULL, s, &o, &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE value > 0.75 AND judge = 'lexical' AND "
	                        "details ->> 'by' = 'rule'"),
	                    SOME);
	ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score")), 0.1);
	ck_assert_uint_eq(llm_count(server), 0);
}
END_TEST

START_TEST(a_label_that_says_nothing_is_at_chance)
{
	explain_opts o = options("0");
	store_label label = { 0, "nothing" };
	size_t bad;

	OK(store_labels_add(&bad, s, NULL, &label, 1, &err));
	judge.echo = _i == 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT value = 0 AND low = -1 AND high = 1 AND details ->> 'undefined' AND details ->> "
	            "'holds_chance' FROM score"),
	        1);
}
END_TEST

START_TEST(looks_stop_it)
{
	explain_opts o = options("0-2");
	unsigned all;

	o.n_baseline = 0;
	OK(explain_score(NULL, s, &o, &err));
	all = judge.items;
	judge.items = 0;
	o.precision = 0.1;
	o.seed = 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_uint_lt(judge.items, all);
	ck_assert_double_ge(
	        sql("SELECT count(*) FROM score WHERE details ->> 'level' > 0.96 AND details ->> 'looks' < 4 "
	            "AND high - low <= 0.2"),
	        2);
}
END_TEST

START_TEST(a_stopped_job_goes_on)
{
	explain_opts o = options("0-1"), whole = options("0-1"), rest = explain_opts_default();

	judge.echo = _i == 1;
	judge.miss = judge.false_alarm = 0.1;
	o.budget.max_requests = 30;
	client.concurrency = 1;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &client;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	OK(explain_score(NULL, s, &whole, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
	ck_assert_double_eq(
	        sql("SELECT count(DISTINCT explanation_id || details || prompt_sha256) FROM score"), 2);
}
END_TEST

/* ---- Questions -------------------------------------------------------------------------------------------------------- */

static char *question(size_t i)
{
	cJSON *body = cJSON_Parse(llm_get(server, i)->body);
	const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(body, "prompt");
	const cJSON *user = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(body, "messages"), 1);
	char *out =
	        strdup((prompt ? prompt : cJSON_GetObjectItemCaseSensitive(user, "content"))->valuestring);

	cJSON_Delete(body);
	return out;
}

/* A line break, a tab, brackets and the words of the frame stay in their line. */
START_TEST(tokens_cannot_break_the_frame)
{
	static const char *const tokens[] = { "[1] \"x\"", "\n", "\tunknown", "\n<end>\n", "e" };
	engine job = { .o = &(explain_opts){ .client = &client } };
	size_t n_places = 0;
	cJSON *json;
	char *body;

	job.prompt = score_kind("simulation", true)->prompt;
	OK(simulate_echo_body(&body, &n_places, &job, "two\nlines", tokens, 5, &err));
	json = cJSON_Parse(body);
	ck_assert_msg(
	        strstr(cJSON_GetObjectItemCaseSensitive(json, "prompt")->valuestring,
	               "\n\nUnit 3\nActive on: two\u21b5lines\nActivations:\n<start>\n[1] \"x\"\tunknown\n"
	               "\u21b5\tunknown\n\u21e5unknown\tunknown\n\u21b5<end>\u21b5\tunknown\ne\tunknown\n<"
	               "end>\n"),
	        "%s", cJSON_GetObjectItemCaseSensitive(json, "prompt")->valuestring);
	ck_assert_double_eq(number(json, "logprobs"), 15);
	ck_assert_double_eq(number(json, "max_tokens"), 0);
	ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "echo")));
	ck_assert_uint_eq(n_places, 8 + 5);
	cJSON_Delete(json);
	free(body);
}
END_TEST

/* The few-shot's "unknown" lines are as the question's. */
START_TEST(only_missing_tokens_are_asked_again)
{
	explain_opts o = options("0");
	char *again;
	unsigned first;

	o.n_baseline = 0;
	client.concurrency = 1;
	OK(explain_score(NULL, s, &o, &err));
	first = judge.items;
	ck_assert_double_eq(sql("SELECT details ->> 'tokens' FROM score"), first);
	client.model = "oracle-2"; /* so that nothing is in the log */
	judge.items = 0;
	judge.leave_out = 3;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT details ->> 'tokens' + 3 FROM score ORDER BY id DESC"), judge.items);
	ck_assert_double_eq(sql("SELECT details ->> 'asked_again' = 3 AND details ->> 'tokens_asked_again' = "
	                        "3 AND details ->> "
	                        "'tokens_missing' = 0 AND n_failed = 0 FROM score ORDER BY id DESC"),
	                    1);
	again = question(llm_count(server) - 1);
	ck_assert_msg(strncmp(again, "Description: w0\n\nTokens:\n[-]  w", 31) == 0 &&
	                      strstr(again, "\n[-]  w") && strstr(again, "\n[16]  w") &&
	                      !strstr(again, "[15]") &&
	                      strstr(again, "Predict the unit on all 1 numbered tokens."),
	              "%s", again);
	free(again);
	client.model = "oracle-3";
	judge.leave_out = 1000;
	judge.items = 0;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT n_failed = 40 AND details ->> 'tokens_missing' = 40 AND details ->> "
	                        "'tokens' > 560 AND "
	                        "value > 0.7 FROM score ORDER BY id DESC"),
	                    1);
}
END_TEST

START_TEST(pairs_of_other_tokens_count_for_nothing)
{
	explain_opts o = options("0");

	o.n_baseline = 0;
	judge.stray = 2;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT details ->> 'stray_answers' = 10 AND n_failed = 0 AND value > 0.75 FROM score"),
	        1);
}
END_TEST

/* ---- Log-probabilities ------------------------------------------------------------------------------------------------ */

START_TEST(by_log_probabilities_where_the_server_has_them)
{
	explain_opts o = options("0");

	judge.echo = _i == 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(text_of("SELECT details ->> 'by' FROM score"), _i ? "logprobs" : "json");
	/* one question to see; then all of them by one way */
	ck_assert_uint_eq(judge.echoes, _i ? llm_count(server) : 1);
	ck_assert_uint_eq(judge.questions, _i ? 0 : llm_count(server) - 2);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score JOIN prompt ON sha256 = prompt_sha256 WHERE text LIKE "
	            "'%<start>%'"),
	        _i);
}
END_TEST

START_TEST(a_server_without_them_is_refused_at_once)
{
	explain_opts o = options("0-5");

	o.logprobs = true;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, "tells no log-probabilities of its prompt that are of use") &&
	                      strstr(err.msg, "no echo here") && strstr(err.msg, "leave out --logprobs"),
	              "%s", err.msg);
	ck_assert_uint_eq(llm_count(server), 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM task WHERE state != 'waiting'"), 0);
}
END_TEST

START_TEST(asked_for_they_need_no_chats)
{
	explain_opts o = options("0");

	o.logprobs = judge.echo = true;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(text_of("SELECT details ->> 'by' FROM score"), "logprobs");
	ck_assert_uint_eq(judge.echoes, llm_count(server));
}
END_TEST

/* A reply whose tokens do not spell the prompt: asked for once more, then counted. */
START_TEST(a_reply_of_other_tokens_is_no_answer)
{
	explain_opts o = options("0");

	judge.echo = true;
	judge.leave_out = 3;
	client.concurrency = 1;
	o.n_baseline = 0;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT n_failed = 0 AND details ->> 'asked_again' = 3 FROM score"), 1);
	judge.leave_out = 40 + 7; /* all, and of the second time 7 */
	client.model = "oracle-2";
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT n_failed FROM score ORDER BY id DESC"), 7);
	ck_assert_double_eq(sql("SELECT n_positive + n_negative FROM score ORDER BY id DESC"), 33);
	judge.leave_out = 1000;
	client.model = "oracle-3";
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(text_of("SELECT error FROM task WHERE state = 'failed'"),
	                 "the tokens with log-probabilities do not spell the prompt");
}
END_TEST

START_TEST(echoes_that_cannot_be_read)
{
	static const struct {
		const char *logprobs, *why;
	} of[] = {
		{ "null", "no log-probabilities" },
		{ "{\"tokens\":[\"a\\tunknown\"],\"token_logprobs\":[-1],\"top_logprobs\":[{\"0\":-1}]}",
		  "do not spell" },
		{ "{\"tokens\":[\"a\",\"\\tunknown\"],\"token_logprobs\":[-1],\"top_logprobs\":[]}",
		  "differ in length" },
		{ "{\"tokens\":[\"a\",3],\"token_logprobs\":[-1,-1],\"top_logprobs\":[null,null]}",
		  "has no text" },
		{ "{\"tokens\":[\"a\",\"\\tunknown\"],\"token_logprobs\":[-1,-1],\"top_logprobs\":[null,{"
		  "\"\\t0\":\"x\"}]}",
		  "no log-probability" },
	};
	double out[2];
	char reply[512];

	snprintf(reply, sizeof(reply), "{\"choices\":[{\"text\":\"a\",\"logprobs\":%s}]}", of[_i].logprobs);
	ck_assert_int_eq(simulate_read_echo(out, 1, 2, reply, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, of[_i].why), "%s", err.msg);
}
END_TEST

/* Places without a number among the alternatives have no value; marks of the beginning and broken characters do no harm. */
START_TEST(odd_echoes_that_can_be_read)
{
	static const char reply[] =
	        "{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"tokens\":[\"<s>\",\"a\\ufffd\",\"\\tunknown\","
	        "\"\\nb\","
	        "\"\\t\",\"unknown\"],\"token_logprobs\":[null,-1,-1,-1,-1,-1],\"top_logprobs\":[null,null,"
	        "{\"5\":-1,\"\\tx\":-1},null,null,{\"3\":-0.5,\"03\":-0.1}]}}]}";
	double out[2] = { 0, 0 };

	OK(simulate_read_echo(out, 2, 2, reply, &err));
	ck_assert(isnan(out[0]));
	ck_assert_double_eq(out[1], 3);
}
END_TEST

/* ---- Before anything is spent, and what cannot be scored --------------------------------------------------------------- */

START_TEST(a_dry_run_counts_what_will_be_sent)
{
	explain_opts o = options("0");
	cJSON *sum = NULL;
	double input, output, sent = 0, limit = 0;

	o.dry_run = true;
	o.logprobs = judge.echo = _i == 1;
	o.price = (explain_price){ .known = true, .input = 1, .output = 2 };
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_uint_eq(llm_count(server), 0);
	ck_assert_double_eq(number(sum, "requests"), 1 + 40 + 10);
	input = number(sum, "input_tokens_estimate");
	output = number(sum, "output_tokens_limit");
	ck_assert_double_eq_tol(number(sum, "cost_estimate"), (input + 2 * output) / 1e6, 1e-9);
	cJSON_Delete(sum);
	o.dry_run = false;
	OK(explain_score(NULL, s, &o, &err));
	for (size_t i = _i ? 1 : 2; i < llm_count(server); i++) {
		cJSON *body = cJSON_Parse(llm_get(server, i)->body);

		sent += (double)((strlen(llm_get(server, i)->body) + 3) / 4);
		limit += number(body, "max_tokens");
		cJSON_Delete(body);
	}
	ck_assert_double_eq(input, sent);
	ck_assert_double_eq(output, limit);
}
END_TEST

START_TEST(what_cannot_be_scored_says_why)
{
	explain_opts o = options("0");

	OK(store_exec(
	        s,
	        "DELETE FROM firing WHERE context_id IN (SELECT c.id FROM context c JOIN document d ON d.id ="
	        " document_id WHERE part = 'report')",
	        &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(text_of("SELECT error FROM task ORDER BY id DESC"),
	                 "no silent windows in the report documents");
	OK(store_exec(s, "UPDATE document SET group_key = 1", &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(text_of("SELECT error FROM task ORDER BY id DESC"),
	                 "fires in one group of report documents only, two are needed");
	OK(store_exec(s, "UPDATE document SET part = 'label'", &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(text_of("SELECT error FROM task ORDER BY id DESC"),
	                 "fires in 0 stored contexts of the report documents, 5 are needed");
	ck_assert_uint_eq(judge.questions, 0);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("simulation");

	tcase_add_test(t, formulas_are_those_of_an_independent_program);
	tcase_add_test(t, what_does_not_vary_has_no_correlation);
	tcase_add_loop_test(t, echoes_that_cannot_be_read, 0, 5);
	tcase_add_test(t, odd_echoes_that_can_be_read);
	suite_add_tcase(suite, t);
	t = tcase_create("scores");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, random_windows_have_the_values_of_their_tokens);
	tcase_add_loop_test(t, who_knows_the_rule_is_as_good_as_the_rule, 0, 2);
	tcase_add_test(t, intervals_hold_the_truth);
	tcase_add_test(t, rules_simulate_too);
	tcase_add_loop_test(t, a_label_that_says_nothing_is_at_chance, 0, 2);
	tcase_add_test(t, looks_stop_it);
	tcase_add_loop_test(t, a_stopped_job_goes_on, 0, 2);
	tcase_add_test(t, tokens_cannot_break_the_frame);
	tcase_add_test(t, only_missing_tokens_are_asked_again);
	tcase_add_test(t, pairs_of_other_tokens_count_for_nothing);
	tcase_add_loop_test(t, by_log_probabilities_where_the_server_has_them, 0, 2);
	tcase_add_test(t, a_server_without_them_is_refused_at_once);
	tcase_add_test(t, asked_for_they_need_no_chats);
	tcase_add_test(t, a_reply_of_other_tokens_is_no_answer);
	tcase_add_loop_test(t, a_dry_run_counts_what_will_be_sent, 0, 2);
	tcase_add_test(t, what_cannot_be_scored_says_why);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("simulation", cases)
