/* Decoder rows as they are stored; those of neurons are axes, which nobody stores. */
#ifndef GLOSS_STORE_VECTORS_H
#define GLOSS_STORE_VECTORS_H

#include "store/store_internal.h"

/* The row (d_in) of one feature, malloc'd; NULL with 0 where the store has none. */
int vector_read(float **out, store *s, const store_source *source, uint32_t feature, error *err) MUST_USE;

#endif
