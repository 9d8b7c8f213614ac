/* file.c: whole files, exact reads, folders, and files that appear whole or not at all. */
#include "base/base.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BUFFER ((size_t)1 << 20) /* of a file_writer */
#define CHUNK  ((size_t)1 << 30) /* Linux moves at most 2 GiB in a call */

/* read() and pread() (offset >= 0) past signals and the fault point. */
static ssize_t read_some(int fd, void *buf, size_t n, int64_t offset)
{
	ssize_t got;

	if (fault_hit(FAULT_READ)) {
		errno = EIO;
		return -1;
	}
	do {
		got = offset < 0 ? read(fd, buf, n) : pread(fd, buf, n, offset);
	} while (got < 0 && errno == EINTR);
	return got;
}

int file_open_read(int *fd, uint64_t *size, const char *path, error *err)
{
	struct stat st;
	/* O_NONBLOCK: opening a pipe that nobody writes must not hang */
	int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int rc = 0;

	if (f < 0)
		return error_errno(err, errno, "cannot open '%s'", path);
	if (fstat(f, &st) < 0)
		rc = error_errno(err, errno, "cannot read '%s'", path);
	else if (S_ISDIR(st.st_mode))
		rc = error_set(err, ERR_IO, "'%s' is a folder, not a file", path);
	else if (!S_ISREG(st.st_mode))
		rc = error_set(err, ERR_IO, "'%s' is a pipe or device, not a regular file", path);
	if (rc < 0) {
		close(f);
		return rc;
	}
	*fd = f;
	*size = (uint64_t)st.st_size;
	return 0;
}

int file_pread(int fd, void *buf, size_t n, uint64_t offset, const char *path, error *err)
{
	unsigned char *p = buf;
	uint64_t at = offset;
	size_t left = n;

	if (offset > INT64_MAX || n > INT64_MAX - offset)
		return error_set(err, ERR_FORMAT, "'%s' has no bytes at %" PRIu64, path, offset);
	while (left) {
		ssize_t got = read_some(fd, p, left < CHUNK ? left : CHUNK, (int64_t)at);

		if (got < 0)
			return error_errno(err, errno, "cannot read '%s' at byte %" PRIu64, path, at);
		if (got == 0)
			return error_set(err, ERR_FORMAT,
			                 "'%s' ended at byte %" PRIu64 ", %" PRIu64 " were expected", path,
			                 at, offset + n);
		p += got;
		at += (uint64_t)got;
		left -= (size_t)got;
	}
	return 0;
}

/* Reads to the end of the file, which may have another length than it had (or, in /proc, none it tells). */
static int read_all(int fd, char **buf, size_t *cap, size_t *used, size_t max_bytes, const char *path,
                    error *err)
{
	for (;;) {
		ssize_t got;

		if (*used > max_bytes)
			return error_set(err, ERR_LIMIT, "'%s' is over the limit of %zu bytes", path,
			                 max_bytes);
		if (mem_grow(buf, cap, *used + 1, 1) < 0)
			return error_nomem(err, path);
		got = read_some(fd, *buf + *used, *cap - *used < CHUNK ? *cap - *used : CHUNK, -1);
		if (got < 0)
			return error_errno(err, errno, "cannot read '%s' at byte %zu", path, *used);
		if (got == 0)
			return 0; /* there is room for the NUL */
		*used += (size_t)got;
	}
}

int file_read(char **data, size_t *len, const char *path, size_t max_bytes, error *err)
{
	char *buf = NULL;
	size_t cap = 0, used = 0;
	uint64_t size = 0;
	int fd = -1;
	int rc = file_open_read(&fd, &size, path, err);

	if (rc < 0)
		return rc;
	if (size > max_bytes) {
		rc = error_set(err, ERR_LIMIT, "'%s' is %" PRIu64 " bytes long, over the limit of %zu", path,
		               size, max_bytes);
		goto out;
	}
	if (mem_grow(&buf, &cap, (size_t)size + 1, 1) < 0) {
		rc = error_nomem(err, path);
		goto out;
	}
	rc = read_all(fd, &buf, &cap, &used, max_bytes, path, err);
	if (rc < 0)
		goto out;
	buf[used] = '\0';
	*data = buf;
	*len = used;
	buf = NULL;
out:
	free(buf);
	close(fd);
	return rc;
}

bool file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int make_one(const char *path, error *err)
{
	if (mkdir(path, 0777) == 0 || file_is_dir(path))
		return 0;
	if (errno == EEXIST)
		return error_set(err, ERR_EXISTS, "'%s' exists and is not a folder", path);
	return error_errno(err, errno, "cannot make the folder '%s'", path);
}

int file_mkdir(const char *path, error *err)
{
	char part[FILE_PATH_MAX];
	size_t len = strlen(path);

	if (len == 0)
		return error_set(err, ERR_ARG, "a folder needs a name");
	if (len >= sizeof(part))
		return error_set(err, ERR_LIMIT,
		                 "the path '%.64s...' is %zu bytes long, over the limit of %d", path, len,
		                 FILE_PATH_MAX - 1);
	memcpy(part, path, len + 1);
	for (size_t i = 1; i < len; i++) {
		int rc;

		if (part[i] != '/')
			continue;
		part[i] = '\0';
		rc = make_one(part, err);
		if (rc < 0)
			return rc;
		part[i] = '/';
	}
	return make_one(part, err);
}

int file_join(char out[FILE_PATH_MAX], const char *dir, const char *name, error *err)
{
	size_t len = strlen(dir);
	const char *between = len == 0 || dir[len - 1] == '/' ? "" : "/";
	int n = snprintf(out, FILE_PATH_MAX, "%s%s%s", dir, between, name);

	if (n < 0 || n >= FILE_PATH_MAX) {
		out[0] = '\0';
		return error_set(err, ERR_LIMIT, "the path '%.64s.../%.64s' is over the limit of %d bytes",
		                 dir, name, FILE_PATH_MAX - 1);
	}
	return 0;
}

const char *file_base(const char *path)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/' && p[1] != '\0')
			base = p + 1;
	return base;
}

/* ---- Where files are ------------------------------------------------------------------------------------------- */

static int sync_fd(int fd)
{
	if (fault_hit(FAULT_SYNC)) {
		errno = EIO;
		return -1;
	}
	return fsync(fd);
}

/* The rename is lasting only when the folder is synced too. */
static int sync_folder(const char *path, error *err)
{
	char folder[FILE_PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd, rc = 0;

	if (!slash)
		snprintf(folder, sizeof(folder), ".");
	else if (slash == path)
		snprintf(folder, sizeof(folder), "/");
	else
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* a folder that may be written but not read */
	if (sync_fd(fd) < 0 && errno != EINVAL && errno != ENOTSUP)
		rc = error_errno(err, errno, "cannot sync the folder of '%s'", path);
	close(fd);
	return rc;
}

int file_replace(int fd, const char *tmp, const char *path, error *err)
{
	if (sync_fd(fd) < 0)
		return error_errno(err, errno, "cannot sync '%s'", path);
	if (rename(tmp, path) < 0)
		return error_errno(err, errno, "cannot rename '%s' to '%s'", tmp, path);
	return sync_folder(path, err);
}

int file_space(uint64_t *bytes, const char *path, error *err)
{
	char folder[FILE_PATH_MAX];
	struct statvfs st;

	if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
		return error_set(err, ERR_LIMIT, "the path '%.64s...' is over the limit of %d bytes", path,
		                 FILE_PATH_MAX - 1);
	while (statvfs(folder, &st) < 0) { /* not made yet: the folder above it tells */
		char *slash = strrchr(folder, '/');

		if (errno != ENOENT || strcmp(folder, ".") == 0 || strcmp(folder, "/") == 0)
			return error_errno(err, errno, "cannot find the space left for '%s'", path);
		if (!slash)
			memcpy(folder, ".", 2);
		else
			slash[slash == folder] = '\0';
	}
	if (__builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, bytes))
		*bytes = UINT64_MAX;
	return 0;
}

/* ---- file_writer ---------------------------------------------------------------------------------------------- */

/* Makes a new file beside the path under a name nobody else uses; the random part keeps two processes apart. */
static int make_temporary(file_writer *w, mode_t mode, error *err)
{
	for (uint64_t attempt = 0; attempt < 100; attempt++) {
		uint64_t id = hash64_mix((uint64_t)getpid() << 32 ^ (uint64_t)(clock_now() * 1e9), attempt);
		int n = snprintf(w->tmp, sizeof(w->tmp), "%s.%08" PRIx32 ".part", w->path, (uint32_t)id);

		if (n < 0 || (size_t)n >= sizeof(w->tmp))
			return error_set(err, ERR_LIMIT, "the path '%.64s...' is over the limit of %d bytes",
			                 w->path, FILE_PATH_MAX - 16);
		w->fd = open(w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (w->fd >= 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return error_errno(err, errno, "cannot write '%s'", w->path);
}

int file_writer_open(file_writer *w, const char *path, error *err)
{
	struct stat st;
	bool replaces = stat(path, &st) == 0;
	mode_t mode = replaces ? st.st_mode & 0777 : 0666; /* a private file stays private */
	int rc;

	*w = (file_writer){ .fd = -1 };
	if (strlen(path) >= sizeof(w->path))
		return error_set(err, ERR_LIMIT, "the path '%.64s...' is over the limit of %d bytes", path,
		                 FILE_PATH_MAX - 1);
	if (replaces && !S_ISREG(st.st_mode)) /* renaming over a device would take its place */
		return error_set(err, ERR_IO, "cannot write '%s': it is not a regular file", path);
	memcpy(w->path, path, strlen(path) + 1);
	w->buf = malloc(BUFFER);
	if (!w->buf)
		return error_nomem(err, "a write buffer");
	rc = make_temporary(w, mode, err);
	if (rc < 0) {
		free(w->buf);
		w->buf = NULL;
		return rc;
	}
	if (replaces)
		(void)!fchmod(w->fd, mode); /* the umask counts for new files only */
	return 0;
}

static int write_all(file_writer *w, const unsigned char *p, size_t n, error *err)
{
	while (n) {
		ssize_t put = -1;

		if (fault_hit(FAULT_WRITE))
			errno = ENOSPC;
		else
			put = write(w->fd, p, n < CHUNK ? n : CHUNK);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_errno(err, errno, "cannot write '%s'", w->path);
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

int file_writer_add(file_writer *w, const void *p, size_t n, error *err)
{
	int rc;

	if (n == 0)
		return 0;
	if (n > BUFFER - w->used) {
		rc = write_all(w, w->buf, w->used, err);
		if (rc < 0)
			return rc;
		w->used = 0;
	}
	if (n >= BUFFER) {
		rc = write_all(w, p, n, err);
		if (rc < 0)
			return rc;
	} else {
		memcpy(w->buf + w->used, p, n);
		w->used += n;
	}
	w->written += n;
	return 0;
}

int file_writer_commit(file_writer *w, error *err)
{
	int fd = w->fd;
	int rc;

	assert(w->buf);
	rc = write_all(w, w->buf, w->used, err);
	if (rc == 0 && sync_fd(fd) < 0)
		rc = error_errno(err, errno, "cannot sync '%s'", w->path);
	w->fd = -1;
	if (close(fd) < 0 && rc == 0)
		rc = error_errno(err, errno, "cannot write '%s'", w->path);
	if (rc == 0 && rename(w->tmp, w->path) < 0)
		rc = error_errno(err, errno, "cannot rename '%s' to '%s'", w->tmp, w->path);
	if (rc == 0)
		w->tmp[0] = '\0'; /* nothing left to take away */
	if (rc == 0)
		rc = sync_folder(w->path, err);
	file_writer_abort(w);
	return rc;
}

void file_writer_abort(file_writer *w)
{
	if (!w->buf)
		return;
	if (w->fd >= 0)
		close(w->fd);
	if (w->tmp[0])
		unlink(w->tmp);
	free(w->buf);
	w->buf = NULL;
	w->fd = -1;
	w->used = 0;
}

int file_write(const char *path, const void *p, size_t n, error *err)
{
	file_writer w;
	int rc = file_writer_open(&w, path, err);

	if (rc < 0)
		return rc;
	rc = file_writer_add(&w, p, n, err);
	if (rc < 0) {
		file_writer_abort(&w);
		return rc;
	}
	return file_writer_commit(&w, err);
}
