/* The weights of a sparse autoencoder. */
#include <math.h>

#include "sae/sae.h"

const char *sae_arch_name(sae_arch a)
{
	static const char *const names[] = {
		[SAE_TOPK] = "topk",
		[SAE_BATCHTOPK] = "batchtopk",
		[SAE_GROUPMAX] = "groupmax",
		[SAE_JUMPRELU] = "jumprelu",
	};

	return names[a];
}

int sae_model_new(sae_model **out, sae_arch arch, uint32_t d_in, uint32_t d_sae, uint32_t k, error *err)
{
	sae_model *m;

	if (arch == SAE_GROUPMAX && (k < 1 || d_sae % k != 0))
		return error_set(err, ERR_ARG, "groupmax: %u features are no multiple of k = %u groups",
		                 d_sae, k);
	if (arch == SAE_BATCHTOPK)
		arch = SAE_JUMPRELU;
	m = calloc(1, sizeof(*m));
	if (!m)
		return error_nomem(err, "a model");
	*m = (sae_model){ .arch = arch, .d_in = d_in, .d_sae = d_sae, .k = k, .norm_limit = INFINITY };
	m->W_enc = mem_alloc_aligned(d_sae, (size_t)d_in * sizeof(float));
	m->W_dec = mem_alloc_aligned(d_sae, (size_t)d_in * sizeof(float));
	m->b_enc = mem_alloc_aligned(d_sae, sizeof(float));
	m->b_dec = mem_alloc_aligned(d_in, sizeof(float));
	if (arch == SAE_JUMPRELU)
		m->threshold = mem_alloc_aligned(d_sae, sizeof(float));
	if (!m->W_enc || !m->W_dec || !m->b_enc || !m->b_dec || (arch == SAE_JUMPRELU && !m->threshold)) {
		sae_model_free(m);
		return error_nomem(err, "a model's weights");
	}
	*out = m;
	return 0;
}

void sae_model_free(sae_model *m)
{
	if (!m)
		return;
	free(m->W_enc);
	free(m->W_dec);
	free(m->b_enc);
	free(m->b_dec);
	free(m->threshold);
	free(m->model_name);
	free(m->hook_name);
	free(m);
}
