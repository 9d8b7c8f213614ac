/* gloss export of an SAE (export_sae.c). */
#ifndef GLOSS_CLI_EXPORT_SAE_H
#define GLOSS_CLI_EXPORT_SAE_H

#include "cli/cli.h"

/* Write the SAE at p->args[0] in the format `to` into the folder `output` and say so; returns EXIT_. */
int export_sae(const command *self, const cli_parsed *p, const char *to, const char *output, bool force);

#endif
