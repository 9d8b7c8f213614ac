/* What `gloss plot` draws: curves of a metric, or the runs' trade-off between L0 and FVU. */
#ifndef GLOSS_CLI_PLOT_H
#define GLOSS_CLI_PLOT_H

#include "cli/chart.h"
#include "cli/runs.h"

typedef struct plot_request {
	const command *self; /* for warnings */
	const run_list *runs;
	const char *x;     /* step, tokens, seconds */
	const char *y;     /* a number's name in the log: "fvu", "held_out.fvu" */
	const char *title; /* NULL: the picture's own */
	bool log_x, log_y;
	bool want_json;
} plot_request;

/* Either sets *picture (malloc'd) and, where wanted, *json. A run without what is needed is left out with a warning.
 * ERR_NOTFOUND: none has it. ERR_ARG: nothing positive for a logarithmic axis. */
int plot_curves(char **picture, cJSON **json, const plot_request *q, error *err) MUST_USE;
int plot_pareto(char **picture, cJSON **json, const plot_request *q, error *err) MUST_USE;

/* A run's name without the folders that all have in common, at most `most` columns wide, in a buffer of the caller. */
enum { PLOT_LABEL = 256 };
void plot_label(char out[PLOT_LABEL], const run_list *runs, size_t i, size_t most);

/* Least and greatest so far; start with PLOT_RANGE_NONE. */
typedef struct plot_range {
	double low, high;
} plot_range;
#define PLOT_RANGE_NONE                                                                                      \
	{                                                                                                    \
		INFINITY, -INFINITY                                                                          \
	}
void plot_range_add(plot_range *r, double value);

#endif
