/* Feeds of an index: rows of a dump, coded by an SAE or as they are. */
#include "cli/index_pass.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_ROWS = 4096, BATCH_VALUES = 2 << 20 /* of neurons */ };

void index_feed_close(index_feed *f)
{
	if (f->close)
		f->close(f->payload);
	*f = (index_feed){ 0 };
}

typedef struct rows_feed {
	const dump_input *in;
	uint32_t ctx_len, d;
	float *x;             /* (rows of a batch, d) */
	sae_encoder *encoder; /* NULL: neurons */
	const sae_neurons *neurons;
} rows_feed;

/* Rows that were left out take part in the encoding as zeros, so that a context's codes do not depend on its neighbours. */
static int read_rows(const rows_feed *r, uint64_t first, uint64_t n, error *err)
{
	int rc = sae_dump_read(r->in->dump, first, n, r->x, err);

	for (uint64_t i = 0; i < n && rc == 0; i++) {
		if (!sae_rows_kept(r->in->rows, first + i))
			memset(r->x + i * r->d, 0, r->d * sizeof(*r->x));
	}
	return rc;
}

static int rows_codes(void *payload, uint64_t first, uint32_t n, sae_codes *out, double *read_seconds,
                      error *err)
{
	const rows_feed *r = payload;
	size_t rows = (size_t)n * r->ctx_len;
	double before = clock_now();
	int rc = read_rows(r, first * r->ctx_len, rows, err);

	*read_seconds += clock_now() - before;
	if (rc < 0)
		return rc;
	if (r->encoder)
		return sae_encode(r->encoder, r->x, rows, out, err);
	return sae_neurons_encode(out, r->neurons, r->x, rows, r->in->pool, err);
}

static bool rows_counts(void *payload, uint64_t token)
{
	const rows_feed *r = payload;

	return sae_rows_kept(r->in->rows, token);
}

static int rows_tokens(void *payload, uint64_t context, uint32_t *out, error *err)
{
	const rows_feed *r = payload;

	return sae_dump_tokens(r->in->dump, context, out, err);
}

static uint64_t rows_document(void *payload, uint64_t context)
{
	const rows_feed *r = payload;

	return sae_dump_document(r->in->dump, context);
}

static void rows_close(void *payload)
{
	rows_feed *r = payload;

	sae_encoder_free(r->encoder);
	free(r->x);
	free(r);
}

static int rows_feed_new(rows_feed **payload, index_feed *out, const dump_input *in, uint32_t per_batch,
                         error *err)
{
	const sae_dump_info *info = sae_dump_get_info(in->dump);
	rows_feed *r = malloc(sizeof(*r));

	if (!r)
		return error_nomem(err, "a batch of contexts");
	*r = (rows_feed){ .in = in, .ctx_len = info->ctx_len, .d = info->d_in };
	r->x = mem_alloc_aligned((size_t)per_batch * info->ctx_len, info->d_in * sizeof(*r->x));
	if (!r->x) {
		free(r);
		return error_nomem(err, "a batch of contexts");
	}
	*out = (index_feed){ .n_contexts = info->n_contexts,
		             .ctx_len = info->ctx_len,
		             .per_batch = per_batch,
		             .codes = rows_codes,
		             .counts = rows_counts,
		             .tokens = rows_tokens,
		             .document = rows_document,
		             .close = rows_close,
		             .payload = r };
	*payload = r;
	return 0;
}

static uint32_t usual_batch(uint32_t ctx_len)
{
	return ctx_len < BATCH_ROWS ? BATCH_ROWS / ctx_len : 1;
}

int index_feed_sae(index_feed *out, const dump_input *in, const sae_model *m, const char *kernels, error *err)
{
	rows_feed *r = NULL;
	int rc = rows_feed_new(&r, out, in, usual_batch(sae_dump_get_info(in->dump)->ctx_len), err);

	if (rc < 0)
		return rc;
	rc = sae_encoder_new(&r->encoder, m, in->pool, kernels, err);
	if (rc < 0)
		index_feed_close(out);
	return rc;
}

int index_feed_neurons(index_feed *out, const dump_input *in, const sae_neurons *n, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(in->dump);
	uint64_t values = (uint64_t)info->ctx_len * info->d_in;
	uint32_t most = values < BATCH_VALUES ? (uint32_t)(BATCH_VALUES / values) : 1;
	uint32_t usual = usual_batch(info->ctx_len);
	rows_feed *r = NULL;
	int rc = rows_feed_new(&r, out, in, most < usual ? most : usual, err);

	if (rc == 0)
		r->neurons = n;
	return rc;
}
