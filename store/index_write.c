/* The end of an index run: one transaction that takes everything over into the store. */
#include "store/index_write.h"
#include "store/query_internal.h"

#include <math.h>

extern const char sql_index_begin[], sql_index_replace[], sql_index_unlabel[], sql_index_orphans[];

/* Every statement of a script; ?1 is `id` in each. */
static int run_script(store *s, const char *sql, int64_t id, error *err)
{
	int rc = 0;

	while (*sql && rc == 0) {
		sqlite3_stmt *st = NULL;
		int code = sqlite3_prepare_v2(s->db, sql, -1, &st, &sql);

		if (code != SQLITE_OK)
			return store_error(s, code, "prepare a statement", err);
		if (!st)
			break; /* the white space and comments behind the last */
		if (sqlite3_bind_parameter_count(st) > 0)
			rc = store_bind(s, st, err, "i", id);
		if (rc == 0)
			rc = store_run(s, st, err);
		sqlite3_finalize(st);
	}
	return rc;
}

/* A statement that is run once, all its parameters one number. */
static int run_once(store *s, const char *sql, int64_t a, int64_t b, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, sql, err);

	if (rc == 0)
		rc = store_bind(s, st, err, sqlite3_bind_parameter_count(st) > 1 ? "ii" : "i", a, b);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

/* ---- The source ---- */

/* The source of this name, 0 when there is none; *same: it is of the same weights, so labels hold on. */
static int find_old(int64_t *id, bool *same, const store_index *ix, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(
	        &st, ix->s, "SELECT id, weights_sha256 = ?2 AND n_features = ?3 FROM source WHERE name = ?1",
	        err);

	*id = 0;
	*same = false;
	if (rc == 0)
		rc = store_bind(ix->s, st, err, "tti", ix->o.source, ix->o.weights_sha256,
		                (int64_t)ix->o.n_features);
	if (rc == 0)
		rc = store_step(ix->s, st, &row, err);
	if (rc == 0 && row) {
		*id = sqlite3_column_int64(st, 0);
		*same = sqlite3_column_int(st, 1);
	}
	sqlite3_finalize(st);
	return rc;
}

int index_check_name(const store_index *ix, error *err)
{
	int64_t id;
	bool same;
	int rc = find_old(&id, &same, ix, err);

	if (rc == 0 && id && !ix->o.force)
		return error_set(err, ERR_EXISTS,
		                 "'%s' has a source '%s' already: give another --source, or --force",
		                 ix->s->path, ix->o.source);
	return rc;
}

static int write_source(index_writer *w, int64_t old, error *err)
{
	const store_index *ix = w->ix;
	const store_index_opts *o = &ix->o;
	sqlite3_stmt *st = NULL;
	char now[32];
	int rc = store_prepare(
	        &st, w->s,
	        "INSERT OR REPLACE INTO source (id, name, tokenizer_id, architecture, d_in, "
	        "n_features, k, model, hook_point,"
	        " layer, weights_sha256, dump_sha256, n_tokens, n_left_out, norm_limit, "
	        "n_contexts, n_firings, corpus,"
	        " config, argv, version, created, before, after, n_top, n_samples, n_random, "
	        "sample_rule, kind)"
	        " VALUES (nullif(?1, 0), ?2, nullif(?3, 0), ?4, ?5, ?6, nullif(?7, 0), ?8, ?9,"
	        " nullif(?10, -1), ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,"
	        " ?23, ?24, ?25, ?26, ?27, 'smallest hash of context, position and feature', ?28)",
	        err);

	clock_iso8601(now, clock_unix());
	if (rc == 0)
		rc = store_bind(w->s, st, err, "ititiiittittiidiiitttt", old, o->source, w->tokenizer,
		                o->architecture, (int64_t)o->d_in, (int64_t)o->n_features, (int64_t)o->k,
		                o->model, o->hook_point, (int64_t)o->layer, o->weights_sha256, o->dump_sha256,
		                (int64_t)ix->n_tokens, (int64_t)o->n_left_out,
		                isfinite(o->norm_limit) ? o->norm_limit : NAN, (int64_t)ix->n_contexts,
		                (int64_t)ix->n_firings, (int64_t)o->corpus, o->config, o->argv, GLOSS_VERSION,
		                now);
	if (rc == 0)
		rc = store_bind(w->s, st, err, "----------------------iiiiit", (int64_t)o->before,
		                (int64_t)o->after, (int64_t)o->n_top, (int64_t)o->n_samples,
		                (int64_t)o->n_random, o->kind);
	if (rc == 0)
		rc = store_run(w->s, st, err);
	sqlite3_finalize(st);
	if (rc == 0)
		w->source = old ? old : sqlite3_last_insert_rowid(w->s->db);
	return rc;
}

/* ---- Tokenizer ---- */

static int write_vocab(index_writer *w, const vocab *v, error *err)
{
	sqlite3_stmt *st = NULL;
	text repaired;
	int rc = store_prepare(&st, w->s, "INSERT INTO vocab VALUES (?1, ?2, ?3, ?4)", err);

	text_init(&repaired, SIZE_MAX);
	for (uint32_t i = 0; i < v->n && rc == 0; i++) {
		const char *bytes = v->bytes + v->offset[i];
		size_t n = (size_t)(v->offset[i + 1] - v->offset[i]);

		text_clear(&repaired);
		if (text_add_utf8(&repaired, bytes, n) < 0)
			rc = error_nomem(err, "the vocabulary");
		if (rc == 0)
			rc = store_bind(w->s, st, err, "iibt", w->tokenizer, (int64_t)i, bytes, n,
			                repaired.data);
		if (rc == 0)
			rc = store_run(w->s, st, err);
	}
	text_free(&repaired);
	sqlite3_finalize(st);
	return rc;
}

static int write_tokenizer(index_writer *w, error *err)
{
	const vocab *v = &w->ix->words;
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	if (v->n == 0)
		return 0;
	rc = store_prepare(&st, w->s,
	                   "INSERT INTO tokenizer (sha256, n_vocab) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
	                   " RETURNING id",
	                   err);
	if (rc == 0)
		rc = store_bind(w->s, st, err, "ti", v->sha256, (int64_t)v->n);
	if (rc == 0)
		rc = store_step(w->s, st, &row, err);
	if (rc == 0 && row) {
		w->tokenizer = sqlite3_column_int64(st, 0);
		rc = store_run(w->s, st, err);
		if (rc == 0)
			rc = write_vocab(w, v, err);
		sqlite3_finalize(st);
		return rc;
	}
	sqlite3_finalize(st);
	st = NULL;
	if (rc == 0)
		rc = store_prepare(&st, w->s, "SELECT id FROM tokenizer WHERE sha256 = ?1", err);
	if (rc == 0)
		rc = store_bind(w->s, st, err, "t", v->sha256);
	if (rc == 0)
		rc = store_step(w->s, st, &row, err);
	if (rc == 0)
		w->tokenizer = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

/* ---- Contexts ---- */

static int want(index_writer *w, sqlite3_stmt *st, int64_t id, error *err)
{
	int rc = store_bind(w->s, st, err, "i", id);

	return rc == 0 ? store_run(w->s, st, err) : rc;
}

/* Fill temp.sampled and temp.wanted. */
static int write_wanted(index_writer *w, error *err)
{
	const store_index *ix = w->ix;
	sqlite3_stmt *wanted = NULL, *sampled = NULL;
	int rc = store_prepare(&wanted, w->s, "INSERT OR IGNORE INTO temp.wanted VALUES (?1)", err);

	if (rc == 0)
		rc = store_prepare(&sampled, w->s, "INSERT OR IGNORE INTO temp.sampled VALUES (?1)", err);
	for (uint32_t i = 0; i < ix->n_random && rc == 0; i++) {
		rc = want(w, sampled, ix->random[i].id, err);
		if (rc == 0)
			rc = want(w, wanted, ix->random[i].id, err);
	}
	for (uint32_t i = 0; i < ix->fs.n && rc == 0 && !ix->o.corpus; i++) {
		const feature *f = &ix->fs.at[i];

		for (uint32_t t = 0; t < f->n_top && rc == 0; t++)
			rc = want(w, wanted, f->top[t].at.context, err);
		for (uint32_t t = 0; t < f->n_samples && rc == 0; t++)
			rc = want(w, wanted, f->samples[t].context, err);
	}
	sqlite3_finalize(wanted);
	sqlite3_finalize(sampled);
	if (rc == 0 && ix->o.corpus)
		rc = store_exec(w->s, "INSERT OR IGNORE INTO temp.wanted SELECT id FROM part.context", err);
	return rc;
}

/* New documents. A group that shares a document with the store takes that one's key, so that no text is split over parts. */
static int write_documents(index_writer *w, error *err)
{
	sqlite3_stmt *read = NULL, *add = NULL;
	int rc = store_exec(w->s,
	                    "INSERT INTO temp.joined SELECT p.group_key, min(m.group_key)"
	                    " FROM (SELECT DISTINCT document, group_key FROM part.context) p"
	                    " JOIN main.document m ON m.key = p.document GROUP BY p.group_key",
	                    err);

	if (rc == 0)
		rc = store_prepare(
		        &read, w->s,
		        "SELECT p.document, coalesce(j.store_key, p.group_key) FROM (SELECT document, "
		        "min(group_key)"
		        " AS group_key FROM part.context WHERE id IN temp.wanted GROUP BY document) p"
		        " LEFT JOIN temp.joined j ON j.group_key = p.group_key ORDER BY p.document",
		        err);
	if (rc == 0)
		rc = store_prepare(
		        &add, w->s,
		        "INSERT OR IGNORE INTO document (key, group_key, part) VALUES (?1, ?2, ?3)", err);
	while (store_next(&rc, w->s, read, err)) {
		int64_t group = sqlite3_column_int64(read, 1);

		rc = store_bind(w->s, add, err, "iit", (int64_t)sqlite3_column_int64(read, 0), group,
		                store_part_name(store_part_of((uint64_t)group)));
		if (rc == 0)
			rc = store_run(w->s, add, err);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(add);
	return rc;
}

/* One context: id, document, tokens are the columns of `read`. */
static int write_context(index_writer *w, sqlite3_stmt *read, sqlite3_stmt *add, error *err)
{
	const unsigned char *blob = sqlite3_column_blob(read, 2);
	uint32_t n = (uint32_t)sqlite3_column_bytes(read, 2) / 4;
	int rc;

	if (mem_grow(&w->tokens, &w->tokens_cap, n, sizeof(*w->tokens)) < 0 ||
	    mem_grow(&w->offsets, &w->offsets_cap, (size_t)n + 1, sizeof(*w->offsets)) < 0 ||
	    mem_grow(&w->offset_bytes, &w->offset_bytes_cap, ((size_t)n + 1) * 4, 1) < 0)
		return error_nomem(err, "a context");
	for (uint32_t i = 0; i < n; i++)
		w->tokens[i] = blob[4 * i] | (uint32_t)blob[4 * i + 1] << 8 |
		               (uint32_t)blob[4 * i + 2] << 16 | (uint32_t)blob[4 * i + 3] << 24;
	rc = vocab_text(&w->ix->words, w->tokens, n, &w->words, w->offsets, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i <= n; i++) {
		for (int b = 0; b < 4; b++)
			w->offset_bytes[4 * i + b] = (unsigned char)(w->offsets[i] >> 8 * b);
	}
	rc = store_bind(w->s, add, err, "iiiibtb", (int64_t)sqlite3_column_int64(read, 0),
	                (int64_t)sqlite3_column_int64(read, 1), w->tokenizer, (int64_t)n, blob, (size_t)n * 4,
	                w->words.data, w->offset_bytes, ((size_t)n + 1) * 4);
	return rc == 0 ? store_run(w->s, add, err) : rc;
}

static int write_contexts(index_writer *w, error *err)
{
	sqlite3_stmt *read = NULL, *add = NULL;
	int rc = store_prepare(
	        &read, w->s,
	        "SELECT id, document, tokens, min(group_key) FROM part.context WHERE id IN temp.wanted"
	        " GROUP BY id ORDER BY id",
	        err);

	if (rc == 0)
		rc = store_prepare(
		        &add, w->s,
		        "INSERT OR IGNORE INTO context (id, document_id, tokenizer_id, n_tokens, tokens, "
		        "text, offsets)"
		        " SELECT ?1, d.id, nullif(?3, 0), ?4, ?5, ?6, ?7 FROM document d WHERE d.key = ?2",
		        err);
	while (store_next(&rc, w->s, read, err)) {
		rc = write_context(w, read, add, err);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(add);
	return rc;
}

/* ---- All of it ---- */

static int write_all(index_writer *w, progress *pr, error *err)
{
	store_index *ix = w->ix;
	int64_t old;
	bool same;
	int rc = store_exec(w->s, sql_index_begin, err);

	for (uint32_t i = 0; i < ix->fs.n;
	     i++) /* first, so that no context comes in for a sample that does not */
		features_settle(&ix->fs, &ix->fs.at[i]);
	if (rc == 0)
		rc = index_check_name(ix, err); /* another run may have been faster */
	if (rc == 0)
		rc = find_old(&old, &same, ix, err);
	if (rc == 0 && old)
		rc = run_script(w->s, sql_index_replace, old, err);
	if (rc == 0 && old && !same)
		rc = run_script(w->s, sql_index_unlabel, old, err);
	if (rc == 0)
		rc = write_tokenizer(w, err);
	if (rc == 0)
		rc = write_source(w, old, err);
	if (rc == 0)
		rc = write_wanted(w, err);
	if (rc == 0)
		rc = write_documents(w, err);
	if (rc == 0)
		rc = write_contexts(w, err);
	if (rc == 0)
		rc = run_once(w->s, "INSERT INTO source_context SELECT ?1, id FROM temp.wanted", w->source, 0,
		              err);
	if (rc == 0) /* a context that came twice with other codes: the smaller blob, whatever the order */
		rc = run_once(w->s,
		              "INSERT OR IGNORE INTO firing SELECT ?1, context_id, context_id IN "
		              "temp.sampled, counted, codes"
		              " FROM part.firing WHERE ?2 OR context_id IN temp.sampled ORDER BY context_id, "
		              "codes, counted",
		              w->source, ix->o.corpus, err);
	if (rc == 0)
		rc = cofiring_find(&w->together, w->s, w->source, ix->o.n_features, COFIRING_MEMORY, err);
	if (rc == 0)
		rc = firing_hash_find(&w->behaviour, w->s, w->source, ix->o.n_features, err);
	if (rc == 0)
		rc = index_write_features(w, pr, err);
	if (rc == 0)
		rc = run_once(w->s, "INSERT INTO vector SELECT ?1, feature, decoder FROM part.vector",
		              w->source, 0, err);
	if (rc == 0 && old)
		rc = run_script(w->s, sql_index_orphans, 0, err);
	return rc;
}

static int attach(store *s, const char *path, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, "ATTACH ?1 AS part", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "t", path);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int index_write(store_index_result *out, store_index *ix, progress *pr, error *err)
{
	index_writer w = { .ix = ix, .s = ix->s };
	int rc = attach(w.s, ix->sd.file.path, err);

	if (rc < 0)
		return rc;
	text_init(&w.words, 1u << 30);
	/* What is replaced is taken out before what refers to it comes back, contexts have no index by which to look, and
	 * looking up what every example refers to takes as long as writing it. */
	rc = store_exec(w.s, "PRAGMA foreign_keys=OFF", err);
	if (rc == 0)
		rc = store_begin(w.s, err);
	if (rc == 0)
		rc = store_end(w.s, write_all(&w, pr, err), err);
	sqlite3_exec(w.s->db,
	             "PRAGMA foreign_keys=ON; DETACH part; DELETE FROM temp.wanted; DELETE FROM temp.joined;"
	             " DELETE FROM temp.sampled;",
	             NULL, NULL, NULL);
	if (rc == 0 && out)
		*out = (store_index_result){ .source_id = w.source,
			                     .n_tokens = ix->n_tokens,
			                     .n_contexts = ix->n_contexts,
			                     .n_firings = ix->n_firings,
			                     .n_examples = w.n_examples,
			                     .n_dead = w.n_dead,
			                     .n_dense = w.n_dense };
	text_free(&w.words);
	cofiring_clear(&w.together);
	free(w.behaviour);
	free(w.tokens);
	free(w.offsets);
	free(w.offset_bytes);
	return rc;
}
