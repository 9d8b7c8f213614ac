/* The row of a source, and its vocabulary. */
#include "store/record.h"

#include <math.h>

enum { MAX_DUMPS = 1 << 20 };

static const char *const columns =
        "s.name, s.kind, s.architecture, s.model, s.hook_point, s.weights_sha256, s.dump_sha256, t.sha256,"
        " s.config, s.argv, s.version, s.created, s.sample_rule,"
        " s.id, t.id, s.layer, s.d_in, s.n_features, s.k, t.n_vocab, s.norm_limit, s.n_tokens, s.n_left_out,"
        " s.n_contexts, s.n_firings, s.corpus, s.before, s.after, s.n_top, s.n_samples, s.n_random, s.dumps";
enum { TEXTS = 13 };

/* The list `dumps` as JSON, or of the one dump where there is none. */
static int read_dumps(store_record *r, const char *json, arena *mem, store *s, error *err)
{
	cJSON *list = NULL, *item;
	const char **out;
	size_t n = 0;
	int rc;

	if (!json) {
		out = arena_alloc(mem, 1, sizeof(*out));
		if (!out)
			return error_nomem(err, "a source");
		out[0] = r->dump_sha256;
		r->dumps = out;
		r->n_dumps = 1;
		return 0;
	}
	rc = json_parse(&list, json, strlen(json), 128u * MAX_DUMPS, 4, "dumps", err);
	if (rc < 0)
		return error_set(err, ERR_FORMAT, "'%s': source '%s' has no list of dumps", s->path, r->name);
	out = arena_alloc(mem, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*out));
	if (!out)
		rc = error_nomem(err, "a source");
	cJSON_ArrayForEach(item, list)
	{
		if (rc == 0 && !cJSON_IsString(item))
			rc = error_set(err, ERR_FORMAT, "'%s': source '%s' has no list of dumps", s->path,
			               r->name);
		if (rc == 0 && !(out[n++] = arena_strdup(mem, item->valuestring)))
			rc = error_nomem(err, "a source");
	}
	cJSON_Delete(list);
	r->dumps = out;
	r->n_dumps = n;
	return rc;
}

static bool narrow(uint32_t *out, sqlite3_stmt *row, int column)
{
	int64_t value = sqlite3_column_int64(row, column);

	*out = (uint32_t)value;
	return value >= 0 && value <= UINT32_MAX;
}

static int read_row(store_record *r, sqlite3_stmt *row, store *s, arena *mem, error *err)
{
	const char **texts[TEXTS] = {
		&r->name,           &r->kind,        &r->architecture,     &r->model,  &r->hook_point,
		&r->weights_sha256, &r->dump_sha256, &r->tokenizer_sha256, &r->config, &r->argv,
		&r->version,        &r->created,     &r->sample_rule
	};
	uint32_t *narrows[] = { &r->d_in, &r->n_features, &r->k, &r->n_vocab };
	uint32_t *counts[] = { &r->before, &r->after, &r->n_top, &r->n_samples, &r->n_random };
	const char *json = NULL;
	bool good = true;
	int rc = 0;

	for (int i = 0; i < TEXTS && rc == 0; i++)
		rc = store_column_text(texts[i], row, i, mem, err);
	if (rc == 0)
		rc = store_column_text(&json, row, 31, mem, err);
	if (rc < 0)
		return rc;
	r->id = sqlite3_column_int64(row, 13);
	r->tokenizer = sqlite3_column_int64(row, 14);
	r->layer = sqlite3_column_type(row, 15) == SQLITE_NULL ? -1 : sqlite3_column_int(row, 15);
	for (int i = 0; i < 4; i++)
		good = narrow(narrows[i], row, 16 + i) && good;
	r->norm_limit = sqlite3_column_type(row, 20) == SQLITE_NULL ? (double)INFINITY
	                                                            : sqlite3_column_double(row, 20);
	r->n_tokens = (uint64_t)sqlite3_column_int64(row, 21);
	r->n_left_out = (uint64_t)sqlite3_column_int64(row, 22);
	r->n_contexts = (uint64_t)sqlite3_column_int64(row, 23);
	r->n_firings = (uint64_t)sqlite3_column_int64(row, 24);
	r->corpus = sqlite3_column_int(row, 25);
	for (int i = 0; i < 5; i++)
		good = narrow(counts[i], row, 26 + i) && good;
	if (!good || (uint64_t)r->before + r->after > 65534)
		return error_set(err, ERR_FORMAT, "'%s': the row of source '%s' is corrupt", s->path,
		                 r->name);
	return read_dumps(r, json, mem, s, err);
}

int store_record_get(store_record *out, store *s, const char *source, arena *mem, error *err)
{
	sqlite3_stmt *st = NULL;
	store_record r = { 0 };
	store_source src;
	bool found = false;
	text sql;
	int rc = store_source_get(&src, s, source, err);

	if (rc < 0)
		return rc;
	text_init(&sql, 4096);
	rc = text_addf(
	        &sql,
	        "SELECT %s FROM source s LEFT JOIN tokenizer t ON t.id = s.tokenizer_id WHERE s.id = ?1",
	        columns);
	rc = rc < 0 ? error_nomem(err, "a source") : store_prepare(&st, s, sql.data, err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", src.id);
	if (rc == 0)
		rc = store_step(s, st, &found, err);
	if (rc == 0 && !found)
		rc = error_set(err, ERR_NOTFOUND, "'%s': a source has gone", s->path);
	if (rc == 0)
		rc = read_row(&r, st, s, mem, err);
	sqlite3_finalize(st);
	text_free(&sql);
	if (rc == 0)
		*out = r;
	return rc;
}

store_index_opts record_index_opts(const store_record *r)
{
	store_index_opts o = store_index_opts_default();

	o.source = r->name;
	o.kind = r->kind;
	o.architecture = r->architecture;
	o.model = r->model;
	o.hook_point = r->hook_point;
	o.layer = r->layer;
	o.d_in = r->d_in;
	o.n_features = r->n_features;
	o.k = r->k;
	o.weights_sha256 = r->weights_sha256;
	o.dump_sha256 = r->dump_sha256;
	o.norm_limit = r->norm_limit;
	o.n_left_out = r->n_left_out;
	o.config = r->config;
	o.argv = r->argv;
	o.n_top = r->n_top;
	o.n_samples = r->n_samples;
	o.n_random = r->n_random;
	o.before = r->before;
	o.after = r->after;
	o.corpus = r->corpus;
	return o;
}

static int read_words(const char **bytes, uint32_t *length, store *s, sqlite3_stmt *st, const store_record *r,
                      arena *mem, error *err)
{
	bool row = true;
	uint32_t n = 0;
	int rc = 0;

	for (;; n++) {
		rc = store_step(s, st, &row, err);
		if (rc < 0 || !row)
			break;
		if (n >= r->n_vocab || sqlite3_column_int64(st, 0) != n)
			break;
		length[n] = (uint32_t)sqlite3_column_bytes(st, 1);
		bytes[n] = arena_memdupz(mem, length[n] ? sqlite3_column_blob(st, 1) : "", length[n]);
		if (!bytes[n])
			return error_nomem(err, "the vocabulary");
	}
	if (rc == 0 && (row || n != r->n_vocab))
		return error_set(err, ERR_FORMAT, "'%s': the vocabulary of source '%s' has not its %u tokens",
		                 s->path, r->name, r->n_vocab);
	return rc;
}

int record_vocab(vocab *out, store *s, const store_record *r, error *err)
{
	sqlite3_stmt *st = NULL;
	arena mem = ARENA_INIT;
	const char **bytes = NULL;
	uint32_t *length = NULL;
	int64_t n = 0;
	int rc;

	if (r->tokenizer == 0)
		return 0;
	rc = store_prepare(&st, s, "SELECT token, bytes FROM vocab WHERE tokenizer_id = ?1 ORDER BY token",
	                   err);
	if (rc == 0) { /* the claim must not decide how much memory is asked for */
		rc = store_int(&n, s, "SELECT count(*) FROM vocab", 0, err);
		n = n < r->n_vocab ? n : r->n_vocab;
		bytes = calloc((size_t)n + 1, sizeof(*bytes));
		length = calloc((size_t)n + 1, sizeof(*length));
		if (rc == 0 && (!bytes || !length))
			rc = error_nomem(err, "the vocabulary");
	}
	if (rc == 0)
		rc = store_bind(s, st, err, "i", r->tokenizer);
	if (rc == 0 && n == r->n_vocab)
		rc = read_words(bytes, length, s, st, r, &mem, err);
	else if (rc == 0)
		rc = error_set(err, ERR_FORMAT, "'%s': the vocabulary of source '%s' has not its %u tokens",
		               s->path, r->name, r->n_vocab);
	if (rc == 0)
		rc = vocab_set(out, r->tokenizer_sha256, r->n_vocab, bytes, length, err);
	sqlite3_finalize(st);
	free(bytes);
	free(length);
	arena_clear(&mem);
	return rc;
}
