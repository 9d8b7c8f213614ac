/* The firings of several sources on the contexts that all of them have stored, one context after the other. */
#ifndef GLOSS_STORE_JOINT_SCAN_H
#define GLOSS_STORE_JOINT_SCAN_H

#include "store/query_internal.h"

/* One of the sources. The stores may differ: a context has the same id in every one. */
typedef struct joint_part {
	store *s;
	int64_t source;
	uint32_t n_features;
	sqlite3_stmt *row;
	store_codes codes; /* of the context */
} joint_part;

typedef struct joint_scan {
	joint_part *parts; /* (n) */
	size_t n, lead;    /* lead: the source with the fewest contexts, which leads the way */
	int64_t context;
	uint32_t n_tokens;
	unsigned char *counted; /* bit i: token i counts in every source */
	size_t counted_cap;
} joint_scan;

/* Sources (n >= 1) of their stores. On failure nothing is left to end. */
int joint_scan_begin(joint_scan *scan, store *const *stores, const store_source *sources, size_t n,
                     error *err) MUST_USE;
/* *more: `scan` holds the next context, by id. ERR_FORMAT: corrupt. */
int joint_scan_next(joint_scan *scan, bool *more, error *err) MUST_USE;
/* Start over. */
int joint_scan_again(joint_scan *scan, error *err) MUST_USE;
void joint_scan_end(joint_scan *scan); /* fine on a zeroed struct */

#endif
