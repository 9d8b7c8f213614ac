/* Dumps of the same tokens side by side: several inputs of a crosscoder, the target of a transcoder. */
#include "sae/dump_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_COMPARED = 65536, READ_ROWS = 1024 };

size_t dump_n_parts(const sae_dump *d)
{
	return 1 + d->n_beside;
}

const sae_dump *dump_part(const sae_dump *d, size_t i)
{
	return i ? d->beside[i - 1] : d;
}

bool dump_part_is_target(const sae_dump *d, size_t i)
{
	return d->has_target && i == d->n_beside;
}

const sae_dump *sae_dump_target(const sae_dump *d)
{
	return d->has_target ? d->beside[d->n_beside - 1] : NULL;
}

size_t sae_dump_n_inputs(const sae_dump *d)
{
	return dump_n_parts(d) - d->has_target;
}

const sae_dump *sae_dump_part(const sae_dump *d, size_t i, uint32_t *width)
{
	if (i >= dump_n_parts(d))
		return NULL;
	if (width)
		*width = dump_part(d, i)->width;
	return dump_part(d, i);
}

/* ---- Whether they belong together -------------------------------------------------------------------------------- */

static int differ(const sae_dump *d, const sae_dump *other, uint64_t row, const char *what, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s' and '%s' do not belong together: row %" PRIu64 " %s",
	                 sae_dump_shard(d, 0, NULL), sae_dump_shard(other, 0, NULL), row, what);
}

static int compare_tokens(const sae_dump *d, const sae_dump *other, error *err)
{
	uint32_t *a = malloc(2 * TOKENS_COMPARED * sizeof(*a)), *b = a ? a + TOKENS_COMPARED : NULL;
	char what[64];
	int rc = a ? 0 : error_nomem(err, "token ids");

	for (uint64_t at = 0, n; at < d->info.n_rows && rc == 0; at += n) {
		n = d->info.n_rows - at < TOKENS_COMPARED ? d->info.n_rows - at : TOKENS_COMPARED;
		rc = dump_read_tokens(d, at, n, a, err);
		if (rc == 0)
			rc = dump_read_tokens(other, at, n, b, err);
		for (uint64_t i = 0; i < n && rc == 0; i++) {
			if (a[i] == b[i])
				continue;
			snprintf(what, sizeof(what), "is of token %" PRIu32 " there, of %" PRIu32 " here",
			         a[i], b[i]);
			rc = differ(d, other, at + i, what, err);
		}
	}
	free(a);
	return rc;
}

/* The second knows which rows are real tokens; the first's word on contexts is good for both. */
static int compare_masks(const sae_dump *d, const sae_dump *other, error *err)
{
	for (uint64_t row = 0; row < d->info.n_rows; row++)
		if (sae_dump_masked(d, row) != sae_dump_masked(other, row))
			return differ(d, other, row,
			              sae_dump_masked(d, row) ? "is masked there, not here"
			                                      : "is masked here, not there",
			              err);
	return 0;
}

/* Whether both are of the same tensors. */
static bool is_same(const sae_dump *a, const sae_dump *b)
{
	const dump_span *x = a->rows.items, *y = b->rows.items;

	return strcmp(sae_dump_shard(a, 0, NULL), sae_dump_shard(b, 0, NULL)) == 0 &&
	       strcmp(x->tensor.name, y->tensor.name) == 0 && x->at.first == y->at.first;
}

static int check_new(const sae_dump *d, const sae_dump *other, error *err)
{
	for (size_t i = 0; i < dump_n_parts(d); i++)
		if (is_same(dump_part(d, i), other))
			return error_set(err, ERR_ARG,
			                 "'%s': its '%.100s' is asked for twice, and can be only one of a "
			                 "crosscoder's inputs",
			                 sae_dump_shard(other, 0, NULL), other->rows.items->tensor.name);
	return 0;
}

int sae_dump_add(sae_dump *d, sae_dump *other, bool target, error *err)
{
	const sae_dump_info *a = &d->info, *b = &other->info;
	uint64_t width = (uint64_t)a->d_in + (target ? 0 : b->d_in);
	int rc = 0;

	if (d->has_target || other->n_beside || dump_n_parts(d) == SAE_PARTS_MAX || width > INT32_MAX)
		return error_set(err, ERR_ARG, "at most %d dumps can be put side by side, one target last",
		                 SAE_PARTS_MAX);
	if (a->n_rows != b->n_rows)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' and '%s' do not belong together: %" PRIu64 " rows there, %" PRIu64 " here",
		        sae_dump_shard(d, 0, NULL), sae_dump_shard(other, 0, NULL), a->n_rows, b->n_rows);
	rc = target ? 0 : check_new(d, other, err);
	if (rc == 0 && a->has_tokens && b->has_tokens)
		rc = compare_tokens(d, other, err);
	if (rc == 0 && b->ragged) /* where only the first is, its word is good for both */
		rc = compare_masks(d, other, err);
	if (rc < 0)
		return rc;
	d->beside[d->n_beside++] = other;
	d->has_target = target;
	d->info.d_in = (uint32_t)width;
	d->info.n_bytes += b->n_bytes;
	return 0;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

void dump_convert(const sae_dump *d, const void *raw, uint64_t n, float *x, float *y)
{
	const size_t bytes = dump_row_bytes(d), d_in = d->info.d_in;
	const unsigned char *from = raw;

	if (!d->n_beside) {
		convert_to_f32(x, raw, n * d_in, d->info.dtype);
		return;
	}
	for (size_t i = 0, column = 0; i < dump_n_parts(d); i++) {
		const sae_dump *part = dump_part(d, i);
		const size_t width = part->width, pitch = dump_part_is_target(d, i) ? width : d_in;
		float *to = dump_part_is_target(d, i) ? y : x + column;

		for (uint64_t row = 0; row < n; row++)
			convert_to_f32(to + row * pitch, from + row * bytes, width, part->info.dtype);
		from += dump_own_bytes(part);
		column += width;
	}
}

int dump_read_raw_beside(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err)
{
	const size_t bytes = dump_row_bytes(d);
	const uint64_t room = n < READ_ROWS ? n : READ_ROWS;
	unsigned char *rows = malloc(room * bytes), *to = out;
	int rc = rows ? 0 : error_nomem(err, "rows side by side");

	for (uint64_t at = 0, m; at < n && rc == 0; at += m) {
		m = n - at < room ? n - at : room;
		for (size_t i = 0, column = 0; i < dump_n_parts(d) && rc == 0; i++) {
			const size_t own = dump_own_bytes(dump_part(d, i));

			rc = dump_read_own_raw(dump_part(d, i), first + at, m, rows, err);
			for (uint64_t row = 0; row < m && rc == 0; row++)
				memcpy(to + (at + row) * bytes + column, rows + row * own, own);
			column += own;
		}
	}
	free(rows);
	return rc;
}

int dump_read_beside(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err)
{
	const size_t d_in = d->info.d_in;
	const uint64_t room = n < READ_ROWS ? n : READ_ROWS;
	float *rows;
	int rc = 0;

	if (sae_dump_n_inputs(d) == 1)
		return dump_read_own(d, first, n, out, err);
	rows = mem_alloc_aligned(room, d_in * sizeof(*rows));
	if (!rows)
		return error_nomem(err, "rows side by side");
	for (uint64_t at = 0, m; at < n && rc == 0; at += m) {
		m = n - at < room ? n - at : room;
		for (size_t i = 0, column = 0; i < sae_dump_n_inputs(d) && rc == 0; i++) {
			const size_t width = dump_part(d, i)->width;

			rc = dump_read_own(dump_part(d, i), first + at, m, rows, err);
			for (uint64_t row = 0; row < m && rc == 0; row++)
				memcpy(out + (at + row) * d_in + column, rows + row * width,
				       width * sizeof(*rows));
			column += width;
		}
	}
	free(rows);
	return rc;
}
