/* The explainer `output` with a subject server: what steering raises is shown, on texts of the label documents at the strength with
 * the wanted KL; and servers, sources and options that cannot. */
#include "tests/fixture_planted.h"
#include "tests/support_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, WINDOW = 16, PROMPTS = 10 };

static llm_server *steered;
static subject_oracle model;
static explain_client_opts subject;

static llm_reply answer(const llm_seen *request, void *payload)
{
	llm_reply r = { 0 };

	(void)payload;
	r.own = llm_chat(strstr(request->body, "{\\\"ok\\\": true}")
	                         ? "{\"ok\": true}"
	                         : "{\"label\":\"the word\",\"short_label\":\"word\",\"sure\":0.5}");
	return r;
}

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 300, .tokens = 64, .decoder = true };

	model = (subject_oracle){ .d = 2, .seed = 5 };
	fixture_begin(&p, false, answer, NULL, "tiny");
	OK(store_exec(s,
	              "UPDATE feature_detail SET top_logits = '[[1,2.5],[30,1.25]]', bottom_logits = "
	              "'[[2,-3]]'",
	              &err));
	steered = llm_start_answering(subject_answer, &model);
	client.concurrency = 1;
	subject = llm_client(llm_url(steered));
	subject.model = "tiny-0123";
}

static void teardown(void)
{
	llm_stop(steered);
	fixture_end();
}

static explain_opts options(void)
{
	explain_opts o = explain_opts_default();

	o.client = &client;
	o.subject = &subject;
	o.explainer = "output";
	o.features = "3";
	o.window = WINDOW;
	o.n_prompts = PROMPTS;
	return o;
}

/* The last question to the model; malloc'd. */
static char *asked(void)
{
	return llm_content(llm_get(server, llm_count(server) - 1), "user");
}

static size_t count_of(const char *in, const char *what)
{
	size_t n = 0;

	for (; (in = strstr(in, what)); in += strlen(what))
		n++;
	return n;
}

/* ---- What is shown ------------------------------------------------------------------------------------------------------ */

/* Each text ends with the first token on which it fires, and is of the label documents. */
static void check_texts(const char *user)
{
	static const char windows[] =
	        "CREATE TEMP VIEW shown AS SELECT DISTINCT w.value ->> 0 AS context, w.value ->> 1 AS first,"
	        " w.value ->> 2 AS length, d.part FROM request r, json_each(r.example_ids) w"
	        " JOIN context c ON c.id = w.value ->> 0 JOIN document d ON d.id = c.document_id";

	OK(store_exec(s, windows, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM shown"), PROMPTS);
	ck_assert_double_eq(sql("SELECT count(*) FROM shown WHERE part != 'label'"), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM shown x JOIN example e ON e.context_id = x.context AND "
	                        "e.feature = 3 WHERE e.position BETWEEN x.first AND x.first + x.length - 1"),
	                    sql("SELECT count(*) FROM shown x JOIN example e ON e.context_id = x.context AND "
	                        "e.feature = 3 WHERE e.position = x.first + x.length - 1"));
	ck_assert_uint_eq(count_of(user, " w3\nlikelier: \" w3\" 0.100 to "), PROMPTS);
}

START_TEST(what_steering_raises_is_shown)
{
	explain_opts o = options();
	cJSON *sum = NULL;
	const cJSON *about;
	char *user;
	double strength, kl, norm = sqrt(4 * 4 + 1);
	char line[64];

	o.steer_kl = 0.3;
	o.price = (explain_price){ .known = true, .input = 1, .output = 1 };
	OK(explain_run(&sum, s, &o, &err));
	/* the subject server says that it read a million tokens, which nobody pays for */
	ck_assert_double_lt(cJSON_GetObjectItemCaseSensitive(sum, "paid_input_tokens")->valuedouble, 10000);
	ck_assert_double_lt(cJSON_GetObjectItemCaseSensitive(sum, "paid")->valuedouble, 0.01);
	ck_assert_double_lt(sql("SELECT sum(cost) FROM task"), 0.01);
	user = asked();
	ck_assert_ptr_nonnull(strstr(user, "Raised most: \" w1\" +2.50, \" w30\" +1.25\nLowered most: "));
	ck_assert_ptr_nonnull(strstr(user, "\nTurned up while the model reads:\nText 1: "));
	ck_assert_ptr_nonnull(strstr(user, "\nText 10: "));
	ck_assert_ptr_null(strstr(user, "\nText 11: "));
	check_texts(user);
	/* the KL is 0.03 times the square of strength times norm on average, and what is shown was raised at that strength */
	about = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(sum, "features"), 0);
	about = cJSON_GetObjectItemCaseSensitive(about, "steering");
	strength = cJSON_GetObjectItemCaseSensitive(about, "strength")->valuedouble;
	kl = cJSON_GetObjectItemCaseSensitive(about, "kl")->valuedouble;
	ck_assert_double_lt(fabs(kl - 0.3), 0.03);
	ck_assert_double_lt(fabs(0.03 * strength * strength * norm * norm - kl), 1e-6);
	ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(about, "kl_met")));
	snprintf(line, sizeof(line), "0.100 to %.3f, \"\xe2\x86\xb5\\\"<<\" 0.100 to 0.125\n",
	         0.1 + strength * norm / 100);
	ck_assert_msg(strstr(user, line) != NULL, "%s lacks %s", user, line);
	ck_assert_uint_eq(model.raised, 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation WHERE text = 'the word' AND feature = 3"),
	                    1);
	ck_assert_double_eq(sql("SELECT count(*) FROM task WHERE input_tokens > 100000"), 0);
	cJSON_Delete(sum);
	free(user);
}
END_TEST

START_TEST(logits_are_not_needed)
{
	explain_opts o = options();
	char *user;

	OK(store_exec(s, "UPDATE feature_detail SET top_logits = NULL, bottom_logits = NULL", &err));
	OK(explain_run(NULL, s, &o, &err));
	user = asked();
	ck_assert_ptr_eq(strstr(user,
	                        "Raised most: not known\nLowered most: not known\nTurned up while the model "
	                        "reads:\nText 1: "),
	                 user);
	free(user);
}
END_TEST

/* No strength moves it: the nearest is taken, nothing is said to rise. */
START_TEST(what_cannot_be_moved_says_so)
{
	explain_opts o = options();
	cJSON *sum = NULL;
	char *user, *printed;

	model.trouble = SUBJECT_UNMOVED;
	OK(explain_run(&sum, s, &o, &err));
	user = asked();
	ck_assert_uint_eq(count_of(user, "\nlikelier: (none)"), PROMPTS);
	printed = cJSON_PrintUnformatted(sum);
	ck_assert_ptr_nonnull(strstr(printed, "\"kl_met\":false"));
	free(printed);
	free(user);
	cJSON_Delete(sum);
}
END_TEST

/* With too few tokens before the feature fires there are texts in which it is silent. */
START_TEST(silent_texts_stand_in)
{
	explain_opts o = options();
	char *user;

	o.peak = 0;
	o.window = 5;
	OK(explain_run(NULL, s, &o, &err));
	user = asked();
	ck_assert_uint_eq(count_of(user, "\nText "), 5);
	ck_assert_uint_lt(count_of(user, " w3\nlikelier: "), 5);
	free(user);
}
END_TEST

START_TEST(stopped_jobs_go_on)
{
	explain_opts o = options(), rest = explain_opts_default();
	size_t before;

	o.features = "3,4,5";
	o.steer_kl = 0.7;
	o.layer = 2;
	o.budget.max_requests = 9;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &client;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_eq(sql("SELECT count(DISTINCT feature) FROM explanation"), 3);
	ck_assert_double_eq(sql("SELECT count(*) FROM job WHERE settings ->> 'steer_kl' = 0.7 AND "
	                        "settings ->> 'subject_model' = 'tiny-0123' AND settings ->> 'layer' = 2"),
	                    1);
	before = llm_count(server) + llm_count(steered);
	o.budget.max_requests = 0;
	o.replay = true;
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_uint_eq(llm_count(server) + llm_count(steered), before);
}
END_TEST

/* What a subject server beside the endpoint is asked costs nothing, and is asked for all the same. */
START_TEST(a_dry_run_asks_nobody)
{
	explain_opts o = options();
	cJSON *sum = NULL;

	o.dry_run = true;
	OK(explain_run(&sum, s, &o, &err));
	ck_assert_double_eq(cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble, 1 + 12 + 1 + 1);
	ck_assert_double_gt(cJSON_GetObjectItemCaseSensitive(sum, "input_tokens_estimate")->valuedouble, 500);
	ck_assert_double_lt(cJSON_GetObjectItemCaseSensitive(sum, "input_tokens_estimate")->valuedouble,
	                    2500);
	ck_assert_uint_eq(llm_count(server) + llm_count(steered), 0);
	cJSON_Delete(sum);
}
END_TEST

/* ---- Who cannot --------------------------------------------------------------------------------------------------------- */

static const struct {
	subject_trouble trouble;
	const char *says;
} later[] = {
	{ SUBJECT_BAD_KL, "the reply has a KL that is none" },
	{ SUBJECT_FEW_TEXTS, "the reply's 'items' has 9 members for 10 prompts" },
	{ SUBJECT_NULL, "item 0 has a token without text or probabilities" },
	{ SUBJECT_POSITIVE, "item 0 has a token without text or probabilities" },
};

START_TEST(wrong_replies_fail_the_task)
{
	explain_opts o = options();

	model.trouble = later[_i].trouble;
	model.after = 1;
	OK(explain_run(NULL, s, &o, &err));
	ck_assert_str_eq(sql_text("SELECT error FROM task WHERE state = 'failed'"), later[_i].says);
	ck_assert_uint_eq(llm_count(server), 1); /* what it takes */
	ck_assert_double_eq(sql("SELECT count(*) FROM explanation"), 0);
}
END_TEST

static const struct {
	subject_trouble trouble;
	const char *change, *says;
	int code;
} cannot[] = {
	{ SUBJECT_NO_STEERING, NULL, "does not steer: 'http", ERR_ARG },
	{ SUBJECT_SHALLOW, NULL, "has blocks 0 to 0: another model?", ERR_ARG },
	{ SUBJECT_FINE, "DELETE FROM vector", "holds no decoder row of feature 3", ERR_NOTFOUND },
	{ SUBJECT_FINE, "UPDATE source SET layer = NULL", "give --layer", ERR_ARG },
};

START_TEST(who_cannot_is_refused_before_anything_is_spent)
{
	explain_opts o = options();

	model.trouble = cannot[_i].trouble;
	if (cannot[_i].change)
		OK(store_exec(s, cannot[_i].change, &err));
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), cannot[_i].code);
	ck_assert_msg(strstr(err.msg, cannot[_i].says), "%s", err.msg);
	ck_assert_uint_eq(model.raised, 0);
	ck_assert_uint_le(llm_count(server), 1);
}
END_TEST

START_TEST(it_checks_what_it_is_asked_for)
{
	explain_opts o = options();

	o.explainer = "marked";
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the explainer 'marked' steers no model: leave out --subject");
	o = options();
	o.batch = true;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "steering does not go by batches: leave out --batch or --subject");
	o = options();
	o.n_prompts = 4;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	o = options();
	o.steer_kl = 0;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_ARG);
	ck_assert_uint_eq(llm_count(server) + llm_count(steered), 0);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("raised");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_steering_raises_is_shown);
	tcase_add_test(t, logits_are_not_needed);
	tcase_add_test(t, what_cannot_be_moved_says_so);
	tcase_add_test(t, silent_texts_stand_in);
	tcase_add_test(t, stopped_jobs_go_on);
	tcase_add_test(t, a_dry_run_asks_nobody);
	tcase_add_loop_test(t, wrong_replies_fail_the_task, 0, (int)ARRAY_LEN(later));
	tcase_add_loop_test(t, who_cannot_is_refused_before_anything_is_spent, 0, (int)ARRAY_LEN(cannot));
	tcase_add_test(t, it_checks_what_it_is_asked_for);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("raised", cases)
