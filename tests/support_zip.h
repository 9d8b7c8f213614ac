/* Zip archives made by the tests, right ones, with the places where to make them wrong. */
#ifndef GLOSS_SUPPORT_ZIP_H
#define GLOSS_SUPPORT_ZIP_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

enum { ZIP_MADE_MAX = 16 };

typedef struct made_member {
	const char *name;
	const void *data;
	size_t n;
	bool deflate;
} made_member;

typedef struct made_zip {
	unsigned char *bytes; /* malloc'd */
	size_t n;
	size_t local[ZIP_MADE_MAX]; /* where the header before each member's bytes begins */
	size_t data[ZIP_MADE_MAX];  /* where its bytes do */
	size_t entry[ZIP_MADE_MAX]; /* where its description in the directory does */
	size_t end64, end;          /* where the records at the end do; end64 only with zip64 */
} made_zip;

/* `zip64`: with 64-bit sizes throughout, as NumPy and torch have. */
made_zip zip_make(const made_member *m, size_t n, bool zip64);
void zip_free(made_zip *z);
/* The lowest `size` bytes of a number, at this place. */
void zip_patch(made_zip *z, size_t at, uint64_t value, size_t size);
/* The bytes of a .npy, version 1; malloc'd. */
unsigned char *npy_make(size_t *n, const char *dict, const void *data, size_t n_data);

#endif
