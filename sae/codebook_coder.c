/* Codes of a codebook as encoders: see codebook_coder.h. */
#include <math.h>

#include "sae/codebook_coder.h"

int codebook_coder_init(codebook_coder *c, arena *mem, const kernels *k, sae_screening how, uint32_t d,
                        uint32_t n_codes, uint32_t groups, uint32_t width, bool euclidean, unsigned threads,
                        error *err)
{
	int rc = 0;

	*c = (codebook_coder){
		.groups = groups, .n = n_codes / groups, .d = d / groups, .euclidean = euclidean, .k = k
	};
	c->weights = arena_alloc(mem, n_codes, c->d * sizeof(*c->weights));
	c->bias = arena_alloc(mem, n_codes, sizeof(*c->bias));
	c->aids = arena_alloc(mem, groups, sizeof(*c->aids));
	c->jobs = arena_alloc(mem, groups, sizeof(*c->jobs));
	if (!c->weights || !c->bias || !c->aids || !c->jobs)
		return error_nomem(err, "a codebook");
	for (size_t g = 0; g < groups && rc == 0; g++) {
		rc = encode_aid_init(&c->aids[g], mem, k, how, c->d, c->n, width, threads, err);
		c->jobs[g] = (encode_job){ .k = k,
			                   .rule = ENCODE_TOPK,
			                   .weights = c->weights + g * c->n * c->d,
			                   .bias = c->bias + g * c->n,
			                   .n_features = c->n,
			                   .d = c->d,
			                   .width = width,
			                   .screen = c->aids[g].screen,
			                   .row_norms = c->aids[g].row_norms };
	}
	return rc;
}

void codebook_coder_set(const codebook_coder *c, size_t f, const float *code, unsigned worker)
{
	float *w = c->weights + f * c->d;
	double squares = c->k->sum_squares(code, c->d);

	memcpy(w, code, c->d * sizeof(*w));
	if (!c->euclidean && squares > 0)
		c->k->scale(w, (float)(1 / sqrt(squares)), c->d);
	c->bias[f] = c->euclidean ? (float)(-squares / 2) : 0;
	encode_aid_set(&c->aids[f / c->n], c->k, f % c->n, w, c->d, c->bias[f], worker);
}

void codebook_coder_prepare(codebook_coder *c, uint32_t width)
{
	for (size_t g = 0; g < c->groups; g++) {
		c->jobs[g].width = width;
		encode_job_prepare(&c->jobs[g]);
	}
}
