/* For `gloss score --golden`: a person judges windows in the terminal, line by line; and what judges are worth by that. */
#ifndef GLOSS_CLI_GOLDEN_H
#define GLOSS_CLI_GOLDEN_H

#include "cli/cli.h"
#include "explain/explain.h"

/* Ask on stderr, read answers from stdin: y, n, s (skip), b (back), q (quit, as the end of input is). Each is in the store before the
 * next question. *answered: how many. */
int golden_ask(size_t *answered, store *s, const explain_opts *o, unsigned n, error *err) MUST_USE;
/* The member "golden" of a page of explain_report(), on stdout; nothing where it has none. */
void golden_print(const cJSON *page);

#endif
