/* The transaction that ends an index run: what index_write.c and index_features.c share. */
#ifndef GLOSS_STORE_INDEX_WRITE_H
#define GLOSS_STORE_INDEX_WRITE_H

#include "store/cofiring.h"
#include "store/index_internal.h"

typedef struct index_writer {
	store_index *ix;
	store *s;
	int64_t source, tokenizer; /* ids; tokenizer 0: none */
	uint64_t n_examples, n_dead, n_dense;
	uint32_t *tokens, *offsets;
	unsigned char *offset_bytes;
	size_t tokens_cap, offsets_cap, offset_bytes_cap;
	text words;
	cofiring together;
	int64_t *behaviour; /* (features) hash of where each fires; 0: nowhere */
} index_writer;

/* Rows of feature, feature_detail and example. */
int index_write_features(index_writer *w, progress *pr, error *err) MUST_USE;

#endif
