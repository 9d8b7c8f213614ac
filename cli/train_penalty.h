/* The options of `gloss train` for architectures with a sparsity penalty. */
#ifndef GLOSS_CLI_TRAIN_PENALTY_H
#define GLOSS_CLI_TRAIN_PENALTY_H

#include "cli/cli.h"
#include "sae/sae.h"

typedef struct train_penalty_args {
	const char *kind, *decoder, *loss;
	double l1, l0, target_l0, start_l0, bandwidth, threshold, threshold_lr, tanh_scale, preact, p_end,
	        anneal_from, decoder_norm;
	bool raw_input, ste_input, ste_value, log_threshold, detach_gate;
} train_penalty_args;

#define TRAIN_PENALTY_KINDS "step|tanh|quadratic|quadratic-mean|lp|lp-root"

#define TRAIN_PENALTY_OPTIONS(st, at)                                                                        \
	OPTION(st, at.l1, "l1", 0, OPTION_DOUBLE, "X", NULL, 1e-30, 1e9,                                     \
	       "relu, panneal, gated: coefficient of the penalty, for rows with a mean norm of the root "    \
	       "of their width; if not given, the one that gives the target L0 is sought"),                  \
	        OPTION(st, at.l0, "l0", 0, OPTION_DOUBLE, "X", NULL, 1e-30, 1e9, "jumprelu: the same"),      \
	        OPTION(st, at.target_l0, "target-l0", 0, OPTION_DOUBLE, "X", NULL, 1e-3, 67108864,           \
	               "adjust the coefficient, from the one given on, until so many features fire a "       \
	               "token; "                                                                             \
	               "32 if none is given"),                                                               \
	        OPTION(st, at.start_l0, "start-l0", 0, OPTION_DOUBLE, "X", NULL, 1e-3, 67108864,             \
	               "biases, or thresholds, begin where so many features fire a token; if not given, "    \
	               "twice the target, and without a target, or where a threshold is given, biases "      \
	               "begin at 0"),                                                                        \
	        OPTION(st, at.kind, "penalty", 0, OPTION_ENUM, TRAIN_PENALTY_KINDS, NULL, 0, 0,              \
	               "jumprelu (step): L0, tanh of values, (L0 / target - 1)^2 of each token or of the "   \
	               "mean L0; panneal (lp): the sum of values to the power p, or its 1/p-th power"),      \
	        OPTION(st, at.raw_input, "raw-input", 0, OPTION_BOOL, NULL, NULL, 0, 0,                      \
	               "relu, panneal, gated, jumprelu: b_dec is not taken off the rows that are encoded "   \
	               "(SAELens' "                                                                          \
	               "apply_b_dec_to_input false)"),                                                       \
	        OPTION(st, at.decoder, "decoder", 0, OPTION_ENUM, "unit|free", NULL, 0, 0,                   \
	               "hold decoder rows at norm 1, or let them be and count their norms in the penalty, "  \
	               "of a crosscoder the norms in its inputs; if not given, unit, but free for a "        \
	               "crosscoder's relu, panneal and gated"),                                              \
	        OPTION(st, at.decoder_norm, "decoder-norm", 0, OPTION_DOUBLE, "X", NULL, 1e-6, 1e6,          \
	               "norm of decoder rows at the start; if not given, 1. A unit decoder has it in the "   \
	               "first step only (dictionary_learning)"),                                             \
	        OPTION(st, at.loss, "loss", 0, OPTION_ENUM, "relative|plain", "relative", 0, 0,              \
	               "divide gradients by the batch's mean squared error, or not; the balance of error "   \
	               "and penalty is the same"),                                                           \
	        OPTION(st, at.bandwidth, "bandwidth", 0, OPTION_DOUBLE, "X", NULL, 1e-9, 1e6,                \
	               "jumprelu: width of the rectangle by which thresholds learn; if not given, 0.5 for "  \
	               "rows with "                                                                          \
	               "a mean norm of the root of their width, and scaled with rows"),                      \
	        OPTION(st, at.threshold, "threshold", 0, OPTION_DOUBLE, "X", NULL, 1e-9, 1e6,                \
	               "jumprelu: where thresholds begin; if not given, by the start L0, else 0.1, scaled "  \
	               "with rows"),                                                                         \
	        OPTION(st, at.threshold_lr, "threshold-lr", 0, OPTION_DOUBLE, "X", "20", 1e-6, 1e6,          \
	               "jumprelu: thresholds move by that times the step size; if not given, scaled with "   \
	               "rows"),                                                                              \
	        OPTION(st, at.log_threshold, "log-threshold", 0, OPTION_BOOL, NULL, NULL, 0, 0,              \
	               "jumprelu: learn the logarithm of the threshold"),                                    \
	        OPTION(st, at.ste_input, "ste-input", 0, OPTION_BOOL, NULL, NULL, 0, 0,                      \
	               "jumprelu: the rectangle's gradient goes to the encoder too, not only to the "        \
	               "threshold"),                                                                         \
	        OPTION(st, at.ste_value, "ste-value", 0, OPTION_BOOL, NULL, NULL, 0, 0,                      \
	               "jumprelu: the penalty's rectangle is taken at values, which are 0 where a feature "  \
	               "is silent, not at pre-activations (dictionary_learning, their issue 55)"),           \
	        OPTION(st, at.tanh_scale, "tanh-scale", 0, OPTION_DOUBLE, "X", "4", 1e-6, 1e6,               \
	               "jumprelu with the tanh penalty: times the values; if not given, scaled against "     \
	               "rows"),                                                                              \
	        OPTION(st, at.preact, "preact", 0, OPTION_DOUBLE, "X", "0", 0, 1e9,                          \
	               "jumprelu: coefficient of the loss that draws the pre-activations of dead features "  \
	               "up to their thresholds"),                                                            \
	        OPTION(st, at.detach_gate, "detach-gate", 0, OPTION_BOOL, NULL, NULL, 0, 0,                  \
	               "gated: the reconstruction by the gate teaches the encoder only, as in "              \
	               "dictionary_learning; else the decoder too, as in SAELens"),                          \
	        OPTION(st, at.p_end, "p-end", 0, OPTION_DOUBLE, "P", "0.2", 0.05, 1,                         \
	               "panneal: p that would come after the last step"),                                    \
	        OPTION(st, at.anneal_from, "anneal-from", 0, OPTION_DOUBLE, "SHARE", "0.5", 0, 1,            \
	               "panneal: share of the steps after which p falls from 1, in nine parts")

/* As the trainer takes them, of one SAE of a sweep: its own coefficient. free_decoder: where --decoder was not given. */
sae_penalty_opts train_penalty_of(const train_penalty_args *a, sae_arch arch, bool free_decoder);

#endif
