/* One file that holds all of a run: DIR/checkpoint/state.safetensors. Its tensors are the arrays, its __metadata__ the
 * configuration and the progress as JSON text, the version, and SHA-256s over all of it. */
#ifndef GLOSS_SAE_CHECKPOINT_H
#define GLOSS_SAE_CHECKPOINT_H

#include "sae/sae.h"

#define CHECKPOINT_VERSION 1

typedef struct checkpoint_array {
	const char *name; /* UTF-8, no two alike in one checkpoint */
	sae_dtype dtype;
	size_t n; /* elements */
	void *data;
} checkpoint_array;

/* Bytes that the file will take, with room for a configuration and progress of ordinary size. */
uint64_t checkpoint_bytes(const checkpoint_array *a, size_t n);
/* Whether the file system of `dir` (or of the nearest folder above that exists) has `bytes` free now: the last checkpoint
 * stays until the next one is whole. ERR_LIMIT names what it has and what is needed. */
int checkpoint_check_space(const char *dir, uint64_t bytes, error *err) MUST_USE;

/* Write DIR/checkpoint/state.safetensors; whatever fails or dies on the way, the one before stays as it was. Temporary
 * files of a killed save are taken away first, so one process at a time saves into a folder. The arrays are written from
 * where they are. `done` is the progress. JSON numbers are doubles: whole numbers over 2^53 belong in strings or arrays. */
int checkpoint_save(const char *dir, const cJSON *config, const cJSON *done, const checkpoint_array *a,
                    size_t n, error *err) MUST_USE;

bool checkpoint_exists(const char *dir);

/* An open checkpoint: header, configuration and progress are read and checked, the arrays are not yet.
 * ERR_NOTFOUND: there is none; ERR_FORMAT: damaged, or written by a newer version (names both). */
typedef struct checkpoint checkpoint;
int checkpoint_open(checkpoint **out, const char *dir, error *err) MUST_USE;
const cJSON *checkpoint_config(const checkpoint *c); /* both live until checkpoint_close() */
const cJSON *checkpoint_progress(const checkpoint *c);
const char *checkpoint_path(const checkpoint *c);
/* Elements of the array `name`, of any dtype; 0: there is none. */
size_t checkpoint_array_n(const checkpoint *c, const char *name);
/* Fill a[i].data. Before anything is written there: ERR_FORMAT names an array that the file lacks or that has another
 * size or dtype. All of the file is read and its hash compared; on failure what is in the arrays must not be used. */
int checkpoint_read(checkpoint *c, const checkpoint_array *a, size_t n, error *err) MUST_USE;
void checkpoint_close(checkpoint *c);

/* 0, or ERR_ARG with up to 4 differences in one line: "option 'k' is 32 in the checkpoint, 64 now". Objects are compared
 * member by member, members of members named "plan.lr"; null and absent are alike. Keys in `ignore` (full names, NULL
 * ends the list; NULL for none) do not count, nor what is in them. */
int checkpoint_compare(const cJSON *saved, const cJSON *now, const char *const *ignore, error *err) MUST_USE;

#endif
