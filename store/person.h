/* What the files of a person's own share: lists, labels, notes. */
#ifndef GLOSS_STORE_PERSON_H
#define GLOSS_STORE_PERSON_H

#include "store/feature_query.h"

/* Cut the space at both ends of a text (len bytes, no NUL needed) and check what is left: not empty, at most `max` bytes, valid
 * UTF-8, no control characters; with `lines`, newlines and tabs within are fine. `what` names it in the error: "the label".
 * ERR_ARG, ERR_LIMIT. */
int person_text_trim(const char **words, size_t *len, const char *what, size_t max, bool lines,
                     error *err) MUST_USE;
int person_writable(const store *s, error *err) MUST_USE;
int person_in_range(const store_source *source, uint32_t feature, error *err) MUST_USE;
/* The source, which must have the feature. */
int person_feature(store_source *out, store *s, const char *source, uint32_t feature, error *err) MUST_USE;

#endif
