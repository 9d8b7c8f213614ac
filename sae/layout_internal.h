/* What layout.c (checks), layout_read.c (reading) and layout_fold.c (folding) share. */
#ifndef GLOSS_SAE_LAYOUT_INTERNAL_H
#define GLOSS_SAE_LAYOUT_INTERNAL_H

#include "sae/layout.h"

/* The tensor `name` of exactly this shape; columns 0: one dimension. */
int layout_find(const sae_tensor **out, const layout *l, const sae_file *f, const char *name, uint64_t rows,
                uint64_t columns, error *err) MUST_USE;
/* The same of ours (rows, columns), which may be turned on disk. */
int layout_find_matrix(const sae_tensor **out, const layout *l, const sae_file *f, const layout_matrix *m,
                       uint64_t rows, uint64_t columns, error *err) MUST_USE;
int layout_check_codebook(const layout *l, error *err) MUST_USE;
/* Codes (F, d / groups) at the beginning of W_dec become its rows; the encoder follows. */
void layout_spread_codes(sae_model *m);
/* layout_split.c: the decoder's shape in the file; of `split`: b_enc (F), and the rest of the weights as ours. */
uint64_t layout_decoder_rows(const layout *l);
uint64_t layout_decoder_width(const layout *l);
int layout_read_split_bias(float *out, const layout *l, const sae_file *f, error *err) MUST_USE;
int layout_join_inputs(sae_model *m, const layout *l, error *err) MUST_USE;
bool layout_is_scalar(const sae_tensor *t);

/* A tensor of n values, all finite; name NULL leaves `out` as it is. */
int layout_read_vector(float *out, const layout *l, const sae_file *f, const char *name, size_t n,
                       error *err) MUST_USE;
int layout_check_finite(const layout *l, const char *name, const float *x, size_t n, error *err) MUST_USE;

/* Fold what the layout says into the weights that were read. */
int layout_fold(sae_model *m, const layout *l, const sae_file *f, error *err) MUST_USE;

#endif
