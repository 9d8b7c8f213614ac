/* report_golden: judges against a person, over the windows that both judged. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/judged.h"
#include "explain/report_parts.h"

enum { KIND_ANY, KIND_FIRING, KIND_SILENT, KIND_OTHER };

/* Windows of one series that the person judged too, by feature. */
typedef struct golden_pairs {
	uint8_t *judge, *person, *right;
	uint32_t *cluster;
	double *p;     /* the judge's probability; NaN: not graded */
	uint8_t *kind; /* of the window: KIND_FIRING, KIND_SILENT (at random), or another */
	size_t n, room;
} golden_pairs;

static void pairs_clear(golden_pairs *g)
{
	free(g->judge);
	free(g->person);
	free(g->right);
	free(g->cluster);
	free(g->p);
	free(g->kind);
}

static int pairs_new(golden_pairs *g, size_t room, error *err)
{
	*g = (golden_pairs){ .room = room };
	g->judge = malloc(room + 1);
	g->person = malloc(room + 1);
	g->right = malloc(room + 1);
	g->cluster = malloc((room + 1) * sizeof(*g->cluster));
	g->p = malloc((room + 1) * sizeof(*g->p));
	g->kind = malloc(room + 1);
	return g->judge && g->person && g->right && g->cluster && g->p && g->kind
	               ? 0
	               : error_nomem(err, "answers");
}

/* Confidence asks what detection asks. */
static const char *question_of(const char *name)
{
	return strcmp(name, "confidence") == 0 ? "detection" : name;
}

static uint8_t kind_of(const char *kind)
{
	return strcmp(kind, "firing") == 0                                     ? KIND_FIRING
	       : strcmp(kind, "silent") == 0 || strcmp(kind, "mismarked") == 0 ? KIND_SILENT
	                                                                       : KIND_OTHER;
}

static double probability(const char *name, const judged_item *it)
{
	if (strcmp(name, "confidence") == 0)
		return it->answer / 100;
	return isnan(it->grade) ? it->grade : 1 / (1 + exp(-it->grade));
}

static int by_label(const void *key, const void *member)
{
	const store_golden *g = member;
	const uint32_t *feature = key;

	return (*feature > g->feature) - (*feature < g->feature);
}

/* Of the rows (n) by feature, scorer, key: the answers to a score's windows. */
static int take_pairs(golden_pairs *out, const report_score *x, uint32_t cluster, const store_golden *rows,
                      size_t n, error *err)
{
	const store_golden *g = n ? bsearch(&x->row->feature, rows, n, sizeof(*rows), by_label) : NULL;
	judged_item *items = NULL;
	size_t n_items = 0;
	int rc = g ? judged_read(&items, &n_items, x->details, err) : 0;

	while (g && g > rows && g[-1].feature == x->row->feature)
		g--;
	for (; g && rc == 0 && g < rows + n && g->feature == x->row->feature; g++) {
		size_t i = 0;
		int class;

		if (strcmp(g->scorer, question_of(x->row->scorer)) != 0)
			continue;
		while (i < n_items && items[i].key != g->key)
			i++;
		class = i < n_items ? judged_class(x->row->scorer, items[i].answer) : -1;
		if (class < 0 || class > 1 || out->n == out->room)
			continue;
		out->judge[out->n] = (uint8_t) class;
		out->person[out->n] = g->answer;
		out->right[out->n] = class == (int)g->answer;
		out->kind[out->n] = kind_of(g->kind);
		out->p[out->n] = probability(x->row->scorer, &items[i]);
		out->cluster[out->n++] = cluster;
	}
	free(items);
	return rc;
}

/* ---- Figures ------------------------------------------------------------------------------------------------------------ */

/* How often the judge says what the person says where the person said `what`, in windows of a kind; hits and cluster: room. */
static int rate_of(stats_rate *out, const golden_pairs *g, uint8_t what, uint8_t kind, uint8_t *hit,
                   uint32_t *cluster, error *err)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		if (g->person[i] != what || (kind != KIND_ANY && g->kind[i] != kind))
			continue;
		hit[n] = g->right[i];
		cluster[n++] = g->cluster[i];
	}
	return stats_wilson_clustered(out, hit, cluster, n, REPORT_LEVEL, err);
}

/* How far from the value the interval reaches, as a standard error. */
static double error_of(double low, double high)
{
	return (high - low) / (2 * stats_z(REPORT_LEVEL));
}

/* How a judge errs by the person's answers: over all windows, or over those of a kind. */
typedef struct judge_rates {
	stats_rate yes, no; /* TPR, TNR */
} judge_rates;

static double youden_of(const judge_rates *r)
{
	return r->yes.value + r->no.value - 1;
}

static double rate_error(const stats_rate *r)
{
	return error_of(r->low, r->high);
}

/* Whether it is better than chance by the person's measure; false where a rate is not known. */
static bool is_useful(const judge_rates *r)
{
	return youden_of(r) - stats_z(REPORT_LEVEL) * hypot(rate_error(&r->yes), rate_error(&r->no)) > 0;
}

/* Whether two rates differ: Newcombe's interval (1998, method 10) of their difference leaves out 0, at a level for two such looks. */
static bool differ(const stats_rate *a, const stats_rate *b)
{
	double wider = stats_z(1 - (1 - REPORT_LEVEL) / 2) / stats_z(REPORT_LEVEL), d = a->value - b->value;

	return d - wider * hypot(a->value - a->low, b->high - b->value) > 0 ||
	       d + wider * hypot(a->high - a->value, b->value - b->low) < 0;
}

/* How often the person would say yes where the judge does so with this share, and its variance (Rogan and Gladen 1978, delta method). */
static double person_share(double *variance, double seen, double seen_error, const judge_rates *r)
{
	double j = youden_of(r), share = (seen + r->no.value - 1) / j;

	*variance = pow(seen_error / j, 2) + pow(rate_error(&r->no) * (1 - share) / j, 2) +
	            pow(rate_error(&r->yes) * share / j, 2);
	return share;
}

/* The mean over features of a rate of their scores. */
static stats_mean mean_rate(const report_series *x, const char *name, double *room)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n; i++) {
		double value = report_number(x->score[i]->details, name, "value");

		if (!isnan(value))
			room[n++] = value;
	}
	return stats_mean_of(room, n, REPORT_LEVEL);
}

/* By rates of each kind of window: what the person would say of firing ones, and of silent ones. */
static stats_value corrected_apart(const report_series *x, const judge_rates kinds[2], double *room)
{
	stats_mean yes = mean_rate(x, "tpr", room), no = mean_rate(x, "tnr", room);
	double variance[2], share[2], value, half;

	share[0] = person_share(&variance[0], yes.value, error_of(yes.low, yes.high), &kinds[0]);
	share[1] = person_share(&variance[1], 1 - no.value, error_of(no.low, no.high), &kinds[1]);
	value = 0.5 + (share[0] - share[1]) / 2;
	half = stats_z(REPORT_LEVEL) * sqrt(variance[0] + variance[1]) / 2;
	return (stats_value){ fmax(0, fmin(1, value)), fmax(0, value - half), fmin(1, value + half) };
}

/* By rates that are the same on all windows: they draw balanced accuracy towards chance by (TPR + TNR - 1). */
static stats_value corrected_alike(const stats_mean *m, const judge_rates *all)
{
	double youden = youden_of(all), se_youden = hypot(rate_error(&all->yes), rate_error(&all->no));
	double z = stats_z(REPORT_LEVEL), value = 0.5 + (m->value - 0.5) / youden;
	double se = hypot(isnan(m->low) ? 0 : error_of(m->low, m->high) / youden,
	                  (m->value - 0.5) * se_youden / (youden * youden));

	return (stats_value){ fmax(0, fmin(1, value)), fmax(0, value - z * se), fmin(1, value + z * se) };
}

static void put_rates(cJSON *to, const char *name, const judge_rates *r, bool *failed)
{
	cJSON *at = put_object(to, name, failed);

	put_rate(put_object(at, "tpr", failed), &r->yes, failed);
	put_rate(put_object(at, "tnr", failed), &r->no, failed);
}

/* The mean score, had the person judged. A judge may err unlike where the feature fires and where it is silent (it takes firing windows
 * for granted, say): rates of all windows together then mislead, and those of each kind are taken, or none. */
static void put_corrected(cJSON *to, const report_series *x, const judge_rates *all,
                          const judge_rates kinds[2], double *room, bool *failed)
{
	bool unlike = differ(&kinds[0].yes, &kinds[1].yes) || differ(&kinds[0].no, &kinds[1].no);
	bool useful = unlike ? is_useful(&kinds[0]) && is_useful(&kinds[1]) : is_useful(all);
	cJSON *at = put_object(to, "corrected", failed), *by_kind;
	stats_value v = { (double)NAN, (double)NAN, (double)NAN };
	stats_mean m;

	for (size_t i = 0; i < x->n; i++)
		room[i] = x->score[i]->row->value;
	m = stats_mean_of(room, x->n, REPORT_LEVEL);
	put_number(at, "youden", youden_of(all), failed);
	put_number(at, "uncorrected", m.value, failed);
	put_bool(at, "unlike", unlike, failed);
	by_kind = put_object(at, "by_kind", failed);
	put_rates(by_kind, "firing", &kinds[0], failed);
	put_rates(by_kind, "silent", &kinds[1], failed);
	if (useful)
		v = unlike ? corrected_apart(x, kinds, room) : corrected_alike(&m, all);
	put_value(at, &v, failed);
}

static int put_grades(cJSON *to, const golden_pairs *g, double *room, uint64_t seed, bool *failed, error *err)
{
	stats_calibration c;
	stats_value area;
	size_t n = 0, yes = 0;
	double *p = room, *of_yes = room + g->n, *of_no = room + 2 * g->n;
	uint8_t *truth = malloc(g->n + 1);
	cJSON *at;
	int rc = truth ? 0 : error_nomem(err, "answers");

	for (size_t i = 0; i < g->n && rc == 0; i++) {
		if (isnan(g->p[i]))
			continue;
		if (g->person[i])
			of_yes[yes++] = g->p[i];
		else
			of_no[n - yes] = g->p[i];
		truth[n] = g->person[i];
		p[n++] = g->p[i];
	}
	if (rc == 0 && n) {
		rc = stats_auroc(&area, of_yes, yes, of_no, n - yes, REPORT_LEVEL, seed, err);
		c = stats_calibrate(p, truth, n);
		at = put_object(to, "calibration", failed);
		put_number(at, "n", (double)c.n, failed);
		put_number(at, "brier", c.brier, failed);
		put_number(at, "ece", c.ece, failed);
		put_number(at, "slope", c.slope, failed);
		put_number(at, "intercept", c.intercept, failed);
		put_number(at, "brier_after", c.brier_after, failed);
		put_value(put_object(at, "auroc", failed), &area, failed);
	}
	free(truth);
	return rc;
}

static int put_figures(cJSON *to, report *r, const report_series *x, const golden_pairs *g, bool *failed,
                       error *err)
{
	uint8_t *hit = malloc(g->n + 1);
	uint32_t *cluster = malloc((g->n + 1) * sizeof(*cluster));
	double *room = malloc((3 * g->n + r->n + 1) * sizeof(*room));
	stats_rate all;
	judge_rates rates[KIND_OTHER];
	stats_kappa k;
	int rc = hit && cluster && room ? 0 : error_nomem(err, "answers");

	if (rc == 0)
		rc = stats_wilson_clustered(&all, g->right, g->cluster, g->n, REPORT_LEVEL, err);
	for (uint8_t kind = KIND_ANY; kind < KIND_OTHER && rc == 0; kind++) {
		rc = rate_of(&rates[kind].yes, g, 1, kind, hit, cluster, err);
		if (rc == 0)
			rc = rate_of(&rates[kind].no, g, 0, kind, hit, cluster, err);
	}
	if (rc == 0)
		rc = stats_kappa_of(&k, g->judge, g->person, g->cluster, g->n, REPORT_LEVEL, err);
	if (rc == 0) {
		put_number(to, "series", (double)(x - r->series), failed);
		put_number(to, "n", (double)g->n, failed);
		put_number(to, "features", (double)k.clusters, failed);
		put_rate(put_object(to, "accuracy", failed), &all, failed);
		put_rate(put_object(to, "tpr", failed), &rates[KIND_ANY].yes, failed);
		put_rate(put_object(to, "tnr", failed), &rates[KIND_ANY].no, failed);
		put_value(put_object(to, "kappa", failed), &k.kappa, failed);
		if (rates[KIND_ANY].yes.n && rates[KIND_ANY].no.n && strcmp(x->scorer, "confidence") != 0)
			put_corrected(to, x, &rates[KIND_ANY], &rates[KIND_FIRING], room, failed);
		rc = put_grades(to, g, room, 1, failed, err);
	}
	free(hit);
	free(cluster);
	free(room);
	return rc;
}

/* ---- The person alone ------------------------------------------------------------------------------------------------------ */

/* What the person with the label knew of the feature: as a judge's balanced accuracy, but all features together. */
static void put_person(cJSON *to, store_golden *const *rows, const size_t *n, size_t n_sources,
                       const char *question, bool *failed)
{
	uint32_t yes_firing = 0, firing = 0, no_silent = 0, silent = 0, all = 0, features = 0;
	stats_balanced b;

	for (size_t s = 0; s < n_sources; s++) {
		const store_golden *last = NULL;

		for (size_t i = 0; i < n[s]; i++) {
			const store_golden *g = &rows[s][i];

			if (strcmp(g->scorer, question) != 0)
				continue;
			all++;
			features += !last || last->feature != g->feature;
			last = g;
			if (strcmp(g->kind, "firing") == 0) {
				firing++;
				yes_firing += g->answer;
			} else if (strcmp(g->kind, "silent") == 0 || strcmp(g->kind, "mismarked") == 0) {
				silent++;
				no_silent += !g->answer;
			}
		}
	}
	b = stats_balanced_accuracy(yes_firing, firing, no_silent, silent, REPORT_LEVEL);
	put_text(to, "question", question, failed);
	put_number(to, "answers", all, failed);
	put_number(to, "features", features, failed);
	put_value(to, &(stats_value){ b.value, b.low, b.high }, failed);
	put_rate(put_object(to, "tpr", failed), &b.tpr, failed);
	put_rate(put_object(to, "tnr", failed), &b.tnr, failed);
}

static int put_judges(cJSON *list, report *r, store_golden **rows, const size_t *n, size_t all, bool *failed,
                      error *err)
{
	int rc = 0;

	for (size_t k = 0; k < r->n_series && rc == 0; k++) {
		const report_series *x = &r->series[k];
		golden_pairs g;

		rc = pairs_new(&g, all, err); /* to be cleared after a failure too */
		for (size_t i = 0; i < x->n && rc == 0; i++)
			rc = take_pairs(&g, x->score[i], (uint32_t)i, rows[x->score[i]->source],
			                n[x->score[i]->source], err);
		if (rc == 0 && g.n)
			rc = put_figures(put_object(list, NULL, failed), r, x, &g, failed, err);
		pairs_clear(&g);
	}
	return rc;
}

int report_put_golden(cJSON *page, report *r, bool *failed, error *err)
{
	static const char *const questions[] = { "detection", "fuzz" };
	store_golden **rows = arena_alloc(&r->mem, r->n_sources + 1, sizeof(*rows));
	size_t *n = arena_alloc(&r->mem, r->n_sources + 1, sizeof(*n)), all = 0;
	cJSON *to, *person;
	int rc = rows && n ? 0 : error_nomem(err, "answers");

	for (size_t i = 0; i < r->n_sources && rc == 0; i++) {
		rc = store_golden_list(&rows[i], &n[i], r->s, r->source[i].id, &r->mem, err);
		all += n[i];
	}
	if (rc == 0 && all) {
		to = put_object(page, "golden", failed);
		person = put_array(to, "person", failed);
		for (size_t i = 0; i < ARRAY_LEN(questions); i++)
			put_person(put_object(person, NULL, failed), rows, n, r->n_sources, questions[i],
			           failed);
		rc = put_judges(put_array(to, "judges", failed), r, rows, n, all, failed, err);
	}
	for (size_t i = 0; rows && i < r->n_sources; i++)
		free(rows[i]);
	return rc;
}
