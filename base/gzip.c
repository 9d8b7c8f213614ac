/* gzip.c: files that are written compressed, and files that are read line by line, compressed or not. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { CHUNK = 1 << 16, GZIP_WINDOW = 15 + 16 };

/* ---- Writing ---- */

struct gzip_state {
	z_stream z;
	unsigned char out[CHUNK];
};

int gzip_writer_open(gzip_writer *w, const char *path, int level, error *err)
{
	int rc;

	*w = (gzip_writer){ .file = { .fd = -1 } };
	w->state = calloc(1, sizeof(*w->state));
	if (!w->state)
		return error_nomem(err, path);
	if (deflateInit2(&w->state->z, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(w->state);
		w->state = NULL;
		return error_nomem(err, path);
	}
	rc = file_writer_open(&w->file, path, err);
	if (rc < 0)
		gzip_writer_abort(w);
	return rc;
}

static int deflate_all(gzip_writer *w, int flush, error *err)
{
	z_stream *z = &w->state->z;
	int rc = 0, got;

	do {
		z->next_out = w->state->out;
		z->avail_out = CHUNK;
		got = deflate(z, flush);
		rc = file_writer_add(&w->file, w->state->out, CHUNK - z->avail_out, err);
	} while (rc == 0 && (z->avail_out == 0 || (flush == Z_FINISH && got == Z_OK)));
	return rc;
}

int gzip_writer_add(gzip_writer *w, const void *p, size_t n, error *err)
{
	const unsigned char *bytes = p;
	int rc = 0;

	while (n > 0 && rc == 0) {
		size_t some = n < (1u << 30) ? n : 1u << 30;

		w->state->z.next_in = (z_const Bytef *)bytes;
		w->state->z.avail_in = (uInt)some;
		rc = deflate_all(w, Z_NO_FLUSH, err);
		bytes += some;
		n -= some;
	}
	return rc;
}

int gzip_writer_commit(gzip_writer *w, error *err)
{
	int rc;

	w->state->z.next_in = NULL;
	w->state->z.avail_in = 0;
	rc = deflate_all(w, Z_FINISH, err);
	if (rc == 0)
		rc = file_writer_commit(&w->file, err);
	gzip_writer_abort(w);
	return rc;
}

void gzip_writer_abort(gzip_writer *w)
{
	if (!w->state)
		return;
	deflateEnd(&w->state->z);
	free(w->state);
	w->state = NULL;
	file_writer_abort(&w->file);
}

/* ---- Reading ---- */

struct line_reader {
	char path[FILE_PATH_MAX];
	int fd;
	uint64_t size, at;   /* of the file: its bytes, those read */
	uint64_t number;     /* of the line read last, from 1 */
	bool packed, inside; /* inside: a member has begun and not ended */
	z_stream z;
	unsigned char in[CHUNK], out[CHUNK];
	const unsigned char *bytes; /* plain ones not yet given */
	size_t n;
	text line;
};

static int fill_in(line_reader *r, size_t *n, error *err)
{
	uint64_t left = r->size - r->at;
	int rc;

	*n = left < CHUNK ? (size_t)left : CHUNK;
	rc = file_pread(r->fd, r->in, *n, r->at, r->path, err);
	r->at += *n;
	return rc;
}

int line_reader_open(line_reader **out, const char *path, size_t max_line, error *err)
{
	line_reader *r = calloc(1, sizeof(*r));
	size_t n = 0;
	int rc;

	if (!r)
		return error_nomem(err, path);
	r->fd = -1;
	text_init(&r->line, max_line);
	snprintf(r->path, sizeof(r->path), "%s", path);
	rc = file_open_read(&r->fd, &r->size, path, err);
	if (rc == 0)
		rc = fill_in(r, &n, err);
	if (rc < 0)
		goto out;
	r->packed = n >= 2 && r->in[0] == 0x1f && r->in[1] == 0x8b;
	if (r->packed && inflateInit2(&r->z, GZIP_WINDOW) != Z_OK) {
		r->packed = false;
		rc = error_nomem(err, path);
		goto out;
	}
	if (r->packed) {
		r->z.next_in = r->in;
		r->z.avail_in = (uInt)n;
	} else {
		r->bytes = r->in;
		r->n = n;
	}
	*out = r;
	r = NULL;
out:
	line_reader_close(r);
	return rc;
}

void line_reader_close(line_reader *r)
{
	if (!r)
		return;
	if (r->packed)
		inflateEnd(&r->z);
	if (r->fd >= 0)
		close(r->fd);
	text_free(&r->line);
	free(r);
}

uint64_t line_reader_number(const line_reader *r)
{
	return r->number;
}

/* Some more of a compressed file's bytes; none at its end. */
static int fill_packed(line_reader *r, error *err)
{
	while (r->n == 0) {
		int got;

		if (r->z.avail_in == 0 && r->at < r->size) {
			size_t n = 0;
			int rc = fill_in(r, &n, err);

			if (rc < 0)
				return rc;
			r->z.next_in = r->in;
			r->z.avail_in = (uInt)n;
		}
		if (r->z.avail_in == 0 && !r->inside)
			return 0;
		r->z.next_out = r->out;
		r->z.avail_out = CHUNK;
		got = inflate(&r->z, Z_NO_FLUSH);
		r->inside = got != Z_STREAM_END;
		r->bytes = r->out;
		r->n = CHUNK - r->z.avail_out;
		if (got == Z_MEM_ERROR)
			return error_nomem(err, r->path);
		if (got == Z_BUF_ERROR && r->n == 0)
			return error_set(err, ERR_FORMAT,
			                 "'%s', line %llu: the file is cut off within its gzip data", r->path,
			                 (unsigned long long)r->number);
		if (got != Z_OK && got != Z_STREAM_END && got != Z_BUF_ERROR)
			return error_set(err, ERR_FORMAT, "'%s', line %llu: broken gzip data (%s)", r->path,
			                 (unsigned long long)r->number, r->z.msg ? r->z.msg : "no such code");
		if (got == Z_STREAM_END) /* gzip allows several members, one behind the other */
			inflateReset(&r->z);
	}
	return 0;
}

static int fill(line_reader *r, error *err)
{
	int rc;

	if (r->n > 0)
		return 0;
	if (r->packed)
		return fill_packed(r, err);
	rc = fill_in(r, &r->n, err);
	r->bytes = r->in;
	return rc;
}

int line_reader_next(line_reader *r, const char **line, size_t *len, bool *more, error *err)
{
	const unsigned char *end = NULL;
	bool any = false;

	text_clear(&r->line);
	r->number++;
	while (!end) {
		size_t n;
		int rc = fill(r, err);

		if (rc < 0)
			return rc;
		if (r->n == 0)
			break;
		any = true;
		end = memchr(r->bytes, '\n', r->n);
		n = end ? (size_t)(end - r->bytes) : r->n;
		rc = text_add(&r->line, r->bytes, n);
		if (rc == ERR_LIMIT)
			return error_set(err, ERR_LIMIT, "'%s', line %llu: over the limit of %zu bytes",
			                 r->path, (unsigned long long)r->number, r->line.max);
		if (rc < 0)
			return error_nomem(err, r->path);
		r->bytes += n + (end != NULL);
		r->n -= n + (end != NULL);
	}
	*more = any;
	*line = r->line.data ? r->line.data : "";
	*len = r->line.len;
	if (*len > 0 && (*line)[*len - 1] == '\r')
		r->line.data[--*len] = '\0';
	return 0;
}
