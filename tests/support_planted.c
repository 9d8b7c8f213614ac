/* See support_planted.h. */
#include "tests/support_planted.h"

#include "store/store_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void planted_word(char out[PLANTED_WORD], uint32_t feature)
{
	snprintf(out, PLANTED_WORD, " w%u", feature);
}

static int add_words(store_index *ix, uint32_t n, error *err)
{
	char(*word)[PLANTED_WORD] = calloc(n, sizeof(*word));
	const char **text_of = calloc(n, sizeof(*text_of));
	uint32_t *length = calloc(n, sizeof(*length));
	int rc = word && text_of && length ? 0 : error_nomem(err, "words");

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		planted_word(word[i], i);
		text_of[i] = word[i];
		length[i] = (uint32_t)strlen(word[i]);
	}
	if (rc == 0)
		rc = store_index_vocab(ix, "vocab", n, text_of, length, err);
	free(word);
	free(text_of);
	free(length);
	return rc;
}

typedef struct context_of {
	uint32_t *token, *start, *feature;
	float *value;
	uint8_t *counted;
} context_of;

static int add_context(store_index *ix, const planted *p, const context_of *c, uint32_t number, error *err)
{
	store_context x = { c->token, p->tokens, number, number, c->counted, c->start, c->feature, c->value };
	uint32_t words = p->features + p->features / 2, n = 0, at;

	for (uint32_t i = 0; i < p->tokens; i++) {
		uint32_t w = (uint32_t)hash64_below(hash64_mix(number + 1, i), words);

		c->token[i] = w;
		c->counted[i] = 1;
		c->start[i] = n;
		if (w < p->features) {
			c->feature[n] = w;
			c->value[n++] = 1 + (float)(i % 7);
		}
		if (w < p->twins) {
			c->feature[n] = p->features + w;
			c->value[n++] = 1 + (float)(i % 7);
		}
		at = (uint32_t)hash64_below(hash64_mix(number + 1, p->tokens + i), p->features);
		if (at < p->random) {
			c->feature[n] = p->features + p->twins + at;
			c->value[n++] = 1 + (float)(i % 7);
		}
	}
	c->start[p->tokens] = n;
	return store_index_context(ix, &x, err);
}

static int add_contexts(store_index *ix, const planted *p, error *err)
{
	uint32_t words = p->features + p->features / 2,
	         n = (uint32_t)((uint64_t)words * p->times / p->tokens) + 1;
	context_of c = { .token = calloc(p->tokens, sizeof(*c.token)),
		         .start = calloc(p->tokens + 1, sizeof(*c.start)),
		         .feature = calloc(3 * (size_t)p->tokens, sizeof(*c.feature)),
		         .value = calloc(3 * (size_t)p->tokens, sizeof(*c.value)),
		         .counted = calloc(p->tokens, 1) };
	int rc = c.token && c.start && c.feature && c.value && c.counted ? 0 : error_nomem(err, "contexts");

	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = add_context(ix, p, &c, i, err);
	free(c.token);
	free(c.start);
	free(c.feature);
	free(c.value);
	free(c.counted);
	return rc;
}

static int add_decoder(store_index *ix, uint32_t n, error *err)
{
	float *rows = calloc(n, 4 * sizeof(*rows));
	int rc = rows ? 0 : error_nomem(err, "decoder rows");

	for (uint32_t f = 0; f < n && rc == 0; f++) {
		rows[4 * (size_t)f] = (float)f + 1;
		rows[4 * (size_t)f + 3] = 1;
	}
	if (rc == 0)
		rc = store_index_decoder(ix, rows, err);
	free(rows);
	return rc;
}

static int index_all(store *s, const planted *p, error *err)
{
	store_index_opts o = store_index_opts_default();
	store_index *ix = NULL;
	int rc;

	o.source = "planted";
	o.architecture = "topk";
	o.d_in = 4;
	o.n_features = p->features + p->twins + p->random;
	o.k = 3;
	o.weights_sha256 = o.dump_sha256 = "0";
	o.config = "{}";
	o.argv = "[]";
	o.layer = p->decoder ? 1 : -1;
	o.hook_point = p->decoder ? "blocks.1.hook_resid_post" : NULL;
	o.before = 11;
	o.after = 4;
	rc = store_index_begin(&ix, s, &o, err);
	if (rc == 0)
		rc = add_words(ix, p->features + p->features / 2, err);
	if (rc == 0)
		rc = add_contexts(ix, p, err);
	if (rc == 0 && p->decoder)
		rc = add_decoder(ix, o.n_features, err);
	return rc == 0 ? store_index_finish(ix, NULL, NULL, err) : rc;
}

int planted_open(store **out, const char *path, const planted *p, error *err)
{
	int rc = store_open(out, path, STORE_CREATE, err);

	if (rc == 0)
		rc = index_all(*out, p, err);
	if (rc < 0) {
		store_close(*out);
		*out = NULL;
	}
	return rc;
}

int planted_label(store *s, const planted *p, error *err)
{
	uint32_t n = p->features + p->twins + p->random;
	store_label *labels = calloc(n, sizeof(*labels));
	char(*word)[PLANTED_WORD] = calloc(n, sizeof(*word));
	int rc = labels && word ? 0 : error_nomem(err, "labels");
	size_t bad;

	for (uint32_t f = 0; f < n && rc == 0; f++) {
		planted_word(word[f], f % p->features);
		labels[f] = (store_label){ f, word[f] + 1 };
	}
	if (rc == 0)
		rc = store_labels_add(&bad, s, NULL, labels, n, err);
	free(labels);
	free(word);
	return rc;
}

static bool first_row(sqlite3_stmt **st, store *s, const char *query)
{
	error err = { 0 };

	return store_prepare(st, s, query, &err) == 0 && sqlite3_step(*st) == SQLITE_ROW &&
	       sqlite3_column_type(*st, 0) != SQLITE_NULL;
}

double planted_number(store *s, const char *query)
{
	sqlite3_stmt *st = NULL;
	double x = first_row(&st, s, query) ? sqlite3_column_double(st, 0) : (double)NAN;

	sqlite3_finalize(st);
	return x;
}

const char *planted_text(store *s, const char *query)
{
	static char out[512];
	sqlite3_stmt *st = NULL;

	snprintf(out, sizeof(out), "%s",
	         first_row(&st, s, query) ? (const char *)sqlite3_column_text(st, 0) : "");
	sqlite3_finalize(st);
	return out;
}
