/* The one-to-one assignment of the rows of two matrices with the largest sum of cosines. */
#include <cblas.h>
#include <math.h>

#include "sae/encode.h"
#include "sae/sae.h"

enum { BLOCK_ROWS = 128, BLOCK_COLUMNS = 1024 }; /* of a GEMM: recorded constants, results depend on them */

/* ---- All cosines -------------------------------------------------------------------------------------------------- */

typedef struct cosines {
	const float *a, *b; /* unit rows (n_a, d), (n_b, d) */
	uint32_t n_a, n_b, d;
	float *cost;   /* (n_a, n_b): minus the cosines */
	bool absolute; /* minus their absolute values */
} cosines;

static void cost_task(void *payload, size_t i, unsigned worker)
{
	const cosines *c = payload;
	size_t from = i * BLOCK_ROWS, n = c->n_a - from < BLOCK_ROWS ? c->n_a - from : BLOCK_ROWS;

	(void)worker;
	for (uint32_t j = 0; j < c->n_b; j += BLOCK_COLUMNS) {
		uint32_t m = c->n_b - j < BLOCK_COLUMNS ? c->n_b - j : BLOCK_COLUMNS;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)m, (blasint)c->d,
		            -1, c->a + from * c->d, (blasint)c->d, c->b + (size_t)j * c->d, (blasint)c->d, 0,
		            c->cost + from * c->n_b + j, (blasint)c->n_b);
	}
	for (size_t k = from * c->n_b; k < (from + n) * c->n_b && c->absolute; k++)
		c->cost[k] = -fabsf(c->cost[k]);
}

/* ---- Assignment ----------------------------------------------------------------------------------------------------- */

#define NONE SAE_MATCH_NONE

/* Jonker and Volgenant's algorithm ("A shortest augmenting path algorithm for dense and sparse linear assignment problems",
 * Computing 38, 1987) for at most as many rows as columns: a start by row minima and two rounds of augmenting row reduction,
 * then a shortest augmenting path for each row that is still free. Columns that stay free have the price 0. */
typedef struct assignment {
	uint32_t rows, columns;
	const float *cost; /* (rows, columns) */
	double *price;     /* (columns), at most 0 */
	uint32_t *column_of, *row_of;
	uint32_t *free_rows, n_free;
	/* of one path */
	double *distance;
	uint32_t *from, *order; /* order: scanned, then to be scanned, then the rest */
} assignment;

static int assignment_init(assignment *s, arena *mem, error *err)
{
	s->price = arena_alloc(mem, s->columns, sizeof(*s->price));
	s->distance = arena_alloc(mem, s->columns, sizeof(*s->distance));
	s->row_of = arena_alloc(mem, s->columns, sizeof(*s->row_of));
	s->from = arena_alloc(mem, s->columns, sizeof(*s->from));
	s->order = arena_alloc(mem, s->columns, sizeof(*s->order));
	s->column_of = arena_alloc(mem, s->rows, sizeof(*s->column_of));
	s->free_rows = arena_alloc(mem, s->rows, sizeof(*s->free_rows));
	if (!s->price || !s->distance || !s->row_of || !s->from || !s->order || !s->column_of ||
	    !s->free_rows)
		return error_nomem(err, "an assignment");
	for (uint32_t j = 0; j < s->columns; j++)
		s->row_of[j] = NONE;
	return 0;
}

static double reduced(const assignment *s, uint32_t i, uint32_t j)
{
	return (double)s->cost[(size_t)i * s->columns + j] - s->price[j];
}

static void give(assignment *s, uint32_t row, uint32_t column)
{
	s->column_of[row] = column;
	s->row_of[column] = row;
}

/* Each row to its cheapest column, where that is free. */
static void start_greedily(assignment *s)
{
	for (uint32_t i = 0; i < s->rows; i++) {
		uint32_t best = 0;

		for (uint32_t j = 1; j < s->columns; j++)
			if (s->cost[(size_t)i * s->columns + j] < s->cost[(size_t)i * s->columns + best])
				best = j;
		if (s->row_of[best] == NONE)
			give(s, i, best);
		else
			s->free_rows[s->n_free++] = i;
	}
}

/* The two cheapest columns of a row; one column: the second is the first at an infinite cost. */
static void two_cheapest(const assignment *s, uint32_t row, uint32_t j[2], double c[2])
{
	j[0] = j[1] = 0;
	c[0] = c[1] = INFINITY;
	for (uint32_t k = 0; k < s->columns; k++) {
		double x = reduced(s, row, k);

		if (x < c[0]) {
			j[1] = j[0];
			c[1] = c[0];
			j[0] = k;
			c[0] = x;
		} else if (x < c[1]) {
			j[1] = k;
			c[1] = x;
		}
	}
}

/* Each free row takes its cheapest column and lowers its price to the second best; who had it is free, and next. */
static void reduce_rows(assignment *s)
{
	uint32_t n = s->n_free, k = 0;
	uint64_t budget =
	        16 * (uint64_t)s->rows; /* near ties may push each other out for long: paths end it faster */

	s->n_free = 0;
	while (k < n) {
		uint32_t row = s->free_rows[k++], j[2], before;
		double c[2];

		two_cheapest(s, row, j, c);
		before = s->row_of[j[0]];
		if (c[0] < c[1] && isfinite(c[1]))
			s->price[j[0]] -= c[1] - c[0];
		else if (before != NONE && isfinite(c[1])) {
			j[0] = j[1];
			before = s->row_of[j[0]];
		} else if (before != NONE) { /* a lone column that is taken */
			s->free_rows[s->n_free++] = row;
			continue;
		}
		give(s, row, j[0]);
		if (before == NONE)
			continue;
		if (c[0] < c[1] && budget > 0) {
			budget--;
			s->free_rows[--k] = before;
		} else {
			s->free_rows[s->n_free++] = before;
		}
	}
}

/* The columns at the least distance among order[up..] go to order[low..*up - 1]; a free one ends the path: returned. */
static uint32_t next_nearest(assignment *s, uint32_t *up)
{
	uint32_t low = *up;
	double least = s->distance[s->order[low]];

	*up = low + 1;
	for (uint32_t k = low + 1; k < s->columns; k++) {
		uint32_t j = s->order[k];
		double d = s->distance[j];

		if (d > least)
			continue;
		if (d < least) {
			*up = low;
			least = d;
		}
		s->order[k] = s->order[*up];
		s->order[(*up)++] = j;
	}
	for (uint32_t k = low; k < *up; k++)
		if (s->row_of[s->order[k]] == NONE)
			return s->order[k];
	return NONE;
}

/* Scan a column at distance `least`; a free column found at the same distance is returned. */
static uint32_t scan_column(assignment *s, uint32_t column, double least, uint32_t *up)
{
	uint32_t row = s->row_of[column];
	double base = reduced(s, row, column) - least;

	for (uint32_t k = *up; k < s->columns; k++) {
		uint32_t j = s->order[k];
		double d = reduced(s, row, j) - base;

		if (d >= s->distance[j])
			continue;
		s->distance[j] = d;
		s->from[j] = row;
		if (d > least)
			continue;
		if (s->row_of[j] == NONE)
			return j;
		s->order[k] = s->order[*up];
		s->order[(*up)++] = j;
	}
	return NONE;
}

static void augment(assignment *s, uint32_t row)
{
	uint32_t low = 0, up = 0, ready = 0, end = NONE, i;
	double least = 0;

	for (uint32_t j = 0; j < s->columns; j++) {
		s->order[j] = j;
		s->from[j] = row;
		s->distance[j] = reduced(s, row, j);
	}
	while (end == NONE) {
		if (low == up) {
			ready = low;
			end = next_nearest(s, &up);
			least = s->distance[s->order[low]];
		}
		while (end == NONE && low < up)
			end = scan_column(s, s->order[low++], least, &up);
	}
	for (uint32_t k = 0; k < ready; k++)
		s->price[s->order[k]] += s->distance[s->order[k]] - least;
	do { /* back along the path */
		uint32_t before;

		i = s->from[end];
		before = s->column_of[i];
		give(s, i, end);
		end = before;
	} while (i != row);
}

static void solve(assignment *s)
{
	for (uint32_t i = 0; i < s->rows; i++)
		s->column_of[i] = NONE;
	start_greedily(s);
	for (int round = 0; round < 2 && s->n_free; round++)
		reduce_rows(s);
	for (uint32_t k = 0; k < s->n_free; k++) {
		s->column_of[s->free_rows[k]] = NONE;
		augment(s, s->free_rows[k]);
	}
}

uint64_t sae_match_assign_bytes(uint32_t n_a, uint32_t n_b)
{
	return (uint64_t)n_a * n_b * sizeof(float);
}

static int assign_rows(uint32_t *b_of_a, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                       uint32_t d, bool absolute, pool *p, error *err)
{
	bool turned = n_a > n_b;
	cosines c = { .a = turned ? b : a,
		      .b = turned ? a : b,
		      .n_a = turned ? n_b : n_a,
		      .n_b = turned ? n_a : n_b,
		      .d = d,
		      .absolute = absolute };
	assignment s = { .rows = c.n_a, .columns = c.n_b };
	arena mem = ARENA_INIT;
	int rc = 0;

	c.cost = arena_alloc(&mem, (size_t)n_a * n_b, sizeof(*c.cost));
	s.cost = c.cost;
	if (!c.cost)
		rc = error_nomem(err, "all cosines of two sources");
	if (rc == 0)
		rc = assignment_init(&s, &mem, err);
	if (rc == 0) {
		encode_blas_single_threaded();
		pool_run(p, (c.n_a + BLOCK_ROWS - 1) / BLOCK_ROWS, cost_task, &c);
		solve(&s);
		memcpy(b_of_a, turned ? s.row_of : s.column_of, n_a * sizeof(*b_of_a));
	}
	arena_clear(&mem);
	return rc;
}

int sae_match_assign(uint32_t *b_of_a, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                     pool *p, error *err)
{
	return assign_rows(b_of_a, a, n_a, b, n_b, d, false, p, err);
}

int sae_match_assign_unsigned(uint32_t *b_of_a, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                              uint32_t d, pool *p, error *err)
{
	return assign_rows(b_of_a, a, n_a, b, n_b, d, true, p, err);
}
