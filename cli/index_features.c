/* What an index is given of the features themselves: decoder rows, neighbours, logits. */
#include <stdlib.h>

#include "cli/index_pass.h"

static int give_logits(store_index *ix, const sae_model *m, uint32_t n_vocab, uint32_t n_ranked,
                       const char *unembed, pool *pl, FILE *progress_stream, error *err)
{
	sae_ranked top = { 0 }, bottom = { 0 };
	sae_logit_histogram *histograms = calloc(m->d_sae, sizeof(*histograms));
	progress pr;
	int rc = histograms ? 0 : error_nomem(err, "histograms of logits");

	progress_start(&pr, progress_stream, "logits", "features", m->d_sae);
	if (rc == 0)
		rc = sae_rank_logits(&top, &bottom, histograms, m, unembed, n_vocab, n_ranked, pl, &pr, err);
	progress_end(&pr);
	for (uint32_t f = 0; f < m->d_sae && rc == 0; f++) {
		const sae_logit_histogram *h = &histograms[f];

		rc = store_index_logits(ix, f, h->low, h->high, SAE_LOGIT_BINS, h->counts, err);
	}
	free(histograms);
	if (rc == 0)
		rc = store_index_ranked(ix, 't', top.n, top.ids, top.values, err);
	if (rc == 0)
		rc = store_index_ranked(ix, 'b', bottom.n, bottom.ids, bottom.values, err);
	sae_ranked_free(&top);
	sae_ranked_free(&bottom);
	return rc;
}

int index_give_features(store_index *ix, const sae_model *m, uint32_t n_vocab, uint32_t n_ranked,
                        const char *unembed, pool *pl, FILE *progress_stream, error *err)
{
	sae_ranked near = { 0 };
	int rc = store_index_decoder(ix, m->W_dec, err);

	if (rc == 0)
		rc = sae_rank_neighbours(&near, m, n_ranked, pl, err);
	if (rc == 0)
		rc = store_index_ranked(ix, 'n', near.n, near.ids, near.values, err);
	sae_ranked_free(&near);
	if (rc == 0 && unembed)
		rc = give_logits(ix, m, n_vocab, n_ranked, unembed, pl, progress_stream, err);
	return rc;
}

int index_give_axes(store_index *ix, const sae_neurons *n, uint32_t n_vocab, uint32_t n_ranked,
                    const char *unembed, pool *pl, FILE *progress_stream, error *err)
{
	sae_model *axes = NULL;
	int rc;

	if (!unembed)
		return 0;
	rc = sae_model_new(&axes, SAE_JUMPRELU, n->d, n->n_features, 0, err);
	for (uint32_t f = 0; f < n->n_features && rc == 0; f++)
		axes->W_dec[(size_t)f * n->d + f % n->d] = f < n->d ? 1 : -1;
	if (rc == 0)
		rc = give_logits(ix, axes, n_vocab, n_ranked, unembed, pl, progress_stream, err);
	sae_model_free(axes);
	return rc;
}
