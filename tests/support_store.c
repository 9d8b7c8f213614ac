/* The hand-made store of the query tests: written with SQL alone, so that it owes nothing to the index. */
#include "tests/support_store.h"

#include "store/codes.h"
#include "store/store_internal.h"
#include "tests/support.h"

#include <math.h>

static const char *const vocab[SMALL_VOCAB] = {
	"<bos>",     " the", " cat", " dog", " ran", "\n", " \x1b[31mred", " \xe6\x97\xa5\xe6\x9c\xac",
	" \xe7\x8c", "\xab", " (",
};

const char *small_token(uint32_t token)
{
	return vocab[token];
}

void small_context(uint32_t tokens[SMALL_TOKENS], uint32_t c)
{
	tokens[0] = SMALL_BOS;
	for (uint32_t i = 1; i < SMALL_TOKENS; i++) {
		tokens[i] = SMALL_THE + (uint32_t)hash64_below(hash64_mix(c, i), SMALL_VOCAB - SMALL_THE);
		if (tokens[i - 1] == SMALL_CHAR_HEAD)
			tokens[i] = SMALL_CHAR_TAIL;
		else if (tokens[i] == SMALL_CHAR_TAIL ||
		         (tokens[i] == SMALL_CHAR_HEAD && i == SMALL_TOKENS - 1))
			tokens[i] = SMALL_RAN;
	}
}

store_part small_part(uint32_t c)
{
	return (store_part)(c % 3);
}

int64_t small_context_id(uint32_t c)
{
	return INT64_C(9000000000000000000) + c; /* of the size of a real one: a hash of 63 bits */
}

float small_value(uint32_t feature, const uint32_t tokens[SMALL_TOKENS], uint32_t i)
{
	float later = (float)i / 32;

	if (i == 0)
		return 0;
	switch (feature) {
	case SMALL_ON_CAT:
		return tokens[i] == SMALL_CAT ? 2 + later : 0;
	case SMALL_AFTER_THE:
		return tokens[i - 1] == SMALL_THE ? 1 + later : 0;
	case SMALL_DENSE:
		return 0.5f;
	case SMALL_ON_CHAR_TAIL:
		return tokens[i] == SMALL_CHAR_TAIL ? 1 : 0;
	case SMALL_ON_ESCAPE:
		return tokens[i] == SMALL_ESCAPE ? 4 : 0;
	case SMALL_ON_ANIMAL:
		return tokens[i] == SMALL_CAT || tokens[i] == SMALL_DOG ? 3 : 0;
	case SMALL_ON_PAREN:
		return tokens[i] == SMALL_PAREN ? 1 : 0;
	default:
		return 0;
	}
}

double small_tally(uint32_t f, bool (*on)(const uint32_t *tokens, uint32_t i))
{
	uint32_t tokens[SMALL_TOKENS];
	double n = 0;

	for (uint32_t c = 0; c < SMALL_CONTEXTS; c++) {
		small_context(tokens, c);
		for (uint32_t i = 1; i < SMALL_TOKENS; i++)
			n += (f >= SMALL_FEATURES || small_value(f, tokens, i) > 0) && (!on || on(tokens, i));
	}
	return n;
}

/* ---- Rows --------------------------------------------------------------------------------------------------------- */

static error err;

/* Run one statement with values bound as by store_bind(). */
#define RUN(s, sql, types, ...)                                                                              \
	do {                                                                                                 \
		sqlite3_stmt *st_ = NULL;                                                                    \
		ck_assert_msg(store_prepare(&st_, (s), (sql), &err) == 0, "%s", err.msg);                    \
		ck_assert_msg(store_bind((s), st_, &err, types, __VA_ARGS__) == 0, "%s", err.msg);           \
		ck_assert_msg(store_run((s), st_, &err) == 0, "%s", err.msg);                                \
		sqlite3_finalize(st_);                                                                       \
	} while (0)

static void put_u32(text *t, uint32_t value)
{
	unsigned char b[4] = { (unsigned char)value, (unsigned char)(value >> 8),
		               (unsigned char)(value >> 16), (unsigned char)(value >> 24) };

	ck_assert_int_eq(text_add(t, b, 4), 0);
}

static void insert_vocab(store *s)
{
	text repaired;

	text_init(&repaired, 100);
	RUN(s, "INSERT INTO tokenizer VALUES (1, 'small', ?1)", "i", (int64_t)SMALL_VOCAB);
	for (uint32_t i = 0; i < SMALL_VOCAB; i++) {
		text_clear(&repaired);
		ck_assert_int_eq(text_add_utf8(&repaired, vocab[i], strlen(vocab[i])), 0);
		RUN(s, "INSERT INTO vocab VALUES (1, ?1, ?2, ?3)", "ibt", (int64_t)i, (const void *)vocab[i],
		    strlen(vocab[i]), repaired.data);
	}
	text_free(&repaired);
}

static void insert_context(store *s, uint32_t c)
{
	static const char *const parts[] = { "label", "select", "report" };
	uint32_t tokens[SMALL_TOKENS];
	text ids, offsets, joined;

	text_init(&ids, 1 << 10);
	text_init(&offsets, 1 << 10);
	text_init(&joined, 1 << 12);
	small_context(tokens, c);
	for (uint32_t i = 0; i < SMALL_TOKENS; i++) {
		put_u32(&ids, tokens[i]);
		/* The character that two tokens make up belongs to the first. */
		put_u32(&offsets, (uint32_t)joined.len + (tokens[i] == SMALL_CHAR_TAIL));
		ck_assert_int_eq(text_adds(&joined, vocab[tokens[i]]), 0);
	}
	put_u32(&offsets, (uint32_t)joined.len);
	RUN(s, "INSERT INTO document VALUES (?1, ?2, ?3, ?4)", "iiit", (int64_t)c + 1, (int64_t)c + 1000,
	    (int64_t)c / 2, parts[small_part(c)]);
	RUN(s, "INSERT INTO context VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6)", "iiibtb", small_context_id(c),
	    (int64_t)c + 1, (int64_t)SMALL_TOKENS, (const void *)ids.data, ids.len, joined.data,
	    (const void *)offsets.data, offsets.len);
	text_free(&ids);
	text_free(&offsets);
	text_free(&joined);
}

static void insert_firings(store *s, int64_t source, uint32_t c)
{
	uint32_t tokens[SMALL_TOKENS], start[SMALL_TOKENS + 1], feature[SMALL_TOKENS * SMALL_FEATURES], n = 0;
	float value[SMALL_TOKENS * SMALL_FEATURES];
	unsigned char counted[SMALL_TOKENS / 8] = { 0xfe, 0xff, 0xff, 0xff };
	text codes;

	small_context(tokens, c);
	for (uint32_t i = 0; i < SMALL_TOKENS; i++) {
		start[i] = n;
		for (uint32_t f = 0; f < SMALL_FEATURES; f++) {
			value[n] = small_value(f, tokens, i);
			feature[n] = f;
			n += value[n] > 0;
		}
	}
	start[SMALL_TOKENS] = n;
	text_init(&codes, 1 << 16);
	ck_assert_int_eq(
	        store_codes_encode(&codes, SMALL_FEATURES, SMALL_TOKENS, start, feature, value, &err), 0);
	RUN(s, "INSERT INTO firing VALUES (?1, ?2, 1, ?3, ?4)", "iibb", source, small_context_id(c),
	    (const void *)counted, sizeof(counted), (const void *)codes.data, codes.len);
	text_free(&codes);
}

/* Totals of a feature, gathered token by token. */
struct totals {
	int64_t n_fires, n_contexts;
	double max, sum[4];
};

static struct totals sum_up(uint32_t f)
{
	struct totals t = { 0 };
	uint32_t tokens[SMALL_TOKENS];

	for (uint32_t c = 0; c < SMALL_CONTEXTS; c++) {
		int64_t before = t.n_fires;

		small_context(tokens, c);
		for (uint32_t i = 0; i < SMALL_TOKENS; i++) {
			double v = small_value(f, tokens, i);

			if (v <= 0)
				continue;
			t.n_fires++;
			t.max = v > t.max ? v : t.max;
			for (int p = 0; p < 4; p++)
				t.sum[p] += pow(v, p + 1);
		}
		t.n_contexts += t.n_fires > before;
	}
	return t;
}

static void insert_feature(store *s, int64_t source, uint32_t f)
{
	struct totals t = sum_up(f);
	double n = t.n_fires ? (double)t.n_fires : 1, mean = t.sum[0] / n,
	       spread = t.sum[1] / n - mean * mean;
	bool counts = t.n_fires > 0;

	RUN(s,
	    "INSERT INTO feature VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, NULL, ?9, ?10, ?11, ?12, ?13, "
	    "?14, NULL, 1.0, ?7, NULL)",
	    "iiiiddddddddid", source, (int64_t)f, t.n_fires, t.n_contexts,
	    (double)t.n_fires / (SMALL_CONTEXTS * (SMALL_TOKENS - 1)), t.max, mean,
	    sqrt(spread > 0 ? spread : 0), t.sum[0], t.sum[1], t.sum[2], t.sum[3],
	    (int64_t)(f == SMALL_ON_CAT ? SMALL_CAT : SMALL_THE), counts ? 0.5 : (double)NAN);
	/* Counts are made up, but go with the weight of a sample: 2.5. */
	RUN(s, "INSERT INTO feature_detail VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, NULL)", "iitttttt",
	    source, (int64_t)f,
	    counts ? "{\"per_octave\":1,\"first\":-1,\"counts\":[1,0,60,3]}"
	           : "{\"per_octave\":64,\"first\":0,\"counts\":[]}",
	    "[[2,1.5],[3,0.25]]", "[[4,-1.5]]", "[[6,0.75],[1,0.5]]",
	    counts ? "{\"definition\":\"octaves\",\"grid\":[-64,0,64,128,192],\"counts\":[1,0,60,3],\"kept\":"
	             "["
	             "0,0,24,0]}"
	           : "{\"definition\":\"octaves\",\"grid\":[0],\"counts\":[],\"kept\":[]}",
	    counts ? "{\"exact\":1,\"percent\":[50],\"value\":[1]}" : NULL);
}

/* The window of a qualifying token: all of the context. */
static void insert_example(store *s, int64_t source, uint32_t f, uint32_t c, uint32_t position,
                           const char *kind, int64_t rank)
{
	uint32_t tokens[SMALL_TOKENS], fires[SMALL_TOKENS], n = 0, peak = 0, bits;
	float value[SMALL_TOKENS], activation;
	unsigned char codes[1 + 3 * SMALL_TOKENS];

	small_context(tokens, c);
	for (uint32_t i = 0; i < SMALL_TOKENS; i++) {
		fires[n] = i;
		peak = i == position ? n : peak;
		value[n] = small_value(f, tokens, i);
		n += value[n] > 0;
	}
	activation = value[peak];
	memcpy(&bits, &activation, sizeof(bits));
	store_window_encode(codes, fires, value, n, 0, peak, false);
	RUN(s, "INSERT INTO example VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", "iiiiiiib", source, (int64_t)f,
	    (int64_t)(*kind == 't' ? -1 : 2), rank, small_context_id(c), (int64_t)position, (int64_t)bits,
	    (const void *)codes, store_window_size(n, false));
}

/* Every context in which the feature fires is a top one by its strongest token; and the first firing a sample of a bin. */
static void insert_examples(store *s, int64_t source, uint32_t f)
{
	uint32_t tokens[SMALL_TOKENS];
	int64_t rank = 0;

	for (uint32_t c = 0; c < SMALL_CONTEXTS; c++) {
		uint32_t peak = 0, first = 0;

		small_context(tokens, c);
		for (uint32_t i = 0; i < SMALL_TOKENS; i++) {
			float value = small_value(f, tokens, i);

			peak = value > small_value(f, tokens, peak) ? i : peak;
			first = value > 0 && first == 0 ? i : first;
		}
		if (peak == 0)
			continue;
		insert_example(s, source, f, c, peak, "top", rank);
		insert_example(s, source, f, c, first, "bin", rank++);
	}
}

static void insert_source(store *s, int64_t id, const char *name)
{
	RUN(s,
	    "INSERT INTO source VALUES (?1, ?2, 1, 'topk', 4, ?3, 3, 'tiny', 'blocks.1', 1, 'w', 'd', ?4, "
	    "?5, 10.0, ?5, ?6, 0,"
	    " '{}', '[]', '0', '2026-01-01T00:00:00Z', 'sae', 32, 32, 24, 24, 24, 'the first', NULL)",
	    "itiiii", id, name, (int64_t)SMALL_FEATURES, (int64_t)SMALL_CONTEXTS * (SMALL_TOKENS - 1),
	    (int64_t)SMALL_CONTEXTS, (int64_t)0);
	for (uint32_t f = 0; f < SMALL_FEATURES; f++)
		insert_feature(s, id, f);
	for (uint32_t c = 0; c < SMALL_CONTEXTS; c++) {
		insert_firings(s, id, c);
		RUN(s, "INSERT INTO source_context VALUES (?1, ?2)", "ii", id, small_context_id(c));
	}
	for (uint32_t f = 0; f < SMALL_FEATURES; f++)
		insert_examples(s, id, f);
}

static void insert_label(store *s, int64_t source, uint32_t feature, const char *label, double score)
{
	RUN(s,
	    "INSERT INTO explanation(source_id, feature, text, method, model, confidence, created)"
	    " VALUES (?1, ?2, ?3, 'llm', 'judge-1', 0.5, '2026-01-02T00:00:00Z')",
	    "iit", source, (int64_t)feature, label);
	RUN(s,
	    "INSERT INTO score(explanation_id, scorer, judge, value, low, high, baseline, n_positive, "
	    "n_negative, n_failed, details,"
	    " created) VALUES (last_insert_rowid(), 'detection', 'judge-1', ?1, ?1 - 0.1, ?1 + 0.05, 0.5, "
	    "10, 10, 0, '{}',"
	    " '2026-01-03T00:00:00Z')",
	    "d", score);
}

void small_store_make(const char *path, const char *const *sources)
{
	store *s = NULL;

	ck_assert_msg(store_open(&s, path, STORE_CREATE, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_begin(s, &err), 0);
	insert_vocab(s);
	for (uint32_t c = 0; c < SMALL_CONTEXTS; c++)
		insert_context(s, c);
	for (int64_t i = 0; sources[i]; i++) {
		insert_source(s, i + 1, sources[i]);
		insert_label(s, i + 1, SMALL_ON_CAT, "kittens", 0.7);
		insert_label(s, i + 1, SMALL_ON_CAT, "cats", 0.9);
		insert_label(s, i + 1, SMALL_ON_ESCAPE, "red \x1b[2J\xe2\x80\xae text", 0.6);
	}
	RUN(s,
	    "INSERT INTO note(source_id, feature, text, created) VALUES (1, ?1, 'look at this', "
	    "'2026-01-04T00:00:00Z')",
	    "i", (int64_t)SMALL_ON_CAT);
	ck_assert_msg(store_end(s, 0, &err) == 0, "%s", err.msg);
	store_close(s);
}

/* The store made once for all tests of a program, which fork off it. */
static char folder[FILE_PATH_MAX];

void small_store_prepare(void)
{
	static const char *const sources[] = { "small", NULL };

	support_mkdir(folder);
	small_store_make(support_path(folder, "small.db"), sources);
}

void small_store_remove(void)
{
	support_rmdir(folder);
}

store *small_store_open(unsigned flags)
{
	const char *path = support_path(folder, "small.db");
	store *s = NULL;
	char *bytes;
	size_t n;

	if (flags != STORE_READ) {
		ck_assert_msg(file_read(&bytes, &n, path, 1 << 24, &err) == 0, "%s", err.msg);
		path = support_path(folder, "copy.db");
		ck_assert_msg(file_write(path, bytes, n, &err) == 0, "%s", err.msg);
		free(bytes);
	}
	ck_assert_msg(store_open(&s, path, flags, &err) == 0, "%s", err.msg);
	return s;
}

void support_run_sql(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}
