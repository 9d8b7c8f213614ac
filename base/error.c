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
	char cause[128];
	size_t used;
	va_list args;

	if (!e)
		return code;
	va_start(args, fmt);
	error_format(e, code, fmt, args);
	va_end(args);
	used = strlen(e->msg);
	snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", strerror_r(err, cause, sizeof(cause)));
	return code;
}

int error_nomem(error *e, const char *what)
{
	return error_set(e, ERR_NOMEM, "out of memory for %s", what);
}
