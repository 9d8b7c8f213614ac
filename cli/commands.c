/* The commands, by name. One cmd_NAME.c each. */
#include "cli/cli.h"

const command *const cli_commands[] = {
	NULL,
};
