/* Class labels for `probe`: a CSV file, or a .npy of one dimension. */
#ifndef GLOSS_CLI_PROBE_LABELS_H
#define GLOSS_CLI_PROBE_LABELS_H

#include "cli/cli.h"
#include "sae/sae.h"

enum { PROBE_MAX_CLASSES = 1000 };

typedef struct probe_labels {
	uint32_t *of; /* (n) classes; SAE_NO_CLASS where the file says nothing */
	uint64_t n;
	const char **names; /* (n_classes), as numbers where all are, else as text, ascending */
	uint32_t n_classes;
	arena mem; /* holds the names */
} probe_labels;

/* CSV: a label a line; with `column`, the first line names the columns and that one is taken. An empty field is no label. A .npy
 * holds whole numbers or booleans. ERR_FORMAT names the line or the element: not UTF-8, no such column, a number that is not whole,
 * fewer than two classes or more than PROBE_MAX_CLASSES. On failure too, end with probe_labels_clear(). */
int probe_labels_read(probe_labels *out, const char *path, const char *column, error *err) MUST_USE;
void probe_labels_clear(probe_labels *l);
/* The class of this name: ERR_ARG names those that are there. */
int probe_labels_find(uint32_t *out, const probe_labels *l, const char *name, error *err) MUST_USE;

#endif
