/* Where the weights of a dense step begin. */
#include <math.h>

#include <cblas.h>

#include "sae/fit_control.h"

#define ENCODER_NORM 0.4 /* of its rows, as the sparse step's */
#define FEATURES     32  /* whose values on the sample are looked at together */

typedef struct starting {
	fit *s;
	uint64_t seed;
	const float *x; /* (n, d_in) */
	const float *y; /* (n, d_out) */
	const double *mean_x, *mean_y;
	bool pairs, normal;      /* there are targets; fitter_random_row() */
	size_t n, fires;         /* rows; on how many a feature is to fire */
	double encoder, decoder; /* norms of rows */
} starting;

/* Rows in random directions, the encoder's the decoder's; of a crosscoder, the norms of a decoder row's parts add up to what is asked,
 * and the encoder row is as much longer. */
static void directions_task(void *payload, size_t f, unsigned worker)
{
	const starting *call = payload;
	fit *s = call->s;
	size_t d = s->c.d_out;
	float *enc = s->param[FIT_W_ENC].w + f * d, *dec = s->param[FIT_W_DEC].w + f * d;
	double norm = 1;

	(void)worker;
	fitter_random_row(dec, d, call->decoder, call->normal, call->seed, f);
	if (s->c.n_inputs > 1)
		norm = parts_norm(dec, d, s->c.n_inputs, s->c.k_set) / call->decoder;
	fitter_random_row(enc, d, call->encoder * norm, call->normal, call->seed, f);
	if (s->c.n_inputs > 1)
		s->c.k_set->scale(dec, (float)(1 / norm), d);
}

/* With targets: encoder rows in random directions, biases so that the mean row has pre-activations 0, decoder rows with norm 1 in
 * directions of their own; W_skip stays 0. */
static void pair_task(void *payload, size_t f, unsigned worker)
{
	const starting *call = payload;
	fit *s = call->s;
	size_t d = s->c.d_in;
	float *enc = s->param[FIT_W_ENC].w + f * d, *bias = s->param[FIT_B_ENC].w;
	double mean = 0;

	(void)worker;
	fitter_random_row(enc, d, call->encoder, call->normal, call->seed, f);
	fitter_random_row(s->param[FIT_W_DEC].w + f * s->c.d_out, s->c.d_out, call->decoder, call->normal,
	                  hash64_mix(call->seed, 1), f);
	for (size_t i = 0; i < d; i++)
		mean += call->mean_x[i] * (double)enc[i];
	bias[f] = (float)-mean;
	if (s->param[FIT_B_MAG].w)
		s->param[FIT_B_MAG].w[f] = bias[f];
}

/* The decoder row in the direction of the targets, less their mean, of rows where the feature is over its limit; the stronger there
 * the more. Not of relu and p-anneal: docs/training.md has what was measured. */
static void turn_decoder(const starting *call, float *row, const float *value, float limit, float *sum)
{
	const kernels *k = call->s->c.k_set;
	size_t d = call->s->c.d_out;
	float all = 0, norm;

	memset(sum, 0, d * sizeof(*sum));
	for (size_t t = 0; t < call->n; t++)
		if (value[t] > limit) {
			k->axpy(sum, value[t] - limit, call->y + t * d, d);
			all += value[t] - limit;
		}
	for (size_t i = 0; i < d; i++)
		sum[i] -= all * (float)call->mean_y[i];
	norm = (float)sqrt(k->sum_squares(sum, d));
	for (size_t i = 0; i < d && norm > 0; i++)
		row[i] = sum[i] / norm * (float)call->decoder;
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
		float *of = product + j * n, *bias = s->param[FIT_B_ENC].w + first + j, limit;
		float center = s->c.centers ? k->dot(enc + j * d, s->param[FIT_B_DEC].w, d) : -*bias;

		for (size_t t = 0; t < n; t++)
			of[t] = of[t] > center ? of[t] - center : 0;
		limit = k->kth(of, n, call->fires);
		if (call->pairs && s->c.arch != FIT_RELU)
			turn_decoder(call, s->param[FIT_W_DEC].w + (first + j) * s->c.d_out, of, limit,
			             s->workers[worker].row);
		if (s->c.arch == FIT_JUMPRELU)
			s->param[FIT_THETA].w[first + j] =
			        s->c.log_theta ? logf(fmaxf(limit, FIT_LEAST)) : limit;
		else
			*bias -= limit;
	}
}

int fit_start(fit *s, const sae_train_opts *o, uint64_t seed, const fitter_sample *sample, error *err)
{
	double share = o->penalty.start_l0 / o->d_sae, theta = o->penalty.threshold;
	starting call = { .s = s,
		          .seed = hash64_mix(seed, 0x77656967687473), /* "weights": a stream of its own */
		          .x = sample->x,
		          .y = sample->y,
		          .mean_x = sample->mean_x,
		          .mean_y = sample->mean_y,
		          .pairs = o->transcodes,
		          .normal = o->normal_rows,
		          .n = sample->n < FIT_SAMPLE ? sample->n : FIT_SAMPLE,
		          .encoder = o->encoder_norm > 0 ? o->encoder_norm : ENCODER_NORM,
		          .decoder = o->penalty.decoder_norm > 0 ? o->penalty.decoder_norm : 1 };
	int rc;

	rc = fitter_start_bias(s->param[FIT_B_DEC].w, o->bias, sample, s->c.d_out, s->pool, err);
	if (rc < 0)
		return rc;
	pool_run(s->pool, s->c.n_features, call.pairs ? pair_task : directions_task, &call);
	for (size_t f = 0; f < s->c.n_features && s->param[FIT_THETA].w; f++)
		s->param[FIT_THETA].w[f] = (float)(s->c.log_theta ? log(theta) : theta);
	call.fires = (size_t)ceil(share * (double)call.n);
	if (share > 0 && call.fires < call.n)
		pool_run(s->pool, (s->c.n_features + FEATURES - 1) / FEATURES, limits_task, &call);
	s->fresh = false;
	return 0;
}
