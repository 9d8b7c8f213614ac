/* Where the weights of a dense step begin. */
#include <assert.h>
#include <math.h>

#include <cblas.h>

#include "sae/fit_control.h"

#define ENCODER_NORM 0.4 /* of its rows, as the sparse step's */
#define FEATURES     32  /* whose values on the sample are looked at together */

typedef struct starting {
	fit *s;
	uint64_t seed;
	const float *x;  /* (n, d_in) */
	size_t n, fires; /* rows; on how many a feature is to fire */
} starting;

/* Decoder rows in random directions with norm 1, encoder rows the same with norm ENCODER_NORM. */
static void directions_task(void *payload, size_t f, unsigned worker)
{
	const starting *call = payload;
	fit *s = call->s;
	size_t d = s->c.d_out;
	float *enc = s->param[FIT_W_ENC].w + f * d, *dec = s->param[FIT_W_DEC].w + f * d;

	(void)worker;
	fitter_random_row(dec, d, 1, call->seed, f);
	for (size_t i = 0; i < d; i++)
		enc[i] = (float)(dec[i] * ENCODER_NORM);
}

/* What a feature's pre-activation exceeds on so many rows of the sample. */
static void limits_task(void *payload, size_t i, unsigned worker)
{
	const starting *call = payload;
	fit *s = call->s;
	const kernels *k = s->c.k_set;
	size_t first = i * FEATURES, left = s->c.n_features - first, n = call->n, d = s->c.d_in;
	size_t n_block = left < FEATURES ? left : FEATURES;
	const float *enc = s->param[FIT_W_ENC].w + first * d;
	float *product = s->workers[worker].block;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n_block, (blasint)n, (blasint)d, 1, enc,
	            (blasint)d, call->x, (blasint)d, 0, product, (blasint)n);
	for (size_t j = 0; j < n_block; j++) {
		float *of = product + j * n, center = k->dot(enc + j * d, s->param[FIT_B_DEC].w, d), limit;

		for (size_t t = 0; t < n; t++)
			of[t] = of[t] > center ? of[t] - center : 0;
		limit = k->kth(of, n, call->fires);
		if (s->c.arch == FIT_JUMPRELU)
			s->param[FIT_THETA].w[first + j] =
			        s->c.log_theta ? logf(fmaxf(limit, FIT_LEAST)) : limit;
		else
			s->param[FIT_B_ENC].w[first + j] = -limit;
	}
}

void fit_start(fit *s, const sae_train_opts *o, uint64_t seed, const fitter_sample *sample)
{
	double share = o->penalty.start_l0 / o->d_sae, theta = o->penalty.threshold;
	starting call = { .s = s,
		          .seed = hash64_mix(seed, 0x77656967687473), /* "weights": a stream of its own */
		          .x = sample->x,
		          .n = sample->n < FIT_SAMPLE ? sample->n : FIT_SAMPLE };

	assert(s->c.d_in == s->c.d_out && s->c.centers); /* the encoder begins as the decoder */
	for (size_t i = 0; i < s->c.d_out; i++)
		s->param[FIT_B_DEC].w[i] = (float)sample->mean_y[i];
	pool_run(s->pool, s->c.n_features, directions_task, &call);
	for (size_t f = 0; f < s->c.n_features && s->param[FIT_THETA].w; f++)
		s->param[FIT_THETA].w[f] = (float)(s->c.log_theta ? log(theta) : theta);
	call.fires = (size_t)ceil(share * (double)call.n);
	if (share > 0 && call.fires < call.n)
		pool_run(s->pool, (s->c.n_features + FEATURES - 1) / FEATURES, limits_task, &call);
	s->fresh = false;
}
