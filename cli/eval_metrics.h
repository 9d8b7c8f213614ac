/* The metrics of `eval`, each once: its field in sae_metrics, which is its name in table and JSON, and its formula, which --help and the
 * man page show too. */
#ifndef GLOSS_CLI_EVAL_METRICS_H
#define GLOSS_CLI_EVAL_METRICS_H

/* e = x - xhat; means and sums are over the rows evaluated. */
#define EVAL_METRICS(METRIC)                                                                                 \
	METRIC(fvu, "sum |e|^2 / sum |x - mean x|^2 (sparsify's loss, saev's normalised MSE)")               \
	METRIC(ev_ratio, "1 - fvu (SAELens explained_variance)")                                             \
	METRIC(ev_per_token, "mean of 1 - |e|^2 / |x - mean x|^2 (SAELens legacy, SAEBench paper)")          \
	METRIC(ev_per_token_std, "its standard deviation over rows")                                         \
	METRIC(ev_centered,                                                                                  \
	       "1 - sum_d var(e_d) / sum_d var(x_d) (dictionary_learning); forgives a constant error")       \
	METRIC(ev_uncentered, "1 - E|e|^2 / (E|x|^2 - |E x|^2) of raw moments (SAELens eval)")               \
	METRIC(mse, "mean |e|^2")                                                                            \
	METRIC(mse_per_dim, "mse / d")                                                                       \
	METRIC(cosine, "mean cos(x, xhat)")                                                                  \
	METRIC(l2_ratio, "mean |xhat| / |x|; under 1: shrinkage")                                            \
	METRIC(relative_bias, "E|xhat|^2 / E<x, xhat> (SAEBench relative_reconstruction_bias)")              \
	METRIC(l0, "mean number of features that fire on a row")                                             \
	METRIC(l0_p5, "that number for the row at 5 % of all, by number")                                    \
	METRIC(l0_median, "for the row in the middle")                                                       \
	METRIC(l0_p95, "for the row at 95 %")                                                                \
	METRIC(l0_max, "for the row with most")                                                              \
	METRIC(l1, "mean sum of activations of a row")                                                       \
	METRIC(mean_activation, "sum of activations / number of them")                                       \
	METRIC(hoyer, "mean (sqrt F - l1 / l2) / (sqrt F - 1) of a row's codes; 1: one feature")             \
	METRIC(frac_alive, "share of features that fire on some row")                                        \
	METRIC(freq_over_1_percent, "share of features that fire on over 1 % of rows (SAEBench)")            \
	METRIC(freq_over_10_percent, "on over 10 %")                                                         \
	METRIC(normalized_freq_over_1_percent, "firings of features over 1 % / all firings (SAEBench)")      \
	METRIC(normalized_freq_over_10_percent, "of features over 10 %")                                     \
	METRIC(firing_entropy, "-sum_f p_f ln p_f / ln F, p_f = share of all firings; 1: all fire alike")    \
	METRIC(consistent_activation,                                                                        \
	       "mean over alive features of rows fired on / contexts fired in (SAELens)")                    \
	METRIC(encoder_bias, "mean of b_enc")                                                                \
	METRIC(encoder_norm, "mean norm of W_enc's feature vectors")                                         \
	METRIC(decoder_norm, "mean norm of W_dec's")                                                         \
	METRIC(encoder_decoder_cosine, "mean cosine of a feature's two")                                     \
	METRIC(max_encoder_cosine, "mean over features of the largest cosine with another's encoder")        \
	METRIC(max_decoder_cosine, "the same of decoders: MMCS of the dictionary with itself")               \
	METRIC(decoder_coherence, "largest |cosine| of two features' decoders")

#define EVAL_COUNTS(COUNT)                                                                                   \
	COUNT(n_features, "features", "of the SAE: F")                                                       \
	COUNT(n_dead, "dead", "fire on no row")                                                              \
	COUNT(n_dense_10, "dense_10", "fire on over 10 % of rows")                                           \
	COUNT(n_dense_1, "dense_1", "fire on over 1 % of rows")                                              \
	COUNT(n_below_5, "below_1e-5", "fire on under 1e-5 of rows, dead ones too")                          \
	COUNT(n_below_6, "below_1e-6", "under 1e-6")                                                         \
	COUNT(n_below_7, "below_1e-7", "under 1e-7")

#endif
