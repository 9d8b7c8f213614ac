/* Contexts and examples as rows give them, checked before use: a store may come from anywhere. */
#include "store/query_internal.h"

#include <inttypes.h>

uint32_t load_u32le(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t load_u16le(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

float load_f32le(const unsigned char *p)
{
	uint32_t bits = load_u32le(p);
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static store_part part_of(const char *name)
{
	if (name && strcmp(name, "label") == 0)
		return STORE_LABEL;
	return name && strcmp(name, "select") == 0 ? STORE_SELECT : STORE_REPORT;
}

const char *store_part_name(store_part part)
{
	static const char *const names[] = { "label", "select", "report", "any" };

	return names[part];
}

static bool offsets_agree(const context_row *c)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i <= c->n_tokens; i++) {
		uint32_t at = context_row_offset(c, i);

		if (at < last || at > c->text_len)
			return false;
		last = at;
	}
	return true;
}

int context_row_read(context_row *out, sqlite3_stmt *row, int first_column, store *s, error *err)
{
	int64_t n = sqlite3_column_int64(row, first_column + 4);
	context_row c = {
		.id = sqlite3_column_int64(row, first_column),
		.document = sqlite3_column_int64(row, first_column + 1),
		.group = (uint64_t)sqlite3_column_int64(row, first_column + 2),
		.part = part_of((const char *)sqlite3_column_text(row, first_column + 3)),
		.tokens = sqlite3_column_blob(row, first_column + 5),
		.offsets = sqlite3_column_blob(row, first_column + 6),
		.text = (const char *)sqlite3_column_text(row, first_column + 7),
		.text_len = (size_t)sqlite3_column_bytes(row, first_column + 7),
	};

	if (n < 1 || n > UINT32_MAX / 8 || !c.tokens || !c.offsets || !c.text ||
	    sqlite3_column_bytes(row, first_column + 5) != 4 * n ||
	    sqlite3_column_bytes(row, first_column + 6) != 4 * (n + 1))
		return error_set(err, ERR_FORMAT,
		                 "'%s': context %" PRId64 " is corrupt: its arrays are not of %" PRId64
		                 " tokens",
		                 store_path(s), c.id, n);
	c.n_tokens = (uint32_t)n;
	if (!offsets_agree(&c))
		return error_set(err, ERR_FORMAT,
		                 "'%s': context %" PRId64 " is corrupt: token offsets do not fit its text",
		                 store_path(s), c.id);
	*out = c;
	return 0;
}

uint32_t context_row_token(const context_row *c, uint32_t i)
{
	return load_u32le(c->tokens + 4 * (size_t)i);
}

uint32_t context_row_offset(const context_row *c, uint32_t i)
{
	return load_u32le(c->offsets + 4 * (size_t)i);
}

uint32_t context_row_token_at(const context_row *c, uint32_t at)
{
	uint32_t low = 0, high = c->n_tokens;

	while (low < high) { /* the first token that ends behind `at` */
		uint32_t middle = low + (high - low) / 2;

		if (context_row_offset(c, middle + 1) > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const char *const *context_row_texts(const context_row *c, uint32_t first, uint32_t length, arena *mem)
{
	uint32_t begin = context_row_offset(c, first), end = context_row_offset(c, first + length);
	const char **texts = arena_alloc(mem, length, sizeof(*texts));
	char *bytes = arena_alloc(mem, (size_t)(end - begin) + length, 1);

	if (!texts || !bytes)
		return NULL;
	for (uint32_t i = 0; i < length; i++) {
		uint32_t from = context_row_offset(c, first + i), to = context_row_offset(c, first + i + 1);

		memcpy(bytes, c->text + from, to - from);
		bytes[to - from] = '\0';
		texts[i] = bytes;
		bytes += to - from + 1;
	}
	return texts;
}

int example_span_find(example_span *out, int64_t position, uint32_t before, uint32_t after,
                      const context_row *c, store *s, error *err)
{
	uint32_t at, rest;

	if (position < 0 || position >= c->n_tokens)
		return error_set(err, ERR_FORMAT,
		                 "'%s': an example is corrupt: its position %" PRId64
		                 " is not in context %" PRId64,
		                 store_path(s), position, c->id);
	at = (uint32_t)position;
	rest = c->n_tokens - at - 1;
	out->first = at > before ? at - before : 0;
	out->peak = at - out->first;
	out->length = out->peak + 1 + (rest < after ? rest : after);
	return 0;
}

int example_codes_read(float *value, uint32_t length, uint32_t at, float activation, sqlite3_stmt *row,
                       int column, bool wide, store *s, error *err)
{
	error cause = { 0 };
	int rc = store_window_decode(value, length, at, activation, sqlite3_column_blob(row, column),
	                             (size_t)sqlite3_column_bytes(row, column), wide, &cause);

	return rc < 0 ? error_set(err, rc, "'%s' is corrupt: %s", store_path(s), cause.msg) : 0;
}
