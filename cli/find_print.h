/* What `gloss find` prints of each kind of answer. */
#ifndef GLOSS_CLI_FIND_PRINT_H
#define GLOSS_CLI_FIND_PRINT_H

#include "cli/cli.h"

int find_print_regex(const cJSON *page, error *err) MUST_USE;
int find_print_of(const cJSON *page, error *err) MUST_USE;
int find_print_like(const cJSON *page, error *err) MUST_USE;
int find_print_text(const cJSON *page, bool color, error *err) MUST_USE;

#endif
