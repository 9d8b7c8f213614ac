/* gloss index and gloss verify: from a feed of contexts with their codes to an index. */
#ifndef GLOSS_CLI_INDEX_PASS_H
#define GLOSS_CLI_INDEX_PASS_H

#include "cli/dump_args.h"
#include "store/store.h"

/* Where contexts and their codes come from: rows of a dump, encoded or as they are, or codes computed elsewhere. */
typedef struct index_feed {
	uint64_t n_contexts;
	uint32_t ctx_len,
	        per_batch; /* per_batch: contexts that are taken together, the last time what is left */
	/* Codes of the n contexts of a batch, of each token a row; those of tokens that do not count are not used. Adds to
	 * *read_seconds what reading took. */
	int (*codes)(void *payload, uint64_t first, uint32_t n, sae_codes *out, double *read_seconds,
	             error *err);
	bool (*counts)(void *payload, uint64_t token); /* token: of all, by `context` */
	/* Tokens of a context, at most ctx_len, and the number of its first one; NULL: ctx_len, context after context. */
	uint32_t (*context)(void *payload, uint64_t context, uint64_t *first);
	/* Token ids of a context, out (ctx_len); called from another thread than the others. */
	int (*tokens)(void *payload, uint64_t context, uint32_t *out, error *err);
	uint64_t (*document)(void *payload, uint64_t context); /* equal for contexts of one document */
	void (*close)(void *payload);
	void *payload;
} index_feed; /* start with {0} */
/* Of rows: coded by an SAE (kernels: as for sae_encoder_new()), or as they are. Dump, rows, pool, model and neurons must outlive the
 * feed; on failure nothing is left to close. */
int index_feed_sae(index_feed *out, const dump_input *in, const sae_model *m, const char *kernels,
                   error *err) MUST_USE;
int index_feed_neurons(index_feed *out, const dump_input *in, const sae_neurons *n, error *err) MUST_USE;
/* Contexts to compute together where only some are wanted: at most per_batch. */
uint32_t index_feed_few(const index_feed *f);
/* Codes computed elsewhere, of tokens that they bring themselves or, where `in` is not NULL, of that dump; left_out: a bit a token. All
 * must outlive the feed. */
int index_feed_codes(index_feed *out, sae_codes_reader *r, const dump_input *in, const uint8_t *left_out,
                     error *err) MUST_USE;
void index_feed_close(index_feed *f);
uint32_t index_feed_context(const index_feed *f, uint64_t context, uint64_t *first);

/* Keys of documents and their groups, by content: the same in any dump that holds the whole document or group.
 * Contexts of one document are a document; groups are documents that share a run of 24 tokens. */
typedef struct index_documents {
	uint64_t *document, *group; /* (n_contexts) */
} index_documents;
int index_documents_read(index_documents *out, const index_feed *f, error *err) MUST_USE;
void index_documents_free(index_documents *d);

typedef struct index_pass_stats {
	double encode_seconds, add_seconds, read_seconds;
} index_pass_stats;

typedef struct index_pass_job {
	int (*add)(void *payload, const store_context *c, error *err); /* takes each context, in order */
	void *payload;
	uint32_t n_vocab; /* token ids are below it */
	/* Batches in order; 0: passed over; NULL: all. Which others are taken changes nothing. */
	const uint8_t *batches;
} index_pass_job;
int index_pass_add(void *ix, const store_context *c, error *err) MUST_USE; /* an add: into an index */

/* Hand over contexts with their codes. Stops with ERR_STOPPED when asked to. `pr` counts tokens. */
int index_pass(const index_pass_job *job, const index_feed *feed, const index_documents *docs,
               index_pass_stats *stats, progress *pr, error *err) MUST_USE;

/* What is known of the features without the dump: decoder rows, n_ranked neighbours of each, and with `unembed` (NULL: none)
 * as many logits at each end, and their histograms. */
int index_give_features(store_index *ix, const sae_model *m, uint32_t n_vocab, uint32_t n_ranked,
                        const char *unembed, pool *pl, FILE *progress_stream, error *err) MUST_USE;
/* The same of neurons, whose decoder rows are the axes: only logits. ERR_FORMAT: not the residual stream, by the width. */
int index_give_axes(store_index *ix, const sae_neurons *n, uint32_t n_vocab, uint32_t n_ranked,
                    const char *unembed, pool *pl, FILE *progress_stream, error *err) MUST_USE;

#endif
