/* What the readers of codes share: the open codes, a list of token ids, and codes on their way to the caller. */
#ifndef GLOSS_SAE_CODES_READ_H
#define GLOSS_SAE_CODES_READ_H

#include "sae/file_internal.h"

typedef struct token_table { /* ids of contexts */
	const sae_file *file;
	const sae_tensor *tensor; /* (contexts, ctx_len) integers; NULL: there is none */
	uint64_t n_contexts;
	uint32_t ctx_len;
} token_table;
/* ERR_FORMAT: not such a tensor. */
int token_table_init(token_table *t, const sae_file *f, const sae_tensor *tensor, error *err) MUST_USE;
int token_table_read(const token_table *t, uint64_t first, uint64_t n, uint32_t *out, error *err) MUST_USE;

typedef struct codes_csr codes_csr;     /* one file */
typedef struct codes_cache codes_cache; /* delphi's folder */

struct sae_codes_reader {
	sae_codes_info info;
	token_table tokens;
	sae_file *tokens_file; /* given apart; else NULL */
	const sae_file *kept_file;
	const sae_tensor *kept; /* (rows) integers; NULL: all count */
	codes_csr *csr;
	codes_cache *cache;
};

/* Fill r->info and r->kept, and what the reader needs; on failure the caller closes. */
int codes_csr_open(sae_codes_reader *r, const char *path, error *err) MUST_USE;
int codes_csr_read(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out, error *err) MUST_USE;
void codes_csr_close(codes_csr *c);
/* r->tokens too, where the cache has them. */
int codes_cache_open(sae_codes_reader *r, const char *dir, error *err) MUST_USE;
int codes_cache_read(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out, error *err) MUST_USE;
void codes_cache_close(codes_cache *c);

/* info.weights_sha256 and dump_sha256 from a file's metadata, where it has them. */
void codes_read_metadata(sae_codes_info *info, const sae_file *f);
/* r->kept from a tensor `kept`, if there is one; it must have info.n_rows values. */
int codes_find_kept(sae_codes_reader *r, const sae_file *f, error *err) MUST_USE;

#endif
