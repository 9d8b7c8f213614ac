/* Feeds of an index: rows of a dump, coded by an SAE or as they are, and codes computed elsewhere. */
#include "cli/index_pass.h"

#include <stdlib.h>
#include <string.h>

enum {
	BATCH_ROWS = 4096,      /* at least, where contexts are no longer */
	BATCH_FLOATS = 8 << 20, /* of rows: a batch is long, as threads wait for each other at its end */
	BATCH_VALUES = 2 << 20  /* of neurons */
};

void index_feed_close(index_feed *f)
{
	if (f->close)
		f->close(f->payload);
	*f = (index_feed){ 0 };
}

uint32_t index_feed_context(const index_feed *f, uint64_t context, uint64_t *first)
{
	if (f->context)
		return f->context(f->payload, context, first);
	*first = context * f->ctx_len;
	return f->ctx_len;
}

typedef struct rows_feed {
	const dump_input *in;
	uint32_t d;
	float *x;             /* (rows of a batch, d) */
	sae_encoder *encoder; /* NULL: neurons */
	const sae_neurons *neurons;
} rows_feed;

/* The rows of n contexts, one context behind the other; contexts that lie so in the dump too are read at once. Rows that were left
 * out take part in the encoding as zeros, so that a context's codes do not depend on its neighbours. */
static int read_rows(const rows_feed *r, uint64_t context, uint32_t n, size_t *n_rows, error *err)
{
	size_t done = 0;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0;) {
		uint64_t first, next = 0, rows = sae_dump_context(r->in->dump, context + i, &first);
		float *x = r->x + done * r->d;

		while (++i < n) {
			uint32_t more = sae_dump_context(r->in->dump, context + i, &next);
			if (next != first + rows)
				break;
			rows += more;
		}
		rc = sae_dump_read(r->in->dump, first, rows, x, err);
		for (uint64_t j = 0; j < rows && rc == 0; j++)
			if (!sae_rows_kept(r->in->rows, first + j))
				memset(x + j * r->d, 0, r->d * sizeof(*x));
		done += rows;
	}
	*n_rows = done;
	return rc;
}

static int rows_codes(void *payload, uint64_t first, uint32_t n, sae_codes *out, double *read_seconds,
                      error *err)
{
	const rows_feed *r = payload;
	double before = clock_now();
	size_t rows;
	int rc = read_rows(r, first, n, &rows, err);

	*read_seconds += clock_now() - before;
	if (rc < 0)
		return rc;
	if (r->encoder)
		return sae_encode(r->encoder, r->x, rows, out, err);
	return sae_neurons_encode(out, r->neurons, r->x, rows, r->in->pool, err);
}

static uint32_t rows_context(void *payload, uint64_t context, uint64_t *first)
{
	const rows_feed *r = payload;

	return sae_dump_context(r->in->dump, context, first);
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
	*r = (rows_feed){ .in = in, .d = info->d_in };
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
		             .context = rows_context,
		             .tokens = rows_tokens,
		             .document = rows_document,
		             .close = rows_close,
		             .payload = r };
	*payload = r;
	return 0;
}

static uint32_t contexts_of(uint64_t rows, uint32_t ctx_len)
{
	return rows > ctx_len ? (uint32_t)(rows / ctx_len) : 1;
}

uint32_t index_feed_few(const index_feed *f)
{
	uint32_t few = contexts_of(BATCH_ROWS, f->ctx_len);

	return few < f->per_batch ? few : f->per_batch;
}

int index_feed_sae(index_feed *out, const dump_input *in, const sae_model *m, const char *kernels, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(in->dump);
	uint64_t rows = BATCH_FLOATS / info->d_in;
	uint32_t n = contexts_of(rows > BATCH_ROWS ? rows : BATCH_ROWS, info->ctx_len);
	rows_feed *r = NULL;
	int rc = rows_feed_new(&r, out, in, n < info->n_contexts ? n : (uint32_t)info->n_contexts, err);

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
	uint32_t usual = contexts_of(BATCH_ROWS, info->ctx_len);
	rows_feed *r = NULL;
	int rc = rows_feed_new(&r, out, in, most < usual ? most : usual, err);

	if (rc == 0)
		r->neurons = n;
	return rc;
}

/* ---- Codes ---- */

typedef struct codes_feed {
	sae_codes_reader *r;
	const dump_input *in; /* NULL: none goes with them */
	const uint8_t *left_out;
	uint32_t ctx_len;
} codes_feed;

static int codes_codes(void *payload, uint64_t first, uint32_t n, sae_codes *out, double *read_seconds,
                       error *err)
{
	const codes_feed *f = payload;
	double before = clock_now();
	int rc = sae_codes_reader_read(f->r, first * f->ctx_len, (uint64_t)n * f->ctx_len, out, err);

	*read_seconds += clock_now() - before;
	return rc;
}

static bool codes_counts(void *payload, uint64_t token)
{
	const codes_feed *f = payload;

	return !(f->left_out[token / 8] >> token % 8 & 1);
}

static int codes_tokens(void *payload, uint64_t context, uint32_t *out, error *err)
{
	const codes_feed *f = payload;

	if (f->in)
		return sae_dump_tokens(f->in->dump, context, out, err);
	return sae_codes_reader_tokens(f->r, context * f->ctx_len, f->ctx_len, out, err);
}

static uint64_t codes_document(void *payload, uint64_t context)
{
	const codes_feed *f = payload;

	return f->in ? sae_dump_document(f->in->dump, context) : context;
}

int index_feed_codes(index_feed *out, sae_codes_reader *r, const dump_input *in, const uint8_t *left_out,
                     error *err)
{
	const sae_codes_info *info = sae_codes_reader_get_info(r);
	uint32_t ctx_len = in ? sae_dump_get_info(in->dump)->ctx_len : info->ctx_len;
	codes_feed *f = malloc(sizeof(*f));

	if (!f)
		return error_nomem(err, "codes");
	*f = (codes_feed){ .r = r, .in = in, .left_out = left_out, .ctx_len = ctx_len };
	*out = (index_feed){ .n_contexts = info->n_rows / ctx_len,
		             .ctx_len = ctx_len,
		             .per_batch = contexts_of(BATCH_ROWS, ctx_len),
		             .codes = codes_codes,
		             .counts = codes_counts,
		             .tokens = codes_tokens,
		             .document = codes_document,
		             .close = free,
		             .payload = f };
	return 0;
}
