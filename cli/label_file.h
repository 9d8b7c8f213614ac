/* Labels from a file of lines: a feature, a tab, the label. */
#ifndef GLOSS_CLI_LABEL_FILE_H
#define GLOSS_CLI_LABEL_FILE_H

#include "cli/cli.h"
#include "cli/input_lines.h"
#include "store/store.h"

typedef struct label_file {
	input_lines in;
	store_label *labels; /* (n): texts point into `in` */
	size_t *lines;       /* (n): where each stands, from 1 */
	size_t n;
} label_file;

/* path "-": standard input. Empty lines are passed over. ERR_FORMAT: names the line; ERR_LIMIT: over 64 MiB. On failure too, end
 * with label_file_clear(). */
int label_file_read(label_file *f, const char *path, error *err) MUST_USE;
/* Put the file and the line of label i before the message. */
void label_file_blame(const label_file *f, size_t i, error *err);
void label_file_clear(label_file *f);

#endif
