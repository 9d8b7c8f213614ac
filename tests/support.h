/* support.h: what the test programs share.
 *
 *	static void cases(Suite *s)
 *	{
 *		SUPPORT_CASE(s, "reading", reads_whole, refuses_short);
 *	}
 *	SUPPORT_MAIN("dump", cases)
 *
 * check's assertions allocate, and pass FAULT_ALLOC like all code of a test program: none between fault_arm(FAULT_ALLOC)
 * and fault_disarm().
 */
#ifndef GLOSS_TESTS_SUPPORT_H
#define GLOSS_TESTS_SUPPORT_H

#include <check.h>

#include "base/base.h"

/* Add a case of the START_TEST functions named, 60 seconds each; returned for what else it needs (fixtures). */
TCase *support_case(Suite *s, const char *name, const TTest *const *tests, size_t n);
#define SUPPORT_CASE(suite, name, ...)                                                                       \
	support_case(suite, name, (const TTest *const[]){ __VA_ARGS__ },                                     \
	             sizeof((const TTest *const[]){ __VA_ARGS__ }) / sizeof(const TTest *))

/* Run the suite that `cases` fills; the exit status for main(). CK_FORK=no in the environment runs in one process. */
int support_run(const char *name, void (*cases)(Suite *s));
#define SUPPORT_MAIN(name, cases)                                                                            \
	int main(void)                                                                                       \
	{                                                                                                    \
		return support_run(name, cases);                                                             \
	}

/* A fresh folder of this test's own below TMPDIR or /tmp; remove it, with all that is in it, by support_rmdir(). */
void support_mkdir(char out[FILE_PATH_MAX]);
void support_rmdir(const char *folder);
/* dir/name, in one of a few static buffers used in turn: for arguments, not for keeping. */
const char *support_path(const char *dir, const char *name);
/* Make a file of these bytes; support_put_text of a string. */
void support_put(const char *path, const void *p, size_t n);
void support_put_text(const char *path, const char *s);
/* How many files and folders are in a folder. */
int support_entries(const char *folder);
/* True: a callback that stops what asks it, at once. */
bool support_stop(void *payload);
/* Kill a child so many seconds from now, or let it end by itself (HUGE_VAL: always), with exit status 0. Whether it was killed. */
bool support_kill(int child, double after);

#endif
