/* Logits of decoder directions: the strongest, and the histogram of all. A block of features by the whole vocabulary at a time: its
 * products, then row by row what is kept of them. */
#include <cblas.h>
#include <math.h>

#include "sae/encode.h"
#include "sae/ranked.h"

enum {
	LOGIT_COLUMNS = 1024,
	LOGIT_ROWS = 512,
	LEAST_ROWS = 64
};                                /* of a GEMM: recorded constants, results depend on them */
enum { BLOCK_BYTES = 104 << 20 }; /* of a block's logits, if LEAST_ROWS fit */

static const char head_name[] = "lm_head.weight", norm_name[] = "norm.weight";

/* The head must be (V, d) with V >= n_vocab, the norm (d). */
static int find_head(const sae_tensor **head, const sae_tensor **norm, const sae_file *f, uint32_t d,
                     uint32_t n_vocab, error *err)
{
	const char *path = sae_file_path(f);

	*head = sae_file_tensor(f, head_name);
	*norm = sae_file_tensor(f, norm_name);
	if (!*head || !*norm)
		return error_set(err, ERR_FORMAT, "'%s': there is no tensor '%s'", path,
		                 *head ? norm_name : head_name);
	if ((*head)->n_dims != 2 || (*head)->dims[1] != d)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s': '%s' must be (vocabulary, %u) to go with the SAE, its last dimension is %llu",
		        path, head_name, d,
		        (unsigned long long)(*head)->dims[(*head)->n_dims ? (*head)->n_dims - 1 : 0]);
	if ((*norm)->n_dims != 1 || (*norm)->dims[0] != d)
		return error_set(err, ERR_FORMAT, "'%s': '%s' must have %u values, it has %llu", path,
		                 norm_name, d, (unsigned long long)(*norm)->count);
	if ((*head)->dims[0] < n_vocab)
		return error_set(err, ERR_FORMAT, "'%s': '%s' has %llu rows, the vocabulary %u tokens", path,
		                 head_name, (unsigned long long)(*head)->dims[0], n_vocab);
	return 0;
}

typedef struct worker {
	float *head;     /* (LOGIT_COLUMNS, d): what is read of it */
	uint32_t *pairs; /* (BINS, BINS) */
	error err;
} worker;

typedef struct logits {
	const sae_model *m;
	const sae_file *f;
	const sae_tensor *head;
	float *weight;           /* (d) */
	uint32_t n_vocab, block; /* block: rows of a block */
	/* The block of features at hand. */
	uint32_t first, n;
	float *rows;   /* (block, d): decoder rows times weight */
	float *values; /* (block, n_vocab) */
	ranked_lists high, low;
	sae_logit_histogram *histograms; /* (F); may be NULL */
	worker *workers;
} logits;

/* ---- The histogram of a row ---- */

enum { BINS = 64, HALF = 128 }; /* BINS: SAE_LOGIT_BINS, up to a power of two */

/* Values are counted two at a time in a table of pairs, which takes half as many steps. */
static void count_row(sae_logit_histogram *h, const kernels *k, const float *x, uint32_t n, uint32_t *pairs)
{
	float scale = SAE_LOGIT_BINS / (h->high - h->low);
	uint32_t at[HALF];

	if (!isfinite(scale))
		scale = 0; /* all are equal */
	memset(pairs, 0, BINS * BINS * sizeof(*pairs));
	for (uint32_t j = 0; j < n; j += 2 * HALF) {
		uint32_t left = n - j < 2 * HALF ? n - j : 2 * HALF, half = left / 2;

		k->pair_bins(at, x + j, x + j + half, half, h->low, scale, SAE_LOGIT_BINS - 1);
		for (uint32_t i = 0; i < half; i++)
			pairs[at[i]]++;
		if (left % 2) {
			k->pair_bins(at, x + n - 1, x + n - 1, 1, h->low, scale, SAE_LOGIT_BINS - 1);
			h->counts[at[0] % BINS]++;
		}
	}
	for (uint32_t a = 0; a < SAE_LOGIT_BINS; a++) {
		for (uint32_t b = 0; b < SAE_LOGIT_BINS; b++) {
			h->counts[a] += pairs[a + BINS * b];
			h->counts[b] += pairs[a + BINS * b];
		}
	}
}

/* ---- Blocks ---- */

static void product_task(void *payload, size_t i, unsigned worker_id)
{
	logits *l = payload;
	worker *w = &l->workers[worker_id];
	uint32_t from = (uint32_t)i * LOGIT_COLUMNS, d = l->m->d_out,
	         n = l->n_vocab - from < LOGIT_COLUMNS ? l->n_vocab - from : LOGIT_COLUMNS;

	if (w->err.code ||
	    sae_file_read_f32(l->f, l->head, (uint64_t)from * d, (uint64_t)n * d, w->head, &w->err) < 0)
		return;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)l->n, (blasint)n, (blasint)d, 1,
	            l->rows, (blasint)d, w->head, (blasint)d, 0, l->values + from, (blasint)l->n_vocab);
}

static void rank_task(void *payload, size_t i, unsigned worker_id)
{
	logits *l = payload;
	const float *values = l->values + i * l->n_vocab;
	uint32_t f = l->first + (uint32_t)i;

	ranked_offer(&l->high, &l->low, f, 0, values, l->n_vocab, RANKED_NO_ID);
	if (!l->histograms)
		return;
	l->histograms[f] = (sae_logit_histogram){ .low = l->low.r.values[(size_t)f * l->low.r.n],
		                                  .high = l->high.r.values[(size_t)f * l->high.r.n] };
	count_row(&l->histograms[f], l->high.k, values, l->n_vocab, l->workers[worker_id].pairs);
}

static int run_block(logits *l, pool *p, error *err)
{
	uint32_t d = l->m->d_out;

	for (uint32_t r = 0; r < l->n; r++) {
		const float *row = l->m->W_dec + (size_t)(l->first + r) * d;

		for (uint32_t i = 0; i < d; i++)
			l->rows[(size_t)r * d + i] = row[i] * l->weight[i];
	}
	pool_run(p, (l->n_vocab + LOGIT_COLUMNS - 1) / LOGIT_COLUMNS, product_task, l);
	for (unsigned w = 0; w < pool_threads(p); w++) {
		if (l->workers[w].err.code)
			return error_set(err, l->workers[w].err.code, "%s", l->workers[w].err.msg);
	}
	pool_run(p, l->n, rank_task, l);
	return 0;
}

static int allocate(logits *l, arena *mem, uint32_t n, pool *p, error *err)
{
	size_t d = l->m->d_out,
	       fit = BLOCK_BYTES / ((size_t)l->n_vocab * sizeof(float)) / LEAST_ROWS * LEAST_ROWS;
	bool good;
	int rc;

	l->block = fit < LEAST_ROWS ? LEAST_ROWS : fit > LOGIT_ROWS ? LOGIT_ROWS : (uint32_t)fit;
	l->workers = arena_alloc(mem, pool_threads(p), sizeof(*l->workers));
	l->weight = arena_alloc(mem, d, sizeof(float));
	l->rows = arena_alloc(mem, l->block * d, sizeof(float));
	l->values = arena_alloc(mem, (size_t)l->block * l->n_vocab, sizeof(float));
	good = l->workers && l->weight && l->rows && l->values;
	for (unsigned w = 0; good && w < pool_threads(p); w++) {
		l->workers[w].pairs = arena_alloc(mem, BINS * BINS, sizeof(uint32_t));
		l->workers[w].head = arena_alloc(mem, LOGIT_COLUMNS * d, sizeof(float));
		good = l->workers[w].pairs && l->workers[w].head;
	}
	if (!good)
		return error_nomem(err, "logits");
	rc = ranked_lists_init(&l->high, mem, l->m->d_sae, n, err);
	return rc < 0 ? rc : ranked_lists_init(&l->low, mem, l->m->d_sae, n, err);
}

int sae_rank_logits(sae_ranked *top, sae_ranked *bottom, sae_logit_histogram *histograms, const sae_model *m,
                    const char *path, uint32_t n_vocab, uint32_t n, pool *p, progress *pr, error *err)
{
	uint32_t most = n < n_vocab ? n : n_vocab;
	logits l = { .m = m, .n_vocab = n_vocab, .histograms = histograms };
	const sae_tensor *norm;
	sae_file *f = NULL;
	arena mem = ARENA_INIT;
	int rc = sae_file_open(&f, path, err);

	encode_blas_single_threaded();
	l.f = f;
	if (rc == 0)
		rc = find_head(&l.head, &norm, f, m->d_out, n_vocab, err);
	if (rc == 0)
		rc = allocate(&l, &mem, most ? most : 1, p,
		              err); /* the ends of a histogram are the first of the lists */
	if (rc == 0)
		rc = sae_file_read_f32(f, norm, 0, m->d_out, l.weight, err);
	for (; rc == 0 && l.first < m->d_sae; l.first += l.n) {
		l.n = m->d_sae - l.first < l.block ? m->d_sae - l.first : l.block;
		rc = run_block(&l, p, err);
		if (pr)
			progress_update(pr, l.first + l.n, NULL);
	}
	sae_file_close(f);
	arena_clear(&mem);
	if (rc < 0) {
		sae_ranked_free(&l.high.r);
		sae_ranked_free(&l.low.r);
		return rc;
	}
	*top = l.high.r;
	*bottom = l.low.r;
	top->n = bottom->n = most;
	return 0;
}
