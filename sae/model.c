/* The weights of a sparse autoencoder. */
#include <math.h>

#include "sae/sae.h"

const char *sae_arch_name(sae_arch a)
{
	static const char *const names[] = {
		[SAE_TOPK] = "topk",           [SAE_BATCHTOPK] = "batchtopk",
		[SAE_GROUPMAX] = "groupmax",   [SAE_JUMPRELU] = "jumprelu",
		[SAE_RELU] = "relu",           [SAE_PURSUIT] = "matching_pursuit",
		[SAE_CODEBOOK] = "codebook",   [SAE_MATRYOSHKA] = "matryoshka",
		[SAE_MULTITOPK] = "multitopk", [SAE_PANNEAL] = "panneal",
		[SAE_GATED] = "gated",
	};

	return names[a];
}

sae_arch sae_arch_of_model(sae_arch a)
{
	if (a == SAE_BATCHTOPK || a == SAE_MATRYOSHKA || a == SAE_GATED)
		return SAE_JUMPRELU;
	if (a == SAE_PANNEAL)
		return SAE_RELU;
	return a == SAE_MULTITOPK ? SAE_TOPK : a;
}

int sae_model_new_to(sae_model **out, sae_arch arch, uint32_t d_in, uint32_t d_out, uint32_t d_sae,
                     uint32_t k, bool skip, error *err)
{
	sae_model *m;

	if (arch == SAE_GROUPMAX && (k < 1 || d_sae % k != 0))
		return error_set(err, ERR_ARG, "groupmax: %u features are no multiple of k = %u groups",
		                 d_sae, k);
	arch = sae_arch_of_model(arch);
	m = calloc(1, sizeof(*m));
	if (!m)
		return error_nomem(err, "a model");
	*m = (sae_model){ .arch = arch,
		          .d_in = d_in,
		          .d_out = d_out,
		          .d_sae = d_sae,
		          .k = k,
		          .centers = true,
		          .codebook = { .groups = 1 },
		          .norm_limit = INFINITY };
	m->W_dec = mem_alloc_aligned(d_sae, (size_t)d_out * sizeof(float));
	m->W_enc = arch == SAE_PURSUIT ? m->W_dec : mem_alloc_aligned(d_sae, (size_t)d_in * sizeof(float));
	m->b_enc = mem_alloc_aligned(d_sae, sizeof(float));
	m->b_dec = mem_alloc_aligned(d_out, sizeof(float));
	if (arch == SAE_JUMPRELU)
		m->threshold = mem_alloc_aligned(d_sae, sizeof(float));
	if (skip)
		m->W_skip = mem_alloc_aligned(d_out, (size_t)d_in * sizeof(float));
	if (!m->W_enc || !m->W_dec || !m->b_enc || !m->b_dec || (arch == SAE_JUMPRELU && !m->threshold) ||
	    (skip && !m->W_skip)) {
		sae_model_free(m);
		return error_nomem(err, "a model's weights");
	}
	*out = m;
	return 0;
}

int sae_model_new(sae_model **out, sae_arch arch, uint32_t d_in, uint32_t d_sae, uint32_t k, error *err)
{
	return sae_model_new_to(out, arch, d_in, d_in, d_sae, k, false, err);
}

void sae_model_set_codes(sae_model *m)
{
	for (size_t f = 0; f < m->d_sae; f++) {
		const float *code = m->W_dec + f * m->d_out;
		float *enc = m->W_enc + f * m->d_in;
		double squares = 0, by;

		for (size_t i = 0; i < m->d_in; i++)
			squares += (double)code[i] * (double)code[i];
		by = m->codebook.euclidean || !(squares > 0) ? 1 : 1 / sqrt(squares);
		for (size_t i = 0; i < m->d_in; i++)
			enc[i] = (float)(code[i] * by);
		m->b_enc[f] = m->codebook.euclidean ? (float)(-squares / 2) : 0;
	}
}

void sae_model_free(sae_model *m)
{
	if (!m)
		return;
	if (m->W_enc != m->W_dec)
		free(m->W_enc);
	free(m->W_dec);
	free(m->b_enc);
	free(m->b_dec);
	free(m->threshold);
	free(m->W_skip);
	free(m->model_name);
	free(m->hook_name);
	free(m);
}
