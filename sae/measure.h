/* Metrics and probing: the part of sae.h, which includes it, about how good an SAE is. */
#ifndef GLOSS_SAE_MEASURE_H
#define GLOSS_SAE_MEASURE_H

#include "sae/sae.h"

/* ---- Metrics (eval.c) --------------------------------------------------------------------------------------------------------------- */

enum {
	SAE_DENSITY_BINS = 16,
	SAE_DENSITY_LOW = -8
}; /* bins of SAE_DENSITY_WIDTH from 10^LOW; the first and last take what is beyond */
#define SAE_DENSITY_WIDTH 0.5
typedef struct sae_metrics { /* over the rows evaluated; sums in FP64; e = x - xhat */
	uint64_t n_rows;
	double fvu;      /* sum |e|^2 / sum |x - mean x|^2 (sparsify; OpenAI's normalised MSE) */
	double ev_ratio; /* 1 - fvu: SAELens "explained_variance" */
	double ev_per_token; /* mean over rows of 1 - |e|^2 / |x - mean|^2: SAELens legacy, SAEBench paper, OpenMOSS */
	double ev_per_token_std;
	double ev_centered; /* 1 - sum_d var(e_d) / sum_d var(x_d): dictionary_learning's frac_variance_explained; forgives a constant error */
	double ev_uncentered; /* 1 - mean|e|^2 / (E|x|^2 - |E x|^2) with the raw moments streamed in FP64: SAELens eval's streaming form */
	double mse;                              /* mean over rows of |e|^2 */
	double mse_per_dim;                      /* mse / d */
	double cosine;                           /* mean over rows of cos(x, xhat) */
	double l2_ratio;                         /* mean of |xhat| / |x| */
	double relative_bias;                    /* E|xhat|^2 / E<x, xhat> */
	double l0, l1;                           /* mean number and sum of values a row */
	double l0_p5, l0_median, l0_p95, l0_max; /* nearest rank */
	double mean_activation, hoyer;           /* formulas of these and what follows: cli/eval_metrics.h */
	double frac_alive, freq_over_1_percent, freq_over_10_percent;
	double normalized_freq_over_1_percent, normalized_freq_over_10_percent, firing_entropy,
	        consistent_activation;
	double encoder_bias, encoder_norm, decoder_norm,
	        encoder_decoder_cosine; /* sae_eval_dictionary()'s, as the next */
	double max_encoder_cosine, max_decoder_cosine, decoder_coherence;
	uint64_t n_features, n_dead, n_dense_10, n_dense_1; /* never fired; fired on over 10 %, 1 % of rows */
	uint64_t n_below_5, n_below_6, n_below_7;           /* on under 1e-5, 1e-6, 1e-7 of them */
	uint64_t density[SAE_DENSITY_BINS]; /* alive features by log10 of the share of rows they fire on */
	uint32_t n_inputs;                  /* of a crosscoder; else 0 */
	double input_fvu[SAE_PARTS_MAX];    /* fvu of each of them */
	uint64_t *fires;                    /* malloc'd (F) */
} sae_metrics;
/* Over the held-out rows of `rows` (or the training rows). target: NULL (the dump's own, if sae_dump_add() gave it one), or a dump of as many rows that the output is compared with
 * in place of its input, for a transcoder. ERR_ARG: another d_in or d_out, a transcoder without target; ERR_FORMAT: no rows. */
int sae_eval(sae_metrics *out, const sae_model *m, const sae_dump *d, const sae_dump *target,
             const sae_rows *rows, bool held_out, pool *p, progress *pr, error *err) MUST_USE;
/* Fill in what sae_eval() leaves NaN, the metrics of the weights: two passes over all pairs of features. ERR_NOMEM. */
int sae_eval_dictionary(sae_metrics *out, const sae_model *m, pool *p, error *err) MUST_USE;
void sae_metrics_clear(sae_metrics *m);
/* FVU of each prefix: reconstructions by the features under ends[i] alone, of all that fire (eval_prefixes.c). Over all held-out
 * rows. ERR_ARG: a transcoder, another d_in; ERR_FORMAT: no rows. */
int sae_eval_prefixes(double *fvu, const uint32_t *ends, size_t n, const sae_model *m, const sae_dump *d,
                      const sae_rows *rows, pool *p, error *err) MUST_USE;
/* Bits a row that codes take when each feature's values are cut in `bins` of equal width from 0 to its largest (mdl.c): the sum over
 * features of H(p) + p H(bins), p the share of rows it fires on, H in bits (MDL-SAE; SAEBench counts silent rows into the first bin
 * too). fvu is that of the codes at the middles of their bins. Over all held-out rows: take a sample. */
typedef struct sae_mdl {
	uint32_t bins; /* to be set: 1 to SAE_MDL_MAX_BINS */
	double bits, position_bits, value_bits, fvu;
} sae_mdl;
enum { SAE_MDL_MAX_BINS = 4096 };
int sae_mdl_measure(sae_mdl *m, size_t n, const sae_model *model, const sae_dump *d, const sae_rows *rows,
                    pool *p, error *err) MUST_USE;

/* ---- Probing (examples.c, probe.c, logistic.c, probe_score.c) ----------------------------------------------------------------------- */

/* What a label is of. Contexts and documents are pooled over the rows of theirs that count. */
typedef enum sae_unit { SAE_UNIT_ROW, SAE_UNIT_CONTEXT, SAE_UNIT_DOCUMENT } sae_unit;
const char *sae_unit_name(sae_unit u); /* "row", "context", "document" */
/* How many labels a dump has room for: rows, contexts, or the largest document id + 1. ERR_LIMIT: ids of documents that are no numbers
 * to count by. */
int sae_unit_count(uint64_t *out, sae_unit u, const sae_dump *d, error *err) MUST_USE;

#define SAE_NO_CLASS UINT32_MAX
typedef struct sae_examples_opts {
	sae_unit unit;
	const uint32_t
	        *labels;   /* (n_labels) the class of each row, context or document id; SAE_NO_CLASS: none */
	uint64_t n_labels; /* sae_unit_count() */
	uint32_t n_classes;
	bool pool_max;  /* pool by the maximum of each value, else by the mean */
	double test;    /* share of each class that is held out, 0 to 1 */
	uint64_t limit; /* at most so many examples, chosen by hash of (seed, unit); 0: all */
	uint64_t seed;
} sae_examples_opts;

/* Labelled examples: activations and codes. Document groups (contexts of a document, or that share a run of 24 tokens) are whole in
 * one part; in the order of hash(seed, group) each is tested on where that brings the share of its commonest class nearer to `test`. */
typedef struct sae_examples {
	uint32_t n, d, n_features, n_classes;
	uint64_t *unit;  /* (n) row, context or document id, ascending */
	uint32_t *label; /* (n) */
	uint32_t *group; /* (n) 0..n_groups-1 */
	uint8_t *test;   /* (n) */
	float *x;        /* (n, d) */
	sae_codes codes; /* (n) rows */
	uint32_t n_groups;
	uint64_t n_unlabelled, n_empty,
	        n_beyond; /* units without a label; without a row that counts; over the limit */
} sae_examples;
/* ERR_FORMAT: no examples. Memory: n (d + 2 codes) floats. */
int sae_examples_read(sae_examples *out, const sae_model *m, const sae_dump *d, const sae_rows *rows,
                      const sae_examples_opts *o, pool *p, progress *pr, error *err) MUST_USE;
void sae_examples_clear(sae_examples *e);

typedef struct sae_estimate {
	double value, low, high; /* with its 95 % interval; NaN: not defined */
	double chance;           /* of a probe that knows nothing */
} sae_estimate;
enum { SAE_PROBE_RESAMPLES = 1000 };

/* A probe tells one class from the rest. */
typedef struct sae_probe {
	uint32_t label;    /* the class */
	bool on_codes;     /* else on activations */
	uint32_t k, p;     /* the k columns of greatest mean difference, 0: all; how many those are */
	uint32_t *columns; /* (p), by difference; NULL: all */
	double *weights;   /* (p) */
	double bias;
	/* Of the held-out examples. Intervals: percentiles of SAE_PROBE_RESAMPLES resamples of document groups; of no width (all right):
	 * Wilson's at the number of groups. Chance: the training examples' commonest answer; 1/2; F1 of always yes; 1/2. */
	sae_estimate accuracy, balanced_accuracy, f1, auroc;
	double objective, seconds; /* of the fit */
	uint32_t steps;
	bool converged;
	double *margin; /* (n) of every example: x . w + b */
} sae_probe;

typedef struct sae_probe_opts {
	double c;          /* inverse strength of the L2 penalty, as scikit-learn's C */
	const uint32_t *k; /* (n_k) sizes of sparse probes; 0: all columns */
	size_t n_k;
	const uint32_t *classes; /* (n_probed) to tell from the rest */
	size_t n_probed;
	uint64_t seed; /* of the resamples */
	bool balance; /* weigh examples so that the class and the rest count the same (class_weight="balanced") */
} sae_probe_opts;
/* One probe for each class, of activations then codes, and k: out (n_probed * 2 * n_k), in that order. k over the number of columns: all.
 * Every class must have an example, and so must the rest, in both parts. The same bits at any thread count. */
int sae_probe_fit(sae_probe *out, const sae_examples *e, const sae_probe_opts *o, pool *p,
                  error *err) MUST_USE;
void sae_probe_clear(sae_probe *p);

/* Targeted probe perturbation and spurious correlation removal after SAEBench, from pooled means: taking features away from the activations
 * of every row moves the mean's margin by -sum of f (w . W_dec[f]). Probes are balanced ones on activations; accuracies balanced ones of
 * the held-out examples. NaN: not defined. */
typedef struct sae_tpp {
	uint32_t label,
	        n; /* features taken away: the n of largest max(0, mean difference of the class) times (w . W_dec[f]) */
	double intended, unintended,
	        score; /* accuracy lost by the class's probe, by the others on average; difference */
} sae_tpp;
/* out (n_probed, n_sizes). ERR_ARG: pooled otherwise, fewer than two classes, a transcoder. */
int sae_tpp_measure(sae_tpp *out, const sae_examples *e, const sae_model *m, const sae_probe_opts *o,
                    const uint32_t *sizes, size_t n_sizes, pool *p, error *err) MUST_USE;
typedef struct sae_scr {
	uint32_t
	        n; /* features taken away: the n of largest |mean difference of the spurious label times (w_spurious . W_dec[f])| */
	double clean, original, changed, score; /* (changed - original) / (clean - original) */
} sae_scr;
/* Label 1 against 0 of e (two classes), where `spurious` (n), 0 or 1 (SAE_NO_CLASS: left out), goes with it in training. Training examples
 * of the four cells are cut to the smallest one's number, by hash: clean probes see them all, the original one those where both labels are
 * equal. Held-out cells weigh the same. out (n_sizes). ERR_FORMAT: a cell is empty. */
int sae_scr_measure(sae_scr *out, const sae_examples *e, const uint32_t *spurious, const sae_model *m,
                    const sae_probe_opts *o, const uint32_t *sizes, size_t n_sizes, error *err) MUST_USE;

#endif
