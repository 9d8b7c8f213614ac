/* The page of `gloss report` as HTML: report_page.c puts it together, report_charts.c draws. */
#ifndef GLOSS_CLI_REPORT_PAGE_H
#define GLOSS_CLI_REPORT_PAGE_H

#include "cli/html.h"

/* What explain_report() says as one HTML file that needs nothing else: no script, no network. *out: for the caller to free. */
int report_page(char **out, const cJSON *page, error *err) MUST_USE;

/* Pictures within a page; each is for the caller to free. */
typedef struct forest_row {
	const char *name;
	double value, low, high; /* low, high NaN: no interval */
	double n;                /* NaN: not shown */
} forest_row;
/* A line a row with its interval. zero: where a dashed line goes; NaN: none. */
int chart_forest(char **out, const char *title, const forest_row *rows, size_t n, double zero,
                 error *err) MUST_USE;
int chart_histogram(char **out, const char *title, const cJSON *histogram, double mean, double chance,
                    error *err) MUST_USE;
/* The scores of a series, ascending, each with its interval; of many some. */
int chart_scores(char **out, const char *title, const cJSON *features, size_t series, double chance,
                 error *err) MUST_USE;

#endif
