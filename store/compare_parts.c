/* Features that are divided among several of the other side: by what those cover of their firings, or by direction. */
#include "store/compare.h"

#include <math.h>

typedef struct dividing {
	compare_run *run;
	int s;         /* the side of the wholes */
	uint8_t *open; /* (tokens of B) 1: the whole fires there, and no part covers it yet */
	uint32_t *ids; /* (most) candidates to be parts */
} dividing;

/* ---- By firing ------------------------------------------------------------------------------------------------------- */

/* Tokens of feature f of a side that are open; opens them first or closes them then, if told. */
static uint32_t open_tokens(const dividing *v, int side, uint32_t f, bool opens, bool closes)
{
	const compare_side *x = &v->run->c->side[side];
	const uint32_t *place = side == 0 ? v->run->place : NULL;
	uint32_t n = 0;

	for (size_t i = x->by_feature[f]; i < x->by_feature[f + 1]; i++) {
		uint32_t t = place ? place[x->of[i].id] : x->of[i].id;

		if (t == NONE)
			continue;
		if (opens)
			v->open[t] = 1;
		n += v->open[t];
		if (closes)
			v->open[t] = 0;
	}
	return n;
}

/* Of n candidates take the one that covers most of what is open, until none adds `least` tokens. *covered: by all parts. */
static uint32_t cover(const dividing *v, uint32_t n, uint32_t least, uint32_t *parts, uint32_t *covered)
{
	uint32_t n_parts = 0;

	for (*covered = 0; n_parts < COMPARE_PARTS; n_parts++) {
		uint32_t best = NONE, most = 0, kept = 0;

		for (uint32_t i = 0; i < n; i++) {
			uint32_t id = v->ids[i], adds = open_tokens(v, !v->s, id, false, false);

			if (adds < least)
				continue; /* nor will it later */
			v->ids[kept++] = id;
			if (adds > most) {
				most = adds;
				best = id;
			}
		}
		n = kept;
		if (best == NONE)
			break;
		*covered += open_tokens(v, !v->s, best, false, true);
		parts[n_parts] = best;
	}
	return n_parts;
}

/* items (n): what lies inside feature f, by number. */
static bool divided_by_firing(const dividing *v, uint32_t f, const compare_part *items, size_t n,
                              uint32_t *parts)
{
	const compare_run *run = v->run;
	const store_compare_opts *o = run->c->o;
	uint32_t fires = compare_fires(&run->c->side[v->s], f), least = (uint32_t)ceil(o->min_gain * fires);
	uint32_t n_ids = 0, n_parts, covered;

	least = least > o->min_common ? least : o->min_common;
	for (size_t i = 0; i < n; i++)
		if (items[i].count >= least &&
		    (!run->directions ||
		     compare_cosine(run->directions, v->s, f, items[i].part) > o->chance_cosine))
			v->ids[n_ids++] = items[i].part;
	if (n_ids < 2)
		return false;
	open_tokens(v, v->s, f, true, false);
	n_parts = cover(v, n_ids, least, parts, &covered);
	open_tokens(v, v->s, f, false, true);
	if (n_parts < 2 || covered < o->min_overlap * fires)
		return false;
	run->found[v->s].covered[f] = (float)covered / (float)fires;
	return true;
}

/* ---- By direction ----------------------------------------------------------------------------------------------------- */

/* Whether feature f has parts by direction whose sum is near enough to it, and clearly nearer than the nearest alone. */
static bool is_blend(const compare_run *run, int s, uint32_t f)
{
	const store_directions *d = run->directions;
	double together = d ? (double)d->together[s][f] : (double)NAN;

	return together >= run->c->o->min_together &&
	       together >= compare_best_cosine(d, s, f) + run->c->o->min_gain;
}

static bool holds(const compare_part *items, size_t n, uint32_t part)
{
	for (size_t i = 0; i < n; i++)
		if (items[i].part == part)
			return true;
	return false;
}

/* Whether f has such parts, and all lie inside it. */
static bool divided_by_direction(const dividing *v, uint32_t f, const compare_part *items, size_t n,
                                 uint32_t *parts)
{
	const uint32_t *ids;

	if (!is_blend(v->run, v->s, f))
		return false;
	ids = v->run->directions->parts[v->s] + (size_t)f * COMPARE_PARTS;
	for (uint32_t i = 0; i < COMPARE_PARTS && ids[i] != NONE; i++)
		if (!holds(items, n, ids[i]))
			return false;
	memcpy(parts, ids, COMPARE_PARTS * sizeof(*parts));
	return true;
}

/* ---- All of a side ------------------------------------------------------------------------------------------------------ */

static void divide(const dividing *v, uint32_t f, const compare_part *items, size_t n)
{
	compare_found *found = &v->run->found[v->s];
	uint32_t parts[COMPARE_PARTS];
	compare_evidence evidence = COMPARE_NO_PARTS;

	if ((double)found->ranks.correlation[(size_t)f * COMPARE_NEAR] >= v->run->c->o->min_correlation)
		return; /* one does it alone */
	memset(parts, 0xff, sizeof(parts));
	if (divided_by_firing(v, f, items, n, parts)) {
		evidence = COMPARE_BY_FIRING;
	} else {
		memset(parts, 0xff, sizeof(parts));
		if (divided_by_direction(v, f, items, n, parts))
			evidence = COMPARE_BY_DIRECTION;
	}
	if (evidence == COMPARE_NO_PARTS)
		return;
	found->evidence[f] = (uint8_t)evidence;
	memcpy(found->parts + (size_t)f * COMPARE_PARTS, parts, sizeof(parts));
}

static void blend(compare_run *run, int s)
{
	compare_found *found = &run->found[s];

	for (uint32_t f = 0; f < run->c->side[s].n_features; f++) {
		size_t at = (size_t)f * COMPARE_PARTS;

		if (!is_blend(run, s, f))
			continue;
		found->evidence[f] = COMPARE_BY_DIRECTION;
		memcpy(found->parts + at, run->directions->parts[s] + at,
		       COMPARE_PARTS * sizeof(*found->parts));
	}
}

int compare_divide(compare_run *run, int s, error *err)
{
	const compare_inside *in = &run->found[s].inside;
	dividing v = { .run = run, .s = s };
	int rc = 0;

	if (run->c->n_tokens == 0) {
		blend(run, s);
		return 0;
	}
	v.open = calloc(run->c->n_tokens, sizeof(*v.open));
	v.ids = malloc((size_t)run->c->side[!s].n_features * sizeof(*v.ids));
	if (!v.open || !v.ids)
		rc = error_nomem(err, "a comparison");
	for (size_t i = 0, end; i < in->n && rc == 0; i = end) {
		for (end = i; end < in->n && in->items[end].whole == in->items[i].whole;)
			end++;
		if (end - i > 1)
			divide(&v, in->items[i].whole, in->items + i, end - i);
	}
	free(v.open);
	free(v.ids);
	return rc;
}
