/* score_measure: what scores are made of answers: rates by kind of window, by decile, by label, and their intervals. */
#include <math.h>
#include <stdlib.h>

#include "explain/judged.h"
#include "explain/score_measure.h"

/* ---- Counts ----------------------------------------------------------------------------------------------------------- */

typedef struct tally {
	uint32_t hit[SCORE_STRATA], n[SCORE_STRATA];
	uint32_t missing;
	uint32_t yes, no; /* answers */
	uint32_t decile_hit[EXAMPLES_DECILES], decile_n[EXAMPLES_DECILES];
	double weight, weight_hit; /* of firing windows: tokens that they stand for */
} tally;

/* of: the label; deciles are of the items of `in`. */
static tally count(const score_task *mine, score_label of, score_stratum in)
{
	tally c = { 0 };

	for (size_t i = 0; i < mine->n; i++) {
		const score_item *it = &mine->items[i];
		bool right = it->answer[of] == it->truth;

		if (!it->asked[of])
			continue;
		if (isnan(it->answer[of])) {
			c.missing++;
			continue;
		}
		c.yes += it->answer[of] == 1;
		c.no += it->answer[of] == 0;
		c.n[it->stratum]++;
		c.hit[it->stratum] += right;
		if (it->stratum != in)
			continue;
		c.decile_n[it->decile]++;
		c.decile_hit[it->decile] += right;
		c.weight += it->shown->w.weight;
		c.weight_hit += right ? it->shown->w.weight : 0;
	}
	return c;
}

static uint32_t sum(const uint32_t *of, score_stratum from, score_stratum to)
{
	uint32_t n = 0;

	for (int k = from; k <= (int)to; k++)
		n += of[k];
	return n;
}

/* Of firing windows and the silent ones of some strata. */
static stats_balanced balanced(const tally *c, score_stratum from, score_stratum to, double level)
{
	return stats_balanced_accuracy(c->hit[SCORE_FIRING], c->n[SCORE_FIRING], sum(c->hit, from, to),
	                               sum(c->n, from, to), level);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------- */

bool measure_add_number(cJSON *o, const char *name, double x)
{
	return isnan(x) ? cJSON_AddNullToObject(o, name) != NULL
	                : cJSON_AddNumberToObject(o, name, x) != NULL;
}

bool measure_add_interval(cJSON *to, double value, double low, double high)
{
	return to && measure_add_number(to, "value", value) && measure_add_number(to, "low", low) &&
	       measure_add_number(to, "high", high);
}

static bool add_rate(cJSON *o, const char *name, const stats_rate *r)
{
	cJSON *to = cJSON_AddObjectToObject(o, name);

	return measure_add_interval(to, r->value, r->low, r->high) && measure_add_number(to, "n", r->n);
}

static bool add_deciles(cJSON *o, const char *name, const tally *c)
{
	cJSON *list = cJSON_AddArrayToObject(o, name), *one;

	for (int i = 0; i < EXAMPLES_DECILES && list; i++) {
		one = cJSON_CreateObject();
		if (!one || !cJSON_AddItemToArray(list, one)) {
			cJSON_Delete(one);
			return false;
		}
		if (!measure_add_number(one, "hits", c->decile_hit[i]) ||
		    !measure_add_number(one, "n", c->decile_n[i]))
			return false;
	}
	return list != NULL;
}

/* A rate for each kind of wrong item that there was. */
static bool add_strata(cJSON *o, const char *name, const tally *c, double level)
{
	cJSON *to = cJSON_AddObjectToObject(o, name);
	stats_rate r;

	for (int k = SCORE_SILENT; k < SCORE_STRATA && to; k++) {
		r = stats_wilson(c->hit[k], c->n[k], level);
		if (r.n && !add_rate(to, score_stratum_names[k], &r))
			return false;
	}
	return to != NULL;
}

bool measure_add_common(cJSON *o, const score_task *mine, const engine_task *t, const store_score *sc,
                        double level)
{
	double chance = mine->scorer->chance(t->job->o);

	return measure_add_number(o, "chance", chance) &&
	       cJSON_AddBoolToObject(o, "holds_chance", sc->low <= chance && chance <= sc->high) &&
	       cJSON_AddBoolToObject(o, "above_chance", sc->low > chance) &&
	       measure_add_number(o, "level", level) && measure_add_number(o, "looks", mine->look + 1) &&
	       measure_add_number(o, "asked_again", mine->n_again) &&
	       measure_add_number(o, "stray_answers", mine->n_stray) && judged_put(o, mine);
}

int measure_finish(store_score *sc, cJSON *o, bool fine, engine_task *t, error *err)
{
	char *printed = o && fine ? json_print_canonical(o) : NULL;

	sc->details = printed ? arena_strdup(&t->mem, printed) : NULL;
	free(printed);
	cJSON_Delete(o);
	return sc->details ? 0 : error_nomem(err, "a score");
}

/* ---- Balanced accuracy ------------------------------------------------------------------------------------------------ */

static bool add_baseline(cJSON *o, const char *name, const score_task *mine, score_label of, double level)
{
	tally c = count(mine, of, SCORE_FIRING);
	stats_balanced b = balanced(&c, SCORE_SILENT, SCORE_MISMARKED, level);
	const store_explanation *e = &mine->label[of];
	cJSON *to;

	if (!e->text)
		return true;
	to = cJSON_AddObjectToObject(o, name);
	if (of == SCORE_OTHER && !(measure_add_number(to, "feature", e->feature) &&
	                           measure_add_number(to, "explanation", (double)e->id)))
		return false;
	if (of == SCORE_LEXICAL && !cJSON_AddStringToObject(to, "label", e->text))
		return false;
	return measure_add_interval(to, b.value, b.low, b.high) &&
	       measure_add_number(to, "n_positive", b.tpr.n) &&
	       measure_add_number(to, "n_negative", b.tnr.n) && measure_add_number(to, "n_failed", c.missing);
}

/* A judge that says no to all: what plain accuracy would make of it. */
static bool add_always_no(cJSON *o, const stats_balanced *b)
{
	cJSON *to = cJSON_AddObjectToObject(o, "always_no");

	return to && measure_add_number(to, "value", 0.5) &&
	       measure_add_number(to, "accuracy", (double)b->tnr.n / ((double)b->tnr.n + b->tpr.n));
}

static bool add_hard(cJSON *o, const tally *c, double level)
{
	stats_balanced b = balanced(c, SCORE_DECODER, SCORE_NEAREST, level);
	cJSON *to;

	if (b.tnr.n == 0)
		return true;
	to = cJSON_AddObjectToObject(o, "hard");
	return measure_add_interval(to, b.value, b.low, b.high) && measure_add_number(to, "n", b.tnr.n);
}

static bool add_confusion(cJSON *o, const stats_balanced *b, const tally *c)
{
	uint32_t fp = b->tnr.n - b->tnr.hits, fn = b->tpr.n - b->tpr.hits;

	return measure_add_number(o, "true_positive", b->tpr.hits) &&
	       measure_add_number(o, "false_negative", fn) &&
	       measure_add_number(o, "true_negative", b->tnr.hits) &&
	       measure_add_number(o, "false_positive", fp) &&
	       measure_add_number(o, "f1", 2.0 * b->tpr.hits / (2.0 * b->tpr.hits + fp + fn)) &&
	       measure_add_number(o, "tpr_weighted",
	                          c->weight > 0 ? c->weight_hit / c->weight : (double)NAN) &&
	       cJSON_AddStringToObject(o, "always",
	                               c->no == 0    ? "yes"
	                               : c->yes == 0 ? "no"
	                                             : "neither") != NULL;
}

int score_measure_balanced(store_score *sc, engine_task *t, double level, error *err)
{
	score_task *mine = t->data;
	tally c = count(mine, SCORE_OWN, SCORE_FIRING), other = count(mine, SCORE_OTHER, SCORE_FIRING);
	stats_balanced b = balanced(&c, SCORE_SILENT, SCORE_MISMARKED, level);
	cJSON *o = cJSON_CreateObject();
	bool fine;
	int rc = 0;

	sc->value = b.value;
	sc->low = b.low;
	sc->high = b.high;
	sc->baseline = balanced(&other, SCORE_SILENT, SCORE_MISMARKED, level).value;
	sc->n_positive = b.tpr.n;
	sc->n_negative = b.tnr.n;
	sc->n_failed = c.missing;
	mine->hard = balanced(&c, SCORE_DECODER, SCORE_NEAREST, level).value;
	if (isnan(b.value)) {
		cJSON_Delete(o);
		return 0;
	}
	fine = o && measure_add_common(o, mine, t, sc, level) && add_confusion(o, &b, &c) &&
	       add_rate(o, "tpr", &b.tpr) && add_rate(o, "tnr", &b.tnr) &&
	       add_strata(o, "tnr_by_kind", &c, level) && add_hard(o, &c, level) &&
	       add_deciles(o, "tpr_by_decile", &c) && add_baseline(o, "baseline", mine, SCORE_OTHER, level) &&
	       add_baseline(o, "empty_label", mine, SCORE_EMPTY, level) &&
	       add_baseline(o, "lexical", mine, SCORE_LEXICAL, level) && add_always_no(o, &b);
	if (fine)
		rc = measure_add_area(o, "auroc", t, SCORE_OWN, SCORE_SILENT, SCORE_MISMARKED, level, err);
	if (fine && rc == 0)
		rc = measure_add_area(o, "auroc_hard", t, SCORE_OWN, SCORE_DECODER, SCORE_NEAREST, level,
		                      err);
	if (rc < 0) {
		cJSON_Delete(o);
		return rc;
	}
	return measure_finish(sc, o, fine, t, err);
}

/* ---- Accuracy --------------------------------------------------------------------------------------------------------- */

int score_measure_accuracy(store_score *sc, engine_task *t, double level, error *err)
{
	score_task *mine = t->data;
	tally c = count(mine, SCORE_OWN, SCORE_SILENT);
	stats_rate r = stats_wilson(c.hit[SCORE_SILENT], c.n[SCORE_SILENT], level);
	stats_rate hard = stats_wilson(sum(c.hit, SCORE_DECODER, SCORE_NEAREST),
	                               sum(c.n, SCORE_DECODER, SCORE_NEAREST), level);
	cJSON *o;
	bool fine;

	sc->value = r.value;
	sc->low = r.low;
	sc->high = r.high;
	sc->baseline = (double)NAN;
	sc->n_positive = r.n;
	sc->n_negative = 0;
	sc->n_failed = c.missing;
	mine->hard = hard.value;
	if (isnan(r.value))
		return 0;
	o = cJSON_CreateObject();
	fine = o && measure_add_common(o, mine, t, sc, level) && measure_add_number(o, "right", r.hits) &&
	       measure_add_number(o, "group", t->job->o->group) &&
	       (hard.n == 0 || add_rate(o, "hard", &hard)) &&
	       add_strata(o, "accuracy_by_intruder", &c, level) && add_deciles(o, "accuracy_by_decile", &c);
	return measure_finish(sc, o, fine, t, err);
}
