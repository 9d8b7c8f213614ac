/* error.c: the one way to report what went wrong. */
#include "base/base.h"

#include <errno.h>
#include <string.h>

/* Writes the text; a message that does not fit is cut, which is better than none. */
static void error_format(error *e, int code, const char *fmt, va_list args)
{
	e->code = code;
	if (vsnprintf(e->msg, sizeof(e->msg), fmt, args) < 0)
		e->msg[0] = '\0';
}

int error_set(error *e, int code, const char *fmt, ...)
{
	va_list args;

	if (!e)
		return code;
	va_start(args, fmt);
	error_format(e, code, fmt, args);
	va_end(args);
	return code;
}

int error_errno(error *e, int err, const char *fmt, ...)
{
	int code = err == ENOMEM ? ERR_NOMEM : ERR_IO;
	char buf[128];
	const char *cause;
	size_t used, most;
	va_list args;

	if (!e)
		return code;
	va_start(args, fmt);
	error_format(e, code, fmt, args);
	va_end(args);
	cause = strerror_r(err, buf, sizeof(buf));
	used = strlen(e->msg);
	most = sizeof(e->msg) - strnlen(cause, sizeof(buf)) - sizeof("...: ");
	if (used > most) { /* a long path must not push the cause out */
		used = most;
		used += (size_t)snprintf(e->msg + used, sizeof(e->msg) - used, "...");
	}
	snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", cause);
	return code;
}

int error_nomem(error *e, const char *what)
{
	return error_set(e, ERR_NOMEM, "out of memory for %s", what);
}
