/* The client through nghttpx, the TLS proxy of Debian's nghttp2-proxy, in front of the scripted server: what is agreed by ALPN, and
 * how many connections are made. The proxy's log says both. */
#include "explain/explain.h"
#include "tests/support.h"
#include "tests/support_llm.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUESTS = 64, AT_ONCE = 16 };

static const char *const program = "/usr/sbin/nghttpx";

static char folder[FILE_PATH_MAX], *good;
static pid_t front;
static llm_reply slow;
static llm_server *server;

static void setup(void)
{
	support_mkdir(folder);
	good = llm_chat("x");
	slow = (llm_reply){ .body = good, .delay = 0.02 };
	server = llm_start(&slow, 1);
}

static void teardown(void)
{
	if (front > 0) {
		kill(front, SIGKILL);
		waitpid(front, NULL, 0);
	}
	front = 0;
	llm_stop(server);
	support_rmdir(folder);
	free(good);
}

/* ---- The proxy --------------------------------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(unsigned port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		                     .sin_port = htons((uint16_t)port) };
}

/* One that nobody listens at just now. */
static unsigned free_port(void)
{
	struct sockaddr_in at = loopback(0);
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, n), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	close(fd);
	return ntohs(at.sin_port);
}

static void wait_for_port(unsigned port)
{
	struct sockaddr_in at = loopback(port);
	bool open = false;

	for (int i = 0; i < 500 && !open; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		open = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
		close(fd);
		if (!open)
			usleep(10000);
	}
	ck_assert_msg(open, "nghttpx does not listen");
}

/* Protocols: what it agrees to, the best first. streams: how many a connection may carry at once. */
static void front_start(char url[64], const char *protocols, const char *streams)
{
	unsigned port = free_port();
	char arg[8][FILE_PATH_MAX + 64], *tls[2];

	llm_certificate(tls);
	for (int i = 0; i < 2; i++) {
		snprintf(arg[i], sizeof(arg[i]), "%s/%s", folder, i ? "cert.pem" : "key.pem");
		support_put_text(arg[i], tls[i]);
		free(tls[i]);
	}
	snprintf(arg[2], sizeof(arg[2]), "--frontend=127.0.0.1,%u", port);
	snprintf(arg[3], sizeof(arg[3]), "--backend=127.0.0.1,%s",
	         strstr(llm_url(server), "127.0.0.1:") + 10);
	*strchr(arg[3] + 10, '/') = '\0';
	snprintf(arg[4], sizeof(arg[4]), "--accesslog-file=%s/access", folder);
	snprintf(arg[5], sizeof(arg[5]), "--errorlog-file=%s/errors", folder);
	snprintf(arg[6], sizeof(arg[6]), "--npn-list=%s", protocols);
	snprintf(arg[7], sizeof(arg[7]), "--frontend-http2-max-concurrent-streams=%s", streams);
	front = fork();
	ck_assert_int_ge(front, 0);
	if (front == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_WRONLY), 2); /* its greeting; errors have a file */
		execl(program, program, "--conf=/dev/null", "--single-process", "--single-thread",
		      "--no-ocsp", "--accesslog-format=$remote_port $alpn $status $request", arg[2], arg[3],
		      arg[4], arg[5], arg[6], arg[7], arg[0], arg[1], NULL);
		_exit(127);
	}
	wait_for_port(port);
	snprintf(url, 64, "https://127.0.0.1:%u/v1", port);
}

/* A line comes when its reply has gone. */
static char *whole_log(void)
{
	for (int i = 0;; i++) {
		char *data = NULL, *at;
		unsigned lines = 0;
		size_t n;

		ck_assert_int_eq(file_read(&data, &n, support_path(folder, "access"), 1 << 20, NULL), 0);
		for (at = data; (at = strchr(at, '\n')); at++)
			lines++;
		if (lines == REQUESTS || i == 500)
			return data;
		free(data);
		usleep(10000);
	}
}

typedef struct served {
	unsigned requests, connections;
} served;

/* What its log says; every request must be by `protocol` and answered 200. */
static served read_log(const char *protocol)
{
	unsigned ports[REQUESTS], i;
	char *data = NULL, what[64];
	served s = { 0 };

	snprintf(what, sizeof(what), "%s 200 POST /v1/chat/completions HTTP/%s", protocol,
	         strcmp(protocol, "h2") == 0 ? "2" : "1.1");
	data = whole_log();
	for (char *line = data, *end; (end = strchr(line, '\n')); line = end + 1) {
		unsigned port = (unsigned)strtoul(line, &line, 10);

		*end = '\0';
		ck_assert_str_eq(line + 1, what);
		for (i = 0; i < s.connections && ports[i] != port; i++)
			;
		if (i == s.connections)
			ports[s.connections++] = port;
		ck_assert_uint_le(++s.requests, REQUESTS);
	}
	free(data);
	return s;
}

/* ---- The client ---------------------------------------------------------------------------------------------------------- */

static void done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	unsigned *replies = r->payload;

	(void)from_log;
	ck_assert_msg(reply != NULL, "%s", err ? err->msg : "");
	ck_assert_str_eq(reply, good);
	++*replies;
}

/* REQUESTS of them, AT_ONCE at a time, all answered. */
static void ask(const char *url)
{
	explain_client_opts o = llm_client(url);
	explain_request r[REQUESTS];
	explain_client *c = NULL;
	char bodies[REQUESTS][32], ca[FILE_PATH_MAX + 64];
	unsigned replies = 0;
	error e = { 0 };

	snprintf(ca, sizeof(ca), "%s/cert.pem", folder);
	o.ca_file = strncmp(url, "https", 5) == 0 ? ca : NULL;
	o.api_key = "sk-0123456789";
	o.concurrency = AT_ONCE;
	o.retries = 0;
	ck_assert_msg(explain_client_new(&c, &o, NULL, false, &e) == 0, "%s", e.msg);
	for (unsigned i = 0; i < REQUESTS; i++) {
		snprintf(bodies[i], sizeof(bodies[i]), "{\"n\":%u}", i);
		r[i] = (explain_request){ .body = bodies[i], .done = done, .payload = &replies };
		ck_assert_int_eq(explain_client_add(c, &r[i], &e), 0);
	}
	ck_assert_msg(explain_client_run(c, 0, NULL, &e) == 0, "%s", e.msg);
	explain_client_free(c);
	ck_assert_uint_eq(replies, REQUESTS);
	ck_assert_uint_eq(llm_count(server), REQUESTS);
}

/* From the first request on: those that come while the connection is made wait for it. */
START_TEST(one_connection_carries_all)
{
	char url[64];
	served s;

	front_start(url, "h2,http/1.1", "100");
	ask(url);
	s = read_log("h2");
	ck_assert_uint_eq(s.requests, REQUESTS);
	ck_assert_uint_eq(s.connections, 1);
	ck_assert_uint_eq(llm_most_at_once(server), AT_ONCE);
	ck_assert_str_eq(llm_get(server, 0)->authorization, "Bearer sk-0123456789");
}
END_TEST

/* A server that lets a connection carry less than is wanted in flight gets more connections, or less in flight. */
START_TEST(few_streams_a_connection)
{
	char url[64];
	served s;

	front_start(url, "h2", "4");
	ask(url);
	s = read_log("h2");
	ck_assert_uint_eq(s.requests, REQUESTS);
	ck_assert_uint_le(s.connections, AT_ONCE);
	ck_assert_uint_ge(llm_most_at_once(server), 4);
}
END_TEST

START_TEST(without_http2_connections_are_kept)
{
	char url[64];
	served s;

	front_start(url, "http/1.1", "100");
	ask(url);
	s = read_log("http/1.1");
	ck_assert_uint_eq(s.requests, REQUESTS);
	ck_assert_uint_le(s.connections, AT_ONCE);
	ck_assert_uint_eq(llm_most_at_once(server), AT_ONCE);
}
END_TEST

/* Nothing waits for a connection to be made where none can carry two at once. */
START_TEST(plain_connections_are_kept)
{
	slow.delay = 0.05;
	ask(llm_url(server));
	ck_assert_uint_le(llm_connections(server), AT_ONCE);
	ck_assert_uint_eq(llm_most_at_once(server), AT_ONCE);
	for (int i = 1; i < AT_ONCE; i++)
		ck_assert_double_lt(llm_when(server, (size_t)i) - llm_when(server, 0), slow.delay);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "http2", one_connection_carries_all, few_streams_a_connection,
	                        without_http2_connections_are_kept, plain_connections_are_kept);

	tcase_add_checked_fixture(t, setup, teardown);
}

int main(void)
{
	if (access(program, X_OK) != 0) {
		printf("%s is missing: install nghttp2-proxy\n", program);
		return 77;
	}
	return support_run("http2", cases);
}
