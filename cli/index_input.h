/* gloss index and gloss verify: what features are taken from, ready for a pass: an SAE and a dump, the neurons of a dump, or codes
 * computed elsewhere, with or without a dump. */
#ifndef GLOSS_CLI_INDEX_INPUT_H
#define GLOSS_CLI_INDEX_INPUT_H

#include "cli/index_pass.h"

typedef enum index_kind { INDEX_SAE, INDEX_NEURONS, INDEX_CODES } index_kind;

typedef struct index_input_opts {
	index_kind kind;
	const char *path; /* of SAE or codes; neurons: NULL */
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
	sae_codes_reader *codes;
	dump_input in;     /* zeroed: codes without a dump */
	uint8_t *left_out; /* codes: a bit a token */
	index_feed feed;
	index_documents docs;
	uint32_t n_features;
	uint64_t n_rows, n_left_out;
	double norm_limit; /* infinity: none */
	/* What features are the same by; of the dump, or of the codes where there is none. */
	char weights_sha256[SHA256_HEX], dump_sha256[SHA256_HEX];
} index_input;

/* What can be known before anything takes long: SAE or codes, and their hash. Options must outlive the input, which the caller ends with
 * index_input_close() in every case. */
int index_input_load(index_input *x, const index_input_opts *o, error *err) MUST_USE;
/* The dump, its rows, documents and feed. norm_limit: as for dump_input_open(); NAN: that of the SAE's training;
 * none where codes say which rows count. ERR_FORMAT: codes are not of this dump. */
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
