/* A store's claims against what is recomputed: what verify.c (the report), verify_choose.c and verify_contexts.c (contexts, their
 * firings and examples), verify_again.c and verify_tables.c (every row of a source) share. */
#ifndef GLOSS_STORE_VERIFY_H
#define GLOSS_STORE_VERIFY_H

#include "store/codes.h"
#include "store/content.h"
#include "store/query_internal.h"
#include "store/record.h"

typedef struct verify_place {
	int64_t feature, context, position; /* -1: none */
} verify_place;

/* An example of a context that is recomputed. */
typedef struct verify_example {
	uint32_t context; /* in contexts */
	uint32_t feature, position, bits, size;
	uint64_t codes; /* where its `size` bytes are in example_codes */
	bool top;
	/* What the context's occurrences offer: one just this; one that is greater, which would take its place. */
	bool same, greater;
	bool not_strongest; /* it fires, but is not the first among the strongest tokens */
	uint8_t byte; /* the first byte in which other codes of the best value differ, if there are so many */
	uint32_t best_bits; /* the greatest value; 0: silent in all */
	uint32_t byte_at, n_bytes;
} verify_example;

/* A context that is recomputed. Equal content may come several times. */
typedef struct verify_context {
	int64_t id;
	uint32_t expected, seen;
	bool fires;          /* codes and counted are set */
	text counted, codes; /* the smaller codes where they differ */
} verify_context;

struct store_verify {
	store *s;
	arena mem;
	store_record r;
	vocab words;
	uint64_t n_in_dump;
	store_stop stop;
	/* Contexts to recompute (verify_contexts.c), by id; their examples by context. */
	uint8_t *batches; /* (n_batches) */
	uint64_t n_batches;
	verify_context *contexts;
	size_t n_contexts;
	verify_example *examples;
	size_t n_examples;
	text example_codes;
	text tokens, counted, codes, words_text; /* scratch */
	uint32_t *offsets, *position;
	float *value;
	unsigned char *window;
	size_t offsets_cap, position_cap, value_cap, window_cap;
	/* An index like the source's (verify_tables.c). */
	char folder[FILE_PATH_MAX];
	store *again;
	/* The report. */
	cJSON *compared, *left_out, *first;
	uint64_t n_differences;
	uint32_t most;
	bool failed; /* it could not grow */
};

/* Count a difference, and describe the first ones. `what` is "table" or "table.column". */
void verify_differs(store_verify *v, const char *what, verify_place at, const char *stored,
                    const char *recomputed);
/* Compare bytes; a difference is described by its first place. */
void verify_bytes(store_verify *v, const char *what, verify_place at, const void *stored, size_t n_stored,
                  const void *recomputed, size_t n_recomputed);
void verify_describe_byte(char *out, size_t room, const unsigned char *p, size_t n, size_t at);
void verify_count(store_verify *v, const char *what, uint64_t n); /* what was compared, and how many */
void verify_left_out(store_verify *v, const char *what);          /* what was not, and why */

int verify_choose(store_verify *v, const store_verify_opts *o, error *err) MUST_USE;
int verify_contexts_end(store_verify *v, error *err) MUST_USE;
verify_context *verify_find(const store_verify *v, int64_t id); /* NULL: it is none to recompute */
void verify_contexts_clear(store_verify *v);
/* All rows of the source, and moments against sums; vectors: decoder rows too. */
int verify_tables(store_verify *v, int64_t source_again, bool vectors, error *err) MUST_USE;
void verify_again_remove(store_verify *v); /* fine when there is none */

#endif
