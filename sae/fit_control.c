/* The search for a target L0, and p-anneal's p. */
#include <math.h>

#include "sae/fit_control.h"
#include "sae/train_internal.h"

/* Of the steps in which p falls, as dictionary_learning has it: it would be p_end after the last. */
#define P_PARTS 9

/* off is log(L0 / target). Every step all limits are raised so that log L0 falls by BACK * off and by its drift: a running mean of how it
 * would have changed of itself, by gradients. How far to raise: beyond its limit a pre-activation falls off about as exp(-h / over), so
 * that by `over` L0 falls by e. The coefficient goes on as long as there is a drift, and so takes the work over from the limits, which
 * in the end stand still. */
#define BACK       0.5
#define LEARN      0.3
#define GAIN       0.25
#define OFF_MOST   1.0
#define DRIFT_MOST 0.3
#define BY_MOST    0.5

bool sae_penalty_fits(sae_arch arch, sae_penalty kind)
{
	if (arch != SAE_RELU && arch != SAE_PANNEAL && arch != SAE_GATED && arch != SAE_JUMPRELU)
		return false;
	if (kind == SAE_PENALTY_DEFAULT)
		return true;
	return kind >= SAE_PENALTY_LP ? arch == SAE_PANNEAL : arch == SAE_JUMPRELU;
}

/* Where the search for the coefficient begins. */
static double first_coef(const sae_train_opts *o)
{
	switch (o->arch) {
	case SAE_JUMPRELU:
		return 1;
	default:
		return 2;
	}
}

void train_plan_penalty(sae_train_opts *o)
{
	sae_penalty_opts *p = &o->penalty;
	bool quadratic = p->kind == SAE_PENALTY_QUADRATIC || p->kind == SAE_PENALTY_QUADRATIC_MEAN;

	if (p->kind == SAE_PENALTY_DEFAULT && o->arch == SAE_JUMPRELU)
		p->kind = SAE_PENALTY_STEP;
	if (p->kind == SAE_PENALTY_DEFAULT && o->arch == SAE_PANNEAL)
		p->kind = SAE_PENALTY_LP;
	if (!(p->target_l0 > 0) && (quadratic || !(p->coef > 0)))
		p->target_l0 = fmin(32, o->d_sae);
	if (p->target_l0 >= 1)
		o->k = (uint32_t)llround(p->target_l0);
	if (o->k < 1 || o->k > o->d_sae)
		o->k = o->d_sae;
	if (!(p->coef > 0))
		p->coef = first_coef(o);
	if (p->start_l0 == 0)
		p->start_l0 = p->target_l0 > 0 && !(p->threshold > 0) ? fmin(2 * p->target_l0, o->d_sae) : -1;
	if (!(p->bandwidth > 0))
		p->bandwidth = 0.5;
	if (!(p->threshold > 0))
		p->threshold = 0.1;
}

void fit_control_start(fit_control *c, const sae_train_opts *o)
{
	*c = (fit_control){ .log_coef = log(o->penalty.coef), .scale = 1 };
}

static bool searches(const sae_train_opts *o)
{
	return o->penalty.target_l0 > 0 && o->penalty.kind != SAE_PENALTY_QUADRATIC &&
	       o->penalty.kind != SAE_PENALTY_QUADRATIC_MEAN;
}

/* How many updates of p come before a step: the parts begin at the share anneal_from of the steps, and p falls after each but the last. */
static double updates_at(const sae_train_opts *o, uint64_t step)
{
	double from = o->penalty.anneal_from * (double)o->steps, every = ((double)o->steps - from) / P_PARTS;

	if (o->arch != SAE_PANNEAL || (double)step - 1 <= from)
		return 0;
	return fmin(P_PARTS - 1, ceil(((double)step - 1 - from) / every) - 1);
}

static double p_after(const sae_train_opts *o, double updates)
{
	return 1 - (1 - o->penalty.p_end) * updates / P_PARTS;
}

fit_now fit_control_now(const fit_control *c, const sae_train_opts *o, const fitter_now *now)
{
	fit_now n = { .lr = now->lr,
		      .coef = exp(c->log_coef) * c->scale * now->sparsity,
		      .preact = o->penalty.preact,
		      .p = p_after(o, c->updates) };

	if (o->arch == SAE_PANNEAL && c->updates < P_PARTS - 1)
		n.next_p = p_after(o, c->updates + 1);
	return n;
}

static double mean(const double *v, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i];
	return sum / (double)n;
}

/* Before p changes, the coefficient is multiplied so that the penalty of the last batches stays what it was. */
static void anneal(fit_control *c, const sae_train_opts *o, uint64_t next_step, const fit_result *r)
{
	size_t at = (size_t)c->n_queue % FIT_CONTROL_QUEUE, n;

	c->queue[0][at] = r->penalty;
	c->queue[1][at] = r->next_penalty;
	c->n_queue++;
	if (updates_at(o, next_step) <= c->updates)
		return;
	n = c->n_queue < FIT_CONTROL_QUEUE ? (size_t)c->n_queue : FIT_CONTROL_QUEUE;
	if (mean(c->queue[1], n) > 0 && mean(c->queue[0], n) > 0)
		c->scale *= mean(c->queue[0], n) / mean(c->queue[1], n);
	c->updates++;
	c->n_queue = 0;
}

static double within(double v, double most)
{
	return fmax(-most, fmin(most, v));
}

double fit_control_learn(fit_control *c, const sae_train_opts *o, const fitter_now *now, const fit_result *r)
{
	double off;

	if (o->arch == SAE_PANNEAL && c->updates < P_PARTS - 1)
		anneal(c, o, now->step + 1, r);
	if (!searches(o))
		return 0;
	off = within(log(fmax(r->l0 / o->penalty.target_l0, 1e-3)), OFF_MOST);
	if (r->over > 0)
		c->over = r->over; /* where nothing fired, what it was */
	if (now->step > 1)
		c->drift += LEARN * (off - c->last + c->by - c->drift);
	c->drift = within(c->drift, DRIFT_MOST);
	c->by = within(BACK * off + c->drift, BY_MOST);
	c->last = off;
	c->log_coef += GAIN * c->drift;
	return c->by * c->over;
}
