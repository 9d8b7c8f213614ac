/* A text file, or standard input, line by line. */
#ifndef GLOSS_CLI_INPUT_LINES_H
#define GLOSS_CLI_INPUT_LINES_H

#include "base/base.h"

typedef struct input_lines {
	char name[300]; /* for messages: 'FILE', or standard input */
	char *bytes;
	char **lines; /* (n) without their ends, empty ones too */
	size_t n;
} input_lines;
/* path "-": standard input. At most 64 MB; a byte order mark is passed over. ERR_FORMAT: a line holds a NUL. input_lines_clear() also after a failure. */
int input_lines_read(input_lines *in, const char *path, error *err) MUST_USE;
void input_lines_clear(input_lines *in); /* fine on a zeroed struct */

#endif
