/* Schedules: see schedule.h. */
#include "sae/schedule.h"

#include <math.h>

#define K_EXPONENT 3.0 /* llamascopium's factor */

static double pi(void)
{
	return acos(-1);
}

/* From 1 at 0 to 0 at 1. */
static double half_cosine(double t)
{
	return 0.5 * (1 + cos(pi() * t));
}

/* s - 1 where warm-ups are late: 0 at the first step. */
static uint64_t risen(const sae_train_opts *o, uint64_t s)
{
	return s - (o->warmup_late && s > 0);
}

static double warmup(const sae_train_opts *o, uint64_t s)
{
	double t = (double)risen(o, s) / (double)o->warmup;

	if (o->warmup_cosine)
		t = 1 - half_cosine(t);
	return o->warmup_from > 0 ? o->warmup_from + (1 - o->warmup_from) * t : t;
}

/* Of the last `n` steps: a line that would reach the floor one step after the last. */
static double line_down(const sae_train_opts *o, uint64_t s, uint64_t n)
{
	double t = o->steps >= s ? (double)(o->steps - s + 1) / (double)n : 0;

	return o->lr_floor + (1 - o->lr_floor) * t;
}

static double cosine_down(const sae_train_opts *o, uint64_t s)
{
	double t = (double)(s - o->warmup - 1) / (double)(o->steps - o->warmup);

	return o->lr_floor + (1 - o->lr_floor) * half_cosine(fmin(t, 1));
}

static double cooldown(sae_cooldown shape, double t)
{
	if (shape == SAE_COOLDOWN_LINEAR)
		return 1 - t;
	if (shape == SAE_COOLDOWN_ROOT)
		return 1 - (1 / sqrt(1 + 10 * t) - 1) / (1 / sqrt(11.0) - 1);
	return half_cosine(t);
}

static double infinite(const sae_train_opts *o, uint64_t s)
{
	double rest = o->lr_constant, t;

	if (s <= o->warmup)
		return o->warmup ? warmup(o, s) : 1;
	if (s <= o->cooldown) {
		t = (double)(s - o->warmup) / (double)(o->cooldown - o->warmup);
		return rest + (1 - rest) * cooldown(o->cooldown_shape, t);
	}
	if (s <= o->anneal_from)
		return rest;
	if (s >= o->steps)
		return o->lr_floor;
	t = (double)(s - o->anneal_from) / (double)(o->steps - o->anneal_from);
	return rest * pow(o->lr_floor / rest, t);
}

double schedule_lr(const sae_train_opts *o, uint64_t s)
{
	uint64_t decay = (uint64_t)llround(o->decay * (double)o->steps);
	uint64_t since; /* the start, or features were begun anew */
	double lr = o->lr;

	if (o->schedule == SAE_SCHEDULE_INFINITE)
		return lr * infinite(o, s);
	since = o->resample && s > o->resample ? (s - 1) % o->resample + 1 : s;
	if (risen(o, since) < o->warmup)
		lr *= warmup(o, since);
	if (o->schedule == SAE_SCHEDULE_WSD && o->steps - s < decay)
		lr *= line_down(o, s, decay);
	if (o->schedule == SAE_SCHEDULE_LINEAR && s > o->warmup)
		lr *= line_down(o, s, o->steps - o->warmup);
	if (o->schedule == SAE_SCHEDULE_COSINE && s > o->warmup)
		lr *= cosine_down(o, s);
	return lr;
}

double schedule_sparsity(const sae_train_opts *o, uint64_t s)
{
	s = risen(o, s);
	return s < o->sparsity_warmup ? (double)s / (double)o->sparsity_warmup : 1;
}

double schedule_k(const sae_train_opts *o, uint64_t s)
{
	double from = o->k_start, to = o->k, t;

	if (!o->k_start || s > o->k_anneal)
		return to;
	t = (double)(s - 1) / (double)o->k_anneal;
	switch (o->k_shape) {
	case SAE_K_EXPONENTIAL:
		return ceil(from + (to - from) * (1 - exp(-K_EXPONENT * t)) / (1 - exp(-K_EXPONENT)));
	case SAE_K_POWER:
		return floor(from + (to - from) * pow(t, 1 / o->k_power));
	default:
		return nearbyint(from * (1 - t) + to * t);
	}
}

void schedule_at(fitter_now *now, const sae_train_opts *o, uint64_t s)
{
	*now = (fitter_now){ .step = s,
		             .lr = schedule_lr(o, s),
		             .sparsity = schedule_sparsity(o, s),
		             .k = schedule_k(o, s),
		             .resample = o->resample && s % o->resample == 0 && s < o->steps };
}
