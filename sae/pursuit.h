/* Matching pursuit over a tile of rows: each step is an encoding that keeps one feature of the residual (encode.h). */
#ifndef GLOSS_SAE_PURSUIT_H
#define GLOSS_SAE_PURSUIT_H

#include "sae/encode.h"

typedef struct pursuit_pick {
	uint32_t row, index;
	uint32_t before; /* the row's pick before it, plus 1; 0: none */
	float value;
} pursuit_pick;

typedef struct pursuit {
	size_t n, room;
	pursuit_pick *picks; /* (n): grows as needed */
	uint32_t *row;  /* (SAE_ENCODE_TILE): of the tile, that stands at a place of the rows still at work */
	uint32_t *last; /* (SAE_ENCODE_TILE): a row's latest pick, plus 1 */
	uint32_t *count, *index; /* (SAE_ENCODE_TILE): what a step chose */
	float *value;
} pursuit;

/* The arrays of a fixed size in `mem`. */
int pursuit_init(pursuit *p, arena *mem, error *err) MUST_USE;
void pursuit_clear(pursuit *p);
/* Codes of n <= SAE_ENCODE_TILE rows of x (n, d), prepared, which is overwritten. The job keeps one feature a row. ERR_NOMEM. */
int pursuit_run(pursuit *p, encode_scratch *s, const encode_job *j, const sae_model *m, float *x,
                size_t n) MUST_USE;
/* Row after row, by feature ascending; count[i] of row i, together p->n, which is returned. */
size_t pursuit_codes(pursuit *p, size_t n, size_t *count, uint32_t *index, float *value);

#endif
