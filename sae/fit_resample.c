/* Dead features of the step with gradient buffers begun anew: see resample.h. */
#include <math.h>

#include "sae/fit.h"
#include "sae/resample.h"

int fit_resample_init(fit *s, error *err)
{
	s->loss = arena_alloc(&s->mem, s->c.batch, 2 * sizeof(*s->loss));
	s->chosen = arena_alloc(&s->mem, s->c.batch, sizeof(*s->chosen));
	s->silenced = arena_alloc(&s->mem, s->c.n_features, sizeof(*s->silenced));
	return s->loss && s->chosen && s->silenced ? 0 : error_nomem(err, "resampling");
}

/* Norms of the errors into s->loss; returns the root mean square norm of the inputs. */
static double measure(fit *s)
{
	const kernels *k = s->c.k_set;
	double squares = 0;

	for (size_t t = 0; t < s->n; t++) {
		s->loss[t] = sqrt(k->sum_squares(s->e + t * s->c.d_out, s->c.d_out));
		squares += k->sum_squares(s->x + t * s->c.d_in, s->c.d_in);
	}
	return sqrt(squares / (double)s->n);
}

static double norm_of(const fit *s, unsigned param, size_t f)
{
	const fit_param *p = &s->param[param];

	return sqrt(s->c.k_set->sum_squares(p->w + f * p->columns, p->columns));
}

/* Scalars of the feature at 0: biases, and the gate's scale, which is exp(0). */
static void begin_anew(fit *s, size_t f, size_t row, double encoder_scale, double decoder_norm)
{
	size_t d = s->c.d_in;
	const float *x = s->x + row * d;
	float *enc = s->param[FIT_W_ENC].w + f * d, *dec = s->param[FIT_W_DEC].w + f * d;
	double norm = sqrt(s->c.k_set->sum_squares(x, d));

	for (size_t i = 0; i < d; i++)
		enc[i] = (float)(encoder_scale * (double)x[i]);
	for (size_t i = 0; i < d && norm > 0; i++) /* a row of zeros has no direction: the old one stays */
		dec[i] = (float)(decoder_norm / norm * (double)x[i]);
	s->silent[f] = 0;
	for (unsigned i = 0; i < FIT_PARAMS; i++) {
		const fit_param *p = &s->param[i];

		if (!p->w || i == FIT_B_DEC)
			continue;
		if (p->columns == 1)
			p->w[f] = 0;
		optim_forget(s->optim, p->slot, f);
	}
}

size_t fit_resample(fit *s, uint64_t silent, uint64_t seed)
{
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
	rms = measure(s);
	count = n < s->n ? n : s->n;
	if (!count || !alive || !(rms > 0))
		return 0;
	enc /= (double)alive;
	dec /= (double)alive;
	resample_choose(s->chosen, count, s->loss, s->n, seed, s->loss + s->n);
	for (size_t i = 0; i < count; i++)
		begin_anew(s, s->silenced[i], s->chosen[i], RESAMPLE_SHARE * enc / rms, dec);
	s->fresh = false;
	return count;
}
