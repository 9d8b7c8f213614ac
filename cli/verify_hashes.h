/* gloss verify: what a source was made of against what is given. */
#ifndef GLOSS_CLI_VERIFY_HASHES_H
#define GLOSS_CLI_VERIFY_HASHES_H

#include "cli/index_input.h"

enum { HASH_WEIGHTS, HASH_DUMP, HASH_TOKENIZER, HASH_KINDS };
typedef struct verify_hash {
	const char *what;
	const char *stored;     /* NULL: the store has none */
	char given[SHA256_HEX]; /* "": nothing was given to compare */
	bool same;              /* true also where there is nothing to compare */
} verify_hash;

typedef struct verify_hashes {
	verify_hash of[HASH_KINDS];
	bool partial;   /* the dump is one of several */
	size_t n_dumps; /* that went in */
} verify_hashes;

void verify_hashes_init(verify_hashes *h, const store_record *r);
void verify_hash_set(verify_hashes *h, int kind, const char *digest);
/* Compare the scanned dump; where several went in, each path may be one of them. */
int verify_hash_dump(verify_hashes *h, const index_input *x, const store_record *r, const cli_parsed *p,
                     error *err) MUST_USE;
bool verify_hashes_same(const verify_hashes *h);
/* [{"what","stored","given","same"}]; NULL: no memory */
cJSON *verify_hashes_json(const verify_hashes *h);
void verify_hashes_print(const verify_hashes *h);

#endif
