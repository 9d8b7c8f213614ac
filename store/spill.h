/* Blocks of bytes that an index run has to remember until its end: in memory up to a limit, then in an unlinked file. */
#ifndef GLOSS_STORE_SPILL_H
#define GLOSS_STORE_SPILL_H

#include "base/base.h"

typedef struct spill {
	int fd; /* -1: nothing has gone to the file yet */
	char path[FILE_PATH_MAX];
	unsigned char *buffer;
	size_t used, size;
	uint64_t flushed; /* bytes in the file */
} spill;
/* size: bytes kept in memory. The file is made at `path` when they are full, and has no name from then on. */
int spill_init(spill *s, const char *path, size_t size, error *err) MUST_USE;
void spill_clear(spill *s); /* fine on a zeroed struct */
/* *at: where the n bytes, up to `size`, can be read again. ERR_IO: the disk is full, ... */
int spill_add(uint64_t *at, spill *s, const void *p, size_t n, error *err) MUST_USE;
int spill_read(void *out, const spill *s, uint64_t at, size_t n, error *err) MUST_USE;

#endif
