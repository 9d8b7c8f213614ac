/* gloss export of a store: its tables, and its features in other tools' formats (export_store.c). */
#ifndef GLOSS_CLI_EXPORT_STORE_H
#define GLOSS_CLI_EXPORT_STORE_H

#include "cli/store_args.h"

typedef struct export_opts {
	store_args store;
	const char *to, *output;
	option_list tables;
	const char *model_id, *source_id, *set, *release, *creator; /* Neuronpedia's names */
	const char *features, *alpha, *model_hint;                  /* of a control vector */
	uint32_t layer;
	bool layer_given;
	uint32_t top, samples;
	bool force, vectors, all;
} export_opts;

/* Whether `to` is a format that a store is written in. */
bool export_store_has(const char *to);
/* Write the store in the format o->to and say so; returns EXIT_. */
int export_store(const command *self, const cli_parsed *p, const export_opts *o);

#endif
