/* Dead features of the step with gradient buffers begun anew: see resample.h. */
#include <math.h>

#include "sae/fit.h"
#include "sae/resample.h"

int fit_resample_init(fit *s, error *err)
{
	s->loss = arena_alloc(&s->mem, s->c.batch, 2 * sizeof(*s->loss));
	s->mean = arena_alloc(&s->mem, s->c.d_in, sizeof(*s->mean));
	s->chosen = arena_alloc(&s->mem, s->c.batch, sizeof(*s->chosen));
	s->silenced = arena_alloc(&s->mem, s->c.n_features, sizeof(*s->silenced));
	return s->loss && s->mean && s->chosen && s->silenced ? 0 : error_nomem(err, "resampling");
}

static double norm_of(const fit *s, unsigned param, size_t f)
{
	const fit_param *p = &s->param[param];

	return sqrt(s->c.k_set->sum_squares(p->w + f * p->columns, p->columns));
}

/* Where the threshold of a feature is to begin: as at the start of a run where that share of the batch fires, else where all do. */
static double first_threshold(fit *s, size_t f)
{
	const kernels *k = s->c.k_set;
	const float *enc = s->param[FIT_W_ENC].w + f * s->c.d_in, bias = s->param[FIT_B_ENC].w[f];
	size_t fires = (size_t)ceil(s->c.start_share * (double)s->n);
	float *h = s->workers[0].gather;

	if (!(s->c.start_share > 0) || fires >= s->n)
		return s->c.start_theta;
	for (size_t t = 0; t < s->n; t++)
		h[t] = fmaxf(k->dot(s->x + t * s->c.d_in, enc, s->c.d_in) + bias, 0);
	return (double)k->kth(h, s->n, fires);
}

/* Biases by resample.h, the gate's scale exp(0), thresholds as above. */
static void begin_anew(fit *s, const resample_batch *b, size_t f, size_t row, double encoder_scale,
                       double decoder_norm)
{
	const fit_param *p = s->param;
	double bias = resample_begin(p[FIT_W_ENC].w + f * s->c.d_in, p[FIT_W_DEC].w + f * s->c.d_out, b, row,
	                             encoder_scale, decoder_norm);

	p[FIT_B_ENC].w[f] = (float)bias;
	if (s->c.arch == FIT_GATED) {
		p[FIT_B_MAG].w[f] = (float)bias;
		p[FIT_R_MAG].w[f] = 0;
	}
	if (s->c.arch == FIT_JUMPRELU) {
		float theta = (float)first_threshold(s, f);

		p[FIT_THETA].w[f] = s->c.log_theta ? logf(fmaxf(theta, FIT_LEAST)) : theta;
	}
	s->silent[f] = 0;
	for (unsigned i = 0; i < FIT_PARAMS; i++)
		if (p[i].w && i != FIT_B_DEC && i != FIT_W_SKIP)
			optim_forget(s->optim, p[i].slot, f);
}

size_t fit_resample(fit *s, uint64_t silent, uint64_t seed)
{
	const resample_batch b = { .k = s->c.k_set,
		                   .x = s->x,
		                   .e = s->e,
		                   .n = s->n,
		                   .d = s->c.d_in,
		                   .d_out = s->c.d_out,
		                   .pairs = s->y != NULL,
		                   .loss = s->loss,
		                   .mean = s->mean };
	double enc = 0, dec = 0, rms;
	size_t n = 0, count, alive;

	for (uint32_t f = 0; f < s->c.n_features; f++) {
		if (s->silent[f] > silent) {
			s->silenced[n++] = f;
			continue;
		}
		enc += norm_of(s, FIT_W_ENC, f);
		dec += norm_of(s, FIT_W_DEC, f);
	}
	alive = s->c.n_features - n;
	rms = resample_measure(&b);
	count = n < s->n ? n : s->n;
	if (!count || !alive || !(rms > 0))
		return 0;
	enc /= (double)alive;
	dec /= (double)alive;
	resample_choose(s->chosen, count, s->loss, s->n, seed, s->loss + s->n);
	for (size_t i = 0; i < count; i++)
		begin_anew(s, &b, s->silenced[i], s->chosen[i], RESAMPLE_SHARE * enc / rms, dec);
	s->fresh = false;
	return count;
}
