/* What loading an SAE takes: time against reading its file, and memory against its weights.
 *
 *	bench_load SAE FILE [ROUNDS]
 *
 * FILE is the file of weights in the folder. Each round first reads it in blocks of 1 MiB, dropped from the page cache before where the system does so, then loads the
 * SAE, dropped likewise. Memory is the most the process ever had resident, after the first load, less what it had at the start. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "sae/sae.h"

static int read_all(const char *path, double *seconds, uint64_t *bytes)
{
	static char block[1 << 20];
	int fd = open(path, O_RDONLY);
	double began;
	ssize_t n;

	if (fd < 0)
		return -1;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	began = clock_now();
	for (*bytes = 0; (n = read(fd, block, sizeof(block))) > 0;)
		*bytes += (uint64_t)n;
	*seconds = clock_now() - began;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	char path[FILE_PATH_MAX];
	uint64_t before = cpu_memory_peak(), rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 3;
	error err = { 0 };

	if (argc < 3 || file_join(path, argv[1], argv[2], &err) < 0) {
		fprintf(stderr, "bench_load SAE FILE [ROUNDS]\n");
		return 2;
	}
	for (uint64_t i = 0; i < rounds; i++) {
		double reading = 0, began, loading;
		uint64_t bytes = 0, weights;
		sae_model *m = NULL;

		if (read_all(path, &reading, &bytes) < 0) {
			fprintf(stderr, "bench_load: cannot read '%s'\n", path);
			return 1;
		}
		began = clock_now();
		if (sae_model_load(&m, argv[1], &err) < 0) {
			fprintf(stderr, "bench_load: %s\n", err.msg);
			return 1;
		}
		loading = clock_now() - began;
		weights = 4 * ((uint64_t)m->d_sae * m->d_in * (m->W_enc != m->W_dec) +
		               (uint64_t)m->d_sae * m->d_out);
		printf("reading %.2f s (%.2f GB/s), loading %.2f s (%.2f GB/s), memory %.3f of the weights\n",
		       reading, (double)bytes / reading / 1e9, loading, (double)bytes / loading / 1e9,
		       (double)(cpu_memory_peak() - before) / (double)weights);
		sae_model_free(m);
	}
	return 0;
}
