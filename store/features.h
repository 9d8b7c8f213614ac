/* What the index pass keeps of every feature: counts, power sums, histogram, top contexts, samples. Bounded, mergeable,
 * and the same for any order of contexts (sums to 1e-12). No SQLite here. */
#ifndef GLOSS_STORE_FEATURES_H
#define GLOSS_STORE_FEATURES_H

#include "store/histogram.h"
#include "store/vocab.h"

/* The firings around a qualifying token. */
typedef struct window {
	uint32_t token;        /* the qualifying one's id */
	uint32_t size;         /* bytes of codes */
	unsigned char codes[]; /* as in `example.codes` */
} window;

typedef struct sample { /* one firing token */
	uint64_t hash;  /* of context, position, feature: samples are the smallest */
	int64_t context;
	uint32_t position;
	float value;
	window *codes;
} sample;

typedef struct top_sample {
	sample at;
	uint64_t text; /* hash of the window's bytes */
} top_sample;

typedef struct feature {
	uint64_t fires, contexts;
	double sum[4], lost[4]; /* power sums 1..4 and what their additions rounded away (Neumaier) */
	float max;
	uint32_t n_top, n_samples;
	histogram values;
	top_sample *top; /* (n_top), strongest first */
	sample *samples; /* (n_samples) by hash ascending: the smallest */
	uint64_t
	        bar; /* hashes over it are not kept; here because looking it up among the samples is a cache miss */
} feature;

typedef struct features {
	uint32_t n, n_top, n_samples, before, after;
	bool wide; /* windows may be longer than 256 tokens */
	const vocab *vocab;
	feature *at;       /* (n) */
	text window_bytes; /* scratch */
} features;
int features_init(features *fs, uint32_t n, uint32_t n_top, uint32_t n_samples, uint32_t before,
                  uint32_t after, const vocab *v, error *err) MUST_USE;
void features_clear(features *fs);

/* The firings of one feature in one context, by position. */
typedef struct run {
	uint32_t feature, n;
	const uint32_t *position; /* (n) ascending */
	const float *value;       /* (n) finite, > 0 */
} run;
typedef struct run_context {
	int64_t id;
	uint32_t n_tokens;
	const uint32_t *tokens;        /* (n_tokens) */
	const uint64_t *position_hash; /* (n_tokens) of id and position */
} run_context;
/* Begin to fetch what features_add() will need of a feature. */
void features_prefetch(const features *fs, uint32_t f);
/* *kept: set when an example now refers to the context, else left as it is. */
int features_add(features *fs, const run_context *c, const run *r, bool *kept, error *err) MUST_USE;

/* Statistics from the power sums, over firing tokens and of the population (divided by n). Kurtosis is that of Pearson
 * (3 for a normal). Skewness and kurtosis are NaN for n < 2 and where all values are equal as far as rounding tells. */
typedef struct moments {
	double sum[4], mean, std, skewness, kurtosis;
} moments;
moments feature_moments(const feature *f);

#endif
