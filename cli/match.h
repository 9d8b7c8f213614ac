/* What the files of gloss match share. */
#ifndef GLOSS_CLI_MATCH_H
#define GLOSS_CLI_MATCH_H

#include "cli/dump_args.h"

typedef struct match_opts {
	dump_split_args split;
	const char *dump;
	uint64_t rows, seed;
	uint32_t draws, threads;
	double min_cosine;
	bool codes, latents;
} match_opts;

/* The measures against a truth, as they are named in JSON, with their meaning; ends with a NULL name. */
typedef struct match_measure {
	const char *name, *meaning;
} match_measure;
extern const match_measure match_measures[];

/* Tables of what cmd_match.c asked for. */
int match_print(const cJSON *page, error *err) MUST_USE;

#endif
