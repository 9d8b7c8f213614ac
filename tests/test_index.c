/* The index pass against a plain O(n) reading of its definition; the same for any order; all or nothing. */
#include "tests/support.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/index_internal.h"

enum { VOCAB = 24, FEATURES = 40, DIMS = 6, MAX_TOKENS = 40, MAX_FIRINGS = 400 };
static const char *const words[VOCAB] = { " the",      " cat", " dog",     " ran", "\n",   "s",
	                                  " \xe2\x82", "\xac", "\xf0\x9f", "\x98", "\x80", "",
	                                  "\xff",      "a",    "b",        "c",    "d",    "e",
	                                  "f",         "g",    "h",        " is",  " it",  " (" };
static const char *const digest = "tokenizer";

typedef struct document_context {
	uint32_t tokens[MAX_TOKENS], n_tokens;
	uint64_t document, group;
	uint8_t counted[MAX_TOKENS];
	uint32_t start[MAX_TOKENS + 1], feature[MAX_FIRINGS];
	float value[MAX_FIRINGS];
} document_context;

static char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
static error err;

#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

/* ---- Contexts ---- */

static float make_value(uint64_t h)
{
	if (h % 3 == 0)
		return 0.5f * (float)(1 + h / 8 % 6); /* few levels: ties */
	return ldexpf((float)(1 + hash64_unit(h)), (int)(h / 64 % 9) - 3);
}

/* Context number i of a corpus. Every fifth is a copy of the one three before; of those, every second with other values. */
static void make_context(document_context *c, uint32_t i)
{
	uint32_t source = i % 5 == 4 ? i - 3 : i, n = 0;
	uint64_t seed = hash64_mix(11, source), twist = i % 10 == 4 ? 99 : 0;

	*c = (document_context){ .document = 1000 + source / 3, .group = 50 + source / 6 };
	c->n_tokens = 9 + (uint32_t)(seed % 30);
	for (uint32_t t = 0; t < c->n_tokens; t++) {
		uint64_t h = hash64_mix(seed, t);

		c->tokens[t] = (uint32_t)(h % VOCAB);
		if (source % 4 == 0 && t < 14)
			c->tokens[t] = t % VOCAB; /* text that many contexts begin with */
		c->counted[t] = t > 0;
		c->start[t] = n;
		for (uint32_t f = 0; f < FEATURES && t > 0; f++) {
			uint64_t g = hash64_mix(h, f);
			bool fires = f == 0   ? true
			             : f == 1 ? false
			             : f == 2 ? c->tokens[t] == 2
			             : f == 3 ? false
			                      : g % 100 < 14;

			if (f == 3)
				fires = source == 8 && t == 5; /* once */
			if (!fires || n == MAX_FIRINGS)
				continue;
			c->feature[n] = f;
			c->value[n++] = f == 2 ? 1.5f : make_value(g ^ twist);
		}
	}
	c->start[c->n_tokens] = n;
}

static store_context view(const document_context *c)
{
	return (store_context){ c->tokens,  c->n_tokens, c->document, c->group,
		                c->counted, c->start,    c->feature,  c->value };
}

static store_index_opts options(const char *name)
{
	store_index_opts o = store_index_opts_default();

	o.source = name;
	o.architecture = "topk";
	o.d_in = DIMS;
	o.n_features = FEATURES;
	o.k = 8;
	o.weights_sha256 = "weights";
	o.dump_sha256 = "dump";
	o.n_top = 5;
	o.n_bin = 3;
	o.n_random = 7;
	o.before = 6;
	o.after = 3;
	return o;
}

static int give_rest(store_index *ix)
{
	static float decoder[FEATURES * DIMS], values[FEATURES * 2];
	static uint32_t ids[FEATURES * 2];
	uint32_t lengths[VOCAB];
	int rc;

	for (uint32_t i = 0; i < VOCAB; i++)
		lengths[i] = (uint32_t)strlen(words[i]);
	for (uint32_t i = 0; i < FEATURES * DIMS; i++)
		decoder[i] = (float)i / 100;
	for (uint32_t i = 0; i < FEATURES * 2; i++) {
		ids[i] = i / 2;
		values[i] = (float)i / 4;
	}
	rc = store_index_vocab(ix, digest, VOCAB, words, lengths, &err);
	if (rc == 0)
		rc = store_index_decoder(ix, decoder, &err);
	return rc == 0 ? store_index_ranked(ix, 'n', 2, ids, values, &err) : rc;
}

/* Index contexts 0 .. n - 1 in the order of hash64_permute under `key` (0: as they are). */
static int index_corpus(store *s, const store_index_opts *o, uint32_t n, uint64_t key)
{
	store_index *ix = NULL;
	int rc = store_index_begin(&ix, s, o, &err);

	if (rc < 0)
		return rc;
	rc = give_rest(ix);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		document_context c;
		store_context v;

		make_context(&c, key ? (uint32_t)hash64_permute(i, n, key) : i);
		v = view(&c);
		rc = store_index_context(ix, &v, &err);
	}
	if (rc == 0)
		return store_index_finish(ix, NULL, NULL, &err);
	store_index_abort(ix);
	return rc;
}

static void setup(void)
{
	support_mkdir(folder);
	OK(file_join(path, folder, "a.db", &err));
}

static store *open_store(void)
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_CREATE, &err));
	return s;
}

/* Hash of all rows of the tables an index writes; sums and what comes of them apart. */
static void digest_of(char hex[SHA256_HEX], store *s)
{
	static const char *const queries[] = {
		"SELECT name, d_in, n_tokens, n_contexts, n_firings, corpus FROM source",
		"SELECT * FROM tokenizer",
		"SELECT * FROM vocab",
		"SELECT * FROM document",
		"SELECT * FROM context",
		"SELECT source_id, feature, n_fires, n_contexts, density, max_act, top_token, "
		"top_token_share, token_entropy,"
		" decoder_norm FROM feature",
		"SELECT * FROM feature_detail",
		"SELECT * FROM example",
		"SELECT * FROM firing",
		"SELECT * FROM vector",
		"SELECT rowid FROM context_fts WHERE context_fts MATCH 'cat'"
	};
	sha256 h;

	OK(sha256_init(&h, &err));
	for (size_t q = 0; q < ARRAY_LEN(queries); q++) {
		sqlite3_stmt *st = NULL;

		OK(store_prepare(&st, s, queries[q], &err));
		while (sqlite3_step(st) == SQLITE_ROW) {
			for (int i = 0; i < sqlite3_column_count(st); i++) {
				double number = sqlite3_column_double(st, i);

				if (sqlite3_column_type(st, i) == SQLITE_FLOAT)
					sha256_add(&h, &number, sizeof(number));
				else
					sha256_add(&h, sqlite3_column_blob(st, i),
					           (size_t)sqlite3_column_bytes(st, i));
				sha256_add(&h, "|", 1);
			}
		}
		sqlite3_finalize(st);
	}
	sha256_end(&h, hex);
}

static int64_t number(store *s, const char *sql)
{
	int64_t n;

	OK(store_int(&n, s, sql, -1, &err));
	return n;
}

static void check_integrity(store *s)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(&st, s, "PRAGMA integrity_check", &err));
	OK(store_step(s, st, &row, &err));
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	st = NULL;
	OK(store_prepare(&st, s, "PRAGMA foreign_key_check", &err));
	OK(store_step(s, st, &row, &err));
	ck_assert(!row);
	sqlite3_finalize(st);
}

/* ---- The definition, plainly ---- */

typedef struct firing {
	int64_t context;
	uint32_t position, token;
	float value;
	uint64_t hash;
	char window[256];
	size_t window_size;
} firing;

typedef struct plain { /* one feature */
	uint64_t fires, contexts, counts[STORE_BINS];
	long double sum[4];
	float max;
	firing *all, *peaks; /* every firing; the strongest of each context */
	size_t n_all, n_peaks;
} plain;

static int64_t plain_id(const document_context *c)
{
	uint64_t seed = hash64_mix(hash64(digest, strlen(digest), 0), c->document);

	return (int64_t)(hash64(c->tokens, c->n_tokens * 4, seed) >>
	                 1); /* the tests run on little-endian machines */
}

static firing plain_firing(const document_context *c, uint32_t f, uint32_t t, float value)
{
	firing x = { .context = plain_id(c), .position = t, .token = c->tokens[t], .value = value };

	x.hash = hash64_mix(hash64_mix((uint64_t)x.context, t), f);
	for (uint32_t i = 0; i < c->n_tokens; i++) {
		if (i + 6 >= t && i <= t + 3) {
			memcpy(x.window + x.window_size, words[c->tokens[i]], strlen(words[c->tokens[i]]));
			x.window_size += strlen(words[c->tokens[i]]);
		}
	}
	return x;
}

static void plain_feature(plain *p, uint32_t f, uint32_t n)
{
	*p = (plain){ .all = calloc((size_t)n * MAX_TOKENS, sizeof(firing)),
		      .peaks = calloc(n, sizeof(firing)) };
	for (uint32_t i = 0; i < n; i++) {
		document_context c;
		firing peak = { 0 };

		make_context(&c, i);
		for (uint32_t t = 0; t < c.n_tokens; t++) {
			for (uint32_t j = c.start[t]; j < c.start[t + 1]; j++) {
				firing x;

				if (c.feature[j] != f)
					continue;
				x = plain_firing(&c, f, t, c.value[j]);
				p->all[p->n_all++] = x;
				if (x.value > peak.value)
					peak = x;
				p->fires++;
				p->max = fmaxf(p->max, x.value);
				for (int e = 0; e < 4; e++)
					p->sum[e] += powl(x.value, e + 1);
				for (unsigned b = 0; b < STORE_BINS; b++)
					p->counts[b] += x.value >= store_bin_edge(b) &&
					                x.value < store_bin_edge(b + 1);
			}
		}
		if (peak.value > 0)
			p->peaks[p->n_peaks++] = peak;
	}
	p->contexts = p->n_peaks;
}

static void plain_free(plain *p)
{
	free(p->all);
	free(p->peaks);
}

static int by_strength(const void *a, const void *b)
{
	const firing *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int by_hash(const void *a, const void *b)
{
	const firing *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->value > y->value ? -1 : x->value < y->value;
}

/* Top: best of each window's text, the strongest n_top. */
static size_t plain_top(firing *out, plain *p, size_t n_top)
{
	size_t n = 0;

	qsort(p->peaks, p->n_peaks, sizeof(firing), by_strength);
	for (size_t i = 0; i < p->n_peaks && n < n_top; i++) {
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen |= p->peaks[i].window_size == p->peaks[j].window_size &&
			        memcmp(p->peaks[i].window, p->peaks[j].window, p->peaks[i].window_size) == 0;
		if (!seen)
			out[n++] = p->peaks[i];
	}
	return n;
}

static size_t plain_bin(firing *out, plain *p, unsigned b, size_t n_bin)
{
	size_t n = 0;

	qsort(p->all, p->n_all, sizeof(firing), by_hash);
	for (size_t i = 0; i < p->n_all && n < n_bin; i++) {
		bool seen = n > 0 && out[n - 1].hash == p->all[i].hash;

		if (!seen && store_bin_of(p->all[i].value) == b)
			out[n++] = p->all[i];
	}
	return n;
}

/* ---- What the store says ---- */

/* Rows (context, position, value, weight) of kind and bin are these. */
static void check_examples(store *s, uint32_t f, const char *kind, int b, const firing *want, size_t n,
                           double weight)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(
	        &st, s,
	        "SELECT context_id, position, activation, weight, first, length, codes, rank FROM example"
	        " WHERE source_id = 1 AND feature = ?1 AND kind = ?2 AND bin = ?3 ORDER BY rank",
	        &err));
	OK(store_bind(s, st, &err, "iti", (int64_t)f, kind, (int64_t)b));
	for (size_t i = 0; i < n; i++) {
		const unsigned char *codes;
		uint32_t first, length;
		bool found = false;

		OK(store_step(s, st, &row, &err));
		ck_assert_msg(row, "feature %u %s %d has %zu examples, not %zu", f, kind, b, i, n);
		ck_assert_int_eq(sqlite3_column_int64(st, 0), want[i].context);
		ck_assert_uint_eq((uint32_t)sqlite3_column_int64(st, 1), want[i].position);
		ck_assert_double_eq(sqlite3_column_double(st, 2), want[i].value);
		ck_assert_double_eq(sqlite3_column_double(st, 3), weight);
		first = (uint32_t)sqlite3_column_int(st, 4);
		length = (uint32_t)sqlite3_column_int(st, 5);
		ck_assert_uint_eq(first, want[i].position > 6 ? want[i].position - 6 : 0);
		codes = sqlite3_column_blob(st, 6);
		for (int at = 0; at < sqlite3_column_bytes(st, 6);
		     at += 6) { /* the qualifying token is among them */
			uint32_t offset = codes[at] | (uint32_t)codes[at + 1] << 8;
			float value;

			memcpy(&value, codes + at + 2, 4);
			ck_assert_uint_lt(offset, length);
			found |= first + offset == want[i].position && value == want[i].value;
		}
		ck_assert(found);
		ck_assert_int_eq(sqlite3_column_int(st, 7), (int)i);
	}
	OK(store_step(s, st, &row, &err));
	ck_assert_msg(!row, "feature %u %s %d has over %zu examples", f, kind, b, n);
	sqlite3_finalize(st);
}

static void check_near(double have, long double want, double tolerance)
{
	ck_assert_double_le(fabs(have - (double)want), tolerance * fmax(1e-30, fabs((double)want)));
}

static void check_moments(sqlite3_stmt *st, const plain *p)
{
	long double n = p->fires, mean = p->fires ? p->sum[0] / n : 0, m[3] = { 0 };

	for (int e = 0; e < 4; e++)
		check_near(sqlite3_column_double(st, 3 + e), p->sum[e], 1e-12);
	check_near(sqlite3_column_double(st, 7), mean, 1e-12);
	for (size_t i = 0; i < p->n_all; i++) {
		for (int e = 0; e < 3; e++)
			m[e] += powl(p->all[i].value - mean, e + 2) / n;
	}
	if (p->fires < 2 || m[0] < 1e-12L) {
		ck_assert_double_eq(sqlite3_column_double(st, 8), 0);
		ck_assert_int_eq(sqlite3_column_type(st, 9), SQLITE_NULL);
		ck_assert_int_eq(sqlite3_column_type(st, 10), SQLITE_NULL);
		return;
	}
	check_near(sqlite3_column_double(st, 8), sqrtl(m[0]), 1e-9);
	check_near(sqlite3_column_double(st, 9), m[1] / (m[0] * sqrtl(m[0])), 1e-8);
	check_near(sqlite3_column_double(st, 10), m[2] / (m[0] * m[0]), 1e-8);
}

static void check_feature_row(store *s, uint32_t f, const plain *p, uint64_t n_tokens)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(
	        &st, s,
	        "SELECT n_fires, n_contexts, max_act, sum1, sum2, sum3, sum4, mean_act, std_act, skewness, "
	        "kurtosis, density,"
	        " histogram, top_token, top_token_share, token_entropy, decoder_norm, neighbours, top_logits"
	        " FROM feature JOIN feature_detail USING (source_id, feature) WHERE source_id = 1 AND "
	        "feature = ?1",
	        &err));
	OK(store_bind(s, st, &err, "i", (int64_t)f));
	OK(store_step(s, st, &row, &err));
	ck_assert(row);
	ck_assert_uint_eq((uint64_t)sqlite3_column_int64(st, 0), p->fires);
	ck_assert_uint_eq((uint64_t)sqlite3_column_int64(st, 1), p->contexts);
	ck_assert_double_eq(sqlite3_column_double(st, 2), p->max);
	check_moments(st, p);
	ck_assert_double_eq(sqlite3_column_double(st, 11), (double)p->fires / (double)n_tokens);
	ck_assert_int_eq(sqlite3_column_type(st, 13) == SQLITE_NULL, p->fires == 0);
	ck_assert_int_eq(sqlite3_column_type(st, 14) == SQLITE_NULL, p->fires == 0);
	if (f == 2) { /* fires on one token only */
		ck_assert_int_eq(sqlite3_column_int(st, 13), 2);
		ck_assert_double_eq(sqlite3_column_double(st, 14), 1);
		ck_assert_double_eq(sqlite3_column_double(st, 15), 0);
	}
	ck_assert_double_gt(sqlite3_column_double(st, 16), 0);
	ck_assert_ptr_nonnull(sqlite3_column_text(st, 17));
	ck_assert_int_eq(sqlite3_column_type(st, 18), SQLITE_NULL);
	sqlite3_finalize(st);
}

/* The JSON is the occupied stretch of the fixed grid. */
static void check_histogram(store *s, uint32_t f, const plain *p, unsigned first, unsigned n)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(
	        &st, s,
	        "SELECT e.key, e.value, c.value FROM feature_detail d, json_each(d.histogram, '$.edges') e"
	        " LEFT JOIN json_each(d.histogram, '$.counts') c ON c.key = e.key WHERE d.feature = ?1 ORDER "
	        "BY e.key",
	        &err));
	OK(store_bind(s, st, &err, "i", (int64_t)f));
	for (unsigned i = 0; n > 0 && i <= n; i++) {
		OK(store_step(s, st, &row, &err));
		ck_assert(row);
		check_near(sqlite3_column_double(st, 1), store_bin_edge(first + i), 1e-8);
		if (i < n)
			ck_assert_uint_eq((uint64_t)sqlite3_column_int64(st, 2), p->counts[first + i]);
	}
	OK(store_step(s, st, &row, &err));
	ck_assert(!row);
	sqlite3_finalize(st);
}

static void check_feature(store *s, uint32_t f, uint32_t n, uint64_t n_tokens)
{
	firing want[8];
	unsigned first = STORE_BINS, end = 0;
	plain p;
	size_t found;

	plain_feature(&p, f, n);
	check_feature_row(s, f, &p, n_tokens);
	found = plain_top(want, &p, 5);
	check_examples(s, f, "top", -1, want, found, 1);
	for (unsigned b = 0; b < STORE_BINS; b++) {
		if (p.counts[b] == 0)
			continue;
		first = b < first ? b : first;
		end = b + 1;
	}
	for (unsigned b = first; b < end; b++) {
		found = plain_bin(want, &p, b, 3);
		check_examples(s, f, "bin", (int)(b - first), want, found,
		               found ? (double)p.counts[b] / (double)found : 0);
	}
	check_histogram(s, f, &p, first, end > first ? end - first : 0);
	plain_free(&p);
}

START_TEST(agrees_with_the_definition)
{
	enum { N = 90 };
	store_index_opts o = options("a");
	uint64_t n_tokens = 0, n_firings = 0;
	store *s;

	setup();
	s = open_store();
	OK(index_corpus(s, &o, N, 0));
	for (uint32_t i = 0; i < N; i++) {
		document_context c;

		make_context(&c, i);
		n_tokens += c.n_tokens - 1;
		n_firings += c.start[c.n_tokens];
	}
	ck_assert_int_eq(number(s, "SELECT n_tokens FROM source"), (int64_t)n_tokens);
	ck_assert_int_eq(number(s, "SELECT n_firings FROM source"), (int64_t)n_firings);
	ck_assert_int_eq(number(s, "SELECT n_contexts FROM source"), N);
	ck_assert_int_eq(number(s, "SELECT sum(n_fires) FROM feature"), (int64_t)n_firings);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM firing WHERE sampled"), 7);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM firing"), 7);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM vector"), FEATURES);
	for (uint32_t f = 0; f < FEATURES; f++)
		check_feature(s, f, N, n_tokens);
	check_integrity(s);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

/* Sums of both sources within 1e-12. */
static void sums_agree(store *s)
{
	ck_assert_int_eq(
	        number(s,
	               "SELECT count(*) FROM feature a JOIN feature b USING (feature) WHERE a.source_id = 1 "
	               "AND"
	               " b.source_id > 1 AND max(abs(a.sum1 - b.sum1) / max(a.sum1, 1e-30), abs(a.sum2 - "
	               "b.sum2) /"
	               " max(a.sum2, 1e-30), abs(a.sum3 - b.sum3) / max(a.sum3, 1e-30), abs(a.sum4 - b.sum4) "
	               "/"
	               " max(a.sum4, 1e-30), abs(a.mean_act - b.mean_act) / max(a.mean_act, 1e-30)) > 1e-12"),
	        0);
}

START_TEST(does_not_depend_on_order)
{
	enum { N = 70 };
	char first[SHA256_HEX], again[SHA256_HEX];

	setup();
	for (int corpus = 0; corpus < 2; corpus++) {
		for (uint64_t key = 0; key < 4; key++) {
			store_index_opts o = options("a");
			store *s = open_store();

			o.corpus = corpus;
			OK(index_corpus(s, &o, N, key));
			digest_of(key ? again : first, s);
			if (key)
				ck_assert_str_eq(again, first);
			if (key == 3) {
				o.source = "b";
				OK(index_corpus(s, &o, N, 9));
				sums_agree(s);
				o.source = "c"; /* contexts are shared */
				ck_assert_int_eq(number(s, "SELECT count(DISTINCT source_id) FROM firing"),
				                 2);
			}
			store_close(s);
			ck_assert_int_eq(unlink(path), 0);
		}
	}
	support_rmdir(folder);
}
END_TEST

START_TEST(corpus_keeps_all_firings)
{
	enum { N = 40 };
	store_index_opts o = options("a");
	store_codes back = { 0 };
	store *s;

	setup();
	s = open_store();
	o.corpus = true;
	OK(index_corpus(s, &o, N, 0));
	for (uint32_t i = 0; i < N; i++) {
		document_context c;
		sqlite3_stmt *st = NULL;
		bool row;

		make_context(&c, i);
		OK(store_prepare(
		        &st, s,
		        "SELECT codes, counted, n_tokens FROM firing f JOIN context c ON c.id = f.context_id"
		        " WHERE f.source_id = 1 AND f.context_id = ?1",
		        &err));
		OK(store_bind(s, st, &err, "i", plain_id(&c)));
		OK(store_step(s, st, &row, &err));
		ck_assert(row);
		OK(store_codes_decode(&back, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
		                      FEATURES, c.n_tokens, &err));
		ck_assert_int_eq(sqlite3_column_bytes(st, 1), (int)(c.n_tokens + 7) / 8);
		ck_assert_uint_eq(*(const uint8_t *)sqlite3_column_blob(st, 1), 0xfe);
		ck_assert_mem_eq(back.feature, c.feature, back.n_firings * sizeof(*c.feature));
		sqlite3_finalize(st);
	}
	ck_assert_int_eq(number(s, "SELECT count(*) FROM firing WHERE sampled"), 7);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM context"), number(s, "SELECT count(*) FROM firing"));
	check_integrity(s);
	store_codes_free(&back);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(text_is_repaired_and_lines_up)
{
	enum { N = 30 };
	store_index_opts o = options("a");
	sqlite3_stmt *st = NULL;
	text joined, repaired;
	store *s;
	bool row;

	setup();
	s = open_store();
	o.corpus = true;
	OK(index_corpus(s, &o, N, 0));
	text_init(&joined, SIZE_MAX);
	text_init(&repaired, SIZE_MAX);
	OK(store_prepare(&st, s, "SELECT tokens, offsets, text, n_tokens FROM context", &err));
	for (int n = 0;; n++) {
		const uint32_t *tokens, *offsets;
		uint32_t n_tokens;
		const char *whole;

		OK(store_step(s, st, &row, &err));
		if (!row)
			break;
		tokens = sqlite3_column_blob(st, 0);
		offsets = sqlite3_column_blob(st, 1);
		whole = (const char *)sqlite3_column_text(st, 2);
		n_tokens = (uint32_t)sqlite3_column_int(st, 3);
		text_clear(&joined);
		text_clear(&repaired);
		for (uint32_t i = 0; i < n_tokens; i++)
			OK(text_add(&joined, words[tokens[i]], strlen(words[tokens[i]])));
		OK(text_add_utf8(&repaired, joined.data, joined.len));
		ck_assert_str_eq(whole, repaired.data);
		ck_assert_uint_eq(offsets[0], 0);
		ck_assert_uint_eq(offsets[n_tokens], repaired.len);
		for (uint32_t i = 0; i < n_tokens; i++) {
			size_t length = offsets[i + 1] - offsets[i];
			uint32_t cp;

			ck_assert_uint_le(offsets[i], offsets[i + 1]);
			if (length) /* never within a character */
				ck_assert_uint_gt(utf8_next(whole + offsets[i], length, &cp), 0);
			if (tokens[i] < 6 || tokens[i] > 12)
				ck_assert_mem_eq(whole + offsets[i], words[tokens[i]], length);
		}
	}
	sqlite3_finalize(st);
	/* " €" over two tokens is with the first. */
	ck_assert_int_eq(number(s, "SELECT count(*) > 0 FROM context WHERE instr(text, ' \xe2\x82\xac')"), 1);
	text_free(&joined);
	text_free(&repaired);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(bins_have_fixed_edges)
{
	ck_assert_double_eq(store_bin_edge(0), ldexp(1, -10));
	ck_assert_double_eq(store_bin_edge(STORE_BINS), ldexp(1, 22));
	for (unsigned i = 0; i < STORE_BINS; i++) {
		float edge = (float)store_bin_edge(i);

		ck_assert_double_eq(edge, store_bin_edge(i));
		ck_assert_uint_eq(store_bin_of(edge), i);
		ck_assert_uint_eq(store_bin_of(nextafterf(edge, 1e30f)), i);
		if (i > 0)
			ck_assert_uint_eq(store_bin_of(nextafterf(edge, 0)), i - 1);
	}
	ck_assert_uint_eq(store_bin_of(1e-45f), 0);
	ck_assert_uint_eq(store_bin_of(3e38f), STORE_BINS - 1);
}
END_TEST

START_TEST(parts_are_two_fifths_each)
{
	int n[3] = { 0 };

	for (uint64_t g = 0; g < 10000; g++) {
		ck_assert_int_eq(store_part_of(g), store_part_of(g));
		n[store_part_of(g)]++;
	}
	ck_assert_int_le(abs(n[STORE_LABEL] - 4000), 150);
	ck_assert_int_le(abs(n[STORE_SELECT] - 2000), 150);
	ck_assert_int_le(abs(n[STORE_REPORT] - 4000), 150);
	for (uint64_t g = 0; g < 16; g++) /* for ever: scores rest on it */
		ck_assert_int_eq(store_part_of(g), "0020121200110220"[g] - '0');
}
END_TEST

/* ---- Names, sources ---- */

START_TEST(a_name_is_taken_once)
{
	char before[SHA256_HEX], after[SHA256_HEX];
	store_index_opts o = options("a");
	store *s;

	setup();
	s = open_store();
	OK(index_corpus(s, &o, 20, 0));
	digest_of(before, s);
	ck_assert_int_eq(index_corpus(s, &o, 20, 0), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(err.msg, "--force"));
	o.source = "b";
	OK(index_corpus(s, &o, 60, 0));
	o.source = "a";
	o.force = true;
	OK(index_corpus(s, &o, 30, 0));
	check_integrity(s);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM source"), 2);
	OK(store_exec(s,
	              "INSERT INTO explanation (id, source_id, feature, text, method, created) VALUES (1, 1, "
	              "2, 'dogs',"
	              " 'person', 'now')",
	              &err));
	OK(index_corpus(s, &o, 20, 3)); /* the same weights: what was said of its features stays */
	ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation WHERE source_id = 1"), 1);
	o.weights_sha256 = "others";
	OK(index_corpus(s, &o, 20, 4));
	ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation"), 0);
	check_integrity(s);
	o.source = "b"; /* what only the first b referred to goes */
	OK(index_corpus(s, &o, 20, 5));
	ck_assert_int_eq(number(s, "SELECT count(*) FROM context"),
	                 number(s, "SELECT count(*) FROM (SELECT context_id FROM example UNION SELECT "
	                           "context_id FROM firing)"));
	check_integrity(s);
	store_close(s);
	ck_assert_int_eq(unlink(path), 0);
	s = open_store();
	o = options("a");
	OK(index_corpus(s, &o, 20, 0));
	digest_of(after, s);
	ck_assert_str_eq(before, after);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(groups_stay_together_over_sources)
{
	document_context c;
	store_index_opts o = options("a");
	store_index *ix = NULL;
	store_context v;
	store *s;

	setup();
	s = open_store();
	o.corpus = true;
	OK(index_corpus(s, &o, 6, 0)); /* documents 1000, 1001 in group 50 */
	o.source = "b";
	OK(store_index_begin(&ix, s, &o, &err));
	OK(give_rest(ix));
	make_context(&c, 5); /* of document 1001; another run knows its group as 7, with document 2000 */
	c.group = 7;
	v = view(&c);
	OK(store_index_context(ix, &v, &err));
	make_context(&c, 40);
	c.document = 2000;
	c.group = 7;
	v = view(&c);
	OK(store_index_context(ix, &v, &err));
	OK(store_index_finish(ix, NULL, NULL, &err));
	ck_assert_int_eq(number(s, "SELECT group_key FROM document WHERE key = 2000"), 50);
	ck_assert_int_eq(
	        number(s, "SELECT count(DISTINCT part) FROM document WHERE key IN (1000, 1001, 2000)"), 1);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

/* ---- Bad input, faults, kills ---- */

static int index_changed(store *s, void (*change)(document_context *))
{
	store_index_opts o = options("x");
	store_index *ix = NULL;
	document_context c;
	store_context v;
	int rc;

	OK(store_index_begin(&ix, s, &o, &err));
	OK(give_rest(ix));
	make_context(&c, 0);
	v = view(&c);
	OK(store_index_context(ix, &v, &err));
	change(&c);
	rc = store_index_context(ix, &v, &err);
	ck_assert_int_lt(rc, 0);
	error first = err;
	ck_assert_int_lt(store_index_finish(ix, NULL, NULL, &err), 0); /* not with half a context in it */
	err = first;
	return rc;
}

static void unknown_token(document_context *c)
{
	c->tokens[3] = VOCAB;
}
static void unknown_feature(document_context *c)
{
	c->feature[c->start[5] - 1] = FEATURES;
}
static void features_swapped(document_context *c)
{
	uint32_t at = c->start[2];

	ck_assert_uint_ge(c->start[3], at + 2);
	c->feature[at + 1] = c->feature[at];
}
static void value_nan(document_context *c)
{
	c->value[7] = NAN;
}
static void value_zero(document_context *c)
{
	c->value[7] = 0;
}

START_TEST(bad_contexts_are_refused)
{
	char part[FILE_PATH_MAX + 8];
	store_index_opts o = options("x");
	store_index *ix = NULL;
	store *s;

	setup();
	s = open_store();
	ck_assert_int_eq(index_changed(s, unknown_token), ERR_FORMAT);
	ck_assert_ptr_nonnull(
	        strstr(err.msg, "context 1, position 3: token 24 is beyond the vocabulary of 24"));
	ck_assert_int_eq(index_changed(s, unknown_feature), ERR_FORMAT);
	ck_assert_int_eq(index_changed(s, features_swapped), ERR_FORMAT);
	ck_assert_int_eq(index_changed(s, value_nan), ERR_FORMAT);
	ck_assert_int_eq(index_changed(s, value_zero), ERR_FORMAT);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM source"), 0);
	snprintf(part, sizeof(part), "%s.part", path);
	ck_assert(!file_exists(part));
	o.before = 70000;
	ck_assert_int_eq(store_index_begin(&ix, s, &o, &err), ERR_ARG);
	o = options("");
	ck_assert_int_eq(store_index_begin(&ix, s, &o, &err), ERR_ARG);
	ck_assert_ptr_null(ix);
	store_close(s);
	support_rmdir(folder);
}
END_TEST

START_TEST(one_run_at_a_time)
{
	store_index_opts o = options("x");
	store_index *ix = NULL, *other = NULL;
	store *s, *t;

	setup();
	s = open_store();
	t = open_store();
	OK(store_index_begin(&ix, s, &o, &err));
	o.source = "y";
	ck_assert_int_eq(store_index_begin(&other, t, &o, &err), ERR_BUSY);
	ck_assert_ptr_nonnull(strstr(err.msg, "another run"));
	store_index_abort(ix);
	OK(index_corpus(t, &o, 5, 0));
	store_close(s);
	store_close(t);
	support_rmdir(folder);
}
END_TEST

static void faults(fault_kind kind, int code)
{
	char before[SHA256_HEX], after[SHA256_HEX], part[FILE_PATH_MAX + 8];
	store_index_opts o = options("a");
	store *s;

	setup();
	snprintf(part, sizeof(part), "%s.part", path);
	s = open_store();
	OK(index_corpus(s, &o, 5, 0));
	digest_of(before, s);
	o.source = "b";
	for (long n = 0;; n += 1 + n / 40) {
		int rc;

		fault_arm(kind, n);
		rc = index_corpus(s, &o, 9, 0);
		if (!fault_disarm(kind)) {
			OK(rc);
			break;
		}
		ck_assert_msg(rc == code, "fault %ld: %d %s", n, rc, err.msg);
		digest_of(after, s);
		ck_assert_str_eq(before, after);
		ck_assert(!file_exists(part));
	}
	ck_assert_int_eq(number(s, "SELECT count(*) FROM source"), 2);
	check_integrity(s);
	store_close(s);
	support_rmdir(folder);
}

START_TEST(allocation_faults_leave_the_store)
{
	faults(FAULT_ALLOC, ERR_NOMEM);
}
END_TEST

START_TEST(write_faults_leave_the_store)
{
	faults(FAULT_WRITE, ERR_IO);
}
END_TEST

START_TEST(commit_faults_leave_the_store)
{
	faults(FAULT_SYNC, ERR_IO);
}
END_TEST

/* In a child of its own: index 400 contexts as "b" and end. */
static pid_t index_in_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		store_index_opts o = options("b");
		store *s = NULL;

		o.corpus = true;
		if (store_open(&s, path, STORE_CREATE, &err) < 0 || index_corpus(s, &o, 400, 0) < 0)
			_exit(1);
		store_close(s);
		_exit(0);
	}
	ck_assert_int_gt(child, 0);
	return child;
}

/* The child was killed `after` seconds from its start, or was through. Whether it was killed. */
static bool kill_after(double after)
{
	pid_t child = index_in_child();
	int status;

	usleep((useconds_t)(after * 1e6));
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	return !WIFEXITED(status);
}

START_TEST(a_kill_leaves_the_store)
{
	char before[SHA256_HEX], after[SHA256_HEX];
	store_index_opts o = options("a");
	int killed = 0;
	store *s;

	setup();
	s = open_store();
	OK(index_corpus(s, &o, 20, 0));
	digest_of(before, s);
	store_close(s);
	for (int i = 1; i <= 15; i++) {
		killed += kill_after(0.15 * i / 15);
		s = open_store();
		check_integrity(s);
		if (number(s, "SELECT count(*) FROM source") == 1) {
			digest_of(after, s);
			ck_assert_str_eq(before, after);
		} else { /* it was through: start again from where we were */
			ck_assert_int_eq(number(s, "SELECT count(*) FROM feature WHERE source_id = 2"),
			                 FEATURES);
			store_close(s);
			ck_assert_int_eq(unlink(path), 0);
			s = open_store();
			OK(index_corpus(s, &o, 20, 0));
		}
		store_close(s);
	}
	ck_assert_int_gt(killed, 0);
	s = open_store();
	o.source = "c"; /* what the killed left behind is in nobody's way */
	OK(index_corpus(s, &o, 20, 0));
	store_close(s);
	support_rmdir(folder);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "index", agrees_with_the_definition, does_not_depend_on_order,
	             corpus_keeps_all_firings, text_is_repaired_and_lines_up, bins_have_fixed_edges,
	             parts_are_two_fifths_each, a_name_is_taken_once, groups_stay_together_over_sources,
	             bad_contexts_are_refused, one_run_at_a_time, allocation_faults_leave_the_store,
	             write_faults_leave_the_store, commit_faults_leave_the_store, a_kill_leaves_the_store);
}
SUPPORT_MAIN("index", cases)
