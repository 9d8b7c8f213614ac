/* What the readers of tokenizer files (tokenizer.c, sentencepiece.c) share. */
#ifndef GLOSS_SAE_TOKENIZER_INTERNAL_H
#define GLOSS_SAE_TOKENIZER_INTERNAL_H

#include "sae/sae.h"

struct sae_tokenizer {
	uint32_t size;
	uint32_t *start; /* (size + 1) into bytes */
	char *bytes;
	bool *special; /* (size) */
	char sha256[SHA256_HEX];
};

/* Room for `size` tokens of n_bytes in all. */
int tokenizer_room(sae_tokenizer *t, uint32_t size, size_t n_bytes, error *err) MUST_USE;

/* The character that SentencePiece writes for a blank. */
#define SENTENCEPIECE_BLANK "\xe2\x96\x81"
/* Text with a blank for each `mark` to *out, which moves behind it; never more bytes than the text has. */
void sentencepiece_text(char **out, const char *piece, size_t n, const char *mark);
/* Whether the text is "<0xHH>", one byte by its number; then *byte is it. */
bool sentencepiece_byte(char *byte, const char *piece, size_t n);
/* Fill *t, but for its hash, from a tokenizer.model: SentencePiece's ModelProto. ERR_FORMAT names the piece and the byte. */
int sentencepiece_read(sae_tokenizer *t, const char *data, size_t length, const char *path,
                       error *err) MUST_USE;

#endif
