/* The user's expression over the columns of features.sql. */
#ifndef GLOSS_STORE_WHERE_H
#define GLOSS_STORE_WHERE_H

#include "store/store_internal.h"

#define WHERE_SECONDS 10.0 /* that a query with an expression may take */
/* Of its values and its patterns: the slowest function then takes some 40 ms, the longest expression a few seconds a row. */
#define WHERE_MAX_LENGTH  (32 << 10)
#define WHERE_MAX_PATTERN 500

/* What an expression may name (n_names); the first n_columns are in the answers of store_features(), in this order. */
extern const char *const feature_columns[];
extern const size_t feature_n_names, feature_n_columns;

/* The expression must be one: balanced, without statements behind it, comments or queries of its own. What it reads and
 * calls is seen to by where_prepare(). ERR_ARG: says at which character; ERR_LIMIT: too long. */
int where_check(const char *where, error *err) MUST_USE;
/* Prepare `sql`, in which the expression begins at byte `at` and can read nothing but the columns, nor call what has effects.
 * where NULL: there is none. ERR_ARG: says at which character, and what may have been meant. */
int where_prepare(sqlite3_stmt **out, store *s, const char *sql, const char *where, size_t at,
                  error *err) MUST_USE;

/* Whether `names` (n) has `name`, in any case of letters; and the one most like it, NULL when none is near. */
bool name_is_among(const char *const *names, size_t n, const char *name);
const char *name_nearest(const char *const *names, size_t n, const char *typed);

#endif
