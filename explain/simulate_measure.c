/* simulate_measure: what is made of simulated activations: correlation, explained variance and distance over the tokens of all windows
 * together, not means over windows; by decile, of the random windows alone, by other labels. The interval is a bootstrap over
 * windows, the firing and the random ones apart, since tokens of a window go together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/score_measure.h"
#include "explain/simulate.h"

enum { RESAMPLES = 2000 };

/* ---- Sums ------------------------------------------------------------------------------------------------------------- */

void simulate_add(simulate_sums *to, const double *x, const double *y, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (isnan(y[i]))
			continue;
		to->n++;
		to->x += x[i];
		to->y += y[i];
		to->xx += x[i] * x[i];
		to->yy += y[i] * y[i];
		to->xy += x[i] * y[i];
		to->square += (x[i] - y[i]) * (x[i] - y[i]);
		to->distance += fabs(x[i] - y[i]);
	}
}

void simulate_join(simulate_sums *to, const simulate_sums *more)
{
	to->n += more->n;
	to->x += more->x;
	to->y += more->y;
	to->xx += more->xx;
	to->yy += more->yy;
	to->xy += more->xy;
	to->square += more->square;
	to->distance += more->distance;
}

/* Sum of squares around the mean; 0 where rounding is all there is. */
static double around_mean(double sum, double squares, double n)
{
	double v = squares - sum * sum / n;

	return v > 1e-12 * squares ? v : 0;
}

double simulate_correlation(const simulate_sums *s)
{
	double x = around_mean(s->x, s->xx, s->n), y = around_mean(s->y, s->yy, s->n), r;

	if (s->n == 0 || x <= 0 || y <= 0)
		return (double)NAN;
	r = (s->xy - s->x * s->y / s->n) / sqrt(x * y);
	return r > 1 ? 1 : r < -1 ? -1 : r;
}

double simulate_explained(const simulate_sums *s)
{
	double x = s->n > 0 ? around_mean(s->x, s->xx, s->n) : 0;

	return x > 0 ? 1 - s->square / x : (double)NAN;
}

double simulate_explained_uncentred(const simulate_sums *s)
{
	return s->xx > 0 ? 1 - s->square / s->xx : (double)NAN;
}

double simulate_absolute(const simulate_sums *s)
{
	return s->x > 0 ? 1 - s->distance / s->x : (double)NAN; /* x is nowhere below 0 */
}

/* ---- Windows ---------------------------------------------------------------------------------------------------------- */

/* Those that a label was asked about, each with its sums. */
typedef struct windows {
	simulate_sums *firing, *random; /* (n_firing), (n_random); one block */
	unsigned *decile;               /* (n_firing) */
	size_t n_firing, n_random;
	simulate_sums all, alone; /* of all of them, of the random ones alone */
	size_t missing;           /* tokens without a simulated activation */
	uint32_t incomplete;      /* windows with such */
} windows;

static int add_window(windows *w, engine_task *t, const score_item *it, score_label of, error *err)
{
	const simulation *own = ((const score_task *)t->data)->own;
	const double *y = simulate_values(t, it, of);
	uint32_t n = it->shown->w.length;
	double *x = malloc(n * sizeof(*x));
	simulate_sums sums = { 0 };

	if (!x || !y) {
		free(x);
		return error_nomem(err, "activations");
	}
	for (uint32_t i = 0; i < n; i++)
		x[i] = simulate_truth(it->shown->w.value[i], own->strongest);
	simulate_add(&sums, x, y, n);
	free(x);
	w->missing += n - (size_t)sums.n;
	w->incomplete += sums.n < n;
	if (sums.n == 0)
		return 0;
	simulate_join(&w->all, &sums);
	if (it->stratum == SCORE_FIRING) {
		w->decile[w->n_firing] = it->decile;
		w->firing[w->n_firing++] = sums;
	} else {
		simulate_join(&w->alone, &sums);
		w->random[w->n_random++] = sums;
	}
	return 0;
}

static int apply_rule(engine_task *t, const score_item *it, score_label of, error *err)
{
	const score_task *mine = t->data;
	const store_window *w = &it->shown->w;
	double *values = simulate_values(t, it, of);
	uint8_t *mark = calloc(w->length, 1);
	bool holds = false;
	int rc = values && mark ? 0 : error_nomem(err, "activations");

	for (uint32_t i = 0; i < w->length && rc == 0; i++) {
		mark[i] = 1;
		rc = explain_lexical_judge_marked(&holds, mine->label[of].rule, w, mark, err);
		values[i] = holds ? SIMULATE_MOST : 0;
		mark[i] = 0;
	}
	free(mark);
	return rc;
}

/* End with windows_free(), after a failure too. */
static int windows_read(windows *w, engine_task *t, score_label of, error *err)
{
	const score_task *mine = t->data;
	bool rule = mine->label[of].rule && (of == SCORE_LEXICAL || !t->job->o->client);
	int rc = 0;

	*w = (windows){ .firing = calloc(2 * mine->n + 1, sizeof(*w->firing)),
		        .decile = calloc(mine->n + 1, sizeof(*w->decile)) };
	if (!w->firing || !w->decile)
		return error_nomem(err, "activations");
	w->random = w->firing + mine->n;
	for (size_t i = 0; i < mine->n && rc == 0; i++) {
		const score_item *it = &mine->items[i];

		if (!it->asked[of])
			continue;
		if (rule)
			rc = apply_rule(t, it, of, err);
		if (rc == 0)
			rc = add_window(w, t, it, of, err);
	}
	return rc;
}

static void windows_free(windows *w)
{
	free(w->firing);
	free(w->decile);
}

/* ---- Intervals -------------------------------------------------------------------------------------------------------- */

static void draw(simulate_sums *to, const simulate_sums *from, size_t n, uint64_t key)
{
	for (size_t i = 0; i < n; i++)
		simulate_join(to, &from[hash64_below(hash64_mix(key, i), n)]);
}

/* Of the correlation over n and m windows, by percentiles of resamples. Those in which nothing varies are left out; where half
 * are, nothing is known. */
static int interval(stats_value *out, const simulate_sums *a, size_t n, const simulate_sums *b, size_t m,
                    double level, uint64_t seed, error *err)
{
	double *r = malloc(RESAMPLES * sizeof(*r));
	size_t found = 0, skip;

	if (!r)
		return error_nomem(err, "resamples");
	for (size_t i = 0; i < RESAMPLES; i++) {
		simulate_sums sums = { 0 };

		draw(&sums, a, n, hash64_mix(seed, 2 * i));
		draw(&sums, b, m, hash64_mix(seed, 2 * i + 1));
		r[found] = simulate_correlation(&sums);
		found += !isnan(r[found]);
	}
	out->low = -1;
	out->high = 1;
	if (found >= RESAMPLES / 2) {
		stats_sort(r, found);
		skip = (size_t)((1 - level) / 2 * (double)found);
		out->low = fmin(r[skip], out->value);
		out->high = fmax(r[found - 1 - skip], out->value);
	}
	free(r);
	return 0;
}

/* Value and interval of all windows, or of the random ones alone. Value NaN: there are none, or nothing varies. */
static int measure(stats_value *out, const engine_task *t, const windows *w, bool alone, double level,
                   error *err)
{
	uint64_t seed = hash64_mix(t->job->o->seed + 7, t->row.feature);

	*out = (stats_value){ simulate_correlation(alone ? &w->alone : &w->all), (double)NAN, (double)NAN };
	if (isnan(out->value))
		return 0;
	return interval(out, w->firing, alone ? 0 : w->n_firing, w->random, w->n_random, level, seed, err);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------- */

static bool add_sums(cJSON *to, const simulate_sums *s)
{
	return measure_add_number(to, "explained_variance_centred", simulate_explained(s)) &&
	       measure_add_number(to, "explained_variance_uncentred", simulate_explained_uncentred(s)) &&
	       measure_add_number(to, "absolute_deviation", simulate_absolute(s)) &&
	       measure_add_number(to, "tokens", s->n);
}

static bool add_part(cJSON *to, const stats_value *v, const windows *w, bool alone)
{
	return measure_add_interval(to, v->value, v->low, v->high) &&
	       add_sums(to, alone ? &w->alone : &w->all) &&
	       measure_add_number(to, "n_positive", alone ? 0 : (double)w->n_firing) &&
	       measure_add_number(to, "n_negative", (double)w->n_random);
}

/* Of the firing windows of each decile. */
static bool add_deciles(cJSON *o, const windows *w)
{
	cJSON *list = cJSON_AddArrayToObject(o, "correlation_by_decile"), *one;

	for (unsigned d = 0; d < EXAMPLES_DECILES && list; d++) {
		simulate_sums sums = { 0 };
		size_t n = 0;

		for (size_t i = 0; i < w->n_firing; i++) {
			if (w->decile[i] != d)
				continue;
			simulate_join(&sums, &w->firing[i]);
			n++;
		}
		one = cJSON_CreateObject();
		if (!one || !cJSON_AddItemToArray(list, one)) {
			cJSON_Delete(one);
			return false;
		}
		if (!measure_add_number(one, "value", simulate_correlation(&sums)) ||
		    !measure_add_number(one, "n", (double)n))
			return false;
	}
	return list != NULL;
}

/* *value: of the correlation; of a label by which nothing varies 0, which is what it tells. */
static int add_baseline(double *value, cJSON *o, const char *name, engine_task *t, score_label of,
                        double level, error *err)
{
	const store_explanation *e = &((const score_task *)t->data)->label[of];
	windows w = { 0 };
	stats_value v;
	bool fine;
	cJSON *to;
	int rc;

	*value = (double)NAN;
	if (!e->text)
		return 0;
	rc = windows_read(&w, t, of, err);
	if (rc == 0)
		rc = measure(&v, t, &w, false, level, err);
	if (rc == 0 && w.all.n > 0) {
		*value = isnan(v.value) ? 0 : v.value;
		to = cJSON_AddObjectToObject(o, name);
		fine = to && add_part(to, &v, &w, false) && measure_add_number(to, "n_failed", w.incomplete);
		if (of == SCORE_OTHER)
			fine = fine && measure_add_number(to, "feature", e->feature) &&
			       measure_add_number(to, "explanation", (double)e->id);
		if (of == SCORE_LEXICAL)
			fine = fine && cJSON_AddStringToObject(to, "label", e->text);
		rc = fine ? 0 : error_nomem(err, "a score");
	}
	windows_free(&w);
	return rc;
}

/* Who says 0 on all tokens: no correlation can be made of that. */
static bool add_always_zero(cJSON *o, const windows *w)
{
	cJSON *to = cJSON_AddObjectToObject(o, "always_zero");
	simulate_sums zero = w->all;

	zero.square = zero.xx;
	zero.distance = zero.x;
	zero.y = zero.yy = zero.xy = 0;
	return to && measure_add_number(to, "value", simulate_correlation(&zero)) && add_sums(to, &zero);
}

static int details(store_score *sc, cJSON *o, engine_task *t, const windows *w, double level, error *err)
{
	const score_task *mine = t->data;
	const simulation *own = mine->own;
	bool undefined = isnan(simulate_correlation(&w->all)), echo = mine->scorer == &scorer_simulation_echo;
	stats_value alone;
	double unused;
	cJSON *to;
	int rc = measure(&alone, t, w, true, level, err);

	if (rc < 0)
		return rc;
	to = cJSON_AddObjectToObject(o, "random_only");
	if (!to || !measure_add_common(o, mine, t, sc, level) || !add_part(to, &alone, w, true) ||
	    !add_sums(o, &w->all) || !add_deciles(o, w) || !add_always_zero(o, w) ||
	    !cJSON_AddBoolToObject(o, "undefined", undefined) ||
	    !cJSON_AddStringToObject(o, "by",
	                             !t->job->o->client ? "rule"
	                             : echo             ? "logprobs"
	                                                : "json") ||
	    !measure_add_number(o, "strongest", (double)own->strongest) ||
	    !measure_add_number(o, "tokens_missing", (double)w->missing) ||
	    !measure_add_number(o, "tokens_asked_again", own->n_again))
		return error_nomem(err, "a score");
	rc = add_baseline(&sc->baseline, o, "baseline", t, SCORE_OTHER, level, err);
	if (rc == 0)
		rc = add_baseline(&unused, o, "empty_label", t, SCORE_EMPTY, level, err);
	return rc < 0 ? rc : add_baseline(&unused, o, "lexical", t, SCORE_LEXICAL, level, err);
}

/* Of a label by which the judge says the same on all tokens the correlation is not defined: it tells nothing, which counts as 0,
 * and how little is known of that the interval says. */
int simulate_measure(store_score *sc, engine_task *t, double level, error *err)
{
	windows w = { 0 };
	stats_value v;
	cJSON *o = cJSON_CreateObject();
	int rc = o ? windows_read(&w, t, SCORE_OWN, err) : error_nomem(err, "a score");

	if (rc == 0)
		rc = measure(&v, t, &w, false, level, err);
	if (rc == 0 && w.all.n == 0) {
		sc->value = (double)NAN;
		goto out;
	}
	if (rc == 0) {
		sc->value = isnan(v.value) ? 0 : v.value;
		sc->low = isnan(v.value) ? -1 : v.low;
		sc->high = isnan(v.value) ? 1 : v.high;
		sc->baseline = (double)NAN;
		sc->n_positive = (uint32_t)w.n_firing;
		sc->n_negative = (uint32_t)w.n_random;
		sc->n_failed = w.incomplete;
		rc = details(sc, o, t, &w, level, err);
	}
	windows_free(&w);
	if (rc == 0)
		return measure_finish(sc, o, true, t, err);
	cJSON_Delete(o);
	return rc;
out:
	windows_free(&w);
	cJSON_Delete(o);
	return 0;
}
