/* Fields of CSV on stdout. */
#ifndef GLOSS_CLI_CSV_H
#define GLOSS_CLI_CSV_H

#include "cli/cli.h"

/* One field: quoted where RFC 4180 wants it, and where it is empty, so that NULL (nothing at all) is another thing.
 *	visible   it goes to a terminal: nothing of it steers that
 * ERR_NOMEM. */
int csv_field(const char *string, bool visible) MUST_USE;

#endif
