/* test_base_system.c: CPU, control groups, the progress line, libraries loaded late. */
#include "base/cpu_internal.h"
#include "tests/support.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

START_TEST(cpu_describes_this_machine)
{
	unsigned f = cpu_features();

	ck_assert_uint_ge(cpu_count(), 1);
	ck_assert_uint_le(cpu_count(), (unsigned)sysconf(_SC_NPROCESSORS_CONF));
	ck_assert_uint_gt(cpu_memory_limit(), 1 << 20);
	ck_assert_uint_gt(strlen(cpu_name()), 0);
	ck_assert_ptr_null(strchr(cpu_name(), '\n'));
	ck_assert_ptr_eq(cpu_name(), cpu_name());
	if (f & (CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL | CPU_AVX512VNNI))
		ck_assert(f & CPU_AVX512F);
}
END_TEST

/* A small /proc and /sys below a folder: pairs of path and content. */
static void put_tree(char root[FILE_PATH_MAX], const char *const *pairs)
{
	support_mkdir(root);
	for (; *pairs; pairs += 2) {
		const char *path = support_path(root, pairs[0]);
		char folder[FILE_PATH_MAX];

		snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
		ck_assert_int_eq(file_mkdir(folder, NULL), 0);
		support_put_text(path, pairs[1]);
	}
}

static void check_quota(const char *const *pairs, unsigned cpus, uint64_t bytes)
{
	char root[FILE_PATH_MAX];

	put_tree(root, pairs);
	ck_assert_uint_eq(cpu_quota(root), cpus);
	ck_assert_uint_eq(cpu_memory_quota(root), bytes);
	support_rmdir(root);
}

START_TEST(cgroup_version_2)
{
	static const char *const whole[] = { "proc/self/cgroup",
		                             "0::/\n",
		                             "sys/fs/cgroup/cpu.max",
		                             "max 100000\n",
		                             "sys/fs/cgroup/memory.max",
		                             "max\n",
		                             NULL };
	static const char *const part[] = { "proc/self/cgroup",
		                            "0::/\n",
		                            "sys/fs/cgroup/cpu.max",
		                            "150000 100000\n",
		                            "sys/fs/cgroup/memory.max",
		                            "1048576\n",
		                            NULL };
	/* the parent's limit is the smaller for CPUs, the child's for memory */
	static const char *const nested[] = { "proc/self/cgroup",
		                              "0::/job/step\n",
		                              "sys/fs/cgroup/job/cpu.max",
		                              "200000 100000\n",
		                              "sys/fs/cgroup/job/step/cpu.max",
		                              "800000 100000\n",
		                              "sys/fs/cgroup/job/memory.max",
		                              "9000\n",
		                              "sys/fs/cgroup/job/step/memory.max",
		                              "8000\n",
		                              NULL };
	/* over memory.high a group is slowed down: that is a limit too */
	static const char *const high[] = { "proc/self/cgroup",
		                            "0::/\n",
		                            "sys/fs/cgroup/memory.max",
		                            "1048576\n",
		                            "sys/fs/cgroup/memory.high",
		                            "524288\n",
		                            NULL };
	/* a path from outside our namespace: only the mount is there */
	static const char *const outside[] = { "proc/self/cgroup", "0::/../../far\n", "sys/fs/cgroup/cpu.max",
		                               "10000 100000\n", NULL };

	check_quota(whole, UINT_MAX, UINT64_MAX);
	check_quota(part, 2, 1048576);
	check_quota(nested, 2, 8000);
	check_quota(high, UINT_MAX, 524288);
	check_quota(outside, 1, UINT64_MAX);
}
END_TEST

START_TEST(cgroup_version_1)
{
	static const char *const limited[] = { "proc/self/cgroup",
		                               "12:cpuset:/other\n5:cpu,cpuacct:/a/b\n4:memory:/a\n0::/\n",
		                               "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us",
		                               "250000\n",
		                               "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us",
		                               "100000\n",
		                               "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
		                               "4096\n",
		                               "sys/fs/cgroup/memory/memory.limit_in_bytes",
		                               "9223372036854771712\n",
		                               NULL };
	static const char *const open[] = { "proc/self/cgroup",
		                            "5:cpu,cpuacct:/\n",
		                            "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
		                            "-1\n",
		                            "sys/fs/cgroup/cpu/cpu.cfs_period_us",
		                            "100000\n",
		                            NULL };

	check_quota(limited, 3, 4096);
	check_quota(open, UINT_MAX, UINT64_MAX);
}
END_TEST

START_TEST(cgroup_nonsense_is_no_limit)
{
	static const char *const none[] = { NULL };
	static const char *const strange[] = { "proc/self/cgroup",
		                               "no colons\n\n::\n0::",
		                               "sys/fs/cgroup/cpu.max",
		                               "",
		                               "sys/fs/cgroup/memory.max",
		                               "lots\n",
		                               NULL };
	static const char *const zero[] = { "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max", "100 0\n",
		                            NULL };
	static const char *const no_quota[] = { "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max",
		                                "0 100000\n", NULL };

	check_quota(none, UINT_MAX, UINT64_MAX);
	check_quota(strange, UINT_MAX, UINT64_MAX);
	check_quota(zero, UINT_MAX, UINT64_MAX);
	check_quota(no_quota, UINT_MAX, UINT64_MAX);
}
END_TEST

/* ---- Progress --------------------------------------------------------------------------------------------------- */

START_TEST(progress_is_silent_without_a_stream)
{
	progress p;

	progress_start(&p, NULL, "train", "tokens", 100);
	progress_update(&p, 5, "note");
	progress_end(&p);
}
END_TEST

START_TEST(progress_writes_a_line_a_minute_to_a_file)
{
	char *out = NULL;
	size_t len = 0;
	FILE *f = tmpfile();
	progress p;

	ck_assert_ptr_nonnull(f);
	progress_start(&p, f, "train", "tokens", 100000);
	progress_update(&p, 1000, NULL);
	ck_assert_int_eq(ftell(f), 0); /* the first minute is not over */
	p.started -= 61;               /* as if it were */
	p.drawn -= 61;
	progress_update(&p, 62000, "fvu 0.31\n");
	progress_update(&p, 62001, "too soon");
	progress_end(&p);
	len = (size_t)ftell(f);
	rewind(f);
	out = calloc(1, len + 1);
	ck_assert_uint_eq(fread(out, 1, len, f), len);
	/* 61,000 in 61 s since the first update, so 38 s more */
	ck_assert_str_eq(out, "train 62.0k/100k tokens 62%  1.00k/s  38s left  fvu 0.31\xe2\x86\xb5\n");
	free(out);
	fclose(f);
}
END_TEST

START_TEST(progress_tells_counts_and_times)
{
	static const struct {
		uint64_t total, done;
		double seconds;
		const char *want;
	} known[] = {
		{ 0, 999, 100, "x 999 rows  10/s\n" },
		{ 0, 1500000, 100, "x 1.50M rows  15.0k/s\n" },
		{ 10, 5, 100, "x 5/10 rows 50%  0.05/s  1m40s left\n" },
		{ 100000, 100, 100, "x 100/100k rows 0%  1/s  1d03h left\n" },
		{ 10000, 100, 100, "x 100/10.0k rows 1%  1/s  2h45m left\n" },
		{ 10, 20, 100, "x 20/10 rows 200%  0.2/s\n" },
		{ 2000000000000, 999600, 100, "x 1.00M/2.00T rows 0%  10.0k/s  2315d17h left\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		char line[200] = "";
		FILE *f = tmpfile();
		progress p;

		progress_start(&p, f, "x", "rows", known[i].total);
		progress_update(&p, 0, NULL);
		p.started -= known[i].seconds;
		p.drawn -= known[i].seconds;
		progress_update(&p, known[i].done, NULL);
		rewind(f);
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
		ck_assert_str_eq(line, known[i].want);
		fclose(f);
	}
}
END_TEST

static size_t drain(char *out, size_t size, int fd)
{
	size_t used = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (used < size - 1 && (n = read(fd, out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	return used;
}

START_TEST(progress_redraws_on_a_terminal)
{
	struct winsize size = { .ws_col = 29, .ws_row = 5 };
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	char out[1000];
	progress p;
	FILE *f;

	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master) | unlockpt(master), 0);
	f = fopen(ptsname(master), "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(ioctl(master, TIOCSWINSZ, &size), 0);
	progress_start(&p, f, "train", "tokens", 1000);
	ck_assert(p.is_tty);
	ck_assert_int_eq(p.width, 29);
	progress_update(&p, 10, "\xe6\x97\xa5\xe6\x9c\xac"); /* 28 columns hold one of the two */
	drain(out, sizeof(out), master);
	ck_assert_str_eq(out, "\rtrain 10/1.00k tokens 1%  \xe6\x97\xa5\033[K");
	progress_update(&p, 20, NULL); /* too soon */
	ck_assert_uint_eq(drain(out, sizeof(out), master), 0);
	progress_end(&p);
	drain(out, sizeof(out), master);
	ck_assert_str_eq(out, "\r\033[K");
	fclose(f);
	close(master);
}
END_TEST

/* The program ends as with a library that the dynamic linker misses. */
int zlib_no_such_function(void);
int no_such_library(void);
LATE("libz.so.1", int, zlib_no_such_function, (void), ())
LATE("libnone.so.9", int, no_such_library, (void), ())

START_TEST(late_library_lacks_the_function)
{
	zlib_no_such_function();
}
END_TEST

START_TEST(late_library_is_missing)
{
	no_such_library();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "cpu", cpu_describes_this_machine, cgroup_version_2, cgroup_version_1,
	             cgroup_nonsense_is_no_limit);
	SUPPORT_CASE(s, "progress", progress_is_silent_without_a_stream,
	             progress_writes_a_line_a_minute_to_a_file, progress_tells_counts_and_times,
	             progress_redraws_on_a_terminal);
	TCase *tc = tcase_create("late");
	tcase_add_exit_test(tc, late_library_lacks_the_function, 127);
	tcase_add_exit_test(tc, late_library_is_missing, 127);
	suite_add_tcase(s, tc);
}
SUPPORT_MAIN("base_system", cases)
