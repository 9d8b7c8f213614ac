/* The inside of sae_rows, for rows.c (scan), rowset.c (rank and select) and split.c. */
#ifndef GLOSS_SAE_ROWS_INTERNAL_H
#define GLOSS_SAE_ROWS_INTERNAL_H

#include "sae/dump_internal.h"

/* A count of equal rows by their hashes. Starts as {.max = N}. */
typedef struct duplicate_count {
	uint64_t *hashes;
	size_t n, cap, max; /* hashes held, at most `max` */
	unsigned thin;      /* only hashes with this many low zero bits are held */
	uint64_t found;
} duplicate_count;
int duplicates_add(duplicate_count *s, uint64_t hash, error *err) MUST_USE;
uint64_t
duplicates_found(duplicate_count *s); /* rows equal to an earlier one; hashes may be added after it */
void duplicates_clear(duplicate_count *s);

/* Of which rows count and which are held out: equal for equal choices. */
uint64_t rows_fingerprint(const sae_rows *r);

/* The dump's hash, and that of its first n_rows rows, as if it had no more. ROWS_HASHED rows have a hash of their own. */
enum { ROWS_HASHED = 1024, DUMP_HASH_LINE = 160 + 32 * SAE_PARTS_MAX };
void dump_hash_line(char out[DUMP_HASH_LINE], const sae_dump *d, uint64_t n_rows);
int dump_hash_start(char out[SHA256_HEX], const sae_dump *d, uint64_t n_rows, pool *p, error *err) MUST_USE;

struct sae_rows {
	sae_rows_stats stats;
	double *mean;       /* (d) */
	rowset train, held; /* the rows that count, divided by sae_rows_split(); before that all are train */
	uint32_t *groups;   /* (n_contexts), NULL before the split */
	uint32_t n_groups;
};

#endif
