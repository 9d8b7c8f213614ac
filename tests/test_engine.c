/* The job engine: budgets, replays, shared labels, what is chosen, templates of the user's, two workers. */
#include "explain/prompt.h"
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_llm.h"
#include "tests/support_planted.h"
#include "tests/support_worker.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FEATURES = 12, TWINS = 3 };

enum { ASKS_TO_WAIT = 600 }; /* seconds */

static char folder[FILE_PATH_MAX];
static atomic_uint answers_left; /* that the server gives before it asks to wait */
static atomic_bool padded;       /* its replies are long */
static store *s;
static llm_server *server;
static worker other; /* that can be killed */
static explain_client_opts c;
static explain_opts o;
static error err;

/* With 20,000 blanks behind. */
static char *long_chat(const char *label)
{
	char *chat = llm_chat(label), *both;

	if (asprintf(&both, "%s%20000s", chat, "") < 0)
		abort();
	free(chat);
	return both;
}

/* The label is the peak's word; the probe is answered too. Feature 11 is refused, 10 filtered. */
static llm_reply answer(const llm_seen *request, void *payload)
{
	const char *at = strstr(llm_question(request->body), "active: \\\"");
	char label[128] = "{\"ok\":true}";
	int n;

	(void)payload;
	if (atomic_load(&answers_left) == 0)
		return (llm_reply){ .status = 429, .retry_after = "600" };
	atomic_fetch_sub(&answers_left, 1);
	if (at) {
		at += strlen("active: \\\"");
		at += *at == ' ';
		n = (int)strcspn(at, "\\");
		if (strncmp(at, "w11", 3) == 0)
			return (llm_reply){
				.body = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":null,"
				        "\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}"
			};
		if (strncmp(at, "w10", 3) == 0)
			return (llm_reply){ .body = "{\"choices\":[{\"message\":{\"role\":\"assistant\","
				                    "\"content\":\"\"},"
				                    "\"finish_reason\":\"content_filter\"}]}" };
		snprintf(label, sizeof(label), "{\"label\":\"%.*s\",\"short_label\":\"x\",\"sure\":0.5}", n,
		         at);
	}
	return (llm_reply){ .own = atomic_load(&padded) ? long_chat(label) : llm_chat(label) };
}

static void setup(void)
{
	planted p = { .features = FEATURES, .twins = TWINS, .times = 60, .tokens = 32 };

	err = (error){ 0 };
	atomic_store(&answers_left, UINT_MAX);
	atomic_store(&padded, false);
	support_mkdir(folder);
	ck_assert_msg(planted_open(&s, support_path(folder, "s.db"), &p, &err) == 0, "%s", err.msg);
	c = llm_client(NULL);
	c.concurrency = 2;
	o = explain_opts_default();
	o.client = &c;
	o.window = 16;
	o.n_examples = 4;
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
	store_close(s);
	support_rmdir(folder);
}

static int64_t sql(const char *query)
{
	int64_t n = -1;

	ck_assert_msg(store_int(&n, s, query, -1, &err) == 0, "%s", err.msg);
	return n;
}

static double run(const char *name)
{
	cJSON *summary = NULL;
	double n;

	ck_assert_msg(explain_run(&summary, s, &o, &err) == 0, "%s", err.msg);
	n = json_number(summary, name);
	cJSON_Delete(summary);
	return n;
}

START_TEST(features_that_fire_alike_are_labelled_once)
{
	size_t asked;

	ck_assert_double_eq(run("share_a_label"), TWINS);
	asked = llm_count(server);
	ck_assert_uint_eq(asked, 1 + FEATURES); /* a probe, and one each */
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE twins IS NOT NULL"), TWINS);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation a JOIN explanation b ON b.feature = a.same_as "
	                     "AND a.text = "
	                     "b.text AND a.task_id = b.task_id WHERE a.feature = a.same_as + 12"),
	                 TWINS);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE same_as IS NULL"), FEATURES - 2);
	o.share = false;
	o.features = "12";
	ck_assert_double_eq(run("share_a_label"), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE feature = 12 AND same_as IS NULL"), 1);
}
END_TEST

START_TEST(refused_and_filtered_are_states_of_their_own)
{
	ck_assert_double_eq(run("refused"), 1);
	ck_assert_int_eq(sql("SELECT feature FROM task WHERE state = 'refused' AND error LIKE '%refused%'"),
	                 11);
	ck_assert_int_eq(sql("SELECT feature FROM task WHERE state = 'filtered'"), 10);
	ck_assert_int_eq(sql("SELECT count(*) FROM request WHERE task_id = (SELECT id FROM task WHERE state "
	                     "= 'refused')"),
	                 1); /* it is not asked again */
}
END_TEST

START_TEST(a_budget_stops_the_job_and_more_goes_on)
{
	o.budget.max_requests = 5;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	ck_assert_msg(strstr(err.msg, "--max-requests 5 is reached"), "%s", err.msg);
	ck_assert_uint_eq(llm_count(server), 5);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), 4);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'waiting'"), FEATURES - 4);
	ck_assert_int_eq(
	        sql("SELECT count(*) FROM job WHERE state = 'stopped' AND error LIKE '%--max-requests%'"), 1);
	o.budget.max_requests = 0;
	ck_assert_msg(explain_resume(NULL, s, 1, &o, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(llm_count(server), 1 + FEATURES);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE state = 'done'"), 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM worker"), 0);
}
END_TEST

/* The scripted model's replies take 11 + 7 tokens. */
START_TEST(money_is_counted_and_never_passed)
{
	const double a_reply = (11 * 1.0 + 7 * 10.0) / 1e6;
	store_log *log = NULL;
	store_job j;
	arena mem = ARENA_INIT;
	cJSON *page = NULL;

	o.price = (explain_price){ .known = true, .input = 1, .cached_input = 1, .output = 10, .batch = 0.5 };
	o.budget.max_cost = 0.0075; /* the next could always cost 0.005 to 0.0054: one at a time */
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	ck_assert_double_le(fabs((double)sql("SELECT 1e9 * sum(cost) FROM task") - 1e9 * 10 * a_reply), 1e3);
	ck_assert_int_eq(store_job_get(&j, s, 1, &mem, &err), 0);
	ck_assert_int_eq(store_log_open(&log, store_path(s), &err), 0);
	ck_assert_int_eq(store_log_cost(&page, log, j.uid, &err), 0);
	ck_assert_int_eq(json_count(page, "stages"), 2); /* explain, probe */
	ck_assert_double_eq_tol(json_number(page, "cost"), 11 * a_reply, 1e-9);
	cJSON_Delete(page);
	store_log_close(log);
	o.features = "0-3";
	o.n_examples = 3;
	o.budget.max_cost = 0.002;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	ck_assert_msg(strstr(err.msg, "--max-cost 0.002 is reached"), "%s", err.msg);
	arena_clear(&mem);
}
END_TEST

START_TEST(a_dry_run_counts_and_sends_nothing)
{
	cJSON *summary = NULL;

	o.dry_run = true;
	o.price = (explain_price){ .known = true, .input = 1, .cached_input = 1, .output = 10, .batch = 0.5 };
	ck_assert_int_eq(explain_run(&summary, s, &o, &err), 0);
	ck_assert_double_eq(json_number(summary, "requests"), 1 + FEATURES);
	ck_assert_double_gt(json_number(summary, "cost_estimate"), 0);
	ck_assert_double_gt(json_number(summary, "cost_limit"), json_number(summary, "cost_estimate"));
	ck_assert_uint_eq(llm_count(server), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM job"), 0);
	cJSON_Delete(summary);
}
END_TEST

START_TEST(a_replay_asks_nobody_and_misses_what_is_not_there)
{
	o.features = "0-4";
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	o.replay = true;
	ck_assert_double_eq(run("missing"), 0);
	o.features = "0-6";
	ck_assert_double_eq(run("missing"), 2);
	ck_assert_uint_eq(llm_count(server), 1 + 5);
}
END_TEST

/* As after a change of how replies are read: no call, and no label twice. */
START_TEST(replies_are_read_again_from_the_log)
{
	uint64_t n = 0;
	int64_t labels;

	o.features = "0-4";
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	labels = sql("SELECT count(*) FROM explanation");
	ck_assert_int_eq(store_exec(s, "UPDATE explanation SET text = 'misread' WHERE feature = 2", &err), 0);
	ck_assert_int_eq(store_job_retry(&n, s, 1, STORE_RETRY_ALL, &err), 0);
	ck_assert_uint_eq(n, 5);
	o.replay = true;
	ck_assert_msg(explain_resume(NULL, s, 1, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation"), labels + 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM label WHERE feature = 2 AND text = 'w2'"), 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), 5);
	ck_assert_uint_eq(llm_count(server), 1 + 5);
}
END_TEST

START_TEST(features_are_chosen)
{
	static const char *const files[] = { "1 3-4\n# 5\n7,8 # nine\n", "1\n99\n", "1\n2x\n" };
	char list[FILE_PATH_MAX + 1];
	cJSON *summary = NULL;

	o.features = "0-2";
	ck_assert_double_eq(run("done"), 3);
	o.features = "0-9";
	o.only_new = true;
	ck_assert_double_eq(run("done"), 7);
	o.only_new = false;
	o.n_random = 4;
	ck_assert_double_eq(run("done"), 4);
	o.n_random = 0;
	for (int i = 0; i < 3; i++) {
		support_put(support_path(folder, "list"), files[i], strlen(files[i]));
		snprintf(list, sizeof(list), "@%s", support_path(folder, "list"));
		o.features = list;
		if (i == 0) {
			ck_assert_double_eq(run("done"), 5);
			continue;
		}
		ck_assert_int_eq(explain_run(&summary, s, &o, &err), ERR_ARG);
		ck_assert_msg(strstr(err.msg, "list' line 2: "), "%s", err.msg);
	}
}
END_TEST

static const struct {
	const char *text, *says;
} templates[] = {
	{ "Name it.\n=== user\n{{examples}}\n", NULL },
	{ "Name it.\n=== user\n\n{{exmples}}\n", "'mine.txt' line 4: unknown field '{{exmples}}'" },
	{ "Name it.\n{{examples}\n=== user\n", "'mine.txt' line 2: '{{' without '}}'" },
	{ "Name it: {{examples}}\n", "'mine.txt' lacks the line '=== user'" },
};

START_TEST(a_template_of_the_users_own)
{
	char hex[SHA256_HEX];
	char query[300];

	o.prompt = templates[_i].text;
	o.prompt_name = "mine.txt";
	o.features = "0";
	if (templates[_i].says) {
		ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_FORMAT);
		ck_assert_msg(strstr(err.msg, templates[_i].says), "%s", err.msg);
		return;
	}
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_ptr_nonnull(strstr(llm_get(server, 1)->body, "Name it."));
	ck_assert_int_eq(sha256_bytes(hex, o.prompt, strlen(o.prompt), &err), 0);
	snprintf(query, sizeof(query),
	         "SELECT count(*) FROM explanation e JOIN prompt p ON p.sha256 = prompt_sha256 JOIN prompt q "
	         "ON q.sha256 = "
	         "schema_sha256 WHERE e.prompt_sha256 = '%s'",
	         hex);
	ck_assert_int_eq(sql(query), 1);
}
END_TEST

/* Whatever a provider caches by its beginning is the same for all requests: all that the system says. */
START_TEST(requests_begin_alike)
{
	const char *a, *b, *user;
	size_t same = 0;

	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	a = llm_get(server, 1)->body;
	b = llm_get(server, 2)->body;
	while (a[same] && a[same] == b[same])
		same++;
	user = llm_question(a);
	ck_assert_ptr_nonnull(user);
	ck_assert_uint_ge(same, (size_t)(user - a));
	ck_assert_uint_ge(same, 1000);
}
END_TEST

static error their_err;

static void *second_worker(void *payload)
{
	store *mine = NULL;
	int *rc = payload;

	*rc = store_open(&mine, support_path(folder, "s.db"), STORE_WRITE, &their_err);
	if (*rc == 0)
		*rc = explain_run(NULL, mine, &o, &their_err);
	store_close(mine);
	return NULL;
}

/* Threads of one process hold each other's tasks, since leases name the process; what is asked is asked once all the same. */
START_TEST(two_workers_ask_everything_once)
{
	pthread_t second;
	int theirs = -1;

	ck_assert_int_eq(pthread_create(&second, NULL, second_worker, &theirs), 0);
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	pthread_join(second, NULL);
	ck_assert_msg(theirs == 0, "%s", their_err.msg);
	ck_assert_uint_eq(llm_count(server), 1 + FEATURES);
}
END_TEST

/* ---- Waits that outlive a worker --------------------------------------------------------------------------------------- */

static size_t asked_before;

static bool once_refused(void)
{
	return llm_count(server) > asked_before;
}

static bool soon(void)
{
	static double began;

	if (began == 0)
		began = clock_now();
	return clock_now() - began > 0.3;
}

/* Whether all that waits, and is not to wait with the job's stop, waits as long as the server asked. */
static void check_held(int64_t tasks)
{
	char query[160];

	snprintf(query, sizeof(query),
	         "SELECT count(*) FROM task WHERE not_before - unixepoch() BETWEEN %d AND %d",
	         ASKS_TO_WAIT - 20, ASKS_TO_WAIT + 20);
	ck_assert_int_ge(sql(query), tasks);
}

/* The time has come. */
static void time_passes(void)
{
	ck_assert_int_eq(
	        store_exec(s, "UPDATE task SET not_before = unixepoch() - 1 WHERE not_before IS NOT NULL",
	                   &err),
	        0);
	atomic_store(&answers_left, UINT_MAX);
}

START_TEST(a_stopped_worker_leaves_the_wait_to_the_next)
{
	size_t asked;

	atomic_store(&answers_left, 4);
	asked_before = 4;
	o.stop = once_refused;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	check_held(2); /* those that were asked, and what was leased with them */
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'running'"), 0);
	asked = llm_count(server);
	o.stop = soon;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	ck_assert_uint_eq(llm_count(server), asked); /* nothing was sent meanwhile */
	check_held(2);
	time_passes();
	o.stop = NULL;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), FEATURES - 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM job"), 1);
}
END_TEST

START_TEST(a_killed_worker_leaves_the_wait_to_the_next)
{
	double began = clock_now();

	atomic_store(&answers_left, 4);
	worker_start(&other, llm_url(server));
	while (sql("SELECT count(*) FROM task WHERE state = 'running' AND not_before IS NOT NULL") == 0 &&
	       clock_now() - began < 10)
		usleep(20000);
	kill(other.pid, SIGKILL);
	ck_assert(worker_wait(&other));
	usleep(100000); /* what it had sent arrives */
	check_held(2);
	asked_before = llm_count(server);
	o.stop = soon;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	ck_assert_uint_eq(llm_count(server), asked_before);
	time_passes();
	o.stop = NULL;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), FEATURES - 2);
}
END_TEST

/* A wait that is longer than the patience ends the job with its time; so does every worker after it, unless asked to try. */
START_TEST(a_wait_over_the_patience_stops_the_next_too)
{
	uint64_t n = 0;
	size_t asked;

	atomic_store(&answers_left, 4);
	c.patience = 60;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_NET);
	ck_assert_msg(strstr(err.msg, "it asks to wait 600 seconds, more than the 60 of the patience"), "%s",
	              err.msg);
	check_held(1);
	asked = llm_count(server);
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_NET);
	ck_assert_msg(strstr(err.msg, "asked to wait until 2") && strstr(err.msg, "gloss jobs retry 1"), "%s",
	              err.msg);
	ck_assert_uint_eq(llm_count(server), asked);
	atomic_store(&answers_left, UINT_MAX);
	ck_assert_int_eq(store_job_retry(&n, s, 1, STORE_RETRY_FAILED, &err), 0);
	ck_assert_uint_ge(n, 1);
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), FEATURES - 2);
}
END_TEST

/* ---- Disks that are full ------------------------------------------------------------------------------------------------ */

static unsigned asked_again(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < llm_count(server); i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(llm_get(server, i)->body, llm_get(server, k)->body) == 0) {
				n++;
				break;
			}
	return n;
}

static const rlim_t limits[] = { 100, 150, 200, 250, 300, 350 };

/* A file that may not get longer is to SQLite a write that fails, in the log or in the store, whichever comes first: one line, and
 * with room again the job goes on, and asks again no more than that line says. */
START_TEST(a_full_disk_costs_what_it_says)
{
	struct rlimit most = { limits[_i] << 10, RLIM_INFINITY };
	unsigned replies = 0, open = 0;
	const char *lost;

	atomic_store(&padded, _i % 2);
	store_close(s); /* so that its log of writes begins anew */
	ck_assert_int_eq(prlimit(other.pid, RLIMIT_FSIZE, &most, NULL), 0);
	worker_start(&other, llm_url(server));
	ck_assert(!worker_wait(&other));
	ck_assert_int_eq(store_open(&s, support_path(folder, "s.db"), STORE_WRITE, &err), 0);
	ck_assert_ptr_nonnull(strstr(other.said, "disk"));
	ck_assert_ptr_null(strchr(other.said, '\n'));
	lost = strstr(other.said, "; lost: ");
	if (lost)
		ck_assert_int_eq(
		        sscanf(lost, "; lost: %u replies, and %u requests under way", &replies, &open), 2);
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_msg(asked_again() <= replies + open, "%u: %s", asked_again(), other.said);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), FEATURES - 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE same_as IS NULL"), FEATURES - 2);
}
END_TEST

static explain_progress last_told;

static bool told_to_wait(void)
{
	return last_told.held > 0;
}

static void told(void *payload, const explain_progress *p)
{
	(void)payload;
	if (p->held > last_told.held || p->over == p->tasks)
		last_told = *p;
}

/* What the server put off and what the model refused is in the summary, in the progress and, for good, in the log. */
START_TEST(refusals_are_counted)
{
	store_log *log = NULL;
	arena mem = ARENA_INIT;
	cJSON *page = NULL;
	store_job j;
	double limited = 0;

	atomic_store(&answers_left, 4);
	last_told = (explain_progress){ 0 };
	o.stop = told_to_wait;
	o.tell = told;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_STOPPED);
	ck_assert_double_ge((double)last_told.limited, 1);
	ck_assert_double_ge(last_told.held, ASKS_TO_WAIT - 20);
	time_passes();
	o.stop = NULL;
	ck_assert_double_eq(run("limited"), 0); /* of this run */
	ck_assert_uint_eq(last_told.refused, 2);
	ck_assert_int_eq(store_job_get(&j, s, 1, &mem, &err), 0);
	ck_assert_int_eq(store_log_open(&log, store_path(s), &err), 0);
	ck_assert_int_eq(store_log_cost(&page, log, j.uid, &err), 0);
	for (int i = 0; i < 2; i++)
		limited += json_number(cJSON_GetArrayItem(cJSON_GetObjectItem(page, "stages"), i),
		                       "limited_requests");
	ck_assert_double_eq(limited, (double)(llm_count(server) - 1 - FEATURES));
	ck_assert_double_ge(limited, 1);
	cJSON_Delete(page);
	store_log_close(log);
	arena_clear(&mem);
}
END_TEST

START_TEST(prices_are_read_strictly)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "[]", "is not a JSON object" },
		{ "{\"n\":{\"input\":1,\"output\":2}}", "has no price of 'm'" },
		{ "{\"m\":{\"input\":1}}", "\"output\" is not a price" },
		{ "{\"m\":{\"input\":-1,\"output\":2}}", "\"input\" is not a price" },
		{ "{\"m\":{\"input\":1,\"output\":2,\"ouput\":3}}", "unknown member \"ouput\"" },
		{ "{\"m\":3}", "is not an object" },
	};
	static const char all_models[] = "{\"*\":{\"input\":2,\"output\":4,\"cached_input\":1}}";
	char path[FILE_PATH_MAX];
	explain_price p = { 0 };

	snprintf(path, sizeof(path), "%s", support_path(folder, "p.json"));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		support_put(path, bad[i].text, strlen(bad[i].text));
		ck_assert_int_lt(explain_price_read(&p, path, "m", &err), 0);
		ck_assert_msg(strstr(err.msg, bad[i].says), "%s", err.msg);
		ck_assert(!p.known);
	}
	support_put(path, all_models, strlen(all_models));
	ck_assert_msg(explain_price_read(&p, path, "m", &err) == 0, "%s", err.msg);
	ck_assert_double_eq_tol(explain_price_of(&p, 1000000, 500000, 250000), 1 + 0.5 + 1, 1e-12);
	ck_assert_double_eq(p.batch, 0.5);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("engine");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, features_that_fire_alike_are_labelled_once);
	tcase_add_test(t, refused_and_filtered_are_states_of_their_own);
	tcase_add_test(t, a_budget_stops_the_job_and_more_goes_on);
	tcase_add_test(t, money_is_counted_and_never_passed);
	tcase_add_test(t, a_dry_run_counts_and_sends_nothing);
	tcase_add_test(t, a_replay_asks_nobody_and_misses_what_is_not_there);
	tcase_add_test(t, replies_are_read_again_from_the_log);
	tcase_add_test(t, features_are_chosen);
	tcase_add_loop_test(t, a_template_of_the_users_own, 0, ARRAY_LEN(templates));
	tcase_add_test(t, requests_begin_alike);
	tcase_add_test(t, two_workers_ask_everything_once);
	tcase_add_test(t, a_stopped_worker_leaves_the_wait_to_the_next);
	tcase_add_test(t, a_killed_worker_leaves_the_wait_to_the_next);
	tcase_add_test(t, a_wait_over_the_patience_stops_the_next_too);
	tcase_add_loop_test(t, a_full_disk_costs_what_it_says, 0, ARRAY_LEN(limits));
	tcase_add_test(t, refusals_are_counted);
	tcase_add_test(t, prices_are_read_strictly);
	suite_add_tcase(suite, t);
}

SUPPORT_MAIN("engine", cases)
