/* What exports of features share: a source, and each feature of it with its examples as rows of JSON. */
#ifndef GLOSS_STORE_EXPORT_ROWS_H
#define GLOSS_STORE_EXPORT_ROWS_H

#include "store/histogram.h"
#include "store/history.h"
#include "store/json_row.h"
#include "store/record.h"

typedef struct export_source {
	store *s;
	store_record of;
	vocab words;
	bool wide; /* windows of examples, as store_window_is_wide() says */
	sqlite3_stmt *feature, *examples, *vector;
	arena mem; /* of the record */
} export_source;
/* source: NULL: the only one. End with export_source_clear() on failure too. */
int export_source_open(export_source *x, store *s, const char *source, error *err) MUST_USE;
void export_source_clear(export_source *x); /* fine on a zeroed struct */

/* A feature as stored; JSON members are NULL where nothing was computed. */
typedef struct export_feature {
	feature_place place;
	uint64_t n_fires;
	double density, max_act, sum[4];
	cJSON *histogram, *top_logits, *bottom_logits, *neighbours, *intervals, *logit_histogram, *cofiring;
	intervals parts; /* n 0: none */
} export_feature;
int export_feature_read(export_feature *out, export_source *x, uint32_t feature, error *err) MUST_USE;
void export_feature_clear(export_feature *f);

/* An example and its window. What it points to lives until the next one. */
typedef struct export_example {
	int64_t bin, rank, document; /* document: its number in the store; bin -1: one of the strongest */
	int64_t position;
	float activation;
	context_row context;
	example_span span;
	const char *const *text; /* (span.length) */
	float *value;            /* (span.length) */
} export_example;
/* Calls take() for the n_top strongest examples and the first n_samples of each interval, in this order. */
int export_examples_each(export_source *x, uint32_t feature, uint32_t n_top, uint32_t n_samples,
                         int (*take)(void *payload, const export_example *e, error *err), void *payload,
                         error *err) MUST_USE;

/* Counts of firing tokens in n bins of equal width from `low` on: the histogram's, whose bins are cut as if their values lay
 * evenly in them (they are 1.1 % wide), so that all add up to n_fires. ERR_FORMAT: the histogram is corrupt. */
int export_histogram(uint64_t *counts, uint32_t n, double low, double width, const export_feature *f,
                     error *err) MUST_USE;
/* The decoder row of a feature: (d_in) floats; NULL where the store has none. In `mem`. */
int export_vector(float **out, export_source *x, uint32_t feature, arena *mem, error *err) MUST_USE;

/* Arrays of the first and of the second number of [[a, b], ...], NULL: empty ones. */
void export_put_pairs(json_row *r, const char *first, const char *second, const cJSON *pairs, int at);
/* The same where the first numbers are tokens, as their texts. */
void export_put_tokens(json_row *r, const char *first, const char *second, const cJSON *pairs,
                       const vocab *words);

#endif
