/* The scorers against a judge that knows the rule: what they must get, what baselines get, what is asked again, what no feature can
 * be scored by, and that no document is used twice. bench/bench_oracle.c runs the same at length. */
#include "tests/fixture_planted.h"
#include "tests/support_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, SOME = 6, TWINS = 2, RANDOM = 8 };

static oracle judge;

static void setup(void)
{
	planted p = { .features = FEATURES, .twins = TWINS, .random = RANDOM, .times = 300, .tokens = 64 };

	judge = (oracle){ .seed = 5 };
	fixture_begin(&p, true, oracle_answer, &judge, "oracle");
}

static explain_opts options(const char *scorer)
{
	explain_opts o = explain_opts_default();

	o.client = &client;
	o.scorer = scorer;
	o.features = "0-5";
	o.window = 16;
	return o;
}

static explain_opts of_one(const char *scorer)
{
	explain_opts o = options(scorer);

	o.features = "0";
	return o;
}

static const char *const names[] = { "detection", "fuzz", "intruder" };

/* ---- Scores ----------------------------------------------------------------------------------------------------------- */

START_TEST(who_knows_the_rule_makes_no_mistake)
{
	explain_opts o = options(names[_i]);
	cJSON *sum = NULL;

	OK(explain_score(&sum, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE value = 1 AND high = 1 AND low > 0.8 AND n_failed = 0"),
	        SOME);
	ck_assert_str_eq(cJSON_GetObjectItemCaseSensitive(sum, "scorer")->valuestring, names[_i]);
	if (_i == 2) {
		ck_assert_double_eq(
		        sql("SELECT count(*) FROM score WHERE details ->> 'chance' = 0.2 AND baseline IS NULL"
		            " AND n_positive = 50 AND n_negative = 0"),
		        SOME);
	} else {
		ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score") - 0.5), 0.12);
		/* without a label it says no to all; rules of words are found */
		ck_assert_double_eq(sql("SELECT avg(details ->> '$.empty_label.value') FROM score"), 0.5);
		ck_assert_double_gt(sql("SELECT avg(details ->> '$.lexical.value') FROM score"), 0.95);
		ck_assert_double_eq(sql("SELECT avg(details ->> '$.always_no.value') FROM score"), 0.5);
	}
	if (_i == 1)
		ck_assert_double_eq(
		        sql("SELECT count(*) FROM score WHERE details ->> '$.tnr_by_kind.silent.n' = 25"
		            " AND details ->> '$.tnr_by_kind.mismarked.n' = 25"),
		        SOME);
	cJSON_Delete(sum);
}
END_TEST

/* The analytic value is in so many intervals: of 24 at 95 %, fewer than 19 come about once in 6,000 times. */
START_TEST(intervals_hold_the_truth)
{
	static const double truth[] = { 0.875, 0.875, 0.85 };
	explain_opts o = options(names[_i]);
	char query[256];

	o.features = "0-23";
	judge.miss = 0.15;
	judge.false_alarm = 0.1;
	OK(explain_score(NULL, s, &o, &err));
	snprintf(query, sizeof(query), "SELECT count(*) FROM score WHERE low <= %g AND %g <= high", truth[_i],
	         truth[_i]);
	ck_assert_double_ge(sql(query), 19);
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - truth[_i]), 0.03);
}
END_TEST

START_TEST(random_features_are_at_chance)
{
	explain_opts o = options(names[_i]);

	o.features = "26-33";
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), RANDOM);
	ck_assert_double_lt(fabs(sql("SELECT avg(value) - avg(details ->> 'chance') FROM score")), 0.06);
	ck_assert_double_ge(sql("SELECT sum(details ->> 'holds_chance') FROM score"), RANDOM - 3);
}
END_TEST

START_TEST(who_says_yes_to_all_is_at_chance)
{
	explain_opts o = options(names[_i]);

	judge.all_yes = true;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE value = 0.5 AND details ->> 'always' = 'yes'"
	            " AND details ->> 'holds_chance' AND NOT details ->> 'above_chance'"),
	        SOME);
}
END_TEST

/* A feature needs no label for that, and what it got stays when it has one. */
START_TEST(intruders_need_no_label)
{
	explain_opts o = options("intruder"), with_label = options("detection");
	explain_report_opts r = explain_report_opts_default();
	store_label label = { 1, "w1" };
	cJSON *page = NULL;
	size_t bad;

	OK(store_exec(s, "UPDATE explanation SET withdrawn = '2026' WHERE feature < 4", &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE value = 1 AND details ->> 'chance' = 0.2"),
	                    SOME);
	ck_assert_double_eq(sql("SELECT count(*) FROM label WHERE feature < 6"), 2);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM explanation WHERE method = 'none' AND withdrawn IS NOT NULL"), 4);
	OK(explain_score(NULL, s, &with_label, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE scorer = 'detection'"), 2);
	o.only_new = true; /* none is left */
	ck_assert_int_lt(explain_score(NULL, s, &o, &err), 0);
	OK(store_labels_add(&bad, s, NULL, &label, 1, &err));
	ck_assert_int_lt(explain_score(NULL, s, &o, &err), 0);
	o.only_new = false; /* again, and no second row stands for no label */
	o.replay = true;
	o.features = "0,2";
	o.seed = 0;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation WHERE method = 'none'"), 4);
	r.n_shown = 0;
	OK(explain_report(&page, s, &r, &err));
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(page, "features")), SOME);
	for (int i = 0; i < SOME; i++) {
		const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(page, "features"), i);
		double f = cJSON_GetObjectItem(one, "feature")->valuedouble;
		bool named = f == 1 || f >= 4;

		ck_assert_str_eq(cJSON_GetObjectItem(one, "method")->valuestring, named ? "person" : "none");
		ck_assert_int_eq(cJSON_GetObjectItem(one, "label")->valuestring[0] != '\0', named);
		ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(one, "scores")), f >= 4 ? 2 : 1);
	}
	ck_assert_double_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "replaced"), "scores")->valuedouble,
	                    0);
	cJSON_Delete(page);
}
END_TEST

/* ---- Answers ---------------------------------------------------------------------------------------------------------- */

START_TEST(only_what_is_missing_is_asked_again)
{
	explain_opts o = of_one(names[_i]);
	unsigned first;

	o.n_baseline = 0;
	OK(explain_score(NULL, s, &o, &err));
	first = judge.items;
	ck_assert_double_eq(sql("SELECT details ->> 'asked_again' FROM score"), 0);
	o.seed = 1; /* other windows, so that nothing is in the log */
	judge.items = 0;
	judge.leave_out = 3;
	client.concurrency = 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_uint_eq(judge.items, first + 3);
	ck_assert_double_eq(sql("SELECT details ->> 'asked_again' FROM score ORDER BY id DESC"), 3);
	ck_assert_double_eq(sql("SELECT n_failed FROM score ORDER BY id DESC"), 0);
	o.seed = 2;
	judge.leave_out = 1000;
	judge.items = 0;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_gt(sql("SELECT n_failed FROM score ORDER BY id DESC"),
	                    0); /* counted, and no more than asked again */
	ck_assert_double_eq(sql("SELECT value FROM score ORDER BY id DESC"), 1);
}
END_TEST

/* The last batch holds 4 of 7: nothing of it is lost. */
START_TEST(a_short_last_batch_loses_nothing)
{
	explain_opts o = of_one(names[_i]);

	o.n_positive = 11;
	o.n_negative = 14;
	o.n_hard = 0;
	o.n_baseline = 0;
	o.per_prompt = 7;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT n_positive + n_negative FROM score"), 25);
	ck_assert_double_eq(sql("SELECT n_failed FROM score"), 0);
	ck_assert_uint_eq(judge.questions, 4);
}
END_TEST

START_TEST(answers_about_other_items_count_for_nothing)
{
	explain_opts o = of_one(names[_i]);

	judge.stray = 2;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT value FROM score"), 1);
	ck_assert_double_eq(sql("SELECT details ->> 'stray_answers' FROM score"), 4);
	ck_assert_double_eq(sql("SELECT n_failed FROM score"), 0);
}
END_TEST

/* Which it is cannot be told, so it is asked about again. */
START_TEST(a_number_in_both_lists_is_no_answer)
{
	explain_opts o = of_one(names[_i]);

	judge.both = 3;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT value FROM score"), 1);
	ck_assert_double_ge(sql("SELECT details ->> 'asked_again' FROM score"), 1);
	ck_assert_double_eq(sql("SELECT n_failed FROM score"), 0);
	ck_assert_uint_eq(judge.both, 0);
	/* by an object an answer, which small models fill in where they leave numbers out of lists */
	for (size_t i = llm_count(server) - 1; i + 1 >= llm_count(server); i--)
		ck_assert_ptr_nonnull(strstr(llm_get(server, i)->body, "\"answers\""));
}
END_TEST

/* ---- Grades ----------------------------------------------------------------------------------------------------------- */

START_TEST(grades_make_an_area)
{
	explain_opts o = options("detection");

	o.features = "0-23";
	o.logprobs = true;
	judge.d = 2;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_lt(
	        fabs(sql("SELECT avg(details ->> '$.auroc.value') FROM score") - (0.5 + erf(1.0) / 2)), 0.02);
	ck_assert_double_ge(
	        sql("SELECT count(*) FROM score WHERE details ->> '$.auroc.low' <= 0.9214 AND 0.9213 <= "
	            "details ->> '$.auroc.high'"),
	        19);
	/* by one answer at a time: numbers in a list have no alternatives */
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score x JOIN prompt p ON p.sha256 = x.schema_sha256 WHERE "
	            "p.text LIKE '%answers%'"),
	        FEATURES);
}
END_TEST

START_TEST(confidences_make_an_area)
{
	explain_opts o = options("confidence");

	o.features = "0-23";
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - (0.5 + erf(1.0) / 2)), 0.02);
	ck_assert_double_ge(
	        sql("SELECT count(*) FROM score WHERE low <= 0.9214 AND 0.9213 <= high AND n_positive + "
	            "n_negative > 70 AND details ->> '$.auroc_by_kind.silent.value' = value"),
	        19);
	ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score") - 0.5), 0.08);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.empty_label.value') FROM score") - 0.5),
	                    0.08);
	ck_assert_double_eq(sql("SELECT sum(json_array_length(details -> 'auroc_by_decile')) FROM score"),
	                    240);
}
END_TEST

START_TEST(a_server_without_grades_is_refused_before_anything_is_spent)
{
	explain_opts o = options("detection");

	o.logprobs = true;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, "no log-probabilities"), "%s", err.msg);
	ck_assert_uint_eq(judge.questions, 0);
}
END_TEST

/* ---- Hard windows ----------------------------------------------------------------------------------------------------- */

START_TEST(nearest_windows_are_hard_ones_too)
{
	explain_opts o = options(names[_i]);

	o.embed_model = "encoder";
	o.n_hard = 20;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_uint_gt(judge.embeddings, SOME); /* and one to see whether it can */
	ck_assert_double_eq(
	        sql(_i == 2 ? "SELECT min(details ->> '$.accuracy_by_intruder.nearest.n') FROM score"
	                    : "SELECT min(details ->> '$.tnr_by_kind.nearest.n') FROM score"),
	        5);
	ck_assert_double_eq(sql("SELECT min(details ->> '$.hard.value') FROM score"), 1);
}
END_TEST

START_TEST(a_server_that_does_not_embed_is_refused_before_anything_is_spent)
{
	explain_opts o = options("detection");

	o.embed_model = "encoder";
	judge.no_embeddings = true;
	ck_assert_int_lt(explain_score(NULL, s, &o, &err), 0);
	ck_assert_msg(strstr(err.msg, "gives no embeddings by 'encoder'") && strstr(err.msg, "no such route"),
	              "%s", err.msg);
	ck_assert_uint_eq(judge.questions, 0);
	o.client = NULL;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
}
END_TEST

START_TEST(a_dry_run_counts_embeddings_too)
{
	explain_opts o = options("detection");
	cJSON *sum = NULL;
	double without;

	o.dry_run = true;
	o.features = "0";
	OK(explain_score(&sum, s, &o, &err));
	without = cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble;
	cJSON_Delete(sum);
	o.embed_model = "encoder";
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_double_ge(cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble, without + 2);
	ck_assert_uint_eq(judge.embeddings + judge.questions, 0);
	cJSON_Delete(sum);
}
END_TEST

/* ---- Marks --------------------------------------------------------------------------------------------------------------- */

/* In the texts of one request's question: the token before which the first mark stands, of those whose mark is not the word. */
static void add_places(unsigned places[16], const char *question, const char *word)
{
	for (const char *at = strstr(question, "\n[1]"); at && at[1] == '['; at = strchr(at + 1, '\n')) {
		const char *line = strchr(at, ']') + 2, *mark = strstr(line, "<<");
		unsigned before = 0;

		for (const char *c = line; c < mark; c++)
			before += *c == ' ';
		if (strncmp(mark + 3, word, strlen(word)) != 0 && before < 16)
			places[before]++;
	}
}

START_TEST(wrong_marks_stand_anywhere)
{
	explain_opts o = of_one("fuzz");
	unsigned places[16] = { 0 }, used = 0, all = 0, most = 0;

	o.n_baseline = 0;
	OK(explain_score(NULL, s, &o, &err));
	for (size_t i = 0; i < llm_count(server); i++) {
		cJSON *body = cJSON_Parse(llm_get(server, i)->body);
		const cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages");

		add_places(places,
		           cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(messages, 1), "content")
		                   ->valuestring,
		           "w0>");
		cJSON_Delete(body);
	}
	for (int i = 0; i < 16; i++) {
		used += places[i] > 0;
		all += places[i];
		most = places[i] > most ? places[i] : most;
	}
	ck_assert_uint_ge(all, 40);
	ck_assert_uint_ge(used, 12);
	ck_assert_uint_le(most, all / 4);
}
END_TEST

/* ---- Looks ------------------------------------------------------------------------------------------------------------ */

/* However many looks: what has no answer is asked about twice, and no more. */
START_TEST(looks_ask_once_more_only)
{
	explain_opts o = of_one(names[_i]);

	o.n_hard = o.n_baseline = 0;
	o.precision = 0.001;
	judge.leave_out = 1000;
	client.concurrency = 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT details ->> 'looks' FROM score"), 4);
	ck_assert_double_gt(sql("SELECT n_failed FROM score"), 0);
	ck_assert_double_eq(judge.items - sql("SELECT details ->> 'asked_again' FROM score"),
	                    sql("SELECT n_positive + n_negative + n_failed FROM score"));
}
END_TEST

START_TEST(asking_stops_when_it_is_sure_enough)
{
	explain_opts o = options("detection");
	unsigned all, some;

	o.n_hard = o.n_baseline = 0;
	OK(explain_score(NULL, s, &o, &err));
	all = judge.items;
	judge.items = 0;
	o.precision = 0.15;
	o.seed = 1;
	OK(explain_score(NULL, s, &o, &err));
	some = judge.items;
	ck_assert_uint_lt(some, all * 3 / 4);
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE details ->> 'level' > 0.96 AND details ->> "
	                        "'looks' < 4 AND high - low <= 0.3"),
	                    SOME);
	ck_assert_double_gt(
	        sql("SELECT min(details ->> 'level') FROM score WHERE details ->> 'level' > 0.96"), 0.98);
}
END_TEST

/* ---- Stopped and taken up --------------------------------------------------------------------------------------------- */

/* A job that its limit stopped goes on as the scorer it was begun with, and ends as one that was not stopped. */
START_TEST(stopped_jobs_go_on_as_what_they_were)
{
	explain_opts o = options(names[_i]), whole = options(names[_i]), rest = explain_opts_default();

	o.features = whole.features = "0-1";
	o.choice = EXPLAIN_RANDOM;
	o.peak = 0.5;
	o.group = 4;
	judge.miss = judge.false_alarm = 0.1;
	o.budget.max_requests = 5;
	client.concurrency = 1;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &client;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 2);
	whole.choice = o.choice;
	whole.peak = o.peak;
	whole.group = o.group;
	OK(explain_score(NULL, s, &whole, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
	ck_assert_double_eq(sql("SELECT count(DISTINCT explanation_id || scorer || details) FROM score"), 2);
}
END_TEST

/* ---- What cannot be scored -------------------------------------------------------------------------------------------- */

/* The latest reason. */
static const char *why(const char *scorer)
{
	explain_opts o = of_one(scorer);

	OK(explain_score(NULL, s, &o, &err));
	return sql_text("SELECT error FROM task WHERE state = 'skipped' ORDER BY id DESC");
}

START_TEST(what_cannot_be_scored_says_why)
{
	OK(store_exec(
	        s,
	        "DELETE FROM firing WHERE context_id IN (SELECT c.id FROM context c JOIN document d ON d.id ="
	        " document_id WHERE part = 'report')",
	        &err));
	ck_assert_str_eq(why(names[_i]), "no silent windows in the report documents");
	OK(store_exec(s, "UPDATE document SET group_key = 1", &err));
	ck_assert_str_eq(why(names[_i]), "fires in one group of report documents only, two are needed");
	OK(store_exec(s, "UPDATE document SET part = 'label'", &err));
	ck_assert_str_eq(why(names[_i]), "fires in 0 stored contexts of the report documents, 5 are needed");
}
END_TEST

START_TEST(scorers_check_what_they_are_asked_for)
{
	explain_opts o = options("gossip");

	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "unknown scorer 'gossip'");
	o = options("intruder");
	o.client = NULL;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the scorer 'intruder' needs a model to judge (--base-url)");
	o = options("intruder");
	o.group = 2;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	o = options("detection");
	o.precision = 0.7;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	o = options("detection");
	o.peak = 1.5;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the peak is at 1.5 of a window, 0 to 1 is allowed");
}
END_TEST

/* ---- Which windows ---------------------------------------------------------------------------------------------------- */

static const char shown[] =
        "SELECT DISTINCT j.kind, d.group_key, d.part, w.value ->> 0 AS context, w.value ->> 1 AS first"
        " FROM request r JOIN task t ON t.id = r.task_id JOIN job j ON j.id = t.job_id,"
        " json_each(r.example_ids) w JOIN context c ON c.id = w.value ->> 0"
        " JOIN document d ON d.id = c.document_id";

START_TEST(no_group_of_documents_is_in_two_sets)
{
	explain_opts o = options("detection");
	char query[1024];

	o.client = NULL;
	OK(explain_run(NULL, s, &o, &err));
	o.client = &client;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		o.scorer = names[i];
		OK(explain_score(NULL, s, &o, &err));
	}
	snprintf(query, sizeof(query),
	         "SELECT count(*) FROM (%s) WHERE part != iif(kind = 'explain', 'label', 'report')", shown);
	ck_assert_double_eq(sql(query), 0);
	snprintf(query, sizeof(query),
	         "SELECT count(*) FROM (SELECT group_key FROM (%s) GROUP BY 1 HAVING count(DISTINCT kind) > "
	         "1)",
	         shown);
	ck_assert_double_eq(sql(query), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM (SELECT group_key FROM document GROUP BY 1 HAVING "
	                        "count(DISTINCT part) "
	                        "> 1)"),
	                    0);
	ck_assert_double_gt(sql("SELECT count(DISTINCT part) FROM document"), 2);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("scorers");

	tcase_add_checked_fixture(t, setup, fixture_end);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, who_knows_the_rule_makes_no_mistake, 0, 3);
	tcase_add_test(t, intruders_need_no_label);
	tcase_add_loop_test(t, intervals_hold_the_truth, 0, 3);
	tcase_add_loop_test(t, random_features_are_at_chance, 2, 3);
	tcase_add_loop_test(t, who_says_yes_to_all_is_at_chance, 0, 2);
	tcase_add_loop_test(t, only_what_is_missing_is_asked_again, 0, 2);
	tcase_add_loop_test(t, a_short_last_batch_loses_nothing, 0, 2);
	tcase_add_loop_test(t, a_number_in_both_lists_is_no_answer, 0, 2);
	tcase_add_loop_test(t, answers_about_other_items_count_for_nothing, 0, 2);
	tcase_add_test(t, grades_make_an_area);
	tcase_add_test(t, confidences_make_an_area);
	tcase_add_loop_test(t, nearest_windows_are_hard_ones_too, 0, 3);
	tcase_add_test(t, a_server_that_does_not_embed_is_refused_before_anything_is_spent);
	tcase_add_test(t, a_dry_run_counts_embeddings_too);
	tcase_add_test(t, wrong_marks_stand_anywhere);
	tcase_add_test(t, a_server_without_grades_is_refused_before_anything_is_spent);
	tcase_add_loop_test(t, looks_ask_once_more_only, 0, 2);
	tcase_add_test(t, asking_stops_when_it_is_sure_enough);
	tcase_add_loop_test(t, stopped_jobs_go_on_as_what_they_were, 0, 3);
	tcase_add_loop_test(t, what_cannot_be_scored_says_why, 0, 3);
	tcase_add_test(t, scorers_check_what_they_are_asked_for);
	tcase_add_test(t, no_group_of_documents_is_in_two_sets);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("scorers", cases)
