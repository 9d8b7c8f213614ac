/* Windows being gathered, and what makes a silent one. */
#include "store/window_list.h"

void window_list_clear(struct window_list *list)
{
	free(list->items);
	free(list->hashes);
}

static uint64_t tokens_hash(const uint32_t *tokens, uint32_t n)
{
	return hash64(tokens, n * sizeof(*tokens), 0);
}

bool window_list_has_tokens(const struct window_list *list, const uint32_t *tokens, uint32_t n)
{
	uint64_t hash = tokens_hash(tokens, n);

	for (size_t i = 0; i < list->n; i++)
		if (list->hashes[i] == hash && list->items[i].length == n &&
		    memcmp(list->items[i].token, tokens, n * sizeof(*tokens)) == 0)
			return true;
	return false;
}

bool window_list_has_context(const struct window_list *list, int64_t context)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].context == context)
			return true;
	return false;
}

int window_list_add(struct window_list *list, const store_window *w, error *err)
{
	if (mem_grow(&list->items, &list->cap, list->n + 1, sizeof(*list->items)) < 0 ||
	    mem_grow(&list->hashes, &list->hash_cap, list->n + 1, sizeof(*list->hashes)) < 0)
		return error_nomem(err, "windows");
	list->hashes[list->n] = tokens_hash(w->token, w->length);
	list->items[list->n++] = *w;
	return 0;
}

int window_list_finish(store_window **out, size_t *n, const struct window_list *list, arena *mem, error *err)
{
	store_window *windows = arena_alloc(mem, list->n ? list->n : 1, sizeof(*windows));

	if (!windows)
		return error_nomem(err, "windows");
	if (list->n)
		memcpy(windows, list->items, list->n * sizeof(*windows));
	*out = windows;
	*n = list->n;
	return 0;
}

static uint32_t *copy_tokens(const context_row *c, uint32_t first, uint32_t length, arena *mem)
{
	uint32_t *tokens = arena_alloc(mem, length, sizeof(*tokens));

	for (uint32_t i = 0; tokens && i < length; i++)
		tokens[i] = context_row_token(c, first + i);
	return tokens;
}

int window_make(store_window *out, float **values, const context_row *c, uint32_t first, uint32_t length,
                arena *mem, error *err)
{
	store_window w = { .context = c->id,
		           .group = c->group,
		           .part = c->part,
		           .first = first,
		           .length = length,
		           .peak = length / 2,
		           .weight = 1 };

	w.token = copy_tokens(c, first, length, mem);
	w.text = context_row_texts(c, first, length, mem);
	*values = arena_alloc(mem, length, sizeof(**values));
	w.value = *values;
	if (!w.token || !w.text || !w.value)
		return error_nomem(err, "a window");
	*out = w;
	return 0;
}

bool window_counts(const firing_context *c, uint32_t first, uint32_t length)
{
	uint32_t counted = 0;

	for (uint32_t i = first; i < first + length; i++)
		counted += bit_is_set(c->counted, i);
	return counted >= length - length / 4;
}

bool window_fires_in(const firing_place *places, size_t n, uint32_t first, uint32_t length)
{
	for (size_t i = 0; i < n; i++)
		if (places[i].token >= first && places[i].token < first + length)
			return true;
	return false;
}
