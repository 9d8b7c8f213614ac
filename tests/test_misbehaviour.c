/* The program itself against servers that do what none should, and input that is none: what it says, in one line, and how it ends. The
 * key is in nothing that it says or writes. It prints a table: sh tests/misbehaviour.sh */
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_llm.h"
#include "tests/support_planted.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FEATURES = 12, ARGS = 40, OUTPUT_MAX = 1 << 20 };

static const char key[] = "sk-misbehaviour-0123456789";

static char folder[FILE_PATH_MAX];

/* ---- What is wrong ------------------------------------------------------------------------------------------------------- */

/* An answer that is good for the question what the server takes, and for no other. */
static llm_reply answer(const llm_seen *request, void *payload)
{
	const char *content = payload;

	if (!strstr(request->body, "Sample 1: ") && !strstr(request->body, "[1] "))
		content = "{\"ok\":true}";
	return (llm_reply){ .own = llm_chat(content) };
}

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define X64  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X512 X64 X64 X64 X64 X64 X64 X64 X64

typedef enum kind { SCRIPT, RAW, CONTENT, DOWN, TLS, ELSEWHERE, NO_SERVER } kind;

static const struct wrong {
	const char *what;
	kind kind;
	llm_reply reply;     /* SCRIPT, TLS */
	llm_raw raw;         /* RAW */
	const char *content; /* CONTENT: what the model answers */
	const char *key;     /* NULL: ours */
	const char *template;
	bool score;
	bool hurry; /* no long wait for it */
	int code;
	const char *says;
} wrongs[] = {
	{ "is down", DOWN, .code = 1, .says = "cannot reach 'http://127.0.0.1:" },
	{ "is slow",
	  SCRIPT,
	  { .body = "{}", .delay = 1 },
	  .hurry = true,
	  .code = 1,
	  .says = "Timeout was reached" },
	{ "closes before the request is read", RAW, .raw = { .deaf = true }, .code = 1,
	  .says = "no whole reply" },
	{ "closes without a word", RAW, .code = 1, .says = "no whole reply" },
	{ "sends half a body", RAW, .raw = { .bytes = HEAD "Content-Length: 1000\r\n\r\n{\"choices\":" },
	  .code = 1, .says = "no whole reply" },
	{ "sends chunks that are none", RAW,
	  .raw = { .bytes = HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\nrubbish\r\n" }, .code = 1,
	  .says = "no whole reply" },
	{ "sends 10 MB", SCRIPT, { .fill = 10 << 20 }, .code = 1, .says = "a reply of over 4194304 bytes" },
	{ "sends a page of HTML",
	  SCRIPT,
	  { .body = "<html>Welcome to the hotel</html>", .type = "text/html" },
	  .code = 1,
	  .says = "200 with a body that is not JSON" },
	{ "sends JSON of another shape",
	  SCRIPT,
	  { .body = "{\"hello\":\"world\"}" },
	  .code = 1,
	  .says = "200 with JSON that is no chat completion" },
	{ "streams without end", RAW, .raw = { .bytes = HEAD "\r\n", .again = "data: {}\n\n" X512 },
	  .code = 1, .says = "a reply of over 4194304 bytes" },
	{ "sends headers without end", RAW, .raw = { .bytes = HEAD, .again = "X-A: " X512 "\r\n" }, .code = 1,
	  .says = "headers of over 262144 bytes" },
	{ "sends a drop at a time", RAW, .raw = { .bytes = HEAD "\r\n", .again = " ", .pause = 0.05 },
	  .hurry = true, .code = 1, .says = "Timeout was reached" },
	{ "speaks no HTTP", RAW, .raw = { .bytes = "SSH-2.0-OpenSSH_9.2\r\n" }, .code = 1,
	  .says = "HTTP/0.9" },
	{ "redirects to another host", ELSEWHERE, .code = 1, .says = "a redirect, which is not followed" },
	{ "has a certificate of its own making", TLS, .code = 1,
	  .says = "the TLS certificate of 'https://127.0.0.1:" },
	{ "echoes the key in its error",
	  SCRIPT,
	  { .status = 401, .body = "{\"error\":{\"message\":\"no such key: sk-misbehaviour-0123456789\"}}" },
	  .code = 1,
	  .says = "no such key: ****" },
	{ "asks to wait for a day",
	  SCRIPT,
	  { .status = 429, .retry_after = "86400" },
	  .code = 1,
	  .says = "it asks to wait 86400 seconds" },
	{ "answers in prose", CONTENT, .content = "I would rather not say.", .code = 1,
	  .says = "feature 0 failed: " },
	{ "answers for other ids", CONTENT,
	  .content = "{\"fires\":[77],\"silent\":[]}{\"answers\":[{\"id\":77,\"matches\":true}]}",
	  .score = true, .code = 1, .says = "the judge answered about other texts than it was asked about" },
	{ "is given a key with a newline", NO_SERVER, .key = "sk-misbehaviour-\n0123", .code = 2,
	  .says = "newline" },
	{ "is asked by a template with an unknown field", NO_SERVER,
	  .template = "Name it.\n=== user\n{{exmples}}\n", .code = 1,
	  .says = "line 3: unknown field '{{exmples}}'" },
};

/* ---- The program --------------------------------------------------------------------------------------------------------- */

typedef struct said {
	int code;
	char *out, *err;
} said;

static char *whole(const char *name)
{
	char *data = NULL;
	size_t n;

	ck_assert_int_eq(file_read(&data, &n, support_path(folder, name), OUTPUT_MAX, NULL), 0);
	return data;
}

static void to_file(int fd, const char *name)
{
	int file = open(support_path(folder, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (file < 0 || dup2(file, fd) < 0)
		_exit(126);
}

/* With GLOSS_API_KEY; NULL: none. */
static said run(const char *const *args, const char *api_key)
{
	const char *gloss = getenv("GLOSS_BIN");
	pid_t child;
	said s;
	int status;

	if (api_key)
		setenv("GLOSS_API_KEY", api_key, 1);
	child = fork();
	if (child == 0) {
		to_file(1, "out");
		to_file(2, "err");
		execv(gloss ? gloss : "build/release/gloss", (char *const *)(uintptr_t)args);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	s = (said){ .code = WEXITSTATUS(status), .out = whole("out"), .err = whole("err") };
	return s;
}

static void said_clear(said *s)
{
	free(s->out);
	free(s->err);
}

/* Nothing in the folder holds the key: the store, its log, what was said. */
static void search_for_key(void)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char *data = NULL;
	size_t n;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		ck_assert_int_eq(file_read(&data, &n, support_path(folder, e->d_name), 1 << 26, NULL), 0);
		ck_assert_msg(!memmem(data, n, key, strlen(key)), "the key is in %s", e->d_name);
		free(data);
	}
	closedir(d);
}

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 100, .tokens = 32 };
	error err = { 0 };
	store *s = NULL;

	support_mkdir(folder);
	ck_assert_msg(planted_open(&s, support_path(folder, "s.db"), &p, &err) == 0, "%s", err.msg);
	store_close(s);
}

static void teardown(void)
{
	support_rmdir(folder);
}

/* ---- The servers --------------------------------------------------------------------------------------------------------- */

typedef struct servers {
	llm_server *one, *other;
	llm_raw_server *raw;
	char *pem, url[128];
	llm_reply reply;
} servers;

static void begin(servers *s, const struct wrong *w)
{
	static const llm_reply nothing = { .body = "{}" };
	const char *url;

	*s = (servers){ .reply = w->reply };
	if (w->kind == ELSEWHERE) {
		s->other = llm_start(&nothing, 1);
		s->reply = (llm_reply){ .status = 307, .location = llm_url(s->other) };
	}
	if (w->kind == RAW)
		s->raw = llm_start_raw(&w->raw);
	else if (w->kind == CONTENT)
		s->one = llm_start_answering(answer, (void *)(uintptr_t)w->content);
	else if (w->kind == TLS)
		s->one = llm_start_tls(&s->pem, &s->reply, 1);
	else
		s->one = llm_start(&s->reply, 1);
	url = s->raw ? llm_raw_url(s->raw) : llm_url(s->one);
	snprintf(s->url, sizeof(s->url), "%s", url);
	if (w->kind == DOWN) {
		llm_stop(s->one);
		s->one = NULL;
	}
}

static void end(servers *s, const struct wrong *w)
{
	if (s->other)
		ck_assert_uint_eq(llm_count(s->other), 0);
	if (s->one && (w->kind == TLS || w->kind == NO_SERVER))
		ck_assert_uint_eq(llm_count(s->one), 0);
	if (s->other)
		llm_stop(s->other);
	if (s->one)
		llm_stop(s->one);
	if (s->raw)
		llm_stop_raw(s->raw);
	free(s->pem);
}

/* The line that tells what was wrong: of standard error, or the first of what the job found. */
static const char *telling(const said *s)
{
	return s->err[0] ? s->err : s->out;
}

START_TEST(one_line_tells_what_is_wrong)
{
	const struct wrong *w = &wrongs[_i];
	char template[FILE_PATH_MAX], file[FILE_PATH_MAX];
	const char *args[ARGS] = { "gloss", "explain", "-d", file };
	const char *const more[] = { "--features", "0-1", "--window", "16" };
	servers s;
	said got;
	size_t n = 4;

	snprintf(file, sizeof(file), "%s", support_path(folder, "s.db"));
	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		args[n++] = more[i];
	if (w->score) { /* labels first, by rules */
		got = run(args, NULL);
		ck_assert_msg(got.code == 0, "%s", got.err);
		said_clear(&got);
		args[1] = "score";
	}
	begin(&s, w);
	args[n++] = "--base-url";
	args[n++] = s.url;
	args[n++] = "--model";
	args[n++] = "m";
	args[n++] = "--timeout";
	args[n++] = w->hurry ? "0.3" : "20";
	args[n++] = "--retries";
	args[n++] = "0";
	if (w->template) {
		snprintf(template, sizeof(template), "%s", support_path(folder, "t.txt"));
		support_put_text(template, w->template);
		args[n++] = "--template";
		args[n++] = template;
	}
	got = run(args, w->key ? w->key : key);
	end(&s, w);
	printf("%-46s %d  %.*s\n", w->what, got.code, (int)strcspn(telling(&got), "\n"), telling(&got));
	ck_assert_msg(got.code == w->code, "%s: %d: %s%s", w->what, got.code, got.out, got.err);
	ck_assert_msg(strstr(telling(&got), w->says), "%s: '%s' lacks '%s'", w->what, telling(&got), w->says);
	if (got.err[0])
		ck_assert_msg(strchr(got.err, '\n') == got.err + strlen(got.err) - 1, "%s: %s", w->what,
		              got.err);
	search_for_key();
	said_clear(&got);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = tcase_create("misbehaviour");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, one_line_tells_what_is_wrong, 0, ARRAY_LEN(wrongs));
	suite_add_tcase(s, t);
}
SUPPORT_MAIN("misbehaviour", cases)
