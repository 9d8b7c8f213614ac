/* Reading from an open dump: rows as floats or as they are on disk, token ids, places for messages. */
#include "sae/dump_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { READ_BLOCK = 65536 }; /* bytes read and converted, or picked from, at a time */

const sae_dump_info *sae_dump_get_info(const sae_dump *d)
{
	return &d->info;
}

const cJSON *sae_dump_manifest(const sae_dump *d)
{
	return d->manifest;
}

uint64_t sae_dump_document(const sae_dump *d, uint64_t context)
{
	return d->documents && context < d->info.n_contexts ? d->documents[context] : context;
}

const char *sae_dump_shard(const sae_dump *d, size_t i, uint64_t *n_rows)
{
	if (i >= d->rows.n)
		return NULL;
	if (n_rows)
		*n_rows = d->rows.items[i].n;
	return sae_file_path(d->rows.items[i].file);
}

/* The last span that begins at or before `row`: the one that holds it (empty ones are stepped over by the loops below). */
static size_t find_span(const dump_spans *s, uint64_t row)
{
	size_t low = 0, high = s->n - 1;

	while (low < high) {
		size_t middle = low + (high - low + 1) / 2;
		if (s->items[middle].first <= row)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static int check_rows(const sae_dump *d, uint64_t first, uint64_t n, error *err)
{
	if (first > d->info.n_rows || n > d->info.n_rows - first)
		return error_set(err, ERR_ARG,
		                 "rows %" PRIu64 " to %" PRIu64 " were asked for, the dump has %" PRIu64,
		                 first, first + n, d->info.n_rows);
	return 0;
}

/* How many of the n rows from `first` on the span holds. */
static uint64_t rows_here(const dump_span *s, uint64_t first, uint64_t n)
{
	uint64_t left = s->first + s->n - first;

	return n < left ? n : left;
}

/* Where in its tensor the span's row begins, in values. */
static uint64_t value_of_row(const dump_span *s, uint64_t row)
{
	return s->at.first + row / s->at.rows * s->at.group + row % s->at.rows * s->at.row;
}

static uint64_t byte_of_row(const dump_span *s, uint64_t row)
{
	return s->tensor.offset + value_of_row(s, row) * sae_dtype_size(s->tensor.dtype);
}

size_t dump_own_bytes(const sae_dump *d)
{
	return d->width * sae_dtype_size(d->info.dtype);
}

size_t dump_row_bytes(const sae_dump *d)
{
	size_t bytes = 0;

	for (size_t i = 0; i < dump_n_parts(d); i++)
		bytes += dump_own_bytes(dump_part(d, i));
	return bytes;
}

/* n rows of a group, all of which lie at one distance from each other. What is between them is read too where that is little. */
static int read_group(const dump_span *s, uint64_t row, uint64_t n, size_t bytes, unsigned char *to,
                      error *err)
{
	const uint64_t step = s->at.row * sae_dtype_size(s->tensor.dtype), at = byte_of_row(s, row);
	unsigned char block[READ_BLOCK];
	uint64_t fit = step < sizeof(block) ? sizeof(block) / step : 0;
	int rc = 0;

	if (step == bytes)
		return file_pread(s->file->fd, to, n * bytes, at, s->file->path, err);
	for (uint64_t i = 0, m; i < n && rc == 0; i += m) {
		m = fit == 0 ? 1 : n - i < fit ? n - i : fit;
		if (m == 1) {
			rc = file_pread(s->file->fd, to + i * bytes, bytes, at + i * step, s->file->path,
			                err);
			continue;
		}
		rc = file_pread(s->file->fd, block, (m - 1) * step + bytes, at + i * step, s->file->path,
		                err);
		for (uint64_t j = 0; j < m && rc == 0; j++)
			memcpy(to + (i + j) * bytes, block + j * step, bytes);
	}
	return rc;
}

int dump_read_own_raw(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err)
{
	const size_t row = dump_own_bytes(d);
	unsigned char *to = out;
	int rc = check_rows(d, first, n, err);

	for (size_t i = find_span(&d->rows, first); rc == 0 && n > 0; i++) {
		const dump_span *s = &d->rows.items[i];
		uint64_t left = rows_here(s, first, n);
		n -= left;
		for (uint64_t m; left > 0 && rc == 0; left -= m) {
			uint64_t group = s->at.rows - (first - s->first) % s->at.rows;
			m = left < group ? left : group;
			rc = read_group(s, first - s->first, m, row, to, err);
			to += m * row;
			first += m;
		}
	}
	return rc;
}

int dump_read_raw(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err)
{
	return d->n_beside ? dump_read_raw_beside(d, first, n, out, err)
	                   : dump_read_own_raw(d, first, n, out, err);
}

/* Rows that lie apart, by blocks that are converted. */
static int read_apart(const sae_dump *d, const dump_span *s, uint64_t first, uint64_t n, float *out,
                      error *err)
{
	_Alignas(64) unsigned char raw[READ_BLOCK];
	const size_t width = d->width, fit = sizeof(raw) / dump_own_bytes(d);
	int rc = 0;

	for (uint64_t m; n > 0 && rc == 0; n -= m, first += m, out += m * width) {
		m = fit == 0 ? 1 : n < fit ? n : fit;
		if (fit == 0) {
			rc = sae_file_read_f32(s->file, &s->tensor, value_of_row(s, first - s->first), width,
			                       out, err);
			continue;
		}
		rc = dump_read_own_raw(d, first, m, raw, err);
		if (rc == 0)
			convert_to_f32(out, raw, m * width, d->info.dtype);
	}
	return rc;
}

int dump_read_own(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err)
{
	const uint64_t width = d->width;
	int rc = check_rows(d, first, n, err);

	for (size_t i = find_span(&d->rows, first); rc == 0 && n > 0; i++) {
		const dump_span *s = &d->rows.items[i];
		uint64_t here = rows_here(s, first, n);
		if (s->at.plain)
			rc = sae_file_read_f32(s->file, &s->tensor, (first - s->first) * width, here * width,
			                       out, err);
		else
			rc = read_apart(d, s, first, here, out, err);
		out += here * width;
		first += here;
		n -= here;
	}
	return rc;
}

int sae_dump_read(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err)
{
	return d->n_beside ? dump_read_beside(d, first, n, out, err) : dump_read_own(d, first, n, out, err);
}

void dump_advise(const sae_dump *d, uint64_t first, uint64_t n, int advice)
{
	for (size_t i = 0; i < dump_n_parts(d); i++)
		dump_advise_own(dump_part(d, i), first, n, advice);
}

void dump_advise_own(const sae_dump *d, uint64_t first, uint64_t n, int advice)
{
	const size_t row = dump_own_bytes(d);

	for (size_t i = find_span(&d->rows, first); n > 0 && i < d->rows.n; i++) {
		const dump_span *s = &d->rows.items[i];
		uint64_t here = rows_here(s, first, n);

		if (here > 0) {
			uint64_t begin = byte_of_row(s, first - s->first);
			uint64_t end = byte_of_row(s, first - s->first + here - 1) + row;
			(void)posix_fadvise(s->file->fd, (off_t)begin, (off_t)(end - begin), advice);
		}
		first += here;
		n -= here;
	}
}

/* n token ids from row `first` on, inside one span; out of range: ERR_FORMAT with the place. */
static int read_span_tokens(const dump_span *s, uint64_t first, uint64_t n, uint32_t *out, error *err)
{
	int64_t ids[512];
	int rc = 0;

	for (uint64_t done = 0, m; done < n && rc == 0; done += m) {
		m = n - done < ARRAY_LEN(ids) ? n - done : ARRAY_LEN(ids);
		rc = sae_file_read_i64(s->file, &s->tensor, first - s->first + done, m, ids, err);
		for (size_t i = 0; i < m && rc == 0; i++) {
			if (ids[i] < 0 || ids[i] > INT32_MAX)
				rc = error_set(err, ERR_FORMAT,
				               "'%s': token %" PRIu64 " of '%s' has the id %" PRId64,
				               sae_file_path(s->file), first - s->first + done + i,
				               s->tensor.name, ids[i]);
			out[done + i] = (uint32_t)ids[i];
		}
	}
	return rc;
}

int dump_read_tokens(const sae_dump *d, uint64_t first, uint64_t n, uint32_t *out, error *err)
{
	int rc = check_rows(d, first, n, err);

	for (size_t i = find_span(&d->tokens, first); rc == 0 && n > 0; i++) {
		uint64_t here = rows_here(&d->tokens.items[i], first, n);
		rc = read_span_tokens(&d->tokens.items[i], first, here, out, err);
		out += here;
		first += here;
		n -= here;
	}
	return rc;
}

int sae_dump_tokens(const sae_dump *d, uint64_t context, uint32_t *out, error *err)
{
	uint64_t first;
	uint32_t n;

	if (!d->info.has_tokens)
		return error_set(err, ERR_NOTFOUND, "the dump has no token ids");
	if (context >= d->info.n_contexts)
		return error_set(err, ERR_ARG, "context %" PRIu64 " was asked for, the dump has %" PRIu64,
		                 context, d->info.n_contexts);
	n = sae_dump_context(d, context, &first);
	return dump_read_tokens(d, first, n, out, err);
}

void dump_place(char *out, size_t size, const sae_dump *d, uint64_t row)
{
	const dump_span *s = &d->rows.items[find_span(&d->rows, row)];
	uint64_t context;
	uint32_t position;

	if (sae_dump_where(d, row, &context, &position))
		snprintf(out, size, "row %" PRIu64 " (context %" PRIu64 ", position %u) in '%s'", row,
		         context, position, sae_file_path(s->file));
	else
		snprintf(out, size, "row %" PRIu64 " (padding) in '%s'", row, sae_file_path(s->file));
}
