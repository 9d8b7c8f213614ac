/* report_scorers: the section of each scorer and judge, with pictures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report_parts.h"

enum { ROWS = 64, NAME = 64 };

typedef struct rows {
	forest_row row[ROWS];
	char name[ROWS][NAME];
	size_t n;
} rows;

static void add_row(rows *r, const char *name, const cJSON *v, double n)
{
	forest_row *to = &r->row[r->n];

	if (r->n == ROWS || isnan(answer_number(v, "value")))
		return;
	snprintf(r->name[r->n], NAME, "%s", name);
	*to = (forest_row){ r->name[r->n], answer_number(v, "value"), answer_number(v, "low"),
		            answer_number(v, "high"), n };
	r->n++;
}

static void put_rows(html *h, const rows *r, const char *title, double zero, const char *caption)
{
	char *svg = NULL;
	int rc;

	if (r->n == 0)
		return;
	rc = chart_forest(&svg, title, r->row, r->n, zero, NULL);
	report_picture(h, rc, svg, caption);
}

static void put_against(html *h, const cJSON *s)
{
	const cJSON *one;
	rows r = { .n = 0 };

	cJSON_ArrayForEach(one, report_get(s, "against")) add_row(
	        &r, answer_string(one, "what"), report_get(one, "difference"), answer_number(one, "n"));
	put_rows(h, &r, "label against others", 0,
	         "The label's score less that of ..., mean of each feature's difference: over 0 the label is "
	         "better");
}

static void put_density(html *h, const cJSON *s)
{
	const cJSON *one;
	char name[NAME];
	rows r = { .n = 0 };

	cJSON_ArrayForEach(one, report_get(s, "by_density"))
	{
		snprintf(name, sizeof(name), "%.2g to %.2g", answer_number(one, "from"),
		         answer_number(one, "to"));
		add_row(&r, name, one, answer_number(one, "n"));
	}
	put_rows(h, &r, "by density", answer_number(s, "chance"),
	         "By density, the share of tokens on which it fires");
}

static void put_source(html *h, const cJSON *s)
{
	const cJSON *one;
	rows r = { .n = 0 };

	if (cJSON_GetArraySize(report_get(s, "by_source")) < 2)
		return;
	cJSON_ArrayForEach(one, report_get(s, "by_source"))
	        add_row(&r, answer_string(one, "source"), one, answer_number(one, "n"));
	put_rows(h, &r, "by source", answer_number(s, "chance"), "By source");
}

static void put_deciles(html *h, const cJSON *s)
{
	const cJSON *one;
	char name[NAME];
	rows r = { .n = 0 };
	int i = 0;

	cJSON_ArrayForEach(one, report_get(s, "by_decile"))
	{
		snprintf(name, sizeof(name),
		         i == 0   ? "strongest tenth"
		         : i == 9 ? "weakest tenth"
		                  : "%d",
		         i + 1);
		i++;
		add_row(&r, name, one, answer_number(one, "n"));
	}
	put_rows(h, &r, "by strength", (double)NAN,
	         "Firing windows told right, by tenths of strength, all features together");
}

static void put_words(html *h, const cJSON *s)
{
	const cJSON *q = report_get(s, "quantiles"), *one;
	double no = answer_number(s, "plain_accuracy_of_no"), untold = answer_number(s, "untold");

	html_addf(h,
	          "<p>Median %.3f, half of the features from %.3f to %.3f, least %.3f, greatest %.3f; "
	          "deviation %.3f. ",
	          cJSON_GetArrayItem(q, 2)->valuedouble, cJSON_GetArrayItem(q, 1)->valuedouble,
	          cJSON_GetArrayItem(q, 3)->valuedouble, cJSON_GetArrayItem(q, 0)->valuedouble,
	          cJSON_GetArrayItem(q, 4)->valuedouble, answer_number(s, "deviation"));
	html_addf(h, "%.0f answers, ", answer_number(s, "answers"));
	html_addf(h, "%.2f %% of questions unanswered.",
	          100 * answer_number(report_get(s, "failures"), "value"));
	if (answer_number(s, "always_yes") + answer_number(s, "always_no") > 0)
		html_addf(h, " The judge said yes to all of %.0f features, no to all of %.0f.",
		          answer_number(s, "always_yes"), answer_number(s, "always_no"));
	if (!isnan(no))
		html_addf(h, " A judge that says no to everything has 0.5, and a plain accuracy of %.3f.",
		          no);
	if (untold > 0)
		html_addf(h, " Of %.0f features it is not told whether their interval holds chance.", untold);
	html_add(h, "</p>\n<p>");
	cJSON_ArrayForEach(one, report_get(s, "against"))
	{
		html_add(h, "Against ");
		html_text(h, answer_string(one, "what"));
		html_addf(h, ": better in %.0f of %.0f, equal in %.0f, by ", answer_number(one, "better"),
		          answer_number(one, "n"), answer_number(one, "equal"));
		report_interval(h, report_get(one, "difference"));
		html_add(h, " on average. ");
	}
	html_add(h, "</p>\n");
}

static void put_series(html *h, const cJSON *page, const cJSON *s, size_t i)
{
	double chance = answer_number(s, "chance");
	char *svg = NULL;
	int rc;

	html_addf(h, "<h3 id=s%zu>", i);
	report_series_name(h, page, i);
	html_add(h, "</h3>\n");
	put_words(h, s);
	html_add(h, "<div class=figures>\n");
	rc = chart_histogram(&svg, "distribution of scores", report_get(s, "histogram"),
	                     answer_number(s, "value"), chance, NULL);
	report_picture(h, rc, svg, "Features by score; the line is the mean, the dashed one chance");
	svg = NULL;
	rc = chart_scores(&svg, "scores with intervals", report_get(page, "features"), i, chance, NULL);
	report_picture(h, rc, svg,
	               "Each feature's score with its 95 % interval, grey where that holds chance");
	put_against(h, s);
	put_density(h, s);
	put_source(h, s);
	put_deciles(h, s);
	html_add(h, "</div>\n");
}

void report_put_scorers(html *h, const cJSON *page)
{
	const cJSON *s;
	size_t i = 0;

	html_add(h, "<h2 id=scorers>Each scorer</h2>\n");
	cJSON_ArrayForEach(s, report_get(page, "series")) put_series(h, page, s, i++);
}
