/* Whether the files of an open dump are still what they were. */
#include <errno.h>
#include <sys/stat.h>

#include <inttypes.h>

#include "sae/dump_internal.h"

static int check_file(const sae_file *f, error *err)
{
	struct stat held, named;

	if (fstat(f->fd, &held) < 0)
		return error_errno(err, errno, "cannot read '%s'", f->path);
	if ((uint64_t)held.st_size < f->size)
		return error_set(err, ERR_FORMAT,
		                 "the shard '%s' shrank from %" PRIu64 " to %" PRIu64 " bytes", f->path,
		                 f->size, (uint64_t)held.st_size);
	if (stat(f->path, &named) < 0)
		return error_errno(err, errno, "the shard '%s' is gone", f->path);
	if (named.st_dev != held.st_dev || named.st_ino != held.st_ino)
		return error_set(err, ERR_FORMAT, "the shard '%s' was replaced by another file", f->path);
	return 0;
}

int sae_dump_check(const sae_dump *d, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < d->n_files && rc == 0; i++)
		rc = check_file(d->files[i], err);
	for (size_t i = 0; i < d->n_beside && rc == 0; i++)
		rc = sae_dump_check(d->beside[i], err);
	return rc;
}
