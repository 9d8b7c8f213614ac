/* Token ids to bytes, and the text of a run of tokens. */
#ifndef GLOSS_STORE_VOCAB_H
#define GLOSS_STORE_VOCAB_H

#include "base/base.h"

typedef struct vocab {
	uint32_t n;
	char *bytes;      /* all of them, joined */
	uint64_t *offset; /* (n + 1) */
	char sha256[SHA256_HEX];
} vocab; /* n == 0: none; tokens are then written as their numbers */

int vocab_set(vocab *v, const char *digest, uint32_t n, const char *const *bytes, const uint32_t *length,
              error *err) MUST_USE;
void vocab_clear(vocab *v);

/* Add the exact bytes of tokens to `out`. */
int vocab_add_bytes(const vocab *v, const uint32_t *tokens, uint32_t n, text *out) MUST_USE;
/* The tokens' bytes joined and then repaired, into `out` (emptied first); token i is out[offsets[i] .. offsets[i + 1]),
 * and a character split over tokens belongs to the one that it begins in. */
int vocab_text(const vocab *v, const uint32_t *tokens, uint32_t n, text *out, uint32_t *offsets /* (n + 1) */,
               error *err) MUST_USE;

#endif
