/* Dead features of the sparse step begun anew: see resample.h. */
#include <math.h>

#include "sae/resample.h"
#include "sae/step.h"

int step_resample_init(step *s, error *err)
{
	s->loss = arena_alloc(&s->mem, s->c.batch, 2 * sizeof(*s->loss));
	s->chosen = arena_alloc(&s->mem, s->c.batch, sizeof(*s->chosen));
	return s->loss && s->chosen ? 0 : error_nomem(err, "resampling");
}

/* Rows of a batch as the features are to see them: norm of the errors into s->loss; returns the root mean square norm of the inputs. */
static double measure(step *s)
{
	const kernels *k = s->c.k_set;
	double squares = 0;

	for (size_t t = 0; t < s->n; t++) {
		s->loss[t] = sqrt(k->sum_squares(s->e + t * s->d_out, s->d_out));
		squares += k->sum_squares(s->x + t * s->c.d, s->c.d);
	}
	return sqrt(squares / (double)s->n);
}

static void forget_row(const step_param *p, size_t f, size_t d)
{
	if (p->m) {
		memset(p->m + f * d, 0, d * sizeof(float));
		memset(p->v + f * d, 0, d * sizeof(float));
	}
	if (p->m8) {
		memset(p->m8 + f * d, 0, d);
		memset(p->v8 + f * d, 0, d);
		memset(p->scales + f * ADAM8_SCALES(d), 0, ADAM8_SCALES(d) * sizeof(float));
	}
}

static void begin_anew(step *s, size_t f, size_t row, double encoder_scale)
{
	const kernels *k = s->c.k_set;
	size_t d = s->c.d, d_out = s->d_out;
	const float *x = s->x + row * d, *target = s->y + row * d_out;
	float *enc = s->W_enc.w + f * d, *dec = s->W_dec.w + f * d_out;
	double norm = sqrt(k->sum_squares(target, d_out));

	for (size_t i = 0; i < d; i++)
		enc[i] = (float)(encoder_scale * (double)x[i]);
	for (size_t i = 0; i < d_out && norm > 0;
	     i++) /* a row of zeros has no direction: the old one stays */
		dec[i] = (float)((double)target[i] / norm);
	if (s->c.blocks > 1)
		(void)step_blocks_scale(s, dec);
	s->b_enc.w[f] = 0;
	s->silent[f] = 0;
	if (s->optim) {
		step_optim_forget(s, f);
		return;
	}
	forget_row(&s->W_enc, f, d);
	forget_row(&s->W_dec, f, d_out);
	forget_row(&s->b_enc, f, 1);
}

size_t step_resample(step *s, uint64_t silent, uint64_t seed)
{
	const kernels *k = s->c.k_set;
	double alive = 0, rms;
	size_t n = 0, count;

	for (uint32_t f = 0; f < s->c.n_features; f++) {
		if (s->silent[f] > silent)
			s->dead[n++] = f;
		else
			alive += sqrt(k->sum_squares(s->W_enc.w + f * s->c.d, s->c.d));
	}
	rms = measure(s);
	count = n < s->n ? n : s->n;
	if (!count || n == s->c.n_features || !(rms > 0))
		return 0;
	alive /= (double)(s->c.n_features - n);
	resample_choose(s->chosen, count, s->loss, s->n, seed, s->loss + s->n);
	for (size_t i = 0; i < count; i++)
		begin_anew(s, s->dead[i], s->chosen[i], RESAMPLE_SHARE * alive / rms);
	s->fresh = false;
	return count;
}
