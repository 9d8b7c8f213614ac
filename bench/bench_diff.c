/* What `gloss diff` costs: two sources of many features, with all firings.
 * usage: bench_diff STORE [--kind related|random] [--features N] [--d N] [--tokens N] [--gloss PROGRAM]
 * Makes the store where it is not there: sources a and b, decoder rows of --d values, TopK firings of 32 a token over contexts of
 * 256. related: b's features are a's in another order; their rows with noise of 0.3 to 2 times their norm added, their firings
 * with a fifth left out; of ten features of a one is divided between two of b, another has no like there. random: nothing in
 * common, which is the hard case of the assignment. Then times whole processes, with their CPU time and the most they had
 * resident, and the assignment alone, without the store. */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sae/sae.h"
#include "store/store.h"

enum { CTX = 256, L0 = 32, THREADS = 2 };

typedef struct bench {
	const char *path, *gloss;
	bool related;
	uint32_t features, d;
	uint64_t tokens;
} bench;

/* ---- What the sources are ------------------------------------------------------------------------------------------------- */

static float normal(uint64_t seed, uint64_t i)
{
	double u = hash64_unit(hash64_mix(seed, 2 * i)), v = hash64_unit(hash64_mix(seed, 2 * i + 1));

	return (float)(sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v));
}

/* Where b has feature f of a. Of ten, number 4 is b's second part of what is divided, number 9 is b's own. */
enum { DIVIDED = 3, SECOND = 4, ALONE = 9 };

static uint32_t place(const bench *b, uint32_t f)
{
	return (uint32_t)hash64_permute(f, b->features, 7);
}

static float *rows_of(const bench *b, int side)
{
	float *rows = malloc((size_t)b->features * b->d * sizeof(*rows));

	for (uint32_t f = 0; f < b->features && rows; f++) {
		float *row = rows + (size_t)(side ? place(b, f) : f) * b->d;
		bool own = side && (!b->related || f % 10 == ALONE);
		uint32_t like = side && f % 10 == SECOND ? f - 1 : f;
		float noise = (float)(0.3 + 1.7 * hash64_unit(hash64_mix(3, f)));

		for (uint32_t i = 0; i < b->d; i++) {
			float there = normal(1, (uint64_t)like * b->d + i);

			row[i] = side ? (own ? 0 : there) + noise * normal(2, (uint64_t)f * b->d + i) : there;
		}
	}
	return rows;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Features of one token, ascending: few fire often. */
static uint32_t fire(uint32_t *feature, const bench *b, int side, uint64_t h)
{
	uint32_t n = 0, kept = 0;

	for (uint32_t i = 0; i < L0; i++) {
		double u = hash64_unit(hash64_mix(h + (side && !b->related), i));
		uint32_t f = (uint32_t)(b->features * pow(u, 2.5));

		if (!side || !b->related)
			feature[n++] = f;
		else if (f % 10 == ALONE)
			feature[n++] = place(
			        b, (uint32_t)hash64_below(hash64_mix(h, 300 + i), b->features / 10) * 10 +
			                   ALONE);
		else if (f % 10 == DIVIDED && f + 1 < b->features)
			feature[n++] = place(b, f + (uint32_t)(hash64_mix(h, 200) % 2));
		else if (f % 10 != SECOND && hash64_mix(h, 100 + i) % 5)
			feature[n++] = place(b, f);
	}
	qsort(feature, n, sizeof(*feature), by_number);
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || feature[i] != feature[kept - 1])
			feature[kept++] = feature[i];
	return kept;
}

static int add_context(store_index *ix, const bench *b, int side, uint64_t number, error *err)
{
	static uint32_t tokens[CTX], start[CTX + 1], feature[CTX * L0];
	static float value[CTX * L0];
	uint32_t n = 0;

	for (uint32_t i = 0; i < CTX; i++) {
		uint64_t h = hash64_mix(number, i);
		uint32_t fires = fire(feature + n, b, side, h);

		tokens[i] = (uint32_t)(h % 50000);
		start[i] = n;
		for (uint32_t j = 0; j < fires; j++)
			value[n + j] = (float)(1 + hash64_unit(hash64_mix(h, feature[n + j])));
		n += fires;
	}
	start[CTX] = n;
	return store_index_context(
	        ix, &(store_context){ tokens, CTX, number, number, NULL, start, feature, value }, err);
}

static int make_source(store *s, const bench *b, int side, error *err)
{
	store_index_opts o = store_index_opts_default();
	store_index *ix = NULL;
	float *rows = rows_of(b, side);
	int rc;

	o.source = side ? "b" : "a";
	o.architecture = "topk";
	o.d_in = b->d;
	o.n_features = b->features;
	o.k = L0;
	o.weights_sha256 = o.dump_sha256 = "made by bench_diff";
	o.corpus = true;
	rc = rows ? store_index_begin(&ix, s, &o, err) : error_nomem(err, "decoder rows");
	for (uint64_t i = 0; i < b->tokens / CTX && rc == 0; i++)
		rc = add_context(ix, b, side, i, err);
	if (rc == 0)
		rc = store_index_decoder(ix, rows, err);
	if (rc == 0)
		rc = store_index_finish(ix, NULL, NULL, err);
	else
		store_index_abort(ix);
	free(rows);
	return rc;
}

/* ---- Measuring ---------------------------------------------------------------------------------------------------------------- */

static void process(const bench *b, const char *what, const char *const *args)
{
	const char *argv[16] = { b->gloss, "diff", "a", "b", "-d", b->path, "--threads", "2", "-n", "0" };
	struct rusage use;
	int n = 10, status = 0;
	double began;
	pid_t pid;

	for (; *args && n < 15; args++)
		argv[n++] = *args;
	printf("\n%s\n", what);
	fflush(stdout);
	began = clock_now();
	pid = fork();
	if (pid == 0) {
		execv(b->gloss, (char *const *)(void *)argv);
		_exit(127);
	}
	wait4(pid, &status, 0, &use);
	printf("%s: %.1f s, CPU %.1f s, most resident %.0f MiB\n", status ? "FAILED" : "whole process",
	       clock_now() - began,
	       (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
	               1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec),
	       (double)use.ru_maxrss / 1024);
}

static int assignment(const bench *b, error *err)
{
	uint32_t *match = malloc(b->features * sizeof(*match)), right = 0;
	float *unit[2] = { NULL, NULL };
	pool *p = NULL;
	double began;
	int rc = match ? pool_new(&p, THREADS, err) : error_nomem(err, "a match");

	for (int side = 0; side < 2; side++) {
		float *rows = rows_of(b, side);

		unit[side] = rows ? sae_unit_rows(rows, b->features, b->d) : NULL;
		free(rows);
		if (rc == 0 && !unit[side])
			rc = error_nomem(err, "decoder rows");
	}
	began = clock_now();
	if (rc == 0)
		rc = sae_match_assign(match, unit[0], b->features, unit[1], b->features, b->d, p, err);
	for (uint32_t f = 0; f < b->features && rc == 0; f++)
		right += match[f] == place(b, f);
	if (rc == 0)
		printf("\nassignment alone: %.2f s, %.0f MB of cosines; %.1f %% as planted\n",
		       clock_now() - began, (double)sae_match_assign_bytes(b->features, b->features) / 1e6,
		       100.0 * right / b->features);
	pool_free(p);
	free(unit[0]);
	free(unit[1]);
	free(match);
	return rc;
}

static int make(const bench *b, error *err)
{
	store *s = NULL;
	struct stat st;
	int rc;

	if (stat(b->path, &st) == 0)
		return 0;
	rc = store_open(&s, b->path, STORE_CREATE, err);
	for (int side = 0; side < 2 && rc == 0; side++)
		rc = make_source(s, b, side, err);
	store_close(s);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "kind", required_argument, NULL, 'k' },  { "features", required_argument, NULL, 'f' },
		{ "d", required_argument, NULL, 'd' },     { "tokens", required_argument, NULL, 't' },
		{ "gloss", required_argument, NULL, 'g' }, { 0 },
	};
	bench b = { .features = 16384,
		    .d = 576,
		    .tokens = 1 << 18,
		    .gloss = "build/release/gloss",
		    .related = true };
	error err = { 0 };
	int c, rc;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'f')
			b.features = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 'd')
			b.d = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 't')
			b.tokens = strtoull(optarg, NULL, 10);
		else if (c == 'g')
			b.gloss = optarg;
		else if (c == 'k' && (strcmp(optarg, "related") == 0 || strcmp(optarg, "random") == 0))
			b.related = strcmp(optarg, "related") == 0;
		else
			return 2;
	}
	if (optind + 1 != argc || b.features < L0 || b.d < 1 || b.tokens < CTX) {
		fprintf(stderr, "bench_diff: wrong options; see the head of bench/bench_diff.c\n");
		return 2;
	}
	b.path = argv[optind];
	rc = make(&b, &err);
	if (rc == 0) {
		printf("%s: %u features, d %u, %llu tokens, %s\n", b.path, b.features, b.d,
		       (unsigned long long)b.tokens, b.related ? "related" : "random");
		process(&b, "gloss diff --method nearest",
		        (const char *const[]){ "--method", "nearest", NULL });
		process(&b, "gloss diff --method hungarian",
		        (const char *const[]){ "--method", "hungarian", NULL });
		rc = assignment(&b, &err);
	}
	if (rc < 0)
		fprintf(stderr, "bench_diff: %s\n", err.msg);
	return rc < 0;
}
