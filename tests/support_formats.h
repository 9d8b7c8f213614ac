/* SAEs made by the tests as their own tools hold them, their definition in FP64, and the check of what Gloss makes of them. */
#ifndef GLOSS_SUPPORT_FORMATS_H
#define GLOSS_SUPPORT_FORMATS_H

#include "sae/sae.h"

enum { MADE_D = 9, MADE_F = 40, MADE_ROWS = 60 };

typedef struct made {
	const char *architecture; /* SAELens's name of it */
	size_t d, out, f, k;
	bool centers, rescales;
	sae_norm norm;
	double scale; /* of the input; 1 */
	/* W_enc (d, F), W_dec (F, out), W_skip (out, d) */
	float W_enc[MADE_D * MADE_F], W_dec[MADE_F * MADE_D], W_skip[MADE_D * MADE_D];
	float b_enc[MADE_F], b_dec[MADE_D], threshold[MADE_F], b_gate[MADE_F], r_mag[MADE_F],
	        dec_scale[MADE_F];
	double values[MADE_ROWS][MADE_F], hat[MADE_ROWS][MADE_D]; /* what it makes of the made_rows */
} made;

/* d != F with F no multiple of 8, k = 1 and 16 bits, d == F, d > F. */
typedef struct made_shape {
	size_t d, f, k;
	sae_dtype t;
} made_shape;
enum { MADE_SHAPES = 4 };
extern const made_shape made_shapes[MADE_SHAPES];

bool made_is(const made *m, const char *part); /* of its architecture's name */
void made_make(made *m, const char *architecture, size_t d, size_t out, size_t f, size_t k, sae_dtype t);
double made_norm(const float *row, size_t n);
const float *made_turn(float *out, const float *x, size_t n_rows,
                       size_t columns); /* (rows, columns) as (columns, rows) */
extern float made_rows[MADE_ROWS * MADE_D];
/* What it makes of the rows, by its definition; then the check of a model. */
void made_compute(made *m);
void made_check(const made *m, const sae_model *model);
sae_model *made_load(const char *path);
/* Compute; the SAE at `path`, and what becomes of it in the format `to`, written to dir/out. */
void made_check_export(made *m, const char *path, const char *dir, const char *to);

typedef struct tensors {
	size_t n;
	sae_tensor_out t[10];
	sae_dtype dtype;
	uint16_t half[2000];
	size_t used;
} tensors;

void tensors_add(tensors *all, const char *name, const float *x, size_t n_rows,
                 size_t columns); /* columns 0: one dimension */
void tensors_write(const tensors *all, const char *path);
/* A folder as SAELens writes it; `more`: members of the config. */
void made_write_saelens(const char *dir, const made *m, sae_dtype t, const char *more);

#endif
