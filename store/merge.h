/* gloss merge: what its files share. merge.c has the order of things; merge_plan.c which sources become one; merge_groups.c
 * documents; merge_rows.c rows with other ids, merge_copy.c those of a source; merge_join.c one source of several, and
 * merge_describe.c what is recorded of that; merge_people.c labels and so on. */
#ifndef GLOSS_STORE_MERGE_H
#define GLOSS_STORE_MERGE_H

#include "store/query_internal.h"
#include "store/record.h"

/* ---- Ids ---- */

typedef struct id_pair {
	int64_t from, to;
} id_pair;
typedef struct id_map {
	id_pair *pairs; /* (n) by `from` */
	size_t n, cap;
} id_map;
int id_map_add(id_map *m, int64_t from, int64_t to, error *err) MUST_USE;
void id_map_sort(id_map *m); /* before the first look, where `from` did not rise */
bool id_map_find(int64_t *to, const id_map *m, int64_t from);

/* ---- Stores and sources ---- */

enum {
	MAP_SOURCE,
	MAP_TOKENIZER,
	MAP_DOCUMENT,
	MAP_JOB,
	MAP_TASK,
	MAP_EXPLANATION,
	MAP_SCORE,
	MAP_LIST,
	MAP_NOTE,
	MAPS
};
typedef struct merge_input {
	const char *path;
	store *s;
	id_map maps[MAPS]; /* its ids to those of the new store */
} merge_input;

typedef struct merge_part {
	merge_input *in;
	store_record r;
} merge_part;
typedef struct merge_source {
	const char *name;
	merge_part *parts; /* (n) */
	size_t n, cap;
} merge_source;

typedef struct merge_groups merge_groups;
typedef struct merge {
	const store_merge_opts *o;
	arena mem;
	merge_input *inputs; /* (n_inputs) */
	size_t n_inputs;
	merge_source *sources; /* (n_sources) */
	size_t n_sources, sources_cap;
	merge_groups *groups;
	store *out;
	uint64_t n_rows; /* written */
	cJSON *report;
	bool failed; /* the report could not grow */
} merge;

/* Fill m->sources. ERR_ARG names the first thing by which sources of one name differ. */
int merge_plan(merge *m, error *err) MUST_USE;

/* Documents of all inputs, joined as they must be; then into the new store. */
int merge_groups_find(merge *m, error *err) MUST_USE;
int merge_groups_write(merge *m, error *err) MUST_USE;
void merge_groups_free(merge_groups *g); /* NULL is fine */
/* The group of the document of this key; 0 where it is not known. */
int64_t merge_group_of(const merge *m, int64_t document);

/* Count rows for the progress line. ERR_STOPPED. */
int merge_step(merge *m, uint64_t rows, error *err) MUST_USE;

/* Rows of a table from an input to the new store, all columns but generated ones as they are, but those of rules. */
typedef struct row_rule {
	const char *column;
	const id_map *map; /* NULL stays NULL. Without a map: */
	int64_t value;
} row_rule;
typedef struct row_copy {
	const char *table, *where; /* where: "WHERE ... ?1 ... ORDER BY ...", or "" */
	int64_t bound;             /* ?1 */
	const char *verb;          /* "INSERT" or "INSERT OR IGNORE" */
	const row_rule *rules;     /* (n_rules) */
	size_t n_rules;
	uint64_t n; /* rows that came in */
} row_copy;
int merge_rows(row_copy *c, merge *m, merge_input *in, error *err) MUST_USE;

int merge_copy_tokenizers(merge *m, merge_input *in, error *err) MUST_USE;
/* One source as it is; several as one. */
int merge_copy_source(merge *m, merge_source *src, error *err) MUST_USE;
int merge_join_source(merge *m, merge_source *src, error *err) MUST_USE;
/* How the new source came about: JSON {options of the first, "merged":[...]} and [dump, ...], and a hash for all dumps. */
int merge_describe(const char **config, const char **dumps, const char **digest, merge *m,
                   const merge_source *src, error *err) MUST_USE;

/* Labels, scores, jobs, lists, notes. */
int merge_people(merge *m, error *err) MUST_USE;

#endif
