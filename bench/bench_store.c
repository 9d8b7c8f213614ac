/* What the store costs at 24,576 features and 1 M tokens of distinct text with all their firings; bytes a firing also at 70,000.
 * usage: bench_store [--features N] [--tokens N] [--rounds N] [--gloss PROGRAM] [--keep] FOLDER
 * Makes FOLDER/distinct.db and FOLDER/wide.db (made_store.h says how; with --keep takes those that are there) and measures, each
 * thing warm: a feature's page by the C API; whole processes of PROGRAM (build/release/gloss); sizes; and the memory of the index
 * pass while the first is made. Times are wall times, and beside them those of the CPU, which other work on the machine changes
 * less. A line ends in what is wanted, and 'NO' where its median (of pages: p99) is above it. */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "bench/made_store.h"
#include "bench/rows.h"
#include "store/store.h"

enum { PAGES = 1000, MAX_ROUNDS = 200, MAX_ARGS = 16, D_IN = 576, WIDE = 70000, WIDE_TOKENS = 131072 };

typedef struct bench {
	const char *folder, *gloss;
	char path[FILE_PATH_MAX], wide[FILE_PATH_MAX];
	made_store size;
	uint32_t rounds;
	bool keep;
} bench;

static void say(const char *what, const char *unit, double value, const char *more, double wanted)
{
	printf("%-58s %9.2f %-5s %-34s", what, value, unit, more);
	if (wanted > 0)
		printf(" wanted %g%s", wanted, value <= wanted ? "" : "  NO");
	printf("\n");
}

/* ---- Making, and the memory of it ------------------------------------------------------------------------------------------ */

static double anonymous_memory(pid_t pid) /* bytes; 0: gone */
{
	char name[64], line[256];
	unsigned long kilobytes = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%ld/status", (long)pid);
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %lu", &kilobytes) == 1)
			break;
	if (f)
		fclose(f);
	return 1024.0 * (double)kilobytes;
}

/* In a process of its own, whose anonymous memory is looked at every 10 ms. *peak: the most that was seen, 0: nothing was made. */
static int make(const bench *b, const char *path, const made_store *size, double *peak, error *err)
{
	struct stat st;
	int status = 0;
	pid_t pid;

	*peak = 0;
	if (stat(path, &st) == 0) {
		if (b->keep)
			return 0;
		unlink(path);
	}
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return error_set(err, ERR_IO, "cannot start a process");
	if (pid == 0) {
		made_times t = { 0 };
		error e = { 0 };
		int rc = made_store_write(&t, path, size, &e);

		if (rc < 0)
			fprintf(stderr, "bench_store: %s\n", e.msg);
		else
			printf("%s: %u features, %llu tokens made and passed in %.1f s, all in %.1f s\n",
			       path, size->features, (unsigned long long)size->tokens, t.pass, t.all);
		fflush(stdout);
		_exit(rc < 0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		double now = anonymous_memory(pid);

		*peak = now > *peak ? now : *peak;
		usleep(10000);
	}
	return status == 0 ? 0 : error_set(err, ERR_IO, "could not make '%s'", path);
}

/* ---- Pages ------------------------------------------------------------------------------------------------------------------ */

static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Everything of 1,000 features, twice: the first time warms up. */
static int pages(const bench *b, error *err)
{
	static double wall[PAGES], cpu[PAGES];
	char more[64];
	store *s = NULL;
	int rc = store_open(&s, b->path, STORE_READ, err);

	for (int i = 0; i < 2 * PAGES && rc == 0; i++) {
		uint64_t random = hash64_mix(5, (uint64_t)(i % PAGES));
		double began = clock_now(), cpu_began = cpu_now();
		cJSON *page = NULL;

		rc = store_show(&page, s, NULL, (uint32_t)hash64_below(random, b->size.features), 24,
		                STORE_INTERVALS_STORED, err);
		wall[i % PAGES] = clock_now() - began;
		cpu[i % PAGES] = cpu_now() - cpu_began;
		cJSON_Delete(page);
	}
	store_close(s);
	if (rc < 0)
		return rc;
	qsort(wall, PAGES, sizeof(*wall), by_value);
	qsort(cpu, PAGES, sizeof(*cpu), by_value);
	snprintf(more, sizeof(more), "median %.2f, most %.2f", 1e3 * wall[PAGES / 2], 1e3 * wall[PAGES - 1]);
	say("all data of a feature page, C API, p99 of 1,000", "ms", 1e3 * wall[PAGES * 99 / 100], more, 5);
	snprintf(more, sizeof(more), "median %.2f, most %.2f", 1e3 * cpu[PAGES / 2], 1e3 * cpu[PAGES - 1]);
	say("    the same, CPU", "ms", 1e3 * cpu[PAGES * 99 / 100], more, 0);
	return 0;
}

/* ---- Whole processes ---------------------------------------------------------------------------------------------------------- */

static int run_once(const bench *b, const char *const *argv, double *wall, double *cpu)
{
	struct rusage use;
	double began;
	int status = 0;
	pid_t pid;

	fflush(stdout);
	began = clock_now();
	pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(127);
		execv(b->gloss, (char *const *)(void *)argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &use) != pid)
		return -1;
	*wall = clock_now() - began;
	*cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
	return status;
}

static void process(const bench *b, const char *what, double wanted, const char *const *args)
{
	double wall[MAX_ROUNDS], cpu[MAX_ROUNDS], warm;
	const char *argv[MAX_ARGS + 1] = { b->gloss };
	char more[64];
	int n = 1, failed = 0;

	for (; *args && n < MAX_ARGS; args++)
		argv[n++] = *args;
	for (uint32_t i = 0; i < b->rounds + 2 && !failed; i++)
		failed = i < 2 ? run_once(b, argv, &warm, &warm)
		               : run_once(b, argv, &wall[i - 2], &cpu[i - 2]);
	if (failed) {
		printf("%-58s failed\n", what);
		return;
	}
	qsort(wall, b->rounds, sizeof(*wall), by_value);
	snprintf(more, sizeof(more), "least %.1f, most %.1f, CPU %.1f", 1e3 * wall[0],
	         1e3 * wall[b->rounds - 1], 1e3 * bench_median(cpu, b->rounds, 1));
	say(what, "ms", 1e3 * wall[b->rounds / 2], more, wanted);
}

#define PROCESS(b, what, wanted, ...)                                                                        \
	process(b, what, wanted, (const char *const[]){ __VA_ARGS__, "-d", (b)->path, NULL })

static void listings(const bench *b)
{
	process(b, "gloss --version", 0, (const char *const[]){ "--version", NULL });
	PROCESS(b, "features --where (density, max) --sort --limit 50", 30, "features", "--where",
	        "density < 0.01 AND max_act > 5", "--sort", "-density", "--limit", "50");
	PROCESS(b, "features --where (label, score) --sort --limit 50", 30, "features", "--where",
	        "score > 0.7 AND label LIKE '%French%'", "--sort", "-score,feature", "--limit", "50");
	PROCESS(b, "features --where (kurtosis, entropy) --sort --limit 50", 30, "features", "--where",
	        "kurtosis > 3 AND token_entropy < 4", "--sort", "token_entropy", "--limit", "50");
	PROCESS(b, "features", 30, "features");
	PROCESS(b, "show", 30, "show", "77");
}

/* ---- Words and patterns -------------------------------------------------------------------------------------------------------- */

/* Words of three letters and more by the number of contexts that have them: a rare one, a middling one, the commonest. */
static int choose_words(const bench *b, char word[3][64])
{
	static const char *const sql[] = {
		"CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, context_fts, row)",
		"SELECT term FROM temp.words WHERE length(term) > 3 AND doc >= 8 ORDER BY doc, term LIMIT 1",
		("SELECT term FROM temp.words WHERE length(term) > 3 AND doc >= 400 ORDER BY doc, term "
		 "LIMIT 1"),
		"SELECT term FROM temp.words WHERE length(term) > 2 ORDER BY doc DESC, term LIMIT 1"
	};
	sqlite3 *db = NULL;
	int found = 0;

	if (sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, sql[0], NULL, NULL, NULL) == SQLITE_OK)
		for (int i = 0; i < 3; i++) {
			sqlite3_stmt *st = NULL;

			if (sqlite3_prepare_v2(db, sql[i + 1], -1, &st, NULL) == SQLITE_OK &&
			    sqlite3_step(st) == SQLITE_ROW)
				found += snprintf(word[i], sizeof(word[i]), "%s",
				                  (const char *)sqlite3_column_text(st, 0)) > 0;
			sqlite3_finalize(st);
		}
	sqlite3_close(db);
	return found == 3 ? 0 : -1;
}

static void find(const bench *b, const char *how, const char *query, double wanted)
{
	char what[160];

	if (snprintf(what, sizeof(what), "find %s '%s'", how, query) < (int)sizeof(what))
		PROCESS(b, what, wanted, "find", how, query);
}

static void searches(const bench *b)
{
	static const char *const patterns[] = { "\\b(January|February|March)\\b", " (the|of)\\b",
		                                "(?i)\\w+ing\\b", "." };
	char word[3][64], both[160], start[8];

	if (choose_words(b, word) < 0) {
		printf("%-58s failed\n", "words to search for");
		return;
	}
	snprintf(both, sizeof(both), "%s %s", word[1], word[2]);
	snprintf(start, sizeof(start), "%.3s*", word[0]);
	for (int i = 0; i < 3; i++)
		find(b, "--text", word[i], 20);
	find(b, "--text", both, 20);
	find(b, "--text", start, 20);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
		find(b, "--regex", patterns[i], 500);
}

/* ---- Sizes --------------------------------------------------------------------------------------------------------------------- */

static double number(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	double x = NAN;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		x = sqlite3_column_double(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return x;
}

/* Whole pages of tables and their indexes, not only what the rows hold. */
static void sizes(const char *path, uint32_t features)
{
	static const char of_tables[] = "SELECT ifnull(sum(d.pgsize), 0) FROM dbstat d JOIN sqlite_schema m "
	                                "USING (name) WHERE m.tbl_name ";
	double firings = number(path, "SELECT sum(n_firings) FROM source");
	char sql[512], more[96];
	double all, not_features;

	all = number(path, "SELECT sum(pgsize) FROM dbstat");
	snprintf(sql, sizeof(sql),
	         "%sIN ('vector', 'context', 'document', 'firing', 'vocab', 'source_context') OR "
	         "m.tbl_name GLOB 'context_*'",
	         of_tables);
	not_features = number(path, sql);
	snprintf(more, sizeof(more), "of %.1f MB in all", all / 1e6);
	say("bytes a feature without vectors, contexts, firings, vocab", "", (all - not_features) / features,
	    more, 10240);
	snprintf(sql, sizeof(sql), "%s= 'vector'", of_tables);
	say("    bytes a feature of vectors", "", number(path, sql) / features, "", 0);
	snprintf(sql, sizeof(sql), "%s= 'firing'", of_tables);
	snprintf(more, sizeof(more), "%.0f firings", firings);
	say("bytes a firing", "", number(path, sql) / firings, more, features <= 65536 ? 4.4 : 6.5);
	snprintf(sql, sizeof(sql), "%sIN ('context', 'document') OR m.tbl_name GLOB 'context_*'", of_tables);
	say("    bytes a token of contexts and their words", "",
	    number(path, sql) / number(path, "SELECT sum(n_tokens) FROM context"), "", 0);
}

static int measure(bench *b, error *err)
{
	made_store wide = { WIDE, 8, WIDE_TOKENS };
	double peak, ignored, rest;
	int rc = make(b, b->path, &b->size, &peak, err);

	if (rc == 0)
		rc = make(b, b->wide, &wide, &ignored, err);
	if (rc == 0)
		rc = pages(b, err);
	if (rc < 0)
		return rc;
	listings(b);
	searches(b);
	sizes(b->path, b->size.features);
	printf("%u features:\n", WIDE);
	sizes(b->wide, WIDE);
	rest = 4.0 * b->size.features * b->size.d_in; /* what the caller hands over as the decoder */
	if (peak > 0)
		say("memory of index beyond its decoder, MB", "", (peak - rest) / 1e6, "",
		    (10240.0 * b->size.features + 200e6) / 1e6);
	return 0;
}

static bool options(bench *b, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "features", required_argument, NULL, 'f' }, { "tokens", required_argument, NULL, 't' },
		{ "rounds", required_argument, NULL, 'r' },   { "gloss", required_argument, NULL, 'g' },
		{ "keep", no_argument, NULL, 'k' },           { 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'f')
			b->size.features = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 't')
			b->size.tokens = strtoull(optarg, NULL, 10);
		else if (c == 'r')
			b->rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 'g')
			b->gloss = optarg;
		else if (c == 'k')
			b->keep = true;
		else
			return false;
	}
	if (optind + 1 != argc || b->size.features < 1000 || b->size.tokens < MADE_CTX || !b->rounds ||
	    b->rounds > MAX_ROUNDS)
		return false;
	b->folder = argv[optind];
	return true;
}

int main(int argc, char **argv)
{
	bench b = { .size = { 24576, D_IN, 1 << 20 }, .gloss = "build/release/gloss", .rounds = 15 };
	double load[2][3] = { { 0 } };
	error err = { 0 };
	int rc;

	if (!options(&b, argc, argv)) {
		fprintf(stderr, "bench_store: wrong options; see the head of bench/bench_store.c\n");
		return 2;
	}
	getloadavg(load[0], 3);
	rc = file_join(b.path, b.folder, "distinct.db", &err);
	if (rc == 0)
		rc = file_join(b.wide, b.folder, "wide.db", &err);
	if (rc == 0)
		rc = measure(&b, &err);
	if (rc < 0) {
		fprintf(stderr, "bench_store: %s\n", err.msg);
		return 1;
	}
	getloadavg(load[1], 3);
	printf("load %.1f to %.1f\n", load[0][0], load[1][0]);
	return 0;
}
