/* The job engine against a scripted server on loopback: expanding and resuming 100,000 tasks, a job killed at random moments, two
 * workers of which one is killed, a budget. Ends with 1 where something is not as it must be.
 * usage: bench_jobs GLOSS [KILLS [SEED]]     GLOSS: the program */
#include "explain/explain.h"
#include "store/store_internal.h"
#include "tests/support_llm.h"
#include "tests/support_planted.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MANY = 100000,
	FEATURES = 5000,
	CONCURRENCY = 16,
	REPLY_MS = 4,
	INPUT = 200,
	OUTPUT = 20,
	BODIES = 1 << 18
};

static error err;
static char folder[] = "/tmp/gloss-bench-jobs-XXXXXX";
static int bad;

#define MUST(call)                                                                                           \
	do {                                                                                                 \
		if ((call) < 0) {                                                                            \
			fprintf(stderr, "bench_jobs: %s\n", err.msg);                                        \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

static void check(const char *what, bool good)
{
	printf("  %-66s %s\n", what, good ? "yes" : "NO");
	bad += !good;
}

static const char *path_of(const char *name)
{
	static char path[FILE_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void pause_ms(double ms)
{
	struct timespec t = { (time_t)(ms / 1e3), (long)((ms - 1e3 * (double)(time_t)(ms / 1e3)) * 1e6) };

	nanosleep(&t, NULL);
}

/* ---- The server: the label is the peak's word ------------------------------------------------------------------------- */

typedef struct server {
	llm_server *llm;
	pthread_mutex_t lock;
	uint64_t *seen; /* (BODIES) hashes of bodies, 0: none */
	uint64_t requests, repeated;
} server;

static void count(server *s, const char *body)
{
	uint64_t h = hash64(body, strlen(body), 1) | 1;
	size_t at = h % BODIES;

	pthread_mutex_lock(&s->lock);
	s->requests++;
	while (s->seen[at] && s->seen[at] != h)
		at = (at + 1) % BODIES;
	s->repeated += s->seen[at] == h;
	s->seen[at] = h;
	pthread_mutex_unlock(&s->lock);
}

static llm_reply answer(const llm_seen *request, void *payload)
{
	static const char content[] =
	        "{\\\"label\\\":\\\"%.*s\\\",\\\"short_label\\\":\\\"x\\\",\\\"sure\\\":0.5}";
	static const char frame[] =
	        "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
	        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}";
	static const char before[] = "active: \\\"";
	const char *at = strstr(request->body, before);
	char text_[256] = "{\\\"ok\\\":true}";
	llm_reply r = { .delay = REPLY_MS / 1e3 };

	count(payload, request->body);
	if (at) {
		at += sizeof(before) - 1;
		at += *at == ' ';
		snprintf(text_, sizeof(text_), content, (int)strcspn(at, "\\"), at);
	}
	if (asprintf(&r.own, frame, text_, INPUT, OUTPUT) < 0)
		abort();
	return r;
}

static void server_start(server *s)
{
	pthread_mutex_init(&s->lock, NULL);
	s->seen = calloc(BODIES, sizeof(*s->seen));
	if (!s->seen)
		abort();
	s->llm = llm_start_answering(answer, s);
}

static void server_forget(server *s)
{
	pthread_mutex_lock(&s->lock);
	memset(s->seen, 0, BODIES * sizeof(*s->seen));
	s->requests = s->repeated = 0;
	pthread_mutex_unlock(&s->lock);
}

/* ---- Workers -------------------------------------------------------------------------------------------------------------- */

static const char *gloss;

static pid_t start(const server *s, const char *store_path_, const char *const *more)
{
	const char *argv[32] = { gloss,        "explain",    "-d",
		                 store_path_,  "--base-url", llm_url(s->llm),
		                 "--model",    "m",          "--concurrency",
		                 "16",         "--window",   "16",
		                 "--examples", "5",          "--quiet" };
	size_t n = 15;
	pid_t child;
	int null;

	while (*more)
		argv[n++] = *more++;
	child = fork();
	if (child != 0)
		return child;
	null = open("/dev/null", O_WRONLY);
	dup2(null, 1);
	dup2(null, 2);
	execv(gloss, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int wait_for(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- Stores ---------------------------------------------------------------------------------------------------------------- */

static int64_t number(const char *name, const char *sql)
{
	store *s = NULL;
	int64_t n;

	MUST(store_open(&s, path_of(name), STORE_READ, &err));
	MUST(store_int(&n, s, sql, -1, &err));
	store_close(s);
	return n;
}

/* What a job leaves, but for times and attempts. ordered: labels by their id, else by feature. */
static void digest(char hex[SHA256_HEX], const char *name, bool ordered)
{
	static const char tasks[] =
	        "SELECT t.feature, t.state, t.error, t.input_tokens, t.output_tokens, (SELECT "
	        "group_concat(key) FROM request r WHERE r.task_id = t.id) FROM task t ORDER BY "
	        "t.feature";
	const char *labels =
	        ordered ? "SELECT id, feature, text, short_text, confidence, task_id, prompt_sha256 FROM "
	                  "explanation ORDER BY id"
	                : "SELECT feature, text, short_text, confidence, task_id, prompt_sha256 FROM "
	                  "explanation ORDER BY feature";
	const char *sql[] = { tasks, labels };
	sqlite3_stmt *st;
	store *s = NULL;
	sha256 h;

	MUST(store_open(&s, path_of(name), STORE_READ, &err));
	MUST(sha256_init(&h, &err));
	for (int q = 0; q < 2; q++) {
		MUST(store_prepare(&st, s, sql[q], &err));
		while (sqlite3_step(st) == SQLITE_ROW)
			for (int i = 0; i < sqlite3_column_count(st); i++) {
				const char *value = (const char *)sqlite3_column_text(st, i);

				sha256_add(&h, value ? value : "-", value ? strlen(value) : 1);
				sha256_add(&h, "\n", 1);
			}
		sqlite3_finalize(st);
	}
	sha256_end(&h, hex);
	store_close(s);
}

static void copy_store(const char *to)
{
	char *data = NULL, log[FILE_PATH_MAX + 16];
	size_t n;

	MUST(file_read(&data, &n, path_of("planted.db"), (size_t)1 << 32, &err));
	MUST(file_write(path_of(to), data, n, &err));
	free(data);
	snprintf(log, sizeof(log), "%s.requests", path_of(to));
	unlink(log);
}

/* ---- 100,000 tasks ------------------------------------------------------------------------------------------------------------ */

static bool always(void)
{
	return true;
}

static double run_stopped(store *s)
{
	explain_opts o = explain_opts_default();
	double began = clock_now();
	int rc;

	o.stop = always;
	rc = explain_run(NULL, s, &o, &err);
	if (rc != ERR_STOPPED) {
		fprintf(stderr, "bench_jobs: %d %s\n", rc, err.msg);
		exit(1);
	}
	return clock_now() - began;
}

static void make_many(void)
{
	planted p = { .features = MANY, .times = 0, .tokens = 64 };
	store *s = NULL;

	MUST(planted_open(&s, path_of("many.db"), &p, &err));
	store_close(s);
	exit(0);
}

/* In a process of its own, so that its peak is its own. */
static void expand(void)
{
	double expanded, resumed, began, all, mb;
	explain_opts o = explain_opts_default();
	cJSON *summary = NULL;
	struct rusage used;
	store *s = NULL;

	MUST(store_open(&s, path_of("many.db"), STORE_WRITE, &err));
	expanded = run_stopped(s);
	resumed = run_stopped(s);
	began = clock_now();
	MUST(explain_run(&summary, s, &o, &err));
	all = clock_now() - began;
	cJSON_Delete(summary);
	getrusage(RUSAGE_SELF, &used);
	mb = (double)used.ru_maxrss / 1024;
	printf("%d tasks: expand %.2f s, resume %.2f s, run to the end (lexical) %.1f s, peak %.0f MB\n",
	       MANY, expanded, resumed, all, mb);
	check("expand within 5 s, resume within 1 s, memory within 200 MB",
	      expanded <= 5 && resumed <= 1 && mb <= 200);
	store_close(s);
	exit(bad);
}

/* ---- Kills ---------------------------------------------------------------------------------------------------------------------- */

static const char *const none[] = { NULL };

static void killed_often(server *s, unsigned kills, uint64_t seed, double whole)
{
	char want[SHA256_HEX], got[SHA256_HEX], line[96];
	unsigned landed = 0, worst = 0;
	bool over = false;
	uint64_t before;

	digest(want, "whole.db", true);
	copy_store("killed.db");
	server_forget(s);
	for (unsigned i = 0; i < kills && !over; i++) {
		double ms = 1e3 * whole * (0.01 + 1.6 * hash64_unit(hash64_mix(seed, i)) / kills);
		pid_t child = start(s, path_of("killed.db"), none);

		before = s->repeated;
		pause_ms(ms);
		kill(child, SIGKILL);
		wait_for(child);
		over = number("killed.db", "SELECT count(*) FROM job WHERE state = 'done'") > 0;
		landed += !over;
		if (s->repeated - before > worst)
			worst = (unsigned)(s->repeated - before);
	}
	before = s->repeated;
	check("a worker that nothing kills ends the job",
	      over || wait_for(start(s, path_of("killed.db"), none)) == 0);
	if (s->repeated - before > worst)
		worst = (unsigned)(s->repeated - before);
	digest(got, "killed.db", true);
	printf("killed %u times of %u: %llu requests, %llu repeated, most after one kill %u (%d in flight)\n",
	       landed, kills, (unsigned long long)s->requests, (unsigned long long)s->repeated, worst,
	       CONCURRENCY);
	check("the store is that of the run that nothing happened to", strcmp(want, got) == 0);
	snprintf(line, sizeof(line), "no more than %d requests repeated after any kill", CONCURRENCY);
	check(line, worst <= CONCURRENCY);
}

static void two_workers(server *s, double whole)
{
	char want[SHA256_HEX], got[SHA256_HEX];
	pid_t a, b;

	digest(want, "whole.db", false);
	copy_store("two.db");
	server_forget(s);
	a = start(s, path_of("two.db"), none);
	pause_ms(300);
	b = start(s, path_of("two.db"), none);
	pause_ms(1e3 * whole / 4);
	kill(a, SIGKILL);
	wait_for(a);
	check("the other worker ends the job", wait_for(b) == 0);
	digest(got, "two.db", false);
	printf("two workers, one killed: %llu requests, %llu repeated\n", (unsigned long long)s->requests,
	       (unsigned long long)s->repeated);
	check("the store holds what one worker alone leaves", strcmp(want, got) == 0);
	check("no more than those in flight of the killed one repeated", s->repeated <= CONCURRENCY);
	check("one job, every task ended once",
	      number("two.db", "SELECT count(*) FROM job") == 1 &&
	              number("two.db", "SELECT count(*) = count(DISTINCT feature) FROM "
	                               "explanation") == 1);
}

/* A million tokens of input cost 1, of output 10. */
static void budget(server *s, uint64_t seed)
{
	static const char *const more[] = { "--price", NULL, "--max-cost", "0.3", NULL };
	static const char prices[] = "{\"m\":{\"input\":1,\"output\":10}}";
	const double a_reply = (INPUT * 1.0 + OUTPUT * 10.0) / 1e6, most = 0.3;
	const char *args[5];
	char price[FILE_PATH_MAX];
	double paid;
	int code = 0;

	snprintf(price, sizeof(price), "%s", path_of("price.json"));
	MUST(file_write(price, prices, strlen(prices), &err));
	memcpy(args, more, sizeof(more));
	args[1] = price;
	for (int kills = 0; kills <= 3; kills += 3) {
		copy_store("budget.db");
		server_forget(s);
		for (int i = 0; i < kills; i++) {
			pid_t child = start(s, path_of("budget.db"), args);

			pause_ms(150 + 200 * hash64_unit(hash64_mix(seed + 7, (uint64_t)i)));
			kill(child, SIGKILL);
			wait_for(child);
		}
		code = wait_for(start(s, path_of("budget.db"), args));
		paid = (double)s->requests * a_reply;
		printf("budget %.4g, killed %d times: %llu requests, %.4g paid for all that the server got, "
		       "exit %d\n",
		       most, kills, (unsigned long long)s->requests, paid, code);
		check("the budget is not passed", paid <= most);
		if (!kills) /* what a kill loses counts as paid in full */
			check("it is used for nine tenths", paid >= 0.9 * most);
		check("the job stopped, and says so (exit 3)", code == 3);
	}
}

int main(int argc, char **argv)
{
	unsigned kills = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	planted p = { .features = FEATURES, .times = 40, .tokens = 128 };
	double began, whole;
	server s = { 0 };
	store *made = NULL;
	pid_t child;

	if (argc < 2 || !mkdtemp(folder)) {
		fprintf(stderr, "usage: bench_jobs GLOSS [KILLS [SEED]]\n");
		return 2;
	}
	gloss = argv[1];
	fflush(stdout);
	child = fork();
	if (child == 0)
		make_many();
	bad += wait_for(child) != 0;
	child = fork();
	if (child == 0)
		expand();
	bad += wait_for(child) != 0;
	MUST(planted_open(&made, path_of("planted.db"), &p, &err));
	store_close(made);
	server_start(&s);
	copy_store("whole.db");
	began = clock_now();
	check("a whole run ends well", wait_for(start(&s, path_of("whole.db"), none)) == 0);
	whole = clock_now() - began;
	printf("%d tasks, replies after %d ms: %.1f s, %lld labels, %lld skipped, %llu requests\n", FEATURES,
	       REPLY_MS, whole, (long long)number("whole.db", "SELECT count(*) FROM explanation"),
	       (long long)number("whole.db", "SELECT count(*) FROM task WHERE state = 'skipped'"),
	       (unsigned long long)s.requests);
	killed_often(&s, kills, seed, whole);
	two_workers(&s, whole);
	budget(&s, seed);
	llm_stop(s.llm);
	printf("stores are in %s\n", folder);
	return bad != 0;
}
