/* Rows as SynthSAEBench makes them (SAELens 6, version 2 of the benchmark): features fire by a power law, correlated by a Gaussian copula
 * of low rank; the first ones stand in trees, where a child fires only with its parent, at most one of siblings, with a value
 * scaled by the parent's. */
#include <math.h>
#include <stdlib.h>

#include "sae/synth_internal.h"

enum { TABLE = 97 }; /* of synth_normal_above() at -6, -6 + 1/8, ..., 6 */
static const double table_low = -6, table_step = 0.125, least_own = 0.01;

typedef struct hierarchy {
	uint32_t n_tree;              /* features in trees: the first ones */
	uint32_t *first, *n_children; /* (n_tree) children of a feature follow each other */
	double *bound;                /* (G) a normal variate over it fires */
	float *factor;                /* (G, rank) */
	double *own;                  /* (G) standard deviation of what factors do not explain */
	double above[TABLE];
} hierarchy;

/* ---- A row ---------------------------------------------------------------------------------------------------------------- */

/* Whether U < P(N > x), with the exact value only where the table does not settle it. */
static bool below_tail(const hierarchy *h, double u, double x)
{
	double at = (x - table_low) / table_step;

	if (at >= 0 && at < TABLE - 1) {
		size_t i = (size_t)at;

		if (u >= h->above[i])
			return false;
		if (u < h->above[i + 1])
			return true;
	}
	return u < synth_normal_above(x);
}

/* factors: (rank) normals of the row. */
static bool fires(const synth *s, uint32_t f, const double *factors, uint64_t seed)
{
	const hierarchy *h = s->state;
	const float *factor = h->factor + (size_t)f * s->o.rank;
	double common = 0;

	for (uint32_t i = 0; i < s->o.rank; i++)
		common += (double)factor[i] * factors[i];
	return below_tail(h, synth_unit(seed, f), (h->bound[f] - common) / h->own[f]);
}

/* The children of an active feature: those that fire, of several one by lot, and its value. */
static void draw_children(const synth *s, uint32_t parent, const double *factors, uint64_t seed,
                          double *value, synth_row *out)
{
	const hierarchy *h = s->state;
	uint32_t begin = out->n, lot;

	for (uint32_t c = h->first[parent]; c < h->first[parent] + h->n_children[parent]; c++) {
		float own = fires(s, c, factors, seed) ? synth_value(s, c, hash64_mix(seed, UINT64_MAX)) : 0;

		if (own > 0) {
			out->index[out->n] = c;
			out->value[out->n++] = (float)((double)own * value[parent] / (double)s->mean[parent]);
		}
	}
	if (out->n == begin)
		return;
	lot = begin +
	      (uint32_t)hash64_below(hash64_mix(hash64_mix(seed, UINT64_MAX - 1), parent), out->n - begin);
	out->index[begin] = out->index[lot];
	out->value[begin] = out->value[lot];
	out->n = begin + 1;
	value[out->index[begin]] = (double)out->value[begin];
}

static void draw_alone(const synth *s, uint32_t from, uint32_t to, const double *factors, uint64_t seed,
                       synth_row *out)
{
	for (uint32_t f = from; f < to; f++) {
		float own = fires(s, f, factors, seed) ? synth_value(s, f, hash64_mix(seed, UINT64_MAX)) : 0;

		if (own > 0) {
			out->index[out->n] = f;
			out->value[out->n++] = own;
		}
	}
}

/* Children come behind their parents and in their order, so features come out ascending. */
static void draw_hierarchy(const synth *s, uint64_t row, synth_row *out)
{
	const hierarchy *h = s->state;
	uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_ROWS), row);
	double *value = out->scratch, *factors = value + s->n_features;
	uint32_t roots = s->o.roots < h->n_tree ? s->o.roots : h->n_tree;

	for (uint32_t i = 0; i < s->o.rank; i++)
		factors[i] = synth_normal(hash64_mix(seed, UINT64_MAX - 2), i);
	draw_alone(s, 0, roots, factors, seed, out);
	for (uint32_t i = 0; i < out->n; i++)
		value[out->index[i]] = (double)out->value[i];
	for (uint32_t i = 0; i < out->n; i++) /* grows by the children of those that are there */
		if (out->index[i] < h->n_tree && h->n_children[out->index[i]])
			draw_children(s, out->index[i], factors, seed, value, out);
	draw_alone(s, h->n_tree, s->n_features, factors, seed, out);
}

/* ---- Before the first row ------------------------------------------------------------------------------------------------------- */

/* Trees level by level, until the features are used up. */
static int make_trees(synth *s, hierarchy *h, error *err)
{
	uint32_t n = s->n_features, next = s->o.roots < n ? s->o.roots : n, level = 0;

	h->first = arena_alloc(&s->mem, n, sizeof(*h->first));
	h->n_children = arena_alloc(&s->mem, n, sizeof(*h->n_children));
	s->parent = arena_alloc(&s->mem, n, sizeof(*s->parent));
	if (!h->first || !h->n_children || !s->parent)
		return error_nomem(err, "trees of features");
	for (uint32_t f = 0; f < n; f++)
		s->parent[f] = -1;
	for (uint32_t depth = 0; depth < s->o.depth; depth++) {
		uint32_t end = next;

		for (uint32_t f = level; f < end; f++) {
			h->first[f] = next;
			for (; h->n_children[f] < s->o.branching && next < n; next++) {
				s->parent[next] = (int32_t)f;
				h->n_children[f]++;
			}
		}
		level = end;
	}
	h->n_tree = next;
	if (next == (s->o.roots < n ? s->o.roots : n))
		s->parent = NULL; /* no feature has one */
	return 0;
}

/* The power law, scaled so that both ends are met. */
static void make_probabilities(synth *s)
{
	double last = pow(s->n_features, -s->o.zipf);

	for (uint32_t f = 0; f < s->n_features; f++) {
		double at = s->n_features > 1 ? (pow(f + 1.0, -s->o.zipf) - last) / (1 - last) : 1;

		s->probability[f] = s->o.p_min + (s->o.p_max - s->o.p_min) * at;
	}
}

/* What a feature is drawn with so that about its probability comes out: a child fires only with its parent, and loses against siblings
 * that fire too. */
static double compensated(const synth *s, const hierarchy *h, uint32_t f)
{
	double p = s->probability[f], of_parent, others = 0;
	uint32_t parent;

	if (!s->parent || s->parent[f] < 0)
		return p;
	parent = (uint32_t)s->parent[f];
	of_parent = s->probability[parent];
	for (uint32_t c = h->first[parent]; c < h->first[parent] + h->n_children[parent]; c++)
		others += c == f ? 0 : s->probability[c];
	return fmin(1, p / of_parent * (1 + others / of_parent));
}

static void make_copula(synth *s, hierarchy *h)
{
	uint64_t seed = hash64_mix(s->o.seed, STREAM_FACTOR);
	uint32_t rank = s->o.rank;

	for (uint32_t f = 0; f < s->n_features; f++) {
		float *factor = h->factor + (size_t)f * rank;
		double squares = 0, shrink = 1, p = compensated(s, h, f);

		for (uint32_t i = 0; i < rank; i++) {
			factor[i] = (float)(s->o.correlation * synth_normal(seed, (uint64_t)f * rank + i));
			squares += (double)factor[i] * (double)factor[i];
		}
		if (squares > 1 - least_own)
			shrink = sqrt((1 - least_own) / squares);
		for (uint32_t i = 0; i < rank; i++)
			factor[i] = (float)(shrink * (double)factor[i]);
		h->own[f] = sqrt(1 - shrink * shrink * squares);
		h->bound[f] = p >= 1 ? -INFINITY : synth_normal_bound(p);
	}
	for (int i = 0; i < TABLE; i++)
		h->above[i] = synth_normal_above(table_low + table_step * i);
}

static int check(const sae_synth_opts *o, error *err)
{
	if (!(o->p_min > 0) || !(o->p_max < 1) || o->p_min > o->p_max)
		return error_set(err, ERR_ARG,
		                 "probabilities from %g to %g are not between 0 and 1, the larger one first",
		                 o->p_max, o->p_min);
	if (!(o->mean > 0) || !(o->mean_last > 0))
		return error_set(err, ERR_ARG,
		                 "mean values %g to %g are not over 0: children are scaled by them", o->mean,
		                 o->mean_last);
	return 0;
}

int synth_hierarchy_init(synth *s, pool *p, error *err)
{
	hierarchy *h = arena_alloc(&s->mem, 1, sizeof(*h));
	uint32_t n = s->n_features = s->o.features;
	int rc = check(&s->o, err);

	if (rc < 0)
		return rc;
	s->state = h;
	s->draw = draw_hierarchy;
	s->probability = arena_alloc(&s->mem, n, sizeof(*s->probability));
	rc = h && s->probability ? make_trees(s, h, err) : error_nomem(err, "probabilities of features");
	if (rc < 0)
		return rc;
	h->bound = arena_alloc(&s->mem, n, sizeof(*h->bound));
	h->own = arena_alloc(&s->mem, n, sizeof(*h->own));
	h->factor = arena_alloc(&s->mem, (size_t)n * s->o.rank + 1, sizeof(*h->factor));
	if (!h->bound || !h->own || !h->factor)
		return error_nomem(err, "correlations of features");
	make_probabilities(s);
	make_copula(s, h);
	rc = synth_make_dictionary(s, p, err);
	return rc ? rc : synth_make_values(s, err);
}
