/* The skip of a transcoder in the step with gradient buffers. */
#include <cblas.h>

#include "sae/fit.h"

void fit_skip_rows(fit *s, size_t i)
{
	const blasint d = (blasint)s->c.d_in, d_out = (blasint)s->c.d_out;
	size_t first = i * FIT_TOKENS, n = fit_tile_end(s, i) - first;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, d_out, d, -1,
	            s->x + first * s->c.d_in, d, s->param[FIT_W_SKIP].w, d, 1, s->e + first * s->c.d_out,
	            d_out);
}

/* FIT_FEATURES rows of W_skip's gradient. */
static void gradient_task(void *payload, size_t i, unsigned worker)
{
	fit *s = payload;
	size_t first = i * FIT_FEATURES, n = s->c.d_out - first, d = s->c.d_in;
	const float factor = (float)(-2 / (double)s->n * s->rate);
	const float *const errors[] = { s->e, s->c.detached ? NULL : s->e_gate };

	(void)worker;
	n = n < FIT_FEATURES ? n : FIT_FEATURES;
	for (size_t j = 0; j < ARRAY_LEN(errors) && errors[j]; j++)
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)n, (blasint)d, (blasint)s->n,
		            factor, errors[j] + first, (blasint)s->c.d_out, s->x, (blasint)d, j ? 1 : 0,
		            s->param[FIT_W_SKIP].g + first * d, (blasint)d);
}

void fit_skip_gradient(fit *s)
{
	pool_run(s->pool, (s->c.d_out + FIT_FEATURES - 1) / FIT_FEATURES, gradient_task, s);
}
