/* score_area: scores of answers that are numbers: the area under the ROC curve, which is how often a firing window's is the larger. */
#include <math.h>
#include <stdlib.h>

#include "explain/score_measure.h"

/* How surely it is yes: its grade, or of a scorer whose answers are numbers the answer. */
static double grade_of(const score_task *mine, const score_item *it, score_label of)
{
	return mine->scorer->measure_up == score_measure_area ? it->answer[of] : it->grade[of];
}

/* Those of firing items into grade[0..], of the others into grade[mine->n..]; of firing ones only those of one decile, -1: all. */
static void gather(double *grade, size_t n[2], const score_task *mine, score_label of, score_stratum from,
                   score_stratum to, int decile)
{
	n[0] = n[1] = 0;
	for (size_t i = 0; i < mine->n; i++) {
		const score_item *it = &mine->items[i];
		double x = grade_of(mine, it, of);

		if (!it->asked[of] || isnan(x))
			continue;
		if (it->stratum == SCORE_FIRING && (decile < 0 || it->decile == (unsigned)decile))
			grade[n[0]++] = x;
		else if (it->stratum >= from && it->stratum <= to)
			grade[mine->n + n[1]++] = x;
	}
}

int measure_area(stats_value *out, uint32_t n[2], const engine_task *t, score_label of, score_stratum from,
                 score_stratum to, double level, error *err)
{
	const score_task *mine = t->data;
	double *grade = malloc((2 * mine->n + 1) * sizeof(*grade));
	size_t count[2];
	int rc;

	if (!grade)
		return error_nomem(err, "grades");
	gather(grade, count, mine, of, from, to, -1);
	rc = stats_auroc(out, grade, count[0], grade + mine->n, count[1], level,
	                 hash64_mix(t->job->o->seed + 6, t->row.feature), err);
	n[0] = (uint32_t)count[0];
	n[1] = (uint32_t)count[1];
	free(grade);
	return rc;
}

int measure_add_area(cJSON *o, const char *name, const engine_task *t, score_label of, score_stratum from,
                     score_stratum to, double level, error *err)
{
	stats_value v;
	uint32_t n[2];
	cJSON *at;
	int rc = measure_area(&v, n, t, of, from, to, level, err);

	if (rc < 0 || isnan(v.value))
		return rc;
	at = cJSON_AddObjectToObject(o, name);
	if (!measure_add_interval(at, v.value, v.low, v.high) ||
	    !measure_add_number(at, "n_positive", n[0]) || !measure_add_number(at, "n_negative", n[1]))
		return error_nomem(err, "a score");
	return 0;
}

/* Against the random silent ones. */
static int add_deciles(cJSON *o, const score_task *mine, error *err)
{
	cJSON *list = cJSON_AddArrayToObject(o, "auroc_by_decile"), *one;
	double *grade = malloc((2 * mine->n + 1) * sizeof(*grade));
	size_t n[2];
	bool fine = list && grade;

	for (int d = 0; d < EXAMPLES_DECILES && fine; d++) {
		gather(grade, n, mine, SCORE_OWN, SCORE_SILENT, SCORE_MISMARKED, d);
		one = cJSON_CreateObject();
		fine = one && cJSON_AddItemToArray(list, one);
		if (!fine)
			cJSON_Delete(one);
		fine = fine &&
		       measure_add_number(one, "value", stats_area(grade, n[0], grade + mine->n, n[1])) &&
		       measure_add_number(one, "n", (double)n[0]);
	}
	free(grade);
	return fine ? 0 : error_nomem(err, "a score");
}

static int add_kinds(cJSON *o, const engine_task *t, double level, error *err)
{
	cJSON *kinds = cJSON_AddObjectToObject(o, "auroc_by_kind");
	int rc = kinds ? 0 : error_nomem(err, "a score");

	for (int k = SCORE_SILENT; k < SCORE_STRATA && rc == 0; k++)
		rc = measure_add_area(kinds, score_stratum_names[k], t, SCORE_OWN, (score_stratum)k,
		                      (score_stratum)k, level, err);
	return rc;
}

static uint32_t unanswered(const score_task *mine)
{
	uint32_t n = 0;

	for (size_t i = 0; i < mine->n; i++)
		n += mine->items[i].asked[SCORE_OWN] && isnan(mine->items[i].answer[SCORE_OWN]);
	return n;
}

static int add_baselines(cJSON *o, const engine_task *t, double level, error *err)
{
	const score_task *mine = t->data;
	const store_explanation *other = &mine->label[SCORE_OTHER];
	cJSON *at;
	int rc = measure_add_area(o, "baseline", t, SCORE_OTHER, SCORE_SILENT, SCORE_MISMARKED, level, err);

	at = cJSON_GetObjectItemCaseSensitive(o, "baseline");
	if (rc == 0 && at &&
	    (!measure_add_number(at, "feature", other->feature) ||
	     !measure_add_number(at, "explanation", (double)other->id)))
		rc = error_nomem(err, "a score");
	return rc < 0 ? rc
	              : measure_add_area(o, "empty_label", t, SCORE_EMPTY, SCORE_SILENT, SCORE_MISMARKED,
	                                 level, err);
}

int score_measure_area(store_score *sc, engine_task *t, double level, error *err)
{
	score_task *mine = t->data;
	stats_value own, other, hard;
	uint32_t n[2], unused[2];
	cJSON *o;
	int rc = measure_area(&other, unused, t, SCORE_OTHER, SCORE_SILENT, SCORE_MISMARKED, level, err);

	if (rc == 0)
		rc = measure_area(&hard, unused, t, SCORE_OWN, SCORE_DECODER, SCORE_NEAREST, level, err);
	if (rc == 0)
		rc = measure_area(&own, n, t, SCORE_OWN, SCORE_SILENT, SCORE_MISMARKED, level, err);
	if (rc < 0)
		return rc;
	sc->value = own.value;
	sc->low = own.low;
	sc->high = own.high;
	sc->baseline = other.value;
	sc->n_positive = n[0];
	sc->n_negative = n[1];
	sc->n_failed = unanswered(mine);
	mine->hard = hard.value;
	if (isnan(own.value))
		return 0;
	o = cJSON_CreateObject();
	if (!o || !measure_add_common(o, mine, t, sc, level))
		rc = error_nomem(err, "a score");
	if (rc == 0)
		rc = add_kinds(o, t, level, err);
	if (rc == 0)
		rc = measure_add_area(o, "hard", t, SCORE_OWN, SCORE_DECODER, SCORE_NEAREST, level, err);
	if (rc == 0)
		rc = add_deciles(o, mine, err);
	if (rc == 0)
		rc = add_baselines(o, t, level, err);
	if (rc < 0) {
		cJSON_Delete(o);
		return rc;
	}
	return measure_finish(sc, o, true, t, err);
}
