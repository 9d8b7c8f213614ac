/* Contexts with a common run of tokens.
 *
 * Common runs are found by winnowing (Schleimer, Wilkerson, Aiken 2003). Of every context the hashes of all runs of
 * k = run / 2 tokens are taken; in each window of w = run - k + 1 such hashes the smallest is a fingerprint. Two contexts
 * that share `run` tokens in a row share a whole window, so a fingerprint, at some offset 0..w-1 inside the common run.
 * Contexts with an equal fingerprint are then compared by the 64-bit hashes of the runs of `run` tokens that hold it, and
 * joined where such a hash is equal. About 2 fingerprints come from w + 1 tokens; where they would pass FINGERPRINTS_MAX
 * the search is done in several passes, each over a slice of the hash values, and so is the comparison. Memory: about
 * 2 * 16 * 1.5 * FINGERPRINTS_MAX bytes (100 MB) at most, 3.4 bytes a token for little text. */
#include "base/base.h"

enum { FINGERPRINTS_MAX = 1 << 21 };

/* ---- Sets ---------------------------------------------------------------------------------------------------------- */

uint32_t sets_find(uint32_t *parent, uint32_t i)
{
	while (parent[i] != i) {
		parent[i] = parent[parent[i]];
		i = parent[i];
	}
	return i;
}

void sets_join(uint32_t *parent, uint32_t a, uint32_t b)
{
	a = sets_find(parent, a);
	b = sets_find(parent, b);
	if (a < b)
		parent[b] = a;
	else
		parent[a] = b;
}

/* ---- Common runs --------------------------------------------------------------------------------------------------- */

typedef struct print {
	uint64_t key;
	uint32_t context, at;
} print;

static int by_key(const void *a, const void *b)
{
	const print *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->context != y->context)
		return x->context < y->context ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* Sorts, and joins the contexts of equal keys. */
static void join_equal(uint32_t *parent, print *list, size_t n)
{
	if (n)
		qsort(list, n, sizeof(*list), by_key);
	for (size_t i = 1; i < n; i++)
		if (list[i].key == list[i - 1].key)
			sets_join(parent, list[i].context, list[i - 1].context);
}

typedef struct winnow {
	const token_runs *from;
	uint32_t *parent;
	uint32_t run, k, w;
	uint32_t length;  /* of the context in `tokens` */
	uint32_t *tokens; /* (longest) */
	uint64_t *hashes; /* (longest): of the k tokens from each on */
	print *prints;
	size_t n_prints, cap_prints;
	print *around; /* hashes of the runs around one set of equal fingerprints */
	size_t n_around, cap_around;
} winnow;

static int read_context(winnow *v, uint32_t context, error *err)
{
	return v->from->read(v->from->payload, context, v->tokens, &v->length, err);
}

static int hash_context(winnow *v, uint32_t context, error *err)
{
	int rc = read_context(v, context, err);

	for (uint32_t i = 0; rc == 0 && i + v->k <= v->length; i++)
		v->hashes[i] = hash64(v->tokens + i, v->k * sizeof(*v->tokens), 0);
	return rc;
}

/* The fingerprints of one context whose hash falls in this pass's slice. Of equal hashes in a window the one that the
 * window before chose stays, so that repetition does not multiply fingerprints. */
static int add_prints(winnow *v, uint32_t context, uint64_t pass, uint64_t n_passes, error *err)
{
	uint32_t n = v->length - v->k + 1, smallest = 0, last = UINT32_MAX;

	if (v->length < v->run)
		return 0;
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
		v->prints[v->n_prints++] = (print){ v->hashes[smallest], context, smallest };
	}
	return 0;
}

/* The hashes, of this slice, of the runs that hold the fingerprint at `at` of the context in v->tokens. */
static int add_around(winnow *v, uint32_t context, uint32_t at, uint64_t slice, uint64_t n_slices, error *err)
{
	for (uint32_t o = 0; o < v->w && o <= at; o++) {
		uint64_t hash;
		if (at - o + v->run > v->length)
			continue;
		hash = hash64(v->tokens + at - o, v->run * sizeof(*v->tokens), 0);
		if (hash % n_slices != slice)
			continue;
		if (mem_grow(&v->around, &v->cap_around, v->n_around + 1, sizeof(*v->around)) < 0)
			return error_nomem(err, "common runs");
		v->around[v->n_around++] = (print){ hash, context, at - o };
	}
	return 0;
}

/* Contexts list[0..n-1] hold an equal fingerprint: join those with equal `run` tokens around it. */
static int compare_around(winnow *v, const print *list, size_t n, error *err)
{
	uint64_t n_slices = 1 + n * v->w / FINGERPRINTS_MAX;
	int rc = 0;

	for (uint64_t slice = 0; slice < n_slices && rc == 0; slice++) {
		v->n_around = 0;
		for (size_t i = 0; i < n && rc == 0; i++) {
			if (i == 0 || list[i].context != list[i - 1].context)
				rc = read_context(v, list[i].context, err);
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
		uint32_t root = sets_find(v->parent, v->prints[i].context);
		for (end = i + 1; end < v->n_prints && v->prints[end].key == v->prints[i].key; end++)
			apart |= sets_find(v->parent, v->prints[end].context) != root;
		if (apart)
			rc = compare_around(v, v->prints + i, end - i, err);
	}
	return rc;
}

int token_runs_join(uint32_t *parent, const token_runs *from, uint32_t run, error *err)
{
	winnow v = { .from = from, .parent = parent, .run = run, .k = run / 2, .w = run - run / 2 + 1 };
	uint64_t n_passes;
	int rc = 0;

	if (run < 2 || from->longest < run)
		return 0;
	n_passes = 1 + from->n_tokens / (v.w + 1) * 2 / FINGERPRINTS_MAX;
	v.tokens = malloc(from->longest * sizeof(*v.tokens));
	v.hashes = malloc(from->longest * sizeof(*v.hashes));
	if (!v.tokens || !v.hashes)
		rc = error_nomem(err, "fingerprints");
	for (uint64_t pass = 0; pass < n_passes && rc == 0; pass++) {
		v.n_prints = 0;
		for (uint32_t c = 0; c < from->n && rc == 0; c++) {
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
