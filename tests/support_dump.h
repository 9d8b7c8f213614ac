/* Tensor files and dumps made by the tests: right ones by shape, wrong ones byte by byte. */
#ifndef GLOSS_SUPPORT_DUMP_H
#define GLOSS_SUPPORT_DUMP_H

#include "sae/sae.h"

/* A path in a folder of this test's own, made at the first use and removed by leave_folder(); in one of 32
 * static buffers used in turn. */
const char *in_folder(const char *name);
void leave_folder(void);

/* A .safetensors file of this header and these bytes, right or wrong. */
void support_safetensors(const char *path, const char *header, const void *data, size_t n);
/* A .npy file of this version whose header is `dict`. */
void support_npy(const char *path, int version, const char *dict, const void *data, size_t n);

/* Open a tensor file, failing the test where that fails. */
sae_file *tensor_file_open(const char *path);
/* Opening fails with ERR_FORMAT or ERR_LIMIT and one line that names the file and says `words`. */
void tensor_file_refused(const char *path, const char *words);
void tensor_file_said(const error *err, const char *path, const char *words); /* that line */
/* Each fault of the kind, while the file is opened and its tensor `name` (NULL: none) read as floats, ends in `code` and a message. */
void tensor_file_survive(const char *path, fault_kind kind, int code, const char *name);

typedef struct made_dump {
	uint64_t contexts; /* of each shard */
	uint32_t ctx_len, d;
	unsigned shards;
	sae_dtype dtype;
	bool npy;                                 /* else safetensors */
	bool three_dims;                          /* (contexts, ctx_len, d), else (rows, d) */
	bool tokens;                              /* (contexts, ctx_len) I32 in each safetensors shard */
	float (*value)(uint64_t row, uint32_t j); /* NULL: made_value */
	uint32_t (*token)(uint64_t row);          /* NULL: made_token */
} made_dump;

/* Writes shard-0.safetensors (or .npy), ... into the folder. */
void made_dump_write(const char *dir, const made_dump *m);
/* Values that every float dtype holds exactly. */
float made_value(uint64_t row, uint32_t j);
uint32_t made_token(uint64_t row);
/* `n` values in the dtype's own format; malloc'd. */
void *made_encode(const float *x, size_t n, sae_dtype dtype);
/* The folder "dump", made at the first use. */
const char *dump_folder(void);
/* Opening the dump fails with this code and one line that has all of `words`, separated by '|'. */
void dump_refused(const char *path, const sae_dump_opts *o, int code, const char *words);
/* Opens the folder, failing the test where that fails. */
sae_dump *made_dump_open(const char *dir, const sae_dump_opts *o);

#endif
