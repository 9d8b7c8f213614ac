/* What loading an SAE takes: time against reading its file, and memory against its weights.
 *
 *	bench_load SAE FILE [ROUNDS]
 *
 * FILE is the file of weights in the folder. Each round takes, after one another: reading the file in blocks of 1 MiB, as dd does, and
 * loading the SAE, each once from the disk (the file is dropped from the page cache before; FILE must have been written out) and once from
 * the page cache; reading the file whole into new memory, the least that a loader does; and loading with the SHA-256 of the file, beside
 * as much SHA-256 alone. Figures are medians of the rounds and, in brackets, the least. Memory is the most the process ever had resident
 * after the first load, less what it had at the start.
 *
 * Memory has its price apart: a virtual machine may have to ask its host for pages that nobody used for seconds (free page reporting), and
 * 2 GB of them cost 0.1 s or 2 s as it happens. So before each load as much memory as the weights is touched and given back, in huge pages
 * where the system gives them; "new memory" is the time of that. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sae/sae.h"

enum { ROUNDS_MAX = 99 };

enum figure { COLD_READ, MEMORY, COLD_LOAD, WARM_READ, WARM_COPY, WARM_LOAD, CPU, HASH, HASHED, N_FIGURES };

static const char *const names[N_FIGURES] = {
	"reading from the disk", "new memory",
	"loading from the disk", "reading from the page cache",
	"reading to new memory", "loading from the page cache",
	"CPU time of that",      "SHA-256 alone",
	"loading with SHA-256",
};
static double figures[N_FIGURES][ROUNDS_MAX];

static void drop(const char *path)
{
	int fd = open(path, O_RDONLY);

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

/* Seconds; `into`: NULL: one block over and over. */
static double read_file(const char *path, unsigned char *into, uint64_t *bytes)
{
	static unsigned char block[1 << 20];
	double began = clock_now();
	int fd = open(path, O_RDONLY);
	ssize_t n;

	for (*bytes = 0; fd >= 0 && (n = read(fd, into ? into + *bytes : block, sizeof(block))) > 0;)
		*bytes += (uint64_t)n;
	close(fd);
	return clock_now() - began;
}

/* Seconds to touch new memory. */
static double touch(uint64_t bytes)
{
	double began = clock_now();
	volatile char *p = mem_alloc_aligned(bytes, 1);

	for (uint64_t i = 0; p && i < bytes; i += 4096)
		p[i] = 1;
	free((void *)p);
	return clock_now() - began;
}

/* Seconds to hash so many bytes, in blocks that stay in the cache. */
static double hash(uint64_t bytes)
{
	static unsigned char block[1 << 16];
	double began = clock_now();
	char hex[SHA256_HEX];
	sha256 h;

	if (sha256_init(&h, NULL) < 0)
		return 0;
	for (uint64_t i = 0; i < bytes; i += sizeof(block))
		sha256_add(&h, block, sizeof(block));
	sha256_end(&h, hex);
	return clock_now() - began;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static double load(const char *dir, bool hashed, uint64_t *weights, uint64_t *peak)
{
	error err = { 0 };
	sae_model *m = NULL;
	double began = clock_now(), took;

	if ((hashed ? sae_model_load_hashed(&m, dir, &err) : sae_model_load(&m, dir, &err)) < 0) {
		fprintf(stderr, "bench_load: %s\n", err.msg);
		exit(1);
	}
	took = clock_now() - began;
	if (*peak == 0)
		*peak = cpu_memory_peak();
	*weights =
	        4 * ((uint64_t)m->d_sae * m->d_in * (m->W_enc != m->W_dec) + (uint64_t)m->d_sae * m->d_out);
	sae_model_free(m);
	return took;
}

static int by_value(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(enum figure f, size_t rounds)
{
	return figures[f][rounds / 2];
}

static void print_ratio(enum figure load, enum figure read, size_t rounds)
{
	printf("%s / %s: %.2f (%.2f)\n", names[load], names[read],
	       median(load, rounds) / median(read, rounds), figures[load][0] / figures[read][0]);
}

static void run_round(size_t i, const char *dir, const char *path, uint64_t *bytes, uint64_t *weights,
                      uint64_t *peak)
{
	double began;
	unsigned char *all;

	drop(path);
	figures[COLD_READ][i] = read_file(path, NULL, bytes);
	drop(path);
	figures[MEMORY][i] = touch(*bytes);
	figures[COLD_LOAD][i] = load(dir, false, weights, peak);
	figures[WARM_READ][i] = read_file(path, NULL, bytes);
	all = malloc(*bytes + (1 << 20));
	figures[WARM_COPY][i] = all ? read_file(path, all, bytes) : 0;
	free(all);
	(void)touch(*bytes);
	began = cpu_seconds();
	figures[WARM_LOAD][i] = load(dir, false, weights, peak);
	figures[CPU][i] = cpu_seconds() - began;
	figures[HASH][i] = hash(*bytes);
	(void)touch(*bytes);
	figures[HASHED][i] = load(dir, true, weights, peak);
}

int main(int argc, char **argv)
{
	char path[FILE_PATH_MAX];
	uint64_t before = cpu_memory_peak(), bytes = 0, weights = 0, peak = 0;
	size_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 5;
	error err = { 0 };

	if (argc < 3 || rounds < 1 || rounds > ROUNDS_MAX || file_join(path, argv[1], argv[2], &err) < 0 ||
	    !file_exists(path)) {
		fprintf(stderr, "bench_load SAE FILE [ROUNDS]\n");
		return 2;
	}
	for (size_t i = 0; i < rounds; i++)
		run_round(i, argv[1], path, &bytes, &weights, &peak);
	printf("%.2f GB, %zu rounds; memory %.3f of the weights\n", (double)bytes / 1e9, rounds,
	       (double)(peak - before) / (double)weights);
	for (enum figure f = 0; f < N_FIGURES; f++) {
		qsort(figures[f], rounds, sizeof(double), by_value);
		printf("%-27s %.3f s (%.3f)\n", names[f], median(f, rounds), figures[f][0]);
	}
	print_ratio(COLD_LOAD, COLD_READ, rounds);
	print_ratio(WARM_LOAD, WARM_COPY, rounds);
	print_ratio(WARM_LOAD, WARM_READ, rounds);
	print_ratio(HASHED, HASH, rounds);
	return 0;
}
