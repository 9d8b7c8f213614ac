/* The index run: what index.c (the pass), side.c (STORE.part) and index_write.c (the transaction) share. */
#ifndef GLOSS_STORE_INDEX_INTERNAL_H
#define GLOSS_STORE_INDEX_INTERNAL_H

#include "store/codes.h"
#include "store/features.h"
#include "store/store_internal.h"

/* STORE.part: an SQLite file that only this run uses, held by a lock on the file. Whatever an earlier run left there is
 * thrown away. */
typedef struct side {
	store file; /* its connection */
	int lock;   /* descriptor; -1: not open */
	sqlite3_stmt *add_context, *add_firing, *add_vector;
} side;
int side_open(side *sd, const char *store_path, error *err) MUST_USE;
/* Commit, order and close the database; the file stays locked and there. */
int side_seal(side *sd, error *err) MUST_USE;
void side_remove(side *sd); /* fine on a zeroed struct with lock -1, and twice */

typedef struct random_context {
	uint64_t hash; /* of the id */
	int64_t id;
} random_context;

enum { RANKED_TOP, RANKED_BOTTOM, RANKED_NEIGHBOURS, RANKED_KINDS };
typedef struct ranked {
	uint32_t n;
	uint32_t *ids; /* (F, n) */
	float *values; /* (F, n) */
} ranked;

struct store_index {
	store *s;
	store_index_opts o; /* strings in mem */
	arena mem;
	vocab words;
	uint64_t words_seed; /* hash of the tokenizer's: part of every context's id */
	features fs;
	side sd;
	uint64_t n_tokens, n_contexts, n_firings;
	random_context *random; /* (n_random) by hash ascending */
	uint32_t n_random;
	uint8_t *seen; /* a Bloom filter of ids */
	double *norms; /* (F); NULL: no decoder given */
	ranked ranked[RANKED_KINDS];
	const char **logits; /* (F) JSON, in mem; NULL: none */
	/* One context at a time: its firings turned feature by feature. */
	uint32_t *count;   /* (F) zero between contexts */
	uint32_t *place;   /* (F) */
	uint32_t *touched; /* (F) */
	uint32_t n_touched;
	uint32_t *position;
	float *value;
	uint64_t *position_hash, *window_hash;
	size_t position_cap, value_cap, hash_cap, window_cap;
	text tokens, counted, codes; /* blobs for the side database */
	bool failed;
};

/* Which documents explain and score may look at: 40 % label, 20 % select, 40 % report, by hash of the group. */
store_part store_part_of(uint64_t group_key);

/* Whether the context is now one of the n_random of smallest hash. */
bool index_offer_random(store_index *ix, int64_t id);
/* Everything into the store in one transaction. */
int index_write(store_index_result *out, store_index *ix, progress *pr, error *err) MUST_USE;
/* ERR_EXISTS when the store has a source of this name and it is not to be replaced. */
int index_check_name(const store_index *ix, error *err) MUST_USE;

#endif
