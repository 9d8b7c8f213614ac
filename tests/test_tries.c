/* Several labels tried for a feature: the one that a judge does best by on the select documents is kept, or what becomes of it when
 * the model is shown the judge's mistakes; nothing is paid twice, and no report document is looked at. */
#include "tests/fixture_planted.h"
#include "tests/support_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, TWINS = 2, WINDOW = 16, BATCHES = 2 /* of 20 of the 40 windows judged */ };

/* Labels as they are asked for, "" for what is none; then those that are asked for as better ones. */
static struct script {
	const char *labels[8], *better[8];
	size_t asked, asked_better;
	unsigned refuse_after; /* requests; 0: never */
	unsigned seen;
	bool mute; /* the judge says nothing */
	oracle judge;
} script;

static llm_reply say_label(const char *label)
{
	llm_reply r = { 0 };
	char said[256];

	snprintf(said, sizeof(said), "{\"label\":\"%s\",\"short_label\":\"x\",\"sure\":0.5}", label);
	r.own = llm_chat(label[0] ? said : "I cannot tell.");
	return r;
}

static llm_reply answer(const llm_seen *request, void *payload)
{
	struct script *x = payload;
	llm_reply r = { 0 };

	if (x->refuse_after && x->seen == x->refuse_after)
		return (llm_reply){ .status = 401 };
	x->seen++;
	if (strstr(request->body, "Wrongly taken:\\n"))
		return say_label(x->better[x->asked_better++]);
	if (strstr(request->body, "Sample 1: "))
		return say_label(x->labels[x->asked++]);
	if (x->mute && !strstr(request->body, "{\\\"ok\\\": true}")) {
		r.own = llm_chat("{\"fires\":[],\"silent\":[]}");
		return r;
	}
	return oracle_answer(request, &x->judge);
}

static void setup(void)
{
	planted p = { .features = FEATURES, .twins = TWINS, .times = 300, .tokens = 64 };

	script = (struct script){ .judge = { .seed = 5 } };
	fixture_begin(&p, false, answer, &script, "tiny");
	client.concurrency = 1;
}

static explain_opts options(unsigned candidates, unsigned refine)
{
	explain_opts o = explain_opts_default();

	o.client = &client;
	o.features = "3";
	o.window = WINDOW;
	o.n_candidates = candidates;
	o.n_refine = refine;
	return o;
}

static void check_text(const char *query, const char *want)
{
	const char *got = sql_text(query);

	ck_assert_msg(strcmp(got, want) == 0, "%s: '%s', not '%s'", query, got, want);
}

static size_t asked_with(const char *what)
{
	size_t n = 0;

	for (size_t i = 0; i < llm_count(server); i++)
		n += strstr(llm_get(server, i)->body, what) != NULL;
	return n;
}

/* ---- Choice ----------------------------------------------------------------------------------------------------------- */

START_TEST(the_best_of_several_is_kept)
{
	explain_opts o = options(3, 0);
	cJSON *sum = NULL;
	const cJSON *about;

	script.labels[0] = "w5";
	script.labels[1] = "w3";
	script.labels[2] = "w7";
	OK(explain_run(&sum, s, &o, &err));
	about = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(sum, "features"), 0);
	ck_assert_double_eq(cJSON_GetObjectItemCaseSensitive(about, "select")->valuedouble, 1);
	ck_assert_double_eq(cJSON_GetObjectItemCaseSensitive(about, "tried")->valuedouble, 3);
	check_text("SELECT group_concat(text, ' ') FROM label", "w3");
	check_text("SELECT group_concat(text || iif(withdrawn IS NULL, '', '-'), ' ') FROM (SELECT * FROM "
	           "explanation ORDER BY id)",
	           "w5- w7- w3");
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE scorer = 'select' AND judge = 'tiny' AND "
	                        "n_failed = 0 AND n_positive = 20 AND n_negative = 20 AND low <= value AND "
	                        "length(prompt_sha256) = 64"),
	                    3);
	ck_assert_double_eq(sql("SELECT count(*) FROM score x JOIN explanation e ON e.id = x.explanation_id "
	                        "WHERE iif(e.text = 'w3', x.value = 1, x.value < 0.7)"),
	                    3);
	/* each at a temperature, and by the same windows */
	ck_assert_uint_eq(asked_with("Sample 1: "), 3);
	ck_assert_uint_eq(asked_with("\"temperature\":0.7"), 3);
	ck_assert_uint_eq(llm_count(server), 1 + 3 + 3 * BATCHES);
	ck_assert_double_eq(sql("SELECT count(DISTINCT key) FROM request"), 3 + 3 * BATCHES);
	ck_assert_double_eq(sql("SELECT count(DISTINCT example_ids) FROM request"), 1 + BATCHES);
	cJSON_Delete(sum);
}
END_TEST

/* What it was chosen by is no score: lists, the report and its page keep it apart, before there is one and after. */
START_TEST(the_choice_is_no_score)
{
	explain_opts o = options(2, 0);
	explain_report_opts report = explain_report_opts_default();
	cJSON *page = NULL;
	const cJSON *label;

	script.labels[0] = "w5";
	script.labels[1] = "w3";
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM feature_list WHERE label IS NOT NULL AND score IS NULL"), 1);
	ck_assert_int_eq(explain_report(&page, s, &report, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "has labels but no scores"));
	for (int scored = 0; scored < 2; scored++) {
		OK(store_labels(&page, s, NULL, 3, &err));
		label = cJSON_GetArrayItem(cJSON_GetObjectItem(page, "labels"), 0);
		ck_assert_str_eq(cJSON_GetObjectItem(label, "text")->valuestring, "w3");
		ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(label, "scores")), scored);
		ck_assert_double_eq(
		        cJSON_GetObjectItem(cJSON_GetObjectItem(label, "chosen_by"), "value")->valuedouble,
		        1);
		cJSON_Delete(page);
		OK(explain_score(NULL, s, &o, &err));
	}
	ck_assert_double_eq(sql("SELECT count(*) FROM feature_list WHERE score = 1 AND scorer = 'detection'"),
	                    1);
	OK(store_exec(
	        s,
	        "INSERT INTO score(explanation_id, scorer, judge, value, n_positive, n_negative, n_failed, "
	        "details, created) SELECT explanation_id, 'select', 'tiny', 0.25, 1, 1, 0, '{}', '' FROM "
	        "current_label; DELETE FROM score WHERE scorer = 'detection' AND id = (SELECT max(id) FROM "
	        "score WHERE scorer = 'detection')",
	        &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM feature_list WHERE score = 1 AND scorer = 'detection'"),
	                    1);
	OK(explain_report(&page, s, &report, &err));
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(page, "series")), 1);
	ck_assert_double_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "replaced"), "scores")->valuedouble,
	                    0);
	cJSON_Delete(page);
	OK(store_exec(s, "DELETE FROM score WHERE scorer = 'detection'", &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM feature_list WHERE score IS NOT NULL"), 0);
}
END_TEST

/* Labels come from label documents, the choice from select documents, and neither shares a group with the other or the reports. */
START_TEST(no_report_document_is_looked_at)
{
	explain_opts o = options(2, 1);

	for (size_t i = 0; i < 8; i++)
		script.labels[i] = script.better[i] = i % 2 ? "w5" : "w7";
	o.features = "3,9";
	OK(explain_run(NULL, s, &o, &err));
	o.features = "3";
	OK(explain_score(NULL, s, &o, &err));
	OK(store_exec(
	        s,
	        "CREATE TEMP VIEW shown AS SELECT j.kind, d.group_key, d.part FROM request r JOIN task t ON "
	        "t.id = r.task_id JOIN job j ON j.id = t.job_id, json_each(r.example_ids) w JOIN context c "
	        "ON c.id = w.value ->> 0 JOIN document d ON d.id = c.document_id",
	        &err));
	ck_assert_double_gt(sql("SELECT count(*) FROM shown WHERE kind = 'explain' AND part = 'label'"), 20);
	ck_assert_double_gt(sql("SELECT count(*) FROM shown WHERE kind = 'explain' AND part = 'select'"), 20);
	ck_assert_double_eq(sql("SELECT count(*) FROM shown WHERE kind = 'explain' AND part = 'report'"), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM shown WHERE kind = 'score' AND part != 'report'"), 0);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM (SELECT group_key FROM shown GROUP BY 1 HAVING count(DISTINCT "
	            "part) > 1)"),
	        0);
}
END_TEST

START_TEST(features_that_fire_alike_share_the_choice)
{
	explain_opts o = options(2, 0);

	script.labels[0] = "w0";
	script.labels[1] = "w5";
	o.features = "0,24";
	OK(explain_run(NULL, s, &o, &err));
	check_text("SELECT group_concat(feature || text, ' ') FROM (SELECT * FROM label ORDER BY feature)",
	           "0w0 24w0");
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 3);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation WHERE same_as = 0 AND feature = 24"), 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 2);
}
END_TEST

/* ---- Refinement ------------------------------------------------------------------------------------------------------- */

START_TEST(a_label_is_made_better_by_its_mistakes)
{
	explain_opts o = options(1, 3);
	const char *body;

	script.labels[0] = "w5";
	script.better[0] = "w3";
	OK(explain_run(NULL, s, &o, &err));
	check_text("SELECT text FROM label", "w3");
	check_text("SELECT group_concat(e.text || ' ' || (x.value = 1), ', ') FROM explanation e JOIN score "
	           "x ON "
	           "x.explanation_id = e.id",
	           "w5 0, w3 1");
	/* no mistake is left, so it is not asked again; the label alone was asked for at temperature 0 */
	ck_assert_uint_eq(llm_count(server), 1 + 1 + BATCHES + 1 + BATCHES);
	ck_assert_uint_eq(asked_with("\"temperature\":0.7"), 0);
	body = llm_get(server, 2 + BATCHES)->body;
	ck_assert_ptr_nonnull(strstr(body, "\\n\\nDescription: w5\\n\\nMissed:\\n- "));
	ck_assert_ptr_nonnull(strstr(body, "<< w3>>"));
	/* what it took wrongly holds the word, unmarked */
	body = strstr(body, "Wrongly taken:\\n- ");
	ck_assert_ptr_nonnull(body);
	body = strstr(body + 1, "Wrongly taken:\\n- ") ? strstr(body + 1, "Wrongly taken:\\n- ") : body;
	ck_assert_ptr_nonnull(strstr(body, " w5"));
	ck_assert_ptr_null(strstr(body, "<<"));
	ck_assert_double_eq(sql("SELECT count(DISTINCT prompt_sha256) FROM explanation"), 2);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM explanation e JOIN prompt p ON p.sha256 = e.prompt_sha256"), 2);
}
END_TEST

START_TEST(a_worse_one_is_not_kept)
{
	explain_opts o = options(1, 2);

	script.judge.miss = 0.3;
	script.labels[0] = "w3";
	script.better[0] = "w7";
	script.better[1] = "w9";
	OK(explain_run(NULL, s, &o, &err));
	check_text("SELECT text FROM label", "w3");
	check_text("SELECT group_concat(text || iif(withdrawn IS NULL, '', '-'), ' ') FROM (SELECT * FROM "
	           "explanation ORDER BY id)",
	           "w7- w9- w3");
	/* the second is the same question, at a temperature */
	ck_assert_uint_eq(asked_with("Wrongly taken:\\n"), 2);
	ck_assert_uint_eq(asked_with("\"temperature\":0.7"), 1);
}
END_TEST

/* ---- Money ------------------------------------------------------------------------------------------------------------ */

/* Stopped after any number of requests and begun again, it ends alike, and what was answered is not asked twice. */
START_TEST(a_stopped_run_pays_nothing_twice)
{
	explain_opts o = options(3, 1);
	unsigned whole = 1 + 3 + 3 * BATCHES + 1 + BATCHES, refused = 0;

	script.labels[0] = "w5";
	script.labels[1] = "w9";
	script.labels[2] = "w7";
	script.better[0] = "w3";
	script.refuse_after = 1 + (unsigned)_i;
	while (explain_run(NULL, s, &o, &err) != 0) {
		ck_assert_msg(strstr(err.msg, "401"), "%s", err.msg);
		ck_assert_uint_lt(++refused, 30);
		script.refuse_after += 1 + (unsigned)_i;
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_eq(script.seen, whole);
	ck_assert_uint_eq(script.asked, 3);
	ck_assert_uint_eq(script.asked_better, 1);
	check_text("SELECT text FROM label", "w3");
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 4);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
	ck_assert_double_eq(sql("SELECT count(*) FROM job WHERE state = 'done'"), 1);
	/* read again from the log, it adds no rows */
	OK(store_exec(s, "UPDATE task SET state = 'waiting'; UPDATE job SET state = 'stopped'", &err));
	o.replay = true;
	OK(explain_resume(NULL, s, 1, &o, &err));
	ck_assert_uint_eq(script.seen, whole);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 4);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
	check_text("SELECT text FROM label", "w3");
}
END_TEST

/* The job's settings and templates as another version of gloss would have kept them. */
static void was_begun_with(size_t form, const char *prompt)
{
	char hash[SHA256_HEX], query[256];

	OK(sha256_bytes(hash, prompt, strlen(prompt), &err));
	OK(store_prompt_add(s, prompt, &err));
	snprintf(query, sizeof(query),
	         "UPDATE job SET settings = json_set(settings, '$.forms_sha256[%zu]', '%s'), state = "
	         "'stopped'",
	         2 * form, hash);
	OK(store_exec(s, query, &err));
}

/* It asks as it was begun to, by this command line or another, or says what it cannot. */
START_TEST(resumed_with_the_prompts_it_was_begun_with)
{
	static const char judge_as[] = "An older judge.\n=== user\n{{label}}\n{{texts}}\nOf {{count}}.";
	explain_opts o = options(2, 1), rest = explain_opts_default();

	script.labels[0] = "w5";
	script.labels[1] = "w9";
	script.mute = true;
	script.refuse_after = 3;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_REFUSED);
	script.refuse_after = 0;
	rest.client = &client;
	was_begun_with(0, judge_as);
	OK(explain_resume(NULL, s, 1, &rest, &err));
	ck_assert_uint_eq(asked_with("An older judge."), 2 * BATCHES);
	ck_assert_uint_eq(asked_with("You study"), 2);
	ck_assert_double_eq(sql("SELECT count(*) FROM job"), 1);

	/* what it cannot go on with */
	script = (struct script){ .judge = { .seed = 5 } };
	OK(store_exec(
	        s,
	        "UPDATE job SET state = 'stopped', settings = json_remove(settings, '$.forms_sha256[5]');"
	        "UPDATE task SET state = 'waiting'",
	        &err));
	ck_assert_int_eq(explain_resume(NULL, s, 1, &rest, &err), ERR_ARG);
	ck_assert_str_eq(err.msg,
	                 "job 1 was begun by another version of gloss, which asked 2 kinds of further "
	                 "questions, not 3: give the command anew");
	OK(store_exec(s, "UPDATE job SET settings = json_set(settings, '$.forms_sha256[5]', 'no such')",
	              &err));
	ck_assert_int_eq(explain_resume(NULL, s, 1, &rest, &err), ERR_ARG);
	ck_assert_str_eq(err.msg,
	                 "job 1 was begun by another version of gloss, which had another schema of the "
	                 "answer 'label': give the command anew");
	OK(store_exec(s,
	              "UPDATE job SET settings = json_set(settings, '$.forms_sha256[5]', settings ->> "
	              "'$.schema_sha256', '$.forms_sha256[0]', 'not kept')",
	              &err));
	ck_assert_int_eq(explain_resume(NULL, s, 1, &rest, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "does not hold the template not kept"));
	ck_assert_uint_eq(script.seen, 0);
}
END_TEST

START_TEST(a_dry_run_counts_the_judge_too)
{
	explain_opts o = options(3, 2);
	cJSON *sum = NULL;

	o.dry_run = true;
	OK(explain_run(&sum, s, &o, &err));
	ck_assert_double_eq(cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble,
	                    1 + 3 + 3 * BATCHES + 2 * (1 + BATCHES));
	ck_assert_uint_eq(llm_count(server), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM job"), 0);
	cJSON_Delete(sum);
}
END_TEST

/* ---- Trouble ---------------------------------------------------------------------------------------------------------- */

START_TEST(one_of_no_use_leaves_the_others)
{
	explain_opts o = options(2, 1);

	script.labels[0] = script.labels[2] = "";
	script.labels[1] = "w5";
	script.better[0] = script.better[1] = ""; /* nor does a better one come */
	OK(explain_run(NULL, s, &o, &err));
	check_text("SELECT group_concat(text) FROM explanation", "w5");
	ck_assert_uint_eq(asked_with("Sample 1: "), 3 + 2);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 1);
}
END_TEST

static const struct trouble {
	const char *label, *before; /* SQL */
	const char *state, *why;
	bool mute;
	unsigned labels; /* asked for */
} troubles[] = {
	{ "", NULL, "failed", "the model's answer holds no JSON object", false, 4 },
	{ "w3", "UPDATE document SET part = 'label' WHERE part = 'select'", "skipped",
	  "fires in 0 stored contexts of the select documents, 5 are needed", false, 0 },
	{ "w3", "UPDATE document SET group_key = 7 WHERE part = 'select'", "skipped",
	  "fires in one group of select documents only, two are needed", false, 0 },
	{ "w3",
	  "DELETE FROM firing WHERE context_id IN (SELECT c.id FROM context c JOIN document d ON d.id = "
	  "c.document_id WHERE d.part = 'select')",
	  "skipped", "no silent windows in the select documents", false, 0 },
	{ "w3", NULL, "failed", "the judge gave no answers by which a label could be chosen", true, 2 },
};

START_TEST(what_cannot_be_chosen_ends_in_one_line)
{
	const struct trouble *x = &troubles[_i];
	explain_opts o = options(2, 1);
	char want[256];

	for (size_t i = 0; i < 8; i++)
		script.labels[i] = x->label;
	script.mute = x->mute;
	if (x->before)
		OK(store_exec(s, x->before, &err));
	OK(explain_run(NULL, s, &o, &err));
	snprintf(want, sizeof(want), "%s: %s", x->state, x->why);
	check_text("SELECT state || ': ' || error FROM task", want);
	ck_assert_uint_eq(asked_with("Sample 1: "), x->labels);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 0);
}
END_TEST

static const struct refusal {
	explain_opts o;
	const char *why;
} refusals[] = {
	{ { .explainer = "output", .n_candidates = 2, .n_select = 20 },
	  "the labels of the explainer 'output' are not about texts: no judge of texts can choose among "
	  "them" },
	{ { .explainer = "marked", .n_candidates = 21, .n_select = 20 },
	  "21 candidates and 0 rounds of refinement are asked for, 1 to 20 and 0 to 10 are allowed" },
	{ { .explainer = "marked", .n_candidates = 1, .n_refine = 1, .n_select = 4 },
	  "4 windows to choose labels by are asked for, 5 to 1000 are allowed" },
};

START_TEST(what_does_not_go_together_is_refused)
{
	const struct refusal *x = &refusals[_i];
	explain_opts o = options(x->o.n_candidates, x->o.n_refine);

	o.explainer = x->o.explainer;
	o.n_select = x->o.n_select;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, x->why);
	ck_assert_uint_eq(llm_count(server), 0);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("tries");

	tcase_add_checked_fixture(t, setup, fixture_end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_best_of_several_is_kept);
	tcase_add_test(t, the_choice_is_no_score);
	tcase_add_test(t, no_report_document_is_looked_at);
	tcase_add_test(t, features_that_fire_alike_share_the_choice);
	tcase_add_test(t, a_label_is_made_better_by_its_mistakes);
	tcase_add_test(t, a_worse_one_is_not_kept);
	tcase_add_loop_test(t, a_stopped_run_pays_nothing_twice, 0, 5);
	tcase_add_test(t, resumed_with_the_prompts_it_was_begun_with);
	tcase_add_test(t, a_dry_run_counts_the_judge_too);
	tcase_add_test(t, one_of_no_use_leaves_the_others);
	tcase_add_loop_test(t, what_cannot_be_chosen_ends_in_one_line, 0, ARRAY_LEN(troubles));
	tcase_add_loop_test(t, what_does_not_go_together_is_refused, 0, ARRAY_LEN(refusals));
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("tries", cases)
