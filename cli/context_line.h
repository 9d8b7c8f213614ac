/* A window of tokens as one line for a terminal or a file, firing tokens marked. */
#ifndef GLOSS_CLI_CONTEXT_LINE_H
#define GLOSS_CLI_CONTEXT_LINE_H

#include "cli/cli.h"

typedef struct context_style {
	bool color;     /* else [[token]], the peak with its value */
	bool whole;     /* do not clip */
	size_t columns; /* what the line may take */
	double max; /* the value with the strongest colour: the feature's own maximum, so that lines compare */
} context_style;

/* Add the line of "tokens": [{"text","value"}...] to `out`, the peak at the same column in every line of a style. Nothing
 * of the tokens steers the terminal. ERR_NOMEM, ERR_LIMIT. */
int context_line_add(text *out, const cJSON *tokens, size_t peak, const context_style *style) MUST_USE;

/* Add a snippet [{"text","match"}...], its matches marked likewise. */
int snippet_add(text *out, const cJSON *snippet, bool color) MUST_USE;

#endif
