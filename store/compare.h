/* Two sources compared: what compare*.c share. A comparison holds the firings of both sides on their common contexts; a run over
 * it is made twice, as they are and by chance. */
#ifndef GLOSS_STORE_COMPARE_H
#define GLOSS_STORE_COMPARE_H

#include "store/query_internal.h"

#define NONE UINT32_MAX
enum { COMPARE_NEAR = 5, COMPARE_PARTS = STORE_DIRECTION_PARTS };

/* ---- Firings on common contexts (compare_firings.c) ---------------------------------------------------------------- */

typedef struct compare_firing {
	uint32_t id;
	float value;
} compare_firing;
typedef struct compare_side {
	store *s;
	const char *name;
	store_source source;
	uint32_t n_features;
	size_t *by_token;       /* (tokens + 1) */
	compare_firing *on;     /* by token; id: the feature, ascending within a token */
	size_t *by_feature;     /* (F + 1) */
	compare_firing *of;     /* by feature; id: the token, ascending within a feature */
	double *sum, *variance; /* (F) of activations over all common tokens; variance: times their number */
	size_t n_firings, token_cap, firing_cap;
} compare_side;
uint32_t compare_fires(const compare_side *side, uint32_t f); /* 0 where nothing is in common */

typedef struct comparison {
	const store_compare_opts *o;
	compare_side side[2];
	uint32_t n_contexts, n_tokens; /* in common, tokens that count for both */
	uint32_t *begin;               /* (n_contexts + 1): tokens of each context */
	size_t begin_cap;
	bool all_used; /* not: there were more common contexts than fit */
} comparison;
int compare_read(comparison *c, error *err) MUST_USE;
void compare_clear(comparison *c);

/* ---- A run (compare_count.c, compare_parts.c, compare_verdict.c) ---------------------------------------------------- */

/* For each feature those of the other side that correlate best with it, by correlation over 0, the largest first. */
typedef struct compare_ranks {
	uint32_t *ids;      /* (F, COMPARE_NEAR); NONE behind the last */
	float *correlation; /* (F, COMPARE_NEAR) */
	uint32_t *count;    /* (F, COMPARE_NEAR) tokens on which both fire */
} compare_ranks;

/* Features that fire mostly inside one of the other side, by whole and part. */
typedef struct compare_part {
	uint32_t whole, part, count; /* count: tokens on which both fire */
} compare_part;
typedef struct compare_inside {
	compare_part *items;
	size_t n, cap;
} compare_inside;

typedef enum compare_evidence { COMPARE_NO_PARTS, COMPARE_BY_FIRING, COMPARE_BY_DIRECTION } compare_evidence;

/* What is found for the features of a side among those of the other. */
typedef struct compare_found {
	compare_ranks ranks;   /* NULLs where no contexts are common */
	compare_inside inside; /* a side's features are the wholes */
	uint32_t *parts;       /* (F, COMPARE_PARTS), NONE behind the last */
	float *covered;        /* (F) share of its firings that the parts cover; NaN: no parts by firing */
	uint8_t *evidence;     /* (F) for the parts */
} compare_found;

typedef enum compare_kind { COMPARE_SAME, COMPARE_SPLIT, COMPARE_MERGED, COMPARE_UNMATCHED } compare_kind;
enum { COMPARE_KINDS = 4 };
typedef struct compare_verdict {
	uint32_t match; /* NONE: nobody */
	compare_kind kind;
	uint32_t n_whole;
	uint32_t whole[COMPARE_PARTS]; /* of a merged feature: split ones that it is a part of */
} compare_verdict;

typedef struct compare_run {
	const comparison *c;
	const store_directions *directions; /* those that verdicts go by; NULL: by firing */
	bool chance;                        /* B's firings are those of another context */
	const uint32_t *place; /* (tokens) of B's firings for a token of A; NONE: nowhere. NULL: there */
	compare_found found[2];
	compare_verdict *of[2]; /* (F) */
	uint32_t tally[2][COMPARE_KINDS];
	uint32_t n_matched, n_over; /* over: matched at the threshold or over it, mutual best or not */
	arena mem;
} compare_run;
/* What is found, matches and verdicts. In any case the caller ends it with compare_run_end(). */
int compare_run_make(compare_run *run, const comparison *c, bool chance, error *err) MUST_USE;
void compare_run_end(compare_run *run); /* fine on a zeroed struct */

/* Its steps. Fill ranks and inside of both sides from the firings; then parts of a side from what is inside, and where no
 * contexts are common from the directions alone. */
int compare_count(compare_run *run, error *err) MUST_USE;
int compare_divide(compare_run *run, int s, error *err) MUST_USE;

/* Decoder cosine of feature f of side s and g of the other. */
double compare_cosine(const store_directions *d, int s, uint32_t f, uint32_t g);
double compare_best_cosine(const store_directions *d, int s, uint32_t f);
typedef struct compare_pair {
	uint32_t common;        /* tokens on which both fire */
	double cosine, jaccard; /* of the sets of tokens on which they fire; NaN where one never does */
	double correlation; /* Pearson's, of activations over all common tokens; NaN where one alone is constant */
} compare_pair;
void compare_measure(compare_pair *out, const comparison *c, uint32_t a, uint32_t b);

/* ---- The answer (compare_page.c) ----------------------------------------------------------------------------------- */

int compare_page(cJSON **out, const comparison *c, const compare_run *real, const compare_run *chance,
                 error *err) MUST_USE;

#endif
