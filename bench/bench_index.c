/* What the token pass of gloss index costs against the yardstick: cblas_sgemm (4096, d) x (d, F) with OpenBLAS's own threads,
 * interleaved with the passes in this process. share: what the products of all rows would take / what the pass took.
 * Memory: of the pass beyond the weights and the dump, 10 KB a feature and 200 MB allowed.
 * usage: bench_index [--rounds N] [--threads N] [--samples N] SAE TOKENIZER STORE DUMP...      (STORE is made and removed) */
#include <unistd.h>

#include <cblas.h>

#include "bench/rows.h"
#include "cli/index_pass.h"

enum { BATCH = 4096, MAX_ROUNDS = 50, PRODUCTS = 5 };

typedef struct bench {
	const char *sae, *tokenizer_file, *store_file;
	const char *const *dump;
	size_t n_dump;
	uint32_t rounds, threads, samples;
	sae_model *model;
	sae_tokenizer *tokenizer;
	dump_input in;
	index_documents docs;
	float *x, *product; /* (BATCH, d), (BATCH, F) */
} bench;

/* OpenBLAS's own threads spin for some time after a call: they must be still before anything else is timed. */
static double yardstick(bench *b)
{
	const sae_model *m = b->model;
	double seconds[PRODUCTS];

	openblas_set_num_threads((int)b->threads);
	for (int i = 0; i < PRODUCTS; i++) {
		double start = clock_now();

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, BATCH, (blasint)m->d_sae,
		            (blasint)m->d_in, 1, b->x, (blasint)m->d_in, m->W_enc, (blasint)m->d_in, 0,
		            b->product, (blasint)m->d_sae);
		seconds[i] = clock_now() - start;
	}
	openblas_set_num_threads(1);
	usleep(60000);
	return bench_median(seconds, PRODUCTS, 1);
}

static int give_vocab(bench *b, store_index *ix, error *err)
{
	uint32_t n = sae_tokenizer_size(b->tokenizer);
	const char **bytes = malloc(n * sizeof(*bytes));
	uint32_t *length = malloc(n * sizeof(*length));
	int rc = bytes && length ? 0 : error_nomem(err, "the vocabulary");

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		size_t size = 0;

		bytes[i] = sae_tokenizer_bytes(b->tokenizer, i, &size);
		length[i] = (uint32_t)size;
	}
	if (rc == 0)
		rc = store_index_vocab(ix, "bench", n, bytes, length, err);
	free(bytes);
	free(length);
	return rc;
}

/* One pass, thrown away. seconds: of all, encoding, adding. */
static int one_pass(bench *b, store *s, double seconds[3], uint64_t *memory, error *err)
{
	uint64_t before;
	store_index_opts o = store_index_opts_default();
	index_pass_job job = { .add = index_pass_add, .n_vocab = sae_tokenizer_size(b->tokenizer) };
	index_pass_stats stats = { 0 };
	index_feed feed = { 0 };
	store_index *ix = NULL;
	progress pr;
	int rc;

	mem_trim();
	before = cpu_memory_anonymous();
	o.source = "bench";
	o.architecture = sae_arch_name(b->model->arch);
	o.d_in = b->model->d_in;
	o.n_features = b->model->d_sae;
	o.k = b->model->k;
	o.weights_sha256 = o.dump_sha256 = "";
	o.n_samples = b->samples;
	rc = store_index_begin(&ix, s, &o, err);
	if (rc == 0)
		rc = give_vocab(b, ix, err);
	job.payload = ix;
	progress_start(&pr, NULL, "index", "tokens", 0);
	seconds[0] = clock_now();
	if (rc == 0)
		rc = index_feed_sae(&feed, &b->in, b->model, NULL, err);
	if (rc == 0)
		rc = index_pass(&job, &feed, &b->docs, &stats, &pr, err);
	seconds[0] = clock_now() - seconds[0];
	seconds[1] = stats.encode_seconds;
	seconds[2] = stats.add_seconds;
	*memory = cpu_memory_anonymous() - before;
	progress_end(&pr);
	index_feed_close(&feed);
	store_index_abort(ix);
	return rc;
}

static int run(bench *b, error *err)
{
	double product[MAX_ROUNDS], pass[MAX_ROUNDS][3], share[MAX_ROUNDS];
	uint64_t n_rows = sae_dump_get_info(b->in.dump)->n_rows, memory = 0, held = 0;
	store *s = NULL;
	int rc = store_open(&s, b->store_file, STORE_CREATE, err);

	for (uint32_t r = 0; r < b->rounds && rc == 0; r++) {
		product[r] = yardstick(b);
		rc = one_pass(b, s, pass[r], &held, err);
		memory = held > memory ? held : memory;
		product[r] = (product[r] + yardstick(b)) / 2;
		share[r] = (double)n_rows / BATCH * product[r] / pass[r][0];
	}
	store_close(s);
	unlink(b->store_file);
	if (rc < 0)
		return rc;
	printf("F %u, d %u, k %u, %llu tokens, %u threads, %u samples, OpenBLAS %s\n", b->model->d_sae,
	       b->model->d_in, b->model->k, (unsigned long long)n_rows, b->threads, b->samples,
	       openblas_get_corename());
	printf("yardstick     %8.1f ms for %d rows\n", 1e3 * bench_median(product, b->rounds, 1), BATCH);
	printf("pass          %8.3f s, %.0f tokens/s\n", bench_median(pass[0], b->rounds, 3),
	       (double)n_rows / bench_median(pass[0], b->rounds, 3));
	printf("  encoding    %8.3f s\n", bench_median(pass[0] + 1, b->rounds, 3));
	printf("  adding      %8.3f s, beside it\n", bench_median(pass[0] + 2, b->rounds, 3));
	printf("share         %8.2f (%.2f to %.2f)\n", bench_median(share, b->rounds, 1), share[0],
	       share[b->rounds - 1]);
	printf("memory        %8.1f MB, allowed %.1f\n", (double)memory / 1e6,
	       (double)b->model->d_sae * 0.01 + 200);
	return 0;
}

static int load(bench *b, error *err)
{
	sae_rows_opts keep = { .max_norm_ratio = 10 };
	index_feed feed = { 0 };
	int rc = pool_new(&b->in.pool, b->threads, err);

	if (rc == 0)
		rc = sae_model_load(&b->model, b->sae, err);
	if (rc == 0)
		rc = sae_tokenizer_load(&b->tokenizer, b->tokenizer_file, err);
	if (rc == 0)
		rc = sae_dump_open(&b->in.dump, b->dump, b->n_dump, NULL, err);
	if (rc == 0)
		rc = sae_rows_scan(&b->in.rows, b->in.dump, &keep, false, b->in.pool, NULL, err);
	if (rc == 0)
		rc = index_feed_sae(&feed, &b->in, b->model, NULL, err);
	if (rc == 0)
		rc = index_documents_read(&b->docs, &feed, err);
	index_feed_close(&feed);
	if (rc < 0)
		return rc;
	b->x = mem_alloc_aligned(BATCH, b->model->d_in * sizeof(float));
	b->product = mem_alloc_aligned(BATCH, b->model->d_sae * sizeof(float));
	if (!b->x || !b->product)
		return error_nomem(err, "the yardstick");
	return sae_dump_read(b->in.dump, 0, BATCH, b->x, err);
}

/* (cli/cli.h has a struct option of its own, so no getopt.) */
static int parse(bench *b, int argc, char **argv)
{
	int i = 1;

	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		uint32_t n = (uint32_t)strtoul(argv[i + 1], NULL, 10);

		if (strcmp(argv[i], "--rounds") == 0)
			b->rounds = n < 1 ? 1 : n > MAX_ROUNDS ? MAX_ROUNDS : n;
		else if (strcmp(argv[i], "--threads") == 0)
			b->threads = n;
		else if (strcmp(argv[i], "--samples") == 0)
			b->samples = n;
		else
			return -1;
	}
	if (argc - i < 4)
		return -1;
	b->sae = argv[i];
	b->tokenizer_file = argv[i + 1];
	b->store_file = argv[i + 2];
	b->dump = (const char *const *)argv + i + 3;
	b->n_dump = (size_t)(argc - i - 3);
	return 0;
}

int main(int argc, char **argv)
{
	bench b = { .rounds = 5, .threads = 2, .samples = 160 };
	error err = { 0 };
	int rc;

	if (parse(&b, argc, argv) < 0) {
		fprintf(stderr, "usage: bench_index [--rounds N] [--threads N] [--samples N] SAE TOKENIZER "
		                "STORE DUMP...\n");
		return 2;
	}
	rc = load(&b, &err);
	if (rc == 0)
		rc = run(&b, &err);
	if (rc < 0)
		fprintf(stderr, "bench_index: %s\n", err.msg);
	index_documents_free(&b.docs);
	dump_input_close(&b.in);
	sae_tokenizer_free(b.tokenizer);
	sae_model_free(b.model);
	free(b.x);
	free(b.product);
	return rc < 0;
}
