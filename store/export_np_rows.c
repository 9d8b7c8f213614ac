/* Rows as Neuronpedia's own exporter writes them: its tables Neuron, Activation, Explanation. What is not known is null or empty. */
#include "store/export_neuronpedia.h"

#include <math.h>
#include <stdlib.h>

enum { HISTOGRAM_BINS = 50 }; /* as SAEDashboard has them */

void np_id(char out[40], const np_names *names, char kind, uint64_t a, uint64_t b)
{
	uint64_t high = hash64_mix(hash64_mix(names->key, (unsigned char)kind), a);

	snprintf(out, 40, "g%016llx%016llx", (unsigned long long)hash64_mix(high, b),
	         (unsigned long long)hash64_mix(b ^ names->key, high));
}

static void put_place(json_row *r, const np_names *names, uint32_t feature)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", feature);
	json_row_text(r, "modelId", names->model);
	json_row_text(r, "layer", names->source);
	json_row_text(r, "index", index);
}

/* ---- A feature ---- */

static int put_histogram(json_row *r, const export_feature *f, error *err)
{
	uint64_t counts[HISTOGRAM_BINS];
	histogram h = { 0 };
	double low = 0, width;
	int step = 1, rc;

	if (f->n_fires == 0 || !f->histogram) {
		json_row_empty(r, "freq_hist_data_bar_heights");
		json_row_empty(r, "freq_hist_data_bar_values");
		return 0;
	}
	rc = histogram_read(&h, &step, f->histogram);
	if (rc == ERR_NOMEM)
		return error_nomem(err, "a histogram");
	if (rc == 0 && h.n > 0)
		low = fmin(grid_edge(h.first * step), f->max_act);
	histogram_clear(&h);
	width = (f->max_act - low) / HISTOGRAM_BINS;
	rc = export_histogram(counts, HISTOGRAM_BINS, low, width, f, err);
	if (rc < 0)
		return rc;
	json_row_open(r, "freq_hist_data_bar_heights");
	for (int i = 0; i < HISTOGRAM_BINS; i++)
		json_row_add_number(r, (double)counts[i]);
	json_row_close(r);
	json_row_open(r, "freq_hist_data_bar_values");
	for (int i = 0; i < HISTOGRAM_BINS; i++)
		json_row_add_float(r, (float)(low + width * (i + 0.5)));
	json_row_close(r);
	return 0;
}

static void put_logit_histogram(json_row *r, const export_feature *f)
{
	const cJSON *counts = cJSON_GetObjectItem(f->logit_histogram, "counts"), *count;
	double low = cJSON_GetNumberValue(cJSON_GetObjectItem(f->logit_histogram, "low"));
	double high = cJSON_GetNumberValue(cJSON_GetObjectItem(f->logit_histogram, "high"));
	int n = cJSON_GetArraySize(counts);

	json_row_open(r, "logits_hist_data_bar_heights");
	cJSON_ArrayForEach(count, counts) json_row_add_number(r, cJSON_GetNumberValue(count));
	json_row_close(r);
	json_row_open(r, "logits_hist_data_bar_values");
	for (int i = 0; i < n; i++)
		json_row_add_float(r, (float)(low + (high - low) * (i + 0.5) / n));
	json_row_close(r);
}

static int put_vector(json_row *r, export_source *x, uint32_t feature, bool wanted, error *err)
{
	arena mem = ARENA_INIT;
	float *v = NULL;
	int rc = wanted ? export_vector(&v, x, feature, &mem, err) : 0;

	if (rc == 0) {
		json_row_bool(r, "hasVector", v != NULL);
		json_row_open(r, "vector");
		for (uint32_t i = 0; v && i < x->of.d_in; i++)
			json_row_add_float(r, v[i]);
		json_row_close(r);
	}
	arena_clear(&mem);
	return rc;
}

int np_put_neuron(json_row *r, const np_names *names, export_source *x, const export_feature *f, bool vector,
                  error *err)
{
	static const char *const not_known[] = {
		"neuron_alignment_indices",    "neuron_alignment_l1",   "neuron_alignment_values",
		"correlated_neurons_indices",  "correlated_neurons_l1", "correlated_neurons_pearson",
		"correlated_features_pearson", "decoder_weights_dist",
	};
	int rc;

	json_row_begin(r);
	put_place(r, names, f->place.feature);
	json_row_text(r, "sourceSetName", names->set);
	json_row_text(r, "creatorId", names->creator);
	json_row_text(r, "createdAt", x->of.created);
	json_row_float(r, "maxActApprox", (float)f->max_act);
	json_row_number(r, "frac_nonzero",
	                x->of.n_tokens ? (double)f->n_fires / (double)x->of.n_tokens : f->density);
	rc = put_histogram(r, f, err);
	if (rc < 0)
		return rc;
	put_logit_histogram(r, f);
	export_put_tokens(r, "neg_str", "neg_values", f->bottom_logits, &x->words);
	export_put_tokens(r, "pos_str", "pos_values", f->top_logits, &x->words);
	export_put_pairs(r, "topkCosSimIndices", "topkCosSimValues", f->neighbours, 1);
	export_put_pairs(r, "correlated_features_indices", "correlated_features_l1", f->cofiring, 2);
	for (size_t i = 0; i < ARRAY_LEN(not_known); i++)
		json_row_empty(r, not_known[i]);
	json_row_text(r, "hookName", x->of.hook_point);
	rc = put_vector(r, x, f->place.feature, vector, err);
	if (rc < 0)
		return rc;
	json_row_null(r, "vectorLabel");
	json_row_null(r, "vectorDefaultSteerStrength");
	return json_row_end(r, err);
}

/* ---- An example ---- */

/* An interval, and its share of all tokens; the strongest are coded as Neuronpedia does. */
static int put_bin(json_row *r, const export_source *x, const export_feature *f, const export_example *e,
                   error *err)
{
	if (e->bin >= (int64_t)f->parts.n)
		return error_set(err, ERR_FORMAT,
		                 "'%s': feature %u is corrupt: an example is of interval %lld",
		                 store_path(x->s), f->place.feature, (long long)e->bin);
	json_row_number(r, "binMin", e->bin < 0 ? -1 : grid_edge(f->parts.grid[e->bin]));
	json_row_number(r, "binMax", e->bin < 0 ? f->max_act : grid_edge(f->parts.grid[e->bin + 1]));
	json_row_number(r, "binContains",
	                e->bin < 0 ? -1 : (double)f->parts.counts[e->bin] / (double)x->of.n_tokens);
	return 0;
}

int np_put_activation(json_row *r, const np_names *names, const export_source *x, const export_feature *f,
                      const export_example *e, error *err)
{
	uint32_t n = e->span.length, most = 0, least = 0;
	char id[40];
	int rc;

	np_id(id, names, 'a', f->place.feature, (uint64_t)(e->bin + 1) << 32 | (uint64_t)e->rank);
	json_row_begin(r);
	json_row_text(r, "id", id);
	put_place(r, names, f->place.feature);
	json_row_text(r, "creatorId", names->creator);
	json_row_text(r, "createdAt", x->of.created);
	json_row_text(r, "dataSource", x->of.dump_sha256);
	json_row_open(r, "tokens");
	for (uint32_t i = 0; i < n; i++)
		json_row_add_text(r, e->text[i], strlen(e->text[i]));
	json_row_close(r);
	json_row_open(r, "values");
	for (uint32_t i = 0; i < n; i++) {
		json_row_add_float(r, e->value[i]);
		most = e->value[i] > e->value[most] ? i : most;
		least = e->value[i] < e->value[least] ? i : least;
	}
	json_row_close(r);
	json_row_float(r, "maxValue", e->value[most]);
	json_row_float(r, "minValue", e->value[least]);
	json_row_number(r, "maxValueTokenIndex", most);
	json_row_number(r, "qualifyingTokenIndex", e->span.peak);
	json_row_empty(r, "dfaValues");
	json_row_null(r, "dfaMaxValue");
	json_row_null(r, "dfaTargetIndex");
	rc = put_bin(r, x, f, e, err);
	return rc < 0 ? rc : json_row_end(r, err);
}

/* ---- A label and its scores ---- */

static const char *column(sqlite3_stmt *row, int i)
{
	return (const char *)sqlite3_column_text(row, i);
}

int np_put_explanation(json_row *r, const np_names *names, sqlite3_stmt *row, error *err)
{
	char id[40];

	np_id(id, names, 'e', (uint64_t)sqlite3_column_int64(row, 0), 0);
	json_row_begin(r);
	json_row_text(r, "id", id);
	put_place(r, names, (uint32_t)sqlite3_column_int64(row, 1));
	json_row_text(r, "authorId", names->creator);
	json_row_text(r, "description", column(row, 2));
	json_row_text(r, "typeName", column(row, 3));
	json_row_text(r, "explanationModelName", column(row, 4));
	json_row_text(r, "createdAt", column(row, 5));
	json_row_text(r, "notes", column(row, 6));
	json_row_null(r, "embedding");
	json_row_null(r, "umap_x");
	json_row_null(r, "umap_y");
	json_row_null(r, "umap_cluster");
	json_row_null(r, "umap_log_feature_sparsity");
	return json_row_end(r, err);
}

int np_put_score(json_row *r, const np_names *names, sqlite3_stmt *row, error *err)
{
	char id[40];

	json_row_begin(r);
	np_id(id, names, 's', (uint64_t)sqlite3_column_int64(row, 0), 0);
	json_row_text(r, "id", id);
	np_id(id, names, 'e', (uint64_t)sqlite3_column_int64(row, 1), 0);
	json_row_text(r, "explanationId", id);
	json_row_number(r, "value", sqlite3_column_double(row, 3));
	json_row_text(r, "explanationScoreTypeName", column(row, 4));
	json_row_text(r, "explanationScoreModelName", column(row, 5));
	json_row_text(r, "jsonDetails", column(row, 6));
	json_row_text(r, "initiatedByUserId", names->creator);
	json_row_text(r, "createdAt", column(row, 7));
	return json_row_end(r, err);
}
