/* What commands print: errors, JSON, colours, and the flag that a signal sets. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli_internal.h"

/* File names and replies of others: nothing of them may steer the terminal. */
static void put_visible(FILE *to, const char *string)
{
	text safe;

	text_init(&safe, (size_t)1 << 24);
	if (text_add_visible(&safe, string, strlen(string)) == 0) {
		fputs(safe.data, to);
	} else { /* no memory, or no end of it */
		for (const char *p = string; *p; p++)
			putc(*p >= ' ' && *p < 0x7f ? *p : '?', to);
	}
	text_free(&safe);
}

static void print_line(const command *self, const char *kind, const char *message)
{
	fflush(stdout);
	fprintf(stderr, "gloss%s%s: %s", self ? " " : "", self ? self->name : "", kind);
	put_visible(stderr, message);
	putc('\n', stderr);
}

void cli_put(const char *string)
{
	put_visible(stdout, string);
}

int cli_fail(const command *self, const error *err)
{
	print_line(self, "", err->msg[0] ? err->msg : "failed without a message");
	switch (err->code) {
	case ERR_ARG:
		return EXIT_USAGE;
	case ERR_STOPPED:
		return EXIT_SAVED;
	default:
		return EXIT_FAILED;
	}
}

void cli_warn(const command *self, const char *fmt, ...)
{
	char message[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	print_line(self, "warning: ", message);
}

FILE *cli_progress_stream(const cli_parsed *p)
{
	return p->common.quiet ? NULL : stderr;
}

bool cli_color(const cli_parsed *p)
{
	const char *when = p->common.color, *term, *no_color;

	if (when && !strcmp(when, "always"))
		return true;
	if (when && !strcmp(when, "never"))
		return false;
	term = getenv("TERM");
	no_color = getenv("NO_COLOR");
	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0 &&
	       !(no_color && *no_color);
}

/* Whether a terminal might act on the character; in JSON all of these are inside of strings. */
static bool steers(uint32_t cp)
{
	return (cp >= 0x7f && cp < 0xa0) || cp == 0x61c || cp == 0x200e || cp == 0x200f ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

/* Printed JSON, with such characters as the escapes that mean the same. */
static void put_json(const char *printed)
{
	size_t left = strlen(printed), n, done = 0;
	uint32_t cp;

	for (size_t at = 0; at < left; at += n) {
		n = (unsigned char)printed[at] < 0x7f ? 1 : utf8_next(printed + at, left - at, &cp);
		if (n == 0)
			n = 1; /* ill-formed: left alone */
		else if ((unsigned char)printed[at] >= 0x7f && steers(cp)) {
			fwrite(printed + done, 1, at - done, stdout);
			printf("\\u%04x", cp);
			done = at + n;
		}
	}
	fwrite(printed + done, 1, left - done, stdout);
	putchar('\n');
}

int cli_write_file(const char *path, const char *data, const char *begin, const char *kind, error *err)
{
	char there[32] = "";
	size_t n = strlen(begin);
	struct stat st;
	int fd = -1, rc = 0;

	assert(n < sizeof(there));
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		uint64_t size;

		rc = file_open_read(&fd, &size, path, err);
		if (rc == 0 && size >= n)
			rc = file_pread(fd, there, n, 0, path, err);
		if (rc == 0 && strncmp(there, begin, n) != 0)
			rc = error_set(err, ERR_EXISTS,
			               "'%s' is there already, and is no %s: name another file", path, kind);
		if (fd >= 0)
			close(fd);
	}
	return rc == 0 ? file_write(path, data, strlen(data), err) : rc;
}

int cli_print_json(const command *self, cJSON *value)
{
	error err = { 0 };
	char *printed = value ? json_print(value) : NULL;

	cJSON_Delete(value);
	if (!printed) {
		(void)error_nomem(&err, "the result");
		return cli_fail(self, &err);
	}
	put_json(printed);
	free(printed);
	return EXIT_DONE;
}

int cli_finish_stdout(error *err)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
	int flushed = fflush(stdout), cause = flushed ? errno : 0;

	if (!flushed && !ferror(stdout))
		return 0;
	if (cause == EPIPE || (poll(&out, 1, 0) == 1 && out.revents & POLLERR))
		return 0;
	if (!cause)
		return error_set(err, ERR_IO, "cannot write all of standard output");
	return error_errno(err, cause, "cannot write standard output");
}

static volatile sig_atomic_t stop_requested;

static void on_stop(int number)
{
	stop_requested = 1;
	if (number == SIGUSR1) /* batch systems send it before a SIGTERM, and saving takes a while */
		return;
	signal(SIGINT, SIG_DFL); /* the next one ends the program */
	signal(SIGTERM, SIG_DFL);
}

void cli_catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_stop, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
}

bool cli_stop_requested(void)
{
	return stop_requested != 0;
}

static char deadline_message[256]; /* a signal handler cannot make it */

static void on_deadline(int number)
{
	ssize_t written = write(STDERR_FILENO, deadline_message, strlen(deadline_message));

	(void)number;
	(void)written;
	_exit(EXIT_FAILED);
}

static void set_timer(double seconds)
{
	struct itimerval timer = { 0 };

	timer.it_value.tv_sec = (time_t)seconds;
	timer.it_value.tv_usec = (suseconds_t)((seconds - floor(seconds)) * 1e6);
	setitimer(ITIMER_REAL, &timer, NULL);
}

void cli_deadline_start(const command *self, double seconds, const char *message)
{
	struct sigaction action = { .sa_handler = on_deadline };

	snprintf(deadline_message, sizeof(deadline_message), "gloss %s: %s\n", self->name, message);
	sigemptyset(&action.sa_mask);
	sigaction(SIGALRM, &action, NULL);
	set_timer(seconds);
}

void cli_deadline_end(void)
{
	set_timer(0);
}
