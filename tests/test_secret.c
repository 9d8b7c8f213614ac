/* Where the key is not: the whole program against servers that say it back, with the key from the environment and from a file. Looked for
 * in every file it leaves, in all it prints, and in its command line while it runs. */
#include "tests/support.h"
#include "tests/support_llm.h"
#include "tests/support_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char key[] = "sk-0123-never-to-be-seen/4711";
static const char part[] = "never-to-be-seen";
static char folder[FILE_PATH_MAX], store_file[FILE_PATH_MAX];

static void setup(void)
{
	static const char *const names[] = { "small", NULL };

	support_mkdir(folder);
	snprintf(store_file, sizeof(store_file), "%s", support_path(folder, "s.db"));
	small_store_make(store_file, names);
}

static void teardown(void)
{
	support_rmdir(folder);
}

static bool holds(const char *path, const char *what)
{
	char buf[1 << 16];
	size_t have = 0, keep = strlen(what);
	bool found = false;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	while (!found && (n = read(fd, buf + have, sizeof(buf) - have)) > 0) {
		have += (size_t)n;
		found = memmem(buf, have, what, strlen(what)) != NULL;
		if (have > keep) { /* what is looked for may lie across two blocks */
			memmove(buf, buf + have - keep, keep);
			have = keep;
		}
	}
	close(fd);
	return found;
}

/* The files of the folder that hold it; but the one called `but`. */
static unsigned files_with(const char *what, const char *but)
{
	DIR *d = opendir(folder);
	unsigned found = 0;
	struct dirent *entry;

	ck_assert_ptr_nonnull(d);
	while ((entry = readdir(d)))
		if (entry->d_type == DT_REG && (!but || strcmp(entry->d_name, but) != 0))
			found += holds(support_path(folder, entry->d_name), what);
	closedir(d);
	return found;
}

typedef struct watch {
	llm_reply reply;
	unsigned asked, with_key, in_cmdline, named;
} watch;

/* While the program waits for this reply, what others see of it. */
static llm_reply look(const llm_seen *request, void *payload)
{
	watch *w = payload;
	char path[64];
	DIR *d = opendir("/proc");
	struct dirent *entry;

	w->asked++;
	w->with_key += request->authorization && strstr(request->authorization, key);
	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/cmdline", entry->d_name);
		if (access(path, R_OK) != 0)
			continue;
		w->in_cmdline += holds(path, part);
		w->named += holds(path, "explain") && holds(path, store_file);
	}
	closedir(d);
	return w->reply;
}

/* Run `gloss explain` and write all that it prints to "printed"; its exit status. */
static int run(const char *url, const char *key_file, bool in_environment)
{
	const char *argv[] = { getenv("GLOSS_BIN"),
		               "explain",
		               "-d",
		               store_file,
		               "--base-url",
		               url,
		               "--model",
		               "tiny",
		               "--retries",
		               "0",
		               key_file ? "--api-key-file" : NULL,
		               key_file,
		               NULL };
	int status = 0, fd;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		fd = open(support_path(folder, "printed"), O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		unsetenv("OPENAI_API_KEY");
		unsetenv("GLOSS_API_KEY");
		if (in_environment)
			setenv("GLOSS_API_KEY", key, 1);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define CHAT(content) "{\"choices\":[{\"message\":{\"content\":\"" content "\"}}]}"

static const struct echo {
	llm_reply reply;
	int exit;
	const char *left; /* what is to be found instead, so that it was looked for in the right place */
} echoes[] = {
	{ { .status = 401,
	    .body = "{\"error\":{\"message\":\"bad key sk-0123-never-to-be-seen/4711 given\"}}" },
	  1,
	  "bad key *****" },
	{ { .status = 400, .body = "{\"error\":\"Bearer sk-0123-never-to-be-seen\\/4711?\"}" },
	  1,
	  "Bearer *****" },
	{ { .status = 500, .body = "<p>sk-0123-never-to-be-seen/4711</p>", .type = "text/html" },
	  1,
	  "<p>*****" },
	{ { .status = 307, .location = "http://127.0.0.1:9/sk-0123-never-to-be-seen/4711" },
	  1,
	  "127.0.0.1:9/*****" },
	{ { .body = CHAT("{\\\"ok\\\": true} to sk-0123-never-to-be-seen/4711"),
	    .more = "X-Key: sk-0123-never-to-be-seen/4711\n" },
	  1,
	  "to *****" },
	{ { .body = CHAT("{\\\"ok\\\": true} to sk-0123-never-to-be-seen\\/4711") }, 1, "to *****" },
	{ { .body = "sk-0123-never-to-be-seen/4711" }, 1, "not JSON" },
	{ { .body = "{\"message\":\"sk-0123-never-to-be-seen/4711\"}" }, 1, "completion: *****" },
};

START_TEST(key_is_nowhere)
{
	const struct echo *x = &echoes[_i / 2];
	const bool from_file = _i % 2;
	watch w = { .reply = x->reply };
	llm_server *s = llm_start_answering(look, &w);
	const char *file = support_path(folder, "key");
	int status;

	if (from_file) {
		support_put_text(file, "sk-0123-never-to-be-seen/4711\n");
		ck_assert_int_eq(chmod(file, 0600), 0);
	}
	status = run(llm_url(s), from_file ? file : NULL, !from_file);
	ck_assert_int_eq(status, x->exit);
	ck_assert_uint_ge(w.asked, 1);
	ck_assert_uint_eq(w.with_key, w.asked);
	ck_assert_uint_ge(w.named, 1); /* it was seen */
	ck_assert_uint_eq(w.in_cmdline, 0);
	ck_assert_uint_eq(files_with(part, "key"), 0);
	ck_assert_uint_ge(files_with(x->left, "key"), 1);
	llm_stop(s);
}
END_TEST

static const struct bad_file {
	const char *text;
	mode_t mode;
	const char *says;
} bad_files[] = {
	{ "sk-0123-never-to-be-seen/4711\n", 0644, "is not its owner's alone: chmod 600 it" },
	{ "sk-0123-never-to-be-seen/4711\n", 0640, "is not its owner's alone: chmod 600 it" },
	{ "sk-0123-never-to-be-seen\nX-Evil: 1\n", 0600, "the API key holds a space, a newline" },
	{ "sk-0123-never-to-be-seen 4711", 0600, "the API key holds a space, a newline" },
	{ "\n", 0600, "is empty" },
};

START_TEST(bad_key_file_is_refused)
{
	const struct bad_file *b = &bad_files[_i];
	llm_reply reply = { .status = 500 };
	llm_server *s = llm_start(&reply, 1);
	const char *file = support_path(folder, "key");

	support_put_text(file, b->text);
	ck_assert_int_eq(chmod(file, b->mode), 0);
	ck_assert_int_ne(run(llm_url(s), file, false), 0);
	ck_assert_uint_eq(llm_count(s), 0);
	ck_assert(holds(support_path(folder, "printed"), b->says));
	ck_assert_uint_eq(files_with(part, "key"), 0);
	llm_stop(s);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = tcase_create("secret");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, key_is_nowhere, 0, 2 * ARRAY_LEN(echoes));
	tcase_add_loop_test(t, bad_key_file_is_refused, 0, ARRAY_LEN(bad_files));
	suite_add_tcase(s, t);
}
SUPPORT_MAIN("secret", cases)
