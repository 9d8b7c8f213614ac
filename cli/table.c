/* A table of text on a stream. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct cell {
	char *text; /* safe for a terminal, already cut */
	size_t columns;
} cell;

struct cli_table {
	cli_column *columns; /* (n) */
	char **titles;       /* (n), safe for a terminal */
	size_t *widths;      /* (n): of the title and the widest cell so far */
	size_t n;
	cell *cells; /* (n_cells), row-major */
	size_t n_cells, cap;
};

/* The title of a column, which may be a word of SQL of the user's. */
static int set_title(cli_table *t, size_t i, const char *title)
{
	text safe;

	text_init(&safe, 1 << 20);
	if (text_add_visible(&safe, title, strlen(title)) < 0) {
		text_free(&safe);
		return ERR_NOMEM;
	}
	t->titles[i] = safe.data; /* the table's now */
	t->widths[i] = text_columns(safe.data, safe.len);
	return 0;
}

int cli_table_new(cli_table **out, const cli_column *columns, size_t n, error *err)
{
	cli_table *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return error_nomem(err, "a table");
	t->n = n;
	t->columns = calloc(n, sizeof(*t->columns));
	t->titles = calloc(n, sizeof(*t->titles));
	t->widths = calloc(n, sizeof(*t->widths));
	rc = t->columns && t->titles && t->widths ? 0 : ERR_NOMEM;
	for (size_t i = 0; i < n && rc == 0; i++) {
		t->columns[i] = columns[i];
		rc = set_title(t, i, columns[i].title);
	}
	if (rc < 0) {
		cli_table_free(t);
		return error_nomem(err, "a table");
	}
	*out = t;
	return 0;
}

void cli_table_free(cli_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	for (size_t i = 0; t->titles && i < t->n; i++)
		free(t->titles[i]);
	free(t->cells);
	free(t->titles);
	free(t->widths);
	free(t->columns);
	free(t);
}

/* Cuts `t` so that it takes at most `max` columns, the last one an ellipsis. */
static int cut(text *t, size_t max)
{
	size_t at = 0, used = 0;

	if (!max || text_columns(t->data, t->len) <= max)
		return 0;
	while (at < t->len) {
		uint32_t cp;
		size_t n = utf8_next(t->data + at, t->len - at, &cp), wide;

		n = n ? n : 1;
		wide = text_columns(t->data + at, n);
		if (used + wide > max - 1)
			break;
		used += wide;
		at += n;
	}
	t->len = at;
	return text_adds(t, "\xE2\x80\xA6");
}

static int print_arguments(char **out, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
static int print_arguments(char **out, const char *fmt, va_list args)
{
	va_list again;
	char *s;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	s = n < 0 ? NULL : malloc((size_t)n + 1);
	if (!s)
		return ERR_NOMEM;
	vsnprintf(s, (size_t)n + 1, fmt, args);
	*out = s;
	return 0;
}

int cli_table_cell(cli_table *t, const char *fmt, ...)
{
	size_t at = t->n_cells % t->n, width;
	char *raw = NULL;
	va_list args;
	text safe;
	int rc;

	text_init(&safe, 1 << 20);
	va_start(args, fmt);
	rc = print_arguments(&raw, fmt, args);
	va_end(args);
	if (rc < 0)
		goto out;
	rc = text_add_visible(&safe, raw, strlen(raw));
	if (rc < 0)
		goto out;
	rc = text_adds(&safe, ""); /* an empty cell too has its NUL */
	if (rc < 0)
		goto out;
	rc = cut(&safe, t->columns[at].max_width);
	if (rc < 0)
		goto out;
	rc = mem_grow(&t->cells, &t->cap, t->n_cells + 1, sizeof(*t->cells));
	if (rc < 0)
		goto out;
	width = text_columns(safe.data, safe.len);
	if (width > t->widths[at])
		t->widths[at] = width;
	t->cells[t->n_cells++] = (cell){ safe.data, width };
	safe.data = NULL; /* the table's now */
out:
	free(raw);
	text_free(&safe);
	return rc;
}

static void pad(FILE *to, size_t n)
{
	while (n--)
		putc(' ', to);
}

static void print_cell(const cli_table *t, FILE *to, size_t column, const char *s, size_t columns)
{
	size_t width = t->widths[column];
	bool last = column + 1 == t->n;

	if (t->columns[column].right)
		pad(to, width - columns);
	fputs(s, to);
	if (!t->columns[column].right && !last)
		pad(to, width - columns);
	fputs(last ? "\n" : "  ", to);
}

void cli_table_print(const cli_table *t, FILE *to)
{
	for (size_t c = 0; c < t->n; c++)
		print_cell(t, to, c, t->titles[c], text_columns(t->titles[c], strlen(t->titles[c])));
	for (size_t i = 0; i < t->n_cells; i++)
		print_cell(t, to, i % t->n, t->cells[i].text, t->cells[i].columns);
}
