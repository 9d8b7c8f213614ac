/* sae: activation dumps, sparse autoencoders, their training, encoding and metrics. Knows nothing of SQLite.
 * Shapes are written (rows, columns), row-major. d = d_in, F = d_sae features, k = features kept a token. */
#ifndef GLOSS_SAE_H
#define GLOSS_SAE_H

#include "base/base.h"

/* ---- Tensor containers (safetensors.c, npy.c, npz.c, torch.c) -------------------------------------------------------------------- */

typedef enum sae_dtype {
	SAE_F16,
	SAE_BF16,
	SAE_F32,
	SAE_F64,
	SAE_I8,
	SAE_I16,
	SAE_I32,
	SAE_I64,
	SAE_U8,
	SAE_U16,
	SAE_U32,
	SAE_U64,
	SAE_BOOL
} sae_dtype;
size_t sae_dtype_size(sae_dtype t);
const char *sae_dtype_name(sae_dtype t); /* "F16", as safetensors writes it */

#define SAE_MAX_DIMS 8
typedef struct sae_tensor {
	const char *
	        name; /* owned by the file; "" in .npy, without its ".npy" in .npz; "outer.inner" for nested dicts in .pt */
	sae_dtype dtype;
	unsigned n_dims;
	uint64_t dims[SAE_MAX_DIMS];
	uint64_t count; /* product of dims, checked */
	/* The rest is for the readers of this folder. */
	uint64_t offset; /* of the first byte: in the file, or, where `packed`, in the unpacked member */
	uint32_t member; /* of an archive, from 1; 0: no archive */
	bool packed;     /* the member is deflated */
	bool turned; /* runs are columns of the (run, count / run) matrix, else rows of (count / run, run) */
	uint64_t run,
	        pitch; /* elements that lie together, and from one such run to the next; 0: all lie together */
	const void *
	        value; /* the elements themselves, owned by the file, where it does not hold them so (a number in .pt) */
} sae_tensor;

/* An open .safetensors, .npy, .npz or .pt file (by its first bytes, not its name). Everything in the header is checked before
 * it is believed: header length against the file's and against 100 MB, JSON depth, dtypes, shape products, offsets inside the
 * file, equal to the shape's size and not overlapping. Reads by pread; safe from several threads.
 *   .npz  each member NAME.npy is the tensor NAME; text (a SciPy matrix's "format") is left out. Deflated members are
 *         inflated while they are read: fast in order only.
 *   .pt   what torch.save() wrote of dicts and lists of plain tensors, numbers and text: nested ones as "outer.inner", "list.0";
 *         numbers and lists of them are tensors (I64, F64, BOOL), text is metadata, None is left out. A lone tensor is "".
 *         Nothing is executed; what asks for anything else is refused.
 * Transposed tensors (Fortran order of two dimensions; torch's strides) are put in order while they are read: many rows at a
 * time take one pass over the file. */
typedef struct sae_file sae_file;
int sae_file_open(sae_file **out, const char *path, error *err) MUST_USE;
void sae_file_close(sae_file *f);
const char *sae_file_path(const sae_file *f);
const char *sae_file_format(const sae_file *f); /* "safetensors", "npy", "npz", "pt" */
size_t sae_file_n_tensors(const sae_file *f);
const sae_tensor *sae_file_tensor_at(const sae_file *f, size_t i);
const sae_tensor *sae_file_tensor(const sae_file *f, const char *name); /* NULL: none of that name */
const char *sae_file_metadata(const sae_file *f,
                              const char *key); /* safetensors __metadata__, text in .pt; NULL: none */
/* The i-th of them: its key, and in *value its text; NULL past the last. */
const char *sae_file_metadata_at(const sae_file *f, size_t i, const char **value);
/* `n` elements from element `first`, converted to F32 (floats) or I64 (integers; U64 past I64 is ERR_FORMAT). */
int sae_file_read_f32(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, float *out,
                      error *err) MUST_USE;
int sae_file_read_i64(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, int64_t *out,
                      error *err) MUST_USE;

/* Write tensors (all F32 or I32/I64 as given) as one .safetensors file, atomically. metadata: flat string pairs
 * {key, value, ...}, 2 * n_meta of them. */
typedef struct sae_tensor_out {
	const char *name;
	sae_dtype dtype;
	unsigned n_dims;
	uint64_t dims[SAE_MAX_DIMS];
	const void *data;
} sae_tensor_out;
int sae_safetensors_write(const char *path, const sae_tensor_out *t, size_t n, const char *const *metadata,
                          size_t n_meta, error *err) MUST_USE;
/* Convert between 16-bit and 32-bit floats; exact where F32 holds it, round to nearest even the other way. */
void sae_f16_to_f32(float *out, const uint16_t *in, size_t n);
void sae_bf16_to_f32(float *out, const uint16_t *in, size_t n);
void sae_f32_to_f16(uint16_t *out, const float *in, size_t n);

/* ---- Dumps (dump.c) -------------------------------------------------------------------------------------------------- */

typedef struct sae_dump_opts {
	/* tensor that holds the activations; NULL: "activations", or the only float tensor */
	const char *key;
	const char *tokens; /* .npy or .safetensors with the token ids, where the shards have none */
	/* "f16", "bf16", "f32", "f64": of raw files, and bf16 for BF16 stored as 2-byte integers; other files must agree. NULL: as the
	 * file says */
	const char *dtype;
	uint32_t
	        d_in; /* values in a row of raw files; other files must agree; 0: as the file or its side file says */
	/* "H" or "H/N": only the values of head H, from 0, of rows (heads, d_head), or of rows that hold N heads side by side;
	 * NULL: all heads side by side */
	const char *head;
	/* NULL: dump.json beside the first shard, or the safetensors metadata key "dump" */
	const char *manifest;
	/* for (rows, d) dumps whose files do not tell; 0: from tokens or manifest, else one context a row-block of 1 */
	uint32_t ctx_len;
	/* .npy, .safetensors or raw files with mask and lengths, where the shards have none */
	const char *mask, *lengths;
	/* (n_roles) names or numbers, also several apart by commas: rows of other roles are left out; 0: all count */
	const char *const *roles;
	size_t n_roles;
} sae_dump_opts;

typedef struct sae_dump_info {
	uint64_t n_rows; /* all rows; = n_contexts * ctx_len where not ragged */
	uint32_t d_in;
	uint64_t n_contexts;
	uint32_t ctx_len;
	bool ragged;                /* contexts differ in length (at most ctx_len), or rows are masked */
	uint32_t shortest, longest; /* where ragged */
	uint64_t n_masked;          /* rows that are no real token: padding, or masked inside a context */
	sae_dtype dtype;
	uint32_t n_heads; /* heads in a row on disk; 0: the files and options name none */
	int head;         /* the one that is read, of d_in values; -1: all, side by side */
	size_t n_shards;
	uint64_t n_bytes; /* of all shards */
	bool has_tokens;
	const char *model, *hook_point; /* from the manifest; NULL: not given */
	int layer;                      /* -1: not given */
	const char *tokenizer_sha256;   /* NULL: not given */
} sae_dump_info;

/* Shards in name order (raw files: by the numbers in their names). A path is a file, a folder (its .safetensors, or else .npy,
 * .bin and .memmap, or else .npz, .pt or .pth files whose activations tensor fits; `.part` files, and files without the
 * tensor, such as an unembedding, are passed over) or a glob pattern.
 * All shards must have the same d, dtype kind and ctx_len: ERR_FORMAT names the shard that differs. No rows: ERR_FORMAT. */
typedef struct sae_dump sae_dump;
int sae_dump_open(sae_dump **out, const char *const *paths, size_t n_paths, const sae_dump_opts *o,
                  error *err) MUST_USE;
void sae_dump_close(sae_dump *d);
const sae_dump_info *sae_dump_get_info(const sae_dump *d);
const char *sae_dump_shard(const sae_dump *d, size_t i, uint64_t *n_rows); /* path and rows of shard i */
/* out (n, d) F32, rows first..first+n-1 of the whole dump. Safe from several threads. */
int sae_dump_read(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err) MUST_USE;
/* Ragged contexts. A tensor `lengths` (contexts) says how many rows each has: side by side where they add up to all rows, else
 * each at the beginning of its ctx_len rows. `mask` (rows) or (contexts, ctx_len) is 1 for a real token: a context goes from its
 * first to its last one, and rows between that are masked stay in it, but never count. With `attention_mask` too, that says where
 * contexts end. Contexts without a real token are dropped; numbers of contexts do not count them. */
/* The number of rows of context c, at most ctx_len, and the first of them. */
uint32_t sae_dump_context(const sae_dump *d, uint64_t context, uint64_t *first);
/* The context of a row and its place in it; false: it is padding, in none. */
bool sae_dump_where(const sae_dump *d, uint64_t row, uint64_t *context, uint32_t *position);
bool sae_dump_masked(const sae_dump *d, uint64_t row); /* no real token */
/* Token ids of context c, out (its rows). ERR_NOTFOUND: the dump has no tokens. Negative ids or ids over 2^31 - 1: ERR_FORMAT. */
int sae_dump_tokens(const sae_dump *d, uint64_t context, uint32_t *out, error *err) MUST_USE;
/* The manifest's document id of a context; the context's number where there is none. */
uint64_t sae_dump_document(const sae_dump *d, uint64_t context);
/* Dumps of the same tokens, row by row, as one (dump_beside.c): each added input makes rows longer (info.d_in), as a crosscoder
 * takes them; the rows of the target, added last, are read beside them for a transcoder. All that is not of rows (contexts,
 * tokens, documents, manifest) is the first's. Of the reads, sae_dump_read() gives the inputs; sae_rows_scan() leaves a row out
 * that any of them has out of bounds, each by its own norms. */
enum { SAE_PARTS_MAX = 64 };
/* `other` is d's to close from then on. ERR_ARG: rows or tokens differ (the first that does is named), or too many. */
int sae_dump_add(sae_dump *d, sae_dump *other, bool target, error *err) MUST_USE;
const sae_dump *sae_dump_target(const sae_dump *d); /* NULL: none */
size_t sae_dump_n_inputs(const sae_dump *d);
/* The i-th of the inputs, then the target: first d itself, whose own rows are `width` of info.d_in. */
const sae_dump *sae_dump_part(const sae_dump *d, size_t i, uint32_t *width);
/* Whether the files are still there and whole: ERR_IO, ERR_FORMAT name the one that has gone, shrunk or was replaced. */
int sae_dump_check(const sae_dump *d, error *err) MUST_USE;
/* The manifest as given, for records; NULL: none. */
const cJSON *sae_dump_manifest(const sae_dump *d);

/* ---- Which rows count (rows.c) and who is held out (split.c) ---------------------------------------------------------- */

typedef struct sae_rows_opts {
	double max_norm_ratio; /* rows with norm over this times the median are left out; 0 keeps them. 10 */
	bool nan_fail; /* a row with NaN or Inf is an error (with its place) instead of being left out */
	/* token ids whose rows are left out; ids beyond the vocabulary are just not met */
	const uint32_t *exclude_tokens;
	size_t n_exclude_tokens;
	const uint32_t *exclude_positions; /* positions in the context whose rows are left out */
	size_t n_exclude_positions;
	double norm_limit; /* over 0: rows with norm over this are left out, whatever the median: the limit an SAE was trained with */
	/* the same for dumps added to the first (sae_dump_add()), in their order; fewer than there are: the median's for the rest */
	const double *more_limits;
	size_t n_more_limits;
} sae_rows_opts;

typedef struct sae_rows_stats {
	uint64_t n_rows, n_kept;
	uint64_t n_masked; /* no real tokens; they are not among what is left out for other reasons */
	uint64_t n_role;   /* left out for their role */
	uint64_t n_outlier, n_nan, n_token, n_position,
	        n_zero; /* left out for norm, NaN/Inf, token, position; n_zero: kept rows of norm 0 (information) */
	/* rows equal to an earlier one by 64-bit hash (information); only when asked for */
	uint64_t n_duplicate;
	double median_norm; /* of a sample of up to 65,536 rows chosen by hash of the row number */
	double norm_limit;  /* max_norm_ratio * median; infinity when off */
	double more_limits
	        [SAE_PARTS_MAX]; /* the same of each dump that was added to the first, which these medians are of */
	size_t n_more_limits;
	double mean_norm, rms_norm, max_norm; /* of kept rows; max_norm over all finite rows */
	double total_variance;                /* mean over kept rows of squared distance from their mean */
	double gamma; /* norm of the mean / root of total_variance: high values foretell dead features */
	/* of shapes, dtype, activations and tokens in order: the same dump in other shards has the same hash */
	char sha256[SHA256_HEX];
} sae_rows_stats;

/* One streaming pass over the dump. Memory: two bits a row, O(d) and a few MB a thread. Sums in FP64, order fixed. */
typedef struct sae_rows sae_rows;
int sae_rows_scan(sae_rows **out, const sae_dump *d, const sae_rows_opts *o, bool duplicates, pool *p,
                  progress *pr, error *err) MUST_USE;
void sae_rows_free(sae_rows *r);
const sae_rows_stats *sae_rows_get_stats(const sae_rows *r);
const double *sae_rows_mean(const sae_rows *r); /* (d), of kept rows */
bool sae_rows_kept(const sae_rows *r, uint64_t row);

typedef enum sae_split_by {
	SAE_SPLIT_DOCUMENT, /* whole documents, chosen by hash of (seed, document) until the share is met */
	SAE_SPLIT_TAIL /* the last share of the kept rows in file order: what most peers' scripts do; documents may straddle */
} sae_split_by;

/* Divide the kept rows into train and held out. By document: documents are first joined when they share a run of 24 or
 * more tokens (where the dump has tokens). share 0: nothing held out; 1: everything. */
int sae_rows_split(sae_rows *r, const sae_dump *d, double share, sae_split_by by, uint64_t seed,
                   error *err) MUST_USE;
uint64_t sae_rows_n(const sae_rows *r, bool held_out);
/* Row number of the i-th kept train (or held-out) row, i < sae_rows_n(); O(log rows). */
uint64_t sae_rows_at(const sae_rows *r, bool held_out, uint64_t i);
/* The same dump with `n` of the held-out rows, one from each of n equal stretches of them, and none to train on; all of
 * them when there are not so many. Always the same ones. For sae_eval(). */
int sae_rows_sample(sae_rows **out, const sae_rows *r, uint64_t n, error *err) MUST_USE;
/* Document group of a context: equal for contexts that must not be split; 0..n_groups-1. Valid after sae_rows_split(). */
uint32_t sae_rows_group(const sae_rows *r, uint64_t context);
uint32_t sae_rows_n_groups(const sae_rows *r);

/* Join contexts into document groups: equal sae_dump_document(), or a common run of at least `run` tokens.
 * *groups: malloc'd (n_contexts), numbered in order of first appearance. */
int sae_split_groups(uint32_t **groups, uint32_t *n_groups, const sae_dump *d, uint32_t run,
                     error *err) MUST_USE;

/* ---- Tokenizers (tokenizer.c, sentencepiece.c) ------------------------------------------------------------------------------------------- */

/* A tokenizer.json with a vocabulary of byte-level BPE, SentencePiece's kind (BPE or Unigram) or WordPiece, or SentencePiece's own
 * tokenizer.model (by its content): ids to exact bytes (added and special tokens as their UTF-8 text). What a tokenizer does over
 * token borders (SentencePiece drops the first blank of a text, WordPiece blanks before punctuation) is not undone. */
typedef struct sae_tokenizer sae_tokenizer;
int sae_tokenizer_load(sae_tokenizer **out, const char *path, error *err) MUST_USE;
void sae_tokenizer_free(sae_tokenizer *t);
uint32_t sae_tokenizer_size(const sae_tokenizer *t); /* highest id + 1 */
/* Bytes of an id, not NUL-terminated; *n = 0 for holes. NULL: id out of range. */
const char *sae_tokenizer_bytes(const sae_tokenizer *t, uint32_t id, size_t *n);
bool sae_tokenizer_special(const sae_tokenizer *t, uint32_t id);
const char *sae_tokenizer_sha256(const sae_tokenizer *t); /* of the file */

/* ---- Models (model.c, formats.c) ------------------------------------------------------------------------------------------ */

/* With pre = x W_enc^T + b_enc for a row x as it is prepared (sae_model), the features of a row that are kept, each with the value pre: */
typedef enum sae_arch {
	SAE_TOPK, /* the k largest that are over 0; ties: the lower feature */
	SAE_BATCHTOPK, /* of training only: the k n largest that are over 0 of a batch of n rows. Its model is SAE_JUMPRELU */
	SAE_GROUPMAX, /* the largest of each of k groups of F/k consecutive features, where over 0; ties: the lower feature */
	SAE_JUMPRELU, /* all that are over their feature's threshold */
	SAE_RELU,     /* all that are over 0 */
	/* Matching pursuit: again and again, the feature of the largest <residual, decoder row> over 0 gets that product added to its
	 * value, and the residual loses the product times the row. W_enc is W_dec, b_enc is 0. sae_pursuit says when it ends. */
	SAE_PURSUIT,
	/* Codes of a codebook: in each of its groups, the k of largest pre that are over 0; ties: the lower one. sae_codebook says what pre is. They
	 * are added up as they are, whatever their value. */
	SAE_CODEBOOK,
	/* Of training only: */
	SAE_MATRYOSHKA, /* SAE_BATCHTOPK whose loss is that of several prefixes of the features. Its model is SAE_JUMPRELU */
	SAE_MULTITOPK /* SAE_TOPK with an eighth of the loss of 4 k features. Its model is SAE_TOPK */
} sae_arch;
/* "topk", "batchtopk", "groupmax", "jumprelu", "relu", "matching_pursuit", "codebook", "matryoshka", "multitopk" */
const char *sae_arch_name(sae_arch a);
sae_arch sae_arch_of_model(sae_arch a); /* of what is trained, that of the model which comes out */

/* What is done to a row before all else, and undone behind the decoder (not by a transcoder, whose output is something else). */
typedef enum sae_norm {
	SAE_NORM_NONE,
	SAE_NORM_LAYER, /* its mean taken off, divided by its standard deviation (of d - 1) + 1e-5 */
	SAE_NORM_UNIT   /* scaled to the norm sqrt(d) */
} sae_norm;

typedef struct sae_pursuit { /* a row is done when */
	double residual;     /* its residual's norm is under this; 0: never so */
	uint32_t steps;      /* so many were made; 1 or more */
	bool repeat_ends;    /* a step chose a feature that was there already */
} sae_pursuit;

/* Rows are cut in `groups` equal parts, and F / groups consecutive codes are those of a part. A code is a row of W_dec, 0 outside its part. pre
 * is <x, c> / |c|, or, euclidean, <x, c> - |c|^2 / 2: the order of |x - c|, and over 0 where the code is nearer to the part than 0 is. What
 * comes out is the sum of the codes, or that divided by k. */
typedef struct sae_codebook {
	uint32_t groups;
	bool euclidean, mean;
} sae_codebook;

typedef struct sae_model {
	sae_arch arch;
	uint32_t d_in, d_out, d_sae; /* d_out is d_in but for a transcoder */
	uint32_t k; /* SAE_JUMPRELU, SAE_RELU: the mean number a row that training aimed at; 0: not known */
	float *W_enc; /* (F, d_in): feature-major, the transpose of SAELens's (d, F) on disk; SAE_PURSUIT: W_dec itself */
	float *W_dec;     /* (F, d_out) */
	float *b_enc;     /* (F) */
	float *b_dec;     /* (d_out) */
	float *threshold; /* (F), 0 or more; SAE_JUMPRELU only, else NULL */
	float *W_skip;    /* (d_out, d_in): xhat gains W_skip x of the row as it came; NULL: none */
	sae_norm norm;
	bool centers;    /* b_dec is taken off the row before it is encoded */
	bool transcodes; /* what comes out is not the input but the row of another hook point */
	sae_pursuit pursuit;
	sae_codebook codebook;           /* SAE_CODEBOOK; SAE_NORM_LAYER is of each part then */
	double norm_limit;               /* rows over this norm were left out of training; infinity: none */
	char *model_name, *hook_name;    /* NULL: not known; owned */
	char weights_sha256[SHA256_HEX]; /* of the file of weights; "" but for sae_model_load_hashed() */
} sae_model; /* acts on raw activations x: xhat = f W_dec + b_dec. A model of rows s x becomes one of x by s W_enc, W_dec / s and
              * b_dec / s: pre-activations, and so b_enc, the values f and the threshold, stay as they are. */

/* Zeroed weights, of sae_arch_of_model(). ERR_ARG: SAE_GROUPMAX whose d_sae is no multiple of k. */
int sae_model_new(sae_model **out, sae_arch arch, uint32_t d_in, uint32_t d_sae, uint32_t k,
                  error *err) MUST_USE;
/* The same with a decoder to d_out and, where asked for, W_skip; centers and transcodes are the caller's to set (true, false). */
int sae_model_new_to(sae_model **out, sae_arch arch, uint32_t d_in, uint32_t d_out, uint32_t d_sae,
                     uint32_t k, bool skip, error *err) MUST_USE;
void sae_model_free(sae_model *m);
/* W_enc and b_enc of a SAE_CODEBOOK from its codes. */
void sae_model_set_codes(sae_model *m);
/* A folder of any format of the table in formats.c, or the one file of such a folder. Folds what can be folded exactly; refuses what it
 * cannot compute, naming it. Nothing is allocated before the files' shapes agree with each other. */
int sae_model_load(sae_model **out, const char *path, error *err) MUST_USE;
int sae_model_load_hashed(sae_model **out, const char *path,
                          error *err) MUST_USE; /* and weights_sha256: 2 GB/s at most */
/* Whether there is an SAE in a folder, by the names of the files in it; also one that is refused with a way to convert it. */
bool sae_model_is_at(const char *path);
/* Write cfg.json, sae_weights.safetensors and, with frequencies (F) of firing a row, sparsity.safetensors (log10(freq + 1e-10)).
 * `metadata` (may be NULL) is added to cfg.json's metadata. Readable by SAELens 6, but for what it does not know, which has an architecture
 * gloss_NAME. Each file atomically, cfg.json last. */
int sae_model_save(const sae_model *m, const char *dir, const double *freq, const cJSON *metadata,
                   error *err) MUST_USE;

/* Write the model as a folder of the format; what can be folded exactly is. ERR_ARG: no such format, or it cannot hold the model, and why;
 * ERR_EXISTS: the folder has such a file, without `force`. */
int sae_model_export(const sae_model *m, const char *format, const char *dir, bool force,
                     error *err) MUST_USE;

/* What a folder says of its SAE; no weight is read. */
typedef struct sae_model_facts {
	const char *format;    /* a name of the table in formats.c */
	char architecture[64]; /* as the format calls it */
	sae_arch arch;         /* as it is computed */
	uint32_t d_in, d_out, d_sae, k;
	sae_codebook codebook; /* SAE_CODEBOOK */
	sae_dtype dtype;       /* of W_dec on disk */
	sae_norm norm;
	bool centers, transcodes, skip;
	char model_name[256], hook_name[256]; /* "": not known */
	char folded[256];                     /* what loading changes, ", " between; "": nothing */
	uint64_t weight_bytes;                /* on disk */
} sae_model_facts;
int sae_model_look(sae_model_facts *out, const char *path, error *err) MUST_USE;

/* ---- Encoding (codes.c) ------------------------------------------------------------------------------------------------------- */

/* Sparse codes of n rows, row after row: those of row i are first[i] .. first[i + 1] - 1, by feature ascending, all values > 0.
 * A row may hold any number of features. Begin with { 0 }; what is there is reused by the next sae_encode() and grows as needed. */
typedef struct sae_codes {
	size_t n;
	size_t *first;   /* (n + 1), first[0] = 0 */
	uint32_t *index; /* (first[n]) */
	float *value;    /* (first[n]) */
	size_t first_room, index_room, value_room;
} sae_codes;
void sae_codes_free(sae_codes *c);

/* Rows are cut in tiles of SAE_ENCODE_TILE, counted from row 0 of the call: equal calls give equal bits at any thread count. */
#define SAE_ENCODE_TILE 256
typedef struct sae_encoder sae_encoder;
int sae_encoder_new(sae_encoder **out, const sae_model *m, pool *p, const char *kernels,
                    error *err) MUST_USE; /* the model stays the caller's and must outlive it */
void sae_encoder_free(sae_encoder *e);
/* x (n, d) raw activations, finite. Pre-activations exist only a tile at a time. Ties: the lower feature wins.
 * Memory beyond the encoder's own: 8 bytes a feature that fires, in `out` and once more in the encoder, so at most 16 n F, and
 * for SAE_JUMPRELU, a thread, 36 for each feature of a tile that may be over the least threshold; none left: ERR_NOMEM, and `out` holds no rows. */
int sae_encode(sae_encoder *e, const float *x, size_t n, sae_codes *out, error *err) MUST_USE;
/* out (c->n, d_out): codes times W_dec + b_dec, normalisation undone, the skip added. x (c->n, d_in) the rows that were encoded; may be
 * NULL where the model has neither. */
void sae_decode(const sae_model *m, const float *x, const sae_codes *c, float *out, pool *p);

/* Codes of a dump as one sparse matrix (rows, F) on disk (codes_file.c): CSR, its arrays
 *	indptr (rows + 1) I64, indices I32, data F32, shape (2) I64, and kept (rows) U8: 0 for a row that was left out, which is empty.
 * .npz: with the member `format` ("csr"), as scipy.sparse.load_npz() wants it; stored, not deflated. .safetensors: tensors of
 * the same names, and the metadata. Rows come in order, any number at a time; memory does not grow with them: the arrays
 * are in unlinked files beside `path` until commit, so the disk holds the codes twice for a moment. */
typedef enum sae_codes_format { SAE_CODES_NPZ, SAE_CODES_SAFETENSORS } sae_codes_format;
typedef struct sae_codes_writer sae_codes_writer;
/* metadata: pairs of strings as sae_safetensors_write() takes them; they must outlive the writer. ERR_LIMIT: F over 2^31 - 1. */
int sae_codes_writer_open(sae_codes_writer **out, const char *path, sae_codes_format format,
                          uint32_t n_features, const char *const *metadata, size_t n_metadata,
                          error *err) MUST_USE;
/* kept (c->n): rows with 0 are written empty, whatever their codes; NULL: all count. */
int sae_codes_writer_add(sae_codes_writer *w, const sae_codes *c, const uint8_t *kept, error *err) MUST_USE;
/* The file appears, whole. Once; then abort is all that is left. */
int sae_codes_writer_commit(sae_codes_writer *w, error *err) MUST_USE;
void sae_codes_writer_abort(sae_codes_writer *w); /* frees, also after commit; NULL is fine */

/* ---- Codes computed elsewhere (codes_read.c, codes_csr.c, codes_cache.c) ------------------------------------------------------------ */

enum { SAE_MAX_CODED = 1 << 26 }; /* features */
typedef struct sae_codes_info {
	const char *path; /* as it was given */
	uint64_t n_rows;  /* tokens */
	uint32_t ctx_len; /* tokens of a context; 0: nothing tells */
	uint32_t n_features;
	bool has_tokens, has_kept;
	uint64_t n_dropped; /* codes of 0 or less in what was read so far, which do not count */
	const char *model;  /* NULL: not given */
	char weights_sha256[SHA256_HEX],
	        dump_sha256[SHA256_HEX]; /* as gloss encode notes them; "": not given */
	char sha256
	        [SHA256_HEX]; /* of the file; of a folder, of its files' hashes in the order of their latents */
} sae_codes_info;
/* Codes of tokens, from
 *   a file    a CSR matrix (tokens, features), .npz or .safetensors: shape, indptr, indices, data as sae_codes_writer and SciPy have them;
 *             in each row features ascend. `kept`: as the writer has it, else all rows count
 *   a folder  delphi's cache of one hook point: FIRST_LAST.safetensors, each with the codes of latents FIRST to LAST: `locations` (n, 3),
 *             whole numbers: context, position, latent - FIRST, ascending, none twice; `activations` (n), floats; and in one at least
 *             `tokens` (contexts, ctx_len); `kept` may be in the first
 * tokens: file of token ids (contexts, ctx_len), .npy or with the tensor `tokens`, where the codes bring none (else they must be
 * equal); NULL: none. Strings must outlive the reader. Shapes are checked when it is opened, all else with what is read: ERR_FORMAT names file, row and cause. */
typedef struct sae_codes_reader sae_codes_reader;
int sae_codes_reader_open(sae_codes_reader **out, const char *path, const char *tokens, error *err) MUST_USE;
void sae_codes_reader_close(sae_codes_reader *r); /* NULL is fine */
const sae_codes_info *sae_codes_reader_get_info(const sae_codes_reader *r);
/* Codes of rows first .. first + n - 1, as sae_encode() gives them; of a folder whole contexts. One thread; the others from any. Rows
 * read one behind the other cost one pass over the files. */
int sae_codes_reader_read(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out,
                          error *err) MUST_USE;
/* ERR_NOTFOUND: there are none. */
int sae_codes_reader_tokens(const sae_codes_reader *r, uint64_t first, uint64_t n, uint32_t *out,
                            error *err) MUST_USE;
int sae_codes_reader_kept(const sae_codes_reader *r, uint64_t first, uint64_t n, uint8_t *out /* 0 or 1 */,
                          error *err) MUST_USE;

/* The same codes as delphi's cache of one hook point (cache_write.c): n_splits files of about equally many latents, each with all tokens,
 * as delphi writes them, but for activations in F32 where delphi rounds to F16, and `kept` (contexts, ctx_len) U8 in the first file, which
 * delphi's reader passes over; and config.json. The folder must not be there, or be empty; it appears whole. While it is made the disk
 * holds the codes twice. Rows come in order, whole contexts in all. */
typedef struct sae_cache_opts {
	uint32_t n_splits, ctx_len;
	/* Token ids of a context, out (ctx_len); asked for at commit, once for each file. */
	int (*tokens)(void *payload, uint64_t context, uint32_t *out, error *err);
	void *payload;
	const char *model; /* NULL: not known */
} sae_cache_opts;
typedef struct sae_cache_writer sae_cache_writer;
int sae_cache_writer_open(sae_cache_writer **out, const char *dir, uint32_t n_features,
                          const sae_cache_opts *o, const char *const *metadata, size_t n_metadata,
                          error *err) MUST_USE;
int sae_cache_writer_add(sae_cache_writer *w, const sae_codes *c, const uint8_t *kept, error *err) MUST_USE;
int sae_cache_writer_commit(sae_cache_writer *w,
                            error *err) MUST_USE; /* once; then abort is all that is left */
void sae_cache_writer_abort(sae_cache_writer *w); /* frees, also after commit; NULL is fine */

/* ---- Neurons as features (neurons.c) --------------------------------------------------------------------------------------------- */

/* Dimension i of the rows is feature i; it fires where its value is over a threshold of its own, with that value. With both signs there
 * are 2 d features: feature d + i is minus dimension i. */
#define SAE_MAX_NEURONS (1 << 24)
typedef struct sae_neurons_opts {
	float threshold; /* the least one; 0 or more */
	/* Thresholds are raised so that each feature fires on about this share of the rows that count at most: exactly so in a sample
	 * of up to 16,384 of them (32 M values), evenly spread over the dump, the same ones whatever the threads. 0: they are not. */
	double density;
	bool both_signs;
} sae_neurons_opts;
typedef struct sae_neurons {
	uint32_t d, n_features;
	bool both_signs;
	float *threshold;        /* (n_features) */
	char sha256[SHA256_HEX]; /* of the thresholds */
} sae_neurons;
int sae_neurons_new(sae_neurons **out, const sae_dump *d, const sae_rows *rows, const sae_neurons_opts *o,
                    pool *p, error *err) MUST_USE;
void sae_neurons_free(sae_neurons *n);
/* Codes of rows x (n, d), as sae_encode() gives them. */
int sae_neurons_encode(sae_codes *out, const sae_neurons *neurons, const float *x, size_t n, pool *p,
                       error *err) MUST_USE;

/* ---- Strongest partners of decoder rows (ranked.c, logits.c) ------------------------------------------------------------------------------- */

/* For each row of something the `n` strongest others, strongest first; equal values by id. */
typedef struct sae_ranked {
	uint32_t n;
	uint32_t *ids; /* (rows, n) */
	float *values; /* (rows, n) */
} sae_ranked;
int sae_ranked_new(sae_ranked *r, uint32_t n_rows, uint32_t n, error *err) MUST_USE;
void sae_ranked_free(sae_ranked *r);

/* Rows of x (n, d) at norm 1, a row of zeros as it is; malloc'd, NULL: no memory. */
float *sae_unit_rows(const float *x, uint32_t n, uint32_t d);
/* For each unit row of a (n_a, d) the unit rows of b (n_b, d) with the largest cosine: out (n_a, min(n, n_b)). not_self: b is
 * a, and a row is not among its own. The same bits at any thread count. */
int sae_rank_cosines(sae_ranked *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                     uint32_t n, bool not_self, pool *p, error *err) MUST_USE;
/* Features whose decoder rows have the largest cosine with each feature's, itself left out: out (F, min(n, F - 1)). The same
 * bits at any thread count. */
int sae_rank_neighbours(sae_ranked *out, const sae_model *m, uint32_t n, pool *p, error *err) MUST_USE;

/* All logits of a feature: bin i counts those with floor((logit - low) * (SAE_LOGIT_BINS / (high - low))) = i, in floats; the highest is
 * in the last bin. All equal: all in the first. */
#define SAE_LOGIT_BINS 50
typedef struct sae_logit_histogram {
	float low, high; /* the least and the greatest */
	uint32_t counts[SAE_LOGIT_BINS];
} sae_logit_histogram;

/* Tokens whose logits each feature's direction raises most (top) and lowers most (bottom): (F, min(n, n_vocab)) each.
 * A logit here is lm_head.weight . (norm.weight * decoder row): of the direction alone, without the model's division by the
 * residual's norm, so values compare within a feature.
 *   histograms  (F), of all logits; NULL: none
 *   path        .safetensors with `lm_head.weight` (V, d), V >= n_vocab, and `norm.weight` (d)
 *   n_vocab     tokens of the vocabulary: rows behind are padding
 *   pr          may be NULL; updated in features
 * The head is read once for every 512 features, or fewer where the vocabulary has over 53,248 tokens. Memory: 104 MB (256 bytes a token,
 * if that is more), and 4 KB a dimension and thread. ERR_FORMAT names the tensor that is not there or has another shape. */
int sae_rank_logits(sae_ranked *top, sae_ranked *bottom, sae_logit_histogram *histograms, const sae_model *m,
                    const char *path, uint32_t n_vocab, uint32_t n, pool *p, progress *pr,
                    error *err) MUST_USE;

/* ---- Matching two sets of directions (match.c, assign.c) -------------------------------------------------------------------------- */

#define SAE_MATCH_NONE UINT32_MAX
#define SAE_MATCH_TIE  1e-6f /* cosines so near are equal: rows may be copies of each other */
enum { SAE_MATCH_NEAR = 8 };

typedef struct sae_match {
	uint32_t n[2], d;
	uint32_t *of_a;     /* (n_a) the row of b matched with a row of a, one to one; SAE_MATCH_NONE: none */
	float *cosine;      /* (n_a) theirs; NaN: none */
	sae_ranked near[2]; /* the SAE_MATCH_NEAR nearest rows of b to each of a, and of a to each of b */
	/* Of those nearest the parts of a row: a sum of them with weights >= 0 (least squares) comes nearest to it, and each makes
	 * up a fifth of the square of that sum. (n, SAE_MATCH_NEAR), SAE_MATCH_NONE behind the last; at least two, or none. */
	uint32_t *parts[2];
	float *together[2]; /* (n) cosine of a row with the best such sum of its parts alone; NaN: no parts */
	double mean_matched; /* mean cosine of the matched; NaN: none are */
	/* Of each row's largest cosine: the mean (MMCS), what one in a hundred is over. */
	double mean_best[2], high_best[2];
} sae_match;
/* Match the rows of a (n_a, d) with those of b (n_b, d), unit rows both. assign: by sae_match_assign(), else those that are each
 * other's nearest. Products are made in blocks; assign holds all cosines. The same bits at any thread count. */
int sae_match_rows(sae_match *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                   bool assign, pool *p, error *err) MUST_USE;
void sae_match_free(sae_match *m);

/* The one-to-one assignment of rows of a (n_a, d) to rows of b (n_b, d), unit rows both, with the largest sum of cosines (as
 * Paulo and Belrose, arXiv 2501.16615, and the public code, scipy's linear_sum_assignment): b_of_a (n_a), SAE_MATCH_NONE for
 * the rows of a that stay alone where n_a > n_b. By Jonker and Volgenant's algorithm, in time of about the cube of the smaller
 * at worst; needs sae_match_assign_bytes() for all cosines. The same result at any thread count. */
int sae_match_assign(uint32_t *b_of_a, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                     pool *p, error *err) MUST_USE;
/* The same with the largest sum of |cosine|. */
int sae_match_assign_unsigned(uint32_t *b_of_a, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                              uint32_t d, pool *p, error *err) MUST_USE;
uint64_t sae_match_assign_bytes(uint32_t n_a, uint32_t n_b);
/* What b's rows would be by chance: n unit rows with the second moments of those of `unit` (n, d), each the sum of 64 of them
 * taken at random with random signs, so that directions that all features share are shared by chance too. malloc'd; NULL: no
 * memory. */
float *sae_null_rows(const float *unit, uint32_t n, uint32_t d, uint64_t seed);

/* ---- Training (train*.c, step.c, shuffle.c) --------------------------------------------------------------------------------------- */

/* How pre-activations are screened before exact values are computed (screen.h). */
typedef enum sae_screening {
	SAE_SCREENING_EXACT, /* 8-bit products with a proven bound, where that is faster; the same bits as OFF */
	SAE_SCREENING_STATISTICAL, /* a bound of six standard deviations: may lose a value, once in very many */
	SAE_SCREENING_OFF,         /* FP32 products */
} sae_screening;

typedef enum sae_schedule {                   /* of the learning rate: schedule.h */
	                    SAE_SCHEDULE_WSD, /* warm-up, stable, decay */
	                    SAE_SCHEDULE_CONSTANT,
	                    SAE_SCHEDULE_LINEAR,
	                    SAE_SCHEDULE_COSINE,
	                    SAE_SCHEDULE_INFINITE
} sae_schedule;
typedef enum sae_cooldown { SAE_COOLDOWN_COSINE, SAE_COOLDOWN_LINEAR, SAE_COOLDOWN_ROOT } sae_cooldown;
typedef enum sae_k_shape { SAE_K_LINEAR, SAE_K_EXPONENTIAL, SAE_K_POWER } sae_k_shape;
typedef enum sae_optimizer { SAE_ADAM, SAE_ADAMW, SAE_SIGNUM, SAE_MUON } sae_optimizer; /* optim.h */

#define SAE_PREFIXES 32 /* of a Matryoshka SAE, at most */

typedef struct sae_train_step {
	uint64_t step, steps, tokens; /* 1-based; tokens seen */
	double fvu; /* of this batch: sum of squared error / sum of squared distance from the batch mean */
	double mse; /* mean over rows of squared error in raw units */
	double l0, auxk;      /* mean kept values a row; auxiliary loss */
	double lr, grad_norm; /* effective learning rate; NaN where not computed */
	double sparsity, k;   /* effective: share of the penalty's coefficient, k; NaN: they do not change */
	uint64_t n_dead;
	/* SAE_MATRYOSHKA: FVU of the first so many features alone */
	uint32_t n_prefixes;
	uint32_t prefix_ends[SAE_PREFIXES];
	double prefix_fvu[SAE_PREFIXES];

	double seconds;      /* since the start, those before a resume counted */
	double step_seconds; /* of them in this SAE's own steps */
} sae_train_step;

typedef struct sae_train_opts {
	sae_arch arch;  /* SAE_TOPK, _GROUPMAX (F a multiple of k), _BATCHTOPK, _MATRYOSHKA or _MULTITOPK */
	uint32_t d_sae; /* F */
	uint32_t k;
	uint32_t batch;  /* rows a step. 4096 */
	uint64_t steps;  /* 0: from tokens */
	uint64_t tokens; /* 0: one pass over the training rows */
	/* 0: 2e-4 / sqrt(F / 2^14), as sparsify and dictionary_learning; Signum 5e-3 / sqrt(F / 2^14), Muon 2e-3, as sparsify;
	 * SAE_CODEBOOK 3e-3 */
	double lr;
	double beta1, beta2, eps; /* Adam. 0.9, 0.999, 1e-8 */
	uint64_t warmup;          /* steps of linear warm-up; UINT64_MAX: min(1000, 5 % of the steps) */
	double decay; /* share of the steps, at the end, of wsd's decay or infinite's anneal. 0.2 */
	sae_schedule schedule;
	double warmup_from; /* the warm-up begins at this share of lr. 0 */
	bool warmup_cosine; /* it rises as half a cosine, else in a line */
	double lr_floor;    /* share of lr where the schedule ends; under 0: 0, and 0.01 for infinite */
	double lr_constant; /* infinite: share of lr of its constant phase. 0.4 */
	uint64_t cooldown;  /* infinite: step where that begins; UINT64_MAX: 15 % of the steps */
	sae_cooldown cooldown_shape;
	uint64_t anneal_from; /* infinite: the last step of it; UINT64_MAX: by `decay` */
	uint64_t
	        sparsity_warmup; /* steps in which the penalty's coefficient rises in a line; UINT64_MAX: the architecture's */
	uint32_t k_start;  /* k of the first step; 0: k */
	uint64_t k_anneal; /* steps until it is k; UINT64_MAX: half of the steps */
	sae_k_shape k_shape;
	double k_power; /* of SAE_K_POWER. 2 */
	sae_optimizer optimizer;
	double weight_decay; /* AdamW, Muon; under 0: 0.01, 0.1 */
	double momentum;     /* Signum, Muon. 0.95 */
	double clip;         /* of the gradient's global norm; 0: none */
	double average;      /* decay of the running mean of the weights that becomes the model; 0: none */
	double auxk_alpha;   /* 1/32; 0: off */
	/* a feature is dead after this many tokens without firing; 0: min(10 M, 10 % of the run) */
	uint64_t dead_tokens;
	/* SAE_MATRYOSHKA: the loss is the mean, or the sum, of the FVU of prefixes of the features, whose ends are the sums of groups:
	 * shares of the features, which add up to 1, or whole numbers of them, which add up to F. None: 1/16, 1/16, 1/8, 1/4, 1/2. */
	double groups[SAE_PREFIXES];
	uint32_t n_groups;
	/* Instead of groups: so many prefixes, drawn for each step, short ones more often; all features are one. 0: groups */
	uint32_t random_prefixes;
	bool prefix_sum;      /* the sum, not the mean */
	bool prefix_bias;     /* with a prefix of no features: b_dec alone */
	bool scale_mean_norm; /* scale rows so that their mean norm is sqrt(d); folded into what is saved */
	uint64_t seed;        /* start of the weights */
	uint64_t order_seed;  /* order of the rows */
	bool shuffle_rows;    /* permute single rows instead of blocks of 64 */
	const char *kernels;  /* "scalar", "avx2", "avx512"; NULL: the best */
	sae_screening screening;
	bool moments8; /* hold Adam's moments of both matrices in 8 bits instead of 32 */
	/* SAE_CODEBOOK (codebook.h): k codes of each of the groups (1) that it has */
	sae_codebook codebook;
	bool code_norm, code_random,
	        code_moving;   /* layer norm first; no start by k-means; by moving means, not gradients */
	double code_decay;     /* what such a mean keeps of itself each step. 0.99 */
	uint64_t code_replace; /* steps; codes not used in them are replaced by rows. 0: never */
	double code_noise;     /* noise on them, of the row's norm. 1e-4 */
	/* SAE_PURSUIT (pursuit_step.h): k steps at most */
	double residual; /* a row is done where its residual's norm, scaled, is under it; 0: never. 0.01 */
	bool repeats;    /* a feature may be chosen again, else that ends the row */
	/* SAE_TOPK, SAE_BATCHTOPK, SAE_GROUPMAX: decoder rows are mixtures of so many points (step_archetypal.h); 0: free */
	uint32_t archetypal;
	double archetypal_delta; /* and as far from them, scaled. 1 */
	/* For sae_train(): called every step from the caller's thread; non-zero stops (ERR_STOPPED), what is trained so far is
	 * returned. */
	int (*on_step)(void *payload, const sae_train_step *s);
	void *payload;
} sae_train_opts;

sae_train_opts sae_train_opts_default(void);
/* The kernels that run for the option `kernels` on this CPU; NULL: none of that name, or the CPU cannot. */
const char *sae_kernels_name(const char *kernels);
int sae_train_opts_check(const sae_train_opts *o, uint32_t d_in, uint64_t n_train_rows,
                         error *err) MUST_USE; /* names field, value, range */
/* What screening really does with such a plan: "exact (avx512-vnni)", "statistical (avx2)" or "off". */
void sae_train_screening(char *out, size_t size, const sae_train_opts *o, uint32_t d_in);
/* Where prefixes end, rising, the last at F. ERR_ARG names the option. random_prefixes: the first of them are yet to be drawn. */
int sae_train_prefixes(uint32_t ends[SAE_PREFIXES], uint32_t *n, const sae_train_opts *o,
                       error *err) MUST_USE;
/* Fill in what is left to the program (steps, lr, warmup, dead_tokens, groups, which become numbers of features), as sae_train() does for
 * itself; `tokens` becomes 0. */
void sae_train_plan(sae_train_opts *o, uint64_t n_train_rows);

/* Fit one SAE to the training rows. The same bits for the same dump, options and CPU kind, whatever the threads.
 *   out   set on success; after at least one step also when stopped (ERR_STOPPED), when the loss of a batch is not finite
 *         (ERR_LIMIT) and when rows cannot be read: the model as it was after the last good step
 *   freq  if not NULL: malloc'd (F), firing frequency over the last min(steps, 100) steps (up to 199 when stopped) */
int sae_train(sae_model **out, double **freq, const sae_dump *d, const sae_rows *rows,
              const sae_train_opts *o, pool *p, error *err) MUST_USE;

/* Several SAEs trained side by side, "members": rows are read and converted once for all, and each member ends with the
 * bits that it would have alone. They share batch, steps, row order, scale and kernels; a run of one is one member. */
typedef struct sae_trainer sae_trainer;

typedef enum sae_member_state {
	SAE_MEMBER_RUNS,
	SAE_MEMBER_ENDED, /* by sae_trainer_end_member() */
	SAE_MEMBER_LOST   /* the loss of a batch was not finite */
} sae_member_state;

/* Check and plan the options of the n members (as sae_train_plan()), and ask for all memory. ERR_ARG names an option out
 * of range or one that must be shared. Dump, rows and pool stay the caller's. */
int sae_trainer_new(sae_trainer **out, const sae_dump *d, const sae_rows *rows, const sae_train_opts *o,
                    size_t n, pool *p, error *err) MUST_USE;
void sae_trainer_free(sae_trainer *t);
/* Scale, b_dec and weights as at the start of a run. */
int sae_trainer_start(sae_trainer *t, error *err) MUST_USE;
/* One step of every member that runs; at least one must. A member whose loss is not finite is lost, its weights stay as
 * they were; when it was the last one, the step does not count. ERR_IO, ERR_FORMAT: rows cannot be read, or a shard has
 * gone or shrunk (looked at once a second); nothing was changed. */
int sae_trainer_step(sae_trainer *t, error *err) MUST_USE;
size_t sae_trainer_running(const sae_trainer *t); /* members that run */
uint64_t sae_trainer_steps(const sae_trainer *t); /* taken */
/* State and last step of a member, and why it is lost; last, cause: may be NULL. */
sae_member_state sae_trainer_member(const sae_trainer *t, size_t member, sae_train_step *last, error *cause);
void sae_trainer_end_member(sae_trainer *t, size_t member); /* takes no more steps */
/* The model of a member as it is now, on raw rows; freq as for sae_train(). ERR_LIMIT: its weights are not finite. */
int sae_trainer_model(sae_model **out, double **freq, const sae_trainer *t, size_t member,
                      error *err) MUST_USE;

/* ---- Checkpoints of a run (train_state.c, checkpoint.c) -------------------------------------------------------------------- */

/* Whether the file system of DIR has room for a checkpoint beside the last one: ERR_LIMIT names what it has and needs. */
int sae_trainer_check_space(const sae_trainer *t, const char *dir, error *err) MUST_USE;
/* All members, whole, in DIR/checkpoint; the checkpoint before stays until this one is on disk. `options` and `notes` are
 * the caller's: what the run was started with, and what it wants back. ERR_LIMIT also when weights are not finite. */
int sae_trainer_save(const sae_trainer *t, const char *dir, const cJSON *options, const cJSON *notes,
                     error *err) MUST_USE;

/* The configuration and the progress of the checkpoint in a run's folder, for a look; the caller frees both with
 * cJSON_Delete(). ERR_NOTFOUND: there is none; ERR_FORMAT: damaged, or written by a newer version. */
int sae_checkpoint_look(cJSON **config, cJSON **done, const char *dir, error *err) MUST_USE;

typedef struct sae_saved sae_saved; /* an open checkpoint of a run */
typedef struct sae_saved_info {
	uint64_t steps_taken, steps;
	size_t n_members, n_running, n_lost;
	uint64_t n_rows; /* of the dump */
	double norm_limit;
	uint64_t warmup, cooldown, anneal_from; /* of the infinite schedule; anneal_from 0: it has another */
} sae_saved_info;
bool sae_saved_exists(const char *dir);
int sae_saved_remove(const char *dir, error *err) MUST_USE; /* none there is fine */
int sae_saved_open(sae_saved **out, const char *dir, error *err) MUST_USE;
void sae_saved_close(sae_saved *s);
const sae_saved_info *sae_saved_get_info(const sae_saved *s);
const cJSON *sae_saved_notes(const sae_saved *s); /* NULL: none */
/* 0, or ERR_ARG naming what differs: in the caller's options but those in `ignore` (NULL-ended); in CPU, kernels, BLAS and
 * version. */
int sae_saved_compare(const sae_saved *s, const cJSON *options, const char *const *ignore,
                      error *err) MUST_USE;
int sae_saved_compare_machine(const sae_saved *s, const char *kernels, error *err) MUST_USE;
/* ERR_ARG: another dump, or other rows of it are left out or held out. may_grow: a dump whose first rows are the saved
 * one's will do (read again to see that); *grown tells. */
int sae_saved_check_dump(const sae_saved *s, const sae_dump *d, const sae_rows *rows, bool may_grow,
                         bool *grown, pool *p, error *err) MUST_USE;
/* Instead of sae_trainer_start(). The plan must be the saved one, unless it is extended: then members that had ended with
 * the run go on. grown: the pass over the old rows ends, the next pass is over all rows. On failure end the trainer. */
int sae_trainer_restore(sae_trainer *t, sae_saved *s, bool extend, bool grown, error *err) MUST_USE;

/* Memory of a run that no file backs, in bytes, at its highest point. Asked for between sae_trainer_new() and the start, when
 * it is there as address space only: nothing is lost by a run that is then refused. */
typedef struct sae_train_forecast {
	uint64_t now;       /* in use already: program, tables of rows */
	uint64_t weights;   /* of all members */
	uint64_t optimiser; /* moments */
	uint64_t batch;     /* what a step keeps of a batch, sums, a thread's own buffers */
	uint64_t loader;    /* rows read ahead */
	uint64_t
	        model; /* a copy of the weights to measure or to save, and what that takes, as far as it comes on top */
	uint64_t total;
} sae_train_forecast;
/* evaluates: whether models are measured by sae_eval() before the run has ended. */
int sae_trainer_forecast(sae_train_forecast *out, const sae_trainer *t, bool evaluates, error *err) MUST_USE;
/* ERR_LIMIT, with the numbers, when the run needs more than `limit` bytes. */
int sae_train_forecast_check(const sae_train_forecast *f, uint64_t limit, error *err) MUST_USE;
/* "612 MiB: now 5, weights 72, ..." into out. */
void sae_train_forecast_print(char *out, size_t size, const sae_train_forecast *f);
/* No member takes another step or is saved for resuming: what only steps need is given back, models can still be made.
 * sae_trainer_forecast() counts on it before the last models are saved. */
void sae_trainer_finish(sae_trainer *t);

#include "sae/measure.h"
#include "sae/truth.h"

#endif
