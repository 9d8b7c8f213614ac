/* What is done to every feature: its share of the gradients, and its move. */
#include <math.h>

#include "sae/fit.h"

static size_t features_end(const fit *s, size_t block)
{
	size_t end = (block + 1) * FIT_FEATURES;

	return end < s->c.n_features ? end : s->c.n_features;
}

/* ---- What the weights say ------------------------------------------------------------------------------------------- */

static void refresh_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	const fit_param *theta = &s->param[FIT_THETA], *scale = &s->param[FIT_R_MAG];

	(void)worker;
	for (size_t f = i * FIT_FEATURES; f < features_end(s, i); f++) {
		if (!s->fresh) {
			s->norm[f] = (float)sqrt(
			        s->c.k_set->sum_squares(s->param[FIT_W_DEC].w + f * s->c.d_out, s->c.d_out));
			if (theta->w)
				s->theta[f] = s->c.log_theta ? expf(theta->w[f]) : theta->w[f];
			if (scale->w)
				s->scale[f] = expf(scale->w[f]);
		}
		s->low[f] = fit_low(&s->rule, f);
	}
}

void fit_refresh(fit *s)
{
	pool_run(s->pool, s->n_blocks, refresh_task, s);
	s->fresh = true;
}

/* ---- Gradients ------------------------------------------------------------------------------------------------------ */

static double sum_of(const fit *s, unsigned which, size_t f)
{
	double sum = 0;

	for (size_t i = 0; i < s->n_tiles; i++)
		sum += s->tiles[i].sums[which * s->c.n_features + f];
	return sum;
}

static double set(const fit *s, unsigned param, size_t f, double grad)
{
	s->param[param].g[f] = (float)grad;
	return grad * grad;
}

/* Returns the sum of squares of the gradients of what a feature has one of. */
static double finish_scalars(fit *s, size_t f)
{
	double squares;

	s->fires[f] = 0;
	for (size_t i = 0; i < s->n_tiles; i++)
		s->fires[f] += s->tiles[i].fires[f];
	squares = set(s, FIT_B_ENC, f, sum_of(s, s->c.arch == FIT_GATED ? FIT_BY_GATE : FIT_BY_PRE, f));
	if (s->c.arch == FIT_JUMPRELU)
		squares +=
		        set(s, FIT_THETA, f, sum_of(s, FIT_BY_OTHER, f) * (s->c.log_theta ? s->theta[f] : 1));
	if (s->c.arch != FIT_GATED)
		return squares;
	squares += set(s, FIT_B_MAG, f, sum_of(s, FIT_BY_OTHER, f));
	return squares + set(s, FIT_R_MAG, f, sum_of(s, FIT_BY_SCALE, f));
}

static void finish_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	fit_block *block = &s->blocks[i];
	const kernels *k = s->c.k_set;
	size_t d = s->c.d_out;

	(void)worker;
	memset(block->b_dec, 0, s->c.d_in * sizeof(double));
	block->squares = 0;
	for (size_t f = i * FIT_FEATURES; f < features_end(s, i); f++) {
		float *grad = s->param[FIT_W_DEC].g + f * d, *dec = s->param[FIT_W_DEC].w + f * d;
		double by_pre = sum_of(s, FIT_BY_PRE, f);

		if (s->c.centers && by_pre != 0)
			k->add_f64(block->b_dec, by_pre, s->param[FIT_W_ENC].w + f * s->c.d_in, s->c.d_in);
		if (s->c.by_norm && s->norm[f] > 0)
			k->axpy(grad, (float)sum_of(s, FIT_BY_NORM, f) / s->norm[f], dec, d);
		if (s->c.unit_decoder)
			k->axpy(grad, -k->dot(grad, dec, d), dec, d);
		block->squares += k->sum_squares(grad, d) + finish_scalars(s, f) +
		                  k->sum_squares(s->param[FIT_W_ENC].g + f * s->c.d_in, s->c.d_in);
	}
}

/* b_dec gets the errors and, through the encoder, minus each gradient by a product times its encoder row. */
static double finish_b_dec(fit *s, double factor)
{
	const fit_tile *all = &s->tiles[0];
	float *grad = s->param[FIT_B_DEC].g;
	double squares = 0;

	memset(s->through, 0, s->c.d_in * sizeof(*s->through));
	for (size_t b = 0; b < s->n_blocks; b++)
		for (size_t i = 0; i < s->c.d_in; i++)
			s->through[i] += s->blocks[b].b_dec[i];
	for (size_t i = 0; i < s->c.d_out; i++) {
		double g = factor * (all->sum_e[i] + (s->c.detached ? 0 : all->sum_gate[i]));

		g -= s->c.centers ? s->through[i] : 0;
		squares += g * g;
		grad[i] = (float)g;
	}
	return squares;
}

void fit_finish(fit *s, double factor, fit_result *r)
{
	double squares = 0;

	pool_run(s->pool, s->n_blocks, finish_task, s);
	for (size_t b = 0; b < s->n_blocks; b++)
		squares += s->blocks[b].squares;
	squares += finish_b_dec(s, factor);
	r->grad_norm = sqrt(squares) * s->rate;
	if (s->c.clip > 0 && r->grad_norm > s->c.clip)
		s->rate *= s->c.clip / r->grad_norm;
}

/* ---- Moving --------------------------------------------------------------------------------------------------------- */

static void move(fit *s, unsigned param, size_t first, size_t end)
{
	fit_param *p = &s->param[param];
	size_t at = first * p->columns, n = (end - first) * p->columns;

	if (!p->w)
		return;
	if (s->rate != 1)
		s->c.k_set->scale(p->g + at, (float)s->rate, n);
	s->c.k_set->adam(p->w + at, p->m + at, p->v + at, p->g + at, n, &s->adam);
}

static void move_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	const kernels *k = s->c.k_set;
	size_t first = i * FIT_FEATURES, end = features_end(s, i), d = s->c.d_out;

	(void)worker;
	for (unsigned p = 0; p < FIT_PARAMS; p++)
		if (p != FIT_B_DEC)
			move(s, p, first, end);
	for (size_t f = first; f < end; f++) {
		float *dec = s->param[FIT_W_DEC].w + f * d, *theta = s->param[FIT_THETA].w;
		double norm = s->c.unit_decoder ? sqrt(k->sum_squares(dec, d)) : 0;

		if (norm > 0)
			k->scale(dec, (float)(1 / norm), d);
		if (theta && !s->c.log_theta && !(theta[f] > 0))
			theta[f] = 0;
	}
}

void fit_move(fit *s, double lr)
{
	const fit_config *c = &s->c;
	double t = (double)++s->t;

	s->adam = (adam_coef){ .beta1 = (float)c->beta1,
		               .beta2 = (float)c->beta2,
		               .rest1 = (float)(1 - c->beta1),
		               .rest2 = (float)(1 - c->beta2),
		               .step = (float)(lr / (1 - pow(c->beta1, t))),
		               .root = (float)(1 / sqrt(1 - pow(c->beta2, t))),
		               .eps = (float)c->eps };
	pool_run(s->pool, s->n_blocks, move_task, s);
	move(s, FIT_B_DEC, 0, 1);
	s->fresh = false;
}
