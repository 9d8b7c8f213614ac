/* What people and models said of a feature, as JSON. */
#ifndef GLOSS_STORE_HISTORY_H
#define GLOSS_STORE_HISTORY_H

#include "store/query_internal.h"

/* A feature whose page is being built. */
typedef struct feature_place {
	store *s;
	int64_t source;
	uint32_t feature;
} feature_place;

/* A statement with ?1 source, ?2 feature. */
int place_prepare(sqlite3_stmt **out, const feature_place *p, const char *sql, error *err) MUST_USE;
/* A column that holds JSON, parsed; *out stays NULL for NULL. ERR_FORMAT: names feature and column. */
int place_read_json(cJSON **out, const feature_place *p, sqlite3_stmt *row, int column, error *err) MUST_USE;
/* The same as a member of `object`. */
int place_put_json(cJSON *object, const feature_place *p, sqlite3_stmt *row, int column, bool *failed,
                   error *err) MUST_USE;

/* "labels": all, the latest first, those withdrawn too, each with its "scores", the latest first. */
int labels_put(cJSON *object, const feature_place *p, bool *failed, error *err) MUST_USE;
/* "notes", the first first; "lists": names of the person's lists that hold the feature. */
int notes_put(cJSON *object, const feature_place *p, bool *failed, error *err) MUST_USE;
int lists_put(cJSON *object, const feature_place *p, bool *failed, error *err) MUST_USE;

#endif
