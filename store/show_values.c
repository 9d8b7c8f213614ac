/* Histogram, quantiles and intervals of a feature's page. */
#include "store/show_values.h"

enum { COLUMN_HISTOGRAM, COLUMN_INTERVALS, COLUMN_QUANTILES, COLUMN_MAX, COLUMN_FIRES };

static int corrupt(const feature_place *p, const char *what, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s': feature %u is corrupt: its %s is not one", store_path(p->s),
	                 p->feature, what);
}

/* ---- Histogram ---- */

/* {"edges":[n + 1],"counts":[n]} by half octaves, or as it is stored where that is coarser. */
static void put_histogram(cJSON *page, const histogram *h, int step, bool *failed)
{
	cJSON *out = json_put_object(page, "histogram", failed),
	      *edges = json_put_array(out, "edges", failed), *counts = json_put_array(out, "counts", failed);
	int shown = step > GRID_PER_OCTAVE / 2 ? step : GRID_PER_OCTAVE / 2;
	int at = h->first * step, past = at - GRID_FIRST;
	uint64_t sum = 0;

	if (h->n > 0)
		json_put_number(edges, NULL, grid_edge(at - past % shown), failed);
	for (uint32_t i = 0; i < h->n; i++) {
		sum += h->counts[i];
		past += step;
		if (past % shown != 0 && i + 1 < h->n)
			continue;
		json_put_number(counts, NULL, (double)sum, failed);
		json_put_number(edges, NULL, grid_edge(GRID_FIRST + (past + shown - 1) / shown * shown),
		                failed);
		sum = 0;
	}
}

static int read_histogram(histogram *out, int *step, const feature_place *p, sqlite3_stmt *row, error *err)
{
	cJSON *json = NULL;
	int rc = place_read_json(&json, p, row, COLUMN_HISTOGRAM, err);

	if (rc < 0)
		return rc;
	rc = histogram_read(out, step, json);
	cJSON_Delete(json);
	if (rc == ERR_NOMEM)
		return error_nomem(err, "a page");
	return rc < 0 ? corrupt(p, "histogram", err) : 0;
}

/* ---- Intervals ---- */

static int read_intervals(shown_intervals *out, const feature_place *p, sqlite3_stmt *row, error *err)
{
	cJSON *json = NULL;
	int rc = place_read_json(&json, p, row, COLUMN_INTERVALS, err);

	if (rc < 0)
		return rc;
	rc = intervals_read(&out->parts, out->kept, json);
	cJSON_Delete(json);
	return rc < 0 ? corrupt(p, "intervals", err) : 0;
}

/* How many samples each interval has. */
static int count_samples(shown_intervals *out, const feature_place *p, error *err)
{
	sqlite3_stmt *row = NULL;
	int rc = place_prepare(
	        &row, p, "SELECT activation FROM example WHERE source_id = ?1 AND feature = ?2 AND bin >= 0",
	        err);

	while (store_next(&rc, p->s, row, err))
		out->kept[intervals_find(&out->parts, (float)sqlite3_column_double(row, 0))]++;
	sqlite3_finalize(row);
	return rc;
}

/* Whether Neuronpedia's: tokens that do not fire are in the lowest interval, and shares are of all tokens. */
static bool holds_silent(store_intervals which)
{
	return which == STORE_INTERVALS_NEURONPEDIA;
}

static int draw_intervals(shown_intervals *out, const feature_place *p, const store_source *source,
                          store_intervals which, const histogram *h, int step, double most, error *err)
{
	if (source->n_samples == 0)
		return error_set(
		        err, ERR_ARG,
		        "the samples of source '%s' were drawn by half octaves, in version 1: index it anew "
		        "for other intervals",
		        source->name);
	if (which == STORE_INTERVALS_EQUAL_COUNT)
		intervals_equal_count(&out->parts, h, step);
	else
		intervals_equal_width(&out->parts, h, step, holds_silent(which) ? 5 : 10, most);
	return count_samples(out, p, err);
}

static const char *definition(const shown_intervals *shown, store_intervals which)
{
	switch (which) {
	case STORE_INTERVALS_EQUAL_WIDTH:
		return "10 of equal width from 0 to the maximum";
	case STORE_INTERVALS_NEURONPEDIA:
		return "Neuronpedia's: 5 of equal width from 0 to the maximum, the lowest with all tokens "
		       "that do not fire";
	default:
		return shown->parts.definition;
	}
}

/* {"definition","edges":[n + 1],"counts":[n],"kept":[n],"contains":[n],"of"}: counts are of firing tokens, `contains` is the
 * share of the tokens that `of` names. Edges are of the grid, but for those of equal width at the ends: 0 and the maximum. */
static void put_intervals(cJSON *page, const shown_intervals *shown, store_intervals which, double most,
                          double n_silent, bool *failed)
{
	const intervals *v = &shown->parts;
	bool width = which == STORE_INTERVALS_EQUAL_WIDTH || holds_silent(which);
	cJSON *out = json_put_object(page, "intervals", failed), *edges, *counts, *kept, *contains;
	double total = holds_silent(which) ? n_silent : 0;

	json_put_text(out, "definition", definition(shown, which), failed);
	edges = json_put_array(out, "edges", failed);
	counts = json_put_array(out, "counts", failed);
	kept = json_put_array(out, "kept", failed);
	contains = json_put_array(out, "contains", failed);
	json_put_text(out, "of", holds_silent(which) ? "all tokens" : "firing tokens", failed);
	for (uint32_t j = 0; j < v->n; j++)
		total += (double)v->counts[j];
	for (uint32_t j = 0; j <= v->n && total > 0; j++)
		json_put_number(edges, NULL,
		                !width      ? grid_edge(v->grid[j])
		                : j == 0    ? 0
		                : j == v->n ? most
		                            : grid_edge(v->grid[j]),
		                failed);
	for (uint32_t j = 0; j < v->n && total > 0; j++) {
		double silent = holds_silent(which) && j == 0 ? n_silent : 0;

		json_put_number(counts, NULL, (double)v->counts[j], failed);
		json_put_number(kept, NULL, shown->kept[j], failed);
		json_put_number(contains, NULL, ((double)v->counts[j] + silent) / total, failed);
	}
}

int values_put(shown_intervals *out, cJSON *page, const feature_place *p, const store_source *source,
               store_intervals which, bool *failed, error *err)
{
	histogram h = { 0 };
	sqlite3_stmt *row = NULL;
	double most = 0, silent = 0;
	bool more = false;
	int step = 1, rc;

	*out = (shown_intervals){ .stored = which == STORE_INTERVALS_STORED };
	rc = place_prepare(
	        &row, p,
	        "SELECT d.histogram, d.intervals, d.quantiles, f.max_act, f.n_fires FROM feature_detail d"
	        " JOIN feature f ON f.source_id = d.source_id AND f.feature = d.feature"
	        " WHERE d.source_id = ?1 AND d.feature = ?2",
	        err);
	if (rc == 0)
		rc = store_step(p->s, row, &more, err);
	if (rc == 0 && !more)
		rc = error_set(err, ERR_FORMAT, "'%s' is corrupt: feature %u has no histogram",
		               store_path(p->s), p->feature);
	if (rc == 0)
		rc = read_histogram(&h, &step, p, row, err);
	if (rc == 0) {
		most = sqlite3_column_double(row, COLUMN_MAX);
		silent = (double)source->n_tokens - sqlite3_column_double(row, COLUMN_FIRES);
		put_histogram(page, &h, step, failed);
		rc = place_put_json(page, p, row, COLUMN_QUANTILES, failed, err);
	}
	if (rc == 0)
		rc = out->stored ? read_intervals(out, p, row, err)
		                 : draw_intervals(out, p, source, which, &h, step, most, err);
	if (rc == 0)
		put_intervals(page, out, which, most, silent, failed);
	histogram_clear(&h);
	sqlite3_finalize(row);
	return rc;
}
