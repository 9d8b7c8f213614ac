/* Some of the rows that are held out, and what tells one choice of rows from another. */
#include <stdlib.h>

#include "sae/rows_internal.h"

uint64_t rows_fingerprint(const sae_rows *r)
{
	size_t bytes = r->train.n_blocks * (ROWSET_BLOCK / 8);

	return hash64(r->held.bits, bytes, hash64(r->train.bits, bytes, r->stats.n_rows));
}

int sae_rows_sample(sae_rows **out, const sae_rows *r, uint64_t n, error *err)
{
	uint64_t held = rowset_size(&r->held);
	sae_rows *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_nomem(err, "a sample of rows");
	s->stats = r->stats;
	rc = rowset_init(&s->train, r->stats.n_rows, err);
	if (rc == 0)
		rc = rowset_init(&s->held, r->stats.n_rows, err);
	if (rc < 0) {
		sae_rows_free(s);
		return rc;
	}
	if (n > held)
		n = held;
	for (uint64_t i = 0; i < n; i++) { /* one of each of n equal stretches */
		uint64_t first = held / n * i + held % n * i / n;
		uint64_t end = held / n * (i + 1) + held % n * (i + 1) / n;

		rowset_add(&s->held, rowset_select(&r->held, first + hash64_mix(held, i) % (end - first)));
	}
	rowset_count(&s->train);
	rowset_count(&s->held);
	*out = s;
	return 0;
}
