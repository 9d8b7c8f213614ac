/* Stores to merge: what the tests of gloss merge share. */
#ifndef GLOSS_SUPPORT_MERGE_H
#define GLOSS_SUPPORT_MERGE_H

#include "tests/support_index.h"

enum { MERGE_CONTEXTS = 60 };
extern char merge_b[FILE_PATH_MAX], merge_c[FILE_PATH_MAX], merge_out[FILE_PATH_MAX]; /* beside corpus_path */

void merge_setup(void); /* a fresh folder */
/* So few examples that some contexts are not needed. */
store_index_opts merge_options(const char *name, const char *dump, bool corpus);
/* Index those of the contexts that `take` says into the store at `path`. */
void merge_make(const char *path, const store_index_opts *o, bool (*take)(uint32_t i));
bool merge_even(uint32_t i);
bool merge_odd(uint32_t i);
void merge_run(const char *path, const char *sql); /* in the store at `path` */
/* given: NULL for the usual options. */
int merge_try(const char *to, const char *const *paths, size_t n, const store_merge_opts *given);
int merge_entries(void); /* files in the folder */

/* What people and models said of the source 1 of a store: labels, scores, jobs, tasks, requests, lists, notes. */
extern const char *const merge_said_here, *const merge_said_there;

#endif
