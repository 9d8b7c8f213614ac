/* Zip archives, as .npz and torch's .pt files are: where each member lies, checked before it is believed, and its bytes.
 * libzip, which writes ours, does not tell where a stored member begins; these are read in place, as fast as any file. */
#ifndef GLOSS_SAE_ARCHIVE_H
#define GLOSS_SAE_ARCHIVE_H

#include "base/base.h"

typedef struct archive_member {
	const char *name;     /* relative, without "..", unique in the archive; printable */
	uint64_t header;      /* where its local header lies */
	uint64_t offset;      /* of its first byte in the file */
	uint64_t packed_size; /* in the file */
	uint64_t size;        /* unpacked; the same where it is stored */
	uint32_t crc;         /* CRC-32 of the unpacked bytes */
	bool deflated;        /* else stored as it is */
	uint64_t start;       /* bytes that were read ahead (a header), and their CRC: a read from there on */
	uint32_t start_crc;   /* counts as one from the beginning */
} archive_member;

typedef struct archive {
	archive_member *members; /* by name; folders are left out */
	size_t n;
	bool crc_may_lack;           /* a CRC of 0 says that none was computed (torch has an option for it) */
	struct archive_cursor *last; /* where the last read left off; internal */
} archive;

/* Read the directory of the zip archive open at `fd`, `size` bytes long. Everything lives in `mem` but what archive_close()
 * ends. ERR_FORMAT: truncated, members that overlap or lie outside, names that leave the folder, a name twice, encryption,
 * methods other than stored and deflate, sizes that contradict each other or that deflate cannot reach (1032 : 1). */
int archive_open(archive **out, int fd, uint64_t size, const char *path, arena *mem, error *err) MUST_USE;
void archive_close(archive *a);
/* NULL: none of that name. */
const archive_member *archive_find(const archive *a, const char *name);
/* The n bytes from `offset` on of the unpacked member; `fd` and `path` as at open. Reads of a deflated member that go on where
 * the last one ended continue it, others start it anew. The CRC of a deflated member is checked with its last bytes, that of a
 * stored one with the read after which all of it was read in pieces that meet: ERR_FORMAT. Safe from several threads. */
int archive_read(archive *a, const archive_member *m, uint64_t offset, void *out, size_t n, int fd,
                 const char *path, error *err) MUST_USE;
/* The member's first bytes, or those that follow on them, were read and are these. Before the archive is used by anybody else. */
void archive_start(archive *a, archive_member *m, const void *bytes, size_t n);

/* For archive.c: the state of archive_read.c. NULL: no memory. */
struct archive_cursor *archive_cursor_new(void) MUST_USE;
void archive_cursor_free(struct archive_cursor *c);

#endif
