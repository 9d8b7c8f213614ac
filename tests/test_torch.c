/* torch's .pt files: those that torch made (tests/data), and pickles that ask for what is not taken. */
#include "tests/support.h"
#include "tests/support_dump.h"
#include "tests/support_zip.h"

#include <stdlib.h>
#include <string.h>

#include "sae/file_internal.h"
#include "sae/pickle.h"

/* ---- Files that torch made ------------------------------------------------------------------------------------------ */

static const char *data_path(const char *name)
{
	const char *source = getenv("GLOSS_SOURCE");
	char folder[FILE_PATH_MAX];

	snprintf(folder, sizeof(folder), "%s/tests/data", source ? source : ".");
	return support_path(folder, name);
}

/* The tensor has this shape, and element i, in whatever range it is read, is i / 4 - 3. */
static void holds(const sae_file *f, const char *name, sae_dtype dtype, unsigned n_dims, const uint64_t *dims)
{
	const sae_tensor *t = sae_file_tensor(f, name);
	error err = { 0 };
	float x[64];

	ck_assert_msg(t != NULL, "%s", name);
	ck_assert_int_eq(t->dtype, dtype);
	ck_assert_uint_eq(t->n_dims, n_dims);
	for (unsigned i = 0; i < n_dims; i++)
		ck_assert_uint_eq(t->dims[i], dims[i]);
	for (uint64_t first = 0; first <= t->count; first++)
		for (uint64_t n = 0; n <= t->count - first; n++) {
			ck_assert_msg(sae_file_read_f32(f, t, first, n, x, &err) == 0, "%s: %s", name,
			              err.msg);
			for (uint64_t i = 0; i < n; i++)
				ck_assert_float_eq(x[i], (float)(first + i) / 4 - 3);
		}
}

#define HOLDS(f, name, dtype, ...)                                                                           \
	holds(f, name, dtype, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t),                  \
	      (const uint64_t[]){ __VA_ARGS__ })

static int64_t whole(const sae_file *f, const char *name, uint64_t i)
{
	const sae_tensor *t = sae_file_tensor(f, name);
	error err = { 0 };
	int64_t x = 0;

	ck_assert_msg(t != NULL, "%s", name);
	ck_assert_msg(sae_file_read_i64(f, t, i, 1, &x, &err) == 0, "%s: %s", name, err.msg);
	return x;
}

static float number(const sae_file *f, const char *name, uint64_t i)
{
	const sae_tensor *t = sae_file_tensor(f, name);
	error err = { 0 };
	float x = 0;

	ck_assert_msg(t && sae_file_read_f32(f, t, i, 1, &x, &err) == 0, "%s: %s", name, err.msg);
	return x;
}

START_TEST(reads_a_state_dict)
{
	sae_file *f = tensor_file_open(data_path("state_dict.pt"));

	ck_assert_uint_eq(sae_file_n_tensors(f), 4);
	HOLDS(f, "encoder.weight", SAE_F32, 5, 3);
	HOLDS(f, "encoder.bias", SAE_F32, 5);
	ck_assert_int_eq(whole(f, "k", 0), 4);
	/* (3, 5), the transpose of what element i is i / 4 - 3 of */
	for (uint64_t i = 0; i < 3; i++)
		for (uint64_t j = 0; j < 5; j++)
			ck_assert_float_eq(number(f, "decoder.weight", i * 5 + j),
			                   (float)(j * 3 + i) / 4 - 3);
	sae_file_close(f);
}
END_TEST

START_TEST(reads_what_torch_saves)
{
	static const char *const files[] = { "values.pt", "values_protocol4.pt" };
	static const char *const ints[] = { "ints.8", "ints.16", "ints.32", "ints.64" };
	sae_file *f = tensor_file_open(data_path(files[_i]));

	HOLDS(f, "half", SAE_F16, 7);
	HOLDS(f, "bfloat", SAE_BF16, 2, 2);
	HOLDS(f, "double", SAE_F64, 3);
	HOLDS(f, "parameter", SAE_F32, 2, 3);
	HOLDS(f, "turned", SAE_F32, 3, 4);
	HOLDS(f, "slice", SAE_F32, 2, 5);
	HOLDS(f, "cubes", SAE_F32, 2, 3, 4);
	holds(f, "scalar", SAE_F32, 0, NULL);
	HOLDS(f, "none", SAE_F32, 0, 3);
	HOLDS(f, "nested.deep.0", SAE_F32, 2);
	HOLDS(f, "nested.deep.1.er", SAE_F32, 1);
	for (size_t i = 0; i < ARRAY_LEN(ints); i++)
		for (int64_t j = 0; j < 4; j++)
			ck_assert_int_eq(whole(f, ints[i], (uint64_t)j), j - 2);
	for (uint64_t j = 0; j < 3; j++)
		ck_assert(whole(f, "unsigned.uint16", j) == (int64_t)j + 3 &&
		          whole(f, "unsigned.uint32", j) == (int64_t)j + 3 &&
		          whole(f, "unsigned.uint64", j) == (int64_t)j + 3);
	ck_assert(whole(f, "byte", 2) == 2 && whole(f, "bool", 0) == 1 && whole(f, "bool", 1) == 0);
	ck_assert(number(f, "column", 0) == 0 && number(f, "column", 1) == -2.75F &&
	          number(f, "column", 2) == -1.5F);
	ck_assert(whole(f, "k", 0) == 32 && whole(f, "long", 0) == -(INT64_C(1) << 40) &&
	          whole(f, "flag", 0) == 1);
	ck_assert(whole(f, "sizes", 0) == 1 && whole(f, "sizes", 2) == 70000);
	ck_assert(number(f, "mixed", 0) == 1 && number(f, "mixed", 1) == 2.5F &&
	          number(f, "threshold", 0) == 0.25F);
	ck_assert_str_eq(sae_file_metadata(f, "name"), "TopK \xc3\xa9");
	ck_assert_uint_eq(sae_file_n_tensors(f), 27);
	sae_file_close(f);
}
END_TEST

START_TEST(reads_a_lone_tensor_and_no_crcs)
{
	sae_file *f = tensor_file_open(data_path("tensor.pt"));

	HOLDS(f, "", SAE_F32, 2, 3);
	sae_file_close(f);
	f = tensor_file_open(data_path("no_crc.pt"));
	HOLDS(f, "x", SAE_F32, 2);
	sae_file_close(f);
}
END_TEST

START_TEST(reads_what_numpy_saves)
{
	static const char *const files[] = { "arrays.npz", "arrays_compressed.npz" };
	sae_file *f = tensor_file_open(data_path(files[_i]));

	HOLDS(f, "W", SAE_F32, 3, 4);
	HOLDS(f, "F", SAE_F32, 3, 4);
	ck_assert_int_eq(whole(f, "n", 0), 7);
	sae_file_close(f);
}
END_TEST

/* ---- Files that are not taken ----------------------------------------------------------------------------------------- */

START_TEST(refuses_other_files_of_torch)
{
	tensor_file_refused(data_path("legacy.pt"), "torch's old format");
	tensor_file_refused(data_path("module.pt"), "byte 2 of its data.pkl: '__main__.Sae' is not taken");
}
END_TEST

/* x.pt with this pickle and a storage of 64 bytes, 0. */
static const char *write_pickle(const void *pickled, size_t n)
{
	static const float storage[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	const made_member m[] = { { "x/data.pkl", pickled, n, true },
		                  { "x/byteorder", "little", 6, false },
		                  { "x/data/0", storage, sizeof(storage), false } };
	const char *path = in_folder("x.pt");
	made_zip z = zip_make(m, 3, false);

	support_put(path, z.bytes, z.n);
	zip_free(&z);
	return path;
}

#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
#define STORAGE(type, n)                                                                                     \
	"(X\7\0\0\0storagectorch\n" type "\nX\1\0\0\0"                                                       \
	"0X\3\0\0\0cpuK" n "tQ"
#define TENSOR(layout) "\x80\2" REBUILD STORAGE("FloatStorage", "\20") layout "\x89}tR."
#define PARAMETER(part)                                                                                      \
	"\x80\2"                                                                                             \
	"ctorch._utils\n_rebuild_parameter\n" part "R."
#define WHOLE "K\0K\4K\4\x86K\4K\1\x86"
#define BYTES(literal)                                                                                       \
	{                                                                                                    \
		literal, sizeof(literal) - 1                                                                 \
	}

typedef struct lie {
	struct {
		const char *bytes;
		size_t n;
	} pickle;
	const char *words;
} lie;

static void refuse_all(const lie *bad, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tensor_file_refused(write_pickle(bad[i].pickle.bytes, bad[i].pickle.n), bad[i].words);
	leave_folder();
}

START_TEST(takes_its_own_pickle)
{
	static const char pickled[] = TENSOR(WHOLE);
	sae_file *f = tensor_file_open(write_pickle(pickled, sizeof(pickled) - 1));
	float x[16];
	error err = { 0 };

	ck_assert_uint_eq(sae_file_n_tensors(f), 1);
	ck_assert_int_eq(sae_file_read_f32(f, sae_file_tensor_at(f, 0), 0, 16, x, &err), 0);
	for (int i = 0; i < 16; i++)
		ck_assert_float_eq(x[i], (float)(i + 1));
	sae_file_close(f);
	leave_folder();
}
END_TEST

START_TEST(executes_nothing)
{
	static const lie bad[] = {
		{ BYTES("\x80\2"
		        "cos\nsystem\nX\2\0\0\0id\x85R."),
		  "byte 2 of its data.pkl: 'os.system' is not taken" },
		{ BYTES("\x80\4\x8c\2os\x8c\6system\x93\x8c\2id\x85R."),
		  "byte 14 of its data.pkl: 'os.system'" },
		{ BYTES("\x80\2"
		        "cbuiltins\neval\n."),
		  "'builtins.eval' is not taken" },
		{ BYTES("\x80\2"
		        "ctorch.storage\n_load_from_bytes\n."),
		  "'torch.storage._load_from_bytes'" },
		{ BYTES("\x80\2"
		        "ctorch\nload\n."),
		  "'torch.load'" },
		{ BYTES("\x80\2"
		        "ctorch\nComplexFloatStorage\n."),
		  "'torch.ComplexFloatStorage'" },
		{ BYTES("\x80\2"
		        "ca\x1b[2Jb\nc\n."),
		  "a<U+001B>[2Jb.c" },
		{ BYTES("\x80\2"
		        "ctorch\nFloatStorage\n)R."),
		  "REDUCE of the name of a type" },
		{ BYTES("\x80\2"
		        "ctorch\nFloatStorage\n."),
		  "is a name or a storage" },
		{ BYTES("\x80\2"
		        "K\1)R."),
		  "REDUCE of what is no known name" },
		{ BYTES("\x80\2)R."), "REDUCE of what is no known name" },
		{ BYTES("\x80\2"
		        "ccollections\nOrderedDict\nK\1\x85R."),
		  "OrderedDict with arguments" },
		{ BYTES("\x80\2K\1K\1\x93."), "a name that is no text" },
		{ BYTES("\x80\2"
		        "(ios\nsystem\n."),
		  "byte 3 of its data.pkl: opcode INST is not taken" },
		{ BYTES("\x80\2"
		        "(o."),
		  "opcode OBJ is not taken" },
		{ BYTES("\x80\2\x82\1."), "opcode EXT1 is not taken" },
		{ BYTES("\x80\2\x81."), "opcode NEWOBJ is not taken" },
		{ BYTES("\x80\2K\1"
		        "2."),
		  "opcode DUP is not taken" },
		{ BYTES("\x80\2Px\n."), "opcode PERSID is not taken" },
		{ BYTES("\x80\2"
		        "C\1x."),
		  "opcode SHORT_BINBYTES is not taken" },
		{ BYTES("\x80\2\x8f."), "opcode EMPTY_SET is not taken" },
		{ BYTES("\x80\2\xff."), "0xff is no opcode" },
		{ BYTES("\x80\2}}b."), "BUILD with state is not taken" },
		{ BYTES("\x80\2"
		        "ccollections\nOrderedDict\n)R}X\1\0\0\0aK\1sb."),
		  "BUILD with state is not taken" },
		{ BYTES("\x80\2"
		        "ccollections\nOrderedDict\n)R}X\11\0\0\0_metadataK\1sb."),
		  "BUILD with state" },
		{ BYTES("\x80\2}b."), "BUILD with state is not taken" },
	};

	refuse_all(bad, ARRAY_LEN(bad));
}
END_TEST

START_TEST(refuses_broken_pickles)
{
	static const lie bad[] = {
		{ BYTES(""), "byte 0 of its data.pkl: the pickle ends without STOP" },
		{ BYTES("\x80\2"), "byte 2 of its data.pkl: the pickle ends without STOP" },
		{ BYTES("\x80\1."), "protocol 1; 2 to 5" },
		{ BYTES("\x80\6."), "protocol 6; 2 to 5" },
		{ BYTES("\x80\2\x80\2."), "protocol 2; 2 to 5" },
		{ BYTES("\x80\2."), "other than one value" },
		{ BYTES("\x80\2NN."), "other than one value" },
		{ BYTES("\x80\2N(."), "other than one value" },
		{ BYTES("\x80\2N.N"), "bytes behind STOP" },
		{ BYTES("\x80\4\x95\5\0\0\0\0\0\0\0N."), "past the end" },
		{ BYTES("\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xffN."), "past the end" },
		{ BYTES("\x80\2J\1"), "ends inside of an opcode" },
		{ BYTES("\x80\2X\2\0\0\0\xc3\x28."), "text that is no UTF-8" },
		{ BYTES("\x80\2X\3\0\0\0\xed\xa0\x80."), "text that is no UTF-8" },
		{ BYTES("\x80\2X\xff\xff\xff\xff"
		        "abc."),
		  "ends inside of an opcode" },
		{ BYTES("\x80\2\x8c\7abc."), "ends inside of an opcode" },
		{ BYTES("\x80\2"
		        "cos"),
		  "ends inside of an opcode" },
		{ BYTES("\x80\2"
		        "cos\nsystem"),
		  "ends inside of an opcode" },
		{ BYTES("\x80\2\x8a\xff"
		        "1."),
		  "a whole number of 255 bytes" },
		{ BYTES("\x80\2h\0."), "memo 0 was never given" },
		{ BYTES("\x80\2Nq\0h\1."), "memo 1 was never given" },
		{ BYTES("\x80\2j\xff\xff\xff\xff."), "memo 4294967295 was never given" },
		{ BYTES("\x80\2q\0."), "nothing is on the stack" },
		{ BYTES("\x80\2N(q\0."), "nothing is on the stack" },
		{ BYTES("\x80\2Nq\1."), "memo 1 comes after 0" },
		{ BYTES("\x80\2Nr\xff\xff\xff\x7f."), "memo 2147483647 comes after 0" },
		{ BYTES("\x80\2t."), "no mark is open" },
		{ BYTES("\x80\2e."), "no mark is open" },
		{ BYTES("\x80\2u."), "no mark is open" },
		{ BYTES("\x80\2(e."), "more is taken off the stack" },
		{ BYTES("\x80\2N\x86."), "more is taken off the stack" },
		{ BYTES("\x80\2N(N\x86."), "more is taken off the stack" },
		{ BYTES("\x80\2Na."), "more is taken off the stack" },
		{ BYTES("\x80\2]NNs."), "items for what is no dict" },
		{ BYTES("\x80\2}Na."), "items for what is no list" },
		{ BYTES("\x80\2)(Ne."), "items for what is no list" },
		{ BYTES("\x80\2}(Nu."), "a key without its value" },
		{ BYTES("\x80\2}G\0\0\0\0\0\0\0\0K\1s."), "neither text nor a whole number" },
		{ BYTES("\x80\2}X\3\0\0\0a\nbK\1s."), "control character" },
		{ BYTES("\x80\2}X\1\0\0\0aX\1\0\0\0\0s."), "holds a NUL" },
		{ BYTES("\x80\2}(X\1\0\0\0aK\1X\1\0\0\0aK\2u."), "has the value 'a' twice" },
		{ BYTES("\x80\2}(X\1\0\0\0a}X\1\0\0\0bK\1sX\3\0\0\0a.bK\2u."), "has the value 'a.b' twice" },
		{ BYTES("\x80\2]q\0h\0a."), "nested deeper than 64" },
		{ BYTES("\x80\2}q\0X\1\0\0\0ah\0s."), "nested deeper than 64" },
	};

	refuse_all(bad, ARRAY_LEN(bad));
}
END_TEST

START_TEST(refuses_lying_tensors)
{
	static const lie bad[] = {
		{ BYTES(TENSOR("K\0K\4K\5\x86K\5K\1\x86")), "goes past the end of its storage" },
		{ BYTES(TENSOR("K\1K\4K\4\x86K\4K\1\x86")), "goes past the end of its storage" },
		{ BYTES(TENSOR("K\20K\1\x85K\1\x85")), "goes past the end of its storage" },
		{ BYTES(TENSOR("J\xff\xff\xff\xffK\4K\4\x86K\4K\1\x86")), "begins before its storage" },
		{ BYTES(TENSOR("K\0J\xff\xff\xff\xffK\4\x86K\4K\1\x86")), "has the size -1" },
		{ BYTES(TENSOR("K\0K\4K\4\x86K\4J\xff\xff\xff\xff\x86")), "has the stride -1" },
		{ BYTES(TENSOR("K\0K\4K\4\x86K\4\x85")), "another number of strides" },
		{ BYTES(TENSOR("K\0\x8a\5\0\0\0\0\1\x8a\5\0\0\0\0\1\x86K\4K\1\x86")), "overflows" },
		{ BYTES(TENSOR("K\0\x8a\5\0\0\0\0\1\x85K\0\x85")), "strides that are not read" },
		{ BYTES(TENSOR("K\0K\4K\4\x86K\0K\1\x86")), "strides that are not read" },
		{ BYTES(TENSOR("K\0K\4K\4\x86K\2K\1\x86")), "strides that are not read" },
		{ BYTES(TENSOR("K\0K\2K\2\x86K\5K\2\x86")), "strides that are not read" },
		{ BYTES(TENSOR("K\0K\2K\2K\2\x87K\4K\1K\2\x87")), "strides that are not read" },
		{ BYTES(TENSOR("K\0K\2\x85\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7f\x85")), "past the end" },
		{ BYTES(TENSOR("K\0K\4K\2\x86\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7fK\1\x86")),
		  "strides that overflow" },
		{ BYTES(TENSOR("K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t")),
		  "more than 8 dimensions" },
		{ BYTES(TENSOR("K\0K\4K\4K\4\x86")), "a tensor that is not plain" },
		{ BYTES(TENSOR("K\0G\0\0\0\0\0\0\0\0K\4\x86K\4K\1\x86")), "a tensor that is not plain" },
		{ BYTES(TENSOR("NK\4\x85K\1\x85")), "a tensor that is not plain" },
		{ BYTES("\x80\2" REBUILD STORAGE("FloatStorage", "\20") WHOLE "\x89}}tR."), "not plain" },
		{ BYTES("\x80\2" REBUILD STORAGE("FloatStorage", "\20") WHOLE "\x89}NNstR."), "with hooks" },
		{ BYTES("\x80\2" REBUILD "N" WHOLE "\x89}tR."), "a tensor that is not plain" },
		{ BYTES("\x80\2" REBUILD STORAGE("FloatStorage", "\17") WHOLE "\x89}tR."),
		  "a storage of 15 x F32, member 'x/data/0' has 64 bytes" },
		{ BYTES("\x80\2" REBUILD STORAGE("LongStorage", "\20") WHOLE "\x89}tR."),
		  "a storage of 16 x I64, member 'x/data/0' has 64 bytes" },
		{ BYTES("\x80\2"
		        "ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE("ByteStorage",
		                                                       "\100") "K\0K\21\x85K\1\x85\x89}"
		                                                               "ctorch\nuint32\ntR."),
		  "goes past the end of its storage" },
		{ BYTES("\x80\2"
		        "ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE("FloatStorage",
		                                                       "\20") "K\0K\20\x85K\1\x85\x89}"
		                                                              "ctorch\nuint32\ntR."),
		  "a tensor that is not plain" },
		{ BYTES("\x80\2"
		        "ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE("ByteStorage",
		                                                       "\100") "K\0K\20\x85K\1\x85\x89}"
		                                                               "NtR."),
		  "a tensor that is not plain" },
		{ BYTES("\x80\2"
		        "ctorch\nuint16\n."),
		  "is a name or a storage" },
		{ BYTES("\x80\2" STORAGE("FloatStorage", "\20") "."), "is a name or a storage" },
		{ BYTES("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
		        "7X\3\0\0\0cpuK\20tQ."),
		  "is a name or a storage" },
		{ BYTES("\x80\2" REBUILD "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
		        "7X\3\0\0\0cpuK\20tQ" WHOLE "\x89}tR."),
		  "lacks the member 'x/data/7'" },
		{ BYTES("\x80\2" REBUILD
		        "(X\7\0\0\0storagectorch\nFloatStorage\nX\11\0\0\0../data/0X\3\0\0\0cpuK\20tQ" WHOLE
		        "\x89}tR."),
		  "lacks the member 'x/data/../data/0'" },
		{ BYTES("\x80\2(X\7\0\0\0storageNX\1\0\0\0"
		        "0X\3\0\0\0cpuK\20tQ."),
		  "names no storage" },
		{ BYTES("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
		        "0X\3\0\0\0cpuJ\0\0\0\x80tQ."),
		  "names no storage" },
		{ BYTES("\x80\2NQ."), "names no storage" },
		{ BYTES(PARAMETER("N\x88}\x87")), "a parameter that is no plain tensor" },
		{ BYTES(PARAMETER("N\x85")), "a parameter that is no plain tensor" },
	};

	refuse_all(bad, ARRAY_LEN(bad));
}
END_TEST

/* Containers in containers: a million deep, in a circle, and ten in each of ten in each of ten. */
START_TEST(refuses_what_has_no_end)
{
	enum { N = 1000000 };
	char *deep = malloc(N + 8);
	text many;

	ck_assert_ptr_nonnull(deep);
	memset(deep, '(', N);
	memcpy(deep, "\x80\2", 2);
	tensor_file_refused(write_pickle(deep, N), "nested deeper than 64");
	memset(deep + 2, ']', N); /* lists on the stack, each appended to the one before */
	memset(deep + 2 + N / 2, 'a', N / 2 - 1);
	deep[N + 1] = '.';
	tensor_file_refused(write_pickle(deep, N + 2), "nested deeper than 64");
	memset(deep + 2, 'N', N);
	tensor_file_refused(write_pickle(deep, N + 2), "ends without STOP");
	memcpy(deep, "\x80\2)", 3);
	memset(deep + 3, '\x85', N - 1);
	deep[N + 2] = '.';
	tensor_file_refused(write_pickle(deep, N + 3), "nested deeper than 64");
	free(deep);
	text_init(
	        &many,
	        1 << 16); /* [None, None], and ten times ten of the list before, as a dict's only value in the end */
	ck_assert_int_eq(text_add(&many, "\x80\2]q\0(NNe\x85", 10), 0);
	for (char i = 0; i < 20; i++) {
		ck_assert_int_eq(text_add(&many, (char[]){ 'q', i, '0' }, 2), 0);
		ck_assert_int_eq(text_adds(&many, "("), 0);
		for (int j = 0; j < 10; j++)
			ck_assert_int_eq(text_add(&many, (char[]){ 'h', i }, 2), 0);
		ck_assert_int_eq(text_adds(&many, "t\x86"), 0);
	}
	ck_assert_int_eq(text_adds(&many, "."), 0);
	tensor_file_refused(write_pickle(many.data, many.len), "more than 1048576 values");
	text_free(&many);
	leave_folder();
}
END_TEST

static void write_members(const char *path, const made_member *m, size_t n)
{
	made_zip z = zip_make(m, n, false);

	support_put(path, z.bytes, z.n);
	zip_free(&z);
}

START_TEST(refuses_other_archives)
{
	const char *path = in_folder("x.pt");
	const made_member big[] = { { "x/data.pkl", "\x80\2N.", 4, false },
		                    { "x/byteorder", "big", 3, false } };
	const made_member script[] = { { "x/data.pkl", "\x80\2N.", 4, false },
		                       { "x/constants.pkl", "", 0, false } };
	const made_member bare[] = { { "data.pkl", "\x80\2N.", 4, false } };
	char *zeros = calloc(1, (1 << 24) + 1);
	const made_member large[] = { { "x/data.pkl", zeros, (1 << 24) + 1, true } };
	made_zip z;

	ck_assert_ptr_nonnull(zeros);
	write_members(path, big, 2);
	tensor_file_refused(path, "is not little-endian");
	write_members(path, script, 2);
	tensor_file_refused(path, "TorchScript program");
	write_members(path, large, 1);
	tensor_file_refused(path, "has 16777217 bytes, at most 16777216 are read");
	free(zeros);
	write_members(path, bare, 1); /* None: nothing in it */
	sae_file_close(tensor_file_open(path));
	z = zip_make(bare, 1, false);
	z.bytes[z.data[0] + 2] = ')';
	support_put(path, z.bytes, z.n);
	tensor_file_refused(path, "damaged: its CRC is");
	zip_free(&z);
	leave_folder();
}
END_TEST

/* ---- Mutations, faults -------------------------------------------------------------------------------------------------- */

/* Bytes of a right pickle changed at random: whatever comes, no crash, one line. */
START_TEST(survives_mutations)
{
	static const char right[] =
	        "\x80\2"
	        "ccollections\nOrderedDict\nq\0)Rq\1(X\1\0\0\0aq\2" REBUILD STORAGE("FloatStorage", "\20")
	                WHOLE "\x89}tRq\3X\1\0\0\0kq\4K\5X\1\0\0\0fq\5G\x3f\xf0\0\0\0\0\0\0"
	                      "X\1\0\0\0lq\6]q\7(K\1K\2h\6eu}X\11\0\0\0_metadata}sb.";
	enum { RUNS = 20000 };
	unsigned char bytes[sizeof(right)];
	size_t good = 0;

	for (uint64_t run = 0; run < RUNS; run++) {
		size_t n = sizeof(right) - 1;
		error err = { 0 };
		pickle p;
		int rc;

		memcpy(bytes, right, sizeof(right));
		for (uint64_t i = 0; i < run % 4; i++) {
			uint64_t h = hash64_mix(run, i);
			unsigned char *at = bytes + h % n;
			/* another bit, another byte of this pickle, any byte, or a cut */
			if (h >> 60 < 4)
				*at ^= (unsigned char)(1U << (h >> 32) % 8);
			else if (h >> 60 < 9)
				*at = (unsigned char)right[(h >> 32) % n];
			else if (h >> 60 < 15)
				*at = (unsigned char)(h >> 40);
			else if (n > 1)
				n = h % n + 1;
		}
		rc = pickle_read(&p, bytes, n, "x", &err);
		pickle_clear(&p);
		good += rc == 0;
		ck_assert(rc == 0 ||
		          ((rc == ERR_FORMAT || rc == ERR_LIMIT) && err.msg[0] && !strchr(err.msg, '\n')));
	}
	ck_assert_uint_ge(good, RUNS / 4); /* those left as they were */
	ck_assert_uint_lt(good, RUNS / 2 + RUNS / 4);
}
END_TEST

START_TEST(survives_every_fault)
{
	const char *path = data_path("values.pt");

	tensor_file_survive(path, FAULT_ALLOC, ERR_NOMEM, "turned");
	tensor_file_survive(path, FAULT_READ, ERR_IO, "turned");
}
END_TEST

static void cases(Suite *s)
{
	TCase *real = SUPPORT_CASE(s, "real files", reads_a_state_dict, reads_a_lone_tensor_and_no_crcs,
	                           refuses_other_files_of_torch);

	tcase_add_loop_test(real, reads_what_torch_saves, 0, 2);
	tcase_add_loop_test(real, reads_what_numpy_saves, 0, 2);
	SUPPORT_CASE(s, "pickles", takes_its_own_pickle, executes_nothing, refuses_broken_pickles,
	             refuses_lying_tensors, refuses_what_has_no_end, refuses_other_archives);
	SUPPORT_CASE(s, "trouble", survives_mutations, survives_every_fault);
}

SUPPORT_MAIN("torch", cases)
