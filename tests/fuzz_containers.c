/* Fuzz target: any bytes as a tensor file, as a dump and as a tokenizer. What opens must also be readable. */
#include "tests/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sae/sae.h"

enum { READ_MAX = 1000 }; /* elements */

#define ZEROS_16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
const fuzz_seed fuzz_seeds[] = {
	FUZZ_SEED("\x9e\0\0\0\0\0\0\0{\"__metadata__\":{\"dump\":\"{}\"},"
	          "\"tokens\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
	          "\"activations\":{\"dtype\":\"F16\",\"shape\":[4,2],\"data_offsets\":[16,32]}}" ZEROS_16
	                  ZEROS_16),
	FUZZ_SEED("\x4d\0\0\0\0\0\0\0{\"activations\":{\"dtype\":\"F64\",\"shape\":[1,2,1],\"data_offsets\":["
	          "0,16]}}    "
	          "    " ZEROS_16),
	FUZZ_SEED(
	        "\x93NUMPY\x01\0\x3b\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }" ZEROS_16),
	FUZZ_SEED("\x93NUMPY\x02\0\x38\0\0\0{'descr': '<i8', 'fortran_order': False, 'shape': "
	          "(2,)}\n" ZEROS_16),
	FUZZ_SEED("{\"added_tokens\":[{\"id\":2,\"content\":\"<s>\",\"special\":true}],\"decoder\":{\"type\":"
	          "\"ByteLevel\"},"
	          "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\xc4\xa0the\":1}}}"),
	{ NULL, 0 },
};

static void use_file(const char *path)
{
	static float x[READ_MAX];
	static int64_t ids[READ_MAX];
	sae_file *f = NULL;

	if (sae_file_open(&f, path, NULL) < 0)
		return;
	for (size_t i = 0; i < sae_file_n_tensors(f); i++) {
		const sae_tensor *t = sae_file_tensor_at(f, i);
		uint64_t n = t->count < READ_MAX ? t->count : READ_MAX;
		int rc = sae_file_read_f32(f, t, t->count - n, n, x, NULL);
		if (rc < 0) /* then they are integers, perhaps too large ones */
			rc = sae_file_read_i64(f, t, t->count - n, n, ids, NULL);
		if (rc < 0 && rc != ERR_FORMAT)
			abort();
	}
	sae_file_close(f);
}

static void use_dump(const char *path)
{
	static float x[READ_MAX];
	static uint32_t ids[READ_MAX];
	const sae_dump_info *info;
	sae_dump *d = NULL;

	if (sae_dump_open(&d, &path, 1, NULL, NULL) < 0)
		return;
	info = sae_dump_get_info(d);
	if (info->d_in <= READ_MAX && sae_dump_read(d, info->n_rows - 1, 1, x, NULL) < 0)
		abort(); /* the file is whole: a checked header must hold what it says */
	if (info->has_tokens && info->ctx_len <= READ_MAX &&
	    sae_dump_tokens(d, info->n_contexts - 1, ids, NULL) == ERR_IO)
		abort();
	sae_dump_close(d);
}

static void use_tokenizer(const char *path)
{
	sae_tokenizer *t = NULL;
	size_t n, total = 0;

	if (sae_tokenizer_load(&t, path, NULL) < 0)
		return;
	for (uint32_t id = 0; id < sae_tokenizer_size(t); id++)
		if (sae_tokenizer_bytes(t, id, &n))
			total += n;
	if (total > (1U << 26))
		abort();
	sae_tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("input", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	use_file(path);
	use_dump(path);
	use_tokenizer(path);
	return 0;
}
