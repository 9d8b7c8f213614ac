/* Contexts of a store recomputed one by one: their text, stored codes and examples. */
#include "store/verify.h"

#include <assert.h>

/* Text and tokens, which do not depend on codes. */
static int check_row(store_verify *v, int64_t id, const store_context *c, error *err)
{
	const verify_place at = { -1, id, -1 };
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, v->s,
	                       "SELECT c.tokens, c.text, c.offsets, c.n_tokens, d.key FROM context c JOIN"
	                       " document d ON d.id = c.document_id WHERE c.id = ?1",
	                       err);

	if (rc == 0)
		rc = store_bind(v->s, st, err, "i", id);
	if (rc == 0)
		rc = store_step(v->s, st, &row, err);
	if (rc == 0 &&
	    mem_grow(&v->offsets, &v->offsets_cap, (size_t)c->n_tokens + 1, sizeof(*v->offsets)) < 0)
		rc = error_nomem(err, "a context");
	if (rc == 0)
		rc = vocab_text(&v->words, c->tokens, c->n_tokens, &v->words_text, v->offsets, err);
	if (rc == 0 && !row)
		verify_differs(v, "context", at, "none", "a context");
	if (rc == 0 && row) {
		verify_bytes(v, "context.tokens", at, sqlite3_column_blob(st, 0),
		             (size_t)sqlite3_column_bytes(st, 0), v->tokens.data, v->tokens.len);
		verify_bytes(v, "context.text", at, sqlite3_column_text(st, 1),
		             (size_t)sqlite3_column_bytes(st, 1), v->words_text.data, v->words_text.len);
		text_clear(&v->codes);
		for (size_t i = 0; i <= c->n_tokens && rc == 0; i++) {
			unsigned char word[4] = { (unsigned char)v->offsets[i],
				                  (unsigned char)(v->offsets[i] >> 8),
				                  (unsigned char)(v->offsets[i] >> 16),
				                  (unsigned char)(v->offsets[i] >> 24) };

			rc = text_add(&v->codes, word, 4) < 0 ? error_nomem(err, "a context") : 0;
		}
		verify_bytes(v, "context.offsets", at, sqlite3_column_blob(st, 2),
		             (size_t)sqlite3_column_bytes(st, 2), v->codes.data, v->codes.len);
		if (sqlite3_column_int64(st, 3) != c->n_tokens)
			verify_differs(v, "context.n_tokens", at, "another number", "that of the dump");
		if (sqlite3_column_int64(st, 4) != (int64_t)c->document)
			verify_differs(v, "document.key", at, "another key", "that of the dump");
	}
	sqlite3_finalize(st);
	return rc;
}

/* As ORDER BY of SQLite. */
static int compare_blobs(const text *a, const text *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int order = n > 0 ? memcmp(a->data, b->data, n) : 0;

	return order ? order : a->len < b->len ? -1 : a->len > b->len;
}

static int keep_smaller(store_verify *v, verify_context *ck, error *err)
{
	int order = ck->fires ? compare_blobs(&ck->codes, &v->codes) : 1;

	if (order == 0)
		order = compare_blobs(&ck->counted, &v->counted);
	if (order <= 0)
		return 0;
	ck->fires = true;
	text_clear(&ck->codes);
	text_clear(&ck->counted);
	if (text_add(&ck->codes, v->codes.data, v->codes.len) < 0 ||
	    text_add(&ck->counted, v->counted.data, v->counted.len) < 0)
		return error_nomem(err, "the codes of a context");
	return 0;
}

/* The feature's value on a token; 0: silent. */
static float value_at(const store_context *c, uint32_t token, uint32_t feature)
{
	uint32_t low = c->start[token], high = c->start[token + 1];

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (c->feature[middle] < feature)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->start[token + 1] && c->feature[low] == feature ? c->value[low] : 0;
}

/* The example's window, encoded into v->codes. */
static int encode_window(store_verify *v, const store_context *c, const verify_example *e, error *err)
{
	bool wide = store_window_is_wide(v->r.before, v->r.after);
	uint32_t first, length, n = 0, peak = 0;
	size_t size;

	store_window_bounds(&first, &length, v->r.before, v->r.after, c->n_tokens, e->position);
	if (mem_grow(&v->position, &v->position_cap, length, sizeof(*v->position)) < 0 ||
	    mem_grow(&v->value, &v->value_cap, length, sizeof(*v->value)) < 0)
		return error_nomem(err, "an example");
	for (uint32_t i = first; i < first + length; i++) {
		float value = value_at(c, i, e->feature);

		if (value > 0) {
			peak = i == e->position ? n : peak;
			v->position[n] = i;
			v->value[n++] = value;
		}
	}
	size = store_window_size(n, wide);
	if (mem_grow(&v->window, &v->window_cap, size + 1, 1) < 0)
		return error_nomem(err, "an example");
	store_window_encode(v->window, v->position, v->value, n, first, peak, wide);
	text_clear(&v->codes);
	return text_add(&v->codes, v->window, size) < 0 ? error_nomem(err, "an example") : 0;
}

/* Whether no token before it is as strong, and none behind it stronger. */
static bool is_strongest(const store_context *c, uint32_t feature, uint32_t position, float value)
{
	for (uint32_t i = 0; i < c->n_tokens; i++) {
		float other = value_at(c, i, feature);

		if (other > value || (i < position && other == value))
			return false;
	}
	return true;
}

/* Compare the window in v->codes, of the example's value, with the stored one. Of two such the greater bytes are kept. */
static void compare_window(store_verify *v, verify_example *e)
{
	const text stored = { .data = v->example_codes.data + e->codes, .len = e->size };
	int order = compare_blobs(&v->codes, &stored);
	uint32_t i = 0;

	e->same |= order == 0;
	e->greater |= order > 0;
	if (order == 0)
		return;
	while (i < v->codes.len && i < e->size && v->codes.data[i] == stored.data[i])
		i++;
	e->byte_at = i;
	e->byte = (uint8_t)v->codes.data[i]; /* the NUL behind them where there is no such byte */
	e->n_bytes = (uint32_t)v->codes.len;
}

/* An occurrence of the example's context: the greatest value of them all counts. */
static int offer_example(store_verify *v, const store_context *c, verify_example *e, error *err)
{
	float value, best;
	uint32_t bits;
	int rc;

	if (e->position >= c->n_tokens)
		return 0;
	value = value_at(c, e->position, e->feature);
	memcpy(&bits, &value, sizeof(bits));
	if (bits == 0)
		return 0;
	if (e->top && !is_strongest(c, e->feature, e->position, value)) {
		e->not_strongest = true;
		return 0;
	}
	memcpy(&best, &e->best_bits, sizeof(best));
	e->best_bits = value > best ? bits : e->best_bits;
	if (bits != e->bits)
		return 0;
	rc = encode_window(v, c, e, err);
	if (rc == 0)
		compare_window(v, e);
	return rc;
}

/* The examples of context number i begin here. */
static size_t first_example(const store_verify *v, uint32_t i)
{
	size_t low = 0, high = v->n_examples;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (v->examples[middle].context < i)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int store_verify_context(void *payload, const store_context *c, error *err)
{
	store_verify *v = payload;
	verify_context *ck;
	int64_t id;
	int rc = content_blobs(&v->tokens, &v->counted, c);

	if (rc < 0)
		return error_nomem(err, "a context");
	id = content_id(content_seed(v->r.tokenizer_sha256), c->document, v->tokens.data, v->tokens.len);
	ck = verify_find(v, id);
	if (!ck)
		return 0;
	if (ck->seen++ == 0)
		rc = check_row(v, id, c, err);
	text_clear(&v->codes);
	if (rc == 0)
		rc = store_codes_encode(&v->codes, v->r.n_features, c->n_tokens, c->start, c->feature,
		                        c->value, err);
	if (rc == 0)
		rc = keep_smaller(v, ck, err);
	for (size_t i = first_example(v, (uint32_t)(ck - v->contexts));
	     i < v->n_examples && v->contexts + v->examples[i].context == ck && rc == 0; i++)
		rc = offer_example(v, c, &v->examples[i], err);
	return store_stopped(rc, &v->stop, err);
}

/* ---- The end ---- */

static int check_firings(store_verify *v, uint64_t *n, const verify_context *ck, sqlite3_stmt *st, error *err)
{
	const verify_place at = { -1, ck->id, -1 };
	bool row = false;
	int rc = store_bind(v->s, st, err, "ii", v->r.id, ck->id);

	if (rc == 0)
		rc = store_step(v->s, st, &row, err);
	if (rc < 0)
		return rc;
	if (row) {
		verify_bytes(v, "firing.codes", at, sqlite3_column_blob(st, 1),
		             (size_t)sqlite3_column_bytes(st, 1), ck->codes.data, ck->codes.len);
		verify_bytes(v, "firing.counted", at, sqlite3_column_blob(st, 0),
		             (size_t)sqlite3_column_bytes(st, 0), ck->counted.data, ck->counted.len);
		(*n)++;
	} else if (v->r.corpus) {
		verify_differs(v, "firing", at, "none", "the codes of a context");
	}
	sqlite3_reset(st);
	return 0;
}

static void describe_bits(char *out, size_t room, uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	snprintf(out, room, "%.9g", (double)value);
}

static void check_example(store_verify *v, const verify_example *e)
{
	const verify_place at = { e->feature, v->contexts[e->context].id, e->position };
	char stored[64], recomputed[64];

	describe_bits(stored, sizeof(stored), e->bits);
	describe_bits(recomputed, sizeof(recomputed), e->best_bits);
	if (e->best_bits == 0) {
		verify_differs(v, "example", at, stored,
		               e->not_strongest ? "not the strongest of its context" : "silent");
	} else if (e->best_bits != e->bits) {
		verify_differs(v, "example.activation", at, stored, recomputed);
	} else if (!e->same || e->greater) {
		verify_describe_byte(stored, sizeof(stored),
		                     (const unsigned char *)v->example_codes.data + e->codes, e->size,
		                     e->byte_at);
		if (e->byte_at < e->n_bytes)
			snprintf(recomputed, sizeof(recomputed), "byte %u of %u: %02x", e->byte_at,
			         e->n_bytes, e->byte);
		else
			snprintf(recomputed, sizeof(recomputed), "%u bytes", e->n_bytes);
		verify_differs(v, "example.codes", at, stored, recomputed);
	}
}

int verify_contexts_end(store_verify *v, error *err)
{
	sqlite3_stmt *st = NULL;
	uint64_t n = 0;
	int rc;

	if (v->n_contexts == 0)
		return 0;
	rc = store_prepare(&st, v->s,
	                   "SELECT counted, codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	for (size_t i = 0; i < v->n_contexts && rc == 0; i++) {
		assert(v->contexts[i].seen == v->contexts[i].expected);
		rc = check_firings(v, &n, &v->contexts[i], st, err);
	}
	sqlite3_finalize(st);
	for (size_t i = 0; i < v->n_examples && rc == 0; i++)
		check_example(v, &v->examples[i]);
	verify_count(v, "contexts", v->n_contexts);
	verify_count(v, "contexts with all their codes", n);
	verify_count(v, "examples", v->n_examples);
	return rc;
}
