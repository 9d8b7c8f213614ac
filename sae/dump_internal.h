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

/* A set of row numbers: one bit a row, and the number of members before each block of ROWSET_BLOCK rows. */
enum { ROWSET_BLOCK = 512 };
typedef struct rowset {
	uint64_t *bits;
	uint64_t *before; /* (blocks + 1); filled by rowset_count() */
	uint64_t n_rows, n_blocks;
} rowset;
int rowset_init(rowset *s, uint64_t n_rows, error *err) MUST_USE; /* empty */
void rowset_clear(rowset *s);
bool rowset_has(const rowset *s, uint64_t row);
void rowset_add(rowset *s, uint64_t row);
void rowset_remove(rowset *s, uint64_t row);
void rowset_count(rowset *s); /* after the last change, before the two below */
uint64_t rowset_size(const rowset *s);
uint64_t rowset_select(const rowset *s, uint64_t i); /* the i-th member, i < rowset_size() */

/* A context: n rows from row `first` of the dump on. */
typedef struct dump_context {
	uint64_t first;
	uint32_t n;
} dump_context;

struct sae_dump {
	sae_dump_info info;
	sae_file **files;
	size_t n_files, cap_files;
	dump_spans rows, tokens;
	cJSON *manifest;     /* NULL: none */
	char *manifest_path; /* the file that it came from; NULL: none */
	/* Ragged dumps: where the contexts lie, ascending, and the rows that are real tokens. NULL and empty: all of them, in contexts
	 * of ctx_len. */
	dump_context *contexts; /* (n_contexts) */
	rowset real;
	bool side_by_side; /* contexts come one behind the other, without padding: ctx_len tells nothing of where they lie */
	rowset other_role;   /* rows that are of no role asked for; without bits where none is */
	uint64_t *documents; /* (n_contexts), or NULL */
	uint32_t width;      /* of its own rows; info.d_in is that of all inputs side by side */
	sae_dump *beside
	        [SAE_PARTS_MAX]; /* further inputs, then the target; owned, and without others themselves */
	size_t n_beside;
	bool has_target;
};

/* The bytes of rows first..first+n-1 as the files hold them, for hashing; n * row_bytes of room. */
int dump_read_raw(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err) MUST_USE;
/* Tell the system how those bytes will be used: POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED. Only a hint. */
void dump_advise(const sae_dump *d, uint64_t first, uint64_t n, int advice);
/* Token ids of rows first..first+n-1; the dump must have tokens. */
int dump_read_tokens(const sae_dump *d, uint64_t first, uint64_t n, uint32_t *out, error *err) MUST_USE;
size_t dump_row_bytes(const sae_dump *d);
/* Of a dump that others were added to, all of this is of rows side by side, the target's last; these are of its own alone. */
size_t dump_own_bytes(const sae_dump *d);
int dump_read_own_raw(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err) MUST_USE;
int dump_read_own(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err) MUST_USE;
void dump_advise_own(const sae_dump *d, uint64_t first, uint64_t n, int advice);
/* "row 1234 (context 4, position 210) of 'shard'", for messages. */
void dump_place(char *out, size_t size, const sae_dump *d, uint64_t row);

/* ---- dump_beside.c ---------------------------------------------------------------------------------------------------- */

size_t dump_n_parts(const sae_dump *d); /* itself, and those added */
const sae_dump *dump_part(const sae_dump *d, size_t i);
bool dump_part_is_target(const sae_dump *d, size_t i);
/* n rows as dump_read_raw() gives them to F32: inputs to x (n, info.d_in), the target's, if there is one, to y (n, its width). */
void dump_convert(const sae_dump *d, const void *raw, uint64_t n, float *x, float *y);
int dump_read_raw_beside(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err) MUST_USE;
int dump_read_beside(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err) MUST_USE;

/* ---- contexts.c ----------------------------------------------------------------------------------------------------- */

/* Tensors with a value a row, or a context, in the order of the shards or of files of their own. */
int dump_add_file(sae_file **out, sae_dump *d, const char *path, const sae_dump_opts *o /* NULL: none */,
                  error *err) MUST_USE; /* the dump closes it */
int dump_add_span(dump_spans *s, sae_file *f, const sae_tensor *t, uint64_t n, error *err) MUST_USE;
/* The tensor of this name from all shards, or from none. rows: it must have as many values as its shard has rows. */
int spans_from_shards(dump_spans *out, const sae_dump *d, const char *name, bool rows, error *err) MUST_USE;
/* Whether they are whole numbers of the right shape: (rows) or (contexts, ctx_len), which tells ctx_len where nothing did, and as
 * many as the dump has rows; or, not `rows`, any number of them. */
int spans_check(const dump_spans *s, sae_dump *d, const char *name, bool rows, error *err) MUST_USE;
typedef int span_value(void *payload, const dump_span *s, uint64_t i, int64_t value, error *err);
int spans_each(const dump_spans *s, span_value *take, void *payload, error *err) MUST_USE; /* in order */

/* With n_rows known, and ctx_len where something tells it: n_contexts, ctx_len, and where they lie. */
int contexts_load(sae_dump *d, const sae_dump_opts *o, error *err) MUST_USE;
/* Then, with documents: contexts without a real token go, and info tells of the rest. */
void contexts_drop_empty(sae_dump *d);
/* The i-th row that is a real token. */
uint64_t dump_real_row(const sae_dump *d, uint64_t i);
/* For hashing, of each of n rows: bit 0, it is a real token; bit 1, it is in a context; bit 2, it is the first there. */
void dump_row_marks(const sae_dump *d, uint64_t first, uint64_t n, uint8_t *out);
/* Rows of other roles than o->roles to d->other_role (roles.c). */
int roles_load(sae_dump *d, const sae_dump_opts *o, error *err) MUST_USE;

/* Load the manifest `path` names (of several hook points that of the tensor `key`), else dump.json beside the first shard, else what that shard's metadata says; fills
 * d->manifest and the fields of d->info it speaks of. info.ctx_len stays 0 where nothing tells. */
int manifest_load(sae_dump *d, const char *path, const char *key, error *err) MUST_USE;
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
