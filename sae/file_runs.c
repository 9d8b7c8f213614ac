/* Tensors whose elements do not lie together: Fortran order, torch's transposed and sliced views. As a matrix of
 * n_runs x run elements (rows) or run x n_runs (columns: `turned`); run i begins at element i * pitch of the storage. */
#include <stdlib.h>
#include <string.h>

#include "sae/file_internal.h"
#include "sae/turn.h"

enum { BLOCK_ELEMENTS = 1 << 20 }; /* of the storage, read at a time */

typedef struct reader {
	const sae_file *f;
	const sae_tensor *t;
	uint64_t first;     /* the tensor's element that out begins with */
	float *f32;         /* what was asked for, or NULL */
	int64_t *i64;       /* the same, where f32 is NULL */
	unsigned char *raw; /* (BLOCK_ELEMENTS) of the tensor's dtype */
	void *block; /* (BLOCK_ELEMENTS) floats or integers, runs one after another; for columns only */
} reader;

/* Elements low..high-1 of the runs from..to-1. */
typedef struct rect {
	uint64_t from, to, low, high;
} rect;

/* Whether what lies between runs is read too: much of it is wanted, or little lies there. */
static bool read_between(const sae_tensor *t, uint64_t width)
{
	return width >= t->pitch / 4 || t->pitch * sae_dtype_size(t->dtype) <= 512;
}

/* To raw; *pitch is the elements there from one run to the next. */
static int read_rect(const reader *r, const rect *b, uint64_t *pitch, error *err)
{
	const size_t size = sae_dtype_size(r->t->dtype);
	const uint64_t width = b->high - b->low, n = b->to - b->from;
	int rc = 0;

	*pitch = r->t->pitch;
	if (n == 1 || read_between(r->t, width))
		return file_read_raw(r->f, r->t, b->from * *pitch + b->low,
		                     (size_t)((n - 1) * *pitch + width), r->raw, err);
	for (uint64_t i = 0; i < n && rc == 0; i++)
		rc = file_read_raw(r->f, r->t, (b->from + i) * *pitch + b->low, (size_t)width,
		                   r->raw + i * width * size, err);
	*pitch = width;
	return rc;
}

/* n elements that lie together in raw, converted to element `at` of f32 or i64. */
static int convert(const reader *r, float *f32, int64_t *i64, uint64_t at, const void *raw, uint64_t n,
                   error *err)
{
	if (!f32)
		return file_to_i64(i64 + at, raw, r->first + at, (size_t)n, r->f, r->t, err);
	convert_to_f32(f32 + at, raw, (size_t)n, r->t->dtype);
	return 0;
}

/* block (n runs, width) to the columns that they are, `columns` of which make the tensor's row. */
static void turn(const reader *r, const rect *b, uint64_t columns)
{
	const uint64_t width = b->high - b->low, n = b->to - b->from;
	const uint64_t start = b->low * columns + b->from - r->first;
	const int64_t *ints = r->block;

	if (r->f32)
		turn_floats(r->f32 + start, (size_t)columns, r->block, (size_t)width, (size_t)n,
		            (size_t)width);
	for (uint64_t j = 0; j < width && !r->f32; j++)
		for (uint64_t i = 0; i < n; i++)
			r->i64[start + j * columns + i] = ints[i * width + j];
}

static int put_rect(const reader *r, const rect *b, error *err)
{
	const sae_tensor *t = r->t;
	const size_t size = sae_dtype_size(t->dtype);
	const uint64_t width = b->high - b->low;
	uint64_t pitch = 0;
	int rc = read_rect(r, b, &pitch, err);

	for (uint64_t i = 0; i < b->to - b->from && rc == 0; i++) {
		const unsigned char *raw = r->raw + i * pitch * size;

		if (t->turned)
			rc = convert(r, r->f32 ? r->block : NULL, r->block, i * width, raw, width, err);
		else
			rc = convert(r, r->f32, r->i64, (b->from + i) * t->run + b->low - r->first, raw,
			             width, err);
	}
	if (rc == 0 && t->turned)
		turn(r, b, t->count / t->run);
	return rc;
}

/* Rows from..to-1, columns low..high-1 of the tensor as a matrix, in rectangles that fit the block. */
static int read_part(const reader *r, uint64_t from, uint64_t to, uint64_t low, uint64_t high, error *err)
{
	const rect all = r->t->turned ? (rect){ low, high, from, to } : (rect){ from, to, low, high };
	uint64_t width = all.high - all.low, n;
	int rc = 0;

	width = width < BLOCK_ELEMENTS ? width : BLOCK_ELEMENTS;
	if (width == 0)
		return 0;
	n = BLOCK_ELEMENTS / (read_between(r->t, width) ? r->t->pitch : width);
	n = n > 0 ? n : 1;
	for (uint64_t run = all.from; run < all.to && rc == 0; run += n)
		for (uint64_t at = all.low; at < all.high && rc == 0; at += width) {
			rect b = { run, all.to - run < n ? all.to : run + n, at,
				   all.high - at < width ? all.high : at + width };
			rc = put_rect(r, &b, err);
		}
	return rc;
}

int file_read_runs(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, float *f32,
                   int64_t *i64, error *err)
{
	const uint64_t columns = t->turned ? t->count / t->run : t->run, end = first + n;
	reader r = { f, t, first, f32, i64, NULL, NULL };
	uint64_t row = first / columns, low = first % columns, last = end / columns, high = end % columns;
	int rc = 0;

	r.raw = malloc(BLOCK_ELEMENTS * sae_dtype_size(t->dtype));
	r.block = t->turned ? malloc(BLOCK_ELEMENTS * (f32 ? sizeof(*f32) : sizeof(*i64))) : NULL;
	if (!r.raw || (t->turned && !r.block))
		rc = error_nomem(err, "a tensor's rows");
	else if (row == last)
		rc = read_part(&r, row, row + 1, low, high, err);
	else {
		if (low > 0)
			rc = read_part(&r, row, row + 1, low, columns, err);
		if (rc == 0)
			rc = read_part(&r, row + (low > 0), last, 0, columns, err);
		if (rc == 0)
			rc = read_part(&r, last, last + 1, 0, high, err);
	}
	free(r.raw);
	free(r.block);
	return rc;
}
