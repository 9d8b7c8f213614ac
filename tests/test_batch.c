/* Jobs by a provider's Batch API, a scripted one: whole, half-finished and rejected batches, and a process that died over one. */
#include "explain/batch.h"
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_llm.h"
#include "tests/support_planted.h"
#include "tests/support_worker.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURES = 8, BATCHES = 8, LOOKS = 2 };

typedef struct provider {
	unsigned files, batches, direct, looks, asked;
	char *file[BATCHES], *name[BATCHES]; /* lines; metadata.gloss */
	unsigned half;                       /* so many batches end half-way, */
	const char *ending;                  /* so: */
	unsigned forgotten;                  /* so many are not known any more when asked for */
	bool no_files;                       /* the results of those instead */
	bool lose_order;                     /* the first is taken, and the reply lost */
	bool shaky;                          /* every other question is answered 503 */
	unsigned broken;                     /* so many answer 500 to everything in them */
	bool reject;                         /* the file as a whole */
	bool refuse_one;                     /* one request gets 400 */
	pid_t kill_at_create;
} provider;

static char folder[FILE_PATH_MAX];
static store *s;
static llm_server *server;
static provider v;
static explain_client_opts c;
static explain_opts o;
static error err;

static void label_for(char out[256], const char *request)
{
	const char *at = strstr(llm_question(request), "active: \\\"");

	snprintf(out, 256, "{\"ok\":true}");
	if (!at)
		return;
	at += strlen("active: \\\"");
	at += *at == ' ';
	snprintf(out, 256, "{\"label\":\"%.*s\",\"short_label\":\"x\",\"sure\":0.5}", (int)strcspn(at, "\\"),
	         at);
}

static llm_reply say(const char *fmt, const char *a, unsigned n)
{
	llm_reply r = { 0 };

	ck_assert_int_gt(asprintf(&r.own, fmt, a, n), 0);
	return r;
}

/* The lines between the head of the part "file" and the next boundary. */
static llm_reply take_upload(const llm_seen *request)
{
	const char *at = strstr(request->body, "name=\"file\""), *end;

	ck_assert_ptr_nonnull(strstr(request->body, "\r\n\r\nbatch\r\n"));
	ck_assert_ptr_nonnull(at);
	at = strstr(at, "\r\n\r\n") + 4;
	end = strstr(at, "\r\n--");
	ck_assert_ptr_nonnull(end);
	v.file[v.files] = strndup(at, (size_t)(end - at));
	return say("{\"id\":\"file%s-%u\"}", "", v.files++);
}

static llm_reply take_batch(const llm_seen *request)
{
	cJSON *body = cJSON_Parse(request->body);
	unsigned i = v.batches++;

	ck_assert_str_eq(json_string(body, "endpoint"), "/v1/chat/completions");
	v.name[i] = strdup(json_string(cJSON_GetObjectItem(body, "metadata"), "gloss"));
	cJSON_Delete(body);
	if (v.lose_order && i == 0)
		return (llm_reply){ .status = 502 };
	if (v.kill_at_create)
		kill(v.kill_at_create, SIGKILL); /* after the provider took it, before anybody knew */
	return say("{\"id\":\"batch%s-%u\",\"status\":\"validating\"}", "", i);
}

static llm_reply tell_batch(unsigned i)
{
	bool half = i < v.half;

	if (i < v.forgotten && !v.no_files)
		return (llm_reply){ .status = 404, .body = "{\"error\":{\"message\":\"no such batch\"}}" };
	if (++v.looks % LOOKS)
		return say("{\"id\":\"batch%s-%u\",\"status\":\"in_progress\"}", "", i);
	if (v.reject)
		return (llm_reply){ .body = "{\"status\":\"failed\",\"errors\":{\"data\":[{\"message\":\"no "
			                    "such model\"}]}}" };
	return say("{\"status\":\"%s\",\"output_file_id\":\"out-%u\"}", half ? v.ending : "completed", i);
}

static llm_reply results(unsigned i)
{
	size_t n = 0, lines = 0;
	char label[256];
	text out;

	text_init(&out, 1 << 22);
	for (const char *at = v.file[i]; (at = strchr(at, '\n')); at++)
		lines++;
	for (const char *line = v.file[i]; *line; line = strchr(line, '\n') + 1, n++) {
		char *one = strndup(line, strcspn(line, "\n")), *completion;
		cJSON *request = cJSON_Parse(one);

		label_for(label, one);
		completion = llm_chat(label);
		if (i < v.half && 2 * n >= lines)
			; /* it expired before */
		else if (i < v.broken)
			ck_assert_int_eq(text_addf(&out,
			                           "{\"custom_id\":\"%s\",\"response\":{\"status_code\":500,"
			                           "\"body\":{}}}\n",
			                           json_string(request, "custom_id")),
			                 0);
		else if (v.refuse_one && n == 1)
			ck_assert_int_eq(text_addf(&out,
			                           "{\"custom_id\":\"%s\",\"response\":{\"status_code\":400,"
			                           "\"body\":{\"error\":{"
			                           "\"message\":\"too rude\"}}}}\n",
			                           json_string(request, "custom_id")),
			                 0);
		else
			ck_assert_int_eq(text_addf(&out,
			                           "{\"custom_id\":\"%s\",\"response\":{\"status_code\":200,"
			                           "\"body\":%s}}\n",
			                           json_string(request, "custom_id"), completion),
			                 0);
		cJSON_Delete(request);
		free(completion);
		free(one);
	}
	ck_assert_int_eq(text_adds(&out, "half a li"), 0);
	return (llm_reply){ .own = out.data };
}

/* In two pages: another's, and ours. */
static llm_reply list_batches(const llm_seen *request)
{
	text out;

	if (!request->after)
		return (llm_reply){
			.body = "{\"data\":[{\"id\":\"other\",\"metadata\":null}],\"has_more\":true}"
		};
	ck_assert_str_eq(request->after, "other");
	text_init(&out, 1 << 16);
	ck_assert_int_eq(text_adds(&out, "{\"has_more\":false,\"data\":["), 0);
	for (unsigned i = 0; i < v.batches; i++)
		ck_assert_int_eq(text_addf(&out, "%s{\"id\":\"batch-%u\",\"metadata\":{\"gloss\":\"%s\"}}",
		                           i ? "," : "", i, v.name[i]),
		                 0);
	ck_assert_int_eq(text_adds(&out, "]}"), 0);
	return (llm_reply){ .own = out.data };
}

static llm_reply answer(const llm_seen *request, void *payload)
{
	bool get = strcmp(request->method, "GET") == 0;
	char label[256];
	unsigned i;

	(void)payload;
	ck_assert_ptr_nonnull(request->authorization);
	if (v.shaky && v.asked++ % 2)
		return (llm_reply){ .status = 503 };
	if (sscanf(request->path, "/v1/files/out-%u/content", &i) == 1)
		return i < v.forgotten ? (llm_reply){ .status = 404 } : results(i);
	if (strcmp(request->path, "/v1/files") == 0)
		return take_upload(request);
	if (sscanf(request->path, "/v1/batches/batch-%u", &i) == 1)
		return tell_batch(i);
	if (strcmp(request->path, "/v1/batches") == 0)
		return get ? list_batches(request) : take_batch(request);
	v.direct++;
	label_for(label, request->body);
	return (llm_reply){ .own = llm_chat(label) };
}

static worker other; /* that can be killed */

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 60, .tokens = 32 };

	err = (error){ 0 };
	v = (provider){ .ending = "expired" };
	support_mkdir(folder);
	ck_assert_msg(planted_open(&s, support_path(folder, "s.db"), &p, &err) == 0, "%s", err.msg);
	c = explain_client_opts_default();
	c.model = "m";
	c.api_key = "sk-batch-key-123456";
	c.retries = 1;
	c.backoff = c.backoff_max = 0.001;
	o = explain_opts_default();
	o.client = &c;
	o.window = 16;
	o.n_examples = 4;
	o.batch = true;
	o.batch_size = 100;
	o.batch_poll = 0.01;
	o.price = (explain_price){ .known = true, .input = 1, .cached_input = 1, .output = 10, .batch = 0.5 };
	store_close(s); /* SQLite must not go through a fork */
	worker_make(&other, support_path(folder, "s.db"), &o, &c);
	ck_assert_int_eq(store_open(&s, support_path(folder, "s.db"), STORE_WRITE, &err), 0);
	server = llm_start_answering(answer, NULL);
	c.base_url = llm_url(server);
}

static void teardown(void)
{
	worker_end(&other);
	llm_stop(server);
	for (unsigned i = 0; i < BATCHES; i++) {
		free(v.file[i]);
		free(v.name[i]);
	}
	store_close(s);
	support_rmdir(folder);
}

static int64_t sql(const char *query)
{
	int64_t n = -1;

	ck_assert_msg(store_int(&n, s, query, -1, &err) == 0, "%s", err.msg);
	return n;
}

static void all_labelled(void)
{
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE text = 'w' || feature"), FEATURES);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE state = 'done'"), 1);
}

static double cost_of(const char *name)
{
	store_log *log = NULL;
	arena mem = ARENA_INIT;
	cJSON *page = NULL;
	store_job j;
	double n;

	ck_assert_int_eq(store_job_get(&j, s, 1, &mem, &err), 0);
	ck_assert_int_eq(store_log_open(&log, store_path(s), &err), 0);
	ck_assert_int_eq(store_log_cost(&page, log, j.uid, &err), 0);
	n = json_number(json_item(page, "stages", 0), name); /* explain; the probe comes behind */
	cJSON_Delete(page);
	store_log_close(log);
	arena_clear(&mem);
	return n;
}

START_TEST(a_batch_answers_the_whole_job)
{
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 1);
	ck_assert_uint_eq(v.direct, 1); /* what the server takes */
	ck_assert_double_eq(cost_of("replies"), FEATURES);
	ck_assert_double_eq_tol(cost_of("cost"), 0.5 * FEATURES * (11 + 70) / 1e6, 1e-9);
	ck_assert_double_eq(cost_of("in_flight"), 0);
	o.batch = false;
	o.replay = true;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
}
END_TEST

static const char *const endings[] = { "expired", "cancelled" };

START_TEST(a_half_finished_batch_goes_on_in_another)
{
	v.half = 1;
	v.ending = endings[_i];
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 2);
	ck_assert_uint_eq(v.direct, 1);
	ck_assert_double_eq(cost_of("requests"), FEATURES);
}
END_TEST

/* _i 0: the provider knows the batch no more; 1: its results. What it cost is not known, so it counts in full. */
START_TEST(a_forgotten_batch_is_ordered_again)
{
	v.forgotten = 1;
	v.no_files = _i;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 2);
	ck_assert_double_eq(cost_of("lost_requests"), FEATURES);
	ck_assert_double_eq(cost_of("in_flight"), 0);
}
END_TEST

/* The provider's list tells that it has it: nothing is ordered twice. */
START_TEST(an_order_without_reply_is_looked_for)
{
	v.lose_order = true;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 1);
	ck_assert_uint_eq(v.direct, 1);
	ck_assert_double_eq(cost_of("lost_requests"), 0);
}
END_TEST

START_TEST(a_shaky_provider_is_asked_again)
{
	v.shaky = true;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 1);
}
END_TEST

START_TEST(what_two_batches_did_not_answer_is_asked_directly)
{
	v.broken = 2;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 2);
	ck_assert_uint_eq(v.direct, 1 + FEATURES);
}
END_TEST

START_TEST(a_request_that_is_refused_fails_its_task)
{
	v.refuse_one = true;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'failed' AND error = 'the batch "
	                     "answered 400: too "
	                     "rude'"),
	                 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), FEATURES - 1);
}
END_TEST

START_TEST(a_rejected_batch_stops_the_job)
{
	v.reject = true;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.msg, "rejected the batch: no such model"));
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'waiting'"), FEATURES);
	v.reject = false;
	ck_assert_msg(explain_resume(NULL, s, 1, &o, &err) == 0, "%s", err.msg);
	all_labelled();
}
END_TEST

static bool stop_after_batch(void)
{
	return v.batches > 0;
}

/* The worker dies as soon as the provider has the batch, before it hears of it. */
static void die_over_a_batch(void)
{
	v.kill_at_create = other.pid;
	worker_start(&other, llm_url(server));
	ck_assert(worker_wait(&other));
	v.kill_at_create = 0;
}

/* _i 0: stopped while the provider works; 1: killed in the worst moment. */
START_TEST(another_process_takes_the_batch_in)
{
	if (_i == 0) {
		o.stop = stop_after_batch;
		ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
		o.stop = NULL;
	} else {
		die_over_a_batch();
	}
	ck_assert_msg(explain_resume(NULL, s, 1, &o, &err) == 0, "%s", err.msg);
	all_labelled();
	ck_assert_uint_eq(v.batches, 1);
	ck_assert_uint_eq(v.direct, 1);
	ck_assert_double_eq(cost_of("lost_requests"), 0);
}
END_TEST

START_TEST(a_budget_holds_for_batches)
{
	o.budget.max_requests = 1 + 3; /* the probe, and three */
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	ck_assert_msg(strstr(err.msg, "--max-requests 4 is reached"), "%s", err.msg);
	ck_assert_uint_eq(v.batches, 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), 3);
	o.budget.max_requests = 0;
	ck_assert_msg(explain_resume(NULL, s, 1, &o, &err) == 0, "%s", err.msg);
	all_labelled();
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("batch");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_batch_answers_the_whole_job);
	tcase_add_loop_test(t, a_half_finished_batch_goes_on_in_another, 0, ARRAY_LEN(endings));
	tcase_add_loop_test(t, a_forgotten_batch_is_ordered_again, 0, 2);
	tcase_add_test(t, an_order_without_reply_is_looked_for);
	tcase_add_test(t, a_shaky_provider_is_asked_again);
	tcase_add_test(t, what_two_batches_did_not_answer_is_asked_directly);
	tcase_add_test(t, a_request_that_is_refused_fails_its_task);
	tcase_add_test(t, a_rejected_batch_stops_the_job);
	tcase_add_loop_test(t, another_process_takes_the_batch_in, 0, 2);
	tcase_add_test(t, a_budget_holds_for_batches);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("batch", cases)
