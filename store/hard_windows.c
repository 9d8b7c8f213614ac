/* Silent windows that are hard to tell from firing ones: what is near the feature fires there, or the token that it mostly
 * fires on stands there, and it does not. */
#include "store/window_list.h"

enum { MOST_RIVALS = 8, PAIRS_MAX = 1 << 20 };

/* A place where such a window may be taken. `round`: how many of the same rival come before it, so that rivals take turns. */
struct place {
	uint64_t hash;
	uint32_t context, token, rival, round;
};

struct places {
	struct place *items;
	size_t n, cap;
};

struct hunt {
	const firing_cache *cache;
	const store_hard_opts *o;
	uint32_t rivals[MOST_RIVALS]; /* features; of STORE_HARD_TOKEN tokens */
	uint32_t n_rivals;
	struct places found;
	uint64_t key;
};

/* ---- Rivals ----------------------------------------------------------------------------------------------------------- */

/* The first members of the pairs in a column of feature_detail. */
static int read_rivals(struct hunt *h, store *s, const char *json, error *err)
{
	cJSON *pairs = NULL;
	const cJSON *pair, *id;
	int rc = json ? json_parse(&pairs, json, strlen(json), PAIRS_MAX, 4, "feature_detail", err) : 0;

	if (rc < 0)
		return error_set(err, ERR_FORMAT, "'%s': the neighbours of feature %u are corrupt",
		                 store_path(s), h->o->feature);
	cJSON_ArrayForEach(pair, pairs)
	{
		id = cJSON_GetArrayItem(pair, 0);
		if (h->n_rivals == MOST_RIVALS || !cJSON_IsNumber(id) || !(id->valuedouble >= 0) ||
		    !(id->valuedouble < h->cache->n_features) || id->valuedouble == h->o->feature)
			continue;
		h->rivals[h->n_rivals++] = (uint32_t)id->valuedouble;
	}
	cJSON_Delete(pairs);
	return 0;
}

static int find_rivals(struct hunt *h, store *s, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	if (h->o->by == STORE_HARD_TOKEN) {
		for (size_t i = 0; i < h->o->n_tokens && h->n_rivals < MOST_RIVALS; i++)
			h->rivals[h->n_rivals++] = h->o->tokens[i];
		return 0;
	}
	rc = store_prepare(
	        &st, s,
	        h->o->by == STORE_HARD_DECODER
	                ? "SELECT neighbours FROM feature_detail WHERE source_id = ?1 AND feature = ?2"
	                : "SELECT cofiring FROM feature_detail WHERE source_id = ?1 AND feature = ?2",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ii", h->o->source, (int64_t)h->o->feature);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	if (rc == 0 && row)
		rc = read_rivals(h, s, (const char *)sqlite3_column_text(st, 0), err);
	sqlite3_finalize(st);
	return rc;
}

/* ---- Places ----------------------------------------------------------------------------------------------------------- */

/* Those of a feature in one context: cache->places[*begin] .. [*begin + n - 1]. */
static size_t places_in(size_t *begin, const firing_cache *cache, uint32_t feature, uint32_t context)
{
	size_t low = cache->start[feature], high = cache->start[feature + 1], end = high, n = 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (cache->places[mid].context < context)
			low = mid + 1;
		else
			high = mid;
	}
	*begin = low;
	while (low + n < end && cache->places[low + n].context == context)
		n++;
	return n;
}

/* The window around a place: its token at o->before, or nearer to an edge of the context. */
static uint32_t window_around(uint32_t *first, const struct hunt *h, const firing_context *c, uint32_t token)
{
	uint32_t length = c->row.n_tokens < h->o->length ? c->row.n_tokens : h->o->length;

	*first = token > h->o->before ? token - h->o->before : 0;
	if (*first + length > c->row.n_tokens)
		*first = c->row.n_tokens - length;
	return length;
}

static int add_place(struct hunt *h, uint32_t context, uint32_t token, uint32_t rival, error *err)
{
	const firing_context *c = &h->cache->contexts[context];
	uint32_t first, length = window_around(&first, h, c, token);
	size_t begin, n = places_in(&begin, h->cache, h->o->feature, context);

	if ((h->o->part != STORE_ANY && c->row.part != h->o->part) ||
	    window_fires_in(h->cache->places + begin, n, first, length) || !bit_is_set(c->counted, token) ||
	    !window_counts(c, first, length))
		return 0;
	if (mem_grow(&h->found.items, &h->found.cap, h->found.n + 1, sizeof(*h->found.items)) < 0)
		return error_nomem(err, "silent windows");
	h->found.items[h->found.n++] =
	        (struct place){ hash64_mix(hash64_mix(h->key, (uint64_t)c->row.id), token), context, token,
		                rival, 0 };
	return 0;
}

static int find_firing(struct hunt *h, error *err)
{
	int rc = 0;

	for (uint32_t r = 0; r < h->n_rivals; r++)
		for (size_t i = h->cache->start[h->rivals[r]];
		     i < h->cache->start[h->rivals[r] + 1] && rc == 0; i++)
			rc = add_place(h, h->cache->places[i].context, h->cache->places[i].token, r, err);
	return rc;
}

static int find_tokens(struct hunt *h, error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < h->cache->n_contexts; i++) {
		const context_row *c = &h->cache->contexts[i].row;

		if (h->o->part != STORE_ANY && c->part != h->o->part)
			continue;
		for (uint32_t t = 0; t < c->n_tokens && rc == 0; t++)
			for (uint32_t r = 0; r < h->n_rivals && rc == 0; r++)
				if (context_row_token(c, t) == h->rivals[r])
					rc = add_place(h, i, t, r, err);
	}
	return rc;
}

static int by_rival_and_hash(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->rival != y->rival)
		return x->rival < y->rival ? -1 : 1;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->token < y->token ? -1 : x->token > y->token;
}

static int by_round(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->round != y->round)
		return x->round < y->round ? -1 : 1;
	return x->rival < y->rival ? -1 : x->rival > y->rival;
}

/* Rivals in turn, each one's places in the order of their hashes. */
static void take_turns(struct places *p)
{
	if (!p->n)
		return;
	qsort(p->items, p->n, sizeof(*p->items), by_rival_and_hash);
	for (size_t i = 1; i < p->n; i++)
		p->items[i].round =
		        p->items[i].rival == p->items[i - 1].rival ? p->items[i - 1].round + 1 : 0;
	qsort(p->items, p->n, sizeof(*p->items), by_round);
}

/* ---- Windows ---------------------------------------------------------------------------------------------------------- */

static void mark_rival(float *value, const store_window *w, const struct hunt *h, const struct place *at)
{
	uint32_t rival = h->rivals[at->rival];
	size_t begin, n;

	if (h->o->by == STORE_HARD_TOKEN) {
		for (uint32_t i = 0; i < w->length; i++)
			value[i] = w->token[i] == rival;
		return;
	}
	n = places_in(&begin, h->cache, rival, at->context);
	for (size_t i = begin; i < begin + n; i++) {
		uint32_t token = h->cache->places[i].token;

		if (token >= w->first && token < w->first + w->length)
			value[token - w->first] = 1;
	}
}

static int take(struct window_list *list, const struct hunt *h, arena *mem, error *err)
{
	store_window w;
	float *value;
	uint32_t first, length;
	int rc = 0;

	for (size_t i = 0; i < h->found.n && list->n < h->o->want && rc == 0; i++) {
		const struct place *at = &h->found.items[i];
		const firing_context *c = &h->cache->contexts[at->context];

		if (window_list_has_context(list, c->row.id))
			continue;
		length = window_around(&first, h, c, at->token);
		rc = window_make(&w, &value, &c->row, first, length, mem, err);
		if (rc < 0 || window_list_has_tokens(list, w.token, w.length))
			continue;
		w.peak = at->token - first;
		mark_rival(value, &w, h, at);
		rc = window_list_add(list, &w, err);
	}
	return rc;
}

int store_windows_hard(store_window **out, size_t *n, store *s, const store_hard_opts *o, arena *mem,
                       error *err)
{
	struct window_list list = { 0 };
	struct hunt h = { .o = o, .key = hash64_mix(o->seed + 3 + o->by, o->feature) };
	int rc;

	if (o->length == 0)
		return error_set(err, ERR_ARG, "a window of 0 tokens");
	rc = firing_cache_get(&h.cache, s, o->source, err);
	if (rc == 0 && o->feature >= h.cache->n_features)
		rc = error_set(err, ERR_ARG, "feature %u is out of range: the source has features 0-%u",
		               o->feature, h.cache->n_features - 1);
	if (rc == 0)
		rc = find_rivals(&h, s, err);
	if (rc == 0)
		rc = o->by == STORE_HARD_TOKEN ? find_tokens(&h, err) : find_firing(&h, err);
	take_turns(&h.found);
	if (rc == 0)
		rc = take(&list, &h, mem, err);
	if (rc == 0)
		rc = window_list_finish(out, n, &list, mem, err);
	free(h.found.items);
	window_list_clear(&list);
	return rc;
}
