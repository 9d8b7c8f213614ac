/* json_internal.h: what json_valid.c, json_print.c and json.c share. */
#ifndef GLOSS_JSON_INTERNAL_H
#define GLOSS_JSON_INTERNAL_H

#include "base/base.h"

#define JSON_MAX_DEPTH    1000 /* cJSON's own limit */
#define JSON_NUMBER_BYTES 63   /* cJSON reads numbers into 64 bytes */

/* Check the whole input against RFC 8259, strictly, without building anything. Stricter where the RFC leaves room:
 * no unpaired surrogates, no NUL in strings. Errors as json_parse. */
int json_validate(const char *data, size_t len, unsigned max_depth, const char *what, error *err) MUST_USE;

/* The keys of `obj`, sorted by bytes, into *members (grown as needed, at least one wider for each member of obj). */
int json_sort_members(const cJSON ***members, size_t *cap, size_t *n, const cJSON *obj) MUST_USE;

#endif
