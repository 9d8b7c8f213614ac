/* The client against a scripted server: every way an endpoint can misbehave ends in one clear error, and what can pass is
 * asked again the right number of times. */
#include "explain/http.h"
#include "tests/support.h"
#include "tests/support_llm.h"

#include <stdlib.h>
#include <string.h>

static const char key[] = "sk-test/abc\"0123456789";
static char folder[FILE_PATH_MAX], store_file[FILE_PATH_MAX];
static char *good; /* a chat completion */

static void setup(void)
{
	support_mkdir(folder);
	snprintf(store_file, sizeof(store_file), "%s", support_path(folder, "s.db"));
	good = llm_chat("{\"label\":\"x\"}");
}

static void teardown(void)
{
	support_rmdir(folder);
	free(good);
}

typedef struct outcome {
	unsigned calls;
	bool replied, from_log;
	char reply[512];
	error err;
} outcome;

static void done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	outcome *o = r->payload;

	o->calls++;
	o->replied = reply != NULL;
	o->from_log = from_log;
	snprintf(o->reply, sizeof(o->reply), "%s", reply ? reply : "");
	if (err)
		o->err = *err;
}

static explain_client_opts fast(const char *url)
{
	explain_client_opts o = llm_client(url);

	o.retries = 3;
	return o;
}

/* One request through a client of its own. Returns what the run returned. */
static int ask(const explain_client_opts *o, store_log *log, bool replay, outcome *out,
               explain_client_stats *stats, error *e)
{
	explain_client *c = NULL;
	explain_request r = { .body = "{\"model\":\"tiny\"}", .done = done, .payload = out };
	int rc;

	*out = (outcome){ 0 };
	ck_assert_int_eq(explain_client_new(&c, o, log, replay, e), 0);
	ck_assert_int_eq(explain_client_add(c, &r, e), 0);
	rc = explain_client_run(c, 0, NULL, e);
	if (stats)
		*stats = explain_client_get_stats(c);
	explain_client_free(c);
	ck_assert_uint_eq(out->calls, 1);
	return rc;
}

START_TEST(asks_as_the_api_wants)
{
	llm_reply script[] = { { .body = good } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client_stats stats;
	char url[128];
	outcome out;
	error e = { 0 };

	snprintf(url, sizeof(url), "%s//", llm_url(s)); /* slashes at the end do not matter */
	o.base_url = url;
	o.api_key = key;
	ck_assert_int_eq(ask(&o, NULL, false, &out, &stats, &e), 0);
	ck_assert(out.replied);
	ck_assert_str_eq(out.reply, good);
	ck_assert_uint_eq(llm_count(s), 1);
	ck_assert_str_eq(llm_get(s, 0)->method, "POST");
	ck_assert_str_eq(llm_get(s, 0)->path, "/v1/chat/completions");
	ck_assert_str_eq(llm_get(s, 0)->type, "application/json");
	ck_assert_str_eq(llm_get(s, 0)->body, "{\"model\":\"tiny\"}");
	ck_assert_str_eq(llm_get(s, 0)->authorization, "Bearer sk-test/abc\"0123456789");
	ck_assert_uint_eq(stats.sent, 1);
	ck_assert_uint_eq(stats.input_tokens, 11);
	ck_assert_uint_eq(stats.output_tokens, 7);
	llm_stop(s);
}
END_TEST

/* Replies that never get better: what each ends in, after how many requests, and what the message holds. */
static const struct bad {
	llm_reply reply;
	int run, code;
	unsigned requests;
	const char *says;
} bads[] = {
	{ { .status = 500, .body = "{\"error\":{\"message\":\"out of memory\"}}" },
	  0,
	  ERR_NET,
	  4,
	  "answered 500: out of memory (4 attempts)" },
	{ { .status = 429, .body = "{\"error\":\"slow down\"}", .retry_after = "3600" },
	  ERR_NET,
	  ERR_NET,
	  1,
	  "answered 429: slow down; it asks to wait 3600 seconds, more than the 900 of the patience" },
	{ { .status = 403, .body = "{\"error\":\"no logprobs from this model\"}" },
	  0,
	  ERR_ARG,
	  1,
	  "answered 403: no logprobs" },
	{ { .status = 429, .body = "{\"error\":{\"message\":\"no money\",\"code\":\"insufficient_quota\"}}" },
	  ERR_REFUSED,
	  ERR_REFUSED,
	  1,
	  "answered 429: no money" },
	{ { .status = 401, .body = "{\"error\":{\"message\":\"bad key\"}}" },
	  ERR_REFUSED,
	  ERR_REFUSED,
	  1,
	  "answered 401: bad key" },
	{ { .status = 402, .body = "" }, ERR_REFUSED, ERR_REFUSED, 1, "answered 402" },
	{ { .status = 403, .body = "<html>no</html>", .type = "text/html" },
	  ERR_REFUSED,
	  ERR_REFUSED,
	  1,
	  "answered 403: <html>no</html>" },
	{ { .status = 400, .body = "{\"error\":{\"message\":\"too\\nlong\\u001b[31m\"}}" },
	  0,
	  ERR_ARG,
	  1,
	  "answered 400: too\u21b5long<U+001B>[31m" },
	{ { .status = 404, .body = "{\"detail\":\"no such model\"}" }, 0, ERR_ARG, 1, "404: no such model" },
	{ { .status = 302, .location = "http://evil.example/v1" },
	  ERR_NET,
	  ERR_NET,
	  1,
	  "302, a redirect, which is not followed: http://evil.example/v1" },
	{ { .status = 204 }, 0, ERR_ARG, 1, "answered 204" },
	{ { .body = "{\"choices\":[{\"mess", .cut = true }, 0, ERR_NET, 4, "no whole reply" },
	{ { .body = "{\"choices\":[{\"mess" },
	  0,
	  ERR_FORMAT,
	  3,
	  "200 with a body that is not JSON (3 attempts)" },
	{ { .body = "<html>hello</html>", .type = "text/html" }, 0, ERR_FORMAT, 3, "not JSON" },
	{ { .body = "" }, 0, ERR_FORMAT, 3, "not JSON" },
	{ { .body = "{\"error\":{\"message\":\"upstream died\"}}" },
	  0,
	  ERR_FORMAT,
	  3,
	  "no chat completion: upstream died" },
	{ { .body = "[1,2,3]" }, 0, ERR_FORMAT, 3, "no chat completion" },
	{ { .fill = 10 << 20 }, 0, ERR_LIMIT, 1, "over 1048576 bytes" },
	{ { .status = 500, .fill = 10 << 20 }, 0, ERR_NET, 4, "answered 500: xxx" },
	{ { .body = "{}", .delay = 0.6 }, 0, ERR_NET, 4, "Timeout was reached (4 attempts)" },
};

START_TEST(bad_reply_ends_clearly)
{
	const struct bad *b = &bads[_i];
	llm_server *s = llm_start(&b->reply, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client_stats stats;
	outcome out;
	error e = { 0 };

	o.max_reply = 1 << 20;
	if (b->reply.delay > 0)
		o.timeout = 0.15;
	ck_assert_int_eq(ask(&o, NULL, false, &out, &stats, &e), b->run);
	ck_assert(!out.replied);
	ck_assert_msg(strstr(out.err.msg, b->says), "'%s' lacks '%s'", out.err.msg, b->says);
	ck_assert_ptr_null(strchr(out.err.msg, '\n'));
	ck_assert_int_eq(out.err.code, b->code);
	ck_assert_uint_eq(llm_count(s), b->requests);
	ck_assert_uint_eq(stats.sent, b->requests);
	ck_assert_uint_eq(stats.failed, 1);
	llm_stop(s);
}
END_TEST

START_TEST(passing_trouble_passes)
{
	llm_reply script[] = {
		{ .status = 503 }, { .body = "nonsense" }, { .body = good, .cut = true }, { .body = good }
	};
	llm_server *s = llm_start(script, 4);
	explain_client_opts o = fast(llm_url(s));
	explain_client_stats stats;
	outcome out;
	error e = { 0 };

	ck_assert_int_eq(ask(&o, NULL, false, &out, &stats, &e), 0);
	ck_assert_str_eq(out.reply, good);
	ck_assert_uint_eq(stats.sent, 4);
	ck_assert_uint_eq(stats.retried, 3);
	ck_assert_uint_eq(stats.failed, 0);
	llm_stop(s);
}
END_TEST

START_TEST(retry_after_is_obeyed)
{
	llm_reply script[] = { { .status = 429, .retry_after = "1" }, { .body = good } };
	llm_server *s = llm_start(script, 2);
	explain_client_opts o = fast(llm_url(s));
	outcome out;
	error e = { 0 };

	ck_assert_int_eq(ask(&o, NULL, false, &out, NULL, &e), 0);
	ck_assert(out.replied);
	ck_assert_double_ge(llm_when(s, 1) - llm_when(s, 0), 1);
	llm_stop(s);
}
END_TEST

START_TEST(retry_after_may_be_a_date)
{
	char date[64];
	time_t at = time(NULL) + 2;
	struct tm tm;
	llm_reply script[] = { { .status = 503, .retry_after = date }, { .body = good } };
	llm_server *s = llm_start(script, 2);
	explain_client_opts o = fast(llm_url(s));
	outcome out;
	error e = { 0 };

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &tm));
	ck_assert_int_eq(ask(&o, NULL, false, &out, NULL, &e), 0);
	ck_assert(out.replied);
	ck_assert_int_ge(time(NULL), at - 1); /* whole seconds: libcurl counts from now, rounded down */
	ck_assert_double_ge(llm_when(s, 1) - llm_when(s, 0), 0.9);
	llm_stop(s);
}
END_TEST

START_TEST(endpoint_that_is_down)
{
	llm_reply script[] = { { .body = good } };
	llm_server *s = llm_start(script, 1);
	char url[64];
	explain_client_opts o;
	outcome out;
	error e = { 0 };

	snprintf(url, sizeof(url), "%s", llm_url(s));
	llm_stop(s); /* nobody listens there now */
	o = fast(url);
	ck_assert_int_eq(ask(&o, NULL, false, &out, NULL, &e), ERR_NET);
	ck_assert_msg(strstr(e.msg, "cannot reach 'http://127.0.0.1:") && strstr(e.msg, "(4 attempts)"), "%s",
	              e.msg);
}
END_TEST

START_TEST(fault_point_counts_as_broken)
{
	llm_reply script[] = { { .body = good } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client_stats stats;
	outcome out;
	error e = { 0 };

	fault_arm(FAULT_HTTP, 0);
	ck_assert_int_eq(ask(&o, NULL, false, &out, &stats, &e), 0);
	ck_assert(fault_disarm(FAULT_HTTP));
	ck_assert(out.replied);
	ck_assert_uint_eq(stats.retried, 1);
	llm_stop(s);
}
END_TEST

START_TEST(several_in_flight_and_equal_ones_once)
{
	llm_reply script[] = { { .body = good, .delay = 0.1 } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client *c = NULL;
	outcome outs[24] = { { 0 } };
	explain_request rs[24];
	char bodies[8][32];
	error e = { 0 };

	o.concurrency = 4;
	ck_assert_int_eq(explain_client_new(&c, &o, NULL, false, &e), 0);
	for (int i = 0; i < 24; i++) {
		snprintf(bodies[i % 8], sizeof(bodies[0]), "{\"n\":%d}", i % 8);
		rs[i] = (explain_request){ .body = bodies[i % 8], .done = done, .payload = &outs[i] };
		ck_assert_int_eq(explain_client_add(c, &rs[i], &e), 0);
	}
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), 0);
	explain_client_free(c);
	for (int i = 0; i < 24; i++)
		ck_assert(outs[i].calls == 1 && outs[i].replied);
	ck_assert_uint_eq(llm_count(s), 8);
	ck_assert_uint_eq(llm_most_at_once(s), 4);
	llm_stop(s);
}
END_TEST

START_TEST(sample_number_makes_another_request)
{
	llm_reply script[] = { { .body = good } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client *c = NULL;
	outcome outs[2] = { { 0 } };
	explain_request rs[2] = { { .body = "{}", .done = done, .payload = &outs[0] },
		                  { .body = "{}", .sample = 1, .done = done, .payload = &outs[1] } };
	error e = { 0 };

	ck_assert_int_eq(explain_client_new(&c, &o, NULL, false, &e), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(explain_client_add(c, &rs[i], &e), 0);
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), 0);
	explain_client_free(c);
	ck_assert_str_ne(rs[0].key, rs[1].key);
	ck_assert_uint_eq(llm_count(s), 2);
	llm_stop(s);
}
END_TEST

START_TEST(log_answers_again_for_nothing)
{
	llm_reply script[] = { { .body = good } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	store_log *log = NULL;
	outcome out;
	error e = { 0 };

	ck_assert_int_eq(store_log_open(&log, store_file, &e), 0);
	ck_assert_int_eq(ask(&o, log, true, &out, NULL, &e), 0); /* replay of what is not there */
	ck_assert_int_eq(out.err.code, ERR_NOTFOUND);
	ck_assert_uint_eq(llm_count(s), 0);
	ck_assert_int_eq(ask(&o, log, false, &out, NULL, &e), 0);
	ck_assert(out.replied && !out.from_log);
	store_log_close(log);
	ck_assert_int_eq(store_log_open(&log, store_file, &e), 0);
	ck_assert_int_eq(ask(&o, log, false, &out, NULL, &e), 0);
	ck_assert(out.replied && out.from_log);
	ck_assert_str_eq(out.reply, good);
	ck_assert_int_eq(ask(&o, log, true, &out, NULL, &e), 0);
	ck_assert(out.replied && out.from_log);
	ck_assert_uint_eq(llm_count(s), 1);
	store_log_close(log);
	llm_stop(s);
}
END_TEST

START_TEST(log_that_cannot_be_written_ends_the_run)
{
	llm_reply script[] = { { .body = good } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	store_log *log = NULL;
	outcome out;
	error e = { 0 };

	ck_assert_int_eq(store_log_open(&log, store_file, &e), 0);
	fault_arm(FAULT_WRITE, 0);
	ck_assert_int_eq(ask(&o, log, false, &out, NULL, &e), ERR_IO);
	ck_assert(fault_disarm(FAULT_WRITE));
	ck_assert(!out.replied);
	store_log_close(log);
	llm_stop(s);
}
END_TEST

/* After one refusal nothing more is sent, and everybody waiting learns why. */
START_TEST(refusal_ends_everything)
{
	llm_reply script[] = { { .body = good },
		               { .status = 401, .body = "{\"error\":{\"message\":\"expired\"}}" } };
	llm_server *s = llm_start(script, 2);
	explain_client_opts o = fast(llm_url(s));
	explain_client *c = NULL;
	outcome outs[10] = { { 0 } };
	explain_request rs[10];
	char bodies[10][32];
	error e = { 0 };

	o.concurrency = 1;
	ck_assert_int_eq(explain_client_new(&c, &o, NULL, false, &e), 0);
	for (int i = 0; i < 10; i++) {
		snprintf(bodies[i], sizeof(bodies[i]), "{\"n\":%d}", i);
		rs[i] = (explain_request){ .body = bodies[i], .done = done, .payload = &outs[i] };
		ck_assert_int_eq(explain_client_add(c, &rs[i], &e), 0);
	}
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), ERR_REFUSED);
	ck_assert_int_eq(explain_client_add(c, &rs[0], &e), ERR_REFUSED);
	explain_client_free(c);
	ck_assert_uint_eq(llm_count(s), 2);
	ck_assert(outs[0].replied);
	for (int i = 1; i < 10; i++)
		ck_assert(outs[i].calls == 1 && outs[i].err.code == ERR_REFUSED);
	llm_stop(s);
}
END_TEST

START_TEST(many_failures_in_a_row_end_everything)
{
	llm_reply script[] = { { .status = 404, .body = "{\"error\":\"no such model\"}" } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client *c = NULL;
	outcome outs[40] = { { 0 } };
	explain_request rs[40];
	char bodies[40][32];
	error e = { 0 };

	o.concurrency = 1;
	ck_assert_int_eq(explain_client_new(&c, &o, NULL, false, &e), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(bodies[i], sizeof(bodies[i]), "{\"n\":%d}", i);
		rs[i] = (explain_request){ .body = bodies[i], .done = done, .payload = &outs[i] };
		ck_assert_int_eq(explain_client_add(c, &rs[i], &e), 0);
	}
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), ERR_NET);
	ck_assert_msg(strstr(e.msg, "no such model; 10 requests in a row failed"), "%s", e.msg);
	explain_client_free(c);
	ck_assert_uint_eq(llm_count(s), 10);
	llm_stop(s);
}
END_TEST

/* A server that says the key back, plainly or as JSON escapes it, finds it blotted out everywhere. */
START_TEST(key_is_never_shown)
{
	static const char echo[] = "{\"error\":{\"message\":\"key sk-test/abc\\\"0123456789 is bad\"}}";
	llm_reply script[] = { { .status = 400, .body = echo } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	outcome out;
	error e = { 0 };

	o.api_key = key;
	ck_assert_int_eq(ask(&o, NULL, false, &out, NULL, &e), 0);
	ck_assert_msg(strstr(out.err.msg, "key **********************"), "%s", out.err.msg);
	ck_assert_ptr_null(strstr(out.err.msg, "0123456789"));
	llm_stop(s);
}
END_TEST

static bool file_holds(const char *path, const char *what)
{
	char *data = NULL;
	size_t n = 0;
	bool found;
	error e;

	if (!file_exists(path))
		return false;
	ck_assert_int_eq(file_read(&data, &n, path, 1 << 24, &e), 0);
	found = n && memmem(data, n, what, strlen(what)) != NULL;
	free(data);
	return found;
}

START_TEST(key_is_not_in_the_log)
{
	char *chat = llm_chat("your key is sk-test/abc\"0123456789, I saw");
	llm_reply script[] = { { .body = chat } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	store_log *log = NULL;
	const char *path;
	outcome out;
	error e = { 0 };

	o.api_key = key;
	ck_assert_int_eq(store_log_open(&log, store_file, &e), 0);
	ck_assert_int_eq(ask(&o, log, false, &out, NULL, &e), 0);
	ck_assert(out.replied);
	ck_assert_ptr_null(strstr(out.reply, "0123456789"));
	path = support_path(folder, "s.db.requests-wal");
	ck_assert(file_holds(path, "your key is"));
	ck_assert(!file_holds(path, "0123456789"));
	store_log_close(log);
	path = support_path(folder, "s.db.requests");
	ck_assert(file_holds(path, "your key is"));
	ck_assert(!file_holds(path, "0123456789"));
	llm_stop(s);
	free(chat);
}
END_TEST

static const struct refused_opts {
	const char *url, *model, *key, *says;
	unsigned concurrency;
} refused[] = {
	{ NULL, "m", NULL, "no base URL", 1 },
	{ "127.0.0.1 8080", "m", NULL, "space", 1 },
	{ "ftp://host/v1", "m", NULL, "'ftp', http or https is wanted", 1 },
	{ "file:///etc/passwd", "m", NULL, "not a URL like", 1 },
	{ "localhost:8080", "m", NULL, "not a URL like", 1 },
	{ "http://user:pw@host/v1", "m", NULL, "no user, password or query", 1 },
	{ "http://host/v1?key=abc", "m", NULL, "no user, password or query", 1 },
	{ "http://host/v1", "", NULL, "model's name is empty", 1 },
	{ "http://host/v1", "a\nb", NULL, "control character", 1 },
	{ "http://host/v1", "m", "secret\nX-Evil: 1", "API key holds", 1 },
	{ "http://host/v1", "m", "sec\001ret", "API key holds", 1 },
	{ "http://host/v1", "m", "", "API key is empty", 1 },
	{ "http://host/v1", "m", NULL, "concurrency is 0", 0 },
};

START_TEST(bad_options_are_refused)
{
	const struct refused_opts *b = &refused[_i];
	explain_client_opts o = fast(b->url);
	explain_client *c = NULL;
	error e = { 0 };

	o.model = b->model;
	o.api_key = b->key;
	o.concurrency = b->concurrency;
	ck_assert_int_eq(explain_client_new(&c, &o, NULL, false, &e), ERR_ARG);
	ck_assert_ptr_null(c);
	ck_assert_msg(strstr(e.msg, b->says), "'%s' lacks '%s'", e.msg, b->says);
	ck_assert_ptr_null(strstr(e.msg, "sec"));
	ck_assert_ptr_null(strstr(e.msg, "pw@"));
}
END_TEST

static unsigned stops;
static bool stop_soon(void)
{
	return ++stops > 2;
}

/* Stopped: what is under way is waited for and kept, the rest is not sent. */
START_TEST(stop_keeps_what_was_sent)
{
	llm_reply script[] = { { .body = good, .delay = 0.3 } };
	llm_server *s = llm_start(script, 1);
	explain_client_opts o = fast(llm_url(s));
	explain_client *c = NULL;
	outcome outs[6] = { { 0 } };
	explain_request rs[6];
	char bodies[6][32];
	unsigned replied = 0;
	error e = { 0 };

	o.concurrency = 2;
	stops = 0;
	ck_assert_int_eq(explain_client_new(&c, &o, NULL, false, &e), 0);
	for (int i = 0; i < 6; i++) {
		snprintf(bodies[i], sizeof(bodies[i]), "{\"n\":%d}", i);
		rs[i] = (explain_request){ .body = bodies[i], .done = done, .payload = &outs[i] };
		ck_assert_int_eq(explain_client_add(c, &rs[i], &e), 0);
	}
	ck_assert_int_eq(explain_client_run(c, 0, stop_soon, &e), ERR_STOPPED);
	explain_client_free(c);
	for (int i = 0; i < 6; i++)
		replied += outs[i].replied;
	ck_assert_uint_eq(replied, 2);
	ck_assert_uint_eq(llm_count(s), 2);
	llm_stop(s);
}
END_TEST

START_TEST(foreign_log_is_refused)
{
	const char *path;
	store_log *log = NULL;
	error e = { 0 };

	path = support_path(folder, "s.db.requests");
	ck_assert_int_eq(
	        file_write(path, "this is a text, not a database, and long enough to be looked at", 62, &e),
	        0);
	ck_assert_int_eq(store_log_open(&log, store_file, &e), ERR_FORMAT);
	ck_assert_ptr_null(log);
	ck_assert_msg(strstr(e.msg, "s.db.requests"), "%s", e.msg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("client");
	TCase *t = tcase_create("client");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, asks_as_the_api_wants);
	tcase_add_loop_test(t, bad_reply_ends_clearly, 0, ARRAY_LEN(bads));
	tcase_add_test(t, passing_trouble_passes);
	tcase_add_test(t, retry_after_is_obeyed);
	tcase_add_test(t, retry_after_may_be_a_date);
	tcase_add_test(t, endpoint_that_is_down);
	tcase_add_test(t, fault_point_counts_as_broken);
	tcase_add_test(t, several_in_flight_and_equal_ones_once);
	tcase_add_test(t, sample_number_makes_another_request);
	tcase_add_test(t, log_answers_again_for_nothing);
	tcase_add_test(t, log_that_cannot_be_written_ends_the_run);
	tcase_add_test(t, refusal_ends_everything);
	tcase_add_test(t, many_failures_in_a_row_end_everything);
	tcase_add_test(t, key_is_never_shown);
	tcase_add_test(t, key_is_not_in_the_log);
	tcase_add_loop_test(t, bad_options_are_refused, 0, ARRAY_LEN(refused));
	tcase_add_test(t, stop_keeps_what_was_sent);
	tcase_add_test(t, foreign_log_is_refused);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
