/* intervention_measure: the score of what intervention.c found out: means over prompts, with intervals, and what they are to be
 * held against. */
#include <math.h>
#include <stdlib.h>

#include "explain/intervention.h"
#include "explain/score_measure.h"

enum { SHOWN = 3 };

/* How much likelier the label is behind these passages than behind those, prompt by prompt; those without both are left out.
 * Returns how many. other: the label of another feature. */
static size_t differences(double *x, const score_task *mine, steer_text of, steer_text less, bool other)
{
	const intervention *v = mine->own;
	size_t n = 0;

	if (other && intervention_labels(mine, of) < 2)
		return 0;
	for (size_t i = 0; i < mine->n; i++) {
		double a = v->label[of][i + (other ? mine->n : 0)].logprob,
		       b = v->label[less][i + (other ? mine->n : 0)].logprob;

		if (!isnan(a) && !isnan(b))
			x[n++] = a - b;
	}
	return n;
}

static int mean_of(stats_value *out, size_t *n, const engine_task *t, steer_text of, steer_text less,
                   bool other, double level, error *err)
{
	const score_task *mine = t->data;
	double *x = malloc((mine->n + 1) * sizeof(*x));
	int rc = x ? 0 : error_nomem(err, "a score");

	if (rc == 0) {
		*n = differences(x, mine, of, less, other);
		rc = stats_bootstrap_t(out, x, *n, level, hash64_mix(t->job->o->seed + 6, t->row.feature),
		                       err);
	}
	free(x);
	return rc;
}

/* A member of o with its interval; *to: it, for more. */
static int add_mean(cJSON **to, cJSON *o, const char *name, const engine_task *t, steer_text of,
                    steer_text less, bool other, double level, error *err)
{
	stats_value v;
	size_t n;
	int rc = mean_of(&v, &n, t, of, less, other, level, err);

	if (rc < 0)
		return rc;
	*to = cJSON_AddObjectToObject(o, name);
	if (!measure_add_interval(*to, v.value, v.low, v.high) || !measure_add_number(*to, "n", (double)n))
		return error_nomem(err, "a score");
	return 0;
}

static bool add_search(cJSON *o, const steer_search *s)
{
	return measure_add_number(o, "strength", s->best) && measure_add_number(o, "kl", s->kl) &&
	       cJSON_AddBoolToObject(o, "kl_met", s->met) && measure_add_number(o, "steps", s->steps);
}

static bool add_steering(cJSON *o, const engine_task *t, const intervention *v)
{
	const steer_search *s = &v->by[STEER_FEATURE];
	cJSON *to = cJSON_AddObjectToObject(o, "steering");

	return to && add_search(to, s) && measure_add_number(to, "kl_wanted", t->job->o->steer_kl) &&
	       measure_add_number(to, "layer", (double)v->layer) && measure_add_number(to, "norm", v->norm) &&
	       measure_add_number(to, "max_act", v->max_act) &&
	       measure_add_number(to, "tokens", t->job->o->steer_tokens) &&
	       cJSON_AddStringToObject(to, "subject", t->job->o->subject->model);
}

/* The first passages, for people. */
static bool add_passages(cJSON *o, const score_task *mine)
{
	const intervention *v = mine->own;
	cJSON *list = cJSON_AddArrayToObject(o, "passages"), *one;

	for (size_t i = 0; list && i < mine->n && i < SHOWN; i++) {
		one = cJSON_CreateObject();
		if (!one || !cJSON_AddItemToArray(list, one)) {
			cJSON_Delete(one);
			return false;
		}
		if (!cJSON_AddStringToObject(one, "prompt", v->prompt[i]) ||
		    !cJSON_AddStringToObject(one, "clean", v->text[TEXT_CLEAN][i]) ||
		    !cJSON_AddStringToObject(one, "steered", v->text[TEXT_STEERED][i]))
			return false;
	}
	return list != NULL;
}

static int add_baselines(cJSON *o, const engine_task *t, double level, error *err)
{
	const score_task *mine = t->data;
	const intervention *v = mine->own;
	const store_explanation *other = &mine->label[SCORE_OTHER];
	cJSON *to = NULL;
	int rc = add_mean(&to, o, "zero_strength", t, TEXT_ZERO, TEXT_CLEAN, false, level, err);

	if (rc == 0)
		rc = add_mean(&to, o, "random_same_kl", t, TEXT_RANDOM_KL, TEXT_CLEAN, false, level, err);
	if (rc == 0 && !add_search(to, &v->by[STEER_RANDOM]))
		rc = error_nomem(err, "a score");
	if (rc == 0)
		rc = add_mean(&to, o, "random_same_strength", t, TEXT_RANDOM_STRENGTH, TEXT_CLEAN, false,
		              level, err);
	if (rc == 0 && !measure_add_number(to, "kl", v->kl_random))
		rc = error_nomem(err, "a score");
	if (rc == 0)
		rc = add_mean(&to, o, "above_random", t, TEXT_STEERED, TEXT_RANDOM_KL, false, level, err);
	if (rc < 0 || !other->text)
		return rc;
	rc = add_mean(&to, o, "baseline", t, TEXT_STEERED, TEXT_CLEAN, true, level, err);
	if (rc == 0 && (!measure_add_number(to, "feature", other->feature) ||
	                !measure_add_number(to, "explanation", (double)other->id)))
		rc = error_nomem(err, "a score");
	return rc;
}

int intervention_measure(store_score *sc, engine_task *t, double level, error *err)
{
	score_task *mine = t->data;
	const intervention *v = mine->own;
	stats_value own, other;
	size_t n, unused;
	cJSON *o;
	int rc = mean_of(&own, &n, t, TEXT_STEERED, TEXT_CLEAN, false, level, err);

	if (rc == 0)
		rc = mean_of(&other, &unused, t, TEXT_STEERED, TEXT_CLEAN, true, level, err);
	if (rc < 0)
		return rc;
	sc->value = own.value;
	sc->low = own.low;
	sc->high = own.high;
	sc->baseline = other.value;
	sc->n_positive = (uint32_t)n;
	sc->n_negative = 0;
	sc->n_failed = (uint32_t)(mine->n - n);
	if (isnan(own.value))
		return 0;
	o = cJSON_CreateObject();
	if (!o || !measure_add_common(o, mine, t, sc, level) || !add_steering(o, t, v) ||
	    !add_passages(o, mine))
		rc = error_nomem(err, "a score");
	if (rc == 0)
		rc = add_baselines(o, t, level, err);
	if (rc < 0) {
		cJSON_Delete(o);
		return rc;
	}
	return measure_finish(sc, o, true, t, err);
}
