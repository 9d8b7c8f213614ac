/* The answer of a comparison as JSON. */
#include "store/compare.h"

#include <math.h>

static const char *const kind_names[COMPARE_KINDS] = { "same", "split", "merged", "unmatched" };

/* ---- Sides ------------------------------------------------------------------------------------------------------------------ */

static void put_tally(cJSON *side, const char *name, const uint32_t tally[COMPARE_KINDS], bool *failed)
{
	cJSON *object = json_put_object(side, name, failed);

	for (int v = 0; v < COMPARE_KINDS; v++)
		json_put_number(object, kind_names[v], tally[v], failed);
}

static void put_side(cJSON *page, const comparison *c, int s, const compare_run *real,
                     const compare_run *chance, bool *failed)
{
	cJSON *side = json_put_object(page, s ? "b" : "a", failed);
	uint32_t firing = 0;

	for (uint32_t f = 0; f < c->side[s].n_features; f++)
		firing += compare_fires(&c->side[s], f) > 0;
	json_put_text(side, "source", c->side[s].name, failed);
	json_put_text(side, "store", store_path(c->side[s].s), failed);
	json_put_number(side, "features", c->side[s].n_features, failed);
	json_put_number(side, "firing", c->n_tokens ? firing : (double)NAN, failed);
	put_tally(side, "verdicts", real->tally[s], failed);
	put_tally(side, "chance_verdicts", chance->tally[s], failed);
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

/* Of the best correlations of a side's features that fire on common tokens, or of their Jaccards with who correlates best: the
 * mean, and what one in a hundred is over. */
static void summarise(double *mean, double *high, const compare_run *run, int s, bool jaccard, float *scratch)
{
	const comparison *c = run->c;
	const compare_ranks *r = &run->found[s].ranks;
	double sum = 0;
	uint32_t n = 0;

	for (uint32_t f = 0; f < c->side[s].n_features; f++) {
		size_t i = (size_t)f * COMPARE_NEAR;
		uint32_t fires = compare_fires(&c->side[s], f);

		if (fires == 0)
			continue;
		scratch[n] = r->correlation[i]; /* 0 where there is none */
		if (jaccard && r->ids[i] != NONE)
			scratch[n] = (float)r->count[i] /
			             (float)(fires + compare_fires(&c->side[!s], r->ids[i]) - r->count[i]);
		sum += (double)scratch[n++];
	}
	qsort(scratch, n, sizeof(*scratch), by_value);
	*mean = n ? sum / n : (double)NAN;
	*high = n ? (double)scratch[(size_t)(0.99 * (n - 1))] : (double)NAN;
}

/* {"a":{"mean_best","chance_mean","chance_99"},"b":...} of what co-firing gives, or null. */
static void put_measure(cJSON *page, const char *name, const compare_run *real, const compare_run *chance,
                        float *scratch, bool *failed)
{
	bool jaccard = strcmp(name, "jaccard") == 0;
	cJSON *object;

	if (real->c->n_tokens == 0) {
		json_put_text(page, name, NULL, failed);
		return;
	}
	object = json_put_object(page, name, failed);
	for (int s = 0; s < 2; s++) {
		cJSON *side = json_put_object(object, s ? "b" : "a", failed);
		double mean, high;

		summarise(&mean, &high, real, s, jaccard, scratch);
		json_put_number(side, "mean_best", mean, failed);
		summarise(&mean, &high, chance, s, jaccard, scratch);
		json_put_number(side, "chance_mean", mean, failed);
		json_put_number(side, "chance_99", high, failed);
	}
}

/* ---- Features ----------------------------------------------------------------------------------------------------------------- */

static void put_list(cJSON *item, const char *name, const uint32_t *ids, uint32_t most, bool *failed)
{
	cJSON *array = json_put_array(item, name, failed);

	for (uint32_t k = 0; k < most && ids[k] != NONE; k++)
		json_put_number(array, NULL, ids[k], failed);
}

/* Feature f of side s and g of the other; g may be NONE. */
static void put_pair(cJSON *item, const comparison *c, int s, uint32_t f, uint32_t g, bool *failed)
{
	compare_pair pair = { 0, NAN, NAN, NAN };

	if (g != NONE && c->n_tokens)
		compare_measure(&pair, c, s ? g : f, s ? f : g);
	json_put_number(item, "cosine",
	                g != NONE && c->o->directions ? compare_cosine(c->o->directions, s, f, g)
	                                              : (double)NAN,
	                failed);
	json_put_number(item, "common", g != NONE && c->n_tokens ? pair.common : (double)NAN, failed);
	json_put_number(item, "firing_cosine", pair.cosine, failed);
	json_put_number(item, "jaccard", pair.jaccard, failed);
	json_put_number(item, "correlation", pair.correlation, failed);
}

/* Who is nearest, matched or not. */
static void put_nearest(cJSON *item, const compare_run *run, int s, uint32_t f, bool *failed)
{
	const store_directions *d = run->c->o->directions;
	const compare_ranks *r = &run->found[s].ranks;
	uint32_t by_cosine = d ? d->near[s][(size_t)f * d->n_near[s]] : NONE,
	         by_firing = r->ids ? r->ids[(size_t)f * COMPARE_NEAR] : NONE;

	json_put_number(item, "nearest", by_cosine == NONE ? (double)NAN : by_cosine, failed);
	json_put_number(item, "nearest_cosine",
	                by_cosine == NONE ? (double)NAN : compare_best_cosine(d, s, f), failed);
	json_put_number(item, "cofiring", by_firing == NONE ? (double)NAN : by_firing, failed);
	json_put_number(item, "cofiring_correlation",
	                by_firing == NONE ? (double)NAN : (double)r->correlation[(size_t)f * COMPARE_NEAR],
	                failed);
}

static void put_parts(cJSON *item, const compare_run *run, int s, uint32_t f, bool *failed)
{
	const compare_found *found = &run->found[s];
	const compare_verdict *v = &run->of[s][f];

	if (v->kind == COMPARE_MERGED)
		put_list(item, "part_of", v->whole, v->n_whole, failed);
	if (v->kind != COMPARE_SPLIT)
		return;
	put_list(item, "parts", found->parts + (size_t)f * COMPARE_PARTS, COMPARE_PARTS, failed);
	json_put_text(item, "by", found->evidence[f] == COMPARE_BY_FIRING ? "firing" : "direction", failed);
	if (found->evidence[f] == COMPARE_BY_FIRING)
		json_put_number(item, "covered", (double)found->covered[f], failed);
	else
		json_put_number(item, "together", (double)run->directions->together[s][f], failed);
}

static cJSON *put_feature(cJSON *array, const compare_run *run, int s, uint32_t f, bool *failed)
{
	const comparison *c = run->c;
	const compare_verdict *v = &run->of[s][f];
	cJSON *item = json_put_object(array, NULL, failed);

	json_put_text(item, "side", s ? "b" : "a", failed);
	json_put_number(item, "feature", f, failed);
	json_put_text(item, "verdict", kind_names[v->kind], failed);
	json_put_number(item, "fires", c->n_tokens ? compare_fires(&c->side[s], f) : (double)NAN, failed);
	json_put_number(item, "match", v->match == NONE ? (double)NAN : v->match, failed);
	put_pair(item, c, s, f, v->match, failed);
	put_nearest(item, run, s, f, failed);
	put_parts(item, run, s, f, failed);
	return item;
}

static int put_label(cJSON *item, const char *name, label_lookup *labels, uint32_t f, bool *failed,
                     error *err)
{
	cJSON *holder = cJSON_CreateObject();
	int rc = label_lookup_put(labels, holder, f, failed, err);

	if (rc == 0)
		json_put(item, name, cJSON_DetachItemFromObject(holder, "label"), failed);
	cJSON_Delete(holder);
	return rc;
}

static int put_features(cJSON *page, const compare_run *run, bool *failed, error *err)
{
	const comparison *c = run->c;
	cJSON *array = json_put_array(page, "features", failed);
	label_lookup labels[2] = { 0 };
	int rc = label_lookup_init(&labels[0], c->side[0].s, c->side[0].source.id, err);

	if (rc == 0)
		rc = label_lookup_init(&labels[1], c->side[1].s, c->side[1].source.id, err);
	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < c->side[s].n_features && rc == 0 && !*failed; f++) {
			cJSON *item = put_feature(array, run, s, f, failed);

			rc = put_label(item, "label", &labels[s], f, failed, err);
			if (rc == 0 && run->of[s][f].match != NONE)
				rc = put_label(item, "match_label", &labels[!s], run->of[s][f].match, failed,
				               err);
		}
	label_lookup_clear(&labels[0]);
	label_lookup_clear(&labels[1]);
	return rc;
}

/* ---- Pairs --------------------------------------------------------------------------------------------------------------------- */

typedef struct pair_set {
	uint64_t *pairs; /* a << 32 | b */
	size_t n, cap;
} pair_set;

static int add_pairs(pair_set *set, int s, uint32_t f, const uint32_t *ids, uint32_t most)
{
	if (mem_grow(&set->pairs, &set->cap, set->n + most, sizeof(*set->pairs)) < 0)
		return ERR_NOMEM;
	for (uint32_t k = 0; k < most && ids[k] != NONE; k++)
		set->pairs[set->n++] = s ? (uint64_t)ids[k] << 32 | f : (uint64_t)f << 32 | ids[k];
	return 0;
}

static int gather_pairs(pair_set *set, const compare_run *run, int s, uint32_t f)
{
	const store_directions *d = run->c->o->directions;
	const compare_found *found = &run->found[s];
	uint32_t n_near = d ? d->n_near[s] : 0, some = n_near < COMPARE_NEAR ? n_near : COMPARE_NEAR;
	int rc = add_pairs(set, s, f, &run->of[s][f].match, 1);

	if (rc == 0 && found->ranks.ids)
		rc = add_pairs(set, s, f, found->ranks.ids + (size_t)f * COMPARE_NEAR, COMPARE_NEAR);
	rc = rc ? rc : add_pairs(set, s, f, found->parts + (size_t)f * COMPARE_PARTS, COMPARE_PARTS);
	return rc || !d ? rc : add_pairs(set, s, f, d->near[s] + (size_t)f * n_near, some);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int put_pairs(cJSON *page, const compare_run *run, bool *failed, error *err)
{
	const comparison *c = run->c;
	cJSON *array = json_put_array(page, "pairs", failed);
	pair_set set = { 0 };
	int rc = 0;

	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < c->side[s].n_features && rc == 0; f++)
			rc = gather_pairs(&set, run, s, f);
	if (rc == 0)
		qsort(set.pairs, set.n, sizeof(*set.pairs), by_number);
	for (size_t i = 0; i < set.n && rc == 0 && !*failed; i++) {
		uint32_t a = (uint32_t)(set.pairs[i] >> 32), b = (uint32_t)set.pairs[i];
		cJSON *item;

		if (i > 0 && set.pairs[i] == set.pairs[i - 1])
			continue;
		item = json_put_object(array, NULL, failed);
		json_put_number(item, "a", a, failed);
		json_put_number(item, "b", b, failed);
		put_pair(item, c, 0, a, b, failed);
	}
	free(set.pairs);
	return rc ? error_nomem(err, "pairs of features") : 0;
}

/* ---- The page --------------------------------------------------------------------------------------------------------------------- */

static void put_matched(cJSON *page, const compare_run *real, const compare_run *chance, bool *failed)
{
	cJSON *matched = json_put_object(page, "matched", failed);

	json_put_text(matched, "by", real->directions ? "cosine" : "correlation", failed);
	json_put_number(matched, "pairs", real->n_matched, failed);
	json_put_number(matched, "over", real->n_over, failed);
	json_put_number(matched, "chance_over", chance->n_over, failed);
}

int compare_page(cJSON **out, const comparison *c, const compare_run *real, const compare_run *chance,
                 error *err)
{
	uint32_t most =
	        c->side[0].n_features > c->side[1].n_features ? c->side[0].n_features : c->side[1].n_features;
	float *scratch = malloc(((size_t)most + 1) * sizeof(*scratch));
	cJSON *page = cJSON_CreateObject(), *common;
	bool failed = !page || !scratch;
	int rc = 0;

	if (!failed) {
		put_side(page, c, 0, real, chance, &failed);
		put_side(page, c, 1, real, chance, &failed);
		put_matched(page, real, chance, &failed);
		common = json_put_object(page, "common", &failed);
		json_put_number(common, "contexts", c->n_contexts, &failed);
		json_put_number(common, "tokens", c->n_tokens, &failed);
		json_put_bool(common, "all_used", c->all_used, &failed);
		put_measure(page, "correlation", real, chance, scratch, &failed);
		put_measure(page, "jaccard", real, chance, scratch, &failed);
		rc = put_features(page, real, &failed, err);
	}
	if (rc == 0 && c->o->pairs && !failed)
		rc = put_pairs(page, real, &failed, err);
	free(scratch);
	return json_finish(out, page, rc, failed, err);
}
