/* Newton's and Schulz's iteration, as Muon has it (Jordan 2024; sparsify's muon.py), in FP32. */
#include <math.h>

#include <cblas.h>

#include "sae/optim.h"

#define MUON_ROWS  64 /* of a task */
#define MUON_STEPS 5

typedef struct muon {
	const float *x;
	float *next, *gram, *square, *poly; /* gram, its square and the polynomial: (s, s) */
	size_t rows, columns, s;
	bool tall;
} muon;

static size_t rows_of(size_t n, size_t i)
{
	return n - i * MUON_ROWS < MUON_ROWS ? n - i * MUON_ROWS : MUON_ROWS;
}

/* Rows of x^T x where x is tall, of x x^T where it is wide. */
static void gram_task(void *payload, size_t i, unsigned worker)
{
	const muon *m = payload;
	size_t at = i * MUON_ROWS, n = rows_of(m->s, i);

	(void)worker;
	if (m->tall)
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)n, (blasint)m->s,
		            (blasint)m->rows, 1, m->x + at, (blasint)m->columns, m->x, (blasint)m->columns, 0,
		            m->gram + at * m->s, (blasint)m->s);
	else
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)m->s,
		            (blasint)m->columns, 1, m->x + at * m->columns, (blasint)m->columns, m->x,
		            (blasint)m->columns, 0, m->gram + at * m->s, (blasint)m->s);
}

static void poly_task(void *payload, size_t i, unsigned worker)
{
	static const float b = -4.7750f, c = 2.0315f;
	const muon *m = payload;
	size_t at = i * MUON_ROWS * m->s, n = rows_of(m->s, i);

	(void)worker;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)m->s, (blasint)m->s, 1,
	            m->gram + at, (blasint)m->s, m->gram, (blasint)m->s, 0, m->square + at, (blasint)m->s);
	for (size_t j = at; j < at + n * m->s; j++)
		m->poly[j] = b * m->gram[j] + c * m->square[j];
}

static void next_task(void *payload, size_t i, unsigned worker)
{
	static const float a = 3.4445f;
	const muon *m = payload;
	size_t at = i * MUON_ROWS, n = rows_of(m->rows, i), first = at * m->columns;

	(void)worker;
	memcpy(m->next + first, m->x + first, n * m->columns * sizeof(float));
	if (m->tall) /* the polynomial is symmetric */
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)m->s,
		            (blasint)m->s, 1, m->x + first, (blasint)m->s, m->poly, (blasint)m->s, a,
		            m->next + first, (blasint)m->s);
	else
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)m->columns,
		            (blasint)m->s, 1, m->poly + at * m->s, (blasint)m->s, m->x, (blasint)m->columns,
		            a, m->next + first, (blasint)m->columns);
}

float *optim_orthogonalise(float *x, float *other, float *gram, size_t rows, size_t columns, pool *p)
{
	size_t s = rows < columns ? rows : columns, n = rows * columns;
	muon m = { .gram = gram,
		   .square = gram + s * s,
		   .poly = gram + 2 * s * s,
		   .rows = rows,
		   .columns = columns,
		   .s = s,
		   .tall = rows > columns };
	double squares = 0;
	float by;

	for (size_t i = 0; i < n; i++)
		squares += (double)x[i] * (double)x[i];
	by = (float)(1 / (sqrt(squares) + 1e-7));
	for (size_t i = 0; i < n; i++)
		x[i] *= by;
	for (int step = 0; step < MUON_STEPS; step++) {
		float *next = step % 2 ? x : other;

		m.x = step % 2 ? other : x;
		m.next = next;
		pool_run(p, (s + MUON_ROWS - 1) / MUON_ROWS, gram_task, &m);
		pool_run(p, (s + MUON_ROWS - 1) / MUON_ROWS, poly_task, &m);
		pool_run(p, (rows + MUON_ROWS - 1) / MUON_ROWS, next_task, &m);
	}
	return MUON_STEPS % 2 ? other : x;
}
