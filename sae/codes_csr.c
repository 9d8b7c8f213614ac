/* Codes as one sparse matrix (tokens, features) in CSR: what gloss encode and scipy.sparse.save_npz() write. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "sae/codes_read.h"

enum { BLOCK = 1 << 14 }; /* elements read at a time */

struct codes_csr {
	sae_file *f;
	const sae_tensor *indptr, *indices, *data;
	int64_t some[BLOCK];
};

static int find(const sae_tensor **out, const sae_file *f, const char *name, bool floats, error *err)
{
	const sae_tensor *t = sae_file_tensor(f, name);

	if (!t)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' has no tensor '%s': codes are a folder of delphi's, or a CSR matrix of shape, "
		        "indptr, indices and data",
		        sae_file_path(f), name);
	if (t->n_dims != 1 || (floats ? !convert_is_float(t->dtype) : !convert_is_integer(t->dtype)))
		return error_set(err, ERR_FORMAT, "'%s': '%s' is not a list of %s", sae_file_path(f), name,
		                 floats ? "floats" : "whole numbers");
	*out = t;
	return 0;
}

/* The two numbers of `shape`. */
static int read_shape(sae_codes_info *info, const sae_file *f, error *err)
{
	const sae_tensor *t;
	int64_t shape[2];
	int rc = find(&t, f, "shape", false, err);

	if (rc == 0 && t->count != 2)
		rc = error_set(err, ERR_FORMAT, "'%s': 'shape' has %" PRIu64 " numbers, a matrix has 2",
		               sae_file_path(f), t->count);
	if (rc == 0)
		rc = sae_file_read_i64(f, t, 0, 2, shape, err);
	if (rc == 0 && (shape[0] < 0 || shape[1] < 1 || shape[1] > INT32_MAX))
		rc = error_set(err, ERR_FORMAT, "'%s': a shape of %" PRId64 " by %" PRId64, sae_file_path(f),
		               shape[0], shape[1]);
	if (rc == 0) {
		info->n_rows = (uint64_t)shape[0];
		info->n_features = (uint32_t)shape[1];
	}
	return rc;
}

/* The arrays' lengths, and the ends of indptr. */
static int check_arrays(const sae_codes_reader *r, error *err)
{
	const codes_csr *c = r->csr;
	const char *path = sae_file_path(c->f);
	int64_t ends[2];
	int rc;

	if (c->indptr->count != r->info.n_rows + 1)
		return error_set(err, ERR_FORMAT,
		                 "'%s': 'indptr' has %" PRIu64 " numbers, %" PRIu64 " rows want %" PRIu64,
		                 path, c->indptr->count, r->info.n_rows, r->info.n_rows + 1);
	if (c->indices->count != c->data->count)
		return error_set(err, ERR_FORMAT, "'%s': %" PRIu64 " indices, but %" PRIu64 " values", path,
		                 c->indices->count, c->data->count);
	rc = sae_file_read_i64(c->f, c->indptr, 0, 1, &ends[0], err);
	if (rc == 0)
		rc = sae_file_read_i64(c->f, c->indptr, r->info.n_rows, 1, &ends[1], err);
	if (rc == 0 && (ends[0] != 0 || (uint64_t)ends[1] != c->data->count))
		rc = error_set(err, ERR_FORMAT,
		               "'%s': 'indptr' goes from %" PRId64 " to %" PRId64 ", there are %" PRIu64
		               " values",
		               path, ends[0], ends[1], c->data->count);
	return rc;
}

int codes_csr_open(sae_codes_reader *r, const char *path, error *err)
{
	codes_csr *c = malloc(sizeof(*c));
	int rc;

	if (!c)
		return error_nomem(err, "codes");
	c->f = NULL;
	r->csr = c;
	rc = sae_file_open(&c->f, path, err);
	if (rc == 0)
		rc = read_shape(&r->info, c->f, err);
	if (rc == 0)
		rc = find(&c->indptr, c->f, "indptr", false, err);
	if (rc == 0)
		rc = find(&c->indices, c->f, "indices", false, err);
	if (rc == 0)
		rc = find(&c->data, c->f, "data", true, err);
	if (rc == 0)
		rc = check_arrays(r, err);
	if (rc == 0)
		rc = codes_find_kept(r, c->f, err);
	if (rc == 0)
		rc = sha256_file(r->info.sha256, path, err);
	if (rc < 0)
		return rc;
	codes_read_metadata(&r->info, c->f);
	return 0;
}

void codes_csr_close(codes_csr *c)
{
	if (!c)
		return;
	sae_file_close(c->f);
	free(c);
}

/* out->first (n + 1) from 0; *begin: of the first code in the file. */
static int read_bounds(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out, uint64_t *begin,
                       error *err)
{
	codes_csr *c = r->csr;
	int64_t before = 0;
	int rc = 0;

	for (uint64_t done = 0, m; done <= n && rc == 0; done += m) {
		m = n + 1 - done < BLOCK ? n + 1 - done : BLOCK;
		rc = sae_file_read_i64(c->f, c->indptr, first + done, m, c->some, err);
		for (uint64_t i = 0; i < m && rc == 0; i++) {
			if (c->some[i] < before || (uint64_t)c->some[i] > c->data->count)
				return error_set(err, ERR_FORMAT,
				                 "'%s': 'indptr' is %" PRId64 " at %" PRIu64
				                 ", behind %" PRId64 ", and there are %" PRIu64 " values",
				                 sae_file_path(c->f), c->some[i], first + done + i, before,
				                 c->data->count);
			before = c->some[i];
			if (done + i == 0)
				*begin = (uint64_t)before;
			out->first[done + i] = (size_t)((uint64_t)before - *begin);
		}
	}
	return rc;
}

/* A row's features must ascend; those of values of 0 or less are dropped. *end: of what is kept so far. */
static int take_row(sae_codes_reader *r, uint64_t row, size_t from, size_t to, sae_codes *out, size_t *end,
                    error *err)
{
	const char *path = sae_file_path(r->csr->f);
	int64_t before = -1;

	for (size_t i = from; i < to; i++) {
		int64_t feature = (int32_t)out->index[i];

		if (feature < 0 || feature >= r->info.n_features)
			return error_set(err, ERR_FORMAT,
			                 "'%s': row %" PRIu64 " has feature %" PRId64 ", there are %u", path,
			                 row, feature, r->info.n_features);
		if (feature <= before)
			return error_set(err, ERR_FORMAT,
			                 "'%s': row %" PRIu64 " has feature %" PRId64 " behind %" PRId64
			                 ": they must ascend (sum_duplicates() sorts them)",
			                 path, row, feature, before);
		if (!isfinite(out->value[i]))
			return error_set(err, ERR_FORMAT,
			                 "'%s': row %" PRIu64 " has the value %g for feature %" PRId64, path,
			                 row, (double)out->value[i], feature);
		before = feature;
		if (!(out->value[i] > 0)) {
			r->info.n_dropped++;
			continue;
		}
		out->index[*end] = out->index[i];
		out->value[(*end)++] = out->value[i];
	}
	return 0;
}

static int read_indices(codes_csr *c, uint64_t begin, size_t n, uint32_t *out, error *err)
{
	int rc = 0;

	for (size_t done = 0, m; done < n && rc == 0; done += m) {
		m = n - done < BLOCK ? n - done : BLOCK;
		rc = sae_file_read_i64(c->f, c->indices, begin + done, m, c->some, err);
		for (size_t i = 0; i < m && rc == 0; i++) /* what is no feature is told with its row */
			out[done + i] =
			        c->some[i] < 0 || c->some[i] > INT32_MAX ? UINT32_MAX : (uint32_t)c->some[i];
	}
	return rc;
}

int codes_csr_read(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out, error *err)
{
	codes_csr *c = r->csr;
	uint64_t begin = 0;
	size_t codes, end = 0, from;
	int rc = read_bounds(r, first, n, out, &begin, err);

	if (rc < 0)
		return rc;
	codes = out->first[n];
	if (mem_grow(&out->index, &out->index_room, codes + 1, sizeof(*out->index)) < 0 ||
	    mem_grow(&out->value, &out->value_room, codes + 1, sizeof(*out->value)) < 0)
		return error_nomem(err, "sparse codes");
	rc = read_indices(c, begin, codes, out->index, err);
	if (rc == 0)
		rc = sae_file_read_f32(c->f, c->data, begin, codes, out->value, err);
	from = 0;
	for (uint64_t i = 0; i < n && rc == 0; i++) {
		size_t to = out->first[i + 1];

		rc = take_row(r, first + i, from, to, out, &end, err);
		out->first[i + 1] = end;
		from = to;
	}
	return rc;
}
