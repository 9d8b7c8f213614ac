/* The man page gloss(1) in mdoc, from the same tables as the help. */
#include <string.h>

#include "cli/cli_internal.h"

/* `n` bytes of text with what roff would read as its own made plain. */
static void put_escaped(FILE *to, const char *s, size_t n, bool line_start)
{
	for (size_t i = 0; i < n; i++) {
		if (i == 0 && line_start && (s[i] == '.' || s[i] == '\''))
			fputs("\\&", to);
		if (s[i] == '\\')
			fputs("\\e", to);
		else if (s[i] == '-')
			fputs("\\-", to);
		else if (s[i] == '"')
			fputs("\\(dq", to);
		else if (s[i] == '\'')
			fputs("\\(aq", to);
		else if (s[i] == '`')
			fputs("\\(ga", to);
		else if (s[i] == '~')
			fputs("\\(ti", to);
		else if (s[i] == '^')
			fputs("\\(ha", to);
		else
			putc(s[i], to);
	}
}

/* One word as an argument of a macro: \& keeps it from being read as a macro or a delimiter. */
static void put_argument(FILE *to, const char *s)
{
	for (;;) {
		size_t n = strcspn(s, " ");

		fputs("\\&", to);
		put_escaped(to, s, n, false);
		if (!s[n])
			return;
		s += n + 1;
		fputs("\\ ", to);
	}
}

/* Running text: words in lines under 78 letters, and a new line behind each sentence, as mdoc wants it. */
static void put_text(FILE *to, const char *s, size_t len)
{
	const char *end = s + len;
	size_t at = 0;

	while (s < end) {
		size_t n;

		s += strspn(s, " \n");
		if (s >= end)
			break;
		n = strcspn(s, " \n");
		if (s + n > end)
			n = (size_t)(end - s);
		if (at && at + 1 + n > 78) {
			putc('\n', to);
			at = 0;
		}
		if (at)
			putc(' ', to);
		put_escaped(to, s, n, at == 0);
		at += n + 1;
		s += n;
		if (n > 2 && !memcmp(s - 3, "...", 3)) {
			fputs("\\&", to); /* "DUMP..." ends no sentence */
		} else if (strchr(".!?", s[-1]) || (n > 1 && s[-1] == ')' && strchr(".!?", s[-2]))) {
			putc('\n', to);
			at = 0;
		}
	}
	if (at)
		putc('\n', to);
}

static void put_literal(FILE *to, const char *s, size_t len, const char *prefix)
{
	fputs(".Bd -literal -offset indent\n", to);
	for (const char *end = s + len; s < end;) {
		size_t n = strcspn(s, "\n");

		if (s + n > end)
			n = (size_t)(end - s);
		fputs(prefix, to);
		put_escaped(to, s, n, !prefix[0]);
		putc('\n', to);
		s += n + 1;
	}
	fputs(".Ed\n", to);
}

static void put_paragraphs(FILE *to, const char *s)
{
	for (bool first = true; *s; first = false) {
		const char *gap = strstr(s, "\n\n");
		size_t n = gap ? (size_t)(gap - s) : strlen(s);

		if (*s == ' ') {
			put_literal(to, s, n, "");
		} else {
			if (!first)
				fputs(".Pp\n", to);
			put_text(to, s, n);
		}
		s += n;
		s += strspn(s, "\n");
	}
}

static void put_option(FILE *to, const option *o)
{
	bool on = o->type == OPTION_BOOL && o->standard && !strcmp(o->standard, "true");
	char words[CLI_DESCRIPTION_MAX];

	fputs(".It ", to);
	if (o->letter)
		fprintf(to, "Fl %c , ", o->letter);
	fputs("Fl \\-", to);
	put_escaped(to, on ? "no-" : "", on ? 3 : 0, false);
	put_escaped(to, o->name, strlen(o->name), false);
	if (o->type != OPTION_BOOL) {
		fputs(" Ar ", to);
		put_argument(to, o->value);
	}
	putc('\n', to);
	cli_option_describe(words, o);
	put_text(to, words, strlen(words));
}

static void put_command(FILE *to, const command *c)
{
	fprintf(to, ".Ss %s\n.Nm\n.Cm %s\n", c->name, c->name);
	put_text(to, c->usage, strlen(c->usage));
	fputs(".Op Ar OPTION ...\n.Pp\n", to);
	put_paragraphs(to, c->about);
	if (c->n_options) {
		fputs(".Bl -tag -width Ds\n", to);
		for (size_t i = 0; i < c->n_options; i++)
			put_option(to, &c->options[i]);
		fputs(".El\n", to);
	}
	if (c->examples) {
		fputs(".Pp\nExamples:\n", to);
		put_literal(to, c->examples, strlen(c->examples), "$ ");
	}
}

static const char head[] = ".\\\" Made by `gloss help --man`; sh tests/update.sh makes it anew.\n"
                           ".Dd November 24, 2026\n"
                           ".Dt GLOSS 1\n"
                           ".Os\n"
                           ".Sh NAME\n"
                           ".Nm gloss\n"
                           ".Nd train, index, browse and label sparse autoencoders\n"
                           ".Sh SYNOPSIS\n"
                           ".Nm\n"
                           ".Ar COMMAND\n"
                           ".Op Ar ARGUMENT ...\n"
                           ".Op Ar OPTION ...\n"
                           ".Nm\n"
                           ".Cm help\n"
                           ".Op Ar COMMAND | Fl \\-man\n"
                           ".Nm\n"
                           ".Fl \\-version\n"
                           ".Sh DESCRIPTION\n"
                           ".Nm\n"
                           "fits sparse autoencoders on activations dumped from a language model, records\n"
                           "in one SQLite file when every feature fires, lets a person query and look at\n"
                           "that file, and has a language model label the features and score the labels.\n"
                           ".Pp\n"
                           "Results go to standard output, everything else to standard error.\n"
                           "Options and arguments may be mixed;\n"
                           ".Fl \\-\n"
                           "ends the options.\n"
                           "An option's value follows as the next word or behind\n"
                           ".Sq = .\n"
                           "Names are written in full.\n"
                           "Sizes and counts of 64 bits take the endings k, M and G for powers of 1000\n"
                           "and Ki, Mi and Gi for powers of 1024.\n"
                           ".Pp\n"
                           "Every command takes these options:\n"
                           ".Bl -tag -width Ds\n";

static const char tail[] = ".Sh ENVIRONMENT\n"
                           ".Bl -tag -width Ds\n"
                           ".It Ev NO_COLOR\n"
                           "When set and not empty, output has no colours unless\n"
                           ".Fl \\-color Cm always\n"
                           "asks for them.\n"
                           ".It Ev TERM\n"
                           "No colours when it is\n"
                           ".Cm dumb .\n"
                           ".El\n"
                           ".Sh EXIT STATUS\n"
                           ".Bl -tag -width Ds -compact\n"
                           ".It 0\n"
                           "done\n"
                           ".It 1\n"
                           "failed\n"
                           ".It 2\n"
                           "wrong usage\n"
                           ".It 3\n"
                           "state saved, but not finished\n"
                           ".El\n";

int cli_print_man(FILE *to)
{
	fputs(head, to);
	for (size_t i = 0; i < cli_n_common_options; i++)
		put_option(to, &cli_common_options[i]);
	fputs(".It Fl h , Fl \\-help\nthe command's help\n.El\n", to);
	if (cli_commands[0])
		fputs(".Sh COMMANDS\n", to);
	for (size_t i = 0; cli_commands[i]; i++)
		put_command(to, cli_commands[i]);
	fputs(tail, to);
	return EXIT_DONE;
}
