/* The inside of a dump, for dump.c, dump_read.c, dump_shape.c, manifest.c and rows.c. */
#ifndef GLOSS_SAE_DUMP_INTERNAL_H
#define GLOSS_SAE_DUMP_INTERNAL_H

#include "sae/file_internal.h"

/* Where the rows of a tensor lie: row r begins at value first + r / rows * group + r % rows * row. */
typedef struct dump_layout {
	uint64_t first, row, rows, group;
	bool plain; /* one behind the other from value 0 on */
} dump_layout;

/* What the shape of an activations tensor means. */
typedef struct dump_shape {
	uint64_t n_rows, d;
	uint64_t ctx_len; /* 0: the shape does not tell */
	uint32_t n_heads;
	int head; /* as in sae_dump_info */
	dump_layout at;
} dump_shape;
/* ERR_FORMAT, ERR_ARG name the tensor and what does not fit. */
int dump_shape_of(dump_shape *out, const sae_file *f, const sae_tensor *t, const sae_dump_opts *o,
                  error *err) MUST_USE;

/* A run of rows in one file: d_in values a row of activations, or one token id a row. */
typedef struct dump_span {
	sae_file *file;    /* owned by the dump's list of files */
	sae_tensor tensor; /* dtype as it is to be read */
	uint64_t first, n; /* rows of the whole dump */
	uint64_t ctx_len;  /* of activations: what their shape says; 0: nothing */
	dump_layout at;    /* of activations */
} dump_span;

typedef struct dump_spans {
	dump_span *items;
	size_t n, cap;
} dump_spans;

struct sae_dump {
	sae_dump_info info;
	sae_file **files;
	size_t n_files, cap_files;
	dump_spans rows, tokens;
	cJSON *manifest;     /* NULL: none */
	uint64_t *documents; /* (n_contexts), or NULL */
};

/* The bytes of rows first..first+n-1 as the files hold them, for hashing; n * row_bytes of room. */
int dump_read_raw(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err) MUST_USE;
/* Tell the system how those bytes will be used: POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED. Only a hint. */
void dump_advise(const sae_dump *d, uint64_t first, uint64_t n, int advice);
/* Token ids of rows first..first+n-1; the dump must have tokens. */
int dump_read_tokens(const sae_dump *d, uint64_t first, uint64_t n, uint32_t *out, error *err) MUST_USE;
size_t dump_row_bytes(const sae_dump *d);
/* "row 1234 (context 4, position 210) of 'shard'", for messages. */
void dump_place(char *out, size_t size, const sae_dump *d, uint64_t row);

/* Load the manifest `path` names, else dump.json beside the first shard, else what that shard's metadata says; fills
 * d->manifest and the fields of d->info it speaks of. info.ctx_len stays 0 where nothing tells. */
int manifest_load(sae_dump *d, const char *path, error *err) MUST_USE;
/* Once n_contexts is known: d->documents from the manifest. */
int manifest_documents(sae_dump *d, error *err) MUST_USE;

/* Expand files, folders and glob patterns to the files to try, in name order. `listed` of a result: it was found in a
 * folder or by a pattern, so it may be passed over when it holds no activations. */
typedef struct dump_path {
	char *path;
	bool listed;
} dump_path;
typedef struct dump_paths {
	dump_path *items;
	size_t n, cap;
} dump_paths;
int dump_paths_expand(dump_paths *out, const char *const *paths, size_t n, error *err) MUST_USE;
void dump_paths_clear(dump_paths *p);

#endif
