/* Tensors as zip archives: NumPy's .npz and torch's .pt. Stored, not deflated; equal tensors give equal bytes. */
#ifndef GLOSS_SAE_ZIP_WRITE_H
#define GLOSS_SAE_ZIP_WRITE_H

#include "sae/sae.h"

typedef struct zip_part { /* one after the other, the bytes of a member */
	const void *head;
	size_t head_bytes;
	const void *data;
	uint64_t data_bytes;
} zip_part;

/* An archive of n members; what is there is replaced when the new one is whole. All pointers need live for the call only. */
int zip_write(const char *path, const char *const *names, const zip_part *parts, size_t n,
              error *err) MUST_USE;

/* NAME.npy for each tensor. */
int npz_write(const char *path, const sae_tensor_out *t, size_t n, error *err) MUST_USE;
/* What torch.save() makes of a dict of contiguous tensors (F32, I32, I64), readable with weights_only. */
int torch_write(const char *path, const sae_tensor_out *t, size_t n, error *err) MUST_USE;

#endif
