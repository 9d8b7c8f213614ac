/* The strongest of all products of two sets of rows: neighbours of decoder rows by cosine. Blocked GEMMs of fixed size, from which
 * each row keeps its best; the whole product never exists. */
#include <cblas.h>
#include <math.h>

#include "sae/encode.h"
#include "sae/ranked.h"

enum { RANK_ROWS = 256, RANK_COLUMNS = 512 }; /* of a GEMM: recorded constants, results depend on them */

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

/* ---- Lists ---- */

int ranked_lists_init(ranked_lists *l, arena *mem, uint32_t n_rows, uint32_t n, error *err)
{
	l->k = kernels_get(NULL);
	l->filled = arena_alloc(mem, n_rows, sizeof(*l->filled));
	return l->filled ? sae_ranked_new(&l->r, n_rows, n, err) : error_nomem(err, "ranked features");
}

/* A value that passes the bar. sign 1: the largest first; -1: the least. */
static void offer(ranked_lists *l, uint32_t row, uint32_t id, float value, float sign)
{
	uint32_t *ids = l->r.ids + (size_t)row * l->r.n, i = l->filled[row];
	float *values = l->r.values + (size_t)row * l->r.n;

	if (i == l->r.n)
		i--;
	else
		l->filled[row]++;
	for (; i > 0 && sign * value > sign * values[i - 1]; i--) {
		ids[i] = ids[i - 1];
		values[i] = values[i - 1];
	}
	ids[i] = id;
	values[i] = value;
}

/* What a value must pass to get into a list. */
static float bar(const ranked_lists *l, uint32_t row, float sign)
{
	if (l->filled[row] < l->r.n)
		return -sign * INFINITY;
	return l->r.n > 0 ? l->r.values[(size_t)row * l->r.n + l->r.n - 1] : sign * INFINITY;
}

void ranked_offer(ranked_lists *high, ranked_lists *low, uint32_t row, uint32_t first, const float *values,
                  uint32_t n, uint32_t self)
{
	float over = bar(high, row, 1), under = low ? bar(low, row, -1) : -INFINITY;

	for (size_t i = 0; (i += high->k->outside(values + i, n - i, under, over)) < n; i++) {
		uint32_t id = first + (uint32_t)i;

		if (id == self)
			continue;
		if (values[i] > over) {
			offer(high, row, id, values[i], 1);
			over = bar(high, row, 1);
		}
		if (values[i] < under) {
			offer(low, row, id, values[i], -1);
			under = bar(low, row, -1);
		}
	}
}

/* ---- Cosines ---- */

typedef struct ranking {
	const float *rows, *columns; /* (n_rows, d), (n_columns, d) */
	uint32_t n_rows, n_columns, d;
	bool not_self; /* column i is row i: leave it out */
	ranked_lists lists;
	float **products; /* a worker: (RANK_ROWS, RANK_COLUMNS) */
} ranking;

static void rank_rows(void *payload, size_t i, unsigned worker)
{
	ranking *k = payload;
	uint32_t from = (uint32_t)i * RANK_ROWS,
	         n = k->n_rows - from < RANK_ROWS ? k->n_rows - from : RANK_ROWS;
	float *out = k->products[worker];

	for (uint32_t c = 0; c < k->n_columns; c += RANK_COLUMNS) {
		uint32_t m = k->n_columns - c < RANK_COLUMNS ? k->n_columns - c : RANK_COLUMNS;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)m, (blasint)k->d, 1,
		            k->rows + (size_t)from * k->d, (blasint)k->d, k->columns + (size_t)c * k->d,
		            (blasint)k->d, 0, out, (blasint)m);
		for (uint32_t r = 0; r < n; r++)
			ranked_offer(&k->lists, NULL, from + r, c, out + (size_t)r * m, m,
			             k->not_self ? from + r : RANKED_NO_ID);
	}
}

static int ranking_init(ranking *k, arena *mem, uint32_t n, pool *p, error *err)
{
	int rc = ranked_lists_init(&k->lists, mem, k->n_rows, n, err);

	encode_blas_single_threaded();
	k->products = arena_alloc(mem, pool_threads(p), sizeof(float *));
	if (rc == 0 && !k->products)
		rc = error_nomem(err, "ranked features");
	for (unsigned w = 0; w < pool_threads(p) && rc == 0; w++) {
		k->products[w] = arena_alloc(mem, (size_t)RANK_ROWS * RANK_COLUMNS, sizeof(float));
		if (!k->products[w])
			rc = error_nomem(err, "ranked features");
	}
	return rc;
}

int sae_rank_cosines(sae_ranked *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                     uint32_t n, bool not_self, pool *p, error *err)
{
	uint32_t others = n_b - (not_self && n_b > 0), most = n < others ? n : others;
	arena mem = ARENA_INIT;
	ranking k = {
		.rows = a, .columns = b, .n_rows = n_a, .n_columns = n_b, .d = d, .not_self = not_self
	};
	int rc = ranking_init(&k, &mem, most, p, err);

	if (rc == 0 && most > 0)
		pool_run(p, (k.n_rows + RANK_ROWS - 1) / RANK_ROWS, rank_rows, &k);
	arena_clear(&mem);
	if (rc < 0)
		sae_ranked_free(&k.lists.r);
	else
		*out = k.lists.r;
	return rc;
}

/* Decoder rows at norm 1. */
typedef struct unit_rows {
	const sae_model *m;
	float *rows;
} unit_rows;

static void unit_row(void *payload, size_t f, unsigned worker)
{
	const unit_rows *u = payload;
	size_t d = u->m->d_out;
	const float *from = u->m->W_dec + f * d;
	double squares = kernels_get(NULL)->sum_squares(from, d), norm = squares > 0 ? 1 / sqrt(squares) : 0;

	(void)worker;
	for (size_t i = 0; i < d; i++)
		u->rows[f * d + i] = (float)(from[i] * norm);
}

int sae_rank_neighbours(sae_ranked *out, const sae_model *m, uint32_t n, pool *p, error *err)
{
	unit_rows u = { m, mem_alloc_aligned((size_t)m->d_sae * m->d_out, sizeof(float)) };
	int rc;

	if (!u.rows)
		return error_nomem(err, "ranked features");
	pool_run(p, m->d_sae, unit_row, &u);
	rc = sae_rank_cosines(out, u.rows, m->d_sae, u.rows, m->d_sae, m->d_out, n, true, p, err);
	free(u.rows);
	return rc;
}
