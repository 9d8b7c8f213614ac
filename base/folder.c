/* folder.c: folders of files that appear whole or not at all. */
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In one of them, which a '|' parts. */
static bool ends_in(const char *name, const char *endings)
{
	size_t n = strlen(name), e;

	for (const char *p = endings; *p; p += e + (p[e] == '|')) {
		e = strcspn(p, "|");
		if (n > e && strncmp(name + n - e, p, e) == 0)
			return true;
	}
	return false;
}

/* Calls look() for each entry until it is not 0. ERR_IO. */
static int each_entry(const char *path, int (*look)(void *payload, int folder, const char *name),
                      void *payload, error *err)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (!d)
		return error_errno(err, errno, "cannot read the folder '%s'", path);
	while (rc == 0 && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = look(payload, dirfd(d), entry->d_name);
	}
	closedir(d);
	return rc;
}

static int remove_entry(void *payload, int folder, const char *name);

void folder_remove(const char *path)
{
	if (each_entry(path, remove_entry, (void *)path, NULL) == 0)
		rmdir(path);
}

static int remove_entry(void *payload, int folder, const char *name)
{
	char path[FILE_PATH_MAX];

	if (unlinkat(folder, name, 0) < 0 && (errno == EISDIR || errno == EPERM) &&
	    file_join(path, payload, name, NULL) == 0)
		folder_remove(path);
	return 0;
}

typedef struct strangers {
	const char *path, *ending; /* ending: NULL: everything is one */
	bool deep;
	error *err;
} strangers;

static int refuse_stranger(void *payload, int folder, const char *name)
{
	strangers *s = payload, inner = *s;
	char path[FILE_PATH_MAX];
	struct stat st;

	if (!s->ending)
		return error_set(s->err, ERR_EXISTS,
		                 "'%s' is there already and not empty; --force replaces it", s->path);
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		st.st_mode = 0;
	if (ends_in(name, s->ending) && S_ISREG(st.st_mode))
		return 0;
	if (s->deep && S_ISDIR(st.st_mode) && file_join(path, s->path, name, NULL) == 0) {
		inner.path = path;
		return each_entry(path, refuse_stranger, &inner, s->err);
	}
	return error_set(s->err, ERR_EXISTS, "'%s' is not replaced: it holds '%s', which is not of an export",
	                 s->path, name);
}

/* Whether what is at `path` may make room. */
static int check_place(folder_writer *w, const char *ending, unsigned flags, error *err)
{
	strangers s = { w->path, flags & FOLDER_FORCE ? ending : NULL, flags & FOLDER_DEEP, err };
	struct stat st;

	if (lstat(w->path, &st) < 0)
		return errno == ENOENT ? 0 : error_errno(err, errno, "cannot write '%s'", w->path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERR_EXISTS, "'%s' is there already, and is no folder", w->path);
	w->replaces = true;
	return each_entry(w->path, refuse_stranger, &s, err);
}

/* `out` = the path with random digits and `ending` behind. */
static int name_beside(char out[FILE_PATH_MAX], const folder_writer *w, uint64_t attempt, const char *ending,
                       error *err)
{
	uint64_t id = hash64_mix((uint64_t)getpid() << 32 ^ (uint64_t)(clock_now() * 1e9), attempt);

	if (snprintf(out, FILE_PATH_MAX, "%s.%08" PRIx32 "%s", w->path, (uint32_t)id, ending) >=
	    FILE_PATH_MAX)
		return error_set(err, ERR_LIMIT, "the path '%.64s...' is over the limit of %d bytes", w->path,
		                 FILE_PATH_MAX - 16);
	return 0;
}

int folder_writer_open(folder_writer *w, const char *path, const char *ending, unsigned flags, error *err)
{
	size_t n = strlen(path);
	int rc;

	*w = (folder_writer){ 0 };
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n == 0 || n >= sizeof(w->path))
		return error_set(err, ERR_ARG, "'%.64s' is no name of a folder", path);
	memcpy(w->path, path, n);
	rc = check_place(w, ending, flags, err);
	for (uint64_t attempt = 0; rc == 0; attempt++) {
		rc = name_beside(w->tmp, w, attempt, ".part", err);
		if (rc < 0 || mkdir(w->tmp, 0777) == 0)
			break;
		if (errno != EEXIST || attempt == 100)
			rc = error_errno(err, errno, "cannot make the folder '%s'", w->path);
	}
	if (rc < 0)
		w->tmp[0] = '\0';
	return rc;
}

int folder_writer_commit(folder_writer *w, error *err)
{
	char old[FILE_PATH_MAX] = "";
	int rc = w->replaces ? name_beside(old, w, 1000, ".old.part", err) : 0;

	if (rc == 0 && w->replaces && rename(w->path, old) < 0)
		rc = error_errno(err, errno, "cannot rename '%s'", w->path);
	if (rc == 0 && (fault_hit(FAULT_SYNC) ? (errno = EIO, -1) : rename(w->tmp, w->path)) < 0) {
		rc = error_errno(err, errno, "cannot rename '%s' to '%s'", w->tmp, w->path);
		if (w->replaces)
			(void)!rename(old, w->path);
	} else if (rc == 0) {
		w->tmp[0] = '\0';
		if (w->replaces)
			folder_remove(old);
	}
	folder_writer_abort(w);
	return rc;
}

void folder_writer_abort(folder_writer *w)
{
	if (w->tmp[0])
		folder_remove(w->tmp);
	w->tmp[0] = '\0';
}
