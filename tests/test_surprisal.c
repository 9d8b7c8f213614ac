/* The scorer by loss with and without the label, against a model that knows the rule, behind a subject server and behind completions
 * with echo; and servers that tell no log-probabilities, or wrong ones. */
#include "tests/fixture_planted.h"
#include "tests/support_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, SOME = 6 };

static subject_oracle model;

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 300, .tokens = 64 };

	model = (subject_oracle){ .d = 2, .seed = 5 };
	fixture_begin(&p, true, subject_answer, &model, "tiny-0123");
}

/* i 0: a subject server; 1: completions with echo. */
static explain_opts options(int i)
{
	explain_opts o = explain_opts_default();

	if (i == 0)
		o.subject = &client;
	else
		o.client = &client;
	o.scorer = "surprisal";
	o.features = "0-5";
	o.window = 16;
	return o;
}

/* ---- Scores ----------------------------------------------------------------------------------------------------------- */

START_TEST(firing_windows_gain_more)
{
	explain_opts o = options(0);
	cJSON *sum = NULL;

	o.features = "0-23";
	o.n_hard = 0;
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_str_eq(cJSON_GetObjectItemCaseSensitive(sum, "scorer")->valuestring, "surprisal");
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - (0.5 + erf(1.0) / 2)), 0.02);
	ck_assert_double_ge(
	        sql("SELECT count(*) FROM score WHERE low <= 0.9214 AND 0.9213 <= high AND n_failed = 0"
	            " AND judge = 'tiny-0123' AND prompt_sha256 IS NOT NULL"),
	        19);
	ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score") - 0.5), 0.08);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.empty_label.value') FROM score") - 0.5),
	                    0.08);
	ck_assert_double_eq(sql("SELECT sum(json_array_length(details -> 'auroc_by_decile')) FROM score"),
	                    240);
	cJSON_Delete(sum);
}
END_TEST

/* Both ways ask about the same texts, and so get the same. */
START_TEST(both_ways_agree)
{
	explain_opts o = options(0);
	unsigned questions;

	OK(explain_score(NULL, s, &o, &err));
	questions = model.questions;
	o = options(1);
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 2.0 * SOME);
	ck_assert_double_eq(sql("SELECT count(DISTINCT explanation_id || details) FROM score"), SOME);
	ck_assert_uint_gt(model.questions - questions, 5 * questions); /* a window a request */
}
END_TEST

START_TEST(what_was_answered_is_not_asked_again)
{
	explain_opts o = options(_i), rest = explain_opts_default();
	unsigned first;

	o.features = "0-1";
	client.concurrency = 1;
	o.budget.max_requests = 5;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &client;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 2);
	first = model.questions;
	o.budget.max_requests = 0;
	o.replay = true;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_uint_eq(model.questions, first);
	ck_assert_double_eq(sql("SELECT count(DISTINCT explanation_id || details) FROM score"), 2);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
}
END_TEST

/* Prices are those of the endpoint. A subject server is asked in its place, at no cost; a limit of money is none for it. */
START_TEST(a_subject_server_costs_nothing)
{
	explain_opts o = options(_i), rest = explain_opts_default();
	cJSON *sum = NULL;

	o.client = &client;
	o.price = (explain_price){ .known = true, .input = 1e6, .output = 1e6 };
	o.budget.max_cost = 1;
	o.budget.max_requests = 4;
	client.concurrency = 1;
	ck_assert_int_eq(explain_score(&sum, s, &o, &err), ERR_STOPPED);
	ck_assert_msg(_i == 0 ? strstr(err.msg, "requests") != NULL : strstr(err.msg, "cost") != NULL, "%s",
	              err.msg);
	if (_i == 1)
		return;
	rest.client = &client;
	rest.price = o.price;
	rest.budget.max_cost = 1;
	OK(explain_resume(&sum, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_eq(cJSON_GetObjectItemCaseSensitive(sum, "paid")->valuedouble, 0);
	ck_assert_double_eq(sql("SELECT sum(cost) FROM task"), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), SOME);
	cJSON_Delete(sum);
}
END_TEST

START_TEST(a_dry_run_asks_nobody)
{
	explain_opts o = options(_i);
	cJSON *sum = NULL;

	o.dry_run = true;
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_double_ge(cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble, 10.0 * SOME);
	ck_assert_uint_eq(llm_count(server), 0);
	cJSON_Delete(sum);
}
END_TEST

/* Replies that cannot be read are asked for once more; then the windows count as unanswered. */
START_TEST(unreadable_replies_are_asked_for_again)
{
	explain_opts o = options(_i);

	o.features = "0";
	o.n_baseline = 0;
	o.n_hard = 0;
	o.per_prompt = 50;
	client.concurrency = 1;
	model.trouble = SUBJECT_NULL;
	model.after = 2;
	model.until = 3;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT details ->> 'asked_again' FROM score"), _i == 0 ? 50 : 1);
	ck_assert_double_eq(sql("SELECT n_failed FROM score"), 0);
	o.seed = 1;
	model.questions = 0;
	model.after = _i == 0 ? 3 : 40;
	model.until = 0;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_gt(sql("SELECT n_failed FROM score ORDER BY id DESC"), 15);
	ck_assert_double_eq(sql("SELECT count(DISTINCT n_failed + n_positive + n_negative) FROM score"), 1);
}
END_TEST

/* ---- Servers that cannot ---------------------------------------------------------------------------------------------- */

static const struct {
	subject_trouble trouble;
	int way;
	const char *says;
} cannot[] = {
	{ SUBJECT_NO_LOGPROBS, 0, "tells no log-probabilities of its input: 'http" },
	{ SUBJECT_TOO_FEW, 0, "log-probabilities of 0 of 1 texts" },
	{ SUBJECT_SHORT, 0, "item 0 has 1 log-probabilities of 2 tokens" },
	{ SUBJECT_NULL, 0, "item 0 has a log-probability that is none" },
	{ SUBJECT_POSITIVE, 0, "item 0 has a log-probability that is none" },
	{ SUBJECT_NO_LOGPROBS, 1, "of its prompt (echo): the reply has no log-probabilities" },
	{ SUBJECT_NO_ECHO, 1, "do not spell the prompt" },
	{ SUBJECT_OTHER_TEXT, 1, "do not spell the prompt" },
	{ SUBJECT_NULL, 1, "has a log-probability that is none" },
	{ SUBJECT_POSITIVE, 1, "has a log-probability that is none" },
};

START_TEST(who_tells_none_is_refused_before_anything_is_spent)
{
	explain_opts o = options(cannot[_i].way);

	model.trouble = cannot[_i].trouble;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, cannot[_i].says), "%s", err.msg);
	ck_assert_uint_eq(model.questions, 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 0);
}
END_TEST

/* Whose replies go wrong later fails the task, with the reason. */
START_TEST(wrong_replies_fail_the_task)
{
	explain_opts o = options(cannot[_i].way);

	o.features = "0";
	model.trouble = cannot[_i].trouble;
	model.after = 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_msg(strlen(sql_text("SELECT error FROM task WHERE state = 'failed'")) > 20, "no reason");
}
END_TEST

START_TEST(the_model_says_its_name)
{
	char *name = NULL;

	OK(explain_subject_name(&name, &client, NULL, &err));
	ck_assert_str_eq(name, "tiny-0123");
	free(name);
	model.trouble = SUBJECT_ELSE;
	ck_assert_int_eq(explain_subject_name(&name, &client, NULL, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "no answer of a subject server"), "%s", err.msg);
	ck_assert_ptr_null(name);
}
END_TEST

START_TEST(it_needs_a_model)
{
	explain_opts o = options(0);

	o.subject = NULL;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, "'surprisal' needs a model (--subject"), "%s", err.msg);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("surprisal");

	tcase_add_checked_fixture(t, setup, fixture_end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, firing_windows_gain_more);
	tcase_add_test(t, both_ways_agree);
	tcase_add_loop_test(t, what_was_answered_is_not_asked_again, 0, 2);
	tcase_add_loop_test(t, a_subject_server_costs_nothing, 0, 2);
	tcase_add_loop_test(t, a_dry_run_asks_nobody, 0, 2);
	tcase_add_loop_test(t, unreadable_replies_are_asked_for_again, 0, 2);
	tcase_add_loop_test(t, who_tells_none_is_refused_before_anything_is_spent, 0, (int)ARRAY_LEN(cannot));
	tcase_add_loop_test(t, wrong_replies_fail_the_task, 1, (int)ARRAY_LEN(cannot));
	tcase_add_test(t, the_model_says_its_name);
	tcase_add_test(t, it_needs_a_model);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("surprisal", cases)
