/* Rows of a Neuronpedia export. */
#ifndef GLOSS_STORE_EXPORT_NEURONPEDIA_H
#define GLOSS_STORE_EXPORT_NEURONPEDIA_H

#include "store/export_rows.h"

/* What every row is of. Pointers live as long as the export. */
typedef struct np_names {
	const char *model, *source, *set, *release, *creator; /* creator: NULL: not known */
	uint64_t key;                                         /* of ids: rows of other sources have others */
} np_names;
/* From the options, and where those say nothing from what is known of the source. Strings in `mem`. ERR_ARG. */
int np_names_find(np_names *out, const store_neuronpedia_opts *o, const store_record *of, arena *mem,
                  error *err) MUST_USE;

/* A row's id: the same in every export of the source. */
void np_id(char out[40], const np_names *names, char kind, uint64_t a, uint64_t b);

/* Rows of their tables Neuron, Activation, Explanation (of a statement, see NP_EXPLANATIONS) and ExplanationScore, ended. */
int np_put_neuron(json_row *r, const np_names *names, export_source *x, const export_feature *f, bool vector,
                  error *err) MUST_USE;
int np_put_activation(json_row *r, const np_names *names, const export_source *x, const export_feature *f,
                      const export_example *e, error *err) MUST_USE;
#define NP_EXPLANATIONS                                                                                      \
	"SELECT id, feature, text, method, model, created, rule FROM explanation"                            \
	" WHERE source_id = ?1 AND withdrawn IS NULL ORDER BY feature, id"
int np_put_explanation(json_row *r, const np_names *names, sqlite3_stmt *row, error *err) MUST_USE;
#define NP_SCORES                                                                                            \
	"SELECT x.id, x.explanation_id, e.feature, x.value, x.scorer, x.judge, x.details, x.created"         \
	" FROM score x JOIN explanation e ON e.id = x.explanation_id"                                        \
	" WHERE e.source_id = ?1 AND e.withdrawn IS NULL AND x.value IS NOT NULL AND x.scorer <> 'select'"   \
	" ORDER BY e.feature, e.id, x.id"
int np_put_score(json_row *r, const np_names *names, sqlite3_stmt *row, error *err) MUST_USE;

/* The files of one row or a few, plain JSON lines, in the folders `config` and `of_source`; counted in *result. */
int np_write_config(store_export_result *result, const char *config, const np_names *names,
                    const export_source *x, error *err) MUST_USE;
int np_write_source(store_export_result *result, const char *of_source, const np_names *names,
                    const export_source *x, error *err) MUST_USE;

#endif
