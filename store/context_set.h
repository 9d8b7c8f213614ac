/* Contexts that lines of a file name: by number, or by words. */
#ifndef GLOSS_STORE_CONTEXT_SET_H
#define GLOSS_STORE_CONTEXT_SET_H

#include "store/query_internal.h"

typedef struct context_set {
	int64_t *ids; /* (n) ascending, each once */
	size_t n, cap;
	size_t empty_lines; /* that name no context */
} context_set;
/* Contexts of `source`: a line of digits is the number of one, another is a query for words as of store_find_text(); blank lines
 * are skipped. `name` says in messages what the lines are of. ERR_FORMAT: not a query; ERR_NOTFOUND: no such context.
 * context_set_clear() also after a failure. */
int context_set_read(context_set *set, store *s, const store_source *source, const char *const *lines,
                     size_t n, const char *name, error *err) MUST_USE;
bool context_set_has(const context_set *set, int64_t id);
void context_set_clear(context_set *set); /* fine on a zeroed struct */

/* Add the contexts of `source` that hold the words; every one (find_text.c). */
int find_text_contexts(context_set *set, store *s, const store_source *source, const char *words,
                       error *err) MUST_USE;

#endif
