/* bench_client: the client against the scripted server on loopback, in a process of its own. Ends with 1 where a target is missed.
 *
 *	build/release/bench_client [SPEED]
 *
 * 1. 64 in flight, replies after 200 ms: at least 95 % of 320 requests a second, the slow beginning included.
 * 2. 64 in flight, replies at once: at least 2,000 a second, and at most 0.5 ms of the client's CPU a request (the
 *    server's is another process's), with and without the request log.
 * 3. A server that lets 100 requests through in a minute, then answers 429 with Retry-After to the end of that minute; replies after
 *    1 s; 10 minutes of a clock that runs SPEED (20) times as fast as the machine's, at the server and at the client:
 *    at most 2 % of the requests are refused after the first refusal. And the same where it sends x-ratelimit headers. */
#include "explain/explain.h"
#include "tests/support_llm.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 100 };

/* ---- The server ------------------------------------------------------------------------------------------------------------ */

typedef struct rules {
	double delay, speed; /* seconds of its clock */
	bool limited, headers;
	char *chat;
	double begun;
	unsigned in_window;
} rules;

static llm_reply answer(const llm_seen *request, void *payload)
{
	static char wait[32], more[128];
	rules *r = payload;
	double now = clock_now() * r->speed;

	(void)request;
	if (!r->limited)
		return (llm_reply){ .body = r->chat, .delay = r->delay };
	if (r->in_window == 0 || now >= r->begun + 60) {
		r->begun = now;
		r->in_window = 0;
	}
	r->in_window++;
	if (r->in_window > LIMIT) {
		snprintf(wait, sizeof(wait), "%.0f", ceil(r->begun + 60 - now));
		return (llm_reply){ .status = 429, .retry_after = wait };
	}
	snprintf(more, sizeof(more),
	         "x-ratelimit-remaining-requests: %u\nx-ratelimit-reset-requests: %.0fms\n",
	         LIMIT - r->in_window, 1e3 * (r->begun + 60 - now));
	return (llm_reply){ .body = r->chat, .delay = r->delay / r->speed, .more = r->headers ? more : NULL };
}

typedef struct server {
	pid_t pid;
	char url[128];
} server;

static void serve(rules r, int to)
{
	llm_server *s;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL); /* before its threads */
	r.chat = llm_chat("{\"fires\":[1,3],\"silent\":[2]}");
	s = llm_start_answering(answer, &r);
	if (write(to, llm_url(s), strlen(llm_url(s)) + 1) < 0)
		_exit(1);
	sigwait(&set, &sig);
	_exit(0);
}

static server start(rules r)
{
	server s = { 0 };
	int p[2];

	if (pipe(p) < 0 || (s.pid = fork()) < 0)
		abort();
	if (s.pid == 0)
		serve(r, p[1]);
	if (read(p[0], s.url, sizeof(s.url) - 1) <= 0)
		abort();
	close(p[0]);
	close(p[1]);
	return s;
}

static void stop(const server *s)
{
	kill(s->pid, SIGTERM);
	waitpid(s->pid, NULL, 0);
}

/* ---- The client ------------------------------------------------------------------------------------------------------------- */

typedef struct load {
	explain_client *c;
	explain_request *r;
	char (*body)[2048];
	unsigned n, sent, done, bad;
	double until; /* of the client's clock: none are added after it */
	double speed, last_at;
} load;

static void add(load *l);

static void done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	load *l = r->payload;

	(void)from_log;
	(void)err;
	l->bad += reply == NULL;
	l->last_at = clock_now();
	l->done++;
	add(l);
}

/* Bodies of the size of a judge's question, no two alike. */
static void add(load *l)
{
	unsigned i = l->sent;
	error e = { 0 };

	if (i == l->n || clock_now() * l->speed >= l->until)
		return;
	snprintf(l->body[i], sizeof(l->body[i]),
	         "{\"messages\":[{\"content\":\"%u %1900s\"}],\"model\":\"m\"}", i, "x");
	l->r[i] = (explain_request){ .body = l->body[i], .done = done, .payload = l };
	l->sent++;
	if (explain_client_add(l->c, &l->r[i], &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static explain_client_stats run(load *l, const explain_client_opts *o, store_log *log, double minutes)
{
	explain_client_stats stats;
	error e = { 0 };

	l->speed = o->clock_speed;
	l->until = minutes > 0 ? clock_now() * l->speed + 60 * minutes : HUGE_VAL;
	l->r = calloc(l->n, sizeof(*l->r));
	l->body = calloc(l->n, sizeof(*l->body));
	if (!l->r || !l->body || explain_client_new(&l->c, o, log, false, &e) < 0)
		abort();
	for (unsigned i = 0; i < 2 * o->concurrency; i++)
		add(l);
	if (explain_client_run(l->c, 0, NULL, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	stats = explain_client_get_stats(l->c);
	if (stats.sent != l->sent + stats.retried || l->done != l->sent)
		abort(); /* each was a request of its own */
	explain_client_free(l->c);
	free(l->r);
	free(l->body);
	return stats;
}

static explain_client_opts opts(const server *s, unsigned concurrency, double speed)
{
	explain_client_opts o = explain_client_opts_default();

	o.base_url = s->url;
	o.model = "m";
	o.concurrency = concurrency;
	o.clock_speed = speed;
	return o;
}

static bool verdict(const char *what, double value, const char *unit, bool met, const char *target)
{
	printf("%-52s %9.2f %-22s %s %s\n", what, value, unit, target, met ? "" : "NO");
	fflush(stdout);
	return met;
}

static bool slow_replies(void)
{
	server s = start((rules){ .delay = 0.2, .speed = 1 });
	explain_client_opts o = opts(&s, 64, 1);
	load l = { .n = 6400 };
	double rate, start_at = clock_now();

	run(&l, &o, NULL, 0);
	stop(&s);
	rate = l.done / (l.last_at - start_at);
	return verdict("64 in flight, replies after 200 ms", rate, "requests/s", l.bad == 0 && rate >= 304,
	               ">= 304");
}

static bool quick_replies(bool logged)
{
	server s = start((rules){ .speed = 1 });
	char folder[] = "/tmp/bench_client.XXXXXX", path[64];
	explain_client_opts o = opts(&s, 64, 1);
	load l = { .n = 10000 };
	store_log *log = NULL;
	error e = { 0 };
	double start_at, cpu, rate;
	bool fine;

	if (logged) {
		if (!mkdtemp(folder))
			abort();
		snprintf(path, sizeof(path), "%s/s.db", folder);
		if (store_log_open(&log, path, &e) < 0)
			abort();
	}
	cpu = cpu_seconds();
	start_at = clock_now();
	run(&l, &o, log, 0);
	rate = l.done / (l.last_at - start_at);
	cpu = 1e3 * (cpu_seconds() - cpu) / l.done;
	store_log_close(log);
	stop(&s);
	if (logged) {
		snprintf(path, sizeof(path), "%s/s.db.requests", folder);
		unlink(path);
		rmdir(folder);
	}
	fine = verdict(logged ? "replies at once, kept in the log" : "replies at once", rate, "requests/s",
	               l.bad == 0 && rate >= 2000, ">= 2000");
	return verdict("  the client's CPU", cpu, "ms a request", cpu <= 0.5, "<= 0.5") && fine;
}

static bool limited(bool headers, unsigned concurrency, double speed)
{
	server s = start((rules){ .delay = 1, .speed = speed, .limited = true, .headers = headers });
	explain_client_opts o = opts(&s, concurrency, speed);
	load l = { .n = 20000 };
	explain_client_stats stats = run(&l, &o, NULL, 10);
	double share = stats.limited ? 100.0 * (double)(stats.limited - 1) / (double)stats.sent : 0;
	char what[96];

	stop(&s);
	snprintf(what, sizeof(what), "100 a minute, %s, %u in flight: %u replies",
	         headers ? "headers" : "Retry-After", concurrency, l.done);
	return verdict(what, share, "% refused after the 1st", l.bad == 0 && share <= 2, "<= 2");
}

int main(int argc, char **argv)
{
	double speed = argc > 1 ? strtod(argv[1], NULL) : 20;
	bool fine = speed >= 1;

	if (!fine) {
		fprintf(stderr, "usage: bench_client [SPEED of the simulated clock, 1 or more]\n");
		return 2;
	}
	fine = slow_replies() && fine;
	fine = quick_replies(false) && fine;
	fine = quick_replies(true) && fine;
	fine = limited(false, 8, speed) && fine;
	fine = limited(true, 8, speed) && fine;
	fine = limited(false, 64, speed) && fine;
	return fine ? 0 : 1;
}
