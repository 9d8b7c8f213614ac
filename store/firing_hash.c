/* Where a feature fires, as one number: `feature.behaviour`. */
#include "store/query_internal.h"

int firing_hash_find(int64_t **out, store *s, int64_t source, uint32_t n_features, error *err)
{
	uint64_t *hash = calloc((size_t)n_features + 1, sizeof(*hash));
	firing_scan scan;
	bool more;
	int rc;

	if (!hash)
		return error_nomem(err, "where features fire");
	rc = firing_scan_begin(&scan, s, source, err);
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more && scan.sampled) {
		const store_codes *c = &scan.codes;

		for (uint32_t t = 0; t < c->n_tokens; t++) {
			uint64_t place = hash64_mix((uint64_t)scan.context.id, t);

			for (uint32_t i = c->start[t]; i < c->start[t + 1]; i++)
				hash[c->feature[i]] = hash64_mix(hash[c->feature[i]], place);
		}
	}
	firing_scan_end(&scan);
	for (uint32_t f = 0; f < n_features; f++)
		hash[f] >>= 1; /* what every reader of SQLite takes for a number of its own */
	if (rc == 0)
		*out = (int64_t *)hash;
	else
		free(hash);
	return rc;
}
