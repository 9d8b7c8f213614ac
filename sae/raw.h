/* Files without a header (raw.c). */
#ifndef GLOSS_SAE_RAW_H
#define GLOSS_SAE_RAW_H

#include "sae/file_internal.h"

/* Whether a file of this name may be raw: .bin, .memmap. */
bool raw_named(const char *path);
/* sae_dump_opts.dtype as a type; -1: it is none of the four. */
int raw_dtype_option(sae_dtype *out, const char *name);
/* Open such a file as one tensor without a name. Its dtype and shape come from a side file, from saev's metadata.json, or from
 * o->d_in and o->dtype; where nothing tells, it may be a tensor file under another name.
 * ERR_NOTFOUND: nothing tells; ERR_FORMAT: its size is not what is said of it; ERR_ARG: several layers, and o->key names none. */
int raw_open(sae_file **out, const char *path, const sae_dump_opts *o, error *err) MUST_USE;

#endif
