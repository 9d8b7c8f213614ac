/* The scorer by steering, against a model that does as it is steered: what the right label gains, what others do, the strength that
 * is found; and sources and servers that cannot. */
#include "tests/fixture_planted.h"
#include "tests/support_oracle.h"
#include "tests/support_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, SOME = 6 };

static subject_oracle model;

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 300, .tokens = 64, .decoder = true };

	model = (subject_oracle){ .d = 2, .seed = 5 };
	fixture_begin(&p, true, subject_answer, &model, "tiny-0123");
}

static explain_opts options(void)
{
	explain_opts o = explain_opts_default();

	o.subject = &client;
	o.scorer = "intervention";
	o.features = "0-5";
	o.window = 16;
	o.n_prompts = 20;
	return o;
}

/* ---- Scores ----------------------------------------------------------------------------------------------------------- */

START_TEST(the_right_label_gains)
{
	explain_opts o = options();
	cJSON *sum = NULL;

	o.features = "0-23";
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_double_eq(cJSON_GetObjectItemCaseSensitive(sum, "chance")->valuedouble, 0);
	cJSON_Delete(sum);
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - 2), 0.25);
	ck_assert_double_ge(sql("SELECT count(*) FROM score WHERE low <= 2 AND 2 <= high AND n_failed = 0"),
	                    19);
	ck_assert_double_ge(sql("SELECT sum(details ->> 'above_chance') FROM score"), 22);
	ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score")), 0.25);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.zero_strength.value') FROM score")), 0.25);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.random_same_kl.value') FROM score")), 0.25);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.random_same_strength.value') FROM score")),
	                    0.25);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.above_random.value') FROM score") - 2), 0.3);
}
END_TEST

/* KL is 0.03 times the square of strength times norm on average, half of that by a random direction. */
START_TEST(the_strength_is_found)
{
	explain_opts o = options();

	o.steer_kl = 0.3;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE details ->> '$.steering.kl_met' AND"
	            " details ->> '$.random_same_kl.kl_met' AND details ->> '$.steering.steps' <= 12 AND"
	            " abs(details ->> '$.steering.kl' - 0.3) <= 0.03 AND"
	            " abs(details ->> '$.random_same_kl.kl' - 0.3) <= 0.03"),
	        SOME);
	ck_assert_double_lt(
	        sql("SELECT max(abs(0.03 * pow((details ->> '$.steering.strength') * (details ->> "
	            "'$.steering.norm'), 2) / (details ->> '$.steering.kl') - 1)) FROM score"),
	        0.05); /* where prompts are odd in number */
	/* a random direction of the same norm moves half as far at the same strength */
	ck_assert_double_lt(sql("SELECT max(abs((details ->> '$.random_same_strength.kl') / (details ->> "
	                        "'$.steering.kl') - 0.5)) FROM score"),
	                    1e-5);
	ck_assert_double_eq(sql("SELECT sum(details ->> '$.steering.layer') FROM score"), SOME);
	ck_assert_double_eq(sql("SELECT sum(json_array_length(details -> 'passages')) FROM score"), 3 * SOME);
}
END_TEST

START_TEST(what_cannot_be_moved_says_so)
{
	explain_opts o = options();

	o.features = "0";
	model.trouble = SUBJECT_UNMOVED;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE NOT details ->> '$.steering.kl_met' AND"
	                        " details ->> '$.steering.steps' = 12 AND details ->> '$.steering.kl' = 0"),
	                    1);
}
END_TEST

START_TEST(stopped_jobs_go_on)
{
	explain_opts o = options(), rest = explain_opts_default();

	o.features = "0-1";
	o.n_prompts = 10;
	o.steer_tokens = 3;
	o.layer = 2;
	client.concurrency = 1;
	o.budget.max_requests = 9;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &client;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE n_positive <= 10 AND details ->> '$.steering.layer' = 2"
	            " AND details ->> '$.steering.tokens' = 3"),
	        2);
	o.budget.max_requests = 0;
	o.replay = true;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(DISTINCT explanation_id || details) FROM score"), 2);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
}
END_TEST

START_TEST(a_dry_run_asks_nobody)
{
	explain_opts o = options();
	cJSON *sum = NULL;

	o.dry_run = true;
	OK(explain_score(&sum, s, &o, &err));
	ck_assert_double_ge(cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble, 25.0 * SOME);
	ck_assert_uint_eq(llm_count(server), 0);
	cJSON_Delete(sum);
}
END_TEST

/* Another model may read what was written: by completions with echo, beside the subject. */
START_TEST(another_model_may_read)
{
	explain_opts o = options(), rest = explain_opts_default();
	subject_oracle reader = { .d = 1, .seed = 6 };
	llm_server *other = llm_start_answering(subject_answer, &reader);
	explain_client_opts reads = llm_client(llm_url(other));

	o.client = &reads;
	o.features = "0-11";
	o.budget.max_requests = 100;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &reads;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE judge = 'tiny' AND details ->> "
	                        "'$.steering.subject' = 'tiny-0123'"),
	                    12);
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - 1), 0.35);
	ck_assert_uint_eq(reader.kls + reader.texts, 0);
	ck_assert_uint_eq(model.questions, 0);
	llm_stop(other);
}
END_TEST

/* ---- Who cannot ------------------------------------------------------------------------------------------------------- */

static const struct {
	subject_trouble trouble;
	const char *says;
} cannot[] = {
	{ SUBJECT_NO_STEERING, "does not steer: 'http" },
	{ SUBJECT_ELSE, "does not steer: 'http" },
	{ SUBJECT_SHALLOW, "rows are of block 1, 'tiny-0123' has blocks 0 to 0: another model?" },
	{ SUBJECT_SMALL, "rows have 4 values, those of 'tiny-0123' 3: another model?" },
	{ SUBJECT_NO_LOGPROBS, "tells no log-probabilities of its input" },
	{ SUBJECT_NULL, "item 0 has a log-probability that is none" },
};

START_TEST(who_cannot_is_refused_before_anything_is_spent)
{
	explain_opts o = options();

	model.trouble = cannot[_i].trouble;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, cannot[_i].says), "%s", err.msg);
	ck_assert_uint_le(model.kls, 1);
	ck_assert_uint_eq(model.texts, 0);
}
END_TEST

static const struct {
	subject_trouble trouble;
	const char *says;
} later[] = {
	{ SUBJECT_BAD_KL, "the reply has a KL that is none" },
	{ SUBJECT_FEW_TEXTS, "the reply's 'items' has " },
	{ SUBJECT_SHORT, "item 0 has no log-probabilities" },
	{ SUBJECT_TOO_FEW, "log-probabilities of 15 of 16 texts" },
};

START_TEST(wrong_replies_fail_the_task)
{
	explain_opts o = options();
	const char *why;

	o.features = "0";
	model.trouble = later[_i].trouble;
	model.after = 1;
	OK(explain_score(NULL, s, &o, &err));
	why = sql_text("SELECT error FROM task WHERE state = 'failed'");
	ck_assert_msg(strstr(why, later[_i].says), "%s", why);
}
END_TEST

static const struct {
	const char *change, *says;
	int code;
} sources[] = {
	{ "DELETE FROM vector", "holds no decoder row of feature 0 of source 'planted'", ERR_NOTFOUND },
	{ "UPDATE source SET layer = NULL", "does not say of which layer it is: give --layer", ERR_ARG },
	{ "UPDATE source SET hook_point = 'blocks.1.attn.hook_z'", "not of the residual stream", ERR_ARG },
	{ "UPDATE source SET layer = 0, hook_point = 'blocks.0.hook_resid_pre'", "rows are of block -1",
	  ERR_ARG },
	{ "UPDATE source SET layer = 7", "rows are of block 7, 'tiny-0123' has blocks 0 to 2", ERR_ARG },
};

START_TEST(sources_that_cannot_steer_say_why)
{
	explain_opts o = options();

	OK(store_exec(s, sources[_i].change, &err));
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), sources[_i].code);
	ck_assert_msg(strstr(err.msg, sources[_i].says), "%s", err.msg);
	ck_assert_uint_eq(model.kls + model.texts, 0);
}
END_TEST

/* A store made from codes has no rows, and may not know its layer; the SAE's folder gives them, and the job asks for the same. */
START_TEST(rows_may_come_from_the_sae)
{
	enum { WIDTH = 4 };
	explain_opts o = options(), rest = explain_opts_default();
	float row[FEATURES][WIDTH] = { 0 };
	explain_rows rows = { "here/sae", row[0], FEATURES, WIDTH, "abcdef" }, other = rows;

	for (uint32_t f = 0; f < FEATURES; f++) {
		row[f][0] = (float)(f + 1);
		row[f][3] = 1;
	}
	OK(store_exec(s, "DELETE FROM vector; UPDATE source SET kind = 'codes'", &err));
	o.features = "0,1";
	o.rows = &rows;
	client.concurrency = 1;
	o.budget.max_requests = 9;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	rest.client = &client;
	ck_assert_int_eq(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err),
	                 ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "steers by the rows of an SAE, abcdef...: give it with --sae"));
	other.sha256 = "123";
	rest.rows = &other;
	ck_assert_int_eq(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err),
	                 ERR_ARG);
	rest.rows = &rows;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	ck_assert_double_gt(sql("SELECT min(value) FROM score"), 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE details ->> '$.steering.kl_met'"), 2);

	o.budget.max_requests = 0;
	OK(store_exec(s, "UPDATE source SET kind = 'sae'", &err));
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "source 'planted' was not made of the SAE 'here/sae', by its hash");
	rows.n--;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg,
	                 "the SAE 'here/sae' has 23 features of 4 values, source 'planted' has 24 of 4");
}
END_TEST

START_TEST(too_few_prompts_are_too_few)
{
	explain_opts o = options();
	const char *why;

	o.features = "0";
	o.peak = 0;
	o.window = 5;
	OK(explain_score(NULL, s, &o, &err));
	why = sql_text("SELECT error FROM task WHERE state = 'skipped'");
	ck_assert_msg(strstr(why, "have 3 tokens before it fires"), "%s", why);
}
END_TEST

START_TEST(it_checks_what_it_is_asked_for)
{
	explain_opts o = options();

	o.subject = NULL;
	o.client = &client;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the scorer 'intervention' needs a model to steer (--subject)");
	o = options();
	o.n_prompts = 257;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	o = options();
	o.steer_kl = 0;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	o = options();
	o.steer_tokens = 0;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_uint_eq(llm_count(server), 0);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("intervention");

	tcase_add_checked_fixture(t, setup, fixture_end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_right_label_gains);
	tcase_add_test(t, the_strength_is_found);
	tcase_add_test(t, what_cannot_be_moved_says_so);
	tcase_add_test(t, stopped_jobs_go_on);
	tcase_add_test(t, a_dry_run_asks_nobody);
	tcase_add_test(t, another_model_may_read);
	tcase_add_loop_test(t, who_cannot_is_refused_before_anything_is_spent, 0, (int)ARRAY_LEN(cannot));
	tcase_add_loop_test(t, wrong_replies_fail_the_task, 0, (int)ARRAY_LEN(later));
	tcase_add_loop_test(t, sources_that_cannot_steer_say_why, 0, (int)ARRAY_LEN(sources));
	tcase_add_test(t, rows_may_come_from_the_sae);
	tcase_add_test(t, too_few_prompts_are_too_few);
	tcase_add_test(t, it_checks_what_it_is_asked_for);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("intervention", cases)
