/* Commands whose answer is one JSON page: it is asked for, then printed as JSON or for people. */
#ifndef GLOSS_CLI_PAGE_H
#define GLOSS_CLI_PAGE_H

#include "cli/cli.h"

typedef struct page_command {
	/* Check the options, ask. *page is freed by the caller, whatever is returned. */
	int (*ask)(cJSON **page, const cli_parsed *p, void *opts, error *err);
	/* For people, on stdout. */
	int (*print)(const cJSON *page, const cli_parsed *p, const void *opts, error *err);
} page_command;
/* A command's run(): parse into `opts` (its struct, zeroed), ask, print. Returns EXIT_. */
int page_run(const command *self, int argc, char **argv, void *opts, const page_command *c);

/* A table with a row for each member of `rows`, whose cells `add` adds; non-zero from it: no memory. */
int page_print_rows(const cJSON *rows, const cli_column *columns, size_t n,
                    int (*add)(cli_table *t, const cJSON *row), error *err) MUST_USE;

#endif
