/* Ground truth: the part of sae.h, which includes it, about dumps whose features are known, and how well an SAE finds them. */
#ifndef GLOSS_SAE_TRUTH_H
#define GLOSS_SAE_TRUTH_H

#include "sae/sae.h"

/* ---- Dumps with known features (synth*.c) ----------------------------------------------------------------------------------------------- */

typedef enum sae_synth_kind {
	SAE_SYNTH_PLANTED,   /* k of G features a row, all alike, values N(mean, std) cut at 0 */
	SAE_SYNTH_CODEBOOK,  /* k of G codes a row with the value 1, in each of `groups` parts of the row */
	SAE_SYNTH_HIERARCHY, /* SynthSAEBench: Zipf's firing, a Gaussian copula, trees of exclusive children */
	SAE_SYNTH_TREE, /* the toy of the Matryoshka SAE: 3 parents with 3 exclusive children each, 8 others */
	SAE_SYNTH_TOY,  /* hidden layer of the toy model of superposition, trained first */
	SAE_SYNTH_TOKFSM, /* text of a random automaton whose states are numbers of two digits */
	SAE_SYNTH_KINDS
} sae_synth_kind;
const char *sae_synth_kind_name(sae_synth_kind k);

typedef struct sae_synth_opts {
	uint64_t rows; /* of SAE_SYNTH_TOKFSM rounded down to whole contexts */
	uint64_t seed;
	uint64_t shard_rows; /* rows of a shard; 0: 512 MiB */
	uint32_t d, features, k;
	double noise; /* standard deviation of what is added to each value of a row */
	/* A feature's mean value, from the first to the last in equal steps; its standard deviation is |N(std, std_spread)|. */
	double mean, mean_last, std, std_spread;
	double bias;               /* norm of what is in every row */
	uint32_t orthogonal_steps; /* steps of Adam that push the directions apart; 0: random ones */
	double orthogonal_lr;      /* their size */
	uint32_t
	        inputs; /* SAE_SYNTH_PLANTED: equal parts of a row, tensors input.1 and so on of their own; 1: it is one */
	double exclusive; /* share of the features that are in one of them alone, each in turn */
	uint32_t groups;  /* SAE_SYNTH_CODEBOOK; d and features are multiples of it */
	double p_max, p_min,
	        zipf;       /* SAE_SYNTH_HIERARCHY: share of rows, from the first to the last feature */
	uint32_t rank;      /* of the copula; 0: independent */
	double correlation; /* its scale */
	uint32_t roots, branching, depth; /* of the trees, which take the first features, level by level */
	double probability,
	        importance; /* SAE_SYNTH_TOY: of a feature; each is so much less important than the one before */
	uint32_t states, successors, ctx_len; /* SAE_SYNTH_TOKFSM */
	bool trigrams; /* rows of first digits count too, with a feature for each state and digit */
} sae_synth_opts;
sae_synth_opts sae_synth_opts_default(sae_synth_kind kind);

/* The fields of the options: a name, with '-' between words, and the kinds that have it (a bit each). */
typedef enum sae_synth_type { SAE_SYNTH_U64, SAE_SYNTH_U32, SAE_SYNTH_DOUBLE, SAE_SYNTH_BOOL } sae_synth_type;
typedef struct sae_synth_field {
	const char *name;
	unsigned kinds;
	sae_synth_type type;
	size_t offset, size;
} sae_synth_field;
extern const sae_synth_field sae_synth_fields[];
extern const size_t sae_synth_n_fields;

/* Write a dump into the folder, and its truth into the folder `truth` there (docs/formats.md): it appears whole or not at all. The same bytes
 * for the same options at any thread count.
 *   force  a folder that holds nothing but such files is replaced
 *   pr     may be NULL; updated in rows
 *   stop   may be NULL; asked now and then, non-zero ends it with ERR_STOPPED
 * ERR_ARG: names an option that is out of range or does not go with another; ERR_EXISTS. */
int sae_synth_write(const char *dir, sae_synth_kind kind, const sae_synth_opts *o, bool force, pool *p,
                    progress *pr, bool (*stop)(void), error *err) MUST_USE;

/* ---- The truth of a dump (truth.c) ------------------------------------------------------------------------------------------------------ */

#define SAE_TRUTH_ROOT UINT32_MAX
typedef struct sae_truth {
	uint32_t n_features, d;
	uint64_t n_rows;
	float *dictionary; /* (G, d): a row is the sum of its codes times these, plus bias, plus noise */
	float *bias;       /* (d) */
	uint8_t *
	        present; /* (G) 0: in the data, but not in the rows (what a toy model left out); it does not count */
	uint32_t *parent; /* (G); SAE_TRUTH_ROOT: none */
	bool has_parents;
	uint32_t *input; /* (G) the one input of n_inputs that it is in, from 1; 0: all of them */
	uint32_t n_inputs;
	char kind[32];
	sae_codes_reader *codes; /* (rows, G) */
	char codes_path[FILE_PATH_MAX];
} sae_truth;
bool sae_truth_is_at(const char *dir); /* a truth's folder, or one with it in `truth` */
/* ERR_FORMAT, ERR_IO: names the file and what is wrong. */
int sae_truth_open(sae_truth **out, const char *dir, error *err) MUST_USE;
void sae_truth_close(sae_truth *t);

/* ---- Recovery (recovery.c, recovery_codes.c) ----------------------------------------------------------------------------------------------- */

/* A measure and what chance gives; NaN: not defined. */
typedef struct sae_scored {
	double value, chance;
} sae_scored;

/* Rows of an SAE's decoder (F, d) against a truth's directions (G, d); zero rows have the cosine 0 with all. */
typedef struct sae_recovery {
	uint32_t n[2], d;       /* F, features of the truth that count */
	sae_scored mcc;         /* Hungarian: largest sum of |cosine| / min(F, G) */
	sae_scored mmcs_truth;  /* mean over the truth of the largest cosine */
	sae_scored mmcs_sae;    /* mean over the SAE of it */
	sae_scored recovery[2]; /* share of the truth with a cosine over SAE_RECOVERED[i] */
	sae_scored uniqueness;  /* different best features (by |cosine|) of the SAE's rows / F */
	uint32_t *best;         /* (F) feature of largest |cosine| */
	float *best_cosine;     /* (F) that cosine, with its sign */
	uint32_t *latent_of;    /* (G) row of largest cosine; SAE_MATCH_NONE: not present */
	float *latent_cosine;   /* (G) */
} sae_recovery;
extern const double SAE_RECOVERED[2]; /* 0.9, 0.95 */
/* a (F, d), b (G, d): any norms, F and G 1 or more.
 *   present  (G) 0: a feature that does not count; NULL: all do. One at least must: ERR_FORMAT
 *   draws    chance is the mean of so many random dictionaries of F isotropic unit rows instead of a; 0: NaN */
int sae_recovery_measure(sae_recovery *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                         const uint8_t *present, uint32_t d, uint32_t draws, uint64_t seed, pool *p,
                         error *err) MUST_USE;
void sae_recovery_clear(sae_recovery *r);

typedef struct sae_latent_scores {
	uint64_t fires, truth_fires, both; /* rows on which it, its best feature, both fire */
	double precision, recall, f1;      /* 0 where not defined, as SAELens */
} sae_latent_scores;
/* Codes of an SAE against a truth's codes, over rows. */
typedef struct sae_code_scores {
	uint64_t n_rows;
	double l0, truth_l0;
	uint64_t n_dead;                  /* latents that never fired */
	sae_scored precision, recall, f1; /* means over latents; chance: firing as often, but anywhere */
	sae_scored purity;     /* of latents that fired: on rows that all have one feature in common */
	sae_scored absorption; /* of rows where a child is active, the parent's latent is silent */
	double alone;          /* of rows where the parent is active without a child, it is silent */
	uint64_t n_pairs, n_child_rows, n_alone_rows;
	sae_scored
	        shrinkage; /* mean of |xhat| / |x| over rows that are not zero; chance: the mean row instead of xhat */
	sae_scored explained;       /* 1 - sum |x - xhat|^2 / sum |x - mean|^2 */
	sae_latent_scores *latents; /* (F) */
} sae_code_scores;
/* Rows of `rows` that are held out (all where share is 1), read from d, at most `limit` of them (0: all).
 *   m      the SAE; its codes are compared. With `codes` not NULL these are its codes instead of sae_encode()'s
 *   r      from m's decoder rows and the truth's present ones
 * ERR_ARG: the truth is not of this dump. */
int sae_code_scores_measure(sae_code_scores *out, const sae_model *m, sae_codes_reader *codes,
                            const sae_recovery *r, sae_truth *t, const sae_dump *d, const sae_rows *rows,
                            uint64_t limit, pool *p, progress *pr, error *err) MUST_USE;
void sae_code_scores_clear(sae_code_scores *s);

/* ---- Stability over seeds (recovery.c) ------------------------------------------------------------------------------------------------------ */

/* Two SAEs: signed cosines of decoder and encoder rows, each matched by the assignment of largest sum. */
typedef struct sae_stability {
	uint32_t n[2];
	sae_scored mean[2];  /* mean cosine of the matched: decoder, encoder */
	sae_scored share[2]; /* share of min(F1, F2) matched with a cosine over `limit` */
	sae_scored shared;   /* both, and with the same partner */
} sae_stability;
/* Chance: b's rows replaced by random ones of the same second moments (sae_null_rows()). ERR_ARG: other d_in or d_out. */
int sae_stability_measure(sae_stability *out, const sae_model *a, const sae_model *b, double limit,
                          uint64_t seed, pool *p, error *err) MUST_USE;

#endif
