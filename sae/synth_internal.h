/* What the generators of synthetic dumps share: what each kind makes before the first row, and how a row is drawn. */
#ifndef GLOSS_SAE_SYNTH_INTERNAL_H
#define GLOSS_SAE_SYNTH_INTERNAL_H

#include "sae/sae.h"

/* Files of a truth. */
#define TRUTH_FOLDER     "truth"
#define TRUTH_JSON       "truth.json"
#define TRUTH_DICTIONARY "dictionary.safetensors"
#define TRUTH_CODES      "codes.npz"
enum { TRUTH_VERSION = 1 };

/* ---- Random numbers (synth_random.c): functions of (seed, counter), so that no row depends on another ------------------------- */

double synth_unit(uint64_t seed, uint64_t counter); /* in [0, 1) */
double synth_normal(uint64_t seed, uint64_t counter);
/* P(N(0, 1) > x), and the x where that is p, 0 < p < 1. */
double synth_normal_above(double x);
double synth_normal_bound(double p);
/* Isotropic unit rows (n, d); malloc'd as by mem_alloc_aligned(), NULL: no memory. */
float *synth_unit_rows(uint32_t n, uint32_t d, uint64_t seed);
/* Push unit rows apart: `steps` of Adam down the sum of squared cosines of all pairs, norms held near 1; at norm 1 in the end. */
int synth_orthogonalise(float *rows, uint32_t n, uint32_t d, uint32_t steps, double lr, pool *p,
                        error *err) MUST_USE;
/* The largest |cosine| of two rows. */
int synth_max_cosine(double *out, const float *unit, uint32_t n, uint32_t d, pool *p, error *err) MUST_USE;

/* Streams of random numbers: what hash64_mix(seed, STREAM) begins. */
enum {
	STREAM_DICTIONARY = 1,
	STREAM_BIAS,
	STREAM_STD,
	STREAM_FACTOR,
	STREAM_ROWS,
	STREAM_NOISE,
	STREAM_TOY,
	STREAM_MACHINE,
	STREAM_CHANCE
};

/* ---- A generator --------------------------------------------------------------------------------------------------------------- */

typedef struct synth synth;
typedef struct synth_row { /* features ascending, values over 0 */
	uint32_t n, *index;
	float *value;
	double *scratch; /* (G + rank), of whoever draws */
} synth_row;

struct synth {
	sae_synth_kind kind;
	sae_synth_opts o;
	arena mem;       /* holds what follows, but for the dictionary */
	uint64_t n_rows; /* whole contexts */
	uint32_t n_features;
	float *dictionary;   /* (G, d); free() */
	float *bias;         /* (d) */
	double *probability; /* (G) share of rows it should be active on; NULL: not known */
	uint8_t *present;    /* (G); NULL: all are */
	int32_t *parent;     /* (G), -1: none; NULL: none has one */
	int32_t *input;      /* (G), the one input that it is in, from 1, 0: all; NULL: there is one */
	uint32_t n_inputs;   /* 0, 1: one */
	float *mean, *std;   /* (G) of values; NULL: they are 1 */
	/* The features of a row, from (seed, row) alone. */
	void (*draw)(const synth *s, uint64_t row, synth_row *out);
	void *state;
	/* Text: (n_rows) token and whether the row counts; NULL: rows have none. */
	uint8_t *tokens, *mask;
	uint32_t vocabulary;
	cJSON *notes; /* of the kind, for truth.json; NULL: none */
};

/* A feature's value: mean + std times a normal, cut at 0. */
float synth_value(const synth *s, uint32_t feature, uint64_t seed);
/* s->dictionary, s->bias, s->mean, s->std from the options; n_features must be set. */
int synth_make_dictionary(synth *s, pool *p, error *err) MUST_USE;
int synth_make_values(synth *s, error *err) MUST_USE;

/* Of each kind: check what the common checks leave, fill in *s. */
int synth_planted_init(synth *s, pool *p, error *err) MUST_USE; /* synth_planted.c */
int synth_codebook_init(synth *s, pool *p, error *err) MUST_USE;
int synth_tree_init(synth *s, pool *p, error *err) MUST_USE;
int synth_hierarchy_init(synth *s, pool *p, error *err) MUST_USE; /* synth_hierarchy.c */
int synth_toy_init(synth *s, pool *p, error *err) MUST_USE;       /* synth_toy.c */
int synth_tokfsm_init(synth *s, pool *p, error *err) MUST_USE;    /* synth_tokfsm.c */

/* The folder's files but the shards (synth_files.c): dump.json, tokenizer.json where there is text, truth/ without the codes. */
int synth_write_small(const synth *s, const char *dir, const char *truth_dir, const uint64_t *fires /* (G) */,
                      uint64_t n_codes, pool *p, error *err) MUST_USE;
/* What all kinds ask of options (synth_opts.c). ERR_ARG names the option. */
int synth_check(const sae_synth_opts *o, sae_synth_kind kind, error *err) MUST_USE;

#endif
