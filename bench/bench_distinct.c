/* A large dump of distinct rows from a small one: its rows again and again, every value multiplied by a random number of its
 * own from 0.95 to 1.05, as F16 safetensors shards of about 512 MB.
 * usage: bench_distinct DUMP OUT_DIR BYTES */
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

enum { ROWS = 4096 };

#define SHARD_BYTES (UINT64_C(512) << 20)

typedef struct source {
	sae_dump *dump;
	uint64_t n_rows, next; /* next: rows given so far, which is also what makes them distinct */
	uint32_t d, ctx_len;
	float *x;       /* (ROWS, d) */
	uint16_t *half; /* (ROWS, d) */
} source;

static void perturb(float *x, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i += 4) {
		uint64_t bits = hash64_mix(seed, i);

		for (size_t k = 0; k < 4 && i + k < n; k++)
			x[i + k] *= 0.95F + 0.1F / 65536 * (float)(bits >> 16 * k & 0xffff);
	}
}

/* The next n <= ROWS rows into s->half. */
static int next_rows(source *s, uint64_t n, error *err)
{
	for (uint64_t done = 0, take; done < n; done += take, s->next += take) {
		uint64_t at = s->next % s->n_rows;
		int rc;

		take = n - done < s->n_rows - at ? n - done : s->n_rows - at;
		rc = sae_dump_read(s->dump, at, take, s->x + done * s->d, err);
		if (rc < 0)
			return rc;
	}
	perturb(s->x, n * s->d, s->next);
	sae_f32_to_f16(s->half, s->x, n * s->d);
	return 0;
}

static int write_shard(source *s, const char *path, uint64_t contexts, error *err)
{
	uint64_t rows = contexts * s->ctx_len, bytes = rows * s->d * sizeof(uint16_t), length;
	char header[256];
	file_writer w = { 0 };
	int n = snprintf(
	        header, sizeof(header),
	        "{\"activations\":{\"dtype\":\"F16\",\"shape\":[%llu,%u,%u],\"data_offsets\":[0,%llu]}}",
	        (unsigned long long)contexts, s->ctx_len, s->d, (unsigned long long)bytes);
	int rc = file_writer_open(&w, path, err);

	for (; n % 8; n++)
		header[n] = ' ';
	length = (uint64_t)n;
	if (rc == 0)
		rc = file_writer_add(&w, &length, sizeof(length), err);
	if (rc == 0)
		rc = file_writer_add(&w, header, length, err);
	for (uint64_t done = 0; done < rows && rc == 0; done += ROWS) {
		uint64_t take = rows - done < ROWS ? rows - done : ROWS;

		rc = next_rows(s, take, err);
		if (rc == 0)
			rc = file_writer_add(&w, s->half, take * s->d * sizeof(uint16_t), err);
	}
	if (rc == 0)
		rc = file_writer_commit(&w, err);
	file_writer_abort(&w);
	return rc;
}

static int make(source *s, const char *path, const char *out, uint64_t bytes, error *err)
{
	uint64_t context, shard = 0;
	int rc = sae_dump_open(&s->dump, &path, 1, NULL, err);

	if (rc == 0)
		rc = file_mkdir(out, err);
	if (rc < 0)
		return rc;
	s->n_rows = sae_dump_get_info(s->dump)->n_rows;
	s->d = sae_dump_get_info(s->dump)->d_in;
	s->ctx_len = sae_dump_get_info(s->dump)->ctx_len;
	s->x = mem_alloc_aligned(ROWS, s->d * sizeof(float));
	s->half = mem_alloc_aligned(ROWS, s->d * sizeof(uint16_t));
	if (!s->x || !s->half)
		return error_nomem(err, "rows");
	context = (uint64_t)s->ctx_len * s->d * sizeof(uint16_t);
	for (uint64_t left = bytes / context; left > 0 && rc == 0; shard++) {
		uint64_t take = SHARD_BYTES / context + 1 < left ? SHARD_BYTES / context + 1 : left;
		char name[64], file[FILE_PATH_MAX];

		snprintf(name, sizeof(name), "acts-%05u.safetensors", (unsigned)shard);
		rc = file_join(file, out, name, err);
		if (rc == 0)
			rc = write_shard(s, file, take, err);
		left -= take;
	}
	return rc;
}

int main(int argc, char **argv)
{
	source s = { 0 };
	error err = { 0 };
	uint64_t bytes = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
	int rc;

	if (!bytes) {
		fprintf(stderr, "usage: bench_distinct DUMP OUT_DIR BYTES\n");
		return 2;
	}
	rc = make(&s, argv[1], argv[2], bytes, &err);
	if (rc < 0)
		fprintf(stderr, "bench_distinct: %s\n", err.msg);
	sae_dump_close(s.dump);
	free(s.x);
	free(s.half);
	return rc < 0;
}
