/* What the files of the option tables share among themselves. Commands include cli/cli.h only. */
#ifndef GLOSS_CLI_INTERNAL_H
#define GLOSS_CLI_INTERNAL_H

#include "cli/cli.h"

#define CLI_RANGE_MAX       96
#define CLI_DESCRIPTION_MAX 1024

/* What every command takes; the fields are cli_common's. --help is not in it: it has no value to keep. */
extern const option cli_common_options[];
extern const size_t cli_n_common_options;

/* The range of a number's values in words ("1 to 64", "at least 0"); "" for other types and unbounded numbers. */
void cli_option_range(char out[CLI_RANGE_MAX], const option *o);

/* The option's help with its default and range behind it. */
void cli_option_describe(char out[CLI_DESCRIPTION_MAX], const option *o);

/* As cli_option_set() from a JSON value, which must have the option's type; strings are copied into `mem`. */
int cli_option_set_json(void *fields, const option *o, const cJSON *value, arena *mem, const char *shown,
                        error *err) MUST_USE;

/* ERR_IO when something written to stdout was lost (a full disk), but not when its reader has gone (`| head`). */
int cli_finish_stdout(error *err) MUST_USE;

#endif
