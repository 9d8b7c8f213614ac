/* Which files a dump's path names: a file, a folder or a glob pattern. */
#include "sae/dump_internal.h"
#include "sae/raw.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static int add_path(dump_paths *p, const char *path, bool listed, error *err)
{
	char *copy = strdup(path);

	if (!copy || mem_grow(&p->items, &p->cap, p->n + 1, sizeof(*p->items)) < 0) {
		free(copy);
		return error_nomem(err, "a list of shards");
	}
	p->items[p->n++] = (dump_path){ copy, listed };
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const dump_path *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* Runs of digits as numbers, so that shard_10.memmap comes behind shard_9.memmap, as its writer counts them. */
static int by_number(const void *a, const void *b)
{
	const char *x = ((const dump_path *)a)->path, *y = ((const dump_path *)b)->path;

	while (*x && *y) {
		size_t n = strspn(x, "0123456789"), m = strspn(y, "0123456789");
		int order;
		if (n == 0 || m == 0) {
			if (*x != *y)
				break;
			x++, y++;
			continue;
		}
		for (; n > 1 && *x == '0'; n--)
			x++;
		for (; m > 1 && *y == '0'; m--)
			y++;
		order = n != m ? (n > m) - (n < m) : strncmp(x, y, n);
		if (order)
			return order;
		x += n;
		y += m;
	}
	return *x != *y ? ((unsigned char)*x > (unsigned char)*y) - ((unsigned char)*x < (unsigned char)*y)
	                : by_path(a, b);
}

/* What was found since there were `before` of them, in order. */
static void sort_found(dump_paths *p, size_t before)
{
	if (p->n > before)
		qsort(p->items + before, p->n - before, sizeof(*p->items),
		      raw_named(p->items[before].path) ? by_number : by_path);
}

/* The folder's files with this ending, in name order. */
static int add_folder(dump_paths *p, const char *folder, const char *ending, error *err)
{
	char path[FILE_PATH_MAX];
	size_t before = p->n;
	struct dirent *entry;
	DIR *dir = opendir(folder);
	int rc = 0;

	if (!dir)
		return error_errno(err, errno, "cannot open '%s'", folder);
	while (rc == 0 && (errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || !ends_with(entry->d_name, ending))
			continue;
		rc = file_join(path, folder, entry->d_name, err);
		if (rc == 0 && !file_is_dir(path))
			rc = add_path(p, path, true, err);
	}
	if (rc == 0 && errno)
		rc = error_errno(err, errno, "cannot read '%s'", folder);
	closedir(dir);
	sort_found(p, before);
	return rc;
}

static int add_pattern(dump_paths *p, const char *pattern, error *err)
{
	size_t before = p->n;
	glob_t found = { 0 };
	int rc = 0;

	switch (glob(pattern, 0, NULL, &found)) {
	case 0:
		break;
	case GLOB_NOMATCH:
		rc = error_set(err, ERR_NOTFOUND, "no file matches '%s'", pattern);
		break;
	case GLOB_NOSPACE:
		rc = error_nomem(err, "a list of shards");
		break;
	default:
		rc = error_set(err, ERR_IO, "cannot list '%s'", pattern);
	}
	for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
		if (!ends_with(found.gl_pathv[i], ".part") && !file_is_dir(found.gl_pathv[i]))
			rc = add_path(p, found.gl_pathv[i], true, err);
	globfree(&found);
	if (p->n > before && raw_named(p->items[before].path))
		sort_found(p, before);
	return rc;
}

static int expand_one(dump_paths *p, const char *path, error *err)
{
	static const char *const others[] = { ".npy", ".bin", ".memmap" };
	static const char *const archives[] = { ".npz", ".pt", ".pth" }; /* the first there is */
	size_t before = p->n, n;
	int rc;

	if (!file_is_dir(path)) {
		if (file_exists(path) || !strpbrk(path, "*?["))
			return add_path(p, path, false, err);
		return add_pattern(p, path, err);
	}
	rc = add_folder(p, path, ".safetensors", err);
	n = p->n - before;
	for (size_t i = 0; i < ARRAY_LEN(others) && rc == 0 && n == 0; i++)
		rc = add_folder(p, path, others[i], err);
	for (size_t i = 0; i < ARRAY_LEN(archives) && rc == 0 && p->n == before; i++)
		rc = add_folder(p, path, archives[i], err);
	if (rc == 0 && p->n == before)
		rc = error_set(err, ERR_NOTFOUND,
		               "'%s' holds no .safetensors, .npy, .bin, .memmap, .npz or .pt file", path);
	return rc;
}

int dump_paths_expand(dump_paths *out, const char *const *paths, size_t n, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = expand_one(out, paths[i], err);
	return rc;
}

void dump_paths_clear(dump_paths *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->items[i].path);
	free(p->items);
	*p = (dump_paths){ 0 };
}
