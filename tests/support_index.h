/* A small made-up corpus with its codes, indexed into a store: what the tests of the index share. */
#ifndef GLOSS_SUPPORT_INDEX_H
#define GLOSS_SUPPORT_INDEX_H

#include "store/index_internal.h"
#include "tests/support.h"

enum { VOCAB = 24, FEATURES = 40, DIMS = 6, MAX_TOKENS = 40, MAX_FIRINGS = 400 };
extern const char
        *const corpus_words[VOCAB];        /* bytes of the tokens; characters split over tokens among them */
extern const char *const corpus_tokenizer; /* its digest */

typedef struct document_context {
	uint32_t tokens[MAX_TOKENS], n_tokens;
	uint64_t document, group;
	uint8_t counted[MAX_TOKENS];
	uint32_t start[MAX_TOKENS + 1], feature[MAX_FIRINGS];
	float value[MAX_FIRINGS];
} document_context;

/* Context number i of the corpus. Every fifth is a copy of the one three before; of those, every second with other values. */
void corpus_context(document_context *c, uint32_t i);
store_context corpus_view(const document_context *c);

extern char corpus_folder[FILE_PATH_MAX], corpus_path[FILE_PATH_MAX];
extern error corpus_err;
#define OK(call) ck_assert_msg((call) == 0, "%s", corpus_err.msg)

void corpus_setup(void); /* a fresh folder, and the path of a store in it */
store *corpus_open(void);
store_index_opts corpus_options(const char *name);
/* The vocabulary, a decoder and neighbours. */
int corpus_give_rest(store_index *ix);
/* Index contexts 0 .. n - 1 in the order of hash64_permute under `key` (0: as they are). */
int corpus_index(store *s, const store_index_opts *o, uint32_t n, uint64_t key);
/* Index the contexts 0 .. n - 1 for which `take` says so (NULL: all). */
int corpus_index_some(store *s, const store_index_opts *o, uint32_t n, bool (*take)(uint32_t i));
/* Hash of all rows of the tables an index writes, but for sums and what comes of them. */
void corpus_digest(char hex[SHA256_HEX], store *s);
int64_t corpus_number(store *s, const char *sql);
void corpus_check(store *s); /* integrity and foreign keys */

#endif
