/* Matryoshka: errors of prefixes of the features. A feature's gradients are made of the sum of the errors of all prefixes that
 * hold it: errors are made one prefix on top of the other, then added up from the longest. The rest of the step is BatchTopK's. */
#include <float.h>
#include <math.h>

#include "sae/step.h"

int step_prefix_init(step *s, error *err)
{
	const step_prefixes *p = &s->c.prefixes;

	memcpy(s->prefix_ends, p->ends, sizeof(s->prefix_ends));
	s->e_prefix = arena_alloc(&s->mem, p->n - 1, (size_t)s->c.batch * s->d_out * sizeof(float));
	if (!s->e_prefix && p->n > 1)
		return error_nomem(err, "errors of prefixes");
	for (size_t i = 0; i < s->max_tiles; i++) {
		s->tiles[i].sum_prefix = arena_alloc(&s->mem, s->d_out, sizeof(double));
		if (!s->tiles[i].sum_prefix)
			return error_nomem(err, "sums of tiles");
	}
	return 0;
}

static bool is_taken(const uint32_t *ends, uint32_t n, uint32_t end)
{
	for (uint32_t i = 0; i < n; i++)
		if (ends[i] == end)
			return true;
	return false;
}

/* Without replacement, an end l with a probability in proportion to sqrt(l) - sqrt(l - 1): short prefixes are preferred. */
void step_prefix_draw(step *s)
{
	const step_prefixes *p = &s->c.prefixes;
	uint64_t seed = hash64_mix(hash64_mix(p->seed, 0x7072656669786573), s->t), drawn = 0; /* "prefixes" */
	double root = sqrt(s->c.n_features - 1.0);

	for (uint32_t n = 0; p->random && n + 1 < p->n;) {
		double r = root * hash64_unit(hash64_mix(seed, drawn++));
		uint32_t end = 1 + (uint32_t)(r * r), at = n;

		if (end >= s->c.n_features || is_taken(s->prefix_ends, n, end))
			continue;
		for (; at > 0 && s->prefix_ends[at - 1] > end; at--)
			s->prefix_ends[at] = s->prefix_ends[at - 1];
		s->prefix_ends[at] = end;
		n++;
	}
}

/* ---- Errors ------------------------------------------------------------------------------------------------------------- */

static float *errors_of(const step *s, uint32_t prefix)
{
	return prefix + 1 == s->c.prefixes.n ? s->e : s->e_prefix + prefix * (size_t)s->c.batch * s->d_out;
}

static uint32_t first_with(const step *s, size_t feature, uint32_t from)
{
	while (feature >= s->prefix_ends[from])
		from++;
	return from;
}

const float *step_prefix_errors(const step *s, size_t feature)
{
	return errors_of(s, first_with(s, feature, 0));
}

static void row_errors(step *s, step_worker *w, step_tile *tile, size_t t)
{
	const kernels *k = s->c.k_set;
	const sparse_batch *codes = &s->codes;
	size_t d = s->d_out, at = codes->begin[t], end = at + codes->count[t];
	const float *before = s->y + t * d;

	for (uint32_t i = 0; i < s->c.prefixes.n; i++) {
		float *e = errors_of(s, i) + t * d;
		size_t from = at;

		while (at < end && codes->index[at] < s->prefix_ends[i])
			at++;
		k->combine(w->row, s->W_dec.w, d, codes->index + from, codes->value + from, at - from);
		k->center(e, before, 1, w->row, d);
		tile->squares_prefix[i] += k->sum_squares(e, d);
		before = e;
	}
	k->add_f64(tile->sum_e, 1, before, d);
}

/* Of term i, in units of the last's. */
static float relative_weight(const step *s, uint32_t i)
{
	const step_prefixes *p = &s->c.prefixes;

	return p->weights[0] > 0 ? (float)(p->weights[i] / p->weights[p->n - 1]) : 1;
}

/* From each prefix on, and what values get of it. */
static void row_gradients(step *s, step_tile *tile, size_t t)
{
	const kernels *k = s->c.k_set;
	sparse_batch *codes = &s->codes;
	size_t d = s->d_out, at = codes->begin[t], end = at + codes->count[t];
	uint32_t prefix = 0;

	for (uint32_t i = s->c.prefixes.n - 1; i-- > 0;) {
		if (s->c.prefixes.weights[0] > 0)
			k->scale(errors_of(s, i) + t * d, relative_weight(s, i), d);
		k->axpy(errors_of(s, i) + t * d, 1, errors_of(s, i + 1) + t * d, d);
	}
	k->add_f64(tile->sum_prefix, 1, errors_of(s, 0) + t * d, d);
	if (s->c.prefixes.empty)
		k->add_f64(tile->sum_prefix, 1, s->y + t * d, d);
	for (; at < end; at++) {
		prefix = first_with(s, codes->index[at], prefix);
		codes->grad[at] = k->dot(errors_of(s, prefix) + t * d, s->W_dec.w + codes->index[at] * d, d);
	}
}

void step_prefix_rows(step *s, step_worker *w, step_tile *tile, size_t first, size_t end)
{
	memset(tile->sum_prefix, 0, s->d_out * sizeof(double));
	memset(tile->squares_prefix, 0, sizeof(tile->squares_prefix));
	for (size_t t = first; t < end; t++) {
		row_errors(s, w, tile, t);
		row_gradients(s, tile, t);
	}
	tile->squares_e = tile->squares_prefix[s->c.prefixes.n - 1];
}

/* ---- The batch as a whole ------------------------------------------------------------------------------------------------ */

double step_prefix_weight(const step *s)
{
	const step_prefixes *p = &s->c.prefixes;

	if (p->weights[0] > 0)
		return p->weights[p->n - 1];
	return p->sum ? 1 : 1.0 / (p->n + p->empty);
}

double step_prefix_sum(step *s, double total, step_result *r)
{
	const step_prefixes *p = &s->c.prefixes;
	step_tile *all = &s->tiles[0];
	double squares = p->empty ? all->squares_x : 0;

	for (size_t i = 1; i < s->n_tiles; i++)
		for (size_t j = 0; j < s->d_out; j++)
			all->sum_prefix[j] += s->tiles[i].sum_prefix[j];
	r->n_prefixes = p->n;
	for (uint32_t j = 0; j < p->n; j++) {
		for (size_t i = 1; i < s->n_tiles; i++)
			all->squares_prefix[j] += s->tiles[i].squares_prefix[j];
		if (!(all->squares_prefix[j] < FLT_MAX))
			return INFINITY; /* nor would gradients be finite */
		squares += relative_weight(s, j) * all->squares_prefix[j];
		r->prefix_ends[j] = s->prefix_ends[j];
		r->prefix_fvu[j] = total == 0 ? 0 : all->squares_prefix[j] / total;
	}
	return total == 0 ? 0 : squares / total * step_prefix_weight(s);
}
