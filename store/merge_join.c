/* One source of several: what an index run kept of each feature is read back from the stores, joined, and written as an index
 * run writes it. */
#include "store/index_internal.h"
#include "store/merge.h"

#include <math.h>

typedef struct joining {
	merge *m;
	merge_source *src;
	store_index *ix;
	uint32_t *tokens; /* of a window */
	size_t tokens_cap;
	store_index_result result;
	const char *dumps; /* JSON */
} joining;

/* ---- Contexts, firings, decoder rows: into the side database ---- */

static int add_contexts(joining *j, const merge_part *part, error *err)
{
	side *sd = &j->ix->sd;
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, part->in->s,
	                       "SELECT c.id, d.key, c.tokens FROM source_context x JOIN context c ON c.id = "
	                       "x.context_id JOIN document d ON d.id = c.document_id WHERE x.source_id = ?1",
	                       err);

	if (rc == 0)
		rc = store_bind(part->in->s, st, err, "i", part->r.id);
	while (store_next(&rc, part->in->s, st, err)) {
		int64_t document;

		document = sqlite3_column_int64(st, 1);
		rc = store_bind(&sd->file, sd->add_context, err, "iiib", (int64_t)sqlite3_column_int64(st, 0),
		                document, merge_group_of(j->m, document), sqlite3_column_blob(st, 2),
		                (size_t)sqlite3_column_bytes(st, 2));
		if (rc == 0)
			rc = store_run(&sd->file, sd->add_context, err);
		if (rc == 0)
			rc = merge_step(j->m, 1, err);
	}
	sqlite3_finalize(st);
	return rc;
}

static int add_firings(joining *j, const merge_part *part, error *err)
{
	side *sd = &j->ix->sd;
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, part->in->s,
	                       "SELECT context_id, sampled, counted, codes FROM firing WHERE source_id = ?1",
	                       err);

	if (rc == 0)
		rc = store_bind(part->in->s, st, err, "i", part->r.id);
	while (store_next(&rc, part->in->s, st, err)) {
		if (sqlite3_column_int(st, 1))
			(void)index_offer_random(j->ix, sqlite3_column_int64(st, 0));
		rc = store_bind(&sd->file, sd->add_firing, err, "ibb", (int64_t)sqlite3_column_int64(st, 0),
		                sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2),
		                sqlite3_column_blob(st, 3), (size_t)sqlite3_column_bytes(st, 3));
		if (rc == 0)
			rc = store_run(&sd->file, sd->add_firing, err);
		if (rc == 0)
			rc = merge_step(j->m, 1, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* *found: the store has them. */
static int add_vectors(joining *j, bool *found, const merge_part *part, error *err)
{
	side *sd = &j->ix->sd;
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, part->in->s, "SELECT feature, decoder FROM vector WHERE source_id = ?1",
	                       err);

	if (rc == 0)
		rc = store_bind(part->in->s, st, err, "i", part->r.id);
	while (store_next(&rc, part->in->s, st, err)) {
		*found = true;
		rc = store_bind(&sd->file, sd->add_vector, err, "ib", (int64_t)sqlite3_column_int64(st, 0),
		                sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
		if (rc == 0)
			rc = store_run(&sd->file, sd->add_vector, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* ---- Features ---- */

static int corrupt(const merge_part *part, const char *what, uint32_t number, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s' is damaged: %s of feature %u of source '%s'", part->in->path,
	                 what, number, part->r.name);
}

/* Counts and sums of a row; its histogram is column 8. */
static int read_feature(feature *f, sqlite3_stmt *st, const merge_part *part, uint32_t i, error *err)
{
	const char *json = (const char *)sqlite3_column_text(st, 8);
	cJSON *counted = NULL;
	uint64_t total = 0;
	int rc, step = 0;

	*f = (feature){ .fires = (uint64_t)sqlite3_column_int64(st, 1),
		        .contexts = (uint64_t)sqlite3_column_int64(st, 2),
		        .max = (float)sqlite3_column_double(st, 3) };
	for (int p = 0; p < 4; p++)
		f->sum[p] = sqlite3_column_double(st, 4 + p);
	rc = json ? json_parse(&counted, json, strlen(json), 1 << 20, 8, "a histogram", NULL) : ERR_FORMAT;
	if (rc == 0)
		rc = histogram_read(&f->values, &step, counted);
	cJSON_Delete(counted);
	for (uint32_t b = 0; rc == 0 && b < f->values.n; b++)
		total += f->values.counts[b];
	if (rc == ERR_NOMEM)
		return error_nomem(err, "a histogram");
	if (rc < 0 || step != 1 || total != f->fires || sqlite3_column_int64(st, 0) != i)
		rc = corrupt(part, "counts", i, err);
	return rc;
}

static int add_features(joining *j, const merge_part *part, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = true;
	int rc = store_prepare(
	        &st, part->in->s,
	        "SELECT f.feature, f.n_fires, f.n_contexts, f.max_act, f.sum1, f.sum2, f.sum3, f.sum4,"
	        " d.histogram, f.decoder_norm FROM feature f JOIN feature_detail d ON d.source_id ="
	        " f.source_id AND d.feature = f.feature WHERE f.source_id = ?1 ORDER BY f.feature",
	        err);

	if (rc == 0)
		rc = store_bind(part->in->s, st, err, "i", part->r.id);
	for (uint32_t i = 0; rc == 0; i++) {
		feature f = { 0 };

		rc = store_step(part->in->s, st, &row, err);
		if (rc == 0 && row != (i < part->r.n_features))
			rc = corrupt(part, "rows", i, err);
		if (rc < 0 || !row)
			break;
		rc = read_feature(&f, st, part, i, err);
		if (rc == 0)
			rc = features_join(&j->ix->fs, i, &f, err);
		histogram_clear(&f.values);
		j->ix->norms[i] = sqlite3_column_double(st, 9);
		if (rc == 0)
			rc = merge_step(j->m, 1, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* ---- Examples ---- */

/* Tokens first .. first + length - 1 of a blob. */
static int read_window(joining *j, const unsigned char *blob, uint32_t first, uint32_t length, error *err)
{
	if (mem_grow(&j->tokens, &j->tokens_cap, length, sizeof(*j->tokens)) < 0)
		return error_nomem(err, "an example");
	for (uint32_t i = 0; i < length; i++) {
		j->tokens[i] = load_u32le(blob + (size_t)(first + i) * 4);
		if (j->ix->words.n > 0 && j->tokens[i] >= j->ix->words.n)
			return ERR_FORMAT;
	}
	return 0;
}

/* Columns: feature, bin, context, position, bits, codes, tokens. */
static int offer_example(joining *j, const merge_part *part, sqlite3_stmt *st, error *err)
{
	const features *fs = &j->ix->fs;
	int64_t f = sqlite3_column_int64(st, 0), position = sqlite3_column_int64(st, 3);
	uint32_t bits = (uint32_t)sqlite3_column_int64(st, 4), first, length;
	uint32_t n_tokens = (uint32_t)sqlite3_column_bytes(st, 6) / 4;
	offer o = { .context = sqlite3_column_int64(st, 2),
		    .position = (uint32_t)position,
		    .codes = sqlite3_column_blob(st, 5),
		    .size = (size_t)sqlite3_column_bytes(st, 5) };
	int rc;

	memcpy(&o.value, &bits, sizeof(o.value));
	if (f < 0 || f >= part->r.n_features || position < 0 || position >= n_tokens || !(o.value > 0) ||
	    !isfinite(o.value))
		return corrupt(part, "an example", (uint32_t)f, err);
	store_window_bounds(&first, &length, fs->before, fs->after, n_tokens, o.position);
	if (o.size > store_window_size(length, fs->wide))
		return corrupt(part, "the codes of an example", (uint32_t)f, err);
	rc = read_window(j, sqlite3_column_blob(st, 6), first, length, err);
	if (rc < 0)
		return rc == ERR_FORMAT ? corrupt(part, "the text of an example", (uint32_t)f, err) : rc;
	o.token = j->tokens[o.position - first];
	if (sqlite3_column_int64(st, 1) < 0)
		return features_offer_top(&j->ix->fs, (uint32_t)f, &o, j->tokens, length, err);
	return features_offer_sample(&j->ix->fs, (uint32_t)f, &o, err);
}

static int add_examples(joining *j, const merge_part *part, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(
	        &st, part->in->s,
	        "SELECT e.feature, e.bin, e.context_id, e.position, e.activation_bits, e.codes, c.tokens"
	        " FROM example e CROSS JOIN context c ON c.id = e.context_id WHERE e.source_id = ?1",
	        err);

	if (rc == 0)
		rc = store_bind(part->in->s, st, err, "i", part->r.id);
	while (store_next(&rc, part->in->s, st, err)) {
		rc = offer_example(j, part, st, err);
		if (rc == 0)
			rc = merge_step(j->m, 1, err);
	}
	sqlite3_finalize(st);
	return rc;
}

/* ---- The index ---- */

static int give_words(store_index *ix, const merge_part *part, error *err)
{
	vocab v = { 0 };
	int rc = record_vocab(&v, part->in->s, &part->r, err);

	if (rc < 0 || v.n == 0)
		return rc;
	vocab_clear(&ix->words);
	ix->words = v;
	return 0;
}

static int fill(joining *j, error *err)
{
	bool vectors = false;
	int rc = give_words(j->ix, &j->src->parts[0], err);

	j->ix->norms = calloc(j->ix->o.n_features, sizeof(*j->ix->norms));
	if (rc == 0 && !j->ix->norms)
		rc = error_nomem(err, "an index");
	for (size_t i = 0; i < j->src->n && rc == 0; i++) {
		const merge_part *part = &j->src->parts[i];

		j->ix->n_tokens += part->r.n_tokens;
		j->ix->n_contexts += part->r.n_contexts;
		j->ix->n_firings += part->r.n_firings;
		rc = add_contexts(j, part, err);
		if (rc == 0)
			rc = add_firings(j, part, err);
		if (rc == 0 && !vectors)
			rc = add_vectors(j, &vectors, part, err);
		if (rc == 0)
			rc = add_features(j, part, err);
		if (rc == 0)
			rc = add_examples(j, part, err);
	}
	return rc;
}

static int begin(joining *j, error *err)
{
	const store_record *first = &j->src->parts[0].r;
	store_index_opts o = record_index_opts(first);
	int rc;

	o.source = j->src->name;
	o.argv = j->m->o->argv;
	for (size_t i = 1; i < j->src->n; i++)
		o.n_left_out += j->src->parts[i].r.n_left_out;
	rc = merge_describe(&o.config, &j->dumps, &o.dump_sha256, j->m, j->src, err);
	return rc == 0 ? store_index_begin(&j->ix, j->m->out, &o, err) : rc;
}

/* What comes of the decoder alone is taken over, from the first store that has it. */
static int take_over(joining *j, const merge_part *part, error *err)
{
	sqlite3_stmt *read = NULL, *set = NULL;
	int rc = store_prepare(&read, part->in->s,
	                       "SELECT feature, top_logits, bottom_logits, neighbours, logit_histogram"
	                       " FROM feature_detail WHERE source_id = ?1",
	                       err);

	if (rc == 0)
		rc = store_prepare(
		        &set, j->m->out,
		        "UPDATE feature_detail SET top_logits = ifnull(top_logits, ?3), bottom_logits ="
		        " ifnull(bottom_logits, ?4), neighbours = ifnull(neighbours, ?5), logit_histogram ="
		        " ifnull(logit_histogram, ?6) WHERE source_id = ?1 AND feature = ?2",
		        err);
	if (rc == 0)
		rc = store_bind(part->in->s, read, err, "i", part->r.id);
	while (store_next(&rc, part->in->s, read, err)) {
		rc = store_bind(j->m->out, set, err, "iitttt", j->result.source_id,
		                (int64_t)sqlite3_column_int64(read, 0),
		                (const char *)sqlite3_column_text(read, 1),
		                (const char *)sqlite3_column_text(read, 2),
		                (const char *)sqlite3_column_text(read, 3),
		                (const char *)sqlite3_column_text(read, 4));
		if (rc == 0)
			rc = store_run(j->m->out, set, err);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(set);
	return rc;
}

static int finish_row(joining *j, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, j->m->out, "UPDATE source SET dumps = ?2 WHERE id = ?1", err);

	if (rc == 0)
		rc = store_bind(j->m->out, st, err, "it", j->result.source_id, j->dumps);
	if (rc == 0)
		rc = store_run(j->m->out, st, err);
	sqlite3_finalize(st);
	for (size_t i = 0; i < j->src->n && rc == 0; i++)
		rc = take_over(j, &j->src->parts[i], err);
	for (size_t i = 0; i < j->src->n && rc == 0; i++)
		rc = id_map_add(&j->src->parts[i].in->maps[MAP_SOURCE], j->src->parts[i].r.id,
		                j->result.source_id, err);
	return rc;
}

int merge_join_source(merge *m, merge_source *src, error *err)
{
	joining j = { .m = m, .src = src };
	int rc = begin(&j, err);

	if (rc < 0)
		return rc;
	rc = fill(&j, err);
	if (rc == 0)
		rc = store_index_finish(j.ix, &j.result, NULL, err);
	else
		store_index_abort(j.ix);
	free(j.tokens);
	if (rc == 0)
		rc = finish_row(&j, err);
	return rc;
}
