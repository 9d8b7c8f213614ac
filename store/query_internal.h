/* What the query files share: rows of contexts, the stored firings of a source, JSON building. */
#ifndef GLOSS_STORE_QUERY_INTERNAL_H
#define GLOSS_STORE_QUERY_INTERNAL_H

#include "store/codes.h"
#include "store/store_internal.h"

/* ---- Contexts (context_row.c) -------------------------------------------------------------------------------- */

/* A context as a statement gave it. Its pointers live until that statement's next step. */
typedef struct context_row {
	int64_t id, document; /* document: its key */
	uint64_t group;
	store_part part;
	uint32_t n_tokens;
	const unsigned char *tokens; /* u32 little-endian (n_tokens) */
	const unsigned char
	        *offsets; /* u32 little-endian (n_tokens + 1), ascending, the last at most text_len */
	const char *text;
	size_t text_len;
} context_row;

/* The columns that context_row_read() takes, and where they come from. */
#define CONTEXT_COLUMNS   "c.id, d.key, d.group_key, d.part, c.n_tokens, c.tokens, c.offsets, c.text"
#define CONTEXT_N_COLUMNS 8
#define CONTEXT_TABLES    "context c JOIN document d ON d.id = c.document_id"

/* Take a context from columns first_column... of a row, and check that its arrays agree. ERR_FORMAT: corrupt. */
int context_row_read(context_row *out, sqlite3_stmt *row, int first_column, store *s, error *err) MUST_USE;
uint32_t context_row_token(const context_row *c, uint32_t i);
/* Where token i begins in the text; i = n_tokens: where the last one ends. */
uint32_t context_row_offset(const context_row *c, uint32_t i);
/* The token that holds byte `at` of the text; n_tokens when it is behind the last. */
uint32_t context_row_token_at(const context_row *c, uint32_t at);
/* Texts of tokens first .. first + length - 1 as strings in `mem`. NULL: no memory. */
const char *const *context_row_texts(const context_row *c, uint32_t first, uint32_t length, arena *mem);
const char *store_part_name(store_part part); /* "label"; "any" for STORE_ANY */

uint32_t load_u32le(const unsigned char *p);
uint32_t load_u16le(const unsigned char *p);
float load_f32le(const unsigned char *p);

/* The window of an example: tokens first .. first + length - 1 of its context; peak: the qualifying one in it. ERR_FORMAT:
 * the position is not in the context. */
typedef struct example_span {
	uint32_t first, length, peak;
} example_span;
int example_span_find(example_span *out, int64_t position, uint32_t before, uint32_t after,
                      const context_row *c, store *s, error *err) MUST_USE;
/* The firings of an example's window from a column with its codes: value[i] is set for the tokens that fire, value[at], the
 * qualifying one's, to the activation, which is exact. wide: as store_window_is_wide() says of the source. ERR_FORMAT:
 * corrupt. */
int example_codes_read(float *value /* (length), zeroed */, uint32_t length, uint32_t at, float activation,
                       sqlite3_stmt *row, int column, bool wide, store *s, error *err) MUST_USE;

/* ---- Stored firings (firing_scan.c, firing_hash.c, firing_cache.c) ---------------------------------------------------------- */

/* The context of a source whose firings are stored, one after the other: the sampled ones first, each lot by id. */
typedef struct firing_scan {
	store *s;
	sqlite3_stmt *row;
	int64_t source;
	uint32_t n_features;
	bool sampled; /* the lot being read */
	bool lazy;    /* set by the caller: codes are read only by firing_scan_pick() */
	context_row context;
	const unsigned char *counted; /* bit i: token i counts */
	store_codes codes;            /* of the context */
} firing_scan;
int firing_scan_begin(firing_scan *scan, store *s, int64_t source, error *err) MUST_USE;
/* *more: `scan` holds the next context. */
int firing_scan_next(firing_scan *scan, bool *more, error *err) MUST_USE;
/* Read some of the codes of the context that `scan` holds, as store_codes_pick(). */
int firing_scan_pick(firing_scan *scan, const unsigned char *tokens, const uint32_t *slot,
                     error *err) MUST_USE;
void firing_scan_end(firing_scan *scan); /* fine on a zeroed struct */
bool bit_is_set(const unsigned char *bits, uint32_t i);

/* Of each feature a hash of the tokens of the source's random contexts on which it fires, 63 bits: the same for features that fire
 * on the same ones, 0 for those that fire on none. *out (n_features) malloc'd. */
int firing_hash_find(int64_t **out, store *s, int64_t source, uint32_t n_features, error *err) MUST_USE;

/* Where each feature fires, over as many of those contexts as fit: kept with the store, since explain/ asks for hundreds of
 * features of one source in turn. */
typedef struct firing_place {
	uint32_t context, token; /* context: index in `contexts` */
} firing_place;
typedef struct firing_context {
	context_row row;
	const unsigned char *counted;
} firing_context;
typedef struct firing_cache {
	int64_t source;
	uint32_t n_features, n_contexts;
	firing_context *contexts;
	size_t *start; /* (n_features + 1): those of feature f are places start[f] .. start[f + 1] - 1, in order */
	firing_place *places;
	arena mem; /* what the rows point to */
} firing_cache;
/* *out belongs to the store, until another source is asked for or the index changes. */
int firing_cache_get(const firing_cache **out, store *s, int64_t source, error *err) MUST_USE;

/* ---- Time (time_limit.c) -------------------------------------------------------------------------------------- */

/* From start to end, statements on this store stop (ERR_LIMIT) when the seconds are over, no value may pass max_length bytes, no
 * pattern of LIKE and GLOB max_pattern, and SQLite takes up to TIME_LIMIT_HEAP bytes in all of this process. One call of a function
 * is not interrupted: on values of n bytes it can take as long as n * max_pattern or n * n / 4 steps do. */
typedef struct time_limit {
	store *s;
	double end; /* by clock_now() */
	int max_length, max_pattern;
	int64_t max_heap;
} time_limit;
#define TIME_LIMIT_HEAP ((int64_t)1 << 30)
void time_limit_start(time_limit *limit, store *s, double seconds, int max_length, int max_pattern);
void time_limit_end(time_limit *limit);

/* ---- JSON (json_put.c) ---------------------------------------------------------------------------------------- */

/* Add to an object, or with a NULL name to an array. What cannot be added sets *failed (and is freed), so that a page is
 * built first and checked once; a NULL object is fine then. */
void json_put_text(cJSON *object, const char *name, const char *value, bool *failed); /* NULL: null */
void json_put_number(cJSON *object, const char *name, double value, bool *failed);    /* NaN: null */
void json_put_bool(cJSON *object, const char *name, bool value, bool *failed);
void json_put_id(cJSON *object, const char *name, int64_t id,
                 bool *failed); /* a string: readers round large numbers */
void json_put_column(cJSON *object, const char *name, sqlite3_stmt *row, int column, bool *failed);
void json_put(cJSON *object, const char *name, cJSON *item,
              bool *failed); /* takes over item; NULL counts as failed */
cJSON *json_put_array(cJSON *object, const char *name, bool *failed); /* owned by `object` */
cJSON *json_put_object(cJSON *object, const char *name, bool *failed);
/* Hand over a finished page: *out gets it, unless rc < 0 or `failed`; then it is freed. */
int json_finish(cJSON **out, cJSON *page, int rc, bool failed, error *err) MUST_USE;

/* ---- Sources (sources.c) ------------------------------------------------------------------------------------------ */

/* The sources asked for, in that order, or all in the order of their ids; strings and *out (n) in `mem`. ERR_NOTFOUND;
 * ERR_ARG: named twice, or none named where there are several. */
int sources_find(store_source **out, size_t *n, store *s, const store_sources *which, arena *mem,
                 error *err) MUST_USE;

/* ---- Labels of a list (label_lookup.c) -------------------------------------------------------------------------- */

typedef struct label_lookup {
	store *s;
	sqlite3_stmt *row;
	int64_t source;
} label_lookup;
int label_lookup_init(label_lookup *l, store *s, int64_t source, error *err) MUST_USE;
/* "label": its text or null */
int label_lookup_put(label_lookup *l, cJSON *object, uint32_t feature, bool *failed, error *err) MUST_USE;
void label_lookup_clear(label_lookup *l); /* fine on a zeroed struct */

#endif
