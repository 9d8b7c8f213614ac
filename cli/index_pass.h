/* gloss index and gloss verify: from the rows of a dump to contexts with their codes. */
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

typedef struct index_pass_job {
	int (*add)(void *payload, const store_context *c, error *err); /* takes each context, in order */
	void *payload;
	uint32_t n_vocab;    /* token ids are below it */
	const char *kernels; /* as for sae_encoder_new() */
	/* Batches of index_pass_batch() contexts, the last of the rest; 0: passed over; NULL: all. */
	const uint8_t *batches;
} index_pass_job;
int index_pass_add(void *ix, const store_context *c, error *err) MUST_USE; /* an add: into an index */

/* Encode contexts and hand them over. Which other batches are encoded changes nothing. Stops with ERR_STOPPED when asked to.
 * `pr` counts rows. */
int index_pass(const index_pass_job *job, const dump_input *in, const sae_model *m,
               const index_documents *docs, index_pass_stats *stats, progress *pr, error *err) MUST_USE;
uint32_t index_pass_batch(uint32_t ctx_len); /* contexts encoded together */

/* What is known of the features without the dump: decoder rows, n_ranked neighbours of each, and with `unembed` (NULL: none)
 * as many logits at each end. */
int index_give_features(store_index *ix, const sae_model *m, uint32_t n_vocab, uint32_t n_ranked,
                        const char *unembed, pool *pl, FILE *progress_stream, error *err) MUST_USE;

#endif
