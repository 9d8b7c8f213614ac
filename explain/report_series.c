/* report_series: what the scores of one scorer by one judge say together. */
#include "explain/report_parts.h"

#include <math.h>

enum { BINS = 20, DECILES = 10, DENSITY_STEPS = 2 /* bins a power of ten */ };

double report_number(const cJSON *details, const char *name, const char *within)
{
	const cJSON *x = cJSON_GetObjectItemCaseSensitive(details, name);

	if (within)
		x = cJSON_GetObjectItemCaseSensitive(x, within);
	return cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
}

bool report_holds_chance(const report_score *x, bool *told)
{
	*told = !isnan(x->chance) && !isnan(x->row->low) && !isnan(x->row->high);
	return *told && x->row->low <= x->chance && x->chance <= x->row->high;
}

/* A window of a simulation counts as failed where a token is missing, and among those that were answered by its other tokens. */
double report_unanswered(const report_score *x, double *asked)
{
	double missing = report_number(x->details, "tokens_missing", NULL),
	       tokens = report_number(x->details, "tokens", NULL);

	if (missing >= 0 && tokens >= 0) {
		*asked = tokens + missing;
		return missing;
	}
	*asked = (double)x->row->n_positive + x->row->n_negative + x->row->n_failed;
	return x->row->n_failed;
}

static stats_mean mean_of_details(report *r, const report_series *x, const char *name, const char *within)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n; i++) {
		double v = report_number(x->score[i]->details, name, within);

		if (!isnan(v))
			r->room[n++] = v;
	}
	return stats_mean_of(r->room, n, REPORT_LEVEL);
}

/* ---- Distribution ----------------------------------------------------------------------------------------------------- */

static void put_histogram(cJSON *to, const double *sorted, size_t n, bool *failed)
{
	cJSON *h = put_object(to, "histogram", failed), *list;
	double low = 0, high = 1;
	unsigned count[BINS] = { 0 };

	if (sorted[0] < 0 || sorted[n - 1] > 1) {
		bool correlation = sorted[0] >= -1 && sorted[n - 1] <= 1;

		low = correlation ? -1 : fmin(0, sorted[0]);
		high = correlation ? 1 : fmax(0, sorted[n - 1]);
	}
	for (size_t i = 0; i < n; i++) {
		int at = (int)floor((sorted[i] - low) / (high - low) * BINS + 1e-9);

		count[at < 0 ? 0 : at >= BINS ? BINS - 1 : at]++;
	}
	put_number(h, "low", low, failed);
	put_number(h, "high", high, failed);
	list = put_array(h, "counts", failed);
	for (int i = 0; i < BINS; i++)
		put_number(list, NULL, count[i], failed);
}

static void put_distribution(cJSON *to, report *r, const report_series *x, bool *failed)
{
	stats_mean m;
	cJSON *list;

	for (size_t i = 0; i < x->n; i++)
		r->room[i] = x->score[i]->row->value;
	m = stats_mean_of(r->room, x->n, REPORT_LEVEL);
	put_mean(to, &m, failed);
	put_number(to, "deviation", m.deviation, failed);
	stats_sort(r->room, x->n);
	list = put_array(to, "quantiles", failed);
	for (int i = 0; i <= 4; i++)
		put_number(list, NULL, stats_quantile(r->room, x->n, i / 4.0), failed);
	put_histogram(to, r->room, x->n, failed);
}

static void put_chance(cJSON *to, const report_series *x, bool *failed)
{
	unsigned above = 0, holds = 0, below = 0, untold = 0;
	bool told;

	for (size_t i = 0; i < x->n; i++) {
		const report_score *s = x->score[i];

		holds += report_holds_chance(s, &told);
		untold += !told;
		above += told && s->row->low > s->chance;
		below += told && s->row->high < s->chance;
	}
	put_number(to, "above_chance", above, failed);
	put_number(to, "holds_chance", holds, failed);
	put_number(to, "below_chance", below, failed);
	put_number(to, "untold", untold, failed);
}

static void put_answers(cJSON *to, report *r, const report_series *x, bool *failed)
{
	uint32_t answers = 0, yes = 0, no = 0;
	double missing = 0, asked = 0, of;
	const char *kinds[] = { "tpr", "tnr", "hard", "auroc" };
	stats_rate rate;

	for (size_t i = 0; i < x->n; i++) {
		const store_scored *row = x->score[i]->row;
		const char *always = cJSON_GetStringValue(
		        cJSON_GetObjectItemCaseSensitive(x->score[i]->details, "always"));

		answers += row->n_positive + row->n_negative;
		missing += report_unanswered(x->score[i], &of);
		asked += of;
		yes += always && strcmp(always, "yes") == 0;
		no += always && strcmp(always, "no") == 0;
	}
	rate = stats_wilson((uint32_t)missing, (uint32_t)asked, REPORT_LEVEL);
	put_number(to, "answers", answers, failed);
	put_rate(put_object(to, "failures", failed), &rate, failed);
	put_number(to, "always_yes", yes, failed);
	put_number(to, "always_no", no, failed);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		stats_mean m = mean_of_details(r, x, kinds[k], "value");

		if (m.n)
			put_mean(put_object(to, kinds[k], failed), &m, failed);
	}
	put_number(to, "plain_accuracy_of_no", mean_of_details(r, x, "always_no", "accuracy").value, failed);
}

/* ---- Against what it has to beat ------------------------------------------------------------------------------------------ */

static double other_value(const report_score *x, const char *name)
{
	double v = report_number(x->details, name, "value");

	return isnan(v) && strcmp(name, "baseline") == 0 ? x->row->baseline : v;
}

static void put_against(cJSON *list, report *r, const report_series *x, const char *name, const char *what,
                        bool *failed)
{
	double *value = r->room, *difference = r->room + r->n;
	unsigned better = 0, equal = 0;
	stats_mean m, d;
	size_t n = 0;
	cJSON *one;

	for (size_t i = 0; i < x->n; i++) {
		double v = other_value(x->score[i], name);

		if (isnan(v))
			continue;
		value[n] = v;
		difference[n] = x->score[i]->row->value - v;
		better += difference[n] > 0;
		equal += difference[n] >= 0 && difference[n] <= 0;
		n++;
	}
	if (n == 0)
		return;
	m = stats_mean_of(value, n, REPORT_LEVEL);
	d = stats_mean_of(difference, n, REPORT_LEVEL);
	one = put_object(list, NULL, failed);
	put_text(one, "what", what, failed);
	put_mean(one, &m, failed);
	put_number(one, "better", better, failed);
	put_number(one, "equal", equal, failed);
	put_mean(put_object(one, "difference", failed), &d, failed);
}

/* ---- By kind of feature ------------------------------------------------------------------------------------------------- */

static int density_bin(double density)
{
	return (int)floor(log10(density) * DENSITY_STEPS + 1e-9);
}

static void put_by_density(cJSON *to, report *r, const report_series *x, bool *failed)
{
	cJSON *list = put_array(to, "by_density", failed), *one;

	for (int bin = -10 * DENSITY_STEPS; bin <= 0; bin++) {
		size_t n = 0;
		stats_mean m;

		for (size_t i = 0; i < x->n; i++)
			if (x->score[i]->row->density > 0 && density_bin(x->score[i]->row->density) == bin)
				r->room[n++] = x->score[i]->row->value;
		if (n == 0)
			continue;
		m = stats_mean_of(r->room, n, REPORT_LEVEL);
		one = put_object(list, NULL, failed);
		put_number(one, "from", pow(10, (double)bin / DENSITY_STEPS), failed);
		put_number(one, "to", pow(10, (bin + 1.0) / DENSITY_STEPS), failed);
		put_mean(one, &m, failed);
	}
}

static void put_by_source(cJSON *to, report *r, const report_series *x, bool *failed)
{
	cJSON *list = put_array(to, "by_source", failed), *one;

	for (size_t k = 0; k < r->n_sources; k++) {
		size_t n = 0;
		stats_mean m;

		for (size_t i = 0; i < x->n; i++)
			if (x->score[i]->source == k)
				r->room[n++] = x->score[i]->row->value;
		if (n == 0)
			continue;
		m = stats_mean_of(r->room, n, REPORT_LEVEL);
		one = put_object(list, NULL, failed);
		put_text(one, "source", r->source[k].name, failed);
		put_mean(one, &m, failed);
	}
}

/* Of all firing windows (of an intruder's groups all) that lie in a tenth of their feature's strength, how many were told right. */
static void put_by_decile(cJSON *to, const report_series *x, bool *failed)
{
	uint32_t hits[DECILES] = { 0 }, n[DECILES] = { 0 }, all = 0;
	cJSON *list;

	for (size_t i = 0; i < x->n; i++) {
		const cJSON *d = cJSON_GetObjectItemCaseSensitive(x->score[i]->details, "tpr_by_decile");

		d = d ? d : cJSON_GetObjectItemCaseSensitive(x->score[i]->details, "accuracy_by_decile");
		for (int k = 0; k < DECILES && d; k++) {
			const cJSON *one = cJSON_GetArrayItem(d, k);
			double h = report_number(one, "hits", NULL), m = report_number(one, "n", NULL);

			if (h >= 0 && m >= h && m < 1e6) {
				hits[k] += (uint32_t)h;
				n[k] += (uint32_t)m;
				all += (uint32_t)m;
			}
		}
	}
	if (all == 0)
		return;
	list = put_array(to, "by_decile", failed);
	for (int k = 0; k < DECILES; k++) {
		stats_rate rate = stats_wilson(hits[k], n[k], REPORT_LEVEL);

		put_rate(put_object(list, NULL, failed), &rate, failed);
	}
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------- */

static const char *measure_of(const char *scorer)
{
	const char *name, *measure;

	for (size_t i = 0; (name = explain_scorer_name(i, &measure)); i++)
		if (strcmp(name, scorer) == 0)
			return measure;
	return NULL;
}

void report_put_series(cJSON *to, report *r, const report_series *x, bool *failed)
{
	static const char *const against[][2] = { { "baseline", "label of another feature" },
		                                  { "empty_label", "no label" },
		                                  { "lexical", "lexical" },
		                                  { "hard", "hard windows" } };
	cJSON *list;

	put_text(to, "scorer", x->scorer, failed);
	put_text(to, "judge", x->judge, failed);
	put_text(to, "measure", measure_of(x->scorer), failed);
	put_number(to, "chance", mean_of_details(r, x, "chance", NULL).value, failed);
	put_distribution(to, r, x, failed);
	put_chance(to, x, failed);
	put_answers(to, r, x, failed);
	list = put_array(to, "against", failed);
	for (size_t i = 0; i < ARRAY_LEN(against); i++)
		put_against(list, r, x, against[i][0], against[i][1], failed);
	put_by_density(to, r, x, failed);
	put_by_source(to, r, x, failed);
	put_by_decile(to, x, failed);
}
