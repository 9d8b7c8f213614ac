/* For `probe`: options, the answer as JSON, and how it is printed. */
#ifndef GLOSS_CLI_PROBE_H
#define GLOSS_CLI_PROBE_H

#include "cli/dump_args.h"

typedef struct probe_opts {
	const char *labels, *column, *per; /* NULL: not given */
	option_list classes, k;
	bool dense, balance, tpp;
	const char *spurious, *spurious_column; /* NULL: not given */
	option_list ablate;
	double c, test;
	const char *pool;
	uint64_t limit, seed;
	const char *predictions; /* NULL: not given */
	dump_args dump;
} probe_opts;

/* Read, fit, and answer. *page is the caller's to delete, whatever is returned. */
int probe_ask(cJSON **page, const cli_parsed *p, const probe_opts *o, error *err) MUST_USE;
int probe_print(const cJSON *page, error *err) MUST_USE;

#endif
