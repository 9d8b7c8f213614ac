/* Windows of tokens being gathered: what windows.c and hard_windows.c share. */
#ifndef GLOSS_STORE_WINDOW_LIST_H
#define GLOSS_STORE_WINDOW_LIST_H

#include "store/query_internal.h"

/* The text of each is known by its token ids. Start with {0}. */
struct window_list {
	store_window *items; /* malloc'd until handed over */
	uint64_t *hashes;
	size_t n, cap, hash_cap;
};
void window_list_clear(struct window_list *list);
bool window_list_has_tokens(const struct window_list *list, const uint32_t *tokens, uint32_t n);
bool window_list_has_context(const struct window_list *list, int64_t context);
int window_list_add(struct window_list *list, const store_window *w, error *err) MUST_USE;
/* The list as an array in `mem`. */
int window_list_finish(store_window **out, size_t *n, const struct window_list *list, arena *mem,
                       error *err) MUST_USE;

/* A window of a context with its ids, texts and zero values (*values, to be filled), all in `mem`. */
int window_make(store_window *out, float **values, const context_row *c, uint32_t first, uint32_t length,
                arena *mem, error *err) MUST_USE;

/* Rows that were left out have no codes, so they verify nothing: a window may hold a few (the first token of a context is
 * one in most dumps), not consist of them. */
bool window_counts(const firing_context *c, uint32_t first, uint32_t length);
/* Whether one of the places (n) of a context is in the window. */
bool window_fires_in(const firing_place *places, size_t n, uint32_t first, uint32_t length);

#endif
