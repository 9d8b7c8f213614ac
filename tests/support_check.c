/* support_check.c: what every test program would otherwise repeat. */
#include "tests/support.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TCase *support_case(Suite *s, const char *name, const TTest *const *tests, size_t n)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 280); /* the sanitizers and a busy machine are slow */
	for (size_t i = 0; i < n; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	return tc;
}

int support_run(const char *name, void (*cases)(Suite *s))
{
	Suite *s = suite_create(name);
	SRunner *runner;
	int failed;

	cases(s);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

void support_mkdir(char out[FILE_PATH_MAX])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(out, FILE_PATH_MAX, "%s/gloss-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void support_rmdir(const char *folder)
{
	ck_assert_int_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

int support_entries(const char *folder)
{
	DIR *d = opendir(folder);
	int n = -2; /* "." and ".." */

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

bool support_stop(void *payload)
{
	(void)payload;
	return true;
}

const char *support_path(const char *dir, const char *name)
{
	static char paths[8][FILE_PATH_MAX];
	static unsigned turn;
	char *out = paths[turn++ % 8];

	ck_assert_int_eq(file_join(out, dir, name, NULL), 0);
	return out;
}

void support_put(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(p, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
}

void support_put_text(const char *path, const char *s)
{
	support_put(path, s, strlen(s));
}

bool support_kill(int child, double after)
{
	int status;

	ck_assert_int_gt(child, 0);
	if (isfinite(after)) {
		usleep((useconds_t)(after * 1e6));
		kill(child, SIGKILL);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}
