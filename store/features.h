/* What the index pass keeps of every feature: counts, power sums, histogram, top contexts, a sample. Bounded, mergeable, and
 * the same for any order of contexts (sums to 1e-12). No SQLite here. */
#ifndef GLOSS_STORE_FEATURES_H
#define GLOSS_STORE_FEATURES_H

#include "store/histogram.h"
#include "store/spill.h"
#include "store/vocab.h"

enum { FEATURES_MAX_SAMPLES = 1000 };

typedef struct sample { /* one firing token */
	uint64_t hash;  /* of context, position, feature: samples are the smallest */
	int64_t context;
	uint64_t window; /* where its window is in the spill */
	uint32_t position;
	float value;
} sample;

typedef struct top_sample {
	sample at;
	uint64_t text; /* hash of the window's bytes */
} top_sample;

typedef struct feature {
	/* What each firing looks at comes first. */
	uint64_t bar; /* samples have hashes below it */
	histogram values;
	uint64_t fires, contexts;
	float max, least; /* least: of a full top; a context below it is none of it */
	uint32_t n_top, n_samples, room;
	double sum[4], lost[4]; /* power sums 1..4 and what their additions rounded away (Neumaier) */
	top_sample *top;        /* (n_top), strongest first */
	sample *samples; /* (n_samples), room for `room`; sorted by hash only after features_settle() */
} feature;

typedef struct features {
	uint32_t n, n_top, n_samples, before, after;
	bool wide; /* windows may be longer than 256 tokens */
	const vocab *vocab;
	feature *at;           /* (n) */
	spill windows;         /* of samples and top contexts */
	text bytes;            /* scratch: the text of a window */
	unsigned char *window; /* scratch: its record; `other` likewise */
	unsigned char *other;
} features;
/* before, after: window around a qualifying token. path, memory: of the spill (its size, and room for two windows more). */
int features_init(features *fs, uint32_t n, uint32_t n_top, uint32_t n_samples, uint32_t before,
                  uint32_t after, const vocab *v, const char *path, size_t memory, error *err) MUST_USE;
void features_clear(features *fs); /* fine on a zeroed struct */

/* The firings of one feature in one context, by position. */
typedef struct run {
	uint32_t feature, n;
	const uint32_t *position; /* (n) ascending */
	const float *value;       /* (n) finite, > 0 */
} run;
typedef struct run_context {
	int64_t id;
	uint32_t n_tokens;
	bool again;                    /* this context may have been here before */
	const uint32_t *tokens;        /* (n_tokens) */
	const uint64_t *position_hash; /* (n_tokens) of id and position */
	uint64_t *window_hash; /* (n_tokens) zeroed by the caller: of the text around a token, if asked */
} run_context;
/* Begin to fetch what features_add() will need of a feature; features_prefetch_values() some while later. */
void features_prefetch(const features *fs, uint32_t f);
void features_prefetch_values(const features *fs, uint32_t f);
/* *kept: set when an example now refers to the context, else left as it is. */
int features_add(features *fs, const run_context *c, const run *r, bool *kept, error *err) MUST_USE;

/* Add what another pass, or a part of this one, counted of a feature: fires, contexts, max, sum, lost and values of `from`.
 * Then offer its samples and top contexts; after features_settle() the result is that of one pass over both. */
int features_join(features *fs, uint32_t f, const feature *from, error *err) MUST_USE;
typedef struct offer { /* an example of another pass */
	int64_t context;
	uint32_t position, token;
	float value;
	const void *codes; /* as in `example.codes`, for the same window */
	size_t size;       /* bytes of them */
} offer;
int features_offer_sample(features *fs, uint32_t f, const offer *o, error *err) MUST_USE;
/* tokens (n): of its window. */
int features_offer_top(features *fs, uint32_t f, const offer *o, const uint32_t *tokens, uint32_t n,
                       error *err) MUST_USE;

/* Bring the sample of a feature down to its n_samples smallest hashes, in their order. */
void features_settle(features *fs, feature *f);
/* The window of an example: the qualifying token's id and codes as in `example.codes`. Lives until the next call of any
 * function here. */
typedef struct window {
	uint32_t token, size;
	const unsigned char *codes;
} window;
int features_window(window *out, features *fs, const sample *s, error *err) MUST_USE;

/* Statistics from the power sums, over firing tokens and of the population (divided by n). Kurtosis is that of Pearson
 * (3 for a normal). Skewness and kurtosis are NaN for n < 2 and where all values are equal as far as rounding tells. */
typedef struct moments {
	double sum[4], mean, std, skewness, kurtosis;
} moments;
moments feature_moments(const feature *f);

#endif
