/* Who must not be parted: contexts of one document, or with a common run of tokens; and the division of rows by it.
 *
 * Common runs are found by winnowing (Schleimer, Wilkerson, Aiken 2003). Of every context the hashes of all runs of
 * k = run / 2 tokens are taken; in each window of w = run - k + 1 such hashes the smallest is a fingerprint. Two contexts
 * that share `run` tokens in a row share a whole window, so a fingerprint, at some offset 0..w-1 inside the common run.
 * Contexts with an equal fingerprint are then compared by the 64-bit hashes of the runs of `run` tokens that hold it, and
 * joined where such a hash is equal. About 2 fingerprints come from w + 1 tokens; where they would pass FINGERPRINTS_MAX
 * the search is done in several passes, each over a slice of the hash values, and so is the comparison. Memory: 4 bytes a
 * context and about 2 * 16 * 1.5 * FINGERPRINTS_MAX bytes (100 MB) at most, 3.4 bytes a token for small dumps. */
#include "sae/rows_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COMMON_RUN = 24, FINGERPRINTS_MAX = 1 << 21 };

/* ---- Sets of contexts ---------------------------------------------------------------------------------------------- */

/* parent[c] <= c: the root of a set is its smallest context. */
static uint32_t find_root(uint32_t *parent, uint32_t c)
{
	while (parent[c] != c) {
		parent[c] = parent[parent[c]];
		c = parent[c];
	}
	return c;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b)
{
	a = find_root(parent, a);
	b = find_root(parent, b);
	if (a < b)
		parent[b] = a;
	else
		parent[a] = b;
}

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

/* Sorts, and joins the contexts of equal keys. */
static void join_equal(uint32_t *parent, keyed *list, size_t n)
{
	if (n)
		qsort(list, n, sizeof(*list), by_key);
	for (size_t i = 1; i < n; i++)
		if (list[i].key == list[i - 1].key)
			join(parent, list[i].context, list[i - 1].context);
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
	join_equal(parent, list, n);
	free(list);
	return 0;
}

/* ---- Common runs --------------------------------------------------------------------------------------------------- */

typedef struct winnow {
	const sae_dump *d;
	uint32_t *parent;
	uint32_t run, k, w, n_contexts, ctx_len;
	uint32_t *tokens; /* (ctx_len) */
	uint64_t *hashes; /* (ctx_len): of the k tokens from each on */
	keyed *prints;
	size_t n_prints, cap_prints;
	keyed *around; /* hashes of the runs around one set of equal fingerprints */
	size_t n_around, cap_around;
} winnow;

static int hash_context(winnow *v, uint32_t context, error *err)
{
	int rc = sae_dump_tokens(v->d, context, v->tokens, err);

	for (uint32_t i = 0; rc == 0 && i + v->k <= v->ctx_len; i++)
		v->hashes[i] = hash64(v->tokens + i, v->k * sizeof(*v->tokens), 0);
	return rc;
}

/* The fingerprints of one context whose hash falls in this pass's slice. Of equal hashes in a window the one that the
 * window before chose stays, so that repetition does not multiply fingerprints. */
static int add_prints(winnow *v, uint32_t context, uint64_t pass, uint64_t n_passes, error *err)
{
	uint32_t n = v->ctx_len - v->k + 1, smallest = 0, last = UINT32_MAX;

	for (uint32_t end = v->w; end <= n; end++) {
		uint32_t start = end - v->w;
		if (end == v->w || smallest < start) { /* the first window, or the smallest has left it */
			smallest = start;
			for (uint32_t i = start + 1; i < end; i++)
				if (v->hashes[i] <= v->hashes[smallest])
					smallest = i;
		} else if (v->hashes[end - 1] < v->hashes[smallest]) {
			smallest = end - 1;
		}
		if (smallest == last)
			continue;
		last = smallest;
		if (hash64_mix(1, v->hashes[smallest]) % n_passes != pass)
			continue;
		if (mem_grow(&v->prints, &v->cap_prints, v->n_prints + 1, sizeof(*v->prints)) < 0)
			return error_nomem(err, "fingerprints");
		v->prints[v->n_prints++] = (keyed){ v->hashes[smallest], context, smallest };
	}
	return 0;
}

/* The hashes, of this slice, of the runs that hold the fingerprint at `at` of the context in v->tokens. */
static int add_around(winnow *v, uint32_t context, uint32_t at, uint64_t slice, uint64_t n_slices, error *err)
{
	for (uint32_t o = 0; o < v->w && o <= at; o++) {
		uint64_t hash;
		if (at - o + v->run > v->ctx_len)
			continue;
		hash = hash64(v->tokens + at - o, v->run * sizeof(*v->tokens), 0);
		if (hash % n_slices != slice)
			continue;
		if (mem_grow(&v->around, &v->cap_around, v->n_around + 1, sizeof(*v->around)) < 0)
			return error_nomem(err, "common runs");
		v->around[v->n_around++] = (keyed){ hash, context, at - o };
	}
	return 0;
}

/* Contexts list[0..n-1] hold an equal fingerprint: join those with equal `run` tokens around it. */
static int compare_around(winnow *v, const keyed *list, size_t n, error *err)
{
	uint64_t n_slices = 1 + n * v->w / FINGERPRINTS_MAX;
	int rc = 0;

	for (uint64_t slice = 0; slice < n_slices && rc == 0; slice++) {
		v->n_around = 0;
		for (size_t i = 0; i < n && rc == 0; i++) {
			if (i == 0 || list[i].context != list[i - 1].context)
				rc = sae_dump_tokens(v->d, list[i].context, v->tokens, err);
			if (rc == 0)
				rc = add_around(v, list[i].context, list[i].at, slice, n_slices, err);
		}
		if (rc == 0)
			join_equal(v->parent, v->around, v->n_around);
	}
	return rc;
}

static int compare_prints(winnow *v, error *err)
{
	int rc = 0;

	if (v->n_prints)
		qsort(v->prints, v->n_prints, sizeof(*v->prints), by_key);
	for (size_t i = 0, end; i < v->n_prints && rc == 0; i = end) {
		bool apart = false;
		uint32_t root = find_root(v->parent, v->prints[i].context);
		for (end = i + 1; end < v->n_prints && v->prints[end].key == v->prints[i].key; end++)
			apart |= find_root(v->parent, v->prints[end].context) != root;
		if (apart)
			rc = compare_around(v, v->prints + i, end - i, err);
	}
	return rc;
}

static int join_runs(uint32_t *parent, const sae_dump *d, uint32_t run, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	winnow v = { .d = d,
		     .parent = parent,
		     .run = run,
		     .k = run / 2,
		     .w = run - run / 2 + 1,
		     .n_contexts = (uint32_t)info->n_contexts,
		     .ctx_len = info->ctx_len };
	uint64_t n_passes;
	int rc = 0;

	if (!info->has_tokens || run < 2 || info->ctx_len < run)
		return 0;
	n_passes = 1 + info->n_rows / (v.w + 1) * 2 / FINGERPRINTS_MAX;
	v.tokens = malloc(v.ctx_len * sizeof(*v.tokens));
	v.hashes = malloc(v.ctx_len * sizeof(*v.hashes));
	if (!v.tokens || !v.hashes)
		rc = error_nomem(err, "fingerprints");
	for (uint64_t pass = 0; pass < n_passes && rc == 0; pass++) {
		v.n_prints = 0;
		for (uint32_t c = 0; c < v.n_contexts && rc == 0; c++) {
			rc = hash_context(&v, c, err);
			if (rc == 0)
				rc = add_prints(&v, c, pass, n_passes, err);
		}
		if (rc == 0)
			rc = compare_prints(&v, err);
	}
	free(v.tokens);
	free(v.hashes);
	free(v.prints);
	free(v.around);
	return rc;
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
		parent[c] = find_root(parent, c);
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
static int split_documents(sae_rows *r, double share, uint64_t seed, error *err)
{
	uint64_t *kept = calloc(r->n_groups, sizeof(*kept)); /* rows a group */
	keyed *order = malloc(r->n_groups * sizeof(*order));
	bool *held = calloc(r->n_groups, sizeof(*held));
	double wanted = share * (double)r->stats.n_kept;
	uint64_t taken = 0;
	uint32_t n = 0;
	int rc = 0;

	if (!kept || !order || !held) {
		rc = error_nomem(err, "the split");
		goto out;
	}
	for (uint64_t row = 0; row < r->stats.n_rows; row++)
		kept[r->groups[row / r->ctx_len]] += sae_rows_kept(r, row);
	for (uint64_t c = 0; c < r->stats.n_rows / r->ctx_len; c++)
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
	for (uint64_t row = 0; row < r->stats.n_rows; row++)
		if (sae_rows_kept(r, row))
			move_row(r, row, held[r->groups[row / r->ctx_len]]);
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
		rc = split_documents(r, share, seed, err);
	rowset_count(&r->train);
	rowset_count(&r->held);
	return rc;
}
