/* See report_page.h: the sections of the page. Numbers are those of explain_report(), which --json prints. */
#include "cli/report_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report_parts.h"

extern const char web_report[];

const cJSON *report_get(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

void report_number_cell(html *h, double x, const char *fmt)
{
	char shown[48];

	snprintf(shown, sizeof(shown), fmt, x); /* NOLINT: of ours */
	html_addf(h, "<td class=n>%s</td>", isnan(x) ? "–" : shown);
}

/* value [low, high] */
void report_interval(html *h, const cJSON *v)
{
	double value = answer_number(v, "value"), low = answer_number(v, "low"),
	       high = answer_number(v, "high");

	if (isnan(value))
		html_add(h, "–");
	else if (isnan(low) || isnan(high))
		html_addf(h, "%.3f", value);
	else
		html_addf(h, "%.3f <span class=i>[%.3f, %.3f]</span>", value, low, high);
}

void report_series_name(html *h, const cJSON *page, size_t i)
{
	const cJSON *s = cJSON_GetArrayItem(report_get(page, "series"), (int)i);

	html_text(h, answer_string(s, "scorer"));
	html_add(h, " · ");
	html_text(h, answer_string(s, "judge"));
}

void report_series_heads(html *h, const cJSON *page)
{
	size_t n = (size_t)cJSON_GetArraySize(report_get(page, "series"));

	for (size_t i = 0; i < n; i++) {
		html_add(h, "<th class=n>");
		report_series_name(h, page, i);
		html_add(h, "</th>");
	}
}

void report_picture(html *h, int rc, char *svg, const char *caption)
{
	if (h->rc == 0)
		h->rc = rc;
	if (rc == 0) {
		html_add(h, "<figure><figcaption>");
		html_text(h, caption);
		html_add(h, "</figcaption>");
		html_add(h, svg);
		html_add(h, "</figure>\n");
	}
	free(svg);
}

/* ---- The head ---------------------------------------------------------------------------------------------------------- */

static void put_replaced(html *h, const cJSON *page)
{
	const cJSON *r = report_get(page, "replaced");

	if (answer_number(r, "scores") > 0)
		html_addf(h,
		          "<p class=warn>%.0f scores of %.0f features are of labels since replaced or "
		          "withdrawn, "
		          "and are left out; %.0f of these features have no score of the label they have "
		          "now.</p>\n",
		          answer_number(r, "scores"), answer_number(r, "features"),
		          answer_number(r, "unscored"));
}

static void put_head(html *h, const cJSON *page)
{
	const cJSON *source;

	html_add(h, "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
	            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
	            "'unsafe-inline'\">\n<meta name=viewport content=\"width=device-width, "
	            "initial-scale=1\">\n<title>Labels and scores: ");
	html_text(h, answer_string(page, "store"));
	html_add(h, "</title>\n<style>\n");
	html_add(h, web_report);
	html_add(h, "</style>\n</head>\n<body>\n<main>\n<h1>How far the labels can be trusted</h1>\n<p>");
	html_text(h, answer_string(page, "store"));
	html_add(h, "<span class=mute> · scored from ");
	html_text(h, answer_string(page, "from"));
	html_add(h, " to ");
	html_text(h, answer_string(page, "to"));
	html_add(h, "</span></p>\n");
	cJSON_ArrayForEach(source, report_get(page, "sources"))
	{
		html_add(h, "<p class=mute>");
		html_text(h, answer_string(source, "source"));
		html_addf(h, ": %.0f features, %.0f with a label, %.0f of these scored</p>\n",
		          answer_number(source, "features"), answer_number(source, "labelled"),
		          answer_number(source, "scored"));
	}
	put_replaced(h, page);
	html_add(h, "<nav><a href=\"#summary\">Summary</a> <a href=\"#scorers\">Each scorer</a> ");
	if (cJSON_GetArraySize(report_get(page, "agreement")))
		html_add(h, "<a href=\"#agreement\">Agreement</a> ");
	if (report_get(page, "golden"))
		html_add(h, "<a href=\"#golden\">Judges against a person</a> ");
	html_add(h, "<a href=\"#cost\">Cost</a> <a href=\"#best\">Best</a> <a href=\"#worst\">Worst</a> "
	            "<a href=\"#features\">All features</a></nav>\n");
}

/* ---- Summary ------------------------------------------------------------------------------------------------------------ */

static void put_share(html *h, double part, double of)
{
	html_addf(h, "<td class=n>%.0f <span class=i>%.0f %%</span></td>", part,
	          of > 0 ? 100 * part / of : 0);
}

static const cJSON *against(const cJSON *series, const char *what)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, report_get(series, "against"))
	{
		if (strcmp(answer_string(one, "what"), what) == 0)
			return one;
	}
	return NULL;
}

static void put_summary(html *h, const cJSON *page)
{
	const cJSON *s;
	size_t i = 0;

	html_add(h, "<h2 id=summary>Summary</h2>\n<div class=scroll><table class=tight><thead><tr><th>scorer "
	            "· judge</th>"
	            "<th>measure</th><th class=n>features</th><th class=n>mean, 95&nbsp;%</th><th "
	            "class=n>chance</th>"
	            "<th class=n>above it</th><th class=n>holds it</th><th class=n>below it</th>"
	            "<th class=n>lexical</th><th class=n>other label</th><th class=n>hard windows</th>"
	            "<th class=n>unanswered</th></tr></thead><tbody>\n");
	cJSON_ArrayForEach(s, report_get(page, "series"))
	{
		double n = answer_number(s, "n");

		html_addf(h, "<tr><td class=name><a href=\"#s%zu\">", i);
		report_series_name(h, page, i++);
		html_add(h, "</a></td><td class=text>");
		html_text(h, answer_string(s, "measure") ? answer_string(s, "measure") : "–");
		html_addf(h, "</td><td class=n>%.0f</td><td class=n>", n);
		report_interval(h, s);
		html_add(h, "</td>");
		report_number_cell(h, answer_number(s, "chance"), "%.3g");
		put_share(h, answer_number(s, "above_chance"), n);
		put_share(h, answer_number(s, "holds_chance"), n);
		put_share(h, answer_number(s, "below_chance"), n);
		report_number_cell(h, answer_number(against(s, "lexical"), "value"), "%.3f");
		report_number_cell(h, answer_number(against(s, "label of another feature"), "value"), "%.3f");
		report_number_cell(h, answer_number(report_get(s, "hard"), "value"), "%.3f");
		report_number_cell(h, 100 * answer_number(report_get(s, "failures"), "value"), "%.1f %%");
		html_add(h, "</tr>\n");
	}
	html_add(
	        h,
	        "</tbody></table></div>\n<p class=mute>Means over features, each feature counting once, with "
	        "Student's 95 % interval. Chance: features whose own 95 % interval lies above it, holds it, "
	        "lies "
	        "below it. About 1 in 40 of features whose label says nothing lies above it by "
	        "accident.</p>\n");
}

/* ---- Agreement ----------------------------------------------------------------------------------------------------------- */

static const cJSON *pair_of(const cJSON *page, size_t a, size_t b)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, report_get(page, "agreement"))
	{
		if ((size_t)answer_number(one, "a") == a && (size_t)answer_number(one, "b") == b)
			return one;
	}
	return NULL;
}

static void put_pair(html *h, const cJSON *page, size_t a, size_t b)
{
	const cJSON *one = pair_of(page, a < b ? a : b, a < b ? b : a);

	if (a == b)
		html_add(h, "<td class=\"n mute\">·</td>");
	else if (answer_number(one, "n") < 4)
		html_addf(h, "<td class=\"n mute\">n %.0f</td>", answer_number(one, "n"));
	else {
		html_add(h, "<td class=n>");
		report_interval(h, report_get(one, a < b ? "spearman" : "pearson"));
		html_addf(h, "<br><span class=i>n %.0f</span></td>", answer_number(one, "n"));
	}
}

static void put_agreement(html *h, const cJSON *page)
{
	size_t n = (size_t)cJSON_GetArraySize(report_get(page, "series"));

	if (n < 2)
		return;
	html_add(h, "<h2 id=agreement>Agreement between scorers</h2>\n<p class=mute>Over features that both "
	            "scored: "
	            "above the diagonal Spearman's correlation of ranks, below it Pearson's.</p>\n"
	            "<div class=scroll><table><thead><tr><th></th>");
	report_series_heads(h, page);
	html_add(h, "</tr></thead><tbody>\n");
	for (size_t a = 0; a < n; a++) {
		html_add(h, "<tr><th>");
		report_series_name(h, page, a);
		html_add(h, "</th>");
		for (size_t b = 0; b < n; b++)
			put_pair(h, page, a, b);
		html_add(h, "</tr>\n");
	}
	html_add(h, "</tbody></table></div>\n");
}

/* Judges of one scorer, window by window. */
static void put_judges(html *h, const cJSON *page)
{
	const cJSON *one, *k;
	bool any = false;

	cJSON_ArrayForEach(one, report_get(page, "agreement"))
	{
		if (!(k = report_get(one, "kappa")))
			continue;
		html_add(h,
		         any ? ""
		             : "<h3 id=judges>Judges, window by window</h3>\n<div "
		               "class=scroll><table><thead><tr>"
		               "<th>A</th><th>B</th><th class=n>features</th><th class=n>windows of "
		               "both</th><th "
		               "class=n>of one alone</th><th class=n>agree</th><th class=n>by chance</th>"
		               "<th class=n>Cohen's kappa, 95 %</th><th class=n>both yes</th><th "
		               "class=n>only A"
		               "</th><th class=n>only B</th><th class=n>both no</th></tr></thead><tbody>\n");
		any = true;
		html_add(h, "<tr><td class=name>");
		report_series_name(h, page, (size_t)answer_number(one, "a"));
		html_add(h, "</td><td class=name>");
		report_series_name(h, page, (size_t)answer_number(one, "b"));
		html_add(h, "</td>");
		report_number_cell(h, answer_number(k, "features"), "%.0f");
		report_number_cell(h, answer_number(k, "n"), "%.0f");
		report_number_cell(h, answer_number(k, "apart"), "%.0f");
		report_number_cell(h, answer_number(k, "agree"), "%.3f");
		report_number_cell(h, answer_number(k, "by_chance"), "%.3f");
		html_add(h, "<td class=n>");
		report_interval(h, k);
		html_add(h, "</td>");
		report_number_cell(h, answer_number(k, "both_yes"), "%.0f");
		report_number_cell(h, answer_number(k, "a_yes"), "%.0f");
		report_number_cell(h, answer_number(k, "b_yes"), "%.0f");
		report_number_cell(h, answer_number(k, "both_no"), "%.0f");
		html_add(h, "</tr>\n");
	}
	html_add(h, any ? "</tbody></table></div>\n<p class=mute>Two judges get the same windows where "
	                  "scorer, label, "
	                  "seed and counts are the same. The interval lets windows of one feature hang "
	                  "together. A confidence of 50 and more is a yes, as is a simulation with a token "
	                  "over 3 of 10.</p>\n"
	                : "");
	cJSON_ArrayForEach(one, report_get(page, "agreement"))
	{
		if (!answer_string(one, "no_kappa"))
			continue;
		html_add(h, "<p class=mute>");
		report_series_name(h, page, (size_t)answer_number(one, "a"));
		html_add(h, " and ");
		report_series_name(h, page, (size_t)answer_number(one, "b"));
		html_add(h, ": no kappa, ");
		html_text(h, answer_string(one, "no_kappa"));
		html_add(h, "; their correlation over features stands above.</p>\n");
	}
}

/* ---- A person ---------------------------------------------------------------------------------------------------------- */

static void put_interval_cell(html *h, const cJSON *v)
{
	html_add(h, "<td class=n>");
	report_interval(h, v);
	html_add(h, "</td>");
}

static void put_golden_row(html *h, const cJSON *page, const cJSON *j)
{
	const cJSON *corrected = report_get(j, "corrected");
	const char *const names[] = { "accuracy", "tpr", "tnr", "kappa" };

	html_add(h, "<tr><td class=name>");
	report_series_name(h, page, (size_t)answer_number(j, "series"));
	html_add(h, "</td>");
	report_number_cell(h, answer_number(j, "features"), "%.0f");
	report_number_cell(h, answer_number(j, "n"), "%.0f");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		put_interval_cell(h, report_get(j, names[i]));
	report_number_cell(h, answer_number(corrected, "uncorrected"), "%.3f");
	put_interval_cell(h, corrected);
	html_add(h, cJSON_IsTrue(report_get(corrected, "unlike")) ? "<td>†</td></tr>\n" : "<td></td></tr>\n");
}

/* Those whose answers are graded. */
static void put_calibration(html *h, const cJSON *page, const cJSON *judges)
{
	const char *const names[] = { "brier", "ece", "slope", "intercept", "brier_after" };
	const cJSON *one, *c;
	bool any = false;

	cJSON_ArrayForEach(one, judges)
	{
		if (!(c = report_get(one, "calibration")))
			continue;
		html_add(h, any ? ""
		                : "<h3>Graded answers as probabilities</h3>\n<div "
		                  "class=scroll><table><thead><tr><th>"
		                  "judge</th><th class=n>windows</th><th class=n>area under the ROC "
		                  "curve</th><th "
		                  "class=n>Brier score</th><th class=n>calibration error</th><th "
		                  "class=n>Platt: slope"
		                  "</th><th class=n>intercept</th><th class=n>Brier "
		                  "then</th></tr></thead><tbody>\n");
		any = true;
		html_add(h, "<tr><td class=name>");
		report_series_name(h, page, (size_t)answer_number(one, "series"));
		html_add(h, "</td>");
		report_number_cell(h, answer_number(c, "n"), "%.0f");
		put_interval_cell(h, report_get(c, "auroc"));
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			report_number_cell(h, answer_number(c, names[i]), "%.4f");
		html_add(h, "</tr>\n");
	}
	html_add(h, any ? "</tbody></table></div>\n" : "");
}

static void put_golden(html *h, const cJSON *page)
{
	const cJSON *golden = report_get(page, "golden"), *one;

	if (!golden)
		return;
	html_add(h, "<h2 id=golden>Judges against a person</h2>\n");
	cJSON_ArrayForEach(one, report_get(golden, "person"))
	{
		if (!(answer_number(one, "answers") > 0))
			continue;
		html_addf(h,
		          "<p>A person judged %.0f windows of %.0f features blind (%s). As a judge of the "
		          "labels, all features together, the person has ",
		          answer_number(one, "answers"), answer_number(one, "features"),
		          answer_string(one, "question"));
		report_interval(h, one);
		html_add(h, ".</p>\n");
	}
	if (cJSON_GetArraySize(report_get(golden, "judges")) == 0)
		return;
	html_add(h, "<div class=scroll><table><thead><tr><th>judge</th><th class=n>features</th><th "
	            "class=n>windows"
	            "</th><th class=n>accuracy</th><th class=n>says yes where the person does</th><th "
	            "class=n>says no "
	            "where the person does</th><th class=n>kappa</th><th class=n>mean score</th><th "
	            "class=n>corrected</th><th></th></tr></thead><tbody>\n");
	cJSON_ArrayForEach(one, report_get(golden, "judges")) put_golden_row(h, page, one);
	html_add(h,
	         "</tbody></table></div>\n<p class=mute>Corrected: the mean score had the person judged, if "
	         "the judge "
	         "errs at these rates on every window. † It errs unlike where the feature fires and where it "
	         "is "
	         "silent: corrected by its rates in each. – where the judge may be no better than chance by "
	         "the "
	         "person's answers. Intervals let windows of one feature hang together.</p>\n");
	put_calibration(h, page, report_get(golden, "judges"));
}

/* ---- Cost ------------------------------------------------------------------------------------------------------------------ */

static void put_cost_rows(html *h, const cJSON *rows, bool jobs)
{
	const cJSON *c;

	html_add(h, "<div class=scroll><table><thead><tr>");
	html_add(h, jobs ? "<th class=n>job</th><th>source</th>" : "");
	html_add(h,
	         "<th>what</th><th>model</th><th class=n>features</th><th class=n>failed</th>"
	         "<th class=n>skipped</th><th class=n>requests</th><th class=n>tokens in</th><th class=n>of "
	         "these "
	         "cached</th><th class=n>tokens out</th><th class=n>price</th><th class=n>requests a "
	         "feature</th>"
	         "<th class=n>tokens a feature</th><th class=n>price a feature</th></tr></thead><tbody>\n");
	cJSON_ArrayForEach(c, rows)
	{
		const char *counts[] = { "done",         "failed",        "skipped",      "requests",
			                 "input_tokens", "cached_tokens", "output_tokens" };
		const cJSON *each = report_get(c, "a_feature");

		html_add(h, "<tr>");
		if (jobs) {
			html_addf(h, "<td class=n>%.0f</td><td>", answer_number(c, "job"));
			html_text(h, answer_string(c, "source"));
			html_add(h, "</td>");
		}
		html_add(h, "<td>");
		html_text(h,
		          answer_string(c, "scorer") ? answer_string(c, "scorer") : answer_string(c, "kind"));
		html_add(h, "</td><td>");
		html_text(h, answer_string(c, "model"));
		html_add(h, "</td>");
		for (size_t i = 0; i < ARRAY_LEN(counts); i++)
			report_number_cell(h, answer_number(c, counts[i]), "%.0f");
		report_number_cell(h, answer_number(c, "cost"), "%.4g");
		report_number_cell(h, answer_number(each, "requests"), "%.2f");
		report_number_cell(h, answer_number(each, "tokens"), "%.0f");
		report_number_cell(h, answer_number(each, "cost"), "%.3g");
		html_add(h, "</tr>\n");
	}
	html_add(h, "</tbody></table></div>\n");
}

static void put_cost(html *h, const cJSON *page)
{
	const cJSON *cost = report_get(page, "cost");

	html_add(h, "<h2 id=cost>What it took</h2>\n");
	if (cJSON_GetArraySize(report_get(cost, "jobs")) == 0) {
		html_add(h, "<p class=mute>The store knows of no jobs.</p>\n");
		return;
	}
	html_add(h, "<p class=mute>Requests and tokens of the answers that count, whoever paid for them; the "
	            "price in the "
	            "currency of the price file, – where there was none. A feature: by features done.</p>\n");
	put_cost_rows(h, report_get(cost, "scorers"), false);
	html_add(h, "<details><summary>By job</summary>\n");
	put_cost_rows(h, report_get(cost, "jobs"), true);
	html_add(h, "</details>\n");
}

int report_page(char **out, const cJSON *page, error *err)
{
	html h;

	html_init(&h);
	put_head(&h, page);
	put_summary(&h, page);
	report_put_scorers(&h, page);
	put_agreement(&h, page);
	put_judges(&h, page);
	put_golden(&h, page);
	put_cost(&h, page);
	report_put_shown(&h, page);
	report_put_table(&h, page);
	html_add(&h, "</main>\n</body>\n</html>\n");
	return html_finish(&h, out, err);
}
