/* Servers that do what none should: each ends in one clear line, in the right class, soon; and the key goes nowhere. Over TLS and
 * through rate limits too. */
#include "explain/http.h"
#include "tests/support.h"
#include "tests/support_llm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char key[] = "sk-secret/0123456789";
static char *good; /* a chat completion */
static llm_reply says_good;
static error e;

static void setup(void)
{
	good = llm_chat("x");
	says_good = (llm_reply){ .body = good };
	e = (error){ 0 };
}

static void teardown(void)
{
	free(good);
}

typedef struct outcome {
	unsigned calls;
	explain_end end;
	char reply[512];
	error err;
} outcome;

static void done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	outcome *o = r->payload;

	(void)from_log;
	o->calls++;
	o->end = r->end;
	snprintf(o->reply, sizeof(o->reply), "%s", reply ? reply : "");
	if (err)
		o->err = *err;
}

static explain_client_opts fast(const char *url)
{
	explain_client_opts o = llm_client(url);

	o.api_key = key;
	o.retries = 1;
	o.max_reply = 1 << 20;
	return o;
}

/* One request each of n different ones. */
static int ask(const explain_client_opts *o, outcome *out, unsigned n, explain_client_stats *stats)
{
	explain_request r[64];
	char bodies[64][32];
	explain_client *c = NULL;
	int rc;

	ck_assert_uint_le(n, ARRAY_LEN(r));
	ck_assert_msg(explain_client_new(&c, o, NULL, false, &e) == 0, "%s", e.msg);
	for (unsigned i = 0; i < n; i++) {
		out[i] = (outcome){ 0 };
		snprintf(bodies[i], sizeof(bodies[i]), "{\"n\":%u}", i);
		r[i] = (explain_request){ .body = bodies[i], .done = done, .payload = &out[i] };
		ck_assert_int_eq(explain_client_add(c, &r[i], &e), 0);
	}
	rc = explain_client_run(c, 0, NULL, &e);
	if (stats)
		*stats = explain_client_get_stats(c);
	explain_client_free(c);
	for (unsigned i = 0; i < n; i++)
		ck_assert_uint_eq(out[i].calls, 1);
	return rc;
}

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define X64  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X512 X64 X64 X64 X64 X64 X64 X64 X64

static const struct rude {
	const char *name;
	llm_raw raw;
	double timeout;
	explain_end end;
	int code;
	unsigned connections;
	const char *says;
} rude[] = {
	{ "closes at once", { .deaf = true }, 5, EXPLAIN_TROUBLE, ERR_NET, 2, "no whole reply from" },
	{ "closes without a word", { 0 }, 5, EXPLAIN_TROUBLE, ERR_NET, 2, "no whole reply from" },
	{ "stops in the headers",
	  { .bytes = "HTTP/1.1 200 OK\r\nContent-Ty" },
	  5,
	  EXPLAIN_TROUBLE,
	  ERR_FORMAT,
	  2,
	  "not JSON" },
	{ "half a body",
	  { .bytes = HEAD "Content-Length: 1000\r\n\r\n{\"choices\":" },
	  5,
	  EXPLAIN_TROUBLE,
	  ERR_NET,
	  2,
	  "no whole reply from" },
	{ "chunks that are none",
	  { .bytes = HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\nrubbish\r\n" },
	  5,
	  EXPLAIN_TROUBLE,
	  ERR_NET,
	  2,
	  "no whole reply from" },
	{ "a chunk cut short",
	  { .bytes = HEAD "Transfer-Encoding: chunked\r\n\r\nff\r\n{\"choices\"" },
	  5,
	  EXPLAIN_TROUBLE,
	  ERR_NET,
	  2,
	  "no whole reply from" },
	{ "no HTTP", { .bytes = "SSH-2.0-OpenSSH_9.2\r\n" }, 5, EXPLAIN_OVER, ERR_NET, 1, "HTTP/0.9" },
	{ "a stream of text",
	  { .bytes = HEAD "\r\n", .again = "data: {}\n\n" X512 },
	  5,
	  EXPLAIN_REJECTED,
	  ERR_LIMIT,
	  1,
	  "sent a reply of over 1048576 bytes" },
	{ "headers without end",
	  { .bytes = HEAD, .again = "X-A: " X512 "\r\n" },
	  5,
	  EXPLAIN_REJECTED,
	  ERR_LIMIT,
	  1,
	  "sent headers of over 262144 bytes" },
	{ "a drop at a time",
	  { .bytes = HEAD "\r\n", .again = " ", .pause = 0.05 },
	  0.3,
	  EXPLAIN_TROUBLE,
	  ERR_NET,
	  2,
	  "Timeout was reached" },
	{ "interim replies without end",
	  { .bytes = "HTTP/1.1 100 Continue\r\n\r\n",
	    .again = "HTTP/1.1 100 "
	             "Continue\r\n\r\n",
	    .pause = 0.01 },
	  0.3,
	  EXPLAIN_TROUBLE,
	  ERR_NET,
	  2,
	  "Timeout was reached" },
	{ "a length below zero",
	  { .bytes = HEAD "Content-Length: -5\r\n\r\n{}" },
	  5,
	  EXPLAIN_TROUBLE,
	  ERR_NET,
	  2,
	  "no whole reply" },
	{ "nothing at all",
	  { .bytes = HEAD "Content-Length: 0\r\n\r\n" },
	  5,
	  EXPLAIN_TROUBLE,
	  ERR_FORMAT,
	  2,
	  "200 with a body that is not JSON" },
};

START_TEST(rude_servers_end_in_one_line)
{
	const struct rude *r = &rude[_i];
	llm_raw_server *s = llm_start_raw(&r->raw);
	explain_client_opts o = fast(llm_raw_url(s));
	double start = clock_now();
	outcome out;
	int rc;

	o.timeout = r->timeout;
	rc = ask(&o, &out, 1, NULL);
	ck_assert_msg((rc < 0) == (r->end == EXPLAIN_OVER), "%s: %d %s", r->name, rc, e.msg);
	ck_assert_msg(out.end == r->end, "%s: end %d: %s", r->name, (int)out.end, out.err.msg);
	ck_assert_msg(out.err.code == r->code, "%s: %d %s", r->name, out.err.code, out.err.msg);
	ck_assert_msg(strstr(out.err.msg, r->says), "%s: '%s' lacks '%s'", r->name, out.err.msg, r->says);
	ck_assert_ptr_null(strchr(out.err.msg, '\n'));
	ck_assert_msg(llm_raw_count(s) == r->connections, "%s: %u", r->name, llm_raw_count(s));
	ck_assert_double_lt(clock_now() - start, 4);
	llm_stop_raw(s);
}
END_TEST

/* One request of a client with these options, which ends everything. */
static void ask_in_vain(const explain_client_opts *o, int code, const char *says)
{
	outcome out;

	ck_assert_int_eq(ask(o, &out, 1, NULL), code);
	ck_assert_msg(strstr(e.msg, says), "'%s' lacks '%s'", e.msg, says);
	ck_assert_ptr_null(strchr(e.msg, '\n'));
}

/* ---- Other hosts, other certificates ------------------------------------------------------------------------------------ */

START_TEST(redirect_takes_the_key_nowhere)
{
	llm_reply there = { .body = "{}" };
	llm_server *other = llm_start(&there, 1), *s;
	static const int codes[] = { 301, 302, 303, 307, 308 };
	llm_reply script = { .status = codes[_i], .location = llm_url(other) };
	explain_client_opts o;

	s = llm_start(&script, 1);
	o = fast(llm_url(s));
	ask_in_vain(&o, ERR_NET, "a redirect, which is not followed: http://127.0.0.1:");
	ck_assert_uint_eq(llm_count(s), 1);
	ck_assert_uint_eq(llm_count(other), 0);
	llm_stop(s);
	llm_stop(other);
}
END_TEST

/* Over plain HTTP a proxy would read the key, so none is used then; without a key it is. */
START_TEST(proxy_never_reads_the_key)
{
	llm_server *proxy = llm_start(&says_good, 1);
	explain_client_opts o = fast("http://192.0.2.1/v1"); /* of no network */
	outcome out;

	setenv("http_proxy", llm_url(proxy), 1);
	o.timeout = 0.2;
	o.retries = 0;
	ck_assert_int_le(ask(&o, &out, 1, NULL), 0);
	ck_assert_int_ne(out.end, EXPLAIN_REPLIED);
	ck_assert_uint_eq(llm_count(proxy), 0);
	o.api_key = NULL;
	o.timeout = 5;
	ck_assert_msg(ask(&o, &out, 1, NULL) == 0, "%s", e.msg);
	ck_assert_uint_eq(llm_count(proxy), 1);
	ck_assert_ptr_null(llm_get(proxy, 0)->authorization);
	unsetenv("http_proxy");
	llm_stop(proxy);
}
END_TEST

START_TEST(certificate_must_be_trusted)
{
	char *pem = NULL, folder[FILE_PATH_MAX], file[FILE_PATH_MAX], url[128];
	llm_server *s = llm_start_tls(&pem, &says_good, 1);
	explain_client_opts o = fast(llm_url(s));
	outcome out;

	support_mkdir(folder);
	snprintf(file, sizeof(file), "%s", support_path(folder, "ca.pem"));
	support_put_text(file, pem);
	ck_assert_int_eq(ask(&o, &out, 1, NULL), ERR_NET);
	ck_assert_msg(strstr(e.msg, "the TLS certificate of 'https://127.0.0.1:") &&
	                      strstr(e.msg, "self-signed"),
	              "%s", e.msg);
	ck_assert_uint_eq(llm_count(s), 0); /* and so the key stayed here */
	o.ca_file = file;
	ck_assert_msg(ask(&o, &out, 1, NULL) == 0, "%s", e.msg);
	ck_assert_str_eq(out.reply, good);
	snprintf(url, sizeof(url), "https://localhost%s", strrchr(llm_url(s), ':')); /* of another name */
	o.base_url = url;
	ask_in_vain(&o, ERR_NET, "the TLS certificate of 'https://localhost:");
	o.ca_file = support_path(folder, "none.pem");
	ck_assert_int_eq(ask(&o, &out, 1, NULL), ERR_ARG);
	ck_assert_msg(strstr(e.msg, "no certificates can be read from '") && strstr(e.msg, "none.pem"), "%s",
	              e.msg);
	llm_stop(s);
	free(pem);
	support_rmdir(folder);
}
END_TEST

START_TEST(plain_and_tls_ports_mixed_up)
{
	char *pem = NULL, url[128];
	llm_reply script = { .body = "{}" };
	llm_server *s = llm_start(&script, 1);
	explain_client_opts o;
	outcome out;

	snprintf(url, sizeof(url), "https%s", strchr(llm_url(s), ':'));
	o = fast(url);
	ask_in_vain(&o, ERR_NET, "cannot reach 'https://");
	llm_stop(s);
	s = llm_start_tls(&pem, &script, 1);
	snprintf(url, sizeof(url), "http%s", strchr(llm_url(s), ':'));
	o = fast(url);
	ck_assert_int_le(ask(&o, &out, 1, NULL), 0);
	ck_assert_int_ne(out.end, EXPLAIN_REPLIED);
	ck_assert_int_eq(out.err.code, ERR_NET);
	llm_stop(s);
	free(pem);
}
END_TEST

/* ---- Filters ------------------------------------------------------------------------------------------------------------------ */

START_TEST(filtered_question_is_an_end_of_its_own)
{
	static const llm_reply script[] = {
		{ .status = 400,
		  .body = "{\"error\":{\"code\":\"content_filter\",\"message\":\"held back\"}}" },
		{ .status = 400, .body = "{\"error\":{\"message\":\"too long\"}}" }
	};
	llm_server *s = llm_start(script, 2);
	explain_client_opts o = fast(llm_url(s));
	outcome out[2];

	o.concurrency = 1;
	ck_assert_int_eq(ask(&o, out, 2, NULL), 0);
	ck_assert_int_eq(out[0].end, EXPLAIN_FILTERED);
	ck_assert_int_eq(out[1].end, EXPLAIN_REJECTED);
	llm_stop(s);
}
END_TEST

/* ---- Limits ---------------------------------------------------------------------------------------------------------------------- */

START_TEST(remaining_requests_are_heeded)
{
	llm_reply script[] = {
		{ .body = good,
		  .more = "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 400ms\n" },
		{ .body = good }
	};
	llm_server *s = llm_start(script, 2);
	explain_client_opts o = fast(llm_url(s));
	outcome out[2];

	o.concurrency = 1;
	ck_assert_int_eq(ask(&o, out, 2, NULL), 0);
	ck_assert_double_ge(llm_when(s, 1) - llm_when(s, 0), 0.4);
	llm_stop(s);
}
END_TEST

START_TEST(retry_after_in_milliseconds)
{
	llm_reply script[] = { { .status = 429, .retry_after = "30", .more = "retry-after-ms: 250\n" },
		               { .body = good } };
	llm_server *s = llm_start(script, 2);
	explain_client_opts o = fast(llm_url(s));
	explain_client_stats stats;
	outcome out;

	ck_assert_int_eq(ask(&o, &out, 1, &stats), 0);
	ck_assert_double_ge(llm_when(s, 1) - llm_when(s, 0), 0.25);
	ck_assert_double_le(llm_when(s, 1) - llm_when(s, 0), 5);
	ck_assert_uint_eq(stats.limited, 1);
	llm_stop(s);
}
END_TEST

/* 20 requests at 600 a minute: ten a second. */
START_TEST(rate_asked_for_is_kept)
{
	llm_server *s = llm_start(&says_good, 1);
	explain_client_opts o = fast(llm_url(s));
	outcome out[20];

	o.rpm = 600;
	ck_assert_int_eq(ask(&o, out, 20, NULL), 0);
	ck_assert_double_ge(llm_when(s, 19) - llm_when(s, 9), 0.9); /* ten may go at once, the others not */
	llm_stop(s);
}
END_TEST

/* ---- Away and back ------------------------------------------------------------------------------------------------------------------ */

typedef struct away {
	unsigned asked, from, until;
} away;

static llm_reply sometimes(const llm_seen *request, void *payload)
{
	away *a = payload;

	(void)request;
	a->asked++;
	return a->asked > a->from && a->asked <= a->until ? (llm_reply){ .status = 503 } : says_good;
}

/* More failures than any request has attempts for: nothing is lost, since the breaker lets one ask for all. */
START_TEST(outage_is_waited_out)
{
	away a = { .from = 3, .until = 60 };
	llm_server *s = llm_start_answering(sometimes, &a);
	explain_client_opts o = fast(llm_url(s));
	outcome out[30];

	o.concurrency = 4;
	o.retries = 3;
	ck_assert_msg(ask(&o, out, 30, NULL) == 0, "%s", e.msg);
	for (int i = 0; i < 30; i++)
		ck_assert_msg(out[i].end == EXPLAIN_REPLIED, "%s", out[i].err.msg);
	llm_stop(s);
}
END_TEST

START_TEST(outage_without_end_stops_all)
{
	away a = { .from = 3, .until = 1000000 };
	llm_server *s = llm_start_answering(sometimes, &a);
	explain_client_opts o = fast(llm_url(s));
	outcome out[30];

	o.concurrency = 4;
	o.retries = 8;
	o.patience = 0.2;
	ck_assert_int_eq(ask(&o, out, 30, NULL), ERR_NET);
	ck_assert_msg(strstr(e.msg, "answered 503; nothing got through for 0.2 seconds"), "%s", e.msg);
	ck_assert_int_eq(out[29].end, EXPLAIN_OVER);
	llm_stop(s);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "servers", proxy_never_reads_the_key, certificate_must_be_trusted,
	                        plain_and_tls_ports_mixed_up, filtered_question_is_an_end_of_its_own,
	                        remaining_requests_are_heeded, retry_after_in_milliseconds,
	                        rate_asked_for_is_kept, outage_is_waited_out, outage_without_end_stops_all);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, rude_servers_end_in_one_line, 0, ARRAY_LEN(rude));
	tcase_add_loop_test(t, redirect_takes_the_key_nowhere, 0, 5);
}
SUPPORT_MAIN("servers", cases)
