/* Two sources compared: what their features do on the contexts whose firings both hold, and a verdict on each feature. The
 * definitions are in store.h. */
#include "store/compare.h"

#include <math.h>

/* ---- Verdicts ---------------------------------------------------------------------------------------------------------- */

static const char *const verdict_names[] = { "same", "split", "merged", "unmatched" };
enum { SAME, SPLIT, MERGED, UNMATCHED, N_VERDICTS };

typedef struct feature_verdict {
	uint32_t match; /* NONE: nobody */
	double cosine, firing_cosine, jaccard, correlation;
	uint8_t verdict;
	uint8_t n_parts; /* of a split; and for a merged feature what it is a part of, alone */
	uint32_t parts[COMPARE_PARTS];
} feature_verdict;

typedef struct comparison {
	const store_compare_opts *o;
	compare_side side[2];
	compare_places places;
	feature_verdict *of[2]; /* (F) each */
	double mean_best[2], chance_mean[2], chance_high[2];
} comparison;

/* Match by decoder direction where there is one, else mutual best by co-firing. */
static void match_features(comparison *c)
{
	const compare_nearest *a = &c->side[0].nearest, *b = &c->side[1].nearest;

	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < c->side[s].n_features; f++)
			c->of[s][f] = (feature_verdict){ .match = NONE, .cosine = NAN, .verdict = UNMATCHED };
	for (uint32_t f = 0; f < c->side[0].n_features; f++) {
		uint32_t match = NONE;

		if (c->o->match) {
			match = c->o->match[f];
		} else if (a->ids && a->ids[f * COMPARE_NEAREST] != NONE) {
			match = a->ids[f * COMPARE_NEAREST];
			if (b->ids[match * COMPARE_NEAREST] != f)
				match = NONE;
		}
		if (match == NONE)
			continue;
		c->of[0][f].match = match;
		c->of[1][match].match = f;
		if (c->o->match)
			c->of[0][f].cosine = c->of[1][match].cosine = c->o->cosine[f];
	}
}

static void measure_matches(comparison *c)
{
	for (uint32_t f = 0; f < c->side[0].n_features; f++) {
		feature_verdict *v = &c->of[0][f], *w;
		compare_pair pair = { NAN, NAN, NAN };

		if (v->match == NONE)
			continue;
		if (c->places.n_tokens)
			compare_measure(&pair, &c->places, c->side, f, v->match);
		w = &c->of[1][v->match];
		v->firing_cosine = w->firing_cosine = pair.cosine;
		v->jaccard = w->jaccard = pair.jaccard;
		v->correlation = w->correlation = pair.correlation;
	}
}

static bool is_same(const comparison *c, const feature_verdict *v)
{
	return v->match != NONE &&
	       (c->o->match ? v->cosine >= c->o->min_cosine : v->firing_cosine >= c->o->min_cosine);
}

/* Features of the other side that fire mostly where f does, if several of them cover most of it. */
static void find_split(comparison *c, int s, uint32_t f)
{
	const compare_side *side = &c->side[s], *other = &c->side[!s];
	const uint32_t *ids = side->nearest.ids + (size_t)f * COMPARE_NEAREST,
	               *common = side->nearest.common + (size_t)f * COMPARE_NEAREST;
	feature_verdict *v = &c->of[s][f];
	uint32_t parts[COMPARE_PARTS], n = 0, covered;

	for (uint32_t k = 0; k < COMPARE_NEAREST && ids[k] != NONE && n < COMPARE_PARTS; k++) {
		double inside = (double)common[k] / compare_fires(other, ids[k]);

		if (common[k] >= c->o->min_common && inside >= c->o->min_overlap)
			parts[n++] = ids[k];
	}
	if (n < 2)
		return;
	covered = compare_covered(side, other, f, parts, n);
	if (covered < c->o->min_overlap * compare_fires(side, f))
		return;
	v->verdict = SPLIT;
	v->n_parts = (uint8_t)n;
	memcpy(v->parts, parts, n * sizeof(*parts));
}

static void give_verdicts(comparison *c)
{
	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < c->side[s].n_features; f++) {
			feature_verdict *v = &c->of[s][f];

			if (is_same(c, v))
				v->verdict = SAME;
			else if (c->places.n_tokens)
				find_split(c, s, f);
		}
	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < c->side[s].n_features; f++) {
			const feature_verdict *v = &c->of[s][f];

			for (uint32_t k = 0; k < v->n_parts && v->verdict == SPLIT; k++) {
				feature_verdict *part = &c->of[!s][v->parts[k]];

				if (part->verdict != UNMATCHED)
					continue;
				part->verdict = MERGED;
				part->n_parts = 1;
				part->parts[0] = f;
			}
		}
}

/* ---- The answer ---------------------------------------------------------------------------------------------------------- */

static cJSON *put_feature(cJSON *array, const comparison *c, int s, uint32_t f, bool *failed)
{
	const feature_verdict *v = &c->of[s][f];
	cJSON *item = json_put_object(array, NULL, failed), *parts;

	json_put_text(item, "side", s ? "b" : "a", failed);
	json_put_number(item, "feature", f, failed);
	json_put_text(item, "verdict", verdict_names[v->verdict], failed);
	json_put_number(item, "fires", c->places.n_tokens ? compare_fires(&c->side[s], f) : (double)NAN,
	                failed);
	json_put_number(item, "match", v->match == NONE ? (double)NAN : v->match, failed);
	json_put_number(item, "cosine", v->cosine, failed);
	json_put_number(item, "firing_cosine", v->match == NONE ? (double)NAN : v->firing_cosine, failed);
	json_put_number(item, "jaccard", v->match == NONE ? (double)NAN : v->jaccard, failed);
	json_put_number(item, "correlation", v->match == NONE ? (double)NAN : v->correlation, failed);
	parts = json_put_array(item, v->verdict == MERGED ? "part_of" : "parts", failed);
	for (uint32_t k = 0; k < v->n_parts; k++)
		json_put_number(parts, NULL, v->parts[k], failed);
	return item;
}

static int put_features(cJSON *page, const comparison *c, bool *failed, error *err)
{
	cJSON *array = json_put_array(page, "features", failed);
	label_lookup labels[2] = { 0 };
	int rc = label_lookup_init(&labels[0], c->side[0].s, c->side[0].source.id, err);

	if (rc == 0)
		rc = label_lookup_init(&labels[1], c->side[1].s, c->side[1].source.id, err);
	for (int s = 0; s < 2; s++)
		for (uint32_t f = 0; f < c->side[s].n_features && rc == 0 && !*failed; f++) {
			cJSON *item = put_feature(array, c, s, f, failed);

			rc = label_lookup_put(&labels[s], item, f, failed, err);
			if (rc == 0 && c->of[s][f].match != NONE) {
				cJSON *match = json_put_object(item, "match_label", failed), *label;

				rc = label_lookup_put(&labels[!s], match, c->of[s][f].match, failed, err);
				label = cJSON_DetachItemFromObject(match, "label");
				cJSON_DeleteItemFromObject(item, "match_label");
				json_put(item, "match_label", label, failed);
			}
		}
	label_lookup_clear(&labels[0]);
	label_lookup_clear(&labels[1]);
	return rc;
}

static void put_side(cJSON *page, const comparison *c, int s, bool *failed)
{
	uint32_t counts[N_VERDICTS] = { 0 };
	cJSON *side = json_put_object(page, s ? "b" : "a", failed), *tally;

	for (uint32_t f = 0; f < c->side[s].n_features; f++)
		counts[c->of[s][f].verdict]++;
	json_put_text(side, "source", c->side[s].name, failed);
	json_put_text(side, "store", store_path(c->side[s].s), failed);
	json_put_number(side, "features", c->side[s].n_features, failed);
	tally = json_put_object(side, "verdicts", failed);
	for (int v = 0; v < N_VERDICTS; v++)
		json_put_number(tally, verdict_names[v], counts[v], failed);
	json_put_number(side, "mean_best_firing_cosine", c->mean_best[s], failed);
	json_put_number(side, "chance_mean", c->chance_mean[s], failed);
	json_put_number(side, "chance_99", c->chance_high[s], failed);
}

static int answer(cJSON **out, const comparison *c, error *err)
{
	cJSON *page = cJSON_CreateObject(), *common;
	bool failed = !page;
	int rc;

	put_side(page, c, 0, &failed);
	put_side(page, c, 1, &failed);
	common = json_put_object(page, "common", &failed);
	json_put_number(common, "contexts", c->places.n_contexts, &failed);
	json_put_number(common, "tokens", c->places.n_tokens, &failed);
	json_put_bool(common, "all_used", c->places.all_used, &failed);
	rc = put_features(page, c, &failed, err);
	return json_finish(out, page, rc, failed, err);
}

/* ---- The run -------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Best firing cosine of each feature that fires: the mean, and what one in a hundred is over. */
static int summarise(double *mean, double *high, const compare_side *side, error *err)
{
	double *best = malloc(((size_t)side->n_features + 1) * sizeof(*best)), sum = 0;
	uint32_t n = 0;

	if (!best)
		return error_nomem(err, "a comparison");
	for (uint32_t f = 0; f < side->n_features; f++) {
		if (compare_fires(side, f) == 0)
			continue;
		best[n] = side->nearest.ids[f * COMPARE_NEAREST] == NONE
		                  ? 0
		                  : side->nearest.cosine[f * COMPARE_NEAREST];
		sum += best[n++];
	}
	qsort(best, n, sizeof(*best), by_value);
	*mean = n ? sum / n : (double)NAN;
	if (high)
		*high = n ? best[(size_t)(0.99 * (n - 1))] : (double)NAN;
	free(best);
	return 0;
}

/* Chance first, with each context's firings of the other side those of another context; then as they are. */
static int compare_firings(comparison *c, error *err)
{
	int rc = compare_places_read(&c->places, c->side, err);

	for (int s = 0; s < 2; s++)
		c->mean_best[s] = c->chance_mean[s] = c->chance_high[s] = NAN;
	if (rc < 0 || c->places.n_tokens == 0)
		return rc;
	for (int shifted = 1; shifted >= 0 && rc == 0; shifted--)
		for (int s = 0; s < 2 && rc == 0; s++) {
			rc = compare_nearest_find(&c->side[s].nearest, &c->places, c->side, s, shifted, err);
			if (rc == 0 && shifted)
				rc = summarise(&c->chance_mean[s], &c->chance_high[s], &c->side[s], err);
			else if (rc == 0)
				rc = summarise(&c->mean_best[s], NULL, &c->side[s], err);
		}
	return rc;
}

static int open_side(compare_side *side, store *s, const char *name, arena *mem, error *err)
{
	int rc = store_source_get(&side->source, s, name, err);

	if (rc < 0)
		return rc;
	side->s = s;
	side->n_features = side->source.n_features;
	side->name = arena_strdup(mem, side->source.name);
	return side->name ? 0 : error_nomem(err, "a comparison");
}

int store_compare(cJSON **out, const store_compare_opts *o, error *err)
{
	comparison c = { .o = o };
	arena mem = ARENA_INIT;
	int rc = open_side(&c.side[0], o->a, o->source_a, &mem, err);

	if (rc == 0)
		rc = open_side(&c.side[1], o->b, o->source_b, &mem, err);
	for (int s = 0; s < 2 && rc == 0; s++) {
		c.of[s] = arena_alloc(&mem, c.side[s].n_features, sizeof(*c.of[s]));
		rc = c.of[s] ? 0 : error_nomem(err, "a comparison");
	}
	if (rc == 0)
		rc = compare_firings(&c, err);
	if (rc == 0 && !o->match && c.places.n_tokens == 0)
		rc = error_set(
		        err, ERR_ARG,
		        "'%s' and '%s' cannot be compared: there are no decoder directions of one width, "
		        "and no context has stored firings of both",
		        c.side[0].name, c.side[1].name);
	if (rc == 0) {
		match_features(&c);
		measure_matches(&c);
		give_verdicts(&c);
		rc = answer(out, &c, err);
	}
	compare_places_clear(&c.places);
	for (int s = 0; s < 2; s++)
		compare_side_clear(&c.side[s]);
	arena_clear(&mem);
	return rc;
}

int store_vectors(float **out, store *s, const char *source, error *err)
{
	sqlite3_stmt *st = NULL;
	store_source src;
	float *rows = NULL;
	uint64_t n = 0;
	bool row = false;
	int rc = store_source_get(&src, s, source, err);

	*out = NULL;
	if (rc == 0)
		rc = store_prepare(&st, s, "SELECT feature, decoder FROM vector WHERE source_id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", src.id);
	if (rc == 0) {
		rows = mem_alloc_aligned((size_t)src.n_features * src.d_in, sizeof(*rows));
		rc = rows ? 0 : error_nomem(err, "decoder vectors");
	}
	while (rc == 0 && (rc = store_step(s, st, &row, err)) == 0 && row) {
		int64_t f = sqlite3_column_int64(st, 0);
		const unsigned char *halves = sqlite3_column_blob(st, 1);

		if (f < 0 || f >= src.n_features || !halves ||
		    (uint64_t)sqlite3_column_bytes(st, 1) != 2 * (uint64_t)src.d_in) {
			rc = error_set(err, ERR_FORMAT, "'%s': a vector of source '%s' is corrupt",
			               store_path(s), src.name);
			break;
		}
		for (uint32_t i = 0; i < src.d_in; i++)
			rows[(size_t)f * src.d_in + i] =
			        store_half_to_float((uint16_t)load_u16le(halves + 2 * i));
		n++;
	}
	sqlite3_finalize(st);
	if (rc == 0 && n == src.n_features) {
		*out = rows;
		return 0;
	}
	free(rows); /* none, or not of all: nothing to compare by */
	return rc;
}
