/* Token ids to bytes, and the text of a run of tokens. */
#include "store/vocab.h"

enum { MAX_CONTEXT_TEXT = 1 << 28 };

int vocab_set(vocab *v, const char *digest, uint32_t n, const char *const *bytes, const uint32_t *length,
              error *err)
{
	uint64_t total = 0;

	vocab_clear(v);
	for (uint32_t i = 0; i < n; i++)
		total += length[i];
	v->offset = calloc((size_t)n + 1, sizeof(*v->offset));
	v->bytes = malloc(total + 1);
	if (!v->offset || !v->bytes) {
		vocab_clear(v);
		return error_nomem(err, "the vocabulary");
	}
	for (uint32_t i = 0; i < n; i++) {
		if (length[i])
			memcpy(v->bytes + v->offset[i], bytes[i], length[i]);
		v->offset[i + 1] = v->offset[i] + length[i];
	}
	v->n = n;
	snprintf(v->sha256, sizeof(v->sha256), "%s", digest);
	return 0;
}

void vocab_clear(vocab *v)
{
	free(v->bytes);
	free(v->offset);
	*v = (vocab){ 0 };
}

int vocab_add_bytes(const vocab *v, const uint32_t *tokens, uint32_t n, text *out)
{
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		if (v->n > 0)
			rc = text_add(out, v->bytes + v->offset[tokens[i]],
			              (size_t)(v->offset[tokens[i] + 1] - v->offset[tokens[i]]));
		else
			rc = text_addf(out, " %u", tokens[i]);
	}
	return rc;
}

/* Bytes at p that one U+FFFD stands for; p is ill-formed or NUL. */
static int ill_formed_length(size_t *length, const char *p, size_t n)
{
	text t;
	int rc = 0;

	*length = 1;
	text_init(&t, 64);
	for (size_t k = 2; k <= 3 && k <= n && rc == 0; k++) {
		text_clear(&t);
		rc = text_add_utf8(&t, p, k);
		if (rc == 0 && t.len == 3)
			*length = k;
	}
	text_free(&t);
	return rc;
}

/* Repair `raw`; starts (n + 1) are the tokens' places in it and become places in `out`. */
static int repair(text *out, const char *raw, size_t size, uint32_t *starts, uint32_t n)
{
	uint32_t token = 0, cp;
	int rc = 0;

	for (size_t p = 0; p < size && rc == 0;) {
		size_t length = utf8_next(raw + p, size - p, &cp);

		while (token <= n && starts[token] <= p)
			starts[token++] = (uint32_t)out->len;
		if (length == 0 || cp == 0)
			rc = ill_formed_length(&length, raw + p, size - p);
		if (rc == 0)
			rc = text_add_utf8(out, raw + p, length);
		p += length;
	}
	while (token <= n)
		starts[token++] = (uint32_t)out->len;
	return rc;
}

int vocab_text(const vocab *v, const uint32_t *tokens, uint32_t n, text *out, uint32_t *offsets, error *err)
{
	text raw;
	int rc = 0;

	text_init(&raw, MAX_CONTEXT_TEXT);
	text_clear(out);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		offsets[i] = (uint32_t)raw.len;
		rc = vocab_add_bytes(v, tokens + i, 1, &raw);
	}
	offsets[n] = (uint32_t)raw.len;
	if (rc == 0)
		rc = text_add(out, "", 0); /* so that even nothing is a string */
	if (rc == 0)
		rc = repair(out, raw.data ? raw.data : "", raw.len, offsets, n);
	text_free(&raw);
	if (rc < 0)
		return error_set(err, rc, "cannot write out a context: %s",
		                 rc == ERR_NOMEM ? "out of memory" : "its text is too long");
	return 0;
}
