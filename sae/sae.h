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
/* `other` is d's to close from then on. ERR_FORMAT: there are more or fewer rows, or a row is of another token, or masked in one
 * and not in the other (the first such row is named; where only d has masks, they are good for both); ERR_ARG: too many, or an input of the same
 * tensors as another. */
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
	/* the same for dumps added to the first (sae_dump_add()), in their order; infinity, or fewer than there are: the median's */
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
	SAE_MULTITOPK, /* SAE_TOPK with an eighth of the loss of 4 k features. Its model is SAE_TOPK */
	SAE_PANNEAL,   /* SAE_RELU with a penalty that goes from L1 to Lp. Its model is SAE_RELU */
	SAE_GATED /* a gate and a magnitude that share their encoder. Its model is SAE_JUMPRELU, which it equals */
} sae_arch;
/* "topk", "batchtopk", "groupmax", "jumprelu", "relu", "matching_pursuit", "codebook", "matryoshka", "multitopk", "panneal", "gated" */
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
	sae_codebook codebook; /* SAE_CODEBOOK; SAE_NORM_LAYER is of each part then */
	/* A crosscoder: rows are those of so many hook points side by side, each as wide; 0, 1: they are of one */
	uint32_t n_inputs;
	double scales
	        [SAE_PARTS_MAX]; /* of its inputs: what training multiplied their rows by; 0: not known */
	double norm_limit;       /* rows over this norm were left out of training; infinity: none */
	double more_limits
	        [SAE_PARTS_MAX]; /* the same of the rows of further inputs, and of a transcoder's output */
	size_t n_more_limits;
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
	uint32_t n_inputs;                    /* of a crosscoder; else 1 */
	char model_name[256], hook_name[256]; /* "": not known */
	char folded[256];                     /* what loading changes, ", " between; "": nothing */
	uint64_t weight_bytes;                /* on disk */
} sae_model_facts;
int sae_model_look(sae_model_facts *out, const char *path, error *err) MUST_USE;

/* Of a crosscoder: by feature and input, the norm of the decoder row there, as training scaled it, over the sum of them: out
 * (F, n_inputs). 1 or nearly: the feature is that input's alone. Of a row of zeros, zeros. */
void sae_crosscoder_shares(float *out, const sae_model *m);

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

#include "sae/training.h"
#include "sae/measure.h"
#include "sae/truth.h"

#endif
