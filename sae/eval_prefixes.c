/* What the first features alone explain. One pass over the rows in order, sums in FP64. */
#include <math.h>

#include "sae/sae.h"

enum { BLOCK = 8 * SAE_ENCODE_TILE };

typedef struct prefixes {
	const sae_model *model;
	const sae_dump *dump;
	const sae_rows *rows;
	pool *pool;
	sae_encoder *encoder;
	sae_codes codes, cut;        /* of a block; those of the prefix */
	float *x, *hat;              /* (BLOCK, d) */
	double *sum, squares, *lost; /* (d), (n) */
	arena mem;
} prefixes;

static int alloc_prefixes(prefixes *p, size_t n, error *err)
{
	size_t d = p->model->d_in;

	p->x = arena_alloc(&p->mem, BLOCK, d * sizeof(*p->x));
	p->hat = arena_alloc(&p->mem, BLOCK, d * sizeof(*p->hat));
	p->sum = arena_alloc(&p->mem, d, sizeof(*p->sum));
	p->lost = arena_alloc(&p->mem, n, sizeof(*p->lost));
	return p->x && p->hat && p->sum && p->lost ? 0 : error_nomem(err, "rows of a block");
}

static int read_block(prefixes *p, uint64_t first, size_t n, error *err)
{
	size_t d = p->model->d_in;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = sae_dump_read(p->dump, sae_rows_at(p->rows, true, first + i), 1, p->x + i * d, err);
	for (size_t i = 0; i < n * d && rc == 0; i++) {
		p->sum[i % d] += (double)p->x[i];
		p->squares += (double)p->x[i] * (double)p->x[i];
	}
	if (rc == 0)
		rc = sae_encode(p->encoder, p->x, n, &p->codes, err);
	if (rc == 0 &&
	    (mem_grow(&p->cut.first, &p->cut.first_room, n + 1, sizeof(*p->cut.first)) < 0 ||
	     mem_grow(&p->cut.index, &p->cut.index_room, p->codes.first[n] + 1, sizeof(*p->cut.index)) < 0 ||
	     mem_grow(&p->cut.value, &p->cut.value_room, p->codes.first[n] + 1, sizeof(*p->cut.value)) < 0))
		rc = error_nomem(err, "codes");
	return rc;
}

/* Squared error of the block's rows by the features under `end`. */
static double block_lost(prefixes *p, uint32_t end, size_t n)
{
	size_t kept = 0, d = p->model->d_in;
	double lost = 0;

	p->cut.n = n;
	p->cut.first[0] = 0;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = p->codes.first[i]; j < p->codes.first[i + 1] && p->codes.index[j] < end;
		     j++) {
			p->cut.index[kept] = p->codes.index[j];
			p->cut.value[kept++] = p->codes.value[j];
		}
		p->cut.first[i + 1] = kept;
	}
	sae_decode(p->model, p->x, &p->cut, p->hat, p->pool);
	for (size_t i = 0; i < n * d; i++) {
		double e = (double)p->x[i] - (double)p->hat[i];

		lost += e * e;
	}
	return lost;
}

static int check(const sae_model *m, const sae_dump *d, const sae_rows *rows, error *err)
{
	if (m->transcodes || m->d_in != m->d_out)
		return error_set(err, ERR_ARG, "prefixes are of an SAE's features, not of a transcoder's");
	if (sae_dump_get_info(d)->d_in != m->d_in)
		return error_set(err, ERR_ARG, "the SAE takes rows of %u, '%s' has rows of %u", m->d_in,
		                 sae_dump_shard(d, 0, NULL), sae_dump_get_info(d)->d_in);
	return sae_rows_n(rows, true) ? 0 : error_set(err, ERR_FORMAT, "no held-out rows to evaluate");
}

int sae_eval_prefixes(double *fvu, const uint32_t *ends, size_t n, const sae_model *m, const sae_dump *d,
                      const sae_rows *rows, pool *threads, error *err)
{
	prefixes p = { .model = m, .dump = d, .rows = rows, .pool = threads };
	uint64_t n_rows = sae_rows_n(rows, true);
	int rc = check(m, d, rows, err);

	if (rc == 0)
		rc = alloc_prefixes(&p, n, err);
	if (rc == 0)
		rc = sae_encoder_new(&p.encoder, m, threads, NULL, err);
	for (uint64_t first = 0; first < n_rows && rc == 0; first += BLOCK) {
		size_t size = n_rows - first < BLOCK ? (size_t)(n_rows - first) : BLOCK;

		rc = read_block(&p, first, size, err);
		for (size_t i = 0; i < n && rc == 0; i++)
			p.lost[i] += block_lost(&p, ends[i], size);
	}
	for (uint32_t j = 0; j < m->d_in && rc == 0; j++)
		p.squares -= p.sum[j] * p.sum[j] / (double)n_rows;
	for (size_t i = 0; i < n && rc == 0; i++)
		fvu[i] = p.squares > 0 ? p.lost[i] / p.squares : (double)NAN;
	sae_encoder_free(p.encoder);
	sae_codes_free(&p.codes);
	sae_codes_free(&p.cut);
	arena_clear(&p.mem);
	return rc;
}
