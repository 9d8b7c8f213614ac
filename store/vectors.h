/* Decoder rows as they are stored; those of neurons are axes, which nobody stores. */
#ifndef GLOSS_STORE_VECTORS_H
#define GLOSS_STORE_VECTORS_H

#include "store/store_internal.h"

/* The row (d_in) of one feature, malloc'd; NULL with 0 where the store has none. */
int vector_read(float **out, store *s, const store_source *source, uint32_t feature, error *err) MUST_USE;

/* The block whose output the source's rows are, from 0: what goes into block L is what comes out of L - 1. given: by the user, else -1.
 * ERR_ARG: the source does not say, or its rows are not of the residual stream. */
int vector_block(int64_t *out, const store_record *of, int64_t given, error *err) MUST_USE;

#endif
