/* gloss: the one binary. */
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "cli/cli_internal.h"

static const command *find_command(const char *name)
{
	for (size_t i = 0; cli_commands[i]; i++)
		if (!strcmp(cli_commands[i]->name, name))
			return cli_commands[i];
	return NULL;
}

static int unknown_command(const char *typed)
{
	const char *near = NULL;
	unsigned best = UINT_MAX;
	error err = { 0 };

	for (size_t i = 0; cli_commands[i]; i++) {
		unsigned d = text_likeness(typed, cli_commands[i]->name);

		if (d < best) {
			best = d;
			near = cli_commands[i]->name;
		}
	}
	if (text_likeness(typed, "help") < best)
		near = "help";
	if (near)
		(void)error_set(&err, ERR_ARG, "unknown command '%s'; did you mean '%s'?", typed, near);
	else
		(void)error_set(&err, ERR_ARG, "unknown command '%s'; 'gloss help' lists them", typed);
	return cli_fail(NULL, &err);
}

/* gloss help [COMMAND | --man] */
static int run_help(int argc, char **argv)
{
	const command *c;
	error err = { 0 };

	if (argc > 2) {
		(void)error_set(&err, ERR_ARG,
		                "help takes one argument; usage: gloss help [COMMAND | --man]");
		return cli_fail(NULL, &err);
	}
	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return cli_print_help(NULL, stdout);
	if (!strcmp(argv[1], "--man"))
		return cli_print_man(stdout);
	c = find_command(argv[1]);
	return c ? cli_print_help(c, stdout) : unknown_command(argv[1]);
}

static int dispatch(int argc, char **argv)
{
	const command *c;

	if (argc < 2) {
		(void)cli_print_help(NULL, stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("gloss %s\n", GLOSS_VERSION);
		return EXIT_DONE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return cli_print_help(NULL, stdout);
	if (!strcmp(argv[1], "help"))
		return run_help(argc - 1, argv + 1);
	c = find_command(argv[1]);
	return c ? c->run(c, argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
	error err = { 0 };
	int code, failed;

	/* A reader that leaves early (`| head`) and a peer that hangs up are write errors, not the end of a training run. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file over the limit is an error of writing, as a full disk is */
	fault_arm_env();
	code = dispatch(argc, argv);
	if (cli_finish_stdout(&err) < 0) {
		failed = cli_fail(NULL, &err);
		if (code == EXIT_DONE)
			code = failed;
	}
	return code;
}
