/* See label_file.h. */
#include "cli/label_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/store_args.h"

#define MAX_BYTES ((size_t)64 << 20)

static bool is_stdin(const char *path)
{
	return strcmp(path, "-") == 0;
}

static int read_stdin(char **out, size_t *len, error *err)
{
	size_t cap = 0, n = 0, got = 1;
	char *bytes = NULL;

	while (got > 0 && n <= MAX_BYTES) {
		if (mem_grow(&bytes, &cap, n + 4096, 1) < 0) {
			free(bytes);
			return error_nomem(err, "labels");
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

void label_file_blame(const label_file *f, size_t i, error *err)
{
	error cause = *err;

	(void)error_set(err, cause.code == ERR_LIMIT ? ERR_LIMIT : ERR_FORMAT,
	                is_stdin(f->path) ? "%.200s, line %zu: %.250s" : "'%.200s', line %zu: %.250s",
	                is_stdin(f->path) ? "standard input" : f->path, f->lines[i], cause.msg);
}

/* A line, without its end, into label i. */
static int read_line(label_file *f, size_t i, char *line, size_t len, error *err)
{
	char *tab = memchr(line, '\t', len);
	int rc;

	if (memchr(line, '\0', len))
		rc = error_set(err, ERR_FORMAT, "it holds a NUL");
	else if (!tab)
		rc = error_set(err, ERR_FORMAT, "there is no tab between feature and label");
	else {
		*tab = '\0';
		f->labels[i].text = tab + 1;
		rc = feature_arg(&f->labels[i].feature, line, err);
	}
	if (rc)
		label_file_blame(f, i, err);
	return rc ? err->code : 0;
}

static int read_lines(label_file *f, size_t len, error *err)
{
	size_t n = 1, number = 1, line_len;
	char *end = f->bytes + len, *next;
	int rc = 0;

	for (const char *at = f->bytes; (at = memchr(at, '\n', (size_t)(end - at))); at++)
		n++;
	f->labels = calloc(n, sizeof(*f->labels));
	f->lines = calloc(n, sizeof(*f->lines));
	if (!f->labels || !f->lines)
		return error_nomem(err, "labels");
	next = f->bytes + (strncmp(f->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0); /* a byte order mark */
	for (char *line = next; line < end && !rc; line = next + 1, number++) {
		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next : end;
		line_len = (size_t)(next - line);
		line_len -= line_len > 0 && line[line_len - 1] == '\r';
		line[line_len] = '\0'; /* at the end, the byte behind the file */
		if (line_len == 0)
			continue;
		f->lines[f->n] = number;
		rc = read_line(f, f->n, line, line_len, err);
		f->n += !rc;
	}
	return rc;
}

int label_file_read(label_file *f, const char *path, error *err)
{
	size_t len = 0;
	int rc;

	*f = (label_file){ .path = path };
	rc = is_stdin(path) ? read_stdin(&f->bytes, &len, err)
	                    : file_read(&f->bytes, &len, path, MAX_BYTES, err);
	if (!rc)
		rc = read_lines(f, len, err);
	if (!rc && f->n == 0)
		rc = error_set(err, ERR_FORMAT,
		               is_stdin(path) ? "%s holds no labels" : "'%s' holds no labels",
		               is_stdin(path) ? "standard input" : path);
	return rc;
}

void label_file_clear(label_file *f)
{
	free(f->labels);
	free(f->lines);
	free(f->bytes);
	*f = (label_file){ 0 };
}
