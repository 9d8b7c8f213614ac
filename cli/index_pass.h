/* gloss index: from the rows of a dump to the contexts of an index. */
#ifndef GLOSS_CLI_INDEX_PASS_H
#define GLOSS_CLI_INDEX_PASS_H

#include "cli/dump_args.h"
#include "store/store.h"

/* Keys of documents and their groups, by content: the same in any dump that holds the whole document or group.
 * Contexts with one document id of the manifest are a document; without ids each context is one. Groups are documents
 * that share a run of 24 tokens. */
typedef struct index_documents {
	uint64_t *document, *group; /* (n_contexts) */
} index_documents;
int index_documents_read(index_documents *out, const sae_dump *d, error *err) MUST_USE;
void index_documents_free(index_documents *d);

typedef struct index_pass_stats {
	double encode_seconds, add_seconds, read_seconds;
} index_pass_stats;

/* Encode every context and hand it to the index. Stops with ERR_STOPPED when asked to. `pr` counts rows. */
int index_pass(store_index *ix, const dump_input *in, const sae_model *m, const sae_tokenizer *t,
               const index_documents *docs, index_pass_stats *stats, progress *pr, error *err) MUST_USE;

#endif
