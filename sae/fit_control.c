/* The search for a target L0, and p-anneal's p. */
#include <math.h>

#include "sae/fit_control.h"
#include "sae/train_internal.h"

/* Of the steps in which p falls, as dictionary_learning has it: it would be p_end after the last. */
#define P_PARTS 9

/* off is log(L0 / target), AHEAD steps on by its running slope: L0 follows the coefficient late. log coef moves by (GAIN + GAIN_RUN /
 * steps) off a step, cut to 1 either way; ALONG times a running mean of it, cut to CUT, is added. Of relu and gated less in runs of under
 * ALONG_STEPS: L0 rises while they begin to learn, and a coefficient driven up by that shrinks what they have for the rest of the run. */
#define AHEAD       10
#define GAIN        0.01
#define GAIN_RUN    3
#define ALONG       1.0
#define CUT         1.5
#define ALONG_STEPS 1000
#define FORGET      0.2

bool sae_penalty_fits(sae_arch arch, sae_penalty kind)
{
	if (arch != SAE_RELU && arch != SAE_PANNEAL && arch != SAE_GATED && arch != SAE_JUMPRELU)
		return false;
	if (kind == SAE_PENALTY_DEFAULT)
		return true;
	return kind >= SAE_PENALTY_LP ? arch == SAE_PANNEAL : arch == SAE_JUMPRELU;
}

/* Where the search for the coefficient begins: it is by the squared error, of L1 over the values. */
static double first_coef(const sae_train_opts *o)
{
	return o->arch == SAE_JUMPRELU ? o->row_unit * o->row_unit : 2 * o->row_unit;
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
		p->bandwidth = 0.5 * o->row_unit;
	if (!(p->threshold > 0))
		p->threshold = 0.1 * o->row_unit;
	if (!(p->threshold_lr > 0))
		p->threshold_lr = p->log_threshold ? 20 : 20 * o->row_unit;
	if (!(p->tanh_scale > 0))
		p->tanh_scale = 4 / o->row_unit;
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

static double along_of(const sae_train_opts *o)
{
	bool shrinks = o->arch == SAE_RELU || o->arch == SAE_GATED;

	return shrinks && o->steps < ALONG_STEPS ? ALONG * (double)o->steps / ALONG_STEPS : ALONG;
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
	double along = searches(o) ? along_of(o) * fmax(-CUT, fmin(CUT, c->smooth)) : 0;
	fit_now n = { .lr = now->lr,
		      .coef = exp(c->log_coef + along) * c->scale * now->sparsity,
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

/* Before p changes, the coefficient is multiplied so that the penalty of the last batches stays what it was. As in the tool, that is the
 * last batches since p began to fall, also those before the last change of p. */
static void anneal(fit_control *c, const sae_train_opts *o, uint64_t step, const fit_result *r)
{
	size_t at = (size_t)c->n_queue % FIT_CONTROL_QUEUE, n;

	if ((double)step - 1 <= o->penalty.anneal_from * (double)o->steps)
		return;
	c->queue[0][at] = r->penalty;
	c->queue[1][at] = r->next_penalty;
	c->n_queue++;
	if (updates_at(o, step + 1) <= c->updates)
		return;
	n = c->n_queue < FIT_CONTROL_QUEUE ? (size_t)c->n_queue : FIT_CONTROL_QUEUE;
	if (mean(c->queue[1], n) > 0 && mean(c->queue[0], n) > 0)
		c->scale *= mean(c->queue[0], n) / mean(c->queue[1], n);
	c->updates++;
}

void fit_control_learn(fit_control *c, const sae_train_opts *o, const fitter_now *now, const fit_result *r)
{
	double l0, off;

	if (o->arch == SAE_PANNEAL && c->updates < P_PARTS - 1)
		anneal(c, o, now->step, r);
	if (!searches(o))
		return;
	l0 = log(fmax(r->l0 / o->penalty.target_l0, 1e-3));
	c->slope += now->step > 1 ? FORGET * (l0 - c->last - c->slope) : 0;
	c->last = l0;
	if (now->sparsity < 1)
		return;
	off = l0 + AHEAD * c->slope;
	c->smooth += FORGET * (off - c->smooth);
	c->log_coef += (GAIN + GAIN_RUN / (double)o->steps) * fmax(-1, fmin(1, off));
}
