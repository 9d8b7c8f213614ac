/* archive.h: the bytes of a member. One cursor an archive: of the deflated member read last, how far, the CRC so far and the
 * state of zlib; of stored ones, which stretches were read and their CRCs, so that it is known when all of one was. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "sae/archive.h"

enum { INPUT_BYTES = 1 << 16, STORED_BYTES = 1 << 20 }; /* read at a time; the CRC finds them in the cache */
enum { STRETCHES_MAX = 1024 }; /* more than threads that read pieces of some rows beside each other */

/* Bytes from..to-1 of a stored member. */
typedef struct stretch {
	const archive_member *m;
	uint64_t from, to;
	uint32_t crc;
} stretch;

struct archive_cursor {
	pthread_mutex_t lock;
	stretch stretches[STRETCHES_MAX]; /* of one member, none touch; the oldest makes room */
	size_t n_stretches;
	const archive_member *member; /* NULL: none */
	uint64_t at;                  /* bytes of it that were read */
	uint32_t crc;                 /* of those */
	uint64_t fed;                 /* bytes of packed_size given to zlib */
	z_stream z;
	bool live; /* z has to be ended */
	unsigned char input[INPUT_BYTES];
};

struct archive_cursor *archive_cursor_new(void)
{
	struct archive_cursor *c = calloc(1, sizeof(*c));

	if (c && pthread_mutex_init(&c->lock, NULL) != 0) {
		free(c);
		return NULL;
	}
	return c;
}

static void forget(struct archive_cursor *c)
{
	if (c->live)
		inflateEnd(&c->z);
	c->live = false;
	c->member = NULL;
}

void archive_cursor_free(struct archive_cursor *c)
{
	if (!c)
		return;
	forget(c);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static int check_crc(const archive *a, const archive_member *m, uint32_t crc, const char *path, error *err)
{
	if (crc == m->crc || (m->crc == 0 && a->crc_may_lack))
		return 0;
	return error_set(err, ERR_FORMAT,
	                 "'%s': member '%.100s' is damaged: its CRC is %08" PRIx32 ", not %08" PRIx32, path,
	                 m->name, crc, m->crc);
}

/* ---- Deflated ------------------------------------------------------------------------------------------------------- */

static int start(struct archive_cursor *c, const archive_member *m, error *err)
{
	forget(c);
	memset(&c->z, 0, sizeof(c->z));
	if (inflateInit2(&c->z, -MAX_WBITS) != Z_OK)
		return error_nomem(err, "what inflates a member");
	c->live = true;
	c->member = m;
	c->at = c->fed = 0;
	c->crc = (uint32_t)crc32(0, NULL, 0);
	return 0;
}

static int feed(struct archive_cursor *c, int fd, const char *path, error *err)
{
	uint64_t left = c->member->packed_size - c->fed;
	size_t n = left < INPUT_BYTES ? (size_t)left : INPUT_BYTES;
	int rc = file_pread(fd, c->input, n, c->member->offset + c->fed, path, err);

	c->z.next_in = c->input;
	c->z.avail_in = (unsigned)n;
	c->fed += n;
	return rc;
}

/* The next n bytes of the member; *ended: zlib has seen the end mark. ERR_FORMAT when it has fewer. */
static int inflate_some(struct archive_cursor *c, void *out, size_t n, bool *ended, int fd, const char *path,
                        error *err)
{
	int rc = 0, z = Z_OK;

	c->z.next_out = out;
	c->z.avail_out = (unsigned)n;
	while (rc == 0 && z == Z_OK && c->z.avail_out > 0) {
		if (c->z.avail_in == 0 && c->fed < c->member->packed_size)
			rc = feed(c, fd, path, err);
		if (rc == 0)
			z = inflate(&c->z, Z_NO_FLUSH);
	}
	*ended = z == Z_STREAM_END;
	if (rc < 0)
		return rc;
	if (z == Z_MEM_ERROR)
		return error_nomem(err, "what inflates a member");
	n -= c->z.avail_out;
	c->crc = (uint32_t)crc32(c->crc, out, (unsigned)n);
	c->at += n;
	if (c->z.avail_out == 0 || *ended)
		return 0;
	return error_set(err, ERR_FORMAT, "'%s': member '%.100s' is damaged: %s behind byte %" PRIu64, path,
	                 c->member->name, c->z.msg ? c->z.msg : "it is cut off", c->at);
}

/* The member was read to the size it claims: nothing may follow. */
static int check_end(struct archive_cursor *c, const archive *a, int fd, const char *path, error *err)
{
	uint64_t size = c->at;
	uint32_t crc = c->crc;
	unsigned char more;
	bool ended;
	int rc = inflate_some(c, &more, 1, &ended, fd, path, err);

	if (rc < 0)
		return rc;
	if (c->at > size || c->z.avail_in || c->fed < c->member->packed_size)
		return error_set(err, ERR_FORMAT,
		                 "'%s': member '%.100s' holds more than the %" PRIu64 " bytes it claims",
		                 path, c->member->name, size);
	return check_crc(a, c->member, crc, path, err);
}

/* Up to n bytes, to `out` or (NULL) to nowhere. */
static int advance(struct archive_cursor *c, const archive *a, unsigned char *out, uint64_t n, int fd,
                   const char *path, error *err)
{
	unsigned char dropped[16384];
	int rc = 0;

	while (n > 0 && rc == 0) {
		size_t limit = out ? STORED_BYTES : sizeof(dropped), m = n < limit ? (size_t)n : limit;
		uint64_t before = c->at;
		bool ended;

		rc = inflate_some(c, out ? out : dropped, m, &ended, fd, path, err);
		if (rc == 0 && c->at - before < m)
			rc = error_set(err, ERR_FORMAT,
			               "'%s': member '%.100s' holds %" PRIu64 " bytes, it claims %" PRIu64,
			               path, c->member->name, c->at, c->member->size);
		if (rc == 0 && c->at == c->member->size)
			rc = check_end(c, a, fd, path, err);
		if (out)
			out += m;
		n -= m;
	}
	return rc;
}

static int read_deflated(archive *a, const archive_member *m, uint64_t offset, void *out, size_t n, int fd,
                         const char *path, error *err)
{
	struct archive_cursor *c = a->last;
	int rc = 0;

	if (c->member != m || !c->live || c->at > offset)
		rc = start(c, m, err);
	if (rc == 0)
		rc = advance(c, a, NULL, offset - c->at, fd, path, err);
	if (rc == 0)
		rc = advance(c, a, out, n, fd, path, err);
	if (rc < 0 || c->at == m->size)
		forget(c);
	return rc;
}

/* ---- Stored --------------------------------------------------------------------------------------------------------- */

/* The stretch that ends where `s` begins (or begins where it ends) is taken off the list and becomes part of `s`. */
static bool join(struct archive_cursor *c, stretch *s)
{
	for (size_t i = 0; i < c->n_stretches; i++) {
		const stretch t = c->stretches[i];

		if (t.m != s->m || (t.to != s->from && t.from != s->to))
			continue;
		if (t.to == s->from)
			*s = (stretch){ s->m, t.from, s->to,
				        (uint32_t)crc32_combine(t.crc, s->crc, (z_off_t)(s->to - s->from)) };
		else
			*s = (stretch){ s->m, s->from, t.to,
				        (uint32_t)crc32_combine(s->crc, t.crc, (z_off_t)(t.to - t.from)) };
		c->stretches[i] = c->stretches[--c->n_stretches];
		return true;
	}
	return false;
}

/* Notes that a stretch was read; the CRC is checked once all of the member was, in any order, by any threads. */
static int note(archive *a, stretch s, const char *path, error *err)
{
	struct archive_cursor *c = a->last;
	const archive_member *m = s.m;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	while (join(c, &s))
		;
	if (s.from == m->start && s.to == m->size)
		rc = check_crc(a, m, (uint32_t)crc32_combine(m->start_crc, s.crc, (z_off_t)(s.to - s.from)),
		               path, err);
	else {
		if (c->n_stretches == STRETCHES_MAX)
			memmove(c->stretches, c->stretches + 1, --c->n_stretches * sizeof(s));
		c->stretches[c->n_stretches++] = s;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static int read_stored(archive *a, const archive_member *m, uint64_t offset, void *out, size_t n, int fd,
                       const char *path, error *err)
{
	unsigned char *to = out;
	uLong crc = crc32(0, NULL, 0);
	int rc = 0;

	for (size_t done = 0, k; done < n && rc == 0; done += k) {
		k = n - done < STORED_BYTES ? n - done : STORED_BYTES;
		rc = file_pread(fd, to + done, k, m->offset + offset + done, path, err);
		if (rc == 0)
			crc = crc32_z(crc, to + done, k);
	}
	if (rc < 0 || n == 0)
		return rc;
	return note(a, (stretch){ m, offset, offset + n, (uint32_t)crc }, path, err);
}

void archive_start(archive *a, archive_member *m, const void *bytes, size_t n)
{
	a->last->n_stretches = 0;
	m->start_crc = (uint32_t)crc32_z(m->start_crc, bytes, n);
	m->start += n;
}

int archive_read(archive *a, const archive_member *m, uint64_t offset, void *out, size_t n, int fd,
                 const char *path, error *err)
{
	int rc;

	if (offset > m->size || n > m->size - offset)
		return error_set(err, ERR_FORMAT,
		                 "'%s': member '%.100s' has %" PRIu64 " bytes, %" PRIu64 " were expected",
		                 path, m->name, m->size, offset + n);
	if (!m->deflated)
		return read_stored(a, m, offset, out, n, fd, path, err);
	pthread_mutex_lock(&a->last->lock);
	rc = read_deflated(a, m, offset, out, n, fd, path, err);
	pthread_mutex_unlock(&a->last->lock);
	return rc;
}
