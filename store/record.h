/* What else is known of a source besides its row. */
#ifndef GLOSS_STORE_RECORD_H
#define GLOSS_STORE_RECORD_H

#include "store/store_internal.h"
#include "store/vocab.h"

/* Options of an index run that makes such a source again, from its record; strings are the record's. */
store_index_opts record_index_opts(const store_record *r);
/* The vocabulary of its tokenizer; empty without one. ERR_FORMAT: tokens are missing. */
int record_vocab(vocab *out, store *s, const store_record *r, error *err) MUST_USE;

#endif
