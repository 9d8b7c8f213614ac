/* What every command that looks into a store shares: --store, --source, and the store opened; members of its answers. */
#ifndef GLOSS_CLI_STORE_ARGS_H
#define GLOSS_CLI_STORE_ARGS_H

#include "cli/cli.h"
#include "store/store.h"

typedef struct store_args {
	const char *store, *source;
} store_args;

#define STORE_ARG_OPTION(st, args)                                                                           \
	OPTION(st, args.store, "store", 'd', OPTION_STRING, "FILE", NULL, 0, 0, "the store; required")
#define STORE_ARGS_OPTIONS(st, args)                                                                         \
	STORE_ARG_OPTION(st, args), OPTION(st, args.source, "source", 0, OPTION_STRING, "NAME", NULL, 0, 0,  \
	                                   "indexed SAE; needed where the store holds several")

/* Open it. ERR_ARG: not named. */
int store_args_open(store **out, const store_args *a, error *err) MUST_USE;
int store_args_open_to_write(store **out, const store_args *a, error *err) MUST_USE;

/* Stops what the store does when a signal asked for it: after cli_catch_signals(). */
store_stop store_args_stop(void);

/* A feature's number as an argument. ERR_ARG. */
int feature_arg(uint32_t *out, const char *arg, error *err) MUST_USE;

/* Members of an answer: NaN, NULL and 0 where they are absent or null. */
double answer_number(const cJSON *object, const char *name);
const char *answer_string(const cJSON *object, const char *name);
/* A cell: "%.*g" of the number, "-" for NaN; the string, "-" for NULL. */
int number_cell(cli_table *t, double value, int digits) MUST_USE;
int string_cell(cli_table *t, const char *string) MUST_USE;
/* A token's text, its first space as U+2423 so that it can be seen. */
int token_cell(cli_table *t, const char *token) MUST_USE;

/* Columns of the terminal: COLUMNS, else what it says of itself, else 100. */
size_t terminal_columns(void);

#endif
