/* See import_files.h. */
#include "cli/import_files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool ends_in(const char *name, const char *ending)
{
	size_t n = strlen(name), e = strlen(ending);

	return n > e && strcmp(name + n - e, ending) == 0;
}

static int add_path(import_files *f, const char *path, error *err)
{
	const char *copy = arena_strdup(&f->mem, path);

	if (!copy || mem_grow(&f->paths, &f->cap, f->n + 1, sizeof(*f->paths)) < 0)
		return error_nomem(err, "a list of files");
	f->paths[f->n++] = copy;
	return 0;
}

/* batch-2 before batch-10. */
static int by_number(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;

	while (*x && *y) {
		if (isdigit((unsigned char)*x) && isdigit((unsigned char)*y)) {
			char *x_end, *y_end;
			unsigned long long i = strtoull(x, &x_end, 10), j = strtoull(y, &y_end, 10);

			if (i != j)
				return i < j ? -1 : 1;
			x = x_end;
			y = y_end;
		} else if (*x != *y) {
			break;
		} else {
			x++;
			y++;
		}
	}
	return (unsigned char)*x - (unsigned char)*y;
}

/* Files of the folder that hold rows; with `folders` its folders instead, but for config. */
static int list(import_files *f, const char *path, bool folders, error *err)
{
	char inner[FILE_PATH_MAX];
	struct dirent *entry;
	size_t first = f->n;
	DIR *d = opendir(path);
	int rc = 0;

	if (!d)
		return error_errno(err, errno, "cannot read the folder '%s'", path);
	while (rc == 0 && (entry = readdir(d)) != NULL) {
		const char *name = entry->d_name;

		if (name[0] == '.' || (folders && strcmp(name, "config") == 0) ||
		    (!folders && !ends_in(name, ".jsonl") && !ends_in(name, ".jsonl.gz")))
			continue;
		rc = file_join(inner, path, name, err);
		if (rc == 0 && file_is_dir(inner) == folders)
			rc = add_path(f, inner, err);
	}
	closedir(d);
	if (rc == 0 && f->n > first)
		qsort(f->paths + first, f->n - first, sizeof(*f->paths), by_number);
	return rc;
}

/* The one folder in `path`, into `path`. */
static int go_down(char path[FILE_PATH_MAX], error *err)
{
	import_files inner = { .mem = ARENA_INIT };
	int rc = list(&inner, path, true, err);

	if (rc == 0 && inner.n == 0)
		rc = error_set(err, ERR_NOTFOUND, "'%s' holds no explanations", path);
	else if (rc == 0 && inner.n > 1)
		rc = error_set(err, ERR_ARG, "'%s' holds '%s', '%s': give the folder of one source", path,
		               file_base(inner.paths[0]), file_base(inner.paths[1]));
	if (rc == 0)
		snprintf(path, FILE_PATH_MAX, "%s", inner.paths[0]);
	import_files_clear(&inner);
	return rc;
}

int import_files_add(import_files *f, const char *path, error *err)
{
	char at[FILE_PATH_MAX], inner[FILE_PATH_MAX];
	size_t before = f->n;
	int rc;

	if (!file_is_dir(path))
		return add_path(f, path, err);
	rc = file_join(at, path, "v1", err);
	if (rc == 0 && file_is_dir(at)) {
		rc = go_down(at, err); /* the model */
		if (rc == 0)
			rc = go_down(at, err); /* the source */
	} else if (rc == 0) {
		snprintf(at, sizeof(at), "%s", path);
	}
	if (rc == 0)
		rc = file_join(inner, at, "explanations", err);
	if (rc == 0)
		rc = list(f, file_is_dir(inner) ? inner : at, false, err);
	if (rc == 0 && f->n == before)
		rc = error_set(err, ERR_NOTFOUND, "'%s' holds no explanations (.jsonl or .jsonl.gz)", path);
	return rc;
}

void import_files_clear(import_files *f)
{
	free(f->paths);
	arena_clear(&f->mem);
	*f = (import_files){ 0 };
}
