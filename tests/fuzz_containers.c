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
	/* .npz, and .pt without CRCs, so that what changes its pickle is not noticed by them */
	FUZZ_SEED("PK\3\4\24\0\0\0\0\0\0\0!\0j\247\236FU\0\0\0U\0\0\0\17\0\0\0activations.npy\223NUMPY\1\0;\0"
	          "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	          "\0PK\3\4\24\0\0\0\0\0\0\0!\0\264\373_\\J\0\0\0J\0\0\0\n\0\0\0tokens.npy\223NUMPY\1\08\0{'"
	          "descr': '<i4', 'fortran_order': True, 'shape': (1, 2)}\0\0\0\0\0\0\0\0PK\1\2\24\0\24\0\0\0"
	          "\0\0\0\0!\0j\247\236FU\0\0\0U\0\0\0\17\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0activations.npyPK"
	          "\1\2\24\0\24\0\0\0\0\0\0\0!\0\264\373_\\J\0\0\0J\0\0\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\202\0\0"
	          "\0tokens.npyPK\5\6\0\0\0\0\2\0\2\0u\0\0\0\364\0\0\0\0\0"),
	FUZZ_SEED("PK\3\4\24\0\0\0\0\0\0\0!\0\0\0\0\0\231\0\0\0\231\0\0\0\n\0\0\0r/data.pkl\200\2}(X\13\0\0\0"
	          "activationsctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1"
	          "\0\0\0000X\3\0\0\0cpuK\6tQK\0K\2K\3\206K\1K\2\206\211}tRX\1\0\0\0lq\0](K\1K\2eX\4\0\0\0na"
	          "meX\1\0\0\0tu.PK\3\4\24\0\0\0\0\0\0\0!\0\0\0\0\0\6\0\0\0\6\0\0\0\13\0\0\0r/byteorderlittl"
	          "ePK\3\4\24\0\0\0\0\0\0\0!\0\0\0\0\0\30\0\0\0\30\0\0\0\10\0\0\0r/data/0\0\0\0\0\0\0\0\0\0\0"
	          "\0\0\0\0\0\0\0\0\0\0\0\0\0\0PK\1\2\24\0\24\0\0\0\0\0\0\0!\0\0\0\0\0\231\0\0\0\231\0\0\0\n"
	          "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0r/data.pklPK\1\2\24\0\24\0\0\0\0\0\0\0!\0\0\0\0\0\6\0\0"
	          "\0\6\0\0\0\13\0\0\0\0\0\0\0\0\0\0\0\0\0\301\0\0\0r/byteorderPK\1\2\24\0\24\0\0\0\0\0\0\0!"
	          "\0\0\0\0\0\30\0\0\0\30\0\0\0\10\0\0\0\0\0\0\0\0\0\0\0\0\0\360\0\0\0r/data/0PK\5\6\0\0\0\0"
	          "\3\0\3\0\247\0\0\0.\1\0\0\0\0"),
	FUZZ_SEED("\x0a\x0e\x0a\x05<unk>\x15\0\0\x80\xbf\x18\x02\x0a\x0f\x0a\x06<0x0A>"
	          "\x15\0\0\0\0\x18\x06\x12\x02xy"),
	FUZZ_SEED("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"\xe2\x96\x81"
	          "a\",-1],[\"<0x0A>\",0]]}}"),
	FUZZ_SEED("\xbd\0\0\0\0\0\0\0{\"lengths\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]},"
	          "\"mask\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[8,12]},"
	          "\"activations\":{\"dtype\":\"F16\",\"shape\":[2,2,1,2],\"data_offsets\":[12,28]}}"
	          "\2\0\0\0\1\0\0\0\1\1\1\0" ZEROS_16),
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

static void use_dump(const char *path, bool checked)
{
	static float x[READ_MAX];
	static uint32_t ids[READ_MAX];
	const sae_dump_info *info;
	sae_dump *d = NULL;

	if (sae_dump_open(&d, &path, 1, NULL, NULL) < 0)
		return;
	info = sae_dump_get_info(d);
	if (info->d_in <= READ_MAX && sae_dump_read(d, info->n_rows - 1, 1, x, NULL) < 0 && !checked)
		abort(); /* the file is whole: a checked header must hold what it says, but a CRC may not */
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
	use_dump(path, size > 0 && data[0] == 'P');
	use_tokenizer(path);
	return 0;
}
