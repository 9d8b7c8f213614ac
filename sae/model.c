/* The weights of a sparse autoencoder. */
#include <math.h>

#include "sae/sae.h"

int sae_model_new(sae_model **out, sae_arch arch, uint32_t d_in, uint32_t d_sae, uint32_t k, error *err)
{
	sae_model *m = calloc(1, sizeof(*m));

	if (!m)
		return error_nomem(err, "a model");
	*m = (sae_model){ .arch = arch, .d_in = d_in, .d_sae = d_sae, .k = k, .norm_limit = INFINITY };
	m->W_enc = mem_alloc_aligned(d_sae, (size_t)d_in * sizeof(float));
	m->W_dec = mem_alloc_aligned(d_sae, (size_t)d_in * sizeof(float));
	m->b_enc = mem_alloc_aligned(d_sae, sizeof(float));
	m->b_dec = mem_alloc_aligned(d_in, sizeof(float));
	if (!m->W_enc || !m->W_dec || !m->b_enc || !m->b_dec) {
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
	free(m->model_name);
	free(m->hook_name);
	free(m);
}
