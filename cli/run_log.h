/* The log of a training run: one JSON object a line. A line of a step has "step", "tokens", "fvu" and more numbers; held-out
 * metrics are in "held_out", with "step" or, of the last step, without. The last line says how the run ended, "end": "finished", "stopped early", "saved"
 * or why it was given up. */
#ifndef GLOSS_CLI_RUN_LOG_H
#define GLOSS_CLI_RUN_LOG_H

#include "cli/cli.h"

/* Call `line` with every object in the file; its non-zero return stops and is returned. A last line without its newline
 * is one that a killed run did not finish: passed over. ERR_FORMAT names the line that is not a JSON object. */
int run_log_read(const char *path, int (*line)(void *payload, const cJSON *object), void *payload,
                 error *err) MUST_USE;

/* The number at "held_out.fvu": member of a member; NaN: not there, or not a number. */
double run_log_number(const cJSON *object, const char *name);

/* Print the lines of DIR's log as they come, until one says the run's end, or it is finished, or cli_stop_requested().
 * A log cut by a resumed run is followed from where it goes on. */
int run_log_follow(const char *dir, error *err) MUST_USE;

#endif
