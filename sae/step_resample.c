/* Dead features of the sparse step begun anew: see resample.h. */
#include <math.h>

#include "sae/resample.h"
#include "sae/step.h"

int step_resample_init(step *s, error *err)
{
	s->loss = arena_alloc(&s->mem, s->c.batch, 2 * sizeof(*s->loss));
	s->mean = arena_alloc(&s->mem, s->c.d, sizeof(*s->mean));
	s->chosen = arena_alloc(&s->mem, s->c.batch, sizeof(*s->chosen));
	return s->loss && s->mean && s->chosen ? 0 : error_nomem(err, "resampling");
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

static void begin_anew(step *s, const resample_batch *b, size_t f, size_t row, double encoder_scale,
                       double decoder_norm)
{
	size_t d = s->c.d, d_out = s->d_out;
	float *dec = s->W_dec.w + f * d_out;

	s->b_enc.w[f] = (float)resample_begin(s->W_enc.w + f * d, dec, b, row, encoder_scale, decoder_norm);
	if (s->c.blocks > 1)
		(void)step_blocks_scale(s, dec);
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
	const resample_batch b = { .k = k,
		                   .x = s->x,
		                   .e = s->e,
		                   .n = s->n,
		                   .d = s->c.d,
		                   .d_out = s->d_out,
		                   .pairs = s->c.d_out > 0,
		                   .loss = s->loss,
		                   .mean = s->mean };
	double enc = 0, dec = 0, rms;
	size_t n = 0, count, alive;

	for (uint32_t f = 0; f < s->c.n_features; f++) {
		if (s->silent[f] > silent) {
			s->dead[n++] = f;
			continue;
		}
		enc += sqrt(k->sum_squares(s->W_enc.w + f * s->c.d, s->c.d));
		dec += sqrt(k->sum_squares(s->W_dec.w + f * s->d_out, s->d_out));
	}
	alive = s->c.n_features - n;
	rms = resample_measure(&b);
	count = n < s->n ? n : s->n;
	if (!count || !alive || !(rms > 0))
		return 0;
	enc /= (double)alive;
	dec = b.pairs ? dec / (double)alive : 1; /* else they are held there */
	resample_choose(s->chosen, count, s->loss, s->n, seed, s->loss + s->n);
	for (size_t i = 0; i < count; i++)
		begin_anew(s, &b, s->dead[i], s->chosen[i], RESAMPLE_SHARE * enc / rms, dec);
	s->fresh = false;
	return count;
}
