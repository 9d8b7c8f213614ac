/* Help from the tables. */
#include <string.h>

#include "cli/cli_internal.h"

enum { WIDTH = 100, GUTTER = 30 };

/* Words of `s` from column `at` on, in lines that start at column `indent` and end before WIDTH. */
static void print_wrapped(FILE *to, const char *s, size_t len, size_t indent, size_t at)
{
	const char *end = s + len;
	bool fresh = at <= indent;

	for (; at < indent; at++)
		putc(' ', to);
	while (s < end) {
		size_t skip = strspn(s, " \n"), n = strcspn(s + skip, " \n"), columns;

		s += skip;
		if (s >= end)
			break;
		if (s + n > end)
			n = (size_t)(end - s);
		columns = text_columns(s, n);
		if (!fresh && at + 1 + columns > WIDTH) {
			fprintf(to, "\n%*s", (int)indent, "");
			at = indent;
			fresh = true;
		}
		fprintf(to, "%s%.*s", fresh ? "" : " ", (int)n, s);
		at += columns + !fresh;
		fresh = false;
		s += n;
	}
	putc('\n', to);
}

/* Paragraphs apart by an empty line; one that starts with a space is printed as it is. */
static void print_paragraphs(FILE *to, const char *s)
{
	while (*s) {
		const char *gap = strstr(s, "\n\n");
		size_t n = gap ? (size_t)(gap - s) : strlen(s);

		if (*s == ' ')
			fprintf(to, "%.*s\n", (int)n, s);
		else
			print_wrapped(to, s, n, 0, 0);
		s += n;
		s += strspn(s, "\n");
		if (*s)
			putc('\n', to);
	}
}

static void print_option(FILE *to, const option *o)
{
	char words[CLI_DESCRIPTION_MAX];
	bool on = o->type == OPTION_BOOL && o->standard && !strcmp(o->standard, "true");
	int at;

	if (o->letter)
		at = fprintf(to, "  -%c, --%s%s", o->letter, on ? "no-" : "", o->name);
	else
		at = fprintf(to, "      --%s%s", on ? "no-" : "", o->name);
	if (o->type != OPTION_BOOL)
		at += fprintf(to, " %s", o->value);
	if (at + 2 > GUTTER) {
		putc('\n', to);
		at = 0;
	}
	cli_option_describe(words, o);
	print_wrapped(to, words, strlen(words), GUTTER, (size_t)at);
}

static void print_command_list(FILE *to)
{
	fputs("usage: gloss COMMAND [ARGUMENT...] [OPTION...]\n\n", to);
	print_paragraphs(
	        to,
	        "Gloss fits sparse autoencoders on activations dumped from a language model, records in one "
	        "SQLite file when every feature fires, and labels the features and scores the labels.");
	fputs("\ncommands:\n", to);
	for (size_t i = 0; cli_commands[i]; i++) {
		int at = fprintf(to, "  %s", cli_commands[i]->name);

		print_wrapped(to, cli_commands[i]->help, strlen(cli_commands[i]->help), 12, (size_t)at);
	}
	fputs("  help      this list, 'gloss help COMMAND', or with --man the man page\n", to);
	fputs("\nexit status: 0 done, 1 failed, 2 wrong usage, 3 state saved but not finished\n", to);
}

int cli_print_help(const command *self, FILE *to)
{
	if (!self) {
		print_command_list(to);
		return EXIT_DONE;
	}
	fprintf(to, "usage: gloss %s%s%s [OPTION...]\n\n", self->name, self->usage[0] ? " " : "",
	        self->usage);
	print_paragraphs(to, self->about);
	if (self->n_options)
		fputs("\noptions:\n", to);
	for (size_t i = 0; i < self->n_options; i++)
		print_option(to, &self->options[i]);
	fputs("\noptions of every command:\n", to);
	for (size_t i = 0; i < cli_n_common_options; i++)
		print_option(to, &cli_common_options[i]);
	fprintf(to, "  -h, --help%*sthis text\n", GUTTER - 12, "");
	if (self->examples) {
		fputs("\nexamples:\n", to);
		for (const char *s = self->examples; *s;) {
			size_t n = strcspn(s, "\n");

			fprintf(to, "  %.*s\n", (int)n, s);
			s += n + (s[n] == '\n');
		}
	}
	return EXIT_DONE;
}
