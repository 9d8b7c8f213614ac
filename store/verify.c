/* What is compared, and the report. */
#include "store/verify.h"

#include <inttypes.h>
#include <math.h>

/* ---- The report ---- */

static void put_place(cJSON *object, const char *name, int64_t value, bool *failed)
{
	if (value < 0)
		json_put_text(object, name, NULL, failed);
	else if (strcmp(name, "context") == 0)
		json_put_id(object, name, value, failed);
	else
		json_put_number(object, name, (double)value, failed);
}

void verify_differs(store_verify *v, const char *what, verify_place at, const char *stored,
                    const char *recomputed)
{
	cJSON *one;

	if (v->n_differences++ >= v->most)
		return;
	one = json_put_object(v->first, NULL, &v->failed);
	json_put_text(one, "what", what, &v->failed);
	put_place(one, "feature", at.feature, &v->failed);
	put_place(one, "context", at.context, &v->failed);
	put_place(one, "position", at.position, &v->failed);
	json_put_text(one, "stored", stored, &v->failed);
	json_put_text(one, "recomputed", recomputed, &v->failed);
}

void verify_describe_byte(char *out, size_t room, const unsigned char *p, size_t n, size_t at)
{
	if (at < n)
		snprintf(out, room, "byte %zu of %zu: %02x", at, n, p[at]);
	else
		snprintf(out, room, "%zu bytes", n);
}

void verify_bytes(store_verify *v, const char *what, verify_place at, const void *stored, size_t n_stored,
                  const void *recomputed, size_t n_recomputed)
{
	const unsigned char *a = stored, *b = recomputed;
	char left[64], right[64];
	size_t i = 0;

	while (i < n_stored && i < n_recomputed && a[i] == b[i])
		i++;
	if (i == n_stored && i == n_recomputed)
		return;
	verify_describe_byte(left, sizeof(left), a, n_stored, i);
	verify_describe_byte(right, sizeof(right), b, n_recomputed, i);
	verify_differs(v, what, at, left, right);
}

void verify_count(store_verify *v, const char *what, uint64_t n)
{
	json_put_number(v->compared, what, (double)n, &v->failed);
}

void verify_left_out(store_verify *v, const char *what)
{
	json_put_text(v->left_out, NULL, what, &v->failed);
}

/* ---- A verification ---- */

int store_verify_begin(store_verify **out, store *s, const store_verify_opts *o, error *err)
{
	const verify_place nowhere = { -1, -1, -1 };
	store_verify *v = calloc(1, sizeof(*v));
	char stored[32], found[32];
	int rc;

	if (!v)
		return error_nomem(err, "a comparison");
	v->s = s;
	v->most = o->most;
	v->stop = o->stop;
	v->n_in_dump = o->n;
	v->compared = cJSON_CreateObject();
	v->left_out = cJSON_CreateArray();
	v->first = cJSON_CreateArray();
	text_init(&v->tokens, SIZE_MAX);
	text_init(&v->counted, SIZE_MAX);
	text_init(&v->codes, SIZE_MAX);
	text_init(&v->words_text, SIZE_MAX);
	text_init(&v->example_codes, SIZE_MAX);
	store_watch(s, &o->stop);
	rc = store_record_get(&v->r, s, o->source, &v->mem, err);
	if (rc == 0)
		rc = record_vocab(&v->words, s, &v->r, err);
	if (rc == 0 && !o->partial && v->r.n_contexts != o->n) {
		snprintf(stored, sizeof(stored), "%" PRIu64, v->r.n_contexts);
		snprintf(found, sizeof(found), "%" PRIu64, o->n);
		verify_differs(v, "source.n_contexts", nowhere, stored, found);
	}
	if (rc == 0)
		rc = verify_choose(v, o, err);
	if (rc < 0) {
		store_verify_free(v);
		return store_stopped(rc, &o->stop, err);
	}
	*out = v;
	return 0;
}

void store_verify_free(store_verify *v)
{
	if (!v)
		return;
	verify_contexts_clear(v);
	verify_again_remove(v);
	vocab_clear(&v->words);
	text_free(&v->tokens);
	text_free(&v->counted);
	text_free(&v->codes);
	text_free(&v->words_text);
	free(v->offsets);
	free(v->position);
	free(v->value);
	free(v->window);
	cJSON_Delete(v->compared);
	cJSON_Delete(v->left_out);
	cJSON_Delete(v->first);
	arena_clear(&v->mem);
	free(v);
}

const uint8_t *store_verify_batches(const store_verify *v, uint64_t *n)
{
	*n = v->n_batches;
	return v->batches;
}

int store_verify_vocab(store_verify *v, uint32_t n, const char *const *bytes, const uint32_t *length,
                       error *err)
{
	sqlite3_stmt *st = NULL;
	text repaired;
	bool row = true;
	uint32_t i = 0;
	int rc = store_prepare(&st, v->s,
	                       "SELECT bytes, text FROM vocab WHERE tokenizer_id = ?1 ORDER BY token", err);

	text_init(&repaired, SIZE_MAX);
	if (rc == 0)
		rc = store_bind(v->s, st, err, "i", v->r.tokenizer);
	for (;; i++) {
		verify_place at = { -1, -1, i };

		if (rc == 0)
			rc = store_step(v->s, st, &row, err);
		if (rc < 0 || !row || i == n)
			break;
		text_clear(&repaired);
		if (text_add_utf8(&repaired, bytes[i], length[i]) < 0)
			rc = error_nomem(err, "the vocabulary");
		verify_bytes(v, "vocab.bytes", at, sqlite3_column_blob(st, 0),
		             (size_t)sqlite3_column_bytes(st, 0), bytes[i], length[i]);
		verify_bytes(v, "vocab.text", at, sqlite3_column_text(st, 1),
		             (size_t)sqlite3_column_bytes(st, 1), repaired.data, repaired.len);
	}
	if (rc == 0 && (row || i != n))
		verify_differs(v, "vocab", (verify_place){ -1, -1, i }, row ? "a token" : "none",
		               row ? "none" : "a token");
	verify_count(v, "tokens of the vocabulary", i);
	sqlite3_finalize(st);
	text_free(&repaired);
	return rc;
}

int store_verify_report(cJSON **out, store_verify *v, error *err)
{
	cJSON *page = cJSON_CreateObject();
	bool failed = v->failed;
	int rc = verify_contexts_end(v, err);

	rc = store_stopped(rc, &v->stop, err);
	failed |= v->failed;
	json_put_text(page, "source", v->r.name, &failed);
	json_put(page, "compared", v->compared, &failed);
	json_put(page, "not_compared", v->left_out, &failed);
	json_put_number(page, "differences", (double)v->n_differences, &failed);
	json_put(page, "first", v->first, &failed);
	v->compared = v->left_out = v->first = NULL;
	return json_finish(out, page, rc, failed, err);
}
