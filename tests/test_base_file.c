/* test_base_file.c: reading, folders, and files that appear whole or not at all. */
#include "tests/support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[FILE_PATH_MAX];

static void setup(void)
{
	support_mkdir(dir);
}

static void teardown(void)
{
	support_rmdir(dir);
}

static void check_content(const char *path, const char *want)
{
	char *data = NULL;
	size_t len = 0;

	ck_assert_int_eq(file_read(&data, &len, path, 1 << 20, NULL), 0);
	ck_assert_uint_eq(len, strlen(want));
	ck_assert_str_eq(data, want);
	free(data);
}

START_TEST(reads_whole_files)
{
	const char *path = support_path(dir, "x");
	char *data = NULL;
	size_t len = 99;

	support_put(path, "a\0b", 3);
	ck_assert_int_eq(file_read(&data, &len, path, 3, NULL), 0);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(data, "a\0b", 4);
	free(data);
	support_put(path, "", 0);
	ck_assert_int_eq(file_read(&data, &len, path, 0, NULL), 0);
	ck_assert_uint_eq(len, 0);
	ck_assert_str_eq(data, "");
	free(data);
	/* a file that does not tell its size */
	ck_assert_int_eq(file_read(&data, &len, "/proc/self/status", 1 << 20, NULL), 0);
	ck_assert_uint_gt(len, 100);
	free(data);
}
END_TEST

START_TEST(refuses_to_read)
{
	const char *path = support_path(dir, "x"), *pipe = support_path(dir, "pipe");
	char want[2 * FILE_PATH_MAX];
	char *data = NULL;
	size_t len = 0;
	error e = { 0 };

	ck_assert_int_eq(file_read(&data, &len, path, 10, &e), ERR_IO);
	snprintf(want, sizeof(want), "cannot open '%s': No such file or directory", path);
	ck_assert_str_eq(e.msg, want);

	support_put_text(path, "01234567890");
	ck_assert_int_eq(file_read(&data, &len, path, 10, &e), ERR_LIMIT);
	snprintf(want, sizeof(want), "'%s' is 11 bytes long, over the limit of 10", path);
	ck_assert_str_eq(e.msg, want);

	ck_assert_int_eq(file_read(&data, &len, "/proc/self/status", 10, &e), ERR_LIMIT);
	ck_assert_str_eq(e.msg, "'/proc/self/status' is over the limit of 10 bytes");

	ck_assert_int_eq(file_read(&data, &len, dir, 10, &e), ERR_IO);
	snprintf(want, sizeof(want), "'%s' is a folder, not a file", dir);
	ck_assert_str_eq(e.msg, want);

	ck_assert_int_eq(mkfifo(pipe, 0600), 0); /* nobody writes: must not hang */
	ck_assert_int_eq(file_read(&data, &len, pipe, 10, &e), ERR_IO);
	snprintf(want, sizeof(want), "'%s' is a pipe or device, not a regular file", pipe);
	ck_assert_str_eq(e.msg, want);
	ck_assert_int_eq(file_read(&data, &len, "/dev/null", 10, &e), ERR_IO);
	ck_assert_ptr_null(data);
}
END_TEST

START_TEST(reads_exact_ranges)
{
	const char *path = support_path(dir, "x");
	char want[2 * FILE_PATH_MAX], buf[8] = "";
	uint64_t size = 0;
	int fd = -1;
	error e = { 0 };

	support_put_text(path, "0123456789");
	ck_assert_int_eq(file_open_read(&fd, &size, path, NULL), 0);
	ck_assert_uint_eq(size, 10);
	ck_assert_int_eq(file_pread(fd, buf, 4, 3, path, NULL), 0);
	ck_assert_str_eq(buf, "3456");
	ck_assert_int_eq(file_pread(fd, buf, 0, 50, path, NULL), 0);
	ck_assert_int_eq(file_pread(fd, buf, 4, 8, path, &e), ERR_FORMAT);
	snprintf(want, sizeof(want), "'%s' ended at byte 10, 12 were expected", path);
	ck_assert_str_eq(e.msg, want);
	ck_assert_int_eq(file_pread(fd, buf, 4, UINT64_MAX - 1, path, &e), ERR_FORMAT);
	ck_assert_int_eq(file_pread(fd, buf, 4, INT64_MAX - 2, path, &e), ERR_FORMAT);
	ck_assert_int_eq(file_pread(-1, buf, 4, 0, path, &e), ERR_IO);
	close(fd);
}
END_TEST

static int read_json_file(const char *path, error *e)
{
	cJSON *v = NULL;
	int rc = json_read_file(&v, path, 100, e);

	if ((rc == 0) != (v != NULL))
		rc = 99; /* no assertion while a fault is armed */
	cJSON_Delete(v);
	return rc;
}

static int hash_file(const char *path, error *e)
{
	char hex[SHA256_HEX] = "untouched";
	int rc = sha256_file(hex, path, e);

	if (rc == 0 ? strncmp(hex, "01530d16", 8) != 0 : strcmp(hex, "untouched") != 0)
		rc = 99;
	return rc;
}

static int read_whole_file(const char *path, error *e)
{
	char *data = NULL;
	size_t len = 0;
	int rc = file_read(&data, &len, path, 100, e);

	if ((rc == 0) != (data != NULL))
		rc = 99;
	free(data);
	return rc;
}

static int write_whole_file(const char *path, error *e)
{
	return file_write(path, "{\"a\":[2,3]}", 11, e);
}

/* More than the buffer, after something that is in it, so that three writes are needed. */
static int write_large_file(const char *path, error *e)
{
	static char large[3 << 20];
	file_writer w;
	int rc = file_writer_open(&w, path, e);

	if (rc == 0)
		rc = file_writer_add(&w, "head", 4, e);
	if (rc == 0)
		rc = file_writer_add(&w, large, sizeof(large), e);
	if (rc == 0)
		rc = file_writer_add(&w, "tail", 4, e);
	if (rc == 0)
		return file_writer_commit(&w, e);
	file_writer_abort(&w);
	return rc;
}

static int write_large_at_once(const char *path, error *e)
{
	static char large[3 << 20];

	return file_write(path, large, sizeof(large), e);
}

/* Fail the 1st, 2nd, ... point of a kind until the call gets through; the number of failures. */
static int fail_each(fault_kind kind, int code, const char *path, int (*call)(const char *path, error *e))
{
	for (int nth = 0;; nth++) {
		error e = { 0 };
		int rc;

		fault_arm(kind, nth);
		rc = call(path, &e);
		if (!fault_disarm(kind)) {
			ck_assert_int_eq(rc, 0);
			return nth;
		}
		ck_assert_int_eq(rc, code);
		ck_assert_int_eq(e.code, code);
		ck_assert_int_eq(support_entries(dir), 1); /* no temporary file is left */
		if (code == ERR_IO)
			ck_assert_ptr_nonnull(strstr(e.msg, path));
	}
}

START_TEST(readers_survive_faults)
{
	const char *path = support_path(dir, "x");

	support_put_text(path, "{\"a\":[1,2]}");
	ck_assert_int_ge(fail_each(FAULT_READ, ERR_IO, path, read_whole_file), 2);
	ck_assert_int_ge(fail_each(FAULT_READ, ERR_IO, path, read_json_file), 2);
	ck_assert_int_eq(fail_each(FAULT_READ, ERR_IO, path, hash_file), 1);
	ck_assert_int_ge(fail_each(FAULT_ALLOC, ERR_NOMEM, path, read_whole_file), 1);
	ck_assert_int_ge(fail_each(FAULT_ALLOC, ERR_NOMEM, path, read_json_file), 1);
	ck_assert_int_eq(fail_each(FAULT_ALLOC, ERR_NOMEM, path, hash_file), 1);
}
END_TEST

START_TEST(writers_survive_faults)
{
	const char *path = support_path(dir, "x");

	support_put_text(path, "old");
	ck_assert_int_eq(fail_each(FAULT_ALLOC, ERR_NOMEM, path, write_whole_file), 1);
	support_put_text(path, "old");
	ck_assert_int_eq(fail_each(FAULT_WRITE, ERR_IO, path, write_whole_file), 1);
	check_content(path, "{\"a\":[2,3]}");
	ck_assert_int_eq(fail_each(FAULT_SYNC, ERR_IO, path, write_whole_file), 2); /* the file, the folder */
	ck_assert_int_eq(fail_each(FAULT_WRITE, ERR_IO, path, write_large_file), 3);
	ck_assert_int_eq(fail_each(FAULT_WRITE, ERR_IO, path, write_large_at_once), 1);
}
END_TEST

START_TEST(a_failed_write_keeps_the_old_file)
{
	const char *path = support_path(dir, "x");
	char want[2 * FILE_PATH_MAX];
	error e = { 0 };

	support_put_text(path, "old");
	fault_arm(FAULT_WRITE, 0);
	ck_assert_int_eq(write_whole_file(path, &e), ERR_IO);
	ck_assert(fault_disarm(FAULT_WRITE));
	snprintf(want, sizeof(want), "cannot write '%s': No space left on device", path);
	ck_assert_str_eq(e.msg, want);
	check_content(path, "old");
	fault_arm(FAULT_SYNC, 0);
	ck_assert_int_eq(write_whole_file(path, &e), ERR_IO);
	ck_assert(fault_disarm(FAULT_SYNC));
	check_content(path, "old");
	ck_assert_int_eq(support_entries(dir), 1);
}
END_TEST

START_TEST(hashes_files)
{
	const char *path = support_path(dir, "x");
	char hex[SHA256_HEX], whole[SHA256_HEX];
	size_t n = ((size_t)1 << 18) * 2 + 77;
	unsigned char *data = malloc(n);

	for (size_t i = 0; i < n; i++)
		data[i] = (unsigned char)hash64_mix(1, i);
	support_put(path, data, n);
	ck_assert_int_eq(sha256_file(hex, path, NULL), 0);
	ck_assert_int_eq(sha256_bytes(whole, data, n, NULL), 0);
	ck_assert_str_eq(hex, whole);
	support_put(path, "", 0);
	ck_assert_int_eq(sha256_file(hex, path, NULL), 0);
	ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	ck_assert_int_eq(sha256_file(hex, dir, NULL), ERR_IO);
	free(data);
}
END_TEST

START_TEST(writer_appears_at_commit)
{
	const char *path = support_path(dir, "x");
	size_t n = ((size_t)1 << 20) * 2 + 5;
	char *large = malloc(n), *data = NULL;
	size_t len = 0;
	file_writer w;

	memset(large, 'l', n);
	ck_assert_int_eq(file_writer_open(&w, path, NULL), 0);
	ck_assert_ptr_nonnull(strstr(w.tmp, ".part"));
	ck_assert_int_eq(file_writer_add(&w, "head", 4, NULL), 0);
	ck_assert_int_eq(file_writer_add(&w, NULL, 0, NULL), 0);
	ck_assert_int_eq(file_writer_add(&w, large, n, NULL), 0); /* past the buffer */
	ck_assert_int_eq(file_writer_add(&w, large, 1 << 20, NULL), 0);
	for (int i = 0; i < 3000; i++)
		ck_assert_int_eq(file_writer_add(&w, large, 1000, NULL), 0);
	ck_assert_int_eq(file_writer_add(&w, "tail", 4, NULL), 0);
	ck_assert_uint_eq(w.written, n + (1 << 20) + 3000008);
	ck_assert(!file_exists(path));
	ck_assert_int_eq(file_writer_commit(&w, NULL), 0);
	file_writer_abort(&w); /* fine after commit */
	ck_assert_int_eq(support_entries(dir), 1);
	ck_assert_int_eq(file_read(&data, &len, path, 1 << 24, NULL), 0);
	ck_assert_uint_eq(len, n + (1 << 20) + 3000008);
	ck_assert_mem_eq(data, "headlll", 7);
	ck_assert_mem_eq(data + len - 7, "llltail", 7);
	ck_assert_uint_eq(strspn(data + 4, "l"), len - 8);
	free(data);
	free(large);
}
END_TEST

START_TEST(writer_aborts)
{
	const char *path = support_path(dir, "x");
	file_writer w, zero = { 0 };

	ck_assert_int_eq(file_writer_open(&w, path, NULL), 0);
	ck_assert_int_eq(file_writer_add(&w, "x", 1, NULL), 0);
	ck_assert_int_eq(support_entries(dir), 1);
	file_writer_abort(&w);
	file_writer_abort(&w);
	ck_assert_int_eq(support_entries(dir), 0);
	file_writer_abort(&zero);
	ck_assert_int_ne(fcntl(0, F_GETFD), -1); /* a zeroed struct's fd is not closed */
}
END_TEST

START_TEST(two_writers_do_not_mix)
{
	const char *path = support_path(dir, "x");
	file_writer a, b;

	ck_assert_int_eq(file_writer_open(&a, path, NULL), 0);
	ck_assert_int_eq(file_writer_open(&b, path, NULL), 0);
	ck_assert_str_ne(a.tmp, b.tmp);
	ck_assert_int_eq(file_writer_add(&a, "first", 5, NULL), 0);
	ck_assert_int_eq(file_writer_add(&b, "second", 6, NULL), 0);
	ck_assert_int_eq(file_writer_commit(&b, NULL), 0);
	check_content(path, "second");
	ck_assert_int_eq(file_writer_commit(&a, NULL), 0);
	check_content(path, "first");
	ck_assert_int_eq(support_entries(dir), 1);
}
END_TEST

static unsigned mode_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_mode & 0777;
}

START_TEST(writer_keeps_modes)
{
	const char *path = support_path(dir, "x");
	mode_t before = umask(027);

	ck_assert_int_eq(file_write(path, "1", 1, NULL), 0);
	ck_assert_uint_eq(mode_of(path), 0640);
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(file_write(path, "2", 1, NULL), 0);
	ck_assert_uint_eq(mode_of(path), 0600);
	ck_assert_int_eq(chmod(path, 0666), 0);
	ck_assert_int_eq(file_write(path, "3", 1, NULL), 0);
	ck_assert_uint_eq(mode_of(path), 0666);
	umask(before);
}
END_TEST

START_TEST(writer_refuses)
{
	char want[2 * FILE_PATH_MAX], long_path[FILE_PATH_MAX + 10];
	const char *path = support_path(dir, "no/such/x");
	file_writer w;
	error e = { 0 };

	ck_assert_int_eq(file_writer_open(&w, path, &e), ERR_IO);
	snprintf(want, sizeof(want), "cannot write '%s': No such file or directory", path);
	ck_assert_str_eq(e.msg, want);
	file_writer_abort(&w); /* fine after a failed open */
	ck_assert_int_eq(file_writer_open(&w, dir, &e), ERR_IO);
	ck_assert_ptr_nonnull(strstr(e.msg, "not a regular file"));
	ck_assert_int_eq(file_writer_open(&w, "/dev/null", &e), ERR_IO);
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	ck_assert_int_eq(file_writer_open(&w, long_path, &e), ERR_LIMIT);
	long_path[FILE_PATH_MAX - 2] = '\0'; /* fits, but not with what the temporary name adds */
	ck_assert_int_eq(file_writer_open(&w, long_path, &e), ERR_LIMIT);
	ck_assert_int_eq(file_write(path, "x", 1, &e), ERR_IO);

	/* a folder comes to stand where the file should go */
	path = support_path(dir, "late");
	ck_assert_int_eq(file_writer_open(&w, path, NULL), 0);
	ck_assert_int_eq(file_mkdir(support_path(path, "inner"), NULL), 0);
	ck_assert_int_eq(file_writer_commit(&w, &e), ERR_IO);
	ck_assert_ptr_nonnull(strstr(e.msg, "cannot rename"));
	ck_assert_int_eq(support_entries(dir), 1); /* the folder alone */
}
END_TEST

START_TEST(writer_works_in_the_current_folder)
{
	char before[FILE_PATH_MAX];

	ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(file_write("plain", "x", 1, NULL), 0);
	check_content("plain", "x");
	ck_assert_int_eq(chdir(before), 0);
}
END_TEST

START_TEST(makes_folders)
{
	const char *deep = support_path(dir, "a/b//c/"), *file = support_path(dir, "file");
	char want[2 * FILE_PATH_MAX], long_path[FILE_PATH_MAX + 10];
	error e = { 0 };

	ck_assert_int_eq(file_mkdir(deep, NULL), 0);
	ck_assert_int_eq(file_mkdir(deep, NULL), 0);
	ck_assert(file_is_dir(deep));
	ck_assert_int_eq(file_mkdir("/", NULL), 0);
	support_put_text(file, "x");
	ck_assert_int_eq(file_mkdir(file, &e), ERR_EXISTS);
	snprintf(want, sizeof(want), "'%s' exists and is not a folder", file);
	ck_assert_str_eq(e.msg, want);
	ck_assert_int_eq(file_mkdir(support_path(file, "x"), &e), ERR_EXISTS);
	ck_assert_int_eq(file_mkdir("", &e), ERR_ARG);
	ck_assert_int_eq(file_mkdir("/proc/nothing/here", &e), ERR_IO);
	ck_assert_str_eq(e.msg, "cannot make the folder '/proc/nothing': No such file or directory");
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	ck_assert_int_eq(file_mkdir(long_path, &e), ERR_LIMIT);
}
END_TEST

START_TEST(tells_what_is_there)
{
	const char *file = support_path(dir, "file"), *nothing = support_path(dir, "nothing");

	support_put_text(file, "x");
	ck_assert(file_exists(file) && file_exists(dir) && !file_exists(nothing) && !file_exists(""));
	ck_assert(file_is_dir(dir) && !file_is_dir(file) && !file_is_dir(nothing));
}
END_TEST

START_TEST(joins_and_splits_paths)
{
	char out[FILE_PATH_MAX], name[FILE_PATH_MAX];
	error e = { 0 };

	ck_assert_int_eq(file_join(out, "a", "b", NULL), 0);
	ck_assert_str_eq(out, "a/b");
	ck_assert_int_eq(file_join(out, "a/", "b", NULL), 0);
	ck_assert_str_eq(out, "a/b");
	ck_assert_int_eq(file_join(out, "", "b", NULL), 0);
	ck_assert_str_eq(out, "b");
	ck_assert_int_eq(file_join(out, "/", "b", NULL), 0);
	ck_assert_str_eq(out, "/b");
	memset(name, 'x', sizeof(name));
	name[FILE_PATH_MAX - 3] = '\0';
	ck_assert_int_eq(file_join(out, "a", name, &e), 0); /* just fits */
	ck_assert_int_eq(file_join(out, "ab", name, &e), ERR_LIMIT);
	ck_assert_ptr_nonnull(strstr(e.msg, "over the limit of 4095 bytes"));
	ck_assert_str_eq(file_base("a/b.txt"), "b.txt");
	ck_assert_str_eq(file_base("b.txt"), "b.txt");
	ck_assert_str_eq(file_base("/"), "/");
	ck_assert_str_eq(file_base("a/b/"), "b/");
	ck_assert_str_eq(file_base(""), "");
}
END_TEST

static void cases(Suite *s)
{
	TCase *tc = SUPPORT_CASE(s, "file", reads_whole_files, refuses_to_read, reads_exact_ranges,
	                         readers_survive_faults, writers_survive_faults,
	                         a_failed_write_keeps_the_old_file, hashes_files, writer_appears_at_commit,
	                         writer_aborts, two_writers_do_not_mix, writer_keeps_modes, writer_refuses,
	                         writer_works_in_the_current_folder, makes_folders, tells_what_is_there,
	                         joins_and_splits_paths);

	tcase_add_checked_fixture(tc, setup, teardown);
}
SUPPORT_MAIN("base_file", cases)
