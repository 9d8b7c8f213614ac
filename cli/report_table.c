/* report_table: features, the best and the worst with windows, and all in one table. */
#include <math.h>
#include <string.h>

#include "cli/report_parts.h"

enum { TABLE_MOST = 5000, SHOWN_BEFORE = 14, SHOWN_BEHIND = 7 };

static size_t source_of(const cJSON *page, const cJSON *feature)
{
	const cJSON *source;
	size_t i = 0;

	cJSON_ArrayForEach(source, report_get(page, "sources"))
	{
		if (strcmp(answer_string(source, "source"), answer_string(feature, "source")) == 0)
			return i;
		i++;
	}
	return i;
}

/* What anchors of a feature end with: its number, of several sources "-" and the source's. */
static void put_id(html *h, const cJSON *page, const cJSON *feature)
{
	html_addf(h, "%.0f", answer_number(feature, "feature"));
	if (cJSON_GetArraySize(report_get(page, "sources")) > 1)
		html_addf(h, "-%zu", source_of(page, feature));
}

static void put_name(html *h, const cJSON *page, const cJSON *feature)
{
	html_addf(h, "%.0f", answer_number(feature, "feature"));
	if (cJSON_GetArraySize(report_get(page, "sources")) > 1) {
		html_add(h, " <span class=i>");
		html_text(h, answer_string(feature, "source"));
		html_add(h, "</span>");
	}
}

static void put_flags(html *h, const cJSON *feature)
{
	const cJSON *flag;

	cJSON_ArrayForEach(flag, report_get(feature, "flags"))
	{
		const char *name = flag->valuestring;
		bool bad = strcmp(name, "dense") != 0 && strcmp(name, "shared label") != 0;

		html_addf(h, "<span class=\"flag%s\">%s</span>", bad ? " bad" : "", name);
	}
}

/* ---- With windows ------------------------------------------------------------------------------------------------------- */

static void put_token(html *h, const char *token, double value, double most)
{
	if (value > 0) {
		html_add(h, value >= most ? "<mark class=peak>" : "<mark>");
		html_text(h, token);
		html_add(h, "</mark>");
	} else {
		html_text(h, token);
	}
}

static void put_window(html *h, const cJSON *window)
{
	const cJSON *value, *token = report_get(window, "tokens"), *values = report_get(window, "values");
	double most = 0;
	int peak = 0, i = 0;

	cJSON_ArrayForEach(value, values)
	{
		if (value->valuedouble > most) {
			most = value->valuedouble;
			peak = i;
		}
		i++;
	}
	html_add(h, "<p class=window dir=auto>");
	value = values ? values->child : NULL;
	token = token ? token->child : NULL;
	for (i = 0; value && token; i++, value = value->next, token = token->next)
		if (i >= peak - SHOWN_BEFORE && i <= peak + SHOWN_BEHIND)
			put_token(h, token->valuestring, value->valuedouble, most);
	html_add(h, "</p>\n");
}

static void put_card(html *h, const cJSON *page, const cJSON *feature)
{
	const cJSON *score, *window;

	html_add(h, "<article id=w");
	put_id(h, page, feature);
	html_add(h, "><h3><a href=\"#f");
	put_id(h, page, feature);
	html_add(h, "\">");
	put_name(h, page, feature);
	html_add(h, "</a> <bdi>");
	html_text(h, answer_string(feature, "label"));
	html_add(h, "</bdi></h3>\n");
	cJSON_ArrayForEach(score, report_get(feature, "scores"))
	{
		html_add(h, "<span class=mute>");
		report_series_name(h, page, (size_t)answer_number(score, "series"));
		html_add(h, "</span> ");
		report_interval(h, score);
		html_add(h, "<br>\n");
	}
	put_flags(h, feature);
	cJSON_ArrayForEach(window, report_get(feature, "windows")) put_window(h, window);
	html_add(h, "</article>\n");
}

static void put_cards(html *h, const cJSON *page, const char *which, const char *title)
{
	const cJSON *features = report_get(page, "features"), *at;

	html_addf(h, "<h2 id=%s>%s</h2>\n<p class=mute>By ", which, title);
	report_series_name(h, page, (size_t)answer_number(page, "by"));
	html_add(h, ". Below each the strongest windows, with the tokens on which it fires.</p>\n<div "
	            "class=cards>\n");
	cJSON_ArrayForEach(at, report_get(page, which))
	        put_card(h, page, cJSON_GetArrayItem(features, at->valueint));
	html_add(h, "</div>\n");
}

void report_put_shown(html *h, const cJSON *page)
{
	if (cJSON_GetArraySize(report_get(page, "best")))
		put_cards(h, page, "best", "Best labels");
	if (cJSON_GetArraySize(report_get(page, "worst")))
		put_cards(h, page, "worst", "Worst labels");
}

/* ---- All ----------------------------------------------------------------------------------------------------------------- */

static void put_scores(html *h, const cJSON *feature, size_t n_series)
{
	const cJSON *score = report_get(feature, "scores");

	score = score ? score->child : NULL; /* by series */
	for (size_t i = 0; i < n_series; i++) {
		if (!score || (size_t)answer_number(score, "series") != i) {
			html_add(h, "<td class=\"n mute\">–</td>");
			continue;
		}
		html_add(h, "<td class=n>");
		report_interval(h, score);
		html_addf(h, "%s<br><span class=i>n %.0f+%.0f%s",
		          cJSON_IsTrue(report_get(score, "holds_chance")) ? " *" : "",
		          answer_number(score, "n_positive"), answer_number(score, "n_negative"),
		          answer_number(score, "n_failed") > 0 ? ", " : "");
		if (answer_number(score, "n_failed") > 0)
			html_addf(h, "%.0f unanswered", answer_number(score, "n_failed"));
		html_add(h, "</span></td>");
		score = score->next;
	}
}

static void put_row(html *h, const cJSON *page, const cJSON *feature, size_t n_series)
{
	html_add(h, "<tr id=f");
	put_id(h, page, feature);
	html_add(h, "><td class=n>");
	if (report_get(feature, "windows")) {
		html_add(h, "<a href=\"#w");
		put_id(h, page, feature);
		html_add(h, "\">");
	}
	put_name(h, page, feature);
	html_add(h, report_get(feature, "windows") ? "</a></td>" : "</td>");
	html_add(h, "<td class=label><bdi>");
	html_text(h, answer_string(feature, "label"));
	html_add(h, "</bdi></td><td>");
	html_text(h, answer_string(feature, "model") ? answer_string(feature, "model")
	                                             : answer_string(feature, "method"));
	html_add(h, "</td>");
	report_number_cell(h, answer_number(feature, "density"), "%.2g");
	put_scores(h, feature, n_series);
	html_add(h, "<td>");
	put_flags(h, feature);
	html_add(h, "</td></tr>\n");
}

void report_put_table(html *h, const cJSON *page)
{
	const cJSON *features = report_get(page, "features"), *feature;
	size_t n_series = (size_t)cJSON_GetArraySize(report_get(page, "series"));
	int n = cJSON_GetArraySize(features), i = 0;

	html_addf(h, "<h2 id=features>All features</h2>\n<p class=mute>%d scored, the best first by ", n);
	report_series_name(h, page, (size_t)answer_number(page, "by"));
	html_add(h, ". n: firing and other windows judged; * the interval holds chance.");
	if (n > TABLE_MOST)
		html_addf(h, " Shown are the first %d and the last %d; --json has all.", TABLE_MOST / 2,
		          TABLE_MOST / 2);
	html_add(h,
	         "</p>\n<div class=scroll><table><thead><tr><th class=n>feature</th><th>label</th><th>by</th>"
	         "<th class=n>density</th>");
	report_series_heads(h, page);
	html_add(h, "<th>flags</th></tr></thead><tbody>\n");
	cJSON_ArrayForEach(feature, features)
	{
		if (n <= TABLE_MOST || i < TABLE_MOST / 2 || i >= n - TABLE_MOST / 2)
			put_row(h, page, feature, n_series);
		i++;
	}
	html_add(h, "</tbody></table></div>\n");
}
