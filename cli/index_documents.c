/* Keys of documents and groups by what they hold. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/index_pass.h"

enum { COMMON_RUN = 24 };
static const uint64_t key_seed = 0x646f63; /* "doc" */

typedef struct piece { /* one context of a document */
	uint64_t document, hash;
	uint64_t context;
} piece;

static int by_document(const void *a, const void *b)
{
	const piece *x = a, *y = b;

	if (x->document != y->document)
		return x->document < y->document ? -1 : 1;
	return x->context < y->context ? -1 : x->context > y->context;
}

/* Hash of each context's tokens, sorted by document. */
static int read_pieces(piece *pieces, const index_feed *f, error *err)
{
	uint32_t *tokens = malloc(f->ctx_len * sizeof(*tokens));
	uint64_t first;
	int rc = tokens ? 0 : error_nomem(err, "documents");

	for (uint64_t c = 0; c < f->n_contexts && rc == 0; c++) {
		uint32_t n = index_feed_context(f, c, &first);

		rc = f->tokens(f->payload, c, tokens, err);
		if (rc == 0)
			pieces[c] = (piece){ f->document(f->payload, c),
				             hash64(tokens, n * sizeof(*tokens), key_seed), c };
	}
	free(tokens);
	if (rc == 0)
		qsort(pieces, f->n_contexts, sizeof(*pieces), by_document);
	return rc;
}

/* A document's key is of the sum of its contexts' hashes: their order in the dump does not matter. */
static void give_keys(uint64_t *document, const piece *pieces, uint64_t n)
{
	for (uint64_t i = 0, j; i < n; i = j) {
		uint64_t sum = 0;

		for (j = i; j < n && pieces[j].document == pieces[i].document; j++)
			sum += hash64_mix(key_seed, pieces[j].hash);
		for (uint64_t k = i; k < j; k++)
			document[pieces[k].context] = hash64_mix(sum, j - i) >> 1;
	}
}

static int read_context(void *payload, uint32_t context, uint32_t *tokens, uint32_t *n, error *err)
{
	const index_feed *f = payload;
	uint64_t first;

	*n = index_feed_context(f, context, &first);
	return f->tokens(f->payload, context, tokens, err);
}

/* A group's key is the least of its documents' keys. */
static int give_groups(uint64_t *group, const uint64_t *document, const piece *pieces, const index_feed *f,
                       error *err)
{
	uint32_t n = (uint32_t)f->n_contexts, *parent = malloc(n * sizeof(*parent));
	token_runs from = { .n = n,
		            .longest = f->ctx_len,
		            .n_tokens = (uint64_t)n * f->ctx_len,
		            .read = read_context,
		            .payload = (void *)f };
	int rc;

	if (!parent)
		return error_nomem(err, "documents");
	for (uint32_t c = 0; c < n; c++)
		parent[c] = c;
	for (uint32_t i = 1; i < n; i++)
		if (pieces[i].document == pieces[i - 1].document)
			sets_join(parent, (uint32_t)pieces[i].context, (uint32_t)pieces[i - 1].context);
	rc = token_runs_join(parent, &from, COMMON_RUN, err);
	for (uint32_t c = 0; c < n; c++)
		group[c] = UINT64_MAX;
	for (uint32_t c = 0; c < n && rc == 0; c++) {
		uint64_t *least = &group[sets_find(parent, c)];

		*least = document[c] < *least ? document[c] : *least;
	}
	for (uint32_t c = 0; c < n && rc == 0; c++) /* the root of a set comes first */
		group[c] = group[sets_find(parent, c)];
	free(parent);
	return rc;
}

int index_documents_read(index_documents *out, const index_feed *f, error *err)
{
	uint64_t n = f->n_contexts;
	piece *pieces;
	int rc;

	if (n >= UINT32_MAX)
		return error_set(err, ERR_LIMIT,
		                 "%" PRIu64 " contexts: documents are told apart among at most %u", n,
		                 UINT32_MAX - 1);
	pieces = malloc(n * sizeof(*pieces));
	out->document = malloc(n * sizeof(*out->document));
	out->group = malloc(n * sizeof(*out->group));
	rc = pieces && out->document && out->group ? 0 : error_nomem(err, "documents");
	if (rc == 0)
		rc = read_pieces(pieces, f, err);
	if (rc == 0) {
		give_keys(out->document, pieces, n);
		rc = give_groups(out->group, out->document, pieces, f, err);
	}
	free(pieces);
	if (rc < 0)
		index_documents_free(out);
	return rc;
}

void index_documents_free(index_documents *d)
{
	free(d->document);
	free(d->group);
	*d = (index_documents){ 0 };
}
