/* Who must not be parted: contexts of one document, or with a common run of tokens; and the division of rows by it. */
#include "sae/rows_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COMMON_RUN = 24 };

typedef struct keyed {
	uint64_t key;
	uint32_t context, at;
} keyed;

static int by_key(const void *a, const void *b)
{
	const keyed *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->context != y->context)
		return x->context < y->context ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static int join_documents(uint32_t *parent, const sae_dump *d, uint32_t n, error *err)
{
	keyed *list;

	if (!d->documents)
		return 0;
	list = malloc(n * sizeof(*list));
	if (!list)
		return error_nomem(err, "document groups");
	for (uint32_t c = 0; c < n; c++)
		list[c] = (keyed){ sae_dump_document(d, c), c, 0 };
	qsort(list, n, sizeof(*list), by_key);
	for (uint32_t c = 1; c < n; c++)
		if (list[c].key == list[c - 1].key)
			sets_join(parent, list[c].context, list[c - 1].context);
	free(list);
	return 0;
}

static int read_tokens(void *payload, uint32_t context, uint32_t *tokens, uint32_t *n, error *err)
{
	const sae_dump *d = payload;

	uint64_t first;

	*n = sae_dump_context(d, context, &first);
	return sae_dump_tokens(d, context, tokens, err);
}

static int join_runs(uint32_t *parent, const sae_dump *d, uint32_t run, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	const token_runs from = { .n = (uint32_t)info->n_contexts,
		                  .longest = info->ctx_len,
		                  .n_tokens = info->n_rows,
		                  .read = read_tokens,
		                  .payload = (void *)d };

	return info->has_tokens ? token_runs_join(parent, &from, run, err) : 0;
}

int sae_split_groups(uint32_t **groups, uint32_t *n_groups, const sae_dump *d, uint32_t run, error *err)
{
	uint64_t n_contexts = sae_dump_get_info(d)->n_contexts;
	uint32_t *parent, n = 0;
	int rc;

	if (n_contexts >= UINT32_MAX)
		return error_set(err, ERR_LIMIT,
		                 "%" PRIu64 " contexts: documents are told apart among at most %u",
		                 n_contexts, UINT32_MAX - 1);
	parent = malloc(n_contexts * sizeof(*parent));
	if (!parent)
		return error_nomem(err, "document groups");
	for (uint32_t c = 0; c < n_contexts; c++)
		parent[c] = c;
	rc = join_documents(parent, d, (uint32_t)n_contexts, err);
	if (rc == 0)
		rc = join_runs(parent, d, run, err);
	if (rc < 0) {
		free(parent);
		return rc;
	}
	/* Flatten, then number: a root comes before the rest of its set, so parent[root] is the number by then. */
	for (uint32_t c = 0; c < n_contexts; c++)
		parent[c] = sets_find(parent, c);
	for (uint32_t c = 0; c < n_contexts; c++)
		parent[c] = parent[c] == c ? n++ : parent[parent[c]];
	*groups = parent;
	*n_groups = n;
	return 0;
}

/* ---- Train and held out -------------------------------------------------------------------------------------------- */

static void move_row(sae_rows *r, uint64_t row, bool held)
{
	rowset_remove(held ? &r->train : &r->held, row);
	rowset_add(held ? &r->held : &r->train, row);
}

/* The last floor(share * kept) of the kept rows. */
static void split_tail(sae_rows *r, double share)
{
	uint64_t n = r->stats.n_kept, n_held = (uint64_t)(share * (double)n), seen = 0;

	for (uint64_t row = 0; row < r->stats.n_rows; row++)
		if (sae_rows_kept(r, row))
			move_row(r, row, seen++ >= n - n_held);
}

/* Groups in the order of hash(seed, smallest context), each whole, until they hold the share of the kept rows or just
 * pass it: the group that reaches it is the last one taken. */
static int split_documents(sae_rows *r, const sae_dump *d, double share, uint64_t seed, error *err)
{
	uint64_t *kept = calloc(r->n_groups, sizeof(*kept)); /* rows a group */
	keyed *order = malloc(r->n_groups * sizeof(*order));
	bool *held = calloc(r->n_groups, sizeof(*held));
	double wanted = share * (double)r->stats.n_kept;
	uint64_t taken = 0, first, n_contexts = sae_dump_get_info(d)->n_contexts;
	uint32_t n = 0;
	int rc = 0;

	if (!kept || !order || !held) {
		rc = error_nomem(err, "the split");
		goto out;
	}
	for (uint64_t c = 0; c < n_contexts; c++) {
		uint32_t size = sae_dump_context(d, c, &first);
		for (uint32_t i = 0; i < size; i++)
			kept[r->groups[c]] += sae_rows_kept(r, first + i);
	}
	for (uint64_t c = 0; c < n_contexts; c++)
		if (r->groups[c] == n) { /* its first context */
			order[n] = (keyed){ hash64_mix(seed, c), (uint32_t)c, n };
			n++;
		}
	qsort(order, n, sizeof(*order), by_key);
	for (uint32_t i = 0; i < n && (double)taken < wanted; i++) {
		held[order[i].at] = true;
		taken += kept[order[i].at];
	}
	if (share < 1 && taken == r->stats.n_kept && taken > 0) {
		rc = error_set(err, ERR_ARG,
		               "holding out %g of the rows by document leaves none to train on: %u document "
		               "groups; split by tail instead",
		               share, n);
		goto out;
	}
	for (uint64_t c = 0; c < n_contexts; c++) {
		uint32_t size = sae_dump_context(d, c, &first);
		for (uint32_t i = 0; i < size; i++)
			if (sae_rows_kept(r, first + i))
				move_row(r, first + i, held[r->groups[c]]);
	}
out:
	free(kept);
	free(order);
	free(held);
	return rc;
}

int sae_rows_split(sae_rows *r, const sae_dump *d, double share, sae_split_by by, uint64_t seed, error *err)
{
	uint32_t *groups = NULL, n_groups = 0;
	int rc = 0;

	if (!(share >= 0 && share <= 1))
		return error_set(err, ERR_ARG, "the held-out share is %g; 0 to 1 is possible", share);
	rc = sae_split_groups(&groups, &n_groups, d, COMMON_RUN, err);
	if (rc < 0)
		return rc;
	free(r->groups);
	r->groups = groups;
	r->n_groups = n_groups;
	if (by == SAE_SPLIT_TAIL)
		split_tail(r, share);
	else
		rc = split_documents(r, d, share, seed, err);
	rowset_count(&r->train);
	rowset_count(&r->held);
	return rc;
}
