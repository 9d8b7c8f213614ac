/* The files that gloss import reads. */
#ifndef GLOSS_CLI_IMPORT_FILES_H
#define GLOSS_CLI_IMPORT_FILES_H

#include "base/base.h"

typedef struct import_files {
	const char **paths; /* (n), in `mem` */
	size_t n, cap;
	arena mem;
} import_files;
/* Add `path`: a file; or a folder, of which go the explanations: its .jsonl and .jsonl.gz files in the order of the numbers in their names;
 * else those in its folder `explanations`, or of the one source in its folder `v1`. ERR_NOTFOUND: there are none; ERR_ARG: several
 * sources. */
int import_files_add(import_files *f, const char *path, error *err) MUST_USE;
void import_files_clear(import_files *f);

#endif
