/* OpenAI's sparse_autoencoder: one .pt, the state dict of its Autoencoder. Only read: its own loader wants the counters of a run. */
#include <math.h>
#include <string.h>

#include "sae/formats.h"

/* TopK models normalise rows; others do not, by the same rule as in its from_state_dict(). */
static int read_state(layout *l, const char *dir, error *err)
{
	static const char k_name[] = "activation_state_dict.k";
	const char *postact;
	const sae_tensor *k;
	sae_file *f = NULL;
	int64_t value = 0;
	int rc = sae_file_open(&f, l->weights, err);

	(void)dir;
	if (rc < 0)
		return rc;
	k = sae_file_tensor(f, k_name);
	postact = sae_file_metadata(f, "activation_state_dict.postact_fn");
	l->enc = (layout_matrix){ "encoder.weight", false };
	l->dec = (layout_matrix){ "decoder.weight", true };
	l->b_enc = "latent_bias";
	l->b_dec = "pre_bias";
	l->arch = k ? SAE_TOPK : SAE_RELU;
	if (!sae_file_tensor(f, l->dec.name) && sae_file_tensor(f, l->enc.name)) {
		l->dec = l->enc;
		layout_folds(l, "one matrix for encoder and decoder");
	}
	if (k && postact && strcmp(postact, "ReLU") != 0)
		rc = error_set(err, ERR_FORMAT, "'%s': postact_fn '%.40s' is not supported, only 'ReLU'",
		               l->weights, postact);
	else if (k && k->count != 1)
		rc = error_set(err, ERR_FORMAT, "'%s': '%s' is not one number", l->weights, k_name);
	if (k && rc == 0)
		rc = sae_file_read_i64(f, k, 0, 1, &value, err);
	l->k = value > 0 ? (uint64_t)value : 0;
	l->norm = k ? SAE_NORM_LAYER : SAE_NORM_NONE;
	snprintf(l->architecture, sizeof(l->architecture), "%s", k ? "TopK" : "ReLU");
	sae_file_close(f);
	return rc;
}

const format format_openai = {
	.name = "openai",
	.weights = "*.pt",
	.mark = "pre_bias",
	.read = read_state,
};
