/* tokenizer.json (Hugging Face tokenizers) with a byte-level BPE vocabulary: from ids back to exact bytes.
 *
 * Such a vocabulary writes each byte as one visible character (GPT-2's table): the bytes ! to ~, 0xA1 to 0xAC and 0xAE to
 * 0xFF as themselves, the other 68 in their order as U+0100, U+0101, ... Added tokens are plain text. */
#include "sae/sae.h"

#include <stdlib.h>
#include <string.h>

enum { TOKENIZER_MAX = 64 << 20, TOKENIZER_DEPTH = 64, N_VISIBLE_BYTES = 324 };

struct sae_tokenizer {
	uint32_t size;
	uint32_t *start; /* (size + 1) into bytes */
	char *bytes;
	bool *special; /* (size) */
	char sha256[SHA256_HEX];
};

typedef struct entry {
	const char *token; /* in the JSON tree; NULL: a hole */
	bool added, special;
} entry;

typedef struct loader {
	const char *path;
	entry *entries;
	size_t n_entries, cap;
	size_t n_tokens;                  /* tokens in the file: what the highest id is judged by */
	size_t n_bytes;                   /* of all tokens' text: no token has more bytes than text */
	int16_t byte_of[N_VISIBLE_BYTES]; /* of a code point, -1: none */
} loader;

static void invert_byte_table(int16_t byte_of[N_VISIBLE_BYTES])
{
	int16_t next = 256;

	for (int i = 0; i < N_VISIBLE_BYTES; i++)
		byte_of[i] = -1;
	for (int16_t b = 0; b < 256; b++) {
		bool visible = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
		byte_of[visible ? b : next++] = b;
	}
}

/* Whether a pre-tokenizer or decoder, or a step of a Sequence, is of type ByteLevel. */
static bool is_byte_level(const cJSON *step)
{
	const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(step, "type"));
	const cJSON *item;

	if (type && strcmp(type, "ByteLevel") == 0)
		return true;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(
	                                 step, "pretokenizers")) if (is_byte_level(item)) return true;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(
	                                 step, "decoders")) if (is_byte_level(item)) return true;
	return false;
}

static int check_kind(const cJSON *root, const cJSON *model, const char *path, error *err)
{
	const char *type = "BPE"; /* old files leave it out */
	bool fallback = false;
	int rc;

	if (!cJSON_IsObject(model) || !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(model, "vocab"))) {
		type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(model, "type"));
		if (type && strcmp(type, "BPE") != 0)
			return error_set(err, ERR_FORMAT,
			                 "'%s' is a %.40s tokenizer; only byte-level BPE is read", path,
			                 type);
		return error_set(err, ERR_FORMAT, "'%s' has no model with a vocab: not a tokenizer.json",
		                 path);
	}
	rc = json_get_string(&type, model, "type", path, err);
	if (rc == 0)
		rc = json_get_bool(&fallback, model, "byte_fallback", path, err);
	if (rc < 0)
		return rc;
	if (strcmp(type, "BPE") != 0)
		return error_set(err, ERR_FORMAT, "'%s' is a %.40s tokenizer; only byte-level BPE is read",
		                 path, type);
	if (fallback || (!is_byte_level(cJSON_GetObjectItemCaseSensitive(root, "decoder")) &&
	                 !is_byte_level(cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"))))
		return error_set(err, ERR_FORMAT,
		                 "'%s' is a SentencePiece-style BPE (%s); only byte-level BPE is read", path,
		                 fallback ? "byte_fallback" : "no ByteLevel step");
	return 0;
}

/* Puts a token at its id. Ids must be dense enough that the table is in proportion to the file. */
static int add_entry(loader *l, const cJSON *id, const char *token, bool added, bool special, error *err)
{
	size_t at, before = l->n_entries;

	if (!cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble > 0x1p31 ||
	    (double)(uint32_t)id->valuedouble != id->valuedouble)
		return error_set(err, ERR_FORMAT, "'%s': the id of token '%.60s' is not a whole number",
		                 l->path, token);
	at = (size_t)id->valuedouble;
	if (at > 16 * l->n_tokens + 65536)
		return error_set(err, ERR_LIMIT,
		                 "'%s': token '%.60s' has the id %zu, in a file of %zu tokens", l->path,
		                 token, at, l->n_tokens);
	if (at >= before) {
		if (mem_grow(&l->entries, &l->cap, at + 1, sizeof(*l->entries)) < 0)
			return error_nomem(err, "a vocabulary");
		memset(l->entries + before, 0, (at + 1 - before) * sizeof(*l->entries));
		l->n_entries = at + 1;
	}
	if (l->entries[at].token) {
		if (l->entries[at].added && !added)
			return 0; /* the vocabulary repeats an added token */
		return error_set(err, ERR_FORMAT, "'%s': tokens '%.60s' and '%.60s' have the same id %zu",
		                 l->path, l->entries[at].token, token, at);
	}
	l->entries[at] = (entry){ token, added, special };
	l->n_bytes += strlen(token);
	return 0;
}

static int collect(loader *l, const cJSON *added, const cJSON *vocab, error *err)
{
	const cJSON *item;
	int rc = 0;

	if (added && !cJSON_IsNull(added) && !cJSON_IsArray(added))
		return error_set(err, ERR_FORMAT, "'%s': added_tokens is not a list", l->path);
	l->n_tokens = (size_t)cJSON_GetArraySize(vocab) + (size_t)cJSON_GetArraySize(added);
	cJSON_ArrayForEach(item, added)
	{
		const char *content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
		bool special = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "special"));
		if (!content)
			return error_set(err, ERR_FORMAT, "'%s': an added token has no content", l->path);
		rc = add_entry(l, cJSON_GetObjectItemCaseSensitive(item, "id"), content, true, special, err);
		if (rc < 0)
			return rc;
	}
	cJSON_ArrayForEach(item, vocab)
	{
		rc = add_entry(l, item, item->string, false, false, err);
		if (rc < 0)
			return rc;
	}
	return l->n_entries ? 0 : error_set(err, ERR_FORMAT, "'%s': the vocabulary is empty", l->path);
}

/* The bytes of one token; *out moves behind them. */
static int decode(char **out, const loader *l, uint32_t id, error *err)
{
	const char *s = l->entries[id].token;
	size_t n = s ? strlen(s) : 0, length;
	uint32_t point;

	if (n && l->entries[id].added) {
		memcpy(*out, s, n);
		*out += n;
		return 0;
	}
	for (; n; s += length, n -= length) {
		length = utf8_next(s, n, &point);
		if (length == 0 || point >= N_VISIBLE_BYTES || l->byte_of[point] < 0)
			return error_set(err, ERR_FORMAT,
			                 "'%s': token '%.60s' (id %u) is not byte-level: it holds U+%04X",
			                 l->path, l->entries[id].token, id, length ? point : 0xfffd);
		*(*out)++ = (char)l->byte_of[point];
	}
	return 0;
}

static int build(sae_tokenizer *t, const loader *l, error *err)
{
	char *at;
	int rc = 0;

	t->size = (uint32_t)l->n_entries;
	t->start = calloc((size_t)t->size + 1, sizeof(*t->start));
	t->special = calloc(t->size, sizeof(*t->special));
	at = t->bytes = malloc(l->n_bytes + 1);
	if (!t->start || !t->special || !t->bytes)
		return error_nomem(err, "a vocabulary");
	for (uint32_t id = 0; id < t->size && rc == 0; id++) {
		t->special[id] = l->entries[id].special;
		rc = decode(&at, l, id, err);
		t->start[id + 1] = (uint32_t)(at - t->bytes); /* the file has at most 64 MB */
	}
	return rc;
}

int sae_tokenizer_load(sae_tokenizer **out, const char *path, error *err)
{
	loader l = { .path = path };
	sae_tokenizer *t = calloc(1, sizeof(*t));
	const cJSON *model;
	cJSON *root = NULL;
	char *data = NULL;
	size_t length;
	int rc;

	if (!t)
		return error_nomem(err, "a tokenizer");
	rc = file_read(&data, &length, path, TOKENIZER_MAX, err);
	if (rc == 0)
		rc = sha256_bytes(t->sha256, data, length, err);
	if (rc == 0)
		rc = json_parse(&root, data, length, TOKENIZER_MAX, TOKENIZER_DEPTH, path, err);
	if (rc < 0)
		goto out;
	model = cJSON_GetObjectItemCaseSensitive(root, "model");
	rc = check_kind(root, model, path, err);
	if (rc < 0)
		goto out;
	invert_byte_table(l.byte_of);
	rc = collect(&l, cJSON_GetObjectItemCaseSensitive(root, "added_tokens"),
	             cJSON_GetObjectItemCaseSensitive(model, "vocab"), err);
	if (rc == 0)
		rc = build(t, &l, err);
	if (rc < 0)
		goto out;
	*out = t;
	t = NULL;
out:
	free(l.entries);
	cJSON_Delete(root);
	free(data);
	sae_tokenizer_free(t);
	return rc;
}

void sae_tokenizer_free(sae_tokenizer *t)
{
	if (!t)
		return;
	free(t->start);
	free(t->bytes);
	free(t->special);
	free(t);
}

uint32_t sae_tokenizer_size(const sae_tokenizer *t)
{
	return t->size;
}

const char *sae_tokenizer_bytes(const sae_tokenizer *t, uint32_t id, size_t *n)
{
	*n = 0;
	if (id >= t->size)
		return NULL;
	*n = t->start[id + 1] - t->start[id];
	return t->bytes + t->start[id];
}

bool sae_tokenizer_special(const sae_tokenizer *t, uint32_t id)
{
	return id < t->size && t->special[id];
}

const char *sae_tokenizer_sha256(const sae_tokenizer *t)
{
	return t->sha256;
}
