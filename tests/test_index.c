/* The index pass against a plain O(n) reading of its definition; the same for any order. */
#include "tests/support_index.h"

#include <math.h>
#include <unistd.h>

enum { SAMPLES = 20 }; /* as corpus_options() says */

/* ---- The definition, plainly ---- */

typedef struct firing {
	int64_t context;
	uint32_t position, token;
	float value;
	uint64_t hash;
	char window[256];
	size_t window_size;
	uint32_t length; /* tokens of it */
} firing;

typedef struct plain { /* one feature */
	uint64_t fires, contexts, counts[GRID_END - GRID_FIRST];
	long double sum[4];
	float max;
	firing *all, *peaks; /* every firing; the strongest of each context */
	size_t n_all, n_peaks;
} plain;

static int64_t plain_id(const document_context *c)
{
	uint64_t seed = hash64_mix(hash64(corpus_tokenizer, strlen(corpus_tokenizer), 0), c->document);

	return (int64_t)(hash64(c->tokens, c->n_tokens * 4, seed) >>
	                 1); /* the tests run on little-endian machines */
}

static firing plain_firing(const document_context *c, uint32_t f, uint32_t t, float value)
{
	firing x = { .context = plain_id(c), .position = t, .token = c->tokens[t], .value = value };

	x.hash = hash64_mix(hash64_mix((uint64_t)x.context, t), f);
	for (uint32_t i = 0; i < c->n_tokens; i++) {
		if (i + 6 >= t && i <= t + 3) {
			x.length++;
			memcpy(x.window + x.window_size, corpus_words[c->tokens[i]],
			       strlen(corpus_words[c->tokens[i]]));
			x.window_size += strlen(corpus_words[c->tokens[i]]);
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

		corpus_context(&c, i);
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
				for (int b = GRID_FIRST; b < GRID_END; b++)
					p->counts[b - GRID_FIRST] +=
					        x.value >= grid_edge(b) && x.value < grid_edge(b + 1);
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

/* The sample: of each token, met once or more, the strongest; the smallest hashes. */
static size_t plain_sample(firing *out, plain *p, size_t n_samples)
{
	size_t n = 0;

	qsort(p->all, p->n_all, sizeof(firing), by_hash);
	for (size_t i = 0; i < p->n_all && n < n_samples; i++) {
		if (n == 0 || out[n - 1].hash != p->all[i].hash)
			out[n++] = p->all[i];
	}
	return n;
}

static uint64_t plain_below(const plain *p, int edge)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->n_all; i++)
		n += p->all[i].value < grid_edge(edge);
	return n;
}

/* Edge j of the tenths: that with nearest to j / 10 of all values below it, of several the lowest. */
static int plain_edge(const plain *p, int j, int from, int end)
{
	int best = from;

	if (j == 0 || j == 10)
		return j ? end : from;
	for (int e = from; e <= end; e++) {
		double aim = (double)p->fires * j / 10;

		if (fabs((double)plain_below(p, e) - aim) < fabs((double)plain_below(p, best) - aim))
			best = e;
	}
	return best;
}

/* ---- What the store says ---- */

/* Rows (context, position, value, weight) of kind and bin are these. */
static void check_examples(store *s, uint32_t f, const char *kind, int b, const firing *want, size_t n,
                           double weight)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(&st, s,
	                 "SELECT w.context_id, w.position, w.activation, weight, first, length, codes, rank"
	                 " FROM example_window w JOIN example USING (source_id, feature, bin, rank)"
	                 " WHERE source_id = 1 AND feature = ?1 AND w.kind = ?2 AND bin = ?3 ORDER BY rank",
	                 &corpus_err));
	OK(store_bind(s, st, &corpus_err, "iti", (int64_t)f, kind, (int64_t)b));
	for (size_t i = 0; i < n; i++) {
		float values[10] = { 0 };
		uint32_t first, length;

		OK(store_step(s, st, &row, &corpus_err));
		ck_assert_msg(row, "feature %u %s %d has %zu examples, not %zu", f, kind, b, i, n);
		ck_assert_int_eq(sqlite3_column_int64(st, 0), want[i].context);
		ck_assert_uint_eq((uint32_t)sqlite3_column_int64(st, 1), want[i].position);
		ck_assert_double_eq(sqlite3_column_double(st, 2), want[i].value);
		ck_assert_double_eq(sqlite3_column_double(st, 3), weight);
		first = (uint32_t)sqlite3_column_int(st, 4);
		length = (uint32_t)sqlite3_column_int(st, 5);
		ck_assert_uint_eq(first, want[i].position > 6 ? want[i].position - 6 : 0);
		ck_assert_uint_eq(length, want[i].length);
		OK(store_window_decode(values, length, want[i].position - first, want[i].value,
		                       sqlite3_column_blob(st, 6), (size_t)sqlite3_column_bytes(st, 6), false,
		                       &corpus_err));
		ck_assert_double_eq(values[want[i].position - first], want[i].value);
		ck_assert_int_eq(sqlite3_column_int(st, 7), (int)i);
	}
	OK(store_step(s, st, &row, &corpus_err));
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
	        &corpus_err));
	OK(store_bind(s, st, &corpus_err, "i", (int64_t)f));
	OK(store_step(s, st, &row, &corpus_err));
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

/* What the view has is the occupied stretch of the fixed grid. */
static void check_histogram(store *s, uint32_t f, const plain *p, int first, int end)
{
	sqlite3_stmt *st = NULL;
	bool row;

	OK(store_prepare(&st, s,
	                 "SELECT low, high, count FROM feature_histogram WHERE feature = ?1 ORDER BY low",
	                 &corpus_err));
	OK(store_bind(s, st, &corpus_err, "i", (int64_t)f));
	for (int i = first; i < end; i++) {
		OK(store_step(s, st, &row, &corpus_err));
		ck_assert(row);
		ck_assert_double_eq(sqlite3_column_double(st, 0), grid_edge(i));
		ck_assert_double_eq(sqlite3_column_double(st, 1), grid_edge(i + 1));
		ck_assert_uint_eq((uint64_t)sqlite3_column_int64(st, 2), p->counts[i - GRID_FIRST]);
	}
	OK(store_step(s, st, &row, &corpus_err));
	ck_assert(!row);
	sqlite3_finalize(st);
}

/* The tenths, and the samples in each. */
static void check_intervals(store *s, uint32_t f, plain *p, int first, int end)
{
	firing all[SAMPLES], want[SAMPLES];
	sqlite3_stmt *st = NULL;
	int low = first, high;
	size_t n = plain_sample(all, p, SAMPLES), seen = 0, kept;
	bool row;

	OK(store_prepare(&st, s,
	                 "SELECT low, high, count, kept, definition FROM feature_interval WHERE feature = ?1 "
	                 "ORDER BY bin",
	                 &corpus_err));
	OK(store_bind(s, st, &corpus_err, "i", (int64_t)f));
	for (int j = 0; j < 10; j++, low = high) {
		uint64_t count;

		high = plain_edge(p, j + 1, low, end);
		OK(store_step(s, st, &row, &corpus_err));
		ck_assert(row);
		kept = 0;
		for (size_t i = 0; i < n; i++) {
			if (all[i].value >= grid_edge(low) && all[i].value < grid_edge(high))
				want[kept++] = all[i];
		}
		count = plain_below(p, high) - plain_below(p, low);
		ck_assert_double_eq(sqlite3_column_double(st, 0), grid_edge(low));
		ck_assert_double_eq(sqlite3_column_double(st, 1), grid_edge(high));
		ck_assert_uint_eq((uint64_t)sqlite3_column_int64(st, 2), count);
		ck_assert_uint_eq((uint64_t)sqlite3_column_int64(st, 3), kept);
		ck_assert_str_eq((const char *)sqlite3_column_text(st, 4), "equal count");
		check_examples(s, f, "bin", j, want, kept, kept ? (double)count / (double)kept : 0);
		seen += kept;
	}
	ck_assert_uint_eq(seen, n);
	sqlite3_finalize(st);
}

static void check_feature(store *s, uint32_t f, uint32_t n, uint64_t n_tokens)
{
	firing want[8];
	int first = GRID_END, end = GRID_FIRST;
	plain p;
	size_t found;

	plain_feature(&p, f, n);
	check_feature_row(s, f, &p, n_tokens);
	found = plain_top(want, &p, 5);
	check_examples(s, f, "top", -1, want, found, 1);
	for (int b = GRID_FIRST; b < GRID_END; b++) {
		if (p.counts[b - GRID_FIRST] == 0)
			continue;
		first = b < first ? b : first;
		end = b + 1;
	}
	if (p.fires == 0)
		first = end = 0;
	check_histogram(s, f, &p, first, end);
	check_intervals(s, f, &p, first, end);
	plain_free(&p);
}

START_TEST(agrees_with_the_definition)
{
	enum { N = 90 };
	store_index_opts o = corpus_options("a");
	uint64_t n_tokens = 0, n_firings = 0;
	store *s;

	corpus_setup();
	s = corpus_open();
	OK(corpus_index(s, &o, N, 0));
	for (uint32_t i = 0; i < N; i++) {
		document_context c;

		corpus_context(&c, i);
		n_tokens += c.n_tokens - 1;
		n_firings += c.start[c.n_tokens];
	}
	ck_assert_int_eq(corpus_number(s, "SELECT n_tokens FROM source"), (int64_t)n_tokens);
	ck_assert_int_eq(corpus_number(s, "SELECT n_firings FROM source"), (int64_t)n_firings);
	ck_assert_int_eq(corpus_number(s, "SELECT n_contexts FROM source"), N);
	ck_assert_int_eq(corpus_number(s, "SELECT sum(n_fires) FROM feature"), (int64_t)n_firings);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM firing WHERE sampled"), 7);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM firing"), 7);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM vector"), FEATURES);
	for (uint32_t f = 0; f < FEATURES; f++)
		check_feature(s, f, N, n_tokens);
	corpus_check(s);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* Sums of both sources within 1e-12. */
static void sums_agree(store *s)
{
	ck_assert_int_eq(
	        corpus_number(
	                s,
	                "SELECT count(*) FROM feature a JOIN feature b USING (feature) WHERE a.source_id = 1 "
	                "AND"
	                " b.source_id > 1 AND max(abs(a.sum1 - b.sum1) / max(a.sum1, 1e-30), abs(a.sum2 - "
	                "b.sum2) /"
	                " max(a.sum2, 1e-30), abs(a.sum3 - b.sum3) / max(a.sum3, 1e-30), abs(a.sum4 - "
	                "b.sum4) "
	                "/"
	                " max(a.sum4, 1e-30), abs(a.mean_act - b.mean_act) / max(a.mean_act, 1e-30)) > "
	                "1e-12"),
	        0);
}

START_TEST(does_not_depend_on_order)
{
	enum { N = 70 };
	char first[SHA256_HEX], again[SHA256_HEX];

	corpus_setup();
	for (int corpus = 0; corpus < 2; corpus++) {
		for (uint64_t key = 0; key < 4; key++) {
			store_index_opts o = corpus_options("a");
			store *s = corpus_open();

			o.corpus = corpus;
			OK(corpus_index(s, &o, N, key));
			corpus_digest(key ? again : first, s);
			if (key)
				ck_assert_str_eq(again, first);
			if (key == 3) {
				o.source = "b";
				OK(corpus_index(s, &o, N, 9));
				sums_agree(s);
				o.source = "c"; /* contexts are shared */
				ck_assert_int_eq(
				        corpus_number(s, "SELECT count(DISTINCT source_id) FROM firing"), 2);
			}
			store_close(s);
			ck_assert_int_eq(unlink(corpus_path), 0);
		}
	}
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(corpus_keeps_all_firings)
{
	enum { N = 40 };
	store_index_opts o = corpus_options("a");
	store_codes back = { 0 };
	store *s;

	corpus_setup();
	s = corpus_open();
	o.corpus = true;
	OK(corpus_index(s, &o, N, 0));
	for (uint32_t i = 0; i < N; i++) {
		document_context c;
		sqlite3_stmt *st = NULL;
		bool row;

		corpus_context(&c, i);
		OK(store_prepare(
		        &st, s,
		        "SELECT codes, counted, n_tokens FROM firing f JOIN context c ON c.id = f.context_id"
		        " WHERE f.source_id = 1 AND f.context_id = ?1",
		        &corpus_err));
		OK(store_bind(s, st, &corpus_err, "i", plain_id(&c)));
		OK(store_step(s, st, &row, &corpus_err));
		ck_assert(row);
		OK(store_codes_decode(&back, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
		                      FEATURES, c.n_tokens, &corpus_err));
		ck_assert_int_eq(sqlite3_column_bytes(st, 1), (int)(c.n_tokens + 7) / 8);
		ck_assert_uint_eq(*(const uint8_t *)sqlite3_column_blob(st, 1), 0xfe);
		ck_assert_mem_eq(back.feature, c.feature, back.n_firings * sizeof(*c.feature));
		sqlite3_finalize(st);
	}
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM firing WHERE sampled"), 7);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM context"),
	                 corpus_number(s, "SELECT count(*) FROM firing"));
	corpus_check(s);
	store_codes_free(&back);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* Windows over 256 tokens have wider codes; here they hold whole contexts, as the stored firings say. */
START_TEST(wide_windows_come_back)
{
	enum { N = 30 };
	store_index_opts o = corpus_options("a");
	arena mem = ARENA_INIT;
	store *s;

	corpus_setup();
	s = corpus_open();
	o.before = 300;
	o.after = 40;
	OK(corpus_index(s, &o, N, 0));
	for (uint32_t f = 4; f < 12; f++) {
		store_window *w = NULL;
		size_t n = 0;

		OK(store_windows_firing(&w, &n, s, 1, f, STORE_ANY, &mem, &corpus_err));
		ck_assert_uint_gt(n, 3);
		for (size_t i = 0; i < n; i++) {
			float values[MAX_TOKENS] = { 0 };
			document_context c;
			uint32_t at = 0;

			do
				corpus_context(&c, at++);
			while (plain_id(&c) != w[i].context);
			ck_assert_uint_eq(w[i].first, 0);
			ck_assert_uint_eq(w[i].length, c.n_tokens);
			for (uint32_t t = 0; t < c.n_tokens; t++) {
				for (uint32_t j = c.start[t]; j < c.start[t + 1]; j++)
					values[t] = c.feature[j] == f ? c.value[j] : values[t];
				ck_assert_int_eq(w[i].value[t] > 0, values[t] > 0);
			}
		}
	}
	arena_clear(&mem);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(nothing_may_be_kept)
{
	store_index_opts o = corpus_options("a");
	store *s;

	corpus_setup();
	s = corpus_open();
	o.n_top = o.n_samples = o.n_random = 0;
	OK(corpus_index(s, &o, 20, 0));
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM example"), 0);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM context"), 0);
	ck_assert_int_eq(corpus_number(s, "SELECT count(*) FROM feature WHERE top_token IS NOT NULL"), 0);
	ck_assert_int_eq(
	        corpus_number(s, "SELECT count(*) FROM feature WHERE n_fires > 0 AND median_act > 0"),
	        corpus_number(s, "SELECT count(*) FROM feature WHERE n_fires > 0"));
	ck_assert_int_eq(corpus_number(s, "SELECT sum(kept) FROM feature_interval"), 0);
	corpus_check(s);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(text_is_repaired_and_lines_up)
{
	enum { N = 30 };
	store_index_opts o = corpus_options("a");
	sqlite3_stmt *st = NULL;
	text joined, repaired;
	store *s;
	bool row;

	corpus_setup();
	s = corpus_open();
	o.corpus = true;
	OK(corpus_index(s, &o, N, 0));
	text_init(&joined, SIZE_MAX);
	text_init(&repaired, SIZE_MAX);
	OK(store_prepare(&st, s, "SELECT tokens, offsets, text, n_tokens FROM context", &corpus_err));
	for (int n = 0;; n++) {
		const uint32_t *tokens, *offsets;
		uint32_t n_tokens;
		const char *whole;

		OK(store_step(s, st, &row, &corpus_err));
		if (!row)
			break;
		tokens = sqlite3_column_blob(st, 0);
		offsets = sqlite3_column_blob(st, 1);
		whole = (const char *)sqlite3_column_text(st, 2);
		n_tokens = (uint32_t)sqlite3_column_int(st, 3);
		text_clear(&joined);
		text_clear(&repaired);
		for (uint32_t i = 0; i < n_tokens; i++)
			OK(text_add(&joined, corpus_words[tokens[i]], strlen(corpus_words[tokens[i]])));
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
				ck_assert_mem_eq(whole + offsets[i], corpus_words[tokens[i]], length);
		}
	}
	sqlite3_finalize(st);
	/* " €" over two tokens is with the first. */
	ck_assert_int_eq(
	        corpus_number(s, "SELECT count(*) > 0 FROM context WHERE instr(text, ' \xe2\x82\xac')"), 1);
	text_free(&joined);
	text_free(&repaired);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(grid_is_parts_of_octaves)
{
	ck_assert_double_eq(grid_edge(GRID_FIRST), ldexp(1, -10));
	ck_assert_double_eq(grid_edge(GRID_END), ldexp(1, 22));
	for (int i = GRID_FIRST; i < GRID_END; i++) {
		float edge = (float)grid_edge(i);

		ck_assert_double_eq(edge, grid_edge(i));
		ck_assert_float_eq(edge, (float)exp2(i / 64.0));
		ck_assert_int_eq(grid_of(edge), i);
		ck_assert_int_eq(grid_of(nextafterf(edge, 1e30f)), i);
		if (i > GRID_FIRST)
			ck_assert_int_eq(grid_of(nextafterf(edge, 0)), i - 1);
	}
	ck_assert_int_eq(grid_of(1e-45f), GRID_FIRST);
	ck_assert_int_eq(grid_of(3e38f), GRID_END - 1);
}
END_TEST

/* The table that SQL readers use has the same edges. */
START_TEST(grid_is_in_the_store)
{
	sqlite3_stmt *st = NULL;
	store *s;
	bool row;

	corpus_setup();
	s = corpus_open();
	OK(store_prepare(&st, s, "SELECT i, edge FROM grid ORDER BY i", &corpus_err));
	for (int i = GRID_FIRST; i <= GRID_END; i++) {
		OK(store_step(s, st, &row, &corpus_err));
		ck_assert_int_eq(sqlite3_column_int(st, 0), i);
		ck_assert_double_eq(sqlite3_column_double(st, 1), grid_edge(i));
	}
	OK(store_step(s, st, &row, &corpus_err));
	ck_assert(!row);
	sqlite3_finalize(st);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* example.activation is the float that activation_bits are, of every size. */
START_TEST(activations_are_exact)
{
	store *s;

	corpus_setup();
	s = corpus_open();
	OK(store_exec(s, "PRAGMA foreign_keys = OFF", &corpus_err));
	for (uint32_t i = 0; i < 2048; i++) {
		uint32_t bits =
		        i < 1024 ? 1 + i * 0x1fbfff : (uint32_t)hash64_below(hash64_mix(5, i), 0x7f800000);
		sqlite3_stmt *st = NULL;
		float value;
		bool row;

		memcpy(&value, &bits, sizeof(bits));
		OK(store_prepare(
		        &st, s,
		        "INSERT INTO example (source_id, feature, bin, rank, context_id, position, "
		        "activation_bits, codes) VALUES (1, 1, 0, ?1, 1, 1, ?2, x'') RETURNING activation",
		        &corpus_err));
		OK(store_bind(s, st, &corpus_err, "ii", (int64_t)i, (int64_t)bits));
		OK(store_step(s, st, &row, &corpus_err));
		ck_assert_double_eq(sqlite3_column_double(st, 0), (double)value);
		sqlite3_finalize(st);
	}
	store_close(s);
	support_rmdir(corpus_folder);
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

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "index", agrees_with_the_definition, does_not_depend_on_order,
	             corpus_keeps_all_firings, wide_windows_come_back, nothing_may_be_kept,
	             text_is_repaired_and_lines_up, grid_is_parts_of_octaves, grid_is_in_the_store,
	             activations_are_exact, parts_are_two_fifths_each);
}
SUPPORT_MAIN("index", cases)
