/* One JSON object as a line of text, without a tree: for exports of many rows. */
#ifndef GLOSS_STORE_JSON_ROW_H
#define GLOSS_STORE_JSON_ROW_H

#include "base/base.h"

/* What cannot be added (no memory, or over the limit) is kept in `rc` and asked for once, at the end. */
typedef struct json_row {
	text line;
	bool first; /* of its object or array: no comma */
	int rc;
} json_row;

void json_row_init(json_row *r); /* a line of at most 64 MB */
void json_row_free(json_row *r);
void json_row_begin(json_row *r); /* a new line, and its object */
/* The end of object and line. ERR_NOMEM, ERR_LIMIT. */
int json_row_end(json_row *r, error *err) MUST_USE;

/* Members of the object. */
void json_row_text(json_row *r, const char *name, const char *value); /* NULL: null */
void json_row_number(json_row *r, const char *name, double value);    /* not finite: null */
void json_row_float(json_row *r, const char *name,
                    float value); /* the fewest digits that give the same float */
void json_row_bool(json_row *r, const char *name, bool value);
void json_row_null(json_row *r, const char *name);
void json_row_empty(json_row *r, const char *name); /* [] */
/* An array: open, its elements, close. */
void json_row_open(json_row *r, const char *name);
void json_row_add_text(json_row *r, const char *bytes, size_t n); /* repaired */
void json_row_add_number(json_row *r, double value);
void json_row_add_float(json_row *r, float value); /* as json_row_float() */
void json_row_close(json_row *r);
/* An object within: as an element (name NULL) or a member. */
void json_row_open_object(json_row *r, const char *name);
void json_row_close_object(json_row *r);

#endif
