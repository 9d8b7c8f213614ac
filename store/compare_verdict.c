/* What becomes of each feature: matches, and who is the same, split, merged, unmatched. The definitions are in store.h. */
#include "store/compare.h"

#include <math.h>

static const double tie = 1e-6; /* values so near are equal */

/* ---- A run --------------------------------------------------------------------------------------------------------------- */

static int found_init(compare_found *found, uint32_t n_features, arena *mem)
{
	size_t n = n_features;

	found->parts = arena_alloc(mem, n * COMPARE_PARTS, sizeof(*found->parts));
	found->covered = arena_alloc(mem, n, sizeof(*found->covered));
	found->evidence = arena_alloc(mem, n, sizeof(*found->evidence));
	if (!found->parts || !found->covered || !found->evidence)
		return ERR_NOMEM;
	memset(found->parts, 0xff, n * COMPARE_PARTS * sizeof(*found->parts));
	for (size_t i = 0; i < n; i++)
		found->covered[i] = NAN;
	return 0;
}

static int run_init(compare_run *run, error *err)
{
	for (int s = 0; s < 2; s++) {
		uint32_t n = run->c->side[s].n_features;

		run->of[s] = arena_alloc(&run->mem, n, sizeof(*run->of[s]));
		if (!run->of[s] || found_init(&run->found[s], n, &run->mem) < 0)
			return error_nomem(err, "a comparison");
		for (uint32_t f = 0; f < n; f++) {
			run->of[s][f].match = NONE;
			run->of[s][f].kind = COMPARE_UNMATCHED;
		}
	}
	return 0;
}

void compare_run_end(compare_run *run)
{
	free(run->found[0].inside.items);
	free(run->found[1].inside.items);
	arena_clear(&run->mem);
}

/* ---- Matches --------------------------------------------------------------------------------------------------------------- */

/* By the directions, as the caller found them. */
static void match_by_direction(compare_run *run)
{
	const store_directions *d = run->directions;

	for (uint32_t f = 0; f < run->c->side[0].n_features; f++) {
		run->of[0][f].match = d->match[f];
		if (d->match[f] != NONE)
			run->of[1][d->match[f]].match = f;
	}
}

/* By co-firing: each other's best by correlation; of equal ones each takes one that is free, lower numbers first. */
static void match_by_firing(compare_run *run)
{
	const compare_ranks *a = &run->found[0].ranks, *b = &run->found[1].ranks;

	for (uint32_t f = 0; f < run->c->side[0].n_features; f++) {
		const uint32_t *near = a->ids + (size_t)f * COMPARE_NEAR;
		const float *r = a->correlation + (size_t)f * COMPARE_NEAR;

		for (uint32_t k = 0;
		     k < COMPARE_NEAR && near[k] != NONE && (double)r[k] >= (double)r[0] - tie; k++) {
			if (run->of[1][near[k]].match != NONE ||
			    (double)r[k] < (double)b->correlation[(size_t)near[k] * COMPARE_NEAR] - tie)
				continue;
			run->of[0][f].match = near[k];
			run->of[1][near[k]].match = f;
			break;
		}
	}
}

/* Of feature f of A and its match, which is among those near it. */
static double correlation_near(const compare_ranks *a, uint32_t f, uint32_t match)
{
	size_t i = (size_t)f * COMPARE_NEAR;

	while (a->ids[i] != match)
		i++;
	return (double)a->correlation[i];
}

/* Whether feature f of A and its match are the same; counts the matches. */
static bool is_same(compare_run *run, uint32_t f)
{
	const store_compare_opts *o = run->c->o;
	const store_directions *d = run->directions;
	uint32_t g = run->of[0][f].match;
	double likeness;

	if (g == NONE)
		return false;
	likeness = d ? compare_cosine(d, 0, f, g) : correlation_near(&run->found[0].ranks, f, g);
	run->n_matched++;
	if (likeness < (d ? o->min_cosine : o->min_correlation))
		return false;
	run->n_over++;
	return !d || (likeness >= compare_best_cosine(d, 0, f) - tie &&
	              likeness >= compare_best_cosine(d, 1, g) - tie);
}

/* ---- Verdicts -------------------------------------------------------------------------------------------------------------- */

/* The parts of split features of side s that are nothing else are merged into them. */
static void merge_parts(compare_run *run, int s)
{
	for (uint32_t f = 0; f < run->c->side[s].n_features; f++) {
		const uint32_t *parts = run->found[s].parts + (size_t)f * COMPARE_PARTS;

		if (run->of[s][f].kind != COMPARE_SPLIT)
			continue;
		for (uint32_t k = 0; k < COMPARE_PARTS && parts[k] != NONE; k++) {
			compare_verdict *part = &run->of[!s][parts[k]];

			if (part->kind == COMPARE_SAME || part->kind == COMPARE_SPLIT)
				continue;
			part->kind = COMPARE_MERGED;
			if (part->n_whole < COMPARE_PARTS)
				part->whole[part->n_whole++] = f;
		}
	}
}

static void judge(compare_run *run)
{
	for (uint32_t f = 0; f < run->c->side[0].n_features; f++) {
		compare_verdict *v = &run->of[0][f];

		if (is_same(run, f))
			v->kind = run->of[1][v->match].kind = COMPARE_SAME;
	}
	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < run->c->side[s].n_features; f++)
			if (run->of[s][f].kind != COMPARE_SAME &&
			    run->found[s].evidence[f] != COMPARE_NO_PARTS)
				run->of[s][f].kind = COMPARE_SPLIT;
	merge_parts(run, 0);
	merge_parts(run, 1);
	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < run->c->side[s].n_features; f++)
			run->tally[s][run->of[s][f].kind]++;
}

int compare_run_make(compare_run *run, const comparison *c, bool chance, error *err)
{
	int rc;

	*run = (compare_run){ .c = c, .chance = chance, .mem = ARENA_INIT };
	if (!c->o->by_firing)
		run->directions = chance ? c->o->chance : c->o->directions;
	rc = run_init(run, err);
	if (rc == 0 && c->n_tokens)
		rc = compare_count(run, err);
	for (int s = 0; s < 2 && rc == 0; s++)
		rc = compare_divide(run, s, err);
	if (rc < 0)
		return rc;
	if (run->directions)
		match_by_direction(run);
	else
		match_by_firing(run);
	judge(run);
	return 0;
}
