/* Features planted in synthetic text, through the whole of store/ and explain/: the lexical labels must name the rules, on
 * documents they did not see the labels must score above 0.95, and another feature's label must score near chance. */
#include <math.h>

#include "explain/explain.h"
#include "tests/support.h"

enum {
	CONTEXTS = 400,
	LENGTH = 64,
	STEMS = 40,
	VOCABULARY = 3 + 2 * STEMS,
	FEATURES = 4,
	MOST = LENGTH * FEATURES
};

/* Tokens: 0 " cat", 1 " the", 2 "ing"; then STEMS stems that only stand alone and STEMS that take "ing". */
static char names[VOCABULARY][16];
static const char *bytes[VOCABULARY];
static uint32_t lengths[VOCABULARY];

static void make_vocabulary(void)
{
	static const char consonants[] = "bdfgklmnprstvz", vowels[] = "aeiou";

	snprintf(names[0], sizeof(names[0]), " cat");
	snprintf(names[1], sizeof(names[1]), " the");
	snprintf(names[2], sizeof(names[2]), "ing");
	for (unsigned i = 3; i < VOCABULARY; i++)
		snprintf(names[i], sizeof(names[i]), " %c%c%c%c", consonants[i % 14], vowels[i % 5],
		         consonants[i / 14], vowels[i / 7 % 5]);
	for (unsigned i = 0; i < VOCABULARY; i++) {
		bytes[i] = names[i];
		lengths[i] = (uint32_t)strlen(names[i]);
	}
}

/* Text in which each planted thing is in about a third of the windows of 32 tokens. */
static void make_tokens(uint32_t *tokens, uint64_t seed)
{
	for (uint32_t i = 0; i < LENGTH; i++) {
		uint64_t h = hash64_mix(seed, i);
		double u = hash64_unit(h);
		uint32_t stem = 3 + (uint32_t)hash64_below(hash64_mix(h, 1), STEMS);

		if (u < 0.012)
			tokens[i] = 0;
		else if (u < 0.024)
			tokens[i] = 1;
		else if (u < 0.036 && i + 1 < LENGTH) {
			tokens[i++] = stem + STEMS;
			tokens[i] = 2;
		} else
			tokens[i] = stem;
	}
}

/* Feature 0 fires on the word cat, 1 on the ending "ing", 2 on what follows " the", 3 never. */
static bool fires(const uint32_t *tokens, uint32_t i, uint32_t feature)
{
	switch (feature) {
	case 0:
		return tokens[i] == 0;
	case 1:
		return tokens[i] == 2;
	case 2:
		return i > 0 && tokens[i - 1] == 1;
	default:
		return false;
	}
}

static void add_context(store_index *ix, uint64_t number)
{
	uint32_t tokens[LENGTH], start[LENGTH + 1] = { 0 }, feature[MOST], n = 0;
	uint8_t counted[LENGTH];
	float value[MOST];
	store_context c = { tokens, LENGTH, number, number, counted, start, feature, value };
	error e = { 0 };

	memset(counted, 1, sizeof(counted));
	make_tokens(tokens, hash64_mix(11, number));
	for (uint32_t i = 0; i < LENGTH; i++) {
		for (uint32_t f = 0; f < FEATURES; f++)
			if (fires(tokens, i, f)) {
				feature[n] = f;
				value[n++] = 1 + (float)hash64_unit(hash64_mix(number, i * FEATURES + f));
			}
		start[i + 1] = n;
	}
	ck_assert_msg(store_index_context(ix, &c, &e) == 0, "%s", e.msg);
}

static store *make_store(const char *path)
{
	store_index_opts o = store_index_opts_default();
	store_index *ix;
	error e = { 0 };
	store *s;

	make_vocabulary();
	o.source = "planted";
	o.architecture = "topk";
	o.d_in = 8;
	o.n_features = FEATURES;
	o.k = FEATURES;
	o.weights_sha256 = o.dump_sha256 = "none";
	o.config = "{}";
	o.argv = "[]";
	ck_assert_msg(store_open(&s, path, STORE_CREATE, &e) == 0, "%s", e.msg);
	ck_assert_msg(store_index_begin(&ix, s, &o, &e) == 0, "%s", e.msg);
	ck_assert_msg(store_index_vocab(ix, "planted", VOCABULARY, bytes, lengths, &e) == 0, "%s", e.msg);
	for (uint64_t i = 0; i < CONTEXTS; i++)
		add_context(ix, i);
	ck_assert_msg(store_index_finish(ix, NULL, NULL, &e) == 0, "%s", e.msg);
	return s;
}

static double number(const cJSON *row, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, key);

	ck_assert_msg(cJSON_IsNumber(item), "no %s", key);
	return item->valuedouble;
}

START_TEST(labels_name_the_rules_and_score)
{
	static const char *const labels[] = { "the word \"cat\"", "words ending in \"ing\"",
		                              "right after \"the\"" };
	char dir[FILE_PATH_MAX];
	store_features_opts q = { .sort = "feature", .limit = 10 };
	explain_opts o = explain_opts_default();
	cJSON *rows, *row;
	error e = { 0 };
	store *s;

	support_mkdir(dir);
	s = make_store(support_path(dir, "planted.db"));
	o.features = "all";
	ck_assert_msg(explain_run(NULL, s, &o, &e) == 0, "%s", e.msg);
	ck_assert_msg(explain_score(NULL, s, &o, &e) == 0, "%s", e.msg);
	ck_assert_msg(store_features(&rows, s, &q, &e) == 0, "%s", e.msg);
	row = cJSON_GetObjectItemCaseSensitive(rows, "features")->child;
	for (size_t f = 0; f < ARRAY_LEN(labels); f++, row = row->next) {
		ck_assert_str_eq(cJSON_GetObjectItemCaseSensitive(row, "label")->valuestring, labels[f]);
		ck_assert_double_gt(number(row, "score"), 0.95);
		ck_assert_double_gt(number(row, "score_low"), 0.75);
		ck_assert_double_le(fabs(number(row, "score_baseline") - 0.5), 0.25);
	}
	ck_assert(
	        !cJSON_IsString(cJSON_GetObjectItemCaseSensitive(row, "label"))); /* the dead one has none */
	cJSON_Delete(rows);
	store_close(s);
	support_rmdir(dir);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "all", labels_name_the_rules_and_score);
}
SUPPORT_MAIN("planted", cases)
