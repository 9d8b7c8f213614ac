/* What each architecture does with one product of a row and an encoder row: its value, and its gradients. */
#include <math.h>

#include "sae/fit.h"

static size_t feature_of(const uint32_t *index, size_t first, size_t i)
{
	return index ? index[i] : first + i;
}

static bool in_band(const fit_rule *r, float h, float theta)
{
	return fabsf(h - theta) < 0.5f * (float)r->c->bandwidth;
}

/* The same of the penalty: with at_value it sees values, which are 0 where the feature is silent. */
static bool in_penalty_band(const fit_rule *r, float h, float theta)
{
	return in_band(r, r->c->at_value && h <= theta ? 0 : h, theta);
}

bool fit_wanted(const fit_rule *r, size_t j, float a)
{
	float h = a + r->bias[j];

	if (r->c->arch != FIT_JUMPRELU)
		return h > 0;
	return h > r->theta[j] || in_band(r, h, r->theta[j]) || in_penalty_band(r, h, r->theta[j]) ||
	       (r->dead && r->dead[j]);
}

float fit_low(const fit_rule *r, size_t j)
{
	float low = r->bias[j];

	if (r->c->arch == FIT_JUMPRELU)
		low += 0.5f * (float)r->c->bandwidth - r->theta[j];
	if ((r->dead && r->dead[j]) ||
	    (r->c->arch == FIT_JUMPRELU && r->c->at_value && in_band(r, 0, r->theta[j])))
		return INFINITY;
	return low + 1e-6f * (fabsf(r->bias[j]) + fabsf(low)); /* rounding must lose none */
}

/* ---- Values --------------------------------------------------------------------------------------------------------- */

static float power_of(float value, float p)
{
	return powf(fmaxf(value, FIT_LEAST), p);
}

static bool by_power(const fit_rule *r)
{
	return r->c->penalty == FIT_LP || r->c->penalty == FIT_LP_ROOT;
}

void fit_forward(const fit_rule *r, const uint32_t *index, size_t first, size_t n, const float *a, float *f,
                 float *gate, uint32_t *fires, fit_row *row)
{
	const bool powers = by_power(r);
	uint32_t l0 = 0;

	for (size_t i = 0; i < n; i++) {
		size_t j = feature_of(index, first, i);
		float h = a[i] + r->bias[j], value;

		if (r->c->arch == FIT_GATED) {
			float mag = a[i] * r->scale[j] + r->mag[j];

			gate[i] = h > 0 ? h : 0;
			value = h > 0 && mag > 0 ? mag : 0;
		} else if (r->c->arch == FIT_JUMPRELU) {
			value = h > r->theta[j] ? h : 0;
		} else {
			value = h > 0 ? h : 0;
		}
		f[i] = value;
		l0 += value > 0;
		fires[j] += value > 0;
		if (powers && value > 0) {
			row->sum += power_of(value * r->norm[j], r->p);
			row->next += r->next_p > 0 ? power_of(value * r->norm[j], r->next_p) : 0;
		}
	}
	row->l0 += l0;
}

/* ---- Gradients ------------------------------------------------------------------------------------------------------ */

/* The penalty's derivative by what it adds up, for all entries of a row. */
static float row_factor(const fit_rule *r, const fit_row *row)
{
	double t = r->c->target_l0;

	switch (r->c->penalty) {
	case FIT_LP:
		return r->coef * r->p;
	case FIT_LP_ROOT:
		return row->sum > 0 ? r->coef * powf(row->sum, 1 / r->p - 1) : 0;
	case FIT_TANH:
		return r->coef * (float)r->c->tanh_scale;
	case FIT_QUADRATIC:
		return r->coef * (float)(2 * (row->l0 / t - 1) / t);
	case FIT_QUADRATIC_MEAN:
		return r->coef * (float)(2 * (r->mean_l0 / t - 1) / t);
	default:
		return r->coef;
	}
}

typedef struct place {
	const fit_rule *r;
	float factor; /* row_factor() */
	float *sums;
	double penalty, preact;
} place;

static void add(const place *p, unsigned which, size_t j, float v)
{
	p->sums[which * p->r->n_features + j] += v;
}

static float relu_gradient(place *p, size_t j, float f, float dot)
{
	const fit_rule *r = p->r;
	float norm = r->norm[j], inner = p->factor, g;

	if (!(f > 0))
		return 0;
	if (by_power(r)) {
		inner *= power_of(f * norm, r->p - 1);
	} else {
		p->penalty += f * norm;
	}
	g = inner * norm - r->two * dot;
	add(p, FIT_BY_PRE, j, g);
	add(p, FIT_BY_NORM, j, inner * f);
	return g;
}

static float gated_gradient(place *p, size_t j, float a, float f, float dot, float dot_gate)
{
	const fit_rule *r = p->r;
	float gate = a + r->bias[j], by_gate, by_mag, g;

	if (!(gate > 0))
		return 0;
	p->penalty += gate * r->norm[j];
	by_gate = p->factor * r->norm[j] - r->two * dot_gate;
	by_mag = f > 0 ? -r->two * dot : 0;
	g = by_gate + by_mag * r->scale[j];
	add(p, FIT_BY_PRE, j, g);
	add(p, FIT_BY_NORM, j, p->factor * gate);
	add(p, FIT_BY_GATE, j, by_gate);
	add(p, FIT_BY_OTHER, j, by_mag);
	add(p, FIT_BY_SCALE, j, by_mag * a * r->scale[j]);
	return g;
}

static float jump_gradient(place *p, size_t j, float a, float f, float dot)
{
	const fit_rule *r = p->r;
	float h = a + r->bias[j], theta = r->theta[j], norm = r->norm[j], g = 0, by_value;
	bool on = h > theta, near = in_band(r, h, theta), counted = in_penalty_band(r, h, theta);

	if (on || near || counted) {
		by_value = -r->two * dot;
		if (r->c->penalty == FIT_TANH) {
			float t = tanhf((float)r->c->tanh_scale * f * norm), slope = p->factor * (1 - t * t);

			p->penalty += t;
			by_value += slope * norm;
			add(p, FIT_BY_NORM, j, slope * f);
		}
		g = on ? by_value : 0;
		if (near || counted) {
			float ste = ((near ? theta * by_value : 0) +
			             (counted && r->c->penalty != FIT_TANH ? p->factor : 0)) /
			            (float)r->c->bandwidth;

			add(p, FIT_BY_OTHER, j, -ste);
			g += r->c->ste_input ? ste : 0;
		}
	}
	if (r->dead && r->dead[j] && h < theta) {
		p->preact += (theta - h) * norm;
		g -= r->preact * norm;
		add(p, FIT_BY_OTHER, j, r->preact * norm);
		add(p, FIT_BY_NORM, j, r->preact * (theta - h));
	}
	if (g != 0)
		add(p, FIT_BY_PRE, j, g);
	return g;
}

void fit_backward(const fit_rule *r, const fit_row *row, const uint32_t *index, size_t first, size_t n,
                  const float *a, const float *f, const float *dot, const float *dot_gate, float *g,
                  float *sums, fit_losses *losses)
{
	place p = { .r = r, .factor = row_factor(r, row), .sums = sums };

	for (size_t i = 0; i < n; i++) {
		size_t j = feature_of(index, first, i);

		if (r->c->arch == FIT_GATED)
			g[i] = gated_gradient(&p, j, a[i], f[i], dot[i], dot_gate[i]);
		else if (r->c->arch == FIT_JUMPRELU)
			g[i] = jump_gradient(&p, j, a[i], f[i], dot[i]);
		else
			g[i] = relu_gradient(&p, j, f[i], dot[i]);
	}
	losses->penalty += p.penalty;
	losses->preact += p.preact;
}
