/* Blobs and ids of contexts. */
#include "store/content.h"

int content_blobs(text *tokens, text *counted, const store_context *c)
{
	unsigned char byte = 0, word[4];
	int rc = 0;

	text_clear(tokens);
	text_clear(counted);
	for (uint32_t i = 0; i < c->n_tokens && rc == 0; i++) {
		for (int b = 0; b < 4; b++)
			word[b] = (unsigned char)(c->tokens[i] >> 8 * b);
		rc = text_add(tokens, word, 4);
		byte |= (unsigned char)((!c->counted || c->counted[i]) << i % 8);
		if (rc == 0 && (i % 8 == 7 || i + 1 == c->n_tokens)) {
			rc = text_add(counted, &byte, 1);
			byte = 0;
		}
	}
	return rc;
}

uint64_t content_seed(const char *tokenizer_sha256)
{
	return tokenizer_sha256 ? hash64(tokenizer_sha256, strlen(tokenizer_sha256), 0) : 0;
}

int64_t content_id(uint64_t seed, uint64_t document, const void *tokens, size_t size)
{
	return (int64_t)(hash64(tokens, size, hash64_mix(seed, document)) >> 1);
}

int store_context_id(int64_t *id, const char *tokenizer_sha256, uint64_t document, const uint32_t *tokens,
                     uint32_t n, error *err)
{
	store_context c = { .tokens = tokens, .n_tokens = n };
	text blob, counted;
	int rc;

	text_init(&blob, SIZE_MAX);
	text_init(&counted, SIZE_MAX);
	rc = content_blobs(&blob, &counted, &c);
	if (rc == 0)
		*id = content_id(content_seed(tokenizer_sha256), document, blob.data, blob.len);
	text_free(&blob);
	text_free(&counted);
	return rc < 0 ? error_nomem(err, "a context") : 0;
}
