/* Write the codes and reconstructions that Gloss computes for the first rows of a dump, for interop.py to compare.
 *
 *	bench_codes SAE DUMP OUT.safetensors [ROWS]
 *
 * Rows are those that count (of NaN or massive norm left out). Tensors: row (n) I64 numbers in the dump, x (n, d), hat (n, d_out), and
 * the codes of row i at first[i] .. first[i + 1] - 1 of index and value. */
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

typedef struct work {
	sae_model *model;
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
	sae_encoder *encoder;
	sae_codes codes;
	size_t n;
	int64_t *row;
	float *x, *hat;
} work;

static int open_all(work *w, const char *sae, const char *dump, error *err)
{
	const sae_dump_opts dump_opts = { 0 };
	sae_rows_opts rows_opts = { 0 };
	int rc = pool_new(&w->pool, 0, err);

	if (!rc)
		rc = sae_model_load(&w->model, sae, err);
	if (!rc)
		rc = sae_dump_open(&w->dump, &dump, 1, &dump_opts, err);
	if (rc)
		return rc;
	rows_opts.norm_limit = w->model->norm_limit;
	rc = sae_rows_scan(&w->rows, w->dump, &rows_opts, false, w->pool, NULL, err);
	if (!rc)
		rc = sae_rows_split(w->rows, w->dump, 1, SAE_SPLIT_DOCUMENT, 0, err);
	if (!rc)
		rc = sae_encoder_new(&w->encoder, w->model, w->pool, NULL, err);
	return rc;
}

static int encode(work *w, error *err)
{
	uint32_t d = w->model->d_in;
	int rc = 0;

	w->row = malloc(w->n * sizeof(*w->row));
	w->x = mem_alloc_aligned(w->n * d, sizeof(float));
	w->hat = mem_alloc_aligned(w->n * w->model->d_out, sizeof(float));
	if (!w->row || !w->x || !w->hat)
		rc = error_nomem(err, "the rows");
	for (size_t i = 0; !rc && i < w->n; i++) {
		w->row[i] = (int64_t)sae_rows_at(w->rows, true, i);
		rc = sae_dump_read(w->dump, (uint64_t)w->row[i], 1, w->x + i * d, err);
	}
	if (!rc)
		rc = sae_encode(w->encoder, w->x, w->n, &w->codes, err);
	if (!rc)
		sae_decode(w->model, w->x, &w->codes, w->hat, w->pool);
	return rc;
}

static int write_all(const work *w, const char *path, error *err)
{
	uint64_t n = w->n, d = w->model->d_in, out = w->model->d_out, firings = w->codes.first[w->n];
	const sae_tensor_out t[] = {
		{ "row", SAE_I64, 1, { n }, w->row },
		{ "x", SAE_F32, 2, { n, d }, w->x },
		{ "hat", SAE_F32, 2, { n, out }, w->hat },
		{ "first", SAE_I64, 1, { n + 1 }, w->codes.first },
		{ "index", SAE_I32, 1, { firings }, w->codes.index },
		{ "value", SAE_F32, 1, { firings }, w->codes.value },
	};

	return sae_safetensors_write(path, t, ARRAY_LEN(t), NULL, 0, err);
}

int main(int argc, char **argv)
{
	work w = { 0 };
	error err = { 0 };
	int rc;

	if (argc < 4) {
		fprintf(stderr, "bench_codes SAE DUMP OUT.safetensors [ROWS]\n");
		return 2;
	}
	rc = open_all(&w, argv[1], argv[2], &err);
	if (!rc) {
		uint64_t n = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000;

		w.n = (size_t)(n < sae_rows_n(w.rows, true) ? n : sae_rows_n(w.rows, true));
		rc = encode(&w, &err);
	}
	if (!rc)
		rc = write_all(&w, argv[3], &err);
	if (rc)
		fprintf(stderr, "bench_codes: %s\n", err.msg);
	sae_codes_free(&w.codes);
	sae_encoder_free(w.encoder);
	sae_rows_free(w.rows);
	sae_dump_close(w.dump);
	sae_model_free(w.model);
	pool_free(w.pool);
	free(w.row);
	free(w.x);
	free(w.hat);
	return rc ? 1 : 0;
}
