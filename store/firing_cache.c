/* Where every feature of a source fires, in memory: see firing_cache in query_internal.h. */
#include "store/query_internal.h"

/* At most so many firings are kept (8 bytes each, 20 while it is made); the contexts behind them are left out. */
#define MAX_FIRINGS (4u << 20)

/* A firing as the scan gives it. */
struct raw_firing {
	uint32_t feature;
	firing_place place;
};

struct raw_firings {
	struct raw_firing *items;
	size_t n, cap, context_cap;
};

static const unsigned char *keep_bytes(firing_cache *cache, const unsigned char *bytes, size_t n)
{
	return (const unsigned char *)arena_memdupz(&cache->mem, bytes, n);
}

/* A copy of the scan's context in the cache's memory. */
static int keep_context(firing_cache *cache, size_t *cap, const firing_scan *scan, error *err)
{
	const context_row *c = &scan->context;
	firing_context kept = { .row = *c };

	kept.row.tokens = keep_bytes(cache, c->tokens, 4 * (size_t)c->n_tokens);
	kept.row.offsets = keep_bytes(cache, c->offsets, 4 * ((size_t)c->n_tokens + 1));
	kept.row.text = arena_memdupz(&cache->mem, c->text, c->text_len);
	kept.counted = keep_bytes(cache, scan->counted, (c->n_tokens + 7) / 8);
	if (!kept.row.tokens || !kept.row.offsets || !kept.row.text || !kept.counted ||
	    mem_grow(&cache->contexts, cap, cache->n_contexts + 1, sizeof(*cache->contexts)) < 0)
		return error_nomem(err, "stored firings");
	cache->contexts[cache->n_contexts++] = kept;
	return 0;
}

static int keep_firings(struct raw_firings *raw, uint32_t context, const firing_scan *scan, error *err)
{
	uint32_t n_tokens = scan->context.n_tokens;

	if (mem_grow(&raw->items, &raw->cap, raw->n + scan->codes.start[n_tokens], sizeof(*raw->items)) < 0)
		return error_nomem(err, "stored firings");
	for (uint32_t i = 0; i < n_tokens; i++)
		for (uint32_t j = scan->codes.start[i]; j < scan->codes.start[i + 1]; j++)
			raw->items[raw->n++] = (struct raw_firing){ scan->codes.feature[j], { context, i } };
	return 0;
}

/* Bring the firings into the order of features; those of one feature stay in the order of contexts and tokens. */
static int sort_by_feature(firing_cache *cache, const struct raw_firings *raw, error *err)
{
	size_t *next;

	cache->start = calloc((size_t)cache->n_features + 1, sizeof(*cache->start));
	cache->places = malloc((raw->n ? raw->n : 1) * sizeof(*cache->places));
	next = malloc(((size_t)cache->n_features + 1) * sizeof(*next));
	if (!cache->start || !cache->places || !next) {
		free(next);
		return error_nomem(err, "stored firings");
	}
	for (size_t i = 0; i < raw->n; i++)
		cache->start[raw->items[i].feature + 1]++;
	for (uint32_t f = 0; f < cache->n_features; f++)
		cache->start[f + 1] += cache->start[f];
	memcpy(next, cache->start, ((size_t)cache->n_features + 1) * sizeof(*next));
	for (size_t i = 0; i < raw->n; i++)
		cache->places[next[raw->items[i].feature]++] = raw->items[i].place;
	free(next);
	return 0;
}

static int fill(firing_cache *cache, store *s, error *err)
{
	struct raw_firings raw = { 0 };
	firing_scan scan;
	bool more;
	int rc;

	rc = firing_scan_begin(&scan, s, cache->source, err);
	if (rc < 0)
		return rc;
	cache->n_features = scan.n_features;
	while ((rc = firing_scan_next(&scan, &more, err)) == 0 && more && raw.n < MAX_FIRINGS) {
		rc = keep_context(cache, &raw.context_cap, &scan, err);
		if (rc == 0)
			rc = keep_firings(&raw, cache->n_contexts - 1, &scan, err);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = sort_by_feature(cache, &raw, err);
	firing_scan_end(&scan);
	free(raw.items);
	return rc;
}

void firing_cache_drop(store *s)
{
	firing_cache *cache = s->firing_cache;

	if (!cache)
		return;
	s->firing_cache = NULL;
	free(cache->contexts);
	free(cache->start);
	free(cache->places);
	arena_clear(&cache->mem);
	free(cache);
}

int firing_cache_get(const firing_cache **out, store *s, int64_t source, error *err)
{
	int rc = 0;

	if (!s->firing_cache || s->firing_cache->source != source) {
		firing_cache_drop(s);
		s->firing_cache = calloc(1, sizeof(*s->firing_cache));
		if (!s->firing_cache)
			return error_nomem(err, "stored firings");
		s->firing_cache->source = source;
		rc = fill(s->firing_cache, s, err);
	}
	if (rc < 0)
		firing_cache_drop(s);
	else
		*out = s->firing_cache;
	return rc;
}
