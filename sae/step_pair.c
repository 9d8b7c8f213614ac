/* What a training step does for rows of several hook points: targets of a transcoder and its skip, the decoder rows of a
 * crosscoder. */
#include <math.h>

#include <cblas.h>

#include "sae/step.h"

/* ---- Targets and skip ------------------------------------------------------------------------------------------------ */

static size_t skip_blocks(const step *s)
{
	return (s->d_out + STEP_FEATURES - 1) / STEP_FEATURES;
}

int step_pair_init(step *s, error *err)
{
	s->grad_skip = arena_alloc(&s->mem, s->d_out, s->c.d * sizeof(float));
	s->skip_squares = arena_alloc(&s->mem, skip_blocks(s), sizeof(*s->skip_squares));
	return s->grad_skip && s->skip_squares ? 0 : error_nomem(err, "the skip's gradient");
}

void step_init_bias(step *s, const double *mean_x)
{
	size_t d = s->c.d;

	for (size_t f = 0; f < s->c.n_features; f++) {
		double pre = 0;

		for (size_t i = 0; i < d; i++)
			pre += mean_x[i] * (double)s->W_enc.w[f * d + i];
		s->b_enc.w[f] = (float)-pre;
	}
	s->fresh = false;
}

void step_pair_rows(step *s, step_tile *tile, size_t first, size_t end)
{
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, d_out = s->d_out;

	memset(tile->sum_x, 0, d_out * sizeof(double));
	tile->squares_x = 0;
	for (size_t t = first; t < end; t++) {
		float *y = s->y + t * d_out;

		k->scale(s->x + t * d, s->input_scale, d);
		k->center(y, y, 1, s->b_dec.w, d_out);
		k->add_f64(tile->sum_x, 1, y, d_out);
		tile->squares_x += k->sum_squares(y, d_out);
	}
	if (s->c.skip)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)(end - first), (blasint)d_out,
		            (blasint)d, -1, s->x + first * d, (blasint)d, s->W_skip.w, (blasint)d, 1,
		            s->y + first * d_out, (blasint)d_out);
}

/* Add to rows of W_skip's gradient what errors (batch, d_out) have of it: factor times the sum over the batch of errors times
 * inputs. */
static void add_skip(step *s, size_t first, size_t n, const float *errors, double factor, bool begin)
{
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)n, (blasint)s->c.d, (blasint)s->n,
	            (float)factor, errors + first, (blasint)s->d_out, s->x, (blasint)s->c.d, begin ? 0 : 1,
	            s->grad_skip + first * s->c.d, (blasint)s->c.d);
}

static void skip_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	const kernels *k = s->c.k_set;
	size_t first = i * STEP_FEATURES, n = s->d_out - first, d = s->c.d, at = first * d;

	(void)worker;
	n = n < STEP_FEATURES ? n : STEP_FEATURES;
	add_skip(s, first, n, s->c.prefixes.n ? step_prefix_errors(s, 0) : s->e, s->factor, true);
	if (s->c.prefixes.n && s->c.prefixes.empty)
		add_skip(s, first, n, s->y, s->factor, false);
	if (s->c.multi)
		add_skip(s, first, n, s->e_multi, s->factor_multi, false);
	s->skip_squares[i] = k->sum_squares(s->grad_skip + at, n * d);
	if (!s->optim)
		k->adam(s->W_skip.w + at, s->W_skip.m + at, s->W_skip.v + at, s->grad_skip + at, n * d,
		        &s->adam);
}

double step_pair_update(step *s)
{
	double squares = 0;

	pool_run(s->pool, skip_blocks(s), skip_task, s);
	for (size_t i = 0; i < skip_blocks(s); i++)
		squares += s->skip_squares[i];
	return squares;
}

/* ---- Crosscoder ------------------------------------------------------------------------------------------------------- */

void step_blocks_project(const step *s, float *grad, const float *row)
{
	const kernels *k = s->c.k_set;
	size_t d = s->d_out;
	double squares = k->sum_squares(row, d);

	if (squares > 0)
		k->axpy(grad, (float)(-(double)k->dot(grad, row, d) / squares), row, d);
}

double step_blocks_scale(const step *s, float *row)
{
	const kernels *k = s->c.k_set;
	double norms = parts_norm(row, s->d_out, s->c.blocks, k);

	if (norms > 0)
		k->scale(row, (float)(1 / norms), s->d_out);
	return norms > 0 ? norms : 1;
}
