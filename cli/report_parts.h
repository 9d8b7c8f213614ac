/* What the files of the report's page share. */
#ifndef GLOSS_CLI_REPORT_PARTS_H
#define GLOSS_CLI_REPORT_PARTS_H

#include "cli/report_page.h"
#include "cli/store_args.h"

const cJSON *report_get(const cJSON *o, const char *name);
void report_number_cell(html *h, double x, const char *fmt); /* of a table; NaN: a dash */
void report_interval(html *h, const cJSON *v);               /* its value, low, high */
void report_series_name(html *h, const cJSON *page, size_t i);
void report_series_heads(html *h, const cJSON *page);                 /* a cell of a table's head for each */
void report_picture(html *h, int rc, char *svg, const char *caption); /* takes svg over */

void report_put_scorers(html *h, const cJSON *page); /* report_scorers.c */
void report_put_shown(html *h, const cJSON *page); /* report_table.c: the best and the worst, with windows */
void report_put_table(html *h, const cJSON *page);

#endif
