/* See label_file.h. */
#include "cli/label_file.h"

#include <stdlib.h>
#include <string.h>

#include "cli/store_args.h"

void label_file_blame(const label_file *f, size_t i, error *err)
{
	error cause = *err;

	(void)error_set(err, cause.code == ERR_LIMIT ? ERR_LIMIT : ERR_FORMAT, "%s, line %zu: %.250s",
	                f->in.name, f->lines[i], cause.msg);
}

/* A line into label i. */
static int read_line(label_file *f, size_t i, char *line, error *err)
{
	char *tab = strchr(line, '\t');
	int rc;

	if (!tab)
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

int label_file_read(label_file *f, const char *path, error *err)
{
	int rc;

	*f = (label_file){ 0 };
	rc = input_lines_read(&f->in, path, err);
	if (rc)
		return rc;
	f->labels = calloc(f->in.n + 1, sizeof(*f->labels));
	f->lines = calloc(f->in.n + 1, sizeof(*f->lines));
	if (!f->labels || !f->lines)
		return error_nomem(err, "labels");
	for (size_t i = 0; i < f->in.n && !rc; i++) {
		if (!*f->in.lines[i])
			continue;
		f->lines[f->n] = i + 1;
		rc = read_line(f, f->n, f->in.lines[i], err);
		f->n += !rc;
	}
	if (!rc && f->n == 0)
		rc = error_set(err, ERR_FORMAT, "%s holds no labels", f->in.name);
	return rc;
}

void label_file_clear(label_file *f)
{
	free(f->labels);
	free(f->lines);
	input_lines_clear(&f->in);
	*f = (label_file){ 0 };
}
