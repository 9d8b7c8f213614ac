/* Python pickles as torch.save writes them, read by a machine that can build nothing but plain values: dicts, lists, tuples, text,
 * numbers, None, and descriptions of tensors. It executes nothing; all else that a pickle can ask for is refused by name. */
#ifndef GLOSS_SAE_PICKLE_H
#define GLOSS_SAE_PICKLE_H

#include "sae/sae.h"

typedef enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOL,
	PICKLE_INT,
	PICKLE_FLOAT,
	PICKLE_TEXT,
	PICKLE_TUPLE,
	PICKLE_LIST,
	PICKLE_DICT,
	PICKLE_GLOBAL, /* one of the few names that are known; only while reading */
	PICKLE_STORAGE,
	PICKLE_TENSOR
} pickle_kind;

/* Values are named by their index; 0 is none. */
typedef struct pickle_value {
	pickle_kind kind;
	uint32_t at; /* the byte of the pickle that made it */
	union {
		int64_t i; /* BOOL, INT */
		double f;
		struct {
			uint32_t start, n; /* bytes of the pickle */
		} text;
		struct {
			uint32_t first, last, n; /* items */
			bool ordered;            /* an OrderedDict */
		} list;                          /* TUPLE, LIST, DICT */
		unsigned global;
		struct {
			sae_dtype dtype;
			uint32_t key; /* TEXT: the member that holds it */
			uint64_t
			        count; /* elements of it; a tensor of untyped bytes (U8) has a dtype of its own */
		} storage;
		struct {
			sae_dtype dtype;
			uint32_t storage, offset, size, stride; /* STORAGE, INT, TUPLE of INT, TUPLE of INT */
		} tensor;
	} u;
} pickle_value;

typedef struct pickle_item {
	uint32_t key, value, next; /* key: of a DICT; next: an item, 0: none */
} pickle_item;

typedef struct pickle {
	const unsigned char *data;
	size_t n;
	const char *path; /* as errors name the file */
	pickle_value *values;
	pickle_item *items;
	size_t n_values, cap_values, n_items, cap_items;
	uint32_t root;
} pickle;

/* Read the n bytes (fewer than 2^31), which must outlive `p`; at most 2^20 values. Containers may hold each other in circles, and
 * one of them may be in many places: whoever walks them counts. ERR_FORMAT and ERR_LIMIT name the byte and the opcode or name; pickle_clear() also after them. */
int pickle_read(pickle *p, const unsigned char *data, size_t n, const char *path, error *err) MUST_USE;
void pickle_clear(pickle *p);
/* "'path': byte N of its data.pkl: ..." */
int pickle_fail(const pickle *p, size_t at, int code, error *err, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The text of a TEXT value is `s`. */
bool pickle_is(const pickle *p, uint32_t value, const char *s);

#endif
