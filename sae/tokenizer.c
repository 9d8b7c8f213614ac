/* Tokenizer files: from ids back to exact bytes. tokenizer.json (Hugging Face tokenizers) here, tokenizer.model in
 * sentencepiece.c.
 *
 * A byte-level vocabulary writes each byte as one visible character (GPT-2's table): the bytes ! to ~, 0xA1 to 0xAC and 0xAE to
 * 0xFF as themselves, the other 68 in their order as U+0100, U+0101, ... A SentencePiece-style one (BPE or Unigram) writes a
 * blank as U+2581 and single bytes as <0xHH>. WordPiece marks what goes on a word by ##; all else begins one, with a blank.
 * Added tokens are plain text. */
#include "sae/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

enum { TOKENIZER_MAX = 64 << 20, TOKENIZER_DEPTH = 64, N_VISIBLE_BYTES = 324 };

typedef struct entry {
	const char *token; /* in the JSON tree; NULL: a hole */
	bool added, special;
} entry;

typedef enum kind { BYTE_LEVEL, SENTENCEPIECE, WORDPIECE } kind;

typedef struct loader {
	const char *path;
	kind kind;
	char mark[16]; /* SENTENCEPIECE: what stands for a blank; WORDPIECE: what goes on a word */
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

/* What stands for a blank by a Metaspace or Replace step of a normalizer, pre-tokenizer or decoder: to l->mark. */
static void find_mark(loader *l, const cJSON *step)
{
	static const char *const lists[] = { "pretokenizers", "decoders", "normalizers" };
	const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(step, "type"));
	const char *mark = NULL, *content;
	const cJSON *item;

	if (type && strcmp(type, "Metaspace") == 0) {
		mark = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(step, "replacement"));
		mark = mark ? mark : SENTENCEPIECE_BLANK;
	} else if (type && strcmp(type, "Replace") == 0) {
		mark = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(
		        cJSON_GetObjectItemCaseSensitive(step, "pattern"), "String"));
		content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(step, "content"));
		if (mark && content && strcmp(mark, " ") == 0)
			mark = content; /* the way there, in a normalizer */
		else if (!content || strcmp(content, " ") != 0)
			mark = NULL;
	}
	if (mark && *mark && strcmp(mark, " ") != 0 && strlen(mark) < sizeof(l->mark) && !*l->mark)
		memcpy(l->mark, mark, strlen(mark) + 1);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(step, lists[i])) find_mark(l, item);
}

static int choose_bpe(loader *l, const cJSON *root, bool fallback, error *err)
{
	bool level = is_byte_level(cJSON_GetObjectItemCaseSensitive(root, "decoder")) ||
	             is_byte_level(cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"));

	if (!level && !fallback && !*l->mark)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is a BPE of unknown kind: it has no ByteLevel step, no Metaspace, no "
		                 "byte_fallback",
		                 l->path);
	l->kind = level && !(fallback && *l->mark) ? BYTE_LEVEL : SENTENCEPIECE;
	return 0;
}

static int choose_wordpiece(loader *l, const cJSON *model, error *err)
{
	const char *prefix = "##";
	int rc = json_get_string(&prefix, model, "continuing_subword_prefix", l->path, err);

	if (rc == 0 && strlen(prefix) >= sizeof(l->mark))
		rc = error_set(err, ERR_FORMAT, "'%s': continuing_subword_prefix is too long", l->path);
	if (rc < 0)
		return rc;
	memcpy(l->mark, prefix, strlen(prefix) + 1);
	l->kind = WORDPIECE;
	return 0;
}

static int choose_kind(loader *l, const cJSON *root, const cJSON *model, error *err)
{
	const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");
	const char *type = "BPE"; /* old files leave it out */
	bool fallback = false, unigram;
	int rc;

	if (!cJSON_IsObject(model))
		return error_set(err, ERR_FORMAT, "'%s' has no model with a vocab: not a tokenizer.json",
		                 l->path);
	rc = json_get_string(&type, model, "type", l->path, err);
	if (rc == 0)
		rc = json_get_bool(&fallback, model, "byte_fallback", l->path, err);
	if (rc < 0)
		return rc;
	unigram = strcmp(type, "Unigram") == 0;
	if (!unigram && strcmp(type, "BPE") != 0 && strcmp(type, "WordPiece") != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is a %.40s tokenizer; BPE, Unigram and WordPiece are read", l->path,
		                 type);
	if (unigram ? !cJSON_IsArray(vocab) : !cJSON_IsObject(vocab))
		return error_set(err, ERR_FORMAT, "'%s' has no model with a vocab: not a tokenizer.json",
		                 l->path);
	if (strcmp(type, "WordPiece") == 0)
		return choose_wordpiece(l, model, err);
	find_mark(l, cJSON_GetObjectItemCaseSensitive(root, "decoder"));
	find_mark(l, cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer"));
	find_mark(l, cJSON_GetObjectItemCaseSensitive(root, "normalizer"));
	if (!unigram && (rc = choose_bpe(l, root, fallback, err)) < 0)
		return rc;
	if (unigram)
		l->kind = SENTENCEPIECE;
	if (!*l->mark)
		memcpy(l->mark, SENTENCEPIECE_BLANK, sizeof(SENTENCEPIECE_BLANK));
	return 0;
}

/* Puts a token at its id. Ids must be dense enough that the table is in proportion to the file. */
static int put_entry(loader *l, size_t at, const char *token, bool added, bool special, error *err)
{
	size_t before = l->n_entries;

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

static int add_entry(loader *l, const cJSON *id, const char *token, bool added, bool special, error *err)
{
	if (!cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble > 0x1p31 ||
	    (double)(uint32_t)id->valuedouble != id->valuedouble)
		return error_set(err, ERR_FORMAT, "'%s': the id of token '%.60s' is not a whole number",
		                 l->path, token);
	return put_entry(l, (size_t)id->valuedouble, token, added, special, err);
}

/* Unigram's [[text, score], ...]: the id is the place. */
static int collect_list(loader *l, const cJSON *vocab, error *err)
{
	const cJSON *item;
	size_t id = 0;
	int rc = 0;

	cJSON_ArrayForEach(item, vocab)
	{
		const char *token = cJSON_IsArray(item) ? cJSON_GetStringValue(item->child) : NULL;
		rc = token ? put_entry(l, id, token, false, false, err)
		           : error_set(err, ERR_FORMAT, "'%s': token %zu of the vocab has no text", l->path,
		                       id);
		if (rc < 0)
			return rc;
		id++;
	}
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
	if (cJSON_IsArray(vocab))
		rc = collect_list(l, vocab, err);
	else
		cJSON_ArrayForEach(item, vocab) if (rc == 0) rc =
		        add_entry(l, item, item->string, false, false, err);
	if (rc < 0)
		return rc;
	return l->n_entries ? 0 : error_set(err, ERR_FORMAT, "'%s': the vocabulary is empty", l->path);
}

static void put(char **out, const char *s, size_t n)
{
	memcpy(*out, s, n);
	*out += n;
}

static void decode_wordpiece(char **out, const loader *l, const char *s, size_t n)
{
	size_t m = strlen(l->mark);

	if (m && n > m && memcmp(s, l->mark, m) == 0) {
		put(out, s + m, n - m);
		return;
	}
	put(out, " ", 1);
	put(out, s, n);
}

/* The bytes of one token; *out moves behind them. */
static int decode(char **out, const loader *l, uint32_t id, error *err)
{
	const entry *e = &l->entries[id];
	const char *s = e->token;
	size_t n = s ? strlen(s) : 0, length;
	uint32_t point;

	if (n == 0)
		return 0;
	if (e->special || (e->added && l->kind != SENTENCEPIECE)) {
		put(out, s, n);
		return 0;
	}
	if (l->kind == WORDPIECE) {
		decode_wordpiece(out, l, s, n);
		return 0;
	}
	if (l->kind == SENTENCEPIECE) {
		if (!e->added && sentencepiece_byte(*out, s, n))
			(*out)++;
		else
			sentencepiece_text(out, s, n, l->mark);
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

int tokenizer_room(sae_tokenizer *t, uint32_t size, size_t n_bytes, error *err)
{
	t->size = size;
	t->start = calloc((size_t)size + 1, sizeof(*t->start));
	t->special = calloc(size, sizeof(*t->special));
	t->bytes = malloc(n_bytes + 1);
	return t->start && t->special && t->bytes ? 0 : error_nomem(err, "a vocabulary");
}

static int build(sae_tokenizer *t, const loader *l, error *err)
{
	size_t blanks = l->kind == WORDPIECE ? l->n_entries : 0;
	int rc = tokenizer_room(t, (uint32_t)l->n_entries, l->n_bytes + blanks, err);
	char *at = t->bytes;

	for (uint32_t id = 0; id < t->size && rc == 0; id++) {
		t->special[id] = l->entries[id].special;
		rc = decode(&at, l, id, err);
		t->start[id + 1] = (uint32_t)(at - t->bytes); /* the file has at most 64 MB */
	}
	return rc;
}

static int read_json(sae_tokenizer *t, const char *data, size_t length, const char *path, error *err)
{
	loader l = { .path = path };
	const cJSON *model;
	cJSON *root = NULL;
	int rc = json_parse(&root, data, length, TOKENIZER_MAX, TOKENIZER_DEPTH, path, err);

	if (rc < 0)
		return rc;
	model = cJSON_GetObjectItemCaseSensitive(root, "model");
	rc = choose_kind(&l, root, model, err);
	if (rc == 0) {
		invert_byte_table(l.byte_of);
		rc = collect(&l, cJSON_GetObjectItemCaseSensitive(root, "added_tokens"),
		             cJSON_GetObjectItemCaseSensitive(model, "vocab"), err);
	}
	if (rc == 0)
		rc = build(t, &l, err);
	free(l.entries);
	cJSON_Delete(root);
	return rc;
}

/* A protobuf message whose first field is number 1 begins with a newline, which JSON may too, before its brace. */
static bool is_protobuf(const char *data, size_t length)
{
	size_t i = 0;

	while (i < length && strchr(" \t\r\n", data[i]) && data[i])
		i++;
	return length > 0 && data[0] == '\n' && (i == length || (data[i] != '{' && data[i] != '['));
}

int sae_tokenizer_load(sae_tokenizer **out, const char *path, error *err)
{
	sae_tokenizer *t = calloc(1, sizeof(*t));
	char *data = NULL;
	size_t length;
	int rc;

	if (!t)
		return error_nomem(err, "a tokenizer");
	rc = file_read(&data, &length, path, TOKENIZER_MAX, err);
	if (rc == 0)
		rc = sha256_bytes(t->sha256, data, length, err);
	if (rc == 0)
		rc = is_protobuf(data, length) ? sentencepiece_read(t, data, length, path, err)
		                               : read_json(t, data, length, path, err);
	free(data);
	if (rc < 0) {
		sae_tokenizer_free(t);
		return rc;
	}
	*out = t;
	return 0;
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
