/* A file that is made beside its place, as PATH.part, and comes there whole or not at all. */
#ifndef GLOSS_STORE_BESIDE_H
#define GLOSS_STORE_BESIDE_H

#include "base/base.h"

typedef struct beside {
	char path[FILE_PATH_MAX], part[FILE_PATH_MAX];
	int lock; /* descriptor of the part; -1: not open */
} beside;
/* Make an empty, locked PATH.part; what an earlier run left there and beside it (journals, PATH.part-whole) is
 * thrown away.
 *   force    replace a file at `path`, unless it is a database in use
 *   inputs   (n) files that are read meanwhile: neither `path` nor the part may be one of them
 * ERR_EXISTS, ERR_ARG (an input), ERR_BUSY (in use; another run makes it), ERR_IO. */
int beside_open(beside *b, const char *path, bool force, const char *const *inputs, size_t n,
                error *err) MUST_USE;
/* ERR_LIMIT: fewer than `bytes` are free there. */
int beside_check_space(const beside *b, uint64_t bytes, error *err) MUST_USE;
/* Sync and rename. After a failure end with beside_abort(). */
int beside_commit(beside *b, error *err) MUST_USE;
void beside_abort(beside *b); /* fine after commit, and on a struct with lock -1 */

/* Open and lock the file `part`, empty it, and remove what is left beside it. ERR_BUSY, naming `path`: another run holds it. */
int beside_lock(int *lock, const char *part, const char *path, error *err) MUST_USE;

#endif
