/* Keys of documents and groups by what they hold. */
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
static int read_pieces(piece *pieces, const sae_dump *d, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	uint32_t *tokens = malloc(info->ctx_len * sizeof(*tokens));
	int rc = tokens ? 0 : error_nomem(err, "documents");

	for (uint64_t c = 0; c < info->n_contexts && rc == 0; c++) {
		rc = sae_dump_tokens(d, c, tokens, err);
		if (rc == 0)
			pieces[c] = (piece){ sae_dump_document(d, c),
				             hash64(tokens, info->ctx_len * sizeof(*tokens), key_seed), c };
	}
	free(tokens);
	if (rc == 0)
		qsort(pieces, info->n_contexts, sizeof(*pieces), by_document);
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

/* A group's key is the least of its documents' keys. */
static int give_groups(uint64_t *group, const uint64_t *document, const sae_dump *d, error *err)
{
	uint64_t n = sae_dump_get_info(d)->n_contexts;
	uint32_t *groups = NULL, n_groups;
	uint64_t *least = NULL;
	int rc = sae_split_groups(&groups, &n_groups, d, COMMON_RUN, err);

	if (rc < 0)
		return rc;
	least = malloc(n_groups * sizeof(*least));
	if (!least) {
		free(groups);
		return error_nomem(err, "documents");
	}
	for (uint32_t g = 0; g < n_groups; g++)
		least[g] = UINT64_MAX;
	for (uint64_t c = 0; c < n; c++)
		least[groups[c]] = document[c] < least[groups[c]] ? document[c] : least[groups[c]];
	for (uint64_t c = 0; c < n; c++)
		group[c] = least[groups[c]];
	free(least);
	free(groups);
	return 0;
}

int index_documents_read(index_documents *out, const sae_dump *d, error *err)
{
	uint64_t n = sae_dump_get_info(d)->n_contexts;
	piece *pieces = malloc(n * sizeof(*pieces));
	int rc;

	out->document = malloc(n * sizeof(*out->document));
	out->group = malloc(n * sizeof(*out->group));
	rc = pieces && out->document && out->group ? 0 : error_nomem(err, "documents");
	if (rc == 0)
		rc = read_pieces(pieces, d, err);
	if (rc == 0) {
		give_keys(out->document, pieces, n);
		rc = give_groups(out->group, out->document, d, err);
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
