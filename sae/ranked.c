/* The strongest of all products of two sets of rows: neighbours of decoder rows by cosine, logits of decoder directions.
 * Blocked GEMMs of fixed size, from which each row keeps its best; the whole product never exists. */
#include <cblas.h>
#include <math.h>

#include "sae/encode.h"
#include "sae/sae.h"

enum { RANK_ROWS = 128, RANK_COLUMNS = 1024 }; /* of a GEMM: recorded constants, results depend on them */

int sae_ranked_new(sae_ranked *r, uint32_t n_rows, uint32_t n, error *err)
{
	*r = (sae_ranked){ .n = n };
	r->ids = calloc((size_t)n_rows * n + 1, sizeof(*r->ids));
	r->values = calloc((size_t)n_rows * n + 1, sizeof(*r->values));
	if (r->ids && r->values)
		return 0;
	sae_ranked_free(r);
	return error_nomem(err, "ranked features");
}

void sae_ranked_free(sae_ranked *r)
{
	free(r->ids);
	free(r->values);
	*r = (sae_ranked){ 0 };
}

/* What the tasks of one block of columns share. Lists grow from one block to the next: `filled` entries are there. */
typedef struct ranking {
	const float *rows, *columns;          /* (n_rows, d), (n_columns, d) */
	uint32_t n_rows, n_columns, d, first; /* first: number of columns[0] */
	bool not_self;                        /* column i is row i: leave it out */
	sae_ranked *high, *low;               /* low: NULL, or the least values, least first */
	uint32_t *high_filled, *low_filled;   /* (n_rows) */
	float **products;                     /* a worker: (RANK_ROWS, RANK_COLUMNS) */
	struct logit_counts *counts;          /* (n_rows); NULL: no histograms */
} ranking;

/* Bins of a fixed width, chosen from a row's first products: 1/16 of their deviation, 16 deviations to each side. */
enum { FINE_BINS = 512, FINE_A_DEVIATION = 16 };
typedef struct logit_counts {
	float low, scale; /* bin = (x - low) * scale; scale 0: not begun */
	uint32_t counts[FINE_BINS];
} logit_counts;

static void begin_counts(logit_counts *c, const float *products, uint32_t n)
{
	double sum = 0, squares = 0, mean, deviation;

	for (uint32_t j = 0; j < n; j++) {
		sum += (double)products[j];
		squares += (double)products[j] * (double)products[j];
	}
	mean = sum / n;
	deviation = sqrt(fmax(squares / n - mean * mean, 0));
	if (!(deviation > 0))
		deviation = fmax(fabs(mean), 1);
	c->scale = (float)(FINE_A_DEVIATION / deviation);
	c->low = (float)(mean - FINE_BINS / (2.0 * FINE_A_DEVIATION) * deviation);
}

static void count_row(logit_counts *c, const float *products, uint32_t n)
{
	if (c->scale == 0)
		begin_counts(c, products, n);
	for (uint32_t j = 0; j < n; j++) {
		float at = (products[j] - c->low) * c->scale;

		c->counts[(int)(at < 0 ? 0 : at > FINE_BINS - 1 ? FINE_BINS - 1 : at)]++;
	}
}

/* As many fine bins together as give at most SAE_LOGIT_BINS. */
static void finish_counts(sae_logit_histogram *out, const logit_counts *c)
{
	uint32_t first = 0, last = FINE_BINS - 1, together;

	*out = (sae_logit_histogram){ .n = 1 };
	if (c->scale == 0)
		return;
	while (first < last && !c->counts[first])
		first++;
	while (last > first && !c->counts[last])
		last--;
	together = (last - first + SAE_LOGIT_BINS) / SAE_LOGIT_BINS;
	out->n = (last - first + together) / together;
	for (uint32_t i = first; i <= last; i++)
		out->counts[(i - first) / together] += c->counts[i];
	out->low = c->low + (float)first / c->scale;
	out->high = c->low + (float)(first + out->n * together) / c->scale;
}

/* sign 1: the largest first; -1: the least. Equal values: the lower id first, as ids come ascending. */
static void offer(sae_ranked *r, uint32_t *filled, uint32_t row, uint32_t id, float value, float sign)
{
	uint32_t *ids = r->ids + (size_t)row * r->n, i = filled[row];
	float *values = r->values + (size_t)row * r->n;

	if (i == r->n && !(sign * value > sign * values[i - 1]))
		return;
	if (i == r->n)
		i--;
	else
		filled[row]++;
	for (; i > 0 && sign * value > sign * values[i - 1]; i--) {
		ids[i] = ids[i - 1];
		values[i] = values[i - 1];
	}
	ids[i] = id;
	values[i] = value;
}

static void rank_row(const ranking *k, uint32_t row, uint32_t first, const float *products, uint32_t n)
{
	if (k->counts)
		count_row(&k->counts[row], products, n);
	for (uint32_t j = 0; j < n; j++) {
		uint32_t id = first + j;

		if (k->not_self && id == row)
			continue;
		offer(k->high, k->high_filled, row, id, products[j], 1);
		if (k->low)
			offer(k->low, k->low_filled, row, id, products[j], -1);
	}
}

static void rank_rows(void *payload, size_t i, unsigned worker)
{
	const ranking *k = payload;
	uint32_t from = (uint32_t)i * RANK_ROWS,
	         n = k->n_rows - from < RANK_ROWS ? k->n_rows - from : RANK_ROWS;
	float *out = k->products[worker];

	for (uint32_t c = 0; c < k->n_columns; c += RANK_COLUMNS) {
		uint32_t m = k->n_columns - c < RANK_COLUMNS ? k->n_columns - c : RANK_COLUMNS;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)m, (blasint)k->d, 1,
		            k->rows + (size_t)from * k->d, (blasint)k->d, k->columns + (size_t)c * k->d,
		            (blasint)k->d, 0, out, (blasint)m);
		for (uint32_t r = 0; r < n; r++)
			rank_row(k, from + r, k->first + c, out + (size_t)r * m, m);
	}
}

static int ranking_init(ranking *k, arena *mem, pool *p, error *err)
{
	encode_blas_single_threaded();
	k->high_filled = arena_alloc(mem, k->n_rows, sizeof(uint32_t));
	k->low_filled = arena_alloc(mem, k->n_rows, sizeof(uint32_t));
	k->products = arena_alloc(mem, pool_threads(p), sizeof(float *));
	if (!k->high_filled || !k->low_filled || !k->products)
		return error_nomem(err, "ranked features");
	for (unsigned w = 0; w < pool_threads(p); w++) {
		k->products[w] = arena_alloc(mem, (size_t)RANK_ROWS * RANK_COLUMNS, sizeof(float));
		if (!k->products[w])
			return error_nomem(err, "ranked features");
	}
	return 0;
}

static void run_ranking(ranking *k, pool *p)
{
	pool_run(p, (k->n_rows + RANK_ROWS - 1) / RANK_ROWS, rank_rows, k);
}

int sae_rank_cosines(sae_ranked *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                     uint32_t n, bool not_self, pool *p, error *err)
{
	uint32_t others = n_b - (not_self && n_b > 0), most = n < others ? n : others;
	sae_ranked found = { 0 };
	arena mem = ARENA_INIT;
	ranking k = {
		.rows = a, .columns = b, .n_rows = n_a, .n_columns = n_b, .d = d, .not_self = not_self
	};
	int rc = sae_ranked_new(&found, n_a, most, err);

	k.high = &found;
	if (rc == 0)
		rc = ranking_init(&k, &mem, p, err);
	if (rc == 0 && most > 0)
		run_ranking(&k, p);
	arena_clear(&mem);
	if (rc < 0)
		sae_ranked_free(&found);
	else
		*out = found;
	return rc;
}

int sae_rank_neighbours(sae_ranked *out, const sae_model *m, uint32_t n, pool *p, error *err)
{
	float *rows = sae_unit_rows(m->W_dec, m->d_sae, m->d_in);
	int rc = rows ? sae_rank_cosines(out, rows, m->d_sae, rows, m->d_sae, m->d_in, n, true, p, err)
	              : error_nomem(err, "ranked features");

	free(rows);
	return rc;
}

/* ---- Logits ---- */

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

/* Decoder rows times the norm's weight. */
static int scaled_rows(float **out, const sae_model *m, const sae_file *f, const sae_tensor *norm, arena *mem,
                       error *err)
{
	float *weight = arena_alloc(mem, m->d_in, sizeof(float));
	float *rows = arena_alloc(mem, (size_t)m->d_sae * m->d_in, sizeof(float));
	int rc;

	if (!weight || !rows)
		return error_nomem(err, "logits");
	rc = sae_file_read_f32(f, norm, 0, m->d_in, weight, err);
	for (size_t i = 0; rc == 0 && i < (size_t)m->d_sae * m->d_in; i++)
		rows[i] = m->W_dec[i] * weight[i % m->d_in];
	*out = rows;
	return rc;
}

static int rank_head(ranking *k, const sae_file *f, const sae_tensor *head, uint32_t n_vocab, float *block,
                     pool *p, progress *pr, error *err)
{
	int rc = 0;

	for (uint32_t v = 0; v < n_vocab && rc == 0; v += k->n_columns) {
		uint32_t n = n_vocab - v < 4 * RANK_COLUMNS ? n_vocab - v : 4 * RANK_COLUMNS;

		rc = sae_file_read_f32(f, head, (uint64_t)v * k->d, (uint64_t)n * k->d, block, err);
		k->columns = block;
		k->first = v;
		k->n_columns = n;
		if (rc == 0)
			run_ranking(k, p);
		if (pr)
			progress_update(pr, v + n, NULL);
	}
	return rc;
}

int sae_rank_logits(sae_ranked *top, sae_ranked *bottom, sae_logit_histogram *histograms, const sae_model *m,
                    const char *path, uint32_t n_vocab, uint32_t n, pool *p, progress *pr, error *err)
{
	uint32_t most = n < n_vocab ? n : n_vocab;
	sae_ranked high = { 0 }, low = { 0 };
	const sae_tensor *head, *norm;
	sae_file *f = NULL;
	arena mem = ARENA_INIT;
	float *rows = NULL, *block = arena_alloc(&mem, (size_t)4 * RANK_COLUMNS * m->d_in, sizeof(float));
	ranking k = { .n_rows = m->d_sae, .d = m->d_in, .high = &high, .low = &low };
	int rc = block ? sae_file_open(&f, path, err) : error_nomem(err, "logits");

	if (rc == 0)
		rc = find_head(&head, &norm, f, m->d_in, n_vocab, err);
	if (rc == 0)
		rc = scaled_rows(&rows, m, f, norm, &mem, err);
	if (rc == 0)
		rc = sae_ranked_new(&high, m->d_sae, most, err);
	if (rc == 0)
		rc = sae_ranked_new(&low, m->d_sae, most, err);
	if (rc == 0)
		rc = ranking_init(&k, &mem, p, err);
	if (rc == 0 && histograms) {
		k.counts = arena_alloc(&mem, m->d_sae, sizeof(*k.counts));
		rc = k.counts ? 0 : error_nomem(err, "histograms of logits");
	}
	k.rows = rows;
	if (rc == 0 && (most > 0 || histograms))
		rc = rank_head(&k, f, head, n_vocab, block, p, pr, err);
	for (uint32_t i = 0; rc == 0 && histograms && i < m->d_sae; i++)
		finish_counts(&histograms[i], &k.counts[i]);
	sae_file_close(f);
	arena_clear(&mem);
	if (rc < 0) {
		sae_ranked_free(&high);
		sae_ranked_free(&low);
		return rc;
	}
	*top = high;
	*bottom = low;
	return 0;
}
