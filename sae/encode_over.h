/* All features of a tile over a limit, for thresholds and for rules that look at a whole batch: bounds first, exact values when asked. */
#ifndef GLOSS_SAE_ENCODE_OVER_H
#define GLOSS_SAE_ENCODE_OVER_H

#include "sae/encode.h"

typedef struct encode_found {
	size_t n, room;
	size_t missed; /* how many found no room */
	uint32_t *row, *index;
	uint32_t *pairs, *sorted; /* scratch */
	float *value;             /* upper bounds; after encode_exact() exact */
	float *lower;             /* bounds; not under 0 */
} encode_found;

#define ENCODE_FOUND_BYTES (4 * sizeof(uint32_t) + 2 * sizeof(float)) /* of an entry */

/* Room for n entries, at most UINT32_MAX; those there are lost. ERR_NOMEM leaves what there was. */
int encode_found_reserve(encode_found *f, size_t n) MUST_USE;
void encode_found_clear(encode_found *f);

/* The candidates over `above` >= 0 among n rows of x; as many as there is room for. */
void encode_over(encode_scratch *s, const encode_job *j, const float *x, size_t n, float above,
                 encode_found *f);
/* Drop those that cannot reach `reach`, compute the others. */
void encode_exact(encode_scratch *s, const encode_job *j, const float *x, float reach, encode_found *f);
/* Those over `least` and the first `ties` that equal it, in order of rows and features, of n rows: begin[i] is where row i
 * begins in index and value, counted on from `at`, count[i] how many it has. Returns where the next tile begins. */
size_t encode_found_rows(encode_found *f, size_t n, float least, size_t ties, size_t at, size_t *begin,
                         uint32_t *count, uint32_t *index, float *value);

#endif
