/* gloss diff: the options, and what cmd_diff.c, diff_directions.c and diff_print.c share. */
#ifndef GLOSS_CLI_DIFF_H
#define GLOSS_CLI_DIFF_H

#include "cli/explain_args.h"
#include "cli/store_args.h"
#include "sae/sae.h"

#define DIFF_HUNGARIAN_DEFAULT 8192                /* features of the larger source */
#define DIFF_HUNGARIAN_MOST    ((uint64_t)4 << 30) /* bytes of cosines */

typedef struct diff_opts {
	store_args store;
	const char *with, *by, *method, *only, *side, *sort;
	double min_cosine, min_correlation, min_overlap, min_gain, min_together;
	uint32_t min_common, threads;
	uint64_t limit, seed;
	bool csv, pairs, labels;
	explain_args endpoint; /* of --labels: base_url, model (which embeds), the key */
} diff_opts;

/* ---- Decoder directions (diff_directions.c) ---- */

typedef struct diff_directions {
	float *rows[2], *null; /* unit rows; null: in B's place, by chance */
	char why[256];         /* they cannot be compared for this; empty: they can */
	uint32_t n[2], d;
	const char *method;
	sae_match real, chance;
	store_directions views[2]; /* of real and chance, for store/ */
} diff_directions;
void diff_directions_clear(diff_directions *v); /* fine on a zeroed struct */
/* Read the vectors of both and match them, with chance. */
int diff_directions_find(diff_directions *v, store *const s[2], const char *const names[2],
                         const diff_opts *o, pool *p, error *err) MUST_USE;
/* The page's "cosine": null with the reason in "cosine_absent". */
bool diff_directions_add(cJSON *page, const diff_directions *v);

/* ---- Printing (diff_print.c) ---- */

int diff_print(const cJSON *page, const diff_opts *o, error *err) MUST_USE;
/* side: only this one's features; NULL: both */
int diff_print_csv(const cJSON *page, const diff_opts *o, const char *side, error *err) MUST_USE;

/* ---- Labels (diff_labels.c) ---- */

int diff_labels_check(const diff_opts *o, const cli_parsed *p,
                      error *err) MUST_USE; /* ERR_ARG: options that do not go together */
/* The page's "labels": explain_alike() of its matched pairs, with "without_label": those that lack one. */
int diff_labels(cJSON *page, store *s, const diff_opts *o, error *err) MUST_USE;
int diff_labels_print(const cJSON *labels, error *err) MUST_USE;

#endif
