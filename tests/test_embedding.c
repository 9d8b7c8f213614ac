/* The embedding scorer against an encoder whose areas are known, and against servers that send other vectors than they should. */
#include "tests/fixture_planted.h"
#include "tests/support_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, RANDOM = 8, SOME = 6 };

static oracle encoder;

static void setup(void)
{
	planted p = { .features = FEATURES, .random = RANDOM, .times = 300, .tokens = 64 };

	encoder = (oracle){ .seed = 5, .d = 2 };
	fixture_begin(&p, true, oracle_answer, &encoder, "encoder");
}

static explain_opts options(const char *features)
{
	explain_opts o = explain_opts_default();

	o.client = &client;
	o.scorer = "embedding";
	o.features = features;
	o.window = 16;
	return o;
}

/* ---- Scores ----------------------------------------------------------------------------------------------------------- */

/* Grades 2 apart: an area of 0.92135. Of 24 intervals at 95 % fewer than 19 hold it about once in 6,000 times. */
START_TEST(areas_are_those_of_the_encoder)
{
	explain_opts o = options("0-23");
	cJSON *sum = NULL;

	OK(explain_score(&sum, s, &o, &err));
	ck_assert_str_eq(cJSON_GetObjectItemCaseSensitive(sum, "measure")->valuestring,
	                 "area under the ROC curve");
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - (0.5 + erf(1.0) / 2)), 0.02);
	ck_assert_double_ge(
	        sql("SELECT count(*) FROM score WHERE low <= 0.9214 AND 0.9213 <= high AND n_failed "
	            "= 0 AND judge = 'encoder' AND n_positive + n_negative > 70"),
	        19);
	ck_assert_double_lt(fabs(sql("SELECT avg(baseline) FROM score") - 0.5), 0.03);
	ck_assert_double_lt(fabs(sql("SELECT avg(details ->> '$.empty_label.value') FROM score") - 0.5),
	                    0.03);
	ck_assert_double_eq(sql("SELECT sum(json_array_length(details -> 'auroc_by_decile')) FROM score"),
	                    240);
	ck_assert_double_eq(
	        sql("SELECT count(*) FROM score WHERE details ->> '$.auroc_by_kind.silent.value' = value "
	            "AND details ->> '$.baseline.n_negative' = n_negative"),
	        24);
	ck_assert_double_gt(sql("SELECT count(details ->> '$.hard.value') FROM score"), 12);
	cJSON_Delete(sum);
}
END_TEST

START_TEST(features_that_fire_at_random_are_at_chance)
{
	explain_opts o = options("24-31");

	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_lt(fabs(sql("SELECT avg(value) FROM score") - 0.5), 0.06);
	ck_assert_double_ge(sql("SELECT sum(details ->> 'holds_chance') FROM score"), RANDOM - 2);
}
END_TEST

START_TEST(with_a_model_of_its_own_nearest_windows_are_hard_ones)
{
	explain_opts o = options("0-5");

	client.model = "judge";
	o.embed_model = "encoder";
	o.n_hard = 20;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE judge = 'encoder' AND details ->> "
	                        "'$.auroc_by_kind.nearest.n_negative' = 5"),
	                    SOME);
	ck_assert_double_eq(sql("SELECT count(*) FROM job WHERE model = 'encoder'"), 1);
	ck_assert_uint_eq(encoder.questions, 0); /* chats */
}
END_TEST

/* What the first request of a feature's windows sends. */
START_TEST(queries_have_the_instruction_and_windows_their_text)
{
	explain_opts o = options("0");
	const cJSON *input;
	cJSON *body;

	OK(explain_score(NULL, s, &o, &err));
	body = cJSON_Parse(llm_get(server, 1)->body);
	input = cJSON_GetObjectItemCaseSensitive(body, "input");
	ck_assert_int_le(cJSON_GetArraySize(input), 64);
	ck_assert_str_eq(
	        cJSON_GetArrayItem(input, 0)->valuestring,
	        "Instruct: Given a description of what a text is about or which words it holds, retrieve "
	        "the texts that it fits\nQuery: w0");
	ck_assert_msg(strstr(cJSON_GetArrayItem(input, 1)->valuestring, "\nQuery: all kinds of texts") !=
	                      NULL,
	              "no other label among one feature's");
	ck_assert_msg(strncmp(cJSON_GetArrayItem(input, 2)->valuestring, " w", 2) == 0, "%s",
	              cJSON_GetArrayItem(input, 2)->valuestring);
	cJSON_Delete(body);
	o.prompt = "\n=== user\n{{label}}\n";
	o.n_baseline = 0;
	OK(explain_score(NULL, s, &o, &err));
	body = cJSON_Parse(llm_get(server, llm_count(server) - 1)->body);
	input = cJSON_GetObjectItemCaseSensitive(body, "input");
	ck_assert_str_eq(cJSON_GetArrayItem(input, 0)->valuestring, "w0");
	ck_assert_msg(strncmp(cJSON_GetArrayItem(input, 1)->valuestring, " w", 2) == 0, "no baselines");
	cJSON_Delete(body);
}
END_TEST

START_TEST(looks_stop_it)
{
	explain_opts o = options("0-5");
	unsigned all;

	o.n_hard = 0;
	OK(explain_score(NULL, s, &o, &err));
	all = encoder.items;
	encoder.items = 0;
	o.seed = 1;
	o.precision = 0.15;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_uint_lt(encoder.items, all * 3 / 4);
	ck_assert_double_eq(sql("SELECT count(*) FROM score WHERE details ->> 'level' > 0.96 AND details ->> "
	                        "'looks' < 4 AND high - low <= 0.3"),
	                    SOME);
}
END_TEST

START_TEST(a_stopped_job_goes_on)
{
	explain_opts o = options("0-1"), whole, rest = explain_opts_default();

	client.model = "judge";
	o.embed_model = "encoder";
	o.n_hard = 4;
	whole = o;
	o.budget.max_requests = 4;
	client.concurrency = 1;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_STOPPED);
	client.model = NULL;
	rest.client = &client;
	OK(explain_resume(NULL, s, (int64_t)sql("SELECT max(id) FROM job"), &rest, &err));
	client.model = "judge";
	whole.seed = o.seed;
	OK(explain_score(NULL, s, &whole, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 4);
	ck_assert_double_eq(sql("SELECT count(DISTINCT explanation_id || details) FROM score"), 2);
}
END_TEST

/* ---- Before anything is spent ----------------------------------------------------------------------------------------- */

START_TEST(a_server_without_embeddings_is_refused_at_once)
{
	explain_opts o = options("0-5");

	encoder.no_embeddings = true;
	ck_assert_int_lt(explain_score(NULL, s, &o, &err), 0);
	ck_assert_msg(strstr(err.msg, "gives no embeddings by 'encoder'"), "%s", err.msg);
	ck_assert_uint_eq(llm_count(server), 1);
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 0);
	ck_assert_double_eq(sql("SELECT count(*) FROM task WHERE state != 'waiting'"), 0);
	o.client = NULL;
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_ARG);
	ck_assert_str_eq(err.msg, "the scorer 'embedding' needs a model to judge (--base-url)");
}
END_TEST

START_TEST(a_dry_run_counts_what_will_be_sent)
{
	explain_opts o = options("0-5");
	cJSON *sum = NULL;
	double requests, input, output;

	o.dry_run = true;
	OK(explain_score(&sum, s, &o, &err));
	requests = cJSON_GetObjectItemCaseSensitive(sum, "requests")->valuedouble;
	input = cJSON_GetObjectItemCaseSensitive(sum, "input_tokens_estimate")->valuedouble;
	output = cJSON_GetObjectItemCaseSensitive(sum, "output_tokens_limit")->valuedouble;
	cJSON_Delete(sum);
	ck_assert_uint_eq(llm_count(server), 0);
	ck_assert_double_eq(output, 0); /* embeddings are paid by what is sent */
	o.dry_run = false;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(requests, (double)llm_count(server));
	for (size_t i = 1; i < llm_count(server); i++)
		input -= (double)((strlen(llm_get(server, i)->body) + 3) / 4);
	ck_assert_double_eq(input, 0);
}
END_TEST

/* ---- Replies that are not as they should be ---------------------------------------------------------------------------- */

/* The last text of the first reply: without a vector, with one that holds no number, with one of another length. */
START_TEST(a_vector_that_is_of_no_use_is_asked_for_again)
{
	explain_opts o = options("0");
	unsigned *often[] = { &encoder.leave_out, &encoder.no_number, &encoder.longer };

	o.n_baseline = 0;
	client.concurrency = 1;
	*often[_i] = 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT details ->> 'asked_again' FROM score"), 1);
	ck_assert_double_eq(sql("SELECT n_failed FROM score"), 0);
	*often[_i] = 1000;
	o.seed = 1;
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_gt(sql("SELECT n_failed FROM score ORDER BY id DESC"), 0);
	ck_assert_double_lt(sql("SELECT n_failed FROM score ORDER BY id DESC"), 5);
}
END_TEST

START_TEST(vectors_of_other_texts_count_for_nothing)
{
	explain_opts o = options("0"), plain = options("0");

	OK(explain_score(NULL, s, &plain, &err));
	o.seed = 0;
	o.per_prompt = 9; /* another job, the same windows */
	OK(store_exec(s, "DELETE FROM score", &err));
	encoder.stray = 2;
	client.model = "encoder-2"; /* nothing is in the log */
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT details ->> 'stray_answers' FROM score"), 4);
	ck_assert_double_eq(sql("SELECT n_failed FROM score"), 0);
}
END_TEST

/* Always the same reply. */
static llm_reply one_reply(const llm_seen *request, void *payload)
{
	const char *const *body = payload;

	return (llm_reply){ .body = strstr(request->body, "\"input\":[\"a\"]") ? body[0] : body[1] };
}

START_TEST(a_server_that_sends_nothing_of_use_fails_the_task)
{
	static const char *const probe = "{\"data\":[{\"embedding\":[1,2]}]}";
	static const struct {
		const char *body, *why;
	} of[] = {
		{ "{\"data\":[{\"embedding\":[1,NaN]}]}", "with a body that is not JSON" },
		{ "{\"data\":[{\"embedding\":[1,2]}]}", "the reply lacks embeddings" },
		{ "{\"data\":[{\"embedding\":[1,2]},{\"embedding\":[1,2,3]}]}", "numbers, another" },
		{ "{\"data\":[{\"embedding\":[0,0]},{\"embedding\":[0,0]}]}", "the reply lacks embeddings" },
		{ "{\"data\":[{\"embedding\":\"none\"}]}", "the reply lacks embeddings" },
		{ "{\"data\":[]}", "is no list of embeddings" },
		{ "{\"data\":[{\"index\":0.5,\"embedding\":[1,2]},{\"index\":1e300,\"embedding\":[1,2]}]}",
		  "the reply lacks embeddings" },
		{ "{\"data\":[{\"embedding\":[1,1e999]},{\"embedding\":[1,2]}]}", "" },
	};
	const char *body[2] = { probe, of[_i].body };
	llm_server *odd = llm_start_answering(one_reply, body);
	explain_opts o = options("0");

	client.base_url = llm_url(odd);
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_double_eq(sql("SELECT count(*) FROM score"), 0);
	ck_assert_msg(strstr(sql_text("SELECT error FROM task WHERE state = 'failed'"), of[_i].why), "%s",
	              sql_text("SELECT error FROM task WHERE state = 'failed'"));
	llm_stop(odd);
}
END_TEST

START_TEST(what_cannot_be_scored_says_why)
{
	explain_opts o = options("0");

	OK(store_exec(s, "UPDATE document SET group_key = 1", &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(sql_text("SELECT error FROM task ORDER BY id DESC"),
	                 "fires in one group of report documents only, two are needed");
	OK(store_exec(s, "UPDATE document SET part = 'label'", &err));
	OK(explain_score(NULL, s, &o, &err));
	ck_assert_str_eq(sql_text("SELECT error FROM task ORDER BY id DESC"),
	                 "fires in 0 stored contexts of the report documents, 5 are needed");
	ck_assert_uint_eq(llm_count(server), 1); /* whether it embeds */
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("embedding");

	tcase_add_checked_fixture(t, setup, fixture_end);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, areas_are_those_of_the_encoder);
	tcase_add_test(t, features_that_fire_at_random_are_at_chance);
	tcase_add_test(t, with_a_model_of_its_own_nearest_windows_are_hard_ones);
	tcase_add_test(t, queries_have_the_instruction_and_windows_their_text);
	tcase_add_test(t, looks_stop_it);
	tcase_add_test(t, a_stopped_job_goes_on);
	tcase_add_test(t, a_server_without_embeddings_is_refused_at_once);
	tcase_add_test(t, a_dry_run_counts_what_will_be_sent);
	tcase_add_loop_test(t, a_vector_that_is_of_no_use_is_asked_for_again, 0, 3);
	tcase_add_test(t, vectors_of_other_texts_count_for_nothing);
	tcase_add_loop_test(t, a_server_that_sends_nothing_of_use_fails_the_task, 0, 8);
	tcase_add_test(t, what_cannot_be_scored_says_why);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("embedding", cases)
