/* What the files of the report share. Private to explain/. */
#ifndef GLOSS_EXPLAIN_REPORT_PARTS_H
#define GLOSS_EXPLAIN_REPORT_PARTS_H

#include "explain/put.h"
#include "explain/report.h"

#define REPORT_LEVEL 0.95

typedef struct report_score {
	const store_scored *row;
	size_t source, series;
	const cJSON *details; /* an object */
	double chance;        /* NaN: not told */
	double order;         /* of its feature, by the series that orders */
} report_score;

typedef struct report_series {
	const char *scorer, *judge;
	const report_score **score; /* (n) by source and feature */
	size_t n;
} report_series;

typedef struct report {
	store *s;
	const explain_report_opts *o;
	arena mem;
	store_source *source; /* (n_sources) names in mem */
	store_scored_counts *counts;
	size_t n_sources;
	store_scored **rows; /* (n_sources), malloc'd */
	size_t *n_rows;
	cJSON *parsed;       /* details, an array */
	report_score *score; /* (n) by source and feature */
	size_t n;
	report_series *series; /* (n_series) by scorer and judge */
	size_t n_series, by;
	double *room; /* (2 n) for whoever needs it */
} report;

/* A number somewhere in details: up to two names; NaN: there is none. */
double report_number(const cJSON *details, const char *name, const char *within);
bool report_holds_chance(const report_score *x, bool *told);
/* How many of *asked windows, or of a simulation tokens, have no answer. */
double report_unanswered(const report_score *x, double *asked);

int report_by_feature(const report_score *a, const report_score *b); /* by source and feature */

void report_put_series(cJSON *to, report *r, const report_series *x, bool *failed);
int report_put_agreement(cJSON *to, report *r, bool *failed, error *err) MUST_USE;
int report_put_golden(cJSON *page, report *r, bool *failed, error *err) MUST_USE;
int report_put_cost(cJSON *to, report *r, bool *failed, error *err) MUST_USE;
int report_put_features(cJSON *page, report *r, bool *failed, error *err) MUST_USE;

#endif
