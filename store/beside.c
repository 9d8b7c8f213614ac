/* PATH.part: made, locked, and renamed to PATH. */
#include "store/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a run that was killed left beside the part. */
static void clear_away(const char *part)
{
	static const char *const left[] = { "-journal", "-wal", "-shm", "-whole", "-whole-journal" };
	char path[FILE_PATH_MAX + 32];

	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		snprintf(path, sizeof(path), "%s%s", part, left[i]);
		unlink(path);
	}
}

/* The run that held it before may have removed or renamed it in between: then once more. */
int beside_lock(int *lock, const char *part, const char *path, error *err)
{
	struct stat held, there;

	for (;;) {
		*lock = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (*lock < 0)
			return error_errno(err, errno, "cannot write '%s'", part);
		if (flock(*lock, LOCK_EX | LOCK_NB) < 0) {
			int cause = errno;

			close(*lock);
			*lock = -1; /* not ours to remove */
			if (cause != EWOULDBLOCK)
				return error_errno(err, cause, "cannot lock '%s'", part);
			return error_set(err, ERR_BUSY, "another run is writing to '%s'", path);
		}
		if (fstat(*lock, &held) == 0 && stat(part, &there) == 0 && held.st_ino == there.st_ino)
			break;
		close(*lock);
	}
	clear_away(part);
	if (ftruncate(*lock, 0) < 0)
		return error_errno(err, errno, "cannot empty '%s'", part);
	return 0;
}

static bool is_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int check_inputs(const beside *b, const char *const *inputs, size_t n, error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (is_same(b->path, inputs[i]))
			return error_set(err, ERR_ARG, "'%s' is read, so it cannot be the output too",
			                 inputs[i]);
		if (is_same(b->part, inputs[i]))
			return error_set(err, ERR_ARG,
			                 "'%s' is read, and has the name that '%s' has while it is made",
			                 inputs[i], b->path);
	}
	return 0;
}

/* A file of that name may only be replaced by one that does not inherit its journal. */
static int check_place(const char *path, bool force, error *err)
{
	static const char *const journals[] = { "-wal", "-journal" };
	char journal[FILE_PATH_MAX + 16];
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return error_set(err, ERR_IO, "cannot write '%s': it is not a regular file", path);
	if (file_exists(path) && !force)
		return error_set(err, ERR_EXISTS, "'%s' exists: give another name, or --force", path);
	for (size_t i = 0; i < ARRAY_LEN(journals); i++) {
		snprintf(journal, sizeof(journal), "%s%s", path, journals[i]);
		if (file_exists(journal))
			return error_set(err, ERR_BUSY, "'%s' is in use: there is '%s'", path, journal);
	}
	return 0;
}

int beside_open(beside *b, const char *path, bool force, const char *const *inputs, size_t n, error *err)
{
	struct stat st;
	int rc;

	b->lock = -1;
	if (strlen(path) + sizeof(".part") > sizeof(b->part))
		return error_set(err, ERR_LIMIT, "the path '%.64s...' is over the limit of %d bytes", path,
		                 FILE_PATH_MAX - 6);
	snprintf(b->path, sizeof(b->path), "%s", path);
	snprintf(b->part, sizeof(b->part), "%s.part", path);
	rc = check_inputs(b, inputs, n, err);
	if (rc == 0)
		rc = check_place(path, force, err);
	if (rc == 0)
		rc = beside_lock(&b->lock, b->part, path, err);
	if (rc == 0 && stat(path, &st) == 0)
		(void)!fchmod(b->lock, st.st_mode & 0777); /* a private file stays private */
	if (rc < 0)
		beside_abort(b);
	return rc;
}

int beside_check_space(const beside *b, uint64_t bytes, error *err)
{
	uint64_t available;
	int rc = file_space(&available, b->path, err);

	if (rc == 0 && bytes > available)
		return error_set(err, ERR_LIMIT,
		                 "no room for '%s': up to %" PRIu64 " bytes are needed, %" PRIu64 " are free",
		                 b->path, bytes, available);
	return rc;
}

int beside_commit(beside *b, error *err)
{
	int rc = file_replace(b->lock, b->part, b->path, err);

	if (rc < 0)
		return rc;
	close(b->lock);
	b->lock = -1;
	return 0;
}

void beside_abort(beside *b)
{
	if (b->lock < 0)
		return;
	unlink(b->part);
	close(b->lock);
	b->lock = -1;
}
