/* See export_rows.h. */
#include "store/export_rows.h"

#include <math.h>
#include <stdlib.h>

int export_source_open(export_source *x, store *s, const char *source, error *err)
{
	int rc;

	*x = (export_source){ .s = s, .mem = ARENA_INIT };
	rc = store_record_get(&x->of, s, source, &x->mem, err);
	if (rc == 0)
		rc = record_vocab(&x->words, s, &x->of, err);
	x->wide = store_window_is_wide(x->of.before, x->of.after);
	if (rc == 0)
		rc = store_prepare(&x->feature, s,
		                   "SELECT f.n_fires, f.density, f.max_act, f.sum1, f.sum2, f.sum3, f.sum4,"
		                   " d.histogram, d.top_logits, d.bottom_logits, d.neighbours, d.intervals,"
		                   " d.logit_histogram, d.cofiring FROM feature f LEFT JOIN feature_detail d"
		                   " ON d.source_id = f.source_id AND d.feature = f.feature"
		                   " WHERE f.source_id = ?1 AND f.feature = ?2",
		                   err);
	if (rc == 0)
		rc = store_prepare(&x->examples, s,
		                   "SELECT e.bin, e.rank, e.position, e.activation, e.codes, c.document_id,"
		                   " " CONTEXT_COLUMNS " FROM example e JOIN context c ON c.id = e.context_id"
		                   " JOIN document d ON d.id = c.document_id"
		                   " WHERE e.source_id = ?1 AND e.feature = ?2"
		                   " AND e.rank < CASE WHEN e.bin < 0 THEN ?3 ELSE ?4 END"
		                   " ORDER BY e.bin, e.rank",
		                   err);
	if (rc == 0)
		rc = store_prepare(&x->vector, s,
		                   "SELECT decoder FROM vector WHERE source_id = ?1 AND feature = ?2", err);
	return rc;
}

void export_source_clear(export_source *x)
{
	sqlite3_finalize(x->feature);
	sqlite3_finalize(x->examples);
	sqlite3_finalize(x->vector);
	vocab_clear(&x->words);
	arena_clear(&x->mem);
	*x = (export_source){ 0 };
}

/* ---- A feature ---- */

static int read_details(export_feature *f, sqlite3_stmt *row, error *err)
{
	cJSON **json[] = { &f->histogram, &f->top_logits,      &f->bottom_logits, &f->neighbours,
		           &f->intervals, &f->logit_histogram, &f->cofiring };
	uint32_t kept[INTERVALS_MAX];
	int rc = 0;

	for (int i = 0; i < (int)ARRAY_LEN(json) && rc == 0; i++)
		rc = place_read_json(json[i], &f->place, row, 7 + i, err);
	/* (reads into place: no memory is asked for) */
	if (rc == 0 && f->intervals && intervals_read(&f->parts, kept, f->intervals) < 0)
		rc = error_set(err, ERR_FORMAT, "'%s': feature %u is corrupt: its intervals are none",
		               store_path(f->place.s), f->place.feature);
	return rc;
}

int export_feature_read(export_feature *out, export_source *x, uint32_t feature, error *err)
{
	sqlite3_stmt *row = x->feature;
	bool more = false;
	int rc;

	*out = (export_feature){ .place = { x->s, x->of.id, feature } };
	rc = store_bind(x->s, row, err, "ii", x->of.id, (int64_t)feature);
	if (rc == 0)
		rc = store_step(x->s, row, &more, err);
	if (rc == 0 && !more)
		rc = error_set(err, ERR_NOTFOUND, "'%s': source '%s' has no feature %u", store_path(x->s),
		               x->of.name, feature);
	if (rc == 0) {
		out->n_fires = (uint64_t)sqlite3_column_int64(row, 0);
		out->density = sqlite3_column_double(row, 1);
		out->max_act = sqlite3_column_double(row, 2);
		for (int i = 0; i < 4; i++)
			out->sum[i] = sqlite3_column_double(row, 3 + i);
		rc = read_details(out, row, err);
	}
	sqlite3_reset(row);
	return rc;
}

void export_feature_clear(export_feature *f)
{
	cJSON_Delete(f->histogram);
	cJSON_Delete(f->top_logits);
	cJSON_Delete(f->bottom_logits);
	cJSON_Delete(f->neighbours);
	cJSON_Delete(f->intervals);
	cJSON_Delete(f->logit_histogram);
	cJSON_Delete(f->cofiring);
	*f = (export_feature){ 0 };
}

/* ---- Its examples ---- */

static int read_example(export_example *e, export_source *x, arena *mem, error *err)
{
	sqlite3_stmt *row = x->examples;
	int rc;

	e->bin = sqlite3_column_int64(row, 0);
	e->rank = sqlite3_column_int64(row, 1);
	e->position = sqlite3_column_int64(row, 2);
	e->activation = (float)sqlite3_column_double(row, 3);
	e->document = sqlite3_column_int64(row, 5);
	rc = context_row_read(&e->context, row, 6, x->s, err);
	if (rc == 0)
		rc = example_span_find(&e->span, e->position, x->of.before, x->of.after, &e->context, x->s,
		                       err);
	if (rc < 0)
		return rc;
	e->text = context_row_texts(&e->context, e->span.first, e->span.length, mem);
	e->value = arena_alloc(mem, e->span.length, sizeof(*e->value));
	if (!e->text || !e->value)
		return error_nomem(err, "an example");
	return example_codes_read(e->value, e->span.length, e->span.peak, e->activation, row, 4, x->wide,
	                          x->s, err);
}

int export_examples_each(export_source *x, uint32_t feature, uint32_t n_top, uint32_t n_samples,
                         int (*take)(void *payload, const export_example *e, error *err), void *payload,
                         error *err)
{
	arena mem = ARENA_INIT;
	export_example e;
	int rc = store_bind(x->s, x->examples, err, "iiii", x->of.id, (int64_t)feature, (int64_t)n_top,
	                    (int64_t)n_samples);

	while (store_next(&rc, x->s, x->examples, err)) {
		arena_clear(&mem);
		rc = read_example(&e, x, &mem, err);
		if (rc == 0)
			rc = take(payload, &e, err);
	}
	sqlite3_reset(x->examples);
	arena_clear(&mem);
	return rc;
}

/* ---- Numbers of it ---- */

/* How many of the histogram's tokens lie below `at`. *i and *below: the bin reached and the tokens before it, for the next call, which asks
 * for more. */
static double tokens_below(double at, const histogram *h, int step, double most, uint32_t *i, uint64_t *below)
{
	for (; *i < h->n; ++*i) {
		double low = grid_edge((h->first + (int)*i) * step);
		double high = fmin(grid_edge((h->first + (int)*i + 1) * step), fmax(most, low));

		if (at < high || (at == high && high == low)) {
			double share = high > low ? (at - low) / (high - low) : 0;

			return (double)*below + fmax(share, 0) * (double)h->counts[*i];
		}
		*below += h->counts[*i];
	}
	return (double)*below;
}

int export_histogram(uint64_t *counts, uint32_t n, double low, double width, const export_feature *f,
                     error *err)
{
	histogram h = { 0 };
	int step = 1;
	uint32_t i = 0;
	uint64_t below = 0, before = 0;
	int rc = f->histogram ? histogram_read(&h, &step, f->histogram) : ERR_FORMAT;

	if (rc == ERR_NOMEM)
		return error_nomem(err, "a histogram");
	if (rc < 0)
		return error_set(err, ERR_FORMAT, "'%s': feature %u is corrupt: it has no histogram",
		                 store_path(f->place.s), f->place.feature);
	for (uint32_t bin = 0; bin < n; bin++) {
		double edge = bin + 1 == n ? (double)INFINITY : low + width * (bin + 1);
		uint64_t so_far = (uint64_t)llround(tokens_below(edge, &h, step, f->max_act, &i, &below));

		counts[bin] = so_far - before;
		before = so_far;
	}
	histogram_clear(&h);
	return 0;
}

int export_vector(float **out, export_source *x, uint32_t feature, arena *mem, error *err)
{
	const unsigned char *bytes;
	bool more = false;
	float *v = NULL;
	int rc = store_bind(x->s, x->vector, err, "ii", x->of.id, (int64_t)feature);

	if (rc == 0)
		rc = store_step(x->s, x->vector, &more, err);
	if (rc == 0 && more) {
		bytes = sqlite3_column_blob(x->vector, 0);
		if (!bytes || (uint64_t)sqlite3_column_bytes(x->vector, 0) != 2 * (uint64_t)x->of.d_in)
			rc = error_set(err, ERR_FORMAT,
			               "'%s': the decoder row of feature %u has %d bytes, not %llu",
			               store_path(x->s), feature, sqlite3_column_bytes(x->vector, 0),
			               2 * (unsigned long long)x->of.d_in);
		else if (!(v = arena_alloc(mem, x->of.d_in, sizeof(*v))))
			rc = error_nomem(err, "a decoder row");
		for (uint32_t i = 0; rc == 0 && i < x->of.d_in; i++) {
			v[i] = store_half_to_float((uint16_t)load_u16le(bytes + 2 * (size_t)i));
			if (!isfinite(v[i]))
				rc = error_set(err, ERR_FORMAT,
				               "'%s': the decoder row of feature %u is not finite at %u",
				               store_path(x->s), feature, i);
		}
	}
	sqlite3_reset(x->vector);
	if (rc == 0)
		*out = v;
	return rc;
}

/* ---- Arrays ---- */

static void put_numbers(json_row *r, const char *name, const cJSON *pairs, int at)
{
	const cJSON *pair;

	json_row_open(r, name);
	cJSON_ArrayForEach(pair, pairs)
	{
		const cJSON *number = cJSON_GetArrayItem(pair, at);

		json_row_add_number(r, cJSON_IsNumber(number) ? number->valuedouble : (double)NAN);
	}
	json_row_close(r);
}

void export_put_pairs(json_row *r, const char *first, const char *second, const cJSON *pairs, int at)
{
	put_numbers(r, first, pairs, 0);
	put_numbers(r, second, pairs, at);
}

void export_put_tokens(json_row *r, const char *first, const char *second, const cJSON *pairs,
                       const vocab *words)
{
	const cJSON *pair;

	json_row_open(r, first);
	cJSON_ArrayForEach(pair, pairs)
	{
		double token = cJSON_GetNumberValue(cJSON_GetArrayItem(pair, 0));
		char digits[32];

		if (token >= 0 && token < words->n) {
			const uint64_t *at = &words->offset[(uint32_t)token];

			json_row_add_text(r, words->bytes + at[0], (size_t)(at[1] - at[0]));
		} else {
			int n = snprintf(digits, sizeof(digits), "%.0f", token);

			json_row_add_text(r, digits, (size_t)n);
		}
	}
	json_row_close(r);
	put_numbers(r, second, pairs, 1);
}
