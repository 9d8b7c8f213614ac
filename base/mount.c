/* mount.c: the file system under a path. */
#include "base/base.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Those that other machines write too, by the names that mountinfo has; FUSE is told apart below. */
static const char *const remote_types[] = {
	"nfs",   "nfs4",  "cifs",   "smb3",     "smbfs",     "9p",     "afs",   "coda",
	"ncpfs", "ceph",  "lustre", "gpfs",     "beegfs",    "fhgfs",  "ocfs2", "gfs2",
	"panfs", "pvfs2", "wekafs", "orangefs", "glusterfs", "vboxsf", "fuse",  "virtiofs"
};
/* Locks taken there are known on this machine only. */
static const char *const lockless_types[] = { "fuse.sshfs",   "fuse.s3fs",      "fuse.rclone", "fuse.davfs",
	                                      "fuse.gcsfuse", "fuse.curlftpfs", "fuse.goofys" };
static const char *const lockless_options[] = { "nolock", "local_lock=all", "local_lock=posix", "nobrl",
	                                        "localflock" };

static bool is_among(const char *const *names, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	}
	return false;
}

/* Whether a list with commas has one of the options that make locks local. */
static bool is_lockless(const char *options)
{
	while (*options) {
		size_t n = strcspn(options, ",");

		if (is_among(lockless_options, ARRAY_LEN(lockless_options), options, n))
			return true;
		options += n + (options[n] == ',');
	}
	return false;
}

/* Undo mountinfo's \040 and the like, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* "id parent major:minor root POINT OPTIONS optional... - TYPE device OPTIONS" */
static void read_line(file_mount *out, size_t *longest, char *line, const char *path)
{
	char *field[6], *type, *device, *options, *save = NULL, *behind = strstr(line, " - ");
	size_t n;

	if (!behind)
		return;
	*behind = '\0';
	for (int i = 0; i < 6; i++) {
		field[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!field[i])
			return;
	}
	type = strtok_r(behind + 3, " \n", &save);
	device = type ? strtok_r(NULL, " \n", &save) : NULL;
	options = device ? strtok_r(NULL, " \n", &save) : NULL;
	if (!type)
		return;
	unescape(field[4]);
	n = strlen(field[4]);
	n -= n == 1; /* "/" is before every path */
	if (n < *longest || strncmp(path, field[4], n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return;
	*longest = n;
	snprintf(out->type, sizeof(out->type), "%s", type);
	out->remote = is_among(remote_types, ARRAY_LEN(remote_types), type, strlen(type)) ||
	              strncmp(type, "fuse.", 5) == 0;
	out->locks = !is_among(lockless_types, ARRAY_LEN(lockless_types), type, strlen(type)) &&
	             !is_lockless(field[5]) && !(options && is_lockless(options));
}

/* The path, or the folder of a file that is not there, without links. */
static bool resolve(char out[PATH_MAX], const char *path)
{
	char folder[FILE_PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (realpath(path, out))
		return true;
	if (!slash)
		return realpath(".", out) != NULL;
	if (snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path) >=
	    (int)sizeof(folder))
		return false;
	return realpath(folder, out) != NULL;
}

void file_mount_get(file_mount *out, const char *path)
{
	const char *given = getenv("GLOSS_MOUNTINFO");
	FILE *f = fopen(given ? given : "/proc/self/mountinfo", "re");
	char real[PATH_MAX], *line = NULL;
	size_t size = 0, longest = 0;

	*out = (file_mount){ .locks = true };
	if (f && resolve(real, path)) {
		while (getline(&line, &size, f) > 0)
			read_line(out, &longest, line, real);
	}
	free(line);
	if (f)
		fclose(f);
}
