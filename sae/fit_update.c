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
			s->norm[f] = (float)parts_norm(s->param[FIT_W_DEC].w + f * s->c.d_out, s->c.d_out,
			                               s->c.n_inputs, s->c.k_set);
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

static void set(const fit *s, unsigned param, size_t f, double grad)
{
	s->param[param].g[f] = (float)(grad * s->rate);
}

/* Gradients of what a feature has one of. */
static void finish_scalars(fit *s, size_t f)
{
	s->fires[f] = 0;
	for (size_t i = 0; i < s->n_tiles; i++)
		s->fires[f] += s->tiles[i].fires[f];
	set(s, FIT_B_ENC, f, sum_of(s, s->c.arch == FIT_GATED ? FIT_BY_GATE : FIT_BY_PRE, f));
	if (s->c.arch == FIT_JUMPRELU)
		set(s, FIT_THETA, f, sum_of(s, FIT_BY_OTHER, f) * (s->c.log_theta ? s->theta[f] : 1));
	if (s->c.arch != FIT_GATED)
		return;
	set(s, FIT_B_MAG, f, sum_of(s, FIT_BY_OTHER, f));
	set(s, FIT_R_MAG, f, sum_of(s, FIT_BY_SCALE, f));
}

static void finish_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	fit_block *block = &s->blocks[i];
	const kernels *k = s->c.k_set;
	size_t d = s->c.d_out;

	(void)worker;
	memset(block->b_dec, 0, s->c.d_in * sizeof(double));
	for (size_t f = i * FIT_FEATURES; f < features_end(s, i); f++) {
		float *grad = s->param[FIT_W_DEC].g + f * d, *dec = s->param[FIT_W_DEC].w + f * d;
		double by_pre = sum_of(s, FIT_BY_PRE, f);

		if (s->c.centers && by_pre != 0)
			k->add_f64(block->b_dec, by_pre, s->param[FIT_W_ENC].w + f * s->c.d_in, s->c.d_in);
		if (s->c.by_norm)
			parts_norm_gradient(grad, sum_of(s, FIT_BY_NORM, f), dec, d, s->c.n_inputs, k);
		if (s->rate != 1) {
			k->scale(grad, (float)s->rate, d);
			k->scale(s->param[FIT_W_ENC].g + f * s->c.d_in, (float)s->rate, s->c.d_in);
		}
		finish_scalars(s, f);
	}
}

/* b_dec gets the errors and, through the encoder, minus each gradient by a product times its encoder row. */
static void finish_b_dec(fit *s, double factor)
{
	const fit_tile *all = &s->tiles[0];

	memset(s->through, 0, s->c.d_in * sizeof(*s->through));
	for (size_t b = 0; b < s->n_blocks; b++)
		for (size_t i = 0; i < s->c.d_in; i++)
			s->through[i] += s->blocks[b].b_dec[i];
	for (size_t i = 0; i < s->c.d_out; i++) {
		double g = factor * (all->sum_e[i] + (s->c.detached ? 0 : all->sum_gate[i]));

		set(s, FIT_B_DEC, i, g - (s->c.centers ? s->through[i] : 0));
	}
}

void fit_finish(fit *s, double factor)
{
	pool_run(s->pool, s->n_blocks, finish_task, s);
	finish_b_dec(s, factor);
	if (s->c.skip)
		fit_skip_gradient(s);
}

/* ---- The optimiser -------------------------------------------------------------------------------------------------- */

int fit_optim_init(fit *s, error *err)
{
	optim_param params[FIT_PARAMS];
	size_t n = 0;

	for (unsigned i = 0; i < FIT_PARAMS; i++) {
		fit_param *p = &s->param[i];

		if (!p->w)
			continue;
		p->slot = n;
		params[n++] = (optim_param){ .name = fit_param_names[i],
			                     .w = p->w,
			                     .grad = p->g,
			                     .rows = p->rows,
			                     .columns = p->columns,
			                     .lr_factor = i == FIT_THETA ? s->c.theta_lr : 1,
			                     .matrix = i == FIT_W_ENC || i == FIT_W_DEC || i == FIT_W_SKIP,
			                     .unit_rows = i == FIT_W_DEC && s->c.unit_decoder,
			                     .parts = i == FIT_W_DEC ? s->c.n_inputs : 0 };
	}
	return optim_new(&s->optim, &s->c.optim, params, n, s->pool, err);
}
