/* What the neighbours and logits of gloss index cost against the products they are made of: the same ones by cblas_sgemm alone,
 * with OpenBLAS's own threads, in calls of 1,024 features by all columns, interleaved in this process. ratio: ours / those.
 * usage: bench_ranked [--rounds N] [--threads N] [--features N] UNEMBED [SAE]
 * --threads 0: one thread, by CPU time, for a machine that others use too.
 * Without an SAE: --features (4608) random decoder rows. */
#include <math.h>
#include <time.h>
#include <unistd.h>

#include <cblas.h>

#include "bench/rows.h"

enum { ROWS = 1024, MAX_ROUNDS = 50, KEPT = 10 };

typedef struct bench {
	const char *unembed;
	uint32_t rounds, threads, n_vocab;
	bool cpu;
	sae_model *m;
	sae_logit_histogram *all; /* (F) */
	float *head;              /* (n_vocab, d) */
	float *product;           /* (ROWS, n_vocab or F) */
	pool *pool;
} bench;

static double now(const bench *b)
{
	struct timespec t;

	if (!b->cpu || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
		return clock_now();
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* All rows of W_dec with those of `columns` (n, d). OpenBLAS's own threads spin for some time after a call: they must be still
 * before anything else is timed. */
static double yardstick(bench *b, const float *columns, uint32_t n)
{
	const sae_model *m = b->m;
	double start;

	openblas_set_num_threads((int)b->threads);
	start = now(b);
	for (uint32_t f = 0; f < m->d_sae; f += ROWS) {
		uint32_t rows = m->d_sae - f < ROWS ? m->d_sae - f : ROWS;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)n,
		            (blasint)m->d_in, 1, m->W_dec + (size_t)f * m->d_in, (blasint)m->d_in, columns,
		            (blasint)m->d_in, 0, b->product, (blasint)n);
	}
	start = now(b) - start;
	openblas_set_num_threads(1);
	usleep(60000);
	return start;
}

static int neighbours(bench *b, error *err)
{
	sae_ranked near;
	int rc = sae_rank_neighbours(&near, b->m, KEPT, b->pool, err);

	if (rc == 0)
		sae_ranked_free(&near);
	return rc;
}

static int logits(bench *b, error *err)
{
	sae_ranked top, bottom;
	int rc = sae_rank_logits(&top, &bottom, b->all, b->m, b->unembed, b->n_vocab, KEPT, b->pool, NULL,
	                         err);

	if (rc == 0) {
		sae_ranked_free(&top);
		sae_ranked_free(&bottom);
	}
	return rc;
}

static int measure(bench *b, const char *what, int (*ours)(bench *b, error *err), const float *columns,
                   uint32_t n, error *err)
{
	double products[MAX_ROUNDS], seconds[MAX_ROUNDS], ratio[MAX_ROUNDS];
	double flops = 2.0 * b->m->d_sae * n * b->m->d_in;

	for (uint32_t r = 0; r < b->rounds; r++) {
		double start, before = yardstick(b, columns, n);
		int rc;

		start = now(b);
		rc = ours(b, err);
		seconds[r] = now(b) - start;
		if (rc < 0)
			return rc;
		products[r] = (before + yardstick(b, columns, n)) / 2;
		ratio[r] = seconds[r] / products[r];
	}
	printf("%-11s products %7.3f s (%.0f GFLOPS), ours %7.3f s, ratio %.2f\n", what,
	       bench_median(products, b->rounds, 1), flops / bench_median(products, b->rounds, 1) * 1e-9,
	       bench_median(seconds, b->rounds, 1), bench_median(ratio, b->rounds, 1));
	return 0;
}

/* Of width d, with Gaussian decoder rows. */
static int make_model(bench *b, uint32_t features, uint32_t d, error *err)
{
	int rc = sae_model_new(&b->m, SAE_TOPK, d, features, 1, err);

	for (size_t i = 0; rc == 0 && i < (size_t)features * d; i++)
		b->m->W_dec[i] = (float)(sqrt(-2 * log(1 - hash64_unit(hash64_mix(1, i)))) *
		                         cos(6.283185307 * hash64_unit(hash64_mix(2, i))));
	return rc;
}

static int load(bench *b, const char *sae, uint32_t features, error *err)
{
	sae_file *f = NULL;
	const sae_tensor *head = NULL;
	size_t widest;
	int rc = pool_new(&b->pool, b->threads, err);

	if (rc == 0)
		rc = sae_file_open(&f, b->unembed, err);
	if (rc == 0) {
		head = sae_file_tensor(f, "lm_head.weight");
		if (!head || head->n_dims != 2)
			rc = error_set(err, ERR_FORMAT, "'%s' has no lm_head.weight", b->unembed);
	}
	if (rc == 0)
		rc = sae ? sae_model_load(&b->m, sae, err)
		         : make_model(b, features, (uint32_t)head->dims[1], err);
	if (rc == 0) {
		b->n_vocab = (uint32_t)head->dims[0];
		widest = b->n_vocab > b->m->d_sae ? b->n_vocab : b->m->d_sae;
		b->head = mem_alloc_aligned(head->count, sizeof(float));
		b->all = mem_alloc_aligned(b->m->d_sae, sizeof(*b->all));
		b->product = mem_alloc_aligned(widest * ROWS, sizeof(float));
		rc = b->all && b->head && b->product
		             ? sae_file_read_f32(f, head, 0, head->count, b->head, err)
		             : error_nomem(err, "the yardstick");
	}
	sae_file_close(f);
	return rc;
}

int main(int argc, char **argv)
{
	bench b = { .rounds = 5, .threads = 2 };
	uint32_t features = 4608;
	error err = { 0 };
	int i = 1, rc;

	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		uint32_t n = (uint32_t)strtoul(argv[i + 1], NULL, 10);

		if (strcmp(argv[i], "--rounds") == 0)
			b.rounds = n < 1 ? 1 : n > MAX_ROUNDS ? MAX_ROUNDS : n;
		else if (strcmp(argv[i], "--threads") == 0)
			b.threads = n;
		else if (strcmp(argv[i], "--features") == 0)
			features = n;
	}
	if (i >= argc) {
		fprintf(stderr,
		        "usage: bench_ranked [--rounds N] [--threads N] [--features N] UNEMBED [SAE]\n");
		return 2;
	}
	b.cpu = b.threads == 0;
	b.threads = b.cpu ? 1 : b.threads;
	b.unembed = argv[i];
	rc = load(&b, i + 1 < argc ? argv[i + 1] : NULL, features, &err);
	if (rc == 0)
		printf("F %u, d %u, %u tokens, %u threads, OpenBLAS %s\n", b.m->d_sae, b.m->d_in, b.n_vocab,
		       b.threads, openblas_get_corename());
	if (rc == 0)
		rc = measure(&b, "neighbours", neighbours, b.m->W_dec, b.m->d_sae, &err);
	if (rc == 0)
		rc = measure(&b, "logits", logits, b.head, b.n_vocab, &err);
	if (rc < 0)
		fprintf(stderr, "bench_ranked: %s\n", err.msg);
	sae_model_free(b.m);
	free(b.all);
	free(b.head);
	free(b.product);
	pool_free(b.pool);
	return rc < 0;
}
