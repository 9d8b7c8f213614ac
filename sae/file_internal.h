/* What the container readers (file.c, safetensors.c, npy.c, npz.c, torch.c) and the dump reader share. */
#ifndef GLOSS_SAE_FILE_INTERNAL_H
#define GLOSS_SAE_FILE_INTERNAL_H

#include "sae/archive.h"
#include "sae/sae.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensor files are little-endian and are read as they are"
#endif

struct sae_file {
	int fd;
	uint64_t size;
	const char *path, *format;
	sae_tensor *tensors; /* in the order of their bytes; .npz: of their names; .pt: as they were saved */
	size_t n_tensors;
	const char **metadata; /* 2 * n_metadata strings: key, value */
	size_t n_metadata;
	archive *archive; /* NULL: no zip archive */
	/* A raw file of several layers: its one tensor is (examples, layers, tokens, d), and layer number `layer` of them is wanted.
	 * n_layers 0: no such dimension. */
	uint32_t n_layers, layer;
	arena mem; /* holds everything above */
};

/* Fill tensors and metadata from the header. The caller closes `f` on failure. */
int file_parse_safetensors(sae_file *f, error *err) MUST_USE;
int file_parse_npy(sae_file *f, error *err) MUST_USE;
int file_parse_zip(sae_file *f, error *err) MUST_USE;
/* From file_parse_zip(): the archive's pickle is `m`, ROOT/data.pkl. */
int file_parse_torch(sae_file *f, const archive_member *m, error *err) MUST_USE;

/* The header of a .npy that is the whole file (`m` NULL) or a member of its archive; all of *t but its name. *is_number: false
 * for text, which is no tensor: *t is left as it was. `label` stands for the path in errors. */
int npy_parse(sae_file *f, sae_tensor *t, bool *is_number, archive_member *m, const char *label,
              error *err) MUST_USE;

/* n elements of the tensor as it is stored, from the storage's element `first` on (of the first run; gaps count). */
int file_read_raw(const sae_file *f, const sae_tensor *t, uint64_t first, size_t n, void *out,
                  error *err) MUST_USE;
/* n integers to I64; `first` is the element that `in` begins with, for the error where one does not fit. */
int file_to_i64(int64_t *out, const void *in, uint64_t first, size_t n, const sae_file *f,
                const sae_tensor *t, error *err) MUST_USE;
/* As sae_file_read_f32 and _i64 (one of the two is not NULL) for a tensor with runs. Reads whole runs in their order, so that
 * all of a tensor, or many rows of it, take one pass over the file. */
int file_read_runs(const sae_file *f, const sae_tensor *t, uint64_t first, uint64_t n, float *f32,
                   int64_t *i64, error *err) MUST_USE;
/* Whether the file holds the elements one after another, in order, from t->offset on. */
bool file_is_plain(const sae_tensor *t);

/* Open `w` for a .safetensors file and write its header; the tensors' bytes follow, in order (t[i].data is not looked at).
 * Every way out is the writer's commit or abort, also after a failure. */
int safetensors_begin(file_writer *w, const char *path, const sae_tensor_out *t, size_t n,
                      const char *const *metadata, size_t n_meta, error *err) MUST_USE;

/* t->count and *bytes from dtype and dims, checked for overflow; `what` names the tensor in the error. */
int file_tensor_size(sae_tensor *t, uint64_t *bytes, const char *path, const char *what, error *err) MUST_USE;

/* An open file of which nothing is parsed yet, for sae_file_close(); *out NULL on failure. */
int file_begin(sae_file **out, const char *path, error *err) MUST_USE;

/* ---- convert.c --------------------------------------------------------------------------------------------------- */

bool convert_is_float(sae_dtype t);
bool convert_is_integer(sae_dtype t); /* BOOL is not */
/* n values of a float dtype to F32. F64 is rounded to nearest (too large: infinity). */
void convert_to_f32(float *out, const void *in, size_t n, sae_dtype t);
/* n values of an integer dtype or BOOL to I64; the index of the first that does not fit, or n. */
size_t convert_to_i64(int64_t *out, const void *in, size_t n, sae_dtype t);

/* One conversion, with its scalar definition and its AVX2/F16C version; equal bits for every input. */
typedef struct convert_kernels {
	const char *name;
	void (*f16_to_f32)(float *out, const uint16_t *in, size_t n);
	void (*bf16_to_f32)(float *out, const uint16_t *in, size_t n);
	void (*f32_to_f16)(uint16_t *out, const float *in, size_t n);
} convert_kernels;
extern const convert_kernels convert_scalar, convert_avx2;
/* The table called `name`, or for NULL the best this CPU runs; NULL when it cannot run it. */
const convert_kernels *convert_kernels_get(const char *name);

#endif
