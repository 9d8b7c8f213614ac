/* What a context is known by: its tokens, what counts of them, and the id that is a hash of them. */
#ifndef GLOSS_STORE_CONTENT_H
#define GLOSS_STORE_CONTENT_H

#include "store/store.h"

/* The blobs `context.tokens` and `firing.counted`; both are emptied first. */
int content_blobs(text *tokens, text *counted, const store_context *c) MUST_USE;
uint64_t content_seed(const char *tokenizer_sha256); /* NULL: none */
int64_t content_id(uint64_t seed, uint64_t document, const void *tokens, size_t size);

#endif
