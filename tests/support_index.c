/* A small made-up corpus with its codes, indexed into a store. */
#include "tests/support_index.h"

#include <math.h>

const char *const corpus_words[VOCAB] = { " the",      " cat", " dog",     " ran", "\n",   "s",
	                                  " \xe2\x82", "\xac", "\xf0\x9f", "\x98", "\x80", "",
	                                  "\xff",      "a",    "b",        "c",    "d",    "e",
	                                  "f",         "g",    "h",        " is",  " it",  " (" };
const char *const corpus_tokenizer = "tokenizer";
char corpus_folder[FILE_PATH_MAX], corpus_path[FILE_PATH_MAX];
error corpus_err;

static float make_value(uint64_t h)
{
	if (h % 3 == 0)
		return 0.5f * (float)(1 + h / 8 % 6); /* few levels: ties */
	return ldexpf((float)(1 + hash64_unit(h)), (int)(h / 64 % 9) - 3);
}

void corpus_context(document_context *c, uint32_t i)
{
	uint32_t source = i % 5 == 4 ? i - 3 : i, n = 0;
	uint64_t seed = hash64_mix(11, source), twist = i % 10 == 4 ? 99 : 0;

	*c = (document_context){ .document = 1000 + source / 3, .group = 50 + source / 6 };
	c->n_tokens = 9 + (uint32_t)(seed % 30);
	for (uint32_t t = 0; t < c->n_tokens; t++) {
		uint64_t h = hash64_mix(seed, t);

		c->tokens[t] = (uint32_t)(h % VOCAB);
		if (source % 4 == 0 && t < 14)
			c->tokens[t] = t % VOCAB; /* text that many contexts begin with */
		c->counted[t] = t > 0;
		c->start[t] = n;
		for (uint32_t f = 0; f < FEATURES && t > 0; f++) {
			uint64_t g = hash64_mix(h, f);
			bool fires = f == 0   ? true
			             : f == 1 ? false
			             : f == 2 ? c->tokens[t] == 2
			             : f == 3 ? false
			                      : g % 100 < 14;

			if (f == 3)
				fires = source == 8 && t == 5; /* once */
			if (!fires || n == MAX_FIRINGS)
				continue;
			c->feature[n] = f;
			c->value[n++] = f == 2 ? 1.5f : make_value(g ^ twist);
		}
	}
	c->start[c->n_tokens] = n;
}

store_context corpus_view(const document_context *c)
{
	return (store_context){ c->tokens,  c->n_tokens, c->document, c->group,
		                c->counted, c->start,    c->feature,  c->value };
}

store_index_opts corpus_options(const char *name)
{
	store_index_opts o = store_index_opts_default();

	o.source = name;
	o.architecture = "topk";
	o.d_in = DIMS;
	o.n_features = FEATURES;
	o.k = 8;
	o.weights_sha256 = "weights";
	o.dump_sha256 = "dump";
	o.n_top = 5;
	o.n_samples = 20;
	o.n_random = 7;
	o.spill_memory = 1 << 12;
	o.before = 6;
	o.after = 3;
	return o;
}

int corpus_give_rest(store_index *ix)
{
	static float decoder[FEATURES * DIMS], values[FEATURES * 2];
	static uint32_t ids[FEATURES * 2];
	uint32_t lengths[VOCAB];
	int rc;

	for (uint32_t i = 0; i < VOCAB; i++)
		lengths[i] = (uint32_t)strlen(corpus_words[i]);
	for (uint32_t i = 0; i < FEATURES * DIMS; i++)
		decoder[i] = (float)i / 100;
	for (uint32_t i = 0; i < FEATURES * 2; i++) {
		ids[i] = i / 2;
		values[i] = (float)i / 4;
	}
	rc = store_index_vocab(ix, corpus_tokenizer, VOCAB, corpus_words, lengths, &corpus_err);
	if (rc == 0)
		rc = store_index_decoder(ix, decoder, &corpus_err);
	return rc == 0 ? store_index_ranked(ix, 'n', 2, ids, values, &corpus_err) : rc;
}

static int index_by(store *s, const store_index_opts *o, uint32_t n, uint64_t key, bool (*take)(uint32_t i))
{
	store_index *ix = NULL;
	int rc = store_index_begin(&ix, s, o, &corpus_err);

	if (rc < 0)
		return rc;
	rc = corpus_give_rest(ix);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint32_t c_i = key ? (uint32_t)hash64_permute(i, n, key) : i;
		document_context c;
		store_context v;

		if (take && !take(c_i))
			continue;
		corpus_context(&c, c_i);
		v = corpus_view(&c);
		rc = store_index_context(ix, &v, &corpus_err);
	}
	if (rc == 0)
		return store_index_finish(ix, NULL, NULL, &corpus_err);
	store_index_abort(ix);
	return rc;
}

int corpus_index(store *s, const store_index_opts *o, uint32_t n, uint64_t key)
{
	return index_by(s, o, n, key, NULL);
}

int corpus_index_some(store *s, const store_index_opts *o, uint32_t n, bool (*take)(uint32_t i))
{
	return index_by(s, o, n, 0, take);
}

void corpus_setup(void)
{
	support_mkdir(corpus_folder);
	OK(file_join(corpus_path, corpus_folder, "a.db", &corpus_err));
}

store *corpus_open(void)
{
	store *s = NULL;

	OK(store_open(&s, corpus_path, STORE_CREATE, &corpus_err));
	return s;
}

void corpus_digest(char hex[SHA256_HEX], store *s)
{
	static const char *const queries[] = {
		"SELECT name, d_in, n_tokens, n_contexts, n_firings, corpus FROM source",
		"SELECT * FROM tokenizer",
		"SELECT * FROM vocab",
		"SELECT key, group_key, part FROM document ORDER BY key",
		"SELECT c.id, d.key, c.tokenizer_id, c.n_tokens, c.tokens, c.text, c.offsets FROM context c "
		"JOIN document d ON d.id = c.document_id ORDER BY c.id",
		"SELECT source_id, feature, n_fires, n_contexts, density, max_act, top_token, "
		"top_token_share, token_entropy,"
		" decoder_norm, behaviour FROM feature",
		"SELECT * FROM feature_detail",
		"SELECT * FROM example ORDER BY 1, 2, 3, 4",
		"SELECT * FROM firing",
		"SELECT * FROM source_context",
		"SELECT * FROM vector",
		"SELECT rowid FROM context_fts WHERE context_fts MATCH 'cat'"
	};
	sha256 h;

	OK(sha256_init(&h, &corpus_err));
	for (size_t q = 0; q < ARRAY_LEN(queries); q++) {
		sqlite3_stmt *st = NULL;

		OK(store_prepare(&st, s, queries[q], &corpus_err));
		while (sqlite3_step(st) == SQLITE_ROW) {
			for (int i = 0; i < sqlite3_column_count(st); i++) {
				double real = sqlite3_column_double(st, i);

				if (sqlite3_column_type(st, i) == SQLITE_FLOAT)
					sha256_add(&h, &real, sizeof(real));
				else
					sha256_add(&h, sqlite3_column_blob(st, i),
					           (size_t)sqlite3_column_bytes(st, i));
				sha256_add(&h, "|", 1);
			}
		}
		sqlite3_finalize(st);
	}
	sha256_end(&h, hex);
}

int64_t corpus_number(store *s, const char *sql)
{
	int64_t n;

	OK(store_int(&n, s, sql, -1, &corpus_err));
	return n;
}

void corpus_check(store *s)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(&st, s, "PRAGMA integrity_check", &corpus_err));
	OK(store_step(s, st, &row, &corpus_err));
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	st = NULL;
	OK(store_prepare(&st, s, "PRAGMA foreign_key_check", &corpus_err));
	OK(store_step(s, st, &row, &corpus_err));
	ck_assert(!row);
	sqlite3_finalize(st);
}
