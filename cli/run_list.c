/* Finds the folders that hold runs; see runs.h. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/runs.h"

static int add_run(run_list *l, const char *dir, error *err)
{
	run_info r;
	int rc = run_read(&r, dir, &l->mem, err);

	if (rc == ERR_NOTFOUND || (rc == 0 && r.is_sweep))
		return 0;
	if (rc == 0 && l->n == RUNS_MOST)
		return error_set(err, ERR_LIMIT, "more than %d runs: name fewer folders", RUNS_MOST);
	if (rc == 0 && mem_grow(&l->runs, &l->cap, l->n + 1, sizeof(*l->runs)) < 0)
		rc = error_nomem(err, "a list of runs");
	if (rc == 0)
		l->runs[l->n++] = r;
	return rc;
}

/* Links are passed over: they lead to runs that are found anyway, or in a circle. */
static bool is_own_folder(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int search(run_list *l, const char *dir, unsigned depth, error *err)
{
	const struct dirent *entry;
	char path[FILE_PATH_MAX];
	int rc = add_run(l, dir, err);
	DIR *d;

	if (rc < 0 || depth == 0)
		return rc;
	d = opendir(dir);
	if (!d)
		return error_errno(err, errno, "cannot look into '%s'", dir);
	while (rc == 0 && (entry = readdir(d))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "checkpoint") == 0)
			continue;
		rc = file_join(path, dir, entry->d_name, err);
		if (rc == 0 && is_own_folder(path))
			rc = search(l, path, depth - 1, err);
	}
	closedir(d);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	const run_info *x = a, *y = b;

	return strverscmp(x->dir, y->dir); /* k8 before k16 */
}

/* The same folder named twice is one run. */
static void drop_doubles(run_list *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++)
		if (kept == 0 || strcmp(l->runs[kept - 1].dir, l->runs[i].dir) != 0)
			l->runs[kept++] = l->runs[i];
	l->n = kept;
}

int run_list_read(run_list *l, const char *const *dirs, size_t n, error *err)
{
	char dir[FILE_PATH_MAX];
	int rc = 0;

	*l = (run_list){ 0 };
	for (size_t i = 0; i < n && rc == 0; i++) {
		size_t length = strlen(dirs[i]);

		while (length > 1 && dirs[i][length - 1] == '/')
			length--;
		if (length >= sizeof(dir))
			rc = error_set(err, ERR_LIMIT, "the path '%.64s...' is over the limit of %d bytes",
			               dirs[i], FILE_PATH_MAX - 1);
		else if (!file_is_dir(dirs[i]))
			rc = error_set(err, ERR_NOTFOUND, "there is no folder '%s'", dirs[i]);
		if (rc < 0)
			break;
		memcpy(dir, dirs[i], length);
		dir[length] = '\0';
		rc = search(l, dir, RUNS_DEPTH, err);
	}
	if (rc == 0 && l->n == 0)
		rc = error_set(
		        err, ERR_NOTFOUND,
		        "no runs in '%s'%s: no folder there holds cfg.json, train.jsonl or checkpoint/",
		        n ? dirs[0] : "", n > 1 ? " and the others" : "");
	if (l->n > 1)
		qsort(l->runs, l->n, sizeof(*l->runs), by_name);
	drop_doubles(l);
	return rc;
}

void run_list_clear(run_list *l)
{
	free(l->runs);
	arena_clear(&l->mem);
	*l = (run_list){ 0 };
}
