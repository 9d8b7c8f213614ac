/* gloss: the one binary. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return EXIT_USAGE;
}
