/* gloss index and gloss verify: what features are taken from, an SAE and a dump or the neurons of a dump, ready for a pass. */
#ifndef GLOSS_CLI_INDEX_INPUT_H
#define GLOSS_CLI_INDEX_INPUT_H

#include "cli/index_pass.h"

typedef enum index_kind { INDEX_SAE, INDEX_NEURONS } index_kind;

typedef struct index_input_opts {
	index_kind kind;
	const char *path; /* of the SAE; neurons: NULL */
	const char *const *dumps;
	size_t n_dumps;
	const dump_args *dump;
	sae_neurons_opts neurons;
	const char *kernels; /* as for sae_encoder_new() */
} index_input_opts;

typedef struct index_input {
	index_input_opts o;
	sae_model *model;
	sae_neurons *neurons;
	dump_input in;
	index_feed feed;
	index_documents docs;
	uint32_t n_features;
	char weights_sha256[SHA256_HEX]; /* what features are the same by */
} index_input;

/* What can be known before anything takes long: SAE and its hash. Options must outlive the input, which the caller ends with
 * index_input_close() in every case. */
int index_input_load(index_input *x, const index_input_opts *o, error *err) MUST_USE;
/* The dump, its rows, documents and feed. norm_limit: as for dump_input_open(); NAN: that of the SAE's training. */
int index_input_open(index_input *x, const cli_parsed *p, double norm_limit, error *err) MUST_USE;
void index_input_close(index_input *x);

const char *index_kind_name(index_kind kind); /* as a store calls it */
/* Fill in what a source says of it: kind, architecture, model, widths, hashes, rows left out. */
void index_input_describe(const index_input *x, store_index_opts *o);
/* What is known of the features without the dump: as index_give_features(). */
int index_input_features(const index_input *x, store_index *ix, uint32_t n_vocab, uint32_t n_ranked,
                         const char *unembed, FILE *progress_stream, error *err) MUST_USE;

/* The options of neurons, as index has them and a store remembers them. */
typedef struct neuron_args {
	bool neurons, both_signs;
	double density, threshold;
} neuron_args;
#define NEURON_ARGS_OPTIONS(st, neurons_member)                                                              \
	OPTION(st, neurons_member.neurons, "neurons", 0, OPTION_BOOL, NULL, NULL, 0, 0,                      \
	       "no SAE: each dimension of the dump's rows is a feature"),                                    \
	        OPTION(st, neurons_member.density, "density", 0, OPTION_DOUBLE, "SHARE", "0.05", 0, 0.99,    \
	               "of neurons: raise each one's threshold so that it fires on about this share of "     \
	               "tokens at "                                                                          \
	               "most; 0: do not"),                                                                   \
	        OPTION(st, neurons_member.threshold, "threshold", 0, OPTION_DOUBLE, "X", "0", 0, 1e30,       \
	               "of neurons: fires where the value is over X"),                                       \
	        OPTION(st, neurons_member.both_signs, "both-signs", 0, OPTION_BOOL, NULL, NULL, 0, 0,        \
	               "of neurons: also minus each dimension, as features behind the others")

#endif
