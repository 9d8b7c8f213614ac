/* What queries of a large store cost: 24,576 features and 1 M tokens of distinct text, with all firings.
 * usage: bench_store STORE [--features N] [--tokens N] [--gloss PROGRAM]
 * Makes the store where it is not there. Its text follows the pairs of tokens of a real dump (GLOSS_DATA, else the demo's) in
 * contexts of 256, none twice; each token fires 32 features, most of them chosen by the token, some by the one before it, some
 * at random, a few of them often and most rarely. It goes through the same index pass as real codes.
 * Times are of warm files: medians, or as named; whole processes are those of PROGRAM (build/release/gloss). */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "sae/sae.h"
#include "store/store.h"

enum { CTX = 256, L0 = 32, PAGES = 1000, RUNS = 15 };

typedef struct bench {
	const char *path, *gloss;
	uint32_t features;
	uint64_t tokens;
} bench;

/* ---- Making -------------------------------------------------------------------------------------------------------------- */

typedef struct corpus { /* a real one, to take pairs of tokens from */
	uint32_t *tokens;
	size_t n;
	size_t *places;  /* by token */
	uint32_t *first; /* (vocabulary + 1): places of token t are first[t] .. first[t + 1] - 1 */
	uint32_t vocabulary;
} corpus;

static int read_corpus(corpus *c, const char *folder, error *err)
{
	const sae_dump_opts o = { 0 };
	sae_dump *d = NULL;
	const sae_dump_info *info;
	uint32_t *next = NULL;
	int rc = sae_dump_open(&d, &folder, 1, &o, err);

	if (rc < 0)
		return rc;
	info = sae_dump_get_info(d);
	c->n = info->n_contexts * info->ctx_len;
	c->tokens = malloc((c->n + 1) * sizeof(*c->tokens));
	c->places = malloc((c->n + 1) * sizeof(*c->places));
	c->first = calloc((size_t)c->vocabulary + 2, sizeof(*c->first));
	next = calloc((size_t)c->vocabulary + 2, sizeof(*next));
	if (!c->tokens || !c->places || !c->first || !next)
		rc = error_nomem(err, "a corpus");
	for (uint64_t i = 0; i < info->n_contexts && rc == 0; i++)
		rc = sae_dump_tokens(d, i, c->tokens + i * info->ctx_len, err);
	for (size_t i = 0; i < c->n && rc == 0; i++)
		c->first[c->tokens[i] + 1]++;
	for (uint32_t t = 0; t < c->vocabulary && rc == 0; t++)
		next[t + 1] = c->first[t + 1] += c->first[t];
	for (size_t i = 0; i < c->n && rc == 0; i++)
		c->places[next[c->tokens[i]]++] = i;
	free(next);
	sae_dump_close(d);
	return rc;
}

static uint32_t next_token(const corpus *c, uint32_t token, uint64_t h)
{
	uint32_t n = c->first[token + 1] - c->first[token];
	size_t place = n ? c->places[c->first[token] + hash64_below(h, n)] : hash64_below(h, c->n);

	return c->tokens[place + 1 < c->n ? place + 1 : 0];
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Features of a token: a power law over their numbers, scattered. */
static uint32_t fire(uint32_t feature[L0], const bench *b, uint32_t token, uint32_t before, uint64_t random)
{
	uint32_t n = 0;

	for (uint32_t j = 0; j < L0; j++) {
		uint64_t seed = j < 18   ? hash64_mix(token, j)
		                : j < 26 ? hash64_mix(before + 1000000, j)
		                         : random + j;
		double u = hash64_unit(hash64_mix(seed, 7));
		uint64_t rank = (uint64_t)(b->features * u * u * u);

		feature[n++] = (uint32_t)hash64_permute(rank, b->features, 3);
	}
	qsort(feature, n, sizeof(*feature), by_number);
	for (uint32_t j = 1, kept = 1; j < L0; j++) {
		if (feature[j] != feature[kept - 1])
			feature[kept++] = feature[j];
		n = kept;
	}
	return n;
}

static int add_context(store_index *ix, const bench *b, const corpus *c, uint64_t number, error *err)
{
	static uint32_t tokens[CTX], start[CTX + 1], feature[CTX * L0];
	static float value[CTX * L0];
	uint32_t token = c->tokens[hash64_below(hash64_mix(1, number), c->n)], n = 0;

	for (uint32_t i = 0; i < CTX; i++) {
		uint64_t h = hash64_mix(number, i);
		uint32_t fires, before = token;

		token = tokens[i] = next_token(c, token, h);
		start[i] = n;
		fires = fire(feature + n, b, token, before, h);
		for (uint32_t j = 0; j < fires; j++)
			value[n + j] = (float)exp(1 + hash64_unit(hash64_mix(h, feature[n + j])) * 2);
		n += fires;
	}
	start[CTX] = n;
	return store_index_context(
	        ix, &(store_context){ tokens, CTX, number, number, NULL, start, feature, value }, err);
}

static int give_vocabulary(store_index *ix, const sae_tokenizer *t, error *err)
{
	uint32_t n = sae_tokenizer_size(t), *length = calloc(n, sizeof(*length));
	const char **bytes = calloc(n, sizeof(*bytes));
	int rc = length && bytes ? 0 : error_nomem(err, "a vocabulary");

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		size_t len = 0;

		bytes[i] = sae_tokenizer_bytes(t, i, &len);
		length[i] = (uint32_t)len;
	}
	if (rc == 0)
		rc = store_index_vocab(ix, sae_tokenizer_sha256(t), n, bytes, length, err);
	free(length);
	free(bytes);
	return rc;
}

static int make(const bench *b, error *err)
{
	const char *folder = getenv("GLOSS_DATA");
	char path[FILE_PATH_MAX];
	store_index_opts o = store_index_opts_default();
	sae_tokenizer *t = NULL;
	store_index *ix = NULL;
	store *s = NULL;
	corpus c = { 0 };
	double began = clock_now();
	int rc;

	folder = folder ? folder : "demo/data";
	rc = file_join(path, folder, "tokenizer.json", err);
	if (rc == 0)
		rc = sae_tokenizer_load(&t, path, err);
	if (rc < 0)
		return rc;
	c.vocabulary = sae_tokenizer_size(t);
	o.source = "made";
	o.architecture = "topk";
	o.d_in = 8;
	o.n_features = b->features;
	o.k = L0;
	o.weights_sha256 = o.dump_sha256 = "made by bench_store";
	o.corpus = true;
	rc = read_corpus(&c, folder, err);
	if (rc == 0)
		rc = store_open(&s, b->path, STORE_CREATE, err);
	if (rc == 0)
		rc = store_index_begin(&ix, s, &o, err);
	if (rc == 0)
		rc = give_vocabulary(ix, t, err);
	for (uint64_t i = 0; i < b->tokens / CTX && rc == 0; i++)
		rc = add_context(ix, b, &c, i, err);
	printf("made %llu tokens in %.1f s", (unsigned long long)b->tokens, clock_now() - began);
	if (rc == 0)
		rc = store_index_finish(ix, NULL, NULL, err);
	else
		store_index_abort(ix);
	printf(", written in %.1f s all in all, most resident %.0f MiB\n", clock_now() - began,
	       (double)cpu_memory_peak() / 1048576);
	store_close(s);
	sae_tokenizer_free(t);
	free(c.tokens);
	free(c.places);
	free(c.first);
	return rc;
}

/* ---- Measuring ------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int pages(const bench *b, error *err)
{
	static double seconds[PAGES];
	store *s = NULL;
	int rc = store_open(&s, b->path, STORE_READ, err);

	for (int round = 0; round < 2; round++) /* the first warms up */
		for (int i = 0; i < PAGES && rc == 0; i++) {
			cJSON *page = NULL;
			double began = clock_now();

			rc = store_show(&page, s, NULL,
			                (uint32_t)hash64_below(hash64_mix(5, (uint64_t)i), b->features), 24,
			                STORE_INTERVALS_STORED, err);
			seconds[i] = clock_now() - began;
			cJSON_Delete(page);
		}
	store_close(s);
	qsort(seconds, PAGES, sizeof(*seconds), by_value);
	if (rc == 0)
		printf("%-58s %8.2f ms, p99 %.2f, most %.2f   wanted p99 5\n",
		       "all data of a feature page (C API)", 1e3 * seconds[PAGES / 2],
		       1e3 * seconds[PAGES * 99 / 100], 1e3 * seconds[PAGES - 1]);
	return rc;
}

/* A whole process: its median wall time. */
static void process(const bench *b, const char *what, double wanted, const char *const *args)
{
	double seconds[RUNS];
	const char *argv[16] = { b->gloss };
	int n = 1, status = 0;

	for (; *args && n < 15; args++)
		argv[n++] = *args;
	for (int i = -2; i < RUNS; i++) {
		double began;
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
		waitpid(pid, &status, 0);
		if (i >= 0)
			seconds[i] = clock_now() - began;
	}
	qsort(seconds, RUNS, sizeof(*seconds), by_value);
	if (status)
		printf("%-58s failed\n", what);
	else if (wanted > 0)
		printf("%-58s %8.1f ms, most %.1f   wanted %g\n", what, 1e3 * seconds[RUNS / 2],
		       1e3 * seconds[RUNS - 1], wanted);
	else
		printf("%-58s %8.1f ms, most %.1f\n", what, 1e3 * seconds[RUNS / 2], 1e3 * seconds[RUNS - 1]);
}

#define PROCESS(b, what, wanted, ...)                                                                        \
	process(b, what, wanted, (const char *const[]){ __VA_ARGS__, "-d", (b)->path, NULL })

static double number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	double x = NAN;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		x = sqlite3_column_double(st, 0);
	sqlite3_finalize(st);
	return x;
}

static void sizes(const bench *b)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
		printf("%-58s %8.0f   wanted 10240\n",
		       "bytes a feature, without vectors, contexts and firings",
		       number(db, "SELECT sum(pgsize) FROM dbstat WHERE name GLOB 'feature*' OR name GLOB "
		                  "'*_feature*' OR "
		                  "name GLOB 'example*'") /
		               b->features);
		printf("%-58s %8.2f   wanted %s\n", "bytes a firing",
		       number(db, "SELECT 1.0 * sum(length(codes)) FROM firing") /
		               number(db, "SELECT n_firings FROM source"),
		       b->features <= 65536 ? "4.4" : "6.5");
		printf("%-58s %8.1f\n", "MB of all", number(db, "SELECT sum(pgsize) / 1e6 FROM dbstat"));
	}
	sqlite3_close(db);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "features", required_argument, NULL, 'f' },
		                               { "tokens", required_argument, NULL, 't' },
		                               { "gloss", required_argument, NULL, 'g' },
		                               { 0 } };
	bench b = { .features = 24576, .tokens = 1 << 20, .gloss = "build/release/gloss" };
	struct stat st;
	error err = { 0 };
	int c, rc = 0;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'f')
			b.features = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 't')
			b.tokens = strtoull(optarg, NULL, 10);
		else if (c == 'g')
			b.gloss = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc || b.features < L0 || b.tokens < CTX) {
		fprintf(stderr, "bench_store: wrong options; see the head of bench/bench_store.c\n");
		return 2;
	}
	b.path = argv[optind];
	if (stat(b.path, &st) != 0)
		rc = make(&b, &err);
	if (rc == 0) {
		printf("%s: %u features, %llu tokens\n", b.path, b.features, (unsigned long long)b.tokens);
		rc = pages(&b, &err);
	}
	if (rc < 0) {
		fprintf(stderr, "bench_store: %s\n", err.msg);
		return 1;
	}
	PROCESS(&b, "features --where --sort --limit 50", 30, "features", "--where",
	        "density < 0.01 AND max_act > 5", "--sort", "-density", "--limit", "50");
	PROCESS(&b, "find --text", 20, "find", "--text", "climate change");
	PROCESS(&b, "find --regex, rare", 500, "find", "--regex", "\\b(January|February|March)\\b");
	PROCESS(&b, "find --regex, everywhere", 500, "find", "--regex", " (the|of)\\b");
	PROCESS(&b, "show", 30, "show", "77");
	PROCESS(&b, "similar", 0, "similar", "77");
	PROCESS(&b, "similar --duplicates", 0, "similar", "--duplicates");
	sizes(&b);
	return 0;
}
