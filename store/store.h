/* store: the one SQLite file. Schema and migrations, the one-pass index, queries, and the rows of explain jobs.
 * Knows nothing of SAE weights beyond the vectors it is handed. A store belongs to one thread. */
#ifndef GLOSS_STORE_H
#define GLOSS_STORE_H

#include "base/base.h"

/* ---- The file (store.c) ------------------------------------------------------------------------------------------ */

enum { STORE_READ = 0, STORE_WRITE = 1, STORE_CREATE = 2 }; /* CREATE implies WRITE */
typedef struct store store;

/* Open (with STORE_CREATE make when absent; with WRITE also migrate) the store at `path`.
 * Returns 0; ERR_IO: cannot open; ERR_NOTFOUND: no such file; ERR_FORMAT: not a Gloss store, corrupt, or written by a
 * newer program (says both versions); ERR_BUSY: locked by another process for over 10 s. */
int store_open(store **out, const char *path, unsigned flags, error *err) MUST_USE;
void store_close(store *s);
const char *store_path(const store *s);

/* What was indexed: an SAE, neurons, or codes computed elsewhere. Strings live until the next call of the same function. */
typedef struct store_source {
	int64_t id;
	const char *name, *architecture, *model, *hook_point; /* model, hook_point: NULL when not known */
	uint32_t d_in, n_features, k;                         /* d_in, k: 0 when not known */
	uint64_t n_tokens, n_left_out, n_contexts, n_firings;
	uint32_t before, after; /* window of an example around its qualifying token */
	uint32_t n_samples;     /* firings sampled of a feature; 0: by half octaves, in version 1 */
	bool corpus;
	/* Neurons: the decoder row of feature i is axis i of d_in, that of feature d_in + i minus that axis; none is stored. */
	bool neurons;
} store_source;
/* The source called `name`; NULL: the only one, else ERR_ARG listing the names. ERR_NOTFOUND. */
int store_source_get(store_source *out, store *s, const char *name, error *err) MUST_USE;

/* How a source came about: all of its row. Strings in the arena it was read into, NULL where not known. */
typedef struct store_record {
	int64_t id, tokenizer; /* tokenizer 0: none */
	const char *name, *kind, *architecture, *model, *hook_point;
	const char *weights_sha256, *dump_sha256, *tokenizer_sha256;
	const char *const *dumps; /* (n_dumps): SHA-256 of each that went in */
	size_t n_dumps;
	const char *config, *argv, *version, *created, *sample_rule; /* config, argv: JSON */
	int layer;                                                   /* -1: not known */
	uint32_t d_in, n_features, k, n_vocab;
	double norm_limit; /* infinity: none */
	uint64_t n_tokens, n_left_out, n_contexts, n_firings;
	bool corpus;
	uint32_t before, after, n_top, n_samples, n_random; /* n_samples 0: as version 1 took them */
} store_record;
/* source: NULL: the only one. Errors as store_source_get(); ERR_FORMAT: the row is not what it should be. */
int store_record_get(store_record *out, store *s, const char *source, arena *mem, error *err) MUST_USE;

/* Asked now and then by what takes long: true ends it with ERR_STOPPED, and everything is as it was. Zeroed: never. */
typedef struct store_stop {
	bool (*asked)(void *payload);
	void *payload;
} store_stop;

/* ---- One plain file to share (pack.c) ----------------------------------------------------------------------------- */

typedef struct store_pack_opts {
	bool without_corpus; /* of firings keep those of the random contexts, and the contexts that are then still used */
	bool without_vectors; /* leave the decoder rows out */
	bool force;           /* replace a file at `to` */
	store_stop stop;
} store_pack_opts;
typedef struct store_pack_result {
	uint64_t bytes_before, bytes;
	/* Left out: contexts, contexts' firings, decoder rows. */
	uint64_t n_contexts, n_firings, n_vectors;
	char sha256[SHA256_HEX]; /* of the file */
} store_pack_result;
/* Copy the store at `path` to the new file `to`: compact, checked, without a journal; the same bytes for the same store. The
 * copy is made beside `to`, synced and renamed.
 * ERR_EXISTS, ERR_BUSY, ERR_ARG (one file twice), ERR_LIMIT (no room), ERR_IO; ERR_FORMAT: no store, or damaged. */
int store_pack(store_pack_result *out, const char *path, const char *to, const store_pack_opts *o,
               error *err) MUST_USE;

/* ---- Index (index.c, index_write.c) ----------------------------------------------------------------------------------- */

typedef struct store_index_opts {
	const char *source;                            /* name; unique in the store */
	const char *kind;                              /* "sae", "neurons", "codes". "sae" */
	const char *architecture, *model, *hook_point; /* may be NULL but architecture */
	int layer;                                     /* -1: not known */
	uint32_t d_in, n_features, k; /* d_in: of codes 0 where it is not known; k: 0 where there is none */
	const char *weights_sha256;   /* what features are the same by: labels hold on, stores merge */
	const char *dump_sha256;
	double norm_limit; /* infinity: none */
	uint64_t n_left_out;
	const char *config, *argv; /* JSON */
	uint32_t n_top;            /* top contexts a feature. 24 */
	uint32_t n_samples;        /* firings sampled a feature. 160 */
	uint32_t n_random;         /* contexts whose firings are all kept. 512 */
	uint32_t before, after;    /* window around the qualifying token. 47, 16 */
	size_t spill_memory; /* bytes of samples' windows that stay in memory; the rest goes to a file. 32 MB */
	bool corpus;         /* keep all firings */
	bool force;          /* replace a source of this name */
} store_index_opts;
store_index_opts store_index_opts_default(void);

typedef struct store_context {
	const uint32_t *tokens; /* (n_tokens) */
	uint32_t n_tokens;
	uint64_t document;      /* key of its document */
	uint64_t group;         /* key of its group of documents */
	const uint8_t *counted; /* (n_tokens) 0: the row was left out and has no codes */
	/* Codes of token i: firings start[i] .. start[i + 1] - 1, values > 0. */
	const uint32_t *start; /* (n_tokens + 1) */
	const uint32_t *feature;
	const float *value;
} store_context;

/* The pass. State is bounded by features, not by tokens; nothing reaches the store before store_index_finish(), which
 * brings everything in by one transaction (a kill leaves the store as it was). Counts, maxima, top lists and samples do
 * not depend on the order of contexts: samples are those with the smallest hash of (content, position, feature), ties
 * go by content. Top: one entry a context, its strongest token; windows of equal bytes count once. */
typedef struct store_index store_index;
int store_index_begin(store_index **out, store *s, const store_index_opts *o, error *err) MUST_USE;
/* bytes/length: of each token id 0..n-1, copied. Before the first context; ERR_FORMAT later for a token id >= n. */
int store_index_vocab(store_index *ix, const char *sha256, uint32_t n, const char *const *bytes,
                      const uint32_t *length, error *err) MUST_USE;
int store_index_context(store_index *ix, const store_context *c, error *err) MUST_USE;
/* Optional, any time before finish. decoder (F, d) row-major; norms are taken from it. */
int store_index_decoder(store_index *ix, const float *decoder, error *err) MUST_USE;
/* Decoder-cosine neighbours and logits, computed by the caller (sae/ has the GEMM): for each feature n ids and values,
 * strongest first; kind 't' top logits, 'b' bottom logits, 'n' neighbours. */
int store_index_ranked(store_index *ix, char kind, uint32_t n, const uint32_t *ids, const float *values,
                       error *err) MUST_USE;
/* The histogram of the logits of feature `id` over the vocabulary: n bins of equal width from low to high. Optional. */
int store_index_logits(store_index *ix, uint32_t id, float low, float high, uint32_t n,
                       const uint32_t *counts, error *err) MUST_USE;
/* The id that a context has: a hash of its content. tokenizer_sha256: as given with the vocabulary; NULL: none. */
int store_context_id(int64_t *id, const char *tokenizer_sha256, uint64_t document, const uint32_t *tokens,
                     uint32_t n, error *err) MUST_USE;
typedef struct store_index_result {
	int64_t source_id;
	uint64_t n_tokens, n_contexts, n_firings, n_examples; /* n_examples: rows written */
	uint64_t n_dead, n_dense; /* features that never fire; that fire on over 10 % of tokens */
} store_index_result;
/* *out (may be NULL) is set on success; pr (may be NULL) is updated in features. Frees ix in every case. */
int store_index_finish(store_index *ix, store_index_result *out, progress *pr, error *err) MUST_USE;
void store_index_abort(store_index *ix); /* NULL is fine */

/* ---- Stores joined (merge*.c) ------------------------------------------------------------------------------------------------ */

typedef struct store_merge_opts {
	const char *
	        source; /* take the source of this name, or else the only one, of each store for one; NULL: go by names */
	const char *argv; /* JSON list, for the record */
	bool force;       /* replace a file at `to` */
	progress *pr;     /* may be NULL; updated in rows */
	store_stop stop;
} store_merge_opts;
/* Make the store `to` of the sources of all (n) stores at `paths`. Sources of one name must be of the same weights, tokenizer
 * and options, and of different dumps: they become one that says what an index of all these dumps would, sums to 1e-12; other
 * sources are copied. Contexts are shared. Labels, scores, jobs, lists and notes of all of them come along, in order of time.
 * Documents that two stores have, or that in a joined source share 24 tokens in a row, come into one group, so their part may
 * change. The stores are only read; `to` appears whole or not at all.
 * {"store","sources":[{"source","from":[...],"joined","dumps","tokens","contexts","firings","examples"}],"contexts","documents",
 *  "groups_joined","parts_changed":[{"from","to","documents"}],"labels","scores","jobs","lists","notes"}
 * ERR_ARG: a file twice, sources that cannot be joined (says why); ERR_EXISTS, ERR_BUSY, ERR_LIMIT (no room), ERR_IO;
 * ERR_FORMAT: no store, or a damaged one. */
int store_merge(cJSON **out, const char *to, const char *const *paths, size_t n, const store_merge_opts *o,
                error *err) MUST_USE;

/* ---- Recomputed and compared (verify*.c) ---------------------------------------------------------------------------------- */

typedef struct store_verify_opts {
	const char *source;      /* NULL: the only one */
	const int64_t *contexts; /* (n) store_context_id() of each context of the dump, in its order */
	uint64_t n;
	bool partial; /* the dump is one of several that went in: contexts that it does not have are passed over */
	uint32_t per_batch; /* contexts recomputed together */
	/* Of the store's contexts, so many are drawn by hash of seed and id, and with them what is in their batches; 0: none. */
	uint32_t n_checked;
	uint64_t seed;
	uint32_t most; /* differences that are described */
	store_stop stop;
} store_verify_opts;
typedef struct store_verify store_verify;
int store_verify_begin(store_verify **out, store *s, const store_verify_opts *o, error *err) MUST_USE;
void store_verify_free(store_verify *v); /* NULL is fine */
/* (n) of o.per_batch contexts each: 1 where they are to be recomputed. */
const uint8_t *store_verify_batches(const store_verify *v, uint64_t *n);
/* The vocabulary of a tokenizer with the source's hash, against the stored one. */
int store_verify_vocab(store_verify *v, uint32_t n, const char *const *bytes, const uint32_t *length,
                       error *err) MUST_USE;
/* A recomputed context (v is a store_verify): what the store says of its text, codes and examples must be it, to the bit. */
int store_verify_context(void *v, const store_context *c, error *err) MUST_USE;
/* Everything: an index like the source's is begun in a file below TMPDIR, for the caller to give it decoder, neighbours and
 * contexts; then, with it, each row of the source is compared: to the bit, but sums to 1e-12 and what comes of matrix products
 * (neighbours, logits) to 1e-5. store_verify_rows() frees ix in every case. ERR_ARG: a source that version 1 indexed. */
int store_verify_again(store_index **out, store_verify *v, uint64_t n_left_out, error *err) MUST_USE;
int store_verify_rows(store_verify *v, store_index *ix, progress *pr, error *err) MUST_USE;
/* {"source","compared":{WHAT:n},"not_compared":[...],"differences":n,"first":[{"what","feature","context","position","stored",
 * "recomputed"}]}. Once, at the end. */
int store_verify_report(cJSON **out, store_verify *v, error *err) MUST_USE;

/* ---- Queries (query.c, find.c, show.c, sql.c): each gives JSON, the same that --json prints ------------------------------------ */

/* Which sources a query is about. Zeroed: the only one of the store. */
typedef struct store_sources {
	const char *const *names; /* (n) */
	size_t n;
	bool all; /* every one, instead of names */
} store_sources;

/* {"sources":[{"name","kind","architecture","n_features","n_tokens","n_contexts","n_firings","dead","dense","labelled","scored",
 * "weights_sha256","config",...}]}, as they were indexed: dead never fire, dense fire on over 10 % of tokens. */
int store_source_list(cJSON **out, store *s, error *err) MUST_USE;

typedef struct store_features_opts {
	store_sources sources;
	const char *where; /* SQL expression over the columns below; NULL: all */
	const char *sort;  /* up to 8 columns apart by commas, '-' before one for descending; NULL: feature */
	bool dead, dense, single_token; /* only those for which these columns are true too */
	bool firing;                    /* only those that are not dead */
	const char *list;               /* only what the user's list of this name holds; NULL: all */
	uint64_t random,
	        seed; /* draw so many of those that match, by hash of seed, source's name and feature; 0: all */
	uint64_t limit, offset;
} store_features_opts;
/* {"source":..., "total": of the listing, "offset":..., "features":[{...}]}; of several sources "sources":[...] instead, and
 * each feature has its "source". With `random`, "matching": what was drawn from. Columns are the members of a feature (see
 * schemas/sql/features.sql); `where` runs under an authorizer that lets it read these and call functions without effect; an
 * error says at which character, and what may have been meant. ERR_ARG, ERR_NOTFOUND (source, list), ERR_LIMIT (time). */
int store_features(cJSON **out, store *s, const store_features_opts *o, error *err) MUST_USE;

/* What samples are shown by. Edges other than those that are stored are moved to the histogram's, at most 0.6 % away, so that
 * counts are exact. */
typedef enum store_intervals {
	STORE_INTERVALS_STORED,      /* as the index run drew them: of equal count */
	STORE_INTERVALS_EQUAL_COUNT, /* 10 of equal count */
	STORE_INTERVALS_EQUAL_WIDTH, /* 10 of equal width from 0 to the maximum, of firing tokens */
	STORE_INTERVALS_NEURONPEDIA  /* 5 of equal width from 0 to the maximum, of all tokens */
} store_intervals;
/* One feature in full: statistics, histogram, labels with their scores, top and bin examples. Each example has
 * {"kind","bin","context","document","part","position","activation","weight","tokens":[{"text","value"}...],"peak":index}. */
int store_show(cJSON **out, store *s, const char *source, uint32_t feature, unsigned n_examples,
               store_intervals which, error *err) MUST_USE;

/* One context: {"source","context","document","part","n_tokens","firings":bool,"tokens":[{"position","text","token","counts","n_features",
 *  "features":[{"feature","value","label"}]}],"n_features","features":[{"feature","max","position","fires","label"}]}, the
 * strongest `top` features of each token and `limit` of the whole. firings false: they are not stored; tokens have no features,
 * and those of the whole are the ones that have the context among their strongest. ERR_NOTFOUND. */
int store_show_context(cJSON **out, store *s, const char *source, int64_t context, unsigned top,
                       unsigned limit, error *err) MUST_USE;

typedef enum store_regex_sort {
	STORE_REGEX_F1,
	STORE_REGEX_PRECISION,
	STORE_REGEX_RECALL,
	STORE_REGEX_BEST_F1,
	STORE_REGEX_AUROC
} store_regex_sort;
typedef struct store_regex_opts {
	const char *source;               /* NULL: the only one */
	const char *pattern;              /* PCRE2 with UTF and UCP */
	uint64_t limit;                   /* features listed */
	double min_precision, min_recall; /* others are not listed; applied before the limit */
	store_regex_sort sort;            /* the highest first */
	size_t memory; /* bytes of activations kept at a time; with more, contexts are read again. 0: 128 MB */
} store_regex_opts;
/* Features that fire where the regular expression matches, after codebook-features: the match's group 1 (the whole, when
 * the pattern has no group; empty ones are skipped) is mapped to the token that holds its first character; M = set of such
 * tokens that count. recall = fired in M / |M|, precision = fired in M / fired, both over stored firings (all contexts with
 * --corpus, else the random ones; the result says which and how many tokens). Ties by hits, then feature.
 * Beyond that, over the same firings: the threshold on the activation with the best F1 ("threshold", its precision, recall and
 * "best_f1": chosen on the tokens it is measured on), and "auroc" of the activation (silent: 0) for "is in M" over all tokens that
 * count. By chance precision is matches / tokens.
 * {"source","pattern","matches","tokens","contexts","corpus","total","features":[{"feature","precision","recall","f1","hits",
 *  "fires","threshold","threshold_precision","threshold_recall","best_f1","auroc","label"}]}
 * ERR_ARG: the pattern does not compile (says at which character); ERR_LIMIT: it takes too many steps on some context. */
int store_find_regex(cJSON **out, store *s, const store_regex_opts *o, error *err) MUST_USE;
/* The reverse: what the tokens are on which a feature fires, over the same stored firings, each list best first (F1, then hits)
 * and `limit` long. precision = hits / fires, recall = hits / of, where `of` tokens that count are such tokens; lift = precision
 * over their share of all tokens.
 * {"source","feature","label","fires","tokens","contexts","corpus",
 *  "token":[{"token","text","precision","recall","f1","lift","hits","of"}], "previous" and "next": by the token before and behind,
 *  "pair": with the token before it ("before","before_text"), "word": by the first word (\w+) that it holds a part of, and the byte
 *  of it that the token begins "at", "prefix": of a word that begins in it, "suffix": that begins in it, up to 4 characters,
 *  "patterns":[{"pattern",...}]: made of these, and classes of characters; store_find_regex() gives the same numbers for them}
 * ERR_ARG: no such feature. */
int store_find_of(cJSON **out, store *s, const char *source, uint32_t feature, uint64_t limit,
                  error *err) MUST_USE;
typedef enum store_like_sort {
	STORE_LIKE_SEPARATION, /* by how far AUROC is from a half */
	STORE_LIKE_AUROC       /* the highest first: stronger in the first set */
} store_like_sort;
typedef struct store_like_opts {
	const char *source; /* NULL: the only one */
	const char *const *
	        like; /* (n_like) lines: the number of a context, or words as of store_find_text() that contexts hold */
	const char *const *unlike; /* (n_unlike) NULL: all others with stored firings */
	size_t n_like, n_unlike;
	const char *like_name, *unlike_name; /* what messages call them; NULL: "like", "unlike" */
	uint64_t limit;                      /* features listed */
	store_like_sort sort;
	size_t memory; /* bytes of activations kept at a time; with more, contexts are read again. 0: 64 MB */
} store_like_opts;
/* Features that tell two sets of contexts apart by the maximum in a context (0 where they are silent), over tokens that count.
 * Contexts without stored firings are left out, and so are those in both sets.
 * {"source","like":{"contexts","left_out","empty_lines","rest":false},"unlike":{...,"rest": all others},"in_both","tokens",
 *  "tests": features that fire in any of them,"features":[{"feature","auroc","auroc_low","auroc_high","p","q","like":{"share":
 *  of contexts in which it fires,"max","mean_max","mean": of each context's mean over its tokens},"unlike":{...},"label"}]}
 * auroc: the chance that it is stronger in a context of the first set than in one of the second, ties half, with a 95 % interval
 * (DeLong; of sets that do not overlap one that only counts them; null where a set is of one) and the p value of no difference
 * (Mann-Whitney), both by normal approximation: rough under 10 contexts. q: the share
 * of false ones expected among all features with such a p or less (Benjamini-Hochberg over "tests").
 * ERR_FORMAT: a line is no query; ERR_NOTFOUND: no such context, or a set without stored firings. */
int store_find_like(cJSON **out, store *s, const store_like_opts *o, error *err) MUST_USE;
/* Contexts and labels that hold the words (FTS5 query syntax), best first, with a snippet and the features strongest there: on the
 * words found where firings are stored, else in the context.
 * Where the query has characters of a script without spaces (view `unspaced`), texts that have such too are asked for its
 * words anywhere in them, in capitals or small letters: by trigrams, or where a word has under three characters by reading at
 * most 64 MB of them; all others as ever. They come first.
 * {"source","words","unspaced_by": null, "trigrams" or "reading","labels":[{"feature","label","method","rank","snippet":[{"text",
 *  "match"}...]}],"contexts":[{"context","document","part","rank","snippet","features_of":"words" or "context","features":
 *  [{"feature","position","value","label"}]}],"complete": all were read}
 * ERR_ARG: not a query (says at which character). */
int store_find_text(cJSON **out, store *s, const char *source, const char *words, unsigned limit,
                    error *err) MUST_USE;
/* Read-only SQL: one statement, no attach, no pragma but reading ones, no writes, at most `seconds`.
 * {"columns":[...],"rows":[[...]],"truncated":bool}; blobs as {"blob":hex}. ERR_LIMIT: it was stopped. It cannot be within one
 * call of a function, like instr() of values of up to 64 MB: who takes SQL from strangers sets the process a timer too. */
int store_sql(cJSON **out, store *s, const char *sql, uint64_t max_rows, double seconds, error *err) MUST_USE;

/* ---- Export (export_*.c) -------------------------------------------------------------------------------------- */

typedef struct store_csv_opts {
	/* (n_tables) names of tables and views; none: all but indexes of full text, and but views that spell out each example */
	const char *const *tables;
	size_t n_tables;
	bool all;   /* these too: without names */
	bool force; /* replace a folder that holds nothing but .csv files */
	store_stop stop;
} store_csv_opts;
typedef struct store_export_result {
	uint64_t n_files, n_rows, n_bytes;
	const char
	        *left_out; /* of CSV: names of the views passed over, ", " between them; static. NULL: none */
} store_export_result;
/* NAME.csv for each, in a folder that appears whole or not at all, all of one moment. RFC 4180, UTF-8, a header, lines that
 * end in CR LF; NULL is nothing, empty text "", a blob its hexadecimal digits; numbers read back the same. `out` and `pr` may
 * be NULL. ERR_EXISTS; ERR_NOTFOUND: no such table. */
int store_export_csv(store_export_result *out, store *s, const char *folder, const store_csv_opts *o,
                     progress *pr, error *err) MUST_USE;

/* Neuronpedia's layout, version 1, in a folder that appears whole or not at all: v1/config/NAME.jsonl, v1/MODEL/SOURCE/{release,
 * model,sourceset,source}.jsonl and {features,activations,explanations,explanation_scores}/batch-N.jsonl.gz. docs/formats.md has
 * the rows. */
typedef struct store_neuronpedia_opts {
	const char *source; /* NULL: the only one */
	/* What Neuronpedia calls model, source, source set, release, and its user; NULL: from what is known of the source, of the
	 * user null. Letters, digits and . _ - only. */
	const char *model_id, *source_id, *set, *release, *creator;
	uint32_t n_top, n_samples; /* activations of each feature: the strongest, and of each interval */
	bool vectors;              /* with decoder rows */
	bool force;                /* replace a folder that holds nothing but .jsonl and .jsonl.gz files */
	store_stop stop;
} store_neuronpedia_opts;
/* `out` and `pr` (updated in features) may be NULL. ERR_EXISTS; ERR_ARG: a name is none, or the source does not say it. */
int store_export_neuronpedia(store_export_result *out, store *s, const char *folder,
                             const store_neuronpedia_opts *o, progress *pr, error *err) MUST_USE;

/* Files of the viewer of OpenAI's sparse_autoencoder: atoms/FEATURE.json in a folder that appears whole or not at all. */
typedef struct store_viewer_opts {
	const char *source;       /* NULL: the only one */
	uint32_t n_top, n_random; /* sequences of each feature */
	bool force;               /* replace a folder that holds nothing but .json files */
	store_stop stop;
} store_viewer_opts;
/* `out` and `pr` (updated in features) may be NULL. ERR_EXISTS. */
int store_export_viewer(store_export_result *out, store *s, const char *folder, const store_viewer_opts *o,
                        progress *pr, error *err) MUST_USE;

/* A control vector for llama.cpp: the sum of decoder rows, each times its alpha, as one GGUF file with the tensor direction.LAYER. */
typedef struct store_gguf_alpha {
	double value;
	bool times_max; /* in units of the feature's largest activation */
} store_gguf_alpha;
typedef struct store_gguf_opts {
	const char *source;             /* NULL: the only one */
	const uint32_t *features;       /* (n) */
	const store_gguf_alpha *alphas; /* (n) */
	size_t n;
	int64_t layer;          /* whose output it is added to, from 0; -1: as the source says */
	const char *model_hint; /* architecture as llama.cpp calls it ("llama"); NULL: none */
	bool force;             /* replace a file at `path` */
} store_gguf_opts;
/* ERR_EXISTS; ERR_ARG: no layer, layer 0, a direction that is zero or not finite; ERR_NOTFOUND: no such feature or no decoder rows;
 * ERR_FORMAT: a row of another width, or not finite. */
int store_export_gguf(store_export_result *out, store *s, const char *path, const store_gguf_opts *o,
                      error *err) MUST_USE;

/* ---- Import (import_neuronpedia.c) ------------------------------------------------------------------------------- */

typedef struct store_import_result {
	uint64_t n_files, n_rows, n_added, n_known; /* known: rows that the store held already */
} store_import_result;
/* Add the labels of Neuronpedia's exports of explanations, files (n) of JSON lines, plain or gzip-compressed, to a source (NULL:
 * the only one), in their order: type, model and time are kept as method, model and time; a row without a type is of method
 * "neuronpedia". A label that is there (text, method, model and, where given, time) is not added again. All or nothing.
 * `pr` (updated in rows) may be NULL. Errors name file and line: ERR_FORMAT, ERR_LIMIT (a line over 4 MB), ERR_NOTFOUND (no such
 * feature), ERR_ARG (rows of several sources). */
int store_import_neuronpedia(store_import_result *out, store *s, const char *source, const char *const *paths,
                             size_t n, const store_stop *stop, progress *pr, error *err) MUST_USE;

/* ---- Two sources compared (compare*.c) ---------------------------------------------------------------------------------------- */

/* Decoder vectors (F, d_in) of a source (NULL: the only one), as stored (F16), malloc'd; NULL with 0 where the store has none.
 * ERR_FORMAT: of some features only, or not finite. */
int store_vectors(float **out, store *s, const char *source, error *err) MUST_USE;
/* What steers by a feature: its decoder row, in units of the rows that the SAE was trained on, and the block of the model whose
 * output these are, from 0. source: an id. layer: that block where the caller knows better, else -1. ERR_ARG: the source does not
 * say of which block it is, or its rows are not of the residual stream; ERR_NOTFOUND: it has no decoder rows. */
typedef struct store_direction {
	float *row; /* (width), malloc'd */
	uint32_t width;
	int64_t layer;
} store_direction;
int store_direction_get(store_direction *out, store *s, int64_t source, uint32_t feature, int64_t layer,
                        error *err) MUST_USE;
/* That block alone, for a caller who has the rows from the SAE itself: at `path` (for errors), of n features, rows of `width` values,
 * weights with this hash. Errors as above, and ERR_ARG: the source was made of another SAE. */
int store_direction_block(int64_t *out, store *s, int64_t source, int64_t layer, const char *path, uint32_t n,
                          uint32_t width, const char *weights_sha256, error *err) MUST_USE;

/* What the decoder directions of two sources say of each other, found by the caller (sae/ has the products). [0] is A's, [1] B's;
 * features of the other side are named by number, UINT32_MAX: none. */
enum { STORE_DIRECTION_PARTS = 8 };
typedef struct store_directions {
	const float *rows[2]; /* (F, d) at norm 1 */
	uint32_t d;
	const uint32_t *match;   /* (F of A) one to one */
	const uint32_t *near[2]; /* (F, n_near) by cosine, the largest first */
	uint32_t n_near[2];
	/* (F, STORE_DIRECTION_PARTS) at least two whose weighted sum stands for it, none behind the last */
	const uint32_t *parts[2];
	const float *together[2]; /* (F) cosine with that sum; NaN: no parts */
} store_directions;

typedef struct store_compare_opts {
	store *a, *b; /* may be the same */
	const char *source_a, *source_b;
	const store_directions *directions; /* NULL: there are none, or they are of different width */
	const store_directions *chance; /* the same with random rows in B's place; NULL where directions is */
	double chance_cosine;           /* what one best cosine in a hundred is over by chance */
	bool by_firing;                 /* match by co-firing, though there are directions */
	double min_cosine;              /* of a match by direction that is the same feature. 0.7 */
	double min_correlation;         /* of one by co-firing; and below it a feature may be split. 0.7 */
	double min_overlap; /* of a split: of the parts inside the whole, and of the whole that they cover. 0.5 */
	double min_gain; /* what each part adds to that; what parts by direction add to the best cosine. 0.1 */
	double min_together; /* cosine with the sum of parts by direction. 0.7 */
	uint32_t min_common; /* tokens that a part shares with the whole. 5 */
	uint64_t seed;       /* of chance */
	bool pairs;          /* also "pairs" */
	pool *pool;          /* NULL: one thread. The same answer at any number of them */
} store_compare_opts;
/* Compare the features of two sources over the tokens that count for both in contexts with stored firings of both (as many
 * as fit: 32 M firings a side, 16 bytes each). With directions matches are theirs; else mutual best by the correlation of
 * activations over all common tokens. Verdicts, for both sides:
 *	same       matched, each is the other's best, and their decoder cosine (by co-firing: their correlation) is at least
 *	           min_cosine (min_correlation)
 *	split      not the same, nobody correlates with it at min_correlation, and it is divided among at least two features of
 *	           the other side, its parts. Each of them shares
 *	           min_common tokens with it and fires mostly inside it: (share of the part's firings on which the whole fires -
 *	           share of all tokens on which it does) >= min_overlap (1 - the latter). And either
 *	           by firing: the decoder cosine of each with it is over chance_cosine (where directions count), taken in the
 *	           order of what they add each covers min_gain of its firings that those before do not, and all cover min_overlap; or
 *	           by direction: its cosine with the sum of its parts is at least min_together, and min_gain over its best cosine.
 *	           Without common contexts: by direction alone, which is weak
 *	merged     neither, but a part of a split feature of the other side
 *	unmatched  none of these
 * By chance: the same with `chance` for directions, and for the other side's firings at a token those at the same place of
 * another context.
 * {"a":{"source","store","features","firing","verdicts":{...},"chance_verdicts":{...}},"b":{...},
 *  "matched":{"by","pairs","over","chance_over"},"common":{"contexts","tokens","all_used"},
 *  "correlation":{"a":{"mean_best","chance_mean","chance_99"},"b":{...}} or null,"jaccard":the same for who correlates best,
 *  "features":[{"side","feature","verdict","fires","match","cosine","common","firing_cosine","jaccard","correlation","nearest",
 *  "nearest_cosine","cofiring","cofiring_correlation",("parts","by","covered" or "together"),("part_of"),"label","match_label"}],
 *  "pairs":[{"a","b","cosine","common","firing_cosine","jaccard","correlation"}]: matches, parts and for each feature the 5
 *  nearest by cosine and by correlation}
 * ERR_NOTFOUND: neither directions nor common contexts. */
int store_compare(cJSON **out, const store_compare_opts *o, error *err) MUST_USE;

/* ---- Likeness (similar.c, duplicates.c) ----------------------------------------------------------------------------------------- */

typedef enum store_by { STORE_BY_JACCARD, STORE_BY_COSINE, STORE_BY_LIFT } store_by;
typedef struct store_similar_opts {
	const char *source; /* NULL: the only one */
	uint32_t feature;
	store *other;      /* where to look; NULL: the same store */
	const char *in;    /* the source to look in; NULL: `source`, in another store its only one */
	store_by by;       /* what orders those that fire together */
	uint32_t min_both; /* tokens on which both fire, at least; 0: 1 */
	uint64_t limit;    /* of each list */
} store_similar_opts;
/* What is like a feature. By direction: cosine of decoder vectors, as stored; null where one has none or widths differ, which "decoder_why" then
 * tells; the rows of neurons are axes. By firing,
 * over the tokens that count in both sources, of contexts whose firings both have stored: with a tokens on which it fires, b on
 * which the other does, `both` on which both do, of `tokens`: jaccard = both / (a + b - both), cosine = both / sqrt(a b), lift =
 * both * tokens / (a b).
 * {"source","feature","label","in":{"store","source"},"decoder":[{"feature","cosine","label"}],
 *  "cofiring":{"contexts","tokens","fires","total","features":[{"feature","both","fires","jaccard","cosine","lift","label"}]}} */
int store_similar(cJSON **out, store *s, const store_similar_opts *o, error *err) MUST_USE;

typedef struct store_duplicates_opts {
	store_sources sources; /* zeroed: all of the store */
	uint32_t
	        min_fires; /* features that fire on fewer of the tokens are left out: little tells them apart. 8 */
	uint32_t distance; /* near duplicates: bits of 64 in which their hashes may differ, 0..7. 3 */
	uint64_t limit;    /* of each list */
} store_duplicates_opts;
store_duplicates_opts store_duplicates_opts_default(void);
/* Features that behave alike, over the tokens that count in all the sources, of contexts whose firings all have stored.
 * Duplicates fire on the same tokens, and nowhere is the activation, as a share of the feature's largest, over 1/32 from that of
 * the group's first. So a feature of another scale or place, or of another seed, is found; "key" is the hash of the first's
 * tokens and activations in sixteenths. Near duplicates: the signs of 64 random projections of the activations (SimHash) differ
 * in at most `distance`; "cosine" is the true one of the activations. Of a group, its first stands for all.
 * {"sources","contexts","tokens","features": compared,"n_groups","groups":[{"key","fires","features":[{"source","feature","max",
 *  "label"}]}],"n_near","near":[{"distance","cosine","a":{...},"b":{...}}]}
 * ERR_LIMIT: over 4 M pairs are so near. */
int store_duplicates(cJSON **out, store *s, const store_duplicates_opts *o, error *err) MUST_USE;

/* ---- A person's own: lists, notes, labels (lists.c, notes.c, person_labels.c) ------------------------------------------------------ */

/* Names, labels and notes are cut of space at both ends and must then be UTF-8 without control characters, of 1 to 100, 1,000
 * and 65,536 bytes; a note may hold newlines and tabs. ERR_ARG, ERR_LIMIT. What writes does it in one transaction and wants a
 * store opened with STORE_WRITE; ERR_BUSY: another process writes for over 10 s. */

/* {"lists":[{"name","features","sources","created"}]}, by name. */
int store_lists(cJSON **out, store *s, error *err) MUST_USE;
/* {"name","features":[{"source","feature","density","max_act","label"}]}. ERR_NOTFOUND: names those there are. */
int store_list_get(cJSON **out, store *s, const char *name, error *err) MUST_USE;
/* Add features (n) of a source to a list, which is made where there is none; *added (may be NULL): those it did not hold. The
 * name of a list holds no comma and begins with no '@'. */
int store_list_add(uint64_t *added, store *s, const char *name, const char *source, const uint32_t *features,
                   size_t n, error *err) MUST_USE;
int store_list_remove(uint64_t *removed, store *s, const char *name, const char *source,
                      const uint32_t *features, size_t n, error *err) MUST_USE;
int store_list_delete(store *s, const char *name, error *err) MUST_USE;
int store_list_rename(store *s, const char *name, const char *to, error *err) MUST_USE; /* ERR_EXISTS */

/* {"source","feature","notes":[{"id","text","created"}]}, the first first. */
int store_notes(cJSON **out, store *s, const char *source, uint32_t feature, error *err) MUST_USE;
int store_note_add(store *s, const char *source, uint32_t feature, const char *words, error *err) MUST_USE;
int store_note_delete(store *s, const char *source, uint32_t feature, int64_t id,
                      error *err) MUST_USE; /* ERR_NOTFOUND */

/* {"source","feature","labels":[{"id","text","method","model","confidence","created","withdrawn","scores":[...],("chosen_by":{}),...}]}:
 * all that a feature ever had, the latest first; "withdrawn" is when it was taken back, or null; "chosen_by": the score by which it was
 * chosen among several. */
int store_labels(cJSON **out, store *s, const char *source, uint32_t feature, error *err) MUST_USE;
typedef struct store_label {
	uint32_t feature;
	const char *text;
} store_label;
/* Add labels (n) of method "person", all or none. *bad: the one that is wrong, or SIZE_MAX. */
int store_labels_add(size_t *bad, store *s, const char *source, const store_label *labels, size_t n,
                     error *err) MUST_USE;
/* Mark a person's latest label that holds as withdrawn: the one before counts again. ERR_NOTFOUND. */
int store_label_withdraw(store *s, const char *source, uint32_t feature, error *err) MUST_USE;

/* ---- Windows, for explain (windows.c, hard_windows.c) ------------------------------------------------------------------------------------------- */

typedef enum store_part { STORE_LABEL, STORE_SELECT, STORE_REPORT, STORE_ANY } store_part;

typedef struct store_window {
	int64_t context;
	uint64_t group; /* of documents */
	store_part part;
	uint32_t first, length; /* tokens of the context */
	uint32_t peak;          /* index in the window of the strongest token; length/2 in a silent window */
	float activation;       /* on it; 0 in a silent window */
	double weight;
	const uint32_t *token; /* (length) ids */
	const char *const *
	        text; /* (length) UTF-8 of each token, repaired; a character split over tokens is with the first */
	const float *value; /* (length) the feature's code on each token */
} store_window;             /* everything lives in the arena it was read into */

/* Windows in which the feature fires, strongest first: from top and bin examples of documents of `part`, at most one a
 * context, no two of equal text. *out (n) in `mem`. */
int store_windows_firing(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, arena *mem, error *err) MUST_USE;
/* At most `want` windows of `length` tokens of documents of `part` in which the feature is verified silent: contexts with
 * stored firings, every token of the window without it. Chosen by hash of (seed, feature, context, position), non-overlapping,
 * no text twice. */
int store_windows_silent(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, uint32_t length, size_t want, uint64_t seed, arena *mem,
                         error *err) MUST_USE;
/* The same windows and those in which it fires, drawn alike, with its values: any of the text as it comes. */
int store_windows_random(store_window **out, size_t *n, store *s, int64_t source, uint32_t feature,
                         store_part part, uint32_t length, size_t want, uint64_t seed, arena *mem,
                         error *err) MUST_USE;
/* Silent windows that are easily taken for firing ones, one a context at most: verified as above, with one of these at index
 * `before` (nearer to an edge where the context ends). */
typedef enum store_hard {
	STORE_HARD_DECODER,  /* a token on which a neighbour by decoder cosine fires, */
	STORE_HARD_COFIRING, /* on which a feature fires that often fires together with this one, */
	STORE_HARD_TOKEN,    /* one of `tokens` */
	STORE_HARD_KINDS
} store_hard;
typedef struct store_hard_opts {
	int64_t source;
	uint32_t feature;
	store_part part;
	store_hard by;
	uint32_t length, before;
	size_t want; /* at most */
	uint64_t seed;
	const uint32_t *
	        tokens; /* (n_tokens) ids; the first 8 count, as do the first 8 neighbours, which take turns */
	size_t n_tokens;
} store_hard_opts;
/* Their peak is that token; value is 1 where the neighbour fires, or the token stands, and 0 elsewhere. Fewer than
 * wanted, or none, where the store has no neighbours or no such places. ERR_FORMAT: corrupt. */
int store_windows_hard(store_window **out, size_t *n, store *s, const store_hard_opts *o, arena *mem,
                       error *err) MUST_USE;
/* The tokens of the vocabulary whose logits the feature raises most, the strongest first, or with `top` false lowers most (logits.c):
 * *out (n) in `mem`; none where the store was indexed without an unembedding. */
typedef struct store_logit {
	uint32_t token;
	const char *text; /* UTF-8, repaired; "" where the store has no vocabulary */
	double value;
} store_logit;
int store_logits(store_logit **out, size_t *n, store *s, int64_t source, uint32_t feature, bool top,
                 arena *mem, error *err) MUST_USE;

#include "store/work.h"

#endif
