/* A buffer, and the file it is emptied into. */
#include "store/spill.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int spill_init(spill *s, const char *path, size_t size, error *err)
{
	int n;

	*s = (spill){ .fd = -1, .size = size };
	n = snprintf(s->path, sizeof(s->path), "%s", path);
	if (n < 0 || (size_t)n >= sizeof(s->path))
		return error_set(err, ERR_LIMIT, "the path '%.100s...' is too long", path);
	s->buffer = malloc(size);
	return s->buffer ? 0 : error_nomem(err, "samples");
}

void spill_clear(spill *s)
{
	if (s->buffer && s->fd >= 0)
		close(s->fd);
	free(s->buffer);
	*s = (spill){ .fd = -1 };
}

static int make_file(spill *s, error *err)
{
	s->fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (s->fd < 0)
		return error_errno(err, errno, "cannot write '%s'", s->path);
	unlink(s->path);
	return 0;
}

static int flush(spill *s, error *err)
{
	int rc = s->fd < 0 ? make_file(s, err) : 0;

	for (size_t done = 0; done < s->used && rc == 0;) {
		ssize_t put = -1;

		if (fault_hit(FAULT_WRITE))
			errno = ENOSPC;
		else
			put = pwrite(s->fd, s->buffer + done, s->used - done, (off_t)(s->flushed + done));
		if (put < 0 && errno != EINTR)
			rc = error_errno(err, errno, "cannot write '%s'", s->path);
		done += put > 0 ? (size_t)put : 0;
	}
	if (rc < 0)
		return rc;
	s->flushed += s->used;
	s->used = 0;
	return 0;
}

int spill_add(uint64_t *at, spill *s, const void *p, size_t n, error *err)
{
	int rc;

	assert(n <= s->size);
	if (n > s->size - s->used) {
		rc = flush(s, err);
		if (rc < 0)
			return rc;
	}
	*at = s->flushed + s->used;
	memcpy(s->buffer + s->used, p, n);
	s->used += n;
	return 0;
}

int spill_read(void *out, const spill *s, uint64_t at, size_t n, error *err)
{
	if (at >= s->flushed) {
		assert(at - s->flushed + n <= s->used);
		memcpy(out, s->buffer + (at - s->flushed), n);
		return 0;
	}
	return file_pread(s->fd, out, n, at, s->path, err);
}
