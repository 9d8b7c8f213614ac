/* See input_lines.h. */
#include "cli/input_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)64 << 20)

static int read_stdin(char **out, size_t *len, error *err)
{
	size_t cap = 0, n = 0, got = 1;
	char *bytes = NULL;

	while (got > 0 && n <= MAX_BYTES) {
		if (mem_grow(&bytes, &cap, n + 4096, 1) < 0) {
			free(bytes);
			return error_nomem(err, "standard input");
		}
		got = fread(bytes + n, 1, cap - n - 1, stdin);
		n += got;
	}
	*out = bytes;
	*len = n;
	if (ferror(stdin))
		return error_errno(err, errno, "cannot read standard input");
	if (n > MAX_BYTES)
		return error_set(err, ERR_LIMIT, "standard input is over %zu bytes", MAX_BYTES);
	bytes[n] = '\0';
	return 0;
}

static int split(input_lines *in, size_t len, error *err)
{
	size_t n = 1;
	char *end = in->bytes + len, *next;

	for (const char *at = in->bytes; (at = memchr(at, '\n', (size_t)(end - at))); at++)
		n++;
	in->lines = calloc(n, sizeof(*in->lines));
	if (!in->lines)
		return error_nomem(err, in->name);
	next = in->bytes + (strncmp(in->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0); /* a byte order mark */
	for (char *line = next; line < end; line = next + 1) {
		size_t length;

		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next : end;
		length = (size_t)(next - line);
		in->lines[in->n++] = line;
		if (memchr(line, '\0', length))
			return error_set(err, ERR_FORMAT, "%s, line %zu: it holds a NUL", in->name, in->n);
		length -= length > 0 && line[length - 1] == '\r';
		line[length] = '\0'; /* at the end, the byte behind the file */
	}
	return 0;
}

int input_lines_read(input_lines *in, const char *path, error *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	size_t len = 0;
	int rc;

	*in = (input_lines){ 0 };
	snprintf(in->name, sizeof(in->name), is_stdin ? "standard input" : "'%.200s'", path);
	rc = is_stdin ? read_stdin(&in->bytes, &len, err) : file_read(&in->bytes, &len, path, MAX_BYTES, err);
	return rc ? rc : split(in, len, err);
}

void input_lines_clear(input_lines *in)
{
	free(in->lines);
	free(in->bytes);
	*in = (input_lines){ 0 };
}
