/* Statements over schemas/sql/features.sql: one row a feature, with all that is known of it in columns. */
#ifndef GLOSS_STORE_FEATURE_QUERY_H
#define GLOSS_STORE_FEATURE_QUERY_H

#include "store/query_internal.h"
#include "store/where.h"

/* A query over the features of a source, with the user's expression. */
typedef struct feature_query {
	store *s;
	store_source source; /* its strings live as the caller's */
	int64_t tokenizer;   /* 0: none */
	const char *where;   /* NULL: all */
} feature_query;

/* where NULL or "": all. ERR_ARG. */
int feature_query_init(feature_query *q, store *s, const store_source *source, const char *where,
                       error *err) MUST_USE;
/* WITH ... SELECT `what` FROM features [WHERE (expression)] `behind`; ?1 and ?2 are bound. */
int feature_query_prepare(sqlite3_stmt **out, const feature_query *q, const char *what, const char *behind,
                          error *err) MUST_USE;
/* store_step() for a statement that holds the user's expression. */
int feature_query_step(const feature_query *q, sqlite3_stmt *st, bool *more, error *err) MUST_USE;

/* The statement that gives all columns of the feature bound to ?3; and a row of it as members of `object`. */
int feature_row_prepare(sqlite3_stmt **out, const feature_query *q, error *err) MUST_USE;
void feature_row_put(cJSON *object, sqlite3_stmt *row, bool *failed);

/* Set wanted[f] (n_features of the source) for the features of "all" or NULL, or of a list "1,5,10-20,@NAME", where NAME is
 * a list of the user's. ERR_ARG: says at which character; ERR_NOTFOUND: no such list. */
int feature_list_read(bool *wanted, store *s, const store_source *source, const char *list,
                      error *err) MUST_USE;
/* Set wanted[f] for what the user's list `name` holds of the source. ERR_NOTFOUND. */
int list_mark(bool *wanted, store *s, const store_source *source, const char *name, error *err) MUST_USE;

#endif
